//! Command lines that profiles come to.

use super::*;
use crate::profile::document::read;
use crate::profile::typed::take_apart;

const FILE: &str = r#"
[repositories.main]
path = "/srv/main"
password-file = "secret"
timeout = 30
environment = { AWS_PROFILE = "${WHO}" }

[repositories.far]
url = "sftp://me@${HOST:-host}/x"
options = { "key file" = "a&b" }
password-command = ["pass", "show", "it's"]

[profiles.base]
repository = "main"
exclude = ["*.tmp"]
exclude-caches = true
jobs = 2

[profiles.nightly]
inherits = ["base"]
paths = ["docs", "~/mail", "/etc"]
exclude = ["/cache"]
retention = { keep-daily = 7, keep-last = 3 }
dry-run = true

[profiles.nightly.restore]
exclude = ["*.iso"]
overwrite = "never"
delete = false

[profiles.far]
inherits = ["base"]
repository = "far"
name = "another name"
timeout = 5
exclude-caches = false

[profiles.database]
inherits = ["nightly"]
stdin-from-command = ["pg_dumpall", "-U", "a b"]
password-env = "PG"

[profiles.empty]
"#;

fn variable(name: &str) -> Option<OsString> {
    match name {
        "HOME" => Some("/home/me".into()),
        "WHO" => Some("who".into()),
        _ => None,
    }
}

fn expanded(text: &str, line: &str) -> Result<Call, Vec<Problem>> {
    let options = Options::new();
    let file = File { path: "/conf/icecore.toml".into(), text: text.to_owned(), is_private: true };
    let document = read(&file, &options);
    assert_eq!(document.problems, []);
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let typed = take_apart(&words, options.root());
    let name = typed.profiles[0].to_str().unwrap();
    Expander { file: &file, document: &document, options: &options, variable: &variable }.call(name, &typed)
}

fn words(line: &str) -> Vec<String> {
    let call = expanded(FILE, line).unwrap_or_else(|problems| panic!("{line}: {problems:?}"));
    call.words.into_iter().map(|word| word.into_string().unwrap()).collect()
}

/// The words are the given ones, in any order up to the `--`, and in this order from there.
#[track_caller]
fn comes_to(line: &str, expected: &[&str]) {
    let parted = |words: Vec<String>| {
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (mut options, rest) = (words[..end].to_vec(), words[end..].to_vec());
        options.sort();
        (options, rest)
    };
    let expected = expected.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(parted(words(line)), parted(expected), "{line}");
}

const MAIN: [&str; 3] = ["--repository=/srv/main", "--password-file=/conf/secret", "--timeout=30"];

#[track_caller]
fn comes_to_with_main(line: &str, expected: &[&str]) {
    comes_to(line, &[&MAIN[..], expected].concat());
}

#[test]
fn a_backup_gets_all_that_is_said_of_backups() {
    comes_to_with_main(
        "icecore backup @nightly",
        &[
            "icecore",
            "backup",
            "--exclude=*.tmp",
            "--exclude=/cache",
            "--exclude-caches",
            "--jobs=2",
            "--dry-run",
            "--name=nightly",
            "--",
            "/conf/docs",
            "/home/me/mail",
            "/etc",
        ],
    );
    assert_eq!(words("icecore backup @nightly")[..2], ["icecore", "backup"]);
}

#[test]
fn other_commands_get_what_is_for_them_and_nothing_else() {
    let host = format!("--host={}", crate::cli::host_name());
    comes_to_with_main(
        "icecore forget @nightly",
        &["icecore", "forget", "--keep-daily=7", "--keep-last=3", "--dry-run", "--name=nightly", &host],
    );
    comes_to_with_main("icecore list @nightly", &["icecore", "list", "--name=nightly"]);
    comes_to_with_main("icecore check @nightly", &["icecore", "check"]);
    comes_to_with_main("icecore key list @nightly", &["icecore", "key", "list"]);
    comes_to_with_main("icecore key @nightly list", &["icecore", "key", "list"]);
    comes_to_with_main("icecore init @nightly", &["icecore", "init"]);
    comes_to(
        "icecore benchmark @nightly",
        &["icecore", "benchmark", "--repository=/srv/main", "--timeout=30"],
    );
    comes_to_with_main(
        "icecore restore @nightly --target /t",
        &[
            "icecore",
            "restore",
            "--name=nightly",
            "--dry-run",
            "--exclude=*.iso",
            "--overwrite=never",
            "--target",
            "/t",
        ],
    );
}

