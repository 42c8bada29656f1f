//! The same of deduplicated backups: every change for the worse × every object below `dedup/`.
//!
//! A restore gives what was backed up or fails, and so does the backup after; a check that reads everything names the object.
//! Two things nobody can see who has only the storage: that a snapshot, session or removal is gone (clients remember them, see
//! [`crate::dedup`]), and that one which was removed is back.

use crate::in_memory::{World, check, copy_of, forget_all_but_the_newest, listing, objects, open};
use icecore::Result;
use icecore::check::Report;
use icecore::name::ObjectName;
use icecore::repository::vault::Process;
use icecore::storage::memory::Memory;
use icecore::storage::{PutMode, Storage};
use icecore::time::Timestamp;
use icecore_testkit::fault::{Damage, swap};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use std::fs;
use std::sync::Arc;

/// Three snapshots, one that was removed, and what a killed run left.
struct Rot {
    world: World,
    objects: Vec<(ObjectName, Vec<u8>)>,
    /// What is in the source now.
    latest: Manifest,
}

/// `packs`, `index` and so on; `config`.
fn folder(name: &ObjectName) -> &str {
    name.as_str().split('/').nth(1).unwrap()
}

impl Rot {
    fn new() -> Rot {
        let mut world = World::dedup().after(2);
        fs::write(world.source().join("large"), Random::new(4).bytes(700_000)).unwrap();
        world.back_up();
        world.settle();
        world.change(4);
        // The first goes; a session stays of a run that was killed.
        let oldest = world.made.remove(0);
        remove(&world.memory, &oldest.0);
        let with_session = copy_of(&world.memory);
        let vault = open(Arc::new(with_session.clone())).unwrap();
        drop(vault.the_vault().unwrap().begin_session("host", Process::of_number(1), Timestamp(1)).unwrap());
        world.memory = with_session;
        let below = |(name, _): &(ObjectName, Vec<u8>)| name.as_str().starts_with("dedup/");
        let objects: Vec<_> = objects(&world.memory).into_iter().filter(below).collect();
        let latest = Manifest::of(&world.source()).unwrap();
        for wanted in ["config", "keys", "packs", "index", "snapshots", "removals", "sessions"] {
            assert!(objects.iter().any(|(name, _)| folder(name) == wanted), "no {wanted}");
        }
        Rot { world, objects, latest }
    }

    fn of(&self, wanted: &str) -> Vec<&(ObjectName, Vec<u8>)> {
        self.objects.iter().filter(|(name, _)| folder(name) == wanted).collect()
    }

    /// Whatever is restored or backed up is right, or it fails; gives what a check that reads everything says.
    fn is_right_or_refused(&self, memory: &Memory, what: &str) -> Result<(Report, String)> {
        let checked = check(Arc::new(memory.clone()), true, false);
        let mut all_restored = true;
        for (id, expected) in &self.world.made {
            let restored = self.world.restore(Arc::new(memory.clone()), id);
            restored.is_right_or_refused(expected, what);
            all_restored &= restored.outcome.is_ok();
        }
        let latest = self.world.restore(Arc::new(memory.clone()), "latest");
        if latest.outcome.is_ok() {
            let right = &self
                .world
                .made
                .iter()
                .find(|(id, _)| latest.outcome.as_ref().is_ok_and(|report| report.id.as_str() == id));
            latest.equals(&right.unwrap_or_else(|| panic!("{what}: latest is none that was made")).1, what);
        }
        match &checked {
            Ok((report, found)) => assert!(
                all_restored || report.problems > 0 || self.lacks_a_snapshot(memory),
                "{what}: check does not see why a restore is refused: {found:#?}"
            ),
            Err(_) => assert!(!all_restored, "{what}: everything restores, and check fails"),
        }
        if self.world.backup(Arc::new(memory.clone())).is_ok() {
            let restored = self.world.restore(Arc::new(memory.clone()), "latest");
            // It may stand on chunks that only reading everything shows to be damaged.
            restored.is_right_or_refused(&self.latest, &format!("{what}: the backup after"));
        }
        checked.map(|(report, found)| (report, format!("{found:#?}")))
    }

