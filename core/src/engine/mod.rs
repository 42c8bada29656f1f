//! Engines: each turns a source into a stored backup, and applies stored backups to a target.
//!
//! There are two ways. A [`StreamEngine`] makes levels: it writes a stream and reads a stream, and knows nothing of storages,
//! object names, compression or encryption. An [`ObjectEngine`] keeps chunks in the repository's vault, and its backups need
//! no levels. The verbs ([`crate::backup`], [`crate::restore`], [`crate::check`]) join both ends: they alone begin and commit.

pub mod dedup;
mod described;
mod overwrite;
mod paths;
pub mod rsync;
pub mod tar;
mod wanted;

pub use overwrite::Overwrite;
pub use wanted::Wanted;

use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::repository::vault::{ChunkId, CompressionLevel, Index, PackRef, Vault};
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use crate::tree::dereference::Dereference;
use crate::tree::filter::Filter;
use crate::tree::target::Target;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Every engine, in the order they are offered; the first is the default. Feeds the command line, the documentation and the tests.
pub const ENGINES: &[&dyn Engine] = &[&dedup::Dedup, &tar::Tar, &rsync::Rsync];

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
    /// What is stored in place of links.
    pub dereference: Dereference,
}

/// A level to make.
pub struct BackupJob<'a> {
    /// What to read.
    pub source: Source<'a>,
    /// The engine metadata of the level below; `None` for a full backup.
    pub base: Option<Spool>,
    /// The time now, from the clock that stamps changes of files: what changes from here on belongs to the next level.
    pub now: FileTime,
    /// The length of a block, for an engine that has such: what the user wants.
    pub block_bytes: Option<u32>,
    /// Where to put what outgrows memory.
    pub scratch: &'a Scratch,
    /// Who is told.
    pub monitor: &'a dyn Monitor,
}

/// What to apply to a target.
pub struct RestoreJob<'a> {
    /// What is wanted of the backup.
    pub wanted: &'a Wanted,
    /// What becomes of what stands in the target already; `None` for a target that was empty.
    pub overwrite: Option<Overwrite>,
    /// Remove whatever stands in a restored directory and is not in the backup. Not with a policy that keeps what is there.
    pub delete: bool,
    /// Read every restored file again, and compare it with the backup.
    pub verify: bool,
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

    /// The block size that the metadata document of a level names, as those of Freezer's second rsync engine do.
    fn block_size(&self, level: usize) -> Option<u64>;

    /// Whether the stream of a level may end too early without being damaged, as those of Freezer's first rsync engine that are
    /// encrypted do: their last bytes were never stored.
    fn may_lack_end(&self, _level: usize) -> bool {
        false
    }

    /// Whether the stream of such a level was found to lack its end when it was last read to where it ends.
    fn lacks_end(&self, _level: usize) -> bool {
        false
    }

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

/// Takes the entries of a tree with their paths.
pub type Found<'f> = &'f mut dyn FnMut(&[u8], &dedup::tree::Entry) -> Result<()>;

/// A way of making backups.
pub trait Engine: Send + Sync {
    /// The name on the command line and in object names.
    fn name(&self) -> &'static str;

    /// How it keeps them.
    fn way(&self) -> Way<'_>;
}

/// How an engine keeps its backups.
pub enum Way<'a> {
    /// As levels of a chain, each a stream.
    Levels(&'a dyn StreamEngine),
    /// As objects of the vault, each backup whole by itself.
    Objects(&'a dyn ObjectEngine),
}

/// An engine whose backups are levels of a chain.
pub trait StreamEngine: Send + Sync {
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

    /// Reads the one level of `chain` to its end and checks its syntax.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`; as the chain has it.
    fn verify(&self, chain: &mut dyn Chain, monitor: &dyn Monitor) -> Result<()>;

    /// Names what a chain lacks because the ends of its levels were never stored ([`Chain::lacks_end`]).
    ///
    /// # Errors
    /// As [`StreamEngine::restore`].
    fn never_stored(&self, _chain: &mut dyn Chain, _monitor: &dyn Monitor) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Hands out the tree of the last level of `chain` without its contents: every entry with its path, the root first; of each
    /// directory itself, its other entries by their names, then what is in its sub-directories one after the other. What could not be
    /// read when it was backed up is known by name. Nothing is written.
    ///
    /// # Errors
    /// `Damaged`; `Limit` where it is more than can be remembered, with what to do instead; what `found` fails with; `Interrupted`; as the chain has it.
    fn tree(
        &self,
        chain: &mut dyn Chain,
        scratch: &Scratch,
        monitor: &dyn Monitor,
        found: Found<'_>,
    ) -> Result<()>;

    /// Whether it makes increments to what Freezer wrote.
    fn continues_foreign(&self) -> bool {
        true
    }
}

/// One of the trees that a backup is made of.
#[derive(Debug, Clone)]
pub struct Root<'a> {
    /// Where it is: absolute.
    pub path: &'a Path,
    /// What it is called in the backup. Empty: the root of the backup is this path itself, and there is no other.
    pub name: Vec<u8>,
}

