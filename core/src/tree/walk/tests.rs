//! Walks over real trees: order, odd names, great depth, and everything that may be moved away in the middle of a walk.

use super::*;
use crate::limits::OPEN_DIRECTORIES;
use crate::monitor::{Counting, Quiet};
use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

type Act<'a> = Box<dyn FnMut(&Visit<'_>) -> Result<()> + 'a>;

/// Notes what it is given, after doing what the test wants done at that moment.
struct Recorder<'a> {
    act: Act<'a>,
    directories: Vec<Vec<u8>>,
    entries: Vec<(Vec<u8>, FileKind)>,
    mount_points: Vec<Vec<u8>>,
    unreadable: Vec<(Vec<u8>, Option<FileKind>, Kind)>,
}

impl<'a> Recorder<'a> {
    fn new() -> Self {
        Recorder::acting(|_| ())
    }

    fn acting(mut act: impl FnMut(&Visit<'_>) + 'a) -> Self {
        Recorder::failing(move |visit| {
            act(visit);
            Ok(())
        })
    }

    fn failing(act: impl FnMut(&Visit<'_>) -> Result<()> + 'a) -> Self {
        Recorder {
            act: Box::new(act),
            directories: Vec::new(),
            entries: Vec::new(),
            mount_points: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    fn paths(&self) -> Vec<String> {
        self.directories.iter().map(|path| lossy(path)).collect()
    }

    fn unreadable_paths(&self) -> Vec<String> {
        self.unreadable.iter().map(|(path, _, _)| lossy(path)).collect()
    }

    /// Whether any entry or directory has this as its last name.
    fn has_seen(&self, name: &str) -> bool {
        let entries = self.entries.iter().map(|(path, _)| path);
        self.directories
            .iter()
            .chain(entries)
            .any(|path| path.rsplit(|b| *b == b'/').next() == Some(name.as_bytes()))
    }
}

impl Visitor for Recorder<'_> {
    fn directory(&mut self, visit: &Visit<'_>, _monitor: &dyn Monitor) -> Result<()> {
        assert!(visit.metadata.same_version(&visit.directory.metadata()?), "the handle is the directory's");
        self.directories.push(visit.path.to_vec());
        for entry in visit.listing.iter() {
            let mut path = visit.path.to_vec();
            ancestors::set_last_name(&mut path, visit.path.len(), entry.name);
            self.entries.push((path, entry.kind.expect("kinds are resolved")));
        }
        if visit.mount_point {
            self.mount_points.push(visit.path.to_vec());
        }
        (self.act)(visit)
    }

    fn unreadable(&mut self, path: &[u8], metadata: Option<&Metadata>, error: &Error) -> Result<()> {
        assert_eq!(error.subject(), lossy(path));
        self.unreadable.push((path.to_vec(), metadata.map(|m| m.kind), error.kind()));
        Ok(())
    }
}

/// Walks all of `root`; as many paths must be reported as lost as the visitor was told are unreadable and have not vanished.
fn walk_all<'a>(root: &Path, mut recorder: Recorder<'a>) -> Recorder<'a> {
    walk_with(root, &Filter::none(), false, &mut recorder);
    recorder
}

fn walk_with(root: &Path, filter: &Filter, one_file_system: bool, recorder: &mut Recorder<'_>) {
    let monitor = Counting::new(&Quiet);
    let root = Directory::open(root).unwrap();
    walk(root, &Options { filter, one_file_system, follow: false }, &monitor, recorder).unwrap();
    let lost = recorder.unreadable.iter().filter(|(_, _, kind)| *kind != Kind::NotFound).count();
    assert_eq!(monitor.lost(), lost as u64, "{:?}", monitor.lost_paths());
    assert_eq!(monitor.problems(), recorder.unreadable.len() as u64);
}

/// An empty folder, in memory where the system has a place for it: a disk takes ten seconds for tens of thousands of
/// directories.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A folder with these directories (and those above them).
fn tree(directories: &[&str]) -> TempDir {
    let folder = scratch();
    for directory in directories {
        fs::create_dir_all(folder.path().join(directory)).unwrap();
    }
    folder
}

/// `depth` directories called `d`, one in the other, each with the directories `sides` beside it. Takes itself away, which
/// a temporary folder cannot do at such a depth.
struct Shaft {
    folder: TempDir,
}

impl Shaft {
    fn new(depth: usize, sides: &[&str]) -> Self {
        let folder = scratch();
        let mut here = Directory::open(folder.path()).unwrap();
        for _ in 0..depth {
            for name in sides.iter().chain(&["d"]) {
                rustix::fs::mkdirat(&here, *name, Mode::from_raw_mode(0o755)).unwrap();
            }
            here = here.open_child(b"d").unwrap();
        }
        Shaft { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Shaft {
    fn drop(&mut self) {
        remove_shaft(self.path());
    }
}

/// Empties a shaft from the bottom up; it may have been cut in the middle, but holds directories only.
fn remove_shaft(top: &Path) {
    let mut here = Directory::open(top).unwrap();
    let mut depth = 0;
    while let Ok(below) = here.open_child(b"d") {
        here = below;
        depth += 1;
    }
    remove_children(&here);
    for _ in 0..depth {
        here = here.open_child(b"..").unwrap();
        remove_children(&here);
    }
}

fn remove_children(directory: &Directory) {
    for entry in Listing::read(directory).unwrap().iter() {
        rustix::fs::unlinkat(directory, entry.name, AtFlags::REMOVEDIR).unwrap();
    }
}

/// The path `depth` levels down a shaft.
fn down(depth: usize) -> String {
    vec!["d"; depth].join("/")
}

#[test]
fn a_directory_comes_before_its_own_and_siblings_by_their_bytes() {
    let folder = tree(&["b/x", "a.b", "a/z/deep", "a/B", "\u{e9}", "A"]);
    let recorder = walk_all(folder.path(), Recorder::new());
    let expected = ["", "A", "a", "a/B", "a/z", "a/z/deep", "a.b", "b", "b/x", "\u{e9}"];
    assert_eq!(recorder.paths(), expected);
}

#[test]
fn names_of_any_bytes_are_walked() {
    let folder = tree(&[]);
    let names: [&[u8]; 6] = [b"\x01\n", b"\xff\xfe", b"...", b" ", b"-rf", &[b'n'; 255]];
    for name in names {
        let directory = folder.path().join(OsStr::from_bytes(name));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(OsStr::from_bytes(name)), b"").unwrap();
    }
    let recorder = walk_all(folder.path(), Recorder::new());
    for name in names {
        let file = [name, b"/", name].concat();
        assert!(recorder.entries.contains(&(file, FileKind::File)), "{name:?}");
    }
    assert_eq!(recorder.directories.len(), 1 + names.len());
}

#[test]
fn links_to_directories_are_entries_and_not_followed() {
    let folder = tree(&["real/inside"]);
    symlink("real", folder.path().join("link")).unwrap();
    symlink("/", folder.path().join("root")).unwrap();
    let recorder = walk_all(folder.path(), Recorder::new());
    assert_eq!(recorder.paths(), ["", "real", "real/inside"]);
    assert!(recorder.entries.contains(&(b"link".to_vec(), FileKind::Symlink)));
}

#[test]
fn thousands_of_levels_are_walked_down_and_up_again() {
    let shaft = Shaft::new(3_000, &["a", "z"]);
    let recorder = walk_all(shaft.path(), Recorder::new());
    assert_eq!(recorder.directories.len(), 1 + 3 * 3_000);
    assert!(recorder.unreadable.is_empty());
    // The last to come is the root's own `z`, which is found through three thousand times `..`.
    assert_eq!(recorder.directories.last().unwrap(), b"z");
    assert_eq!(recorder.directories.iter().collect::<BTreeSet<_>>().len(), recorder.directories.len());
}

/// Counts, since the paths of a shaft to the very bottom would fill a gigabyte.
#[derive(Default)]
struct Counter {
    directories: usize,
    last: Vec<u8>,
    unreadable: Vec<(usize, Option<FileKind>, Kind)>,
}

impl Visitor for Counter {
    fn directory(&mut self, visit: &Visit<'_>, _monitor: &dyn Monitor) -> Result<()> {
        self.directories += 1;
        self.last = visit.path.to_vec();
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], metadata: Option<&Metadata>, error: &Error) -> Result<()> {
        self.unreadable.push((path.len(), metadata.map(|m| m.kind), error.kind()));
        Ok(())
    }
}

#[test]
fn what_is_too_deep_is_reported_and_the_rest_is_walked() {
    let shaft = Shaft::new(DEPTH_MAX + 2, &[]);
    let root = Directory::open(shaft.path()).unwrap();
    rustix::fs::mkdirat(&root, "z", Mode::from_raw_mode(0o755)).unwrap();
    let mut counter = Counter::default();
    let options = Options { filter: &Filter::none(), one_file_system: false, follow: false };
    walk(root, &options, &Quiet, &mut counter).unwrap();
    assert_eq!((counter.directories, counter.last), (1 + DEPTH_MAX + 1, b"z".to_vec()));
    assert_eq!(counter.unreadable, [(2 * DEPTH_MAX + 1, Some(FileKind::Directory), Kind::Limit)]);
}

#[test]
fn a_directory_that_vanishes_is_reported_and_the_walk_goes_on() {
    let folder = tree(&["a", "b", "c"]);
    let root = folder.path().to_owned();
    let recorder = walk_all(
        folder.path(),
        Recorder::acting(|visit| {
            if visit.path == b"a" {
                fs::remove_dir(root.join("b")).unwrap();
            }
        }),
    );
    assert_eq!(recorder.paths(), ["", "a", "c"]);
    assert_eq!(recorder.unreadable, [(b"b".to_vec(), None, Kind::NotFound)]);
}

#[test]
#[allow(clippy::print_stderr)]
fn a_directory_without_permission_is_reported_with_what_is_known_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tree(&["a", "b/inside", "c"]);
    let locked = folder.path().join("b");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Not a matter of CI: as root the program's own tests see to it, by giving their rights up.
        eprintln!("not run: permissions do not bind root");
        return;
    }
    let recorder = walk_all(folder.path(), Recorder::new());
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(recorder.paths(), ["", "a", "c"]);
    assert_eq!(recorder.unreadable, [(b"b".to_vec(), Some(FileKind::Directory), Kind::Denied)]);
}