    fn lacks_a_snapshot(&self, memory: &Memory) -> bool {
        let Ok(listing) = listing(Arc::new(memory.clone())) else { return false };
        let is_listed = |id: &String| listing.rows.iter().any(|row| row.id.as_str() == id);
        self.world.made.iter().any(|(id, _)| !is_listed(id))
    }

    /// Does `damage` to an object and says whether a check must be able to name it.
    fn damaged(&self, victim: &ObjectName, damage: &Damage) {
        let what = format!("{damage:?} of {victim}");
        let memory = copy_of(&self.world.memory);
        damage.apply(&memory, victim).unwrap();
        let checked = self.is_right_or_refused(&memory, &what);
        let documents = ["snapshots", "sessions", "removals"];
        if *damage == Damage::Delete && documents.contains(&folder(victim)) {
            assert_eq!(checked.unwrap().0.problems, 0, "{what}");
            return;
        }
        match checked {
            Ok((report, found)) => {
                assert!(report.problems > 0, "{what}: nobody sees it: {found}");
                let id = victim.as_str().rsplit('/').next().unwrap();
                // What an index that is gone said is missed chunk by chunk.
                let is_named = found.contains(id) || (*damage == Damage::Delete && folder(victim) == "index");
                assert!(is_named, "{what}: it is not named: {found}");
            }
            // What nothing opens without.
            Err(error) => assert!(["config", "keys"].contains(&folder(victim)), "{what}: {error:?}"),
        }
    }
}

fn remove(memory: &Memory, id: &str) {
    let repository = open(Arc::new(memory.clone())).unwrap();
    let vault = repository.the_vault().unwrap();
    let snapshots = vault.snapshots().unwrap().found;
    let (id, _) = snapshots.iter().find(|(found, _)| found.to_string() == id).unwrap();
    vault.remove_snapshots(&[*id], "host", Timestamp(2)).unwrap();
}

#[test]
fn whatever_happens_to_an_object_is_noticed() {
    let rot = Rot::new();
    for (victim, bytes) in &rot.objects {
        let length = bytes.len() as u64;
        let mut damages = vec![Damage::Delete, Damage::Grow(1), Damage::Grow(4096)];
        // The parts of a header, the start and middle of what it seals, the end.
        let places =
            [0, 8, 9, 10, 11, 13, 20, 50, 100, 127, 130, 160, 170, 180, length / 2, length - 9, length - 1];
        damages.extend(places.iter().filter(|place| **place < length).map(|place| Damage::Flip(*place)));
        damages.extend(
            [0, 1, 63, 128, length / 2, length - 1]
                .iter()
                .filter(|end| **end < length)
                .map(|end| Damage::Truncate(*end)),
        );
        damages.push(Damage::Replace(Random::new(length).bytes(bytes.len())));
        damages.push(Damage::Replace(vec![0; bytes.len()]));
        for (_, other) in rot.of(folder(victim)).into_iter().filter(|(other, _)| other != victim).take(2) {
            damages.push(Damage::Replace(other.clone()));
        }
        for damage in &damages {
            rot.damaged(victim, damage);
        }
    }
}

#[test]
fn objects_that_changed_places_are_noticed() {
    let rot = Rot::new();
    for (position, (one, first)) in rot.objects.iter().enumerate() {
        for (other, second) in &rot.objects[position + 1..] {
            if first == second {
                continue;
            }
            let what = format!("{one} and {other}");
            let memory = copy_of(&rot.world.memory);
            swap(&memory, one, other).unwrap();
            if let Ok((report, found)) = rot.is_right_or_refused(&memory, &what) {
                assert!(report.problems >= 1, "{what}: nobody sees it: {found}");
            }
        }
    }
}

