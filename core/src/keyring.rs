//! What opens encrypted levels: secret keys that were given, and a password, which is asked for when the first level needs it, once.
//! What encrypts them is in [`sealing`].
//!
//! Invariant: a password that opens nothing is found by the first bytes of a stream, so that it is told before anything is
//! written anywhere.

pub mod sealing;

#[cfg(test)]
mod tests;

use crate::codec::Compression;
use crate::codec::age::{self, Identity, OwnKey, Recipients};
use crate::codec::openssl::{self, KeyAndIv, password_of_file};
use crate::error::{Error, Kind, Result};
use crate::limits::AGE_HEADER_BYTES;
use crate::repository::Repository;
use crate::repository::document::Scheme;
use crate::repository::reading::Step;
use crate::repository::vault::Password;
use std::cell::RefCell;
use std::io::Read;

/// How much of the beginning of a stream tells whether a key opens it.
const HEAD_BYTES: usize = AGE_HEADER_BYTES;

/// What a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// One that opens what is there.
    Existing,
    /// One for what is being made: whoever types it, types it twice.
    New,
}

/// A password, and where it came from a file or a command, all the bytes that did: Freezer's engines read them in ways of their own.
#[derive(Debug, Clone)]
pub struct Secret {
    password: Password,
    file: Option<Password>,
}

impl Secret {
    /// A password that was typed, or is the value of a variable.
    pub fn new(password: Password) -> Self {
        Secret { password, file: None }
    }

    /// A password that stands in these bytes of a file.
    pub fn in_file(password: Password, file: Password) -> Self {
        Secret { password, file: Some(file) }
    }

    /// The password.
    pub fn bytes(&self) -> &[u8] {
        self.password.bytes()
    }

    /// What it was read from: the file, or the password itself.
    pub fn file(&self) -> &[u8] {
        self.file.as_ref().map_or(self.password.bytes(), Password::bytes)
    }

    /// The password as `openssl -pass file:` reads it from the same file.
    pub fn for_openssl(&self) -> &[u8] {
        password_of_file(self.file())
    }
}

/// Asks for a password.
type Ask<'a> = Box<dyn Fn(Question) -> Result<Secret> + 'a>;

/// What opens encrypted levels.
pub struct Keyring<'a> {
    ask: Option<Ask<'a>>,
    identities: Vec<Identity>,
    known: RefCell<Known>,
}

struct Known {
    /// The password that was asked for.
    secret: Option<Secret>,
    /// Keys that it has opened, by what they are locked up in.
    keys: Vec<(Vec<u8>, OwnKey)>,
}

/// What opens one stream.
#[derive(Clone)]
pub enum Key {
    /// It is not encrypted.
    None,
    /// Secret keys of age.
    Age(Vec<Identity>),
    /// A key of `openssl enc`, and the compression of what comes out.
    OpenSsl(KeyAndIv, Compression),
}

impl Key {
    /// The plain bytes of a stream.
    ///
    /// # Errors
    /// As [`age::reader`] and [`openssl::Reader::new`].
    pub fn open<'s>(&self, stream: impl Read + Send + 's) -> Result<Box<dyn Read + Send + 's>> {
        Ok(match self {
            Key::None => Box::new(stream),
            Key::Age(keys) => age::reader(stream, keys)?,
            Key::OpenSsl(key, _) => Box::new(openssl::Reader::new(stream, key)?),
        })
    }
}

impl Keyring<'static> {
    /// Without any key: what is encrypted does not open.
    pub const fn none() -> Self {
        Keyring {
            ask: None,
            identities: Vec::new(),
            known: RefCell::new(Known { secret: None, keys: Vec::new() }),
        }
    }
}

impl<'a> Keyring<'a> {
    /// With these secret keys, and a password that `ask` gives when it is needed.
    pub fn new(identities: Vec<Identity>, ask: impl Fn(Question) -> Result<Secret> + 'a) -> Self {
        Keyring { ask: Some(Box::new(ask)), identities, ..Keyring::none() }
    }

    /// The password. That of what is there is asked for once.
    ///
    /// # Errors
    /// `Invalid` when nobody says what it is.
    pub fn secret(&self, question: Question) -> Result<Secret> {
        let known = self.known.borrow().secret.clone();
        if let (Some(secret), Question::Existing) = (known, question) {
            return Ok(secret);
        }
        let ask =
            self.ask.as_ref().ok_or_else(|| Error::invalid("a password is needed, and there is none", ""))?;
        let secret = ask(question)?;
        self.known.borrow_mut().secret = Some(secret.clone());
        Ok(secret)
    }

