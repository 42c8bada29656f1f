//! Chains under a password.

use super::{PASSWORD, all_restore, chain, holders, level, restore, run, run_words, untouched};
use crate::in_memory::CHAINS;
use crate::place::{Place, entries};
use serde_json::Value;
use std::fs;

#[test]
fn a_chain_under_a_password_restores_at_every_level_and_shows_no_name() {
    for engine in CHAINS {
        let place = Place::of(engine);
        place.write(&[("a-name-nobody-knows", "some content")]);
        let expected = chain(&place, || level(&place, Some(PASSWORD), &["--compression", "none"]));
        assert_eq!(holders(&place, b"a-name-nobody-knows"), Vec::<std::path::PathBuf>::new());
        all_restore(&place, Some(PASSWORD), &expected, &[]);
        let summary = run(&place, Some(PASSWORD), "check", &["--read-data"]).expect(0).summary();
        assert_eq!((&summary["ok"], &summary["backups"]), (&true.into(), &3.into()));
        // Names, sizes and times are known without the password, and nothing asks for it.
        for backup in run(&place, None, "list", &[]).expect(0).of_type("backup") {
            assert_eq!((&backup["encryption"], &backup["complete"]), (&true.into(), &true.into()));
        }
        run(&place, None, "check", &[]).expect(0);
    }
}

#[test]
fn without_the_right_password_the_target_is_not_touched_and_no_level_is_added() {
    for engine in CHAINS {
        let place = Place::of(engine);
        place.write(&[("a", "1")]);
        level(&place, Some(PASSWORD), &[]).expect(0);
        let wrong = restore(&place, Some("wrong"), "wrong", &[]).expect(12).explained();
        assert_eq!(wrong.of_type("error")[0]["kind"], "wrong_password");
        let none = restore(&place, None, "none", &[]).expect(2).explained();
        assert!(none.of_type("error")[0]["hint"].as_str().unwrap().contains("ICECORE_PASSWORD"));
        untouched(&place, "wrong");
        untouched(&place, "none");
        level(&place, Some("wrong"), &[]).expect(12).explained();
        level(&place, None, &[]).expect(2).explained();
        run(&place, Some("wrong"), "check", &["--read-data"]).expect(12).explained();
        assert_eq!(run(&place, None, "list", &[]).expect(0).of_type("backup").len(), 1);
        assert_eq!(place.stored_levels().len(), 1, "something was left behind");
        level(&place, Some(PASSWORD), &["--dry-run"]).expect(0);
    }
}

#[test]
fn a_check_without_a_password_compares_hashes_and_says_that_it_did_no_more() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    level(&place, Some(PASSWORD), &[]).expect(0);
    let check = run(&place, None, "check", &["--read-data"]).expect(0);
    assert!(
        check.of_type("warning").iter().any(|line| line.to_string().contains("not decrypted")),
        "{check:?}"
    );
    let data = place.stored_levels()[0].join("data");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data, bytes).unwrap();
    assert!(run(&place, None, "check", &["--read-data"]).expect(1).names("data"));
    restore(&place, Some(PASSWORD), "target", &[]).expect(1).explained();
    untouched(&place, "target");
}

#[test]
fn a_missing_level_is_told_before_the_target_is_touched() {
    for engine in CHAINS {
        let place = Place::of(engine);
        chain(&place, || level(&place, Some(PASSWORD), &[]));
        fs::remove_file(place.stored_levels()[1].join("data")).unwrap();
        let outcome = restore(&place, Some(PASSWORD), "target", &[]).expect(1).explained();
        assert!(outcome.names("1_"), "{outcome:?}");
        untouched(&place, "target");
    }
}

