//! One object, made alike on all members: copied to where it is missing, and sound bytes put in the place of damaged ones.

use super::listing::Uneven;
use super::{Done, Heal};
use crate::error::{Error, Kind, Result};
use crate::limits::BLOCK_BYTES;
use crate::monitor::Event;
use crate::name::ObjectName;
use crate::repository::copies::Verdict;
use crate::storage::mirror::{Asked, Member};
use crate::storage::{ObjectWriter, PutMode};
use std::io::{self, Read};

/// Why a copy was not read, or not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It is gone, or shorter than it was: removed since it was listed.
    Gone,
    /// The member that it is read from has failed.
    Source,
    /// The member that it is written to has failed, or refuses it.
    Target,
}

/// How copying came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Done,
    /// The bytes are not what was written.
    Unsound,
    Not(Trouble),
}

/// Reads an object of a member block by block, and writes what was read to another one, if there is one.
struct Flow<'f> {
    source: &'f Member,
    name: &'f ObjectName,
    size_bytes: u64,
    offset: u64,
    block: Vec<u8>,
    used: usize,
    target: Option<(&'f Member, Box<dyn ObjectWriter>)>,
    trouble: Option<Trouble>,
}

impl<'f> Flow<'f> {
    fn new(source: &'f Member, name: &'f ObjectName, size_bytes: u64) -> Flow<'f> {
        Flow { source, name, size_bytes, offset: 0, block: Vec::new(), used: 0, target: None, trouble: None }
    }

    /// The next block, empty at the end.
    fn fetch(&mut self) -> Result<(), Trouble> {
        let left = self.size_bytes - self.offset;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        self.used = 0;
        self.block.clear();
        if length == 0 {
            return Ok(());
        }
        self.block = match self.source.ask(|storage| storage.read(self.name, self.offset, length)) {
            Asked::Done(block) if block.len() == length => block,
            Asked::Done(_) | Asked::Refused(_) => return Err(Trouble::Gone),
            Asked::Failed => return Err(Trouble::Source),
        };
        self.offset += length as u64;
        match &mut self.target {
            None => Ok(()),
            Some((target, writer)) => target.ask(|_| writer.write(&self.block)).done().ok_or(Trouble::Target),
        }
    }

    /// Reads what is left.
    fn read_on(&mut self) {
        while self.trouble.is_none() && self.offset < self.size_bytes {
            self.trouble = self.fetch().err();
        }
    }
}

impl Read for Flow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len()
            && let Err(trouble) = self.fetch()
        {
            self.trouble = Some(trouble);
            return Err(Error::stopped().into());
        }
        let count = buffer.len().min(self.block.len() - self.used);
        buffer[..count].copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

