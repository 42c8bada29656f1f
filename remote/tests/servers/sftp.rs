//! SFTP against OpenSSH: the conformance suite, logging in, host keys, broken lines, and what a folder of a server can hold.

mod access;
mod broken;
mod contents;

use crate::{access, not_run};
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore_remote::{Access, Address, Intent, open};
use icecore_testkit::conformance;
use icecore_testkit::servers::sshd::Sshd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A server in a folder of the test's own.
struct Place {
    sshd: Sshd,
    folder: TempDir,
}

impl Place {
    /// `None`, which has been told, when there is no server.
    fn new() -> Option<Place> {
        Place::with("")
    }

    fn with(configuration: &str) -> Option<Place> {
        let folder = tempfile::tempdir().unwrap();
        match Sshd::start(&folder.path().join("sshd"), configuration) {
            Ok(sshd) => Some(Place { sshd, folder }),
            Err(reason) => {
                not_run(&reason);
                None
            }
        }
    }

    fn open(&self, name: &str) -> Arc<dyn Storage> {
        self.open_as(name, &access(&[], None))
    }

    fn open_as(&self, name: &str, access: &Access) -> Arc<dyn Storage> {
        at(&self.sshd.address(name), access, Intent::Create).unwrap()
    }

    /// Where the server keeps it.
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.sshd.file("data").join(name)
    }
}

fn at(address: &str, access: &Access, intent: Intent) -> icecore::Result<Arc<dyn Storage>> {
    open(&Address::parse(address).unwrap(), access, intent)
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn put(storage: &dyn Storage, text: &str, bytes: &[u8]) -> icecore::Result<()> {
    storage.put(&name(text), bytes, PutMode::CreateNew)
}

fn rows(storage: &dyn Storage, depth: Depth) -> Vec<String> {
    let mut rows = Vec::new();
    storage
        .list(None, depth, &mut |row| {
            rows.push(match row {
                Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
                Listed::Folder { name } => format!("{name}/"),
                Listed::Stray { label } => format!("? {label}"),
            });
            Ok(())
        })
        .unwrap();
    rows.sort();
    rows
}

/// Bytes that differ everywhere.
fn bytes_of(length: usize) -> Vec<u8> {
    (0..length as u64)
        .flat_map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .take(length)
        .collect()
}

fn conforms(place: &Place, access: &Access) {
    let number = AtomicU32::new(0);
    conformance::run(&|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        place.open_as(&format!("case {number}/storage"), access)
    });
}

#[test]
fn it_is_a_storage() {
    let Some(place) = Place::new() else { return };
    conforms(&place, &access(&[], None));
}

#[test]
fn one_connection_serves_all_threads() {
    let Some(place) = Place::new() else { return };
    conforms(&place, &Access { connections: 1, ..access(&[], None) });
    assert!(place.sshd.connections() <= conformance::CASES.len());
}
