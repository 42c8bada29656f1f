//! Backups that real Freezer wrote must restore, for ever; what is damaged or incomplete among them must be refused.
//!
//! The cases and what is right for each are described in `tests/corpus/freezer/README.md`.

mod old;

use crate::place::entries;
use crate::program::{Outcome, Program, not_run};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::tree::is_root;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A private copy of a case, so that a test may do to it what it likes.
struct Case {
    program: Program,
    /// Whose password the program is given.
    password: Option<PathBuf>,
    directory: TempDir,
    storage: PathBuf,
    expected: PathBuf,
    /// Whether the corpus' own program has to find the same.
    is_witnessed: bool,
}

impl Case {
    /// `inside` is where the repository lies in the case's storage (dumps of remote storages lie deeper).
    fn new(name: &str, inside: &str) -> Case {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer").join(name);
        let directory = tempfile::tempdir().unwrap();
        let storage = directory.path().join("storage");
        copy(&corpus.join("storage").join(inside), &storage);
        let password = Some(corpus.join("encrypt-pass-file")).filter(|file| file.exists());
        let expected = corpus.join("expected");
        let is_witnessed = name == "tar-gzip-l2";
        Case { program: Program::new(), password, directory, storage, expected, is_witnessed }
    }

    fn run(&self, verb: &str, more: &[&str]) -> Outcome {
        let storage = self.storage.to_str().unwrap();
        let mut command = self.program.command(&[&[verb, "-r", storage, "--json"], more].concat());
        command.envs(self.password.as_ref().map(|file| ("ICECORE_PASSWORD_FILE", file)));
        let output = command.output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    /// The backups listed, oldest first.
    fn backups(&self) -> Vec<Value> {
        self.run("list", &[]).expect(0).of_type("backup")
    }

    fn restore(&self, backup: &str) -> (Outcome, PathBuf) {
        let target = self.directory.path().join(format!("target-{}", backup.replace('/', "-")));
        let outcome = self.run("restore", &["--target", target.to_str().unwrap(), backup]);
        (outcome, target)
    }

    /// Restores backup `number` and compares it with its manifest.
    fn verify(&self, backup: &Value, number: usize, skip: &Skip) {
        let (outcome, target) = self.restore(backup["id"].as_str().unwrap());
        outcome.expect(0);
        let manifest = self.expected.join(format!("level{number}.jsonl"));
        let outcome = verify(&target, &manifest, skip).unwrap();
        assert!(outcome.failed.is_empty() && outcome.passed > 0, "backup {number}: {outcome:#?}");
        if self.is_witnessed {
            witnessed(&target, &manifest);
        }
        self.tells(backup["id"].as_str().unwrap(), &target);
    }

    /// What a listing of the backup tells is what was restored of it; but for what it says was not read.
    fn tells(&self, backup: &str, target: &Path) {
        let lines = self.run("ls", &["--recursive", backup]).expect(0).of_type("entry");
        let mut told: Vec<String> = lines
            .iter()
            .filter(|line| line["unreadable"] == false)
            .map(|line| {
                let kind = line["kind"].as_str().unwrap();
                let size = if kind == "file" { line["size"].as_u64().unwrap() } else { 0 };
                format!("{} {kind} {size}", line["path"].as_str().unwrap())
            })
            .collect();
        let (mut there, mut left) = (Vec::new(), entries(target));
        while let Some(path) = left.pop() {
            let found = fs::symlink_metadata(&path).unwrap();
            let (kind, size) = match found.file_type() {
                kind if kind.is_file() => ("file", found.len()),
                kind if kind.is_dir() => ("directory", 0),
                kind if kind.is_symlink() => ("symlink", 0),
                kind if kind.is_fifo() => ("fifo", 0),
                kind if kind.is_char_device() => ("char_device", 0),
                _ => ("another", 0),
            };
            if kind == "directory" {
                left.extend(entries(&path));
            }
            there.push(format!("{} {kind} {size}", path.strip_prefix(target).unwrap().to_string_lossy()));
        }
        told.sort();
        there.sort();
        assert_eq!(told, there, "backup {backup}");
    }

    /// Asks for every backup, and for the latest: each must fail in words, and leave the target as it was.
    fn refuses(&self, ids: &[&str]) {
        for id in ids {
            let (outcome, target) = self.restore(id);
            outcome.expect(1).explained();
            assert!(entries(&target).is_empty(), "{id}: the target was touched: {:?}", entries(&target));
        }
    }

    fn id_of_level(&self, level: u64) -> String {
        let backups = self.backups();
        let found = backups.iter().find(|backup| backup["level"] == level);
        found.unwrap_or_else(|| panic!("no level {level} in {backups:?}"))["id"].as_str().unwrap().to_owned()
    }
}

/// What the program that came with the corpus says of a restored tree. It is slower than ours, which has its rules.
fn witnessed(tree: &Path, manifest: &Path) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/tree_manifest.py");
    let mut python = Command::new("python3");
    python.arg(program).arg("verify").args([tree, manifest]).args(["--skip-type", "socket"]);
    let Ok(output) = python.output() else { return not_run("python3 is not here") };
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.ends_with(" passed, 0 failed\n"), "{words}");
}

fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for path in entries(source) {
        let to = target.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::write(to, fs::read(&path).unwrap()).unwrap();
        }
    }
}

pub fn usual() -> Skip {
    Skip { types: vec!["socket"], ..Skip::default() }
}

/// All backups of a case, listed and restored.
fn restores(name: &str, inside: &str, skip: &Skip) {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    let case = Case::new(name, inside);
    let expected = entries(&case.expected)
        .iter()
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("level"))
        .count();
    let backups = case.backups();
    assert!(expected > 0 && backups.len() == expected, "{} listed, {expected} expected", backups.len());
    for (number, backup) in backups.iter().enumerate() {
        assert_eq!(backup["by_icecore"], false);
        case.verify(backup, number, skip);
    }
    let summary = case.run("check", &["--read-data"]).expect(0).summary();
    assert_eq!(summary["ok"], true);
}

#[test]
fn tar_gzip_l0() {
    restores("tar-gzip-l0", "", &usual());
}

#[test]
fn tar_gzip_l2() {
    restores("tar-gzip-l2", "", &usual());
}

#[test]
fn tar_bzip2_l1() {
    restores("tar-bzip2-l1", "", &usual());
}

#[test]
fn tar_xz_l0() {
    restores("tar-xz-l0", "", &usual());
}

#[test]
fn tar_gzip_dirrename_l2() {
    restores("tar-gzip-dirrename-l2", "", &usual());
}

#[test]
fn tar_gzip_exclude() {
    restores("tar-gzip-exclude", "", &usual());
}

#[test]
fn tar_gzip_maxlevel1_x4() {
    restores("tar-gzip-maxlevel1-x4", "", &usual());
}

/// The source was one file; the manifest speaks of it alone.
#[test]
fn tar_gzip_single_file() {
    restores("tar-gzip-single-file", "", &Skip { root: true, ..usual() });
}

#[test]
fn tar_gzip_deref_soft() {
    restores("tar-gzip-deref-soft", "", &usual());
}

#[test]
fn ssh_tar_gzip_l1() {
    restores("ssh-tar-gzip-l1", "", &usual());
}

/// A bucket with a prefix, dumped as files, is a tree like any other.
#[test]
fn patched_s3_tar_gzip_l1() {
    restores("patched-s3-tar-gzip-l1", "frzs1/pre/fix", &usual());
}

/// What the rsync engines never stored: which names are one file, and to which number an owner's name belonged.
fn rsync() -> Skip {
    Skip { hard_links: true, ..usual() }
}

