//! GNU tar both ways: it restores what we wrote, we restore what it wrote, and each goes on where the other stopped.
//!
//! Paths beyond PATH_MAX are left out: GNU tar works by path and cannot reach them.

use crate::place::{Place, SERIES, assert_alike, assert_equal, id};
use crate::program::not_run;
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::tree::{Features, SCRIPTED_STEPS, Tree};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The formats in which GNU tar can write an incremental archive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format {
    /// What Freezer's tar writes: whole seconds, no extended attributes.
    Gnu,
    /// PAX records for everything else.
    Posix,
}

impl Format {
    fn keeps(self) -> Options {
        let all = self == Format::Posix;
        Options { nanoseconds: all, xattrs: all, ..Options::default() }
    }
}

/// The chain that [`gnu_level`] writes begins at this time, long before any run of the program.
const CHAIN: i64 = 1_700_000_000;

/// Where a level lies below `data/` and `metadata/`.
fn level_folder(level: usize) -> PathBuf {
    let time = CHAIN + level as i64;
    PathBuf::from("tar").join(SERIES).join(CHAIN.to_string()).join(format!("{level}_{time}"))
}

/// Unpacks one stored level over `target` with nothing but GNU tar and the plain decompressor.
pub fn extract(data: &Path, compression: &str, target: &Path) {
    fs::create_dir_all(target).unwrap();
    let mut tar = Command::new("tar");
    tar.args([
        "--incremental",
        "--extract",
        "--preserve-permissions",
        "--numeric-owner",
        "--xattrs",
        "--acls",
    ]);
    // Not --directory: tar makes the temporary directory of a rename in a circle where it was started.
    tar.args(["--xattrs-include=*", "--delay-directory-restore", "--file=-"]).current_dir(target);
    let source = File::open(data).unwrap();
    let output = match compression {
        "none" => tar.stdin(source).output().unwrap(),
        program => {
            let mut unpack = Command::new(program)
                .args(["--decompress", "--stdout"])
                .stdin(source)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = tar.stdin(unpack.stdout.take().unwrap()).output().unwrap();
            assert!(unpack.wait().unwrap().success(), "{program} does not accept {}", data.display());
            output
        }
    };
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tar does not accept {}: {words}", data.display());
}

/// Writes the next level of the source with GNU tar and gzip, in Freezer's layout. `snapshot` is the file to go on from.
pub fn gnu_level(place: &Place, level: usize, snapshot: Option<&Path>, format: Format) -> PathBuf {
    let data = place.repository().join("data").join(level_folder(level));
    let metadata = place.repository().join("metadata").join(level_folder(level));
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(&metadata).unwrap();
    let own = data.join("engine_metadata");
    if let Some(snapshot) = snapshot {
        fs::copy(snapshot, &own).unwrap();
    }
    write_archive(&place.source(), &own, &data.join("data"), format);
    let document = r#"{"engine_name": "tar", "compression": "gzip", "encryption": false}"#;
    fs::write(metadata.join("metadata"), document).unwrap();
    own
}

fn write_archive(source: &Path, snapshot: &Path, data: &Path, format: Format) {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sparse", "--no-check-device", "--file=-"]);
    match format {
        Format::Gnu => tar.arg("--format=gnu"),
        Format::Posix => tar.args(["--format=posix", "--xattrs", "--xattrs-include=*", "--acls"]),
    };
    tar.arg("--listed-incremental").arg(snapshot).arg("--directory").arg(source).arg(".");
    let status = tar.stdout(File::create(data).unwrap()).status().unwrap();
    assert!(status.success());
}

