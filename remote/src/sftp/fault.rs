//! What goes wrong while a server is asked, with the protocol's own code as long as somebody may want to know it.

use super::wire::{self, Malformed};
use crate::bridge;
use icecore::error::{Error, Kind};
use std::time::Duration;

/// The longest text of a server that is repeated.
const WORDS: usize = 200;

/// Why a connection is of no use any more.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// It is gone.
    Lost(String),
    /// The server did not answer for so long.
    Stalled(Duration),
    /// What came is not the protocol.
    Malformed(Malformed),
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server said so.
    Status { code: u32, message: String },
    /// There is no server to ask any more.
    Ended(End),
    /// Anything else.
    Failed(Error),
}

/// What asking gives.
pub(super) type Asked<T> = Result<T, Fault>;

impl Fault {
    /// The server answered with another sort of packet.
    pub fn unexpected() -> Fault {
        Fault::Ended(End::Malformed(Malformed("an answer of another kind than was asked for")))
    }

    pub fn has_code(&self, wanted: u32) -> bool {
        matches!(self, Fault::Status { code, .. } if *code == wanted)
    }

    /// Whether another connection may do better at once.
    pub fn is_lost(&self) -> bool {
        matches!(self, Fault::Ended(End::Lost(_)))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Failed(error)
    }
}

impl From<End> for Error {
    fn from(end: End) -> Error {
        match end {
            End::Lost(why) => {
                Error::new(Kind::Io, "the connection was lost").because(words(&why)).retry_later()
            }
            End::Stalled(waited) => bridge::stalled(waited),
            End::Malformed(what) => Error::new(Kind::Io, what.to_string()).retry_later(),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let (code, message) = match fault {
            Fault::Failed(error) => return error,
            Fault::Ended(end) => return end.into(),
            Fault::Status { code, message } => (code, words(&message)),
        };
        let (kind, what) = match code {
            wire::NO_SUCH_FILE => (Kind::NotFound, "no such file"),
            wire::PERMISSION_DENIED => (Kind::Denied, "the server refuses"),
            wire::BAD_MESSAGE => (Kind::Invalid, "the server takes no such name"),
            wire::UNSUPPORTED => (Kind::Unsupported, "the server cannot do that"),
            wire::END => (Kind::Damaged, "an unexpected end"),
            _ if is_full(&message) => (Kind::NoSpace, "no space left on the server"),
            _ => (Kind::Io, "the server failed"),
        };
        let error = Error::new(kind, what).because(message);
        if code == wire::CONNECTION_LOST { error.retry_later() } else { error }
    }
}

/// Whether a server's words speak of a full disk.
fn is_full(message: &str) -> bool {
    let message = message.to_lowercase();
    ["no space", "disk full", "quota", "not enough space"].iter().any(|words| message.contains(words))
}

/// What a server said, fit to be shown.
pub(super) fn words(text: &str) -> String {
    let shown: String = text.trim().chars().take(WORDS).flat_map(char::escape_debug).collect();
    if shown.is_empty() { "no reason given".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::error::Retry;

    #[test]
    fn codes_become_kinds() {
        let kind =
            |code, message: &str| Error::from(Fault::Status { code, message: message.to_owned() }).kind();
        assert_eq!(kind(wire::NO_SUCH_FILE, ""), Kind::NotFound);
        assert_eq!(kind(wire::PERMISSION_DENIED, ""), Kind::Denied);
        assert_eq!(kind(wire::FAILURE, "Failure"), Kind::Io);
        assert_eq!(kind(wire::FAILURE, "Disk quota exceeded"), Kind::NoSpace);
        let lost = Error::from(Fault::Ended(End::Lost("reset".to_owned())));
        assert_eq!((lost.kind(), lost.retry()), (Kind::Io, Retry::Later));
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        assert_eq!(words("\u{1b}[2J evil\n"), "\\u{1b}[2J evil");
        assert_eq!(words(&"x".repeat(1_000)).len(), WORDS);
    }
}
