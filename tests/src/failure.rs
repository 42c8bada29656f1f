//! When something fails, it is said what, nothing that counts is left half done, and the next run works.

use crate::place::{Place, assert_alike, assert_equal, entries, id};
use crate::program::{Program, not_run};
use crate::running::Running;
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::random::Random;
use icecore_testkit::tree::attributes::set_mode;
use icecore_testkit::tree::is_root;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system of its own, of a given size, for as long as the value lives.
pub struct Mount {
    place: PathBuf,
}

impl Mount {
    /// `None` where this may not be done.
    pub fn new(place: &Path, size: &str) -> Option<Mount> {
        fs::create_dir_all(place).unwrap();
        let options = format!("size={size},mode=0755");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).status();
        status.is_ok_and(|status| status.success()).then(|| Mount { place: place.to_owned() })
    }

    fn change(&self, options: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.place).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.place).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn noise(path: &Path, mebibytes: usize) {
    fs::write(path, Random::new(mebibytes as u64).bytes(mebibytes << 20)).unwrap();
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_is_safe() {
    let place = Place::unprivileged();
    place.write(&[("a", "1"), ("secret", "2"), ("z", "3"), ("closed/inside", "4")]);
    set_mode(&place.source().join("secret"), 0).unwrap();
    set_mode(&place.source().join("closed"), 0).unwrap();
    let outcome = place.backup(&[]).expect(3);
    for path in ["secret", "closed"] {
        let problems = outcome.of_type("problem");
        let named =
            |line: &&serde_json::Value| line["path"].as_str().is_some_and(|text| text.ends_with(path));
        assert_eq!(problems.iter().find(named).expect(path)["lost"], true);
    }
    assert_eq!(outcome.summary()["errors"], 2);
    assert_eq!(place.list()[0]["errors"], 2);
    place.restore("t", &["latest"]).expect(0);
    let restored = place.target("t");
    assert!(restored.join("a").exists() && restored.join("z").exists() && !restored.join("secret").exists());
    place.check_is_clean();
    // Or the temporary directory could not be removed.
    set_mode(&place.source().join("closed"), 0o755).unwrap();
}

/// Nothing about the files changes between the runs, only who reads them.
#[test]
fn what_could_not_be_read_is_tried_again_at_the_next_level() {
    if !is_root() {
        return not_run("needs a reader who may not and then one who may");
    }
    let mut place = Place::unprivileged();
    place.write(&[("a", "1")]);
    fs::create_dir(place.source().join("closed")).unwrap();
    for secret in ["secret", "closed/inside"] {
        fs::write(place.source().join(secret), "for root alone").unwrap();
        set_mode(&place.source().join(secret), 0o600).unwrap();
    }
    set_mode(&place.source().join("closed"), 0o700).unwrap();
    let expected = Manifest::of(&place.source()).unwrap();
    place.backup(&["--incremental"]).expect(3);
    place.program = Program::new();
    let summary = place.increment();
    assert_eq!((&summary["level"], &summary["errors"]), (&1.into(), &0.into()));
    assert_equal(&expected, &place.restored("t", &id(&summary)), "with what was unreadable before");
}

/// A directory that may be listed but not entered: what an earlier level has of it is not deleted by a restore of this one.
#[test]
fn what_cannot_be_looked_at_stays_as_an_earlier_level_has_it() {
    let place = Place::unprivileged();
    place.write(&[("closed/a", "1"), ("b", "2")]);
    place.increment();
    let closed = place.source().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o444)).unwrap();
    let outcome = place.backup(&["--incremental"]).expect(3);
    assert!(outcome.names("closed/a"), "{outcome:?}");
    place.restore("t", &["latest"]).expect(0);
    let restored = place.target("t").join("closed");
    fs::set_permissions(&restored, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_to_string(restored.join("a")).unwrap(), "1");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Holds a backup while it reads a large file, lets `change` happen, and says how the run ended.
fn changed_while_read(change: impl Fn(&Path)) {
    ["tar", "rsync"].into_iter().for_each(|engine| changed_while_read_by(engine, &change));
}

