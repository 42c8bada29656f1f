//! Beside Freezer 19.0.0 itself: each restores what the other has stored, and they take turns on one chain.
//!
//! Freezer takes seconds to start, and so does the Keystone that it wants. So here any two of storage, compression, encryption and who begins come together in some chain, and all
//! of them do in a test that is run when there is time.

use super::Agent;
use crate::place::assert_alike;
use crate::program::not_run;
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::servers::freezer::Freezer;
use icecore_testkit::servers::keystone::Keystone;
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{self, Swift};
use icecore_testkit::servers::{NotInstalled, free_port};
use icecore_testkit::tree::attributes::set_xattr;
use icecore_testkit::tree::is_root;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Both agents, one source and one container.
struct Both {
    agent: Agent,
    freezer: Freezer,
    storage: Vec<String>,
    variables: Vec<(String, String)>,
    /// A password, in a file.
    password: String,
    /// Running until this is dropped.
    _keystone: Keystone,
    _server: Option<Server>,
}

/// What the storage is on, but for a folder.
enum Server {
    Swift { _cluster: Swift },
    Ssh { _server: Sshd },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Ours,
    Freezer,
}

impl Both {
    fn on_folder(folder: &Path) -> Result<Both, NotInstalled> {
        let keystone = Keystone::start(&folder.join("keystone"), "http://127.0.0.1:9", 3600)?;
        let agent = Agent::new();
        let container = agent.place.repository().display().to_string();
        let storage = ["--storage", "local", "--container", &container].map(str::to_owned).to_vec();
        Both::with(folder, agent, storage, keystone, None)
    }

    fn on_swift(folder: &Path) -> Result<Both, NotInstalled> {
        let port = free_port();
        let keystone = Keystone::start(&folder.join("keystone"), &format!("http://127.0.0.1:{port}"), 3600)?;
        let admin = (keystone.url(), icecore_testkit::servers::keystone::PASSWORD.to_owned());
        let options = swift::Options { keystone: Some(admin), port: Some(port), ..swift::Options::default() };
        let cluster = Swift::start(&folder.join("swift"), &options)?;
        let words =
            ["--storage", "swift", "--container", "shared/some/where", "--max-segment-size", "1048576"];
        let storage = words.map(str::to_owned).to_vec();
        Both::with(folder, Agent::new(), storage, keystone, Some(Server::Swift { _cluster: cluster }))
    }

    fn on_ssh(folder: &Path) -> Result<Both, NotInstalled> {
        let keystone = Keystone::start(&folder.join("keystone"), "http://127.0.0.1:9", 3600)?;
        fs::create_dir(folder.join("ssh")).unwrap();
        let server = Sshd::start(&folder.join("ssh"), "")?;
        let (port, user) = (server.port().to_string(), server.user());
        let (key, container) = (server.file("user_ed25519"), server.file("data").join("some/where"));
        let words = [("ssh-host", "127.0.0.1"), ("ssh-port", &port), ("ssh-username", &user)];
        let files = [("ssh-key", key.to_str().unwrap()), ("container", container.to_str().unwrap())];
        let words = [("storage", "ssh")].into_iter().chain(words).chain(files);
        let storage = words.flat_map(|(name, value)| [format!("--{name}"), value.to_owned()]).collect();
        Both::with(folder, Agent::new(), storage, keystone, Some(Server::Ssh { _server: server }))
    }

    fn with(
        folder: &Path,
        agent: Agent,
        storage: Vec<String>,
        keystone: Keystone,
        server: Option<Server>,
    ) -> Result<Both, NotInstalled> {
        let freezer = Freezer::new(&folder.join("freezer"), &keystone)?;
        let (variables, password) = (keystone.variables(), folder.join("password"));
        fs::write(&password, "correct horse\n").unwrap();
        let password = password.display().to_string();
        Ok(Both { agent, freezer, storage, variables, password, _keystone: keystone, _server: server })
    }

    /// One action, by one of the two.
    #[track_caller]
    fn run(&self, who: Who, action: &str, more: &[&str]) -> String {
        let mut words: Vec<&str> = vec!["--action", action, "--hostname", "h"];
        words.extend(self.storage.iter().map(String::as_str));
        words.extend(more);
        self.run_line(who, &words)
    }

