//! The command line of Freezer's agent, as Python's argparse takes it apart: long names in full or by an unmistakable head, short
//! ones, values behind a `=` or as the next word, switches that `--noNAME` turns off. Of what is said twice the last counts.
//!
//! Invariant: nothing is passed over. A word that is no option and no value of one is an error.

use super::options::{Kind, OPTIONS, Opt};
use icecore::error::{Error, Result};
use std::ffi::OsString;

/// An option as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// Its name in the table.
    pub name: &'static str,
    /// What was said: of a switch `true` or `false`.
    pub value: String,
}

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The options, in their order.
    pub options: Vec<Typed>,
    /// Whether help is asked for.
    pub help: bool,
}

/// Takes the words behind the name of the program apart.
///
/// # Errors
/// `Invalid` for what is no option, is not clear, lacks its value, or is no text.
pub fn parse(words: &[OsString]) -> Result<Line> {
    let mut line = Line::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = as_text(word)?;
        let (option, given) = match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some("help"), _) | (_, Some("h")) => {
                line.help = true;
                continue;
            }
            (Some(long), _) if !long.is_empty() => long_option(long)?,
            (None, Some(short)) if !short.is_empty() => short_option(short)?,
            _ => return Err(Error::invalid("no option, and no value of one:", word)),
        };
        let value = match (option, given) {
            (Meant::Switch(_, on), None) => on.to_string(),
            (Meant::Switch(option, _), Some(_)) => {
                return Err(Error::invalid("a switch takes no value:", format!("--{}", option.name)));
            }
            (Meant::Value(_), Some(value)) => value.to_owned(),
            (Meant::Value(option), None) => next_value(option, words.next())?,
        };
        line.options.push(Typed { name: option.name(), value });
    }
    Ok(line)
}

/// What a name means.
#[derive(Clone, Copy)]
enum Meant {
    Switch(&'static Opt, bool),
    Value(&'static Opt),
}

impl Meant {
    fn name(self) -> &'static str {
        match self {
            Meant::Switch(option, _) | Meant::Value(option) => option.name,
        }
    }

    fn on(option: &'static Opt) -> Meant {
        if option.kind == Kind::Switch { Meant::Switch(option, true) } else { Meant::Value(option) }
    }
}

fn as_text(word: &OsString) -> Result<&str> {
    word.to_str().ok_or_else(|| Error::invalid("not text:", word.display().to_string()))
}

fn long_option(long: &str) -> Result<(Meant, Option<&str>)> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    let wanted = name.replace('_', "-");
    let mut found: Vec<(String, Meant)> = Vec::new();
    for option in OPTIONS {
        for known in std::iter::once(&option.name).chain(option.aliases) {
            found.push(((*known).to_owned(), Meant::on(option)));
            if option.kind == Kind::Switch {
                found.push((format!("no{known}"), Meant::Switch(option, false)));
            }
        }
    }
    if let Some((_, meant)) = found.iter().find(|(known, _)| *known == wanted) {
        return Ok((*meant, value));
    }
    found.retain(|(known, _)| known.starts_with(&wanted));
    match found.as_slice() {
        [(_, meant)] => Ok((*meant, value)),
        [] => Err(unknown(&wanted)),
        several => {
            let names: Vec<String> = several.iter().map(|(known, _)| format!("--{known}")).collect();
            Err(Error::invalid("may be several options:", format!("--{name}"))
                .hint(format!("one of {}", names.join(", "))))
        }
    }
}

/// The error for what is no option, with the nearest that is one.
pub fn unknown(name: &str) -> Error {
    let near =
        OPTIONS.iter().map(|option| (strsim::damerau_levenshtein(option.name, name), option.name)).min();
    let error = Error::invalid("there is no option", format!("--{name}"));
    match near {
        Some((distance, nearest)) if distance <= 3 => error.hint(format!("is --{nearest} meant?")),
        _ => error.hint("freezer-agent --help lists them"),
    }
}

fn short_option(short: &str) -> Result<(Meant, Option<&str>)> {
    let mut letters = short.chars();
    let letter = letters.next();
    let option = OPTIONS.iter().find(|option| option.short == letter && letter.is_some());
    let Some(option) = option else { return Err(Error::invalid("there is no option", format!("-{short}"))) };
    let rest = letters.as_str();
    let value = rest.strip_prefix('=').unwrap_or(rest);
    Ok((Meant::on(option), Some(value).filter(|_| !rest.is_empty())))
}

/// The next word, unless it is an option itself. A number below zero and a lone `-` are values, and so is what has a space.
fn next_value(option: &Opt, word: Option<&OsString>) -> Result<String> {
    let missing = || {
        Error::invalid("a value is missing behind", format!("--{}", option.name))
            .hint(format!("one that begins with - is written --{}=VALUE", option.name))
    };
    let word = as_text(word.ok_or_else(missing)?)?;
    let is_value = !word.starts_with('-') || word == "-" || word.contains(' ') || word.parse::<f64>().is_ok();
    if is_value { Ok(word.to_owned()) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Vec<(&'static str, String)>> {
        let words: Vec<OsString> =
            line.split('|').filter(|word| !word.is_empty()).map(OsString::from).collect();
        Ok(parse(&words)?.options.into_iter().map(|typed| (typed.name, typed.value)).collect())
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_taken_as_argparse_takes_them() {
        for (line, expected) in [
            ("--action|restore", &[("action", "restore")][..]),
            ("--action=restore|--container=", &[("action", "restore"), ("container", "")]),
            (
                "-F|/srv|-N|a b|-C=/x|-mfs",
                &[("path-to-backup", "/srv"), ("backup-name", "a b"), ("container", "/x"), ("mode", "fs")],
            ),
            ("--path_to_backup|/srv", &[("path-to-backup", "/srv")]),
            ("--incremental|--nosync|-q", &[("incremental", "true"), ("sync", "false"), ("quiet", "true")]),
            ("--metadata-out|-|--upload-limit|-1", &[("metadata-out", "-"), ("upload-limit", "-1")]),
            ("--command|-x is a word", &[("command", "-x is a word")]),
            ("--incr|--remove-old|30", &[("incremental", "true"), ("remove-older-than", "30")]),
            ("--os-auth-ver|3", &[("os-identity-api-version", "3")]),
            ("--max-level|1|--max-level|2", &[("max-level", "1"), ("max-level", "2")]),
            ("--exclude=--x=y", &[("exclude", "--x=y")]),
            ("--config|a|--config-file|b", &[("config", "a"), ("config-file", "b")]),
        ] {
            assert_eq!(parsed(line).unwrap(), pairs(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_option_is_an_error_that_says_so() {
        for (line, word) in [
            ("backup", "backup"),
            ("--no-such|x", "--no-such"),
            ("--remove|1", "--remove-older-than"),
            ("--container", "--container"),
            ("--exclude|--incremental", "--exclude"),
            ("--quiet=yes", "--quiet"),
            ("-x", "-x"),
            ("--", "--"),
            ("-qx", "--quiet"),
        ] {
            let error = parsed(line).unwrap_err();
            let said = format!("{error} {}", error.advice().unwrap_or_default());
            assert!(said.contains(word), "{line}: {said}");
        }
        let error = parsed("--no-incremental|false").unwrap_err();
        assert!(error.to_string().contains("--no-incremental"), "{error}");
    }

    #[test]
    fn help_is_heard_beside_anything() {
        let words = ["--action", "info", "-h"].map(OsString::from);
        assert!(parse(&words).unwrap().help);
    }
}
