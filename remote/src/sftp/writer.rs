//! One long object being written: a temporary file, with parts of it under way, that outlives the connection.
//!
//! What the server has not acknowledged is kept (some megabytes), and sent again over a new connection when one is lost. What
//! it has acknowledged is on its way to the disk at least; from time to time it is made sure to be there, over another session
//! where there is one, since a server does what one session asks for in order and would take nothing meanwhile. After a connection
//! was lost, what was acknowledged since then is read back and compared by its hash, as the server itself may have crashed:
//! an object is finished with the bytes it was given, or not at all.

use super::Shared;
use super::fault::{Asked, Fault};
use super::pool::{Lease, Pool, watched};
use super::session::{Answer, Session};
use super::transfer;
use super::tree::{self, Temporary};
use super::wire::{self, Request};
use crate::bridge;
use bytes::Bytes;
use icecore::error::{Error, Kind, Result, Retry as Again};
use icecore::limits::{SFTP_REQUESTS, SFTP_SYNC_BYTES};
use icecore::name::ObjectName;
use icecore::storage::{ObjectWriter, PutMode};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// How much is read back at a time.
const READ_BACK_BYTES: u64 = 4 << 20;

/// What has been asked of the server and is not known to be done.
enum Item {
    /// A part of the file.
    Part { offset: u64, bytes: Bytes, answer: Option<Answer> },
    /// That what was sent before is on the disk, where only this session can be asked for that.
    Sync { answer: Option<Answer> },
}

/// What the server acknowledged and may not have on the disk.
#[derive(Default)]
struct Unsynced {
    offset: u64,
    length: u64,
    hasher: blake3::Hasher,
}

/// What is being brought to the disk meanwhile.
struct Syncing {
    done: JoinHandle<Asked<()>>,
    /// All before.
    until: u64,
}

/// How far the object is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Writing,
    /// It may have its name already.
    Publishing,
    Published,
}

/// A connection, and the file open in it.
struct Open {
    lease: Lease,
    handle: Bytes,
}

/// An object on its way.
pub(super) struct Writer {
    shared: Arc<Shared>,
    name: ObjectName,
    mode: PutMode,
    temporary: String,
    target: String,
    open: Option<Open>,
    /// What is too short to be sent yet.
    filling: Vec<u8>,
    part_bytes: usize,
    /// Where the next part goes.
    offset: u64,
    under_way: VecDeque<Item>,
    /// All before has been acknowledged.
    acknowledged: u64,
    /// One after the other up to there; a new one begins when the one before is to be synced.
    unsynced: VecDeque<Unsynced>,
    /// At most one, so that little is ever in doubt.
    syncing: Option<Syncing>,
    /// Whether another session can be asked.
    syncs_beside: bool,
    stage: Stage,
}

impl Writer {
    pub fn begin(shared: Arc<Shared>, name: &ObjectName, mode: PutMode) -> Result<Writer> {
        let place = shared.root.place(name)?;
        let target = place.path.clone();
        let begin = async |session: &Session| {
            if mode == PutMode::CreateNew {
                tree::refuse_taken(session, &target).await?;
            }
            let begun = shared.root.temporary(session, place.folder).await;
            if begun.is_err() && !session.is_ended() {
                shared.root.remove_empty_folders(session, place.folder).await;
            }
            begun
        };
        let deadline = shared.pool.access.timeouts.whole(0);
        let (lease, Temporary { path, handle }) = bridge::within(deadline, async {
            let lease = shared.pool.lease(false).await?;
            match watched(&lease, begin(&lease)).await {
                Err(fault) if fault.is_lost() && !lease.is_fresh => {
                    drop(lease);
                    let lease = shared.pool.lease(true).await?;
                    let begun = watched(&lease, begin(&lease)).await?;
                    Ok((lease, begun))
                }
                Ok(begun) => Ok((lease, begun)),
                Err(fault) => Err(Error::from(fault)),
            }
        })?;
        let (part_bytes, syncs_beside) = (lease.can().write_bytes, lease.can().sync);
        Ok(Writer {
            name: name.clone(),
            mode,
            temporary: path,
            target,
            open: Some(Open { lease, handle }),
            filling: Vec::new(),
            part_bytes,
            offset: 0,
            under_way: VecDeque::new(),
            acknowledged: 0,
            unsynced: VecDeque::from([Unsynced::default()]),
            syncing: None,
            syncs_beside,
            stage: Stage::Writing,
            shared,
        })
    }

