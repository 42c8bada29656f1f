//! The limits with a clock that moves only when somebody sleeps.

use super::*;
use crate::storage::memory::Memory;
use proptest::prelude::*;
use std::num::NonZeroU64;

/// A clock that moves only when somebody sleeps, and began at a time of the day.
#[derive(Default)]
struct Sleepless {
    now: Mutex<Duration>,
    begun: Duration,
}

impl Clock for Sleepless {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }
    fn time_of_day(&self) -> Duration {
        let seconds = (self.begun + self.now()).as_nanos() % (86_400 * PER_BYTE);
        Duration::from_nanos(seconds as u64)
    }
    fn sleep(&self, wait: Duration) {
        *self.now.lock().unwrap() += wait;
    }
}

fn storage(up: Schedule, down: Schedule, begun: Duration) -> (Throttle, Arc<Sleepless>) {
    let clock = Arc::new(Sleepless { begun, ..Sleepless::default() });
    (Throttle::new(Arc::new(Memory::new()), Rates { up, down }, clock.clone()), clock)
}

fn constant(bytes_per_second: u64) -> Schedule {
    Schedule::constant(NonZeroU64::new(bytes_per_second))
}

fn name() -> ObjectName {
    ObjectName::new("a").unwrap()
}

#[test]
fn each_direction_takes_its_own_time() {
    let (storage, clock) = storage(constant(1_000), constant(500), Duration::ZERO);
    storage.put(&name(), &[1; 3_000], PutMode::CreateNew).unwrap();
    assert_eq!(clock.now(), Duration::from_secs(3));
    assert_eq!(storage.read(&name(), 0, 9_999).unwrap().len(), 3_000);
    // One second saved up while the other direction was busy.
    assert_eq!(clock.now(), Duration::from_secs(3 + 6 - 1));
}

#[test]
fn a_writer_is_limited_and_its_bytes_stay_in_order() {
    let (storage, clock) = storage(constant(1_000), Schedule::default(), Duration::ZERO);
    let bytes: Vec<u8> = (0..2_500u32).map(|n| n as u8).collect();
    let mut writer = storage.writer(&name(), PutMode::CreateNew).unwrap();
    writer.write(&bytes).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    assert_eq!(clock.now(), Duration::from_secs(5));
    assert_eq!(storage.read(&name(), 0, 9_999).unwrap(), [bytes.clone(), bytes].concat());
    assert_eq!(clock.now(), Duration::from_secs(5), "no limit, no wait");
}

/// How long a put takes that begins at a time of the day.
fn takes(schedule: &str, hour: u64, minute: u64, second: u64, length_bytes: usize) -> f64 {
    let begun = Duration::from_secs((hour * 60 + minute) * 60 + second);
    let (storage, clock) = storage(schedule.parse().unwrap(), Schedule::default(), begun);
    storage.put(&name(), &vec![0; length_bytes], PutMode::CreateNew).unwrap();
    clock.now().as_secs_f64()
}

#[test]
fn what_is_owed_when_a_span_begins_is_paid_at_its_rate() {
    let schedule = "1000B/s,08:00-18:00=4000B/s,22:00-06:00=off";
    for (hour, minute, second, length_bytes, expected) in [
        // Within one rate.
        (7, 0, 0, 10_000, 10.0),
        (9, 0, 0, 10_000, 2.5),
        (23, 0, 0, 10_000, 0.0),
        // Two seconds at the old rate, the rest at the new one.
        (7, 59, 58, 10_000, 2.0 + 8_000.0 / 4_000.0),
        (17, 59, 58, 10_000, 2.0 + 2_000.0 / 1_000.0),
        // What is owed when the limit ends passes at once.
        (21, 59, 55, 1_000_000, 5.0),
        // Through a whole span: two hours, ten hours, and half an hour beyond.
        (6, 0, 0, 2 * 3_600_000 + 10 * 14_400_000 + 1_800_000, 12.5 * 3_600.0),
    ] {
        let took = takes(schedule, hour, minute, second, length_bytes);
        assert!((took - expected).abs() < 1e-6, "{length_bytes} at {hour}:{minute}:{second} took {took}");
    }
}

#[test]
fn nothing_is_saved_up_while_there_is_no_limit() {
    let begun = Duration::from_secs(7 * 3_600);
    let (storage, clock) = storage("08:00-18:00=1000B/s".parse().unwrap(), Schedule::default(), begun);
    storage.put(&name(), &[0; 50_000], PutMode::Replace).unwrap();
    assert_eq!(clock.now(), Duration::ZERO);
    clock.sleep(Duration::from_secs(3_600));
    storage.put(&name(), &[0; 2_000], PutMode::Replace).unwrap();
    assert_eq!(clock.now(), Duration::from_secs(3_602));
    clock.sleep(Duration::from_secs(60));
    storage.put(&name(), &[0; 2_000], PutMode::Replace).unwrap();
    assert_eq!(clock.now(), Duration::from_secs(3_663), "a second's worth is");
}

