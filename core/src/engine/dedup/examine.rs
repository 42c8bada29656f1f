//! Whether all that backups need is there: every tree is read, each node once for all of them, and every chunk is looked up (or
//! read, where its pack is suspect), and is of the kind and the length that its files take it for. What cannot be had is then
//! traced back to the backups and paths that need it.

use super::tree::survey::{Surveyor, survey};
use super::tree::{Chunks, Content, Entry, Kept, Key, holes, rows};
use crate::engine::{Examination, Flaw, Need};
use crate::error::{Error, Kind, Result};
use crate::limits::{FLAW_PATHS, FLAWS_MAX};
use crate::monitor::Monitor;
use crate::repository::vault::{ChunkId, ChunkKind, Index, PackRef, Reader, Vault};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Examines what `job` says.
pub(super) fn run(job: Examination<'_>, vault: &Vault) -> Result<Vec<Flaw>> {
    let reader = Reader::new(vault, Arc::clone(&job.index));
    let mut ground = Ground {
        chunks: &reader,
        index: &job.index,
        suspects: job.suspects,
        read: HashMap::new(),
        lists: HashMap::new(),
        flaws: BTreeMap::new(),
    };
    let mut look =
        Look { ground: &mut ground, monitor: job.monitor, seen: HashSet::new(), flawed: HashSet::new() };
    for root in job.roots {
        // Two backups without a change between them have one tree.
        if look.seen.insert(*root) {
            survey(&reader, root, &mut look)?;
        }
    }
    let flawed = look.flawed;
    if !ground.flaws.is_empty() {
        for (number, root) in job.roots.iter().enumerate() {
            let monitor = job.monitor;
            survey(&reader, root, &mut Trace { ground: &mut ground, monitor, flawed: &flawed, number })?;
        }
    }
    Ok(ground.flaws.into_values().collect())
}

/// What is known of chunks.
struct Ground<'a> {
    chunks: &'a dyn Chunks,
    index: &'a Index,
    suspects: &'a HashSet<PackRef>,
    /// Chunks of suspect packs, and whether they can be had all the same.
    read: HashMap<ChunkId, bool>,
    /// Files whose lists were read to their ends, by the hash of all that the entry says of them, and the chunks that they need and
    /// that cannot be had. The first list alone is no name for them: versions of a file share it.
    lists: HashMap<blake3::Hash, Vec<ChunkId>>,
    /// What cannot be had.
    flaws: BTreeMap<ChunkId, Flaw>,
}

/// What is wanted of a chunk.
#[derive(Clone, Copy)]
enum Wanted {
    /// All of it, however long.
    Any,
    /// All of it, and so many bytes it is.
    Whole(u64),
    /// A part that ends here.
    UpTo(u64),
}

impl Wanted {
    /// What is wrong with a chunk of this length.
    fn fault(self, raw_bytes: u64) -> Option<String> {
        match self {
            Wanted::Whole(bytes) if bytes != raw_bytes => {
                Some(format!("its file takes it for {bytes} bytes long, and it is {raw_bytes}"))
            }
            Wanted::UpTo(end) if end > raw_bytes => {
                Some(format!("its file ends at byte {end} of it, and it is {raw_bytes} long"))
            }
            _ => None,
        }
    }
}

impl Ground<'_> {
    /// Whether a chunk can be had, and is what is wanted.
    fn has(&mut self, kind: ChunkKind, id: &ChunkId, wanted: Wanted) -> Result<bool> {
        let Some(at) = self.index.find(id) else {
            let missing = || Error::new(Kind::NotFound, "no index knows the chunk").on(id.to_string());
            return self.flaw(*id, missing).map(|()| false);
        };
        if at.kind != kind {
            let other = || Error::damaged("of another kind than its file needs: chunk", id.to_string());
            return self.flaw(*id, other).map(|()| false);
        }
        if let Some(fault) = wanted.fault(u64::from(at.raw_bytes)) {
            let misfit = || Error::damaged("does not fit its file: chunk", id.to_string()).because(fault);
            return self.flaw(*id, misfit).map(|()| false);
        }
        if !self.suspects.contains(&at.pack) {
            return Ok(true);
        }
        if let Some(known) = self.read.get(id) {
            return Ok(*known);
        }
        let outcome = self.chunks.read(kind, id);
        self.read.insert(*id, outcome.is_ok());
        match outcome {
            Ok(_) => Ok(true),
            Err(error) if about_the_chunk(&error) => self.flaw(*id, || error).map(|()| false),
            Err(error) => Err(error),
        }
    }

    fn flaw(&mut self, chunk: ChunkId, error: impl FnOnce() -> Error) -> Result<()> {
        if !self.flaws.contains_key(&chunk) {
            if self.flaws.len() >= FLAWS_MAX {
                return Err(Error::new(Kind::Limit, "more is damaged or missing than can be named: chunks")
                    .on(FLAWS_MAX.to_string())
                    .hint("is the repository there as a whole?"));
            }
            self.flaws.insert(chunk, Flaw { chunk, error: error(), needs: Vec::new() });
        }
        Ok(())
    }

    /// The chunks that an entry needs and that cannot be had.
    fn lacking(&mut self, entry: &Entry) -> Result<Vec<ChunkId>> {
        let mut lacking = Vec::new();
        for elsewhere in [elsewhere(&entry.xattrs), elsewhere(&entry.holes)].into_iter().flatten() {
            if !self.has(ChunkKind::Attributes, elsewhere, Wanted::Any)? {
                lacking.push(*elsewhere);
            }
        }
        match &entry.content {
            Content::None => {}
            Content::Slice { chunk, offset } => {
                let end = offset.saturating_add(entry.size_bytes);
                if !self.has(ChunkKind::Content, chunk, Wanted::UpTo(end))? {
                    lacking.push(*chunk);
                }
            }
            Content::Rows { depth: 0, rows } => {
                for (chunk, bytes) in rows {
                    if !self.has(ChunkKind::Content, chunk, Wanted::Whole(*bytes))? {
                        lacking.push(*chunk);
                    }
                }
            }
            Content::Rows { depth, rows } => lacking.extend(self.lacking_below(*depth, rows, entry)?),
        }
        Ok(lacking)
    }

    /// The same for a file whose chunks are in lists.
    fn lacking_below(&mut self, depth: u8, rows: &[(ChunkId, u64)], entry: &Entry) -> Result<Vec<ChunkId>> {
        let Some((first, _)) = rows.first() else { return Ok(Vec::new()) };
        let name = name_of(depth, rows, entry);
        if let Some(known) = self.lists.get(&name) {
            return Ok(known.clone());
        }
        let mut lacking = Vec::new();
        match self.walk_lists(entry, &mut lacking) {
            Ok(()) => {}
            Err(error) if about_the_chunk(&error) => {
                // Which list it was the error says.
                self.flaw(*first, || error)?;
                lacking.push(*first);
            }
            Err(error) => return Err(error),
        }
        self.lists.insert(name, lacking.clone());
        Ok(lacking)
    }

    fn walk_lists(&mut self, entry: &Entry, lacking: &mut Vec<ChunkId>) -> Result<()> {
        let chunks = self.chunks;
        let holes = holes(chunks, &entry.holes, entry.size_bytes)?;
        let empty: u64 = holes.iter().map(|hole| hole.length).fold(0, u64::saturating_add);
        for row in rows(chunks, &entry.content, entry.size_bytes.saturating_sub(empty))? {
            let (chunk, bytes) = row?;
            if !self.has(ChunkKind::Content, &chunk, Wanted::Whole(bytes))? {
                lacking.push(chunk);
            }
        }
        Ok(())
    }
}

