//! Producer, bounded queue, consumer: the one place with threads and channels.
//!
//! A backup reads while it stores and a restore fetches while it writes; whatever joins two ends does it here, so that these
//! rules hold everywhere:
//!
//! * **Bounded.** Memory is a number of items, whatever the speed of either end.
//! * **Joined.** When a function of this module returns or unwinds, every thread it started has ended; those of a lane have when it is dropped. A panic of any end
//!   travels on, after all the others have ended.
//! * **Never a short stream.** The clean end is a message of its own, sent when the producer returned `Ok`. A consumer that
//!   does not see it gets [`Kind::Stopped`], whatever happened to the other end.
//! * **The cause is reported.** Of two failures the first in time counts, but [`Kind::Stopped`] is nobody's cause: it only
//!   says that the other end has one.
//! * **Hints are only hints.** What runs beside the work ([`beside`]) changes no result, and nobody waits for it before the end.
//! * **Lanes outlive a call** ([`Lane`]): what feeds storages side by side as long as a run lasts. Whoever drops one joins it.
//! * **No clocks.** Nothing polls and nothing times out: an end that goes away wakes the other by closing its channel.

mod beside;
mod block;
mod lane;
mod queue;
#[cfg(test)]
mod tests;

pub use beside::{Hints, beside};
pub use block::{BlockReader, BlockWriter, Pool};
pub use lane::{Answers, Lane, Promise, Turn};
pub use queue::{Receiver, Sender};

use crate::error::{Error, Kind, Result};
use crate::limits::WORKERS_MAX;
use queue::{Worker, connect, connect_through_workers};
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

/// Runs `producer` in a thread of its own and `consumer` on the caller's, with a queue of `capacity` items (at least one)
/// between them, and returns what both returned. The consumer must receive everything.
///
/// # Errors
/// The first failure of either end; `Invalid` when the consumer returned `Ok` before it had received everything (see
/// [`run_partial`] where that is meant).
///
/// # Panics
/// When an end does, with its payload.
pub fn run<T: Send, A: Send, B>(
    capacity: usize,
    producer: impl FnOnce(&mut Sender<T>) -> Result<A> + Send,
    consumer: impl FnOnce(&mut Receiver<T>) -> Result<B>,
) -> Result<(A, B)> {
    run_partial(capacity, producer, |receiver| to_the_end(receiver, consumer)).and_then(both)
}

/// Runs two things side by side, the first in a thread of its own, and returns what both returned when both have ended.
///
/// # Errors
/// The first failure of either.
///
/// # Panics
/// When either does, with its payload.
pub fn together<A: Send, B>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    run(1, |_: &mut Sender<()>| first(), |_| second())
}

/// As [`run`], for a consumer that may have read enough before the end: its `Ok` counts also when it stopped the producer,
/// which then has no result to give (`None`).
///
/// # Errors
/// The first failure of either end, apart from the producer's `Stopped` after a consumer that ended well.
///
/// # Panics
/// When an end does, with its payload.
pub fn run_partial<T: Send, A: Send, B>(
    capacity: usize,
    producer: impl FnOnce(&mut Sender<T>) -> Result<A> + Send,
    consumer: impl FnOnce(&mut Receiver<T>) -> Result<B>,
) -> Result<(Option<A>, B)> {
    let (sender, receiver) = connect(capacity);
    let no_workers: Vec<fn()> = Vec::new();
    join_ends(sender, receiver, producer, no_workers, consumer)
}

/// As [`run`], with `workers` threads (1 to [`WORKERS_MAX`]) between the ends that map items in parallel; the consumer
/// receives the results in the producer's order. At most `capacity + workers + 1` items are under way, in whatever state.
///
/// `make_mapper` is called once per worker, before anything is started, so that expensive contexts are made once and reused.
/// A failure of a mapper takes its item's place in the order: the consumer receives everything before it, then `Stopped`.
///
/// # Errors
/// Of `make_mapper`; then as [`run`].
///
/// # Panics
/// When an end or a mapper does, with its payload.
pub fn run_mapped<T: Send, U: Send, A: Send, B, M: FnMut(T) -> Result<U> + Send>(
    capacity: usize,
    workers: usize,
    producer: impl FnOnce(&mut Sender<T>) -> Result<A> + Send,
    make_mapper: impl Fn() -> Result<M>,
    consumer: impl FnOnce(&mut Receiver<U>) -> Result<B>,
) -> Result<(A, B)> {
    let consumer = |receiver: &mut Receiver<U>| to_the_end(receiver, consumer);
    run_mapped_partial(capacity, workers, producer, make_mapper, consumer).and_then(both)
}

