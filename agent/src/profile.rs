//! Profiles: what is typed every time, kept in a file (`icecore.toml`) under a name.
//!
//! `@NAME` among the words of a command stands for the options that the file gives that command. They are put ahead of what was
//! typed, and the whole is parsed as if all of it had been typed ([`expand`]): the keys of the file are the options of the
//! command line ([`options`]), so that nothing can be forgotten and nothing has a second meaning. The way is always the same:
//! the file is found and trusted ([`file`]), read ([`document`]), parents are merged ([`inherit`]), variables are put in
//! ([`substitute`]), and words come out.
//!
//! Invariants: without `@NAME` no file is read, so that a file never changes what a command line says. Nothing is run or written
//! before all profiles of a call are known to be right. No shell is involved, and nothing is quoted.

mod document;
mod expand;
mod file;
mod inherit;
pub mod options;
mod problem;
mod substitute;
mod typed;

pub use document::{Setting, Value};
pub use expand::{Given, REPOSITORY};
pub use options::Table;
pub use problem::Problem;

use crate::cli::Global;
use document::Document;
use expand::Expander;
use file::File;
use icecore::error::{Error, Result};
use options::Options;
use problem::nearest;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use typed::Typed;

/// What a storage finds in the environment beside what is really there, and instead of it.
pub type Environment = Arc<BTreeMap<String, String>>;

/// One command line.
pub struct Call {
    /// Its words, the name of the program among them.
    pub words: Vec<OsString>,
    /// The profile that some of them are from.
    pub profile: Option<Used>,
}

/// A profile that is used.
pub struct Used {
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub file: PathBuf,
    /// What the storage of its repository finds in the environment.
    pub environment: Environment,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// What was typed, with the command ahead of its options.
pub fn in_order(words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word.as_bytes().starts_with(b"-")) {
        return typed::command_first(words, Options::new().root());
    }
    words
}

