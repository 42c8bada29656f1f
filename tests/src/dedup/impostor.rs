//! Another repository in the place of the right one: readable by all where it was encrypted, or the right one as it was before.

use super::{PASSWORD, backup, init, list, objects, place, restore, run, verb};
use crate::place::{Place, assert_equal, id};
use crate::program::Outcome;
use icecore_testkit::manifest::Manifest;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place whose repository is not encrypted, and has a backup.
fn open_place() -> Place {
    let place = Place::new();
    place.write(&[("a", "put there by somebody else")]);
    let repository = place.repository();
    place.program.run(&["init", "--no-encryption", "-r", repository.to_str().unwrap()]).expect(0);
    let mut arguments = place.arguments("backup", &["--no-encryption"]);
    arguments.push(place.source().into());
    place.program.run(&arguments).expect(0);
    place
}

fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap_or(());
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Every verb that opens a repository, with what it needs.
fn verbs(place: &Place) -> Vec<Vec<OsString>> {
    let repository: OsString = place.repository().into();
    let target: OsString = place.target("never").into();
    let mut all: Vec<Vec<OsString>> = Vec::new();
    let mut verb = |words: &[&str], more: Vec<OsString>| {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.extend(["--json".into(), "-r".into(), repository.clone()]);
        arguments.extend(more);
        all.push(arguments);
    };
    verb(&["backup"], vec![place.source().into()]);
    verb(&["backup", "--no-encryption"], vec![place.source().into()]);
    verb(&["backup", "--init"], vec![place.source().into()]);
    verb(&["restore"], vec!["--target".into(), target]);
    verb(&["list"], vec![]);
    verb(&["check"], vec![]);
    verb(&["forget", "--keep-last", "1"], vec![]);
    verb(&["info"], vec![]);
    verb(&["key", "list"], vec![]);
    verb(&["key", "add"], vec![]);
    all
}

fn with(place: &Place, arguments: &[OsString], variables: &[(&str, &str)]) -> Outcome {
    let output = place.program.command(arguments).envs(variables.iter().copied()).output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

#[test]
fn who_has_a_password_is_not_served_by_a_repository_without_one() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    copy(&open_place().repository(), &place.repository());
    let before = Manifest::of(&place.repository()).unwrap();
    for arguments in verbs(&place) {
        let outcome = with(&place, &arguments, &[("ICECORE_PASSWORD", PASSWORD)]);
        assert_eq!(outcome.status, 2, "{arguments:?}: {outcome:?}");
        outcome.explained();
    }
    for given in ["ICECORE_PASSWORD_FILE", "ICECORE_PASSWORD_COMMAND"] {
        let outcome = with(&place, &place.arguments("list", &[]), &[(given, "anything")]);
        assert_eq!(outcome.status, 2, "{given}: {outcome:?}");
    }
    assert!(!place.target("never").exists());
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "nothing was written");
    // Nor without a password, unless it is said that this is meant.
    let mut bare = place.arguments("backup", &[]);
    bare.push(place.source().into());
    let elsewhere = place.path().join("elsewhere");
    let new_here = [("XDG_STATE_HOME", elsewhere.to_str().unwrap())];
    let refused = with(&place, &bare, &new_here).expect(2).explained();
    let hint = refused.of_type("error")[0]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("--no-encryption"), "{hint}");
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "nothing was written");
}

#[test]
fn a_place_that_was_encrypted_is_not_served_without_encryption_to_who_is_not_asked() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    copy(&open_place().repository(), &place.repository());
    // Nobody gives a password, as where it would be typed at the prompt.
    for arguments in verbs(&place) {
        let outcome = with(&place, &arguments, &[]);
        assert_eq!(outcome.status, 1, "{arguments:?}: {outcome:?}");
        outcome.explained();
    }
    assert!(!place.target("never").exists());
    // Who has never seen the place cannot know.
    let elsewhere = place.path().join("elsewhere");
    let state = [("XDG_STATE_HOME", elsewhere.to_str().unwrap())];
    with(&place, &place.arguments("list", &[]), &state).expect(0);
}

