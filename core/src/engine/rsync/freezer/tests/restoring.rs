//! Parts, policies, and what stands in the target.

use super::writer::{first, record, second, time_of};
use super::{How, Levels, Node, Outcome, restore_to, tree_of};
use crate::engine::{Overwrite, Wanted};
use crate::error::Kind;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

type Stamped = BTreeMap<String, (Node, u64)>;

fn file(content: &str) -> Node {
    Node::File(content.as_bytes().to_vec())
}

fn tree(entries: &[(&str, Node, usize)]) -> Stamped {
    entries.iter().map(|(path, node, level)| ((*path).to_owned(), (node.clone(), time_of(*level)))).collect()
}

/// Two levels: a directory that goes, files that change, come and go.
fn chains() -> [Levels; 2] {
    let big = "x".repeat(9000);
    let changed = format!("{}y{}", "x".repeat(5000), "x".repeat(3999));
    let history = [
        tree(&[
            ("docs", Node::Directory, 0),
            ("docs/a", file("one"), 0),
            ("docs/big", file(&big), 0),
            ("docs/old", Node::Directory, 0),
            ("docs/old/x", file("x"), 0),
            ("top", file("top"), 0),
        ]),
        tree(&[
            ("docs", Node::Directory, 1),
            ("docs/a", file("two!"), 1),
            ("docs/big", file(&changed), 1),
            ("docs/new", file("new"), 1),
            ("top", file("top"), 0),
        ]),
    ];
    [first(&history), second(&history, 4096)]
}

fn wanted(base: &str, include: &[&str], exclude: &[&str]) -> Wanted {
    let include = include.iter().map(|path| (path.as_bytes().to_vec(), path.as_bytes().to_vec())).collect();
    let exclude: Vec<String> = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
    Wanted::new(base.as_bytes().to_vec(), include, &exclude).unwrap()
}

fn paths(folder: &Path) -> Vec<String> {
    tree_of(folder).into_keys().collect()
}

fn part(levels: &Levels, wanted: Wanted) -> (Outcome, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = restore_to(folder.path(), levels, &How { wanted, ..How::default() });
    (outcome, paths(folder.path()))
}

#[test]
fn a_part_is_restored_and_nothing_beside_it() {
    for levels in chains() {
        for (base, include, exclude, expected) in [
            ("", &[][..], &[][..], &["docs", "docs/a", "docs/big", "docs/new", "top"][..]),
            ("docs", &[], &[], &["a", "big", "new"]),
            ("docs/a", &[], &[], &["a"]),
            ("", &["docs/a"], &[], &["docs", "docs/a"]),
            ("", &["n*"], &[], &["docs", "docs/new"]),
            ("docs", &["b*"], &[], &["big"]),
            ("", &[], &["big", "/top"], &["docs", "docs/a", "docs/new"]),
            ("", &[], &["docs"], &["top"]),
        ] {
            let (outcome, found) = part(&levels, wanted(base, include, exclude));
            outcome.result.unwrap();
            assert_eq!(found, expected, "{base} {include:?} {exclude:?}");
            assert_eq!(outcome.lost, Vec::<String>::new());
        }
        for (base, include) in [("docs/old", &[][..]), ("", &["docs/old/x"]), ("", &["nothing*"])] {
            let (outcome, found) = part(&levels, wanted(base, include, &[]));
            assert_eq!(outcome.result.unwrap_err().kind(), Kind::NotFound, "{base} {include:?}");
            assert_eq!(found, Vec::<String>::new());
        }
    }
}

