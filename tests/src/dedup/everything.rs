//! Every kind of entry comes back as it was: each backup of a history, parts, several trees, over what is there, from streams,
//! by root and by somebody else.

use super::{backup, init, list, objects, place, restore, restored, run, verb};
use crate::place::{Place, assert_alike, assert_equal, id};
use icecore_testkit::manifest::{Kind, Manifest, Options};
use icecore_testkit::tree::{Features, SCRIPTED_STEPS, is_root};
use std::ffi::OsString;
use std::fs;

/// A tree's history, each step backed up: ids, times and manifests.
fn history(place: &Place, seed: u64, features: Features, steps: u32) -> Vec<(String, i64, Manifest)> {
    let mut tree = place.tree(seed, features);
    let mut made = Vec::new();
    for step in 0..=steps {
        if step > 0 {
            tree.mutate(step).unwrap();
            place.settle();
        }
        // Each in a second of its own, without waiting for it.
        let time = 1_700_000_000 + i64::from(step) * 1000;
        let summary = backup(place, &["--time", &format!("@{time}")]).expect(0).summary();
        assert_eq!(summary["timestamp"], time);
        made.push((id(&summary), time, Manifest::of(&place.source()).unwrap()));
    }
    made
}

/// What of a tree is at, above or below one of these paths.
fn part(whole: &Manifest, wanted: &[&str]) -> Manifest {
    let mut part = whole.clone();
    part.entries.retain(|path, _| {
        wanted.iter().any(|wanted| {
            let wanted = wanted.as_bytes();
            let (short, long) =
                if path.len() < wanted.len() { (&path[..], wanted) } else { (wanted, &path[..]) };
            short.is_empty() || long == short || (long.starts_with(short) && long[short.len()] == b'/')
        })
    });
    part
}

#[test]
fn every_backup_of_a_history_is_restored_by_id_by_time_and_by_age() {
    let place = place();
    let made = history(&place, 41, Features::all(), SCRIPTED_STEPS);
    let last = made.len() - 1;
    for (number, (id, time, expected)) in made.iter().enumerate() {
        let target = format!("by-{number}");
        match number % 3 {
            0 => restore(&place, &target, &[id]).expect(0),
            1 => restore(&place, &target, &["--at", &format!("@{}", time + 500)]).expect(0),
            _ => restore(&place, &target, &[&format!("latest~{}", last - number)]).expect(0),
        };
        assert_equal(expected, &Manifest::of(&place.target(&target)).unwrap(), &format!("backup {number}"));
    }
    let clean = verb(&place, "check", &["--read-data"]).expect(0).summary();
    assert_eq!((&clean["problems"], &clean["backups"]), (&0.into(), &made.len().into()));
}

#[test]
fn a_part_is_restored_and_nothing_else() {
    let place = place();
    let made = history(&place, 42, Features::all(), 0);
    let whole = &made[0].2;
    for (number, wanted) in [
        &["content/small.txt"][..],
        &["directories/deep", "attributes"],
        // Without its first name, the file comes under the second.
        &["hard/b"],
        &["hard", "links/two"],
        &["sparse/middle-hole"],
        &["long"],
        &["special"],
    ]
    .iter()
    .enumerate()
    {
        let target = format!("part-{number}");
        let includes: Vec<&str> = wanted.iter().flat_map(|path| ["--include", path]).collect();
        restore(&place, &target, &includes).expect(0);
        let there = Manifest::of(&place.target(&target)).unwrap();
        let mut expected = part(whole, wanted);
        // The first of a file's names that are here.
        let first = |entry: &mut icecore_testkit::manifest::Entry, paths: &Manifest| {
            let Some(link) = entry.hard_link.take() else { return };
            let names = whole.entries.iter().filter(|(_, one)| one.hard_link.as_ref() == Some(&link));
            let mut here = names.map(|(path, _)| path).filter(|path| paths.entries.contains_key(*path));
            let head = here.next().cloned();
            entry.hard_link = head.filter(|_| here.next().is_some());
        };
        let all = expected.clone();
        expected.entries.values_mut().for_each(|entry| first(entry, &all));
        assert_equal(&expected, &there, &format!("{wanted:?}"));
    }
    let none = restore(&place, "none", &["--include", "content/not-there"]);
    assert_ne!(none.status, 0, "{none:?}");
}

