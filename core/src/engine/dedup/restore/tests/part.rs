//! Parts of a backup.

use super::*;

fn restored(backup: &Backup, root: &ChunkId, include: &[&str]) -> (Vec<String>, Vec<String>) {
    let include = paths(include);
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    backup.restore_with(root, folder.path(), backup.plan(&include), 2, SMALL, &events).unwrap();
    let found = snapshot(folder.path());
    backup.assert_part_of(&found);
    (found.into_keys().filter(|path| !path.is_empty()).collect(), events.entries())
}

#[test]
fn a_part_is_all_of_a_directory_or_one_file_and_the_way_to_it() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let (found, told) = restored(&backup, &root, &["a/deep/g07", "b/empty", "link"]);
    assert_eq!(found, ["a", "a/deep", "a/deep/g07", "b", "b/empty", "link"]);
    assert_eq!(told, ["a/deep/g07", "b/empty", "link"]);
    let (found, _) = restored(&backup, &root, &["a/deep", "a/deep/g03"]);
    assert_eq!(found.len(), 62);
    let (all, _) = restored(&backup, &root, &["b", ""]);
    assert_eq!(all.len(), backup.names_of_entries().len() + 3);
}

#[test]
fn directories_above_a_part_are_as_they_were() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let include = paths(&["b/empty"]);
    backup.restore_with(&root, folder.path(), backup.plan(&include), 1, BOUNDS, &Events::default()).unwrap();
    let found = snapshot(folder.path());
    assert_eq!((found["b"].mode, found["b"].mtime), (0o555, file(Content::None).mtime));
}

#[test]
fn what_the_backup_does_not_have_is_told_before_anything_is_written() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let folder = tempfile::tempdir().unwrap();
    let include = paths(&["a", "a/never", "b/empty/x"]);
    let error = backup
        .restore_with(&root, folder.path(), backup.plan(&include), 1, BOUNDS, &Events::default())
        .expect_err("two paths are not there");
    assert_eq!((error.kind(), error.subject()), (Kind::NotFound, "a/never, b/empty/x"));
    assert_eq!(snapshot(folder.path()).len(), 1);
}
