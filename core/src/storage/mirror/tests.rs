//! What is decided here and cannot be seen from outside: lag, order, and who wins. The rest is tested over real engines in the package of
//! tests.

use super::*;
use crate::limits::MIRROR_LAG_BYTES;
use crate::storage::memory::Memory;
use std::sync::Condvar;
use std::time::Duration;

/// A clock that stands still.
struct Standing;

impl Clock for Standing {
    fn time_of_day(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _wait: Duration) {}
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn settings(min_copies: usize) -> Settings {
    Settings { min_copies, notes: name("notes"), clock: Arc::new(Standing) }
}

fn mirror(storages: Vec<Arc<dyn Storage>>, min_copies: usize) -> Mirror {
    let target = |(place, storage)| Target { label: format!("storage {place}"), storage: Ok(storage) };
    Mirror::new(storages.into_iter().enumerate().map(target).collect(), settings(min_copies)).unwrap()
}

fn dead(label: &str) -> Target {
    Target { label: label.to_owned(), storage: Err(Error::new(Kind::Denied, "no way in")) }
}

/// How many objects each of two storages has been given.
#[derive(Default)]
struct Progress {
    counts: Mutex<[u64; 2]>,
    changed: Condvar,
    /// The most by which the second was behind.
    lag: Mutex<u64>,
}

/// A memory that tells of every put, and may wait for the other one to be ahead.
struct Paced {
    memory: Memory,
    place: usize,
    progress: Arc<Progress>,
    /// By how many the other one has to be ahead, and of how many in all.
    waits: Option<(u64, u64)>,
}

impl Storage for Paced {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        let mut counts = self.progress.counts.lock().unwrap();
        if let Some((ahead, all)) = self.waits {
            while counts[0] < all.min(counts[1] + ahead) {
                counts = self.progress.changed.wait(counts).unwrap();
            }
        }
        counts[self.place] += 1;
        let mut lag = self.progress.lag.lock().unwrap();
        *lag = (*lag).max(counts[0].saturating_sub(counts[1]));
        self.progress.changed.notify_all();
        drop((lag, counts));
        self.memory.put(name, bytes, mode)
    }
    fn label(&self) -> String {
        "paced".to_owned()
    }

    crate::storage::forward!([memory] writer read stat list delete capabilities);
}

#[test]
fn a_slow_member_lags_by_so_much_and_no_more() {
    let size_bytes = 4u64 << 20;
    let (room, all) = (MIRROR_LAG_BYTES / size_bytes, 3 * MIRROR_LAG_BYTES / size_bytes);
    let progress = Arc::new(Progress::default());
    // The second takes an object only when the first is nearly a whole lag ahead: with less room, this would never end.
    let ahead = room - 1;
    let memories = [Memory::new(), Memory::new()];
    let paced = |place: usize| Paced {
        memory: memories[place].clone(),
        place,
        progress: Arc::clone(&progress),
        waits: (place == 1).then_some((ahead, all)),
    };
    let mirror = mirror(vec![Arc::new(paced(0)), Arc::new(paced(1))], 1);
    let bytes = vec![7; size_bytes as usize];
    for number in 0..all {
        let object = name(&format!("packs/{number}"));
        mirror.begin_put(&object, &bytes, PutMode::CreateNew).unwrap().finish().unwrap();
    }
    assert!(mirror.settle().unwrap().is_even());
    let lag = *progress.lag.lock().unwrap();
    assert!((ahead..=room).contains(&lag), "{lag} of {room}");
    assert_eq!(*progress.counts.lock().unwrap(), [all, all]);
}

#[test]
fn what_comes_later_is_nowhere_before_what_came_earlier() {
    let memories = [Memory::new(), Memory::new()];
    let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 1);
    for number in 0..200 {
        let pack = name(&format!("pack/{number}"));
        let snapshot = name(&format!("snapshot/{number}"));
        mirror.begin_put(&pack, b"content", PutMode::CreateNew).unwrap().finish().unwrap();
        mirror.put(&snapshot, b"needs it", PutMode::CreateNew).unwrap();
        for memory in &memories {
            if memory.stat(&snapshot).is_ok() {
                assert!(memory.stat(&pack).is_ok(), "{number}");
            }
        }
    }
}

