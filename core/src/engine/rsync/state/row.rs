//! The items of a tree, as bytes and back. Foreign bytes: what is not as the format says is `Damaged`.
//!
//! Invariant: a name that was read is one component, and a path is made of such; neither leads out of the tree.

use super::super::stream::Content;
use crate::engine::dedup::tree::varint::{self, Fields};
use crate::error::{Error, Result};
use crate::limits::{LEVEL_MAX, PATH_BYTES, RSYNC_BLOCK_MAX_BYTES, XATTR_BYTES};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind};
use std::cmp::Ordering;

/// The order of directories: that of the walk, siblings by the bytes of their names, what is below them in between.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    // No name has a zero byte, so that what is below a directory comes before its longer-named siblings.
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(key).cmp(b.iter().map(key))
}

/// One item of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A directory; its entries follow.
    Directory(DirectoryRow),
    /// An entry of the directory that came last.
    Entry(Row),
    /// Nothing follows.
    End,
}

/// A directory that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRow {
    /// Its path from the root, which has none.
    pub path: Vec<u8>,
    /// What a restore gives it; `None` for a root that is not part of the backup.
    pub attributes: Option<Attributes>,
    /// Whether what is in it is no part of the backup, or not known: nothing there is a stranger.
    pub closed: bool,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: RowKind,
    /// What a restore gives it; of no meaning for directories, which have an item of their own, and for what was not read.
    pub attributes: Attributes,
    /// The number of its inode.
    pub inode: u64,
    /// What it has in common with the other names of the same inode in this tree; 0 for an entry with one name.
    pub link: u64,
    /// Whether the next level reads it in any case: it was not whole, not as it was at one moment, or not read at all.
    pub again: bool,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKind {
    /// A regular file.
    File(FileRow),
    /// A directory. When no item of its own follows it could not be read.
    Directory,
    /// A symbolic link, and what it points to.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A device: its kind, major and minor number.
    Device(FileKind, u32, u32),
    /// Something that could not be read, and that the level below has not either.
    Unread,
}

/// What is particular to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Its content.
    pub content: Content,
    /// The records that make it, by rising levels; none for an empty file.
    pub recipe: Vec<Step>,
    /// Where its signature is, if it has one.
    pub signature: Option<SignaturePlace>,
}

/// A record of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The level.
    pub level: u32,
    /// The number of the record in its stream.
    pub record: u64,
}

/// Where a signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignaturePlace {
    /// The length of a block.
    pub block_bytes: u32,
    /// Where its entries begin among all entries: bytes.
    pub offset: u64,
}

/// The first byte of an item.
mod item {
    pub const END: u8 = 0;
    pub const DIRECTORY: u8 = 1;
    pub const ENTRY: u8 = 2;
}

/// The kinds of entries.
mod kind {
    pub const FILE: u8 = 1;
    pub const DIRECTORY: u8 = 2;
    pub const SYMLINK: u8 = 3;
    pub const FIFO: u8 = 4;
    pub const CHAR: u8 = 5;
    pub const BLOCK: u8 = 6;
    pub const UNREAD: u8 = 7;
}

/// Bits that say more of an item.
mod flag {
    pub const CLOSED: u8 = 1;
    pub const NO_ATTRIBUTES: u8 = 2;
    pub const AGAIN: u8 = 1;
    pub const SIGNED: u8 = 2;
}

/// The longest name of a user or group.
const OWNER_BYTES: usize = 64 << 10;

