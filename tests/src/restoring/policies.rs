//! What becomes of what stands in the target: every policy, with everything that can stand there.

use super::{BACKED_UP, restored, set_time, what, worlds, write};
use crate::in_memory::World;
use icecore::Kind;
use icecore::engine::Overwrite::{self, Always, IfChanged, IfNewer, Never};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const OLDER: i64 = BACKED_UP - 500;
const NEWER: i64 = BACKED_UP + 500;

const POLICIES: [Overwrite; 4] = [Always, IfChanged, IfNewer, Never];

/// Who is right about a path under each policy: the backup (`B`) or the target (`T`).
const CASES: [(&str, &str); 19] = [
    ("missing", "BBBB"),
    ("same", "BBBB"),
    ("same time, other content", "BTTT"),
    ("older", "BBBT"),
    ("newer", "BBTT"),
    ("longer, of the same time", "BBTT"),
    ("file for link", "BBBT"),
    ("link for file", "BBBT"),
    ("link for file, newer", "BBTT"),
    ("directory for file, older", "BBBT"),
    ("directory for file, with something newer", "BBTT"),
    ("file for directory, older/below", "BBBN"),
    ("file for directory, newer/below", "BBNN"),
    ("link for directory/below", "BBNN"),
    ("deep/down/missing", "BBBB"),
    ("deep/down/older", "BBBT"),
    ("names/first", "BBTT"),
    ("names/second", "BBBB"),
    ("names/third", "BBBT"),
];

const DIRECTORIES: [&str; 6] = [
    "names",
    "deep/down",
    "deep",
    "link for directory",
    "file for directory, older",
    "file for directory, newer",
];

/// The source, as it was when the newest backup was made.
fn fill_source(world: &World) {
    let at = |path: &str| world.source().join(path);
    for (path, _) in CASES {
        match path {
            "file for link" => symlink("backup", at(path)).unwrap(),
            "names/second" | "names/third" => fs::hard_link(at("names/first"), at(path)).unwrap(),
            _ => write(&at(path), "backup", BACKED_UP),
        }
        set_time(&at(path), BACKED_UP);
    }
    fs::set_permissions(at("same"), fs::Permissions::from_mode(0o640)).unwrap();
    DIRECTORIES.iter().for_each(|directory| set_time(&at(directory), BACKED_UP));
}

/// A backup and, for a chain, a level below it in which everything was different.
fn back_up(world: &mut World) {
    for (path, _) in CASES {
        let path = world.source().join(path);
        if !path.starts_with(world.source().join("names")) || path.ends_with("first") {
            write(&path, "an earlier version", BACKED_UP - 9_000_000);
        }
    }
    write(&world.source().join("gone"), "backup", BACKED_UP - 9_000_000);
    DIRECTORIES.iter().for_each(|path| set_time(&world.source().join(path), BACKED_UP - 9_000_000));
    world.settle();
    world.back_up();
    world.settle();
    fs::remove_dir_all(world.source()).unwrap();
    fs::create_dir(world.source()).unwrap();
    fill_source(world);
    world.settle();
    world.back_up();
}

fn fill_target(target: &Path, outside: &Path) {
    let at = |path: &str| target.join(path);
    write(&at("same"), "backup", BACKED_UP);
    fs::set_permissions(at("same"), fs::Permissions::from_mode(0o600)).unwrap();
    write(&at("same time, other content"), "target", BACKED_UP);
    write(&at("older"), "target", OLDER);
    write(&at("newer"), "target", NEWER);
    write(&at("longer, of the same time"), "target, longer", BACKED_UP);
    write(&at("file for link"), "target", OLDER);
    symlink("target", at("link for file")).unwrap();
    set_time(&at("link for file"), OLDER);
    symlink("target", at("link for file, newer")).unwrap();
    set_time(&at("link for file, newer"), NEWER);
    write(&at("directory for file, older/old"), "target", OLDER);
    set_time(&at("directory for file, older"), OLDER);
    write(&at("directory for file, with something newer/new"), "target", NEWER);
    set_time(&at("directory for file, with something newer"), OLDER);
    write(&at("file for directory, older"), "target", OLDER);
    write(&at("file for directory, newer"), "target", NEWER);
    symlink(outside, at("link for directory")).unwrap();
    set_time(&at("link for directory"), NEWER);
    write(&at("deep/down/older"), "target", OLDER);
    write(&at("names/first"), "target", NEWER);
    write(&at("names/third"), "target", OLDER);
    write(&at("stranger"), "target", OLDER);
    write(&at("gone"), "target", OLDER);
}

