//! Streams of the rsync engine: operations that stay within what they copy from, or an error; what is read can be written, and
//! is read again as the same.
#![no_main]

use icecore::engine::rsync::delta::Operations;
use icecore::engine::rsync::stream::{Operation, StreamReader, StreamWriter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(written) = rewritten(bytes) else { return };
    let again = rewritten(&written).expect("what was written is read");
    assert_eq!(written, again);
});

/// The stream as the writer spells it; `None` when it is not sound.
fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = StreamReader::new(bytes).ok()?;
    let mut out = StreamWriter::new(Vec::new()).expect("memory takes everything");
    while let Some(record) = stream.next().ok()? {
        out.begin(record.base.as_ref()).expect("memory takes everything");
        let mut size_bytes = 0_u64;
        loop {
            match stream.operation().ok()? {
                Operation::Data(bytes) => {
                    size_bytes += bytes.len() as u64;
                    out.data(bytes).expect("memory takes everything");
                }
                Operation::Copy { offset, length_bytes } => {
                    let base = record.base.expect("only a difference copies");
                    assert!(offset + length_bytes <= base.size_bytes);
                    size_bytes += length_bytes;
                    out.copy(offset, length_bytes).expect("memory takes everything");
                }
                Operation::Hole(length_bytes) => {
                    size_bytes += length_bytes;
                    out.hole(length_bytes).expect("memory takes everything");
                }
                Operation::Done(content) => {
                    assert_eq!(content.size_bytes, size_bytes);
                    out.end(&content.hash).expect("memory takes everything");
                    break;
                }
                Operation::GivenUp => {
                    out.give_up().expect("memory takes everything");
                    break;
                }
            }
        }
    }
    Some(out.finish().expect("every record was ended"))
}