    /// Sends a part, and what makes it durable from time to time if that is this session's to do; the answers are for later.
    fn push(&mut self, bytes: Bytes) {
        let (offset, length) = (self.offset, bytes.len() as u64);
        self.offset += length;
        let ask =
            |open: &Open| open.lease.ask(&Request::Write { handle: &open.handle, offset, bytes: &bytes });
        let answer = self.open.as_ref().map(ask);
        self.under_way.push_back(Item::Part { offset, bytes, answer });
        if !self.syncs_beside && is_due(offset, self.offset) {
            let answer = self.open.as_ref().and_then(|open| open.lease.sync(&open.handle));
            self.under_way.push_back(Item::Sync { answer });
        }
    }

    /// Waits until no more than `left` items are under way, over as many connections as that takes.
    fn drain(&mut self, left: usize) -> Result<()> {
        if self.under_way.len() <= left {
            return Ok(());
        }
        let deadline = self.shared.pool.access.timeouts.whole(self.part_bytes * SFTP_REQUESTS);
        self.persisting(|writer| {
            bridge::within(deadline, async {
                let drained = writer.drained(left).await;
                writer.explained(drained).await
            })
        })
    }

    /// Tries until it is done or there is no hope; after each failure everything that is not known is done again.
    fn persisting(&mut self, mut attempt: impl FnMut(&mut Writer) -> Result<()>) -> Result<()> {
        let patience = self.shared.pool.access.patience.clone();
        let name = self.name.to_string();
        patience.retrying(&name, |_| {
            if self.open.is_none() {
                self.resume()?;
            }
            let done = attempt(self);
            if let Err(error) = &done
                && let Some(open) = self.open.take()
            {
                // Whatever is under way there is asked for again.
                match error.retry() {
                    Again::Later => open.lease.give_up("it did not do what it was asked for"),
                    Again::Never => drop(open.lease.ask(&Request::Close(&open.handle))),
                }
            }
            done
        })
    }

    async fn explained(&self, done: Asked<()>) -> Result<()> {
        match (done, &self.open) {
            (Err(fault), Some(open)) => Err(self.shared.root.explained(&open.lease, fault).await.into()),
            (done, _) => done.map_err(Error::from),
        }
    }

    async fn drained(&mut self, left: usize) -> Asked<()> {
        while self.under_way.len() > left {
            let Some(item) = self.under_way.front_mut() else { break };
            match item {
                // What nobody was asked for has not been done.
                Item::Part { answer, .. } => answer.take().ok_or_else(Fault::unexpected)?.done().await?,
                Item::Sync { answer } => {
                    if let Some(answer) = answer.take() {
                        answer.done().await?;
                    }
                }
            }
            match self.under_way.pop_front() {
                Some(Item::Part { bytes, .. }) => {
                    let before = self.acknowledged;
                    self.acknowledged += bytes.len() as u64;
                    if let Some(last) = self.unsynced.back_mut() {
                        last.length += bytes.len() as u64;
                        last.hasher.update(&bytes);
                    }
                    if self.syncs_beside && is_due(before, self.acknowledged) {
                        self.sync_beside().await;
                    }
                }
                // A server that cannot sync has done what it can. What was asked for beside ended before this was.
                Some(Item::Sync { .. }) => self.note_synced(self.acknowledged),
                None => {}
            }
        }
        Ok(())
    }

