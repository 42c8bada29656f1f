//! What is written is read back; what is not as it should be is refused.

use super::super::delta::Operations;
use super::*;
use crate::error::{Error, Kind, Result};
use crate::monitor::Quiet;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Data(Vec<u8>),
    Copy(u64, u64),
    Hole(u64),
}

/// What a record copies from, its steps, and whether it is ended well.
type Written = (Option<u64>, Vec<Step>, bool);

fn base(size_bytes: u64) -> Content {
    Content { size_bytes, hash: blake3::hash(&size_bytes.to_le_bytes()) }
}

fn written(records: &[Written]) -> Vec<u8> {
    let mut out = StreamWriter::new(Vec::new()).unwrap();
    for (number, (from, steps, is_whole)) in records.iter().enumerate() {
        assert_eq!(out.begin(from.map(base).as_ref()).unwrap(), number as u64);
        for step in steps {
            match step {
                Step::Data(bytes) => out.data(bytes).unwrap(),
                Step::Copy(offset, length) => out.copy(*offset, *length).unwrap(),
                Step::Hole(length) => out.hole(*length).unwrap(),
            }
        }
        if *is_whole {
            out.end(&blake3::hash(b"x")).unwrap();
        } else {
            out.give_up().unwrap();
        }
    }
    out.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Written>> {
    let mut stream = StreamReader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = stream.next()? {
        assert_eq!(record.number, records.len() as u64);
        let (mut steps, mut size_bytes) = (Vec::new(), 0);
        let is_whole = loop {
            match stream.operation()? {
                Operation::Data(bytes) => {
                    size_bytes += bytes.len() as u64;
                    steps.push(Step::Data(bytes.to_vec()));
                }
                Operation::Copy { offset, length_bytes } => {
                    size_bytes += length_bytes;
                    steps.push(Step::Copy(offset, length_bytes));
                }
                Operation::Hole(length_bytes) => {
                    size_bytes += length_bytes;
                    steps.push(Step::Hole(length_bytes));
                }
                Operation::Done(content) => {
                    assert_eq!(content, Content { size_bytes, hash: blake3::hash(b"x") });
                    break true;
                }
                Operation::GivenUp => break false,
            }
        };
        records.push((record.base.map(|base| base.size_bytes), steps, is_whole));
    }
    Ok(records)
}

fn record() -> impl Strategy<Value = Written> {
    let data = proptest::collection::vec(any::<u8>(), 1..300).prop_map(Step::Data);
    let copy = (0_u64..1000, 1_u64..1 << 40).prop_map(|(offset, length)| Step::Copy(offset, length));
    let hole = (1_u64..1 << 40).prop_map(Step::Hole);
    let steps = proptest::collection::vec(prop_oneof![data, copy, hole], 0..12);
    (any::<bool>(), steps, any::<bool>()).prop_map(|(is_delta, mut steps, is_whole)| {
        if !is_delta {
            steps.retain(|step| !matches!(step, Step::Copy(..)));
        }
        (is_delta.then_some(1 << 41), steps, is_whole)
    })
}

proptest! {
    #[test]
    fn records_come_back(records in proptest::collection::vec(record(), 0..6)) {
        let bytes = written(&records);
        prop_assert_eq!(read(&bytes).unwrap(), records);
        verify(&mut &bytes[..], &Quiet).unwrap();
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_damaged(
        records in proptest::collection::vec(record(), 0..4), cut in any::<prop::sample::Index>()
    ) {
        let bytes = written(&records);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(read(cut).unwrap_err().kind(), Kind::Damaged);
    }

    #[test]
    fn whatever_the_bytes_are_reading_them_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let stream = [&MAGIC[..], &bytes].concat();
        let outcome: Result<(), Error> = verify(&mut &stream[..], &Quiet);
        if let Err(error) = outcome {
            prop_assert_eq!(error.kind(), Kind::Damaged);
        }
    }
}

#[test]
fn what_is_out_of_range_is_damaged() {
    let head = |rest: &[u8]| [&MAGIC[..], rest].concat();
    let delta = |rest: &[u8]| head(&[&[tag::DELTA, 10][..], &[0; 32], rest].concat());
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("another file", b"another kind of file".to_vec()),
        ("an unknown record", head(&[7])),
        ("an unknown operation", head(&[tag::WHOLE, 0x13])),
        ("no data", head(&[tag::WHOLE, tag::DATA, 0])),
        ("too much data", head(&[tag::WHOLE, tag::DATA, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        ("a copy from nothing", head(&[tag::WHOLE, tag::COPY, 0, 1])),
        ("a copy from behind the end", delta(&[tag::COPY, 10, 1])),
        ("a copy that is too long", delta(&[tag::COPY, 1, 10])),
        ("a copy that goes round", delta(&[&[tag::COPY][..], &[0xff; 9], &[1, 2]].concat())),
        ("a hole of no length", head(&[tag::WHOLE, tag::HOLE, 0])),
        ("a hole beyond all files", head(&[&[tag::WHOLE, tag::HOLE][..], &[0xff; 9], &[1]].concat())),
        ("another length", head(&[&[tag::WHOLE, tag::HOLE, 3, tag::DONE, 4][..], &[0; 32]].concat())),
        ("another number of records", head(&[tag::WHOLE, tag::GIVEN_UP, tag::END, 2])),
        ("a number that is not short", head(&[tag::END, 0x80, 0])),
        ("more behind the end", head(&[tag::END, 0, 0])),
    ] {
        assert_eq!(verify(&mut &bytes[..], &Quiet).unwrap_err().kind(), Kind::Damaged, "{what}");
    }
    verify(&mut &head(&[tag::END, 0])[..], &Quiet).unwrap();
    let newer = verify(&mut &b"icecore-rsync-2\n"[..], &Quiet).unwrap_err();
    assert_eq!(newer.kind(), Kind::Unsupported);
}

#[test]
fn a_writer_refuses_what_is_out_of_order() {
    let mut out = StreamWriter::new(Vec::new()).unwrap();
    assert_eq!(out.data(b"x").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(out.end(&blake3::hash(b"")).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(out.give_up().unwrap_err().kind(), Kind::Invalid);
    out.begin(None).unwrap();
    assert_eq!(out.finish().unwrap_err().kind(), Kind::Invalid);
}
