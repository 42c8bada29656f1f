//! Chains of the engine `rsync`: what levels store, what they restore to, and what stays of what could not be read.

use crate::place::{Place, SERIES, assert_alike, assert_equal, entries, id};
use crate::program::{Program, not_run};
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::random::Random;
use icecore_testkit::tree::{Features, SCRIPTED_STEPS, is_root};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn place() -> Place {
    Place::of("rsync")
}

fn unprivileged() -> Place {
    let mut place = Place::unprivileged();
    place.engine = "rsync";
    place
}

/// Bytes of the stream of a level.
fn stored(summary: &Value) -> u64 {
    summary["stored_bytes"].as_u64().unwrap()
}

#[test]
fn every_level_of_a_tree_of_everything_is_restored_equal() {
    for seed in [1, 7] {
        let place = place();
        let mut tree = place.tree(seed, Features::all());
        let mut levels = vec![(place.increment(), Manifest::of(tree.root()).unwrap())];
        for step in 1..=SCRIPTED_STEPS + 2 {
            tree.mutate(step).unwrap();
            levels.push((place.increment(), Manifest::of(tree.root()).unwrap()));
        }
        place.check_is_clean();
        for (number, (summary, expected)) in levels.iter().enumerate() {
            assert_eq!((&summary["level"], &summary["errors"]), (&number.into(), &0.into()), "{summary}");
            let restored = place.restored(&number.to_string(), &id(summary));
            assert_equal(expected, &restored, &format!("seed {seed}, level {number}"));
        }
        // Read back, over a lower level.
        let last = levels.len() - 1;
        let more = ["--overwrite", "always", "--delete", "--verify", "latest"];
        place.restore("0", &more).expect(0);
        let restored = Manifest::of(&place.target("0")).unwrap();
        assert_equal(&levels[last].1, &restored, &format!("seed {seed}, over level 0"));
    }
}

#[test]
fn a_level_stores_what_is_new_of_a_file_wherever_it_stands() {
    let place = place();
    let image = place.source().join("image");
    let mut random = Random::new(3);
    let mut content = random.bytes(24 << 20);
    fs::write(&image, &content).unwrap();
    place.settle();
    let full = place.increment();
    assert!(stored(&full) > 24 << 20);

    // One block in a hundred is another one, and what is new at the head moves all others.
    let mut changed = 0;
    for block in (0..content.len() / 4096).step_by(100) {
        content[block * 4096..(block + 1) * 4096].copy_from_slice(&random.bytes(4096));
        changed += 4096;
    }
    let head = random.bytes((1 << 20) + 321);
    changed += head.len() as u64;
    content = [head, content].concat();
    fs::write(&image, &content).unwrap();
    place.settle();
    let increment = place.increment();
    let ratio = stored(&increment) as f64 / changed as f64;
    assert!(ratio <= 1.3, "{ratio} times the {changed} bytes that changed");

    // Nothing of this is new.
    let (front, back) = content.split_at(10_000_001);
    content = [back, front].concat();
    fs::write(&image, &content).unwrap();
    fs::copy(&image, place.source().join("copy")).unwrap();
    fs::rename(&image, place.source().join("moved")).unwrap();
    place.settle();
    fs::remove_file(place.source().join("copy")).unwrap();
    let moved = place.increment();
    assert!(stored(&moved) < 40_000, "{moved}");
    let touched = fs::File::options().write(true).open(place.source().join("moved")).unwrap();
    touched.set_modified(std::time::UNIX_EPOCH).unwrap();
    place.settle();
    assert!(stored(&place.increment()) < 200, "a file was stored that was only touched");
    place.restore("t", &["latest", "--verify"]).expect(0);
    assert_equal(
        &Manifest::of(&place.source()).unwrap(),
        &Manifest::of(&place.target("t")).unwrap(),
        "after it was moved and touched",
    );
    place.check_is_clean();
}

