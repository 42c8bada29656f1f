//! Mirrors: the contract of a storage over them, whatever fails on one of the storages, and how those that were away are healed.

mod damaged;
mod program;
mod short_lists;

use crate::in_memory::{INCREMENTS, World, check_is_clean, forget_all_but_the_newest, ids, objects, open};
use icecore::error::{Error, Result};
use icecore::heal::{self, Done, Options, Row};
use icecore::level::Policy;
use icecore::monitor::Quiet;
use icecore::name::ObjectName;
use icecore::repository::copies;
use icecore::storage::memory::Memory;
use icecore::storage::mirror::{Mirror, MirrorReport, Settings, Target};
use icecore::storage::throttle::Clock;
use icecore::storage::{PutMode, Storage};
use icecore::{Kind, codec::Compression};
use icecore_testkit::conformance;
use icecore_testkit::far::Far;
use icecore_testkit::fault::{Damage, Fault, Moment, Plan};
use icecore_testkit::manifest::Manifest;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Nobody is faster than anybody.
struct Standing;

impl Clock for Standing {
    fn time_of_day(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _wait: Duration) {}
}

fn settings(min_copies: usize) -> Settings {
    Settings { min_copies, notes: copies::notes().unwrap(), clock: Arc::new(Standing) }
}

/// A mirror of storages, called A, B …
fn mirror(storages: Vec<Arc<dyn Storage>>, min_copies: usize) -> Arc<Mirror> {
    let label = |place: usize| char::from(b'A' + place as u8).to_string();
    let target = |(place, storage)| Target { label: label(place), storage: Ok(storage) };
    Arc::new(
        Mirror::new(storages.into_iter().enumerate().map(target).collect(), settings(min_copies)).unwrap(),
    )
}

fn of(memories: &[&Memory], min_copies: usize) -> Arc<Mirror> {
    mirror(memories.iter().map(|memory| Arc::new((*memory).clone()) as _).collect(), min_copies)
}

/// A mirror whose second storage cannot be reached.
fn without_b(a: &Memory) -> Arc<Mirror> {
    let targets = vec![
        Target { label: "A".to_owned(), storage: Ok(Arc::new(a.clone())) },
        Target { label: "B".to_owned(), storage: Err(Error::new(Kind::Io, "unplugged")) },
    ];
    Arc::new(Mirror::new(targets, settings(1)).unwrap())
}

/// Heals, and gives what was done.
#[track_caller]
fn healed(memories: &[&Memory], options: Options) -> (heal::Report, Vec<Row>) {
    let mirror = of(memories, memories.len());
    let repository = open(Arc::clone(&mirror) as _).unwrap();
    let mut rows = Vec::new();
    let report = heal::run(&mirror, &repository, options, &Quiet, &mut |row| rows.push(row.clone())).unwrap();
    drop(repository);
    assert!(mirror.settle().unwrap().is_even());
    (report, rows)
}

/// Both hold the same, to the last byte.
#[track_caller]
fn are_equal(a: &Memory, b: &Memory, what: &str) {
    let names =
        |memory: &Memory| objects(memory).into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "{what}");
    assert!(objects(a) == objects(b), "{what}: other bytes");
}

#[test]
fn mirrors_of_two_and_three_conform() {
    conformance::run(&|| of(&[&Memory::new(), &Memory::new()], 2));
    conformance::run(&|| of(&[&Memory::new(), &Memory::new(), &Memory::new()], 2));
}

#[test]
fn a_mirror_of_storages_far_away_conforms() {
    conformance::run(&|| {
        let far = || Arc::new(Far(Arc::new(Memory::new()))) as Arc<dyn Storage>;
        mirror(vec![far(), far()], 2)
    });
}

#[test]
fn a_mirror_conforms_while_one_of_it_is_dead_or_dies() {
    conformance::run(&|| without_b(&Memory::new()));
    for nth in [1, 2, 3, 5, 9] {
        conformance::run(&|| {
            let dying = Fault::new(Arc::new(Memory::new()), Plan::death(nth, Moment::Before));
            mirror(vec![Arc::new(Memory::new()), Arc::new(dying)], 1)
        });
    }
}

