//! How objects get their names: stored whole under a temporary name in the same folder, looked at, then renamed.
//!
//! Invariants: no object has its name before the server says that all of its bytes are there; a rename takes no name that is taken
//! unless it may, and never that of a folder, for a server removes whatever had the name, with all that was in it. A long object is
//! one PUT whose body is sent while it is written. It cannot be resumed; what is sent cannot be sent again by anybody
//! but the caller. Some bytes are kept back, to be given in drops while the caller is silent: servers hang up on silence.

use super::folders::{Folders, place_gone, temporary_beside};
use super::multistatus::What;
use super::place::parent;
use super::requests::Moved;
use crate::access::Timeouts;
use crate::bridge::{runtime, within};
use bytes::Bytes;
use futures_util::stream;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{WEBDAV_PIECE_BYTES, WEBDAV_PIECES_WAITING, WEBDAV_RESERVE_BYTES};
use icecore::name::ObjectName;
use icecore::storage::{ObjectWriter, PutMode};
use reqwest::Body;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long something to tidy up may take that nobody waits for.
const TIDYING: Duration = Duration::from_secs(5);
/// How long a connection is left silent while a long object is written, and what breaks the silence.
const SILENCE: Duration = Duration::from_secs(10);
const DROP_BYTES: usize = 1 << 10;

impl Folders {
    /// Stores an object whole.
    ///
    /// # Errors
    /// As [`icecore::storage::Storage::put`].
    pub fn put(&self, name: &ObjectName, bytes: Bytes, mode: PutMode, timeouts: &Timeouts) -> Result<()> {
        let temporary = temporary_beside(name.as_str());
        let length = bytes.len();
        let done = within(timeouts.whole(length), async {
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
        self.make(folder).await?;
        if self.dav.store(&url, &bytes).await?.is_some() {
            return Ok(());
        }
        // The folder was there once, and has been removed by somebody else.
        self.forget(folder);
        self.make(folder).await?;
        match self.dav.store(&url, &bytes).await? {
            Some(()) => Ok(()),
            None => Err(self.refusal(folder).await?),
        }
    }

    async fn refusal(&self, folder: Option<&str>) -> Result<Error> {
        match folder {
            Some(folder) => self.blocked(folder).await,
            None => Ok(place_gone()),
        }
    }

    /// Gives a temporary object of so many bytes its name.
    async fn publish(&self, temporary: &str, size_bytes: u64, name: &ObjectName, mode: PutMode) -> Result<()> {
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
        match self.dav.rename(&from, &to, mode == PutMode::Replace).await? {
            Moved::Done => return Ok(()),
            Moved::Missing => return Err(vanished()),
            Moved::Taken if self.clear_the_way(name).await? => return Err(taken(name)),
            // An empty folder had the name, or an object that is gone by now.
            Moved::Taken => (),
        }
        match self.dav.rename(&from, &to, false).await? {
            Moved::Done => Ok(()),
            Moved::Missing => Err(vanished()),
            Moved::Taken => Err(taken(name)),
        }
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

fn taken(name: &ObjectName) -> Error {
    Error::new(Kind::AlreadyExists, "there is already").on(name.to_string())
}

fn vanished() -> Error {
    Error::new(Kind::Io, "what was stored is gone before it got its name").retry_later()
}

/// A piece of a long object on its way.
enum Piece {
    Bytes(Bytes),
    /// There is nothing more. Without it the end of the pieces is a failure.
    End,
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
    pieces: Sender<Piece>,
    answer: JoinHandle<Result<()>>,
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
    fn send(&mut self) -> Result<()> {
        let temporary = temporary_beside(self.name.as_str());
        let (sender, receiver) = channel(WEBDAV_PIECES_WAITING);
        let mut held = Held::default();
        held.add(Bytes::from(std::mem::take(&mut self.begun)));
        let flow = Flow { pieces: receiver, held, ended: false, silence: SILENCE.min(self.timeouts.idle / 3) };
        let (folders, target) = (self.folders.clone(), temporary.clone());
        let answer = runtime()?.spawn(async move {
            let folder = parent(&target);
            folders.make(folder).await?;
            let body = Body::wrap_stream(stream::try_unfold(flow, Flow::next));
            match folders.dav.store_stream(&folders.dav.place.object(&target), body).await? {
                Some(()) => Ok(()),
                None => {
                    folders.forget(folder);
                    Err(folders.refusal(folder).await?)
                }
            }
        });
        self.sending = Some(Sending { temporary, pieces: sender, answer });
        Ok(())
    }

    fn hand_on(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Err(Error::stopped()) };
        for piece in bytes.chunks(WEBDAV_PIECE_BYTES) {
            let piece = Piece::Bytes(Bytes::copy_from_slice(piece));
            let waiting = self.timeouts.whole(WEBDAV_PIECE_BYTES * WEBDAV_PIECES_WAITING + WEBDAV_RESERVE_BYTES);
            let handed = within(waiting, async { Ok(sending.pieces.send(piece).await.is_ok()) })?;
            if !handed {
                // The other side has ended; it knows why.
                within(waiting, joined(&mut sending.answer))?;
                return Err(Error::new(Kind::Io, "the server took the object for whole before it was").retry_later());
            }
        }
        Ok(())
    }
}

async fn joined(answer: &mut JoinHandle<Result<()>>) -> Result<()> {
    answer.await.unwrap_or_else(|e| Err(Error::new(Kind::Io, "the upload ended").because(e)))
}

impl ObjectWriter for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        if self.sending.is_some() {
            return self.hand_on(bytes);
        }
        let room = WEBDAV_RESERVE_BYTES - self.begun.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.begun.extend_from_slice(first);
        if self.begun.len() < WEBDAV_RESERVE_BYTES {
            return Ok(());
        }
        self.send()?;
        self.hand_on(rest)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(mut sending) = self.sending.take() else {
            let bytes = Bytes::from(std::mem::take(&mut self.begun));
            return self.folders.put(&self.name, bytes, self.mode, &self.timeouts);
        };
        let left = WEBDAV_PIECE_BYTES * WEBDAV_PIECES_WAITING + WEBDAV_RESERVE_BYTES;
        let stored = within(self.timeouts.whole(left), async {
            // When nobody takes it any more, the answer says why.
            sending.pieces.send(Piece::End).await.unwrap_or(());
            joined(&mut sending.answer).await
        });
        let done = stored.and_then(|()| {
            let publish = self.folders.publish(&sending.temporary, self.size_bytes, &self.name, self.mode);
            within(self.timeouts.whole(0), publish)
        });
        if done.is_err() {
            sending.answer.abort();
            self.folders.discard(&sending.temporary, &self.timeouts);
        }
        done
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut sending) = self.sending.take() else { return };
        // The body is ended in order, so that the server is done with the temporary object when that is removed.
        let ended = within(TIDYING.min(self.timeouts.idle), async {
            sending.pieces.send(Piece::End).await.unwrap_or(());
            joined(&mut sending.answer).await
        });
        if ended.is_err() {
            sending.answer.abort();
        }
        self.folders.discard(&sending.temporary, &self.timeouts);
    }
}

