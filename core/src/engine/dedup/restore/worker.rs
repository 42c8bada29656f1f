//! What one worker does: fetches neighbouring chunks, opens each once, and writes what wants some of it.

use super::super::tree::{self, Content, Entry, Hole};
use super::large::{Large, Row};
use super::losses::{Side, concerns_one};
use super::same;
use super::window::{Job, Needed, Small, Want, end_of, fetches};
use super::{Purpose, Run};
use crate::error::{Error, Result};
use crate::monitor::Event;
use crate::repository::vault::compression::Decoder;
use crate::repository::vault::pack::{Location, PackRef};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::Attributes;
use crate::tree::directory::lossy;
use crate::tree::sparse;
use crate::tree::target::Files;
use std::ops::Range;
use std::sync::Arc;

/// A worker. Its buffers and contexts are used again.
pub(super) struct Worker<'w, 'r, 'm> {
    run: &'w Run<'r>,
    /// `None` when nothing is written.
    files: Option<Files<'m>>,
    decoder: Decoder,
    /// What was fetched last.
    fetched: Vec<u8>,
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
        let [fetched, chunk, there] = [(); 3].map(|()| Vec::new());
        Ok(Worker { run, files, decoder: Decoder::new()?, fetched, chunk, there })
    }

    /// Does one job.
    ///
    /// # Errors
    /// What ends the run. What concerns one file or one chunk is told to the monitor.
    pub fn job(&mut self, job: Job<'m>) -> Result<()> {
        match job {
            Job::Fetch(_, chunks) if self.run.purpose == Purpose::Verify => {
                chunks.into_iter().try_for_each(|needed| self.verify(needed))
            }
            Job::Fetch(pack, chunks) if self.run.reads_data() => self.fetch_absent(pack, chunks),
            Job::Fetch(_, chunks) => self.count(chunks),
            Job::Empty(files) => files.into_iter().try_for_each(|file| self.empty(&file)),
            Job::Compare(file, rows) => self.compare(&file, &rows),
        }
    }

    /// Fetches what does not stand in the target already.
    fn fetch_absent(&mut self, pack: PackRef, chunks: Vec<Needed<'m>>) -> Result<()> {
        let is_there = |want: &Want<'_>| matches!(want, Want::Slice(file) if file.there);
        if !chunks.iter().any(|needed| needed.wants.iter().all(is_there)) {
            return self.fetch(pack, chunks);
        }
        let mut absent = Vec::new();
        for needed in chunks {
            if !needed.wants.iter().all(is_there) || !self.stays(&needed)? {
                absent.push(needed);
            }
        }
        let bounds = self.run.bounds;
        fetches(absent, &bounds).try_for_each(|(pack, chunks)| self.fetch(pack, chunks))
    }

    /// Whether all who want some of a chunk have it already; then they are done with.
    fn stays(&mut self, needed: &Needed<'m>) -> Result<bool> {
        let Some(files) = self.files.as_mut() else { return Ok(false) };
        let open = |files: &mut Files<'_>, file: &Small| {
            files.there(&file.path).ok().flatten().filter(|there| there.found.links == 1)
        };
        let Some(found) = same::are_all(self.run, files, needed, &mut self.there, open) else {
            return Ok(false);
        };
        for (want, found) in needed.wants.iter().zip(found) {
            let Want::Slice(file) = want else { continue };
            self.run.monitor.check()?;
            let attributes = self.run.attributes(&file.path, &file.entry)?;
            let Some(files) = self.files.as_mut() else { return Ok(false) };
            let done = files.put_right_compared(&found, &file.path, &attributes);
            self.settle(file, done)?;
        }
        Ok(true)
    }

    /// Compares the files that are a part of a chunk with it.
    fn verify(&mut self, needed: Needed<'m>) -> Result<()> {
        self.run.monitor.check()?;
        let Some(files) = self.files.as_mut() else { return Ok(()) };
        let open = |files: &mut Files<'_>, file: &Small| files.reread(&file.path).ok().flatten();
        if same::are_all(self.run, files, &needed, &mut self.there, open).is_some() {
            for want in &needed.wants {
                if let Want::Slice(file) = want {
                    self.run.monitor.event(Event::Verified { path: &file.path });
                }
            }
            return Ok(());
        }
        // Some of them are not in this restore, or one differs: the chunk says which.
        let chunk = match self.run.reader.read(ChunkKind::Content, &needed.id) {
            Ok(chunk) => chunk,
            Err(error) if concerns_one(&error, Side::Stored) => return self.lose(needed, &error),
            Err(error) => return Err(error),
        };
        self.run.monitor.event(Event::Stored { bytes: u64::from(needed.at.sealed_bytes) });
        for want in &needed.wants {
            let Want::Slice(file) = want else { continue };
            self.run.monitor.check()?;
            let there = match files.reread(&file.path) {
                Ok(there) => there,
                Err(error) => {
                    self.run.cannot_verify(&file.path, &error)?;
                    continue;
                }
            };
            let content = slice(&chunk, &file.entry).unwrap_or_default();
            if there.is_some_and(|there| same::is_small(&there, content, &mut self.there)) {
                self.run.monitor.event(Event::Verified { path: &file.path });
            } else {
                self.run.differs(&file.path);
            }
        }
        Ok(())
    }

    fn fetch(&mut self, pack: PackRef, chunks: Vec<Needed<'m>>) -> Result<()> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Ok(()) };
        let start = first.at.offset;
        let mut bytes = std::mem::take(&mut self.fetched);
        let fetched = match end_of(&last.at) {
            Some(end) => self.fetch_range(pack, start..end, &mut bytes),
            None => Err(Error::damaged("no pack is as long as where this chunk ends:", last.id.to_string())),
        };
        match fetched {
            Ok(()) => {
                let done = self.chunks(chunks, start, &mut bytes);
                self.fetched = bytes;
                done
            }
            Err(error) if !concerns_one(&error, Side::Stored) => Err(error),
            Err(error) if chunks.len() == 1 => {
                chunks.into_iter().try_for_each(|needed| self.lose(needed, &error))
            }
            // What can be read of it is read.
            Err(_) => chunks.into_iter().try_for_each(|needed| self.fetch(pack, vec![needed])),
        }
    }

    fn fetch_range(&self, pack: PackRef, range: Range<u32>, buffer: &mut Vec<u8>) -> Result<()> {
        self.run.monitor.check()?;
        self.run.reader.fetch_into(pack, range, buffer)?;
        self.run.monitor.event(Event::Stored { bytes: buffer.len() as u64 });
        Ok(())
    }

    /// Does what there is to do with chunks in `bytes`, which stand in their pack from `start` on.
    fn chunks(&mut self, chunks: Vec<Needed<'m>>, start: u32, bytes: &mut [u8]) -> Result<()> {
        chunks.into_iter().try_for_each(|needed| {
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
        })
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
                file.release(self.run, self.files.as_mut())
            }
        }
    }

    fn lose(&mut self, needed: Needed<'m>, error: &Error) -> Result<()> {
        for want in needed.wants {
            match want {
                Want::Slice(file) => self.run.lose(&file.path, &file.entry, error, Side::Stored),
                Want::Part { file, .. } => {
                    file.lose(self.run, error, Side::Stored);
                    file.release(self.run, self.files.as_mut())?;
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
                Want::Part { file, .. } => file.release(self.run, self.files.as_mut())?,
            }
        }
        Ok(())
    }

    fn small(&mut self, file: &Small, content: &[u8]) -> Result<()> {
        self.run.monitor.check()?;
        let attributes = self.run.attributes(&file.path, &file.entry)?;
        let done = match self.files.as_mut() {
            None => Ok(()),
            Some(files) => {
                let there = if file.there { files.there(&file.path).ok().flatten() } else { None };
                let there = there.filter(|there| there.found.links == 1);
                match there.filter(|there| same::is_small(there, content, &mut self.there)) {
                    Some(there) => files.put_right_compared(&there.found, &file.path, &attributes),
                    None => files.create(&file.path, &attributes).and_then(|mut new| {
                        new.write(content)?;
                        new.finish(&attributes)
                    }),
                }
            }
        };
        self.settle(file, done)
    }

    /// A file of nothing, or of holes.
    fn empty(&mut self, file: &Small) -> Result<()> {
        self.run.monitor.check()?;
        if self.run.purpose == Purpose::Verify {
            return self.verify_empty(file);
        }
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

    fn verify_empty(&mut self, file: &Small) -> Result<()> {
        let Some(files) = self.files.as_mut() else { return Ok(()) };
        let there = match files.reread(&file.path) {
            Ok(there) => there,
            Err(error) => return self.run.cannot_verify(&file.path, &error),
        };
        let size_bytes = file.entry.size_bytes;
        let is_same = there.is_some_and(|there| {
            there.found.size_bytes == size_bytes
                && sparse::is_zeros(&there.file, 0..size_bytes).unwrap_or(false)
        });
        if is_same {
            self.run.monitor.event(Event::Verified { path: &file.path });
        } else {
            self.run.differs(&file.path);
        }
        Ok(())
    }

    /// Compares a stretch of a file with what stands in its place, and fetches what is not there.
    fn compare(&mut self, file: &Arc<Large<'m>>, rows: &[Row]) -> Result<()> {
        let differing = file.compare(self.run, rows, &mut self.there)?;
        if self.run.purpose == Purpose::Verify {
            if !differing.is_empty() {
                file.differs(self.run);
            }
            return file.release(self.run, self.files.as_mut());
        }
        let mut located = Vec::new();
        for row in differing {
            match self.run.locate(&row.id) {
                Ok(at) => located.push((at, row)),
                Err(error) => file.lose(self.run, &error, Side::Stored),
            }
        }
        located.sort_by_key(|(at, _)| (at.pack, at.offset));
        let mut needed: Vec<Needed<'m>> = Vec::new();
        for (at, Row { id, offset, bytes }) in located {
            file.hold();
            let want = Want::Part { file: Arc::clone(file), offset, bytes };
            match needed.last_mut().filter(|last| last.id == id) {
                // A chunk that the file has several times is fetched once.
                Some(last) => last.wants.push(want),
                None => needed.push(Needed { id, at, wants: vec![want] }),
            }
        }
        let bounds = self.run.bounds;
        fetches(needed, &bounds).try_for_each(|(pack, chunks)| self.fetch(pack, chunks))?;
        file.release(self.run, self.files.as_mut())
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

    /// Where a chunk of content is.
    ///
    /// # Errors
    /// `Damaged` when there is none.
    pub fn locate(&self, id: &ChunkId) -> Result<Location> {
        match self.reader.index().find(id) {
            Some(at) if at.kind == ChunkKind::Content => Ok(at),
            Some(_) => Err(Error::damaged("no chunk of content:", id.to_string())),
            None => Err(Error::damaged("a chunk is missing:", id.to_string())),
        }
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
