//! The bytes of a key slot: the master key under one password (or under none), and who the slot is for.
//!
//! Invariant: whoever has the master key can tell every changed bit of every slot, whosever password it is under: the second
//! part is sealed with a key that is derived from it, and is bound to all that stands before.

use super::header::{MAGIC, VERSION};
use super::id::{ID_BYTES, ObjectId};
use super::kdf::{Derivation, Parameters, SALT_BYTES};
use super::keys::Keys;
use super::seal::{Cipher, KEY_BYTES, Key, SealKey, TAG_BYTES};
use crate::error::{Error, Kind, Result};
use crate::limits::{KEY_SLOT_BYTES, NAME_BYTES};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const KIND: u8 = 1;
/// Bytes before the sealed master key.
const HEAD: usize = 128;
/// Where the sealed master key ends.
const MASTER_END: usize = HEAD + KEY_BYTES + TAG_BYTES;
/// What the document is padded to.
const PADDING: usize = 256;

/// What stands between the slot and the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing: the repository is not encrypted.
    Open,
    /// A password, and how it is made a key.
    Password(Derivation),
}

impl Guard {
    fn cipher(self) -> Cipher {
        match self {
            Guard::Open => Cipher::None,
            Guard::Password(_) => Cipher::Aes256Gcm,
        }
    }

    fn number(self) -> u8 {
        match self {
            Guard::Open => 0,
            Guard::Password(_) => 1,
        }
    }
}

/// The key that slots without a password are under.
pub fn open_key() -> Key {
    Zeroizing::new([0; KEY_BYTES])
}

/// Who a slot is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What the user called it.
    pub label: String,
    /// When it was made, in seconds.
    pub created: i64,
}

impl About {
    /// Checks and takes a label.
    ///
    /// # Errors
    /// `Invalid` when it is too long or has control characters.
    pub fn new(label: &str, created: Timestamp) -> Result<About> {
        if label.len() > NAME_BYTES || label.chars().any(char::is_control) {
            return Err(Error::invalid("not a usable label of a key slot:", format!("{label:?}"))
                .hint("labels are at most 200 bytes without control characters"));
        }
        Ok(About { label: label.to_owned(), created: created.0 })
    }
}

/// A key slot. Its bytes are what it is; without the password nothing in it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySlot {
    id: ObjectId,
    repository: ObjectId,
    guard: Guard,
    bytes: Vec<u8>,
}

impl KeySlot {
    /// Makes the slot `id` with the master key of `keys`, under `key`, which the guard derives.
    ///
    /// # Errors
    /// `Invalid` when the guard is not one for the cipher of the repository, or when the cryptographic library refuses.
    pub fn seal(id: ObjectId, keys: &Keys, guard: Guard, key: &Key, about: &About) -> Result<KeySlot> {
        if guard.cipher() != keys.cipher() {
            return Err(Error::invalid(
                "a key slot that does not go with the repository's cipher:",
                id.to_string(),
            ));
        }
        let repository = keys.repository();
        let mut bytes = head(id, repository, guard).to_vec();
        let mut master = Zeroizing::new(Vec::with_capacity(KEY_BYTES + TAG_BYTES));
        master.extend_from_slice(&keys.master()[..]);
        slot_seal(guard, key, id)?.seal(0, &bytes, &mut master, 0)?;
        bytes.extend_from_slice(&master);
        let mut document = serde_json::to_vec(about)
            .map_err(|error| Error::invalid("cannot spell the label of a key slot:", error.to_string()))?;
        document.resize(document.len().next_multiple_of(PADDING), b' ');
        about_seal(keys, id)?.seal(0, &bytes, &mut document, 0)?;
        bytes.extend_from_slice(&document);
        Ok(KeySlot { id, repository, guard, bytes })
    }

