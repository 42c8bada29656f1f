//! The same of deduplicated backups: runs of the program that are killed at any moment, and a disk that is full at any moment.

use super::kill_at_random;
use crate::dedup::{
    PASSWORD, backup, cheap_place, check_is_clean, init_cheaply, list, objects, restore, verb,
};
use crate::failure::Mount;
use crate::place::{Place, assert_equal, id};
use crate::program::not_run;
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::Features;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KILLS: u32 = 200;

fn start(place: &Place, mut arguments: Vec<std::ffi::OsString>, last: &str) -> Running {
    arguments.push(last.into());
    let mut command = place.program.command(&arguments);
    command.env("ICECORE_PASSWORD", PASSWORD);
    Running::start(command)
}

/// Starts a backup of the source.
fn start_backup(place: &Place) -> Running {
    start(place, place.arguments("backup", &["--jobs", "2"]), place.source().to_str().unwrap())
}

#[track_caller]
fn restored(place: &Place, backup: &str) -> Manifest {
    let target = place.target("t");
    restore(place, "t", &[backup]).expect(0);
    let manifest = Manifest::of(&target).unwrap();
    fs::remove_dir_all(target).unwrap();
    manifest
}

/// The ids of all snapshots, by their objects.
fn snapshots(place: &Place) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    objects(place, "snapshots").into_iter().map(name).collect()
}

/// A tree that is never twice the same.
struct Changing<'p> {
    place: &'p Place,
    random: Random,
}

impl Changing<'_> {
    fn step(&mut self, number: u32) {
        let at = |path: String| self.place.source().join(path);
        for folder in 0..3 {
            fs::create_dir_all(at(format!("d{folder}"))).unwrap();
        }
        for _ in 0..4 {
            let path = at(format!("d{}/f{}", self.random.below(3), self.random.below(12)));
            let length = self.random.below(20_000) as usize;
            match self.random.below(5) {
                0 => fs::remove_file(path).unwrap_or_default(),
                1 => fs::rename(path, at(format!("d0/moved-{}", self.random.below(5)))).unwrap_or_default(),
                2 => fs::write(path, self.random.text(length)).unwrap(),
                _ => fs::write(path, self.random.bytes(length)).unwrap(),
            }
        }
        if number.is_multiple_of(10) {
            fs::write(at("large".to_owned()), self.random.bytes(600_000)).unwrap();
        }
        fs::write(at("number".to_owned()), number.to_string()).unwrap();
    }
}

/// Waits until there are more sessions than before; `false` when `run` ended before that was seen.
fn has_announced_itself(place: &Place, run: &mut Running, before: usize) -> bool {
    while objects(place, "sessions").len() <= before {
        if run.has_ended() {
            return false;
        }
        // A look costs more than the wait, and would be paid for by the run.
        std::thread::sleep(Duration::from_micros(300));
    }
    true
}

#[test]
fn a_backup_killed_two_hundred_times_needs_nobody() {
    let place = cheap_place();
    let mut tree = Changing { place: &place, random: Random::new(41) };
    tree.step(0);
    let mut contents: HashMap<String, Manifest> = HashMap::new();
    let clock = Instant::now();
    contents
        .insert(id(&start_backup(&place).wait().expect(0).summary()), Manifest::of(&place.source()).unwrap());
    let whole = clock.elapsed().as_micros() as u64;
    let mut moments = Random::new(42);
    let (mut killed_while_writing, mut committed) = (0, 0);
    for kill in 1..=KILLS {
        tree.step(kill);
        let now = Manifest::of(&place.source()).unwrap();
        let known = |contents: &HashMap<String, Manifest>| -> Vec<String> {
            snapshots(&place).into_iter().filter(|id| !contents.contains_key(id)).collect()
        };
        let sessions = objects(&place, "sessions").len();
        let mut run = start_backup(&place);
        // Any moment of all of it, or of what comes once it writes. Not for synchronisation.
        let (seen, left) = match kill % 4 {
            0 => (true, whole),
            _ => (has_announced_itself(&place, &mut run, sessions), whole / 2),
        };
        if seen {
            std::thread::sleep(Duration::from_micros(moments.below(left)));
        }
        run.signal(Signal::KILL);
        let status = run.wait().status;
        assert!(status == 128 + 9 || status == 0, "kill {kill}: {status}");
        killed_while_writing += usize::from(objects(&place, "sessions").len() > sessions);
        // A run that committed before it was killed made a backup, and that is whole.
        for id in known(&contents) {
            committed += 1;
            assert_equal(&now, &restored(&place, &id), &format!("kill {kill}: committed"));
            contents.insert(id, now.clone());
        }
        let next = backup(&place, &[]).expect(0).summary();
        assert_equal(&now, &restored(&place, "latest"), &format!("kill {kill}: the next backup"));
        contents.insert(id(&next), now);
        let checked = check_is_clean(&place);
        assert_eq!(checked["orphans"], 0, "kill {kill}: what was stored whole is taken in");
        if kill.is_multiple_of(25) {
            all_come_back(&place, &contents);
            verb(&place, "forget", &["--keep-last", "6"]).expect(0);
            let left: Vec<String> = list(&place).iter().map(id).collect();
            assert_eq!(left.len(), 6);
            contents.retain(|id, _| left.contains(id));
        }
    }
    all_come_back(&place, &contents);
    assert!(killed_while_writing >= 20, "{killed_while_writing} of {KILLS} met a run that was writing");
    assert!(committed < KILLS, "{committed} of {KILLS} had committed before");
}