/// Links to directories are not in it. `to-rename.txt`, which level 1 deleted and level 2 has again, is put together from what
/// level 0 had of it, and proven by the digests of level 2.
#[test]
fn patched_rsync_gzip_l2() {
    restores("patched-rsync-gzip-l2", "", &Skip { paths: vec!["ln-dir"], ..rsync() });
}

/// The second engine stored nothing of the top directory itself.
#[test]
fn patched_rsyncv2_gzip_l2() {
    restores("patched-rsyncv2-gzip-l2", "", &Skip { root: true, ..rsync() });
}

/// A device is in it without its numbers: everything else is restored, and that is said and is a failure.
#[test]
fn rsyncv2_gzip_l0() {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    let case = Case::new("rsyncv2-gzip-l0", "");
    let (outcome, target) = case.restore(case.backups()[0]["id"].as_str().unwrap());
    assert!(outcome.expect(1).names("state/null"));
    let skip = Skip { root: true, types: vec!["socket", "char"], ..rsync() };
    let outcome = verify(&target, &case.expected.join("level0.jsonl"), &skip).unwrap();
    assert!(outcome.failed.is_empty() && outcome.passed > 30, "{outcome:#?}");
    case.run("check", &["--read-data"]).expect(0);
    let without = case.directory.path().join("without");
    case.run("restore", &["--target", without.to_str().unwrap(), "--exclude", "null", "latest"]).expect(0);
}

/// These streams have no hashes: that one is cut, or has another byte, shows when all of it is read, which is before anything is written.
#[test]
fn rsync_streams_that_are_damaged_are_refused_before_the_target_is_touched() {
    for name in ["patched-rsync-gzip-l2", "patched-rsyncv2-gzip-l2"] {
        let case = Case::new(name, "");
        let latest = case.id_of_level(2);
        let chain = entries(&entries(&case.storage.join("data/rsync"))[0])[0].clone();
        let data = entries(&chain)[1].join("data");
        let whole = fs::read(&data).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&whole[..whole.len() / 2], &flipped] {
            fs::write(&data, damaged).unwrap();
            case.refuses(&[&latest]);
            assert!(case.run("check", &["--read-data"]).expect(1).names("/data"), "{name}");
        }
        fs::remove_file(&data).unwrap();
        case.refuses(&[&latest]);
    }
}

#[test]
fn tar_enc_gzip_l0() {
    restores("tar-enc-gzip-l0", "", &usual());
}

#[test]
fn tar_enc_gzip_l2() {
    restores("tar-enc-gzip-l2", "", &usual());
}

/// A wrong password, and none, are told before the target is touched.
#[test]
fn encrypted_backups_are_refused_in_words_without_their_password() {
    for name in ["tar-enc-gzip-l0", "tar-enc-gzip-l2"] {
        let mut case = Case::new(name, "");
        let wrong = case.directory.path().join("wrong");
        fs::write(&wrong, "incorrect horse\n").unwrap();
        for (password, status) in [(Some(wrong), 12), (None, 2)] {
            case.password = password;
            for backup in case.backups() {
                let (outcome, target) = case.restore(backup["id"].as_str().unwrap());
                outcome.expect(status).explained();
                assert!(entries(&target).is_empty(), "the target was touched: {:?}", entries(&target));
            }
        }
    }
}

