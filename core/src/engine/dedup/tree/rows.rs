//! The chunks of large files: in the entry, or in lists of chunks when they are many, and lists of lists when those are.
//!
//! Where a list ends depends on the ids in it (section 10 of the format), so that versions of a file share lists. Both ways the
//! memory is a few lists, however long the file.

use super::entry::row_bytes;
use super::{Chunks, Content, Store};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    TREE_LIST_ROWS_MAX, TREE_LIST_ROWS_MIN, TREE_NODE_BYTES, TREE_ROWS_DEPTH_MAX, TREE_ROWS_MAX,
};
use crate::repository::vault::id::ID_BYTES;
use crate::repository::vault::{ChunkId, ChunkKind};

/// A chunk or a list, and how many bytes of content it stands for.
type Row = (ChunkId, u64);

const VERSION: u8 = 1;
const LIST_HEAD_BYTES: usize = 5;
const ROW_BYTES: usize = ID_BYTES + 8;
/// One row in so many may end a list.
const BORDER_ONE_IN: u16 = 512;

/// Gathers the chunks of one file, in order.
#[derive(Debug, Default)]
pub struct RowsBuilder {
    levels: Vec<Level>,
}

/// Rows of one depth that are not in a list yet.
#[derive(Debug, Default)]
struct Level {
    open: Vec<Row>,
    /// There were too many for an entry: what comes goes into lists.
    lists: bool,
}

impl RowsBuilder {
    /// No chunk yet.
    pub fn new() -> Self {
        RowsBuilder::default()
    }

    /// Adds a chunk that stands for `bytes` of content.
    ///
    /// # Errors
    /// `Invalid` without any byte; `Limit` when there are too many; as the store has it.
    pub fn push(&mut self, store: &mut dyn Store, chunk: ChunkId, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Err(Error::invalid("an empty chunk:", chunk.to_string()));
        }
        self.add(store, 0, (chunk, bytes))
    }

    fn add(&mut self, store: &mut dyn Store, depth: usize, row: Row) -> Result<()> {
        if depth > usize::from(TREE_ROWS_DEPTH_MAX) {
            return Err(Error::new(Kind::Limit, "too many chunks in one file"));
        }
        if depth == self.levels.len() {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[depth];
        level.open.push(row);
        if level.lists {
            return if ends_list(&level.open) { self.close(store, depth) } else { Ok(()) };
        }
        if level.open.len() > TREE_ROWS_MAX {
            level.lists = true;
            // What was held back is cut as if lists had been made from the start.
            for row in std::mem::take(&mut level.open) {
                self.add(store, depth, row)?;
            }
        }
        Ok(())
    }

    /// Stores the open rows of a depth as a list.
    fn close(&mut self, store: &mut dyn Store, depth: usize) -> Result<()> {
        let rows = std::mem::take(&mut self.levels[depth].open);
        let bytes = row_bytes(&rows).ok_or_else(|| Error::new(Kind::Limit, "too long a file"))?;
        let id = store.put(ChunkKind::List, &list(&rows))?;
        self.add(store, depth + 1, (id, bytes))
    }

    /// The content of the file.
    ///
    /// # Errors
    /// As [`RowsBuilder::push`].
    pub fn finish(mut self, store: &mut dyn Store) -> Result<Content> {
        let mut depth = 0;
        while depth < self.levels.len() {
            let level = &mut self.levels[depth];
            if !level.lists {
                let rows = std::mem::take(&mut level.open);
                row_bytes(&rows).ok_or_else(|| Error::new(Kind::Limit, "too long a file"))?;
                return Ok(Content::Rows { depth: depth as u8, rows });
            }
            if !level.open.is_empty() {
                self.close(store, depth)?;
            }
            depth += 1;
        }
        Ok(Content::None)
    }
}

/// The content of a file of these chunks (id, bytes): in the entry when they are few, else in lists that are stored here.
///
/// # Errors
/// As [`RowsBuilder::push`].
pub fn keep_rows(store: &mut dyn Store, rows: Vec<(ChunkId, u64)>) -> Result<Content> {
    let mut builder = RowsBuilder::new();
    for (chunk, bytes) in rows {
        builder.push(store, chunk, bytes)?;
    }
    builder.finish(store)
}

