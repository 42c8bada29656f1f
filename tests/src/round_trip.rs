//! What goes in comes out: every kind of entry, every attribute, every level, every compression.

use crate::place::{Place, assert_equal, id};
use icecore_testkit::manifest::{Manifest, Options, diff};
use icecore_testkit::tree::{Features, SCRIPTED_STEPS};
use serde_json::Value;
use std::fs;

/// Backs up the tree and every step of its history; gives what each level must restore to.
fn history(
    place: &Place,
    seed: u64,
    steps: std::ops::RangeInclusive<u32>,
    more: &[&str],
) -> Vec<(Value, Manifest)> {
    let arguments = [&["--incremental"], more].concat();
    let mut tree = place.tree(seed, Features::all());
    let mut levels = Vec::new();
    let first = place.backup(&arguments).expect(0).summary();
    levels.push((first, Manifest::of(tree.root()).unwrap()));
    for step in steps {
        tree.mutate(step).unwrap();
        let summary = place.backup(&arguments).expect(0).summary();
        levels.push((summary, Manifest::of(tree.root()).unwrap()));
    }
    levels
}

#[test]
fn four_levels_are_each_restored_equal_by_id_and_by_time() {
    let place = Place::new();
    let levels = history(&place, 1, 1..=SCRIPTED_STEPS, &[]);
    for (number, (summary, expected)) in levels.iter().enumerate() {
        assert_eq!((&summary["level"], &summary["errors"]), (&number.into(), &0.into()), "{summary}");
        let by_id = place.restored(&format!("id-{number}"), &id(summary));
        assert_equal(expected, &by_id, &format!("level {number} by id"));

        let unix = format!("@{}", summary["timestamp"]);
        place.restore(&format!("unix-{number}"), &["--at", &unix]).expect(0);
        let by_time = Manifest::of(&place.target(&format!("unix-{number}"))).unwrap();
        assert_equal(expected, &by_time, &format!("level {number} at {unix}"));
    }
    let rfc3339 = levels[2].0["time"].as_str().unwrap();
    place.restore("rfc3339", &["--at", rfc3339]).expect(0);
    assert_equal(&levels[2].1, &Manifest::of(&place.target("rfc3339")).unwrap(), "level 2 by RFC 3339");
    place.check_is_clean();
}

#[test]
fn a_restore_names_the_levels_it_replays() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let ids: Vec<String> = (0..3).map(|_| id(&place.increment())).collect();
    let summary = place.restore("t", &[&ids[2]]).expect(0).summary();
    assert_eq!(summary["levels"], serde_json::json!([0, 1, 2]));
    assert_eq!((&summary["id"], &summary["problems"]), (&ids[2].as_str().into(), &0.into()));
}

#[test]
fn random_histories_are_restored_equal() {
    for seed in [11, 12, 13] {
        let place = Place::new();
        // Steps beyond the script are random; the seed decides what they do.
        let levels = history(&place, seed, SCRIPTED_STEPS + 1..=SCRIPTED_STEPS + 6, &[]);
        for (number, (summary, expected)) in levels.iter().enumerate().skip(1) {
            let restored = place.restored(&number.to_string(), &id(summary));
            assert_equal(expected, &restored, &format!("seed {seed}, level {number}"));
        }
    }
}

#[test]
fn every_compression_gives_back_what_it_took() {
    for compression in ["zstd", "gzip", "bzip2", "xz", "none"] {
        let place = Place::new();
        let levels = history(&place, 2, 1..=1, &["--compression", compression]);
        for (number, (summary, expected)) in levels.iter().enumerate() {
            let restored = place.restored(&number.to_string(), &id(summary));
            assert_equal(expected, &restored, &format!("{compression}, level {number}"));
        }
        assert!(place.list().iter().all(|backup| backup["compression"] == compression));
        place.check_is_clean();
    }
}

#[test]
fn a_level_without_changes_stores_next_to_nothing() {
    let place = Place::new();
    place.tree(3, Features::all());
    let full = place.increment()["stored_bytes"].as_u64().unwrap();
    let unchanged = place.increment()["stored_bytes"].as_u64().unwrap();
    assert!(unchanged * 20 < full, "{unchanged} bytes without changes, {full} for all");
}