#[test]
fn an_address_and_a_command_hold_whatever_they_hold() {
    comes_to(
        "icecore list @far",
        &[
            "icecore",
            "list",
            "--repository=sftp://me@host/x?key%20file=a%26b",
            "--password-command=pass show 'it'\"'\"'s'",
            "--timeout=5",
            "--name=another name",
        ],
    );
}

#[test]
fn what_is_typed_beats_the_file() {
    let nightly = |more: &[&str], last: &[&str]| {
        let given =
            ["icecore", "backup", "--exclude=*.tmp", "--exclude=/cache", "--exclude-caches", "--dry-run"];
        [&MAIN[..], &given, more, last].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let paths = ["--", "/conf/docs", "/home/me/mail", "/etc"];
    for (line, more, last) in [
        ("icecore backup @nightly --jobs 9", &["--jobs", "9", "--name=nightly"][..], &paths[..]),
        ("icecore --json backup @nightly --jobs=9", &["--json", "--jobs=9", "--name=nightly"], &paths),
        ("icecore backup --name n @nightly", &["--jobs=2", "--name", "n"], &paths),
        ("icecore backup @nightly --exclude x", &["--jobs=2", "--exclude", "x", "--name=nightly"], &paths),
        ("icecore backup @nightly /x", &["--jobs=2", "/x", "--name=nightly"], &[]),
        ("icecore backup @nightly -- @x", &["--jobs=2", "--name=nightly"], &["--", "@x"]),
        ("icecore backup @nightly --", &["--jobs=2", "--name=nightly"], &paths),
        ("icecore backup @nightly --stdin", &["--jobs=2", "--stdin", "--name=nightly"], &[]),
        ("icecore backup -q @nightly --json", &["--jobs=2", "-q", "--json", "--name=nightly"], &paths),
    ] {
        let expected = nightly(more, last);
        comes_to(line, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_name_of_a_stream_is_left_out_where_there_is_none() {
    let file = "[profiles.a]\nstdin-name = 'x'\npaths = ['/p']\n[profiles.b]\nstdin-name = 'x'\nstdin-from-command = ['c']\n";
    for (line, is_there) in [
        ("icecore backup @a", false),
        ("icecore backup @a /p", false),
        ("icecore backup @a --stdin", true),
        ("icecore backup @b", true),
        ("icecore backup @b /p", false),
        // It was meant, and does not go together: the command says so.
        ("icecore backup @a /p --stdin-name=y", true),
    ] {
        let call = expanded(file, line).unwrap();
        let named = call.words.iter().any(|word| word.to_str().unwrap().starts_with("--stdin-name"));
        assert_eq!(named, is_there, "{line}");
    }
}

#[test]
fn what_a_typed_option_excludes_is_left_out() {
    let found = words("icecore list @nightly --password-command cat");
    assert!(!found.iter().any(|word| word.starts_with("--password-file")), "{found:?}");
    let found = words("icecore forget @nightly 3fa9");
    assert!(!found.iter().any(|word| word.starts_with("--keep")), "{found:?}");
}

#[test]
fn another_repository_gets_nothing_of_the_one_in_the_file() {
    for line in ["icecore list @nightly -r /other", "icecore list @nightly --repository=/other"] {
        let call = expanded(FILE, line).unwrap();
        let words: Vec<&str> = call.words.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(!words.iter().any(|word| word.contains("/srv") || word.contains("secret")), "{words:?}");
        assert!(call.profile.unwrap().environment.is_empty());
    }
    let environment = expanded(FILE, "icecore list @nightly").unwrap().profile.unwrap().environment;
    assert_eq!(environment["AWS_PROFILE"], "who");
}

#[test]
fn a_repository_in_several_places_is_given_several_times() {
    let file = "[repositories.two]\nurl = 's3://b/x'\nmirrors = ['~/copy', 'sftp://me@${HOST:-host}/y', 'disk']\n\
                options = { region = 'r' }\nmin-copies = 1\n[profiles.a]\nrepository = 'two'\n";
    let call = expanded(file, "icecore list @a").unwrap();
    let words: Vec<&str> = call.words.iter().filter_map(|word| word.to_str()).collect();
    let places: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("--repository=")).collect();
    assert_eq!(places, ["s3://b/x?region=r", "/home/me/copy", "sftp://me@host/y", "/conf/disk"]);
    assert!(words.contains(&"--min-copies=1"), "{words:?}");
    let call = expanded(file, "icecore list @a -r /other").unwrap();
    assert!(!call.words.iter().any(|word| word.to_str().unwrap().contains("s3:")), "{:?}", call.words);
    let file = file.replace("'~/copy'", "'~you/copy'");
    let problems = expanded(&file, "icecore list @a").err().unwrap();
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(3)], "{problems:?}");
}

#[test]
fn a_command_to_read_from_stands_in_the_place_of_paths_and_words_never_become_one() {
    let found = words("icecore backup @database");
    assert_eq!(found[found.len() - 4..], ["--", "pg_dumpall", "-U", "a b"]);
    assert!(found.contains(&"--stdin-from-command".to_owned()));
    // The profile's own password beats that of its repository.
    assert!(found.contains(&"--password-env=PG".to_owned()), "{found:?}");
    assert!(!found.iter().any(|word| word.starts_with("--password-file")), "{found:?}");
    let found = words("icecore backup @database /etc");
    assert!(!found.iter().any(|word| word.contains("pg_dumpall") || word.contains("stdin")), "{found:?}");
}

#[test]
fn a_profile_that_says_nothing_is_a_name() {
    assert_eq!(words("icecore backup @empty"), ["icecore", "backup", "--name=empty"]);
}

#[test]
fn what_is_wrong_with_a_value_is_told_with_its_line() {
    for (profile, line, message) in [
        ("[profiles.a]\njobs = 'many'\n", 2, "many"),
        ("[profiles.a]\n\nexclude = ['x', '${NOWHERE}']\n", 3, "exclude: the variable NOWHERE"),
        ("[profiles.a]\npaths = ['$x']\n", 2, "paths: a dollar is written $$"),
        ("[profiles.a]\npaths = ['~me/x']\n", 2, "only ~/"),
        ("[profiles.a]\npaths = ['']\n", 2, "a path is empty"),
        ("[profiles.a]\nrepository = 'r'\n[repositories.r]\nurl = '/x'\n", 4, "url has to be an address"),
        (
            "[profiles.a]\nrepository = 'r'\n[repositories.r]\nurl = 'rclone:x:'\noptions = { a = 1 }\n",
            4,
            "rclone",
        ),
        (
            "[profiles.a]\nrepository = 'r'\n[repositories.r]\npath = '/x'\nenvironment = { A = '${NO}' }\n",
            5,
            "A: the variable NO",
        ),
        ("[profiles.a]\npaths = ['/x']\nstdin-from-command = ['x']\n", 3, "exclude each other"),
    ] {
        let problems = expanded(profile, "icecore backup @a").err().unwrap_or_else(|| panic!("{profile}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].line, Some(line), "{problems:?}");
        assert!(problems[0].message.contains(message), "{problems:?}");
    }
}

#[test]
fn all_that_is_wrong_with_a_profile_is_found_whichever_command_it_is_for() {
    let text = "[profiles.a]\njobs = 'x'\nexclude = '${NO}'\nretention = { keep-last = -1 }\n\
                restore = { overwrite = 'sometimes' }\nmax-level = 3\nforce = true\nparent = 'p'\n";
    let options = Options::new();
    let file = File { path: "/conf/icecore.toml".into(), text: text.to_owned(), is_private: true };
    let document = read(&file, &options);
    let expander = Expander { file: &file, document: &document, options: &options, variable: &variable };
    let mut lines: Vec<usize> = expander.problems("a").iter().filter_map(|problem| problem.line).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, [2, 3, 4, 5]);
    // With the values right, what is between them is wrong.
    for (text, message) in [
        ("[profiles.a]\nforce = true\nparent = 'p'\n", "cannot be used with"),
        ("[profiles.a]\nmax-level = 3\n", "--incremental"),
        ("[profiles.a]\nretention = { older-than = 3, before-date = 2026-01-01 }\n", "cannot be used with"),
    ] {
        let file = File { path: "/conf/icecore.toml".into(), text: text.to_owned(), is_private: true };
        let document = read(&file, &options);
        let expander = Expander { file: &file, document: &document, options: &options, variable: &variable };
        let problems = expander.problems("a");
        assert!(problems.iter().any(|problem| problem.message.contains(message)), "{text}: {problems:?}");
    }
}

#[test]
fn nothing_is_wrong_with_a_good_file() {
    let options = Options::new();
    let file = File { path: "/conf/icecore.toml".into(), text: FILE.to_owned(), is_private: true };
    let document = read(&file, &options);
    let expander = Expander { file: &file, document: &document, options: &options, variable: &variable };
    for name in document.profiles.keys() {
        assert_eq!(expander.problems(name), [], "{name}");
    }
}
