//! Trying again: a decorator that repeats what failed in a way that may pass (`error.retry()` says so), after growing waits.
//!
//! What is repeated must come out as if it had been done once. A failure may be ambiguous (done, but the answer was lost):
//!
//! * `put(CreateNew)` that finds the name taken when it tries again reads the object: equal bytes are its own, written by
//!   the attempt whose answer was lost. Two writers that race with *equal* bytes may thus both succeed; who needs to know a
//!   winner puts something of its own into the bytes.
//! * `delete` that finds nothing when it tries again has deleted it.
//! * `list` hands on each row once, and remembers 16 bytes of each for it.
//! * A writer is retried while it is opened, never after: its bytes are gone. Whoever has them begins anew.
//!
//! Waits grow by doubling and are spread by a hash of seed, name and attempt ("equal jitter" of Brooker, *Exponential
//! backoff and jitter*, AWS Architecture Blog 2015), so that clients that failed together do not come back together.
//! Core has neither clock nor randomness: the caller passes in how to sleep, and the seed.

use super::{Arrived, Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::error::{Error, Kind, Result, Retry as Again};
use crate::name::ObjectName;
use crate::time::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How often and after which waits to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all; 1 (and 0) means never again.
    pub attempts: u32,
    /// The wait before the second attempt, at most; it doubles from there.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// What makes this client's waits differ from those of others: a process id, a host's hash, a random number.
    pub seed: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            seed: 0,
        }
    }
}

impl Policy {
    /// The wait after `failures` failed attempts (counted from 1) on `name`: between half of the doubled wait and the whole.
    pub fn wait(&self, failures: u32, name: &str) -> Duration {
        let doubled =
            2u32.checked_pow(failures.saturating_sub(1)).map(|factor| self.first_wait.saturating_mul(factor));
        let longest = doubled.unwrap_or(self.longest_wait).min(self.longest_wait);
        let half = longest / 2;
        let spread = u32::from_le_bytes(self.fingerprint(failures, name));
        half + (longest - half).mul_f64(f64::from(spread) / f64::from(u32::MAX))
    }

    fn fingerprint(&self, failures: u32, name: &str) -> [u8; 4] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&failures.to_le_bytes()).update(name.as_bytes());
        let mut bytes = [0; 4];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// How to wait. `Interrupted` when the user asked to stop: nothing is tried again then.
pub type Sleeper = Arc<dyn Fn(Duration) -> Result<()> + Send + Sync>;

/// How often to try again, and how to wait. Storages use it for what only they can repeat: the parts of a long object.
#[derive(Clone)]
pub struct Patience {
    policy: Policy,
    sleeper: Sleeper,
}

impl Patience {
    /// Tries again as `policy` says, and waits by `sleeper`.
    pub fn new(policy: Policy, sleeper: Sleeper) -> Patience {
        Patience { policy, sleeper }
    }

    /// Never tries again.
    pub fn none() -> Patience {
        Patience::new(Policy { attempts: 1, ..Policy::default() }, Arc::new(|_| Ok(())))
    }

    /// Repeats `attempt`, which is told whether an earlier one failed, while its failures may pass. `name` spreads the waits.
    ///
    /// # Errors
    /// The last failure; `Interrupted` when a wait was.
    pub fn retrying<T>(&self, name: &str, mut attempt: impl FnMut(bool) -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            let error = match attempt(failures > 0) {
                Ok(done) => return Ok(done),
                Err(e) => e,
            };
            failures += 1;
            if error.retry() == Again::Never || failures >= self.policy.attempts {
                return Err(error);
            }
            (self.sleeper)(self.policy.wait(failures, name))?;
        }
    }
}

/// A storage whose passing failures are tried again.
pub struct Retry {
    inner: Arc<dyn Storage>,
    patience: Patience,
}

impl Retry {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>, patience: Patience) -> Retry {
        Retry { inner, patience }
    }

    /// Puts, where a name that an attempt with a lost answer has taken is no failure.
    fn put_by(&self, name: &ObjectName, bytes: &[u8], put: impl Fn() -> Result<()>) -> Result<()> {
        self.patience.retrying(name.as_str(), |again| match put() {
            Err(e) if again && e.kind() == Kind::AlreadyExists => match self.holds(name, bytes) {
                Ok(true) => Ok(()),
                Ok(false) => Err(e),
                Err(unreadable) => Err(unreadable.while_doing("cannot tell who created", name.to_string())),
            },
            other => other,
        })
    }

    /// Whether the object holds exactly these bytes.
    fn holds(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool> {
        Ok(self.inner.read(name, 0, bytes.len().saturating_add(1))? == bytes)
    }
}

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for Retry {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.put_by(name, bytes, || self.inner.put(name, bytes, mode))
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        // Who is given the bytes back cannot send them again.
        self.put(name, bytes, mode)?;
        Ok(Box::new(Arrived))
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.put_by(name, bytes, || self.inner.put_shared(name, bytes, mode))
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.put_by(name, bytes, || self.inner.put_fleeting(name, bytes))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.patience.retrying(name.as_str(), |_| self.inner.writer(name, mode))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.patience.retrying(name.as_str(), |_| self.inner.read(name, offset, length_bytes))
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        self.patience.retrying(name.as_str(), |_| self.inner.read_into(name, offset, length_bytes, buffer))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.patience.retrying(name.as_str(), |_| self.inner.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let mut handed_on = HashSet::new();
        // An error of `row` is the caller's own: it goes back as it is, and nothing is tried again for it.
        let mut refused: Option<Error> = None;
        let listed = self.patience.retrying(prefix.map_or("", ObjectName::as_str), |_| {
            let outcome = self.inner.list(prefix, depth, &mut |listed| {
                if !handed_on.insert(fingerprint(&listed)) {
                    return Ok(());
                }
                row(listed).map_err(|e| {
                    refused = Some(e);
                    Error::stopped()
                })
            });
            if refused.is_some() { Ok(()) } else { outcome }
        });
        match refused {
            Some(error) => Err(error),
            None => listed,
        }
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.patience.retrying(name.as_str(), |again| match self.inner.delete(name) {
            Err(e) if again && e.kind() == Kind::NotFound => Ok(()),
            other => other,
        })
    }

    fn remove(&self, name: &ObjectName) -> Result<()> {
        self.patience.retrying(name.as_str(), |_| self.inner.remove(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.patience.retrying("", |_| self.inner.clean_temporaries(before))
    }

    crate::storage::forward!([inner] read_copy is_close hold distrust capabilities label);
}

/// Half of a hash of the row's kind and name: two rows alike in it would have to be sought for, with 2^64 tries.
pub(super) fn fingerprint(row: &Listed) -> [u8; 16] {
    let (kind, name) = match row {
        Listed::Object { name, .. } => (0, name.as_str()),
        Listed::Folder { name } => (1, name.as_str()),
        Listed::Stray { label } => (2, label.as_str()),
    };
    let mut short = [0; 16];
    blake3::Hasher::new().update(&[kind]).update(name.as_bytes()).finalize_xof().fill(&mut short);
    short
}

#[cfg(test)]
mod tests;
