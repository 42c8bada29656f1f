//! Targets on real file systems: every kind of entry, every attribute, and everything that tries to get out of the root.

mod model;

use super::*;
use crate::monitor::Event;
use crate::time::FileTime;
use crate::tree::{acl, xattr};
use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Mutex;

/// Keeps what it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, String)>>);

impl Monitor for Recorder {
    fn event(&self, event: Event<'_>) {
        if let Event::Problem { path, error, lost } = event {
            assert!(!lost, "an attribute is never lost data");
            self.0.lock().unwrap().push((path.to_owned(), error.to_string()));
        }
    }
}

impl Recorder {
    fn problems(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// A root with something beside it that must never change.
struct Fixture {
    outer: tempfile::TempDir,
    monitor: Recorder,
}

impl Fixture {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("root")).unwrap();
        fs::create_dir(outer.path().join("outside")).unwrap();
        fs::write(outer.path().join("outside/precious"), "precious").unwrap();
        Fixture { outer, monitor: Recorder::default() }
    }

    fn root(&self) -> PathBuf {
        self.outer.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.outer.path().join("outside")
    }

    fn target(&self) -> Target<'_> {
        self.target_with(Options::numeric(is_root()))
    }

    fn target_with(&self, options: Options) -> Target<'_> {
        Target::open(&self.root(), &Scratch::new(self.outer.path()), options, &self.monitor).unwrap()
    }

    fn assert_outside_is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["precious"]);
        assert_eq!(fs::read(self.outside().join("precious")).unwrap(), b"precious");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says on the test's output that a check needs root.
#[allow(clippy::print_stderr)]
fn needs_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("not run (needs root): {what}");
    }
    !is_root()
}

fn attributes(mode: u32) -> Attributes {
    Attributes {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: FileTime::new(1_234_567_890, 123_456_789),
        atime: Some(FileTime::new(-5, 1)),
        ..Attributes::default()
    }
}

fn write(target: &mut Target<'_>, path: &[u8], content: &[u8], attributes: &Attributes) {
    let mut file = target.file(path, attributes).unwrap();
    file.write(content).unwrap();
    file.finish(attributes).unwrap();
}

/// Compares what lstat says with what was asked for.
fn assert_has(metadata: &Metadata, wanted: &Attributes, kind: FileKind) {
    assert_eq!(metadata.kind, kind);
    if kind != FileKind::Symlink {
        assert_eq!(format!("{:o}", metadata.mode), format!("{:o}", wanted.mode));
    }
    assert_eq!((metadata.uid, metadata.gid), (wanted.uid, wanted.gid));
    assert_eq!(metadata.mtime, wanted.mtime);
    if let Some(atime) = wanted.atime {
        assert_eq!(metadata.atime, atime);
    }
}

fn names_on_disk(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn every_kind_of_entry_gets_every_attribute() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    for (round, mode) in [0o640, 0o7755, 0o000, 0o604].into_iter().enumerate() {
        // The second and later rounds replace what the first one made.
        let mut wanted = attributes(mode);
        wanted.mtime.seconds += round as i64;
        write(&mut target, b"d/file", b"content", &wanted);
        target.symlink(b"d/link", b"../../outside/precious", &wanted).unwrap();
        target.fifo(b"d/fifo", &wanted).unwrap();
        let expect = [("file", FileKind::File), ("link", FileKind::Symlink), ("fifo", FileKind::Fifo)];
        for (name, kind) in expect {
            let metadata = target.kind(format!("d/{name}").as_bytes()).unwrap().unwrap();
            assert_has(&metadata, &wanted, kind);
        }
    }
    target.finish().unwrap();
    assert_eq!(names_on_disk(&fixture.root().join("d")), ["fifo", "file", "link"]);
    assert_eq!(
        fs::read_link(fixture.root().join("d/link")).unwrap().to_str(),
        Some("../../outside/precious")
    );
    assert_eq!(fixture.monitor.problems(), []);
    fixture.assert_outside_is_untouched();
}

