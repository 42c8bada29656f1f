//! The sessions to one server: made when they are needed, up to a bound, and shared.
//!
//! Nobody ever waits for somebody else to be done: a session carries any number of requests. Nor for a session to be opened, which
//! takes ten round trips, while there is another: that one is shared, and the new one is there for the next. What was given up in the middle
//! (a deadline) leaves a session in an unknown state; it is not used again.

use super::connection;
use super::fault::{Asked, Fault};
use super::route::Hop;
use super::session::Session;
use crate::access::Access;
use crate::bridge;
use icecore::error::{Error, Result};
use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// The sessions.
pub(super) struct Pool {
    route: Vec<Hop>,
    pub access: Access,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    sessions: Vec<Arc<Session>>,
    /// Being opened.
    opening: usize,
    /// How many there may be: what the server lets us have, when that is less than what we may ask for.
    most: usize,
}

/// A session in use.
pub(super) struct Lease {
    session: Arc<Session>,
    /// Whether it has just been made: then what breaks is not an old line.
    pub is_fresh: bool,
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is to be done next for a lease.
enum Step {
    Have(Lease),
    /// Have this one, and open another for the next.
    Share(Lease),
    Open,
    Wait,
}

impl Pool {
    pub fn new(route: Vec<Hop>, access: Access) -> Pool {
        let most = access.connections.max(1);
        let state = Mutex::new(State { sessions: Vec::new(), opening: 0, most });
        Pool { route, access, state, changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does `work` in a session, before a deadline. When the line of an old session turns out to be broken it is done once
    /// more in a new one: work whose answer must not be lost says so by [`certain`].
    ///
    /// # Errors
    /// Those of the work, of connecting, and `Io` at the deadline.
    pub fn run<T>(self: &Arc<Self>, deadline: Duration, work: impl AsyncFn(&Session) -> Asked<T>) -> Result<T> {
        bridge::within(deadline, async {
            let lease = self.lease(false).await?;
            let first = watched(&lease, work(&lease)).await;
            match first {
                Err(fault) if fault.is_lost() && !lease.is_fresh => {
                    drop(lease);
                    let lease = self.lease(true).await?;
                    watched(&lease, work(&lease)).await.map_err(Error::from)
                }
                other => other.map_err(Error::from),
            }
        })
    }

    /// A session: one that has just been made, if it has to be fresh and there may be another; else the one that the fewest use.
    pub async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What changes from now on is heard.
            changed.as_mut().enable();
            match self.step(fresh) {
                Step::Have(lease) => return Ok(lease),
                Step::Share(lease) => {
                    let pool = Arc::clone(self);
                    tokio::spawn(async move {
                        if pool.open().await.is_err() {
                            pool.make_do();
                        }
                    });
                    return Ok(lease);
                }
                Step::Wait => changed.await,
                Step::Open => match self.open().await {
                    Ok(lease) => return Ok(lease),
                    Err(error) => {
                        if !self.make_do() {
                            return Err(error);
                        }
                    }
                },
            }
        }
    }

    /// When the server lets us have no more: those that there are have to do. False when there is none.
    fn make_do(&self) -> bool {
        let mut state = self.state();
        state.sessions.retain(|session| !session.is_ended());
        let is_any = !state.sessions.is_empty();
        if is_any {
            state.most = state.sessions.len();
        }
        is_any
    }

    fn step(&self, fresh: bool) -> Step {
        let mut state = self.state();
        state.sessions.retain(|session| !session.is_ended());
        let users = |session: &&Arc<Session>| session.users.load(Ordering::Acquire);
        let least = state.sessions.iter().min_by_key(users).cloned();
        let has_room = state.sessions.len() + state.opening < state.most;
        match least {
            Some(session) if !has_room || !fresh => {
                let is_idle = session.users.fetch_add(1, Ordering::AcqRel) == 0;
                let lease = Lease { session, is_fresh: false };
                // One at a time: who comes meanwhile shares as well.
                if is_idle || !has_room || state.opening > 0 {
                    return Step::Have(lease);
                }
                state.opening += 1;
                Step::Share(lease)
            }
            _ if has_room => {
                state.opening += 1;
                Step::Open
            }
            _ => Step::Wait,
        }
    }

    async fn open(&self) -> Result<Lease> {
        // Also when this is dropped half way.
        let _opening = Opening(self);
        let session = Arc::new(connection::open(&self.route, &self.access).await?);
        session.users.store(1, Ordering::Release);
        self.state().sessions.push(Arc::clone(&session));
        Ok(Lease { session, is_fresh: true })
    }
}

struct Opening<'a>(&'a Pool);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.state().opening -= 1;
        self.0.changed.notify_waiters();
    }
}

/// Does `work` to its end. When it is dropped before, the session is not used again.
pub(super) async fn watched<T>(session: &Session, work: impl Future<Output = Asked<T>>) -> Asked<T> {
    let mut guard = Unfinished(Some(session));
    let done = work.await;
    guard.0 = None;
    done
}

struct Unfinished<'a>(Option<&'a Session>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.give_up("it did not answer in time");
        }
    }
}

/// The outcome of a step that must not be done twice without looking: a lost answer is an error, not a reason to begin anew.
pub(super) fn certain<T>(done: Asked<T>) -> Asked<T> {
    done.map_err(|fault| match fault {
        Fault::Ended(end) => Fault::Failed(end.into()),
        other => other,
    })
}
