//! The 512-byte header of a member: fields, numbers and checksum of every dialect of tar this program meets.
//!
//! Invariant: a header is only looked at after its checksum was found right, and no number leaves this module without a
//! check that it fits. Sources: POSIX.1-2017 `pax` ("ustar Interchange Format"), the GNU tar manual ("Basic Tar Format",
//! "The oldgnu format"), star(5).

use crate::error::{Error, Kind, Result};

/// Bytes of a header, and the unit every member is padded to.
pub const BLOCK: usize = 512;

/// One header, or one piece of content.
pub type Block = [u8; BLOCK];

/// Bytes of the name and of the link target in a header.
pub const NAME_BYTES: usize = 100;

/// Longest user or group name that fits a header, with the NUL that must follow it.
pub const OWNER_BYTES: usize = 31;

/// The header types of members; all but the GNU letters are POSIX's.
pub mod typeflag {
    /// A regular file.
    pub const FILE: u8 = b'0';
    /// A regular file, before POSIX.
    pub const OLD_FILE: u8 = 0;
    /// A hard link.
    pub const HARD_LINK: u8 = b'1';
    /// A symbolic link.
    pub const SYMLINK: u8 = b'2';
    /// A character device.
    pub const CHAR_DEVICE: u8 = b'3';
    /// A block device.
    pub const BLOCK_DEVICE: u8 = b'4';
    /// A directory.
    pub const DIRECTORY: u8 = b'5';
    /// A named pipe.
    pub const FIFO: u8 = b'6';
    /// A file that should be contiguous on disk: read as a regular one.
    pub const CONTIGUOUS: u8 = b'7';
    /// A directory with its listing (GNU).
    pub const LISTING: u8 = b'D';
    /// The link target of the next member (GNU).
    pub const LONG_LINK: u8 = b'K';
    /// The name of the next member (GNU).
    pub const LONG_NAME: u8 = b'L';
    /// The rest of a file that began on another volume (GNU).
    pub const CONTINUED: u8 = b'M';
    /// Renames of an obsolete incremental format (GNU).
    pub const OLD_RENAMES: u8 = b'N';
    /// A file with holes (GNU before PAX, and star).
    pub const SPARSE: u8 = b'S';
    /// The label of a volume (GNU).
    pub const LABEL: u8 = b'V';
    /// PAX records for the next member.
    pub const PAX: u8 = b'x';
    /// PAX records for the next member, as Solaris wrote them.
    pub const SOLARIS_PAX: u8 = b'X';
    /// PAX records for all members that follow.
    pub const PAX_GLOBAL: u8 = b'g';
}

/// Which layout the bytes behind the common fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Before POSIX: no magic, no names of owners.
    V7,
    /// POSIX ustar, with a prefix of the name.
    Posix,
    /// GNU, with times in place of the prefix.
    Gnu,
    /// star, with a shorter prefix and times.
    Star,
}

/// Where the holes of an old sparse file are described.
#[derive(Debug, Clone, Copy)]
pub struct SparseLayout {
    /// Offset of the first of the four regions in the header.
    pub map_at: usize,
    /// Offset of the flag that says that blocks with more regions follow.
    pub extended_at: usize,
    /// Offset of the length of the file.
    pub size_at: usize,
}

/// A header whose checksum is right.
#[derive(Debug, Clone)]
pub struct Header {
    block: Block,
    dialect: Dialect,
}

impl Header {
    /// Takes a block whose checksum is right; `None` when it is not a header.
    pub fn parse(block: &Block) -> Option<Header> {
        let expected = number(&block[148..156])?;
        let (unsigned, signed) = checksums(block);
        let right = expected == unsigned || expected == signed;
        right.then(|| Header { block: *block, dialect: dialect(block) })
    }

    /// The layout of this header.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What sort of member this is: one of [`typeflag`], or a stranger's.
    pub fn typeflag(&self) -> u8 {
        self.block[156]
    }

