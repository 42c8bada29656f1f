//! A lane: a queue that lives as long as its owner, worked off by threads of its own, and the answers that come back from several.
//!
//! Invariants: what was sent is done in the order of sending, but that neighbours which are sent to be done [`Turn::Beside`] each other
//! may be done at once. What waits and what is being done takes no more than a bound of bytes, or is one job. Who drops a lane waits
//! until everything that was sent is done; a panic of a job travels on to him, and what waited behind it is dropped undone.

use crate::error::{Error, Result};
use crate::limits::WORKERS_MAX;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle, panicking};

/// When a job is done, as others of its lane are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// After all before it, and before all behind it.
    Alone,
    /// As [`Turn::Alone`], but at the same time as neighbours of this sort.
    Beside,
}

struct Waiting<T> {
    turn: Turn,
    size_bytes: u64,
    job: T,
}

struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Of what waits and what is being done.
    held_bytes: u64,
    working: usize,
    is_one_alone: bool,
    is_closed: bool,
    has_panicked: bool,
}

impl<T> State<T> {
    /// The next job, if it may be begun.
    fn begin(&mut self) -> Option<Waiting<T>> {
        let is_free = match self.waiting.front()?.turn {
            Turn::Alone => self.working == 0,
            Turn::Beside => !self.is_one_alone,
        };
        let next = if is_free { self.waiting.pop_front() } else { None }?;
        self.working += 1;
        self.is_one_alone = next.turn == Turn::Alone;
        Some(next)
    }

    fn end(&mut self, size_bytes: u64) {
        self.working -= 1;
        self.is_one_alone = false;
        // After a panic nothing counts as held, and others may still be at work.
        self.held_bytes = self.held_bytes.saturating_sub(size_bytes);
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.working == 0
    }
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Jobs run outside of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, state: MutexGuard<'q, State<T>>) -> MutexGuard<'q, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self, work: &dyn Fn(T)) {
        loop {
            let mut state = self.lock();
            let next = loop {
                if let Some(next) = state.begin() {
                    break next;
                }
                if state.is_closed && state.waiting.is_empty() {
                    return;
                }
                state = self.wait(state);
            };
            drop(state);
            // Others may go beside this one.
            self.changed.notify_all();
            let done = Done { queue: self, size_bytes: next.size_bytes };
            work(next.job);
            drop(done);
        }
    }
}

/// Notes the end of a job, by whatever way it ends.
struct Done<'q, T> {
    queue: &'q Queue<T>,
    size_bytes: u64,
}

impl<T> Drop for Done<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.end(self.size_bytes);
        let mut undone = VecDeque::new();
        if panicking() {
            state.has_panicked = true;
            state.held_bytes = 0;
            undone = std::mem::take(&mut state.waiting);
        }
        drop(state);
        // Outside of the lock: who waits for one of these hears of it.
        drop(undone);
        self.queue.changed.notify_all();
    }
}

