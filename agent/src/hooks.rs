//! Commands that a user has run around a command of this program: before it, after it, when it has failed, and in any case.
//!
//! They are options like any other, and so keys of profiles. Each is split into words as `--password-command` is; no shell reads it,
//! unless the user writes one. What they print goes to standard error. Invariants: nothing begins when a `before` has failed; a
//! `finally` is run whenever a `before` was to be; none outlives its time, nor a wish to stop.

use crate::cli::Context;
use crate::password::{self, words};
use crate::{exit, output};
use clap::Args;
use icecore::error::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a wait looks whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long a command may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What is run around a command.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Commands that are run around this one")]
pub struct HookArguments {
    /// Run this first; when it fails, nothing else is done. No shell reads it (sh -c '…' is one); may be repeated, as those below
    #[arg(long, value_name = "COMMAND", display_order = 80)]
    before: Vec<OsString>,
    /// Run this when all is done
    #[arg(long, value_name = "COMMAND", display_order = 81)]
    after: Vec<OsString>,
    /// Run this when something has failed
    #[arg(long, value_name = "COMMAND", display_order = 82)]
    failed: Vec<OsString>,
    /// Run this last, however it went
    #[arg(long, value_name = "COMMAND", display_order = 83)]
    finally: Vec<OsString>,
    /// End each of these that takes longer
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..), display_order = 84)]
    hook_timeout: u32,
}

/// What a command is told of the run that it stands around.
struct Told<'a> {
    hook: &'static str,
    command: &'static str,
    status: Option<u8>,
    error: Option<&'a Error>,
}

/// Does `work`, with what is to be run around it. A rehearsal is done alone.
///
/// # Errors
/// That of the work; else that of the first command that failed.
pub fn around(
    context: &Context<'_>,
    command: &'static str,
    hooks: &HookArguments,
    is_rehearsal: bool,
    work: impl FnOnce() -> Result<ExitCode>,
) -> Result<ExitCode> {
    let all = [&hooks.before, &hooks.after, &hooks.failed, &hooks.finally];
    if is_rehearsal || all.iter().all(|commands| commands.is_empty()) {
        return work();
    }
    // What is no command is said before anything is done.
    all.iter().flat_map(|commands| commands.iter()).try_for_each(|line| split(line).map(drop))?;
    let run = |hook, lines: &[OsString], status, error: Option<&Error>| {
        let told = Told { hook, command, status, error };
        lines.iter().try_for_each(|line| run(context, hooks, line, &told))
    };
    let mut outcome = run("before", &hooks.before, None, None).and_then(|()| work());
    let is_done = |outcome: &Result<ExitCode>| {
        outcome.as_ref().is_ok_and(|code| matches!(exit::number(*code), 0 | exit::INCOMPLETE))
    };
    if is_done(&outcome)
        && let Ok(code) = outcome
        && let Err(error) = run("after", &hooks.after, Some(exit::number(code)), None)
    {
        outcome = Err(error);
    }
    let status = match &outcome {
        Ok(code) => exit::number(*code),
        Err(error) => exit::status(error),
    };
    // What goes wrong here is told, and changes a good end alone.
    let mut wrong = Vec::new();
    if !is_done(&outcome) {
        wrong.extend(run("failed", &hooks.failed, Some(status), outcome.as_ref().err()).err());
    }
    wrong.extend(run("finally", &hooks.finally, Some(status), outcome.as_ref().err()).err());
    for error in wrong {
        match is_done(&outcome) {
            true => outcome = Err(error),
            false => output::warning(&format!("icecore: {error}")),
        }
    }
    outcome
}

fn split(line: &OsString) -> Result<Vec<OsString>> {
    let words = words::split(line)?;
    match words.is_empty() {
        true => Err(Error::invalid("a command of no words:", format!("{:?}", line.display().to_string()))),
        false => Ok(words),
    }
}

fn run(context: &Context<'_>, hooks: &HookArguments, line: &OsString, told: &Told<'_>) -> Result<()> {
    let words = split(line)?;
    let shown = words[0].display().to_string();
    let failed = |e| Error::io(format!("cannot run what is to be run {}:", told.hook), &shown, e);
    // Standard output is for the answer of this program.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
    let mut command = Command::new(&words[0]);
    password::hide_from(&mut command);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(stderr).process_group(0);
    command.env("ICECORE_HOOK", told.hook).env("ICECORE_HOOK_COMMAND", told.command);
    if let Some(status) = told.status {
        command.env("ICECORE_HOOK_STATUS", status.to_string());
    }
    if let Some(error) = told.error {
        command.env("ICECORE_HOOK_ERROR", error.to_string());
    }
    let mut child = command.spawn().map_err(failed)?;
    let limit = Duration::from_secs(u64::from(hooks.hook_timeout));
    // Whoever asked to stop has been heard by then, and what is to be run last still is.
    let stop = (told.hook == "before").then_some(context.stop.as_ref());
    let status = wait(&mut child, limit, stop).map_err(|error| error.while_doing(told.hook, &shown))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(Kind::Io, format!("what was to be run {} failed:", told.hook))
            .on(shown)
            .because(status.to_string())),
    }
}

/// Waits for the end of a command that leads a group, and ends it when its time is over, or somebody wishes to stop.
///
/// # Errors
/// `Interrupted`; when it took too long.
pub fn wait(child: &mut Child, limit: Duration, stop: Option<&AtomicBool>) -> Result<ExitStatus> {
    let failed = |e| Error::io("cannot wait for", "it", e);
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            end(child);
            return Err(Error::interrupted());
        }
        if begun.elapsed() >= limit {
            end(child);
            return Err(Error::new(Kind::Io, "took longer than")
                .on(format!("{} seconds, and was ended", limit.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends it with all that it started: first asked, then by force.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    // It may have ended by itself.
    signal(Signal::TERM);
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < GRACE {
        std::thread::sleep(LOOK);
    }
    signal(Signal::KILL);
    child.wait().map(drop).unwrap_or(());
}
