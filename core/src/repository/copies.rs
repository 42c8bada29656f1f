//! What a copy of a repository is made of: in which order its parts are copied, what may be removed because somebody said so, and
//! whether the bytes of an object are what was written.
//!
//! Invariant of the order: whatever an object refers to stands before it. So a copy that is broken off has no backup which it does not
//! have whole; and whoever lists the parts from the last to the first, and copies from the first to the last, finds for each
//! backup that was listed all that it needs, also while others write.

use super::Repository;
use super::document::{self, Stored};
use super::location::{self, BackupLocation, DATA, DOCUMENT, MARKER, METADATA};
use super::vault::names::{self, Folder};
use crate::error::{Error, Kind, Result};
use crate::level::BackupEntry;
use crate::limits::{READ_BYTES, SMALL_OBJECT_BYTES};
use crate::name::{Level, ObjectName};
use crate::storage::{Depth, Listed, Storage};
use std::io::Read;

/// The folder in which a mirror notes what was removed while not all of its storages could be reached (`docs/format/mirror.md`).
const NOTES: &str = "icecore-mirror";

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One object.
    Object(ObjectName),
    /// Everything below a folder. What many objects refer to is `bulk`, and refers to nothing itself.
    Folder {
        /// The folder.
        name: ObjectName,
        /// Whether it may be listed when its turn to be copied comes.
        is_bulk: bool,
    },
    /// What no other part names.
    Rest,
}

/// All parts, in the order in which they are copied.
///
/// # Errors
/// None in practice: every name here is well-formed.
pub fn parts() -> Result<Vec<Part>> {
    let folder = |name: ObjectName, is_bulk| Part::Folder { name, is_bulk };
    Ok(vec![
        Part::Object(ObjectName::new(MARKER)?),
        folder(Folder::Keys.name()?, false),
        Part::Object(names::config()?),
        // Before what they shadow.
        folder(Folder::Removals.name()?, false),
        folder(Folder::Sessions.name()?, false),
        Part::Rest,
        folder(Folder::Packs.name()?, true),
        folder(Folder::Index.name()?, false),
        folder(Folder::Snapshots.name()?, false),
        folder(ObjectName::new(DATA)?, true),
        folder(ObjectName::new(METADATA)?, false),
    ])
}

/// The objects that say which repository this is.
///
/// # Errors
/// None in practice: every name here is well-formed.
pub fn identity() -> Result<[ObjectName; 2]> {
    Ok([ObjectName::new(MARKER)?, names::config()?])
}

/// The folders whose contents are parts of their own, so that what stands beside those is the rest.
///
/// # Errors
/// None in practice: every name here is well-formed.
pub fn folders_of_parts() -> Result<Vec<ObjectName>> {
    [names::ROOT, NOTES, DATA, METADATA].into_iter().map(ObjectName::new).collect()
}

/// The folder of the documents with which levels exist.
///
/// # Errors
/// None in practice: the name is well-formed.
pub fn documents() -> Result<ObjectName> {
    ObjectName::new(METADATA)
}

/// The folder of the documents of the chain that a level belongs to.
///
/// # Errors
/// None in practice: the location was read from a name.
pub fn documents_of(level: &BackupLocation) -> Result<ObjectName> {
    location::chain_folder(METADATA, &level.engine, &level.name, level.chain)
}

/// The folder of what the levels of that chain hold.
///
/// # Errors
/// As [`documents_of`].
pub fn content_of(level: &BackupLocation) -> Result<ObjectName> {
    location::chain_folder(DATA, &level.engine, &level.name, level.chain)
}

/// The document of level 0 of that chain.
///
/// # Errors
/// As [`documents_of`].
pub fn first_document_of(level: &BackupLocation) -> Result<ObjectName> {
    let entry = BackupEntry { level: Level::FULL, timestamp: level.chain };
    BackupLocation { entry, ..level.clone() }.metadata()
}

/// The folder in which a mirror notes removals.
///
/// # Errors
/// None in practice: the name is well-formed.
pub fn notes() -> Result<ObjectName> {
    ObjectName::new(NOTES)
}

/// Whether there is what is no part of a repository, nor of an empty file system.
///
/// # Errors
/// What the storage reports.
pub fn is_foreign(storage: &dyn Storage) -> Result<bool> {
    at_the_top(storage, |name| !name.starts_with('.') && !OURS.contains(&name) && name != "lost+found")
}

/// Whether there is nothing of a repository.
///
/// # Errors
/// What the storage reports.
pub fn is_vacant(storage: &dyn Storage) -> Result<bool> {
    at_the_top(storage, |name| OURS.contains(&name)).map(|is_used| !is_used)
}

