//! Makes a tree of entries that come in order: leaves as they fill, inner nodes above them, a root at the end.
//!
//! Where a node ends depends on the keys in it and on its size, and on nothing outside of it: after a change, the borders are
//! soon those that they were. Memory: one open node of each height.

use super::inner::{Child, InnerWriter, Totals};
use super::key::{compare_paths, is_name, is_path, may_follow};
use super::leaf::LeafWriter;
use super::{Entry, Key, Store};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    TREE_HEIGHT_MAX, TREE_NODE_FULL_BYTES, TREE_NODE_ITEMS_MAX, TREE_NODE_ITEMS_MIN, TREE_PATH_BYTES,
};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::FileKind;
use std::cmp::Ordering;

/// One item in so many ends a leaf.
const LEAF_ONE_IN: u64 = 256;
/// One child in so many ends an inner node.
const INNER_ONE_IN: u64 = 64;

/// The root of a finished tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The root node.
    pub id: ChunkId,
    /// How many entries there are.
    pub entries: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Makes a tree of entries that come in order. The first is the record of the root directory, and every directory has a record
/// before anything in it.
pub struct Builder<'s> {
    store: &'s mut dyn Store,
    borders: Borders,
    leaf: LeafWriter,
    /// The key of the entry before; none at the start.
    before: Option<(Vec<u8>, Vec<u8>)>,
    /// The open inner nodes, from height 1 up.
    inner: Vec<InnerWriter>,
    /// Of each height from 0 up: how many nodes are finished, and the last of them.
    finished: Vec<(u64, Child)>,
    /// The bytes of the node that is being stored; kept for its capacity.
    node: Vec<u8>,
    /// A node was not stored: without it there is no tree.
    failed: bool,
}

impl<'s> Builder<'s> {
    /// An empty tree; `nodes_key` is the subkey `nodes`.
    pub fn new(nodes_key: &[u8; 32], store: &'s mut dyn Store) -> Self {
        Builder {
            store,
            borders: Borders::new(nodes_key),
            leaf: LeafWriter::default(),
            before: None,
            inner: Vec::new(),
            finished: Vec::new(),
            node: Vec::new(),
            failed: false,
        }
    }

    /// The store, for what entries keep elsewhere.
    pub fn store(&mut self) -> &mut dyn Store {
        self.store
    }

    /// Adds an entry, whose key is greater than that of the one before.
    ///
    /// # Errors
    /// `Invalid` out of order, or for an entry that cannot be, `Limit` for a path that is too long: that entry is not added. As the
    /// store has it: the tree cannot go on.
    pub fn push(&mut self, key: Key<'_>, entry: &Entry) -> Result<()> {
        self.go_on()?;
        self.check(key, entry)?;
        self.leaf.push(key, entry)?;
        match &mut self.before {
            Some((directory, name)) => {
                if directory != key.directory {
                    directory.clear();
                    directory.extend_from_slice(key.directory);
                }
                name.clear();
                name.extend_from_slice(key.name);
            }
            None => self.before = Some((key.directory.to_vec(), key.name.to_vec())),
        }
        let (count, bytes) = (self.leaf.count(), self.leaf.item_bytes());
        if self.borders.ends(0, count, bytes, key) { self.close_leaf() } else { Ok(()) }
    }

    fn go_on(&self) -> Result<()> {
        if self.failed { Err(Error::invalid("a part was not stored of", "a tree")) } else { Ok(()) }
    }

    fn check(&self, key: Key<'_>, entry: &Entry) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid(what, path(key)));
        let directory = entry.kind == FileKind::Directory;
        if let Some(fault) = entry.fault() {
            return Err(Error::invalid(fault, path(key)).while_doing("cannot store", path(key)));
        }
        if key.directory.len() + key.name.len() > TREE_PATH_BYTES {
            return Err(Error::new(Kind::Limit, "too long a path:").on(path(key)));
        }
        if directory != key.name.is_empty() || !(directory || is_name(key.name)) {
            return wrong("not the key of what it is:");
        }
        let Some((last_directory, last_name)) = &self.before else {
            return if directory && key.directory.is_empty() { Ok(()) } else { wrong("not the root:") };
        };
        if last_directory == key.directory {
            return if key.name > &last_name[..] { Ok(()) } else { wrong("out of order in a tree:") };
        }
        match compare_paths(last_directory, key.directory) {
            Ordering::Less if !directory => wrong("an entry without the record of its directory:"),
            Ordering::Less if !is_path(key.directory, 0) => wrong("not a path:"),
            Ordering::Less if !may_follow(key.directory, last_directory) => {
                wrong("a directory without the record of what it is in:")
            }
            Ordering::Less => Ok(()),
            _ => wrong("out of order in a tree:"),
        }
    }

