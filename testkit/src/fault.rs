//! Storages that fail on purpose: at the n-th call, at a chosen moment of it, once or for ever; and damage to what is stored.
//!
//! A test that survives *every* n has seen every place where a failure can happen:
//!
//! ```text
//! let calls = { let fault = Fault::none(memory); run(&fault)?; fault.calls() };
//! for nth in 1..=calls { for moment in Moment::ALL { run(&Fault::new(memory, Plan { nth, moment, .. })) … } }
//! ```
//!
//! Each call of the trait is one, and so are [`ObjectWriter::write`] and [`ObjectWriter::finish`]. Whatever fails, the inner
//! storage keeps its contract: half a `put` is a writer that was dropped, never half an object.

use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use icecore::time::Timestamp;
use icecore::{Error, Kind, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// When in a call it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// Half of it was done: half the bytes were sent, half the rows were handed out.
    Half,
    /// All of it was done, but the answer is a failure.
    After,
}

impl Moment {
    /// Each of them.
    pub const ALL: [Moment; 3] = [Moment::Before, Moment::Half, Moment::After];
}

/// Which call fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The call that fails, counted from 1; 0 is none.
    pub nth: u64,
    /// When in the call.
    pub moment: Moment,
    /// The kind of the error.
    pub kind: Kind,
    /// Whether the error says that a later attempt may succeed.
    pub passes: bool,
    /// Whether every later call fails too, as if the process or the server had died.
    pub dies: bool,
}

impl Plan {
    /// The `nth` call fails at `moment`, with an I/O error that does not say it may pass; later calls succeed.
    pub fn once(nth: u64, moment: Moment) -> Plan {
        Plan { nth, moment, kind: Kind::Io, passes: false, dies: false }
    }

    /// The `nth` call fails at `moment`, and so does everything after it.
    pub fn death(nth: u64, moment: Moment) -> Plan {
        Plan { dies: true, ..Plan::once(nth, moment) }
    }

    /// The same with another kind of error.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Plan {
        Plan { kind, ..self }
    }

    /// The same with an error that may pass.
    #[must_use]
    pub fn passing(self) -> Plan {
        Plan { passes: true, ..self }
    }
}

/// A storage that fails as planned.
pub struct Fault {
    inner: Arc<dyn Storage>,
    counter: Arc<Counter>,
}

impl Fault {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>, plan: Plan) -> Fault {
        Fault {
            inner,
            counter: Arc::new(Counter { plan, calls: AtomicU64::new(0), struck: AtomicBool::new(false) }),
        }
    }

    /// Decorates `inner` with nothing but counting.
    pub fn none(inner: Arc<dyn Storage>) -> Fault {
        Fault::new(inner, Plan::once(0, Moment::Before))
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.counter.calls.load(Ordering::SeqCst)
    }

    /// Whether the planned call came. A test whose fault never struck has tested nothing.
    pub fn struck(&self) -> bool {
        self.counter.struck.load(Ordering::SeqCst)
    }
}

struct Counter {
    plan: Plan,
    calls: AtomicU64,
    struck: AtomicBool,
}

impl Counter {
    /// Counts a call; the moment of its failure, if it is to fail.
    fn next(&self) -> Option<Moment> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.plan.nth == 0 || number < self.plan.nth {
            return None;
        }
        if number == self.plan.nth {
            self.struck.store(true, Ordering::SeqCst);
            return Some(self.plan.moment);
        }
        self.plan.dies.then_some(Moment::Before)
    }

    fn error(&self, call: &str, subject: &str) -> Error {
        let error = Error::new(self.plan.kind, format!("planned failure of {call}")).on(subject);
        if self.plan.passes { error.retry_later() } else { error }
    }

    /// Counts a call and does it, half of it, or nothing. A real failure on the way comes before the planned one.
    fn run<T>(
        &self,
        call: &str,
        subject: &str,
        whole: impl FnOnce() -> Result<T>,
        half: impl FnOnce() -> Result<()>,
    ) -> Result<T> {
        match self.next() {
            None => return whole(),
            Some(Moment::Before) => {}
            Some(Moment::Half) => half().or_else(is_an_answer)?,
            Some(Moment::After) => whole().map(drop).or_else(is_an_answer)?,
        }
        Err(self.error(call, subject))
    }
}

/// That there is no such object is an answer, which can be lost as any other.
fn is_an_answer(error: Error) -> Result<()> {
    if error.kind() == Kind::NotFound { Ok(()) } else { Err(error) }
}

/// For calls that have no middle.
fn nothing() -> Result<()> {
    Ok(())
}

