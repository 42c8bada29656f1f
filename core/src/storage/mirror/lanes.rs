//! The members with their lanes: one change goes to each, in one order, and the answers decide what it came to.
//!
//! Invariants: changes reach every lane in the same order; of what had to be new and did not come to be, nothing is left on a member
//! that lives.

use super::super::{PutMode, Storage};
use super::member::{Asked, Member, too_few};
use super::notes;
use crate::error::{Error, Kind, Result};
use crate::limits::{BLOCK_BYTES, MIRROR_LAG_BYTES, PACKS_SENT};
use crate::name::ObjectName;
use crate::pipe::{Answers, Lane, Promise, Turn};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A change to one member, by its place.
pub(super) type Change = Arc<dyn Fn(usize, &dyn Storage) -> Result<()> + Send + Sync>;

/// How an object is put.
pub(super) type Putting = fn(&dyn Storage, &ObjectName, &[u8], PutMode) -> Result<()>;

/// What a job takes besides the bytes of its object.
const JOB_BYTES: u64 = 4 << 10;

/// The members of a mirror, each with its lane.
pub(super) struct Lanes {
    members: Vec<Arc<Member>>,
    /// None for a member that failed before anything began.
    lanes: Vec<Option<Lane<Job>>>,
    /// Held while a change is handed to all lanes.
    order: Mutex<()>,
    min_copies: usize,
    notes: ObjectName,
}

/// What the answers to one change come to.
#[derive(Default)]
pub(super) struct Outcome {
    /// Members on which it was done.
    pub held: Vec<usize>,
    /// Members that refused it.
    pub refused: Vec<(usize, Error)>,
}

impl Outcome {
    fn take(&mut self, place: usize, asked: Asked<()>) {
        match asked {
            Asked::Done(()) => self.held.push(place),
            Asked::Refused(error) => self.refused.push((place, error)),
            Asked::Failed => (),
        }
    }
}

impl Lanes {
    pub fn start(members: Vec<Arc<Member>>, min_copies: usize, notes: ObjectName) -> Result<Lanes> {
        let lane = |member: &Arc<Member>| {
            let Some(storage) = member.storage() else { return Ok(None) };
            let workers = if storage.capabilities().parallel { PACKS_SENT } else { 1 };
            Lane::start(workers, MIRROR_LAG_BYTES, |job: Job| job()).map(Some)
        };
        let lanes = members.iter().map(lane).collect::<Result<Vec<_>>>()?;
        Ok(Lanes { members, lanes, order: Mutex::new(()), min_copies, notes })
    }

    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    pub fn min_copies(&self) -> usize {
        self.min_copies
    }

