//! Long objects written: segments that are sent while the next is filled, then the manifest that makes the object exist.
//!
//! Invariants: a segment is kept until the server has confirmed it, and sent again as often as patience has it. Nobody sends a
//! second segment into a folder that others may use before it has created the first one there, alone. The manifest is
//! put last. Segments are taken away when there is certainly no manifest, and left when there may be one.

use super::container::{Container, run, value};
use super::creation::alone;
use super::manifest::{COUNT, Head, LENGTH, MANIFEST, WRITER};
use super::names::{Folder, digits, folder, is_stream, unique};
use super::removal;
use crate::bridge;
use bytes::Bytes;
use futures_util::future::{Either, select};
use icecore::error::{Error, Kind, Result, Retry};
use icecore::storage::{ObjectWriter, PutMode};
use reqwest::header::HeaderMap;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A long object that is being written.
pub struct Writer {
    container: Arc<Container>,
    full: String,
    mode: PutMode,
    id: String,
    folder: Folder,
    /// The segment that is being filled.
    filling: Vec<u8>,
    total: u64,
    /// Segments that have been begun to be sent.
    begun: u64,
    under_way: VecDeque<JoinHandle<Result<()>>>,
    stop: watch::Sender<bool>,
    previous: Option<Head>,
    /// Whether what was sent is to stay.
    settled: bool,
}

impl Writer {
    /// Begins an object.
    ///
    /// # Errors
    /// `AlreadyExists` when it must be new and is not; otherwise as the connection has it.
    pub fn begin(container: Arc<Container>, full: String, mode: PutMode) -> Result<Writer> {
        let previous = run(container.head_if_there(&full))?;
        if mode == PutMode::CreateNew && previous.is_some() {
            return Err(Error::new(Kind::AlreadyExists, "there is such an object"));
        }
        let id = unique()?;
        let folder = folder(&container.place.container, &full, &id, mode == PutMode::Replace);
        Ok(Writer {
            container,
            full,
            mode,
            id,
            folder,
            filling: Vec::new(),
            total: 0,
            begun: 0,
            under_way: VecDeque::new(),
            stop: watch::Sender::new(false),
            previous,
            settled: false,
        })
    }

    fn segment(&self, number: u64) -> String {
        format!("{}{}", self.folder.prefix, digits(number))
    }

