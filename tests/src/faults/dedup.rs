//! The same of deduplicated backups: whatever call fails, snapshots that were there come back, a new one is whole or is not there,
//! and the next run needs nobody.

use super::{
    Ended, a_rehearsal_writes_nothing, backed_up_at_another_try, in_every_way, is_whole_or_not_there,
    no_restore_believes_a_lie, no_restore_ends_well, told_every_lie,
};
use crate::in_memory::{
    Found, World, check, check_is_clean, compared, copy_of, forget_all_but_the_newest, ids, listing,
    looked_into, objects,
};
use icecore::check::FindingKind;
use icecore::name::ObjectName;
use icecore::storage::memory::Memory;
use icecore::storage::{PutMode, Storage};
use icecore::{Error, Kind, Result};
use icecore_testkit::far::Far;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use std::sync::Arc;

/// What a failed run leaves is told, and is no problem: packs, and the key of a vault that was not made.
#[track_caller]
fn nothing_is_the_worse(storage: &Memory, what: &str) -> Found {
    let (report, found) = check(Arc::new(storage.clone()), true, false).unwrap();
    assert_eq!(report.problems, 0, "{what}: {found:#?}");
    for finding in &found {
        let is_pack = finding.kind == FindingKind::Orphan && finding.object.starts_with("dedup/packs/");
        let is_slot = finding.kind == FindingKind::Stray && finding.object.starts_with("dedup/keys/");
        // What a removal names is removed, though the object may still be there.
        let is_removed =
            finding.kind == FindingKind::Stray && finding.object.ends_with("there all the same)");
        assert!(is_pack || is_slot || is_removed, "{what}: {finding:#?}");
    }
    found
}

fn count(storage: &Memory, folder: &str) -> usize {
    objects(storage).iter().filter(|(name, _)| name.as_str().starts_with(folder)).count()
}

#[track_caller]
fn says_what_failed_of(error: &icecore::Error, what: &str) {
    let mut chain = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    assert!(chain.iter().any(|text| text.contains("planned failure")), "{what}: {chain:?}");
}

/// A backup on top of others, in every way to fail; to a storage close by or far away.
fn back_up_with_faults(backups: u32, is_far: bool) {
    let world = World::dedup().after(backups);
    let expected = Manifest::of(&world.source()).unwrap();
    let run = |storage: Arc<dyn Storage>| match is_far {
        true => world.backup(Arc::new(Far(storage))),
        false => world.backup(storage),
    };
    for ended in in_every_way(&world, run) {
        let listed = is_whole_or_not_there(&world, &expected, &ended);
        let Ended { what, memory, outcome, .. } = ended;
        if let Err(error) = &outcome {
            says_what_failed_of(error, &what);
        }
        if !listed.is_empty() {
            nothing_is_the_worse(&memory, &what);
        }
        world.settle();
        let next = world.backup(Arc::new(memory.clone())).unwrap();
        let now = ids(&memory);
        assert_eq!(now.last().cloned(), next.id.map(|id| id.to_string()), "{what}");
        assert_eq!(now[..now.len() - 1], listed, "{what}: a backup is gone");
        world.restore(Arc::new(memory.clone()), "latest").equals(&expected, &what);
        let found = nothing_is_the_worse(&memory, &what);
        if count(&memory, "dedup/sessions/") > 0 {
            let packs = found.iter().filter(|finding| finding.kind == FindingKind::Orphan).count();
            assert_eq!(packs, 0, "{what}: what a killed run has stored is taken in: {found:#?}");
        }
    }
}

#[test]
fn a_first_backup_fails_at_any_call() {
    back_up_with_faults(0, false);
}

#[test]
fn a_further_backup_fails_at_any_call() {
    back_up_with_faults(2, false);
}

#[test]
fn a_backup_to_a_storage_far_away_fails_at_any_call() {
    back_up_with_faults(0, true);
    back_up_with_faults(2, true);
}

#[test]
fn failures_that_pass_are_tried_again_and_the_backup_is_right() {
    let world = World::dedup().after(1);
    let expected = Manifest::of(&world.source()).unwrap();
    for Ended { what, memory, outcome, .. } in backed_up_at_another_try(&world) {
        let report = outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let listed = world.all_restore(&memory, &expected, &what);
        assert_eq!(listed.len(), 2, "{what}");
        assert_eq!(listed.last().cloned(), report.id.map(|id| id.to_string()), "{what}");
        check_is_clean(&memory, &what);
        assert_eq!(count(&memory, "dedup/sessions/"), 0, "{what}");
    }
}

#[test]
fn a_rehearsal_writes_nothing_whatever_fails() {
    a_rehearsal_writes_nothing(&World::dedup().after(1));
}

