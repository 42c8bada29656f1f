//! What is damaged, missing or set back in a repository is noticed, and named with the backups that need it.

use super::{backup, list, objects, place, restore, verb};
use crate::place::{Place, assert_equal, id};
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::path::Path;

/// Changes a byte in the middle.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// A place with two backups, the first of which has a large file of its own; and their ids.
fn two_backups() -> (Place, String, String) {
    let place = place();
    let mut noise: u64 = 7;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (noise >> 33) as u8 % 64)
    };
    let content: String = (0..700_000).map(|_| next()).collect();
    place.write(&[("only-here", &content), ("small", "in both")]);
    let first = id(&backup(&place, &[]).expect(0).summary());
    fs::remove_file(place.source().join("only-here")).unwrap();
    place.settle();
    let second = id(&backup(&place, &[]).expect(0).summary());
    (place, first, second)
}

fn largest_pack(place: &Place) -> std::path::PathBuf {
    objects(place, "packs").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_damaged_pack_is_named_with_what_needs_it() {
    let (place, first, _) = two_backups();
    flip(&largest_pack(&place));
    // Lengths are right: only reading finds it.
    verb(&place, "check", &[]).expect(0);
    let found = verb(&place, "check", &["--read-data"]).expect(1);
    assert!(found.names("only-here") && found.names(&first[..12]), "{found:?}");
    assert!(!found.names("small"), "{found:?}");
    restore(&place, "first", &[&first]).expect(1);
    assert!(!place.target("first").join("only-here").exists());
    assert_eq!(fs::read_to_string(place.target("first").join("small")).unwrap(), "in both");
    restore(&place, "second", &[]).expect(0);
}

#[test]
fn a_missing_or_short_pack_is_found_without_reading() {
    let (place, first, second) = two_backups();
    let pack = largest_pack(&place);
    let whole = fs::read(&pack).unwrap();
    fs::write(&pack, &whole[..whole.len() - 1]).unwrap();
    let short = verb(&place, "check", &[]).expect(1);
    assert!(short.of_type("problem").iter().any(|finding| finding["kind"] == "damaged"), "{short:?}");
    fs::remove_file(&pack).unwrap();
    let missing = verb(&place, "check", &[]).expect(1);
    assert!(missing.of_type("problem").iter().any(|finding| finding["kind"] == "missing"), "{missing:?}");
    assert!(missing.names("only-here") && missing.names(&first[..12]), "{missing:?}");
    // What only one backup has, only that one is named for.
    let of_one =
        missing.of_type("problem").into_iter().find(|finding| finding.to_string().contains("only-here"));
    assert!(!of_one.unwrap().to_string().contains(&second[..12]), "{missing:?}");
    fs::write(&pack, &whole).unwrap();
    verb(&place, "check", &["--read-data-subset", "100%"]).expect(0);
}

#[test]
fn parts_of_the_data_are_read_in_turn() {
    let (place, ..) = two_backups();
    let read = |part: &str| {
        verb(&place, "check", &["--read-data-subset", part]).expect(0).summary()["read_bytes"]
            .as_u64()
            .unwrap()
    };
    let all = verb(&place, "check", &["--read-data"]).expect(0).summary()["read_bytes"].as_u64().unwrap();
    assert_eq!(read("1/3") + read("2/3") + read("3/3"), all);
    assert!(read("1%") > 0 && read("1%") < all);
    verb(&place, "check", &["--read-data-subset", "4/3"]).expect(2);
}

#[test]
fn a_damaged_snapshot_is_said_wherever_backups_are_looked_for() {
    let (place, first, second) = two_backups();
    flip(&place.repository().join("dedup/snapshots").join(&second));
    let listed = verb(&place, "list", &[]).expect(0);
    assert_eq!(listed.of_type("damaged")[0]["id"], second.as_str());
    assert_eq!(listed.of_type("backup").len(), 1);
    // It may be the latest: which one is wanted has to be said.
    assert!(restore(&place, "latest", &[]).expect(1).explained().names(&second));
    let restored = restore(&place, "first", &[&first]).expect(0);
    assert_eq!(id(&restored.summary()), first);
    assert!(
        restored.of_type("warning").iter().any(|line| line.to_string().contains(&second)),
        "{restored:?}"
    );
    assert!(verb(&place, "check", &[]).expect(1).names(&second));
    let forgotten = verb(&place, "forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(forgotten.summary()["kept"], 1);
    assert!(place.repository().join("dedup/snapshots").join(&second).exists());
}

#[test]
fn a_repository_that_was_set_back_is_noticed() {
    let (place, first, second) = two_backups();
    assert_eq!(list(&place).len(), 2);
    fs::remove_file(place.repository().join("dedup/snapshots").join(&second)).unwrap();
    let checked = verb(&place, "check", &[]).expect(1);
    assert!(checked.of_type("problem").iter().any(|finding| finding["kind"] == "rollback"), "{checked:?}");
    assert!(checked.names(&second));
    // Told until it is said that it is meant.
    verb(&place, "check", &[]).expect(1);
    verb(&place, "check", &["--accept-rollback"]).expect(0);
    verb(&place, "check", &[]).expect(0);
    fs::remove_file(place.repository().join("dedup/snapshots").join(&first)).unwrap();
    let warned = verb(&place, "list", &[]).expect(0);
    assert!(warned.of_type("warning").iter().any(|line| line.to_string().contains(&first)), "{warned:?}");
}

#[test]
fn a_lost_pack_is_not_relied_on_and_what_it_held_is_stored_again() {
    let place = place();
    place.write(&[("a", "content of a"), ("b/c", "content of c")]);
    backup(&place, &[]).expect(0);
    for pack in objects(&place, "packs") {
        fs::remove_file(pack).unwrap();
    }
    for more in [&[][..], &["--force"]] {
        let outcome = backup(&place, more).expect(0);
        assert!(!outcome.of_type("warning").is_empty(), "{outcome:?}");
        let target = format!("t{}", more.len());
        restore(&place, &target, &["latest"]).expect(0);
        assert_equal(
            &Manifest::of(&place.source()).unwrap(),
            &Manifest::of(&place.target(&target)).unwrap(),
            "what was stored again",
        );
    }
}

#[test]
fn a_lost_index_is_read_back_from_the_packs() {
    let place = place();
    place.write(&[("a", "content of a"), ("b/c", "content of c")]);
    backup(&place, &[]).expect(0);
    for index in objects(&place, "index") {
        fs::remove_file(index).unwrap();
    }
    restore(&place, "before", &["latest"]).expect(0);
    let again = backup(&place, &["--force"]).expect(0).summary();
    assert!(again["stored_bytes"].as_u64().unwrap() < 10_000, "{again}");
    verb(&place, "check", &["--read-data"]).expect(0);
    restore(&place, "after", &["latest"]).expect(0);
    let source = Manifest::of(&place.source()).unwrap();
    for target in ["before", "after"] {
        assert_equal(&source, &Manifest::of(&place.target(target)).unwrap(), target);
    }
}

/// Every verb that looks into backups, with what it is given; each ends with 0.
fn looks(place: &Place) -> Vec<(&'static str, crate::program::Outcome)> {
    let target = place.path().join("looked");
    let out = target.to_str().unwrap();
    let words: [(&str, &[&str]); 7] = [
        ("ls", &["latest", "-R"]),
        ("find", &["small"]),
        ("find", &["--all", "only-here"]),
        ("diff", &["latest~1", "latest"]),
        ("dump", &["latest~1:only-here", "-o", out, "--overwrite"]),
        ("dump", &["latest~1", "--format", "zip", "-o", out, "--overwrite"]),
        ("stats", &["--by-backup"]),
    ];
    words.into_iter().map(|(name, more)| (name, verb(place, name, more).expect(0))).collect()
}

/// What they say, without what only speaks of the index.
fn answers(place: &Place) -> Vec<String> {
    let told = looks(place).into_iter().map(|(_, outcome)| {
        let mut lines = Vec::new();
        for kind in ["entry", "match", "difference", "backup", "summary"] {
            lines.extend(outcome.of_type(kind));
        }
        // How many objects there are is what was changed.
        lines.iter_mut().filter_map(|line| line.as_object_mut()).for_each(|line| {
            line.remove("indexes");
        });
        lines.iter().map(|line| format!("{line}\n")).collect()
    });
    told.collect()
}

#[test]
fn no_index_is_needed_to_look_into_backups_and_one_that_is_damaged_or_lost_is_told() {
    let (place, ..) = two_backups();
    let before = answers(&place);
    assert!(before.iter().all(|told| !told.is_empty()));
    assert!(looks(&place).iter().all(|(_, outcome)| outcome.of_type("warning").is_empty()));
    let indexes = objects(&place, "index");
    flip(&indexes[0]);
    assert_eq!(answers(&place), before, "one is damaged");
    for index in &indexes {
        fs::write(index, "nothing of use").unwrap();
    }
    assert_eq!(answers(&place), before, "all are damaged");
    let warned = |name: &str, outcome: &crate::program::Outcome| {
        assert!(!outcome.of_type("warning").is_empty(), "{name}: {outcome:?}");
    };
    looks(&place).iter().for_each(|(name, outcome)| warned(name, outcome));
    for index in &indexes {
        fs::remove_file(index).unwrap();
    }
    assert_eq!(answers(&place), before, "all are lost");
    looks(&place).iter().for_each(|(name, outcome)| warned(name, outcome));
}

/// What can be looked at without the pack is; what needs it is not handed out.
#[test]
fn a_lost_pack_stops_only_what_needs_it() {
    let (place, first, second) = two_backups();
    let lost = largest_pack(&place);
    place.write(&[("later", "in a pack of its own")]);
    backup(&place, &[]).expect(0);
    fs::remove_file(lost).unwrap();
    for backup in [&first, &second] {
        let listed = verb(&place, "ls", &[backup, "-R"]).expect(0);
        assert!(!listed.of_type("warning").is_empty() && !listed.of_type("entry").is_empty());
    }
    verb(&place, "diff", &[&first, &second]).expect(0);
    verb(&place, "cat", &[&format!("{first}:only-here")]).expect(1).explained();
    let out = place.path().join("out");
    verb(&place, "dump", &["latest:later", "-o", out.to_str().unwrap()]).expect(0);
    assert_eq!(fs::read_to_string(out).unwrap(), "in a pack of its own");
    // What is not there cannot be counted, and that is said.
    let stats = verb(&place, "stats", &[]).expect(3);
    assert!(stats.summary()["missing"].as_u64().unwrap() > 0, "{stats:?}");
}
