//! What was typed, as far as profiles have to know: which command, which options, and which words are names of profiles.
//!
//! Words are told from the values of options by the definition of the command line: `--time @17` names no profile.

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a name of a profile begins with.
const SIGN: &[u8] = b"@";

/// A command line, taken apart.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The name of the program.
    pub program: OsString,
    /// The command, such as `backup` or `key list`, by its own names.
    pub command: Vec<String>,
    /// The names of profiles, in order, without their signs.
    pub profiles: Vec<OsString>,
    /// The file that `--config` names.
    pub config: Option<OsString>,
    /// The ids of the options that were given.
    pub options: Vec<String>,
    /// Whether there are words that are neither options nor values nor profiles.
    pub has_words: bool,
    /// Whether `--` was typed.
    pub is_over: bool,
    /// Everything but program, command and profiles, as it was typed.
    pub rest: Vec<OsString>,
}

/// Takes a command line apart.
pub fn take_apart(words: &[OsString], root: &Command) -> Typed {
    let mut typed = Typed { program: words.first().cloned().unwrap_or_default(), ..Typed::default() };
    let mut command = root;
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if typed.is_over || !bytes.starts_with(b"-") || bytes == b"-" {
            if !typed.is_over && bytes.starts_with(SIGN) && takes_profiles(&typed) {
                typed.profiles.push(OsStr::from_bytes(&bytes[SIGN.len()..]).to_owned());
                continue;
            }
            let below = if typed.is_over || typed.has_words { None } else { command.find_subcommand(word) };
            if let Some(below) = below {
                typed.command.push(below.get_name().to_owned());
                command = below;
                continue;
            }
            typed.has_words = true;
        } else if bytes == b"--" {
            typed.is_over = true;
        } else {
            let given = options_in(bytes, command);
            let needs_value =
                given.last().is_some_and(|(option, value)| value.is_none() && takes_value(option));
            let value = given.last().and_then(|(_, value)| value.clone());
            let is_config = given.last().is_some_and(|(option, _)| option.get_id() == "config");
            typed.options.extend(given.iter().map(|(option, _)| option.get_id().to_string()));
            typed.rest.push(word.clone());
            let value = if needs_value { words.next().cloned() } else { value };
            if needs_value {
                typed.rest.extend(value.clone());
            }
            if is_config {
                typed.config = value;
            }
            continue;
        }
        typed.rest.push(word.clone());
    }
    typed
}

/// The words with the command first, where options that only the command knows stand ahead of it: `-r REPO backup`, as users of
/// other programs type it. Anything else stays as it is.
pub fn command_first(words: Vec<OsString>, root: &Command) -> Vec<OsString> {
    for at in 2..words.len() {
        let Some((command, end)) = command_at(&words, at, root) else { continue };
        if is_options_of(&words[1..at], command) {
            if is_options_of(&words[1..at], root) {
                break;
            }
            let parts = [&words[..1], &words[at..end], &words[1..at], &words[end..]];
            return parts.concat();
        }
    }
    words
}

/// The command that stands at a place, and where its name ends, which may be two words.
fn command_at<'a>(words: &[OsString], at: usize, root: &'a Command) -> Option<(&'a Command, usize)> {
    let command = root.find_subcommand(words.get(at)?)?;
    let below = words.get(at + 1).and_then(|word| command.find_subcommand(word));
    Some(below.map_or((command, at + 1), |below| (below, at + 2)))
}

/// Whether words are options of a command, each with its value, and nothing else.
fn is_options_of(words: &[OsString], command: &Command) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let given = if bytes.len() > 1 && bytes[0] == b'-' { options_in(bytes, command) } else { Vec::new() };
        let Some((last, value)) = given.last() else { return false };
        let is_long = bytes.starts_with(b"--");
        // A letter that the command does not know ends what is known of the word.
        if !is_long && value.is_none() && given.len() != bytes.len() - 1 {
            return false;
        }
        if value.is_none() && takes_value(last) && words.next().is_none() {
            return false;
        }
    }
    true
}

/// `config show @NAME` is about a profile, and not done with its settings.
pub fn takes_profiles(typed: &Typed) -> bool {
    !matches!(typed.command.first().map(String::as_str), Some("config" | "help"))
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values() && option.get_num_args().is_none_or(|range| range.min_values() > 0)
}

