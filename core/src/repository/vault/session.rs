//! Sessions: a run that writes is announced before anything else of it is written, and taken back when it has ended, so
//! that nothing a run still needs is collected.

use super::Vault;
use super::documents::Documents;
use super::id::ObjectId;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// What a session's object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The host that writes.
    pub host: String,
    /// The process on that host.
    pub process: u32,
    /// When it began.
    pub started: Timestamp,
}

/// A run that writes. Dropped without [`Session::end`], it stays announced: as that of a killed run does.
#[derive(Debug)]
pub struct Session {
    id: ObjectId,
}

impl Session {
    /// The name of the session, which its snapshot tells.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Takes it back: all that the run wrote is referred to, or may go.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn end(self) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}

impl Vault {
    /// Announces a run.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn begin_session(&self, host: &str, process: u32, started: Timestamp) -> Result<Session> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(format!("{host} {process} {started}")))
    }

    /// Every run that is announced.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn sessions(&self) -> Result<Documents<Announcement>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
