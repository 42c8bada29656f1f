//! Trees whose names are shuffled between the levels, restored by us and by GNU tar, whole and in part.

use crate::gnu_tar::{Format, extract, gnu_level};
use crate::place::{Place, assert_equal, id};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::shuffle::Shuffle;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

const LEVELS: usize = 5;

/// A chain of a shuffled tree, and what the tree was at each level.
struct History {
    place: Place,
    ids: Vec<String>,
    expected: Vec<Manifest>,
}

fn history(seed: u64) -> History {
    eprintln!("seed {seed}");
    let place = Place::new();
    let mut tree = Shuffle::create(&place.source(), &place.path().join("aside"), seed).unwrap();
    let (mut ids, mut expected) = (Vec::new(), Vec::new());
    for level in 0..LEVELS {
        if level > 0 {
            tree.step().unwrap();
        }
        ids.push(id(&place.increment()));
        expected.push(Manifest::of(&place.source()).unwrap());
    }
    History { place, ids, expected }
}

/// How many seeds: more when the tester asks for them.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("ICECORE_FIRST_SEED").unwrap_or(first);
    first..first + number("ICECORE_SEEDS").unwrap_or(count)
}

#[test]
fn shuffled_names_come_back() {
    for seed in seeds(1000, 12) {
        let History { place, ids, expected } = history(seed);
        for (level, (id, expected)) in ids.iter().zip(&expected).enumerate() {
            eprintln!("level {level}");
            let restored = place.restored(&level.to_string(), id);
            assert_equal(expected, &restored, &format!("seed {seed}, level {level}"));
        }
        // Over the newest, the oldest, and the newest again: what one level has and another has not must not matter.
        for level in [LEVELS - 1, 0, LEVELS - 1] {
            place.restore("again", &[&ids[level], "--overwrite", "--delete"]).expect(0);
            let restored = Manifest::of(&place.target("again")).unwrap();
            assert_equal(&expected[level], &restored, &format!("seed {seed}, again level {level}"));
        }
        place.restore("again", &[&ids[LEVELS - 1], "--overwrite"]).expect(0);
        let restored = Manifest::of(&place.target("again")).unwrap();
        assert_equal(&expected[LEVELS - 1], &restored, &format!("seed {seed}, once more"));
    }
}

#[test]
fn gnu_tar_restores_shuffled_names() {
    for seed in seeds(2000, 10) {
        let History { place, expected, .. } = history(seed);
        let target = place.target("gnu");
        for (level, (folder, expected)) in place.stored_levels().iter().zip(&expected).enumerate() {
            extract(&folder.join("data"), "zstd", &target);
            let restored = Manifest::of(&target).unwrap();
            assert_equal(expected, &restored, &format!("GNU tar, seed {seed}, level {level}"));
        }
    }
}

/// Of a whole tree the part that is below `wanted`, with the directories above it.
fn part(whole: &Manifest, wanted: &[u8]) -> Manifest {
    let below = |path: &[u8], above: &[u8]| {
        above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let mut part = Manifest::default();
    let mut first_names: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, entry) in &whole.entries {
        if below(path, wanted) || below(wanted, path) {
            part.entries.insert(path.clone(), entry.clone());
            if let Some(first) = &entry.hard_link {
                first_names.entry(first.clone()).or_default().push(path.clone());
            }
        }
    }
    for names in first_names.values() {
        for name in names {
            let link = (names.len() > 1).then(|| names[0].clone());
            part.entries.get_mut(name).unwrap().hard_link = link;
        }
    }
    part
}

#[test]
fn a_part_of_a_shuffled_tree_is_that_part_of_the_whole() {
    for seed in seeds(3000, 12) {
        let History { place, ids, expected } = history(seed);
        let mut random = Random::new(seed);
        for number in 0..6 {
            let level = random.below(LEVELS as u64) as usize;
            let paths: Vec<&Vec<u8>> =
                expected[level].entries.keys().filter(|path| !path.is_empty()).collect();
            let Some(wanted) = random.choose(&paths) else { continue };
            let what = format!("seed {seed}, level {level}, {}", String::from_utf8_lossy(wanted));
            let target = format!("part-{number}");
            let path = String::from_utf8_lossy(wanted).into_owned();
            let outcome = place.restore(&target, &[&ids[level], "--include", &path]);
            assert_eq!(outcome.status, 0, "{what}: {outcome:?}");
            let restored = Manifest::of(&place.target(&target)).unwrap();
            assert_equal(&part(&expected[level], wanted), &restored, &what);
        }
    }
}

/// What a directory lost while it could not be read is lost when it can be read again.
#[test]
fn a_directory_that_could_not_be_read_for_a_while() {
    let place = Place::unprivileged();
    place.write(&[
        ("d/stays", "1"),
        ("d/goes", "2"),
        ("d/sub/goes", "3"),
        ("d/sub/too/goes", "4"),
        ("d/sub/stays", "5"),
        ("x", "6"),
    ]);
    place.backup(&["--incremental"]).expect(0);
    let mode = |mode| fs::set_permissions(place.source().join("d"), Permissions::from_mode(mode)).unwrap();
    mode(0);
    place.backup(&["--incremental"]).expect(3);
    mode(0o755);
    fs::remove_file(place.source().join("d/goes")).unwrap();
    fs::remove_dir_all(place.source().join("d/sub/too")).unwrap();
    fs::remove_file(place.source().join("d/sub/goes")).unwrap();
    place.backup(&["--incremental"]).expect(0);
    place.restore("t", &["latest"]).expect(0);
    let expected = Manifest::of(&place.source()).unwrap();
    assert_equal(&expected, &Manifest::of(&place.target("t")).unwrap(), "after a while");
}

/// GNU tar wrote the first level; ours above it rename, delete and replace what it has.
#[test]
fn shuffled_names_on_a_level_of_gnu_tar() {
    for seed in seeds(4000, 6) {
        eprintln!("seed {seed}");
        let place = Place::new();
        let mut tree = Shuffle::create(&place.source(), &place.path().join("aside"), seed).unwrap();
        gnu_level(&place, 0, None, Format::Posix);
        let target = place.target("gnu");
        extract(&place.stored_levels()[0].join("data"), "gzip", &target);
        for level in 1..4 {
            tree.step().unwrap();
            assert_eq!(place.increment()["level"], level);
            let expected = Manifest::of(&place.source()).unwrap();
            let restored = place.restored(&level.to_string(), "latest");
            assert_equal(&expected, &restored, &format!("seed {seed}, level {level}"));
            extract(&place.stored_levels()[level].join("data"), "zstd", &target);
            let what = format!("GNU tar, seed {seed}, level {level}");
            assert_equal(&expected, &Manifest::of(&target).unwrap(), &what);
        }
    }
}
