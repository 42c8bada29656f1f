//! `icecore copy`: backups go over into another repository, whole or not at all, and only what is missing.

use crate::dedup::{PASSWORD, backup, objects, place};
use crate::place::{HOST, NAME, Place, assert_equal, id};
use crate::program::Outcome;
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::Features;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const OTHER_PASSWORD: &str = "another horse";

/// So that a kill falls into the run. What passes in a second may pass at once.
const SLOWLY: [&str; 2] = ["--limit-upload", "16MiB/s"];
const SLOWLY_BY_LEVELS: [&str; 2] = ["--limit-upload", "8MiB/s"];
/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_millis(5);
/// Packs that are there when a copy is killed.
const ARRIVED: usize = 2;
/// What each level of a chain adds, none of which can be compressed.
const LEVEL_BYTES: usize = 8 << 20;

/// The second repository of a place, with a password of its own.
struct Other<'p>(&'p Place);

impl Other<'_> {
    fn path(&self) -> OsString {
        self.0.path().join("other").into()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut arguments: Vec<OsString> = vec![words[0].into(), "-r".into(), self.path(), "--json".into()];
        arguments.extend(words[1..].iter().map(OsString::from));
        let mut command = self.0.program.command(&arguments);
        command.env("ICECORE_PASSWORD", OTHER_PASSWORD);
        command
    }

    fn run(&self, words: &[&str]) -> Outcome {
        let output = self.command(words).output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    fn copying(&self, more: &[&str]) -> Command {
        let from = self.0.repository();
        let mut command =
            self.command(&[&["copy", "--from", from.to_str().unwrap(), "--init"], more].concat());
        command.env("ICECORE_FROM_PASSWORD", PASSWORD);
        command
    }

    fn copy(&self, more: &[&str]) -> Outcome {
        let output = self.copying(more).output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    /// What the backups restore to, oldest first.
    fn restored(&self, name: &str) -> Vec<Manifest> {
        let ids: Vec<String> = self.run(&["list"]).expect(0).of_type("backup").iter().map(id).collect();
        let restore = |(number, id): (usize, &String)| {
            let target = self.0.target(&format!("{name}-{number}"));
            self.run(&["restore", "--target", target.to_str().unwrap(), id]).expect(0);
            Manifest::of(&target).unwrap()
        };
        ids.iter().enumerate().map(restore).collect()
    }

    /// The lengths of the packs that are there whole.
    fn packs(&self) -> Vec<u64> {
        let files = files(Path::new(&self.path()).join("dedup/packs"));
        files
            .iter()
            .filter(|(name, _)| !name.contains(".icecore-tmp-"))
            .map(|(_, size_bytes)| *size_bytes)
            .collect()
    }

    /// How many levels are there: those that have their document.
    fn levels(&self) -> u64 {
        let files = files(Path::new(&self.path()).join("metadata"));
        files.iter().filter(|(name, _)| name.ends_with("/metadata")).count() as u64
    }

    fn check_is_clean(&self) {
        assert_eq!(self.run(&["check", "--read-data"]).expect(0).summary()["problems"], 0);
    }
}

/// All files below a folder that something writes to: name and length.
fn files(folder: PathBuf) -> Vec<(String, u64)> {
    let (mut found, mut todo) = (Vec::new(), vec![folder]);
    while let Some(folder) = todo.pop() {
        // They come and go while this looks.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            match metadata.is_dir() {
                true => todo.push(entry.path()),
                false => found.push((entry.path().to_string_lossy().into_owned(), metadata.len())),
            }
        }
    }
    found
}

fn stored(outcome: &Outcome) -> u64 {
    outcome.summary()["stored_bytes"].as_u64().unwrap()
}

fn counts(outcome: &Outcome) -> [u64; 3] {
    let summary = outcome.summary();
    ["copied", "present", "failed"].map(|key| summary[key].as_u64().unwrap())
}

/// A place with a history of backups, and what each of them is.
fn with_history(seed: u64) -> (Place, Vec<Manifest>) {
    let place = place();
    let mut tree = place.tree(seed, Features::all());
    // Of many chunks, and of more than an entry holds.
    fs::write(place.source().join("image"), Random::new(seed).bytes(48 << 20)).unwrap();
    let mut made = Vec::new();
    for step in 0..3 {
        if step > 0 {
            tree.mutate(step).unwrap();
        }
        place.settle();
        backup(&place, &["--time", &format!("@{}", 1_700_000_000 + step)]).expect(0);
        made.push(Manifest::of(&place.source()).unwrap());
    }
    (place, made)
}

