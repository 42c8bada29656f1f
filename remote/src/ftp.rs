//! FTP, in clear and encrypted: `ftp://`, `ftps://`, `ftpes://` (RFC 959, 2228, 2428, 3659, 4217).
//!
//! The client is our own, on sockets of the standard library and rustls: every byte of control and data connections has a
//! deadline, listings are bytes, each session goes on with its own TLS tickets on its data connections (servers insist on that,
//! and TLS 1.3 gives a ticket for one use only: those that come at the end of an upload are waited for), and a range ends by
//! closing its data connection. What comes from a server is parsed in [`reply`] and [`listing`].
//!
//! How objects are written, and what FTP cannot promise, says `site`. `session` is one connection, `pool` all of them.

pub mod listing;
pub mod reply;

mod place;
mod pool;
mod session;
mod site;
mod tls;
mod walk;
mod wire;
mod writer;

use crate::access::Access;
use crate::address::Address;
use crate::{Driver, Intent};
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use place::{Folder, Place, Protection};
use pool::Pool;
use session::{Download, Found, Range, Session};
use site::{Site, Target};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// The driver.
pub const DRIVER: Driver = Driver {
    schemes: &["ftp", "ftps", "ftpes"],
    form: "ftps://[user@]host[:port]/path",
    about: "a folder on an FTP server, encrypted (ftps, ftpes) or in clear (ftp)",
    open,
    holdings: None,
};

/// Reads whose ends are remembered, to see who reads on.
const ENDS_KEPT: usize = 64;

/// How often an object is read again whose length and bytes are of two versions.
const READS: u32 = 16;

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let pool = Pool::new(Place::new(address, access)?);
    let mut session = pool.lease()?;
    let place = pool.place();
    if place.protection == Protection::Off && session.features.encryption && place.account.is_secret() {
        (place.warn)(&format!(
            "{address}: the password goes over the network in clear; the server offers ftps://"
        ));
    }
    let root = match &place.folder {
        Folder::Absolute(path) => path.clone(),
        Folder::BelowHome(rest) => format!("{}{rest}", session.home()?.trim_end_matches('/')),
    };
    enter(&mut session, &root, intent)?;
    drop(session);
    let site = Site::new(pool, root, access.patience.clone());
    // A server that can tell no lengths is of no use.
    site.pool.lease()?.look(&site.temporary())?;
    Ok(Arc::new(Ftp { site: Arc::new(site), label: address.to_string(), ends: Mutex::default() }))
}

/// Proves that the folder is there, or makes it.
fn enter(session: &mut Session, root: &str, intent: Intent) -> Result<()> {
    let path = if root.is_empty() { "/" } else { root };
    let entered = session.ask("CWD", path)?;
    if entered.is_done() {
        return Ok(());
    }
    if intent != Intent::Create {
        return Err(walk::gone(&entered));
    }
    let mut refusal = entered;
    for (end, _) in root.match_indices('/').skip(1).chain([(root.len(), "")]) {
        // Those above are there already, most often.
        let reply = session.ask("MKD", &root[..end])?;
        if !reply.is_done() {
            refusal = reply;
        }
    }
    match session.ask("CWD", path)?.is_done() {
        true => Ok(()),
        false => Err(refusal.refusal("MKD")),
    }
}

/// Objects as files below one folder of a server.
struct Ftp {
    site: Arc<Site>,
    label: String,
    /// Where the latest reads ended.
    ends: Mutex<VecDeque<(String, u64)>>,
}

impl Ftp {
    /// What a refusal means for an object.
    fn refused(&self, session: &mut Session, path: &str, verb: &str, reply: &reply::Reply) -> Error {
        if !matches!(reply.code, 450 | 550 | 551 | 553) {
            return reply.refusal(verb);
        }
        match session.look(path) {
            Ok(Found::Nothing | Found::Folder) => missing(),
            Ok(Found::File(_) | Found::Other) => reply.refusal(verb),
            Err(e) => e,
        }
    }

    /// Whether a read goes on where an earlier one of the same object ended.
    fn reads_on(&self, path: &str, offset: u64) -> bool {
        let mut ends = self.ends();
        let found = ends.iter().position(|(of, end)| of == path && *end == offset);
        found.is_some_and(|at| ends.remove(at).is_some())
    }

