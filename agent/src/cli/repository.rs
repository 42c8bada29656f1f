//! Which repository a command works on, and by what password.

use super::{Context, cores, entropy, host_name, now};
use crate::cache::CacheArguments;
use crate::keys::IdentityArguments;
use crate::location::{Location, Place};
use crate::output;
use crate::password::{Given, PasswordArguments};
use crate::seen;
use crate::transfer::{self, TransferArguments};
use clap::Args;
use icecore::engine::dedup;
use icecore::error::{Error, Kind, Result};
use icecore::heal;
use icecore::keyring::Keyring;
use icecore::repository::vault::ahead::Needs;
use icecore::repository::vault::opening::Threshold;
use icecore::repository::vault::{ObjectId, Password, Protection, Vault};
use icecore::repository::{Repository, Took, copies};
use icecore::select::Filter;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::storage::mirror::Target;
use icecore::time::Timestamp;
use icecore_remote::{Holding, Intent};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// Which repository.
#[derive(Args)]
pub struct RepositoryArguments {
    /// Where the backups are: a folder, or an address such as sftp://host/folder; given several times, each holds all of them
    #[arg(
        short = 'r',
        long = "repository",
        value_name = "REPO",
        env = "ICECORE_REPOSITORY",
        hide_env_values = true,
        required = true
    )]
    repository: Vec<OsString>,
    /// With several -r: go on as long as so many of them take what is written [default: all]
    #[arg(long, value_name = "N", display_order = 89)]
    min_copies: Option<usize>,
    #[command(flatten)]
    password: PasswordArguments,
    #[command(flatten)]
    transfer: TransferArguments,
    #[command(flatten)]
    cache: CacheArguments,
    /// Places that no word names, instead of those that words do.
    #[arg(skip)]
    places: Vec<Place>,
}

impl RepositoryArguments {
    /// From now on it is in these places, whatever the words say.
    pub fn put_at(&mut self, places: Vec<Place>) {
        self.places = places;
    }

    /// Another repository, which is used in the same way.
    pub fn another(&self, repository: &OsString, password: PasswordArguments) -> RepositoryArguments {
        RepositoryArguments {
            repository: vec![repository.clone()],
            min_copies: None,
            password,
            transfer: self.transfer.clone(),
            cache: self.cache.clone(),
            places: Vec::new(),
        }
    }

    /// Opens the repository, and its vault if it has one.
    pub fn open(&self, context: &Context<'_>) -> Result<Repository> {
        self.open_on(context, true)
    }

    /// Opens the repository, and its vault if it has one and the filter lets any of it pass.
    pub fn open_for(&self, context: &Context<'_>, filter: &Filter) -> Result<Repository> {
        self.open_on(context, filter.accepts_engine(dedup::NAME))
    }

    /// As [`RepositoryArguments::open_for`], for who only reads, and what.
    pub fn open_to_read(&self, context: &Context<'_>, filter: &Filter, needs: Needs) -> Result<Repository> {
        if !filter.accepts_engine(dedup::NAME) {
            return self.open_on(context, false);
        }
        let storage = self.connected(context)?;
        let below = Arc::clone(&storage);
        Repository::open_ahead(&storage, needs, || {
            let repository = self.enter(context, below)?;
            let is_asked =
                repository.vault().is_some_and(Vault::is_encrypted) && !self.password.is_given()?;
            Ok((repository, if is_asked { Took::AWhile } else { Took::AMoment }))
        })
    }

    /// Opens the repository, and its vault only if that is asked for.
    pub fn open_on(&self, context: &Context<'_>, with_vault: bool) -> Result<Repository> {
        let storage = self.connected(context)?;
        match with_vault {
            true => self.enter(context, storage),
            false => Repository::open(storage).map_err(|error| self.advise(context, error)),
        }
    }

    /// The storage of a repository that is there.
    fn connected(&self, context: &Context<'_>) -> Result<Arc<dyn Storage>> {
        // Of several places it is known at once which can be reached.
        self.storage(context, if self.is_one() { Intent::Use } else { Intent::Open })
    }

    /// Opens the repository in a storage, and its vault.
    fn enter(&self, context: &Context<'_>, storage: Arc<dyn Storage>) -> Result<Repository> {
        let known: Vec<ObjectId> = self.identities()?.iter().flat_map(|place| seen::keys_at(place)).collect();
        let opened = Repository::open_with_threshold(storage, &known);
        let (mut repository, threshold) = opened.map_err(|error| self.advise(context, error))?;
        self.open_vault(context, &mut repository, threshold)?;
        Ok(repository)
    }

    /// Opens the repository, which is in one of several places at least, and makes those that are missing.
    pub fn open_and_make(&self, context: &Context<'_>) -> Result<Repository> {
        self.enter(context, self.storage(context, Intent::Create)?)
    }

