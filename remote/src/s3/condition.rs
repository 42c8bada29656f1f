//! New objects that take no taken name: `If-None-Match: *`, and servers that do not know it.
//!
//! AWS heeds the condition. Of other servers it is not known: some ignore it in silence, and an object would be replaced
//! that must not be. Until a server has shown what it does, the name is looked up before, and the first small object
//! that is created is put once more with the same bytes and the same condition: a server that refuses that heeds it. A server
//! that takes it is told to the user, and names are looked up each time from then on; of two programs that create the
//! same name in the same moment both succeed there, and the later one counts.

use super::request::Request;
use super::{Bucket, taken};
use icecore::error::Result;
use icecore::limits::S3_PROBE_BYTES;
use std::sync::atomic::{AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const HEEDED: u8 = 1;
const IGNORED: u8 = 2;

/// What is known of a server.
pub(super) struct Condition(AtomicU8);

impl Condition {
    /// Of a server that heeds it, or of which nothing is known.
    pub(super) fn new(is_heeded: bool) -> Condition {
        Condition(AtomicU8::new(if is_heeded { HEEDED } else { UNKNOWN }))
    }

    /// Whether the server is known to heed it.
    pub(super) fn is_heeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEEDED
    }

    fn is_ignored(&self) -> bool {
        self.0.load(Ordering::Relaxed) == IGNORED
    }

    fn learn(&self, state: u8) -> bool {
        self.0.swap(state, Ordering::Relaxed) != state
    }
}

impl Bucket {
    /// Sends the request of a put, unless there is such an object.
    pub(super) fn create(&self, key: &str, request: Request) -> Result<()> {
        if !self.condition.is_heeded() && self.look(key)?.is_some() {
            return Err(taken());
        }
        if self.condition.is_ignored() {
            return self.client.ask(&request)?.success().map(drop);
        }
        // Not twice: the second of two would find the object of the first.
        let conditional = request.clone().header("if-none-match", "*")?.once();
        let answer = self.client.ask(&conditional)?;
        if answer.status.is_success() {
            return self.try_out(&conditional);
        }
        let fault = answer.fault();
        if fault.is_precondition() {
            self.condition.learn(HEEDED);
            return Err(taken());
        }
        if fault.is_conflict() {
            return match self.look(key)? {
                Some(_) => Err(taken()),
                None => Err(fault.error()),
            };
        }
        if fault.is_not_implemented() {
            self.ignores();
            return self.client.ask(&request)?.success().map(drop);
        }
        Err(fault.error())
    }

    /// Sends the request of a put under a name that nobody else gives.
    pub(super) fn create_unique(&self, request: Request) -> Result<()> {
        if self.condition.is_ignored() {
            return self.client.ask(&request)?.success().map(drop);
        }
        let answer = self.client.ask(&request.clone().header("if-none-match", "*")?.once())?;
        if answer.status.is_success() {
            return Ok(());
        }
        let fault = answer.fault();
        if fault.is_precondition() {
            self.condition.learn(HEEDED);
            return Err(taken());
        }
        if fault.is_not_implemented() {
            self.ignores();
            return self.client.ask(&request)?.success().map(drop);
        }
        Err(fault.error())
    }

    /// After a new object was created: does the server refuse to do it again?
    fn try_out(&self, conditional: &Request) -> Result<()> {
        if self.condition.0.load(Ordering::Relaxed) != UNKNOWN || conditional.length() > S3_PROBE_BYTES {
            return Ok(());
        }
        // The object is there. What goes wrong now only leaves the question open.
        if let Ok(answer) = self.client.ask(conditional) {
            if answer.status.is_success() {
                self.ignores();
            } else if answer.fault().is_precondition() {
                self.condition.learn(HEEDED);
            }
        }
        Ok(())
    }

    fn ignores(&self) {
        if self.condition.learn(IGNORED) {
            (self.warn)(&format!(
                "{}: the server does not heed conditions (If-None-Match): nothing keeps two programs that create the same object \
                 in the same moment from replacing each other's",
                self.label
            ));
        }
    }

    /// Whether the object at `key` is the one that was marked so.
    pub(super) fn is_marked(&self, key: &str, mark: &str, size_bytes: u64) -> Result<bool> {
        let seen = self.look(key)?;
        Ok(seen.is_some_and(|seen| seen.is(mark, size_bytes)))
    }
}
