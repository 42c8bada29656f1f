//! Items of the state of a level of the rsync engine, and whole states: items or an error; what is read is written with the same
//! bytes, and no name leads elsewhere.
#![no_main]

use icecore::engine::rsync::state::{Cursor, Item, RowKind, State};
use icecore::spool::Scratch;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(item) = Item::decode(bytes) {
        let mut again = Vec::new();
        item.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let scratch = Scratch::new("/nonexistent");
    let mut spool = scratch.spool();
    spool.write_all(bytes).expect("a small spool is in memory");
    let Ok(mut state) = State::load(spool, &scratch) else { return };
    let mut cursor = Cursor::default();
    while let Ok((place, item)) = cursor.next(&mut state) {
        assert_eq!(state.item_at(place).expect("it was read there"), item);
        match item {
            Item::End => break,
            Item::Entry(row) => {
                assert!(!row.name.contains(&b'/') && row.name != b"..");
                if let RowKind::File(file) = &row.kind {
                    state.signature(file).ok();
                }
            }
            Item::Directory(row) => assert!(row.path.split(|byte| *byte == b'/').all(|name| name != b"..")),
        }
    }
});
