//! What `openssl enc -aes-256-cfb` writes, which is how Freezer encrypts: `Salted__`, a salt, and AES-256 in CFB mode (SP 800-38A,
//! section 6.3, with segments of 128 bits) over the whole stream, without an end of its own.
//!
//! Key and first block come from password and salt by one round of a hash (`EVP_BytesToKey`): SHA-256 since OpenSSL 1.1.0, MD5
//! before. Nothing says which; only the plain bytes tell, by the mark of the compression that was under it.
//!
//! Nothing here is authenticated: whoever can write to a storage can turn any bit of the plain stream, and a wrong password is known
//! only by what comes out. It is read for what Freezer has written, and written for Freezer to read.

#[cfg(test)]
mod tests;

use super::Compression;
use crate::error::{Error, Kind, Result};
use crate::limits::{OPENSSL_PASSWORD_BYTES, READ_BYTES};
use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey, StreamingEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::iv::FixedLength;
use md5::{Digest as _, Md5};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// What a stream begins with.
pub const MAGIC: [u8; 8] = *b"Salted__";
/// Bytes of a salt.
pub const SALT_BYTES: usize = 8;
/// Bytes ahead of the encrypted ones: the magic and the salt.
pub const HEADER_BYTES: usize = 16;
/// How many plain bytes tell what they are.
pub const TELLING_BYTES: usize = 512;

const KEY_BYTES: usize = 32;
const BLOCK_BYTES: usize = 16;
/// What the library wants to have free behind what it writes.
const SPARE_BYTES: usize = BLOCK_BYTES - 1;

/// The hash by which a password becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// OpenSSL's default since 1.1.0, and what is written.
    Sha256,
    /// The default up to 1.0.2, and always that of Freezer's rsync engines.
    Md5,
}

impl Digest {
    /// Both, the likelier first.
    pub const ALL: [Digest; 2] = [Digest::Sha256, Digest::Md5];

    fn of(self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Digest::Sha256 => digest(&SHA256, bytes).as_ref().to_vec(),
            Digest::Md5 => Md5::digest(bytes).to_vec(),
        })
    }
}

/// A key, and the block that comes before the first one.
#[derive(Clone)]
pub struct KeyAndIv {
    key: Zeroizing<[u8; KEY_BYTES]>,
    iv: [u8; BLOCK_BYTES],
}

/// The key of a password: `EVP_BytesToKey` with one round. Each hash is over the one before it, the password and the salt; key and
/// first block are cut from all of them one behind the other.
pub fn evp_bytes_to_key(hash: Digest, password: &[u8], salt: &[u8; SALT_BYTES]) -> KeyAndIv {
    let mut made = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES));
    let mut last = Zeroizing::new(Vec::new());
    while made.len() < KEY_BYTES + BLOCK_BYTES {
        let mut input = Zeroizing::new(Vec::with_capacity(last.len() + password.len() + SALT_BYTES));
        input.extend_from_slice(&last);
        input.extend_from_slice(password);
        input.extend_from_slice(salt);
        last = hash.of(&input);
        made.extend_from_slice(&last);
    }
    let mut found = KeyAndIv { key: Zeroizing::new([0; KEY_BYTES]), iv: [0; BLOCK_BYTES] };
    found.key.copy_from_slice(&made[..KEY_BYTES]);
    found.iv.copy_from_slice(&made[KEY_BYTES..KEY_BYTES + BLOCK_BYTES]);
    found
}

/// The password in a file as `openssl -pass file:` takes it, and so Freezer's tar engine: the first line without its end (a carriage
/// return belongs to it), of no more than 1023 bytes, up to a zero.
pub fn password_of_file(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(OPENSSL_PASSWORD_BYTES)];
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The password in a file as Freezer's rsync engines take it: the first line with its end, if it has one.
pub fn password_with_line_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
    &bytes[..end]
}

/// The salt of a stream that begins with these bytes.
///
/// # Errors
/// `Damaged` when it begins in another way.
pub fn salt_of(head: &[u8]) -> Result<[u8; SALT_BYTES]> {
    let rest = head.strip_prefix(&MAGIC);
    let salt = rest.and_then(|rest| rest.first_chunk::<SALT_BYTES>());
    salt.copied().ok_or_else(|| Error::new(Kind::Damaged, "not a stream that openssl has encrypted"))
}

/// The header of a new stream.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_header() -> Result<[u8; HEADER_BYTES]> {
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    aws_lc_rs::rand::fill(&mut header[MAGIC.len()..])
        .map_err(|_| Error::new(Kind::Io, "the system has no random bytes"))?;
    Ok(header)
}

