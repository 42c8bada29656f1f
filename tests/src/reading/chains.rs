//! Looking into chains: what `tar` and `rsync` have made tells the same tree as the deduplicated backup beside it, and hands out the
//! same bytes.

use super::{bytes, paths};
use crate::dedup::{cheap_place, run, verb};
use crate::in_memory::CHAINS;
use crate::place::{Place, entries};
use crate::program::Outcome;
use icecore_testkit::tree::{Features, SCRIPTED_STEPS};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// The next backup by this engine; by those of chains in clear.
fn back_up(place: &Place, engine: &str) -> Outcome {
    let more: &[&str] = if engine == "dedup" { &[] } else { &["--incremental", "--no-encryption"] };
    let mut arguments = place.arguments("backup", &[&["--engine", engine], more].concat());
    arguments.push(place.source().into());
    run(place.program.command(&arguments))
}

/// The next backup by every engine.
fn back_up_by_all(place: &Place) {
    place.settle();
    for engine in ["dedup", "tar", "rsync"] {
        back_up(place, engine).expect(0);
    }
}

/// Lines of a type, without what archives do not know.
fn told(place: &Place, engine: &str, name: &str, more: &[&str], what: &str) -> Vec<Value> {
    let mut lines = verb(place, name, &[&["--engine", engine], more].concat()).expect(0).of_type(what);
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("inode");
    }
    lines
}

#[test]
fn a_chain_tells_the_tree_that_a_deduplicated_backup_tells() {
    let place = cheap_place();
    let mut tree = place.tree(41, Features { large_files: false, ..Features::all() });
    back_up_by_all(&place);
    for step in 1..=SCRIPTED_STEPS {
        tree.mutate(step).unwrap();
        back_up_by_all(&place);
    }
    for back in 0..=SCRIPTED_STEPS {
        let backup = format!("latest~{back}");
        let expected = told(&place, "dedup", "ls", &[&backup, "--recursive"], "entry");
        for engine in CHAINS {
            let found = told(&place, engine, "ls", &[&backup, "--recursive"], "entry");
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{engine}, {backup}");
            }
            assert_eq!(found.len(), expected.len(), "{engine}, {backup}");
        }
    }
    // One directory, in the order of names; and every sort of file comes out as it is.
    let directories = told(&place, "dedup", "find", &["--type", "directory"], "match");
    let root = told(&place, "dedup", "ls", &[], "entry");
    for engine in CHAINS {
        assert_eq!(told(&place, engine, "find", &["--type", "directory"], "match").len(), directories.len());
        assert_eq!(told(&place, engine, "ls", &[], "entry"), root, "{engine}");
        let files = told(&place, engine, "find", &["--type", "file"], "match");
        for file in files.iter().filter(|file| file["path_hex"].is_null()).step_by(files.len() / 12 + 1) {
            let path = file["path"].as_str().unwrap();
            let content = bytes(&place, "cat", &["--engine", engine, &format!("latest:{path}")]);
            assert!(content == fs::read(place.source().join(path)).unwrap(), "{engine}: {path}");
        }
    }
}

#[test]
fn what_is_looked_for_in_all_backups_is_found_in_those_of_chains() {
    let place = cheap_place();
    place.write(&[("a/kept", "1"), ("a/changed", "22"), ("gone", "333")]);
    back_up_by_all(&place);
    place.write(&[("a/changed", "4444"), ("a/new", "5")]);
    fs::remove_file(place.source().join("gone")).unwrap();
    back_up_by_all(&place);
    place.write(&[("gone", "back again")]);
    back_up_by_all(&place);
    for engine in ["dedup", "tar", "rsync"] {
        let found = told(&place, engine, "find", &["--all", "--type", "file"], "match");
        let found: Vec<_> = found
            .iter()
            .map(|line| {
                let [path, size, backups] = ["path", "size", "backups"].map(|key| line[key].to_string());
                format!("{path} {size} {backups}")
            })
            .collect();
        let expected = [
            r#""a/changed" 2 1"#,
            r#""a/changed" 4 2"#,
            r#""a/kept" 1 3"#,
            r#""a/new" 1 2"#,
            r#""gone" 3 1"#,
            r#""gone" 10 1"#,
        ];
        assert_eq!(found, expected, "{engine}");
        let below = told(&place, engine, "find", &["--all", "--in", ":a", "--larger", "1"], "match");
        assert_eq!(below.len(), 2, "{engine}");
        let one = verb(&place, "find", &["--engine", engine, "--in", "latest~1", "gone"]).expect(0);
        assert_eq!(one.summary()["matches"], 0, "{engine}");
    }
    // All of them at once.
    let all = verb(&place, "find", &["--all", "kept"]).expect(0);
    assert_eq!((paths(&all, "match").len(), &all.summary()["backups"]), (3, &9.into()), "{all:?}");
}

