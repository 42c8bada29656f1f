//! Which chains go and which stay.

use crate::dedup;
use crate::place::{Place, SERIES, id};
use icecore_testkit::manifest::Manifest;
use serde_json::Value;

/// `count` chains of two levels each, oldest first; gives the times at which they begin.
fn chains(count: usize) -> (Place, Vec<i64>) {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let begun = |_| {
        let full = place.backup(&["--incremental", "--max-level", "1"]).expect(0).summary();
        let more = place.backup(&["--incremental", "--max-level", "1"]).expect(0).summary();
        assert_eq!((&full["level"], &more["level"]), (&0.into(), &1.into()));
        assert_eq!(full["chain"], more["chain"]);
        full["chain"].as_i64().unwrap()
    };
    let times = (0..count).map(begun).collect();
    (place, times)
}

fn remaining(place: &Place) -> Vec<i64> {
    let mut chains: Vec<i64> = place.list().iter().map(|backup| backup["chain"].as_i64().unwrap()).collect();
    chains.dedup();
    chains
}

/// Chains with their fate, oldest first.
fn plan(lines: &[Value]) -> Vec<(i64, String)> {
    let mut plan: Vec<(i64, String)> = lines
        .iter()
        .map(|line| (line["chain"].as_i64().unwrap(), line["action"].as_str().unwrap().to_owned()))
        .collect();
    plan.sort();
    plan
}

#[test]
fn whole_chains_go_and_the_newest_stay() {
    let (place, times) = chains(4);
    let outcome = place.run("forget", &["--keep-last", "3"]).expect(0);
    // The newest three backups lie in the last two chains.
    let fates = ["remove", "remove", "keep", "keep"];
    let expected: Vec<_> = times.iter().copied().zip(fates.map(str::to_owned)).collect();
    assert_eq!(plan(&outcome.of_type("chain")), expected);
    let summary = outcome.summary();
    assert_eq!((&summary["removed"], &summary["kept"]), (&2.into(), &2.into()));
    assert_eq!(remaining(&place), times[2..]);
    assert_eq!(place.stored_levels().len(), 4, "the data of a removed chain goes too");
    place.check_is_clean();
    for (number, id) in place.ids().iter().enumerate() {
        place.restore(&number.to_string(), &[id]).expect(0);
    }
}

#[test]
fn a_dry_run_removes_nothing_and_tells_the_same() {
    let (place, times) = chains(3);
    let before = Manifest::of(&place.repository()).unwrap();
    let dry = place.run("forget", &["--keep-last", "1", "--dry-run"]).expect(0);
    assert_eq!(dry.summary()["dry_run"], true);
    crate::place::assert_equal(&before, &Manifest::of(&place.repository()).unwrap(), "the repository");
    let wet = place.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(plan(&dry.of_type("chain")), plan(&wet.of_type("chain")));
    assert_eq!(remaining(&place), times[2..]);
}

#[test]
fn a_kept_chain_says_why() {
    let (place, _) = chains(2);
    let outcome = place.run("forget", &["--keep-last", "1", "--keep-daily", "1"]).expect(0);
    for line in outcome.of_type("chain") {
        assert_eq!(line["series"], SERIES);
        let reasons = line["reasons"].as_array().unwrap().len();
        assert_eq!(reasons > 0, line["action"] == "keep", "{line}");
    }
}

#[test]
fn the_last_chain_is_kept_whatever_the_rule() {
    let (place, times) = chains(2);
    place.run("forget", &["--before-date", "2100-01-01T00:00:00Z"]).expect(0);
    assert_eq!(remaining(&place), times[1..]);
    place.restore("t", &["latest"]).expect(0);
}

#[test]
fn no_rule_is_wrong_usage_and_removes_nothing() {
    let (place, times) = chains(2);
    let outcome = place.run("forget", &[]);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert_eq!(remaining(&place), times);
}

