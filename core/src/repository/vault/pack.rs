//! Packs: many chunks in one object (section 4 of the format). Bytes and their meaning; storages are the business of others.
//!
//! Invariants: blobs follow each other without gaps in the order of the rows; the number of a blob is its nonce and comes once
//! under the key of its pack; a row that is read keeps every limit, so that whoever has one may allocate for it.

use super::compression::{STORED, ZSTD};
use super::header::{HEADER_BYTES, Header, IDENTITY_BYTES, ObjectKind, bound};
use super::id::{ChunkId, ChunkKind, ID_BYTES, ObjectId};
use super::keys::Keys;
use super::seal::{SealKey, TAG_BYTES, random};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNK_BYTES, NODE_BYTES, PACK_BYTES, PACK_CHUNKS, PACK_CLOSE_BYTES};
use std::sync::Arc;

/// Bytes of a row.
pub const ROW_BYTES: usize = ID_BYTES + 10;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 8;
/// Packs are a multiple of this long.
pub const PACK_ALIGNMENT: usize = 4096;

const TRAILER_MAGIC: [u8; 4] = *b"ipk1";
const TABLE_COUNTER: u64 = 1 << 63;
const BINDING_BYTES: usize = ID_BYTES + IDENTITY_BYTES;
/// What a new buffer has room for: a pack that is closed when it is full, by a chunk of the usual size.
const BUFFER_BYTES: usize = PACK_CLOSE_BYTES + (5 << 20);

/// A pack among those an [`super::index::Index`] knows; means nothing to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRef(pub(super) u32);

/// Where a chunk is, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack that holds it.
    pub pack: PackRef,
    /// Where its blob begins.
    pub offset: u32,
    /// Bytes of the blob, with its tag.
    pub sealed_bytes: u32,
    /// Bytes of the chunk.
    pub raw_bytes: u32,
    /// How it is compressed: 0 not, 1 zstd.
    pub compression: u8,
    /// The number of the blob in its pack.
    pub number: u32,
    /// What the chunk holds.
    pub kind: ChunkKind,
}

impl Location {
    /// Where its blob ends.
    pub fn end(&self) -> u32 {
        self.offset + self.sealed_bytes
    }

    /// The row of its pack's table.
    pub fn row(&self, id: ChunkId) -> Row {
        Row {
            id,
            sealed_bytes: self.sealed_bytes,
            raw_bytes: self.raw_bytes,
            compression: self.compression,
            kind: self.kind,
        }
    }
}

/// One row of a table: what a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The chunk.
    pub id: ChunkId,
    /// Bytes of the blob, with its tag.
    pub sealed_bytes: u32,
    /// Bytes of the chunk.
    pub raw_bytes: u32,
    /// How it is compressed.
    pub compression: u8,
    /// What the chunk holds.
    pub kind: ChunkKind,
}

/// Most bytes of a chunk of this kind.
pub fn chunk_limit(kind: ChunkKind) -> usize {
    match kind {
        ChunkKind::Content | ChunkKind::Attributes => CHUNK_BYTES,
        ChunkKind::Node | ChunkKind::List => NODE_BYTES,
    }
}

/// The kind of pack for chunks of this kind.
pub fn pack_kind(is_metadata: bool) -> ObjectKind {
    if is_metadata { ObjectKind::MetadataPack } else { ObjectKind::ContentPack }
}

impl Row {
    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.sealed_bytes.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&[self.compression, self.kind.number()]);
    }

    /// Takes a row of a pack with metadata or with content.
    ///
    /// # Errors
    /// `Damaged` when it breaks a limit or contradicts itself, `Unsupported` for what a newer version wrote.
    pub fn read(bytes: &[u8; ROW_BYTES], is_metadata: bool) -> Result<Row> {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&bytes[..ID_BYTES]);
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let newer =
            |what: &str| Error::new(Kind::Unsupported, format!("{what}, which a newer version wrote"));
        let compression = bytes[40];
        if compression > ZSTD {
            return Err(newer(&format!("compression {compression}")));
        }
        let kind =
            ChunkKind::from_number(bytes[41]).ok_or_else(|| newer(&format!("chunk kind {}", bytes[41])))?;
        let row = Row { id: ChunkId(id), sealed_bytes: number(32), raw_bytes: number(36), compression, kind };
        if row.is_sound(is_metadata) {
            Ok(row)
        } else {
            Err(Error::damaged("an impossible row for chunk", row.id.to_string()))
        }
    }

    fn is_sound(&self, is_metadata: bool) -> bool {
        let Some(stored_bytes) = (self.sealed_bytes as usize).checked_sub(TAG_BYTES) else { return false };
        let raw_bytes = self.raw_bytes as usize;
        let fits = match self.compression {
            STORED => stored_bytes == raw_bytes,
            _ => stored_bytes < raw_bytes,
        };
        fits && raw_bytes <= chunk_limit(self.kind) && self.kind.is_metadata() == is_metadata
    }
}

