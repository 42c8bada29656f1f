//! The command line: what was typed, one file per command. The doc comments here are the help.

pub mod backup;
mod benchmark;
mod check;
mod config;
mod copy;
mod diff;
mod dump;
mod entry;
mod find;
mod forget;
mod info;
mod init;
mod key;
mod list;
mod ls;
pub mod repository;
pub mod restore;
mod source;
mod stats;
mod storage;
mod sync;
mod which;

use repository::RepositoryArguments;

use crate::hooks::around;
use crate::mirror::Mirrors;
use crate::profile::Environment;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use icecore::error::{Error, Result};
use icecore::spool::Scratch;
use icecore::time::FileTime;
use rustix::time::ClockId;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Back up file trees, and get them back.
///
/// A repository is a folder that holds backups, encrypted under a password:
///
///   icecore init -r /srv/backups
///   icecore backup -r /srv/backups ~/docs
///   icecore list -r /srv/backups
///   icecore restore -r /srv/backups --target /tmp/back latest
///
/// The password is asked for, or comes from ICECORE_PASSWORD,
/// ICECORE_PASSWORD_FILE or ICECORE_PASSWORD_COMMAND.
///
/// What is typed every time can be kept in a file, under a name: a profile.
/// `icecore help config` says how.
///
///   icecore backup @nightly
///   icecore restore @nightly --target /tmp/back
///
/// `icecore agent`, or the program under the name freezer-agent, takes the
/// options of OpenStack Freezer's agent: `icecore agent --help`.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but not with all: some
/// of the source could not be read, or one of several places not reached,
/// 10 no repository, 11 busy, 12 wrong password, 130 interrupted.
#[derive(Parser)]
#[command(name = "icecore", version, verbatim_doc_comment, max_term_width = 110)]
pub struct Arguments {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Clone)]
pub struct Global {
    /// Print JSON lines for programs instead of text for people
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
    /// Print only errors and answers
    #[arg(short, long, global = true, display_order = 101)]
    pub quiet: bool,
    /// Take the profiles that are named from this file [env: ICECORE_CONFIG; else icecore.toml in ~/.config/icecore or
    /// /etc/icecore]
    #[arg(long, global = true, value_name = "FILE", display_order = 102)]
    pub config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Backup(Box<backup::Arguments>),
    Restore(Box<restore::Arguments>),
    List(list::Arguments),
    Ls(ls::Arguments),
    Find(find::Arguments),
    Diff(diff::Arguments),
    Dump(dump::Arguments),
    Check(check::Arguments),
    Copy(Box<copy::Arguments>),
    Forget(forget::Arguments),
    Sync(sync::Arguments),
    Info(info::Arguments),
    Stats(stats::Arguments),
    Key(key::Arguments),
    Benchmark(benchmark::Arguments),
    Config(config::Arguments),
    Storage(storage::Arguments),
}

/// A command line in a form that has one meaning.
pub fn meant(words: Vec<OsString>) -> Vec<OsString> {
    restore::with_joined_overwrite(words.into_iter())
}

/// Does what was asked for.
pub fn run(arguments: &Arguments, stop: Arc<AtomicBool>, environment: Environment) -> Result<ExitCode> {
    let context = Context { global: &arguments.global, stop, environment, mirrors: Mirrors::default() };
    // What is run after a command knows also how its mirrors came out of it.
    let settled = |outcome| context.mirrors.settle(&context, outcome);
    let outcome = match &arguments.command {
        Command::Init(command) => init::run(&context, command),
        Command::Backup(command) => around(&context, "backup", &command.hooks, command.dry_run, || {
            settled(backup::run(&context, command))
        }),
        Command::Restore(command) => restore::run(&context, command),
        Command::List(command) => list::run(&context, command),
        Command::Ls(command) => ls::run(&context, command),
        Command::Find(command) => find::run(&context, command),
        Command::Diff(command) => diff::run(&context, command),
        Command::Dump(command) => dump::run(&context, command),
        Command::Check(command) => {
            around(&context, "check", &command.hooks, false, || settled(check::run(&context, command)))
        }
        Command::Copy(command) => around(&context, "copy", &command.hooks, command.dry_run, || {
            settled(copy::run(&context, command))
        }),
        Command::Forget(command) => around(&context, "forget", &command.hooks, command.dry_run, || {
            settled(forget::run(&context, command))
        }),
        Command::Sync(command) => sync::run(&context, command),
        Command::Info(command) => info::run(&context, command),
        Command::Stats(command) => stats::run(&context, command),
        Command::Key(command) => key::run(&context, command),
        Command::Benchmark(command) => benchmark::run(&context, command),
        Command::Config(command) => config::run(&context, command),
        Command::Storage(command) => storage::run(&context, command),
    };
    settled(outcome)
}

/// What the words of a backup say.
///
/// # Errors
/// `Invalid` when they are not those of one.
pub fn backup_of(words: Vec<OsString>) -> Result<Box<backup::Arguments>> {
    match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
        Ok(Command::Backup(command)) => Ok(command),
        other => Err(misunderstood(other.err())),
    }
}

/// What the words of a restore say.
///
/// # Errors
/// `Invalid` when they are not those of one.
pub fn restore_of(words: Vec<OsString>) -> Result<Box<restore::Arguments>> {
    match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
        Ok(Command::Restore(command)) => Ok(command),
        other => Err(misunderstood(other.err())),
    }
}

fn misunderstood(error: Option<clap::Error>) -> Error {
    let said = error.map(|error| error.to_string()).unwrap_or_default();
    let said = said.lines().next().unwrap_or_default();
    Error::invalid("cannot be said in options of icecore:", said.strip_prefix("error: ").unwrap_or(said))
}