impl Storage for Fault {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.counter.run(
            "put",
            name.as_str(),
            || self.inner.put(name, bytes, mode),
            || self.inner.writer(name, mode)?.write(&bytes[..bytes.len() / 2]),
        )
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        self.counter.run(
            "begin_put",
            name.as_str(),
            || {
                let (inner, counter) = (self.inner.begin_put(name, bytes, mode)?, Arc::clone(&self.counter));
                Ok(Box::new(Put { inner, counter, name: name.clone() }) as Box<dyn Underway>)
            },
            || self.inner.writer(name, mode)?.write(&bytes[..bytes.len() / 2]),
        )
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.counter.run(
            "writer",
            name.as_str(),
            || {
                let (inner, counter) = (self.inner.writer(name, mode)?, Arc::clone(&self.counter));
                Ok(Box::new(Writer { inner, counter, name: name.clone() }) as Box<dyn ObjectWriter>)
            },
            || self.inner.writer(name, mode).map(drop),
        )
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.counter.run(
            "read",
            name.as_str(),
            || self.inner.read(name, offset, length_bytes),
            || self.inner.read(name, offset, length_bytes / 2).map(drop),
        )
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.counter.run("stat", name.as_str(), || self.inner.stat(name), nothing)
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        // Both ways share the one `row`, and only one of them is gone.
        let row = Mutex::new(row);
        let hand_on = |listed| (row.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))(listed);
        self.counter.run(
            "list",
            prefix.map_or("", ObjectName::as_str),
            || self.inner.list(prefix, depth, &mut |listed| hand_on(listed)),
            || half_a_list(self.inner.as_ref(), prefix, depth)?.into_iter().try_for_each(hand_on),
        )
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.counter.run("delete", name.as_str(), || self.inner.delete(name), nothing)
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.counter.run("clean_temporaries", "", || self.inner.clean_temporaries(before), nothing)
    }

    icecore::storage::forward!([inner] capabilities label);
}

/// The first half of a listing's rows.
fn half_a_list(storage: &dyn Storage, prefix: Option<&ObjectName>, depth: Depth) -> Result<Vec<Listed>> {
    let mut rows = Vec::new();
    storage.list(prefix, depth, &mut |listed| {
        rows.push(listed);
        Ok(())
    })?;
    rows.truncate(rows.len() / 2);
    Ok(rows)
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    counter: Arc<Counter>,
    name: ObjectName,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let inner = Mutex::new(&mut self.inner);
        let send = |bytes: &[u8]| inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).write(bytes);
        let half = &bytes[..bytes.len() / 2];
        self.counter.run("write", self.name.as_str(), || send(bytes), || send(half))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Writer { inner, counter, name } = *self;
        // Half a finish is none: the inner writer is dropped.
        counter.run("finish", name.as_str(), || inner.finish(), nothing)
    }
}

struct Put {
    inner: Box<dyn Underway>,
    counter: Arc<Counter>,
    name: ObjectName,
}

impl Underway for Put {
    fn finish(self: Box<Self>) -> Result<()> {
        let Put { inner, counter, name } = *self;
        counter.run("finish", name.as_str(), || inner.finish(), nothing)
    }
}

/// A change for the worse that bytes at rest can suffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// One bit of the byte at this offset is turned; beyond the end, of the last byte.
    Flip(u64),
    /// The object ends here.
    Truncate(u64),
    /// Zeros follow at the end.
    Grow(usize),
    /// The object is gone.
    Delete,
    /// Other bytes are in its place.
    Replace(Vec<u8>),
}

impl Damage {
    /// Does it to the object `name`, which may be up to 256 MiB long.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it would change nothing, since such a test would test nothing.
    pub fn apply(&self, storage: &dyn Storage, name: &ObjectName) -> Result<()> {
        let before = storage.read_small(name, 256 << 20)?;
        let mut bytes = before.clone();
        match self {
            Damage::Delete => return storage.delete(name),
            Damage::Flip(offset) => flip(&mut bytes, *offset),
            Damage::Truncate(length_bytes) => {
                bytes.truncate(usize::try_from(*length_bytes).unwrap_or(usize::MAX));
            }
            Damage::Grow(more_bytes) => bytes.resize(bytes.len() + more_bytes, 0),
            Damage::Replace(other) => bytes.clone_from(other),
        }
        if bytes == before {
            return Err(Error::invalid("this damage changes nothing:", format!("{self:?} of {name}")));
        }
        storage.put(name, &bytes, PutMode::Replace)
    }
}

fn flip(bytes: &mut [u8], offset: u64) {
    let last = bytes.len().saturating_sub(1);
    let place = usize::try_from(offset).unwrap_or(usize::MAX).min(last);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0x10;
    }
}

