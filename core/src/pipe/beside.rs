//! Work beside the work: hints that threads of their own follow, and that nobody waits for.
//!
//! What a hint does may make other work faster and never changes its result, so one that finds no room is dropped, and so are those
//! that are left when the work is done.

use super::{join, start};
use crate::error::Result;
use crossbeam_channel as channel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;

/// Where hints are given.
pub struct Hints<T> {
    hints: channel::Sender<T>,
}

impl<T> Hints<T> {
    /// Gives a hint, without waiting; says whether there was room for it.
    pub fn offer(&self, hint: T) -> bool {
        self.hints.try_send(hint).is_ok()
    }
}

/// Says, when it goes away by whatever way, that nobody needs hints any more.
struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work`, with `threads` beside it (none is as good as any) that `follow` the hints it gives; `capacity` hints may wait.
///
/// # Errors
/// Of `work`; a thread that cannot be started.
///
/// # Panics
/// When `work` or `follow` does, with its payload.
pub fn beside<T: Send, R>(
    threads: usize,
    capacity: usize,
    follow: impl Fn(T) + Sync,
    work: impl FnOnce(&Hints<T>) -> Result<R>,
) -> Result<R> {
    let (sender, receiver) = channel::bounded(capacity);
    let is_done = AtomicBool::new(false);
    scope(|scope| {
        // Both live in this closure only: leaving it by any way ends the threads.
        let hints = Hints { hints: sender };
        let done = Done(&is_done);
        let mut followers = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (hints, follow, is_done) = (receiver.clone(), &follow, &is_done);
            followers.push(start(scope, "hint", move || {
                while let Ok(hint) = hints.recv() {
                    if !is_done.load(Ordering::Relaxed) {
                        follow(hint);
                    }
                }
            })?);
        }
        // Hints are refused when nobody is there to follow them.
        drop(receiver);
        let result = work(&hints);
        drop((done, hints));
        followers.into_iter().for_each(join);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn hints_are_followed_while_the_work_goes_on() {
        let (followed, seen) = channel::bounded(100);
        let sum = beside(
            3,
            100,
            |n: u32| followed.send(n).unwrap(),
            |hints| {
                assert!((0..100).all(|n| hints.offer(n)));
                Ok((0..100).map(|_| seen.recv().unwrap()).sum::<u32>())
            },
        );
        assert_eq!(sum.unwrap(), 4950);
    }

    #[test]
    fn hints_without_room_or_followers_are_refused() {
        assert!(!beside(0, 5, |()| (), |hints| Ok(hints.offer(()))).unwrap());
        let (go, wait) = channel::bounded::<()>(0);
        let count = AtomicUsize::new(0);
        let follow = |()| {
            count.fetch_add(1, Ordering::Relaxed);
            wait.recv().ok();
        };
        let taken = beside(1, 2, follow, |hints| {
            let taken = (0..10).filter(|_| hints.offer(())).count();
            drop(go);
            Ok(taken)
        });
        // Two that wait, and perhaps one that is followed already.
        assert!((2..=3).contains(&taken.unwrap()));
        assert!(count.into_inner() <= 3);
    }

    #[test]
    fn an_error_of_the_work_comes_out_and_a_panic_of_either_side_travels_on() {
        let failed = beside(2, 2, |()| (), |_| Err::<(), _>(Error::new(Kind::Io, "work")));
        assert_eq!(failed.unwrap_err().to_string(), "work");
        let worked = std::panic::catch_unwind(|| beside(2, 2, |()| (), |_| -> Result<()> { panic!("work") }));
        assert!(worked.is_err());
        let followed = std::panic::catch_unwind(|| {
            let (began, begun) = channel::bounded(1);
            let follow = |()| {
                began.send(()).unwrap();
                panic!("follow")
            };
            beside(1, 1, follow, |hints| {
                hints.offer(());
                begun.recv().unwrap();
                Ok(())
            })
        });
        assert!(followed.is_err());
    }
}
