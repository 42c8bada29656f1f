//! Files that change in a way that a look at size and times does not show: never taken for unchanged.

use super::{backup, cheap_place, check_is_clean, let_the_second_pass, restored};
use crate::in_memory::World;
use crate::place::{assert_equal, id};
use crate::running::Running;
use icecore::monitor::{Event, Monitor};
use icecore_testkit::manifest::{Manifest, Options, diff};
use icecore_testkit::random::Random;
use icecore_testkit::tree::attributes::set_mtime;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Writes other bytes of the same number over a file.
fn overwrite(path: &Path, content: &str) {
    assert_eq!(fs::metadata(path).unwrap().len(), content.len() as u64);
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(content.as_bytes(), 0).unwrap();
}

fn put_time_back(path: &Path, before: &fs::Metadata) {
    set_mtime(path, before.mtime(), before.mtime_nsec()).unwrap();
}

/// What a look at a file gives.
fn look(path: &Path) -> (u64, u64, i64, i64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}

/// Writes to a file right before the backup looks at it, and again right after it was read.
struct Meddler {
    file: PathBuf,
    round: u32,
    unseen: AtomicU32,
}

impl Monitor for Meddler {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Directory { path: b"" } => overwrite(&self.file, &format!("before {:03}", self.round)),
            Event::Entry { path: b"file", .. } => {
                let before = look(&self.file);
                overwrite(&self.file, &format!("after! {:03}", self.round));
                self.unseen.fetch_add(u32::from(look(&self.file) == before), Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

/// In one tick of the clock that stamps files: size and all times are those with which it was read.
#[test]
fn a_file_that_changes_right_after_it_was_read_is_read_again() {
    let mut unseen = 0;
    for workers in [1, 3] {
        let mut world = World::dedup();
        (world.workers, world.ahead_seconds) = (workers, 0);
        let file = world.source().join("file");
        fs::write(&file, "before 000").unwrap();
        for round in 0..10 {
            let meddler = Meddler { file: file.clone(), round, unseen: AtomicU32::new(0) };
            world.back_up_watched(&meddler);
            unseen += meddler.unseen.into_inner();
            let (_, now) = world.made.pop().unwrap();
            let report = world.back_up();
            let id = report.id.unwrap().to_string();
            world.restore(Arc::new(world.memory.clone()), &id).equals(&now, &format!("round {round}"));
        }
    }
    // Where the kernel stamps every change that somebody could have missed with a time of its own, there are none.
    eprintln!("{unseen} of 20 changes did not show");
}

/// Rewrites files as fast as it can, each with as many bytes as before, until it is told to stop.
fn hammer(files: &[PathBuf], stop: &AtomicBool, seed: u64) {
    let mut random = Random::new(seed);
    let handles: Vec<File> =
        files.iter().map(|path| OpenOptions::new().write(true).open(path).unwrap()).collect();
    while !stop.load(Ordering::SeqCst) {
        for file in &handles {
            file.write_all_at(format!("{:020}", random.next_u64()).as_bytes(), 0).unwrap();
        }
    }
}

#[test]
fn files_that_change_all_the_time_are_as_they_are_last_in_the_next_backup() {
    let place = cheap_place();
    let files: Vec<PathBuf> = (0..24).map(|number| place.source().join(format!("f{number:02}"))).collect();
    files.iter().for_each(|file| fs::write(file, format!("{:020}", 0)).unwrap());
    let mut moments = Random::new(51);
    for round in 0..12 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| hammer(&files, &stop, round));
            let mut arguments = place.arguments("backup", &[]);
            arguments.push(place.source().into());
            let mut command = place.program.command(&arguments);
            command.env("ICECORE_PASSWORD", super::PASSWORD);
            let running = Running::start(command);
            // Not for synchronisation: the moment shall be any.
            std::thread::sleep(std::time::Duration::from_micros(moments.below(60_000)));
            stop.store(true, Ordering::SeqCst);
            let outcome = running.wait();
            assert!(outcome.status == 0 || outcome.status == 3, "{outcome:?}");
        });
        let now = Manifest::of(&place.source()).unwrap();
        let next = id(&backup(&place, &[]).expect(0).summary());
        assert_equal(&now, &restored(&place, &format!("r{round}"), &next), &format!("round {round}"));
    }
    check_is_clean(&place);
}