#[test]
fn what_is_there_is_replaced_and_the_rest_stays_unless_it_shall_go() {
    let place = place();
    let made = history(&place, 43, Features::all(), 2);
    // The tree as it was later, then set back: what is not in the older backup stays at first.
    let target = place.target("in-place");
    restore(&place, "in-place", &[&made[2].0]).expect(0);
    fs::write(target.join("content/only-here"), "mine").unwrap();
    restore(&place, "in-place", &[&made[0].0]).expect(1).explained();
    restore(&place, "in-place", &["--overwrite", &made[0].0]).expect(0);
    assert_eq!(fs::read_to_string(target.join("content/only-here")).unwrap(), "mine");
    let there = Manifest::of(&target).unwrap();
    for (path, entry) in &made[0].2.entries {
        let found = there.entries.get(path).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(path)));
        assert!(found.kind == entry.kind || matches!(entry.kind, Kind::File { .. }), "{path:?}");
    }
    restore(&place, "in-place", &["--overwrite", "--delete", &made[0].0]).expect(0);
    assert_equal(&made[0].2, &Manifest::of(&target).unwrap(), "as it was at first");
    // Again, over what is right already; and damaged by hand with size and time as they were.
    let victim = target.join("content/size-513");
    let times = fs::metadata(&victim).unwrap().modified().unwrap();
    fs::write(&victim, [b'x'; 513]).unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(times).unwrap();
    restore(&place, "in-place", &["--overwrite", "--delete", &made[0].0]).expect(0);
    assert_equal(&made[0].2, &Manifest::of(&target).unwrap(), "and again");
    restore(&place, "in-place", &["--overwrite", "--delete", "latest"]).expect(0);
    assert_equal(&made[2].2, &Manifest::of(&target).unwrap(), "and forward again");
}

#[test]
fn several_trees_and_single_files_stand_beside_each_other() {
    let place = place();
    let tree = place.tree(44, Features::plain());
    let path = |name: &str| OsString::from(tree.root().join(name));
    let mut arguments: Vec<OsString> = place.arguments("backup", &[]);
    arguments.extend([path("content"), path("hard"), path("sparse/many-holes"), path("special")]);
    run(place.program.command(&arguments)).expect(0);
    let there = restored(&place, "t", "latest");
    for name in ["content", "hard", "special"] {
        let expected = Manifest::of(&tree.root().join(name)).unwrap();
        assert_equal(&expected, &Manifest::of(&place.target("t").join(name)).unwrap(), name);
    }
    let names: Vec<_> = crate::place::entries(&place.target("t"));
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(there.entries.contains_key(&b"many-holes"[..]));

    let mut arguments: Vec<OsString> = place.arguments("backup", &[]);
    arguments.push(path("content/text.log"));
    run(place.program.command(&arguments)).expect(0);
    restore(&place, "single", &[]).expect(0);
    let single = Manifest::of(&place.target("single")).unwrap();
    let expected = Manifest::of(&tree.root().join("content")).unwrap();
    assert_eq!(single.paths(), ["", "text.log"]);
    assert_eq!(single.entries[&b"text.log"[..]], expected.entries[&b"text.log"[..]]);
    // Of one backup of several, a part.
    restore(&place, "of-one", &["--include", "hard/sub", "latest~1"]).expect(0);
    assert_eq!(
        Manifest::of(&place.target("of-one")).unwrap().paths(),
        ["", "hard", "hard/sub", "hard/sub/c"]
    );
}

