//! What a restore says of a chain in the end: what its engine never stored, and what nothing proves.

use super::super::Dialect;
use crate::monitor::{Event, Monitor};
use crate::tree::directory::lossy;

/// Names that are told of a kind; of the rest only the count.
pub(super) const NAMED: usize = 100;

/// Files of which something is to be said.
#[derive(Default)]
pub(super) struct Told {
    not_proven: Files,
    differing: Files,
}

/// The first of some files, and how many there are.
#[derive(Default)]
struct Files {
    named: Vec<String>,
    count: u64,
}

impl Files {
    fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(lossy(path));
        }
    }

    fn tell(&self, what: &str, monitor: &dyn Monitor) {
        for path in &self.named {
            monitor.event(Event::Warning(&format!("{path} {what}")));
        }
        let more = self.count - self.named.len() as u64;
        if more > 0 {
            monitor.event(Event::Warning(&format!("{more} more files: each {what}")));
        }
    }
}

impl Told {
    /// A file was put together from several levels, and there is nothing to compare it with.
    pub fn not_proven(&mut self, path: &[u8]) {
        self.not_proven.add(path);
    }

    /// A file is as it was stored, and not as its engine read it again.
    pub fn differs(&mut self, path: &[u8]) {
        self.differing.add(path);
    }

    /// Says all of it.
    pub fn tell(&self, dialect: Option<Dialect>, monitor: &dyn Monitor) {
        let never = match dialect {
            Some(Dialect::First) => {
                "Freezer's rsync engine stored no symbolic links to directories, no links that lead nowhere, no sockets, no hard \
                 links (each name is a file of its own) and no extended attributes; they are not in this backup"
            }
            Some(Dialect::Second) => {
                "Freezer's rsyncv2 engine stored no sockets, no hard links (each name is a file of its own), no extended attributes, \
                 and of owners the names alone; they are not in this backup"
            }
            None => return,
        };
        monitor.event(Event::Warning(never));
        self.not_proven.tell(
            "was put together from the changes that Freezer stored; nothing is left to prove that it is what was there",
            monitor,
        );
        self.differing.tell(
            "is as Freezer stored it, but not as it read it again afterwards: it was being changed meanwhile",
            monitor,
        );
    }
}