#[test]
fn changes_that_keep_size_and_time_are_seen() {
    let place = cheap_place();
    let at = |name: &str| place.source().join(name);
    let names = ["kept", "set-back", "replaced", "one", "other", "grown-and-cut", "linked", "large"];
    for (number, name) in names.iter().enumerate() {
        fs::write(at(name), format!("content {number}")).unwrap();
        set_mtime(&at(name), 1_000_000_000, 5).unwrap();
    }
    fs::write(at("large"), Random::new(1).bytes(2 << 20)).unwrap();
    set_mtime(&at("large"), 1_000_000_000, 5).unwrap();
    let_the_second_pass(&place);
    let first = id(&backup(&place, &[]).expect(0).summary());
    let before = Manifest::of(&place.source()).unwrap();
    let second = backup(&place, &[]).expect(0).summary();
    assert!(second["reason"].as_str().unwrap().contains("nothing has changed"), "{second}");

    let old = |name: &str| fs::metadata(at(name)).unwrap();
    let set_back = old("set-back");
    overwrite(&at("set-back"), "CONTENT 1");
    put_time_back(&at("set-back"), &set_back);

    fs::write(at("new"), "CONTENT 2").unwrap();
    put_time_back(&at("new"), &old("replaced"));
    fs::rename(at("new"), at("replaced")).unwrap();

    renameat_with(CWD, at("one"), CWD, at("other"), RenameFlags::EXCHANGE).unwrap();

    let cut = old("grown-and-cut");
    let file = OpenOptions::new().append(true).open(at("grown-and-cut")).unwrap();
    (&file).write_all(&[b'x'; 5000]).unwrap();
    file.set_len(0).unwrap();
    (&file).write_all(b"CONTENT 5").unwrap();
    put_time_back(&at("grown-and-cut"), &cut);

    fs::remove_file(at("linked")).unwrap();
    fs::hard_link(at("kept"), at("linked")).unwrap();

    let large = old("large");
    let file = OpenOptions::new().write(true).open(at("large")).unwrap();
    file.write_all_at(b"one more", 1 << 20).unwrap();
    put_time_back(&at("large"), &large);

    let now = Manifest::of(&place.source()).unwrap();
    let third = id(&backup(&place, &[]).expect(0).summary());
    assert_equal(&now, &restored(&place, "third", &third), "after all changes");
    assert_equal(&before, &restored(&place, "first", &first), "before them");
    check_is_clean(&place);
}

/// Holds a backup while it reads a large file and lets `change` happen. What it then says is the truth: all is as it was at
/// one moment, or it names the file.
fn changed_while_read(change: impl Fn(&Path)) {
    for mebibytes in [24, 128, 512] {
        let place = cheap_place();
        place.write(&[("a", "before"), ("z", "after")]);
        let large = place.source().join("large");
        fs::write(&large, Random::new(3).bytes(mebibytes << 20)).unwrap();
        set_mtime(&large, 1_000_000_000, 5).unwrap();
        let mut arguments = place.arguments("backup", &["--jobs", "1"]);
        arguments.push(place.source().into());
        let mut command = place.program.command(&arguments);
        command.env("ICECORE_PASSWORD", super::PASSWORD);
        let mut running = Running::start(command);
        if !running.hold_when_open(&large) {
            // It was read before it could be caught: a larger one takes longer.
            running.wait().expect(0);
            continue;
        }
        let before = Manifest::of(&place.source()).unwrap();
        change(&large);
        running.resume();
        let outcome = running.wait();
        let expected = Manifest::of(&place.source()).unwrap();
        if outcome.status == 0 {
            // One that was replaced is whole as it was before.
            let told = restored(&place, "told", "latest");
            let is_as_before = diff(&before, &told, &Options::default()).is_empty();
            assert_equal(if is_as_before { &before } else { &expected }, &told, "what it says is whole");
        } else {
            assert!(outcome.expect(3).names("large"));
        }
        let next = id(&backup(&place, &[]).expect(0).summary());
        assert_equal(&expected, &restored(&place, "next", &next), "the next backup");
        check_is_clean(&place);
        return;
    }
    panic!("a file of 512 MiB was read before it could be caught");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_whole_or_named() {
    changed_while_read(|file| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(&[7; 1 << 20]).unwrap();
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_whole_or_named() {
    changed_while_read(|file| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap());
}

#[test]
fn a_file_whose_time_is_set_back_while_it_is_read_is_whole_or_named() {
    changed_while_read(|file| {
        let before = fs::metadata(file).unwrap();
        let open = OpenOptions::new().write(true).open(file).unwrap();
        for place in [0, 1 << 20, before.len() - 9] {
            open.write_all_at(b"changed!", place).unwrap();
        }
        put_time_back(file, &before);
    });
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_whole_or_named() {
    changed_while_read(|file| {
        let before = fs::metadata(file).unwrap();
        let new = file.with_file_name("new");
        fs::write(&new, Random::new(4).bytes(before.len() as usize)).unwrap();
        put_time_back(&new, &before);
        fs::rename(new, file).unwrap();
    });
}
