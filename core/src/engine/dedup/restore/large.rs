//! Files of several chunks, which come in any order and from several workers.
//!
//! Invariant: the file is finished by whoever brings the last part, or taken away at the first that fails; once, either way.
//!
//! Where a file stands in the target that is to be replaced, it is compared chunk by chunk, and only what differs is fetched. It is
//! not written into, since a run that is killed would leave half of the one and half of the other: a new file is made beside
//! it, which takes over from it what is the same (without copying where the file system can share blocks), and then its
//! name. Nothing is made when nothing differs.

use super::super::tree::{Entry, Hole};
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
    /// Without its content, which may be long.
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
                let done = self.take_over(there, row.offset..row.offset.saturating_add(row.bytes));
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

    /// Takes a stretch of what stands there into the new file; or only remembers it, while it may be that none is needed.
    fn take_over(&self, there: &There, stretch: Range<u64>) -> Result<()> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Writing(file) => self.copy(there, file, stretch),
            State::Waiting => {
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

    fn copy(&self, there: &There, file: &FileTarget<'_>, stretch: Range<u64>) -> Result<()> {
        let mut offset = stretch.start;
        while offset < stretch.end {
            // Cut at the holes, and so that the length is a number of this machine.
            let length = usize::try_from(stretch.end - offset).unwrap_or(usize::MAX);
            self.places.pieces(offset, length, |at, piece| {
                file.copy_from(&there.file, at..at.saturating_add(piece as u64))
            })?;
            offset = offset.saturating_add(length as u64);
        }
        Ok(())
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
            Some(files) if kept => {
                self.put_right(files);
                Ok(())
            }
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
            State::Writing(file) => self.finish(file),
            State::Waiting | State::Lost | State::Done => Ok(()),
        };
        let is_done = done.is_ok();
        run.settle(&self.path, &self.entry, done, Side::Target)?;
        if is_done {
            run.monitor.event(Event::Entry { path: &self.path, bytes: self.entry.size_bytes });
        }
        Ok(())
    }

    /// Whether what stands there is all that is wanted, so that it can stay: nothing of it differed.
    fn may_stay(&self, there: &There) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Waiting)
            && self.entry.names.is_none()
            && there.found.links == 1
            && self.has_the_rest(there)
    }

    fn put_right(&self, files: &mut Files<'m>) {
        if let Some(there) = &self.there {
            files.put_right(there, &self.path, &self.attributes);
        }
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

    fn finish(&self, mut file: FileTarget<'m>) -> Result<()> {
        if let Some(there) = &self.there {
            let same = std::mem::take(&mut *self.same.lock().unwrap_or_else(PoisonError::into_inner));
            same.into_iter().try_for_each(|stretch| self.copy(there, &file, stretch))?;
            if !there.is_unchanged() {
                let what = "was changed while it was compared:";
                return Err(Error::new(Kind::Changed, what).on(lossy(&self.path)));
            }
        }
        file.set_length(self.entry.size_bytes)?;
        file.finish(&self.attributes)
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
    use super::*;
    use proptest::prelude::*;

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
