//! Holes where the backup has zeros, reading back what was written, and the command line of it all.

use super::{BACKED_UP, restored, what, worlds, write};
use crate::dedup::{backup, cheap_place, restore};
use crate::place::{Place, assert_alike};
use icecore::engine::Overwrite;
use icecore_testkit::manifest::{Manifest, Options};
use std::fs;
use std::os::unix::fs::MetadataExt;

const MIB: usize = 1 << 20;

#[test]
fn zeros_become_holes_when_that_is_asked_for_and_holes_stay_holes() {
    for mut world in worlds() {
        let at = |path: &str| world.source().join(path);
        let mut content = vec![0; 8 * MIB];
        content[..100].fill(1);
        content[5 * MIB + 77] = 2;
        fs::write(at("zeros"), &content).unwrap();
        fs::write(at("small zeros"), vec![0; 300 << 10]).unwrap();
        fs::File::create(at("hole")).unwrap().set_len(8 * MIB as u64).unwrap();
        world.settle();
        world.back_up();
        let wanted = Manifest::of(&world.source()).unwrap();
        let options = Options { holes: false, ..Options::default() };
        for sparse in [false, true] {
            let target = world.beside(&format!("target {sparse}"));
            let report = restored(&world, &target, |options| {
                (options.sparse, options.verify) = (sparse, true);
            })
            .unwrap();
            assert_eq!(report.verified, Some(3), "{}", world.engine);
            assert_alike(&wanted, &Manifest::of(&target).unwrap(), &options, world.engine);
            let taken = |path: &str| fs::metadata(target.join(path)).unwrap().blocks() * 512;
            assert!(taken("hole") < 64 << 10);
            for (path, full) in [("zeros", 8 * MIB as u64), ("small zeros", 300 << 10)] {
                let is_full = taken(path) >= full;
                let is_thin = taken(path) <= 128 << 10;
                assert!(
                    if sparse { is_thin } else { is_full },
                    "{}: {path} takes {}",
                    world.engine,
                    taken(path)
                );
            }
        }
    }
}

#[test]
fn what_was_restored_is_read_back_and_what_was_left_alone_is_not() {
    for mut world in worlds() {
        for number in 0..20 {
            write(
                &world.source().join(format!("d{}/f{number}", number % 3)),
                &format!("{number}"),
                BACKED_UP,
            );
        }
        fs::write(world.source().join("large"), vec![7; 3 * MIB]).unwrap();
        fs::write(world.source().join("empty"), "").unwrap();
        world.settle();
        world.back_up();
        let target = world.beside("target");
        let report = restored(&world, &target, |options| options.verify = true).unwrap();
        assert_eq!((report.verified, report.unchanged, report.kept), (Some(22), 0, 0), "{}", world.engine);
        fs::remove_file(target.join("d0/f0")).unwrap();
        let report = restored(&world, &target, |options| {
            (options.verify, options.overwrite) = (true, Some(Overwrite::IfChanged));
        })
        .unwrap();
        assert_eq!((report.verified, report.unchanged), (Some(1), 21), "{}", world.engine);
        fs::write(target.join("d0/f0"), "mine").unwrap();
        let report = restored(&world, &target, |options| {
            (options.verify, options.overwrite) = (true, Some(Overwrite::Never));
        })
        .unwrap();
        assert_eq!((report.verified, report.kept), (Some(0), 22), "{}", world.engine);
        assert_eq!(restored(&world, &world.beside("other"), |_| {}).unwrap().verified, None);
    }
}

/// Files that are there, whatever their sizes, and what becomes of them by a command line.
fn outcome_of(place: &Place, engine: &str, number: usize, more: &[&str], status: i32) -> Vec<String> {
    let target = place.target(&format!("t{number}"));
    write(&target.join("docs/a.txt"), "target", BACKED_UP + 5);
    write(&target.join("stranger"), "target", BACKED_UP + 5);
    let arguments = [&["--engine", engine], more].concat();
    let outcome = restore(place, &format!("t{number}"), &arguments).expect(status);
    if status != 0 {
        outcome.explained();
    }
    ["docs/a.txt", "docs/b.txt", "stranger", "a.txt"].iter().map(|path| what(&target.join(path))).collect()
}

#[test]
fn the_command_line_has_a_word_for_each_policy() {
    let place = cheap_place();
    for path in ["docs/a.txt", "docs/b.txt"] {
        write(&place.source().join(path), "backup", BACKED_UP);
    }
    place.settle();
    for engine in ["dedup", "tar"] {
        let more: &[&str] = if engine == "tar" { &["--engine", "tar", "--no-encryption"] } else { &[] };
        backup(&place, more).expect(0);
        let (backup, target) = ("backup", "target");
        let cases: [(&[&str], i32, [&str; 4]); 12] = [
            (&["--overwrite", "latest"], 0, [backup, backup, target, "nothing"]),
            (&["latest", "--overwrite"], 0, [backup, backup, target, "nothing"]),
            (&["--overwrite", "always", "latest"], 0, [backup, backup, target, "nothing"]),
            (&["--overwrite", "if-changed", "latest"], 0, [backup, backup, target, "nothing"]),
            (&["--overwrite", "if-newer", "latest"], 0, [target, backup, target, "nothing"]),
            (&["--overwrite=never", "latest"], 0, [target, backup, target, "nothing"]),
            (&["--overwrite", "never"], 0, [target, backup, target, "nothing"]),
            (&["--overwrite", "--delete", "latest"], 0, [backup, backup, "nothing", "nothing"]),
            (&["--overwrite", "never", "--delete", "latest"], 2, [target, "nothing", target, "nothing"]),
            (&["--overwrite", "latest:docs"], 0, [target, "nothing", target, backup]),
            (&["--overwrite", ":docs/a.txt"], 0, [target, "nothing", target, backup]),
            (&["--overwrite=sometimes", "latest"], 2, [target, "nothing", target, "nothing"]),
        ];
        for (number, (more, status, wanted)) in cases.into_iter().enumerate() {
            let number = number + if engine == "tar" { 100 } else { 0 };
            assert_eq!(outcome_of(&place, engine, number, more, status), wanted, "{engine}: {more:?}");
        }
    }
    let target = place.target("t6");
    let summary =
        restore(&place, "t6", &["--engine", "dedup", "--overwrite", "never", "--verify"]).expect(0).summary();
    assert_eq!(
        (&summary["kept"], &summary["verified"], &summary["unchanged"]),
        (&2.into(), &0.into(), &0.into())
    );
    fs::remove_file(target.join("docs/a.txt")).unwrap();
    let summary = restore(&place, "t6", &["--engine", "dedup", "--overwrite", "if-changed", "--verify"])
        .expect(0)
        .summary();
    assert_eq!(
        (&summary["kept"], &summary["verified"], &summary["unchanged"]),
        (&0.into(), &1.into(), &1.into())
    );
}
