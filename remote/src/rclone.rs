//! Whatever rclone can reach: `rclone:REMOTE:PATH`, by starting the user's own rclone as a WebDAV server for this process alone.
//!
//! Why WebDAV and not `rclone serve restic --stdio`: that one knows only the names that restic's repositories have, and lists no
//! other. Rclone listens on a port of loopback that the system chose, asks for a password that is made for this one run and
//! handed over in the environment, keeps nothing in a cache (an upload is answered when the remote has it), and remembers no
//! listing, for others may write to the remote, too.
//!
//! Invariants: nothing goes through a shell; no secret is an argument. Rclone ends when the storage is dropped, and (where the
//! program setpriv is there) when this process dies, however it does.

use crate::access::{Access, Secret, Timeouts};
use crate::address::Address;
use crate::http::limited;
use crate::webdav::{Server, WebDav};
use crate::{Driver, Intent};
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Rclone.
pub const DRIVER: Driver =
    Driver { schemes: &["rclone"], form: "rclone:REMOTE:PATH", about: "whatever rclone is configured for", open };

const PROGRAM: &str = "rclone";
/// Who rclone is told to let in, beside the password.
const USER: &str = "icecore";
/// Bytes of a password, which is written in twice as many digits.
const PASSWORD_BYTES: usize = 24;
/// How rclone ends when there is no such folder (its manual, "Exit code").
const NO_SUCH_FOLDER: i32 = 3;
/// Lines of its words that are kept for an error, and bytes of one.
const LINES: usize = 8;
const LINE_BYTES: u64 = 4 << 10;
const LOOK: Duration = Duration::from_millis(10);

/// What would make the server another one, or hide what it says, if the user had set it for all of rclone.
const NOT_INHERITED: [&str; 16] = [
    "RCLONE_ADDR",
    "RCLONE_AUTH_PROXY",
    "RCLONE_BASEURL",
    "RCLONE_CERT",
    "RCLONE_CLIENT_CA",
    "RCLONE_HTPASSWD",
    "RCLONE_KEY",
    "RCLONE_LOG_FILE",
    "RCLONE_LOG_FORMAT",
    "RCLONE_LOG_LEVEL",
    "RCLONE_QUIET",
    "RCLONE_READ_ONLY",
    "RCLONE_SYSLOG",
    "RCLONE_TEMPLATE",
    "RCLONE_USE_JSON_LOG",
    "RCLONE_VERBOSE",
];

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let place = address.path();
    // A remote's name, or `:backend,options:` in its place.
    if !place.chars().skip(1).any(|letter| letter == ':') {
        return Err(Error::invalid("no remote of rclone is named in", address.to_string())
            .hint("write rclone:REMOTE:PATH; `rclone listremotes` shows the remotes"));
    }
    let waiting = access.timeouts.whole(0);
    let config = (access.variable)("RCLONE_CONFIG");
    match intent {
        Intent::Create => run(&["mkdir", "--", place], config.as_deref(), waiting)?,
        Intent::Open => run(&["lsf", "--max-depth", "1", "--", place], config.as_deref(), waiting)?,
    }
    let (serving, port, password) = serve(place, config.as_deref(), &access.timeouts)?;
    let server = Server {
        scheme: "http",
        host: "127.0.0.1",
        port: Some(port),
        path: "",
        login: Some((USER.to_owned(), Some(password))),
        ca_file: None,
        identity: None,
    };
    let storage = WebDav::open(server, access, Intent::Open, address.to_string()).map_err(|error| serving.explain(error))?;
    Ok(Arc::new(Rclone { storage, serving }))
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

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::Unsupported, "rclone is not installed")
            .hint("install the package rclone (on Debian: apt install rclone); `rclone config` makes remotes"),
        _ => Error::io("cannot start", PROGRAM, error),
    })
}

