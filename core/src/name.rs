//! Names that cross module borders: objects, series of backups, levels. Each is checked once, here.

use crate::error::{Error, Kind, Result};
use crate::limits::{LEVEL_MAX, NAME_BYTES, OBJECT_NAME_BYTES};
use std::fmt;

/// The name of an object in a storage: components joined by single slashes, none of them empty, `.` or `..`, no NUL,
/// valid UTF-8, at most [`OBJECT_NAME_BYTES`] long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when a rule above is broken.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if name.len() > OBJECT_NAME_BYTES || name.contains('\0') || !name.split('/').all(plain) {
            return Err(Error::invalid("not an object name:", format!("{name:?}")));
        }
        Ok(ObjectName(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This name with `/part` behind it.
    ///
    /// # Errors
    /// As [`ObjectName::new`].
    pub fn join(&self, part: &str) -> Result<Self> {
        ObjectName::new(format!("{}/{part}", self.0))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a series of backups: Freezer's `hostname_backup_name`, one component of object names.
///
/// Host `a` with name `b_c` and host `a_b` with name `c` are the same series on storage, as they are for Freezer; the
/// `metadata` documents Icecore writes hold both parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName(String);

impl BackupName {
    /// The series of `name` on `host`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when a part is empty, too long, `.` or `..` like, or holds `/` or a control character.
    pub fn new(host: &str, name: &str) -> Result<Self> {
        for (what, part) in [("host", host), ("backup name", name)] {
            if part.is_empty() || part.len() > NAME_BYTES || part.chars().any(|c| c == '/' || c.is_control())
            {
                return Err(Error::invalid(format!("not a usable {what}:"), format!("{part:?}"))
                    .hint("names are 1 to 200 bytes without '/' and control characters; set one with --name or --host"));
            }
        }
        Ok(BackupName(format!("{host}_{name}")))
    }

    /// A series as it was found on storage.
    pub fn from_storage(component: &str) -> Self {
        BackupName(component.to_owned())
    }

    /// The component of object names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this series may be `name`, whatever the host.
    pub fn ends_with_name(&self, name: &str) -> bool {
        self.0.strip_suffix(name).is_some_and(|host| host.len() > 1 && host.ends_with('_'))
    }

    /// Whether this series may belong to `host`, whatever the name.
    pub fn starts_with_host(&self, host: &str) -> bool {
        self.0.strip_prefix(host).is_some_and(|name| name.len() > 1 && name.starts_with('_'))
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a backup in its chain: 0 is full, n holds the changes since a backup of level n-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u32);

impl Level {
    /// The level of a full backup.
    pub const FULL: Level = Level(0);

    /// A level by number; `None` beyond [`LEVEL_MAX`].
    pub fn new(number: u32) -> Option<Level> {
        (number <= LEVEL_MAX).then_some(Level(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The level above this one.
    ///
    /// # Errors
    /// [`Kind::Limit`] beyond [`LEVEL_MAX`].
    pub fn next(self) -> Result<Level> {
        Level::new(self.0 + 1).ok_or_else(|| {
            Error::new(Kind::Limit, "a chain cannot have more levels than").on(LEVEL_MAX.to_string())
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_never_climb() {
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0b"] {
            assert!(ObjectName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectName::new("data/tar/h_{mode}_x/1/0_1/data").is_ok());
    }

    #[test]
    fn series_are_matched_by_either_part() {
        let series = BackupName::new("alpha.example.org", "nightly").unwrap();
        assert!(series.ends_with_name("nightly") && series.starts_with_host("alpha.example.org"));
        assert!(!series.ends_with_name("ightly") && !series.starts_with_host("alpha"));
        assert!(BackupName::new("a/b", "c").is_err() && BackupName::new("", "c").is_err());
    }
}
