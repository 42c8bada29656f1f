//! The one place that prints: JSON lines for machines on standard output, short lines for people, errors on standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place where the program prints")]

use crate::cli::Global;
use icecore::error::{Error, Kind, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

static UNWRITTEN: AtomicBool = AtomicBool::new(false);

static CLOSED: AtomicBool = AtomicBool::new(false);

static BYTES_ONLY: AtomicBool = AtomicBool::new(false);

static LOG: OnceLock<Mutex<File>> = OnceLock::new();

/// From now on what goes to standard error is written to this file as well, with the time.
pub fn log_to(file: File) {
    // A second one would be another run's: there is one a process.
    LOG.set(Mutex::new(file)).unwrap_or(());
}

/// Writes a line to the log alone, if there is one.
pub fn log(text: &str) {
    let Some(file) = LOG.get() else { return };
    let (time, number) =
        (jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"), std::process::id());
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    // A log that cannot be written is no reason to fail.
    writeln!(file, "{time} {number} {}", printable(text)).unwrap_or(());
}

/// Prints one line for a person on standard error, unless he wants to hear less; it is in the log in any case.
pub fn note(global: &Global, text: &str) {
    match global.quiet {
        true => log(text),
        false => warning(text),
    }
}

/// From now on standard output is for the bytes that were asked for, and JSON lines go to standard error.
pub fn only_bytes() {
    BYTES_ONLY.store(true, Ordering::Relaxed);
}

/// Prints one JSON line; a reader that went away (a closed pipe) is no reason to fail.
pub fn json(value: &Value) {
    if BYTES_ONLY.load(Ordering::Relaxed) {
        print_error(&value.to_string())
    } else {
        print_line(&value.to_string())
    }
}

/// Prints one line for a person.
pub fn line(global: &Global, text: &str) {
    if !global.quiet && !global.json {
        print_line(text);
    }
}

/// Prints one line for a person that is no part of the answer, which may go to another program.
pub fn remark(global: &Global, text: &str) {
    if !global.quiet && !global.json {
        warning(text);
    }
}

/// Prints one line of the answer itself, also with `--quiet`.
pub fn answer(text: &str) {
    print_line(text);
}

fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // A closed pipe is the reader's choice (`icecore list | head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(_) => UNWRITTEN.store(true, Ordering::Relaxed),
        Ok(()) => {}
    }
}

