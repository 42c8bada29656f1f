//! Restores from a real repository in memory: every kind of entry, parts, links, damage, and several windows and workers.

mod damage;
pub(super) mod fixture;
mod part;
mod target;
mod verify;

use super::*;
use crate::engine::dedup::tree::{Content, Entry, Hole, Kept, Names};
use crate::error::Kind;
use crate::tree::attributes::FileKind;
use fixture::{Backup, Events, SMALL, bounds, file, paths, snapshot};
use std::os::unix::fs::MetadataExt;

/// A backup with one of everything.
fn everything(backup: &mut Backup) {
    backup.directory("", 0o755);
    backup.directory("a", 0o750);
    backup.directory("a/deep", 0o700);
    backup.directory("b", 0o555);
    for number in 0..60 {
        backup.small(&format!("a/f{number:02}"), format!("content of {number}").as_bytes());
        backup.small(&format!("a/deep/g{number:02}"), &vec![number as u8; number * 10]);
    }
    backup.small("b/empty", b"");
    let rows: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; 1000 + usize::from(number)]).collect();
    backup.large("b/large", &rows, &[]);
    // The same chunks in another order, some of them twice.
    let shuffled: Vec<Vec<u8>> = (0..50).map(|index| rows[index * 7 % 40].clone()).collect();
    backup.large("large", &shuffled, &[]);
    let holes = [
        Hole { data_before: 0, length: 1 << 20 },
        Hole { data_before: 1500, length: 1 << 20 },
        Hole { data_before: 3000, length: 1 << 20 },
    ];
    backup.large("sparse", &rows[..5], &holes);
    let hole = Kept::Here(vec![Hole { data_before: 0, length: 123_456 }]);
    backup.entry("nothing", Entry { size_bytes: 123_456, holes: hole, ..file(Content::None) });
    let link = Entry { kind: FileKind::Symlink, target: b"../else/where".to_vec(), ..file(Content::None) };
    backup.entry("link", link);
    backup.entry("fifo", Entry { kind: FileKind::Fifo, ..file(Content::None) });
    let xattrs = Kept::Here(vec![(b"user.x".to_vec(), b"1".to_vec())]);
    let mut entry = backup.small_entry(b"with attributes");
    entry.xattrs = xattrs;
    backup.entry("a/x", entry);
    let mut entry = backup.small_entry(b"with long attributes");
    entry.xattrs = backup.xattr_elsewhere(b"user.long", &[7; 100]);
    backup.entry("a/y", entry);
}

#[test]
fn everything_comes_back_whatever_the_number_of_workers_and_windows() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let mut first = None;
    for (workers, bounds) in [(1, BOUNDS), (1, SMALL), (2, SMALL), (4, SMALL), (4, BOUNDS)] {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::default();
        backup
            .restore_with(&root, folder.path(), backup.plan(&paths(&[])), workers, bounds, &events)
            .unwrap();
        assert_eq!((events.lost(), events.problems()), (vec![], vec![]), "{workers} workers");
        let found = snapshot(folder.path());
        backup.assert_restored(&found);
        assert_eq!(events.entries(), backup.names_of_entries());
        assert_eq!(events.bytes(), backup.bytes());
        assert_eq!(*first.get_or_insert_with(|| found.clone()), found);
        let long = std::fs::File::open(folder.path().join("a/y")).unwrap();
        let xattrs = crate::tree::xattr::read_file(&long).unwrap();
        assert!(xattrs.contains(&(b"user.long".to_vec(), vec![7; 100])), "{xattrs:?}");
        let sparse = std::fs::metadata(folder.path().join("sparse")).unwrap();
        assert!(sparse.blocks() * 512 < 1 << 20, "the holes were filled");
    }
}

#[test]
fn hard_links_are_links_again_across_windows() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    backup.directory("a", 0o755);
    backup.directory("z", 0o755);
    let mut linked = backup.small_entry(b"shared");
    linked.inode = 77;
    linked.names = Some(Names { device: 0, links: 3 });
    for path in ["a/first", "z/second", "z/third"] {
        backup.entry(path, linked.clone());
    }
    for number in 0..20 {
        backup.small(&format!("m{number}"), format!("{number}").as_bytes());
    }
    // The number of the inode was given to another file meanwhile.
    let mut other = backup.small_entry(b"another");
    other.inode = 77;
    other.names = linked.names;
    backup.entry("z/another", other);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    backup
        .restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, SMALL, &Events::default())
        .unwrap();
    backup.assert_restored(&snapshot(folder.path()));
    let inode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().ino();
    assert!(inode("a/first") == inode("z/second") && inode("a/first") == inode("z/third"));
    assert_ne!(inode("a/first"), inode("z/another"));

    // Without the first, the next one gets the content.
    let folder = tempfile::tempdir().unwrap();
    let plan = paths(&["z"]);
    backup.restore_with(&root, folder.path(), backup.plan(&plan), 2, SMALL, &Events::default()).unwrap();
    let inode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().ino();
    assert_eq!(inode("z/second"), inode("z/third"));
    assert_eq!(std::fs::read(folder.path().join("z/third")).unwrap(), b"shared");
    assert!(!folder.path().join("a").exists());
}

#[test]
fn a_chunk_that_many_files_want_is_fetched_once() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    let bundle: Vec<u8> = (0..20_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let chunk = backup.put(&bundle);
    for number in 0..500_u64 {
        let size_bytes = 100;
        let content = Content::Slice { chunk, offset: number * 100 };
        let from = (number * 100) as usize;
        backup.expect(&format!("f{number}"), &bundle[from..from + 100]);
        backup.entry(&format!("f{number}"), Entry { size_bytes, ..file(content) });
    }
    let root = backup.finish();
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    backup.restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, BOUNDS, &events).unwrap();
    backup.assert_restored(&snapshot(folder.path()));
    assert!(events.stored() <= bundle.len() as u64 + 64, "{}", events.stored());
}

#[test]
fn a_dry_run_reads_everything_or_only_counts() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    for read_data in [true, false] {
        let events = Events::default();
        let all = paths(&[]);
        let plan = Plan { read_data, ..backup.plan(&all) };
        backup.read_with(&root, plan, SMALL, &events).unwrap();
        assert_eq!(events.entries(), backup.names_of_entries());
        assert_eq!(events.bytes(), backup.bytes());
        assert_eq!(events.stored() > 0, read_data);
    }
}

#[test]
fn a_run_that_is_told_to_stop_leaves_nothing_unfinished() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    for after in [0, 1, 10, 50, 100] {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::stopping_after(after);
        let error = backup
            .restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, SMALL, &events)
            .expect_err("it was told to stop");
        assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        backup.assert_part_of(&snapshot(folder.path()));
    }
}

#[test]
fn the_windows_of_the_tests_are_smaller_than_the_real_ones() {
    assert!(bounds(3).window_entries < BOUNDS.window_entries);
}
