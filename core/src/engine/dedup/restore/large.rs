//! Files of several chunks, which come in any order and from several workers.
//!
//! Invariant: the file is finished by whoever brings the last part, or taken away at the first that fails; once, either way.
//!
//! Where a file stands in the target that is to be replaced, it is compared chunk by chunk, and only what differs is fetched. It is
//! not written into, since a run that is killed would leave half of the one and half of the other: a new file is made beside
//! it, which takes over from it what is the same, and then its name. Nothing is made when nothing differs. What is taken over is
//! written from the memory in which it was compared: no time of change has to be relied on, and nothing between.

use super::super::tree::{self, Entry, Hole};
use super::losses::{Side, concerns_one};
use super::{Purpose, Run};
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::repository::vault::pack::chunk_limit;
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::Attributes;
use crate::tree::directory::lossy;
use crate::tree::sparse;
use crate::tree::target::{FileTarget, Files, There};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

/// A file of several chunks.
pub(super) struct Large<'m> {
    path: Vec<u8>,
    /// With its content, which may be long, only where something stands in its place.
    entry: Entry,
    attributes: Attributes,
    places: Places,
    holes: Vec<Hole>,
    /// What stands in its place.
    there: Option<There>,
    /// Stretches of the data that are the same there, and are not taken over yet.
    same: Mutex<Vec<Range<u64>>>,
    state: RwLock<State<'m>>,
    /// Parts that are still to come, and one more while the planner has not named all of them.
    left: AtomicUsize,
}

enum State<'m> {
    /// Nothing was written yet.
    Waiting,
    Writing(FileTarget<'m>),
    /// It is lost, and its loss was told.
    Lost,
    Done,
}

/// A stretch of the data of a file: a chunk, where its content begins, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub id: ChunkId,
    pub offset: u64,
    pub bytes: u64,
}

impl<'m> Large<'m> {
    /// A file with one part to come: the planner's, for which it calls [`Large::release`] when it has named all others.
    pub fn new(path: Vec<u8>, entry: Entry, attributes: Attributes, holes: Vec<Hole>) -> Self {
        Large {
            path,
            entry,
            attributes,
            places: Places::new(&holes),
            holes,
            there: None,
            same: Mutex::default(),
            state: RwLock::new(State::Waiting),
            left: AtomicUsize::new(1),
        }
    }

    /// The same, with what stands in its place.
    #[must_use]
    pub fn beside(mut self, there: Option<There>) -> Self {
        self.there = there;
        self
    }

    /// Whether something stands there to be compared with.
    pub fn has_something_there(&self) -> bool {
        self.there.is_some()
    }