/// The worlds that everything here holds for.
fn worlds() -> Vec<World> {
    let tar = World::with_backups(1, INCREMENTS, Compression::Zstd);
    vec![tar, World::dedup().after(1)]
}

/// A copy of what a world has stored.
fn copy(world: &World) -> Memory {
    crate::in_memory::copy_of(&world.memory)
}

#[track_caller]
fn second_is_behind(report: &MirrorReport, what: &str) {
    assert!(report.is_enough() && !report.is_even(), "{what}: {report:?}");
    assert!(!report.members[0].is_behind(), "{what}: {report:?}");
    let (_, why) = report.members[1].failure.as_ref().expect(what);
    assert!(why.contains("planned failure"), "{what}: {why}");
}

/// Whatever call of the second storage fails, a backup stands on the first one, and healing makes both equal.
fn the_second_fails_at_any_call(world: &World, plan: fn(u64, Moment) -> Plan) {
    let expected = Manifest::of(&world.source()).unwrap();
    let calls = {
        let counting = Arc::new(Fault::none(Arc::new(copy(world))));
        let both = mirror(vec![Arc::new(copy(world)), Arc::clone(&counting) as _], 1);
        world.backup(Arc::clone(&both) as _).unwrap();
        both.settle().unwrap();
        counting.calls()
    };
    assert!((3..200).contains(&calls), "{calls} calls");
    for nth in 1..=calls {
        for moment in Moment::ALL {
            let what = format!("{}, call {nth} of {calls}, {moment:?}", world.engine);
            let (a, b) = (copy(world), copy(world));
            let fault = Arc::new(Fault::new(Arc::new(b.clone()), plan(nth, moment)));
            let both = mirror(vec![Arc::new(a.clone()), Arc::clone(&fault) as _], 1);
            let made =
                world.backup(Arc::clone(&both) as _).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let report = both.settle().unwrap();
            // Which of two reads what differs from run to run: the last calls may not come.
            if fault.struck() {
                second_is_behind(&report, &what);
            } else {
                assert!(report.is_even() && nth + 3 > calls, "{what}: {report:?}");
            }
            drop(both);
            check_is_clean(&a, &what);
            world.restore(Arc::new(a.clone()), &made.id.unwrap().to_string()).equals(&expected, &what);
            healed(&[&a, &b], Options::default());
            are_equal(&a, &b, &what);
            check_is_clean(&b, &what);
            world.restore(Arc::new(b), "latest").equals(&expected, &what);
        }
    }
}

#[test]
fn a_backup_stands_on_the_first_whatever_fails_on_the_second() {
    for world in worlds() {
        the_second_fails_at_any_call(&world, Plan::once);
    }
}

#[test]
fn a_backup_stands_on_the_first_whenever_the_second_dies() {
    for world in worlds() {
        the_second_fails_at_any_call(&world, Plan::death);
    }
}

/// With as many copies wanted as there are storages, nothing exists that is not on each.
#[test]
fn without_enough_copies_there_is_no_backup() {
    for world in worlds() {
        for nth in 1..200 {
            let (a, b) = (copy(&world), copy(&world));
            let fault = Arc::new(Fault::new(Arc::new(b.clone()), Plan::death(nth, Moment::Before)));
            let both = mirror(vec![Arc::new(a.clone()), Arc::clone(&fault) as _], 2);
            let outcome = world.backup(Arc::clone(&both) as _);
            let report = both.settle().unwrap();
            drop(both);
            let what = format!("{}, call {nth}", world.engine);
            if !fault.struck() {
                outcome.unwrap();
                break;
            }
            assert!(!report.is_enough(), "{what}");
            match outcome {
                Err(error) => {
                    assert!(error.to_string().contains("planned failure"), "{what}: {error}");
                    assert_eq!(ids(&a).len(), world.made.len(), "{what}: {error}");
                }
                // After the commit: a session or a claim could not be taken away.
                Ok(_) => {
                    world.restore(Arc::new(a.clone()), "latest").outcome.unwrap();
                    world.restore(Arc::new(b.clone()), "latest").outcome.unwrap();
                }
            }
            healed(&[&a, &b], Options::default());
            are_equal(&a, &b, &what);
        }
    }
}

