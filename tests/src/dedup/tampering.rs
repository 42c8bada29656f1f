//! Somebody who may write to the storage, and has no password: whatever is done to the objects of a repository is found by
//! `check`, and a restore gives what was backed up or refuses; it never gives something else.

use super::{PASSWORD, backup, objects, place, restore, run, verb};
use crate::place::{Place, id};
use crate::program::Outcome;
use icecore_testkit::manifest::{Kind, Manifest};
use icecore_testkit::random::Random;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A repository with two backups, a removal and two keys, another one that the same password opens, and what belongs in a target.
struct Scene {
    place: Place,
    other: Place,
    made: Vec<(String, Manifest)>,
    targets: std::cell::Cell<u32>,
}

fn fill(place: &Place, seed: u64) {
    let mut random = Random::new(seed);
    place.write(&[("notes/a", "the first note"), ("notes/b", "the second note"), ("stays", "always here")]);
    fs::write(place.source().join("large"), random.bytes(600_000)).unwrap();
    place.settle();
}

fn change(place: &Place, seed: u64) {
    let mut random = Random::new(seed);
    place.write(&[("notes/a", "the first note, changed"), ("notes/c", "the third note")]);
    fs::write(place.source().join("large-too"), random.bytes(550_000)).unwrap();
    place.settle();
}

fn scene() -> Scene {
    let (place, other) = (place(), place());
    let mut made = Vec::new();
    fill(&place, 1);
    // One that is forgotten leaves a removal.
    let passing = |words: &[&str]| {
        let repository = place.repository();
        let of_it = ["--name", "passing", "--json", "-r", repository.to_str().unwrap()];
        run(place.program.command(&[words, &of_it].concat())).expect(0)
    };
    passing(&["backup", place.source().to_str().unwrap()]);
    made.push((id(&backup(&place, &[]).expect(0).summary()), Manifest::of(&place.source()).unwrap()));
    change(&place, 2);
    made.push((id(&backup(&place, &[]).expect(0).summary()), Manifest::of(&place.source()).unwrap()));
    let forgotten = passing(&["forget", "--older-than", "0.0000001", "--allow-last"]).summary();
    assert_eq!(forgotten["removed"], 1);
    fill(&other, 3);
    backup(&other, &[]).expect(0);
    Scene { place, other, made, targets: 0.into() }
}

impl Scene {
    fn repository(&self) -> PathBuf {
        self.place.repository()
    }

    /// Restores a backup; what stands in the target afterwards is what the backup had.
    #[track_caller]
    fn restored_or_refused(&self, number: usize, what: &str) -> Outcome {
        let (id, expected) = &self.made[number];
        self.targets.set(self.targets.get() + 1);
        let target = format!("t{}", self.targets.get());
        let outcome = restore(&self.place, &target, &[id]);
        let path = self.place.target(&target);
        let there = if path.exists() { Manifest::of(&path).unwrap() } else { Manifest::default() };
        for (name, entry) in &there.entries {
            let name_shown = String::from_utf8_lossy(name);
            let was = expected.entries.get(name).unwrap_or_else(|| panic!("{what}: {name_shown} is made up"));
            if let Kind::File { .. } = entry.kind {
                assert_eq!(entry.kind, was.kind, "{what}: {name_shown}");
            }
        }
        match outcome.status {
            0 => crate::place::assert_equal(expected, &there, what),
            1 | 12 => {
                assert!(!outcome.of_type("error").is_empty(), "{what}: {outcome:?}");
            }
            other => panic!("{what}: exit status {other}: {outcome:?}"),
        }
        fs::remove_dir_all(path).unwrap_or(());
        outcome
    }

    /// `check --read-data` finds it, and names it.
    #[track_caller]
    fn check_names(&self, names: &str, what: &str) -> Outcome {
        let outcome = verb(&self.place, "check", &["--read-data"]);
        assert!(matches!(outcome.status, 1 | 12), "{what}: exit status {}: {outcome:?}", outcome.status);
        assert!(outcome.names(names), "{what}: {names} is not named: {outcome:?}");
        outcome
    }

