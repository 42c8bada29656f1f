//! The keys of a file of profiles, taken from the definition of the command line: every long option is a key of the same name, so
//! that none can be forgotten and none means anything else here than there.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, ValueHint};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// The option that every command on a repository has, and no other.
const MARK: &str = "password-file";
/// Which series of backups: for every command that looks at backups.
const SERIES: [&str; 3] = ["name", "host", "engine"];
/// This means the same to every command that has it.
const DRY_RUN: &str = "dry-run";
/// So does this.
const IDENTITY: &str = "identity";
/// This is said by all who make backups, and by nobody else.
const NO_ENCRYPTION: &str = "no-encryption";
/// The commands that make repositories or backups of their own.
const MAKERS: [&str; 2] = ["init", "backup"];
/// The command that is told which series to look at only by its own table: it is to check all there is.
const CHECKS_ALL: &str = "check";
/// Commands that are no verbs on backups.
const OTHERS: [&str; 2] = ["config", "help"];
/// The words of a backup.
pub const PATHS: &str = "paths";
/// The option whose words are a command, not paths.
pub const COMMAND: &str = "stdin-from-command";
/// The options by which a backup is of a stream.
pub const STREAMS: [&str; 2] = ["stdin", COMMAND];
/// The option that says what a stream is called.
pub const STREAM_NAME: &str = "stdin-name";
/// The option that may be written as a list of words.
pub const PASSWORD_COMMAND: &str = "password-command";
/// The group of options that `retention` takes.
const RULES: &str = "rules";
/// The command that they are of.
pub const FORGET: &str = "forget";

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// There or not.
    Flag,
    /// There, perhaps with a value.
    Optional,
    /// With one value.
    One,
    /// With any number of values.
    Many,
}

/// The commands that a key at the top of a profile is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    /// All that have it.
    All,
    /// This one.
    One(String),
    /// It means something else to each of these, so that none is meant.
    Several(Vec<String>),
    /// No command has it.
    Nobody,
}

/// Where in a file a key stands; later ones beat earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// In a repository.
    Repository,
    /// At the top of a profile.
    Top,
    /// In its `retention`.
    Retention,
    /// In the table of a command.
    Command(String),
}

/// The command line, as it defines itself.
pub struct Options {
    root: Command,
}

impl Options {
    /// Of this program.
    pub fn new() -> Options {
        let mut root = crate::cli::Arguments::command();
        root.build();
        Options { root }
    }

    /// The whole of it.
    pub fn root(&self) -> &Command {
        &self.root
    }

    /// The commands that can have a table.
    pub fn commands(&self) -> Vec<&str> {
        self.root.get_subcommands().map(Command::get_name).filter(|name| !OTHERS.contains(name)).collect()
    }

    /// The commands of this name: itself, or all below it.
    fn leaves(&self, name: &str) -> Vec<&Command> {
        match self.root.find_subcommand(name) {
            Some(command) if command.has_subcommands() => {
                command.get_subcommands().filter(|below| below.get_name() != "help").collect()
            }
            command => command.into_iter().collect(),
        }
    }

    /// The command at the end of a path such as `key list`.
    pub fn leaf(&self, path: &[String]) -> Option<&Command> {
        path.iter().try_fold(&self.root, |command, name| command.find_subcommand(name))
    }

    /// The path of every command that has options.
    pub fn paths(&self) -> impl Iterator<Item = Vec<String>> {
        self.commands().into_iter().flat_map(|name| {
            let path = |leaf: &Command| match leaf.get_name() == name {
                true => vec![name.to_owned()],
                false => vec![name.to_owned(), leaf.get_name().to_owned()],
            };
            self.leaves(name).into_iter().map(path).collect::<Vec<_>>()
        })
    }

    /// The keys that a table of this command can have.
    pub fn keys_of(&self, command: &str) -> BTreeSet<&str> {
        self.leaves(command).into_iter().flat_map(keyed).map(|(key, _)| key).collect()
    }

    /// The keys that a repository can have.
    pub fn keys_of_repositories(&self) -> BTreeSet<&str> {
        let all = self.commands().into_iter().flat_map(|name| self.leaves(name));
        let of = |leaf| keyed(leaf).map(|(key, _)| key).collect::<BTreeSet<&str>>();
        let on_repositories = all.map(of).filter(|keys| keys.contains(MARK));
        on_repositories.reduce(|left, right| &left & &right).unwrap_or_default()
    }

