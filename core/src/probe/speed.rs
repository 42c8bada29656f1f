//! How fast a storage is: with one request under way, as it is for whoever waits for each answer, and with several.

use super::lists::small_name;
use super::{Doubt, Measurement, Told, Trial, bytes_of, expect};
use crate::error::Result;
use crate::limits::{BENCHMARK_OBJECT_BYTES, PROBE_LARGE_AT_ONCE};
use crate::storage::PutMode;
use std::time::Duration;

pub(super) const SERVED: &str = "several requests at a time are served, and none is mistaken for another";

/// Bytes of a small object.
pub(super) const SMALL_BYTES: usize = 4 << 10;

/// What is done for one object, and whether its bytes were right.
type Work<'w> = &'w (dyn Fn(u32) -> Result<bool> + Sync);

/// Small objects that are put and read one after the other.
const ALONE: u32 = 32;

/// Measures small objects, and leaves them there to be listed.
pub(super) fn small(trial: &Trial<'_>, measured: &mut Vec<Measurement>) -> Told {
    let (all, connections) = (trial.options.objects, trial.options.connections);
    let alone = if connections == 1 { all } else { ALONE.min(all) };
    let put = |number: u32| -> Result<bool> {
        trial.put(&small_name(number), &bytes_of(number, SMALL_BYTES), PutMode::Replace)?;
        Ok(true)
    };
    let read = |number: u32| -> Result<bool> {
        let read = trial.read(&small_name(number), SMALL_BYTES)?;
        Ok(read == bytes_of(number, SMALL_BYTES))
    };
    let works: [(&str, Work<'_>); 2] = [("put small objects", &put), ("read small objects", &read)];
    for (what, work) in works {
        for (in_flight, numbers) in [(1, 0..alone), (connections, alone..all)] {
            measured.extend(measure(trial, what, in_flight, numbers, SMALL_BYTES, work)?);
        }
    }
    Ok(())
}

/// Measures objects of the size of a pack.
pub(super) fn large(trial: &Trial<'_>, measured: &mut Vec<Measurement>) -> Told {
    let sample = bytes_of(u32::MAX, BENCHMARK_OBJECT_BYTES);
    let several = trial.options.connections.min(PROBE_LARGE_AT_ONCE);
    let name = |number: u32| format!("large/{number}");
    let put = |number: u32| trial.put(&name(number), &sample, PutMode::Replace).map(|()| true);
    let read = |number: u32| trial.read(&name(number), sample.len()).map(|read| read == sample);
    let works: [(&str, Work<'_>); 2] = [("put large objects", &put), ("read large objects", &read)];
    let steps = if several > 1 { vec![1, several] } else { vec![1] };
    for in_flight in steps {
        for (what, work) in works {
            let numbers = 0..trial.options.large_objects;
            measured.extend(measure(trial, what, in_flight, numbers, sample.len(), work)?);
        }
    }
    Ok(())
}

/// Does something for each number, and notes how long it took; nothing is measured of nothing.
fn measure(
    trial: &Trial<'_>,
    what: &'static str,
    in_flight: usize,
    numbers: std::ops::Range<u32>,
    each_bytes: usize,
    work: Work<'_>,
) -> Result<Option<Measurement>, Doubt> {
    let (clock, requests) = (trial.options.clock, numbers.end.saturating_sub(numbers.start));
    if requests == 0 {
        return Ok(None);
    }
    let begun = clock();
    let each = trial.at_once(in_flight, requests, |number| {
        let begun = clock();
        let is_right = work(numbers.start + number)?;
        Ok((clock().saturating_sub(begun), is_right))
    })?;
    let took = clock().saturating_sub(begun);
    let wrong = each.iter().filter(|(_, is_right)| !is_right).count();
    expect(wrong == 0, || format!("{wrong} of {requests} had other bytes ({what}, {in_flight} at a time)"))?;
    let mut times: Vec<Duration> = each.into_iter().map(|(time, _)| time).collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    Ok(Some(Measurement { what, in_flight, requests, each_bytes: each_bytes as u64, took, median }))
}
