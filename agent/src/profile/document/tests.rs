//! What is read from files, and what is refused in them.

use super::*;
use crate::profile::expand::Expander;
use proptest::prelude::*;

/// Lines of which most files are nonsense.
const LINES: [&str; 24] = [
    "[profiles.a]",
    "[profiles.b]",
    "[profiles.a.restore]",
    "[profiles.a.nonsense]",
    "[repositories.r]",
    "[groups]",
    "[profiles]",
    "a = ['b', 'a']",
    "inherits = ['a', 'b']",
    "replace = ['exclude', 'restore']",
    "repository = 'r'",
    "url = 'sftp://${A}@h/x'",
    "path = '~/x'",
    "options = { 'ä' = '&', b = 1.5 }",
    "environment = { A = true, B_KEY = 'x' }",
    "password-command = ['a', '']",
    "exclude = ['$$', '${A:-}', 3]",
    "stdin-from-command = ['x']",
    "paths = ['.', '-', '~']",
    "jobs = 0xffffffffffffffffffff",
    "restart-after = -inf",
    "overwrite = false",
    "retention = { keep-within = '1y', before-date = 07:32:00 }",
    "'' = ''",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_file_brings_it_down(lines in prop::collection::vec(prop::sample::select(&LINES[..]), 0..12)) {
        let options = Options::new();
        let file = file(&lines.join("\n"), false);
        let document = read(&file, &options);
        let expander = Expander { file: &file, document: &document, options: &options, variable: &|_| None };
        for name in document.profiles.keys() {
            expander.problems(name);
        }
    }
}

fn file(text: &str, is_private: bool) -> File {
    File { path: "/c/icecore.toml".into(), text: text.to_owned(), is_private }
}

/// What is wrong with a file that nobody else can read: line, message, hint.
fn wrong(text: &str) -> Vec<(Option<usize>, String, Option<String>)> {
    let document = read(&file(text, true), &Options::new());
    document.problems.into_iter().map(|problem| (problem.line, problem.message, problem.hint)).collect()
}

#[track_caller]
fn is_wrong(text: &str, line: usize, message: &str, hint: Option<&str>) {
    let found = wrong(text);
    let [(found_line, found_message, found_hint)] = found.as_slice() else { panic!("{text}: {found:?}") };
    assert_eq!(*found_line, Some(line), "{text}: {found:?}");
    assert!(found_message.contains(message), "{text}: {found_message}");
    match hint {
        Some(hint) => {
            assert!(found_hint.as_ref().is_some_and(|found| found.contains(hint)), "{text}: {found_hint:?}")
        }
        None => assert_eq!(*found_hint, None, "{text}"),
    }
}

#[test]
fn everything_is_read_with_its_line() {
    let text = r#"
[repositories.main]
url = "sftp://host/backups"
password-command = ["pass", "show", "a b"]
timeout = 30
options = { b = "x y", a = 0x10 }
environment = { AWS_PROFILE = "x" }

[profiles.nightly]
repository = "main"
paths = [
    "/etc",
    "/home",
]
exclude = "*.tmp"
one-file-system = true
restart-after = 1.5
retention = { keep-last = 3, before-date = 2026-11-24 }
[profiles.nightly.restore]
overwrite = "if-changed"
[groups]
all = ["nightly"]
"#;
    let document = read(&file(text, true), &Options::new());
    assert_eq!(document.problems, []);
    let main = &document.repositories["main"];
    assert!(
        matches!(&main.place, Some(Place::Url(text)) if text.text == "sftp://host/backups" && text.line == 3)
    );
    let written: Vec<(&str, &str)> =
        main.options.iter().map(|(key, text)| (key.as_str(), text.text.as_str())).collect();
    assert_eq!(written, [("a", "16"), ("b", "x y")]);
    assert_eq!(main.environment[0].1.text, "x");
    let nightly = &document.profiles["nightly"];
    assert_eq!(nightly.repository.as_ref().unwrap().text, "main");
    let many = |texts: &[&str]| Value::Many(texts.iter().map(|text| (*text).to_owned()).collect());
    let one = |text: &str| Value::One(text.to_owned());
    let expected = [
        ("overwrite", Table::Command("restore".to_owned()), one("if-changed"), 20),
        ("exclude", Table::Top, many(&["*.tmp"]), 15),
        ("one-file-system", Table::Top, Value::Truth(true), 16),
        ("paths", Table::Top, many(&["/etc", "/home"]), 11),
        ("restart-after", Table::Top, one("1.5"), 17),
        ("keep-last", Table::Retention, one("3"), 18),
        ("before-date", Table::Retention, one("2026-11-24"), 18),
    ];
    assert_eq!(nightly.settings.len(), expected.len());
    for (key, table, value, line) in expected {
        let setting = Setting { table, key: key.to_owned(), value, line };
        assert!(nightly.settings.contains(&setting), "{setting:?} in {:?}", nightly.settings);
    }
    assert_eq!(document.groups["all"][0].text, "nightly");
}

