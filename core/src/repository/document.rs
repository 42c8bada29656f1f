//! The `metadata` document: one line of JSON whose existence commits a backup, and what it promises about the stored bytes.
//!
//! The first keys are Freezer's, byte for byte as Python writes them, so that Freezer restores what Icecore wrote; what
//! Icecore adds is under the one key `icecore`. `docs/format/chain.md` is normative. Invariant: [`parse`] takes any bytes
//! and either understands them or says `Damaged` or `Unsupported`; it never guesses. No changed bit of a document of Icecore's is
//! understood, and none makes it one of Freezer's, which have no hashes.

mod origin;
pub(super) mod python;
mod scheme;
mod seal;

pub(crate) use origin::not_vouched_for;
pub use origin::{Origin, Reencrypted};
pub use scheme::Scheme;

#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result};
use crate::limits::{DOCUMENT_PATH_BYTES, REPORTED_PATHS, SMALL_OBJECT_BYTES};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of what stands under `icecore`.
pub const FORMAT: u64 = 1;

/// What a backup's `metadata` object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which engine reads the stream.
    pub engine_name: String,
    /// How the stream is compressed; engines for which Freezer stores no such key have none.
    pub compression: Option<String>,
    /// The block size of Freezer's second rsync engine; its presence tells that stream from the first engine's.
    pub rsync_block_size: Option<u64>,
    /// Whether the stream is encrypted.
    pub encryption: bool,
    /// What Icecore knows besides; `None` for a backup of Freezer's.
    pub details: Option<Details>,
}

/// What Icecore knows of a backup: enough to tell every changed byte, and to answer questions without reading the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Size and hash of `data`.
    pub data: Stored,
    /// Size and hash of `engine_metadata`.
    pub engine_metadata: Stored,
    /// The timestamp of the backup this one is an increment to; `None` for a full one.
    pub parent: Option<Timestamp>,
    /// How the stream is encrypted, if it is.
    pub scheme: Scheme,
    /// Of which level this is a copy that was encrypted anew, if it is one.
    pub origin: Option<Origin>,
    /// What the run says of itself.
    pub report: Report,
}

/// An object as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its length.
    pub size_bytes: u64,
    /// BLAKE3 of all its bytes.
    pub blake3: blake3::Hash,
}

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When it began.
    pub started: Timestamp,
    /// When all was read and stored.
    pub finished: Timestamp,
    /// The host, which the series' name may hide.
    pub host: String,
    /// The name of the backup without the host.
    pub name: String,
    /// What was backed up, as the user gave it: raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// Entries in the backup that are not directories.
    pub files: u64,
    /// Bytes of content read.
    pub bytes: u64,
    /// Sources that could not be read, or changed while they were.
    pub errors: u64,
    /// The first of them, each with its reason.
    pub unread: Vec<String>,
    /// What the user calls this backup besides.
    pub tags: Vec<String>,
    /// The program and its version.
    pub program: String,
}

/// The keys, in the order in which they are written.
#[derive(Serialize, Deserialize)]
struct Keys {
    engine_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rsync_block_size: Option<u64>,
    encryption: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icecore: Option<Addition>,
}

#[derive(Serialize, Deserialize)]
struct Addition {
    format: u64,
    data_bytes: u64,
    data_blake3: Hex,
    engine_metadata_bytes: u64,
    engine_metadata_blake3: Hex,
    started: i64,
    finished: i64,
    host: String,
    name: String,
    paths: Vec<PathKey>,
    files: u64,
    bytes: u64,
    errors: u64,
    #[serde(default)]
    unread: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<i64>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<scheme::Keys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy_of: Option<origin::Keys>,
    program: String,
}

/// Looked at before anything else under `icecore`, since a newer format may have any shape.
#[derive(Deserialize)]
struct OnlyFormat {
    icecore: Option<FormatKey>,
}

#[derive(Deserialize)]
struct FormatKey {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[derive(Clone)]
struct Hex(blake3::Hash);

impl TryFrom<String> for Hex {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(Hex)
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> String {
        hex.0.to_hex().to_string()
    }
}

/// A path: text where it is UTF-8, otherwise its bytes in hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathKey {
    Text(String),
    Raw { hex: String },
}

