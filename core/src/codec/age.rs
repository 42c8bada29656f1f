//! Streams in the age format (age-encryption.org/v1), which `age -d` opens: a header that has the key of the stream once for each
//! recipient, then pieces of 64 KiB, each authenticated, the last one marked.
//!
//! Streams are encrypted to recipients only: the public halves of identities. Where a password protects backups, it protects an
//! identity, made at random and kept beside them, which `age` opens by itself ([`lock_up`], [`unlock`]): a password is made
//! into a key slowly, and so it is done once, not for every stream.
//!
//! Invariants: nothing of a piece is handed out before it is known to be as it was written, and the end of a stream only when its last
//! piece was. A header is bounded by [`AGE_HEADER_BYTES`], and the work that a password costs by [`AGE_WORK_FACTOR_MAX`].

#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result};
use crate::limits::{AGE_HEADER_BYTES, AGE_IDENTITIES, AGE_RECIPIENTS, AGE_WORK_FACTOR, AGE_WORK_FACTOR_MAX};
use ::age::secrecy::{ExposeSecret, SecretString};
use ::age::{DecryptError, Decryptor, Encryptor, scrypt, ssh, x25519};
use std::fmt;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::iter;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What every stream begins with.
pub const MAGIC: &[u8] = b"age-encryption.org/";

/// The line with the checksum of a header, which ends it, begins with this.
const HEADER_END: &[u8] = b"\n--- ";

/// To whom streams are encrypted.
#[derive(Clone)]
pub struct Recipients {
    recipients: Vec<Arc<dyn ::age::Recipient + Send + Sync>>,
    fingerprint: blake3::Hash,
}

impl Recipients {
    /// Takes public keys, a line each: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// `Invalid` for anything else, and when there is none; `Limit` for more than [`AGE_RECIPIENTS`].
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut lines: Vec<&str> = lines.collect();
        lines.sort_unstable();
        lines.dedup();
        if lines.is_empty() {
            return Err(Error::invalid("there is no recipient", ""));
        }
        if lines.len() > AGE_RECIPIENTS {
            return Err(Error::new(Kind::Limit, "more recipients than").on(AGE_RECIPIENTS.to_string()));
        }
        let recipients = lines.iter().map(|line| recipient(line)).collect::<Result<_>>()?;
        Ok(Recipients { recipients, fingerprint: blake3::hash(lines.join("\n").as_bytes()) })
    }

    /// What tells these recipients from others.
    pub fn fingerprint(&self) -> blake3::Hash {
        self.fingerprint
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipients({})", self.recipients.len())
    }
}

fn recipient(line: &str) -> Result<Arc<dyn ::age::Recipient + Send + Sync>> {
    if line.starts_with("age1") {
        return match line.parse::<x25519::Recipient>() {
            Ok(recipient) => Ok(Arc::new(recipient)),
            Err(why) => Err(no_recipient(line).because(why.to_owned())),
        };
    }
    match line.parse::<ssh::Recipient>() {
        Ok(recipient) => Ok(Arc::new(recipient)),
        Err(_) => Err(no_recipient(line)),
    }
}

/// A secret key may have been given for a public one: what it looks like is not repeated.
fn no_recipient(line: &str) -> Error {
    let is_secret =
        line.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") || line.starts_with("-----BEGIN");
    let error = match is_secret {
        true => Error::invalid("a secret key is no recipient", ""),
        false => Error::invalid("not a recipient:", line),
    };
    error.hint("a recipient is a public key: age1…, ssh-ed25519 … or ssh-rsa …")
}

/// A secret key.
#[derive(Clone)]
pub struct Identity(Arc<dyn ::age::Identity + Send + Sync>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(hidden)")
    }
}

