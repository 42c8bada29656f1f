//! What the local storage does beyond the contract, and the same random history over it and over memory.

use super::*;
use crate::storage::memory::Memory;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn rows(storage: &dyn Storage, depth: Depth) -> Vec<String> {
    let mut rows = Vec::new();
    storage
        .list(None, depth, &mut |row| {
            rows.push(match row {
                Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
                Listed::Folder { name } => format!("{name}/"),
                Listed::Stray { label } => format!("? {label}"),
            });
            Ok(())
        })
        .unwrap();
    rows.sort();
    rows
}

/// Both ways of writing.
fn both(test: impl Fn(&Path, Local)) {
    for named in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::open(folder.path()).unwrap();
        test(folder.path(), if named { local.with_named_temporaries() } else { local });
    }
}

#[test]
fn only_an_existing_absolute_folder_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Local::open("relative").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(Local::create("relative").unwrap_err().kind(), Kind::Invalid);
    let missing = folder.path().join("a/b/c");
    assert_eq!(Local::open(&missing).unwrap_err().kind(), Kind::NotFound);
    Local::create(&missing).unwrap();
    Local::create(&missing).unwrap();
    assert_eq!(Local::open(&missing).unwrap().label(), missing.display().to_string());
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(Local::create(folder.path().join("file")).is_err());
    assert!(Local::create(folder.path().join("file/below")).is_err());
}

#[test]
fn objects_and_folders_are_their_owners_alone() {
    both(|path, local| {
        local.put(&name("folder/object"), b"secret", PutMode::CreateNew).unwrap();
        local.put(&name("folder/object"), b"secret", PutMode::Replace).unwrap();
        let mode = |relative: &str| fs::metadata(path.join(relative)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("folder"), mode("folder/object")), (0o700, 0o600));
        assert_eq!(fs::metadata(path.join("folder/object")).unwrap().nlink(), 1);
    });
}

#[test]
fn what_a_killed_process_left_is_a_stray_and_can_be_cleaned() {
    both(|path, local| {
        let mut killed =
            local.clone().with_named_temporaries().writer(&name("a/b"), PutMode::CreateNew).unwrap();
        killed.write(b"half an obj").unwrap();
        // A killed process runs no destructors.
        std::mem::forget(killed);
        let shown = rows(&local, Depth::All);
        assert_eq!(shown.len(), 1);
        assert!(shown[0].starts_with("? a/.icecore-tmp-"), "{shown:?}");
        assert_eq!(rows(&local, Depth::One), ["a/"]);

        local.put(&name("a/b"), b"whole", PutMode::CreateNew).unwrap();
        let written = fs::metadata(path.join("a/b")).unwrap().mtime();
        assert_eq!(local.clean_temporaries(Timestamp(written - 1_000)).unwrap(), 0, "too young");
        assert_eq!(local.clean_temporaries(Timestamp(written + 1_000)).unwrap(), 1);
        assert_eq!(rows(&local, Depth::All), ["a/b 5"]);
    });
}

#[test]
fn the_names_of_temporaries_are_reserved() {
    both(|_, local| {
        let long = "n".repeat(256);
        for text in [".icecore-tmp-1", "a/.icecore-tmp-1", ".icecore-tmp-/a", &long] {
            let kind = |result: Result<()>| result.unwrap_err().kind();
            assert_eq!(kind(local.put(&name(text), b"", PutMode::Replace)), Kind::Invalid, "{text}");
            assert_eq!(kind(local.stat(&name(text)).map(drop)), Kind::Invalid, "{text}");
        }
        assert_eq!(rows(&local, Depth::One), [""; 0]);
    });
}

