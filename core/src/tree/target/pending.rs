//! Attributes of directories, kept until everything below them is written, in memory that does not grow with the tree.
//!
//! Records are gathered, sorted and spilled as runs to a spool; at the end the runs are merged (external merge sort, Knuth
//! TAOCP 3, 5.4). Invariant: records come out deepest first, then by path, each path once with what was said of it last.

use super::path::depth;
use crate::error::{Error, Result};
use crate::limits::DEFERRED_BYTES;
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use crate::tree::attributes::Attributes;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::io::Write;

/// Bytes of a run that are read at once while runs are merged.
const MERGE_BYTES: usize = 32 << 10;

/// What records are sorted by.
type Key = (Reverse<usize>, Vec<u8>);

/// Attributes by path, waiting.
pub(super) struct Pending {
    gathered: BTreeMap<Key, Attributes>,
    gathered_bytes: usize,
    run_bytes: usize,
    spool: Spool,
    /// Where each run starts and ends in the spool, oldest first.
    runs: Vec<(u64, u64)>,
}

impl Pending {
    pub fn new(scratch: &Scratch) -> Self {
        Pending {
            gathered: BTreeMap::new(),
            gathered_bytes: 0,
            run_bytes: DEFERRED_BYTES,
            spool: scratch.spool(),
            runs: Vec::new(),
        }
    }

    /// Keeps attributes; a later call for the same path wins.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn push(&mut self, path: &[u8], attributes: Attributes) -> Result<()> {
        self.gathered_bytes = self.gathered_bytes.saturating_add(weight(path, &attributes));
        self.gathered.insert((Reverse(depth(path)), path.to_vec()), attributes);
        if self.gathered_bytes > self.run_bytes { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let start = self.spool.len();
        self.gathered_bytes = 0;
        for ((_, path), attributes) in std::mem::take(&mut self.gathered) {
            let record = encode(&path, &attributes);
            let length = (record.len() as u64).to_le_bytes();
            let written = self.spool.write_all(&length).and_then(|()| self.spool.write_all(&record));
            written.map_err(|e| Error::io("cannot write", "a temporary file", e))?;
        }
        self.runs.push((start, self.spool.len()));
        Ok(())
    }

    /// Hands out everything, deepest first.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn drain(mut self, mut take: impl FnMut(&[u8], &Attributes)) -> Result<()> {
        if self.runs.is_empty() {
            self.gathered.iter().for_each(|((_, path), attributes)| take(path, attributes));
            return Ok(());
        }
        self.spill()?;
        let mut readers: Vec<Run> = self.runs.iter().map(|&(start, end)| Run::new(start, end)).collect();
        let mut heap = BinaryHeap::new();
        let mut waiting: Vec<Option<Attributes>> = Vec::new();
        for (index, reader) in readers.iter_mut().enumerate() {
            waiting.push(None);
            advance(index, reader, &mut self.spool, &mut heap, &mut waiting)?;
        }
        let mut last: Option<Key> = None;
        // Equal paths come out with the newest run first; the older ones are passed over.
        while let Some(Reverse((key, Reverse(index)))) = heap.pop() {
            let attributes = waiting[index].take();
            if last.as_ref() != Some(&key) {
                attributes.iter().for_each(|attributes| take(&key.1, attributes));
                last = Some(key);
            }
            advance(index, &mut readers[index], &mut self.spool, &mut heap, &mut waiting)?;
        }
        Ok(())
    }
}

type Heap = BinaryHeap<Reverse<(Key, Reverse<usize>)>>;

/// Puts the next record of a run into the heap.
fn advance(
    index: usize,
    reader: &mut Run,
    spool: &mut Spool,
    heap: &mut Heap,
    waiting: &mut [Option<Attributes>],
) -> Result<()> {
    if let Some((path, attributes)) = reader.next(spool)? {
        waiting[index] = Some(attributes);
        heap.push(Reverse(((Reverse(depth(&path)), path), Reverse(index))));
    }
    Ok(())
}

/// Reads one run from its start to its end.
struct Run {
    /// Where in the spool the buffer ends.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Run {
    fn new(at: u64, end: u64) -> Self {
        Run { at, end, buffer: Vec::new(), used: 0 }
    }

    fn next(&mut self, spool: &mut Spool) -> Result<Option<(Vec<u8>, Attributes)>> {
        if self.at == self.end && self.used == self.buffer.len() {
            return Ok(None);
        }
        let broken = || Error::damaged("broken record in", "a temporary file");
        let length =
            self.bytes(8, spool)?.first_chunk().copied().map(u64::from_le_bytes).ok_or_else(broken)?;
        let length = usize::try_from(length).map_err(|_| broken())?;
        decode(self.bytes(length, spool)?).map(Some).ok_or_else(broken)
    }

