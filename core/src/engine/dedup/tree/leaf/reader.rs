//! Reads leaves, an entry at a time.
//!
//! The tables are checked when the leaf is opened, every entry when it is reached: that it has no fault, that it can be where it
//! says it is, and that it comes after the one before.

use super::super::entry::{Content, Entry, Kept, Known, Names, Owner};
use super::super::inner::Totals;
use super::super::kept;
use super::super::key::{Key, compare_paths, is_name, is_path};
use super::super::varint::{Fields, damaged};
use super::*;
use crate::error::{Error, Kind, Result};
use crate::limits::{
    OWNERS_REMEMBERED, TREE_CHUNK_BYTES, TREE_OWNER_BYTES, TREE_PATH_BYTES, TREE_ROWS_DEPTH_MAX,
    TREE_ROWS_MAX,
};
use crate::repository::vault::ChunkId;
use crate::repository::vault::id::ID_BYTES;
use crate::time::FileTime;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

/// The fewest bytes of an owner, and of an item.
const OWNER_LEAST_BYTES: usize = 4;
const ITEM_LEAST_BYTES: usize = 11;

/// Owners that were read, each once in memory.
#[derive(Default)]
pub struct Owners(HashSet<Arc<Owner>>);

impl Owners {
    fn share(&mut self, owner: Owner) -> Arc<Owner> {
        if let Some(known) = self.0.get(&owner) {
            return Arc::clone(known);
        }
        if self.0.len() >= OWNERS_REMEMBERED {
            self.0.clear();
        }
        let owner = Arc::new(owner);
        self.0.insert(Arc::clone(&owner));
        owner
    }
}

/// A leaf that is being read.
pub struct LeafReader {
    bytes: Vec<u8>,
    at: usize,
    count: usize,
    read: usize,
    totals: Totals,
    /// Where the ids begin, and how many there are.
    chunks: (usize, u64),
    owners: Vec<Arc<Owner>>,
    directory: Vec<u8>,
    name: Vec<u8>,
    before: Before,
}

/// What an item is read against.
#[derive(Default)]
struct Before {
    mtime: i64,
    ctime: i64,
    inode: u64,
    slice: u64,
    slice_end: u64,
}

