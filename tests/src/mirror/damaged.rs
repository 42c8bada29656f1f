//! Copies that are damaged: what one storage has lost a piece of is read from another and repaired, and chains are restored past
//! bytes that are not what was written.

use super::{are_equal, copy, heal_what_can_be, mirror, of, worlds};
use crate::in_memory::{CHAINS, World, check, looked_into, objects, open};
use crate::place::assert_equal;
use icecore::Kind;
use icecore::codec::Compression;
use icecore::engine::Overwrite;
use icecore::heal::{self, Options};
use icecore::monitor::{Event, Monitor, Quiet};
use icecore::name::ObjectName;
use icecore::restore::Report;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::storage::mirror::Mirror;
use icecore_testkit::far::Far;
use icecore_testkit::fault::Damage;
use icecore_testkit::holes::Holed;
use icecore_testkit::manifest::Manifest;
use std::sync::{Arc, Mutex};

/// Keeps what it is warned of.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Monitor for Heard {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// A world's storage, and beside it one that has lost a piece of an object; which comes first.
fn with_a_hole(world: &World, name: &ObjectName, is_first: bool) -> (Arc<Mirror>, Arc<Holed>, [Memory; 2]) {
    let (whole, torn) = (copy(world), copy(world));
    let holed = Arc::new(Holed::new(Arc::new(torn.clone())));
    holed.lose(name);
    let both: [Arc<dyn Storage>; 2] = [Arc::new(whole.clone()), Arc::clone(&holed) as _];
    let [one, other] = both;
    let storages = if is_first { vec![other, one] } else { vec![one, other] };
    (mirror(storages, 2), holed, [whole, torn])
}

/// What backups are made of; all that something vouches for.
fn names_of(world: &World) -> Vec<ObjectName> {
    let folders = ["data/", "metadata/", "dedup/packs/", "dedup/index/", "dedup/snapshots/"];
    let names = objects(&world.memory).into_iter().map(|(name, _)| name);
    names.filter(|name| folders.iter().any(|folder| name.as_str().starts_with(folder))).collect()
}

#[test]
fn a_storage_that_has_lost_a_piece_is_not_out_and_is_repaired() {
    for world in worlds() {
        let expected = &world.made.last().unwrap().1;
        let names = names_of(&world);
        assert!(names.len() >= 3);
        for name in &names {
            for is_first in [true, false] {
                let what = format!("{name}, first {is_first}");
                let (both, holed, [whole, torn]) = with_a_hole(&world, name, is_first);
                world.restore(Arc::clone(&both) as _, "latest").equals(expected, &what);
                assert!(both.settle().unwrap().is_even(), "{what}");
                let (report, rows) = heal_what_can_be(&both);
                assert_eq!((report.repaired, report.unsettled), (1, 0), "{what}: {rows:?}");
                assert!(!holed.has_holes(), "{what}");
                assert!(both.settle().unwrap().is_even(), "{what}");
                are_equal(&whole, &torn, &what);
            }
        }
    }
}

/// Who cannot say which repository it holds a copy of is written to by nobody.
#[test]
fn a_storage_that_has_lost_what_it_is_known_by_is_out() {
    let world = World::chains("tar").after(1);
    let marker = ObjectName::new("icecore").unwrap();
    for is_first in [true, false] {
        let (both, holed, [whole, torn]) = with_a_hole(&world, &marker, is_first);
        let (report, rows) = heal_what_can_be(&both);
        assert_eq!(report, heal::Report::default(), "{rows:?}");
        assert!(holed.has_holes() && both.is_partial());
        are_equal(&whole, &torn, "untouched");
    }
}

/// A copy with a hole in it is no source, and its object is not taken for one that is missing.
#[test]
fn a_copy_with_a_hole_is_not_copied() {
    for world in worlds() {
        for name in names_of(&world).iter().filter(|name| !name.as_str().starts_with("dedup/snapshots/")) {
            let (both, holed, [whole, torn]) = with_a_hole(&world, name, true);
            whole.delete(name).unwrap();
            let before = objects(&torn);
            let (report, rows) = heal_what_can_be(&both);
            assert!(report.unsettled > 0, "{name}: {rows:?}");
            assert!(whole.stat(name).is_err() && holed.has_holes(), "{name}: {rows:?}");
            assert!(objects(&torn) == before, "{name}: {rows:?}");
        }
    }
}

