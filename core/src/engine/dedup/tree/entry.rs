//! An entry of a tree: everything about a file but its name.
//!
//! Invariant: an entry that [`Entry::fault`] finds nothing wrong with is written and read back as the same entry. What a kind does not have is
//! empty or zero.

use super::kept::{holes_len, xattrs_len};
use crate::limits::{
    TREE_CHUNK_BYTES, TREE_HOLES_BYTES, TREE_OWNER_BYTES, TREE_PATH_BYTES, TREE_ROWS_DEPTH_MAX,
    TREE_ROWS_MAX, TREE_XATTR_BYTES,
};
use crate::repository::vault::ChunkId;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Xattrs};
use std::sync::Arc;

/// Who owns an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// The user, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
    /// The user, by name; empty when not known.
    pub user: Vec<u8>,
    /// The group, by name; empty when not known.
    pub group: Vec<u8>,
}

/// How much a backup knows of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// What it is and what is in it.
    #[default]
    All,
    /// What it is. The content of the file, or the target of the link, could not be read.
    Attributes,
    /// That something was there. Of what kind it was may be a guess, and everything else is empty.
    Name,
}

/// Everything about a file but its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is; never a socket.
    pub kind: FileKind,
    /// It changed in or after the second in which it was read: never taken for unchanged.
    pub racy: bool,
    /// What is stored is all of it, as it was at one moment.
    pub whole: bool,
    /// How much of it is known. What is not known whole is not whole.
    pub known: Known,
    /// The 12 permission bits.
    pub mode: u32,
    /// Who owns it; entries of one tree share them.
    pub owner: Arc<Owner>,
    /// Last change of content.
    pub mtime: FileTime,
    /// Last change of content or attributes.
    pub ctime: FileTime,
    /// Number of the inode in its file system.
    pub inode: u64,
    /// Length of a file, also of one that could not be read; 0 for all other kinds.
    pub size_bytes: u64,
    /// Where the content of a file is.
    pub content: Content,
    /// What a symbolic link points at; empty for all other kinds.
    pub target: Vec<u8>,
    /// Major and minor number of a device; zero for all other kinds.
    pub rdev: (u32, u32),
    /// For what has several names.
    pub names: Option<Names>,
    /// Extended attributes, sorted by name: [`super::keep_xattrs`] decides where they go.
    pub xattrs: Kept<Xattrs>,
    /// Holes of a file: [`super::keep_holes`] decides where they go.
    pub holes: Kept<Vec<Hole>>,
}

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// There is none, or holes only.
    #[default]
    None,
    /// As many bytes as the file has, inside a chunk.
    Slice {
        /// The chunk.
        chunk: ChunkId,
        /// Where in it the file begins.
        offset: u64,
    },
    /// Chunks, one after the other.
    Rows {
        /// 0 when the rows are content, else how many levels of lists are below.
        depth: u8,
        /// Chunks, and how many bytes of content each stands for.
        rows: Vec<(ChunkId, u64)>,
    },
}

/// What stands in an entry or, when it is long, in a chunk of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kept<T> {
    /// There is nothing.
    #[default]
    None,
    /// In the entry; not empty.
    Here(T),
    /// In this chunk.
    Elsewhere(ChunkId),
}

/// A hole of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Bytes of data between the hole before (or the start) and this one.
    pub data_before: u64,
    /// Bytes of the hole, at least 1.
    pub length: u64,
}

/// What tells which entries are names of one inode, together with the number of the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Number of the file system among those of this backup.
    pub device: u64,
    /// How many names the inode has.
    pub links: u64,
}

impl Entry {
    /// An entry that is whole, with nothing in it and no attributes yet.
    pub fn empty(kind: FileKind) -> Entry {
        Entry {
            kind,
            racy: false,
            whole: true,
            known: Known::All,
            mode: 0,
            owner: Arc::default(),
            mtime: FileTime::default(),
            ctime: FileTime::default(),
            inode: 0,
            size_bytes: 0,
            content: Content::None,
            target: Vec::new(),
            rdev: (0, 0),
            names: None,
            xattrs: Kept::None,
            holes: Kept::None,
        }
    }

    /// The record of a root that is no directory of the source: of several trees, a single file, a stream.
    pub fn made_up_root() -> Entry {
        Entry { mode: 0o700, ..Entry::empty(FileKind::Directory) }
    }

    /// Something of which only the name is known; what it is may be a guess.
    pub fn known_by_name(kind: FileKind) -> Entry {
        Entry { whole: false, known: Known::Name, ..Entry::empty(kind) }
    }

    /// The same entry without what could not be read.
    pub fn unread(self) -> Entry {
        let (racy, whole, known) = (false, false, Known::Attributes);
        let (content, target, xattrs, holes) = (Content::None, Vec::new(), Kept::None, Kept::None);
        match self.kind {
            FileKind::File | FileKind::Symlink => {
                Entry { racy, whole, known, content, target, xattrs, holes, ..self }
            }
            kind => Entry::known_by_name(kind),
        }
    }

    /// Whether it was there and could not be read: a backup has nothing to restore it from, and says nothing against what is there.
    pub fn is_unread(&self) -> bool {
        self.known != Known::All
    }

