//! Hard links between levels, directories and parts.

use crate::place::{Place, assert_equal};
use icecore_testkit::manifest::Manifest;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn link(place: &Place, from: &str, to: &str) {
    fs::hard_link(place.source().join(from), place.source().join(to)).unwrap();
}

fn rename(place: &Place, from: &str, to: &str) {
    fs::rename(place.source().join(from), place.source().join(to)).unwrap();
}

/// The name that is wanted was stored as a link to one in a directory that is called otherwise by now.
#[test]
fn a_wanted_link_to_a_file_in_a_directory_renamed_since_has_its_content() {
    let place = Place::new();
    place.write(&[("a/h", "content"), ("b/other", "1")]);
    link(&place, "a/h", "b/h");
    link(&place, "a/h", "b/i");
    place.increment();
    rename(&place, "a", "c");
    place.increment();
    rename(&place, "c", "d");
    place.increment();
    place.restore("t", &["latest", "--include", "b/h", "--include", "b/i"]).expect(0);
    let target = place.target("t");
    assert_eq!(Manifest::of(&target).unwrap().paths(), ["", "b", "b/h", "b/i"]);
    assert_eq!(fs::read_to_string(target.join("b/h")).unwrap(), "content");
    let inode = |path: &str| fs::metadata(target.join(path)).unwrap().ino();
    assert_eq!(inode("b/h"), inode("b/i"));
    place.restore("dry", &["latest", "--dry-run", "--include", "b/h"]).expect(0);
}

/// A file that did not change is stored again because its directory is new; its other name is linked at the end of the archive,
/// behind everything that is wanted.
#[test]
fn links_at_the_end_of_an_archive_are_not_missed_in_a_part() {
    let place = Place::new();
    place.write(&[("p/x/h", "content"), ("p/y/other", "1"), ("z/last", "2")]);
    link(&place, "p/x/h", "p/y/i");
    place.increment();
    fs::create_dir(place.source().join("p/new")).unwrap();
    // A directory that moves to where there was none before is stored whole.
    rename(&place, "p/y", "p/new/y");
    place.write(&[("z/last", "3")]);
    place.increment();
    place.restore("t", &["latest", "--include", "p"]).expect(0);
    let inode = |path: &str| fs::metadata(place.target("t").join(path)).unwrap().ino();
    assert_eq!(inode("p/x/h"), inode("p/new/y/i"));
}

/// `--delete` must not bring back a link whose name is gone.
#[test]
fn a_link_that_waited_for_its_content_and_was_deleted_stays_deleted() {
    let place = Place::new();
    place.write(&[("a/h", "content"), ("b/other", "1")]);
    link(&place, "a/h", "b/h");
    place.increment();
    fs::remove_file(place.source().join("b/h")).unwrap();
    place.increment();
    for more in [&[][..], &["--overwrite", "--delete"]] {
        place.restore("t", &[&["latest", "--include", "b"], more].concat()).expect(0);
        assert_eq!(Manifest::of(&place.target("t")).unwrap().paths(), ["", "b", "b/other"]);
    }
}

#[test]
fn a_group_of_which_a_part_is_excluded_is_what_is_left_of_it() {
    let place = Place::new();
    place.write(&[("a/skip", "content"), ("b/x", "1")]);
    link(&place, "a/skip", "b/one");
    link(&place, "a/skip", "b/two");
    let arguments = ["--incremental", "--exclude", "skip"];
    place.backup(&arguments).expect(0);
    rename(&place, "b", "c");
    link(&place, "c/one", "a/three");
    place.backup(&arguments).expect(0);
    let restored = place.restored("t", "latest");
    fs::remove_file(place.source().join("a/skip")).unwrap();
    let mut expected = Manifest::of(&place.source()).unwrap();
    let directory = restored.entries[&b"a"[..]].clone();
    expected.entries.insert(b"a".to_vec(), directory);
    assert_equal(&expected, &restored, "without what was excluded");
}

/// While one of its names cannot be reached, a file changes; later all names are one file again.
#[test]
fn a_group_of_which_a_part_could_not_be_read_for_a_while_is_whole_again() {
    let place = Place::unprivileged();
    place.write(&[("a/h", "content"), ("b/x", "1")]);
    link(&place, "a/h", "b/h");
    link(&place, "a/h", "b/i");
    place.program.give(&place.source());
    place.backup(&["--incremental"]).expect(0);
    let mode = |mode| fs::set_permissions(place.source().join("a"), Permissions::from_mode(mode)).unwrap();
    for (round, content) in [(1, "other"), (2, "content")] {
        mode(0);
        fs::write(place.source().join("b/h"), content).unwrap();
        place.backup(&["--incremental"]).expect(3);
        mode(0o755);
        place.backup(&["--incremental"]).expect(0);
        let target = format!("t{round}");
        place.restore(&target, &["latest"]).expect(0);
        let expected = Manifest::of(&place.source()).unwrap();
        assert_equal(&expected, &Manifest::of(&place.target(&target)).unwrap(), &target);
    }
}
