//! What a folder of a server can hold, and who else reads it.

use super::{Place, at, bytes_of, name, put, rows};
use crate::{access, not_run};
use icecore::Kind;
use icecore::storage::{Depth, PutMode};
use icecore::time::Timestamp;
use icecore_remote::Intent;
use icecore_testkit::servers::program;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

#[test]
fn the_place_has_to_be_there_or_is_made() {
    let Some(place) = Place::new() else { return };
    let open = |name: &str, intent| at(&place.sshd.address(name), &access(&[], None), intent);
    assert_eq!(open("a/b/c", Intent::Open).err().unwrap().kind(), Kind::NotFound);
    put(&*open("a/b/c", Intent::Create).unwrap(), "x", b"1").unwrap();
    assert_eq!(rows(&*open("a/b/c", Intent::Open).unwrap(), Depth::One), ["x 1"]);
    for intent in [Intent::Open, Intent::Create] {
        assert_eq!(open("a/b/c/x", intent).err().unwrap().kind(), Kind::Invalid);
    }
    // Gone while it is used: an error, never a new folder or an empty listing.
    let storage = open("gone", Intent::Create).unwrap();
    fs::remove_dir(place.path("gone")).unwrap();
    assert_eq!(put(&*storage, "a/b", b"1").unwrap_err().kind(), Kind::NotFound);
    for prefix in [None, Some(name("a"))] {
        let listed = storage.list(prefix.as_ref(), Depth::All, &mut |_| Ok(()));
        assert_eq!(listed.unwrap_err().kind(), Kind::NotFound);
    }
    assert!(!place.path("gone").exists());
}

#[test]
fn a_path_may_begin_in_the_home_folder() {
    let Some(place) = Place::with("ForceCommand internal-sftp -d /tmp") else { return };
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let last = folder.path().file_name().unwrap().to_str().unwrap();
    let address = place.sshd.address("x");
    let options = &address[address.find('?').unwrap()..];
    let (user, port) = (place.sshd.user(), place.sshd.port());
    let address = format!("sftp://{user}@127.0.0.1:{port}/~/{last}/x{options}");
    put(&*at(&address, &access(&[], None), Intent::Create).unwrap(), "a/b", b"1").unwrap();
    assert_eq!(fs::read(folder.path().join("x/a/b")).unwrap(), b"1");
}

