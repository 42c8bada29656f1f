//! How a level is encrypted, and whether it can go on with the chain there is.
//!
//! Invariant: all levels of a chain open with the same: the same password, the same recipients. Where that cannot be had, a new chain
//! begins, and the reason is told.

use super::Run;
use crate::chain;
use crate::codec::age::{self, Recipients};
use crate::codec::{Compression, openssl};
use crate::error::{Error, Kind, Result};
use crate::keyring::{Key, Question, Secret};
use crate::level::Reason;
use crate::limits::READ_BYTES;
use crate::monitor::{Event, Monitor};
use crate::name::BackupName;
use crate::repository::document::{Scheme, Stored};
use crate::repository::reading::Step;
use crate::repository::{BackupEntry, BackupLocation, Chain};
use crate::spool::{Scratch, Spool};
use std::io::{self, BufWriter, Write};

/// How new levels are encrypted.
#[derive(Debug, Clone)]
pub enum Encryption {
    /// Not at all.
    None,
    /// In the age format, under a password.
    Password,
    /// In the age format, to others: who writes them cannot read them.
    Recipients(Recipients),
    /// As Freezer does it, so that Freezer can read them.
    Freezer,
}

impl Encryption {
    /// Whether streams of that compression can be encrypted so.
    ///
    /// # Errors
    /// `Invalid`: Freezer reads what it compresses with itself, and by that alone a password is known to be right.
    pub fn validate(&self, compression: Compression) -> Result<()> {
        match (self, compression) {
            (Encryption::Freezer, Compression::None | Compression::Zstd) => {
                Err(Error::invalid("Freezer does not read the compression", compression.name())
                    .hint("for Freezer say --compression gzip, bzip2 or xz"))
            }
            _ => Ok(()),
        }
    }
}

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

/// How a level is encrypted, with what is needed to do it.
pub(super) enum Seal {
    None,
    Age { to: Recipients, locked_key: Option<Vec<u8>> },
    OpenSsl(Secret),
}

impl Seal {
    /// What the document says of it.
    pub fn scheme(&self) -> Scheme {
        match self {
            Seal::None => Scheme::None,
            Seal::Age { locked_key, .. } => Scheme::Age { locked_key: locked_key.clone() },
            Seal::OpenSsl(_) => Scheme::OpenSsl,
        }
    }

    /// Encrypts what goes to `out`.
    pub fn writer<W: Write>(&self, out: W) -> Result<Sealed<W>> {
        // What comes from the ciphers comes in small pieces.
        let buffered = |out| BufWriter::with_capacity(READ_BYTES, out);
        Ok(match self {
            Seal::None => Sealed::None(out),
            Seal::Age { to, .. } => Sealed::Age(age::Writer::new(buffered(out), to)?),
            Seal::OpenSsl(secret) => {
                Sealed::OpenSsl(openssl::Writer::new(buffered(out), secret.for_openssl())?)
            }
        })
    }

    /// The state of an engine as it is stored, where that is not as it is. Freezer's is in clear: Freezer goes on with it.
    pub fn state(&self, state: &mut Spool, scratch: &Scratch) -> Result<Option<Spool>> {
        let Seal::Age { to, .. } = self else { return Ok(None) };
        let mut writer = age::Writer::new(scratch.spool(), to)?;
        state.rewind()?;
        io::copy(state, &mut writer)
            .map_err(|e| Error::io("cannot encrypt", "the state of the engine", e))?;
        let mut sealed = writer.finish()?;
        sealed.rewind()?;
        Ok(Some(sealed))
    }
}

/// What encrypts a stream.
pub(super) enum Sealed<W: Write> {
    None(W),
    Age(age::Writer<BufWriter<W>>),
    OpenSsl(openssl::Writer<BufWriter<W>>),
}

impl<W: Write> Sealed<W> {
    /// Writes what is left, and the end.
    pub fn finish(self) -> Result<W> {
        let buffered = match self {
            Sealed::None(out) => return Ok(out),
            Sealed::Age(writer) => writer.finish()?,
            Sealed::OpenSsl(writer) => writer.into_inner(),
        };
        buffered.into_inner().map_err(|e| Error::io("cannot store", "the stream", e.into_error()))
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sealed::None(out) => out.write(bytes),
            Sealed::Age(writer) => writer.write(bytes),
            Sealed::OpenSsl(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sealed::None(out) => out.flush(),
            Sealed::Age(writer) => writer.flush(),
            Sealed::OpenSsl(writer) => writer.flush(),
        }
    }
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
                let (to, locked) = self.key_of_the_series(newest)?;
                Seal::Age { to, locked_key: Some(locked) }
            }
            Encryption::Recipients(to) => Seal::Age { to: to.clone(), locked_key: None },
            Encryption::Freezer => self.freezers_seal()?,
        })
    }

    /// The key of the chain before, as long as the password is the same; otherwise a new one. So all backups of a series open with one
    /// derivation, and a password that was mistyped is noticed.
    fn key_of_the_series(&self, newest: Option<&Chain>) -> Result<(Recipients, Vec<u8>)> {
        let keys = self.options.levels.keys;
        let step = newest.and_then(|chain| Some(chain.location(chain.newest(None)?)));
        // A document that cannot be read keeps nobody from a new chain.
        let step = step.and_then(|location| self.repository.step(location).ok());
        let scheme = step.as_ref().map(|step| step.document.scheme());
        let Some(Scheme::Age { locked_key: Some(locked) }) = scheme else {
            let (key, locked) = keys.lock_up(Question::New)?;
            return Ok((key.recipients(), locked));
        };
        match keys.unlock(locked) {
            Ok(key) => Ok((key.recipients(), locked.clone())),
            Err(error) if matches!(error.kind(), Kind::WrongPassword | Kind::Damaged | Kind::Limit) => {
                let text = "the password does not open the backups before: they keep theirs, and a new chain has this one";
                self.monitor.event(Event::Warning(text));
                let (key, locked) = keys.lock_up(Question::New)?;
                Ok((key.recipients(), locked))
            }
            Err(error) => Err(error),
        }
    }

    fn freezers_seal(&self) -> Result<Seal> {
        let secret = self.options.levels.keys.secret(Question::Existing)?;
        if secret.for_openssl().is_empty() {
            return Err(Error::invalid("the password is empty as openssl reads it", "")
                .hint("it takes the first line of a file, up to a zero"));
        }
        self.monitor.event(Event::Warning(
            "encrypted as Freezer does it, for Freezer to read: a change by whoever can write to the storage is not noticed by \
             Freezer, passwords are cheap to guess, and the names of all files stand in clear in engine_metadata",
        ));
        Ok(Seal::OpenSsl(secret))
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
