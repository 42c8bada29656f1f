//! The rules of the house that no compiler checks: which module may use which, and what core never does.
//!
//! The order is that of the data (DESIGN: "a module uses only what stands above it"); a new module of core has to be given
//! its place in [`ORDER`] before this passes.

use std::fs;
use std::path::{Path, PathBuf};

/// The base: these may use each other, and everything may use them.
const BASE: [&str; 5] = ["error", "limits", "time", "name", "monitor"];

/// Everything else, each using only what stands before it.
const ORDER: [&str; 13] = [
    "level",
    "retention",
    "pipe",
    "spool",
    "codec",
    "tree",
    "storage",
    "repository",
    "keyring",
    "engine",
    "select",
    "chain",
    "view",
];

/// The verbs stand last, beside each other; they (and `chain`, which reads for them) alone know both an engine and a repository.
const VERBS: [&str; 16] = [
    "backup",
    "restore",
    "list",
    "check",
    "forget",
    "heal",
    "info",
    "ls",
    "find",
    "diff",
    "dump",
    "stats",
    "benchmark",
    "copy",
    "probe",
    "checksum",
];

/// What core never does: it is silent, and is handed the environment, the clock and connections.
const NEVER_IN_CORE: [&str; 13] = [
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "std::env",
    "temp_dir()",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "clock_gettime",
    "std::net",
    "std::process",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below these folders of the workspace, with its path from there.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = folders.iter().map(|folder| workspace().join(folder)).collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() && !path.ends_with("target") {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The lines that are neither comment nor test. By the habit of the house, tests stand at the end of a file or beside it; what
/// else is for tests alone is passed over.
fn code<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    if name.ends_with("/tests.rs") || name.contains("/tests/") {
        return found;
    }
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            found.push(line);
            continue;
        }
        let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
        if item.trim_start().starts_with("mod ") && item.ends_with('{') {
            break;
        }
        // An item of several lines ends where its indentation comes back.
        let indent = item.len() - item.trim_start().len();
        let is_end =
            |line: &&str| line.len() - line.trim_start().len() == indent && line.ends_with(['}', ';']);
        if !item.ends_with(['}', ';']) {
            lines.by_ref().find(is_end);
        }
    }
    found
}

