//! Real servers for tests: started on loopback, on free ports, with all they write below a folder of the test's own, and
//! stopped by their process group when the test ends, however it ends.
//!
//! Programs of the system are found in PATH. What is written in Python has an environment of its own below
//! `target/servers`, which `scripts/test` makes from `testkit/servers/NAME.txt`. A server that is not installed is an error
//! that says so: a test says "not run" then, and fails where CI is set.

pub mod authority;
pub mod freezer;
pub mod ftp;
pub mod keystone;
pub mod mariadb;
pub mod moto;
pub mod rgw;
pub mod sshd;
pub mod swift;
pub mod webdav;

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Ports that servers are given: none of those that the system gives to whoever connects, or listens wherever it may.
const PORTS: Range<u16> = 20_000..32_000;
/// How many of them a process keeps from others: more than one test needs.
const LEASES_KEPT: usize = 128;

/// Why a server is not there.
#[derive(Debug)]
pub struct NotInstalled(pub String);

/// A server that runs until this is dropped.
pub struct Server {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, whose output goes to `folder/NAME.log`, and waits until `is_ready`.
    ///
    /// # Panics
    /// When it ends by itself or is not ready in time, with what it said.
    pub fn start(name: &str, command: Command, folder: &Path, is_ready: &dyn Fn() -> bool) -> Server {
        Server::start_within(START, name, command, folder, is_ready)
    }

    /// As [`Server::start`], for one that needs another time until it answers.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_within(
        patience: Duration,
        name: &str,
        command: Command,
        folder: &Path,
        is_ready: &dyn Fn() -> bool,
    ) -> Server {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).expect("a log can be made");
        let errors = output.try_clone().expect("a log has two handles");
        let child = tied(&command).stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let mut server = Server { child, name: name.to_owned(), log };
        let end = Instant::now() + patience;
        while !is_ready() {
            let ended = server.child.try_wait().expect("its state can be asked for");
            assert!(ended.is_none(), "{name} ended: {ended:?}\n{}", server.said());
            assert!(Instant::now() < end, "{name} is not ready\n{}", server.said());
            std::thread::sleep(LOOK);
        }
        server
    }

    /// The id of its process, which leads a group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read(&self.log)
            .map_or_else(|e| e.to_string(), |said| String::from_utf8_lossy(&said).into_owned())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().expect("it can be waited for");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        // It may have ended by itself.
        if let Some(group) = group {
            rustix::process::kill_process_group(group, signal).unwrap_or(());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let end = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        // Children that outlived it, too.
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().map(drop).unwrap_or(());
        if std::thread::panicking() {
            let said = self.said();
            let tail = said.len().saturating_sub(4000);
            let tail = (tail..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
            std::io::stderr()
                .write_all(format!("{} said:\n{}\n", self.name, &said[tail..]).as_bytes())
                .unwrap_or(());
        }
    }
}

/// A command as the leader of a group, which the system ends when this process does.
fn tied(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied.process_group(0);
    tied
}

/// A port of loopback that nobody listens to, and that no other test of this machine is given while this one runs: a server
/// that is stopped and started again finds its port as it was, and no client finds another server there meanwhile.
///
/// # Panics
/// When all are taken.
pub fn free_port() -> u16 {
    static LEASES: Mutex<VecDeque<File>> = Mutex::new(VecDeque::new());
    let folder =
        std::env::temp_dir().join(format!("icecore-test-ports-{}", rustix::process::geteuid().as_raw()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let first = RandomState::new().hash_one(std::process::id()) % u64::from(PORTS.end - PORTS.start);
    let first = PORTS.start + u16::try_from(first).expect("a remainder of less");
    for port in (first..PORTS.end).chain(PORTS.start..first) {
        let lease = File::create(folder.join(port.to_string())).expect("a file can be made");
        if lease.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            let mut leases = LEASES.lock().unwrap_or_else(PoisonError::into_inner);
            // One process may run all tests one after the other, and each lease is an open file.
            if leases.len() == LEASES_KEPT {
                leases.pop_front();
            }
            leases.push_back(lease);
            return port;
        }
    }
    panic!("no port is free");
}

/// Whether somebody listens to a port of loopback.
pub fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}

/// A program of the system.
///
/// # Errors
/// When it is not installed.
pub fn program(name: &str) -> Result<PathBuf, NotInstalled> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/lib/openssh"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| NotInstalled(format!("{name} is not installed; scripts/test installs it")))
}

/// The folder of the programs of a Python environment that `testkit/servers/NAME.txt` describes.
///
/// # Errors
/// When it has not been made.
pub fn python(name: &str) -> Result<PathBuf, NotInstalled> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned();
    let folder =
        std::env::var_os("ICECORE_TEST_SERVERS").map_or_else(|| root.join("target/servers"), PathBuf::from);
    let bin = folder.join(name).join("bin");
    match bin.join("python").exists() && folder.join(name).join("installed.txt").exists() {
        true => Ok(bin),
        false => Err(NotInstalled(format!("{name} is not installed; scripts/test installs it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_port_is_given_once() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}
