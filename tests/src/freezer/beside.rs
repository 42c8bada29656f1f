//! Beside Freezer 19.0.0 itself: each restores what the other has stored, and they take turns on one chain.

use super::Agent;
use crate::place::assert_alike;
use crate::program::not_run;
use icecore_testkit::manifest::{Manifest, Options};
use icecore_testkit::servers::freezer::Freezer;
use icecore_testkit::servers::keystone::Keystone;
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{self, Swift};
use icecore_testkit::servers::{NotInstalled, free_port};
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Both agents, one source and one container.
struct Both {
    agent: Agent,
    freezer: Freezer,
    storage: Vec<String>,
    variables: Vec<(String, String)>,
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
        let storage = ["--storage", "swift", "--container", "shared/some/where"].map(str::to_owned).to_vec();
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
        let variables = keystone.variables();
        Ok(Both { agent, freezer, storage, variables, _keystone: keystone, _server: server })
    }

    /// One line, by one of the two.
    #[track_caller]
    fn run(&self, who: Who, action: &str, more: &[&str]) -> String {
        let mut words: Vec<&str> = vec!["--action", action, "--hostname", "h"];
        words.extend(self.storage.iter().map(String::as_str));
        words.extend(more);
        let output: Output = match who {
            Who::Freezer => self.freezer.run(&words),
            Who::Ours => {
                let mut command = self.agent.command(&words);
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
    fn compare(&self, who: Who, expected: &Manifest, what: &str, more: &[&str]) {
        let target = self.agent.place.target(&format!("{who:?} {what}").replace([' ', '/'], "-"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        self.run(who, "restore", &[&["--restore-abs-path", target.to_str().unwrap()], more].concat());
        // What tar of Freezer's making holds: no attributes but the usual ones, times in seconds, no holes.
        let options = Options {
            nanoseconds: false,
            xattrs: false,
            holes: false,
            directory_times: false,
            root: false,
            owners: is_root(),
            ..Options::default()
        };
        assert_alike(
            expected,
            &Manifest::of(&target).unwrap(),
            &options,
            &format!("{what}, restored by {who:?}"),
        );
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

    /// A chain of backups; after each, the other one restores it, and in the end both do.
    fn take_turns(&self, name: &str, turns: &[Who], more: &[&str]) {
        self.take_turns_with(name, turns, more, &[]);
    }

    /// The same, where restores need to be told something as well.
    fn take_turns_with(&self, name: &str, turns: &[Who], more: &[&str], to_restore: &[&str]) {
        let series = ["--backup-name", name];
        for (number, who) in turns.iter().enumerate() {
            let expected = self.change(number);
            self.backup(*who, &[&series[..], &["--incremental"], more].concat());
            let is_last = number + 1 == turns.len();
            for reader in [Who::Ours, Who::Freezer].into_iter().filter(|reader| is_last || reader != who) {
                self.compare(
                    reader,
                    &expected,
                    &format!("{name} {number}"),
                    &[&series[..], to_restore].concat(),
                );
            }
        }
        fs::remove_dir_all(self.agent.place.source()).unwrap();
        fs::create_dir(self.agent.place.source()).unwrap();
    }
}

use Who::{Freezer as Theirs, Ours};

#[test]
fn each_restores_what_the_other_has_stored() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_folder(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    for (name, turns, compression) in [
        ("ours", &[Ours, Ours, Ours][..], "gzip"),
        ("theirs", &[Theirs, Theirs, Theirs], "gzip"),
        ("bzip2", &[Ours, Theirs], "bzip2"),
        ("xz", &[Theirs, Ours], "xz"),
    ] {
        both.take_turns(name, turns, &["--compression", compression]);
    }
}

#[test]
fn each_restores_what_the_other_has_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_folder(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    let file = folder.path().join("password");
    fs::write(&file, "correct horse\n").unwrap();
    let password = ["--encrypt-pass-file", file.to_str().unwrap()];
    both.take_turns_with("encrypted", &[Ours, Theirs, Ours], &password, &password);
    for (compression, turns) in [("bzip2", [Ours, Theirs]), ("xz", [Theirs, Ours])] {
        let more = [&password[..], &["--compression", compression]].concat();
        both.take_turns_with(compression, &turns, &more, &password);
    }
}

#[test]
fn they_take_turns_on_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_folder(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    both.take_turns("turns", &[Theirs, Ours, Theirs, Ours, Ours, Theirs], &[]);
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
        both.compare(reader, &expected, "template", &[]);
    }
}

#[test]
fn they_take_turns_in_swift() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_swift(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    both.take_turns("turns", &[Ours, Theirs, Ours, Theirs], &["--max-segment-size", "1048576"]);
}

/// Each goes on with what the other has begun; the last level has been through both.
#[test]
fn they_take_turns_over_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_ssh(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    both.take_turns("turns", &[Ours, Ours, Ours, Theirs, Theirs, Ours], &[]);
}

#[test]
fn they_take_turns_over_ssh_with_encryption() {
    let folder = tempfile::tempdir().unwrap();
    let both = match Both::on_ssh(folder.path()) {
        Ok(both) => both,
        Err(missing) => return not_run(&missing.0),
    };
    let file = folder.path().join("password");
    fs::write(&file, "correct horse\n").unwrap();
    let password = ["--encrypt-pass-file", file.to_str().unwrap()];
    let turns = [Theirs, Theirs, Theirs, Ours, Ours, Theirs];
    both.take_turns_with("encrypted", &turns, &password, &password);
}