#[test]
fn objects_are_their_owners_alone_and_anybody_reads_them_by_sftp() {
    let Some(place) = Place::new() else { return };
    let storage = place.open("x");
    let bytes = bytes_of(300_000);
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        storage.put(&name("folder/object"), &bytes, mode).unwrap();
        let found = fs::metadata(place.path("x/folder/object")).unwrap();
        assert_eq!((found.permissions().mode() & 0o7777, found.nlink()), (0o600, 1));
    }
    assert_eq!(fs::metadata(place.path("x/folder")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(storage.capabilities().create_new_is_atomic);
    let sftp = match program("sftp") {
        Ok(sftp) => sftp,
        Err(reason) => return not_run(&reason),
    };
    let mut child = Command::new(sftp)
        .args(["-q", "-b", "-", "-F", "none", "-i"])
        .arg(place.sshd.file("user_ed25519"))
        .arg(format!("-oUserKnownHostsFile={}", place.sshd.file("known_hosts").display()))
        .args(["-P", &place.sshd.port().to_string(), &format!("{}@127.0.0.1", place.sshd.user())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let back = place.folder.path().join("back");
    let get = format!("get {}/folder/object {}\n", place.path("x").display(), back.display());
    child.stdin.take().unwrap().write_all(get.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read(back).unwrap() == bytes, "other bytes");
}

#[test]
fn what_is_no_object_is_a_stray() {
    let Some(place) = Place::new() else { return };
    let storage = place.open("x");
    put(&*storage, "a/object", b"1").unwrap();
    let path = place.path("x");
    fs::create_dir(path.join("empty")).unwrap();
    symlink("object", path.join("a/link")).unwrap();
    symlink("a", path.join("link")).unwrap();
    fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    assert!(Command::new("mkfifo").arg(path.join("fifo")).status().unwrap().success());
    let strays = ["? fifo", "? link", "? \u{fffd}\u{fffd}"];
    assert_eq!(rows(&*storage, Depth::One), [&strays[..], &["a/", "empty/"]].concat());
    assert_eq!(rows(&*storage, Depth::All), [&["? a/link"], &strays[..], &["a/object 1"]].concat());
    for text in ["fifo", "link", "a/link"] {
        assert_eq!(storage.read(&name(text), 0, 1).unwrap_err().kind(), Kind::Unsupported, "{text}");
        assert_eq!(storage.delete(&name(text)).unwrap_err().kind(), Kind::Unsupported, "{text}");
    }
    // The server opened the pipe, too, and waits for somebody to write into it: this lets it go.
    drop(fs::File::options().read(true).write(true).open(path.join("fifo")).unwrap());
    let listed = storage.list(Some(&name("link")), Depth::All, &mut |_| Ok(()));
    assert_eq!(listed.unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(storage.read(&name("a/object"), 0, 1).unwrap(), b"1");
}

#[test]
fn what_a_killed_process_left_is_a_stray_and_can_be_cleaned() {
    let Some(place) = Place::new() else { return };
    let storage = place.open("x");
    let mut killed = storage.writer(&name("a/b"), PutMode::CreateNew).unwrap();
    killed.write(b"half an obj").unwrap();
    // A killed process runs no destructors.
    std::mem::forget(killed);
    place.sshd.kill_connections();
    let shown = rows(&*storage, Depth::All);
    assert!(shown.len() == 1 && shown[0].starts_with("? a/.icecore-tmp-"), "{shown:?}");
    put(&*storage, "a/b", b"whole").unwrap();
    let written = fs::metadata(place.path("x/a/b")).unwrap().mtime();
    assert_eq!(storage.clean_temporaries(Timestamp(written - 1_000)).unwrap(), 0, "too young");
    assert_eq!(storage.clean_temporaries(Timestamp(written + 1_000)).unwrap(), 1);
    assert_eq!(rows(&*storage, Depth::All), ["a/b 5"]);
}

#[test]
fn a_folder_of_ten_thousand_objects_is_listed_whole() {
    let Some(place) = Place::new() else { return };
    let storage = place.open("x");
    let mut expected = Vec::new();
    for number in 0..10_000 {
        let folder = if number < 9_000 { 0 } else { number };
        let text = format!("{folder}/{number}");
        fs::create_dir_all(place.path("x").join(folder.to_string())).unwrap();
        fs::write(place.path("x").join(&text), "").unwrap();
        expected.push(format!("{text} 0"));
    }
    expected.sort();
    assert!(rows(&*storage, Depth::All) == expected, "not what was put there");
    assert_eq!(rows(&*storage, Depth::One).len(), 1_001);
}

#[test]
fn two_storages_of_one_server_know_nothing_of_each_other() {
    let Some(place) = Place::new() else { return };
    let (one, other) = (place.open("one"), place.open("other"));
    put(&*one, "a", b"1").unwrap();
    put(&*other, "a", b"22").unwrap();
    assert_eq!(
        (rows(&*one, Depth::All), rows(&*other, Depth::All)),
        (vec!["a 1".to_owned()], vec!["a 2".to_owned()])
    );
}

#[test]
fn a_full_disk_is_told() {
    let Some(place) = Place::new() else { return };
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&full).output().unwrap();
    if !mounted.status.success() {
        eprintln!("not run: nothing can be mounted here");
        return;
    }
    let storage = place.open("full");
    let put_error = put(&*storage, "a/b", &bytes_of(3 << 20)).map_err(|error| error.kind());
    let mut writer = storage.writer(&name("c"), PutMode::CreateNew).unwrap();
    let written =
        writer.write(&bytes_of(3 << 20)).and_then(|()| writer.finish()).map_err(|error| error.kind());
    let left = rows(&*storage, Depth::One);
    drop(storage);
    place.sshd.kill_connections();
    let unmounted = Command::new("umount").arg("-l").arg(&full).status().unwrap();
    assert_eq!((put_error, written, left), (Err(Kind::NoSpace), Err(Kind::NoSpace), Vec::new()));
    assert!(unmounted.success());
}

#[test]
fn a_server_without_extensions_does_what_it_can() {
    let denied = "posix-rename,hardlink,fsync,statvfs,limits";
    let Some(place) = Place::with(&format!("ForceCommand internal-sftp -P {denied}")) else { return };
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = std::sync::Arc::clone(&told);
    let warn = move |text: &str| hears.lock().unwrap().push(text.to_owned());
    let access = icecore_remote::Access { warn: std::sync::Arc::new(warn), ..access(&[], None) };
    let storage = place.open_as("x", &access);
    assert!(!storage.capabilities().create_new_is_atomic);
    assert_eq!(told.lock().unwrap().len(), 2, "{told:?}");
    let bytes = bytes_of(1 << 20);
    put(&*storage, "a/b", &bytes).unwrap();
    assert_eq!(put(&*storage, "a/b", b"").unwrap_err().kind(), Kind::AlreadyExists);
    storage.put(&name("a/b"), &bytes[1..], PutMode::Replace).unwrap();
    storage.put(&name("a/c"), &bytes, PutMode::Replace).unwrap();
    let mut writer = storage.writer(&name("a/d"), PutMode::CreateNew).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    assert!(storage.read_small(&name("a/b"), 2 << 20).unwrap() == bytes[1..], "other bytes");
    assert_eq!(rows(&*storage, Depth::All), ["a/b 1048575", "a/c 1048576", "a/d 1048576"]);
}
