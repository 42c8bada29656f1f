//! Writes an archive that GNU tar restores: GNU headers, with PAX records only where a header cannot hold what there is.
//!
//! Long names are GNU `L` and `K` members, which are raw bytes, since the paths of PAX records are converted by locale. A
//! sparse file is the PAX form 1.0 behind a POSIX header, by which GNU tar tells it from its own older form. Of the times,
//! `mtime` is exact; the other two are whole seconds (GNU incremental headers have no more), except on sparse files.
//!
//! Invariant: headers leave only when the member can be represented, and a file has exactly the bytes its header promised.
//! Sources: GNU tar manual ("Basic Tar Format", "Sparse Formats"), POSIX.1-2017 `pax`.

use super::header::{BLOCK, Fields, NAME_BYTES, OWNER_BYTES, typeflag};
use super::member::{Member, MemberKind, Region};
use super::pax::{self, Builder};
use super::sparse::padding;
use crate::error::{Error, Kind, Result};
use crate::limits::{DUMPDIR_BYTES, PATH_BYTES, SPARSE_REGIONS, XATTR_BYTES};
use crate::tree::attributes::Attributes;
use crate::tree::directory::lossy;
use std::io::Write;

/// The length of an archive is a multiple of this (GNU tar's blocking factor of 20).
const RECORD_BYTES: u64 = 20 * BLOCK as u64;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Turns an access list from one form into another; `None` when it cannot.
pub type AclConverter = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

/// The kernel's names of access lists, and the PAX keys of their texts.
pub(super) const ACLS: [(&[u8], &[u8]); 2] =
    [(b"system.posix_acl_access", pax::ACL_ACCESS), (b"system.posix_acl_default", pax::ACL_DEFAULT)];

/// An archive being written.
pub struct ArchiveWriter<W> {
    out: W,
    acl_to_text: AclConverter,
    written_bytes: u64,
    left_bytes: u64,
    subject: String,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive. Access lists are stored as plain attributes until [`ArchiveWriter::acl_to_text`].
    pub fn new(out: W) -> Self {
        ArchiveWriter {
            out,
            acl_to_text: Box::new(|_| None),
            written_bytes: 0,
            left_bytes: 0,
            subject: String::new(),
        }
    }

    /// Stores access lists as text, as GNU tar expects them; one that `convert` gives `None` for stays a plain attribute.
    #[must_use]
    pub fn acl_to_text(mut self, convert: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        self.acl_to_text = Box::new(convert);
        self
    }

    /// The bytes that must follow [`ArchiveWriter::begin`]: of a file its length, or the sum of its regions.
    pub fn stored_bytes(member: &Member) -> u64 {
        stored_bytes(member)
    }

    /// Bytes of the archive so far, padding included.
    pub fn position(&self) -> u64 {
        self.written_bytes
    }

    /// Ends the member before, if that was not done, and writes all headers of this one; of a directory its listing too.
    ///
    /// # Errors
    /// `Invalid` when the member before lacks bytes, or this one cannot exist (an empty name, a NUL in it, a listing
    /// without end, a map out of order); `Limit`; I/O.
    pub fn begin(&mut self, member: &Member) -> Result<()> {
        self.end()?;
        self.subject = lossy(&member.path);
        check(member).map_err(|e| e.while_doing("cannot store", &self.subject))?;
        self.put_member(member, None)?;
        if let MemberKind::Directory { listing: Some(listing) } = &member.kind {
            self.write_raw(listing)?;
            self.write_raw(&[0])?;
            self.pad()?;
        }
        self.left_bytes = stored_bytes(member);
        Ok(())
    }

    /// As [`ArchiveWriter::begin`] for a directory (given without a listing) whose listing of `listing_bytes`, the NUL at its
    /// end included, follows in pieces by [`ArchiveWriter::write`]: a large one is never in memory whole.
    ///
    /// # Errors
    /// As [`ArchiveWriter::begin`].
    pub fn begin_listing(&mut self, member: &Member, listing_bytes: u64) -> Result<()> {
        self.end()?;
        self.subject = lossy(&member.path);
        check(member).map_err(|e| e.while_doing("cannot store", &self.subject))?;
        if listing_bytes > DUMPDIR_BYTES {
            return Err(Error::new(Kind::Limit, "a listing longer than").on(format!("{DUMPDIR_BYTES} bytes")));
        }
        self.put_member(member, Some(listing_bytes))?;
        self.left_bytes = listing_bytes;
        Ok(())
    }