    /// The next `count` bytes.
    fn bytes(&mut self, count: usize, spool: &mut Spool) -> Result<&[u8]> {
        let here = self.buffer.len() - self.used;
        if here < count {
            self.buffer.drain(..self.used);
            self.used = 0;
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let more = (count - here).max(MERGE_BYTES).min(left);
            if here + more < count {
                return Err(Error::damaged("short record in", "a temporary file"));
            }
            self.buffer.resize(here + more, 0);
            spool.read_at(self.at, &mut self.buffer[here..])?;
            self.at += more as u64;
        }
        self.used += count;
        Ok(&self.buffer[self.used - count..self.used])
    }
}

/// About how much memory a record takes.
fn weight(path: &[u8], attributes: &Attributes) -> usize {
    let xattrs: usize = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
    256 + path.len() + attributes.user.len() + attributes.group.len() + xattrs
}

/// Numbers little-endian, byte strings behind their length; `ctime` is left out, since it cannot be set.
fn encode(path: &[u8], attributes: &Attributes) -> Vec<u8> {
    let mut record = Vec::with_capacity(weight(path, attributes));
    for number in [attributes.mode, attributes.uid, attributes.gid] {
        record.extend(number.to_le_bytes());
    }
    put_time(&mut record, attributes.mtime);
    record.push(attributes.atime.is_some().into());
    put_time(&mut record, attributes.atime.unwrap_or_default());
    for bytes in [path, &attributes.user, &attributes.group] {
        put_bytes(&mut record, bytes);
    }
    for (name, value) in &attributes.xattrs {
        put_bytes(&mut record, name);
        put_bytes(&mut record, value);
    }
    record
}

fn put_time(record: &mut Vec<u8>, time: FileTime) {
    record.extend(time.seconds.to_le_bytes());
    record.extend(time.nanoseconds.to_le_bytes());
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend((bytes.len() as u64).to_le_bytes());
    record.extend_from_slice(bytes);
}

fn decode(mut record: &[u8]) -> Option<(Vec<u8>, Attributes)> {
    let input = &mut record;
    let mut attributes = Attributes {
        mode: u32::from_le_bytes(take_array(input)?),
        uid: u32::from_le_bytes(take_array(input)?),
        gid: u32::from_le_bytes(take_array(input)?),
        mtime: take_time(input)?,
        ..Attributes::default()
    };
    let [has_atime] = take_array(input)?;
    let atime = take_time(input)?;
    attributes.atime = (has_atime == 1).then_some(atime);
    let path = take_bytes(input)?;
    attributes.user = take_bytes(input)?;
    attributes.group = take_bytes(input)?;
    while !input.is_empty() {
        attributes.xattrs.push((take_bytes(input)?, take_bytes(input)?));
    }
    Some((path, attributes))
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*array)
}

fn take_time(input: &mut &[u8]) -> Option<FileTime> {
    let seconds = i64::from_le_bytes(take_array(input)?);
    let nanoseconds = u32::from_le_bytes(take_array(input)?);
    Some(FileTime { seconds, nanoseconds })
}

fn take_bytes(input: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(take_array(input)?)).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attributes() -> impl Strategy<Value = Attributes> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
        let time = || (any::<i64>(), 0_u32..1_000_000_000).prop_map(|(s, n)| FileTime::new(s, n));
        let xattrs = proptest::collection::vec((bytes(), bytes()), 0..3);
        let numbers = (any::<u32>(), any::<u32>(), any::<u32>());
        (numbers, bytes(), bytes(), time(), proptest::option::of(time()), xattrs).prop_map(
            |((mode, uid, gid), user, group, mtime, atime, xattrs)| Attributes {
                mode,
                uid,
                gid,
                user,
                group,
                mtime,
                atime,
                ctime: None,
                xattrs,
            },
        )
    }

    proptest! {
        #[test]
        fn records_survive(path in "[a-c/]{0,9}", attributes in attributes()) {
            let record = encode(path.as_bytes(), &attributes);
            prop_assert_eq!(decode(&record), Some((path.into_bytes(), attributes)));
        }

        #[test]
        fn broken_records_are_noticed(record in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some((path, attributes)) = decode(&record) {
                prop_assert!(path.len() + attributes.user.len() <= record.len());
            }
        }

        #[test]
        fn deepest_first_and_the_last_word_counts(
            run_bytes in prop::sample::select(vec![1, 400, 1000, DEFERRED_BYTES]),
            calls in proptest::collection::vec(("[ab](/[ab]){0,3}", 0_u32..0o7777), 0..60),
        ) {
            let mut pending = Pending::new(&Scratch::new(std::env::temp_dir()));
            pending.run_bytes = run_bytes;
            let mut model = BTreeMap::new();
            for (path, mode) in calls {
                let attributes = Attributes { mode, ..Attributes::default() };
                pending.push(path.as_bytes(), attributes).unwrap();
                model.insert((Reverse(path.split('/').count()), path.into_bytes()), mode);
            }
            let mut found = Vec::new();
            pending.drain(|path, attributes| found.push((path.to_vec(), attributes.mode))).unwrap();
            let wanted: Vec<_> = model.into_iter().map(|((_, path), mode)| (path, mode)).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
