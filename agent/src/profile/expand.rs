//! A profile as words of a command line, put between the command and what was typed.
//!
//! What was typed beats what is in the file: an option that may be given once is left out when it was typed, and so is one that
//! a typed one excludes; options that may be given several times add up; words that were typed stand in the place of `paths`.
//! Every option is one word, `--key=value`, whatever the value holds, and words stand behind `--`: nothing is ever quoted or split.

use super::document::{Document, Place, Setting, Text, Value};
use super::file::File;
use super::inherit::{self, Merged};
use super::options::{
    self, COMMAND, FORGET, Form, Options, PASSWORD_COMMAND, PATHS, STREAM_NAME, STREAMS, Table,
};
use super::problem::Problem;
use super::substitute::substituted;
use super::typed::Typed;
use super::{Call, Environment, Used};
use crate::password;
use icecore_remote::Address;
use icecore_remote::address::RCLONE;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path};
use std::sync::Arc;

/// The key of the place of a repository, which is an option of every command and no key of a profile.
pub const REPOSITORY: &str = "repository";
/// The variable that names a repository where nothing else does.
const REPOSITORY_VARIABLE: &str = "ICECORE_REPOSITORY";

/// A file of profiles and what it is read with.
pub struct Expander<'a> {
    /// The file.
    pub file: &'a File,
    /// What it says.
    pub document: &'a Document,
    /// What can be typed.
    pub options: &'a Options,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// A setting that is ready to be typed: variables are in it, and paths are whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The setting; its key is [`REPOSITORY`] for the place of one.
    pub setting: Setting,
    /// Which table the value, or the last of it, comes from, for people.
    pub section: String,
    /// Of two that exclude each other the one with the higher rank counts.
    pub rank: usize,
}

