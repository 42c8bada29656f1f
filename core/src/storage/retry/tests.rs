//! Retrying against a storage that fails as told, with waits that are written down instead of waited.

use super::*;
use crate::storage::memory::Memory;
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fails the first calls in a way that passes: before doing anything, or after doing everything.
struct Flaky {
    memory: Memory,
    failures_left: AtomicU32,
    after_doing: bool,
    /// Bytes that were lent, of every attempt, held on to as a driver does that is still sending them.
    held: Arc<Mutex<Vec<Arc<Vec<u8>>>>>,
}

impl Flaky {
    fn fail<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let fails =
            self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_err() {
            return act();
        }
        if self.after_doing {
            act()?;
        }
        Err(Error::new(Kind::Io, "the connection was lost").retry_later())
    }
}

impl Storage for Flaky {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.fail(|| self.memory.put(name, bytes, mode))
    }
    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.held.lock().unwrap().push(Arc::clone(bytes));
        self.fail(|| self.memory.put_shared(name, bytes, mode))
    }
    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.fail(|| self.memory.writer(name, mode))
    }
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.fail(|| self.memory.read(name, offset, length_bytes))
    }
    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.fail(|| self.memory.stat(name))
    }
    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.fail(|| self.memory.list(prefix, depth, row))
    }
    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.fail(|| self.memory.delete(name))
    }

    crate::storage::forward!([memory] capabilities label);
}

struct Bench {
    memory: Memory,
    storage: Retry,
    waits: Arc<Mutex<Vec<Duration>>>,
    held: Arc<Mutex<Vec<Arc<Vec<u8>>>>>,
}

fn bench(failures: u32, after_doing: bool) -> Bench {
    let memory = Memory::new();
    let held = Arc::default();
    let flaky = Flaky {
        memory: memory.clone(),
        failures_left: AtomicU32::new(failures),
        after_doing,
        held: Arc::clone(&held),
    };
    let waits = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&waits);
    let policy = Policy { attempts: 4, ..Policy::default() };
    let sleeper: Sleeper = Arc::new(move |wait| {
        log.lock().unwrap().push(wait);
        Ok(())
    });
    Bench { memory, storage: Retry::new(Arc::new(flaky), Patience::new(policy, sleeper)), waits, held }
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

