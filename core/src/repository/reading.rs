//! Getting a backup back: its document, the path of a restore, and the stored bytes, checked on the way.
//!
//! Invariant: the last block of an object is handed out only after size and hash of the whole were compared with what its
//! document promises, so a reader that comes to the end has read what was written. Freezer promises nothing; of its
//! objects only the size at the start of the read is held to.

mod ahead;

use super::document::{self, Document, Stored};
use super::{BackupEntry, BackupLocation, Chain, Repository, read_document};
use crate::error::{Error, Kind, Result};
use crate::limits::BLOCK_BYTES;
use crate::monitor::{Event, Monitor};
use crate::name::{Level, ObjectName};
use crate::spool::{Scratch, Spool};
use crate::storage::Storage;
use crate::time::Timestamp;
use ahead::Ahead;
use std::io::Write;
use std::sync::Arc;

/// One backup on the path of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it lives.
    pub location: BackupLocation,
    /// What its document says.
    pub document: Document,
}

impl Step {
    /// The timestamp of the backup that this one is an increment to, where its document names it.
    pub fn parent(&self) -> Option<Timestamp> {
        self.document.details.as_ref().and_then(|details| details.parent)
    }

    /// The objects of its content, each with what the document promises of it.
    fn content(&self) -> Result<[(ObjectName, Option<Stored>); 2]> {
        let (data, state) = (self.location.data()?, self.location.engine_metadata()?);
        Ok([(data, self.promised_data()), (state, self.promised_engine_metadata())])
    }

    fn promised_data(&self) -> Option<Stored> {
        self.document.details.as_ref().map(|details| details.data)
    }

    fn promised_engine_metadata(&self) -> Option<Stored> {
        self.document.details.as_ref().map(|details| details.engine_metadata)
    }
}

impl Repository {
    /// Reads the document of a backup.
    ///
    /// # Errors
    /// `NotFound` when there is no such backup, `Damaged` or `Unsupported` naming the object, and what the storage reports.
    pub fn step(&self, location: BackupLocation) -> Result<Step> {
        let name = location.metadata()?;
        let bytes = read_document(self.storage.as_ref(), &name)?;
        let document = document::parse(&bytes).map_err(|error| error.on(name.to_string()))?;
        Ok(Step { location, document })
    }

    /// The backups that a restore of `chosen` applies, level 0 first, with their documents.
    ///
    /// # Errors
    /// `Damaged` naming the missing level or the document that cannot be read; otherwise as [`Repository::step`].
    pub fn path(&self, chain: &Chain, chosen: BackupEntry) -> Result<Vec<Step>> {
        self.path_by(chain, chosen, &|location| self.step(location))
    }

    fn path_by(
        &self,
        chain: &Chain,
        chosen: BackupEntry,
        step: &dyn Fn(BackupLocation) -> Result<Step>,
    ) -> Result<Vec<Step>> {
        let mut path = vec![step(chain.location(chosen))?];
        let mut above = chosen;
        while above.level != Level::FULL {
            above = chain.parent(chosen, above, path.last().and_then(Step::parent))?;
            path.push(step(chain.location(above))?);
        }
        path.reverse();
        Ok(path)
    }

    /// Compares the sizes of all objects of a path with what is promised: a cheap check before the first byte is restored.
    ///
    /// # Errors
    /// `NotFound` naming the object that is missing, `Damaged` the one that has another size (for Freezer's: is empty), and what
    /// the storage reports.
    pub fn verify_sizes(&self, path: &[Step]) -> Result<()> {
        for step in path {
            for (name, promised) in step.content()? {
                self.checked_size(&name, promised)?;
            }
        }
        Ok(())
    }

    /// Has `read` read an object; and read it anew, where the storage keeps several copies, from one after the other as long as what is read is
    /// damaged. That is told when a sound one was found.
    ///
    /// # Errors
    /// Of `read`: when all copies are damaged what was found first.
    pub(crate) fn past_damage<T>(
        &self,
        name: &ObjectName,
        monitor: &dyn Monitor,
        mut read: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut first: Option<Error> = None;
        loop {
            let error = match (read(), &first) {
                (Ok(done), None) => return Ok(done),
                (Ok(done), Some(error)) => {
                    let text = format!("passed over a damaged copy, and read another: {error}");
                    monitor.event(Event::Warning(&text));
                    return Ok(done);
                }
                (Err(error), _) => error,
            };
            match error.kind() {
                Kind::Damaged => (),
                // Only on those that are left.
                Kind::NotFound if first.is_some() => (),
                _ => return Err(error),
            }
            let error = first.take().unwrap_or(error);
            if !self.storage.distrust(name) {
                return Err(error);
            }
            first = Some(error);
        }
    }

