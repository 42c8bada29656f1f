//! Every storage that Freezer itself wrote is listed as what it is.

use super::*;
use std::path::{Path, PathBuf};

const ALPHA: &str = "alpha.example.org_nightly";

/// Case, container, engine, series, and the levels of each chain.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static [&'static [u32]]);

const CASES: [Case; 24] = [
    ("damaged-empty-data-l0", "", "tar", "h_n", &[&[0, 1, 2]]),
    ("damaged-flip-byte-l0", "", "tar", "h_n", &[&[0, 1, 2]]),
    ("damaged-missing-level1-metadata", "", "tar", "h_n", &[&[0, 2, 3]]),
    ("damaged-stray-folder", "", "tar", "h_n", &[&[0, 1, 2]]),
    ("damaged-truncated-l0", "", "tar", "h_n", &[&[0, 1, 2]]),
    ("incomplete-no-metadata", "", "tar", "h_n", &[]),
    ("patched-rsync-gzip-l2", "", "rsync", ALPHA, &[&[0, 1, 2]]),
    ("patched-rsyncv2-gzip-l2", "", "rsync", ALPHA, &[&[0, 1, 2]]),
    ("patched-s3-tar-gzip-l1", "frzs1/pre/fix", "tar", "alpha_nightly", &[&[0, 1]]),
    ("rsyncv2-gzip-l0", "", "rsync", ALPHA, &[&[0]]),
    ("s3-unpatched-failed-backup", "frzs2/x", "tar", ALPHA, &[]),
    ("ssh-tar-gzip-l1", "", "tar", "alpha_nightly", &[&[0, 1]]),
    ("swift-tar-gzip-l1", "frz_shared1/sub/dir", "tar", "alpha_nightly", &[&[0, 1]]),
    ("tar-bzip2-l1", "", "tar", ALPHA, &[&[0, 1]]),
    ("tar-enc-gzip-l0", "", "tar", ALPHA, &[&[0]]),
    ("tar-enc-gzip-l2", "", "tar", ALPHA, &[&[0, 1, 2]]),
    ("tar-gzip-deref-soft", "", "tar", ALPHA, &[&[0]]),
    ("tar-gzip-dirrename-l2", "", "tar", ALPHA, &[&[0, 1, 2]]),
    ("tar-gzip-exclude", "", "tar", ALPHA, &[&[0]]),
    ("tar-gzip-l0", "", "tar", ALPHA, &[&[0]]),
    ("tar-gzip-l2", "", "tar", ALPHA, &[&[0, 1, 2]]),
    ("tar-gzip-maxlevel1-x4", "", "tar", ALPHA, &[&[0, 1], &[0, 1]]),
    ("tar-gzip-single-file", "", "tar", ALPHA, &[&[0, 1]]),
    ("tar-xz-l0", "", "tar", ALPHA, &[&[0]]),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/freezer")
}

fn load(case: &str, container: &str) -> Shelf {
    let shelf = Shelf::load(&corpus().join(case).join("storage").join(container));
    if case == "damaged-stray-folder" {
        // Empty, so git does not keep it.
        shelf.add_folder("metadata/tar/h_n/lost+found");
    }
    shelf
}

#[test]
fn no_case_is_left_out() {
    let mut folders: Vec<String> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, CASES.map(|case| case.0));
}

#[test]
fn every_case_has_its_series_and_levels() {
    for (case, container, engine, name, levels) in CASES {
        let repository = Repository::open(load(case, container).handle()).unwrap();
        let listing = repository.series(None).unwrap();
        let name = BackupName::from_storage(name);
        let expected = Series { engine: engine.to_owned(), name: name.clone() };
        let expected = if levels.is_empty() { vec![] } else { vec![expected] };
        assert_eq!((listing.series, listing.strays.len()), (expected, 0), "{case}");

        let found = repository.chains(engine, &name).unwrap();
        let shown: Vec<Vec<u32>> = found
            .chains
            .iter()
            .map(|chain| chain.backups.iter().map(|backup| backup.level.number()).collect())
            .collect();
        assert_eq!(shown, levels, "{case}");
        let strays: &[&str] =
            if case == "damaged-stray-folder" { &["metadata/tar/h_n/lost+found"] } else { &[] };
        assert_eq!(found.strays, strays, "{case}");
    }
}

