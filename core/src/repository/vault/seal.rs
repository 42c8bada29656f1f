//! Seals: encryption that notices every change, or a checksum in its place where a repository is not encrypted.
//!
//! Invariant: a key seals with every counter once. Keys are random and of one object, counters number its parts.

use crate::error::{Error, Kind, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes that a seal adds.
pub const TAG_BYTES: usize = 16;

/// A secret of 32 bytes, wiped when it is dropped.
pub type Key = Zeroizing<[u8; KEY_BYTES]>;

/// How objects are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// Not encrypted: a checksum.
    None,
    /// AES-256-GCM.
    Aes256Gcm,
}

impl Cipher {
    /// The number that stands for it in the format.
    pub fn number(self) -> u8 {
        match self {
            Cipher::None => 0,
            Cipher::Aes256Gcm => 1,
        }
    }

    /// The cipher that a number stands for.
    ///
    /// # Errors
    /// `Unsupported` for a number of a newer version.
    pub fn from_number(number: u8) -> Result<Self> {
        match number {
            0 => Ok(Cipher::None),
            1 => Ok(Cipher::Aes256Gcm),
            _ => Err(Error::new(Kind::Unsupported, format!("cipher {number}, which a newer version wrote"))),
        }
    }
}

/// A key made ready to seal and open.
pub struct SealKey(Prepared);

enum Prepared {
    Checksum(Key),
    Gcm(Box<LessSafeKey>),
}

impl SealKey {
    /// Prepares `key`.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Result<Self> {
        Ok(SealKey(match cipher {
            Cipher::None => Prepared::Checksum(Zeroizing::new(*key)),
            Cipher::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key)
                    .map_err(|_| Error::new(Kind::Io, "the cryptographic library refuses a key"))?;
                Prepared::Gcm(Box::new(LessSafeKey::new(key)))
            }
        }))
    }

    /// Seals `buffer[from..]` in place, bound to `data`, and appends the tag.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn seal(&self, counter: u64, data: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<()> {
        let tag = match &self.0 {
            Prepared::Checksum(key) => checksum(key, counter, data, &buffer[from..]),
            Prepared::Gcm(key) => {
                let mut tag = [0; TAG_BYTES];
                let sealed =
                    key.seal_in_place_separate_tag(nonce(counter), Aad::from(data), &mut buffer[from..]);
                let sealed =
                    sealed.map_err(|_| Error::new(Kind::Io, "the cryptographic library cannot encrypt"))?;
                tag.copy_from_slice(sealed.as_ref());
                tag
            }
        };
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens what was sealed with the same counter and data, in place, and gives the plain bytes; `None` when anything differs.
    pub fn open<'a>(&self, counter: u64, data: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        match &self.0 {
            Prepared::Checksum(key) => {
                let length = sealed.len().checked_sub(TAG_BYTES)?;
                let (plain, tag) = sealed.split_at_mut(length);
                (checksum(key, counter, data, plain) == *tag).then_some(plain)
            }
            Prepared::Gcm(key) => key.open_in_place(nonce(counter), Aad::from(data), sealed).ok(),
        }
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn checksum(key: &[u8; KEY_BYTES], counter: u64, data: &[u8], plain: &[u8]) -> [u8; TAG_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(&(data.len() as u64).to_le_bytes())
        .update(data)
        .update(&counter.to_le_bytes())
        .update(plain);
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_BYTES]);
    tag
}

/// Random bytes from the operating system.
///
/// # Errors
/// When it has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    // Straight from the kernel: a generator of the library's own would first gather entropy for milliseconds.
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::io("cannot get random bytes from", "the system", error)),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_with_all_the_same_opens() {
        for cipher in [Cipher::None, Cipher::Aes256Gcm] {
            let key = SealKey::new(cipher, &[7; KEY_BYTES]).unwrap();
            let mut sealed = b"left alone, content".to_vec();
            key.seal(3, b"data", &mut sealed, 12).unwrap();
            assert_eq!(sealed.len(), 12 + 7 + TAG_BYTES);
            let body = &sealed[12..];
            assert_eq!(body[..7] == *b"content", cipher == Cipher::None);
            let open = |key: &SealKey, counter, data: &[u8], body: &[u8]| {
                key.open(counter, data, &mut body.to_vec()).map(|plain| plain.to_vec())
            };
            assert_eq!(open(&key, 3, b"data", body).unwrap(), b"content");
            assert!(open(&key, 4, b"data", body).is_none());
            assert!(open(&key, 3, b"date", body).is_none());
            assert!(open(&SealKey::new(cipher, &[8; KEY_BYTES]).unwrap(), 3, b"data", body).is_none());
            for position in 0..body.len() {
                let mut changed = body.to_vec();
                changed[position] ^= 1;
                assert!(open(&key, 3, b"data", &changed).is_none(), "{cipher:?} {position}");
            }
            for length in 0..body.len() {
                assert!(open(&key, 3, b"data", &body[..length]).is_none(), "{cipher:?} {length}");
            }
        }
    }
}
