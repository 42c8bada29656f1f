//! The config: which repository this is and how it is sealed. Written last of `create`, so that a repository exists whole.
//!
//! Invariant: nothing of a config counts until its seal was compared under the master key; what is read of it before only
//! says which slots to try.

use super::header::{MAGIC, VERSION};
use super::id::{ID_BYTES, ObjectId};
use super::keys::Keys;
use super::seal::Cipher;
use crate::error::{Error, Kind, Result};

/// Bytes of a config.
pub const CONFIG_BYTES: usize = 96;
const SEALED: usize = 64;
const KIND: u8 = 0;
/// Smallest, average and largest content chunk of version 1.
const CHUNK_BYTES: [u32; 3] = [262_144, 1_048_576, 4_194_304];

/// A config. Its bytes are what it is; nothing in it is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    bytes: [u8; CONFIG_BYTES],
    cipher: Cipher,
}

impl Config {
    /// The config of the repository that these keys are of.
    pub fn create(keys: &Keys) -> Config {
        let mut bytes = [0; CONFIG_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = VERSION;
        bytes[9] = KIND;
        bytes[10] = keys.cipher().number();
        bytes[16..48].copy_from_slice(&keys.repository().0);
        bytes[48..60].copy_from_slice(&chunk_sizes());
        let seal = seal(keys, &bytes);
        bytes[SEALED..].copy_from_slice(seal.as_bytes());
        Config { bytes, cipher: keys.cipher() }
    }

    /// Reads a config, whose seal is still to be compared.
    ///
    /// # Errors
    /// `Damaged` when it is none, `Unsupported` when a newer version wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Config> {
        let damaged = |what: &str| Error::new(Kind::Damaged, what);
        let newer = |what: String| Error::new(Kind::Unsupported, what).hint("use a newer version of icecore");
        let bytes: [u8; CONFIG_BYTES] =
            bytes.try_into().map_err(|_| damaged("not the config of a repository"))?;
        if bytes[..8] != MAGIC || bytes[9] != KIND {
            return Err(damaged("not the config of a repository"));
        }
        if bytes[8] != VERSION {
            return Err(newer(format!("a config of version {}", bytes[8])));
        }
        let cipher = Cipher::from_number(bytes[10])?;
        if bytes[11..16] != [0; 5] {
            return Err(damaged("reserved bytes of the config are set"));
        }
        if bytes[60..64] != [0; 4] {
            return Err(newer("the repository has features of a newer version".to_owned()));
        }
        if bytes[48..60] != chunk_sizes() {
            return Err(newer("the repository has chunks of other sizes than this version makes".to_owned()));
        }
        Ok(Config { bytes, cipher })
    }

    /// Whether the seal is right: whoever wrote this config had these keys.
    pub fn is_sealed_by(&self, keys: &Keys) -> bool {
        let mut written = [0; CONFIG_BYTES - SEALED];
        written.copy_from_slice(&self.bytes[SEALED..]);
        // The comparison of hashes takes the same time whatever differs.
        seal(keys, &self.bytes) == blake3::Hash::from_bytes(written)
    }

    /// The repository's id.
    pub fn id(&self) -> ObjectId {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.bytes[16..48]);
        ObjectId(id)
    }

    /// How everything of the repository is sealed.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8; CONFIG_BYTES] {
        &self.bytes
    }
}

fn chunk_sizes() -> [u8; 12] {
    let mut bytes = [0; 12];
    for (place, size) in bytes.chunks_exact_mut(4).zip(CHUNK_BYTES) {
        place.copy_from_slice(&size.to_le_bytes());
    }
    bytes
}

fn seal(keys: &Keys, bytes: &[u8; CONFIG_BYTES]) -> blake3::Hash {
    blake3::keyed_hash(&keys.subkey("config"), &bytes[..SEALED])
}

#[cfg(test)]
mod tests {
    use super::super::seal::KEY_BYTES;
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn every_changed_bit_and_other_keys_are_noticed() {
        let keys = |master| {
            Keys::new(Zeroizing::new([master; KEY_BYTES]), ObjectId([2; ID_BYTES]), Cipher::Aes256Gcm)
        };
        let config = Config::create(&keys(1));
        let sound =
            |bytes: &[u8], keys: &Keys| Config::parse(bytes).is_ok_and(|config| config.is_sealed_by(keys));
        assert!(sound(config.bytes(), &keys(1)));
        assert!(!sound(config.bytes(), &keys(3)));
        for position in 0..CONFIG_BYTES {
            for bit in 0..8 {
                let mut changed = *config.bytes();
                changed[position] ^= 1 << bit;
                assert!(!sound(&changed, &keys(1)), "{position} {bit}");
            }
            assert!(Config::parse(&config.bytes()[..position]).is_err());
        }
        assert!(Config::parse(&[&config.bytes()[..], b"\0"].concat()).is_err());
    }
}