/// Takes `u32 number ‖ rows` off the front of `bytes`; gives the rows and what is behind them.
///
/// # Errors
/// As [`Row::read`]; `Damaged` when there are more than a pack may have, or fewer than said.
pub fn read_rows(bytes: &[u8], is_metadata: bool) -> Result<(Vec<Row>, &[u8])> {
    let short = || Error::damaged("too short", "a table of chunks");
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > PACK_CHUNKS {
        return Err(Error::damaged("too many chunks in a pack:", count.to_string()));
    }
    let rows = rest.get(..count * ROW_BYTES).ok_or_else(short)?;
    let read = |row: &[u8]| {
        let row = row.try_into().map_err(|_| short())?;
        Row::read(row, is_metadata)
    };
    let read = rows.chunks_exact(ROW_BYTES).map(read).collect::<Result<Vec<Row>>>()?;
    Ok((read, &rest[count * ROW_BYTES..]))
}

/// Where the blobs of these rows end; `None` when that is beyond any pack.
pub fn blobs_end(rows: &[Row]) -> Option<usize> {
    let end = rows.iter().fold(HEADER_BYTES as u64, |end, row| end + u64::from(row.sealed_bytes));
    usize::try_from(end).ok().filter(|end| *end <= PACK_BYTES)
}

/// Takes a trailer: the sealed length of the table in a pack of `size_bytes`.
///
/// # Errors
/// `Damaged` when it is none.
pub fn read_trailer(trailer: &[u8], size_bytes: usize) -> Result<usize> {
    let damaged = || Error::damaged("a pack has no trailer:", format!("{size_bytes} bytes"));
    let (length, magic) = trailer.split_first_chunk::<4>().ok_or_else(damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    let fits = (HEADER_BYTES + TRAILER_BYTES)
        .checked_add(length)
        .is_some_and(|least| least <= size_bytes && size_bytes <= PACK_BYTES);
    let sound = magic == TRAILER_MAGIC && fits && size_bytes.is_multiple_of(PACK_ALIGNMENT);
    if sound { Ok(length) } else { Err(damaged()) }
}

/// Most bytes that the sealed table of so many chunks and the trailer take.
pub fn table_room(chunks: usize) -> usize {
    4 + chunks * ROW_BYTES + PACK_ALIGNMENT + TAG_BYTES + TRAILER_BYTES
}

/// Takes the opened table of a pack: its rows, whose blobs fill exactly what is before the table.
///
/// # Errors
/// As [`read_rows`]; `Damaged` when the padding is not what it should be.
pub fn read_table(plain: &[u8], is_metadata: bool, table_offset: usize) -> Result<Vec<Row>> {
    let (rows, padding) = read_rows(plain, is_metadata)?;
    if padding.len() >= PACK_ALIGNMENT || padding.iter().any(|byte| *byte != 0) {
        return Err(Error::damaged("wrong padding of", "a table of chunks"));
    }
    if blobs_end(&rows) != Some(table_offset) {
        return Err(Error::damaged("wrong lengths in", "a table of chunks"));
    }
    Ok(rows)
}

/// The key of a pack with what its blobs are bound to, ready to open any of them.
pub struct PackKey {
    key: SealKey,
    binding: [u8; BINDING_BYTES],
}

impl PackKey {
    /// Prepares the key that a header has.
    ///
    /// # Errors
    /// `Damaged` when it does not open.
    pub fn new(keys: &Keys, header: &Header) -> Result<PackKey> {
        Ok(PackKey::with(keys, header, header.key(keys)?))
    }

    fn with(keys: &Keys, header: &Header, key: SealKey) -> PackKey {
        let mut binding = [0; BINDING_BYTES];
        binding[..ID_BYTES].copy_from_slice(&keys.repository().0);
        binding[ID_BYTES..].copy_from_slice(header.identity());
        PackKey { key, binding }
    }

    /// Opens a blob in place; gives the stored bytes.
    ///
    /// # Errors
    /// `Damaged` when it is not the blob of this number, row and pack.
    pub fn open<'a>(&self, number: u32, row: &Row, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let data = self.blob_data(number, row);
        let opened = self.key.open(u64::from(number), &data, sealed);
        opened.ok_or_else(|| Error::damaged("wrong seal of chunk", row.id.to_string()))
    }

    fn seal(&self, number: u32, row: &Row, buffer: &mut Vec<u8>, from: usize) -> Result<()> {
        self.key.seal(u64::from(number), &self.blob_data(number, row), buffer, from)
    }

    fn blob_data(&self, number: u32, row: &Row) -> [u8; BINDING_BYTES + ID_BYTES + 14] {
        let mut data = [0; BINDING_BYTES + ID_BYTES + 14];
        let (binding, rest) = data.split_at_mut(BINDING_BYTES);
        binding.copy_from_slice(&self.binding);
        rest[..8].copy_from_slice(&u64::from(number).to_le_bytes());
        rest[8..40].copy_from_slice(&row.id.0);
        rest[40..44].copy_from_slice(&row.raw_bytes.to_le_bytes());
        rest[44] = row.compression;
        rest[45] = row.kind.number();
        data
    }

    /// Opens the table of the pack with this header, in place, and gives its rows.
    ///
    /// # Errors
    /// `Damaged` when it is not the table of this pack.
    pub fn open_table(
        &self,
        keys: &Keys,
        header: &Header,
        sealed: &mut [u8],
        is_metadata: bool,
        table_offset: usize,
    ) -> Result<Vec<Row>> {
        let opened = self.key.open(TABLE_COUNTER, &bound(keys, header.bytes()), sealed);
        let plain =
            opened.ok_or_else(|| Error::damaged("wrong seal of the table of", header.id().to_string()))?;
        read_table(plain, is_metadata, table_offset)
            .map_err(|error| error.while_doing("cannot read the table of pack", header.id().to_string()))
    }
}