#[test]
fn what_was_renamed_or_replaced_is_not_stored_again() {
    let place = place();
    let mut random = Random::new(4);
    for number in 0..20 {
        let path = place.source().join(format!("a/b/file{number}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, random.bytes(100_000)).unwrap();
    }
    fs::hard_link(place.source().join("a/b/file0"), place.source().join("linked")).unwrap();
    place.settle();
    place.increment();
    let at = |path: &str| place.source().join(path);
    fs::create_dir(at("c")).unwrap();
    fs::rename(at("a/b"), at("c/d")).unwrap();
    fs::rename(at("c/d/file3"), at("other name")).unwrap();
    // As editors save.
    let mut saved = fs::read(at("c/d/file4")).unwrap();
    saved[50_000] ^= 1;
    fs::write(at("new"), saved).unwrap();
    fs::rename(at("new"), at("c/d/file4")).unwrap();
    // Two that change places, one of them a link's.
    fs::rename(at("c/d/file0"), at("swap")).unwrap();
    fs::rename(at("c/d/file1"), at("c/d/file0")).unwrap();
    fs::rename(at("swap"), at("c/d/file1")).unwrap();
    place.settle();
    let summary = place.increment();
    assert!(stored(&summary) < 110_000, "{summary}");
    fs::write(at("c/d/file1"), "short").unwrap();
    fs::write(at("c/d/file5"), "").unwrap();
    place.settle();
    place.increment();
    let wanted = Manifest::of(&place.source()).unwrap();
    assert_equal(&wanted, &place.restored("t", "latest"), "level 2");
    // A part of it, whose content came from elsewhere.
    place.restore("part", &["latest", "--include", "c/d/file0", "--include", "other name"]).expect(0);
    for path in ["c/d/file0", "other name"] {
        assert!(fs::read(place.target("part").join(path)).unwrap() == fs::read(at(path)).unwrap(), "{path}");
    }
    assert_eq!(entries(&place.target("part").join("c/d")).len(), 1);
}

#[test]
fn holes_stay_holes_through_levels() {
    let place = place();
    let image = place.source().join("sparse");
    let file = fs::File::create(&image).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&Random::new(1).bytes(300_000), 20 << 20).unwrap();
    place.settle();
    assert!(stored(&place.increment()) < 350_000);
    file.write_all_at(b"one more byte", 50 << 20).unwrap();
    place.settle();
    assert!(stored(&place.increment()) < 20_000);
    let wanted = Manifest::of(&place.source()).unwrap();
    assert_equal(&wanted, &place.restored("t", "latest"), "a sparse file");
    let room = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    assert!(room(&place.target("t").join("sparse")) <= room(&image) + (64 << 10));
}

#[test]
fn the_length_of_a_block_can_be_chosen_and_is_no_word_for_other_engines() {
    let place = place();
    let mut content = Random::new(9).bytes(1 << 20);
    fs::write(place.source().join("f"), &content).unwrap();
    place.settle();
    let more = ["--incremental", "--block-size", "65536"];
    place.backup(&more).expect(0);
    content[500_000] ^= 1;
    fs::write(place.source().join("f"), &content).unwrap();
    place.settle();
    let summary = place.backup(&more).expect(0).summary();
    assert!((65_536..70_000).contains(&stored(&summary)), "{summary}");
    assert_equal(&Manifest::of(&place.source()).unwrap(), &place.restored("t", "latest"), "long blocks");
    for size in ["511", "16777217", "x"] {
        place.backup(&["--block-size", size]).expect(2);
    }
    let tar = Place::new();
    tar.write(&[("a", "1")]);
    let refused = tar.backup(&["--block-size", "4096"]).expect(2);
    assert!(refused.names("--block-size"), "{refused:?}");
}

#[test]
fn one_file_is_backed_up_under_its_name() {
    let place = place();
    place.write(&[("folder/one", "content"), ("other", "x")]);
    let mut arguments = place.backup_arguments(&["--incremental"]);
    *arguments.last_mut().unwrap() = place.source().join("folder/one").into();
    for level in 0..2 {
        let summary = place.program.run(&arguments).expect(0).summary();
        assert_eq!(summary["level"], level);
    }
    place.restore("t", &["latest"]).expect(0);
    assert_eq!(entries(&place.target("t")), [place.target("t").join("one")]);
    assert_eq!(fs::read_to_string(place.target("t").join("one")).unwrap(), "content");
}

/// Nothing about the files changes between the runs, only who reads them.
#[test]
fn what_could_not_be_read_stays_as_the_level_below_has_it_and_is_tried_again() {
    if !is_root() {
        return not_run("needs a reader who may not and then one who may");
    }
    let mut place = unprivileged();
    place.write(&[("a", "1"), ("closed/b", "2"), ("shut", "3")]);
    place.increment();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let (closed, shut) = (place.source().join("closed"), place.source().join("shut"));
    place.write(&[("shut", "later"), ("new", "for root alone")]);
    set_mode(&closed, 0o000);
    set_mode(&shut, 0o200);
    set_mode(&place.source().join("new"), 0o000);
    let outcome = place.backup(&["--incremental"]).expect(3);
    for name in ["closed", "shut", "new"] {
        assert!(outcome.names(name), "{outcome:?}");
    }
    // A user's own file of the name of what could not be read stays, whatever else goes.
    fs::create_dir_all(place.target("t")).unwrap();
    for name in ["new", "stranger"] {
        fs::write(place.target("t").join(name), "the user's").unwrap();
    }
    place.program.give(&place.path().join("targets"));
    place.restore("t", &["latest", "--overwrite", "always", "--delete"]).expect(0);
    let restored = |path: &str| fs::read_to_string(place.target("t").join(path)).unwrap();
    assert_eq!((restored("a"), restored("closed/b"), restored("shut")), ("1".into(), "2".into(), "3".into()));
    assert_eq!(restored("new"), "the user's");
    assert!(!place.target("t").join("stranger").exists());

    let expected = Manifest::of(&place.source()).unwrap();
    place.program = Program::new();
    let summary = place.increment();
    assert_eq!((&summary["level"], &summary["errors"]), (&2.into(), &0.into()));
    let options = Options { root: false, ..Options::default() };
    assert_alike(&expected, &place.restored("all", "latest"), &options, "what was unreadable before");
    for path in [closed, shut] {
        set_mode(&path, 0o755);
    }
}

/// The objects of a level.
fn objects(place: &Place, level: usize) -> PathBuf {
    place.stored_levels()[level].clone()
}

#[test]
fn a_level_that_is_missing_or_damaged_is_named_before_the_target_is_touched() {
    let place = place();
    let mut tree = place.tree(5, Features { large_files: false, ..Features::all() });
    place.increment();
    for step in 1..=2 {
        tree.mutate(step).unwrap();
        place.increment();
    }
    for (level, object) in [(0, "data"), (1, "data"), (2, "data"), (2, "engine_metadata")] {
        let path = objects(&place, level).join(object);
        let whole = fs::read(&path).unwrap();
        let mut bits = whole.clone();
        bits[whole.len() / 2] ^= 4;
        for (what, bytes) in [("one bit", bits), ("half", whole[..whole.len() / 2].to_vec())] {
            fs::write(&path, bytes).unwrap();
            let outcome =
                place.restore(&format!("{level}-{object}-{what}"), &["latest"]).expect(1).explained();
            assert!(outcome.names(&format!("/{level}_")), "{what} of {object}: {outcome:?}");
            let target = place.target(&format!("{level}-{object}-{what}"));
            assert!(entries(&target).is_empty(), "{what} of {object} of {level}: the target was touched");
            place.run("check", &["--read-data"]).expect(1);
        }
        fs::write(&path, whole).unwrap();
    }
    let document = place.repository().join("metadata/rsync").join(SERIES);
    let level = entries(&entries(&document)[0])[1].join("metadata");
    fs::remove_file(level).unwrap();
    let outcome = place.restore("gap", &["latest"]).expect(1);
    assert!(outcome.names("1"), "{outcome:?}");
    assert!(entries(&place.target("gap")).is_empty());
    // And the next backup does not build on it.
    assert_eq!(place.increment()["level"], 0);
}

/// What Freezer's agent keeps under the same names is of another form.
#[test]
fn a_chain_of_freezers_is_not_built_upon() {
    let place = place();
    place.write(&[("a", "1")]);
    let chain = "rsync/alpha.example.org_nightly/1600000000/0_1600000000";
    for (tree, object, content) in [
        ("data", "data", "x"),
        ("data", "engine_metadata", "{}"),
        ("metadata", "metadata", r#"{"engine_name": "rsync", "compression": "gzip", "encryption": false}"#),
    ] {
        let folder = place.repository().join(tree).join(chain);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(object), content).unwrap();
    }
    // What stands there is no stream of Freezer's either.
    place.restore("t", &["latest"]).expect(1).explained();
    assert!(entries(&place.target("t")).is_empty());
    let summary = place.increment();
    assert_eq!(summary["level"], 0);
    assert!(summary["reason"].as_str().unwrap().contains("Freezer"), "{summary}");
    assert_eq!(place.increment()["level"], 1);
    assert_eq!(place.restore("u", &["latest"]).expect(0).summary()["levels"], json!([0, 1]));
}
