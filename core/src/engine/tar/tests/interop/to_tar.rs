//! GNU tar restores what is written here.

use super::*;
use crate::engine::tar::dumpdir::{Builder, Code};
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

fn extract(members: &[Stored], options: &[&str]) -> TempDir {
    let folder = folder();
    extract_into(folder.path(), members, options);
    folder
}

fn extract_into(folder: &Path, members: &[Stored], options: &[&str]) {
    let outside = super::folder();
    let source = outside.path().join("archive.tar");
    fs::write(&source, archive(members)).unwrap();
    tar(folder, &[&["-x", "-p", "--warning=no-timestamp", "-f", source.to_str().unwrap()], options].concat());
}

fn at(folder: &TempDir, path: &[u8]) -> PathBuf {
    folder.path().join(OsStr::from_bytes(path))
}

fn check_metadata(path: &Path, member: &Member) {
    let found = fs::symlink_metadata(path).unwrap();
    let attributes = &member.attributes;
    assert_eq!(found.mode() & 0o7777, attributes.mode, "{path:?}");
    assert_eq!(
        (found.mtime(), found.mtime_nsec() as u32),
        (attributes.mtime.seconds, attributes.mtime.nanoseconds)
    );
    if rustix::process::geteuid().is_root() {
        assert_eq!((found.uid(), found.gid()), (attributes.uid, attributes.gid), "{path:?}");
    }
}

#[test]
fn files_of_every_name_and_length() {
    if !can_run("tar") {
        return;
    }
    let mut members: Vec<Stored> =
        [1, 99, 100, 101, 155, 256, 300].map(|length| file(&name_of(length + 7), 100)).into();
    members.extend([511, 512, 513, 20_000].map(|size| file(format!("size-{size}").as_bytes(), size)));
    members.extend(
        [&b"new\nline"[..], b"latin-\xe4", b"utf8-\xc3\xa4", b"back\\slash"].map(|name| file(name, 3)),
    );
    for (at, (member, _)) in members.iter_mut().enumerate() {
        member.attributes.mtime =
            FileTime::new(at as i64 * 1_000_003 - 5, at as u32 * 99_999_999 % 1_000_000_000);
    }
    let folder = extract(&members, &[]);
    for (member, bytes) in &members {
        let path = at(&folder, &member.path);
        assert_eq!(&fs::read(&path).unwrap(), bytes);
        check_metadata(&path, member);
    }
}

#[test]
fn links_and_pipes_and_directories() {
    if !can_run("tar") {
        return;
    }
    let long = name_of(150);
    let members = [
        member(&name_of(99), MemberKind::Directory { listing: None }),
        member(&name_of(100), MemberKind::Directory { listing: None }),
        file(&long, 10),
        member(b"short-link", MemberKind::Symlink(b"\xff\n".to_vec())),
        member(b"long-link", MemberKind::Symlink(vec![b't'; 300])),
        member(b"hard", MemberKind::HardLink(long.clone())),
        member(b"pipe", MemberKind::Fifo),
    ];
    let folder = extract(&members, &[]);
    for length in [99, 100] {
        assert!(at(&folder, &name_of(length)).is_dir());
    }
    for (member, _) in &members[3..5] {
        let target = fs::read_link(at(&folder, &member.path)).unwrap();
        assert_eq!(MemberKind::Symlink(target.as_os_str().as_bytes().to_vec()), member.kind);
    }
    let inode = |path: &[u8]| fs::metadata(at(&folder, path)).unwrap().ino();
    assert_eq!(inode(b"hard"), inode(&long));
    assert_eq!(fs::symlink_metadata(at(&folder, b"pipe")).unwrap().mode() & 0o170000, 0o010000);
}

#[test]
fn sparse_files_of_every_shape() {
    if !can_run("tar") {
        return;
    }
    let many: Vec<Region> = (0..500).map(|n| (n * 8192, 512)).collect();
    let shapes: [(u64, Vec<Region>); 8] = [
        (0, vec![]),
        (100_000, vec![]),
        (100_000, vec![(0, 10)]),
        (100_000, vec![(99_990, 10)]),
        (100_000, vec![(0, 100_000)]),
        (100_001, vec![(4096, 4096), (65_536, 1)]),
        (4_096_000, many.clone()),
        (500 * 8192, many),
    ];
    let mut members = Vec::new();
    for (number, (size_bytes, regions)) in shapes.into_iter().enumerate() {
        // One name that fits a header, one that does not, one that is not text.
        let path = [name_of(20), name_of(200), b"latin-\xe4\n".to_vec()][number % 3].clone();
        let path = [path, number.to_string().into_bytes()].concat();
        let stored = regions.iter().map(|(_, length)| length).sum();
        let (mut member, _) = member(&path, MemberKind::File { size_bytes, sparse: Some(regions) });
        member.attributes.mtime.nanoseconds = 123_456_789;
        members.push((member, content(7, stored)));
    }
    let folder = extract(&members, &[]);
    for stored in &members {
        let path = at(&folder, &stored.0.path);
        assert_eq!(fs::read(&path).unwrap(), expanded(stored), "{path:?}");
        check_metadata(&path, &stored.0);
    }
}

