//! What entries are given: kinds, owners, modes, times, extended attributes, holes, and when directories get theirs.

use super::{Fixture, assert_has, attributes, fs, is_root, names_on_disk, needs_root, not_run, write};
use crate::error::Kind;
use crate::time::FileTime;
use crate::tree::attributes::FileKind;
use crate::tree::directory::Directory;
use crate::tree::target::{Lookup, Options};
use crate::tree::{acl, xattr};
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt};

#[test]
fn every_kind_of_entry_gets_every_attribute() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    for (round, mode) in [0o640, 0o7755, 0o000, 0o604].into_iter().enumerate() {
        // The second and later rounds replace what the first one made.
        let mut wanted = attributes(mode);
        wanted.mtime.seconds += round as i64;
        write(&mut target, b"d/file", b"content", &wanted);
        target.symlink(b"d/link", b"../../outside/precious", &wanted).unwrap();
        target.fifo(b"d/fifo", &wanted).unwrap();
        let expect = [("file", FileKind::File), ("link", FileKind::Symlink), ("fifo", FileKind::Fifo)];
        for (name, kind) in expect {
            let metadata = target.kind(format!("d/{name}").as_bytes()).unwrap().unwrap();
            assert_has(&metadata, &wanted, kind);
        }
    }
    target.finish().unwrap();
    assert_eq!(names_on_disk(&fixture.root().join("d")), ["fifo", "file", "link"]);
    assert_eq!(
        fs::read_link(fixture.root().join("d/link")).unwrap().to_str(),
        Some("../../outside/precious")
    );
    assert_eq!(fixture.monitor.problems(), []);
    fixture.assert_outside_is_untouched();
}

#[test]
fn devices_are_made_by_root() {
    if needs_root("devices") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o660);
    match target.device(b"null", FileKind::CharDevice, 1, 3, &wanted) {
        // In a container root may not.
        Err(e) if e.kind() == Kind::Denied => return not_run("devices (refused)"),
        other => other.unwrap(),
    }
    target.device(b"loop", FileKind::BlockDevice, 7, 300, &wanted).unwrap();
    assert_eq!(target.kind(b"loop").unwrap().unwrap().rdev, (7, 300));
    assert_has(&target.kind(b"null").unwrap().unwrap(), &wanted, FileKind::CharDevice);
    assert!(fs::metadata(fixture.root().join("null")).unwrap().file_type().is_char_device());
    let error = target.device(b"x", FileKind::File, 1, 3, &wanted).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn owners_keep_set_user_id_bits_and_capabilities() {
    if needs_root("owners") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    // cap_net_raw, permitted and effective, in the kernel's second version.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let mut wanted = attributes(0o6755);
    (wanted.uid, wanted.gid) = (1234, 4321);
    wanted.xattrs = vec![(b"security.capability".to_vec(), capability)];
    for name in [&b"first"[..], b"second"] {
        write(&mut target, name, b"x", &wanted);
        let metadata = target.kind(name).unwrap().unwrap();
        assert_has(&metadata, &wanted, FileKind::File);
    }
    let file = fs::File::open(fixture.root().join("second")).unwrap();
    assert_eq!(xattr::read_file(&file).unwrap(), wanted.xattrs);
    wanted.xattrs.clear();
    target.symlink(b"link", b"first", &wanted).unwrap();
    assert_has(&target.kind(b"link").unwrap().unwrap(), &wanted, FileKind::Symlink);
    target.fifo(b"fifo", &wanted).unwrap();
    assert_has(&target.kind(b"fifo").unwrap().unwrap(), &wanted, FileKind::Fifo);
    assert_eq!(fixture.monitor.problems(), []);
    // All ones is no owner; the set-user-id bit goes with it.
    wanted.uid = u32::MAX;
    write(&mut target, b"nobody", b"x", &wanted);
    assert_eq!(fixture.monitor.problems().len(), 1);
    assert_eq!(target.kind(b"nobody").unwrap().unwrap().mode, 0o755);
}

