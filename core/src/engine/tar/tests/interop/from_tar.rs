//! What GNU tar writes, in every format it has, is read here as the tree it came from.

use super::*;
use crate::tree::directory::path_bytes;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

/// A tree with one of everything; with names and targets that only fit some formats when `long`.
fn tree(long: bool) -> TempDir {
    let folder = folder();
    let put = |name: &[u8], bytes: &[u8]| {
        let path = folder.path().join(OsStr::from_bytes(name));
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000 + bytes.len() as u64, 123_456_789);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        path
    };
    fs::create_dir_all(folder.path().join("d/e")).unwrap();
    put(b"empty", b"");
    put(b"d/block", &content(1, 512));
    put(b"d/latin-\xe4", &content(2, 513));
    let large = put(b"d/e/large", &content(3, 100_000));
    fs::set_permissions(&large, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(&large, folder.path().join("z-hard")).unwrap();
    symlink("d/e/large", folder.path().join("link")).unwrap();
    if long {
        put(b"new\nline", b"x");
        put(&[b'l'; 100], b"exactly");
        put(&[b'l'; 101], b"one more");
        put(&[b'm'; 255], b"longest");
        symlink(OsStr::from_bytes(&[b't'; 300]), folder.path().join("long-link")).unwrap();
    }
    folder
}

/// A file with this many pieces of data between holes.
fn sparse_file(folder: &Path, pieces: u64, tail: u64) {
    let file = fs::File::create(folder.join(format!("sparse-{pieces}-{tail}"))).unwrap();
    for piece in 0..pieces {
        file.write_all_at(&content(piece, 4096), 65_536 * (piece + 1)).unwrap();
    }
    file.set_len(65_536 * (pieces + 1) + tail).unwrap();
}

fn created(folder: &Path, options: &[&str]) -> BTreeMap<Vec<u8>, Stored> {
    let archive = tar(folder, &[&["-c", "-f", "-"], options, &["."]].concat());
    read_all(&archive).unwrap().into_iter().map(|stored| (stored.0.path.clone(), stored)).collect()
}

