//! One object, made alike on all members: copied to where it is missing, and sound bytes put in the place of damaged ones.

use super::listing::{Uneven, size_on};
use super::{Done, Heal};
use crate::error::{Error, Kind, Result};
use crate::limits::{BLOCK_BYTES, SMALL_OBJECT_BYTES};
use crate::monitor::Event;
use crate::name::ObjectName;
use crate::repository::BackupLocation;
use crate::repository::copies::{Role, Verdict, is_snapshot, role_of};
use crate::storage::mirror::{Asked, Member};
use crate::storage::{ObjectWriter, PutMode};
use std::collections::BTreeSet;
use std::io::{self, Read};

/// Why a copy was not read, or not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It is gone, or shorter than it was: removed since it was listed.
    Gone,
    /// The member that it is read from says that it is damaged.
    Unsound,
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
        self.block = match self.source.ask_about(|storage| storage.read(self.name, self.offset, length)) {
            Asked::Done(block) if block.len() == length => block,
            asked if asked.is_damaged() => return Err(Trouble::Unsound),
            Asked::Done(_) | Asked::Refused(_) => return Err(Trouble::Gone),
            Asked::Failed => return Err(Trouble::Source),
        };
        self.offset += length as u64;
        match &mut self.target {
            None => Ok(()),
            Some((target, writer)) => {
                target.ask_to_put(|_| writer.write(&self.block)).done().ok_or(Trouble::Target)
            }
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
        if self.is_disputed(name, *is_mixed)? {
            self.note(Done::Unsettled, name, &have);
            return Ok(());
        }
        let trusted = if *is_mixed { self.sound(name, sizes, &have)? } else { have.clone() };
        let others: Vec<usize> = self.living().map(|(place, _)| place).collect();
        if trusted.is_empty() {
            let lacking = others.into_iter().filter(|place| sizes[*place].is_none());
            self.nobody_has_it_whole(name, &have, lacking, false);
            return Ok(());
        }
        for place in others.into_iter().filter(|place| !trusted.contains(place)) {
            if sizes[place].is_none() && !self.may_have(name, &trusted, place)? {
                continue;
            }
            self.bring(name, sizes, &trusted, place)?;
            if !is_settled && sizes[place].is_none() {
                self.take_back_what_is_gone(name, &trusted, place);
            }
        }
        Ok(())
    }

    /// Whether members have different documents of one level, each of them sound: nobody can say which backup it is then, and neither
    /// they nor the content that they speak of are touched.
    fn is_disputed(&self, name: &ObjectName, is_mixed: bool) -> Result<bool> {
        let document = match role_of(name) {
            Role::Content(location) => location.metadata()?,
            Role::Document(_) if is_mixed => name.clone(),
            _ => return Ok(false),
        };
        let mut sound: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (_, member) in self.living() {
            let read = member.ask_about(|storage| match storage.read_small(&document, SMALL_OBJECT_BYTES) {
                // Too long for one: not sound, and no failure.
                Err(error) if error.kind() == Kind::Limit => Ok(Vec::new()),
                read => read,
            });
            if let Asked::Done(bytes) = read
                && self.repository.judge(&document, &mut bytes.as_slice())? == Verdict::Sound
            {
                sound.insert(bytes);
            }
        }
        Ok(sound.len() > 1)
    }

    /// Whether a member that lacks an object can be given it: a snapshot not before all packs and indexes, a document not before the
    /// content of its level. What is held back is missed there.
    fn may_have(&mut self, name: &ObjectName, sources: &[usize], place: usize) -> Result<bool> {
        let may = match role_of(name) {
            Role::Document(location) => {
                let has_content = self.has_content(&location, place)?;
                if !has_content && self.members[place].lives() && !self.is_gone(name, sources) {
                    self.note(Done::Unsettled, name, &[place]);
                }
                has_content
            }
            _ => !self.held_back.contains(&place) || !is_snapshot(name),
        };
        if !may {
            self.members[place].note_lack(name);
        }
        Ok(may)
    }

    fn has_content(&self, location: &BackupLocation, place: usize) -> Result<bool> {
        let content = [location.data()?, location.engine_metadata()?];
        let member = &self.members[place];
        let is_whole = |name| matches!(member.ask_about(|storage| storage.stat(name)), Asked::Done(_));
        Ok(content.iter().all(is_whole))
    }

    /// A member has not got what the others list. Where backups may need it, it is given none: it is out, or, when somebody has removed the
    /// object meanwhile, all is compared once more.
    fn could_not_bring(&mut self, name: &ObjectName, place: usize, is_removed: bool) {
        let member = &self.members[place];
        match role_of(name) {
            Role::Needed if is_removed => {
                self.held_back.insert(place);
            }
            Role::Needed => {
                let what = "no place has whole what backups may need:";
                member.fail(Error::damaged(what, name.to_string()).hint("icecore check tells what is lost"));
            }
            _ if is_removed => return,
            _ => (),
        }
        member.note_lack(name);
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
                Copied::Unsound | Copied::Not(Trouble::Unsound) => is_unsound = true,
                Copied::Not(Trouble::Target) => return Ok(()),
                Copied::Not(Trouble::Gone | Trouble::Source) => (),
            }
        }
        let lacking = sizes[place].is_none().then_some(place);
        self.nobody_has_it_whole(name, sources, lacking.into_iter(), is_unsound);
        Ok(())
    }

    /// None of `sources` gives an object that others lack.
    fn nobody_has_it_whole(
        &mut self,
        name: &ObjectName,
        sources: &[usize],
        lacking: impl Iterator<Item = usize>,
        is_unsound: bool,
    ) {
        if !sources.iter().any(|source| self.members[*source].lives()) {
            // Nor do they give what refers to it.
            lacking.for_each(|place| self.members[place].note_lack(name));
            return;
        }
        let is_removed = !is_unsound && self.is_gone(name, sources);
        if !is_removed {
            self.note(Done::Unsettled, name, sources);
        }
        lacking.for_each(|place| self.could_not_bring(name, place, is_removed));
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
        let writer = match target.ask_to_put(|storage| storage.writer(name, mode)) {
            Asked::Done(writer) => writer,
            refused => return Ok(self.refused(name, size_bytes, place, &refused)),
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
        match target.ask_to_put(|_| writer.finish()) {
            Asked::Done(()) => Ok(Copied::Done),
            refused => Ok(self.refused(name, size_bytes, place, &refused)),
        }
    }

    /// A name that is taken meanwhile, or that a list did not show, is what was wanted, and so is one that is gone again; one with
    /// something else under it cannot be helped.
    fn refused<T>(&mut self, name: &ObjectName, size_bytes: u64, place: usize, asked: &Asked<T>) -> Copied {
        if let Asked::Refused(_) = asked
            && size_on(&self.members[place], name).is_some_and(|found| found != size_bytes)
        {
            self.note(Done::Unsettled, name, &[place]);
            self.could_not_bring(name, place, false);
        }
        Copied::Not(Trouble::Target)
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
        let living: Vec<usize> =
            sources.iter().copied().filter(|source| self.members[*source].lives()).collect();
        if living.len() == sources.len() && self.is_gone(name, &living) {
            // Whether it was there or not: it is not to be.
            drop(self.members[place].ask_to_delete(|storage| storage.delete(name)));
        }
    }

    /// Whether an object is on none of these members any more, and one at least could say so.
    fn is_gone(&self, name: &ObjectName, places: &[usize]) -> bool {
        let mut living = places.iter().filter(|place| self.members[**place].lives()).peekable();
        let is_gone = |place: &usize| {
            let asked = self.members[*place].ask_about(|storage| storage.stat(name));
            matches!(asked, Asked::Refused(error) if error.kind() == Kind::NotFound)
        };
        living.peek().is_some() && living.all(is_gone)
    }

    /// Whether members that have an object of one length have other bytes in it, or say that it is damaged.
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
            if flow.trouble == Some(Trouble::Unsound) {
                return Ok(true);
            }
            if flow.trouble.is_none() && *first.get_or_insert_with(|| hasher.finalize()) != hasher.finalize()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