    fn put_member(&mut self, member: &Member, listing_bytes: Option<u64>) -> Result<()> {
        let mut headers = Vec::with_capacity(3 * BLOCK);
        let put = self.put_headers(&mut headers, member, listing_bytes);
        put.map_err(|e| e.while_doing("cannot store", &self.subject))?;
        self.write_raw(&headers)
    }

    /// Writes bytes of the current file, or of a listing.
    ///
    /// # Errors
    /// `Invalid` when they are more than its header promised; I/O.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.filled(bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(cannot_write)
    }

    /// Where the bytes go, to be filled directly; [`ArchiveWriter::filled`] must be told how many went there.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Accounts for `count` bytes of the current file that went to [`ArchiveWriter::out`].
    ///
    /// # Errors
    /// `Invalid` when they are more than its header promised: the archive is then broken.
    pub fn filled(&mut self, count: u64) -> Result<()> {
        let left = self.left_bytes.checked_sub(count);
        self.left_bytes = left.ok_or_else(|| Error::invalid("more bytes than promised of", &self.subject))?;
        self.written_bytes = self.written_bytes.saturating_add(count);
        Ok(())
    }

    /// Ends the current member; calling it twice does no harm.
    ///
    /// # Errors
    /// `Invalid` when bytes are missing; I/O.
    pub fn end(&mut self) -> Result<()> {
        if self.left_bytes > 0 {
            let what = format!("{} bytes are missing of", self.left_bytes);
            return Err(Error::invalid(what, &self.subject));
        }
        self.pad()
    }

    /// Ends the archive: two empty blocks, and more up to a whole record. Gives back where it was written to.
    ///
    /// # Errors
    /// As [`ArchiveWriter::end`].
    pub fn finish(mut self) -> Result<W> {
        self.end()?;
        self.write_raw(&ZEROS)?;
        self.write_raw(&ZEROS)?;
        while !self.written_bytes.is_multiple_of(RECORD_BYTES) {
            self.write_raw(&ZEROS)?;
        }
        Ok(self.out)
    }

    fn pad(&mut self) -> Result<()> {
        // Less than a block.
        let missing = padding(self.written_bytes) as usize;
        self.write_raw(&ZEROS[..missing])
    }

    fn write_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(cannot_write)?;
        self.written_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn put_headers(&self, headers: &mut Vec<u8>, member: &Member, listing_bytes: Option<u64>) -> Result<()> {
        let name = stored_name(member);
        let link = link_of(member);
        let regions = sparse_of(member);
        let map =
            regions.map(|(regions, size_bytes)| padded(pax::sparse_map_text(regions, size_bytes).into()));
        self.put_pax(headers, member)?;
        if link.len() > NAME_BYTES {
            put_extension(headers, typeflag::LONG_LINK, b"././@LongLink", &[link, b"\0"].concat())?;
        }
        if name.len() > NAME_BYTES && regions.is_none() {
            put_extension(headers, typeflag::LONG_NAME, b"././@LongLink", &[&name, &b"\0"[..]].concat())?;
        }
        let shown = if regions.is_some() { sparse_name(&name) } else { name };
        let map = map.unwrap_or_default();
        let own = fields_of(member);
        let fields = Fields {
            typeflag: if listing_bytes.is_some() { typeflag::LISTING } else { own.typeflag },
            posix: regions.is_some(),
            name: &shown[..shown.len().min(NAME_BYTES)],
            link: &link[..link.len().min(NAME_BYTES)],
            size_bytes: listing_bytes.unwrap_or(body_bytes(member)).saturating_add(map.len() as u64),
            ..own
        };
        headers.extend_from_slice(&fields.encode()?);
        headers.extend_from_slice(&map);
        Ok(())
    }

    fn put_pax(&self, headers: &mut Vec<u8>, member: &Member) -> Result<()> {
        let attributes = &member.attributes;
        let mut records = Builder::default();
        if attributes.mtime.nanoseconds != 0 {
            records.push_time(b"mtime", attributes.mtime);
        }
        for (key, name) in [(b"uname", &attributes.user), (b"gname", &attributes.group)] {
            if name.len() > OWNER_BYTES {
                records.push(key, name);
            }
        }
        self.push_xattrs(&mut records, attributes);
        if let Some((_, size_bytes)) = sparse_of(member) {
            push_sparse(&mut records, member, size_bytes);
        }
        match records.finish()? {
            records if records.is_empty() => Ok(()),
            records => put_extension(headers, typeflag::PAX, b"././@PaxHeader", &records),
        }
    }

    fn push_xattrs(&self, records: &mut Builder, attributes: &Attributes) {
        for (name, value) in &attributes.xattrs {
            let acl = ACLS.iter().find(|(kernel, _)| kernel == name);
            match acl.and_then(|(_, key)| Some((key, (self.acl_to_text)(value)?))) {
                Some((key, text)) => records.push(key, &text),
                None => records.push_xattr(name, value),
            }
        }
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write", "the archive", error)
}