    /// The name, joined from its prefix where the dialect has one.
    pub fn name(&self) -> Vec<u8> {
        let name = text(&self.block[..NAME_BYTES]);
        let prefix = match self.dialect {
            Dialect::Posix => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The target of a link.
    pub fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }

    /// The name of the owner; empty when there is none.
    pub fn user(&self) -> &[u8] {
        self.owner_text(265)
    }

    /// The name of the group; empty when there is none.
    pub fn group(&self) -> &[u8] {
        self.owner_text(297)
    }

    fn owner_text(&self, at: usize) -> &[u8] {
        if self.dialect == Dialect::V7 { b"" } else { text(&self.block[at..at + 32]) }
    }

    /// The 12 permission bits.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn mode(&self) -> Result<u32> {
        // Old programs stored the file type in the bits above.
        let bits = self.number(100, 8, "mode")? & 0o7777;
        u32::try_from(bits).map_err(|_| out_of_range("mode"))
    }

    /// The number of the owner.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn uid(&self) -> Result<u32> {
        self.unsigned(108, "owner")
    }

    /// The number of the group.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn gid(&self) -> Result<u32> {
        self.unsigned(116, "group")
    }

    /// Bytes stored behind the header.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn size_bytes(&self) -> Result<u64> {
        u64::try_from(self.number(124, 12, "size")?).map_err(|_| out_of_range("size"))
    }

    /// Last change of content, in seconds.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn mtime(&self) -> Result<i64> {
        self.number(136, 12, "time")
    }

    /// Major and minor number of a device.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn device(&self) -> Result<(u32, u32)> {
        Ok((self.unsigned(329, "major number")?, self.unsigned(337, "minor number")?))
    }

    /// Last access in seconds, where the dialect has it and it was filled in.
    pub fn atime(&self) -> Option<i64> {
        self.optional_time(match self.dialect {
            Dialect::Gnu => 345,
            Dialect::Star => 476,
            Dialect::V7 | Dialect::Posix => return None,
        })
    }

    /// Last change of attributes in seconds, where the dialect has it and it was filled in.
    pub fn ctime(&self) -> Option<i64> {
        self.optional_time(match self.dialect {
            Dialect::Gnu => 357,
            Dialect::Star => 488,
            Dialect::V7 | Dialect::Posix => return None,
        })
    }

    /// Times are extras: what cannot be read there is taken as not stored, since some programs keep other things there.
    fn optional_time(&self, at: usize) -> Option<i64> {
        let field = &self.block[at..at + 12];
        if field[0] == 0 { None } else { number(field) }
    }

    /// Where an old sparse file of this dialect keeps its map; `None` when the dialect has none.
    pub fn sparse_layout(&self) -> Option<SparseLayout> {
        match self.dialect {
            Dialect::Gnu => Some(SparseLayout { map_at: 386, extended_at: 482, size_at: 483 }),
            Dialect::Star => Some(SparseLayout { map_at: 356, extended_at: 355, size_at: 452 }),
            Dialect::V7 | Dialect::Posix => None,
        }
    }

    /// The bytes, for fields that only old sparse files have.
    pub fn block(&self) -> &Block {
        &self.block
    }

    fn unsigned(&self, at: usize, what: &str) -> Result<u32> {
        u32::try_from(self.number(at, 8, what)?).map_err(|_| out_of_range(what))
    }

    fn number(&self, at: usize, length: usize, what: &str) -> Result<i64> {
        number(&self.block[at..at + length]).ok_or_else(|| out_of_range(what))
    }
}

fn out_of_range(what: &str) -> Error {
    Error::new(Kind::Damaged, format!("unusable {what}"))
}

fn dialect(block: &Block) -> Dialect {
    match &block[257..263] {
        b"ustar\0" if is_star(block) => Dialect::Star,
        b"ustar\0" => Dialect::Posix,
        b"ustar " => Dialect::Gnu,
        _ => Dialect::V7,
    }
}