#[test]
fn a_name_that_one_member_has_is_taken_and_nothing_is_left_on_the_others() {
    for first in [0, 1] {
        let memories = [Memory::new(), Memory::new()];
        memories[first].put(&name("a/b"), b"half of an earlier run", PutMode::CreateNew).unwrap();
        let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 1);
        let error = mirror.put(&name("a/b"), b"mine", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{first}");
        let mut writer = mirror.writer(&name("a/b"), PutMode::CreateNew).unwrap();
        writer.write(b"mine").ok();
        assert_eq!(writer.finish().unwrap_err().kind(), Kind::AlreadyExists, "{first}");
        assert!(memories[1 - first].stat(&name("a/b")).is_err(), "{first}");
        assert_eq!(mirror.read(&name("a/b"), 0, 99).unwrap(), b"half of an earlier run");
        assert!(!mirror.is_partial(), "a refusal is an answer");
    }
}

#[test]
fn a_pack_that_is_there_already_with_the_same_bytes_is_no_lack() {
    let memories = [Memory::new(), Memory::new()];
    memories[1].put(&name("pack"), b"same", PutMode::CreateNew).unwrap();
    let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 2);
    mirror.begin_put(&name("pack"), b"same", PutMode::CreateNew).unwrap().finish().unwrap();
    assert!(mirror.settle().unwrap().is_even());
    let error = mirror.begin_put(&name("pack"), b"else", PutMode::CreateNew).unwrap().finish().unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert_eq!(memories[0].read(&name("pack"), 0, 9).unwrap(), b"same");
}

/// Somebody heals the second member while the first has the object and the second is about to get it.
#[test]
fn what_somebody_has_copied_meanwhile_is_held_and_the_first_member_decides_all_the_same() {
    for is_stream in [false, true] {
        let memories = [Memory::new(), Memory::new()];
        let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 2);
        let create = |object: &str| {
            if is_stream {
                let mut writer = mirror.writer(&name(object), PutMode::CreateNew)?;
                writer.write(b"mine").and_then(|()| writer.finish())
            } else {
                mirror.put(&name(object), b"mine", PutMode::CreateNew)
            }
        };
        memories[1].put(&name("a"), b"mine", PutMode::CreateNew).unwrap();
        create("a").unwrap();
        memories[0].put(&name("b"), b"mine", PutMode::CreateNew).unwrap();
        assert_eq!(create("b").unwrap_err().kind(), Kind::AlreadyExists);
        assert!(mirror.settle().unwrap().is_even());
        assert_eq!(memories[0].read(&name("a"), 0, 9).unwrap(), b"mine");
    }
}

#[test]
fn too_few_copies_are_none() {
    let memory = Memory::new();
    let alive = Target { label: "alive".to_owned(), storage: Ok(Arc::new(memory.clone())) };
    let mirror = Mirror::new(vec![dead("gone"), alive], settings(2)).unwrap();
    let refused = [
        mirror.put(&name("a"), b"1", PutMode::CreateNew).unwrap_err(),
        mirror.put(&name("a"), b"1", PutMode::Replace).unwrap_err(),
        mirror.begin_put(&name("a"), b"1", PutMode::CreateNew).err().unwrap(),
        mirror.writer(&name("a"), PutMode::CreateNew).err().unwrap(),
    ];
    for error in refused {
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.to_string().contains("gone: no way in"), "{error}");
    }
    assert!(memory.stat(&name("a")).is_err());
    let report = mirror.settle().unwrap();
    assert!(!report.is_enough() && report.members[0].is_behind() && !report.members[1].is_behind());
}