#[test]
fn the_config_of_a_repository_without_encryption_opens_nothing() {
    let place = place();
    place.write(&[("a", "content")]);
    let made = id(&backup(&place, &[]).expect(0).summary());
    let open = open_place();
    let config = place.repository().join("dedup/config");
    let whole = fs::read(&config).unwrap();
    let is_refused = |what: &str| {
        for variables in [&[("ICECORE_PASSWORD", PASSWORD)][..], &[]] {
            for verb in ["list", "check", "restore"] {
                let target = place.target("never").to_str().unwrap().to_owned();
                let more: &[&str] = if verb == "restore" { &["--target", &target, &made] } else { &[] };
                let outcome = with(&place, &place.arguments(verb, more), variables);
                assert!(matches!(outcome.status, 1 | 2 | 12), "{what}: {verb}: {outcome:?}");
                outcome.explained();
            }
            let mut arguments = place.arguments("backup", &["--no-encryption"]);
            arguments.push(place.source().into());
            let outcome = with(&place, &arguments, variables);
            assert!(matches!(outcome.status, 1 | 2 | 12), "{what}: backup: {outcome:?}");
        }
        assert!(!place.target("never").exists(), "{what}");
    };
    // Theirs in place of ours: no key of ours fits, and theirs is not there.
    fs::copy(open.repository().join("dedup/config"), &config).unwrap();
    is_refused("their config");
    // Ours, made to say that nothing is encrypted.
    let mut bytes = whole.clone();
    bytes[10] = 0;
    fs::write(&config, &bytes).unwrap();
    is_refused("our config without its cipher");
    // Theirs with its key: it opens for who has no password, and then nothing of ours is theirs.
    fs::copy(open.repository().join("dedup/config"), &config).unwrap();
    let key = objects(&open, "keys").pop().unwrap();
    let to = place.repository().join("dedup/keys").join(key.file_name().unwrap());
    fs::copy(&key, &to).unwrap();
    with(&place, &place.arguments("list", &[]), &[("ICECORE_PASSWORD", PASSWORD)]).expect(2);
    // But not for who knows that it was encrypted.
    with(&place, &place.arguments("list", &[]), &[]).expect(1);
    let elsewhere = place.path().join("elsewhere");
    let new_here = [("XDG_STATE_HOME", elsewhere.to_str().unwrap())];
    let listed = with(&place, &place.arguments("list", &[]), &new_here).expect(0);
    assert_eq!((listed.of_type("backup").len(), listed.of_type("damaged").len()), (0, 1));
    let target = place.target("never").to_str().unwrap().to_owned();
    with(&place, &place.arguments("restore", &["--target", &target, &made]), &new_here).expect(1);
    assert!(!place.target("never").exists());
    fs::remove_file(to).unwrap();
    fs::write(&config, whole).unwrap();
    verb(&place, "check", &["--read-data"]).expect(0);
}

/// A client with a memory of its own.
struct Client<'p> {
    place: &'p Place,
    state: PathBuf,
}

impl Client<'_> {
    fn run(&self, mut command: Command) -> Outcome {
        command.env("XDG_STATE_HOME", &self.state);
        run(command)
    }

    fn verb(&self, verb: &str, more: &[&str]) -> Outcome {
        self.run(self.place.program.command(&self.place.arguments(verb, more)))
    }

    fn backup(&self) -> Outcome {
        let mut arguments = self.place.arguments("backup", &[]);
        arguments.push(self.place.source().into());
        self.run(self.place.program.command(&arguments))
    }

    fn restore(&self, target: &str, more: &[&str]) -> Outcome {
        self.run(self.place.program.command(&self.place.restore_arguments(&self.place.target(target), more)))
    }
}

fn warns_of(outcome: &Outcome, id: &str) -> bool {
    outcome.of_type("warning").iter().any(|line| line.to_string().contains(id))
}

