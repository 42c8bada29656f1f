//! The `dedup` engine: one ordered tree of entries for each backup, whose files point into chunks that all backups of the
//! repository share. `docs/format/dedup.md` has the details.

mod backup;
pub mod tree;

use super::{Engine, Made, ObjectBackup, ObjectEngine, RestoreJob, Way};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::index::Index;
use crate::repository::vault::{ChunkId, ChunkKind, Reader, Vault};
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
        _job: RestoreJob<'_>,
        _workers: usize,
        _vault: &Vault,
        _index: Arc<Index>,
        _root: &ChunkId,
        _target: Option<&mut Target<'_>>,
    ) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "restores by dedup are not built yet"))
    }
}

impl tree::Chunks for Reader<'_> {
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Reader::read(self, kind, id)
    }
}
