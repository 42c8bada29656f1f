//! `storage test`: what it claims is so where it is so, and each claim fails where it is not.

mod wire;

use crate::place::{Place, entries};
use icecore::monitor::{Event, Monitor, Quiet};
use icecore::probe::{self, Claim, Found, Options, Summary, Verdict};
use icecore::storage::memory::Memory;
use icecore::storage::{Depth, Listed, Storage};
use icecore::{Kind, Result};
use icecore_testkit::breach::{Breach, Breached};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn options(clock: &(dyn Fn() -> Duration + Sync)) -> Options<'_> {
    Options { clock, connections: 4, objects: 250, large_objects: 0, long_object_bytes: 5 << 20 }
}

/// What is found of a storage, and what all came to.
fn found(storage: &dyn Storage) -> (Vec<Claim>, Summary) {
    let begun = Instant::now();
    let mut claims = Vec::new();
    let summary = probe::run(storage, &options(&|| begun.elapsed()), &Quiet, &mut |found| {
        claims.extend(match found {
            Found::Claim(claim) => Some(claim.clone()),
            Found::Measurement(_) => None,
        });
        Ok(())
    });
    (claims, summary.unwrap())
}

fn names(memory: &Memory) -> Vec<String> {
    let mut names = Vec::new();
    memory
        .list(None, Depth::All, &mut |row| {
            names.extend(match row {
                Listed::Object { name, .. } => Some(name.to_string()),
                _ => None,
            });
            Ok(())
        })
        .unwrap();
    names
}

#[test]
fn every_claim_holds_of_a_storage_that_keeps_the_contract_and_nothing_is_left() {
    let (storage, memory) = Breached::new(Breach::None);
    let (claims, summary) = found(&storage);
    assert!(claims.iter().all(|claim| claim.is_required && claim.verdict == Verdict::Holds), "{claims:#?}");
    assert_eq!(
        (summary.held, summary.failed, summary.unknown, summary.missing),
        (claims.len() as u32, 0, 0, 0)
    );
    assert!(claims.len() >= 18 && summary.folder.starts_with("icecore-test-"));
    assert_eq!((names(&memory), summary.left), (vec![], vec![]));
}

/// The claims that do not hold of a storage, each with what was seen.
fn failures(breach: Breach) -> (Vec<Claim>, Summary) {
    let (storage, _) = Breached::new(breach);
    let (mut claims, summary) = found(&storage);
    claims.retain(|claim| claim.verdict != Verdict::Holds);
    (claims, summary)
}

#[test]
fn each_claim_fails_where_it_does_not_hold() {
    for (breach, expected, seen) in [
        (Breach::OldReads, "what was put is read at once", "put/0 was not there right after it was put"),
        (Breach::OldReads, "an object is replaced at once", "not there right after it was replaced"),
        (Breach::LateLists, "what was put or deleted is so in the next listing", "lacked \"listed/0 0\""),
        (Breach::GhostLists, "what was put or deleted is so in the next listing", "had \"listed/0 0\""),
        (Breach::Parts, "an object that is written slowly is not there before it is finished", "looked at"),
        (Breach::Leftovers, "an object that is given up leaves nothing", "given up"),
        (Breach::TakenNames, "a name that is taken is refused to a new object", "was not refused"),
        (Breach::Races, "of several that create one object at once, one wins", "won"),
        (Breach::ToldRaces, "of several that create one object at once, one wins", "won"),
        (Breach::Gaps, "an object that is being replaced is always one version or another", "not there"),
        (Breach::Mixtures, "an object that is being replaced is always one version or another", "no version"),
        (Breach::Beginnings, "any part of an object can be read", "the middle had other bytes"),
        (Breach::Beginnings, "a very long object comes back whole", "other bytes at 4194304"),
        (Breach::Ends, "any part of an object can be read", "at the end could not be read: no such range"),
        (Breach::Blocks, "the length of an object is told", "512 bytes of one that has 1"),
        (Breach::Denials, "what is not there is told as such", "for another reason: not allowed"),
        (Breach::DeletedAgain, "what is not there is told as such", "was not refused"),
        (Breach::Undeleted, "a deleted object is gone at once", "was not refused"),
        (Breach::Undeleted, "everything that was written is removed again", "objects are left"),
        (Breach::Undeletable, "everything that was written is removed again", "locked"),
        (Breach::OneCase, "names with odd characters are names", "upper"),
        (Breach::Decoded, "names with odd characters are names", "%2F%00%"),
        (Breach::ShortNames, "names with odd characters are names", "too long a name"),
        (Breach::Beginners, "a folder lists what is in it and nothing else", "tree"),
        (Breach::OnePage, "a long listing is complete", "lacked"),
        (Breach::Twice, "a long listing is complete", "more than once"),
        (Breach::Cut, "a very long object comes back whole", "it is 5242879 bytes long"),
        (
            Breach::Mistaken,
            "several requests at a time are served, and none is mistaken for another",
            "had other bytes",
        ),
    ] {
        let (claims, summary) = failures(breach);
        let claim = claims.iter().find(|claim| claim.name == expected);
        let claim = claim.unwrap_or_else(|| panic!("{breach:?} was not seen: {claims:#?}"));
        let Verdict::Fails(text) = &claim.verdict else { panic!("{breach:?}: {claim:?}") };
        assert!(text.contains(seen), "{breach:?}: {text}");
        // What a storage does not promise, backups do without.
        assert_eq!(claim.is_required, breach != Breach::ToldRaces, "{breach:?}");
        assert_eq!(summary.missing > 0, breach != Breach::ToldRaces, "{breach:?}");
    }
}

