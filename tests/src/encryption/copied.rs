//! Chains that are copied to other keys: `age` opens them with the new ones, and nothing does with the old.

use super::recipients::pair;
use super::{
    PASSWORD, all_restore, chain, files_below, has, level, restore, run, run_words, shell, tar_restores,
};
use crate::place::{Place, SERIES, assert_equal, entries};
use crate::program::{Outcome, not_run};
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OTHER: &str = "another horse";
/// The public half of a key that nobody has.
const KEY: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// A second repository beside that of a place.
struct Other<'p>(&'p Place);

impl Other<'_> {
    fn path(&self) -> PathBuf {
        self.0.path().join("other")
    }

    /// Copies chains of tar there: the password of the one, that of the other, and words.
    fn command(&self, from: Option<&str>, to: Option<&str>, more: &[&str]) -> Command {
        let (first, other) = (self.0.repository(), self.path());
        let words = ["copy", "-r", other.to_str().unwrap(), "--from", first.to_str().unwrap()];
        let mut command = self.0.program.command(&[&words[..], &["--init", "--json"], more].concat());
        command.envs(from.map(|password| ("ICECORE_FROM_PASSWORD", password)));
        command.envs(to.map(|password| ("ICECORE_PASSWORD", password)));
        command
    }

    fn copy(&self, from: Option<&str>, to: Option<&str>, more: &[&str]) -> Outcome {
        let output = self.command(from, to, more).output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    /// From now on it is the repository of the place.
    fn takes_the_place(&self) {
        fs::rename(self.0.repository(), self.0.path().join("first")).unwrap();
        fs::rename(self.path(), self.0.repository()).unwrap();
    }

    /// What stands in the folder `data`, or `metadata`; files that a killed process was writing are no objects.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = files_below(&self.path().join(folder));
        files.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with(".icecore-tmp-"));
        files
    }

    fn has_no_backup(&self) {
        let other = self.path();
        let listed = self.0.program.run(&["list", "-r", other.to_str().unwrap(), "--json"]).expect(0);
        assert!(listed.of_type("backup").is_empty(), "{listed:?}");
    }
}

/// Copied, present and failed.
fn counts(outcome: &Outcome) -> [u64; 3] {
    let summary = outcome.summary();
    ["copied", "present", "failed"].map(|key| summary[key].as_u64().unwrap())
}

