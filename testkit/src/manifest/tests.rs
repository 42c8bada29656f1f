//! The judge is judged: every attribute that is changed must be named.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "content").unwrap();
    fs::hard_link(directory.path().join("a"), directory.path().join("b")).unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    symlink("a", directory.path().join("link")).unwrap();
    directory
}

/// The differences that `change` makes, those of the top directory left out.
fn after(change: impl FnOnce(PathBuf)) -> Vec<String> {
    let directory = tree();
    let before = Manifest::of(directory.path()).unwrap();
    change(directory.path().to_owned());
    diff(&before, &Manifest::of(directory.path()).unwrap(), &Options { root: false, ..Options::default() })
}

fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_unchanged_tree_does_not_differ() {
    assert_eq!(after(|_| ()), Vec::<String>::new());
}

#[test]
fn every_change_is_named() {
    type Change = fn(PathBuf);
    let cases: [(&str, Change); 8] = [
        ("\"a\": kind", |root| fs::write(root.join("a"), "CONTENT").unwrap()),
        ("\"a\": mode", |root| fs::set_permissions(root.join("a"), Permissions::from_mode(0o600)).unwrap()),
        ("\"a\": mtime", |root| set_time(&root.join("a"), 1, 1)),
        ("\"b\": missing", |root| fs::remove_file(root.join("b")).unwrap()),
        ("\"new\": not expected", |root| fs::write(root.join("new"), "").unwrap()),
        ("\"a\": xattrs", |root| {
            rustix::fs::lsetxattr(root.join("a"), "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        }),
        ("\"a\": hard link", |root| {
            fs::remove_file(root.join("b")).unwrap();
            fs::copy(root.join("a"), root.join("b")).unwrap();
        }),
        ("\"link\": kind", |root| {
            fs::remove_file(root.join("link")).unwrap();
            symlink("b", root.join("link")).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let lines = after(change);
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected} not in {lines:?}");
    }
}

#[test]
fn a_nanosecond_counts_unless_told_otherwise() {
    let directory = tree();
    set_time(&directory.path().join("a"), 10, 1);
    let before = Manifest::of(directory.path()).unwrap();
    set_time(&directory.path().join("a"), 10, 2);
    let after = Manifest::of(directory.path()).unwrap();
    assert_eq!(diff(&before, &after, &Options::default()).len(), 2);
    assert!(diff(&before, &after, &Options { nanoseconds: false, ..Options::default() }).is_empty());
}

#[test]
fn a_filled_hole_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse");
    File::create(&path).unwrap().set_len(4 << 20).unwrap();
    let before = Manifest::of(directory.path()).unwrap();
    fs::write(&path, vec![0; 4 << 20]).unwrap();
    let lines = diff(&before, &Manifest::of(directory.path()).unwrap(), &Options::default());
    assert!(lines.iter().any(|line| line.contains("holes are gone")), "{lines:?}");
}
