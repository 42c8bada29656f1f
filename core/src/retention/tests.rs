//! Retention: tables of plans, and properties of any set of chains.

use super::*;
use crate::error::Kind;
use proptest::prelude::*;

fn at(date: &str) -> Timestamp {
    before_date(date, &TimeZone::UTC).unwrap()
}

fn chain(condition: Condition, backups: &[(u32, &str)]) -> ChainView {
    let view = |&(level, date): &(u32, &str)| BackupView {
        level: Level::new(level).unwrap(),
        timestamp: at(date),
        tags: Vec::new(),
    };
    let backups: Vec<_> = backups.iter().map(view).collect();
    ChainView { start: backups[0].timestamp, backups, condition }
}

fn fulls(dates: &[&str]) -> Vec<ChainView> {
    dates.iter().map(|date| chain(Condition::Complete, &[(0, date)])).collect()
}

fn kept(chains: &[ChainView], keep: &Keep) -> Vec<bool> {
    plan(chains, keep, &TimeZone::UTC, true).unwrap().iter().map(ChainPlan::is_kept).collect()
}

fn kept_dates<'a>(dates: &[&'a str], keep: &Keep) -> Vec<&'a str> {
    dates.iter().zip(kept(&fulls(dates), keep)).filter(|(_, kept)| *kept).map(|(date, _)| *date).collect()
}

const DATES: [&str; 9] = [
    "2024-12-31T12:00:00",
    "2025-01-01T12:00:00",
    "2025-06-01T12:00:00",
    "2025-12-28T12:00:00",
    "2025-12-29T12:00:00",
    "2026-01-01T08:00:00",
    "2026-01-01T09:10:00",
    "2026-01-01T09:50:00",
    "2026-01-02T00:00:00",
];

#[test]
fn the_newest_of_each_period_stays() {
    let cases: [(Keep, &[usize]); 9] = [
        (Keep { last: 2, ..Keep::default() }, &[7, 8]),
        (Keep { hourly: 3, ..Keep::default() }, &[5, 7, 8]),
        (Keep { daily: 3, ..Keep::default() }, &[4, 7, 8]),
        // 2025-12-29 is a Monday: its week reaches into 2026.
        (Keep { weekly: 2, ..Keep::default() }, &[3, 8]),
        (Keep { monthly: 3, ..Keep::default() }, &[2, 4, 8]),
        (Keep { yearly: 2, ..Keep::default() }, &[4, 8]),
        // Numbers are left, so the oldest stays.
        (Keep { yearly: 9, ..Keep::default() }, &[0, 4, 8]),
        (Keep { within: Some(Span::new().days(1)), ..Keep::default() }, &[5, 6, 7, 8]),
        (Keep { newer_than: Some(at("2026-01-01T09:10:00")), ..Keep::default() }, &[7, 8]),
    ];
    for (keep, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|index| DATES[*index]).collect();
        assert_eq!(kept_dates(&DATES, &keep), expected, "{keep:?}");
    }
}

#[test]
fn the_oldest_stays_while_numbers_are_left_though_its_period_has_one() {
    let dates = ["2026-01-01T08:00:00", "2026-01-01T09:00:00", "2026-01-01T10:00:00"];
    let chains = fulls(&dates);
    let plan = plan(&chains, &Keep { daily: 2, ..Keep::default() }, &TimeZone::UTC, true).unwrap();
    let reasons: Vec<_> = plan.iter().map(|chain| chain.backups[0].reasons.as_slice()).collect();
    assert_eq!(reasons, [&[Reason::Oldest][..], &[], &[Reason::Daily]]);
}

#[test]
fn days_are_those_of_the_time_zone() {
    let dates = ["2026-03-01T02:00:00", "2026-03-01T22:30:00", "2026-03-01T23:30:00"];
    let daily = Keep { daily: 2, ..Keep::default() };
    let berlin = TimeZone::fixed(jiff::tz::offset(1));
    let there: Vec<_> =
        plan(&fulls(&dates), &daily, &berlin, true).unwrap().iter().map(ChainPlan::is_kept).collect();
    assert_eq!(there, [false, true, true]);
    // In UTC all are of one day: its newest, and the oldest of all.
    assert_eq!(kept(&fulls(&dates), &daily), [true, false, true]);
}

