//! Parts of a backup: one directory as the target, paths, patterns, and what is left out.

use super::{BACKED_UP, restored, set_time, what, worlds, write};
use crate::in_memory::World;
use crate::place::assert_equal;
use icecore::Kind;
use icecore::engine::Overwrite;
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const FILES: [&str; 10] = [
    "docs/a.txt",
    "docs/b.log",
    "docs/sub/c.txt",
    "docs/sub/deep/d.log",
    "docs/sub/deep/what[1]?",
    "docs/skip/e.txt",
    "docs/skip/f.log",
    "other/g.txt",
    "other/h.log",
    "top.txt",
];

/// Two backups; the second has other content in half of the files.
fn filled(mut world: World) -> World {
    let at = |path: &str| world.source().join(path);
    FILES.iter().for_each(|path| write(&at(path), "first", BACKED_UP - 100));
    fs::hard_link(at("docs/a.txt"), at("other/linked.txt")).unwrap();
    write(&at("docs/gone.txt"), "first", BACKED_UP - 100);
    world.settle();
    world.back_up();
    world.settle();
    let at = |path: &str| world.source().join(path);
    fs::remove_file(at("docs/gone.txt")).unwrap();
    FILES.iter().step_by(2).for_each(|path| write(&at(path), path, BACKED_UP));
    fs::set_permissions(at("docs"), fs::Permissions::from_mode(0o710)).unwrap();
    fs::set_permissions(at("docs/sub"), fs::Permissions::from_mode(0o701)).unwrap();
    for directory in ["docs/sub/deep", "docs/sub", "docs/skip", "docs", "other", ""] {
        set_time(&at(directory), BACKED_UP - 5);
    }
    world.settle();
    world.back_up();
    world
}

