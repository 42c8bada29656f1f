//! Mirrors as a user has them: `-r` several times.

use crate::place::{Place, assert_equal, entries};
use crate::program::Outcome;
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A source and two places for its backups.
struct Desk {
    place: Place,
}

impl Desk {
    fn new() -> Desk {
        let place = Place::new();
        place.write(&[("letters/a", "first"), ("letters/b", "second")]);
        Desk { place }
    }

    fn at(&self, name: &str) -> String {
        self.place.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, verb: &str, places: &[&str], more: &[&str]) -> Outcome {
        let mut words = vec![verb.to_owned()];
        for place in places {
            words.extend(["-r".to_owned(), self.at(place)]);
        }
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let mut command = self.place.program.command(&words);
        command.env("ICECORE_PASSWORD", "a password");
        let output = command.output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    fn back_up(&self, places: &[&str], more: &[&str]) -> Outcome {
        let source = self.at("source");
        self.run("backup", places, &[&["--name", "docs", "--json", source.as_str()], more].concat())
    }

    /// What a place by itself restores to is the source as it is now.
    #[track_caller]
    fn restores(&self, places: &[&str]) {
        let target = self.place.target(&places.join("-"));
        self.run("restore", places, &["--target", target.to_str().unwrap(), "latest"]).expect(0);
        assert_equal(
            &Manifest::of(&self.place.source()).unwrap(),
            &Manifest::of(&target).unwrap(),
            &places.join(" "),
        );
        fs::remove_dir_all(target).unwrap();
    }
}

#[test]
fn both_places_get_everything_and_each_restores_by_itself() {
    let desk = Desk::new();
    desk.run("init", &["a", "b"], &[]).expect(0);
    desk.back_up(&["a", "b"], &[]).expect(0);
    for places in [&["a"][..], &["b"], &["a", "b"], &["b", "a"]] {
        desk.restores(places);
        desk.run("check", places, &["--read-data"]).expect(0);
    }
    desk.run("sync", &["a", "b"], &["--compare-data"]).expect(0);
}

#[test]
fn a_place_that_is_away_is_named_and_brought_up_to_the_others_later() {
    let desk = Desk::new();
    desk.run("init", &["a", "b"], &[]).expect(0);
    fs::rename(desk.at("b"), desk.at("away")).unwrap();
    let refused = desk.back_up(&["a", "b"], &[]).expect(1);
    assert!(refused.stderr.contains(&desk.at("b")), "{refused:?}");
    let unheard = desk.run("sync", &["a", "b"], &[]).expect(1);
    assert!(!unheard.stdout.contains("nothing was missing"), "{unheard:?}");
    let behind = desk.back_up(&["a", "b"], &["--min-copies", "1"]).expect(3);
    assert!(behind.stderr.contains("is behind"), "{behind:?}");
    // What is there can be restored, but is not all that was to be checked.
    desk.restores(&["a", "b"]);
    let half = desk.run("check", &["a", "b"], &[]).expect(3);
    assert!(half.stderr.contains(&desk.at("b")), "{half:?}");
    fs::rename(desk.at("away"), desk.at("b")).unwrap();
    desk.place.write(&[("letters/c", "third")]);
    // The next backup heals first.
    desk.back_up(&["a", "b"], &[]).expect(0);
    for place in ["a", "b"] {
        desk.restores(&[place]);
        assert_eq!(desk.run("list", &[place], &["--json"]).expect(0).stdout.matches("\"backup\"").count(), 2);
    }
}

/// Where a disk is to be mounted and is not there is an empty folder: no place for a copy that nobody asked for.
#[test]
fn an_empty_place_is_filled_only_when_that_is_asked_for() {
    let desk = Desk::new();
    desk.run("init", &["a", "b"], &[]).expect(0);
    desk.back_up(&["a", "b"], &[]).expect(0);
    fs::rename(desk.at("b"), desk.at("disk")).unwrap();
    fs::create_dir(desk.at("b")).unwrap();
    desk.place.write(&[("letters/c", "third")]);
    for outcome in [desk.back_up(&["a", "b"], &[]).expect(1), desk.run("sync", &["a", "b"], &[]).expect(1)] {
        assert!(outcome.stderr.contains("mounted") && outcome.stderr.contains(&desk.at("b")), "{outcome:?}");
    }
    desk.back_up(&["a", "b"], &["--min-copies", "1"]).expect(3);
    desk.restores(&["a", "b"]);
    desk.run("check", &["a", "b"], &[]).expect(3);
    assert_eq!(fs::read_dir(desk.at("b")).unwrap().count(), 0);
    // What cannot be asked may have the repository: it is not said that there is none, and none is made.
    for (verb, words) in [("list", &[][..]), ("init", &["--min-copies", "1"])] {
        let outcome = desk.run(verb, &["b", "source/letters/a"], words).expect(1);
        assert!(outcome.stderr.contains("not every place could be asked"), "{verb}: {outcome:?}");
    }
    desk.run("sync", &["a", "b"], &["--init"]).expect(0);
    desk.restores(&["b"]);
    desk.run("sync", &["a", "disk"], &[]).expect(0);
    desk.restores(&["disk"]);
}

#[test]
fn a_new_place_is_made_by_sync_and_a_strange_one_is_refused() {
    let desk = Desk::new();
    desk.run("init", &["a"], &[]).expect(0);
    desk.back_up(&["a"], &[]).expect(0);
    desk.run("sync", &["a", "new"], &["--init"]).expect(0);
    desk.restores(&["new"]);
    assert!(desk.run("sync", &["a", "new"], &[]).expect(0).stdout.contains("nothing was missing"));
    desk.run("init", &["other"], &[]).expect(0);
    assert!(desk.run("sync", &["a", "other"], &[]).expect(2).stderr.contains("not one repository"));
    assert!(desk.run("sync", &["a", "source"], &[]).expect(2).stderr.contains("used for something else"));
    assert!(desk.run("sync", &["a"], &[]).expect(2).stderr.contains("one place"));
    assert!(desk.run("list", &["a", "a"], &[]).expect(2).stderr.contains("given twice"));
    assert!(
        desk.run("list", &["a", "new"], &["--min-copies", "3"]).expect(2).stderr.contains("so many copies")
    );
}

#[test]
fn what_was_forgotten_while_a_place_was_away_is_gone_from_it_too() {
    let desk = Desk::new();
    desk.run("init", &["a", "b"], &[]).expect(0);
    for text in ["one", "two"] {
        desk.place.write(&[("letters/a", text)]);
        desk.back_up(&["a", "b"], &[]).expect(0);
    }
    fs::rename(desk.at("b"), desk.at("away")).unwrap();
    desk.run("forget", &["a", "b"], &["--min-copies", "1", "--keep-last", "1"]).expect(3);
    fs::rename(desk.at("away"), desk.at("b")).unwrap();
    desk.run("sync", &["a", "b"], &[]).expect(0);
    for place in ["a", "b"] {
        assert_eq!(desk.run("list", &[place], &["--json"]).expect(0).stdout.matches("\"backup\"").count(), 1);
        desk.restores(&[place]);
    }
}

#[test]
fn a_damaged_copy_is_read_past_and_repaired() {
    let desk = Desk::new();
    desk.run("init", &["a", "b"], &[]).expect(0);
    desk.back_up(&["a", "b"], &[]).expect(0);
    let mut folders = vec![desk.place.path().join("a/dedup/packs")];
    let mut damaged = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            bytes[150] ^= 1;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged >= 2);
    desk.run("check", &["a"], &["--read-data"]).expect(1);
    desk.restores(&["a", "b"]);
    let repaired = desk.run("sync", &["a", "b"], &["--compare-data", "--json"]).expect(0);
    assert!(repaired.stdout.contains(&format!("\"repaired\":{damaged}")), "{repaired:?}");
    desk.run("check", &["a"], &["--read-data"]).expect(0);
    desk.restores(&["a"]);
}

