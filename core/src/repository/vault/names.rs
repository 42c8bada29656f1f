//! What objects are called: the one place that spells names below `dedup/`.
//!
//! Invariant: a name that this module gives is found by it again, and whatever else stands there is a stray: told, never touched.

use super::header::ObjectKind;
use super::id::ObjectId;
use crate::error::{Error, Result};
use crate::name::ObjectName;
use crate::storage::{Depth, Listed, Storage};

/// Everything deduplicated is below this.
pub const ROOT: &str = "dedup";
/// Folders that later versions use, which this one passes over.
const KEPT: [&str; 3] = ["fences", "marks", "parity"];

/// A folder of objects that are called by an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Folder {
    /// Key slots.
    Keys,
    /// Runs that write.
    Sessions,
    /// Packs of both kinds.
    Packs,
    /// Indexes.
    Index,
    /// Backups.
    Snapshots,
    /// Removed backups.
    Removals,
}

impl Folder {
    /// Every folder.
    pub const ALL: [Folder; 6] =
        [Folder::Keys, Folder::Sessions, Folder::Packs, Folder::Index, Folder::Snapshots, Folder::Removals];

    /// Where objects of a kind are.
    pub fn of(kind: ObjectKind) -> Folder {
        match kind {
            ObjectKind::ContentPack | ObjectKind::MetadataPack => Folder::Packs,
            ObjectKind::Index => Folder::Index,
            ObjectKind::Snapshot => Folder::Snapshots,
            ObjectKind::Session => Folder::Sessions,
            ObjectKind::Removal => Folder::Removals,
        }
    }

    pub(super) fn spelled(self) -> &'static str {
        match self {
            Folder::Keys => "keys",
            Folder::Sessions => "sessions",
            Folder::Packs => "packs",
            Folder::Index => "index",
            Folder::Snapshots => "snapshots",
            Folder::Removals => "removals",
        }
    }

    /// Its name.
    ///
    /// # Errors
    /// None in practice: every name here is well-formed.
    pub fn name(self) -> Result<ObjectName> {
        ObjectName::new(format!("{ROOT}/{}", self.spelled()))
    }

    /// The name of an object in it.
    ///
    /// # Errors
    /// None in practice: every name here is well-formed.
    pub fn object(self, id: ObjectId) -> Result<ObjectName> {
        let folder = self.spelled();
        ObjectName::new(match self {
            Folder::Packs => format!("{ROOT}/{folder}/{:02x}/{id}", id.0[0]),
            _ => format!("{ROOT}/{folder}/{id}"),
        })
    }

    /// The object that a name in this folder stands for; `None` for a stray.
    fn id_of(self, name: &ObjectName) -> Option<ObjectId> {
        let id = name.as_str().rsplit('/').next()?.parse().ok()?;
        self.object(id).ok().filter(|same| same == name).map(|_| id)
    }
}

/// The object that a name below one of the folders stands for; `None` for every other name.
pub fn object_of(name: &ObjectName) -> Option<(Folder, ObjectId)> {
    Folder::ALL.into_iter().find_map(|folder| Some((folder, folder.id_of(name)?)))
}

/// What says that there is a repository.
///
/// # Errors
/// None in practice: the name is well-formed.
pub fn config() -> Result<ObjectName> {
    ObjectName::new(format!("{ROOT}/config"))
}

/// What one folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Objects by id, each once, with their lengths.
    pub objects: Vec<(ObjectId, u64)>,
    /// What does not belong there.
    pub strays: Vec<String>,
}

/// Lists a folder.
///
/// # Errors
/// What the storage reports; a listing that fails is never a shorter one.
pub fn list(storage: &dyn Storage, folder: Folder) -> Result<Names> {
    let mut names = Names::default();
    storage.list(Some(&folder.name()?), Depth::All, &mut |row| {
        match row {
            Listed::Object { name, size_bytes } => match folder.id_of(&name) {
                Some(id) => names.objects.push((id, size_bytes)),
                None => names.strays.push(name.to_string()),
            },
            Listed::Folder { .. } => (),
            Listed::Stray { label } => names.strays.push(label),
        }
        Ok(())
    })?;
    names.objects.sort_unstable();
    names.objects.dedup_by_key(|object| object.0);
    names.strays.sort_unstable();
    Ok(names)
}

/// Whether a folder holds any object or stray at all.
///
/// # Errors
/// What the storage reports.
pub fn holds_any(storage: &dyn Storage, folder: Folder) -> Result<bool> {
    let mut found = false;
    let listed = storage.list(Some(&folder.name()?), Depth::All, &mut |row| match row {
        Listed::Folder { .. } => Ok(()),
        Listed::Object { .. } | Listed::Stray { .. } => {
            found = true;
            // One is enough.
            Err(Error::stopped())
        }
    });
    if found { Ok(true) } else { listed.map(|()| false) }
}

/// What stands directly below `dedup/` and is nothing that this version or a later one of the format puts there.
///
/// # Errors
/// What the storage reports.
pub fn strays_at_the_top(storage: &dyn Storage) -> Result<Vec<String>> {
    let config = config()?;
    let mut strays = Vec::new();
    storage.list(Some(&ObjectName::new(ROOT)?), Depth::One, &mut |row| {
        match row {
            Listed::Object { name, .. } if name == config => (),
            Listed::Folder { name } if is_known_folder(&name) => (),
            Listed::Object { name, .. } | Listed::Folder { name } => strays.push(name.to_string()),
            Listed::Stray { label } => strays.push(label),
        }
        Ok(())
    })?;
    strays.sort_unstable();
    Ok(strays)
}

fn is_known_folder(name: &ObjectName) -> bool {
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    KEPT.contains(&last) || Folder::ALL.iter().any(|folder| folder.spelled() == last)
}

/// An object of a trial run, below a folder of its own at the top, which is random.
///
/// # Errors
/// None in practice: the name is well-formed.
pub fn trial(run: [u8; 8], number: u32) -> Result<ObjectName> {
    ObjectName::new(format!("benchmark/{:016x}/{number}", u64::from_le_bytes(run)))
}