fn stored_bytes(member: &Member) -> u64 {
    match &member.kind {
        MemberKind::File { sparse: Some(regions), .. } => {
            regions.iter().fold(0u64, |sum, (_, length)| sum.saturating_add(*length))
        }
        MemberKind::File { size_bytes, sparse: None } => *size_bytes,
        _ => 0,
    }
}

/// What follows the header, but for a sparse map.
fn body_bytes(member: &Member) -> u64 {
    match &member.kind {
        MemberKind::Directory { listing: Some(listing) } => listing.len() as u64 + 1,
        _ => stored_bytes(member),
    }
}

fn sparse_of(member: &Member) -> Option<(&[Region], u64)> {
    match &member.kind {
        MemberKind::File { size_bytes, sparse: Some(regions) } => Some((regions, *size_bytes)),
        _ => None,
    }
}

fn link_of(member: &Member) -> &[u8] {
    match &member.kind {
        MemberKind::Symlink(target) | MemberKind::HardLink(target) => target,
        _ => b"",
    }
}

/// Directories have a slash at the end: it is how the oldest programs know them.
fn stored_name(member: &Member) -> Vec<u8> {
    let mut name = member.path.clone();
    if matches!(member.kind, MemberKind::Directory { .. }) && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// The name by which a program that knows no sparse files finds the map and the data.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let last = name.rsplit(|&b| b == b'/').next().unwrap_or(name);
    let mut shown = [b"GNUSparseFile.0/", last].concat();
    shown.truncate(NAME_BYTES);
    shown
}

fn fields_of(member: &Member) -> Fields<'_> {
    let Attributes { mode, uid, gid, user, group, mtime, atime, ctime, .. } = &member.attributes;
    let (typeflag, device) = match &member.kind {
        MemberKind::File { .. } => (typeflag::FILE, None),
        MemberKind::Directory { listing: Some(_) } => (typeflag::LISTING, None),
        MemberKind::Directory { listing: None } => (typeflag::DIRECTORY, None),
        MemberKind::Symlink(_) => (typeflag::SYMLINK, None),
        MemberKind::HardLink(_) => (typeflag::HARD_LINK, None),
        MemberKind::Fifo => (typeflag::FIFO, None),
        MemberKind::CharDevice(major, minor) => (typeflag::CHAR_DEVICE, Some((*major, *minor))),
        MemberKind::BlockDevice(major, minor) => (typeflag::BLOCK_DEVICE, Some((*major, *minor))),
    };
    Fields {
        typeflag,
        device,
        mode: mode & 0o7777,
        uid: *uid,
        gid: *gid,
        user,
        group,
        mtime: mtime.seconds,
        atime: atime.map(|time| time.seconds),
        ctime: ctime.map(|time| time.seconds),
        ..Fields::default()
    }
}