/// The key of a stream, of which `head` is the beginning ([`HEADER_BYTES`] and [`TELLING_BYTES`], or all of it): by the first of the
/// passwords with which a stream of one of these compressions comes out, and which it is.
///
/// # Errors
/// `Damaged` when it is no such stream or ends at once, `WrongPassword` when none of them is right.
pub fn find_key(
    passwords: &[&[u8]],
    head: &[u8],
    compressions: &[Compression],
) -> Result<(KeyAndIv, Compression)> {
    let salt = salt_of(head)?;
    let hidden = &head[HEADER_BYTES..head.len().min(HEADER_BYTES + TELLING_BYTES)];
    if hidden.is_empty() {
        return Err(Error::new(
            Kind::Damaged,
            "nothing behind the header of a stream that openssl has encrypted",
        ));
    }
    for password in passwords {
        for hash in Digest::ALL {
            let found = evp_bytes_to_key(hash, password, &salt);
            let mut plain = hidden.to_vec();
            Decryptor::new(&found)?.apply(&mut plain)?;
            if let Some(compression) = compressions.iter().find(|compression| compression.begins(&plain)) {
                return Ok((found, *compression));
            }
        }
    }
    Err(Error::new(Kind::WrongPassword, "the password does not open"))
}

/// Opens what was encrypted, in order.
pub struct Decryptor {
    cipher: StreamingDecryptingKey,
    room: Vec<u8>,
}

impl Decryptor {
    /// At the beginning of a stream.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(with: &KeyAndIv) -> Result<Self> {
        let context = DecryptionContext::Iv128(FixedLength::from(with.iv));
        let key = UnboundCipherKey::new(&AES_256, with.key.as_slice());
        let cipher = key.and_then(|key| StreamingDecryptingKey::cfb128(key, context));
        Ok(Decryptor { cipher: cipher.map_err(refused)?, room: Vec::new() })
    }

    /// Opens the next bytes of it, in place; any number of them.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn apply(&mut self, bytes: &mut [u8]) -> Result<()> {
        for piece in bytes.chunks_mut(READ_BYTES) {
            self.room.resize(piece.len() + SPARE_BYTES, 0);
            let made = self.cipher.update(piece, &mut self.room).map_err(refused)?;
            put_back(made.written(), piece)?;
        }
        Ok(())
    }
}

/// Encrypts, in order.
pub struct Encryptor {
    cipher: StreamingEncryptingKey,
    room: Vec<u8>,
}

impl Encryptor {
    /// At the beginning of a stream.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(with: &KeyAndIv) -> Result<Self> {
        let context = EncryptionContext::Iv128(FixedLength::from(with.iv));
        let key = UnboundCipherKey::new(&AES_256, with.key.as_slice());
        let cipher = key.and_then(|key| StreamingEncryptingKey::less_safe_cfb128(key, context));
        Ok(Encryptor { cipher: cipher.map_err(refused)?, room: Vec::new() })
    }

    /// The next bytes, encrypted.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn encrypt(&mut self, plain: &[u8], mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for piece in plain.chunks(READ_BYTES) {
            self.room.resize(piece.len() + SPARE_BYTES, 0);
            let made = self.cipher.update(piece, &mut self.room).map_err(refused)?;
            if made.written().len() != piece.len() {
                return Err(of_another_length());
            }
            out(made.written())?;
        }
        Ok(())
    }
}

fn put_back(made: &[u8], piece: &mut [u8]) -> Result<()> {
    if made.len() != piece.len() {
        return Err(of_another_length());
    }
    piece.copy_from_slice(made);
    Ok(())
}

/// In this mode each byte stands for one.
fn of_another_length() -> Error {
    Error::new(Kind::Io, "the cryptographic library gave back another number of bytes")
}

fn refused(_: aws_lc_rs::error::Unspecified) -> Error {
    Error::new(Kind::Io, "the cryptographic library refuses")
}

/// The plain bytes of a stream.
pub struct Reader<R> {
    inner: R,
    decryptor: Decryptor,
}

impl<R: Read> Reader<R> {
    /// Passes over the header of `inner`, of which `with` is the key.
    ///
    /// # Errors
    /// `Damaged` when there is no whole header; as `inner` has it.
    pub fn new(mut inner: R, with: &KeyAndIv) -> Result<Self> {
        let mut header = [0; HEADER_BYTES];
        inner.read_exact(&mut header).map_err(|e| Error::io("cannot read", "the header of a stream", e))?;
        salt_of(&header)?;
        Ok(Reader { inner, decryptor: Decryptor::new(with)? })
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.decryptor.apply(&mut buffer[..count])?;
        Ok(count)
    }
}

/// Takes plain bytes and writes a stream.
pub struct Writer<W> {
    inner: W,
    encryptor: Encryptor,
}

impl<W: Write> Writer<W> {
    /// Writes the header of a new stream.
    ///
    /// # Errors
    /// As `inner` has it.
    pub fn new(mut inner: W, password: &[u8]) -> Result<Self> {
        let header = new_header()?;
        let with = evp_bytes_to_key(Digest::Sha256, password, &salt_of(&header)?);
        inner.write_all(&header).map_err(|e| Error::io("cannot write", "the header of a stream", e))?;
        Ok(Writer { inner, encryptor: Encryptor::new(&with)? })
    }

    /// What the bytes went to. Such a stream has no end of its own.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let inner = &mut self.inner;
        self.encryptor.encrypt(plain, |hidden| {
            inner.write_all(hidden).map_err(|e| Error::io("cannot write", "a stream", e))
        })?;
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
