//! Single records, and the values that the description of the format gives.

use super::super::{Content, Dialect, Level, Record, What, survey};
use super::writer::{BLOCK, Item, Packer, delta, header, matched, record};
use crate::error::{Kind, Result};
use crate::monitor::Quiet;
use crate::time::FileTime;
use crate::tree::attributes::FileKind;

fn records(stream: &[u8], block_bytes: Option<u64>) -> Result<(Dialect, Vec<Record>)> {
    let mut records = Vec::new();
    let dialect =
        survey(&mut { stream }, Level { block_bytes, may_lack_end: false }, &Quiet, &mut |_, record| {
            records.push(record);
            Ok(())
        })?;
    Ok((dialect, records))
}

fn only(stream: &[u8]) -> Record {
    let (_, mut records) = records(stream, None).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// The header of 84 bytes that the description has as an example.
#[test]
fn the_golden_header_of_the_first_engine_is_read() {
    let mut stream = header(&[
        b"a.txt",
        b"1",
        b"33188",
        b"0",
        b"0",
        b"6",
        b"1795485877",
        b"1795485877",
        b"root",
        b"root",
        b"r",
        b"",
        b"123",
        b"1",
        b"0",
        b"254",
        b"4096",
        b"0000",
        b"0000",
    ]);
    let golden = "383400612e7478740031003333313838003000300036003137393534383538373700313739353438353837370072\
                  6f6f7400726f6f74007200003132330031003000323534003430393600303030300030303030";
    let hex: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((stream.len(), hex.as_str()), (84, golden.replace(' ', "").as_str()));
    stream.extend(b"hello\n");
    let record = only(&stream);
    assert_eq!((record.path.as_slice(), record.refused, record.payload_bytes()), (&b"a.txt"[..], false, 6));
    let What::Entry(entry) = record.what else { panic!("{record:?}") };
    assert_eq!((entry.kind, entry.size_bytes, entry.content), (FileKind::File, 6, Content::Whole));
    assert_eq!((entry.attributes.mode, entry.attributes.user.as_slice()), (0o644, &b"root"[..]));
    assert_eq!(entry.attributes.mtime, FileTime::new(1_795_485_877, 0));
}

#[test]
fn a_length_that_gains_a_digit_by_its_own_digits_is_read() {
    for name in 60..80 {
        let path = "n".repeat(name);
        let stream = record(&path, "p", 0o010644, 0, 1, b"", ["0000", "0000"]);
        assert_eq!(only(&stream).path, path.as_bytes(), "{}", stream.len());
    }
}

/// The matcher of the test is that of the engine: the results that the description has.
#[test]
fn the_matcher_gives_what_the_description_says() {
    use Item::{Block, Literal};
    let old: Vec<u8> = (0..10_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(matched(&old, &old), [Block(0), Block(1), Block(2), Literal(0)]);
    let prepended = [&b"\x01"[..], &old].concat();
    assert_eq!(matched(&old, &prepended), [Literal(1), Block(0), Block(1), Block(2), Literal(0)]);
    let mut changed = old.clone();
    changed[5000] ^= 1;
    assert_eq!(matched(&old, &changed), [Block(0), Literal(4096), Literal(1808)]);
    assert_eq!(matched(&old, &[&old[..], b"1234"].concat()), [Block(0), Block(1), Literal(1812)]);
    assert_eq!(matched(&old, &old[..8192]), [Block(0), Block(1), Literal(0)]);
    let swapped = [&old[BLOCK..2 * BLOCK], &old[..BLOCK], &old[2 * BLOCK..]].concat();
    assert_eq!(matched(&old, &swapped), [Block(1), Literal(4096), Literal(1808)]);
}

/// What ended the original's reading of a level: no changed bytes, a short last block, a deletion of what is not there.
#[test]
fn the_traps_of_the_first_engine_lead_to_the_next_record() {
    let content = vec![7; 10_000];
    let mut stream = record("touched", "r", 0o100644, 8192, 1, b"", ["1111", "0000"]);
    stream.extend(delta(&[2], &content[..8192]));
    stream.extend(record("short", "r", 0o100644, 10_000, 1, b"", ["1111", "0000"]));
    stream.extend(delta(&[0, 2, 9], &content));
    stream.extend(record("gone", "r", 0o100644, 500, 1, b"", ["1111", "1111"]));
    stream.extend(record("link", "l", 0o120777, 4, 1, b"gone", ["1111", "0000"]));
    let (dialect, records) = records(&stream, None).unwrap();
    assert_eq!(dialect, Dialect::First);
    let shown: Vec<(&[u8], u64)> =
        records.iter().map(|record| (record.path.as_slice(), record.payload_bytes())).collect();
    assert_eq!(shown, [(&b"touched"[..], 0), (b"short", 4096 + 1808), (b"gone", 0), (b"link", 0)]);
    assert_eq!(records[2].what, What::Deleted);
}

#[test]
fn broken_records_of_the_first_engine_are_damage() {
    let good = record("a", "r", 0o100644, 6, 1, b"", ["0000", "0000"]);
    for (stream, kind) in [
        (good.clone(), Kind::Damaged),
        (b"19\0too short".to_vec(), Kind::Damaged),
        (b"0\0".to_vec(), Kind::Damaged),
        (b"99999999999999999999999\0".to_vec(), Kind::Damaged),
        (b"99999999\0".to_vec(), Kind::Limit),
        (b"12".to_vec(), Kind::Damaged),
        (record("a", "x", 0, 0, 1, b"", ["0000", "0000"]), Kind::Damaged),
        (record("a", "r", 0, 0, 1, b"", ["0001", "0000"]), Kind::Damaged),
        (record("a", "r", 0, 9000, 1, b"", ["1111", "0000"]), Kind::Damaged),
        (
            [record("a", "r", 0, 9000, 1, b"", ["1111", "0000"]), delta(&[1, 0], &[1; 9000])].concat(),
            Kind::Damaged,
        ),
        (header(&[b"a", b"2"]), Kind::Damaged),
        (b"neither".to_vec(), Kind::Damaged),
    ] {
        let error = records(&stream, None).unwrap_err();
        assert_eq!(error.kind(), kind, "{error} of {}", String::from_utf8_lossy(&stream));
    }
    assert_eq!(records(b"", None).unwrap(), (Dialect::First, vec![]));
}

#[test]
fn headers_of_the_second_engine_are_read_with_every_form_of_text() {
    let path = "p".repeat(200);
    for form in ["raw", "str8", "bin8"] {
        let mut stream = Packer::default();
        stream.list(1).map(4).text(b"path");
        match form {
            "raw" => drop(stream.text(path.as_bytes())),
            "str8" => stream.0.extend([&[0xd9, 200], path.as_bytes()].concat()),
            _ => stream.0.extend([&[0xc4, 200], path.as_bytes()].concat()),
        }
        stream.inode(0o104_755, 10_000, -1.5).text(b"new_level").truth();
        stream.text(b"deltas").list(2).number(4096 + 1808).list(2).number(1).number(2);
        stream.0.extend(vec![1; 4096 + 1808]);
        let (dialect, found) = records(&stream.0, Some(4096)).unwrap();
        assert_eq!((dialect, found[0].path.as_slice()), (Dialect::Second, path.as_bytes()), "{form}");
        let What::Entry(entry) = &found[0].what else { panic!("{found:?}") };
        assert_eq!((entry.attributes.mode, entry.attributes.mtime), (0o4755, FileTime::new(-2, 500_000_000)));
        let Content::Blocks(blocks) = &entry.content else { panic!("{entry:?}") };
        assert_eq!(blocks.extents(10_000).collect::<Vec<_>>(), [(4096, 5904)]);
        // Without a block size what the stream says has to do.
        assert_eq!(records(&stream.0, None).unwrap().1[0].payload_bytes(), 4096 + 1808);
        // With a wrong one it contradicts itself.
        assert_eq!(records(&stream.0, Some(512)).unwrap_err().kind(), Kind::Damaged);
    }
}

#[test]
fn broken_headers_of_the_second_engine_are_damage() {
    let mut good = Packer::default();
    good.list(1).map(2).text(b"path").text(b"a").inode(0o100644, 3, 1.0);
    let whole = [&good.0[..], b"abc"].concat();
    assert!(records(&whole, None).is_ok());
    for cut in 1..whole.len() {
        assert_eq!(records(&whole[..cut], None).unwrap_err().kind(), Kind::Damaged, "{cut}");
    }
    assert_eq!(records(&[&whole[..], b"d"].concat(), None).unwrap_err().kind(), Kind::Damaged);
    let with = |fill: &dyn Fn(&mut Packer)| {
        let mut stream = Packer::default();
        stream.list(1);
        fill(&mut stream);
        records(&stream.0, Some(4096)).unwrap_err().kind()
    };
    assert_eq!(
        with(&|p| {
            p.map(1).inode(0o100644, 0, 1.0);
        }),
        Kind::Damaged
    );
    assert_eq!(
        with(&|p| {
            p.map(1).text(b"path").text(b"a");
        }),
        Kind::Damaged
    );
    assert_eq!(
        with(&|p| {
            p.map(2).text(b"path").text(b"a").inode(0o644, 0, 1.0);
        }),
        Kind::Damaged
    );
    assert_eq!(
        with(&|p| {
            p.map(2).text(b"path").text(b"a").inode(0o100644, 0, f64::NAN);
        }),
        Kind::Damaged
    );
    assert_eq!(
        with(&|p| {
            p.map(1).text(&[b'k'; 300]).number(1);
        }),
        Kind::Limit
    );
}