impl Item {
    /// Appends the bytes of an item.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Item::End => out.push(item::END),
            Item::Directory(row) => {
                out.push(item::DIRECTORY);
                let closed = if row.closed { flag::CLOSED } else { 0 };
                out.push(closed | if row.attributes.is_none() { flag::NO_ATTRIBUTES } else { 0 });
                varint::put_bytes(out, &row.path);
                if let Some(attributes) = &row.attributes {
                    put_attributes(out, attributes);
                }
            }
            Item::Entry(row) => row.encode(out),
        }
    }

    /// The item with these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Item> {
        let mut fields = Fields::new(bytes, 0);
        let item = match fields.byte()? {
            item::END => Item::End,
            item::DIRECTORY => {
                let flags = flags(&mut fields, flag::CLOSED | flag::NO_ATTRIBUTES)?;
                let path = fields.bytes(PATH_BYTES)?.to_vec();
                if !path.is_empty() && !path.split(|byte| *byte == b'/').all(is_name) {
                    return Err(damaged("no path of a directory in"));
                }
                let has_attributes = flags & flag::NO_ATTRIBUTES == 0;
                let attributes = has_attributes.then(|| attributes(&mut fields)).transpose()?;
                Item::Directory(DirectoryRow { path, attributes, closed: flags & flag::CLOSED != 0 })
            }
            item::ENTRY => Item::Entry(Row::decode(&mut fields)?),
            _ => return Err(damaged("an unknown item in")),
        };
        fields.end()?;
        Ok(item)
    }
}

impl Row {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, signed) = match &self.kind {
            RowKind::File(file) => (kind::FILE, file.signature.is_some()),
            RowKind::Directory => (kind::DIRECTORY, false),
            RowKind::Symlink(_) => (kind::SYMLINK, false),
            RowKind::Fifo => (kind::FIFO, false),
            RowKind::Device(FileKind::BlockDevice, ..) => (kind::BLOCK, false),
            RowKind::Device(..) => (kind::CHAR, false),
            RowKind::Unread => (kind::UNREAD, false),
        };
        let again = if self.again { flag::AGAIN } else { 0 };
        out.extend([item::ENTRY, kind, again | if signed { flag::SIGNED } else { 0 }]);
        varint::put_bytes(out, &self.name);
        if matches!(self.kind, RowKind::Directory | RowKind::Unread) {
            return;
        }
        varint::put(out, self.inode);
        varint::put(out, self.link);
        put_attributes(out, &self.attributes);
        match &self.kind {
            RowKind::File(file) => file.encode(out),
            RowKind::Symlink(points_to) => varint::put_bytes(out, points_to),
            RowKind::Device(_, major, minor) => {
                varint::put(out, u64::from(*major));
                varint::put(out, u64::from(*minor));
            }
            RowKind::Fifo | RowKind::Directory | RowKind::Unread => {}
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Row> {
        let kind = fields.byte()?;
        let known = if kind == kind::FILE { flag::AGAIN | flag::SIGNED } else { flag::AGAIN };
        let flags = flags(fields, known)?;
        let name = fields.bytes(PATH_BYTES)?.to_vec();
        if !is_name(&name) {
            return Err(damaged("no name of an entry in"));
        }
        let again = flags & flag::AGAIN != 0;
        let mut row =
            Row { name, kind: RowKind::Unread, attributes: Attributes::default(), inode: 0, link: 0, again };
        match kind {
            kind::UNREAD => return Ok(row),
            kind::DIRECTORY => {
                row.kind = RowKind::Directory;
                return Ok(row);
            }
            _ => {}
        }
        (row.inode, row.link) = (fields.number()?, fields.number()?);
        row.attributes = attributes(fields)?;
        row.kind = match kind {
            kind::FILE => RowKind::File(FileRow::decode(fields, flags & flag::SIGNED != 0)?),
            kind::SYMLINK => RowKind::Symlink(fields.bytes(PATH_BYTES)?.to_vec()),
            kind::FIFO => RowKind::Fifo,
            kind::CHAR => RowKind::Device(FileKind::CharDevice, small(fields)?, small(fields)?),
            kind::BLOCK => RowKind::Device(FileKind::BlockDevice, small(fields)?, small(fields)?),
            _ => return Err(damaged("an unknown kind of entry in")),
        };
        Ok(row)
    }
}

