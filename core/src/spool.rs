//! Bytes of unknown number that are written once and then read: in memory up to [`SPOOL_MEMORY_BYTES`], beyond that in an
//! unlinked temporary file, so that the size of a tree never becomes a size of memory.

use crate::error::{Error, Result};
use crate::limits::SPOOL_MEMORY_BYTES;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::SpooledTempFile;

/// Where spools that outgrow memory put their (nameless) files.
#[derive(Debug, Clone)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Uses an existing folder, such as the system's temporary one.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Scratch(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A new, empty spool.
    pub fn spool(&self) -> Spool {
        Spool { file: tempfile::spooled_tempfile_in(SPOOL_MEMORY_BYTES, &self.0), length_bytes: 0 }
    }
}

/// Bytes that are appended, then read from any place.
pub struct Spool {
    file: SpooledTempFile,
    length_bytes: u64,
}

impl Spool {
    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.length_bytes
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.length_bytes == 0
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// I/O, and `Damaged` when the spool ends before the buffer is full.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let result = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(buffer));
        result.map_err(|e| Error::io("cannot read", "a temporary file", e))
    }

    /// Goes back to the start, to be read from there.
    ///
    /// # Errors
    /// I/O.
    pub fn rewind(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
        Ok(())
    }

    /// Appends everything that `source` has left; at most `limit_bytes`.
    ///
    /// # Errors
    /// I/O of either side, and `Limit` when there is more.
    pub fn fill(&mut self, source: &mut dyn Read, limit_bytes: u64) -> Result<u64> {
        let copied = std::io::copy(&mut source.take(limit_bytes.saturating_add(1)), self)
            .map_err(|e| Error::io("cannot fill", "a temporary file", e))?;
        if copied > limit_bytes {
            return Err(Error::new(crate::error::Kind::Limit, "more bytes than").on(limit_bytes.to_string()));
        }
        Ok(copied)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.length_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Read for Spool {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(buffer)
    }
}