    /// The keys that `retention` can have.
    pub fn keys_of_retention(&self) -> BTreeSet<&str> {
        let Some(forget) = self.root.find_subcommand(FORGET) else { return BTreeSet::new() };
        let rules: Vec<&str> = forget
            .get_groups()
            .filter(|group| group.get_id() == RULES)
            .flat_map(|group| group.get_args().map(|id| id.as_str()))
            .collect();
        keyed(forget)
            .filter(|(_, option)| rules.contains(&option.get_id().as_str()))
            .map(|(key, _)| key)
            .collect()
    }

    /// The keys that stand at the top of a profile, whosever they are.
    pub fn keys_at_the_top(&self) -> BTreeSet<&str> {
        self.commands().into_iter().flat_map(|name| self.keys_of(name)).collect()
    }

    /// The commands that a key at the top of a profile is for.
    ///
    /// What is said of a backup must not leak into a restore: what is excluded today may have been backed up yesterday. So a
    /// key that several commands have is that of `backup`, or else of `forget`, but for those that mean the same to all.
    pub fn owner(&self, key: &str) -> Owner {
        let has = |name: &&str| self.keys_of(name).contains(key);
        let owners: Vec<&str> = self.commands().into_iter().filter(has).collect();
        if owners.is_empty() {
            return Owner::Nobody;
        }
        if SERIES.contains(&key)
            || [DRY_RUN, IDENTITY, NO_ENCRYPTION].contains(&key)
            || self.keys_of_repositories().contains(key)
        {
            return Owner::All;
        }
        let first = ["backup", FORGET].into_iter().find(|name| owners.contains(name));
        match (first, owners.as_slice()) {
            (Some(first), _) => Owner::One(first.to_owned()),
            (None, [one]) => Owner::One((*one).to_owned()),
            (None, several) => Owner::Several(several.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    /// Whether a key of that table is for the command at the end of this path.
    pub fn is_for(&self, table: &Table, key: &str, path: &[String]) -> bool {
        let Some(command) = path.first() else { return false };
        if self.option(path, key).is_none() {
            return false;
        }
        match table {
            Table::Repository => true,
            Table::Retention => command == FORGET,
            Table::Command(name) => name == command,
            Table::Top => match self.owner(key) {
                Owner::All if key == NO_ENCRYPTION => MAKERS.contains(&command.as_str()),
                Owner::All => command != CHECKS_ALL || !SERIES.contains(&key),
                Owner::One(name) => name == *command,
                Owner::Several(_) | Owner::Nobody => false,
            },
        }
    }

    /// The option that a key stands for.
    pub fn option(&self, path: &[String], key: &str) -> Option<&Arg> {
        keyed(self.leaf(path)?).find(|(known, _)| *known == key).map(|(_, option)| option)
    }

    /// How the key is written, in that table.
    pub fn form(&self, table: &Table, key: &str) -> Option<Form> {
        let command = match table {
            Table::Command(name) => name.clone(),
            Table::Retention => FORGET.to_owned(),
            Table::Top | Table::Repository => match self.owner(key) {
                Owner::One(name) => name,
                Owner::All => {
                    self.commands().into_iter().find(|name| self.keys_of(name).contains(key))?.to_owned()
                }
                Owner::Several(_) | Owner::Nobody => return None,
            },
        };
        let mut options = self.leaves(&command).into_iter().flat_map(keyed);
        options.find(|(known, _)| *known == key).map(|(_, option)| form(option))
    }

    /// Why an option with this value, as one word, would be refused by the command at the end of that path, whatever else is typed.
    pub fn objection(&self, path: &[String], word: &str) -> Option<String> {
        let words = std::iter::once("icecore").chain(path.iter().map(String::as_str)).chain([word]);
        let error = self.root.clone().try_get_matches_from_mut(words).err()?;
        let is_of_the_value = matches!(
            error.kind(),
            ErrorKind::InvalidValue
                | ErrorKind::ValueValidation
                | ErrorKind::UnknownArgument
                | ErrorKind::NoEquals
                | ErrorKind::TooManyValues
                | ErrorKind::TooFewValues
                | ErrorKind::WrongNumberOfValues
        );
        is_of_the_value.then(|| said(&error))
    }

    /// Why options cannot be given together. That more is needed than a profile says is no reason.
    pub fn contradiction(&self, path: &[String], words: Vec<OsString>) -> Option<String> {
        let words = std::iter::once("icecore".into()).chain(words.into_iter().skip(1));
        let error = self.root.clone().try_get_matches_from_mut(words).err()?;
        let leaf = self.leaf(path)?;
        let is_needed_by_another = |missing: &String| {
            let long = missing.strip_prefix("--").and_then(|long| long.split([' ', '=']).next());
            let mut all = leaf.get_arguments();
            long.and_then(|long| all.find(|option| option.get_long() == Some(long)))
                .is_some_and(|option| !option.is_required_set())
        };
        // What another command needs as well may be typed with it each time.
        let is_all_said = ["backup", FORGET].iter().any(|name| path == [*name]);
        let is_one = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::ArgumentConflict, _) => true,
            (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(all))) => {
                is_all_said && all.iter().any(is_needed_by_another)
            }
            _ => false,
        };
        is_one.then(|| said(&error))
    }

