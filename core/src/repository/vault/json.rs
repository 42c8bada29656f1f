//! How documents spell things in JSON: versions, ids, byte strings.
//!
//! Invariant: any bytes are understood or refused; a key that must be there and is not, is a refusal.

use crate::error::{Error, Kind, Result};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Write};
use std::str::FromStr;

/// The version of every document.
pub(super) const VERSION: u64 = 1;

/// Looked at before anything else, since a newer version may have any shape.
#[derive(Deserialize)]
struct OnlyVersion {
    version: u64,
}

/// The document, if its version is ours.
pub(super) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    let damaged = |error| Error::new(Kind::Damaged, format!("not a document of a {what}")).because(error);
    match serde_json::from_slice::<OnlyVersion>(bytes).map_err(damaged)?.version {
        VERSION => serde_json::from_slice(bytes).map_err(damaged),
        0 => Err(Error::new(Kind::Damaged, format!("no version of a {what}"))),
        newer => Err(Error::new(Kind::Unsupported, format!("a {what} of version {newer}"))
            .hint("use a newer version of icecore")),
    }
}

/// The bytes of a document.
pub(super) fn write(what: &str, document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|error| Error::new(Kind::Invalid, format!("cannot spell the {what}")).because(error))
}

/// Something that is spelled as text: an id.
#[derive(Clone, Copy)]
pub(super) struct Text<T>(pub T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Text).map_err(|_| D::Error::custom("not an id"))
    }
}

/// A value that may be null and must be there.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Bytes: text where they are UTF-8 without control characters, otherwise hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ByteString {
    Plain(String),
    Raw { hex: String },
}

impl From<&[u8]> for ByteString {
    fn from(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => ByteString::Plain(text.to_owned()),
            _ => ByteString::Raw {
                hex: bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
                    write!(hex, "{byte:02x}").expect("writing to a string does not fail");
                    hex
                }),
            },
        }
    }
}

impl ByteString {
    /// The bytes, if the digits are some.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            ByteString::Plain(text) => Some(text.into_bytes()),
            ByteString::Raw { hex } => bytes_of_hex(hex.as_bytes()),
        }
    }
}

fn bytes_of_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = hex.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}
