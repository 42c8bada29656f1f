//! Targets on real file systems: every kind of entry, every attribute, and everything that tries to get out of the root.

mod attributes;
mod files;
mod model;
mod mounts;

use super::*;
use crate::monitor::Event;
use crate::time::FileTime;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Mutex;

/// Keeps what it is told.
#[derive(Default)]
struct Recorder {
    problems: Mutex<Vec<(String, String)>>,
    warnings: Mutex<Vec<String>>,
}

impl Monitor for Recorder {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Problem { path, error, lost } => {
                assert!(!lost, "an attribute is never lost data");
                self.problems.lock().unwrap().push((path.to_owned(), error.to_string()));
            }
            Event::Warning(text) => self.warnings.lock().unwrap().push(text.to_owned()),
            _ => {}
        }
    }
}

impl Recorder {
    fn problems(&self) -> Vec<(String, String)> {
        self.problems.lock().unwrap().clone()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
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

/// Says on the test's output that a check was left out; where everything must be there (CI), that is a failure.
#[allow(clippy::print_stderr)]
#[track_caller]
fn not_run(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run this test here: {what}");
    eprintln!("not run: {what}");
}

/// Whether a check cannot be made because only root could.
fn needs_root(what: &str) -> bool {
    if !is_root() {
        not_run(what);
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