/// The modules that `code` names after `crate::`, the members of `crate::{…}` among them.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(members(group)),
            None => used.push(first_word(rest)),
        }
    }
    // Names that begin with a capital letter are what the root exports of the base.
    used.retain(|word| word.starts_with(|letter: char| letter.is_lowercase()));
    used
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The first words of the comma-separated members of a group that has just been opened.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(first_word(group[start..at].trim()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => (),
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

/// Why `user` must not use `used`; `None` when it may. Engines that make levels see streams and nothing else.
fn objection(user: &str, used: &str) -> Option<String> {
    if user == used || BASE.contains(&used) {
        return None;
    }
    let place = |module: &str| ORDER.iter().position(|known| *known == module);
    match (VERBS.contains(&user), place(user), place(used)) {
        (true, _, Some(_)) => None,
        (_, Some(user), Some(used)) if ORDER[user] == "engine" && ORDER[used] == "repository" => {
            Some("only a verb knows both an engine of levels and a repository".to_owned())
        }
        (_, Some(user), Some(used)) if used < user => None,
        _ => Some(format!("{used} does not stand above {user}")),
    }
}

#[test]
fn the_direction_between_modules_of_core_is_one_way() {
    let mut wrong = Vec::new();
    for (name, text) in sources(&["core/src"]) {
        let inside = name.strip_prefix("core/src/").unwrap();
        let module = inside.split(['/', '.']).next().unwrap().to_owned();
        if module == "lib" {
            continue;
        }
        // What keeps objects of its own in the vault has to know it.
        let keeps_objects = inside == "engine/mod.rs" || inside.starts_with("engine/dedup/");
        let known = BASE.contains(&&*module) || ORDER.contains(&&*module) || VERBS.contains(&&*module);
        assert!(known, "{name}: the module {module} has no place in the order");
        for used in used_modules(&code(&name, &text).join("\n")) {
            if keeps_objects && used == "repository" {
                continue;
            }
            wrong.extend(objection(&module, &used).map(|why| format!("{name} uses {used}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_direction_would_be_found() {
    let behind_tests = "#[cfg(test)]\nmod tests;\nuse crate::engine;\n#[cfg(test)]\n#[allow(dead_code)]\nfn only(\n) {\n    \
                        crate::list();\n}\nuse crate::tree;\n#[cfg(test)]\nmod tests {\n    use crate::copy;\n}\n";
    assert_eq!(used_modules(&code("core/src/x.rs", behind_tests).join("\n")), ["engine", "tree"]);
    let code = "use crate::{error::Error, tree::{walk, xattr}, engine};\nlet x = crate::limits::A;";
    assert_eq!(used_modules(code), ["error", "tree", "engine", "limits"]);
    for (user, used) in [("tree", "storage"), ("error", "tree"), ("engine", "repository"), ("list", "backup")]
    {
        assert!(objection(user, used).is_some(), "{user} uses {used}");
    }
    for (user, used) in
        [("storage", "tree"), ("time", "error"), ("backup", "engine"), ("backup", "repository")]
    {
        assert_eq!(objection(user, used), None);
    }
}

#[test]
fn core_is_silent_and_is_handed_the_world() {
    for (name, text) in sources(&["core/src"]) {
        for line in code(&name, &text) {
            let found = NEVER_IN_CORE.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{name}: {line}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (name, text) in sources(&["core", "agent", "remote", "testkit", "tests", "benches", "fuzz"]) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 10, "{name} opens with {first:?}");
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    for (name, text) in sources(&["core/src", "agent/src", "testkit/src", "remote/src"]) {
        for line in code(&name, &text) {
            let found = [".unwrap()", ".expect(\"\")", "let _ ="].iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{name}: {line}");
        }
    }
}

#[test]
fn no_module_is_a_drawer() {
    for (name, _) in sources(&["core", "agent", "remote", "testkit", "tests", "benches"]) {
        let drawer =
            |part: &str| ["util", "utils", "common", "helper", "helpers", "manager", "misc"].contains(&part);
        assert!(!name.trim_end_matches(".rs").split('/').any(drawer), "{name}");
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for (name, text) in sources(&["core/src", "agent/src", "testkit/src", "remote/src"]) {
        let lines = code(&name, &text).len();
        assert!(lines <= 500, "{name}: {lines} lines of code");
    }
}

#[test]
fn the_testkit_is_for_tests_only() {
    for package in ["core", "agent"] {
        let manifest = fs::read_to_string(workspace().join(package).join("Cargo.toml")).unwrap();
        let normal = manifest.split("[dev-dependencies]").next().unwrap();
        assert!(!normal.contains("testkit"), "{package}");
    }
}

/// Tests that are ignored are run by scripts/test-long or in a virtual machine, or write what others compare with.
#[test]
fn no_test_is_ignored_for_good() {
    let runner = fs::read_to_string(workspace().join(".config/nextest.toml")).unwrap();
    let long = runner.split_once("[profile.long]").unwrap().1;
    let mut chosen = 0;
    for (name, text) in sources(&["core", "agent", "remote", "testkit", "tests"]) {
        // In two pieces, so that this is not one itself.
        for part in text.split(concat!("#[", "ignore")).skip(1) {
            let (reason, rest) = part.split_once(']').unwrap();
            let test = rest.split_once("fn ").unwrap().1.split('(').next().unwrap();
            let is_chosen = long.contains(&format!("test({test})"));
            chosen += usize::from(is_chosen);
            let is_elsewhere = reason.contains("writes the vectors") || reason.contains("testkit/servers/vm");
            assert!(is_chosen != is_elsewhere, "{name}: who runs {test}?");
        }
    }
    assert_eq!(chosen, long.matches("test(").count(), "not all that scripts/test-long runs is there");
}
