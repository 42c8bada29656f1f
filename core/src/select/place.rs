//! `BACKUP:PATH`: a place in a backup, as a user writes it.
//!
//! Invariant: the path is relative to the root of the backup, `a/b` in whole components, empty for the root itself.

use crate::error::{Error, Result};

/// Which backup, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// An id, the head of one, `latest` or `latest~N`.
    pub backup: String,
    /// The path; empty for the root.
    pub path: Vec<u8>,
}

impl Place {
    /// Reads `BACKUP`, `BACKUP:PATH` or `:PATH`, which is in the latest one. No name of a backup has a colon, so the first
    /// one divides.
    ///
    /// # Errors
    /// `Invalid` for a path that climbs, or a name of a backup that is not text.
    pub fn parse(text: &[u8]) -> Result<Place> {
        let colon = text.iter().position(|&byte| byte == b':');
        let (backup, path) = match colon {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, &b""[..]),
        };
        let backup = std::str::from_utf8(backup)
            .map_err(|_| Error::invalid("not the name of a backup:", String::from_utf8_lossy(backup)))?;
        let backup = if backup.is_empty() { "latest" } else { backup };
        Ok(Place { backup: backup.to_owned(), path: tree_path(path)? })
    }
}

/// A path given by the user, relative to the root of the tree.
///
/// # Errors
/// `Invalid` for one that climbs.
pub fn tree_path(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(Error::invalid(
            "a path is relative to the root of the backup, without '..':",
            String::from_utf8_lossy(path),
        ));
    }
    Ok(parts.join(&b"/"[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_backup_and_a_path() {
        for (text, backup, path) in [
            ("latest", "latest", ""),
            ("", "latest", ""),
            (":/a/b/", "latest", "a/b"),
            ("latest~2:a", "latest~2", "a"),
            ("3fa9:/./a//b", "3fa9", "a/b"),
            ("3fa9:", "3fa9", ""),
            ("3fa9:a:b", "3fa9", "a:b"),
        ] {
            let place = Place::parse(text.as_bytes()).unwrap();
            assert_eq!((place.backup.as_str(), place.path.as_slice()), (backup, path.as_bytes()), "{text}");
        }
        assert!(Place::parse(b"latest:a/../b").is_err() && Place::parse(b"\xff:a").is_err());
    }

    #[test]
    fn a_path_keeps_bytes_that_are_no_text() {
        assert_eq!(Place::parse(b"latest:\xff/\xfe").unwrap().path, b"\xff/\xfe");
    }
}