    /// Reads what should be the slot `id`.
    ///
    /// # Errors
    /// `Damaged` when it is none or another, `Unsupported` when a newer version wrote it.
    pub fn parse(id: ObjectId, bytes: Vec<u8>) -> Result<KeySlot> {
        let damaged = |what: &str| Error::damaged(what, id.to_string());
        let newer = |what: &str| {
            Error::new(Kind::Unsupported, what).on(id.to_string()).hint("use a newer version of icecore")
        };
        if bytes.len() < MASTER_END + TAG_BYTES || bytes.len() as u64 > KEY_SLOT_BYTES {
            return Err(damaged("not as long as a key slot is:"));
        }
        if bytes[..8] != MAGIC || bytes[9] != KIND {
            return Err(damaged("not a key slot:"));
        }
        if bytes[8] != VERSION {
            return Err(newer("a key slot of another version:"));
        }
        let cipher = Cipher::from_number(bytes[10])?;
        let guard = match bytes[11] {
            0 => Guard::Open,
            1 => Guard::Password(derivation(&bytes)),
            _ => return Err(newer("a key slot of a kind that a newer version wrote:")),
        };
        let slot = KeySlot { id, repository: ObjectId(array(&bytes, 96)), guard, bytes };
        if cipher != guard.cipher() || slot.bytes[..HEAD] != head(id, slot.repository, guard) {
            return Err(damaged("a key slot that contradicts itself or its name:"));
        }
        if matches!(guard, Guard::Password(derivation) if !derivation.parameters.are_allowed()) {
            return Err(damaged("a key slot asks for more or less than is allowed:"));
        }
        Ok(slot)
    }

    /// The master key, when `key` is the right one.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn master(&self, key: &Key) -> Result<Option<Key>> {
        let (head, rest) = self.bytes.split_at(HEAD);
        let mut sealed = Zeroizing::new(rest[..KEY_BYTES + TAG_BYTES].to_vec());
        let opened = slot_seal(self.guard, key, self.id)?.open(0, head, &mut sealed);
        Ok(opened.and_then(|master| <[u8; KEY_BYTES]>::try_from(&*master).ok()).map(Zeroizing::new))
    }

    /// Who the slot is for: readable with the master key, whatever its password.
    ///
    /// # Errors
    /// `Damaged` when anything in the slot is not as it was written under this master key.
    pub fn about(&self, keys: &Keys) -> Result<About> {
        let damaged = || {
            Error::damaged("not as it was written, or not for this repository: key slot", self.id.to_string())
        };
        let (before, sealed) = self.bytes.split_at(MASTER_END);
        let mut sealed = sealed.to_vec();
        let document = about_seal(keys, self.id)?.open(0, before, &mut sealed).ok_or_else(damaged)?;
        serde_json::from_slice(document).map_err(|error| damaged().because(error))
    }

    /// Its name.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// The repository it says it is of.
    pub fn repository(&self) -> ObjectId {
        self.repository
    }

    /// What stands before the master key.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// The cipher of the repositories it can be of.
    pub fn cipher(&self) -> Cipher {
        self.guard.cipher()
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn head(id: ObjectId, repository: ObjectId, guard: Guard) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = VERSION;
    bytes[9] = KIND;
    bytes[10] = guard.cipher().number();
    bytes[11] = guard.number();
    bytes[16..48].copy_from_slice(&id.0);
    if let Guard::Password(Derivation { parameters, salt }) = guard {
        bytes[48..52].copy_from_slice(&parameters.memory_kib.to_le_bytes());
        bytes[52..56].copy_from_slice(&parameters.passes.to_le_bytes());
        bytes[56..60].copy_from_slice(&parameters.lanes.to_le_bytes());
        bytes[64..64 + SALT_BYTES].copy_from_slice(&salt);
    }
    bytes[96..96 + ID_BYTES].copy_from_slice(&repository.0);
    bytes
}

/// Of bytes that are long enough.
fn derivation(bytes: &[u8]) -> Derivation {
    let number = |at| u32::from_le_bytes(array(bytes, at));
    let parameters = Parameters { memory_kib: number(48), passes: number(52), lanes: number(56) };
    Derivation { parameters, salt: array(bytes, 64) }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn slot_seal(guard: Guard, key: &Key, id: ObjectId) -> Result<SealKey> {
    SealKey::new(guard.cipher(), &Zeroizing::new(*blake3::keyed_hash(key, &id.0).as_bytes()))
}

fn about_seal(keys: &Keys, id: ObjectId) -> Result<SealKey> {
    let key = Zeroizing::new(*blake3::keyed_hash(&keys.subkey("slot"), &id.0).as_bytes());
    SealKey::new(keys.cipher(), &key)
}
