//! Reading one regular file into the archive, so that what is stored is what the file was at one moment.
//!
//! Small files are read whole before their header is written, and again when they changed meanwhile. Long files are streamed
//! behind a header that has promised their length; when one changed, it is stored a second time (the last member of a name
//! counts). Whatever changed is reported; what changed under every read is stored as it was read last, and the next level
//! tries again.

use super::backup::{Stored, problem};
use super::member::{Member, MemberKind, Region};
use super::writer::ArchiveWriter;
use crate::error::{Error, Kind, Result};
use crate::limits::{READ_BYTES, SMALL_FILE_BYTES};
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::tree::attributes::{Attributes, Metadata};
use crate::tree::directory::{Directory, metadata_of};
use crate::tree::sparse;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How often a file that changes is read.
const READS: u32 = 2;

/// Reads files; holds the one buffer they share.
pub(super) struct FileReader {
    buffer: Vec<u8>,
}

/// A file open for reading, and what it was when it was opened.
pub(super) struct Opened {
    file: File,
    metadata: Metadata,
}

impl Opened {
    /// What the file was when it was opened.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Takes what the file is now as what it was; whether that is the same.
    fn refresh(&mut self) -> Result<bool> {
        let now = metadata_of(&self.file).map_err(|e| Error::io("cannot stat", "", e))?;
        let same = now.same_version(&self.metadata);
        self.metadata = now;
        Ok(same)
    }
}

/// How the reading of a file went.
#[derive(Debug)]
enum Outcome {
    /// It did not change.
    Steady,
    /// It changed during the first read, and not during the second, which is what is stored.
    Settled,
    /// It changed during every read.
    Restless,
    /// It could not be read.
    Failed(Error),
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Outcome) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Outcome {
    /// The outcome of the `read`-th read of a file that is (or is not) the same as before it.
    fn after(read: u32, same: bool) -> Outcome {
        match (same, read) {
            (true, 0) => Outcome::Steady,
            (true, _) => Outcome::Settled,
            (false, _) => Outcome::Restless,
        }
    }

    /// What there is to say of it.
    fn into_problem(self) -> Option<Error> {
        let changed = |what: &str| Some(Error::new(Kind::Changed, what));
        match self {
            Outcome::Steady => None,
            Outcome::Settled => {
                changed("changed while it was read; stored as it was when it was read once more")
            }
            Outcome::Restless => changed(
                "changed while it was read, twice; stored as it was read last, perhaps not as it was at one moment",
            ),
            Outcome::Failed(error) => Some(error),
        }
    }
}

/// Where a file goes: the archive, under a name, with attributes whose times follow the file.
struct Place<'p, 'o, 'b> {
    archive: &'p mut ArchiveWriter<&'o mut BlockWriter<'b>>,
    stored: &'p [u8],
    attributes: Attributes,
    monitor: &'p dyn Monitor,
}

impl FileReader {
    /// A reader with an empty buffer.
    pub(super) fn new() -> Self {
        FileReader { buffer: Vec::new() }
    }