/// star's own magic at the end, or (exchange format) two octal times where a long prefix would have text.
fn is_star(block: &Block) -> bool {
    let octal_time = |at: usize| block[at].is_ascii_digit() && block[at + 11] == b' ';
    &block[508..] == b"tar\0" || (block[475] == 0 && octal_time(476) && octal_time(488))
}

/// The sums of all bytes with the checksum itself as spaces: POSIX's over unsigned bytes, Sun's over signed ones.
fn checksums(block: &Block) -> (i64, i64) {
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    (unsigned, signed)
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number of a header: octal with blanks around it (all blank is 0), or base-256 when the first bit is set.
/// `None` when it is neither, or does not fit 64 bits.
pub fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) { base256(field) } else { octal(field) }
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: u8| byte == b' ' || byte == 0;
    let start = field.iter().position(|&b| !blank(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|&b| !(b'0'..=b'7').contains(&b)).unwrap_or(digits.len());
    if digits.get(end).is_some_and(|&b| !blank(b)) {
        return None;
    }
    digits[..end]
        .iter()
        .try_fold(0i64, |value, &digit| value.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
}

/// Two's complement, big-endian, of which the first bit only marks the form and the second is the sign.
fn base256(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    let high = i128::from(first & 0x3f) - i128::from(first & 0x40);
    let value =
        rest.iter().try_fold(high, |value, &byte| value.checked_mul(256)?.checked_add(i128::from(byte)))?;
    i64::try_from(value).ok()
}

/// Fills a field with `value`: octal digits and a NUL where they fit, base-256 otherwise.
fn put_number(field: &mut [u8], value: i64) {
    let digits = field.len() - 1;
    if (0..1i64 << (3 * digits)).contains(&value) {
        field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
        return;
    }
    let sign = if value < 0 { 0xff } else { 0 };
    field.fill(sign);
    let bytes = value.to_be_bytes();
    // An eight-byte field keeps seven bytes of value, plenty for the 32-bit numbers that go there.
    let kept = bytes.len().min(digits);
    field[digits + 1 - kept..].copy_from_slice(&bytes[bytes.len() - kept..]);
    field[0] |= 0x80;
}

/// What a header is written from.
#[derive(Debug, Clone, Default)]
pub struct Fields<'a> {
    /// Whether the header is POSIX's in place of GNU's; it then has no times but `mtime`.
    pub posix: bool,
    /// The name, at most [`NAME_BYTES`].
    pub name: &'a [u8],
    /// One of [`typeflag`].
    pub typeflag: u8,
    /// The 12 permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes that follow.
    pub size_bytes: u64,
    /// Last change of content, in seconds.
    pub mtime: i64,
    /// Last access, in seconds.
    pub atime: Option<i64>,
    /// Last change of attributes, in seconds.
    pub ctime: Option<i64>,
    /// The target of a link, at most [`NAME_BYTES`].
    pub link: &'a [u8],
    /// Owner by name; left out beyond [`OWNER_BYTES`].
    pub user: &'a [u8],
    /// Group by name; left out beyond [`OWNER_BYTES`].
    pub group: &'a [u8],
    /// Major and minor number.
    pub device: Option<(u32, u32)>,
}

