//! Lists that are made ahead: where each request waits for an answer from far away, what a reader asks for first is listed while the
//! keys are still fetched, and derived from the password.
//!
//! Invariants: the snapshots are listed before their removals, indexes and packs, as readers need it. Each list is given once, to the
//! first who asks; who asks for the snapshots again gets everything else anew as well, for an index must not be older than the list of
//! the snapshots that need it. A list that failed is none: who needs it asks, and is told why. Only for who reads: a run that
//! writes announces itself before it lists anything.

use super::names::{self, Folder, Names};
use crate::error::Result;
use crate::pipe;
use crate::storage::Storage;
use std::collections::HashMap;

/// What was listed and not been asked for yet.
#[derive(Default)]
pub struct Ahead(HashMap<Folder, Names>);

/// What a reader will need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// To know which backups there are.
    Backups,
    /// To read one of them as well.
    Content,
}

impl Ahead {
    /// Lists what will be needed; `beside` is done at the same time as the first list.
    pub(in crate::repository) fn look<B: Send>(
        storage: &dyn Storage,
        needs: Needs,
        beside: impl FnOnce() -> Result<B> + Send,
    ) -> Result<(Ahead, B)> {
        let list = |folder| names::list(storage, folder).ok();
        let (beside, snapshots) = pipe::together(beside, || Ok(list(Folder::Snapshots)))?;
        let mut lists = Ahead::default();
        // Without snapshots nobody asks for anything else.
        let Some(snapshots) = snapshots.filter(|names| !names.objects.is_empty()) else {
            return Ok((lists, beside));
        };
        lists.0.insert(Folder::Snapshots, snapshots);
        let folders: &[Folder] = match needs {
            Needs::Backups => &[Folder::Removals],
            Needs::Content => &[Folder::Removals, Folder::Index, Folder::Packs],
        };
        let give =
            |sender: &mut pipe::Sender<Folder>| folders.iter().try_for_each(|folder| sender.send(*folder));
        let make_lister = || Ok(|folder| Ok((folder, list(folder))));
        pipe::run_mapped(1, folders.len(), give, make_lister, |receiver| {
            while let Some((folder, names)) = receiver.receive()? {
                lists.0.extend(names.map(|names| (folder, names)));
            }
            Ok(())
        })?;
        Ok((lists, beside))
    }

    /// The list of a folder, if it was made and nobody had it yet.
    pub(super) fn take(&mut self, folder: Folder) -> Option<Names> {
        let names = self.0.remove(&folder);
        if folder == Folder::Snapshots && names.is_none() {
            self.0.clear();
        }
        names
    }
}