    fn close_leaf(&mut self) -> Result<()> {
        let (totals, first) = (self.leaf.totals(), self.leaf.first());
        let (directory, name) = (first.directory.to_vec(), first.name.to_vec());
        self.leaf.finish(&mut self.node);
        self.add_node(0, directory, name, totals)
    }

    fn close_inner(&mut self, height: usize) -> Result<()> {
        let (directory, name, totals) = self.inner[height - 1].finish(height as u8, &mut self.node);
        self.add_node(height, directory, name, totals)
    }

    /// Stores the node that has just been written, and adds it to the one above it.
    fn add_node(&mut self, height: usize, directory: Vec<u8>, name: Vec<u8>, totals: Totals) -> Result<()> {
        let id = self.store.put(ChunkKind::Node, &self.node).inspect_err(|_| self.failed = true)?;
        let child = Child { directory, name, id, totals };
        if self.inner.len() == height {
            if height == usize::from(TREE_HEIGHT_MAX) {
                self.failed = true;
                return Err(Error::new(Kind::Limit, "too high a tree"));
            }
            self.inner.push(InnerWriter::default());
        }
        let above = &mut self.inner[height];
        above.push(&child);
        let ends = self.borders.ends(height + 1, above.count(), above.item_bytes(), child.key());
        match self.finished.get_mut(height) {
            Some(finished) => *finished = (finished.0 + 1, child),
            None => self.finished.push((1, child)),
        }
        if ends { self.close_inner(height + 1) } else { Ok(()) }
    }

    /// Stores what is left.
    ///
    /// # Errors
    /// `Invalid` without any entry; as the store has it.
    pub fn finish(mut self) -> Result<Root> {
        self.go_on()?;
        if self.leaf.count() > 0 {
            self.close_leaf()?;
        }
        for height in 0.. {
            match self.finished.get(height) {
                // The only node of its height has everything below it.
                Some((1, Child { id, totals, .. })) => {
                    let Totals { entries, files, bytes } = *totals;
                    return Ok(Root { id: *id, entries, files, bytes });
                }
                Some(_) if self.inner[height].count() > 0 => self.close_inner(height + 1)?,
                Some(_) => (),
                None => break,
            }
        }
        Err(Error::invalid("nothing in", "a tree"))
    }
}

/// Where nodes end.
pub(super) struct Borders {
    key: [u8; 32],
    hashed: Vec<u8>,
}

impl Borders {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Borders { key: *key, hashed: Vec::new() }
    }

    /// Whether a node ends after the item with this key, its last.
    pub(super) fn ends(&mut self, height: usize, count: usize, bytes: usize, key: Key<'_>) -> bool {
        if count >= TREE_NODE_ITEMS_MAX || bytes >= TREE_NODE_FULL_BYTES {
            return true;
        }
        if count < TREE_NODE_ITEMS_MIN {
            return false;
        }
        self.hashed.clear();
        self.hashed.push(height as u8);
        self.hashed.extend_from_slice(key.directory);
        self.hashed.push(0);
        self.hashed.extend_from_slice(key.name);
        let hash = blake3::keyed_hash(&self.key, &self.hashed);
        let mut head = [0; 8];
        head.copy_from_slice(&hash.as_bytes()[..8]);
        let one_in = if height == 0 { LEAF_ONE_IN } else { INNER_ONE_IN };
        u64::from_le_bytes(head) < (u64::MAX / one_in) + 1
    }
}

/// A key as a path for people.
fn path(key: Key<'_>) -> String {
    let joined = [key.directory, key.name].join(&b'/');
    String::from_utf8_lossy(&joined).trim_matches('/').to_owned()
}