#[test]
fn a_removal_is_noted_where_a_member_is_out_of_reach_and_the_note_is_seen_by_nobody() {
    let memory = Memory::new();
    memory.put(&name("a/b"), b"1", PutMode::CreateNew).unwrap();
    let alive = Target { label: "alive".to_owned(), storage: Ok(Arc::new(memory.clone())) };
    let mirror = Mirror::new(vec![alive, dead("gone")], settings(1)).unwrap();
    mirror.delete(&name("a/b")).unwrap();
    assert_eq!(mirror.removals(&memory).unwrap(), [name("a/b")]);
    let mut rows = Vec::new();
    mirror
        .list(None, Depth::All, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows, []);
    // Somebody else's note under another name says nothing.
    memory.put(&name("notes/removed/other"), br#"{"removed":"x"}"#, PutMode::CreateNew).unwrap();
    memory.put(&name("notes/removed/junk"), b"\xff", PutMode::CreateNew).unwrap();
    assert_eq!(mirror.removals(&memory).unwrap(), [name("a/b")]);
    let report = mirror.settle().unwrap();
    assert!(report.is_enough() && !report.is_even());
    assert_eq!(report.members[1].lacking, ["a/b"]);
}

#[test]
fn a_mirror_that_cannot_be_is_refused() {
    let memory = || Target { label: "m".to_owned(), storage: Ok(Arc::new(Memory::new())) };
    for (targets, min_copies) in [(vec![], 1), (vec![memory()], 0), (vec![memory()], 2)] {
        assert_eq!(Mirror::new(targets, settings(min_copies)).err().unwrap().kind(), Kind::Invalid);
    }
    let many = (0..=MIRROR_MEMBERS).map(|_| memory()).collect();
    assert_eq!(Mirror::new(many, settings(1)).err().unwrap().kind(), Kind::Invalid);
}

#[test]
fn reads_come_from_the_fastest_and_from_another_where_it_has_nothing() {
    /// Every look costs a second more than the one before, in turns: the second storage is the fast one.
    struct Turning(Mutex<u64>);
    impl Clock for Turning {
        fn time_of_day(&self) -> Duration {
            Duration::ZERO
        }

        fn now(&self) -> Duration {
            let mut looks = self.0.lock().unwrap();
            *looks += 1;
            // Looks come in pairs, around a read; the first two pairs are the first storage's.
            let seconds = if *looks <= 4 { *looks * 100 } else { 400 + *looks };
            Duration::from_secs(seconds)
        }
        fn sleep(&self, _wait: Duration) {}
    }
    let memories = [Memory::new(), Memory::new()];
    for (memory, bytes) in memories.iter().zip([b"slow", b"fast"]) {
        memory.put(&name("a"), bytes, PutMode::CreateNew).unwrap();
    }
    memories[0].put(&name("b"), b"only here", PutMode::CreateNew).unwrap();
    let targets =
        memories.iter().map(|memory| Target { label: "m".to_owned(), storage: Ok(Arc::new(memory.clone())) });
    let clock = Arc::new(Turning(Mutex::new(0)));
    let mirror = Mirror::new(targets.collect(), Settings { clock, ..settings(2) }).unwrap();
    let read = || mirror.read(&name("a"), 0, 9).unwrap();
    let reads: Vec<Vec<u8>> = (0..6).map(|_| read()).collect();
    assert_eq!(reads, [b"slow", b"slow", b"fast", b"fast", b"fast", b"fast"]);
    assert_eq!(mirror.read(&name("b"), 0, 99).unwrap(), b"only here");
    assert_eq!(mirror.settle().unwrap().members[1].lacking, ["b"]);
    assert_eq!(mirror.read(&name("c"), 0, 99).unwrap_err().kind(), Kind::NotFound);
}

/// Another mirror writes and removes meanwhile: what is on one storage for a moment only is not what the other has missed.
#[test]
fn what_others_are_about_to_write_or_remove_is_not_missing() {
    let memories = [Memory::new(), Memory::new()];
    let put =
        |place: usize, object: &str| memories[place].put(&name(object), b"1", PutMode::CreateNew).unwrap();
    let storages = memories.iter().map(|memory| Arc::new(memory.clone()) as Arc<dyn Storage>);
    let mirror = mirror(storages.collect(), 2);
    ["written", "removed", "missing"].iter().for_each(|object| put(1, object));
    ["written", "removed", "missing"].iter().for_each(|object| {
        assert_eq!(mirror.read(&name(object), 0, 1).unwrap(), b"1");
    });
    put(0, "written");
    memories[1].delete(&name("removed")).unwrap();
    let report = mirror.settle().unwrap();
    assert_eq!(report.members[0].lacking, ["missing"]);
    assert!(!report.members[1].is_behind());
}

/// A memory that refuses some names with an error of a kind that says nothing of the storage, as a server does that takes no long objects.
struct Picky {
    memory: Memory,
    refused: &'static str,
}

impl Picky {
    fn check(&self, name: &ObjectName) -> Result<()> {
        match name.as_str().starts_with(self.refused) {
            true => Err(Error::invalid("too long:", name.as_str())),
            false => Ok(()),
        }
    }
}

impl Storage for Picky {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.check(name)?;
        self.memory.put(name, bytes, mode)
    }
    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.check(name)?;
        self.memory.writer(name, mode)
    }
    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        prefix.map_or(Ok(()), |prefix| self.check(prefix))?;
        self.memory.list(prefix, depth, row)
    }
    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.check(name)?;
        self.memory.delete(name)
    }
    fn label(&self) -> String {
        "picky".to_owned()
    }

    crate::storage::forward!([memory] read stat capabilities);
}

