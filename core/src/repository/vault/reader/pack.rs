//! A whole pack, looked at: every chunk opened, decoded and hashed, the table compared with the index.

use super::super::compression::Decoder;
use super::super::header::HEADER_BYTES;
use super::super::id::ChunkId;
use super::super::index::PackInfo;
use super::super::names::Folder;
use super::super::pack::{Location, PackKey, PackRef, TRAILER_BYTES, read_trailer, table_room};
use super::Reader;
use crate::error::{Error, Kind, Result};
use crate::limits::CHECK_READ_BYTES;

/// Something that is wrong with a pack.
#[derive(Debug)]
pub struct Finding {
    /// The chunk that cannot be had, if it is about one.
    pub chunk: Option<ChunkId>,
    /// What is wrong.
    pub error: Error,
}

/// What reading a whole pack has shown.
#[derive(Debug, Default)]
pub struct PackReport {
    /// Chunks that are sound.
    pub chunks: u32,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// What was found, if anything.
    pub findings: Vec<Finding>,
}

impl PackReport {
    fn note(&mut self, error: Error) {
        self.findings.push(Finding { chunk: None, error });
    }

    /// `Damaged` is a finding; everything else ends the look.
    fn note_damage(&mut self, error: Error) -> Result<()> {
        if error.kind() != Kind::Damaged {
            return Err(error);
        }
        self.note(error);
        Ok(())
    }
}

