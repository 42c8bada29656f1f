//! The layout of Freezer 1 and 2, which no program is left to write: chains of Freezer 19, whose archives are the same, under the names
//! that the description of that layout gives.

use super::{Case, usual};
use crate::encryption::has;
use crate::place::entries;
use crate::program::{Outcome, not_run};
use icecore_testkit::freezer::verify;
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A case with its objects under the old names.
fn in_the_old_layout(name: &str) -> Case {
    let case = Case::new(name, "");
    for series in entries(&case.storage.join("data/tar")) {
        let series_name = series.file_name().unwrap().to_str().unwrap().to_owned();
        for chain in entries(&series) {
            let folder = case.storage.join(&series_name).join(chain.file_name().unwrap());
            fs::create_dir_all(&folder).unwrap();
            for level in entries(&chain) {
                let (number, time) = level.file_name().unwrap().to_str().unwrap().split_once('_').unwrap();
                let old = format!("{series_name}_{time}_{number}");
                fs::rename(level.join("data"), folder.join(&old)).unwrap();
                fs::rename(level.join("engine_metadata"), folder.join(format!("tar_metadata_{old}")))
                    .unwrap();
            }
        }
    }
    fs::remove_dir_all(case.storage.join("data")).unwrap();
    fs::remove_dir_all(case.storage.join("metadata")).unwrap();
    case
}

#[test]
fn chains_of_the_old_layout_are_listed_and_restored() {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    for (name, levels) in [("tar-gzip-l2", 3), ("tar-bzip2-l1", 2), ("tar-xz-l0", 1), ("tar-enc-gzip-l2", 3)]
    {
        let case = in_the_old_layout(name);
        let backups = case.backups();
        assert_eq!(backups.len(), levels, "{name}");
        for (number, backup) in backups.iter().enumerate() {
            assert_eq!((&backup["level"], &backup["by_icecore"]), (&number.into(), &false.into()));
            case.verify(backup, number, &usual());
        }
        let summary = case.run("check", &["--read-data"]).expect(0).summary();
        assert_eq!((&summary["ok"], &summary["orphans"]), (&true.into(), &0.into()));
    }
}

/// A backup of the same series does not build on such a chain, and nothing removes one.
#[test]
fn chains_of_the_old_layout_are_left_as_they_are() {
    let case = in_the_old_layout("tar-gzip-l2");
    let source = case.directory.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "1").unwrap();
    let series = ["--host", "alpha.example.org", "--name", "nightly"];
    let backup =
        [&["--engine", "tar", "--incremental", "--no-encryption", source.to_str().unwrap()], &series[..]]
            .concat();
    for level in 0..2 {
        assert_eq!(case.run("backup", &backup).expect(0).summary()["level"], level);
    }
    assert_eq!(case.backups().len(), 5);
    case.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(case.backups().len(), 5);
    let backups = case.backups();
    let old: Vec<&str> = backups[..3].iter().map(|backup| backup["id"].as_str().unwrap()).collect();
    case.run("forget", &old).expect(1).explained();
    assert_eq!(case.backups().len(), 5);
}

/// The archives of a case in the old layout, and not their snapshot files.
fn archives(case: &Case) -> Vec<PathBuf> {
    let below = |paths: Vec<PathBuf>| paths.iter().flat_map(|path| entries(path)).collect::<Vec<_>>();
    let files = below(below(entries(&case.storage))).into_iter();
    files.filter(|file| !file.file_name().unwrap().to_str().unwrap().starts_with("tar_metadata_")).collect()
}

/// `freezer-agent --action restore` of the newest.
fn by_the_agent(case: &Case, target: &str, more: &[&str]) -> (Outcome, PathBuf) {
    let (storage, target) = (case.storage.display().to_string(), case.directory.path().join(target));
    let place = ["agent", "--action", "restore", "--storage", "local", "--container", &storage];
    let which = ["--hostname", "alpha.example.org", "--backup-name", "nightly"];
    let to = ["--restore-abs-path", target.to_str().unwrap()];
    let output = case.program.command(&[&place[..], &which, &to, more].concat()).output().unwrap();
    (Outcome::new(output.status, &output.stdout, &output.stderr), target)
}

/// Nothing but the password shows what is under their encryption; it is looked for among all that those releases had.
#[test]
fn encrypted_chains_of_the_old_layout_open_whatever_their_compression_is() {
    if !is_root() || !has("openssl") {
        return not_run("openssl is needed, and root, who alone can restore the owners in the corpus");
    }
    for (name, hash) in [("tar-gzip-l2", "sha256"), ("tar-bzip2-l1", "md5"), ("tar-xz-l0", "md5")] {
        let mut case = in_the_old_layout(name);
        let file = |name: &str| case.directory.path().join(name);
        fs::write(file("right"), "correct horse\n").unwrap();
        fs::write(file("wrong"), "another\n").unwrap();
        for archive in archives(&case) {
            let plain = file("plain");
            fs::rename(&archive, &plain).unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(["enc", "-aes-256-cfb", "-md", hash, "-pass"]);
            openssl.arg(format!("file:{}", file("right").display())).arg("-in").arg(plain);
            let output = openssl.arg("-out").arg(&archive).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let (right, wrong) = (file("right"), file("wrong"));
        case.password = Some(right.clone());
        let backups = case.backups();
        for (number, backup) in backups.iter().enumerate() {
            assert_eq!(backup["encryption"], true, "{name}: {backup}");
            case.verify(backup, number, &usual());
        }
        assert_eq!(case.run("check", &["--read-data"]).expect(0).summary()["ok"], true, "{name}");
        let agent = |target: &str, password: &PathBuf| {
            let password = ["--encrypt-pass-file", password.to_str().unwrap()];
            by_the_agent(&case, target, &password)
        };
        let (said, target) = agent("by the agent", &right);
        said.expect(0);
        let expected = case.expected.join(format!("level{}.jsonl", backups.len() - 1));
        let outcome = verify(&target, &expected, &usual()).unwrap();
        assert!(outcome.failed.is_empty() && outcome.passed > 0, "{name}: {outcome:#?}");
        let (said, target) = agent("by another", &wrong);
        assert!(said.expect(1).stderr.contains("password"), "{name}");
        assert!(entries(&target).is_empty(), "{name}: the target was touched");
        case.password = Some(wrong);
        for backup in &backups {
            let id = backup["id"].as_str().unwrap();
            let target = case.directory.path().join("wrong target");
            let words = ["--target", target.to_str().unwrap(), id];
            case.run("restore", &words).expect(12);
            assert!(entries(&target).is_empty(), "{name}: the target was touched");
        }
    }
}
