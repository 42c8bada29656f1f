//! What a driver may know of its surroundings: it reads neither the environment nor files in a home on its own.

use icecore::error::Result;
use icecore::storage::retry::Patience;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A password, key or token: never printed, wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Arc::new(Zeroizing::new(text.into())))
    }

    /// What it is: for the server that asks for it, and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How long a driver waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a server that neither sends nor takes a byte.
    pub idle: Duration,
    /// Connections that share the line: each is so much slower. [`crate::open`] sets it to those that there may be.
    pub sharing: usize,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(20), idle: Duration::from_secs(60), sharing: 1 }
    }
}

/// The slowest server that is not taken for a dead one where it goes over an object again, in bytes a second: moves may be copies,
/// and some store what they took only once they have all of it.
const SLOWEST_COPY: u64 = 8 << 20;

/// The slowest line that is not taken for a dead one, in bytes a second.
const SLOWEST: u64 = 16 << 10;

impl Timeouts {
    /// How long an operation that moves so many bytes may take in all, while others move as many.
    pub fn whole(&self, bytes: usize) -> Duration {
        let bytes = bytes.saturating_mul(self.sharing.max(1)) as u64;
        self.connect + self.idle + Duration::from_secs(bytes / SLOWEST)
    }

    /// How much longer a server may be silent that goes over so many bytes before it answers.
    pub fn copying(bytes: u64) -> Duration {
        Duration::from_secs(bytes / SLOWEST_COPY)
    }
}

/// Looks up a variable of the environment.
pub type Variables = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// Looks up a password.
pub type Passwords = Arc<dyn Fn() -> Result<Option<Secret>> + Send + Sync>;

/// What a driver may know and use.
#[derive(Clone)]
pub struct Access {
    /// The environment.
    pub variable: Variables,
    /// The folder of the user's own configuration.
    pub home: Option<PathBuf>,
    /// What the user is called on this machine.
    pub user: Option<String>,
    /// The password for a server that wants one and whose own variables and files do not say it.
    pub password: Passwords,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Most connections at a time.
    pub connections: usize,
    /// For what only the driver can try again.
    pub patience: Patience,
    /// Tells the user what he should know and what is no error.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Access {
    /// A variable of the environment that is text and not empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_line_is_given_longer() {
        let alone = Timeouts::default();
        let shared = Timeouts { sharing: 8, ..alone };
        assert_eq!(shared.whole(0), alone.whole(0));
        assert_eq!(shared.whole(1 << 20), alone.whole(8 << 20));
        assert!(shared.whole(usize::MAX) >= shared.whole(1 << 40));
    }
}
