//! Which backup needs each chunk of a repository: one, several, or none that has been looked at.
//!
//! A chunk is known by its place, its pack and its number there, so that four bytes are enough for it.

use crate::error::{Error, Kind, Result};
use crate::repository::vault::{Index, Location, PackRef};
use std::collections::HashMap;

const NOBODY: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

/// Whose a chunk was when a backup came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// Nobody's.
    First,
    /// One other backup's.
    Shared,
    /// This backup's, or of several already.
    Before,
}

/// Who needs the chunks of an index.
pub(super) struct Marks {
    /// Where the chunks of a pack begin in `owners`, and how many there are.
    packs: HashMap<PackRef, (usize, u32)>,
    owners: Vec<u32>,
}

impl Marks {
    /// Nobody needs any.
    ///
    /// # Errors
    /// `Limit` when there are more than can be counted.
    pub(super) fn new(index: &Index) -> Result<Marks> {
        let mut packs = HashMap::new();
        let mut chunks = 0usize;
        for (pack, info) in index.packs() {
            packs.insert(pack, (chunks, info.chunks));
            chunks = chunks
                .checked_add(info.chunks as usize)
                .ok_or_else(|| Error::new(Kind::Limit, "more chunks than can be counted"))?;
        }
        Ok(Marks { packs, owners: vec![NOBODY; chunks] })
    }

    fn place(&self, at: &Location) -> Option<usize> {
        let (first, chunks) = self.packs.get(&at.pack)?;
        (at.number < *chunks).then_some(first + at.number as usize)
    }

    /// A backup needs the chunk that is there.
    pub(super) fn meet(&mut self, at: &Location, backup: u32) -> Met {
        let Some(place) = self.place(at) else { return Met::Before };
        step(&mut self.owners[place], backup)
    }

    /// The only backup that needs the chunk that is there.
    pub(super) fn owner(&self, at: &Location) -> Option<u32> {
        self.place(at).map(|place| self.owners[place]).filter(|owner| *owner < SEVERAL)
    }
}

fn step(owner: &mut u32, backup: u32) -> Met {
    match *owner {
        NOBODY => {
            *owner = backup;
            Met::First
        }
        SEVERAL => Met::Before,
        same if same == backup => Met::Before,
        _ => {
            *owner = SEVERAL;
            Met::Shared
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_nobodys_then_ones_then_that_of_several() {
        let mut owner = NOBODY;
        let met: Vec<Met> = [4, 4, 5, 4, 6].into_iter().map(|backup| step(&mut owner, backup)).collect();
        assert_eq!(met, [Met::First, Met::Before, Met::Shared, Met::Before, Met::Before]);
        assert_eq!(owner, SEVERAL);
    }
}
