//! What single options do: each is shown by what comes of it.

use super::{Agent, everything, metadata, outcome};
use std::fs;
use std::path::{Path, PathBuf};

/// What is below `part` of the repository (`metadata` or `data`), in the series of this name.
fn stored(repository: &Path, part: &str, series: &str) -> Vec<(String, Vec<u8>)> {
    everything(&repository.join(part).join("tar").join(series))
}

/// Folders of levels whose names begin so, of the only chain.
fn level(agent: &Agent, part: &str, level: u32) -> PathBuf {
    let [chain] =
        crate::place::entries(&agent.place.repository().join(part).join("tar/h_n")).try_into().unwrap();
    let levels = crate::place::entries(&chain).into_iter();
    let head = format!("{level}_");
    levels.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&head)).unwrap()
}

#[test]
fn short_names_are_the_long_ones() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let (source, repository) = (agent.place.source(), agent.place.repository());
    let place = [
        "--storage",
        "local",
        "--hostname",
        "h",
        "-C",
        repository.to_str().unwrap(),
        "-N",
        "short",
        "-e",
        "rsync",
    ];
    let run = |more: &[&str]| agent.run(&[&place[..], more].concat());
    // An empty word is no snapshot.
    let said =
        run(&["-F", source.to_str().unwrap(), "-m", "fs", "-s", "", "-M", "1048576", "-q", "-d"]).expect(0);
    assert_eq!(said.stderr, "");
    assert_eq!(everything(&repository.join("metadata/rsync/h_short")).len(), 1);
    let said = run(&["--action", "admin", "-R", "0"]).expect(0).stderr;
    assert!(said.contains("removed 0 chains, kept 1"), "{said}");
}

/// Source, container, target and answer, and a container that nobody names.
#[test]
fn relative_paths_are_from_where_the_agent_was_started() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let at = |path: &str| agent.place.path().join(path);
    let words = ["--storage", "local", "--backup-name", "n", "--hostname", "h"];
    let run = |more: &[&str]| agent.run(&[&words[..], more].concat()).expect(0);
    run(&["--path-to-backup", "source", "--metadata-out", "answer"]);
    assert!(at("answer").is_file() && at("freezer_backups/metadata/tar/h_n").is_dir());
    run(&["--action", "restore", "--restore-abs-path", "some/target"]);
    assert_eq!(fs::read_to_string(at("some/target/a")).unwrap(), "one");
}

#[test]
fn the_host_is_this_machine_where_none_is_named() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let line = ["--storage", "local", "-C", "c", "-F", "source", "-N", "n", "--metadata-out", "-"];
    let said = metadata(&agent.run(&line).expect(0));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(said["hostname"], host.trim());
    let series = format!("{}_n", host.trim());
    assert_eq!(stored(&agent.place.path().join("c"), "metadata", &series).len(), 1);
}

/// What is reported is what is on the storage; but a series that was begun under the template itself goes on.
#[test]
fn a_backup_name_is_a_template() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let name = "{mode}-{storage}-{backup_media}-{resource_id}";
    let incremental = |name: &str| agent.level(&["--backup-name", name, "--incremental"]);
    for level in 0..2 {
        let said = incremental(name);
        assert_eq!(
            (&said["backup_name"], &said["curr_backup_level"]),
            (&"fs-local-fs-h".into(), &level.into())
        );
    }
    assert_eq!(stored(&agent.place.repository(), "metadata", "h_fs-local-fs-h").len(), 2);
    // As Freezer names it: what is in two braces is no variable.
    assert_eq!(incremental("{{mode}}")["backup_name"], "{mode}");
    agent.place.write(&[("a", "two")]);
    let said = incremental("{mode}");
    assert_eq!((&said["backup_name"], &said["curr_backup_level"]), (&"fs".into(), &1.into()));
    assert_eq!(stored(&agent.place.repository(), "metadata", "h_{mode}").len(), 2);
    agent.restore("back", &["--backup-name", "{mode}"]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("back").join("a")).unwrap(), "two");
}

#[test]
fn a_chain_with_a_gap_or_damage_is_not_built_upon() {
    for is_gone in [true, false] {
        let agent = Agent::new();
        for number in 0..3 {
            agent.place.write(&[("a", &format!("{number}"))]);
            assert_eq!(agent.level(&["--incremental"])["curr_backup_level"], number);
        }
        match is_gone {
            true => fs::remove_dir_all(level(&agent, "metadata", 1)).unwrap(),
            false => {
                let data = level(&agent, "data", 1).join("data");
                let bytes = fs::read(&data).unwrap();
                fs::write(&data, &bytes[..bytes.len() - 1]).unwrap();
            }
        }
        agent.place.write(&[("a", "last")]);
        assert_eq!(agent.level(&["--incremental"])["curr_backup_level"], 0, "{is_gone}");
        agent.restore("back", &[]).expect(0);
        assert_eq!(fs::read_to_string(agent.place.target("back").join("a")).unwrap(), "last");
    }
}

