//! Looks up directories of a snapshot file by name and by inode, while the file itself stays in its spool.
//!
//! Per directory there are 32 bytes in memory: twice a key and the place of the record. The key of a name is a hash with a
//! secret of this run, so that no choice of names makes look-ups slow; every record that is found is read and compared.
//! Looked up in the order of the file, records come from one buffer that reads ahead; elsewhere little is read for each.

use super::{Record, reader};
use crate::engine::tar::dumpdir;
use crate::error::Result;
use crate::spool::Spool;
use crate::time::FileTime;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read};

/// What is read at a place that was jumped to, and what reading on from there grows to.
const FIRST_READ_BYTES: usize = 8 << 10;
const READ_AHEAD_BYTES: usize = 256 << 10;

/// Keys and places of records, sorted.
type Places = Vec<(u64, u64)>;

/// A snapshot file that can be searched.
pub struct Snapshot {
    window: Window,
    start: FileTime,
    first_record: u64,
    hasher: RandomState,
    names: Places,
    inodes: Places,
}

impl Snapshot {
    /// Reads a whole snapshot file once, checks it and remembers where everything is.
    ///
    /// # Errors
    /// As [`super::SnapshotReader`].
    pub fn load(spool: Spool) -> Result<Snapshot> {
        let mut window = Window::new(spool);
        let start = reader::read_head(&mut window)?;
        let first_record = window.position();
        let hasher = RandomState::new();
        let (mut names, mut inodes) = (Places::new(), Places::new());
        loop {
            let place = window.position();
            let Some(directory) = reader::read_directory(&mut window)? else { break };
            reader::read_entries(&mut window, &mut |_| Ok(()))?;
            names.push((hasher.hash_one(&directory.name), place));
            inodes.push((directory.inode, place));
        }
        names.sort_unstable();
        inodes.sort_unstable();
        Ok(Snapshot { window, start, first_record, hasher, names, inodes })
    }

    /// When the backup was started.
    pub fn start(&self) -> FileTime {
        self.start
    }

    /// How many directories there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The directory of this name; the first, should there be more.
    ///
    /// # Errors
    /// I/O.
    pub fn by_name(&mut self, name: &[u8]) -> Result<Option<Record>> {
        let key = self.hasher.hash_one(name);
        for place in places(&self.names, key) {
            let record = self.window.record(place)?;
            if record.directory.name == name {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Hands the entries of the directory of this name on, one by one, so that a large one is never in memory whole; whether
    /// there is such a directory.
    ///
    /// # Errors
    /// I/O, and those of `entry`.
    pub fn entries_of(
        &mut self,
        name: &[u8],
        entry: &mut dyn FnMut(dumpdir::Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        let key = self.hasher.hash_one(name);
        for place in places(&self.names, key) {
            self.window.seek(place);
            if reader::read_directory(&mut self.window)?.is_some_and(|directory| directory.name == name) {
                reader::read_entries(&mut self.window, entry)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The directories with this device and inode, in the order of the file: usually at most one, more where a file system
    /// is mounted twice.
    ///
    /// # Errors
    /// I/O.
    pub fn by_inode(&mut self, device: u64, inode: u64) -> Result<Vec<Record>> {
        let mut records = self.by_inode_number(inode)?;
        records.retain(|record| record.directory.device == device);
        Ok(records)
    }

    /// The directories with this inode on any device, in the order of the file, for sources whose device numbers change
    /// from one start of the system to the next.
    ///
    /// # Errors
    /// I/O.
    pub fn by_inode_number(&mut self, inode: u64) -> Result<Vec<Record>> {
        places(&self.inodes, inode).map(|place| self.window.record(place)).collect()
    }

    /// All records, in the order of the file.
    pub fn records(&mut self) -> impl Iterator<Item = Result<Record>> + '_ {
        let window = &mut self.window;
        window.seek(self.first_record);
        // A record was found whole here before, so that an error can only be the disk's, and ends the walk.
        let mut failed = false;
        std::iter::from_fn(move || {
            let next = if failed { None } else { reader::read_record(window).transpose() };
            failed = matches!(next, Some(Err(_)));
            next
        })
    }
}

/// The places of records with this key, in the order of the file.
fn places(sorted: &Places, key: u64) -> impl Iterator<Item = u64> + '_ {
    let first = sorted.partition_point(|(other, _)| *other < key);
    sorted[first..].iter().take_while(move |(other, _)| *other == key).map(|(_, place)| *place)
}

/// A spool seen through a buffer.
struct Window {
    spool: Spool,
    buffer: Vec<u8>,
    /// Where in the spool the buffer begins.
    buffer_start: u64,
    /// Where in the buffer reading goes on.
    at: usize,
    next_read_bytes: usize,
}

impl Window {
    fn new(spool: Spool) -> Window {
        Window { spool, buffer: Vec::new(), buffer_start: 0, at: 0, next_read_bytes: READ_AHEAD_BYTES }
    }

    fn position(&self) -> u64 {
        self.buffer_start + self.at as u64
    }

    fn seek(&mut self, place: u64) {
        let inside = place.checked_sub(self.buffer_start).filter(|&at| at <= self.buffer.len() as u64);
        match inside {
            // At most the length of the buffer.
            Some(at) => self.at = at as usize,
            None => {
                self.buffer.clear();
                (self.buffer_start, self.at) = (place, 0);
                self.next_read_bytes = FIRST_READ_BYTES;
            }
        }
    }

    fn record(&mut self, place: u64) -> Result<Record> {
        self.seek(place);
        reader::read_record(self)?.ok_or_else(|| super::damaged("a record is gone"))
    }

    fn refill(&mut self) -> Result<()> {
        self.buffer_start = self.position();
        self.at = 0;
        let left = self.spool.len().saturating_sub(self.buffer_start);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.next_read_bytes);
        self.buffer.resize(count, 0);
        self.next_read_bytes = (self.next_read_bytes * 2).min(READ_AHEAD_BYTES);
        self.spool.read_at(self.buffer_start, &mut self.buffer)
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Window {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.refill()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.buffer.len());
    }
}
