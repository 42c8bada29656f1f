//! The 128 bytes that objects begin with: what this is, and its key, wrapped for this repository, kind and name.

use super::id::{ID_BYTES, ObjectId};
use super::keys::Keys;
use super::seal::{Cipher, KEY_BYTES, Key, SealKey, TAG_BYTES, random};
use crate::error::{Error, Kind, Result};
use zeroize::Zeroizing;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of it that parts of the object are bound to: all but the key.
pub const IDENTITY_BYTES: usize = 48;
/// Bytes kept for the wrapped key.
pub const WRAPPED_BYTES: usize = HEADER_BYTES - IDENTITY_BYTES;

/// What objects begin with.
pub const MAGIC: [u8; 8] = *b"icecore\0";
/// The version of the format.
pub const VERSION: u8 = 1;
const SCHEME: u8 = 1;

/// What sort of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Chunks of content.
    ContentPack,
    /// Chunks of metadata.
    MetadataPack,
    /// Where chunks are.
    Index,
    /// A backup.
    Snapshot,
    /// A run that writes.
    Session,
    /// Snapshots that were removed on purpose.
    Removal,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [ObjectKind; 6] = [
        ObjectKind::ContentPack,
        ObjectKind::MetadataPack,
        ObjectKind::Index,
        ObjectKind::Snapshot,
        ObjectKind::Session,
        ObjectKind::Removal,
    ];

    /// The number that stands for it in the format.
    pub fn number(self) -> u8 {
        match self {
            ObjectKind::ContentPack => 2,
            ObjectKind::MetadataPack => 3,
            ObjectKind::Index => 4,
            ObjectKind::Snapshot => 5,
            ObjectKind::Session => 6,
            ObjectKind::Removal => 7,
        }
    }

    /// The kind that a number stands for.
    pub fn from_number(number: u8) -> Option<Self> {
        ObjectKind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// A header. Its bytes are what it is; nothing in it is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header([u8; HEADER_BYTES]);

impl Header {
    /// A header with a new key for the object `id`, and that key, ready to use.
    ///
    /// # Errors
    /// When the system has no random bytes or the cryptographic library refuses.
    pub fn create(keys: &Keys, kind: ObjectKind, id: ObjectId) -> Result<(Header, SealKey)> {
        Header::with_key(keys, kind, id, &Zeroizing::new(random::<KEY_BYTES>()?))
    }

    /// As [`Header::create`], with a key that is given: test vectors need one.
    pub(super) fn with_key(
        keys: &Keys,
        kind: ObjectKind,
        id: ObjectId,
        key: &Key,
    ) -> Result<(Header, SealKey)> {
        let identity = identity(kind, keys.cipher(), id);
        let mut wrapped = key.to_vec();
        keys.wrapping(kind, id)?.seal(0, &bound(keys, &identity), &mut wrapped, 0)?;
        let mut bytes = [0; HEADER_BYTES];
        bytes[..IDENTITY_BYTES].copy_from_slice(&identity);
        bytes[IDENTITY_BYTES..][..wrapped.len()].copy_from_slice(&wrapped);
        Ok((Header(bytes), SealKey::new(keys.cipher(), key)?))
    }

    /// A header whose wrapped key is known from elsewhere (an index).
    pub fn from_wrapped(
        keys: &Keys,
        kind: ObjectKind,
        id: ObjectId,
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Header {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..IDENTITY_BYTES].copy_from_slice(&identity(kind, keys.cipher(), id));
        bytes[IDENTITY_BYTES..].copy_from_slice(wrapped);
        Header(bytes)
    }

    /// Takes the header off an object that should be `id`, of `kind`.
    ///
    /// # Errors
    /// `Damaged` when it is another object or none, `Unsupported` when a newer version wrote it.
    pub fn read(keys: &Keys, kind: ObjectKind, id: ObjectId, object: &[u8]) -> Result<Header> {
        let damaged = |what: &str| Error::damaged(what, id.to_string());
        let bytes: [u8; HEADER_BYTES] = object
            .get(..HEADER_BYTES)
            .and_then(|head| head.try_into().ok())
            .ok_or_else(|| damaged("too short an object:"))?;
        if bytes[..8] != MAGIC {
            return Err(damaged("no object of a repository:"));
        }
        if bytes[8] != VERSION || bytes[11] != SCHEME {
            return Err(Error::new(Kind::Unsupported, "a newer version wrote the object").on(id.to_string()));
        }
        Cipher::from_number(bytes[10])?;
        if bytes[..IDENTITY_BYTES] != identity(kind, keys.cipher(), id) {
            return Err(damaged("another object stands under this name:"));
        }
        Ok(Header(bytes))
    }

    /// The key of the object.
    ///
    /// # Errors
    /// `Damaged` when the header is not of this repository, or was changed.
    pub fn key(&self, keys: &Keys) -> Result<SealKey> {
        let damaged = || Error::damaged("the key does not open in", self.id().to_string());
        let kind = ObjectKind::from_number(self.0[9]).ok_or_else(damaged)?;
        let (wrapped, rest) = self.0[IDENTITY_BYTES..].split_at(KEY_BYTES + TAG_BYTES);
        if rest.iter().any(|byte| *byte != 0) {
            return Err(damaged());
        }
        let mut wrapped = Zeroizing::new(wrapped.to_vec());
        let data = bound(keys, &self.0[..IDENTITY_BYTES]);
        let opened = keys.wrapping(kind, self.id())?.open(0, &data, &mut wrapped).ok_or_else(damaged)?;
        let key: Key = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(&*opened).map_err(|_| damaged())?);
        SealKey::new(keys.cipher(), &key)
    }

    /// The name of the object.
    pub fn id(&self) -> ObjectId {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.0[16..16 + ID_BYTES]);
        ObjectId(id)
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.0
    }

    /// What the parts of the object are bound to besides the repository: everything but the wrapped key.
    pub fn identity(&self) -> &[u8] {
        &self.0[..IDENTITY_BYTES]
    }

    /// The wrapped key.
    pub fn wrapped(&self) -> [u8; WRAPPED_BYTES] {
        let mut wrapped = [0; WRAPPED_BYTES];
        wrapped.copy_from_slice(&self.0[IDENTITY_BYTES..]);
        wrapped
    }
}

