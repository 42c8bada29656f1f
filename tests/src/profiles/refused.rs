//! What a file of profiles is refused for, and in which words; `icecore config`.

use super::{Desk, PROFILES};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

/// The message and the hint of the error that a backup by profile ends with; nothing is made.
#[track_caller]
fn refusal(desk: &Desk, profile: &str) -> (String, String) {
    let outcome = desk.run(&["backup", profile, "--init", "--json"]).expect(2).explained();
    let error = outcome.of_type("error").pop().unwrap();
    assert_eq!((&error["kind"], &error["exit"]), (&"invalid".into(), &2.into()));
    assert!(!desk.place.repository().exists());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&error["message"]), text(&error["hint"]))
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_right_key() {
    let desk = Desk::new(&PROFILES.replace("exclude-caches", "exlude-caches"));
    let (message, hint) = refusal(&desk, "@nightly");
    let expected =
        format!("{}:10: profiles.base: no command has an option called exlude-caches", desk.file().display());
    assert_eq!((message.as_str(), hint.as_str()), (expected.as_str(), "did you mean exclude-caches?"));
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    for (text, profile, message, hint) in [
        (
            "[profiles.a]\ninherits = ['b']\n[profiles.b]\ninherits = ['a']\n",
            "@a",
            "inherits from itself: ",
            "",
        ),
        (
            "[profiles.a]\npaths = ['${NOWHERE}/x']\n",
            "@a",
            ":2: profiles.a: paths: the variable NOWHERE is not set",
            "",
        ),
        ("[profiles.a]\njobs = 'many'\n", "@a", ":2: profiles.a: invalid value 'many'", ""),
        (
            "[profiles.a]\nrepository = 'b'\n",
            "@a",
            ":2: profiles.a: there is no repository called b",
            "[repositories.b]",
        ),
        ("[profiles.nightly]\n", "@nigthly", "there is no profile called nigthly", "@nightly"),
        ("[groups]\na = []\n", "@a", "no profile is in the group @a", ""),
        ("[profiles.a\n", "@a", ":1: not TOML: ", ""),
        ("[profile.a]\n", "@a", ":1: there is no section called profile", "profiles"),
        ("", "@a/b", "not the name of a profile: @a/b", "./@a/b"),
    ] {
        let desk = Desk::new(text);
        let (found, found_hint) = refusal(&desk, profile);
        assert!(found.contains(message) && found_hint.contains(hint), "{text}: {found} ({found_hint})");
    }
    let desk = Desk::new("");
    fs::remove_file(desk.file()).unwrap();
    assert!(refusal(&desk, "@a").0.contains("there is no file of profiles"));
    let outcome = desk.run(&["@a"]).expect(2);
    assert!(outcome.stderr.contains("no command"), "{outcome:?}");
    let outcome = desk.run(&["@a", "config", "show"]).expect(2);
    assert!(outcome.stderr.contains("icecore config show @NAME"), "{outcome:?}");
}

