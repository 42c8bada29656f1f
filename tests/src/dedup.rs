//! Encrypted, deduplicated backups: init, passwords, what is listed and restored, what is checked and forgotten, and a repository
//! that holds tar backups beside them.

mod contract;
mod damage;
mod everything;
mod impostor;
mod input;
mod keys;
mod losses;
mod measured;
mod passwords;
mod racy;
mod secrecy;
mod sessions;
mod tampering;

use crate::in_memory::create_vault;
use crate::place::{HOST, NAME, Place, assert_equal, id};
use crate::program::Outcome;
use crate::running::Running;
use icecore::repository::Repository;
use icecore::repository::vault::{Password, Process};
use icecore::storage::local::Local;
use icecore::time::Timestamp;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::Features;
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub const PASSWORD: &str = "correct horse";

/// A place whose repository opens with [`PASSWORD`], and which has been made.
pub fn place() -> Place {
    let place = Place::new();
    init(&place, &[]).expect(0);
    place
}

/// As [`place`], with a repository that takes next to no time to open.
pub fn cheap_place() -> Place {
    let place = Place::new();
    init_cheaply(&place);
    place
}

/// Makes a repository whose password costs next to nothing.
pub fn init_cheaply(place: &Place) {
    let storage = Arc::new(Local::create(place.repository()).unwrap());
    Repository::create(Arc::clone(&storage) as _, &[7; 16]).unwrap();
    create_vault(storage).unwrap();
}

/// Everything is read and nothing may be wrong; what a killed run left is told, and no problem.
#[track_caller]
pub fn check_is_clean(place: &Place) -> Value {
    let checked = verb(place, "check", &["--read-data"]).expect(0);
    assert_eq!(checked.summary()["problems"], 0, "{checked:?}");
    checked.summary()
}

/// Makes the repository.
pub fn init(place: &Place, more: &[&str]) -> Outcome {
    let repository = place.repository();
    let arguments = [&["init", "-r", repository.to_str().unwrap(), "--json"], more].concat();
    run(place.program.command(&arguments))
}

