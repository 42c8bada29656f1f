//! Giving up for a while: a decorator that stops asking a storage which does not answer.
//!
//! After some failures in a row that may pass, calls fail at once, with the last cause, for a cooling time. Then one call is let
//! through: when it ends well (or with an answer, such as that there is no such object) all are, when it fails the wait begins anew.
//! It stands around what tries again, so that a storage that is down costs one series of attempts and not one for each call. An
//! object that is being written is not cut off; how it ends counts.

use super::throttle::Clock;
use super::{Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::error::{Error, Kind, Result, Retry};
use crate::name::ObjectName;
use crate::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When to give up, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// Failures in a row, at least one.
    pub failures: u32,
    /// How long nothing is asked then.
    pub cooling: Duration,
}

impl Default for Fuse {
    fn default() -> Self {
        Fuse { failures: 3, cooling: Duration::from_secs(60) }
    }
}

/// A storage that is left alone while it does not answer.
pub struct Circuit {
    inner: Arc<dyn Storage>,
    breaker: Arc<Breaker>,
}

impl Circuit {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>, fuse: Fuse, clock: Arc<dyn Clock>) -> Circuit {
        let label = inner.label();
        Circuit { inner, breaker: Arc::new(Breaker { fuse, clock, label, state: Mutex::default() }) }
    }
}

struct Breaker {
    fuse: Fuse,
    clock: Arc<dyn Clock>,
    label: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_a_row: u32,
    /// Until when nothing is asked.
    open_until: Option<Duration>,
    /// Whether the one call is under way.
    is_probed: bool,
    last: Option<(Kind, String)>,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or not; says whether it is the one that probes.
    fn enter(&self) -> Result<bool> {
        let mut state = self.lock();
        let Some(until) = state.open_until else { return Ok(false) };
        if state.is_probed || self.clock.now() < until {
            let (kind, text) = state.last.clone().unwrap_or((Kind::Io, "it failed".to_owned()));
            let what = format!("not asked for a while after {} failures:", state.in_a_row);
            return Err(Error::new(kind, what).on(self.label.clone()).because(text).retry_later());
        }
        state.is_probed = true;
        Ok(true)
    }

    fn note<T>(&self, outcome: &Result<T>, is_probe: bool) {
        let mut state = self.lock();
        if is_probe {
            state.is_probed = false;
        }
        match outcome {
            // That an object is damaged is an answer, though asking again may give another.
            Err(error) if error.retry() == Retry::Later && error.kind() != Kind::Damaged => {
                state.in_a_row = state.in_a_row.saturating_add(1);
                state.last = Some((error.kind(), error.to_string()));
                if state.in_a_row >= self.fuse.failures.max(1) {
                    state.open_until = Some(self.clock.now().saturating_add(self.fuse.cooling));
                }
            }
            // Whoever could not go on for other reasons tells nothing of the storage.
            Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Stopped) => (),
            // A call that began before it was given up may end well while it is: only the probe, or one that comes through, counts.
            Ok(_) | Err(_) if is_probe || state.open_until.is_none() => *state = State::default(),
            Ok(_) | Err(_) => (),
        }
    }

    fn run<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_probe = self.enter()?;
        // A probe that panics must not stay under way for ever.
        let probing = Probing { breaker: self, is_probe };
        let outcome = call();
        self.note(&outcome, is_probe);
        drop(probing);
        outcome
    }
}

