//! A run that can be watched, held and ended while it is under way.
//!
//! Moments are found by looking at what the process has open, never by waiting for a time: it is held (SIGSTOP) at the moment
//! that was looked for, and whatever the test does then happens in the middle of the run.

use crate::program::Outcome;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Running {
    child: Child,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Holds the run when it has something at or below `path` open; `false` when it ended before that was seen.
    pub fn hold_when_open(&mut self, path: &Path) -> bool {
        while !self.has_open(path) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        self.signal(Signal::STOP);
        while !self.is_held() {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        // It may have been closed on the way here.
        let held = self.has_open(path);
        if !held {
            self.resume();
        }
        held
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn wait(self) -> Outcome {
        let output = self.child.wait_with_output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    fn process(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.child.id()))
    }

    fn has_open(&self, path: &Path) -> bool {
        // The process may end at any time: what cannot be read is not open.
        let Ok(descriptors) = fs::read_dir(self.process("fd")) else { return false };
        descriptors
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.starts_with(path)))
    }

    /// Whether every thread has stopped (state `T`, the first word after the name in parentheses).
    fn is_held(&self) -> bool {
        let Ok(threads) = fs::read_dir(self.process("task")) else { return false };
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }
}