/// What is said of the backups that were not copied.
fn errors(outcome: &Outcome) -> String {
    let rows = outcome.of_type("backup");
    let failed = rows.iter().filter(|row| row["outcome"] == "failed");
    failed.map(|row| row["error"].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn recipients_are_exchanged_on_the_way_and_age_opens_what_arrives() {
    if !has("age") {
        return not_run("age is needed");
    }
    let place = Place::new();
    place.write(&[("a-name-nobody-knows", "some content")]);
    let (old, old_public) = pair(&place, "old");
    let (new, new_public) = pair(&place, "new");
    let expected = chain(&place, || level(&place, None, &["--recipient", &old_public]));
    let other = Other(&place);
    let words = ["--identity", &old, "--recipient", &new_public];
    assert_eq!(counts(&other.copy(None, None, &words).expect(0)), [3, 0, 0]);
    let before = other.files("data");
    let again = other.copy(None, None, &words).expect(0);
    assert_eq!((counts(&again), again.summary()["stored_bytes"].as_u64()), ([0, 3, 0], Some(0)));
    assert_eq!((before.len(), before), (6, other.files("data")));

    other.takes_the_place();
    all_restore(&place, None, &expected, &["--identity", &new]);
    restore(&place, None, "old", &["--identity", &old]).expect(12).explained();
    run(&place, None, "check", &["--read-data", "--identity", &new]).expect(0);
    tar_restores(&place, "zstd", &expected, |folder, plain| {
        let (data, state) = (folder.join("data"), folder.join("engine_metadata"));
        let files: [(&str, &Path); 5] = [
            ("OLD", Path::new(&old)),
            ("NEW", Path::new(&new)),
            ("PLAIN", plain),
            ("DATA", &data),
            ("STATE", &state),
        ];
        shell(
            &place,
            r#"
                age -d -i "$NEW" -o "$PLAIN" "$DATA"
                age -d -i "$NEW" "$STATE" | head -c 8 | grep -q "GNU tar"
                ! age -d -i "$OLD" "$DATA" > /dev/null 2>&1
                ! age -d -i "$OLD" "$STATE" > /dev/null 2>&1
            "#,
            &files,
        );
    });
    // The way back: what was made there is known again.
    let (first, second) = (place.path().join("first"), place.repository());
    let words = ["copy", "-r", first.to_str().unwrap(), "--from", second.to_str().unwrap(), "--json"];
    let back = place.program.run(&words).expect(0);
    assert_eq!(counts(&back), [0, 3, 0]);
}

#[test]
fn a_chain_that_grows_keeps_its_keys_where_it_is_copied_to() {
    if !has("age") {
        return not_run("age is needed");
    }
    let place = Place::new();
    place.write(&[("a", "1")]);
    let (new, new_public) = pair(&place, "new");
    let (_, third) = pair(&place, "third");
    let other = Other(&place);
    level(&place, Some(PASSWORD), &[]).expect(0);
    assert_eq!(counts(&other.copy(Some(PASSWORD), None, &["--recipient", &new_public]).expect(0)), [1, 0, 0]);
    place.write(&[("b", "2")]);
    level(&place, Some(PASSWORD), &[]).expect(0);
    let expected = Manifest::of(&place.source()).unwrap();
    // Neither as it is, nor to others, nor under a password: its chain is there to the first.
    let as_it_is = other.copy(None, None, &[]).expect(1).explained();
    assert_eq!(counts(&as_it_is), [0, 1, 1]);
    assert!(errors(&as_it_is).contains("with other keys than it has"), "{as_it_is:?}");
    for words in [&["--recipient", &third][..], &["--encryption", "age"], &["--encryption", "none"]] {
        let refused = other.copy(Some(PASSWORD), Some(OTHER), words).expect(1).explained();
        assert_eq!(counts(&refused), [0, 0, 2], "{words:?}");
        assert!(errors(&refused).contains("not encrypted as it is asked for now"), "{refused:?}");
    }
    assert_eq!(other.files("metadata").len(), 1);
    // What does not open is named, and the others would go on.
    let wrong = other.copy(Some(OTHER), None, &["--recipient", &new_public]).expect(1).explained();
    assert_eq!(counts(&wrong), [0, 1, 1]);
    assert!(errors(&wrong).contains("password"), "{wrong:?}");
    let none = other.copy(None, None, &["--recipient", &new_public]).expect(1).explained();
    assert!(errors(&none).contains("1_"), "{none:?}");
    let rehearsal = ["--recipient", &new_public, "--dry-run"];
    assert_eq!(counts(&other.copy(Some(PASSWORD), None, &rehearsal).expect(0)), [1, 1, 0]);
    assert_eq!(other.files("data").len(), 2);
    let grown = other.copy(Some(PASSWORD), None, &["--recipient", &new_public]).expect(0);
    assert_eq!(counts(&grown), [1, 1, 0]);
    other.takes_the_place();
    restore(&place, None, "target", &["--identity", &new]).expect(0);
    assert_equal(&expected, &Manifest::of(&place.target("target")).unwrap(), "the second level");
    restore(&place, Some(PASSWORD), "old", &[]).expect(2).explained();
}

#[test]
fn recipients_become_a_password_and_backups_go_on_with_what_was_copied() {
    if !has("age") {
        return not_run("age is needed");
    }
    let place = Place::new();
    let (old, old_public) = pair(&place, "old");
    let other = Other(&place);
    let words = ["--identity", &old, "--encryption", "age"];
    // A level at a time: each copy takes up the key of the chain.
    let expected = chain(&place, || {
        let made = level(&place, None, &["--recipient", &old_public]);
        other.copy(None, Some(OTHER), &words).expect(0);
        made
    });
    let wrong = other.copy(None, Some(PASSWORD), &words).expect(1).explained();
    assert_eq!(counts(&wrong), [0, 0, 3]);
    let locked_key = |file: &PathBuf| {
        let document: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        document["icecore"]["encryption"]["locked_key"].as_str().unwrap().to_owned()
    };
    let mut keys: Vec<String> = other.files("metadata").iter().map(locked_key).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1, "not one key");
    other.takes_the_place();
    restore(&place, Some(OTHER), "target", &[]).expect(0);
    assert_equal(&expected[2], &Manifest::of(&place.target("target")).unwrap(), "the last level");
    restore(&place, None, "old", &["--identity", &old]).expect(2).explained();
    place.write(&[("later", "3")]);
    let later = level(&place, Some(OTHER), &[]).expect(0).summary();
    assert_eq!(later["level"], 3, "{later}");
}

#[test]
fn chains_are_encrypted_that_were_not_and_the_other_way_round_if_that_is_said() {
    for engine in ["tar", "rsync"] {
        let place = Place::of(engine);
        place.write(&[("a", "1"), ("large", &"no two lines alike, or nearly\n".repeat(50_000))]);
        place.increment();
        place.write(&[("b", "2")]);
        place.increment();
        let expected = Manifest::of(&place.source()).unwrap();
        let other = Other(&place);
        assert_eq!(counts(&other.copy(None, Some(OTHER), &["--encryption", "age"]).expect(0)), [2, 0, 0]);
        other.takes_the_place();
        let back = other.copy(Some(OTHER), None, &["--encryption", "none"]).expect(0);
        assert_eq!(counts(&back), [2, 0, 0]);
        let restored = |name: &str, password| {
            restore(&place, password, name, &[]).expect(0);
            assert_equal(&expected, &Manifest::of(&place.target(name)).unwrap(), name);
        };
        restored("encrypted", Some(OTHER));
        // What came back has the bytes that were there at first.
        for file in files_below(&place.path().join("first/data")) {
            let theirs = other.path().join(file.strip_prefix(place.path().join("first")).unwrap());
            assert!(fs::read(&file).unwrap() == fs::read(&theirs).unwrap(), "{}", theirs.display());
        }
        fs::rename(place.repository(), place.path().join("second")).unwrap();
        fs::rename(other.path(), place.repository()).unwrap();
        restored("plain", None);
        assert_eq!(place.increment()["level"], 2);
    }
}

#[test]
fn chains_for_freezer_go_to_age_and_come_from_it() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let expected = Manifest::of(&place.source()).unwrap();
    level(&place, Some(PASSWORD), &["--encryption", "freezer"]).expect(0);
    let other = Other(&place);
    assert_eq!(
        counts(&other.copy(Some(PASSWORD), Some(OTHER), &["--encryption", "age"]).expect(0)),
        [1, 0, 0]
    );
    other.takes_the_place();
    restore(&place, Some(OTHER), "age", &[]).expect(0);
    let back = other.copy(Some(OTHER), Some("third"), &["--encryption", "freezer"]).expect(0);
    assert_eq!((counts(&back), back.of_type("warning").len()), ([1, 0, 0], 1), "{back:?}");
    fs::remove_dir_all(place.repository()).unwrap();
    fs::rename(other.path(), place.repository()).unwrap();
    restore(&place, Some("third"), "freezer", &[]).expect(0);
    restore(&place, Some(PASSWORD), "old", &[]).expect(12).explained();
    for name in ["age", "freezer"] {
        assert_equal(&expected, &Manifest::of(&place.target(name)).unwrap(), name);
    }
    // Freezer does not read zstd, and nothing is compressed anew.
    let mut words = place.arguments("backup", &["--engine", "tar", "--no-encryption"]);
    words.push(place.source().into());
    run_words(&place, None, words).expect(0);
    let refused = other.copy(Some("third"), Some(OTHER), &["--encryption", "freezer"]).expect(1).explained();
    assert_eq!(counts(&refused), [1, 0, 1]);
    assert!(errors(&refused).contains("zstd"), "{refused:?}");
}

