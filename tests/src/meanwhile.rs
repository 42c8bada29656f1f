//! What others do while somebody reads: whoever looks for a backup has one that is there, with all that it needs; or an error, and
//! never some of one and some of another.

use crate::in_memory::{Restored, World, copy_of, forget_all_but_the_newest, looked_into, open};
use crate::place::HOST;
use icecore::keyring::Keyring;
use icecore::monitor::Quiet;
use icecore::name::ObjectName;
use icecore::select::place::Place;
use icecore::spool::Scratch;
use icecore::storage::memory::Memory;
use icecore::storage::{Capabilities, Depth, Listed, Storage};
use icecore::view::Which;
use icecore::view::levels::Means;
use icecore::{Kind, Result, find};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A storage that is `before` until so many lists and reads of it have been made, and `after` from then on.
pub struct Meanwhile {
    before: Memory,
    after: Memory,
    calls_left: AtomicUsize,
    is_far: bool,
    counts_reads: bool,
}

impl Meanwhile {
    /// That changes after so many lists.
    pub fn after_lists(before: &Memory, after: &Memory, lists: usize) -> Meanwhile {
        let (before, after) = (copy_of(before), after.clone());
        Meanwhile { before, after, calls_left: AtomicUsize::new(lists), is_far: false, counts_reads: false }
    }

    /// That is far away, and changes after so many lists and reads.
    fn far(before: &Memory, after: &Memory, calls: usize) -> Arc<Meanwhile> {
        let (before, after, calls_left) = (before.clone(), after.clone(), AtomicUsize::new(calls));
        Arc::new(Meanwhile { before, after, calls_left, is_far: true, counts_reads: true })
    }

    fn has_changed(&self) -> bool {
        self.calls_left.load(Ordering::SeqCst) == 0
    }

    fn now(&self) -> &Memory {
        if self.has_changed() { &self.after } else { &self.before }
    }

    fn count(&self) {
        let less = |left: usize| Some(left.saturating_sub(1));
        self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).unwrap();
    }
}

impl Storage for Meanwhile {
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let read = self.now().read(name, offset, length_bytes);
        if self.counts_reads {
            self.count();
        }
        read
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let listed = self.now().list(prefix, depth, row);
        self.count();
        listed
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { parallel: self.is_far, ..self.now().capabilities() }
    }

    icecore::storage::forward!([now()] put writer stat delete label);
}

/// The place in [`World::made`] of what was restored.
#[track_caller]
fn restored_one_of(world: &World, restored: &Restored, what: &str) -> usize {
    let report = restored.outcome.as_ref().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let id = report.id.to_string();
    let place = world.made.iter().position(|(made, _)| *made == id);
    let place = place.unwrap_or_else(|| panic!("{what}: {id} was never made"));
    restored.equals(&world.made[place].1, what);
    place
}

#[test]
fn a_backup_that_is_made_while_the_latest_is_looked_for_is_found_whole_or_not_at_all() {
    let mut world = World::dedup().after(1);
    world.workers = 2;
    let before = copy_of(&world.memory);
    let older = looked_into(Arc::new(before.clone()), "changed").unwrap();
    fs::write(world.source().join("large"), vec![5; 200_000]).unwrap();
    world.back_up();
    let newer = looked_into(Arc::new(world.memory.clone()), "changed").unwrap();
    assert!(older.0 != newer.0 && older.1 != newer.1);
    let mut found = [0, 0];
    for calls in 0.. {
        let storage = || Meanwhile::far(&before, &world.memory, calls);
        let what = format!("after {calls} lists and reads");
        let (restoring, looking) = (storage(), storage());
        let place = restored_one_of(&world, &world.restore(restoring.clone(), "latest"), &what);
        found[place] += 1;
        let seen = looked_into(looking.clone(), "changed").unwrap();
        // Two commands, of which the second may see more.
        assert!([&older.0, &newer.0].contains(&&seen.0), "{what}: {:?}", seen.0);
        assert!([&older.1, &newer.1].contains(&&seen.1), "{what}: other bytes");
        if !restoring.has_changed() && !looking.has_changed() {
            break;
        }
    }
    assert!(found.iter().all(|count| *count > 1), "{found:?}");
}

/// How many backups a search through all of them looks into.
fn looked_through(storage: Arc<Meanwhile>) -> Result<find::Report> {
    let scratch = Scratch::new(std::env::temp_dir());
    let options = find::Options {
        which: Which { this_host: HOST.to_owned(), ..Which::default() },
        place: Place { backup: "latest".to_owned(), path: Vec::new() },
        all: true,
        wanted: find::Wanted::default(),
        means: Means { keys: &Keyring::none(), scratch: &scratch, workers: 1 },
    };
    find::run(&open(storage)?, &options, &Quiet, &mut |_| Ok(()))
}

#[test]
fn a_search_through_all_backups_finds_those_that_were_there_when_it_began_to_list_them() {
    let mut world = World::dedup().after(1);
    let before = copy_of(&world.memory);
    world.back_up();
    let mut found = [0, 0];
    for calls in 0.. {
        let storage = Meanwhile::far(&before, &world.memory, calls);
        let report = looked_through(storage.clone());
        let report = report.unwrap_or_else(|error| panic!("after {calls} lists and reads: {error:?}"));
        assert_eq!(report.damaged, 0, "after {calls} lists and reads");
        found[report.backups as usize - 1] += 1;
        if !storage.has_changed() {
            break;
        }
    }
    assert!(found.iter().all(|count| *count > 1), "{found:?}");
}

#[test]
fn a_backup_that_is_forgotten_while_it_is_restored_is_restored_right_or_refused() {
    let world = World::dedup().after(2);
    let before = copy_of(&world.memory);
    forget_all_but_the_newest(Arc::new(world.memory.clone())).unwrap();
    let (oldest, expected) = &world.made[0];
    let mut refused = 0;
    for calls in 0.. {
        let storage = Meanwhile::far(&before, &world.memory, calls);
        let restored = world.restore(storage.clone(), oldest);
        let what = format!("after {calls} lists and reads");
        restored.is_right_or_refused(expected, &what);
        if let Err(error) = &restored.outcome {
            assert!(matches!(error.kind(), Kind::NotFound | Kind::Damaged | Kind::Io), "{what}: {error:?}");
            refused += 1;
        }
        if !storage.has_changed() {
            break;
        }
    }
    assert!(refused > 0, "it was there all the time");
}