fn with_a_picky_one(place: usize, min_copies: usize) -> (Mirror, [Memory; 2]) {
    let memories = [Memory::new(), Memory::new()];
    let storage = |number: usize| -> Arc<dyn Storage> {
        let memory = memories[number].clone();
        match number == place {
            true => Arc::new(Picky { memory, refused: "big" }),
            false => Arc::new(memory),
        }
    };
    (mirror(vec![storage(0), storage(1)], min_copies), memories)
}

fn stream(mirror: &Mirror, object: &str, mode: PutMode) -> Result<()> {
    let mut writer = mirror.writer(&name(object), mode)?;
    writer.write(b"content")?;
    writer.finish()
}

#[test]
fn a_member_that_refuses_what_another_takes_is_given_nothing_that_needs_it() {
    type Putting = fn(&Mirror) -> Result<()>;
    let ways: [Putting; 6] = [
        |mirror| mirror.begin_put(&name("big/1"), b"content", PutMode::CreateNew)?.finish(),
        |mirror| mirror.begin_put(&name("big/1"), b"content", PutMode::Replace)?.finish(),
        |mirror| mirror.put(&name("big/1"), b"content", PutMode::CreateNew),
        |mirror| mirror.put(&name("big/1"), b"content", PutMode::Replace),
        |mirror| stream(mirror, "big/1", PutMode::CreateNew),
        |mirror| stream(mirror, "big/1", PutMode::Replace),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for place in [0, 1] {
            let what = format!("way {number}, storage {place}");
            let (mirror, memories) = with_a_picky_one(place, 1);
            way(&mirror).unwrap_or_else(|error| panic!("{what}: {error}"));
            mirror.put(&name("snapshot"), b"needs it", PutMode::CreateNew).unwrap();
            let report = mirror.settle().unwrap();
            assert!(report.members[place].failure.is_some(), "{what}: {report:?}");
            assert!(!report.members[1 - place].is_behind(), "{what}: {report:?}");
            assert!(memories[1 - place].stat(&name("snapshot")).is_ok(), "{what}");
            assert!(
                memories[place].stat(&name("snapshot")).is_err()
                    || memories[place].stat(&name("big/1")).is_ok(),
                "{what}"
            );
            // With two copies wanted there is none.
            let (mirror, memories) = with_a_picky_one(place, 2);
            assert!(way(&mirror).is_err(), "{what}");
            drop(mirror);
            if ![1, 3, 5].contains(&number) {
                assert!(memories.iter().all(|memory| memory.stat(&name("big/1")).is_err()), "{what}");
            }
        }
    }
}

