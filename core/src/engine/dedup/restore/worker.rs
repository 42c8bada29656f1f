//! What one worker does: fetches neighbouring chunks, opens each once, and writes what wants some of it.

use super::super::tree::{self, Content, Entry, Hole};
use super::Run;
use super::losses::{Side, concerns_one};
use super::same;
use super::window::{Job, Needed, Small, Want, end_of};
use crate::error::{Error, Result};
use crate::monitor::Event;
use crate::repository::vault::compression::Decoder;
use crate::repository::vault::pack::PackRef;
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::Attributes;
use crate::tree::directory::lossy;
use crate::tree::target::Files;
use std::fs::File;
use std::ops::Range;

/// A worker. Its buffers and contexts are used again.
pub(super) struct Worker<'w, 'r, 'm> {
    run: &'w Run<'r>,
    /// `None` when nothing is written.
    files: Option<Files<'m>>,
    decoder: Decoder,
    /// The chunk that was opened last.
    chunk: Vec<u8>,
    /// What stands in the target already.
    there: Vec<u8>,
}

impl<'w, 'r, 'm> Worker<'w, 'r, 'm> {
    /// A worker.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(run: &'w Run<'r>, files: Option<Files<'m>>) -> Result<Self> {
        Ok(Worker { run, files, decoder: Decoder::new()?, chunk: Vec::new(), there: Vec::new() })
    }

    /// Does one job.
    ///
    /// # Errors
    /// What ends the run. What concerns one file or one chunk is told to the monitor.
    pub fn job(&mut self, job: Job<'m>) -> Result<()> {
        match job {
            Job::Fetch(pack, chunks) if self.run.reads_data() => self.fetch(pack, chunks),
            Job::Fetch(_, chunks) => self.count(chunks),
            Job::Empty(files) => files.into_iter().try_for_each(|file| self.empty(&file)),
            Job::Compare(file, there) => self.compare(&file, &there),
        }
    }

    fn fetch(&mut self, pack: PackRef, chunks: Vec<Needed<'m>>) -> Result<()> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Ok(()) };
        let start = first.at.offset;
        let fetched = match end_of(&last.at) {
            Some(end) => self.fetch_range(pack, start..end),
            None => Err(Error::damaged("no pack is as long as where this chunk ends:", last.id.to_string())),
        };
        match fetched {
            Ok(mut bytes) => chunks.into_iter().try_for_each(|needed| {
                let from = (needed.at.offset - start) as usize;
                let sealed =
                    bytes.get_mut(from..).and_then(|rest| rest.get_mut(..needed.at.sealed_bytes as usize));
                match sealed {
                    Some(sealed) => self.chunk(needed, sealed),
                    None => {
                        let error = Error::damaged("too short a pack for", needed.id.to_string());
                        self.lose(needed, &error)
                    }
                }
            }),
            Err(error) if !concerns_one(&error, Side::Stored) => Err(error),
            Err(error) if chunks.len() == 1 => {
                chunks.into_iter().try_for_each(|needed| self.lose(needed, &error))
            }
            // What can be read of it is read.
            Err(_) => chunks.into_iter().try_for_each(|needed| self.fetch(pack, vec![needed])),
        }
    }

    fn fetch_range(&self, pack: PackRef, range: Range<u32>) -> Result<Vec<u8>> {
        self.run.monitor.check()?;
        let bytes = self.run.reader.fetch(pack, range)?;
        self.run.monitor.event(Event::Stored { bytes: bytes.len() as u64 });
        Ok(bytes)
    }

    /// Opens a chunk and serves all who want it.
    fn chunk(&mut self, needed: Needed<'m>, sealed: &mut [u8]) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let (id, at) = (&needed.id, &needed.at);
        let opened = self.run.reader.open(id, ChunkKind::Content, at, sealed, &mut self.decoder, &mut chunk);
        let done = match opened {
            Ok(()) => needed.wants.into_iter().try_for_each(|want| self.serve(want, &chunk)),
            Err(error) if concerns_one(&error, Side::Stored) => self.lose(needed, &error),
            Err(error) => Err(error),
        };
        self.chunk = chunk;
        done
    }

    fn serve(&mut self, want: Want<'m>, chunk: &[u8]) -> Result<()> {
        match want {
            Want::Slice(file) => match slice(chunk, &file.entry) {
                Some(content) => self.small(&file, content),
                None => {
                    let error = Error::damaged("lies outside of its chunk:", lossy(&file.path));
                    self.run.lose(&file.path, &file.entry, &error, Side::Stored);
                    Ok(())
                }
            },
            Want::Part { file, offset, bytes } => {
                self.run.monitor.check()?;
                if bytes == chunk.len() as u64 {
                    file.write(self.run, self.files.as_mut(), offset, chunk)?;
                } else {
                    let error = Error::damaged("a chunk is not as long as the file says:", bytes.to_string());
                    file.lose(self.run, &error, Side::Stored);
                }
                file.release(self.run)
            }
        }
    }

    fn lose(&mut self, needed: Needed<'m>, error: &Error) -> Result<()> {
        for want in needed.wants {
            match want {
                Want::Slice(file) => self.run.lose(&file.path, &file.entry, error, Side::Stored),
                Want::Part { file, .. } => {
                    file.lose(self.run, error, Side::Stored);
                    file.release(self.run)?;
                }
            }
        }
        Ok(())
    }

    /// Reads nothing, and takes it for granted.
    fn count(&mut self, chunks: Vec<Needed<'m>>) -> Result<()> {
        for want in chunks.into_iter().flat_map(|needed| needed.wants) {
            match want {
                Want::Slice(file) => self.run.done(&file),
                Want::Part { file, .. } => file.release(self.run)?,
            }
        }
        Ok(())
    }

    fn small(&mut self, file: &Small, content: &[u8]) -> Result<()> {
        self.run.monitor.check()?;
        let attributes = self.run.attributes(&file.path, &file.entry)?;
        let keeps = self.run.plan.keep_same.is_some() && file.entry.names.is_none();
        let done = match self.files.as_mut() {
            None => Ok(()),
            Some(files) => {
                if keeps && same::is_small(files, file, &attributes, content, &mut self.there) {
                    Ok(())
                } else {
                    files.create(&file.path, &attributes).and_then(|mut new| {
                        new.write(content)?;
                        new.finish(&attributes)
                    })
                }
            }
        };
        self.settle(file, done)
    }

    /// A file of nothing, or of holes.
    fn empty(&mut self, file: &Small) -> Result<()> {
        self.run.monitor.check()?;
        let attributes = self.run.attributes(&file.path, &file.entry)?;
        let size_bytes = file.entry.size_bytes;
        if let Err(error) = self.run.all_holes(&file.entry) {
            return self.run.settle(&file.path, &file.entry, Err(error), Side::Stored);
        }
        let done = match self.files.as_mut() {
            None => Ok(()),
            Some(files) => files.create(&file.path, &attributes).and_then(|mut new| {
                new.hole(size_bytes)?;
                new.finish(&attributes)
            }),
        };
        self.settle(file, done)
    }

    /// A file of several chunks that may be in the target as it should be; else it is written here, chunk by chunk.
    fn compare(&mut self, file: &Small, there: &File) -> Result<()> {
        let Some(keys) = self.run.plan.keep_same else { return Ok(()) };
        let is_same = same::is_large(self.run, keys, file, there, &mut self.there);
        let (done, side) = match is_same {
            Ok(true) => (Ok(()), Side::Stored),
            Ok(false) => self.rewrite(file)?,
            Err(error) => (Err(error), Side::Stored),
        };
        let is_done = done.is_ok();
        self.run.settle(&file.path, &file.entry, done, side)?;
        if is_done {
            self.run.done(file);
        }
        Ok(())
    }

    /// Writes a file in one go, chunk by chunk; a failure is on one of two sides.
    fn rewrite(&mut self, file: &Small) -> Result<(Result<()>, Side)> {
        let attributes = self.run.attributes(&file.path, &file.entry)?;
        let Some(files) = self.files.as_mut() else { return Ok((Ok(()), Side::Target)) };
        let mut new = match files.create(&file.path, &attributes) {
            Ok(new) => new,
            Err(error) => return Ok((Err(error), Side::Target)),
        };
        let rows = match tree::rows(self.run.reader, &file.entry.content, file.entry.size_bytes) {
            Ok(rows) => rows,
            Err(error) => return Ok((Err(error), Side::Stored)),
        };
        for row in rows {
            self.run.monitor.check()?;
            let chunk = row.and_then(|(id, bytes)| self.run.whole_chunk(&id, bytes));
            let written = match chunk {
                Ok(chunk) => new.write(&chunk),
                Err(error) => return Ok((Err(error), Side::Stored)),
            };
            if let Err(error) = written {
                return Ok((Err(error), Side::Target));
            }
        }
        Ok((new.finish(&attributes), Side::Target))
    }

    fn settle(&self, file: &Small, done: Result<()>) -> Result<()> {
        let is_done = done.is_ok();
        self.run.settle(&file.path, &file.entry, done, Side::Target)?;
        if is_done {
            self.run.done(file);
        }
        Ok(())
    }
}

