//! The packets of SFTP, version 3: what is sent, as bytes, and what comes back, taken apart.
//!
//! Handles and the names in a folder are bytes, and stay bytes: a handle is the server's own, and a name may be anything.
//! Every length is checked against what is there before anything is taken, and a packet against a bound before it is kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use icecore::limits::SFTP_PACKET_BYTES;
use std::fmt;

/// The version that everybody speaks.
pub const VERSION: u32 = 3;

/// Opening: for reading.
pub const OPEN_READ: u32 = 0x01;
/// Opening: for writing.
pub const OPEN_WRITE: u32 = 0x02;
/// Opening: the file is made.
pub const OPEN_CREATE: u32 = 0x08;
/// Opening: the file must not be there yet.
pub const OPEN_EXCLUSIVE: u32 = 0x20;

/// All is well.
pub const OK: u32 = 0;
/// The end of a file or a folder.
pub const END: u32 = 1;
/// There is no such file.
pub const NO_SUCH_FILE: u32 = 2;
/// Not permitted.
pub const PERMISSION_DENIED: u32 = 3;
/// What has no code of its own: a name that is taken, a full disk, a folder that is not empty.
pub const FAILURE: u32 = 4;
/// What makes no sense to the server: a name that is too long.
pub const BAD_MESSAGE: u32 = 5;
/// The server has lost what it serves.
pub const CONNECTION_LOST: u32 = 7;
/// The server cannot do that.
pub const UNSUPPORTED: u32 = 8;

const ATTRIBUTE_SIZE: u32 = 0x01;
const ATTRIBUTE_OWNER: u32 = 0x02;
const ATTRIBUTE_MODE: u32 = 0x04;
const ATTRIBUTE_TIMES: u32 = 0x08;
const ATTRIBUTE_MORE: u32 = 0x8000_0000;

const TYPE_BITS: u32 = 0o170_000;
const FILE_BITS: u32 = 0o100_000;
const FOLDER_BITS: u32 = 0o040_000;
const LINK_BITS: u32 = 0o120_000;

