//! `--action info`: how much is in a container, and in each of all that there are.

use super::{Agent, everything};
use crate::program::{Outcome, not_run};
use icecore_testkit::servers::free_port;
use icecore_testkit::servers::ftp::{self, Protection, Pyftpdlib};
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::sshd::Sshd;
use std::fs;

/// The rows of a table: container, size and count.
#[track_caller]
pub fn rows(outcome: &Outcome) -> Vec<[String; 3]> {
    let mut lines = outcome.stdout.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> [String; 3] {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap()
    };
    assert_eq!(
        lines.next().map(cells),
        Some(["Container", "Size", "Object Count"].map(str::to_owned)),
        "{outcome:?}"
    );
    lines.map(cells).collect()
}

#[test]
fn what_is_in_the_container_is_counted() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    agent.level(&[]);
    let objects = everything(&agent.place.repository()).len().to_string();
    let [[name, _, count]] = rows(&agent.local("info", &[]).expect(0)).try_into().unwrap();
    assert_eq!((name.as_str(), count), (agent.place.repository().to_str().unwrap(), objects));
    let missing = agent.run(&["--action", "info", "--storage", "local", "-C", "/nowhere/at/all"]).expect(1);
    assert!(missing.stderr.contains("/nowhere"), "{missing:?}");
}

/// Of folders those are containers in which backups are, whoever has made them.
#[test]
fn all_containers_are_those_of_the_folder_where_the_agent_was_started() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let info = || rows(&agent.run(&["--action", "info", "--storage", "local", "-C", ""]).expect(0));
    assert!(info().is_empty());
    for name in ["one", "two"] {
        agent.run(&["--storage", "local", "-C", name, "-F", "source", "-N", "n"]).expect(0);
    }
    // As Freezer leaves it, which has no mark of ours.
    fs::remove_file(agent.place.path().join("two/icecore")).unwrap();
    std::os::unix::fs::symlink("one", agent.place.path().join("link")).unwrap();
    let expected = ["one", "two"].map(|name| {
        let count = everything(&agent.place.path().join(name)).len().to_string();
        (name.to_owned(), count)
    });
    let counted =
        |rows: Vec<[String; 3]>| rows.into_iter().map(|[name, _, count]| (name, count)).collect::<Vec<_>>();
    assert_eq!(counted(info()), expected);
    // One that nobody can look into has a row all the same, is named, and fails the run.
    fs::create_dir(agent.place.path().join("broken")).unwrap();
    fs::write(agent.place.path().join("broken/icecore"), "nonsense").unwrap();
    let said = agent.run(&["--action", "info", "--storage", "local", "-C", ""]).expect(1);
    assert!(said.stderr.contains("broken") && said.stderr.contains("1 container"), "{said:?}");
    let broken = [("broken".to_owned(), "?".to_owned())];
    assert_eq!(counted(rows(&said)), [&broken[..], &expected].concat());
}

#[test]
fn all_containers_of_a_server_with_ssh_are_where_the_login_begins() {
    let folder = tempfile::tempdir().unwrap();
    let start = format!("ForceCommand internal-sftp -d {}", folder.path().join("data").display());
    let sshd = match Sshd::start(folder.path(), &start) {
        Ok(sshd) => sshd,
        Err(missing) => return not_run(&missing.0),
    };
    let (port, user, key) = (sshd.port().to_string(), sshd.user(), sshd.file("user_ed25519"));
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    // Without --ssh-key a key is found where keys are.
    fs::create_dir(agent.place.program.home().join(".ssh")).unwrap();
    fs::copy(&key, agent.place.program.home().join(".ssh/id_rsa")).unwrap();
    let place = ["--storage", "ssh", "--ssh-host", "127.0.0.1", "--ssh-port", &port, "--ssh-username", &user];
    let run = |more: &[&str]| agent.run(&[&place[..], more].concat()).expect(0);
    run(&["-C", "one", "-F", "source", "-N", "n"]);
    fs::create_dir_all(sshd.file("data").join("other/folder")).unwrap();
    let [[name, _, count]] = rows(&run(&["--action", "info", "-C", ""])).try_into().unwrap();
    let objects = everything(&sshd.file("data").join("one")).len().to_string();
    assert_eq!((name.as_str(), count), ("one", objects));
}

#[test]
fn all_containers_of_a_server_with_ftp_are_where_the_login_begins() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(missing) = ftp::certificates(folder.path()) {
        return not_run(&missing.0);
    }
    let port = free_port();
    let _server = match Pyftpdlib::new(Protection::Off).start(folder.path(), port) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let (port, files) = (port.to_string(), folder.path().join("files"));
    let server = ["--storage", "ftp", "--ftp-host", "127.0.0.1", "--ftp-port", &port];
    let login = ["--ftp-username", ftp::USER, "--ftp-password", ftp::PASSWORD];
    let run = |more: &[&str]| agent.run(&[&server[..], &login, more].concat()).expect(0);
    assert!(rows(&run(&["--action", "info", "-C", ""])).is_empty());
    run(&["-C", "one", "-F", "source", "-N", "n"]);
    fs::create_dir_all(files.join("other/folder")).unwrap();
    let [[name, _, count]] = rows(&run(&["--action", "info", "-C", ""])).try_into().unwrap();
    let objects = everything(&files.join("one")).len().to_string();
    assert_eq!((name.as_str(), count), ("one", objects));
}

#[test]
fn all_buckets_are_listed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let moto = match Moto::start(folder.path()) {
        Ok(moto) => moto,
        Err(missing) => return not_run(&missing.0),
    };
    let (endpoint, (id, secret)) = (moto.endpoint(), &moto.key);
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let run = |more: &[&str]| {
        let place = ["--storage", "s3", "--endpoint", &endpoint, "--access-key", id, "--secret-key", secret];
        agent.run(&[&place[..], more].concat())
    };
    assert!(rows(&run(&["--action", "info", "-C", ""]).expect(0)).is_empty());
    for name in ["one", "two/pre/fix"] {
        run(&["-C", name, "-F", "source", "-N", "n"]).expect(0);
    }
    let listed = rows(&run(&["--action", "info", "-C", ""]).expect(0));
    let listed: Vec<_> = listed.iter().map(|[name, _, count]| (name.as_str(), count.as_str())).collect();
    assert_eq!(listed, [("one", "4"), ("two", "4")]);
}
