//! Makes leaves: entries of one go in, the bytes of a node come out.

use super::super::entry::{Content, Entry, Kept, Known, Owner};
use super::super::inner::Totals;
use super::super::key::{Key, shared};
use super::super::{kept, varint};
use super::*;
use crate::error::{Error, Result};
use crate::repository::vault::ChunkId;
use crate::time::FileTime;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A leaf that is being made. Entries come in order, checked; an entry that is no directory comes after that of its directory
/// or another entry of it, unless it is the first.
#[derive(Default)]
pub struct LeafWriter {
    items: Vec<u8>,
    count: usize,
    totals: Totals,
    chunks: Table<ChunkId, BuildHasherDefault<IdHasher>>,
    owners: Table<Arc<Owner>>,
    last_owner: Option<(Arc<Owner>, u64)>,
    /// Where the first item is.
    path: Vec<u8>,
    first_name: Vec<u8>,
    directory: Vec<u8>,
    name: Vec<u8>,
    before: Before,
}

/// What an item is written against.
#[derive(Default)]
struct Before {
    mtime: i64,
    ctime: i64,
    inode: u64,
    slice: u64,
    slice_end: u64,
}

/// Things in the order of their first use, as bytes, and the number of each.
struct Table<K, S = std::hash::RandomState> {
    numbers: HashMap<K, u64, S>,
    bytes: Vec<u8>,
}

impl<K, S: Default> Default for Table<K, S> {
    fn default() -> Self {
        Table { numbers: HashMap::default(), bytes: Vec::new() }
    }
}

impl<K, S> Table<K, S> {
    fn clear(&mut self) {
        self.numbers.clear();
        self.bytes.clear();
    }
}

