//! What is missing or damaged: it is told by name, nothing of it is left, and the rest comes back.

use super::*;
use crate::name::ObjectName;
use crate::storage::{Depth, Listed, PutMode, Storage};

/// The packs of a repository, the largest first.
fn packs(backup: &Backup) -> Vec<ObjectName> {
    let mut packs = Vec::new();
    backup
        .storage
        .list(None, Depth::All, &mut |row| {
            if let Listed::Object { name, size_bytes } = row
                && name.as_str().contains("/packs/")
            {
                packs.push((size_bytes, name));
            }
            Ok(())
        })
        .unwrap();
    packs.sort_by_key(|pack| std::cmp::Reverse(pack.0));
    packs.into_iter().map(|(_, name)| name).collect()
}

/// The pack with the content: its header says which sort it is.
fn content_pack(backup: &Backup) -> (ObjectName, Vec<u8>) {
    packs(backup)
        .into_iter()
        .map(|name| {
            let bytes = backup.storage.read(&name, 0, usize::MAX).unwrap();
            (name, bytes)
        })
        .find(|(_, bytes)| bytes[9] == 2)
        .expect("there is a pack with content")
}

#[test]
fn a_file_whose_chunk_is_missing_is_named_and_the_others_come_back() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let missing = backup.vault.keys().chunk_id(crate::repository::vault::ChunkKind::Content, b"never stored");
    let slice = Content::Slice { chunk: missing, offset: 0 };
    backup.entry("a/gone", Entry { size_bytes: 5, ..file(slice.clone()) });
    let there = backup.put(&[1; 700]);
    let rows = vec![(there, 700), (missing, 12), (there, 700)];
    backup.entry("b/gone", Entry { size_bytes: 1412, ..file(Content::Rows { depth: 0, rows }) });
    let linked = Entry { size_bytes: 5, inode: 9, names: Some(Names { device: 0, links: 2 }), ..file(slice) };
    backup.entry("lost1", linked.clone());
    backup.entry("lost2", linked);
    let root = backup.finish();
    for bounds in [SMALL, BOUNDS] {
        let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
        // What a link must never be made to.
        std::fs::write(folder.path().join("lost1"), "older").unwrap();
        let error = backup
            .restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, bounds, &events)
            .expect_err("something is missing");
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.to_string().contains("4 entries"), "{error}");
        assert_eq!(events.lost(), ["a/gone", "b/gone", "lost1", "lost2"]);
        assert_eq!(std::fs::read(folder.path().join("lost1")).unwrap(), b"older");
        std::fs::remove_file(folder.path().join("lost1")).unwrap();
        let absent = backup.assert_part_of(&snapshot(folder.path()));
        assert_eq!(absent, ["a/gone", "b/gone", "lost1", "lost2"]);
    }
}

#[test]
fn a_changed_byte_loses_only_what_it_is_in() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let (name, whole) = content_pack(&backup);
    let mut lost = 0;
    for at in (128..whole.len() - 4096).step_by(whole.len() / 23) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        backup.storage.put(&name, &bytes, PutMode::Replace).unwrap();
        let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
        let done = backup.restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, SMALL, &events);
        let absent = backup.assert_part_of(&snapshot(folder.path()));
        assert_eq!(absent, events.lost(), "at {at}");
        assert_eq!(done.is_err(), !absent.is_empty(), "at {at}");
        assert!(absent.len() <= 3, "{absent:?}");
        lost += absent.len();
        let dry = Events::default();
        assert_eq!(backup.read_with(&root, backup.plan(&paths(&[])), SMALL, &dry).is_err(), done.is_err());
        assert_eq!(dry.lost(), absent, "a dry run finds what a restore does");
    }
    assert!(lost > 0);
}

#[test]
fn of_a_pack_that_is_cut_short_the_rest_comes_back() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let (name, whole) = content_pack(&backup);
    backup.storage.put(&name, &whole[..whole.len() / 2], PutMode::Replace).unwrap();
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    let error = backup
        .restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, BOUNDS, &events)
        .expect_err("half of it is gone");
    assert_eq!(error.kind(), Kind::Damaged);
    let absent = backup.assert_part_of(&snapshot(folder.path()));
    assert_eq!(absent, events.lost());
    assert!(events.entries().len() > 20 && !absent.is_empty());

    backup.storage.delete(&name).unwrap();
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    let gone = backup.restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, SMALL, &events);
    assert_eq!(gone.expect_err("all content is gone").kind(), Kind::Damaged);
    let absent = backup.assert_part_of(&snapshot(folder.path()));
    assert_eq!(absent, events.lost());
    assert!(folder.path().join("b/empty").exists() && folder.path().join("nothing").exists());
}

#[test]
fn entries_that_contradict_their_chunks_are_lost() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    let chunk = backup.put(&[3; 1000]);
    let slice = |offset| Content::Slice { chunk, offset };
    backup.entry("outside", Entry { size_bytes: 10, ..file(slice(991)) });
    backup.entry("far outside", Entry { size_bytes: 10, ..file(slice(1 << 20)) });
    backup.expect("inside", &[3; 10]);
    backup.entry("inside", Entry { size_bytes: 10, ..file(slice(990)) });
    let rows = vec![(chunk, 999)];
    backup.entry("rows", Entry { size_bytes: 999, ..file(Content::Rows { depth: 0, rows }) });
    let root = backup.finish();
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    let done = backup.restore_with(&root, folder.path(), backup.plan(&paths(&[])), 2, BOUNDS, &events);
    assert_eq!(done.expect_err("three files are lost").kind(), Kind::Damaged);
    assert_eq!(events.lost(), ["far outside", "outside", "rows"]);
    assert_eq!(backup.assert_part_of(&snapshot(folder.path())), ["far outside", "outside", "rows"]);
}

#[test]
fn a_broken_node_loses_what_is_in_it_and_nothing_behind_it() {
    let mut backup = Backup::new();
    everything(&mut backup);
    backup.directory("many", 0o755);
    for number in 0..2500 {
        backup.small(&format!("many/{number:04}"), &[number as u8]);
    }
    let whole = backup.finish();
    let (broken, lost) = backup.without_a_node(&whole);
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    std::fs::create_dir(folder.path().join("many")).unwrap();
    std::fs::write(folder.path().join("many/stranger"), "x").unwrap();
    let all = paths(&[]);
    let plan = Plan { delete: true, ..backup.plan(&all) };
    let done = backup.restore_with(&broken, folder.path(), plan, 2, BOUNDS, &events);
    assert_eq!(done.expect_err("a node is gone").kind(), Kind::Damaged);
    // Whether it is in the backup nobody knows.
    std::fs::remove_file(folder.path().join("many/stranger")).unwrap();
    let absent = backup.assert_part_of(&snapshot(folder.path()));
    assert!(!absent.is_empty() && absent.len() as u64 <= lost && !events.lost().is_empty());
    let there = "many/2499";
    assert!(!absent.contains(&there.to_owned()));
    let part = paths(&[there]);
    let folder = tempfile::tempdir().unwrap();
    backup
        .restore_with(&broken, folder.path(), backup.plan(&part), 2, BOUNDS, &Events::default())
        .expect("what is wanted is sound");
    assert!(folder.path().join(there).exists());
}