fn missing(programs: &[&str]) -> Option<String> {
    let absent = |program: &&&str| {
        !Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    programs.iter().find(absent).map(|program| format!("the program {program} is not installed"))
}

/// Restores our chain with GNU tar level by level, comparing after each.
fn gnu_tar_restores(compression: &str, steps: u32) {
    if let Some(reason) = missing(&["tar", "gzip"]) {
        return not_run(&reason);
    }
    let place = Place::new();
    let mut tree = place.tree(41, Features::plain());
    let target = place.target("gnu");
    for level in 0..=steps {
        if level > 0 {
            tree.mutate(level).unwrap();
        }
        place.backup(&["--incremental", "--compression", compression]).expect(0);
        let data = place.stored_levels()[level as usize].join("data");
        extract(&data, compression, &target);
        let expected = Manifest::of(tree.root()).unwrap();
        let what = format!("GNU tar, {compression}, level {level}");
        assert_equal(&expected, &Manifest::of(&target).unwrap(), &what);
    }
}

#[test]
fn gnu_tar_restores_our_chains_level_by_level() {
    gnu_tar_restores("zstd", SCRIPTED_STEPS);
}

#[test]
fn gnu_tar_restores_every_compression() {
    for compression in ["gzip", "bzip2", "xz", "none"] {
        if let Some(reason) = missing(&["bzip2", "xz"]) {
            return not_run(&reason);
        }
        gnu_tar_restores(compression, 1);
    }
}

#[test]
fn gnu_tar_restores_random_histories() {
    for seed in 51..54 {
        let place = Place::new();
        let mut tree = Tree::create(&place.source(), seed, Features::plain()).unwrap();
        let target = place.target("gnu");
        for level in 0..5 {
            if level > 0 {
                tree.mutate(SCRIPTED_STEPS + 1).unwrap();
            }
            place.increment();
            extract(&place.stored_levels()[level].join("data"), "zstd", &target);
            let expected = Manifest::of(tree.root()).unwrap();
            assert_equal(&expected, &Manifest::of(&target).unwrap(), &format!("seed {seed}, level {level}"));
        }
    }
}

/// A tree whose history GNU tar can tell: see [`Features`] for what it cannot.
fn for_gnu_tar() -> Features {
    Features { circles: false, inodes_reused: false, ..Features::plain() }
}

/// Without the program: what is asked of both is what GNU tar does alone. (Beyond step 2 it fails: where a child becomes the
/// parent of its parent, it stores a rename of what is no longer there.)
#[test]
fn gnu_tar_restores_what_it_wrote() {
    for format in [Format::Gnu, Format::Posix] {
        let place = Place::new();
        let mut tree = place.tree(45, for_gnu_tar());
        let mut snapshot: Option<PathBuf> = None;
        for level in 0..=2 {
            if level > 0 {
                tree.mutate(level).unwrap();
            }
            snapshot = Some(gnu_level(&place, level as usize, snapshot.as_deref(), format));
            extract(&place.stored_levels()[level as usize].join("data"), "gzip", &place.target("gnu"));
            let restored = Manifest::of(&place.target("gnu")).unwrap();
            let expected = Manifest::of(tree.root()).unwrap();
            assert_alike(&expected, &restored, &format.keeps(), &format!("{format:?}, level {level}"));
        }
    }
}

/// GNU tar writes the chain, the program lists, checks and restores it.
fn we_restore_what_gnu_tar_wrote(format: Format) {
    if let Some(reason) = missing(&["tar", "gzip"]) {
        return not_run(&reason);
    }
    let place = Place::new();
    let mut tree = place.tree(42, Features { circles: false, ..Features::plain() });
    let mut snapshot: Option<PathBuf> = None;
    let mut expected = Vec::new();
    for level in 0..=SCRIPTED_STEPS {
        if level > 0 {
            tree.mutate(level).unwrap();
        }
        snapshot = Some(gnu_level(&place, level as usize, snapshot.as_deref(), format));
        expected.push(Manifest::of(tree.root()).unwrap());
    }
    let ids = place.ids();
    assert_eq!(ids.len(), expected.len());
    assert!(place.list().iter().all(|backup| backup["by_icecore"] == false));
    for (level, (id, expected)) in ids.iter().zip(&expected).enumerate() {
        let restored = place.restored(&level.to_string(), id);
        assert_alike(expected, &restored, &format.keeps(), &format!("{format:?}, level {level}"));
    }
    place.check_is_clean();
}

#[test]
fn we_restore_chains_of_gnu_tar_in_its_own_format() {
    we_restore_what_gnu_tar_wrote(Format::Gnu);
}

#[test]
fn we_restore_chains_of_gnu_tar_in_posix_format() {
    we_restore_what_gnu_tar_wrote(Format::Posix);
}

/// Directories that GNU tar saw change names with each other, by two and by three.
#[test]
fn we_restore_the_circles_of_gnu_tar() {
    let place = Place::new();
    let mut tree = place.tree(46, Features::plain());
    tree.mutate(1).unwrap();
    let snapshot = gnu_level(&place, 0, None, Format::Posix);
    tree.mutate(2).unwrap();
    gnu_level(&place, 1, Some(&snapshot), Format::Posix);
    let restored = place.restored("t", "latest");
    assert_equal(&Manifest::of(tree.root()).unwrap(), &restored, "after the circles");
}

#[test]
fn we_go_on_where_gnu_tar_stopped() {
    let place = Place::new();
    // GNU tar takes a directory with the inode of a removed one for that one renamed, and cannot replay it.
    let mut tree = place.tree(43, Features { inodes_reused: false, ..Features::plain() });
    let snapshot = gnu_level(&place, 0, None, Format::Posix);
    tree.mutate(1).unwrap();
    gnu_level(&place, 1, Some(&snapshot), Format::Posix);
    let full = fs::metadata(snapshot.with_file_name("data")).unwrap().len();
    for (step, level) in [(2, 2), (3, 3)] {
        tree.mutate(step).unwrap();
        let summary = place.increment();
        assert_eq!((&summary["level"], &summary["chain"]), (&level.into(), &CHAIN.into()));
        let stored = summary["stored_bytes"].as_u64().unwrap();
        assert!(stored < full, "a level must hold only what changed: {stored} of {full} bytes");
        let expected = Manifest::of(tree.root()).unwrap();
        assert_equal(&expected, &place.restored(&level.to_string(), &id(&summary)), "we, after GNU tar");
    }
    // And GNU tar restores the mixed chain.
    let target = place.target("gnu");
    for (level, folder) in place.stored_levels().iter().enumerate() {
        extract(&folder.join("data"), if level < 2 { "gzip" } else { "zstd" }, &target);
    }
    assert_equal(
        &Manifest::of(tree.root()).unwrap(),
        &Manifest::of(&target).unwrap(),
        "a mixed chain by GNU tar",
    );
}

#[test]
fn gnu_tar_goes_on_where_we_stopped() {
    let place = Place::new();
    let mut tree = place.tree(44, Features { inodes_reused: false, ..Features::plain() });
    place.increment();
    tree.mutate(1).unwrap();
    place.increment();
    let target = place.target("gnu");
    for folder in place.stored_levels() {
        extract(&folder.join("data"), "zstd", &target);
    }
    let ours = place.stored_levels()[1].join("engine_metadata");
    let full = fs::metadata(place.stored_levels()[0].join("data")).unwrap().len();
    tree.mutate(2).unwrap();
    let snapshot = place.path().join("snapshot");
    fs::copy(ours, &snapshot).unwrap();
    let data = place.path().join("level-2");
    write_archive(&place.source(), &snapshot, &data, Format::Posix);
    let size = fs::metadata(&data).unwrap().len();
    assert!(size < full, "GNU tar did not take our snapshot file for what it is: {size} of {full} bytes");
    extract(&data, "gzip", &target);
    assert_equal(&Manifest::of(tree.root()).unwrap(), &Manifest::of(&target).unwrap(), "GNU tar, after us");
}
