//! Somebody writes into the target while a restore is under way: what is wrong then has been told.

use crate::in_memory::World;
use icecore::monitor::{Event, Monitor};
use icecore_testkit::random::Random;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Changes a byte of a file as soon as the file is there and more is read, which is of the level above.
struct Meddler {
    file: PathBuf,
    done: AtomicBool,
}

impl Monitor for Meddler {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Stored { .. })
            && self.file.exists()
            && !self.done.swap(true, Ordering::SeqCst)
        {
            OpenOptions::new().write(true).open(&self.file).unwrap().write_all_at(b"!", 30_000).unwrap();
        }
    }
}

/// Two files of one content are made of the same blocks, each from what the level below has made of it itself: be it the one or the
/// other that is changed between the levels, it is not called restored.
#[test]
fn a_file_that_is_changed_between_two_levels_is_not_called_restored() {
    let mut world = World::chains("rsync");
    let at = |name: &str| world.source().join(name);
    let (first, second) = (at("first.img"), at("second.img"));
    let mut content = Random::new(9).bytes(64 << 10);
    // None of them is what is written over it.
    content[30_000] = b'?';
    fs::write(&first, &content).unwrap();
    world.back_up();
    world.settle();
    content[100] ^= 1;
    fs::write(&first, &content).unwrap();
    fs::hard_link(&first, &second).unwrap();
    let report = world.back_up();
    assert!(report.stored_bytes < 32 << 10, "it was stored whole: {report:?}");
    world.settle();
    // What was one file is two from now on.
    fs::remove_file(&second).unwrap();
    fs::write(&second, &content).unwrap();
    world.back_up();
    let (id, expected) = world.made.last().unwrap();
    world.restore(Arc::new(world.memory.clone()), id).equals(expected, "nobody meddles");
    for name in ["first.img", "second.img"] {
        let target = world.beside(&format!("target of {name}"));
        let meddler = Meddler { file: target.join(name), done: AtomicBool::new(false) };
        let outcome = world.restore_as(Arc::new(world.memory.clone()), &world.options(id, &target), &meddler);
        assert!(meddler.done.into_inner(), "{name} was not there between the levels");
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}
