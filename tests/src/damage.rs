//! Stored bytes that are not what was written: `check` names them, a restore refuses them, backups go on.

use crate::place::{Place, SERIES, entries, id};
use crate::program::Outcome;
use icecore_testkit::tree::Features;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What can happen to a stored object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Missing,
    Empty,
    Truncated,
    Longer,
    OneBit,
}

const ALL: [Damage; 5] = [Damage::Missing, Damage::Empty, Damage::Truncated, Damage::Longer, Damage::OneBit];

impl Damage {
    fn on(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let half = bytes.len() / 2;
        match self {
            Damage::Missing => return fs::remove_file(path).unwrap(),
            Damage::Empty => bytes.clear(),
            Damage::Truncated => bytes.truncate(half),
            Damage::Longer => bytes.push(0),
            Damage::OneBit => bytes[half] ^= 0x10,
        }
        fs::write(path, bytes).unwrap();
    }
}

/// Every damage to chains of every engine.
fn each_of_each() -> impl Iterator<Item = (&'static str, Damage)> {
    ["tar", "rsync"].into_iter().flat_map(|engine| ALL.map(|damage| (engine, damage)))
}

struct Chain {
    place: Place,
    ids: Vec<String>,
}

/// Three levels of a small tree.
fn chain() -> Chain {
    chain_of("tar")
}

fn chain_of(engine: &'static str) -> Chain {
    let place = Place::of(engine);
    let features = Features { large_files: false, ..Features::all() };
    let mut tree = place.tree(21, features);
    let mut ids = vec![id(&place.increment())];
    for step in 1..=2 {
        tree.mutate(step).unwrap();
        ids.push(id(&place.increment()));
    }
    Chain { place, ids }
}

impl Chain {
    fn object(&self, level: usize, name: &str) -> PathBuf {
        self.place.stored_levels()[level].join(name)
    }

    fn check(&self, more: &[&str], damage: Damage, what: &str) -> Outcome {
        let outcome = self.place.run("check", more).expect(1);
        assert!(outcome.names(what), "{damage:?}: check does not name {what}: {outcome:?}");
        assert_eq!(outcome.summary()["ok"], false);
        outcome
    }

    /// Everything that replays `level` is refused and writes nothing; what lies below it restores.
    fn is_refused_from(&self, level: usize, damage: Damage) {
        for (number, id) in self.ids.iter().enumerate() {
            let target = format!("{damage:?}-{number}");
            let outcome = self.place.restore(&target, &[id]);
            if number < level {
                outcome.expect(0);
                continue;
            }
            outcome.expect(1).explained();
            // One bit shows when all is read, which is before anything is written; all else is known from the listing.
            let left = entries(&self.place.target(&target));
            assert!(left.is_empty(), "{damage:?}: the target was touched: {left:?}");
        }
    }
}

#[test]
fn damaged_data_is_named_and_refused() {
    for (engine, damage) in each_of_each() {
        let chain = chain_of(engine);
        damage.on(&chain.object(1, "data"));
        let level = chain.object(1, "data");
        let name = level.strip_prefix(chain.place.repository()).unwrap().to_str().unwrap();
        chain.check(&["--read-data"], damage, name);
        if damage != Damage::OneBit {
            chain.check(&[], damage, name);
        }
        chain.is_refused_from(1, damage);
    }
}

#[test]
fn a_damaged_snapshot_file_is_named() {
    for (engine, damage) in each_of_each() {
        let chain = chain_of(engine);
        damage.on(&chain.object(2, "engine_metadata"));
        chain.check(&["--read-data"], damage, "engine_metadata");
        if engine == "rsync" {
            // The whole tree is in it.
            chain.is_refused_from(2, damage);
        }
        // The next run must not build on it: a new full backup, or a refusal in words; never a level with holes.
        let outcome = chain.place.backup(&["--incremental"]);
        match outcome.status {
            0 => assert_eq!(outcome.summary()["level"], 0, "{damage:?}"),
            _ => drop(outcome.expect(1).explained()),
        }
    }
}

#[test]
fn a_damaged_metadata_document_is_never_a_crash() {
    for damage in [Damage::Empty, Damage::Truncated] {
        let chain = chain();
        let level = chain.object(1, "data").parent().unwrap().to_owned();
        let inside = level.strip_prefix(chain.place.repository().join("data")).unwrap();
        damage.on(&chain.place.repository().join("metadata").join(inside).join("metadata"));
        chain.check(&[], damage, inside.file_name().unwrap().to_str().unwrap());
        chain.is_refused_from(1, damage);
    }
}

#[test]
fn a_missing_level_is_a_gap_and_the_next_run_starts_anew() {
    let chain = chain();
    let level = chain.object(1, "data").parent().unwrap().to_owned();
    let inside = level.strip_prefix(chain.place.repository().join("data")).unwrap();
    fs::remove_dir_all(chain.place.repository().join("metadata").join(inside)).unwrap();
    let check = chain.place.run("check", &[]).expect(1);
    assert!(check.of_type("problem").iter().any(|problem| problem["kind"] == "gap"), "{check:?}");
    chain.place.restore("level-2", &[&chain.ids[2]]).expect(1).explained();
    assert!(entries(&chain.place.target("level-2")).is_empty());
    chain.place.restore("level-0", &[&chain.ids[0]]).expect(0);
    assert_eq!(chain.place.increment()["level"], 0);
}

