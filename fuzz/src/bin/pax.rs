//! PAX records: values or an error; times and attributes come back when they are written.
#![no_main]

use icecore::engine::tar::pax::{Builder, Records};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(records) = Records::parse(bytes) else { return };
    let mut builder = Builder::default();
    if let Some(path) = &records.path {
        builder.push(b"path", path);
    }
    if let Some(mtime) = records.mtime {
        builder.push_time(b"mtime", mtime);
    }
    if let Some(size_bytes) = records.size_bytes {
        builder.push_number(b"size", size_bytes);
    }
    for (name, value) in &records.xattrs {
        builder.push_xattr(name, value);
    }
    let written = builder.finish().expect("no more than was read");
    let back = Records::parse(&written).expect("it was written here");
    assert_eq!((back.path, back.mtime, back.size_bytes), (records.path, records.mtime, records.size_bytes));
    assert_eq!(back.xattrs, records.xattrs);
});
