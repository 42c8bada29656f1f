//! Objects as files in a folder of a server, over SFTP (`sftp://`, `ssh://`): SSH by `russh`, the file protocol by our own
//! [`wire`], since handles and names are bytes there.
//!
//! What is guaranteed is what a storage in a folder guarantees, as far as the protocol can say it. A file is written under a
//! temporary name, synced (`fsync@openssh.com`), given its name by a hard link (new objects) or a rename over what is there
//! (replacing), and synced again, which brings out its name on the file systems in use. Where a server has no such extension
//! the nearest thing is done, and the user is told when the storage is opened.
//!
//! Sessions are shared by threads and carry many requests at a time. A long object that is being written survives a lost
//! connection (`writer`); everything else is short, and repeated whole by whoever opened the storage.

mod auth;
pub mod config;
mod connection;
mod fault;
mod guard;
pub mod known_hosts;
mod listing;
mod patterns;
mod pool;
mod route;
mod session;
mod transfer;
mod tree;
pub mod wire;
mod writer;

use crate::access::Access;
use crate::address::Address;
use crate::{Driver, Intent};
use fault::{Asked, Fault};
use icecore::error::{Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use pool::{Pool, certain};
use session::{Answer, Session};
use std::cell::Cell;
use std::sync::Arc;
use tree::{Place, Root, Temporary};
use wire::Request;

/// SFTP.
pub const DRIVER: Driver = Driver {
    schemes: &["sftp", "ssh"],
    form: "sftp://[USER@]HOST[:PORT]/FOLDER",
    about: "a folder of a server with SSH",
    open,
    holdings: None,
};

/// What the storage and its writers share.
struct Shared {
    pool: Arc<Pool>,
    root: Root,
}

struct Sftp {
    shared: Arc<Shared>,
    label: String,
    create_new_is_atomic: bool,
}

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let root = Root::new(address.path())?;
    let pool = Arc::new(Pool::new(route::to(address, access)?, access.clone()));
    let can = pool.run(access.timeouts.whole(0), async |session| {
        match (root.require(session).await, intent) {
            (Err(Fault::Failed(error)), Intent::Create) if error.kind() == Kind::NotFound => {
                root.make(session).await?;
            }
            (found, _) => found?,
        }
        Ok(session.can())
    })?;
    if !can.sync {
        (access.warn)(
            "this server cannot be told to wait for its disk: what it stores may be lost when it crashes",
        );
    }
    if !can.replace {
        (access.warn)(
            "this server cannot replace a file in one step: an object being replaced may be gone when it crashes",
        );
    }
    let shared = Arc::new(Shared { pool, root });
    Ok(Arc::new(Sftp { shared, label: address.to_string(), create_new_is_atomic: can.link }))
}

impl Shared {
    /// Runs short work that moves about so many bytes.
    fn run<T>(&self, bytes: usize, work: impl AsyncFn(&Session) -> Asked<T>) -> Result<T> {
        self.pool.run(self.pool.access.timeouts.whole(bytes), work)
    }
}

impl Sftp {
    fn store(&self, name: &ObjectName, bytes: &[u8], mode: PutMode, is_durable: bool) -> Result<()> {
        let root = &self.shared.root;
        let place = root.place(name)?;
        self.shared.run(bytes.len(), async |session| {
            let file = root.temporary(session, place.folder).await?;
            let stored = store(session, &file, &place, bytes, mode, is_durable).await;
            let Err(fault) = stored else { return Ok(()) };
            let fault = root.explained(session, fault).await;
            if !session.is_ended() {
                drop(session.ask(&Request::Close(&file.handle)));
                // What cannot be removed is a stray that `clean_temporaries` removes.
                session.ask(&Request::Remove(&file.path)).done().await.unwrap_or(());
                root.remove_empty_folders(session, place.folder).await;
            }
            Err(fault)
        })
    }
}

async fn store(
    session: &Session,
    file: &Temporary,
    place: &Place<'_>,
    bytes: &[u8],
    mode: PutMode,
    is_durable: bool,
) -> Asked<()> {
    let sync = || if is_durable { session.sync(&file.handle) } else { None };
    transfer::send(session, &file.handle, bytes).await?;
    if let Some(synced) = sync() {
        synced.done().await?;
    }
    certain(tree::publish(session, &file.path, &place.path, mode).await)?;
    // All at once: the temporary name, which is there only beside a hard link; the new name on the disk; the handle.
    let removed = (mode != PutMode::Replace).then(|| session.ask(&Request::Remove(&file.path)));
    let synced = sync();
    let closed = session.ask(&Request::Close(&file.handle));
    if let Some(removed) = removed
        && let Err(fault @ Fault::Failed(_)) = certain(removed.done().await)
    {
        // Else it is there under its name, and what is left is a stray.
        return Err(fault);
    }
    if let Some(synced) = synced {
        certain(synced.done().await)?;
    }
    certain(closed.done().await)
}

