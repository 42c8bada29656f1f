//! A rate for each minute of the day.
//!
//! As text: `1MiB/s,08:00-18:00=200KiB/s,22:00-06:00=off`. The part without a time holds where no span does, and may be
//! left out; a span goes from its first minute to before its last one, also past midnight; of spans that overlap, the
//! later one in the text holds. A bare number is KiB a second, and `off` is no limit.

use crate::error::{Error, Result};
use crate::limits::RATE_SPANS;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// Bytes a second; none is no limit.
pub type Rate = Option<NonZeroU64>;

const MINUTES_OF_HOUR: u16 = 60;
const MINUTES_OF_DAY: u16 = 24 * MINUTES_OF_HOUR;
const DAY: Duration = Duration::from_secs(MINUTES_OF_DAY as u64 * 60);

/// What a bare number counts.
const BARE_UNIT_BYTES: u64 = 1 << 10;

/// The units of rates, with or without `/s`, in any case.
const UNITS: [(&str, u64); 8] = [
    ("", BARE_UNIT_BYTES),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

/// How rates are written, for whoever wrote one in another way.
const FORM: &str = "a limit is written as 500 (KiB a second), 2MiB/s or off, with spans of the day behind it: 1MiB/s,08:00-18:00=200KiB/s";

/// How many bytes may pass in a second, at each time of the day. By default there is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    otherwise: Rate,
    spans: Vec<Span>,
}

/// A part of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begin_minute: u16,
    /// The first minute that is not in it; before `begin_minute` when it passes midnight.
    end_minute: u16,
    rate: Rate,
}

impl Span {
    fn holds(&self, minute: u16) -> bool {
        let (after_begin, before_end) = (self.begin_minute <= minute, minute < self.end_minute);
        if self.begin_minute < self.end_minute {
            after_begin && before_end
        } else {
            after_begin || before_end
        }
    }
}

impl Schedule {
    /// The same rate at all times.
    pub fn constant(rate: Rate) -> Schedule {
        Schedule { otherwise: rate, spans: Vec::new() }
    }

    /// The rate at a time, counted from midnight.
    pub fn rate_at(&self, time_of_day: Duration) -> Rate {
        let minute = u16::try_from(time_of_day.as_secs() / 60 % u64::from(MINUTES_OF_DAY)).unwrap_or(0);
        self.spans.iter().rev().find(|span| span.holds(minute)).map_or(self.otherwise, |span| span.rate)
    }

    /// How long after a time, counted from midnight, the rate may change; never for one that is constant.
    pub fn changes_after(&self, time_of_day: Duration) -> Option<Duration> {
        let borders = self.spans.iter().flat_map(|span| [span.begin_minute, span.end_minute]);
        let waits = borders.map(|minute| {
            let (border, now) =
                (Duration::from_secs(u64::from(minute) * 60), time_of_day.as_nanos() % DAY.as_nanos());
            let wait = (border.as_nanos() + 2 * DAY.as_nanos() - now - 1) % DAY.as_nanos() + 1;
            Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
        });
        waits.min()
    }

    /// Whether there is no limit at any time.
    pub fn is_unlimited(&self) -> bool {
        self.otherwise.is_none() && self.spans.iter().all(|span| span.rate.is_none())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Schedule> {
        let mut schedule = Schedule::default();
        for (number, part) in text.split(',').map(str::trim).enumerate() {
            match part.split_once('=') {
                None if number == 0 => schedule.otherwise = rate(part)?,
                None => {
                    return Err(Error::invalid("a limit without a time has to come first:", part).hint(FORM));
                }
                Some(_) if schedule.spans.len() == RATE_SPANS => {
                    return Err(Error::invalid("more spans of the day than", RATE_SPANS.to_string()));
                }
                Some((times, limit)) => schedule.spans.push(span(times.trim(), limit.trim())?),
            }
        }
        Ok(schedule)
    }
}

fn span(times: &str, limit: &str) -> Result<Span> {
    let wrong = || Error::invalid("not a span of the day such as 22:00-06:00:", times).hint(FORM);
    let (begin, end) = times.split_once('-').ok_or_else(wrong)?;
    let begin_minute = minute(begin.trim()).filter(|begin| *begin < MINUTES_OF_DAY).ok_or_else(wrong)?;
    let end_minute = minute(end.trim()).ok_or_else(wrong)?;
    // Nobody can tell whether that would be nothing or a whole day.
    if begin_minute == end_minute {
        return Err(Error::invalid("a span of the day that ends where it begins:", times)
            .hint("a whole day is 00:00-24:00"));
    }
    Ok(Span { begin_minute, end_minute, rate: rate(limit)? })
}

/// The minute of the day; `24:00` is the end of it.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute).filter(|_| minute.len() == 2)?);
    let all = hour * MINUTES_OF_HOUR + minute;
    (minute < MINUTES_OF_HOUR && all <= MINUTES_OF_DAY).then_some(all)
}

