//! Chains that Freezer's two rsync engines have written, read as `docs/format/freezer-rsync.md` says. Both stand under the
//! name `rsync`; the first byte of a level's stream tells which engine wrote it.
//!
//! A level holds records: entries that were new or had changed, with their content or with blocks of it, and paths that were
//! gone. [`read`] hands them out, whichever engine wrote them (`first`, `second`). A restore reads all levels twice: first
//! for a `plan` of what the last level comes to, then to write that (`replay`). So a stream that is not whole is known
//! before the target is touched, and nothing is written that a later level takes away.
//!
//! Invariants: whatever a stream says, nothing is written outside the target and no link is followed; bytes that were never
//! stored are not made up: a file that lacks any, or is not what the engine's own `record` of it says, is told by
//! name and does not stand in the target.

mod first;
mod msgpack;
mod plan;
mod replay;
mod second;
mod signatures;
mod stored;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

pub use stored::{Blocks, Content, Entry, Record, What};
pub use stream::{Dialect, Level, read, survey};

use crate::engine::{Chain, Found, RestoreJob};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::tree::target::Target;
use std::io::Read;

/// Applies the levels of a chain of Freezer's to `target` (`None`: reads and counts, writes nothing).
///
/// # Errors
/// `Damaged` streams, a full target, `Interrupted`. What concerns one path is a problem told to the monitor.
pub fn restore(job: RestoreJob<'_>, chain: &mut dyn Chain, target: Option<&mut Target<'_>>) -> Result<()> {
    replay::run(job, chain, target)
}

/// Hands out the tree of the last level of a chain of Freezer's ([`crate::engine::StreamEngine::tree`]).
///
/// # Errors
/// As there.
pub fn tree(chain: &mut dyn Chain, monitor: &dyn Monitor, found: Found<'_>) -> Result<()> {
    tree::run(chain, monitor, found)
}

/// Reads one decoded level to its end and checks its syntax.
///
/// # Errors
/// `Damaged`, `Limit`, `Interrupted`.
pub fn verify(input: &mut dyn Read, monitor: &dyn Monitor) -> Result<()> {
    survey(input, Level::default(), monitor, &mut |_, _| Ok(())).map(drop)
}