#[test]
fn streams_and_commands_come_back_byte_for_byte() {
    let place = place();
    let content = icecore_testkit::random::Random::new(45).bytes(9 << 20);
    let file = place.path().join("stream");
    fs::write(&file, &content).unwrap();
    let mut command = place.program.command(&place.arguments("backup", &["--stdin", "--stdin-name", "dump"]));
    command.stdin(fs::File::open(&file).unwrap());
    let summary = run(command).expect(0).summary();
    assert_eq!((&summary["files"], &summary["bytes"]), (&1.into(), &content.len().into()));
    restore(&place, "a", &[]).expect(0);
    assert!(fs::read(place.target("a").join("dump")).unwrap() == content);
    // The same from a command: nothing is stored twice but what names it.
    let shown = file.to_str().unwrap();
    let from_command = ["--stdin-name", "dump", "--stdin-from-command", "--", "cat", shown];
    let again = verb(&place, "backup", &from_command).expect(0).summary();
    assert!(again["stored_bytes"].as_u64().unwrap() < 65_536, "{again}");
    restore(&place, "b", &[]).expect(0);
    assert!(fs::read(place.target("b").join("dump")).unwrap() == content);
    // An empty stream is an empty file.
    verb(&place, "backup", &["--stdin-from-command", "--", "true"]).expect(0);
    restore(&place, "c", &[]).expect(0);
    assert_eq!(fs::read(place.target("c").join("stdin")).unwrap(), b"");
    // A command that fails after all of its output, or is killed, fails the backup.
    let count = list(&place).len();
    for script in [format!("cat {shown}; exit 7"), "kill -9 $$".to_owned()] {
        let failed = verb(&place, "backup", &["--stdin-from-command", "--", "sh", "-c", &script]).expect(1);
        failed.explained();
    }
    assert_eq!((list(&place).len(), objects(&place, "sessions").len()), (count, 0));
    verb(&place, "check", &["--read-data"]).expect(0);
}

fn without_what_root_alone_has(manifest: &mut Manifest) {
    manifest.entries.retain(|_, entry| !matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..)));
    for entry in manifest.entries.values_mut() {
        entry.xattrs.retain(|name, _| !name.starts_with(b"trusted.") && !name.starts_with(b"security."));
    }
}

/// Gives a new folder for targets to whoever runs the program.
fn give_targets(place: &Place) {
    let targets = place.path().join("targets");
    fs::create_dir_all(&targets).unwrap();
    place.program.give(&targets);
}

#[test]
fn somebody_who_is_not_root_gets_back_all_that_is_his() {
    let place = Place::unprivileged();
    let features = Features { devices: false, ..Features::plain() };
    let mut tree = place.tree(46, features);
    if is_root() {
        // What root alone may read or give is another test's.
        fs::remove_file(place.source().join("attributes/no-access")).unwrap();
    }
    place.program.give(&place.source());
    init(&place, &[]).expect(0);
    give_targets(&place);
    for step in 0..2 {
        if step > 0 {
            tree.mutate(step).unwrap();
            place.program.give(&place.source());
        }
        place.settle();
        let summary = backup(&place, &[]).expect(0).summary();
        let mut expected = Manifest::of(&place.source()).unwrap();
        without_what_root_alone_has(&mut expected);
        let there = restored(&place, &format!("t{step}"), &id(&summary));
        assert_equal(&expected, &there, &format!("step {step}"));
    }
    verb(&place, "check", &["--read-data"]).expect(0);
}

#[test]
fn what_root_backed_up_somebody_else_restores_as_far_as_he_may() {
    if !is_root() {
        return crate::program::not_run("needs root and somebody else");
    }
    let mut place = place();
    place.tree(47, Features { devices: false, ..Features::plain() });
    backup(&place, &[]).expect(0);
    let expected = Manifest::of(&place.source()).unwrap();
    place.program = crate::program::Program::unprivileged();
    place.program.give(&place.repository());
    give_targets(&place);
    let outcome = restore(&place, "t", &[]).expect(0);
    // Every owner or attribute that could not be given is told, and nothing is lost.
    assert!(outcome.summary()["problems"].as_u64().unwrap() > 0);
    assert!(outcome.of_type("problem").iter().all(|line| line["lost"] == false));
    let (mut there, mut expected) = (Manifest::of(&place.target("t")).unwrap(), expected);
    for manifest in [&mut there, &mut expected] {
        without_what_root_alone_has(manifest);
        // Without the owner, set-user-id and set-group-id would be somebody else's.
        manifest.entries.values_mut().for_each(|entry| entry.mode &= 0o1777);
    }
    let options = Options { owners: false, ..Options::default() };
    assert_alike(&expected, &there, &options, "but for owners");
}
