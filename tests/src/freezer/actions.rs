//! The actions: backup, restore, admin, info, exec; and each option of theirs.

use super::{Agent, everything, metadata};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::tree::Features;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn a_tree_with_everything_comes_back() {
    let agent = Agent::new();
    agent.place.tree(7, Features::all());
    let before = Manifest::of(&agent.place.source()).unwrap();
    for (number, compression) in ["gzip", "bzip2", "xz"].into_iter().enumerate() {
        let said = agent.level(&["--compression", compression]);
        assert_eq!(
            (&said["curr_backup_level"], said["compression"].as_str()),
            (&0.into(), Some(compression))
        );
        let target = format!("back-{number}");
        agent.restore(&target, &[]).expect(0);
        crate::place::assert_equal(
            &before,
            &Manifest::of(&agent.place.target(&target)).unwrap(),
            compression,
        );
    }
}

/// The levels that several backups get.
fn levels(more: &[&str], count: usize) -> Vec<u64> {
    let agent = Agent::new();
    let mut levels = Vec::new();
    for number in 0..count {
        agent.place.write(&[("a", &format!("{number}"))]);
        levels.push(agent.level(more)["curr_backup_level"].as_u64().unwrap());
    }
    agent.restore("back", &[]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("back").join("a")).unwrap(), format!("{}", count - 1));
    levels
}

#[test]
fn levels_rise_as_they_do_in_freezer() {
    assert_eq!(levels(&[], 2), [0, 0]);
    assert_eq!(levels(&["--incremental"], 3), [0, 1, 2]);
    assert_eq!(levels(&["--incremental", "--max-level", "2"], 5), [0, 1, 2, 0, 1]);
    assert_eq!(levels(&["--incremental", "--always-level", "1"], 4), [0, 1, 1, 1]);
    assert_eq!(levels(&["--incremental", "--restart-always-level", "1", "--max-level", "0"], 3), [0, 1, 2]);
}

/// The keys are those of Freezer 19.0.0, in its order, and ours behind them.
#[test]
fn what_a_backup_came_to_has_every_key_and_right_values() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one"), ("b/c", "two")]);
    let freezers =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer/tar-gzip-l2/expected/metadata-out-1.json");
    let freezers: Value = serde_json::from_str(&fs::read_to_string(freezers).unwrap()).unwrap();
    agent.level(&["--incremental"]);
    let said =
        agent.level(&["--incremental", "--max-level", "5", "--consistency-check", "--backup-id", "id"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut expected = keys(&freezers);
    expected.extend(["backup_id", "icecore_checksum"].map(str::to_owned));
    assert_eq!(keys(&said), expected);
    let types = |key: &str| freezers[key].is_string() == said[key].is_string();
    assert!(keys(&freezers).iter().all(|key| types(key)), "{said}");
    let source = agent.place.source();
    for (key, value) in [
        ("curr_backup_level", Value::from(1)),
        ("max_level", 5.into()),
        ("backup_name", "n".into()),
        ("hostname", "h".into()),
        ("action", "backup".into()),
        ("fs_real_path", source.to_str().unwrap().into()),
        ("ssh_port", 22.into()),
        ("dry_run", "".into()),
        ("always_level", "".into()),
        ("client_os", "linux".into()),
    ] {
        assert_eq!(said[key], value, "{key}");
    }
    let time = said["time_stamp"].as_i64().unwrap();
    let stored = agent.place.repository().join("metadata/tar/h_n");
    let stored = everything(&stored).iter().any(|(path, _)| path.contains(&format!("/1_{time}/metadata")));
    assert!(stored, "the time is not that on the storage: {time}");
}

#[test]
fn without_metadata_out_a_table_is_printed_and_with_a_file_nothing() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let source = agent.place.source();
    let backup =
        |more: &[&str]| agent.local("backup", &[&["-F", source.to_str().unwrap()], more].concat()).expect(0);
    let table = backup(&[]).stdout;
    assert!(table.starts_with("+-") && table.contains("|       curr backup level       |"), "{table}");
    assert_eq!(backup(&["--metadata-out", "said.json"]).stdout, "");
    // Where the agent was started, and not in the source.
    let said: Value =
        serde_json::from_str(&fs::read_to_string(agent.place.path().join("said.json")).unwrap()).unwrap();
    assert_eq!(said["backup_name"], "n");
    assert_eq!(crate::place::entries(&source).len(), 1);
    assert_eq!(agent.restore("back", &[]).expect(0).stdout, "");
}

#[test]
fn a_dry_run_writes_nothing() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    assert_eq!(agent.level(&["--dry-run"])["dry_run"], true);
    assert!(!agent.place.repository().exists());
    agent.level(&["--incremental"]);
    let before = everything(&agent.place.repository());
    agent.place.write(&[("b", "two")]);
    assert_eq!(agent.level(&["--incremental", "--dry-run"])["curr_backup_level"], 1);
    agent.level(&["--dry-run"]);
    agent.local("admin", &["--remove-older-than", "0", "--dry-run"]).expect(0);
    agent.restore("back", &["--dry-run"]).expect(0);
    assert!(!agent.place.target("back").exists());
    assert!(everything(&agent.place.repository()) == before);
}