#[test]
fn what_is_left_is_named() {
    let (storage, memory) = Breached::new(Breach::Undeletable);
    let (_, summary) = found(&storage);
    assert!(!summary.left.is_empty() && names(&memory).len() > summary.left.len());
    assert!(
        summary.left.iter().all(|name| names(&memory).contains(name) && name.starts_with(&summary.folder))
    );
}

#[test]
fn of_a_storage_that_cannot_be_reached_nothing_can_be_told() {
    let (claims, summary) = failures(Breach::Unreachable);
    assert!(
        claims.iter().all(|claim| matches!(&claim.verdict, Verdict::Unknown(why) if why == "no answer")),
        "{claims:#?}"
    );
    assert_eq!((summary.held, summary.unknown), (0, claims.len() as u32));
    assert!(summary.missing > 0);
}

/// Asks to stop after some looks.
struct Stopping(AtomicU32);

impl Monitor for Stopping {
    fn event(&self, _event: Event<'_>) {}

    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) > 200
    }
}

#[test]
fn who_interrupts_a_trial_finds_nothing_left() {
    let (storage, memory) = Breached::new(Breach::None);
    let run = |answer: &mut dyn FnMut(&Found) -> Result<()>| {
        probe::run(&storage, &options(&|| Duration::ZERO), &Stopping(AtomicU32::new(0)), answer)
    };
    let mut answers = 0;
    let stopped = run(&mut |_| {
        answers += 1;
        Ok(())
    });
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert!(answers > 5);
    assert_eq!(names(&memory), [""; 0]);
}

fn try_out(place: &Place, more: &[&str]) -> crate::program::Outcome {
    let mut arguments = vec!["storage", "test", "--json", "--objects", "60", "--large-objects", "1", "-r"];
    let repository = place.repository();
    arguments.push(repository.to_str().unwrap());
    arguments.extend(more);
    place.program.run(&arguments)
}

#[test]
fn a_folder_of_this_machine_can_be_relied_on() {
    let place = Place::new();
    let outcome = try_out(&place, &["--long-object", "3"]).expect(0);
    let claims = outcome.of_type("claim");
    assert!(claims.len() >= 18 && claims.iter().all(|claim| claim["verdict"] == "holds"), "{claims:#?}");
    let rows = outcome.of_type("measurement");
    assert_eq!(rows.len(), 8);
    assert!(
        rows.iter().all(|row| row["per_second"].as_f64().unwrap() > 0.0 && row["median_seconds"].is_f64())
    );
    let summary = outcome.summary();
    assert_eq!((&summary["ok"], &summary["left"]), (&true.into(), &serde_json::json!([])));
    assert!(entries(&place.repository()).is_empty());
}

#[test]
fn what_is_there_already_stays_and_limits_are_kept() {
    let place = Place::new();
    place.write(&[("a", "a")]);
    place.backup(&[]).expect(0);
    let before = entries(&place.repository());
    let begun = Instant::now();
    let limits = ["--limit-upload", "1,00:00-24:00=20MiB/s", "--limit-download", "off", "--connections", "1"];
    let outcome = try_out(&place, &limits).expect(0);
    // 16 MiB and the objects of the claims, some 30 MiB, less the second's worth that may be saved up.
    assert!(begun.elapsed() > Duration::from_millis(500));
    assert_eq!(outcome.of_type("measurement").len(), 4);
    assert_eq!(entries(&place.repository()), before);
    place.check_is_clean();
}

#[test]
fn a_folder_that_cannot_be_written_to_cannot_be_relied_on() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::unprivileged();
    std::fs::create_dir(place.repository()).unwrap();
    std::fs::set_permissions(place.repository(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if icecore_testkit::tree::is_root() {
        std::os::unix::fs::chown(place.repository(), Some(0), Some(0)).unwrap();
    }
    let outcome = try_out(&place, &[]).expect(1);
    let claims = outcome.of_type("claim");
    let first = claims.iter().find(|claim| claim["claim"] == "what was put is read at once").unwrap();
    assert_eq!(first["verdict"], "fails");
    assert!(first["seen"].as_str().unwrap().contains("denied"), "{first}");
    assert_eq!(outcome.summary()["ok"], false);
}

#[test]
fn people_are_told_line_by_line() {
    let place = Place::new();
    let repository = place.repository();
    let arguments =
        ["storage", "test", "--objects", "40", "--large-objects", "0", "-r", repository.to_str().unwrap()];
    let outcome = place.program.run(&arguments).expect(0);
    assert!(outcome.stdout.contains("holds           what was put is read at once\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("put small objects (4.0 KiB), 1 at a time"), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("Backups can rely on this storage.\n"), "{}", outcome.stdout);
}

#[test]
fn a_limit_that_is_none_is_refused_with_the_way_to_write_it() {
    let place = Place::new();
    for limit in ["0", "fast", "1,2", "1MiB/s,08:00-08:00=5"] {
        let outcome = try_out(&place, &["--limit-upload", limit]).expect(2);
        assert!(outcome.stderr.contains("--limit-upload"), "{}", outcome.stderr);
    }
}
