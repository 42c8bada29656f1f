//! What a backup can be made of: several paths, lists of them, streams and commands.

use super::{backup, list, place, restore, run, verb};
use crate::place::Place;
use crate::program::Outcome;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

fn with(place: &Place, more: &[&str]) -> Outcome {
    run(place.program.command(&place.arguments("backup", more)))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn several_paths_stand_beside_each_other() {
    let place = place();
    place.write(&[("one/a", "in one"), ("two/b", "in two"), ("deep/one/c", "in another one")]);
    let path = |name: &str| place.source().join(name).to_str().unwrap().to_owned();
    with(&place, &[&path("one"), &path("two")]).expect(0);
    restore(&place, "both", &[]).expect(0);
    assert_eq!(text(&place.target("both").join("one/a")), "in one");
    assert_eq!(text(&place.target("both").join("two/b")), "in two");
    let twice = with(&place, &[&path("one"), &path("deep/one")]).expect(2).explained();
    assert!(twice.of_type("error")[0]["message"].as_str().unwrap().contains("same name"));
    with(&place, &[]).expect(2).explained();
    assert_eq!(list(&place).len(), 1);
}

#[test]
fn lists_name_what_is_backed_up() {
    let place = place();
    place.write(&[("plain", "1"), (" with spaces ", "2"), ("#comment", "3")]);
    let source = place.source().to_str().unwrap().to_owned();
    let file = |name: &str, content: String| {
        let path = place.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let loose = file("loose", format!("# what matters\n\n  {source}/plain  \n"));
    let exact = file("exact", format!("{source}/ with spaces \n"));
    let raw = file("raw", format!("{source}/#comment\0"));
    with(&place, &["--files-from", &loose, "--files-from-verbatim", &exact, "--files-from-raw", &raw])
        .expect(0);
    restore(&place, "all", &[]).expect(0);
    for (name, content) in [("plain", "1"), (" with spaces ", "2"), ("#comment", "3")] {
        assert_eq!(text(&place.target("all").join(name)), content);
    }
    with(&place, &["--files-from", "/nowhere"]).expect(1);
    let patterns = file("patterns", "# no spaces\n*spaces*\n".to_owned());
    backup(&place, &["--exclude-file", &patterns]).expect(0);
    restore(&place, "some", &[]).expect(0);
    assert!(
        place.target("some").join("plain").exists() && !place.target("some").join(" with spaces ").exists()
    );
}

#[test]
fn a_stream_becomes_one_file() {
    let place = place();
    let content: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
    let mut command =
        place.program.command(&place.arguments("backup", &["--stdin", "--stdin-name", "dump.sql"]));
    command.env("ICECORE_PASSWORD", super::PASSWORD).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    restore(&place, "back", &[]).expect(0);
    assert!(text(&place.target("back").join("dump.sql")) == content);
    with(&place, &["--stdin", "--stdin-name", "a/b"]).expect(2).explained();
    let ignored =
        with(&place, &["--stdin-name", "dump.sql", place.source().to_str().unwrap()]).expect(2).explained();
    assert!(ignored.names("dump.sql") && ignored.names("--stdin-from-command"), "{ignored:?}");
}

#[test]
fn a_command_that_fails_leaves_no_backup() {
    let place = place();
    let from = |words: &[&str]| {
        let mut arguments: Vec<OsString> = place.arguments("backup", &["--stdin-from-command", "--"]);
        arguments.extend(words.iter().map(OsString::from));
        run(place.program.command(&arguments))
    };
    from(&["printf", "%s", "-r is no option here"]).expect(0);
    restore(&place, "back", &[]).expect(0);
    assert_eq!(text(&place.target("back").join("stdin")), "-r is no option here");
    let failed = from(&["sh", "-c", "echo half of it; exit 3"]).expect(1).explained();
    assert!(failed.of_type("error")[0]["message"].as_str().unwrap().contains("command failed"), "{failed:?}");
    from(&["/nowhere/at/all"]).expect(1);
    assert_eq!(list(&place).len(), 1);
    // The run that failed has ended, and what it stored is in nobody's way.
    assert!(super::objects(&place, "sessions").is_empty());
    verb(&place, "check", &["--read-data"]).expect(0);
}

#[test]
fn what_a_run_stored_before_it_failed_is_not_stored_again() {
    let place = place();
    // More than a pack, so that some of it is stored before the end.
    let mut state = 1_u64;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(60_000_000)
    .collect();
    let path = place.path().join("noise");
    fs::write(&path, content).unwrap();
    let print = |script: &str| {
        let mut arguments: Vec<OsString> = place.arguments("backup", &["--stdin-from-command", "--"]);
        arguments.extend([
            OsString::from("sh"),
            "-c".into(),
            script.into(),
            "sh".into(),
            path.clone().into(),
        ]);
        run(place.program.command(&arguments))
    };
    print("cat \"$1\"; exit 3").expect(1).explained();
    let stored = super::objects(&place, "packs").len();
    assert!(stored > 0, "packs were full before the command failed");
    assert!(super::objects(&place, "sessions").is_empty());
    let checked = verb(&place, "check", &["--read-data"]).expect(0).summary();
    assert_eq!(checked["orphans"], 0, "what was stored is known");
    let summary = print("cat \"$1\"").expect(0).summary();
    assert!(summary["stored_bytes"].as_u64().unwrap() < 45_000_000, "{summary}");
    verb(&place, "check", &["--read-data"]).expect(0);
}