/// The options in one word, each with the value that the word gives it.
fn options_in<'a>(word: &[u8], command: &'a Command) -> Vec<(&'a Arg, Option<OsString>)> {
    if let Some(long) = word.strip_prefix(b"--") {
        let mut parts = long.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().map(|value| OsStr::from_bytes(value).to_owned());
        let is_it = |option: &&Arg| {
            let aliases = option.get_all_aliases().unwrap_or_default();
            option.get_long().into_iter().chain(aliases).any(|long| long.as_bytes() == name)
        };
        return command.get_arguments().find(is_it).map(|option| (option, value)).into_iter().collect();
    }
    let mut found = Vec::new();
    for (at, letter) in word.iter().enumerate().skip(1) {
        let is_it = |option: &&Arg| {
            let aliases = option.get_all_short_aliases().unwrap_or_default();
            option.get_short().into_iter().chain(aliases).any(|short| short == char::from(*letter))
        };
        let Some(option) = command.get_arguments().find(is_it) else { break };
        let rest = &word[at + 1..];
        if option.get_action().takes_values() {
            let value = rest.strip_prefix(b"=").unwrap_or(rest);
            found.push((option, (!rest.is_empty()).then(|| OsStr::from_bytes(value).to_owned())));
            break;
        }
        found.push((option, None));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::options::Options;

    fn typed(line: &str) -> Typed {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        take_apart(&words, Options::new().root())
    }

    #[test]
    fn names_of_profiles_are_told_from_values_and_words() {
        for (line, command, profiles, rest) in [
            ("icecore backup @a", "backup", &["a"][..], ""),
            ("icecore -q backup @a --tag @b @c /x", "backup", &["a", "c"], "-q --tag @b /x"),
            ("icecore @a backup", "backup", &["a"], ""),
            ("icecore backup --tag=@b @a", "backup", &["a"], "--tag=@b"),
            ("icecore backup --time @17", "backup", &[], "--time @17"),
            ("icecore restore @a --overwrite @b", "restore", &["a", "b"], "--overwrite"),
            ("icecore backup -r @r @a", "backup", &["a"], "-r @r"),
            ("icecore backup -r@r @a", "backup", &["a"], "-r@r"),
            ("icecore backup -qr @r @a", "backup", &["a"], "-qr @r"),
            ("icecore ls -lR @a", "ls", &["a"], "-lR"),
            ("icecore backup -- @a", "backup", &[], "-- @a"),
            ("icecore backup ./@a @", "backup", &[""], "./@a"),
            ("icecore key list @a", "key list", &["a"], ""),
            ("icecore key @a list", "key list", &["a"], ""),
            ("icecore cat @a latest:x", "dump", &["a"], "latest:x"),
            ("icecore config show @a backup", "config show", &[], "@a backup"),
            ("icecore backup list @a", "backup", &["a"], "list"),
            ("icecore --nonsense backup @a", "backup", &["a"], "--nonsense"),
            ("icecore", "", &[], ""),
            ("icecore nonsense @a", "", &["a"], "nonsense"),
        ] {
            let typed = typed(line);
            assert_eq!(typed.command.join(" "), command, "{line}");
            assert_eq!(typed.profiles, profiles, "{line}");
            assert_eq!(typed.rest.join(OsStr::new(" ")), rest, "{line}");
        }
    }

    #[test]
    fn options_are_known_by_whatever_name_they_are_given() {
        for (line, options, has_words, is_over) in [
            ("icecore backup --tag a /x", &["tag"][..], true, false),
            ("icecore dump --archive tar -o x", &["format", "output"], false, false),
            ("icecore --json ls -lR", &["json", "long", "recursive"], false, false),
            ("icecore backup --", &[], false, true),
            ("icecore backup -- -x", &[], true, true),
            ("icecore list --json=x", &["json"], false, false),
        ] {
            let typed = typed(line);
            assert_eq!(typed.options, options, "{line}");
            assert_eq!((typed.has_words, typed.is_over), (has_words, is_over), "{line}");
        }
    }

    #[test]
    fn options_of_a_command_may_stand_ahead_of_it() {
        for (line, ordered) in [
            ("icecore -r R backup /x", "icecore backup -r R /x"),
            ("icecore -rR --json backup -q /x", "icecore backup -rR --json -q /x"),
            ("icecore --repository=R -q key list", "icecore key list --repository=R -q"),
            ("icecore -r list list --name a", "icecore list -r list --name a"),
            ("icecore -qr R -r S check", "icecore check -qr R -r S"),
            // As they were: the command is no one's value, the options are everybody's, or there is no command that knows them.
            ("icecore backup -r R list", "icecore backup -r R list"),
            ("icecore -q --json list -r R", "icecore -q --json list -r R"),
            ("icecore -r list", "icecore -r list"),
            ("icecore -r R word backup", "icecore -r R word backup"),
            ("icecore --nonsense -r R backup", "icecore --nonsense -r R backup"),
            ("icecore -qX -r R backup", "icecore -qX -r R backup"),
            ("icecore -- -r R backup", "icecore -- -r R backup"),
            ("icecore", "icecore"),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let words = command_first(words, Options::new().root());
            assert_eq!(words.join(OsStr::new(" ")), ordered, "{line}");
        }
    }

    #[test]
    fn the_file_is_found_wherever_it_is_named() {
        for line in
            ["icecore --config f list", "icecore list --config=f @a", "icecore config check --config f"]
        {
            assert_eq!(typed(line).config, Some("f".into()), "{line}");
        }
        assert_eq!(typed("icecore list --config").config, None);
    }
}
