//! Storages in memory that keep every promise but one: whoever tries storages out has to see each of them.

use icecore::name::ObjectName;
use icecore::storage::memory::Memory;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long something takes that others see half done.
const MOMENT: Duration = Duration::from_millis(15);

/// Rows of a page of a listing.
const PAGE_ROWS: usize = 100;

/// The longest part of a name that one of them knows.
const SHORT_PART_BYTES: usize = 100;

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// None.
    None,
    /// The first look at what was put or replaced finds what was there before.
    OldReads,
    /// The first listing after a new object does not have it.
    LateLists,
    /// The first listing after an object was deleted still has it.
    GhostLists,
    /// What is being written can be read.
    Parts,
    /// What is given up is finished.
    Leftovers,
    /// A new object replaces one of its name.
    TakenNames,
    /// Whether a name is taken is looked up before the object is put.
    Races,
    /// As before, and the storage says so.
    ToldRaces,
    /// An object that is replaced is not there for a moment.
    Gaps,
    /// Half of an object is replaced before the other half.
    Mixtures,
    /// A read begins at the beginning.
    Beginnings,
    /// A read behind the end of an object fails.
    Ends,
    /// Lengths are told in whole blocks.
    Blocks,
    /// What is not there is denied.
    Denials,
    /// Deleting what is not there is done.
    DeletedAgain,
    /// A deleted object stays.
    Undeleted,
    /// Nothing can be deleted.
    Undeletable,
    /// Small and capital letters are the same.
    OneCase,
    /// What is percent-encoded in a name is decoded.
    Decoded,
    /// Long names are refused.
    ShortNames,
    /// A prefix of a listing is the beginning of a name.
    Beginners,
    /// A listing ends after its first page.
    OnePage,
    /// A listing has the last row of a page again on the next one.
    Twice,
    /// Long objects lose their last byte.
    Cut,
    /// Now and then the answer to one read is given to another.
    Mistaken,
    /// Nobody answers.
    Unreachable,
}

/// A storage that breaks one promise.
pub struct Breached {
    memory: Memory,
    breach: Breach,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What the next look at a name finds: an older object, or none.
    old: HashMap<String, Option<Vec<u8>>>,
    /// Names that the next listing does not have.
    late: Vec<String>,
    /// Rows that the next listing has besides.
    ghosts: Vec<Listed>,
    reads: u64,
    /// What was read last.
    last: Vec<u8>,
}