#[test]
fn what_every_member_refuses_is_a_refusal_and_no_failure() {
    let picky = || Arc::new(Picky { memory: Memory::new(), refused: "big" }) as Arc<dyn Storage>;
    let mirror = mirror(vec![picky(), picky()], 2);
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        let begun = mirror.begin_put(&name("big/1"), b"1", mode).and_then(Underway::finish);
        let outcomes = [
            begun,
            mirror.put(&name("big/1"), b"1", mode),
            stream(&mirror, "big/1", mode),
            mirror.delete(&name("big/1")),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), Kind::Invalid);
        }
    }
    assert_eq!(
        mirror.list(Some(&name("big")), Depth::All, &mut |_| Ok(())).unwrap_err().kind(),
        Kind::Invalid
    );
    assert!(!mirror.is_partial());
}

#[test]
fn a_pack_that_a_member_has_with_other_bytes_puts_it_out() {
    let memories = [Memory::new(), Memory::new()];
    memories[1].put(&name("pack"), b"half", PutMode::CreateNew).unwrap();
    let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 1);
    mirror.begin_put(&name("pack"), b"whole", PutMode::CreateNew).unwrap().finish().unwrap();
    let report = mirror.settle().unwrap();
    assert!(report.members[1].failure.is_some() && !report.members[0].is_behind(), "{report:?}");
}

#[test]
fn who_refuses_to_list_or_to_remove_is_out() {
    let (lists, memories) = with_a_picky_one(1, 1);
    memories[0].put(&name("big/1"), b"1", PutMode::CreateNew).unwrap();
    let mut count = 0;
    lists
        .list(Some(&name("big")), Depth::All, &mut |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
    assert!(count == 1 && lists.is_partial());
    let (removes, memories) = with_a_picky_one(1, 1);
    memories.iter().for_each(|memory| memory.put(&name("big/1"), b"1", PutMode::CreateNew).unwrap());
    removes.delete(&name("big/1")).unwrap();
    assert!(removes.is_partial());
    assert_eq!(removes.removals(&memories[0]).unwrap(), [name("big/1")]);
}

/// A memory that says of some objects that they are damaged: of all below `torn`.
struct Torn {
    memory: Memory,
    asked: Arc<Mutex<u32>>,
}

impl Torn {
    fn check(&self, name: &ObjectName) -> Result<()> {
        *self.asked.lock().unwrap() += 1;
        self.memory.stat(name)?;
        match name.as_str().starts_with("torn") {
            true => Err(Error::damaged("a segment is missing of", name.as_str()).retry_later()),
            false => Ok(()),
        }
    }
}

impl Storage for Torn {
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.check(name)?;
        self.memory.read(name, offset, length_bytes)
    }
    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.check(name)?;
        self.memory.stat(name)
    }
    fn label(&self) -> String {
        "torn".to_owned()
    }

    crate::storage::forward!([memory] put writer list delete capabilities);
}

/// Of two storages the one at `place` is torn; and how often it was asked for an object.
fn with_a_torn_one(place: usize) -> (Mirror, [Memory; 2], Arc<Mutex<u32>>) {
    let (memories, asked) = ([Memory::new(), Memory::new()], Arc::default());
    let storage = |number: usize| -> Arc<dyn Storage> {
        let memory = memories[number].clone();
        match number == place {
            true => Arc::new(Torn { memory, asked: Arc::clone(&asked) }),
            false => Arc::new(memory),
        }
    };
    (mirror(vec![storage(0), storage(1)], 2), memories, asked)
}

