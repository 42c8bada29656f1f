//! Where the data of a sparse file lies, in every form an archive may say it.
//!
//! Invariant of a finished map: regions are in order, do not overlap, lie inside the file, are not empty, and their lengths
//! add up to the bytes that are stored. Sources: GNU tar manual ("Sparse Formats"), star(5).

use super::header::{BLOCK, Block, Header, SparseLayout, number};
use super::input::{Body, Input};
use super::member::Region;
use crate::error::{Error, Kind, Result};
use crate::limits::SPARSE_REGIONS;
use std::io::Read;

/// An entry of an old map: offset and length, twelve bytes each.
const ENTRY_BYTES: usize = 24;
const HEADER_ENTRIES: usize = 4;
const BLOCK_ENTRIES: usize = 21;

/// The regions of a file as they are found, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map {
    regions: Vec<Region>,
    end: u64,
    stored_bytes: u64,
}

impl Map {
    /// Adds a region. One of no length marks the end of the file in some forms and adds nothing.
    ///
    /// # Errors
    /// `Damaged` when it lies before the end of the one before it, or beyond 2⁶⁴; `Limit` beyond [`SPARSE_REGIONS`].
    pub fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        let end = offset.checked_add(length).filter(|_| offset >= self.end);
        self.end = end.ok_or_else(|| Error::new(Kind::Damaged, "a sparse map out of order"))?;
        if length == 0 {
            return Ok(());
        }
        if self.regions.len() == SPARSE_REGIONS {
            return Err(Error::new(Kind::Limit, "a sparse file with more regions than")
                .on(SPARSE_REGIONS.to_string()));
        }
        self.regions.push((offset, length));
        // Regions do not overlap, so that their sum is at most `end`.
        self.stored_bytes += length;
        Ok(())
    }

    /// The regions of a file of `size_bytes`, of which `stored_bytes` are in the archive.
    ///
    /// # Errors
    /// `Damaged` when the three do not agree.
    pub fn finish(self, size_bytes: u64, stored_bytes: u64) -> Result<Vec<Region>> {
        if self.end > size_bytes {
            return Err(Error::new(Kind::Damaged, "a sparse map beyond the end of the file"));
        }
        if self.stored_bytes != stored_bytes {
            return Err(Error::new(Kind::Damaged, "a sparse map that does not fit the stored bytes"));
        }
        Ok(self.regions)
    }

    /// Reads the map that stands before the data in form 1.0, with its padding.
    ///
    /// # Errors
    /// `Damaged`, `Limit`, I/O.
    pub fn read_before_data<R: Read>(body: &mut Body<'_, R>) -> Result<Map> {
        let stored_bytes = body.left_bytes();
        let count = body.number(b'\n')?;
        if count > SPARSE_REGIONS as u64 + 1 {
            return Err(Error::new(Kind::Limit, "a sparse file with more regions than")
                .on(SPARSE_REGIONS.to_string()));
        }
        let mut map = Map::default();
        for _ in 0..count {
            let offset = body.number(b'\n')?;
            let length = body.number(b'\n')?;
            map.push(offset, length)?;
        }
        let map_bytes = stored_bytes - body.left_bytes();
        body.skip(padding(map_bytes))?;
        Ok(map)
    }

    /// Reads the map of an old sparse file: four regions in the header, more in blocks behind it. Gives the length of the
    /// file too.
    ///
    /// # Errors
    /// `Damaged`, `Limit`, I/O; `Unsupported` in a dialect that has no such files.
    pub fn read_old<R: Read>(header: &Header, input: &mut Input<R>) -> Result<(Map, u64)> {
        let layout = header.sparse_layout().ok_or_else(|| {
            Error::new(Kind::Unsupported, "a sparse file in a dialect of tar that has none")
        })?;
        let SparseLayout { map_at, extended_at, size_at } = layout;
        let block = header.block();
        let size = number(&block[size_at..size_at + 12]).and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| Error::new(Kind::Damaged, "unusable size of a sparse file"))?;
        let mut map = Map::default();
        let mut more = map.entries(&block[map_at..map_at + HEADER_ENTRIES * ENTRY_BYTES])?;
        let mut extended = block[extended_at] != 0;
        while more && extended {
            let block: Block = input.block()?.ok_or_else(|| input.damaged("ends inside a sparse map"))?;
            more = map.entries(&block[..BLOCK_ENTRIES * ENTRY_BYTES])?;
            extended = block[BLOCK_ENTRIES * ENTRY_BYTES] != 0;
        }
        Ok((map, size))
    }

    /// Takes entries up to the first blank one; whether there was none.
    fn entries(&mut self, entries: &[u8]) -> Result<bool> {
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (offset, length) = entry.split_at(ENTRY_BYTES / 2);
            if length[0] == 0 {
                return Ok(false);
            }
            let field = |field| number(field).and_then(|value| u64::try_from(value).ok());
            let (Some(offset), Some(length)) = (field(offset), field(length)) else {
                return Err(Error::new(Kind::Damaged, "unusable number in a sparse map"));
            };
            self.push(offset, length)?;
        }
        Ok(true)
    }
}