    /// Whether two options of a command exclude each other.
    pub fn exclude_each_other(&self, path: &[String], one: &Arg, other: &Arg) -> bool {
        let Some(leaf) = self.leaf(path) else { return false };
        let excludes = |one: &Arg, other: &Arg| {
            leaf.get_arg_conflicts_with(one).iter().any(|excluded| excluded.get_id() == other.get_id())
        };
        let is_pair = |key: &str, with: &str| is_of(one, key) && is_of(other, with);
        // Both are words of the command.
        let are_words = is_pair(PATHS, COMMAND) || is_pair(COMMAND, PATHS);
        are_words || excludes(one, other) || excludes(other, one)
    }
}

fn is_of(option: &Arg, key: &str) -> bool {
    key_of(option) == Some(key)
}

/// What is wrong with a command line, in a line.
pub fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// How an option is written.
pub fn form(option: &Arg) -> Form {
    match option.get_action() {
        ArgAction::Append => Form::Many,
        action if !action.takes_values() => Form::Flag,
        _ if option.get_num_args().is_some_and(|range| range.min_values() == 0) => Form::Optional,
        _ => Form::One,
    }
}

/// Whether the value of an option is a path of this machine.
pub fn is_path(option: &Arg) -> bool {
    is_of(option, PATHS) || option.get_value_hint() == ValueHint::AnyPath
}

/// The key that an option has in a file; the place of the repository and what concerns all commands have none.
fn key_of(option: &Arg) -> Option<&str> {
    let is_none =
        ["repository", "help", "version"].contains(&option.get_id().as_str()) || option.is_global_set();
    match option.get_long() {
        Some(long) => Some(long).filter(|_| !is_none),
        None => Some(option.get_id().as_str()).filter(|id| *id == PATHS),
    }
}