#[test]
fn what_cannot_be_done_with_a_chain_is_refused_with_what_to_do_instead() {
    for engine in CHAINS {
        let place = Place::of(engine);
        place.write(&[("a", "1"), ("folder/b", "2")]);
        place.increment();
        for (name, arguments) in [
            ("diff", &["latest"][..]),
            ("stats", &["latest"]),
            ("dump", &["latest"]),
            ("dump", &["latest:folder"]),
            ("dump", &["latest:a", "--format", "tar"]),
        ] {
            let outcome = place.run(name, arguments).expect(1);
            assert!(outcome.stderr.contains("restore it"), "{name}: {outcome:?}");
        }
        for (name, arguments) in [
            ("ls", ["latest:no/such"].as_slice()),
            ("cat", &["latest:no/such"]),
            ("find", &["--in", "latest:no/such"]),
        ] {
            let outcome = place.run(name, arguments).expect(1);
            assert!(outcome.stderr.contains("no/such"), "{name}: {outcome:?}");
        }
        let line = place.run("ls", &["latest:folder/b"]).expect(0).of_type("entry");
        assert_eq!((line.len(), &line[0]["size"]), (1, &1.into()));
    }
}

/// A password opens what it is asked for, and nothing is left of what was taken out.
#[test]
fn an_encrypted_chain_is_looked_into_with_its_password() {
    let place = cheap_place();
    place.write(&[("a", "secret"), ("folder/b", "2")]);
    let mut arguments = place.arguments("backup", &["--engine", "tar", "--incremental"]);
    arguments.push(place.source().into());
    run(place.program.command(&arguments)).expect(0);
    let listed = verb(&place, "ls", &["--recursive", "latest"]).expect(0);
    assert_eq!(paths(&listed, "entry"), ["a", "folder", "folder/b"]);
    let scratch = place.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut command = place.program.command(&place.arguments("cat", &["latest:a"]));
    let outcome = run({
        command.env("TMPDIR", &scratch);
        command
    });
    assert_eq!(outcome.expect(0).stdout, "secret");
    assert!(entries(&scratch).is_empty());
    place.run("ls", &["--engine", "tar", "latest"]).expect(2).explained();
}

#[test]
fn what_a_chain_lacks_is_marked_and_not_handed_out() {
    for engine in CHAINS {
        let mut place = Place::unprivileged();
        place.engine = engine;
        place.write(&[("a", "1"), ("secret", "2"), ("closed/inside", "3")]);
        let set_mode = |path: &str, mode| {
            fs::set_permissions(place.source().join(path), Permissions::from_mode(mode)).unwrap();
        };
        set_mode("secret", 0);
        set_mode("closed", 0);
        place.backup(&["--incremental"]).expect(3);
        let listed = place.run("ls", &["--recursive", "latest"]).expect(0).of_type("entry");
        let marks: Vec<_> = listed
            .iter()
            .map(|line| (line["path"].as_str().unwrap(), line["unreadable"].as_bool().unwrap()))
            .collect();
        assert_eq!(marks, [("a", false), ("secret", true), ("closed", true)], "{engine}");
        let refused = place.run("cat", &["latest:secret"]).expect(1);
        assert!(refused.stderr.contains("could not be read when"), "{refused:?}");
        set_mode("closed", 0o755);
    }
}