#[test]
fn exclude_takes_the_patterns_of_tar() {
    let agent = Agent::new();
    agent.place.write(&[
        ("keep", "x"),
        ("a.bin", "x"),
        ("deep/b.bin", "x"),
        ("x/y", "x"),
        ("deep/x/y/z", "x"),
    ]);
    for (number, (pattern, gone)) in
        [("*.bin", &["a.bin", "deep/b.bin"][..]), ("x*y", &["x/y", "deep/x/y"]), ("./a.bin", &["a.bin"])]
            .into_iter()
            .enumerate()
    {
        agent.level(&["--exclude", pattern]);
        let target = format!("back-{number}");
        agent.restore(&target, &[]).expect(0);
        let target = agent.place.target(&target);
        for path in ["keep", "a.bin", "deep/b.bin", "x/y", "deep/x/y"] {
            assert_eq!(target.join(path).exists(), !gone.contains(&path), "{pattern}: {path}");
        }
    }
}

#[test]
fn a_target_that_is_not_empty_needs_overwrite() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one"), ("d/b", "two")]);
    agent.level(&[]);
    let target = agent.place.target("back");
    fs::create_dir_all(target.join("d")).unwrap();
    fs::write(target.join("a"), "another").unwrap();
    let refused = agent.restore("back", &[]).expect(1).stderr;
    assert!(refused.contains("not empty"), "{refused}");
    agent.restore("back", &["--overwrite"]).expect(0);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "one");
}

#[test]
fn checksums_are_compared_by_either_way() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one"), ("d/b", "two"), ("left.out", "x")]);
    let said = agent.level(&["--consistency-check", "--exclude", "*.out"]);
    let sound = said["icecore_checksum"].as_str().unwrap().to_owned();
    agent.restore("sound", &["--consistency-checksum", &sound]).expect(0);
    // Freezer's counts what was left out, too.
    let freezers = said["consistency_checksum"].as_str().unwrap().to_owned();
    let failed = agent.restore("freezers", &["--consistency-checksum", &freezers]).expect(1).stderr;
    assert!(failed.contains("Backup Consistency Check failed") && failed.contains("order"), "{failed}");
    fs::remove_file(agent.place.source().join("left.out")).unwrap();
    let one = agent.backup_of(&agent.place.source().join("a"), &["--consistency-check"]).expect(0);
    let one = metadata(&one)["consistency_checksum"].as_str().unwrap().to_owned();
    assert!(one.len() == 65 && one.ends_with('a'), "{one}");
    agent.restore("one", &["--consistency-checksum", &one]).expect(0);
    agent.level(&[]);
    fs::create_dir_all(agent.place.target("other")).unwrap();
    fs::write(agent.place.target("other").join("stranger"), "x").unwrap();
    agent.restore("other", &["--overwrite", "--consistency-checksum", &sound]).expect(1);
}

#[test]
fn chains_go_when_all_of_them_is_old() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    agent.level(&["--incremental"]);
    agent.level(&["--incremental"]);
    agent.level(&[]);
    let chains = || crate::place::entries(&agent.place.repository().join("metadata/tar/h_n")).len();
    assert_eq!(chains(), 2);
    agent.local("admin", &["--remove-older-than", "1"]).expect(0);
    assert_eq!(chains(), 2);
    for wrong in [&[][..], &["--remove-older-than", "1", "--remove-before-date", "2026-01-01"]] {
        assert!(agent.local("admin", wrong).expect(1).stderr.contains("--remove-older-than"));
    }
    // All is old; the last good chain stays.
    let said = agent.local("admin", &["--remove-before-date", "2100-01-01T00:00:00"]).expect(0).stderr;
    assert!(said.contains("removed 1 chain, kept 1"), "{said}");
    assert_eq!(chains(), 1);
    agent.restore("back", &[]).expect(0);
    // What Freezer takes for no limit at all.
    for date in ["1970-01-01", "1970-01-01T00:00:00"] {
        let said = agent.local("admin", &["--remove-from-date", date]).expect(0).stderr;
        assert!(said.contains("removed 0 chains, kept 1"), "{said}");
    }
    // Beside a backup, as 19.0.0 does it.
    agent.level(&["--remove-from-date", "2100-01-01T00:00:00"]);
    assert_eq!(chains(), 1);
}

