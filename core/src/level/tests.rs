//! Levels: tables of outcomes, and properties of any history.

use super::*;
use crate::error::Kind;
use proptest::prelude::*;

fn entry(level: u32, timestamp: i64) -> BackupEntry {
    BackupEntry { level: Level::new(level).unwrap(), timestamp: Timestamp(timestamp) }
}

fn policy() -> Policy {
    Policy { incremental: true, ..Policy::default() }
}

fn decide_on(policy: &Policy, backups: &[BackupEntry], now: i64) -> Decision {
    decide(policy, Some(ChainView { start: Timestamp(100), backups }), Timestamp(now)).unwrap()
}

/// The levels of `count` backups, a day apart, each decided on what came before.
fn sequence(policy: &Policy, count: usize) -> Vec<u32> {
    let mut chain: Vec<BackupEntry> = Vec::new();
    let mut levels = Vec::new();
    for day in 0..count {
        let now = Timestamp(1_000_000 + 86_400 * day as i64);
        let view = chain.first().map(|first| ChainView { start: first.timestamp, backups: &chain });
        let level = match decide(policy, view, now).unwrap() {
            Decision::Full(_) => {
                chain.clear();
                Level::FULL
            }
            Decision::Increment { level, .. } => level,
        };
        chain.push(BackupEntry { level, timestamp: now });
        levels.push(level.number());
    }
    levels
}

#[test]
fn the_sequences_are_freezers() {
    let cases: [(&str, Policy, &[u32]); 7] = [
        ("full", Policy::default(), &[0, 0, 0]),
        ("incremental", policy(), &[0, 1, 2, 3, 4]),
        ("max 2", Policy { max_level: Some(2), ..policy() }, &[0, 1, 2, 0, 1, 2, 0]),
        ("always 2", Policy { always_level: Some(2), ..policy() }, &[0, 1, 2, 2, 2, 2]),
        ("always 1", Policy { always_level: Some(1), ..policy() }, &[0, 1, 1, 1]),
        ("unset", Policy { max_level: Some(0), always_level: Some(0), ..policy() }, &[0, 1, 2, 3]),
        (
            "max and always",
            Policy { max_level: Some(2), always_level: Some(2), ..policy() },
            &[0, 1, 2, 0, 1],
        ),
    ];
    for (name, policy, expected) in cases {
        assert_eq!(sequence(&policy, expected.len()), expected, "{name}");
    }
}

