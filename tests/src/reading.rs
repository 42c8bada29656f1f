//! Looking into backups: ls, find, diff, cat, dump, stats; and that nothing damaged is ever handed out.

mod chains;

use crate::dedup::{backup, objects, place, verb};
use crate::place::{Place, assert_alike, id};
use crate::program::{Outcome, Program};
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::random::Random;
use icecore_testkit::tree::{Features, is_root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Two backups of a small tree.
fn two_backups() -> Place {
    let place = place();
    place.write(&[
        ("docs/a.txt", "one"),
        ("docs/sub/b.txt", "two"),
        ("docs-2/c.txt", "three"),
        ("top.txt", "4"),
    ]);
    symlink("a.txt", place.source().join("docs/link")).unwrap();
    backup(&place, &[]).expect(0);
    place.write(&[("docs/sub/b.txt", "changed"), ("docs/new.txt", "5")]);
    fs::remove_file(place.source().join("top.txt")).unwrap();
    fs::set_permissions(place.source().join("docs/a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    place
}

/// The paths of lines of one type, in the order in which they came.
fn paths(outcome: &Outcome, what: &str) -> Vec<String> {
    outcome.of_type(what).iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect()
}

/// What a command writes to standard output, as bytes.
#[track_caller]
fn bytes(place: &Place, name: &str, more: &[&str]) -> Vec<u8> {
    let arguments: Vec<_> = place.arguments(name, more).into_iter().filter(|word| word != "--json").collect();
    let output = password(place.program.command(&arguments)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn password(mut command: Command) -> Command {
    command.env("ICECORE_PASSWORD", crate::dedup::PASSWORD);
    command
}

#[test]
fn a_directory_is_listed_in_the_order_of_names_and_below_in_that_of_the_tree() {
    let place = two_backups();
    assert_eq!(paths(&verb(&place, "ls", &[]).expect(0), "entry"), ["docs", "docs-2"]);
    let docs = verb(&place, "ls", &["latest:/docs/"]).expect(0);
    assert_eq!(paths(&docs, "entry"), ["docs/a.txt", "docs/link", "docs/new.txt", "docs/sub"]);
    assert_eq!(docs.summary()["entries"], 4);
    let all = verb(&place, "ls", &["latest~1", "--recursive"]).expect(0);
    let expected = [
        "top.txt",
        "docs",
        "docs/a.txt",
        "docs/link",
        "docs/sub",
        "docs/sub/b.txt",
        "docs-2",
        "docs-2/c.txt",
    ];
    assert_eq!(paths(&all, "entry"), expected);
    let below = verb(&place, "ls", &["latest:docs", "--recursive"]).expect(0);
    assert!(paths(&below, "entry").iter().all(|path| path.starts_with("docs/")), "{below:?}");
    let one = verb(&place, "ls", &["latest:docs/a.txt"]).expect(0).of_type("entry").remove(0);
    assert_eq!((&one["mode"], &one["size"], &one["kind"]), (&"0600".into(), &3.into(), &"file".into()));
    let link = verb(&place, "ls", &["latest:docs/link"]).expect(0).of_type("entry").remove(0);
    assert_eq!(link["target"], "a.txt");
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let place = two_backups();
    for (name, arguments) in [
        ("ls", &["latest:no/such"][..]),
        ("cat", &["latest:no/such"]),
        ("find", &["--in", "latest:no/such"]),
        ("diff", &["latest~1", "latest", "--path", "no/such"]),
        ("ls", &["latest~7"]),
        ("stats", &["latest~7"]),
    ] {
        verb(&place, name, arguments).expect(1);
    }
    verb(&place, "ls", &["latest:a/../b"]).expect(2).explained();
    verb(&place, "find", &["[a"]).expect(2).explained();
}

#[test]
fn a_file_is_printed_as_it_was_and_its_holes_as_zeros() {
    let place = place();
    let noise: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    place.write(&[("small", "few bytes"), ("empty", "")]);
    fs::write(place.source().join("large"), &noise).unwrap();
    let sparse = fs::File::create(place.source().join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    let at = |offset, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&sparse, bytes, offset).unwrap();
    at(1 << 20, &noise[..900_000]);
    at(4 << 20, b"more");
    place.settle();
    backup(&place, &[]).expect(0);
    for name in ["small", "empty", "large", "sparse"] {
        let expected = fs::read(place.source().join(name)).unwrap();
        assert!(bytes(&place, "cat", &[&format!("latest:{name}")]) == expected, "{name}");
    }
    verb(&place, "cat", &["latest:"]).expect(0);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let place = two_backups();
    let target = place.path().join("out");
    let out = target.to_str().unwrap();
    verb(&place, "dump", &["latest:docs/sub/b.txt", "-o", out]).expect(0);
    assert_eq!(fs::read_to_string(&target).unwrap(), "changed");
    verb(&place, "dump", &["latest~1:docs/sub/b.txt", "-o", out]).expect(1).explained();
    assert_eq!(fs::read_to_string(&target).unwrap(), "changed");
    verb(&place, "dump", &["latest~1:docs/sub/b.txt", "-o", out, "--overwrite"]).expect(0);
    assert_eq!(fs::read_to_string(&target).unwrap(), "two");
    verb(&place, "dump", &["latest:none", "-o", out, "--overwrite"]).expect(1);
    assert_eq!(fs::read_to_string(&target).unwrap(), "two");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
}

/// GNU tar reads the archive of a tree with everything, and what it makes of it is the tree.
#[test]
fn an_archive_of_a_backup_unpacks_to_what_was_backed_up() {
    let place = place();
    // GNU tar works by path, and cannot reach those beyond PATH_MAX.
    let tree = place.tree(31, Features { long_paths: false, ..Features::all() });
    backup(&place, &[]).expect(0);
    let archive = bytes(&place, "dump", &["latest"]);
    let target = place.path().join("unpacked");
    fs::create_dir(&target).unwrap();
    let mut tar = Command::new("tar");
    tar.args([
        "--extract",
        "--preserve-permissions",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--directory",
    ]);
    let mut child = tar.arg(&target).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(child.wait().unwrap().success());
    let [expected, unpacked] = [tree.root(), &target].map(|root| Manifest::of(root).unwrap());
    assert_alike(&expected, &unpacked, &Options::default(), "what tar unpacked");
    let part = bytes(&place, "dump", &["latest", "--format", "tar"]);
    assert!(part == archive);
}

#[test]
fn names_in_an_archive_are_relative_to_what_was_asked_for() {
    let place = two_backups();
    let listed = |archive: &[u8]| {
        let mut child =
            Command::new("tar").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let docs = listed(&bytes(&place, "dump", &["latest:docs"]));
    assert_eq!(docs, "./\n./a.txt\n./link\n./new.txt\n./sub/\n./sub/b.txt\n");
    assert_eq!(listed(&bytes(&place, "dump", &["latest:docs/a.txt", "--format", "tar"])), "a.txt\n");
    verb(&place, "dump", &["latest:docs/link"]).expect(2);
}

/// Runs a program that must end well and gives what it printed.
#[track_caller]
fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Info-ZIP unpacks the archive of a tree with everything that a zip archive can hold, and what it makes of it is the tree; what it
/// cannot hold is told.
#[test]
fn a_zip_archive_of_a_backup_unpacks_to_what_was_backed_up() {
    let place = place();
    let noise = Random::new(5).bytes(3_000_000);
    place.write(&[("docs/a.txt", "one"), ("docs/\u{fc}mlaut/b c", "two"), ("empty", "")]);
    let source = place.source();
    fs::write(source.join("large"), &noise).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise[..900_000], 1 << 20).unwrap();
    drop(sparse);
    symlink("docs/a.txt", source.join("link")).unwrap();
    symlink("nowhere/\u{fc}", source.join("docs/dangling")).unwrap();
    fs::create_dir(source.join("bare")).unwrap();
    for (path, mode) in [("docs/a.txt", 0o640), ("large", 0o4755), ("bare", 0o1777), ("docs", 0o750)] {
        fs::set_permissions(source.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::hard_link(source.join("empty"), source.join("another-name")).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_399);
    for path in ["docs/a.txt", "bare", "large"] {
        fs::File::open(source.join(path)).unwrap().set_modified(long_ago).unwrap();
    }
    place.settle();
    backup(&place, &[]).expect(0);
    let archive = place.path().join("all.zip");
    let made = verb(&place, "dump", &["latest", "-o", archive.to_str().unwrap()]).expect(0);
    assert_eq!((&made.summary()["entries"], &made.summary()["left_out"]), (&11.into(), &0.into()));
    let warnings = made.of_type("warning");
    assert_eq!(warnings.len(), 1, "{made:?}");
    assert!(warnings[0].to_string().contains("hard links"), "{made:?}");
    let streamed = bytes(&place, "dump", &["latest", "--archive", "zip"]);
    assert!(streamed == fs::read(&archive).unwrap());

    let unzip = |options: &[&str]| {
        let mut command = Command::new("unzip");
        command.args(options).arg(&archive).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    };
    said(unzip(&["-tq"]));
    let target = place.path().join("unpacked");
    fs::create_dir(&target).unwrap();
    let mut unpack = unzip(&["-q", "-K", "-X"]);
    said({
        unpack.arg("-d").arg(&target);
        unpack
    });
    let manifest = |root: &Path| {
        let list = |entry: &Path| {
            let status = fs::symlink_metadata(root.join(entry)).unwrap();
            let content = match status.file_type() {
                kind if kind.is_symlink() => {
                    fs::read_link(root.join(entry)).unwrap().into_os_string().into_encoded_bytes()
                }
                kind if kind.is_file() => fs::read(root.join(entry)).unwrap(),
                _ => Vec::new(),
            };
            // Those of links unzip sets to now; parts of a second have no place.
            let time = if status.is_symlink() { 0 } else { status.mtime() };
            (entry.to_owned(), status.mode(), status.uid(), status.gid(), time, content)
        };
        let paths = Manifest::of(root).unwrap().paths();
        paths
            .iter()
            .filter(|path| !path.is_empty() && *path != ".")
            .map(|path| list(Path::new(path)))
            .collect::<Vec<_>>()
    };
    let (expected, unpacked) = (manifest(&source), manifest(&target));
    assert_eq!(expected.len(), 11);
    for (expected, unpacked) in expected.iter().zip(&unpacked) {
        assert!(
            expected == unpacked,
            "{:?} {:o} {} is not {:?} {:o} {}",
            expected.0,
            expected.1,
            expected.4,
            unpacked.0,
            unpacked.1,
            unpacked.4
        );
    }
    assert_eq!(expected.len(), unpacked.len());
}

#[test]
fn what_a_zip_archive_cannot_hold_is_named_and_turns_the_status_to_3() {
    use std::os::unix::ffi::OsStrExt;
    let place = place();
    place.write(&[("docs/a", "one"), ("docs/old", "two")]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.source().join("docs/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let raw = std::ffi::OsStr::from_bytes(b"docs/caf\xe9");
    fs::write(place.source().join(raw), "three").unwrap();
    let far_off = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32);
    fs::File::open(place.source().join("docs/old")).unwrap().set_modified(far_off).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let archive = place.path().join("docs.ZIP");
    let made = verb(&place, "dump", &["latest:docs", "-o", archive.to_str().unwrap()]).expect(3);
    assert!(made.names("docs/pipe"), "{made:?}");
    assert_eq!((&made.summary()["entries"], &made.summary()["left_out"]), (&3.into(), &1.into()));
    let warnings: Vec<String> = made.of_type("warning").iter().map(Value::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("times") && warnings[0].contains("docs/old"), "{warnings:?}");
    assert!(warnings[1].contains("UTF-8") && warnings[1].contains("docs/caf"), "{warnings:?}");
    // Byte by byte, as a program on Unix reads it.
    let target = place.path().join("unpacked");
    let mut unzip = Command::new("unzip");
    said({
        unzip.arg("-q").arg(&archive).arg("-d").arg(&target);
        unzip
    });
    assert_eq!(fs::read_to_string(target.join(std::ffi::OsStr::from_bytes(b"caf\xe9"))).unwrap(), "three");
    assert!(!target.join("pipe").exists());
    // A single file is called by its name.
    let one = place.path().join("one");
    verb(&place, "dump", &["latest:docs/a", "--format", "zip", "-o", one.to_str().unwrap()]).expect(0);
    let mut list = Command::new("unzip");
    assert_eq!(
        said({
            list.arg("-Z1").arg(&one);
            list
        }),
        "a\n"
    );
    // A file that is to be called so is a file all the same.
    let plain = place.path().join("plain.zip");
    verb(&place, "dump", &["latest:docs/a", "-o", plain.to_str().unwrap()]).expect(0);
    assert_eq!(fs::read_to_string(plain).unwrap(), "one");
}

#[test]
fn entries_are_found_by_name_type_time_and_size() {
    let place = two_backups();
    let found = |more: &[&str]| paths(&verb(&place, "find", more).expect(0), "match");
    assert_eq!(found(&["*.txt"]), ["docs/a.txt", "docs/new.txt", "docs/sub/b.txt", "docs-2/c.txt"]);
    assert_eq!(found(&["docs/*.txt"]), ["docs/a.txt", "docs/new.txt"]);
    assert_eq!(found(&["a.txt", "sub/"]), ["docs/a.txt", "docs/sub"]);
    assert_eq!(found(&["--type", "symlink"]), ["docs/link"]);
    assert_eq!(found(&["--type", "d", "--in", "latest:docs"]), ["docs", "docs/sub"]);
    assert_eq!(found(&["--larger", "3", "--smaller", "6"]), ["docs-2/c.txt"]);
    assert_eq!(found(&["--type", "file", "--older", "@0"]), [""; 0]);
    assert_eq!(found(&["--type", "file", "--newer", "@0"]).len(), 4);
    assert_eq!(found(&["top.txt", "--in", "latest~1"]), ["top.txt"]);
}

#[test]
fn versions_in_all_backups_are_told_once_with_those_that_hold_them() {
    let place = two_backups();
    place.write(&[("docs/sub/b.txt", "once more"), ("top.txt", "back")]);
    backup(&place, &[]).expect(0);
    let found = verb(&place, "find", &["--all", "*.txt", "--type", "file"]).expect(0);
    let ids: Vec<String> = verb(&place, "list", &[]).expect(0).of_type("backup").iter().map(id).collect();
    let number = |backup: &Value| ids.iter().position(|id| backup["id"] == id.as_str()).unwrap();
    let rows: Vec<(String, usize, usize)> = found
        .of_type("match")
        .iter()
        .map(|line| {
            assert_eq!(line["backups"], number(&line["last"]) - number(&line["first"]) + 1);
            (line["path"].as_str().unwrap().to_owned(), number(&line["first"]), number(&line["last"]))
        })
        .collect();
    let expected = [
        ("docs-2/c.txt", 0, 2),
        ("docs/a.txt", 0, 0),
        ("docs/a.txt", 1, 2),
        ("docs/new.txt", 1, 2),
        ("docs/sub/b.txt", 0, 0),
        ("docs/sub/b.txt", 1, 1),
        ("docs/sub/b.txt", 2, 2),
        ("top.txt", 0, 0),
        ("top.txt", 2, 2),
    ];
    assert_eq!(rows, expected.map(|(path, first, last)| (path.to_owned(), first, last)));
    assert_eq!(found.summary()["backups"], 3);
    let below = verb(&place, "find", &["--all", "--in", ":docs/sub", "--type", "file"]).expect(0);
    assert_eq!(paths(&below, "match"), ["docs/sub/b.txt"; 3]);
    verb(&place, "find", &["--all", "--in", "latest~1"]).expect(2).explained();
}

/// Sign, path and aspects of every difference.
fn differences(outcome: &Outcome) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let what = |line: &Value| {
        let names: Vec<String> = line["what"].as_array().unwrap().iter().map(text).collect();
        names.join(" ")
    };
    let lines = outcome.of_type("difference");
    lines.iter().map(|line| (text(&line["change"]), text(&line["path"]), what(line))).collect()
}

fn rows(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[test]
fn what_differs_between_two_backups_is_named_with_what_it_is() {
    let place = two_backups();
    let outcome = verb(&place, "diff", &["latest~1"]).expect(0);
    let expected = [
        ("changed", "", "time"),
        ("removed", "top.txt", ""),
        ("changed", "docs", "time"),
        ("changed", "docs/a.txt", "mode"),
        ("added", "docs/new.txt", ""),
        ("changed", "docs/sub/b.txt", "content time"),
    ];
    assert_eq!(differences(&outcome), rows(&expected));
    let summary = outcome.summary();
    let counts = ["added", "removed", "changed", "added_bytes", "changed_bytes", "unread"];
    assert_eq!(counts.map(|key| summary[key].as_u64().unwrap()), [1, 1, 4, 1, 7, 0]);
    let part = verb(&place, "diff", &["latest~1", "latest", "--path", "docs/sub"]).expect(0);
    assert_eq!(differences(&part), rows(&expected[5..]));
    assert!(differences(&verb(&place, "diff", &["latest", "latest"]).expect(0)).is_empty());
    let back = verb(&place, "diff", &["latest", "latest~1", "--path", "top.txt"]).expect(0);
    assert_eq!(differences(&back), rows(&[("added", "top.txt", "")]));
    let stat = verb(&place, "diff", &["latest~1", "--stat"]).expect(0);
    assert!(differences(&stat).is_empty() && stat.summary()["changed"] == 4);
}

#[test]
fn two_directories_of_different_names_are_compared_by_what_is_in_them() {
    let place = place();
    place.write(&[
        ("a/x", "1"),
        ("a/sub/y", "2"),
        ("b/x", "1"),
        ("b/sub/y", "other"),
        ("b/z", "3"),
        ("ab/q", "4"),
    ]);
    backup(&place, &[]).expect(0);
    let outcome = verb(&place, "diff", &["latest:a", "latest:b"]).expect(0);
    let seen: Vec<_> = differences(&outcome)
        .into_iter()
        .filter(|(_, _, what)| what != "time")
        .map(|(change, path, what)| (change, path, what.replace(" time", "")))
        .collect();
    assert_eq!(seen, rows(&[("added", "z", ""), ("changed", "sub/y", "content")]));
}

/// A backup against the same tree shows nothing; and after changes, the same as against a backup of them.
#[test]
fn the_disk_is_compared_like_another_backup() {
    let place = place();
    let mut tree = place.tree(17, Features::all());
    fs::write(place.source().join("large"), vec![7; 2_000_000]).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let source = place.source();
    let live = |backup: &str| verb(&place, "diff", &[backup, "--live", source.to_str().unwrap()]).expect(0);
    assert!(differences(&live("latest")).is_empty(), "{:?}", differences(&live("latest")));
    for step in 1..4 {
        tree.mutate(step).unwrap();
        place.settle();
        let now = live("latest");
        backup(&place, &[]).expect(0);
        let then = verb(&place, "diff", &["latest~1", "latest"]).expect(0);
        assert_eq!(differences(&now), differences(&then), "step {step}");
        assert!(differences(&live("latest")).is_empty());
    }
}

#[test]
fn a_file_on_disk_whose_times_lie_is_read() {
    let place = place();
    let noise: Vec<u8> = (0..2_500_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    place.write(&[("small", "before"), ("same", "no change")]);
    let large = place.source().join("large");
    fs::write(&large, &noise).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let times = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let change = |path: &Path, content: &[u8]| {
        let modified = times(path);
        fs::write(path, content).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    };
    change(&place.source().join("small"), b"behind");
    change(&place.source().join("same"), b"no change");
    let mut other = noise;
    other[2_000_000] ^= 1;
    change(&large, &other);
    let source = place.source();
    let outcome = verb(&place, "diff", &["latest", "--live", source.to_str().unwrap()]).expect(0);
    assert_eq!(
        differences(&outcome),
        rows(&[("changed", "large", "content"), ("changed", "small", "content")])
    );
    let one =
        verb(&place, "diff", &["latest:small", "--live", source.join("small").to_str().unwrap()]).expect(0);
    assert_eq!(differences(&one), rows(&[("changed", "small", "content")]));
    let without = verb(&place, "diff", &["latest", "--live", source.to_str().unwrap(), "--exclude", "large"]);
    assert_eq!(differences(&without.expect(0)), rows(&[("changed", "small", "content")]));
}

#[test]
fn what_cannot_be_read_on_disk_is_named_and_turns_the_status_to_3() {
    let place = crate::dedup::place();
    place.write(&[("a/x", "1"), ("b/y", "2")]);
    backup(&place, &[]).expect(0);
    let mut reader = Program::unprivileged();
    if is_root() {
        // Whoever compares may read the repository, and not all of the disk.
        reader.give(&place.repository());
        reader.give(place.path());
    } else {
        reader = Program::new();
    }
    fs::set_permissions(place.source().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    let source = place.source();
    let command = reader.command(&place.arguments("diff", &["latest", "--live", source.to_str().unwrap()]));
    let outcome = crate::dedup::run(command).expect(3);
    fs::set_permissions(place.source().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(outcome.names("a"), "{outcome:?}");
    assert_eq!(outcome.summary()["unread"], 1);
    assert!(!differences(&outcome).iter().any(|(change, ..)| change == "removed"), "{outcome:?}");
}

#[test]
fn what_backups_share_is_counted_once_and_what_each_needs_alone_apart() {
    let place = place();
    // Without a period: a file that repeats itself shares chunks with itself.
    let noise = |seed: u64| Random::new(seed).bytes(1_000_000);
    fs::write(place.source().join("kept"), noise(1)).unwrap();
    fs::write(place.source().join("first"), noise(2)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    fs::remove_file(place.source().join("first")).unwrap();
    fs::write(place.source().join("second"), noise(3)).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let outcome = verb(&place, "stats", &["--by-backup"]).expect(0);
    let all = outcome.summary();
    assert_eq!((&all["backups"], &all["files"], &all["bytes"]), (&2.into(), &4.into(), &4_000_000.into()));
    assert_eq!(all["content"]["raw_bytes"], 3_000_000);
    assert_eq!(
        all["content"]["chunks"].as_u64().unwrap() + all["metadata"]["chunks"].as_u64().unwrap(),
        all["chunks"].as_u64().unwrap()
    );
    assert_eq!(all["packs"]["count"].as_u64(), Some(objects(&place, "packs").len() as u64));
    let bytes = |line: &Value, what: &str| line[what]["raw_bytes"].as_u64().unwrap();
    let shares = outcome.of_type("backup");
    let near = |bytes: u64, expected: u64| bytes >= expected && bytes < expected + 4096;
    assert!(near(bytes(&shares[0], "added"), 2_000_000) && near(bytes(&shares[1], "added"), 1_000_000));
    assert!(shares.iter().all(|share| near(bytes(share, "alone"), 1_000_000)), "{shares:?}");
    let one = verb(&place, "stats", &["latest"]).expect(0).summary();
    assert_eq!((&one["backups"], &one["bytes"]), (&1.into(), &2_000_000.into()));
}

/// Nothing that is damaged gets out: what was written before is right, and the status says that it is not all.
#[test]
fn a_damaged_pack_is_never_printed() {
    let place = place();
    let noise: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(place.source().join("large"), &noise).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let largest =
        objects(&place, "packs").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut pack = fs::read(&largest).unwrap();
    let middle = pack.len() / 2;
    pack[middle] ^= 1;
    fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&largest, pack).unwrap();
    let arguments = place.arguments("cat", &["latest:large"]);
    let output = password(place.program.command(&arguments)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.len() < noise.len() && noise.starts_with(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"kind\":\"damaged\""));
    let target = place.path().join("out");
    verb(&place, "dump", &["latest:large", "-o", target.to_str().unwrap()]).expect(1).explained();
    assert!(!target.exists());
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let place = place();
    fs::write(place.source().join("large"), vec![1; 8 << 20]).unwrap();
    place.settle();
    backup(&place, &[]).expect(0);
    let repository = place.repository();
    for words in [
        &["cat", "latest:large"][..],
        &["dump", "latest", "--format", "zip"],
        &["ls", "-R"],
        &["find", "--all"],
        &["diff", "latest:large", "latest"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments = [words, &["-r", repository.to_str().unwrap()]].concat();
        let mut command = password(place.program.command(&arguments));
        let output = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What is for people only stays out of the way of a program that reads the lines.
#[test]
fn nothing_found_is_nothing_printed() {
    let place = two_backups();
    assert_eq!(bytes(&place, "find", &["no-such-name"]), b"");
    assert_eq!(bytes(&place, "diff", &["latest", "latest"]), b"");
    assert_eq!(bytes(&place, "diff", &["latest~1", "latest", "--path", "docs/new.txt"]), b"+ docs/new.txt\n");
}

#[test]
fn who_forgets_the_colon_is_told() {
    let place = two_backups();
    for (name, what) in [("ls", "docs"), ("cat", "docs/a.txt"), ("diff", "docs")] {
        let outcome = verb(&place, name, &[what]).expect(1).explained();
        assert!(outcome.stderr.contains(&format!(":{what}")), "{name}: {outcome:?}");
    }
}

#[test]
fn a_benchmark_leaves_the_storage_as_it_was() {
    let place = two_backups();
    let before: BTreeSet<String> = Manifest::of(&place.repository()).unwrap().paths().into_iter().collect();
    let repository = place.repository();
    let arguments =
        ["benchmark", "--json", "--seconds", "0", "--objects", "2", "-r", repository.to_str().unwrap()];
    let outcome = place.program.run(&arguments).expect(0);
    assert!(
        outcome.of_type("measurement").iter().all(|line| line["bytes_per_second"].as_f64().unwrap() > 0.0)
    );
    assert!(outcome.of_type("measurement").len() > 5);
    let after: BTreeSet<String> = Manifest::of(&repository).unwrap().paths().into_iter().collect();
    assert_eq!(before, after);
}
