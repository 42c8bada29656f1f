//! Several profiles in one call, by name or as a group.

use super::Desk;
use serde_json::Value;
use std::fs;

const THREE: &str = "
[repositories.main]
path = 'REPOSITORY'
password-file = 'password'
[profiles.a]
repository = 'main'
paths = ['SOURCE/a']
[profiles.b]
inherits = 'a'
replace = ['paths']
paths = ['SOURCE/b']
[profiles.lost]
inherits = 'a'
replace = ['paths']
paths = ['SOURCE/lost']
[groups]
all = ['a', 'lost', 'b']
";

fn desk() -> Desk {
    let desk = Desk::new(THREE);
    desk.place.write(&[("a/x", "x"), ("b/y", "y")]);
    desk.run(&["init", "@a"]).expect(0);
    desk
}

fn names(desk: &Desk) -> Vec<Value> {
    desk.backups().iter().map(|backup| backup["name"].clone()).collect()
}

#[test]
fn each_is_run_once_and_in_order() {
    let desk = desk();
    let outcome = desk.run(&["backup", "@b", "@a", "@b", "--json"]).expect(0);
    assert_eq!(names(&desk), ["b", "a"]);
    let told: Vec<(Value, Value)> = [outcome.of_type("profile"), outcome.of_type("profile_end")]
        .concat()
        .iter()
        .map(|line| (line["profile"].clone(), line["exit"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("b".into(), Value::Null),
            ("a".into(), Value::Null),
            ("b".into(), 0.into()),
            ("a".into(), 0.into()),
        ]
    );
    assert_eq!(outcome.of_type("summary").len(), 2);
    // One alone is not told apart from others.
    assert_eq!(desk.run(&["backup", "@b", "--json"]).expect(0).of_type("profile"), [] as [Value; 0]);
}

#[test]
fn one_that_fails_keeps_no_other_from_its_backup() {
    let desk = desk();
    let outcome = desk.run(&["backup", "@all", "--json"]);
    let alone = desk.run(&["backup", "@lost"]);
    assert_ne!(alone.status, 0);
    assert_eq!(outcome.status, alone.status, "{outcome:?}");
    assert_eq!(names(&desk), ["a", "b"]);
    let ends: Vec<Value> = outcome.of_type("profile_end").iter().map(|line| line["exit"].clone()).collect();
    assert_eq!(ends, [Value::from(0), alone.status.into(), 0.into()]);
}

#[test]
fn an_interruption_ends_them_all() {
    let desk = desk();
    // The password is asked of a command that has the program interrupted.
    let interrupt = "password-command = ['sh', '-c', 'kill -INT $$PPID; cat \"$$0\"', 'PASSWORD']";
    let password = desk.place.path().join("password");
    let interrupt = interrupt.replace("PASSWORD", password.to_str().unwrap());
    desk.write_profiles(&THREE.replace("password-file = 'password'", &interrupt));
    let outcome = desk.run(&["backup", "@a", "@b"]).expect(130);
    assert!(outcome.stderr.contains("interrupted; not run: @b"), "{outcome:?}");
    assert!(!names(&desk).contains(&"b".into()));
}

#[test]
fn nothing_is_begun_when_one_of_them_is_wrong() {
    let desk = desk();
    desk.write_profiles(&(THREE.to_owned() + "wrong = ['nobody']\n[profiles.c]\nexlude = 'x'\n"));
    for words in [&["@a", "@c"][..], &["@a", "@nobody"], &["@a", "@wrong"], &["@a", "@b", "--nonsense"]] {
        desk.run(&[&["backup"], words].concat()).expect(2);
    }
    assert_eq!(names(&desk), [] as [Value; 0]);
}

#[test]
fn one_archive_is_written_from_one_profile() {
    let desk = desk();
    fs::create_dir(desk.place.source().join("lost")).unwrap();
    desk.run(&["backup", "@all"]).expect(0);
    let outcome = desk.run(&["cat", "@all", "latest:x"]).expect(2);
    assert!(outcome.stderr.contains("takes one profile"), "{outcome:?}");
    assert_eq!(desk.run(&["cat", "@a", "latest:x"]).expect(0).stdout, "x");
}