#[test]
fn documents_and_sizes_of_every_backup_are_understood() {
    for (case, container, engine, name, _) in CASES {
        let repository = Repository::open(load(case, container).handle()).unwrap();
        for chain in repository.chains(engine, &BackupName::from_storage(name)).unwrap().chains {
            let newest = chain.newest(None).unwrap();
            let path = repository.path(&chain, newest);
            if case == "damaged-missing-level1-metadata" {
                let error = path.unwrap_err();
                assert_eq!(error.kind(), Kind::Damaged);
                assert!(error.to_string().contains("level 1"), "{error}");
                continue;
            }
            let path = path.unwrap();
            assert_eq!(path.len() as u32, newest.level.number() + 1, "{case}");
            for step in &path {
                assert_eq!(step.document.engine_name, engine, "{case}");
                assert_eq!(step.document.encryption, case.starts_with("tar-enc"), "{case}");
                assert_eq!(step.document.rsync_block_size.is_some(), case.contains("rsyncv2"), "{case}");
            }
            // A dump of Swift holds manifests, whose length the server would give as that of all segments.
            let sizes = repository.verify_sizes(&path);
            let empty = case.starts_with("damaged-empty") || case.starts_with("swift");
            assert_eq!(sizes.err().map(|error| error.kind()), empty.then_some(Kind::Damaged), "{case}");
        }
    }
}

#[test]
fn what_a_failed_backup_left_is_an_orphan() {
    for (case, container, _, _, levels) in CASES {
        let repository = Repository::open(load(case, container).handle()).unwrap();
        let expected = match case {
            "incomplete-no-metadata" | "s3-unpatched-failed-backup" | "damaged-missing-level1-metadata" => 1,
            _ => 0,
        };
        let orphans = repository.orphans(None).unwrap();
        assert_eq!(orphans.len(), expected, "{case} {levels:?}");
        assert!(orphans.iter().all(|orphan| !orphan.claimed), "{case}");
    }
}

#[test]
fn strays_of_every_sort_are_told_once_and_passed_over() {
    let shelf = load("tar-gzip-l2", "");
    let chain = format!("metadata/tar/{ALPHA}/1795485744");
    let strays = [
        format!("metadata/tar/{ALPHA}/0001"),
        format!("metadata/tar/{ALPHA}/lost+found"),
        format!("metadata/tar/{ALPHA}/note"),
        format!("{chain}/01_5"),
        format!("{chain}/3_1795485760"),
        format!("{chain}/4_1795485770"),
        format!("{chain}/4_1795485770/other"),
        format!("{chain}/note"),
        format!("metadata/tar/{ALPHA}/1795485999"),
    ];
    for (stray, inside) in
        [(0, "/0_1/metadata"), (1, "/deep/er"), (2, ""), (3, "/metadata"), (6, ""), (7, "")]
    {
        shelf.set(&format!("{}{inside}", strays[stray]), b"x");
    }
    shelf.add_folder(&strays[4]);
    shelf.add_folder(&strays[8]);
    shelf.set("metadata/tar/readme", b"x");
    shelf.set("metadata/readme", b"x");

    let repository = Repository::open(shelf.handle()).unwrap();
    let listing = repository.series(None).unwrap();
    assert_eq!(listing.series.len(), 1);
    assert_eq!(listing.strays, ["metadata/readme", "metadata/tar/readme"]);
    let found = repository.chains("tar", &BackupName::from_storage(ALPHA)).unwrap();
    assert_eq!((found.chains.len(), found.chains[0].backups.len()), (1, 3));
    let mut expected = strays.to_vec();
    expected.sort();
    assert_eq!(found.strays, expected);
}
