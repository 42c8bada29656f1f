//! Headers of the second engine (`--engine rsyncv2` of releases 6 and later): one MessagePack array of them all, and behind
//! it the content of the files in the same order.
//!
//! Invariant: nothing is taken for granted of the order of keys; a key that is not known is passed over.

use super::msgpack::{Head, Unpacker, strange};
use super::stored::{Blocks, Content, Entry, Record, What, of_record};
use crate::error::{Error, Kind, Result};
use crate::limits::{FREEZER_KEY_BYTES, PATH_BYTES, TREE_OWNER_BYTES};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind};
use std::io::Read;

/// The type bits of a mode.
const TYPE_BITS: u64 = 0o170_000;

/// Hands out every header. `block_bytes` is how long blocks are, where that is known.
///
/// # Errors
/// `Damaged`, `Limit`; what `visit` fails with; as the input has it.
pub(super) fn headers<R: Read>(
    values: &mut Unpacker<R>,
    block_bytes: Option<u64>,
    visit: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<()> {
    for _ in 0..values.list()? {
        visit(next(values, block_bytes)?)?;
    }
    Ok(())
}

/// The next header.
///
/// # Errors
/// `Damaged`, `Limit`; as the input has it.
pub(super) fn next<R: Read>(values: &mut Unpacker<R>, block_bytes: Option<u64>) -> Result<Record> {
    let mut header = Header::default();
    let parsed = header.read(values, block_bytes);
    let path = header.path.take().ok_or_else(|| strange("a header without a path"));
    match (parsed, path) {
        (Ok(()), path) => {
            let path = path?;
            let what = header.what().map_err(|error| of_record(error, &path))?;
            Ok(Record::new(path, what))
        }
        (Err(error), Ok(path)) => Err(of_record(error, &path)),
        (Err(error), Err(_)) => Err(error),
    }
}

/// What a header has.
#[derive(Default)]
struct Header {
    path: Option<Vec<u8>>,
    deleted: bool,
    inode: Option<Inode>,
    points_to: Vec<u8>,
    /// How many bytes the changed blocks have, and which they are.
    deltas: Option<(u64, Blocks)>,
}

#[derive(Default)]
struct Inode {
    mode: u64,
    user: Vec<u8>,
    group: Vec<u8>,
    atime: Option<FileTime>,
    mtime: FileTime,
    size_bytes: u64,
}

impl Header {
    fn read<R: Read>(&mut self, values: &mut Unpacker<R>, block_bytes: Option<u64>) -> Result<()> {
        for _ in 0..values.map()? {
            match values.bytes(FREEZER_KEY_BYTES)?.as_slice() {
                b"path" => self.path = Some(values.bytes(PATH_BYTES)?),
                b"lname" => self.points_to = values.bytes(PATH_BYTES)?,
                b"inode" => self.inode = Some(inode(values)?),
                b"deltas" => self.deltas = Some(deltas(values, block_bytes)?),
                b"deleted" => self.deleted = truth(values)?,
                // Whether the path was there at the level below follows from the levels.
                _ => values.skip()?,
            }
        }
        Ok(())
    }

    fn what(self) -> Result<What> {
        if self.deleted {
            return Ok(What::Deleted);
        }
        let inode = self.inode.ok_or_else(|| strange("a header without an inode"))?;
        let kind = match inode.mode & TYPE_BITS {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Symlink,
            0o010_000 => FileKind::Fifo,
            0o020_000 => FileKind::CharDevice,
            0o060_000 => FileKind::BlockDevice,
            0o140_000 => FileKind::Socket,
            _ => return Err(Error::damaged("no type of entries has the mode", format!("{:o}", inode.mode))),
        };
        let content = match (kind, self.deltas) {
            (FileKind::File, Some((stored, blocks))) => {
                Content::Blocks(blocks.close(inode.size_bytes, Some(stored))?)
            }
            (FileKind::File, None) => Content::Whole,
            _ => Content::None,
        };
        let attributes = Attributes {
            mode: (inode.mode & 0o7777) as u32,
            user: inode.user,
            group: inode.group,
            mtime: inode.mtime,
            atime: inode.atime,
            ..Attributes::default()
        };
        Ok(What::Entry(Box::new(Entry {
            kind,
            attributes,
            size_bytes: inode.size_bytes,
            points_to: self.points_to,
            content,
        })))
    }
}

fn inode<R: Read>(values: &mut Unpacker<R>) -> Result<Inode> {
    let mut inode = Inode::default();
    for _ in 0..values.map()? {
        match values.bytes(FREEZER_KEY_BYTES)?.as_slice() {
            b"mode" => inode.mode = values.number()?,
            b"uname" => inode.user = values.bytes(TREE_OWNER_BYTES)?,
            b"gname" => inode.group = values.bytes(TREE_OWNER_BYTES)?,
            b"atime" => inode.atime = Some(time(values)?),
            b"mtime" => inode.mtime = time(values)?,
            b"size" => inode.size_bytes = values.number()?,
            _ => values.skip()?,
        }
    }
    Ok(inode)
}

fn deltas<R: Read>(values: &mut Unpacker<R>, block_bytes: Option<u64>) -> Result<(u64, Blocks)> {
    if values.list()? != 2 {
        return Err(strange("other than a length and a list"));
    }
    let stored = values.number()?;
    let mut blocks = Blocks::new(block_bytes)?;
    for _ in 0..values.list()? {
        blocks.push(values.number()?)?;
    }
    Ok((stored, blocks))
}

fn truth<R: Read>(values: &mut Unpacker<R>) -> Result<bool> {
    match values.head()? {
        Head::Bool(truth) => Ok(truth),
        _ => Err(strange("neither true nor false")),
    }
}

/// Seconds with a fraction, as Python has them.
fn time<R: Read>(values: &mut Unpacker<R>) -> Result<FileTime> {
    let seconds = match values.head()? {
        Head::Float(seconds) => seconds,
        Head::Integer(seconds) => {
            let seconds = i64::try_from(seconds).map_err(|_| strange("no time"))?;
            return Ok(FileTime::new(seconds, 0));
        }
        _ => return Err(strange("no time")),
    };
    let whole = seconds.floor();
    // What a float can tell apart at all.
    if !(-1e18..=1e18).contains(&whole) {
        return Err(Error::new(Kind::Damaged, "no time that a file can have"));
    }
    let nanoseconds = ((seconds - whole) * 1e9).round().clamp(0.0, 999_999_999.0);
    Ok(FileTime::new(whole as i64, nanoseconds as u32))
}