fn keyed(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_arguments().filter_map(|option| Some((key_of(option)?, option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn every_option_of_every_command_has_a_key() {
        let options = Options::new();
        for name in options.commands() {
            for leaf in options.leaves(name) {
                for option in leaf.get_arguments().filter(|option| !option.is_global_set()) {
                    let Some(long) = option.get_long().filter(|long| !["repository", "help"].contains(long))
                    else {
                        continue;
                    };
                    assert!(options.keys_of(name).contains(long), "{name} --{long}");
                    assert_ne!(options.owner(long), Owner::Nobody, "{long}");
                }
            }
        }
        let backup = options.keys_of("backup");
        for key in ["exclude", "tag", "paths", "init", "jobs", "keep-daily", "json", "repository"] {
            assert_eq!(backup.contains(key), !["keep-daily", "json", "repository"].contains(&key), "{key}");
        }
    }

    #[test]
    fn a_repository_has_what_every_command_on_one_has() {
        let options = Options::new();
        let keys = options.keys_of_repositories();
        for key in ["password-file", "password-command", "password-env", "timeout", "retries", "limit-upload"]
        {
            assert!(keys.contains(key), "{key}");
        }
        for key in ["name", "tag", "dry-run", "paths"] {
            assert!(!keys.contains(key), "{key}");
        }
    }

    #[test]
    fn retention_has_the_rules_and_nothing_else() {
        let options = Options::new();
        let keys = options.keys_of_retention();
        assert!(keys.iter().filter(|key| key.starts_with("keep-")).count() >= 8, "{keys:?}");
        assert!(keys.contains("older-than") && !keys.contains("allow-last") && !keys.contains("name"));
    }

    #[test]
    fn what_is_said_of_a_backup_does_not_leak_into_a_restore() {
        let options = Options::new();
        for (key, command, is_for) in [
            ("exclude", "backup", true),
            ("exclude", "restore", false),
            ("exclude", "diff", false),
            ("tag", "list", false),
            ("name", "restore", true),
            ("name", "check", false),
            ("name", "init", false),
            ("timeout", "key list", true),
            ("password-file", "benchmark", false),
            ("keep-last", "forget", true),
            ("keep-last", "backup", false),
            ("dry-run", "forget", true),
            ("no-encryption", "init", true),
            ("no-encryption", "copy", false),
            ("dry-run", "restore", true),
            ("read-data", "check", true),
            ("overwrite", "restore", false),
        ] {
            assert_eq!(options.is_for(&Table::Top, key, &path(command)), is_for, "{key} for {command}");
        }
        let own = Table::Command("restore".to_owned());
        assert!(options.is_for(&own, "exclude", &path("restore")));
        assert!(!options.is_for(&own, "exclude", &path("backup")));
        assert_eq!(options.owner("overwrite"), Owner::Several(vec!["restore".to_owned(), "dump".to_owned()]));
        assert_eq!(options.owner("exlude"), Owner::Nobody);
    }

    #[test]
    fn forms_are_those_of_the_command_line() {
        let options = Options::new();
        for (table, key, form) in [
            (Table::Top, "exclude-caches", Form::Flag),
            (Table::Top, "exclude", Form::Many),
            (Table::Top, "paths", Form::Many),
            (Table::Top, "jobs", Form::One),
            (Table::Top, "timeout", Form::One),
            (Table::Retention, "keep-tag", Form::Many),
            (Table::Command("restore".to_owned()), "overwrite", Form::Optional),
            (Table::Command("dump".to_owned()), "overwrite", Form::Flag),
            (Table::Command("key".to_owned()), "label", Form::One),
        ] {
            assert_eq!(options.form(&table, key), Some(form), "{key}");
        }
        for (command, key, expected) in [
            ("backup", "exclude-file", true),
            ("backup", "exclude", false),
            ("backup", "paths", true),
            ("restore", "target", true),
            ("diff", "path", false),
            ("list", "path", true),
            ("info", "password-file", true),
        ] {
            assert_eq!(is_path(options.option(&path(command), key).unwrap()), expected, "{command} {key}");
        }
    }

    #[test]
    fn a_value_is_refused_in_the_words_of_the_command_line() {
        let options = Options::new();
        let objection = options.objection(&path("backup"), "--jobs=many").unwrap();
        assert!(objection.contains("many") && objection.contains("--jobs"), "{objection}");
        assert_eq!(options.objection(&path("backup"), "--jobs=3"), None);
        assert_eq!(
            options.objection(&path("restore"), "--overwrite=never"),
            None,
            "that a target is missing is no matter"
        );
        assert!(options.objection(&path("restore"), "--overwrite=sometimes").is_some());
        assert!(options.objection(&path("key list"), "--timeout=0").is_some());
    }

    #[test]
    fn options_that_exclude_each_other_are_known_whichever_comes_first() {
        let options = Options::new();
        for (command, one, other, expected) in [
            ("backup", "password-file", "password-command", true),
            ("backup", "password-command", "password-env", true),
            ("backup", "force", "parent", true),
            ("backup", "stdin", "paths", true),
            ("backup", "paths", "stdin-from-command", true),
            ("backup", "exclude", "tag", false),
            ("forget", "older-than", "before-date", true),
        ] {
            let path = path(command);
            let option = |key| options.option(&path, key).unwrap();
            for (one, other) in [(one, other), (other, one)] {
                let found = options.exclude_each_other(&path, option(one), option(other));
                assert_eq!(found, expected, "{one} and {other}");
            }
        }
    }
}