#[test]
fn a_storage_that_was_away_is_healed_and_restores_by_itself() {
    for mut world in worlds() {
        let b = Memory::new();
        // B is new: everything is copied.
        let (report, _) = healed(&[&world.memory, &b], Options::default());
        assert_eq!(report.copied, objects(&world.memory).len() as u64);
        are_equal(&world.memory, &b, "a new one");
        for step in 5..8 {
            world.change(step);
            world.settle();
            let storage = match step {
                6 => without_b(&world.memory),
                _ => of(&[&world.memory, &b], 2),
            };
            if step == 7 {
                healed(&[&world.memory, &b], Options { read_data: true });
            }
            let report = world.backup(Arc::clone(&storage) as _).unwrap();
            world.made.push((report.id.unwrap().to_string(), Manifest::of(&world.source()).unwrap()));
            let report = storage.settle().unwrap();
            assert_eq!(report.is_even(), step != 6, "{report:?}");
            assert!(report.is_enough());
        }
        are_equal(&world.memory, &b, world.engine);
        check_is_clean(&b, world.engine);
        for (id, expected) in &world.made {
            world.restore(Arc::new(b.clone()), id).equals(expected, id);
        }
    }
}

#[test]
fn what_was_forgotten_while_a_storage_was_away_does_not_come_back() {
    for engine in ["tar", "dedup"] {
        let mut world = if engine == "tar" { World::new() } else { World::dedup() };
        world.policy = Policy::default();
        let world = world.after(3);
        let (a, b) = (copy(&world), copy(&world));
        let alone = without_b(&a);
        assert_eq!(forget_all_but_the_newest(Arc::clone(&alone) as _).unwrap().removed, 2);
        assert!(alone.settle().unwrap().is_enough());
        drop(alone);
        assert_eq!((ids(&a).len(), ids(&b).len()), (1, 3), "{engine}");
        let (report, rows) = healed(&[&a, &b], Options::default());
        assert!(report.removed > 0 && report.kept == 0, "{engine}: {rows:?}");
        assert_eq!(ids(&a), ids(&b), "{engine}");
        assert_eq!(ids(&b).len(), 1, "{engine}");
        are_equal(&a, &b, engine);
        let expected = &world.made.last().unwrap().1;
        world.restore(Arc::new(b.clone()), "latest").equals(expected, engine);
        assert!(
            objects(&b).iter().all(|(name, _)| !name.as_str().contains("mirror")),
            "notes are taken away"
        );
        assert_eq!(healed(&[&a, &b], Options::default()).0, heal::Report::default(), "{engine}");
    }
}

/// A was told to forget a chain; B, which was away, was given another level of it by somebody who used B alone.
#[test]
fn a_chain_that_somebody_goes_on_with_elsewhere_is_kept() {
    let mut world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    world.policy = Policy::default();
    world.settle();
    world.back_up();
    let (a, b) = (copy(&world), copy(&world));
    let alone = without_b(&a);
    assert_eq!(forget_all_but_the_newest(Arc::clone(&alone) as _).unwrap().removed, 1);
    drop(alone);
    // The newest chain on B goes, so that an increment goes on with the first.
    let chain = world.made.last().unwrap().0.clone();
    let listed = crate::in_memory::listing(Arc::new(b.clone())).unwrap();
    let newest = listed.rows.iter().find(|row| row.id.to_string() == chain).unwrap().chain.to_string();
    let c = crate::in_memory::copy_of(&b);
    for (name, _) in objects(&c).into_iter().filter(|(name, _)| name.as_str().contains(&newest)) {
        c.delete(&name).unwrap();
    }
    world.policy = INCREMENTS;
    world.change(9);
    world.settle();
    let made = world.backup(Arc::new(c.clone())).unwrap().id.unwrap().to_string();
    let expected = Manifest::of(&world.source()).unwrap();
    let (report, rows) = healed(&[&a, &c], Options::default());
    assert!(report.kept > 0, "{rows:?}");
    assert!(
        rows.iter().all(|row| row.done != Done::Removed || row.object.as_str().ends_with("claim")),
        "{rows:?}"
    );
    are_equal(&a, &c, "kept");
    assert_eq!(ids(&a).len(), 3);
    check_is_clean(&a, "kept");
    world.restore(Arc::new(a), &made).equals(&expected, "the level on top");
}

