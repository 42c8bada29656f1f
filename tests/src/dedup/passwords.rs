//! Who may read a repository, and how a password comes to the program.

use super::{PASSWORD, backup, init, list, place, run, verb};
use crate::place::Place;
use crate::program::Outcome;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// `icecore list` with these variables and options.
fn listed(place: &Place, variables: &[(&str, &str)], more: &[&str]) -> Outcome {
    let mut command = place.program.command(&place.arguments("list", more));
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

#[test]
fn a_password_comes_from_many_places() {
    let place = place();
    let file = place.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let command = format!("printf '%s\\n' \"{PASSWORD}\"");
    for (variables, more) in [
        (&[("ICECORE_PASSWORD", PASSWORD)][..], &[][..]),
        (&[("ICECORE_PASSWORD_FILE", file)], &[]),
        (&[("ICECORE_PASSWORD_COMMAND", command.as_str())], &[]),
        (&[], &["--password-file", file]),
        (&[], &["--password-command", command.as_str()]),
        // What was typed beats what was set.
        (&[("ICECORE_PASSWORD", "wrong")], &["--password-file", file]),
    ] {
        listed(&place, variables, more).expect(0);
    }
}

#[test]
fn without_the_right_password_nothing_opens() {
    let place = place();
    place.write(&[("a", "content")]);
    backup(&place, &[]).expect(0);
    let wrong = [("ICECORE_PASSWORD", "correct horses")];
    let outcome = listed(&place, &wrong, &[]).expect(12).explained();
    assert_eq!(outcome.of_type("error")[0]["kind"], "wrong_password");
    // Nobody is there to be asked: what to do is said.
    let none = listed(&place, &[], &[]).expect(2).explained();
    assert!(none.of_type("error")[0]["hint"].as_str().unwrap().contains("ICECORE_PASSWORD"));
    listed(&place, &[("ICECORE_PASSWORD", "a"), ("ICECORE_PASSWORD_FILE", "b")], &[]).expect(2);
    listed(&place, &[], &["--password-command", "false"]).expect(1);
    listed(&place, &[], &["--password-file", "/nowhere"]).expect(1);
    listed(&place, &[], &["--password-command", "true"]).expect(2);
}

#[test]
fn a_command_for_the_password_is_run_by_no_shell_and_does_not_see_it() {
    let place = place();
    let script = place.path().join("say it");
    fs::write(
        &script,
        format!("#!/bin/sh\n[ -z \"$ICECORE_PASSWORD\" ] && [ \"$1\" = '$HOME' ] && echo '{PASSWORD}'\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let command = format!("'{}' $HOME", script.display());
    let variables = [("ICECORE_PASSWORD", "not this one")];
    listed(&place, &variables, &["--password-command", &command]).expect(0);
}

#[test]
fn no_name_and_no_content_can_be_read_in_the_repository() {
    let place = place();
    place.write(&[("a-telling-name", "a telling content, and more of it than nothing")]);
    backup(&place, &["--tag", "telling-tag"]).expect(0);
    for object in ["keys", "snapshots", "packs", "index", "config"]
        .map(|folder| super::objects(&place, folder))
        .concat()
    {
        let bytes = fs::read(&object).unwrap();
        let found = bytes.windows(7).any(|window| window == b"telling");
        assert!(!found, "{}", object.display());
    }
}

#[test]
fn keys_are_added_changed_and_removed() {
    let place = place();
    let repository = place.repository();
    let repository = repository.to_str().unwrap();
    let new = place.path().join("new");
    fs::write(&new, "another\n").unwrap();
    let key = |words: &[&str]| {
        run(place.program.command(&[&["key"], words, &["-r", repository, "--json"]].concat()))
    };
    let with_new = ["--new-password-file", new.to_str().unwrap()];
    key(&[&["add", "--label", "colleague"][..], &with_new].concat()).expect(0);
    let keys = key(&["list"]).expect(0).of_type("key");
    assert_eq!(keys.len(), 2);
    let current: Vec<_> = keys.iter().filter(|key| key["current"] == true).collect();
    assert_eq!(current.len(), 1);
    listed(&place, &[("ICECORE_PASSWORD", "another")], &[]).expect(0);
    let old = current[0]["id"].as_str().unwrap();
    key(&["remove", &old[..10]]).expect(0);
    verb(&place, "list", &[]).expect(12);
    // The last one stays.
    let last = keys.iter().find(|key| key["current"] == false).unwrap()["id"].as_str().unwrap();
    let mut remove = place.program.command(&["key", "remove", "-r", repository, last, "--json"]);
    let output = remove.env("ICECORE_PASSWORD", "another").output().unwrap();
    assert!(!output.status.success());
    fs::write(&new, PASSWORD).unwrap();
    let mut change = place.program.command(&[&["key", "passwd", "-r", repository][..], &with_new].concat());
    assert!(change.env("ICECORE_PASSWORD", "another").status().unwrap().success());
    listed(&place, &[("ICECORE_PASSWORD", "another")], &[]).expect(12);
    verb(&place, "list", &[]).expect(0);
}

#[test]
fn what_is_readable_by_all_has_to_be_said() {
    let place = Place::new();
    place.write(&[("a", "content")]);
    init(&place, &["--no-encryption"]).expect(2).explained();
    let bare = |arguments: Vec<std::ffi::OsString>| place.program.run(&arguments);
    let repository = place.repository();
    bare(["init", "--no-encryption", "-r"].map(Into::into).into_iter().chain([repository.into()]).collect())
        .expect(0);
    let with_source = |more: &[&str]| {
        let mut arguments = place.arguments("backup", more);
        arguments.push(place.source().into());
        arguments
    };
    bare(with_source(&[])).expect(2).explained();
    bare(with_source(&["--no-encryption"])).expect(0);
    place.run("check", &["--read-data"]).expect(0);
    place.restore("back", &[]).expect(0);
    assert_eq!(fs::read_to_string(place.target("back").join("a")).unwrap(), "content");
    // Who has a password takes the repository for another.
    backup(&place, &["--no-encryption"]).expect(2).explained();
    verb(&place, "list", &[]).expect(2).explained();
}

#[test]
fn who_has_no_password_at_hand_leaves_no_half_of_a_repository() {
    let place = Place::new();
    place.write(&[("a", "content")]);
    let repository = place.repository();
    let repository = repository.to_str().unwrap();
    let source = place.source();
    for words in [
        &["init"][..],
        &["init", "--password-file", "/nowhere/at/all"],
        &["init", "--password-command", "false"],
        &["backup", "--init", source.to_str().unwrap()],
    ] {
        let outcome = place.program.run(&[words, &["-r", repository]].concat());
        assert!(matches!(outcome.status, 1 | 2), "{words:?}: {outcome:?}");
        place.program.run(&["list", "-r", repository]).expect(10);
    }
    init(&place, &["--no-encryption"]).expect(2).explained();
    verb(&place, "list", &[]).expect(10);
    init(&place, &[]).expect(0);
}

#[test]
fn a_repository_is_made_once() {
    let place = place();
    init(&place, &[]).expect(1).explained();
    place.write(&[("a", "content")]);
    backup(&place, &["--no-encryption"]).expect(2).explained();
    backup(&place, &["--init"]).expect(0);
    assert_eq!(list(&place).len(), 1);
}

#[test]
fn a_repository_without_preparation_says_how_to_prepare_it() {
    let place = Place::new();
    place.write(&[("a", "content")]);
    place.backup(&[]).expect(0);
    let outcome = backup(&place, &[]).expect(10).explained();
    assert!(outcome.of_type("error")[0]["hint"].as_str().unwrap().contains("icecore init"));
    init(&place, &[]).expect(0);
    backup(&place, &[]).expect(0);
    assert_eq!(list(&place).len(), 2);
}
