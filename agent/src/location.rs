//! Where a repository is: a folder of this machine, or an address of a storage elsewhere.

use crate::cli::{Context, absolute};
use crate::profile::Environment;
use crate::transfer::TransferArguments;
use icecore::error::{Error, Result};
use icecore::storage::Storage;
use icecore::storage::local::Local;
use icecore_remote::{Address, Intent};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A location, and what its storage finds in the environment instead of what is really there.
#[derive(Clone)]
pub struct Place {
    /// Where it is.
    pub location: Location,
    /// The environment; `None` for that of the command.
    pub environment: Option<Environment>,
}

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
    /// `Invalid` for an address that is none, and for nothing at all.
    pub fn parse(text: &OsStr) -> Result<Location> {
        if text.is_empty() {
            return Err(Error::invalid("the place of the repository is empty", "")
                .hint("say where it is: -r, or ICECORE_REPOSITORY"));
        }
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
                    Intent::Open | Intent::Use => Local::open(path)?,
                    Intent::Create => Local::create(path)?,
                };
                Ok(transfer.throttled(context, Arc::new(local)))
            }
        }
    }

    /// The folder itself, by the names that lead to it without links; `None` for what is elsewhere, or not there.
    ///
    /// # Errors
    /// When the way to it is closed.
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        let Location::Folder(path) = self else { return Ok(None) };
        match std::fs::canonicalize(path) {
            Ok(real) => Ok(Some(real)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot find", path.display().to_string(), error)),
        }
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
