//! Passwords: what a wrong one does, what none does, and who may come in after keys were added, changed and removed.

use super::{PASSWORD, backup, init, objects, place, restore, verb};
use crate::place::{Place, assert_equal, id};
use crate::program::Outcome;
use icecore_testkit::manifest::Manifest;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// Every verb that has to open a repository.
fn verbs(place: &Place) -> Vec<Vec<OsString>> {
    let (repository, source) = (OsString::from(place.repository()), OsString::from(place.source()));
    let target = OsString::from(place.target("never"));
    let new = OsString::from(password_file(place, "a new one"));
    let words: [(&[&str], Vec<OsString>); 11] = [
        (&["backup"], vec![source.clone()]),
        (&["backup", "--dry-run"], vec![source.clone()]),
        (&["backup", "--init"], vec![source]),
        (&["restore"], vec!["--target".into(), target]),
        (&["list"], vec![]),
        (&["check", "--read-data"], vec![]),
        (&["forget", "--keep-last", "1"], vec![]),
        (&["info"], vec![]),
        (&["key", "list"], vec![]),
        (&["key", "remove", "00000000"], vec![]),
        (&["key", "passwd", "--new-password-file"], vec![new]),
    ];
    let with_repository = |(words, more): (&[&str], Vec<OsString>)| {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.extend(more);
        arguments.extend(["--json".into(), "-r".into(), repository.clone()]);
        arguments
    };
    words.into_iter().map(with_repository).collect()
}

fn password_file(place: &Place, password: &str) -> PathBuf {
    let path = place.path().join("new-password");
    fs::write(&path, password).unwrap();
    path
}

fn with(place: &Place, password: Option<&str>, arguments: &[OsString]) -> Outcome {
    let mut command = place.program.command(arguments);
    if let Some(password) = password {
        command.env("ICECORE_PASSWORD", password);
    }
    let output = command.output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

#[test]
fn a_wrong_password_reads_and_writes_nothing() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    // What is not there cannot be read: only config and keys are needed to tell a password from another.
    for folder in ["packs", "index", "snapshots"] {
        fs::remove_dir_all(place.repository().join("dedup").join(folder)).unwrap();
    }
    let before = Manifest::of(place.path()).unwrap();
    for arguments in verbs(&place) {
        let outcome = with(&place, Some("battery staple"), &arguments);
        assert_eq!(outcome.status, 12, "{arguments:?}: {outcome:?}");
        let outcome = outcome.explained();
        assert_eq!(outcome.of_type("error")[0]["kind"], "wrong_password", "{arguments:?}");
        assert!(!format!("{outcome:?}").contains("battery"), "{arguments:?}");
    }
    let mut after = Manifest::of(place.path()).unwrap();
    // Written by this test for `key passwd`.
    for path in [&b""[..], b"new-password"] {
        after.entries.remove(path);
    }
    let mut before = before;
    before.entries.remove(&b""[..]);
    assert_equal(&before, &after, "nothing was written");
}

#[test]
fn without_a_password_and_a_terminal_it_is_said_what_to_do() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    let before = Manifest::of(&place.repository()).unwrap();
    for arguments in verbs(&place) {
        let outcome = with(&place, None, &arguments);
        assert_eq!(outcome.status, 2, "{arguments:?}: {outcome:?}");
        let outcome = outcome.explained();
        let hint = outcome.of_type("error")[0]["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains("ICECORE_PASSWORD"), "{arguments:?}: {hint}");
    }
    assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "nothing was written");
    // A repository is not made by halves.
    let elsewhere = Place::new();
    let repository = elsewhere.repository();
    let arguments = ["init", "--json", "-r", repository.to_str().unwrap()].map(OsString::from);
    with(&elsewhere, None, &arguments).expect(2).explained();
    with(&elsewhere, Some(""), &arguments).expect(2).explained();
    assert!(objects(&elsewhere, "config").is_empty() && objects(&elsewhere, "keys").is_empty());
    init(&elsewhere, &[]).expect(0);
}

/// `icecore key …` under a password.
fn key(place: &Place, password: &str, words: &[&str]) -> Outcome {
    let mut arguments: Vec<OsString> =
        std::iter::once("key").chain(words.iter().copied()).map(OsString::from).collect();
    arguments.extend(["--json".into(), "-r".into(), place.repository().into()]);
    with(place, Some(password), &arguments)
}

#[track_caller]
fn keys(place: &Place, password: &str) -> Vec<Value> {
    key(place, password, &["list"]).expect(0).of_type("key")
}

