//! The tree of the last level of a chain of Freezer's, from the streams of all levels, without contents. A file of which a part was never
//! stored is there with what is known of it, and counts as not read.

use super::plan::{Plan, known, number_of};
use super::stored::What;
use super::stream::survey;
use crate::engine::described::{Describer, Gathered};
use crate::engine::{Chain, Found, Reading};
use crate::error::Result;
use crate::monitor::Monitor;

/// Hands out the tree of the last level.
///
/// # Errors
/// `Damaged`, `Limit` for more entries than can be remembered; what `found` fails with; `Interrupted`; as the chain has it.
pub(super) fn run(chain: &mut dyn Chain, monitor: &dyn Monitor, found: Found<'_>) -> Result<()> {
    let plan = Plan::survey(chain, monitor)?;
    let (mut gathered, mut describer) = (Gathered::default(), Describer::default());
    for level in 0..chain.levels() {
        let (known, number) = (known(chain, level), number_of(level)?);
        chain.stream(level, &mut |input| {
            survey(input, known, monitor, &mut |_, record| {
                let What::Entry(stored) = &record.what else { return Ok(()) };
                let is_last =
                    |state: &super::plan::State| (state.last, state.kind) == (number, Some(stored.kind));
                if record.refused || !plan.get(&record.path).as_ref().is_some_and(is_last) {
                    return Ok(());
                }
                let mut entry = describer.entry(stored.kind, &stored.attributes);
                entry.size_bytes = stored.size_bytes;
                entry.target.clone_from(&stored.points_to);
                let entry = if plan.lacks(&record.path) { entry.unread() } else { entry };
                gathered.put(&record.path, entry)
            })?;
            Ok(Reading::ToTheEnd)
        })?;
    }
    gathered.hand_out(found)
}
