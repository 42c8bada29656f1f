//! What a level says of a path, whichever engine wrote it.
//!
//! Invariant: a path that is not refused is one below the root of the backup, its components plain names; blocks are in the
//! order of the file, and none twice.

use crate::error::{Error, Kind, Result};
use crate::limits::{FREEZER_BLOCK_BYTES, FREEZER_BLOCK_RUNS};
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;

/// What a level says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The path below the root of the backup, which is empty itself; as it was stored where it is refused.
    pub path: Vec<u8>,
    /// Whether the path leads out of the backup, or is none: nothing may be written there.
    pub refused: bool,
    /// Whether the stream ended before its content did.
    pub is_cut: bool,
    /// What is said.
    pub what: What,
}

/// What is said of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was gone.
    Deleted,
    /// It was new, or had changed.
    Entry(Box<Entry>),
}

/// An entry that was new or had changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its type.
    pub kind: FileKind,
    /// What it gets besides its content. The second engine stored owners by name alone: its numbers are 0.
    pub attributes: Attributes,
    /// How long the file was.
    pub size_bytes: u64,
    /// Where a symbolic link points to.
    pub points_to: Vec<u8>,
    /// What of a file the stream holds.
    pub content: Content,
}

/// What of a file the stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing: it is no file.
    None,
    /// All of it.
    Whole,
    /// Some blocks; the others are as the level below had them.
    Blocks(Blocks),
}

impl Record {
    /// A record of a path as it was stored.
    pub(super) fn new(stored: Vec<u8>, what: What) -> Record {
        match tree_path(&stored) {
            Some(path) => Record { path, refused: false, is_cut: false, what },
            None => Record { path: stored, refused: true, is_cut: false, what },
        }
    }

    /// How many bytes of content the stream has for it.
    pub fn payload_bytes(&self) -> u64 {
        let What::Entry(entry) = &self.what else { return 0 };
        match &entry.content {
            Content::None => 0,
            Content::Whole => entry.size_bytes,
            Content::Blocks(blocks) => blocks.stored_bytes(),
        }
    }
}

/// The path in the tree of a stored one; `None` for one that is absolute, leads upwards or is no path.
pub(super) fn tree_path(stored: &[u8]) -> Option<Vec<u8>> {
    if stored == b"." {
        return Some(Vec::new());
    }
    let path = stored.strip_prefix(b"./").unwrap_or(stored);
    let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    path.split(|&byte| byte == b'/').all(plain).then(|| path.to_vec())
}

/// Blocks of a file, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// First number and count of each run of neighbours, in order.
    runs: Vec<(u64, u64)>,
    /// How long a block is, where that is known.
    block_bytes: Option<u64>,
    /// How many bytes the stream has of them.
    stored_bytes: u64,
}

impl Blocks {
    /// None yet, of blocks of this length.
    ///
    /// # Errors
    /// `Limit` for a length that no engine would take.
    pub(super) fn new(block_bytes: Option<u64>) -> Result<Blocks> {
        if block_bytes.is_some_and(|bytes| bytes == 0 || bytes > FREEZER_BLOCK_BYTES) {
            let most = format!("1 to {FREEZER_BLOCK_BYTES} bytes");
            return Err(Error::new(Kind::Limit, "a block has").on(most));
        }
        Ok(Blocks { runs: Vec::new(), block_bytes, stored_bytes: 0 })
    }

    /// Adds one behind the others.
    ///
    /// # Errors
    /// `Damaged` when it is not behind the others, or in no file; `Limit` for too many.
    pub(super) fn push(&mut self, number: u64) -> Result<()> {
        let longest = self.block_bytes.unwrap_or(FREEZER_BLOCK_BYTES);
        let end = number.checked_add(1).and_then(|end| end.checked_mul(longest));
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Error::damaged("there is no block of the number", number.to_string()));
        }
        let count_of_runs = self.runs.len();
        match self.runs.last_mut() {
            Some((first, count)) if number == *first + *count => *count += 1,
            Some((first, count)) if number < *first + *count => {
                return Err(Error::damaged(
                    "blocks are not in order: behind a later one comes",
                    number.to_string(),
                ));
            }
            _ if count_of_runs >= FREEZER_BLOCK_RUNS => {
                let most = format!("{FREEZER_BLOCK_RUNS} runs");
                return Err(Error::new(Kind::Limit, "the blocks of a file are in more than").on(most));
            }
            _ => self.runs.push((number, 1)),
        }
        Ok(())
    }

    /// Says how long the file is, and so how many bytes the stream has of the blocks. `named` is what the stream says of that,
    /// where it can be relied on.
    ///
    /// # Errors
    /// `Damaged` when both differ.
    pub(super) fn close(mut self, size_bytes: u64, named: Option<u64>) -> Result<Blocks> {
        let counted =
            self.block_bytes.map(|_| self.extents(size_bytes).map(|(_, length)| length).sum::<u64>());
        self.stored_bytes = match (counted, named) {
            (Some(counted), Some(named)) if counted != named => {
                let what = format!("{named} bytes of changed blocks, where their numbers make it {counted}:");
                return Err(
                    Error::new(Kind::Damaged, what).hint("the block size of the metadata may be wrong")
                );
            }
            (counted, named) => counted.or(named).unwrap_or(0),
        };
        Ok(self)
    }

    /// How many bytes the stream has of them.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Where they are in a file of this length: offset and length of each run, in order; none where no length of blocks is known.
    pub fn extents(&self, size_bytes: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let block_bytes = self.block_bytes.unwrap_or(0);
        self.runs.iter().filter_map(move |(first, count)| {
            let start = first.saturating_mul(block_bytes);
            let end = start.saturating_add(count.saturating_mul(block_bytes)).min(size_bytes);
            (end > start).then(|| (start, end - start))
        })
    }
}

/// Wraps trouble with a record in the path it is of.
pub(super) fn of_record(error: Error, path: &[u8]) -> Error {
    error.while_doing("cannot read the record of", lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for (stored, expected) in [
            (&b"."[..], Some(&b""[..])),
            (b"./a/b", Some(b"a/b")),
            (b"a", Some(b"a")),
            (b"a b/\xff", Some(b"a b/\xff")),
            (b"", None),
            (b"/etc/passwd", None),
            (b"..", None),
            (b"a/../b", None),
            (b"a//b", None),
            (b"a/.", None),
            (b"a\0b", None),
        ] {
            assert_eq!(tree_path(stored).as_deref(), expected, "{}", lossy(stored));
        }
    }

    #[test]
    fn blocks_are_runs_and_end_with_the_file() {
        let mut blocks = Blocks::new(Some(10)).unwrap();
        for number in [0, 1, 3, 7] {
            blocks.push(number).unwrap();
        }
        assert!(blocks.push(7).is_err() && blocks.push(2).is_err());
        let extents: Vec<_> = blocks.extents(35).collect();
        assert_eq!(extents, [(0, 20), (30, 5)]);
        assert_eq!(blocks.clone().close(35, None).unwrap().stored_bytes(), 25);
        assert_eq!(blocks.clone().close(35, Some(25)).unwrap().stored_bytes(), 25);
        assert_eq!(blocks.close(35, Some(24)).unwrap_err().kind(), Kind::Damaged);
        assert!(Blocks::new(Some(0)).is_err());
        assert!(Blocks::new(None).unwrap().push(u64::MAX).is_err());
    }
}