/// Takes secret keys as they stand in a file: those of age, a line each, or one of OpenSSH without a password.
///
/// # Errors
/// `Invalid` for anything else, `Unsupported` for a key of OpenSSH under a password, `Limit` for more than [`AGE_IDENTITIES`].
pub fn identities(file: &[u8]) -> Result<Vec<Identity>> {
    if file.starts_with(b"-----BEGIN") {
        let key = ssh::Identity::from_buffer(file, None);
        return match key.map_err(|_| Error::invalid("not a secret key of OpenSSH", ""))? {
            ssh::Identity::Unencrypted(key) => Ok(vec![Identity(Arc::new(ssh::Identity::from(key)))]),
            _ => Err(Error::new(Kind::Unsupported, "a secret key of OpenSSH that has a password itself")
                .hint("make a copy without one: ssh-keygen -p -f COPY")),
        };
    }
    let text = str::from_utf8(file).map_err(|_| Error::invalid("no secret keys: not text", ""))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.take(AGE_IDENTITIES + 1).map(|line| {
        line.parse::<x25519::Identity>().map(|key| Identity(Arc::new(key))).map_err(|_| {
            Error::invalid("not a secret key of age", "").hint("one begins with AGE-SECRET-KEY-1")
        })
    });
    let found = parsed.collect::<Result<Vec<Identity>>>()?;
    match found.len() {
        0 => Err(Error::invalid("there is no secret key", "")),
        count if count > AGE_IDENTITIES => {
            Err(Error::new(Kind::Limit, "more secret keys than").on(AGE_IDENTITIES.to_string()))
        }
        _ => Ok(found),
    }
}