/// What is missing to a whole block.
pub fn padding(size_bytes: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size_bytes % block) % block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tar::header::{Fields, put_checksum};

    fn before_data(text: &str) -> Result<Map> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len() + padding(bytes.len() as u64) as usize, 0);
        Map::read_before_data(&mut Input::new(&bytes[..]).body(bytes.len() as u64))
    }

    #[test]
    fn a_map_must_be_in_order_and_inside_the_file() {
        let map = before_data("3\n0\n512\n1024\n10\n9000\n0\n").unwrap();
        assert_eq!(map.clone().finish(9000, 522).unwrap(), [(0, 512), (1024, 10)]);
        assert_eq!(map.clone().finish(8999, 522).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(map.finish(9000, 521).unwrap_err().kind(), Kind::Damaged);
        for bad in ["2\n10\n10\n5\n1\n", "1\n18446744073709551615\n1\n", "2\n0\n1\n", "1\n0\n-1\n", "x\n"] {
            assert_eq!(before_data(bad).unwrap_err().kind(), Kind::Damaged, "{bad:?}");
        }
        assert_eq!(before_data("99999999999\n").unwrap_err().kind(), Kind::Limit);
    }

    /// A header of star's: its own magic, the map and the length where it has them.
    fn star_header(entries: &[Region], extended: bool) -> Header {
        let mut block =
            Fields { posix: true, name: b"a", typeflag: b'S', ..Fields::default() }.encode().unwrap();
        block[508..].copy_from_slice(b"tar\0");
        put_entries(&mut block[356..], entries);
        block[355] = u8::from(extended);
        block[452..464].copy_from_slice(b"00000010000\0");
        put_checksum(&mut block);
        Header::parse(&block).unwrap()
    }

    fn put_entries(target: &mut [u8], entries: &[Region]) {
        for ((offset, length), field) in entries.iter().zip(target.chunks_exact_mut(ENTRY_BYTES)) {
            field.copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
        }
    }

    #[test]
    fn maps_of_star_go_on_in_blocks() {
        let regions: Vec<Region> = (0..5).map(|n| (n * 512, 10)).collect();
        let mut block = [0; BLOCK];
        put_entries(&mut block, &regions[4..]);
        let header = star_header(&regions[..4], true);
        let (map, size) = Map::read_old(&header, &mut Input::new(&block[..])).unwrap();
        assert_eq!((size, map.finish(size, 50).unwrap()), (4096, regions.clone()));
        let cut = Map::read_old(&header, &mut Input::new(&block[..100]));
        assert_eq!(cut.unwrap_err().kind(), Kind::Damaged);
        let (map, size) =
            Map::read_old(&star_header(&regions[..2], false), &mut Input::new(&block[..])).unwrap();
        assert_eq!(map.finish(size, 20).unwrap(), regions[..2]);
    }
}