impl Expander<'_> {
    /// All that is set for a profile, each key of each table by itself. What cannot be used is among the problems instead.
    pub fn all(&self, name: &str, problems: &mut Vec<Problem>) -> Vec<Given> {
        let (merged, row) =
            match (inherit::merged(self.document, self.options, name), inherit::row(self.document, name)) {
                (Ok(merged), Ok(row)) => (merged, row),
                (Err(problem), _) | (_, Err(problem)) => {
                    problems.push(problem);
                    return Vec::new();
                }
            };
        let mut all = self.of_the_repository(&merged, problems);
        let mut settings = merged.settings;
        settings.sort_by(|one, other| one.setting.table.cmp(&other.setting.table));
        for ranked in settings {
            let profile = row.get(ranked.rank - 1).copied().unwrap_or(name);
            let mut section = format!("profiles.{profile}");
            match &ranked.setting.table {
                Table::Command(command) => section += &format!(".{command}"),
                Table::Retention => section += ".retention",
                Table::Top | Table::Repository => {}
            }
            all.extend(self.ready(ranked.setting, section, ranked.rank, problems));
        }
        all
    }

    /// What is set for one command, each key once: what stands in the table of the command beats what stands around it.
    pub fn given(&self, name: &str, path: &[String], problems: &mut Vec<Problem>) -> Vec<Given> {
        let mut given: Vec<Given> = Vec::new();
        for one in self.all(name, problems) {
            let Setting { table, key, value, .. } = &one.setting;
            let is_for = match key.as_str() {
                REPOSITORY => self.has_repository(path),
                key => self.options.is_for(table, key, path),
            };
            if !is_for {
                continue;
            }
            let adds_up =
                self.options.option(path, key).is_some_and(|option| options::form(option) == Form::Many);
            match given.iter_mut().find(|known| known.setting.key == *key) {
                None => given.push(one),
                Some(known) => match (&mut known.setting.value, value) {
                    (Value::Many(before), Value::Many(more)) if adds_up => {
                        before.extend(more.iter().cloned())
                    }
                    _ => *known = one,
                },
            }
        }
        given.retain(|one| one.setting.value != Value::Truth(false));
        given
    }

    fn has_repository(&self, path: &[String]) -> bool {
        let leaf = self.options.leaf(path);
        leaf.is_some_and(|leaf| leaf.get_arguments().any(|option| option.get_id() == REPOSITORY))
    }

    /// The repository that a profile names.
    fn of_the_repository(&self, merged: &Merged, problems: &mut Vec<Problem>) -> Vec<Given> {
        let Some(name) = &merged.repository else { return Vec::new() };
        let Some(repository) = self.document.repositories.get(&name.text) else { return Vec::new() };
        let section = format!("repositories.{}", name.text);
        let mut all = Vec::new();
        if let Some(place) = &repository.place {
            let (line, value) = match place {
                Place::Path(text) => {
                    (text.line, self.substitute(&text.text).and_then(|text| self.path(&text)))
                }
                Place::Url(text) => (text.line, self.address(text, &repository.options)),
            };
            let mut places = Vec::with_capacity(1 + repository.mirrors.len());
            let others = repository.mirrors.iter().map(|text| (text.line, self.mirror(text)));
            for (line, place) in std::iter::once((line, value)).chain(others) {
                match place {
                    Ok(place) => places.push(place),
                    Err(message) => problems.push(Problem::new(line, &section, message)),
                }
            }
            let value = if places.len() == 1 { Value::One(places.remove(0)) } else { Value::Many(places) };
            let setting = Setting { table: Table::Repository, key: REPOSITORY.to_owned(), value, line };
            all.push(Given { setting, section: section.clone(), rank: 0 });
        }
        for setting in &repository.settings {
            all.extend(self.ready(setting.clone(), section.clone(), 0, problems));
        }
        all
    }

    /// What the storage of a profile's repository finds in the environment.
    pub fn environment(&self, name: &str, problems: &mut Vec<Problem>) -> Environment {
        let merged = inherit::merged(self.document, self.options, name).ok();
        let repository = merged.and_then(|merged| merged.repository);
        let Some(name) = repository else { return Environment::default() };
        let Some(repository) = self.document.repositories.get(&name.text) else {
            return Environment::default();
        };
        let mut environment = std::collections::BTreeMap::new();
        for (variable, text) in &repository.environment {
            match self.substitute(&text.text) {
                Ok(value) => drop(environment.insert(variable.clone(), value)),
                Err(message) => {
                    let section = format!("repositories.{}", name.text);
                    problems.push(Problem::new(text.line, section, format!("{variable}: {message}")));
                }
            }
        }
        Arc::new(environment)
    }

    /// An address as it stands, or a folder.
    fn mirror(&self, text: &Text) -> Result<String, String> {
        let place = self.substitute(&text.text)?;
        match Address::is_one(&place) {
            true => Address::parse(&place).map(|_| place).map_err(|error| error.to_string()),
            false => self.path(&place),
        }
    }

    /// The address with its options behind it.
    fn address(&self, url: &Text, options: &[(String, Text)]) -> Result<String, String> {
        let mut address = self.substitute(&url.text)?;
        if !Address::is_one(&address) {
            return Err(
                "url has to be an address such as sftp://host/folder; a folder is named by path".to_owned()
            );
        }
        if !options.is_empty() && address.split(':').next() == Some(RCLONE) {
            return Err("an address of rclone has no options".to_owned());
        }
        for (key, text) in options {
            address.push(if address.contains('?') { '&' } else { '?' });
            address += &format!("{}={}", encoded(key), encoded(&self.substitute(&text.text)?));
        }
        Address::parse(&address).map(|_| address).map_err(|error| error.to_string())
    }

    fn substitute(&self, text: &str) -> Result<String, String> {
        substituted(text, self.variable)
    }

    /// A path as it counts: from the folder of the file, or from the home of the user.
    fn path(&self, text: &str) -> Result<String, String> {
        let home = || {
            let home = (self.variable)("HOME").and_then(|home| home.into_string().ok());
            home.filter(|home| home.starts_with('/')).ok_or("~ stands for HOME, which is not set".to_owned())
        };
        match text.strip_prefix('~') {
            Some("") => return home(),
            Some(rest) if rest.starts_with('/') => return Ok(home()? + rest),
            Some(_) => {
                return Err(format!("of ~, only ~/ has a meaning: {text} (a file of that name is ./{text})"));
            }
            None => {}
        }
        if text.is_empty() {
            return Err("a path is empty".to_owned());
        }
        // `-` is standard input where a list is read.
        if text.starts_with('/') || text == "-" {
            return Ok(text.to_owned());
        }
        let folder = self.file.path.parent().unwrap_or(Path::new("/"));
        let whole: std::path::PathBuf =
            folder.join(text).components().filter(|part| *part != Component::CurDir).collect();
        whole.into_os_string().into_string().map_err(|_| "the folder of the file is not UTF-8".to_owned())
    }

    /// A setting with its variables in it and its paths whole, if that can be done.
    fn ready(
        &self,
        setting: Setting,
        section: String,
        rank: usize,
        problems: &mut Vec<Problem>,
    ) -> Option<Given> {
        let is_path = self.is_path(&setting);
        let one = |text: &String| {
            let text = self.substitute(text)?;
            if is_path { self.path(&text) } else { Ok(text) }
        };
        let value = match &setting.value {
            Value::Truth(truth) => Ok(Value::Truth(*truth)),
            Value::One(text) => one(text).map(Value::One),
            Value::Many(texts) => texts.iter().map(one).collect::<Result<_, String>>().map(Value::Many),
        };
        match value {
            Ok(value) => Some(Given { setting: Setting { value, ..setting }, section, rank }),
            Err(message) => {
                problems.push(Problem::new(setting.line, section, format!("{}: {message}", setting.key)));
                None
            }
        }
    }

    fn is_path(&self, setting: &Setting) -> bool {
        let is_for = |path: &[String]| self.options.is_for(&setting.table, &setting.key, path);
        let mut paths = self.options.paths();
        let path = paths.find(|path| is_for(path));
        path.and_then(|path| self.options.option(&path, &setting.key)).is_some_and(options::is_path)
    }

    /// The command line that stands for what was typed, with this profile.
    ///
    /// # Errors
    /// All that keeps it from being one.
    pub fn call(&self, name: &str, typed: &Typed) -> Result<Call, Vec<Problem>> {
        let mut problems = Vec::new();
        let given = self.given(name, &typed.command, &mut problems);
        let given = self.that_count(given, typed);
        problems.extend(given.iter().filter_map(|one| self.objection(one, &typed.command)));
        problems.extend(two_kinds_of_words(&given));
        let mut environment = self.environment(name, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut notes = Vec::new();
        if typed.options.iter().any(|option| option == REPOSITORY) {
            environment = Environment::default();
        } else {
            notes.extend(self.note_of_the_variable(name, &given));
        }
        let words = self.words(name, typed, &given);
        let file = self.file.path.clone();
        Ok(Call { words, profile: Some(Used { name: name.to_owned(), file, environment, notes }) })
    }

    /// Whoever set the variable may expect it to count.
    fn note_of_the_variable(&self, name: &str, given: &[Given]) -> Option<String> {
        let by_variable = (self.variable)(REPOSITORY_VARIABLE).filter(|place| !place.is_empty())?;
        let place = given.iter().find(|one| one.setting.key == REPOSITORY)?;
        let is_same = matches!(&place.setting.value, Value::One(place) if by_variable == place.as_str());
        (!is_same).then(|| {
            format!("note: {REPOSITORY_VARIABLE} does not count here: @{name} names another repository")
        })
    }

    /// Those that what was typed, and what is said later in the file, lets count.
    fn that_count(&self, mut given: Vec<Given>, typed: &Typed) -> Vec<Given> {
        let path = &typed.command;
        let is_typed = |id: &str| typed.options.iter().any(|typed| typed == id);
        let option = |one: &Given| self.options.option(path, &one.setting.key);
        let leaf = self.options.leaf(path);
        let arguments = || leaf.into_iter().flat_map(|leaf| leaf.get_arguments());
        let typed_ones: Vec<&clap::Arg> = arguments()
            .filter(|option| {
                is_typed(option.get_id().as_str()) || (typed.has_words && option.is_positional())
            })
            .collect();
        given.retain(|one| {
            if one.setting.table == Table::Repository && is_typed(REPOSITORY) {
                return false;
            }
            let Some(option) = option(one) else { return one.setting.key == REPOSITORY };
            // A word that was typed must never become a command.
            if typed.has_words && [PATHS, COMMAND].contains(&one.setting.key.as_str()) {
                return false;
            }
            let is_again = is_typed(option.get_id().as_str());
            let is_excluded =
                typed_ones.iter().any(|typed| self.options.exclude_each_other(path, typed, option));
            !is_excluded && (!is_again || options::form(option) == Form::Many)
        });
        let beaten: Vec<bool> = given
            .iter()
            .map(|one| {
                given.iter().filter(|other| other.rank > one.rank).any(|other| {
                    match (option(one), option(other)) {
                        (Some(one), Some(other)) => self.options.exclude_each_other(path, one, other),
                        _ => false,
                    }
                })
            })
            .collect();
        let mut beaten = beaten.into_iter();
        given.retain(|_| !beaten.next().unwrap_or(false));
        // In a profile it says what a stream is called when there is one; typed without one it is a mistake.
        let is_stream =
            |key: &str| is_typed(&key.replace('-', "_")) || given.iter().any(|one| one.setting.key == key);
        if !STREAMS.into_iter().any(is_stream) {
            given.retain(|one| one.setting.key != STREAM_NAME);
        }
        given
    }

    /// Why a value cannot be one, whatever else is said.
    pub fn objection(&self, one: &Given, path: &[String]) -> Option<Problem> {
        if one.setting.key == REPOSITORY {
            return None;
        }
        let message = words_of(one).iter().find_map(|word| self.options.objection(path, word))?;
        Some(Problem::new(one.setting.line, &one.section, message))
    }

    fn words(&self, name: &str, typed: &Typed, given: &[Given]) -> Vec<OsString> {
        let mut words = vec![typed.program.clone()];
        words.extend(typed.command.iter().map(OsString::from));
        for one in given {
            words.extend(words_of(one).into_iter().map(OsString::from));
        }
        words.extend(self.series(name, typed, given).into_iter().map(OsString::from));
        words.extend(typed.rest.iter().cloned());
        let is_words = |one: &&Given| [PATHS, COMMAND].contains(&one.setting.key.as_str());
        if let Some(Setting { value: Value::Many(last), .. }) =
            given.iter().find(is_words).map(|one| &one.setting)
            && !last.is_empty()
        {
            words.extend((!typed.is_over).then(|| OsString::from("--")));
            words.extend(last.iter().map(OsString::from));
        }
        words
    }

    /// The series that a profile stands for, as far as nothing else says so: backups that are called as the profile is; and where
    /// backups are removed, only those of this machine.
    fn series(&self, name: &str, typed: &Typed, given: &[Given]) -> Vec<String> {
        let is_open = |key: &str| {
            let is_given = given.iter().any(|one| one.setting.key == key);
            !is_given && !typed.options.iter().any(|typed| typed == key)
        };
        let mut words = Vec::new();
        let is_name = self.options.is_for(&Table::Top, "name", &typed.command);
        if is_name && is_open("name") {
            words.push(format!("--name={name}"));
        }
        if typed.command == [FORGET] && is_open("host") {
            words.push(format!("--host={}", crate::cli::host_name()));
        }
        words
    }

    /// What is wrong with a profile, for whichever command: in the values, and between them.
    pub fn problems(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        self.environment(name, &mut problems);
        for path in self.options.paths() {
            let given = self.given(name, &path, &mut problems);
            let mut is_whole = true;
            for one in &given {
                // What is no key of one command alone is the same for all of them.
                let is_own = matches!(one.setting.table, Table::Command(_));
                if seen.insert(format!("{:?}", one.setting)) || is_own {
                    let objection = self.objection(one, &path);
                    is_whole &= objection.is_none();
                    problems.extend(objection);
                }
            }
            let typed = Typed { command: path.clone(), ..Typed::default() };
            let given = self.that_count(given, &typed);
            problems.extend(two_kinds_of_words(&given));
            let words = self.words(name, &typed, &given);
            let contradiction = if is_whole { self.options.contradiction(&path, words) } else { None };
            let section = format!("profiles.{name}");
            let line = given
                .iter()
                .filter(|one| one.section.starts_with(&section))
                .map(|one| one.setting.line)
                .min();
            problems.extend(
                contradiction
                    .map(|message| Problem::new(line, section, format!("{}: {message}", path.join(" ")))),
            );
        }
        problems
    }
}

/// The words for a setting, but for those that stand behind `--`.
fn words_of(one: &Given) -> Vec<String> {
    let key = match one.setting.key.as_str() {
        PATHS => return Vec::new(),
        COMMAND => return vec![format!("--{COMMAND}")],
        key => key,
    };
    match &one.setting.value {
        Value::Truth(false) => Vec::new(),
        Value::Truth(true) => vec![format!("--{key}")],
        Value::One(value) => vec![format!("--{key}={value}")],
        Value::Many(words) if key == PASSWORD_COMMAND => {
            vec![format!("--{key}={}", password::words::joined(words))]
        }
        Value::Many(values) => values.iter().map(|value| format!("--{key}={value}")).collect(),
    }
}

/// A command to run and paths to read cannot both stand behind `--`.
fn two_kinds_of_words(given: &[Given]) -> Option<Problem> {
    let of = |key: &str| given.iter().find(|one| one.setting.key == key);
    let (command, _) = (of(COMMAND)?, of(PATHS)?);
    let message = format!("{COMMAND} and {PATHS} exclude each other");
    Some(Problem::new(command.setting.line, &command.section, message))
}

/// A text as it stands behind the `?` of an address.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests;
