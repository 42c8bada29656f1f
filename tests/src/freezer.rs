//! Freezer's agent by its own command lines: `icecore agent`, which is what a program file called `freezer-agent` does.

mod actions;
mod beside;
mod corpus;
mod defects;
mod encrypted_rsync;
mod info;
mod options;
mod rows;
mod said;
mod several;
mod storages;

use crate::place::Place;
use crate::program::Outcome;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The agent in a place of its own; what is stored is in `repository`.
struct Agent {
    place: Place,
}

impl Agent {
    fn new() -> Agent {
        Agent { place: Place::new() }
    }

    /// The command line, not yet started; the agent starts in the place's folder.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.place.program.command(&[&["agent"], more].concat());
        command.current_dir(self.place.path());
        command
    }

    fn run(&self, more: &[&str]) -> Outcome {
        outcome(self.command(more))
    }

    /// With local storage, and the series `h_n`.
    fn local(&self, action: &str, more: &[&str]) -> Outcome {
        let repository = self.place.repository();
        let storage = ["--action", action, "--storage", "local", "--container", repository.to_str().unwrap()];
        self.run(&[&storage[..], &["--hostname", "h", "--backup-name", "n"], more].concat())
    }

    fn backup_of(&self, source: &Path, more: &[&str]) -> Outcome {
        self.local(
            "backup",
            &[&["--path-to-backup", source.to_str().unwrap(), "--metadata-out", "-"], more].concat(),
        )
    }

    fn backup(&self, more: &[&str]) -> Outcome {
        self.backup_of(&self.place.source(), more)
    }

    /// A backup that must end well: what it says it came to.
    #[track_caller]
    fn level(&self, more: &[&str]) -> Value {
        metadata(&self.backup(more).expect(0))
    }

    fn restore(&self, target: &str, more: &[&str]) -> Outcome {
        let target = self.place.target(target);
        self.local("restore", &[&["--restore-abs-path", target.to_str().unwrap()], more].concat())
    }
}

fn outcome(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

/// The answer of `--metadata-out -`.
#[track_caller]
fn metadata(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

/// Everything below a folder: paths and contents.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for path in crate::place::entries(folder) {
        match path.is_dir() {
            true => found.extend(everything(&path)),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found
}
