//! Repositories on servers: every verb, by both engines, on each kind of storage there is.

mod buckets;
mod cached;
mod ceph;
mod denied;
mod faults;
mod freezer;
mod killed;
mod rclone;
pub mod servers;
mod tokens;
mod two;
mod wire;

use crate::dedup::PASSWORD;
use crate::in_memory::create_vault;
use crate::place::{Place, assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore::limits::RACY_SECONDS;
use icecore::name::ObjectName;
use icecore::repository::Repository;
use icecore::storage::local::Local;
use icecore::storage::retry::Patience;
use icecore::storage::{Depth, Listed, Storage};
use icecore_remote::{Access, Address, Intent, Secret, Timeouts};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::tree::{Features, Tree};
use serde_json::Value;
use servers::Start;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a run may take that waits for nothing but what it is told: a few attempts of a few seconds each.
const LONGEST: Duration = Duration::from_secs(120);

/// A server that is running, and how the program reaches it.
pub struct Server {
    /// An address to which `/name` can be added; what stands behind `?` comes after that.
    pub address: String,
    /// What follows the path of an address, with its `?`, or nothing.
    pub options: String,
    /// The environment of the program.
    pub variables: Vec<(String, String)>,
    /// What runs until this is dropped.
    pub running: Vec<Box<dyn std::any::Any>>,
}

impl Server {
    /// A place on it.
    pub fn place(&self, name: &str) -> String {
        format!("{}/{name}{}", self.address, self.options)
    }

    /// No word of any run shows a secret of the server's.
    #[track_caller]
    fn shows_no_secret(&self, outcome: &Outcome) {
        for (key, secret) in &self.variables {
            let is_secret = ["PASSWORD", "SECRET", "KEY"].iter().any(|word| key.contains(word));
            let shown = is_secret && secret.len() > 5 && format!("{outcome:?}").contains(secret.as_str());
            assert!(!shown, "{key} is shown: {outcome:?}");
        }
    }

    /// What leads to one port of loopback leads to another from now on: something stands in front of the server.
    fn redirect(&mut self, from: u16, to: u16) {
        let (there, here) = (format!("127.0.0.1:{from}"), format!("127.0.0.1:{to}"));
        self.address = self.address.replace(&there, &here);
        self.options = self.options.replace(&there, &here);
        self.variables.iter_mut().for_each(|(_, value)| *value = value.replace(&there, &here));
    }

    /// The storage at a place, which is made, without the program.
    fn storage(&self, name: &str) -> Arc<dyn Storage> {
        let variables = self.variables.clone();
        let variable = move |wanted: &str| {
            let found = variables.iter().find(|(key, _)| key == wanted);
            found.map(|(_, value)| OsString::from(value))
        };
        let password = self.variables.iter().find(|(key, _)| key == "ICECORE_STORAGE_PASSWORD");
        let password = password.map(|(_, value)| Secret::new(value.clone()));
        let access = Access {
            variable: Arc::new(variable),
            home: None,
            user: None,
            password: Arc::new(move || Ok(password.clone())),
            timeouts: Timeouts::default(),
            connections: 4,
            patience: Patience::none(),
            warn: Arc::new(|_| ()),
        };
        let address = Address::parse(&self.place(name)).unwrap();
        icecore_remote::open(&address, &access, Intent::Create).unwrap()
    }

    /// Every object of a place, read without the program.
    pub fn content(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let storage = self.storage(name);
        let read = |(name, length): (String, u64)| {
            let object = ObjectName::new(name.clone()).unwrap();
            (name, storage.read(&object, 0, length as usize).unwrap())
        };
        objects(storage.as_ref()).into_iter().map(read).collect()
    }

    /// Makes a repository that takes next to no time to open.
    fn init_cheaply(&self, name: &str) {
        let storage = self.storage(name);
        Repository::create(Arc::clone(&storage), &[7; 16]).unwrap();
        create_vault(storage).unwrap();
    }
}

/// A run that ends in a time that can be known.
fn timed(run: impl FnOnce() -> Outcome) -> Outcome {
    let begun = Instant::now();
    let outcome = run();
    assert!(begun.elapsed() < LONGEST, "{:?}: {outcome:?}", begun.elapsed());
    outcome
}

/// All objects of a storage, and their lengths.
fn objects(storage: &dyn Storage) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let listed = storage.list(None, Depth::All, &mut |row| {
        if let Listed::Object { name, size_bytes } = row {
            found.insert(name.to_string(), size_bytes);
        }
        Ok(())
    });
    listed.unwrap();
    found
}

/// Somebody who backs up a tree to a place on a server.
struct User<'s> {
    server: &'s Server,
    place: Place,
    repository: String,
}

