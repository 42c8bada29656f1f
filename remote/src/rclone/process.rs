//! The user's rclone as a process of this one's own: started, listened to, and ended.
//!
//! Invariants: nothing goes through a shell; no secret is an argument. Rclone ends when the last handle of it is dropped, and
//! (where the program setpriv is there) when this process dies, however it does. What it says is kept for errors, not shown.

use crate::access::{Access, Secret};
use crate::bridge::stalled;
use crate::http::limited;
use icecore::error::{Error, Kind, Result};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

const PROGRAM: &str = "rclone";
/// Who rclone is told to let in, beside the password.
pub const USER: &str = "icecore";
/// Bytes of a password or a boundary, which is written in twice as many digits.
const RANDOM_BYTES: usize = 24;
/// Lines of its words that are kept for an error, and bytes of one.
const LINES: usize = 8;
const LINE_BYTES: u64 = 4 << 10;

const ARGUMENTS: [&str; 14] = [
    "rcd",
    "--rc-addr",
    "127.0.0.1:0",
    "--rc-serve",
    // A long object may take longer to send than the hour that is usual.
    "--rc-server-read-timeout",
    "8760h",
    "--rc-server-write-timeout",
    "8760h",
    // Not one request more for the time of each object.
    "--use-server-modtime",
    "--log-level",
    "NOTICE",
    "--stats",
    "0",
    "--rc-web-gui=false",
];

/// What would make the server another one, or hide what it says, if the user had set it for all of rclone.
const NOT_INHERITED: [&str; 16] = [
    "RCLONE_LOG_FILE",
    "RCLONE_LOG_FORMAT",
    "RCLONE_LOG_LEVEL",
    "RCLONE_QUIET",
    "RCLONE_RC",
    "RCLONE_RC_ADDR",
    "RCLONE_RC_ALLOW_ORIGIN",
    "RCLONE_RC_BASEURL",
    "RCLONE_RC_CERT",
    "RCLONE_RC_CLIENT_CA",
    "RCLONE_RC_HTPASSWD",
    "RCLONE_RC_KEY",
    "RCLONE_RC_NO_AUTH",
    "RCLONE_SYSLOG",
    "RCLONE_USE_JSON_LOG",
    "RCLONE_VERBOSE",
];

/// Starts rclone, and waits until it has said on which port it listens. Gives port and password.
///
/// # Errors
/// `Unsupported` when there is no rclone; `Io` with its words when it does not come up.
pub fn start(access: &Access) -> Result<(Serving, u16, Secret)> {
    // Setpriv would be started in its place, and find nothing to start.
    if (access.variable)("PATH").is_some_and(|path| !is_in(&path, PROGRAM)) {
        return Err(not_installed());
    }
    let password = Secret::new(unguessable()?);
    let config = (access.variable)("RCLONE_CONFIG");
    let tied: Vec<&str> = ["--pdeathsig", "TERM", "--", PROGRAM].into_iter().chain(ARGUMENTS).collect();
    let mut commands =
        [command("setpriv", &tied, config.as_deref()), command(PROGRAM, &ARGUMENTS, config.as_deref())];
    for command in &mut commands {
        command.env("RCLONE_RC_USER", USER).env("RCLONE_RC_PASS", password.expose());
    }
    let serving = Serving::default();
    let (told, port) = sync_channel(1);
    let heard = Arc::clone(&serving.0);
    // The system ends rclone with the thread that started it: this one lives until rclone has ended.
    std::thread::spawn(move || listen(commands, &heard, &told));
    let waiting = access.timeouts.whole(0);
    match port.recv_timeout(waiting) {
        Ok(Ok(port)) => Ok((serving, port, password)),
        Ok(Err(error)) => Err(error),
        Err(RecvTimeoutError::Disconnected) => {
            Err(serving.state().words.explain(Error::new(Kind::Io, "rclone ended before it could be used")))
        }
        Err(RecvTimeoutError::Timeout) => Err(serving.state().words.explain(stalled(waiting))),
    }
}

/// A program with these arguments and nothing else to hear; what it says comes by a pipe.
fn command(program: &str, arguments: &[&str], config: Option<&OsStr>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // What the terminal sends to interrupt is for this program, which may still have something to tidy up.
    command.process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    if let Some(config) = config {
        command.env("RCLONE_CONFIG", config);
    }
    command
}

/// Whether a program can be started by its name.
fn is_in(path: &OsStr, program: &str) -> bool {
    let can_be_run = |file: PathBuf| {
        let metadata = std::fs::metadata(file);
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).any(|folder| can_be_run(folder.join(program)))
}

fn not_installed() -> Error {
    Error::new(Kind::Unsupported, "rclone is not installed")
        .hint("install the package rclone (on Debian: apt install rclone); `rclone config` makes remotes")
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_installed(),
        _ => Error::io("cannot start", PROGRAM, error),
    })
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    child.kill().unwrap_or(());
    child.wait().map(drop).unwrap_or(());
}

