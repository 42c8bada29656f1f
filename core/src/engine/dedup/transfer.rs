//! Copies trees from one vault to another whose keys are others: every chunk is called differently there, and so is every node.
//!
//! Three steps: what trees that were copied before have in common with the new ones is learned from both sides, by their
//! entries alone; the chunks that are left are fetched in the order of their packs, each once, opened, checked and sealed
//! again as they are; then each tree is built anew with the names that its chunks have there.
//!
//! Memory: the names of all chunks of the trees, here and there.

use super::packs::{self, Packs, TreeStore};
use super::tree::survey::{Surveyor, survey};
use super::tree::{
    Builder, Chunks, Content, Cursor, Entry, Key, Root, RowsBuilder, holes, keep_holes, keep_xattrs, rows,
    xattrs,
};
use crate::engine::{Made, Transfer, Transferred};
use crate::error::{Error, Kind, Result};
use crate::limits::{RESTORE_FETCH_BYTES, RESTORE_FETCH_GAP_BYTES, WORK_WAITING};
use crate::monitor::Monitor;
use crate::pipe::{self, Sender};
use crate::repository::vault::compression::Stored;
use crate::repository::vault::seal::TAG_BYTES;
use crate::repository::vault::{
    ChunkId, ChunkKind, CompressionLevel, Decoder, Encoder, Location, Reader, Vault, Writer,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What chunks of content are called there, or why they cannot be had.
type Names = HashMap<ChunkId, Result<ChunkId, String>>;

/// Chunks near each other in one pack.
type Stretch = Vec<(ChunkId, Location)>;

/// Copies what `job` says.
pub(super) fn run(job: Transfer<'_>) -> Result<Transferred> {
    let from = Reader::new(job.from, Arc::clone(&job.from_index));
    let to = Reader::new(job.to, Arc::clone(&job.to_index));
    let mut names = Names::new();
    for (here, there) in job.copied {
        job.monitor.check()?;
        learn(&mut names, (&from, here), (&to, there))?;
    }
    let stretches = wanted(&job, &from, &mut names)?;
    let writer = Writer::new(job.to, Arc::clone(&job.to_index));
    let built = packs::storing(&writer, job.to, job.dry_run, job.monitor, |packs| {
        fetch(&job, &from, packs, stretches, &mut names)?;
        job.roots
            .iter()
            .map(|root| rebuild(&from, root, &names, packs, job.to, job.monitor))
            .collect::<Result<Vec<_>>>()
    })?;
    if !job.dry_run {
        writer.finish()?;
    }
    let made = |root: Root| Made {
        root: root.id,
        entries: root.entries,
        files: root.files,
        bytes: root.bytes,
        added_bytes: 0,
    };
    let trees = built.into_iter().map(|root| root.map(made)).collect();
    Ok(Transferred { trees, added_bytes: writer.added_bytes() })
}

/// Whether an error says that something cannot be had, and not that nothing can be read.
fn concerns_one(error: &Error) -> bool {
    matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::Limit)
}

