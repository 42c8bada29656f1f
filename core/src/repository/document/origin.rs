//! The key `copy_of` below `icecore`: which level a document is of, when the level was encrypted anew on the way from another repository.
//!
//! Such a copy has other bytes than the level that it was made from, and no two copies have the same ones. What they have in common
//! is the hash of the document with which the level was made, whatever it has gone through since.

use super::{Document, Hex, Stored, damaged};
use crate::error::{Error, Kind, Result};
use crate::repository::document::Scheme;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of which level another is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// BLAKE3 of the document with which the level was made.
    pub document: blake3::Hash,
    /// What tells the recipients of the copy from others; `None` where it is encrypted to none.
    pub recipients: Option<blake3::Hash>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Keys {
    original_blake3: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipients_blake3: Option<Hex>,
}

impl Origin {
    pub(super) fn of(keys: Keys) -> Origin {
        Origin { document: keys.original_blake3.0, recipients: keys.recipients_blake3.map(|hash| hash.0) }
    }

    pub(super) fn keys(self) -> Keys {
        Keys { original_blake3: Hex(self.document), recipients_blake3: self.recipients.map(Hex) }
    }
}

/// What a level is once it has been encrypted anew.
#[derive(Debug, Clone)]
pub struct Reencrypted {
    /// The stream.
    pub data: Stored,
    /// The state of the engine.
    pub engine_metadata: Stored,
    /// How both are encrypted now.
    pub scheme: Scheme,
    /// What tells their recipients from others, if there are any.
    pub recipients: Option<blake3::Hash>,
}

impl Document {
    /// What the document was when its level was made, of which `line` are the bytes.
    pub fn original(&self, line: &[u8]) -> blake3::Hash {
        let origin = self.details.as_ref().and_then(|details| details.origin);
        origin.map_or_else(|| blake3::hash(line), |origin| origin.document)
    }

    /// The same of a copy that has been encrypted anew; `line` are the bytes of this one.
    ///
    /// # Errors
    /// `Unsupported` for a document of Freezer's, and one in which a newer program has said more than this one understands: it would be lost.
    pub fn reencrypted(&self, line: &[u8], reencrypted: Reencrypted) -> Result<Document> {
        let Some(details) = &self.details else { return Err(not_vouched_for()) };
        if !is_within(&value(line)?, &value(&self.encode()?)?) {
            return Err(Error::new(
                Kind::Unsupported,
                "a newer program says more of this backup than this one can copy:",
            )
            .hint("use a newer version of icecore"));
        }
        let mut details = details.clone();
        details.origin = Some(Origin { document: self.original(line), recipients: reencrypted.recipients });
        details.data = reencrypted.data;
        details.engine_metadata = reencrypted.engine_metadata;
        let encryption = reencrypted.scheme != Scheme::None;
        details.scheme = reencrypted.scheme;
        Ok(Document { encryption, details: Some(details), ..self.clone() })
    }
}

/// What is said of a level of Freezer's that was to be encrypted anew.
pub(crate) fn not_vouched_for() -> Error {
    Error::new(Kind::Unsupported, "made by Freezer, and nothing vouches for its bytes:")
        .hint("copy it as it is, without --encryption and --recipient")
}

fn value(line: &[u8]) -> Result<Value> {
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| damaged("not a metadata document").because(error))
}

/// Whether every key of one is a key of the other.
fn is_within(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.iter().all(|(key, value)| other.get(key).is_some_and(|known| is_within(value, known)))
        }
        _ => true,
    }
}