impl FileRow {
    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.content.size_bytes);
        out.extend_from_slice(self.content.hash.as_bytes());
        varint::put(out, self.recipe.len() as u64);
        for step in &self.recipe {
            varint::put(out, u64::from(step.level));
            varint::put(out, step.record);
        }
        if let Some(place) = &self.signature {
            varint::put(out, u64::from(place.block_bytes));
            varint::put(out, place.offset);
        }
    }

    fn decode(fields: &mut Fields<'_>, is_signed: bool) -> Result<FileRow> {
        let size_bytes = fields.number_up_to(i64::MAX as u64)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(fields.take(32)?);
        let mut recipe: Vec<Step> = Vec::new();
        for _ in 0..fields.count(2)? {
            let level = fields.number_up_to(u64::from(LEVEL_MAX))? as u32;
            if recipe.last().is_some_and(|last| last.level >= level) {
                return Err(damaged("levels that do not rise in"));
            }
            recipe.push(Step { level, record: fields.number()? });
        }
        if recipe.is_empty() != (size_bytes == 0) {
            return Err(damaged("a content that nothing makes in"));
        }
        let signature = match is_signed {
            true => {
                let block_bytes = fields.number_up_to(u64::from(RSYNC_BLOCK_MAX_BYTES))? as u32;
                Some(SignaturePlace { block_bytes, offset: fields.number()? })
            }
            false => None,
        };
        let content = Content { size_bytes, hash: blake3::Hash::from_bytes(hash) };
        Ok(FileRow { content, recipe, signature })
    }
}

fn put_time(out: &mut Vec<u8>, time: FileTime) {
    varint::put_signed(out, time.seconds);
    varint::put(out, u64::from(time.nanoseconds));
}

fn time(fields: &mut Fields<'_>) -> Result<FileTime> {
    let seconds = fields.signed()?;
    Ok(FileTime::new(seconds, fields.number_up_to(999_999_999)? as u32))
}

fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    for number in [attributes.mode, attributes.uid, attributes.gid] {
        varint::put(out, u64::from(number));
    }
    varint::put_bytes(out, &attributes.user);
    varint::put_bytes(out, &attributes.group);
    put_time(out, attributes.mtime);
    // Both are always known of what was read.
    put_time(out, attributes.ctime.unwrap_or_default());
    put_time(out, attributes.atime.unwrap_or_default());
    varint::put(out, attributes.xattrs.len() as u64);
    for (name, value) in &attributes.xattrs {
        varint::put_bytes(out, name);
        varint::put_bytes(out, value);
    }
}

fn attributes(fields: &mut Fields<'_>) -> Result<Attributes> {
    let mode = fields.number_up_to(0o7777)? as u32;
    let (uid, gid) = (small(fields)?, small(fields)?);
    let (user, group) = (fields.bytes(OWNER_BYTES)?.to_vec(), fields.bytes(OWNER_BYTES)?.to_vec());
    let (mtime, ctime, atime) = (time(fields)?, time(fields)?, time(fields)?);
    let count = fields.count(2)?;
    let mut xattrs = Vec::new();
    for _ in 0..count {
        let name = fields.bytes(XATTR_BYTES)?.to_vec();
        if name.is_empty() || name.contains(&0) {
            return Err(damaged("no name of an attribute in"));
        }
        xattrs.push((name, fields.bytes(XATTR_BYTES)?.to_vec()));
    }
    Ok(Attributes { mode, uid, gid, user, group, mtime, atime: Some(atime), ctime: Some(ctime), xattrs })
}

fn small(fields: &mut Fields<'_>) -> Result<u32> {
    Ok(fields.number_up_to(u64::from(u32::MAX))? as u32)
}

/// Flags of which all are known: others change what an item means.
fn flags(fields: &mut Fields<'_>, known: u8) -> Result<u8> {
    let flags = fields.byte()?;
    if flags & !known == 0 { Ok(flags) } else { Err(damaged("unknown flags in")) }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

#[cold]
fn damaged(what: &str) -> Error {
    Error::damaged(what, "the state of a level")
}
