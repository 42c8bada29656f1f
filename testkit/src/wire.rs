//! A line between a client and a real server that is as long, as thin and as unreliable as a test wants.
//!
//! [`Proxy`] listens on loopback and passes bytes on, whatever protocol they belong to. Its [`Plan`] says how long they are
//! under way, how many pass in a second, and where a connection breaks; a test changes it while clients are connected.
//! [`HttpProxy`] knows requests and answers besides, and changes those that rules choose. Where both are wanted, one stands
//! before the other.
//!
//! What a length of line does is done honestly: bytes wait in a queue until they are due, so that requests under way overlap
//! and no bandwidth is lost; and a new connection costs its round trip before the first byte can arrive.
//!
//! All threads have ended when a proxy is dropped. `examples/wire.rs` is a line for benchmarks, which are no tests.

mod door;
mod http;
mod line;
mod plan;
#[cfg(test)]
mod tests;

pub use http::{Action, Answer, HttpProxy, Passed, Request, Rule};
pub use plan::{Fault, Harm, Of, Plan, Way};

use door::Door;
use line::Line;
use plan::Passage;
use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a line has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections that clients opened.
    pub connections: u64,
    /// Bytes from clients to the server.
    pub up_bytes: u64,
    /// Bytes from the server to clients.
    pub down_bytes: u64,
    /// Faults that struck. A test whose fault never struck has tested nothing.
    pub struck: u64,
}

/// A line to a server, until this is dropped.
pub struct Proxy {
    door: Door,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A line to `server` on which nothing is wrong.
    pub fn new(server: SocketAddr) -> Proxy {
        Proxy::with(server, Plan::default())
    }

    /// A line to `server` that follows `plan` from the beginning.
    pub fn with(server: SocketAddr, plan: Plan) -> Proxy {
        let shared = Arc::new(Shared { state: Mutex::new(State::new(server)) });
        let lines = Arc::clone(&shared);
        let door = Door::open(move |client| {
            if let Some(line) = Line::open(&lines, client) {
                line.run();
            }
        });
        let proxy = Proxy { door, shared };
        proxy.change(|current| *current = plan);
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// The port of loopback where clients connect.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Changes the plan, also for connections that are open. A fault at a byte that has passed already does not strike.
    pub fn change(&self, change: impl FnOnce(&mut Plan)) {
        let mut state = self.shared.lock();
        change(&mut state.plan);
        self.door.refuse(state.plan.refuses);
        state.wake();
    }

    /// Adds a fault to the plan.
    pub fn fault(&self, of: Of, way: Way, after_bytes: u64, harm: Harm) {
        self.change(|plan| plan.faults.push(Fault { of, way, after_bytes, harm }));
    }

    /// Breaks every connection that is open now. Later ones are as planned.
    pub fn break_now(&self, harm: Harm) {
        let mut state = self.shared.lock();
        state.broken = Some((state.counts.connections, harm));
        state.wake();
    }

    /// New connections go to another server from now on, such as the same one after it was started again.
    pub fn lead_to(&self, server: SocketAddr) {
        self.shared.lock().server = server;
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.is_over = true;
            state.wake();
        }
        self.door.close();
    }
}

/// What a proxy and its lines share.
struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a few assignments: a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

struct State {
    plan: Plan,
    server: SocketAddr,
    counts: Counts,
    is_over: bool,
    /// Connections up to this number suffer this, once they hear of it.
    broken: Option<(u64, Harm)>,
    /// What makes each open line look at all this again.
    wakers: HashMap<u64, UnixStream>,
    /// When all that was taken in each direction will have left.
    free_at: [Option<Instant>; 2],
    /// Sockets that were shut down. Closed, they would reset what has not been read of them.
    shut: Vec<TcpStream>,
}

impl State {
    fn new(server: SocketAddr) -> State {
        State {
            plan: Plan::default(),
            server,
            counts: Counts::default(),
            is_over: false,
            broken: None,
            wakers: HashMap::new(),
            free_at: [None; 2],
            shut: Vec::new(),
        }
    }

    fn wake(&mut self) {
        for waker in self.wakers.values_mut() {
            // A full pipe wakes as well; one whose line has ended need not.
            waker.write(&[0]).map(drop).unwrap_or(());
        }
    }

    /// When something can be taken next in a direction, without it lying about before it leaves.
    fn takes_at(&self, way: Way, now: Instant) -> Instant {
        /// What may wait at the sending end of the line.
        const AHEAD: Duration = Duration::from_millis(10);
        let free_at = self.free_at[way as usize].filter(|_| self.plan.bytes_per_second.is_some());
        free_at.and_then(|at| at.checked_sub(AHEAD)).unwrap_or(now).max(now)
    }

    /// What is taken at a time, at most `limit_bytes`.
    fn piece_bytes(&self, limit_bytes: usize) -> usize {
        /// Of a thin line, so that connections share it evenly.
        const PIECES_PER_SECOND: u64 = 50;
        let rate = self.plan.bytes_per_second.map_or(u64::MAX, NonZeroU64::get);
        usize::try_from(rate / PIECES_PER_SECOND).unwrap_or(usize::MAX).clamp(1 << 10, limit_bytes)
    }

    /// Takes bytes that arrived at one end: how many of them go on, what happens behind them, and when they have left.
    fn pass(&mut self, connection: u64, way: Way, before_bytes: u64, length_bytes: u64) -> Pass {
        let total = match way {
            Way::Up => &mut self.counts.up_bytes,
            Way::Down => &mut self.counts.down_bytes,
        };
        let passage = Passage { connection, way, before_bytes, before_all_bytes: *total, length_bytes };
        let strike = self.plan.strike(&passage);
        let pass_bytes = strike.map_or(length_bytes, |(after_bytes, _)| after_bytes);
        *total += pass_bytes;
        self.counts.struck += u64::from(strike.is_some());
        let now = Instant::now();
        let start = self.free_at[way as usize].map_or(now, |at| at.max(now));
        let left_at = match self.plan.bytes_per_second {
            Some(rate) => start + Duration::from_secs_f64(pass_bytes as f64 / rate.get() as f64),
            None => now,
        };
        self.free_at[way as usize] = Some(left_at);
        Pass { pass_bytes, harm: strike.map(|(_, harm)| harm), left_at }
    }
}

/// What becomes of bytes.
struct Pass {
    pass_bytes: u64,
    harm: Option<Harm>,
    left_at: Instant,
}
