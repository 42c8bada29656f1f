//! Inner nodes: children by the first key below them, with what each holds.

use super::entry::Entry;
use super::key::{Key, is_name, is_path, shared};
use super::leaf::VERSION;
use super::varint::{self, Fields, damaged};
use crate::error::Result;
use crate::limits::TREE_PATH_BYTES;
use crate::repository::vault::ChunkId;
use crate::tree::attributes::FileKind;

/// The fewest bytes of a child.
const CHILD_LEAST_BYTES: usize = 38;

/// How much a tree or a part of it holds. The numbers stop at the largest that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// How many of them are files that were read.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Totals {
    /// Counts an entry.
    pub fn add_entry(&mut self, entry: &Entry) {
        let file = entry.kind == FileKind::File && !entry.is_unread();
        let bytes = if file { entry.size_bytes } else { 0 };
        self.add(Totals { entries: 1, files: u64::from(file), bytes });
    }

    /// Counts all of a part.
    pub fn add(&mut self, part: Totals) {
        self.entries = self.entries.saturating_add(part.entries);
        self.files = self.files.saturating_add(part.files);
        self.bytes = self.bytes.saturating_add(part.bytes);
    }
}

/// A node, as the one above it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Directory of the first key below it.
    pub directory: Vec<u8>,
    /// Name of the first key below it.
    pub name: Vec<u8>,
    /// The node.
    pub id: ChunkId,
    /// What is below it.
    pub totals: Totals,
}

impl Child {
    /// The first key below it.
    pub fn key(&self) -> Key<'_> {
        Key { directory: &self.directory, name: &self.name }
    }
}

/// An inner node that is being made. Children come in order.
#[derive(Default)]
pub struct InnerWriter {
    items: Vec<u8>,
    count: usize,
    first: Option<(Vec<u8>, Vec<u8>)>,
    directory: Vec<u8>,
    totals: Totals,
}

impl InnerWriter {
    /// How many children it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the children.
    pub fn item_bytes(&self) -> usize {
        self.items.len()
    }

    /// Adds a child.
    pub fn push(&mut self, child: &Child) {
        let same = shared(&self.directory, &child.directory);
        varint::put(&mut self.items, same as u64);
        varint::put_bytes(&mut self.items, &child.directory[same..]);
        varint::put_bytes(&mut self.items, &child.name);
        self.items.extend_from_slice(&child.id.0);
        for number in [child.totals.entries, child.totals.files, child.totals.bytes] {
            varint::put(&mut self.items, number);
        }
        self.directory.truncate(same);
        self.directory.extend_from_slice(&child.directory[same..]);
        self.first.get_or_insert_with(|| (child.directory.clone(), child.name.clone()));
        self.totals.add(child.totals);
        self.count += 1;
    }

    /// Writes the node over `out` and starts anew; gives the first key and what is below.
    pub fn finish(&mut self, height: u8, out: &mut Vec<u8>) -> (Vec<u8>, Vec<u8>, Totals) {
        out.clear();
        out.extend_from_slice(&[VERSION, height]);
        varint::put(out, self.count as u64);
        out.extend_from_slice(&self.items);
        let InnerWriter { first, totals, .. } = std::mem::take(self);
        let (directory, name) = first.unwrap_or_default();
        (directory, name, totals)
    }
}

/// Reads the children of an inner node: `bytes` is the node, whose version and height are known.
///
/// # Errors
/// `Damaged`.
pub fn children(bytes: &[u8]) -> Result<Vec<Child>> {
    let mut fields = Fields::new(bytes, 2);
    let count = fields.count(CHILD_LEAST_BYTES)?;
    let mut children: Vec<Child> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = children.last();
        let child = child(&mut fields, before.map_or(&[], |before| &before.directory))?;
        if before.is_some_and(|before| before.key() >= child.key()) {
            return Err(damaged("children out of order in"));
        }
        children.push(child);
    }
    if children.is_empty() {
        return Err(damaged("no children in"));
    }
    fields.end()?;
    Ok(children)
}

fn child(fields: &mut Fields<'_>, before: &[u8]) -> Result<Child> {
    let shared = fields.number_up_to(before.len() as u64)? as usize;
    let rest = fields.bytes(TREE_PATH_BYTES)?;
    let name = fields.bytes(TREE_PATH_BYTES)?.to_vec();
    let directory = [&before[..shared], rest].concat();
    let fits = directory.len() + name.len() <= TREE_PATH_BYTES;
    if !fits || !is_path(&directory, 0) || !(name.is_empty() || is_name(&name)) {
        return Err(damaged("no name in"));
    }
    let id = fields.id()?;
    let totals = Totals { entries: fields.number()?, files: fields.number()?, bytes: fields.number()? };
    Ok(Child { directory, name, id, totals })
}