fn push_sparse(records: &mut Builder, member: &Member, size_bytes: u64) {
    records.push_number(b"GNU.sparse.major", 1);
    records.push_number(b"GNU.sparse.minor", 0);
    records.push(b"GNU.sparse.name", &member.path);
    records.push_number(b"GNU.sparse.realsize", size_bytes);
    // A POSIX header has no place for these.
    for (key, time) in [(b"atime", member.attributes.atime), (b"ctime", member.attributes.ctime)] {
        if let Some(time) = time {
            records.push_time(key, time);
        }
    }
}

/// A member that says something about the next one.
fn put_extension(headers: &mut Vec<u8>, typeflag: u8, name: &[u8], body: &[u8]) -> Result<()> {
    let fields = Fields { name, typeflag, mode: 0o644, size_bytes: body.len() as u64, ..Fields::default() };
    headers.extend_from_slice(&fields.encode()?);
    headers.extend_from_slice(body);
    let missing = padding(body.len() as u64) as usize;
    headers.extend_from_slice(&ZEROS[..missing]);
    Ok(())
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    let missing = padding(bytes.len() as u64) as usize;
    bytes.extend_from_slice(&ZEROS[..missing]);
    bytes
}

fn check(member: &Member) -> Result<()> {
    check_path(&member.path, "name")?;
    let is_root = member.path == b"/" && matches!(member.kind, MemberKind::Directory { .. });
    if member.path.ends_with(b"/") && !is_root {
        return Err(Error::new(Kind::Invalid, "a name with a slash at its end"));
    }
    let attributes = &member.attributes;
    let names = attributes.xattrs.iter().map(|(name, _)| name);
    if names.chain([&attributes.user, &attributes.group]).any(|name| name.contains(&0)) {
        return Err(Error::new(Kind::Invalid, "a NUL in the name of an owner or attribute"));
    }
    let xattr_bytes: usize = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if xattr_bytes > XATTR_BYTES {
        return Err(Error::new(Kind::Limit, "more attributes than").on(format!("{XATTR_BYTES} bytes")));
    }
    match &member.kind {
        MemberKind::Symlink(target) | MemberKind::HardLink(target) => check_path(target, "target"),
        MemberKind::Directory { listing: Some(listing) } => check_listing(listing),
        MemberKind::File { size_bytes, sparse: Some(regions) } => check_map(regions, *size_bytes),
        _ => Ok(()),
    }
}

fn check_path(path: &[u8], what: &str) -> Result<()> {
    if path.len() >= PATH_BYTES {
        return Err(
            Error::new(Kind::Limit, format!("a {what} longer than")).on(format!("{PATH_BYTES} bytes"))
        );
    }
    if path.is_empty() || path.contains(&0) {
        return Err(Error::new(Kind::Invalid, format!("a {what} that is empty or has a NUL")));
    }
    Ok(())
}

fn check_listing(listing: &[u8]) -> Result<()> {
    if listing.len() as u64 >= DUMPDIR_BYTES {
        return Err(Error::new(Kind::Limit, "a listing longer than").on(format!("{DUMPDIR_BYTES} bytes")));
    }
    if listing.last().is_some_and(|&last| last != 0) || listing.first() == Some(&0) || contains_empty(listing)
    {
        return Err(Error::new(Kind::Invalid, "a listing whose records do not end"));
    }
    Ok(())
}

/// An empty record would end the listing for whoever reads it.
fn contains_empty(listing: &[u8]) -> bool {
    listing.windows(2).any(|pair| pair == [0, 0])
}

fn check_map(regions: &[Region], size_bytes: u64) -> Result<()> {
    if regions.len() > SPARSE_REGIONS {
        return Err(Error::new(Kind::Limit, "more regions than").on(SPARSE_REGIONS.to_string()));
    }
    let mut end = 0u64;
    for &(offset, length) in regions {
        let next =
            offset.checked_add(length).filter(|&next| offset >= end && length > 0 && next <= size_bytes);
        end = next.ok_or_else(|| {
            Error::new(Kind::Invalid, "a sparse map that is empty, out of order or too long")
        })?;
    }
    Ok(())
}
