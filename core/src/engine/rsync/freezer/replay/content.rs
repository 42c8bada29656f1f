//! The content of files: whole, or the blocks of a level over what stands there from the levels below.

use super::super::Dialect;
use super::super::plan::State;
use super::super::signatures::{Comparison, Signatures};
use super::super::stored::{Content, Entry};
use super::{Replay, of_one_path};
use crate::engine::overwrite::Decision;
use crate::engine::tar::restore::verification::Record;
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use crate::tree::target::{FileTarget, There};
use std::io::Read;
use std::os::unix::fs::FileExt;

/// A file while it is put together, and what is to be known of its bytes.
struct Assembly<'a, 'm> {
    file: FileTarget<'m>,
    hasher: Option<blake3::Hasher>,
    comparison: Option<Comparison>,
    signatures: &'a mut Option<Signatures>,
    buffer: &'a mut [u8],
}

impl Replay<'_, '_, '_> {
    /// A file, at a level that has some or all of its content.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        level: u32,
        state: State,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<()> {
        let last = level == state.last;
        if self.plan.lacks(path) {
            let what = "Freezer never stored all of its content, and so it is not restored:";
            return if last { Err(Error::new(Kind::Io, what).on(lossy(path))) } else { Ok(()) };
        }
        if level < state.base {
            return Ok(());
        }
        if level == state.base {
            match self.decide(path, FileKind::File, state)? {
                Decision::Keep | Decision::Enter => return Ok(()),
                Decision::Unchanged => self.staying.insert(path)?,
                Decision::Make | Decision::Replace => {}
            }
        }
        if self.staying.contains(path) {
            // Its attributes are those of the last level.
            return if last { self.stay(path, state, entry, content) } else { Ok(()) };
        }
        let whole = self.assemble(path, level, state, entry, content)?;
        if !whole {
            if let Some(target) = self.target.as_deref_mut() {
                target.remove(path)?;
            }
            let what = "what Freezer stored of its changes does not make the file that was there, and so it is not restored:";
            return Err(Error::new(Kind::Io, what).on(lossy(path)));
        }
        if last {
            self.job.monitor.event(Event::Entry { path, bytes: entry.size_bytes });
        }
        Ok(())
    }

    /// A file that counts as unchanged stays, with its attributes put right.
    fn stay(&mut self, path: &[u8], state: State, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        if let Some(target) = self.target.as_deref_mut() {
            let mut files = target.files();
            let same = |there: &There| {
                let found = &there.found;
                (found.size_bytes, found.mtime, found.links) == (state.size_bytes, state.mtime, 1)
            };
            // Trouble shows again when the file is written.
            match files.there(path).ok().flatten().filter(same) {
                Some(there) => files.put_right(&there, path, &entry.attributes),
                None if state.base == state.last => {
                    return self.assemble(path, state.last, state, entry, content).map(drop);
                }
                None => {
                    return Err(Error::new(Kind::Changed, "was changed during the restore:").on(lossy(path)));
                }
            }
        }
        self.job.monitor.event(Event::Unchanged { path });
        self.job.monitor.event(Event::Entry { path, bytes: entry.size_bytes });
        Ok(())
    }

    /// Writes a file as a level has it. `false` when it is not what the last level noted of it: then it was not written.
    fn assemble(
        &mut self,
        path: &[u8],
        level: u32,
        state: State,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<bool> {
        let (last, patched) = (level == state.last, level > state.base);
        let compare = last && state.patched;
        let Replay { target: Some(target), signatures, buffer, .. } = self else { return Ok(true) };
        let below = if patched { Some(standing(target.files().there(path)?, path)?) } else { None };
        let comparison = signatures.as_ref().filter(|_| compare).and_then(|known| known.begin(path));
        let is_proven = comparison.is_some();
        let mut new = Assembly {
            file: target.file(path, &entry.attributes)?,
            hasher: (last && self.written.is_some()).then(blake3::Hasher::new),
            comparison,
            signatures,
            buffer,
        };
        match &entry.content {
            Content::Blocks(blocks) => {
                let mut at = 0;
                for (offset, length) in blocks.extents(entry.size_bytes) {
                    new.keep(below.as_ref(), at, offset, last)?;
                    new.take(content, length)?;
                    at = offset + length;
                }
                new.keep(below.as_ref(), at, entry.size_bytes, last)?;
            }
            Content::Whole | Content::None => new.take(content, entry.size_bytes)?,
        }
        let Assembly { file, hasher, comparison, signatures, .. } = new;
        let mut is_equal = true;
        if let (Some(comparison), Some(signatures)) = (comparison, signatures) {
            is_equal = comparison.finish(signatures)?;
        }
        if !is_equal && self.plan.dialect() == Some(Dialect::First) {
            return Ok(false);
        }
        let inode = file.inode()?;
        file.finish(&entry.attributes)?;
        if let (Some(written), Some(hasher)) = (&mut self.written, hasher) {
            let regions = &[(0, entry.size_bytes)][..];
            written.push(&Record {
                path,
                size_bytes: entry.size_bytes,
                regions,
                inode,
                hash: hasher.finalize(),
            })?;
        }
        if !is_equal {
            self.told.differs(path);
        } else if compare && !is_proven {
            self.told.not_proven(path);
        }
        Ok(true)
    }
}

/// What the levels below made of a file.
fn standing(there: Option<There>, path: &[u8]) -> Result<There> {
    there.ok_or_else(|| {
        let what = "what the levels below had of it is no longer in the target:";
        Error::new(Kind::Changed, what).on(lossy(path)).hint("is something else writing there?")
    })
}

impl Assembly<'_, '_> {
    /// The next bytes are those of the stream.
    fn take(&mut self, content: &mut dyn Read, bytes: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            content.read_exact(&mut self.buffer[..step]).map_err(of_the_stream)?;
            self.write(step)?;
            left -= step as u64;
        }
        Ok(())
    }

    /// The bytes from `start` to `end` are those of the levels below. `last`: there have to be as many.
    fn keep(&mut self, below: Option<&There>, start: u64, end: u64, last: bool) -> Result<()> {
        let has = below.map_or(0, |below| below.found.size_bytes);
        let mut at = start;
        while let Some(below) = below.filter(|_| at < end.min(has)) {
            let left = usize::try_from(end.min(has) - at).unwrap_or(usize::MAX);
            let step = left.min(self.buffer.len());
            let read = below.file.read_exact_at(&mut self.buffer[..step], at);
            read.map_err(|e| Error::io("cannot read", "what the levels below had of it", e))
                .map_err(of_the_target)?;
            self.write(step)?;
            at += step as u64;
        }
        if at < end && last {
            return Err(Error::new(Kind::Changed, "was changed during the restore"));
        }
        self.file.hole(end.saturating_sub(at))
    }

    /// Appends what is in the buffer.
    fn write(&mut self, length: usize) -> Result<()> {
        let bytes = &self.buffer[..length];
        if let (Some(comparison), Some(signatures)) = (&mut self.comparison, &mut *self.signatures) {
            comparison.update(bytes, signatures)?;
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.file.write(bytes)
    }
}

/// Trouble with the stream is never trouble with one path.
fn of_the_stream(error: std::io::Error) -> Error {
    let error = Error::io("cannot read", "the content of a file", error);
    if of_one_path(&error) {
        Error::new(Kind::Damaged, "cannot read the backup").because(error)
    } else {
        error
    }
}

/// A file of the target that ends too early was changed by somebody.
fn of_the_target(error: Error) -> Error {
    if error.kind() == Kind::Damaged {
        Error::new(Kind::Changed, "was changed during the restore").because(error)
    } else {
        error
    }
}
