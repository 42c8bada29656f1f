//! Backups that are named by their ids to be forgotten: the last good chain stays, and nothing goes that nobody has named.

use crate::in_memory::{INCREMENTS, World, copy_of, ids, objects, open};
use crate::meanwhile::Meanwhile;
use crate::place::HOST;
use icecore::codec::Compression;
use icecore::forget::named::{self, Named};
use icecore::level::Policy;
use icecore::select::Filter;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::time::Timestamp;
use icecore::{Kind, Result};
use std::sync::Arc;

fn forget(storage: Arc<dyn Storage>, ids: &[String], allow_last: bool) -> Result<()> {
    let ids = ids.to_vec();
    let (filter, host, now) = (Filter::default(), HOST.to_owned(), Timestamp(0));
    let named = Named { filter, ids, allow_last, host, now, dry_run: false };
    named::run(&open(storage)?, &named, &mut |_| ()).map(drop)
}

/// A chain of two levels and one of two more, the second without the first object that it has in the folder `without`.
fn with_a_broken_chain(without: &str) -> (Memory, Vec<String>) {
    let mut world = World::with_backups(2, INCREMENTS, Compression::Zstd);
    let good = ids(&world.memory);
    let before = objects(&world.memory);
    world.policy = Policy::default();
    world.back_up();
    let broken = objects(&world.memory)
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| name.as_str().starts_with(without) && before.iter().all(|(known, _)| known != name));
    world.policy = INCREMENTS;
    world.settle();
    world.change(7);
    world.back_up();
    world.memory.delete(&broken.unwrap()).unwrap();
    (world.memory, good)
}

#[test]
fn the_last_good_chain_stays_when_all_others_are_broken() {
    for without in ["data/", "metadata/"] {
        let (memory, good) = with_a_broken_chain(without);
        let before = objects(&memory);
        let error = forget(Arc::new(memory.clone()), &good, false).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{without}: {error}");
        assert!(objects(&memory) == before, "{without}");
        forget(Arc::new(memory.clone()), &good, true).unwrap();
        assert!(ids(&memory).iter().all(|id| !good.contains(id)), "{without}");
    }
}

#[test]
fn a_broken_chain_goes_beside_a_good_one() {
    let (memory, good) = with_a_broken_chain("data/");
    let broken: Vec<String> = ids(&memory).into_iter().filter(|id| !good.contains(id)).collect();
    assert_eq!(broken.len(), 2);
    forget(Arc::new(memory.clone()), &broken, false).unwrap();
    assert_eq!(ids(&memory), good);
}

#[test]
fn a_level_that_ends_between_two_looks_is_not_removed_unnamed() {
    let mut world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    let before = copy_of(&world.memory);
    let named = ids(&before);
    world.settle();
    world.back_up();
    let whole = objects(&world.memory);
    let mut noticed = 0;
    for lists in 1..16 {
        let after = copy_of(&world.memory);
        let storage = Meanwhile::after_lists(&before, &after, lists);
        if let Err(error) = forget(Arc::new(storage), &named, true) {
            assert!(objects(&after) == whole, "after {lists} lists: {error}");
            noticed += usize::from(error.kind() == Kind::Changed);
        }
    }
    assert!(noticed > 0, "no look was between");
}