impl LeafReader {
    /// Opens a leaf: `bytes` is the node, whose version and height are known.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn open(bytes: Vec<u8>, owners: &mut Owners) -> Result<Self> {
        let mut fields = Fields::new(&bytes, 2);
        let count = fields.count(ITEM_LEAST_BYTES)?;
        let chunk_count = fields.count(ID_BYTES)?;
        let chunks = (fields.position(), chunk_count as u64);
        fields.take(chunk_count * ID_BYTES)?;
        let owner_count = fields.count(OWNER_LEAST_BYTES)?;
        if count == 0 || owner_count > count {
            return Err(damaged("a wrong number of items in"));
        }
        let owners = (0..owner_count).map(|_| read_owner(&mut fields).map(|owner| owners.share(owner)));
        let owners = owners.collect::<Result<_>>()?;
        let directory = fields.bytes(TREE_PATH_BYTES)?.to_vec();
        if !is_path(&directory, 0) {
            return Err(damaged("no path in"));
        }
        let at = fields.position();
        let (totals, before) = (Totals::default(), Before::default());
        Ok(LeafReader {
            bytes,
            at,
            count,
            read: 0,
            totals,
            chunks,
            owners,
            directory,
            name: Vec::new(),
            before,
        })
    }

    /// The key of the entry that was read last.
    pub fn key(&self) -> Key<'_> {
        Key { directory: &self.directory, name: &self.name }
    }

    /// What was read so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Reads the next entry over `entry`; false at the end.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`. Nothing sensible can be read after that.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool> {
        if self.read == self.count {
            return Ok(false);
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut fields = Fields::new(&bytes, self.at);
        let result = self.read_item(&mut fields, entry);
        self.at = fields.position();
        self.bytes = bytes;
        result.map(|()| true)
    }

    fn read_item(&mut self, fields: &mut Fields<'_>, entry: &mut Entry) -> Result<()> {
        let kind = fields.byte()?;
        let known = KINDS.get(usize::from(kind)).copied();
        entry.kind = known.ok_or_else(|| unsupported("kind", u64::from(kind)))?;
        let flags = fields.byte()?;
        entry.racy = flags & RACY != 0;
        entry.whole = flags & NOT_WHOLE == 0;
        self.read_name(fields, entry.kind)?;
        entry.mode = fields.number_up_to(0o7777)? as u32;
        let owner = fields.number()?;
        let owner = self.owners.get(owner as usize).ok_or_else(|| damaged("an owner that is missing in"))?;
        if !Arc::ptr_eq(owner, &entry.owner) {
            entry.owner = Arc::clone(owner);
        }
        entry.mtime = read_time(fields, &mut self.before.mtime)?;
        entry.ctime = read_time(fields, &mut self.before.ctime)?;
        self.before.inode = self.before.inode.wrapping_add(fields.signed()? as u64);
        entry.inode = self.before.inode;
        self.read_body(fields, entry)?;
        entry.names = match flags & NAMES {
            0 => None,
            _ => Some(Names { device: fields.number()?, links: fields.number()? }),
        };
        self.read_kept(fields, flags, entry)?;
        entry.known = match flags & EXTENSION {
            0 => Known::All,
            _ => read_extension(fields.bytes(usize::MAX)?)?,
        };
        if let Some(fault) = entry.fault() {
            return Err(damaged(fault).while_doing("an entry that cannot be in", "a leaf"));
        }
        self.read += 1;
        self.totals.add_entry(entry);
        if self.read == self.count { fields.end() } else { Ok(()) }
    }

    fn read_name(&mut self, fields: &mut Fields<'_>, kind: FileKind) -> Result<()> {
        let shared = fields.number()?;
        let rest = fields.bytes(TREE_PATH_BYTES)?;
        let directory = kind == FileKind::Directory;
        let before = if directory { &mut self.directory } else { &mut self.name };
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= before.len());
        let shared = shared.ok_or_else(|| damaged("a name against a shorter one in"))?;
        // Only what comes after what both share can put them in order: a longer name, or a greater one.
        let grows = match directory {
            true => compare_paths(&before[shared..], rest) == Ordering::Less,
            false => before[shared..] < *rest,
        };
        if self.read == 0 && directory && (shared != before.len() || !rest.is_empty()) {
            return Err(damaged("a first directory with two paths in"));
        }
        if self.read > 0 && (!grows || (directory && !follows(before, shared, rest))) {
            return Err(damaged("entries out of order in"));
        }
        before.truncate(shared);
        before.extend_from_slice(rest);
        let right = if directory { is_path(before, shared) } else { is_name(before) };
        if directory {
            self.name.clear();
        }
        if !right || self.directory.len() + self.name.len() > TREE_PATH_BYTES {
            return Err(damaged("no name in"));
        }
        Ok(())
    }

    /// What an entry has by its kind.
    fn read_body(&mut self, fields: &mut Fields<'_>, entry: &mut Entry) -> Result<()> {
        entry.size_bytes = 0;
        entry.content = Content::None;
        entry.target.clear();
        entry.rdev = (0, 0);
        match entry.kind {
            FileKind::File => {
                entry.size_bytes = fields.number()?;
                entry.content = self.read_content(fields, entry.size_bytes)?;
            }
            FileKind::Symlink => entry.target.extend_from_slice(fields.bytes(TREE_PATH_BYTES)?),
            FileKind::CharDevice | FileKind::BlockDevice => {
                let mut part = || fields.number_up_to(u64::from(u32::MAX)).map(|number| number as u32);
                entry.rdev = (part()?, part()?);
            }
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => (),
        }
        Ok(())
    }

    fn read_content(&mut self, fields: &mut Fields<'_>, size_bytes: u64) -> Result<Content> {
        match fields.number()? {
            FORM_NONE => Ok(Content::None),
            FORM_SLICE => {
                let number = self.before.slice.wrapping_add(fields.signed()? as u64);
                let offset = match fields.number_up_to(TREE_CHUNK_BYTES)? {
                    0 if number == self.before.slice => self.before.slice_end,
                    0 => return Err(damaged("a slice that follows none in")),
                    offset => offset - 1,
                };
                let chunk = self.chunk(fields, number)?;
                self.before.slice = number;
                // What is too long is found to be a fault.
                self.before.slice_end = offset.saturating_add(size_bytes);
                Ok(Content::Slice { chunk, offset })
            }
            form if form - FORM_ROWS <= u64::from(TREE_ROWS_DEPTH_MAX) => {
                let count = fields.count(2)?;
                if count > TREE_ROWS_MAX {
                    return Err(damaged("too many chunks in an entry of"));
                }
                let mut rows = Vec::with_capacity(count);
                for _ in 0..count {
                    let number = fields.number()?;
                    rows.push((self.chunk(fields, number)?, fields.number()?));
                }
                Ok(Content::Rows { depth: (form - FORM_ROWS) as u8, rows })
            }
            form => Err(unsupported("form of content", form)),
        }
    }

    fn read_kept(&mut self, fields: &mut Fields<'_>, flags: u8, entry: &mut Entry) -> Result<()> {
        entry.xattrs = match (flags & XATTRS_HERE != 0, flags & XATTRS_ELSEWHERE != 0) {
            (false, false) => Kept::None,
            (true, false) => Kept::Here(kept::read_xattrs(fields)?),
            (false, true) => Kept::Elsewhere(self.next_chunk(fields)?),
            (true, true) => return Err(damaged("attributes in two places in")),
        };
        entry.holes = match (flags & HOLES_HERE != 0, flags & HOLES_ELSEWHERE != 0) {
            (false, false) => Kept::None,
            (true, false) => Kept::Here(kept::read_holes(fields)?),
            (false, true) => Kept::Elsewhere(self.next_chunk(fields)?),
            (true, true) => return Err(damaged("holes in two places in")),
        };
        Ok(())
    }

    fn next_chunk(&self, fields: &mut Fields<'_>) -> Result<ChunkId> {
        let number = fields.number()?;
        self.chunk(fields, number)
    }

    /// The chunk with this number.
    fn chunk(&self, fields: &Fields<'_>, number: u64) -> Result<ChunkId> {
        if number >= self.chunks.1 {
            return Err(damaged("a chunk that is missing in"));
        }
        fields.elsewhere(self.chunks.0 + number as usize * ID_BYTES).id()
    }
}