#[test]
fn a_damaged_object_is_read_from_another_storage_and_repaired() {
    let world = World::dedup().after(2);
    let expected = &world.made.last().unwrap().1;
    let whole = objects(&world.memory);
    for (name, bytes) in &whole {
        let is_read = ["dedup/packs/", "dedup/index/", "dedup/snapshots/"];
        if !is_read.iter().any(|folder| name.as_str().starts_with(folder)) {
            continue;
        }
        for damage in
            [Damage::Flip(bytes.len() as u64 / 2), Damage::Flip(200), Damage::Truncate(150), Damage::Delete]
        {
            let what = format!("{name}, {damage:?}");
            let (a, b) = (copy(&world), copy(&world));
            damage.apply(&a, name).unwrap();
            let both = of(&[&a, &b], 2);
            world.restore(Arc::clone(&both) as _, "latest").equals(expected, &what);
            let repository = open(Arc::clone(&both) as _).unwrap();
            heal::run(&both, &repository, Options { read_data: true }, &Quiet, &mut |_| ()).unwrap();
            drop((repository, both));
            are_equal(&a, &b, &what);
            assert!(objects(&a) == whole, "{what}: the sound bytes have won");
        }
    }
}

/// Each has lost another part of the same pack: neither takes the place of the other, and a restore still reads both.
#[test]
fn no_damaged_copy_takes_the_place_of_another() {
    let world = World::dedup().after(1);
    let expected = &world.made.last().unwrap().1;
    let (a, b) = (copy(&world), copy(&world));
    let packs: Vec<ObjectName> = objects(&a)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.as_str().starts_with("dedup/packs/"))
        .collect();
    for pack in &packs {
        Damage::Flip(140).apply(&a, pack).unwrap();
        let size_bytes = b.stat(pack).unwrap().size_bytes;
        Damage::Flip(size_bytes - 20).apply(&b, pack).unwrap();
    }
    let (before_a, before_b) = (objects(&a), objects(&b));
    let both = of(&[&a, &b], 2);
    world.restore(Arc::clone(&both) as _, "latest").equals(expected, "from both");
    let repository = open(Arc::clone(&both) as _).unwrap();
    let options = Options { read_data: true };
    let report = heal::run(&both, &repository, options, &Quiet, &mut |_| ()).unwrap();
    assert_eq!((report.repaired, report.unsettled >= packs.len() as u64), (0, true), "{report:?}");
    assert!(objects(&a) == before_a && objects(&b) == before_b);
}

#[test]
fn damaged_levels_are_told_by_their_hashes_and_repaired() {
    let world = World::with_backups(2, INCREMENTS, Compression::Zstd);
    let whole = objects(&world.memory);
    for (name, bytes) in whole.iter().filter(|(name, _)| name.as_str() != "icecore") {
        for damage in
            [Damage::Flip(bytes.len() as u64 / 2), Damage::Truncate(bytes.len() as u64 - 1), Damage::Delete]
        {
            let (a, b) = (copy(&world), copy(&world));
            damage.apply(&b, name).unwrap();
            let (report, rows) = healed(&[&a, &b], Options { read_data: true });
            assert_eq!(report.copied + report.repaired, 1, "{name}, {damage:?}: {rows:?}");
            assert!(objects(&b) == whole && objects(&a) == whole, "{name}, {damage:?}");
        }
    }
}

/// Healing that is broken off at any call leaves nothing on the one that is healed which it does not have whole.
#[test]
fn healing_breaks_off_at_any_call_and_goes_on_next_time() {
    for world in worlds() {
        for nth in 1..400 {
            let (a, b) = (copy(&world), Memory::new());
            let fault = Arc::new(Fault::new(Arc::new(b.clone()), Plan::death(nth, Moment::Before)));
            let both = mirror(vec![Arc::new(a.clone()), Arc::clone(&fault) as _], 1);
            let repository = open(Arc::clone(&both) as _).unwrap();
            heal::run(&both, &repository, Options::default(), &Quiet, &mut |_| ()).unwrap();
            drop((repository, both));
            if !fault.struck() {
                break;
            }
            let what = format!("{}, call {nth}", world.engine);
            if b.stat(&ObjectName::new("icecore").unwrap()).is_ok() {
                let listed = crate::in_memory::listing(Arc::new(b.clone()));
                for row in listed.map(|listing| listing.rows).unwrap_or_default() {
                    let id = row.id.to_string();
                    let expected = &world.made.iter().find(|(made, _)| *made == id).unwrap().1;
                    world.restore(Arc::new(b.clone()), &id).equals(expected, &what);
                }
            }
            healed(&[&a, &b], Options::default());
            are_equal(&a, &b, &what);
        }
    }
}