#[test]
fn a_repository_that_goes_back_is_noticed_by_who_saw_more() {
    let place = place();
    let client = |name: &str| Client { place: &place, state: place.path().join(name) };
    let (one, two) = (client("one"), client("two"));
    place.write(&[("a", "first")]);
    one.backup().expect(0);
    let aside = place.path().join("aside");
    copy(&place.repository(), &aside);
    place.write(&[("a", "second")]);
    let later = id(&one.backup().expect(0).summary());
    // The whole folder, as it was before: every object of it is right.
    let set_back = || copy(&aside, &place.repository());
    let forgetful = || fs::copy(place.path().join("kept.json"), seen(&one.state)).unwrap();
    fs::copy(seen(&one.state), place.path().join("kept.json")).unwrap();
    set_back();
    two.verb("check", &["--read-data"]).expect(0);
    assert!(!two.verb("list", &[]).expect(0).names(&later));
    for (verb, status) in [("check", 1), ("list", 0), ("forget", 0)] {
        forgetful();
        let more: &[&str] = if verb == "forget" { &["--keep-last", "9"] } else { &[] };
        let outcome = one.verb(verb, more).expect(status);
        assert!(outcome.names(&later) || warns_of(&outcome, &later), "{verb}: {outcome:?}");
        let is_told_as_a_problem = outcome.of_type("problem").iter().any(|line| line["kind"] == "rollback");
        assert_eq!(is_told_as_a_problem, verb == "check", "{outcome:?}");
    }
    forgetful();
    let restored = one.restore("older", &[]).expect(0);
    assert!(warns_of(&restored, &later), "{restored:?}");
    assert_eq!(fs::read_to_string(place.target("older").join("a")).unwrap(), "first");
    forgetful();
    assert!(warns_of(&one.backup().expect(0), &later));
    // Each time, until the user says that it is meant.
    for _ in 0..2 {
        assert!(warns_of(&one.verb("list", &[]).expect(0), &later));
        assert!(one.verb("check", &[]).expect(1).names(&later));
    }
    let accepted = one.verb("check", &["--accept-rollback", "--read-data"]).expect(0);
    assert_eq!(accepted.of_type("accepted")[0]["object"], later.as_str());
    assert!(accepted.of_type("problem").is_empty(), "{accepted:?}");
    assert!(!warns_of(&one.verb("list", &[]).expect(0), &later));
    one.verb("check", &["--read-data"]).expect(0);
    let nowhere = Client { place: &place, state: "/proc/nowhere".into() };
    nowhere.verb("check", &["--accept-rollback"]).expect(1).explained();
}

/// Whose storage goes back further than it can be named in a few lines.
#[test]
fn many_steps_back_are_counted_by_commands_that_are_not_about_them() {
    let place = place();
    let one = Client { place: &place, state: place.path().join("one") };
    place.write(&[("a", "1")]);
    let made: Vec<String> = (0..5).map(|_| id(&one.backup().expect(0).summary())).collect();
    for gone in &made[..4] {
        fs::remove_file(place.repository().join("dedup/snapshots").join(gone)).unwrap();
    }
    let warnings = one.verb("list", &[]).expect(0).of_type("warning");
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[3].to_string().contains("1 more backup"), "{warnings:?}");
    assert_eq!(one.verb("check", &[]).expect(1).of_type("problem").len(), 4);
}

fn seen(state: &Path) -> PathBuf {
    let mut folders = crate::place::entries(&state.join("icecore"));
    folders.retain(|folder| !folder.ends_with("places"));
    folders.pop().expect("something was remembered").join("seen.json")
}

#[test]
fn what_is_removed_on_purpose_is_no_step_back() {
    let place = place();
    let one = Client { place: &place, state: place.path().join("one") };
    let two = Client { place: &place, state: place.path().join("two") };
    for content in ["first", "second", "third"] {
        place.write(&[("a", content)]);
        one.backup().expect(0);
    }
    two.verb("list", &[]).expect(0);
    one.verb("forget", &["--keep-last", "1"]).expect(0);
    for client in [&one, &two] {
        let outcome = client.verb("check", &[]).expect(0);
        assert!(
            outcome.of_type("problem").is_empty() && outcome.of_type("warning").is_empty(),
            "{outcome:?}"
        );
    }
    assert_eq!(list(&place).len(), 1);
    // A memory that is damaged is said, and is no obstacle.
    fs::write(seen(&one.state), "{").unwrap();
    let outcome = one.verb("list", &[]).expect(0);
    assert_eq!(outcome.of_type("warning").len(), 1, "{outcome:?}");
    assert!(one.verb("list", &[]).expect(0).of_type("warning").is_empty());
    // And one that cannot be kept.
    let nowhere = Client { place: &place, state: "/proc/nowhere".into() };
    assert_eq!(nowhere.verb("list", &[]).expect(0).of_type("warning").len(), 1);
    assert_eq!(nowhere.backup().expect(0).of_type("warning").len(), 1);
    assert!(nowhere.verb("list", &["--quiet"]).expect(0).of_type("warning").is_empty());
    restore(&place, "t", &[]).expect(0);
}

/// Nobody is served a repository made in the place of one whose config was taken away.
#[test]
fn a_place_with_backups_and_no_config_is_no_place_for_a_new_repository() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    let config = place.repository().join("dedup/config");
    let whole = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    let before = Manifest::of(&place.repository()).unwrap();
    init(&place, &[]).expect(1).explained();
    backup(&place, &["--init"]).expect(1).explained();
    for name in ["list", "check"] {
        let outcome = verb(&place, name, &[]);
        assert_eq!(outcome.status, 1, "{name}: {outcome:?}");
        assert!(outcome.names("config"), "{name}: {outcome:?}");
    }
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "nothing was written");
    fs::write(&config, whole).unwrap();
    verb(&place, "check", &[]).expect(0);
}
