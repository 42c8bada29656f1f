//! Targets that hold something already.

use super::*;
use std::fs;

#[test]
fn strangers_go_only_when_that_is_asked_for_and_only_from_what_is_restored() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let strangers = || {
        fs::create_dir_all(at("a/deep/stranger/below")).unwrap();
        fs::create_dir_all(at("b")).unwrap();
        fs::write(at("a/deep/stranger/below/x"), "x").unwrap();
        fs::write(at("a/.icecore-1-2.tmp"), "left by a killed run").unwrap();
        fs::write(at("b/stranger"), "x").unwrap();
    };
    strangers();
    // A directory where the backup has a file, and the other way round.
    fs::create_dir_all(at("a/f00/full")).unwrap();
    let (part, all) = (paths(&["a"]), paths(&[]));
    let run = |include: &Wanted, delete| {
        let plan = Plan { delete, overwrite: Some(Overwrite::Always), ..backup.plan(include) };
        backup.restore_with(&root, folder.path(), plan, 2, SMALL, &Events::default()).unwrap();
    };
    run(&part, false);
    assert!(at("a/deep/stranger/below/x").exists() && at("a/f00").is_file());
    run(&part, true);
    assert!(!at("a/deep/stranger").exists() && !at("a/.icecore-1-2.tmp").exists());
    assert!(at("b/stranger").exists(), "it is not in what was restored");
    fs::remove_file(at("a/deep/g01")).unwrap();
    fs::set_permissions(at("b"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    strangers();
    fs::write(at("stranger"), "x").unwrap();
    run(&all, true);
    backup.assert_restored(&snapshot(folder.path()));
}

#[test]
fn nothing_is_removed_in_a_directory_that_could_not_be_read() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let kind = FileKind::Directory;
    backup.entry("unread", Entry { kind, mode: 0o755, whole: false, ..file(Content::None) });
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    for path in ["unread", "a"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
        fs::write(folder.path().join(path).join("there"), "x").unwrap();
    }
    let all = paths(&[]);
    let plan = Plan { delete: true, overwrite: Some(Overwrite::Always), ..backup.plan(&all) };
    backup.restore_with(&root, folder.path(), plan, 2, SMALL, &Events::default()).unwrap();
    assert!(folder.path().join("unread/there").exists() && !folder.path().join("a/there").exists());
}

#[test]
fn a_file_in_place_of_a_directory_gives_way() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a file").unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("b")).unwrap();
    backup
        .restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, SMALL, &Events::default())
        .unwrap();
    backup.assert_restored(&snapshot(folder.path()));
}

#[test]
fn what_is_there_already_stays_and_what_differs_is_written_anew() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let all = paths(&[]);
    let plan = Plan { overwrite: Some(Overwrite::Always), ..backup.plan(&all) };
    let run = || {
        let events = Events::default();
        backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap();
        assert_eq!(events.entries(), backup.names_of_entries());
        backup.assert_restored(&snapshot(folder.path()));
    };
    run();
    let inode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().ino();
    let paths = ["a/f01", "a/f02", "a/deep/g33", "b/large", "large", "a/x", "a/y"];
    let before = paths.map(inode);
    run();
    assert_eq!(paths.map(inode), before);

    // Other bytes, and everything else the same.
    let change = |path: &str, at: usize| {
        let place = folder.path().join(path);
        let metadata = fs::metadata(&place).unwrap();
        let mut bytes = fs::read(&place).unwrap();
        bytes[at] ^= 1;
        fs::write(&place, bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&place)
            .unwrap()
            .set_modified(metadata.modified().unwrap())
            .unwrap();
    };
    change("a/f02", 3);
    change("large", 30_000);
    // Another name must not change with it.
    fs::hard_link(folder.path().join("a/f01"), folder.path().join("a/other name")).unwrap();
    let events = Events::default();
    backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap();
    assert_ne!(inode("a/f01"), inode("a/other name"));
    fs::remove_file(folder.path().join("a/other name")).unwrap();
    fs::File::open(folder.path().join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    run();
    let after = paths.map(inode);
    assert!(after[1] != before[1] && after[4] != before[4], "what was changed was not written anew");
    assert!(after[2] == before[2] && after[3] == before[3] && after[5..] == before[5..]);
}

