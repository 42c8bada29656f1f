//! `freezer-agent`: the command line of Freezer's agent over the verbs of this program, for scripts and jobs that were written for it.
//!
//! The program does this when its file is called so, or as `icecore agent`. What was said is gathered first, from the command line,
//! the job file, the environment and the files of oslo's form ([`values`], [`files`]); then an action turns it into the words of a
//! verb, and the place of the repository ([`storage`]). Invariant: no action does by itself what a verb does; and where Freezer does
//! what it should not, this does not either (`docs/guide/from-freezer.md` has every difference).

mod admin;
mod answer;
mod backup;
mod dates;
mod files;
mod help;
mod info;
mod instead;
mod line;
mod options;
mod pipeline;
mod priority;
mod restore;
mod series;
mod storage;
mod values;

use crate::cli::{Context, Global};
use crate::location::Place;
use crate::mirror::Mirrors;
use crate::mode::MODES;
use crate::profile::Environment;
use crate::{exit, output, signals};
use files::Job;
use icecore::engine::rsync;
use icecore::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use values::{Source, Values, expanded};

/// What a file is called that is this program under Freezer's name.
const NAME: &[u8] = b"freezer-agent";

/// The variables that name proxies.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// The words behind the name of the program, when it is called as Freezer's agent.
pub fn words(typed: &[OsString]) -> Option<&[OsString]> {
    let file = Path::new(typed.first()?).file_name().unwrap_or(OsStr::new(""));
    if file.as_bytes().ends_with(NAME) {
        return typed.get(1..);
    }
    typed.get(1).filter(|word| *word == "agent").and(typed.get(2..))
}

/// What an action is given.
struct Session<'a> {
    context: &'a Context<'a>,
    values: &'a Values,
    job: &'a Job,
}

/// Does what the words say.
pub fn run(words: &[OsString]) -> ExitCode {
    let mut global = Global { json: false, quiet: false, config: None };
    let (values, job) = match gathered(words) {
        Ok(Gathered::Values(values, job)) => (values, job),
        Ok(Gathered::Answered(code)) => return code,
        Err(error) => {
            tell(&global, &error);
            return ExitCode::from(2);
        }
    };
    global.quiet = values.is_on("quiet");
    match act(&global, &values, &job) {
        Ok(code) => code,
        Err(error) => {
            tell(&global, &error);
            // As there: whatever fails is 1.
            ExitCode::from(if error.kind() == Kind::Interrupted { exit::status(&error) } else { 1 })
        }
    }
}

/// Says what failed, in Freezer's words.
fn tell(global: &Global, error: &Error) {
    output::note(global, &format!("Critical Error: {error}"));
    if let Some(hint) = error.advice() {
        output::note(global, &format!("  {hint}"));
    }
}

enum Gathered {
    Values(Values, Job),
    Answered(ExitCode),
}

/// All that was said.
fn gathered(words: &[OsString]) -> Result<Gathered> {
    let line = line::parse(words)?;
    if line.help || words.is_empty() {
        help::lines().iter().for_each(|line| output::answer(line));
        return Ok(Gathered::Answered(ExitCode::from(u8::from(!line.help))));
    }
    let mut values = Values::default();
    for typed in line.options {
        if let Some(option) = options::by_name(typed.name) {
            values.say(option, typed.value, Source::Line)?;
        }
    }
    if values.is_on("version") {
        output::answer(&format!("icecore {}", env!("CARGO_PKG_VERSION")));
        return Ok(Gathered::Answered(ExitCode::SUCCESS));
    }
    files::configure(&mut values)?;
    files::environment(&mut values)?;
    let job = match values.text("config") {
        Some(path) => files::job(&mut values, &expanded(&path))?,
        None => Job::default(),
    };
    Ok(Gathered::Values(values, job))
}

