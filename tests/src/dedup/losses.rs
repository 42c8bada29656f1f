//! What could not be read when it was backed up: named, kept in the tree as what is known of it, and never taken for removed.

use super::{backup, check_is_clean, init, list, restore, run, verb};
use crate::in_memory::World;
use crate::place::{Place, assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore::monitor::{Event, Monitor};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::attributes::set_mode;
use icecore_testkit::tree::is_root;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place whose program may not read everything, with a repository, and with a folder for targets.
fn unprivileged() -> Place {
    let place = Place::unprivileged();
    init(&place, &[]).expect(0);
    let targets = place.path().join("targets");
    fs::create_dir(&targets).unwrap();
    place.program.give(&targets);
    place
}

#[track_caller]
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The entry of a path in the newest backup.
#[track_caller]
fn entry(place: &Place, path: &str) -> Value {
    let lines = verb(place, "ls", &["--recursive"]).expect(0).of_type("entry");
    let found = lines.into_iter().find(|line| line["path"] == path);
    found.unwrap_or_else(|| panic!("no {path} in the backup"))
}

/// Path, sort and aspects of each change from one backup to another.
fn changes(place: &Place) -> Vec<(String, String, Value)> {
    let lines = verb(place, "diff", &["latest~1", "latest"]).expect(0).of_type("difference");
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines.iter().map(|line| (word(line, "path"), word(line, "change"), line["what"].clone())).collect()
}

#[test]
fn a_file_that_could_not_be_read_stays_in_the_target_and_is_read_again() {
    let place = unprivileged();
    let large = place.source().join("large");
    fs::write(&large, Random::new(7).bytes(700_000)).unwrap();
    place.write(&[("a", "1"), ("secret", "as it was"), ("gone", "3"), ("d/inner", "4"), ("d/name", "5")]);
    fs::hard_link(place.source().join("d/name"), place.source().join("d/name2")).unwrap();
    backup(&place, &[]).expect(0);
    restore(&place, "t", &[]).expect(0);
    let closed = ["secret", "large", "d/name"];
    place.write(&[("a", "changed")]);
    fs::remove_file(place.source().join("gone")).unwrap();
    for name in closed {
        set_mode(&place.source().join(name), 0).unwrap();
    }
    let summary = backup(&place, &[]).expect(3).summary();
    assert_eq!((&summary["errors"], &summary["files"]), (&4.into(), &2.into()), "{summary}");

    // What is known of them.
    let secret = entry(&place, "secret");
    assert_eq!(
        (&secret["unreadable"], &secret["whole"], &secret["size"]),
        (&true.into(), &false.into(), &9.into())
    );
    assert_eq!((&secret["mode"], &secret["kind"]), (&"0000".into(), &"file".into()));
    assert_eq!(entry(&place, "a")["unreadable"], false);
    let found = verb(&place, "find", &["secret"]).expect(0).of_type("match");
    assert_eq!(found[0]["unreadable"], true);
    let versions = verb(&place, "find", &["--all", "secret"]).expect(0).of_type("match");
    let seen: Vec<&Value> = versions.iter().map(|line| &line["unreadable"]).collect();
    assert_eq!(seen, [&Value::Bool(false), &Value::Bool(true)]);
    let changed = changes(&place);
    let of = |path: &str| changed.iter().find(|(at, ..)| at == path).unwrap_or_else(|| panic!("{changed:?}"));
    assert_eq!(of("gone").1, "removed");
    for name in closed {
        assert_eq!(of(name).1, "changed", "{changed:?}");
        assert!(of(name).2.as_array().unwrap().contains(&"unreadable".into()), "{changed:?}");
    }
    let refused = verb(&place, "cat", &["latest:secret"]).expect(1);
    assert!(refused.stderr.contains("could not be read when it was made"), "{refused:?}");
    let archive =
        verb(&place, "dump", &["latest", "-o", place.path().join("targets/x.tar").to_str().unwrap()]);
    assert!(archive.expect(3).of_type("problem").iter().any(|line| line.to_string().contains("secret")));
    assert_eq!(verb(&place, "stats", &["latest"]).expect(0).summary()["errors"], 4);
    check_is_clean(&place);

    // Nothing speaks against what is there.
    let restored = restore(&place, "t", &["--overwrite", "--delete"]).expect(0);
    assert!(restored.of_type("warning").iter().any(|line| line.to_string().contains("left as it is")));
    let target = place.target("t");
    assert_eq!(
        (text(&target.join("secret")), text(&target.join("a"))),
        ("as it was".into(), "changed".into())
    );
    assert_eq!((text(&target.join("d/name")), text(&target.join("d/name2"))), ("5".into(), "5".into()));
    assert_eq!(fs::metadata(target.join("large")).unwrap().len(), 700_000);
    assert!(!target.join("gone").exists());
    // Where there is nothing, nothing is made.
    restore(&place, "empty", &[]).expect(0);
    assert!(!place.target("empty").join("secret").exists() && place.target("empty").join("a").exists());

    // Nothing of it was taken for unchanged.
    for name in closed {
        set_mode(&place.source().join(name), 0o644).unwrap();
    }
    let summary = backup(&place, &[]).expect(0).summary();
    let expected = Manifest::of(&place.source()).unwrap();
    restore(&place, "after", &[&id(&summary)]).expect(0);
    assert_equal(&expected, &Manifest::of(&place.target("after")).unwrap(), "once it could be read");
}

/// A directory that may be listed and not entered: of what is in it, directories too, only the names are known.
#[test]
fn what_is_known_by_its_name_alone_stays_in_the_target() {
    let place = unprivileged();
    place.write(&[("closed/a", "1"), ("closed/sub/deep", "2"), ("b", "3")]);
    std::os::unix::fs::symlink("a", place.source().join("closed/link")).unwrap();
    place.program.give(&place.source());
    backup(&place, &[]).expect(0);
    restore(&place, "t", &[]).expect(0);
    set_mode(&place.source().join("closed"), 0o444).unwrap();
    let outcome = backup(&place, &[]).expect(3);
    set_mode(&place.source().join("closed"), 0o755).unwrap();
    assert_eq!(outcome.summary()["errors"], 3, "{outcome:?}");
    for (path, kind) in [("closed/a", "file"), ("closed/sub", "directory"), ("closed/link", "symlink")] {
        let line = entry(&place, path);
        assert_eq!(
            (&line["kind"], &line["unreadable"], &line["mode"]),
            (&kind.into(), &true.into(), &Value::Null)
        );
    }
    let long = run(place.program.command(&[
        "ls",
        "-l",
        "-r",
        place.repository().to_str().unwrap(),
        "--host",
        crate::place::HOST,
        "latest:closed",
    ]));
    assert!(
        long.expect(0).stdout.contains(
            "?????????? ?        ?                   ? ?                    closed/sub/ (unreadable)"
        )
    );
    verb(&place, "cat", &["latest:closed/a"]).expect(1);
    assert!(verb(&place, "find", &["a", "--larger", "0"]).expect(0).of_type("match").is_empty());
    check_is_clean(&place);
    restore(&place, "t", &["--overwrite", "--delete"]).expect(0);
    let closed = place.target("t").join("closed");
    set_mode(&closed, 0o755).unwrap();
    assert_eq!((text(&closed.join("a")), text(&closed.join("sub/deep"))), ("1".into(), "2".into()));
    assert_eq!(fs::read_link(closed.join("link")).unwrap(), PathBuf::from("a"));
    // Whatever has taken its place.
    fs::remove_file(closed.join("a")).unwrap();
    fs::create_dir(closed.join("a")).unwrap();
    fs::remove_dir_all(closed.join("sub")).unwrap();
    fs::write(closed.join("sub"), "now a file").unwrap();
    place.program.give(&closed);
    restore(&place, "t", &["--overwrite", "--delete"]).expect(0);
    set_mode(&closed, 0o755).unwrap();
    assert!(closed.join("a").is_dir());
    assert_eq!(text(&closed.join("sub")), "now a file");
    let summary = backup(&place, &[]).expect(0).summary();
    let expected = Manifest::of(&place.source()).unwrap();
    restore(&place, "after", &[&id(&summary)]).expect(0);
    assert_equal(&expected, &Manifest::of(&place.target("after")).unwrap(), "once it could be read");
}

/// Takes files away when the walk has seen their directory.
struct Remover(PathBuf);

impl Monitor for Remover {
    fn event(&self, event: Event<'_>) {
        if let Event::Directory { path: b"" } = event {
            fs::remove_file(self.0.join("small")).unwrap();
            fs::remove_file(self.0.join("large")).unwrap();
        }
    }
}

/// What is not there any more when it is read was not lost: it is absent, as if it had gone before.
#[test]
fn what_vanishes_while_a_backup_runs_is_no_loss() {
    let mut world = World::dedup();
    let source = world.source();
    fs::write(source.join("small"), "gone").unwrap();
    fs::write(source.join("large"), Random::new(1).bytes(700_000)).unwrap();
    fs::write(source.join("stays"), "here").unwrap();
    world.back_up_watched(&Remover(source));
    let (id, _) = world.made.pop().unwrap();
    let listed = crate::in_memory::listing(Arc::new(world.memory.clone())).unwrap();
    let row = listed.rows.last().unwrap();
    assert_eq!((row.errors, row.files), (Some(0), Some(1)));
    let restored = world.restore(Arc::new(world.memory.clone()), &id);
    assert_eq!(restored.outcome.unwrap().files, 1);
}

/// Backs up these paths of the source.
fn back_up(place: &Place, names: &[&str], more: &[&str]) -> Outcome {
    let mut arguments = place.arguments("backup", more);
    arguments.extend(names.iter().map(|name| place.source().join(name).into_os_string()));
    run(place.program.command(&arguments))
}

#[test]
fn of_several_paths_one_that_cannot_be_read_costs_the_others_nothing() {
    let place = unprivileged();
    place.write(&[("a/x", "1"), ("b/y", "2"), ("c/z", "3"), ("single", "4")]);
    let all = ["a", "b", "c", "single"];
    back_up(&place, &all, &[]).expect(0);
    restore(&place, "t", &[]).expect(0);
    let target = place.target("t");
    let is_untouched = |target: &Path| {
        assert_eq!((text(&target.join("b/y")), text(&target.join("single"))), ("2".into(), "4".into()));
    };
    // Gone, then there and closed.
    for closed in [false, true] {
        if closed {
            fs::rename(place.source().join("b-gone"), place.source().join("b")).unwrap();
            fs::rename(place.source().join("single-gone"), place.source().join("single")).unwrap();
            set_mode(&place.source().join("b"), 0).unwrap();
            set_mode(&place.source().join("single"), 0).unwrap();
        } else {
            fs::rename(place.source().join("b"), place.source().join("b-gone")).unwrap();
            fs::rename(place.source().join("single"), place.source().join("single-gone")).unwrap();
        }
        let outcome = back_up(&place, &all, &[]).expect(3);
        assert_eq!(outcome.summary()["errors"], 2, "{outcome:?}");
        let problems: Vec<Value> =
            outcome.of_type("problem").iter().map(|line| line["path"].clone()).collect();
        assert_eq!(problems, ["single", "b"], "{outcome:?}");
        assert_eq!(entry(&place, "b")["kind"], "directory", "as it was in the backup before");
        assert_eq!(
            (&entry(&place, "b")["unreadable"], &entry(&place, "single")["unreadable"]),
            (&true.into(), &true.into())
        );
        restore(&place, "t", &["--overwrite", "--delete"]).expect(0);
        is_untouched(&target);
        assert_eq!((text(&target.join("a/x")), text(&target.join("c/z"))), ("1".into(), "3".into()));
        check_is_clean(&place);
    }
    // By a list as well; and what is gone, and was never there.
    let paths = place.path().join("list");
    let lines: String = ["a", "never"].map(|name| format!("{}/{name}\n", place.source().display())).concat();
    fs::write(&paths, lines).unwrap();
    let outcome = back_up(&place, &[], &["--files-from", paths.to_str().unwrap()]).expect(3);
    assert!(outcome.names("never"), "{outcome:?}");
    let before = list(&place).len();
    // Without anything to back up there is no backup.
    for names in [&["b"][..], &["single"], &["never"], &["b", "never"], &["never", "nowhere", "single"]] {
        back_up(&place, names, &[]).expect(1).explained();
    }
    assert_eq!(list(&place).len(), before);
    set_mode(&place.source().join("b"), 0o755).unwrap();
    set_mode(&place.source().join("single"), 0o644).unwrap();
    back_up(&place, &all, &[]).expect(0);
    restore(&place, "after", &[]).expect(0);
    is_untouched(&place.target("after"));
}

#[test]
fn backups_are_forgotten_by_their_ids() {
    let place = super::cheap_place();
    place.write(&[("a", "1")]);
    let made: Vec<String> = (0..4).map(|_| id(&backup(&place, &[]).expect(0).summary())).collect();
    let forget = |more: &[&str]| verb(&place, "forget", more);
    let left = |place: &Place| list(place).iter().map(id).collect::<Vec<_>>();
    for wrong in [&["ffffffffffff"][..], &[&made[0], "abc"], &["latest"], &[&made[0], "--keep-last", "1"]] {
        assert!(matches!(forget(wrong).status, 1 | 2), "{wrong:?}");
    }
    assert_eq!(left(&place), made);
    forget(&[&made[1], "--dry-run"]).expect(0);
    assert_eq!(left(&place), made);
    let summary = forget(&[&made[1][..12], &made[0], &made[1]]).expect(0).summary();
    assert_eq!((&summary["removed"], &summary["kept"]), (&2.into(), &2.into()));
    assert_eq!(left(&place), made[2..]);
    // It is in the record of removals, and no step back.
    assert!(verb(&place, "check", &[]).expect(0).of_type("problem").is_empty());
    // One that cannot be read goes when it is named, and only then.
    let damaged = place.repository().join("dedup/snapshots").join(&made[2]);
    fs::write(&damaged, "no snapshot").unwrap();
    assert!(matches!(forget(&[&made[3]]).status, 1 | 2), "the last that can be read");
    forget(&[&made[2]]).expect(0);
    assert!(!damaged.exists());
    verb(&place, "check", &[]).expect(0);
    forget(&[&made[3], "--allow-last"]).expect(0);
    assert!(left(&place).is_empty());
}

#[test]
fn rules_and_restores_take_plain_dates() {
    let place = super::cheap_place();
    place.write(&[("a", "1")]);
    let old = id(&backup(&place, &["--time", "2026-01-02"]).expect(0).summary());
    let new = id(&backup(&place, &["--time", "2026-03-04T05:06"]).expect(0).summary());
    let restored = restore(&place, "t", &["--at", "2026-02-01"]).expect(0).summary();
    assert_eq!(restored["id"], old.as_str());
    verb(&place, "forget", &["--before-date", "2026-02-30"]).expect(2);
    verb(&place, "forget", &["--before-date", "2026-02-01"]).expect(0);
    assert_eq!(list(&place).iter().map(id).collect::<Vec<_>>(), [new]);
}

/// Of levels, only whole chains go.
#[test]
fn chains_are_forgotten_by_the_ids_of_all_their_levels() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let level = |more: &[&str]| id(&place.backup(more).expect(0).summary());
    let first = [level(&[]), level(&["--incremental"])];
    let second = level(&[]);
    let refused = place.run("forget", &[&first[0]]);
    assert!(refused.status != 0 && refused.explained().names(&first[1]));
    place.run("forget", &[&first[0], &first[1]]).expect(0);
    assert_eq!(place.ids(), std::slice::from_ref(&second));
    place.run("forget", &[&second]).explained();
    assert_eq!(place.ids(), [second]);
    place.check_is_clean();
}