    /// Opens `name` for reading, or what it points to, without waiting for a FIFO that took its place.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn open(&self, directory: &Directory, name: &[u8], follow: bool) -> Result<Opened> {
        let file = if follow { directory.open_file_followed(name) } else { directory.open_file(name) }?;
        let metadata = metadata_of(&file).map_err(|e| Error::io("cannot stat", "", e))?;
        Ok(Opened { file, metadata })
    }

    /// Stores an open file.
    ///
    /// # Errors
    /// Only of the archive and the run; trouble with the file is told to the monitor.
    pub(super) fn store<'o, 'b>(
        &mut self,
        mut opened: Opened,
        stored: &[u8],
        attributes: Attributes,
        archive: &mut ArchiveWriter<&'o mut BlockWriter<'b>>,
        path: &[u8],
        monitor: &dyn Monitor,
    ) -> Result<Stored> {
        let mut place = Place { archive, stored, attributes, monitor };
        let small = opened.metadata.size_bytes <= SMALL_FILE_BYTES;
        let outcome =
            if small { self.small(&mut opened, &mut place)? } else { self.long(&mut opened, &mut place)? };
        let whole = matches!(outcome, Outcome::Steady | Outcome::Settled);
        if let Some(error) = outcome.into_problem() {
            problem(monitor, path, &error);
        }
        Ok(if whole { Stored::Whole } else { Stored::Not })
    }

    fn small(&mut self, opened: &mut Opened, place: &mut Place<'_, '_, '_>) -> Result<Outcome> {
        let mut outcome = Outcome::Steady;
        for read in 0..READS {
            if let Err(error) = self.read_whole(&opened.file, opened.metadata.size_bytes) {
                return Ok(Outcome::Failed(error));
            }
            outcome = match opened.refresh() {
                Ok(same) => Outcome::after(read, same),
                Err(error) => return Ok(Outcome::Failed(error)),
            };
            if outcome != Outcome::Restless {
                break;
            }
            if opened.metadata.size_bytes > SMALL_FILE_BYTES {
                // It has outgrown the buffer since it was opened.
                let outcome = self.long(opened, place)?;
                return Ok(if outcome == Outcome::Steady { Outcome::Settled } else { outcome });
            }
        }
        let kind = MemberKind::File { size_bytes: self.buffer.len() as u64, sparse: None };
        let holes =
            outcome != Outcome::Restless && opened.metadata.allocated_bytes < opened.metadata.size_bytes;
        if holes && let Ok(Some(regions)) = sparse::regions(&opened.file, opened.metadata.size_bytes) {
            self.sparse_member(opened, place, regions)?;
        } else {
            place.begin(opened, kind)?;
            place.archive.write(&self.buffer)?;
            place.archive.end()?;
        }
        Ok(outcome)
    }

    /// The regions of a small file, from the buffer.
    fn sparse_member(
        &mut self,
        opened: &Opened,
        place: &mut Place<'_, '_, '_>,
        regions: Vec<Region>,
    ) -> Result<()> {
        let size_bytes = self.buffer.len() as u64;
        // The map was read after the content: what lies past the content is not there.
        let inside =
            |&(offset, length): &Region| offset.checked_add(length).is_some_and(|end| end <= size_bytes);
        let regions: Vec<Region> = if regions.iter().all(inside) { regions } else { vec![(0, size_bytes)] };
        place.begin(opened, MemberKind::File { size_bytes, sparse: Some(regions.clone()) })?;
        for (offset, length) in regions {
            place.archive.write(&self.buffer[offset as usize..(offset + length) as usize])?;
        }
        place.archive.end()
    }

    /// Reads a small file into the buffer: no more than it had when it was looked at.
    fn read_whole(&mut self, file: &File, size_bytes: u64) -> Result<()> {
        // One byte more than expected, so that the end of the file is seen in one call.
        let wanted = size_bytes as usize + 1;
        self.buffer.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match file.read_at(&mut self.buffer[filled..], filled as u64) {
                Ok(0) => break,
                // A short read of a regular file is its end, seen without a further call.
                Ok(n) if filled + n == wanted - 1 => {
                    filled += n;
                    break;
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("cannot read", "", e)),
            }
        }
        self.buffer.truncate(filled.min(size_bytes as usize));
        Ok(())
    }

    fn long(&mut self, opened: &mut Opened, place: &mut Place<'_, '_, '_>) -> Result<Outcome> {
        let mut outcome = Outcome::Restless;
        for read in 0..READS {
            let whole = self.stream(opened, place)?;
            outcome = match (whole, opened.refresh()) {
                (Err(error), _) | (Ok(()), Err(error)) => return Ok(Outcome::Failed(error)),
                (Ok(()), Ok(same)) => Outcome::after(read, same),
            };
            if outcome != Outcome::Restless {
                break;
            }
        }
        Ok(outcome)
    }

    /// One member with the content of a long file. A file that ends early is filled up with zeros, since its length has been
    /// promised; the caller sees that it changed.
    fn stream(&mut self, opened: &Opened, place: &mut Place<'_, '_, '_>) -> Result<Result<()>> {
        let size_bytes = opened.metadata.size_bytes;
        let holes = opened.metadata.allocated_bytes < size_bytes;
        let sparse = if holes { sparse::regions(&opened.file, size_bytes).unwrap_or(None) } else { None };
        let regions = sparse.clone().unwrap_or_else(|| vec![(0, size_bytes)]);
        place.begin(opened, MemberKind::File { size_bytes, sparse })?;
        let mut outcome = Ok(());
        for (offset, length) in regions {
            if let Err(error) = place.region(&opened.file, offset, length)? {
                outcome = Err(error);
            }
        }
        place.archive.end()?;
        Ok(outcome)
    }
}

impl Place<'_, '_, '_> {
    fn begin(&mut self, opened: &Opened, kind: MemberKind) -> Result<()> {
        self.attributes.mtime = opened.metadata.mtime;
        self.attributes.ctime = Some(opened.metadata.ctime);
        let member = Member { path: self.stored.to_vec(), kind, attributes: self.attributes.clone() };
        self.archive.begin(&member)
    }

    /// Copies a region; what cannot be read becomes zeros, and the reason is given back.
    fn region(&mut self, file: &File, offset: u64, length: u64) -> Result<Result<()>> {
        let mut done = 0;
        let mut outcome = Ok(());
        while done < length {
            self.monitor.check()?;
            let step = (length - done).min(READ_BYTES as u64);
            let before = self.archive.out().position();
            let read = self.archive.out().fill_from(file, offset + done, step);
            // What was filled before a failure is in the stream and counts.
            let filled = self.archive.out().position() - before;
            self.archive.filled(filled)?;
            done += filled;
            match read {
                Ok(_) if filled == step => {}
                Ok(_) => break,
                Err(error) if error.kind() == Kind::Stopped => return Err(error),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.zeros(length - done)?;
        Ok(outcome)
    }

    fn zeros(&mut self, mut length: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while length > 0 {
            let step = length.min(ZEROS.len() as u64);
            self.archive.write(&ZEROS[..step as usize])?;
            length -= step;
        }
        Ok(())
    }
}
