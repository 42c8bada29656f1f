//! Python's tarfile, an implementation of its own, reads what is written here.

use super::*;
use std::fs;

/// Prints a line for each member: name, type, numbers, target, and a sum of the content.
const SCRIPT: &str = r#"
import sys, tarfile, zlib
for m in tarfile.open(sys.argv[1], errors="surrogateescape", encoding="utf-8"):
    body = tarfile.open(sys.argv[1]).extractfile(m).read() if m.isreg() else b""
    name = m.name.encode("utf-8", "surrogateescape").hex()
    link = m.linkname.encode("utf-8", "surrogateescape").hex()
    print(name, m.type.decode(), m.uid, m.mode, m.size, float(m.mtime), link, zlib.crc32(body), m.uname or "-")
"#;

fn line((member, bytes): &Stored) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (letter, target): (_, &[u8]) = match &member.kind {
        MemberKind::File { .. } => ("0", b""),
        MemberKind::Directory { .. } => ("5", b""),
        MemberKind::Symlink(target) => ("2", target),
        MemberKind::HardLink(target) => ("1", target),
        _ => ("6", b""),
    };
    let Attributes { uid, mode, mtime, user, .. } = &member.attributes;
    let whole = expanded(&(member.clone(), bytes.clone()));
    let mut crc = flate2::Crc::new();
    crc.update(&whole);
    let seconds = mtime.seconds as f64 + f64::from(mtime.nanoseconds) / 1e9;
    let user = if user.is_empty() { "-".into() } else { String::from_utf8_lossy(user) };
    let name = hex(&member.path);
    format!("{name} {letter} {uid} {mode} {} {seconds:?} {} {} {user}", whole.len(), hex(target), crc.sum())
}

#[test]
fn members_of_every_kind() {
    if !can_run("python3") {
        return;
    }
    let (mut rich, bytes) = file(&name_of(150), 700);
    rich.attributes.mtime = FileTime::new(-2, 500_000_000);
    rich.attributes.uid = 3_000_000_000;
    rich.attributes.user = vec![b'u'; 50];
    let sparse = |size_bytes, regions| MemberKind::File { size_bytes, sparse: Some(regions) };
    let members = [
        member(b"folder", MemberKind::Directory { listing: None }),
        (rich, bytes),
        file(b"\xff\xe4", 10),
        file(&name_of(100), 10),
        (member(b"holes", sparse(9000, vec![(0, 600), (4096, 10)])).0, content(1, 610)),
        member(b"hole", sparse(9000, vec![])),
        member(b"link", MemberKind::Symlink(vec![b't'; 200])),
        member(b"hard", MemberKind::HardLink(name_of(150))),
        member(b"pipe", MemberKind::Fifo),
    ];
    let folder = folder();
    fs::write(folder.path().join("archive.tar"), archive(&members)).unwrap();
    let printed = String::from_utf8(run("python3", folder.path(), &["-c", SCRIPT, "archive.tar"])).unwrap();
    let expected: Vec<String> = members.iter().map(line).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}