#[test]
fn a_changed_byte_at_the_source_is_named_and_nothing_is_there_for_it() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    level(&place, Some(PASSWORD), &[]).expect(0);
    place.write(&[("b", "2")]);
    level(&place, Some(PASSWORD), &[]).expect(0);
    let folders = place.stored_levels();
    for (number, object) in [(0_u8, "data"), (0, "engine_metadata"), (1, "data")] {
        let level = &folders[usize::from(number)];
        let file = level.join(object);
        let sound = fs::read(&file).unwrap();
        let mut bytes = sound.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        let other = Other(&place);
        let refused = other.copy(Some(PASSWORD), None, &["--recipient", KEY]).expect(1);
        let before = u64::from(number);
        assert_eq!(counts(&refused), [before, 0, 2 - before]);
        let name = format!("{}/{object}", level.file_name().unwrap().display());
        assert!(errors(&refused).contains(&name), "{name} {refused:?}");
        if number == 0 {
            other.has_no_backup();
        }
        assert_eq!(other.files("data").len(), 2 * usize::from(number), "something was left behind");
        fs::remove_dir_all(other.path()).unwrap();
        fs::write(&file, sound).unwrap();
    }
}

#[test]
fn a_copy_to_other_keys_that_is_killed_goes_on_where_it_was() {
    for mebibytes in [8_usize, 64, 512] {
        let place = Place::new();
        place.write(&[("a", "1")]);
        level(&place, Some(PASSWORD), &[]).expect(0);
        fs::write(place.source().join("image"), Random::new(78).bytes(mebibytes << 20)).unwrap();
        place.settle();
        level(&place, Some(PASSWORD), &["--compression", "none"]).expect(0);
        let expected = Manifest::of(&place.source()).unwrap();
        let other = Other(&place);
        let words = ["--encryption", "age"];
        let mut run = Running::start(other.command(Some(PASSWORD), Some(OTHER), &words));
        // The second level, once it is claimed.
        let is_claimed = || {
            let chains = entries(&other.path().join("data/tar").join(SERIES));
            let levels: Vec<PathBuf> = chains.iter().flat_map(|chain| entries(chain)).collect();
            levels.len() == 2 && levels[1].join("claim").exists()
        };
        while !is_claimed() && !run.has_ended() {
            std::thread::yield_now();
        }
        run.signal(Signal::KILL);
        run.wait();
        if other.files("metadata").len() == 2 {
            continue;
        }
        assert!(is_claimed());
        // As it is, it cannot go on with a chain that has other keys; nothing of the claim is touched.
        assert_eq!(counts(&other.copy(None, None, &[]).expect(1)), [0, 1, 1]);
        let resumed = other.copy(Some(PASSWORD), Some(OTHER), &words).expect(0);
        assert_eq!(counts(&resumed), [1, 1, 0]);
        assert_eq!(other.files("data").len(), 4, "something was left behind");
        other.takes_the_place();
        run_check(&place);
        restore(&place, Some(OTHER), "target", &[]).expect(0);
        return assert_equal(&expected, &Manifest::of(&place.target("target")).unwrap(), "after a kill");
    }
    panic!("a level of 512 MiB was copied before it could be caught");
}

fn run_check(place: &Place) {
    assert_eq!(run(place, Some(OTHER), "check", &["--read-data"]).expect(0).summary()["problems"], 0);
}

#[test]
fn what_means_nothing_to_a_copy_is_refused() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    level(&place, Some(PASSWORD), &[]).expect(0);
    let other = Other(&place);
    for words in [
        &["--identity", "/nowhere"][..],
        &["--encryption", "none", "--recipient", KEY],
        &["--encryption", "freezer", "--recipient", KEY],
        &["--encryption", "rot13"],
        &["--recipient", "age1nobody"],
    ] {
        other.copy(Some(PASSWORD), Some(OTHER), words).expect(2);
    }
    // A password for what is there, and nobody to ask for one.
    other.copy(Some(PASSWORD), None, &["--encryption", "age"]).expect(2).explained();
    assert!(other.files("data").is_empty());
}
