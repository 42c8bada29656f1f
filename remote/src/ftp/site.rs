//! A folder on a server: how objects are written there, so that each is under its name whole or not at all, and looked for.
//!
//! An object is written under a temporary name in the folder of the storage itself, its length is asked for, and it is
//! renamed. FTP has neither a rename that does not replace nor a way to say "on the disk": of two processes that make the same
//! name at once both may win, and what a server has taken it may lose when its machine crashes.

use super::pool::{Lease, Pool};
use super::session::{Found, Session};
use icecore::error::{Error, Kind, Result};
use icecore::limits::{FTP_LEFTOVERS, FTP_RENAMES};
use icecore::name::ObjectName;
use icecore::storage::PutMode;
use icecore::storage::retry::Patience;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

/// How temporary files are called in front of their random part. Object names never have a component like it.
pub(super) const TEMPORARY_PREFIX: &str = ".icecore-tmp-";

/// A folder on a server.
pub(super) struct Site {
    pub pool: Pool,
    /// Its path, without a slash at the end.
    root: String,
    pub patience: Patience,
    /// How many objects this process has made or removed.
    changes: AtomicU64,
    /// Names that are being made.
    names: Names,
    /// Temporary files that could not be removed when they should have been.
    leftovers: Mutex<Vec<String>>,
    /// Whether the server refuses to remove a folder in which something is.
    keeps_full_folders: OnceLock<bool>,
    /// Whether LIST shows names that begin with a dot.
    pub shows_dots: OnceLock<bool>,
    /// Whether the server writes on from the middle of a file.
    restarts: OnceLock<bool>,
}

impl Site {
    pub fn new(pool: Pool, root: String, patience: Patience) -> Site {
        Site {
            pool,
            root,
            patience,
            changes: AtomicU64::new(0),
            names: Names::default(),
            leftovers: Mutex::default(),
            keeps_full_folders: OnceLock::new(),
            shows_dots: OnceLock::new(),
            restarts: OnceLock::new(),
        }
    }

    /// How many objects this process has made or removed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Says that an object was made or removed.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Where an object is.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be said in FTP, or is kept for temporary files.
    pub fn path(&self, name: &ObjectName) -> Result<String> {
        if name.as_str().contains(['\r', '\n'])
            || name.as_str().split('/').any(|part| part.starts_with(TEMPORARY_PREFIX))
        {
            return Err(Error::invalid(
                "not a name for a file on an FTP server:",
                format!("{:?}", name.as_str()),
            )
            .hint("line ends cannot be sent, and `.icecore-tmp-` is reserved"));
        }
        Ok(self.below(name.as_str()))
    }

    pub fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// The folder itself, as a server is told.
    pub fn root(&self) -> &str {
        if self.root.is_empty() { "/" } else { &self.root }
    }

    /// A path for an object that is being written.
    pub fn temporary(&self) -> String {
        // Keys from the system's randomness: names need to be distinct, not secret.
        let random = || RandomState::new().hash_one(0);
        self.below(&format!("{TEMPORARY_PREFIX}{:016x}{:016x}", random(), random()))
    }

