//! A whole pack, looked at: every chunk opened, decoded and hashed, the table compared with the index.

use super::super::compression::Decoder;
use super::super::header::HEADER_BYTES;
use super::super::id::ChunkId;
use super::super::names::Folder;
use super::super::pack::{Location, PackKey, PackRef, TRAILER_BYTES, read_trailer};
use super::Reader;
use crate::error::{Error, Kind, Result};

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
    /// damaged, since the index knows where they are.
    ///
    /// # Errors
    /// As the storage has it; what is wrong with the pack is in the report.
    pub fn read_pack(&self, pack: PackRef, decoder: &mut Decoder) -> Result<PackReport> {
        let info = self.index.pack(pack)?;
        let mut report = PackReport::default();
        let read =
            self.vault.storage().read(&Folder::Packs.object(info.id)?, 0, info.size_bytes as usize + 1);
        let mut bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Kind::NotFound => {
                report.note(Error::damaged("a pack is missing:", info.id.to_string()).because(error));
                return Ok(report);
            }
            Err(error) => return Err(error.while_doing("cannot read pack", info.id.to_string())),
        };
        report.read_bytes = bytes.len() as u64;
        if bytes.len() != info.size_bytes as usize {
            report.note(Error::damaged("a wrong length of pack", info.id.to_string()));
        }
        let key = match self.key(pack) {
            Ok(key) => key,
            Err(error) => {
                report.note_damage(error)?;
                return Ok(report);
            }
        };
        if let Err(error) = self.compare_header(pack, &bytes) {
            report.note_damage(error)?;
        }
        let rows = match self.read_table(pack, &key, &bytes) {
            Ok(rows) => {
                self.compare_table(pack, &rows, &mut report);
                rows
            }
            Err(error) => {
                report.note_damage(error)?;
                self.index.chunks_of(pack)
            }
        };
        let mut out = Vec::new();
        for (id, at) in &rows {
            let opened = match bytes.get_mut(at.offset as usize..at.end() as usize) {
                Some(sealed) => self.open_with(&key, at.number, &at.row(*id), sealed, decoder, &mut out),
                None => Err(Error::damaged("the pack ends before chunk", id.to_string())),
            };
            match opened {
                Ok(()) => report.chunks += 1,
                Err(error) => report.findings.push(Finding { chunk: Some(*id), error }),
            }
        }
        Ok(report)
    }

    /// The header is what the index has, byte for byte.
    fn compare_header(&self, pack: PackRef, bytes: &[u8]) -> Result<()> {
        let info = self.index.pack(pack)?;
        let header = self.index.header(self.vault.keys(), pack)?;
        if bytes.get(..HEADER_BYTES) != Some(&header.bytes()[..]) {
            return Err(Error::damaged("the index has another header for pack", info.id.to_string()));
        }
        Ok(())
    }

    /// The chunks that the table of a pack names, with their places.
    fn read_table(&self, pack: PackRef, key: &PackKey, bytes: &[u8]) -> Result<Vec<(ChunkId, Location)>> {
        let info = self.index.pack(pack)?;
        let header = self.index.header(self.vault.keys(), pack)?;
        let size = bytes.len();
        let trailer = &bytes[size.saturating_sub(TRAILER_BYTES)..];
        let table_bytes = read_trailer(trailer, size)
            .map_err(|error| error.while_doing("cannot read pack", info.id.to_string()))?;
        let table_end = size - TRAILER_BYTES;
        let table_offset = table_end - table_bytes;
        // A copy: where the trailer lies, opening would destroy blobs.
        let table = &mut bytes[table_offset..table_end].to_vec();
        let rows = key.open_table(self.vault.keys(), &header, table, info.is_metadata, table_offset)?;
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
