//! What is wrong in Freezer, and is not to be wrong here: the list in `docs/guide/from-freezer.md` names these tests.

use super::{Agent, everything, metadata, outcome};
use crate::program::not_run;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::tree::is_root;
use icecore_testkit::wire::{Action, HttpProxy, Rule};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// 1: it vanished without a word, and was taken for stored by the next level.
#[test]
fn a_file_that_cannot_be_read_is_named_and_tried_again() {
    if !is_root() {
        return not_run("somebody who may not read everything is needed");
    }
    let agent = Agent { place: crate::place::Place::unprivileged() };
    agent.place.write(&[("open", "one"), ("closed", "two")]);
    let closed = agent.place.source().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    agent.place.program.give(agent.place.path());
    let said = agent.backup(&["--incremental"]).expect(3);
    assert!(said.stderr.contains("closed"), "{said:?}");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).unwrap();
    agent.place.settle();
    agent.backup(&["--incremental"]).expect(0);
    agent.restore("back", &[]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("back").join("closed")).unwrap(), "two");
}

/// 1 and 22: a shell split names, and ran what stood in them.
#[test]
fn names_and_patterns_are_never_read_by_a_shell() {
    let agent = Agent::new();
    let name = "a b; $(touch spoiled) '\"|&";
    agent.place.write(&[(name, "content")]);
    let file = agent.place.source().join(name);
    let said = metadata(&agent.backup_of(&file, &["--exclude", "$(touch spoiled)"]).expect(0));
    assert_eq!(said["path_to_backup"], file.to_str().unwrap());
    agent.restore("$(touch spoiled)", &[]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("$(touch spoiled)").join(name)).unwrap(), "content");
    assert!(!everything(agent.place.path()).iter().any(|(path, _)| path.ends_with("/spoiled")));
}

/// A bucket behind something that may harm what goes there, and the words for it.
fn bucket(folder: &Path) -> Result<(Moto, HttpProxy, Vec<String>), NotInstalled> {
    let moto = Moto::start(folder)?;
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], moto.port)));
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let words = [("storage", "s3"), ("endpoint", &endpoint), ("container", "bucket/x"), ("hostname", "h")];
    let keys = [("access-key", moto.key.0.as_str()), ("secret-key", &moto.key.1)];
    let words = words.into_iter().chain(keys).map(|(name, value)| format!("--{name}={value}")).collect();
    Ok((moto, proxy, words))
}

/// 2: what could not be uploaded was passed over, and the backup had ended well.
#[test]
fn an_upload_that_fails_fails_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (_moto, proxy, words) = match bucket(folder.path()) {
        Ok(bucket) => bucket,
        Err(missing) => return not_run(&missing.0),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--backup-name", "n"]).collect();
    let agent = Agent::new();
    let run = |more: &[&str]| agent.run(&[&words[..], more].concat());
    agent.place.write(&[("a", "one")]);
    run(&["-F", "source", "--incremental"]).expect(0);
    agent.place.write(&[("a", "two")]);
    for object in ["/data", "/engine_metadata", "/metadata"] {
        proxy.add(Rule::new(Action::status(403)).when(move |request| {
            matches!(request.method.as_str(), "PUT" | "POST") && request.path.ends_with(object)
        }));
        let before = proxy.struck();
        let said = run(&["-F", "source", "--incremental"]).expect(1).stderr;
        assert!(said.contains("Critical Error") && said.contains(object), "{object}: {said}");
        assert!(proxy.struck() > before, "{object}");
        proxy.clear();
        let target = agent.place.target(object.trim_start_matches('/'));
        run(&["--action", "restore", "--restore-abs-path", target.to_str().unwrap()]).expect(0);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "one", "{object}");
    }
    run(&["-F", "source", "--incremental"]).expect(0);
}

/// 4: a bucket is listed by the beginnings of names, and what followed was not looked at.
#[test]
fn neighbours_in_a_bucket_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let (_moto, _proxy, words) = match bucket(folder.path()) {
        Ok(bucket) => bucket,
        Err(missing) => return not_run(&missing.0),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let agent = Agent::new();
    let run = |more: &[&str]| agent.run(&[&words[..], more].concat()).expect(0);
    let names = ["n", "n_b", "n2"];
    for name in names {
        agent.place.write(&[("a", name)]);
        for level in 0..2 {
            let said = run(&["-F", "source", "-N", name, "--incremental", "--metadata-out", "-"]);
            assert_eq!(metadata(&said)["curr_backup_level"], level, "{name}");
        }
        run(&["-F", "source", "-N", name]);
    }
    let removed = run(&["--action", "admin", "-N", "n", "--remove-before-date", "2100-01-01"]).stderr;
    assert!(removed.contains("removed 1 chain, kept 1"), "{removed}");
    for name in names {
        let target = agent.place.target(name);
        run(&["--action", "restore", "-N", name, "--restore-abs-path", target.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), name);
    }
    let removed = run(&["--action", "admin", "-N", "n2", "--remove-before-date", "2100-01-01"]).stderr;
    assert!(removed.contains("removed 1 chain, kept 1"), "{removed}");
}

