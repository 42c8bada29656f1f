//! What a restore writes, what it leaves alone, and what it refuses.

use crate::place::{Place, assert_alike, assert_equal, entries, id};
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::tree::Features;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;

/// Three directories, two levels.
fn place() -> Place {
    let place = Place::new();
    place.write(&[("docs/a.txt", "1"), ("docs/sub/b.txt", "2"), ("other/c.txt", "3"), ("top.txt", "4")]);
    place.increment();
    place.write(&[("docs/sub/b.txt", "new"), ("docs/d.txt", "5")]);
    place.increment();
    place
}

fn files(place: &Place, target: &str) -> Vec<String> {
    Manifest::of(&place.target(target))
        .unwrap()
        .paths()
        .into_iter()
        .filter(|path| path.ends_with("txt"))
        .collect()
}

#[test]
fn a_part_of_a_tree_is_restored_alone() {
    let place = place();
    place.restore("directory", &["latest", "--include", "docs/sub"]).expect(0);
    assert_eq!(files(&place, "directory"), ["docs/sub/b.txt"]);
    assert_eq!(fs::read_to_string(place.target("directory").join("docs/sub/b.txt")).unwrap(), "new");
    place.restore("file", &["latest", "--include", "top.txt"]).expect(0);
    assert_eq!(files(&place, "file"), ["top.txt"]);
    place.restore("two", &["latest", "--include", "docs/d.txt", "--include", "other"]).expect(0);
    assert_eq!(files(&place, "two"), ["docs/d.txt", "other/c.txt"]);
    let first = &place.ids()[0];
    place.restore("old", &[first, "--include", "docs"]).expect(0);
    assert_eq!(files(&place, "old"), ["docs/a.txt", "docs/sub/b.txt"]);
    assert_eq!(fs::read_to_string(place.target("old").join("docs/sub/b.txt")).unwrap(), "2");
}

/// A prefix of a name is not the name.
#[test]
fn a_part_is_whole_components() {
    let place = Place::new();
    place.write(&[("doc/a.txt", "1"), ("docs/b.txt", "2"), ("doc.txt", "3")]);
    place.increment();
    place.restore("t", &["latest", "--include", "doc"]).expect(0);
    assert_eq!(files(&place, "t"), ["doc/a.txt"]);
}

#[test]
fn a_part_that_is_not_in_the_backup_is_an_error() {
    let place = place();
    place.restore("t", &["latest", "--include", "no/such/path"]).expect(1).explained();
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let place = place();
    let target = place.target("t");
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("stranger"), "mine").unwrap();
    let before = Manifest::of(&target).unwrap();
    let outcome = place.restore("t", &["latest"]).expect(1).explained();
    assert_eq!(
        outcome.of_type("error")[0]["hint"].as_str().map(|hint| hint.contains("--overwrite")),
        Some(true)
    );
    assert_equal(&before, &Manifest::of(&target).unwrap(), "the target");
}

#[test]
fn overwriting_leaves_strangers_alone() {
    let place = place();
    let target = place.target("t");
    fs::create_dir_all(target.join("docs")).unwrap();
    fs::write(target.join("stranger"), "mine").unwrap();
    fs::write(target.join("docs/stranger"), "mine too").unwrap();
    fs::write(target.join("docs/a.txt"), "in the way").unwrap();
    place.restore("t", &["latest", "--overwrite"]).expect(0);
    assert_eq!(fs::read_to_string(target.join("stranger")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(target.join("docs/stranger")).unwrap(), "mine too");
    assert_eq!(fs::read_to_string(target.join("docs/a.txt")).unwrap(), "1");
}

#[test]
fn deleting_makes_the_target_equal() {
    let place = Place::new();
    let tree = place.tree(61, Features::all());
    place.increment();
    let target = place.target("t");
    fs::create_dir_all(target.join("strange/below")).unwrap();
    fs::write(target.join("strange/below/file"), "goes").unwrap();
    // Another type of entry where the backup has its own.
    fs::write(target.join("content"), "a file where a directory belongs").unwrap();
    fs::create_dir_all(target.join("links/dangling/x")).unwrap();
    place.restore("t", &["latest", "--overwrite", "--delete"]).expect(0);
    assert_equal(&Manifest::of(tree.root()).unwrap(), &Manifest::of(&target).unwrap(), "after --delete");
}

/// A link in the target that leads outside must not carry a single byte there.
#[test]
fn nothing_is_written_outside_the_target() {
    let place = place();
    let outside = place.path().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("a.txt"), "not yours").unwrap();
    let before = Manifest::of(&outside).unwrap();
    fs::create_dir_all(place.target("t")).unwrap();
    symlink(&outside, place.target("t").join("docs")).unwrap();
    symlink(outside.join("a.txt"), place.target("t").join("top.txt")).unwrap();
    for more in [&["latest", "--overwrite"][..], &["latest", "--overwrite", "--delete"]] {
        let outcome = place.restore("t", more);
        assert!(outcome.status == 0 || outcome.status == 1, "{outcome:?}");
        let options = Options::default();
        assert_alike(&before, &Manifest::of(&outside).unwrap(), &options, "outside the target");
    }
}

