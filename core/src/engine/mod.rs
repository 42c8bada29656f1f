//! Engines: each turns a source into a stored level, and applies stored levels to a target.
//!
//! An engine knows nothing of storages, object names, compression or encryption: it writes a stream and reads a stream.
//! The verbs ([`crate::backup`], [`crate::restore`], [`crate::check`]) join both ends.

pub mod dedup;
pub mod tar;

use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use crate::tree::filter::Filter;
use crate::tree::target::Target;
use std::io::Read;
use std::path::Path;

/// Every engine, in the order they are offered. Feeds the command line, the documentation and the tests.
pub const ENGINES: &[&dyn Engine] = &[&tar::Tar];

/// The engine of this name.
///
/// # Errors
/// `Unsupported` for a name that is not in [`ENGINES`].
pub fn by_name(name: &str) -> Result<&'static dyn Engine> {
    let found = ENGINES.iter().find(|engine| engine.name() == name).copied();
    found.ok_or_else(|| {
        let known: Vec<_> = ENGINES.iter().map(|engine| engine.name()).collect();
        Error::new(Kind::Unsupported, "there is no engine")
            .on(name)
            .hint(format!("engines: {}", known.join(", ")))
    })
}

/// What to back up.
pub struct Source<'a> {
    /// A directory, or one entry that is not.
    pub path: &'a Path,
    /// What to leave out.
    pub filter: &'a Filter,
    /// Whether to stay on the file system of `path`.
    pub one_file_system: bool,
}

/// A level to make.
pub struct BackupJob<'a> {
    /// What to read.
    pub source: Source<'a>,
    /// The engine metadata of the level below; `None` for a full backup.
    pub base: Option<Spool>,
    /// The time now, from the clock that stamps changes of files: what changes from here on belongs to the next level.
    pub now: FileTime,
    /// Where to put what outgrows memory.
    pub scratch: &'a Scratch,
    /// Who is told.
    pub monitor: &'a dyn Monitor,
}

/// Levels to apply to a target, lowest first.
pub struct RestoreJob<'a> {
    /// What is wanted: paths relative to the root of the source, each with everything below it; empty means everything.
    pub include: &'a [Vec<u8>],
    /// Remove whatever stands in a restored directory and is not in the backup.
    pub delete: bool,
    /// Where to put what outgrows memory.
    pub scratch: &'a Scratch,
    /// Who is told.
    pub monitor: &'a dyn Monitor,
}

/// How far an engine read the stream of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// To its end: the whole of it is checked against its size and hash.
    ToTheEnd,
    /// Far enough for what was wanted; the rest is not fetched.
    Enough,
}

/// The stored levels of one backup, lowest first, as an engine sees them.
pub trait Chain {
    /// How many levels there are.
    fn levels(&self) -> usize;

    /// Whether Icecore wrote the level (and so in the order and with the promises of its own format pages).
    fn by_icecore(&self, level: usize) -> bool;

    /// The engine metadata of a level.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, or as the storage has it.
    fn engine_metadata(&mut self, level: usize) -> Result<Spool>;

    /// Runs `consume` over the decoded stream of a level.
    ///
    /// # Errors
    /// What `consume` or the storage failed with; `Damaged` when the stream is not what was stored.
    fn stream(
        &mut self,
        level: usize,
        consume: &mut dyn FnMut(&mut dyn Read) -> Result<Reading>,
    ) -> Result<()>;
}

/// A way of making backups.
pub trait Engine: Send + Sync {
    /// The name on the command line and in object names.
    fn name(&self) -> &'static str;

    /// Writes one level to `out`; gives back the engine metadata that the next level and the metadata document need.
    ///
    /// # Errors
    /// `Stopped` when the storage failed; `Interrupted`; a source that cannot be opened at all. A file that cannot be read is
    /// a problem told to the monitor, not an error.
    fn backup(&self, job: BackupJob<'_>, out: &mut BlockWriter<'_>) -> Result<Spool>;

    /// Applies the levels of `chain` to `target` (`None`: reads and counts, writes nothing).
    ///
    /// # Errors
    /// `Damaged` streams, a full target, `Interrupted`. What concerns one path is a problem told to the monitor.
    fn restore(
        &self,
        job: RestoreJob<'_>,
        chain: &mut dyn Chain,
        target: Option<&mut Target<'_>>,
    ) -> Result<()>;

    /// Reads one decoded level to its end and checks its syntax.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`.
    fn verify(&self, input: &mut dyn Read, monitor: &dyn Monitor) -> Result<()>;
}