/// Bytes that are not sent yet.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Up to so many bytes.
    fn take(&mut self, at_most: usize) -> Option<Bytes> {
        let first = self.pieces.front_mut()?;
        let piece = first.split_to(at_most.min(first.len()));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.bytes -= piece.len();
        Some(piece)
    }
}

/// The body of a long upload.
struct Flow {
    pieces: Receiver<Piece>,
    held: Held,
    ended: bool,
    silence: Duration,
}

impl Flow {
    /// The next piece of the body. Until the end is known, some bytes are kept back; they are given in drops when nothing comes.
    async fn next(mut self) -> Result<Option<(Bytes, Flow)>> {
        while !self.ended && self.held.bytes <= WEBDAV_RESERVE_BYTES {
            match timeout(self.silence, self.pieces.recv()).await {
                Ok(Some(Piece::Bytes(bytes))) => self.held.add(bytes),
                Ok(Some(Piece::End)) => self.ended = true,
                // The writer is gone: the server must not take this for the end.
                Ok(None) => return Err(Error::stopped()),
                Err(_) => {
                    if let Some(drop) = self.held.take(DROP_BYTES) {
                        return Ok(Some((drop, self)));
                    }
                }
            }
        }
        Ok(self.held.take(WEBDAV_PIECE_BYTES).map(|piece| (piece, self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(held: usize) -> (Sender<Piece>, Flow) {
        let (sender, pieces) = channel(WEBDAV_PIECES_WAITING);
        let mut flow = Flow { pieces, held: Held::default(), ended: false, silence: Duration::from_millis(20) };
        flow.held.add(Bytes::from(vec![1; held]));
        (sender, flow)
    }

    fn next(flow: Flow) -> Result<Option<(Bytes, Flow)>> {
        within(Duration::from_secs(20), flow.next())
    }

    #[test]
    fn a_silent_caller_costs_a_drop_at_a_time() {
        let (_sender, flow) = flow(3 * DROP_BYTES);
        let (first, flow) = next(flow).unwrap().unwrap();
        let (second, flow) = next(flow).unwrap().unwrap();
        assert_eq!((first.len(), second.len(), flow.held.bytes), (DROP_BYTES, DROP_BYTES, DROP_BYTES));
    }

    #[test]
    fn what_is_beyond_the_reserve_goes_at_once_and_the_end_brings_the_rest() {
        let (sender, flow) = flow(WEBDAV_RESERVE_BYTES + 5);
        let (first, flow) = next(flow).unwrap().unwrap();
        assert_eq!(first.len(), WEBDAV_PIECE_BYTES);
        sender.try_send(Piece::Bytes(Bytes::from_static(b"end"))).unwrap();
        sender.try_send(Piece::End).unwrap();
        let (mut total, mut flow) = (first.len(), flow);
        while let Some((piece, rest)) = next(flow).unwrap() {
            total += piece.len();
            flow = rest;
        }
        assert_eq!(total, WEBDAV_RESERVE_BYTES + 5 + 3);
    }

    #[test]
    fn a_writer_that_is_gone_is_no_end() {
        let (sender, flow) = flow(7);
        drop(sender);
        assert_eq!(next(flow).err().unwrap().kind(), Kind::Stopped);
    }
}