    #[track_caller]
    fn is_clean(&self, what: &str) {
        let outcome = verb(&self.place, "check", &["--read-data"]);
        assert_eq!(outcome.status, 0, "{what}: {outcome:?}");
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Kind of a pack: 2 content, 3 metadata.
fn kind(path: &Path) -> u8 {
    fs::read(path).unwrap()[9]
}

fn packs(place: &Place, wanted: u8) -> Vec<PathBuf> {
    objects(place, "packs").into_iter().filter(|path| kind(path) == wanted).collect()
}

/// Every kind of object, by the pair that is of it.
fn families(place: &Place) -> Vec<(&'static str, Vec<PathBuf>)> {
    vec![
        ("content packs", packs(place, 2)),
        ("metadata packs", packs(place, 3)),
        ("indexes", objects(place, "index")),
        ("snapshots", objects(place, "snapshots")),
    ]
}

/// Where a change of one bit is tried: the header, the wrapped key, what is sealed, and the end.
fn places(length: usize) -> [usize; 5] {
    [8, 40, 60, length / 2, length - 1]
}

#[test]
fn a_bit_that_is_turned_is_found_in_every_object() {
    let scene = scene();
    let mut turn = 0;
    for folder in ["config", "packs", "index", "snapshots", "removals", "keys"] {
        for object in objects(&scene.place, folder) {
            let whole = fs::read(&object).unwrap();
            // Each object at one of the places, all places in turn: the library's own tests try every byte.
            turn += 1;
            let at = places(whole.len())[turn % 5];
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (turn % 8);
            fs::write(&object, &bytes).unwrap();
            let what = format!("byte {at} of {}", object.display());
            if folder == "keys" {
                // The only key: nothing opens, and nothing is said to be well.
                let outcome = verb(&scene.place, "check", &[]);
                assert!(matches!(outcome.status, 1 | 12), "{what}: {outcome:?}");
                scene.restored_or_refused(1, &what);
            } else {
                let outcome = scene.check_names(&name(&object), &what);
                assert!(folder == "config" || outcome.summary()["ok"] == false, "{what}");
                if folder == "config" {
                    scene.restored_or_refused(1, &what).expect(1);
                }
            }
            fs::write(&object, &whole).unwrap();
        }
    }
    scene.is_clean("as it was");
}

#[test]
fn objects_that_change_places_are_found_out() {
    let scene = scene();
    let mut pairs: Vec<(String, PathBuf, PathBuf)> = Vec::new();
    for (family, found) in families(&scene.place) {
        assert!(found.len() >= 2, "{family}: {found:?}");
        // The last two backups' own: what the forgotten one wrote is needed by the first as well.
        pairs.push((format!("two {family}"), found[0].clone(), found[1].clone()));
    }
    let first = |folder: &str| objects(&scene.place, folder)[0].clone();
    pairs.push(("a content and a metadata pack".into(), packs(&scene.place, 2)[0].clone(), {
        packs(&scene.place, 3)[0].clone()
    }));
    pairs.push(("an index and a snapshot".into(), first("index"), first("snapshots")));
    pairs.push(("a snapshot and a removal".into(), first("snapshots"), first("removals")));
    for (what, a, b) in pairs {
        let (of_a, of_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        fs::write(&a, &of_b).unwrap();
        fs::write(&b, &of_a).unwrap();
        let outcome = scene.check_names(&name(&a), &what);
        assert!(outcome.names(&name(&b)), "{what}: {outcome:?}");
        let outcomes = [0, 1].map(|number| scene.restored_or_refused(number, &what).status);
        // What indexes said is read from the packs.
        assert_eq!(outcomes.contains(&1), what != "two indexes", "{what}: {outcomes:?}");
        fs::write(&a, &of_a).unwrap();
        fs::write(&b, &of_b).unwrap();
    }
    scene.is_clean("as it was");
}

#[test]
fn what_another_repository_wrote_does_not_pass_for_ones_own() {
    let scene = scene();
    // Their bytes under our names.
    for ((what, ours), (_, theirs)) in families(&scene.place).into_iter().zip(families(&scene.other)) {
        let (ours, theirs) = (&ours[0], &theirs[0]);
        let whole = fs::read(ours).unwrap();
        fs::copy(theirs, ours).unwrap();
        scene.check_names(&name(ours), &format!("{what} of another"));
        let outcomes = [0, 1].map(|number| scene.restored_or_refused(number, what).status);
        assert_eq!(outcomes.contains(&1), what != "indexes", "{what}: {outcomes:?}");
        fs::write(ours, whole).unwrap();
    }
    // Their objects under their own names, beside ours, where they are in nobody's way.
    for folder in ["index", "snapshots", "removals", "keys", "packs"] {
        let Some(theirs) = objects(&scene.other, folder).into_iter().next() else { continue };
        let to = scene.repository().join(theirs.strip_prefix(scene.other.repository()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&theirs, &to).unwrap();
        let what = format!("{folder} of another, added");
        let check = verb(&scene.place, "check", &[]);
        let found = match folder {
            // Told, and no harm to what is here.
            "packs" | "keys" => check.expect(0).of_type("problem").iter().any(|line| {
                ["orphan", "stray"].iter().any(|kind| line["kind"] == *kind)
                    && line.to_string().contains(&name(&theirs))
            }),
            _ => check.expect(1).names(&name(&theirs)),
        };
        assert!(found, "{what}");
        scene.restored_or_refused(1, &what).expect(0);
        fs::remove_file(&to).unwrap();
        // A snapshot that was there and is gone is told once, whoever put it there.
        verb(&scene.place, "list", &[]).expect(0);
    }
    scene.is_clean("as it was");
}

#[test]
fn what_is_cut_or_taken_away_is_found() {
    let scene = scene();
    let needed = ["packs", "index", "snapshots", "keys", "config"];
    for (turn, object) in needed.iter().flat_map(|folder| objects(&scene.place, folder)).enumerate() {
        let whole = fs::read(&object).unwrap();
        let what = object.display().to_string();
        match turn % 3 {
            0 => fs::write(&object, &whole[..whole.len() / 2]).unwrap(),
            1 => fs::write(&object, []).unwrap(),
            _ => fs::write(&object, [&whole[..], &[0; 7]].concat()).unwrap(),
        }
        let found = verb(&scene.place, "check", &[]);
        assert!(matches!(found.status, 1 | 12), "{what}: {found:?}");
        let is_key = what.contains("/keys/");
        assert!(found.names(&name(&object)) || is_key, "{what}: {found:?}");
        fs::remove_file(&object).unwrap();
        let missing = verb(&scene.place, "check", &[]);
        assert!(matches!(missing.status, 1 | 12), "{what} is gone: {missing:?}");
        scene.restored_or_refused(turn % 2, &what);
        fs::write(&object, &whole).unwrap();
        // What was seen before is remembered; that it is back is no news.
        verb(&scene.place, "list", &[]).expect(0);
    }
    scene.is_clean("as it was");
}

#[test]
fn an_object_under_a_new_name_is_none() {
    let scene = scene();
    let fresh = "5eed".repeat(16);
    for folder in ["packs", "index", "snapshots", "removals"] {
        let object = objects(&scene.place, folder).pop().unwrap();
        let mut to = scene.repository().join("dedup").join(folder);
        if folder == "packs" {
            to.push(&fresh[..2]);
            fs::create_dir_all(&to).unwrap();
        }
        to.push(&fresh);
        fs::rename(&object, &to).unwrap();
        let check = verb(&scene.place, "check", &["--read-data"]).expect(1);
        assert!(
            check.names(&fresh) || check.of_type("problem").iter().any(|line| line["kind"] == "missing"),
            "{folder}: {check:?}"
        );
        let outcomes = [0, 1].map(|number| scene.restored_or_refused(number, folder).status);
        assert_eq!(outcomes.contains(&1), ["packs", "snapshots"].contains(&folder), "{folder}: {outcomes:?}");
        fs::rename(&to, &object).unwrap();
        verb(&scene.place, "list", &[]).expect(0);
    }
    scene.is_clean("as it was");
}

#[test]
fn damaged_indexes_cost_no_backup_and_the_next_run_takes_their_place() {
    let scene = scene();
    let indexes = objects(&scene.place, "index");
    assert!(indexes.len() >= 2);
    for index in &indexes {
        fs::write(index, "nothing of use").unwrap();
    }
    let found = verb(&scene.place, "check", &["--read-data"]).expect(1);
    // Each is named, and nothing else is wrong.
    assert_eq!(found.of_type("problem").len(), indexes.len(), "{found:?}");
    assert!(indexes.iter().all(|index| found.names(&name(index))));
    for number in [0, 1] {
        let restored = scene.restored_or_refused(number, "no index is sound").expect(0);
        assert!(restored.of_type("warning").len() >= indexes.len(), "{restored:?}");
    }
    let again = backup(&scene.place, &["--force"]).expect(0).summary();
    // Small files may be bundled anew; what is large is known to be there.
    assert!(again["stored_bytes"].as_u64().unwrap() < 100_000, "{again}");
    scene.is_clean("after a backup");
    for number in [0, 1] {
        let restored = scene.restored_or_refused(number, "after a backup").expect(0);
        assert!(restored.of_type("warning").is_empty(), "{restored:?}");
    }
}

/// Objects are never changed, so an older version of one is an object that was removed.
#[test]
fn what_was_removed_and_is_put_back_is_told() {
    let scene = scene();
    let first = &scene.made[0].0;
    let snapshot = scene.repository().join("dedup/snapshots").join(first);
    let bytes = fs::read(&snapshot).unwrap();
    verb(&scene.place, "forget", &["--keep-last", "1"]).expect(0);
    assert!(!snapshot.exists());
    let removal: Vec<PathBuf> = objects(&scene.place, "removals");
    fs::write(&snapshot, &bytes).unwrap();
    // A run that forgets and is killed leaves the same: it is no attack, and what was removed stays removed.
    let stray = verb(&scene.place, "check", &[]).expect(0);
    assert!(stray.names(first), "{stray:?}");
    scene.restored_or_refused(0, "put back").expect(1);
    // Without the record of the removal it is one.
    for removal in removal {
        fs::remove_file(removal).unwrap();
    }
    let told = verb(&scene.place, "check", &[]).expect(1);
    assert!(told.of_type("problem").iter().any(|line| line["kind"] == "rollback"), "{told:?}");
    assert!(told.names(first));
}

/// Whoever had a password and the slot it opens can put that slot back: it is seen among the keys, and told by whoever knew that it
/// was gone.
#[test]
fn a_key_that_is_put_back_is_listed_and_told() {
    let scene = scene();
    let repository = scene.repository();
    let old = objects(&scene.place, "keys").pop().unwrap();
    let bytes = fs::read(&old).unwrap();
    let new = scene.place.path().join("new");
    fs::write(&new, "another").unwrap();
    let key = |words: &[&str], password: &str| {
        let arguments = [&["key"], words, &["-r", repository.to_str().unwrap(), "--json"]].concat();
        let output =
            scene.place.program.command(&arguments).env("ICECORE_PASSWORD", password).output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    };
    key(&["passwd", "--new-password-file", new.to_str().unwrap()], PASSWORD).expect(0);
    key(&["list"], PASSWORD).expect(12);
    fs::write(&old, bytes).unwrap();
    let listed = key(&["list"], "another").expect(0);
    let is_old = |line: &Value| line["id"] == name(&old).as_str() && line["current"] == false;
    assert!(listed.of_type("key").iter().any(is_old));
    let is_told = |line: &Value| line["message"].as_str().unwrap().contains(&name(&old));
    assert!(listed.of_type("warning").iter().any(is_told), "{listed:?}");
    let told = verb(&scene.place, "check", &[]).expect(1);
    let problems = told.of_type("problem");
    assert!(problems.len() == 1 && problems[0]["kind"] == "rollback", "{told:?}");
    assert_eq!(problems[0]["object"], name(&old).as_str());
    verb(&scene.place, "check", &["--accept-rollback"]).expect(0);
    verb(&scene.place, "check", &[]).expect(0);
    let listed = key(&["list"], "another").expect(0);
    assert!(listed.of_type("warning").is_empty(), "{listed:?}");
}