/// Restores the newest backup of two storages into an empty folder: what came of it, what is there, and what was told.
fn restored(
    world: &World,
    both: &Arc<Mirror>,
    overwrite: Option<Overwrite>,
) -> (icecore::Result<Report>, Manifest, Vec<String>) {
    let (heard, target) = (Heard::default(), tempfile::tempdir().unwrap());
    let id = &world.made.last().unwrap().0;
    let options = icecore::restore::Options { overwrite, ..world.options(id, target.path()) };
    let outcome = world.restore_as(Arc::clone(both) as _, &options, &heard);
    (outcome, Manifest::of(target.path()).unwrap(), heard.0.into_inner().unwrap())
}

#[test]
fn a_chain_is_restored_past_a_damaged_copy_and_that_is_told() {
    for engine in CHAINS {
        let world = World::chains(engine).after(2);
        let expected = &world.made.last().unwrap().1;
        for name in &names_of(&world) {
            let half = world.memory.stat(name).unwrap().size_bytes / 2;
            for damage in [Damage::Flip(half), Damage::Truncate(half), Damage::Delete] {
                for is_first in [true, false] {
                    let what = format!("{name}, {damage:?}, first {is_first}");
                    let (whole, hurt) = (copy(&world), copy(&world));
                    damage.apply(&hurt, name).unwrap();
                    let both = if is_first { of(&[&hurt, &whole], 2) } else { of(&[&whole, &hurt], 2) };
                    let (outcome, found, told) = restored(&world, &both, None);
                    outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert_equal(expected, &found, &what);
                    let suspects = both.take_suspects();
                    let lacking: Vec<_> =
                        both.settle().unwrap().members.into_iter().flat_map(|one| one.lacking).collect();
                    match (&damage, is_first) {
                        (_, false) => assert!(told.is_empty() && suspects.is_empty(), "{what}: {told:?}"),
                        (Damage::Delete, true) => assert_eq!(lacking, [name.as_str()], "{what}: {told:?}"),
                        // The state of an engine is not read by every restore.
                        (Damage::Flip(_), true)
                            if name.as_str().ends_with("/engine_metadata") && told.is_empty() => {}
                        _ => is_named(name, &told, &suspects, &what),
                    }
                    let (_, findings) = check(Arc::new(hurt.clone()), true, false).unwrap();
                    assert!(!findings.is_empty(), "{what}");
                }
            }
        }
    }
}

#[track_caller]
fn is_named(
    name: &ObjectName,
    told: &[String],
    suspects: &std::collections::BTreeSet<ObjectName>,
    what: &str,
) {
    assert_eq!(suspects, &[name.clone()].into(), "{what}");
    assert_eq!(told.len(), 1, "{what}: {told:?}");
    assert!(told[0].contains("damaged copy") && told[0].contains(name.as_str()), "{what}: {told:?}");
}

/// One file of what a world backs up.
const PART: &str = "letters/kept";

/// A world of chains that are compressed so.
fn compressed(engine: &'static str, compression: Compression) -> World {
    let mut world = World::chains(engine);
    world.compression = compression;
    world
}

