//! What Freezer 1 and 2 stored, before there were documents: shown as if it lay where later releases put it, so that nobody else
//! has to know. Of a backup there are two objects, the archive and the snapshot file; the document is made up from what
//! the first bytes of the archive tell.
//!
//! In a storage with folders they are `HBN/L0TS/HBN_TS_LEVEL` and `HBN/L0TS/tar_metadata_HBN_TS_LEVEL`; in Swift they lay side
//! by side, without the folders, and a backup belongs to the last full one of its series. Invariant: such chains are read. Whatever
//! would change one, or build on it, is refused: the older programs would not understand it.

use super::document::Document;
use super::location::{self, BackupLocation, parse_timestamp};
use super::{BackupEntry, Chain};
use crate::error::{Error, Kind, Result};
use crate::name::{BackupName, Level, ObjectName};
use crate::storage::{Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// In front of the name of an archive: its snapshot file.
const SNAPSHOT: &str = "tar_metadata_";
/// What the archives of those releases are: nothing else was known to them.
const ENGINE: &str = "tar";
/// What begins what `openssl enc` has written.
const SALTED: &[u8] = b"Salted__";

/// What an object of the present layout stands for.
#[derive(Debug, Clone)]
enum Behind {
    /// This object, of this size.
    Object(ObjectName, u64),
    /// The document of the backup with this archive.
    Document(ObjectName),
}

/// A storage with backups of the old layout in it.
pub(super) struct OldLayout {
    storage: Arc<dyn Storage>,
    /// By their names in the present layout.
    objects: BTreeMap<ObjectName, Behind>,
    chains: BTreeSet<(BackupName, Timestamp)>,
}

/// A backup that was found.
struct Found {
    location: BackupLocation,
    archive: (ObjectName, u64),
    snapshot: Option<(ObjectName, u64)>,
}

impl OldLayout {
    /// Looks for such backups; `None` when there are none.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn find(storage: &Arc<dyn Storage>) -> Result<Option<Arc<OldLayout>>> {
        let (folders, flat) = rows(storage.as_ref(), None)?;
        let mut found = side_by_side(&flat)?;
        for series in folders.into_iter().filter(|name| name.as_str().contains('_')) {
            let (chains, _) = rows(storage.as_ref(), Some(&series))?;
            for chain in chains {
                let Some(start) = parse_timestamp(last_component(&chain)) else { continue };
                let (_, objects) = rows(storage.as_ref(), Some(&chain))?;
                found.extend(in_folders(series.as_str(), start, &objects)?);
            }
        }
        let mut old =
            OldLayout { storage: Arc::clone(storage), objects: BTreeMap::new(), chains: BTreeSet::new() };
        for backup in found {
            let Found { location, archive: (archive, size_bytes), snapshot } = backup;
            old.chains.insert((location.name.clone(), location.chain));
            old.objects.insert(location.metadata()?, Behind::Document(archive.clone()));
            old.objects.insert(location.data()?, Behind::Object(archive, size_bytes));
            if let Some((snapshot, size_bytes)) = snapshot {
                old.objects.insert(location.engine_metadata()?, Behind::Object(snapshot, size_bytes));
            }
        }
        Ok((!old.objects.is_empty()).then(|| Arc::new(old)))
    }

    /// Whether a chain is one of the old layout.
    pub fn has(&self, chain: &Chain) -> bool {
        chain.engine == ENGINE && self.chains.contains(&(chain.name.clone(), chain.start))
    }

    /// Refuses a change of what is read only.
    fn check(&self, name: &ObjectName) -> Result<()> {
        let is_of_chain = [location::DATA, location::METADATA].iter().any(|tree| {
            location::parse_object(tree, name).is_some_and(|(location, _)| {
                location.engine == ENGINE && self.chains.contains(&(location.name, location.chain))
            })
        });
        if !is_of_chain {
            return Ok(());
        }
        let what = "a chain in the layout of Freezer 1 and 2 is read and never changed:";
        Err(Error::new(Kind::Unsupported, what)
            .on(name.to_string())
            .hint("remove it with the program that wrote it"))
    }

    fn document(&self, archive: &ObjectName) -> Result<Vec<u8>> {
        let head = self.storage.read(archive, 0, SALTED.len())?;
        let compression = match head.as_slice() {
            [b'B', b'Z', b'h', ..] => Some("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
            // What is under it only the password shows.
            SALTED => None,
            _ => Some("gzip"),
        };
        let document = Document {
            engine_name: ENGINE.to_owned(),
            compression: compression.map(str::to_owned),
            rsync_block_size: None,
            encryption: head == SALTED,
            details: None,
        };
        document.encode()
    }
}

/// What lies directly below a folder: folders, and objects with their sizes.
type Rows = (Vec<ObjectName>, BTreeMap<ObjectName, u64>);

fn rows(storage: &dyn Storage, folder: Option<&ObjectName>) -> Result<Rows> {
    let (mut folders, mut objects) = (Vec::new(), BTreeMap::new());
    storage.list(folder, Depth::One, &mut |row| {
        match row {
            Listed::Folder { name } => folders.push(name),
            Listed::Object { name, size_bytes } => drop(objects.insert(name, size_bytes)),
            Listed::Stray { .. } => {}
        }
        Ok(())
    })?;
    Ok((folders, objects))
}

/// The backups in the folder of a chain.
fn in_folders(series: &str, start: Timestamp, objects: &BTreeMap<ObjectName, u64>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (name, size_bytes) in objects {
        let Some((of, entry)) = parse(last_component(name)).filter(|(of, _)| *of == series) else { continue };
        found.push(backup(of, start, entry, (name, *size_bytes), objects)?);
    }
    Ok(found)
}

/// The backups that lie side by side. Other objects may be called like that: one without a snapshot file is none of them.
fn side_by_side(objects: &BTreeMap<ObjectName, u64>) -> Result<Vec<Found>> {
    let mut series: BTreeMap<&str, BTreeMap<Timestamp, (BackupEntry, &ObjectName, u64)>> = BTreeMap::new();
    for (name, size_bytes) in objects {
        if let Some((of, entry)) = parse(name.as_str())
            && objects.contains_key(&snapshot_name(name)?)
        {
            series.entry(of).or_default().insert(entry.timestamp, (entry, name, *size_bytes));
        }
    }
    let mut found = Vec::new();
    for (of, entries) in series {
        let mut start = None;
        for (timestamp, (entry, name, size_bytes)) in entries {
            if entry.level == Level::FULL {
                start = Some(timestamp);
            }
            // One without a full backup before it has a chain of its own, with a gap.
            let start = *start.get_or_insert(timestamp);
            found.push(backup(of, start, entry, (name, size_bytes), objects)?);
        }
    }
    Ok(found)
}

fn backup(
    series: &str,
    chain: Timestamp,
    entry: BackupEntry,
    archive: (&ObjectName, u64),
    objects: &BTreeMap<ObjectName, u64>,
) -> Result<Found> {
    let (name, size_bytes) = archive;
    let snapshot = snapshot_name(name)?;
    let snapshot = objects.get(&snapshot).map(|size_bytes| (snapshot, *size_bytes));
    let location =
        BackupLocation { engine: ENGINE.to_owned(), name: BackupName::from_storage(series), chain, entry };
    Ok(Found { location, archive: (name.clone(), size_bytes), snapshot })
}

/// Reads `HBN_TS_LEVEL`.
fn parse(name: &str) -> Option<(&str, BackupEntry)> {
    let (rest, level) = name.rsplit_once('_')?;
    let (series, timestamp) = rest.rsplit_once('_')?;
    let plain = level.parse().ok().and_then(Level::new).filter(|found| found.to_string() == level)?;
    let entry = BackupEntry { level: plain, timestamp: parse_timestamp(timestamp)? };
    (!series.is_empty() && !series.starts_with(SNAPSHOT)).then_some((series, entry))
}

/// The snapshot file beside an archive.
fn snapshot_name(archive: &ObjectName) -> Result<ObjectName> {
    match archive.as_str().rsplit_once('/') {
        Some((folder, name)) => ObjectName::new(format!("{folder}/{SNAPSHOT}{name}")),
        None => ObjectName::new(format!("{SNAPSHOT}{archive}")),
    }
}

fn last_component(name: &ObjectName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or(name.as_str())
}

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for OldLayout {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.check(name)?;
        self.storage.put(name, bytes, mode)
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        self.check(name)?;
        self.storage.begin_put(name, bytes, mode)
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.check(name)?;
        self.storage.put_shared(name, bytes, mode)
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.check(name)?;
        self.storage.put_fleeting(name, bytes)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.check(name)?;
        self.storage.writer(name, mode)
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        match self.objects.get(name) {
            None => self.storage.read(name, offset, length_bytes),
            Some(Behind::Object(behind, _)) => self.storage.read(behind, offset, length_bytes),
            Some(Behind::Document(archive)) => {
                let document = self.document(archive)?;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(document.len());
                let end = start.saturating_add(length_bytes).min(document.len());
                Ok(document[start..end].to_vec())
            }
        }
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        match self.objects.get(name) {
            None => self.storage.read_into(name, offset, length_bytes, buffer),
            Some(Behind::Object(behind, _)) => self.storage.read_into(behind, offset, length_bytes, buffer),
            Some(Behind::Document(_)) => {
                *buffer = self.read(name, offset, length_bytes)?;
                Ok(())
            }
        }
    }

    fn read_copy(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        copy: usize,
    ) -> Option<Result<Vec<u8>>> {
        match self.objects.get(name) {
            None => self.storage.read_copy(name, offset, length_bytes, copy),
            Some(Behind::Object(behind, _)) => self.storage.read_copy(behind, offset, length_bytes, copy),
            Some(Behind::Document(_)) => None,
        }
    }

    fn is_close(&self) -> bool {
        self.storage.is_close()
    }

    fn hold(&self, name: &ObjectName) -> bool {
        match self.objects.get(name) {
            None => self.storage.hold(name),
            Some(Behind::Object(behind, _)) => self.storage.hold(behind),
            Some(Behind::Document(_)) => false,
        }
    }

    fn distrust(&self, name: &ObjectName) -> bool {
        match self.objects.get(name) {
            None => self.storage.distrust(name),
            Some(Behind::Object(behind, _)) => self.storage.distrust(behind),
            Some(Behind::Document(_)) => false,
        }
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        match self.objects.get(name) {
            None => self.storage.stat(name),
            Some(Behind::Object(behind, _)) => self.storage.stat(behind),
            Some(Behind::Document(archive)) => {
                let size_bytes = self.document(archive)?.len() as u64;
                Ok(Stat { size_bytes })
            }
        }
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let Some(folder) = prefix else { return self.storage.list(prefix, depth, row) };
        let mut folders = BTreeSet::new();
        self.storage.list(prefix, depth, &mut |listed| {
            if let Listed::Folder { name } = &listed {
                folders.insert(name.clone());
            }
            row(listed)
        })?;
        let inside = format!("{folder}/");
        for (name, behind) in &self.objects {
            let Some(rest) = name.as_str().strip_prefix(&inside) else { continue };
            match rest.split_once('/').filter(|_| depth == Depth::One) {
                Some((below, _)) => {
                    let name = folder.join(below)?;
                    if folders.insert(name.clone()) {
                        row(Listed::Folder { name })?;
                    }
                }
                None => {
                    let size_bytes = match behind {
                        Behind::Object(_, size_bytes) => *size_bytes,
                        Behind::Document(archive) => self.document(archive)?.len() as u64,
                    };
                    row(Listed::Object { name: name.clone(), size_bytes })?;
                }
            }
        }
        Ok(())
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.check(name)?;
        self.storage.delete(name)
    }

    fn remove(&self, name: &ObjectName) -> Result<()> {
        self.check(name)?;
        self.storage.remove(name)
    }

    crate::storage::forward!([storage] clean_temporaries capabilities label);
}
