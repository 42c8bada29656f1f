//! Listings of directories: what is read can be written, byte for byte.
#![no_main]

use icecore::engine::tar::dumpdir::{Builder, lookup, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(records) = parse(bytes) else { return };
    let mut builder = Builder::new();
    for record in &records {
        builder.push(record.code, record.name).expect("it was read");
        if record.code.is_entry() {
            assert!(lookup(bytes, record.name).expect("it was read").is_some());
        }
    }
    assert_eq!(builder.finish().expect("it was read"), bytes);
});
