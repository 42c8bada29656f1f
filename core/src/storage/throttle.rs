//! Limits of bytes a second, up and down: a decorator that sleeps when a storage is used faster.
//!
//! The bucket is a leaky one (GCRA, ITU-T I.371) whose debt is counted in bytes: each call takes its bytes and passes when
//! all that was taken up to there is paid for, at the rate of the moment. Over any span of time at most one second's worth
//! more than the rate passes, or one call more where a single call is larger than that: `put` and `read` are never split,
//! since an object is put whole, and two reads could see two versions of it. Writers are split into pieces of a second.
//!
//! Where rates depend on the time of day ([`Schedule`]) a call that waits looks up when a span begins or ends, and each minute
//! besides, for clocks may be set: what has been paid stays paid, and what is still owed is paid at the new rate from then on.
//! Nothing is saved up while there is no limit.

mod schedule;
#[cfg(test)]
mod tests;

pub use schedule::{Rate, Schedule};

use super::{ObjectWriter, PutMode, Storage, Underway};
use crate::error::Result;
use crate::name::ObjectName;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a bucket tells the time and waits: core has no clock of its own.
pub trait Clock: Send + Sync {
    /// Time since some moment in the past; never goes backwards.
    fn now(&self) -> Duration;

    /// The time since midnight, where the user is. It may jump, when the clock is set.
    fn time_of_day(&self) -> Duration;

    /// Waits. May return early, when the user asked to stop; what passes then is owed.
    fn sleep(&self, wait: Duration);
}

/// Most bytes a second in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// To the storage.
    pub up: Schedule,
    /// From the storage.
    pub down: Schedule,
}

impl Rates {
    /// Whether there is no limit at any time.
    pub fn are_unlimited(&self) -> bool {
        self.up.is_unlimited() && self.down.is_unlimited()
    }
}

/// The longest time saved up in an idle bucket.
const BURST: Duration = Duration::from_secs(1);

/// The longest wait after which the time of day is looked at again, where rates depend on it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A storage whose traffic is limited. All that use one decorator share its limits.
pub struct Throttle {
    inner: Arc<dyn Storage>,
    up: Arc<Valve>,
    down: Valve,
}

impl Throttle {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>, rates: Rates, clock: Arc<dyn Clock>) -> Throttle {
        let up = Arc::new(Valve::new(rates.up, Arc::clone(&clock)));
        Throttle { inner, up, down: Valve::new(rates.down, clock) }
    }
}

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for Throttle {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.up.pass(bytes.len());
        self.inner.put(name, bytes, mode)
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        self.up.pass(bytes.len());
        self.inner.begin_put(name, bytes, mode)
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.up.pass(bytes.len());
        self.inner.put_shared(name, bytes, mode)
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.up.pass(bytes.len());
        self.inner.put_fleeting(name, bytes)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(name, mode)?;
        Ok(Box::new(Writer { inner, up: Arc::clone(&self.up) }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        // How much there is to pay for is known afterwards.
        let bytes = self.inner.read(name, offset, length_bytes)?;
        self.down.pass(bytes.len());
        Ok(bytes)
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        self.inner.read_into(name, offset, length_bytes, buffer)?;
        self.down.pass(buffer.len());
        Ok(())
    }

    fn read_copy(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        copy: usize,
    ) -> Option<Result<Vec<u8>>> {
        let read = self.inner.read_copy(name, offset, length_bytes, copy)?;
        Some(read.inspect(|bytes| self.down.pass(bytes.len())))
    }

    crate::storage::forward!(
        [inner] is_close hold distrust stat list delete remove clean_temporaries capabilities label
    );
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    up: Arc<Valve>,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.up.piece_bytes().min(rest.len()));
            self.up.pass(piece.len());
            self.inner.write(piece)?;
            rest = behind;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish()
    }
}

/// One direction.
struct Valve {
    schedule: Schedule,
    bucket: Mutex<Bucket>,
    clock: Arc<dyn Clock>,
}

impl Valve {
    fn new(schedule: Schedule, clock: Arc<dyn Clock>) -> Valve {
        let bucket = Bucket::new(schedule.rate_at(clock.time_of_day()));
        Valve { schedule, bucket: Mutex::new(bucket), clock }
    }

    /// Waits until these bytes may pass. Those that come meanwhile queue up behind.
    fn pass(&self, length_bytes: usize) {
        if self.schedule.is_unlimited() {
            return;
        }
        let mut ticket = None;
        loop {
            let (now, time_of_day) = (self.clock.now(), self.clock.time_of_day());
            let rate = self.schedule.rate_at(time_of_day);
            let wait = {
                let mut bucket = self.bucket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                bucket.advance(rate, now);
                let ticket = *ticket.get_or_insert_with(|| bucket.take(length_bytes as u64));
                bucket.wait(ticket)
            };
            if wait.is_zero() {
                return;
            }
            let wait = match self.schedule.changes_after(time_of_day) {
                Some(change) => wait.min(change).min(LOOK_AGAIN),
                None => wait,
            };
            self.clock.sleep(wait);
            if self.clock.now() < now.saturating_add(wait) {
                // Somebody was woken because all is to stop.
                return;
            }
        }
    }

    /// What passes in a second.
    fn piece_bytes(&self) -> usize {
        let rate = self.schedule.rate_at(self.clock.time_of_day());
        rate.and_then(|rate| usize::try_from(rate.get()).ok()).unwrap_or(usize::MAX)
    }
}

/// A billionth of a byte: what a rate of one byte a second pays in a nanosecond.
const PER_BYTE: u128 = 1_000_000_000;

/// What was taken, and what of it is paid for, in billionths of a byte.
#[derive(Debug)]
struct Bucket {
    taken: u128,
    /// Up to a second's worth more than was taken, when nothing came for a while.
    paid: u128,
    /// Up to when it has been paid.
    paid_at: Duration,
    /// At which rate it is paid since then.
    rate: Rate,
}

impl Bucket {
    fn new(rate: Rate) -> Bucket {
        Bucket { taken: 0, paid: 0, paid_at: Duration::ZERO, rate }
    }

    /// Pays for the time that has passed, and goes on at `rate`.
    fn advance(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.paid_at);
        self.paid_at = self.paid_at.max(now);
        // What was taken without a limit is not owed when there is one.
        self.paid = if self.rate.is_none() { self.taken } else { self.paid };
        self.paid = self.paid.saturating_add(per_time(self.rate, passed));
        self.rate = rate;
        let most = self.taken + per_time(rate, BURST);
        self.paid = if rate.is_none() { self.taken } else { self.paid.min(most) };
    }

    /// Takes bytes out; the ticket with which to wait for them.
    fn take(&mut self, length_bytes: u64) -> u128 {
        self.taken += u128::from(length_bytes) * PER_BYTE;
        self.taken
    }

    /// How long it takes at this rate until what was taken with a ticket is paid for, rounded up.
    fn wait(&self, ticket: u128) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let nanoseconds = ticket.saturating_sub(self.paid).div_ceil(u128::from(rate.get()));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// What is paid in a time; without a limit there is nothing to pay.
fn per_time(rate: Rate, time: Duration) -> u128 {
    rate.map_or(0, |rate| u128::from(rate.get()).saturating_mul(time.as_nanos()))
}
