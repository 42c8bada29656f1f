//! Reads archives of every dialect of tar that backups are found in: v7, ustar, old and new GNU, PAX, star; incremental ones
//! of GNU tar in both its forms; sparse files in all of theirs.
//!
//! Invariants: an archive that ends without an empty block, inside a member or in a block that is no header is `Damaged`,
//! never a short archive; members of kinds this program does not know are `Unsupported`, never passed over; nothing that the
//! archive announces takes memory before it has come. Empty blocks do not end the archive but its input does, since archives
//! may be joined (Freezer restores with `tar --ignore-zeros`). Sources: POSIX.1-2017 `pax`, GNU tar manual, star(5).

use super::header::{Header, typeflag};
use super::input::Input;
use super::member::{Member, MemberKind};
use super::pax::Records;
use super::sparse::{Map, padding};
use super::writer::{ACLS, AclConverter};
use crate::error::{Error, Kind, Result};
use crate::limits::{DUMPDIR_BYTES, PATH_BYTES, XATTR_BYTES};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, Xattrs};
use crate::tree::directory::lossy;
use std::io::Read;

/// An archive being read.
pub struct ArchiveReader<R> {
    input: Input<R>,
    acl_from_text: AclConverter,
    for_all_members: Records,
    /// A header that was looked at ahead of its turn.
    pushed_back: Option<Header>,
    /// Whether the last thing read was an empty block, without which the archive must not end.
    at_end_marker: bool,
    /// Bytes of content of the current file not yet read.
    left_bytes: u64,
    /// What follows them before the next header.
    padding_bytes: u64,
    subject: String,
}

