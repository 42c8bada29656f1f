//! Several storages that hold the same: what is written goes to each of them, what is read comes from the fastest that has it.
//!
//! `docs/format/mirror.md` says what follows for whoever keeps copies. The rules that the code keeps:
//!
//! * **In order.** Each member is fed through a lane of its own ([`crate::pipe::Lane`]) in the order of the calls, so that nothing stands
//!   on it before what it refers to. Only objects given by [`Storage::begin_put`], which must not refer to each other, may overtake
//!   each other. Who lags may do so by [`MIRROR_LAG_BYTES`]; then the writer waits for it.
//! * **Out for good.** A member that fails is asked nothing more by this mirror ([`Member`]). What it holds is a beginning of what the others
//!   hold, and [`crate::heal`] brings it up to them.
//! * **Enough copies.** A write ends well when `min_copies` members hold the object, and never with fewer; then it is taken back. What has
//!   a name that nobody else may take (all but what `begin_put` gave) is decided by the first member that lives, before the others
//!   are asked, so that of two writers one wins; and one that is refused by any member has lost, and takes back what it wrote.
//! * **A removal is told.** Where a member cannot be reached, the others note what was removed (`notes`).
//! * **Nothing is absent on the word of a member that failed.** `NotFound` is what all that live say. A listing is what any of them lists.
//! * **Damage is the object's.** A member that says that an object is damaged is asked for others all the same; the next member is asked for that one, and
//!   where none has it, it is damaged, never absent. Whose bytes turn out not to be what was written may have them read from another member (`held`).

mod held;
mod lanes;
mod member;
mod notes;
mod put;
mod stream;
#[cfg(test)]
mod tests;

pub use member::{Asked, Member};

use super::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::error::{Error, Kind, Result};
use crate::limits::{MIRROR_MEMBERS, MIRROR_NAMED, MIRROR_SUSPECTS};
use crate::name::ObjectName;
use crate::storage::throttle::Clock;
use crate::time::Timestamp;
use held::Held;
use lanes::Lanes;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(doc)]
use crate::limits::MIRROR_LAG_BYTES;

/// A storage that is to be a member: one that cannot be opened is one that has failed.
pub struct Target {
    /// How to name it to a person.
    pub label: String,
    /// The storage, or why there is none.
    pub storage: Result<Arc<dyn Storage>>,
}

/// What a mirror is told.
pub struct Settings {
    /// How many members must hold what is written; at least 1, at most all.
    pub min_copies: usize,
    /// The folder in which removals are noted.
    pub notes: ObjectName,
    /// What tells how fast a member is.
    pub clock: Arc<dyn Clock>,
}

/// What became of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// How to name it to a person.
    pub label: String,
    /// Why nothing is asked of it any more, if so.
    pub failure: Option<(Kind, String)>,
    /// Changes that it has missed.
    pub lacks: u64,
    /// Objects that the first of them are about.
    pub lacking: Vec<String>,
}

impl MemberReport {
    /// Whether it has failed or missed something.
    pub fn is_behind(&self) -> bool {
        self.failure.is_some() || self.lacks > 0
    }
}

/// What became of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorReport {
    /// Each member, in the order in which they were given.
    pub members: Vec<MemberReport>,
    /// How many must hold what is written.
    pub min_copies: usize,
}

impl MirrorReport {
    /// Whether every member has all that was written.
    pub fn is_even(&self) -> bool {
        !self.members.iter().any(MemberReport::is_behind)
    }

    /// Whether enough members have all that was written.
    pub fn is_enough(&self) -> bool {
        self.members.iter().filter(|member| !member.is_behind()).count() >= self.min_copies
    }
}

/// Storages that hold the same.
pub struct Mirror {
    lanes: Arc<Lanes>,
    notes: ObjectName,
    clock: Arc<dyn Clock>,
    suspects: Mutex<BTreeSet<ObjectName>>,
    /// What a member did not have when another did: perhaps somebody was writing or removing it just then.
    doubts: Mutex<BTreeSet<(usize, ObjectName)>>,
    /// Objects that are read from one member.
    held: Held,
}

impl Mirror {
    /// Joins storages.
    ///
    /// # Errors
    /// `Invalid` for no storage, too many, or a number of copies that cannot be; when threads cannot be started.
    pub fn new(targets: Vec<Target>, settings: Settings) -> Result<Mirror> {
        let Settings { min_copies, notes, clock } = settings;
        let count = targets.len();
        if !(1..=MIRROR_MEMBERS).contains(&count) {
            return Err(Error::invalid("a mirror cannot be of so many storages:", count.to_string()));
        }
        if !(1..=count).contains(&min_copies) {
            let what = format!("{count} storages cannot hold so many copies:");
            return Err(Error::invalid(what, min_copies.to_string()));
        }
        let members = targets.into_iter().map(|target| Arc::new(Member::new(target.label, target.storage)));
        let lanes = Arc::new(Lanes::start(members.collect(), min_copies, notes.clone())?);
        let (suspects, doubts, held) = Default::default();
        Ok(Mirror { lanes, notes, clock, suspects, doubts, held })
    }