    /// Whether this is such a record, whose attributes are nobody's: a restore gives them to nothing.
    pub fn is_made_up_root(&self) -> bool {
        *self == Entry::made_up_root()
    }

    /// What no entry can be like, if this one is.
    pub fn fault(&self) -> Option<&'static str> {
        let file = self.kind == FileKind::File;
        let device = matches!(self.kind, FileKind::CharDevice | FileKind::BlockDevice);
        let checks = [
            (self.kind != FileKind::Socket, "a socket"),
            (self.mode <= 0o7777, "a mode of more than 12 bits"),
            (self.mtime.nanoseconds < 1_000_000_000 && self.ctime.nanoseconds < 1_000_000_000, "no time"),
            (device || self.rdev == (0, 0), "numbers of a device in what is none"),
            (self.target.is_empty() || self.kind == FileKind::Symlink, "a target of what is no link"),
            (self.target.len() <= TREE_PATH_BYTES, "too long a target"),
            (
                self.owner.user.len().max(self.owner.group.len()) <= TREE_OWNER_BYTES,
                "too long a name of an owner",
            ),
            (file || (self.size_bytes == 0 && self.content == Content::None), "content of what is no file"),
            (file || self.holes == Kept::None, "holes in what is no file"),
        ];
        let wrong = checks.iter().find(|(right, _)| !right).map(|(_, what)| *what);
        let wrong = wrong.or_else(|| self.unread_fault());
        if wrong.is_some() || self.is_unread() {
            return wrong;
        }
        xattr_fault(&self.xattrs).or_else(|| self.content_fault())
    }

    fn unread_fault(&self) -> Option<&'static str> {
        let nothing = self.content == Content::None && self.holes == Kept::None && self.xattrs == Kept::None;
        let right = match self.known {
            Known::All => true,
            Known::Attributes => {
                let kind = matches!(self.kind, FileKind::File | FileKind::Symlink);
                kind && !self.whole && nothing && self.target.is_empty()
            }
            Known::Name => *self == Entry::known_by_name(self.kind),
        };
        (!right).then_some("more than is known of what could not be read")
    }

    fn content_fault(&self) -> Option<&'static str> {
        const MISMATCH: &str = "a size that is not that of its content";
        let holes = match &self.holes {
            Kept::None => Some(0),
            Kept::Here(holes) if holes_len(holes) > TREE_HOLES_BYTES => {
                return Some("too many holes to stand here");
            }
            Kept::Here(holes) => match hole_bytes(holes, self.size_bytes) {
                Some(bytes) => Some(bytes),
                None => return Some("holes that cannot be"),
            },
            Kept::Elsewhere(_) => None,
        };
        let data = match &self.content {
            Content::None => 0,
            Content::Slice { offset, .. } => {
                let end = offset.checked_add(self.size_bytes);
                let inside = end.is_some_and(|end| end <= TREE_CHUNK_BYTES);
                if !inside || self.size_bytes == 0 || self.holes != Kept::None {
                    return Some("a slice that cannot be");
                }
                self.size_bytes
            }
            Content::Rows { depth, rows } => {
                if *depth > TREE_ROWS_DEPTH_MAX || rows.is_empty() || rows.len() > TREE_ROWS_MAX {
                    return Some("rows that cannot be");
                }
                match row_bytes(rows) {
                    Some(bytes) => bytes,
                    None => return Some("rows that cannot be"),
                }
            }
        };
        let fits = match holes {
            Some(holes) => data.checked_add(holes) == Some(self.size_bytes),
            // How many bytes the holes have is known when they are read.
            None => data < self.size_bytes,
        };
        (!fits).then_some(MISMATCH)
    }
}

/// What all rows come to; `None` when one is empty, or there is no such number.
pub(super) fn row_bytes(rows: &[(ChunkId, u64)]) -> Option<u64> {
    let add =
        |sum: u64, (_, bytes): &(ChunkId, u64)| if *bytes == 0 { None } else { sum.checked_add(*bytes) };
    rows.iter().try_fold(0, add)
}

/// What all holes of a file come to; `None` when a file of this size cannot have them. Holes that touch are one.
pub(super) fn hole_bytes(holes: &[Hole], size_bytes: u64) -> Option<u64> {
    let (mut end, mut sum) = (0_u64, 0);
    for (index, hole) in holes.iter().enumerate() {
        if hole.length == 0 || (hole.data_before == 0 && index > 0) {
            return None;
        }
        end = end.checked_add(hole.data_before)?.checked_add(hole.length)?;
        sum += hole.length;
    }
    (!holes.is_empty() && end <= size_bytes).then_some(sum)
}

fn xattr_fault(xattrs: &Kept<Xattrs>) -> Option<&'static str> {
    match xattrs {
        Kept::Here(xattrs) if !are_xattrs(xattrs) => Some("attributes out of order"),
        Kept::Here(xattrs) if xattrs_len(xattrs) > TREE_XATTR_BYTES => {
            Some("too many attributes to stand here")
        }
        _ => None,
    }
}

/// Whether there are any, with names, in order.
pub(super) fn are_xattrs(xattrs: &Xattrs) -> bool {
    let named = xattrs.iter().all(|(name, _)| !name.is_empty());
    !xattrs.is_empty() && named && xattrs.is_sorted_by(|a, b| a.0 < b.0)
}