/// Whether a file of identities is itself encrypted, and wants a password.
pub fn is_locked(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// A secret key with its public half, which a password has opened or protects from now on.
#[derive(Clone)]
pub struct OwnKey(x25519::Identity);

impl OwnKey {
    /// The key, to open with.
    pub fn identity(&self) -> Identity {
        Identity(Arc::new(self.0.clone()))
    }

    /// The public half, to encrypt to.
    pub fn recipients(&self) -> Recipients {
        let public = self.0.to_public();
        let fingerprint = blake3::hash(public.to_string().as_bytes());
        Recipients { recipients: vec![Arc::new(public)], fingerprint }
    }
}

/// Makes a new key at random, and a file of it under the password, as `age -p` makes one.
///
/// # Errors
/// `Invalid` for a password that is not UTF-8.
pub fn lock_up(password: &[u8]) -> Result<(OwnKey, Vec<u8>)> {
    lock_up_with(password, AGE_WORK_FACTOR)
}

fn lock_up_with(password: &[u8], work_factor: u8) -> Result<(OwnKey, Vec<u8>)> {
    let key = x25519::Identity::generate();
    let mut protection = scrypt::Recipient::new(passphrase(password)?);
    protection.set_work_factor(work_factor);
    let text = Zeroizing::new(format!("{}\n", key.to_string().expose_secret()));
    let mut file = Vec::new();
    let mut writer = encryptor(iter::once(&protection as &dyn ::age::Recipient), &mut file)?;
    let written = writer.write_all(text.as_bytes()).and_then(|()| writer.finish().map(drop));
    written.map_err(|e| Error::io("cannot encrypt", "a key", e))?;
    Ok((OwnKey(key), file))
}

/// Opens such a file.
///
/// # Errors
/// `WrongPassword`; `Damaged` when the file is not one, `Limit` when it wants more work than [`AGE_WORK_FACTOR_MAX`], `Invalid` for a
/// password that is not UTF-8.
pub fn unlock(file: &[u8], password: &[u8]) -> Result<OwnKey> {
    let text = unlock_file(file, password)?;
    let text = str::from_utf8(&text).map_err(|_| Error::new(Kind::Damaged, "a key that is not text"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let key = lines.next().and_then(|line| line.parse::<x25519::Identity>().ok());
    key.map(OwnKey).ok_or_else(|| Error::new(Kind::Damaged, "under the password there is no key of age"))
}

/// The content of a file of identities that is encrypted under a password.
///
/// # Errors
/// As [`unlock`].
pub fn unlock_file(file: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut protection = scrypt::Identity::new(passphrase(password)?);
    protection.set_max_work_factor(AGE_WORK_FACTOR_MAX);
    let decryptor = opened(file)?;
    if !decryptor.is_scrypt() {
        return Err(Error::new(Kind::Damaged, "a key that is not protected by a password"));
    }
    let reader = decryptor.decrypt(iter::once(&protection as &dyn ::age::Identity));
    let mut text = Zeroizing::new(Vec::new());
    let reader = reader.map_err(|error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            Error::new(Kind::WrongPassword, "the password does not open")
        }
        other => refused(other),
    })?;
    let mut reader = Reader(reader).take(AGE_HEADER_BYTES as u64);
    reader.read_to_end(&mut text).map_err(|e| Error::io("cannot read", "a key", e))?;
    Ok(text)
}

fn passphrase(password: &[u8]) -> Result<SecretString> {
    let text = str::from_utf8(password)
        .map_err(|_| Error::invalid("the password is not UTF-8, which age wants", ""))?;
    Ok(SecretString::from(text.to_owned()))
}

/// Takes plain bytes and writes a stream. It is whole only when [`Writer::finish`] was called.
pub struct Writer<W: Write>(::age::stream::StreamWriter<W>);

impl<W: Write> Writer<W> {
    /// Begins a stream to these recipients in `inner`.
    ///
    /// # Errors
    /// As `inner` has it.
    pub fn new(inner: W, to: &Recipients) -> Result<Self> {
        let to = to.recipients.iter().map(|recipient| recipient.as_ref() as &dyn ::age::Recipient);
        encryptor(to, inner).map(Writer)
    }

    /// Writes the last piece.
    ///
    /// # Errors
    /// As what it writes to has it.
    pub fn finish(self) -> Result<W> {
        self.0.finish().map_err(|e| Error::io("cannot write", "the end of a stream", e))
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        self.0.write(plain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn encryptor<'a, W: Write>(
    to: impl Iterator<Item = &'a dyn ::age::Recipient>,
    inner: W,
) -> Result<::age::stream::StreamWriter<W>> {
    let encryptor = Encryptor::with_recipients(to)
        .map_err(|error| Error::new(Kind::Invalid, "cannot encrypt to these recipients").because(error))?;
    encryptor.wrap_output(inner).map_err(|e| Error::io("cannot write", "the header of a stream", e))
}

/// Opens a stream with the first of the keys that it is encrypted to.
///
/// # Errors
/// `WrongPassword` when it is encrypted to none of them; `Damaged`, `Unsupported` and `Limit` for its header; as `source` has it.
pub fn reader<'a>(source: impl Read + Send + 'a, keys: &[Identity]) -> Result<Box<dyn Read + Send + 'a>> {
    let keys = keys.iter().map(|key| key.0.as_ref() as &dyn ::age::Identity);
    let reader = opened(source)?.decrypt(keys).map_err(|error| match error {
        DecryptError::NoMatchingKeys => Error::new(Kind::WrongPassword, "no key that was given opens"),
        other => refused(other),
    })?;
    Ok(Box::new(Reader(reader)))
}

type WithHead<R> = io::Chain<Cursor<Vec<u8>>, BufReader<R>>;

/// Reads the header of a stream, if it ends in time.
fn opened<R: Read>(mut source: R) -> Result<Decryptor<WithHead<R>>> {
    let mut head = Vec::new();
    let failed = |e| Error::io("cannot read", "the header of a stream", e);
    source.by_ref().take(AGE_HEADER_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    if !head.starts_with(MAGIC) {
        return Err(Error::new(Kind::Damaged, "not a stream that age has encrypted"));
    }
    if !head.windows(HEADER_END.len()).any(|bytes| bytes == HEADER_END) {
        return Err(match head.len() < AGE_HEADER_BYTES {
            true => Error::new(Kind::Damaged, "a stream that age has encrypted ends in its header"),
            false => Error::new(Kind::Limit, "the header of a stream is longer than")
                .on(AGE_HEADER_BYTES.to_string()),
        });
    }
    Decryptor::new_buffered(Cursor::new(head).chain(BufReader::new(source))).map_err(refused)
}

fn refused(error: DecryptError) -> Error {
    match error {
        DecryptError::Io(error) => Error::io("cannot read", "the header of a stream", error),
        DecryptError::UnknownFormat => {
            Error::new(Kind::Unsupported, "encrypted by a newer version of age").because(error)
        }
        DecryptError::ExcessiveWork { required, .. } => {
            let what = format!("a password that costs more work than allowed (2^{required} instead of)");
            Error::new(Kind::Limit, what).on(format!("2^{AGE_WORK_FACTOR_MAX}"))
        }
        other => Error::new(Kind::Damaged, "not a sound header of age").because(other),
    }
}

/// Says in our words what is wrong with a stream.
struct Reader<R>(R);

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
            match error.kind() {
                _ if is_ours => error,
                io::ErrorKind::InvalidData => {
                    Error::new(Kind::Damaged, "not as it was encrypted: changed, or cut").into()
                }
                io::ErrorKind::UnexpectedEof => {
                    Error::new(Kind::Damaged, "an encrypted stream ends too early").into()
                }
                _ => error,
            }
        })
    }
}