#[test]
fn devices_are_made_by_root() {
    if needs_root("devices") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o660);
    match target.device(b"null", FileKind::CharDevice, 1, 3, &wanted) {
        // In a container root may not.
        Err(e) if e.kind() == Kind::Denied => return,
        other => other.unwrap(),
    }
    target.device(b"loop", FileKind::BlockDevice, 7, 300, &wanted).unwrap();
    assert_eq!(target.kind(b"loop").unwrap().unwrap().rdev, (7, 300));
    assert_has(&target.kind(b"null").unwrap().unwrap(), &wanted, FileKind::CharDevice);
    assert!(fs::metadata(fixture.root().join("null")).unwrap().file_type().is_char_device());
    let error = target.device(b"x", FileKind::File, 1, 3, &wanted).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn owners_keep_set_user_id_bits_and_capabilities() {
    if needs_root("owners") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    // cap_net_raw, permitted and effective, in the kernel's second version.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let mut wanted = attributes(0o6755);
    (wanted.uid, wanted.gid) = (1234, 4321);
    wanted.xattrs = vec![(b"security.capability".to_vec(), capability)];
    for name in [&b"first"[..], b"second"] {
        write(&mut target, name, b"x", &wanted);
        let metadata = target.kind(name).unwrap().unwrap();
        assert_has(&metadata, &wanted, FileKind::File);
    }
    let file = fs::File::open(fixture.root().join("second")).unwrap();
    assert_eq!(xattr::read_file(&file).unwrap(), wanted.xattrs);
    wanted.xattrs.clear();
    target.symlink(b"link", b"first", &wanted).unwrap();
    assert_has(&target.kind(b"link").unwrap().unwrap(), &wanted, FileKind::Symlink);
    target.fifo(b"fifo", &wanted).unwrap();
    assert_has(&target.kind(b"fifo").unwrap().unwrap(), &wanted, FileKind::Fifo);
    assert_eq!(fixture.monitor.problems(), []);
    // All ones is no owner; the set-user-id bit goes with it.
    wanted.uid = u32::MAX;
    write(&mut target, b"nobody", b"x", &wanted);
    assert_eq!(fixture.monitor.problems().len(), 1);
    assert_eq!(target.kind(b"nobody").unwrap().unwrap().mode, 0o755);
}

#[test]
fn names_of_owners_come_before_numbers() {
    if needs_root("owners by name") {
        return;
    }
    let fixture = Fixture::new();
    let mut wanted = attributes(0o644);
    (wanted.user, wanted.group) = (b"alice".to_vec(), b"unknown".to_vec());
    (wanted.uid, wanted.gid) = (1, 2);
    let lookup = || -> Lookup { Box::new(|name| (name == b"alice").then_some(777)) };
    for (numeric_owner, uid) in [(false, 777), (true, 1)] {
        let options = Options { numeric_owner, owners: true, uid_of: lookup(), gid_of: lookup() };
        let mut target = fixture.target_with(options);
        write(&mut target, b"file", b"", &wanted);
        let metadata = target.kind(b"file").unwrap().unwrap();
        assert_eq!((metadata.uid, metadata.gid), (uid, 2));
    }
}

#[test]
fn without_the_right_to_set_owners_each_kind_is_reported_once() {
    let fixture = Fixture::new();
    let mut target = fixture.target_with(Options::numeric(false));
    let mut wanted = attributes(0o4755);
    wanted.uid += 1;
    for name in [&b"a"[..], b"b", b"c"] {
        write(&mut target, name, b"", &wanted);
        assert_eq!(
            target.kind(name).unwrap().unwrap().mode,
            0o755,
            "a program of somebody else's must not be ours"
        );
    }
    target.symlink(b"l", b"x", &wanted).unwrap();
    target.symlink(b"m", b"x", &wanted).unwrap();
    let paths: Vec<_> = fixture.monitor.problems().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a", "l"]);
}

#[test]
fn extended_attributes_and_access_lists_are_set() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let list = b"user::rw-,user:1000:rwx,group::r--,mask::rw-,other::---";
    let list = acl::from_text(list, &mut |_, _| None).unwrap();
    let mut wanted = attributes(0o660);
    wanted.xattrs = vec![(acl::ACCESS.to_vec(), list), (b"user.note".to_vec(), b"\0\xff".to_vec())];
    write(&mut target, b"file", b"x", &wanted);
    assert_has(&target.kind(b"file").unwrap().unwrap(), &wanted, FileKind::File);
    let file = fs::File::open(fixture.root().join("file")).unwrap();
    assert_eq!(xattr::read_file(&file).unwrap(), wanted.xattrs);
    assert_eq!(fixture.monitor.problems(), []);
    // What the system refuses is told, and the entry is there nevertheless.
    wanted.xattrs = vec![(b"nonsense".to_vec(), b"1".to_vec())];
    write(&mut target, b"other", b"x", &wanted);
    assert_has(&target.kind(b"other").unwrap().unwrap(), &wanted, FileKind::File);
    assert_eq!(fixture.monitor.problems()[0].0, "other");
}