    /// One line, by one of the two.
    #[track_caller]
    fn run_line(&self, who: Who, words: &[&str]) -> String {
        let output: Output = match who {
            Who::Freezer => self.freezer.run(words),
            Who::Ours => {
                let mut command = self.agent.command(words);
                command.envs(self.variables.iter().map(|(key, value)| (key, value)));
                command.output().unwrap()
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{who:?} {words:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn backup(&self, who: Who, more: &[&str]) {
        self.agent.place.settle();
        let source = self.agent.place.source().display().to_string();
        self.run(who, "backup", &[&["--path-to-backup", &source, "--metadata-out", "-"], more].concat());
    }

    /// Restores the newest, and compares.
    fn compare(&self, who: Who, expected: &Manifest, what: &str, more: &[&str], options: &Options) {
        let target = self.agent.place.target(&format!("{who:?} {what}").replace([' ', '/'], "-"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        self.run(who, "restore", &[&["--restore-abs-path", target.to_str().unwrap()], more].concat());
        is_back(&target, expected, options, &format!("{what}, restored by {who:?}"));
    }

    /// The tree as it is before the backup of this number.
    fn change(&self, number: usize) -> Manifest {
        let source = self.agent.place.source();
        let write = |path: &str, text: String| {
            let path = source.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("always", format!("number {number}\n").repeat(1000 * number + 1));
        write(&format!("new/{number}/file {number}"), format!("{number}"));
        write(&format!("\u{e9}/{number}"), String::new());
        if number == 0 {
            write("to be removed/a", "a".to_owned());
            write("to be renamed/b", "b".repeat(300_000));
            std::os::unix::fs::symlink("../always", source.join("new/link")).unwrap();
            File::create(source.join("holes")).unwrap().write_all_at(b"end", 1 << 20).unwrap();
            // Not every file system has them.
            set_xattr(&source.join("holes"), "user.note", b"kept").unwrap_or_default();
            fs::hard_link(source.join("always"), source.join("again")).unwrap();
        }
        if number == 1 {
            fs::remove_dir_all(source.join("to be removed")).unwrap();
            fs::rename(source.join("to be renamed"), source.join("renamed")).unwrap();
        }
        if number > 1 {
            fs::remove_file(source.join(format!("new/{}/file {}", number - 1, number - 1))).unwrap();
        }
        self.agent.place.settle();
        Manifest::of(&source).unwrap()
    }

    /// A chain of backups; after each, the other one restores it, and in the end both do. As long as no other has written to it, so does
    /// this program, with all there is.
    fn take_turns(&self, compression: &str, is_encrypted: bool, turns: &[Who]) {
        let name = format!("{compression}-{is_encrypted}-{:?}-{:?}", turns[0], turns[1]);
        let password = ["--encrypt-pass-file", &self.password];
        let series = [&["--backup-name", &name], &password[..if is_encrypted { 2 } else { 0 }]].concat();
        for (number, who) in turns.iter().enumerate() {
            let expected = self.change(number);
            self.backup(*who, &[&series[..], &["--incremental", "--compression", compression]].concat());
            let (is_last, is_ours) = (number + 1 == turns.len(), !turns[..=number].contains(&Theirs));
            for reader in [Ours, Theirs] {
                let is_own = reader == Ours && is_ours;
                if is_last || is_own || reader != *who {
                    let options = if is_own { Options::default() } else { what_freezer_keeps() };
                    self.compare(reader, &expected, &format!("{name} {number}"), &series, &options);
                }
            }
        }
        fs::remove_dir_all(self.agent.place.source()).unwrap();
        fs::create_dir(self.agent.place.source()).unwrap();
    }
}

/// What tar of Freezer's making holds: no attributes but the usual ones, times in seconds, no holes.
fn what_freezer_keeps() -> Options {
    Options {
        nanoseconds: false,
        xattrs: false,
        holes: false,
        directory_times: false,
        root: false,
        owners: is_root(),
        ..Options::default()
    }
}

#[track_caller]
fn is_back(target: &Path, expected: &Manifest, options: &Options, what: &str) {
    assert_alike(expected, &Manifest::of(target).unwrap(), options, what);
}

use Who::{Freezer as Theirs, Ours};

/// Each goes on with what it and the other have begun; the last level has been through both.
const BEGUN_HERE: &[Who] = &[Ours, Ours, Ours, Theirs, Theirs, Ours];
/// The same, the other way round.
const BEGUN_THERE: &[Who] = &[Theirs, Theirs, Theirs, Ours, Ours, Theirs];
/// Each goes on with what the other has begun: for a storage that takes long.
const IN_TURN_FROM_HERE: &[Who] = &[Ours, Theirs, Ours];
/// The same, the other way round.
const IN_TURN_FROM_THERE: &[Who] = &[Theirs, Ours, Theirs];

/// Chains in one storage: compression, encryption, and who begins.
type Chains<'a> = &'a [(&'a str, bool, &'a [Who])];

/// How a place of both is made.
type Start = fn(&Path) -> Result<Both, NotInstalled>;

fn take_turns(start: Start, chains: Chains<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let both = match start(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    for (compression, is_encrypted, turns) in chains {
        both.take_turns(compression, *is_encrypted, turns);
    }
}

#[test]
fn they_take_turns_on_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_folder(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    both.take_turns("gzip", false, BEGUN_HERE);
    // Without a name Freezer stores under its template, braces and all; that series goes on, and is found.
    let expected = both.change(0);
    both.backup(Theirs, &["--incremental"]);
    let said = {
        both.agent.place.settle();
        let source = both.agent.place.source().display().to_string();
        both.run(Ours, "backup", &["--path-to-backup", &source, "--metadata-out", "-", "--incremental"])
    };
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["curr_backup_level"], &said["backup_name"]), (&1.into(), &"freezer_fs_h".into()));
    for reader in [Ours, Theirs] {
        both.compare(reader, &expected, "template", &[], &what_freezer_keeps());
    }
}

#[test]
fn they_take_turns_with_encryption_and_run_the_same_job_files() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_folder(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    both.take_turns("bzip2", true, BEGUN_THERE);
    both.take_turns("xz", true, IN_TURN_FROM_HERE);
    run_the_same_jobs(&both);
}

#[test]
fn they_take_turns_over_ssh() {
    let chains =
        [("bzip2", false, BEGUN_HERE), ("xz", false, IN_TURN_FROM_THERE), ("gzip", true, IN_TURN_FROM_THERE)];
    take_turns(Both::on_ssh, &chains);
}

#[test]
fn they_take_turns_in_swift() {
    let chains = [
        ("gzip", false, IN_TURN_FROM_THERE),
        ("bzip2", true, IN_TURN_FROM_HERE),
        ("xz", true, &IN_TURN_FROM_THERE[..2]),
    ];
    take_turns(Both::on_swift, &chains);
}

/// All that the tests above take a part of, with more levels; and turn by turn.
#[test]
#[ignore = "takes many minutes"]
fn every_combination_of_the_long_profile() {
    let alternating = &[Theirs, Ours, Theirs, Ours, Theirs, Ours][..];
    let mut chains = Vec::new();
    for compression in ["gzip", "bzip2", "xz"] {
        for is_encrypted in [false, true] {
            let turns = [BEGUN_HERE, BEGUN_THERE, alternating];
            chains.extend(turns.map(|turns| (compression, is_encrypted, turns)));
        }
    }
    for start in [Both::on_folder as Start, Both::on_ssh, Both::on_swift] {
        take_turns(start, &chains);
    }
}

/// A file of options that both are given as it is: a backup by each, and after each a restore by the other.
fn run_the_same_jobs(both: &Both) {
    let place = &both.agent.place;
    let (source, container, target) = (place.source(), place.repository(), place.target("job"));
    let job = |name: &str, options: &str| -> PathBuf {
        let path = place.path().join(name);
        let series = "hostname = h\nbackup-name = job\nencrypt_pass_file = ";
        let storage = format!("storage = local\ncontainer = {}\n", container.display());
        let text = format!("[default]\n{storage}{series}{}\n[job]\n{options}", both.password);
        fs::write(&path, text).unwrap();
        path
    };
    let source = format!("path_to_backup = {}\n", source.display());
    let backup = job(
        "backup",
        &format!("action = backup\nincremental = True\ncompression = xz\nquiet = False\n{source}"),
    );
    let restore = job("restore", &format!("action = restore\nrestore_abs_path = {}\n", target.display()));
    let run = |who: Who, job: &Path| both.run_line(who, &["--config", job.to_str().unwrap()]);
    for (number, (writer, reader)) in [(Theirs, Ours), (Ours, Theirs)].into_iter().enumerate() {
        let expected = both.change(number);
        run(writer, &backup);
        run(reader, &restore);
        is_back(&target, &expected, &what_freezer_keeps(), &format!("by {writer:?}, restored by {reader:?}"));
        fs::remove_dir_all(&target).unwrap();
    }
    let levels = super::everything(&container.join("metadata/tar/h_job"));
    assert_eq!(levels.len(), 2, "{levels:?}");
    let [chain] = crate::place::entries(&container.join("metadata/tar/h_job")).try_into().unwrap();
    assert_eq!(crate::place::entries(&chain).len(), 2, "each was a full backup");
}