    /// Has what was acknowledged brought to the disk while more is sent, when what was asked for before is done.
    async fn sync_beside(&mut self) {
        self.beside_ended().await;
        if self.syncs_beside {
            let done = tokio::spawn(sync(Arc::clone(&self.shared.pool), self.temporary.clone()));
            self.syncing = Some(Syncing { done, until: self.acknowledged });
            self.unsynced.push_back(Unsynced { offset: self.acknowledged, ..Unsynced::default() });
        }
    }

    /// Everything before is on the disk.
    fn note_synced(&mut self, synced: u64) {
        self.unsynced.retain(|unsynced| unsynced.offset + unsynced.length > synced);
        if self.unsynced.is_empty() {
            self.unsynced.push_back(Unsynced { offset: self.acknowledged, ..Unsynced::default() });
        }
    }

    /// Waits for what is being brought to the disk. A failure there is no failure of the object: its own session is asked at the end,
    /// and from now on in between.
    async fn beside_ended(&mut self) {
        let Some(syncing) = &mut self.syncing else { return };
        let done = (&mut syncing.done).await;
        let Some(Syncing { until, .. }) = self.syncing.take() else { return };
        match done {
            Ok(Ok(())) => self.note_synced(until),
            _ => self.syncs_beside = false,
        }
    }

    /// Connects anew, makes sure of what was acknowledged, and sends again what was not.
    fn resume(&mut self) -> Result<()> {
        let since: u64 = self.unsynced.iter().map(|unsynced| unsynced.length).sum();
        let timeouts = self.shared.pool.access.timeouts;
        let deadline =
            timeouts.whole(usize::try_from(since).unwrap_or(usize::MAX) + self.part_bytes * SFTP_REQUESTS);
        let open = bridge::within(deadline, async {
            let lease = self.shared.pool.lease(true).await?;
            let handle = watched(&lease, self.reopened(&lease)).await?;
            Ok::<_, Error>(Open { lease, handle })
        });
        let open = open.map_err(|error| error.while_doing("cannot go on with", self.name.to_string()))?;
        for item in &mut self.under_way {
            match item {
                Item::Part { offset, bytes, answer } => {
                    let request = Request::Write { handle: &open.handle, offset: *offset, bytes };
                    *answer = Some(open.lease.ask(&request));
                }
                Item::Sync { answer } => *answer = open.lease.sync(&open.handle),
            }
        }
        self.open = Some(open);
        Ok(())
    }

    async fn reopened(&mut self, session: &Session) -> Asked<Bytes> {
        let flags = wire::OPEN_READ | wire::OPEN_WRITE;
        let open = async |path: &str| session.ask(&Request::Open { path, flags, mode: None }).handle().await;
        if self.stage != Stage::Published {
            match open(&self.temporary).await {
                Ok(handle) => {
                    self.compare(session, &handle).await?;
                    return Ok(handle);
                }
                // Only a rename that succeeded takes this name away.
                Err(fault) if self.stage == Stage::Publishing && fault.has_code(wire::NO_SUCH_FILE) => {
                    self.stage = Stage::Published;
                }
                Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => return Err(changed().into()),
                Err(fault) => return Err(fault),
            }
        }
        open(&self.target).await
    }

    /// Reads back what was acknowledged and may not have been on the disk.
    async fn compare(&self, session: &Session, handle: &[u8]) -> Asked<()> {
        let size = session
            .ask(&Request::LookAtOpen(handle))
            .attributes()
            .await?
            .size
            .ok_or_else(Fault::unexpected)?;
        if size < self.acknowledged {
            return Err(changed().into());
        }
        let mut bytes = Vec::new();
        for unsynced in &self.unsynced {
            let (mut hasher, mut read) = (blake3::Hasher::new(), 0);
            while read < unsynced.length {
                let length = READ_BACK_BYTES.min(unsynced.length - read);
                bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
                transfer::fetch(session, handle, unsynced.offset + read, &mut bytes).await?;
                hasher.update(&bytes);
                read += length;
            }
            if hasher.finalize() != unsynced.hasher.finalize() {
                return Err(changed().into());
            }
        }
        Ok(())
    }