/// 3: a listing that failed was taken for no backups, and the next one was full.
#[test]
fn a_listing_that_fails_is_no_empty_one() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    agent.level(&["--incremental"]);
    let series = agent.place.repository().join("metadata/tar/h_n");
    fs::rename(&series, series.with_extension("away")).unwrap();
    std::os::unix::fs::symlink("h_n", &series).unwrap();
    agent.backup(&["--incremental"]).expect(1);
}

/// 4 and 6: neighbours were mixed where a storage lists by prefixes.
#[test]
fn a_series_whose_name_begins_like_another_is_another() {
    let agent = Agent::new();
    for (name, content) in [("n_b", "b"), ("n", "n"), ("n2", "2")] {
        agent.place.write(&[("a", content)]);
        agent.level(&["--backup-name", name, "--incremental"]);
        agent.level(&["--backup-name", name]);
    }
    for (name, content) in [("n_b", "b"), ("n", "n"), ("n2", "2")] {
        agent.restore(name, &["--backup-name", name]).expect(0);
        assert_eq!(fs::read_to_string(agent.place.target(name).join("a")).unwrap(), content);
    }
    agent.local("admin", &["--remove-older-than", "0"]).expect(0);
    let chains =
        |name: &str| crate::place::entries(&agent.place.repository().join("metadata/tar").join(name)).len();
    assert_eq!((chains("h_n"), chains("h_n_b"), chains("h_n2")), (1, 2, 2));
}

/// 15: whatever else was in a directory was removed.
#[test]
fn a_restore_over_something_removes_nothing_else() {
    let agent = Agent::new();
    agent.place.write(&[("d/a", "one")]);
    agent.level(&[]);
    let target = agent.place.target("back");
    fs::create_dir_all(target.join("d")).unwrap();
    fs::write(target.join("d/stranger"), "mine").unwrap();
    agent.restore("back", &["--overwrite"]).expect(0);
    assert_eq!(fs::read_to_string(target.join("d/stranger")).unwrap(), "mine");
}

/// 17: a dry run of a restore with many names never ended.
#[test]
fn a_dry_run_of_many_files_ends() {
    let agent = Agent::new();
    let names: Vec<String> =
        (0..12_000).map(|number| format!("d/a-rather-long-name-so-that-a-pipe-is-full-{number}")).collect();
    agent.place.write(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    agent.level(&[]);
    agent.restore("back", &["--dry-run"]).expect(0);
}

/// 25: passwords and keys were written to the log.
#[test]
fn no_secret_is_logged() {
    let agent = Agent::new();
    let log = agent.place.path().join("log");
    let storages: [&[&str]; 3] = [
        &["--storage", "ssh", "--ssh-host", "127.0.0.1", "--ssh-port", "1", "--ssh-password", "topsecret"],
        &["--storage", "ftp", "--ftp-host", "127.0.0.1", "--ftp-port", "1", "--ftp-password", "topsecret"],
        &[
            "--storage",
            "s3",
            "--endpoint",
            "http://127.0.0.1:1",
            "--access-key",
            "topsecret",
            "--secret-key",
            "topsecret",
        ],
    ];
    for storage in storages {
        let said = agent.run(
            &[
                storage,
                &["--action", "info", "-C", "c", "--timeout", "1", "--log-file", log.to_str().unwrap()],
            ]
            .concat(),
        );
        let said = format!("{:?} {}", said.expect(1), fs::read_to_string(&log).unwrap());
        assert!(said.contains("Critical Error") && !said.contains("topsecret"), "{said}");
    }
    // Whoever may read the log is its owner.
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o077, 0);
}

/// 28: a Keystone had to let the agent in, also for a backup from one folder to another.
#[test]
fn no_keystone_is_needed_where_no_swift_is() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let source = agent.place.source();
    let mut command = agent.command(&[
        "--action",
        "backup",
        "--storage",
        "local",
        "-C",
        "store",
        "-F",
        source.to_str().unwrap(),
    ]);
    command.env("OS_AUTH_URL", "http://127.0.0.1:1");
    outcome(command).expect(0);
}

/// 31: a relative container was made where the agent was started, and written to in the source.
#[test]
fn a_relative_container_is_one_of_where_the_agent_was_started() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let source = agent.place.source();
    agent
        .run(&[
            "--storage",
            "local",
            "-C",
            "some/store",
            "-F",
            source.to_str().unwrap(),
            "-N",
            "n",
            "--hostname",
            "h",
        ])
        .expect(0);
    assert!(agent.place.path().join("some/store/metadata/tar/h_n").is_dir());
    assert_eq!(everything(&source).len(), 1);
}