/// Cut in half, or a byte changed: Freezer stored neither length nor hash, so only the stream tells. What is missing then is said by
/// name, and that the rest of the target was written.
#[test]
fn damage_that_only_the_stream_shows_fails_the_restore_and_names_what_is_missing() {
    for name in ["damaged-flip-byte-l0", "damaged-truncated-l0"] {
        let case = Case::new(name, "");
        assert_eq!(case.backups().len(), 3, "{name}");
        let mut missing = 0;
        for level in 0..3 {
            let (outcome, target) = case.restore(&case.id_of_level(level));
            let outcome = outcome.expect(1).explained();
            let error = outcome.of_type("error").pop().unwrap();
            let hint = error["hint"].as_str().unwrap();
            assert!(hint.contains("entries of ") && hint.contains("nothing else is in the target"), "{hint}");
            assert!(hint.contains("not a whole restore"), "{hint}");
            let told: HashSet<String> = outcome
                .of_type("problem")
                .iter()
                .filter(|problem| problem["lost"] == true)
                .map(|problem| problem["path"].as_str().unwrap().to_owned())
                .collect();
            let wanted = fs::read_to_string(case.expected.join(format!("level{level}.jsonl"))).unwrap();
            let wanted = wanted.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            for entry in wanted.filter(|entry| entry["path"].is_string() && entry["path"] != ".") {
                let path = entry["path"].as_str().unwrap();
                let is_there = fs::symlink_metadata(target.join(path)).is_ok();
                let is_told = told.contains(path);
                assert!(is_there != is_told || entry["type"] == "socket", "{name}, level {level}: {path}");
                missing += usize::from(!is_there);
            }
            let warnings = outcome.of_type("warning");
            let doubted = warnings.iter().any(|line| line.to_string().contains("no hash of level 0"));
            assert!(doubted, "{warnings:?}");
        }
        assert!(missing > 0, "{name}: nothing is missing");
        let check = case.run("check", &["--read-data"]).expect(1);
        assert!(check.names("0_1795486676/data"), "{name}: {check:?}");
        assert_eq!(check.summary()["ok"], false);
    }
}

#[test]
fn data_of_no_bytes_is_refused_before_the_target_is_touched() {
    let case = Case::new("damaged-empty-data-l0", "");
    let ids: Vec<String> = (0..3).map(|level| case.id_of_level(level)).collect();
    case.refuses(&[&ids[0], &ids[1], &ids[2]]);
    assert!(case.run("check", &[]).expect(1).names("0_1795486676/data"));
}

/// Level 1 is gone: level 0 stands, and what was built on the hole is refused.
#[test]
fn a_gap_in_a_chain_is_refused_before_the_target_is_touched() {
    let case = Case::new("damaged-missing-level1-metadata", "");
    let ids: Vec<String> = [2, 3].map(|level| case.id_of_level(level)).to_vec();
    case.refuses(&[&ids[0], &ids[1]]);
    let complete: Vec<(u64, bool)> = case
        .backups()
        .iter()
        .map(|backup| (backup["level"].as_u64().unwrap(), backup["complete"].as_bool().unwrap()))
        .collect();
    assert_eq!(complete, [(0, true), (2, false), (3, false)]);
    let check = case.run("check", &[]).expect(1);
    assert!(check.of_type("problem").iter().any(|problem| problem["kind"] == "gap"), "{check:?}");
    if is_root() {
        case.verify(&case.backups()[0], 0, &usual());
    }
}

#[test]
fn a_stray_folder_is_reported_and_passed_over() {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    let case = Case::new("damaged-stray-folder", "");
    // Git keeps no empty folder.
    fs::create_dir_all(case.storage.join("metadata/tar/h_n/lost+found")).unwrap();
    let list = case.run("list", &[]).expect(0);
    assert!(list.of_type("stray").iter().any(|line| line.to_string().contains("lost+found")), "{list:?}");
    let backups = list.of_type("backup");
    assert_eq!(backups.len(), 3);
    for (number, backup) in backups.iter().enumerate() {
        case.verify(backup, number, &usual());
    }
}

#[test]
fn an_incomplete_backup_is_none() {
    for (name, inside) in [("incomplete-no-metadata", ""), ("s3-unpatched-failed-backup", "frzs2/x")] {
        let case = Case::new(name, inside);
        assert_eq!(case.backups(), Vec::<Value>::new(), "{name}");
        case.refuses(&["latest"]);
        let check = case.run("check", &[]);
        assert_eq!(check.summary()["backups"], 0);
        assert!(check.summary()["orphans"].as_u64().unwrap() > 0, "{name}: {check:?}");
    }
}
