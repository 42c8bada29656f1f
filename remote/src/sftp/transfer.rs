//! Bytes of one open file, many parts of them under way at a time.

use super::fault::{Asked, Fault};
use super::session::{Answer, Session};
use super::wire::Request;
use icecore::error::{Error, Kind};
use icecore::limits::SFTP_REQUESTS;
use std::collections::VecDeque;

/// A part that has been asked for.
struct Part {
    at: usize,
    length: usize,
    answer: Answer,
}

/// Exactly the bytes from `offset`, as many as there is room for in `bytes`.
pub(super) async fn fetch(session: &Session, handle: &[u8], offset: u64, bytes: &mut [u8]) -> Asked<()> {
    let part_bytes = session.can().read_bytes;
    let ask = |at: usize, length: usize| {
        let request = Request::Read {
            handle,
            offset: offset.saturating_add(at as u64),
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        Part { at, length, answer: session.ask(&request) }
    };
    let (mut next, mut under_way) = (0, VecDeque::new());
    loop {
        while under_way.len() < SFTP_REQUESTS && next < bytes.len() {
            let length = part_bytes.min(bytes.len() - next);
            under_way.push_back(ask(next, length));
            next += length;
        }
        let Some(Part { at, length, answer }) = under_way.pop_front() else { return Ok(()) };
        let Some(data) = answer.data().await? else { return Err(ended_early().into()) };
        if data.is_empty() || data.len() > length {
            return Err(Fault::unexpected());
        }
        bytes[at..at + data.len()].copy_from_slice(&data);
        // A server may give less than it was asked for.
        if data.len() < length {
            under_way.push_front(ask(at + data.len(), length - data.len()));
        }
    }
}

/// An object is never made shorter: whoever sees that has to look again.
fn ended_early() -> Error {
    Error::new(Kind::Io, "the object ended before its length").retry_later()
}

/// Puts bytes into a file, from its beginning.
pub(super) async fn send(session: &Session, handle: &[u8], bytes: &[u8]) -> Asked<()> {
    let mut under_way = VecDeque::new();
    let mut offset = 0;
    for part in bytes.chunks(session.can().write_bytes) {
        if under_way.len() >= SFTP_REQUESTS
            && let Some(answer) = under_way.pop_front()
        {
            Answer::done(answer).await?;
        }
        under_way.push_back(session.ask(&Request::Write { handle, offset, bytes: part }));
        offset += part.len() as u64;
    }
    for answer in under_way {
        answer.done().await?;
    }
    Ok(())
}
