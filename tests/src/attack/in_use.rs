//! Targets that hold something already: what is not in the backup stays unless it was asked to go, and outside the wanted part
//! everything stays.

use crate::place::{Place, assert_equal};
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// A directory is renamed, another comes to where it was, and much is deleted.
fn place() -> Place {
    let place = Place::new();
    place.write(&[("old/f", "1"), ("old/g", "2"), ("other/x", "3"), ("gone/y", "4"), ("top", "5")]);
    place.increment();
    fs::rename(place.source().join("old"), place.source().join("new")).unwrap();
    fs::remove_dir_all(place.source().join("gone")).unwrap();
    fs::remove_file(place.source().join("other/x")).unwrap();
    place.write(&[("old/h", "6"), ("other/z", "7")]);
    place.increment();
    place
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content).unwrap();
    }
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

#[test]
fn a_restore_over_itself_changes_nothing() {
    let place = place();
    let once = place.restored("t", "latest");
    for more in [&["latest", "--overwrite"][..], &["latest", "--overwrite", "--delete"]] {
        place.restore("t", more).expect(0);
        assert_equal(&once, &Manifest::of(&place.target("t")).unwrap(), "again");
    }
}

#[test]
fn a_part_leaves_alone_what_is_outside_of_it() {
    let place = place();
    let target = place.target("t");
    // At the places that earlier levels had, where directories were renamed from, and where nothing ever was.
    let strangers =
        [("old/f", "mine"), ("gone/y", "mine"), ("other/x", "mine"), ("top", "mine"), ("new/s", "mine")];
    for more in [
        &["latest", "--overwrite", "--include", "new/f"][..],
        &["latest", "--overwrite", "--delete", "--include", "new/f"],
    ] {
        write(&target, &strangers);
        place.restore("t", more).expect(0);
        assert_eq!(read(&target, "new/f"), "1");
        for (path, content) in strangers {
            assert_eq!(read(&target, path), content, "{path} with {more:?}");
        }
        fs::remove_dir_all(&target).unwrap();
    }
    // A stranger where an earlier level had a directory that is only passed through.
    write(&target, &[("old", "mine")]);
    place.restore("t", &["latest", "--overwrite", "--include", "new"]).expect(0);
    assert_eq!((read(&target, "old"), read(&target, "new/g")), ("mine".into(), "2".into()));
}

/// The part was, at an earlier level, what is now somewhere else.
#[test]
fn a_part_with_the_name_of_what_was_renamed_away_is_nothing_but_that_part() {
    let place = place();
    place.restore("t", &["latest", "--include", "old"]).expect(0);
    let paths = Manifest::of(&place.target("t")).unwrap().paths();
    assert_eq!(paths, ["", "old", "old/h"]);
}

#[test]
fn a_part_that_only_an_earlier_level_has_is_not_found() {
    let place = place();
    for (wanted, status) in
        [("gone", 1), ("gone/y", 1), ("other/x", 1), ("old/f", 1), ("new/f", 0), ("old/h", 0)]
    {
        for dry_run in [false, true] {
            let more: &[&str] = if dry_run { &["--dry-run"] } else { &[] };
            let outcome = place.restore(wanted, &[&["latest", "--include", wanted], more].concat());
            assert_eq!(outcome.status, status, "{wanted}: {outcome:?}");
            if status == 1 {
                assert_eq!(outcome.of_type("error")[0]["kind"], "not_found");
                assert!(outcome.names(wanted), "{outcome:?}");
                assert!(fs::read_dir(place.target(wanted)).map_or(true, |mut left| left.next().is_none()));
            }
        }
    }
    // What is there is restored, what is not is named.
    let outcome =
        place.restore("two", &["latest", "--include", "top", "--include", "gone/y"]).expect(1).explained();
    assert!(outcome.names("gone/y") && !outcome.names("top"));
    assert_eq!(read(&place.target("two"), "top"), "5");
}

#[test]
fn strangers_stay_in_directories_that_a_later_level_deleted() {
    let place = place();
    let target = place.target("t");
    let strangers = [("gone/mine", "mine"), ("new/mine", "mine"), ("old/mine", "mine"), ("mine", "mine")];
    write(&target, &strangers);
    place.restore("t", &["latest", "--overwrite"]).expect(0);
    for (path, content) in strangers {
        assert_eq!(read(&target, path), content, "{path}");
    }
    assert!(!target.join("gone/y").exists(), "what level 0 put there is gone");
    place.restore("t", &["latest", "--overwrite", "--delete"]).expect(0);
    let expected = Manifest::of(&place.source()).unwrap();
    assert_equal(&expected, &Manifest::of(&target).unwrap(), "with --delete");
}

#[test]
fn whatever_stands_in_the_way_goes_and_links_are_not_followed() {
    let place = place();
    let (target, outside) = (place.target("t"), place.path().join("outside"));
    write(&outside, &[("f", "not yours"), ("h", "not yours")]);
    let before = Manifest::of(&outside).unwrap();
    fs::create_dir_all(target.join("top/is/a/directory")).unwrap();
    symlink(&outside, target.join("new")).unwrap();
    symlink(&outside, target.join("old")).unwrap();
    fs::write(target.join("other"), "a file where a directory must go").unwrap();
    place.restore("t", &["latest", "--overwrite"]).expect(0);
    assert_equal(&before, &Manifest::of(&outside).unwrap(), "outside");
    let expected = Manifest::of(&place.source()).unwrap();
    assert_equal(&expected, &Manifest::of(&target).unwrap(), "inside");
}

/// What cannot be removed is named, and everything else is done.
#[test]
fn an_entry_that_cannot_go_is_named_and_the_rest_is_restored() {
    let place = place();
    let target = place.target("t");
    write(&target, &[("a-stranger", "immutable"), ("z-stranger", "goes")]);
    let immutable = |sign: &str| {
        let status = Command::new("chattr").arg(format!("{sign}i")).arg(target.join("a-stranger")).status();
        status.is_ok_and(|status| status.success())
    };
    if !immutable("+") {
        return crate::program::not_run("no file can be made immutable here");
    }
    let outcome = place.restore("t", &["latest", "--overwrite", "--delete"]);
    assert!(immutable("-"));
    let outcome = outcome.expect(1).explained();
    assert!(outcome.names("a-stranger"), "{outcome:?}");
    assert!(!target.join("z-stranger").exists());
    assert_eq!((read(&target, "new/f"), read(&target, "other/z")), ("1".into(), "7".into()));
}
