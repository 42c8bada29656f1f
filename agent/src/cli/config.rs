//! `icecore config`: look at the file of profiles.

use super::Context;
use crate::output;
use crate::profile::{Given, Problem, Profiles, REPOSITORY, Setting, Table, Value, options};
use crate::{location, password};
use clap::{Args, Subcommand};
use icecore::error::{Error, Result};
use serde_json::{Value as Json, json};
use std::ffi::OsStr;
use std::process::ExitCode;

/// What is shown in the place of a value that may be a secret.
const HIDDEN: &str = "***";
/// The exit status of a file that is wrong.
const WRONG: u8 = 2;

/// Look at the file of profiles
///
/// What is typed every time can be kept in a file, under a name, and is then
/// given to any command as @NAME:
///
///   [repositories.main]
///   path = "/srv/backups"
///   password-file = "~/.config/icecore/password"
///
///   [profiles.nightly]
///   repository = "main"
///   paths = ["~/documents", "~/mail"]
///   exclude = ["*.tmp"]
///   exclude-caches = true
///   retention = { keep-daily = 7, keep-monthly = 12 }
///
///   icecore backup @nightly
///   icecore forget @nightly --dry-run
///   icecore restore @nightly --target /tmp/back
///
/// Every long option of a command is a key of the same name. What is typed
/// beats what is in the file, and that beats the environment. The file is that
/// of --config, or of ICECORE_CONFIG, or icecore.toml in ~/.config/icecore or
/// /etc/icecore; others must not be able to write it. The page profiles.md of
/// the guide has the rest.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Name all that is wrong with the file; the exit status is 2 when anything is.
    Check,
    /// Show what profiles come to, with all that they inherit.
    Show(Show),
    /// Print where the file is.
    Path,
}

#[derive(Args)]
struct Show {
    /// Which profiles or groups [default: all profiles], and after them for which command [default: for any]
    #[arg(value_name = "@NAME|COMMAND")]
    words: Vec<String>,
}

/// Does what was asked for.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let named = context.global.config.as_deref().map(std::path::Path::as_os_str);
    match &arguments.action {
        Action::Check => check(context, &Profiles::open(named)?),
        Action::Show(show) => {
            show.run(context, &Profiles::open(named)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Path => {
            path(context, named)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn path(context: &Context<'_>, named: Option<&OsStr>) -> Result<()> {
    let path = Profiles::path(named)?.display().to_string();
    if context.global.json {
        output::json(&json!({"type": "summary", "file": path}));
    } else {
        output::answer(&path);
    }
    Ok(())
}

fn check(context: &Context<'_>, profiles: &Profiles) -> Result<ExitCode> {
    let problems = profiles.problems();
    problems.iter().for_each(|problem| tell(context, profiles, problem));
    let (names, repositories) = profiles.names();
    let file = profiles.file().display().to_string();
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "file": file,
            "profiles": names.len(),
            "repositories": repositories,
            "problems": problems.len(),
        }));
    } else if problems.is_empty() {
        let names = output::count(names.len() as u64, "profile", "profiles");
        let repositories = output::count(repositories as u64, "repository", "repositories");
        output::line(context.global, &format!("nothing is wrong with {file}: {names}, {repositories}"));
    }
    Ok(ExitCode::from(if problems.is_empty() { 0 } else { WRONG }))
}

fn tell(context: &Context<'_>, profiles: &Profiles, problem: &Problem) {
    if context.global.json {
        return output::json(&json!({
            "type": "problem",
            "file": profiles.file().display().to_string(),
            "line": problem.line,
            "section": problem.section,
            "message": problem.message,
            "hint": problem.hint,
        }));
    }
    output::answer(&output::printable(&problem.told(profiles.file())));
    if let Some(hint) = &problem.hint {
        output::answer(&format!("  {}", output::printable(hint)));
    }
}