/// Ids are hashes already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl LeafWriter {
    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the entries and of what they added to the tables.
    pub fn item_bytes(&self) -> usize {
        self.items.len() + self.chunks.bytes.len() + self.owners.bytes.len()
    }

    /// What it holds.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The key of the first entry.
    pub fn first(&self) -> Key<'_> {
        Key { directory: &self.path, name: &self.first_name }
    }

    /// Adds an entry without fault.
    ///
    /// # Errors
    /// `Invalid` for a socket, which is a fault.
    pub fn push(&mut self, key: Key<'_>, entry: &Entry) -> Result<()> {
        let kind = KINDS.iter().position(|kind| *kind == entry.kind);
        let kind = kind.ok_or_else(|| Error::invalid("a tree holds no", "sockets"))?;
        let number = (kind as u8, flags(entry));
        self.items.extend_from_slice(&[number.0, number.1]);
        self.push_name(key, entry.kind);
        varint::put(&mut self.items, u64::from(entry.mode));
        let owner = self.owner(&entry.owner);
        varint::put(&mut self.items, owner);
        let before = &mut self.before;
        push_time(&mut self.items, &mut before.mtime, entry.mtime);
        push_time(&mut self.items, &mut before.ctime, entry.ctime);
        varint::put_signed(&mut self.items, entry.inode.wrapping_sub(before.inode) as i64);
        before.inode = entry.inode;
        match entry.kind {
            FileKind::File => self.push_content(entry),
            FileKind::Symlink => varint::put_bytes(&mut self.items, &entry.target),
            FileKind::CharDevice | FileKind::BlockDevice => {
                varint::put(&mut self.items, u64::from(entry.rdev.0));
                varint::put(&mut self.items, u64::from(entry.rdev.1));
            }
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => (),
        }
        if let Some(names) = entry.names {
            varint::put(&mut self.items, names.device);
            varint::put(&mut self.items, names.links);
        }
        self.push_kept(entry);
        self.push_extension(entry.known);
        self.count += 1;
        self.totals.add_entry(entry);
        Ok(())
    }

    fn push_name(&mut self, key: Key<'_>, kind: FileKind) {
        if self.count == 0 {
            set(&mut self.path, key.directory);
            set(&mut self.directory, key.directory);
            set(&mut self.first_name, key.name);
            self.name.clear();
        }
        let (before, now) = match kind {
            FileKind::Directory => (&mut self.directory, key.directory),
            _ => (&mut self.name, key.name),
        };
        let same = shared(before, now);
        varint::put(&mut self.items, same as u64);
        varint::put_bytes(&mut self.items, &now[same..]);
        before.truncate(same);
        before.extend_from_slice(&now[same..]);
        if kind == FileKind::Directory {
            self.name.clear();
        }
    }

    fn push_content(&mut self, entry: &Entry) {
        varint::put(&mut self.items, entry.size_bytes);
        match &entry.content {
            Content::None => varint::put(&mut self.items, FORM_NONE),
            Content::Slice { chunk, offset } => {
                let number = self.chunk(chunk);
                let (items, before) = (&mut self.items, &mut self.before);
                // Behind the slice before; the first of a node starts from the head of the first chunk.
                let follows = number == before.slice && *offset == before.slice_end;
                varint::put(items, FORM_SLICE);
                varint::put_signed(items, number.wrapping_sub(before.slice) as i64);
                varint::put(items, if follows { 0 } else { offset + 1 });
                before.slice = number;
                before.slice_end = offset + entry.size_bytes;
            }
            Content::Rows { depth, rows } => {
                varint::put(&mut self.items, FORM_ROWS + u64::from(*depth));
                varint::put(&mut self.items, rows.len() as u64);
                for (chunk, bytes) in rows {
                    let number = self.chunk(chunk);
                    varint::put(&mut self.items, number);
                    varint::put(&mut self.items, *bytes);
                }
            }
        }
    }

    fn push_kept(&mut self, entry: &Entry) {
        match &entry.xattrs {
            Kept::None => (),
            Kept::Here(xattrs) => kept::write_xattrs(&mut self.items, xattrs),
            Kept::Elsewhere(id) => self.push_chunk(id),
        }
        match &entry.holes {
            Kept::None => (),
            Kept::Here(holes) => kept::write_holes(&mut self.items, holes),
            Kept::Elsewhere(id) => self.push_chunk(id),
        }
    }

    fn push_extension(&mut self, known: Known) {
        let what = match known {
            Known::All => return,
            Known::Attributes => UNREAD_ATTRIBUTES,
            Known::Name => UNREAD_NAME,
        };
        let mut fields = Vec::with_capacity(3);
        varint::put(&mut fields, TAG_UNREAD);
        varint::put_bytes(&mut fields, &[what]);
        varint::put_bytes(&mut self.items, &fields);
    }

    fn push_chunk(&mut self, id: &ChunkId) {
        let number = self.chunk(id);
        varint::put(&mut self.items, number);
    }

    fn chunk(&mut self, id: &ChunkId) -> u64 {
        let next = self.chunks.numbers.len() as u64;
        *self.chunks.numbers.entry(*id).or_insert_with(|| {
            self.chunks.bytes.extend_from_slice(&id.0);
            next
        })
    }

    fn owner(&mut self, owner: &Arc<Owner>) -> u64 {
        if let Some((last, number)) = &self.last_owner
            && Arc::ptr_eq(last, owner)
        {
            return *number;
        }
        let next = self.owners.numbers.len() as u64;
        let number = *self.owners.numbers.entry(Arc::clone(owner)).or_insert_with(|| {
            let bytes = &mut self.owners.bytes;
            varint::put(bytes, u64::from(owner.uid));
            varint::put(bytes, u64::from(owner.gid));
            varint::put_bytes(bytes, &owner.user);
            varint::put_bytes(bytes, &owner.group);
            next
        });
        self.last_owner = Some((Arc::clone(owner), number));
        number
    }

    /// Writes the node over `out`, and starts anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[VERSION, 0]);
        varint::put(out, self.count as u64);
        varint::put(out, self.chunks.numbers.len() as u64);
        out.extend_from_slice(&self.chunks.bytes);
        varint::put(out, self.owners.numbers.len() as u64);
        out.extend_from_slice(&self.owners.bytes);
        varint::put_bytes(out, &self.path);
        out.extend_from_slice(&self.items);
        self.items.clear();
        self.count = 0;
        self.totals = Totals::default();
        self.chunks.clear();
        self.owners.clear();
        self.last_owner = None;
        self.before = Before::default();
    }
}

fn flags(entry: &Entry) -> u8 {
    let kept = |here, elsewhere, is: (bool, bool)| {
        if is.0 {
            here
        } else if is.1 {
            elsewhere
        } else {
            0
        }
    };
    let xattrs = (matches!(entry.xattrs, Kept::Here(_)), matches!(entry.xattrs, Kept::Elsewhere(_)));
    let holes = (matches!(entry.holes, Kept::Here(_)), matches!(entry.holes, Kept::Elsewhere(_)));
    let mut flags = kept(XATTRS_HERE, XATTRS_ELSEWHERE, xattrs) | kept(HOLES_HERE, HOLES_ELSEWHERE, holes);
    flags |= if entry.racy { RACY } else { 0 };
    flags |= if entry.whole { 0 } else { NOT_WHOLE };
    flags |= if entry.is_unread() { EXTENSION } else { 0 };
    flags | if entry.names.is_some() { NAMES } else { 0 }
}

fn push_time(items: &mut Vec<u8>, before: &mut i64, time: FileTime) {
    varint::put_signed(items, time.seconds.wrapping_sub(*before));
    varint::put(items, u64::from(time.nanoseconds));
    *before = time.seconds;
}

fn set(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}
