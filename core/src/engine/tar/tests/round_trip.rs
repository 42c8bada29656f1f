//! What is written is read back, whatever it is.

use super::*;
use crate::error::Kind;
use crate::tree::attributes::Xattrs;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::collection::vec(1u8.., 1..40);
    let edge = (95usize..105, 1u8..).prop_map(|(length, byte)| vec![byte; length]);
    let long = (1usize..3000).prop_map(|length| b"long/".repeat(length / 5 + 1));
    prop_oneof![odd, edge, long].prop_map(|mut name| {
        while name.ends_with(b"/") {
            name.pop();
        }
        if name.is_empty() { b"./a".to_vec() } else { name }
    })
}

fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![0i64..1 << 34, -5i64..5, any::<i64>()]
}

fn time() -> impl Strategy<Value = FileTime> {
    let nanoseconds = prop_oneof![Just(0), 0u32..1_000_000_000];
    (seconds(), nanoseconds).prop_map(|(seconds, nanoseconds)| FileTime::new(seconds, nanoseconds))
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..70_000, 0o7777770u32..0o10000010, any::<u32>()]
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let name =
        prop::collection::vec(prop_oneof![Just(b'='), Just(b'%'), Just(b'3'), Just(b'D'), 1u8..], 1..20);
    let value = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::btree_map(name, value, 0..4).prop_map(|map: BTreeMap<_, _>| map.into_iter().collect())
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let whole = || proptest::option::of(seconds().prop_map(|seconds| FileTime::new(seconds, 0)));
    let owner = || prop::collection::vec(1u8.., 0..60);
    let owners = (number(), number(), owner(), owner());
    (0u32..0o10000, owners, time(), whole(), whole(), xattrs()).prop_map(
        |(mode, (uid, gid, user, group), mtime, atime, ctime, xattrs)| Attributes {
            mode,
            uid,
            gid,
            user,
            group,
            mtime,
            atime,
            ctime,
            xattrs,
        },
    )
}

/// Regions by gaps and lengths, and what the file has behind the last.
fn sparse() -> impl Strategy<Value = MemberKind> {
    let gap = prop_oneof![Just(0u64), 1u64..5000, 1u64 << 33..1 << 35];
    (prop::collection::vec((gap.clone(), 1u64..1500), 0..40), gap).prop_map(|(gaps, tail)| {
        let mut end = 0;
        let mut regions = Vec::new();
        for (gap, length) in gaps {
            regions.push((end + gap, length));
            end += gap + length;
        }
        MemberKind::File { size_bytes: end + tail, sparse: Some(regions) }
    })
}

fn kind() -> impl Strategy<Value = MemberKind> {
    let record = (prop_oneof![Just(b'Y'), Just(b'N'), Just(b'D')], prop::collection::vec(1u8.., 1..20));
    let listing = prop::collection::vec(record, 0..20).prop_map(|records| {
        records.into_iter().flat_map(|(code, name)| [&[code][..], &name, &[0]].concat()).collect::<Vec<u8>>()
    });
    prop_oneof![
        (0u64..3000).prop_map(|size_bytes| MemberKind::File { size_bytes, sparse: None }),
        sparse(),
        proptest::option::of(listing).prop_map(|listing| MemberKind::Directory { listing }),
        name().prop_map(MemberKind::Symlink),
        name().prop_map(MemberKind::HardLink),
        Just(MemberKind::Fifo),
        (number(), number()).prop_map(|(major, minor)| MemberKind::CharDevice(major, minor)),
        (number(), number()).prop_map(|(major, minor)| MemberKind::BlockDevice(major, minor)),
    ]
}

fn any_member() -> impl Strategy<Value = Stored> {
    (name(), kind(), any_attributes()).prop_map(|(path, kind, attributes)| {
        let member = Member { path, kind, attributes };
        let bytes = content(member.path.len() as u64, ArchiveWriter::<Vec<u8>>::stored_bytes(&member));
        (member, bytes)
    })
}