impl Heal<'_> {
    /// Makes one object alike on all that live. `is_settled`: nothing exists by its being there.
    pub(super) fn level(&mut self, uneven: &Uneven, is_settled: bool) -> Result<()> {
        self.monitor.check()?;
        let Uneven { name, sizes, is_mixed } = uneven;
        if self.passed_over.contains(name) {
            return Ok(());
        }
        let have: Vec<usize> =
            self.living().map(|(place, _)| place).filter(|place| sizes[*place].is_some()).collect();
        if have.is_empty() {
            return Ok(());
        }
        let trusted = if *is_mixed { self.sound(name, sizes, &have)? } else { have.clone() };
        if trusted.is_empty() {
            self.note(Done::Unsettled, name, &have);
            return Ok(());
        }
        let others: Vec<usize> = self.living().map(|(place, _)| place).collect();
        for place in others.into_iter().filter(|place| !trusted.contains(place)) {
            self.bring(name, sizes, &trusted, place)?;
            if !is_settled && sizes[place].is_none() {
                self.take_back_what_is_gone(name, &trusted, place);
            }
        }
        Ok(())
    }

    /// Copies an object to `place` from the first of `sources` that has it whole.
    fn bring(
        &mut self,
        name: &ObjectName,
        sizes: &[Option<u64>],
        sources: &[usize],
        place: usize,
    ) -> Result<()> {
        let (mode, done) = match sizes[place] {
            None => (PutMode::CreateNew, Done::Copied),
            Some(_) => (PutMode::Replace, Done::Repaired),
        };
        let mut is_unsound = false;
        for source in sources {
            let size_bytes = sizes[*source].unwrap_or(0);
            match self.copy(name, size_bytes, *source, place, mode)? {
                Copied::Done => {
                    self.report.copied_bytes = self.report.copied_bytes.saturating_add(size_bytes);
                    self.note(done, name, &[place]);
                    return Ok(());
                }
                Copied::Unsound => is_unsound = true,
                Copied::Not(Trouble::Target) => return Ok(()),
                Copied::Not(Trouble::Gone | Trouble::Source) => (),
            }
        }
        if is_unsound {
            self.note(Done::Unsettled, name, sources);
        }
        Ok(())
    }

    fn copy(
        &mut self,
        name: &ObjectName,
        size_bytes: u64,
        source: usize,
        place: usize,
        mode: PutMode,
    ) -> Result<Copied> {
        let (source, target) = (self.members[source].as_ref(), self.members[place].as_ref());
        let writer = match target.ask(|storage| storage.writer(name, mode)) {
            Asked::Done(writer) => writer,
            refused => return self.refused(name, size_bytes, target, refused),
        };
        let mut flow = Flow { target: Some((target, writer)), ..Flow::new(source, name, size_bytes) };
        let verdict = self.repository.judge(name, &mut flow);
        if verdict.as_ref().is_ok_and(|verdict| *verdict != Verdict::Damaged) {
            flow.read_on();
        }
        if let Some(trouble) = flow.trouble {
            return Ok(Copied::Not(trouble));
        }
        if verdict? == Verdict::Damaged {
            return Ok(Copied::Unsound);
        }
        let Some((_, writer)) = flow.target else { return Ok(Copied::Not(Trouble::Target)) };
        self.monitor.event(Event::Stored { bytes: size_bytes });
        match target.ask(|_| writer.finish()) {
            Asked::Done(()) => Ok(Copied::Done),
            refused => self.refused(name, size_bytes, target, refused),
        }
    }

    /// A name that is taken meanwhile, or that a list did not show, is what was wanted; anything else cannot be helped.
    fn refused<T>(
        &mut self,
        name: &ObjectName,
        size_bytes: u64,
        target: &Member,
        asked: Asked<T>,
    ) -> Result<Copied> {
        if let Asked::Refused(error) = &asked {
            let is_there = error.kind() == Kind::AlreadyExists
                && target
                    .ask(|storage| storage.stat(name))
                    .done()
                    .is_some_and(|stat| stat.size_bytes == size_bytes);
            if !is_there {
                self.report.unsettled = self.report.unsettled.saturating_add(1);
            }
        }
        Ok(Copied::Not(Trouble::Target))
    }

    /// The members whose copy is known to be what was written.
    fn sound(&mut self, name: &ObjectName, sizes: &[Option<u64>], have: &[usize]) -> Result<Vec<usize>> {
        let mut sound = Vec::new();
        for place in have {
            let mut flow = Flow::new(&self.members[*place], name, sizes[*place].unwrap_or(0));
            let verdict = self.repository.judge(name, &mut flow);
            if flow.trouble.is_none() && verdict? == Verdict::Sound {
                sound.push(*place);
            }
        }
        Ok(sound)
    }

    /// What was removed from where it came while it was copied was removed from everywhere, and must not stay as the one copy.
    fn take_back_what_is_gone(&mut self, name: &ObjectName, sources: &[usize], place: usize) {
        let is_gone = |source: &usize| {
            let asked = self.members[*source].ask(|storage| storage.stat(name));
            matches!(asked, Asked::Refused(error) if error.kind() == Kind::NotFound)
        };
        if sources.iter().all(is_gone) {
            // Whether it was there or not: it is not to be.
            drop(self.members[place].ask(|storage| storage.delete(name)));
        }
    }

    /// Whether members that have an object of one length have other bytes in it.
    pub(super) fn bytes_differ(&self, name: &ObjectName, sizes: &[Option<u64>]) -> Result<bool> {
        let mut first: Option<blake3::Hash> = None;
        for (place, member) in self.living() {
            let Some(size_bytes) = sizes[place] else { continue };
            self.monitor.check()?;
            let mut flow = Flow::new(member, name, size_bytes);
            let mut hasher = blake3::Hasher::new();
            while flow.offset < size_bytes && flow.trouble.is_none() {
                flow.trouble = flow.fetch().err();
                hasher.update(&flow.block);
            }
            if flow.trouble.is_none() && *first.get_or_insert_with(|| hasher.finalize()) != hasher.finalize()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
