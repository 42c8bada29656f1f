//! A backup that is being written: claimed by name first, committed by its document last.
//!
//! Any number of programs may write at once. A name is taken by putting `claim` with `CreateNew`; whoever finds it taken,
//! or finds anything beside it, moves on by a second. The claim stays until the document is there, so data without a
//! document and without a claim belongs to nobody who still runs. A clean-up takes the claim before it looks for the document
//! and before it takes anything else, and a commit gives up the claim after it has put the document: one of the two always
//! notices the other. Invariant: as long as the document may exist, nothing of the backup is deleted.

mod copied;
mod reencrypted;

pub use copied::Copied;
pub use reencrypted::{Presence, Reencrypting};

use super::document::{Details, Document, Report, Scheme, Stored, python};
use super::location::{self, DATA, METADATA, series_folder};
use super::{BackupEntry, BackupLocation, Repository};
use crate::error::{Error, Kind, Result};
use crate::level::Decision;
use crate::limits::{CLAIM_ATTEMPTS, READ_BYTES};
use crate::name::{BackupName, Level, ObjectName};
use crate::spool::Spool;
use crate::storage::{Depth, Listed, ObjectWriter, PutMode};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who writes a backup, for people who find the claim of a run that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
}

/// What the stream of a backup is, for its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// How the stream is compressed, in Freezer's words where it has one.
    pub compression: String,
    /// How the stream is encrypted, if it is.
    pub scheme: Scheme,
    /// What the run says of itself.
    pub report: Report,
}

/// A backup that is being written. Dropped without a commit, it takes away what it wrote.
pub struct Pending {
    repository: Repository,
    location: BackupLocation,
    parent: Option<BackupEntry>,
    data_finished: Arc<AtomicBool>,
    engine_metadata_finished: bool,
    settled: bool,
}

impl Repository {
    /// Takes a name for the backup that was decided on: not earlier than `now`, and later than every name the series has
    /// or had, as far as anything is left of it.
    ///
    /// # Errors
    /// `Busy` when others keep taking the names, `Limit` when the series has the last name there is, and what the
    /// storage reports.
    pub fn begin(
        &self,
        engine: &str,
        name: &BackupName,
        decision: &Decision,
        now: Timestamp,
        claimant: &Claimant,
    ) -> Result<Pending> {
        let newest = self.newest_name(engine, name)?;
        let mut timestamp = newest.map_or(now, |newest| now.max(Timestamp(newest.0.saturating_add(1))));
        for _ in 0..CLAIM_ATTEMPTS {
            if Timestamp::parse(&timestamp.to_string()).is_none() {
                return Err(Error::new(Kind::Limit, "no names are left in the series").on(name.to_string()));
            }
            let location = place(engine, name, decision, timestamp);
            if self.claim(&location, claimant)? {
                return Ok(self.pending(location, decision));
            }
            timestamp.0 = timestamp.0.saturating_add(1);
        }
        Err(Error::new(Kind::Busy, "others are beginning backups of the same series:").on(name.to_string()))
    }

    fn pending(&self, location: BackupLocation, decision: &Decision) -> Pending {
        let parent = match decision {
            Decision::Full(_) => None,
            Decision::Increment { parent, .. } => Some(*parent),
        };
        Pending {
            repository: self.clone(),
            location,
            parent,
            data_finished: Arc::default(),
            engine_metadata_finished: false,
            settled: false,
        }
    }

    /// The newest timestamp in any name of the series, of a backup or of what a killed run left.
    fn newest_name(&self, engine: &str, name: &BackupName) -> Result<Option<Timestamp>> {
        let mut newest = None;
        for tree in [DATA, METADATA] {
            self.storage.list(Some(&series_folder(tree, engine, name)?), Depth::All, &mut |row| {
                if let Listed::Object { name, .. } = row
                    && let Some((found, _)) = location::parse_object(tree, &name)
                {
                    newest = newest.max(Some(found.entry.timestamp)).max(Some(found.chain));
                }
                Ok(())
            })?;
        }
        Ok(newest)
    }

