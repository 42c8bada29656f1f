//! The names of objects: the only place that spells them, and the only one that takes them apart.
//!
//! The layout is Freezer's (`docs/format/chain.md`). Invariant: a number in a name is a canonical decimal, so that reading a
//! name and spelling it again gives the same name; anything else is a stray.

use crate::error::{Error, Result};
use crate::level::BackupEntry;
use crate::name::{BackupName, Level, ObjectName};
use crate::time::Timestamp;
use std::fmt;

/// The object that says that here is a repository of Icecore's.
pub(super) const MARKER: &str = "icecore";
/// The folder of streams and engine states.
pub(super) const DATA: &str = "data";
/// The folder of `metadata` documents, whose names alone say which backups exist.
pub(super) const METADATA: &str = "metadata";
/// The object under a backup's folder in [`METADATA`] that commits it.
pub(super) const DOCUMENT: &str = "metadata";

/// Where one backup lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupLocation {
    /// The engine's folder: `tar`, `rsync` …
    pub engine: String,
    /// The series.
    pub name: BackupName,
    /// The chain, by the timestamp of its level 0.
    pub chain: Timestamp,
    /// The backup within its chain.
    pub entry: BackupEntry,
}

impl BackupLocation {
    /// The stream of the backup.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] when a part cannot be a component of an object name; so for every name below.
    pub fn data(&self) -> Result<ObjectName> {
        self.object(DATA, "data")
    }

    /// The state of the engine after the backup.
    ///
    /// # Errors
    /// As [`BackupLocation::data`].
    pub fn engine_metadata(&self) -> Result<ObjectName> {
        self.object(DATA, "engine_metadata")
    }

    /// The document whose existence is the backup's.
    ///
    /// # Errors
    /// As [`BackupLocation::data`].
    pub fn metadata(&self) -> Result<ObjectName> {
        self.object(METADATA, DOCUMENT)
    }

    /// The object by which a running backup takes its name.
    ///
    /// # Errors
    /// As [`BackupLocation::data`].
    pub fn claim(&self) -> Result<ObjectName> {
        self.object(DATA, "claim")
    }

    /// The folder of the stream, of what belongs to it, and of nothing else.
    ///
    /// # Errors
    /// As [`BackupLocation::data`].
    pub fn data_folder(&self) -> Result<ObjectName> {
        chain_folder(DATA, &self.engine, &self.name, self.chain)?.join(&entry_component(self.entry))
    }

    fn object(&self, tree: &str, object: &str) -> Result<ObjectName> {
        chain_folder(tree, &self.engine, &self.name, self.chain)?
            .join(&entry_component(self.entry))?
            .join(object)
    }
}

/// `engine/series/chain/level_timestamp`: what ids are made of, and how a backup is named to people who ask exactly.
impl fmt::Display for BackupLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.engine, self.name, self.chain, entry_component(self.entry))
    }
}

/// `tree/engine/series`.
pub(super) fn series_folder(tree: &str, engine: &str, name: &BackupName) -> Result<ObjectName> {
    for part in [engine, name.as_str()] {
        if part.contains('/') {
            return Err(Error::invalid("an engine or a series cannot have '/' in its name:", part));
        }
    }
    ObjectName::new(format!("{tree}/{engine}/{name}"))
}

/// `tree/engine/series/chain`.
pub(super) fn chain_folder(
    tree: &str,
    engine: &str,
    name: &BackupName,
    chain: Timestamp,
) -> Result<ObjectName> {
    series_folder(tree, engine, name)?.join(&chain.to_string())
}

/// `level_timestamp`.
fn entry_component(entry: BackupEntry) -> String {
    format!("{}_{}", entry.level, entry.timestamp)
}

/// Reads a timestamp; `None` unless it is spelled as this module spells it.
pub(super) fn parse_timestamp(component: &str) -> Option<Timestamp> {
    Timestamp::parse(component).filter(|time| time.to_string() == component)
}

/// Reads `level_timestamp`; `None` unless it is spelled as this module spells it.
pub(super) fn parse_entry(component: &str) -> Option<BackupEntry> {
    let (level, timestamp) = component.split_once('_')?;
    let level = Level::new(level.parse().ok()?)?;
    let entry = BackupEntry { level, timestamp: parse_timestamp(timestamp)? };
    (entry_component(entry) == component).then_some(entry)
}

/// Reads `tree/engine/series/chain/level_timestamp/…`, and what stands behind it.
pub(super) fn parse_object<'a>(tree: &str, name: &'a ObjectName) -> Option<(BackupLocation, &'a str)> {
    let mut parts = name.as_str().splitn(6, '/');
    let mut next = || parts.next();
    if next()? != tree {
        return None;
    }
    let (engine, series) = (next()?.to_owned(), BackupName::from_storage(next()?));
    let (chain, entry) = (parse_timestamp(next()?)?, parse_entry(next()?)?);
    Some((BackupLocation { engine, name: series, chain, entry }, next()?))
}

/// The last component of a name.
pub(super) fn last_component(name: &ObjectName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn location(level: u32, chain: i64, timestamp: i64) -> BackupLocation {
        BackupLocation {
            engine: "tar".to_owned(),
            name: BackupName::from_storage("h_{mode}_x"),
            chain: Timestamp(chain),
            entry: BackupEntry { level: Level::new(level).unwrap(), timestamp: Timestamp(timestamp) },
        }
    }

    #[test]
    fn names_are_freezers() {
        let location = location(2, 1795485744, 1795485750);
        let folder = "tar/h_{mode}_x/1795485744/2_1795485750";
        assert_eq!(location.data().unwrap().as_str(), format!("data/{folder}/data"));
        assert_eq!(location.engine_metadata().unwrap().as_str(), format!("data/{folder}/engine_metadata"));
        assert_eq!(location.claim().unwrap().as_str(), format!("data/{folder}/claim"));
        assert_eq!(location.metadata().unwrap().as_str(), format!("metadata/{folder}/metadata"));
        assert_eq!(location.to_string(), folder);
    }

    #[test]
    fn a_name_that_would_be_spelled_otherwise_is_not_read() {
        for bad in
            ["", "_", "0", "0_", "_1", "00_1", "0_01", "+0_1", "0_1_2", "10000_1", "a_1", "-1_1", "0_1 "]
        {
            assert_eq!(parse_entry(bad), None, "{bad:?}");
        }
        assert_eq!(parse_timestamp("007"), None);
    }

    #[test]
    fn a_series_never_reaches_into_another_folder() {
        assert!(series_folder(DATA, "tar", &BackupName::from_storage("a/../b")).is_err());
        assert!(series_folder(DATA, "..", &BackupName::from_storage("a")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(level in 0u32..=9_999, chain in 0i64..1 << 50, timestamp in 0i64..1 << 50) {
            let location = location(level, chain, timestamp);
            let name = location.data().unwrap();
            prop_assert_eq!(parse_object(DATA, &name), Some((location.clone(), "data")));
            prop_assert_eq!(parse_object(METADATA, &name), None);
        }

        #[test]
        fn any_name_is_read_or_refused(text in "(data|x)(/[a-z0-9_.]{0,6}){0,7}") {
            if let Ok(name) = ObjectName::new(text)
                && let Some((location, rest)) = parse_object(DATA, &name)
            {
                prop_assert_eq!(location.data_folder().unwrap().join(rest).unwrap(), name);
            }
        }
    }
}