#[test]
fn nothing_is_inherited_from_a_directory_that_was_there() {
    let fixture = Fixture::new();
    let list = b"user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::rwx";
    let list = acl::from_text(list, &mut |_, _| None).unwrap();
    let root = Directory::open(&fixture.root()).unwrap();
    let old = vec![(acl::DEFAULT.to_vec(), list), (b"user.stale".to_vec(), b"1".to_vec())];
    xattr::write_file(&root, &old).unwrap();
    let mut target = fixture.target();
    for name in [&b"first"[..], b"second"] {
        write(&mut target, name, b"x", &attributes(0o640));
        assert_has(&target.kind(name).unwrap().unwrap(), &attributes(0o640), FileKind::File);
        assert_eq!(xattr::read_entry(&root, name).unwrap(), []);
    }
    target.fifo(b"fifo", &attributes(0o640)).unwrap();
    assert_eq!(xattr::read_entry(&root, b"fifo").unwrap(), []);
    target.directory(b"sub").unwrap();
    target.directory_attributes(b"sub", attributes(0o750)).unwrap();
    target.directory_attributes(b"", attributes(0o755)).unwrap();
    target.finish().unwrap();
    assert_eq!(xattr::read_entry(&root, b"sub").unwrap(), []);
    assert_eq!(xattr::read_file(&root).unwrap(), []);
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn holes_stay_holes() {
    const STEP: u64 = 1 << 20;
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    let mut file = target.file(b"sparse", &wanted).unwrap();
    file.hole(STEP).unwrap();
    file.write(b"middle").unwrap();
    file.hole(0).unwrap();
    file.write(b"").unwrap();
    file.hole(8 * STEP).unwrap();
    file.finish(&wanted).unwrap();
    let metadata = target.kind(b"sparse").unwrap().unwrap();
    assert_eq!(metadata.size_bytes, 9 * STEP + 6);
    assert!(metadata.allocated_bytes < STEP, "{} bytes are allocated", metadata.allocated_bytes);
    let mut read = [1; 8];
    let file = fs::File::open(fixture.root().join("sparse")).unwrap();
    file.read_exact_at(&mut read, STEP - 1).unwrap();
    assert_eq!(&read, b"\0middle\0");

    let mut file = target.file(b"endless", &wanted).unwrap();
    file.hole(i64::MAX as u64).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().kind(), Kind::Limit);
    assert_eq!(file.hole(u64::MAX).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn a_replaced_file_leaves_its_other_names_alone() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"a", b"old", &attributes(0o644));
    target.hard_link(b"sub/b", b"a").unwrap();
    target.hard_link(b"sub/b", b"a").unwrap();
    assert_eq!(target.kind(b"a").unwrap().unwrap().links, 2);
    write(&mut target, b"a", b"new", &attributes(0o600));
    assert_eq!(fs::read(fixture.root().join("sub/b")).unwrap(), b"old");
    assert_eq!(fs::read(fixture.root().join("a")).unwrap(), b"new");
    assert_eq!(target.kind(b"sub/b").unwrap().unwrap().mode, 0o644);
    // A link takes the place of another file, and of a directory.
    target.hard_link(b"sub/b", b"a").unwrap();
    assert_eq!(fs::read(fixture.root().join("sub/b")).unwrap(), b"new");
    target.hard_link(b"sub", b"a").unwrap();
    assert_eq!(target.kind(b"sub").unwrap().unwrap().links, 2);
    assert_eq!(target.hard_link(b"c", b"absent").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(names_on_disk(&fixture.root()), ["a", "sub"]);
}

#[test]
fn directories_and_files_replace_each_other() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"x/y/z", b"1", &attributes(0o644));
    write(&mut target, b"x", b"2", &attributes(0o644));
    assert_eq!(fs::read(fixture.root().join("x")).unwrap(), b"2");
    target.directory(b"x").unwrap();
    write(&mut target, b"x/y", b"3", &attributes(0o644));
    target.directory(b"x").unwrap();
    assert_eq!(fs::read(fixture.root().join("x/y")).unwrap(), b"3");
    target.symlink(b"x", b"../outside", &attributes(0o777)).unwrap();
    target.directory(b"x").unwrap();
    write(&mut target, b"x/precious", b"4", &attributes(0o644));
    fixture.assert_outside_is_untouched();
    assert_eq!(names_on_disk(&fixture.root()), ["x"]);
}