    /// The rest of the way, as far as it has not been gone.
    async fn settle(&mut self) -> Asked<()> {
        self.drained(0).await?;
        if self.stage != Stage::Published {
            let Some(open) = &self.open else { return Err(Fault::unexpected()) };
            if let Some(synced) = open.lease.sync(&open.handle) {
                synced.done().await?;
            }
            let may_be_done = self.stage == Stage::Publishing;
            self.stage = Stage::Publishing;
            match tree::publish(&open.lease, &self.temporary, &self.target, self.mode).await {
                Ok(()) => {}
                // An attempt whose answer was lost may have taken the name.
                Err(Fault::Failed(error)) if may_be_done && error.kind() == Kind::AlreadyExists => {
                    if !tree::is_same_file(&open.lease, &self.temporary, &self.target).await? {
                        return Err(error.into());
                    }
                }
                Err(fault) => return Err(fault),
            }
            self.stage = Stage::Published;
        }
        let Some(open) = &self.open else { return Err(Fault::unexpected()) };
        let removed =
            (self.mode != PutMode::Replace).then(|| open.lease.ask(&Request::Remove(&self.temporary)));
        let synced = open.lease.sync(&open.handle);
        if let Some(removed) = removed
            && let Err(fault @ Fault::Ended(_)) = removed.done().await
        {
            return Err(fault);
        }
        if let Some(synced) = synced {
            synced.done().await?;
        }
        open.lease.ask(&Request::Close(&open.handle)).done().await
    }
}

/// Whether what lies between is to be brought to the disk.
fn is_due(from: u64, to: u64) -> bool {
    from / SFTP_SYNC_BYTES != to / SFTP_SYNC_BYTES
}

/// Brings a file to the disk, over whichever session has the least to do: while there is but one it opens another for the next time.
async fn sync(pool: Arc<Pool>, path: String) -> Asked<()> {
    let lease = pool.lease(false).await?;
    let open = Request::Open { path: &path, flags: wire::OPEN_WRITE, mode: None };
    let handle = lease.ask(&open).handle().await?;
    let synced = lease.sync(&handle);
    drop(lease.ask(&Request::Close(&handle)));
    synced.ok_or_else(Fault::unexpected)?.done().await
}

fn changed() -> Error {
    Error::new(Kind::Changed, "what the server had taken of it is gone or has changed")
}

impl ObjectWriter for Writer {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.filling.is_empty() && bytes.len() >= self.part_bytes {
                let (part, rest) = bytes.split_at(self.part_bytes);
                self.push(Bytes::copy_from_slice(part));
                bytes = rest;
            } else {
                let room = self.part_bytes - self.filling.len();
                let (part, rest) = bytes.split_at(room.min(bytes.len()));
                self.filling.extend_from_slice(part);
                bytes = rest;
                if self.filling.len() == self.part_bytes {
                    let part = std::mem::take(&mut self.filling);
                    self.push(part.into());
                }
            }
            self.drain(SFTP_REQUESTS)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.filling.is_empty() {
            let part = std::mem::take(&mut self.filling);
            self.push(part.into());
        }
        // So much the disk may still have to write: what is being brought there, and what came since.
        let left = usize::try_from(2 * SFTP_SYNC_BYTES).unwrap_or(usize::MAX);
        let deadline = self.shared.pool.access.timeouts.whole(left);
        self.persisting(|writer| {
            bridge::within(deadline, async {
                let settled = writer.settle().await;
                writer.explained(settled).await
            })
        })?;
        self.open = None;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.stage == Stage::Published {
            return;
        }
        if let Some(open) = self.open.take() {
            drop(open.lease.ask(&Request::Close(&open.handle)));
        }
        let folder = self.name.as_str().rsplit_once('/').map(|(folder, _)| folder);
        let removed = self.shared.run(0, async |session| {
            session.ask(&Request::Remove(&self.temporary)).done().await?;
            self.shared.root.remove_empty_folders(session, folder).await;
            Ok(())
        });
        // There is nobody to tell; what stays is a stray that `clean_temporaries` removes.
        removed.unwrap_or(());
    }
}
