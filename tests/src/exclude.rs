//! What is left out of a backup.

use crate::place::Place;
use crate::program::not_run;
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::process::Command;

const FILES: [(&str, &str); 8] = [
    ("a.txt", "1"),
    ("a.o", "2"),
    ("keep.o", "3"),
    ("build/x.txt", "4"),
    ("sub/build/y.txt", "5"),
    ("sub/deep/down/z.o", "6"),
    ("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
    ("cache/blob", "7"),
];

/// The files that are in a backup made with these options.
fn kept(more: &[&str]) -> Vec<String> {
    let place = Place::new();
    place.write(&FILES);
    place.backup(more).expect(0);
    place.restore("t", &["latest"]).expect(0);
    let manifest = Manifest::of(&place.target("t")).unwrap();
    manifest.paths().into_iter().filter(|path| place.target("t").join(path).is_file()).collect()
}

fn without(paths: &[&str]) -> Vec<String> {
    let mut files: Vec<String> =
        FILES.iter().map(|file| file.0.to_owned()).filter(|path| !paths.contains(&path.as_str())).collect();
    files.sort();
    files
}

#[test]
fn patterns_are_those_of_gitignore() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&["--exclude", "*.o"], &["a.o", "keep.o", "sub/deep/down/z.o"]),
        (&["--exclude", "*.o", "--exclude", "!keep.o"], &["a.o", "sub/deep/down/z.o"]),
        (&["--exclude", "/build"], &["build/x.txt"]),
        (&["--exclude", "build/"], &["build/x.txt", "sub/build/y.txt"]),
        (&["--exclude", "sub/**/z.o"], &["sub/deep/down/z.o"]),
        (&["--exclude", "A.TXT"], &[]),
    ];
    for (options, absent) in cases {
        assert_eq!(kept(options), without(absent), "{options:?}");
    }
}

#[test]
fn caches_are_left_out_when_asked() {
    assert_eq!(kept(&["--exclude-caches"]), without(&["cache/blob"]));
}

#[test]
fn directories_with_a_marker_are_left_out_when_asked() {
    assert_eq!(kept(&["--exclude-if-present", "y.txt"]), without(&[]));
    assert_eq!(kept(&["--exclude-if-present", "x.txt"]), without(&[]));
    assert_eq!(kept(&["--exclude-if-present", "CACHEDIR.TAG"]), without(&["cache/blob"]));
}

/// What is excluded from one run on was not deleted: but it is not in this backup either.
#[test]
fn a_pattern_that_comes_later_holds_from_then_on() {
    let place = Place::new();
    place.write(&FILES);
    place.increment();
    place.backup(&["--incremental", "--exclude", "*.o"]).expect(0);
    place.backup(&["--incremental"]).expect(0);
    let [first, second, third] = <[String; 3]>::try_from(place.ids()).unwrap();
    for (id, there) in [(first, true), (second, false), (third, true)] {
        place.restore(&id, &[&id]).expect(0);
        assert_eq!(place.target(&id).join("a.o").exists(), there, "{id}");
        assert!(place.target(&id).join("a.txt").exists());
    }
}

#[test]
fn other_file_systems_are_left_out_when_asked() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let inner = place.source().join("mounted");
    fs::create_dir(&inner).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&inner).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return not_run("needs root and the right to mount a tmpfs");
    }
    fs::write(inner.join("b"), "2").unwrap();
    let outcomes = [place.backup(&["--one-file-system"]), place.backup(&[])];
    // Before anything can fail, or the mount would stay.
    assert!(Command::new("umount").arg(&inner).status().unwrap().success());
    for (outcome, there) in outcomes.into_iter().zip([false, true]) {
        let id = crate::place::id(&outcome.expect(0).summary());
        place.restore(&id, &[&id]).expect(0);
        assert!(place.target(&id).join("mounted").is_dir());
        assert_eq!(place.target(&id).join("mounted/b").exists(), there);
    }
}

#[test]
fn a_pattern_that_makes_no_sense_is_wrong_usage() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let outcome = place.backup(&["--exclude", "[z-a]{"]);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(!place.repository().exists() || place.list().is_empty());
}

/// A repository inside the source must not back itself up without end.
#[test]
fn a_repository_below_the_source_can_be_excluded() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let repository = place.source().join("repository");
    let (repository, source) = (repository.to_str().unwrap().to_owned(), place.source());
    let arguments = ["backup", "-r", &repository, "--init", "--engine", "tar", "--no-encryption", "--json"];
    let more = ["--exclude", "/repository", source.to_str().unwrap()];
    for _ in 0..2 {
        assert_eq!(place.program.run(&[&arguments[..], &more].concat()).expect(0).summary()["files"], 1);
    }
}

/// Or each backup would hold all those before it, and the next would not even be equal to the source.
#[test]
fn the_repository_in_its_own_source_is_left_out_with_a_note() {
    let place = Place::new();
    place.write(&[("a", "1"), ("deep/b", "2")]);
    let repository = place.source().join("deep/repository");
    let run = || {
        let (repository, source) = (repository.to_str().unwrap(), place.source());
        let arguments = [
            "backup",
            "-r",
            repository,
            "--init",
            "--engine",
            "tar",
            "--no-encryption",
            "--incremental",
            "--json",
        ];
        place.program.run(&[&arguments[..], &[source.to_str().unwrap()]].concat()).expect(0)
    };
    assert_eq!(run().summary()["files"], 2);
    let second = run();
    assert_eq!(second.summary()["files"], 0);
    let [note] = <[_; 1]>::try_from(second.of_type("problem")).unwrap();
    assert_eq!((&note["path"], &note["lost"]), (&"deep/repository".into(), &false.into()));
    let inside = repository.join("data");
    let arguments =
        ["backup", "-r", repository.to_str().unwrap(), "--engine", "tar", "--no-encryption", "--json"];
    place.program.run(&[&arguments[..], &[inside.to_str().unwrap()]].concat()).expect(2).explained();
}
