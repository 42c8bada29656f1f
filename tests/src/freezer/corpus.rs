//! What real Freezer stored, restored by the very command lines with which Freezer restored it.

use crate::place::entries;
use crate::program::{Program, not_run};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for path in entries(source) {
        let to = target.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

/// The words of a line that has no more quoting than `'…'` around a word.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// Runs every restore of a case, and compares what comes back with the source at that time.
fn restores(case: &str, skip: &Skip) {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer").join(case);
    let (program, place) = (Program::new(), tempfile::tempdir().unwrap());
    copy(&corpus.join("storage"), &place.path().join("corpus").join(case).join("storage"));
    if corpus.join("encrypt-pass-file").exists() {
        fs::create_dir_all(place.path().join("scratch")).unwrap();
        let password = place.path().join("scratch").join(format!("{case}.pass"));
        fs::copy(corpus.join("encrypt-pass-file"), password).unwrap();
    }
    let text = fs::read_to_string(corpus.join("command.txt")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("$ freezer-agent "));
    let mut ran = 0;
    for (number, line) in lines.filter(|line| line.contains("--action restore")).enumerate() {
        let line = line.replace("CORPUS", place.path().join("corpus").to_str().unwrap());
        let line = line.replace("SCRATCH", place.path().join("scratch").to_str().unwrap());
        let words = words(&line);
        let output = program.command(&[&["agent".to_owned()], &words[..]].concat()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let target = words.iter().position(|word| word == "--restore-abs-path").unwrap();
        let target = PathBuf::from(&words[target + 1]);
        let outcome = verify(&target, &corpus.join(format!("expected/level{number}.jsonl")), skip).unwrap();
        assert!(outcome.failed.is_empty() && outcome.passed > 0, "{line}: {outcome:#?}");
        ran += 1;
    }
    assert!(ran > 0, "{case} has no restore");
}

fn usual() -> Skip {
    Skip { types: vec!["socket"], ..Skip::default() }
}

#[test]
fn chains_of_every_compression() {
    for case in ["tar-gzip-l0", "tar-gzip-l2", "tar-bzip2-l1", "tar-xz-l0"] {
        restores(case, &usual());
    }
}

#[test]
fn renamed_directories_excludes_and_chains_that_begin_anew() {
    for case in ["tar-gzip-dirrename-l2", "tar-gzip-exclude", "tar-gzip-maxlevel1-x4"] {
        restores(case, &usual());
    }
}

#[test]
fn a_single_file() {
    restores("tar-gzip-single-file", &Skip { root: true, ..usual() });
}

#[test]
fn what_links_pointed_to() {
    restores("tar-gzip-deref-soft", &usual());
}

#[test]
fn encrypted_chains() {
    for case in ["tar-enc-gzip-l0", "tar-enc-gzip-l2"] {
        restores(case, &usual());
    }
}

/// Which names are one file was never stored; the first engine leaves out links to directories, the second the top directory.
#[test]
fn chains_of_the_rsync_engines() {
    let never_stored = || Skip { hard_links: true, ..usual() };
    restores("patched-rsync-gzip-l2", &Skip { paths: vec!["ln-dir"], ..never_stored() });
    restores("patched-rsyncv2-gzip-l2", &Skip { root: true, ..never_stored() });
}

/// Levels of both engines, encrypted by Freezer's option: they come back with the password, and nothing is written without it.
#[test]
fn what_is_made_with_a_pass_file_comes_back_with_it() {
    for engine in ["tar", "rsync", "rsyncv2"] {
        let agent = super::Agent::new();
        let file = |name: &str| agent.place.path().join(name).display().to_string();
        fs::write(file("right"), "correct horse\n").unwrap();
        fs::write(file("wrong"), "another\n").unwrap();
        for (level, text) in ["one", "two"].into_iter().enumerate() {
            agent.place.write(&[("a", text)]);
            agent.place.settle();
            let words = ["--engine", engine, "--encrypt-pass-file", &file("right"), "--incremental"];
            let said = agent.backup(&words).expect(0);
            assert!(said.stderr.contains("warning: "), "no word of what it does not protect from: {said:?}");
            assert_eq!(super::metadata(&said)["curr_backup_level"], level, "{engine}");
        }
        let wrong = ["--engine", engine, "--encrypt-pass-file", &file("wrong")];
        let said = agent.restore("wrong", &wrong).expect(1).stderr;
        assert!(said.contains("password"), "{said}");
        let target = agent.place.target("wrong");
        assert!(!target.exists() || entries(&target).is_empty(), "the target was touched");
        let right = ["--engine", engine, "--encrypt-pass-file", &file("right")];
        agent.restore("right", &right).expect(0);
        assert_eq!(fs::read_to_string(agent.place.target("right").join("a")).unwrap(), "two", "{engine}");
        // The cipher notices no change; the hash of each level does, before anything is written.
        let data = super::everything(&agent.place.repository().join("data")).into_iter();
        let mut levels = 0;
        for (path, bytes) in data.filter(|(path, _)| path.ends_with("/data")) {
            let mut tampered = bytes.clone();
            let middle = bytes.len() / 2;
            tampered[middle] ^= 1;
            fs::write(&path, tampered).unwrap();
            let said = agent.restore("tampered", &right).expect(1).stderr;
            let folder = Path::new(&path).parent().unwrap().file_name().unwrap().to_str().unwrap();
            assert!(said.contains(folder) && said.contains("checksum"), "{engine}: {said}");
            let target = agent.place.target("tampered");
            assert!(!target.exists() || entries(&target).is_empty(), "the target was touched");
            fs::write(&path, bytes).unwrap();
            levels += 1;
        }
        assert_eq!(levels, 2);
    }
}

/// Two copies of a container are one repository; a third place is brought up to them.
#[test]
fn several_containers_of_freezers_by_a_job() {
    let agent = super::Agent::new();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer/tar-gzip-l2/storage");
    let at = |name: &str| agent.place.path().join(name);
    copy(&corpus, &at("one"));
    copy(&corpus, &at("two"));
    agent.place.write(&[("a", "one")]);
    let job = |names: [&str; 2]| {
        let section =
            |name: &str| format!("[storage:{name}]\nstorage=local\ncontainer={}\n", at(name).display());
        let text = format!(
            "[job]\nhostname=alpha.example.org\nbackup_name=nightly\nincremental=True\n{}{}",
            section(names[0]),
            section(names[1])
        );
        fs::write(at("job"), text).unwrap();
        at("job").display().to_string()
    };
    let source = agent.place.source().display().to_string();
    for (names, level) in [(["one", "two"], 3), (["one", "three"], 4)] {
        let said = agent.run(&["--config", &job(names), "-F", &source, "--metadata-out", "-"]).expect(0);
        assert_eq!(super::metadata(&said)["curr_backup_level"], level);
        let inside = |name: &str| {
            let place = at(name).display().to_string();
            let files = super::everything(&at(name)).into_iter();
            files.map(|(path, bytes)| (path.replace(&place, ""), bytes)).collect::<Vec<_>>()
        };
        assert!(inside(names[0]) == inside(names[1]), "{names:?} are not alike");
    }
    let target = agent.place.target("back").display().to_string();
    agent
        .run(&["--config", &job(["two", "three"]), "--action", "restore", "--restore-abs-path", &target])
        .expect(0);
    assert_eq!(fs::read_to_string(Path::new(&target).join("a")).unwrap(), "one");
}