/// Compares every path of the tree with its member; `nanoseconds` says whether the format has them.
fn compare(folder: &Path, members: &BTreeMap<Vec<u8>, Stored>, nanoseconds: bool) {
    let mut seen = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(path) = folders.pop() {
        let name = [b".".to_vec(), path_bytes(&path)[path_bytes(folder).len()..].to_vec()].concat();
        let stored = members.get(&name).unwrap_or_else(|| panic!("{} is missing", name.escape_ascii()));
        let found = fs::symlink_metadata(&path).unwrap();
        let attributes = &stored.0.attributes;
        let nanosecond = if nanoseconds { found.mtime_nsec() as u32 } else { 0 };
        assert_eq!((attributes.uid, attributes.gid), (found.uid(), found.gid()));
        assert_eq!(attributes.mtime, FileTime::new(found.mtime(), nanosecond), "{path:?}");
        assert_eq!(attributes.mode, found.mode() & 0o7777, "{path:?}");
        match &stored.0.kind {
            MemberKind::Directory { .. } => {
                assert!(found.is_dir());
                folders.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            MemberKind::File { size_bytes, .. } => {
                assert_eq!(*size_bytes, found.len());
                assert_eq!(expanded(stored), fs::read(&path).unwrap(), "{path:?}");
            }
            MemberKind::Symlink(target) => assert_eq!(target, path_bytes(&fs::read_link(&path).unwrap())),
            MemberKind::HardLink(target) => {
                let other = folder.join(OsStr::from_bytes(target));
                assert_eq!(fs::metadata(other).unwrap().ino(), found.ino());
            }
            other => panic!("{other:?}"),
        }
        seen += 1;
    }
    assert_eq!(members.len(), seen);
}

#[test]
fn every_format() {
    if !can_run("tar") {
        return;
    }
    for (format, long, nanoseconds) in [
        ("gnu", true, false),
        ("oldgnu", true, false),
        ("pax", true, true),
        ("ustar", false, false),
        ("v7", false, false),
    ] {
        let tree = tree(long);
        let members = created(tree.path(), &[&format!("--format={format}")]);
        compare(tree.path(), &members, nanoseconds);
        assert!(
            members.values().any(|(member, _)| matches!(member.kind, MemberKind::HardLink(_))),
            "{format}"
        );
    }
}

#[test]
fn long_paths_of_ustar() {
    if !can_run("tar") {
        return;
    }
    let folder = folder();
    let deep = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    fs::create_dir(folder.path().join("p".repeat(120))).unwrap();
    fs::write(folder.path().join(&deep), "x").unwrap();
    let archive = tar(folder.path(), &["-c", "-f", "-", "--format=ustar", &deep]);
    assert_eq!(read_all(&archive).unwrap()[0].0.path, deep.into_bytes());
}

#[test]
fn sparse_files_in_every_form() {
    if !can_run("tar") {
        return;
    }
    let tree = tree(true);
    for pieces in [0, 1, 4, 5, 26, 60] {
        sparse_file(tree.path(), pieces, 0);
        sparse_file(tree.path(), pieces, 777);
    }
    let holes = rustix::fs::stat(tree.path().join("sparse-60-0")).unwrap().st_blocks;
    if holes * 512 >= 61 * 65_536 {
        return not_run("file system with holes");
    }
    let forms: [&[&str]; 5] = [
        &["--format=gnu"],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ];
    for form in forms {
        let members = created(tree.path(), &[&["-S"], form].concat());
        compare(tree.path(), &members, form.len() > 1);
        let MemberKind::File { sparse: Some(regions), .. } = &members[&b"./sparse-60-777"[..]].0.kind else {
            panic!("{form:?}: not sparse");
        };
        assert_eq!(regions.len(), 60, "{form:?}");
    }
}

#[test]
fn attributes_and_access_lists() {
    let tree = tree(false);
    let path = tree.path().join("d/block");
    if !can_run("tar") || !set_xattr(&path, "user.a=b%3D", b"\0\n=") {
        return not_run("tar, or file system with attributes,");
    }
    assert!(set_xattr(&path, "user.empty", b""));
    // Version 2, then tag, permissions and id: owner, user 1234, group, mask, others.
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries =
        [entry(1, 6, none), entry(2, 4, 1234), entry(4, 4, none), entry(16, 4, none), entry(32, 0, none)];
    let acl = [&2u32.to_le_bytes()[..], &entries.concat()].concat();
    assert!(set_xattr(&path, "system.posix_acl_access", &acl));
    let members = created(tree.path(), &["--xattrs", "--xattrs-include=user.*", "--acls", "--format=pax"]);
    let xattrs = &members[&b"./d/block"[..]].0.attributes.xattrs;
    let names: Vec<String> =
        xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["SCHILY.acl.access", "user.a=b%3D", "user.empty"]);
    assert!(xattrs[0].1.starts_with(b"user::rw-\nuser:1234:r--\n"), "{}", xattrs[0].1.escape_ascii());
    assert_eq!((&xattrs[1].1[..], &xattrs[2].1[..]), (&b"\0\n="[..], &b""[..]));
}

#[test]
fn volume_labels_are_passed_over_and_volumes_refused() {
    if !can_run("tar") {
        return;
    }
    let tree = tree(false);
    for format in ["gnu", "pax"] {
        let members = created(tree.path(), &[&format!("--format={format}"), "--label=a label"]);
        compare(tree.path(), &members, format == "pax");
    }
    // The second volume, of 100 KiB, begins inside the large file.
    let script = "--new-volume-script=true";
    let volumes = [
        "-c",
        "-M",
        "-L",
        "60",
        script,
        "--format=gnu",
        "-f",
        "1.tar",
        "-f",
        "2.tar",
        "-f",
        "3.tar",
        "d/e/large",
    ];
    tar(tree.path(), &volumes);
    let second = fs::read(tree.path().join("2.tar")).unwrap();
    assert_eq!(read_all(&second).unwrap_err().kind(), crate::Kind::Unsupported);
}
