//! Whether a level can go on with the chain there is, encrypted as that is.
//!
//! Invariant: all levels of a chain open with the same: the same password, the same recipients. Where that cannot be had, a new chain
//! begins, and the reason is told.

use super::Run;
use crate::chain;
use crate::codec::Compression;
use crate::codec::age::Recipients;
use crate::error::{Error, Kind, Result};
use crate::keyring::Key;
use crate::keyring::sealing::{self, Encryption, FREEZERS_WORTH, Seal};
use crate::level::Reason;
use crate::monitor::{Event, Monitor};
use crate::name::BackupName;
use crate::repository::document::{Scheme, Stored};
use crate::repository::reading::Step;
use crate::repository::{BackupEntry, BackupLocation, Chain};
use crate::spool::{Scratch, Spool};

/// Of which state something is kept, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// The engine.
    pub engine: &'a str,
    /// The series.
    pub name: &'a BackupName,
    /// The level.
    pub level: u32,
    /// The hash of the state as it is stored, encrypted: no other has it.
    pub stored: blake3::Hash,
    /// What tells the recipients from others.
    pub recipients: blake3::Hash,
}

/// Keeps states of engines on a machine that cannot read what it has stored of them.
pub trait States {
    /// Keeps a state, in place of those of this level and above.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn keep(&self, what: &Kept<'_>, state: &mut Spool) -> Result<()>;

    /// The state that was kept; `None` when it was not, or another one was, or it has changed.
    ///
    /// # Errors
    /// When it cannot be read.
    fn recall(&self, what: &Kept<'_>, scratch: &Scratch) -> Result<Option<Spool>>;
}

/// What an increment builds on.
pub(super) struct Base {
    /// The engine's state after the level before.
    pub state: Spool,
    /// How the chain is encrypted.
    pub seal: Seal,
}

impl Run<'_> {
    /// What an increment to `parent` builds on, if all that a restore of it needs is there in full length; or why it cannot.
    pub(super) fn base(&self, chain: &Chain, parent: BackupEntry) -> Result<Result<Base, Reason>> {
        let path = self.repository.path(chain, parent)?;
        self.repository.verify_sizes(&path)?;
        let top =
            path.last().ok_or_else(|| Error::damaged("no levels in", chain.location(parent).to_string()))?;
        let scheme = top.document.scheme();
        if path.iter().any(|step| step.document.scheme() != scheme) {
            return Ok(Err(Reason::EncryptedOtherwise));
        }
        let (keys, compression) = (self.options.levels.keys, &top.document.compression);
        let clear = || self.repository.read_engine_metadata(top, self.scratch);
        Ok(Ok(match (&self.options.levels.encryption, scheme) {
            (Encryption::None, Scheme::None) => Base { state: clear()?, seal: Seal::None },
            (Encryption::Password, Scheme::Age { locked_key: Some(locked) }) => {
                let key = keys.unlock(locked).map_err(|error| {
                    let error = error.while_doing("cannot go on with", top.location.to_string());
                    match error.kind() {
                        Kind::WrongPassword => error.hint(
                            "give the password of that backup; or begin a new chain under another: leave out --incremental once",
                        ),
                        _ => error,
                    }
                })?;
                let opener = Key::Age(vec![key.identity()]);
                let state = chain::engine_metadata(self.repository, top, &opener, self.scratch)?;
                Base { state, seal: Seal::Age { to: key.recipients(), locked_key: Some(locked.clone()) } }
            }
            (Encryption::Recipients(to), Scheme::Age { locked_key: None }) => match self.recall(top, to)? {
                Some(state) => Base { state, seal: Seal::Age { to: to.clone(), locked_key: None } },
                None => return Ok(Err(Reason::NothingKept)),
            },
            (Encryption::Freezer, Scheme::OpenSsl) => {
                let compression = Compression::parse(compression.as_deref().unwrap_or_default())?;
                keys.key_of(self.repository, top, &[compression])?;
                Base { state: clear()?, seal: self.freezers_seal()? }
            }
            _ => return Ok(Err(Reason::EncryptedOtherwise)),
        }))
    }

    /// How a new chain is encrypted.
    pub(super) fn new_seal(&self, newest: Option<&Chain>) -> Result<Seal> {
        Ok(match &self.options.levels.encryption {
            Encryption::None => Seal::None,
            Encryption::Password => {
                let (to, locked) = sealing::key_of_the_series(
                    self.repository,
                    newest,
                    self.options.levels.keys,
                    self.monitor,
                )?;
                Seal::Age { to, locked_key: Some(locked) }
            }
            Encryption::Recipients(to) => Seal::Age { to: to.clone(), locked_key: None },
            Encryption::Freezer => self.freezers_seal()?,
        })
    }

    fn freezers_seal(&self) -> Result<Seal> {
        let seal = Seal::freezers(self.options.levels.keys)?;
        self.monitor.event(Event::Warning(FREEZERS_WORTH));
        Ok(seal)
    }

    /// What was kept of a level.
    fn recall(&self, top: &Step, to: &Recipients) -> Result<Option<Spool>> {
        let (Some(states), Some(details)) = (self.options.levels.states, &top.document.details) else {
            return Ok(None);
        };
        match states.recall(&kept(&top.location, &details.engine_metadata, to), self.scratch) {
            Err(error) => {
                self.monitor
                    .event(Event::Warning(&format!("what was kept of the backup before is lost: {error}")));
                Ok(None)
            }
            recalled => recalled,
        }
    }

    /// Keeps what the next level needs, where nobody here can read it from the storage.
    pub(super) fn keep(&self, location: &BackupLocation, stored: &Stored, state: &mut Spool) {
        let levels = &self.options.levels;
        let (Encryption::Recipients(to), true) = (&levels.encryption, levels.policy.incremental) else {
            return;
        };
        let Some(states) = levels.states else { return };
        let outcome = state.rewind().and_then(|()| states.keep(&kept(location, stored, to), state));
        if let Err(error) = outcome {
            let text =
                format!("the next backup will be a full one, since nothing could be kept for it: {error}");
            self.monitor.event(Event::Warning(&text));
        }
    }
}

fn kept<'a>(location: &'a BackupLocation, stored: &Stored, to: &Recipients) -> Kept<'a> {
    Kept {
        engine: &location.engine,
        name: &location.name,
        level: location.entry.level.number(),
        stored: stored.blake3,
        recipients: to.fingerprint(),
    }
}