#[test]
fn a_link_put_in_a_directorys_place_leads_nowhere() {
    let outside = tree(&["secret"]);
    let folder = tree(&["a", "b/inside", "c"]);
    let root = folder.path().to_owned();
    let recorder = walk_all(
        folder.path(),
        Recorder::acting(|visit| {
            if visit.path == b"a" {
                fs::rename(root.join("b"), root.join("moved")).unwrap();
                symlink(outside.path(), root.join("b")).unwrap();
            }
        }),
    );
    assert!(!recorder.has_seen("secret"));
    assert_eq!(recorder.paths(), ["", "a", "c"]);
    assert_eq!(recorder.unreadable, [(b"b".to_vec(), None, Kind::Changed)]);
}

#[test]
fn a_file_put_in_a_directorys_place_is_reported() {
    let folder = tree(&["a", "b"]);
    let root = folder.path().to_owned();
    let recorder = walk_all(
        folder.path(),
        Recorder::acting(|visit| {
            if visit.path == b"a" {
                fs::remove_dir(root.join("b")).unwrap();
                fs::write(root.join("b"), b"").unwrap();
            }
        }),
    );
    assert_eq!(recorder.unreadable, [(b"b".to_vec(), None, Kind::Changed)]);
}

#[test]
fn a_directory_moved_while_it_is_walked_is_walked_to_its_end() {
    let folder = tree(&["a/one", "a/two", "b"]);
    let outside = tree(&["secret"]);
    let root = folder.path().to_owned();
    let recorder = walk_all(
        folder.path(),
        Recorder::acting(|visit| {
            if visit.path == b"a/one" {
                fs::rename(root.join("a"), outside.path().join("a")).unwrap();
            }
        }),
    );
    assert_eq!(recorder.paths(), ["", "a", "a/one", "a/two", "b"]);
    assert!(recorder.unreadable.is_empty());
}

