//! The program `icecore`: reads the command line and the environment, calls the library, and says how it went.

mod cli;
mod exit;
mod output;
mod progress;
mod signals;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::misused(&error),
    };
    let stop = match signals::install() {
        Ok(stop) => stop,
        Err(error) => return exit::failed(&arguments.global, &error),
    };
    signals::raise_file_limit();
    match cli::run(&arguments, stop) {
        Ok(code) => code,
        Err(error) => exit::failed(&arguments.global, &error),
    }
}