impl Show {
    fn run(&self, context: &Context<'_>, profiles: &Profiles) -> Result<()> {
        let (names, command): (Vec<&String>, Vec<&String>) =
            self.words.iter().partition(|word| word.starts_with('@'));
        let command: Vec<String> = command.into_iter().cloned().collect();
        let is_known = command.is_empty() || profiles.options().paths().any(|path| path == command);
        if !is_known {
            let commands = profiles.options().commands().join(", ");
            return Err(Error::invalid("there is no command called", command.join(" "))
                .hint(format!("there is {commands}")));
        }
        let mut chosen: Vec<String> = Vec::new();
        for name in &names {
            let more = profiles.named(OsStr::new(&name[1..]))?;
            chosen.extend(more.into_iter().filter(|name| !chosen.contains(name)).collect::<Vec<_>>());
        }
        if names.is_empty() {
            chosen = profiles.names().0.into_iter().map(str::to_owned).collect();
        }
        for name in chosen {
            one(context, profiles, &name, &command)?;
        }
        Ok(())
    }
}

/// Shows one profile.
fn one(context: &Context<'_>, profiles: &Profiles, name: &str, command: &[String]) -> Result<()> {
    let given = profiles.shown(name, command)?;
    let environment = profiles.environment(name)?;
    let words = if command.is_empty() { None } else { Some(words(profiles, name, command)?) };
    if context.global.json {
        given.iter().for_each(|one| output::json(&row(profiles, name, one)));
        for variable in environment.keys() {
            output::json(&json!({"type": "variable", "profile": name, "name": variable}));
        }
        if let Some(words) = words {
            output::json(&json!({"type": "command", "profile": name, "words": words}));
        }
        return Ok(());
    }
    output::answer(&format!("@{name}"));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for one in &given {
        let Setting { key, value, line, .. } = &one.setting;
        let (value, place) =
            (output::printable(&in_words(key, value)), format!("{}, line {line}", one.section));
        rows.push(vec![format!("  {key}"), value, place]);
    }
    for variable in environment.keys() {
        rows.push(vec![format!("  {variable}"), HIDDEN.to_owned(), "environment".to_owned()]);
    }
    output::table(&rows).iter().for_each(|line| output::answer(line));
    if let Some(words) = words {
        output::answer(&format!("  {}", output::printable(&password::words::joined(&words))));
    }
    Ok(())
}

/// The command line that stands for a profile with a command.
fn words(profiles: &Profiles, name: &str, command: &[String]) -> Result<Vec<String>> {
    let call = profiles.words(name, command)?;
    let start = format!("--{REPOSITORY}=");
    let word = |word: &std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        word.strip_prefix(&start).map(|place| start.clone() + &without_secrets(place)).unwrap_or(word)
    };
    Ok(call.words.iter().map(word).collect())
}

fn row(profiles: &Profiles, name: &str, one: &Given) -> Json {
    let Setting { table, key, value, line } = &one.setting;
    let command = match table {
        Table::Command(command) => Some(command.clone()),
        Table::Retention => Some(options::FORGET.to_owned()),
        Table::Repository => None,
        Table::Top => match profiles.options().owner(key) {
            options::Owner::One(command) => Some(command),
            _ => None,
        },
    };
    let value = match value {
        Value::Truth(truth) => json!(truth),
        Value::One(text) if key == REPOSITORY => json!(without_secrets(text)),
        Value::One(text) => json!(text),
        Value::Many(texts) if key == REPOSITORY => {
            json!(texts.iter().map(|text| without_secrets(text)).collect::<Vec<String>>())
        }
        Value::Many(texts) => json!(texts),
    };
    json!({
        "type": "setting",
        "profile": name,
        "command": command,
        "key": key,
        "value": value,
        "section": one.section,
        "line": line,
    })
}

fn in_words(key: &str, value: &Value) -> String {
    match value {
        Value::Truth(truth) => truth.to_string(),
        Value::One(text) if key == REPOSITORY => without_secrets(text),
        Value::One(text) => text.clone(),
        Value::Many(texts) if key == REPOSITORY => {
            let shown: Vec<String> = texts.iter().map(|text| without_secrets(text)).collect();
            shown.join(", ")
        }
        Value::Many(texts) => password::words::joined(texts),
    }
}

/// A place as it may be shown.
fn without_secrets(place: &str) -> String {
    location::Location::parse(OsStr::new(place))
        .map_or_else(|_| HIDDEN.to_owned(), |location| location.to_string())
}