fn act(global: &Global, values: &Values, job: &Job) -> Result<ExitCode> {
    open_log(global, values);
    let action = values.text("action").unwrap_or_default();
    output::log(&format!("icecore {} as freezer-agent: {action}", env!("CARGO_PKG_VERSION")));
    use_proxy(values)?;
    if let Some(name) = job.storages.iter().map(|(name, _)| name).find(|name| name.is_empty()) {
        return Err(Error::invalid("a storage without a name:", format!("[storage:{name}]")));
    }
    let sections = job.storages.iter().map(|(_, section)| &section.values);
    for why in std::iter::once(values).chain(sections).flat_map(Values::without_effect) {
        output::note(global, &format!("warning: {why}"));
    }
    if values.is_said("max-priority") && values.text("max-priority").is_some() {
        priority::raise();
    }
    let stop = signals::install()?;
    signals::raise_file_limit();
    let context = Context { global, stop, environment: Environment::default(), mirrors: Mirrors::default() };
    let session = Session { context: &context, values, job };
    let outcome = match action.as_str() {
        "exec" => {
            let command = values
                .text("command")
                .ok_or_else(|| Error::invalid("nothing says what to run:", "--command"))?;
            pipeline::run(&command).map(|()| ExitCode::SUCCESS)
        }
        action => {
            values.refuse_missing()?;
            engine(values)?;
            match action {
                "backup" => backup::run(&session),
                "restore" => restore::run(&session),
                "admin" => admin::run(&session),
                _ => info::run(&session),
            }
        }
    };
    let outcome = context.mirrors.settle(&context, outcome);
    if outcome.is_ok() && output::unwritten() {
        return Err(Error::new(
            Kind::Io,
            "the work is done, but the answer could not all be written to standard output",
        ));
    }
    outcome
}

/// The engine of this program for that which is asked for: the one place that knows which there are, and of what.
fn engine(values: &Values) -> Result<&'static str> {
    match values.text("engine").as_deref() {
        Some("tar") => Ok("tar"),
        // On a storage both of Freezer's are called so. What they have stored is restored; what is made is Icecore's own.
        Some("rsync" | "rsyncv2") => Ok(rsync::NAME),
        other => Err(instead::engine(other.unwrap_or_default())),
    }
}

/// The mode that is asked for, if this program has it.
fn mode(values: &Values) -> Result<&'static str> {
    let wanted = values.text("mode").unwrap_or_default();
    let modes = MODES.map(|mode| mode.name());
    modes.into_iter().find(|name| *name == wanted).ok_or_else(|| instead::mode(&wanted, &modes))
}

/// Opens the log: the file that is named, or that of Freezer's agent. Without one it goes on, and says so.
fn open_log(global: &Global, values: &Values) {
    let Some(path) = log_path(values) else { return };
    let opened = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let opened = opened.and_then(|()| -> std::io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)
    });
    match opened {
        Ok(file) => output::log_to(file),
        Err(error) => {
            output::note(global, &format!("warning: nothing is logged: {}: {error}", path.display()))
        }
    }
}

/// Where the log is.
fn log_path(values: &Values) -> Option<PathBuf> {
    let folder = values.text("log-dir").map(|folder| expanded(&folder));
    match (values.text("log-file").map(|file| expanded(&file)), folder) {
        (Some(file), Some(folder)) => Some(folder.join(file)),
        (Some(file), None) => Some(file),
        (None, Some(folder)) => Some(folder.join("freezer-agent.log")),
        (None, None) => {
            let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
            Some(home.join(".freezer/freezer.log"))
        }
    }
}

