//! How objects get onto a remote: under a temporary name in the same folder, looked at, then moved to their name.
//!
//! Invariants: no object has its name before rclone says that all of its bytes are there. Rclone moves without looking: who creates
//! looks before, and in this process only one at a time does so with a name. A long object is one request whose body is sent
//! while it is written; it cannot be resumed.

use super::control::{Control, Frame, Tree, blocked};
use super::in_the_way;
use super::process::Serving;
use crate::access::Timeouts;
use crate::bridge::within;
use crate::stream::Outgoing;
use crate::tree::{Folders, parent, taken, temporary_beside};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::limits::STREAM_RESERVE_BYTES;
use icecore::name::ObjectName;
use icecore::storage::{ObjectWriter, PutMode};
use reqwest::Body;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long something to tidy up may take that nobody waits for.
const TIDYING: Duration = Duration::from_secs(5);

type Turns = Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>;

/// Where objects are stored; clones are handles of the same.
#[derive(Clone)]
pub struct Store {
    /// Rclone.
    pub control: Control,
    timeouts: Timeouts,
    /// Names that are being given.
    turns: Turns,
}

impl Store {
    /// Stores by this control.
    pub fn new(control: Control, timeouts: Timeouts) -> Store {
        Store { control, timeouts, turns: Turns::default() }
    }

    /// Stores an object whole.
    ///
    /// # Errors
    /// As [`icecore::storage::Storage::put`].
    pub fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        let temporary = temporary_beside(name.as_str());
        let length = bytes.len();
        let done = within(self.timeouts.whole(length) + Timeouts::copying(length as u64) * 2, async {
            let frame = Frame::new(&temporary)?;
            let body = Bytes::from([&frame.head[..], bytes, &frame.tail].concat());
            let uploaded = self.control.upload(&temporary, &frame, Body::from(body), length).await;
            self.explained(&temporary, uploaded).await?;
            self.publish(&temporary, length as u64, name, mode).await
        });
        if done.is_err() {
            self.discard(&temporary);
        }
        done
    }

    async fn explained(&self, name: &str, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => Ok(()),
            Err(error) => Err(blocked(&self.control, name, error).await?),
        }
    }

    /// Gives a temporary object of so many bytes its name.
    async fn publish(
        &self,
        temporary: &str,
        size_bytes: u64,
        name: &ObjectName,
        mode: PutMode,
    ) -> Result<()> {
        match self.control.size(temporary).await? {
            Some(kept) if kept == size_bytes => (),
            Some(kept) => {
                let what = format!("the remote has kept {kept} of {size_bytes} bytes");
                return Err(Error::new(Kind::Io, what).retry_later());
            }
            None => return Err(Error::new(Kind::Io, "the remote has not kept what it took").retry_later()),
        }
        let turn = self.turn(name);
        let _mine = turn.lock().await;
        if mode == PutMode::CreateNew && self.control.size(name.as_str()).await?.is_some() {
            return Err(taken(name));
        }
        let patience = Timeouts::copying(size_bytes);
        let Err(error) = self.control.rename(temporary, name.as_str(), patience).await else { return Ok(()) };
        // A folder may have the name; one with nothing in it goes.
        let above = Tree { control: self.control.clone(), with_times: false };
        let entries = above.entries(parent(name.as_str())).await?.unwrap_or_default();
        let is_folder = |entry: &crate::tree::Entry| {
            entry.size_bytes.is_none()
                && matches!(&entry.named, crate::tree::Named::Child(child) if child == name)
        };
        if !entries.iter().any(is_folder) {
            return Err(error);
        }
        match above.remove_if_empty(name.as_str()).await? {
            true => self.control.rename(temporary, name.as_str(), patience).await,
            false => Err(in_the_way("a folder is in the way of", name.as_str())),
        }
    }

    /// The turn of a name; those of names that nobody waits for are forgotten.
    fn turn(&self, name: &ObjectName) -> Arc<tokio::sync::Mutex<()>> {
        // Every change is one step: a panic elsewhere leaves it sound.
        let mut turns = self.turns.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(name.as_str().to_owned()).or_default())
    }

    /// Removes what a failed upload left, if that is easy; `clean_temporaries` finds the rest.
    fn discard(&self, temporary: &str) {
        within(TIDYING.min(self.timeouts.idle), self.control.remove(temporary)).map(drop).unwrap_or(());
    }
}

/// One long object being written.
pub struct Upload {
    store: Store,
    name: ObjectName,
    mode: PutMode,
    /// What has been written and is not on its way: all of a short object.
    begun: Vec<u8>,
    size_bytes: u64,
    sending: Option<Sending>,
    /// Rclone runs until this is done, too.
    serving: Arc<Serving>,
}

struct Sending {
    temporary: String,
    body: Outgoing,
    tail: Bytes,
}

impl Upload {
    /// Begins an object; with `CreateNew`, unless the name is taken.
    ///
    /// # Errors
    /// `AlreadyExists`, or as rclone has it.
    pub fn begin(store: &Store, name: &ObjectName, mode: PutMode, serving: Arc<Serving>) -> Result<Upload> {
        let looked = || within(store.timeouts.whole(0), store.control.size(name.as_str()));
        if mode == PutMode::CreateNew && looked()?.is_some() {
            return Err(taken(name));
        }
        let (store, name) = (store.clone(), name.clone());
        Ok(Upload { store, name, mode, begun: Vec::new(), size_bytes: 0, sending: None, serving })
    }

    /// Begins to send, with what there is.
    fn send(&mut self) -> Result<Sending> {
        let temporary = temporary_beside(self.name.as_str());
        let frame = Frame::new(&temporary)?;
        let tail = frame.tail.clone();
        let first = Bytes::from([&frame.head[..], &std::mem::take(&mut self.begun)].concat());
        let (store, target) = (self.store.clone(), temporary.clone());
        let body = Outgoing::begin(first, self.store.timeouts, move |body| async move {
            let uploaded = store.control.upload(&target, &frame, body, usize::MAX).await;
            store.explained(&target, uploaded).await
        })?;
        Ok(Sending { temporary, body, tail })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        if let Some(sending) = &mut self.sending {
            return sending.body.write(bytes);
        }
        let room = STREAM_RESERVE_BYTES - self.begun.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.begun.extend_from_slice(first);
        if self.begun.len() < STREAM_RESERVE_BYTES {
            return Ok(());
        }
        let sending = self.send()?;
        self.sending.insert(sending).body.write(rest)
    }

    fn settle(&mut self) -> Result<()> {
        let Some(Sending { temporary, mut body, tail }) = self.sending.take() else {
            return self.store.put(&self.name, &self.begun, self.mode);
        };
        let done = body.write(&tail).and_then(|()| body.finish(self.size_bytes)).and_then(|()| {
            let publish = self.store.publish(&temporary, self.size_bytes, &self.name, self.mode);
            // Not every remote can rename: it may be a copy.
            within(self.store.timeouts.whole(0) + Timeouts::copying(self.size_bytes) * 2, publish)
        });
        if done.is_err() {
            self.store.discard(&temporary);
        }
        done
    }
}

impl ObjectWriter for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes).map_err(|error| self.serving.explain(error))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.settle().map_err(|error| self.serving.explain(error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(Sending { temporary, body, .. }) = self.sending.take() {
            // Without its tail it is refused, and nothing is kept of it.
            body.abandon(TIDYING);
            self.store.discard(&temporary);
        }
    }
}
