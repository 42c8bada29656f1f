//! Goes through a tree in order, and forward to a key.
//!
//! A [`Walker`] stands before a node that is not read yet, or at an entry: so whoever compares two trees can pass over nodes
//! unread. A [`Cursor`] reads every node it comes to.
//!
//! What is checked: heights fall by one, so that reading ends; a node begins with the key and holds what the one above it says;
//! keys only grow, and every directory that is come to in order has been preceded by the one it is in.

use super::Chunks;
use super::entry::Entry;
use super::inner::{Child, Totals, children};
use super::key::{Key, may_follow};
use super::leaf::{LeafReader, Owners, VERSION};
use super::varint::damaged;
use crate::error::{Error, Kind, Result};
use crate::limits::{TREE_HEIGHT_MAX, TREE_NODE_BYTES};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::FileKind;

/// Where a walker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Before a node that is not read yet.
    Node,
    /// At an entry.
    Item,
    /// At what is broken: it can only be passed over.
    Broken,
    /// Behind everything.
    End,
}

/// An inner node on the way from the root to here.
struct Level {
    height: u8,
    children: Vec<Child>,
    at: usize,
}

impl Level {
    fn child(&self) -> &Child {
        &self.children[self.at]
    }
}

/// Goes through a tree; nodes are read or passed over as the caller likes.
pub(super) struct Walker<'c> {
    chunks: &'c dyn Chunks,
    owners: Owners,
    levels: Vec<Level>,
    leaf: Option<LeafReader>,
    entry: Entry,
    head: Head,
    /// The directory in which the leaf before ended, when that was read to its end.
    directory_before: Option<Vec<u8>>,
}

impl<'c> Walker<'c> {
    /// At the root's first child or entry.
    pub fn new(chunks: &'c dyn Chunks, root: &ChunkId) -> Result<Self> {
        let mut walker = Walker {
            chunks,
            owners: Owners::default(),
            levels: Vec::new(),
            leaf: None,
            entry: Entry::made_up_root(),
            head: Head::Node,
            directory_before: None,
        };
        let (height, bytes) = read_node(chunks, root)?;
        walker.enter(height, bytes).map_err(|error| in_node(error, root))?;
        let first = match walker.head {
            Head::Item => walker.leaf.as_ref().map(LeafReader::key),
            _ => walker.levels.last().map(|level| level.child().key()),
        };
        match first {
            Some(Key { directory: b"", name: b"" }) => Ok(walker),
            _ => Err(in_node(damaged("a tree without its root directory in"), root)),
        }
    }

    /// What the whole tree holds; a tree of one leaf is read for it.
    pub fn totals(mut self) -> Result<Totals> {
        let mut totals = Totals::default();
        if let Some(root) = self.levels.first() {
            root.children.iter().for_each(|child| totals.add(child.totals));
            return Ok(totals);
        }
        while self.head == Head::Item {
            totals.add_entry(&self.entry);
            self.step()?;
        }
        Ok(totals)
    }

    /// Where it stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The unread node it stands before.
    pub fn node(&self) -> Option<(Key<'_>, u8, &ChunkId)> {
        let level = self.levels.last().filter(|_| self.head == Head::Node)?;
        Some((level.child().key(), level.height - 1, &level.child().id))
    }

    /// The entry it stands at.
    pub fn item(&self) -> Option<(Key<'_>, &Entry)> {
        let leaf = self.leaf.as_ref().filter(|_| self.head == Head::Item)?;
        Some((leaf.key(), &self.entry))
    }

    /// Reads the node it stands before, and stands at its first child or entry.
    pub fn open(&mut self) -> Result<()> {
        let Some(level) = self.levels.last() else { return Err(broken()) };
        let (height, id) = (level.height, level.child().id);
        let result = read_node(self.chunks, &id).and_then(|(found, bytes)| {
            if found + 1 != height {
                return Err(damaged("a wrong height of"));
            }
            self.enter(found, bytes)
        });
        self.settle(result).map_err(|error| in_node(error, &id))
    }

