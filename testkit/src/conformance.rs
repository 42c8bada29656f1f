//! What every storage must do, as cases that run over any of them: [`run`] gives each case a fresh storage and tells which
//! ones failed. The guarantees are those of the page of [`icecore::storage`].
//!
//! A case asserts what it claims and hands on errors of calls that must not fail. Cases use names of their own and would
//! also pass one after the other on one storage that was empty at first, but for those that look at everything.

mod listing;
mod racing;
mod single;

use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::{Kind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One claim about storages.
pub type Case = fn(&dyn Storage) -> Result<()>;

/// Every claim, by name.
pub const CASES: &[(&str, Case)] = &[
    ("what is put is read back", single::put_and_read),
    ("ranges end where the object ends", single::ranges),
    ("a part takes the place of what a buffer holds", single::ranges_into_a_buffer),
    ("an empty object is an object", single::empty_object),
    ("a long object is written in pieces", single::long_object),
    ("a new object does not take a taken name", single::create_new_conflict),
    ("a unique name takes an object", single::unique_names),
    ("bytes that are lent are put like others", single::shared_bytes),
    ("an object is replaced", single::replace),
    ("an object being written is not visible", single::invisible_until_finished),
    ("a dropped writer leaves nothing", single::dropped_writer),
    ("odd names are names", single::odd_names),
    ("what is not there is not found", single::not_found),
    ("stat tells the length", single::stat),
    ("small objects are read whole within a limit", single::read_small),
    ("a deleted object is gone", single::delete),
    ("an object is not a folder", single::object_and_folder),
    ("a listing of one folder", listing::depth_one),
    ("a listing of everything", listing::depth_all),
    ("a prefix is a folder", listing::prefix_is_a_folder),
    ("nothing is an empty listing", listing::empty),
    ("an error of the receiver ends a listing", listing::receiver_fails),
    ("a listing of a thousand objects is complete", listing::complete),
    ("the receiver of a listing may use the storage", listing::receiver_uses_storage),
    ("of racing creations one wins", racing::one_creation_wins),
    ("of racing writers one wins", racing::one_writer_wins),
    ("a replaced object is always one version", racing::replace_is_atomic),
    ("a listing beside writers shows what was there", racing::list_beside_writers),
    ("a folder that comes and goes harms nobody", racing::folder_comes_and_goes),
];

/// Runs every case, each on a storage of its own.
///
/// # Panics
/// When a case fails, with the names and reasons of all that did.
pub fn run(make: &dyn Fn() -> Arc<dyn Storage>) {
    run_but(&[], make);
}

/// Runs every case but those that are named: what a kind of server cannot do, and its page of the guide says so.
///
/// # Panics
/// As [`run`], and when there is no case of such a name.
pub fn run_but(left_out: &[&str], make: &dyn Fn() -> Arc<dyn Storage>) {
    for name in left_out {
        assert!(CASES.iter().any(|(known, _)| known == name), "there is no case called {name:?}");
    }
    let failed: Vec<String> = CASES
        .iter()
        .filter(|(name, _)| !left_out.contains(name))
        .filter_map(|(name, case)| failure(*case, make().as_ref()).map(|reason| format!("{name}: {reason}")))
        .collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), CASES.len(), failed.join("\n"));
}

fn failure(case: Case, storage: &dyn Storage) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| case(storage))) {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("{e:?}")),
        Err(panic) => Some(words_of(panic.as_ref())),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// A name that is known to be one.
fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("names in cases are well-formed")
}

/// Bytes that differ from place to place and from seed to seed.
fn bytes_of(seed: u8, length_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; length_bytes];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn kind_of<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|e| e.kind())
}

/// A listing as sorted text: `name size`, `name/`, `? label`.
fn rows(storage: &dyn Storage, prefix: Option<&str>, depth: Depth) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    storage.list(prefix.map(name).as_ref(), depth, &mut |row| {
        rows.push(match row {
            Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
            Listed::Folder { name } => format!("{name}/"),
            Listed::Stray { label } => format!("? {label}"),
        });
        Ok(())
    })?;
    rows.sort();
    Ok(rows)
}

fn put(storage: &dyn Storage, text: &str, bytes: &[u8]) -> Result<()> {
    storage.put(&name(text), bytes, PutMode::CreateNew)
}

/// Writes an object in pieces; an early refusal of the name counts like a late one.
fn write(storage: &dyn Storage, text: &str, pieces: &[&[u8]], mode: PutMode) -> Result<()> {
    let mut writer = storage.writer(&name(text), mode)?;
    for piece in pieces {
        writer.write(piece)?;
    }
    writer.finish()
}

fn read_all(storage: &dyn Storage, text: &str) -> Result<Vec<u8>> {
    storage.read_small(&name(text), 64 << 20)
}