    fn remember_end(&self, path: &str, end: u64) {
        let mut ends = self.ends();
        if ends.len() == ENDS_KEPT {
            ends.pop_front();
        }
        ends.push_back((path.to_owned(), end));
    }

    fn ends(&self) -> MutexGuard<'_, VecDeque<(String, u64)>> {
        self.ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Reads once; `None` when length and bytes do not belong together. Who reads on is given a download that goes on.
    fn read_once(&self, range: &Range<'_>, keep: bool) -> Result<Option<Vec<u8>>> {
        let (path, offset) = (range.path, range.offset);
        let mut session = self.site.pool.lease_to_read(range)?;
        let read_on = session.is_running();
        let download = match session.download(range, keep) {
            // A server may tire of a download that waits.
            Err(_) if read_on => return Ok(None),
            other => other?,
        };
        match download {
            Download::Bytes { bytes, is_end: false } => Ok(Some(bytes)),
            Download::Bytes { bytes, is_end: true } => match session.look(path)? {
                Found::File(size) if size == offset.saturating_add(bytes.len() as u64) => Ok(Some(bytes)),
                Found::File(size) if bytes.is_empty() && size <= offset => Ok(Some(bytes)),
                Found::File(_) => Ok(None),
                _ => Err(missing()),
            },
            // Servers refuse to begin behind the end.
            Download::Refused(reply) if offset > 0 => match session.look(path)? {
                Found::File(size) if size <= offset => Ok(Some(Vec::new())),
                _ => Err(self.refused(&mut session, path, "RETR", &reply)),
            },
            Download::Refused(reply) => Err(self.refused(&mut session, path, "RETR", &reply)),
        }
    }
}

fn missing() -> Error {
    Error::new(Kind::NotFound, "there is no such object")
}

impl Storage for Ftp {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.site.path(name)?;
        walk::require_shown(&self.site, name)?;
        let mut session = self.site.lease_to_write()?;
        let temporary = self.site.temporary();
        let target = Target { name, mode, size_bytes: bytes.len() as u64 };
        let stored = self.site.store(&mut session, &temporary, 0, bytes, false);
        let done = stored.and_then(|()| self.site.publish(&mut session, &temporary, &target, false));
        if done.is_err() {
            self.site.discard(&mut session, temporary);
        }
        done
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.site.path(name)?;
        walk::require_shown(&self.site, name)?;
        Ok(Box::new(writer::Writer::new(Arc::clone(&self.site), name.clone(), mode)))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        // Some servers take a number that is too large for them for none, and begin at the beginning.
        if length_bytes == 0 || i64::try_from(offset).is_err() {
            return self.stat(name).map(|_| Vec::new());
        }
        let path = self.site.path(name)?;
        let keep = self.reads_on(&path, offset);
        for _ in 0..READS {
            let range = Range { path: &path, offset, most_bytes: length_bytes, changes: self.site.changes() };
            if let Some(bytes) = self.read_once(&range, keep)? {
                self.remember_end(&path, offset.saturating_add(bytes.len() as u64));
                return Ok(bytes);
            }
        }
        Err(Error::new(Kind::Io, "the server sends another number of bytes than it says there are")
            .retry_later())
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let path = self.site.path(name)?;
        match self.site.pool.lease()?.look(&path)? {
            Found::File(size_bytes) => Ok(Stat { size_bytes }),
            Found::Nothing | Found::Folder => Err(missing()),
            Found::Other => Err(Error::new(Kind::Unsupported, "neither a file nor a folder")),
        }
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        walk::list(&self.site, prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let path = self.site.path(name)?;
        let mut session = self.site.pool.lease()?;
        let reply = session.ask("DELE", &path)?;
        if !reply.is_done() {
            return Err(self.refused(&mut session, &path, "DELE", &reply));
        }
        self.site.changed();
        self.site.tidy(&mut session, name);
        Ok(())
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        walk::clean(&self.site, before)
    }

    fn capabilities(&self) -> Capabilities {
        // Of two processes that make one name at once both may be told that they did.
        Capabilities { create_new_is_atomic: false, parallel: true }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}
