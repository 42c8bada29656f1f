//! What is stored again when little or nothing has changed, in bytes: the measure is what a summary says was added.

use super::{backup, let_the_second_pass, objects, place, restored, run, verb};
use crate::place::{NAME, Place, assert_equal};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::Features;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest chunk.
const CHUNK_MAX: u64 = 4 << 20;
/// Nodes of small trees, and the frame around them.
const METADATA: u64 = 256 << 10;
/// A file that takes many chunks.
const LARGE: usize = 64 << 20;

fn added(summary: &serde_json::Value) -> u64 {
    summary["stored_bytes"].as_u64().unwrap()
}

/// Backs up and says how many bytes were added.
#[track_caller]
fn adds(place: &Place, more: &[&str]) -> u64 {
    added(&backup(place, more).expect(0).summary())
}

fn count(place: &Place, folder: &str) -> usize {
    objects(place, folder).len()
}

/// The packs that hold content and not metadata.
fn content_packs(place: &Place) -> Vec<PathBuf> {
    objects(place, "packs").into_iter().filter(|path| fs::read(path).unwrap()[9] == 2).collect()
}

#[test]
fn the_same_tree_again_is_a_snapshot_and_nothing_else() {
    let place = place();
    place.tree(31, Features::plain());
    let_the_second_pass(&place);
    backup(&place, &[]).expect(0);
    let (packs, indexes) = (objects(&place, "packs"), objects(&place, "index"));
    // By what the parent says, and by reading everything.
    for (number, more) in [&[][..], &["--force"], &["--force", "--jobs", "1"]].iter().enumerate() {
        assert_eq!(adds(&place, more), 0, "{more:?}");
        assert_eq!(objects(&place, "packs"), packs, "{more:?}");
        assert_eq!(objects(&place, "index"), indexes, "{more:?}");
        assert_eq!(count(&place, "snapshots"), number + 2);
        assert_eq!(count(&place, "sessions"), 0);
    }
}

#[test]
fn a_large_file_that_moves_or_grows_at_its_head_is_not_stored_again() {
    let place = place();
    let mut content = Random::new(32).bytes(LARGE);
    let path = |name: &str| place.source().join(name);
    fs::create_dir(path("elsewhere")).unwrap();
    fs::write(path("large"), &content).unwrap();
    let_the_second_pass(&place);
    let first = adds(&place, &[]);
    assert!(first >= LARGE as u64 && first < LARGE as u64 + LARGE as u64 / 100, "{first}");

    fs::rename(path("large"), path("elsewhere/moved")).unwrap();
    let_the_second_pass(&place);
    let moved = adds(&place, &[]);
    assert!(moved <= METADATA, "{moved} bytes for a file that moved");

    content.insert(0, b'!');
    fs::write(path("elsewhere/moved"), &content).unwrap();
    let_the_second_pass(&place);
    let inserted = adds(&place, &[]);
    assert!(inserted <= 2 * CHUNK_MAX + METADATA, "{inserted} bytes for one that was inserted");
    assert_equal(&Manifest::of(&place.source()).unwrap(), &restored(&place, "t", "latest"), "at last");
}

#[test]
fn small_files_that_move_or_change_cost_what_was_touched() {
    let place = place();
    let mut random = Random::new(33);
    for directory in 0..8 {
        fs::create_dir(place.source().join(format!("d{directory}"))).unwrap();
        for file in 0..64 {
            let content = random.bytes(9000);
            fs::write(place.source().join(format!("d{directory}/f{file}")), content).unwrap();
        }
    }
    let_the_second_pass(&place);
    let content = 8 * 64 * 9000;
    let first = adds(&place, &[]);
    assert!(first >= content && first < content + content / 10, "{first}");

    // One file: its own bytes and the nodes above it.
    fs::write(place.source().join("d3/f17"), random.bytes(9000)).unwrap();
    let_the_second_pass(&place);
    let touched = adds(&place, &[]);
    assert!((9000..=9000 + METADATA).contains(&touched), "{touched} bytes for one of 9000");

    // One that moves is stored once more at most, a directory that moves as its bundles are.
    fs::rename(place.source().join("d3/f18"), place.source().join("d5/moved")).unwrap();
    let_the_second_pass(&place);
    let moved = adds(&place, &[]);
    assert!(moved <= 9000 + METADATA, "{moved} bytes for one of 9000 that moved");
    fs::rename(place.source().join("d6"), place.source().join("d0/d6")).unwrap();
    let_the_second_pass(&place);
    let moved = adds(&place, &[]);
    assert!(moved <= 64 * 9000 + METADATA, "{moved} bytes for a directory that moved");
    assert_equal(&Manifest::of(&place.source()).unwrap(), &restored(&place, "t", "latest"), "at last");
}

#[test]
fn two_hosts_with_the_same_data_store_it_once() {
    let place = place();
    let mut tree = place.tree(34, Features::plain());
    tree.mutate(1).unwrap();
    place.settle();
    let from = |host: &str, path: &Path| {
        let mut arguments: Vec<OsString> =
            ["backup", "--json", "--host", host, "--name", NAME, "-r"].map(OsString::from).into();
        arguments.extend([place.repository().into(), path.into()]);
        added(&run(place.program.command(&arguments)).expect(0).summary())
    };
    let first = from("alpha.example.org", &place.source());
    let packs = content_packs(&place);
    // Another host: other inodes, other times of change, perhaps another path.
    let copy = place.path().join("copy");
    assert!(Command::new("cp").arg("-a").arg(place.source()).arg(&copy).status().unwrap().success());
    place.settle();
    let second = from("beta.example.org", &copy);
    assert_eq!(content_packs(&place), packs, "no content is stored for the other host");
    assert!(second * 10 < first && second <= METADATA, "{second} bytes for the other host, {first} for one");
    let expected = Manifest::of(&copy).unwrap();
    let target = place.target("beta");
    let mut arguments: Vec<OsString> =
        ["restore", "--json", "--host", "beta.example.org", "--target"].map(OsString::from).into();
    arguments.extend([target.clone().into(), "-r".into(), place.repository().into()]);
    run(place.program.command(&arguments)).expect(0);
    assert_equal(&expected, &Manifest::of(&target).unwrap(), "the other host");
    verb(&place, "check", &["--read-data"]).expect(0);
}