    /// Moves behind the entry or the unread or broken node it stands at.
    pub fn step(&mut self) -> Result<()> {
        let result = match (self.head, &mut self.leaf) {
            (Head::End, _) => Ok(()),
            (Head::Item, Some(leaf)) => match leaf.next(&mut self.entry) {
                // At each, not only at the last: what is given out must never be behind what comes after a leaf that is passed over.
                Ok(true) if self.is_before_next(self.leaf.as_ref().map(LeafReader::key)) => Ok(()),
                Ok(true) => Err(damaged("not what the node above says:")),
                Ok(false) => self.leave(),
                Err(error) => Err(error),
            },
            _ => {
                self.pass();
                Ok(())
            }
        };
        self.settle(result)
    }

    /// Goes on behind the current node without reading the rest of it.
    fn pass(&mut self) {
        self.leaf = None;
        self.directory_before = None;
        self.climb();
    }

    /// What failed stays failed until it is passed over.
    fn settle(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.head = Head::Broken;
        }
        result
    }

    fn enter(&mut self, height: u8, bytes: Vec<u8>) -> Result<()> {
        let child = self.levels.last().map(Level::child);
        if height > 0 {
            let children = children(&bytes)?;
            let mut totals = Totals::default();
            children.iter().for_each(|child| totals.add(child.totals));
            let fits = |child: &Child| child.key() == children[0].key() && child.totals == totals;
            let last = children.last().map(Child::key);
            if !child.is_none_or(fits) || !self.is_before_next(last) {
                return Err(damaged("not what the node above says:"));
            }
            self.levels.push(Level { height, children, at: 0 });
            self.head = Head::Node;
            return Ok(());
        }
        let mut leaf = LeafReader::open(bytes, &mut self.owners)?;
        leaf.next(&mut self.entry)?;
        let key = leaf.key();
        if child.is_some_and(|child| child.key() != key) {
            return Err(damaged("not what the node above says:"));
        }
        let fits = |before: &Vec<u8>| match self.entry.kind {
            FileKind::Directory => may_follow(key.directory, before),
            _ => before == key.directory,
        };
        if !self.directory_before.as_ref().is_none_or(fits) {
            return Err(damaged("an entry without the record of its directory in"));
        }
        self.directory_before = None;
        self.leaf = Some(leaf);
        self.head = Head::Item;
        Ok(())
    }

    /// Checks the leaf that was read to its end, and goes on behind it.
    fn leave(&mut self) -> Result<()> {
        let Some(leaf) = self.leaf.take() else { return Err(broken()) };
        let promised = self.levels.last().map(|level| level.child().totals);
        if promised.is_some_and(|promised| promised != leaf.totals())
            || !self.is_before_next(Some(leaf.key()))
        {
            return Err(damaged("not what the node above says:"));
        }
        self.directory_before = Some(leaf.key().directory.to_vec());
        self.climb();
        Ok(())
    }

    /// Whether a key is less than the first behind the current node.
    fn is_before_next(&self, key: Option<Key<'_>>) -> bool {
        let next = self.levels.iter().rev().find_map(|level| level.children.get(level.at + 1));
        next.is_none_or(|next| key.is_some_and(|key| key < next.key()))
    }

    fn climb(&mut self) {
        while let Some(level) = self.levels.last_mut() {
            level.at += 1;
            if level.at < level.children.len() {
                self.head = Head::Node;
                return;
            }
            self.levels.pop();
        }
        self.head = Head::End;
    }

    /// Moves to the last known node that may hold `key`, when that is ahead.
    fn jump(&mut self, key: Key<'_>) {
        let ahead = |level: &Level| level.children.get(level.at + 1).is_some_and(|next| next.key() <= key);
        let Some(depth) = self.levels.iter().position(ahead) else { return };
        let level = &mut self.levels[depth];
        level.at += level.children[level.at + 1..].partition_point(|child| child.key() <= key);
        self.levels.truncate(depth + 1);
        self.leaf = None;
        self.directory_before = None;
        self.head = Head::Node;
    }

    /// Moves to the first entry, or unread node with nothing but such entries, whose key is not less than `key`.
    pub fn seek(&mut self, key: Key<'_>) -> Result<()> {
        // Mostly it is this entry or the next.
        for _ in 0..2 {
            match self.item() {
                Some((at, _)) if at < key => self.step()?,
                Some(_) => return Ok(()),
                None => break,
            }
        }
        loop {
            self.jump(key);
            match self.head {
                Head::Item if self.item().is_some_and(|(at, _)| at < key) => self.step()?,
                Head::Node if self.node().is_some_and(|(at, ..)| at < key) => self.open()?,
                Head::Item if !self.is_before_next(self.item().map(|(at, _)| at)) => {
                    return self.settle(Err(damaged("not what the node above says:")));
                }
                Head::Item | Head::Node | Head::End => return Ok(()),
                Head::Broken => return Err(broken()),
            }
        }
    }
}