/// What a run came to whose answer goes out in [`Lines`]; `None` when it ended because nobody reads on.
///
/// # Errors
/// That of the run.
pub fn unless_closed<A>(outcome: Result<A>) -> Result<Option<A>> {
    match outcome {
        Err(error) if error.kind() == Kind::Stopped && CLOSED.load(Ordering::Relaxed) => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Bytes of lines that are printed at once.
const BATCH_BYTES: usize = 64 << 10;

/// Many lines, printed some at a time; the last of them when this goes away.
#[derive(Default)]
pub struct Lines(String);

impl Lines {
    /// One line for a person.
    ///
    /// # Errors
    /// `Stopped` when nobody reads on: whoever makes more lines need not.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.0.push_str(text);
        self.0.push('\n');
        if self.0.len() >= BATCH_BYTES {
            self.flush();
        }
        if CLOSED.load(Ordering::Relaxed) { Err(Error::stopped()) } else { Ok(()) }
    }

    /// One JSON line.
    ///
    /// # Errors
    /// As [`Lines::line`].
    pub fn json(&mut self, value: &Value) -> Result<()> {
        self.line(&value.to_string())
    }

    fn flush(&mut self) {
        if let Some(text) = self.0.strip_suffix('\n') {
            print_line(text);
        }
        self.0.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Standard output for bytes that are no text, and whether its reader went away.
#[derive(Default)]
pub struct Bytes {
    /// The reader wants no more (`icecore cat … | head`).
    pub closed: bool,
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = std::io::stdout().lock().write(bytes);
        self.closed |= written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().lock().flush()
    }
}

/// Whether something that was to be printed on standard output is not there (a full disk, say).
pub fn unwritten() -> bool {
    UNWRITTEN.load(Ordering::Relaxed)
}

/// Prints something a person should see on standard error.
pub fn warning(text: &str) {
    print_error(&printable(text));
}

/// A closed standard error is no reason to fail either.
fn print_error(text: &str) {
    log(text);
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or(());
}

/// Prints the help that was asked for, or what is wrong with the command line; the latter also for a program, when the rest
/// of the line says that one is reading.
pub fn usage(error: &clap::Error) {
    let text = error.to_string();
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message =
            text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        json(&json!({"type": "error", "kind": "invalid", "message": message, "hint": null, "exit": 2}));
    }
    error.print().unwrap_or(());
    let missing = error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
    if missing && text.contains("  --repository") {
        print_error("The repository may also be named by the environment: ICECORE_REPOSITORY.");
    }
}

/// From here on everything is about this profile, of several.
pub fn begin_profile(global: &Global, name: &str) {
    if global.json {
        json(&json!({"type": "profile", "profile": name}));
    }
    line(global, &format!("@{name}:"));
}

/// Up to here everything was about this profile.
pub fn end_profile(global: &Global, name: &str, status: u8) {
    if global.json {
        json(&json!({"type": "profile_end", "profile": name, "exit": status}));
    }
}

/// The words for an error of `path`, which name it once.
pub fn told(path: &str, error: &Error) -> String {
    let subject = error.subject();
    let same = path.strip_suffix(subject).is_some_and(|above| above.is_empty() || above.ends_with('/'));
    if same && !subject.is_empty() { error.told_of(path) } else { format!("{path}: {error}") }
}

/// A text that cannot move the cursor or break a line.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Says what failed, why, and what to do.
pub fn failure(global: &Global, error: &Error, status: u8) {
    if global.json {
        json(&json!({
            "type": "error",
            "kind": kind_name(error.kind()),
            "message": error.to_string(),
            "hint": advice(error),
            "may_pass": may_pass(error),
            "exit": status,
        }));
    }
    warning(&format!("icecore: {error}"));
    if may_pass(error) {
        warning("  this may pass: trying again later may help");
    }
    if let Some(hint) = advice(error) {
        warning(&format!("  {hint}"));
    }
}

/// Says what failed too, beside what the command comes to, and what to do.
pub fn besides(error: &Error) {
    warning(&format!("icecore: {error}"));
    if let Some(hint) = advice(error) {
        warning(&format!("  {hint}"));
    }
}

/// What to do about it. Of a full disk it is the same wherever that was noticed.
fn advice(error: &Error) -> Option<&str> {
    let no_space = (error.kind() == Kind::NoSpace).then_some("make room there, and run it again");
    error.advice().or(no_space)
}

fn may_pass(error: &Error) -> bool {
    error.retry() == icecore::error::Retry::Later
}

/// The stable name of an error kind in JSON.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::NotFound => "not_found",
        Kind::AlreadyExists => "already_exists",
        Kind::NoRepository => "no_repository",
        Kind::Busy => "busy",
        Kind::WrongPassword => "wrong_password",
        Kind::Damaged => "damaged",
        Kind::Unsupported => "unsupported",
        Kind::Invalid => "invalid",
        Kind::Denied => "denied",
        Kind::NoSpace => "no_space",
        Kind::Limit => "limit",
        Kind::Changed => "changed",
        Kind::Stopped => "stopped",
        Kind::Interrupted => "interrupted",
        _ => "io",
    }
}

/// A number of bytes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A count with its noun in the right number.
pub fn count(number: u64, singular: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { singular } else { plural })
}

/// Lines of columns, each as wide as its widest cell; the last is not padded.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_path_once_and_whole() {
        let denied = |subject: &str| Error::new(Kind::Denied, "cannot open").on(subject).because("denied");
        for (path, subject, expected) in [
            ("a/b", "b", "cannot open a/b: denied"),
            ("a/b", "a/b", "cannot open a/b: denied"),
            ("a/bb", "b", "a/bb: cannot open b: denied"),
            ("a/b", "", "a/b: cannot open: denied"),
        ] {
            assert_eq!(told(path, &denied(subject)), expected);
        }
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}
