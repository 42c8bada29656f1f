//! Every row of the tables in `docs/guide/from-freezer.md`: what it says becomes of an option is what becomes of it; and what works, in
//! whatever way, stands in a test of its own.

use super::Agent;
use crate::place::entries;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/guide/from-freezer.md");

/// Name and effect of every row of a table.
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

/// The text of every test, but for this one.
fn tests(folder: &Path) -> String {
    let mut text = String::new();
    for path in entries(folder) {
        if path.is_dir() {
            text.push_str(&tests(&path));
        } else if !path.ends_with("freezer/rows.rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn every_option_does_what_its_row_says() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let tests = tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let commands = PAGE.split("## Every option").next().unwrap();
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
            let is_said = |text: &str| {
                let words = text.split(|letter: char| !(letter.is_alphanumeric() || "-_".contains(letter)));
                let keys = [name.to_owned(), name.replace('-', "_")];
                let off = format!("--no{name}");
                words.clone().any(|word| word == option || word == off) || {
                    // A line of a job.
                    keys.iter()
                        .any(|key| text.contains(&format!("{key} = ")) || text.contains(&format!("{key}=")))
                }
            };
            assert!(
                is_said(&tests) || is_said(commands),
                "no test says {option}, of which the page says: {effect}"
            );
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

#[test]
fn every_action_is_run_by_a_test() {
    let tests = tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/freezer"));
    for (name, _) in rows("## Every action", "| `") {
        let local = format!("local(\"{name}\"");
        assert!(tests.contains(&local) || tests.contains(&format!("\"--action\", \"{name}\"")), "{name}");
    }
}

/// The tests that the page names of what is wrong in Freezer are there.
#[test]
fn every_test_that_the_page_names_is_there() {
    let section = PAGE.split("## What is wrong in Freezer").nth(1).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut count = 0;
    for line in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| in Freezer")) {
        let named = line.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test: {line}");
        for name in named {
            match name.split_once("::") {
                Some((file, test)) => {
                    let text = fs::read_to_string(root.join(format!("tests/src/freezer/{file}.rs")));
                    let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert!(text.contains(&format!("fn {test}()")), "{name} is not there");
                }
                None => assert!(root.join(name).exists(), "{name} is not there"),
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