fn ends_list(rows: &[Row]) -> bool {
    let Some((ChunkId(id), _)) = rows.last() else { return false };
    let border = u16::from_le_bytes([id[0], id[1]]).is_multiple_of(BORDER_ONE_IN);
    (rows.len() >= TREE_LIST_ROWS_MIN && border) || rows.len() >= TREE_LIST_ROWS_MAX
}

fn list(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LIST_HEAD_BYTES + rows.len() * ROW_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for (id, covered) in rows {
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&covered.to_le_bytes());
    }
    bytes
}

/// The rows of a list that stands for `covered` bytes of content.
fn read_list(bytes: &[u8], covered: u64) -> Result<Vec<Row>> {
    let damaged = || Error::damaged("broken:", "a list of chunks");
    match bytes.first() {
        Some(&VERSION) => (),
        Some(_) => return Err(Error::new(Kind::Unsupported, "a newer version wrote a list of chunks")),
        None => return Err(damaged()),
    }
    let (head, body) = bytes.split_at_checked(LIST_HEAD_BYTES).ok_or_else(damaged)?;
    let count = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if bytes.len() > TREE_NODE_BYTES || count.checked_mul(ROW_BYTES) != Some(body.len()) {
        return Err(damaged());
    }
    let rows: Vec<Row> = body.chunks_exact(ROW_BYTES).map(row).collect();
    if rows.is_empty() || row_bytes(&rows) != Some(covered) {
        return Err(damaged());
    }
    Ok(rows)
}

fn row(bytes: &[u8]) -> Row {
    let (mut id, mut covered) = ([0; ID_BYTES], [0; 8]);
    id.copy_from_slice(&bytes[..ID_BYTES]);
    covered.copy_from_slice(&bytes[ID_BYTES..]);
    (ChunkId(id), u64::from_le_bytes(covered))
}

/// The content chunks of a file, in order, each with its bytes. `data_bytes` is the size of the file less its holes: what all of
/// them must come to. Lists are read as they are reached.
///
/// # Errors
/// `Invalid` for a slice, which has no rows; then, of every item: `Damaged`, `Unsupported`, or as the storage has it. Nothing
/// follows an error.
pub fn rows<'c>(chunks: &'c dyn Chunks, content: &Content, data_bytes: u64) -> Result<RowsIter<'c>> {
    let open = match content {
        Content::None => Vec::new(),
        Content::Rows { depth, rows } => vec![(*depth, rows.clone().into_iter())],
        Content::Slice { chunk, .. } => {
            return Err(Error::invalid("a slice has no rows:", chunk.to_string()));
        }
    };
    Ok(RowsIter { chunks, open, left_bytes: data_bytes })
}

/// The content chunks of a file: see [`rows`].
pub struct RowsIter<'c> {
    chunks: &'c dyn Chunks,
    /// What is left of the lists from the entry down to here, each with its depth.
    open: Vec<(u8, std::vec::IntoIter<Row>)>,
    left_bytes: u64,
}

impl RowsIter<'_> {
    fn step(&mut self) -> Result<Option<Row>> {
        while let Some((depth, rows)) = self.open.last_mut() {
            let depth = *depth;
            let Some((id, bytes)) = rows.next() else {
                self.open.pop();
                continue;
            };
            if depth == 0 {
                let left = self.left_bytes.checked_sub(bytes).filter(|_| bytes > 0);
                self.left_bytes = left.ok_or_else(too_many)?;
                return Ok(Some((id, bytes)));
            }
            let list = self.chunks.read(ChunkKind::List, &id)?;
            let rows = read_list(&list, bytes)
                .map_err(|error| error.while_doing("cannot read the chunk", id.to_string()))?;
            self.open.push((depth - 1, rows.into_iter()));
        }
        if self.left_bytes == 0 { Ok(None) } else { Err(too_many()) }
    }
}

fn too_many() -> Error {
    Error::damaged("chunks that do not come to the size of", "a file")
}

impl Iterator for RowsIter<'_> {
    type Item = Result<(ChunkId, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open.clear();
            self.left_bytes = 0;
        }
        step.transpose()
    }
}
