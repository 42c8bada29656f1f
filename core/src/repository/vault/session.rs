//! Sessions: a run that writes is announced before anything else of it is written, and taken back when it has ended, so
//! that nothing a run still needs is collected.

use super::Vault;
use super::documents::{Document, Documents};
use super::header::ObjectKind;
use super::id::ObjectId;
use super::json::{self, VERSION};
use super::names::Folder;
use crate::error::{Error, Result};
use crate::limits::NAME_BYTES;
use crate::storage::Storage;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A process, as far as the machine that it runs on can tell it from every other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// When it began, in whatever the machine counts; 0 when that is not known.
    pub began: u64,
    /// Where its number is its own: the same words for processes with one set of numbers, and no others. Empty when that is not known.
    pub machine: String,
}

impl Process {
    /// One of which nothing but the number is known.
    pub fn of_number(number: u32) -> Process {
        Process { number, ..Process::default() }
    }
}

/// What a session's object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The host that writes.
    pub host: String,
    /// The process on that host.
    pub process: Process,
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
    #[serde(default)]
    began: u64,
    #[serde(default)]
    machine: String,
}

impl Document for Announcement {
    const KIND: ObjectKind = ObjectKind::Session;

    fn encode(&self) -> Result<Vec<u8>> {
        let Process { number: process, began, machine } = self.process.clone();
        let (host, started) = (self.host.clone(), self.started.0);
        json::write("session", &Shape { version: VERSION, host, process, started, began, machine })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let Shape { host, process, started, began, machine, .. } = json::read("session", bytes)?;
        if machine.len() > NAME_BYTES {
            return Err(Error::damaged("too long a name of a machine in", "a session"));
        }
        let process = Process { number: process, began, machine };
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
        delete(self.storage.as_ref(), self.id)
    }
}

fn delete(storage: &dyn Storage, id: ObjectId) -> Result<()> {
    let name = Folder::Sessions.object(id)?;
    storage.remove(&name).map_err(|error| error.while_doing("cannot delete", name.to_string()))
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
    pub fn begin_session(&self, host: &str, process: Process, started: Timestamp) -> Result<Session> {
        let id = self.write_document(&Announcement { host: host.to_owned(), process, started })?;
        Ok(Session { storage: Arc::clone(self.storage()), id })
    }

    /// Takes back the session of a run that was killed. Only that of a run which is known to be over: what a run needs that still
    /// writes could be collected.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn end_session(&self, id: ObjectId) -> Result<()> {
        delete(self.storage().as_ref(), id)
    }

    /// Takes back every session of which `is_over` knows that its run was killed; says how many there were.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn end_sessions(&self, is_over: &dyn Fn(&Announcement) -> bool) -> Result<u64> {
        self.end_sessions_of(self.sessions()?, is_over)
    }

    /// As [`Vault::end_sessions`], of those that were listed before.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn end_sessions_of(&self, listed: Sessions, is_over: &dyn Fn(&Announcement) -> bool) -> Result<u64> {
        let mut sessions = listed.found;
        sessions.retain(|(_, session)| is_over(session));
        sessions.iter().try_for_each(|(id, _)| self.end_session(*id))?;
        Ok(sessions.len() as u64)
    }

    /// Every run that is announced, but for one that ends at this moment.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn sessions_but(&self, ended: ObjectId) -> Result<Sessions> {
        let mut names = self.list(Folder::Sessions)?;
        names.objects.retain(|(id, _)| *id != ended);
        self.documents_of(names)
    }

    /// Every run that is announced.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn sessions(&self) -> Result<Sessions> {
        self.documents()
    }
}