    /// The key that is locked up in these bytes of a document.
    ///
    /// # Errors
    /// As [`age::unlock`] and [`Keyring::secret`].
    pub fn unlock(&self, locked: &[u8]) -> Result<OwnKey> {
        let known =
            |known: &Known| known.keys.iter().find(|(bytes, _)| bytes == locked).map(|(_, key)| key.clone());
        if let Some(key) = known(&self.known.borrow()) {
            return Ok(key);
        }
        let key = age::unlock(locked, self.secret(Question::Existing)?.bytes())?;
        self.remember(locked, &key);
        Ok(key)
    }

    /// Makes a new key under a new password: the key, and what it is locked up in.
    ///
    /// # Errors
    /// As [`age::lock_up`] and [`Keyring::secret`].
    pub fn lock_up(&self, question: Question) -> Result<(OwnKey, Vec<u8>)> {
        let (key, locked) = age::lock_up(self.secret(question)?.bytes())?;
        self.remember(&locked, &key);
        Ok((key, locked))
    }

    fn remember(&self, locked: &[u8], key: &OwnKey) {
        let mut known = self.known.borrow_mut();
        known.keys.push((locked.to_vec(), key.clone()));
    }

    /// What opens the stream of a level, which has one of these compressions, tried on its beginning.
    ///
    /// # Errors
    /// `WrongPassword` when nothing that was given does, `Invalid` when nothing was given; `Damaged`, `Unsupported` and `Limit` when it
    /// is no such stream; as the storage has it. All of them name the object.
    pub fn key_of(&self, repository: &Repository, step: &Step, among: &[Compression]) -> Result<Key> {
        let scheme = step.document.scheme();
        if *scheme == Scheme::None {
            return Ok(Key::None);
        }
        let object = step.location.data()?.to_string();
        let head = repository.data_head(step, HEAD_BYTES)?;
        let key = self.key_for(scheme, &head, among);
        key.map_err(|error| match error.kind() {
            Kind::WrongPassword if matches!(scheme, Scheme::Age { locked_key: None }) => error
                .while_doing("cannot open", object)
                .hint("it is encrypted to others; whose secret key was given with --identity?"),
            Kind::WrongPassword => error
                .while_doing("cannot open", object)
                .hint("is it the password that the backup was made with?"),
            _ => error.while_doing("cannot open", object),
        })
    }

    fn key_for(&self, scheme: &Scheme, head: &[u8], among: &[Compression]) -> Result<Key> {
        Ok(match scheme {
            Scheme::None => Key::None,
            Scheme::Age { locked_key: Some(locked) } => {
                let keys = vec![self.unlock(locked)?.identity()];
                let opened = age::reader(head, &keys).map(drop);
                // The password was right; the stream is not the one that the document speaks of.
                opened.map_err(|error| match error.kind() {
                    Kind::WrongPassword => {
                        Error::new(Kind::Damaged, "not encrypted to the key of its document")
                    }
                    _ => error,
                })?;
                Key::Age(keys)
            }
            Scheme::Age { locked_key: None } => {
                if self.identities.is_empty() {
                    return Err(Error::invalid(
                        "it is encrypted to recipients, and no secret key was given",
                        "",
                    )
                    .hint("give the file of yours with --identity"));
                }
                drop(age::reader(head, &self.identities)?);
                Key::Age(self.identities.clone())
            }
            Scheme::OpenSsl => {
                let secret = self.secret(Question::Existing)?;
                // Freezer's rsync engines have taken the end of the line for a part of it.
                let with_end = openssl::password_with_line_end(secret.file());
                let passwords = [secret.for_openssl(), secret.bytes(), with_end];
                let (key, compression) = openssl::find_key(&passwords, head, among)?;
                Key::OpenSsl(key, compression)
            }
        })
    }

    /// To whom a level is encrypted that goes on with this locked key.
    ///
    /// # Errors
    /// As [`Keyring::unlock`].
    pub fn recipients(&self, locked: &[u8]) -> Result<Recipients> {
        Ok(self.unlock(locked)?.recipients())
    }
}