/// Runs rclone to its end.
fn run(arguments: &[&str], config: Option<&OsStr>, waiting: Duration) -> Result<()> {
    let mut child = spawn(&mut command(PROGRAM, arguments, config))?;
    let mut stderr = child.stderr.take();
    let listener = std::thread::spawn(move || {
        let mut words = Words::default();
        if let Some(stderr) = stderr.take() {
            lines(stderr, &mut |line| words.add(line));
        }
        words
    });
    let end = Instant::now() + waiting;
    let status = loop {
        let ended = child.try_wait().map_err(|e| Error::io("cannot wait for", PROGRAM, e))?;
        if ended.is_some() || Instant::now() > end {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    let Some(status) = status else {
        stop(&mut child);
        let what = format!("rclone does not answer within {} seconds", waiting.as_secs());
        return Err(Error::new(Kind::Io, what).retry_later());
    };
    let words = listener.join().unwrap_or_default();
    match status.code() {
        Some(0) => Ok(()),
        Some(NO_SUCH_FOLDER) => Err(words.explain(Error::new(Kind::NotFound, "there is no such folder on the remote"))),
        _ => Err(words.explain(Error::new(Kind::Io, format!("rclone {} failed", arguments.first().unwrap_or(&""))))),
    }
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    child.kill().unwrap_or(());
    child.wait().map(drop).unwrap_or(());
}

/// Starts the server, and waits until it has said on which port it listens.
fn serve(place: &str, config: Option<&OsStr>, timeouts: &Timeouts) -> Result<(Serving, u16, Secret)> {
    let password = password()?;
    let arguments = [
        "serve",
        "webdav",
        "--addr",
        "127.0.0.1:0",
        // An upload is answered when the remote has it.
        "--vfs-cache-mode",
        "off",
        // Others write to the remote, too.
        "--dir-cache-time",
        "0s",
        "--poll-interval",
        "0",
        // One request for a listing, and not one more for the time of each object.
        "--use-server-modtime",
        "--log-level",
        "NOTICE",
        "--",
        place,
    ];
    let tied: Vec<&str> = ["--pdeathsig", "TERM", "--", PROGRAM].into_iter().chain(arguments).collect();
    let mut commands = [command("setpriv", &tied, config), command(PROGRAM, &arguments, config)];
    for command in &mut commands {
        command.env("RCLONE_USER", USER).env("RCLONE_PASS", password.expose());
    }
    let serving = Serving::default();
    let (told, port) = sync_channel(1);
    let heard = serving.clone();
    // The system ends rclone with the thread that started it: this one lives until rclone has ended.
    std::thread::spawn(move || listen(commands, &heard, &told));
    match port.recv_timeout(timeouts.whole(0)) {
        Ok(Ok(port)) => Ok((serving, port, password)),
        Ok(Err(error)) => Err(error),
        Err(RecvTimeoutError::Disconnected) => {
            Err(serving.explain(Error::new(Kind::Io, "rclone ended before it could be used")))
        }
        Err(RecvTimeoutError::Timeout) => Err(serving.explain(crate::bridge::stalled(timeouts.whole(0)))),
    }
}

/// Starts rclone and follows what it says until it ends; tells its port once.
fn listen([mut tied, mut plain]: [Command; 2], serving: &Serving, told: &SyncSender<Result<u16>>) {
    // Without setpriv it stays behind when this process is killed.
    let mut child = match tied.spawn().or_else(|_| spawn(&mut plain)) {
        Ok(child) => child,
        Err(error) => return told.send(Err(error)).unwrap_or(()),
    };
    let stderr = child.stderr.take();
    if !serving.adopt(child) {
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
            serving.state().words.add(line);
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

/// A password that nobody can guess.
fn password() -> Result<Secret> {
    let mut random = [0u8; PASSWORD_BYTES];
    let mut filled = 0;
    while filled < random.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut random[filled..], flags)
            .map_err(|e| Error::io("cannot get", "random bytes", e))?;
    }
    let mut text = String::with_capacity(2 * PASSWORD_BYTES);
    for byte in random {
        write!(text, "{byte:02x}").map_err(|e| Error::new(Kind::Io, "cannot write").because(e))?;
    }
    Ok(Secret::new(text))
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
        // Its own words say best what is missing.
        match said.contains("didn't find section in config file") {
            true => Error::new(Kind::NotFound, "rclone has no such remote").because(said).hint("`rclone listremotes` shows them"),
            false => error.because(said),
        }
    }
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    is_over: bool,
    words: Words,
}

/// A running rclone; clones are handles of the same one.
#[derive(Clone, Default)]
struct Serving(Arc<Mutex<State>>);

impl Serving {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step: a panic elsewhere leaves it sound.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the process; false when it is not wanted any more, and has been ended.
    fn adopt(&self, mut child: Child) -> bool {
        let mut state = self.state();
        if state.is_over {
            stop(&mut child);
            return false;
        }
        state.child = Some(child);
        true
    }

    /// Adds what rclone said to an error, and ends it.
    fn explain(&self, error: Error) -> Error {
        self.end();
        self.state().words.explain(error)
    }

    fn end(&self) {
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

/// A remote of rclone, as a WebDAV server of this process.
struct Rclone {
    storage: WebDav,
    serving: Serving,
}

impl Rclone {
    /// What rclone has said, where it answers with a number only.
    fn told<T>(&self, done: Result<T>) -> Result<T> {
        done.map_err(|error| {
            let mut state = self.serving.state();
            let ended = state.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            match ended {
                true => state.words.explain(Error::new(error.kind(), "rclone has ended")),
                false => error,
            }
        })
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        self.serving.end();
    }
}

impl Storage for Rclone {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.told(self.storage.put(name, bytes, mode))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.told(self.storage.writer(name, mode))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.told(self.storage.read(name, offset, length_bytes))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.told(self.storage.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.storage.list(prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.told(self.storage.delete(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.told(self.storage.clean_temporaries(before))
    }

    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    fn label(&self) -> String {
        self.storage.label()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_what_rclone_says() {
        let line = "2026/11/28 10:00:00 NOTICE: Local file system at /x: WebDav Server started on [http://127.0.0.1:38443/]";
        assert_eq!(port_of(line), Some(38443));
        for other in ["", "http://127.0.0.1:", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://[::1]:80/"] {
            assert_eq!(port_of(other), None, "{other}");
        }
    }

    #[test]
    fn passwords_are_long_and_different() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_eq!(one.expose().len(), 2 * PASSWORD_BYTES);
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn only_the_last_words_are_kept() {
        let mut words = Words::default();
        for number in 0..20 {
            words.add(&format!("line {number}"));
        }
        let error = words.explain(Error::new(Kind::Io, "it failed"));
        assert!(error.to_string().contains("line 19") && !error.to_string().contains("line 11"), "{error}");
        let error = {
            words.add("CRITICAL: Failed to create file system for \"x:\": didn't find section in config file");
            words.explain(Error::new(Kind::Io, "it failed"))
        };
        assert_eq!(error.kind(), Kind::NotFound);
    }
}