#[test]
fn a_link_on_the_way_is_never_followed() {
    let fixture = Fixture::new();
    symlink(fixture.outside(), fixture.root().join("trap")).unwrap();
    symlink("../outside", fixture.root().join("relative")).unwrap();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    write(&mut target, b"file", b"mine", &wanted);
    for trap in ["trap", "relative"] {
        let path = format!("{trap}/precious").into_bytes();
        let deep = format!("{trap}/a/b").into_bytes();
        let results = [
            target.file(&path, &wanted).map(|_| ()),
            target.directory(&deep),
            target.symlink(&path, b"x", &wanted),
            target.fifo(&path, &wanted),
            target.hard_link(&path, b"file"),
            target.hard_link(b"new", &path),
            target.rename(b"file", &path),
            target.rename(&path, b"new"),
            target.remove(&path),
            target.kind(&path).map(|_| ()),
            target.names(trap.as_bytes()).map(|_| ()),
        ];
        for (index, result) in results.into_iter().enumerate() {
            let error = result.expect_err(&index.to_string());
            assert_eq!(error.kind(), Kind::Invalid, "{index}: {error}");
            assert!(error.to_string().contains(trap), "{error}");
        }
        target.directory_attributes(trap.as_bytes(), attributes(0o777)).unwrap();
        target.directory_attributes(&deep, attributes(0o777)).unwrap();
    }
    // A link at the end is replaced or removed itself.
    write(&mut target, b"trap", b"mine", &wanted);
    target.remove(b"relative").unwrap();
    let mode = fs::metadata(fixture.outside()).unwrap().permissions().mode();
    target.finish().unwrap();
    assert_eq!(fs::metadata(fixture.outside()).unwrap().permissions().mode(), mode);
    fixture.assert_outside_is_untouched();
    assert_eq!(names_on_disk(&fixture.root()), ["file", "trap"]);
}

#[test]
fn a_link_planted_where_a_directory_was_is_noticed() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    target.directory(b"a/b").unwrap();
    write(&mut target, b"other", b"", &attributes(0o644));
    fs::rename(fixture.root().join("a"), fixture.root().join("aside")).unwrap();
    symlink(fixture.outside(), fixture.root().join("a")).unwrap();
    assert_eq!(target.file(b"a/x", &attributes(0o644)).map(|_| ()).unwrap_err().kind(), Kind::Invalid);
    fixture.assert_outside_is_untouched();
}