    /// What opens chains: these secret keys, and the password if one is needed.
    pub fn keyring<'a>(
        &'a self,
        context: &'a Context<'a>,
        identities: &IdentityArguments,
    ) -> Result<Keyring<'a>> {
        identities.keyring(context, &self.password)
    }

    fn open_vault(
        &self,
        context: &Context<'_>,
        repository: &mut Repository,
        threshold: Threshold,
    ) -> Result<()> {
        repository.enter_vault(threshold, &mut || self.password.current(context)).map_err(|error| {
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
                self.label()
            })
            .hint("if it should be, somebody has put another in its place; else leave out the password"));
        }
        for identity in self.identities()? {
            seen::recognise(context, &identity, repository.vault())?;
        }
        self.cache.apply(context, repository)
    }

    /// Opens the storage below the repository.
    pub fn storage(&self, context: &Context<'_>, intent: Intent) -> Result<Arc<dyn Storage>> {
        match self.connect(context, intent) {
            Err(error) if error.kind() == Kind::NotFound && intent != Intent::Create => Err(self.none(error)),
            opened => opened,
        }
    }

    /// Opens the one place, or joins the several.
    fn connect(&self, context: &Context<'_>, intent: Intent) -> Result<Arc<dyn Storage>> {
        let places = self.places()?;
        let open = |place: &Place| place.location.open(&of_place(context, place), &self.transfer, intent);
        if let [place] = places.as_slice() {
            if let Some(count) = self.min_copies.filter(|count| *count > 1) {
                return Err(Error::invalid("one place cannot hold so many copies:", count.to_string())
                    .hint("give -r once for each place"));
            }
            return open(place);
        }
        let mut targets: Vec<Target> = Vec::with_capacity(places.len());
        for place in places {
            let label = place.location.to_string();
            if targets.iter().any(|target| target.label == label) {
                return Err(Error::invalid("given twice as a place of the repository:", label));
            }
            targets.push(Target { label, storage: open(&place) });
        }
        context.mirrors.join(targets, intent == Intent::Create, self.min_copies, transfer::clock(context))
    }

    /// The containers or buckets of each account that the places name none in; `None` for one that has no list of them.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn holdings(&self, context: &Context<'_>) -> Result<Vec<Option<Vec<Holding>>>> {
        let of = |place: &Place| match &place.location {
            Location::Remote(address) => self.transfer.holdings(&of_place(context, place), address),
            Location::Folder(_) => Ok(None),
        };
        self.places()?.iter().map(of).collect()
    }

    fn places(&self) -> Result<Vec<Place>> {
        if !self.places.is_empty() {
            return Ok(self.places.clone());
        }
        let place = |word: &OsString| Ok(Place { location: Location::parse(word)?, environment: None });
        self.repository.iter().map(place).collect()
    }

    fn locations(&self) -> Result<Vec<Location>> {
        Ok(self.places()?.into_iter().map(|place| place.location).collect())
    }

    fn is_one(&self) -> bool {
        let count = if self.places.is_empty() { self.repository.len() } else { self.places.len() };
        count == 1
    }

    /// What tells each place from every other, as far as it can be reached.
    fn identities(&self) -> Result<Vec<PathBuf>> {
        let is_one = self.is_one();
        let identity = |location: Location| location.identity();
        let reached = |identity: &Result<PathBuf>| is_one || identity.is_ok();
        self.locations()?.into_iter().map(identity).filter(reached).collect()
    }

    /// Where it is, without secrets.
    pub fn label(&self) -> String {
        let labels = |locations: Vec<Location>| {
            locations.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ")
        };
        self.locations().map_or_else(|_| "the repository".to_owned(), labels)
    }

    /// Makes all places alike, if they are several: before anything is written.
    pub fn heal(&self, context: &Context<'_>, repository: &Repository) -> Result<()> {
        context.mirrors.heal(context, repository, heal::Options::default()).map(drop)
    }

    /// Threads that read a repository: where each request waits for an answer from far away, more than there are cores.
    pub fn workers(&self, repository: &Repository) -> usize {
        match repository.storage().capabilities().parallel {
            true => cores().max(self.transfer.connections()),
            false => cores(),
        }
    }

    /// Makes the repository, or opens it when it is there already. A place that is used for something else is left alone.
    pub fn create(&self, context: &Context<'_>) -> Result<Repository> {
        let storage = self.storage(context, Intent::Create)?;
        // Looked at before the repository is: somebody else may be making it at this moment.
        let foreign = copies::is_foreign(storage.as_ref())?;
        self.create_in(context, storage, foreign)
    }

    /// The same, also beside what is not the repository's, as Freezer does it.
    pub fn create_beside(&self, context: &Context<'_>) -> Result<Repository> {
        self.create_in(context, self.storage(context, Intent::Create)?, false)
    }

    fn create_in(
        &self,
        context: &Context<'_>,
        storage: Arc<dyn Storage>,
        foreign: bool,
    ) -> Result<Repository> {
        match Repository::open(Arc::clone(&storage)) {
            Err(error) if error.kind() == Kind::NoRepository => {
                let why = "none is made, since not every place could be asked whether it has the repository already";
                context.mirrors.refuse_partial(why)?;
                if foreign {
                    return Err(self.not_empty());
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

    fn not_empty(&self) -> Error {
        Error::new(Kind::AlreadyExists, "no repository, and not empty:")
            .on(self.label())
            .hint("name a folder for the repository alone; it need not be there yet")
    }

    /// What a rehearsal backs up to where a backup would make the repository, or its vault: one in memory, of which nothing stays. `missing`
    /// says what is not there.
    pub fn rehearse(&self, context: &Context<'_>, with_vault: bool, missing: Error) -> Result<Repository> {
        // Several places have been joined already, and one of them may have it.
        if !self.is_one() {
            return Err(missing);
        }
        match self.storage(context, Intent::Open) {
            Ok(storage) if copies::is_foreign(storage.as_ref())? => return Err(self.not_empty()),
            // What is not there is made.
            Err(error) if error.kind() != Kind::NoRepository => return Err(error),
            _ => (),
        }
        let mut repository = Repository::create(Arc::new(Memory::new()), &entropy()?)?;
        if with_vault {
            repository.create_vault(&Protection::None, &host_name(), Timestamp(now().seconds))?;
        }
        match context.global.json {
            true => {
                output::json(&json!({"type": "repository", "action": "would make", "location": self.label()}))
            }
            false => {
                output::line(context.global, &format!("would make a repository in {}", self.label()));
            }
        }
        Ok(repository)
    }

    /// The same for a repository that is to have a vault; and how that is to be protected, when it has none yet. This is known before
    /// anything is written: what somebody leaves who has no password at hand would pass for a repository without backups.
    pub fn create_for_vault(
        &self,
        context: &Context<'_>,
        no_encryption: bool,
    ) -> Result<(Repository, Option<Protection>)> {
        let storage = self.storage(context, Intent::Create)?;
        let foreign = copies::is_foreign(storage.as_ref())?;
        let lacks_vault = match Repository::open(Arc::clone(&storage)) {
            Ok(repository) => !repository.has_vault()?,
            Err(error) if error.kind() == Kind::NoRepository => !foreign,
            Err(error) => return Err(error),
        };
        let protection = lacks_vault.then(|| self.protection(context, no_encryption)).transpose()?;
        Ok((self.create_in(context, storage, foreign)?, protection))
    }

    /// Makes the vault, protected as [`RepositoryArguments::create_for_vault`] has found out, or opens it when it is there already.
    pub fn create_vault(
        &self,
        context: &Context<'_>,
        repository: &mut Repository,
        protection: Option<&Protection>,
    ) -> Result<()> {
        let made = protection
            .map(|protection| repository.create_vault(protection, &host_name(), Timestamp(now().seconds)));
        match made {
            Some(Ok(())) => {
                for identity in self.identities()? {
                    seen::remember(&identity, repository.vault());
                }
                seen::begin(repository.vault());
                Ok(())
            }
            Some(Err(error)) if error.kind() != Kind::AlreadyExists => Err(error),
            // It was there, or somebody else has made it in the meantime.
            _ => self.open_vault(context, repository, Threshold::look(repository.storage().as_ref(), &[])),
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

    /// The folders of a repository on this machine, by the names that lead to them without links.
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        let is_one = self.is_one();
        let folder = |location: Location| match location.folder() {
            // One of several that is not there is told elsewhere.
            Err(_) if !is_one => None,
            other => other.transpose(),
        };
        self.locations()?.into_iter().filter_map(folder).collect()
    }

    fn none(&self, cause: Error) -> Error {
        none_there(
            Error::new(Kind::NoRepository, "there is no repository in").on(self.label()).because(cause),
        )
    }

    fn advise(&self, context: &Context<'_>, error: Error) -> Error {
        if error.kind() != Kind::NoRepository {
            return error;
        }
        let partial =
            context.mirrors.refuse_partial("no repository was found, and not every place could be asked");
        partial.err().unwrap_or_else(|| none_there(error))
    }
}

fn none_there(error: Error) -> Error {
    error.hint("check the place given with -r, or make a repository there with: icecore init -r …")
}

/// What the storage at a place finds around it: an environment of its own, where the place has one.
fn of_place<'a>(context: &'a Context<'a>, place: &Place) -> Context<'a> {
    let environment = place.environment.as_ref().unwrap_or(&context.environment);
    Context { environment: Arc::clone(environment), ..context.without_profile() }
}
