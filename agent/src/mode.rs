//! Modes: what is done to an application before its files are read, so that they are of one moment, and undone behind it.
//!
//! A mode a file, and one list, [`MODES`], from which help and tests are made. Invariants: whatever has been prepared is released,
//! however the run ends; and a backup is committed only after what was prepared has been found as it was.

mod fs;
mod mysql;

use crate::cli::Context;
use clap::Args;
use clap::builder::PossibleValuesParser;
use icecore::error::{Error, Result};
use std::path::PathBuf;

/// Something that can be made consistent.
pub trait Mode: Sync {
    /// The word for it.
    fn name(&self) -> &'static str;

    /// What it does, in a few words.
    fn about(&self) -> &'static str;

    /// Makes it so, and keeps it so until what is given back is released or dropped.
    ///
    /// # Errors
    /// When it cannot be made so, or not in time: then nothing is left of the attempt.
    fn prepare(
        &self,
        context: &Context<'_>,
        arguments: &ModeArguments,
        reading: Reading,
    ) -> Result<Box<dyn Prepared>>;
}

/// What has been made consistent. Dropped, it lets go of it without a word.
pub trait Prepared: Send {
    /// Whether it still is, and was all the time.
    ///
    /// # Errors
    /// When it is not, or nobody can tell.
    fn confirm(&mut self) -> Result<()>;

    /// Lets go of it.
    ///
    /// # Errors
    /// When it was gone already: what was read since is not known to be consistent.
    fn release(self: Box<Self>) -> Result<()>;
}

/// What is read once an application is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Its files themselves, for as long as that takes.
    Files,
    /// A snapshot of the volume that they are on, taken in a moment.
    Snapshot,
}

/// The modes there are.
pub const MODES: [&dyn Mode; 2] = [&fs::Fs, &mysql::Mysql];

/// How to make an application consistent.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "What is read is of one moment")]
pub struct ModeArguments {
    #[arg(long, help = help(), value_name = "MODE", value_parser = names(), hide_possible_values = true, display_order = 70)]
    mode: Option<String>,
    /// How to reach the server: a file with lines host = …, port = …, user = …, password = …, or socket = …
    #[arg(long, value_name = "FILE", display_order = 71)]
    mysql_conf: Option<PathBuf>,
    /// How long statements that are under way may keep a server from being prepared
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400), display_order = 72)]
    lock_timeout: u32,
}

impl ModeArguments {
    /// Looks whether the words go together, before anything is done.
    ///
    /// # Errors
    /// `Invalid` when they do not; a file that cannot be read or understood.
    pub fn check(&self) -> Result<()> {
        let is_mysql = self.mode.as_deref() == Some(mysql::NAME);
        match &self.mysql_conf {
            Some(_) if !is_mysql => {
                Err(Error::invalid("means something only with --mode mysql:", "--mysql-conf"))
            }
            None if is_mysql => Err(Error::invalid("nothing says how to reach the server:", "--mysql-conf")),
            Some(file) => mysql::Login::read(file).map(drop),
            None => Ok(()),
        }
    }

    /// Prepares what is asked for, if anything is.
    ///
    /// # Errors
    /// As [`Mode::prepare`].
    pub fn prepare(&self, context: &Context<'_>, reading: Reading) -> Result<Option<Box<dyn Prepared>>> {
        let Some(name) = &self.mode else { return Ok(None) };
        let mode = MODES.iter().find(|mode| mode.name() == name);
        let mode = mode.ok_or_else(|| Error::invalid("there is no mode", name))?;
        mode.prepare(context, self, reading).map(Some)
    }
}

/// What the help says of them.
fn help() -> String {
    let modes: Vec<String> = MODES.iter().map(|mode| format!("{} ({})", mode.name(), mode.about())).collect();
    format!("Prepare what is read: {}", modes.join(", or "))
}

/// The words for them.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(MODES.iter().map(|mode| mode.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        mode: ModeArguments,
    }

    #[test]
    fn help_and_guide_name_every_mode() {
        let help = Line::command().render_long_help().to_string();
        let guide = include_str!("../../docs/guide/databases.md");
        for mode in MODES {
            assert!(help.contains(mode.name()), "{help}");
            let row = format!("| `{}` | {} |", mode.name(), mode.about());
            assert!(guide.contains(&row), "{row}");
        }
    }

    #[test]
    fn words_that_do_not_go_together_are_refused() {
        let conf = Some(PathBuf::from("/nowhere/at/all"));
        for (mode, mysql_conf, expected) in [
            (None, conf.clone(), "--mode mysql"),
            (Some("fs"), conf.clone(), "--mode mysql"),
            (Some("mysql"), None, "--mysql-conf"),
            (Some("mysql"), conf, "/nowhere/at/all"),
        ] {
            let mode = mode.map(str::to_owned);
            let error = ModeArguments { mode, mysql_conf, lock_timeout: 1 }.check().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        ModeArguments::default().check().unwrap();
    }
}