    fn send_segment(&mut self) -> Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.filling));
        let name = self.segment(self.begun);
        if self.begun == 0 && self.folder.shared {
            self.send_first(&name, bytes)?;
            self.begun = 1;
            return Ok(());
        }
        // One is being filled meanwhile.
        while self.under_way.len() + 1 >= self.container.in_flight {
            self.wait_for_one()?;
        }
        let (container, headers, stop) = (Arc::clone(&self.container), self.marked()?, self.stop.subscribe());
        let send = move || {
            container.patience.retrying(&name, |_| {
                run(unless_stopped(&stop, container.put(&name, bytes.clone(), headers.clone(), false)))
            })
        };
        self.under_way.push_back(bridge::runtime()?.spawn_blocking(send));
        self.begun += 1;
        Ok(())
    }

    /// The first segment makes its folder this writer's own.
    fn send_first(&self, name: &str, bytes: Bytes) -> Result<()> {
        let (container, headers) = (&self.container, self.marked()?);
        let mine = |head: &Head| head.writer.as_deref() == Some(self.id.as_str());
        let sent = container.patience.retrying(name, |again| {
            let put = || container.put(name, bytes.clone(), headers.clone(), true);
            match run(alone(container, name, bytes.len(), put)) {
                Err(error) if again && error.kind() == Kind::AlreadyExists => match run(container.head(name))
                {
                    Ok(head) if mine(&head) => Ok(()),
                    Ok(_) => Err(error),
                    Err(unknown) => Err(unknown),
                },
                other => other,
            }
        });
        sent.map_err(|error| {
            // An answer may have been lost. If it cannot be asked for, what was sent is an orphan.
            if error.retry() == Retry::Later && run(container.head(name)).is_ok_and(|head| mine(&head)) {
                run(container.remove(name)).unwrap_or(());
            }
            match error.kind() {
                Kind::AlreadyExists => {
                    error.while_doing("somebody else writes or wrote the segments of", self.full.clone())
                }
                _ => error,
            }
        })
    }

    fn marked(&self) -> Result<HeaderMap> {
        Ok(HeaderMap::from_iter([(WRITER, value(&self.id)?)]))
    }

    fn wait_for_one(&mut self) -> Result<()> {
        let Some(sent) = self.under_way.pop_front() else { return Ok(()) };
        let panicked = |_| Error::new(Kind::Io, "sending a segment came to an unexpected end");
        bridge::runtime()?.block_on(sent).unwrap_or_else(|lost| Err(panicked(lost)))
    }

    /// Puts the manifest. After a failure `may_be_there` says whether one of the attempts may have stored it, or may yet.
    fn put_manifest(&self, may_be_there: &mut bool) -> Result<()> {
        let mut headers = self.marked()?;
        headers.insert(MANIFEST, value(&self.folder.manifest)?);
        headers.insert(LENGTH, value(&self.total.to_string())?);
        headers.insert(COUNT, value(&self.begun.to_string())?);
        let (container, full) = (&self.container, self.full.as_str());
        container.patience.retrying(full, |again| {
            let put = || container.put(full, Bytes::new(), headers.clone(), self.mode != PutMode::Replace);
            let done = match self.mode {
                PutMode::CreateNew => run(alone(container, full, 0, put)),
                PutMode::Unique | PutMode::Replace => run(put()),
            };
            // What a later attempt meets says nothing of this one.
            *may_be_there |= done.as_ref().is_err_and(|error| error.retry() == Retry::Later);
            match done {
                Err(error) if again && error.kind() == Kind::AlreadyExists && !self.is_mine()? => Err(error),
                Err(error) if again && error.kind() == Kind::AlreadyExists => Ok(()),
                other => other,
            }
        })
    }

    /// Whether the manifest that stands there was put by this writer.
    fn is_mine(&self) -> Result<bool> {
        let head = run(self.container.head_if_there(&self.full))?;
        Ok(head.is_some_and(|head| head.writer.as_deref() == Some(self.id.as_str())))
    }

    fn finish_segments(&mut self) -> Result<()> {
        if !self.filling.is_empty() {
            self.send_segment()?;
        }
        while !self.under_way.is_empty() {
            self.wait_for_one()?;
        }
        let mut may_be_there = false;
        let Err(error) = self.put_manifest(&mut may_be_there) else {
            self.settled = true;
            return Ok(());
        };
        if may_be_there {
            // The segments stay in any case.
            self.settled = true;
            if self.is_mine().unwrap_or(false) {
                return Ok(());
            }
        }
        Err(error)
    }

    /// Takes away what was sent. There is nobody to tell of a failure: what stays has no manifest, and is found by a clean-up.
    fn take_away(&mut self) {
        self.stop.send_replace(true);
        while !self.under_way.is_empty() {
            self.wait_for_one().unwrap_or(());
        }
        // The first one last: the folder is this writer's own as long as it is there.
        let later: Vec<String> = (1..self.begun).map(|number| self.segment(number)).collect();
        let first = (self.begun > 0).then(|| self.segment(0));
        if run(removal::remove_all(&self.container, &later)).is_ok() {
            run(removal::remove_all(&self.container, first.as_slice())).unwrap_or(());
        }
    }
}

async fn unless_stopped(stop: &watch::Receiver<bool>, work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut stop = stop.clone();
    let stopped = pin!(stop.wait_for(|stop| *stop));
    match select(pin!(work), stopped).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => Err(Error::stopped()),
    }
}

impl ObjectWriter for Writer {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let most = self.container.segment_bytes;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(most - self.filling.len()));
            // It doubles, but never beyond a segment.
            let has = self.filling.len();
            if self.filling.capacity() - has < now.len() {
                self.filling.reserve_exact(now.len().max(has).min(most - has));
            }
            self.filling.extend_from_slice(now);
            self.total += now.len() as u64;
            bytes = rest;
            if self.filling.len() == most {
                self.send_segment()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let is_plain = self.begun == 0 && !(is_stream(&self.full) && self.folder.shared);
        if is_plain {
            self.settled = true;
            let bytes = Bytes::from(std::mem::take(&mut self.filling));
            return put_whole(&self.container, &self.full, &bytes, self.mode, self.previous.as_ref());
        }
        self.finish_segments()?;
        if let Some(previous) = &self.previous {
            removal::remove_segments_of(&self.container, &self.full, previous);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.settled {
            self.take_away();
        }
    }
}

/// Puts an object that is not in segments; what the one before was made of goes.
///
/// # Errors
/// `AlreadyExists` with [`PutMode::CreateNew`], or as the connection has it.
pub fn put_whole(
    container: &Container,
    full: &str,
    bytes: &Bytes,
    mode: PutMode,
    previous: Option<&Head>,
) -> Result<()> {
    let put = |only_new: bool| container.put(full, bytes.clone(), HeaderMap::new(), only_new);
    match mode {
        PutMode::CreateNew => run(alone(container, full, bytes.len(), || put(true))),
        PutMode::Unique => run(put(true)),
        PutMode::Replace => {
            let Some(previous) = previous.filter(|previous| previous.target.is_some()) else {
                return run(put(false));
            };
            // Repeated here: whoever comes again from outside does not find what the one before was made of.
            container.patience.retrying(full, |_| run(put(false)))?;
            removal::remove_segments_of(container, full, previous);
            Ok(())
        }
    }
}