fn identity(kind: ObjectKind, cipher: Cipher, id: ObjectId) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = VERSION;
    bytes[9] = kind.number();
    bytes[10] = cipher.number();
    bytes[11] = SCHEME;
    bytes[16..].copy_from_slice(&id.0);
    bytes
}

/// The repository's id before `bytes`: what seals are bound to.
pub(super) fn bound(keys: &Keys, bytes: &[u8]) -> Vec<u8> {
    [&keys.repository().0[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(master: u8, repository: u8) -> Keys {
        Keys::new(Zeroizing::new([master; KEY_BYTES]), ObjectId([repository; ID_BYTES]), Cipher::Aes256Gcm)
    }

    #[test]
    fn a_header_opens_under_its_own_name_kind_and_repository_only() {
        let id = ObjectId([5; ID_BYTES]);
        let other = ObjectId([6; ID_BYTES]);
        let (header, _) = Header::create(&keys(1, 2), ObjectKind::Snapshot, id).unwrap();
        let read = |keys: &Keys, kind, id, bytes: &[u8]| {
            Header::read(keys, kind, id, bytes).and_then(|header| header.key(keys)).map(|_| ())
        };
        let bytes = header.bytes();
        read(&keys(1, 2), ObjectKind::Snapshot, id, bytes).unwrap();
        assert_eq!(read(&keys(1, 2), ObjectKind::Index, id, bytes).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(read(&keys(1, 2), ObjectKind::Snapshot, other, bytes).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(read(&keys(1, 3), ObjectKind::Snapshot, id, bytes).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(read(&keys(4, 2), ObjectKind::Snapshot, id, bytes).unwrap_err().kind(), Kind::Damaged);
        for position in 0..HEADER_BYTES {
            let mut changed = *bytes;
            changed[position] ^= 1;
            assert!(read(&keys(1, 2), ObjectKind::Snapshot, id, &changed).is_err(), "{position}");
        }
    }

    #[test]
    fn a_wrapped_key_is_enough_to_make_the_header_again() {
        let (keys, id) = (keys(1, 2), ObjectId([5; ID_BYTES]));
        let (header, _) = Header::create(&keys, ObjectKind::ContentPack, id).unwrap();
        let again = Header::from_wrapped(&keys, ObjectKind::ContentPack, id, &header.wrapped());
        assert_eq!(again.bytes(), header.bytes());
    }
}