/// Levels of tar archives list what they could not read, so that a restore knows that it was there.
#[test]
fn a_level_that_could_not_read_a_file_deletes_no_older_one() {
    if !is_root() {
        return not_run("needs a reader who may and then one who may not");
    }
    let place = Place::unprivileged();
    place.write(&[
        ("a", "1"),
        ("secret", "as it was"),
        ("gone", "3"),
        ("closed/inside", "4"),
        ("dark/inside", "5"),
    ]);
    place.backup(&["--incremental"]).expect(0);
    place.restore("full", &["latest"]).expect(0);
    place.restore("later", &["latest"]).expect(0);
    for (name, mode) in [("secret", 0), ("closed", 0), ("dark", 0o444)] {
        set_mode(&place.source().join(name), mode).unwrap();
    }
    fs::remove_file(place.source().join("gone")).unwrap();
    // A level above, and a full one.
    for (target, level) in [("later", &["--incremental"][..]), ("full", &[])] {
        let backup = id(&place.backup(level).expect(3).summary());
        place.restore(target, &["--overwrite", "--delete", &backup]).expect(0);
        let target = place.target(target);
        set_mode(&target.join("dark"), 0o755).unwrap();
        assert!(!target.join("gone").exists());
        for (name, content) in [("secret", "as it was"), ("closed/inside", "4"), ("dark/inside", "5")] {
            assert_eq!(text(&target.join(name)), content, "{name} in {}", target.display());
        }
    }
    for name in ["closed", "dark"] {
        set_mode(&place.source().join(name), 0o755).unwrap();
    }
}