/// A clock of which every sleep ends at once, since the user wants to stop.
struct Stopping;

impl Clock for Stopping {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn time_of_day(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _wait: Duration) {}
}

#[test]
fn who_asks_to_stop_is_not_kept() {
    let rates = Rates { up: "1B/s,08:00-09:00=2B/s".parse().unwrap(), down: Schedule::default() };
    let storage = Throttle::new(Arc::new(Memory::new()), rates, Arc::new(Stopping));
    storage.put(&name(), &[0; 1_000_000], PutMode::CreateNew).unwrap();
}

fn wait(bucket: &mut Bucket, length_bytes: u64, now: Duration) -> Duration {
    bucket.advance(bucket.rate, now);
    let ticket = bucket.take(length_bytes);
    bucket.wait(ticket)
}

proptest! {
    #[test]
    fn no_span_of_time_sees_more_than_the_rate_and_a_burst(
        rate in 1u64..1_000_000,
        calls in prop::collection::vec((0u64..2_000_000, 0u64..3_000), 1..60),
    ) {
        let (mut bucket, mut now) = (Bucket::new(NonZeroU64::new(rate)), Duration::ZERO);
        let mut passed: Vec<(Duration, u64)> = Vec::new();
        for (length_bytes, idle_ms) in calls {
            now += Duration::from_millis(idle_ms);
            now += wait(&mut bucket, length_bytes, now);
            passed.push((now, length_bytes));
        }
        // Every span that ends with a call: what passed in it was paid for, but for a second's worth and its first call.
        for end in 0..passed.len() {
            let mut bytes = 0u128;
            for start in (0..=end).rev() {
                let span = passed[end].0 - passed[start].0 + BURST;
                let allowed = u128::from(rate) * span.as_nanos() / 1_000_000_000 + 1;
                prop_assert!(bytes <= allowed, "{bytes} in {span:?} at {rate}");
                bytes += u128::from(passed[start].1);
            }
        }
    }

    #[test]
    fn a_busy_bucket_is_not_slower_than_its_rate(rate in 1u64..1_000_000, calls in prop::collection::vec(0u64..100_000, 1..50)) {
        let (mut bucket, mut now) = (Bucket::new(NonZeroU64::new(rate)), Duration::ZERO);
        for length_bytes in &calls {
            now += wait(&mut bucket, *length_bytes, now);
        }
        let all = u128::from(calls.iter().sum::<u64>()) * PER_BYTE;
        let price = all.div_ceil(u128::from(rate));
        prop_assert!(now.as_nanos() <= price + calls.len() as u128);
    }

    /// A storage that is always busy passes what its schedule allows, minute by minute, and no more.
    #[test]
    fn a_busy_day_passes_what_its_schedule_allows(
        otherwise in 1u64..500,
        spans in prop::collection::vec((0u64..1440, 1u64..1440, 1u64..500), 0..4),
        begun_second in 0u64..86_400,
        calls in prop::collection::vec(0usize..400_000, 1..8),
    ) {
        let mut text = format!("{otherwise}B/s");
        for (begin, length, rate) in spans {
            let end = (begin + length) % 1440;
            text += &format!(",{:02}:{:02}-{:02}:{:02}={rate}B/s", begin / 60, begin % 60, end / 60, end % 60);
        }
        let schedule: Schedule = text.parse().unwrap();
        let begun = Duration::from_secs(begun_second);
        let (storage, clock) = storage(schedule.clone(), Schedule::default(), begun);
        for length_bytes in &calls {
            storage.put(&name(), &vec![0; *length_bytes], PutMode::Replace).unwrap();
        }
        // The sum over the minutes of the clock, the first and the last of which are parts.
        let (mut allowed, mut at) = (0u128, Duration::ZERO);
        while at < clock.now() {
            let next = Duration::from_secs(((begun + at).as_secs() / 60 + 1) * 60) - begun;
            let next = next.min(clock.now());
            allowed += per_time(schedule.rate_at(begun + at), next - at);
            at = next;
        }
        let passed = calls.iter().sum::<usize>() as u128 * PER_BYTE;
        prop_assert!(passed <= allowed, "{passed} > {allowed}");
        // Each call may wait up to a nanosecond too long.
        prop_assert!(allowed - passed <= 500 * calls.len() as u128, "{passed} < {allowed}");
    }
}
