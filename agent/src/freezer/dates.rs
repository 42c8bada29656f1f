//! Dates, as Freezer 19.0.0 takes them: ISO 8601 with a zone, or without one, which means UTC there and the machine's own time in
//! every release before.

use super::values::Values;
use icecore::error::{Error, Result};
use icecore::time::Timestamp;
use jiff::tz::TimeZone;

/// Seconds of a day.
const DAY_SECONDS: f64 = 86_400.0;

/// The date that an option says; nothing when it says none.
///
/// # Errors
/// `Invalid` for what is no date.
pub fn of(values: &Values, option: &str) -> Result<Option<Timestamp>> {
    let zone = match values.text("naive-dates").as_deref() {
        Some("local") => TimeZone::system(),
        _ => TimeZone::UTC,
    };
    let date = |text: String| {
        parse(text.trim(), &zone).ok_or_else(|| {
            Error::invalid(
                format!("not a date such as 2026-11-24T18:00:00 or 2026-11-24T18:00:00+02:00: {text:?}:"),
                format!("--{option}"),
            )
        })
    };
    values.text(option).map(date).transpose()
}

fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(time.as_second()));
    }
    // What names a zone in another way is not read as if it named none.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.,T ".contains(&byte));
    let local = text.parse::<jiff::civil::DateTime>().ok().filter(|_| is_plain)?;
    zone.to_timestamp(local).ok().map(|time| Timestamp(time.as_second()))
}

/// The time so many days before `now`.
///
/// # Errors
/// `Invalid` for what is below zero, or further back than there are times.
pub fn days_before(now: Timestamp, days: f64) -> Result<Timestamp> {
    let seconds = days * DAY_SECONDS;
    if !(seconds >= 0.0 && seconds < now.0 as f64) {
        return Err(Error::invalid(
            "not a number of days back to a time since 1970:",
            format!("--remove-older-than {days}"),
        ));
    }
    Ok(Timestamp(now.0 - seconds as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_a_zone_or_are_in_the_one_that_is_meant() {
        let two = TimeZone::fixed(jiff::tz::offset(2));
        for (text, in_utc, in_two) in [
            ("2026-11-24T18:00:00", 1_795_543_200, 1_795_536_000),
            ("2026-11-24T18:00:00.75", 1_795_543_200, 1_795_536_000),
            ("2026-11-24 18:00", 1_795_543_200, 1_795_536_000),
            ("2026-11-24", 1_795_478_400, 1_795_471_200),
            ("2026-11-24T18:00:00Z", 1_795_543_200, 1_795_543_200),
            ("2026-11-24T18:00:00+02:00", 1_795_536_000, 1_795_536_000),
            ("2026-11-24T18:00:00+0200", 1_795_536_000, 1_795_536_000),
            ("1970-01-01T00:00:00", 0, -7200),
        ] {
            assert_eq!(parse(text, &TimeZone::UTC), Some(Timestamp(in_utc)), "{text}");
            assert_eq!(parse(text, &two), Some(Timestamp(in_two)), "{text}");
        }
        for text in
            ["", "yesterday", "2026-13-01T00:00:00", "2026-11-24T18:00:00[Europe/Berlin]", "24.11.2026"]
        {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
    }

    #[test]
    fn days_are_counted_back_from_now() {
        let now = Timestamp(1_795_543_200);
        assert_eq!(days_before(now, 0.0).unwrap(), now);
        assert_eq!(days_before(now, 0.5).unwrap(), Timestamp(now.0 - 43_200));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(days_before(now, wrong).is_err(), "{wrong}");
        }
    }
}
