//! Metadata documents: understood or an error; what is understood can be written, and is read back as it was.
#![no_main]

use icecore::limits::REPORTED_PATHS;
use icecore::repository::document::{self, Document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = document::parse(bytes) else { return };
    let again = written_and_read(&document);
    assert_eq!(written_and_read(&again), again);
    if is_written_whole(&document) {
        assert_eq!(again, document);
    }
});

fn written_and_read(document: &Document) -> Document {
    let line = document.encode().expect("the input was far below the limit");
    assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "one line of printable ASCII");
    document::parse(&line).expect("what was written can be read")
}

/// Long lists are cut when they are written. (The limit on their bytes is beyond any input.)
fn is_written_whole(document: &Document) -> bool {
    let Some(details) = &document.details else { return true };
    details.report.paths.len() <= REPORTED_PATHS && details.report.unread.len() <= REPORTED_PATHS
}