/// A queue with threads that work it off.
pub struct Lane<T> {
    queue: Arc<Queue<T>>,
    limit_bytes: u64,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Lane<T> {
    /// A lane of `workers` threads (1 to [`WORKERS_MAX`]) that holds jobs of `limit_bytes`, or one.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        workers: usize,
        limit_bytes: u64,
        work: impl Fn(T) + Send + Sync + 'static,
    ) -> Result<Lane<T>> {
        let state = State {
            waiting: VecDeque::new(),
            held_bytes: 0,
            working: 0,
            is_one_alone: false,
            is_closed: false,
            has_panicked: false,
        };
        let queue = Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() });
        // What has been started ends with `lane`, should a later thread not start.
        let mut lane = Lane { queue, limit_bytes, threads: Vec::new() };
        let work = Arc::new(work);
        for _ in 0..workers.clamp(1, WORKERS_MAX) {
            let (queue, work) = (Arc::clone(&lane.queue), Arc::clone(&work));
            let started = Builder::new().name("lane".to_owned()).spawn(move || queue.work_off(&*work));
            lane.threads.push(started.map_err(|e| Error::io("cannot start", "a thread of a lane", e))?);
        }
        Ok(lane)
    }

    /// Hands a job over, which holds `size_bytes` until it is done; waits while there is no room.
    ///
    /// # Errors
    /// `Stopped` after a job has panicked.
    pub fn send(&self, turn: Turn, size_bytes: u64, job: T) -> Result<()> {
        let mut state = self.queue.lock();
        while !state.has_panicked
            && state.held_bytes > 0
            && state.held_bytes.saturating_add(size_bytes) > self.limit_bytes
        {
            state = self.queue.wait(state);
        }
        if state.has_panicked {
            return Err(Error::stopped());
        }
        state.held_bytes = state.held_bytes.saturating_add(size_bytes);
        state.waiting.push_back(Waiting { turn, size_bytes, job });
        drop(state);
        self.queue.changed.notify_all();
        Ok(())
    }

    /// Whether nothing waits and nothing is being done.
    pub fn is_idle(&self) -> bool {
        self.queue.lock().is_idle()
    }

    /// Waits until everything that was sent is done.
    ///
    /// # Errors
    /// `Stopped` after a job has panicked.
    pub fn drain(&self) -> Result<()> {
        let mut state = self.queue.lock();
        while !state.is_idle() {
            state = self.queue.wait(state);
        }
        if state.has_panicked { Err(Error::stopped()) } else { Ok(()) }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let payload = ended.into_iter().find_map(Result::err);
        if let Some(payload) = payload.filter(|_| !panicking()) {
            resume_unwind(payload);
        }
    }
}

/// The answers to one question that was put to several lanes. A clone asks for the same ones.
pub struct Answers<A>(Arc<Gathered<A>>);

struct Gathered<A> {
    state: Mutex<Given<A>>,
    changed: Condvar,
}

struct Given<A> {
    answers: Vec<(usize, A)>,
    expected: usize,
}

/// One answer that is yet to be given. Dropped, it says that there will be none.
pub struct Promise<A> {
    gathered: Arc<Gathered<A>>,
    from: usize,
}

impl<A> Gathered<A> {
    fn lock(&self) -> MutexGuard<'_, Given<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Default for Answers<A> {
    fn default() -> Self {
        let state = Mutex::new(Given { answers: Vec::new(), expected: 0 });
        Answers(Arc::new(Gathered { state, changed: Condvar::new() }))
    }
}

impl<A> Answers<A> {
    /// One more answer is to come, from `from`.
    pub fn expect(&self, from: usize) -> Promise<A> {
        self.0.lock().expected += 1;
        Promise { gathered: Arc::clone(&self.0), from }
    }

    /// Waits until there are enough, or no more will come; gives those that there are, with who gave them.
    pub fn wait_for(&self, is_enough: impl Fn(&[(usize, A)]) -> bool) -> Vec<(usize, A)> {
        let mut given = self.0.lock();
        while given.expected > 0 && !is_enough(&given.answers) {
            given = self.0.changed.wait(given).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut given.answers)
    }

    /// Waits for all of them.
    pub fn all(&self) -> Vec<(usize, A)> {
        self.wait_for(|_| false)
    }
}

impl<A> Promise<A> {
    /// Gives it.
    pub fn give(self, answer: A) {
        self.gathered.lock().answers.push((self.from, answer));
    }
}

