//! Extended attributes, read and written whole: of open files by handle, of links, FIFOs and devices (which must not be
//! opened) through `/proc/self/fd/<directory>/<name>`, so that only the last name is looked up and links are not followed.
//!
//! Invariant: what is read is sorted by name, each name once, and bounded by [`XATTR_BYTES`]; a file without attributes
//! costs one system call. Attributes that come, go or grow in between are read again (`ERANGE`) or left out (`ENODATA`). See xattr(7).

use super::attributes::Xattrs;
use super::directory::{Directory, lossy};
use crate::error::{Error, Kind, Result};
use crate::limits::XATTR_BYTES;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What a program may do beyond its user's rights (see capabilities(7)).
pub const CAPABILITY: &[u8] = b"security.capability";

/// Enough for the names or the value most files have; read on the stack.
const SHORT_BYTES: usize = 512;

/// Just above the kernel's own bounds (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`: 64 KiB).
const LONG_BYTES: usize = (64 << 10) + 1;

/// Attributes that an error names before it stops counting them up.
const NAMED_FAILURES: usize = 8;

/// All extended attributes of an open file or directory; empty where the file system has none.
///
/// # Errors
/// `Limit` beyond [`XATTR_BYTES`]; otherwise as the system has it.
pub fn read_file(handle: impl AsFd) -> Result<Xattrs> {
    read(&Place::Handle(handle.as_fd()))
}

/// All extended attributes of the entry `name`, which is neither opened nor followed.
///
/// # Errors
/// As [`read_file`]; `NotFound` when the entry is gone or `/proc` is not mounted.
pub fn read_entry(directory: &Directory, name: &[u8]) -> Result<Xattrs> {
    read(&Place::entry(directory, name))
}

/// All extended attributes of what the symbolic link `name` points to, which is not opened.
///
/// # Errors
/// As [`read_entry`].
pub fn read_followed(directory: &Directory, name: &[u8]) -> Result<Xattrs> {
    match Place::entry(directory, name) {
        Place::Path(path) => read(&Place::Followed(path)),
        other => read(&other),
    }
}

/// Sets extended attributes of an open file or directory; others it has stay.
///
/// # Errors
/// All are tried; the error names those that could not be set and has the kind of the first.
pub fn write_file(handle: impl AsFd, xattrs: &Xattrs) -> Result<()> {
    write(&Place::Handle(handle.as_fd()), xattrs)
}

/// Sets extended attributes of the entry `name`, which is neither opened nor followed.
///
/// # Errors
/// As [`write_file`].
pub fn write_entry(directory: &Directory, name: &[u8], xattrs: &Xattrs) -> Result<()> {
    if xattrs.is_empty() { Ok(()) } else { write(&Place::entry(directory, name), xattrs) }
}

/// Removes the attributes of an open file or directory for which `unwanted` is true. One system call when it has none.
///
/// # Errors
/// All are tried; the error is that of the first that could not be removed.
pub fn remove_file(handle: impl AsFd, unwanted: impl FnMut(&[u8]) -> bool) -> Result<()> {
    remove(&Place::Handle(handle.as_fd()), unwanted)
}

/// Removes the attributes of the entry `name` (neither opened nor followed) for which `unwanted` is true.
///
/// # Errors
/// As [`remove_file`].
pub fn remove_entry(directory: &Directory, name: &[u8], unwanted: impl FnMut(&[u8]) -> bool) -> Result<()> {
    remove(&Place::entry(directory, name), unwanted)
}

/// Where attributes are: behind a handle, or at a path whose directory is a handle of ours.
enum Place<'a> {
    Handle(BorrowedFd<'a>),
    Path(Vec<u8>),
    /// Where the last name is followed, too.
    Followed(Vec<u8>),
}

impl Place<'_> {
    fn entry(directory: &Directory, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Place::Path(path)
    }

    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Place::Handle(handle) => rustix::fs::flistxattr(handle, buffer),
            Place::Path(path) => rustix::fs::llistxattr(path.as_slice(), buffer),
            Place::Followed(path) => rustix::fs::listxattr(path.as_slice(), buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Place::Handle(handle) => rustix::fs::fgetxattr(handle, name, buffer),
            Place::Path(path) => rustix::fs::lgetxattr(path.as_slice(), name, buffer),
            Place::Followed(path) => rustix::fs::getxattr(path.as_slice(), name, buffer),
        }
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Place::Handle(handle) => rustix::fs::fremovexattr(handle, name),
            Place::Path(path) => rustix::fs::lremovexattr(path.as_slice(), name),
            Place::Followed(path) => rustix::fs::removexattr(path.as_slice(), name),
        }
    }

    fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Place::Handle(handle) => rustix::fs::fsetxattr(handle, name, value, XattrFlags::empty()),
            Place::Path(path) => rustix::fs::lsetxattr(path.as_slice(), name, value, XattrFlags::empty()),
            Place::Followed(path) => rustix::fs::setxattr(path.as_slice(), name, value, XattrFlags::empty()),
        }
    }
}