/// A pack whose chunks are known: what an index says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DescribedPack {
    /// Its header, and with it name and kind.
    pub header: Header,
    /// Whether it holds metadata rather than content.
    pub is_metadata: bool,
    /// Bytes of the object.
    pub size_bytes: u32,
    /// Its table.
    pub rows: Arc<[Row]>,
}

impl DescribedPack {
    /// Its name.
    pub fn id(&self) -> ObjectId {
        self.header.id()
    }
}

/// A pack that is being filled, and then must be given to [`super::writer::Writer::store`].
#[must_use = "chunks in a pack that is not stored are lost"]
pub struct Pack {
    header: Header,
    is_metadata: bool,
    key: PackKey,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Pack {
    /// An empty pack with a new name and key; `buffer` is used again.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(super) fn begin(keys: &Keys, is_metadata: bool, buffer: Vec<u8>) -> Result<Pack> {
        let (header, key) = Header::create(keys, pack_kind(is_metadata), ObjectId(random()?))?;
        Ok(Pack::with(keys, header, key, is_metadata, buffer))
    }

    /// As [`Pack::begin`] with a header that is given: test vectors need one.
    pub(super) fn with(
        keys: &Keys,
        header: Header,
        key: SealKey,
        is_metadata: bool,
        mut buffer: Vec<u8>,
    ) -> Pack {
        buffer.clear();
        buffer.reserve(BUFFER_BYTES);
        buffer.extend_from_slice(header.bytes());
        let key = PackKey::with(keys, &header, key);
        Pack { header, is_metadata, key, bytes: buffer, rows: Vec::new() }
    }

    /// Its name.
    pub fn id(&self) -> ObjectId {
        self.header.id()
    }

    /// Chunks in it.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no chunks.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether it is to be closed.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PACK_CLOSE_BYTES || self.rows.len() >= PACK_CHUNKS
    }

    /// Appends a chunk and seals it in place. Gives the bytes it takes.
    ///
    /// # Errors
    /// When the cryptographic library refuses; the pack is then no good.
    pub(super) fn push(
        &mut self,
        id: ChunkId,
        kind: ChunkKind,
        raw_bytes: usize,
        stored: &super::compression::Stored<'_>,
    ) -> Result<u32> {
        let sealed_bytes = (stored.bytes.len() + TAG_BYTES) as u32;
        let (raw_bytes, compression) = (raw_bytes as u32, stored.compression);
        let row = Row { id, sealed_bytes, raw_bytes, compression, kind };
        debug_assert!(row.is_sound(self.is_metadata) && !self.is_full());
        let from = self.bytes.len();
        self.bytes.extend_from_slice(stored.bytes);
        self.key.seal(self.rows.len() as u32, &row, &mut self.bytes, from)?;
        self.rows.push(row);
        Ok(sealed_bytes)
    }

    /// Appends table and trailer. Gives the whole object and what an index says of it.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub(super) fn close(self, keys: &Keys) -> Result<(Vec<u8>, DescribedPack)> {
        let Pack { header, is_metadata, key, mut bytes, rows } = self;
        let table_offset = bytes.len();
        bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
        rows.iter().for_each(|row| row.write(&mut bytes));
        let size_bytes = (bytes.len() + TAG_BYTES + TRAILER_BYTES).next_multiple_of(PACK_ALIGNMENT);
        bytes.resize(size_bytes - TAG_BYTES - TRAILER_BYTES, 0);
        key.key.seal(TABLE_COUNTER, &bound(keys, header.bytes()), &mut bytes, table_offset)?;
        let sealed_bytes = (bytes.len() - table_offset) as u32;
        bytes.extend_from_slice(&sealed_bytes.to_le_bytes());
        bytes.extend_from_slice(&TRAILER_MAGIC);
        debug_assert!(bytes.len() == size_bytes && size_bytes <= PACK_BYTES);
        let described =
            DescribedPack { header, is_metadata, size_bytes: size_bytes as u32, rows: rows.into() };
        Ok((bytes, described))
    }
}