/// How deep the hole goes, so that everything above the middle has lost its handle at the bottom.
const DEEP: usize = 3 * OPEN_DIRECTORIES;
const MIDDLE: usize = OPEN_DIRECTORIES / 2;

#[test]
fn a_part_moved_elsewhere_in_a_deep_tree_loses_nothing_of_what_is_above_it() {
    let shaft = Shaft::new(DEEP, &["z"]);
    let root = shaft.path().to_owned();
    let outside = tree(&["secret"]);
    let recorder = walk_all(
        shaft.path(),
        Recorder::acting(|visit| {
            if visit.path == down(DEEP).as_bytes() {
                fs::rename(root.join(down(MIDDLE)), outside.path().join("taken")).unwrap();
            }
        }),
    );
    assert!(!recorder.has_seen("secret"));
    // Every `z` in the moved part was found through `..`, and every one above it by name from the root.
    assert!(recorder.unreadable.is_empty(), "{:?}", recorder.unreadable_paths());
    assert_eq!(recorder.directories.len(), 1 + 2 * DEEP);
    remove_shaft(&outside.path().join("taken"));
}

#[test]
fn a_directory_that_is_not_found_again_loses_what_was_left_of_it_and_nothing_above() {
    let shaft = Shaft::new(DEEP, &["y", "z"]);
    let root = shaft.path().to_owned();
    let outside = tree(&[]);
    let recorder = walk_all(
        shaft.path(),
        Recorder::acting(|visit| {
            if visit.path == down(DEEP).as_bytes() {
                // The child leaves the middle, and the middle leaves its place: neither `..` nor the name leads to it.
                fs::rename(root.join(down(MIDDLE + 1)), outside.path().join("child")).unwrap();
                fs::rename(root.join(down(MIDDLE)), outside.path().join("middle")).unwrap();
                fs::create_dir(root.join(down(MIDDLE))).unwrap();
                fs::create_dir(root.join(down(MIDDLE)).join("secret")).unwrap();
            }
        }),
    );
    assert!(!recorder.has_seen("secret"), "another directory of the same name is not the same");
    let expected = ["y", "z"].map(|name| format!("{}/{name}", down(MIDDLE)));
    assert_eq!(recorder.unreadable_paths(), expected);
    assert!(recorder.unreadable.iter().all(|(_, _, kind)| *kind == Kind::Changed));
    assert_eq!(recorder.directories.len(), 1 + 3 * DEEP - 2);
    fs::remove_dir(root.join(down(MIDDLE)).join("secret")).unwrap();
    remove_shaft(&outside.path().join("child"));
}

