//! Which repository a command works on, and by what password.

use super::{Context, absolute, entropy, host_name, now};
use crate::password::{Given, PasswordArguments};
use crate::seen;
use clap::Args;
use icecore::engine::dedup;
use icecore::error::{Error, Kind, Result};
use icecore::repository::Repository;
use icecore::repository::vault::{Password, Protection};
use icecore::select::Filter;
use icecore::storage::Storage;
use icecore::storage::local::Local;
use icecore::storage::throttle::{Clock, Rates, Throttle};
use icecore::time::Timestamp;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which repository.
#[derive(Args)]
pub struct RepositoryArguments {
    /// Where the backups are: a folder
    #[arg(short = 'r', long = "repository", value_name = "REPO", env = "ICECORE_REPOSITORY")]
    repository: PathBuf,
    #[command(flatten)]
    password: PasswordArguments,
}

impl RepositoryArguments {
    /// Opens the repository, and its vault if it has one.
    pub fn open(&self, context: &Context<'_>) -> Result<Repository> {
        self.open_on(context, Arc::new(self.storage()?), true)
    }

    /// Opens the repository, and its vault if it has one and the filter lets any of it pass.
    pub fn open_for(&self, context: &Context<'_>, filter: &Filter) -> Result<Repository> {
        self.open_on(context, Arc::new(self.storage()?), filter.accepts_engine(dedup::NAME))
    }

    /// As [`RepositoryArguments::open_for`], sending no faster than `rate`.
    pub fn open_slowly(
        &self,
        context: &Context<'_>,
        with_vault: bool,
        rate: Option<NonZeroU64>,
    ) -> Result<Repository> {
        self.open_on(context, throttled(Arc::new(self.storage()?), rate), with_vault)
    }

    fn open_on(
        &self,
        context: &Context<'_>,
        storage: Arc<dyn Storage>,
        with_vault: bool,
    ) -> Result<Repository> {
        let mut repository = Repository::open(storage).map_err(|error| self.advise(error))?;
        if with_vault {
            self.open_vault(context, &mut repository)?;
        }
        Ok(repository)
    }

    fn open_vault(&self, context: &Context<'_>, repository: &mut Repository) -> Result<()> {
        repository.open_vault(&mut || self.password.current(context)).map_err(|error| {
            match error.kind() {
                // A cause is that slots were not tried, of which there is more to say.
                Kind::WrongPassword if std::error::Error::source(&error).is_none() => {
                    error.hint("no key of this repository opens with it; is it the right one?")
                }
                _ => error,
            }
        })?;
        // Whoever has a password takes what he stores to be protected by it, and what he reads to be his own.
        if repository.vault().is_some_and(|vault| !vault.is_encrypted()) && self.password.is_given()? {
            return Err(Error::invalid("a password was given, but this repository is not encrypted:", {
                self.repository.display().to_string()
            })
            .hint("if it should be, somebody has put another in its place; else leave out the password"));
        }
        seen::recognise(context, &self.real_path()?, repository.vault())
    }

    /// Opens the storage below the repository.
    pub fn storage(&self) -> Result<Local> {
        match Local::open(&absolute(&self.repository)?) {
            Err(error) if error.kind() == Kind::NotFound => Err(self.none()),
            opened => opened,
        }
    }

    /// Makes the repository, or opens it when it is there already. A folder that is used for something else is left alone.
    pub fn create(&self, rate: Option<NonZeroU64>) -> Result<Repository> {
        // Looked at before the repository is: somebody else may be making it at this moment.
        let foreign = self.foreign()?;
        let storage = throttled(Arc::new(Local::create(&absolute(&self.repository)?)?), rate);
        match Repository::open(Arc::clone(&storage)) {
            Err(error) if error.kind() == Kind::NoRepository => {
                if foreign {
                    return Err(Error::new(Kind::AlreadyExists, "no repository, and not empty:")
                        .on(self.repository.display().to_string())
                        .hint("name a folder for the repository alone; it need not be there yet"));
                }
                match Repository::create(Arc::clone(&storage), &entropy()?) {
                    // Somebody else made it in the meantime.
                    Err(error) if error.kind() == Kind::AlreadyExists => Repository::open(storage),
                    made => made,
                }
            }
            other => other,
        }
    }

    /// Makes the vault, or opens it when it is there already; and says whether it was made.
    pub fn create_vault(
        &self,
        context: &Context<'_>,
        repository: &mut Repository,
        no_encryption: bool,
    ) -> Result<bool> {
        if repository.has_vault()? {
            self.open_vault(context, repository)?;
            return Ok(false);
        }
        let protection = self.protection(context, no_encryption)?;
        match repository.create_vault(&protection, &host_name(), Timestamp(now().seconds)) {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                self.open_vault(context, repository)?;
                Ok(false)
            }
            made => {
                made?;
                seen::remember(&self.real_path()?, repository.vault());
                Ok(true)
            }
        }
    }

    fn protection(&self, context: &Context<'_>, no_encryption: bool) -> Result<Protection> {
        if !no_encryption {
            return self.password.new_one(context, Given::ForTheRepository).map(Protection::Password);
        }
        if self.password.is_given()? {
            return Err(Error::invalid("a password and --no-encryption contradict each other", "")
                .hint("leave out one of them"));
        }
        Ok(Protection::None)
    }

    /// A new password for this repository.
    pub fn new_password(&self, context: &Context<'_>, given: Given) -> Result<Password> {
        self.password.new_one(context, given)
    }

    /// Whether the folder holds what is no part of a repository, nor of an empty file system.
    fn foreign(&self) -> Result<bool> {
        let entries = match std::fs::read_dir(absolute(&self.repository)?) {
            Ok(entries) => entries,
            // What it cannot be, making it will say.
            Err(_) => return Ok(false),
        };
        let ours = |name: &[u8]| {
            name.starts_with(b".") || [&b"lost+found"[..], b"data", b"metadata", b"dedup"].contains(&name)
        };
        Ok(entries.flatten().any(|entry| !ours(entry.file_name().as_encoded_bytes())))
    }

    /// The folder itself, by the names that lead to it without links.
    pub fn real_path(&self) -> Result<PathBuf> {
        std::fs::canonicalize(&self.repository)
            .map_err(|e| Error::io("cannot find", self.repository.display().to_string(), e))
    }

    fn none(&self) -> Error {
        self.advise(
            Error::new(Kind::NoRepository, "there is no repository in")
                .on(self.repository.display().to_string()),
        )
    }

    fn advise(&self, error: Error) -> Error {
        if error.kind() == Kind::NoRepository {
            error.hint("check the path given with -r, or make a repository there with: icecore init -r …")
        } else {
            error
        }
    }
}

/// A storage that is sent to no faster than so many bytes a second.
fn throttled(storage: Arc<dyn Storage>, rate: Option<NonZeroU64>) -> Arc<dyn Storage> {
    match rate {
        None => storage,
        Some(_) => {
            let rates = Rates { up_bytes_per_second: rate, down_bytes_per_second: None };
            Arc::new(Throttle::new(storage, rates, Arc::new(Running(Instant::now()))))
        }
    }
}

/// The time since the program began.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, wait: Duration) {
        std::thread::sleep(wait);
    }
}
