//! New objects that take no taken name: `If-None-Match: *`, and servers that do not know it.
//!
//! AWS heeds the condition. Of other servers it is not known: some ignore it in silence, and an object would be replaced
//! that must not be. Until a server has shown what it does, the name is looked up before, and the first small object
//! that is created is put once more with the same bytes and the same condition: a server that refuses that heeds it. A server
//! that takes it is told to the user, and names are looked up each time from then on; of two programs that create the
//! same name in the same moment both succeed there, and the later one counts.
//!
//! Swift's s3api refuses what is there, and yet looks first and stores then: of several who create one name in the same moment
//! each is told that it did. No trial shows that, but every answer names the server's kind (`request`): it costs no request to
//! know it, and before the first answer nothing is promised of a server that is not Amazon's anyway.

use super::request::Request;
use super::{Bucket, taken};
use icecore::error::Result;
use icecore::limits::S3_PROBE_BYTES;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const HEEDED: u8 = 1;
const IGNORED: u8 = 2;

/// What is known of a server.
pub(super) struct Condition {
    state: AtomicU8,
    /// Whether the user was told that a creation may be lost.
    is_told: AtomicBool,
}

impl Condition {
    /// Of a server that heeds it, or of which nothing is known.
    pub(super) fn new(is_heeded: bool) -> Condition {
        let state = AtomicU8::new(if is_heeded { HEEDED } else { UNKNOWN });
        Condition { state, is_told: AtomicBool::new(false) }
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Relaxed) == state
    }

    fn learn(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }
}

impl Bucket {
    /// Sends the request of a put, unless there is such an object.
    pub(super) fn create(&self, key: &str, request: Request) -> Result<()> {
        if !self.condition.is(HEEDED) && self.look(key)?.is_some() {
            return Err(taken());
        }
        if self.condition.is(IGNORED) {
            return self.client.ask(&request)?.success().map(drop);
        }
        // Not twice: the second of two would find the object of the first.
        let conditional = request.clone().header("if-none-match", "*")?.once();
        let answer = self.client.ask(&conditional)?;
        if answer.status.is_success() {
            self.created();
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
        if self.condition.is(IGNORED) {
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
        if !self.condition.is(UNKNOWN) || conditional.length() > S3_PROBE_BYTES {
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
        self.condition.learn(IGNORED);
        self.tell("does not heed conditions (If-None-Match)");
    }

    /// After something was created on a condition that was heeded.
    fn created(&self) {
        if self.client.looks_first() {
            self.tell("looks first and stores then (Swift's s3api)");
        }
    }

    /// Tells once what the server does in place of deciding who creates an object.
    fn tell(&self, what: &str) {
        if !self.condition.is_told.swap(true, Ordering::Relaxed) {
            (self.warn)(&format!(
                "{}: the server {what}: nothing keeps two programs that create the same object in the same moment from \
                 replacing each other's",
                self.label
            ));
        }
    }

    /// Whether of those who create one object in the same moment the server lets one win, as far as that is known.
    pub(super) fn is_create_atomic(&self) -> bool {
        self.condition.is(HEEDED) && !self.client.looks_first()
    }

    /// Whether the object at `key` is the one that was marked so.
    pub(super) fn is_marked(&self, key: &str, mark: &str, size_bytes: u64) -> Result<bool> {
        let seen = self.look(key)?;
        Ok(seen.is_some_and(|seen| seen.is(mark, size_bytes)))
    }
}