/// A mount point that a backup stays out of is empty in the tree; that says nothing of what is mounted there.
#[test]
fn a_file_system_that_was_left_out_loses_nothing_to_a_restore_that_removes_strangers() {
    let place = Place::new();
    init(&place, &[]).expect(0);
    place.write(&[("a", "1")]);
    let mount = |point: &Path| {
        fs::create_dir_all(point).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(point);
        mount.status().is_ok_and(|status| status.success())
    };
    let unmount = |point: &Path| {
        assert!(std::process::Command::new("umount").arg(point).status().unwrap().success());
    };
    let (inner, target) = (place.source().join("mounted"), place.target("t").join("mounted"));
    if !mount(&inner) {
        return not_run("needs root and the right to mount a tmpfs");
    }
    fs::write(inner.join("b"), "2").unwrap();
    let made = backup(&place, &["--one-file-system"]);
    unmount(&inner);
    assert!(mount(&target));
    fs::write(target.join("live"), "3").unwrap();
    fs::write(place.target("t").join("stranger"), "4").unwrap();
    let restored = restore(&place, "t", &["--overwrite", "--delete"]);
    let live = fs::read_to_string(target.join("live"));
    unmount(&target);
    made.expect(0);
    let warned = restored.expect(0).of_type("warning");
    assert!(
        warned.iter().any(|line| line.to_string().contains("nothing is removed in mounted")),
        "{warned:?}"
    );
    assert_eq!(live.unwrap(), "3");
    assert!(!place.target("t").join("stranger").exists());
    assert!(place.target("t").join("a").exists());
    assert_eq!(entry(&place, "mounted")["whole"], false);
}