#[test]
fn latest_is_the_default_and_can_be_said() {
    let place = Place::new();
    place.write(&[("a", "old")]);
    place.increment();
    place.write(&[("a", "new")]);
    place.increment();
    place.restore("default", &[]).expect(0);
    place.restore("said", &["latest"]).expect(0);
    for target in ["default", "said"] {
        assert_eq!(fs::read_to_string(place.target(target).join("a")).unwrap(), "new");
    }
}

#[test]
fn a_socket_is_named_and_left_out() {
    let place = Place::new();
    let features = Features { sockets: true, ..Features::all() };
    let tree = place.tree(4, features);
    let outcome = place.backup(&[]);
    assert!(outcome.names("special/socket"), "{outcome:?}");
    let lost = outcome.of_type("problem").iter().any(|problem| problem["lost"] == true);
    let outcome = outcome.expect(if lost { 3 } else { 0 });
    let restored = place.restored("t", &id(&outcome.summary()));
    let expected = Manifest::of(tree.root()).unwrap();
    assert_equal(&expected, &restored, "all but the socket");
    let options = Options { ignore_sockets: false, ..Options::default() };
    assert_eq!(diff(&expected, &restored, &options).len(), 1);
}

#[test]
fn an_empty_directory_is_a_backup_too() {
    let place = Place::new();
    let expected = Manifest::of(&place.source()).unwrap();
    let summary = place.increment();
    assert_eq!(summary["files"], 0);
    assert_equal(&expected, &place.restored("t", &id(&summary)), "nothing but the top");
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    place.backup(&["--dry-run"]);
    assert!(!place.repository().exists());
    place.increment();
    let before = Manifest::of(&place.repository()).unwrap();
    place.write(&[("a", "2")]);
    let summary = place.backup(&["--incremental", "--dry-run"]).expect(0).summary();
    assert_eq!((&summary["dry_run"], &summary["level"]), (&true.into(), &1.into()));
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "the repository");
}

#[test]
fn levels_follow_the_policy() {
    let levels = |more: &[&str], runs: usize| -> Vec<u64> {
        let place = Place::new();
        place.write(&[("a", "1")]);
        let more = [&["--incremental"], more].concat();
        (0..runs).map(|_| place.backup(&more).expect(0).summary()["level"].as_u64().unwrap()).collect()
    };
    assert_eq!(levels(&[], 4), [0, 1, 2, 3]);
    assert_eq!(levels(&["--max-level", "2"], 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(levels(&["--always-level", "2"], 5), [0, 1, 2, 2, 2]);
    let place = Place::new();
    place.write(&[("a", "1")]);
    assert_eq!([0, 0], [0, 1].map(|_| place.backup(&[]).expect(0).summary()["level"].as_u64().unwrap()));
}

#[test]
fn a_list_tells_what_the_backups_told() {
    let place = Place::new();
    place.write(&[("a", "12345"), ("b/c", "678")]);
    let told: Vec<Value> = (0..3).map(|_| place.increment()).collect();
    let listed = place.list();
    assert_eq!(told.len(), listed.len());
    for (told, listed) in told.iter().zip(&listed) {
        for key in [
            "id",
            "engine",
            "name",
            "host",
            "level",
            "chain",
            "timestamp",
            "time",
            "files",
            "bytes",
            "errors",
        ] {
            assert_eq!(told[key], listed[key], "{key} of {listed}");
        }
        assert_eq!((&listed["complete"], &listed["by_icecore"]), (&true.into(), &true.into()));
    }
    assert!(listed.windows(2).all(|pair| pair[0]["timestamp"].as_i64() < pair[1]["timestamp"].as_i64()));
    assert_eq!((&told[0]["files"], &told[0]["bytes"]), (&2.into(), &8.into()));
}

#[test]
fn info_describes_the_repository() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    place.increment();
    place.increment();
    let repository = place.repository();
    let arguments = ["info", "-r", repository.to_str().unwrap(), "--json"];
    let info = place.program.run(&arguments).expect(0).of_type("repository").pop().unwrap();
    assert_eq!(info["backups"], 2);
    assert_eq!(info["series"].as_array().map(Vec::len), Some(1));
}
