//! The files that say what the options are: those of oslo's form, in the places where oslo.config looks for them, the
//! variables `OS_DEFAULT__NAME`, and the job file.
//!
//! Keys of oslo's files that are no options of the agent are other programs' and are passed over, as oslo does, and named in the log.
//! In a job each key means something, or is an error.

use super::options::{self, Kind, OPTIONS, Opt};
use super::values::{Source, Values, expanded};
use crate::ini::{self, Entry};
use crate::output;
use icecore::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What jobs say besides options: the variables of a login at OpenStack, in a file.
pub const OSRC: &str = "osrc";

/// The section whose keys every other one has.
const DEFAULT: &str = "DEFAULT";

/// The sections of a job that are storages begin so.
const STORAGE: &str = "storage:";

/// What a section of a storage may say.
const OF_A_STORAGE: [&str; 19] = [
    "storage",
    "container",
    "ssh-password",
    "ssh-username",
    "ssh-host",
    "ssh-port",
    "ssh-key",
    "ftp-password",
    "ftp-username",
    "ftp-host",
    "ftp-port",
    "ftp-keyfile",
    "ftp-certfile",
    "access-key",
    "secret-key",
    "endpoint",
    "max-segment-size",
    "project-id",
    "insecure",
];

/// What a job says besides options.
#[derive(Debug, Default)]
pub struct Job {
    /// The storages it names, each by itself.
    pub storages: Vec<(String, Section)>,
    /// The file of a login at OpenStack.
    pub osrc: Option<PathBuf>,
}

/// What a section says of its storage.
#[derive(Debug, Default)]
pub struct Section {
    /// The options.
    pub values: Values,
    /// The file of its login at OpenStack.
    pub osrc: Option<PathBuf>,
}

/// Reads the files of oslo's form: those that were named, or else those that are where such files are.
///
/// # Errors
/// For a file that was named and is not there, that cannot be read, or whose values are not of their kind.
pub fn configure(values: &mut Values) -> Result<()> {
    let places = usual_places();
    let named = values.files("config-file");
    let files = match named.is_empty() {
        true => {
            ["freezer.conf", "freezer-agent.conf"].iter().filter_map(|name| first(&places, name)).collect()
        }
        false => named,
    };
    let named = values.files("config-dir");
    let folders = match named.is_empty() {
        true => {
            let names = ["freezer.conf.d", "freezer-agent.conf.d"];
            names.iter().filter_map(|name| first(&places, name)).collect()
        }
        false => named,
    };
    for file in &files {
        read_file(values, file)?;
    }
    for folder in &folders {
        for file in files_in(folder)? {
            read_file(values, &file)?;
        }
    }
    Ok(())
}

fn usual_places() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let own = home.iter().flat_map(|home| [home.join(".freezer"), home.clone()]);
    own.chain(["/etc/freezer", "/etc"].map(PathBuf::from)).collect()
}

