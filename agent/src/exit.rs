//! Exit statuses, which are a contract (see the guide): 0 done, 1 failed, 2 usage, 3 done but some of the source could not be
//! read, 10 no repository, 11 busy, 12 wrong password, 130 interrupted.

use crate::cli::Global;
use crate::output;
use icecore::error::{Error, Kind};
use std::process::ExitCode;

/// Done, but some of the source could not be read.
pub const INCOMPLETE: u8 = 3;

/// The exit status of a failure.
pub fn status(error: &Error) -> u8 {
    match error.kind() {
        Kind::Invalid => 2,
        Kind::NoRepository => 10,
        Kind::Busy => 11,
        Kind::WrongPassword => 12,
        Kind::Interrupted => 130,
        _ => 1,
    }
}

/// Answers a command line that asks for help, or says what is wrong with it.
pub fn misused(error: &clap::Error) -> ExitCode {
    output::usage(error);
    ExitCode::from(u8::from(error.use_stderr()) * 2)
}

/// Says what failed and gives the exit status.
pub fn failed(global: &Global, error: &Error) -> ExitCode {
    let status = status(error);
    output::failure(global, error, status);
    ExitCode::from(status)
}
