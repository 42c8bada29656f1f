//! What the engines noted of the files of a level beside its stream: SHA-1 of every block. A file that was put together from the
//! blocks of several levels is compared with that, since the first engine's deltas lose what was moved within a file.
//!
//! Invariant: memory does not grow with the files: digests go to a temporary file. A record that cannot be read proves nothing, and
//! is no failure.

use super::msgpack::Unpacker;
use super::plan::{DEFAULT_BLOCK_BYTES, PathHash, Plan, block_bytes, hash};
use super::stream::Dialect;
use crate::codec::{self, Compression};
use crate::engine::Chain;
use crate::error::{Error, Kind, Result};
use crate::limits::{FREEZER_BLOCK_BYTES, FREEZER_KEY_BYTES, FREEZER_TEXT_BYTES, PATH_BYTES};
use crate::spool::{Scratch, Spool};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};

/// Bytes of a digest.
const DIGEST_BYTES: usize = 20;

/// The digests of the files that were put together.
pub(super) struct Signatures {
    digests: Spool,
    /// Where those of a file are: the first, and how many.
    files: HashMap<PathHash, (u64, u64)>,
    block_bytes: usize,
}

impl Signatures {
    /// Reads those of the last level; `None` where there are no files to compare, or no record that can be read.
    ///
    /// # Errors
    /// As the storage has it; I/O of the temporary file.
    pub fn load(chain: &mut dyn Chain, plan: &Plan, scratch: &Scratch) -> Result<Option<Signatures>> {
        let Some(last) = chain.levels().checked_sub(1).filter(|_| plan.has_patched()) else {
            return Ok(None);
        };
        let block_bytes = match plan.dialect() {
            Some(Dialect::Second) => block_bytes(chain, last).unwrap_or(DEFAULT_BLOCK_BYTES),
            _ => DEFAULT_BLOCK_BYTES,
        };
        let manifest = match chain.engine_metadata(last) {
            Ok(manifest) => manifest,
            Err(error) if proves_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let block_bytes = usize::try_from(block_bytes.min(FREEZER_BLOCK_BYTES)).unwrap_or(usize::MAX);
        let mut found = Found { plan, digests: scratch.spool(), files: HashMap::new(), count: 0 };
        match read(manifest, plan.dialect(), &mut found) {
            Ok(()) => {
                let Found { digests, files, .. } = found;
                Ok(Some(Signatures { digests, files, block_bytes }))
            }
            Err(error) if proves_nothing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to compare a file; `None` when there are no digests of it.
    pub fn begin(&self, path: &[u8]) -> Option<Comparison> {
        let (next, count) = *self.files.get(&hash(path))?;
        Some(Comparison {
            next,
            end: next + count,
            block_bytes: self.block_bytes,
            context: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
            filled: 0,
            is_equal: true,
        })
    }
}

/// A file that is being compared with its digests.
pub(super) struct Comparison {
    next: u64,
    end: u64,
    block_bytes: usize,
    context: Context,
    filled: usize,
    is_equal: bool,
}

impl Comparison {
    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn update(&mut self, bytes: &[u8], signatures: &mut Signatures) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.block_bytes - self.filled));
            self.context.update(now);
            self.filled += now.len();
            rest = later;
            if self.filled == self.block_bytes {
                self.block(signatures)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, signatures: &mut Signatures) -> Result<()> {
        let context = std::mem::replace(&mut self.context, Context::new(&SHA1_FOR_LEGACY_USE_ONLY));
        self.filled = 0;
        if self.next >= self.end {
            self.is_equal = false;
            return Ok(());
        }
        let mut noted = [0; DIGEST_BYTES];
        signatures.digests.read_at(self.next * DIGEST_BYTES as u64, &mut noted)?;
        self.next += 1;
        self.is_equal &= context.finish().as_ref() == noted;
        Ok(())
    }

    /// Whether the file was what was noted, to its end.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn finish(mut self, signatures: &mut Signatures) -> Result<bool> {
        if self.filled > 0 {
            self.block(signatures)?;
        }
        Ok(self.is_equal && self.next == self.end)
    }
}

/// Trouble with a record, and not with where it is read from.
pub(super) fn proves_nothing(error: &Error) -> bool {
    matches!(error.kind(), Kind::NotFound | Kind::Damaged | Kind::Limit | Kind::Unsupported)
}

/// What was found so far.
struct Found<'a> {
    plan: &'a Plan,
    digests: Spool,
    files: HashMap<PathHash, (u64, u64)>,
    count: u64,
}