#[test]
fn foreign_names_are_passed_over() {
    let chain = chain();
    let repository = chain.place.repository();
    let series = repository.join("metadata/tar").join(SERIES);
    fs::create_dir(series.join("lost+found")).unwrap();
    fs::create_dir(series.join("123")).unwrap();
    fs::create_dir(series.join("123/not_a_level")).unwrap();
    File::create(series.join("README")).unwrap();
    fs::create_dir(repository.join("lost+found")).unwrap();
    assert_eq!(chain.place.ids(), chain.ids);
    let list = chain.place.run("list", &[]).expect(0);
    assert!(list.of_type("stray").iter().any(|line| line.to_string().contains("lost+found")));
    chain.place.restore("t", &["latest"]).expect(0);
    assert_eq!(chain.place.increment()["level"], 3);
}

#[test]
fn what_a_killed_run_left_is_an_orphan_and_not_a_backup() {
    let chain = chain();
    let orphan = chain.place.repository().join("data/tar").join(SERIES).join("1000000000/0_1000000000");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("data"), "half an archive").unwrap();
    assert_eq!(chain.place.ids(), chain.ids);
    let check = chain.place.run("check", &[]);
    assert!(check.summary()["orphans"].as_u64().unwrap() >= 1, "{check:?}");
    assert_eq!(chain.place.increment()["level"], 3);
    chain.place.restore("t", &["latest"]).expect(0);
}

/// Data whose document was lost looks like a killed run's, but may be all that is left of a backup that others build on.
#[test]
fn the_data_of_a_level_whose_document_was_lost_is_never_cleaned_up() {
    let chain = chain();
    let folder = chain.object(1, "data").parent().unwrap().to_owned();
    let level = folder.strip_prefix(chain.place.repository().join("data")).unwrap();
    fs::remove_dir_all(chain.place.repository().join("metadata").join(level)).unwrap();
    let check = chain.place.run("check", &["--clean", "--grace", "0"]);
    assert_eq!((check.status, &check.summary()["cleaned"]), (1, &0.into()), "{check:?}");
    assert!(folder.join("data").exists());
}

/// Where a file system has no nameless files, a killed run leaves one with a name that nothing else would ever remove.
#[test]
fn a_temporary_file_of_a_killed_run_is_cleaned_up_once_it_is_old() {
    let chain = chain();
    let half = chain.place.repository().join("data/.icecore-tmp-0123456789abcdef");
    fs::write(&half, "half an object").unwrap();
    chain.place.run("check", &["--clean"]).expect(0);
    assert!(half.exists(), "a run may be writing it");
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    File::options().write(true).open(&half).unwrap().set_modified(two_days_ago).unwrap();
    chain.place.run("check", &[]).expect(0);
    assert!(half.exists(), "nobody said so");
    chain.place.run("check", &["--clean"]).expect(0);
    assert!(!half.exists());
    chain.place.restore("t", &["latest"]).expect(0);
}

/// A backup that builds on what cannot be restored cannot be restored either, and would never be missed until then.
#[test]
fn nothing_is_built_on_a_level_whose_data_is_gone_or_cut() {
    for (engine, level) in [("tar", 0), ("tar", 1), ("tar", 2), ("rsync", 0), ("rsync", 2)] {
        for damage in [Damage::Missing, Damage::Truncated] {
            let chain = chain_of(engine);
            damage.on(&chain.object(level, "data"));
            let outcome = chain.place.backup(&["--incremental"]).expect(0);
            assert_eq!(outcome.summary()["level"], 0, "{damage:?} of level {level}");
            assert_eq!(outcome.of_type("warning").len(), 1, "{outcome:?}");
            chain.place.restore("anew", &["latest"]).expect(0);
        }
    }
}

/// Who may not read one object (a bad sector is the same) learns of that one, and of all the others.
#[test]
fn an_object_that_cannot_be_read_is_named_and_the_rest_is_looked_at() {
    let place = Place::unprivileged();
    place.write(&[("a", "content")]);
    let ids: Vec<String> = (0..3).map(|_| id(&place.increment())).collect();
    let level = &place.stored_levels()[1];
    let inside = level.strip_prefix(place.repository().join("data")).unwrap();
    let document = place.repository().join("metadata").join(inside).join("metadata");
    for (object, more, name) in [
        (document, &[][..], format!("metadata/{}/metadata", inside.display())),
        (level.join("data"), &["--read-data"], format!("data/{}/data", inside.display())),
    ] {
        fs::set_permissions(&object, Permissions::from_mode(0o000)).unwrap();
        let check = place.run("check", more).expect(1);
        let problems = check.of_type("problem");
        assert_eq!((check.summary()["backups"].as_u64(), problems.len()), (Some(3), 1), "{check:?}");
        assert_eq!(problems[0]["kind"], "unreadable", "{check:?}");
        assert!(problems[0]["object"].as_str().unwrap().ends_with(&name), "{check:?}");
        if more.is_empty() {
            let rows = place.list();
            assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), ids);
            let told: Vec<_> = rows.iter().map(|row| (&row["complete"], &row["by_icecore"])).collect();
            let (yes, no, unknown) = (&true.into(), &false.into(), &serde_json::Value::Null);
            assert_eq!(told, [(yes, yes), (no, unknown), (no, yes)]);
            assert!(rows[1]["problem"].as_str().unwrap().contains(&name), "{rows:?}");
        }
        fs::set_permissions(&object, Permissions::from_mode(0o600)).unwrap();
        place.check_is_clean();
    }
}
