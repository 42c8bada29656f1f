//! Exit statuses, which are a contract (see the guide): 0 done, 1 failed, 2 usage, 3 done but not with all (some of the source
//! could not be read, or one of several places not reached), 10 no repository, 11 busy, 12 wrong password, 130 interrupted.

use crate::cli::Global;
use crate::output;
use crate::profile::Used;
use clap::error::ErrorKind;
use icecore::error::{Error, Kind};
use std::process::ExitCode;

/// Done, but some of the source could not be read, or one of several places not reached.
pub const INCOMPLETE: u8 = 3;

/// The user asked to stop.
const INTERRUPTED: u8 = 130;

/// The exit status of a failure.
pub fn status(error: &Error) -> u8 {
    match error.kind() {
        Kind::Invalid => 2,
        Kind::NoRepository => 10,
        Kind::Busy => 11,
        Kind::WrongPassword => 12,
        Kind::Interrupted => INTERRUPTED,
        _ => 1,
    }
}

/// Answers a command line that asks for help, or says what is wrong with it.
pub fn misused(error: &clap::Error, profile: Option<&Used>) -> ExitCode {
    output::usage(error);
    let is_typed = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    if let Some(profile) = profile.filter(|_| error.use_stderr() && !is_typed) {
        output::warning(&format!(
            "Some of the options come from @{} in {}.",
            profile.name,
            profile.file.display()
        ));
    }
    ExitCode::from(u8::from(error.use_stderr()) * 2)
}

/// The exit status of what the user stopped before it began.
pub fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// The number of an exit status.
pub fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

/// What several runs, one after the other, come to: the worst of them.
#[derive(Default)]
pub struct Together(Vec<u8>);

impl Together {
    /// Adds how one of them went.
    pub fn add(&mut self, code: ExitCode) {
        self.0.push(number(code));
    }

    /// Interrupted, if one was; failed as they failed, and with 1 when they failed in several ways; else incomplete, if one was.
    pub fn status(&self) -> ExitCode {
        let failed = |status: &&u8| !matches!(**status, 0 | INCOMPLETE);
        let mut failures = self.0.iter().filter(failed);
        let worst = match failures.next() {
            _ if self.0.contains(&INTERRUPTED) => INTERRUPTED,
            Some(first) if failures.all(|other| other == first) => *first,
            Some(_) => 1,
            None => self.0.iter().copied().max().unwrap_or(0),
        };
        ExitCode::from(worst)
    }
}

/// Says what failed and gives the exit status.
pub fn failed(global: &Global, error: &Error) -> ExitCode {
    let status = status(error);
    output::failure(global, error, status);
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_runs_counts() {
        for (statuses, expected) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[0, 3, 0], 3),
            (&[3, 10, 0], 10),
            (&[12, 12], 12),
            (&[12, 10], 1),
            (&[1, 3], 1),
            (&[2, 130], 130),
        ] {
            let mut together = Together::default();
            statuses.iter().for_each(|status| together.add(ExitCode::from(*status)));
            assert_eq!(together.status(), ExitCode::from(expected), "{statuses:?}");
        }
        assert_eq!(number(ExitCode::from(12)), 12);
    }
}
