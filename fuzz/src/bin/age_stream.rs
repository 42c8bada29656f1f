//! What age has encrypted, its header first: plain bytes or an error, never more of them than there were; and keys and recipients as
//! they stand in files.
#![no_main]

use icecore::codec::age::{self, Recipients};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

/// A key that is known to everybody: the seeds are encrypted to it.
const KEY: &[u8] = b"AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

fuzz_target!(|bytes: &[u8]| {
    let keys = age::identities(KEY).expect("it is a key of age");
    if let Ok(reader) = age::reader(bytes, &keys) {
        let read = std::io::copy(&mut reader.take(1 << 20), &mut std::io::sink());
        assert!(read.unwrap_or(0) < bytes.len() as u64);
    }
    drop(age::identities(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Recipients::parse(text));
    }
});