#[test]
fn names_of_owners_come_before_numbers() {
    if needs_root("owners by name") {
        return;
    }
    let fixture = Fixture::new();
    let mut wanted = attributes(0o644);
    (wanted.user, wanted.group) = (b"alice".to_vec(), b"unknown".to_vec());
    (wanted.uid, wanted.gid) = (1, 2);
    let lookup = || -> Lookup { Box::new(|name| (name == b"alice").then_some(777)) };
    for (numeric_owner, uid) in [(false, 777), (true, 1)] {
        let options = Options { numeric_owner, uid_of: lookup(), gid_of: lookup(), ..Options::numeric(true) };
        let mut target = fixture.target_with(options);
        write(&mut target, b"file", b"", &wanted);
        let metadata = target.kind(b"file").unwrap().unwrap();
        assert_eq!((metadata.uid, metadata.gid), (uid, 2));
    }
}

#[test]
fn without_the_right_to_set_owners_that_is_said_once() {
    let fixture = Fixture::new();
    let mut target = fixture.target_with(Options::numeric(false));
    let mut wanted = attributes(0o4755);
    wanted.uid += 1;
    for name in [&b"a"[..], b"b", b"c"] {
        write(&mut target, name, b"", &wanted);
        assert_eq!(
            target.kind(name).unwrap().unwrap().mode,
            0o755,
            "a program of somebody else's must not be ours"
        );
    }
    target.symlink(b"l", b"x", &wanted).unwrap();
    target.symlink(b"m", b"x", &wanted).unwrap();
    assert_eq!(fixture.monitor.problems(), []);
    let said = fixture.monitor.warnings();
    assert!(matches!(said.as_slice(), [one] if one.contains("owners are not restored")), "{said:?}");
}

#[test]
fn extended_attributes_and_access_lists_are_set() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let list = b"user::rw-,user:1000:rwx,group::r--,mask::rw-,other::---";
    let list = acl::from_text(list, &mut |_, _| None).unwrap();
    let mut wanted = attributes(0o660);
    wanted.xattrs = vec![(acl::ACCESS.to_vec(), list), (b"user.note".to_vec(), b"\0\xff".to_vec())];
    write(&mut target, b"file", b"x", &wanted);
    assert_has(&target.kind(b"file").unwrap().unwrap(), &wanted, FileKind::File);
    let file = fs::File::open(fixture.root().join("file")).unwrap();
    assert_eq!(xattr::read_file(&file).unwrap(), wanted.xattrs);
    assert_eq!(fixture.monitor.problems(), []);
    // A list that says otherwise does not change the mode that was asked for, even one the file was made with.
    wanted.mode = 0o640;
    write(&mut target, b"disagreeing", b"x", &wanted);
    assert_has(&target.kind(b"disagreeing").unwrap().unwrap(), &wanted, FileKind::File);
    assert_eq!(fixture.monitor.problems(), []);
    // What the system refuses is told, and the entry is there nevertheless.
    wanted.xattrs = vec![(b"nonsense".to_vec(), b"1".to_vec())];
    write(&mut target, b"other", b"x", &wanted);
    assert_has(&target.kind(b"other").unwrap().unwrap(), &wanted, FileKind::File);
    assert_eq!(fixture.monitor.problems()[0].0, "other");
}

