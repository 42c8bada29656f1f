//! What beats what: what was typed, the file, the environment; and which file it is.

use super::{Desk, PROFILES, text, write_safely};
use std::fs;

#[test]
fn a_named_profile_beats_the_environment_and_says_so() {
    let desk = Desk::new(PROFILES);
    let elsewhere = desk.place.path().join("elsewhere");
    let variables = [("ICECORE_REPOSITORY", text(&elsewhere)), ("ICECORE_PASSWORD", "another")];
    let outcome = desk.run_with(&variables, &["init", "@nightly"]).expect(0);
    assert!(outcome.stderr.contains("ICECORE_REPOSITORY does not count here"), "{outcome:?}");
    assert!(desk.place.repository().exists() && !elsewhere.exists());
    let outcome = desk.run_with(&variables, &["-q", "info", "@nightly"]).expect(0);
    assert_eq!(outcome.stderr, "");
    // It is no contradiction when both say the same.
    let same = desk.place.repository();
    let outcome = desk.run_with(&[("ICECORE_REPOSITORY", text(&same))], &["info", "@nightly"]).expect(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_profile_that_names_no_repository_leaves_it_to_the_environment() {
    let desk = Desk::new("[profiles.it]\npaths = ['SOURCE']\n");
    let repository = desk.place.repository();
    let variables = [("ICECORE_REPOSITORY", text(&repository)), ("ICECORE_PASSWORD", "a password")];
    desk.run_with(&variables, &["backup", "@it", "--init"]).expect(0);
    assert_eq!(desk.backups()[0]["name"], "it");
    let outcome = desk.run(&["backup", "@it"]).expect(2);
    assert!(outcome.stderr.contains("--repository"), "{outcome:?}");
    assert!(outcome.stderr.contains("@it in "), "{outcome:?}");
}

#[test]
fn what_is_typed_beats_both() {
    let desk = Desk::new(PROFILES);
    desk.place.write(&[("a.txt", "a"), ("b.txt", "b")]);
    let other = desk.place.path().join("other");
    let arguments =
        ["backup", "@nightly", "--init", "-r", text(&other), "--name", "n", "--exclude", "b.*", "--json"];
    let variables = [("ICECORE_REPOSITORY", "/nowhere"), ("ICECORE_PASSWORD", "of the other")];
    // Of the repository in the file nothing is left, its password neither.
    let summary = desk.run_with(&variables, &arguments).expect(0).summary();
    assert_eq!((&summary["name"], &summary["files"]), (&"n".into(), &1.into()));
    assert!(!desk.place.repository().exists());
}

#[test]
fn nothing_is_read_where_no_profile_is_named() {
    let desk = Desk::new("this is not TOML");
    let repository = desk.place.repository();
    let variables = [("ICECORE_REPOSITORY", text(&repository)), ("ICECORE_PASSWORD", "a password")];
    desk.run_with(&variables, &["init"]).expect(0);
    let outcome = desk.run_with(&variables, &["info", "--config", "/nowhere"]).expect(2);
    assert!(outcome.stderr.contains("--config means nothing"), "{outcome:?}");
}

#[test]
fn the_file_is_the_one_that_is_named_or_that_of_the_user() {
    let desk = Desk::new("");
    let home = desk.place.path().join("home");
    let files = [
        ("option", desk.place.path().join("o.toml")),
        ("variable", desk.place.path().join("v.toml")),
        ("xdg", home.join("xdg/icecore/icecore.toml")),
        ("home", home.join(".config/icecore/icecore.toml")),
    ];
    for (name, path) in &files {
        write_safely(path, &format!("[profiles.{name}]\n"));
    }
    for (at, (name, path)) in files.iter().enumerate() {
        let mut arguments = vec!["config", "path"];
        if at == 0 {
            arguments.extend(["--config", text(&files[0].1)]);
        }
        let mut command = desk.place.program.command(&arguments);
        command.env("HOME", &home);
        if at <= 1 {
            command.env("ICECORE_CONFIG", &files[1].1);
        }
        if at <= 2 {
            command.env("XDG_CONFIG_HOME", home.join("xdg"));
        }
        let found = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(found.trim_end(), text(path), "{name}");
    }
}

#[test]
fn a_variable_in_the_file_takes_what_is_there_or_its_default() {
    let desk = Desk::new(
        "[repositories.main]\npath = '${PLACE:-REPOSITORY}'\npassword-file = 'password'\n\
         [profiles.it]\nrepository = 'main'\n",
    );
    desk.run(&["init", "@it"]).expect(0);
    let other = desk.place.path().join("other");
    desk.run_with(&[("PLACE", text(&other))], &["init", "@it"]).expect(0);
    assert!(desk.place.repository().exists() && other.exists());
    // A path is one from the folder of the file, wherever the program runs.
    let mut entries: Vec<_> =
        fs::read_dir(desk.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    assert_eq!(entries, ["icecore.toml", "other", "password", "repository", "source"]);
}