/// What every command is given.
pub struct Context<'a> {
    /// What every command understands.
    pub global: &'a Global,
    /// Raised by Ctrl-C.
    pub stop: Arc<AtomicBool>,
    /// What the profile says of the environment.
    pub environment: Environment,
    /// Repositories that are in several storages at once.
    pub mirrors: Mirrors,
}

impl Context<'_> {
    /// The same for a repository that no profile names.
    pub fn without_profile(&self) -> Context<'_> {
        Context {
            global: self.global,
            stop: Arc::clone(&self.stop),
            environment: Environment::default(),
            mirrors: Mirrors::default(),
        }
    }
}

/// Which series of backups.
#[derive(Args)]
pub struct SeriesArguments {
    /// Only backups of this name
    #[arg(long)]
    name: Option<String>,
    /// Only backups of this host
    #[arg(long)]
    host: Option<String>,
    /// Only backups made by this engine
    #[arg(long)]
    engine: Option<String>,
}

impl SeriesArguments {
    fn filter(&self) -> icecore::select::Filter {
        icecore::select::Filter {
            name: self.name.clone(),
            host: self.host.clone(),
            engine: self.engine.clone(),
            ..Default::default()
        }
    }
}

/// Which backups of a series.
#[derive(Args)]
pub struct DetailArguments {
    /// Only backups of this path, as it was given then
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Only backups with this tag; given several times, those with all of them
    #[arg(long)]
    tag: Vec<String>,
}

impl DetailArguments {
    /// Narrows `filter`.
    fn narrow(&self, filter: icecore::select::Filter) -> Result<icecore::select::Filter> {
        let path = self.path.as_deref().map(absolute).transpose()?;
        let path = path.map(|path| path.into_os_string().into_encoded_bytes());
        Ok(icecore::select::Filter { path, tags: self.tag.clone(), ..filter })
    }
}

/// The path as the library wants it: absolute, so that nothing depends on the working directory, and without a slash at its
/// end, so that one that was completed with a slash is the path it was before.
pub fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    let whole = std::path::absolute(path);
    let whole = whole.map_err(|e| Error::io("cannot make absolute", path.display().to_string(), e))?;
    Ok(whole.components().collect())
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The time now, from the clock that the kernel stamps files with.
pub fn now() -> FileTime {
    let time = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    FileTime::new(time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How many threads can work at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where what outgrows memory goes.
fn scratch() -> Scratch {
    Scratch::new(std::env::temp_dir())
}

/// Random bytes for the identity of a new repository.
fn entropy() -> Result<[u8; 32]> {
    use std::io::Read;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::io("cannot read", "/dev/urandom", e))?;
    Ok(bytes)
}

/// Parses a time for an option: RFC 3339, `@` and seconds since 1970, or a date, with or without a time of day, in the time zone of
/// this machine. A date alone is its first moment.
fn parse_time(text: &str) -> Result<icecore::time::Timestamp, String> {
    parse_time_in(text, &jiff::tz::TimeZone::system())
}

fn parse_time_in(text: &str, zone: &jiff::tz::TimeZone) -> Result<icecore::time::Timestamp, String> {
    let found = |time: jiff::Timestamp| Ok(icecore::time::Timestamp(time.as_second()));
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds
            .parse()
            .map(icecore::time::Timestamp)
            .map_err(|_| format!("{text:?} is not @ and a number of seconds"));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return found(time);
    }
    // What names a zone in another way is not read as if it named none.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:T ".contains(&byte));
    let local = text.parse::<jiff::civil::DateTime>().ok().filter(|_| is_plain);
    match local.and_then(|local| zone.to_timestamp(local).ok()) {
        Some(time) => found(time),
        None => Err(format!(
            "{text:?} is not a time such as 2026-11-24 or 2026-11-24T18:00 (in the time zone of this machine), \
             2026-11-24T18:00:00Z, 2026-11-24T18:00:00+02:00 or @1795485914"
        )),
    }
}

/// Reads a value of an option. What the library advises about a wrong one is said, too.
///
/// # Errors
/// What is wrong, in words.
pub fn explained<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| match error.advice() {
        Some(hint) => format!("{error}\n  {hint}"),
        None => error.to_string(),
    })
}

/// The engines there are.
fn engine_names() -> PossibleValuesParser {
    PossibleValuesParser::new(icecore::engine::ENGINES.iter().map(|engine| engine.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn times_without_a_zone_are_those_of_this_machine() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        for (text, seconds) in [
            ("2026-11-24T18:00:00Z", 1_795_543_200),
            ("2026-11-24T18:00:00+02:00", 1_795_536_000),
            ("2026-11-24T18:00", 1_795_536_000),
            ("2026-11-24 18:00:00", 1_795_536_000),
            ("2026-11-24", 1_795_471_200),
            ("@17", 17),
        ] {
            assert_eq!(parse_time_in(text, &zone), Ok(icecore::time::Timestamp(seconds)), "{text}");
        }
        for text in [
            "",
            "2026",
            "18:00",
            "2026-13-01",
            "2026-11-24T18:00[Europe/Berlin]",
            "yesterday",
            "2026-11-24T18:00+",
        ] {
            assert!(parse_time_in(text, &zone).is_err(), "{text}");
        }
    }

    #[test]
    fn options_stand_under_a_heading_that_is_about_them() {
        const OF_STORAGES: [&str; 7] =
            ["timeout", "retries", "connections", "limit_upload", "limit_download", "cache_dir", "no_cache"];
        let mut commands: Vec<clap::Command> = Arguments::command().get_subcommands().cloned().collect();
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                let is_there = argument.get_help_heading() == Some(crate::transfer::ELSEWHERE);
                let name = argument.get_id().as_str();
                assert_eq!(is_there, OF_STORAGES.contains(&name), "{}: {name}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
