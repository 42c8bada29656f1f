//! Sessions that are kept and shared: as many as may be, each used by one operation at a time.
//!
//! Nobody holds one while it does something else than to talk to the server, so that a single one is enough for everybody.

use super::place::Place;
use super::session::{Range, Session};
use icecore::error::Result;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A session that was not used for so long is asked whether it is still there: what lies between may have forgotten it.
const ASKED_AFTER: Duration = Duration::from_secs(30);

/// Sessions to one server.
pub(super) struct Pool {
    place: Place,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Session>,
    /// Those that are idle, in use, or being opened.
    open: usize,
    most: usize,
}

impl Pool {
    /// None yet.
    pub fn new(place: Place) -> Pool {
        let state = State { idle: Vec::new(), open: 0, most: place.connections };
        Pool { place, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Where they go to.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A session for one operation, whose time begins now. Waits when all are in use.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn lease(&self) -> Result<Lease<'_>> {
        self.lease_that(&|_| false)
    }

    /// A session to read with: the one that is reading there already, if there is one.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn lease_to_read(&self, range: &Range<'_>) -> Result<Lease<'_>> {
        self.lease_that(&|session| session.goes_on_with(range))
    }

    fn lease_that(&self, fits: &dyn Fn(&Session) -> bool) -> Result<Lease<'_>> {
        loop {
            if let Some(session) = self.take(fits) {
                // Dropped when it is of no use.
                let mut lease = Lease { pool: self, session: Some(session) };
                lease.begin();
                if fits(&lease) || lease.is_usable() {
                    return Ok(lease);
                }
                lease.broken = true;
                continue;
            }
            match Session::open(&self.place) {
                Ok(session) => {
                    let mut lease = Lease { pool: self, session: Some(session) };
                    lease.begin();
                    return Ok(lease);
                }
                Err(refused) => {
                    let mut state = self.state();
                    state.open -= 1;
                    // Somebody has one: it will do for both.
                    if refused.is_crowded && state.open > 0 {
                        state.most = state.open;
                        continue;
                    }
                    drop(state);
                    self.freed.notify_one();
                    return Err(refused.error);
                }
            }
        }
    }

    /// An idle session, or `None` where a new one may be opened, which counts from now.
    fn take(&self, fits: &dyn Fn(&Session) -> bool) -> Option<Session> {
        let mut state = self.state();
        loop {
            // Those that do nothing rather than those that may be read on from.
            let found = state.idle.iter().position(fits);
            let found = found.or_else(|| state.idle.iter().rposition(|session| !session.is_running()));
            if let Some(at) = found.or_else(|| state.idle.len().checked_sub(1)) {
                return Some(state.idle.remove(at));
            }
            if state.open < state.most {
                state.open += 1;
                return None;
            }
            state = self.freed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.state().idle);
        idle.into_iter().for_each(Session::quit);
    }
}

/// A session in use. It goes back when this is dropped, unless it broke.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    session: Option<Session>,
}

impl Lease<'_> {
    /// Whether an idle session can be used again.
    fn is_usable(&mut self) -> bool {
        self.end_running();
        if !self.is_silent() {
            return false;
        }
        self.used.elapsed() < ASKED_AFTER || self.ask("NOOP", "").is_ok_and(|reply| reply.is_done())
    }
}

impl Deref for Lease<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        session.used = Instant::now();
        let mut state = self.pool.state();
        let unused = match session.broken {
            true => {
                state.open -= 1;
                Some(session)
            }
            false => {
                state.idle.push(session);
                None
            }
        };
        drop(state);
        self.pool.freed.notify_one();
        drop(unused);
    }
}