/// What members before a member say of it.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pending: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the archive that `input` begins with. Access lists that are stored as text come out as attributes named
    /// `SCHILY.acl.access` and `SCHILY.acl.default` until [`ArchiveReader::acl_from_text`].
    pub fn new(input: R) -> Self {
        ArchiveReader {
            input: Input::new(input),
            acl_from_text: Box::new(|_| None),
            for_all_members: Records::default(),
            pushed_back: None,
            at_end_marker: false,
            left_bytes: 0,
            padding_bytes: 0,
            subject: String::new(),
        }
    }

    /// Turns access lists that are stored as text into the kernel's attributes. One that `convert` gives `None` for keeps
    /// its PAX name, under which no file system takes it, so that a restore reports it instead of dropping it.
    #[must_use]
    pub fn acl_from_text(mut self, convert: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        self.acl_from_text = Box::new(convert);
        self
    }

    /// Bytes of the archive read so far.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// The next member, passing over what is left of the one before; `None` at the end of the archive. After an error
    /// there is nothing more to be had.
    ///
    /// # Errors
    /// `Damaged` for broken syntax and archives that end too early; `Unsupported` for kinds of members that cannot be
    /// restored; `Limit`; I/O.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator would keep `read` from being called in between"
    )]
    pub fn next(&mut self) -> Result<Option<Member>> {
        self.skip_rest()?;
        let mut extensions = Extensions::default();
        while let Some(header) = self.header(extensions.pending)? {
            self.subject = lossy(extensions.name.as_deref().unwrap_or(&header.name()));
            let taken = self.extension(&header, &mut extensions);
            if !taken.map_err(|e| e.while_doing("cannot read", &self.subject))? {
                return self.member(&header, extensions).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads stored bytes of the current file, in order; of a sparse one those of its regions. 0 at its end.
    ///
    /// # Errors
    /// `Damaged` when the archive ends before; I/O.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(self.input.damaged("ends too early").while_doing("cannot read", &self.subject));
        }
        self.left_bytes -= count as u64;
        Ok(count)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let (left, padding) = (std::mem::take(&mut self.left_bytes), std::mem::take(&mut self.padding_bytes));
        let result = self.input.skip(left).and_then(|()| self.input.skip(padding));
        result.map_err(|e| e.while_doing("cannot read", &self.subject))
    }

    /// The next header; `None` at the end of the archive, which must not come when a member is `pending`.
    fn header(&mut self, pending: bool) -> Result<Option<Header>> {
        if let Some(header) = self.pushed_back.take() {
            return Ok(Some(header));
        }
        loop {
            let Some(block) = self.input.block()? else {
                let whole = self.at_end_marker && !pending;
                return if whole { Ok(None) } else { Err(self.input.damaged("ends without its end marker")) };
            };
            if block.iter().any(|&b| b != 0) {
                let header =
                    Header::parse(&block).ok_or_else(|| self.input.damaged("a block that is no header"))?;
                self.at_end_marker = false;
                return Ok(Some(header));
            }
            if pending {
                return Err(self.input.damaged("a member is missing"));
            }
            self.at_end_marker = true;
        }
    }

    /// Takes a header that only says something about members to come; whether it was one.
    fn extension(&mut self, header: &Header, extensions: &mut Extensions) -> Result<bool> {
        let size = header.size_bytes();
        match header.typeflag() {
            typeflag::PAX | typeflag::SOLARIS_PAX => {
                let mut records = extensions.pax.take().unwrap_or_else(|| self.for_all_members.clone());
                self.read_records(&mut records, size?)?;
                extensions.pax = Some(records);
            }
            typeflag::PAX_GLOBAL => {
                let mut records = std::mem::take(&mut self.for_all_members);
                self.read_records(&mut records, size?)?;
                self.for_all_members = records.for_all_members();
                return Ok(true);
            }
            typeflag::LONG_NAME => extensions.name = Some(self.long_name(size?)?),
            typeflag::LONG_LINK => extensions.link = Some(self.long_name(size?)?),
            typeflag::LABEL | typeflag::OLD_RENAMES => {
                self.skip_body(size?)?;
                return Ok(true);
            }
            _ => return Ok(false),
        }
        extensions.pending = true;
        Ok(true)
    }

    fn read_records(&mut self, records: &mut Records, size_bytes: u64) -> Result<()> {
        records.read(&mut self.input.body(size_bytes))?;
        self.input.skip(padding(size_bytes))
    }

    fn long_name(&mut self, size_bytes: u64) -> Result<Vec<u8>> {
        let mut name = self.input.body(size_bytes).take(size_bytes, PATH_BYTES as u64)?;
        self.input.skip(padding(size_bytes))?;
        if let Some(end) = name.iter().position(|&b| b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn skip_body(&mut self, size_bytes: u64) -> Result<()> {
        self.input.skip(size_bytes)?;
        self.input.skip(padding(size_bytes))
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member> {
        let Extensions { pax, name, link, .. } = extensions;
        let mut pax = pax.unwrap_or_else(|| self.for_all_members.clone());
        let name = pax.sparse.name.take().or(pax.path.take()).or(name).unwrap_or_else(|| header.name());
        self.subject = lossy(&name);
        let link = pax.link.take().or(link).unwrap_or_else(|| header.link().to_vec());
        self.whole_member(header, pax, name, link).map_err(|e| e.while_doing("cannot read", &self.subject))
    }

    fn whole_member(
        &mut self,
        header: &Header,
        mut pax: Records,
        name: Vec<u8>,
        link: Vec<u8>,
    ) -> Result<Member> {
        if pax.continued || header.typeflag() == typeflag::CONTINUED {
            return Err(Error::new(Kind::Unsupported, "part of an archive of several volumes"));
        }
        let (path, has_slash) = without_slashes(name);
        if path.is_empty() || path.contains(&0) {
            return Err(self.input.damaged("an unusable name"));
        }
        let kind = self.kind(header, &mut pax, link, has_slash)?;
        let attributes = self.attributes(header, pax)?;
        Ok(Member { path, kind, attributes })
    }

    fn kind(
        &mut self,
        header: &Header,
        pax: &mut Records,
        link: Vec<u8>,
        has_slash: bool,
    ) -> Result<MemberKind> {
        let size = || pax.size_bytes.map_or_else(|| header.size_bytes(), Ok);
        Ok(match header.typeflag() {
            typeflag::FILE | typeflag::OLD_FILE | typeflag::CONTIGUOUS if pax.sparse.is_some() => {
                self.sparse_file(size()?, std::mem::take(&mut pax.sparse))?
            }
            // Before there was a type for directories.
            typeflag::FILE | typeflag::OLD_FILE if has_slash => {
                self.content_follows(0, size()?);
                MemberKind::Directory { listing: None }
            }
            typeflag::FILE | typeflag::OLD_FILE | typeflag::CONTIGUOUS => {
                self.content_follows(size()?, size()?);
                MemberKind::File { size_bytes: size()?, sparse: None }
            }
            typeflag::SPARSE => self.old_sparse_file(header, size()?)?,
            // What the size of a directory, device or symbolic link means is not specified; nothing follows them.
            typeflag::DIRECTORY => {
                let body = pax.listing.take();
                MemberKind::Directory { listing: body.map(|body| self.listing(body)).transpose()? }
            }
            typeflag::LISTING => MemberKind::Directory { listing: self.stored_listing(size()?)? },
            typeflag::SYMLINK => MemberKind::Symlink(self.target(link)?),
            typeflag::HARD_LINK => {
                self.pass_content_of_link(size()?)?;
                MemberKind::HardLink(self.target(link)?)
            }
            typeflag::FIFO => MemberKind::Fifo,
            typeflag::CHAR_DEVICE => {
                header.device().map(|(major, minor)| MemberKind::CharDevice(major, minor))?
            }
            typeflag::BLOCK_DEVICE => {
                header.device().map(|(major, minor)| MemberKind::BlockDevice(major, minor))?
            }
            other => {
                let shown = format!("{:?}", char::from(other));
                return Err(Error::new(Kind::Unsupported, "unknown kind of member").on(shown));
            }
        })
    }

    /// Of the `stored_bytes` behind this place, the first `readable_bytes` are for [`ArchiveReader::read`].
    fn content_follows(&mut self, readable_bytes: u64, stored_bytes: u64) {
        self.left_bytes = readable_bytes;
        self.padding_bytes = (stored_bytes - readable_bytes).saturating_add(padding(stored_bytes));
    }

    fn sparse_file(&mut self, stored_bytes: u64, sparse: super::pax::Sparse) -> Result<MemberKind> {
        let size_bytes =
            sparse.size_bytes.ok_or_else(|| self.input.damaged("a sparse file without a size"))?;
        let mut body = self.input.body(stored_bytes);
        let map = match (sparse.major.unwrap_or(0), sparse.minor.unwrap_or(0)) {
            (0, _) => sparse.map.ok_or_else(|| body.damaged("a sparse file without a map"))?,
            (1, 0) => Map::read_before_data(&mut body)?,
            (major, minor) => {
                let version = format!("{major}.{minor}");
                return Err(Error::new(Kind::Unsupported, "sparse file of version").on(version));
            }
        };
        let data_bytes = body.left_bytes();
        self.file_of_map(map, size_bytes, data_bytes)
    }

    fn old_sparse_file(&mut self, header: &Header, stored_bytes: u64) -> Result<MemberKind> {
        let (map, size_bytes) = Map::read_old(header, &mut self.input)?;
        self.file_of_map(map, size_bytes, stored_bytes)
    }

    fn file_of_map(&mut self, map: Map, size_bytes: u64, data_bytes: u64) -> Result<MemberKind> {
        let regions = map.finish(size_bytes, data_bytes)?;
        self.content_follows(data_bytes, data_bytes);
        Ok(MemberKind::File { size_bytes, sparse: Some(regions) })
    }

    fn stored_listing(&mut self, size_bytes: u64) -> Result<Option<Vec<u8>>> {
        if size_bytes == 0 {
            // Not even the end of a listing: nothing is known of what the directory held, and nothing may be deleted.
            return Ok(None);
        }
        let body = self.input.body(size_bytes).take(size_bytes, DUMPDIR_BYTES)?;
        self.input.skip(padding(size_bytes))?;
        self.listing(body).map(Some)
    }

    /// Takes the final NUL off a listing: without it records may be missing.
    fn listing(&self, mut body: Vec<u8>) -> Result<Vec<u8>> {
        if body != b"\0" && !body.ends_with(b"\0\0") {
            return Err(self.input.damaged("a listing without an end"));
        }
        body.pop();
        Ok(body)
    }

    fn target(&self, link: Vec<u8>) -> Result<Vec<u8>> {
        if link.is_empty() || link.contains(&0) {
            return Err(self.input.damaged("a link without a usable target"));
        }
        Ok(link)
    }

    /// A hard link may have the size of its file and no content (old programs), or content as well (POSIX cpio-like
    /// writers). What follows decides: a header or the end marker is not content.
    fn pass_content_of_link(&mut self, size_bytes: u64) -> Result<()> {
        if size_bytes == 0 {
            return Ok(());
        }
        let Some(block) = self.input.block()? else { return Ok(()) };
        if block.iter().all(|&b| b == 0) {
            self.at_end_marker = true;
            return Ok(());
        }
        self.pushed_back = Header::parse(&block);
        if self.pushed_back.is_none() {
            let stored = size_bytes.saturating_add(padding(size_bytes));
            self.padding_bytes = stored - block.len() as u64;
        }
        Ok(())
    }

    fn attributes(&self, header: &Header, pax: Records) -> Result<Attributes> {
        let whole = |seconds: i64| FileTime::new(seconds, 0);
        Ok(Attributes {
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            user: pax.user.unwrap_or_else(|| header.user().to_vec()),
            group: pax.group.unwrap_or_else(|| header.group().to_vec()),
            mtime: pax.mtime.map_or_else(|| header.mtime().map(whole), Ok)?,
            atime: pax.atime.or(header.atime().map(whole)),
            ctime: pax.ctime.or(header.ctime().map(whole)),
            xattrs: self.xattrs(pax.xattrs, [pax.acl_access, pax.acl_default])?,
        })
    }

    fn xattrs(&self, mut xattrs: Xattrs, acls: [Option<Vec<u8>>; 2]) -> Result<Xattrs> {
        for ((kernel, key), text) in ACLS.iter().zip(acls) {
            let Some(text) = text else { continue };
            xattrs.push(match (self.acl_from_text)(&text) {
                Some(binary) => (kernel.to_vec(), binary),
                None => (key.to_vec(), text),
            });
        }
        // Of equal names the last holds: a stable sort backwards brings it to the front.
        xattrs.reverse();
        xattrs.sort_by(|a, b| a.0.cmp(&b.0));
        xattrs.dedup_by(|later, first| later.0 == first.0);
        let total =
            xattrs.iter().fold(0usize, |sum, (name, value)| sum.saturating_add(name.len() + value.len()));
        if total > XATTR_BYTES {
            return Err(Error::new(Kind::Limit, "more attributes than").on(format!("{XATTR_BYTES} bytes")));
        }
        Ok(xattrs)
    }
}

/// The name without the slashes that mark a directory, and whether there were any. The root keeps its own.
fn without_slashes(mut name: Vec<u8>) -> (Vec<u8>, bool) {
    let has_slash = name.ends_with(b"/");
    while name.len() > 1 && name.ends_with(b"/") {
        name.pop();
    }
    (name, has_slash)
}