/// Runs a command that knows the password.
pub fn run(mut command: Command) -> Outcome {
    let output = command.env("ICECORE_PASSWORD", PASSWORD).output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

/// `icecore VERB …` of the series, with the password.
pub fn verb(place: &Place, verb: &str, more: &[&str]) -> Outcome {
    run(place.program.command(&place.arguments(verb, more)))
}

/// Backs the source up.
pub fn backup(place: &Place, more: &[&str]) -> Outcome {
    let mut arguments = place.arguments("backup", more);
    arguments.push(place.source().into());
    run(place.program.command(&arguments))
}

pub fn restore(place: &Place, target: &str, more: &[&str]) -> Outcome {
    run(place.program.command(&place.restore_arguments(&place.target(target), more)))
}

#[track_caller]
fn restored(place: &Place, target: &str, backup: &str) -> Manifest {
    restore(place, target, &[backup]).expect(0);
    Manifest::of(&place.target(target)).unwrap()
}

#[track_caller]
pub fn list(place: &Place) -> Vec<Value> {
    verb(place, "list", &[]).expect(0).of_type("backup")
}

/// The stored objects of one folder of the vault, in order.
pub fn objects(place: &Place, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![place.repository().join("dedup").join(folder)];
    while let Some(path) = todo.pop() {
        match path.is_dir() {
            true => todo.extend(crate::place::entries(&path)),
            false if path.exists() => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// Waits for the next second. What was changed in the second in which it is read is read once more by the next backup, and its
/// entries are stored anew.
pub fn let_the_second_pass(place: &Place) {
    let second = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs()
    };
    // What changed less than two seconds before it was read is read again.
    let before = second();
    while second() < before + 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    place.settle();
}

#[test]
fn every_backup_comes_back_as_it_was() {
    let place = place();
    let mut tree = place.tree(11, Features::all());
    let mut made = Vec::new();
    for step in 0..3 {
        let summary = backup(&place, &[]).expect(0).summary();
        assert_eq!((&summary["engine"], &summary["level"]), (&"dedup".into(), &0.into()));
        made.push((id(&summary), Manifest::of(&place.source()).unwrap()));
        tree.mutate(step + 1).unwrap();
        place.settle();
    }
    let listed = list(&place);
    assert_eq!(
        listed.iter().map(id).collect::<Vec<_>>(),
        made.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
    );
    for (number, (id, manifest)) in made.iter().enumerate() {
        assert_equal(manifest, &restored(&place, &format!("by-id-{number}"), id), id);
    }
    assert_equal(&made[1].1, &restored(&place, "before", "latest~1"), "latest~1");
    // Any head of an id that nobody else has.
    assert_equal(&made[0].1, &restored(&place, "by-head", &made[0].0[..12]), "the head of an id");
    let clean = verb(&place, "check", &["--read-data"]).expect(0).summary();
    assert_eq!((&clean["problems"], &clean["backups"]), (&0.into(), &3.into()));
    assert!(clean["read_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn nothing_is_stored_twice() {
    let place = place();
    let content: String = (0..40_000).map(|n| format!("{}\n", n * n)).collect();
    place.write(&[("a", &content), ("b/c", &content)]);
    let_the_second_pass(&place);
    let first = backup(&place, &[]).expect(0).summary();
    assert!(first["stored_bytes"].as_u64().unwrap() < content.len() as u64);
    let second = backup(&place, &[]).expect(0).summary();
    assert_eq!((&second["stored_bytes"], &second["files"]), (&0.into(), &2.into()));
    let all_read = backup(&place, &["--force"]).expect(0).summary();
    assert!(all_read["reason"].as_str().unwrap().contains("every file was read"));
    assert_eq!(all_read["files"], 2);
    let from = backup(&place, &["--parent", &id(&first)[..8]]).expect(0).summary();
    assert!(from["reason"].as_str().unwrap().contains(&id(&first)[..12]), "{from}");
    backup(&place, &["--parent", "00000000"]).expect(1).explained();
}

#[test]
fn a_dry_backup_writes_nothing() {
    let place = place();
    place.write(&[("a", "content")]);
    let before: Vec<_> =
        ["snapshots", "packs", "index", "sessions"].map(|folder| objects(&place, folder)).into();
    let summary = backup(&place, &["--dry-run"]).expect(0).summary();
    assert_eq!(
        (&summary["id"], &summary["files"], &summary["dry_run"]),
        (&Value::Null, &1.into(), &true.into())
    );
    let after: Vec<_> =
        ["snapshots", "packs", "index", "sessions"].map(|folder| objects(&place, folder)).into();
    assert_eq!(before, after);
}

#[test]
fn tar_backups_stand_beside_the_others() {
    let place = place();
    place.write(&[("a", "first")]);
    place.backup(&[]).expect(0);
    place.write(&[("a", "second, and longer")]);
    // Backups by tar are named by whole seconds: within one, nothing says which is the newer.
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let begun = second();
    while second() <= begun + 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    backup(&place, &[]).expect(0);
    let engines: Vec<_> = list(&place).iter().map(|row| row["engine"].clone()).collect();
    assert_eq!(engines, ["tar", "dedup"]);
    // Both are backups of one host and name: the newest is the latest.
    restore(&place, "newest", &[]).expect(0);
    assert_eq!(std::fs::read_to_string(place.target("newest").join("a")).unwrap(), "second, and longer");
    // Who wants tar alone needs no password.
    let only_tar = place.run("list", &["--engine", "tar"]).expect(0).of_type("backup");
    assert_eq!(only_tar.len(), 1);
    place.restore("older", &["--engine", "tar"]).expect(0);
    assert_eq!(std::fs::read_to_string(place.target("older").join("a")).unwrap(), "first");
    let info =
        run(place.program.command(&["info", "-r", place.repository().to_str().unwrap(), "--json"])).expect(0);
    let facts = info.of_type("repository").pop().unwrap();
    assert_eq!((&facts["backups"], &facts["vault"]["encryption"]), (&2.into(), &true.into()));
    let checked = verb(&place, "check", &["--read-data"]).expect(0).summary();
    assert_eq!(checked["backups"], 2);
}

#[test]
fn tags_and_paths_find_backups() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &["--tag", "weekly", "--tag", "kept"]).expect(0);
    backup(&place, &["--tag", "weekly", "--time", "@1000000000"]).expect(0);
    let count = |more: &[&str]| verb(&place, "list", more).expect(0).of_type("backup").len();
    assert_eq!(count(&["--tag", "weekly"]), 2);
    assert_eq!(count(&["--tag", "weekly", "--tag", "kept"]), 1);
    assert_eq!(count(&["--tag", "daily"]), 0);
    assert_eq!(count(&["--path", place.source().to_str().unwrap()]), 2);
    assert_eq!(count(&["--path", "/elsewhere"]), 0);
    assert_eq!(list(&place)[0]["timestamp"], 1_000_000_000);
    let old = restore(&place, "old", &["--at", "@1000000001"]).expect(0).summary();
    assert_eq!(id(&old), id(&list(&place)[0]));
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_comes_back() {
    let place = place();
    for step in 0..4 {
        place.write(&[("a", &format!("content {step}")), (&format!("b{step}"), "more")]);
        backup(&place, &[]).expect(0);
    }
    let before = list(&place);
    let planned = verb(&place, "forget", &["--keep-last", "2", "--dry-run"]).expect(0).summary();
    assert_eq!((&planned["removed"], &planned["kept"]), (&2.into(), &2.into()));
    assert_eq!(list(&place).len(), 4);
    verb(&place, "forget", &["--keep-last", "2"]).expect(0);
    let after = list(&place);
    assert_eq!(after, before[2..]);
    assert_eq!(objects(&place, "removals").len(), 1);
    restore(&place, "oldest", &[&id(&after[0])]).expect(0);
    assert_eq!(std::fs::read_to_string(place.target("oldest").join("a")).unwrap(), "content 2");
    verb(&place, "check", &["--read-data"]).expect(0);
    restore(&place, "gone", &[&id(&before[0])]).expect(1).explained();
    // The last good one stays unless it is said otherwise.
    verb(&place, "forget", &["--older-than", "0.0000001"]).expect(0);
    assert_eq!(list(&place).len(), 1);
}

#[test]
fn a_run_that_was_killed_is_taken_up_by_the_next() {
    let place = place();
    place.tree(12, Features::plain());
    let large: Vec<u8> = (0..60_000_000_u32).map(|n| (n.wrapping_mul(n >> 7) >> 3) as u8).collect();
    std::fs::write(place.source().join("large"), large).unwrap();
    place.settle();
    let mut arguments = place.arguments("backup", &["--jobs", "1"]);
    arguments.push(place.source().into());
    let mut command = place.program.command(&arguments);
    command.env("ICECORE_PASSWORD", PASSWORD);
    let mut running = Running::start(command);
    if running.hold_when_open(&place.source().join("large")) {
        running.signal(rustix::process::Signal::KILL);
        assert_ne!(running.wait().status, 0);
        assert!(list(&place).is_empty());
        assert_eq!(objects(&place, "sessions").len(), 1, "a run that is killed cannot take its session back");
    }
    backup(&place, &[]).expect(0);
    let checked = verb(&place, "check", &["--read-data"]).expect(0).summary();
    assert_eq!(checked["orphans"], 0, "what was stored whole is taken in");
    assert!(objects(&place, "sessions").is_empty(), "and what it had announced is over");
    assert_equal(&Manifest::of(&place.source()).unwrap(), &restored(&place, "back", "latest"), "after all");
}

/// Announces a run without a process of its own.
fn announce(place: &Place, process: Process, started: i64) {
    let storage = Arc::new(Local::open(place.repository()).unwrap());
    let mut repository = Repository::open(storage).unwrap();
    repository.open_vault(&mut || Ok(Password::new(PASSWORD.as_bytes().to_vec()))).unwrap();
    drop(repository.the_vault().unwrap().begin_session("beta", process, Timestamp(started)).unwrap());
}

#[test]
fn a_run_that_is_announced_is_ended_by_others_only_when_it_is_known_to_be_over() {
    let place = cheap_place();
    place.write(&[("a", "1")]);
    let large = place.source().join("large");
    std::fs::write(&large, icecore_testkit::random::Random::new(3).bytes(64 << 20)).unwrap();
    let start = || {
        let mut arguments = place.arguments("backup", &["--jobs", "1"]);
        arguments.push(place.source().into());
        let mut command = place.program.command(&arguments);
        command.env("ICECORE_PASSWORD", PASSWORD);
        Running::start(command)
    };
    let sessions = || objects(&place, "sessions").len();
    // One of which nothing is known but that it is old, one that is new, and one that is killed.
    announce(&place, Process::of_number(4711), 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    announce(&place, Process::of_number(4712), now as i64);
    let mut killed = start();
    if !killed.hold_when_open(&large) {
        return crate::program::not_run("the file was read before the run could be held");
    }
    assert_eq!(sessions(), 3);
    // What runs here is not ended by name either; all are named, and so none is.
    let ids: Vec<_> =
        objects(&place, "sessions").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let named = ids.iter().flat_map(|id| ["--end-session", id.to_str().unwrap()]);
    let all = ["--grace", "0"].into_iter().chain(named).collect::<Vec<_>>();
    let refused = verb(&place, "check", &all).expect(11);
    assert!(refused.names("still runs on this machine"), "{refused:?}");
    assert_eq!(sessions(), 3);
    // While it is there, and be it held, it is not over.
    for _ in 0..2 {
        let checked = verb(&place, "check", &["--clean"]).expect(0);
        assert!(checked.names("process 4711 for the host beta"), "{checked:?}");
        assert!(!checked.names("4712") && !checked.names("killed"), "{checked:?}");
        verb(&place, "forget", &["--keep-last", "1"]).expect(0);
        assert_eq!(sessions(), 3);
    }
    killed.signal(rustix::process::Signal::KILL);
    killed.wait();
    let orphans = |outcome: Outcome| {
        let found = outcome.of_type("problem").into_iter().filter(|line| line["kind"] == "orphan");
        found.filter(|line| line["error"].as_str().unwrap().contains("killed")).count()
    };
    assert_eq!(orphans(verb(&place, "check", &[]).expect(0)), 1);
    assert_eq!(sessions(), 3);
    let cleaned = verb(&place, "check", &["--clean"]).expect(0);
    assert_eq!(cleaned.summary()["cleaned"], 1);
    assert_eq!((orphans(cleaned), sessions()), (1, 2));
    let checked = verb(&place, "check", &[]).expect(0);
    assert!(checked.names("4711"), "{checked:?}");
    assert_eq!(orphans(checked), 0);
}

#[test]
fn packs_that_no_index_knows_are_told_and_lose_nothing() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    for object in objects(&place, "index") {
        std::fs::remove_file(object).unwrap();
    }
    let checked = verb(&place, "check", &[]).expect(1);
    assert_eq!(checked.summary()["orphans"], objects(&place, "packs").len());
    assert!(checked.names(&id(&list(&place)[0])[..12]), "{checked:?}");
    // Check tells; a restore reads what the index said from the packs.
    restore(&place, "back", &[]).expect(0);
    assert_equal(
        &Manifest::of(&place.source()).unwrap(),
        &Manifest::of(&place.target("back")).unwrap(),
        "by the tables of packs",
    );
}

#[test]
fn options_of_the_other_engine_are_refused() {
    let place = place();
    place.write(&[("a", "content")]);
    for option in [&["--incremental"][..], &["--compression-level", "3"], &["--compression", "gzip"]] {
        backup(&place, option).expect(2).explained();
    }
    for option in [&["--force"][..], &["--parent", "abcd"], &["--time", "@5"], &["--compression", "max"]] {
        let outcome = place.backup(option);
        assert_eq!(outcome.status, 2, "{option:?}: {outcome:?}");
    }
    for compression in ["off", "fast", "better", "max", "7"] {
        let mut arguments: Vec<OsString> =
            place.arguments("backup", &["--force", "--compression", compression]);
        arguments.push(place.source().into());
        run(place.program.command(&arguments)).expect(0);
    }
    assert_eq!(list(&place).len(), 5);
    assert_eq!(list(&place)[0]["series"], format!("{HOST}_{NAME}"));
}
