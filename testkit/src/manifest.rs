//! What a tree holds, entry by entry with every attribute, and how two trees differ.
//!
//! This is the judge of every round trip, so it shares no code with the program that it judges.

mod difference;

pub use difference::{Options, diff};

use crate::handle::Handle;
use rustix::fs::{major, minor};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The type of an entry, with what only this type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Length in bytes.
        size_bytes: u64,
        /// Bytes on disk; less than the length where the file has holes.
        allocated_bytes: u64,
        /// BLAKE3 of the content.
        content: blake3::Hash,
    },
    /// A directory.
    Directory,
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A socket.
    Socket,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Type and content.
    pub kind: Kind,
    /// The 12 permission bits.
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Last change of content: seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// The first of all names of this inode in the tree, when it has more than one.
    pub hard_link: Option<Vec<u8>>,
    /// Extended attributes; POSIX ACLs and capabilities are among them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Everything below (and including) one directory, by path relative to it; the directory itself is the empty path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The entries, in byte order of their paths.
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

impl Manifest {
    /// Reads the whole tree at `path`, contents included. Symbolic links are not followed.
    ///
    /// # Errors
    /// As the system has it, for the first entry that cannot be read.
    pub fn of(path: &Path) -> io::Result<Manifest> {
        let mut reading = Reading::default();
        let root = Handle::open(path)?;
        reading.entry(b"", Path::new(&root.path(b".")))?;
        reading.directory(&root, &mut Vec::new())?;
        reading.name_hard_links();
        Ok(Manifest { entries: reading.entries })
    }

    /// The paths, for people.
    pub fn paths(&self) -> Vec<String> {
        self.entries.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }
}

#[derive(Default)]
struct Reading {
    entries: BTreeMap<Vec<u8>, Entry>,
    inodes: HashMap<(u64, u64), Vec<Vec<u8>>>,
}

impl Reading {
    fn directory(&mut self, directory: &Handle, path: &mut Vec<u8>) -> io::Result<()> {
        for name in directory.names()? {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if self.entry(path, &directory.path(&name))? {
                self.directory(&directory.child(&name)?, path)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// Takes down one entry; says whether it is a directory.
    fn entry(&mut self, path: &[u8], place: &Path) -> io::Result<bool> {
        let metadata = fs::symlink_metadata(place)?;
        let kind = kind_of(place, &metadata)?;
        let is_directory = kind == Kind::Directory;
        if !is_directory && metadata.nlink() > 1 {
            self.inodes.entry((metadata.dev(), metadata.ino())).or_default().push(path.to_vec());
        }
        let entry = Entry {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            hard_link: None,
            xattrs: xattrs_of(place)?,
        };
        self.entries.insert(path.to_vec(), entry);
        Ok(is_directory)
    }

    fn name_hard_links(&mut self) {
        for mut paths in std::mem::take(&mut self.inodes).into_values().filter(|paths| paths.len() > 1) {
            paths.sort();
            for path in &paths {
                if let Some(entry) = self.entries.get_mut(path) {
                    entry.hard_link = Some(paths[0].clone());
                }
            }
        }
    }
}

fn kind_of(place: &Path, metadata: &fs::Metadata) -> io::Result<Kind> {
    let kind = metadata.file_type();
    let device = (major(metadata.rdev()), minor(metadata.rdev()));
    Ok(if kind.is_file() {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(place)?)?;
        Kind::File {
            size_bytes: metadata.len(),
            allocated_bytes: metadata.blocks().saturating_mul(512),
            content: hasher.finalize(),
        }
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(place)?.into_os_string().into_vec())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_char_device() {
        Kind::CharDevice(device.0, device.1)
    } else if kind.is_block_device() {
        Kind::BlockDevice(device.0, device.1)
    } else {
        Kind::Socket
    })
}

/// All extended attributes but the label of SELinux, which belongs to the host and not to the tree.
fn xattrs_of(place: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::llistxattr(place, &mut names[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || name == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(place, name, &mut value[..])?;
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
