//! What a file of profiles says, each thing with its line, and all that is wrong with it.
//!
//! Here the syntax is read and every key and the shape of its value are compared with what the command line knows. Variables are
//! put in later, and only into what is used: one that is not set here may be set where another profile runs.

use super::file::File;
use super::options::{self, Form, Options, Owner, Table};
use super::problem::Problem;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What the file says.
#[derive(Default)]
pub struct Document {
    /// Its repositories, by name.
    pub repositories: BTreeMap<String, Repository>,
    /// Its profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Its groups of profiles, by name.
    pub groups: BTreeMap<String, Vec<Text>>,
    /// All that is wrong, in the order of the lines.
    pub problems: Vec<Problem>,
}

/// A text that somebody wrote, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What was written.
    pub text: String,
    /// The line, from 1.
    pub line: usize,
}

/// A repository.
#[derive(Default)]
pub struct Repository {
    /// The folder it is in, or the address.
    pub place: Option<Place>,
    /// Where else everything of it is kept: folders and addresses.
    pub mirrors: Vec<Text>,
    /// What is put behind the `?` of the address.
    pub options: Vec<(String, Text)>,
    /// What its storage finds in the environment.
    pub environment: Vec<(String, Text)>,
    /// Options of every command on it.
    pub settings: Vec<Setting>,
}

/// Where a repository is.
#[derive(Clone)]
pub enum Place {
    /// In a folder.
    Path(Text),
    /// At an address.
    Url(Text),
}

/// A profile by itself, without what it inherits.
#[derive(Default)]
pub struct Profile {
    /// The profiles whose settings it has as well; later ones beat earlier ones.
    pub inherits: Vec<Text>,
    /// Keys and tables of which nothing is inherited.
    pub replace: Vec<Text>,
    /// The name of its repository.
    pub repository: Option<Text>,
    /// Everything else.
    pub settings: Vec<Setting>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands.
    pub table: Table,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// The line.
    pub line: usize,
}

/// A value, as it was written: variables are still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Truth(bool),
    /// One text or number.
    One(String),
    /// A list of them.
    Many(Vec<String>),
}

/// Sections of the file.
const SECTIONS: [&str; 3] = ["repositories", "profiles", "groups"];
/// Keys of repositories that are no options.
const OF_REPOSITORIES: [&str; 5] = ["url", "path", "mirrors", "options", "environment"];
/// Keys of profiles that are no options.
const OF_PROFILES: [&str; 4] = ["inherits", "replace", "repository", "retention"];
/// Names of variables that hold secrets end so.
const SECRETS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "KEY", "PASS"];

/// Reads a file. What is wrong is among the problems; the rest can be used.
pub fn read(file: &File, options: &Options) -> Document {
    let starts = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut reader = Reader { options, starts, is_private: file.is_private, problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    let mut document = Document::default();
    if errors.is_empty() {
        reader.root(root.get_ref(), &mut document);
        reader.problems.extend(super::inherit::problems(&document, options));
    }
    for error in errors {
        let line = error.span().map(|span| reader.line(span.start));
        reader.problems.push(Problem::new(
            line,
            "",
            format!("not TOML: {}", error.message().replace('\n', ", ")),
        ));
    }
    document.problems = reader.problems;
    document.problems.sort_by_key(|problem| problem.line);
    document
}

/// Whether it can be the name of a profile, a group or a repository.
pub fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(is_letter)
}

struct Reader<'a> {
    options: &'a Options,
    /// Where lines start.
    starts: Vec<usize>,
    is_private: bool,
    problems: Vec<Problem>,
}