#[test]
fn a_chain_stays_while_one_backup_in_it_does() {
    let chains = [
        chain(Condition::Complete, &[(0, "2026-01-01T00:00:00"), (1, "2026-01-02T00:00:00")]),
        chain(Condition::Complete, &[(0, "2026-01-03T00:00:00"), (1, "2026-01-09T00:00:00")]),
    ];
    // Freezer would remove the second chain too, by the age of its level 0.
    let keep = Keep { newer_than: Some(at("2026-01-05T00:00:00")), ..Keep::default() };
    let plan = plan(&chains, &keep, &TimeZone::UTC, true).unwrap();
    assert_eq!(plan.iter().map(ChainPlan::is_kept).collect::<Vec<_>>(), [false, true]);
    assert_eq!(plan[1].backups[0].reasons, []);
    assert_eq!(plan[1].backups[1].reasons, [Reason::NewerThan]);
}

#[test]
fn tags_keep() {
    let mut chains = fulls(&DATES);
    chains[2].backups[0].tags = vec!["x".to_owned(), "legal".to_owned()];
    let keep = Keep { tags: vec!["legal".to_owned()], ..Keep::default() };
    assert_eq!(kept(&chains, &keep).iter().position(|kept| *kept), Some(2));
    assert_eq!(kept(&chains, &keep).iter().filter(|kept| **kept).count(), 1);
}

#[test]
fn the_last_good_chain_stays_unless_it_is_allowed_to_go() {
    let gap = Condition::Gap(Level::new(1).unwrap());
    let chains = [
        chain(Condition::Complete, &[(0, "2026-01-01T00:00:00")]),
        chain(Condition::Complete, &[(0, "2026-01-02T00:00:00")]),
        chain(gap, &[(0, "2026-01-03T00:00:00"), (2, "2026-01-05T00:00:00")]),
        chain(Condition::Damaged, &[(0, "2026-01-06T00:00:00")]),
    ];
    let future = Keep { newer_than: Some(at("2027-01-01T00:00:00")), ..Keep::default() };
    let last_good = |chains: &[ChainView], keep: &Keep| -> Vec<bool> {
        plan(chains, keep, &TimeZone::UTC, false).unwrap().iter().map(|chain| chain.last_good).collect()
    };
    assert_eq!(last_good(&chains, &future), [false, true, false, false]);
    assert_eq!(kept(&chains, &future), [false; 4]);
    // Keeping only what has a gap is not enough; without a complete chain it is the best there is.
    let keep = Keep { newer_than: Some(at("2026-01-02T12:00:00")), ..Keep::default() };
    assert_eq!(last_good(&chains, &keep), [false, true, false, false]);
    assert_eq!(last_good(&chains[2..], &future), [true, false]);
    assert_eq!(last_good(&chains[3..], &future), [false]);
    assert!(last_good(&[], &future).is_empty());
}

#[test]
fn damage_never_takes_the_place_of_a_good_backup() {
    let chains = [
        chain(Condition::Complete, &[(0, "2026-01-01T00:00:00")]),
        chain(Condition::Damaged, &[(0, "2026-01-02T00:00:00")]),
    ];
    assert_eq!(kept(&chains, &Keep { last: 1, ..Keep::default() }), [true, true]);
}