/// The height of a node, and its bytes.
fn read_node(chunks: &dyn Chunks, id: &ChunkId) -> Result<(u8, Vec<u8>)> {
    let bytes = chunks.read(ChunkKind::Node, id)?;
    match bytes[..] {
        [VERSION, height, ..] if height <= TREE_HEIGHT_MAX && bytes.len() <= TREE_NODE_BYTES => {
            Ok((height, bytes))
        }
        [version, ..] if version != VERSION => {
            Err(Error::new(Kind::Unsupported, "a newer version wrote the node").on(id.to_string()))
        }
        _ => Err(damaged("a wrong height or length of")),
    }
}

fn in_node(error: Error, id: &ChunkId) -> Error {
    error.while_doing("cannot read the node", id.to_string())
}

#[cold]
fn broken() -> Error {
    Error::damaged("cannot go on behind what is broken in", "a tree")
}

/// A part of a tree that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Directory of the first key that is lost at most.
    pub directory: Vec<u8>,
    /// Name of the first key that is lost at most.
    pub name: Vec<u8>,
    /// What is lost at most.
    pub totals: Totals,
}

/// A place in a tree, which moves forward.
///
/// Where a node is damaged, [`Cursor::peek`] fails until [`Cursor::skip`] has passed over it: nothing is left out in silence.
pub struct Cursor<'c> {
    walker: Walker<'c>,
    /// The entry the walker stands at has been seen.
    consumed: bool,
}

impl<'c> Cursor<'c> {
    /// At the first entry of the tree with this root.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`, or as the storage has it.
    pub fn new(chunks: &'c dyn Chunks, root: &ChunkId) -> Result<Self> {
        Ok(Cursor { walker: Walker::new(chunks, root)?, consumed: false })
    }

    /// The entry at this place; `None` behind the last one.
    ///
    /// # Errors
    /// As [`Cursor::new`].
    pub fn peek(&mut self) -> Result<Option<(Key<'_>, &Entry)>> {
        if std::mem::take(&mut self.consumed) {
            self.walker.step()?;
        }
        loop {
            match self.walker.head() {
                Head::Node => self.walker.open()?,
                Head::Broken => return Err(broken()),
                Head::Item | Head::End => return Ok(self.walker.item()),
            }
        }
    }

    /// Moves behind the entry that was peeked at last.
    pub fn advance(&mut self) {
        self.consumed = self.walker.head() == Head::Item;
    }

    /// Moves to the first entry whose key is not less than `key`; never backward. Cheap when that is just ahead.
    ///
    /// # Errors
    /// As [`Cursor::new`].
    pub fn seek(&mut self, key: Key<'_>) -> Result<()> {
        if std::mem::take(&mut self.consumed) {
            self.walker.step()?;
        }
        self.walker.seek(key)
    }

    /// Passes over the node in which [`Cursor::peek`] or [`Cursor::seek`] failed, and says what is lost with it at most: entries of
    /// it may have been seen. `None` when nothing has failed.
    pub fn skip(&mut self) -> Option<Lost> {
        if self.walker.head() != Head::Broken {
            return None;
        }
        let lost = self.walker.levels.last().map(Level::child).cloned();
        self.walker.pass();
        let lost = lost.map(|Child { directory, name, totals, .. }| Lost { directory, name, totals });
        Some(lost.unwrap_or(Lost { directory: Vec::new(), name: Vec::new(), totals: Totals::default() }))
    }
}
