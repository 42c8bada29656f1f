//! What somebody who can read the storage learns: that there is a repository, how many objects it has, and how large they are,
//! roughly. No name, no path, no content, no host, no tag, no length of a file.

use super::{PASSWORD, init, objects, run};
use crate::place::Place;
use icecore_testkit::random::Random;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// Words that stand in names and contents, and nowhere else in the world.
const WORDS: [&str; 12] = [
    "telling-directory",
    "telling-file",
    "telling-target",
    "telling-attribute",
    "telling-value",
    "telling-content",
    "telling-large",
    "telling-host",
    "telling-name",
    "telling-tag",
    "telling-label",
    "correct horse",
];

/// Lengths of files: multiples of what objects are padded to, where a length would show best.
const LENGTHS: [usize; 6] = [128 << 10, 256 << 10, 500 << 10, 640 << 10, 1 << 20, 3 << 20];

/// Fills the source; gives pieces of the contents that cannot be compressed.
fn fill(place: &Place) -> Vec<Vec<u8>> {
    let mut random = Random::new(77);
    let directory = place.source().join("telling-directory");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("telling-file"), "telling-content\n".repeat(50)).unwrap();
    fs::write(directory.join("short"), "telling-content").unwrap();
    std::os::unix::fs::symlink("telling-target", directory.join("link")).unwrap();
    icecore_testkit::tree::attributes::set_xattr(
        &directory.join("short"),
        "user.telling-attribute",
        b"telling-value",
    )
    .unwrap();
    let mut pieces = Vec::new();
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let bytes = random.bytes(length);
        for at in [0, length / 3, length - 24] {
            pieces.push(bytes[at..at + 24].to_vec());
        }
        fs::write(directory.join(format!("telling-large-{number}")), bytes).unwrap();
    }
    place.settle();
    pieces
}

fn back_up(place: &Place) {
    let mut arguments: Vec<OsString> = [
        "backup",
        "--host",
        "telling-host",
        "--name",
        "telling-name",
        "--tag",
        "telling-tag",
        "--json",
        "-r",
    ]
    .map(OsString::from)
    .into();
    arguments.extend([place.repository().into(), place.source().into()]);
    run(place.program.command(&arguments)).expect(0);
}

/// Everything in the repository's folder that is a file.
fn files(place: &Place) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![place.repository()]);
    while let Some(path) = todo.pop() {
        match path.is_dir() {
            true => todo.extend(crate::place::entries(&path)),
            false => found.push(path),
        }
    }
    found
}

/// A repository with two backups, a removal, and two keys; and what must not be seen in it.
fn scene() -> (Place, Vec<Vec<u8>>) {
    let place = Place::new();
    init(&place, &[]).expect(0);
    let mut secrets = fill(&place);
    back_up(&place);
    fs::write(place.source().join("telling-directory/short"), "telling-content, and more").unwrap();
    place.settle();
    back_up(&place);
    let repository = place.repository();
    let repository = repository.to_str().unwrap();
    let password = place.path().join("password");
    fs::write(&password, "telling-label").unwrap();
    let add = ["key", "add", "-r", repository, "--label", "telling-label", "--new-password-file"];
    run(place.program.command(&[&add[..], &[password.to_str().unwrap()]].concat())).expect(0);
    run(place.program.command(&["forget", "-r", repository, "--keep-last", "1", "--json"])).expect(0);
    assert_eq!(objects(&place, "removals").len(), 1);
    secrets.extend(WORDS.iter().map(|word| word.as_bytes().to_vec()));
    assert_eq!(WORDS[11], PASSWORD);
    // Paths as they were given.
    secrets.push(place.source().to_str().unwrap().as_bytes().to_vec());
    (place, secrets)
}

#[test]
fn no_object_shows_a_name_or_a_content() {
    let (place, secrets) = scene();
    let heads: HashSet<[u8; 4]> = secrets.iter().map(|secret| secret[..4].try_into().unwrap()).collect();
    for file in files(&place) {
        let bytes = fs::read(&file).unwrap();
        for (at, window) in bytes.windows(4).enumerate() {
            if heads.contains(window) {
                let found = secrets.iter().find(|secret| bytes[at..].starts_with(secret));
                let shown = found.map(|secret| String::from_utf8_lossy(secret).into_owned());
                assert_eq!(shown, None, "in {}", file.display());
            }
        }
        let name = file.strip_prefix(place.repository()).unwrap().to_str().unwrap();
        assert!(!WORDS.iter().any(|word| name.contains(word)), "{name}");
        // Nor the number of the machine's user, a time, or anything else that could be put there: names are ids.
        let last = name.rsplit('/').next().unwrap();
        let is_id = last.len() == 64 && last.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(is_id || ["icecore", "dedup/config"].contains(&name), "{name}");
        if name.starts_with("dedup/packs/") {
            assert_eq!(name.split('/').nth(2), Some(&last[..2]));
        }
    }
}

#[test]
fn lengths_of_objects_are_rounded_and_no_lengths_of_files() {
    let (place, _) = scene();
    let length = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let mut count = 0;
    for (folder, base, multiple) in [
        ("config", 96, 96),
        ("keys", 192, 256),
        ("packs", 0, 4096),
        ("index", 0, 1024),
        ("snapshots", 0, 1024),
        ("removals", 0, 1024),
    ] {
        for object in objects(&place, folder) {
            count += 1;
            let length = length(&object);
            assert!(length > base || folder == "config");
            assert_eq!((length - base) % multiple, 0, "{length} bytes: {}", object.display());
            let is_of_a_file = LENGTHS.contains(&(length as usize));
            assert!(!is_of_a_file, "{length} bytes, as a file has: {}", object.display());
        }
    }
    assert_eq!(count + 1, files(&place).len(), "every object was looked at, and the mark of a repository");
    // How many files there are does not show in the number of packs.
    let contents = objects(&place, "packs").into_iter().filter(|path| fs::read(path).unwrap()[9] == 2);
    assert!(contents.count() <= 2);
}

/// Equal data under an equal password: nothing tells that it is equal.
#[test]
fn two_repositories_with_the_same_data_have_nothing_in_common() {
    let ((one, _), (two, _)) = (scene(), scene());
    let names = |place: &Place| -> HashSet<OsString> {
        let ids = files(place).into_iter().map(|path| path.file_name().unwrap().to_owned());
        ids.filter(|name| name.len() == 64).collect()
    };
    assert!(names(&one).is_disjoint(&names(&two)));
    // Behind the header, no 16 bytes are in both. Zeros stand in headers alone.
    let blocks = |place: &Place| -> HashSet<[u8; 16]> {
        let mut found = HashSet::new();
        for object in objects(place, "packs").into_iter().chain(objects(place, "snapshots")) {
            let bytes = fs::read(object).unwrap();
            found.extend(bytes[128..].chunks_exact(16).map(|block| <[u8; 16]>::try_from(block).unwrap()));
        }
        found
    };
    assert!(blocks(&one).is_disjoint(&blocks(&two)));
}