/// As [`run_mapped`], for a consumer that may have read enough before the end; see [`run_partial`]. A mapper's failure on an
/// item that the consumer did not get to counts for nothing.
///
/// # Errors
/// As [`run_mapped`] and [`run_partial`].
///
/// # Panics
/// When an end or a mapper does, with its payload.
pub fn run_mapped_partial<T: Send, U: Send, A: Send, B, M: FnMut(T) -> Result<U> + Send>(
    capacity: usize,
    workers: usize,
    producer: impl FnOnce(&mut Sender<T>) -> Result<A> + Send,
    make_mapper: impl Fn() -> Result<M>,
    consumer: impl FnOnce(&mut Receiver<U>) -> Result<B>,
) -> Result<(Option<A>, B)> {
    let workers = workers.clamp(1, WORKERS_MAX);
    let mappers = (0..workers).map(|_| make_mapper()).collect::<Result<Vec<M>>>()?;
    let (sender, worker, receiver) = connect_through_workers(capacity, workers);
    let work = mappers.into_iter().map(|mapper| {
        let worker: Worker<T, U> = worker.clone();
        move || worker.run(mapper)
    });
    let work: Vec<_> = work.collect();
    // The copies in `work` must be the only ones left: a channel closes when its last end goes away.
    drop(worker);
    join_ends(sender, receiver, producer, work, consumer)
}

/// Consumes, and then makes sure that nothing was left over: an item that nobody looked at, or a failure that nobody noticed.
fn to_the_end<T, B>(
    receiver: &mut Receiver<T>,
    consumer: impl FnOnce(&mut Receiver<T>) -> Result<B>,
) -> Result<B> {
    let consumed = consumer(receiver)?;
    match receiver.receive()? {
        None => Ok(consumed),
        Some(_) => Err(Error::new(Kind::Invalid, "a consumer ended before its stream did")),
    }
}

fn both<A, B>((produced, consumed): (Option<A>, B)) -> Result<(A, B)> {
    // Without a cause of its own a producer ends early only because it was an end of another pipe, which has the cause.
    produced.map(|produced| (produced, consumed)).ok_or_else(Error::stopped)
}

/// Starts the threads, waits for all of them, and decides what the whole came to.
fn join_ends<T: Send, U: Send, A: Send, B>(
    sender: Sender<T>,
    receiver: Receiver<U>,
    producer: impl FnOnce(&mut Sender<T>) -> Result<A> + Send,
    workers: Vec<impl FnOnce() + Send>,
    consumer: impl FnOnce(&mut Receiver<U>) -> Result<B>,
) -> Result<(Option<A>, B)> {
    let cause = Cause::default();
    let (produced, consumed) = scope(|scope| {
        // The ends live in this closure and its threads only, so that leaving it by any way closes the channels.
        let (mut receiver, mut sender) = (receiver, sender);
        let cause = &cause;
        let producer = start(scope, "producer", move || {
            let produced = cause.note(producer(&mut sender))?;
            sender.end();
            Some(produced)
        })?;
        let mut threads = Vec::with_capacity(workers.len());
        for worker in workers {
            threads.push(start(scope, "worker", worker)?);
        }
        let consumed = consumer(&mut receiver);
        let consumed = cause.note(receiver.outcome(consumed));
        drop(receiver);
        threads.into_iter().for_each(join);
        Ok((join(producer), consumed))
    })?;
    cause.decide(produced, consumed)
}

fn start<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> R + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, R>> {
    let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    started.map_err(|e| Error::io("cannot start", format!("a {name} thread"), e))
}

/// Waits for a thread; its panic becomes ours (the scope still waits for all the others before it lets it pass).
fn join<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|payload| resume_unwind(payload))
}

/// Which failure came first.
#[derive(Default)]
struct Cause(Mutex<Option<Error>>);

impl Cause {
    /// Takes the error out of a result. Called by an end before its channels close, so the order is the order in time.
    fn note<R>(&self, result: Result<R>) -> Option<R> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let mut first = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let replace = match &*first {
            None => true,
            Some(earlier) => earlier.kind() == Kind::Stopped && error.kind() != Kind::Stopped,
        };
        if replace {
            *first = Some(error);
        }
        None
    }

    fn decide<A, B>(self, produced: Option<A>, consumed: Option<B>) -> Result<(Option<A>, B)> {
        let cause = self.0.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (consumed, cause) {
            (Some(consumed), None) => Ok((produced, consumed)),
            (Some(consumed), Some(error)) if error.kind() == Kind::Stopped => Ok((produced, consumed)),
            (_, Some(error)) => Err(error),
            (None, None) => Err(Error::stopped()),
        }
    }
}
