//! Every way a pipe can end: either end fails, panics or stops at every item; workers out of step; memory counted.

use super::*;
use crossbeam_channel as channel;
use proptest::prelude::*;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

const ITEMS: usize = 12;

fn numbers(sender: &mut Sender<usize>, count: usize) -> Result<usize> {
    (0..count).try_for_each(|n| sender.send(n))?;
    Ok(count)
}

fn collect<T>(receiver: &mut Receiver<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(item) = receiver.receive()? {
        all.push(item);
    }
    Ok(all)
}

fn boom(what: &str) -> Error {
    Error::new(Kind::NoSpace, what)
}

fn same() -> Result<impl FnMut(usize) -> Result<usize> + Send> {
    Ok(Ok)
}

/// The text of a panic that must come.
fn panic_of<R>(work: impl FnOnce() -> R) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(work)).err().expect("a panic was swallowed");
    payload.downcast_ref::<&str>().copied().expect("another panic took its place")
}

#[test]
fn everything_arrives_in_order() {
    for (count, capacity) in [(0, 0), (0, 3), (1, 0), (100, 1), (100, 7)] {
        let (sent, got) = run(capacity, |s| numbers(s, count), collect).unwrap();
        assert_eq!((sent, got), (count, (0..count).collect::<Vec<_>>()));
        for workers in [0, 1, 2, 5] {
            let (_, got) = run_mapped(capacity, workers, |s| numbers(s, count), same, collect).unwrap();
            assert_eq!(got, (0..count).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_producer_that_fails_at_any_item_is_the_cause_and_never_a_short_stream() {
    for at in 0..=ITEMS {
        let seen = AtomicUsize::new(0);
        let consumer = |receiver: &mut Receiver<usize>| {
            let result = loop {
                match receiver.receive() {
                    Ok(Some(n)) => assert_eq!(n, seen.fetch_add(1, Ordering::Relaxed)),
                    other => break other,
                }
            };
            assert_eq!(result.unwrap_err().kind(), Kind::Stopped, "taken for the end");
            assert_eq!(receiver.receive().unwrap_err().kind(), Kind::Stopped, "forgot that it stopped");
            Err::<(), _>(Error::stopped().while_doing("storing", "x"))
        };
        let producer =
            |sender: &mut Sender<usize>| numbers(sender, at).and_then(|_| Err::<(), _>(boom("producer")));
        let direct = run(2, producer, consumer).unwrap_err();
        assert_eq!(seen.swap(0, Ordering::Relaxed), at);
        let mapped = run_mapped(2, 3, producer, same, consumer).unwrap_err();
        assert_eq!(seen.load(Ordering::Relaxed), at);
        assert_eq!((direct.to_string(), mapped.to_string()), ("producer".into(), "producer".into()));
    }
}

#[test]
fn a_consumer_that_ignores_a_failed_producer_does_not_end_well() {
    let ignore = |receiver: &mut Receiver<usize>| Ok(receiver.receive().is_err());
    let fail = |_: &mut Sender<usize>| Err::<(), _>(boom("producer"));
    assert_eq!(run(1, fail, ignore).unwrap_err().kind(), Kind::NoSpace);
    assert_eq!(run_partial(1, fail, ignore).unwrap_err().kind(), Kind::NoSpace);
    // Stopped is all there is to say when the producer is itself the end of a pipe that stopped.
    let stopped = |_: &mut Sender<usize>| Err::<(), _>(Error::stopped());
    assert_eq!(run_partial(1, stopped, ignore).unwrap_err().kind(), Kind::Stopped);
}

#[test]
fn a_consumer_that_fails_at_any_item_stops_the_producer() {
    for at in 0..ITEMS {
        let consumer = |receiver: &mut Receiver<usize>| {
            for _ in 0..at {
                receiver.receive()?;
            }
            Err::<(), _>(boom("consumer"))
        };
        // Without an end the producer can only come back by being stopped.
        let endless = |sender: &mut Sender<usize>| -> Result<()> {
            loop {
                sender.send(1).inspect_err(|e| assert_eq!(e.kind(), Kind::Stopped))?;
            }
        };
        assert_eq!(run(2, endless, consumer).unwrap_err().to_string(), "consumer");
        assert_eq!(run_mapped(2, 3, endless, same, consumer).unwrap_err().to_string(), "consumer");
    }
}

#[test]
fn a_worker_that_fails_at_any_item_is_the_cause() {
    for (at, workers) in (0..ITEMS).flat_map(|at| [1, 2, 4].map(|workers| (at, workers))) {
        let make = || Ok(move |n| if n == at { Err(boom("worker")) } else { Ok(n) });
        let seen = AtomicUsize::new(0);
        let consumer = |receiver: &mut Receiver<usize>| {
            while receiver.receive()?.is_some() {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let error = run_mapped(1, workers, |s| numbers(s, ITEMS), make, consumer).unwrap_err();
        assert_eq!(error.to_string(), "worker");
        assert_eq!(seen.load(Ordering::Relaxed), at, "what came before the failure is received");
    }
}

#[test]
fn of_two_failures_the_first_counts() {
    let producer = |_: &mut Sender<usize>| Err::<(), _>(boom("first"));
    let consumer = |receiver: &mut Receiver<usize>| {
        receiver.receive().unwrap_err();
        Err::<(), _>(boom("second"))
    };
    assert_eq!(run(1, producer, consumer).unwrap_err().to_string(), "first");
    // A producer that notices only by being stopped fails later than the consumer that stopped it.
    let producer = |sender: &mut Sender<usize>| -> Result<()> {
        while sender.send(1).is_ok() {}
        Err(boom("second"))
    };
    let consumer = |_: &mut Receiver<usize>| Err::<(), _>(boom("first"));
    assert_eq!(run(1, producer, consumer).unwrap_err().to_string(), "first");
}

#[test]
fn a_mapper_that_cannot_be_made_fails_before_anything_starts() {
    let make = || Err::<fn(usize) -> Result<usize>, _>(boom("no context"));
    let producer = |_: &mut Sender<usize>| -> Result<()> { panic!("started") };
    let error = run_mapped(1, 2, producer, make, collect).unwrap_err();
    assert_eq!(error.to_string(), "no context");
}

#[test]
fn panics_travel_on_after_all_have_ended() {
    let endless = |sender: &mut Sender<usize>| -> Result<()> {
        loop {
            sender.send(1)?;
        }
    };
    for at in 0..4 {
        let producer = |sender: &mut Sender<usize>| -> Result<()> {
            numbers(sender, at)?;
            panic!("producer")
        };
        let consumer = |receiver: &mut Receiver<usize>| -> Result<()> {
            for _ in 0..at {
                receiver.receive()?;
            }
            panic!("consumer")
        };
        let make = || Ok(move |n| if n == at { panic!("worker") } else { Ok(n) });
        assert_eq!(panic_of(|| run(2, producer, collect)), "producer");
        assert_eq!(panic_of(|| run_mapped(2, 2, producer, same, collect)), "producer");
        assert_eq!(panic_of(|| run(2, endless, consumer)), "consumer");
        assert_eq!(panic_of(|| run_mapped(2, 2, endless, same, consumer)), "consumer");
        for workers in [1, 3] {
            let numbers = |sender: &mut Sender<usize>| numbers(sender, ITEMS);
            assert_eq!(panic_of(|| run_mapped(2, workers, numbers, make, collect)), "worker");
        }
    }
}

#[test]
fn a_consumer_may_have_enough_where_that_is_said() {
    let endless = |sender: &mut Sender<usize>| -> Result<()> {
        loop {
            sender.send(7)?;
        }
    };
    let first = |receiver: &mut Receiver<usize>| receiver.receive();
    assert_eq!(run_partial(3, endless, first).unwrap(), (None, Some(7)));
    assert_eq!(run_mapped_partial(3, 2, endless, same, first).unwrap(), (None, Some(7)));
    assert_eq!(run(3, endless, first).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(run_mapped(3, 2, endless, same, first).unwrap_err().kind(), Kind::Invalid);
    // The same answer when the queue holds the whole stream: it does not depend on who is faster.
    assert_eq!(run(3, |s| numbers(s, 2), first).unwrap_err().kind(), Kind::Invalid);
    // The end itself need not be asked for.
    assert_eq!(run(3, |s| numbers(s, 1), first).unwrap(), (1, Some(0)));
    // A failure of the producer is not hidden by having enough.
    let failing = |sender: &mut Sender<usize>| sender.send(1).and(Err::<(), _>(boom("producer")));
    assert_eq!(run_partial(3, failing, first).unwrap_err().to_string(), "producer");
}

#[test]
fn workers_may_finish_in_any_order() {
    // Item 0 is held back until all the others that fit are done, so that every one of them is early.
    let (done, wait) = channel::unbounded();
    let early = 2;
    let make = || {
        let (done, wait) = (done.clone(), wait.clone());
        Ok(move |n| {
            if n == 0 {
                (0..early).for_each(|_| wait.recv().unwrap());
            } else if n <= early {
                done.send(()).unwrap();
            }
            Ok(n)
        })
    };
    let (_, got) = run_mapped(early - 1, 2, |s| numbers(s, ITEMS), make, collect).unwrap();
    assert_eq!(got, (0..ITEMS).collect::<Vec<_>>());
}

/// Sends until the queue is full, which is known because the producer counts what it has sent and the consumer waits for it.
#[test]
fn the_items_under_way_are_bounded() {
    for (capacity, workers) in [(0, 0), (1, 0), (4, 0), (1, 1), (2, 2), (3, 4)] {
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let producer = |sender: &mut Sender<usize>| {
            (0..200).try_for_each(|n| {
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sender.send(n)
            })
        };
        let limit = if workers == 0 { capacity.max(1) + 1 } else { capacity + workers + 1 };
        let consumer = |receiver: &mut Receiver<usize>| {
            // A slow consumer: lets the producer run as far as it can before each item.
            for _ in 0..200 {
                while alive.load(Ordering::SeqCst) < limit && most.load(Ordering::SeqCst) < limit {
                    std::thread::yield_now();
                }
                receiver.receive()?;
                alive.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(())
        };
        match workers {
            0 => run(capacity, producer, consumer).map(drop).unwrap(),
            _ => run_mapped(capacity, workers, producer, same, consumer).map(drop).unwrap(),
        }
        // The item just received is counted until the consumer says so.
        let most = most.into_inner();
        assert!((limit..=limit + 1).contains(&most), "{most} items with {capacity} and {workers}");
    }
}

#[test]
fn two_things_are_done_side_by_side_and_the_first_failure_counts() {
    let (sender, receiver) = std::sync::mpsc::channel();
    // The second waits for the first, so that they cannot be done one after the other from its side.
    let both = together(|| sender.send(7).map_err(|_| boom("nobody listens")), || Ok(receiver.recv().unwrap()));
    assert_eq!(both.unwrap(), ((), 7));
    let failed: Result<((), ())> = together(|| Err(boom("first")), || Ok(()));
    assert!(failed.unwrap_err().to_string().contains("first"));
    let failed: Result<((), ())> = together(|| Ok(()), || Err(boom("second")));
    assert!(failed.unwrap_err().to_string().contains("second"));
    assert_eq!(panic_of(|| together(|| -> Result<()> { panic!("there") }, || Ok(())).map(drop)), "there");
}

#[test]
fn pipes_nest_and_the_innermost_cause_comes_out() {
    let outer = run(
        1,
        |sender| {
            run(
                1,
                |s: &mut Sender<usize>| numbers(s, 3).and(Err::<(), _>(boom("inner"))),
                |r| {
                    while let Some(n) = r.receive()? {
                        sender.send(n)?;
                    }
                    Ok(())
                },
            )
        },
        collect,
    );
    assert_eq!(outer.unwrap_err().to_string(), "inner");
}

fn pass_blocks(block_bytes: usize, pieces: &[Vec<u8>]) -> (Vec<usize>, Vec<u8>) {
    let (pool, mut sizes) = (Pool::new(4), Vec::new());
    let produce = |sender: &mut Sender<Vec<u8>>| {
        let mut writer = BlockWriter::with_block_bytes(block_bytes, pool.clone(), |block| sender.send(block));
        for piece in pieces {
            writer.write_all(piece).map_err(|e| Error::io("write", "", e))?;
        }
        writer.finish()
    };
    let consume = |receiver: &mut Receiver<Vec<u8>>| {
        let (mut reader, mut all) = (BlockReader::new(receiver, pool.clone()), Vec::new());
        loop {
            let block = reader.fill_buf().map_err(|e| Error::io("read", "", e))?.to_vec();
            if block.is_empty() {
                return Ok(all);
            }
            sizes.push(block.len());
            reader.consume(block.len());
            all.extend(block);
        }
    };
    let (_, all) = run(2, produce, consume).unwrap();
    (sizes, all)
}

proptest! {
    #[test]
    fn blocks_have_the_exact_size_and_lose_nothing(
        block_bytes in 1usize..40,
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..12),
    ) {
        let whole = pieces.concat();
        let (sizes, all) = pass_blocks(block_bytes, &pieces);
        prop_assert_eq!(&all, &whole);
        let expected: Vec<usize> = whole.chunks(block_bytes).map(<[u8]>::len).collect();
        prop_assert_eq!(sizes, expected);
    }

    #[test]
    fn files_are_read_into_the_blocks(
        content in prop::collection::vec(any::<u8>(), 0..200),
        before in 0usize..30, offset in 0u64..220, length in 0u64..260, block_bytes in 1usize..50,
    ) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let mut blocks = Vec::new();
        let mut writer = BlockWriter::with_block_bytes(block_bytes, Pool::new(2), |block| { blocks.push(block); Ok(()) });
        writer.write_all(&vec![9; before]).unwrap();
        let start = content.len().min(offset as usize);
        let end = content.len().min((offset + length) as usize);
        let there = content[start..end].to_vec();
        prop_assert_eq!(writer.fill_from(&file, offset, length).unwrap(), there.len() as u64);
        prop_assert_eq!(writer.position(), (before + there.len()) as u64);
        writer.finish().unwrap();
        prop_assert_eq!(blocks.concat(), [vec![9; before], there].concat());
    }
}

#[test]
fn an_empty_stream_is_one_empty_block() {
    let mut blocks = Vec::new();
    let writer = BlockWriter::new(Pool::new(1), |block| {
        blocks.push(block);
        Ok(())
    });
    writer.finish().unwrap();
    assert_eq!(blocks, [Vec::<u8>::new()]);
}

#[test]
fn a_file_that_cannot_be_read_leaves_the_writer_whole() {
    let mut blocks = Vec::new();
    let mut writer = BlockWriter::with_block_bytes(4, Pool::new(1), |block| {
        blocks.push(block);
        Ok(())
    });
    writer.write_all(b"abc").unwrap();
    let folder = File::open("/").unwrap();
    let error = writer.fill_from(&folder, 0, 10).unwrap_err();
    assert_ne!(error.kind(), Kind::Stopped);
    assert_eq!(writer.position(), 3);
    writer.write_all(b"de").unwrap();
    writer.finish().unwrap();
    assert_eq!(blocks, [b"abcd".to_vec(), b"e".to_vec()]);
}

#[test]
fn a_reader_of_a_pipe_that_stopped_fails_and_says_so() {
    let produce = |sender: &mut Sender<Vec<u8>>| sender.send(vec![1; 5]).and(Err::<(), _>(boom("producer")));
    let consume = |receiver: &mut Receiver<Vec<u8>>| {
        let (mut reader, mut all) = (BlockReader::new(receiver, Pool::new(1)), Vec::new());
        let error = Error::io("cannot read", "stream", reader.read_to_end(&mut all).unwrap_err());
        assert_eq!((error.kind(), all.len()), (Kind::Stopped, 5));
        Err::<(), _>(error)
    };
    assert_eq!(run(1, produce, consume).unwrap_err().to_string(), "producer");
}

#[test]
fn blocks_are_used_again() {
    let pool = Pool::new(2);
    let addresses = AtomicUsize::new(0);
    let mut previous = std::ptr::null();
    let recycle = pool.clone();
    let mut writer = BlockWriter::with_block_bytes(64, pool, |block| {
        addresses.fetch_add(usize::from(block.as_ptr() != previous), Ordering::Relaxed);
        previous = block.as_ptr();
        recycle.give(block);
        Ok(())
    });
    writer.write_all(&[1; 64 * 10]).unwrap();
    writer.finish().unwrap();
    assert_eq!(addresses.into_inner(), 1, "every block was allocated anew");
}
