//! Running the program as a user does: a process with a home and a temporary directory of its own, and nothing else of the
//! tester's environment.
//!
//! Cargo hands no other package's binaries to a test (`CARGO_BIN_EXE_…` is only for a package's own), and building the agent
//! as a dependency gives a library, not a program. So the program is the one that `ICECORE_BIN` names (scripts/test does
//! so), or else it is built once by the cargo that runs the tests, with their profile and into their target folder; cargo's
//! own lock makes that safe for many test processes at once.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The user and group that owns nothing.
const NOBODY: u32 = 65_534;

/// The program with a home of its own.
pub struct Program {
    home: TempDir,
    binary: PathBuf,
    user: Option<u32>,
    /// What it finds as the password in its environment.
    pub password: Option<&'static str>,
}

impl Program {
    pub fn new() -> Program {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tmp")).unwrap();
        Program { home, binary: binary().to_owned(), user: None, password: None }
    }

    /// The program as run by somebody who may not read everything: nobody when the tester is root, the tester otherwise.
    pub fn unprivileged() -> Program {
        let mut program = Program::new();
        if icecore_testkit::tree::is_root() {
            let place = program.home.path().to_owned();
            for directory in [place.clone(), place.join("tmp")] {
                fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
                std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            // The target folder may lie where nobody may not go.
            program.binary = place.join("icecore");
            fs::copy(binary(), &program.binary).unwrap();
            program.user = Some(NOBODY);
        }
        program
    }

    /// The home of whoever runs it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Gives `path` and everything below it to the user that the program runs as.
    pub fn give(&self, path: &Path) {
        if let Some(user) = self.user {
            let status = Command::new("chown").arg("-Rh").arg(format!("{user}:{user}")).arg(path).status();
            assert!(status.unwrap().success());
        }
    }

    /// The command line, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        self.surround(command)
    }

    /// A shell in which `commands` find the program first in PATH, and which stops at the first that fails; not yet started.
    pub fn shell(&self, commands: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", commands]);
        let mut command = self.surround(command);
        let mut path = self.binary.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command
    }

    fn surround(&self, mut command: Command) -> Command {
        command.env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("TMPDIR", self.home.path().join("tmp"));
        command.env("LC_ALL", "C.UTF-8").current_dir("/");
        command.envs(self.password.map(|password| ("ICECORE_PASSWORD", password)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs to the end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; 128 and the signal's number when one ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn new(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Outcome {
        let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Fails the test, showing all that was said, unless the run ended with `status`.
    #[track_caller]
    pub fn expect(self, status: i32) -> Outcome {
        assert_eq!(self.status, status, "\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The JSON lines of one type. Every line of standard output must be JSON; errors may be on either stream.
    pub fn of_type(&self, wanted: &str) -> Vec<Value> {
        let lines = self.stdout.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}"))
        });
        let errors = self.stderr.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.chain(errors).filter(|line: &Value| line["type"] == wanted).collect()
    }

    /// The last line, which sums the run up.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.of_type("summary").pop();
        last.unwrap_or_else(|| panic!("no summary\nstdout: {}\nstderr: {}", self.stdout, self.stderr))
    }

    /// Whether some line of type `problem` or `error` speaks of `what`.
    pub fn names(&self, what: &str) -> bool {
        let lines = [self.of_type("problem"), self.of_type("error")].concat();
        lines.iter().any(|line| line.to_string().contains(what))
    }

    /// Fails the test unless a failure was reported with its kind, in words, and with the exit status of the run.
    #[track_caller]
    pub fn explained(self) -> Outcome {
        let error = self.of_type("error").pop().unwrap_or_else(|| panic!("no error line: {self:?}"));
        assert!(error["kind"].is_string() && error["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(error["exit"], self.status, "{error}");
        self
    }
}

/// Says that a test could not be run here; where everything must be there (CI), that is a failure.
#[track_caller]
pub fn not_run(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run this test here: {reason}");
    eprintln!("not run: {reason}");
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("ICECORE_BIN") {
        Some(path) => fs::canonicalize(path).expect("ICECORE_BIN names a program"),
        None => build(),
    })
}

/// This test is `<target>/<profile>/deps/<test>`; the program goes to `<target>/<profile>/icecore`.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let profile = match folder.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "icecore-agent", "--bin", "icecore", "--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the program does not build");
    folder.join("icecore")
}
