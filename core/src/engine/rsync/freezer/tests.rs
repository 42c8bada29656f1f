//! Streams as both engines wrote them, made by a small writer after the description of the format, and read back.

mod damage;
mod encrypted;
mod history;
mod reading;
mod restoring;
mod writer;

use super::restore;
use crate::codec::{self, Compression, openssl};
use crate::engine::{Chain, Overwrite, Reading, RestoreJob, Wanted};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Counting, Event, Monitor};
use crate::spool::{Scratch, Spool};
use crate::tree::target::{Options, Target};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

/// Levels in memory.
#[derive(Default, Clone)]
struct Levels {
    /// Decoded streams.
    streams: Vec<Vec<u8>>,
    /// Engine metadata as it is stored; empty where there is none.
    manifests: Vec<Vec<u8>>,
    block_bytes: Option<u64>,
    may_lack_end: bool,
    lacking: Vec<usize>,
    /// Where streams are stored as they were encrypted: the password.
    password: Option<Vec<u8>>,
}

impl Chain for Levels {
    fn levels(&self) -> usize {
        self.streams.len()
    }

    fn by_icecore(&self, _level: usize) -> bool {
        false
    }

    fn block_size(&self, _level: usize) -> Option<u64> {
        self.block_bytes
    }

    fn may_lack_end(&self, _level: usize) -> bool {
        self.may_lack_end
    }

    fn lacks_end(&self, level: usize) -> bool {
        self.lacking.contains(&level)
    }

    fn engine_metadata(&mut self, level: usize) -> Result<Spool> {
        let Some(manifest) = self.manifests.get(level).filter(|manifest| !manifest.is_empty()) else {
            return Err(Error::new(Kind::NotFound, "there is no").on("manifest"));
        };
        let mut spool = scratch().spool();
        spool.write_all(manifest).unwrap();
        spool.rewind().unwrap();
        Ok(spool)
    }

    fn stream(
        &mut self,
        level: usize,
        consume: &mut dyn FnMut(&mut dyn Read) -> Result<Reading>,
    ) -> Result<()> {
        let stored = self.streams[level].as_slice();
        let Some(password) = &self.password else { return consume(&mut { stored }).map(drop) };
        let (key, _) = openssl::find_key(&[password], stored, &[Compression::Gzip])?;
        let source = openssl::Reader::new(stored, &key)?;
        let ((), lacks_end) =
            codec::decode_blocks(Compression::Gzip, source, |input| consume(input).map(drop))?;
        if lacks_end {
            self.lacking.push(level);
        }
        Ok(())
    }
}

fn scratch() -> Scratch {
    Scratch::new(std::env::temp_dir())
}

/// Keeps what is told.
#[derive(Default)]
struct Heard {
    lost: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Heard {
    fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap().clone()
    }

    fn warnings(&self) -> String {
        self.warnings.lock().unwrap().join("\n")
    }
}

impl Monitor for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Problem { path, lost: true, .. } => self.lost.lock().unwrap().push(path.to_owned()),
            Event::Warning(text) => self.warnings.lock().unwrap().push(text.to_owned()),
            _ => {}
        }
    }
}

/// How a test restores.
struct How {
    wanted: Wanted,
    overwrite: Option<Overwrite>,
    delete: bool,
    verify: bool,
}

impl Default for How {
    fn default() -> Self {
        How { wanted: Wanted::everything(), overwrite: None, delete: false, verify: true }
    }
}

/// What came of a restore.
struct Outcome {
    result: Result<()>,
    lost: Vec<String>,
    warnings: String,
    kept: u64,
    unchanged: u64,
    verified: u64,
    entries: u64,
}

fn restore_to(folder: &Path, levels: &Levels, how: &How) -> Outcome {
    let heard = Heard::default();
    let monitor = Counting::new(&heard);
    let scratch = scratch();
    let mut target = Target::open(folder, &scratch, Options::numeric(false), &monitor).unwrap();
    let job = RestoreJob {
        wanted: &how.wanted,
        overwrite: how.overwrite,
        delete: how.delete,
        verify: how.verify,
        scratch: &scratch,
        monitor: &monitor,
    };
    let result = restore(job, &mut levels.clone(), Some(&mut target));
    target.finish().unwrap();
    let (kept, unchanged, verified) = (monitor.kept(), monitor.unchanged(), monitor.verified());
    let entries = monitor.entries();
    Outcome { result, lost: heard.lost(), warnings: heard.warnings(), kept, unchanged, verified, entries }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// A tree by path; the root is not in it.
type Tree = BTreeMap<String, Node>;

fn tree_of(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let node = if metadata.is_dir() {
                todo.push(path.clone());
                Node::Directory
            } else if metadata.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                Node::File(fs::read(&path).unwrap())
            };
            tree.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), node);
        }
    }
    tree
}
