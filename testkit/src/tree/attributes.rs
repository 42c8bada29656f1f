//! Setting the attributes of entries, by path and without following links.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The name of the access ACL among the extended attributes.
pub const ACCESS_ACL: &str = "system.posix_acl_access";
/// The name of the default ACL of a directory.
pub const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Sets the time of the last change of content.
///
/// # Errors
/// As the system has it.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the 12 permission bits.
///
/// # Errors
/// As the system has it.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Sets one extended attribute.
///
/// # Errors
/// As the system has it.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

/// An ACL in the kernel's binary form: what owner, one named user, group, mask and others may do.
pub fn acl(owner: u16, named: (u32, u16), group: u16, mask: u16, others: u16) -> Vec<u8> {
    const UNDEFINED: u32 = u32::MAX;
    let entries = [
        (0x01u16, owner, UNDEFINED),
        (0x02, named.1, named.0),
        (0x04, group, UNDEFINED),
        (0x10, mask, UNDEFINED),
        (0x20, others, UNDEFINED),
    ];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// A file capability (`cap_net_bind_service=ep`) in the kernel's binary form, version 2.
pub fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 10, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Makes a named pipe.
///
/// # Errors
/// As the system has it.
pub fn make_fifo(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?)
}

/// Makes a device. Says whether that was allowed: some containers refuse it even to root.
///
/// # Errors
/// As the system has it, but for a refusal.
pub fn make_device(path: &Path, block: bool, major: u32, minor: u32) -> io::Result<bool> {
    let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let device = rustix::fs::makedev(major, minor);
    match rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device) {
        Err(rustix::io::Errno::PERM) => Ok(false),
        other => other.map(|()| true).map_err(io::Error::from),
    }
}
