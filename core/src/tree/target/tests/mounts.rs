//! Where the root holds other file systems: one is not emptied, and a full one says so.

use super::{Fixture, attributes, names_on_disk, needs_root, not_run, write};
use crate::error::Kind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system mounted for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said aloud, where mounting is refused to root too.
    fn new(place: &Path, arguments: &[&str]) -> Option<Mounted> {
        let run = Command::new("mount").args(arguments).arg(place).output();
        if run.is_ok_and(|output| output.status.success()) {
            return Some(Mounted(place.to_owned()));
        }
        not_run("mounting (refused)");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let run = Command::new("umount").arg(&self.0).status();
        assert!(run.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
    }
}

#[test]
fn another_file_system_is_not_emptied() {
    if needs_root("mounting") {
        return;
    }
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"d/a/file", b"x", &attributes(0o644));
    target.directory(b"d/mounted").unwrap();
    let place = fixture.root().join("d/mounted");
    // A bind mount is the harder case: it has the device number of everything around it.
    let outside = fixture.outside();
    let bind = ["--bind", outside.to_str().unwrap()];
    for arguments in [&bind[..], &["-t", "tmpfs", "tmpfs"]] {
        let Some(mounted) = Mounted::new(&place, arguments) else { return };
        let removed = target.remove(b"d");
        drop(mounted);
        removed.unwrap();
        assert_eq!(names_on_disk(&fixture.root().join("d")), ["mounted"]);
    }
    fixture.assert_outside_is_untouched();
    let paths: Vec<_> = fixture.monitor.problems().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["d/mounted", "d/mounted"]);
}

#[test]
fn a_full_file_system_fails_the_file_and_leaves_nothing_of_it() {
    if needs_root("mounting") {
        return;
    }
    let fixture = Fixture::new();
    let Some(_mounted) = Mounted::new(&fixture.root(), &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) else {
        return;
    };
    let mut target = fixture.target();
    let mut file = target.file(b"large", &attributes(0o644)).unwrap();
    let error = file.write(&[1; 1 << 20]).unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::NoSpace, "large"));
    drop(file);
    assert_eq!(target.names(b"").unwrap(), [] as [Vec<u8>; 0]);
    drop(target);
}
