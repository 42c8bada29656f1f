//! Runs that are killed, stopped by the user, or meet another run: the next one needs nobody.

mod dedup;

use crate::place::{Place, assert_equal, entries, id};
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::Features;
use rustix::process::Signal;
use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

/// Runs what `start` starts and kills it after a random part of the time that a whole run takes.
fn kill_at_random(times: usize, seed: u64, start: impl Fn() -> Running) {
    let clock = Instant::now();
    start().wait().expect(0);
    let whole = clock.elapsed();
    let mut random = Random::new(seed);
    for _ in 0..times {
        let run = start();
        // Not for synchronisation: the moment shall be any.
        std::thread::sleep(Duration::from_micros(random.below(whole.as_micros() as u64)));
        run.signal(Signal::KILL);
        let status = run.wait().status;
        // It may have been done already.
        assert!(status == 128 + 9 || status == 0, "{status}");
    }
}

/// How often runs of the engines that make chains are killed.
const KILLS: [(&str, usize); 2] = [("tar", 20), ("rsync", 10)];

#[test]
fn a_backup_killed_at_any_moment_needs_nobody() {
    for (engine, times) in KILLS {
        backup_is_killed(&Place::of(engine), times);
    }
}

fn backup_is_killed(place: &Place, times: usize) {
    let mut tree = place.tree(31, Features::all());
    let arguments = place.backup_arguments(&["--incremental", "--max-level", "3"]);
    kill_at_random(times, 1, || Running::start(place.program.command(&arguments)));
    tree.mutate(1).unwrap();
    let expected = Manifest::of(tree.root()).unwrap();
    let last = place.backup(&["--incremental", "--max-level", "3"]).expect(0).summary();
    place.check_is_clean();
    assert_equal(&expected, &place.restored("last", &id(&last)), "after all those kills");
    // Whatever counts is whole.
    for (number, id) in place.ids().iter().enumerate() {
        place.restore(&number.to_string(), &[id]).expect(0);
    }
}

#[test]
fn full_backups_killed_at_any_moment_leave_none_that_counts() {
    for (engine, times) in KILLS {
        full_backup_is_killed(&Place::of(engine), times);
    }
}

fn full_backup_is_killed(place: &Place, times: usize) {
    place.tree(32, Features::all());
    let expected = Manifest::of(&place.source()).unwrap();
    let arguments = place.backup_arguments(&[]);
    kill_at_random(times, 2, || Running::start(place.program.command(&arguments)));
    for (number, id) in place.ids().iter().enumerate() {
        assert_equal(&expected, &place.restored(&number.to_string(), id), id);
    }
    place.backup(&[]).expect(0);
    place.check_is_clean();
}

#[test]
fn a_restore_killed_at_any_moment_can_be_run_again() {
    for engine in ["tar", "rsync"] {
        restore_is_killed(&Place::of(engine));
    }
}

fn restore_is_killed(place: &Place) {
    let mut tree = place.tree(33, Features::all());
    // Of rsync, a content that is made from one of a level below.
    place.increment();
    tree.mutate(1).unwrap();
    let expected = Manifest::of(tree.root()).unwrap();
    place.increment();
    fs::create_dir(place.path().join("targets")).unwrap();
    let repository = Manifest::of(&place.repository()).unwrap();
    let arguments = place.restore_arguments(&place.target("t"), &["--overwrite", "--delete", "latest"]);
    kill_at_random(10, 3, || Running::start(place.program.command(&arguments)));
    place.program.run(&arguments).expect(0);
    assert_equal(&expected, &Manifest::of(&place.target("t")).unwrap(), "after ten kills");
    assert_equal(&repository, &Manifest::of(&place.repository()).unwrap(), "the repository");
}

#[test]
fn a_restore_into_nothing_killed_at_any_moment_is_finished_by_another() {
    for engine in ["tar", "rsync"] {
        restore_into_nothing_is_killed(&Place::of(engine));
    }
}

fn restore_into_nothing_is_killed(place: &Place) {
    let tree = place.tree(36, Features::all());
    let expected = Manifest::of(tree.root()).unwrap();
    place.increment();
    fs::create_dir(place.path().join("targets")).unwrap();
    let fresh = Cell::new(0);
    kill_at_random(6, 4, || {
        fresh.set(fresh.get() + 1);
        let target = place.target(&fresh.get().to_string());
        Running::start(place.program.command(&place.restore_arguments(&target, &["latest"])))
    });
    for number in 1..=fresh.get() {
        let target = place.target(&number.to_string());
        let again = place.restore_arguments(&target, &["--overwrite", "--delete", "latest"]);
        place.program.run(&again).expect(0);
        assert_equal(&expected, &Manifest::of(&target).unwrap(), &format!("run {number}"));
    }
}