#[test]
fn passing_failures_are_tried_again_and_lasting_ones_are_not() {
    // Of the three failures after doing, one hits the look at the object that was created already.
    for (after_doing, expected_waits) in [(false, 3), (true, 2)] {
        let Bench { memory, storage, waits, .. } = bench(3, after_doing);
        storage.put(&name("a"), b"1", PutMode::CreateNew).unwrap();
        assert_eq!(memory.read(&name("a"), 0, 9).unwrap(), b"1");
        assert_eq!(waits.lock().unwrap().len(), expected_waits);
        assert_eq!(storage.stat(&name("missing")).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(waits.lock().unwrap().len(), expected_waits, "no wait for what never passes");
    }
}

#[test]
fn the_last_attempt_gives_up_with_the_error() {
    let Bench { storage, waits, .. } = bench(4, false);
    assert_eq!(storage.read(&name("a"), 0, 1).unwrap_err().kind(), Kind::Io);
    assert_eq!(waits.lock().unwrap().len(), 3);
}

#[test]
fn a_creation_whose_answer_was_lost_is_ours_only_with_our_bytes() {
    let Bench { memory, storage, .. } = bench(1, true);
    storage.put(&name("ours"), b"mine", PutMode::CreateNew).unwrap();
    assert_eq!(memory.read(&name("ours"), 0, 9).unwrap(), b"mine");

    // Longer, shorter and other bytes are somebody else's.
    for theirs in [&b"mine and more"[..], b"min", b"them"] {
        let Bench { memory, storage, .. } = bench(1, false);
        memory.put(&name("theirs"), theirs, PutMode::CreateNew).unwrap();
        let error = storage.put(&name("theirs"), b"mine", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
    }
}

#[test]
fn bytes_that_are_lent_are_sent_again_as_they_are_while_a_failed_attempt_still_holds_them() {
    for mode in [PutMode::CreateNew, PutMode::Unique, PutMode::Replace] {
        for (failures, after_doing) in [(0, false), (1, false), (3, false), (1, true)] {
            let Bench { memory, storage, waits, held } = bench(failures, after_doing);
            let bytes = Arc::new((0..=255).collect::<Vec<u8>>());
            storage.put_shared(&name("a"), &bytes, mode).unwrap();
            assert_eq!(memory.read(&name("a"), 0, 999).unwrap(), *bytes, "{mode:?}");
            let held = held.lock().unwrap();
            assert_eq!(held.len(), failures as usize + 1, "{mode:?}, {after_doing}");
            assert!(held.iter().all(|held| Arc::ptr_eq(held, &bytes)), "a copy was made");
            assert_eq!(waits.lock().unwrap().len(), failures as usize);
        }
    }
    // One that fails for good, and one that is somebody else's.
    let Bench { memory, storage, held, .. } = bench(4, false);
    let bytes = Arc::new(b"mine".to_vec());
    assert_eq!(storage.put_shared(&name("a"), &bytes, PutMode::CreateNew).unwrap_err().kind(), Kind::Io);
    assert_eq!((held.lock().unwrap().len(), memory.stat(&name("a")).is_err()), (4, true));
    memory.put(&name("b"), b"them", PutMode::CreateNew).unwrap();
    let theirs = storage.put_shared(&name("b"), &bytes, PutMode::CreateNew).unwrap_err();
    assert_eq!(theirs.kind(), Kind::AlreadyExists);
    assert_eq!(memory.read(&name("b"), 0, 9).unwrap(), b"them");
}

#[test]
fn a_buffer_is_read_into_again_after_a_failure_that_left_something_in_it() {
    for after_doing in [false, true] {
        let Bench { memory, storage, waits, .. } = bench(2, after_doing);
        memory.put(&name("a"), b"0123456789", PutMode::CreateNew).unwrap();
        let mut buffer = b"what was there before".to_vec();
        storage.read_into(&name("a"), 2, 5, &mut buffer).unwrap();
        assert_eq!((buffer.as_slice(), waits.lock().unwrap().len()), (&b"23456"[..], 2));
    }
}

#[test]
fn a_name_taken_at_the_first_attempt_is_taken_whatever_it_holds() {
    let Bench { memory, storage, .. } = bench(0, false);
    memory.put(&name("a"), b"same", PutMode::CreateNew).unwrap();
    let error = storage.put(&name("a"), b"same", PutMode::CreateNew).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

#[test]
fn a_deletion_whose_answer_was_lost_is_done() {
    let Bench { memory, storage, .. } = bench(1, true);
    memory.put(&name("a"), b"1", PutMode::CreateNew).unwrap();
    storage.delete(&name("a")).unwrap();
    assert_eq!(storage.delete(&name("a")).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_listing_that_failed_after_its_rows_hands_each_on_once() {
    let Bench { memory, storage, .. } = bench(2, true);
    for text in ["a/b", "a/c", "d"] {
        memory.put(&name(text), b"1", PutMode::CreateNew).unwrap();
    }
    let mut rows = Vec::new();
    storage
        .list(None, Depth::One, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows, [Listed::Folder { name: name("a") }, Listed::Object { name: name("d"), size_bytes: 1 }]);
}

proptest! {
    #[test]
    fn waits_double_within_their_bounds(failures in 1u32..200, seed: u64, first_ms in 1u64..10_000, longest_ms in 1u64..100_000) {
        let (first_wait, longest_wait) = (Duration::from_millis(first_ms), Duration::from_millis(longest_ms));
        let policy = Policy { attempts: 200, first_wait, longest_wait, seed };
        let doubled = first_ms.saturating_mul(1u64.checked_shl(failures - 1).unwrap_or(u64::MAX)).min(longest_ms);
        let wait = policy.wait(failures, "name");
        prop_assert!(wait <= Duration::from_millis(doubled), "{wait:?}");
        prop_assert!(wait >= Duration::from_millis(doubled) / 2, "{wait:?}");
        prop_assert_eq!(wait, policy.wait(failures, "name"));
    }
}

#[test]
fn clients_with_other_seeds_wait_differently() {
    let wait = |seed| Policy { seed, ..Policy::default() }.wait(3, "name");
    let different: HashSet<Duration> = (0..50).map(wait).collect();
    assert!(different.len() > 40, "{} different waits of 50", different.len());
}
