//! OpenSSH's server with keys of its own, for whoever runs the tests, on a free port; and an agent.
//!
//! A connection is served by a process that leads a group of its own: it is found by its parent, and ended apart.

use super::{NotInstalled, Server, answers, free_port, program};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Opens the key that is locked.
pub const PASSPHRASE: &str = "secret passphrase";

/// Logs in where [`Sshd::start_with_password`] has started the server.
pub const PASSWORD: &str = "a password of this test's";

/// The kinds of keys of the server, and of whoever may log in.
const KEYS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// A server.
pub struct Sshd {
    server: Option<Server>,
    folder: PathBuf,
    port: u16,
    program: PathBuf,
    takes_password: bool,
}

impl Sshd {
    /// Starts one with all it needs below `folder`; `more` are lines for its configuration.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path, more: &str) -> Result<Sshd, NotInstalled> {
        Sshd::begin(folder, more, false)
    }

    /// As [`Sshd::start`]; [`PASSWORD`] opens as well. The system's passwords stay what they are: the server sees others.
    ///
    /// # Errors
    /// When it is not installed, and where nothing can be mounted.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with_password(folder: &Path, more: &str) -> Result<Sshd, NotInstalled> {
        let openssl = program("openssl")?;
        let may_mount = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !may_mount.is_ok_and(|status| status.success()) {
            return Err(NotInstalled("nothing can be mounted here".to_owned()));
        }
        fs::create_dir_all(folder).expect("the folder of a test can be written");
        let hash = Command::new(openssl).args(["passwd", "-6", PASSWORD]).output().expect("openssl runs");
        let hash = String::from_utf8_lossy(&hash.stdout).trim().to_owned();
        let known = format!("{}:{hash}:20000:0:99999:7:::\n", user());
        fs::write(folder.join("shadow"), known).expect("the folder of a test can be written");
        Sshd::begin(folder, more, true)
    }

    fn begin(folder: &Path, more: &str, takes_password: bool) -> Result<Sshd, NotInstalled> {
        let (program, keygen) = (program("sshd")?, program("ssh-keygen")?);
        let folder = folder.to_owned();
        fs::create_dir_all(folder.join("data")).expect("the folder of a test can be written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("it is the test's own");
        if rustix::process::geteuid().is_root() {
            // Where the server shuts itself in before anybody has logged in: the one path that is compiled into it.
            fs::create_dir_all("/run/sshd").expect("root may do that");
        }
        for kind in KEYS {
            make_key(&keygen, &folder.join(format!("host_{kind}")), kind, "");
            make_key(&keygen, &folder.join(format!("user_{kind}")), kind, "");
        }
        make_key(&keygen, &folder.join("user_locked"), "ed25519", PASSPHRASE);
        make_key(&keygen, &folder.join("stranger"), "ed25519", "");
        let public =
            |name: &str| fs::read_to_string(folder.join(format!("{name}.pub"))).expect("a key has been made");
        let users: String = ["user_ed25519", "user_ecdsa", "user_rsa", "user_locked"].map(public).concat();
        fs::write(folder.join("authorized_keys"), users).expect("the folder of a test can be written");
        let port = free_port();
        let known: String = KEYS
            .iter()
            .map(|kind| {
                let key = public(&format!("host_{kind}"));
                let mut words = key.split(' ');
                let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                format!("[127.0.0.1]:{port} {kind} {}\n", key.trim())
            })
            .collect();
        fs::write(folder.join("known_hosts"), known).expect("the folder of a test can be written");
        fs::write(folder.join("sshd_config"), configuration(&folder, port, takes_password, more))
            .expect("the folder of a test can be written");
        let mut sshd = Sshd { server: None, folder, port, program, takes_password };
        sshd.restart();
        Ok(sshd)
    }

    /// Starts it again on its port, after [`Sshd::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = match self.takes_password {
            true => {
                let mut command = Command::new("unshare");
                let behind = "mount --bind \"$0\" /etc/shadow && exec \"$@\"";
                command
                    .args(["--mount", "sh", "-c", behind])
                    .arg(self.folder.join("shadow"))
                    .arg(&self.program);
                command
            }
            false => Command::new(&self.program),
        };
        command.args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        let port = self.port;
        self.server = Some(Server::start("sshd", command, &self.folder, &|| answers(port)));
    }

    /// Ends it and every connection at once, as a crash would.
    pub fn kill(&mut self) {
        // Who comes back at once must not be let in by it in between: that connection would outlive it.
        if let Some(server) = &self.server {
            signal(server.id(), rustix::process::Signal::STOP);
        }
        self.kill_connections();
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Ends every connection at once; new ones can be made.
    ///
    /// # Panics
    /// When the processes of the system cannot be seen.
    pub fn kill_connections(&self) {
        let Some(server) = &self.server else { return };
        for child in descendants(server.id()) {
            signal(child, rustix::process::Signal::KILL);
        }
    }

    /// Stops or continues everything that serves connections.
    pub fn freeze(&self, is_frozen: bool) {
        use rustix::process::Signal;
        let Some(server) = &self.server else { return };
        for process in descendants(server.id()).into_iter().chain([server.id()]) {
            signal(process, if is_frozen { Signal::STOP } else { Signal::CONT });
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        let Some(server) = &self.server else { return 0 };
        children(server.id()).len()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who may log in: whoever runs this.
    ///
    /// # Panics
    /// When nobody knows who that is.
    pub fn user(&self) -> String {
        user()
    }

    /// A file of its: `user_ed25519`, `user_ecdsa`, `user_rsa`, `user_locked`, `stranger`, `known_hosts`, `data`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The address of a folder below `data`, with what is needed to log in.
    pub fn address(&self, name: &str) -> String {
        let shown = |name: &str| self.file(name).display().to_string();
        format!(
            "sftp://{}@127.0.0.1:{}{}/{name}?known-hosts={}&identity={}",
            self.user(),
            self.port,
            shown("data"),
            shown("known_hosts"),
            shown("user_ed25519")
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.freeze(false);
        self.kill_connections();
    }
}

/// Sends a signal to a process, which may have ended by itself.
fn signal(process: u32, signal: rustix::process::Signal) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        rustix::process::kill_process(process, signal).unwrap_or(());
    }
}

fn user() -> String {
    let asked = Command::new("id").arg("-un").output().expect("a user can be asked for");
    String::from_utf8_lossy(&asked.stdout).trim().to_owned()
}

fn configuration(folder: &Path, port: u16, takes_password: bool, more: &str) -> String {
    let folder = folder.display();
    let password = if takes_password { "yes" } else { "no" };
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_ed25519\nHostKey {folder}/host_ecdsa\nHostKey {folder}/host_rsa\n\
         PidFile none\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication {password}\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100:30:200\nMaxSessions 100\n\
         PrintMotd no\n{more}\n"
    )
}

