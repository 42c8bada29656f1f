//! The queue between the ends of a pipe, with or without workers in the middle.
//!
//! Items are numbered by the sender; the receiver hands them out by number, so workers may finish in any order. What bounds
//! the memory is a fixed number of *permits*: an item cannot be sent without one, and gives it back when it is received. The
//! channels themselves have room for every permit and the end message, so that only [`Sender::send`] and
//! [`Receiver::receive`] ever wait, and a worker never does with a result in its hands.
//!
//! Invariant: every number that was sent reaches the receiver exactly once (as an item, a failure, a loss or the end) or its
//! channel closes. A receiver therefore never waits for something that cannot come.

use crate::error::{Error, Result};
use crossbeam_channel as channel;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What travels under one number.
enum Message<T> {
    Item(T),
    /// The mapper failed on this item.
    Failed(Error),
    /// The mapper panicked; the panic itself travels with the thread.
    Lost,
    /// The producer returned `Ok`: the stream is complete.
    End,
}

struct Numbered<T> {
    number: u64,
    message: Message<T>,
}

/// The producer's end.
pub struct Sender<T> {
    items: channel::Sender<Numbered<T>>,
    permits: channel::Receiver<()>,
    next: u64,
}

/// The consumer's end.
pub struct Receiver<T> {
    items: channel::Receiver<Numbered<T>>,
    permits: channel::Sender<()>,
    next: u64,
    /// Results that arrived before their turn; never more than there are permits.
    early: BTreeMap<u64, Message<T>>,
    state: State,
    failure: Option<Error>,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Ended,
    Stopped,
}

/// The middle: takes items, gives results.
pub(super) struct Worker<T, U> {
    items: channel::Receiver<Numbered<T>>,
    results: channel::Sender<Numbered<U>>,
}

/// A queue of `capacity` items, at least one.
pub(super) fn connect<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1);
    let (items, received) = channel::bounded(capacity.saturating_add(1));
    let (returned, permits) = permits(capacity);
    (Sender::new(items, permits), Receiver::new(received, returned))
}

/// A queue that goes through `workers` workers: `capacity` items wait while each worker has another one.
pub(super) fn connect_through_workers<T, U>(
    capacity: usize,
    workers: usize,
) -> (Sender<T>, Worker<T, U>, Receiver<U>) {
    let under_way = capacity.saturating_add(workers).max(1);
    let (items, taken) = channel::bounded(under_way.saturating_add(1));
    let (results, received) = channel::bounded(under_way.saturating_add(1));
    let (returned, permits) = permits(under_way);
    let worker = Worker { items: taken, results };
    (Sender::new(items, permits), worker, Receiver::new(received, returned))
}

fn permits(count: usize) -> (channel::Sender<()>, channel::Receiver<()>) {
    let (returned, permits) = channel::bounded(count);
    for _ in 0..count {
        returned.send(()).expect("the channel has room for all permits and both ends are here");
    }
    (returned, permits)
}

impl<T> Sender<T> {
    fn new(items: channel::Sender<Numbered<T>>, permits: channel::Receiver<()>) -> Self {
        Sender { items, permits, next: 0 }
    }

    /// Hands an item over; waits while the queue is full.
    ///
    /// # Errors
    /// `Stopped` when the other end is gone: nobody will receive anything more.
    pub fn send(&mut self, item: T) -> Result<()> {
        self.permits.recv().map_err(|_| Error::stopped())?;
        self.post(Message::Item(item)).map_err(|_| Error::stopped())
    }

    /// Says that the stream is complete. Never waits: the channel has room for the end beside all permits.
    pub(super) fn end(mut self) {
        // A receiver that had enough is gone, and needs no end.
        self.post(Message::End).ok();
    }

    fn post(&mut self, message: Message<T>) -> Result<(), channel::SendError<Numbered<T>>> {
        let number = self.next;
        self.next += 1;
        self.items.send(Numbered { number, message })
    }
}

impl<T> Receiver<T> {
    fn new(items: channel::Receiver<Numbered<T>>, permits: channel::Sender<()>) -> Self {
        Receiver { items, permits, next: 0, early: BTreeMap::new(), state: State::Open, failure: None }
    }

    /// The next item, waiting for it; `None` once the producer has returned `Ok` and everything was received.
    ///
    /// # Errors
    /// `Stopped` when the producer or a worker failed: the stream is not complete. Stays so when asked again.
    pub fn receive(&mut self) -> Result<Option<T>> {
        match self.state {
            State::Open => {}
            State::Ended => return Ok(None),
            State::Stopped => return Err(Error::stopped()),
        }
        match self.next_message() {
            Message::Item(item) => {
                // A sender that has ended takes no permits back, and needs none.
                self.permits.send(()).ok();
                return Ok(Some(item));
            }
            Message::End => {
                self.state = State::Ended;
                return Ok(None);
            }
            Message::Failed(error) => self.failure = Some(error),
            Message::Lost => {}
        }
        self.state = State::Stopped;
        Err(Error::stopped())
    }

    fn next_message(&mut self) -> Message<T> {
        let number = self.next;
        self.next += 1;
        if let Some(message) = self.early.remove(&number) {
            return message;
        }
        while let Ok(arrived) = self.items.recv() {
            if arrived.number == number {
                return arrived.message;
            }
            self.early.insert(arrived.number, arrived.message);
        }
        Message::Lost
    }

    /// What the consumer's result comes to: a worker's failure it was told of is the cause of its own, and a consumer that
    /// was told `Stopped` has not ended well, whatever it says.
    pub(super) fn outcome<B>(&mut self, consumed: Result<B>) -> Result<B> {
        match (self.failure.take(), self.state) {
            (Some(failure), _) => Err(failure),
            (None, State::Stopped) => consumed.and_then(|_| Err(Error::stopped())),
            (None, State::Open | State::Ended) => consumed,
        }
    }
}

impl<T, U> Clone for Worker<T, U> {
    fn clone(&self) -> Self {
        Worker { items: self.items.clone(), results: self.results.clone() }
    }
}

impl<T, U> Worker<T, U> {
    /// Maps items until there are none, one fails, or nobody wants the results.
    pub(super) fn run(self, mut mapper: impl FnMut(T) -> Result<U>) {
        while let Ok(Numbered { number, message }) = self.items.recv() {
            let (message, panic) = map(&mut mapper, message);
            let last = !matches!(message, Message::Item(_));
            let unwanted = self.results.send(Numbered { number, message }).is_err();
            if let Some(payload) = panic {
                resume_unwind(payload);
            }
            if last || unwanted {
                return;
            }
        }
    }
}

type Panic = Box<dyn std::any::Any + Send>;

fn map<T, U>(mapper: &mut impl FnMut(T) -> Result<U>, message: Message<T>) -> (Message<U>, Option<Panic>) {
    match message {
        // Unwind safe: after a panic the mapper is not called again, and the panic goes on.
        Message::Item(item) => match catch_unwind(AssertUnwindSafe(|| mapper(item))) {
            Ok(Ok(result)) => (Message::Item(result), None),
            Ok(Err(error)) => (Message::Failed(error), None),
            Err(payload) => (Message::Lost, Some(payload)),
        },
        Message::End => (Message::End, None),
        Message::Failed(error) => (Message::Failed(error), None),
        Message::Lost => (Message::Lost, None),
    }
}
