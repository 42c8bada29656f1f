//! Blocks of an object that are fetched before they are asked for: where each request waits for an answer from far away, several are
//! under way at once.
//!
//! Invariants: blocks come in order, and none behind one that could not be had; at most [`BLOCKS_AHEAD`] are under way or wait; whoever drops this waits for those under way.

use crate::error::{Error, Result};
use crate::limits::{BLOCK_BYTES, BLOCKS_AHEAD};
use crate::name::ObjectName;
use crate::pipe::{Answers, Lane, Promise, Turn};
use crate::storage::Storage;
use std::collections::VecDeque;
use std::sync::Arc;

/// A block to fetch.
struct Fetch {
    position_bytes: u64,
    length_bytes: usize,
    promise: Promise<Result<Vec<u8>>>,
}

/// What is fetched of one object.
pub(super) struct Ahead {
    lane: Lane<Fetch>,
    coming: VecDeque<Answers<Result<Vec<u8>>>>,
    /// Where the next block begins that nobody has asked for.
    position_bytes: u64,
    size_bytes: u64,
}

impl Ahead {
    /// Begins an object of this length.
    pub fn start(storage: Arc<dyn Storage>, name: ObjectName, size_bytes: u64) -> Result<Ahead> {
        let fetch = move |fetch: Fetch| {
            fetch.promise.give(storage.read(&name, fetch.position_bytes, fetch.length_bytes));
        };
        let lane = Lane::start(BLOCKS_AHEAD, (BLOCKS_AHEAD * BLOCK_BYTES) as u64, fetch)?;
        Ok(Ahead { lane, coming: VecDeque::new(), position_bytes: 0, size_bytes })
    }

    /// The next block; nothing behind the last.
    pub fn next(&mut self) -> Result<Vec<u8>> {
        while self.coming.len() < BLOCKS_AHEAD && self.position_bytes < self.size_bytes {
            let left = self.size_bytes - self.position_bytes;
            let length_bytes = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
            let answers = Answers::default();
            let (position_bytes, promise) = (self.position_bytes, answers.expect(0));
            self.lane.send(
                Turn::Beside,
                length_bytes as u64,
                Fetch { position_bytes, length_bytes, promise },
            )?;
            self.coming.push_back(answers);
            self.position_bytes += length_bytes as u64;
        }
        let Some(answers) = self.coming.pop_front() else { return Ok(Vec::new()) };
        // None when the thread is gone, whose panic comes when the lane is dropped.
        let block = answers.all().pop().map_or_else(|| Err(Error::stopped()), |(_, block)| block);
        if block.is_err() {
            // Nothing behind it is given for what it should have been.
            self.coming.clear();
            self.position_bytes = self.size_bytes;
        }
        block
    }
}
