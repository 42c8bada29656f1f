//! What is wanted of a chain, and what has to go from the target because it is not in it.

use super::super::plan::{Plan, above, known, number_of};
use super::super::stored::What;
use super::super::stream::survey;
use super::{Overwrite, Replay};
use crate::engine::paths::Paths;
use crate::engine::wanted::{Chosen, not_there};
use crate::engine::{Chain, Reading, RestoreJob};
use crate::error::Result;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;

/// Whether a path is wanted, with all that is below it.
fn wants(chosen: &Chosen, path: &[u8], is_directory: bool) -> bool {
    if chosen.excludes(path, is_directory) {
        return false;
    }
    let everything = chosen.paths().is_empty() && chosen.patterns.is_empty();
    everything
        || chosen.paths().iter().any(|wanted| is_within(path, wanted))
        || chosen.matches(path, is_directory)
}

/// The directories above what is wanted.
///
/// # Errors
/// `NotFound` naming what is wanted and is not in the last level; as the chain has it.
pub(super) fn look_up(
    job: &RestoreJob<'_>,
    chain: &mut dyn Chain,
    plan: &Plan,
    chosen: &Chosen,
) -> Result<Paths> {
    let mut used = Paths::default();
    if chosen.paths().is_empty() && chosen.patterns.is_empty() {
        return Ok(used);
    }
    let mut found = vec![false; chosen.paths().len()];
    let mut matched = vec![false; chosen.patterns.len()];
    for level in 0..chain.levels() {
        let (known, number) = (known(chain, level), number_of(level)?);
        chain.stream(level, &mut |input| {
            survey(input, known, job.monitor, &mut |_, record| {
                let What::Entry(entry) = &record.what else { return Ok(()) };
                let (path, is_directory) = (&record.path, entry.kind == FileKind::Directory);
                if plan.get(path).is_none_or(|state| state.last != number) {
                    return Ok(());
                }
                let wanted = chosen.paths().iter().enumerate().filter(|(_, wanted)| is_within(path, wanted));
                wanted.for_each(|(at, _)| found[at] = true);
                chosen.matching(path, is_directory).for_each(|at| matched[at] = true);
                if wants(chosen, path, is_directory) && !path.is_empty() {
                    above(path).chain([&b""[..]]).try_for_each(|above| used.insert(above))?;
                }
                Ok(())
            })?;
            Ok(Reading::ToTheEnd)
        })?;
    }
    let paths = chosen.paths().iter().zip(&found).filter(|(_, found)| !**found).map(|(path, _)| lossy(path));
    let patterns = chosen.patterns.iter().zip(&matched).filter(|(_, matched)| !**matched);
    let missing: Vec<String> = paths.chain(patterns.map(|(pattern, _)| pattern.text.clone())).collect();
    if missing.is_empty() { Ok(used) } else { Err(not_there(&missing)) }
}

/// Whether `path` is `top` or below it, by whole components.
fn is_within(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

impl Replay<'_, '_, '_> {
    /// Whether a path is wanted, with all that is below it.
    pub(super) fn wants(&self, path: &[u8], is_directory: bool) -> bool {
        wants(&self.chosen, path, is_directory)
    }

    /// Whether a directory is above something that is wanted, and in the target.
    pub(super) fn is_above(&self, path: &[u8]) -> bool {
        self.used.contains(path) && self.chosen.is_above(path) && !self.chosen.excludes(path, true)
    }

    /// What nobody stored goes from the target itself, when that is wanted.
    pub(super) fn purge_root(&mut self) -> Result<()> {
        let root = self.chosen.root().to_vec();
        self.purge(&root)
    }

    /// What nobody stored goes from a directory, when that is wanted.
    pub(super) fn purge(&mut self, path: &[u8]) -> Result<()> {
        let keeps = self.job.overwrite.is_none_or(Overwrite::keeps);
        if !self.job.delete || keeps || !self.wants(path, true) {
            return Ok(());
        }
        let Replay { target: Some(target), chosen, plan, .. } = self else { return Ok(()) };
        let spared = |path: &[u8], is_directory| chosen.excludes_entry(path, is_directory);
        for name in target.names(path)? {
            let place = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            let is_directory = target.kind(&place)?.is_some_and(|found| found.kind == FileKind::Directory);
            if plan.get(&place).is_none() && wants(chosen, &place, is_directory) {
                target.remove_sparing(&place, &spared)?;
            }
        }
        Ok(())
    }
}
