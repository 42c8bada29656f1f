//! Writes a snapshot file directory by directory, entry by entry, so that none is ever whole in memory.

use super::Directory;
use crate::engine::tar::dumpdir::{Code, check_entry};
use crate::error::{Error, Result};
use crate::time::FileTime;
use crate::tree::directory::lossy;
use std::io::Write;

/// The version is the one whose format and habits these files follow; tar looks only at the number behind the last dash.
const FIRST_LINE: &str = "GNU tar-1.34-2\n";

/// A snapshot file being written.
pub struct SnapshotWriter<W> {
    out: W,
    /// The last entry of the directory that is open.
    open: Option<Vec<u8>>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a file for a backup that was started at `start`: what has changed since then is in the next one.
    ///
    /// # Errors
    /// I/O.
    pub fn new(out: W, start: FileTime) -> Result<Self> {
        let mut writer = SnapshotWriter { out, open: None };
        writer.put(FIRST_LINE.as_bytes())?;
        writer.put(format!("{}\0{}\0", start.seconds, start.nanoseconds).as_bytes())?;
        Ok(writer)
    }

    /// Begins a directory.
    ///
    /// # Errors
    /// `Invalid` when one is open, or for a name that is empty or has a NUL; I/O.
    pub fn begin_directory(&mut self, directory: &Directory) -> Result<()> {
        let Directory { nfs, mtime, device, inode, name } = directory;
        if self.open.is_some() {
            return Err(Error::invalid("a directory inside a directory:", lossy(name)));
        }
        if name.is_empty() || name.contains(&0) {
            return Err(Error::invalid("not the name of a directory:", lossy(name)));
        }
        let FileTime { seconds, nanoseconds } = mtime;
        let fields = format!("{}\0{seconds}\0{nanoseconds}\0{device}\0{inode}\0", u8::from(*nfs));
        self.put(fields.as_bytes())?;
        self.put(name)?;
        self.put(b"\0")?;
        self.open = Some(Vec::new());
        Ok(())
    }

    /// Adds an entry to the open directory. GNU tar searches entries by halves: they must come in the order of their bytes.
    ///
    /// # Errors
    /// `Invalid` when no directory is open, for a rename, a name that is not one, or one out of order; I/O.
    pub fn entry(&mut self, code: Code, name: &[u8]) -> Result<()> {
        let unusable = |what: &str| Error::invalid(what, lossy(name));
        let before = self.open.as_mut().ok_or_else(|| unusable("an entry outside of a directory:"))?;
        if !code.is_entry() || check_entry(name).is_err() || name.contains(&0) {
            return Err(unusable("not an entry of a directory:"));
        }
        if before.as_slice() >= name {
            return Err(unusable("an entry out of order:"));
        }
        before.clear();
        before.extend_from_slice(name);
        self.put(&[code.letter()])?;
        self.put(name)?;
        self.put(b"\0")
    }

    /// Ends the open directory.
    ///
    /// # Errors
    /// `Invalid` when none is open; I/O.
    pub fn end_directory(&mut self) -> Result<()> {
        self.open.take().ok_or_else(|| Error::invalid("no directory to end", "in the snapshot file"))?;
        self.put(b"\0\0")
    }

    /// Ends the file and gives back where it was written to.
    ///
    /// # Errors
    /// `Invalid` when a directory is open; I/O.
    pub fn finish(mut self) -> Result<W> {
        if self.open.is_some() {
            return Err(Error::invalid("a directory without an end", "in the snapshot file"));
        }
        self.out.flush().map_err(cannot_write)?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(cannot_write)
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write", "the snapshot file", error)
}
