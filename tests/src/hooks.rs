//! Commands that are run around a command: before it, after it, when it failed, and in any case; as options and in profiles.

use crate::place::Place;
use std::fs;

/// A shell, written by the user, that notes what it is told.
fn noting(place: &Place, more: &str) -> String {
    let log = place.path().join("log");
    format!(
        "sh -c 'echo \"$ICECORE_HOOK $ICECORE_HOOK_COMMAND $ICECORE_HOOK_STATUS $ICECORE_HOOK_ERROR\" >> {}; {more}'",
        log.display()
    )
}

/// What was noted, a word and the rest of a line each.
fn noted(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.path().join("log")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn each_is_run_in_its_turn_and_told_what_happened() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    let note = noting(&place, "echo said");
    let hooks = ["--before", &note, "--after", &note, "--failed", &note, "--finally", &note];
    let done = place.backup(&hooks).expect(0);
    assert_eq!(noted(&place), ["before backup", "after backup 0", "finally backup 0"]);
    // Standard output is for the answer alone.
    assert!(done.stderr.contains("said") && !done.stdout.contains("said"), "{done:?}");
    done.summary();
    fs::remove_file(place.path().join("log")).unwrap();
    fs::remove_dir_all(place.source()).unwrap();
    place.backup(&hooks).expect(1);
    let noted = noted(&place);
    assert_eq!((noted.len(), noted[0].as_str()), (3, "before backup"));
    assert!(
        noted[1].starts_with("failed backup 1 ") && noted[2].starts_with("finally backup 1 "),
        "{noted:?}"
    );
    assert!(noted[1].contains("source"), "{noted:?}");
}

#[test]
fn nothing_is_done_when_what_comes_before_fails() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    let note = noting(&place, "true");
    let failed = place.backup(&[
        "--before",
        "false",
        "--before",
        &note,
        "--after",
        &note,
        "--failed",
        &note,
        "--finally",
        &note,
    ]);
    assert!(failed.expect(1).names("before"));
    let noted = noted(&place);
    assert!(noted.len() == 2 && noted[0].starts_with("failed backup 1"), "{noted:?}");
    assert!(!place.repository().exists());
    // Neither is a line of no command, nor one that is not there.
    place.backup(&["--finally", "  "]).expect(2);
    place.backup(&["--before", "/nowhere/at/all"]).expect(1);
    assert!(!place.repository().exists());
}

#[test]
fn what_fails_afterwards_is_a_failure_and_the_backup_stays() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    for hook in ["--after", "--finally"] {
        place.backup(&[hook, "sh -c 'exit 7'"]).expect(1).explained();
    }
    assert_eq!(place.list().len(), 2);
}

#[test]
fn one_that_takes_too_long_is_ended_with_all_that_it_started() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    let late = place.path().join("late");
    let slow = format!("sh -c 'sleep 60; touch {0}' & wait", late.display());
    let slow = format!("sh -c \"{slow}\"");
    let ended = place.backup(&["--before", &slow, "--hook-timeout", "1"]).expect(1);
    assert!(ended.names("1 seconds"), "{ended:?}");
    assert!(!late.exists() && !place.repository().exists());
}

#[test]
fn a_rehearsal_runs_none() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    place.backup(&[]).expect(0);
    place.backup(&["--dry-run", "--before", &noting(&place, "true")]).expect(0);
    assert!(noted(&place).is_empty());
}

#[test]
fn they_are_keys_of_profiles() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    let file = place.path().join("icecore.toml");
    let text = format!(
        "[repositories.r]\npath = '{}'\n[profiles.base]\nrepository = 'r'\nengine = 'tar'\nno-encryption = true\nfinally = '''{1}'''\n\
         [profiles.nightly]\ninherits = 'base'\npaths = ['{2}']\ninit = true\nbefore = ['''{1}''', '''{1}''']\nhook-timeout = 30\n\
         [profiles.nightly.check]\nafter = '''{1}'''\n",
        place.repository().display(),
        // In a profile a dollar is written twice.
        noting(&place, "true").replace('$', "$$"),
        place.source().display(),
    );
    fs::write(&file, text).unwrap();
    let run = |verb: &str| place.program.run(&[verb, "@nightly", "--config", file.to_str().unwrap()]);
    run("backup").expect(0);
    assert_eq!(noted(&place), ["before backup", "before backup", "finally backup 0"]);
    run("list").expect(0);
    run("check").expect(0);
    assert_eq!(noted(&place)[3..], ["after check 0"]);
}

#[test]
fn no_password_of_a_repository_reaches_them() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    let see = format!("sh -c 'env > {}'", place.path().join("seen").display());
    let (repository, source) = (place.repository(), place.source());
    let words =
        ["backup", "--init", "-r", repository.to_str().unwrap(), "--before", &see, source.to_str().unwrap()];
    let mut command = place.program.command(&words);
    let output = command.env("ICECORE_PASSWORD", "topsecret").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = fs::read_to_string(place.path().join("seen")).unwrap();
    assert!(seen.contains("ICECORE_HOOK=before") && !seen.contains("topsecret"), "{seen}");
}