impl From<&[u8]> for PathKey {
    fn from(path: &[u8]) -> Self {
        match str::from_utf8(path) {
            Ok(text) => PathKey::Text(text.to_owned()),
            Err(_) => PathKey::Raw { hex: path.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
    }
}

impl PathKey {
    fn into_bytes(self) -> Result<Vec<u8>> {
        match self {
            PathKey::Text(text) => Ok(text.into_bytes()),
            PathKey::Raw { hex } => bytes_of_hex(&hex).ok_or_else(|| damaged("a path is not hexadecimal")),
        }
    }
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Reads a document. Only the first line counts, and keys that are not known are passed over, as Freezer does.
///
/// # Errors
/// `Damaged` when it is not a document, not as Icecore wrote it, or longer than [`SMALL_OBJECT_BYTES`]; `Unsupported` when its
/// `icecore` format is newer.
pub fn parse(bytes: &[u8]) -> Result<Document> {
    if bytes.len() as u64 > SMALL_OBJECT_BYTES {
        return Err(damaged("too long"));
    }
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    seal::check(line, false)?;
    let only: OnlyFormat = from_json(line)?;
    if let Some(newer) = only.icecore.as_ref().filter(|icecore| icecore.format > FORMAT) {
        let what = format!("written by a newer program (format {}):", newer.format);
        return Err(Error::new(Kind::Unsupported, what).hint("use a newer version of icecore"));
    }
    // A newer format may vouch for itself in another way.
    seal::check(line, only.icecore.is_some())?;
    document_of(from_json(line)?)
}

fn from_json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| damaged("not a metadata document").because(error))
}

fn damaged(why: &str) -> Error {
    Error::new(Kind::Damaged, format!("{why}:"))
}

fn document_of(keys: Keys) -> Result<Document> {
    let details = keys.icecore.map(details_of).transpose()?;
    if details.as_ref().is_some_and(|details| (details.scheme != Scheme::None) != keys.encryption) {
        return Err(damaged("contradicts itself about encryption"));
    }
    Ok(Document {
        engine_name: keys.engine_name,
        compression: keys.compression,
        rsync_block_size: keys.rsync_block_size,
        encryption: keys.encryption,
        details,
    })
}

fn details_of(keys: Addition) -> Result<Details> {
    let report = Report {
        started: Timestamp(keys.started),
        finished: Timestamp(keys.finished),
        host: keys.host,
        name: keys.name,
        paths: keys.paths.into_iter().map(PathKey::into_bytes).collect::<Result<_>>()?,
        files: keys.files,
        bytes: keys.bytes,
        errors: keys.errors,
        unread: keys.unread,
        tags: keys.tags,
        program: keys.program,
    };
    Ok(Details {
        data: Stored { size_bytes: keys.data_bytes, blake3: keys.data_blake3.0 },
        engine_metadata: Stored {
            size_bytes: keys.engine_metadata_bytes,
            blake3: keys.engine_metadata_blake3.0,
        },
        parent: keys.parent.map(Timestamp),
        scheme: Scheme::of(keys.encryption)?,
        origin: keys.copy_of.map(Origin::of),
        report,
    })
}

impl Document {
    /// How the stream is encrypted. Of Freezer's documents only whether it is; there is one way.
    pub fn scheme(&self) -> &Scheme {
        match &self.details {
            Some(details) => &details.scheme,
            None if self.encryption => &Scheme::OpenSsl,
            None => &Scheme::None,
        }
    }

    /// The bytes of the object: one line without an end, separated as Python does it, ASCII only. Of long lists of paths the
    /// first [`REPORTED_PATHS`] are written, at most [`DOCUMENT_PATH_BYTES`] of them; the counts stay whole.
    ///
    /// # Errors
    /// `Limit` when it would be longer than [`SMALL_OBJECT_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut line = python::to_line(&self.keys());
        if self.details.is_some() {
            line = seal::close(line);
        }
        if line.len() as u64 > SMALL_OBJECT_BYTES {
            return Err(
                Error::new(Kind::Limit, "a metadata document is at most").on(SMALL_OBJECT_BYTES.to_string())
            );
        }
        Ok(line)
    }

    fn keys(&self) -> Keys {
        Keys {
            engine_name: self.engine_name.clone(),
            compression: self.compression.clone(),
            rsync_block_size: self.rsync_block_size,
            encryption: self.encryption,
            icecore: self.details.as_ref().map(Details::keys),
        }
    }
}

impl Details {
    fn keys(&self) -> Addition {
        let report = &self.report;
        Addition {
            format: FORMAT,
            data_bytes: self.data.size_bytes,
            data_blake3: Hex(self.data.blake3),
            engine_metadata_bytes: self.engine_metadata.size_bytes,
            engine_metadata_blake3: Hex(self.engine_metadata.blake3),
            started: report.started.0,
            finished: report.finished.0,
            host: report.host.clone(),
            name: report.name.clone(),
            paths: named(&report.paths).map(|path| PathKey::from(path.as_slice())).collect(),
            files: report.files,
            bytes: report.bytes,
            errors: report.errors,
            unread: named(&report.unread).cloned().collect(),
            parent: self.parent.map(|parent| parent.0),
            tags: report.tags.clone(),
            encryption: self.scheme.keys(),
            copy_of: self.origin.map(Origin::keys),
            program: report.program.clone(),
        }
    }
}

/// The first paths of a list, as many as a document names.
pub(super) fn named<T: AsRef<[u8]>>(paths: &[T]) -> impl Iterator<Item = &T> {
    let mut room = DOCUMENT_PATH_BYTES;
    paths.iter().take(REPORTED_PATHS).take_while(move |path| match room.checked_sub(path.as_ref().len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    })
}
