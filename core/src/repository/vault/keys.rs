//! The master key and what is derived from it.

use super::header::ObjectKind;
use super::id::{ChunkId, ChunkKind, ObjectId};
use super::seal::{Cipher, KEY_BYTES, Key, SealKey};
use crate::error::Result;
use zeroize::Zeroizing;

/// The keys of one repository. Never shown, wiped when dropped.
pub struct Keys {
    master: Key,
    repository: ObjectId,
    cipher: Cipher,
    content_id: Key,
    metadata_id: Key,
}

impl Keys {
    /// Derives everything from the master key of the repository with this id.
    pub fn new(master: Key, repository: ObjectId, cipher: Cipher) -> Self {
        let content_id = derive(&master, repository, "content id");
        let metadata_id = derive(&master, repository, "metadata id");
        Keys { master, repository, cipher, content_id, metadata_id }
    }

    /// The master key itself, for a slot.
    pub(super) fn master(&self) -> &Key {
        &self.master
    }

    /// The repository these keys are of.
    pub fn repository(&self) -> ObjectId {
        self.repository
    }

    /// How objects are sealed.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The key for `name`: see the table in the format.
    pub fn subkey(&self, name: &str) -> Key {
        derive(&self.master, self.repository, name)
    }

    /// The key that wraps the key of one object.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn wrapping(&self, kind: ObjectKind, object: ObjectId) -> Result<SealKey> {
        let wrap = self.subkey(&format!("wrap {}", kind.number()));
        let key = Zeroizing::new(*blake3::keyed_hash(&wrap, &object.0).as_bytes());
        SealKey::new(self.cipher, &key)
    }

    /// What a chunk with these bytes is called.
    pub fn chunk_id(&self, kind: ChunkKind, bytes: &[u8]) -> ChunkId {
        if kind == ChunkKind::Content {
            return ChunkId(*blake3::keyed_hash(&self.content_id, bytes).as_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.metadata_id);
        ChunkId(*hasher.update(&[kind.number()]).update(bytes).finalize().as_bytes())
    }
}

fn derive(master: &Key, repository: ObjectId, name: &str) -> Key {
    let mut material = Zeroizing::new([0; 2 * KEY_BYTES]);
    material[..KEY_BYTES].copy_from_slice(&master[..]);
    material[KEY_BYTES..].copy_from_slice(&repository.0);
    Zeroizing::new(blake3::derive_key(&format!("icecore dedup 1 {name}"), &material[..]))
}