impl Run<'_> {
    fn done(&self, file: &Small) {
        self.monitor.event(Event::Entry { path: &file.path, bytes: file.entry.size_bytes });
    }

    /// A chunk of content of exactly so many bytes.
    fn whole_chunk(&self, id: &ChunkId, bytes: u64) -> Result<Vec<u8>> {
        let chunk = self.reader.read(ChunkKind::Content, id)?;
        if chunk.len() as u64 == bytes {
            return Ok(chunk);
        }
        Err(Error::damaged("a chunk is not as long as the file says:", id.to_string()))
    }

    /// What an entry gets. Attributes that are stored elsewhere and cannot be read are told as lost, and the entry goes
    /// without them.
    ///
    /// # Errors
    /// What ends the run.
    pub fn attributes(&self, path: &[u8], entry: &Entry) -> Result<Attributes> {
        let xattrs = match &entry.xattrs {
            tree::Kept::Elsewhere(_) if !self.reads_data() => Vec::new(),
            kept => match tree::xattrs(self.reader, kept) {
                Ok(xattrs) => xattrs,
                Err(error) if concerns_one(&error, Side::Stored) => {
                    self.lose_part(path, &error, Side::Stored);
                    Vec::new()
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Attributes {
            mode: entry.mode,
            uid: entry.owner.uid,
            gid: entry.owner.gid,
            user: entry.owner.user.clone(),
            group: entry.owner.group.clone(),
            mtime: entry.mtime,
            atime: None,
            ctime: Some(entry.ctime),
            xattrs,
        })
    }

    /// The holes of a file.
    ///
    /// # Errors
    /// As the tree and the storage have it.
    pub fn holes(&self, entry: &Entry) -> Result<Vec<Hole>> {
        tree::holes(self.reader, &entry.holes, entry.size_bytes)
    }

    /// Makes sure that the holes of a file without content are all of it.
    fn all_holes(&self, entry: &Entry) -> Result<()> {
        let holes = self.holes(entry)?;
        let data = holes.iter().any(|hole| hole.data_before > 0);
        let total = holes.iter().fold(0_u64, |total, hole| total.saturating_add(hole.length));
        if total == entry.size_bytes && !data {
            return Ok(());
        }
        Err(Error::damaged(
            "the holes are not as long as the file:",
            format!("{total} of {} bytes", entry.size_bytes),
        ))
    }
}

/// The content of a file inside its chunk.
fn slice<'c>(chunk: &'c [u8], entry: &Entry) -> Option<&'c [u8]> {
    let Content::Slice { offset, .. } = entry.content else { return None };
    let start = usize::try_from(offset).ok()?;
    let length = usize::try_from(entry.size_bytes).ok()?;
    chunk.get(start..)?.get(..length)
}
