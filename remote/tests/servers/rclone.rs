//! What rclone reaches, by its own program over a folder of this machine.

use crate::{access, not_run};
use icecore::name::ObjectName;
use icecore::storage::retry::{Patience, Retry};
use icecore::storage::{Depth, PutMode, Storage};
use icecore::{Kind, Result};
use icecore_remote::{Access, Address, Intent};
use icecore_testkit::conformance;
use icecore_testkit::servers::program;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Removes what had the new name before it renames: who reads in between finds nothing.
const LEFT_OUT: [&str; 1] = ["a replaced object is always one version"];

fn opened(place: &str, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    icecore_remote::open(&Address::parse(&format!("rclone:{place}"))?, access, intent)
}

/// A test that is not run without rclone: it is given a folder, and access with a configuration in which that is `here:`.
fn with_rclone(test: impl FnOnce(&Path, &Access)) {
    if let Err(reason) = program("rclone") {
        return not_run(&reason);
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("rclone.conf"));
    fs::create_dir(&data).unwrap();
    fs::write(&config, format!("[here]\ntype = alias\nremote = {}\n", data.display())).unwrap();
    test(&data, &access(&[("RCLONE_CONFIG", config.to_str().unwrap())], None));
}

/// Arguments of the running processes that were given this configuration.
fn running(config: &Path) -> Vec<String> {
    let config = format!("RCLONE_CONFIG={}\0", config.display());
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()).map(|entry| entry.path());
    let read = |path: &Path, file: &str| {
        let bytes = fs::read(path.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    entries
        .filter(|path| read(path, "environ").contains(&config))
        .map(|path| read(&path, "cmdline"))
        .collect()
}

#[test]
fn rclone_over_a_folder_conforms() {
    with_rclone(|_, access| {
        let number = Cell::new(0);
        conformance::run_but(&LEFT_OUT, &|| {
            number.set(number.get() + 1);
            let storage = opened(&format!("here:case {}", number.get()), access, Intent::Create).unwrap();
            Arc::new(Retry::new(storage, Patience::none()))
        });
    });
}

#[test]
fn a_missing_folder_is_not_found_and_a_missing_remote_is_wrong() {
    with_rclone(|data, access| {
        let kind = |place: &str| opened(place, access, Intent::Open).err().unwrap().kind();
        assert_eq!(kind("here:missing/folder"), Kind::NotFound);
        for place in ["nowhere:x", "", "here", ":"] {
            assert_eq!(kind(place), Kind::Invalid, "{place}");
        }
        opened("here:made/now", access, Intent::Create).unwrap();
        assert!(data.join("made/now").is_dir());
        opened("here:made/now", access, Intent::Open).unwrap();
    });
}

#[test]
fn rclone_ends_with_the_storage_and_shows_no_password() {
    with_rclone(|data, access| {
        let config = data.parent().unwrap().join("rclone.conf");
        let storage = opened("here:place", access, Intent::Create).unwrap();
        let name = ObjectName::new("a/b").unwrap();
        storage.put(&name, b"bytes", PutMode::CreateNew).unwrap();
        let processes = running(&config);
        assert_eq!(processes.len(), 1, "{processes:?}");
        assert!(!processes[0].contains("pass") && processes[0].starts_with("rclone\0"), "{processes:?}");
        // A writer that is longer there than the storage needs it, too.
        let mut writer = storage.writer(&ObjectName::new("a/long").unwrap(), PutMode::CreateNew).unwrap();
        writer.write(&[7; 6 << 20]).unwrap();
        drop(storage);
        writer.finish().unwrap();
        assert_eq!(fs::metadata(data.join("place/a/long")).unwrap().len(), 6 << 20);
        assert_eq!(running(&config), [""; 0]);
    });
}

#[test]
fn rclone_that_is_killed_is_told() {
    with_rclone(|data, access| {
        let config = data.parent().unwrap().join("rclone.conf");
        let storage = opened("here:place", access, Intent::Create).unwrap();
        let found = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()).find(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&format!("RCLONE_CONFIG={}\0", config.display()))
        });
        let id = found.unwrap().file_name().into_string().unwrap();
        assert!(std::process::Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
        let error = loop {
            // Until the system has closed its connections.
            let stat = storage.stat(&ObjectName::new("a").unwrap()).unwrap_err();
            if stat.kind() != Kind::NotFound && stat.to_string().contains("ended") {
                break stat;
            }
        };
        assert_eq!(error.kind(), Kind::Io, "{error}");
    });
}

#[test]
fn two_storages_see_what_the_other_wrote_at_once() {
    with_rclone(|_, access| {
        let (one, other) = (
            opened("here:shared", access, Intent::Create).unwrap(),
            opened("here:shared", access, Intent::Open).unwrap(),
        );
        let count = |storage: &dyn Storage| {
            let mut rows = 0;
            storage
                .list(None, Depth::All, &mut |_| {
                    rows += 1;
                    Ok(())
                })
                .unwrap();
            rows
        };
        for number in 0..5 {
            let name = ObjectName::new(format!("folder/{number}")).unwrap();
            assert_eq!(other.stat(&name).unwrap_err().kind(), Kind::NotFound);
            one.put(&name, b"x", PutMode::CreateNew).unwrap();
            assert_eq!(other.stat(&name).unwrap().size_bytes, 1);
            assert_eq!(other.put(&name, b"y", PutMode::CreateNew).unwrap_err().kind(), Kind::AlreadyExists);
            assert_eq!((count(one.as_ref()), count(other.as_ref())), (number + 1, number + 1));
        }
    });
}
