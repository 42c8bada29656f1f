//! Sessions: a run that writes is announced before anything else of it is written, and taken back when it has ended, so
//! that nothing a run still needs is collected.

use super::Vault;
use super::documents::{Document, Documents};
use super::header::ObjectKind;
use super::id::ObjectId;
use super::json::{self, VERSION};
use super::names::Folder;
use crate::error::{Kind, Result};
use crate::storage::Storage;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

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

/// All that are announced, oldest first.
pub type Sessions = Documents<Announcement>;

#[derive(Serialize, Deserialize)]
struct Shape {
    version: u64,
    host: String,
    process: u32,
    started: i64,
}

impl Document for Announcement {
    const KIND: ObjectKind = ObjectKind::Session;

    fn encode(&self) -> Result<Vec<u8>> {
        let (host, process, started) = (self.host.clone(), self.process, self.started.0);
        json::write("session", &Shape { version: VERSION, host, process, started })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let Shape { host, process, started, .. } = json::read("session", bytes)?;
        Ok(Announcement { host, process, started: Timestamp(started) })
    }

    fn time(&self) -> (i64, u32) {
        (self.started.0, 0)
    }
}

/// A run that writes. Dropped without [`Session::end`], it stays announced, as that of a killed run does.
pub struct Session {
    storage: Arc<dyn Storage>,
    id: ObjectId,
}

impl Session {
    /// The name of the session, which its snapshot tells.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Takes it back: all that the run wrote is referred to, or may go. One that somebody took away has ended too.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn end(self) -> Result<()> {
        let name = Folder::Sessions.object(self.id)?;
        match self.storage.delete(&name) {
            Err(error) if error.kind() != Kind::NotFound => {
                Err(error.while_doing("cannot delete", name.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

impl Vault {
    /// Announces a run.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn begin_session(&self, host: &str, process: u32, started: Timestamp) -> Result<Session> {
        let id = self.write_document(&Announcement { host: host.to_owned(), process, started })?;
        Ok(Session { storage: Arc::clone(self.storage()), id })
    }

    /// Every run that is announced.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn sessions(&self) -> Result<Sessions> {
        self.documents()
    }
}
