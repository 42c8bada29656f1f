//! Rows of listings of FTP servers: a name is always the end of its row.
#![no_main]

use icecore_remote::ftp::listing::{facts_row, is_total, time_value, unix_row};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n') {
        for row in [facts_row(line), unix_row(line)].into_iter().flatten() {
            assert!(!row.name.is_empty() && line.ends_with(&row.name));
            assert!(!is_total(line));
        }
        if let Ok(text) = std::str::from_utf8(line) {
            let _ = time_value(text);
        }
    }
});
