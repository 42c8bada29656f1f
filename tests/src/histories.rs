//! Random histories: whatever happens to a tree between backups, and whatever the policy, each backup restores to what the
//! tree was then.

use crate::in_memory::{World, check_is_clean, ids};
use crate::place::assert_equal;
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

fn play(seed: u64, runs: Vec<(u32, Policy, Compression)>) {
    let mut world = World::new();
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
    let made: Vec<String> = world.made.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids(&world.memory), made);
    let source = Manifest::of(&world.source()).unwrap();
    for (number, (id, expected)) in world.made.iter().enumerate() {
        world.restore(Arc::new(world.memory.clone()), id).equals(expected, &format!("backup {number}"));
    }
    assert_equal(&source, &Manifest::of(&world.source()).unwrap(), "the source, which nothing may touch");
    check_is_clean(&world.memory, "afterwards");
}

proptest! {
    // Each case is a tree of everything: shrinking one takes longer than reading it.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_backup_of_a_random_history_restores_to_what_was_there(seed in any::<u64>(), runs in runs()) {
        play(seed, runs);
    }
}