#[test]
fn unknown_keys_suggest_the_right_one_or_the_right_place() {
    for (text, line, message, hint) in [
        ("[profile.a]\n", 1, "no section called profile", Some("profiles")),
        ("\nexclude = 'x'\n", 2, "no section called exclude", Some("[profiles.NAME]")),
        ("nonsense = 1\n", 1, "no section called nonsense", None),
        (
            "[profiles.a]\nexlude = ['x']\n",
            2,
            "no command has an option called exlude",
            Some("mean exclude?"),
        ),
        ("[profiles.a]\ntags = ['x']\n", 2, "called tags", Some("mean tag?")),
        ("[profiles.a]\nkeep_daily = 1\n", 2, "called keep_daily", Some("mean keep-daily?")),
        ("[profiles.a]\nrepositroy = 'x'\n", 2, "called repositroy", Some("mean repository?")),
        ("[profiles.a]\njson = true\n", 2, "called json", Some("--json on the command line")),
        ("[profiles.a]\nurl = 's3://b'\n", 2, "called url", Some("[repositories.NAME]")),
        ("[profiles.a]\nsomething-else-altogether = 1\n", 2, "called something-else-altogether", None),
        ("[profiles.a.bakcup]\njobs = 1\n", 1, "no command called bakcup", Some("mean backup?")),
        (
            "[profiles.a.retnetion]\nkeep-last = 1\n",
            1,
            "no command called retnetion",
            Some("mean retention?"),
        ),
        (
            "[profiles.a.restore]\noverwite = true\n",
            2,
            "restore has no option called overwite",
            Some("mean overwrite?"),
        ),
        (
            "[profiles.a]\nretention.keep-dayly = 1\n",
            2,
            "retention has no key called keep-dayly",
            Some("keep-daily"),
        ),
        (
            "[profiles.a]\noverwrite = true\n",
            2,
            "means something else to each of restore, dump",
            Some("profiles.a.restore"),
        ),
        ("[repositories.a]\npath = '/r'\ntimout = 1\n", 3, "no key called timout", Some("mean timeout?")),
        (
            "[repositories.a]\npath = '/r'\nexclude = 'x'\n",
            3,
            "no key called exclude",
            Some("[profiles.NAME]"),
        ),
    ] {
        is_wrong(text, line, message, hint);
    }
}

#[test]
fn values_have_to_have_the_shape_of_their_option() {
    for (key, message, hint) in [
        ("exclude-caches = 'true'", "exclude-caches is true or false", Some("exclude-caches = true")),
        ("exclude-caches = 1", "exclude-caches is true or false", None),
        ("jobs = [1]", "jobs takes one value", None),
        ("jobs = true", "jobs takes one value", None),
        ("exclude = true", "exclude takes a value, or a list", None),
        ("exclude = [true]", "exclude takes texts", None),
        ("exclude = [['a']]", "exclude takes texts", None),
        ("exclude = { a = 1 }", "exclude takes a value", None),
        ("stdin-from-command = true", "list of words", None),
        ("stdin-from-command = 'pg_dumpall'", "list of words", None),
        ("password-command = []", "password-command takes one value", None),
        ("backup = 1", "no command has an option called backup", None),
        ("repository = 1", "repository has to be a text", None),
    ] {
        is_wrong(&format!("[profiles.a]\n{key}\n"), 2, message, hint);
    }
    is_wrong("[profiles]\na = 1\n", 2, "a has to be a table: [profiles.a]", None);
    is_wrong("groups = 1\n", 1, "groups has to be a table: [groups]", None);
    assert_eq!(wrong("[profiles.a.restore]\noverwrite = true\n"), []);
    assert_eq!(wrong("[profiles.a]\nstdin-from-command = ['pg_dumpall', '-U', 'x']\n"), []);
}