struct Probing<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.lock().is_probed = false;
        }
    }
}

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for Circuit {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.breaker.run(|| self.inner.put(name, bytes, mode))
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        let inner = self.breaker.run(|| self.inner.begin_put(name, bytes, mode))?;
        Ok(Box::new(Put { inner, breaker: Arc::clone(&self.breaker) }))
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.breaker.run(|| self.inner.put_shared(name, bytes, mode))
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.breaker.run(|| self.inner.put_fleeting(name, bytes))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.breaker.run(|| self.inner.writer(name, mode))?;
        Ok(Box::new(Writer { inner, breaker: Arc::clone(&self.breaker) }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.breaker.run(|| self.inner.read(name, offset, length_bytes))
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        self.breaker.run(|| self.inner.read_into(name, offset, length_bytes, buffer))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.breaker.run(|| self.inner.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        // An error of `row` is the caller's own, and says nothing of the storage.
        let mut refused: Option<Error> = None;
        let listed = self.breaker.run(|| {
            let listed = self.inner.list(prefix, depth, &mut |listed| {
                row(listed).map_err(|error| {
                    refused = Some(error);
                    Error::stopped()
                })
            });
            if refused.is_some() { Ok(()) } else { listed }
        });
        refused.map_or(listed, Err)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.breaker.run(|| self.inner.delete(name))
    }

    fn remove(&self, name: &ObjectName) -> Result<()> {
        self.breaker.run(|| self.inner.remove(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.breaker.run(|| self.inner.clean_temporaries(before))
    }

    crate::storage::forward!([inner] read_copy is_close hold distrust capabilities label);
}

struct Put {
    inner: Box<dyn Underway>,
    breaker: Arc<Breaker>,
}

impl Underway for Put {
    fn finish(self: Box<Self>) -> Result<()> {
        let outcome = self.inner.finish();
        self.breaker.note(&outcome, false);
        outcome
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    breaker: Arc<Breaker>,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = self.inner.write(bytes);
        if outcome.is_err() {
            self.breaker.note(&outcome, false);
        }
        outcome
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let outcome = self.inner.finish();
        self.breaker.note(&outcome, false);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// A clock that stands still until it is told to go on.
    #[derive(Default)]
    struct Standing(Mutex<Duration>);

    impl Clock for Standing {
        fn time_of_day(&self) -> Duration {
            Duration::ZERO
        }

        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn sleep(&self, wait: Duration) {
            *self.0.lock().unwrap() += wait;
        }
    }

    /// A storage that can be switched off, and counts how often it is asked.
    #[derive(Default)]
    struct Switched {
        memory: Memory,
        is_off: AtomicBool,
        asked: AtomicU32,
    }

    impl Switched {
        fn ask<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.is_off.load(Ordering::SeqCst) {
                return Err(Error::new(Kind::Io, "no answer").retry_later());
            }
            call()
        }
    }

    impl Storage for Switched {
        fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
            self.ask(|| self.memory.put(name, bytes, mode))
        }
        fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
            self.ask(|| self.memory.writer(name, mode))
        }
        fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
            self.ask(|| self.memory.read(name, offset, length_bytes))
        }
        fn stat(&self, name: &ObjectName) -> Result<Stat> {
            self.ask(|| match name.as_str() {
                "lost" => Err(Error::damaged("a segment is missing of", "it").retry_later()),
                _ => self.memory.stat(name),
            })
        }
        fn list(
            &self,
            prefix: Option<&ObjectName>,
            depth: Depth,
            row: &mut dyn FnMut(Listed) -> Result<()>,
        ) -> Result<()> {
            self.ask(|| self.memory.list(prefix, depth, row))
        }
        fn delete(&self, name: &ObjectName) -> Result<()> {
            self.ask(|| self.memory.delete(name))
        }
        fn label(&self) -> String {
            "switched".to_owned()
        }

        crate::storage::forward!([memory] capabilities);
    }

    fn name() -> ObjectName {
        ObjectName::new("a").unwrap()
    }

    #[test]
    fn a_storage_that_does_not_answer_is_left_alone_and_probed_by_one_call() {
        let (inner, clock) = (Arc::new(Switched::default()), Arc::new(Standing::default()));
        let fuse = Fuse { failures: 3, cooling: Duration::from_secs(10) };
        let circuit = Circuit::new(inner.clone(), fuse, clock.clone());
        circuit.put(&name(), b"1", PutMode::CreateNew).unwrap();
        inner.is_off.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            assert!(circuit.stat(&name()).is_err());
        }
        assert_eq!(inner.asked.load(Ordering::SeqCst), 1 + 3);
        let error = circuit.read(&name(), 0, 1).unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
        assert_eq!(error.retry(), Retry::Later);

        clock.sleep(Duration::from_secs(10));
        assert!(circuit.stat(&name()).is_err() && circuit.stat(&name()).is_err());
        assert_eq!(inner.asked.load(Ordering::SeqCst), 1 + 3 + 1, "one probe");

        clock.sleep(Duration::from_secs(10));
        inner.is_off.store(false, Ordering::SeqCst);
        assert_eq!(circuit.stat(&name()).unwrap().size_bytes, 1);
        assert_eq!(circuit.read(&name(), 0, 9).unwrap(), b"1");
    }

    #[test]
    fn an_object_that_is_damaged_is_no_storage_that_is_down() {
        let (inner, clock) = (Arc::new(Switched::default()), Arc::new(Standing::default()));
        let circuit = Circuit::new(inner.clone(), Fuse::default(), clock);
        circuit.put(&name(), b"1", PutMode::CreateNew).unwrap();
        let lost = ObjectName::new("lost").unwrap();
        for _ in 0..9 {
            let error = circuit.stat(&lost).unwrap_err();
            assert_eq!((error.kind(), error.retry()), (Kind::Damaged, Retry::Later));
            assert_eq!(circuit.stat(&name()).unwrap().size_bytes, 1);
        }
        for _ in 0..9 {
            assert_eq!(circuit.stat(&lost).unwrap_err().kind(), Kind::Damaged);
        }
        assert_eq!(inner.asked.load(Ordering::SeqCst), 1 + 9 + 9 + 9);
    }

    #[test]
    fn an_answer_is_no_failure_and_one_between_failures_begins_the_count_anew() {
        let (inner, clock) = (Arc::new(Switched::default()), Arc::new(Standing::default()));
        let circuit = Circuit::new(inner.clone(), Fuse::default(), clock);
        for _ in 0..9 {
            for is_off in [true, true, false] {
                inner.is_off.store(is_off, Ordering::SeqCst);
                let kind = circuit.stat(&name()).unwrap_err().kind();
                assert_eq!(kind, if is_off { Kind::Io } else { Kind::NotFound });
            }
        }
        assert_eq!(inner.asked.load(Ordering::SeqCst), 27);
    }
}
