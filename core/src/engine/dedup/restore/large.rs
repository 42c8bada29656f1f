//! Files of several chunks, which come in any order and from several workers.
//!
//! Invariant: the file is finished by whoever brings the last part, or taken away at the first that fails; once, either way.

use super::super::tree::{Entry, Hole};
use super::Run;
use super::losses::Side;
use crate::error::{Error, Result};
use crate::monitor::Event;
use crate::tree::attributes::Attributes;
use crate::tree::target::{FileTarget, Files};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// A file of several chunks.
pub(super) struct Large<'m> {
    path: Vec<u8>,
    /// Without its content, which may be long.
    entry: Entry,
    attributes: Attributes,
    places: Places,
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

impl<'m> Large<'m> {
    /// A file with one part to come: the planner's, for which it calls [`Large::release`] when it has named all others.
    pub fn new(path: Vec<u8>, entry: Entry, attributes: Attributes, holes: &[Hole]) -> Self {
        let state = RwLock::new(State::Waiting);
        Large { path, entry, attributes, places: Places::new(holes), state, left: AtomicUsize::new(1) }
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
        match done {
            Err(error) if super::losses::concerns_one(&error, Side::Target) => {
                self.lose(run, &error, Side::Target);
                Ok(())
            }
            other => other,
        }
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

    /// Tells that it is lost, the first time, and takes away what was written.
    pub fn lose(&self, run: &Run<'_>, error: &Error, side: Side) {
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Lost)
        };
        if !matches!(before, State::Lost) {
            run.lose(&self.path, &self.entry, error, side);
        }
    }

    /// A part is done with; the last one finishes the file.
    ///
    /// # Errors
    /// As [`Large::write`].
    pub fn release(&self, run: &Run<'_>) -> Result<()> {
        // Whoever comes last sees what all the others did.
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let state = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            match *state {
                State::Lost => return Ok(()),
                _ => std::mem::replace(&mut *state, State::Done),
            }
        };
        let done = match state {
            State::Writing(mut file) => {
                file.set_length(self.entry.size_bytes).and_then(|()| file.finish(&self.attributes))
            }
            State::Waiting | State::Lost | State::Done => Ok(()),
        };
        let is_done = done.is_ok();
        run.settle(&self.path, &self.entry, done, Side::Target)?;
        if is_done {
            run.monitor.event(Event::Entry { path: &self.path, bytes: self.entry.size_bytes });
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
        mut offset: u64,
        mut bytes: &'b [u8],
        mut write: impl FnMut(u64, &'b [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut next = self.shifts.partition_point(|(data, _)| *data <= offset);
        while !bytes.is_empty() {
            let shift = next.checked_sub(1).and_then(|hole| self.shifts.get(hole)).map_or(0, |hole| hole.1);
            let until_hole = self.shifts.get(next).map_or(u64::MAX, |hole| hole.0 - offset);
            let length = usize::try_from(until_hole).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(length);
            if !piece.is_empty() {
                write(offset.saturating_add(shift), piece)?;
            }
            offset = offset.saturating_add(length as u64);
            bytes = rest;
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