/// Of a chain it is known only when all of it was read. Which place is read first is the program's affair: of the two orders one comes
/// upon the damage.
#[test]
fn a_chain_of_which_one_copy_is_damaged_is_restored_from_the_other() {
    let desk = Desk::new();
    desk.place.write(&[("letters/long", &"nothing new ".repeat(3000))]);
    desk.back_up(&["a", "b"], &["--engine", "tar", "--no-encryption", "--init"]).expect(0);
    // data/tar/SERIES/CHAIN/LEVEL/data
    let stored = |name: &str| {
        let mut at = desk.place.path().join(name).join("data/tar");
        while at.is_dir() {
            at = entries(&at).remove(0);
        }
        at
    };
    let (data, sound) = (stored("a"), fs::read(stored("b")).unwrap());
    assert_eq!(fs::read(&data).unwrap(), sound);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for hurt in [Some(flipped.as_slice()), Some(&sound[..sound.len() - 1]), None] {
        match hurt {
            Some(bytes) => fs::write(&data, bytes).unwrap(),
            None => fs::remove_file(&data).unwrap(),
        }
        let mut told = 0;
        for places in [["a", "b"], ["b", "a"]] {
            let target = desk.place.target("back");
            let outcome = desk.run("restore", &places, &["--target", target.to_str().unwrap()]).expect(0);
            let now = Manifest::of(&desk.place.source()).unwrap();
            assert_equal(&now, &Manifest::of(&target).unwrap(), &places.join(" "));
            fs::remove_dir_all(target).unwrap();
            let hint = if hurt.is_some() { "icecore sync --compare-data repairs it" } else { "icecore sync" };
            told += u32::from(outcome.stderr.contains(hint));
        }
        assert!(told >= 1, "{hurt:?}");
        desk.run("check", &["a"], &["--read-data"]).expect(1);
        let words: &[&str] = if hurt.is_some() { &["--compare-data"] } else { &[] };
        desk.run("sync", &["a", "b"], words).expect(0);
        assert_eq!(fs::read(&data).unwrap(), sound);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