#[test]
fn several_directories_lost_at_once_are_reported_innermost_first() {
    let shaft = Shaft::new(DEEP, &["z"]);
    let root = shaft.path().to_owned();
    let outside = tree(&["child", "upper"]);
    let recorder = walk_all(
        shaft.path(),
        Recorder::acting(|visit| {
            if visit.path == down(DEEP).as_bytes() {
                fs::rename(root.join(down(MIDDLE)), outside.path().join("child/d")).unwrap();
                fs::rename(root.join(down(MIDDLE - 2)), outside.path().join("upper/d")).unwrap();
            }
        }),
    );
    let expected = [MIDDLE - 1, MIDDLE - 2].map(|depth| format!("{}/z", down(depth)));
    assert_eq!(recorder.unreadable_paths(), expected);
    assert_eq!(recorder.directories.len(), 1 + 2 * DEEP - 2);
    remove_shaft(&outside.path().join("child/d"));
}

#[test]
fn what_is_excluded_is_neither_listed_nor_walked() {
    let folder = tree(&["build/out", "src/build", "cache/deep"]);
    fs::write(folder.path().join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55")
        .unwrap();
    fs::write(folder.path().join("src/a.o"), b"").unwrap();
    let filter = Filter::none().exclude(["/build", "*.o"]).unwrap().exclude_caches(true);
    let mut recorder = Recorder::new();
    walk_with(folder.path(), &filter, false, &mut recorder);
    assert_eq!(recorder.paths(), ["", "cache", "src", "src/build"]);
    assert!(recorder.has_seen("CACHEDIR.TAG") && !recorder.has_seen("a.o"));
}

/// A tmpfs of its own at a folder, for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// `None` where this system does not let us.
    fn at(folder: &'a Path) -> Option<Self> {
        let output = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(folder).output();
        output.is_ok_and(|output| output.status.success()).then_some(Mounted(folder))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().is_ok_and(|status| status.success()));
    }
}

