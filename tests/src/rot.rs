//! What rots on storage: every change for the worse × every object × every compression × every engine of chains.
//!
//! `check` names it, a restore refuses it before the target is touched, what does not depend on it restores, and the next
//! backup does not build on what a look at names and sizes shows to be damaged. ([`crate::damage`] has what the program says.)

mod dedup;

use crate::in_memory::{CHAINS, INCREMENTS, World, check, check_and_clean, copy_of, ids, listing, objects};
use icecore::codec::Compression;
use icecore::level::Policy;
use icecore::name::ObjectName;
use icecore::repository::document;
use icecore::storage::memory::Memory;
use icecore::storage::{PutMode, Storage};
use icecore::time::Timestamp;
use icecore::{Kind, Result, backup};
use icecore_testkit::fault::{Damage, swap};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use std::fs;
use std::sync::Arc;

/// Backups 0 and 1 are one chain, 2 to 4 another.
const FIRST_OF_NEWER: usize = 2;

/// What chains are made of: by `tar` with every compression, by `rsync` with the one that vouches for each part of a stream and the one
/// that vouches for nothing.
fn engines_and_compressions() -> impl Iterator<Item = (&'static str, Compression)> {
    let of_rsync = [Compression::Zstd, Compression::None];
    let of_tar = Compression::ALL.into_iter().map(|compression| ("tar", compression));
    of_tar.chain(of_rsync.map(|compression| ("rsync", compression)))
}

struct Rot {
    world: World,
    places: Vec<String>,
}

/// One object of one backup.
struct Victim {
    backup: usize,
    object: &'static str,
    name: ObjectName,
}

impl Rot {
    fn new(engine: &'static str, compression: Compression) -> Rot {
        let mut world = World::chains(engine);
        world.compression = compression;
        let mut world = world.after(2);
        let mut reports = Vec::new();
        world.policy = Policy::default();
        for step in 3..6 {
            reports.push(world.back_up());
            world.policy = INCREMENTS;
            world.change(step);
        }
        assert_eq!(reports.iter().map(|report| report.level).collect::<Vec<_>>(), [0, 1, 2]);
        let place = |report: &backup::Report| {
            format!("{engine}/{}/{}/{}_{}", report.series, report.chain, report.level, report.timestamp)
        };
        Rot { places: reports.iter().map(place).collect(), world }
    }

    /// An object of the newer chain.
    fn victim(&self, level: usize, object: &'static str) -> Victim {
        let tree = if object == "metadata" { "metadata" } else { "data" };
        let name = ObjectName::new(format!("{tree}/{}/{object}", self.places[level])).unwrap();
        Victim { backup: FIRST_OF_NEWER + level, object, name }
    }

    fn bytes(&self, name: &ObjectName) -> Vec<u8> {
        self.world.memory.read(name, 0, 1 << 30).unwrap()
    }

    /// Everything that can happen to an object.
    fn damages(&self, victim: &Victim) -> Vec<Damage> {
        let length = self.bytes(&victim.name).len() as u64;
        let flips = [0, 5, length / 4, length / 2, length - 1].map(Damage::Flip);
        let truncations = [0, 1, length / 2, length - 1].map(Damage::Truncate);
        let other = self.victim((victim.backup - FIRST_OF_NEWER + 1) % 3, victim.object);
        let mut damages = vec![Damage::Delete, Damage::Grow(1), Damage::Grow(512)];
        damages.extend(flips);
        damages.extend(truncations);
        damages.push(Damage::Replace(self.bytes(&other.name)));
        damages
    }

    fn assert_is_noticed(&self, victim: &Victim, damage: &Damage) {
        let what = format!("{}: {damage:?} of {}", self.world.compression, victim.name);
        let memory = copy_of(&self.world.memory);
        damage.apply(&memory, &victim.name).unwrap();
        let seen = self.is_seen(&memory, victim, damage, &what);
        self.restores(&memory, victim, seen, &what);
        self.next_backup_is_sound(&memory, &what);
    }

