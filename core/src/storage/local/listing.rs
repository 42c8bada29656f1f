//! Walking the files of a local storage. One folder is open at a time and read to its end before those in it are visited,
//! so neither depth nor breadth costs handles; memory is one name for each folder not yet visited.

use super::folders::{Place, Root, is_temporary};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::storage::{Depth, Listed};
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::{Directory, lossy};

/// One directory entry on the way.
pub(super) struct Found<'a> {
    /// The folder it is in.
    pub folder: &'a Directory,
    /// Its name in there, as the system has it.
    pub raw_name: &'a [u8],
    /// What is known of it.
    pub metadata: Metadata,
    parent: Option<&'a ObjectName>,
    name: Option<ObjectName>,
}

impl Found<'_> {
    /// Whether this is (or was) an object being written.
    pub fn is_temporary(&self) -> bool {
        self.metadata.kind == FileKind::File && is_temporary(self.raw_name)
    }

    /// What it is called, for people.
    pub fn label(&self) -> String {
        match self.parent {
            Some(parent) => format!("{parent}/{}", lossy(self.raw_name)),
            None => lossy(self.raw_name),
        }
    }

    /// The row of a listing; `None` for a folder where folders are walked into instead.
    pub fn listed(&self, depth: Depth) -> Option<Listed> {
        match (&self.name, self.metadata.kind, depth) {
            (Some(name), FileKind::File, _) => {
                Some(Listed::Object { name: name.clone(), size_bytes: self.metadata.size_bytes })
            }
            (Some(name), FileKind::Directory, Depth::One) => Some(Listed::Folder { name: name.clone() }),
            (Some(_), FileKind::Directory, Depth::All) => None,
            _ => Some(Listed::Stray { label: self.label() }),
        }
    }

    fn sub_folder(&self) -> Option<&ObjectName> {
        self.name.as_ref().filter(|_| self.metadata.kind == FileKind::Directory)
    }
}

/// Hands every entry below `prefix` to `each`.
pub(super) fn visit(
    root: &Root,
    prefix: Option<&ObjectName>,
    depth: Depth,
    each: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<()> {
    if let Some(prefix) = prefix {
        Place::of(prefix)?;
    }
    let mut pending = vec![prefix.cloned()];
    while let Some(parent) = pending.pop() {
        // Without a folder there is nothing to list: it was never there, or its last object was deleted meanwhile.
        let Some(folder) = root.folder(parent.as_ref().map(ObjectName::as_str))? else { continue };
        visit_folder(&folder, parent.as_ref(), &mut |found| {
            if depth == Depth::All {
                pending.extend(found.sub_folder().cloned().map(Some));
            }
            each(found)
        })
        .map_err(|e| while_listing(e, root, parent.as_ref()))?;
    }
    Ok(())
}

/// Failures of the system get the folder's path; those of the caller's callback pass as they are.
fn while_listing(failure: Failure, root: &Root, parent: Option<&ObjectName>) -> Error {
    match failure {
        Failure::Callback(e) => e,
        Failure::System(e) => {
            e.while_doing("cannot list", root.path_of(parent.map(ObjectName::as_str).unwrap_or_default()))
        }
    }
}

enum Failure {
    System(Error),
    Callback(Error),
}

fn visit_folder(
    folder: &Directory,
    parent: Option<&ObjectName>,
    each: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<(), Failure> {
    let system = |e| Failure::System(Error::io("cannot read", "the folder", e));
    for entry in rustix::fs::Dir::read_from(folder).map_err(system)? {
        let entry = entry.map_err(system)?;
        let raw_name = entry.file_name().to_bytes();
        if raw_name == b"." || raw_name == b".." {
            continue;
        }
        let metadata = match folder.stat(raw_name) {
            Ok(metadata) => metadata,
            // Deleted since the folder was read.
            Err(e) if e.kind() == Kind::NotFound => continue,
            Err(e) => return Err(Failure::System(e)),
        };
        let name = full_name(parent, raw_name);
        each(&Found { folder, raw_name, metadata, parent, name }).map_err(Failure::Callback)?;
    }
    Ok(())
}

/// The object name of an entry, if it can be one.
fn full_name(parent: Option<&ObjectName>, raw_name: &[u8]) -> Option<ObjectName> {
    let part = std::str::from_utf8(raw_name).ok().filter(|_| !is_temporary(raw_name))?;
    match parent {
        Some(parent) => parent.join(part).ok(),
        None => ObjectName::new(part).ok(),
    }
}
