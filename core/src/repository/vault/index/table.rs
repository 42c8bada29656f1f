//! All chunks in memory: 48 bytes each, sorted, found by where their random names must be.
//!
//! Names are keyed hashes, thus spread evenly: the first byte picks a shard, the next four one of its buckets of some eight
//! entries. Nothing relies on that but speed. Invariant: between changes every name is there once.

use super::super::id::{ChunkId, ChunkKind, ID_BYTES};
use super::super::pack::{Location, PackRef};

const SHARDS: usize = 256;
const BUCKET_ENTRIES: usize = 8;
const PLACE_BYTES: usize = 16;

const OFFSET_BITS: u32 = 26;
const LENGTH_BITS: u32 = 25;
const NUMBER_BITS: u32 = 16;

/// A chunk and its place. Without alignment, so that nothing is lost between them.
#[derive(Clone, Copy)]
struct Entry {
    id: ChunkId,
    place: [u8; PLACE_BYTES],
}

const _: () = assert!(size_of::<Entry>() == ID_BYTES + PLACE_BYTES);

impl Entry {
    fn new(id: ChunkId, at: &Location) -> Entry {
        let mut place = u128::from(at.pack.0);
        for (bits, value) in [
            (OFFSET_BITS, at.offset),
            (LENGTH_BITS, at.sealed_bytes),
            (LENGTH_BITS, at.raw_bytes),
            (NUMBER_BITS, at.number),
            (1, u32::from(at.compression)),
            (2, u32::from(at.kind.number())),
        ] {
            debug_assert!(u64::from(value) < 1 << bits);
            place = place << bits | u128::from(value);
        }
        Entry { id, place: place.to_le_bytes() }
    }

    fn location(&self) -> Location {
        let mut place = u128::from_le_bytes(self.place);
        let mut take = |bits: u32| {
            let value = (place & ((1 << bits) - 1)) as u32;
            place >>= bits;
            value
        };
        // In the order opposite to that in which they were put in.
        let kind = ChunkKind::from_number(take(2) as u8).unwrap_or(ChunkKind::Content);
        let compression = take(1) as u8;
        let number = take(NUMBER_BITS);
        let raw_bytes = take(LENGTH_BITS);
        let sealed_bytes = take(LENGTH_BITS);
        let offset = take(OFFSET_BITS);
        let pack = PackRef(take(32));
        Location { pack, offset, sealed_bytes, raw_bytes, compression, number, kind }
    }

    fn set_pack(&mut self, pack: PackRef) {
        let at = Location { pack, ..self.location() };
        *self = Entry::new(self.id, &at);
    }
}

#[derive(Default)]
struct Shard {
    entries: Vec<Entry>,
    /// Where each bucket begins, and the end.
    starts: Vec<u32>,
}

impl Shard {
    fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            // An eighth and no more: doubling would take twice the memory that is promised.
            self.entries.reserve_exact(self.entries.len() / 8 + 16);
        }
        self.entries.push(entry);
    }

    fn buckets(&self) -> u64 {
        (self.entries.len() / BUCKET_ENTRIES).max(1) as u64
    }

    fn settle(&mut self) {
        self.entries.sort_unstable_by_key(|entry| (entry.id, entry.location().pack, entry.location().number));
        self.entries.dedup_by_key(|entry| entry.id);
        self.entries.shrink_to_fit();
        let buckets = self.buckets();
        self.starts = Vec::with_capacity(buckets as usize + 1);
        for (at, entry) in self.entries.iter().enumerate() {
            while self.starts.len() as u64 <= bucket(&entry.id, buckets) {
                self.starts.push(at as u32);
            }
        }
        self.starts.resize(buckets as usize + 1, self.entries.len() as u32);
    }

    fn find(&self, id: &ChunkId) -> Option<&Entry> {
        let bucket = bucket(id, self.buckets()) as usize;
        let (from, to) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        let entries = &self.entries[from..to];
        entries.binary_search_by(|entry| entry.id.cmp(id)).ok().map(|at| &entries[at])
    }
}

/// Grows with the name, so that buckets are in the order of names.
fn bucket(id: &ChunkId, buckets: u64) -> u64 {
    let number = u32::from_be_bytes([id.0[1], id.0[2], id.0[3], id.0[4]]);
    (u64::from(number) * buckets) >> 32
}

/// Chunks by name.
pub(super) struct Table {
    shards: Vec<Shard>,
    pushed: usize,
}

impl Table {
    pub fn new() -> Table {
        Table { shards: (0..SHARDS).map(|_| Shard::default()).collect(), pushed: 0 }
    }