#[test]
fn every_policy_does_with_everything_what_it_says() {
    for mut world in worlds() {
        back_up(&mut world);
        for (column, policy) in POLICIES.into_iter().enumerate() {
            let outside = world.beside(&format!("outside {policy:?}"));
            let target = world.beside(&format!("target {policy:?}"));
            fill_target(&target, &outside);
            let before: BTreeMap<&str, String> =
                CASES.iter().map(|(path, _)| (*path, what(&target.join(path)))).collect();
            let report = restored(&world, &target, |options| options.overwrite = Some(policy)).unwrap();
            let mut kept = 0;
            for (path, right) in CASES {
                let mut right = right.as_bytes()[column];
                // A chain of archives is replayed level by level, and what the first one put there is no longer the target's.
                if path == "same time, other content" && policy == IfChanged && world.engine == "tar" {
                    right = b'B';
                }
                let wanted = match right {
                    b'B' => what(&world.source().join(path)),
                    b'T' => before[path].clone(),
                    _ => "nothing".to_owned(),
                };
                assert_eq!(what(&target.join(path)), wanted, "{}, {policy:?}: {path}", world.engine);
                kept += u64::from(right != b'B' && policy.keeps());
            }
            // What is there and the same, and the directories in whose place a file or a link stays.
            kept += u64::from(policy.keeps());
            kept += match policy {
                IfNewer => 2,
                Never => 3,
                Always | IfChanged => 0,
            };
            assert_eq!(report.kept, kept, "{}, {policy:?}", world.engine);
            let unchanged = if policy == IfChanged && world.engine != "tar" { 2 } else { 0 };
            assert_eq!(report.unchanged, unchanged, "{}", world.engine);
            assert_eq!(what(&target.join("stranger")), "target");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "a link was followed");
            let mode = fs::metadata(target.join("same")).unwrap().mode() & 0o777;
            assert_eq!(mode, if policy.keeps() { 0o600 } else { 0o640 }, "{}, {policy:?}", world.engine);
            let inode = |path: &str| fs::metadata(target.join(path)).unwrap().ino();
            assert_eq!(inode("names/second") == inode("names/first"), !policy.keeps(), "{policy:?}");
            assert_eq!(inode("names/second") == inode("names/third"), policy != Never, "{policy:?}");
            if policy.keeps() {
                assert_eq!(what(&target.join("gone")), "target", "the user's file went with the level below");
            }
        }
    }
}

#[test]
fn nothing_is_deleted_by_a_policy_that_keeps_things() {
    for mut world in worlds() {
        write(&world.source().join("file"), "backup", BACKED_UP);
        world.back_up();
        let target = world.beside("target");
        write(&target.join("stranger"), "target", OLDER);
        for policy in [None, Some(IfNewer), Some(Never)] {
            let refused = restored(&world, &target, |options| {
                (options.overwrite, options.delete) = (policy, true);
            });
            assert_eq!(refused.unwrap_err().kind(), Kind::Invalid, "{policy:?}");
        }
        let refused = restored(&world, &target, |_| {});
        assert_eq!(refused.unwrap_err().kind(), Kind::AlreadyExists);
        assert_eq!(
            (what(&target.join("stranger")).as_str(), what(&target.join("file")).as_str()),
            ("target", "nothing")
        );
        for policy in [IfChanged, Always] {
            write(&target.join("stranger"), "target", OLDER);
            restored(&world, &target, |options| {
                (options.overwrite, options.delete) = (Some(policy), true);
            })
            .unwrap();
            assert_eq!(
                (what(&target.join("stranger")).as_str(), what(&target.join("file")).as_str()),
                ("nothing", "backup")
            );
        }
    }
}