    /// The members, in the order in which they were given.
    pub fn members(&self) -> &[Arc<Member>] {
        self.lanes.members()
    }

    /// Whether a member has failed: what is listed may be less than there is.
    pub fn is_partial(&self) -> bool {
        self.members().iter().any(|member| !member.lives())
    }

    /// Waits until every member has done what it was told, looks once more for what was missing when it was read, and says what became
    /// of each.
    ///
    /// # Errors
    /// `Stopped` when a lane broke, which is told by its panic when the mirror is dropped.
    pub fn settle(&self) -> Result<MirrorReport> {
        self.lanes.drain()?;
        self.look_again();
        Ok(self.report())
    }

    /// Does nothing any more of what waits: the user asked to stop.
    pub fn abandon(&self) {
        self.members().iter().for_each(|member| member.fail(Error::interrupted()));
    }

    fn report(&self) -> MirrorReport {
        let report = |member: &Arc<Member>| {
            let (lacks, lacking) = member.lacks();
            let failure = member.failure().map(|error| (error.kind(), error.to_string()));
            MemberReport { label: member.label().to_owned(), failure, lacks, lacking }
        };
        let members = self.members().iter().map(report).collect();
        MirrorReport { members, min_copies: self.lanes.min_copies() }
    }

    /// Objects of which a copy is damaged, as far as another was read for it. What is taken is not told again.
    pub fn take_suspects(&self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `member` notes as removed while another could not be reached.
    ///
    /// # Errors
    /// `Limit`, and what the storage reports.
    pub fn removals(&self, storage: &dyn Storage) -> Result<Vec<ObjectName>> {
        notes::read(storage, &self.notes)
    }

    /// What the note of a removal is called.
    ///
    /// # Errors
    /// `Invalid` when the name is too long for one.
    pub fn note_of(&self, removed: &ObjectName) -> Result<ObjectName> {
        notes::name_of(&self.notes, removed)
    }

    /// Notes that a member did not have what another gave. Looked at again when all is settled; what is too much for that is believed.
    fn doubt(&self, place: usize, name: &ObjectName) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if doubts.len() < MIRROR_NAMED {
            doubts.insert((place, name.clone()));
        } else {
            self.members()[place].note_lack(name);
        }
    }

    /// A member lacks what it still does not have and another still has.
    fn look_again(&self) {
        let doubts = std::mem::take(&mut *self.doubts.lock().unwrap_or_else(PoisonError::into_inner));
        for (place, name) in doubts {
            let has = |place: usize| {
                matches!(self.members()[place].ask_about(|storage| storage.stat(&name)), Asked::Done(_))
            };
            if !has(place) && self.lanes.living().any(has) {
                self.members()[place].note_lack(&name);
            }
        }
    }

    fn suspect(&self, name: &ObjectName) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() < MIRROR_SUSPECTS {
            suspects.insert(name.clone());
        }
    }

    /// Members that live, the fastest first.
    fn by_speed(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.lanes.living().collect();
        places.sort_by_cached_key(|place| self.members()[*place].cost());
        places
    }

    fn is_near(&self, place: usize) -> bool {
        self.members()[place].storage().is_some_and(|storage| storage.is_close())
    }

    /// Members that live: those that are close by, and then the others, each the fastest first.
    fn by_distance(&self) -> Vec<usize> {
        let mut places = self.by_speed();
        places.sort_by_key(|place| !self.is_near(*place));
        places
    }

    /// Asks one after the other until one has it. `NotFound` is what all that could say so said; one that has it and cannot give it makes
    /// it `Damaged`.
    fn first_to<T>(
        &self,
        name: &ObjectName,
        mut ask: impl FnMut(&Member, &dyn Storage) -> Result<T>,
    ) -> Result<T> {
        let mut refused: Option<Error> = None;
        let mut damaged: Vec<(usize, Error)> = Vec::new();
        let mut without = Vec::new();
        for place in self.held.order(name, self.by_speed()) {
            let member = &self.members()[place];
            match member.ask_about(|storage| ask(member, storage)) {
                Asked::Done(found) => {
                    if !damaged.is_empty() {
                        self.suspect(name);
                        let places = damaged.into_iter().map(|(place, _)| place).collect();
                        self.held.pass_over(name, places, place);
                    }
                    let lagging = |place: &&usize| !self.lanes.is_idle(**place);
                    without.iter().filter(|place| !lagging(place)).for_each(|place: &usize| {
                        self.doubt(*place, name);
                    });
                    return Ok(found);
                }
                Asked::Refused(error) if error.kind() == Kind::Damaged => damaged.push((place, error)),
                Asked::Refused(error) => {
                    without.push(place);
                    refused.get_or_insert(error);
                }
                Asked::Failed => (),
            }
        }
        let first = damaged.into_iter().next().map(|(_, error)| error);
        Err(first.or(refused).unwrap_or_else(|| self.lanes.too_few(1)))
    }

    fn read_from(
        &self,
        member: &Member,
        storage: &dyn Storage,
        name: &ObjectName,
        (offset, length_bytes): (u64, usize),
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let began = self.clock.now();
        storage.read_into(name, offset, length_bytes, buffer)?;
        member.note_read(buffer.len(), self.clock.now().saturating_sub(began));
        Ok(())
    }
}