    /// Adds a chunk; it is found after [`Table::settle`].
    pub fn push(&mut self, id: ChunkId, at: &Location) {
        self.pushed += 1;
        self.shards[usize::from(id.0[0])].push(Entry::new(id, at));
    }

    /// Chunks that were added and not taken out since the last [`Table::settle`], those that are the same among them.
    pub fn pushed(&self) -> usize {
        self.pushed
    }

    /// Renames packs: chunks for whose pack `name` has none are gone.
    pub fn rename(&mut self, name: impl Fn(PackRef) -> Option<PackRef>) {
        for shard in &mut self.shards {
            shard.entries.retain_mut(|entry| match name(entry.location().pack) {
                Some(pack) => {
                    entry.set_pack(pack);
                    true
                }
                None => false,
            });
        }
    }

    /// Makes what was added findable. Of a name that was added more than once, the one in the first pack stays.
    pub fn settle(&mut self) {
        self.shards.iter_mut().for_each(Shard::settle);
        self.pushed = self.len();
    }

    pub fn find(&self, id: &ChunkId) -> Option<Location> {
        self.shards[usize::from(id.0[0])].find(id).map(Entry::location)
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.entries.len()).sum()
    }

    /// Every chunk, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (ChunkId, Location)> + '_ {
        self.shards.iter().flat_map(|shard| &shard.entries).map(|entry| (entry.id, entry.location()))
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub fn memory_bytes(&self) -> usize {
        let of = |shard: &Shard| shard.entries.capacity() * size_of::<Entry>() + shard.starts.capacity() * 4;
        self.shards.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(number: u64) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn place(pack: u32) -> Location {
        let kind = ChunkKind::Content;
        Location {
            pack: PackRef(pack),
            offset: 128,
            sealed_bytes: 20,
            raw_bytes: 4,
            compression: 0,
            number: 0,
            kind,
        }
    }

    proptest! {
        #[test]
        fn a_place_comes_back_from_its_bits(
            pack in any::<u32>(),
            offset in 0u32..1 << 26,
            sealed_bytes in 0u32..1 << 25,
            raw_bytes in 0u32..=1 << 24,
            compression in 0u8..2,
            number in 0u32..1 << 16,
            kind in 0u8..4,
        ) {
            let kind = ChunkKind::from_number(kind).unwrap();
            let pack = PackRef(pack);
            let at = Location { pack, offset, sealed_bytes, raw_bytes, compression, number, kind };
            let mut entry = Entry::new(name(1), &at);
            prop_assert_eq!(entry.location(), at);
            entry.set_pack(PackRef(7));
            prop_assert_eq!(entry.location(), Location { pack: PackRef(7), ..at });
        }
    }

    #[test]
    fn every_chunk_is_found_and_no_other_and_the_first_pack_wins() {
        let mut table = Table::new();
        for number in 0..50_000 {
            table.push(name(number), &place(2));
            if number % 3 == 0 {
                table.push(name(number), &place(1));
            }
        }
        table.settle();
        assert_eq!(table.len(), 50_000);
        for number in 0..50_000 {
            let pack = if number % 3 == 0 { 1 } else { 2 };
            assert_eq!(table.find(&name(number)), Some(place(pack)));
            assert_eq!(table.find(&name(number + 50_000)), None);
        }
        table.rename(|pack| (pack.0 == 1).then_some(PackRef(9)));
        table.settle();
        assert_eq!(table.len(), 50_000_usize.div_ceil(3));
        assert_eq!(table.find(&name(3)), Some(place(9)));
        assert_eq!(table.find(&name(4)), None);
        assert!(Table::new().find(&name(0)).is_none());
    }

    #[test]
    fn names_that_are_not_spread_are_found_all_the_same() {
        let mut table = Table::new();
        let close = |number: u32| {
            let mut id = [5; ID_BYTES];
            id[28..].copy_from_slice(&number.to_le_bytes());
            ChunkId(id)
        };
        (0..3000).for_each(|number| table.push(close(number), &place(0)));
        table.settle();
        assert!((0..3000).all(|number| table.find(&close(number)).is_some()));
        assert!((3000..6000).all(|number| table.find(&close(number)).is_none()));
    }

    #[test]
    fn a_chunk_takes_less_than_56_bytes_even_while_chunks_are_added() {
        let mut table = Table::new();
        let count = 600_000;
        (0..count).for_each(|number| table.push(name(number), &place(0)));
        let bound = count as usize * 56;
        assert!(table.memory_bytes() < bound, "{}", table.memory_bytes());
        table.settle();
        assert!(table.memory_bytes() < bound, "{}", table.memory_bytes());
    }
}