impl Breached {
    /// An empty storage, and the objects that it really has.
    pub fn new(breach: Breach) -> (Breached, Memory) {
        let memory = Memory::new();
        (Breached { memory: memory.clone(), breach, state: Arc::default() }, memory)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn reach(&self) -> Result<()> {
        match self.breach {
            Breach::Unreachable => Err(Error::new(Kind::Io, "no answer").retry_later()),
            _ => Ok(()),
        }
    }

    /// What the storage takes a name for.
    fn known(&self, name: &ObjectName) -> Result<ObjectName> {
        self.reach()?;
        match self.breach {
            Breach::OneCase => ObjectName::new(name.as_str().to_lowercase()),
            Breach::Decoded => ObjectName::new(name.as_str().replace("%2F", "-").replace("%00", "")),
            Breach::ShortNames if name.as_str().split('/').any(|part| part.len() > SHORT_PART_BYTES) => {
                Err(Error::invalid("too long a name:", name.as_str()))
            }
            _ => Ok(name.clone()),
        }
    }

    fn store(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        let before = self.memory.read(name, 0, usize::MAX).ok();
        let is_race = matches!(self.breach, Breach::Races | Breach::ToldRaces);
        let mode = match self.breach {
            Breach::TakenNames => PutMode::Replace,
            _ if is_race && mode == PutMode::CreateNew && before.is_none() => {
                std::thread::sleep(MOMENT);
                PutMode::Replace
            }
            _ => mode,
        };
        match (self.breach, &before) {
            (Breach::Gaps, Some(_)) if mode == PutMode::Replace => {
                // Another one that replaces it may have been here.
                self.memory.delete(name).unwrap_or(());
                std::thread::sleep(MOMENT);
            }
            (Breach::Mixtures, Some(before)) if mode == PutMode::Replace => {
                let half = before.len() / 2;
                let mixture = [&bytes[..bytes.len().min(half)], &before[half..]].concat();
                self.memory.put(name, &mixture, PutMode::Replace)?;
                std::thread::sleep(MOMENT);
            }
            _ => {}
        }
        let kept = match self.breach {
            Breach::Cut if bytes.len() > 1 << 20 => &bytes[..bytes.len() - 1],
            _ => bytes,
        };
        self.memory.put(name, kept, mode)?;
        match self.breach {
            Breach::OldReads => drop(self.state().old.insert(name.to_string(), before)),
            Breach::LateLists if before.is_none() => self.state().late.push(name.to_string()),
            _ => {}
        }
        Ok(())
    }

    /// What a look at a name finds that is not up to date.
    fn old(&self, name: &ObjectName) -> Option<Result<Vec<u8>>> {
        let old = self.state().old.remove(name.as_str())?;
        Some(old.ok_or_else(|| Error::new(Kind::NotFound, "no such object:").on(name.to_string())))
    }

    fn missing(&self, error: Error) -> Error {
        match (self.breach, error.kind()) {
            (Breach::Denials, Kind::NotFound) => Error::new(Kind::Denied, "not allowed"),
            _ => error,
        }
    }

    /// The rows that a listing should have.
    fn true_rows(&self, prefix: Option<&ObjectName>, depth: Depth) -> Result<Vec<Listed>> {
        let mut rows = Vec::new();
        let mut collect = |row| {
            rows.push(row);
            Ok(())
        };
        match (self.breach, prefix) {
            (Breach::Beginners, Some(prefix)) => {
                let begins = |row: &Listed| match row {
                    Listed::Object { name, .. } => name.as_str().starts_with(prefix.as_str()),
                    _ => false,
                };
                self.memory.list(None, Depth::All, &mut collect)?;
                rows.retain(begins);
            }
            _ => self.memory.list(prefix, depth, &mut collect)?,
        }
        Ok(rows)
    }
}

impl Storage for Breached {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.store(&self.known(name)?, bytes, mode)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let name = self.known(name)?;
        let storage =
            Breached { memory: self.memory.clone(), breach: self.breach, state: Arc::clone(&self.state) };
        Ok(Box::new(Writer { storage, name, mode, bytes: Vec::new() }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let name = self.known(name)?;
        if let Some(old) = self.old(&name) {
            return old;
        }
        let offset = if self.breach == Breach::Beginnings { 0 } else { offset };
        let bytes = self.memory.read(&name, offset, length_bytes).map_err(|error| self.missing(error))?;
        if self.breach == Breach::Ends && bytes.is_empty() && length_bytes > 0 && offset > 0 {
            return Err(Error::invalid("no such range of", name.as_str()));
        }
        let mut state = self.state();
        state.reads += 1;
        let answer = match self.breach {
            Breach::Mistaken if state.reads.is_multiple_of(61) && state.last.len() == bytes.len() => {
                state.last.clone()
            }
            _ => bytes.clone(),
        };
        state.last = bytes;
        Ok(answer)
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let stat = self.memory.stat(&self.known(name)?).map_err(|error| self.missing(error))?;
        Ok(match self.breach {
            Breach::Blocks => Stat { size_bytes: stat.size_bytes.next_multiple_of(512) },
            _ => stat,
        })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let prefix = prefix.map(|prefix| self.known(prefix)).transpose()?;
        let mut rows = self.true_rows(prefix.as_ref(), depth)?;
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        rows.retain(|row| !matches!(row, Listed::Object { name, .. } if late.iter().any(|late| late == name.as_str())));
        rows.append(&mut state.ghosts);
        drop(state);
        match self.breach {
            Breach::OnePage => rows.truncate(PAGE_ROWS),
            Breach::Twice if rows.len() > PAGE_ROWS => rows.insert(PAGE_ROWS, rows[PAGE_ROWS - 1].clone()),
            _ => {}
        }
        rows.into_iter().try_for_each(row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let name = self.known(name)?;
        let listed = self
            .memory
            .stat(&name)
            .map(|stat| Listed::Object { name: name.clone(), size_bytes: stat.size_bytes });
        match (self.breach, listed) {
            (Breach::Undeletable, Ok(_)) => {
                return Err(Error::new(Kind::Denied, "this object is locked:").on(name.to_string()));
            }
            (Breach::Undeleted, Ok(_)) | (Breach::DeletedAgain, Err(_)) => return Ok(()),
            (Breach::GhostLists, Ok(row)) => self.state().ghosts.push(row),
            _ => {}
        }
        self.memory.delete(&name).map_err(|error| self.missing(error))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: self.breach != Breach::ToldRaces, parallel: true }
    }

    fn label(&self) -> String {
        format!("a storage that breaks a promise ({:?})", self.breach)
    }
}

struct Writer {
    storage: Breached,
    name: ObjectName,
    mode: PutMode,
    bytes: Vec<u8>,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        match self.storage.breach {
            Breach::Parts => self.storage.memory.put(&self.name, &self.bytes, PutMode::Replace),
            _ => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mode = if self.storage.breach == Breach::Parts { PutMode::Replace } else { self.mode };
        self.storage.store(&self.name, &bytes, mode)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.storage.breach == Breach::Leftovers && !self.bytes.is_empty() {
            self.storage.memory.put(&self.name, &self.bytes, PutMode::Replace).unwrap_or(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_breach_the_contract_is_kept() {
        crate::conformance::run(&|| Arc::new(Breached::new(Breach::None).0));
    }
}