impl<'s> User<'s> {
    fn new(server: &'s Server, name: &str) -> User<'s> {
        User { server, place: Place::new(), repository: server.place(name) }
    }

    fn tree(&self, seed: u64) -> Tree {
        self.place.tree(seed, Features { large_files: true, long_paths: false, ..Features::all() })
    }

    /// The command line, not yet started.
    fn command(&self, verb: &str, more: &[&str]) -> Command {
        self.command_at(&self.repository, verb, more)
    }

    /// The same with another repository.
    fn command_at(&self, repository: &str, verb: &str, more: &[&str]) -> Command {
        let mut words: Vec<&str> = verb.split(' ').collect();
        words.extend(["-r", repository, "--json"].iter().chain(more));
        if !more.contains(&"--retries") {
            words.extend(["--retries", "1"]);
        }
        let mut command = self.place.program.command(&words);
        command.env("ICECORE_PASSWORD", PASSWORD);
        command.envs(self.server.variables.iter().map(|(key, value)| (key, value)));
        command
    }

    fn run_with(&self, password: &str, verb: &str, more: &[&str]) -> Outcome {
        self.outcome(self.command(verb, more).env("ICECORE_PASSWORD", password))
    }

    /// Runs a command to its end.
    fn outcome(&self, command: &mut Command) -> Outcome {
        let output = command.output().unwrap();
        let outcome = Outcome::new(output.status, &output.stdout, &output.stderr);
        self.server.shows_no_secret(&outcome);
        outcome
    }

    fn run(&self, verb: &str, more: &[&str]) -> Outcome {
        self.run_with(PASSWORD, verb, more)
    }

    #[track_caller]
    fn back_up(&self, more: &[&str]) -> Value {
        let source = self.place.source();
        let words = [&["--host", "alpha", "--name", "nightly", source.to_str().unwrap()], more].concat();
        self.run("backup", &words).expect(0).summary()
    }

    #[track_caller]
    fn restored(&self, backup: &str, more: &[&str]) -> Manifest {
        let target = self.place.target(&backup.replace(['/', ':'], "-"));
        let words = [&["--target", target.to_str().unwrap(), backup], more].concat();
        self.run("restore", &words).expect(0);
        Manifest::of(&target).unwrap()
    }

    #[track_caller]
    fn check_is_clean(&self) {
        let checked = self.run("check", &["--read-data"]).expect(0).summary();
        assert_eq!(checked["problems"], 0, "{checked}");
    }

    #[track_caller]
    fn backups(&self) -> Vec<String> {
        self.run("list", &[]).expect(0).of_type("backup").iter().map(id).collect()
    }
}

/// Every verb, with each engine, at new places of a server.
pub fn every_verb_works(server: &Server) {
    let user = User::new(server, "deduplicated/here");
    let tree = user.tree(61);
    let written = Instant::now();
    in_levels(server);
    from_here(server);
    // What is younger may change unseen: the backup after that reads it again, and writes it anew as known.
    let racy = Duration::from_secs(RACY_SECONDS.unsigned_abs() + 1);
    std::thread::sleep(racy.saturating_sub(written.elapsed()));
    deduplicated(&user, tree);
}

fn every_verb_works_on(start: Start) {
    let folder = tempfile::tempdir().unwrap();
    match start(folder.path()) {
        Ok(server) => every_verb_works(&server),
        Err(missing) => not_run(&missing.0),
    }
}

#[test]
fn every_verb_works_over_sftp() {
    every_verb_works_on(servers::sftp);
}

#[test]
fn every_verb_works_over_s3_of_swift() {
    every_verb_works_on(servers::s3_of_swift);
}

#[test]
fn every_verb_works_over_swift_with_its_own_login() {
    every_verb_works_on(servers::tempauth);
}

#[test]
fn every_verb_works_over_swift_with_keystone() {
    every_verb_works_on(servers::with_keystone);
}

#[test]
fn every_verb_works_over_ftp() {
    every_verb_works_on(servers::plain_ftp);
}

#[test]
fn every_verb_works_over_ftps() {
    every_verb_works_on(servers::ftps);
}

#[test]
fn every_verb_works_on_vsftpd() {
    every_verb_works_on(servers::vsftpd);
}

#[test]
fn every_verb_works_over_webdav() {
    every_verb_works_on(servers::dav);
}

#[test]
fn every_verb_works_over_rclone() {
    every_verb_works_on(servers::rclone);
}

fn deduplicated(user: &User<'_>, mut tree: Tree) {
    user.run("list", &[]).expect(10).explained();
    user.run("init", &[]).expect(0);
    user.run("init", &[]).expect(1).explained();
    assert!(user.backups().is_empty());
    let before = Manifest::of(&user.place.source()).unwrap();
    let first = id(&user.back_up(&[]));
    let again = user.back_up(&[]);
    assert!(again["reason"].as_str().unwrap().contains("nothing has changed"), "{again}");
    tree.mutate(1).unwrap();
    user.place.settle();
    let now = Manifest::of(&user.place.source()).unwrap();
    let third = id(&user.back_up(&["--tag", "kept"]));

    assert_eq!(user.backups().len(), 3);
    let rows = user.run("ls", &["--recursive", &first]).expect(0).stdout.lines().count();
    assert!(rows > before.entries.len() / 2, "{rows} rows");
    assert!(user.run("find", &["small.txt"]).expect(0).stdout.contains("content/small.txt"));
    assert!(user.run("diff", &[&first, &third]).expect(0).stdout.lines().count() > 1);
    let dumped = user.run("dump", &[&format!("{third}:content/small.txt")]).expect(0).stdout;
    assert_eq!(dumped, fs::read_to_string(user.place.source().join("content/small.txt")).unwrap());
    assert_eq!(user.run("stats", &[]).expect(0).summary()["backups"], 3);
    assert!(user.run("info", &[]).expect(0).stdout.contains("\"dedup"));
    user.run("key list", &[]).expect(0);
    user.run_with("wrong", "list", &[]).expect(12).explained();

    assert_equal(&before, &user.restored(&first, &[]), "the first backup");
    assert_equal(&now, &user.restored(&third, &["--verify"]), "the third backup");
    user.check_is_clean();
    user.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(user.backups(), [third]);
    user.check_is_clean();
}

fn in_levels(server: &Server) {
    let user = User::new(server, "levels");
    let tar = ["--engine", "tar", "--no-encryption", "--init", "--incremental"];
    let mut tree = user.tree(62);
    let mut made = Vec::new();
    for step in 0..3 {
        if step > 0 {
            tree.mutate(step).unwrap();
            user.place.settle();
        }
        let summary = user.back_up(&tar);
        assert_eq!(summary["level"], step, "{summary}");
        made.push((id(&summary), Manifest::of(&user.place.source()).unwrap()));
    }
    assert_eq!(user.backups().len(), 3);
    for (number, (id, expected)) in made.iter().enumerate() {
        assert_equal(expected, &user.restored(id, &[]), &format!("level {number}"));
    }
    // What looks into backups, but for those that leave chains alone and say so.
    let (middle, expected) = &made[1];
    let all = user.run("ls", &["--recursive", middle]).expect(0).of_type("entry").len();
    // All but the root.
    assert_eq!(all + 1, expected.entries.len(), "ls of level 1");
    let small = user.place.source().join("content/small.txt");
    assert!(user.run("find", &["small.txt"]).expect(0).stdout.contains("content/small.txt"));
    let dumped = user.run("cat", &["latest:content/small.txt"]).expect(0).stdout;
    assert_eq!(dumped, fs::read_to_string(small).unwrap());
    let info = user.run("info", &[]).expect(0).of_type("repository").remove(0);
    assert_eq!((&info["backups"], &info["series"][0]["chains"]), (&3.into(), &1.into()), "{info}");
    user.run("diff", &[&made[0].0, middle]).expect(1).explained();
    user.check_is_clean();
    user.back_up(&tar[..4]);
    user.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(user.backups().len(), 1);
    user.check_is_clean();
}

/// What is here goes over to a server, deduplicated backups and chains: once copied, and once kept alike.
fn from_here(server: &Server) {
    let user = User::new(server, "copied");
    let here = user.place.path().join("here");
    let here = here.to_str().unwrap();
    let local: Arc<dyn Storage> = Arc::new(Local::create(here).unwrap());
    Repository::create(Arc::clone(&local), &[7; 16]).unwrap();
    create_vault(Arc::clone(&local)).unwrap();
    let source = user.place.source();
    let back_up = |more: &[&str]| {
        fs::write(source.join("changing"), Random::new(more.len() as u64).bytes(200_000)).unwrap();
        user.place.settle();
        let words = [&["--host", "alpha", "--name", "nightly", source.to_str().unwrap()], more].concat();
        user.outcome(&mut user.command_at(here, "backup", &words)).expect(0);
        Manifest::of(&source).unwrap()
    };
    let restores = |repository: &str, engine: &str, expected: &Manifest, what: &str| {
        let target = user.place.target(what);
        let words = ["--engine", engine, "--target", target.to_str().unwrap(), "latest"];
        user.outcome(&mut user.command_at(repository, "restore", &words)).expect(0);
        assert_equal(expected, &Manifest::of(&target).unwrap(), what);
    };
    user.place.write(&[("letters/a", "first"), ("letters/b", "second")]);
    let tar = ["--engine", "tar", "--no-encryption", "--incremental"];
    back_up(&tar);
    let (level, snapshot) = (back_up(&[&tar[..], &["--tag", "second"]].concat()), back_up(&[]));

    server.init_cheaply("copied");
    let copy = |more: &[&str]| {
        let mut command = user.command("copy", &[&["--from", here], more].concat());
        let summary = user.outcome(command.env("ICECORE_FROM_PASSWORD", PASSWORD)).expect(0).summary();
        ["copied", "present", "failed"].map(|key| summary[key].as_u64().unwrap())
    };
    assert_eq!(copy(&[]), [3, 0, 0]);
    assert_eq!(copy(&[]), [0, 3, 0]);
    restores(&user.repository, "dedup", &snapshot, "the snapshot that was copied");
    restores(&user.repository, "tar", &level, "the level that was copied");

    let other = server.place("alike");
    user.outcome(&mut user.command_at(here, "sync", &["-r", &other, "--init"])).expect(0);
    assert_eq!(objects(server.storage("alike").as_ref()), objects(local.as_ref()));
    restores(&other, "dedup", &snapshot, "the snapshot of the copy that is kept alike");
}