    /// Whether `check` finds it; it must, if anything is the worse for it.
    fn is_seen(&self, memory: &Memory, victim: &Victim, damage: &Damage, what: &str) -> bool {
        let names = |read_data| {
            let (report, found) = check(Arc::new(memory.clone()), read_data, false).unwrap();
            let place = victim.name.as_str().split_once('/').unwrap().1.rsplit_once('/').unwrap().0;
            let named = found.iter().any(|finding| finding.object.contains(place));
            // Without its document a backup does not exist, and its data is an orphan.
            assert_eq!(named, report.problems + report.orphans > 0, "{what}: {found:#?}");
            named
        };
        // A document vouches for itself, and that is looked at always; not for its place.
        let looks_right = match damage {
            Damage::Flip(_) => victim.object != "metadata",
            _ => self.replaces_by_equal_size(victim, damage),
        };
        assert!(looks_right || names(false), "{what}: a look at names and sizes does not show it");
        let seen = names(true);
        assert!(seen, "{what}: reading everything does not show it");
        seen
    }

    fn replaces_by_equal_size(&self, victim: &Victim, damage: &Damage) -> bool {
        matches!(damage, Damage::Replace(bytes) if bytes.len() == self.bytes(&victim.name).len())
    }

    fn restores(&self, memory: &Memory, victim: &Victim, seen: bool, what: &str) {
        let listed = ids(memory);
        for (number, (id, expected)) in self.world.made.iter().enumerate().skip(1) {
            if !listed.contains(id) {
                assert_eq!((number, victim.object), (victim.backup, "metadata"), "{what}");
                continue;
            }
            let restored = self.world.restore(Arc::new(memory.clone()), id);
            let what = format!("{what}: backup {number}");
            // A state of `tar` is of use to the next backup alone; one of `rsync` to a restore of its level too.
            let depends = match victim.object {
                "engine_metadata" => self.world.engine == "rsync" && number == victim.backup,
                _ => number >= victim.backup,
            };
            match &restored.outcome {
                Ok(_) => {
                    assert!(!depends || !seen, "{what} was restored");
                    restored.equals(expected, &what);
                }
                Err(error) => {
                    assert!(number >= victim.backup, "{what} does not depend on it: {error:?}");
                    assert!(matches!(error.kind(), Kind::Damaged | Kind::Unsupported), "{what}: {error:?}");
                    assert!(restored.is_untouched(), "{what}: the target was touched");
                }
            }
        }
    }

    /// The next backup is right, or fails, or stands on what only reading everything shows to be damaged.
    fn next_backup_is_sound(&self, memory: &Memory, what: &str) {
        let before = check(Arc::new(memory.clone()), false, false).unwrap().0;
        let (next, expected): (Result<backup::Report>, Manifest) =
            (self.world.backup(Arc::new(memory.clone())), Manifest::of(&self.world.source()).unwrap());
        let Ok(next) = next else { return };
        assert!(next.level == 0 || before.problems == 0, "{what}: level {} was built on it", next.level);
        let restored = self.world.restore(Arc::new(memory.clone()), "latest");
        if next.level == 0 {
            restored.equals(&expected, what);
        } else {
            restored.is_right_or_refused(&expected, what);
        }
    }
}

#[test]
fn whatever_happens_to_a_stream_is_noticed() {
    for (engine, compression) in engines_and_compressions() {
        let rot = Rot::new(engine, compression);
        // The place in the chain matters with one of them, the compression at any place.
        let levels = if compression == Compression::Zstd { 0..3 } else { 1..2 };
        for level in levels {
            let victim = rot.victim(level, "data");
            rot.damages(&victim).iter().for_each(|damage| rot.assert_is_noticed(&victim, damage));
        }
    }
}

#[test]
fn whatever_happens_to_a_state_is_noticed() {
    for engine in CHAINS {
        let rot = Rot::new(engine, Compression::Zstd);
        for level in 0..3 {
            let victim = rot.victim(level, "engine_metadata");
            rot.damages(&victim).iter().for_each(|damage| rot.assert_is_noticed(&victim, damage));
        }
    }
}

#[test]
fn whatever_happens_to_a_document_is_noticed() {
    for engine in CHAINS {
        let rot = Rot::new(engine, Compression::Gzip);
        for level in 0..3 {
            let victim = rot.victim(level, "metadata");
            rot.damages(&victim).iter().for_each(|damage| rot.assert_is_noticed(&victim, damage));
        }
    }
}

