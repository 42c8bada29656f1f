//! What becomes of what stands in the target already, over several levels.
//!
//! Invariant: what an earlier level of this restore put somewhere never counts as having stood there before; so that the restore
//! comes to what the last level has, and a policy that keeps things keeps those of the user alone.

use super::Replay;
use crate::engine::Overwrite;
use crate::engine::overwrite::{Decision, Offer};
use crate::engine::paths::Paths;
use crate::error::Result;
use crate::monitor::{Event, Monitor};
use crate::tree::attributes::{Attributes, FileKind};

/// The policy, and what it depends on.
pub(super) struct Policy {
    overwrite: Option<Overwrite>,
    /// Whether it has to be known what this restore made.
    remembers: bool,
    made: Paths,
    kept: Paths,
}

impl Policy {
    pub fn new(overwrite: Option<Overwrite>, levels: usize) -> Policy {
        let remembers = match overwrite {
            None | Some(Overwrite::Always) => false,
            Some(Overwrite::IfChanged) => levels > 1,
            Some(Overwrite::IfNewer | Overwrite::Never) => true,
        };
        Policy { overwrite, remembers, made: Paths::default(), kept: Paths::default() }
    }

    /// Whether what stands at a path may be the user's, and is to stay.
    pub fn protects(&self, path: &[u8]) -> bool {
        self.overwrite.is_some_and(Overwrite::keeps) && !self.made.contains(path)
    }

    /// Something was made.
    ///
    /// # Errors
    /// `Limit` when there is too much to remember.
    pub fn make(&mut self, path: &[u8]) -> Result<()> {
        self.kept.remove(path);
        if self.remembers { self.made.insert(path) } else { Ok(()) }
    }

    /// What the last level does not have is not kept for the sake of what stands there.
    pub fn forget(&mut self, path: &[u8]) {
        self.kept.remove(path);
    }

    pub fn tell_what_was_kept(&self, monitor: &dyn Monitor) {
        if self.kept.len() > 0 {
            monitor.event(Event::Kept { entries: self.kept.len() });
        }
    }
}

impl Replay<'_, '_, '_> {
    /// What is done with an entry, going by what stands in its place. What stays is counted.
    pub(super) fn decide(
        &mut self,
        path: &[u8],
        kind: FileKind,
        size_bytes: Option<u64>,
        attributes: &Attributes,
    ) -> Result<Decision> {
        let (Some(policy), Some(target)) = (self.policy.overwrite, self.target.as_deref_mut()) else {
            return Ok(Decision::Make);
        };
        if self.policy.made.contains(path) {
            return Ok(Decision::Replace);
        }
        let offer = Offer { kind, size_bytes, mtime: attributes.mtime, links: 1 };
        let decision = policy.decide(target, path, offer)?;
        if decision == Decision::Keep {
            self.policy.kept.insert(path)?;
        }
        Ok(decision)
    }

    /// Whether a file that counts as unchanged stays, with its attributes put right.
    pub(super) fn stays(&mut self, path: &[u8], size_bytes: u64, attributes: &Attributes) -> Result<bool> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(false) };
        let mut files = target.files();
        // Trouble shows again when the file is written.
        let Some(there) = files.there(path).ok().flatten() else { return Ok(false) };
        let found = &there.found;
        if (found.size_bytes, found.mtime, found.links) != (size_bytes, attributes.mtime, 1) {
            return Ok(false);
        }
        files.put_right(&there, path, attributes);
        self.job.monitor.event(Event::Unchanged { path });
        self.job.monitor.event(Event::Entry { path, bytes: size_bytes });
        Ok(true)
    }

    /// Makes a directory, or takes the one that is there, unless the policy has it stay as it is.
    pub(super) fn make_directory(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        match self.decide(path, FileKind::Directory, None, attributes)? {
            Decision::Keep | Decision::Enter => return Ok(()),
            Decision::Make | Decision::Replace | Decision::Unchanged => {}
        }
        if let Some(target) = self.target.as_deref_mut() {
            target.directory(path)?;
            target.directory_attributes(path, attributes.clone())?;
        }
        self.policy.make(path)
    }
}
