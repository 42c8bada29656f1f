//! A target that was changed in every way there is becomes what the backup is.

use super::{restored, worlds};
use crate::in_memory::World;
use crate::place::assert_equal;
use icecore::engine::Overwrite;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::shuffle::Shuffle;

/// A world whose source was shuffled between two backups.
fn shuffled(mut world: World, seed: u64) -> World {
    let aside = world.beside("aside").join("swapped");
    let mut tree = Shuffle::create(&world.source(), &aside, seed).unwrap();
    world.settle();
    world.back_up();
    world.settle();
    tree.step().unwrap();
    world.settle();
    world.back_up();
    world
}

#[test]
fn whatever_was_done_to_a_target_a_restore_with_delete_makes_it_the_backup() {
    for seed in 0..6 {
        for world in worlds() {
            let world = shuffled(world, seed);
            let wanted = Manifest::of(&world.source()).unwrap();
            let target = world.beside("target");
            restored(&world, &target, |_| {}).unwrap();
            for (step, policy) in
                [Overwrite::Always, Overwrite::IfChanged, Overwrite::Always].into_iter().enumerate()
            {
                let aside = world.beside("aside").join("target");
                let mut edits = Shuffle::create(&target, &aside, 1000 * seed + step as u64).unwrap();
                (0..3).for_each(|_| edits.step().unwrap());
                restored(&world, &target, |options| {
                    (options.overwrite, options.delete, options.verify) = (Some(policy), true, true);
                })
                .unwrap();
                let what = format!("{}, seed {seed}, {policy:?}", world.engine);
                assert_equal(&wanted, &Manifest::of(&target).unwrap(), &what);
            }
        }
    }
}

#[test]
fn what_is_missing_comes_and_nothing_else_changes_when_nothing_is_to_be_overwritten() {
    for seed in 10..14 {
        for world in worlds() {
            let world = shuffled(world, seed);
            let target = world.beside("target");
            let aside = world.beside("aside").join("target");
            Shuffle::create(&target, &aside, 77 + seed).unwrap().step().unwrap();
            let before = Manifest::of(&target).unwrap();
            restored(&world, &target, |options| options.overwrite = Some(Overwrite::Never)).unwrap();
            let (source, after) = (Manifest::of(&world.source()).unwrap(), Manifest::of(&target).unwrap());
            for (path, entry) in &before.entries {
                let now = &after.entries[path];
                let shown = String::from_utf8_lossy(path);
                assert_eq!(
                    (&now.kind, now.mode),
                    (&entry.kind, entry.mode),
                    "{}, seed {seed}: {shown}",
                    world.engine
                );
            }
            for (path, entry) in after.entries.iter().filter(|(path, _)| !before.entries.contains_key(*path))
            {
                let shown = String::from_utf8_lossy(path);
                assert_eq!(entry.kind, source.entries[path].kind, "{}, seed {seed}: {shown}", world.engine);
            }
            // What could be made was made: all but what is below something that is no directory.
            for path in source.entries.keys().filter(|path| !after.entries.contains_key(*path)) {
                let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
                let blocked = ends.into_iter().any(|end| {
                    use icecore_testkit::manifest::Kind;
                    before.entries.get(&path[..end]).is_some_and(|entry| entry.kind != Kind::Directory)
                });
                assert!(
                    blocked,
                    "{}, seed {seed}: {} is missing",
                    world.engine,
                    String::from_utf8_lossy(path)
                );
            }
        }
    }
}
