//! One long request body that is sent while a blocking caller writes it.
//!
//! Invariants: what waits to be sent has a bound, and so has every wait of the caller; a caller that goes away without saying that
//! this was all ends the request as a failure. Some bytes are kept back, to be given in drops while the caller is
//! silent, because servers hang up on silence. Nothing can be sent twice: who needs that has to keep the bytes.

use crate::access::Timeouts;
use crate::bridge::{runtime, within};
use bytes::Bytes;
use futures_util::stream;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{STREAM_PIECE_BYTES, STREAM_PIECES_WAITING, STREAM_RESERVE_BYTES};
use reqwest::Body;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a connection is left silent.
const SILENCE: Duration = Duration::from_secs(10);
/// What breaks the silence.
const DROP_BYTES: usize = 1 << 10;

/// A body on its way, and the request that it belongs to.
pub struct Outgoing {
    pieces: Sender<Piece>,
    /// Until it has been asked for.
    answer: Option<JoinHandle<Result<()>>>,
    timeouts: Timeouts,
}

impl Outgoing {
    /// Begins with what there is; `request` gets the body and tells how it ended.
    ///
    /// # Errors
    /// When the system has no threads left.
    pub fn begin<F>(first: Bytes, timeouts: Timeouts, request: impl FnOnce(Body) -> F) -> Result<Outgoing>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, receiver) = channel(STREAM_PIECES_WAITING);
        let mut held = Held::default();
        held.add(first);
        let flow = Flow { pieces: receiver, held, ended: false, silence: SILENCE.min(timeouts.idle / 3) };
        let body = Body::wrap_stream(stream::try_unfold(flow, Flow::next));
        Ok(Outgoing { pieces: sender, answer: Some(runtime()?.spawn(request(body))), timeouts })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of the request, when it ended; `Io` that may pass when the server takes nothing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(STREAM_PIECE_BYTES) {
            let piece = Piece::Bytes(Bytes::copy_from_slice(piece));
            let waiting = self.waiting();
            let handed_on = within(waiting, async { Ok(self.pieces.send(piece).await.is_ok()) })?;
            if !handed_on {
                // The request has ended; it knows why.
                within(waiting, self.joined())?;
                return Err(
                    Error::new(Kind::Io, "the server took the object for whole before it was").retry_later()
                );
            }
        }
        Ok(())
    }

    /// Says that this was all of so many bytes, and waits for the answer.
    ///
    /// # Errors
    /// Those of the request.
    pub fn finish(mut self, size_bytes: u64) -> Result<()> {
        // First as long as the request itself waits, then once more: it knows better why there is none.
        within(self.waiting() + Timeouts::copying(size_bytes), self.ended())
    }

    /// Ends the body as if it were whole, so that the server is done with it, and does not care for how that went.
    pub fn abandon(mut self, waiting: Duration) {
        within(waiting.min(self.timeouts.idle), self.ended()).unwrap_or(());
    }

    async fn ended(&mut self) -> Result<()> {
        // When nobody takes it any more, the answer says why.
        self.pieces.send(Piece::End).await.unwrap_or(());
        self.joined().await
    }

    async fn joined(&mut self) -> Result<()> {
        let answer = self.answer.as_mut().ok_or_else(Error::stopped)?;
        let joined = answer.await;
        self.answer = None;
        joined.unwrap_or_else(|e| Err(Error::new(Kind::Io, "the upload ended").because(e)))
    }

    fn waiting(&self) -> Duration {
        self.timeouts.whole(STREAM_PIECE_BYTES * STREAM_PIECES_WAITING + STREAM_RESERVE_BYTES)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}

/// A piece of the body on its way.
enum Piece {
    Bytes(Bytes),
    /// There is nothing more. Without it the end of the pieces is a failure.
    End,
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

struct Flow {
    pieces: Receiver<Piece>,
    held: Held,
    ended: bool,
    silence: Duration,
}

impl Flow {
    /// The next piece of the body. Until the end is known, some bytes are kept back; they are given in drops when nothing comes.
    async fn next(mut self) -> Result<Option<(Bytes, Flow)>> {
        while !self.ended && self.held.bytes <= STREAM_RESERVE_BYTES {
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
        Ok(self.held.take(STREAM_PIECE_BYTES).map(|piece| (piece, self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(held: usize) -> (Sender<Piece>, Flow) {
        let (sender, pieces) = channel(STREAM_PIECES_WAITING);
        let mut flow =
            Flow { pieces, held: Held::default(), ended: false, silence: Duration::from_millis(20) };
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
        let (sender, flow) = flow(STREAM_RESERVE_BYTES + 5);
        let (first, flow) = next(flow).unwrap().unwrap();
        assert_eq!(first.len(), STREAM_PIECE_BYTES);
        sender.try_send(Piece::Bytes(Bytes::from_static(b"end"))).ok().unwrap();
        sender.try_send(Piece::End).ok().unwrap();
        let (mut total, mut flow) = (first.len(), flow);
        while let Some((piece, rest)) = next(flow).unwrap() {
            total += piece.len();
            flow = rest;
        }
        assert_eq!(total, STREAM_RESERVE_BYTES + 5 + 3);
    }

    #[test]
    fn a_writer_that_is_gone_is_no_end() {
        let (sender, flow) = flow(7);
        drop(sender);
        assert_eq!(next(flow).err().unwrap().kind(), Kind::Stopped);
    }
}