#[test]
fn nothing_is_inherited_from_a_directory_that_was_there() {
    let fixture = Fixture::new();
    let list = b"user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::rwx";
    let list = acl::from_text(list, &mut |_, _| None).unwrap();
    let root = Directory::open(&fixture.root()).unwrap();
    let old = vec![(acl::DEFAULT.to_vec(), list), (b"user.stale".to_vec(), b"1".to_vec())];
    xattr::write_file(&root, &old).unwrap();
    let mut target = fixture.target();
    for name in [&b"first"[..], b"second"] {
        write(&mut target, name, b"x", &attributes(0o640));
        assert_has(&target.kind(name).unwrap().unwrap(), &attributes(0o640), FileKind::File);
        assert_eq!(xattr::read_entry(&root, name).unwrap(), []);
    }
    target.fifo(b"fifo", &attributes(0o640)).unwrap();
    assert_eq!(xattr::read_entry(&root, b"fifo").unwrap(), []);
    target.directory(b"sub").unwrap();
    target.directory_attributes(b"sub", attributes(0o750)).unwrap();
    target.directory_attributes(b"", attributes(0o755)).unwrap();
    target.finish().unwrap();
    assert_eq!(xattr::read_entry(&root, b"sub").unwrap(), []);
    assert_eq!(xattr::read_file(&root).unwrap(), []);
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn holes_stay_holes() {
    const STEP: u64 = 1 << 20;
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    let mut file = target.file(b"sparse", &wanted).unwrap();
    file.hole(STEP).unwrap();
    file.write(b"middle").unwrap();
    file.hole(0).unwrap();
    file.write(b"").unwrap();
    file.hole(8 * STEP).unwrap();
    file.finish(&wanted).unwrap();
    let metadata = target.kind(b"sparse").unwrap().unwrap();
    assert_eq!(metadata.size_bytes, 9 * STEP + 6);
    assert!(metadata.allocated_bytes < STEP, "{} bytes are allocated", metadata.allocated_bytes);
    let mut read = [1; 8];
    let file = fs::File::open(fixture.root().join("sparse")).unwrap();
    file.read_exact_at(&mut read, STEP - 1).unwrap();
    assert_eq!(&read, b"\0middle\0");

    let mut file = target.file(b"endless", &wanted).unwrap();
    file.hole(i64::MAX as u64).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().kind(), Kind::Limit);
    assert_eq!(file.hole(u64::MAX).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn directories_get_their_attributes_after_all_is_written() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let mut readonly = attributes(0o555);
    readonly.mtime = FileTime::new(99, 7);
    for path in [&b"d"[..], b"d/e", b""] {
        target.directory(path).unwrap();
        target.directory_attributes(path, attributes(0o700)).unwrap();
        target.directory_attributes(path, readonly.clone()).unwrap();
    }
    write(&mut target, b"d/e/file", b"x", &attributes(0o444));
    target.directory_attributes(b"absent/x", readonly.clone()).unwrap();
    target.directory_attributes(b"d/e/file", readonly.clone()).unwrap();
    target.finish().unwrap();
    let mut target = fixture.target();
    for path in [&b"d"[..], b"d/e", b""] {
        let mut found = target.kind(path).unwrap().unwrap();
        // Looking at a directory may touch its access time.
        found.atime = readonly.atime.unwrap();
        assert_has(&found, &readonly, FileKind::Directory);
    }
    assert_has(&target.kind(b"d/e/file").unwrap().unwrap(), &attributes(0o444), FileKind::File);
    assert_eq!(fixture.monitor.problems(), []);
    // Restored once more over itself, read-only or not.
    for path in [&b""[..], b"d", b"d/e"] {
        target.directory(path).unwrap();
        target.directory_attributes(path, attributes(0o700)).unwrap();
    }
    if !is_root() {
        // The root itself is the user's: whoever restores into it must be able to write there.
        fs::set_permissions(fixture.root(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    write(&mut target, b"d/e/file", b"y", &attributes(0o444));
    target.finish().unwrap();
    assert_eq!(fs::read(fixture.root().join("d/e/file")).unwrap(), b"y");
}

#[test]
fn trusted_attributes_are_roots_and_told_to_others() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let mut wanted = attributes(0o600);
    wanted.xattrs = vec![(b"trusted.note".to_vec(), b"1".to_vec())];
    write(&mut target, b"file", b"x", &wanted);
    target.symlink(b"link", b"file", &wanted).unwrap();
    assert_has(&target.kind(b"file").unwrap().unwrap(), &wanted, FileKind::File);
    let problems = fixture.monitor.problems();
    if problems.is_empty() {
        let root = Directory::open(&fixture.root()).unwrap();
        assert_eq!(xattr::read_entry(&root, b"file").unwrap(), wanted.xattrs);
        assert_eq!(xattr::read_entry(&root, b"link").unwrap(), wanted.xattrs);
    } else {
        let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["file", "link"]);
        assert!(problems[0].1.contains("trusted.note"), "{}", problems[0].1);
    }
}
