//! The system's programs for volumes: started with arguments, never through a shell, and ended when they take too long.
//!
//! Invariant: they lead groups of their own, so that Ctrl-C does not break them off in the middle of what they change.

use crate::hooks;
use crate::password;
use icecore::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How much of what it says is looked at.
const SAID_BYTES: u64 = 64 << 10;
/// Where such programs are, also for who does not have that in PATH.
const FOLDERS: &str = ":/usr/sbin:/sbin";

/// Runs one, and gives back what it answered. `package` is where it comes from.
///
/// # Errors
/// When it is not installed, takes too long, or fails, with what it said.
pub fn run(program: &str, package: &str, arguments: &[OsString]) -> Result<String> {
    let failed = |e| Error::io("cannot run", program, e);
    // In files: what it starts in turn may keep a pipe open for ever.
    let (mut stdout, mut stderr) =
        (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(FOLDERS);
    let mut command = Command::new(program);
    password::hide_from(&mut command);
    command.args(arguments).env("PATH", path).env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
    command.stdout(stdout.try_clone().map_err(failed)?).stderr(stderr.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(|e| {
        let is_missing = e.kind() == std::io::ErrorKind::NotFound;
        let error = failed(e);
        if is_missing { error.hint(format!("it is in the package {package}")) } else { error }
    })?;
    let status = hooks::wait(&mut child, LIMIT, None).map_err(|error| error.while_doing(program, ""))?;
    let said = said(&mut stderr).map_err(failed)?;
    if !status.success() {
        let kind = if said.contains("nsufficient") { Kind::NoSpace } else { Kind::Io };
        let said = if said.trim().is_empty() { status.to_string() } else { lines(&said) };
        return Err(Error::new(kind, "the command failed:").on(shown(program, arguments)).because(said));
    }
    self::said(&mut stdout).map_err(failed)
}

fn said(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(SAID_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines as one.
fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A command as a person would write it.
pub fn shown(program: &str, arguments: &[OsString]) -> String {
    let quoted = |word: &OsStr| {
        let word = word.display().to_string();
        let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_=.,:+%@".contains(&byte));
        if is_plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words = std::iter::once(OsStr::new(program)).chain(arguments.iter().map(OsString::as_os_str));
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_a_program_says_is_told_when_it_fails() {
        assert_eq!(run("printf", "x", &words(&["%s", "a b"])).unwrap(), "a b");
        let error = run("sh", "x", &words(&["-c", "echo one >&2; echo ' two' >&2; exit 5"])).unwrap_err();
        assert!(error.to_string().ends_with("one; two"), "{error}");
        assert!(run("false", "x", &[]).unwrap_err().to_string().contains("exit status: 1"));
        let error = run("no-such-program-anywhere", "lvm2", &[]).unwrap_err();
        assert!(error.advice().unwrap_or_default().contains("lvm2"), "{error:?}");
        let error =
            run("sh", "x", &words(&["-c", "echo 'insufficient free space' >&2; exit 5"])).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace);
    }

    #[test]
    fn a_command_is_shown_so_that_it_can_be_typed() {
        assert_eq!(shown("umount", &words(&["/a b/it's"])), "umount '/a b/it'\\''s'");
        assert_eq!(shown("lvremove", &words(&["--force", "vg/lv-1"])), "lvremove --force vg/lv-1");
    }
}
