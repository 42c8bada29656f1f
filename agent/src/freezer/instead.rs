//! What Freezer has and this version has not, and what does the same: an error names it, and so does a table of the guide
//! (`docs/guide/from-freezer.md`), which a test compares with this one row by row.

use super::options::Opt;
use icecore::error::{Error, Kind};

/// Something that is missing.
struct Missing {
    /// The word of `--mode` for it.
    mode: Option<&'static str>,
    /// The word of `--engine` for it.
    engine: Option<&'static str>,
    /// Its options: one name, or what the names of several begin with, up to a dash.
    options: &'static [&'static str],
    /// What to do.
    instead: &'static str,
}

const ATTACH: &str = "attach the volume, or one that is made of a snapshot of it, to a machine, and back up what is mounted from it there; or the device as it is: \
                      icecore backup --stdin-from-command -- cat /dev/DEVICE";

const MISSING: &[Missing] = &[
    Missing {
        mode: Some("mongo"),
        engine: None,
        options: &[],
        instead: "back up what mongodump prints: icecore backup --stdin-from-command -- mongodump --archive",
    },
    Missing {
        mode: Some("sqlserver"),
        engine: None,
        options: &[],
        instead: "let SQL Server write a backup of its own (BACKUP DATABASE … TO DISK), and back up that file",
    },
    Missing {
        mode: Some("nova"),
        engine: Some("nova"),
        options: &["nova-"],
        instead: "run the agent in the instance, as on any machine; or make an image of it (openstack server image create), and back up what the \
                  image service prints: icecore backup --stdin-from-command -- openstack image save IMAGE",
    },
    Missing {
        mode: Some("glance"),
        engine: Some("glance"),
        options: &["glance-"],
        instead: "back up what the image service prints: icecore backup --stdin-from-command -- openstack image save IMAGE",
    },
    Missing { mode: Some("cinder"), engine: None, options: &["cinder-"], instead: ATTACH },
    Missing { mode: None, engine: Some("osbrick"), options: &["cinderbrick-"], instead: ATTACH },
    Missing {
        mode: Some("cindernative"),
        engine: None,
        options: &["cindernative-"],
        instead: "Cinder makes and restores such backups itself: openstack volume backup create, openstack volume backup restore",
    },
    Missing {
        mode: None,
        engine: None,
        options: &["os-trust-id"],
        instead: "log in by an application credential: docs/guide/swift.md",
    },
];

/// What the error says that is for no option.
const WHAT: &str = "not in this version:";

fn error(shown: String, found: Option<&Missing>) -> Error {
    let error = Error::new(Kind::Unsupported, WHAT).on(shown);
    match found {
        Some(missing) => error.hint(missing.instead),
        None => error,
    }
}

/// The error for a mode that is not there; `modes` are.
pub fn mode(name: &str, modes: &[&str]) -> Error {
    let found = MISSING.iter().find(|missing| missing.mode == Some(name));
    let error = error(format!("--mode {name}"), found);
    if found.is_some() { error } else { error.hint(format!("modes are: {}", modes.join(", "))) }
}

/// The error for an engine that is not there.
pub fn engine(name: &str) -> Error {
    error(format!("--engine {name}"), MISSING.iter().find(|missing| missing.engine == Some(name)))
}

/// The error for an option that is not there, said at the place `from`.
pub fn option(option: &Opt, from: &str) -> Error {
    error(format!("--{} ({from})", option.name), of_option(option.name))
}

fn of_option(name: &str) -> Option<&'static Missing> {
    let is_of = |known: &&str| if known.ends_with('-') { name.starts_with(*known) } else { name == *known };
    MISSING.iter().find(|missing| missing.options.iter().any(is_of))
}

#[cfg(test)]
mod tests {
    use super::super::options::{Effect, Kind as Takes, OPTIONS, by_name};
    use super::*;
    use crate::mode::MODES;

    fn row(missing: &Missing) -> String {
        let mode = missing.mode.map(|mode| format!("`--mode {mode}`"));
        let engine = missing.engine.map(|engine| format!("`--engine {engine}`"));
        let options = missing.options.iter().map(|name| match name.ends_with('-') {
            true => format!("`--{name}…`"),
            false => format!("`--{name}`"),
        });
        let words: Vec<String> = mode.into_iter().chain(engine).chain(options).collect();
        format!("| {} | {} |", words.join(", "), missing.instead)
    }

    #[test]
    fn the_guide_says_the_same() {
        let page = include_str!("../../../docs/guide/from-freezer.md");
        let section = page.split("## Not in this version").nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let found: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = MISSING.iter().map(row).collect();
        assert!(found == expected, "the table is to be:\n{}", expected.join("\n"));
    }

    #[test]
    fn whatever_is_missing_has_something_instead() {
        for option in OPTIONS.iter().filter(|option| option.effect == Effect::NotYet) {
            let error = super::option(option, "on the command line");
            assert!(error.to_string().contains(option.name), "{error}");
            assert!(error.advice().is_some(), "{}", option.name);
        }
        let Takes::One(engines) = by_name("engine").unwrap().kind else { panic!("engines are words") };
        for name in engines.iter().filter(|name| !["tar", "rsync", "rsyncv2"].contains(name)) {
            let error = engine(name);
            assert!(error.to_string().contains(name) && error.advice().is_some(), "{name}");
        }
        // The modes of Freezer 19.0.0.
        for name in ["mongo", "sqlserver", "cinder", "cindernative", "nova", "glance"] {
            assert!(!MODES.iter().any(|mode| mode.name() == name), "{name} is here");
            assert!(mode(name, &[]).advice().is_some_and(|advice| advice.len() > 30), "{name}");
        }
        let error = mode("other", &["fs", "mysql"]);
        assert!(error.advice().is_some_and(|advice| advice.contains("fs, mysql")), "{error:?}");
    }

    #[test]
    fn an_option_is_of_the_thing_whose_name_it_has() {
        for (name, instead) in [
            ("cinder-vol-id", "attach"),
            ("cinderbrick-vol-id", "attach"),
            ("cindernative-vol-id", "openstack volume backup create"),
            ("nova-inst-name", "in the instance"),
            ("glance-image-name-filter", "image save"),
            ("os-trust-id", "application credential"),
        ] {
            assert!(of_option(name).is_some_and(|found| found.instead.contains(instead)), "{name}");
        }
        assert!(of_option("project-id").is_none());
    }
}
