//! What real Freezer stored, restored by the very command lines with which Freezer restored it.

use crate::place::entries;
use crate::program::{Program, not_run};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::{Path, PathBuf};

fn copy(source: &Path, target: &Path) {
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
    restores("tar-gzip-deref-soft", &Skip { paths: vec!["docs/ln-up", "ln-dir", "ln-rel"], ..usual() });
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
