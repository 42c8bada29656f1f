//! Random histories: whatever happens to a tree between backups, and whatever the policy, each backup restores to what the
//! tree was then.

use crate::in_memory::{World, check_is_clean, forget_all_but_the_newest, ids};
use crate::place::assert_equal;
use icecore::backup::snapshot::Parent;
use icecore::codec::Compression;
use icecore::level::Policy;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::{Features, SCRIPTED_STEPS, Tree};
use proptest::prelude::*;
use std::sync::Arc;

fn policies() -> impl Strategy<Value = Policy> {
    let policy = |(max_level, always_level)| Policy {
        incremental: true,
        max_level,
        always_level,
        restart_after_days: None,
    };
    prop_oneof![
        1 => Just(Policy::default()),
        6 => (prop::option::of(1u32..4), prop::option::of(1u32..3)).prop_map(policy),
    ]
}

/// Before each backup: how often the tree is changed, and how the backup is made.
fn runs() -> impl Strategy<Value = Vec<(u32, Policy, Compression)>> {
    prop::collection::vec((0u32..3, policies(), prop::sample::select(&Compression::ALL[..])), 1..=5)
}

fn play(engine: &'static str, seed: u64, runs: Vec<(u32, Policy, Compression)>) {
    let mut world = World::chains(engine);
    let features = Features { long_paths: false, large_files: false, ..Features::all() };
    let mut tree = Tree::create(&world.source(), seed, features).unwrap();
    let mut step = SCRIPTED_STEPS;
    for (changes, policy, compression) in runs {
        for _ in 0..changes {
            step += 1;
            tree.mutate(step).unwrap();
        }
        (world.policy, world.compression) = (policy, compression);
        world.back_up();
    }
    all_comes_back(&world);
}

fn all_comes_back(world: &World) {
    let made: Vec<String> = world.made.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids(&world.memory), made);
    let source = Manifest::of(&world.source()).unwrap();
    for (number, (id, expected)) in world.made.iter().enumerate() {
        world.restore(Arc::new(world.memory.clone()), id).equals(expected, &format!("backup {number}"));
    }
    assert_equal(&source, &Manifest::of(&world.source()).unwrap(), "the source, which nothing may touch");
    check_is_clean(&world.memory, "afterwards");
}

/// How one snapshot is made.
#[derive(Debug, Clone)]
struct Snapshot {
    /// How often the tree is changed before.
    changes: u32,
    parent: Taken,
    workers: usize,
    /// Whether what was changed just now can be taken for unchanged later on.
    calm: bool,
}

/// Whose entries are taken for unchanged.
#[derive(Debug, Clone, Copy)]
enum Taken {
    None,
    Newest,
    Any(prop::sample::Index),
}

fn snapshots() -> impl Strategy<Value = Vec<Snapshot>> {
    let parent = prop_oneof![
        1 => Just(Taken::None),
        3 => Just(Taken::Newest),
        2 => any::<prop::sample::Index>().prop_map(Taken::Any),
    ];
    let one = (0u32..3, parent, prop::sample::select(&[1, 3][..]), prop::bool::weighted(0.75));
    let one = one.prop_map(|(changes, parent, workers, calm)| Snapshot { changes, parent, workers, calm });
    prop::collection::vec(one, 2..=6)
}

fn play_snapshots(seed: u64, runs: Vec<Snapshot>) {
    let mut world = World::dedup();
    let features = Features { long_paths: false, large_files: seed.is_multiple_of(2), ..Features::all() };
    let mut tree = Tree::create(&world.source(), seed, features).unwrap();
    let mut step = if seed.is_multiple_of(3) { 0 } else { SCRIPTED_STEPS };
    for run in runs {
        for _ in 0..run.changes {
            step += 1;
            tree.mutate(step).unwrap();
        }
        world.ahead_seconds = if run.calm { 5 } else { 0 };
        world.workers = run.workers;
        world.parent = match run.parent {
            Taken::None => Parent::None,
            Taken::Any(which) if !world.made.is_empty() => Parent::This(which.get(&world.made).0.clone()),
            _ => Parent::Newest,
        };
        world.back_up();
        world.settle();
    }
    // Those of a clock that was ahead would be the newest for two seconds to come.
    world.made.sort_by_key(|(id, _)| ids(&world.memory).iter().position(|listed| listed == id));
    all_comes_back(&world);
    forget_all_but_the_newest(Arc::new(world.memory.clone())).unwrap();
    world.made.drain(..world.made.len() - 1);
    all_comes_back(&world);
}

proptest! {
    // Each case is a tree of everything: shrinking one takes longer than reading it.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_backup_of_a_random_history_restores_to_what_was_there(seed in any::<u64>(), runs in runs()) {
        play("tar", seed, runs);
    }

    #[test]
    fn every_level_of_differences_of_a_random_history_restores_to_what_was_there(
        seed in any::<u64>(), runs in runs()
    ) {
        play("rsync", seed, runs);
    }

    #[test]
    fn every_snapshot_of_a_random_history_restores_to_what_was_there(seed in any::<u64>(), runs in snapshots()) {
        play_snapshots(seed, runs);
    }
}
