//! What links point to, stored in their place: `--dereference` and `--hard-dereference` of chains.

use crate::gnu_tar::extract;
use crate::place::{Place, entries};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// What stands under each path: a directory, the target of a link behind `-> `, or the content of a file.
type Tree = BTreeMap<String, String>;

fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(directory) = todo.pop() {
        for path in entries(&directory) {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let what = match () {
                () if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                () if kind.is_dir() => "directory".to_owned(),
                () => fs::read_to_string(&path).unwrap(),
            };
            found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), what);
            if kind.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

fn expected(rows: &[(&str, &str)]) -> Tree {
    rows.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect()
}

fn place(engine: &'static str) -> Place {
    let mut place = Place::new();
    place.engine = engine;
    place.write(&[
        ("plain", "plain"),
        ("releases/1/app", "one"),
        ("releases/2/app", "two"),
        ("p/x", "x"),
        ("r/y", "y"),
    ]);
    let outside = place.path().join("outside");
    fs::create_dir_all(outside.join("dir")).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    fs::set_permissions(outside.join("file"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::write(outside.join("dir/inner"), "inner").unwrap();
    for (link, target) in [
        ("to-plain", "plain"),
        ("to-file", "../outside/file"),
        ("to-dir", "../outside/dir"),
        ("current", "releases/1"),
        ("via", "current/app"),
        ("p/q", "../r"),
        ("r/s", "../p"),
        ("loop", "."),
    ] {
        symlink(target, place.source().join(link)).unwrap();
    }
    place.settle();
    place
}

/// What is restored of it: of `r` and `p` each has the other, and in that the link back to itself.
fn rows(app: &'static str, file: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut rows = vec![
        ("plain", "plain"),
        ("to-plain", "plain"),
        ("to-file", file),
        ("to-dir", "directory"),
        ("to-dir/inner", "inner"),
        ("releases", "directory"),
        ("releases/1", "directory"),
        ("releases/1/app", "one"),
        ("releases/2", "directory"),
        ("releases/2/app", "two"),
        ("current", "directory"),
        ("current/app", app),
        ("via", app),
        ("loop", "-> ."),
    ];
    rows.extend([
        ("p", "directory"),
        ("p/x", "x"),
        ("p/q", "directory"),
        ("p/q/y", "y"),
        ("p/q/s", "-> ../p"),
    ]);
    rows.extend([
        ("r", "directory"),
        ("r/y", "y"),
        ("r/s", "directory"),
        ("r/s/x", "x"),
        ("r/s/q", "-> ../r"),
    ]);
    rows
}

#[test]
fn links_are_what_they_point_to_at_every_level() {
    for engine in ["tar", "rsync"] {
        let place = place(engine);
        let backup = || place.backup(&["--incremental", "--dereference"]);
        let said = backup().expect(0);
        for path in ["loop", "p/q/s", "r/s/q"] {
            assert!(said.names(path), "{engine}: {path} is not named: {said:?}");
        }
        // A file of old by another way: times of what is there now do not tell.
        let current = place.source().join("current");
        fs::remove_file(&current).unwrap();
        symlink("releases/2", &current).unwrap();
        fs::write(place.path().join("outside/file"), "changed").unwrap();
        place.settle();
        backup().expect(0);
        let last = backup().expect(0).summary();
        if engine == "tar" {
            // Links that stay links, and what is reached through a directory in which something has changed.
            assert!(last["files"].as_u64().unwrap() <= 4, "{last}");
        }
        let levels = [rows("one", "outside"), rows("two", "changed"), rows("two", "changed")];
        let by_hand = place.target("by-hand");
        for (level, (backup, rows)) in place.list().iter().zip(levels).enumerate() {
            let target = format!("back-{level}");
            place.restored(&target, backup["id"].as_str().unwrap());
            let target = place.target(&target);
            assert_eq!(tree(&target), expected(&rows), "{engine}, level {level}");
            let mode = fs::metadata(target.join("to-file")).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o604, "{engine}: attributes are those of what is pointed to");
            if engine == "tar" {
                extract(&place.stored_levels()[level].join("data"), "zstd", &by_hand);
                assert_eq!(tree(&by_hand), expected(&rows), "GNU tar, level {level}");
            }
        }
        place.run("check", &["--read-data"]).expect(0);
    }
}

