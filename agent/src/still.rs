//! A source that stands still while it is read: an application is prepared ([`mode`](crate::mode)), a snapshot of the volume is taken
//! ([`volume`](crate::volume)), and with it the application goes on; else it goes on when everything is read.
//!
//! Invariants: all of it is undone again, in the order against that in which it was done, however the run ends; a backup is committed
//! only when everything is found as it was made ([`Still::confirm`]).

use crate::cli::{Context, now};
use crate::mode::{ModeArguments, Prepared, Reading};
use crate::output;
use crate::volume::{Snapshot, VolumeArguments};
use clap::Args;
use icecore::error::{Error, Kind, Result};
use icecore::time::FileTime;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// How the source is made to stand still.
#[derive(Args)]
pub struct StillArguments {
    #[command(flatten)]
    mode: ModeArguments,
    #[command(flatten)]
    volume: VolumeArguments,
}

/// What has been done to the source.
#[derive(Default)]
pub struct Still {
    prepared: Mutex<Option<Box<dyn Prepared>>>,
    snapshot: Option<Snapshot>,
    since: Option<FileTime>,
}

impl StillArguments {
    /// Looks whether the words go together, before anything is done.
    ///
    /// # Errors
    /// `Invalid` when they do not.
    pub fn check(&self) -> Result<()> {
        self.mode.check()?;
        self.volume.check()
    }

    /// Whether paths are read from a snapshot of their volume.
    pub fn wants_snapshot(&self) -> bool {
        self.volume.is_wanted()
    }

    /// Prepares what is to be read.
    ///
    /// # Errors
    /// When it cannot be prepared.
    pub fn prepare(&self, context: &Context<'_>) -> Result<Still> {
        let reading = if self.wants_snapshot() { Reading::Snapshot } else { Reading::Files };
        let prepared = self.mode.prepare(context, reading)?;
        Ok(Still { prepared: Mutex::new(prepared), ..Still::default() })
    }
}

impl Still {
    /// Takes the snapshot, if one is asked for, and lets the application go on. Where to read the paths from then.
    ///
    /// # Errors
    /// When there is no snapshot, or the application was no longer as it was prepared when there was.
    pub fn take(
        &mut self,
        context: &Context<'_>,
        arguments: &StillArguments,
        paths: &[PathBuf],
        one_file_system: bool,
    ) -> Result<Vec<PathBuf>> {
        if !arguments.wants_snapshot() {
            return Ok(paths.to_vec());
        }
        // Before it is taken: what changes from now on may be in it, or not, and is looked at again by the next backup.
        self.since = Some(now());
        let snapshot = self.snapshot.insert(arguments.volume.take(context, paths, one_file_system)?);
        let read = snapshot.paths().to_vec();
        let prepared = self.prepared.get_mut().unwrap_or_else(PoisonError::into_inner);
        prepared.take().map_or(Ok(()), Prepared::release)?;
        Ok(read)
    }

    /// Since when nothing changes.
    pub fn since(&self) -> Option<FileTime> {
        self.since
    }

    /// The number of the device that stands for another one, of which the snapshot is.
    pub fn device_for(&self, device: u64) -> Option<u64> {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.device_for(device))
    }

    /// Whether everything is as it was made.
    ///
    /// # Errors
    /// When it is not.
    pub fn confirm(&self) -> Result<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.as_mut().map_or(Ok(()), |prepared| prepared.confirm())?;
        self.snapshot.as_ref().map_or(Ok(()), Snapshot::confirm)
    }

    /// The failure of a run, which may be that of the snapshot that it read: then it is said so.
    pub fn explained(&self, error: Error) -> Error {
        let snapshot = self.snapshot.as_ref().filter(|_| error.kind() != Kind::Interrupted);
        match snapshot.map(Snapshot::confirm) {
            Some(Err(cause)) if cause.kind() == Kind::NoSpace => cause,
            _ => error,
        }
    }

    /// Undoes all of it.
    ///
    /// # Errors
    /// For what cannot be undone, with what the user can do about it.
    pub fn end(mut self) -> Result<()> {
        let prepared = self.prepared.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // What was read has been confirmed by now, or does not count.
        if let Some(Err(error)) = prepared.map(Prepared::release) {
            output::warning(&format!("warning: {error}"));
        }
        self.snapshot.take().map_or(Ok(()), Snapshot::remove)
    }
}

/// How a run went that has to be undone: what cannot be is told beside a failure of its own, and comes behind what went well.
pub fn settled<T>(outcome: Result<T>, ended: Result<()>) -> Result<(T, Option<Error>)> {
    match outcome {
        Ok(done) => Ok((done, ended.err())),
        Err(error) => {
            if let Err(left) = ended {
                output::besides(&left);
            }
            Err(error)
        }
    }
}