#[test]
fn a_dry_restore_writes_nothing() {
    let place = place();
    place.restore("t", &["latest", "--dry-run"]).expect(0);
    assert!(entries(&place.target("t")).is_empty());
}

#[test]
fn names_and_hosts_are_kept_apart() {
    let place = place();
    let repository = place.repository();
    let (repository, source) = (repository.to_str().unwrap().to_owned(), place.source());
    let backup = |host: &str, name: &str| {
        let arguments = ["backup", "-r", &repository, "--engine", "tar", "--no-encryption", "--incremental"];
        let more = ["--host", host, "--name", name, "--json", source.to_str().unwrap()];
        place.program.run(&[&arguments[..], &more].concat()).expect(0).summary()
    };
    // Freezer joins host and name by `_`: both could be read in more than one way.
    let others =
        [backup("alpha.example.org", "nightly_2"), backup("alpha", "example"), backup("alpha_example", "x")];
    assert!(others.iter().all(|summary| summary["level"] == 0), "{others:?}");
    assert_eq!(place.list().len(), 2);
    let all = place.program.run(&["list", "-r", &repository, "--json"]).expect(0).of_type("backup");
    assert_eq!(all.len(), 5);
    let ids: std::collections::BTreeSet<String> = all.iter().map(id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn the_latest_may_be_asked_for_as_of_a_time() {
    let place = place();
    let times: Vec<String> = place.list().iter().map(|line| format!("@{}", line["timestamp"])).collect();
    for (number, (backup, at)) in
        [("latest", &times[0]), ("latest~1", &times[1]), ("latest~0", &times[0])].into_iter().enumerate()
    {
        let target = format!("t{number}");
        place.restore(&target, &[backup, "--at", at]).expect(0);
        assert_eq!(fs::read_to_string(place.target(&target).join("docs/sub/b.txt")).unwrap(), "2");
    }
    place.restore("none", &["latest~1", "--at", &times[0]]).expect(1).explained();
    place.restore("both", &[&place.ids()[0], "--at", &times[0]]).expect(2).explained();
}

/// The worst that a slip of the pen could do.
#[test]
fn a_restore_never_writes_into_the_repository_or_deletes_it() {
    let place = place();
    let repository = place.repository();
    for target in [repository.clone(), repository.join("data"), repository.join("new/below")] {
        let arguments = place.restore_arguments(&target, &["--overwrite"]);
        place.program.run(&arguments).expect(2).explained();
    }
    let above = place.restore_arguments(place.path(), &["--overwrite", "--delete"]);
    place.program.run(&above).expect(2).explained();
    assert!(!repository.join("new").exists());
    place.check_is_clean();
    place.program.run(&place.restore_arguments(place.path(), &["--overwrite"])).expect(0);
    place.check_is_clean();
}

#[test]
fn a_name_or_host_without_backups_is_said() {
    let place = place();
    let repository = place.repository();
    let target = place.target("t");
    let arguments = ["restore", "-r", repository.to_str().unwrap(), "--name", "nobody", "--json", "--target"];
    let outcome = place.program.run(&[&arguments[..], &[target.to_str().unwrap()]].concat()).expect(1);
    assert!(outcome.names("no backups of name nobody"), "{outcome:?}");
}

#[test]
fn options_may_stand_ahead_of_the_command() {
    let place = Place::new();
    place.write(&[("file", "content")]);
    place.backup(&[]).expect(0);
    let repository = place.repository();
    let ahead = [OsStr::new("-r"), repository.as_os_str(), OsStr::new("--json"), OsStr::new("list")];
    let listed = place.program.run(&ahead).expect(0);
    assert_eq!(listed.of_type("backup"), place.list());
    assert_eq!(place.list().len(), 1);
    let unknown = [OsStr::new("-r"), repository.as_os_str(), OsStr::new("lost")];
    assert!(place.program.run(&unknown).expect(2).stderr.contains("'-r'"));
}
