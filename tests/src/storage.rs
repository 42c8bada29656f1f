//! Every storage and every decorator does what the contract says.

use icecore::storage::Storage;
use icecore::storage::local::Local;
use icecore::storage::memory::Memory;
use icecore_testkit::conformance;
use std::cell::Cell;
use std::path::Path;

/// Makes storages in new folders below `folder`.
fn locals(folder: &Path, adapt: fn(Local) -> Local) -> impl Fn() -> Box<dyn Storage> {
    let next = Cell::new(0);
    move || {
        let path = folder.join(next.replace(next.get() + 1).to_string());
        Box::new(adapt(Local::create(path).unwrap()))
    }
}

#[test]
fn local_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(&locals(folder.path(), |local| local));
}

#[test]
fn local_with_named_temporaries_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(&locals(folder.path(), Local::with_named_temporaries));
}

#[test]
fn memory_conforms() {
    conformance::run(&|| Box::new(Memory::new()));
}