#[test]
fn forget_fails_at_any_call() {
    let world = World::dedup().after(4);
    let unused = Manifest::default();
    assert_eq!(forget_all_but_the_newest(Arc::new(copy_of(&world.memory))).unwrap().removed, 3);
    for Ended { what, memory, outcome, .. } in in_every_way(&world, forget_all_but_the_newest) {
        says_what_failed_of(&outcome.unwrap_err(), &what);
        let listed = world.all_restore(&memory, &unused, &what);
        assert_eq!(listed.last(), world.made.last().map(|(id, _)| id), "{what}: the newest is gone");
        if listed.len() < world.made.len() {
            assert_eq!(count(&memory, "dedup/removals/"), 1, "{what}: removed, and nobody says so");
        }
        nothing_is_the_worse(&memory, &what);
        forget_all_but_the_newest(Arc::new(memory.clone())).unwrap();
        assert_eq!(world.all_restore(&memory, &unused, &what).len(), 1, "{what}");
        check_is_clean(&memory, &what);
        world.backup(Arc::new(memory.clone())).unwrap();
        assert_eq!(ids(&memory).len(), 2, "{what}");
    }
}

#[test]
fn a_restore_never_ends_well_after_a_failure() {
    no_restore_ends_well(&World::dedup().after(3));
}

#[test]
fn a_restore_never_believes_a_read_that_lies() {
    for workers in [1, 3] {
        let mut world = World::dedup().after(3);
        world.workers = workers;
        no_restore_believes_a_lie(&world, &format!("{workers} workers"));
    }
}

/// A backup that is told lies about what is stored may store too much; what it makes comes back all the same, or it is refused.
#[test]
fn a_backup_never_builds_on_a_read_that_lies() {
    let world = World::dedup().after(3);
    let expected = Manifest::of(&world.source()).unwrap();
    told_every_lie(
        &world,
        |storage| world.backup(storage),
        |what, memory, outcome| {
            let listed = world.all_restore(memory, &expected, what);
            assert_eq!(listed.len(), world.made.len() + usize::from(outcome.is_ok()), "{what}: {outcome:?}");
            nothing_is_the_worse(memory, what);
        },
    );
}

/// A storage that has no room for packs.
struct NoPacks(Memory);

impl Storage for NoPacks {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        match name.as_str().starts_with("dedup/packs/") {
            true => Err(Error::new(Kind::NoSpace, "planned failure: no room for").on(name.to_string())),
            false => self.0.put(name, bytes, mode),
        }
    }

    icecore::storage::forward!([0] writer read stat list delete capabilities label);
}

/// The first pack fails when the source has not been read to its end, and nothing more is sent until it has.
#[test]
fn what_is_told_is_why_a_pack_was_not_stored() {
    let world = World::dedup().after(1);
    std::fs::write(world.source().join("large"), Random::new(8).bytes(26 << 20)).unwrap();
    for _ in 0..3 {
        let error = world.backup(Arc::new(NoPacks(copy_of(&world.memory)))).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace, "{error:?}");
        says_what_failed_of(&error, "no room");
    }
}

/// Nothing is told that is not so, whatever fails and whatever lies.
fn fails_or_tells_the_whole<A: PartialEq>(world: &World, look: impl Fn(Arc<dyn Storage>) -> Result<A>) {
    let whole = look(Arc::new(world.memory.clone())).unwrap();
    let is_right = |outcome: Result<A>| outcome.is_err() || outcome.is_ok_and(|told| told == whole);
    let mut failed = 0;
    for Ended { what, outcome, .. } in in_every_way(world, &look) {
        failed += usize::from(outcome.is_err());
        assert!(is_right(outcome), "{what}");
    }
    assert!(failed > 10, "{failed} failed");
    told_every_lie(world, &look, |what, _, outcome| assert!(is_right(outcome), "{what}"));
}

#[test]
fn a_look_into_a_backup_fails_or_sees_the_whole() {
    fails_or_tells_the_whole(&World::dedup().after(2), |storage| looked_into(storage, "linked"));
}

#[test]
fn a_comparison_and_a_search_fail_or_see_the_whole() {
    fails_or_tells_the_whole(&World::dedup().after(2), compared);
}

#[test]
fn a_list_fails_or_is_whole() {
    let world = World::dedup().after(3);
    let whole = listing(Arc::new(world.memory.clone())).unwrap();
    assert_eq!(whole.rows.len(), 3);
    for Ended { what, outcome, .. } in in_every_way(&world, listing) {
        says_what_failed_of(&outcome.unwrap_err(), &what);
    }
}

#[test]
fn a_check_fails_or_names_what_it_could_not_read() {
    let world = World::dedup().after(2);
    for read_data in [false, true] {
        let mut told = 0;
        for Ended { what, memory, outcome, .. } in
            in_every_way(&world, |storage| check(storage, read_data, false))
        {
            assert!(objects(&memory) == objects(&world.memory), "{what}: a check changes nothing");
            match outcome {
                Err(error) => says_what_failed_of(&error, &what),
                // Without the index nothing more can be known: that it cannot be listed is a finding as well.
                Ok((report, found)) => {
                    told += 1;
                    assert!(report.problems > 0, "{what}: a failure was passed over");
                    for one in &found {
                        assert_eq!(one.kind, FindingKind::Unreadable, "{what}: {found:#?}");
                        assert!(one.error.contains("planned failure of"), "{what}: {found:#?}");
                    }
                }
            }
        }
        assert!(told > 0, "read {read_data}");
    }
}
