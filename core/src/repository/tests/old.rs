//! What Freezer 1 and 2 stored is listed and read as if it were in the present layout, and never changed. No such storage of theirs is
//! left: these are made of the names that the description of the layout gives.

use super::*;
use crate::error::Kind;

const ALPHA: &str = "alpha.example.org_nightly";

/// Names and contents of a chain of three levels, as a storage with folders has it.
fn in_folders() -> Vec<(String, Vec<u8>)> {
    let mut objects = Vec::new();
    for (level, time, head) in
        [(0, 1000, &b"\x1f\x8b\x08rest"[..]), (1, 1010, b"BZh9rest"), (2, 1020, b"\xfd7zXZ\0rest")]
    {
        objects.push((format!("{ALPHA}/1000/{ALPHA}_{time}_{level}"), head.to_vec()));
        objects.push((format!("{ALPHA}/1000/tar_metadata_{ALPHA}_{time}_{level}"), b"snapshot".to_vec()));
    }
    objects
}

fn shelf_of(objects: &[(String, Vec<u8>)]) -> Shelf {
    let shelf = Shelf::default();
    objects.iter().for_each(|(name, bytes)| shelf.set(name, bytes));
    shelf
}

fn chains_of(repository: &Repository) -> Vec<(i64, Vec<(u32, i64)>)> {
    let found = repository.chains("tar", &BackupName::from_storage(ALPHA)).unwrap();
    assert_eq!(found.strays, Vec::<String>::new());
    let entries = |chain: &Chain| {
        chain.backups.iter().map(|backup| (backup.level.number(), backup.timestamp.0)).collect()
    };
    found.chains.iter().map(|chain| (chain.start.0, entries(chain))).collect()
}

#[test]
fn a_chain_in_folders_is_listed_and_read() {
    let mut objects = in_folders();
    // What is none of it.
    objects.push((format!("{ALPHA}/1000/other_1000_0"), b"x".to_vec()));
    objects.push((format!("{ALPHA}/notes/{ALPHA}_1000_0"), b"x".to_vec()));
    objects.push(("photos_2020/1000/photo".to_owned(), b"x".to_vec()));
    let repository = Repository::open(shelf_of(&objects).handle()).unwrap();
    assert_eq!(chains_of(&repository), [(1000, vec![(0, 1000), (1, 1010), (2, 1020)])]);
    assert_eq!(repository.series(None).unwrap().series.len(), 1);
    let chain = repository.chains("tar", &BackupName::from_storage(ALPHA)).unwrap().chains.remove(0);
    assert!(repository.is_old(&chain));
    let path = repository.path(&chain, entry(2, 1020)).unwrap();
    let compressions: Vec<_> = path.iter().filter_map(|step| step.document.compression.as_deref()).collect();
    assert_eq!(compressions, ["gzip", "bzip2", "xz"]);
    repository.verify_sizes(&path).unwrap();
    let mut reader = repository.data_reader(&path[1]).unwrap();
    assert_eq!(reader.next_block().unwrap().unwrap(), b"BZh9rest");
    let mut snapshot = Vec::new();
    let mut spool = repository.read_engine_metadata(&path[1], &Scratch::new(std::env::temp_dir())).unwrap();
    spool.read_to_end(&mut snapshot).unwrap();
    assert_eq!(snapshot, b"snapshot");
}

#[test]
fn objects_side_by_side_belong_to_the_full_backup_before_them() {
    let mut objects = Vec::new();
    for (level, time) in [(0, 1000), (1, 1010), (0, 2000), (1, 2010), (2, 2020)] {
        objects.push((format!("{ALPHA}_{time}_{level}"), b"Salted__x".to_vec()));
        objects.push((format!("tar_metadata_{ALPHA}_{time}_{level}"), b"s".to_vec()));
    }
    objects.push((format!("{ALPHA}_3000_0"), b"without its snapshot file".to_vec()));
    let repository = Repository::open(shelf_of(&objects).handle()).unwrap();
    let expected = [(1000, vec![(0, 1000), (1, 1010)]), (2000, vec![(0, 2000), (1, 2010), (2, 2020)])];
    assert_eq!(chains_of(&repository), expected);
    let chain = repository.chains("tar", &BackupName::from_storage(ALPHA)).unwrap().chains.remove(0);
    // What is under the encryption nobody knows yet.
    let document = repository.step(chain.location(entry(0, 1000))).unwrap().document;
    assert_eq!((document.encryption, document.compression), (true, None));
}

#[test]
fn a_marker_put_beside_them_hides_nothing_and_they_are_not_changed() {
    let shelf = shelf_of(&in_folders());
    let names = shelf.names();
    let made = repository(&shelf);
    for repository in [made, Repository::open(shelf.handle()).unwrap()] {
        assert_eq!(chains_of(&repository).len(), 1);
        let chain = repository.chains("tar", &BackupName::from_storage(ALPHA)).unwrap().chains.remove(0);
        assert_eq!(repository.remove_chain(&chain).unwrap_err().kind(), Kind::Unsupported);
        let location = chain.location(entry(3, 1030));
        for name in [location.data(), location.claim(), location.metadata()] {
            let put = repository.storage().put(&name.unwrap(), b"x", crate::storage::PutMode::Replace);
            assert_eq!(put.unwrap_err().kind(), Kind::Unsupported);
        }
        assert_eq!(repository.orphans(None).unwrap().len(), 0);
    }
    let left: Vec<String> = shelf.names().into_iter().filter(|name| name != "icecore").collect();
    assert_eq!(left, names);
    // A place without such chains gets the marker that it always got.
    let empty = Shelf::default();
    repository(&empty);
    assert!(!String::from_utf8(empty.take("icecore")).unwrap().contains("freezer_2"));
}

#[test]
fn a_place_with_nothing_of_the_sort_is_no_repository() {
    let shelf = shelf_of(&[
        ("some_folder/1000/file".to_owned(), b"x".to_vec()),
        ("a_1000_0".to_owned(), b"x".to_vec()),
    ]);
    assert_eq!(Repository::open(shelf.handle()).unwrap_err().kind(), Kind::NoRepository);
}
