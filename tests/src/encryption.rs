//! Chains that are encrypted: under a password, to recipients, as Freezer does it. What opens them besides the program is asked: `age`,
//! `openssl`, `zstd` and GNU tar restore what it wrote, level by level. What concerns keys and passwords is the same of both engines.

mod age;
mod copied;
mod freezer;
mod password;
mod recipients;

use crate::gnu_tar::extract;
use crate::place::{Place, assert_equal, entries};
use crate::program::Outcome;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::{Features, Tree};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PASSWORD: &str = "correct horse";

/// Runs `VERB -r REPOSITORY … MORE` with a password in the environment, or with none.
fn run(place: &Place, password: Option<&str>, verb: &str, more: &[&str]) -> Outcome {
    run_words(place, password, place.arguments(verb, more))
}

fn run_words(place: &Place, password: Option<&str>, words: Vec<OsString>) -> Outcome {
    let mut command = place.program.command(&words);
    command.envs(password.map(|password| ("ICECORE_PASSWORD", password)));
    let output = command.output().unwrap();
    Outcome::new(output.status, &output.stdout, &output.stderr)
}

/// The next level of the source, by the engine of the place.
fn level(place: &Place, password: Option<&str>, more: &[&str]) -> Outcome {
    let mut words = place.arguments("backup", &["--engine", place.engine, "--init", "--incremental"]);
    words.extend(more.iter().map(OsString::from));
    words.push(place.source().into());
    run_words(place, password, words)
}

fn restore(place: &Place, password: Option<&str>, target: &str, more: &[&str]) -> Outcome {
    let target = place.target(target);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    run(place, password, "restore", &[&["--target", target.to_str().unwrap()], more].concat())
}

/// Makes a chain of three levels with `level`, and gives what the source was at each.
fn chain(place: &Place, mut make: impl FnMut() -> Outcome) -> Vec<Manifest> {
    let mut tree: Tree = place.tree(61, Features::plain());
    let mut expected = Vec::new();
    for number in 0..3_u32 {
        if number > 0 {
            tree.mutate(number).unwrap();
        }
        let summary = make().expect(0).summary();
        assert_eq!(summary["level"], number, "{summary}");
        expected.push(Manifest::of(tree.root()).unwrap());
    }
    expected
}

/// Every level restores to what the source was.
fn all_restore(place: &Place, password: Option<&str>, expected: &[Manifest], more: &[&str]) {
    for (number, expected) in expected.iter().enumerate() {
        let (target, backup) = (format!("level-{number}"), format!("latest~{}", expected_after(number)));
        restore(place, password, &target, &[more, &[&backup]].concat()).expect(0);
        assert_equal(expected, &Manifest::of(&place.target(&target)).unwrap(), &target);
    }
}

/// How many backups come after a level of [`chain`].
fn expected_after(level: usize) -> usize {
    2 - level
}

/// Restores level by level with nothing but tar, once `open` has put the plain stream where it is told to.
fn tar_restores(place: &Place, compression: &str, expected: &[Manifest], open: impl Fn(&Path, &Path)) {
    let (target, plain) = (place.target("by-hand"), place.path().join("plain"));
    for (folder, expected) in place.stored_levels().iter().zip(expected) {
        open(folder, &plain);
        extract(&plain, compression, &target);
        assert_equal(expected, &Manifest::of(&target).unwrap(), &folder.display().to_string());
    }
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok()
}

/// Runs commands in a shell, which must end well.
#[track_caller]
fn shell(place: &Place, commands: &str, variables: &[(&str, &Path)]) {
    let output = place.program.shell(commands).envs(variables.iter().copied()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{commands}\n{}", said.concat());
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(below).collect()
}

/// The files of the repository in which these bytes stand.
fn holders(place: &Place, bytes: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes);
    files_below(&place.repository()).into_iter().filter(holds).collect()
}

/// Nothing was written to a target.
#[track_caller]
fn untouched(place: &Place, target: &str) {
    assert!(entries(&place.target(target)).is_empty(), "{target} was touched");
}