/// Starts rclone and follows what it says until it ends; tells its port once.
fn listen([mut tied, mut plain]: [Command; 2], shared: &Mutex<State>, told: &SyncSender<Result<u16>>) {
    // Without setpriv it stays behind when this process is killed.
    let mut child = match tied.spawn().or_else(|_| spawn(&mut plain)) {
        Ok(child) => child,
        Err(error) => return told.send(Err(error)).unwrap_or(()),
    };
    let stderr = child.stderr.take();
    if !adopt(shared, child) {
        return;
    }
    let mut port = None;
    if let Some(stderr) = stderr {
        lines(stderr, &mut |line| {
            if port.is_none() {
                port = port_of(line);
                if let Some(port) = port {
                    // Nobody waits any more: then it is being stopped.
                    told.send(Ok(port)).unwrap_or(());
                }
            }
            locked(shared).words.add(line);
        });
    }
}

/// The port in `… Server started on [http://127.0.0.1:8080/]`.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok().filter(|port| *port != 0)
}

fn lines(stream: impl Read, each: &mut dyn FnMut(&str)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    // An error of the pipe is its end.
    while let Ok(1..) = stream.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
        each(String::from_utf8_lossy(&line).trim());
        line.clear();
    }
}

/// Digits that nobody can guess.
///
/// # Errors
/// When the system gives no random bytes.
pub fn unguessable() -> Result<String> {
    let mut random = [0u8; RANDOM_BYTES];
    let mut filled = 0;
    while filled < random.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut random[filled..], flags)
            .map_err(|e| Error::io("cannot get", "random bytes", e))?;
    }
    let mut text = String::with_capacity(2 * RANDOM_BYTES);
    for byte in random {
        write!(text, "{byte:02x}").map_err(|e| Error::new(Kind::Io, "cannot write").because(e))?;
    }
    Ok(text)
}

/// The last lines that rclone has said.
#[derive(Default)]
struct Words(VecDeque<String>);

impl Words {
    fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        self.0.push_back(limited(line));
    }

    fn explain(&self, error: Error) -> Error {
        if self.0.is_empty() {
            return error;
        }
        let said: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let said = limited(&said.join(" | "));
        error.because(said)
    }
}

/// What is known of a process.
#[derive(Default)]
pub struct State {
    child: Option<Child>,
    is_over: bool,
    words: Words,
}

fn locked(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every change is one step: a panic elsewhere leaves it sound.
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Keeps the process; false when it is not wanted any more, and has been ended.
fn adopt(shared: &Mutex<State>, mut child: Child) -> bool {
    let mut state = locked(shared);
    if state.is_over {
        stop(&mut child);
        return false;
    }
    state.child = Some(child);
    true
}

/// A running rclone, which ends when this is dropped.
#[derive(Default)]
pub struct Serving(Arc<Mutex<State>>);

impl Serving {
    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }

    /// Says of an error that rclone has ended, and with which words, if it has.
    pub fn explain(&self, error: Error) -> Error {
        let mut state = self.state();
        let has_ended = state.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
        match has_ended {
            true => state.words.explain(Error::new(error.kind(), "rclone has ended")),
            false => error,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let child = {
            let mut state = self.state();
            state.is_over = true;
            state.child.take()
        };
        if let Some(mut child) = child {
            stop(&mut child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_where_it_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
        std::fs::create_dir_all(empty.join("directory")).unwrap();
        std::fs::create_dir(&full).unwrap();
        let path = std::env::join_paths([&empty, &full]).unwrap();
        std::fs::write(full.join("program"), "").unwrap();
        assert!(!is_in(&path, "program") && !is_in(&path, "directory"));
        std::fs::set_permissions(full.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(is_in(&path, "program") && !is_in(OsStr::new(""), "program"));
    }

    #[test]
    fn the_port_is_found_in_what_rclone_says() {
        for line in [
            "2026/11/28 10:16:08 NOTICE: Serving remote control on http://127.0.0.1:41971/",
            "NOTICE: Serving remote control on [http://127.0.0.1:41971/]",
        ] {
            assert_eq!(port_of(line), Some(41971));
        }
        for other in
            ["", "http://127.0.0.1:", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://[::1]:80/"]
        {
            assert_eq!(port_of(other), None, "{other}");
        }
    }

    #[test]
    fn passwords_are_long_and_different() {
        let (one, other) = (unguessable().unwrap(), unguessable().unwrap());
        assert_eq!(one.len(), 2 * RANDOM_BYTES);
        assert_ne!(one, other);
    }

    #[test]
    fn only_the_last_words_are_kept() {
        let mut words = Words::default();
        for number in 0..20 {
            words.add(&format!("line {number}"));
        }
        let error = words.explain(Error::new(Kind::Io, "it failed"));
        assert!(error.to_string().contains("line 19") && !error.to_string().contains("line 11"), "{error}");
    }
}
