//! How objects get their names: stored whole under a temporary name in the same folder, looked at, then renamed.
//!
//! Invariants: no object has its name before the server says that all of its bytes are there; a rename takes no name that is taken
//! unless it may, and never that of a folder, for a server removes whatever had the name, with all that was in it. A long object is
//! one PUT whose body is sent while it is written; it cannot be resumed, and only the caller can begin anew.

use super::folders::Folders;
use super::multistatus::What;
use super::requests::Moved;
use crate::access::Timeouts;
use crate::bridge::within;
use crate::stream::Outgoing;
use crate::tree::{Entry, Folders as _, Named, parent, place_gone, taken, temporary_beside};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::limits::STREAM_RESERVE_BYTES;
use icecore::name::ObjectName;
use icecore::storage::{ObjectWriter, PutMode};
use reqwest::Url;
use std::time::Duration;

/// How long something to tidy up may take that nobody waits for.
const TIDYING: Duration = Duration::from_secs(5);

impl Folders {
    /// Stores an object whole.
    ///
    /// # Errors
    /// As [`icecore::storage::Storage::put`].
    pub fn put(&self, name: &ObjectName, bytes: Bytes, mode: PutMode, timeouts: &Timeouts) -> Result<()> {
        let temporary = temporary_beside(name.as_str());
        let length = bytes.len();
        let done = within(timeouts.whole(length) + Timeouts::copying(length as u64) * 2, async {
            self.store(&temporary, bytes).await?;
            self.publish(&temporary, length as u64, name, mode).await
        });
        if done.is_err() {
            self.discard(&temporary, timeouts);
        }
        done
    }

