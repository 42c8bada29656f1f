//! What the options are, from all that says something of them: the command line first, then the job file, the environment,
//! the files of oslo's form, and the default.
//!
//! Freezer lets the job file go before the command line, although its help says otherwise: `--action restore --config FILE` makes a
//! backup when the file says so. Here what was typed is what is done. Invariant: a value is of its option's kind, or an error that
//! says where it stands.

use super::instead;
use super::options::{self, Effect, Kind, OPTIONS, Opt};
use icecore::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// How deep values may refer to each other by `$name`.
const SUBSTITUTION_DEPTH: usize = 10;

/// Where a value comes from; the greater goes before the lesser.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file of oslo's form.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// The job file.
    Job(PathBuf, usize),
    /// The command line.
    Line,
}

impl Source {
    fn rank(&self) -> u8 {
        match self {
            Source::File(..) => 0,
            Source::Variable(_) => 1,
            Source::Job(..) => 2,
            Source::Line => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Line => f.write_str("on the command line"),
            Source::Variable(name) => write!(f, "in the variable {name}"),
            Source::File(path, line) | Source::Job(path, line) => {
                write!(f, "in {}, line {line}", path.display())
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Given {
    text: String,
    from: Source,
}

/// What was said of the options.
#[derive(Debug, Clone, Default)]
pub struct Values {
    given: BTreeMap<&'static str, Given>,
    /// Options of which the last word does not do: files to read.
    files: Vec<(&'static str, String)>,
}

impl Values {
    /// Takes a value, unless something said it that goes before; of two of one rank the later counts.
    ///
    /// # Errors
    /// `Invalid` when it is not of the option's kind.
    pub fn say(&mut self, option: &'static Opt, text: String, from: Source) -> Result<()> {
        if option.kind == Kind::Files {
            self.files.push((option.name, text));
            return Ok(());
        }
        let text = checked(option, text, &from)?;
        if self.given.get(option.name).is_none_or(|there| there.from.rank() <= from.rank()) {
            self.given.insert(option.name, Given { text, from });
        }
        Ok(())
    }

    /// What is said of an option, be it its default; nothing when that is empty.
    ///
    /// Names are those of the table: whoever asks for another finds nothing, and a test finds him.
    pub fn text(&self, name: &str) -> Option<String> {
        self.text_at_depth(name, 0).filter(|text| !text.is_empty())
    }

    fn text_at_depth(&self, name: &str, depth: usize) -> Option<String> {
        let option = options::by_name(name)?;
        let raw = match self.given.get(option.name) {
            Some(given) => &given.text,
            None => option.default,
        };
        // A password is what it is.
        if option.is_secret() || depth > SUBSTITUTION_DEPTH {
            return Some(raw.to_owned());
        }
        Some(substituted(raw, &|name| self.text_at_depth(name, depth + 1)))
    }

    /// Whether somebody said something of it that is neither nothing nor the default.
    pub fn is_given(&self, name: &str) -> bool {
        let Some(option) = options::by_name(name) else { return false };
        self.given
            .get(option.name)
            .is_some_and(|given| !given.text.is_empty() && given.text != option.default)
    }

    /// Whether somebody said something of it, be it nothing.
    pub fn is_said(&self, name: &str) -> bool {
        options::by_name(name).is_some_and(|option| self.given.contains_key(option.name))
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name).as_deref() == Some("true")
    }

    /// A whole number.
    pub fn whole(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// The files that an option names, in their order.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        self.files.iter().filter(|(option, _)| *option == name).map(|(_, path)| expanded(path)).collect()
    }

    /// Options that were given and do nothing, each with the reason.
    pub fn without_effect(&self) -> Vec<String> {
        let nothing = |option: &Opt| match option.effect {
            Effect::Nothing(why) if self.is_given(option.name) => {
                Some(format!("--{} does nothing: {why}", option.name))
            }
            _ => None,
        };
        OPTIONS.iter().filter_map(nothing).collect()
    }

    /// Refuses options that this version does not have.
    ///
    /// # Errors
    /// `Unsupported`, naming the first one and what to do instead.
    pub fn refuse_missing(&self) -> Result<()> {
        let missing =
            OPTIONS.iter().find(|option| option.effect == Effect::NotYet && self.is_given(option.name));
        let Some(option) = missing else { return Ok(()) };
        let from = self.given.get(option.name).map(|given| given.from.to_string()).unwrap_or_default();
        Err(instead::option(option, &from))
    }
}

/// A path whose `~` is the home.
pub fn expanded(path: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// `$name` and `${name}` of options, as oslo.config takes them; `$$` is `$`, and any other `$` is what it is.
fn substituted(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out.push('$');
            rest = behind;
            continue;
        }
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let (name, behind) = match rest.strip_prefix('{').and_then(|open| open.split_once('}')) {
            Some(both) => both,
            None => rest.split_at(rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())),
        };
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => {
                out.push_str(&value);
                rest = behind;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

/// A value in the form in which it is kept, if it is of the option's kind. Empty is always right: nothing was said.
fn checked(option: &Opt, text: String, from: &Source) -> Result<String> {
    let wrong = |form: &str| {
        let shown = if option.is_secret() { String::new() } else { format!(" {text:?}") };
        Error::invalid(format!("not {form}{shown}:"), format!("--{} ({from})", option.name))
    };
    let bare = text.trim();
    if bare.is_empty() {
        return Ok(String::new());
    }
    match option.kind {
        Kind::Text | Kind::Files => Ok(text),
        Kind::Switch => match bare.to_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Ok("true".to_owned()),
            "false" | "0" | "off" | "no" => Ok("false".to_owned()),
            _ => Err(wrong("true or false:")),
        },
        Kind::Whole => {
            // What is off may be written so in a job.
            let is_number = bare.parse::<i64>().is_ok();
            if is_number { Ok(bare.to_owned()) } else { Err(wrong("a whole number:")) }
        }
        Kind::Number => match bare.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(bare.to_owned()),
            _ => Err(wrong("a number:")),
        },
        Kind::One(words) if words.contains(&bare) => Ok(bare.to_owned()),
        Kind::One(words) => Err(wrong(&format!("one of {}:", words.join(", ")))),
        Kind::Rate => match rate(bare) {
            Some(_) => Ok(bare.to_owned()),
            None => Err(wrong("a number of bytes a second such as 500000, 10K, 120M or 10G:")),
        },
    }
}

/// A number of bytes, with a unit of 1024 or without one. `Some(None)` is no limit.
pub fn rate(text: &str) -> Option<Option<u64>> {
    if text == "-1" {
        return Some(None);
    }
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return None,
    };
    let bytes = number.checked_mul(1 << shift)?;
    // As for Freezer, nothing at all is no limit.
    Some(Some(bytes).filter(|bytes| *bytes > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str) -> &'static Opt {
        options::by_name(name).unwrap()
    }

    fn values(said: &[(&str, &str, Source)]) -> Values {
        let mut values = Values::default();
        for (name, text, from) in said {
            values.say(option(name), (*text).to_owned(), from.clone()).unwrap();
        }
        values
    }

    #[test]
    fn what_is_typed_goes_before_the_job_and_that_before_the_rest() {
        let file = || Source::File("f".into(), 1);
        let job = || Source::Job("j".into(), 2);
        let variable = || Source::Variable("OS_DEFAULT__ACTION".to_owned());
        let all = [
            ("action", "admin", file()),
            ("action", "info", variable()),
            ("action", "backup", job()),
            ("action", "restore", Source::Line),
        ];
        for count in 1..=all.len() {
            for backwards in [false, true] {
                let mut said = all[..count].to_vec();
                if backwards {
                    said.reverse();
                }
                assert_eq!(
                    values(&said).text("action").as_deref(),
                    Some(all[count - 1].1),
                    "{count} {backwards}"
                );
            }
        }
        assert_eq!(values(&[]).text("action").as_deref(), Some("backup"));
        let twice = values(&[("mode", "a", Source::Line), ("mode", "b", Source::Line)]);
        assert_eq!(twice.text("mode").as_deref(), Some("b"));
    }

    #[test]
    fn nothing_said_on_purpose_goes_before_what_is_said_below() {
        let values =
            values(&[("container", "x", Source::File("f".into(), 1)), ("container", "", Source::Line)]);
        assert_eq!((values.text("container"), values.is_said("container")), (None, true));
        assert!(!values.is_given("container"));
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_its_place() {
        for (name, text) in [
            ("max-level", "two"),
            ("sync", "perhaps"),
            ("action", "destroy"),
            ("remove-older-than", "nan"),
            ("upload-limit", "10Q"),
        ] {
            let error = Values::default()
                .say(option(name), text.to_owned(), Source::Job("j.ini".into(), 7))
                .unwrap_err();
            let said = error.to_string();
            assert!(said.contains(name) && said.contains("j.ini, line 7") && said.contains(text), "{said}");
        }
        let error = Values::default().say(option("ssh-port"), "x".to_owned(), Source::Line).unwrap_err();
        assert!(error.to_string().contains("on the command line"));
    }

    #[test]
    fn values_refer_to_each_other_and_passwords_do_not() {
        let values = values(&[
            ("container", "c_${hostname}", Source::Line),
            ("hostname", "h", Source::Line),
            ("command", "echo $HOME $$x ${none} $container$", Source::Line),
            ("ssh-password", "a$container$$", Source::Line),
            ("exclude", "$exclude", Source::Line),
        ]);
        assert_eq!(values.text("container").as_deref(), Some("c_h"));
        assert_eq!(values.text("command").as_deref(), Some("echo $HOME $x ${none} c_h$"));
        assert_eq!(values.text("ssh-password").as_deref(), Some("a$container$$"));
        assert_eq!(values.text("cindernative-backup-container").as_deref(), Some("c_h"));
        assert_eq!(values.text("exclude").as_deref(), Some("$exclude"));
    }

    #[test]
    fn rates_have_units() {
        for (text, expected) in [
            ("-1", Some(None)),
            ("0", Some(None)),
            ("1000", Some(Some(1000))),
            ("10K", Some(Some(10_240))),
            ("120M", Some(Some(120 << 20))),
            ("1 g", Some(Some(1 << 30))),
            ("", None),
            ("x", None),
            ("-2", None),
            ("99999999999G", None),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_nothing_is_named_when_it_is_given_and_what_is_missing_is_refused() {
        let values = values(&[("insecure", "true", Source::Line), ("use-syslog", "false", Source::Line)]);
        let named = values.without_effect();
        assert!(named.len() == 1 && named[0].contains("--insecure"), "{named:?}");
        values.refuse_missing().unwrap();
        for name in ["nova-inst-id", "cinder-vol-id"] {
            let text = "x";
            let mut values = Values::default();
            values.say(option(name), text.to_owned(), Source::Line).unwrap();
            let error = values.refuse_missing().unwrap_err();
            assert!(
                error.kind() == icecore::Kind::Unsupported && error.to_string().contains(name),
                "{error}"
            );
        }
    }
}
