//! Freezer's agent itself, version 19.0.0: what others do not do beside it is compared with what it does.
//!
//! It wants a Keystone that lets it in, also for a backup from one folder to another.

use super::keystone::Keystone;
use super::{NotInstalled, python};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The agent, with a home of its own.
pub struct Freezer {
    program: PathBuf,
    home: PathBuf,
    variables: Vec<(String, String)>,
}

impl Freezer {
    /// Finds it; what it writes beside backups goes to `folder`.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new(folder: &Path, keystone: &Keystone) -> Result<Freezer, NotInstalled> {
        let program = python("freezer")?.join("freezer-agent");
        let home = folder.to_owned();
        std::fs::create_dir_all(home.join("tmp")).expect("a folder can be made");
        Ok(Freezer { program, home, variables: keystone.variables() })
    }

    /// Runs it to the end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.env_clear().args(arguments).stdin(Stdio::null()).current_dir(&self.home);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("TMPDIR", self.home.join("tmp")).env("LC_ALL", "C.UTF-8");
        command.env("PYTHONWARNINGS", "ignore").envs(self.variables.iter().map(|(key, value)| (key, value)));
        command.output().expect("it can be started")
    }
}