    /// A session to write with, once what earlier failures left is gone.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub fn lease_to_write(&self) -> Result<Lease<'_>> {
        let mut lease = self.pool.lease()?;
        // Not the lock itself in the condition: it would be held in the body, which may need it.
        while let Some(path) = self.next_leftover() {
            if lease.ask("DELE", &path).is_err() {
                self.leave(path);
                drop(lease);
                return self.pool.lease();
            }
        }
        lease.begin();
        Ok(lease)
    }

    fn next_leftover(&self) -> Option<String> {
        self.leftovers().pop()
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<String>> {
        self.leftovers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Remembers a temporary file for the next session. Beyond the bound it is a stray that `clean_temporaries` removes.
    pub fn leave(&self, path: String) {
        let mut leftovers = self.leftovers();
        if leftovers.len() < FTP_LEFTOVERS {
            leftovers.push(path);
        }
    }

    /// Removes a temporary file, now if that is possible.
    pub fn discard(&self, session: &mut Session, temporary: String) {
        if !session.broken {
            session.begin();
            if session.ask("DELE", &temporary).is_ok() {
                return;
            }
        }
        self.leave(temporary);
    }

    /// Stores bytes in a temporary file from `base` on. `again` says that an earlier attempt may have stored some of them.
    ///
    /// Every attempt writes the same bytes to the same places: the remains of an earlier one that a server still works on
    /// do no harm.
    ///
    /// # Errors
    /// As the server has it; those that may pass leave the file so that the next attempt goes on.
    pub fn store(
        &self,
        session: &mut Session,
        path: &str,
        base: u64,
        bytes: &[u8],
        again: bool,
    ) -> Result<()> {
        let whole = base + bytes.len() as u64;
        let offset = if again { stored(session.look(path)?, base, whole)? } else { base };
        let rest = usize::try_from(offset - base).map_or(&bytes[..0], |done| &bytes[done..]);
        if !rest.is_empty() || offset == 0 {
            self.send(session, path, offset, rest)?;
        }
        match session.look(path)? {
            Found::File(size_bytes) if size_bytes == whole => Ok(()),
            found => Err(Error::new(Kind::Io, format!("the server has {} after {whole} bytes", told(found)))
                .retry_later()),
        }
    }

    fn send(&self, session: &mut Session, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset == 0 {
            return session.upload("STOR", path, 0, bytes)?.map_err(|reply| reply.refusal("STOR"));
        }
        if *self.restarts.get().unwrap_or(&true) {
            match session.upload("STOR", path, offset, bytes)? {
                Ok(()) => {
                    self.restarts.set(true).unwrap_or(());
                    return Ok(());
                }
                // Not every server writes into the middle of a file, but all know APPE.
                Err(reply) if self.restarts.get().is_some() => return Err(reply.refusal("STOR")),
                Err(_) => {}
            }
        }
        let appended = session.upload("APPE", path, 0, bytes)?.map_err(|reply| reply.refusal("APPE"));
        if appended.is_ok() {
            self.restarts.set(false).unwrap_or(());
        }
        appended
    }

    /// Gives a temporary file of `size_bytes` its name. `again` says that an earlier attempt may have done it.
    ///
    /// # Errors
    /// `AlreadyExists` for a new object whose name is taken, `Invalid` when a folder is in the way; otherwise as the server has it.
    pub fn publish(
        &self,
        session: &mut Session,
        temporary: &str,
        target: &Target<'_>,
        again: bool,
    ) -> Result<()> {
        let path = self.path(target.name)?;
        let _held = (target.mode == PutMode::CreateNew).then(|| self.names.hold(&path));
        session.begin();
        if again && session.look(temporary)? == Found::Nothing {
            // Only its own name can have become of it.
            return match session.look(&path)? {
                Found::File(size_bytes) if size_bytes == target.size_bytes => Ok(()),
                _ => Err(Error::new(Kind::NotFound, "what was written is gone from the server")),
            };
        }
        if target.mode == PutMode::CreateNew && session.look(&path)? != Found::Nothing {
            return Err(self.in_the_way(session, &path)?);
        }
        let renamed = self.rename(session, temporary, target.name, &path);
        self.changed();
        if renamed.is_err() && !session.broken {
            self.tidy(session, target.name);
        }
        renamed
    }

    fn in_the_way(&self, session: &mut Session, path: &str) -> Result<Error> {
        Ok(match session.look(path)? {
            Found::Folder => Error::invalid("a folder is in the way of", path),
            _ => Error::new(Kind::AlreadyExists, "there is already").on(path),
        })
    }

    /// Renames a temporary file, and makes the folders that its name needs: they come and go with what others do.
    fn rename(&self, session: &mut Session, temporary: &str, name: &ObjectName, path: &str) -> Result<()> {
        let (mut attempt, mut taken) = (1, 0);
        loop {
            let reply = session.ask("RNFR", temporary)?;
            if !reply.wants_more() {
                return Err(reply.refusal("RNFR"));
            }
            let reply = session.ask("RNTO", path)?;
            if reply.is_done() {
                return Ok(());
            }
            let has_folder = name.as_str().contains('/');
            if reply.code < 500 || reply.is_unknown_command() || !has_folder || attempt >= FTP_RENAMES {
                return Err(self.refused_name(session, path).unwrap_or_else(|| reply.refusal("RNTO")));
            }
            attempt += 1;
            // With the folder there, what stands under the name is the reason; once may be the work of others.
            taken += u32::from(!self.make_folders(session, name)? && self.is_taken(session, path)?);
            if taken == 3 {
                return Err(self.refused_name(session, path).unwrap_or_else(|| reply.refusal("RNTO")));
            }
        }
    }

    fn is_taken(&self, session: &mut Session, path: &str) -> Result<bool> {
        Ok(session.look(path)? != Found::Nothing || session.ask("CWD", path)?.is_done())
    }

    /// What stands where a name was refused.
    fn refused_name(&self, session: &mut Session, path: &str) -> Option<Error> {
        if session.ask("CWD", path).ok()?.is_done() {
            return Some(Error::invalid("a folder is in the way of", path));
        }
        match session.look(path).ok()? {
            Found::File(_) => {
                Some(Error::new(Kind::Unsupported, "the server does not rename over what is there:").on(path))
            }
            _ => None,
        }
    }

    /// Makes the folders above an object that are missing; whether there were any.
    ///
    /// # Errors
    /// `Invalid` when an object is in the way, `Denied`, or as the server has it.
    fn make_folders(&self, session: &mut Session, name: &ObjectName) -> Result<bool> {
        let folders: Vec<String> = above(name.as_str()).map(|folder| self.below(folder)).collect();
        let Some(last) = folders.first() else { return Ok(false) };
        if session.ask("CWD", last)?.is_done() {
            return Ok(false);
        }
        let mut refusal = None;
        for folder in folders.iter().rev() {
            let reply = session.ask("MKD", folder)?;
            // Most often it is there. If not, the next one is refused as well, and a file in the way is found.
            if !reply.is_done() && !session.ask("CWD", folder)?.is_done() {
                if matches!(session.look(folder)?, Found::File(_) | Found::Other) {
                    return Err(Error::invalid("an object is in the way of the folder", folder.clone()));
                }
                refusal.get_or_insert(reply);
            }
        }
        match refusal {
            // Of several refusals the cause is the first; a folder that somebody removed meanwhile is made by the next attempt.
            Some(reply) if reply.is_denial() || reply.code < 500 || reply.is_unknown_command() => {
                Err(reply.refusal("MKD"))
            }
            _ => Ok(true),
        }
    }

    /// Removes the folders above an object that are empty, from the deepest up. One that cannot be removed ends it.
    pub fn tidy(&self, session: &mut Session, name: &ObjectName) {
        if !name.as_str().contains('/') || !self.keeps_full_folders(session).unwrap_or(false) {
            return;
        }
        for folder in above(name.as_str()) {
            if !session.ask("RMD", &self.below(folder)).is_ok_and(|reply| reply.is_done()) {
                return;
            }
        }
    }

    /// There are servers on which RMD takes all that is in a folder with it. They are found out with a folder of our own.
    fn keeps_full_folders(&self, session: &mut Session) -> Result<bool> {
        if let Some(known) = self.keeps_full_folders.get() {
            return Ok(*known);
        }
        let outer = self.temporary();
        let inner = format!("{outer}/full");
        let made = session.ask("MKD", &outer)?.is_done() && session.ask("MKD", &inner)?.is_done();
        let keeps = made && !session.ask("RMD", &outer)?.is_done();
        if keeps {
            session.ask("RMD", &inner)?;
        }
        session.ask("RMD", &outer)?;
        self.keeps_full_folders.set(keeps).unwrap_or(());
        Ok(keeps)
    }
}

/// The name for an object that is being written.
pub(super) struct Target<'a> {
    pub name: &'a ObjectName,
    pub mode: PutMode,
    pub size_bytes: u64,
}