#[test]
fn what_stands_in_the_target_gives_way_or_not_by_the_policy() {
    for levels in chains() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let fill = || {
            fs::create_dir_all(at("docs")).unwrap();
            fs::write(at("docs/a"), "mine").unwrap();
            fs::write(at("docs/big"), "mine").unwrap();
            fs::write(at("docs/stranger"), "mine").unwrap();
            fs::write(at("top"), "top").unwrap();
            let set = |path: &str, level: usize| {
                let time = UNIX_EPOCH + Duration::from_millis(time_of(level) * 1000 + 500);
                fs::File::open(at(path)).unwrap().set_modified(time).unwrap();
            };
            set("docs/a", 9);
            set("docs/big", 0);
            set("top", 0);
        };
        let restore = |overwrite, delete| {
            fill();
            let outcome = restore_to(
                folder.path(),
                &levels,
                &How { overwrite: Some(overwrite), delete, ..How::default() },
            );
            outcome.result.as_ref().unwrap();
            outcome
        };
        let is_mine = |path: &str| fs::read(at(path)).unwrap() == b"mine";

        let never = restore(Overwrite::Never, false);
        assert!(is_mine("docs/a") && is_mine("docs/big") && is_mine("docs/stranger") && !is_mine("docs/new"));
        assert_eq!(never.kept, 3);
        fs::remove_file(at("docs/new")).unwrap();

        // The file that is older than level 1 gives way, though it is not older than level 0, on which its blocks build.
        let newer = restore(Overwrite::IfNewer, false);
        assert!(is_mine("docs/a") && !is_mine("docs/big"));
        assert_eq!(fs::read(at("docs/big")).unwrap().len(), 9000);
        assert_eq!(newer.kept, 2);

        let changed = restore(Overwrite::IfChanged, false);
        assert!(!is_mine("docs/a") && !is_mine("docs/big") && is_mine("docs/stranger"));
        assert_eq!(changed.kept, 0);

        let always = restore(Overwrite::Always, true);
        assert!(!at("docs/stranger").exists() && !is_mine("docs/a") && !is_mine("docs/big"));
        assert_eq!((always.kept, always.unchanged, always.verified), (0, 0, 4));
        let again = restore_to(
            folder.path(),
            &levels,
            &How { overwrite: Some(Overwrite::IfChanged), ..How::default() },
        );
        again.result.unwrap();
        assert_eq!((again.unchanged, again.entries), (4, 4));
    }
}

#[test]
fn a_dry_run_counts_and_touches_nothing() {
    use crate::engine::RestoreJob;
    use crate::monitor::{Counting, Quiet};
    for mut levels in chains() {
        let monitor = Counting::new(&Quiet);
        let (everything, scratch) = (Wanted::everything(), super::scratch());
        let job = RestoreJob {
            wanted: &everything,
            overwrite: None,
            delete: false,
            verify: true,
            scratch: &scratch,
            monitor: &monitor,
        };
        super::restore(job, &mut levels, None).unwrap();
        assert_eq!((monitor.entries(), monitor.lost()), (4, 0));
    }
}

/// The numbers of a device are those of the disk it was on.
#[test]
fn a_device_is_lost_in_words() {
    let mut stream = record("null", "c", 0o020666, 0, 1, b"", ["0000", "0000"]);
    stream.extend(record("pipe", "p", 0o010644, 0, 1, b"", ["0000", "0000"]));
    let folder = tempfile::tempdir().unwrap();
    let outcome =
        restore_to(folder.path(), &Levels { streams: vec![stream], ..Levels::default() }, &How::default());
    outcome.result.unwrap();
    assert_eq!(outcome.lost, ["null"]);
    assert!(!folder.path().join("null").exists() && folder.path().join("pipe").exists());
}

/// What a level above deleted, made something else or has below something else is never written.
#[test]
fn types_change_from_level_to_level() {
    let history = [
        tree(&[
            ("a", Node::Directory, 0),
            ("a/b", file("b"), 0),
            ("f", file("f"), 0),
            ("l", Node::Link(b"f".to_vec()), 0),
        ]),
        tree(&[("a", file("a"), 1), ("f", Node::Directory, 1), ("f/g", file("g"), 1), ("l", file("l"), 1)]),
        tree(&[("a", Node::Link(b"x".to_vec()), 2), ("f", file("f2"), 2)]),
    ];
    for levels in [first(&history), second(&history, 512)] {
        for top in 1..=3 {
            let mut levels = levels.clone();
            levels.streams.truncate(top);
            let folder = tempfile::tempdir().unwrap();
            let outcome = restore_to(folder.path(), &levels, &How::default());
            outcome.result.unwrap();
            assert_eq!(outcome.lost, Vec::<String>::new(), "{top}");
            assert_eq!(tree_of(folder.path()), super::writer::without_times(&history[top - 1]), "{top}");
        }
    }
}