/// The hash of what an entry says of the content of its file.
fn name_of(depth: u8, rows: &[(ChunkId, u64)], entry: &Entry) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[depth]).update(&entry.size_bytes.to_le_bytes());
    for (id, bytes) in rows {
        hasher.update(&id.0).update(&bytes.to_le_bytes());
    }
    hasher.finalize()
}

fn elsewhere<T>(kept: &Kept<T>) -> Option<&ChunkId> {
    match kept {
        Kept::Elsewhere(chunk) => Some(chunk),
        Kept::None | Kept::Here(_) => None,
    }
}

fn about_the_chunk(error: &Error) -> bool {
    matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::Limit)
}

/// Looks at every node once.
struct Look<'g, 'a> {
    ground: &'g mut Ground<'a>,
    monitor: &'a dyn Monitor,
    seen: HashSet<ChunkId>,
    /// Leaves with entries that lack something.
    flawed: HashSet<ChunkId>,
}

impl Surveyor for Look<'_, '_> {
    fn enters(&mut self, node: &ChunkId, _height: u8) -> Result<bool> {
        self.monitor.check()?;
        Ok(self.seen.insert(*node))
    }

    fn entry(&mut self, leaf: &ChunkId, _key: Key<'_>, entry: &Entry) -> Result<()> {
        if !self.ground.lacking(entry)?.is_empty() {
            self.flawed.insert(*leaf);
        }
        Ok(())
    }

    fn broken(&mut self, node: &ChunkId, _key: Key<'_>, error: Error) -> Result<()> {
        self.flawed.insert(*node);
        self.ground.flaw(*node, || error)
    }
}

/// Finds the paths of one tree that need what cannot be had: by its inner nodes, and of the leaves those that lack something.
struct Trace<'g, 'a> {
    ground: &'g mut Ground<'a>,
    monitor: &'a dyn Monitor,
    flawed: &'g HashSet<ChunkId>,
    number: usize,
}

impl Trace<'_, '_> {
    fn need(&mut self, chunk: &ChunkId, key: Key<'_>, and_below: bool) {
        let Some(flaw) = self.ground.flaws.get_mut(chunk) else { return };
        if flaw.needs.last().is_none_or(|need| need.root != self.number) {
            flaw.needs.push(Need { root: self.number, paths: Vec::new(), more: 0 });
        }
        let Some(need) = flaw.needs.last_mut() else { return };
        if need.paths.len() >= FLAW_PATHS {
            need.more += 1;
            return;
        }
        let mut path = String::from_utf8_lossy(key.directory).into_owned();
        if !key.name.is_empty() {
            path.extend([if path.is_empty() { "" } else { "/" }, &String::from_utf8_lossy(key.name)]);
        }
        if path.is_empty() {
            path.push_str("the root");
        }
        need.paths.push(if and_below { format!("what comes from {path} on") } else { path });
    }
}

impl Surveyor for Trace<'_, '_> {
    fn enters(&mut self, node: &ChunkId, height: u8) -> Result<bool> {
        self.monitor.check()?;
        Ok(height > 0 || self.flawed.contains(node))
    }

    fn entry(&mut self, _leaf: &ChunkId, key: Key<'_>, entry: &Entry) -> Result<()> {
        for chunk in self.ground.lacking(entry)? {
            self.need(&chunk, key, false);
        }
        Ok(())
    }

    fn broken(&mut self, node: &ChunkId, key: Key<'_>, _error: Error) -> Result<()> {
        self.need(node, key, true);
        Ok(())
    }
}
