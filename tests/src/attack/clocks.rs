//! Times that lie: what changed is stored, whatever a clock or a file's times say.

use crate::gnu_tar::{Format, gnu_level};
use crate::place::{Place, assert_equal};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::attributes::set_mtime;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Changes of the same length at once after (and before) a backup, with the old time put back.
#[test]
fn a_change_in_the_moment_of_a_backup_is_in_the_next_one() {
    let place = Place::new();
    place.write(&[("file", "0000"), ("other", "1")]);
    for round in 0..8 {
        let file = place.source().join("file");
        fs::write(&file, format!("{round:04}")).unwrap();
        set_mtime(&file, 1_000_000_000, 5).unwrap();
        place.increment();
        let expected = Manifest::of(&place.source()).unwrap();
        assert_equal(&expected, &place.restored(&round.to_string(), "latest"), &format!("round {round}"));
    }
}

/// A file of the future is stored at every level, since nothing tells whether it changed.
#[test]
fn a_file_from_the_future_is_never_missed() {
    let place = Place::new();
    place.write(&[("future", "1"), ("past", "2")]);
    set_mtime(&place.source().join("future"), 4_102_444_800, 7).unwrap();
    place.increment();
    for content in ["3", "4"] {
        fs::write(place.source().join("future"), content).unwrap();
        set_mtime(&place.source().join("future"), 4_102_444_800, 7).unwrap();
        let files = place.increment()["files"].clone();
        assert!(files.as_u64().is_some_and(|files| files >= 1));
        let restored = place.restored(content, "latest");
        assert_equal(&Manifest::of(&place.source()).unwrap(), &restored, content);
    }
}

/// The level below says that it begins in half a minute: no time tells what has changed since, and everything is stored.
#[test]
fn nothing_is_missed_when_the_clock_was_set_back() {
    let place = Place::new();
    place.write(&[("changes", "1"), ("directory/stays", "2")]);
    let snapshot = gnu_level(&place, 0, None, Format::Posix);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let bytes = fs::read(&snapshot).unwrap();
    let line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let end = line + bytes[line..].iter().position(|&byte| byte == 0).unwrap();
    let start = (now + 30).to_string();
    fs::write(&snapshot, [&bytes[..line], start.as_bytes(), &bytes[end..]].concat()).unwrap();
    fs::write(place.source().join("changes"), "3").unwrap();
    let summary = place.increment();
    assert_eq!((&summary["level"], &summary["files"]), (&1.into(), &2.into()));
    assert_equal(&Manifest::of(&place.source()).unwrap(), &place.restored("t", "latest"), "set back");
}

/// GNU tar lists what it then cannot read: the restore says that it is not there.
#[test]
fn what_gnu_tar_listed_and_did_not_store_is_named() {
    let place = Place::new();
    place.write(&[("read", "1"), ("vanished", "2")]);
    gnu_level(&place, 0, None, Format::Gnu);
    // As if it could not be read: its member goes, with what is behind it.
    let data = place.stored_levels()[0].join("data");
    let archive = place.path().join("archive");
    let unpacked = std::process::Command::new("gzip").args(["-dc"]).arg(&data).output().unwrap().stdout;
    let name = unpacked.windows(10).rposition(|window| window == b"./vanished").unwrap();
    assert_eq!(name % 512, 0, "where a member begins");
    fs::write(&archive, [&unpacked[..name], &[0; 1024]].concat()).unwrap();
    let packed = std::process::Command::new("gzip").arg("-c").arg(&archive).output().unwrap().stdout;
    fs::write(&data, packed).unwrap();
    let outcome = place.restore("t", &["latest"]).expect(0);
    let warned = outcome.of_type("warning").iter().any(|line| line.to_string().contains("vanished"));
    assert!(warned || outcome.stderr.contains("vanished"), "{outcome:?}");
}