#[track_caller]
fn all_come_back(place: &Place, contents: &HashMap<String, Manifest>) {
    let listed: Vec<Value> = list(place);
    assert_eq!(listed.len(), contents.len());
    for backup in listed.iter().map(id) {
        assert_equal(&contents[&backup], &restored(place, &backup), &backup);
    }
}

#[test]
fn a_forget_killed_at_any_moment_is_finished_by_another() {
    let place = cheap_place();
    let mut tree = Changing { place: &place, random: Random::new(43) };
    let mut contents = HashMap::new();
    for step in 0..12 {
        tree.step(step);
        contents.insert(id(&backup(&place, &[]).expect(0).summary()), Manifest::of(&place.source()).unwrap());
    }
    // One goes with each run; the first is not killed.
    let keep = std::cell::Cell::new(11);
    kill_at_random(8, 5, || {
        let run = start(&place, place.arguments("forget", &["--keep-last"]), &keep.get().to_string());
        keep.set(keep.get() - 1);
        run
    });
    let left: Vec<String> = list(&place).iter().map(id).collect();
    contents.retain(|id, _| left.contains(id));
    all_come_back(&place, &contents);
    // What is gone was removed by somebody who said so.
    check_is_clean(&place);
    verb(&place, "forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(list(&place).len(), 1);
    check_is_clean(&place);
}

#[test]
fn a_restore_killed_at_any_moment_can_be_run_again() {
    let place = cheap_place();
    let tree = place.tree(33, Features::all());
    let expected = Manifest::of(tree.root()).unwrap();
    backup(&place, &[]).expect(0);
    fs::create_dir(place.path().join("targets")).unwrap();
    let arguments = place.restore_arguments(&place.target("t"), &["--overwrite", "--delete"]);
    kill_at_random(10, 6, || start(&place, arguments.clone(), "latest"));
    start(&place, arguments, "latest").wait().expect(0);
    assert_equal(&expected, &Manifest::of(&place.target("t")).unwrap(), "after ten kills");
    check_is_clean(&place);
}

/// Room for one page more each time: the disk is full at the session, the packs, the index, the snapshot.
#[test]
fn a_full_disk_leaves_a_repository_that_works_once_there_is_room() {
    let place = Place::new();
    let Some(_mount) = Mount::new(&place.repository(), "4m") else {
        return not_run("needs root and the right to mount a tmpfs");
    };
    init_cheaply(&place);
    place.write(&[("a", "1"), ("b/c", "2")]);
    let first = Manifest::of(&place.source()).unwrap();
    let kept = id(&backup(&place, &[]).expect(0).summary());
    let filler = place.repository().join(".filler");
    let mut failed = 0;
    for pages in 0..24 {
        fs::write(place.source().join("noise"), Random::new(pages).bytes(30_000)).unwrap();
        fill_but(&filler, pages);
        let before = list(&place).len();
        let outcome = backup(&place, &[]);
        let after = list(&place).len();
        if outcome.status == 0 {
            assert_eq!(after, before + 1, "{pages} pages");
        } else {
            failed += 1;
            let outcome = outcome.expect(1).explained();
            assert!(outcome.names("space"), "{pages} pages: the cause is not named: {outcome:?}");
            assert_eq!(after, before, "{pages} pages: it failed and counts");
        }
        assert_equal(&first, &restored(&place, &kept), "what was there before");
        check_is_clean(&place);
        fs::remove_file(&filler).unwrap();
        let expected = Manifest::of(&place.source()).unwrap();
        backup(&place, &[]).expect(0);
        assert_equal(&expected, &restored(&place, "latest"), &format!("{pages} pages: once there was room"));
        check_is_clean(&place);
    }
    assert!((3..24).contains(&failed), "{failed} of 24");
}

/// Fills the file system of `filler` but for some pages.
fn fill_but(filler: &std::path::Path, pages: u64) {
    let free = |path: &std::path::Path| {
        let stat = rustix::fs::statvfs(path).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    fs::write(filler, "").unwrap();
    let bytes = free(filler).saturating_sub(pages * 4096);
    fs::write(filler, vec![1; bytes as usize]).unwrap();
    assert!(free(filler) <= pages * 4096, "the file system has another size of pages");
}
