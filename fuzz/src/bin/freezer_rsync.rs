//! Streams of Freezer's rsync engines: records or an error, the same with their content as without, and no more content than there is.
#![no_main]

use icecore::engine::rsync::freezer::{Dialect, Level, Record, read, survey};
use icecore::monitor::Quiet;
use icecore::spool::Scratch;
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    for level in [
        Level::default(),
        Level { block_bytes: Some(16), may_lack_end: false },
        Level { block_bytes: Some(4096), may_lack_end: true },
    ] {
        check(bytes, level);
    }
});

fn check(bytes: &[u8], level: Level) {
    let mut surveyed: Vec<(Dialect, Record)> = Vec::new();
    let survey = survey(&mut { bytes }, level, &Quiet, &mut |dialect, record| {
        surveyed.push((dialect, record));
        Ok(())
    });
    let (mut count, mut content_bytes) = (0, 0);
    let scratch = Scratch::new("/nonexistent");
    let read = read(&mut { bytes }, level, &scratch, &Quiet, &mut |dialect, record, content| {
        if let Some((same, found)) = surveyed.get(count) {
            assert_eq!((*same, &found.path, &found.what), (dialect, &record.path, &record.what));
        }
        count += 1;
        content_bytes += std::io::copy(&mut content.take(1 << 20), &mut std::io::sink()).unwrap_or(0);
        Ok(())
    });
    assert!(content_bytes <= bytes.len() as u64);
    if survey.is_ok() {
        read.expect("the survey has read it");
        assert_eq!(count, surveyed.len());
    }
}