#[test]
fn every_backup_goes_over_once_and_is_what_it_was() {
    let (place, made) = with_history(71);
    let other = Other(&place);
    let dry = other.run(&["init"]).expect(0);
    assert_eq!(dry.status, 0);
    let from = place.repository();
    let mut dry = other.command(&["copy", "--from", from.to_str().unwrap(), "--dry-run"]);
    let dry = dry.env("ICECORE_FROM_PASSWORD", PASSWORD).output().unwrap();
    assert_eq!(counts(&Outcome::new(dry.status, &dry.stdout, &dry.stderr)), [3, 0, 0]);
    assert!(other.run(&["list"]).expect(0).of_type("backup").is_empty());

    let first = other.copy(&[]).expect(0);
    assert_eq!(counts(&first), [3, 0, 0]);
    other.check_is_clean();
    for (number, (expected, restored)) in made.iter().zip(other.restored("all")).enumerate() {
        assert_equal(expected, &restored, &format!("backup {number}"));
    }
    let again = other.copy(&[]).expect(0);
    assert_eq!((counts(&again), stored(&again)), ([0, 3, 0], 0));

    // A later one moves what it has not in common with those that are there.
    fs::write(place.source().join("new"), Random::new(1).bytes(3 << 20)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let later = other.copy(&[]).expect(0);
    assert_eq!(counts(&later), [1, 3, 0]);
    assert!((3 << 20..6 << 20).contains(&stored(&later)), "{}", stored(&later));
    assert_equal(&Manifest::of(&place.source()).unwrap(), &other.restored("later")[3], "the later one");
    other.check_is_clean();
}

#[test]
fn nothing_is_compressed_anew_and_no_password_opens_the_other() {
    let place = place();
    // What nobody would make of it by the default level.
    let text = "no two lines of this are of one length, but nearly\n".repeat(200_000);
    fs::write(place.source().join("text"), text).unwrap();
    place.settle();
    let made = backup(&place, &["--compression", "off"]).expect(0).summary();
    let other = Other(&place);
    let copied = other.copy(&[]).expect(0);
    let (made, copied) = (made["stored_bytes"].as_u64().unwrap(), stored(&copied));
    assert!(copied.abs_diff(made) < made / 20, "{copied} for {made}");
    let mut wrong = other.copying(&[]);
    let wrong = wrong.env("ICECORE_FROM_PASSWORD", OTHER_PASSWORD).output().unwrap();
    Outcome::new(wrong.status, &wrong.stdout, &wrong.stderr).expect(12).explained();
    assert_eq!(
        other.command(&["list"]).env("ICECORE_PASSWORD", PASSWORD).output().unwrap().status.code(),
        Some(12)
    );
}

#[test]
fn only_those_that_are_meant_go_over() {
    let (place, made) = with_history(72);
    let other = Other(&place);
    let copied = other.copy(&["--host", HOST, "--name", NAME, "latest~1"]).expect(0);
    assert_eq!(counts(&copied), [1, 0, 0]);
    assert_equal(&made[1], &other.restored("one")[0], "the second");
    other.copy(&["--name", "other"]).expect(0);
    other.copy(&["not-an-id"]).expect(1).explained();
    assert_eq!(other.run(&["list"]).expect(0).of_type("backup").len(), 1);
}

#[test]
fn a_backup_that_is_damaged_is_named_and_the_others_go_over() {
    let place = place();
    fs::write(place.source().join("good"), Random::new(1).bytes(1 << 20)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let before = objects(&place, "packs");
    fs::write(place.source().join("bad"), Random::new(2).bytes(1 << 20)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let new = objects(&place, "packs").into_iter().filter(|pack| !before.contains(pack));
    let content = new.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let mut bytes = fs::read(&content).unwrap();
    bytes[300_000] ^= 1;
    fs::write(&content, bytes).unwrap();
    let other = Other(&place);
    let copied = other.copy(&[]).expect(1).explained();
    assert_eq!(counts(&copied), [1, 0, 1]);
    assert_eq!(other.restored("rest").len(), 1);
    other.check_is_clean();
}

#[test]
fn a_copy_that_is_killed_goes_on_where_it_was() {
    let (place, made) = with_history(73);
    let other = Other(&place);
    let mut moments = Random::new(74);
    for _ in 0..4 {
        let running = Running::start(other.copying(&[]));
        // Not for synchronisation: the moment shall be any.
        std::thread::sleep(Duration::from_millis(moments.below(900)));
        running.signal(Signal::KILL);
        running.wait();
    }
    assert_eq!(counts(&other.copy(&[]).expect(0)).iter().sum::<u64>(), 3);
    for (expected, restored) in made.iter().zip(other.restored("all")) {
        assert_equal(expected, &restored, "after kills");
    }
    other.check_is_clean();

    // Once more from the beginning, killed when some of it has arrived: that is not sent again.
    fs::remove_dir_all(other.path()).unwrap();
    let mut running = Running::start(other.copying(&SLOWLY));
    while other.packs().len() < ARRIVED {
        assert!(!running.has_ended(), "it ended before it was killed: {:?}", running.wait());
        std::thread::sleep(LOOK);
    }
    running.signal(Signal::KILL);
    running.wait();
    let arrived: u64 = other.packs().iter().sum();
    let rest = other.copy(&[]).expect(0);
    assert_eq!(counts(&rest), [3, 0, 0]);
    let all: u64 = objects(&place, "packs").iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert!(arrived > all / 8, "{arrived} of {all} had arrived");
    // Packs end elsewhere, and what is known of entries is written anew.
    assert!(
        stored(&rest) + arrived < all + all / 16,
        "{} of {all}, behind {arrived}, were stored",
        stored(&rest)
    );
    assert_equal(&made[2], other.restored("rest").last().unwrap(), "after a kill");
    other.check_is_clean();
}

#[test]
fn chains_go_over_as_they_are() {
    let place = Place::new();
    let mut tree = place.tree(75, Features::all());
    let mut made = Vec::new();
    for step in 0..3 {
        if step > 0 {
            tree.mutate(step).unwrap();
            place.settle();
        }
        place.increment();
        made.push(Manifest::of(&place.source()).unwrap());
    }
    let other = Other(&place);
    let ids = place.ids();
    // The level that is meant, and the one below it.
    let copied = other.copy(&[&ids[1]]).expect(0);
    assert_eq!(counts(&copied), [2, 0, 0]);
    let rest = other.copy(&[]).expect(0);
    assert_eq!(counts(&rest), [1, 2, 0]);
    for (number, (expected, restored)) in made.iter().zip(other.restored("levels")).enumerate() {
        assert_equal(expected, &restored, &format!("level {number}"));
    }
    other.check_is_clean();
}

#[test]
fn a_copy_of_a_chain_that_is_killed_goes_on_where_it_was() {
    let place = Place::new();
    let mut made = Vec::new();
    for step in 0..3 {
        let bytes = Random::new(76 + step).bytes(LEVEL_BYTES);
        fs::write(place.source().join(format!("image {step}")), bytes).unwrap();
        place.settle();
        place.increment();
        made.push(Manifest::of(&place.source()).unwrap());
    }
    let other = Other(&place);
    let are_equal = |name: &str| {
        for (number, (expected, restored)) in made.iter().zip(other.restored(name)).enumerate() {
            assert_equal(expected, &restored, &format!("{name}, level {number}"));
        }
    };
    let mut moments = Random::new(77);
    for _ in 0..4 {
        let running = Running::start(other.copying(&[]));
        // Not for synchronisation: the moment shall be any.
        std::thread::sleep(Duration::from_millis(moments.below(300)));
        running.signal(Signal::KILL);
        running.wait();
    }
    assert_eq!(counts(&other.copy(&[]).expect(0)).iter().sum::<u64>(), 3);
    are_equal("after kills");
    other.check_is_clean();

    // Once more from the beginning, killed when a level is there: it is not sent again.
    fs::remove_dir_all(other.path()).unwrap();
    let mut running = Running::start(other.copying(&SLOWLY_BY_LEVELS));
    while other.levels() == 0 {
        assert!(!running.has_ended(), "it ended before it was killed: {:?}", running.wait());
        std::thread::sleep(LOOK);
    }
    running.signal(Signal::KILL);
    running.wait();
    let there = other.levels();
    assert!((1..3).contains(&there), "{there} levels were there");
    let rest = other.copy(&[]).expect(0);
    assert_eq!(counts(&rest), [3 - there, there, 0]);
    let (least, stored) = ((3 - there) * LEVEL_BYTES as u64, stored(&rest));
    assert!((least..least + least / 8).contains(&stored), "{stored} behind {there} levels");
    are_equal("after a kill");
    other.check_is_clean();
}