/// Begins anew with the proxy in the environment, where every driver and every command that is started finds it.
fn use_proxy(values: &Values) -> Result<()> {
    if !values.is_said("proxy") {
        return Ok(());
    }
    let proxy = values.text("proxy");
    if proxy
        .as_ref()
        .is_some_and(|proxy| !["http://", "https://"].iter().any(|scheme| proxy.starts_with(scheme)))
    {
        // Without its value, which may hold a password.
        return Err(Error::invalid("a proxy begins with http:// or https://:", "--proxy"));
    }
    if PROXIES.iter().all(|name| std::env::var(name).ok() == proxy) {
        return Ok(());
    }
    let failed = |e| Error::io("cannot begin anew with", "--proxy", e);
    let mut typed = std::env::args_os();
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg0(typed.next().unwrap_or_else(|| OsStr::from_bytes(NAME).to_owned())).args(typed);
    for name in PROXIES {
        match &proxy {
            Some(proxy) => command.env(name, proxy),
            None => command.env_remove(name),
        };
    }
    Err(failed(command.exec()))
}

impl Session<'_> {
    /// The words of a verb, with how its storage is used.
    fn verb(&self, verb: &str) -> Result<Vec<OsString>> {
        self.verb_at(verb, &storage::places(self.values, self.job)?)
    }

    /// The same, of other places.
    fn verb_at(&self, verb: &str, places: &[Place]) -> Result<Vec<OsString>> {
        let mut words: Vec<OsString> = vec!["icecore".into(), verb.into()];
        words.extend(places.iter().map(|place| format!("--repository={}", place.location).into()));
        if let Some(seconds) = self.values.whole("timeout") {
            let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
            let seconds =
                seconds.ok_or_else(|| Error::invalid("not a number of seconds above 0:", "--timeout"))?;
            words.push(format!("--timeout={seconds}").into());
        }
        for (option, ours) in [("upload-limit", "--limit-upload"), ("download-limit", "--limit-download")] {
            if let Some(Some(bytes)) = self.values.text(option).and_then(|text| values::rate(&text)) {
                words.push(format!("{ours}={bytes}B").into());
            }
        }
        Ok(words)
    }
}

/// `--option=value`, whatever the value begins with.
fn word(option: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut word = OsString::from(option);
    word.push("=");
    word.push(value);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_knows_its_name() {
        let typed = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, expected) in [
            ("/usr/bin/freezer-agent --action info", Some("--action info")),
            ("freezer-agent", Some("")),
            ("./x-freezer-agent -h", Some("-h")),
            ("icecore agent --action info", Some("--action info")),
            ("icecore agent", Some("")),
            ("icecore list agent", None),
            ("icecore", None),
        ] {
            let typed = typed(line);
            let found = words(&typed).map(|words| words.join(OsStr::new(" ")));
            assert_eq!(found.as_deref(), expected.map(OsStr::new), "{line}");
        }
    }

    #[test]
    fn limits_and_patience_are_those_of_the_storage() {
        let words = |said: &[(&str, &str)]| -> Result<Vec<String>> {
            let mut values = Values::default();
            for (name, text) in said.iter().chain(&[("storage", "local"), ("container", "/c")]) {
                values.say(options::by_name(name).unwrap(), (*text).to_owned(), Source::Line)?;
            }
            let global = Global { json: false, quiet: false, config: None };
            let context = Context {
                global: &global,
                stop: std::sync::Arc::default(),
                environment: Environment::default(),
                mirrors: Mirrors::default(),
            };
            let session = Session { context: &context, values: &values, job: &Job::default() };
            Ok(session.verb("backup")?.into_iter().skip(2).map(|word| word.into_string().unwrap()).collect())
        };
        assert_eq!(words(&[]).unwrap(), ["--repository=/c", "--timeout=120"]);
        let said = [("timeout", "7"), ("upload-limit", "10K"), ("download-limit", "1 M")];
        let expected =
            ["--repository=/c", "--timeout=7", "--limit-upload=10240B", "--limit-download=1048576B"];
        assert_eq!(words(&said).unwrap(), expected);
        assert_eq!(words(&[("upload-limit", "-1")]).unwrap(), ["--repository=/c", "--timeout=120"]);
        for wrong in ["0", "-1", "99999999999"] {
            assert!(words(&[("timeout", wrong)]).unwrap_err().to_string().contains("--timeout"), "{wrong}");
        }
    }
}