/// 38: two agents made two backups of one level.
#[test]
fn two_at_once_never_write_to_one_place() {
    let agent = Agent::new();
    agent.place.write(&[("a", &"content".repeat(100_000))]);
    agent.level(&["--incremental"]);
    let (repository, source) = (agent.place.repository(), agent.place.source());
    let words = [
        "--storage",
        "local",
        "-C",
        repository.to_str().unwrap(),
        "-F",
        source.to_str().unwrap(),
        "--hostname",
        "h",
        "-N",
        "n",
        "--incremental",
        "--metadata-out",
        "-",
    ];
    let running: Vec<_> = (0..4)
        .map(|_| {
            let mut command = agent.command(&words);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let backups = everything(&repository.join("metadata/tar/h_n")).len();
    assert_eq!(backups, 5);
    let text = ["check", "-r", repository.to_str().unwrap(), "--read-data", "--json"];
    assert_eq!(agent.place.program.run(&text).expect(0).summary()["ok"], true);
    agent.restore("back", &[]).expect(0);
}

/// 7: the days counted from the newest increment.
#[test]
fn a_chain_that_is_added_to_begins_anew_after_its_days() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let words = ["--incremental", "--restart-always-level", "1"];
    for level in 0..2 {
        assert_eq!(agent.level(&words)["curr_backup_level"], level);
    }
    // The full backup is from two days ago; the increment is not.
    let chains = |part: &str| agent.place.repository().join(part).join("tar/h_n");
    for part in ["metadata", "data"] {
        let [chain] = crate::place::entries(&chains(part)).try_into().unwrap();
        let start: i64 = chain.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let earlier = start - 2 * 86_400;
        fs::rename(chain.join(format!("0_{start}")), chain.join(format!("0_{earlier}"))).unwrap();
        fs::rename(&chain, chain.with_file_name(earlier.to_string())).unwrap();
    }
    for level in 0..2 {
        assert_eq!(agent.level(&words)["curr_backup_level"], level);
    }
}

/// 9: blocks that were moved within a file were lost, and so was the last piece of a stream of a certain length.
#[test]
fn what_is_moved_within_a_file_is_not_lost() {
    let agent = Agent::new();
    let blocks: Vec<String> = (0..40).map(|block| format!("{block:04}").repeat(1024)).collect();
    let rsync = ["--engine", "rsync", "--incremental"];
    let mut moved = blocks.clone();
    moved.swap(3, 30);
    moved.insert(0, "x".to_owned());
    for (number, content) in [blocks.concat(), moved.concat(), moved[5..].concat()].iter().enumerate() {
        agent.place.write(&[("image", content)]);
        assert_eq!(agent.level(&rsync)["curr_backup_level"], number);
        let target = format!("back-{number}");
        agent.restore(&target, &["--engine", "rsync"]).expect(0);
        assert!(
            fs::read_to_string(agent.place.target(&target).join("image")).unwrap() == *content,
            "{number}"
        );
    }
}

/// 16: the engine waited for ever.
#[test]
fn the_rsync_engine_takes_every_name_owner_and_link() {
    use std::os::unix::ffi::OsStrExt;
    let agent = Agent::new();
    agent.place.write(&[("a", "one"), ("d/b", "two")]);
    let at = |name: &[u8]| agent.place.source().join(std::ffi::OsStr::from_bytes(name));
    fs::write(at(b"no \xff text"), "three").unwrap();
    std::os::unix::fs::symlink("nowhere", at(b"dangling")).unwrap();
    std::os::unix::fs::symlink("d", at(b"to-d")).unwrap();
    if is_root() {
        std::os::unix::fs::chown(at(b"a"), Some(3_999_999), Some(3_999_998)).unwrap();
    }
    for level in 0..2 {
        agent.place.settle();
        let before = icecore_testkit::manifest::Manifest::of(&agent.place.source()).unwrap();
        assert_eq!(agent.level(&["--engine", "rsync", "--incremental"])["curr_backup_level"], level);
        let target = format!("back-{level}");
        agent.restore(&target, &["--engine", "rsync"]).expect(0);
        let after = icecore_testkit::manifest::Manifest::of(&agent.place.target(&target)).unwrap();
        crate::place::assert_equal(&before, &after, "every name, owner and link");
        fs::remove_file(at(b"dangling")).unwrap_or(());
    }
}

/// 27: the umask said who could read what was stored.
#[test]
fn only_the_owner_reads_what_is_stored() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for mask in ["000", "022"] {
        let store = agent.place.path().join(mask);
        let line = format!(
            "umask {mask}; icecore agent --storage local -C '{}' -F '{}' -N n --hostname h",
            store.display(),
            agent.place.source().display()
        );
        let output = agent.place.program.shell(&line).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let files = everything(&store);
        assert!(files.len() >= 3, "{files:?}");
        for (path, _) in files {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{mask}: {path}");
        }
    }
}

/// 36: host and name are one word on the storage.
#[test]
fn two_names_that_read_alike_are_one_series() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for (level, host, name) in [(0, "a", "b_c"), (1, "a_b", "c")] {
        let said = agent.level(&["--hostname", host, "--backup-name", name, "--incremental"]);
        assert_eq!(said["curr_backup_level"], level);
    }
    assert_eq!(crate::place::entries(&agent.place.repository().join("metadata/tar")).len(), 1);
}