#[test]
fn nothing_said_and_nonsense_are_refused() {
    let kind = |result: Result<Vec<ChainPlan>>| result.unwrap_err().kind();
    let chains = fulls(&DATES);
    assert_eq!(kind(plan(&chains, &Keep::default(), &TimeZone::UTC, true)), Kind::Invalid);
    let far = Keep { within: Some(Span::new().years(19_000)), ..Keep::default() };
    assert_eq!(kind(plan(&chains, &far, &TimeZone::UTC, true)), Kind::Invalid);
    let mut odd = fulls(&DATES[..1]);
    odd[0].backups[0].timestamp = Timestamp(i64::MAX);
    assert_eq!(kind(plan(&odd, &Keep { last: 1, ..Keep::default() }, &TimeZone::UTC, true)), Kind::Invalid);
    for days in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(days_before(Timestamp(0), days).unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(days_before(Timestamp(100_000), 0.5).unwrap(), Timestamp(56_800));
    assert_eq!(before_date("yesterday", &TimeZone::UTC).unwrap_err().kind(), Kind::Invalid);
}

fn any_chains() -> impl Strategy<Value = Vec<ChainView>> {
    let condition = prop_oneof![
        4 => Just(Condition::Complete),
        1 => (0u32..3).prop_map(|level| Condition::Gap(Level::new(level).unwrap())),
        1 => Just(Condition::Damaged),
    ];
    let backup = (0u32..3, 0i64..40_000_000, proptest::option::of(Just("legal".to_owned()))).prop_map(
        |(level, timestamp, tag)| BackupView {
            level: Level::new(level).unwrap(),
            timestamp: Timestamp(timestamp),
            tags: tag.into_iter().collect(),
        },
    );
    let chain = (condition, proptest::collection::vec(backup, 1..4))
        .prop_map(|(condition, backups)| ChainView { start: backups[0].timestamp, backups, condition });
    proptest::collection::vec(chain, 0..12)
}

prop_compose! {
    fn any_keep()(
        counts in proptest::array::uniform6(0u32..4), within in proptest::option::of(0i64..400),
        newer in proptest::option::of(0i64..40_000_000), tagged in any::<bool>(), last in 1u32..4,
    ) -> Keep {
        Keep {
            last: counts[0].max(last), hourly: counts[1], daily: counts[2], weekly: counts[3],
            monthly: counts[4], yearly: counts[5], within: within.map(|days| Span::new().days(days)),
            tags: if tagged { vec!["legal".to_owned()] } else { Vec::new() },
            newer_than: newer.map(Timestamp),
        }
    }
}

/// `keep` and something more in every rule.
fn more(keep: &Keep, extra: [u32; 6]) -> Keep {
    Keep {
        last: keep.last + extra[0],
        hourly: keep.hourly + extra[1],
        daily: keep.daily + extra[2],
        weekly: keep.weekly + extra[3],
        monthly: keep.monthly + extra[4],
        yearly: keep.yearly + extra[5],
        newer_than: keep.newer_than.map(|limit| Timestamp(limit.0 / 2)),
        ..keep.clone()
    }
}

proptest! {
    #[test]
    fn nothing_a_rule_keeps_is_removed_and_rules_say_why(chains in any_chains(), keep in any_keep()) {
        let plans = plan(&chains, &keep, &TimeZone::UTC, true).unwrap();
        prop_assert_eq!(plans.len(), chains.len());
        let mut newest: Vec<_> = chains.iter().flat_map(|c| &c.backups).map(|b| b.timestamp).collect();
        newest.sort_unstable();
        for (chain, plan) in chains.iter().zip(&plans) {
            for (backup, planned) in chain.backups.iter().zip(&plan.backups) {
                prop_assert_eq!(backup.timestamp, planned.timestamp);
                let tagged = !keep.tags.is_empty() && !backup.tags.is_empty();
                let newer = keep.newer_than.is_some_and(|limit| backup.timestamp > limit);
                let last = Some(&backup.timestamp) == newest.last() && chain.backups.len() == 1;
                if tagged || newer || (last && newest.iter().filter(|t| **t == backup.timestamp).count() == 1) {
                    prop_assert!(plan.is_kept() && !planned.reasons.is_empty());
                }
            }
        }
    }

    #[test]
    fn asking_for_more_never_keeps_less(
        chains in any_chains(), keep in any_keep(), extra in proptest::array::uniform6(0u32..3),
    ) {
        let less = plan(&chains, &keep, &TimeZone::UTC, true).unwrap();
        let greater = plan(&chains, &more(&keep, extra), &TimeZone::UTC, true).unwrap();
        for (one, other) in less.iter().zip(&greater) {
            for (backup, still) in one.backups.iter().zip(&other.backups) {
                prop_assert!(backup.reasons.is_empty() || !still.reasons.is_empty());
            }
        }
    }

    #[test]
    fn a_good_chain_always_stays(chains in any_chains(), limit in 0i64..80_000_000) {
        let keep = Keep { newer_than: Some(Timestamp(limit)), ..Keep::default() };
        let plans = plan(&chains, &keep, &TimeZone::UTC, false).unwrap();
        let any_good = chains.iter().any(|chain| chain.condition == Condition::Complete);
        let good_stays = chains.iter().zip(&plans).any(|(chain, plan)| {
            chain.condition == Condition::Complete && plan.is_kept()
        });
        prop_assert_eq!(any_good, good_stays);
        prop_assert!(plans.iter().filter(|plan| plan.last_good).count() <= 1);
    }
}
