//! The program `icecore`: reads the command line and the environment, calls the library, and says how it went.

mod cache;
mod cli;
mod exit;
mod location;
mod machine;
mod output;
mod password;
mod progress;
mod seen;
mod signals;
mod transfer;

use clap::Parser;
use icecore::error::{Error, Kind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse_from(cli::typed()) {
        Ok(arguments) => arguments,
        Err(error) => return exit::misused(&error),
    };
    let stop = match signals::install() {
        Ok(stop) => stop,
        Err(error) => return exit::failed(&arguments.global, &error),
    };
    signals::raise_file_limit();
    match cli::run(&arguments, stop) {
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