#[test]
fn exec_runs_words_and_pipes_without_a_shell() {
    let agent = Agent::new();
    let exec = |command: &str| agent.run(&["--action", "exec", "--command", command]);
    assert_eq!(exec("printf '%s\\n' 'a|b' | tr ab xy").expect(0).stdout, "x|y\n");
    exec("false | true").expect(1);
    exec("sh -c 'exit 0'").expect(0);
    assert!(exec("/nowhere/at/all").expect(1).stderr.contains("/nowhere"));
    assert!(agent.run(&["--action", "exec"]).expect(1).stderr.contains("--command"));
    // The proxy is in the environment of all that is started.
    for (proxy, expected) in [("http://Proxy:1", "http://Proxy:1 http://Proxy:1\n"), ("", "\n")] {
        for (one, other) in [("HTTPS_PROXY", "http_proxy"), ("ALL_PROXY", "all_proxy")] {
            let shown = format!("sh -c 'echo ${one} ${other}'");
            let mut command = agent.command(&["--action", "exec", "--command", &shown, "--proxy", proxy]);
            command.env(one, "http://before").env(other, "http://before");
            assert_eq!(super::outcome(command).expect(0).stdout, expected, "{one} {other}");
        }
    }
    assert!(
        agent
            .run(&["--action", "exec", "--command", "true", "--proxy", "socks://x"])
            .expect(1)
            .stderr
            .contains("--proxy")
    );
}

#[test]
fn priority_and_limits_change_nothing_of_what_is_stored() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    agent.level(&[
        "--max-priority",
        "yes",
        "--upload-limit",
        "10M",
        "--download-limit",
        "1000000",
        "--nosync",
    ]);
    agent.restore("back", &["--download-limit", "1M"]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("back").join("a")).unwrap(), "one");
}

/// Of both engines; the checksums are those of what was restored.
#[test]
fn links_are_stored_as_what_they_point_to_when_that_is_wanted() {
    use std::os::unix::fs::{MetadataExt, symlink};
    for engine in ["tar", "rsync"] {
        let agent = Agent::new();
        agent.place.write(&[("a", "one"), ("d/b", "two")]);
        let at = |name: &str| agent.place.source().join(name);
        fs::hard_link(at("a"), at("again")).unwrap();
        symlink("a", at("soft")).unwrap();
        symlink("d", at("to-d")).unwrap();
        symlink("..", at("d/back")).unwrap();
        for (how, is_soft, names) in [("soft", true, 3), ("hard", false, 1), ("all", true, 1)] {
            let said =
                agent.level(&["--engine", engine, "--dereference-symlink", how, "--consistency-check"]);
            let checksum = said["icecore_checksum"].as_str().unwrap().to_owned();
            let target = format!("back-{how}");
            agent.restore(&target, &["--engine", engine, "--consistency-checksum", &checksum]).expect(0);
            let target = agent.place.target(&target);
            assert_eq!(fs::metadata(target.join("a")).unwrap().nlink(), names, "{engine} {how}");
            for link in ["soft", "to-d"] {
                assert_eq!(target.join(link).is_symlink(), !is_soft, "{engine} {how}: {link}");
            }
            assert_eq!(fs::read_to_string(target.join("soft")).unwrap(), "one");
            assert_eq!(fs::read_to_string(target.join("to-d/b")).unwrap(), "two");
            assert!(target.join("d/back").is_symlink(), "{engine} {how}: a directory within itself");
        }
    }
}

/// Of content that does not compress, blocks of a given length are stored where a byte of each has changed.
#[test]
fn blocks_of_the_rsync_engine_have_the_length_that_is_given() {
    let mut state = 1_u64;
    let content: Vec<u8> = (0..600 << 10)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let stored = |block: Option<&str>| {
        let agent = Agent::new();
        let file = agent.place.source().join("image");
        fs::write(&file, &content).unwrap();
        agent.place.settle();
        let block: Vec<&str> = block.into_iter().flat_map(|bytes| ["--rsync-block-size", bytes]).collect();
        let words = [&["--engine", "rsync", "--incremental"], &block[..]].concat();
        agent.level(&words);
        let mut changed = content.clone();
        changed[100_000] ^= 1;
        fs::write(&file, changed).unwrap();
        agent.place.settle();
        let time = agent.level(&words)["time_stamp"].as_i64().unwrap();
        let data = everything(&agent.place.repository().join("data"));
        data.iter().find(|(path, _)| path.ends_with(&format!("/1_{time}/data"))).unwrap().1.len()
    };
    let [short, chosen, default, long] = [Some("512"), None, Some("4096"), Some("65536")].map(stored);
    assert!(short < chosen && chosen < 4 << 10, "{short} {chosen}");
    // Also where it is what Freezer would take.
    assert!(default > 4 << 10 && default < 8 << 10 && long > 60 << 10, "{default} {long}");
}

#[test]
fn the_log_is_where_the_options_say() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let folder = agent.place.path().join("logs");
    agent.level(&["--log-dir", folder.to_str().unwrap()]);
    agent.level(&["--log-dir", folder.to_str().unwrap(), "--log-file", "one"]);
    for name in ["freezer-agent.log", "one"] {
        assert!(fs::read_to_string(folder.join(name)).unwrap().contains("level 0 of h_n"), "{name}");
    }
}