/// Wherever a bit turns in a document, its backup is refused, and `check` and `list` see why without reading data.
#[test]
fn every_bit_of_a_document_is_watched() {
    let rot = Rot::new("tar", Compression::None);
    let victim = rot.victim(1, "metadata");
    let (id, _) = &rot.world.made[victim.backup];
    for (offset, byte) in rot.bytes(&victim.name).into_iter().enumerate() {
        let bit = offset % 8;
        let memory = copy_of(&rot.world.memory);
        let mut bytes = rot.bytes(&victim.name);
        bytes[offset] = byte ^ (1 << bit);
        Damage::Replace(bytes).apply(&memory, &victim.name).unwrap();
        let what = format!("bit {bit} of byte {offset}");
        let restored = rot.world.restore(Arc::new(memory.clone()), id);
        assert_eq!(restored.outcome.as_ref().map(|_| ()).unwrap_err().kind(), Kind::Damaged, "{what}");
        assert!(restored.is_untouched(), "{what}: the target was touched");
        let (report, found) = check(Arc::new(memory.clone()), false, false).unwrap();
        assert!(report.problems > 0, "{what}: check does not see why a restore is refused");
        assert!(found.iter().any(|finding| finding.object == victim.name.as_str()), "{what}: {found:#?}");
        let rows = listing(Arc::new(memory)).unwrap().rows;
        let row = rows.iter().find(|row| row.id.as_str() == *id).unwrap();
        assert!(row.problem.is_some() && row.by_icecore.is_none(), "{what}: {row:?}");
    }
}

#[test]
fn the_marker_is_right_or_refused() {
    let rot = Rot::new("tar", Compression::Zstd);
    let marker = ObjectName::new("icecore").unwrap();
    let length = rot.bytes(&marker).len() as u64;
    let flips = (0..length).map(Damage::Flip);
    let more = [Damage::Delete, Damage::Truncate(0), Damage::Truncate(length / 2), Damage::Grow(1)];
    let more = more.into_iter().chain([Damage::Replace(b"{\"icecore\": 2}".to_vec())]);
    for damage in flips.chain(more) {
        let memory = copy_of(&rot.world.memory);
        damage.apply(&memory, &marker).unwrap();
        let (id, expected) = rot.world.made.last().unwrap();
        let restored = rot.world.restore(Arc::new(memory.clone()), id);
        let checked = check(Arc::new(memory.clone()), false, false);
        assert_eq!(restored.outcome.is_err(), checked.is_err(), "{damage:?}");
        match checked {
            // Without a marker it is a place where only Freezer has been; all that is stored is as it was.
            Ok(_) => restored.equals(expected, &format!("{damage:?}")),
            Err(error) => {
                assert!(error.to_string().contains("icecore"), "{damage:?}: {error:?}");
                assert!(restored.is_untouched(), "{damage:?}");
            }
        }
    }
}

#[test]
fn objects_that_changed_places_are_noticed() {
    for (engine, compression) in engines_and_compressions() {
        let rot = Rot::new(engine, compression);
        for object in ["data", "engine_metadata", "metadata"] {
            let (one, other) = (rot.victim(1, object), rot.victim(2, object));
            let memory = copy_of(&rot.world.memory);
            swap(&memory, &one.name, &other.name).unwrap();
            let what = format!("{engine}, {compression}: {object}");
            let (report, found) = check(Arc::new(memory.clone()), true, false).unwrap();
            assert!(report.problems >= 2, "{what}: {found:#?}");
            rot.restores(&memory, &one, true, &what);
        }
    }
}

/// A run that was killed right after its commit leaves its claim. One that may still be about to look at it needs it.
#[test]
fn a_claim_beside_a_backup_goes_once_no_run_can_need_it() {
    let world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    let before = objects(&world.memory);
    let data = &before.iter().find(|(name, _)| name.as_str().ends_with("/data")).unwrap().0;
    let claim = ObjectName::new(format!("{}/claim", data.as_str().strip_suffix("/data").unwrap())).unwrap();
    world.memory.put(&claim, b"{}", PutMode::CreateNew).unwrap();
    let document = &before.iter().find(|(name, _)| name.as_str().ends_with("/metadata")).unwrap().1;
    let finished = document::parse(document).unwrap().details.unwrap().report.finished;
    for (limit, goes) in [(None, false), (Some(finished), false), (Some(Timestamp(finished.0 + 1)), true)] {
        let (report, found) = check_and_clean(Arc::new(world.memory.clone()), false, limit).unwrap();
        assert_eq!((report.problems, found), (0, Vec::new()), "{limit:?}");
        assert_eq!(world.memory.stat(&claim).is_err(), goes, "{limit:?}");
    }
    assert!(objects(&world.memory) == before);
}