/// How many bytes of a file are there that grows from `base` to `whole`.
fn stored(found: Found, base: u64, whole: u64) -> Result<u64> {
    match found {
        Found::Nothing if base == 0 => Ok(0),
        Found::File(size_bytes) if (base..=whole).contains(&size_bytes) => Ok(size_bytes),
        found => Err(Error::new(
            Kind::Io,
            format!("the server has {} of at least {base} bytes that it took", told(found)),
        )),
    }
}

fn told(found: Found) -> String {
    match found {
        Found::File(size_bytes) => format!("{size_bytes} bytes"),
        Found::Nothing => "nothing".to_owned(),
        Found::Folder | Found::Other => "something else".to_owned(),
    }
}

/// The folders above a name, the deepest first.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('/').map(|(end, _)| &name[..end])
}

/// Names that are being made by this process: one at a time looks whether a name is free, and takes it.
#[derive(Default)]
struct Names {
    held: Mutex<HashSet<String>>,
    freed: Condvar,
}

struct Held<'a> {
    names: &'a Names,
    name: &'a str,
}

impl Names {
    fn hold<'a>(&'a self, name: &'a str) -> Held<'a> {
        let mut held = self.lock();
        while held.contains(name) {
            held = self.freed.wait(held).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        held.insert(name.to_owned());
        Held { names: self, name }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.names.lock().remove(self.name);
        self.names.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Access, Timeouts};
    use crate::address::Address;
    use crate::ftp::place::Place;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    /// A server that lets everybody in, and hangs up on who removes something.
    fn hanging_up() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(|stream| stream.ok()) {
                stream.write_all(b"220 here\r\n").unwrap_or(());
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines.map_while(|line| line.ok()).take_while(|line| !line.starts_with("DELE")) {
                    let answer: &[u8] =
                        if line.starts_with("USER") { b"230 in\r\n" } else { b"200 done\r\n" };
                    stream.write_all(answer).unwrap_or(());
                }
            }
        });
        port
    }

    #[test]
    fn a_leftover_that_cannot_be_removed_stays_one_and_holds_nobody_up() {
        let access = Access {
            variable: Arc::new(|_| None),
            home: None,
            user: None,
            password: Arc::new(|| Ok(None)),
            timeouts: Timeouts::default(),
            connections: 1,
            patience: Patience::none(),
            warn: Arc::new(|_| ()),
        };
        let address = Address::parse(&format!("ftp://127.0.0.1:{}/x", hanging_up())).unwrap();
        let pool = Pool::new(Place::new(&address, &access).unwrap());
        let site = Site::new(pool, "/x".to_owned(), Patience::none());
        site.leave("/x/.icecore-tmp-1".to_owned());
        let (told, leased) = std::sync::mpsc::channel();
        // In a thread of its own: it would never come back if the list were held meanwhile.
        std::thread::spawn(move || {
            let is_leased = site.lease_to_write().is_ok();
            let left = site.leftovers().clone();
            told.send((is_leased, left)).unwrap();
        });
        let (is_leased, left) = leased.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(is_leased);
        assert_eq!(left, ["/x/.icecore-tmp-1"]);
    }
}