#[test]
fn an_object_that_a_member_calls_damaged_is_read_from_another_and_puts_nobody_out() {
    for place in [0, 1] {
        let (mirror, memories, asked) = with_a_torn_one(place);
        memories.iter().for_each(|memory| memory.put(&name("torn/1"), b"whole", PutMode::CreateNew).unwrap());
        assert_eq!(mirror.read(&name("torn/1"), 0, 9).unwrap(), b"whole");
        assert_eq!(mirror.stat(&name("torn/1")).unwrap().size_bytes, 5);
        // It is not asked for it again: it may have tried for long.
        assert!(*asked.lock().unwrap() <= 1, "storage {place}");
        assert!(mirror.read_copy(&name("torn/1"), 0, 9, place).unwrap().is_err());
        let report = mirror.settle().unwrap();
        assert!(report.is_even(), "storage {place}: {report:?}");
        assert_eq!(mirror.take_suspects(), [name("torn/1")].into(), "storage {place}");
        // What it is given later it takes.
        mirror.put(&name("b"), b"1", PutMode::CreateNew).unwrap();
        assert!(memories.iter().all(|memory| memory.stat(&name("b")).is_ok()));
    }
}

#[test]
fn what_is_damaged_where_it_is_and_missing_elsewhere_is_damaged_and_not_missing() {
    for place in [0, 1] {
        let (mirror, memories, _) = with_a_torn_one(place);
        memories[place].put(&name("torn/1"), b"part", PutMode::CreateNew).unwrap();
        let errors =
            [mirror.stat(&name("torn/1")).unwrap_err(), mirror.read(&name("torn/1"), 0, 9).unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), Kind::Damaged, "storage {place}: {error}");
        }
        assert_eq!(mirror.stat(&name("torn/2")).unwrap_err().kind(), Kind::NotFound);
        assert!(!mirror.is_partial(), "storage {place}");
    }
}

#[test]
fn a_copy_that_is_distrusted_is_read_no_more_until_all_are() {
    let memories = [Memory::new(), Memory::new(), Memory::new()];
    for (memory, bytes) in memories.iter().zip([b"1", b"2", b"3"]) {
        memory.put(&name("a"), bytes, PutMode::CreateNew).unwrap();
    }
    let mirror = mirror(memories.iter().map(|memory| Arc::new(memory.clone()) as _).collect(), 3);
    let read = || mirror.read(&name("a"), 0, 9).unwrap();
    mirror.hold(&name("a"));
    assert_eq!(read(), b"1");
    assert!(mirror.distrust(&name("a")));
    // Held already: nothing changes.
    mirror.hold(&name("a"));
    assert_eq!((read(), read()), (b"2".to_vec(), b"2".to_vec()));
    assert_eq!(mirror.take_suspects(), [name("a")].into());
    assert!(mirror.distrust(&name("a")));
    assert_eq!(read(), b"3");
    assert!(!mirror.distrust(&name("a")));
    assert_eq!(mirror.take_suspects(), [].into(), "none repairs another");
    assert_eq!(read(), b"1");
    // Who was not held may have been any of them.
    memories[0].put(&name("b"), b"1", PutMode::CreateNew).unwrap();
    assert!(mirror.distrust(&name("b")));
    assert_eq!(mirror.read(&name("b"), 0, 9).unwrap(), b"1");
    // The copy is gone from where it is held: the others are asked.
    memories[0].delete(&name("a")).unwrap();
    mirror.hold(&name("a"));
    assert_eq!(read(), b"2");
}

#[test]
fn one_storage_alone_has_no_other_copy() {
    let memory = Memory::new();
    memory.put(&name("a"), b"1", PutMode::CreateNew).unwrap();
    assert!(!memory.distrust(&name("a")));
    let alive = Target { label: "alive".to_owned(), storage: Ok(Arc::new(memory.clone())) };
    let mirror = Mirror::new(vec![dead("gone"), alive], settings(1)).unwrap();
    assert!(!mirror.distrust(&name("a")));
    mirror.hold(&name("a"));
    assert!(!mirror.distrust(&name("a")));
    assert_eq!(mirror.read(&name("a"), 0, 9).unwrap(), b"1");
}