/// Under another name of the same folder an object is another's; anywhere else it is a stray.
#[test]
fn a_renamed_object_is_never_taken_for_another() {
    let rot = Rot::new();
    for (victim, bytes) in &rot.objects {
        let (place, id) = victim.as_str().rsplit_once('/').unwrap();
        let turned = |digit: char| if digit == 'a' { 'b' } else { 'a' };
        let last = id.chars().last().unwrap();
        let other_id = format!("{}{}", &id[..id.len() - 1], turned(last));
        let elsewhere = if folder(victim) == "snapshots" { "index" } else { "snapshots" };
        for to in [
            format!("{place}/{other_id}"),
            format!("{place}/{id}.old"),
            format!("{place}/{}", id.to_uppercase()),
            format!("dedup/{elsewhere}/{id}"),
            format!("dedup/{id}"),
        ] {
            let Ok(to) = ObjectName::new(to) else { continue };
            if to == *victim {
                continue;
            }
            for keeps_the_old in [false, true] {
                let what = format!("{victim} as {to}, the old one there: {keeps_the_old}");
                let memory = copy_of(&rot.world.memory);
                memory.put(&to, bytes, PutMode::CreateNew).unwrap();
                if !keeps_the_old {
                    memory.delete(victim).unwrap();
                }
                if let Ok((_, found)) = rot.is_right_or_refused(&memory, &what) {
                    assert!(found.contains(to.as_str()), "{what}: nobody names the new one: {found}");
                }
            }
        }
    }
}

/// Objects of the same names are never written twice, so an earlier state is one in which some of them are missing, or in
/// which those that were removed are back.
#[test]
fn a_repository_that_was_set_back_in_part_is_right_or_refused() {
    let mut world = World::dedup();
    let mut states = vec![];
    for step in 0..4 {
        world.change(step);
        world.back_up();
        world.settle();
        states.push(objects(&world.memory));
    }
    forget_all_but_the_newest(Arc::new(world.memory.clone())).unwrap();
    let forgotten = objects(&world.memory);
    world.change(5);
    let latest = Manifest::of(&world.source()).unwrap();
    for (number, state) in states.iter().enumerate() {
        for set_back in ["keys", "packs", "index", "snapshots", "removals"] {
            let what = format!("{set_back} of state {number}");
            let memory = Memory::new();
            let kept = forgotten.iter().filter(|(name, _)| folder_or_none(name) != Some(set_back));
            let old = state.iter().filter(|(name, _)| folder_or_none(name) == Some(set_back));
            for (name, bytes) in kept.chain(old) {
                memory.put(name, bytes, PutMode::CreateNew).unwrap();
            }
            let (report, found) = check(Arc::new(memory.clone()), true, false).unwrap();
            let mut all = true;
            for (id, expected) in &world.made {
                let is_listed =
                    listing(Arc::new(memory.clone())).unwrap().rows.iter().any(|row| row.id.as_str() == id);
                let restored = world.restore(Arc::new(memory.clone()), id);
                restored.is_right_or_refused(expected, &what);
                all &= restored.outcome.is_ok() || !is_listed;
            }
            // What a lost index said is read back from the packs by a restore; check tells of it nevertheless.
            let index_is_told = set_back == "index" && report.problems > 0;
            assert!(all == (report.problems == 0) || index_is_told, "{what}: {found:#?}");
            if world.backup(Arc::new(memory.clone())).is_ok() {
                world.restore(Arc::new(memory.clone()), "latest").is_right_or_refused(&latest, &what);
            }
        }
    }
}

fn folder_or_none(name: &ObjectName) -> Option<&str> {
    name.as_str().strip_prefix("dedup/").and_then(|rest| rest.split('/').next())
}

/// Whoever swaps the objects of two repositories that have one password opens neither's with the other's.
#[test]
fn objects_of_another_repository_are_never_taken() {
    let rot = Rot::new();
    let mut foreign = World::dedup();
    foreign.change(0);
    foreign.back_up();
    remove(&foreign.memory, &foreign.made[0].0);
    foreign.back_up();
    for (victim, _) in &rot.objects {
        for (theirs, bytes) in objects(&foreign.memory) {
            if folder_or_none(&theirs) != Some(folder(victim)) {
                continue;
            }
            rot.damaged(victim, &Damage::Replace(bytes.clone()));
            // Beside the old ones it is none of ours, and all the rest is as it was.
            let memory = copy_of(&rot.world.memory);
            if memory.put(&theirs, &bytes, PutMode::CreateNew).is_ok() {
                let what = format!("a foreign {theirs}");
                if let Ok((_, found)) = rot.is_right_or_refused(&memory, &what) {
                    assert!(found.contains(theirs.as_str().rsplit('/').next().unwrap()), "{what}: {found}");
                }
            }
        }
    }
}
