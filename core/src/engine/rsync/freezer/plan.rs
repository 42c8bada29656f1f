//! What the last level of a chain comes to, known before anything is written: of each path its type there, from which level on
//! its content is needed, and whether all of it was ever stored.
//!
//! Invariants: a path that the last level has not, or has below what is no directory there, does not exist. Blocks are put over
//! what the level below came to; for the first engine, which never forgets a path, that is also what stood there before it was
//! deleted. What lies behind the end of that, and is in no block, was never stored.

use super::stored::{Content, Entry, Record, What};
use super::stream::{Dialect, Level, survey};
use crate::engine::wanted::Place;
use crate::engine::{Chain, Reading};
use crate::error::{Error, Kind, Result};
use crate::limits::{FREEZER_MISSING_RANGES, FREEZER_PATHS};
use crate::monitor::Monitor;
use crate::time::FileTime;
use crate::tree::attributes::FileKind;
use std::collections::HashMap;

/// A path, by a hash that no two paths share.
pub(super) type PathHash = u128;

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// What it is in the last level that speaks of it; `None` when it was gone.
    pub kind: Option<FileKind>,
    /// The last level that speaks of it.
    pub last: u32,
    /// The level from which on a file's content is needed.
    pub base: u32,
    /// Whether levels above that one put blocks over it.
    pub patched: bool,
    /// How long the file is.
    pub size_bytes: u64,
    /// Its last change.
    pub mtime: FileTime,
    /// Its last change of content or attributes, where the engine says so.
    pub ctime_seconds: i64,
    /// Whether there is content that blocks can be put over.
    has_content: bool,
}

/// What the last level comes to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    states: HashMap<PathHash, State>,
    /// What was never stored of files that lack some: offset and end, in order.
    missing: HashMap<PathHash, Vec<(u64, u64)>>,
    /// Files with which a stream that lacks its end broke off.
    cut: Vec<Vec<u8>>,
    /// Which engine wrote the chain.
    dialect: Option<Dialect>,
    /// The last level in which the first engine has walked a directory: it has all that were there.
    walked: Option<u32>,
}

impl Plan {
    /// Reads all levels.
    ///
    /// # Errors
    /// `Damaged`, `Limit`, `Interrupted`; `Unsupported` when both engines wrote one chain; as the chain has it.
    pub fn survey(chain: &mut dyn Chain, monitor: &dyn Monitor) -> Result<Plan> {
        let mut plan = Plan::default();
        for level in 0..chain.levels() {
            let known = known(chain, level);
            let number = number_of(level)?;
            chain.stream(level, &mut |input| {
                let dialect =
                    survey(input, known, monitor, &mut |dialect, record| plan.add(number, dialect, record))?;
                plan.dialect.get_or_insert(dialect);
                Ok(Reading::ToTheEnd)
            })?;
            may_end(chain, level, plan.dialect)?;
        }
        Ok(plan)
    }

    /// Takes it that at this level a path was gone.
    pub fn forget(&mut self, path: &[u8], level: u32) {
        if let Some(state) = self.states.get_mut(&hash(path)) {
            (state.kind, state.last) = (None, level);
        }
    }