/// Gives each of two objects the other's bytes.
///
/// # Errors
/// As reading and replacing have them.
pub fn swap(storage: &dyn Storage, one: &ObjectName, other: &ObjectName) -> Result<()> {
    let (first, second) = (storage.read_small(one, 256 << 20)?, storage.read_small(other, 256 << 20)?);
    storage.put(one, &second, PutMode::Replace)?;
    storage.put(other, &first, PutMode::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::storage::memory::Memory;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    /// A put, an object by a writer (three calls), a read, a list, a delete.
    fn seven_calls(storage: &dyn Storage) -> Vec<Option<Kind>> {
        let mut kinds = vec![storage.put(&name("a"), b"1234", PutMode::CreateNew).err()];
        match storage.writer(&name("b"), PutMode::CreateNew) {
            Ok(mut writer) => {
                kinds.push(writer.write(b"56").err());
                kinds.push(writer.finish().err());
            }
            Err(e) => kinds.push(Some(e)),
        }
        kinds.push(storage.read(&name("a"), 0, 4).err());
        kinds.push(storage.list(None, Depth::All, &mut |_| Ok(())).err());
        kinds.push(storage.delete(&name("a")).err());
        kinds.into_iter().map(|e| e.map(|e| e.kind())).collect()
    }

    #[test]
    fn every_call_is_counted() {
        let fault = Fault::none(Arc::new(Memory::new()));
        assert_eq!(seven_calls(&fault), [None; 6]);
        assert_eq!(fault.calls(), 7);
        assert!(!fault.struck());
    }

    #[test]
    fn the_moment_decides_what_is_left() {
        for (moment, left) in [(Moment::Before, false), (Moment::Half, false), (Moment::After, true)] {
            let memory = Memory::new();
            let fault = Fault::new(Arc::new(memory.clone()), Plan::once(1, moment).with_kind(Kind::NoSpace));
            let error = fault.put(&name("a"), b"1234", PutMode::CreateNew).unwrap_err();
            assert_eq!(error.kind(), Kind::NoSpace);
            assert_eq!(memory.stat(&name("a")).is_ok(), left, "{moment:?}");

            let fault = Fault::new(Arc::new(memory.clone()), Plan::once(3, moment));
            let mut writer = fault.writer(&name("b"), PutMode::CreateNew).unwrap();
            writer.write(b"12").unwrap();
            assert!(writer.finish().is_err());
            assert_eq!(memory.stat(&name("b")).is_ok(), left, "{moment:?}");
        }
    }

    #[test]
    fn half_a_list_is_half_the_rows_and_an_error() {
        let memory = Memory::new();
        for text in ["a", "b", "c", "d"] {
            memory.put(&name(text), b"", PutMode::CreateNew).unwrap();
        }
        for (moment, expected) in [(Moment::Before, 0), (Moment::Half, 2), (Moment::After, 4)] {
            let fault = Fault::new(Arc::new(memory.clone()), Plan::once(1, moment));
            let mut rows = 0;
            let listed = fault.list(None, Depth::All, &mut |_| {
                rows += 1;
                Ok(())
            });
            assert_eq!((listed.is_err(), rows), (true, expected), "{moment:?}");
        }
    }

    #[test]
    fn the_dead_stay_dead_and_others_recover() {
        let fault = Fault::new(Arc::new(Memory::new()), Plan::death(2, Moment::Before));
        assert_eq!(
            seven_calls(&fault),
            [None, Some(Kind::Io), Some(Kind::Io), Some(Kind::Io), Some(Kind::Io)]
        );
        let fault = Fault::new(Arc::new(Memory::new()), Plan::once(2, Moment::Before));
        assert_eq!(seven_calls(&fault), [None, Some(Kind::Io), None, None, None]);
        assert!(fault.struck());
    }

    #[test]
    fn damage_changes_what_it_says() {
        let cases: [(Damage, &[u8]); 5] = [
            (Damage::Flip(0), b"!234"),
            (Damage::Flip(99), b"123$"),
            (Damage::Truncate(1), b"1"),
            (Damage::Grow(2), b"1234\0\0"),
            (Damage::Replace(b"other".to_vec()), b"other"),
        ];
        for (damage, expected) in cases {
            let memory = Memory::new();
            memory.put(&name("a"), b"1234", PutMode::CreateNew).unwrap();
            damage.apply(&memory, &name("a")).unwrap();
            assert_eq!(memory.read(&name("a"), 0, 9).unwrap(), expected, "{damage:?}");
        }
        let memory = Memory::new();
        memory.put(&name("a"), b"1234", PutMode::CreateNew).unwrap();
        assert_eq!(Damage::Truncate(4).apply(&memory, &name("a")).unwrap_err().kind(), Kind::Invalid);
        memory.put(&name("b"), b"56", PutMode::CreateNew).unwrap();
        swap(&memory, &name("a"), &name("b")).unwrap();
        assert_eq!(memory.read(&name("a"), 0, 9).unwrap(), b"56");
        Damage::Delete.apply(&memory, &name("a")).unwrap();
        assert_eq!(memory.stat(&name("a")).unwrap_err().kind(), Kind::NotFound);
    }
}