    /// One more part is to come.
    pub fn hold(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is lost already, so that no more of it need be fetched.
    pub fn is_lost(&self) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Lost)
    }

    /// Writes the part at `offset` of its data.
    ///
    /// # Errors
    /// What ends the run; other trouble loses the file.
    pub fn write(
        &self,
        run: &Run<'_>,
        files: Option<&mut Files<'m>>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let Some(files) = files else { return Ok(()) };
        let done = self.open(files).and_then(|()| {
            match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
                State::Writing(file) => self.places.each(offset, bytes, |at, piece| file.write_at(at, piece)),
                State::Waiting | State::Lost | State::Done => Ok(()),
            }
        });
        self.settle(run, done)
    }

    /// Compares chunks that follow each other with what stands in the target, and gives back those that are not there. What is
    /// there is taken over.
    ///
    /// # Errors
    /// As [`Large::write`].
    pub fn compare(&self, run: &Run<'_>, rows: &[Row], buffer: &mut Vec<u8>) -> Result<Vec<Row>> {
        let Some(there) = &self.there else { return Ok(rows.to_vec()) };
        let mut differing = Vec::new();
        for row in rows {
            run.monitor.check()?;
            // One difference is enough to say that there are some.
            if self.is_lost() || (run.purpose == Purpose::Verify && !differing.is_empty()) {
                return Ok(differing);
            }
            if self.is_there(run, there, row, buffer) {
                let done = self.take_over(row, buffer);
                self.settle(run, done)?;
            } else {
                differing.push(*row);
            }
        }
        Ok(differing)
    }

    fn is_there(&self, run: &Run<'_>, there: &There, row: &Row, buffer: &mut Vec<u8>) -> bool {
        // What no chunk is as long as will be found out when it is fetched.
        let longest = chunk_limit(ChunkKind::Content);
        let Some(length) = usize::try_from(row.bytes).ok().filter(|length| *length <= longest) else {
            return false;
        };
        buffer.resize(length, 0);
        let mut from = 0;
        let read = self.places.pieces(row.offset, length, |at, piece| {
            let (start, end) = (from, from + piece);
            from = end;
            there.file.read_exact_at(&mut buffer[start..end], at)
        });
        read.is_ok() && run.plan.keys.chunk_id(ChunkKind::Content, buffer) == row.id
    }

    /// Takes a row that stands there, as it was read, into the new file; or only remembers it, while it may be that none is needed.
    fn take_over(&self, row: &Row, bytes: &[u8]) -> Result<()> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Writing(file) => self.places.each(row.offset, bytes, |at, piece| file.write_at(at, piece)),
            State::Waiting => {
                let stretch = row.offset..row.offset.saturating_add(row.bytes);
                let mut same = self.same.lock().unwrap_or_else(PoisonError::into_inner);
                match same.last_mut().filter(|last| last.end == stretch.start) {
                    Some(last) => last.end = stretch.end,
                    None => same.push(stretch),
                }
                Ok(())
            }
            State::Lost | State::Done => Ok(()),
        }
    }

    /// Takes over what was remembered as the same, and compares it once more: time has passed since.
    fn take_over_same(
        &self,
        run: &Run<'_>,
        there: &There,
        file: &FileTarget<'_>,
    ) -> Result<(), (Error, Side)> {
        let mut same = std::mem::take(&mut *self.same.lock().unwrap_or_else(PoisonError::into_inner));
        if same.is_empty() {
            return Ok(());
        }
        same.sort_unstable_by_key(|stretch| stretch.start);
        let mut same = same.into_iter().peekable();
        let (mut offset, mut buffer) = (0_u64, Vec::new());
        let stored = |error| (error, Side::Stored);
        for row in tree::rows(run.reader, &self.entry.content, self.data_bytes()).map_err(stored)? {
            let (id, bytes) = row.map_err(stored)?;
            let row = Row { id, offset, bytes };
            offset = offset.saturating_add(bytes);
            while same.next_if(|stretch| stretch.end <= row.offset).is_some() {}
            let Some(stretch) = same.peek() else { return Ok(()) };
            if row.offset < stretch.start {
                continue;
            }
            let done =
                run.monitor.check().and_then(|()| match self.is_there(run, there, &row, &mut buffer) {
                    true => self.places.each(row.offset, &buffer, |at, piece| file.write_at(at, piece)),
                    false => Err(self.changed()),
                });
            done.map_err(|error| (error, Side::Target))?;
        }
        Ok(())
    }

    fn data_bytes(&self) -> u64 {
        self.holes.iter().fold(self.entry.size_bytes, |left, hole| left.saturating_sub(hole.length))
    }

    fn changed(&self) -> Error {
        Error::new(Kind::Changed, "was changed while it was compared:").on(lossy(&self.path))
    }

    fn open(&self, files: &mut Files<'m>) -> Result<()> {
        if !matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Waiting) {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waiting) {
            *state = State::Writing(files.create(&self.path, &self.attributes)?);
        }
        Ok(())
    }

    /// Trouble with the target loses the file; any other is handed on.
    fn settle(&self, run: &Run<'_>, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if concerns_one(&error, Side::Target) => {
                self.lose(run, &error, Side::Target);
                Ok(())
            }
            other => other,
        }
    }

    /// Tells that it is lost, the first time, and takes away what was written.
    pub fn lose(&self, run: &Run<'_>, error: &Error, side: Side) {
        if self.give_up() {
            run.lose(&self.path, &self.entry, error, side);
        }
    }

    /// Tells that what stands in the target is not what was restored, the first time.
    pub fn differs(&self, run: &Run<'_>) {
        if self.give_up() {
            run.differs(&self.path);
        }
    }

    /// Whether it was not given up before.
    fn give_up(&self) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        !matches!(std::mem::replace(&mut *state, State::Lost), State::Lost)
    }

    /// A part is done with; the last one finishes the file.
    ///
    /// # Errors
    /// As [`Large::write`].
    pub fn release(&self, run: &Run<'_>, files: Option<&mut Files<'m>>) -> Result<()> {
        // Whoever comes last sees what all the others did.
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        if run.purpose == Purpose::Verify {
            return self.verified(run);
        }
        let kept = self.there.as_ref().is_some_and(|there| self.may_stay(there));
        let opened = match files {
            Some(files) if self.there.is_some() && !kept => self.open(files),
            Some(files) if kept => self.put_right(files),
            _ => Ok(()),
        };
        self.settle(run, opened)?;
        let state = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            match *state {
                State::Lost => return Ok(()),
                _ => std::mem::replace(&mut *state, State::Done),
            }
        };
        let done = match state {
            State::Writing(file) => self.finish(run, file),
            State::Waiting | State::Lost | State::Done => Ok(()),
        };
        if let Err((error, side)) = done {
            return run.settle(&self.path, &self.entry, Err(error), side);
        }
        run.monitor.event(Event::Entry { path: &self.path, bytes: self.entry.size_bytes });
        Ok(())
    }

    /// Whether what stands there is all that is wanted, so that it can stay: nothing of it differed.
    fn may_stay(&self, there: &There) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Waiting)
            && self.entry.names.is_none()
            && there.found.links == 1
            && self.has_the_rest(there)
    }

    fn put_right(&self, files: &mut Files<'m>) -> Result<()> {
        let Some(there) = &self.there else { return Ok(()) };
        files.put_right_compared(&there.found, &self.path, &self.attributes)
    }

    /// Whether a file has the right length, and zeros where there are holes; and is what it was when it was compared.
    fn has_the_rest(&self, there: &There) -> bool {
        let mut end = 0_u64;
        let are_zeros = self.holes.iter().all(|hole| {
            let start = end.saturating_add(hole.data_before);
            end = start.saturating_add(hole.length);
            sparse::is_zeros(&there.file, start..end).unwrap_or(false)
        });
        are_zeros && there.found.size_bytes == self.entry.size_bytes && there.is_unchanged()
    }

    fn finish(&self, run: &Run<'_>, mut file: FileTarget<'m>) -> Result<(), (Error, Side)> {
        if let Some(there) = &self.there {
            self.take_over_same(run, there, &file)?;
            if !there.is_unchanged() {
                return Err((self.changed(), Side::Target));
            }
        }
        let done = file.set_length(self.entry.size_bytes).and_then(|()| file.finish(&self.attributes));
        done.map_err(|error| (error, Side::Target))
    }

    /// The end of a file that was compared and not written.
    fn verified(&self, run: &Run<'_>) -> Result<()> {
        if self.is_lost() {
            return Ok(());
        }
        if self.there.as_ref().is_some_and(|there| self.has_the_rest(there)) {
            run.monitor.event(Event::Verified { path: &self.path });
        } else {
            self.differs(run);
        }
        Ok(())
    }
}

