//! A stretch of the tree whose chunks are fetched in the order of the packs, each once.

use super::super::tree::Entry;
use super::Bounds;
use super::large::{Large, Row};
use crate::repository::vault::ChunkId;
use crate::repository::vault::pack::{Location, PackRef};
use std::collections::HashMap;
use std::sync::Arc;

/// A file that is written in one go.
pub(super) struct Small {
    pub path: Vec<u8>,
    pub entry: Entry,
    /// Whether something stands there that may be the same.
    pub there: bool,
}

/// What a chunk is for.
pub(super) enum Want<'m> {
    /// A slice of it is the content of a file.
    Slice(Box<Small>),
    /// All of it is a part of a file, `bytes` long, at `offset` of the file's data.
    Part { file: Arc<Large<'m>>, offset: u64, bytes: u64 },
}

/// A chunk, and what it is for.
pub(super) struct Needed<'m> {
    pub id: ChunkId,
    pub at: Location,
    pub wants: Vec<Want<'m>>,
}

/// Work for one worker.
pub(super) enum Job<'m> {
    /// Chunks of one pack to be fetched at once, in the order in which they stand there.
    Fetch(PackRef, Vec<Needed<'m>>),
    /// Files without content.
    Empty(Vec<Small>),
    /// Chunks of a file, one behind the other, to be compared with what stands in its place.
    Compare(Arc<Large<'m>>, Vec<Row>),
}

/// Gathers what a stretch of the tree needs.
#[derive(Default)]
pub(super) struct Window<'m> {
    needed: Vec<Needed<'m>>,
    by_id: HashMap<ChunkId, usize>,
    empty: Vec<Small>,
    entries: usize,
    large_files: usize,
    bytes: usize,
}

/// What a file takes in memory beside its path and attributes.
const ROW_BYTES: usize = size_of::<Small>() + size_of::<Needed<'static>>();

impl<'m> Window<'m> {
    /// Whether it is time to fetch.
    pub fn is_full(&self, bounds: &Bounds) -> bool {
        self.entries >= bounds.window_entries
            || self.needed.len() >= bounds.window_chunks
            || self.large_files >= bounds.window_large_files
            || self.bytes >= bounds.window_bytes
    }

    /// Adds a file without content.
    pub fn push_empty(&mut self, file: Small) {
        self.count(&file);
        self.empty.push(file);
    }

    /// Adds a file that is a slice of a chunk.
    pub fn push_slice(&mut self, id: ChunkId, at: Location, file: Small) {
        self.count(&file);
        self.want(id, at, Want::Slice(Box::new(file)));
    }

    /// Counts a file of several chunks, whose parts follow.
    pub fn begin_large(&mut self, held_bytes: usize) {
        self.entries += 1;
        self.large_files += 1;
        self.bytes += held_bytes;
    }

    /// Adds a part of a file of several chunks.
    pub fn push_part(&mut self, id: ChunkId, at: Location, file: Arc<Large<'m>>, offset: u64, bytes: u64) {
        self.bytes += size_of::<Needed<'_>>() + size_of::<Want<'_>>();
        self.want(id, at, Want::Part { file, offset, bytes });
    }

    fn count(&mut self, file: &Small) {
        self.entries += 1;
        self.bytes += ROW_BYTES + held_bytes(&file.path, &file.entry);
    }

    fn want(&mut self, id: ChunkId, at: Location, want: Want<'m>) {
        // Files of one bundle follow each other.
        if let Some(last) = self.needed.last_mut().filter(|last| last.id == id) {
            return last.wants.push(want);
        }
        let next = self.needed.len();
        let index = *self.by_id.entry(id).or_insert(next);
        match self.needed.get_mut(index) {
            Some(needed) => needed.wants.push(want),
            None => self.needed.push(Needed { id, at, wants: vec![want] }),
        }
    }

    /// What is to be done for it. Packs come in the order in which the tree first needs them.
    pub fn jobs(self, bounds: &Bounds) -> Vec<Job<'m>> {
        let mut ranks: HashMap<PackRef, usize> = HashMap::new();
        for needed in &self.needed {
            let next = ranks.len();
            ranks.entry(needed.at.pack).or_insert(next);
        }
        let mut needed = self.needed;
        needed.sort_by_key(|needed| (ranks.get(&needed.at.pack).copied(), needed.at.offset));
        let mut jobs = Vec::new();
        if !self.empty.is_empty() {
            jobs.push(Job::Empty(self.empty));
        }
        jobs.extend(fetches(needed, bounds).map(|(pack, chunks)| Job::Fetch(pack, chunks)));
        jobs
    }
}

/// Chunks in the order of their packs, those together that can be fetched together.
pub(super) fn fetches<'m>(
    needed: Vec<Needed<'m>>,
    bounds: &Bounds,
) -> impl Iterator<Item = (PackRef, Vec<Needed<'m>>)> + use<'m> {
    let mut fetches = Vec::new();
    let mut fetch = Fetch::default();
    for needed in needed {
        if !fetch.takes(&needed, bounds) {
            fetches.extend(std::mem::take(&mut fetch).into_chunks());
        }
        fetch.push(needed);
    }
    fetches.extend(fetch.into_chunks());
    fetches.into_iter()
}

/// Bytes that the path and the attributes of an entry take.
pub(super) fn held_bytes(path: &[u8], entry: &Entry) -> usize {
    let xattrs = match &entry.xattrs {
        super::super::tree::Kept::Here(xattrs) => {
            xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum()
        }
        _ => 0,
    };
    path.len() + xattrs
}

/// Chunks that are fetched together.
#[derive(Default)]
struct Fetch<'m> {
    chunks: Vec<Needed<'m>>,
    start: u32,
    end: u32,
    files: usize,
}

impl<'m> Fetch<'m> {
    /// Whether a chunk can be fetched with those it has.
    fn takes(&self, next: &Needed<'m>, bounds: &Bounds) -> bool {
        let Some(first) = self.chunks.first() else { return true };
        let gap = next.at.offset.checked_sub(self.end);
        let length = end_of(&next.at).and_then(|end| end.checked_sub(self.start));
        first.at.pack == next.at.pack
            && gap.is_some_and(|gap| gap <= bounds.fetch_gap_bytes)
            && length.is_some_and(|length| length <= bounds.fetch_bytes)
            && self.files + next.wants.len() <= bounds.fetch_files
    }

    fn push(&mut self, next: Needed<'m>) {
        if self.chunks.is_empty() {
            self.start = next.at.offset;
        }
        self.end = end_of(&next.at).unwrap_or(u32::MAX);
        self.files += next.wants.len();
        self.chunks.push(next);
    }

    fn into_chunks(self) -> Option<(PackRef, Vec<Needed<'m>>)> {
        let pack = self.chunks.first()?.at.pack;
        Some((pack, self.chunks))
    }
}

/// Where a blob ends; `None` where no pack is that large.
pub(super) fn end_of(at: &Location) -> Option<u32> {
    at.offset.checked_add(at.sealed_bytes)
}
