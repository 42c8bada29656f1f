//! Whatever happens to an archive, the answer is an error or what was stored: never a panic, never a short archive.

use super::super::header::BLOCK;
use super::*;
use crate::error::Kind;
use proptest::prelude::*;

/// One member of every kind and every sort of extension.
fn samples() -> Vec<Stored> {
    let sparse = MemberKind::File { size_bytes: 9000, sparse: Some(vec![(0, 600), (4096, 10)]) };
    let (mut rich, bytes) = file(&[b'n'; 150], 700);
    rich.attributes.mtime.nanoseconds = 5;
    rich.attributes.xattrs = vec![(b"user.a=b".to_vec(), vec![0, 1, 2])];
    vec![
        member(b"./d", MemberKind::Directory { listing: Some(b"Yfile\0Nother\0Dsub\0".to_vec()) }),
        (rich, bytes),
        (member(b"sparse", sparse).0, content(1, 610)),
        member(b"link", MemberKind::Symlink(vec![b't'; 200])),
        member(b"hard", MemberKind::HardLink(b"n".to_vec())),
        member(b"device", MemberKind::CharDevice(1, 3)),
        file(b"last", 1),
    ]
}

/// Where the end marker begins.
fn end_of_members(archive: &[u8]) -> usize {
    let last = archive.iter().rposition(|&b| b != 0).unwrap();
    last / BLOCK * BLOCK + BLOCK
}

#[test]
fn every_truncation_is_damage() {
    let archive = archive(&samples());
    let end = end_of_members(&archive);
    assert_eq!(read_all(&archive[..end + BLOCK]).unwrap(), samples(), "one empty block is enough");
    for length in 0..end + BLOCK {
        assert_eq!(read_all(&archive[..length]).unwrap_err().kind(), Kind::Damaged, "cut at {length}");
    }
    for length in end + BLOCK + 1..end + 2 * BLOCK {
        assert_eq!(read_all(&archive[..length]).unwrap_err().kind(), Kind::Damaged, "cut at {length}");
    }
}

#[test]
fn garbage_behind_the_end_is_damage() {
    let mut archive = archive(&samples());
    archive.extend_from_slice(&[b'x'; BLOCK]);
    assert_eq!(read_all(&archive).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_lost_block_is_damage() {
    let archive = archive(&samples());
    let end = end_of_members(&archive);
    for at in (0..end).step_by(BLOCK) {
        let lost = [&archive[..at], &archive[at + BLOCK..]].concat();
        match read_all(&lost) {
            Err(e) => assert!(matches!(e.kind(), Kind::Damaged | Kind::Unsupported | Kind::Limit), "{e:?}"),
            // A lost extension leaves a valid archive that says something else: what checksums of the whole are for.
            Ok(members) => assert_ne!(members, samples(), "block at {at}"),
        }
    }
}

#[test]
fn a_kind_that_is_not_known_is_named() {
    let mut archive = archive(&[file(b"some-name", 0)]);
    set_typeflag(&mut archive, b'Q');
    let error = read_all(&archive).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("some-name") && error.to_string().contains('Q'), "{error}");
    set_typeflag(&mut archive, b'M');
    assert_eq!(read_all(&archive).unwrap_err().kind(), Kind::Unsupported);
    for ignored in [b'V', b'N'] {
        set_typeflag(&mut archive, ignored);
        assert_eq!(read_all(&archive).unwrap(), []);
    }
}

#[test]
fn a_directory_whose_listing_is_missing_has_none() {
    let mut archive = archive(&[file(b"d", 0)]);
    set_typeflag(&mut archive, b'D');
    assert_eq!(read_all(&archive).unwrap()[0].0.kind, MemberKind::Directory { listing: None });
}

#[test]
fn a_listing_without_its_end_is_damage() {
    let mut archive = archive(&[(file(b"d", 4).0, b"Ya\0D".to_vec())]);
    set_typeflag(&mut archive, b'D');
    assert_eq!(read_all(&archive).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn hard_links_with_a_size_have_content_or_not() {
    let target = |archive: &mut Vec<u8>| {
        archive[157] = b't';
        set_typeflag(archive, b'1');
    };
    let mut with = archive(&[file(b"h", 700), file(b"next", 10)]);
    target(&mut with);
    let mut without = with.clone();
    without.drain(BLOCK..3 * BLOCK);
    for archive in [with, without] {
        let members = read_all(&archive).unwrap();
        assert_eq!(members[0].0.kind, MemberKind::HardLink(b"t".to_vec()));
        assert_eq!(members[1], file(b"next", 10));
    }
}

#[test]
fn an_announced_terabyte_takes_no_memory() {
    for typeflag in [b'L', b'K', b'x', b'g', b'D'] {
        let (mut member, _) = file(b"a", 0);
        member.kind = MemberKind::File { size_bytes: 1 << 40, sparse: None };
        let mut writer = ArchiveWriter::new(Vec::new());
        writer.begin(&member).unwrap();
        let mut archive = std::mem::take(writer.out());
        set_typeflag(&mut archive, typeflag);
        archive.extend_from_slice(&[b'1'; 2000]);
        let kind = read_all(&archive).unwrap_err().kind();
        assert!(matches!(kind, Kind::Limit | Kind::Damaged), "{kind:?} for {}", char::from(typeflag));
    }
}

/// Changes the type of the first header and makes its checksum right.
fn set_typeflag(archive: &mut [u8], typeflag: u8) {
    archive[156] = typeflag;
    fix_checksum(&mut archive[..BLOCK]);
}

fn fix_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), fix: bool) {
        let mut archive = archive(&samples());
        let end = end_of_members(&archive);
        for (at, byte) in changes {
            let at = at.index(end);
            archive[at] = byte;
            // A right checksum lets the change through to what lies behind it.
            if fix {
                let block = at / BLOCK * BLOCK;
                fix_checksum(&mut archive[block..block + BLOCK]);
            }
        }
        if let Err(e) = read_all(&archive) {
            prop_assert!(matches!(e.kind(), Kind::Damaged | Kind::Unsupported | Kind::Limit), "{e:?}");
        }
    }

    #[test]
    fn random_blocks_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        for block in bytes.chunks_exact_mut(BLOCK) {
            fix_checksum(block);
        }
        if let Err(e) = read_all(&bytes) {
            prop_assert!(matches!(e.kind(), Kind::Damaged | Kind::Unsupported | Kind::Limit), "{e:?}");
        }
    }
}