/// The command lines that stand for what was typed: itself, or one for each profile that it names.
///
/// # Errors
/// `Invalid` for whatever is wrong with the profiles that are named.
pub fn calls(words: Vec<OsString>) -> Result<Vec<Call>> {
    let may_name_one =
        |word: &OsString| [&b"@"[..], b"--config"].iter().any(|start| word.as_bytes().starts_with(start));
    if !words.iter().any(may_name_one) {
        return Ok(vec![Call { words, profile: None }]);
    }
    let options = Options::new();
    let typed = typed::take_apart(&words, options.root());
    let is_help = typed.options.iter().any(|option| option == "help" || option == "version");
    if typed.profiles.is_empty() || is_help {
        let is_config = typed.command.first().is_some_and(|command| command == "config");
        if typed.config.is_some() && !is_config && !is_help && !typed.command.is_empty() {
            return Err(Error::invalid("--config means nothing to a command that names no profile", "")
                .hint("name one of the profiles in the file, as @NAME"));
        }
        let words = without_profiles(words, &typed);
        return Ok(vec![Call { words, profile: None }]);
    }
    if typed.command.is_empty() {
        return Err(Error::invalid("a profile is named, and no command", "")
            .hint("for example: icecore backup @NAME"));
    }
    if !typed::takes_profiles(&typed) {
        return Err(Error::invalid("this command is about profiles, and does not run with one", "")
            .hint("what it is about stands behind it: icecore config show @NAME"));
    }
    let profiles = Profiles::open(typed.config.as_deref())?;
    let mut names: Vec<String> = Vec::new();
    for word in &typed.profiles {
        let more = profiles.named(word)?;
        names.extend(more.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    if names.len() > 1 && typed.command == ["dump"] {
        return Err(Error::invalid("dump writes what is in one backup, and takes one profile", ""));
    }
    names.iter().map(|name| profiles.call(name, &typed)).collect()
}

/// Help needs no profile.
fn without_profiles(words: Vec<OsString>, typed: &Typed) -> Vec<OsString> {
    if typed.profiles.is_empty() {
        return words;
    }
    let command = typed.command.iter().map(OsString::from);
    std::iter::once(typed.program.clone()).chain(command).chain(typed.rest.iter().cloned()).collect()
}

/// What was typed, as far as errors have to know before it is parsed.
pub fn guessed(words: &[OsString]) -> Global {
    Global { json: words.iter().any(|word| word == "--json"), quiet: false, config: None }
}

/// A file of profiles.
pub struct Profiles {
    file: File,
    document: Document,
    options: Options,
}

impl Profiles {
    /// Where the file is.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn path(named: Option<&OsStr>) -> Result<PathBuf> {
        file::find(named, &variable)
    }

    /// Finds and reads it.
    ///
    /// # Errors
    /// `Invalid` when there is none, when others can change it, or when it is no text. What is wrong with what it says is told by
    /// [`Profiles::problems`].
    pub fn open(named: Option<&OsStr>) -> Result<Profiles> {
        let file = file::read(&Profiles::path(named)?)?;
        let options = Options::new();
        let document = document::read(&file, &options);
        Ok(Profiles { file, document, options })
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file.path
    }

    /// What can be typed.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The names of all profiles, and how many repositories there are.
    pub fn names(&self) -> (Vec<&str>, usize) {
        (self.document.profiles.keys().map(String::as_str).collect(), self.document.repositories.len())
    }

    /// The profiles that a name stands for: one, or those of a group.
    ///
    /// # Errors
    /// `Invalid` when it stands for none, or when the group is wrong.
    pub fn named(&self, word: &OsStr) -> Result<Vec<String>> {
        let shown = format!("@{}", word.display());
        let Some(name) = word.to_str().filter(|name| document::is_name(name)) else {
            return Err(Error::invalid("not the name of a profile:", &shown).hint(format!(
                "what begins with @ names a profile; for anything else write ./{shown}, or -- before it"
            )));
        };
        self.refuse(&[], name)?;
        if self.document.profiles.contains_key(name) {
            return Ok(vec![name.to_owned()]);
        }
        if let Some(members) = self.document.groups.get(name) {
            self.refuse(&[format!("groups.{name}")], name)?;
            if members.is_empty() {
                return Err(Error::invalid("no profile is in the group", shown));
            }
            return Ok(members.iter().map(|member| member.text.clone()).collect());
        }
        let known: Vec<&str> =
            self.document.profiles.keys().chain(self.document.groups.keys()).map(String::as_str).collect();
        let error = Error::invalid(format!("{}: there is no profile called", self.file.path.display()), name);
        Err(match nearest(name, known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean @{near}?")),
            None if known.is_empty() => error.hint("it has none at all"),
            None => error.hint(format!("it has {}", known.join(", "))),
        })
    }

    /// The command line for one profile.
    fn call(&self, name: &str, typed: &Typed) -> Result<Call> {
        let row = inherit::row(&self.document, name).map_err(|problem| problem.error(&self.file.path))?;
        let mut sections: Vec<String> = row.into_iter().map(|name| format!("profiles.{name}")).collect();
        let merged = inherit::merged(&self.document, &self.options, name);
        let merged = merged.map_err(|problem| problem.error(&self.file.path))?;
        sections.extend(merged.repository.map(|repository| format!("repositories.{}", repository.text)));
        let others = self.refuse(&sections, name)?;
        let mut call = self.expander().call(name, typed).map_err(|problems| self.error(&problems, name))?;
        if let Some(used) = &mut call.profile
            && others > 0
        {
            let places = crate::output::count(others as u64, "error", "errors");
            let file = self.file.path.display();
            used.notes.push(format!("note: {file} has {places} elsewhere; icecore config check tells them"));
        }
        Ok(call)
    }

    fn expander(&self) -> Expander<'_> {
        Expander { file: &self.file, document: &self.document, options: &self.options, variable: &variable }
    }

    /// Refuses a file that is wrong where it concerns these tables; else says in how many places it is wrong.
    fn refuse(&self, sections: &[String], name: &str) -> Result<usize> {
        let concerns = |problem: &&Problem| match sections {
            [] => problem.section.is_empty(),
            sections => sections.iter().any(|section| problem.concerns(section)),
        };
        let (wrong, others): (Vec<&Problem>, Vec<&Problem>) =
            self.document.problems.iter().partition(concerns);
        if wrong.is_empty() {
            return Ok(others.len());
        }
        Err(self.error(&wrong.into_iter().cloned().collect::<Vec<_>>(), name))
    }

    fn error(&self, problems: &[Problem], name: &str) -> Error {
        let Some(first) = problems.first() else { return Error::invalid("nothing can be done with", name) };
        let error = first.error(&self.file.path);
        let more = problems.len() - 1;
        if more == 0 {
            return error;
        }
        let hint = first.hint.as_ref().map_or_else(String::new, |hint| format!("{hint} "));
        error.hint(format!("{hint}(and {more} more: icecore config check tells all)"))
    }

    /// All that is wrong with the file, in the order of the lines.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.document.problems.clone();
        for name in self.document.profiles.keys() {
            for problem in self.expander().problems(name) {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// What a profile comes to, for one command or for all.
    ///
    /// # Errors
    /// `Invalid` for what is wrong with it.
    pub fn shown(&self, name: &str, command: &[String]) -> Result<Vec<Given>> {
        let mut problems: Vec<Problem> = Vec::new();
        let given = match command {
            [] => self.expander().all(name, &mut problems),
            command => self.expander().given(name, command, &mut problems),
        };
        if problems.is_empty() { Ok(given) } else { Err(self.error(&problems, name)) }
    }

    /// The words that stand for a profile with a command, and what the storage of its repository finds in the environment.
    ///
    /// # Errors
    /// As when it is used.
    pub fn words(&self, name: &str, command: &[String]) -> Result<Call> {
        self.call(name, &Typed { program: "icecore".into(), command: command.to_vec(), ..Typed::default() })
    }

    /// What the storage of a profile's repository finds in the environment.
    ///
    /// # Errors
    /// `Invalid` for what is wrong with it.
    pub fn environment(&self, name: &str) -> Result<Environment> {
        let mut problems = Vec::new();
        let environment = self.expander().environment(name, &mut problems);
        if problems.is_empty() { Ok(environment) } else { Err(self.error(&problems, name)) }
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
