//! Objects that are read from one member, whichever is the fastest meanwhile: what vouches for them is a hash of the whole, and bytes of
//! several copies would not tell whose are damaged.
//!
//! A copy that its member calls damaged is given up, too, since a member may have tried for long before it says so.
//!
//! Invariant: a copy that was given up is read only where no other is left that gives the object.

use crate::limits::MIRROR_HELD;
use crate::name::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From which member which object is read.
#[derive(Default)]
pub(super) struct Held(Mutex<BTreeMap<ObjectName, Source>>);

struct Source {
    place: usize,
    /// Members whose copy was given up.
    given_up: BTreeSet<usize>,
}

impl Source {
    fn of(place: usize) -> Source {
        Source { place, given_up: BTreeSet::new() }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an object read from the first of `living`, unless it is read from one member already.
    pub fn hold(&self, name: &ObjectName, living: &[usize]) {
        let mut held = self.lock();
        if let Some(first) = living.first()
            && held.len() < MIRROR_HELD
        {
            held.entry(name.clone()).or_insert_with(|| Source::of(*first));
        }
    }

    /// Gives up the copy that an object is read from, and has it read from another of `living`; `false` when there is none. Where the
    /// object was read from whichever was the fastest, nobody knows whose bytes they were: all copies are still to be tried.
    pub fn next(&self, name: &ObjectName, living: &[usize]) -> bool {
        let mut held = self.lock();
        let Some(source) = held.get_mut(name) else {
            let may_help = living.len() > 1 && held.len() < MIRROR_HELD;
            if may_help {
                held.insert(name.clone(), Source::of(living[0]));
            }
            return may_help;
        };
        source.given_up.insert(source.place);
        let next = living.iter().find(|place| !source.given_up.contains(place)).copied();
        match next {
            Some(next) => source.place = next,
            None => drop(held.remove(name)),
        }
        next.is_some()
    }

    /// Gives up the copies of these members, when another member has just given the object.
    pub fn pass_over(&self, name: &ObjectName, damaged: Vec<usize>, place: usize) {
        let mut held = self.lock();
        if held.len() < MIRROR_HELD || held.contains_key(name) {
            let source = held.entry(name.clone()).or_insert_with(|| Source::of(place));
            source.place = place;
            source.given_up.extend(damaged);
        }
    }

    /// Of which members an object is read, one after the other, when these are the ones that live, the fastest first.
    pub fn order(&self, name: &ObjectName, living: Vec<usize>) -> Vec<usize> {
        let held = self.lock();
        let Some(source) = held.get(name) else { return living };
        let mut order = living;
        // Behind it, others in an order that does not change.
        order.sort_by_key(|place| (source.given_up.contains(place), *place != source.place, *place));
        order
    }
}