#[test]
fn paths_that_climb_are_refused_by_every_operation() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    write(&mut target, b"ok", b"", &wanted);
    let absolute = format!("{}/precious", fixture.outside().display()).into_bytes();
    for bad in [
        &b"../outside/x"[..],
        b"a/../../outside/x",
        b"..",
        ".".as_bytes(),
        b"a/./b",
        b"a//b",
        b"a\0b",
        &absolute,
    ] {
        let results = [
            target.file(bad, &wanted).map(|_| ()),
            target.directory(bad),
            target.symlink(bad, b"x", &wanted),
            target.fifo(bad, &wanted),
            target.device(bad, FileKind::CharDevice, 1, 3, &wanted),
            target.hard_link(bad, b"ok"),
            target.hard_link(b"new", bad),
            target.rename(b"ok", bad),
            target.rename(bad, b"new"),
            target.remove(bad),
            target.directory_attributes(bad, attributes(0o777)),
            target.kind(bad).map(|_| ()),
            target.names(bad).map(|_| ()),
        ];
        for (index, result) in results.into_iter().enumerate() {
            assert_eq!(result.expect_err(&index.to_string()).kind(), Kind::Invalid, "{index} {bad:?}");
        }
    }
    for result in [target.remove(b""), target.file(b"", &wanted).map(|_| ()), target.rename(b"", b"x")] {
        assert_eq!(result.unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(names_on_disk(&fixture.root()), ["ok"]);
    fixture.assert_outside_is_untouched();
}

#[test]
fn directories_get_their_attributes_after_all_is_written() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let mut readonly = attributes(0o555);
    readonly.mtime = FileTime::new(99, 7);
    for path in [&b"d"[..], b"d/e", b""] {
        target.directory(path).unwrap();
        target.directory_attributes(path, attributes(0o700)).unwrap();
        target.directory_attributes(path, readonly.clone()).unwrap();
    }
    write(&mut target, b"d/e/file", b"x", &attributes(0o444));
    target.directory_attributes(b"absent/x", readonly.clone()).unwrap();
    target.directory_attributes(b"d/e/file", readonly.clone()).unwrap();
    target.finish().unwrap();
    let mut target = fixture.target();
    for path in [&b"d"[..], b"d/e", b""] {
        let mut found = target.kind(path).unwrap().unwrap();
        // Looking at a directory may touch its access time.
        found.atime = readonly.atime.unwrap();
        assert_has(&found, &readonly, FileKind::Directory);
    }
    assert_has(&target.kind(b"d/e/file").unwrap().unwrap(), &attributes(0o444), FileKind::File);
    assert_eq!(fixture.monitor.problems(), []);
    // Restored once more over itself, read-only or not.
    for path in [&b""[..], b"d", b"d/e"] {
        target.directory(path).unwrap();
        target.directory_attributes(path, attributes(0o700)).unwrap();
    }
    if !is_root() {
        // The root itself is the user's: whoever restores into it must be able to write there.
        fs::set_permissions(fixture.root(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    write(&mut target, b"d/e/file", b"y", &attributes(0o444));
    target.finish().unwrap();
    assert_eq!(fs::read(fixture.root().join("d/e/file")).unwrap(), b"y");
}

#[test]
fn removing_takes_links_and_not_what_they_point_to() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    for path in [&b"d/e/f/file"[..], b"d/file", b"d/e/file", b"keep"] {
        write(&mut target, path, b"x", &attributes(0o000));
    }
    target.symlink(b"d/e/outside", b"../../../outside", &attributes(0o777)).unwrap();
    target.fifo(b"d/fifo", &attributes(0o600)).unwrap();
    fs::set_permissions(fixture.root().join("d/e"), fs::Permissions::from_mode(0o000)).unwrap();
    target.remove(b"d").unwrap();
    target.remove(b"d").unwrap();
    target.remove(b"absent/deep").unwrap();
    target.remove(b"keep/below").unwrap();
    assert_eq!(target.names(b"").unwrap(), [b"keep"]);
    assert_eq!(target.names(b"d").unwrap(), [] as [Vec<u8>; 0]);
    assert_eq!(target.names(b"keep").unwrap(), [] as [Vec<u8>; 0]);
    assert_eq!(target.kind(b"keep/below").unwrap(), None);
    fixture.assert_outside_is_untouched();
}

#[test]
fn another_file_system_is_not_emptied() {
    if needs_root("mounting") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"d/a/file", b"x", &attributes(0o644));
    target.directory(b"d/mounted").unwrap();
    let place = fixture.root().join("d/mounted");
    let mount = |program: &str, arguments: &[&str]| {
        let run = std::process::Command::new(program).args(arguments).arg(&place).status();
        run.is_ok_and(|status| status.success())
    };
    // A bind mount is the harder case: it has the device number of everything around it.
    if !mount("mount", &["--bind", fixture.outside().to_str().unwrap()]) {
        return;
    }
    let removed = target.remove(b"d");
    let unmounted = mount("umount", &[]);
    removed.unwrap();
    assert!(unmounted);
    fixture.assert_outside_is_untouched();
    assert_eq!(names_on_disk(&fixture.root().join("d")), ["mounted"]);
    assert_eq!(fixture.monitor.problems()[0].0, "d/mounted");
}

#[test]
fn renaming_makes_parents_and_replaces_nothing() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"a/b/file", b"x", &attributes(0o644));
    target.rename(b"a/b", b"new/place/c").unwrap();
    // The handle of what was moved is not used under its old name.
    write(&mut target, b"a/b/other", b"y", &attributes(0o644));
    assert_eq!(fs::read(fixture.root().join("new/place/c/file")).unwrap(), b"x");
    assert_eq!(fs::read(fixture.root().join("a/b/other")).unwrap(), b"y");
    target.rename(b"a", b"a").unwrap();
    assert_eq!(target.rename(b"a", b"new").unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(target.rename(b"a", b"a/b/c").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(target.rename(b"absent", b"x/y").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(names_on_disk(&fixture.root()), ["a", "new"], "a failed rename made a directory");
}

#[test]
fn a_file_that_is_not_finished_leaves_nothing() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    write(&mut target, b"old", b"old", &wanted);
    for path in [&b"old"[..], b"new"] {
        let mut file = target.file(path, &wanted).unwrap();
        file.write(b"half").unwrap();
    }
    assert_eq!(names_on_disk(&fixture.root()), ["old"]);
    assert_eq!(fs::read(fixture.root().join("old")).unwrap(), b"old");
    // A name that went to somebody else meanwhile is theirs.
    let file = target.file(b"new", &wanted).unwrap();
    target.remove(b"new").unwrap();
    write(&mut target, b"new", b"theirs", &wanted);
    drop(file);
    assert_eq!(fs::read(fixture.root().join("new")).unwrap(), b"theirs");
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn files_can_be_finished_on_other_threads() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let mut file = target.file(format!("d{}/{number}", number % 3).as_bytes(), &wanted).unwrap();
            let wanted = &wanted;
            scope.spawn(move || {
                file.write(number.to_string().as_bytes()).unwrap();
                file.finish(wanted).unwrap();
            });
        }
    });
    for number in 0..20 {
        let path = fixture.root().join(format!("d{}/{number}", number % 3));
        assert_eq!(fs::read(path).unwrap(), number.to_string().as_bytes());
    }
}