fn first(places: &[PathBuf], name: &str) -> Option<PathBuf> {
    places.iter().map(|place| place.join(name)).find(|path| path.exists())
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io("cannot list", folder.display().to_string(), e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(values: &mut Values, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    for entry in ini::parse(&ini::read(path)?, &shown)? {
        if entry.section != DEFAULT {
            continue;
        }
        match options::by_name(&entry.key).filter(|option| option.kind != Kind::Files) {
            Some(option) => {
                let text = ini::unquoted(&entry.value).to_owned();
                values.say(option, text, Source::File(path.to_owned(), entry.line))?;
            }
            None => output::log(&format!(
                "passed over {} in {shown}, line {}: no option of the agent",
                entry.key, entry.line
            )),
        }
    }
    Ok(())
}

/// Reads the variables `OS_DEFAULT__NAME`.
///
/// # Errors
/// For values that are not of their kind.
pub fn environment(values: &mut Values) -> Result<()> {
    for option in OPTIONS.iter().filter(|option| option.kind != Kind::Files) {
        for name in std::iter::once(&option.name).chain(option.aliases) {
            let variable = format!("OS_DEFAULT__{}", name.replace('-', "_").to_uppercase());
            if let Ok(text) = std::env::var(&variable) {
                values.say(option, text, Source::Variable(variable))?;
            }
        }
    }
    Ok(())
}

/// Reads a job file.
///
/// # Errors
/// When it is not there, cannot be read, has a key that means nothing, or a value that is not of its kind.
pub fn job(values: &mut Values, path: &Path) -> Result<Job> {
    let shown = path.display().to_string();
    let entries = ini::parse(&ini::read(path)?, &shown)?;
    let mut sections: Vec<&str> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.section != DEFAULT) {
        if !sections.contains(&entry.section.as_str()) {
            sections.push(&entry.section);
        }
    }
    let mut job = Job::default();
    for name in sections {
        let pairs = pairs(&entries, name);
        let mut section = Section::default();
        let storage = name.strip_prefix(STORAGE);
        for (key, entry) in &pairs {
            let is_inherited = entry.section == DEFAULT;
            let at = || format!("{key} in {shown}, line {}", entry.line);
            let lookup = |key: &str| pairs.get(key).map(|entry| entry.value.clone());
            let value = ini::interpolated(&entry.value, &lookup)
                .map_err(|error| error.while_doing("cannot read", at()))?;
            if key == OSRC {
                let osrc = Some(expanded(&value)).filter(|_| !value.is_empty() && !is_false(&value));
                match storage {
                    Some(_) => section.osrc = osrc,
                    None => job.osrc = osrc,
                }
                continue;
            }
            let option =
                options::by_name(key).filter(|option| option.kind != Kind::Files && option.name != "config");
            let Some(option) = option else {
                // What other values are made of need be no option itself.
                if is_inherited && is_referred_to(&entries, key) {
                    continue;
                }
                return Err(unknown(key, &at()));
            };
            let value = as_python(option, value);
            let from = Source::Job(path.to_owned(), entry.line);
            match storage {
                None => values.say(option, value, from)?,
                Some(_) if OF_A_STORAGE.contains(&option.name) => section.values.say(option, value, from)?,
                Some(_) if is_inherited => {}
                Some(_) => return Err(Error::invalid("says nothing of a storage:", at())),
            }
        }
        if let Some(name) = storage {
            job.storages.push((name.to_owned(), section));
        }
    }
    Ok(job)
}

fn unknown(key: &str, at: &str) -> Error {
    let error = Error::invalid("means nothing to the agent:", at);
    match super::line::unknown(&key.replace('_', "-")).advice() {
        Some(advice) => error.hint(advice.to_owned()),
        None => error,
    }
}

/// The keys of a section, lower-cased, with those of [`DEFAULT`].
fn pairs<'a>(entries: &'a [Entry], section: &str) -> BTreeMap<String, &'a Entry> {
    let inherited = entries.iter().filter(|entry| entry.section == DEFAULT);
    let own = entries.iter().filter(|entry| entry.section == section);
    inherited.chain(own).map(|entry| (entry.key.to_lowercase(), entry)).collect()
}

fn is_referred_to(entries: &[Entry], key: &str) -> bool {
    let reference = format!("%({key})s");
    entries.iter().any(|entry| entry.value.to_lowercase().contains(&reference))
}

fn is_false(value: &str) -> bool {
    matches!(value, "False" | "false" | "None")
}

/// Python's words for off, which stand for nothing where something else is meant.
fn as_python(option: &Opt, value: String) -> String {
    match (is_false(&value), option.kind == Kind::Switch) {
        (true, true) => "false".to_owned(),
        (true, false) => String::new(),
        _ => value,
    }
}