/// Of a part only as much is compared as the part needs: what it does not need may stay damaged without a word.
#[test]
fn a_part_of_a_chain_is_restored_past_a_damaged_copy() {
    for (engine, compression) in
        CHAINS.into_iter().flat_map(|engine| [Compression::Zstd, Compression::None].map(|how| (engine, how)))
    {
        let world = compressed(engine, compression).after(2);
        let expected = &world.made.last().unwrap().1;
        let datas: Vec<_> =
            names_of(&world).into_iter().filter(|name| name.as_str().ends_with("/data")).collect();
        assert!(datas.len() >= 2);
        let target = tempfile::tempdir().unwrap();
        let include = vec![PART.as_bytes().to_vec()];
        let options = icecore::restore::Options { include, ..world.options("latest", target.path()) };
        let files = world.restore_as(Arc::new(world.memory.clone()), &options, &Quiet).unwrap().files;
        for name in &datas {
            let length_bytes = world.memory.stat(name).unwrap().size_bytes;
            for at in [length_bytes / 3, length_bytes - 1] {
                let what = format!("{engine}, {compression:?}, {name}, byte {at}");
                let (whole, hurt) = (copy(&world), copy(&world));
                Damage::Flip(at).apply(&hurt, name).unwrap();
                for (overwrite, dry_run) in
                    [(None, false), (Some(Overwrite::Never), false), (Some(Overwrite::IfChanged), true)]
                {
                    let both = of(&[&hurt, &whole], 2);
                    let (heard, target) = (Heard::default(), tempfile::tempdir().unwrap());
                    let options = icecore::restore::Options {
                        include: vec![PART.as_bytes().to_vec()],
                        overwrite,
                        dry_run,
                        ..world.options(&world.made.last().unwrap().0, target.path())
                    };
                    let outcome = world.restore_as(Arc::clone(&both) as _, &options, &heard);
                    let report = outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert_eq!(report.files, files, "{what}: what is read twice counts once");
                    let told = heard.0.into_inner().unwrap();
                    // Of what was not read nothing is known.
                    if !told.is_empty() {
                        is_named(name, &told, &both.take_suspects(), &what);
                    } else {
                        assert!(both.take_suspects().is_empty(), "{what}");
                    }
                    if compression == Compression::None && engine == "tar" && *name == datas[0] {
                        assert!(!told.is_empty(), "nothing but the hash vouches for this file: {what}");
                    }
                    if !dry_run {
                        let found = Manifest::of(target.path()).unwrap();
                        let part = |of: &Manifest| {
                            of.entries.get(PART.as_bytes()).map(|one| (one.kind.clone(), one.mode, one.mtime))
                        };
                        assert!(part(&found).is_some() && part(&found) == part(expected), "{what}");
                    }
                }
            }
        }
    }
}

/// What is looked at of a chain, and taken out of it.
#[test]
fn a_look_into_a_chain_goes_past_a_damaged_copy() {
    for engine in CHAINS {
        let world = compressed(engine, Compression::None).after(2);
        let expected = looked_into(Arc::new(world.memory.clone()), PART).unwrap();
        for name in names_of(&world).into_iter().filter(|name| name.as_str().ends_with("/data")) {
            let (whole, hurt) = (copy(&world), copy(&world));
            Damage::Flip(world.memory.stat(&name).unwrap().size_bytes / 2).apply(&hurt, &name).unwrap();
            let both = of(&[&hurt, &whole], 2);
            let seen = looked_into(Arc::clone(&both) as _, PART);
            assert!(seen.unwrap_or_else(|error| panic!("{engine}, {name}: {error:?}")) == expected, "{name}");
            // The engine `rsync` knows a tree without its content.
            assert!(engine == "rsync" || both.take_suspects() == [name].into());
        }
    }
}

/// A part of which every copy is damaged is refused before anything is written.
#[test]
fn a_part_that_is_damaged_everywhere_is_refused() {
    let world = compressed("tar", Compression::None).after(1);
    let name = names_of(&world).into_iter().find(|name| name.as_str().ends_with("/data")).unwrap();
    let (a, b) = (copy(&world), copy(&world));
    for hurt in [&a, &b] {
        Damage::Flip(world.memory.stat(&name).unwrap().size_bytes - 1).apply(hurt, &name).unwrap();
    }
    let both = of(&[&a, &b], 2);
    let target = tempfile::tempdir().unwrap();
    let options = icecore::restore::Options {
        include: vec![PART.as_bytes().to_vec()],
        ..world.options(&world.made[0].0, target.path())
    };
    let error = world.restore_as(Arc::clone(&both) as _, &options, &Quiet).unwrap_err();
    assert!(error.kind() == Kind::Damaged && error.to_string().contains(name.as_str()), "{error}");
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0, "untouched");
    assert!(both.take_suspects().is_empty());
}