fn changed_while_read_by(engine: &'static str, change: &impl Fn(&Path)) {
    for mebibytes in [64, 256, 1024] {
        let mut place = Place::new();
        place.engine = engine;
        place.write(&[("a", "before"), ("z", "after")]);
        let large = place.source().join("large");
        noise(&large, mebibytes);
        let arguments = place.backup_arguments(&["--incremental"]);
        let mut run = Running::start(place.program.command(&arguments));
        if !run.hold_when_open(&large) {
            // It was read before it could be caught: a larger one takes longer.
            run.wait().expect(0);
            continue;
        }
        change(&large);
        run.resume();
        let outcome = run.wait().expect(3);
        assert!(outcome.names("large"), "{outcome:?}");
        place.restore("t", &["latest"]).expect(0);
        for (path, content) in [("a", "before"), ("z", "after")] {
            assert_eq!(fs::read_to_string(place.target("t").join(path)).unwrap(), content);
        }
        // It changed once, so that the second time it was read whole, and that is what was stored.
        let (stored, now) = (fs::read(place.target("t").join("large")).unwrap(), fs::read(&large).unwrap());
        assert!(stored == now, "{engine}: {} bytes were stored of {}", stored.len(), now.len());
        let expected = Manifest::of(&place.source()).unwrap();
        assert_equal(&expected, &place.restored("next", &id(&place.increment())), "the next level");
        return place.check_is_clean();
    }
    panic!("a file of 1 GiB was read before it could be caught");
}

#[test]
fn a_file_truncated_while_it_is_read_is_named() {
    changed_while_read(|file| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap());
}

#[test]
fn a_file_growing_while_it_is_read_is_named() {
    changed_while_read(|file| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(&[7; 1 << 20]).unwrap();
    });
}

#[test]
fn a_full_repository_leaves_no_backup_and_room_heals_it() {
    for engine in ["tar", "rsync"] {
        let place = Place::of(engine);
        let Some(mount) = Mount::new(&place.repository(), "8m") else {
            return not_run("needs root and the right to mount a tmpfs");
        };
        full_repository(&place, &mount);
    }
}

fn full_repository(place: &Place, mount: &Mount) {
    place.write(&[("a", "1")]);
    place.increment();
    noise(&place.source().join("large"), 16);
    let outcome = place.backup(&["--incremental"]).expect(1).explained();
    assert!(outcome.names("space"), "the cause is not named: {outcome:?}");
    assert_eq!(place.list().len(), 1);
    place.restore("before", &["latest"]).expect(0);
    mount.change("size=64m");
    let expected = Manifest::of(&place.source()).unwrap();
    let summary = place.increment();
    assert_eq!(summary["level"], 1);
    assert_equal(&expected, &place.restored("after", &id(&summary)), "once there was room");
    place.check_is_clean();
}

#[test]
fn a_full_target_fails_the_restore() {
    for engine in ["tar", "rsync"] {
        let place = Place::of(engine);
        let Some(_mount) = Mount::new(&place.path().join("targets"), "8m") else {
            return not_run("needs root and the right to mount a tmpfs");
        };
        noise(&place.source().join("large"), 16);
        place.increment();
        let outcome = place.restore("t", &["latest"]).expect(1).explained();
        assert!(outcome.names("space"), "the cause is not named: {outcome:?}");
    }
}

#[test]
fn a_read_only_repository_can_be_read_but_not_written() {
    ["tar", "dedup"].into_iter().for_each(|engine| read_only_repository(&Place::unprivileged().by(engine)));
}

fn read_only_repository(place: &Place) {
    place.write(&[("a", "1")]);
    let expected = Manifest::of(&place.source()).unwrap();
    let summary = place.increment();
    let change = |mode: &str| {
        let status = Command::new("chmod").args(["-R", mode]).arg(place.repository()).status();
        assert!(status.unwrap().success());
    };
    change("a-w");
    place.program.run(&place.next_arguments()).expect(1).explained();
    assert_eq!(place.ids(), [id(&summary)]);
    place.check_is_clean();
    let options = Options { owners: is_root(), ..Options::default() };
    assert_alike(&expected, &place.restored("t", "latest"), &options, "from a read-only repository");
    change("u+w");
    place.increment_to(1);
}

