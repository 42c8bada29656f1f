//! The `dedup` engine: one ordered tree of entries for each backup, whose files point into chunks that all backups of the
//! repository share. `docs/format/dedup.md` has the details.

mod backup;
mod examine;
mod packs;
pub mod restore;
mod transfer;
pub mod tree;

use super::{
    Engine, Examination, Flaw, Made, ObjectBackup, ObjectEngine, RestoreJob, Transfer, Transferred, Way,
};
use crate::error::Result;
use crate::repository::vault::{ChunkId, ChunkKind, Index, Reader, Vault};
use crate::tree::target::Target;
use std::sync::Arc;

/// What the engine is called.
pub const NAME: &str = "dedup";

/// The `dedup` engine.
pub struct Dedup;

impl Engine for Dedup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn way(&self) -> Way<'_> {
        Way::Objects(self)
    }
}

impl ObjectEngine for Dedup {
    fn backup(&self, job: ObjectBackup<'_>, vault: &Vault) -> Result<Made> {
        backup::run(job, vault)
    }

    fn restore(
        &self,
        job: RestoreJob<'_>,
        workers: usize,
        vault: &Vault,
        index: Arc<Index>,
        root: &ChunkId,
        target: Option<&mut Target<'_>>,
    ) -> Result<()> {
        let plan = restore::Plan {
            wanted: job.wanted,
            overwrite: job.overwrite,
            delete: job.delete,
            read_data: true,
            verify: job.verify,
            keys: vault.keys(),
        };
        restore::run(plan, &Reader::new(vault, index), root, target, workers, job.monitor)
    }

    fn examine(&self, job: Examination<'_>, vault: &Vault) -> Result<Vec<Flaw>> {
        examine::run(job, vault)
    }

    fn transfer(&self, job: Transfer<'_>) -> Result<Transferred> {
        transfer::run(job)
    }
}

impl tree::Chunks for Reader<'_> {
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Reader::read(self, kind, id)
    }
}
