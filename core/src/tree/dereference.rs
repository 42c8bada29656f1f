//! What symbolic links point to, where a backup stores that in their place.
//!
//! Invariant: a link is followed only by what asks for it here; everything else of `tree` never does.

use super::attributes::{FileKind, Metadata};
use super::directory::{Directory, lossy};
use crate::error::{Error, Kind, Result};
use crate::limits::LINKS_ON_A_WAY;
use crate::time::FileTime;
use rustix::fs::{Mode, OFlags};

/// What is stored in place of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dereference {
    /// Of symbolic links: what they point to.
    pub symbolic: bool,
    /// Of further names of one file: a copy of it under each.
    pub hard: bool,
}

/// What a symbolic link points to, in the end.
#[derive(Debug)]
pub enum Pointed {
    /// This, which is no directory and no link.
    To(Metadata),
    /// A directory.
    ToDirectory,
    /// Nothing that can be looked at.
    Nowhere(Error),
}

/// What the symbolic link `name` points to.
pub fn pointed(directory: &Directory, name: &[u8]) -> Pointed {
    match directory.stat_followed(name) {
        Ok(metadata) if metadata.kind == FileKind::Directory => Pointed::ToDirectory,
        Ok(metadata) => Pointed::To(metadata),
        Err(error) => Pointed::Nowhere(error),
    }
}

/// Why a link that points nowhere is stored as the link that it is.
pub fn leads_nowhere(cause: Error) -> Error {
    let what = match cause.kind() {
        Kind::NotFound => "what the link points to is not there; stored is the link itself",
        _ => "what the link points to cannot be reached; stored is the link itself",
    };
    Error::new(Kind::Io, what).because(cause)
}

/// Since when the link `name` has led to what it leads to: the last change of the link, of any other on the way, and of the
/// directories that they lead through.
///
/// Times of the target alone do not tell: a link that is turned to another file of old leads to something new.
///
/// # Errors
/// What cannot be looked at; `Limit` for too many links.
pub fn since(directory: &Directory, name: &[u8]) -> Result<FileTime> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |error| Error::io("cannot follow", lossy(name), error);
    let open =
        |path: &[u8]| rustix::fs::open(path, flags, Mode::empty()).map(Directory::from).map_err(failed);
    let mut here = directory.duplicate()?;
    let mut newest = FileTime::new(i64::MIN, 0);
    // What is still to be walked, the next name last.
    let mut ahead = vec![name.to_vec()];
    let mut links = 0;
    while let Some(next) = ahead.pop() {
        let metadata = here.stat(&next)?;
        newest = newest.max(metadata.mtime).max(metadata.ctime);
        match metadata.kind {
            FileKind::Symlink if links == LINKS_ON_A_WAY => {
                return Err(Error::new(Kind::Limit, "too many links behind").on(lossy(name)));
            }
            FileKind::Symlink => {
                links += 1;
                let target = here.read_link(&next)?;
                if target.starts_with(b"/") {
                    here = open(b"/")?;
                }
                let names = target.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
                ahead.extend(names.rev().map(<[u8]>::to_vec));
            }
            _ if ahead.is_empty() => {}
            _ => {
                let opened =
                    rustix::fs::openat(&here, next.as_slice(), flags | OFlags::NOFOLLOW, Mode::empty());
                here = Directory::from(opened.map_err(failed)?);
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_way_is_as_old_as_the_newest_of_what_is_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("one/two")).unwrap();
        fs::write(at("one/two/file"), "x").unwrap();
        symlink("middle/file", at("link")).unwrap();
        symlink(at("one/two"), at("middle")).unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let newest = |names: &[&str]| {
            let times = names.iter().map(|name| directory.stat(name.as_bytes()).unwrap());
            times.map(|metadata| metadata.mtime.max(metadata.ctime)).max().unwrap()
        };
        let way = ["link", "middle", "one", "one/two", "one/two/file"];
        assert!(since(&directory, b"link").unwrap() >= newest(&way));
        // The link is what it was, and so is the file; the way there is new.
        fs::rename(at("one/two"), at("one/three")).unwrap();
        fs::rename(at("one/three"), at("one/two")).unwrap();
        assert!(since(&directory, b"link").unwrap() >= newest(&["one", "one/two"]));
        assert!(matches!(pointed(&directory, b"link"), Pointed::To(_)));
        assert!(matches!(pointed(&directory, b"middle"), Pointed::ToDirectory));
        symlink("itself", at("itself")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        for link in [&b"itself"[..], b"dangling"] {
            assert!(since(&directory, link).is_err());
            assert!(matches!(pointed(&directory, link), Pointed::Nowhere(_)));
        }
    }
}