#[test]
fn a_file_that_others_can_change_is_refused() {
    let desk = Desk::new(PROFILES);
    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(desk.file(), fs::Permissions::from_mode(mode)).unwrap();
        let (message, hint) = refusal(&desk, "@nightly");
        assert!(
            message.contains("others can write to it") && hint.starts_with("chmod go-w "),
            "{message} {hint}"
        );
        desk.run(&["config", "check"]).expect(2);
    }
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();
    if icecore_testkit::tree::is_root() {
        chown(desk.file(), Some(65_534), None).unwrap();
        let (message, hint) = refusal(&desk, "@nightly");
        assert!(message.contains("has to belong to root") && hint.contains("65534"), "{message} {hint}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused() {
    let desk = Desk::new(
        "[repositories.main]\npath = 'REPOSITORY'\npassword = 'x'\n[profiles.a]\nrepository = 'main'\n",
    );
    let (message, hint) = refusal(&desk, "@a");
    assert!(
        message.contains(":3: repositories.main: a password does not stand")
            && hint.contains("password-file")
    );
    let url = "[repositories.main]\nurl = 'ftp://me:geheim@host/x'\n[profiles.a]\nrepository = 'main'\n";
    desk.write_profiles(url);
    let (message, hint) = refusal(&desk, "@a");
    assert!(message.contains("the password in the url") && hint.contains("chmod 600"), "{message} {hint}");
    assert!(!message.contains("geheim"));
}

#[test]
fn an_error_elsewhere_in_the_file_stops_nobody_and_is_told() {
    let desk = Desk::new(&(PROFILES.to_owned() + "\n[profiles.other]\nexlude = 'x'\n"));
    let outcome = desk.run(&["init", "@nightly"]).expect(0);
    assert!(outcome.stderr.contains("has 1 error elsewhere"), "{outcome:?}");
    assert!(desk.run(&["init", "@other"]).expect(2).stderr.contains("exlude"));
}

#[test]
fn config_check_tells_all_that_is_wrong() {
    let desk = Desk::new(PROFILES);
    let outcome = desk.run(&["config", "check"]).expect(0);
    assert!(outcome.stdout.contains("2 profiles, 1 repository"), "{outcome:?}");
    desk.write_profiles(
        "[repositories.main]\npath = '${NOWHERE}'\ntimout = 3\n[profiles.a]\nrepository = 'main'\njobs = 'many'\n\
         exclude-caches = 'true'\nforce = true\nparent = 'p'\n[profiles.b]\ninherits = ['a']\nretention.keep-last = -1\n",
    );
    let outcome = desk.run(&["config", "check", "--json"]).expect(2);
    let problems = outcome.of_type("problem");
    let lines: Vec<i64> = problems.iter().map(|problem| problem["line"].as_i64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 6, 7, 12], "{problems:?}");
    for problem in &problems {
        assert_eq!(problem["file"], desk.file().to_str().unwrap());
        assert!(problem["section"].is_string() && problem["message"].is_string(), "{problem}");
    }
    let summary = outcome.summary();
    assert_eq!((&summary["problems"], &summary["profiles"]), (&5.into(), &2.into()));
    let outcome = desk.run(&["config", "check"]).expect(2);
    assert!(outcome.stdout.contains("icecore.toml:3: repositories.main: "), "{outcome:?}");
    assert!(outcome.stdout.contains("did you mean timeout?"), "{outcome:?}");
}

#[test]
fn config_show_tells_what_a_profile_comes_to_without_secrets() {
    let desk = Desk::new(
        "[repositories.main]\nurl = 'ftp://me:${PW}@host/x'\nenvironment = { OS_PASSWORD = '${PW}' }\n\
         [profiles.base]\nrepository = 'main'\nexclude = ['*.o']\n\
         [profiles.a]\ninherits = 'base'\nexclude = ['${HOME}/x']\nrestore.overwrite = 'never'\n[groups]\nall = ['a']\n",
    );
    let variables = [("PW", "geheim"), ("HOME", "/home/me")];
    let shown = |arguments: &[&str]| {
        let outcome = desk.run_with(&variables, arguments).expect(0);
        assert!(!outcome.stdout.contains("geheim") && !outcome.stderr.contains("geheim"), "{outcome:?}");
        outcome
    };
    let outcome = shown(&["config", "show", "@a", "--json"]);
    let settings = outcome.of_type("setting");
    let found: Vec<(&str, &Value, &Value, i64)> = settings
        .iter()
        .map(|line| {
            (line["key"].as_str().unwrap(), &line["value"], &line["command"], line["line"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("repository", &"ftp://me@host/x".into(), &Value::Null, 2),
            ("exclude", &serde_json::json!(["*.o", "/home/me/x"]), &"backup".into(), 9),
            ("overwrite", &"never".into(), &"restore".into(), 10),
        ]
    );
    assert_eq!(outcome.of_type("variable")[0]["name"], "OS_PASSWORD");
    let words = shown(&["config", "show", "@all", "backup", "--json"]).of_type("command").pop().unwrap();
    let expected = [
        "icecore",
        "backup",
        "--repository=ftp://me@host/x",
        "--exclude=*.o",
        "--exclude=/home/me/x",
        "--name=a",
    ];
    assert_eq!(words["words"], serde_json::json!(expected));
    let outcome = shown(&["config", "show"]);
    assert!(outcome.stdout.contains("@a\n") && outcome.stdout.contains("@base\n"), "{outcome:?}");
    desk.run(&["config", "show", "@a", "nonsense"]).expect(2);
    desk.run(&["config", "show", "@nonsense"]).expect(2);
}
