//! At a terminal: a password is asked for and not shown, and there is a line that says how far a run is.
//!
//! `script` gives a command a terminal of its own. What is typed there would be shown, and then thrown away, before the program
//! has turned that off: the test looks at the terminal until it has.

use crate::dedup::{PASSWORD, backup, cheap_place};
use crate::place::{Place, id};
use crate::program::not_run;
use icecore_testkit::random::Random;
use rustix::fs::OFlags;
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A command line with a terminal of its own; not yet started.
fn at_a_terminal(place: &Place, words: &str) -> Command {
    let mut command = place.program.shell(&format!("exec script -qec '{words}' /dev/null"));
    command
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn has_script() -> bool {
    Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The terminal that `script` has made, once a process uses it.
fn terminal(script: &Child) -> Option<PathBuf> {
    let children = format!("/proc/{0}/task/{0}/children", script.id());
    let children = fs::read_to_string(children).ok()?;
    let standard_input = |child: &str| fs::read_link(format!("/proc/{child}/fd/0")).ok();
    children.split_whitespace().filter_map(standard_input).find(|path| path.starts_with("/dev/pts"))
}

/// Opens a terminal, which does not become that of the test.
fn open(terminal: &Path) -> io::Result<File> {
    let flags = OFlags::NOCTTY.bits() as i32;
    File::options().read(true).custom_flags(flags).open(terminal)
}

/// Waits until nothing that is typed is shown; `false` when the command ends before.
fn becomes_silent(script: &mut Child) -> bool {
    while script.try_wait().unwrap().is_none() {
        let modes = terminal(script).and_then(|path| open(&path).ok()).map(tcgetattr);
        if modes.is_some_and(|modes| modes.is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ECHO))) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_password_is_asked_for_at_a_terminal_and_not_shown() {
    if !has_script() {
        return not_run("script is not here");
    }
    let place = cheap_place();
    place.write(&[("a", "1")]);
    let made = id(&backup(&place, &[]).expect(0).summary());
    for (typed, status) in [(PASSWORD, 0), ("zebra crossing", 12)] {
        let words = format!("icecore list --json -r {}", place.repository().display());
        let mut script = at_a_terminal(&place, &words).spawn().unwrap();
        assert!(becomes_silent(&mut script), "nothing was asked");
        let mut keyboard = script.stdin.take().unwrap();
        keyboard.write_all(format!("{typed}\n").as_bytes()).unwrap();
        // It stays open, as a keyboard does.
        let output = script.wait_with_output().unwrap();
        drop(keyboard);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{shown}");
        assert!(shown.contains("assword") && !shown.contains(typed), "{shown}");
        assert_eq!(shown.contains(&made), status == 0, "{shown}");
    }
}

#[test]
fn a_run_at_a_terminal_says_how_far_it_is_and_a_quiet_one_says_nothing() {
    if !has_script() {
        return not_run("script is not here");
    }
    let place = Place::new();
    let mut random = Random::new(3);
    for number in 0..300 {
        fs::write(place.source().join(format!("file{number}")), random.bytes(100)).unwrap();
    }
    let (repository, source) = (place.repository(), place.source());
    let (repository, source) = (repository.display(), source.display());
    let words = format!("backup --init --no-encryption --engine tar -r {repository} {source}");
    for (quiet, is_told) in [("", true), ("-q", false)] {
        let mut script = at_a_terminal(&place, &format!("icecore {quiet} {words}")).spawn().unwrap();
        let keyboard = script.stdin.take();
        let output = script.wait_with_output().unwrap();
        drop(keyboard);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{shown}");
        assert_eq!(shown.contains("Backing up"), is_told, "{shown:?}");
        assert!(is_told || shown.is_empty(), "{shown:?}");
    }
    // Where nobody looks there is no such line, and what was made is said once.
    for (more, is_told) in [(&[][..], true), (&["-q"], false)] {
        let words = words.split(' ').chain(more.iter().copied()).collect::<Vec<_>>();
        let outcome = place.program.run(&words).expect(0);
        let told = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!told.contains("Backing up") && told.is_empty() != is_told, "{told:?}");
    }
}