#[test]
fn a_chunk_that_a_file_has_many_times_is_fetched_once_for_it() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    let (chunk, other) = (vec![1; 5000], vec![2; 4000]);
    backup.large("f", &[vec![chunk.clone(); 30], vec![other], vec![chunk; 30]].concat(), &[]);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let all = paths(&[]);
    let plan = Plan { overwrite: Some(Overwrite::Always), ..backup.plan(&all) };
    for bounds in [BOUNDS, SMALL] {
        // Of the old file only a chunk in the middle is right.
        let old = [vec![3; 5000 * 30], vec![2; 4000], vec![3; 99]].concat();
        fs::write(folder.path().join("f"), old).unwrap();
        let events = Events::default();
        backup.restore_with(&root, folder.path(), plan, 2, bounds, &events).unwrap();
        backup.assert_restored(&snapshot(folder.path()));
        let times = if bounds.window_chunks == BOUNDS.window_chunks { 1 } else { 13 };
        assert!(events.stored() <= times * 5100, "{} bytes", events.stored());
    }
}

#[test]
fn a_file_with_holes_takes_over_what_is_the_same_and_keeps_its_holes() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let all = paths(&[]);
    let plan = Plan { overwrite: Some(Overwrite::Always), ..backup.plan(&all) };
    backup.restore_with(&root, folder.path(), plan, 2, SMALL, &Events::default()).unwrap();
    let path = folder.path().join("sparse");
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    let change = |at: u64| {
        use std::os::unix::fs::FileExt;
        fs::File::options().write(true).open(&path).unwrap().write_all_at(b"!", at).unwrap();
    };
    // In a hole: nothing is fetched, but a new file is made. In its data: one chunk is fetched.
    for (at, fetched) in [(500, 0..1), ((1 << 20) + 10, 1000..1200)] {
        change(at);
        let events = Events::default();
        backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap();
        assert!(fetched.contains(&events.stored()), "{at}: {} bytes", events.stored());
        backup.assert_restored(&snapshot(folder.path()));
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20, "the holes were filled");
    }
    let after = inode();
    assert_ne!(before, after);
    let events = Events::default();
    backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap();
    assert_eq!((events.stored(), inode()), (0, after));
}

#[test]
fn a_directory_that_holds_what_is_excluded_does_not_give_way_to_anything() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let mut linked = backup.small_entry(b"shared");
    linked.inode = 77;
    linked.names = Some(Names { device: 0, links: 2 });
    backup.entry("first", linked.clone());
    backup.entry("second", linked);
    let root = backup.finish();
    let wanted = Wanted::new(Vec::new(), Vec::new(), &["*.o".to_owned()]).unwrap();
    let blocked = ["a/f00", "fifo", "large", "link", "nothing", "second"];
    for delete in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in blocked {
            fs::create_dir_all(at(path).join("deep/er")).unwrap();
            fs::write(at(path).join("deep/er/keep.o"), path).unwrap();
            fs::write(at(path).join("other"), path).unwrap();
        }
        // Nothing in this one is excluded.
        fs::create_dir_all(at("a/f01/deep")).unwrap();
        fs::write(at("a/f01/deep/other"), "other").unwrap();
        let events = Events::default();
        let plan = Plan { delete, overwrite: Some(Overwrite::Always), ..backup.plan(&wanted) };
        backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap_err();
        assert_eq!(events.lost(), blocked, "delete: {delete}");
        for path in blocked {
            assert_eq!(fs::read(at(path).join("deep/er/keep.o")).unwrap(), path.as_bytes());
            assert_eq!(fs::read(at(path).join("other")).unwrap(), path.as_bytes());
            assert_eq!(fs::read_dir(at(path)).unwrap().count(), 2);
        }
        assert_eq!(fs::read(at("a/f01")).unwrap(), b"content of 1");
        let left = snapshot(folder.path()).into_keys().filter(|path| path.contains(".tmp")).count();
        assert_eq!(left, 0, "an unfinished entry is left");
    }
}

#[test]
fn trouble_with_one_name_of_a_file_costs_no_other_name() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    let mut linked = backup.small_entry(b"shared");
    linked.inode = 77;
    linked.names = Some(Names { device: 0, links: 4 });
    // No file system has such names: they cannot even be looked at.
    let (first, middle) = ("a".repeat(300), "c".repeat(300));
    for path in [&first, "b", &middle, "d"] {
        backup.entry(path, linked.clone());
    }
    let root = backup.finish();
    let (folder, events, all) = (tempfile::tempdir().unwrap(), Events::default(), paths(&[]));
    let plan = Plan { overwrite: Some(Overwrite::Always), ..backup.plan(&all) };
    backup.restore_with(&root, folder.path(), plan, 2, SMALL, &events).unwrap_err();
    assert_eq!(events.lost(), [first, middle]);
    assert_eq!(events.entries(), ["b", "d"]);
    let inode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().ino();
    assert_eq!(inode("b"), inode("d"));
}
