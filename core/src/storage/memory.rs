//! A storage in memory: for tests, and the reference of what the others do. A map under a lock, whose every step is atomic.

use super::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

type Objects = BTreeMap<String, Arc<[u8]>>;

/// Objects in memory. A clone is another handle of the same objects.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    objects: Arc<Mutex<Objects>>,
}

impl Memory {
    /// An empty storage.
    pub fn new() -> Memory {
        Memory::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // Every change is one call on the map: a panic elsewhere leaves it sound.
        self.objects.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn object(&self, name: &ObjectName) -> Result<Arc<[u8]>> {
        let objects = self.objects();
        objects
            .get(name.as_str())
            .cloned()
            .ok_or_else(|| Error::new(Kind::NotFound, "no such object:").on(name.to_string()))
    }

    fn insert(&self, name: &ObjectName, bytes: Arc<[u8]>, mode: PutMode) -> Result<()> {
        let mut objects = self.objects();
        refuse_clash(&objects, name)?;
        if mode != PutMode::Replace && objects.contains_key(name.as_str()) {
            return Err(Error::new(Kind::AlreadyExists, "there is already").on(name.to_string()));
        }
        objects.insert(name.as_str().to_owned(), bytes);
        Ok(())
    }
}

/// No name is both an object and a folder.
fn refuse_clash(objects: &Objects, name: &ObjectName) -> Result<()> {
    let name = name.as_str();
    let is_folder = below(objects, Some(name)).next().is_some();
    let is_under_object = name.match_indices('/').any(|(slash, _)| objects.contains_key(&name[..slash]));
    if is_folder || is_under_object {
        return Err(Error::invalid("a folder and an object cannot share a name:", name));
    }
    Ok(())
}

/// Objects below a folder, each with its name relative to it.
fn below<'a>(
    objects: &'a Objects,
    folder: Option<&str>,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Arc<[u8]>)> {
    let start = folder.map_or(String::new(), |folder| format!("{folder}/"));
    let range = objects.range(start.clone()..);
    range.map_while(move |(name, bytes)| {
        let relative = name.strip_prefix(start.as_str())?;
        Some((name.as_str(), relative, bytes))
    })
}

impl Storage for Memory {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.insert(name, bytes.into(), mode)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(Writer { storage: self.clone(), name: name.clone(), mode, bytes: Vec::new() }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let bytes = self.object(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length_bytes).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        Ok(Stat { size_bytes: self.object(name)?.len() as u64 })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        // Collected first: `row` may use the storage.
        let rows = rows(&self.objects(), prefix.map(ObjectName::as_str), depth)?;
        rows.into_iter().try_for_each(row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.objects().remove(name.as_str()) {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::NotFound, "no such object:").on(name.to_string())),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: true, parallel: false }
    }

    fn label(&self) -> String {
        "memory".to_owned()
    }
}

fn rows(objects: &Objects, prefix: Option<&str>, depth: Depth) -> Result<Vec<Listed>> {
    let mut rows: Vec<Listed> = Vec::new();
    for (name, relative, bytes) in below(objects, prefix) {
        let listed = match relative.find('/') {
            Some(slash) if depth == Depth::One => {
                let end = name.len() - relative.len() + slash;
                Listed::Folder { name: ObjectName::new(&name[..end])? }
            }
            _ => Listed::Object { name: ObjectName::new(name)?, size_bytes: bytes.len() as u64 },
        };
        // Everything in a folder sorts together, so a folder seen before is the last row.
        if rows.last() != Some(&listed) {
            rows.push(listed);
        }
    }
    Ok(rows)
}

struct Writer {
    storage: Memory,
    name: ObjectName,
    mode: PutMode,
    bytes: Vec<u8>,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.storage.insert(&self.name, self.bytes.into(), self.mode)
    }
}