/// The files below a directory, sorted.
fn files(target: &Path) -> Vec<String> {
    let manifest = Manifest::of(target).unwrap();
    let is_file = |path: &String| target.join(path).is_file();
    manifest.paths().into_iter().filter(is_file).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn what_is_in_a_directory_of_the_backup_becomes_the_target() {
    for world in worlds().into_iter().map(filled) {
        for (number, path) in ["docs", "docs/sub", "other", ""].into_iter().enumerate() {
            let target = world.beside(&format!("target {number}"));
            restored(&world, &target, |options| options.path = path.as_bytes().to_vec()).unwrap();
            let (mut wanted, mut found) =
                (Manifest::of(&world.source().join(path)).unwrap(), Manifest::of(&target).unwrap());
            // Names outside of the part are none of its links.
            for manifest in [&mut wanted, &mut found] {
                manifest.entries.values_mut().for_each(|entry| entry.hard_link = None);
            }
            assert_equal(&wanted, &found, &format!("{}: {path}", world.engine));

            // Again, over it, with strangers.
            write(&target.join("stranger/x"), "x", BACKED_UP);
            fs::remove_file(target.join(&files(&target)[0])).unwrap();
            restored(&world, &target, |options| {
                options.path = path.as_bytes().to_vec();
                (options.overwrite, options.delete) = (Some(Overwrite::IfChanged), true);
            })
            .unwrap();
            let mut found = Manifest::of(&target).unwrap();
            found.entries.values_mut().for_each(|entry| entry.hard_link = None);
            assert_equal(&wanted, &found, &format!("{}, once more: {path}", world.engine));
        }
    }
}

#[test]
fn a_file_of_the_backup_lands_in_the_target_under_its_name() {
    for world in worlds().into_iter().map(filled) {
        for (number, path) in ["docs/sub/c.txt", "top.txt", "other/linked.txt"].into_iter().enumerate() {
            let target = world.beside(&format!("target {number}"));
            fs::set_permissions(&target, fs::Permissions::from_mode(0o751)).unwrap();
            restored(&world, &target, |options| options.path = path.as_bytes().to_vec()).unwrap();
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            assert_eq!(files(&target), [name]);
            assert_eq!(what(&target.join(name)), what(&world.source().join(path)));
            assert_eq!(mode(&target), 0o751, "the target is no directory of the backup");
        }
        let target = world.beside("none");
        for (path, kind) in
            [("docs/never", Kind::NotFound), ("docs/gone.txt", Kind::NotFound), ("a/../b", Kind::Invalid)]
        {
            let refused = restored(&world, &target, |options| options.path = path.as_bytes().to_vec());
            assert_eq!(refused.unwrap_err().kind(), kind, "{path}");
        }
        let below_a_file = restored(&world, &target, |options| {
            options.path = b"top.txt".to_vec();
            options.include = vec![b"x".to_vec()];
        });
        assert_eq!(below_a_file.unwrap_err().kind(), Kind::Invalid);
        assert!(files(&target).is_empty());
    }
}

#[test]
fn patterns_say_what_is_restored_and_what_is_not() {
    // Below which path, what to include, what to exclude, and what comes of it.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: [Case; 11] = [
        (
            "",
            &["*.txt"],
            &["skip"],
            &["docs/a.txt", "docs/sub/c.txt", "other/g.txt", "other/linked.txt", "top.txt"],
        ),
        ("", &["/docs/*.txt"], &[], &["docs/a.txt"]),
        ("", &["s[ku]?"], &["*.log"], &["docs/sub/c.txt", "docs/sub/deep/what[1]?"]),
        ("", &["docs/sub/deep/what[1]?"], &[], &["docs/sub/deep/what[1]?"]),
        (
            "",
            &["other", "d*p"],
            &[],
            &[
                "docs/sub/deep/d.log",
                "docs/sub/deep/what[1]?",
                "other/g.txt",
                "other/h.log",
                "other/linked.txt",
            ],
        ),
        ("", &[], &["/docs", "!*.log", "*.txt"], &["other/h.log"]),
        ("", &["docs/skip/f.log"], &["skip"], &[]),
        ("docs", &["*.log"], &["/skip"], &["b.log", "sub/deep/d.log"]),
        ("docs", &["sub"], &["/sub/deep"], &["sub/c.txt"]),
        ("docs", &[], &["/sub", "e.*"], &["a.txt", "b.log", "skip/f.log"]),
        ("docs/sub", &["./deep/d*"], &[], &["deep/d.log"]),
    ];
    for world in worlds().into_iter().map(filled) {
        for (number, (path, include, exclude, wanted)) in cases.iter().enumerate() {
            let target = world.beside(&format!("target {number}"));
            restored(&world, &target, |options| {
                options.path = path.as_bytes().to_vec();
                options.include = include.iter().map(|text| text.as_bytes().to_vec()).collect();
                options.exclude = exclude.iter().map(|text| (*text).to_owned()).collect();
            })
            .unwrap();
            assert_eq!(files(&target), *wanted, "{}: {path} {include:?} {exclude:?}", world.engine);
            for path in files(&target) {
                let source = world.source().join(cases[number].0).join(&path);
                assert_eq!(what(&target.join(&path)), what(&source), "{path}");
            }
        }
        // Directories above what a pattern matches are what they were.
        let target = world.beside("target 1");
        assert_eq!((mode(&target.join("docs")), mode(&world.source().join("docs"))), (0o710, 0o710));
        let target = world.beside("target 8");
        assert_eq!((mode(&target), mode(&target.join("sub"))), (0o710, 0o701));
        let time = |path: &Path| fs::metadata(path).unwrap().mtime();
        assert_eq!((time(&target), time(&target.join("sub"))), (BACKED_UP - 5, BACKED_UP - 5));
        assert!(!world.beside("target 6").join("docs/skip").exists());
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    for world in worlds().into_iter().map(filled) {
        let target = world.beside("target");
        let refused = restored(&world, &target, |options| {
            options.include =
                vec![b"*.txt".to_vec(), b"no*".to_vec(), b"never".to_vec(), b"gon?.txt".to_vec()];
        });
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        for name in ["no*", "never", "gon?.txt"] {
            assert!(error.subject().split(", ").any(|word| word == name), "{error}");
        }
        assert!(!error.subject().contains("*.txt"), "{error}");
        let bad = restored(&world, &target, |options| options.exclude = vec!["a[".to_owned()]);
        assert_eq!(bad.unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn what_is_left_out_is_not_deleted_either() {
    for world in worlds().into_iter().map(filled) {
        let target = world.beside("target");
        let at = |path: &str| target.join(path);
        for path in [
            "docs/a.txt",
            "docs/b.log",
            "docs/mine.log",
            "strange/x.log",
            "strange/y",
            "docs/skip/mine",
            "docs/gone.txt",
        ] {
            write(&at(path), "target", BACKED_UP + 9);
        }
        restored(&world, &target, |options| {
            (options.overwrite, options.delete) = (Some(Overwrite::Always), true);
            options.exclude = vec!["*.log".to_owned(), "/docs/skip".to_owned()];
        })
        .unwrap();
        for (path, wanted) in [
            ("docs/a.txt", "docs/a.txt"),
            ("docs/b.log", "target"),
            ("docs/mine.log", "target"),
            ("strange/x.log", "target"),
            ("strange/y", "nothing"),
            ("docs/skip/mine", "target"),
            ("docs/skip/e.txt", "nothing"),
            ("docs/gone.txt", "nothing"),
            ("other/h.log", "nothing"),
        ] {
            assert_eq!(what(&at(path)), wanted, "{}: {path}", world.engine);
        }
    }
}

#[test]
fn a_link_whose_first_name_is_left_out_has_the_content() {
    for world in worlds().into_iter().map(filled) {
        let target = world.beside("target");
        restored(&world, &target, |options| options.exclude = vec!["/docs/a.txt".to_owned()]).unwrap();
        assert_eq!(what(&target.join("other/linked.txt")), what(&world.source().join("docs/a.txt")));
        assert!(!target.join("docs/a.txt").exists());
    }
}

#[test]
fn what_is_excluded_is_not_destroyed_by_a_file_that_would_take_the_place_of_its_directory() {
    for world in worlds().into_iter().map(filled) {
        for delete in [false, true] {
            let target = world.beside(&format!("target {delete}"));
            write(&target.join("a.txt/deep/keep.o"), "kept", BACKED_UP);
            write(&target.join("a.txt/other"), "kept", BACKED_UP);
            write(&target.join("b.log/other"), "nothing excluded", BACKED_UP);
            let failed = restored(&world, &target, |options| {
                options.path = b"docs".to_vec();
                options.exclude = vec!["*.o".to_owned()];
                options.overwrite = Some(Overwrite::Always);
                options.delete = delete;
            });
            let error = failed.unwrap_err();
            assert_eq!(error.kind(), Kind::Io, "{}: {error}", world.engine);
            for path in ["a.txt/deep/keep.o", "a.txt/other"] {
                assert_eq!(fs::read(target.join(path)).unwrap(), b"kept", "{}: {delete}", world.engine);
            }
            for path in ["b.log", "sub/c.txt", "skip/e.txt"] {
                let source = world.source().join("docs").join(path);
                assert_eq!(what(&target.join(path)), what(&source), "{}: {path}", world.engine);
            }
        }
    }
}