type Entry<'a, 'i> = (&'a str, usize, &'a DeValue<'i>);

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn complain(&mut self, line: usize, section: &str, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::new(line, section, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// The keys of a table, with their lines.
    fn entries<'a, 'i>(&self, table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>)| {
            (key.get_ref().as_ref(), self.line(key.span().start), value.get_ref())
        };
        table.iter().map(entry).collect()
    }

    fn root(&mut self, root: &DeTable<'_>, document: &mut Document) {
        for (key, line, value) in self.entries(root) {
            match key {
                "repositories" => self.each(key, line, value, |reader, section, name, line, table| {
                    let repository = reader.repository(section, line, table);
                    document.repositories.insert(name.to_owned(), repository);
                }),
                "profiles" => self.each(key, line, value, |reader, section, name, _, table| {
                    let profile = reader.profile(section, table);
                    document.profiles.insert(name.to_owned(), profile);
                }),
                "groups" => {
                    let Some(table) = self.table(key, line, "", value) else { continue };
                    for (name, line, value) in self.entries(table) {
                        self.name(key, name, line);
                        let members = self.texts(&format!("{key}.{name}"), name, line, value);
                        document.groups.insert(name.to_owned(), members);
                    }
                }
                _ => {
                    let is_option = self.options.keys_at_the_top().contains(key);
                    let problem = Problem::new(line, "", format!("there is no section called {key}"));
                    self.problems.push(match is_option {
                        true => problem.hint("options stand in a profile: [profiles.NAME]"),
                        false => problem.suggest(key, SECTIONS),
                    });
                }
            }
        }
    }

    /// Reads every table of a section.
    fn each(
        &mut self,
        section: &str,
        line: usize,
        value: &DeValue<'_>,
        mut read: impl FnMut(&mut Self, &str, &str, usize, &DeTable<'_>),
    ) {
        let Some(table) = self.table(section, line, "", value) else { return };
        for (name, line, value) in self.entries(table) {
            self.name(section, name, line);
            if let Some(table) = self.table(name, line, section, value) {
                read(self, &format!("{section}.{name}"), name, line, table);
            }
        }
    }

    fn name(&mut self, section: &str, name: &str, line: usize) {
        if !is_name(name) {
            self.complain(line, section, format!("not a usable name: {name:?}")).hint =
                Some("names are made of letters, digits, '-', '_' and '.'".to_owned());
        }
    }

    fn table<'a, 'i>(
        &mut self,
        key: &str,
        line: usize,
        section: &str,
        value: &'a DeValue<'i>,
    ) -> Option<&'a DeTable<'i>> {
        if value.as_table().is_none() {
            let inside = if section.is_empty() { String::new() } else { format!("{section}.") };
            self.complain(line, section, format!("{key} has to be a table: [{inside}{key}]"));
        }
        value.as_table()
    }

    fn repository(&mut self, section: &str, header: usize, table: &DeTable<'_>) -> Repository {
        let mut repository = Repository::default();
        for (key, line, value) in self.entries(table) {
            match key {
                "url" | "path" => {
                    let Some(text) = self.text(section, key, line, value) else { continue };
                    if repository.place.is_some() {
                        self.complain(line, section, "a repository has one url or one path");
                    }
                    let text = Text { text, line };
                    if key == "path" {
                        repository.place = Some(Place::Path(text));
                    } else {
                        self.look_for_a_password(section, &text);
                        repository.place = Some(Place::Url(text));
                    }
                }
                "options" => repository.options = self.pairs(section, key, line, value),
                "environment" => {
                    repository.environment = self.pairs(section, key, line, value);
                    self.look_for_secrets(section, &repository.environment);
                }
                "password" => self.complain_of_a_password(section, line),
                "mirrors" => {
                    repository.mirrors = self.texts(section, key, line, value);
                    for text in &repository.mirrors {
                        self.look_for_a_password(section, text);
                    }
                }
                _ => {
                    let known = self.options.keys_of_repositories();
                    if known.contains(key) {
                        let setting = self.setting(section, Table::Repository, key, line, value);
                        repository.settings.extend(setting);
                        continue;
                    }
                    let problem =
                        Problem::new(line, section, format!("a repository has no key called {key}"));
                    let is_elsewhere = self.options.owner(key) != Owner::Nobody;
                    let known: Vec<&str> = known.into_iter().chain(OF_REPOSITORIES).collect();
                    self.problems.push(match is_elsewhere {
                        true => problem.hint("it belongs into a profile: [profiles.NAME]"),
                        false => problem.suggest(key, known),
                    });
                }
            }
        }
        match &repository.place {
            None => {
                self.complain(header, section, "nothing says where it is").hint =
                    Some("add url = \"sftp://…\", or path = \"/…\" for a folder".to_owned());
            }
            Some(Place::Path(_)) if !repository.options.is_empty() => {
                let line = repository.options[0].1.line;
                self.complain(line, section, "a folder has no options: they are those of an address");
            }
            Some(_) => {}
        }
        repository
    }

    fn profile(&mut self, section: &str, table: &DeTable<'_>) -> Profile {
        let mut profile = Profile::default();
        for (key, line, value) in self.entries(table) {
            match key {
                "inherits" => profile.inherits = self.texts(section, key, line, value),
                "replace" => profile.replace = self.texts(section, key, line, value),
                "repository" => {
                    let text = self.text(section, key, line, value);
                    profile.repository = text.map(|text| Text { text, line });
                }
                "retention" => self.inner(section, Table::Retention, key, line, value, &mut profile),
                "password" => self.complain_of_a_password(section, line),
                _ if self.options.commands().contains(&key) && value.is_table() => {
                    let table = Table::Command(key.to_owned());
                    self.inner(section, table, key, line, value, &mut profile);
                }
                _ => self.at_the_top(section, key, line, value, &mut profile),
            }
        }
        profile
    }

    fn at_the_top(
        &mut self,
        section: &str,
        key: &str,
        line: usize,
        value: &DeValue<'_>,
        profile: &mut Profile,
    ) {
        match self.options.owner(key) {
            Owner::All | Owner::One(_) => {
                let setting = self.setting(section, Table::Top, key, line, value);
                profile.settings.extend(setting);
            }
            Owner::Several(commands) => {
                let message = format!("{key} means something else to each of {}", commands.join(", "));
                let hint = format!("put it into the table of the one you mean: [{section}.{}]", commands[0]);
                self.complain(line, section, message).hint = Some(hint);
            }
            Owner::Nobody => {
                let problem = match value.is_table() {
                    true => Problem::new(line, section, format!("there is no command called {key}")),
                    false => Problem::new(line, section, format!("no command has an option called {key}")),
                };
                let of_commands = self.options.keys_at_the_top();
                let known: Vec<&str> = match value.is_table() {
                    true => self.options.commands().into_iter().chain(["retention"]).collect(),
                    false => of_commands.into_iter().chain(OF_PROFILES).collect(),
                };
                self.problems.push(match key {
                    "url" | "path" | "mirrors" | "options" | "environment" => {
                        problem.hint("it belongs into a repository: [repositories.NAME]")
                    }
                    "json" | "quiet" => problem.hint(format!("say --{key} on the command line")),
                    _ => problem.suggest(key, known),
                });
            }
        }
    }

    /// The table of a command, or `retention`.
    fn inner(
        &mut self,
        section: &str,
        table: Table,
        name: &str,
        line: usize,
        value: &DeValue<'_>,
        profile: &mut Profile,
    ) {
        let Some(inner) = self.table(name, line, section, value) else { return };
        let section = format!("{section}.{name}");
        for (key, line, value) in self.entries(inner) {
            let known = match &table {
                Table::Command(command) => self.options.keys_of(command),
                _ => self.options.keys_of_retention(),
            };
            if known.contains(key) {
                let setting = self.setting(&section, table.clone(), key, line, value);
                profile.settings.extend(setting);
            } else {
                let message = match &table {
                    Table::Command(command) => format!("{command} has no option called {key}"),
                    _ => format!("retention has no key called {key}"),
                };
                self.problems.push(Problem::new(line, &section, message).suggest(key, known));
            }
        }
    }

    /// A key that is an option, with a value of the right shape.
    fn setting(
        &mut self,
        section: &str,
        table: Table,
        key: &str,
        line: usize,
        value: &DeValue<'_>,
    ) -> Option<Setting> {
        let form = self.options.form(&table, key)?;
        let takes_words = key == options::COMMAND || key == options::PASSWORD_COMMAND;
        let found = match (form, value) {
            (_, DeValue::Array(_)) if takes_words || form == Form::Many => {
                let texts = self.texts(section, key, line, value);
                Some(Value::Many(texts.into_iter().map(|text| text.text).collect()))
            }
            (Form::Flag, _) if key == options::COMMAND => None,
            (Form::Flag | Form::Optional, DeValue::Boolean(truth)) => Some(Value::Truth(*truth)),
            (Form::Flag, _) => None,
            (Form::Many, value) => scalar(value).map(|text| Value::Many(vec![text])),
            (Form::One | Form::Optional, value) => scalar(value).map(Value::One),
        };
        let wanted = match form {
            _ if key == options::COMMAND => "is a list of words: the command and its arguments",
            Form::Flag => "is true or false",
            Form::Optional => "is true, false or a value",
            Form::One => "takes one value",
            Form::Many => "takes a value, or a list of them",
        };
        let is_empty = takes_words && found == Some(Value::Many(Vec::new()));
        match found {
            Some(value) if !is_empty => Some(Setting { table, key: key.to_owned(), value, line }),
            _ => {
                let hint = scalar(value).filter(|_| form == Form::Flag && key != options::COMMAND);
                let hint = hint.map(|text| format!("write it without quotes: {key} = {text}"));
                self.complain(line, section, format!("{key} {wanted}")).hint =
                    hint.filter(|hint| hint.ends_with("= true") || hint.ends_with("= false"));
                None
            }
        }
    }

    /// A text.
    fn text(&mut self, section: &str, key: &str, line: usize, value: &DeValue<'_>) -> Option<String> {
        if value.as_str().is_none() {
            self.complain(line, section, format!("{key} has to be a text in quotes"));
        }
        value.as_str().map(str::to_owned)
    }

    /// A text or number, or a list of them.
    fn texts(&mut self, section: &str, key: &str, line: usize, value: &DeValue<'_>) -> Vec<Text> {
        let mut texts = Vec::new();
        let wrong = format!("{key} takes texts and numbers, no tables, lists or truths in a list");
        match value {
            DeValue::Array(values) => {
                for value in values.iter() {
                    let line = self.line(value.span().start);
                    match scalar(value.get_ref()) {
                        Some(text) => texts.push(Text { text, line }),
                        None => {
                            self.complain(line, section, &wrong);
                        }
                    }
                }
            }
            value => match scalar(value) {
                Some(text) => texts.push(Text { text, line }),
                None => {
                    self.complain(line, section, &wrong);
                }
            },
        }
        texts
    }

    /// A table of texts and numbers.
    fn pairs(&mut self, section: &str, key: &str, line: usize, value: &DeValue<'_>) -> Vec<(String, Text)> {
        let Some(table) = self.table(key, line, section, value) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, line, value) in self.entries(table) {
            let text = match value {
                DeValue::Boolean(truth) => Some(truth.to_string()),
                value => scalar(value),
            };
            match text {
                Some(text) if !name.is_empty() => pairs.push((name.to_owned(), Text { text, line })),
                _ => {
                    self.complain(line, section, format!("{key}: {name} takes one text or number"));
                }
            }
        }
        pairs
    }

    fn complain_of_a_password(&mut self, section: &str, line: usize) {
        let hint = "say where it comes from: password-file, password-command or password-env";
        self.complain(line, section, "a password does not stand in this file").hint = Some(hint.to_owned());
    }

    fn look_for_a_password(&mut self, section: &str, url: &Text) {
        if !self.is_private && has_written_password(&url.text) {
            self.complain_of_a_secret(section, url.line, "the password in the url");
        }
    }

    fn look_for_secrets(&mut self, section: &str, environment: &[(String, Text)]) {
        for (name, text) in environment {
            let is_secret = SECRETS.iter().any(|end| name.to_uppercase().ends_with(end));
            if !self.is_private && is_secret && !super::substitute::has_variable(&text.text) {
                self.complain_of_a_secret(section, text.line, name);
            }
        }
    }

    fn complain_of_a_secret(&mut self, section: &str, line: usize, what: &str) {
        let hint = "take it from the environment, as ${NAME}, or let nobody else read the file: chmod 600";
        self.complain(line, section, format!("others can read this file, and so {what}")).hint =
            Some(hint.to_owned());
    }
}

/// A text, number or time as it would be typed.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Whether a password is written into an address, rather than a variable that holds one.
fn has_written_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    password.is_some_and(|password| !password.is_empty() && !super::substitute::has_variable(password))
}

#[cfg(test)]
mod tests;