/// The variables that a file of `export NAME=VALUE` sets. Nothing is run.
///
/// # Errors
/// When it cannot be read.
pub fn exports(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for line in ini::read(path)?.lines() {
        let Some(rest) = line.trim_start().strip_prefix("export ") else { continue };
        let Some((name, value)) = rest.split_once('=') else { continue };
        let value = value.trim();
        let value = match ini::unquoted(value) {
            inner if inner.len() < value.len() => inner,
            plain => plain.split(" #").next().unwrap_or_default().trim_end(),
        };
        variables.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::super::options::Effect;
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn job_of(text: &str) -> Result<(Values, Job)> {
        let mut values = Values::default();
        let job = job(&mut values, file(text).path())?;
        Ok((values, job))
    }

    #[test]
    fn sections_are_merged_and_storages_stand_alone() {
        let (values, job) = job_of(
            "[DEFAULT]\nroot = /srv\n[default]\nAction = admin\ncontainer=%(root)s/x\n[job]\nmode = a\ncontainer = c\n\
             [storage:one]\nstorage = local\ncontainer = %(root)s/a\n[storage:two]\nstorage=ssh\nssh-host=h\nssh_password=p%%q\nosrc=/o\n",
        )
        .unwrap();
        assert_eq!(values.text("action").as_deref(), Some("admin"));
        assert_eq!(
            (values.text("mode").as_deref(), values.text("container").as_deref()),
            (Some("a"), Some("c"))
        );
        let [(one, first), (two, second)] = job.storages.as_slice() else {
            panic!("{:?}", job.storages.len())
        };
        assert_eq!((one.as_str(), two.as_str()), ("one", "two"));
        assert_eq!(first.values.text("container").as_deref(), Some("/srv/a"));
        assert_eq!(second.values.text("ssh-password").as_deref(), Some("p%q"));
        assert_eq!((second.osrc.as_deref(), job.osrc), (Some(Path::new("/o")), None));
    }

    /// A value that an option takes and that is not its default.
    fn another(option: &Opt) -> String {
        match option.kind {
            Kind::Switch => (option.default != "true").to_string(),
            Kind::Whole | Kind::Number | Kind::Rate => "7".to_owned(),
            Kind::One(words) => {
                words.iter().rfind(|word| **word != option.default).unwrap_or(&option.default).to_string()
            }
            Kind::Text | Kind::Files => "some text".to_owned(),
        }
    }

    #[test]
    fn every_option_is_taken_from_every_source() {
        for option in OPTIONS.iter().filter(|option| option.kind != Kind::Files && option.name != "config") {
            let (name, value) = (option.name, another(option));
            let under = name.replace('-', "_");
            let mut line = format!("--{name}={value}");
            if option.kind == Kind::Switch {
                line = format!("--{}{name}", if value == "true" { "" } else { "no" });
            }
            let typed = crate::freezer::line::parse(&[line.into()]).unwrap().options;
            assert_eq!((typed[0].name, typed[0].value.as_str()), (name, value.as_str()));
            let (in_job, _) = job_of(&format!("[job]\n{under} = {value}\n")).unwrap();
            let mut in_file = Values::default();
            read_file(&mut in_file, file(&format!("[DEFAULT]\n{under}={value}\n")).path()).unwrap();
            for values in [&in_job, &in_file] {
                assert_eq!(values.text(name).as_deref(), Some(value.as_str()), "{name}");
                assert_eq!(values.is_given(name), value != option.default, "{name}");
                let (named, refused) = (values.without_effect(), values.refuse_missing());
                match option.effect {
                    Effect::Nothing(_) => assert!(named.concat().contains(name) && refused.is_ok()),
                    Effect::NotYet => {
                        assert!(named.is_empty() && refused.unwrap_err().to_string().contains(name))
                    }
                    _ => assert!(named.is_empty() && refused.is_ok(), "{name}"),
                }
            }
        }
    }

    #[test]
    fn pythons_words_for_nothing_are_nothing() {
        let (values, _) = job_of(
            "[a]\nmax_level = False\nexclude = None\nsync = False\nincremental = True\nmax_priority = True\n",
        )
        .unwrap();
        assert_eq!((values.whole("max-level"), values.text("exclude")), (None, None));
        assert!(!values.is_on("sync") && values.is_on("incremental"));
        assert_eq!(values.text("max-priority").as_deref(), Some("True"));
    }

    #[test]
    fn a_key_that_means_nothing_is_named_with_its_line() {
        for (text, key, line) in [
            ("[a]\naction = info\nincremantal = True\n", "incremantal", "line 3"),
            ("[DEFAULT]\nroot = /srv\n[a]\naction = info\n", "root", "line 2"),
            ("[storage:one]\naction = info\n", "action", "line 2"),
            ("[a]\nconfig = /x\n", "config", "line 2"),
            ("[a]\naction = %(nowhere)s\n", "action", "line 2"),
            ("[a]\naction = destroy\n", "action", "line 2"),
        ] {
            let error = job_of(text).map(drop).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(line), "{text}: {error}");
        }
        assert!(job(&mut Values::default(), Path::new("/nowhere/job")).is_err());
    }

    #[test]
    fn oslo_files_say_what_their_default_section_says() {
        let file = file(
            "[DEFAULT]\ncontainer = \"/srv/x\"\ntransport_url = rabbit://\nlog_file=/l\n[keystone]\naction = info\n",
        );
        let mut values = Values::default();
        read_file(&mut values, file.path()).unwrap();
        assert_eq!(values.text("container").as_deref(), Some("/srv/x"));
        assert_eq!(
            (values.text("action").as_deref(), values.text("log-file").as_deref()),
            (Some("backup"), Some("/l"))
        );
    }

    #[test]
    fn exports_are_read_and_not_run() {
        let file = file(
            "# c\nexport A=1\n  export B=\"two # words\"\nexport C='$(x)' \nexport D=a # comment\nE=5\nexport F\n",
        );
        let found = exports(file.path()).unwrap();
        let expected = [("A", "1"), ("B", "two # words"), ("C", "$(x)"), ("D", "a")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