    /// Tries to take one name.
    fn claim(&self, location: &BackupLocation, claimant: &Claimant) -> Result<bool> {
        let claim = location.claim()?;
        match self.storage.put_fleeting(&claim, &python::to_line(claimant)) {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.while_doing("cannot begin a backup at", location.to_string())),
        }
        // Another run may have taken this name, and given up its claim to commit, since the names were listed.
        for object in [location.metadata()?, location.data()?, location.engine_metadata()?] {
            if self.size_of(&object)?.is_some() {
                self.delete_if_there(&claim)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_size(&self, object: &ObjectName, size_bytes: u64) -> Result<()> {
        match self.size_of(object)? {
            Some(found) if found == size_bytes => Ok(()),
            Some(found) => {
                let what = format!("wrote {size_bytes} bytes, but the storage has {found}:");
                Err(Error::damaged(what, object.to_string()))
            }
            None => Err(Error::damaged("was written, but the storage does not have it:", object.to_string())),
        }
    }

    /// Writes all of a spool into a new object.
    fn put_new(&self, name: &ObjectName, content: &mut Spool) -> Result<Stored> {
        let mut stream = HashedWriter::new(self.storage.writer(name, PutMode::CreateNew)?);
        content.rewind()?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length =
                content.read(&mut buffer).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
            if length == 0 {
                return stream.finish();
            }
            stream.write(&buffer[..length])?;
        }
    }

    /// Whether what a level builds on is there, if it builds on anything.
    fn has_parent(&self, level: &BackupLocation, parent: Option<BackupEntry>) -> Result<bool> {
        let Some(entry) = parent else { return Ok(true) };
        let parent = BackupLocation { entry, ..level.clone() };
        Ok(self.size_of(&parent.metadata()?)?.is_some())
    }
}

fn chain_is_gone(level: &BackupLocation) -> Error {
    Error::damaged("the chain was removed meanwhile:", level.to_string())
        .hint("run it again; a backup begins a new chain")
}

fn place(engine: &str, name: &BackupName, decision: &Decision, timestamp: Timestamp) -> BackupLocation {
    let (chain, level) = match decision {
        Decision::Full(_) => (timestamp, Level::FULL),
        Decision::Increment { chain, level, .. } => (*chain, *level),
    };
    BackupLocation {
        engine: engine.to_owned(),
        name: name.clone(),
        chain,
        entry: BackupEntry { level, timestamp },
    }
}

impl Pending {
    /// Where the backup will live.
    pub fn location(&self) -> &BackupLocation {
        &self.location
    }

    /// Begins the stream. What it returns is independent, so that it can go to the thread that writes.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn data_writer(&self) -> Result<DataWriter> {
        let writer = self.repository.storage.writer(&self.location.data()?, PutMode::CreateNew)?;
        Ok(DataWriter { stream: HashedWriter::new(writer), finished: Arc::clone(&self.data_finished) })
    }

    /// Stores the state of the engine.
    ///
    /// # Errors
    /// What the storage or the spool reports.
    pub fn engine_metadata(&mut self, state: &mut Spool) -> Result<Stored> {
        let stored = self.repository.put_new(&self.location.engine_metadata()?, state)?;
        self.engine_metadata_finished = true;
        Ok(stored)
    }

    /// Makes the backup exist: checks that all of it is there, that what it builds on is too, and puts the document.
    ///
    /// # Errors
    /// `Damaged` when an object is not as it was written or the chain was removed meanwhile, `Busy` when somebody cleaned
    /// the unfinished backup away, `AlreadyExists` when the name was taken, `Limit` for a document that is too long, and
    /// what the storage reports.
    pub fn commit(
        mut self,
        data: Stored,
        engine_metadata: Stored,
        contents: Contents,
    ) -> Result<BackupEntry> {
        let line = self.document(data, engine_metadata, contents).encode()?;
        self.repository.check_size(&self.location.data()?, data.size_bytes)?;
        self.repository.check_size(&self.location.engine_metadata()?, engine_metadata.size_bytes)?;
        self.check_parent()?;
        if self.repository.size_of(&self.location.claim()?)?.is_none() {
            return Err(self.cleaned_up());
        }
        self.put_document(&line)?;
        self.settled = true;
        self.check_again()?;
        Ok(self.location.entry)
    }