#[test]
fn two_passwords_open_the_same() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    let new = password_file(&place, "second one\n");
    let add = ["add", "--label", "second", "--new-password-file", new.to_str().unwrap()];
    let added = key(&place, PASSWORD, &add).expect(0).of_type("key").pop().unwrap();
    assert_eq!((&added["action"], added["id"].as_str().map(str::len)), (&"added".into(), Some(64)));
    let list = |password| with(&place, Some(password), &place.arguments("list", &[])).expect(0).stdout;
    assert_eq!(list(PASSWORD), list("second one"));
    // What one of them stores the other reads, and no content is stored twice for it.
    let mut arguments = place.arguments("backup", &["--force"]);
    arguments.push(place.source().into());
    let contents = || objects(&place, "packs").iter().filter(|pack| fs::read(pack).unwrap()[9] == 2).count();
    let before = contents();
    let summary = with(&place, Some("second one"), &arguments).expect(0).summary();
    assert_eq!(contents(), before);
    restore(&place, "t", &[&id(&summary)]).expect(0);
    assert_equal(&Manifest::of(&place.source()).unwrap(), &Manifest::of(&place.target("t")).unwrap(), "both");
    let labels = |password| -> Vec<(String, bool)> {
        let row = |key: &Value| (key["label"].as_str().unwrap().to_owned(), key["current"] == true);
        keys(&place, password).iter().map(row).collect()
    };
    let current = |password| labels(password).into_iter().find(|(_, current)| *current).unwrap().0;
    assert_eq!((labels(PASSWORD).len(), current("second one")), (2, "second".to_owned()));
    assert_ne!(current(PASSWORD), "second");
}

#[test]
fn an_old_password_opens_no_more_and_the_last_one_stays() {
    let place = place();
    place.write(&[("a", "content")]);
    let made = id(&backup(&place, &[]).expect(0).summary());
    let old = keys(&place, PASSWORD)[0]["id"].as_str().unwrap().to_owned();
    let last = key(&place, PASSWORD, &["remove", &old]);
    assert_ne!(last.status, 0, "{last:?}");
    last.explained();
    assert_eq!(keys(&place, PASSWORD).len(), 1);
    for wrong in ["0000", "zzzz", &old[..3], ""] {
        let outcome = key(&place, PASSWORD, &["remove", wrong]);
        assert!(matches!(outcome.status, 1 | 2), "{wrong}: {outcome:?}");
        outcome.explained();
    }

    let label = keys(&place, PASSWORD)[0]["label"].clone();
    let other = password_file(&place, "labelled");
    let other = other.to_str().unwrap();
    let passwd = ["passwd", "--label", "mine", "--new-password-file", other];
    key(&place, PASSWORD, &passwd).expect(0);
    assert_ne!(label, "mine");
    fs::write(other, PASSWORD).unwrap();
    key(&place, "labelled", &["passwd", "--new-password-file", other]).expect(0);
    assert_eq!(keys(&place, PASSWORD)[0]["label"], "mine");
    let old = keys(&place, PASSWORD)[0]["id"].as_str().unwrap().to_owned();

    let new = password_file(&place, "changed");
    let said = key(&place, PASSWORD, &["passwd", "--new-password-file", new.to_str().unwrap()]).expect(0);
    let actions: Vec<_> = said.of_type("key").iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["added", "removed"]);
    assert!(!said.stdout.contains("changed\"") && !format!("{said:?}").contains(PASSWORD));
    verb(&place, "list", &[]).expect(12);
    assert_eq!(objects(&place, "keys").len(), 1);
    assert_ne!(keys(&place, "changed")[0]["id"], old.as_str());
    // An empty one protects nothing.
    fs::write(&new, "\n").unwrap();
    let empty = key(&place, "changed", &["add", "--new-password-file", new.to_str().unwrap()]).expect(2);
    empty.explained();
    let arguments = place.restore_arguments(&place.target("t"), &[&made]);
    with(&place, Some("changed"), &arguments).expect(0);
    assert_equal(
        &Manifest::of(&place.source()).unwrap(),
        &Manifest::of(&place.target("t")).unwrap(),
        "changed",
    );
    let checked = with(&place, Some("changed"), &place.arguments("check", &["--read-data"])).expect(0);
    assert_eq!(checked.summary()["problems"], 0);
}

/// One slot is damaged: the other password opens all the same, and `check` names the damaged one.
#[test]
fn a_damaged_key_is_named_by_who_has_another() {
    let place = place();
    let first = objects(&place, "keys").pop().unwrap();
    let new = password_file(&place, "another");
    key(&place, PASSWORD, &["add", "--new-password-file", new.to_str().unwrap()]).expect(0);
    let whole = fs::read(&first).unwrap();
    let name = first.file_name().unwrap().to_str().unwrap();
    // Who it is for; the master key in it; its derivation.
    for at in [whole.len() - 20, 150, 70] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&first, bytes).unwrap();
        let outcome = with(&place, Some("another"), &place.arguments("check", &[]));
        assert_eq!(outcome.status, 1, "byte {at}: {outcome:?}");
        assert!(outcome.names(name), "byte {at}: {outcome:?}");
        let by_the_damaged_one = verb(&place, "list", &[]).status;
        assert_eq!(by_the_damaged_one, if at > 176 { 0 } else { 12 }, "byte {at}");
    }
}
