//! Rclone where there is none.

use crate::program::{Outcome, Program, not_run};
use icecore_testkit::servers::program as installed;
use std::os::unix::fs::symlink;

/// Also where there is the program that would tie it to ours.
#[test]
fn rclone_that_is_not_installed_is_told() {
    let setpriv = match installed("setpriv") {
        Ok(setpriv) => setpriv,
        Err(missing) => return not_run(&missing.0),
    };
    let folder = tempfile::tempdir().unwrap();
    for with_setpriv in [false, true] {
        if with_setpriv {
            symlink(&setpriv, folder.path().join("setpriv")).unwrap();
        }
        let mut command = Program::new().command(&["list", "-r", "rclone:here:place", "--json"]);
        let output = command.env("PATH", folder.path()).output().unwrap();
        let outcome = Outcome::new(output.status, &output.stdout, &output.stderr).expect(1).explained();
        let error = outcome.of_type("error").pop().unwrap();
        assert_eq!(error["kind"], "unsupported", "{error}");
        assert!(error["message"].as_str().unwrap().contains("rclone is not installed"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("install the package rclone"), "{error}");
    }
}