impl Storage for Sftp {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.store(name, bytes, mode, true)
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.store(name, bytes, PutMode::CreateNew, false)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(writer::Writer::begin(Arc::clone(&self.shared), name, mode)?))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.read_into(name, offset, length_bytes, &mut buffer)?;
        Ok(buffer)
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let place = self.shared.root.place(name)?;
        // For the first attempt; if there is another it makes its own.
        let room = Cell::new(std::mem::take(buffer));
        *buffer = self.shared.run(length_bytes.min(READ_DEADLINE_BYTES), async |session| {
            read(session, &place.path, offset, length_bytes, room.take()).await
        })?;
        Ok(())
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let place = self.shared.root.place(name)?;
        let found = self.shared.run(0, async |session| self.shared.root.find(session, &place).await)?;
        Ok(Stat { size_bytes: found.size.ok_or_else(|| icecore::Error::from(Fault::unexpected()))? })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        listing::visit(&self.shared, prefix, depth, &mut |found| match found.listed(depth) {
            Some(listed) => row(listed),
            None => Ok(()),
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let root = &self.shared.root;
        let place = root.place(name)?;
        self.shared.run(0, async |session| {
            root.find(session, &place).await?;
            // Both at once: the server does them in this order, and removes no folder that has something in it.
            let removed = session.ask(&Request::Remove(&place.path));
            let emptied = place
                .folder
                .map(|folder| (folder, session.ask(&Request::RemoveFolder(&root.path_of(Some(folder))))));
            certain(removed.done().await.map_err(tree::missing))?;
            if let Some((folder, emptied)) = emptied
                && emptied.done().await.is_ok()
            {
                root.remove_empty_folders(session, folder.rsplit_once('/').map(|(parent, _)| parent)).await;
            }
            Ok(())
        })
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        let mut left = Vec::new();
        listing::visit(&self.shared, None, Depth::All, &mut |found| {
            left.extend(found.temporary_older_than(before));
            Ok(())
        })?;
        let mut removed = 0;
        for path in left {
            let path = self.shared.root.path_of(Some(&path));
            let gone = self.shared.run(0, async |session| {
                match certain(session.ask(&Request::Remove(&path)).done().await) {
                    Ok(()) => Ok(true),
                    Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => Ok(false),
                    Err(fault) => Err(fault),
                }
            });
            removed += u64::from(gone.map_err(|error| error.while_doing("cannot remove", &path))?);
        }
        Ok(removed)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: self.create_new_is_atomic, parallel: true }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

/// Callers ask for as much as they would take; the deadline is for what may come.
const READ_DEADLINE_BYTES: usize = 64 << 20;

async fn read(
    session: &Session,
    path: &str,
    offset: u64,
    length_bytes: usize,
    room: Vec<u8>,
) -> Asked<Vec<u8>> {
    // Both at once. What is no file is not waited for: opening a pipe never ends.
    let looked = session.ask(&Request::Look(path));
    let opened = session.ask(&Request::Open { path, flags: wire::OPEN_READ, mode: None });
    let looked = looked.attributes().await.map_err(tree::missing).and_then(tree::require_file);
    let size = match looked {
        Ok(looked) => looked.size.unwrap_or(0),
        Err(fault) => return Err(unopened(session, opened, fault).await),
    };
    let handle = opened.handle().await.map_err(tree::missing)?;
    let read = read_open(session, &handle, offset, length_bytes, size, room).await;
    // Nobody waits for it.
    drop(session.ask(&Request::Close(&handle)));
    read
}

/// Gives back what was opened along with a look that found no file.
async fn unopened(session: &Session, opened: Answer, fault: Fault) -> Fault {
    if matches!(&fault, Fault::Failed(error) if error.kind() == Kind::Unsupported) {
        session.give_up("what was opened is no file");
    } else if let Ok(handle) = opened.handle().await {
        // A folder, or a file that was made meanwhile.
        drop(session.ask(&Request::Close(&handle)));
    }
    fault
}

/// Reads what is open, which was so long when it was looked at by its name.
async fn read_open(
    session: &Session,
    handle: &[u8],
    offset: u64,
    length_bytes: usize,
    looked_size: u64,
    mut bytes: Vec<u8>,
) -> Asked<Vec<u8>> {
    let fit = |bytes: &mut Vec<u8>, size: u64| {
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        // What it holds already need not be made zero: all of it is written over.
        let length = left.min(length_bytes);
        bytes.reserve_exact(length.saturating_sub(bytes.len()));
        bytes.resize(length, 0);
    };
    // What is open is what is read, whatever has its name by now. That it is still the same is asked along with its bytes.
    let size = session.ask(&Request::LookAtOpen(handle));
    fit(&mut bytes, looked_size);
    let fetched = transfer::fetch(session, handle, offset, &mut bytes).await;
    let size = size.attributes().await?.size.ok_or_else(Fault::unexpected)?;
    if size == looked_size {
        fetched?;
        return Ok(bytes);
    }
    fit(&mut bytes, size);
    transfer::fetch(session, handle, offset, &mut bytes).await?;
    Ok(bytes)
}