fn rate(text: &str) -> Result<Rate> {
    let wrong = || Error::invalid("not a limit of bytes a second:", format!("{text:?}")).hint(FORM);
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let digits_end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("/s").unwrap_or(&unit);
    let (_, unit_bytes) = UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // Beyond what a u64 holds the number is no rate that anything could reach; it becomes the highest one.
    let bytes = (number * *unit_bytes as f64).round() as u64;
    NonZeroU64::new(bytes).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(number: u64) -> Rate {
        NonZeroU64::new(number)
    }

    fn at(hour: u64, minute: u64) -> Duration {
        Duration::from_secs((hour * 60 + minute) * 60)
    }

    #[test]
    fn rates_are_read() {
        for (text, expected) in [
            ("500", bytes(512_000)),
            ("1", bytes(1_024)),
            ("2MiB/s", bytes(2 << 20)),
            ("2 mib", bytes(2 << 20)),
            ("1.5MiB/s", bytes(3 << 19)),
            ("100B/s", bytes(100)),
            ("3kB/s", bytes(3_000)),
            ("10MB/s", bytes(10_000_000)),
            ("1GiB/s", bytes(1 << 30)),
            ("off", None),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule, Schedule::constant(expected), "{text}");
            assert_eq!((schedule.rate_at(at(3, 4)), schedule.changes_after(at(3, 4))), (expected, None));
        }
        for text in [
            "",
            "0",
            "0.0001B/s",
            "-1",
            "1e3",
            "inf",
            "nan",
            "1.2.3",
            ".",
            "MiB/s",
            "5 parsecs",
            "5/h",
            "1,2",
            "1,",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_hold_from_their_first_minute_to_before_their_last() {
        let schedule: Schedule =
            "1MiB/s, 08:00-18:00=200KiB/s, 22:00-06:00=off, 9:30-9:45=1".parse().unwrap();
        let (base, day) = (bytes(1 << 20), bytes(200 << 10));
        for (hour, minute, expected) in [
            (0, 0, None),
            (5, 59, None),
            (6, 0, base),
            (7, 59, base),
            (8, 0, day),
            (9, 29, day),
            (9, 30, bytes(1_024)),
            (9, 44, bytes(1_024)),
            (9, 45, day),
            (17, 59, day),
            (18, 0, base),
            (21, 59, base),
            (22, 0, None),
            (23, 59, None),
            (24, 0, None),
        ] {
            assert_eq!(schedule.rate_at(at(hour, minute)), expected, "{hour}:{minute:02}");
            assert_eq!(schedule.rate_at(at(hour, minute) + Duration::from_secs(59)), expected);
        }
        for (hour, minute, wait) in
            [(7, 0, at(1, 0)), (8, 0, at(1, 30)), (9, 44, at(0, 1)), (22, 0, at(8, 0)), (23, 0, at(7, 0))]
        {
            assert_eq!(schedule.changes_after(at(hour, minute)), Some(wait), "{hour}:{minute:02}");
        }
        assert!(!schedule.is_unlimited());
    }

    #[test]
    fn without_a_part_for_all_times_there_is_no_limit_between_spans() {
        let schedule: Schedule = "08:00-18:00=2MiB/s".parse().unwrap();
        assert_eq!((schedule.rate_at(at(7, 59)), schedule.rate_at(at(8, 0))), (None, bytes(2 << 20)));
        let whole: Schedule = "00:00-24:00=5".parse().unwrap();
        assert!((0..24).all(|hour| whole.rate_at(at(hour, 17)) == bytes(5 << 10)));
        assert!("off,08:00-09:00=off".parse::<Schedule>().unwrap().is_unlimited());
        for text in [
            "8-18=5",
            "08:00-08:00=5",
            "08:00=5",
            "24:00-06:00=5",
            "08:60-09:00=5",
            "08:00-25:00=5",
            "08:0-09:00=5",
            "08:00-09:00=",
            "5,08:00-09:00",
            "08:00-09:00=1,5",
            "+8:00-09:00=5",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
        assert!(vec!["08:00-09:00=5"; RATE_SPANS].join(",").parse::<Schedule>().is_ok());
        assert!(vec!["08:00-09:00=5"; RATE_SPANS + 1].join(",").parse::<Schedule>().is_err());
    }

    proptest! {
        #[test]
        fn a_rate_holds_until_it_may_change(
            spans in prop::collection::vec((0u16..1440, 0u16..=1440, 1u64..9), 0..6),
            time in 0u64..86_400_000,
        ) {
            let spans: Vec<Span> = spans.into_iter()
                .filter(|(begin, end, _)| begin != end)
                .map(|(begin_minute, end_minute, rate)| Span { begin_minute, end_minute, rate: bytes(rate) })
                .collect();
            let schedule = Schedule { otherwise: None, spans };
            let time = Duration::from_millis(time);
            let wait = schedule.changes_after(time).unwrap_or(DAY);
            prop_assert!(!wait.is_zero() && wait <= DAY);
            for part in 0..50 {
                prop_assert_eq!(schedule.rate_at(time + wait * part / 50), schedule.rate_at(time));
            }
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "[0-9:=,. offMKGiB/s-]{0,40}") {
            text.parse::<Schedule>().map(drop).unwrap_or(());
        }
    }
}