/// Where the data of a file is in it: the holes shift it.
pub(super) struct Places {
    /// For each hole: how much data is before it, and by how much it and all before it shift what follows.
    shifts: Vec<(u64, u64)>,
}

impl Places {
    /// The places in a file with these holes.
    pub fn new(holes: &[Hole]) -> Self {
        let (mut data, mut shift) = (0_u64, 0_u64);
        let shifts = holes.iter().map(|hole| {
            data = data.saturating_add(hole.data_before);
            shift = shift.saturating_add(hole.length);
            (data, shift)
        });
        Places { shifts: shifts.collect() }
    }

    /// Cuts `bytes`, at `offset` of the data, at the holes.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn each<'b>(
        &self,
        offset: u64,
        bytes: &'b [u8],
        mut write: impl FnMut(u64, &'b [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut rest = bytes;
        self.pieces(offset, bytes.len(), |at, length| {
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            write(at, piece)
        })
    }

    /// Cuts so many bytes, at `offset` of the data, at the holes: gives the place in the file and the length of each piece.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn pieces<E>(
        &self,
        mut offset: u64,
        mut left: usize,
        mut each: impl FnMut(u64, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = self.shifts.partition_point(|(data, _)| *data <= offset);
        while left > 0 {
            let shift = next.checked_sub(1).and_then(|hole| self.shifts.get(hole)).map_or(0, |hole| hole.1);
            let until_hole = self.shifts.get(next).map_or(u64::MAX, |hole| hole.0 - offset);
            let length = usize::try_from(until_hole).unwrap_or(usize::MAX).min(left);
            if length > 0 {
                each(offset.saturating_add(shift), length)?;
            }
            offset = offset.saturating_add(length as u64);
            left -= length;
            next += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::losses::Losses;
    use super::super::tests::fixture::{Backup, Events, file, paths};
    use super::super::{BOUNDS, Plan};
    use super::*;
    use crate::engine::Overwrite;
    use crate::engine::dedup::tree::Content;
    use crate::engine::wanted::Place;
    use crate::monitor::Quiet;
    use crate::repository::vault::{Index, Reader};
    use crate::spool::Scratch;
    use crate::tree::directory::metadata_of;
    use crate::tree::target::{Options, Target};
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn what_is_taken_over_is_what_was_compared_though_no_time_tells_of_a_change() {
        let mut backup = Backup::new();
        let chunks = [vec![1; 5000], vec![2; 4000], vec![3; 3000]];
        let rows: Vec<_> = chunks.iter().map(|chunk| (backup.put(chunk), chunk.len() as u64)).collect();
        backup.directory("", 0o755);
        backup.finish();
        let reader = Reader::new(&backup.vault, Arc::new(Index::load(&backup.vault, &Quiet).unwrap()));
        let (wanted, events) = (paths(&[]), Events::default());
        let run = Run {
            purpose: Purpose::Write,
            plan: Plan { overwrite: Some(Overwrite::Always), ..backup.plan(&wanted) },
            chosen: wanted.choose(&mut |_| Ok(Place::Nothing)).unwrap(),
            reader: &reader,
            monitor: &events,
            bounds: BOUNDS,
            dry: false,
            losses: Losses::default(),
        };
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        let target = Target::open(folder.path(), &scratch, Options::numeric(false), &Quiet).unwrap();
        let mut files = target.files();
        let path = folder.path().join("f");
        let old = [vec![1; 5000], vec![9; 4000], vec![3; 3000]].concat();
        // Where the first chunk is changed after it was compared, and where nothing is.
        for change in [true, false] {
            std::fs::write(&path, &old).unwrap();
            let entry = Entry { size_bytes: 12_000, ..file(Content::Rows { depth: 0, rows: rows.clone() }) };
            let attributes = run.attributes(b"f", &entry).unwrap();
            let there = files.there(b"f").unwrap();
            let mut large = Large::new(b"f".to_vec(), entry, attributes, Vec::new()).beside(there);
            let row = |number: usize, offset| Row { id: rows[number].0, offset, bytes: rows[number].1 };
            let mut buffer = Vec::new();
            let differing = large.compare(&run, &[row(0, 0), row(1, 5000)], &mut buffer).unwrap();
            assert_eq!(differing, [row(1, 5000)]);
            if change {
                std::fs::File::options().write(true).open(&path).unwrap().write_all_at(b"!", 10).unwrap();
                let there = large.there.as_mut().unwrap();
                there.found = metadata_of(&there.file).unwrap();
            }
            large.write(&run, Some(&mut files), 5000, &chunks[1]).unwrap();
            assert_eq!(large.compare(&run, &[row(2, 9000)], &mut buffer).unwrap(), []);
            large.release(&run, Some(&mut files)).unwrap();
            assert_eq!((events.lost(), events.entries().is_empty()), (vec!["f".to_owned()], change));
        }
        assert_eq!(std::fs::read(&path).unwrap(), chunks.concat());
    }

    proptest! {
        #[test]
        fn data_is_put_around_the_holes(
            holes in proptest::collection::vec((0_u64..6, 1_u64..6), 0..8),
            tail in 0_u64..6,
            cuts in proptest::collection::vec(1_usize..7, 0..30),
        ) {
            let mut wanted = Vec::new();
            let mut data = Vec::new();
            let mut put = |count: u64, wanted: &mut Vec<u8>| for _ in 0..count {
                let byte = data.len() as u8 + 1;
                wanted.push(byte);
                data.push(byte);
            };
            for (before, length) in &holes {
                put(*before, &mut wanted);
                wanted.extend((0..*length).map(|_| 0));
            }
            put(tail, &mut wanted);
            let holes: Vec<Hole> =
                holes.iter().map(|(data_before, length)| Hole { data_before: *data_before, length: *length }).collect();
            let places = Places::new(&holes);
            let mut file = vec![0; wanted.len()];
            let (mut offset, mut cuts) = (0, cuts.into_iter());
            while offset < data.len() {
                let length = cuts.next().unwrap_or(usize::MAX).min(data.len() - offset);
                places.each(offset as u64, &data[offset..offset + length], |at, piece| {
                    file[at as usize..][..piece.len()].copy_from_slice(piece);
                    Ok(())
                }).unwrap();
                offset += length;
            }
            prop_assert_eq!(file, wanted);
        }
    }
}
