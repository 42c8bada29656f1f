//! Every row of the tables in `docs/guide/from-freezer.md`: what it says becomes of an option is what becomes of it; and what works, in
//! whatever way, stands in a test of its own, which is run with all others.

use super::Agent;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/guide/from-freezer.md");

/// Options that do something, and the tests that show what: `FILE::TEST`, in `tests/src/freezer` where no folder is said. A row of the page
/// that is not here fails, and so does a test that is not there, or in a file that does not know the option.
const SHOWN: &[(&str, &[&str])] = &[
    (
        "action",
        &[
            "said::a_job_does_not_turn_a_restore_into_a_backup",
            "options::words_that_options_do_not_take_are_refused",
        ],
    ),
    (
        "path-to-backup",
        &[
            "defects::names_and_patterns_are_never_read_by_a_shell",
            "options::relative_paths_are_from_where_the_agent_was_started",
        ],
    ),
    ("backup-name", &["options::a_backup_name_is_a_template", "beside::they_take_turns_on_one_chain"]),
    (
        "mode",
        &[
            "what_is_missing_is_refused_with_what_does_the_same",
            "tests/src/databases.rs::a_backup_of_tables_that_are_written_to_is_of_one_moment",
        ],
    ),
    ("engine", &["defects::what_is_moved_within_a_file_is_not_lost", "corpus::chains_of_the_rsync_engines"]),
    (
        "container",
        &[
            "defects::a_relative_container_is_one_of_where_the_agent_was_started",
            "info::all_containers_are_those_of_the_folder_where_the_agent_was_started",
        ],
    ),
    (
        "storage",
        &[
            "storages::s3_by_keys_of_the_line_or_the_environment",
            "storages::ftp_and_ftps",
            "storages::several_storages_of_a_job_hold_the_same",
        ],
    ),
    ("snapshot", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("sync", &["agent/src/freezer/backup.rs::what_is_in_memory_is_written_first_unless_that_is_turned_off"]),
    ("lvm-srcvol", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("lvm-snapname", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("lvm-snap-perm", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("lvm-snapsize", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("lvm-dirmount", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    ("lvm-volgroup", &["tests/src/volumes.rs::freezers_agent_takes_them_as_its_options_say", LVM]),
    (
        "incremental",
        &[
            "actions::levels_rise_as_they_do_in_freezer",
            "options::a_chain_with_a_gap_or_damage_is_not_built_upon",
        ],
    ),
    ("max-level", &["actions::levels_rise_as_they_do_in_freezer"]),
    ("always-level", &["actions::levels_rise_as_they_do_in_freezer"]),
    (
        "restart-always-level",
        &[
            "actions::levels_rise_as_they_do_in_freezer",
            "defects::a_chain_that_is_added_to_begins_anew_after_its_days",
        ],
    ),
    (
        "remove-older-than",
        &["actions::chains_go_when_all_of_them_is_old", "options::a_newer_increment_keeps_its_chain"],
    ),
    ("remove-before-date", &["actions::chains_go_when_all_of_them_is_old"]),
    ("remove-from-date", &["actions::chains_go_when_all_of_them_is_old"]),
    (
        "hostname",
        &[
            "options::the_host_is_this_machine_where_none_is_named",
            "defects::two_names_that_read_alike_are_one_series",
        ],
    ),
    ("mysql-conf", &["tests/src/databases.rs::a_backup_of_tables_that_are_written_to_is_of_one_moment"]),
    (
        "metadata-out",
        &[
            "actions::without_metadata_out_a_table_is_printed_and_with_a_file_nothing",
            "actions::what_a_backup_came_to_has_every_key_and_right_values",
        ],
    ),
    (
        "exclude",
        &[
            "actions::exclude_takes_the_patterns_of_tar",
            "defects::names_and_patterns_are_never_read_by_a_shell",
        ],
    ),
    ("dereference-symlink", &["actions::links_are_stored_as_what_they_point_to_when_that_is_wanted"]),
    (
        "encrypt-pass-file",
        &[
            "corpus::what_is_made_with_a_pass_file_comes_back_with_it",
            "beside::they_take_turns_with_encryption_and_run_the_same_job_files",
        ],
    ),
    ("max-segment-size", &["storages::swift_by_the_variables_of_a_login"]),
    ("rsync-block-size", &["actions::blocks_of_the_rsync_engine_have_the_length_that_is_given"]),
    ("restore-abs-path", &["options::relative_paths_are_from_where_the_agent_was_started"]),
    ("restore-from-date", &["said::dates_without_a_zone_are_utc_unless_told_otherwise"]),
    (
        "max-priority",
        &[
            "options::the_highest_priority_is_asked_for",
            "options::the_disks_are_asked_for_with_the_highest_priority",
        ],
    ),
    ("quiet", &["said::what_means_nothing_is_an_error_and_what_does_nothing_is_named"]),
    (
        "os-identity-api-version",
        &[
            "storages::swift_by_the_variables_of_a_login",
            "options::words_that_options_do_not_take_are_refused",
        ],
    ),
    (
        "proxy",
        &[
            "storages::a_proxy_is_what_requests_go_through",
            "actions::exec_runs_words_and_pipes_without_a_shell",
        ],
    ),
    ("dry-run", &["actions::a_dry_run_writes_nothing", "defects::a_dry_run_of_many_files_ends"]),
    (
        "upload-limit",
        &[
            "agent/src/freezer.rs::limits_and_patience_are_those_of_the_storage",
            "actions::priority_and_limits_change_nothing_of_what_is_stored",
        ],
    ),
    (
        "download-limit",
        &[
            "agent/src/freezer.rs::limits_and_patience_are_those_of_the_storage",
            "actions::priority_and_limits_change_nothing_of_what_is_stored",
        ],
    ),
    ("project-id", &["storages::swift_by_the_variables_of_a_login"]),
    ("backup-id", &["actions::what_a_backup_came_to_has_every_key_and_right_values"]),
    ("command", &["actions::exec_runs_words_and_pipes_without_a_shell"]),
    ("compression", &["options::compression_is_what_is_asked_for", "beside::they_take_turns_over_ssh"]),
    ("access-key", &["storages::s3_by_keys_of_the_line_or_the_environment"]),
    ("secret-key", &["storages::s3_by_keys_of_the_line_or_the_environment", "defects::no_secret_is_logged"]),
    ("endpoint", &["storages::s3_by_keys_of_the_line_or_the_environment"]),
    (
        "ssh-key",
        &["storages::ssh_by_a_key", "info::all_containers_of_a_server_with_ssh_are_where_the_login_begins"],
    ),
    ("ssh-password", &["storages::ssh_by_a_password", "defects::no_secret_is_logged"]),
    ("ssh-username", &["storages::ssh_by_a_key"]),
    ("ssh-host", &["storages::ssh_by_a_key"]),
    ("ssh-port", &["storages::ssh_by_a_key"]),
    ("ftp-username", &["storages::ftp_and_ftps"]),
    ("ftp-password", &["storages::ftp_and_ftps", "defects::no_secret_is_logged"]),
    ("ftp-host", &["storages::ftp_and_ftps"]),
    ("ftp-port", &["storages::ftp_and_ftps"]),
    ("ftp-keyfile", &["storages::ftps_with_a_certificate_of_the_client"]),
    ("ftp-certfile", &["storages::ftps_with_a_certificate_of_the_client"]),
    (
        "config",
        &[
            "said::a_job_does_not_turn_a_restore_into_a_backup",
            "said::a_job_is_run_as_the_scheduler_runs_it",
            "beside::they_take_turns_with_encryption_and_run_the_same_job_files",
        ],
    ),
    (
        "overwrite",
        &[
            "actions::a_target_that_is_not_empty_needs_overwrite",
            "defects::a_restore_over_something_removes_nothing_else",
        ],
    ),
    ("consistency-check", &["actions::checksums_are_compared_by_either_way"]),
    ("consistency-checksum", &["actions::checksums_are_compared_by_either_way"]),
    (
        "timeout",
        &[
            "agent/src/freezer.rs::limits_and_patience_are_those_of_the_storage",
            "said::what_means_nothing_is_an_error_and_what_does_nothing_is_named",
        ],
    ),
    ("naive-dates", &["said::dates_without_a_zone_are_utc_unless_told_otherwise"]),
    ("version", &["said::no_words_are_a_cry_for_help"]),
    ("config-file", &["said::files_and_variables_say_what_the_command_line_does_not"]),
    ("config-dir", &["said::files_and_variables_say_what_the_command_line_does_not"]),
    ("log-file", &["actions::the_log_is_where_the_options_say"]),
    ("log-dir", &["actions::the_log_is_where_the_options_say"]),
];

/// The words for LVM that options of it become, without a volume.
const LVM: &str = "agent/src/freezer/backup.rs::a_snapshot_is_taken_as_the_options_of_lvm_say";

/// The same of actions.
const ACTIONS: &[(&str, &[&str])] = &[
    ("backup", &["actions::a_tree_with_everything_comes_back", "actions::levels_rise_as_they_do_in_freezer"]),
    (
        "restore",
        &[
            "actions::a_tree_with_everything_comes_back",
            "defects::a_restore_over_something_removes_nothing_else",
        ],
    ),
    (
        "info",
        &[
            "info::what_is_in_the_container_is_counted",
            "info::all_buckets_are_listed_and_counted",
            "storages::swift_by_the_variables_of_a_login",
        ],
    ),
    ("admin", &["actions::chains_go_when_all_of_them_is_old"]),
    ("exec", &["actions::exec_runs_words_and_pipes_without_a_shell"]),
];

/// A test that is there.
struct Shown {
    /// The file that it is in.
    text: String,
    /// Whether it is run with all others.
    is_run: bool,
}

#[track_caller]
fn find(test: &str) -> Shown {
    let (file, name) = test.rsplit_once("::").unwrap_or(("rows", test));
    let file = if file.contains('/') { file.to_owned() } else { format!("tests/src/freezer/{file}.rs") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{test}: {error}"));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")));
    let at = at.unwrap_or_else(|| panic!("{test} is not there"));
    let above: Vec<&&str> = lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).collect();
    assert!(above.iter().any(|line| **line == "#[test]"), "{test} is no test");
    let is_run = !above.iter().any(|line| line.starts_with(concat!("#[", "ignore")));
    Shown { text, is_run }
}

/// The tests are there, and one of them is run with all others.
#[track_caller]
fn all_there<'t>(tests: impl IntoIterator<Item = &'t str>, what: &str) -> Vec<Shown> {
    let found: Vec<Shown> = tests.into_iter().map(find).collect();
    assert!(found.iter().any(|test| test.is_run), "no test that is run shows {what}");
    found
}

/// Name, and the last cell, of every row of a table.
fn rows(heading: &str, mark: &str) -> Vec<(&'static str, &'static str)> {
    let section = PAGE.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix(mark));
    rows.map(|row| {
        let (name, rest) = row.split_once('`').unwrap();
        (name, rest.trim_end_matches(" |").rsplit_once(" | ").unwrap().1)
    })
    .collect()
}

/// The words of an option, with a value that is one.
fn words(name: &str) -> Vec<String> {
    let switches = [
        "cindernative-freezer-only",
        "insecure",
        "debug",
        "use-syslog",
        "use-journal",
        "use-json",
        "use-stderr",
    ];
    let value = match name {
        "lvm-snap-perm" => "rw",
        "fullbackup-rotation" => "3",
        "watch-log-file" => return vec!["--watch-log-file".to_owned()],
        name if switches.contains(&name) => return vec![format!("--{name}")],
        _ => "some",
    };
    vec![format!("--{name}"), value.to_owned()]
}

#[test]
fn every_option_does_what_its_row_says() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let rows = rows("## Every option", "| `--");
    assert!(rows.len() > 80, "{}", rows.len());
    // Of those that do nothing all are said at once: none of them is in the way of another.
    let (mut nothing, mut alone) = (Vec::new(), Vec::new());
    for (name, effect) in rows {
        let option = format!("--{name}");
        if effect.starts_with("not in this version") {
            let words = words(name);
            let said = agent.backup(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect(1).stderr;
            assert!(said.contains("Critical Error") && said.contains(&option), "{option}: {said}");
        } else if effect.starts_with("accepted without effect") {
            nothing.push(name);
        } else if effect.starts_with("accepted;") {
            alone.push(name);
        } else {
            let tests = SHOWN.iter().filter(|(shown, _)| *shown == name).flat_map(|(_, tests)| *tests);
            let tests: Vec<&str> = tests.copied().collect();
            let found =
                all_there(tests.iter().copied(), &format!("{option}, of which the page says: {effect}"));
            for (test, Shown { text, .. }) in tests.iter().zip(found) {
                let is_word = |word: &str| {
                    let is_part = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
                    text.split(|letter| !is_part(letter)).any(|found| found == word)
                };
                let off = format!("--no{name}");
                let words = [option.as_str(), name, &name.replace('-', "_"), &off];
                assert!(
                    words.iter().any(|word| is_word(word)),
                    "{test} is in a file that does not know {option}"
                );
            }
        }
    }
    assert!(!agent.place.repository().exists(), "nothing was to be made");
    let all: Vec<String> = nothing.iter().chain(&alone).flat_map(|name| words(name)).collect();
    let said = agent.backup(&all.iter().map(String::as_str).collect::<Vec<_>>()).expect(0).stderr;
    for name in nothing {
        assert!(said.contains(&format!("--{name} does nothing")), "{name}: {said}");
    }
    for name in alone {
        assert!(!said.contains(&format!("--{name}")), "{name}: {said}");
    }
    agent.restore("back", &[]).expect(0);
    assert_eq!(fs::read_to_string(agent.place.target("back").join("a")).unwrap(), "one");
}

/// Whoever takes a row away takes its tests away.
#[test]
fn every_test_is_of_a_row() {
    let (options, actions) = (rows("## Every option", "| `--"), rows("## Every action", "| `"));
    for (name, _) in SHOWN {
        let there =
            options.iter().filter(|(option, effect)| option == name && !effect.starts_with("accepted"));
        assert_eq!(there.count(), 1, "{name}");
        assert_eq!(SHOWN.iter().filter(|(other, _)| other == name).count(), 1, "{name} twice");
    }
    for (name, _) in ACTIONS {
        assert!(actions.iter().any(|(action, _)| action == name), "{name}");
    }
}

#[test]
fn every_action_is_shown_by_a_test() {
    for (name, _) in rows("## Every action", "| `") {
        let (_, tests) =
            ACTIONS.iter().find(|(action, _)| *action == name).unwrap_or_else(|| panic!("{name}"));
        all_there(tests.iter().copied(), name);
    }
}

/// What is not in this version is refused by each of its names, with what to do instead, as the page has it.
#[test]
fn what_is_missing_is_refused_with_what_does_the_same() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let options = rows("## Every option", "| `--");
    let missing = rows("## Not in this version", "| `");
    let section = PAGE.split("## Not in this version").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut count = 0;
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let (names, instead) = line.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        for name in names.split('`').skip(1).step_by(2) {
            let lines: Vec<Vec<String>> = match name.split_once(' ') {
                // `--mode WORD`
                Some((option, word)) => vec![vec![option.to_owned(), word.to_owned()]],
                None => {
                    let head = name.trim_start_matches("--").trim_end_matches('…');
                    let is_meant = |(option, effect): &&(&str, &str)| {
                        option.starts_with(head) && effect.starts_with("not in this version")
                    };
                    options.iter().filter(is_meant).map(|(option, _)| words(option)).collect()
                }
            };
            assert!(!lines.is_empty(), "{name}");
            for line in lines {
                let said =
                    agent.backup(&line.iter().map(String::as_str).collect::<Vec<_>>()).expect(1).stderr;
                let is_told = said.contains("not in this version") && said.contains(&line[0]);
                assert!(is_told && said.contains(instead), "{line:?}: {said}");
                count += 1;
            }
        }
    }
    assert!(count > 15 && missing.len() > 5, "{count}");
    assert!(!agent.place.repository().exists(), "nothing was to be made");
}

/// The tests that the page names of what is wrong in Freezer are there.
#[test]
fn every_test_that_the_page_names_is_there() {
    let section = PAGE.split("## What is wrong in Freezer").nth(1).unwrap();
    let mut count = 0;
    for line in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| in Freezer")) {
        let named = line.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        // A folder, or a file of many, shows nothing of a row.
        assert!(named.iter().all(|name| name.contains("::")), "no test: {line}");
        count += all_there(named, line).len();
    }
    assert!(count > 50, "{count}");
}
