//! Restoring over what is there, in part, with holes, and reading it back; by both engines, from chains of two levels and from
//! deduplicated backups. What must come of it is said here, entry by entry, and not taken from the program.

mod broken_off;
mod meddled;
mod options;
mod parts;
mod policies;
mod shuffled;

use crate::in_memory::World;
use icecore::restore;
use icecore::{Result, engine};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// When everything was changed last in the backup: long ago, so that nothing is taken for racy.
pub const BACKED_UP: i64 = 1_600_000_000;

/// A world for each engine.
pub fn worlds() -> Vec<World> {
    let worlds: Vec<World> = engine::ENGINES
        .iter()
        .map(|engine| match engine.name() {
            "dedup" => World::dedup(),
            name => {
                let mut world = World::new();
                world.engine = name;
                world
            }
        })
        .collect();
    assert!(worlds.len() >= 2);
    worlds
}

/// Sets the time of the last change; of a link itself.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Makes a file changed at a time, and the directories above it.
pub fn write(path: &Path, content: &str, seconds: i64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    set_time(path, seconds);
}

/// What stands at a path, in a word.
pub fn what(path: &Path) -> String {
    match fs::symlink_metadata(path) {
        Err(_) => "nothing".to_owned(),
        Ok(found) if found.is_dir() => "a directory".to_owned(),
        Ok(found) if found.is_symlink() => format!("-> {}", fs::read_link(path).unwrap().display()),
        Ok(_) => fs::read_to_string(path).unwrap(),
    }
}

/// Restores the latest backup as `change` says.
pub fn restored(
    world: &World,
    target: &Path,
    change: impl FnOnce(&mut restore::Options<'_>),
) -> Result<restore::Report> {
    let mut options = world.options("latest", target);
    change(&mut options);
    world.restore_as(Arc::new(world.memory.clone()), &options, &icecore::monitor::Quiet)
}
