//! One storage of a mirror: whether it still answers, what it has missed, and how fast it is.
//!
//! Invariant: a member that failed once is asked nothing more by this mirror, so that what it holds is what it was told until then, in
//! that order.

use super::super::Storage;
use crate::error::{Error, Kind, Result};
use crate::limits::{MIRROR_NAMED, MIRROR_PROBES};
use crate::name::ObjectName;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What asking costs, whatever is asked for, in bytes that could be read meanwhile.
const CALL_BYTES: u64 = 64 << 10;

/// What became of a question to a member.
pub enum Asked<T> {
    /// It was done.
    Done(T),
    /// The answer is no: there is no such object, or there is one, or its bytes are not all there. Nothing is wrong with the rest of
    /// the member.
    Refused(Error),
    /// It failed, now or before.
    Failed,
}

impl<T> Asked<T> {
    /// Whether the answer is that the object is there and damaged.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Asked::Refused(error) if error.kind() == Kind::Damaged)
    }

    /// Whether the object is there, whole or damaged.
    pub fn is_there(&self) -> bool {
        matches!(self, Asked::Done(_)) || self.is_damaged()
    }

    /// What was done, if it was.
    pub fn done(self) -> Option<T> {
        match self {
            Asked::Done(done) => Some(done),
            Asked::Refused(_) | Asked::Failed => None,
        }
    }
}

/// One storage of a mirror.
pub struct Member {
    label: String,
    storage: Option<Arc<dyn Storage>>,
    is_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failure: Option<Arc<Error>>,
    lacks: u64,
    lacking: BTreeSet<String>,
    pace: Pace,
}

/// What reads have cost so far.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    calls: u32,
    bytes: u64,
    time: Duration,
}

impl Pace {
    /// Less is faster; nothing until enough is known.
    fn cost(self) -> u128 {
        if self.calls < MIRROR_PROBES {
            return 0;
        }
        let bytes = self.bytes.saturating_add(u64::from(self.calls).saturating_mul(CALL_BYTES));
        self.time.as_nanos().saturating_mul(1 << 20) / u128::from(bytes.max(1))
    }
}

impl Member {
    /// A member; one that could not even be opened has failed from the start.
    pub(super) fn new(label: String, storage: Result<Arc<dyn Storage>>) -> Member {
        let (storage, failure) = match storage {
            Ok(storage) => (Some(storage), None),
            Err(error) => (None, Some(Arc::new(error))),
        };
        let is_failed = AtomicBool::new(failure.is_some());
        Member { label, storage, is_failed, state: Mutex::new(State { failure, ..State::default() }) }
    }

    /// How to name it to a person.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The storage, unless it failed.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.storage.as_ref().filter(|_| !self.is_failed.load(Ordering::Acquire))
    }

    /// Whether it has not failed.
    pub fn lives(&self) -> bool {
        self.storage().is_some()
    }

    /// Why it counts as failed.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.lock().failure.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it for something. When it fails it is noted, and nothing is asked of it any more.
    pub fn ask<T>(&self, something: impl FnOnce(&dyn Storage) -> Result<T>) -> Asked<T> {
        self.ask_within(&[Kind::NotFound, Kind::AlreadyExists, Kind::Invalid], something)
    }

    /// As [`Member::ask`], to look at one object or to read it: that it is damaged (a segment of it is lost, say) is an answer, too. Never
    /// one that says that the object is not there: whoever asks has to tell these two apart.
    pub fn ask_about<T>(&self, something: impl FnOnce(&dyn Storage) -> Result<T>) -> Asked<T> {
        self.ask_within(&[Kind::NotFound, Kind::AlreadyExists, Kind::Invalid, Kind::Damaged], something)
    }

    /// As [`Member::ask`], to write what another member holds: only a name that is taken is an answer.
    pub fn ask_to_put<T>(&self, something: impl FnOnce(&dyn Storage) -> Result<T>) -> Asked<T> {
        self.ask_within(&[Kind::AlreadyExists], something)
    }

    /// As [`Member::ask`], to remove something: only that it is not there is an answer.
    pub fn ask_to_delete<T>(&self, something: impl FnOnce(&dyn Storage) -> Result<T>) -> Asked<T> {
        self.ask_within(&[Kind::NotFound], something)
    }

    /// As [`Member::ask`], to list: no error is an answer, since a list that is not there would pass for an empty one.
    pub fn ask_to_list<T>(&self, something: impl FnOnce(&dyn Storage) -> Result<T>) -> Option<T> {
        self.ask_within(&[], something).done()
    }

    fn ask_within<T>(&self, answers: &[Kind], something: impl FnOnce(&dyn Storage) -> Result<T>) -> Asked<T> {
        let Some(storage) = self.storage() else { return Asked::Failed };
        match something(storage.as_ref()) {
            Ok(done) => Asked::Done(done),
            Err(error) if answers.contains(&error.kind()) => Asked::Refused(error),
            Err(error) => {
                self.fail(error);
                Asked::Failed
            }
        }
    }

    /// Counts it as failed from now on.
    pub fn fail(&self, error: Error) {
        self.lock().failure.get_or_insert_with(|| Arc::new(error));
        self.is_failed.store(true, Ordering::Release);
    }

    /// Notes that something which others hold, or do not hold any more, was not done here.
    pub(crate) fn note_lack(&self, name: &ObjectName) {
        let mut state = self.lock();
        if state.lacking.contains(name.as_str()) {
            return;
        }
        state.lacks = state.lacks.saturating_add(1);
        if state.lacking.len() < MIRROR_NAMED {
            state.lacking.insert(name.as_str().to_owned());
        }
    }

    /// Forgets what was noted as missing: it was compared with the others.
    pub fn is_even(&self) {
        let mut state = self.lock();
        state.lacks = 0;
        state.lacking.clear();
    }

    /// How many changes it has missed, and the names of the first ones.
    pub(super) fn lacks(&self) -> (u64, Vec<String>) {
        let state = self.lock();
        (state.lacks, state.lacking.iter().cloned().collect())
    }

    /// Notes what a read has cost.
    pub(super) fn note_read(&self, bytes: usize, time: Duration) {
        let pace = &mut self.lock().pace;
        pace.calls = pace.calls.saturating_add(1);
        pace.bytes = pace.bytes.saturating_add(bytes as u64);
        pace.time = pace.time.saturating_add(time);
    }

    /// Less is faster.
    pub(super) fn cost(&self) -> u128 {
        self.lock().pace.cost()
    }
}

/// Too few members are left. Names each that failed, and why.
pub(super) fn too_few(members: &[Arc<Member>], wanted: usize) -> Error {
    let failures: Vec<(&str, Arc<Error>)> =
        members.iter().filter_map(|member| Some((member.label(), member.failure()?))).collect();
    let is_stop = |(_, error): &&(&str, Arc<Error>)| error.kind() == Kind::Interrupted;
    let cause = failures.iter().find(is_stop).or_else(|| failures.first());
    let kind = cause.map_or(Kind::Io, |(_, error)| error.kind());
    let told: Vec<String> = failures.iter().map(|(label, error)| format!("{label}: {error}")).collect();
    let left = members.iter().filter(|member| member.lives()).count();
    let what = format!("{left} of {} storages are left where {wanted} are wanted;", members.len());
    Error::new(kind, what).on(told.join("; "))
}