#[test]
fn attributes_and_access_lists() {
    let probe = folder();
    if !can_run("tar") || !set_xattr(probe.path(), "user.probe", b"x") {
        return not_run("tar, or file system with attributes,");
    }
    let (mut member, bytes) = file(b"a", 5);
    member.attributes.uid = rustix::process::geteuid().as_raw();
    member.attributes.gid = rustix::process::getegid().as_raw();
    let odd = (b"user.a=b%3D%".to_vec(), vec![0, 10, 255, b'=']);
    member.attributes.xattrs = vec![odd.clone(), (b"user.empty".to_vec(), vec![])];
    let acl = b"user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n";
    let mut with_acl = member.clone();
    with_acl.attributes.xattrs.push((b"system.posix_acl_access".to_vec(), b"binary".to_vec()));
    let mut writer = ArchiveWriter::new(Vec::new()).acl_to_text(move |_| Some(acl.to_vec()));
    writer.begin(&with_acl).unwrap();
    writer.write(&bytes).unwrap();
    let archive = writer.finish().unwrap();

    let folder = folder();
    fs::write(folder.path().join("archive.tar"), archive).unwrap();
    tar(folder.path(), &["-x", "--xattrs", "--xattrs-include=*", "--acls", "-f", "archive.tar"]);
    let path = folder.path().join("a");
    assert_eq!(xattr(&path, "user.a=b%3D%"), odd.1);
    assert_eq!(xattr(&path, "user.empty"), b"");
    let binary = xattr(&path, "system.posix_acl_access");
    assert_eq!(binary.len(), 4 + 5 * 8, "five entries of eight bytes");
    assert!(binary.windows(4).any(|id| id == 1234u32.to_le_bytes()));
}

#[test]
fn numbers_that_are_not_octal() {
    if !can_run("tar") {
        return;
    }
    let (mut member, _) = file(b"big", 0);
    member.kind = MemberKind::File { size_bytes: 9 << 30, sparse: None };
    member.attributes.uid = u32::MAX - 1;
    member.attributes.gid = 0o10000000;
    member.attributes.mtime = FileTime::new(-86_400 * 365, 0);
    member.attributes.user = vec![b'u'; 40];
    let folder = folder();
    let mut writer = ArchiveWriter::new(fs::File::create(folder.path().join("archive.tar")).unwrap());
    writer.begin(&member).unwrap();
    writer.out().seek(SeekFrom::Current(9 << 30)).unwrap();
    writer.filled(9 << 30).unwrap();
    writer.begin(&file(b"after", 0).0).unwrap();
    writer.finish().unwrap();
    let numeric = String::from_utf8(tar(folder.path(), &["-tvf", "archive.tar", "--numeric-owner"])).unwrap();
    let lines: Vec<&str> = numeric.lines().collect();
    assert!(lines[0].contains("4294967294/2097152 9663676416 1969-01-01 00:00 big"), "{numeric}");
    assert!(lines[1].ends_with("after"), "{numeric}");
    let names = String::from_utf8(tar(folder.path(), &["-tvf", "archive.tar"])).unwrap();
    assert!(names.contains(&"u".repeat(40)), "{names}");
}

#[test]
fn devices() {
    if !can_run("tar") {
        return;
    }
    let members = [
        member(b"c", MemberKind::CharDevice(1, 3)),
        member(b"b", MemberKind::BlockDevice(3_000_000, 1_048_575)),
    ];
    let folder = folder();
    fs::write(folder.path().join("archive.tar"), archive(&members)).unwrap();
    let list = String::from_utf8(tar(folder.path(), &["-tvf", "archive.tar"])).unwrap();
    assert!(list.contains("crw-r----- 7/8") && list.contains(" 1,3 2023"), "{list}");
    assert!(list.contains("brw-r----- 7/8") && list.contains(" 3000000,1048575 2023"), "{list}");
}

fn listing(records: &[(Code, &[u8])]) -> MemberKind {
    let mut builder = Builder::new();
    for (code, name) in records {
        builder.push(*code, name).unwrap();
    }
    MemberKind::Directory { listing: Some(builder.finish().unwrap()) }
}

#[test]
fn incremental_archives_delete_and_rename() {
    if !can_run("tar") {
        return;
    }
    let with_times = |(mut member, bytes): Stored| {
        member.attributes.atime = Some(FileTime::new(5, 0));
        member.attributes.ctime = Some(FileTime::new(-6, 0));
        (member, bytes)
    };
    let sparse = MemberKind::File { size_bytes: 10_000, sparse: Some(vec![(5000, 10)]) };
    let folder = folder();
    for name in ["kept", "gone", "line\nbreak"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    fs::create_dir(folder.path().join("old")).unwrap();
    fs::write(folder.path().join("old/inside"), "inside").unwrap();
    let members = [
        member(
            b".",
            listing(&[
                (Code::RenameFrom, b"./old"),
                (Code::RenameTo, b"./new"),
                (Code::Stored, b"added"),
                (Code::Stored, b"holes"),
                (Code::Kept, b"kept"),
                (Code::Kept, b"line\nbreak"),
                (Code::Directory, b"new"),
            ]),
        ),
        member(b"./new", listing(&[(Code::Kept, b"inside")])),
        file(b"./added", 10),
        (member(b"./holes", sparse).0, content(1, 10)),
    ]
    .map(with_times);
    extract_into(folder.path(), &members, &["--incremental"]);
    let mut found: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["added", "holes", "kept", "line\nbreak", "new"]);
    assert_eq!(fs::read(folder.path().join("new/inside")).unwrap(), b"inside");
    assert_eq!(fs::read(folder.path().join("holes")).unwrap(), expanded(&members[3]));
    let list = tar_list(&members);
    assert!(list.contains("R ./old\n") && list.contains("T ./new\n") && list.contains("N kept\n"), "{list}");
}

fn tar_list(members: &[Stored]) -> String {
    let folder = folder();
    fs::write(folder.path().join("archive.tar"), archive(members)).unwrap();
    String::from_utf8(tar(folder.path(), &["-tvv", "--incremental", "-f", "archive.tar"])).unwrap()
}
