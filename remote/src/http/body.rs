//! A body that is sent in pieces, each of which is counted: whoever waits for the answer sees that something moves.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reqwest::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

/// What is handed to the connection at a time: a slow line takes that much well within an idle deadline.
const PIECE_BYTES: usize = 64 << 10;

/// How far a body is.
#[derive(Default)]
pub struct Progress {
    moved: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// The bytes that the connection has taken.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether a body whose length nobody knew has come to its end.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// `body`, whose progress is noted as the connection takes it.
pub fn watched(body: Body, progress: Arc<Progress>) -> Body {
    Body::wrap(Watched { inner: body, rest: Bytes::new(), progress })
}

struct Watched {
    inner: Body,
    rest: Bytes,
    progress: Arc<Progress>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    // Trailers: nothing to count.
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => {
                    if matches!(other, Poll::Ready(None)) {
                        self.progress.ended.store(true, Ordering::Relaxed);
                    }
                    return other;
                }
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.progress.moved.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}
