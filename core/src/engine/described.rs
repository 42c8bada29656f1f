//! Entries of chains as those who look into a backup see them: what is known of each, without where its content is; and a tree of
//! them in memory, for streams that tell them in another order.
//!
//! Invariant: there are at most [`CHAIN_TREE_ENTRIES`] entries in such a tree.

use super::Found;
use super::dedup::tree::{Entry, Known, Names, Owner};
use crate::error::{Error, Kind, Result};
use crate::limits::CHAIN_TREE_ENTRIES;
use crate::tree::attributes::{Attributes, FileKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Makes such entries. Neighbours mostly have one owner, which they share.
#[derive(Default)]
pub(super) struct Describer {
    owner: Arc<Owner>,
}

impl Describer {
    /// An entry of this kind with these attributes; who knows more of it adds that.
    pub(super) fn entry(&mut self, kind: FileKind, attributes: &Attributes) -> Entry {
        let Attributes { mode, uid, gid, user, group, mtime, ctime, .. } = attributes;
        let same = (self.owner.uid, self.owner.gid) == (*uid, *gid)
            && (&self.owner.user, &self.owner.group) == (user, group);
        if !same {
            let (user, group) = (user.clone(), group.clone());
            self.owner = Arc::new(Owner { uid: *uid, gid: *gid, user, group });
        }
        Entry {
            mode: *mode,
            owner: Arc::clone(&self.owner),
            mtime: *mtime,
            ctime: ctime.unwrap_or_default(),
            ..Entry::empty(kind)
        }
    }
}

/// What is in a directory, by its names.
type Directory = BTreeMap<Vec<u8>, Entry>;

/// A tree in memory. Of names of one inode `links` is a number that they have in common, and no others have.
#[derive(Default)]
pub(super) struct Gathered {
    root: Option<Entry>,
    /// By the paths of the directories.
    directories: HashMap<Vec<u8>, Directory>,
    entries: usize,
}

impl Gathered {
    /// The entry at a path.
    pub(super) fn get(&self, path: &[u8]) -> Option<&Entry> {
        match split(path) {
            Some((parent, name)) => self.directories.get(parent)?.get(name),
            None => self.root.as_ref(),
        }
    }

    /// Puts an entry where it belongs. What was there goes, and if only one of both is a directory, what was in it. A directory above
    /// that is not there is known by name.
    ///
    /// # Errors
    /// `Limit`.
    pub(super) fn put(&mut self, path: &[u8], entry: Entry) -> Result<()> {
        // From the nearest directory that is there down to the one it is in.
        let mut absent = Vec::new();
        let mut above = split(path).map(|(parent, _)| parent);
        while let Some(parent) = above.filter(|parent| !parent.is_empty()) {
            if self.get(parent).is_some_and(|there| there.kind == FileKind::Directory) {
                break;
            }
            absent.push(parent);
            above = split(parent).map(|(parent, _)| parent);
        }
        for parent in absent.into_iter().rev() {
            self.put_below(parent, Entry::known_by_name(FileKind::Directory))?;
        }
        self.put_below(path, entry)
    }

    fn put_below(&mut self, path: &[u8], entry: Entry) -> Result<()> {
        let Some((parent, name)) = split(path) else {
            self.root = Some(entry);
            return Ok(());
        };
        let was_directory = self.get(path).is_some_and(|there| there.kind == FileKind::Directory);
        if was_directory && entry.kind != FileKind::Directory {
            self.remove_below(path);
        }
        let directory = match self.directories.get_mut(parent) {
            Some(directory) => directory,
            None => self.directories.entry(parent.to_vec()).or_default(),
        };
        if directory.insert(name.to_vec(), entry).is_none() {
            self.entries += 1;
        }
        if self.entries > CHAIN_TREE_ENTRIES {
            return Err(Error::new(Kind::Limit, "more entries than can be remembered:")
                .on(CHAIN_TREE_ENTRIES.to_string())
                .hint("restore the backup, or a part of it, to look into it"));
        }
        Ok(())
    }

    /// Removes what is in a directory and not to stay.
    pub(super) fn retain(&mut self, path: &[u8], stays: &mut dyn FnMut(&[u8], &Entry) -> bool) {
        let Some(directory) = self.directories.get_mut(path) else { return };
        let (before, mut gone) = (directory.len(), Vec::new());
        directory.retain(|name, entry| {
            let stays = stays(name, entry);
            if !stays && entry.kind == FileKind::Directory {
                gone.push(join(path, name));
            }
            stays
        });
        self.entries -= before - directory.len();
        gone.iter().for_each(|path| self.remove_below(path));
    }

    fn remove_below(&mut self, path: &[u8]) {
        let mut left = vec![path.to_vec()];
        while let Some(path) = left.pop() {
            let Some(directory) = self.directories.remove(&path) else { continue };
            self.entries -= directory.len();
            let below = directory.into_iter().filter(|(_, entry)| entry.kind == FileKind::Directory);
            left.extend(below.map(|(name, _)| join(&path, &name)));
        }
    }

    /// Puts every entry where `place` says, or nowhere.
    ///
    /// # Errors
    /// `Limit`.
    pub(super) fn relocate(
        &mut self,
        mut place: impl FnMut(Vec<u8>, &Entry) -> Option<Vec<u8>>,
    ) -> Result<()> {
        self.entries = 0;
        for (path, directory) in std::mem::take(&mut self.directories) {
            for (name, entry) in directory {
                let Some(place) = place(join(&path, &name), &entry) else { continue };
                // A directory that is known by name may only stand for what comes later, or has come.
                if entry.known == Known::Name && self.get(&place).is_some() {
                    continue;
                }
                self.put(&place, entry)?;
            }
        }
        Ok(())
    }

    /// Hands out the tree: of each directory itself, its other entries, and what is in its sub-directories.
    ///
    /// # Errors
    /// What `found` fails with.
    pub(super) fn hand_out(self, found: Found<'_>) -> Result<()> {
        let Gathered { root, directories, .. } = self;
        let mut links: HashMap<u64, u64> = HashMap::new();
        for names in directories.values().flat_map(BTreeMap::values).filter_map(|entry| entry.names) {
            *links.entry(names.links).or_default() += 1;
        }
        let mut left = vec![(Vec::new(), root.unwrap_or_else(Entry::made_up_root))];
        while let Some((path, entry)) = left.pop() {
            found(&path, &entry)?;
            let mut below = Vec::new();
            for (name, entry) in directories.get(&path).into_iter().flatten() {
                let place = join(&path, name);
                if entry.kind == FileKind::Directory {
                    below.push((place, entry.clone()));
                    continue;
                }
                let count = |names: Names| links.get(&names.links).copied().unwrap_or(1);
                let names = entry.names.map(|names| Names { links: count(names), ..names });
                found(&place, &Entry { names, ..entry.clone() })?;
            }
            left.extend(below.into_iter().rev());
        }
        Ok(())
    }
}

/// `parent/name`, where the parent may be the root.
fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// The path without its last component, and that component; `None` for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}
