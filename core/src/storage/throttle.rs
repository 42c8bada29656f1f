//! Limits of bytes a second, up and down: a decorator that sleeps when a storage is used faster.
//!
//! The bucket is the "virtual scheduling" form of the leaky bucket (GCRA, ITU-T I.371): the only state is the moment at
//! which everything that passed so far will have been paid for. Over any span of time at most one second's worth more than
//! the rate passes, or one call more where a single call is larger than that: `put` and `read` are never split, since an
//! object is put whole, and two reads could see two versions of it. Writers are split into pieces of a second.

use super::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::error::Result;
use crate::name::ObjectName;
use crate::time::Timestamp;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a bucket tells the time and waits: core has no clock of its own.
pub trait Clock: Send + Sync {
    /// Time since some moment in the past; never goes backwards.
    fn now(&self) -> Duration;

    /// Waits. May return early, when the user asked to stop; what passes then is owed.
    fn sleep(&self, wait: Duration);
}

/// Most bytes a second in each direction; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// To the storage.
    pub up_bytes_per_second: Option<NonZeroU64>,
    /// From the storage.
    pub down_bytes_per_second: Option<NonZeroU64>,
}

/// The longest time saved up in an idle bucket.
const BURST: Duration = Duration::from_secs(1);

/// A storage whose traffic is limited. All that use one decorator share its limits.
pub struct Throttle {
    inner: Arc<dyn Storage>,
    up: Arc<Valve>,
    down: Valve,
}

impl Throttle {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>, rates: Rates, clock: Arc<dyn Clock>) -> Throttle {
        let up = Arc::new(Valve::new(rates.up_bytes_per_second, Arc::clone(&clock)));
        Throttle { inner, up, down: Valve::new(rates.down_bytes_per_second, clock) }
    }
}

impl Storage for Throttle {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.up.pass(bytes.len());
        self.inner.put(name, bytes, mode)
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        self.up.pass(bytes.len());
        self.inner.begin_put(name, bytes, mode)
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

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.inner.list(prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.inner.delete(name)
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.inner.clean_temporaries(before)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn label(&self) -> String {
        self.inner.label()
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    up: Arc<Valve>,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(self.up.piece_bytes()) {
            self.up.pass(piece.len());
            self.inner.write(piece)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish()
    }
}

/// One direction.
struct Valve {
    rate: Option<NonZeroU64>,
    bucket: Mutex<Bucket>,
    clock: Arc<dyn Clock>,
}

impl Valve {
    fn new(rate: Option<NonZeroU64>, clock: Arc<dyn Clock>) -> Valve {
        Valve { rate, bucket: Mutex::new(Bucket::default()), clock }
    }

    /// Waits until these bytes may pass. Those that come meanwhile queue up behind.
    fn pass(&self, length_bytes: usize) {
        let Some(rate) = self.rate else { return };
        let now = self.clock.now();
        let mut bucket = self.bucket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let wait = bucket.take(length_bytes as u64, rate, now);
        drop(bucket);
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
    }

    /// What passes in a second.
    fn piece_bytes(&self) -> usize {
        self.rate.and_then(|rate| usize::try_from(rate.get()).ok()).unwrap_or(usize::MAX)
    }
}

/// The moment at which everything that passed is paid for.
#[derive(Debug, Default)]
struct Bucket {
    paid_at: Duration,
}

impl Bucket {
    /// Takes bytes out; how long to wait until they may pass.
    fn take(&mut self, length_bytes: u64, rate: NonZeroU64, now: Duration) -> Duration {
        let start = self.paid_at.max(now.saturating_sub(BURST));
        self.paid_at = start.saturating_add(price(length_bytes, rate));
        self.paid_at.saturating_sub(now)
    }
}

/// The time these bytes take, rounded up.
fn price(length_bytes: u64, rate: NonZeroU64) -> Duration {
    let nanoseconds = (u128::from(length_bytes) * 1_000_000_000).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;
    use proptest::prelude::*;

    /// A clock that moves only when somebody sleeps.
    #[derive(Default)]
    struct Sleepless(Mutex<Duration>);

    impl Clock for Sleepless {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn sleep(&self, wait: Duration) {
            *self.0.lock().unwrap() += wait;
        }
    }

    fn storage(up: u64, down: u64) -> (Throttle, Arc<Sleepless>) {
        let clock = Arc::new(Sleepless::default());
        let rates =
            Rates { up_bytes_per_second: NonZeroU64::new(up), down_bytes_per_second: NonZeroU64::new(down) };
        (Throttle::new(Arc::new(Memory::new()), rates, clock.clone()), clock)
    }

    #[test]
    fn each_direction_takes_its_own_time() {
        let (storage, clock) = storage(1_000, 500);
        let name = ObjectName::new("a").unwrap();
        storage.put(&name, &[1; 3_000], PutMode::CreateNew).unwrap();
        assert_eq!(clock.now(), Duration::from_secs(3));
        assert_eq!(storage.read(&name, 0, 9_999).unwrap().len(), 3_000);
        // One second saved up while the other direction was busy.
        assert_eq!(clock.now(), Duration::from_secs(3 + 6 - 1));
    }

    #[test]
    fn a_writer_is_limited_and_its_bytes_stay_in_order() {
        let (storage, clock) = storage(1_000, 0);
        let name = ObjectName::new("a").unwrap();
        let bytes: Vec<u8> = (0..2_500u32).map(|n| n as u8).collect();
        let mut writer = storage.writer(&name, PutMode::CreateNew).unwrap();
        writer.write(&bytes).unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        assert_eq!(clock.now(), Duration::from_secs(5));
        assert_eq!(storage.read(&name, 0, 9_999).unwrap(), [bytes.clone(), bytes].concat());
        assert_eq!(clock.now(), Duration::from_secs(5), "no limit, no wait");
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_the_rate_and_a_burst(
            rate in 1u64..1_000_000,
            calls in prop::collection::vec((0u64..2_000_000, 0u64..3_000), 1..60),
        ) {
            let per_second = NonZeroU64::new(rate).unwrap();
            let (mut bucket, mut now) = (Bucket::default(), Duration::ZERO);
            let mut passed: Vec<(Duration, u64)> = Vec::new();
            for (length_bytes, idle_ms) in calls {
                now += Duration::from_millis(idle_ms);
                now += bucket.take(length_bytes, per_second, now);
                passed.push((now, length_bytes));
            }
            // Every span that ends with a call: what passed in it was paid for, but for a second's worth and its first call.
            for end in 0..passed.len() {
                let mut bytes = 0u128;
                for start in (0..=end).rev() {
                    let span = passed[end].0 - passed[start].0 + BURST;
                    let allowed = u128::from(rate) * span.as_nanos() / 1_000_000_000 + 1;
                    prop_assert!(bytes <= allowed, "{bytes} in {span:?} at {rate}");
                    bytes += u128::from(passed[start].1);
                }
            }
        }

        #[test]
        fn a_busy_bucket_is_not_slower_than_its_rate(rate in 1u64..1_000_000, calls in prop::collection::vec(0u64..100_000, 1..50)) {
            let per_second = NonZeroU64::new(rate).unwrap();
            let (mut bucket, mut now) = (Bucket::default(), Duration::ZERO);
            let mut waited = Duration::ZERO;
            for length_bytes in &calls {
                let wait = bucket.take(*length_bytes, per_second, now);
                now += wait;
                waited += wait;
            }
            let rounding = Duration::from_nanos(calls.len() as u64);
            prop_assert!(waited <= price(calls.iter().sum(), per_second) + rounding);
        }
    }
}