fn make_key(keygen: &Path, file: &Path, kind: &str, passphrase: &str) {
    if file.exists() {
        return;
    }
    let mut command = Command::new(keygen);
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"]).arg(file);
    let made = command.stdin(Stdio::null()).status().expect("a key can be made");
    assert!(made.success(), "no key: {made}");
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("the processes of the system can be seen");
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|process| parent_of(*process) == Some(parent)).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let known = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything, parentheses too.
    known.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(ancestor: u32) -> Vec<u32> {
    let mut found = children(ancestor);
    let mut seen = 0;
    while seen < found.len() {
        found.extend(children(found[seen]));
        seen += 1;
    }
    found
}

/// An agent that holds keys.
pub struct Agent {
    _server: Server,
    socket: PathBuf,
}

impl Agent {
    /// Starts one and gives it keys.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start, or takes a key not.
    pub fn start(folder: &Path, keys: &[PathBuf]) -> Result<Agent, NotInstalled> {
        let (agent, add) = (program("ssh-agent")?, program("ssh-add")?);
        let socket = folder.join("agent");
        let mut command = Command::new(agent);
        command.args(["-D", "-a"]).arg(&socket);
        let server = Server::start("ssh-agent", command, folder, &|| socket.exists());
        for key in keys {
            let mut command = Command::new(&add);
            command.arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).stdin(Stdio::null());
            let added = command.status().expect("an agent can be given keys");
            assert!(added.success(), "not taken: {}", key.display());
        }
        Ok(Agent { _server: server, socket })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