#[test]
fn a_repository_that_vanishes_midway_fails_the_run() {
    ["tar", "dedup"].into_iter().for_each(repository_vanishes);
}

fn repository_vanishes(engine: &'static str) {
    for mebibytes in [64, 256, 1024] {
        let place = Place::of(engine);
        place.write(&[("a", "1")]);
        place.increment();
        noise(&place.source().join("large"), mebibytes);
        let mut run = Running::start(place.program.command(&place.next_arguments()));
        if !run.hold_when_open(&place.source().join("large")) {
            run.wait().expect(0);
            continue;
        }
        let elsewhere = place.path().join("elsewhere");
        fs::rename(place.repository(), &elsewhere).unwrap();
        run.resume();
        run.wait().expect(1).explained();
        if place.repository().exists() {
            // Nothing that counts may have been made anew at the old place.
            assert!(place.run("list", &[]).of_type("backup").is_empty());
            fs::remove_dir_all(place.repository()).unwrap();
        }
        fs::rename(&elsewhere, place.repository()).unwrap();
        assert_eq!(place.list().len(), 1);
        place.increment_to(1);
        return place.check_is_clean();
    }
    panic!("a file of 1 GiB was read before it could be caught");
}

#[test]
fn a_source_that_is_not_there_is_no_backup() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    place.increment();
    fs::remove_dir_all(place.source()).unwrap();
    place.backup(&["--incremental"]).expect(1).explained();
    assert_eq!(place.list().len(), 1);
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let program = Program::new();
    let cases: [&[&str]; 8] = [
        &[],
        &["bake"],
        &["backup"],
        &["list"],
        &["backup", "-r", "/nowhere", "--engine", "tar", "--no-encryption"],
        &["backup", "-r", "/nowhere", "--engine", "tar", "--no-encryption", "--compression", "rar", "/"],
        &["backup", "-r", "/nowhere", "--engine", "tar", "--no-encryption", "--frobnicate", "/"],
        &["restore", "-r", "/nowhere", "--at", "yesterday-ish", "--target", "/nowhere/target"],
    ];
    for arguments in cases {
        let outcome = program.run(arguments);
        assert_eq!(outcome.status, 2, "{arguments:?}: {outcome:?}");
        assert!(!outcome.stderr.is_empty());
    }
    assert!(program.run(&["--help"]).expect(0).stdout.contains("backup"));
    program.run(&["--version"]).expect(0);
}

#[test]
fn no_repository_is_told_from_an_empty_one() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    for verb in ["list", "check"] {
        place.run(verb, &[]).expect(10).explained();
    }
    place.run("forget", &["--keep-last", "1"]).expect(10).explained();
    place.restore("t", &["latest"]).expect(10).explained();
    let mut arguments = place.backup_arguments(&[]);
    arguments.retain(|argument| argument != "--init");
    place.program.run(&arguments).expect(10).explained();
    assert!(!place.repository().exists());
    place.increment();
    place.program.run(&arguments).expect(0);
}

#[test]
fn a_backup_that_does_not_exist_is_an_error() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    place.increment();
    place.restore("t", &["no-such-backup"]).expect(1).explained();
    place.restore("t", &["--at", "@1"]).expect(1).explained();
    assert!(entries(&place.target("t")).is_empty());
}

#[test]
fn the_environment_names_a_repository_and_a_flag_beats_it() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    place.increment();
    let mut command = place.program.command(&["list", "--json"]);
    let output = command.env("ICECORE_REPOSITORY", place.repository()).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty());
    let mut command = place.program.command(&place.arguments("list", &[]));
    assert!(command.env("ICECORE_REPOSITORY", "/nowhere").output().unwrap().status.success());
}

