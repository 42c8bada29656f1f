//! Directories that were renamed between two levels: found by inode when a level is made, replayed when it is applied.
//!
//! GNU tar stores a rename as a pair of records (`R` old, `T` new) in the listing of the first directory of the archive; they
//! are replayed in order before anything else. Only renames that replay safely on the tree of the level below are recorded:
//! the new name must be free there and its parent must be there, and no recorded rename lies inside another. Whatever else
//! moved (swaps, moves into new directories) is stored whole: more bytes, never a wrong tree.

use super::dumpdir::{self, Code};
use super::path::{below, split, stored_name, tree_path};
use super::snapshot::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::monitor::{Monitor, Quiet};
use crate::tree::attributes::FileKind;
use crate::tree::directory::{Directory, lossy};
use crate::tree::walk::{self, Visit, Visitor};
use std::collections::HashSet;

/// Renames in the order in which they are replayed; paths in the tree.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Renames {
    list: Vec<(Vec<u8>, Vec<u8>)>,
    /// Every path in the list: what is not below one of them is not moved, and that is seen without looking at the list.
    touched: HashSet<Vec<u8>>,
    /// Every directory above a new path.
    above: HashSet<Vec<u8>>,
}

/// Where a rename pair with an empty name points to: a place that no path is in, for the time of a swap.
const TEMPORARY: &[u8] = b"\0";

impl Renames {
    /// Appends a rename that is replayed after the others.
    pub(super) fn push(&mut self, old: Vec<u8>, new: Vec<u8>) {
        self.touched.insert(old.clone());
        self.touched.insert(new.clone());
        let mut path = new.as_slice();
        while let Some((parent, _)) = split(path) {
            self.above.insert(parent.to_vec());
            path = parent;
        }
        self.list.push((old, new));
    }

    /// The renames in the listing of the first directory of an archive.
    ///
    /// # Errors
    /// `Damaged` for a listing that is none, and for renames that lead out of the tree or into themselves.
    pub(super) fn parse(listing: &[u8]) -> Result<Renames> {
        let mut renames = Renames::default();
        let mut old = None;
        for record in dumpdir::records(listing) {
            let record = record?;
            match record.code {
                Code::RenameFrom => old = Some(place(record.name)?),
                Code::RenameTo => {
                    let (old, new) = (old.take().unwrap_or_default(), place(record.name)?);
                    if old != new && below(&new, &old).is_some() {
                        return Err(Error::damaged("a rename of a directory into itself:", lossy(&old)));
                    }
                    renames.push(old, new);
                }
                Code::Temporary | Code::Stored | Code::Kept | Code::Directory => {}
            }
        }
        Ok(renames)
    }

    /// The renames in order: old path, new path.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
        self.list.iter()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn touch(&self, path: &[u8]) -> bool {
        let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        !self.list.is_empty()
            && (self.touched.contains(path) || slashes.any(|end| self.touched.contains(&path[..end])))
    }

    /// Where `path` was in the level below; `None` when what stood there was renamed away.
    pub(super) fn origin(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut path = path.to_vec();
        if !self.touch(&path) {
            return Some(path);
        }
        for (old, new) in self.list.iter().rev() {
            if let Some(rest) = below(&path, new) {
                path = [old, rest].concat();
            } else if below(&path, old).is_some() {
                return None;
            }
        }
        Some(path)
    }

    /// Where `path` of the level below is now. `None` when it had to go: because another directory took its place, or because
    /// a directory that something was moved into stands there now, and it is none.
    pub(super) fn destination(&self, path: Vec<u8>, is_directory: bool) -> Option<Vec<u8>> {
        if !self.touch(&path) {
            return (is_directory || !self.above.contains(&path)).then_some(path);
        }
        let mut path = path;
        for (old, new) in &self.list {
            if let Some(rest) = below(&path, old) {
                path = [new, rest].concat();
            } else if below(&path, new).is_some() || (!is_directory && below(new, &path).is_some()) {
                return None;
            }
        }
        Some(path)
    }

    /// Whether a new path lies below this one.
    pub(super) fn lead_below(&self, path: &[u8]) -> bool {
        self.above.contains(path)
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

/// The path that a record of a rename names.
fn place(stored: &[u8]) -> Result<Vec<u8>> {
    if stored.is_empty() {
        return Ok(TEMPORARY.to_vec());
    }
    let path = tree_path(stored);
    if path.split(|&byte| byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
        return Err(Error::damaged("a rename of what cannot be renamed:", lossy(stored)));
    }
    Ok(path.to_vec())
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
        error: &Error,
    ) -> Result<()> {
        if error.kind() == Kind::Interrupted { Err(Error::interrupted()) } else { Ok(()) }
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

    #[test]
    fn a_path_is_traced_forward_through_renames() {
        let destination = |list: &Renames, path: &str| {
            list.destination(path.into(), false).map(|path| String::from_utf8(path).unwrap())
        };
        let list = renames(&[("p", "q"), ("x", "q/x"), ("old", "taken")]);
        assert_eq!(destination(&list, "p/a"), Some("q/a".into()));
        assert_eq!(destination(&list, "x"), Some("q/x".into()));
        assert_eq!(destination(&list, "pp/x"), Some("pp/x".into()));
        assert_eq!(destination(&list, "taken/by/another"), None);
        // A file where there is a directory now goes, the directory itself does not.
        assert_eq!(destination(&list, "q"), None);
        assert_eq!(destination(&renames(&[("x", "q/x")]), "q"), None);
        assert_eq!(renames(&[("x", "q/x")]).destination(b"q".to_vec(), true), Some(b"q".to_vec()));
        let swap = Renames::parse(b"X./\0R./a\0T\0R./b\0T./a\0R\0T./b\0").unwrap();
        assert_eq!(destination(&swap, "a/f"), Some("b/f".into()));
        assert_eq!(destination(&swap, "b/f"), Some("a/f".into()));
        assert!(list.lead_below(b"q") && !list.lead_below(b"q/x"));
    }

    #[test]
    fn renames_that_lead_out_of_the_tree_are_damage() {
        for bad in [
            &b"R./a\0T./a/b\0"[..],
            b"R.\0T./x\0",
            b"R./x\0T./\0",
            b"R./../x\0T./y\0",
            b"R./a\0T./b/../../c\0",
            b"R./a\0T./b//c\0",
        ] {
            let error = Renames::parse(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{}", bad.escape_ascii());
        }
    }
}
