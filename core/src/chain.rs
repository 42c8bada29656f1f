//! The stored levels of one backup as an engine reads them: fetched block by block, checked against size and hash, decrypted and decoded.
//!
//! Nothing of a level counts as read to its end unless all of its bytes were there and, for what Icecore wrote, hash to what
//! the document promised. Who reads only a part reads on until a checksum has vouched for that part.

use crate::codec::{self, Compression, Rest};
use crate::engine::{self, Reading};
use crate::error::{Error, Kind, Result};
use crate::keyring::{Key, Keyring};
use crate::level::BackupEntry;
use crate::limits::BLOCK_BYTES;
use crate::monitor::{Event, Monitor};
use crate::repository::Chain;
use crate::repository::Repository;
use crate::repository::document::Scheme;
use crate::repository::reading::{ObjectReader, Step};
use crate::spool::{Scratch, Spool};
use std::collections::BTreeSet;
use std::io::{self, Read};

/// The levels of one backup, lowest first.
pub struct StoredChain<'a> {
    repository: &'a Repository,
    steps: Vec<Step>,
    /// What opens each of them.
    keys: Vec<Key>,
    /// How each is compressed.
    compressions: Vec<Compression>,
    scratch: &'a Scratch,
    workers: usize,
    monitor: &'a dyn Monitor,
    /// The levels that were found to lack their end.
    lacking: BTreeSet<usize>,
    /// Whether a copy was given up while a stream was read from it, so that another is read next.
    has_given_up: bool,
}

impl<'a> StoredChain<'a> {
    /// The levels that a restore of `entry` replays: all there, with the sizes they had, and readable by this program and by
    /// who runs it.
    ///
    /// # Errors
    /// `Damaged` for a gap, a missing object, a wrong size or a broken document; `Unsupported` for what this program cannot
    /// read; `WrongPassword` and `Invalid` when a level does not open ([`Keyring::key_of`]); as the storage has it.
    pub fn open(
        repository: &'a Repository,
        chain: &Chain,
        entry: BackupEntry,
        keyring: &Keyring<'_>,
        scratch: &'a Scratch,
        workers: usize,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let steps = repository.path_past_damage(chain, entry, monitor)?;
        for step in &steps {
            compressions(step)?;
        }
        let hint = "this backup cannot be restored; icecore list shows which can";
        let another = |error: Error| match error.kind() {
            Kind::Damaged => error.hint(hint),
            // The backup is there; what is not is a part of it.
            Kind::NotFound => {
                Error::damaged("not whole:", chain.location(entry).to_string()).because(error).hint(hint)
            }
            _ => error,
        };
        repository.verify_sizes_past_damage(&steps, monitor).map_err(another)?;
        agree(&steps).map_err(another)?;
        let opened = |step: &Step| {
            repository.past_damage(&step.location.data()?, monitor, || open(repository, step, keyring))
        };
        let opened: Vec<(Key, Compression)> = steps.iter().map(opened).collect::<Result<_>>()?;
        let (keys, compressions) = opened.into_iter().unzip();
        Ok(StoredChain {
            repository,
            steps,
            keys,
            compressions,
            scratch,
            workers,
            monitor,
            lacking: BTreeSet::new(),
            has_given_up: false,
        })
    }

    /// One level by itself, to be checked: as the storage gives it, without a look at other copies.
    ///
    /// # Errors
    /// `Unsupported` for what this program cannot read; as [`Keyring::key_of`].
    pub fn of_one(
        repository: &'a Repository,
        step: Step,
        keyring: &Keyring<'_>,
        scratch: &'a Scratch,
        workers: usize,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let (key, compression) = open(repository, &step, keyring)?;
        Ok(StoredChain {
            repository,
            steps: vec![step],
            keys: vec![key],
            compressions: vec![compression],
            scratch,
            workers,
            monitor,
            lacking: BTreeSet::new(),
            has_given_up: false,
        })
    }