/// A folder that is used for something else is no place for a repository: documents and objects would lie side by side.
#[test]
fn no_repository_is_made_among_other_files() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    fs::create_dir(place.repository()).unwrap();
    fs::write(place.repository().join("letter"), "precious").unwrap();
    let before = entries(&place.repository());
    place.backup(&[]).expect(1).explained();
    assert_eq!(entries(&place.repository()), before);
    // What an empty file system has is no reason.
    fs::remove_file(place.repository().join("letter")).unwrap();
    fs::create_dir(place.repository().join("lost+found")).unwrap();
    place.backup(&[]).expect(0);
}

/// Whoever reads JSON learns of every failure there.
#[test]
fn wrong_usage_is_a_json_line_too() {
    let program = Program::new();
    for arguments in
        [&["list", "--json"][..], &["--json", "no-such-command"], &["check", "--json", "--no-such"]]
    {
        let outcome = program.run(arguments).expect(2).explained();
        assert!(!outcome.stderr.is_empty());
    }
    assert!(program.run(&["list"]).expect(2).stderr.contains("ICECORE_REPOSITORY"));
}

/// A name can hold anything; on a terminal it is text.
#[test]
fn names_do_not_reach_a_terminal_raw() {
    let place = Place::unprivileged();
    let name = "esc\u{1b}[2Jline\nbreak";
    place.write(&[(name, "1")]);
    set_mode(&place.source().join(name), 0).unwrap();
    let mut arguments = place.backup_arguments(&[]);
    arguments.retain(|argument| argument != "--json");
    let outcome = place.program.run(&arguments).expect(3);
    assert!(outcome.stderr.contains("cannot open esc\\u{1b}[2Jline\\nbreak: "), "{outcome:?}");
}

/// Somebody else's files become one's own, which is no loss worth a line for each.
#[test]
fn owners_that_cannot_be_restored_are_one_warning() {
    if !is_root() {
        return not_run("needs root to have files of somebody else's");
    }
    let place = Place::unprivileged();
    place.write(&[("a", "1"), ("b", "2"), ("d/c", "3")]);
    std::os::unix::fs::symlink("a", place.source().join("link")).unwrap();
    Command::new("chown").args(["-Rh", "1:1"]).arg(place.source()).status().unwrap();
    place.backup(&[]).expect(0);
    let outcome = place.restore("t", &["latest"]).expect(0);
    assert_eq!(outcome.summary()["problems"], 0, "{outcome:?}");
    let [warning] = <[_; 1]>::try_from(outcome.of_type("warning")).unwrap();
    assert!(warning["message"].as_str().unwrap().contains("owners are not restored"));
}

/// Links to a file that moved with its directory take a second walk, which must not report the first one's failures again.
#[test]
fn what_cannot_be_read_is_reported_once() {
    let place = Place::unprivileged();
    place.write(&[("moved/file", "1"), ("locked/file", "2"), ("other/file", "3")]);
    fs::hard_link(place.source().join("moved/file"), place.source().join("other/name")).unwrap();
    place.backup(&["--incremental"]).expect(0);
    // From here on the linked file is older than the level below.
    place.backup(&["--incremental"]).expect(0);
    fs::create_dir(place.source().join("new")).unwrap();
    place.program.give(&place.source().join("new"));
    fs::rename(place.source().join("moved"), place.source().join("new/moved")).unwrap();
    set_mode(&place.source().join("locked"), 0).unwrap();
    let outcome = place.backup(&["--incremental"]).expect(3);
    set_mode(&place.source().join("locked"), 0o755).unwrap();
    assert_eq!(outcome.summary()["errors"], 1, "{outcome:?}");
    assert_eq!(outcome.of_type("problem").len(), 1, "{outcome:?}");
}

/// A list that was cut off by a full disk must not pass for the list.
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    place.backup(&[]).expect(0);
    let into = |sink: Stdio| {
        let mut command = place.program.command(&place.arguments("list", &[]));
        command.stdout(sink).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(into(OpenOptions::new().write(true).open("/dev/full").unwrap().into()), Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(into(writer.into()), Some(0), "a reader that went away has read enough");
}
