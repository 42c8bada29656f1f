//! Directories that were renamed between two levels: found by inode when a level is made, replayed when it is applied.
//!
//! GNU tar stores a rename as a pair of records (`R` old, `T` new) in the listing of the first directory of the archive; they
//! are replayed in order before anything else. Only renames that replay safely on the tree of the level below are recorded:
//! the new name must be free there and its parent must be there, and no recorded rename lies inside another. Whatever else
//! moved (swaps, moves into new directories) is stored whole: more bytes, never a wrong tree.

use super::dumpdir;
use super::path::{below, split, stored_name, tree_path};
use super::snapshot::Snapshot;
use crate::error::{Kind, Result};
use crate::monitor::{Monitor, Quiet};
use crate::tree::attributes::FileKind;
use crate::tree::directory::Directory;
use crate::tree::walk::{self, Visit, Visitor};

/// Renames in the order in which they are replayed; paths in the tree.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Renames {
    list: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Renames {
    /// Appends a rename that is replayed after the others.
    pub(super) fn push(&mut self, old: Vec<u8>, new: Vec<u8>) {
        self.list.push((old, new));
    }

    /// Appends a rename, if there is one.
    pub(super) fn extend(&mut self, rename: Option<(Vec<u8>, Vec<u8>)>) {
        self.list.extend(rename);
    }

    /// The renames in order: old path, new path.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
        self.list.iter()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where `path` was in the level below; `None` when what stood there was renamed away.
    pub(super) fn origin(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut path = path.to_vec();
        for (old, new) in self.list.iter().rev() {
            if let Some(rest) = below(&path, new) {
                path = [old, rest].concat();
            } else if below(&path, old).is_some() {
                return None;
            }
        }
        Some(path)
    }

    /// Finds the renames since `base` was made.
    ///
    /// # Errors
    /// Of the snapshot; `Interrupted`. Directories that cannot be read are not looked at: the walk that follows reports them.
    pub(super) fn find(
        root: &Directory,
        options: &walk::Options<'_>,
        base: &mut Snapshot,
        monitor: &dyn Monitor,
    ) -> Result<Renames> {
        if !any_missing(root, base)? {
            return Ok(Renames::default());
        }
        let mut search = Search { root, base, found: Renames::default(), ancestors: Vec::new(), monitor };
        let again = root.open_again()?;
        walk::walk(again, options, &Quiet, &mut search)?;
        Ok(search.found)
    }
}

/// Whether a directory of the base is no longer at its path: without one, nothing was renamed, and the tree need not be
/// searched.
fn any_missing(root: &Directory, base: &mut Snapshot) -> Result<bool> {
    let mut missing = false;
    for record in base.records() {
        let directory = record?.directory;
        if !stands(root, tree_path(&directory.name), directory.inode) {
            missing = true;
            break;
        }
    }
    Ok(missing)
}

/// Whether the directory with this inode is at `path`. A look by path may be fooled by somebody who swaps directories at
/// this moment; the answer only decides how much is stored, never whether the stored level is right.
fn stands(root: &Directory, path: &[u8], inode: u64) -> bool {
    let found = if path.is_empty() { root.metadata() } else { root.stat(path) };
    found.is_ok_and(|metadata| metadata.kind == FileKind::Directory && metadata.inode == inode)
}

/// An ancestor of the directory being looked at.
struct Ancestor {
    path: Vec<u8>,
    /// Its place in the base, when it is the same directory there.
    origin: Option<Vec<u8>>,
}

struct Search<'a> {
    root: &'a Directory,
    base: &'a mut Snapshot,
    found: Renames,
    ancestors: Vec<Ancestor>,
    monitor: &'a dyn Monitor,
}

impl Search<'_> {
    /// The place of this directory in the base, by its (mapped) path and inode.
    fn in_place(&mut self, path: &[u8], inode: u64) -> Result<Option<Vec<u8>>> {
        let Some(origin) = self.found.origin(path) else { return Ok(None) };
        let record = self.base.by_name(&stored_name(&origin))?;
        Ok(record.filter(|record| record.directory.inode == inode).map(|_| origin))
    }

    /// The place in the base that this directory was renamed from, if replaying that is safe.
    fn renamed_from(&mut self, path: &[u8], inode: u64) -> Result<Option<Vec<u8>>> {
        let Some((_, name)) = split(path) else { return Ok(None) };
        let Some(parent) = self.ancestors.last().and_then(|parent| parent.origin.clone()) else {
            return Ok(None);
        };
        // Device numbers may change from one start of the system to the next.
        let Some(record) = self.base.by_inode_number(inode)?.into_iter().next() else { return Ok(None) };
        let old = tree_path(&record.directory.name).to_vec();
        let nested = |a: &[u8], b: &[u8]| below(a, b).is_some() || below(b, a).is_some();
        let entangled = self.found.iter().any(|(earlier, _)| nested(earlier, &old));
        if old.is_empty() || nested(&old, path) || entangled || stands(self.root, &old, inode) {
            return Ok(None);
        }
        let taken = match self.base.by_name(&stored_name(&parent))? {
            Some(record) => dumpdir::lookup(&record.listing, name)?.is_some(),
            None => true,
        };
        Ok((!taken).then_some(old))
    }
}

impl Visitor for Search<'_> {
    fn directory(&mut self, visit: &Visit<'_>, _monitor: &dyn Monitor) -> Result<()> {
        self.monitor.check()?;
        while self
            .ancestors
            .last()
            .is_some_and(|last| split(visit.path).is_none_or(|(parent, _)| parent != last.path))
        {
            self.ancestors.pop();
        }
        let mut origin = self.in_place(visit.path, visit.metadata.inode)?;
        if origin.is_none() {
            origin = self.renamed_from(visit.path, visit.metadata.inode)?;
            if let Some(old) = &origin {
                self.found.push(old.clone(), visit.path.to_vec());
            }
        }
        self.ancestors.push(Ancestor { path: visit.path.to_vec(), origin });
        Ok(())
    }

    fn unreadable(
        &mut self,
        _: &[u8],
        _: Option<&crate::tree::attributes::Metadata>,
        error: &crate::Error,
    ) -> Result<()> {
        if error.kind() == Kind::Interrupted { Err(crate::Error::interrupted()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(list: &[(&str, &str)]) -> Renames {
        let mut renames = Renames::default();
        list.iter().for_each(|(old, new)| renames.push(old.as_bytes().to_vec(), new.as_bytes().to_vec()));
        renames
    }

    fn origin(renames: &Renames, path: &str) -> Option<String> {
        renames.origin(path.as_bytes()).map(|origin| String::from_utf8(origin).unwrap())
    }

    #[test]
    fn a_path_is_traced_back_through_renames() {
        let list = renames(&[("p", "q"), ("x", "q/x")]);
        assert_eq!(origin(&list, "q/a"), Some("p/a".into()));
        assert_eq!(origin(&list, "q/x/y"), Some("x/y".into()));
        assert_eq!(origin(&list, "p"), None);
        assert_eq!(origin(&list, "other"), Some("other".into()));
    }

    #[test]
    fn a_swap_is_traced_back_through_the_temporary_name() {
        let list = renames(&[("a", "tmp"), ("b", "a"), ("tmp", "b")]);
        assert_eq!(origin(&list, "a/f"), Some("b/f".into()));
        assert_eq!(origin(&list, "b/f"), Some("a/f".into()));
    }
}
