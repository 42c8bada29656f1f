//! The `rsync` engine. What Freezer's engines of that name have stored is read ([`freezer`]).

pub mod freezer;

use super::{BackupJob, Chain, Engine, RestoreJob, StreamEngine, Way};
use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::spool::Spool;
use crate::tree::target::Target;
use std::io::Read;

/// The `rsync` engine.
pub struct Rsync;

impl Engine for Rsync {
    fn name(&self) -> &'static str {
        "rsync"
    }

    fn way(&self) -> Way<'_> {
        Way::Levels(self)
    }
}

impl StreamEngine for Rsync {
    fn backup(&self, _job: BackupJob<'_>, _out: &mut BlockWriter<'_>) -> Result<Spool> {
        Err(Error::new(Kind::Unsupported, "backups of Freezer's are read, and not made, by the engine")
            .on("rsync"))
    }

    fn restore(
        &self,
        job: RestoreJob<'_>,
        chain: &mut dyn Chain,
        target: Option<&mut Target<'_>>,
    ) -> Result<()> {
        freezer::restore(job, chain, target)
    }

    fn verify(&self, input: &mut dyn Read, monitor: &dyn Monitor) -> Result<()> {
        freezer::verify(input, monitor)
    }
}