/// A check is not content with a sound copy behind the damaged one that it came upon.
#[test]
fn a_check_names_what_a_restore_passes_over() {
    let world = World::chains("tar").after(2);
    for name in &names_of(&world) {
        let half = world.memory.stat(name).unwrap().size_bytes / 2;
        for damage in [Damage::Flip(half), Damage::Truncate(half)] {
            let (whole, hurt) = (copy(&world), copy(&world));
            damage.apply(&hurt, name).unwrap();
            let both = of(&[&hurt, &whole], 2);
            let (report, found) = check(Arc::clone(&both) as _, true, false).unwrap();
            assert!(report.problems > 0, "{name}, {damage:?}: {found:#?}");
            let named = |finding: &icecore::check::Finding| {
                finding.object.contains(name.as_str()) || finding.error.contains(name.as_str())
            };
            assert!(found.iter().any(named), "{name}, {damage:?}: {found:#?}");
        }
    }
}

#[test]
fn a_chain_that_is_damaged_everywhere_is_refused_before_anything_is_restored() {
    let world = World::chains("tar").after(2);
    let data = names_of(&world).into_iter().find(|name| name.as_str().ends_with("/data")).unwrap();
    let (a, b) = (copy(&world), copy(&world));
    let length_bytes = a.stat(&data).unwrap().size_bytes;
    Damage::Flip(length_bytes / 2).apply(&a, &data).unwrap();
    Damage::Flip(length_bytes / 3).apply(&b, &data).unwrap();
    let both = of(&[&a, &b], 2);
    let (outcome, found, _) = restored(&world, &both, None);
    let error = outcome.unwrap_err();
    assert!(error.kind() == Kind::Damaged && error.to_string().contains(data.as_str()), "{error}");
    let empty = Manifest::of(tempfile::tempdir().unwrap().path()).unwrap();
    assert_eq!(found.entries.len(), empty.entries.len(), "untouched");
    // Neither repairs the other, and nobody is told so.
    assert!(both.take_suspects().is_empty());
}

/// Whatever is fetched from far away is fetched once. With a copy close by it is that which is compared first, and read.
#[test]
fn a_chain_far_away_is_restored_past_a_damaged_copy_close_by() {
    let world = World::chains("tar").after(2);
    let expected = &world.made.last().unwrap().1;
    let data = names_of(&world).into_iter().find(|name| name.as_str().ends_with("/data")).unwrap();
    let half = world.memory.stat(&data).unwrap().size_bytes / 2;
    let far = |memory: &Memory| Arc::new(Far(Arc::new(memory.clone()))) as Arc<dyn Storage>;
    let (whole, hurt) = (copy(&world), copy(&world));
    Damage::Flip(half).apply(&hurt, &data).unwrap();
    for is_first in [true, false] {
        let close: Arc<dyn Storage> = Arc::new(hurt.clone());
        let storages = if is_first { vec![close, far(&whole)] } else { vec![far(&whole), close] };
        let both = mirror(storages, 2);
        let (outcome, found, told) = restored(&world, &both, None);
        outcome.unwrap();
        assert_equal(expected, &found, "from close by");
        is_named(&data, &told, &both.take_suspects(), "close by");
    }
    // All far away: known only when all has been fetched; then it is told what to repair.
    let both = mirror(vec![far(&hurt), far(&whole)], 2);
    let (outcome, _, _) = restored(&world, &both, None);
    assert_eq!(outcome.unwrap_err().kind(), Kind::Damaged);
    assert_eq!(both.take_suspects(), [data.clone()].into());
    // Into a folder with something in it all is compared first, also from far away.
    let both = mirror(vec![far(&hurt), far(&whole)], 2);
    let (outcome, found, told) = restored(&world, &both, Some(Overwrite::IfChanged));
    outcome.unwrap();
    assert_equal(expected, &found, "overwritten");
    is_named(&data, &told, &both.take_suspects(), "overwritten");
    let both = of(&[&hurt, &whole], 2);
    let repository = open(Arc::clone(&both) as _).unwrap();
    let report = heal::run(&both, &repository, Options { read_data: true }, &Quiet, &mut |_| ()).unwrap();
    assert_eq!(report.repaired, 1);
    are_equal(&hurt, &whole, "repaired");
}