/// Goes through a tree and its copy side by side, and takes down what the chunks of one are called in the other. Where they differ,
/// or cannot be read, there is no more to be learned.
fn learn(names: &mut Names, here: (&Reader<'_>, &ChunkId), there: (&Reader<'_>, &ChunkId)) -> Result<()> {
    let mut both = |a: &Reader<'_>, b: &Reader<'_>| -> Result<()> {
        let (mut ours, mut theirs) = (Cursor::new(a, here.1)?, Cursor::new(b, there.1)?);
        while let (Some((key, entry)), Some((same_key, copy))) = (ours.peek()?, theirs.peek()?) {
            if key != same_key || entry.size_bytes != copy.size_bytes {
                return Ok(());
            }
            for (chunk, name) in pairs(a, entry, b, copy)? {
                let length = |reader: &Reader<'_>, id| reader.index().find(id).map(|at| at.raw_bytes);
                let (known, found) = (length(a, &chunk), length(b, &name));
                if known.is_some() && known == found {
                    names.entry(chunk).or_insert(Ok(name));
                }
            }
            ours.advance();
            theirs.advance();
        }
        Ok(())
    };
    match both(here.0, there.0) {
        Err(error) if !concerns_one(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The chunks of a file and of its copy, side by side.
fn pairs(a: &Reader<'_>, entry: &Entry, b: &Reader<'_>, copy: &Entry) -> Result<Vec<(ChunkId, ChunkId)>> {
    match (&entry.content, &copy.content) {
        (Content::Slice { chunk, offset }, Content::Slice { chunk: name, offset: same })
            if offset == same =>
        {
            Ok(vec![(*chunk, *name)])
        }
        (Content::Rows { .. }, Content::Rows { .. }) => {
            let mut pairs = Vec::new();
            for (row, same) in content(a, entry)?.into_iter().zip(content(b, copy)?) {
                if row.1 == same.1 {
                    pairs.push((row.0, same.0));
                }
            }
            Ok(pairs)
        }
        _ => Ok(Vec::new()),
    }
}

/// The chunks of a file, each with its bytes.
fn content(chunks: &dyn Chunks, entry: &Entry) -> Result<Vec<(ChunkId, u64)>> {
    let empty: u64 = holes(chunks, &entry.holes, entry.size_bytes)?.iter().map(|hole| hole.length).sum();
    rows(chunks, &entry.content, entry.size_bytes.saturating_sub(empty))?.collect()
}

/// The chunks that are not known there, in the order in which they lie here.
fn wanted(job: &Transfer<'_>, from: &Reader<'_>, names: &mut Names) -> Result<Vec<Stretch>> {
    let mut look = Look { from, monitor: job.monitor, seen: HashSet::new(), wanted: HashSet::new() };
    for root in job.roots {
        if look.seen.insert(*root) {
            survey(from, root, &mut look)?;
        }
    }
    let mut found = Vec::new();
    for chunk in look.wanted.into_iter().filter(|chunk| !names.contains_key(chunk)).collect::<Vec<_>>() {
        match job.from_index.find(&chunk) {
            Some(at) => found.push((chunk, at)),
            None => drop(names.insert(chunk, Err("no index knows it".to_owned()))),
        }
    }
    found.sort_unstable_by_key(|(_, at)| (at.pack, at.offset));
    let mut stretches: Vec<Stretch> = Vec::new();
    for (chunk, at) in found {
        if let Some(stretch) = stretches.last_mut()
            && let (Some((_, first)), Some((_, last))) = (stretch.first(), stretch.last())
            && first.pack == at.pack
            && at.offset.saturating_sub(last.end()) <= RESTORE_FETCH_GAP_BYTES
            && at.end() - first.offset <= RESTORE_FETCH_BYTES
        {
            stretch.push((chunk, at));
        } else {
            stretches.push(vec![(chunk, at)]);
        }
    }
    Ok(stretches)
}

/// Looks for chunks of content, at each node once.
struct Look<'l> {
    from: &'l Reader<'l>,
    monitor: &'l dyn Monitor,
    seen: HashSet<ChunkId>,
    wanted: HashSet<ChunkId>,
}

impl Surveyor for Look<'_> {
    fn enters(&mut self, node: &ChunkId, _height: u8) -> Result<bool> {
        self.monitor.check()?;
        Ok(self.seen.insert(*node))
    }

    fn entry(&mut self, _leaf: &ChunkId, _key: Key<'_>, entry: &Entry) -> Result<()> {
        match &entry.content {
            Content::None => {}
            Content::Slice { chunk, .. } => drop(self.wanted.insert(*chunk)),
            Content::Rows { .. } => match content(self.from, entry) {
                Ok(rows) => self.wanted.extend(rows.into_iter().map(|(chunk, _)| chunk)),
                // Whoever builds the tree meets it again, and tells of it.
                Err(error) if concerns_one(&error) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn broken(&mut self, _node: &ChunkId, _key: Key<'_>, _error: Error) -> Result<()> {
        Ok(())
    }
}

/// Fetches chunks and puts them there.
fn fetch(
    job: &Transfer<'_>,
    from: &Reader<'_>,
    packs: &Packs<'_>,
    stretches: Vec<Stretch>,
    names: &mut Names,
) -> Result<()> {
    let produce = |sender: &mut Sender<Stretch>| {
        stretches.into_iter().try_for_each(|stretch| {
            job.monitor.check()?;
            sender.send(stretch)
        })
    };
    let make_mover = || {
        let mut mover = Mover { from, packs, decoder: Decoder::new()?, raw: Vec::new() };
        Ok(move |stretch: Stretch| mover.run(&stretch))
    };
    let take = |moved: &mut pipe::Receiver<Vec<(ChunkId, Result<ChunkId, String>)>>| {
        while let Some(some) = moved.receive()? {
            names.extend(some);
        }
        Ok(())
    };
    pipe::run_mapped(WORK_WAITING, job.workers, produce, make_mover, take).map(drop)
}

/// What a thread needs that moves chunks.
struct Mover<'m> {
    from: &'m Reader<'m>,
    packs: &'m Packs<'m>,
    decoder: Decoder,
    raw: Vec<u8>,
}

impl Mover<'_> {
    fn run(&mut self, stretch: &Stretch) -> Result<Vec<(ChunkId, Result<ChunkId, String>)>> {
        let (Some((_, first)), Some((_, last))) = (stretch.first(), stretch.last()) else {
            return Ok(Vec::new());
        };
        let mut whole = match self.from.fetch(first.pack, first.offset..last.end()) {
            Ok(bytes) => Some(bytes),
            // One after the other, what is there.
            Err(error) if error.kind() == Kind::Damaged => None,
            Err(error) => return Err(error),
        };
        let mut moved = Vec::with_capacity(stretch.len());
        for (chunk, at) in stretch {
            let name = match &mut whole {
                Some(whole) => {
                    let start = (at.offset - first.offset) as usize;
                    self.move_one(chunk, at, &mut whole[start..start + at.sealed_bytes as usize])
                }
                None => {
                    let fetched = self.from.fetch(at.pack, at.offset..at.end());
                    fetched.and_then(|mut sealed| self.move_one(chunk, at, &mut sealed))
                }
            };
            moved.push((
                *chunk,
                match name {
                    Ok(name) => Ok(name),
                    Err(error) if error.kind() == Kind::Damaged => Err(error.to_string()),
                    Err(error) => return Err(error),
                },
            ));
        }
        Ok(moved)
    }

    fn move_one(&mut self, chunk: &ChunkId, at: &Location, sealed: &mut [u8]) -> Result<ChunkId> {
        self.from.open(chunk, ChunkKind::Content, at, sealed, &mut self.decoder, &mut self.raw)?;
        // It was opened where it lies, with its tag behind it.
        let stored = Stored { bytes: &sealed[..sealed.len() - TAG_BYTES], compression: at.compression };
        self.packs.put_stored(ChunkKind::Content, &self.raw, stored)
    }
}

/// Builds a tree anew; an error that concerns this tree alone is in the answer.
fn rebuild(
    from: &Reader<'_>,
    root: &ChunkId,
    names: &Names,
    packs: &Packs<'_>,
    to: &Vault,
    monitor: &dyn Monitor,
) -> Result<Result<Root>> {
    let mut store = TreeStore::new(packs, Encoder::new(CompressionLevel::Default, true)?);
    let mut builder = Builder::new(&to.keys().subkey("nodes"), &mut store);
    let mut each = || -> Result<()> {
        let mut cursor = Cursor::new(from, root)?;
        while let Some((key, entry)) = cursor.peek()? {
            monitor.check()?;
            let entry = renamed(from, entry, names, &mut builder)?;
            builder.push(key, &entry)?;
            cursor.advance();
        }
        Ok(())
    };
    match each().and_then(|()| builder.finish()) {
        Err(error) if !concerns_one(&error) => Err(error),
        outcome => Ok(outcome),
    }
}

/// The same entry with the names that its chunks have there.
fn renamed(from: &Reader<'_>, entry: &Entry, names: &Names, builder: &mut Builder<'_>) -> Result<Entry> {
    let name = |chunk: &ChunkId| match names.get(chunk) {
        Some(Ok(name)) => Ok(*name),
        Some(Err(why)) => {
            Err(Error::damaged("cannot be read: chunk", chunk.to_string()).because(why.clone()))
        }
        None => Err(Error::damaged("a chunk is missing:", chunk.to_string())),
    };
    let file_holes = holes(from, &entry.holes, entry.size_bytes)?;
    let content = match &entry.content {
        Content::None => Content::None,
        Content::Slice { chunk, offset } => Content::Slice { chunk: name(chunk)?, offset: *offset },
        Content::Rows { .. } => {
            let empty: u64 = file_holes.iter().map(|hole| hole.length).sum();
            let mut kept = RowsBuilder::new();
            for row in rows(from, &entry.content, entry.size_bytes.saturating_sub(empty))? {
                let (chunk, bytes) = row?;
                kept.push(builder.store(), name(&chunk)?, bytes)?;
            }
            kept.finish(builder.store())?
        }
    };
    let xattrs = keep_xattrs(builder.store(), xattrs(from, &entry.xattrs)?)?;
    let holes = keep_holes(builder.store(), file_holes)?;
    Ok(Entry { content, xattrs, holes, ..entry.clone() })
}