#[test]
fn trees_deeper_than_any_path_can_be_long() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let name = vec![b'n'; 200];
    let path = vec![name.as_slice(); 400].join(&b'/');
    assert!(path.len() > 4096 * 10);
    target.directory(&path).unwrap();
    let below = |name: &[u8]| [&path, &b"/"[..], name].concat();
    write(&mut target, &below(b"file"), b"deep", &attributes(0o640));
    target.hard_link(&below(b"link"), &below(b"file")).unwrap();
    assert_has(&target.kind(&below(b"link")).unwrap().unwrap(), &attributes(0o640), FileKind::File);
    // Back up beyond the handles that are kept, and down again.
    write(&mut target, &[&path[..200 * 100 + 99], b"/side"].concat(), b"side", &attributes(0o640));
    assert_eq!(target.names(&path).unwrap(), [b"file", b"link"]);
    let mut ends: Vec<usize> = (1..=400).map(|steps| steps * 201 - 1).collect();
    ends.reverse();
    for end in ends {
        target.directory_attributes(&path[..end], attributes(0o555)).unwrap();
    }
    target.rename(&below(b"file"), b"up").unwrap();
    target.finish().unwrap();
    assert_eq!(fs::read(fixture.root().join("up")).unwrap(), b"deep");
    let mut target = fixture.target();
    assert_eq!(target.kind(&path).unwrap().unwrap().mtime, attributes(0).mtime);
    target.remove(&name).unwrap();
    assert_eq!(names_on_disk(&fixture.root()), ["up"]);
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn many_small_files_are_all_there() {
    // Also what is run under strace to count system calls per file.
    let fixture = Fixture::new();
    let mut target = fixture.target();
    let wanted = attributes(0o644);
    for number in 0..1000 {
        write(&mut target, format!("d{}/f{number}", number / 100).as_bytes(), b"small", &wanted);
    }
    target.finish().unwrap();
    for folder in 0..10 {
        assert_eq!(names_on_disk(&fixture.root().join(format!("d{folder}"))).len(), 100);
    }
    assert_eq!(fs::metadata(fixture.root().join("d9/f999")).unwrap().len(), 5);
}

#[test]
fn a_root_that_is_not_there_is_not_made() {
    let fixture = Fixture::new();
    let opened = Target::open(
        &fixture.root().join("absent"),
        &Scratch::new(fixture.outer.path()),
        Options::numeric(false),
        &fixture.monitor,
    );
    assert_eq!(opened.map(|_| ()).unwrap_err().kind(), Kind::NotFound);
}
