//! Claims about many who use one storage at once.

use super::{bytes_of, name, put, read_all, rows, write};
use icecore::storage::{Depth, PutMode, Storage};
use icecore::{Kind, Result};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const THREADS: u8 = 8;
const ROUNDS: usize = 8;

/// Lets `THREADS` threads do the same thing at once; what each got.
fn all_at_once<T: Send>(act: impl Fn(u8) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(THREADS.into());
    let (start, act) = (&start, &act);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    act(number)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("a racing thread panicked")).collect()
    })
}

/// The one that won, when the others lost in the right way.
fn winner(outcomes: Vec<Result<()>>) -> u8 {
    let mut winners = Vec::new();
    for (number, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(()) => winners.push(number),
            Err(e) => assert_eq!(e.kind(), Kind::AlreadyExists, "{e:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    winners[0]
}

/// Tells the other thread to end, also when an assertion fails: the scope would wait for it for ever.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub(super) fn one_creation_wins(storage: &dyn Storage) -> Result<()> {
    for round in 0..ROUNDS {
        let text = format!("race/{round}/put");
        let winner = winner(all_at_once(|number| put(storage, &text, &bytes_of(number, 5_000))));
        assert!(read_all(storage, &text)? == bytes_of(winner, 5_000), "not the bytes of the winner");
    }
    assert_eq!(rows(storage, None, Depth::All)?.len(), ROUNDS, "something was left behind");
    Ok(())
}

pub(super) fn one_writer_wins(storage: &dyn Storage) -> Result<()> {
    for round in 0..ROUNDS {
        let text = format!("race/{round}/written");
        let winner = winner(all_at_once(|number| {
            let bytes = bytes_of(number, 300_000);
            write(storage, &text, &[&bytes[..100_000], &bytes[100_000..]], PutMode::CreateNew)
        }));
        assert!(read_all(storage, &text)? == bytes_of(winner, 300_000), "not the bytes of the winner");
    }
    assert_eq!(rows(storage, None, Depth::All)?.len(), ROUNDS, "something was left behind");
    Ok(())
}

/// Versions differ in every byte and in length: a mixture of two would be seen.
pub(super) fn replace_is_atomic(storage: &dyn Storage) -> Result<()> {
    let object = name("versions/object");
    let version = |number: u8| vec![number; 20_000 + usize::from(number) * 1_000];
    storage.put(&object, &version(0), PutMode::Replace)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<usize> {
            let mut reads = 0;
            while !done.load(Ordering::Acquire) || reads == 0 {
                let bytes = storage.read(&object, 0, 1 << 20)?;
                let number = *bytes.first().expect("no version is empty");
                assert!(bytes == version(number), "{} bytes, not version {number}", bytes.len());
                reads += 1;
            }
            Ok(reads)
        });
        let ending = Ending(&done);
        let written = (1..=40).try_for_each(|number| match number % 2 {
            0 => storage.put(&object, &version(number), PutMode::Replace),
            _ => write(storage, object.as_str(), &[&version(number)], PutMode::Replace),
        });
        drop(ending);
        let reads = reader.join().expect("the reader saw a mixture");
        written.and(reads.map(|_| ()))
    })?;
    assert_eq!(read_all(storage, "versions/object")?, version(40));
    Ok(())
}

pub(super) fn list_beside_writers(storage: &dyn Storage) -> Result<()> {
    for number in 0..50 {
        put(storage, &format!("busy/{number:02}-lasting"), b"x")?;
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut number = 0;
            while !done.load(Ordering::Acquire) {
                let text = format!("busy/{:02}-passing", number % 50);
                put(storage, &text, b"yy")?;
                storage.delete(&name(&text))?;
                number += 1;
            }
            Ok(())
        });
        let ending = Ending(&done);
        let listed = (0..20).try_for_each(|_| {
            let rows = rows(storage, Some("busy"), Depth::All)?;
            assert_eq!(rows.iter().filter(|row| row.ends_with("-lasting 1")).count(), 50);
            // What is being written may show as a stray, never as an object with a part of its bytes.
            let whole = |row: &String| {
                row.ends_with("-lasting 1") || row.ends_with("-passing 2") || row.starts_with("? ")
            };
            assert!(rows.iter().all(whole), "{rows:?}");
            Ok(())
        });
        drop(ending);
        listed.and(writer.join().expect("the writer panicked"))
    })
}

/// Everybody's folder is removed with everybody's last object, while others make objects in it.
pub(super) fn folder_comes_and_goes(storage: &dyn Storage) -> Result<()> {
    let outcomes = all_at_once(|number| -> Result<()> {
        for round in 0..30 {
            let text = format!("shared/folder/{number}");
            match round % 2 {
                0 => put(storage, &text, &[number])?,
                _ => write(storage, &text, &[&[number]], PutMode::Replace)?,
            }
            assert_eq!(read_all(storage, &text)?, [number]);
            storage.delete(&name(&text))?;
        }
        Ok(())
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    assert_eq!(rows(storage, None, Depth::One)?, [""; 0]);
    Ok(())
}
