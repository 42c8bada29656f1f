//! Chains as Freezer encrypts them: written for it, and read whoever wrote them.

use super::{PASSWORD, all_restore, chain, has, level, restore, run, shell, tar_restores, untouched};
use crate::place::Place;
use crate::program::not_run;
use std::fs;
use std::path::{Path, PathBuf};

/// A file with a password, of which openssl takes the first line.
fn pass_file(place: &Place) -> PathBuf {
    let file = place.path().join("pass");
    fs::write(&file, format!("{PASSWORD}\r\nsecond line\n")).unwrap();
    file
}

#[test]
fn openssl_gzip_and_tar_restore_what_is_written_for_freezer() {
    if !has("openssl") {
        return not_run("openssl is needed");
    }
    let place = Place::new();
    let file = pass_file(&place);
    let with = ["--password-file", file.to_str().unwrap()];
    let made = || level(&place, None, &[&with[..], &["--encryption", "freezer"]].concat());
    let mut warned = 0;
    let expected = chain(&place, || {
        let outcome = made();
        warned +=
            outcome.of_type("warning").iter().filter(|line| line.to_string().contains("for Freezer")).count();
        outcome
    });
    assert_eq!(warned, 3, "each time it is said what this does not give");
    all_restore(&place, None, &expected, &with);
    run(&place, None, "check", &[&with[..], &["--read-data"]].concat()).expect(0);
    // Not the first line with its carriage return.
    for wrong in [PASSWORD, "wrong"] {
        restore(&place, Some(wrong), "wrong", &[]).expect(12).explained();
    }
    untouched(&place, "wrong");
    level(&place, Some("wrong"), &["--encryption", "freezer"]).expect(12).explained();
    tar_restores(&place, "gzip", &expected, |folder, plain| {
        let data = folder.join("data");
        shell(
            &place,
            r#"openssl enc -d -aes-256-cfb -pass "file:$FILE" -in "$DATA" -out "$PLAIN" 2> /dev/null"#,
            &[("FILE", &file), ("DATA", &data), ("PLAIN", plain)],
        );
        // Freezer goes on with the state as it is.
        assert!(fs::read(folder.join("engine_metadata")).unwrap().starts_with(b"GNU tar"));
    });
}

/// What a chain of ours would be if Freezer had written it with an old openssl: no hashes, and keys by MD5.
fn as_by_an_old_freezer(place: &Place, file: &Path) {
    for folder in place.stored_levels() {
        let data = folder.join("data");
        shell(
            place,
            r#"
                openssl enc -d -aes-256-cfb -pass "file:$FILE" -in "$DATA" -out "$DATA.plain" 2> /dev/null
                openssl enc -aes-256-cfb -md md5 -pass "file:$FILE" -in "$DATA.plain" -out "$DATA" 2> /dev/null
                rm "$DATA.plain"
            "#,
            &[("FILE", file), ("DATA", &data)],
        );
        let document = r#"{"engine_name": "tar", "compression": "gzip", "encryption": true}"#;
        fs::write(super::age::document(place, &folder), document).unwrap();
    }
}

#[test]
fn keys_of_older_releases_of_openssl_are_found_and_their_chains_gone_on_with() {
    if !has("openssl") {
        return not_run("openssl is needed");
    }
    let place = Place::new();
    let file = pass_file(&place);
    let with = ["--password-file", file.to_str().unwrap()];
    let made = || level(&place, None, &[&with[..], &["--encryption", "freezer"]].concat());
    let expected = chain(&place, made);
    as_by_an_old_freezer(&place, &file);
    all_restore(&place, None, &expected, &with);
    restore(&place, Some("wrong"), "wrong", &[]).expect(12).explained();
    // Without hashes nothing but the stream tells; without a password, nothing does.
    run(&place, None, "check", &[&with[..], &["--read-data"]].concat()).expect(0);
    run(&place, None, "check", &["--read-data"]).expect(1);
    place.write(&[("later", "than all that")]);
    assert_eq!(made().expect(0).summary()["level"], 3);
    restore(&place, None, "later", &with).expect(0);
    assert!(place.target("later").join("later").exists());
}
