//! One member of an archive, as the reader finds it and the writer takes it: names, kind and attributes, apart from bytes.

use crate::tree::attributes::Attributes;

/// A region of a sparse file that holds data: offset and length in bytes.
pub type Region = (u64, u64);

/// What sort of entry a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file. `size_bytes` is the length of the file; when `sparse` is given, only its regions are in the archive
    /// (in order, not touching past `size_bytes`), and the rest is holes.
    File {
        /// The length of the file as restored.
        size_bytes: u64,
        /// Where its data lies, for a file with holes.
        sparse: Option<Vec<Region>>,
    },
    /// A directory. In an incremental archive `listing` is its dumpdir body: `<code><name>\0`… with the rename records of
    /// [`super::dumpdir`], without the final NUL.
    Directory {
        /// The raw listing, when the archive is incremental.
        listing: Option<Vec<u8>>,
    },
    /// A symbolic link and what it points to.
    Symlink(Vec<u8>),
    /// A further name of a file that came earlier in the archive (or in an earlier level).
    HardLink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name as stored, e.g. `./docs/a.txt`; directories have no slash at the end here.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// What a restore gives it.
    pub attributes: Attributes,
}
