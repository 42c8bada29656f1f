//! A tree holds what it promises, is the same for the same seed, and lives through its history.

use super::*;
use crate::manifest::{Kind, Manifest, Options, diff};

/// The times of what is not set on purpose are those of the build.
fn without_times(manifest: &mut Manifest) {
    manifest.entries.values_mut().for_each(|entry| entry.mtime = (0, 0));
}

#[test]
fn the_same_seed_builds_the_same_history() {
    let directory = tempfile::tempdir().unwrap();
    let mut one = Tree::create(&directory.path().join("one"), 3, Features::all()).unwrap();
    let mut two = Tree::create(&directory.path().join("two"), 3, Features::all()).unwrap();
    for step in 1..=SCRIPTED_STEPS + 2 {
        let before = Manifest::of(one.root()).unwrap();
        one.mutate(step).unwrap();
        two.mutate(step).unwrap();
        let mut manifests = [Manifest::of(one.root()).unwrap(), Manifest::of(two.root()).unwrap()];
        assert!(!diff(&before, &manifests[0], &Options::default()).is_empty(), "step {step} changes nothing");
        manifests.iter_mut().for_each(without_times);
        assert_eq!(diff(&manifests[0], &manifests[1], &Options::default()), Vec::<String>::new());
    }
}

#[test]
fn a_tree_holds_one_of_everything() {
    let directory = tempfile::tempdir().unwrap();
    let features = Features { sockets: true, ..Features::all() };
    let tree = Tree::create(directory.path(), 1, features).unwrap();
    let manifest = Manifest::of(tree.root()).unwrap();
    let count = |test: fn(&Kind) -> bool| manifest.entries.values().filter(|entry| test(&entry.kind)).count();
    assert!(count(|kind| matches!(kind, Kind::File { size_bytes: 0, .. })) > 0);
    assert!(count(|kind| matches!(kind, Kind::File { size_bytes, .. } if *size_bytes > 5 << 20)) > 1);
    let holes = |kind: &Kind| matches!(kind, Kind::File { size_bytes, allocated_bytes, .. } if allocated_bytes < size_bytes);
    assert!(count(holes) >= 5);
    assert!(count(|kind| matches!(kind, Kind::Fifo)) > 0 && count(|kind| matches!(kind, Kind::Socket)) == 1);
    assert!(manifest.entries.keys().any(|path| path.len() > 4096));
    assert!(manifest.entries.keys().any(|path| std::str::from_utf8(path).is_err()));
    assert!(manifest.entries.values().any(|entry| entry.mtime.0 < 0 && entry.mtime.1 > 0));
    assert!(manifest.entries.values().filter(|entry| entry.hard_link.is_some()).count() >= 7);
    let with = |name: &[u8]| manifest.entries.values().any(|entry| entry.xattrs.contains_key(name));
    assert!(with(b"user.comment") && with(b"system.posix_acl_access") && with(b"system.posix_acl_default"));
    assert!(!is_root() || with(b"security.capability") && with(b"trusted.icecore"));
}