#[test]
fn another_file_system_is_handed_out_empty() {
    let folder = tree(&["a", "mnt", "z"]);
    let mount = folder.path().join("mnt");
    let Some(_mounted) = Mounted::at(&mount) else {
        return not_run("no file system may be mounted here");
    };
    fs::create_dir(mount.join("inside")).unwrap();
    let (mut all, mut one) = (Recorder::new(), Recorder::new());
    walk_with(folder.path(), &Filter::none(), false, &mut all);
    walk_with(folder.path(), &Filter::none(), true, &mut one);
    assert_eq!(all.paths(), ["", "a", "mnt", "mnt/inside", "z"]);
    assert!(all.mount_points.is_empty());
    assert_eq!(one.paths(), ["", "a", "mnt", "z"]);
    assert_eq!(one.mount_points, [b"mnt".to_vec()]);
    assert!(!one.has_seen("inside"));
}

/// Says that a test could not be run here; where everything must be there (CI), that is a failure.
#[allow(clippy::print_stderr)]
#[track_caller]
fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run this test here: {why}");
    eprintln!("not run: {why}");
}

#[test]
fn an_error_of_the_visitor_ends_the_walk() {
    let folder = tree(&["a", "b"]);
    let mut recorder =
        Recorder::failing(|visit| if visit.path == b"a" { Err(Error::stopped()) } else { Ok(()) });
    let options = Options { filter: &Filter::none(), one_file_system: false, follow: false };
    let error = walk(Directory::open(folder.path()).unwrap(), &options, &Quiet, &mut recorder).unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped);
    assert_eq!(recorder.paths(), ["", "a"]);
}