impl Reader<'_> {
    /// Reads a whole pack, every chunk of it, and compares its table with the index. Chunks are looked at even where the table is
    /// damaged, since the index knows where they are. A stretch of [`CHECK_READ_BYTES`] is in memory at a time.
    ///
    /// # Errors
    /// As the storage has it; what is wrong with the pack is in the report.
    pub fn read_pack(&self, pack: PackRef, decoder: &mut Decoder) -> Result<PackReport> {
        let info = self.index.pack(pack)?;
        let mut report = PackReport::default();
        let mut tail = match self.tail(&info, table_room(info.chunks as usize), &mut report) {
            Ok(tail) => tail,
            Err(error) if error.kind() == Kind::NotFound => {
                report.note(Error::damaged("a pack is missing:", info.id.to_string()).because(error));
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        let key = match self.key(pack) {
            Ok(key) => key,
            Err(error) => {
                report.note_damage(error)?;
                return Ok(report);
            }
        };
        let rows = match self.read_table(pack, &key, &mut tail, &mut report) {
            Ok(rows) => {
                self.compare_table(pack, &rows, &mut report);
                rows
            }
            Err(error) => {
                report.note_damage(error)?;
                self.index.chunks_of(pack)
            }
        };
        drop(tail);
        self.read_blobs(pack, &info, &key, &rows, decoder, &mut report)?;
        Ok(report)
    }

    /// The end of a pack, as many bytes as are asked for or all there are. One that is longer or shorter than it should be is noted.
    fn tail(&self, info: &PackInfo, length: usize, report: &mut PackReport) -> Result<Vec<u8>> {
        let size = info.size_bytes as usize;
        let length = length.min(size);
        let mut tail = self.piece(info, size - length, length + 1)?;
        if tail.len() != length {
            report.note(Error::damaged("a wrong length of pack", info.id.to_string()));
        }
        tail.truncate(length);
        Ok(tail)
    }

    /// Bytes of a pack; fewer where it ends.
    fn piece(&self, info: &PackInfo, from: usize, length: usize) -> Result<Vec<u8>> {
        let read = self.vault.storage().read(&Folder::Packs.object(info.id)?, from as u64, length);
        read.map_err(|error| error.while_doing("cannot read pack", info.id.to_string()))
    }

    /// Opens, decodes and hashes the chunks at these places, which stand in order, and compares the header before them.
    fn read_blobs(
        &self,
        pack: PackRef,
        info: &PackInfo,
        key: &PackKey,
        rows: &[(ChunkId, Location)],
        decoder: &mut Decoder,
        report: &mut PackReport,
    ) -> Result<()> {
        let mut rest = rows;
        let mut out = Vec::new();
        let mut from = 0;
        loop {
            let fits = |(_, at): &&(ChunkId, Location)| at.end() as usize - from <= CHECK_READ_BYTES;
            // At least one, however large, but for the header.
            let least = usize::from(from > 0);
            let (stretch, behind) = rest.split_at(rest.iter().take_while(fits).count().max(least));
            let end = stretch.last().map_or(HEADER_BYTES, |(_, at)| at.end() as usize);
            let mut bytes = self.piece(info, from, end - from)?;
            report.read_bytes += bytes.len() as u64;
            if from == 0 {
                let header = &bytes[..bytes.len().min(HEADER_BYTES)];
                self.compare_header(pack, header).or_else(|error| report.note_damage(error))?;
            }
            for (id, at) in stretch {
                let (start, end) = (at.offset as usize - from, at.end() as usize - from);
                let opened = match bytes.get_mut(start..end) {
                    Some(sealed) => self.open_with(key, at.number, &at.row(*id), sealed, decoder, &mut out),
                    None => Err(Error::damaged("the pack ends before chunk", id.to_string())),
                };
                match opened {
                    Ok(()) => report.chunks += 1,
                    Err(error) => report.findings.push(Finding { chunk: Some(*id), error }),
                }
            }
            let Some((_, next)) = behind.first() else { return Ok(()) };
            (rest, from) = (behind, next.offset as usize);
        }
    }

    /// The header is what the index has, byte for byte.
    fn compare_header(&self, pack: PackRef, bytes: &[u8]) -> Result<()> {
        let info = self.index.pack(pack)?;
        let header = self.index.header(self.vault.keys(), pack)?;
        if bytes != &header.bytes()[..] {
            return Err(Error::damaged("the index has another header for pack", info.id.to_string()));
        }
        Ok(())
    }

    /// The chunks that the table of a pack names, with their places. `tail` is the end of the pack.
    fn read_table(
        &self,
        pack: PackRef,
        key: &PackKey,
        tail: &mut Vec<u8>,
        report: &mut PackReport,
    ) -> Result<Vec<(ChunkId, Location)>> {
        let info = self.index.pack(pack)?;
        let header = self.index.header(self.vault.keys(), pack)?;
        let size = info.size_bytes as usize;
        let trailer = &tail[tail.len().saturating_sub(TRAILER_BYTES)..];
        let table_bytes = read_trailer(trailer, size)
            .map_err(|error| error.while_doing("cannot read pack", info.id.to_string()))?;
        let needed = table_bytes + TRAILER_BYTES;
        if tail.len() < needed {
            // More chunks than the index says.
            *tail = self.tail(&info, needed, report)?;
        }
        let table_end = tail.len().saturating_sub(TRAILER_BYTES);
        let from = table_end.saturating_sub(table_bytes);
        let table_offset = size - TRAILER_BYTES - table_bytes;
        let table = &mut tail[from..table_end];
        let rows = key.open_table(self.vault.keys(), &header, table, info.is_metadata, table_offset)?;
        report.read_bytes += needed as u64;
        let mut offset = HEADER_BYTES as u32;
        let place = |(number, row): (usize, &super::Row)| {
            let at = Location {
                pack,
                offset,
                sealed_bytes: row.sealed_bytes,
                raw_bytes: row.raw_bytes,
                compression: row.compression,
                number: number as u32,
                kind: row.kind,
            };
            offset += row.sealed_bytes;
            (row.id, at)
        };
        Ok(rows.iter().enumerate().map(place).collect())
    }

    /// Every chunk of the table is in the index, here or in another pack; and as many as the index says.
    fn compare_table(&self, pack: PackRef, rows: &[(ChunkId, Location)], report: &mut PackReport) {
        let Ok(info) = self.index.pack(pack) else { return };
        if rows.len() != info.chunks as usize {
            report
                .note(Error::damaged("the index has another number of chunks for pack", info.id.to_string()));
        }
        for (id, at) in rows {
            let is_known = self.index.find(id).is_some_and(|found| found.pack != pack || found == *at);
            if !is_known {
                report.note(
                    Error::damaged("the index has another place for chunk", id.to_string())
                        .while_doing("cannot trust the index on pack", info.id.to_string()),
                );
            }
        }
    }
}