/// What an [`ObjectEngine`] reads.
pub enum Input<'a> {
    /// Trees, by different names.
    Trees(Vec<Root<'a>>),
    /// One file without a place of its own, of unknown length. An error of `content` fails the backup.
    Stream {
        /// What the file is called in the backup: one component.
        name: Vec<u8>,
        /// Its content.
        content: &'a mut (dyn Read + Send + 'static),
    },
}

/// A backup to make into the vault.
pub struct ObjectBackup<'a> {
    /// What to read.
    pub input: Input<'a>,
    /// What to leave out.
    pub filter: &'a Filter,
    /// Whether to stay on the file systems of the roots.
    pub one_file_system: bool,
    /// The root of an earlier backup of the same trees: what has not changed since is not read.
    pub parent: Option<ChunkId>,
    /// Where the chunks are that the vault has.
    pub index: Arc<Index>,
    /// The time now, from the clock that stamps changes of files.
    pub clock: &'a (dyn Fn() -> FileTime + Sync),
    /// How hard to compress.
    pub effort: CompressionLevel,
    /// Whether what was compressed is decompressed and compared before it counts as stored.
    pub verify_compression: bool,
    /// Threads that read, cut, hash and compress.
    pub jobs: usize,
    /// Threads that have files fetched into the system's cache before they are read, where they are not in it.
    pub readers: usize,
    /// Read everything, write nothing.
    pub dry_run: bool,
    /// Who is told.
    pub monitor: &'a dyn Monitor,
}

/// What an [`ObjectEngine`] has made: durable, and reachable from its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The root of its tree.
    pub root: ChunkId,
    /// Entries of every kind.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Bytes of content of all files.
    pub bytes: u64,
    /// Bytes that this run has added to the vault.
    pub added_bytes: u64,
}

/// What is to be looked at in the vault.
pub struct Examination<'a> {
    /// The roots of the backups.
    pub roots: &'a [ChunkId],
    /// Where chunks are.
    pub index: Arc<Index>,
    /// Packs in which something is wrong: what is needed of them is read.
    pub suspects: &'a HashSet<PackRef>,
    /// Who is asked whether to go on.
    pub monitor: &'a dyn Monitor,
}

/// Trees to be copied from one vault to another.
pub struct Transfer<'a> {
    /// Where they are.
    pub from: &'a Vault,
    /// Where the chunks of that vault are.
    pub from_index: Arc<Index>,
    /// Where they go.
    pub to: &'a Vault,
    /// Where the chunks of that one are.
    pub to_index: Arc<Index>,
    /// The roots of the trees.
    pub roots: &'a [ChunkId],
    /// Roots of trees that are in both: each there is a copy of the one here, made before. What they share with `roots` is not
    /// fetched again.
    pub copied: &'a [(ChunkId, ChunkId)],
    /// Threads that fetch.
    pub workers: usize,
    /// Read everything, write nothing.
    pub dry_run: bool,
    /// Who is told.
    pub monitor: &'a dyn Monitor,
}

/// What became of a [`Transfer`].
pub struct Transferred {
    /// The copy of each tree: durable; or why there is none.
    pub trees: Vec<Result<Made>>,
    /// Bytes that were added to the vault.
    pub added_bytes: u64,
}

/// A chunk that a backup needs and that cannot be had.
#[derive(Debug)]
pub struct Flaw {
    /// The chunk.
    pub chunk: ChunkId,
    /// Why it cannot be had.
    pub error: Error,
    /// Who needs it.
    pub needs: Vec<Need>,
}

/// A backup that needs a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which of the roots.
    pub root: usize,
    /// The first paths that need it, as text for people.
    pub paths: Vec<String>,
    /// How many more there are.
    pub more: u64,
}

/// An engine that keeps its backups as objects of the vault, each whole by itself.
pub trait ObjectEngine: Send + Sync {
    /// Stores what there is to store and says where it begins. The verb commits it, or does not.
    ///
    /// # Errors
    /// As the storage has it; `Interrupted`; roots that cannot be opened at all; a stream that failed. A file that cannot be
    /// read is a problem told to the monitor, not an error.
    fn backup(&self, job: ObjectBackup<'_>, vault: &Vault) -> Result<Made>;

    /// Restores the tree of `root` to `target` (`None`: reads and checks, writes nothing) with `workers` threads.
    ///
    /// # Errors
    /// `Damaged` when anything that was wanted could not be restored, each told to the monitor; a full target; `Interrupted`.
    fn restore(
        &self,
        job: RestoreJob<'_>,
        workers: usize,
        vault: &Vault,
        index: Arc<Index>,
        root: &ChunkId,
        target: Option<&mut Target<'_>>,
    ) -> Result<()>;

    /// Copies trees, and all they refer to, from one vault to another, which may have other keys. Chunks are not compressed anew.
    ///
    /// # Errors
    /// As either storage has it; `Interrupted`. What concerns one tree is told of that tree.
    fn transfer(&self, job: Transfer<'_>) -> Result<Transferred>;

    /// Whether all that some backups need is there: every tree is read, each of its nodes once, and every chunk it refers to is
    /// looked up.
    ///
    /// # Errors
    /// As the storage has it; `Interrupted`. What is wrong with a backup is a [`Flaw`].
    fn examine(&self, job: Examination<'_>, vault: &Vault) -> Result<Vec<Flaw>>;
}