#[test]
fn a_restart_counts_from_the_full_backup() {
    let restart = Policy { restart_after_days: Some(1.5), ..policy() };
    let limit = 100 + 129_600;
    let backups = [entry(0, 100), entry(1, limit - 10)];
    assert!(matches!(decide_on(&restart, &backups, limit), Decision::Increment { .. }));
    assert_eq!(decide_on(&restart, &backups, limit + 1), Decision::Full(Reason::Restart(1.5)));
    // However often it is added to.
    assert_eq!(sequence(&Policy { restart_after_days: Some(2.5), ..policy() }, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn of_duplicates_the_newest_counts_whatever_the_order() {
    let backups = [entry(1, 300), entry(0, 100), entry(1, 200)];
    let expected =
        Decision::Increment { chain: Timestamp(100), parent: entry(1, 300), level: Level::new(2).unwrap() };
    assert_eq!(decide_on(&policy(), &backups, 400), expected);
}

#[test]
fn nothing_is_built_on_a_gap() {
    assert_eq!(
        decide_on(&policy(), &[entry(0, 100), entry(2, 300)], 400),
        Decision::Full(Reason::Gap(Level::new(1).unwrap()))
    );
    let always = Policy { always_level: Some(2), ..policy() };
    assert_eq!(
        decide_on(&always, &[entry(0, 100), entry(2, 300)], 400),
        Decision::Full(Reason::Gap(Level::new(1).unwrap()))
    );
    assert_eq!(decide_on(&policy(), &[entry(1, 300)], 400), Decision::Full(Reason::Gap(Level::FULL)));
    assert_eq!(decide_on(&policy(), &[], 400), Decision::Full(Reason::FirstBackup));
}

#[test]
fn a_clock_set_back_makes_a_full_backup_but_a_busy_second_does_not() {
    let backups = [entry(0, 10_000)];
    assert!(matches!(decide_on(&policy(), &backups, 9_998), Decision::Increment { .. }));
    let back = decide_on(&policy(), &backups, 9_000);
    assert_eq!(back, Decision::Full(Reason::ClockSetBack(Timestamp(10_000))));
}

#[test]
fn the_highest_level_there_is_ends_a_chain() {
    let backups: Vec<_> = (0..=LEVEL_MAX).map(|level| entry(level, 100 + i64::from(level))).collect();
    assert_eq!(decide_on(&policy(), &backups, 1_000_000), Decision::Full(Reason::TopLevel));
}

#[test]
fn senseless_policies_are_refused() {
    let bad = [
        Policy { max_level: Some(2), ..Policy::default() },
        Policy { always_level: Some(2), ..Policy::default() },
        Policy { max_level: Some(LEVEL_MAX + 1), ..policy() },
        Policy { restart_after_days: Some(-1.0), ..policy() },
        Policy { restart_after_days: Some(f64::NAN), ..policy() },
    ];
    for policy in bad {
        let error = decide(&policy, None, Timestamp(0)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{policy:?}");
    }
    assert!(Policy { max_level: Some(0), ..Policy::default() }.validate().is_ok());
}

#[test]
fn a_path_goes_through_the_newest_that_was_there() {
    let backups = [entry(0, 100), entry(1, 200), entry(2, 300), entry(1, 400), entry(2, 500)];
    assert_eq!(path_to(&backups, entry(2, 300)), Ok(vec![entry(0, 100), entry(1, 200), entry(2, 300)]));
    assert_eq!(path_to(&backups, entry(2, 500)), Ok(vec![entry(0, 100), entry(1, 400), entry(2, 500)]));
    assert_eq!(path_to(&backups, entry(4, 600)), Err(Level::new(3).unwrap()));
}

#[test]
fn reasons_are_told_in_words() {
    assert_eq!(Reason::Gap(Level::new(3).unwrap()).to_string(), "level 3 of the chain is missing");
    assert!(Reason::ClockSetBack(Timestamp(0)).to_string().contains("1970-01-01T00:00:00Z"));
}

prop_compose! {
    fn any_policy()(
        incremental in any::<bool>(),
        max in 0u32..6, always in 0u32..6,
        days in prop_oneof![Just(0.0), 0.0..10.0f64],
    ) -> Policy {
        let level = |n: u32| (incremental && n > 0).then_some(n);
        Policy { incremental, max_level: level(max), always_level: level(always), restart_after_days: Some(days) }
    }
}

proptest! {
    #[test]
    fn a_parent_exists_is_reachable_and_one_level_below(
        policy in any_policy(),
        raw in proptest::collection::vec((0u32..6, 0i64..1_000), 0..12),
        now in 0i64..2_000_000,
    ) {
        let backups: Vec<_> = raw.into_iter().map(|(level, time)| entry(level, time)).collect();
        let view = ChainView { start: Timestamp(0), backups: &backups };
        if let Decision::Increment { parent, level, .. } = decide(&policy, Some(view), Timestamp(now)).unwrap() {
            prop_assert!(backups.contains(&parent));
            prop_assert_eq!(level.number(), parent.level.number() + 1);
            let path = path_to(&backups, parent).unwrap();
            prop_assert_eq!(path.len() as u32, level.number());
            for bound in [policy.max_level, policy.always_level].into_iter().flatten() {
                prop_assert!(level.number() <= bound);
            }
        }
    }

    #[test]
    fn levels_of_a_sequence_stay_within_the_bounds(policy in any_policy(), count in 1usize..30) {
        let levels = sequence(&policy, count);
        let bound = policy.max_level.into_iter().chain(policy.always_level).min().unwrap_or(u32::MAX);
        prop_assert!(levels.iter().all(|level| *level <= bound));
        prop_assert_eq!(levels[0], 0);
        for pair in levels.windows(2) {
            let stays = policy.always_level == Some(pair[0]) && pair[1] == pair[0];
            prop_assert!(pair[1] == pair[0] + 1 || pair[1] == 0 || stays, "{:?}", levels);
        }
    }

    #[test]
    fn a_path_is_every_level_once_in_order_of_time(
        raw in proptest::collection::vec((0u32..4, 0i64..20), 1..12), pick in any::<prop::sample::Index>(),
    ) {
        let backups: Vec<_> = raw.into_iter().map(|(level, time)| entry(level, time)).collect();
        let chosen = backups[pick.index(backups.len())];
        if let Ok(path) = path_to(&backups, chosen) {
            prop_assert_eq!(path.last(), Some(&chosen));
            for (number, step) in path.iter().enumerate() {
                prop_assert_eq!(step.level.number() as usize, number);
                prop_assert!(backups.contains(step));
            }
            prop_assert!(path.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
        }
    }
}