impl Storage for Mirror {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.lanes.put(name, bytes, mode, |storage, name, bytes, mode| storage.put(name, bytes, mode))
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        put::begin(&self.lanes, name, bytes, mode)
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.lanes
            .put(name, bytes, PutMode::CreateNew, |storage, name, bytes, _| storage.put_fleeting(name, bytes))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        stream::open(&self.lanes, name, mode)
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.read_into(name, offset, length_bytes, &mut buffer)?;
        Ok(buffer)
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let part = (offset, length_bytes);
        self.first_to(name, |member, storage| self.read_from(member, storage, name, part, buffer))
    }

    fn read_copy(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        copy: usize,
    ) -> Option<Result<Vec<u8>>> {
        let member = self.members().get(copy)?;
        self.suspect(name);
        Some(match member.ask_about(|storage| storage.read(name, offset, length_bytes)) {
            Asked::Done(bytes) => Ok(bytes),
            Asked::Refused(error) => Err(error),
            Asked::Failed => Err(self.lanes.too_few(self.members().len())),
        })
    }

    fn is_close(&self) -> bool {
        self.lanes.living().any(|place| self.is_near(place))
    }

    fn hold(&self, name: &ObjectName) -> bool {
        let living = self.by_distance();
        self.held.hold(name, &living);
        living.len() > 1
    }

    fn distrust(&self, name: &ObjectName) -> bool {
        let has_another = self.held.next(name, &self.by_distance());
        if has_another {
            self.suspect(name);
        } else {
            // Where all copies are damaged, none repairs another.
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        has_another
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.first_to(name, |_, storage| storage.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let mut given = HashSet::new();
        let mut stop: Option<Error> = None;
        let mut refused: Vec<(usize, Error)> = Vec::new();
        let mut is_listed = false;
        let is_one = self.lanes.living().count() == 1;
        for place in self.lanes.living() {
            let asked = self.members()[place].ask(|storage| {
                let listed = storage.list(prefix, depth, &mut |listed| {
                    let known = notes::is_one(&self.notes, named(&listed))
                        || (!is_one && !given.insert(super::retry::fingerprint(&listed)));
                    if known {
                        return Ok(());
                    }
                    row(listed).map_err(|error| {
                        stop = Some(error);
                        Error::stopped()
                    })
                });
                if stop.is_some() { Ok(()) } else { listed }
            });
            if let Some(error) = stop {
                return Err(error);
            }
            match asked {
                Asked::Done(()) => is_listed = true,
                Asked::Refused(error) => refused.push((place, error)),
                Asked::Failed => (),
            }
        }
        if is_listed {
            // A list that is not there must not pass for an empty one.
            self.lanes.fail_each(refused);
            return Ok(());
        }
        Err(refused.into_iter().next().map_or_else(|| self.lanes.too_few(1), |(_, error)| error))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.lanes.delete(name)
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        let mut cleaned: Option<u64> = None;
        for member in self.members() {
            if let Asked::Done(count) = member.ask(|storage| storage.clean_temporaries(before)) {
                cleaned = Some(cleaned.unwrap_or(0).saturating_add(count));
            }
        }
        cleaned.ok_or_else(|| self.lanes.too_few(1))
    }

    fn capabilities(&self) -> Capabilities {
        let of_all: Vec<Capabilities> =
            self.members().iter().filter_map(|member| Some(member.storage()?.capabilities())).collect();
        // Two writers that both go on have a member in common only when each reaches more than half.
        let meet = self.lanes.min_copies() * 2 > self.members().len();
        Capabilities {
            create_new_is_atomic: meet && of_all.iter().all(|one| one.create_new_is_atomic),
            parallel: of_all.iter().any(|one| one.parallel),
        }
    }

    fn label(&self) -> String {
        let labels: Vec<&str> = self.members().iter().map(|member| member.label()).collect();
        format!("mirror of {}", labels.join(", "))
    }
}

/// What a row is called.
fn named(row: &Listed) -> &str {
    match row {
        Listed::Object { name, .. } | Listed::Folder { name } => name.as_str(),
        Listed::Stray { label } => label,
    }
}
