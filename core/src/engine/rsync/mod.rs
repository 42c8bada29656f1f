//! The `rsync` engine: levels that hold, of every file that changed, what no block of its older content has.
//!
//! A level is a stream with new contents ([`stream`]) and, as engine metadata, a [`state`]: the whole tree as it is then, with
//! the [`signature`] of every file. The next level needs the state alone. `docs/format/rsync.md` has the details.
//!
//! The pure parts: [`rolling`] is the weak sum, [`signature`] the sums of all blocks, [`blocks`] finds one of them, [`delta`]
//! finds all that a newer content has. `base` and `content` are the level below and the files of the one that is made.
//!
//! What Freezer's engines of that name have stored is of another form, and only read ([`freezer`]).

mod backup;
mod base;
pub mod blocks;
mod content;
pub mod delta;
pub mod freezer;
mod restore;
pub mod rolling;
pub mod signature;
pub mod state;
pub mod stream;
#[cfg(test)]
mod tests;
mod tree;

use super::{BackupJob, Chain, Engine, Found, Reading, RestoreJob, StreamEngine, Way};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::spool::{Scratch, Spool};
use crate::tree::target::Target;

/// What the engine is called.
pub const NAME: &str = "rsync";

/// The `rsync` engine.
pub struct Rsync;

impl Engine for Rsync {
    fn name(&self) -> &'static str {
        NAME
    }

    fn way(&self) -> Way<'_> {
        Way::Levels(self)
    }
}

impl StreamEngine for Rsync {
    fn backup(&self, job: BackupJob<'_>, out: &mut BlockWriter<'_>) -> Result<Spool> {
        backup::run(job, out)
    }

    fn restore(
        &self,
        job: RestoreJob<'_>,
        chain: &mut dyn Chain,
        target: Option<&mut Target<'_>>,
    ) -> Result<()> {
        if is_ours(chain)? { restore::run(job, chain, target) } else { freezer::restore(job, chain, target) }
    }

    fn verify(&self, chain: &mut dyn Chain, monitor: &dyn Monitor) -> Result<()> {
        if !chain.by_icecore(0) {
            return freezer::verify(chain, monitor);
        }
        chain.stream(0, &mut |input| stream::verify(input, monitor).map(|()| Reading::ToTheEnd))
    }

    fn never_stored(&self, chain: &mut dyn Chain, monitor: &dyn Monitor) -> Result<Vec<String>> {
        freezer::never_stored(chain, monitor)
    }

    fn tree(
        &self,
        chain: &mut dyn Chain,
        scratch: &Scratch,
        monitor: &dyn Monitor,
        found: Found<'_>,
    ) -> Result<()> {
        match is_ours(chain)? {
            true => tree::run(chain, scratch, monitor, found),
            false => freezer::tree(chain, monitor, found),
        }
    }

    fn continues_foreign(&self) -> bool {
        false
    }
}

/// Whether Icecore has made the levels, and not Freezer.
///
/// # Errors
/// `Damaged` where both have.
fn is_ours(chain: &dyn Chain) -> Result<bool> {
    match (0..chain.levels()).filter(|level| chain.by_icecore(*level)).count() {
        0 => Ok(false),
        ours if ours == chain.levels() => Ok(true),
        _ => Err(Error::damaged("levels of Icecore's and of Freezer's rsync engines in one", "chain")),
    }
}

/// The path of an entry.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