    fn document(&self, data: Stored, engine_metadata: Stored, contents: Contents) -> Document {
        let parent = self.parent.map(|parent| parent.timestamp);
        Document {
            engine_name: self.location.engine.clone(),
            compression: Some(contents.compression),
            rsync_block_size: None,
            encryption: contents.scheme != Scheme::None,
            details: Some(Details {
                data,
                engine_metadata,
                parent,
                scheme: contents.scheme,
                origin: None,
                report: contents.report,
            }),
        }
    }

    fn parent_exists(&self) -> Result<bool> {
        self.repository.has_parent(&self.location, self.parent)
    }

    fn check_parent(&self) -> Result<()> {
        if self.parent_exists()? { Ok(()) } else { Err(chain_is_gone(&self.location)) }
    }

    /// A clean-up may take the claim, and somebody may remove the chain, between the first look and the commit. They look
    /// again as well, after they took it. When these looks fail, the backup stands: it was committed in order, and a claim
    /// that is left beside a document means nothing.
    fn check_again(&self) -> Result<()> {
        let error = if !self.repository.delete_if_there(&self.location.claim()?).unwrap_or(true) {
            self.cleaned_up()
        } else if !self.parent_exists().unwrap_or(true) {
            chain_is_gone(&self.location)
        } else {
            return Ok(());
        };
        self.repository.delete_if_there(&self.location.metadata()?)?;
        self.take_away();
        Err(error)
    }

    fn cleaned_up(&self) -> Error {
        Error::new(Kind::Busy, "somebody cleaned up the unfinished backup").on(self.location.to_string())
    }

    /// Puts the document. After a failure it may have arrived all the same (an answer was lost): it is looked for, and
    /// whatever may be committed is left alone.
    fn put_document(&mut self, line: &[u8]) -> Result<()> {
        let name = self.location.metadata()?;
        let storage = Arc::clone(&self.repository.storage);
        let Err(error) = storage.put(&name, line, PutMode::CreateNew) else { return Ok(()) };
        match storage.read_small(&name, line.len() as u64) {
            Ok(found) if found == line => return Ok(()),
            Err(missing) if missing.kind() == Kind::NotFound => {}
            _ => self.settled = true,
        }
        Err(error.while_doing("cannot commit", self.location.to_string()))
    }

    /// Removes what this run wrote. Failures are of no use to anybody here: the run has failed already, and what is left
    /// is an orphan that a later clean-up finds.
    fn take_away(&self) {
        let delete =
            |name: Result<ObjectName>| name.and_then(|name| self.repository.delete_if_there(&name)).ok();
        if self.data_finished.load(Ordering::Acquire) {
            delete(self.location.data());
        }
        if self.engine_metadata_finished {
            delete(self.location.engine_metadata());
        }
        delete(self.location.claim());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.settled {
            self.take_away();
        }
    }
}

/// Writes the stream of a backup and hashes it on the way.
pub struct DataWriter {
    stream: HashedWriter,
    finished: Arc<AtomicBool>,
}

impl DataWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// What the storage reports; afterwards the writer is only good for dropping.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write(bytes)
    }

    /// Makes the stream durable and says what was written.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn finish(self) -> Result<Stored> {
        let stored = self.stream.finish()?;
        self.finished.store(true, Ordering::Release);
        Ok(stored)
    }
}

struct HashedWriter {
    writer: Box<dyn ObjectWriter>,
    hasher: blake3::Hasher,
}

impl HashedWriter {
    fn new(writer: Box<dyn ObjectWriter>) -> Self {
        HashedWriter { writer, hasher: blake3::Hasher::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.writer.write(bytes)
    }

    fn finish(self) -> Result<Stored> {
        self.writer.finish()?;
        Ok(Stored { size_bytes: self.hasher.count(), blake3: self.hasher.finalize() })
    }
}