/// Of two backups of level 1 the newer is what level 2 stands on: its document says so, though the names alone would do.
#[test]
fn a_level_whose_parent_is_gone_is_a_gap_though_another_has_its_level() {
    let mut world = World::with_backups(2, INCREMENTS, Compression::Zstd);
    world.policy = Policy { always_level: Some(1), ..INCREMENTS };
    let parent = world.back_up();
    assert_eq!(parent.level, 1);
    world.policy = INCREMENTS;
    world.change(3);
    assert_eq!(world.back_up().level, 2);
    world.change(4);
    let name = format!("metadata/tar/{}/{}/1_{}/metadata", parent.series, parent.chain, parent.timestamp);
    world.memory.delete(&ObjectName::new(name).unwrap()).unwrap();

    let above = world.restore(Arc::new(world.memory.clone()), &world.made[3].0);
    assert_eq!(above.outcome.as_ref().map(|_| ()).unwrap_err().kind(), Kind::Damaged);
    let (report, found) = check(Arc::new(world.memory.clone()), false, false).unwrap();
    assert_eq!(report.problems, 1, "check does not see what restore refuses: {found:#?}");
    assert_eq!(world.back_up().level, 0, "a level was built on a gap");
}

/// A restore of a part does not read every level to its end, so the hash of the whole does not vouch for what it read.
#[test]
fn a_part_of_a_damaged_stream_is_right_or_refused() {
    for (engine, compression) in engines_and_compressions() {
        let mut world = World::chains(engine);
        world.compression = compression;
        let at = |path: &str| world.source().join(path);
        fs::create_dir(at("a")).unwrap();
        fs::create_dir(at("z")).unwrap();
        fs::write(at("a/wanted"), Random::new(1).bytes(100_000)).unwrap();
        fs::write(at("z/rest"), vec![0; 28 << 20]).unwrap();
        let report = world.back_up();
        let data = format!("data/{engine}/{}/{}/0_{}/data", report.series, report.chain, report.timestamp);
        let data = ObjectName::new(data).unwrap();
        for offset in (2_000..100_000).step_by(30_000) {
            let memory = copy_of(&world.memory);
            Damage::Flip(offset).apply(&memory, &data).unwrap();
            let restored = world.restore_part(Arc::new(memory), "latest", &["a/wanted"]);
            let what = format!("{engine}, {compression}: bit at {offset}");
            restored.has_or_refused(&world.source(), "a/wanted", &what);
            assert!(restored.outcome.is_err(), "{what} was not noticed");
        }
        let whole = world.restore_part(Arc::new(world.memory.clone()), "latest", &["a/wanted"]);
        assert!(whole.outcome.is_ok());
        whole.has_or_refused(&world.source(), "a/wanted", "without damage");
    }
}

/// The same wherever the bit turns, of a content that is made by two levels.
#[test]
fn a_part_of_a_chain_of_rsync_is_right_or_refused_wherever_a_bit_turns() {
    let mut world = World::chains("rsync");
    world.compression = Compression::None;
    let path = world.source().join("wanted");
    let mut content = Random::new(2).bytes(20_000);
    for level in 0..2 {
        fs::write(&path, &content).unwrap();
        fs::write(world.source().join("rest"), [level; 2_000]).unwrap();
        world.settle();
        world.back_up();
        content[7_000] ^= 1;
    }
    let stored = objects(&world.memory);
    let streams = stored.iter().filter(|(name, _)| name.as_str().ends_with("/data"));
    for (name, bytes) in streams {
        for offset in (0..bytes.len() as u64).step_by(bytes.len() / 60 + 1) {
            let memory = copy_of(&world.memory);
            Damage::Flip(offset).apply(&memory, name).unwrap();
            let restored = world.restore_part(Arc::new(memory), "latest", &["wanted"]);
            restored.has_or_refused(&world.source(), "wanted", &format!("{name}: bit at {offset}"));
        }
    }
}