/// A restore over what a user has: whenever it is killed, each file of his is as it was or as a level of the backup has it, and whole.
#[test]
fn a_restore_killed_at_any_moment_leaves_no_half_of_a_file_in_the_place_of_one() {
    for engine in ["tar", "rsync"] {
        let place = Place::of(engine);
        let mut random = Random::new(37);
        let names: Vec<String> = (0..24).map(|number| format!("file{number}")).collect();
        let mut versions: Vec<HashSet<Vec<u8>>> = vec![HashSet::new(); names.len()];
        for level in 0..3 {
            for (number, name) in names.iter().enumerate() {
                let path = place.source().join(name);
                let mut content = if level == 0 { random.bytes(200_000) } else { fs::read(&path).unwrap() };
                content[level * 30_000] ^= 1;
                fs::write(&path, &content).unwrap();
                versions[number].insert(content);
            }
            place.settle();
            place.increment();
        }
        let expected = Manifest::of(&place.source()).unwrap();
        let target = place.target("t");
        fs::create_dir_all(&target).unwrap();
        for (number, name) in names.iter().enumerate() {
            fs::write(target.join(name), "the user's").unwrap();
            versions[number].insert(b"the user's".to_vec());
        }
        let arguments = place.restore_arguments(&target, &["--overwrite", "always", "latest"]);
        for _ in 0..6 {
            kill_at_random(1, random.below(1 << 30), || Running::start(place.program.command(&arguments)));
            for (number, name) in names.iter().enumerate() {
                let content = fs::read(target.join(name)).unwrap();
                assert!(versions[number].contains(&content), "{engine}: {name} is of no version");
            }
        }
        let arguments = place.restore_arguments(&target, &["--overwrite", "always", "--delete", "latest"]);
        place.program.run(&arguments).expect(0);
        assert_equal(&expected, &Manifest::of(&target).unwrap(), engine);
    }
}

/// Holds a backup that is reading a large file and ends it with `signal`.
fn end_midway(signal: Signal, status: i32) {
    ["dedup", "tar", "rsync"].into_iter().for_each(|engine| end_midway_of(engine, signal, status));
}

fn end_midway_of(engine: &'static str, signal: Signal, status: i32) {
    for mebibytes in [64, 256, 1024] {
        let place = Place::of(engine);
        place.write(&[("a", "1")]);
        place.increment();
        let large = place.source().join("large");
        fs::write(&large, Random::new(9).bytes(mebibytes << 20)).unwrap();
        let mut run = Running::start(place.program.command(&place.next_arguments()));
        if !run.hold_when_open(&large) {
            run.wait().expect(0);
            continue;
        }
        run.signal(signal);
        run.resume();
        run.wait().expect(status);
        assert_eq!(place.list().len(), 1, "the interrupted run counts");
        let expected = Manifest::of(&place.source()).unwrap();
        let summary = place.increment_to(1);
        assert_equal(&expected, &place.restored("t", &id(&summary)), "the run after");
        return place.check_is_clean();
    }
    panic!("a file of 1 GiB was read before it could be caught");
}

#[test]
fn ctrl_c_ends_a_backup_with_130_and_nothing_that_counts() {
    end_midway(Signal::INT, 130);
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_that_counts() {
    end_midway(Signal::KILL, 128 + 9);
}

#[test]
fn two_runs_at_once_are_both_right_or_one_is_told() {
    ["tar", "dedup"].into_iter().for_each(|engine| two_runs_at_once(&Place::of(engine)));
}

fn two_runs_at_once(place: &Place) {
    place.tree(34, Features::all());
    let expected = Manifest::of(&place.source()).unwrap();
    place.increment();
    for round in 0..5 {
        let before = place.list().len();
        let start = || Running::start(place.program.command(&place.next_arguments()));
        let outcomes = [start(), start()].map(Running::wait);
        let ended = |status: i32| outcomes.iter().filter(|outcome| outcome.status == status).count();
        assert!(ended(0) >= 1 && ended(0) + ended(11) == 2, "{outcomes:?}");
        assert_eq!(place.list().len(), before + ended(0), "round {round}");
    }
    for (number, id) in place.ids().iter().enumerate() {
        assert_equal(&expected, &place.restored(&number.to_string(), id), id);
    }
    place.check_is_clean();
}

#[test]
fn two_first_runs_at_once_make_one_repository() {
    for engine in ["tar", "dedup"] {
        // Without a password, which would take longer than all else.
        let mut place = Place::new();
        place.engine = engine;
        two_first_runs(&place);
    }
}

fn two_first_runs(place: &Place) {
    place.write(&[("a", "1")]);
    let start = || Running::start(place.program.command(&place.next_arguments()));
    let outcomes = [start(), start()].map(Running::wait);
    let done = outcomes.iter().filter(|outcome| outcome.status == 0).count();
    assert!(done >= 1 && outcomes.iter().all(|outcome| [0, 11].contains(&outcome.status)), "{outcomes:?}");
    assert_eq!(place.list().len(), done);
    place.restore("t", &["latest"]).expect(0);
    assert_eq!(entries(&place.target("t")).len(), 1);
    let next = place.increment();
    assert!(place.engine == "dedup" || next["level"].as_u64().is_some_and(|level| level > 0), "{next}");
}
