//! The program `icecore`: reads the command line and the environment, calls the library, and says how it went.

mod cache;
mod cli;
mod exit;
mod freezer;
mod hooks;
mod ini;
mod keys;
mod location;
mod machine;
mod mirror;
mod mode;
mod output;
mod password;
mod profile;
mod progress;
mod seen;
mod signals;
mod states;
mod still;
mod transfer;
mod volume;

use clap::Parser;
use cli::Arguments;
use icecore::error::{Error, Kind};
use profile::{Call, Used};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    if let Some(words) = freezer::words(&typed) {
        return freezer::run(words);
    }
    let typed = profile::in_order(typed);
    let global = profile::guessed(&typed);
    let calls = match profile::calls(typed) {
        Ok(calls) => calls,
        Err(error) => return exit::failed(&global, &error),
    };
    // Nothing is done before everything that is to be done is known to be meant.
    let mut parsed = Vec::with_capacity(calls.len());
    for Call { words, profile } in calls {
        match Arguments::try_parse_from(cli::meant(words)) {
            Ok(arguments) => parsed.push((arguments, profile)),
            Err(error) => return exit::misused(&error, profile.as_ref()),
        }
    }
    let stop = match signals::install() {
        Ok(stop) => stop,
        Err(error) => return exit::failed(&global, &error),
    };
    signals::raise_file_limit();
    match parsed.as_slice() {
        [(arguments, used)] => run(arguments, used.as_ref(), &stop),
        several => run_all(several, &stop),
    }
}

/// Runs one after the other, also when one fails; each is told apart from the next.
fn run_all(all: &[(Arguments, Option<Used>)], stop: &Arc<AtomicBool>) -> ExitCode {
    let mut together = exit::Together::default();
    for (arguments, used) in all {
        let name = used.as_ref().map_or("", |used| &used.name);
        if stop.load(Ordering::Relaxed) {
            output::warning(&format!("icecore: interrupted; not run: @{name}"));
            together.add(exit::interrupted());
            continue;
        }
        output::begin_profile(&arguments.global, name);
        let code = run(arguments, used.as_ref(), stop);
        together.add(code);
        output::end_profile(&arguments.global, name, exit::number(code));
    }
    together.status()
}

fn run(arguments: &Arguments, used: Option<&Used>, stop: &Arc<AtomicBool>) -> ExitCode {
    let notes = used.map(|used| used.notes.as_slice()).unwrap_or_default();
    notes.iter().for_each(|note| output::remark(&arguments.global, note));
    let environment = used.map(|used| Arc::clone(&used.environment)).unwrap_or_default();
    match cli::run(arguments, Arc::clone(stop), environment) {
        // What was asked for was done; but whoever reads the answer later would take a part for the whole.
        Ok(_) if output::unwritten() => {
            let error = Error::new(
                Kind::Io,
                "the work is done, but the answer could not all be written to standard output",
            );
            exit::failed(&arguments.global, &error)
        }
        Ok(code) => code,
        Err(error) => exit::failed(&arguments.global, &error),
    }
}