    /// Takes one more record, of this level.
    pub fn add(&mut self, level: u32, dialect: Dialect, record: Record) -> Result<()> {
        if *self.dialect.get_or_insert(dialect) != dialect {
            return Err(
                Error::new(Kind::Unsupported, "both of Freezer's rsync engines wrote").on("this chain")
            );
        }
        let path = hash(&record.path);
        match record.what {
            What::Deleted => self.delete(level, dialect, path),
            What::Entry(entry) => {
                if record.path.is_empty() && entry.kind == FileKind::Directory && dialect == Dialect::First {
                    self.walked = Some(level);
                }
                self.enter(level, dialect, path, &entry)?;
                if record.is_cut {
                    self.missing.insert(path, vec![(0, entry.size_bytes)]);
                    self.cut.push(record.path);
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, level: u32, dialect: Dialect, path: PathHash) {
        let Some(state) = self.states.get_mut(&path) else { return };
        // The first engine says of a file that became a directory both that it is one and that it is gone.
        if state.kind.is_some() && state.last == level {
            return;
        }
        state.kind = None;
        state.last = level;
        if dialect == Dialect::Second {
            state.has_content = false;
            self.missing.remove(&path);
        }
    }

    fn enter(&mut self, level: u32, dialect: Dialect, path: PathHash, entry: &Entry) -> Result<()> {
        let before = self.states.get(&path).copied();
        if before.is_none() && self.states.len() >= FREEZER_PATHS {
            return Err(Error::new(Kind::Limit, "a chain has more than").on(format!("{FREEZER_PATHS} paths")));
        }
        let mut state = State {
            kind: Some(entry.kind),
            last: level,
            base: level,
            patched: false,
            size_bytes: entry.size_bytes,
            mtime: entry.attributes.mtime,
            ctime_seconds: entry.attributes.ctime.map_or(0, |ctime| ctime.seconds),
            has_content: false,
        };
        match (&entry.content, before.filter(|before| before.has_content)) {
            (Content::Whole, _) => {
                state.has_content = entry.kind == FileKind::File;
                self.missing.remove(&path);
            }
            (Content::Blocks(blocks), below) => {
                let below_bytes = below.map_or(0, |below| below.size_bytes);
                let mut lacking = self.missing.remove(&path).unwrap_or_default();
                // What lies behind the end of the level below is in a block, or nowhere.
                lacking.push((below_bytes, u64::MAX));
                let lacking = without(lacking, blocks.extents(entry.size_bytes), entry.size_bytes);
                let is_whole = covered(blocks.extents(entry.size_bytes)) == entry.size_bytes;
                if let Some(below) = below.filter(|_| !is_whole) {
                    state.base = below.base;
                    state.patched = true;
                }
                state.has_content = entry.kind == FileKind::File;
                if !lacking.is_empty() {
                    self.missing.insert(path, lacking);
                }
            }
            (Content::None, Some(below))
                if entry.kind == FileKind::Directory && dialect == Dialect::First =>
            {
                state =
                    State { base: below.base, patched: below.patched, size_bytes: below.size_bytes, ..state };
                state.has_content = true;
            }
            (Content::None, _) => {
                self.missing.remove(&path);
            }
        }
        self.states.insert(path, state);
        Ok(())
    }

    /// What is known of a path that is there in the last level; `None` when it is not.
    pub fn get(&self, path: &[u8]) -> Option<State> {
        let state = self.alive(path)?;
        // What is below something that became no directory went with it.
        let gone = above(path).any(|above| {
            let above = self.states.get(&hash(above));
            above.is_some_and(|above| above.kind != Some(FileKind::Directory) && above.last >= state.last)
        });
        (!gone).then_some(state)
    }

    fn alive(&self, path: &[u8]) -> Option<State> {
        let state = self.states.get(&hash(path)).copied().filter(|state| state.kind.is_some())?;
        let unwalked =
            state.kind == Some(FileKind::Directory) && self.walked.is_some_and(|walked| state.last < walked);
        (!unwalked).then_some(state)
    }

    /// What is at a path.
    pub fn place(&self, path: &[u8]) -> Place {
        match self.get(path) {
            Some(State { kind: Some(FileKind::Directory), .. }) => Place::Directory,
            Some(_) => Place::Other,
            None => Place::Nothing,
        }
    }

    /// Whether a part of a file was never stored.
    pub fn lacks(&self, path: &[u8]) -> bool {
        !self.missing.is_empty() && self.missing.contains_key(&hash(path))
    }

    /// Files with which a stream broke off, and of which no later level has all.
    pub fn cut(&self) -> impl Iterator<Item = &[u8]> {
        self.cut.iter().map(Vec::as_slice).filter(|path| self.get(path).is_some() && self.lacks(path))
    }

    /// Whether the last level has a file by this hash that was put together from blocks.
    pub fn is_patched(&self, path: PathHash) -> bool {
        self.states.get(&path).is_some_and(|state| state.patched && state.kind == Some(FileKind::File))
    }

    /// Whether there is any such file.
    pub fn has_patched(&self) -> bool {
        self.states.values().any(|state| state.patched && state.kind == Some(FileKind::File))
    }

    /// Which engine wrote the chain.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }
}

/// The block size that the metadata of a level names, or else that of the level below; Freezer's own where none does.
pub(super) fn block_bytes(chain: &dyn Chain, level: usize) -> Option<u64> {
    Some((0..=level).rev().find_map(|level| chain.block_size(level)).unwrap_or(DEFAULT_BLOCK_BYTES))
}

/// What is known of a level besides its stream.
pub(super) fn known(chain: &dyn Chain, level: usize) -> Level {
    Level { block_bytes: block_bytes(chain, level), may_lack_end: chain.may_lack_end(level) }
}

/// Only the first engine left out ends of streams.
///
/// # Errors
/// `Damaged` where another one lacks its end.
pub(super) fn may_end(chain: &dyn Chain, level: usize, dialect: Option<Dialect>) -> Result<()> {
    if chain.lacks_end(level) && dialect == Some(Dialect::Second) {
        return Err(Error::damaged("ends too early:", format!("the stream of level {level}")));
    }
    Ok(())
}

/// The length of blocks where nothing else is said, and of those that signatures are of.
pub(super) const DEFAULT_BLOCK_BYTES: u64 = 4096;

/// A level as a number that takes little room.
pub(super) fn number_of(level: usize) -> Result<u32> {
    u32::try_from(level)
        .map_err(|_| Error::new(Kind::Limit, "no chain has as many levels as").on(level.to_string()))
}

/// The hash of a path.
pub(super) fn hash(path: &[u8]) -> PathHash {
    let hash = blake3::hash(path);
    let (head, _) = hash.as_bytes().split_at(16);
    head.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The directories above a path, but for the root.
pub(super) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

/// How many bytes lie in stretches that do not overlap.
fn covered(extents: impl Iterator<Item = (u64, u64)>) -> u64 {
    extents.map(|(_, length)| length).sum()
}

/// What is left of some stretches (offset and end, in order) without extents (offset and length, in order), up to the end of
/// the file.
fn without(
    stretches: Vec<(u64, u64)>,
    extents: impl Iterator<Item = (u64, u64)>,
    size_bytes: u64,
) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    let mut keep = |start: u64, end: u64| {
        let end = end.min(size_bytes);
        match left.last_mut() {
            _ if start >= end => {}
            Some((_, last)) if left_is_full(*last, start) => *last = end.max(*last),
            _ => left.push((start, end)),
        }
    };
    let mut extents = extents.peekable();
    for (mut start, end) in stretches {
        while let Some(&(offset, length)) = extents.peek() {
            if offset >= end {
                break;
            }
            keep(start, offset);
            start = start.max(offset + length);
            if offset + length > end {
                // It reaches into the next stretch.
                break;
            }
            extents.next();
        }
        keep(start, end);
    }
    if left.len() > FREEZER_MISSING_RANGES {
        let end = left.last().map_or(0, |(_, end)| *end);
        left = vec![(left[0].0, end)];
    }
    left
}

/// Whether a stretch goes on where the last one ended.
fn left_is_full(last: u64, start: u64) -> bool {
    start <= last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_left_of_stretches_is_what_no_extent_has(
            marks in proptest::collection::vec(any::<(bool, bool)>(), 0..80),
            size in 0_u64..90,
        ) {
            let runs = |of: &dyn Fn(&(bool, bool)) -> bool| {
                let mut runs: Vec<(u64, u64)> = Vec::new();
                for (at, mark) in marks.iter().enumerate().filter(|(_, mark)| of(mark)) {
                    let (at, _) = (at as u64, mark);
                    match runs.last_mut() {
                        Some((_, end)) if *end == at => *end += 1,
                        _ => runs.push((at, at + 1)),
                    }
                }
                runs
            };
            let extents = runs(&|mark| mark.1);
            let left = without(runs(&|mark| mark.0), extents.iter().map(|(start, end)| (*start, end - start)), size);
            for at in 0..90 {
                let expected = marks.get(at as usize).is_some_and(|mark| mark.0 && !mark.1) && at < size;
                prop_assert_eq!(left.iter().any(|(start, end)| (*start..*end).contains(&at)), expected, "{}", at);
            }
        }
    }
}