/// What stands at the top of a repository.
const OURS: [&str; 5] = [MARKER, NOTES, DATA, METADATA, names::ROOT];

/// Whether anything at the top of a storage is such a name.
fn at_the_top(storage: &dyn Storage, is_one: impl Fn(&str) -> bool) -> Result<bool> {
    let mut found = false;
    storage.list(None, Depth::One, &mut |listed| {
        let name = match &listed {
            Listed::Object { name, .. } | Listed::Folder { name } => name.as_str(),
            Listed::Stray { label } => label,
        };
        found |= is_one(name);
        Ok(())
    })?;
    Ok(found)
}

/// What an object is to whoever is told that it was removed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Nothing else depends on it: the claim or session of a run, a key, a snapshot.
    Free,
    /// The document of a level, on which others may build.
    Document(BackupLocation),
    /// Content of a level.
    Content(BackupLocation),
    /// Anything may depend on it: never removed on such a word.
    Needed,
}

/// What the object of this name is.
pub fn role_of(name: &ObjectName) -> Role {
    if let Some((location, rest)) = location::parse_object(METADATA, name) {
        return if rest == DOCUMENT { Role::Document(location) } else { Role::Needed };
    }
    if let Some((location, _)) = location::parse_object(DATA, name) {
        let is_claim = location.claim().is_ok_and(|claim| claim == *name);
        return if is_claim { Role::Free } else { Role::Content(location) };
    }
    match names::object_of(name) {
        Some((Folder::Keys | Folder::Sessions | Folder::Snapshots, _)) => Role::Free,
        _ => Role::Needed,
    }
}

/// Whether an object is the one by which a deduplicated backup exists.
pub fn is_snapshot(name: &ObjectName) -> bool {
    matches!(names::object_of(name), Some((Folder::Snapshots, _)))
}

/// What is known of the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are what was written.
    Sound,
    /// They are not.
    Damaged,
    /// Nothing vouches for them.
    Unknown,
}

impl Repository {
    /// Judges the bytes of an object: by their seals, as far as the vault is open; levels by the hashes in their documents.
    ///
    /// # Errors
    /// What reading reports.
    pub fn judge(&self, name: &ObjectName, bytes: &mut dyn Read) -> Result<Verdict> {
        if let Some((location, rest)) = location::parse_object(DATA, name) {
            return self.judge_content(&location, rest, bytes);
        }
        if let Some((_, DOCUMENT)) = location::parse_object(METADATA, name) {
            return judge_document(name, bytes);
        }
        let Some(vault) = self.vault() else { return Ok(Verdict::Unknown) };
        match vault.verify(name, bytes) {
            Ok(true) => Ok(Verdict::Sound),
            Ok(false) => Ok(Verdict::Unknown),
            Err(error) if error.kind() == Kind::Damaged => Ok(Verdict::Damaged),
            Err(error) if error.kind() == Kind::Unsupported => Ok(Verdict::Unknown),
            Err(error) => Err(error),
        }
    }

    fn judge_content(&self, location: &BackupLocation, rest: &str, bytes: &mut dyn Read) -> Result<Verdict> {
        let promised = match self.step(location.clone()) {
            Ok(step) => step.document.details,
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged | Kind::Unsupported) => None,
            Err(error) => return Err(error),
        };
        let promised = promised.and_then(|details| match rest {
            "data" => Some(details.data),
            "engine_metadata" => Some(details.engine_metadata),
            _ => None,
        });
        let Some(Stored { size_bytes, blake3 }) = promised else { return Ok(Verdict::Unknown) };
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => drop(hasher.update(&buffer[..count])),
                Err(error) => return Err(Error::io("cannot read", location.to_string(), error)),
            }
        }
        let is_sound = hasher.count() == size_bytes && hasher.finalize() == blake3;
        Ok(if is_sound { Verdict::Sound } else { Verdict::Damaged })
    }
}

fn judge_document(name: &ObjectName, bytes: &mut dyn Read) -> Result<Verdict> {
    let mut line = Vec::new();
    let mut limited = bytes.take(SMALL_OBJECT_BYTES + 1);
    limited.read_to_end(&mut line).map_err(|e| Error::io("cannot read", name.to_string(), e))?;
    Ok(match document::parse(&line) {
        _ if line.len() as u64 > SMALL_OBJECT_BYTES => Verdict::Damaged,
        Ok(document) if document.details.is_some() => Verdict::Sound,
        Err(error) if error.kind() == Kind::Damaged => Verdict::Damaged,
        // Nothing vouches for what Freezer wrote.
        _ => Verdict::Unknown,
    })
}