/// All chains of a series open by one derivation as long as the password is the same.
#[test]
fn a_new_chain_has_the_key_of_the_one_before_and_another_password_is_told() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let full = |password| {
        let mut words = place.arguments("backup", &["--engine", "tar", "--init"]);
        words.push(place.source().into());
        run_words(&place, Some(password), words).expect(0)
    };
    full(PASSWORD);
    full(PASSWORD);
    let keys = || -> Vec<String> {
        let root = place.repository().join("metadata/tar").join(crate::place::SERIES);
        let documents = super::files_below(&root);
        let key = |document: &std::path::PathBuf| {
            let document: Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
            document["icecore"]["encryption"]["locked_key"].as_str().unwrap().to_owned()
        };
        documents.iter().map(key).collect()
    };
    assert_eq!(keys().len(), 2);
    assert_eq!(keys()[0], keys()[1]);
    let other = full("another");
    assert!(other.of_type("warning").iter().any(|line| line.to_string().contains("password")), "{other:?}");
    assert_ne!(keys()[1], keys()[2]);
    restore(&place, Some(PASSWORD), "old", &["latest~1"]).expect(0);
    restore(&place, Some("another"), "new", &[]).expect(0);
    restore(&place, Some(PASSWORD), "wrong", &[]).expect(12);
    assert_eq!(fs::read_to_string(place.target("new").join("a")).unwrap(), "1");
}

#[test]
fn a_chain_is_encrypted_as_a_whole_or_not_at_all() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    level(&place, None, &["--no-encryption"]).expect(0);
    let reason = |outcome: crate::program::Outcome| {
        let summary = outcome.expect(0).summary();
        (
            summary["level"].as_u64().unwrap(),
            summary["reason"].as_str().unwrap().contains("not encrypted in the same way"),
        )
    };
    assert_eq!(reason(level(&place, Some(PASSWORD), &[])), (0, true));
    assert_eq!(reason(level(&place, Some(PASSWORD), &[])), (1, false));
    assert_eq!(reason(level(&place, Some(PASSWORD), &["--no-encryption"])), (0, true));
    // A level in clear that somebody has put into an encrypted chain is not restored.
    let root = place.repository().join("metadata/tar").join(crate::place::SERIES);
    let document = entries(&entries(&root)[1])[1].join("metadata");
    let text = fs::read_to_string(&document).unwrap();
    assert!(text.contains(r#""encryption": true"#), "{text}");
    fs::write(&document, r#"{"engine_name": "tar", "compression": "zstd", "encryption": false}"#).unwrap();
    let outcome = restore(&place, Some(PASSWORD), "target", &["latest~1"]).expect(1).explained();
    assert!(outcome.names("not encrypted as the other levels"), "{outcome:?}");
    untouched(&place, "target");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let place = Place::new();
    place.write(&[("a", "1")]);
    let key = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    for words in [
        &["--no-encryption", "--encryption", "age"][..],
        &["--no-encryption", "--recipient", key],
        &["--encryption", "none", "--recipient", key],
        &["--encryption", "freezer", "--recipient", key],
        &["--encryption", "freezer", "--compression", "zstd"],
        &["--encryption", "freezer", "--compression", "none"],
        &["--encryption", "rot13"],
        &["--recipient", "age1nobody"],
    ] {
        level(&place, Some(PASSWORD), words).expect(2);
    }
    let mut words = place.arguments("backup", &["--init", "--encryption", "age"]);
    words.push(place.source().into());
    run_words(&place, Some(PASSWORD), words).expect(2).explained();
    assert!(!place.repository().join("data").exists());
}

#[test]
fn a_copy_has_the_same_bytes_and_needs_no_password() {
    let place = Place::new();
    let expected = chain(&place, || level(&place, Some(PASSWORD), &[]));
    let (first, copy) = (place.repository(), place.path().join("copy"));
    let words = ["copy", "-r", copy.to_str().unwrap(), "--init", "--from", first.to_str().unwrap()];
    place.program.run(&words).expect(0);
    for folder in ["data", "metadata"] {
        for file in super::files_below(&place.repository().join(folder)) {
            let theirs = copy.join(file.strip_prefix(place.repository()).unwrap());
            assert!(fs::read(&file).unwrap() == fs::read(&theirs).unwrap(), "{}", theirs.display());
        }
    }
    fs::rename(place.repository(), place.path().join("first")).unwrap();
    fs::rename(&copy, place.repository()).unwrap();
    all_restore(&place, Some(PASSWORD), &expected, &[]);
}