#[test]
fn a_root_that_cannot_be_listed_is_an_error_and_not_an_empty_tree() {
    let folder = tree(&["root"]);
    let root = Directory::open(&folder.path().join("root")).unwrap();
    fs::remove_dir(folder.path().join("root")).unwrap();
    let options = Options { filter: &Filter::none(), one_file_system: false, follow: false };
    let error = walk(root, &options, &Quiet, &mut Recorder::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_wish_to_stop_is_heard_at_the_next_directory() {
    struct Impatient(std::sync::atomic::AtomicU32);
    impl Monitor for Impatient {
        fn event(&self, _event: Event<'_>) {}
        fn cancelled(&self) -> bool {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 2
        }
    }
    let folder = tree(&["a", "b", "c"]);
    let mut recorder = Recorder::new();
    let options = Options { filter: &Filter::none(), one_file_system: false, follow: false };
    let monitor = Impatient(std::sync::atomic::AtomicU32::new(0));
    let error = walk(Directory::open(folder.path()).unwrap(), &options, &monitor, &mut recorder).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(recorder.paths(), ["", "a"]);
}

/// Every path below `at`, the way the standard library finds them.
fn naive(root: &Path, at: &Path, found: &mut BTreeSet<(Vec<u8>, bool)>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let is_directory = fs::symlink_metadata(&path).unwrap().is_dir();
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        found.insert((relative, is_directory));
        if is_directory {
            naive(root, &path, found);
        }
    }
}

/// Names in which separators, dots and odd bytes meet.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let bytes =
        prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(b'-'), Just(b' '), Just(b'\n'), Just(0xff)];
    proptest::collection::vec(bytes, 1..4)
        .prop_filter("the system's own", |name| name != b"." && name != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_walk_finds_what_is_there_in_the_order_of_names(
        paths in proptest::collection::vec((proptest::collection::vec(names(), 1..6), 0..3u8), 0..40)
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (parts, what) in &paths {
            let (name, above) = parts.split_last().unwrap();
            let mut path = folder.path().to_owned();
            path.extend(above.iter().map(|part| OsStr::from_bytes(part)));
            // Where a file is in the way of a path, the path is not made.
            if fs::create_dir_all(&path).is_ok() {
                path.push(OsStr::from_bytes(name));
                let made = match what {
                    0 => fs::write(&path, b""),
                    1 => fs::create_dir(&path),
                    _ => symlink("a", &path),
                };
                drop(made);
            }
        }
        let mut expected = BTreeSet::new();
        naive(folder.path(), folder.path(), &mut expected);
        let recorder = walk_all(folder.path(), Recorder::new());
        let seen: Vec<_> =
            recorder.entries.iter().map(|(path, kind)| (path.clone(), *kind == FileKind::Directory)).collect();
        prop_assert_eq!(seen.len(), expected.len());
        prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
        let parts = |path: &Vec<u8>| path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let order: Vec<_> = recorder.directories.iter().filter(|path| !path.is_empty()).map(parts).collect();
        prop_assert!(order.is_sorted());
    }
}

fn walk_following(root: &Path) -> (Recorder<'static>, Vec<String>) {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);
    impl Monitor for Heard {
        fn event(&self, event: Event<'_>) {
            if let Event::Problem { path, .. } = event {
                self.0.lock().unwrap().push(path.to_owned());
            }
        }
    }
    let (heard, mut recorder) = (Heard::default(), Recorder::new());
    let options = Options { filter: &Filter::none(), one_file_system: true, follow: true };
    walk(Directory::open(root).unwrap(), &options, &heard, &mut recorder).unwrap();
    (recorder, heard.0.into_inner().unwrap())
}

#[test]
fn links_to_directories_are_followed_but_not_into_a_directory_that_they_are_in() {
    let folder = tree(&["root/a/b", "root/c", "other/d"]);
    let root = folder.path().join("root");
    for (target, link) in [
        ("..", "a/b/up"),
        (".", "here"),
        ("../c", "a/to-c"),
        ("../a", "c/to-a"),
        ("../other", "other"),
        ("nowhere", "x"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let (found, told) = walk_following(&root);
    let expected =
        ["", "a", "a/b", "a/to-c", "c", "c/to-a", "c/to-a/b", "other", "other/d"].map(str::to_owned);
    assert_eq!(found.paths(), expected);
    assert_eq!(told, ["here", "a/b/up", "a/to-c/to-a", "c/to-a/to-c", "c/to-a/b/up"]);
    assert!(found.unreadable.is_empty());
}

#[test]
fn a_way_back_out_of_the_depth_behind_a_link_is_found() {
    let folder = tree(&["root", "other"]);
    symlink("../other", folder.path().join("root/link")).unwrap();
    let mut deepest = folder.path().join("other");
    let depth = OPEN_DIRECTORIES + 20;
    for _ in 0..depth {
        fs::create_dir(deepest.join("z")).unwrap();
        deepest.push("d");
        fs::create_dir(&deepest).unwrap();
    }
    let (found, told) = walk_following(&folder.path().join("root"));
    assert_eq!((found.directories.len(), told), (2 + 2 * depth, Vec::new()));
    assert!(found.unreadable.is_empty());
}