#[test]
fn a_repository_is_in_one_place() {
    is_wrong("[repositories.a]\ntimeout = 3\n", 1, "nothing says where", Some("url"));
    is_wrong("[repositories.a]\npath = '/r'\nurl = 's3://b'\n", 3, "one url or one path", None);
    is_wrong("[repositories.a]\nmirrors = ['/x']\n", 1, "nothing says where", Some("url"));
    is_wrong("[repositories.a]\npath = '/r'\nmirrors = [['/x']]\n", 3, "no tables, lists", None);
    is_wrong("[repositories.a]\npath = '/r'\noptions = { a = 1 }\n", 3, "a folder has no options", None);
    is_wrong("[repositories.'a b']\npath = '/r'\n", 1, "not a usable name", Some("letters"));
}

#[test]
fn no_password_stands_in_the_file() {
    is_wrong(
        "[repositories.a]\npath = '/r'\npassword = 'x'\n",
        3,
        "does not stand in this file",
        Some("password-file"),
    );
    is_wrong("[profiles.a]\npassword = 'x'\n", 2, "does not stand in this file", Some("password-file"));
}

#[test]
fn other_secrets_are_refused_in_a_file_that_others_can_read() {
    let options = Options::new();
    for (line, is_secret) in [
        ("url = 'ftp://me:secret@host/x'", true),
        ("url = 'ftp://me:${PASSWORD}@host/x'", false),
        ("url = 'ftp://me@host/x:y@z'", false),
        ("url = 'ftp://me:@host/x'", false),
        ("url = 's3://b'\nenvironment = { AWS_SECRET_ACCESS_KEY = 'x' }", true),
        ("url = 's3://b'\nenvironment = { OS_PASSWORD = 'x' }", true),
        ("url = 's3://b'\nenvironment = { OS_PASSWORD = '${X}' }", false),
        ("url = 's3://b'\nenvironment = { AWS_PROFILE = 'x' }", false),
    ] {
        let text = format!("[repositories.a]\n{line}\n");
        let is_refused = |is_private| {
            let problems = read(&file(&text, is_private), &options).problems;
            assert!(problems.iter().all(|problem| !problem.told("".as_ref()).contains("secret@")));
            !problems.is_empty()
        };
        assert_eq!((is_refused(false), is_refused(true)), (is_secret, false), "{line}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line_and_nothing_else_is() {
    for (text, line) in [("[profiles.a\n", 1), ("\n\na = = 1\n", 3), ("a = 'x\n", 1), ("x = 1\nx = 2\n", 2)] {
        let found = wrong(text);
        assert!(found.iter().all(|(_, message, _)| message.starts_with("not TOML: ")), "{text}: {found:?}");
        assert_eq!(found.first().and_then(|(line, ..)| *line), Some(line), "{text}: {found:?}");
    }
    assert_eq!(wrong(""), []);
    assert_eq!(wrong("# nothing\r\n"), []);
}

#[test]
fn all_is_told_in_the_order_of_the_lines() {
    let found = wrong("[profiles.z]\nexlude = 1\n[profiles.a]\njbos = 1\nnonsense = 2\n[nowhere]\n");
    assert_eq!(found.iter().map(|(line, ..)| line.unwrap()).collect::<Vec<_>>(), [2, 4, 5, 6]);
}