#[test]
fn calendar_rules_keep_the_newest_of_each_bucket() {
    let (place, times) = chains(3);
    // All chains are of this minute: every rule has one bucket.
    for rule in ["--keep-hourly", "--keep-daily", "--keep-weekly", "--keep-monthly", "--keep-yearly"] {
        let outcome = place.run("forget", &[rule, "1", "--dry-run"]).expect(0);
        let kept: Vec<i64> = plan(&outcome.of_type("chain"))
            .into_iter()
            .filter(|(_, action)| action == "keep")
            .map(|(chain, _)| chain)
            .collect();
        // A run may straddle the border of an hour, a day … but the newest is always kept and alone.
        assert_eq!(kept, times[2..], "{rule}");
    }
}

#[test]
fn other_names_are_left_alone() {
    let (place, times) = chains(2);
    let repository = place.repository();
    let arguments =
        ["backup", "-r", repository.to_str().unwrap(), "--engine", "tar", "--no-encryption", "--json"];
    let source = place.source();
    let more = ["--host", "beta", "--name", "other", source.to_str().unwrap()];
    let other = id(&place.program.run(&[&arguments[..], &more].concat()).expect(0).summary());
    place.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(remaining(&place), times[1..]);
    let all = place.program.run(&["list", "-r", repository.to_str().unwrap(), "--json"]).expect(0);
    assert!(all.of_type("backup").iter().any(|backup| id(backup) == other));
}

#[test]
fn what_is_kept_by_a_span_is_counted_back_from_the_newest_and_a_tag_keeps_for_ever() {
    let place = dedup::cheap_place();
    place.write(&[("a", "1")]);
    let made = |time: &str, tag: &str| {
        id(&dedup::backup(&place, &["--time", time, "--tag", tag]).expect(0).summary())
    };
    let dated = [("2020-01-01", "moved"), ("2020-03-01", "x"), ("2020-03-20", "x"), ("2020-03-28", "x")];
    let ids = dated.map(|(time, tag)| made(time, tag));
    dedup::verb(&place, "forget", &["--keep-within", "10d", "--keep-tag", "moved"]).expect(0);
    let left: Vec<String> = dedup::list(&place).iter().map(id).collect();
    assert_eq!(left, [ids[0].clone(), ids[2].clone(), ids[3].clone()]);
}

#[test]
fn of_several_engines_forget_takes_the_one_that_is_named() {
    let place = dedup::cheap_place();
    place.write(&[("a", "1")]);
    for _ in 0..2 {
        place.backup(&[]).expect(0);
        dedup::backup(&place, &[]).expect(0);
    }
    let engines = || -> Vec<String> {
        dedup::list(&place).iter().map(|line| line["engine"].as_str().unwrap().to_owned()).collect()
    };
    let count = |engine: &str| engines().iter().filter(|found| *found == engine).count();
    assert_eq!((count("tar"), count("dedup")), (2, 2));
    dedup::verb(&place, "forget", &["--engine", "tar", "--keep-last", "1"]).expect(0);
    assert_eq!((count("tar"), count("dedup")), (1, 2));
    dedup::verb(&place, "forget", &["--engine", "dedup", "--keep-last", "1"]).expect(0);
    assert_eq!((count("tar"), count("dedup")), (1, 1));
}

#[test]
fn a_chain_begins_anew_once_its_full_backup_is_older_than_was_said() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let run = |days: &str| place.backup(&["--incremental", "--restart-after", days]).expect(0).summary();
    let first = run("1");
    assert_eq!((&first["level"], &run("1")["level"]), (&0.into(), &1.into()));
    // Chains begin at whole seconds, and the program's clock is a tick or two behind.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    while now() < first["chain"].as_f64().unwrap() + 1.1 {
        std::thread::yield_now();
    }
    // Less than a second.
    assert_eq!(run("0.00001")["level"], 0);
    assert_eq!(run("1")["level"], 1);
}