/// Bytes that are no packet of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what the server sent is not SFTP: {}", self.0)
    }
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// A handle of a file; `mode` is for one that is made.
    Open {
        /// The file.
        path: &'a str,
        /// `OPEN_…`
        flags: u32,
        /// Permissions of a new file.
        mode: Option<u32>,
    },
    /// A handle is given back.
    Close(&'a [u8]),
    /// Bytes of a file.
    Read {
        /// Of the file.
        handle: &'a [u8],
        /// From where.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// Bytes into a file.
    Write {
        /// Of the file.
        handle: &'a [u8],
        /// To where.
        offset: u64,
        /// Which.
        bytes: &'a [u8],
    },
    /// What is known of a name; links are not followed.
    Look(&'a str),
    /// What is known of a name; links are followed.
    LookBehind(&'a str),
    /// What is known of an open file.
    LookAtOpen(&'a [u8]),
    /// Times are set.
    SetTimes {
        /// Of what.
        path: &'a str,
        /// Last read.
        accessed: u32,
        /// Last written.
        modified: u32,
    },
    /// A handle of a folder.
    OpenFolder(&'a str),
    /// The next names in a folder.
    ReadFolder(&'a [u8]),
    /// A file is removed.
    Remove(&'a str),
    /// A folder is made.
    MakeFolder {
        /// Which.
        path: &'a str,
        /// Permissions.
        mode: u32,
    },
    /// An empty folder is removed.
    RemoveFolder(&'a str),
    /// A file gets another name, which must be free.
    Rename {
        /// What it is called.
        from: &'a str,
        /// What it will be called.
        to: &'a str,
    },
    /// What the protocol itself does not know.
    Extended {
        /// The extension.
        name: &'a str,
        /// What it is told.
        strings: &'a [&'a [u8]],
    },
}

impl Request<'_> {
    /// The packet, with its length before it.
    pub fn encode(&self, id: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.payload());
        out.put_u32(0);
        out.put_u8(self.kind());
        out.put_u32(id);
        match *self {
            Request::Open { path, flags, mode } => {
                put(&mut out, path.as_bytes());
                out.put_u32(flags);
                put_mode(&mut out, mode);
            }
            Request::Close(handle) | Request::LookAtOpen(handle) | Request::ReadFolder(handle) => {
                put(&mut out, handle);
            }
            Request::Read { handle, offset, length } => {
                put(&mut out, handle);
                out.put_u64(offset);
                out.put_u32(length);
            }
            Request::Write { handle, offset, bytes } => {
                put(&mut out, handle);
                out.put_u64(offset);
                put(&mut out, bytes);
            }
            Request::Look(path)
            | Request::LookBehind(path)
            | Request::OpenFolder(path)
            | Request::Remove(path)
            | Request::RemoveFolder(path) => put(&mut out, path.as_bytes()),
            Request::SetTimes { path, accessed, modified } => {
                put(&mut out, path.as_bytes());
                out.put_u32(ATTRIBUTE_TIMES);
                out.put_u32(accessed);
                out.put_u32(modified);
            }
            Request::MakeFolder { path, mode } => {
                put(&mut out, path.as_bytes());
                put_mode(&mut out, Some(mode));
            }
            Request::Rename { from, to } => {
                put(&mut out, from.as_bytes());
                put(&mut out, to.as_bytes());
            }
            Request::Extended { name, strings } => {
                put(&mut out, name.as_bytes());
                strings.iter().for_each(|string| put(&mut out, string));
            }
        }
        let length = narrow(out.len() - 4);
        out[..4].copy_from_slice(&length.to_be_bytes());
        out.freeze()
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Open { .. } => 3,
            Request::Close(_) => 4,
            Request::Read { .. } => 5,
            Request::Write { .. } => 6,
            Request::Look(_) => 7,
            Request::LookAtOpen(_) => 8,
            Request::SetTimes { .. } => 9,
            Request::OpenFolder(_) => 11,
            Request::ReadFolder(_) => 12,
            Request::Remove(_) => 13,
            Request::MakeFolder { .. } => 14,
            Request::RemoveFolder(_) => 15,
            Request::LookBehind(_) => 17,
            Request::Rename { .. } => 18,
            Request::Extended { .. } => 200,
        }
    }

    /// About how long it gets.
    fn payload(&self) -> usize {
        match self {
            Request::Write { handle, bytes, .. } => handle.len() + bytes.len(),
            Request::Rename { from, to } => from.len() + to.len(),
            Request::Extended { strings, .. } => strings.iter().map(|string| string.len() + 4).sum(),
            _ => 256,
        }
    }
}

/// The first packet of all, which has no number.
pub fn greeting() -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u32(5);
    out.put_u8(1);
    out.put_u32(VERSION);
    out.freeze()
}

fn put(out: &mut BytesMut, string: &[u8]) {
    out.put_u32(narrow(string.len()));
    out.put_slice(string);
}

fn put_mode(out: &mut BytesMut, mode: Option<u32>) {
    match mode {
        Some(mode) => {
            out.put_u32(ATTRIBUTE_MODE);
            out.put_u32(mode);
        }
        None => out.put_u32(0),
    }
}

/// What is sent is a part of a transfer or a name, and far shorter than four gigabytes.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Its length.
    pub size: Option<u64>,
    /// Type and permissions, as `st_mode`.
    pub mode: Option<u32>,
    /// When it was last read and written, in seconds.
    pub times: Option<(u32, u32)>,
}

/// What sort of thing a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, a device …
    Other,
}

impl Attributes {
    /// What sort of thing it is; `None` when the server does not say.
    pub fn sort(&self) -> Option<Sort> {
        self.mode.map(|mode| match mode & TYPE_BITS {
            FILE_BITS => Sort::File,
            FOLDER_BITS => Sort::Folder,
            LINK_BITS => Sort::Link,
            _ => Sort::Other,
        })
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the server has it.
    pub name: Bytes,
    /// What is known of it; of the link, where it is one.
    pub attributes: Attributes,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// How it went.
    Status {
        /// `OK`, `END` …
        code: u32,
        /// The server's words.
        message: String,
    },
    /// Something has been opened.
    Handle(Bytes),
    /// Bytes of a file.
    Data(Bytes),
    /// Names in a folder.
    Names(Vec<Entry>),
    /// What is known of a file.
    Attributes(Attributes),
    /// The answer of an extension.
    Extended(Bytes),
}

/// An answer, and the number of the request it belongs to.
///
/// # Errors
/// When it is none.
pub fn reply(packet: Bytes) -> Result<(u32, Reply), Malformed> {
    let mut fields = Fields(packet);
    let (kind, id) = (fields.byte()?, fields.number()?);
    let reply = match kind {
        101 => {
            let code = fields.number()?;
            // Old servers end here.
            let message = if fields.0.is_empty() { Bytes::new() } else { fields.string()? };
            Reply::Status { code, message: String::from_utf8_lossy(&message).into_owned() }
        }
        102 => Reply::Handle(fields.string()?),
        103 => Reply::Data(fields.string()?),
        104 => {
            let count = fields.number()?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let name = fields.string()?;
                fields.string()?;
                entries.push(Entry { name, attributes: fields.attributes()? });
            }
            Reply::Names(entries)
        }
        105 => Reply::Attributes(fields.attributes()?),
        201 => Reply::Extended(fields.0),
        _ => return Err(Malformed("a packet of an unknown kind")),
    };
    Ok((id, reply))
}

/// What a server can do: the names of its extensions, from its first packet.
///
/// # Errors
/// When that is none, or of another version.
pub fn extensions(packet: Bytes) -> Result<Vec<Bytes>, Malformed> {
    let mut fields = Fields(packet);
    if fields.byte()? != 2 {
        return Err(Malformed("it does not begin with its version"));
    }
    if fields.number()? != VERSION {
        return Err(Malformed("another version than 3"));
    }
    let mut names = Vec::new();
    while !fields.0.is_empty() {
        names.push(fields.string()?);
        fields.string()?;
    }
    Ok(names)
}

/// Numbers of eight bytes each, as extensions answer; zeros for what a server leaves out.
pub fn numbers<const N: usize>(mut bytes: Bytes) -> [u64; N] {
    std::array::from_fn(|_| bytes.try_get_u64().unwrap_or(0))
}

struct Fields(Bytes);

impl Fields {
    fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed("a packet that is cut short"))
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed("a packet that is cut short"))
    }

    fn string(&mut self) -> Result<Bytes, Malformed> {
        let length = self.number()? as usize;
        if length > self.0.len() {
            return Err(Malformed("a string that is longer than its packet"));
        }
        Ok(self.0.split_to(length))
    }

    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.number()?;
        let mut found = Attributes::default();
        if flags & ATTRIBUTE_SIZE != 0 {
            found.size = Some(self.0.try_get_u64().map_err(|_| Malformed("attributes that are cut short"))?);
        }
        if flags & ATTRIBUTE_OWNER != 0 {
            self.number()?;
            self.number()?;
        }
        if flags & ATTRIBUTE_MODE != 0 {
            found.mode = Some(self.number()?);
        }
        if flags & ATTRIBUTE_TIMES != 0 {
            found.times = Some((self.number()?, self.number()?));
        }
        if flags & ATTRIBUTE_MORE != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(found)
    }
}

/// Packets out of a stream of bytes that is cut anywhere.
#[derive(Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next packet that is whole, without its length.
    ///
    /// # Errors
    /// When it is longer than any packet may be, or empty.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > SFTP_PACKET_BYTES {
            return Err(Malformed("a packet of an impossible length"));
        }
        if self.0.len() < length + 4 {
            self.0.reserve(length + 4 - self.0.len());
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests;