    /// The places of those that live.
    pub fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|place| self.members[*place].lives())
    }

    /// Whether a member has done all it was told.
    pub fn is_idle(&self, place: usize) -> bool {
        self.lanes[place].as_ref().is_none_or(Lane::is_idle)
    }

    pub fn drain(&self) -> Result<()> {
        self.lanes.iter().flatten().try_for_each(Lane::drain)
    }

    pub fn too_few(&self, wanted: usize) -> Error {
        too_few(&self.members, wanted)
    }

    /// Refuses to write when too few are left.
    pub fn enough(&self) -> Result<()> {
        if self.living().count() < self.min_copies { Err(self.too_few(self.min_copies)) } else { Ok(()) }
    }

    /// Hands what `job` makes to the lanes of members, in one order.
    pub fn send(&self, places: &[usize], turn: Turn, size_bytes: u64, job: impl Fn(usize) -> Job) {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            let sent = self.lanes[*place]
                .as_ref()
                .map(|lane| lane.send(turn, size_bytes.saturating_add(JOB_BYTES), job(*place)));
            if let Some(Err(broken)) = sent {
                self.members[*place].fail(broken);
            }
        }
        drop(order);
    }

    /// Has a change made on these members.
    pub fn ask(&self, places: &[usize], turn: Turn, size_bytes: u64, change: &Change) -> Answers<Asked<()>> {
        let answers = Answers::default();
        self.send(places, turn, size_bytes, |place| {
            let promise: Promise<Asked<()>> = answers.expect(place);
            let (member, change) = (Arc::clone(&self.members[place]), Arc::clone(change));
            Box::new(move || promise.give(member.ask(|storage| change(place, storage))))
        });
        answers
    }

    /// Has a change made on these members, after all before it, and waits for each.
    pub fn outcome(&self, places: &[usize], size_bytes: u64, change: &Change) -> Outcome {
        let mut outcome = Outcome::default();
        let answers = self.ask(places, Turn::Alone, size_bytes, change).all();
        self.fail_the_silent(places, &answers);
        for (place, asked) in answers {
            outcome.take(place, asked);
        }
        outcome
    }

    /// Who gave no answer has lost its lane.
    pub fn fail_the_silent(&self, places: &[usize], answers: &[(usize, Asked<()>)]) {
        for place in places.iter().filter(|place| !answers.iter().any(|(from, _)| from == *place)) {
            self.members[*place].fail(Error::new(Kind::Stopped, "its lane broke"));
        }
    }

    pub fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode, putting: Putting) -> Result<()> {
        let size_bytes = bytes.len() as u64;
        let (object, bytes) = (name.clone(), Arc::<[u8]>::from(bytes));
        let change: Change = Arc::new(move |_, storage| putting(storage, &object, &bytes, mode));
        match mode {
            PutMode::CreateNew | PutMode::Unique => self.create(name, size_bytes, &change),
            PutMode::Replace => self.replace(name, size_bytes, &change),
        }
    }

    /// Makes a change that only one may make: the first that lives decides, and for nobody the name may be taken. But where another already
    /// has what the first one took, somebody has brought it up to the first meanwhile. Who refuses for any other reason what another
    /// takes has failed.
    pub fn create(&self, name: &ObjectName, size_bytes: u64, change: &Change) -> Result<()> {
        self.enough()?;
        let (mut held, mut unfit) = (Vec::new(), Vec::new());
        for place in 0..self.members.len() {
            if held.is_empty() && self.members[place].lives() {
                let outcome = self.outcome(&[place], size_bytes, change);
                for (place, error) in outcome.refused {
                    if error.kind() == Kind::AlreadyExists {
                        return Err(error);
                    }
                    unfit.push((place, error));
                }
                held = outcome.held;
            }
        }
        let Some(first) = held.first().copied() else { return Err(self.first_of(unfit, self.min_copies)) };
        let is_asked = |place: &usize| *place == first || unfit.iter().any(|(unfit, _)| unfit == place);
        let rest: Vec<usize> = self.living().filter(|place| !is_asked(place)).collect();
        let Outcome { held: others, refused } = self.outcome(&rest, size_bytes, change);
        self.fail_each(unfit);
        let mut refused = self.fail_unfit(refused, Kind::AlreadyExists);
        held.extend(others);
        refused.retain(|(place, error)| {
            let is_same = error.kind() == Kind::AlreadyExists && self.is_same_on(name, first, *place);
            if is_same {
                held.push(*place);
            }
            // One that failed over it has not refused.
            !is_same && self.members[*place].lives()
        });
        self.decide_on_new(name, Outcome { held, refused })
    }

    /// Members that did not do what another has done are no copies of it from now on.
    pub fn fail_each(&self, refused: Vec<(usize, Error)>) {
        for (place, error) in refused {
            self.members[place].fail(error);
        }
    }

    /// Of refusals of what another member has done, those of kind `answer`; who refused for anything else has failed.
    pub fn fail_unfit(&self, refused: Vec<(usize, Error)>, answer: Kind) -> Vec<(usize, Error)> {
        let (answers, unfit) = refused.into_iter().partition(|(_, error)| error.kind() == answer);
        self.fail_each(unfit);
        answers
    }

    /// Whether two members have the same bytes under a name.
    fn is_same_on(&self, name: &ObjectName, one: usize, other: usize) -> bool {
        let mut offset = 0;
        loop {
            let read = |place: usize| {
                self.members[place].ask_about(|storage| storage.read(name, offset, BLOCK_BYTES)).done()
            };
            match (read(one), read(other)) {
                (Some(left), Some(right)) if left == right => {
                    if left.len() < BLOCK_BYTES {
                        return true;
                    }
                    offset += left.len() as u64;
                }
                _ => return false,
            }
        }
    }

    /// What had to be new is on enough members, and nobody refused it; or it is taken back.
    pub fn decide_on_new(&self, name: &ObjectName, outcome: Outcome) -> Result<()> {
        let Outcome { held, refused } = outcome;
        if refused.is_empty() && held.len() >= self.min_copies {
            self.note_lacks(name, &held);
            return Ok(());
        }
        let object = name.clone();
        let held: Vec<usize> = held.into_iter().filter(|place| self.members[*place].lives()).collect();
        let take_back: Change = Arc::new(move |_, storage: &dyn Storage| storage.delete(&object));
        let kept = self.outcome(&held, 0, &take_back).refused;
        self.fail_unfit(kept, Kind::NotFound);
        Err(self.first_of(refused, self.min_copies))
    }

    /// The first refusal; without one, too few are left.
    fn first_of(&self, refused: Vec<(usize, Error)>, wanted: usize) -> Error {
        refused.into_iter().next().map_or_else(|| self.too_few(wanted), |(_, error)| error)
    }

    /// Makes a change that takes the place of what was there.
    pub fn replace(&self, name: &ObjectName, size_bytes: u64, change: &Change) -> Result<()> {
        self.enough()?;
        let living: Vec<usize> = self.living().collect();
        let Outcome { held, mut refused } = self.outcome(&living, size_bytes, change);
        if !held.is_empty() {
            self.fail_each(std::mem::take(&mut refused));
        }
        if held.len() < self.min_copies {
            return Err(self.first_of(refused, self.min_copies));
        }
        self.note_lacks(name, &held);
        Ok(())
    }

    /// Notes a change with those who have not made it.
    pub fn note_lacks(&self, name: &ObjectName, held: &[usize]) {
        let without = |(place, _): &(usize, &Arc<Member>)| !held.contains(place);
        self.members.iter().enumerate().filter(without).for_each(|(_, member)| member.note_lack(name));
    }

    /// Removes an object from all that live. Where one does not, the removal is noted before it is carried out; where one fails at
    /// it, afterwards.
    pub fn delete(&self, name: &ObjectName) -> Result<()> {
        let living: Vec<usize> = self.living().collect();
        let is_noted = living.len() < self.members.len();
        let (object, folder) = (name.clone(), self.notes.clone());
        let change: Change = Arc::new(move |_, storage| {
            if is_noted {
                notes::write(storage, &folder, &object)?;
            }
            storage.delete(&object)
        });
        let Outcome { held, mut refused } = self.outcome(&living, 0, &change);
        if !held.is_empty() || refused.iter().any(|(_, error)| error.kind() == Kind::NotFound) {
            refused = self.fail_unfit(refused, Kind::NotFound);
        }
        let left: Vec<usize> = self.living().collect();
        if !is_noted && left.len() < living.len() {
            let (object, folder) = (name.clone(), self.notes.clone());
            let note: Change = Arc::new(move |_, storage| notes::write(storage, &folder, &object));
            self.outcome(&left, 0, &note);
        }
        self.members.iter().filter(|member| !member.lives()).for_each(|member| member.note_lack(name));
        if held.is_empty() { Err(self.first_of(refused, 1)) } else { Ok(()) }
    }
}
