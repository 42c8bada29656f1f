//! Running a command that a user wrote as one line: words, and `|` between commands. No shell reads it, unless the user writes one.
//!
//! Invariant: the line has ended well only when each of its commands has. One whose reader wants no more (`… | head`) has.

use crate::password::{self, words};
use icecore::error::{Error, Kind, Result};
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// Runs it, and waits for all of it.
///
/// # Errors
/// `Invalid` for a line of no commands; when one of them cannot be started, or does not end well.
pub fn run(line: &str) -> Result<()> {
    let commands = commands(line)?;
    let mut children: Vec<(String, Child)> = Vec::with_capacity(commands.len());
    let mut started = Ok(());
    for (place, words) in commands.iter().enumerate() {
        let from = children.last_mut().and_then(|(_, child)| child.stdout.take());
        match start(words, from, place + 1 == commands.len()) {
            Ok(child) => children.push((words[0].display().to_string(), child)),
            Err(error) => {
                started = Err(error);
                break;
            }
        }
    }
    let mut outcome = started;
    let last = children.len();
    for (place, (shown, mut child)) in children.into_iter().enumerate() {
        // The end of a pipe that nobody reads is closed, so that whoever writes there ends.
        drop(child.stdout.take());
        let status = child.wait().map_err(|e| Error::io("cannot wait for", &shown, e))?;
        let is_unread = place + 1 < last && status.signal() == Some(Signal::PIPE.as_raw());
        if !status.success() && !is_unread && outcome.is_ok() {
            outcome = Err(Error::new(Kind::Io, "the command failed:").on(&shown).because(status.to_string()));
        }
    }
    outcome
}

fn start(words: &[OsString], from: Option<std::process::ChildStdout>, is_last: bool) -> Result<Child> {
    let mut command = Command::new(&words[0]);
    password::hide_from(&mut command);
    command.args(&words[1..]).stdin(from.map_or_else(Stdio::null, Stdio::from));
    if !is_last {
        command.stdout(Stdio::piped());
    }
    command.spawn().map_err(|e| Error::io("cannot run", words[0].display().to_string(), e))
}

/// The words of each command.
fn commands(line: &str) -> Result<Vec<Vec<OsString>>> {
    let mut commands = Vec::new();
    for part in parts(line) {
        let words = words::split(OsStr::new(part))?;
        if words.is_empty() {
            return Err(Error::invalid("a command of no words in", format!("{line:?}")));
        }
        commands.push(words);
    }
    Ok(commands)
}

/// What stands between each `|` that is in no quotes.
fn parts(line: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut quote: Option<u8> = None;
    let mut bytes = line.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (None | Some(b'"'), b'\\') => {
                bytes.next();
            }
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'|') => {
                parts.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&line[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_bars_outside_of_quotes() {
        for (line, expected) in [
            ("a b|c", &["a b", "c"][..]),
            ("a '|' \"|\" \\| | c", &["a '|' \"|\" \\| ", " c"]),
            ("a", &["a"]),
            ("|", &["", ""]),
        ] {
            assert_eq!(parts(line), expected);
        }
        assert!(commands("a | | b").is_err() && commands("").is_err() && commands("'a").is_err());
    }

    #[test]
    fn each_command_has_to_end_well() {
        run("printf 'a|b' | grep -q 'a|b'").unwrap();
        run("yes | head -1 | grep -q y").unwrap();
        for line in ["false", "false | true", "true | false", "/nowhere/at/all", "true | /nowhere/at/all"] {
            let error = run(line).unwrap_err();
            assert!(!error.to_string().is_empty(), "{line}");
        }
    }

    #[test]
    fn what_a_shell_would_take_for_more_is_a_word() {
        run("test $HOME = '$HOME'").unwrap();
        run("test ; = ';'").unwrap();
    }
}