    /// Stores bytes under a temporary name; makes the folder if need be.
    async fn store(&self, temporary: &str, bytes: Bytes) -> Result<()> {
        let (url, folder) = (self.dav.place.object(temporary), parent(temporary));
        for _ in 0..2 {
            self.make(folder).await?;
            match self.dav.store(&url, &bytes).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => (),
                Err(error) if error.kind() != Kind::Io || self.is_there(folder).await => return Err(error),
                Err(_) => (),
            }
            // It was there once, and has been removed by somebody else; or it is none.
            self.forget(folder);
        }
        Err(self.refusal(folder).await?)
    }

    /// Whether a folder is one, as far as that can be told: servers fail in ways of their own to store where none is.
    async fn is_there(&self, folder: Option<&str>) -> bool {
        !matches!(self.dav.what(&self.dav.place.folder(folder)).await, Ok(None | Some(What::Object { .. })))
    }

    async fn refusal(&self, folder: Option<&str>) -> Result<Error> {
        match folder {
            Some(folder) => self.blocked(folder).await,
            None => Ok(place_gone()),
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
        let place = &self.dav.place;
        let (from, to) = (place.object(temporary), place.object(name.as_str()));
        match self.dav.what(&from).await? {
            Some(What::Object { size_bytes: kept }) if kept == size_bytes => (),
            Some(What::Object { size_bytes: kept }) => {
                let what = format!("the server has kept {kept} of {size_bytes} bytes");
                return Err(Error::new(Kind::Io, what).retry_later());
            }
            _ => return Err(Error::new(Kind::Io, "the server has not kept what it took").retry_later()),
        }
        if mode == PutMode::Replace {
            self.clear_the_way(name).await?;
        }
        let patience = Timeouts::copying(size_bytes);
        let moved = self.dav.rename(&from, &to, mode == PutMode::Replace, patience).await?;
        if moved != Moved::Done {
            // An empty folder has the name, or an object that may be gone by now.
            if self.clear_the_way(name).await? && moved == Moved::Taken {
                return Err(taken(name));
            }
            match self.dav.rename(&from, &to, false, patience).await? {
                Moved::Done => (),
                Moved::Missing => return Err(vanished()),
                Moved::Taken => return Err(taken(name)),
            }
        }
        self.require_kept(name, &to).await
    }

    /// Some servers keep names that begin with a dot, and do not list them; some understand odd characters wrongly when
    /// something is renamed. Nothing of ours must ever be in such a place. Plain names are not looked at once more.
    async fn require_kept(&self, name: &ObjectName, url: &Url) -> Result<()> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.~/".contains(letter);
        if !name.as_str().chars().all(is_plain) && self.dav.what(url).await?.is_none() {
            return Err(
                Error::new(Kind::Unsupported, "the server does not keep the name").on(name.to_string())
            );
        }
        let mut next = Some(name.as_str());
        while let Some(here) = next {
            next = parent(here);
            let last = here.rsplit('/').next().unwrap_or_default();
            if !last.starts_with('.') {
                continue;
            }
            let entries = self.entries(next).await?.unwrap_or_default();
            let is_here =
                |entry: &Entry| matches!(&entry.named, Named::Child(child) if child.as_str() == here);
            if !entries.iter().any(is_here) {
                self.dav.remove(url).await?;
                let error =
                    Error::new(Kind::Unsupported, "the server does not list names that begin with a dot:");
                return Err(error.on(name.to_string()));
            }
        }
        Ok(())
    }

    /// Makes sure that no folder has the name of an object; one with nothing in it goes. Whether an object has it.
    async fn clear_the_way(&self, name: &ObjectName) -> Result<bool> {
        match self.dav.what(&self.dav.place.object(name.as_str())).await? {
            Some(What::Folder) => match self.remove_if_empty(name.as_str()).await? {
                true => Ok(false),
                false => Err(Error::invalid("a folder is in the way of", name.to_string())),
            },
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Removes what a failed upload left, if that is easy; `clean_temporaries` finds the rest.
    fn discard(&self, temporary: &str, timeouts: &Timeouts) {
        let url = self.dav.place.object(temporary);
        within(TIDYING.min(timeouts.idle), self.dav.remove(&url)).map(drop).unwrap_or(());
    }
}

fn vanished() -> Error {
    Error::new(Kind::Io, "what was stored is gone before it got its name").retry_later()
}

/// One long object being written.
pub struct Upload {
    folders: Folders,
    timeouts: Timeouts,
    name: ObjectName,
    mode: PutMode,
    /// What has been written and is not on its way: all of a short object.
    begun: Vec<u8>,
    size_bytes: u64,
    sending: Option<Sending>,
}

struct Sending {
    temporary: String,
    body: Outgoing,
}

impl Upload {
    /// Begins an object; with `CreateNew`, unless the name is taken.
    ///
    /// # Errors
    /// `AlreadyExists`, or as the server has it.
    pub fn begin(folders: &Folders, name: &ObjectName, mode: PutMode, timeouts: Timeouts) -> Result<Upload> {
        if mode == PutMode::CreateNew {
            let url = folders.dav.place.object(name.as_str());
            if let Some(What::Object { .. }) = within(timeouts.whole(0), folders.dav.what(&url))? {
                return Err(taken(name));
            }
        }
        let (folders, name) = (folders.clone(), name.clone());
        Ok(Upload { folders, timeouts, name, mode, begun: Vec::new(), size_bytes: 0, sending: None })
    }

    /// Begins to send, with what there is.
    fn send(&mut self) -> Result<Sending> {
        let temporary = temporary_beside(self.name.as_str());
        let (folders, target) = (self.folders.clone(), temporary.clone());
        let first = Bytes::from(std::mem::take(&mut self.begun));
        let body = Outgoing::begin(first, self.timeouts, move |body| async move {
            let folder = parent(&target);
            folders.make(folder).await?;
            match folders.dav.store_stream(&folders.dav.place.object(&target), body).await? {
                Some(()) => Ok(()),
                None => {
                    folders.forget(folder);
                    Err(folders.refusal(folder).await?)
                }
            }
        })?;
        Ok(Sending { temporary, body })
    }
}

impl ObjectWriter for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
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

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(Sending { temporary, body }) = self.sending.take() else {
            let bytes = Bytes::from(std::mem::take(&mut self.begun));
            return self.folders.put(&self.name, bytes, self.mode, &self.timeouts);
        };
        let done = body.finish(self.size_bytes).and_then(|()| {
            let publish = self.folders.publish(&temporary, self.size_bytes, &self.name, self.mode);
            // On some servers a move is a copy.
            within(self.timeouts.whole(0) + Timeouts::copying(self.size_bytes) * 2, publish)
        });
        if done.is_err() {
            self.folders.discard(&temporary, &self.timeouts);
        }
        done
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(Sending { temporary, body }) = self.sending.take() {
            body.abandon(TIDYING);
            self.folders.discard(&temporary, &self.timeouts);
        }
    }
}