#[test]
fn a_newer_increment_keeps_its_chain() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for _ in 0..2 {
        agent.level(&["--incremental"]);
    }
    // The full backup is from three days ago; the increment is not.
    for part in ["metadata", "data"] {
        let full = level(&agent, part, 0);
        let chain = full.parent().unwrap();
        let start: i64 = chain.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let earlier = start - 3 * 86_400;
        fs::rename(&full, chain.join(format!("0_{earlier}"))).unwrap();
        fs::rename(chain, chain.with_file_name(earlier.to_string())).unwrap();
    }
    agent.level(&[]);
    let admin = |more: &[&str]| agent.local("admin", more).expect(0).stderr;
    let kept = admin(&["--remove-older-than", "2"]);
    assert!(kept.contains("removed 0 chains, kept 2"), "{kept}");
    // When all of it is old it goes: there is a newer one.
    let removed = admin(&["--remove-before-date", "2100-01-01"]);
    assert!(removed.contains("removed 1 chain, kept 1"), "{removed}");
}

/// No program of that name is asked: there is none.
#[test]
fn compression_is_what_is_asked_for() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for (word, head) in [("gzip", &b"\x1f\x8b"[..]), ("bzip2", b"BZh"), ("xz", b"\xfd7zXZ")] {
        let repository = agent.place.path().join(word);
        let line = [
            "--storage",
            "local",
            "-C",
            word,
            "-F",
            "source",
            "-N",
            "n",
            "--hostname",
            "h",
            "--compression",
            word,
        ];
        let mut command = agent.command(&line);
        command.env("PATH", "/nowhere/at/all");
        outcome(command).expect(0);
        let data = stored(&repository, "data", "h_n");
        let (_, bytes) = data.iter().find(|(path, _)| path.ends_with("/data")).unwrap();
        assert!(bytes.starts_with(head), "{word}: {:?}", &bytes[..8]);
    }
}

/// What the agent starts is as nice as it is itself.
#[test]
fn the_highest_priority_is_asked_for() {
    let agent = Agent::new();
    let nice = |more: &[&str]| {
        let words = ["--action", "exec", "--command", "cut -d ' ' -f 19 /proc/self/stat"];
        agent.run(&[&words[..], more].concat()).expect(0)
    };
    let (usual, raised) = (nice(&[]), nice(&["--max-priority", "yes"]));
    // Whoever may not have it is told so.
    match raised.stderr.contains("no more of the processor") {
        true => assert_eq!(raised.stdout, usual.stdout),
        false => assert_eq!(raised.stdout, "-19\n"),
    }
}

/// The same of the disks, where the system allows it.
#[test]
fn the_disks_are_asked_for_with_the_highest_priority() {
    let ionice = |words: &[&str]| std::process::Command::new("ionice").args(words).output();
    let highest = match ionice(&["-c", "1", "-n", "0", "ionice"]) {
        Ok(output) if output.status.success() => output.stdout,
        _ => return eprintln!("not run: nobody here may have the disks first"),
    };
    let command = "sh -c 'ionice -p $$$$'";
    let agent = Agent::new();
    let said = agent.run(&["--action", "exec", "--command", command, "--max-priority", "yes"]).expect(0);
    assert_eq!(said.stdout.as_bytes(), highest);
    let usual = agent.run(&["--action", "exec", "--command", command]).expect(0);
    assert_eq!(usual.stdout.as_bytes(), ionice(&[]).unwrap().stdout);
}

#[test]
fn words_that_options_do_not_take_are_refused() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for (option, word) in [
        ("--os-identity-api-version", "2"),
        ("--os-identity-api-version", "2.0"),
        ("--action", "scheduler"),
        ("--storage", "tape"),
        ("--compression", "zstd"),
        ("--lvm-snap-perm", "rwx"),
        ("--dereference-symlink", "none"),
        ("--upload-limit", "10X"),
        ("--download-limit", "much"),
        ("--ssh-port", "ssh"),
        ("--ftp-port", "1.5"),
        ("--naive-dates", "mine"),
        ("--restart-always-level", "often"),
        ("--max-segment-size", "32M"),
    ] {
        let said = agent.backup(&[option, word]).expect(2).stderr;
        assert!(said.contains(option) && said.contains(word), "{option} {word}: {said}");
    }
    assert!(!agent.place.repository().exists());
    agent.backup(&["--os-identity-api-version", "3"]).expect(0);
}