/// Whether the parent of a directory (the first `shared` bytes of the one before, and `rest`) has been there: it is the one
/// before, or holds it.
fn follows(before: &[u8], shared: usize, rest: &[u8]) -> bool {
    let Some(slash) = rest.iter().rposition(|byte| *byte == b'/') else { return true };
    let same = before[shared..].get(..slash) == Some(&rest[..slash]);
    same && matches!(before.get(shared + slash), None | Some(b'/'))
}

fn unsupported(what: &str, number: u64) -> Error {
    Error::new(Kind::Unsupported, format!("{what} {number} in a tree, which a newer version wrote"))
}

fn read_owner(fields: &mut Fields<'_>) -> Result<Owner> {
    let mut number = || fields.number_up_to(u64::from(u32::MAX)).map(|number| number as u32);
    let (uid, gid) = (number()?, number()?);
    let user = fields.bytes(TREE_OWNER_BYTES)?.to_vec();
    Ok(Owner { uid, gid, user, group: fields.bytes(TREE_OWNER_BYTES)?.to_vec() })
}

fn read_time(fields: &mut Fields<'_>, before: &mut i64) -> Result<FileTime> {
    *before = before.wrapping_add(fields.signed()?);
    Ok(FileTime { seconds: *before, nanoseconds: fields.number_up_to(999_999_999)? as u32 })
}

/// Fields by ascending tags. Of those that a newer version added, even ones may be ignored.
fn read_extension(bytes: &[u8]) -> Result<Known> {
    let mut fields = Fields::new(bytes, 0);
    let mut known = Known::All;
    let mut before = None;
    while fields.left() > 0 {
        let tag = fields.number()?;
        if before.replace(tag).is_some_and(|before| before >= tag) {
            return Err(damaged("fields out of order in"));
        }
        let value = fields.bytes(usize::MAX)?;
        match tag {
            TAG_UNREAD => {
                known = match value {
                    [UNREAD_ATTRIBUTES] => Known::Attributes,
                    [UNREAD_NAME] => Known::Name,
                    [value] => return Err(unsupported("sort of what was not read", u64::from(*value))),
                    _ => return Err(damaged("a wrong length of a field in")),
                }
            }
            tag if !tag.is_multiple_of(2) => return Err(unsupported("field", tag)),
            _ => (),
        }
    }
    Ok(known)
}
