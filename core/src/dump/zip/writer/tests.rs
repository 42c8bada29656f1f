//! The headers of what is too large to be made here, and archives as Python reads them.

use super::*;
use std::io::Read;
use std::process::Command;

const PLAIN: Member<'static> = Member {
    name: b"a",
    mode: 0o100_644,
    mtime: FileTime { seconds: 1_000_000_001, nanoseconds: 7 },
    uid: 1,
    gid: 2,
};

fn archive(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Scratch::new(std::env::temp_dir()));
    fill(&mut writer);
    writer.finish().unwrap();
    bytes
}

fn file(writer: &mut Writer<'_>, name: &str, content: &[u8]) {
    writer.begin(&Member { name: name.as_bytes(), ..PLAIN }, content.len() as u64).unwrap();
    writer.write(content).unwrap();
    writer.end().unwrap();
}

/// What a Python program says of an archive, `z`.
fn python(archive: &[u8], program: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let program = format!(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n{program}"
    );
    let output = Command::new("python3").arg("-c").arg(program).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn files_links_and_directories_are_read_by_another_program() {
    let noise: Vec<u8> = (0..700_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let bytes = archive(|writer| {
        writer.put(&Member { name: b"d/", mode: 0o041_755, ..PLAIN }, b"").unwrap();
        file(writer, "d/noise", &noise);
        file(writer, "d/text", &b"line of text\n".repeat(100_000));
        writer.put(&Member { name: "d/\u{fc}".as_bytes(), mode: 0o120_777, ..PLAIN }, b"noise").unwrap();
        writer.put(&Member { name: b"empty", ..PLAIN }, b"").unwrap();
    });
    let told = python(
        &bytes,
        "for i in z.infolist(): print(ascii(i.filename), i.create_system, oct(i.external_attr >> 16), i.file_size, i.date_time)",
    );
    let time = "(2001, 9, 9, 1, 46, 40)";
    let expected = format!(
        "'d/' 3 0o41755 0 {time}\n'd/noise' 3 0o100644 700000 {time}\n'd/text' 3 0o100644 1300000 {time}\n\
         'd/\\xfc' 3 0o120777 5 {time}\n'empty' 3 0o100644 0 {time}\n"
    );
    assert_eq!(told, expected);
    assert!(bytes.len() < 730_000);
}

#[test]
fn more_members_than_16_bits_can_count_are_counted_in_64() {
    let count = 65_535 + 3;
    let bytes = archive(|writer| {
        for number in 0..count {
            let name = format!("{number}");
            writer.put(&Member { name: name.as_bytes(), ..PLAIN }, b"").unwrap();
        }
    });
    assert_eq!(python(&bytes, "print(len(z.infolist()))"), format!("{count}\n"));
    let end = &bytes[bytes.len() - 22 - 20 - 56..];
    assert_eq!((number(end, 0, 4), number(end, 24, 8)), (u64::from(END_64), count));
    assert_eq!((number(end, 56, 4), number(end, 76, 4)), (u64::from(END_64_LOCATOR), u64::from(END)));
    let few = archive(|writer| file(writer, "a", b"a"));
    assert!(!few.windows(4).any(|four| four == END_64.to_le_bytes()));
}

/// The promise in front of the data decides how wide the sizes behind it are.
#[test]
fn sizes_have_64_bits_from_where_they_may_not_fit_into_32() {
    for (size_bytes, wide) in [(1, false), (4_290_000_000, false), (4_294_000_000, true), (1 << 40, true)] {
        let bytes = archive(|writer| {
            writer.begin(&PLAIN, size_bytes).unwrap();
            writer.write(b"content").unwrap();
            writer.end().unwrap();
        });
        let (version, size, extra) = (number(&bytes, 4, 2), number(&bytes, 22, 4), number(&bytes, 31, 2));
        let expected = if wide { (45, 0xffff_ffff, 1) } else { (20, 0, u64::from(EXTRA_TIMES)) };
        assert_eq!((version, size, extra), expected, "{size_bytes}");
        let at = bytes.windows(4).position(|four| four == DESCRIPTOR.to_le_bytes()).unwrap();
        let behind = if wide { at + 24 } else { at + 16 };
        assert_eq!(number(&bytes, behind, 4), u64::from(CENTRAL_HEADER), "{size_bytes}");
        assert_eq!(python(&bytes, "print(z.read('a'))"), "b'content'\n");
    }
}

#[test]
fn what_32_bits_cannot_say_in_the_directory_is_said_in_64() {
    let mut record = Record::new(&PLAIN, 5 << 32).unwrap();
    (record.size_bytes, record.compressed_bytes) = (6 << 32, 9);
    let header = record.central_header();
    assert_eq!((number(&header, 6, 2), number(&header, 20, 4)), (45, 9));
    assert_eq!((number(&header, 24, 4), number(&header, 42, 4)), (0xffff_ffff, 0xffff_ffff));
    let extra = &header[46 + 1..];
    assert_eq!((number(extra, 0, 2), number(extra, 2, 2)), (1, 16));
    assert_eq!((number(extra, 4, 8), number(extra, 12, 8)), (6 << 32, 5 << 32));
    let end = end(1, 100, 5 << 32);
    assert_eq!((end.len(), number(&end, 48, 8)), (56 + 20 + 22, 5 << 32));
    assert_eq!(number(&end, 56 + 8, 8), (5 << 32) + 100);
    assert_eq!(number(&end, end.len() - 6, 4), 0xffff_ffff);
}

#[test]
fn times_that_the_old_format_cannot_have_are_its_first_or_last() {
    let date = |seconds| number(&dos_time(FileTime::new(seconds, 0)), 2, 2);
    assert_eq!(date(0), 0x21);
    assert_eq!(date(315_532_800), 0x21);
    assert_eq!(date(i64::MAX), 0x21);
    assert_eq!(date(9_000_000_000) >> 9, 127);
    assert!(has_time(FileTime::new(-1, 0)) && !has_time(FileTime::new(1 << 31, 0)));
}

#[test]
fn a_file_that_is_not_begun_or_not_ended_is_refused() {
    let mut bytes = Vec::new();
    let scratch = Scratch::new(std::env::temp_dir());
    let mut writer = Writer::new(&mut bytes, &scratch);
    assert_eq!(writer.write(b"a").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(writer.end().unwrap_err().kind(), Kind::Invalid);
    let name = vec![b'n'; NAME_BYTES + 1];
    assert_eq!(writer.put(&Member { name: &name, ..PLAIN }, b"").unwrap_err().kind(), Kind::Limit);
    writer.begin(&PLAIN, 1).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), Kind::Invalid);
}

/// The whole of what was put in comes back, in whatever parts it came.
mod round_trip {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn deflated_content_is_inflated_to_what_it_was(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..5),
        ) {
            let content = parts.concat();
            let bytes = archive(|writer| {
                for _ in 0..2 {
                    writer.begin(&PLAIN, content.len() as u64).unwrap();
                    parts.iter().for_each(|part| writer.write(part).unwrap());
                    writer.end().unwrap();
                }
            });
            let mut at = 0;
            for _ in 0..2 {
                at += 30 + (number(&bytes, at + 26, 2) + number(&bytes, at + 28, 2)) as usize;
                let mut decoder = flate2::bufread::DeflateDecoder::new(&bytes[at..]);
                let mut inflated = Vec::new();
                decoder.read_to_end(&mut inflated).unwrap();
                prop_assert_eq!(&inflated, &content);
                at += decoder.total_in() as usize;
                prop_assert_eq!(number(&bytes, at, 4), u64::from(DESCRIPTOR));
                prop_assert_eq!(number(&bytes, at + 8, 4), decoder.total_in());
                prop_assert_eq!(number(&bytes, at + 12, 4), content.len() as u64);
                at += 16;
            }
            prop_assert_eq!(number(&bytes, at, 4), u64::from(CENTRAL_HEADER));
        }
    }
}