#[test]
fn links_that_lead_nowhere_are_named_kept_as_links_and_looked_at_again() {
    for engine in ["tar", "rsync"] {
        let mut place = Place::new();
        place.engine = engine;
        place.write(&[("a", "one")]);
        let link = |target: &str, name: &str| symlink(target, place.source().join(name)).unwrap();
        link("../later", "dangling");
        link("itself", "itself");
        link("a/b", "through-a-file");
        place.settle();
        let backup = || place.backup(&["--incremental", "--dereference"]);
        let said = backup().expect(3);
        for path in ["dangling", "itself", "through-a-file"] {
            assert!(said.names(path), "{engine}: {path} is not named: {said:?}");
        }
        assert_eq!(said.summary()["errors"], 3, "{engine}");
        let rows = [("a", "one"), ("itself", "-> itself"), ("through-a-file", "-> a/b")];
        place.restore("dangling", &[]).expect(0);
        let dangling = [("dangling", "-> ../later")];
        assert_eq!(tree(&place.target("dangling")), expected(&[&rows[..], &dangling].concat()), "{engine}");
        // What it points to is there now, and older than the level below.
        let later = place.path().join("later");
        fs::write(&later, "late").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&later).unwrap().set_modified(old).unwrap();
        place.settle();
        backup().expect(3);
        place.restore("there", &[]).expect(0);
        assert_eq!(tree(&place.target("there")), expected(&[&rows[..], &[("dangling", "late")]].concat()));
    }
}

#[test]
fn names_of_one_file_are_files_of_their_own_when_that_is_wanted() {
    for engine in ["tar", "rsync"] {
        let mut place = Place::new();
        place.engine = engine;
        place.write(&[("a", "one"), ("d/x", "x")]);
        fs::hard_link(place.source().join("a"), place.source().join("b")).unwrap();
        symlink("d", place.source().join("e")).unwrap();
        symlink("a", place.source().join("c")).unwrap();
        place.settle();
        let inode = |target: &str, name: &str| {
            let found = fs::symlink_metadata(place.target(target).join(name)).unwrap();
            (found.ino(), found.nlink())
        };
        place.backup(&["--hard-dereference"]).expect(0);
        place.restore("hard", &[]).expect(0);
        assert_eq!((inode("hard", "a").1, inode("hard", "b").1), (1, 1), "{engine}");
        assert!(place.target("hard").join("c").is_symlink() && place.target("hard").join("e").is_symlink());
        place.backup(&["--dereference"]).expect(0);
        place.restore("soft", &[]).expect(0);
        // The link is one more name of the file, since what it points to is that file.
        let names = [inode("soft", "a"), inode("soft", "b"), inode("soft", "c")];
        assert_eq!(names, [names[0]; 3], "{engine}");
        place.backup(&["--dereference", "--hard-dereference"]).expect(0);
        place.restore("all", &[]).expect(0);
        assert_eq!(["a", "b", "c"].map(|name| inode("all", name).1), [1; 3], "{engine}");
        assert_eq!(fs::read_to_string(place.target("all").join("e/x")).unwrap(), "x");
    }
}

#[test]
fn the_dedup_engine_does_not_know_it() {
    let place = Place::new();
    place.write(&[("a", "one")]);
    for option in ["--dereference", "--hard-dereference"] {
        let mut words = place.arguments("backup", &["--init", "--no-encryption", option]);
        words.push(place.source().into());
        let said = place.program.run(&words);
        assert!(said.status != 0 && said.stderr.contains(option), "{said:?}");
    }
}
