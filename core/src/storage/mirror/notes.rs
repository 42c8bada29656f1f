//! Notes of what was removed while a member could not be reached, so that it does not come back from there.
//!
//! A note is an object of its own on those members on which the removal was carried out, or was about to be: below a folder that the
//! owner of the mirror names, called by a hash of the name it speaks of. Notes are seen by nobody who reads through the mirror.

use super::super::{Depth, Listed, PutMode, Storage};
use crate::error::{Error, Kind, Result};
use crate::limits::{MIRROR_REMOVALS, OBJECT_NAME_BYTES};
use crate::name::ObjectName;
use serde::{Deserialize, Serialize};

/// Longest note: every byte of a name written as an escape, and room for the rest.
const NOTE_BYTES: u64 = OBJECT_NAME_BYTES as u64 * 6 + 256;

#[derive(Serialize, Deserialize)]
struct Note {
    removed: String,
}

/// Whether a name is in the folder of notes.
pub(super) fn is_one(folder: &ObjectName, name: &str) -> bool {
    name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the note of the removal of `name` is called.
pub(super) fn name_of(folder: &ObjectName, name: &ObjectName) -> Result<ObjectName> {
    folder.join("removed")?.join(&blake3::hash(name.as_str().as_bytes()).to_hex())
}

/// Notes on one storage that `name` is being removed.
pub(super) fn write(storage: &dyn Storage, folder: &ObjectName, name: &ObjectName) -> Result<()> {
    let note = Note { removed: name.as_str().to_owned() };
    let bytes = serde_json::to_vec(&note)
        .map_err(|e| Error::invalid("cannot note the removal of", name.as_str()).because(e))?;
    storage.put(&name_of(folder, name)?, &bytes, PutMode::Replace)
}

/// What one storage notes as removed. A note that cannot be read says nothing: what it is about stays.
pub(super) fn read(storage: &dyn Storage, folder: &ObjectName) -> Result<Vec<ObjectName>> {
    let mut notes = Vec::new();
    storage.list(Some(folder), Depth::All, &mut |row| {
        if let Listed::Object { name, .. } = row {
            notes.push(name);
        }
        if notes.len() > MIRROR_REMOVALS {
            return Err(Error::new(Kind::Limit, "too many removals are noted below").on(folder.as_str()));
        }
        Ok(())
    })?;
    let mut removed = Vec::with_capacity(notes.len());
    for note in notes {
        let bytes = match storage.read_small(&note, NOTE_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Limit | Kind::Damaged) => continue,
            Err(error) => return Err(error),
        };
        let name =
            serde_json::from_slice::<Note>(&bytes).ok().and_then(|it| ObjectName::new(it.removed).ok());
        // Another name than the one it is called by would be a note of somebody else's making.
        removed.extend(name.filter(|name| name_of(folder, name).is_ok_and(|own| own == note)));
    }
    Ok(removed)
}
