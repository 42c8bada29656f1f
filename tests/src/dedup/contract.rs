//! What scripts rely on: exit statuses, and the keys of every JSON line.

use super::{backup, init, list, objects, restore, run, verb};
use crate::place::{Place, assert_equal, id};
use crate::program::Outcome;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::attributes::set_mode;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;

/// The keys of a line, in alphabetical order.
fn keys(line: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[track_caller]
fn has_keys(line: &Value, expected: &str) {
    let mut expected: Vec<&str> = expected.split_whitespace().chain(["type"]).collect();
    expected.sort_unstable();
    assert_eq!(keys(line), expected, "{line}");
}

/// `icecore … -r REPOSITORY --json`, with the password.
fn plain(place: &Place, words: &[&str]) -> Outcome {
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.extend(["--json".into(), "-r".into(), place.repository().into()]);
    run(place.program.command(&arguments))
}

#[test]
fn every_json_line_has_its_keys() {
    let place = Place::new();
    has_keys(&init(&place, &[]).expect(0).summary(), "location repository vault encryption");
    place.write(&[("a", "content")]);
    let made = backup(&place, &["--tag", "t"]).expect(0).summary();
    has_keys(
        &made,
        "id engine name host series level chain timestamp time files bytes stored_bytes errors reason dry_run",
    );
    assert_eq!(
        (&made["engine"], &made["level"], &made["chain"]),
        (&"dedup".into(), &0.into(), &made["timestamp"])
    );
    let listed = list(&place).pop().unwrap();
    has_keys(
        &listed,
        "id engine host name series level chain timestamp time complete problem stored_bytes files bytes errors \
         compression encryption tags by_icecore paths",
    );
    for key in
        ["id", "engine", "name", "host", "series", "level", "timestamp", "time", "files", "bytes", "errors"]
    {
        assert_eq!(made[key], listed[key], "{key}");
    }
    assert_eq!((&listed["stored_bytes"], &listed["encryption"]), (&made["stored_bytes"], &true.into()));
    assert_eq!(listed["tags"], serde_json::json!(["t"]));
    let restored = restore(&place, "t", &[]).expect(0).summary();
    has_keys(&restored, "id series levels files bytes kept unchanged verified problems dry_run");
    assert_eq!((&restored["id"], &restored["levels"]), (&made["id"], &serde_json::json!([0])));
    let checked = verb(&place, "check", &["--read-data"]).expect(0).summary();
    has_keys(&checked, "backups problems orphans cleaned read_data read_bytes ok");
    assert_eq!((&checked["ok"], &checked["backups"]), (&true.into(), &1.into()));
    let forgotten = verb(&place, "forget", &["--keep-last", "1"]).expect(0);
    has_keys(&forgotten.summary(), "removed kept dry_run");
    has_keys(&forgotten.of_type("chain")[0], "chain engine series backups ids action reasons");
    assert_eq!(forgotten.of_type("chain")[0]["ids"], serde_json::json!([made["id"]]));
    has_keys(&plain(&place, &["key", "list"]).expect(0).of_type("key")[0], "id label created time current");
    let error = restore(&place, "t", &[]).expect(1).explained().of_type("error").pop().unwrap();
    has_keys(&error, "kind message hint may_pass exit");
    assert_eq!(error["kind"], "already_exists");
    let snapshot = objects(&place, "snapshots").pop().unwrap();
    fs::write(snapshot, "").unwrap();
    has_keys(&verb(&place, "list", &[]).expect(0).of_type("damaged")[0], "id error");
    has_keys(&verb(&place, "check", &[]).expect(1).of_type("problem")[0], "kind object error");
}

#[test]
fn exit_statuses_tell_what_happened() {
    let place = Place::new();
    place.write(&[("a", "content")]);
    // 10: no repository, whatever is asked of it.
    for words in [&["list"][..], &["check"], &["key", "list"], &["forget", "--keep-last", "1"], &["info"]] {
        let outcome = plain(&place, words);
        assert_eq!(outcome.status, 10, "{words:?}: {outcome:?}");
        assert_eq!(outcome.explained().of_type("error")[0]["kind"], "no_repository");
    }
    backup(&place, &[]).expect(10).explained();
    restore(&place, "t", &[]).expect(10).explained();
    assert!(!place.repository().exists() && !place.target("t").exists());
    init(&place, &[]).expect(0);
    // 1: failed.
    init(&place, &[]).expect(1).explained();
    restore(&place, "t", &[]).expect(1).explained();
    assert_eq!(list(&place).len(), 0);
    verb(&place, "check", &[]).expect(0);
    verb(&place, "forget", &["--keep-last", "1"]).expect(0);
    backup(&place, &[]).expect(0);
    restore(&place, "t", &["latest~1"]).expect(1).explained();
    restore(&place, "t", &["0123456789abcdef"]).expect(1).explained();
    restore(&place, "t", &["no id"]).expect(1).explained();
    restore(&place, "t", &["--at", "@5"]).expect(1).explained();
    plain(&place, &["backup", "/nowhere/at/all"]).expect(1).explained();
    assert_eq!(list(&place).len(), 1);
    // 2: wrong usage.
    for words in [
        &["backup"][..],
        &["backup", "--engine", "none", "/"],
        &["backup", "--jobs", "x", "/"],
        &["backup", "--read-concurrency", "-1", "/"],
        &["backup", "--engine", "tar", "--no-encryption", "--read-concurrency", "2", "/"],
        &["backup", "--compression", "99", "/"],
        &["backup", "--compression", "-99", "/"],
        &["backup", place.repository().to_str().unwrap()],
        &["restore"],
        &["restore", "--target", "/t", "--include", "../x"],
        &["restore", "--target", "/t", "--delete"],
        &["forget", "--older-than", "x"],
        &["check", "--read-data-subset", "much"],
        &["key"],
        &["nothing"],
    ] {
        let outcome = plain(&place, words);
        assert_eq!(outcome.status, 2, "{words:?}: {outcome:?}");
    }
    let subset = plain(&place, &["check", "--read-data-subset", "much"]).of_type("error").pop().unwrap();
    assert!(subset["message"].as_str().unwrap().contains("such as 5%"), "{subset}");
    // 130: interrupted; 11: busy; 12: wrong password: see the tests of those.
}

#[test]
fn an_address_or_a_setting_that_is_wrong_is_no_missing_repository() {
    let place = Place::new();
    for address in [
        "",
        "nothing://of/this/kind",
        "s3://bucket/x?endpoint=http://127.0.0.1:1&region=here&profile=absent",
        "webdavs://127.0.0.1:1/x?ca=/nowhere/at/all",
        "ftps://127.0.0.1:1/x?ca=/nowhere/at/all",
        "sftp://me@127.0.0.1:1/x?config=/nowhere/at/all",
    ] {
        let outcome = run(place.program.command(&["list", "--json", "--retries", "0", "-r", address]));
        assert_eq!(outcome.status, 2, "{address}: {outcome:?}");
        outcome.explained();
    }
}

#[test]
fn what_is_dated_ahead_and_stays_the_latest_is_told() {
    let place = Place::new();
    init(&place, &[]).expect(0);
    place.write(&[("a", "content")]);
    let told = |outcome: &Outcome| {
        let warnings = outcome.of_type("warning");
        warnings.iter().any(|one| one["message"].as_str().unwrap().contains("still to come"))
    };
    assert!(!told(&backup(&place, &["--compression", "-3"]).expect(0)));
    let ahead = backup(&place, &["--time", "2199-01-01T00:00:00Z"]).expect(0);
    assert!(!told(&ahead), "it was said so");
    let today = backup(&place, &[]).expect(0);
    assert!(told(&today), "{today:?}");
    assert_eq!(restore(&place, "t", &["latest"]).expect(0).summary()["id"], ahead.summary()["id"]);
}

#[test]
fn what_cannot_be_read_is_status_three_and_is_named() {
    let place = Place::unprivileged();
    init(&place, &[]).expect(0);
    place.write(&[("a", "1"), ("secret", "2"), ("closed/inside", "3")]);
    for name in ["secret", "closed"] {
        set_mode(&place.source().join(name), 0).unwrap();
    }
    let outcome = backup(&place, &[]).expect(3);
    for name in ["secret", "closed"] {
        let lines = outcome.of_type("problem");
        let line = lines.iter().find(|line| line["path"].as_str().is_some_and(|path| path.ends_with(name)));
        has_keys(line.expect(name), "path error lost");
        assert_eq!(line.unwrap()["lost"], true);
    }
    assert_eq!((&outcome.summary()["errors"], &list(&place)[0]["errors"]), (&2.into(), &2.into()));
    // The backup says what it lacks; a restore of it is whole as far as it goes.
    let targets = place.path().join("targets");
    fs::create_dir(&targets).unwrap();
    place.program.give(&targets);
    let restored = restore(&place, "t", &[]).expect(0);
    assert!(
        restored.of_type("warning").iter().any(|line| line.to_string().contains("secret")),
        "{restored:?}"
    );
    assert!(place.target("t").join("a").exists() && !place.target("t").join("secret").exists());
    verb(&place, "check", &["--read-data"]).expect(0);
    // What is readable again is read, and was not forgotten.
    set_mode(&place.source().join("secret"), 0o644).unwrap();
    set_mode(&place.source().join("closed"), 0o755).unwrap();
    assert_eq!(backup(&place, &[]).expect(0).summary()["errors"], 0);
    restore(&place, "whole", &[]).expect(0);
    assert_equal(
        &Manifest::of(&place.source()).unwrap(),
        &Manifest::of(&place.target("whole")).unwrap(),
        "whole",
    );
}

#[test]
fn dry_runs_write_nothing() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    // Where there is no repository, a rehearsal says that one would be made, and what would be in it.
    for engine in [&[][..], &["--engine", "tar", "--no-encryption"]] {
        let rehearsed = backup(&place, &[&["--dry-run", "--init"], engine].concat()).expect(0);
        let made = &rehearsed.of_type("repository")[0];
        assert_eq!(
            (&made["action"], made["location"].as_str()),
            (&"would make".into(), place.repository().to_str())
        );
        let summary = rehearsed.summary();
        assert_eq!((&summary["dry_run"], &summary["files"]), (&true.into(), &1.into()));
        backup(&place, &[&["--dry-run"], engine].concat()).expect(10);
        assert!(!place.repository().exists());
    }
    fs::create_dir(place.repository()).unwrap();
    fs::write(place.repository().join("mine"), "mine").unwrap();
    backup(&place, &["--dry-run", "--init"]).expect(1).explained();
    fs::remove_dir_all(place.repository()).unwrap();
    init(&place, &[]).expect(0);
    let first = backup(&place, &[]).expect(0).summary();
    place.write(&[("a", "2"), ("b", "3")]);
    backup(&place, &[]).expect(0);
    place.write(&[("c", "4")]);
    let before = Manifest::of(&place.repository()).unwrap();
    let summary = backup(&place, &["--dry-run"]).expect(0).summary();
    assert_eq!(
        (&summary["dry_run"], &summary["id"], &summary["files"]),
        (&true.into(), &Value::Null, &3.into())
    );
    backup(&place, &["--dry-run", "--force"]).expect(0);
    let summary = restore(&place, "t", &["--dry-run", &id(&first)]).expect(0).summary();
    assert_eq!((&summary["dry_run"], &summary["files"]), (&true.into(), &1.into()));
    assert!(!place.target("t").exists());
    let summary = verb(&place, "forget", &["--keep-last", "1", "--dry-run"]).expect(0).summary();
    assert_eq!((&summary["dry_run"], &summary["removed"]), (&true.into(), &1.into()));
    let stream = verb(&place, "backup", &["--dry-run", "--stdin-from-command", "--", "echo", "x"]).expect(0);
    assert_eq!(stream.summary()["id"], Value::Null);
    for reads in ["list", "check"] {
        verb(&place, reads, &[]).expect(0);
    }
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "the repository");
    // A target that is there stays as it is, too.
    fs::create_dir_all(place.target("used")).unwrap();
    fs::write(place.target("used").join("mine"), "mine").unwrap();
    let used = Manifest::of(&place.target("used")).unwrap();
    restore(&place, "used", &["--dry-run", "--overwrite", "--delete"]).expect(0);
    assert_equal(&used, &Manifest::of(&place.target("used")).unwrap(), "the target");
}
