//! Writing the state of a level while the tree is walked.

use super::row::{DirectoryRow, Item, Row};
use super::{HEAD_BYTES, MAGIC};
use crate::codec::{self, Compression, Encoding};
use crate::error::{Error, Kind, Result};
use crate::limits::{READ_BYTES, RSYNC_ITEM_BYTES};
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use std::io::{BufWriter, Read, Write};

/// Writes a state.
pub struct StateWriter {
    level: u32,
    start: FileTime,
    scratch: Scratch,
    tree: BufWriter<Spool>,
    tree_bytes: u64,
    signatures: BufWriter<Spool>,
    signature_bytes: u64,
    /// The item that is being written.
    item: Vec<u8>,
}

impl StateWriter {
    /// The state of a level that was begun at `start`.
    pub fn new(level: u32, start: FileTime, scratch: &Scratch) -> StateWriter {
        StateWriter {
            level,
            start,
            scratch: scratch.clone(),
            tree: BufWriter::with_capacity(64 << 10, scratch.spool()),
            tree_bytes: 0,
            signatures: BufWriter::with_capacity(64 << 10, scratch.spool()),
            signature_bytes: 0,
            item: Vec::new(),
        }
    }

    /// The next directory.
    ///
    /// # Errors
    /// I/O of the temporary file; `Limit` for one that takes too many bytes.
    pub fn directory(&mut self, row: DirectoryRow) -> Result<()> {
        self.item(&Item::Directory(row))
    }

    /// The next entry of the directory that was last.
    ///
    /// # Errors
    /// As [`StateWriter::directory`].
    pub fn entry(&mut self, row: Row) -> Result<()> {
        self.item(&Item::Entry(row))
    }

    /// Keeps the entries of a signature; gives the place where they begin.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn signature(&mut self, entries: &[u8]) -> Result<u64> {
        let offset = self.signature_bytes;
        self.signature_bytes += entries.len() as u64;
        self.signatures.write_all(entries).map_err(cannot_write)?;
        Ok(offset)
    }

    fn item(&mut self, item: &Item) -> Result<()> {
        self.item.clear();
        self.item.extend([0; 4]);
        item.encode(&mut self.item);
        let length = u32::try_from(self.item.len() - 4).ok().filter(|length| *length <= RSYNC_ITEM_BYTES);
        let Some(length) = length else {
            return Err(Error::new(Kind::Limit, "too much to be kept of").on("one entry"));
        };
        self.item[..4].copy_from_slice(&length.to_le_bytes());
        self.tree_bytes += self.item.len() as u64;
        self.tree.write_all(&self.item).map_err(cannot_write)
    }

    /// The whole state.
    ///
    /// # Errors
    /// I/O of temporary files.
    pub fn finish(mut self) -> Result<Spool> {
        self.item(&Item::End)?;
        let inner = |written: BufWriter<Spool>| {
            written.into_inner().map_err(|error| cannot_write(error.into_error()))
        };
        let (mut tree, mut signatures) = (inner(self.tree)?, inner(self.signatures)?);
        tree.rewind()?;
        let mut packed = self.scratch.spool();
        let encoding = Encoding { compression: Compression::Zstd, level: None, workers: 1 };
        codec::encode(
            encoding,
            |out| out.append(&mut tree),
            |piece| packed.write_all(piece).map_err(cannot_write),
        )?;
        let mut state = self.scratch.spool();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&self.level.to_le_bytes());
        head.extend_from_slice(&self.start.seconds.to_le_bytes());
        head.extend_from_slice(&self.start.nanoseconds.to_le_bytes());
        for length in [self.tree_bytes, packed.len(), self.signature_bytes] {
            head.extend_from_slice(&length.to_le_bytes());
        }
        state.write_all(&head).map_err(cannot_write)?;
        append(&mut state, &mut packed)?;
        append(&mut state, &mut signatures)?;
        Ok(state)
    }
}

fn append(state: &mut Spool, part: &mut Spool) -> Result<()> {
    part.rewind()?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = part.read(&mut buffer).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
        if length == 0 {
            return Ok(());
        }
        state.write_all(&buffer[..length]).map_err(cannot_write)?;
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write", "a temporary file", error)
}