    /// The levels.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Reads every level that has a hash and compares: what fails here fails before anything is restored. Where the storage keeps several
    /// copies, those that are damaged are passed over, and told; what is read afterwards comes from those that were compared.
    ///
    /// # Errors
    /// `Damaged` naming the object; as the storage has it.
    pub fn verify_hashes(&self) -> Result<()> {
        self.hold()?;
        for step in self.hashed() {
            let data = step.location.data()?;
            self.repository.past_damage(&data, self.monitor, || {
                let mut reader = self.repository.data_reader(step)?;
                while reader.next_block()?.is_some() {
                    self.monitor.check()?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// From now on each level is read from one copy of those that the storage keeps. Whether there are others.
    ///
    /// # Errors
    /// None in practice: every name here is well-formed.
    pub fn hold(&self) -> Result<bool> {
        let mut has_others = false;
        for step in self.hashed() {
            has_others |= self.repository.storage().hold(&step.location.data()?);
        }
        Ok(has_others)
    }

    /// After a part of the levels that were held could not be read: where that may be damage, all of them are compared, as by
    /// [`StoredChain::verify_hashes`], so that whoever reads again reads sound copies.
    ///
    /// # Errors
    /// `failure` when it is none of a copy; as [`StoredChain::verify_hashes`].
    pub fn pass_over(&mut self, failure: Error) -> Result<()> {
        // Of bytes that no checksum has vouched for yet, an engine may think anything.
        if !matches!(failure.kind(), Kind::Damaged | Kind::Unsupported | Kind::Limit | Kind::Invalid) {
            return Err(failure);
        }
        let has_given_up = std::mem::take(&mut self.has_given_up);
        self.verify_hashes()?;
        // It was not among those that were compared, which are told by themselves.
        if has_given_up {
            let text = format!("passed over a damaged copy, and read another: {failure}");
            self.monitor.event(Event::Warning(&text));
        }
        Ok(())
    }

    /// The levels of which hashes are known.
    fn hashed(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.document.details.is_some())
    }
}

/// Of a chain in the age format every level is: one that is not was not made by who made the others.
fn agree(steps: &[Step]) -> Result<()> {
    let is_age = |step: &&Step| matches!(step.document.scheme(), Scheme::Age { .. });
    match (steps.iter().find(is_age), steps.iter().find(|step| !is_age(step))) {
        (Some(_), Some(other)) => {
            let what = "not encrypted as the other levels of its chain are:";
            Err(Error::damaged(what, other.location.to_string()))
        }
        _ => Ok(()),
    }
}

/// The state of an engine in clear.
///
/// # Errors
/// As [`Repository::read_engine_metadata`] and [`Key::open`].
pub(crate) fn engine_metadata(
    repository: &Repository,
    step: &Step,
    key: &Key,
    scratch: &Scratch,
) -> Result<Spool> {
    let mut stored = repository.read_engine_metadata(step, scratch)?;
    // Freezer leaves it in clear, and who writes for Freezer does too.
    let Key::Age(_) = key else { return Ok(stored) };
    let object = step.location.engine_metadata()?.to_string();
    let mut plain = scratch.spool();
    let opened = key.open(&mut stored).and_then(|mut reader| plain.fill(&mut reader, u64::MAX - 1));
    opened.map_err(|error| error.while_doing("cannot read", object))?;
    plain.rewind()?;
    Ok(plain)
}

/// What opens a level, and how what comes out is compressed.
fn open(repository: &Repository, step: &Step, keyring: &Keyring<'_>) -> Result<(Key, Compression)> {
    let among = compressions(step)?;
    let key = keyring.key_of(repository, step, &among)?;
    let compression = match (&key, among.as_slice()) {
        (Key::OpenSsl(_, compression), _) | (_, [compression]) => *compression,
        _ => return Err(unnamed(step.location.metadata()?.to_string())),
    };
    Ok((key, compression))
}

/// How the stream of a level is compressed, or what it may be where only the plain bytes tell.
///
/// # Errors
/// `Unsupported` when its document says nothing of it, or what this program does not know.
pub(crate) fn compressions(step: &Step) -> Result<Vec<Compression>> {
    let (document, object) = (&step.document, step.location.metadata()?.to_string());
    match &document.compression {
        Some(name) => {
            let named = Compression::parse(name).map_err(|error| error.while_doing("cannot read", object));
            Ok(vec![named?])
        }
        // Of the releases that stored no documents.
        None if document.engine_name == "tar" && matches!(document.scheme(), Scheme::OpenSsl) => {
            Ok(vec![Compression::Gzip, Compression::Bzip2, Compression::Xz])
        }
        None => Err(unnamed(object)),
    }
}

fn unnamed(document: String) -> Error {
    Error::new(Kind::Unsupported, "no compression is named in").on(document)
}

/// How many decoded bytes behind the last one that was used have to be read before a checksum has vouched for it.
fn checksum_distance(compression: Compression) -> u64 {
    match compression {
        // A frame is handed out once its checksum was compared.
        Compression::Zstd => 0,
        // The checksum stands at the end of a member, which holds at most a block; the byte after it shows that it was right.
        Compression::Gzip | Compression::Bzip2 | Compression::Xz => BLOCK_BYTES as u64 + 1,
        // Nothing vouches for a part, only the hash for the whole.
        Compression::None => u64::MAX,
    }
}

impl engine::Chain for StoredChain<'_> {
    fn levels(&self) -> usize {
        self.steps.len()
    }

    fn by_icecore(&self, level: usize) -> bool {
        self.steps[level].document.details.is_some()
    }

    fn block_size(&self, level: usize) -> Option<u64> {
        self.steps[level].document.rsync_block_size
    }

    fn may_lack_end(&self, level: usize) -> bool {
        let document = &self.steps[level].document;
        document.encryption && document.details.is_none() && document.engine_name == "rsync"
    }

    fn lacks_end(&self, level: usize) -> bool {
        self.lacking.contains(&level)
    }

    fn engine_metadata(&mut self, level: usize) -> Result<Spool> {
        let step = &self.steps[level];
        let read = || engine_metadata(self.repository, step, &self.keys[level], self.scratch);
        self.repository.past_damage(&step.location.engine_metadata()?, self.monitor, read)
    }

    fn stream(
        &mut self,
        level: usize,
        consume: &mut dyn FnMut(&mut dyn Read) -> Result<Reading>,
    ) -> Result<()> {
        let step = &self.steps[level];
        let reader = self.repository.data_reader(step)?;
        let data = step.location.data()?;
        let object = data.to_string();
        let source = Source::new(reader, self.monitor);
        let compression = self.compressions[level];
        let source =
            self.keys[level].open(source).map_err(|error| error.while_doing("cannot read", &object))?;
        let consumer = |input: &mut dyn Read| {
            let rest_bytes = match consume(input)? {
                // An archive ends before its stream does; what is behind it belongs to what was stored.
                Reading::ToTheEnd => u64::MAX,
                Reading::Enough => checksum_distance(compression),
            };
            io::copy(&mut input.take(rest_bytes), &mut io::sink())
                .map_err(|e| Error::io("cannot read the rest of", "the stream", e))?;
            Ok(())
        };
        let result = if self.may_lack_end(level) {
            codec::decode_blocks(compression, source, consumer).map(|((), lacks_end)| {
                if lacks_end {
                    self.lacking.insert(level);
                }
            })
        } else {
            codec::decode(compression, self.workers, source, Rest::Skip, consumer)
        };
        if let Err(error) = &result
            && error.kind() == Kind::Damaged
            && step.document.details.is_some()
        {
            // Too late for what was handed on; but whoever keeps several copies then knows that one of them is to be repaired.
            self.has_given_up |= self.repository.storage().distrust(&data);
        }
        result.map_err(|error| match error.kind() {
            Kind::Damaged | Kind::Unsupported | Kind::Limit => error.while_doing("cannot read", object),
            _ => error,
        })
    }
}

/// The bytes of an object as a stream, which ends only when they are what was promised.
pub(crate) struct Source<'a> {
    reader: ObjectReader,
    block: Vec<u8>,
    position: usize,
    monitor: &'a dyn Monitor,
}

impl<'a> Source<'a> {
    /// All that the reader has.
    pub(crate) fn new(reader: ObjectReader, monitor: &'a dyn Monitor) -> Self {
        Source { reader, block: Vec::new(), position: 0, monitor }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.block.len() {
            self.block = match self.reader.next_block()? {
                Some(block) => block,
                None => return Ok(0),
            };
            self.position = 0;
            self.monitor.event(Event::Stored { bytes: self.block.len() as u64 });
        }
        let count = buffer.len().min(self.block.len() - self.position);
        buffer[..count].copy_from_slice(&self.block[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}
