//! Where backups live in a storage. The only place that spells object names; engines and verbs speak of series, chains and
//! backups.
//!
//! The layout is Freezer's, so that both programs can use one repository (`docs/format/chain.md` is normative). Invariants:
//! a backup exists exactly when its `metadata` object does, which is written last; a listing that fails is an error and
//! never "no backups"; whatever does not belong is reported as a stray and passed over, never touched.
//!
//! [`listing`] says what there is, [`select`] picks from it, [`pending`] adds a backup, [`reading`] gets one back,
//! [`removal`] removes chains and what killed runs left behind, [`copies`] says what a copy of all this is made of, `old` shows what
//! Freezer 1 and 2 stored as the rest. [`document`] and [`location`] are the bytes and names.

pub mod copies;
pub mod document;
pub mod listing;
pub mod location;
pub mod marker;
mod old;
pub mod pending;
pub mod reading;
pub mod removal;
pub mod select;
pub mod vault;

#[cfg(test)]
mod tests;

pub use crate::level::BackupEntry;
pub use listing::{Chain, Chains, Listing, Parents, Series};
pub use location::BackupLocation;
pub use pending::Pending;
pub use select::BackupId;

use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::pipe;
use crate::storage::Storage;
use crate::time::Timestamp;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use listing::Folders;
use old::OldLayout;
use vault::ahead::{Ahead, Needs};
use vault::cache::Cache;
use vault::opening::Threshold;
use vault::{Password, Protection, Vault};

/// A place in a storage where backups live.
#[derive(Clone)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    id: Option<String>,
    vault: Option<Arc<Vault>>,
    /// Chains of the layout of Freezer 1 and 2, where there are some; the storage shows them with the others then.
    old: Option<Arc<OldLayout>>,
    /// The engines that have series, as they were listed while it was opened.
    engines: Arc<Mutex<Option<Folders>>>,
}

impl Repository {
    /// Whether a chain is in the layout of Freezer 1 and 2: such chains are read, and neither changed nor built on.
    pub fn is_old(&self, chain: &Chain) -> bool {
        self.old.as_ref().is_some_and(|old| old.has(chain))
    }

    /// The storage below.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The random id given at creation; `None` where only Freezer has been so far.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its deduplicated part, once it has been opened.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_deref()
    }

    /// Its deduplicated part.
    ///
    /// # Errors
    /// `NoRepository` when it has none, or it has not been opened.
    pub fn the_vault(&self) -> Result<&Vault> {
        self.vault().ok_or_else(|| {
            Error::new(Kind::NoRepository, "nothing has been prepared for deduplicated backups in")
                .on(self.storage.label())
                .hint("prepare it with: icecore init; or go on with chains of tar archives: backup --engine tar")
        })
    }

    /// Whether there is a deduplicated part.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn has_vault(&self) -> Result<bool> {
        Vault::exists(&*self.storage)
    }

    /// Opens the deduplicated part, if there is one and it is not open yet. The password is asked for only when it is needed.
    ///
    /// # Errors
    /// `WrongPassword`, `Damaged` (also when backups are there and the config is gone: they must not pass for none), what
    /// `password` fails with; as the storage has it.
    pub fn open_vault(&mut self, password: &mut dyn FnMut() -> Result<Password>) -> Result<()> {
        match self.vault {
            Some(_) => Ok(()),
            None => self.enter_vault(Threshold::look(&*self.storage, &[]), password),
        }
    }

    /// As [`Repository::open_vault`], by what [`Repository::open_with_threshold`] has read.
    ///
    /// # Errors
    /// As [`Repository::open_vault`].
    pub fn enter_vault(
        &mut self,
        threshold: Threshold,
        password: &mut dyn FnMut() -> Result<Password>,
    ) -> Result<()> {
        self.vault = Vault::enter(Arc::clone(&self.storage), threshold, password)?.map(Arc::new);
        Ok(())
    }

    /// Opens a repository for one who reads, by `open`. Where each request waits for an answer from far away, what is asked for first
    /// afterwards is listed meanwhile, and not again; unless `open` says that it took its time, as one does who is asked for a password.
    ///
    /// # Errors
    /// Of `open`; a thread that cannot be started.
    pub fn open_ahead(
        storage: &Arc<dyn Storage>,
        needs: Needs,
        open: impl FnOnce() -> Result<(Repository, Took)>,
    ) -> Result<Repository> {
        if !storage.capabilities().parallel {
            return open().map(|(repository, _)| repository);
        }
        let engines = || Ok(listing::engines(storage.as_ref()).ok());
        let look = || Ahead::look(storage.as_ref(), needs, engines);
        let ((lists, engines), (mut repository, took)) = pipe::together(look, open)?;
        if took == Took::AMoment {
            if let Some(vault) = repository.vault.as_mut().and_then(Arc::get_mut) {
                vault.go_by(lists);
            }
            // Those of Freezer's old layout are not in the storage's own list.
            if repository.old.is_none() {
                repository.engines = Arc::new(Mutex::new(engines));
            }
        }
        Ok(repository)
    }

    /// Keeps copies of what is small and often read of the deduplicated part in a folder close by, of so many bytes in all; or no
    /// longer does, with `None`. Nothing happens while that part is not open.
    ///
    /// # Errors
    /// As the system has it.
    pub fn set_cache(&mut self, cache: Option<(&Path, u64)>) -> Result<()> {
        let cache = cache.map(|(folder, limit_bytes)| Cache::open(folder, limit_bytes)).transpose()?;
        if let Some(vault) = self.vault.as_mut().and_then(Arc::get_mut) {
            vault.set_cache(cache);
        }
        Ok(())
    }

    /// Makes the deduplicated part. `label` says whose key it is.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one; as the storage has it.
    pub fn create_vault(&mut self, protection: &Protection, label: &str, now: Timestamp) -> Result<()> {
        let vault = Vault::create(Arc::clone(&self.storage), protection, label, now)?;
        self.vault = Some(Arc::new(vault));
        Ok(())
    }

    /// Whether an object exists, and how long it is.
    fn size_of(&self, name: &ObjectName) -> Result<Option<u64>> {
        match self.storage.stat(name) {
            Ok(stat) => Ok(Some(stat.size_bytes)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object, and says whether it was there.
    fn delete_if_there(&self, name: &ObjectName) -> Result<bool> {
        match self.storage.delete(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error.while_doing("cannot delete", name.to_string())),
        }
    }
}

/// How long it took to open a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// What was listed meanwhile is as good as new.
    AMoment,
    /// Somebody was asked for a password.
    AWhile,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.storage.label())
    }
}

/// Reads a small object whole; one that is too large is not what it should be.
fn read_document(storage: &dyn Storage, name: &ObjectName) -> Result<Vec<u8>> {
    storage.read_small(name, crate::limits::SMALL_OBJECT_BYTES).map_err(|error| match error.kind() {
        Kind::Limit => Error::damaged("too long:", name.to_string()).because(error),
        _ => error,
    })
}
