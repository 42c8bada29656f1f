//! Where a repository is: a folder of this machine, or an address of a storage elsewhere.

use crate::cli::{Context, absolute};
use crate::transfer::TransferArguments;
use icecore::error::{Error, Result};
use icecore::storage::Storage;
use icecore::storage::local::Local;
use icecore_remote::{Address, Intent};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a repository is.
#[derive(Clone)]
pub enum Location {
    /// In a folder.
    Folder(PathBuf),
    /// At an address.
    Remote(Address),
}

impl Location {
    /// What somebody typed: a path, `file:` before one, or an address.
    ///
    /// # Errors
    /// `Invalid` for an address that is none.
    pub fn parse(text: &OsStr) -> Result<Location> {
        let Some(known) = text.to_str().filter(|text| Address::is_one(text)) else {
            return Ok(Location::Folder(text.into()));
        };
        match known.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Ok(Location::Folder(path.into())),
            Some(_) => Err(Error::invalid("file:// needs an absolute path:", known)),
            None => Address::parse(known).map(Location::Remote),
        }
    }

    /// Connects to it.
    ///
    /// # Errors
    /// `NotFound` when there is no such place and it is not to be made; as the storage has it.
    pub fn open(
        &self,
        context: &Context<'_>,
        transfer: &TransferArguments,
        intent: Intent,
    ) -> Result<Arc<dyn Storage>> {
        match self {
            Location::Remote(address) => transfer.connect(context, address, intent),
            Location::Folder(path) => {
                let path = absolute(path)?;
                let local = match intent {
                    Intent::Open => Local::open(path)?,
                    Intent::Create => Local::create(path)?,
                };
                Ok(transfer.throttled(context, Arc::new(local)))
            }
        }
    }

    /// The folder itself, by the names that lead to it without links; `None` for what is elsewhere.
    ///
    /// # Errors
    /// When it cannot be found.
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        let Location::Folder(path) = self else { return Ok(None) };
        let real = std::fs::canonicalize(path);
        real.map(Some).map_err(|e| Error::io("cannot find", path.display().to_string(), e))
    }

    /// What tells it from every other place.
    ///
    /// # Errors
    /// As [`Location::folder`].
    pub fn identity(&self) -> Result<PathBuf> {
        Ok(match self {
            Location::Remote(address) => Path::new(&address.to_string()).to_owned(),
            Location::Folder(path) => self.folder()?.unwrap_or_else(|| path.clone()),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => path.display().fmt(f),
            Location::Remote(address) => address.fmt(f),
        }
    }
}