/// Somebody heals again and again while somebody else backs up and forgets, each with a mirror of his own over the same two storages.
#[test]
fn healing_beside_a_backup_harms_neither() {
    for world in worlds() {
        for step in 3..9 {
            world.change(step);
            world.settle();
            let (a, b) = (copy(&world), copy(&world));
            let far = |memory: &Memory| Arc::new(Far(Arc::new(memory.clone()))) as Arc<dyn Storage>;
            let pair = || if step % 2 == 0 { of(&[&a, &b], 2) } else { mirror(vec![far(&a), far(&b)], 2) };
            let is_over = AtomicBool::new(false);
            let made = std::thread::scope(|scope| {
                let healer = scope.spawn(|| {
                    while !is_over.load(Ordering::Acquire) {
                        let both = pair();
                        let repository = open(Arc::clone(&both) as _).unwrap();
                        let healed = heal::run(&both, &repository, Options::default(), &Quiet, &mut |_| ());
                        assert_eq!(healed.unwrap().unsettled, 0);
                        assert!(!both.is_partial());
                    }
                });
                let both = pair();
                let made = world.backup(Arc::clone(&both) as _);
                let forgotten = forget_all_but_the_newest(Arc::clone(&both) as _);
                is_over.store(true, Ordering::Release);
                healer.join().unwrap();
                forgotten.unwrap();
                assert!(both.settle().unwrap().is_even());
                made.unwrap().id.unwrap().to_string()
            });
            let what = format!("{}, step {step}", world.engine);
            healed(&[&a, &b], Options::default());
            are_equal(&a, &b, &what);
            for memory in [&a, &b] {
                let expected = Manifest::of(&world.source()).unwrap();
                world.restore(Arc::new(memory.clone()), &made).equals(&expected, &what);
            }
        }
    }
}

#[test]
fn strangers_are_no_mirror() {
    let world = World::dedup().after(1);
    let other = World::dedup().after(1);
    let refuse = |b: &Memory| {
        heal::refuse_strangers(&of(&[&world.memory, b], 2))
            .map(|vacant| vacant.len())
            .map_err(|error| error.kind())
    };
    assert_eq!(refuse(&copy(&world)), Ok(0));
    assert_eq!(refuse(&Memory::new()), Ok(1));
    assert_eq!(refuse(&other.memory), Err(Kind::Invalid));
    let photos = Memory::new();
    photos.put(&ObjectName::new("photos/1.jpg").unwrap(), b"a day out", PutMode::CreateNew).unwrap();
    assert_eq!(refuse(&photos), Err(Kind::Invalid));
}

/// What a name is lost to is told: nothing at all is left.
#[test]
fn what_no_storage_gives_is_an_error_that_names_each() {
    let world = World::dedup().after(1);
    let dying = |label: &str| {
        let fault = Fault::new(Arc::new(copy(&world)), Plan::death(1, Moment::Before));
        Target { label: label.to_owned(), storage: Ok(Arc::new(fault)) }
    };
    let both = Mirror::new(vec![dying("left"), dying("right")], settings(1)).unwrap();
    let error: Result<()> = both.stat(&ObjectName::new("icecore").unwrap()).map(drop);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("left: planned failure") && text.contains("right: planned failure"), "{text}");
}

/// Heals what cannot be made alike, and gives what was done.
fn heal_what_can_be(both: &Arc<Mirror>) -> (heal::Report, Vec<Row>) {
    let repository = open(Arc::clone(both) as _).unwrap();
    let mut rows = Vec::new();
    let report =
        heal::run(both, &repository, Options::default(), &Quiet, &mut |row| rows.push(row.clone())).unwrap();
    (report, rows)
}