proptest! {
    #[test]
    fn members_come_back(members in prop::collection::vec(any_member(), 0..6)) {
        let bytes = archive(&members);
        prop_assert_eq!(bytes.len() % 10_240, 0);
        prop_assert_eq!(read_all(&bytes).unwrap(), members);
    }
}

#[test]
fn what_is_not_read_is_passed_over() {
    let members = [file(b"a", 100_000), file(b"b", 0), file(b"c", 511)];
    let archive = archive(&members);
    let mut reader = ArchiveReader::new(&archive[..]);
    let mut names = Vec::new();
    while let Some(member) = reader.next().unwrap() {
        names.push(member.path);
    }
    assert_eq!(names, [b"a", b"b", b"c"]);
    assert_eq!(reader.position(), archive.len() as u64);
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn archives_may_be_joined() {
    let joined = [archive(&[file(b"a", 10)]), archive(&[]), archive(&[file(b"b", 10)])].concat();
    assert_eq!(read_all(&joined).unwrap(), [file(b"a", 10), file(b"b", 10)]);
}

#[test]
fn a_file_has_the_bytes_its_header_promised() {
    let (member, bytes) = file(b"a", 100);
    let mut writer = ArchiveWriter::new(Vec::new());
    writer.begin(&member).unwrap();
    writer.write(&bytes[..99]).unwrap();
    assert_eq!(writer.end().unwrap_err().kind(), Kind::Invalid);
    assert_eq!(writer.begin(&member).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(writer.write(&bytes[..2]).unwrap_err().kind(), Kind::Invalid);
    writer.out().push(bytes[99]);
    writer.filled(1).unwrap();
    assert_eq!(read_all(&writer.finish().unwrap()).unwrap(), [(member, bytes)]);
}

#[test]
fn what_cannot_be_stored_is_refused_before_a_byte_is_written() {
    let region =
        |regions: &[(u64, u64)]| MemberKind::File { size_bytes: 100, sparse: Some(regions.to_vec()) };
    let unusable = [
        member(b"", MemberKind::Fifo),
        member(b"a\0b", MemberKind::Fifo),
        member(b"a/", MemberKind::Fifo),
        member(b"/", MemberKind::Fifo),
        member(b"a", MemberKind::Symlink(b"".to_vec())),
        member(b"a", MemberKind::Directory { listing: Some(b"Ya".to_vec()) }),
        member(b"a", MemberKind::Directory { listing: Some(b"Ya\0\0".to_vec()) }),
        member(b"a", region(&[(0, 0)])),
        member(b"a", region(&[(50, 10), (40, 10)])),
        member(b"a", region(&[(50, 51)])),
        member(b"a", region(&[(u64::MAX, 2)])),
    ];
    for (member, _) in unusable {
        let mut writer = ArchiveWriter::new(Vec::new());
        assert_eq!(writer.begin(&member).unwrap_err().kind(), Kind::Invalid, "{member:?}");
        assert!(writer.out().is_empty());
    }
}

#[test]
fn access_lists_are_text_where_they_can_be() {
    let list = |prefix: &'static [u8], with: &'static [u8]| {
        move |list: &[u8]| list.strip_prefix(prefix).map(|rest| [with, rest].concat())
    };
    let (mut member, _) = member(b"a", MemberKind::Fifo);
    member.attributes.xattrs = vec![
        (b"system.posix_acl_access".to_vec(), b"binary 1".to_vec()),
        (b"system.posix_acl_default".to_vec(), b"broken".to_vec()),
    ];
    let mut writer = ArchiveWriter::new(Vec::new()).acl_to_text(list(b"binary", b"text"));
    writer.begin(&member).unwrap();
    let archive = writer.finish().unwrap();
    let mut reader = ArchiveReader::new(&archive[..]).acl_from_text(list(b"text", b"binary"));
    assert_eq!(reader.next().unwrap(), Some(member));
    let without = ArchiveReader::new(&archive[..]).next().unwrap().unwrap().attributes.xattrs;
    assert_eq!(without[0], (b"SCHILY.acl.access".to_vec(), b"text 1".to_vec()));
}
