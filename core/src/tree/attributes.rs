//! What is known of an entry of a tree besides its name and content.

use crate::time::FileTime;

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket: reported and left out of backups, since only its owner can make it anew.
    Socket,
}

/// What `statx` says of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The type.
    pub kind: FileKind,
    /// The 12 permission bits (with set-user-id, set-group-id and sticky).
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Length of a file's content; of a link's target.
    pub size_bytes: u64,
    /// Bytes allocated on disk. Less than `size_bytes` hints at holes.
    pub allocated_bytes: u64,
    /// Last change of content.
    pub mtime: FileTime,
    /// Last change of content or attributes; set by the kernel alone.
    pub ctime: FileTime,
    /// Last access.
    pub atime: FileTime,
    /// The file system, as one number (the kernel's `dev_t`).
    pub device: u64,
    /// The number of the inode in its file system.
    pub inode: u64,
    /// How many names the inode has.
    pub links: u64,
    /// Major and minor number, of a device.
    pub rdev: (u32, u32),
}

impl Metadata {
    /// Whether both describe the same inode in the same state, so that content read in between is consistent.
    pub fn same_version(&self, other: &Metadata) -> bool {
        (self.device, self.inode, self.size_bytes, self.mtime, self.ctime)
            == (other.device, other.inode, other.size_bytes, other.mtime, other.ctime)
    }
}

/// Extended attributes: raw names (`user.comment`, `system.posix_acl_access` …) and values, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a restore gives an entry besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The 12 permission bits.
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Owner, by name; empty when not known.
    pub user: Vec<u8>,
    /// Group, by name; empty when not known.
    pub group: Vec<u8>,
    /// Last change of content.
    pub mtime: FileTime,
    /// Last access, where it is stored.
    pub atime: Option<FileTime>,
    /// Last change of attributes, where it is stored; it can be compared, never set.
    pub ctime: Option<FileTime>,
    /// Extended attributes; POSIX ACLs are among them in the kernel's binary form.
    pub xattrs: Xattrs,
}
