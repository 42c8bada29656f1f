//! What encrypts levels: how it is asked for, and the keys to do it with.
//!
//! Invariant: what is encrypted under a password is encrypted to a key that the password has opened, or that was made for it here; never
//! to a public key that stands in a storage.

use super::{Keyring, Question, Secret};
use crate::codec::age::{self, Recipients};
use crate::codec::{Compression, openssl};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::{Event, Monitor};
use crate::repository::document::Scheme;
use crate::repository::{Chain, Repository};
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

/// What is to be said whenever something is encrypted for Freezer.
pub(crate) const FREEZERS_WORTH: &str = "encrypted as Freezer does it, for Freezer to read: a change by whoever can write to the storage is not noticed by \
     Freezer, passwords are cheap to guess, and the names of all files stand in clear in engine_metadata";

/// How a level is encrypted, with what is needed to do it.
pub(crate) enum Seal {
    None,
    Age { to: Recipients, locked_key: Option<Vec<u8>> },
    OpenSsl(Secret),
}

impl Seal {
    /// As Freezer does it, under the password.
    ///
    /// # Errors
    /// `Invalid` for a password that is none to openssl; as [`Keyring::secret`].
    pub fn freezers(keys: &Keyring<'_>) -> Result<Self> {
        let secret = keys.secret(Question::Existing)?;
        if secret.for_openssl().is_empty() {
            return Err(Error::invalid("the password is empty as openssl reads it", "")
                .hint("it takes the first line of a file, up to a zero"));
        }
        Ok(Seal::OpenSsl(secret))
    }

    /// What tells the recipients from others, where it is encrypted to those that somebody has named.
    pub fn recipients(&self) -> Option<blake3::Hash> {
        match self {
            Seal::Age { to, locked_key: None } => Some(to.fingerprint()),
            _ => None,
        }
    }

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
pub(crate) enum Sealed<W: Write> {
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

/// The key of the chain before, as long as the password is the same; otherwise a new one. So all backups of a series open with one
/// derivation, and a password that was mistyped is noticed.
///
/// # Errors
/// As [`Keyring::unlock`] and [`Keyring::lock_up`]; that the password is another is none.
pub(crate) fn key_of_the_series(
    repository: &Repository,
    newest: Option<&Chain>,
    keys: &Keyring<'_>,
    monitor: &dyn Monitor,
) -> Result<(Recipients, Vec<u8>)> {
    let step = newest.and_then(|chain| Some(chain.location(chain.newest(None)?)));
    // A document that cannot be read keeps nobody from a new chain.
    let step = step.and_then(|location| repository.step(location).ok());
    let scheme = step.as_ref().map(|step| step.document.scheme());
    let Some(Scheme::Age { locked_key: Some(locked) }) = scheme else {
        let (key, locked) = keys.lock_up(Question::New)?;
        return Ok((key.recipients(), locked));
    };
    match keys.unlock(locked) {
        Ok(key) => Ok((key.recipients(), locked.clone())),
        Err(error) if matches!(error.kind(), Kind::WrongPassword | Kind::Damaged | Kind::Limit) => {
            let text = "the password does not open the backups before: they keep theirs, and a new chain has this one";
            monitor.event(Event::Warning(text));
            let (key, locked) = keys.lock_up(Question::New)?;
            Ok((key.recipients(), locked))
        }
        Err(error) => Err(error),
    }
}
