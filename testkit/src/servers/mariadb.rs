//! MariaDB with a folder of its own, on a free port, as its own user where tests run as root.
//!
//! Of the system's configuration nothing is read. What it has is reached by its socket as root, without a password, and from
//! elsewhere as [`USER`].

use super::{NotInstalled, Server, answers, free_port, program};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Who makes backups.
pub const USER: &str = "backup";
/// The password of that user.
pub const PASSWORD: &str = "secret%of#the;backup";

/// A server.
pub struct Mariadb {
    server: Server,
    client: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Mariadb {
    /// Starts one with new tables, and all it needs below `folder`, which whoever it runs as has to reach.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path) -> Result<Mariadb, NotInstalled> {
        let installer = program("mariadb-install-db")?;
        program("mariadbd")?;
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the folder of a test can be written");
        let mut command = Command::new(installer);
        command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        command.arg(format!("--datadir={}", data.display())).args(as_user());
        let output = command.output().expect("it was found");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let mariadb = Mariadb::start_on(folder)?;
        mariadb.query(&format!(
            "CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT RELOAD, PROCESS ON *.* TO {USER}@'%'"
        ));
        Ok(mariadb)
    }

    /// Starts one on the tables that are in `folder/data`.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on(folder: &Path) -> Result<Mariadb, NotInstalled> {
        let (daemon, client) = (program("mariadbd")?, program("mariadb")?);
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("it is the test's own");
        let port = free_port();
        let mut command = Command::new(daemon);
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M"]);
        command.args(["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=2"]);
        command.arg(format!("--port={port}")).args(as_user());
        for (option, name) in [("datadir", "data"), ("socket", "socket"), ("pid-file", "pid")] {
            command.arg(format!("--{option}={}", folder.join(name).display()));
        }
        let socket = folder.join("socket");
        let server = Server::start("mariadb", command, folder, &|| {
            answers(port) && run(&client, &socket, "SELECT 1").is_ok()
        });
        Ok(Mariadb { server, client, folder: folder.to_owned(), port })
    }

    /// Where its tables are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The port of loopback that it listens to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What statements answer, as root: a line for each row, without a head.
    ///
    /// # Panics
    /// When they fail, with what was said.
    #[track_caller]
    pub fn query(&self, statements: &str) -> String {
        self.try_query(statements)
            .unwrap_or_else(|said| panic!("{statements}: {said}\n{}", self.server.said()))
    }

    /// The same.
    ///
    /// # Errors
    /// What was said when they fail.
    pub fn try_query(&self, statements: &str) -> Result<String, String> {
        run(&self.client, &self.folder.join("socket"), statements)
    }

    /// A client that does what is written to it, one line after the other.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn session(&self) -> Session {
        let mut command = client(&self.client, &self.folder.join("socket"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Session(child.expect("it was found"))
    }
}

/// A client, which ends when this is dropped.
pub struct Session(Child);

impl Session {
    /// Has it do something, without waiting for it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn begin(&mut self, statements: &str) {
        let input = self.0.stdin.as_mut().expect("it is piped");
        input.write_all(format!("{statements};\n").as_bytes()).expect("it reads");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.kill().unwrap_or(());
        self.0.wait().map(drop).unwrap_or(());
    }
}

/// As root it does not run, but as a user of the system's package.
fn as_user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=mysql")
}

fn client(program: &Path, socket: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--unbuffered"]);
    command.arg(format!("--socket={}", socket.display()));
    command
}

fn run(program: &Path, socket: &Path, statements: &str) -> Result<String, String> {
    let output = client(program, socket).arg("--execute").arg(statements).output().expect("it was found");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
