//! The one error type: a kind to branch on, what was being done, to what, whether trying again may help, and the cause.
//!
//! Errors are built where kind and subject are known; callers add context with [`Error::while_doing`], never by flattening
//! to text. The kind decides the exit status of a program; the words are for people.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure this is. Callers branch on this and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The thing named does not exist.
    NotFound,
    /// The thing named exists already and must not be replaced.
    AlreadyExists,
    /// There is no repository at this place.
    NoRepository,
    /// Somebody else is doing this at the same time.
    Busy,
    /// The password opens nothing here.
    WrongPassword,
    /// Stored bytes are not what they should be: too short, wrong hash, broken syntax, a gap in a chain.
    Damaged,
    /// Well-formed, but a kind or version this program does not know.
    Unsupported,
    /// The caller asked for something that makes no sense.
    Invalid,
    /// Permission was refused.
    Denied,
    /// There is no room left where bytes were to be written.
    NoSpace,
    /// A bound of [`crate::limits`] was passed.
    Limit,
    /// The source changed while it was read.
    Changed,
    /// The other end of a pipe ended; the cause is reported by that end.
    Stopped,
    /// The user asked to stop.
    Interrupted,
    /// Any other failure of the operating system or a server.
    Io,
}

/// Whether the same operation may succeed when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Trying again gives the same answer.
    #[default]
    Never,
    /// A later attempt may succeed (a connection was lost, a server is overloaded).
    Later,
}

/// A failure: what was being done, to what, why, and what may help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    what: String,
    subject: String,
    hint: Option<String>,
    retry: Retry,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`; `what` says in a few words what failed ("cannot read", "wrong checksum").
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            subject: String::new(),
            hint: None,
            retry: Retry::Never,
            source: None,
        }))
    }

    /// A failed system call or stream operation; the kind is taken from the operating system's code.
    pub fn io(what: impl Into<String>, subject: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match recover(source) {
            Ok(inner) => inner.while_doing(what, subject),
            Err(source) => Error::new(kind_of_io(&source), what).on(subject).because(source),
        }
    }

    /// Shorthand for [`Kind::Damaged`].
    pub fn damaged(what: impl Into<String>, subject: impl Into<String>) -> Self {
        Error::new(Kind::Damaged, what).on(subject)
    }

    /// Shorthand for [`Kind::Invalid`].
    pub fn invalid(what: impl Into<String>, subject: impl Into<String>) -> Self {
        Error::new(Kind::Invalid, what).on(subject)
    }

    /// The other end of a pipe is gone.
    pub fn stopped() -> Self {
        Error::new(Kind::Stopped, "the other end stopped")
    }

    /// The user asked to stop.
    pub fn interrupted() -> Self {
        Error::new(Kind::Interrupted, "interrupted")
    }

    /// Names what the operation was on: a path, an object, an option.
    #[must_use]
    pub fn on(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = subject.into();
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says that a later attempt may succeed.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.0.retry = Retry::Later;
        self
    }

    /// Wraps this error in a larger operation; kind, retry and hint stay.
    #[must_use]
    pub fn while_doing(self, what: impl Into<String>, subject: impl Into<String>) -> Self {
        let (kind, retry, hint) = (self.kind(), self.retry(), self.0.hint.clone());
        let mut outer = Error::new(kind, what).on(subject).because(self);
        outer.0.retry = retry;
        outer.0.hint = hint;
        outer
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What the operation was on; empty when there is nothing to name.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Whether a later attempt may succeed.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The failure in words, with another name for what it was on: the whole path, say, where the error knows its end.
    pub fn told_of(&self, subject: &str) -> String {
        let mut text = self.0.what.clone();
        if !subject.is_empty() {
            text.extend([" ", subject]);
        }
        if let Some(source) = &self.0.source {
            text.extend([": ", &source.to_string()]);
        }
        text
    }

    /// What the user can do about it, if anybody knew.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// An `Error` that travelled through `std::io::Read` or `Write` comes back whole.
fn recover(error: io::Error) -> Result<Error, io::Error> {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let inner = error.into_inner().expect("get_ref was Some");
        return Ok(*inner.downcast::<Error>().expect("type was checked"));
    }
    Err(error)
}

fn kind_of_io(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Kind::Damaged,
        _ => Kind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told_of(&self.0.subject))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Damaged => io::ErrorKind::InvalidData,
            Kind::Stopped => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_a_trip_through_io() {
        let error = Error::damaged("wrong checksum of", "data").hint("restore an older backup");
        let back = Error::io("cannot read", "level 3", io::Error::from(error));
        assert_eq!(back.kind(), Kind::Damaged);
        assert_eq!(back.advice(), Some("restore an older backup"));
        assert_eq!(back.to_string(), "cannot read level 3: wrong checksum of data");
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let error = Error::io("cannot write", "/x", io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), Kind::NoSpace);
    }
}
