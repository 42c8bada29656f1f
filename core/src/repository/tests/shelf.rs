//! A storage in memory for the tests of this module: what the trait promises, empty folders as file systems have them, and
//! a number of changes after which everything fails.

use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub(in crate::repository) struct Shelf(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    empty_folders: BTreeSet<String>,
    changes_left: Option<u64>,
    lists_fail: bool,
    lose_answers: bool,
    taken_on_commit: Option<String>,
    put_before_claim: Option<String>,
    put_on_delete: Option<String>,
    hidden: BTreeSet<String>,
    reads_fail: bool,
    is_far: bool,
}

impl State {
    fn change(&mut self) -> Result<()> {
        match &mut self.changes_left {
            Some(0) => Err(Error::new(Kind::Io, "the storage fails")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, name: &str, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.change()?;
        if mode == PutMode::CreateNew && self.objects.contains_key(name) {
            return Err(Error::new(Kind::AlreadyExists, "exists:").on(name));
        }
        self.objects.insert(name.to_owned(), bytes.to_vec());
        if name.ends_with("/claim")
            && let Some(other) = self.put_before_claim.take()
        {
            self.objects.insert(other, Vec::new());
        }
        if name.starts_with("metadata/")
            && let Some(taken) = self.taken_on_commit.take()
        {
            self.objects.remove(&taken).unwrap();
        }
        if self.lose_answers && name.starts_with("metadata/") {
            return Err(Error::new(Kind::Io, "no answer"));
        }
        Ok(())
    }
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(in crate::repository) fn handle(&self) -> Arc<dyn Storage> {
        Arc::new(Shelf(Arc::clone(&self.0)))
    }

    /// From now on it says that each request waits for an answer from far away.
    pub(in crate::repository) fn go_far(&self) {
        self.state().is_far = true;
    }

    pub(in crate::repository) fn load(folder: &Path) -> Shelf {
        let shelf = Shelf::default();
        shelf.load_below(folder, "");
        shelf
    }

    fn load_below(&self, folder: &Path, prefix: &str) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                self.add_folder(&name);
                self.load_below(&path, &format!("{name}/"));
            } else {
                self.set(&name, &std::fs::read(&path).unwrap());
            }
        }
    }

    pub(in crate::repository) fn set(&self, name: &str, bytes: &[u8]) {
        self.state().objects.insert(name.to_owned(), bytes.to_vec());
    }

    pub(in crate::repository) fn take(&self, name: &str) -> Vec<u8> {
        self.state().objects.remove(name).unwrap()
    }

    pub(in crate::repository) fn add_folder(&self, name: &str) {
        self.state().empty_folders.insert(name.to_owned());
    }

    pub(in crate::repository) fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    pub(in crate::repository) fn fail_after(&self, changes: Option<u64>) {
        self.state().changes_left = changes;
    }

    pub(in crate::repository) fn fail_lists(&self, fail: bool) {
        self.state().lists_fail = fail;
    }

    /// Somebody takes an object away at the moment the next document is put.
    pub(in crate::repository) fn take_on_commit(&self, name: &str) {
        self.state().taken_on_commit = Some(name.to_owned());
    }

    /// Another run has been faster: an object of its is there just before the next claim.
    pub(in crate::repository) fn put_before_claim(&self, name: &str) {
        self.state().put_before_claim = Some(name.to_owned());
    }

    /// Somebody commits at the moment something is deleted next: this object is there right after.
    pub(in crate::repository) fn put_on_delete(&self, name: &str) {
        self.state().put_on_delete = Some(name.to_owned());
    }

    /// From now on lists lack this object.
    pub(in crate::repository) fn hide(&self, name: &str) {
        self.state().hidden.insert(name.to_owned());
    }

    pub(in crate::repository) fn fail_reads(&self, fail: bool) {
        self.state().reads_fail = fail;
    }

    pub(in crate::repository) fn lose_answers(&self, lose: bool) {
        self.state().lose_answers = lose;
    }
}

fn missing(name: &ObjectName) -> Error {
    Error::new(Kind::NotFound, "no object").on(name.to_string())
}

impl Storage for Shelf {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.state().put(name.as_str(), bytes, mode)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(Writer {
            shelf: Shelf(Arc::clone(&self.0)),
            name: name.clone(),
            mode,
            bytes: Vec::new(),
        }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let state = self.state();
        if state.reads_fail {
            return Err(Error::new(Kind::Io, "the storage cannot be read"));
        }
        let bytes = state.objects.get(name.as_str()).ok_or_else(|| missing(name))?;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = start.saturating_add(length_bytes).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let state = self.state();
        let bytes = state.objects.get(name.as_str()).ok_or_else(|| missing(name))?;
        Ok(Stat { size_bytes: bytes.len() as u64 })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let mut rows = BTreeMap::new();
        let state = self.state();
        if state.lists_fail {
            return Err(Error::new(Kind::Io, "the listing fails"));
        }
        let objects = state.objects.iter().map(|(name, bytes)| (name, Some(bytes.len() as u64)));
        for (name, size) in objects.chain(state.empty_folders.iter().map(|name| (name, None))) {
            let Some(rest) = name.strip_prefix(&prefix).filter(|_| !state.hidden.contains(name)) else {
                continue;
            };
            match (rest.split_once('/'), depth, size) {
                (Some((folder, _)), Depth::One, _) => rows.insert(format!("{prefix}{folder}"), None),
                (_, _, Some(size)) => rows.insert(name.clone(), Some(size)),
                (None, Depth::One, None) => rows.insert(name.clone(), None),
                (_, Depth::All, None) => continue,
            };
        }
        drop(state);
        for (name, size) in rows {
            let name = ObjectName::new(name)?;
            row(match size {
                Some(size_bytes) => Listed::Object { name, size_bytes },
                None => Listed::Folder { name },
            })?;
        }
        Ok(())
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let mut state = self.state();
        state.change()?;
        if let Some(other) = state.put_on_delete.take() {
            state.objects.insert(other, Vec::new());
        }
        state.objects.remove(name.as_str()).map(drop).ok_or_else(|| missing(name))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: true, parallel: self.state().is_far }
    }

    fn label(&self) -> String {
        "shelf".to_owned()
    }
}

struct Writer {
    shelf: Shelf,
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
        self.shelf.state().put(self.name.as_str(), &self.bytes, self.mode)
    }
}