    /// As [`Repository::path`], past damaged copies of the documents.
    ///
    /// # Errors
    /// As that.
    pub(crate) fn path_past_damage(
        &self,
        chain: &Chain,
        chosen: BackupEntry,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Step>> {
        self.path_by(chain, chosen, &|location| {
            self.past_damage(&location.metadata()?, monitor, || self.step(location.clone()))
        })
    }

    /// As [`Repository::verify_sizes`], past copies that have another size.
    ///
    /// # Errors
    /// As that.
    pub(crate) fn verify_sizes_past_damage(&self, path: &[Step], monitor: &dyn Monitor) -> Result<()> {
        for step in path {
            for (name, promised) in step.content()? {
                self.past_damage(&name, monitor, || self.checked_size(&name, promised))?;
            }
        }
        Ok(())
    }

    fn checked_size(&self, name: &ObjectName, promised: Option<Stored>) -> Result<u64> {
        let Some(found) = self.size_of(name)? else {
            return Err(Error::new(Kind::NotFound, "missing:").on(name.to_string()));
        };
        match promised {
            Some(stored) if stored.size_bytes != found => {
                let what = format!("{found} bytes instead of {}:", stored.size_bytes);
                Err(Error::damaged(what, name.to_string()))
            }
            None if found == 0 => Err(Error::damaged("empty:", name.to_string())),
            _ => Ok(found),
        }
    }

    /// Opens the stream of a backup.
    ///
    /// # Errors
    /// `Damaged` when it is missing or its size is not what was promised, and what the storage reports.
    pub fn data_reader(&self, step: &Step) -> Result<ObjectReader> {
        self.reader(step.location.data()?, step.promised_data())
    }

    /// The first bytes of the stream of a backup, not compared with any hash: what tells by which key it opens.
    ///
    /// # Errors
    /// As [`Repository::data_reader`].
    pub fn data_head(&self, step: &Step, most_bytes: usize) -> Result<Vec<u8>> {
        let name = step.location.data()?;
        let size_bytes = self.checked_size(&name, step.promised_data())?;
        let length = usize::try_from(size_bytes).unwrap_or(usize::MAX).min(most_bytes);
        self.storage.read(&name, 0, length)
    }

    /// Fetches the state of the engine after a backup, and checks it, as it is stored.
    ///
    /// # Errors
    /// As [`Repository::data_reader`] and [`ObjectReader::next_block`], and I/O of the spool.
    pub fn read_engine_metadata(&self, step: &Step, scratch: &Scratch) -> Result<Spool> {
        let mut reader = self.reader(step.location.engine_metadata()?, step.promised_engine_metadata())?;
        let mut spool = scratch.spool();
        while let Some(block) = reader.next_block()? {
            spool.write_all(&block).map_err(|e| Error::io("cannot write", "a temporary file", e))?;
        }
        spool.rewind()?;
        Ok(spool)
    }

    fn reader(&self, name: ObjectName, promised: Option<Stored>) -> Result<ObjectReader> {
        let size_bytes = self.checked_size(&name, promised)?;
        let is_worth_it = size_bytes > BLOCK_BYTES as u64 && self.storage.capabilities().parallel;
        let ahead = is_worth_it.then(|| Ahead::start(Arc::clone(&self.storage), name.clone(), size_bytes));
        Ok(ObjectReader {
            ahead: ahead.transpose()?,
            storage: Arc::clone(&self.storage),
            name,
            size_bytes,
            position_bytes: 0,
            hasher: blake3::Hasher::new(),
            promised,
            checked: false,
        })
    }
}

/// Reads an object from its start to its end in blocks of [`BLOCK_BYTES`], and checks it.
pub struct ObjectReader {
    ahead: Option<Ahead>,
    storage: Arc<dyn Storage>,
    name: ObjectName,
    size_bytes: u64,
    position_bytes: u64,
    hasher: blake3::Hasher,
    promised: Option<Stored>,
    checked: bool,
}

impl ObjectReader {
    /// How long the object is.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The next block; `None` after the last. The last one is returned only when the whole is what was promised.
    ///
    /// # Errors
    /// `Damaged` naming the object when it ends early or its hash is wrong, and what the storage reports.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        let left = self.size_bytes - self.position_bytes;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        if length == 0 {
            self.check()?;
            return Ok(None);
        }
        let block = match &mut self.ahead {
            Some(ahead) => ahead.next(),
            None => self.storage.read(&self.name, self.position_bytes, length),
        };
        let block = block.map_err(|e| self.vanished(e))?;
        if block.len() != length {
            return Err(Error::damaged(
                format!("ended {} bytes early:", left.saturating_sub(block.len() as u64)),
                self.name.to_string(),
            ));
        }
        self.hasher.update(&block);
        self.position_bytes += length as u64;
        if self.position_bytes == self.size_bytes {
            self.check()?;
        }
        Ok(Some(block))
    }

    /// The object was there when it was opened.
    fn vanished(&self, error: Error) -> Error {
        match error.kind() {
            Kind::NotFound => {
                Error::damaged("vanished while it was read:", self.name.to_string()).because(error)
            }
            _ => error,
        }
    }

    fn check(&mut self) -> Result<()> {
        let wrong = |promised: &Stored| promised.blake3 != self.hasher.finalize();
        if !self.checked && self.promised.as_ref().is_some_and(wrong) {
            return Err(Error::damaged("wrong checksum of", self.name.to_string())
                .hint("the storage has changed these bytes; restore another backup"));
        }
        self.checked = true;
        Ok(())
    }
}