fn read(place: &Place<'_>) -> Result<Xattrs> {
    let mut xattrs = Xattrs::new();
    let mut total_bytes = 0_usize;
    for name in names(place)? {
        let value = match whole(|buffer| place.get(&name, buffer)) {
            Ok(value) => value,
            // Removed since it was listed, or a name the file system lists but does not give out.
            Err(Errno::NODATA | Errno::NOTSUP) => continue,
            Err(e) => return Err(Error::io("cannot read the attribute", lossy(&name), e)),
        };
        total_bytes = total_bytes.saturating_add(name.len()).saturating_add(value.len());
        if total_bytes > XATTR_BYTES {
            let limit = format!("{XATTR_BYTES} bytes");
            return Err(Error::new(Kind::Limit, "the extended attributes are larger than").on(limit));
        }
        xattrs.push((name, value));
    }
    Ok(xattrs)
}

/// The names, sorted.
fn names(place: &Place<'_>) -> Result<Vec<Vec<u8>>> {
    let list = match whole(|buffer| place.list(buffer)) {
        Ok(list) => list,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("cannot list", "extended attributes", e)),
    };
    let mut names: Vec<Vec<u8>> =
        list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.sort_unstable();
    // A file system in user space may tell one twice.
    names.dedup();
    Ok(names)
}

/// What `call` writes into a buffer: tried on the stack first, then with one that holds anything the kernel allows.
fn whole(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut short = [0_u8; SHORT_BYTES];
    match call(&mut short) {
        Ok(length) => return Ok(short[..length.min(SHORT_BYTES)].to_vec()),
        Err(Errno::RANGE) => {}
        Err(e) => return Err(e),
    }
    let mut long = vec![0_u8; LONG_BYTES];
    let length = call(&mut long)?;
    long.truncate(length);
    Ok(long)
}

fn remove(place: &Place<'_>, mut unwanted: impl FnMut(&[u8]) -> bool) -> Result<()> {
    let mut done = Ok(());
    for name in names(place)?.into_iter().filter(|name| unwanted(name)) {
        match place.remove(&name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(e) => done = done.and(Err(Error::io("cannot remove the attribute", lossy(&name), e))),
        }
    }
    done
}

fn write(place: &Place<'_>, xattrs: &Xattrs) -> Result<()> {
    let mut failed = Vec::new();
    let mut first = None;
    for (name, value) in xattrs {
        // A NUL in a stored name is refused by the conversion to a C string (`EINVAL`), like any name the kernel dislikes.
        if let Err(e) = place.set(name, value) {
            failed.push(lossy(name));
            first.get_or_insert(e);
        }
    }
    let Some(first) = first else { return Ok(()) };
    let more = failed.len().saturating_sub(NAMED_FAILURES);
    failed.truncate(NAMED_FAILURES);
    let mut named = failed.join(", ");
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    Err(Error::io("cannot set the attribute", named, first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;

    fn xattrs(pairs: &[(&str, &[u8])]) -> Xattrs {
        pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn a_file_without_attributes_has_none() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read_file(&file).unwrap(), Xattrs::new());
    }

    #[test]
    fn a_file_system_without_attributes_has_none() {
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(read_file(&file).unwrap(), Xattrs::new());
    }

    #[test]
    fn attributes_come_back_sorted_and_whole() {
        let file = tempfile::tempfile().unwrap();
        // Longer than the short buffer, so that the second try is taken.
        let wanted = xattrs(&[("user.a", b""), ("user.b", &[0, 255, b'=']), ("user.long", &[7; 2000])]);
        let shuffled = vec![wanted[2].clone(), wanted[0].clone(), wanted[1].clone()];
        write_file(&file, &shuffled).unwrap();
        assert_eq!(read_file(&file).unwrap(), wanted);
        remove_file(&file, |name| name != b"user.b").unwrap();
        assert_eq!(read_file(&file).unwrap(), wanted[1..2].to_vec());
    }

    #[test]
    fn many_names_do_not_fit_the_short_buffer() {
        let file = tempfile::tempfile().unwrap();
        let wanted: Xattrs = (0..30).map(|i| (format!("user.{i:0>40}").into_bytes(), vec![i])).collect();
        write_file(&file, &wanted).unwrap();
        assert_eq!(read_file(&file).unwrap(), wanted);
    }

    #[test]
    fn every_attribute_is_tried_and_the_bad_ones_are_named() {
        let file = tempfile::tempfile().unwrap();
        let error =
            write_file(&file, &xattrs(&[("nonsense", b"1"), ("user.nul\0", b"2"), ("user.good", b"3")]));
        assert!(error.unwrap_err().subject().starts_with("nonsense, user.nul"));
        assert_eq!(read_file(&file).unwrap(), xattrs(&[("user.good", b"3")]));
    }

    #[test]
    fn entries_are_reached_without_being_opened_or_followed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        File::create(folder.path().join("file")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let wanted = xattrs(&[("user.x", b"1")]);
        write_entry(&directory, b"file", &wanted).unwrap();
        assert_eq!(read_entry(&directory, b"file").unwrap(), wanted);
        assert_eq!(read_entry(&directory, b"link").unwrap(), Xattrs::new(), "the link was followed");
        assert_eq!(read_entry(&directory, b"absent").unwrap_err().kind(), Kind::NotFound);
        assert!(write_entry(&directory, b"link", &wanted).is_err(), "links have no user attributes");
        assert_eq!(read_entry(&directory, b"link").unwrap(), Xattrs::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_values_survive(values in proptest::collection::btree_map("user\\.[a-z]{1,20}",
            proptest::collection::vec(any::<u8>(), 0..200), 0..5)) {
            let file = tempfile::tempfile().unwrap();
            let wanted: Xattrs = values.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            write_file(&file, &wanted).unwrap();
            prop_assert_eq!(read_file(&file).unwrap(), wanted);
        }
    }
}
