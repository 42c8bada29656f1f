//! What protects a repository: a password, or nothing.

use std::fmt;
use zeroize::Zeroizing;

/// A password: bytes, as given. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Password(Zeroizing::new(bytes))
    }

    /// The bytes, for the places that derive keys from them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// How a new repository is protected.
#[derive(Debug, Clone)]
pub enum Protection {
    /// Encrypted; whoever has the password reads it.
    Password(Password),
    /// Not encrypted: checksums only, against accidents and nobody else.
    None,
}