impl Found<'_> {
    fn add(&mut self, digest: &[u8]) -> Result<()> {
        let digest = from_hex(digest).ok_or_else(|| Error::damaged("no digest of SHA-1:", "a text"))?;
        self.digests.write_all(&digest).map_err(|e| Error::io("cannot write", "a temporary file", e))?;
        self.count += 1;
        Ok(())
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; DIGEST_BYTES];
    if text.len() != 2 * DIGEST_BYTES {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn read(manifest: Spool, dialect: Option<Dialect>, found: &mut Found<'_>) -> Result<()> {
    let mut plain = plain(manifest)?;
    match dialect {
        Some(Dialect::Second) => second(&mut Unpacker::new(plain), found),
        _ => first(&mut plain, found),
    }
}

/// A record, decompressed.
///
/// # Errors
/// I/O of the temporary file.
pub(super) fn plain(mut manifest: Spool) -> Result<BufReader<Box<dyn Read + Send>>> {
    let mut head = [0; 2];
    manifest.read_at(0, &mut head)?;
    manifest.rewind()?;
    let compression = match &head {
        b"BZ" => Compression::Bzip2,
        [0xfd, b'7'] => Compression::Xz,
        _ => Compression::Gzip,
    };
    Ok(BufReader::new(codec::decoder(compression, BufReader::new(manifest))?))
}

/// The record of the second engine: a map, whose `files` have the sums and digests of their blocks.
fn second<R: Read>(values: &mut Unpacker<R>, found: &mut Found<'_>) -> Result<()> {
    for _ in 0..values.map()? {
        if values.bytes(FREEZER_KEY_BYTES)? != b"files" {
            values.skip()?;
            continue;
        }
        for _ in 0..values.map()? {
            let path = hash(&values.bytes(PATH_BYTES)?);
            if !found.plan.is_patched(path) {
                values.skip()?;
                continue;
            }
            for _ in 0..values.map()? {
                if values.bytes(FREEZER_KEY_BYTES)? != b"signature" {
                    values.skip()?;
                    continue;
                }
                if values.list()? != 2 {
                    return Err(Error::damaged("not sums and digests:", "a signature"));
                }
                values.skip()?;
                let (first, count) = (found.count, values.list()?);
                for _ in 0..count {
                    found.add(&values.bytes(2 * DIGEST_BYTES)?)?;
                }
                found.files.insert(path, (first, count.into()));
            }
        }
    }
    Ok(())
}

/// The record of the first engine: the same in JSON.
fn first(plain: &mut dyn Read, found: &mut Found<'_>) -> Result<()> {
    let mut json = serde_json::Deserializer::from_reader(Bounded::new(plain));
    Object { key: "files", value: Files(found) }.deserialize(&mut json).map_err(of_json)
}

/// Trouble with a record in JSON.
pub(super) fn of_json(error: serde_json::Error) -> Error {
    if error.is_io() {
        Error::io("cannot read", "a manifest", io::Error::from(error))
    } else {
        Error::damaged("not a manifest of Freezer's", "").because(error)
    }
}

/// An object of which the values of one key are read by a seed.
struct Object<'k, S> {
    key: &'k str,
    value: S,
}

/// A seed that may be used for several values.
trait Again {
    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error>;
}

impl<'de, S: Again> DeserializeSeed<'de> for Object<'_, S> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Again> Visitor<'de> for Object<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == self.key {
                self.value.read(&mut map)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The value of `files`: an object by path.
struct Files<'f, 'p>(&'f mut Found<'p>);

impl Again for Files<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(ByPath(self.0))
    }
}

struct ByPath<'f, 'p>(&'f mut Found<'p>);

impl<'de> DeserializeSeed<'de> for ByPath<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ByPath<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files by their paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(path) = map.next_key::<String>()? {
            let path = hash(path.as_bytes());
            if self.0.plan.is_patched(path) {
                map.next_value_seed(Object {
                    key: "signature",
                    value: Signature { found: &mut *self.0, path },
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The value of `signature`: a list of sums and one of digests.
struct Signature<'f, 'p> {
    found: &'f mut Found<'p>,
    path: PathHash,
}

impl Again for Signature<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(Lists { found: &mut *self.found, path: self.path })
    }
}

struct Lists<'f, 'p> {
    found: &'f mut Found<'p>,
    path: PathHash,
}

impl<'de> DeserializeSeed<'de> for Lists<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Lists<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sums and digests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut lists: A) -> Result<(), A::Error> {
        lists.next_element::<IgnoredAny>()?;
        let first = self.found.count;
        lists.next_element_seed(Digests(&mut *self.found))?;
        while lists.next_element::<IgnoredAny>()?.is_some() {}
        let count = self.found.count - first;
        self.found.files.insert(self.path, (first, count));
        Ok(())
    }
}

struct Digests<'f, 'p>(&'f mut Found<'p>);

impl<'de> DeserializeSeed<'de> for Digests<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Digests<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("digests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut digests: A) -> Result<(), A::Error> {
        while let Some(digest) = digests.next_element::<String>()? {
            self.0.add(digest.as_bytes()).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// JSON in which no text is longer than a path can be.
pub(super) struct Bounded<'r> {
    input: &'r mut dyn Read,
    in_text: bool,
    escaped: bool,
    length: usize,
}

impl<'r> Bounded<'r> {
    /// What `input` has, from its beginning.
    pub fn new(input: &'r mut dyn Read) -> Self {
        Bounded { input, in_text: false, escaped: false, length: 0 }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        for byte in &buffer[..read] {
            match byte {
                _ if std::mem::take(&mut self.escaped) => {}
                b'\\' => self.escaped = self.in_text,
                b'"' => (self.in_text, self.length) = (!self.in_text, 0),
                _ => {}
            }
            self.length += usize::from(self.in_text);
        }
        if self.length > FREEZER_TEXT_BYTES {
            let most = format!("{FREEZER_TEXT_BYTES} bytes");
            return Err(Error::new(Kind::Limit, "a text is longer than").on(most).into());
        }
        Ok(read)
    }
}