fn named(memory: &Memory, what: &str) -> Vec<ObjectName> {
    objects(memory).into_iter().map(|(name, _)| name).filter(|name| name.as_str().contains(what)).collect()
}

#[test]
fn a_storage_that_cannot_be_given_a_pack_is_given_no_snapshot() {
    let world = World::dedup().after(1);
    let a = copy(&world);
    let pack = named(&a, "dedup/packs/").pop().unwrap();
    let size_bytes = a.stat(&pack).unwrap().size_bytes;
    Damage::Flip(size_bytes - 20).apply(&a, &pack).unwrap();
    let b = Memory::new();
    let both = of(&[&a, &b], 1);
    let (report, rows) = heal_what_can_be(&both);
    assert!(report.unsettled > 0, "{rows:?}");
    assert_eq!((named(&b, "dedup/snapshots/"), b.stat(&pack).is_ok()), (vec![], false), "{rows:?}");
    assert!(both.settle().unwrap().members[1].is_behind());
}

#[test]
fn a_level_whose_content_is_missing_is_not_brought() {
    let world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    for content in ["/engine_metadata", "/data"] {
        let (a, b) = (copy(&world), Memory::new());
        let lost = named(&a, "data/").into_iter().find(|name| name.as_str().ends_with(content)).unwrap();
        a.delete(&lost).unwrap();
        let both = of(&[&a, &b], 1);
        let (report, rows) = heal_what_can_be(&both);
        assert!(report.unsettled > 0, "{rows:?}");
        assert_eq!(named(&b, "metadata/tar"), [], "{rows:?}");
    }
}

/// Somebody goes on with a chain that a note has doomed, while what is before it is being copied.
#[test]
fn a_chain_that_somebody_goes_on_with_while_others_heal_is_kept() {
    let mut world = World::new();
    world.policy = Policy::default();
    let world = world.after(2);
    let (a, b) = (copy(&world), copy(&world));
    let alone = without_b(&a);
    assert_eq!(forget_all_but_the_newest(Arc::clone(&alone) as _).unwrap().removed, 1);
    drop(alone);
    let old = named(&b, "metadata/tar").into_iter().find(|name| a.stat(name).is_err()).unwrap();
    let next = ObjectName::new(old.as_str().replace("/0_", "/1_")).unwrap();
    let kept = named(&a, "metadata/tar").pop().unwrap();
    b.delete(&kept).unwrap();
    let both = of(&[&a, &b], 2);
    let repository = open(Arc::clone(&both) as _).unwrap();
    let mut rows = Vec::new();
    let tell = &mut |row: &Row| {
        if row.done == Done::Copied && row.object == kept {
            b.put(&next, b"a level on top", PutMode::CreateNew).unwrap();
        }
        rows.push(row.clone());
    };
    heal::run(&both, &repository, Options::default(), &Quiet, tell).unwrap();
    assert!(b.stat(&kept).is_ok() && b.stat(&old).is_ok() && b.stat(&next).is_ok(), "{rows:?}");
    assert!(
        rows.iter().all(|row| row.done != Done::Removed || row.object.as_str().ends_with("claim")),
        "{rows:?}"
    );
}

#[test]
fn levels_of_which_storages_have_different_documents_are_left_alone() {
    let world = World::with_backups(2, INCREMENTS, Compression::Zstd);
    let (a, b) = (copy(&world), copy(&world));
    let documents = named(&b, "metadata/tar");
    let [first, second] = documents.as_slice() else { panic!("{documents:?}") };
    let other = b.read(second, 0, 1 << 20).unwrap();
    b.put(first, &other, PutMode::Replace).unwrap();
    let data =
        ObjectName::new(first.as_str().replacen("metadata/", "data/", 1).replace("/metadata", "/data"))
            .unwrap();
    a.delete(&data).unwrap();
    let (before_a, before_b) = (objects(&a), objects(&b));
    let both = of(&[&a, &b], 2);
    let (report, rows) = heal_what_can_be(&both);
    assert!(report.unsettled > 0, "{rows:?}");
    assert!(objects(&a) == before_a && objects(&b) == before_b, "{rows:?}");
}