impl Fields<'_> {
    /// The header.
    ///
    /// # Errors
    /// `Limit` when the size has no place in a header (2⁶³ bytes).
    ///
    /// # Panics
    /// When name or link are longer than a header holds: a mistake of the caller.
    pub fn encode(&self) -> Result<Block> {
        let size = i64::try_from(self.size_bytes)
            .map_err(|_| Error::new(Kind::Limit, "too large a member of").on(self.size_bytes.to_string()))?;
        let mut block = [0; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name);
        put_number(&mut block[100..108], i64::from(self.mode));
        put_number(&mut block[108..116], i64::from(self.uid));
        put_number(&mut block[116..124], i64::from(self.gid));
        put_number(&mut block[124..136], size);
        put_number(&mut block[136..148], self.mtime);
        block[156] = self.typeflag;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(if self.posix { b"ustar\x0000" } else { b"ustar  \0" });
        put_owner(&mut block[265..297], self.user);
        put_owner(&mut block[297..329], self.group);
        if let Some((major, minor)) = self.device {
            put_number(&mut block[329..337], i64::from(major));
            put_number(&mut block[337..345], i64::from(minor));
        }
        if !self.posix {
            self.put_times(&mut block);
        }
        put_checksum(&mut block);
        Ok(block)
    }

    fn put_times(&self, block: &mut Block) {
        if let Some(atime) = self.atime {
            put_number(&mut block[345..357], atime);
        }
        if let Some(ctime) = self.ctime {
            put_number(&mut block[357..369], ctime);
        }
    }
}

fn put_owner(field: &mut [u8], name: &[u8]) {
    if name.len() <= OWNER_BYTES {
        field[..name.len()].copy_from_slice(name);
    }
}

/// Makes the checksum of a header right.
pub(super) fn put_checksum(block: &mut Block) {
    let (sum, _) = checksums(block);
    // At most 512 × 255: six digits.
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block[155] = b' ';
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_time_comes_back(value: i64) {
            let mut field = [0; 12];
            put_number(&mut field, value);
            prop_assert_eq!(number(&field), Some(value));
        }

        #[test]
        fn any_owner_comes_back(value: u32) {
            let mut field = [0; 8];
            put_number(&mut field, i64::from(value));
            prop_assert_eq!(number(&field), Some(i64::from(value)));
        }

        #[test]
        fn a_changed_bit_is_noticed(at in 0usize..BLOCK, bit in 0u32..8) {
            let fields = Fields { name: b"./a", typeflag: b'0', mtime: 5, ..Fields::default() };
            let mut block = fields.encode().unwrap();
            block[at] ^= 1 << bit;
            // Inside the checksum a change may leave the number as it was: a blank for a blank, an ignored last byte.
            let expected = (148..156).contains(&at) && number(&block[148..156]) == Some(checksums(&block).0);
            prop_assert_eq!(Header::parse(&block).is_some(), expected);
        }
    }

    #[test]
    fn numbers_of_every_program_are_understood() {
        let cases: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644 \0\0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77777777)),
            (b"0000648\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\x20\0\0", Some(0x20_0000)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0", None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn small_numbers_are_octal_and_large_ones_are_not() {
        let mut field = [0; 8];
        put_number(&mut field, 0o7777777);
        assert_eq!(&field, b"7777777\0");
        put_number(&mut field, 0o10000000);
        assert_eq!(field, [0x80, 0, 0, 0, 0, 0x20, 0, 0]);
    }

    #[test]
    fn the_checksum_of_signed_bytes_is_accepted() {
        let mut block = Fields { name: b"\xe4", typeflag: b'0', ..Fields::default() }.encode().unwrap();
        let (_, signed) = checksums(&block);
        block[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
        assert_eq!(Header::parse(&block).unwrap().name(), b"\xe4");
    }

    #[test]
    fn star_keeps_times_behind_a_shorter_prefix() {
        let mut block =
            Fields { posix: true, name: b"name", typeflag: b'0', ..Fields::default() }.encode().unwrap();
        block[345..351].copy_from_slice(b"prefix");
        block[476..488].copy_from_slice(b"00000000017 ");
        block[488..500].copy_from_slice(b"00000000021 ");
        put_checksum(&mut block);
        let header = Header::parse(&block).unwrap();
        assert_eq!((header.dialect(), header.name()), (Dialect::Star, b"prefix/name".to_vec()));
        assert_eq!((header.atime(), header.ctime()), (Some(15), Some(17)));
    }
}