impl<A> Drop for Promise<A> {
    fn drop(&mut self) {
        self.gathered.lock().expected -= 1;
        self.gathered.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    type Job = Box<dyn FnOnce() + Send>;

    fn lane(workers: usize, limit_bytes: u64) -> Lane<Job> {
        Lane::start(workers, limit_bytes, |job: Job| job()).unwrap()
    }

    #[test]
    fn jobs_are_done_in_the_order_of_sending() {
        for workers in [1, 4] {
            let done = Arc::new(Mutex::new(Vec::new()));
            let lane = lane(workers, 10);
            for number in 0..100 {
                let done = Arc::clone(&done);
                lane.send(Turn::Alone, number % 7, Box::new(move || done.lock().unwrap().push(number)))
                    .unwrap();
            }
            lane.drain().unwrap();
            assert!(lane.is_idle());
            assert_eq!(*done.lock().unwrap(), (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbours_may_be_done_at_once_and_the_next_waits_for_both() {
        let lane = lane(2, 100);
        let (here, there) = mpsc::channel();
        let (back, forth) = mpsc::channel();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let (first, second, third) = (note("one"), note("two"), note("after"));
        // Each waits for the other: one at a time, neither would end.
        lane.send(
            Turn::Beside,
            1,
            Box::new(move || {
                here.send(()).unwrap();
                forth.recv().unwrap();
                first();
            }),
        )
        .unwrap();
        lane.send(
            Turn::Beside,
            1,
            Box::new(move || {
                there.recv().unwrap();
                second();
                back.send(()).unwrap();
            }),
        )
        .unwrap();
        lane.send(Turn::Alone, 1, Box::new(third)).unwrap();
        drop(lane);
        assert_eq!(*order.lock().unwrap(), ["two", "one", "after"]);
    }

    #[test]
    fn a_job_that_is_larger_than_all_room_passes_by_itself() {
        let lane = lane(1, 10);
        let (told, hear) = mpsc::channel();
        for size_bytes in [4, 1_000, 4, 1_000] {
            let told = told.clone();
            lane.send(Turn::Alone, size_bytes, Box::new(move || told.send(size_bytes).unwrap())).unwrap();
        }
        lane.drain().unwrap();
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [4, 1_000, 4, 1_000]);
    }

    #[test]
    fn a_panic_travels_on_and_what_waited_behind_it_is_told() {
        let lane = lane(1, 100);
        let answers: Answers<u8> = Answers::default();
        let (go, wait) = mpsc::channel::<()>();
        lane.send(
            Turn::Alone,
            1,
            Box::new(move || {
                wait.recv().unwrap();
                panic!("a job");
            }),
        )
        .unwrap();
        let promise = answers.expect(0);
        lane.send(Turn::Alone, 1, Box::new(move || promise.give(1))).unwrap();
        go.send(()).unwrap();
        assert!(answers.all().is_empty());
        assert!(lane.drain().is_err());
        assert!(lane.send(Turn::Alone, 1, Box::new(|| ())).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(lane))).is_err());
    }

    #[test]
    fn a_job_that_ends_after_another_has_panicked_leaves_room() {
        let lane = lane(2, 10);
        let (go, wait) = mpsc::channel::<()>();
        let (told, hear) = mpsc::channel::<()>();
        lane.send(
            Turn::Beside,
            5,
            Box::new(move || {
                told.send(()).unwrap();
                wait.recv().unwrap();
            }),
        )
        .unwrap();
        hear.recv().unwrap();
        lane.send(Turn::Beside, 5, Box::new(|| panic!("a job"))).unwrap();
        // Waits for room that the panic makes.
        assert!(lane.send(Turn::Beside, 9, Box::new(|| ())).is_err());
        go.send(()).unwrap();
        assert!(lane.drain().is_err());
        assert_eq!(lane.queue.lock().held_bytes, 0);
        assert!(lane.send(Turn::Beside, 9, Box::new(|| ())).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(lane))).is_err());
    }

    #[test]
    fn answers_are_waited_for_until_there_are_enough() {
        let answers: Answers<&str> = Answers::default();
        let (one, two, three) = (answers.expect(1), answers.expect(2), answers.expect(3));
        one.give("first");
        assert_eq!(answers.wait_for(|given| !given.is_empty()), [(1, "first")]);
        drop(two);
        three.give("last");
        assert_eq!(answers.all(), [(3, "last")]);
    }
}
