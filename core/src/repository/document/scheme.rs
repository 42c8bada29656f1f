//! The key `encryption` below `icecore`: how a stream is encrypted, and what its reader needs besides what the user holds.

use super::damaged;
use crate::error::{Error, Kind, Result};
use crate::limits::LOCKED_KEY_BYTES;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// How a stream is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    None,
    /// In the age format, `engine_metadata` too.
    Age {
        /// The key that opens it, itself encrypted under the password; `None` where it is encrypted to recipients, who hold theirs.
        locked_key: Option<Vec<u8>>,
    },
    /// As Freezer does it, by `openssl enc -aes-256-cfb`; `engine_metadata` is in clear.
    OpenSsl,
}

const AGE: &str = "age";
const OPENSSL: &str = "openssl";

#[derive(Serialize, Deserialize)]
pub(super) struct Keys {
    scheme: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked_key: Option<String>,
}

impl Scheme {
    pub(super) fn of(keys: Option<Keys>) -> Result<Scheme> {
        let Some(keys) = keys else { return Ok(Scheme::None) };
        match (keys.scheme.as_str(), keys.locked_key) {
            (AGE, None) => Ok(Scheme::Age { locked_key: None }),
            (AGE, Some(text)) => {
                let key = Some(text).filter(|text| text.len() <= LOCKED_KEY_BYTES * 2);
                let key = key.and_then(|text| BASE64.decode(text.as_bytes()).ok());
                let key = key.filter(|key| key.len() <= LOCKED_KEY_BYTES);
                Ok(Scheme::Age { locked_key: Some(key.ok_or_else(|| damaged("no key of a stream"))?) })
            }
            (OPENSSL, None) => Ok(Scheme::OpenSsl),
            (OPENSSL, Some(_)) => Err(damaged("a key where there is none")),
            (other, _) => Err(Error::new(Kind::Unsupported, format!("encrypted by {other:?}, in"))
                .hint("use a newer version of icecore")),
        }
    }

    pub(super) fn keys(&self) -> Option<Keys> {
        let (scheme, locked_key) = match self {
            Scheme::None => return None,
            Scheme::Age { locked_key } => (AGE, locked_key.as_ref().map(|key| BASE64.encode(key))),
            Scheme::OpenSsl => (OPENSSL, None),
        };
        Some(Keys { scheme: scheme.to_owned(), locked_key })
    }
}