#[test]
fn what_is_not_an_object_is_a_stray() {
    both(|path, local| {
        use std::os::unix::ffi::OsStrExt;
        local.put(&name("a/object"), b"1", PutMode::CreateNew).unwrap();
        fs::create_dir(path.join("empty")).unwrap();
        symlink("object", path.join("a/link")).unwrap();
        symlink("a", path.join("link")).unwrap();
        fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let strays = ["? fifo", "? link", "? \u{fffd}\u{fffd}"];
        assert_eq!(rows(&local, Depth::One), [&strays[..], &["a/", "empty/"]].concat());
        assert_eq!(rows(&local, Depth::All), [&["? a/link"], &strays[..], &["a/object 1"]].concat());
        // They are refused by name, neither followed nor taken for missing.
        for text in ["fifo", "link", "a/link", "link/object"] {
            assert_eq!(local.read(&name(text), 0, 1).unwrap_err().kind(), Kind::Unsupported, "{text}");
            assert_eq!(local.delete(&name(text)).unwrap_err().kind(), Kind::Unsupported, "{text}");
        }
        let listed = local.list(Some(&name("link")), Depth::All, &mut |_| Ok(()));
        assert_eq!(listed.unwrap_err().kind(), Kind::Unsupported);
        let put = local.put(&name("link/new"), b"", PutMode::Replace);
        assert_eq!(put.unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(rows(&local, Depth::All).len(), 5);
    });
}

#[test]
fn a_storage_that_was_moved_or_is_gone_is_missed_before_anything_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    let local = Local::create(&before).unwrap();
    fs::rename(&before, &after).unwrap();
    fs::create_dir(&before).unwrap();
    let error = local.put(&name("a/b"), b"1", PutMode::CreateNew).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error:?}");
    assert!(!after.join("a/b").exists() && !before.join("a").exists());
    fs::remove_dir_all(&after).unwrap();
    for text in ["a/b", "c"] {
        let error = local.put(&name(text), b"1", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error:?}");
    }
}

#[test]
fn a_folder_of_a_writer_may_be_removed_meanwhile() {
    both(|path, local| {
        for mode in [PutMode::CreateNew, PutMode::Replace] {
            local.put(&name("a/b/first"), b"1", PutMode::CreateNew).unwrap();
            let mut writer = local.writer(&name("a/b/second"), mode).unwrap();
            writer.write(b"22").unwrap();
            local.delete(&name("a/b/first")).unwrap();
            writer.finish().unwrap();
            assert_eq!(rows(&local, Depth::All), ["a/b/second 2"]);
            local.delete(&name("a/b/second")).unwrap();
            assert!(path.is_dir(), "the root stays");
            assert_eq!(rows(&local, Depth::One), [""; 0]);
        }
    });
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, Vec<u8>, bool),
    Write(String, Vec<u8>, bool),
    Read(String, u64, usize),
    Delete(String),
    Drop(String),
}

fn step() -> impl Strategy<Value = Step> {
    let path =
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c d"]), 1..4).prop_map(|p| p.join("/"));
    let bytes = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        (path.clone(), bytes.clone(), any::<bool>()).prop_map(|(p, b, new)| Step::Put(p, b, new)),
        (path.clone(), bytes, any::<bool>()).prop_map(|(p, b, new)| Step::Write(p, b, new)),
        (path.clone(), 0u64..25, 0usize..25).prop_map(|(p, offset, length)| Step::Read(p, offset, length)),
        path.clone().prop_map(Step::Delete),
        path.prop_map(Step::Drop),
    ]
}

/// What a step gave, to be compared.
fn outcome(storage: &dyn Storage, step: &Step) -> Result<Vec<u8>, Kind> {
    let mode = |new: &bool| if *new { PutMode::CreateNew } else { PutMode::Replace };
    let done = |result: Result<()>| result.map(|()| Vec::new());
    let write = |path: &str, bytes: &[u8], mode| -> Result<()> {
        let mut writer = storage.writer(&name(path), mode)?;
        bytes.chunks(7).try_for_each(|piece| writer.write(piece))?;
        writer.finish()
    };
    match step {
        Step::Put(path, bytes, new) => done(storage.put(&name(path), bytes, mode(new))),
        Step::Write(path, bytes, new) => done(write(path, bytes, mode(new))),
        Step::Read(path, offset, length_bytes) => storage.read(&name(path), *offset, *length_bytes),
        Step::Delete(path) => done(storage.delete(&name(path))),
        // Whether a writer is refused when it is opened or at its end is left open by the contract.
        Step::Drop(path) => {
            Ok(storage.writer(&name(path), PutMode::Replace).map_or_else(|_| Vec::new(), |_| Vec::new()))
        }
    }
    .map_err(|e| e.kind())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_folder_and_memory_tell_the_same_story(steps in prop::collection::vec(step(), 1..30), named: bool) {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::open(folder.path()).unwrap();
        let local = if named { local.with_named_temporaries() } else { local };
        let memory = Memory::new();
        for step in &steps {
            prop_assert_eq!(outcome(&local, step), outcome(&memory, step), "{:?}", step);
            prop_assert_eq!(rows(&local, Depth::All), rows(&memory, Depth::All), "after {:?}", step);
        }
    }
}
