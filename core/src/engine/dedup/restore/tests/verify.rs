//! Reading back what was written, when something changed it in between.

use super::*;
use crate::engine::Overwrite;
use crate::monitor::{Counting, Event, Monitor};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Changes files of the target when everything was written and nothing was read back.
struct Meddler<'e> {
    events: &'e Events,
    folder: PathBuf,
    entries_left: AtomicUsize,
}

const CHANGED: [&str; 7] = ["a/deep/g40", "a/f05", "a/f06", "b/empty", "large", "nothing", "sparse"];

impl Meddler<'_> {
    fn meddle(&self) {
        let flip = |path: &str, at: u64| {
            let file = fs::File::options().write(true).read(true).open(self.folder.join(path)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        };
        flip("a/f05", 3);
        flip("a/deep/g40", 399);
        flip("large", 30_000);
        // In a hole.
        flip("sparse", 77);
        flip("nothing", 123_000);
        fs::write(self.folder.join("b/empty"), "x").unwrap();
        fs::remove_file(self.folder.join("a/f06")).unwrap();
    }
}

impl Monitor for Meddler<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Entry { .. }) && self.entries_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.meddle();
        }
        self.events.event(event);
    }
}

#[test]
fn every_byte_that_is_not_what_was_written_is_found() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let all = paths(&[]);
    let plan = Plan { verify: true, ..backup.plan(&all) };
    let entries = backup.names_of_entries().len();
    for bounds in [SMALL, BOUNDS] {
        let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
        let entries_left = AtomicUsize::new(entries);
        let meddler = Meddler { events: &events, folder: folder.path().to_owned(), entries_left };
        let monitor = Counting::new(&meddler);
        // By one worker, so that all is written when the last entry is told.
        let error = backup.restore_with(&root, folder.path(), plan, 1, bounds, &monitor).unwrap_err();
        assert_eq!((error.kind(), events.lost()), (Kind::Io, CHANGED.map(str::to_owned).to_vec()));
        // All other files; a link and a pipe are none.
        assert_eq!(monitor.verified() as usize, entries - 2 - CHANGED.len());
    }
}

#[test]
fn what_is_as_it_was_written_is_right_and_what_stays_is_passed_over() {
    let mut backup = Backup::new();
    everything(&mut backup);
    let root = backup.finish();
    let all = paths(&[]);
    let files = backup.names_of_entries().len() as u64 - 2;
    let folder = tempfile::tempdir().unwrap();
    let run = |overwrite| {
        let (plan, events) = (Plan { verify: true, overwrite, ..backup.plan(&all) }, Events::default());
        let monitor = Counting::new(&events);
        backup.restore_with(&root, folder.path(), plan, 2, SMALL, &monitor).unwrap();
        (monitor.verified(), monitor.unchanged(), monitor.kept(), events.stored())
    };
    assert_eq!(run(None).0, files);
    fs::write(folder.path().join("a/f00"), "mine").unwrap();
    assert_eq!(run(Some(Overwrite::Never)), (0, 0, files + 2, 0));
    let (verified, unchanged, kept, stored) = run(Some(Overwrite::IfChanged));
    assert_eq!((verified, unchanged, kept), (1, files - 1, 0));
    assert!(stored > 0 && stored < 200, "{stored} bytes for one short file");
    assert_eq!(run(Some(Overwrite::Always)), (files, 0, 0, 0), "what was there was fetched");
}

/// Puts a copy in the place of a further name of a file when everything was written and nothing was read back.
struct Parter<'e> {
    events: &'e Events,
    path: PathBuf,
    entries_left: AtomicUsize,
}

impl Monitor for Parter<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Entry { .. }) && self.entries_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let content = fs::read(&self.path).unwrap();
            fs::remove_file(&self.path).unwrap();
            fs::write(&self.path, content).unwrap();
        }
        self.events.event(event);
    }
}

#[test]
fn a_further_name_that_is_another_file_is_found() {
    let mut backup = Backup::new();
    backup.directory("", 0o755);
    let mut linked = backup.small_entry(b"shared");
    linked.inode = 77;
    linked.names = Some(crate::engine::dedup::tree::Names { device: 0, links: 4 });
    for path in ["a", "b", "c", "d"] {
        backup.entry(path, linked.clone());
    }
    let root = backup.finish();
    let all = paths(&[]);
    let plan = Plan { verify: true, ..backup.plan(&all) };
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    backup.restore_with(&root, folder.path(), plan, 1, BOUNDS, &events).unwrap();
    assert_eq!(events.lost(), Vec::<String>::new());
    let (folder, events) = (tempfile::tempdir().unwrap(), Events::default());
    let parter = Parter { events: &events, path: folder.path().join("c"), entries_left: AtomicUsize::new(4) };
    let error = backup.restore_with(&root, folder.path(), plan, 1, BOUNDS, &parter).unwrap_err();
    assert_eq!((error.kind(), events.lost()), (Kind::Io, vec!["c".to_owned()]));
}
