//! A place to work in: a source, a repository and targets in one temporary directory, and short words for what users do.

use crate::dedup::{PASSWORD, init_cheaply};
use crate::program::{Outcome, Program};
use icecore_testkit::manifest::{Manifest, Options, diff};
use icecore_testkit::tree::{Features, Tree};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const HOST: &str = "alpha.example.org";
pub const NAME: &str = "nightly";
/// Freezer's name of the series, one component of every object's name.
pub const SERIES: &str = "alpha.example.org_nightly";

/// Everything a test needs, gone when it ends.
pub struct Place {
    pub program: Program,
    /// Which engine makes the levels.
    pub engine: &'static str,
    directory: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place::with(Program::new())
    }

    /// A place whose backups an engine makes.
    pub fn of(engine: &'static str) -> Place {
        Place::new().by(engine)
    }

    /// The same with backups that an engine makes. The default one has a repository already, which opens with a password at next to
    /// no cost.
    pub fn by(self, engine: &'static str) -> Place {
        let mut place = Place { engine, ..self };
        if !place.makes_levels() {
            init_cheaply(&place);
            place.program.password = Some(PASSWORD);
            place.program.give(&place.repository());
        }
        place
    }

    fn makes_levels(&self) -> bool {
        self.engine != "dedup"
    }

    /// A place whose program may not read everything, and owns all that is here.
    pub fn unprivileged() -> Place {
        let place = Place::with(Program::unprivileged());
        place.program.give(place.path());
        place
    }

    fn with(program: Program) -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        Place { program, engine: "tar", directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    pub fn repository(&self) -> PathBuf {
        self.path().join("repository")
    }

    /// A target by name; it does not exist until something is restored there.
    pub fn target(&self, name: &str) -> PathBuf {
        self.path().join("targets").join(name)
    }

    /// Writes files below the source, making directories on the way.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.source().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.program.give(&self.source());
        self.settle();
    }

    /// Waits until the clock that backups go by has passed the time of what was written: what was written in the tick in which a
    /// backup begins is, rightly, not taken for unchanged by the next one. (Since Linux 6.13 files may be stamped with a finer
    /// clock, which is up to a tick ahead.)
    pub fn settle(&self) {
        let probe = self.path().join("probe");
        fs::write(&probe, "").unwrap();
        let written = fs::metadata(&probe).unwrap();
        let coarse = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
            (now.tv_sec, now.tv_nsec)
        };
        while coarse() <= (written.ctime(), written.ctime_nsec()) {
            std::thread::yield_now();
        }
        fs::remove_file(probe).unwrap();
    }

    /// A tree with everything, in the source.
    pub fn tree(&self, seed: u64, features: Features) -> Tree {
        let tree = Tree::create(&self.source(), seed, features).unwrap();
        self.settle();
        tree
    }

    /// `icecore VERB -r REPOSITORY --host HOST --name NAME --json …`
    pub fn arguments(&self, verb: &str, more: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![verb.into(), "-r".into(), self.repository().into()];
        arguments.extend(["--host", HOST, "--name", NAME, "--json"].map(OsString::from));
        arguments.extend(more.iter().map(OsString::from));
        arguments
    }

    pub fn backup_arguments(&self, more: &[&str]) -> Vec<OsString> {
        let mut arguments = self.arguments("backup", &["--engine", self.engine, "--init"]);
        arguments.extend(self.program.password.is_none().then(|| "--no-encryption".into()));
        arguments.extend(more.iter().map(OsString::from));
        arguments.push(self.source().into());
        arguments
    }

    pub fn restore_arguments(&self, target: &Path, more: &[&str]) -> Vec<OsString> {
        let mut arguments = self.arguments("restore", &["--target"]);
        arguments.push(target.into());
        arguments.extend(more.iter().map(OsString::from));
        arguments
    }

    pub fn backup(&self, more: &[&str]) -> Outcome {
        self.program.run(&self.backup_arguments(more))
    }

    /// Those of the next backup: a level above the last, where there are levels.
    pub fn next_arguments(&self) -> Vec<OsString> {
        self.backup_arguments(if self.makes_levels() { &["--incremental"] } else { &[] })
    }

    /// The next backup, which must end well.
    #[track_caller]
    pub fn increment(&self) -> Value {
        self.program.run(&self.next_arguments()).expect(0).summary()
    }

    /// The next backup, which must be of this level, where there are levels.
    #[track_caller]
    pub fn increment_to(&self, level: u64) -> Value {
        let summary = self.increment();
        assert!(!self.makes_levels() || summary["level"] == level, "{summary}");
        summary
    }

    /// Restores into `targets/<target>`.
    pub fn restore(&self, target: &str, more: &[&str]) -> Outcome {
        fs::create_dir_all(self.path().join("targets")).unwrap();
        self.program.give(&self.path().join("targets"));
        self.program.run(&self.restore_arguments(&self.target(target), more))
    }

    /// Restores `backup` into a new target, which must end well, and reads what is there.
    #[track_caller]
    pub fn restored(&self, target: &str, backup: &str) -> Manifest {
        self.restore(target, &[backup]).expect(0);
        Manifest::of(&self.target(target)).unwrap()
    }

    pub fn run(&self, verb: &str, more: &[&str]) -> Outcome {
        self.program.run(&self.arguments(verb, more))
    }

    /// The backups that count, oldest first.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        self.run("list", &[]).expect(0).of_type("backup")
    }

    /// The ids of the backups that count, oldest first.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        self.list().iter().map(id).collect()
    }

    /// Everything is checked and nothing may be wrong.
    #[track_caller]
    pub fn check_is_clean(&self) {
        let summary = self.run("check", &["--read-data"]).expect(0).summary();
        assert_eq!(
            (&summary["ok"], &summary["problems"], &summary["read_data"]),
            (&true.into(), &0.into(), &true.into())
        );
    }

    /// The stored levels in order: the directories that hold `data` and `engine_metadata`.
    pub fn stored_levels(&self) -> Vec<PathBuf> {
        let mut levels = Vec::new();
        for chain in entries(&self.repository().join("data").join(self.engine).join(SERIES)) {
            levels.extend(entries(&chain));
        }
        let number = |path: &PathBuf| -> (i64, i64) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (level, time) = name.split_once('_').unwrap();
            (time.parse().unwrap(), level.parse().unwrap())
        };
        levels.sort_by_key(number);
        levels
    }
}

/// The id that `backup` and `list` print.
#[track_caller]
pub fn id(line: &Value) -> String {
    line["id"].as_str().expect("every backup has an id").to_owned()
}

/// What is in a directory, sorted; nothing when it is not there.
pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Fails the test with the first differences when the two trees are not equal in everything.
#[track_caller]
pub fn assert_equal(expected: &Manifest, actual: &Manifest, what: &str) {
    assert_alike(expected, actual, &Options::default(), what);
}

/// As [`assert_equal`], with something left out.
#[track_caller]
pub fn assert_alike(expected: &Manifest, actual: &Manifest, options: &Options, what: &str) {
    let differences = diff(expected, actual, options);
    let shown = differences.iter().take(20).map(|line| format!("  {line}\n")).collect::<String>();
    assert!(differences.is_empty(), "{what}: {} differences\n{shown}", differences.len());
}
