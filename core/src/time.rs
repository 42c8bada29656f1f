//! Points in time: whole seconds that name backups, nanoseconds that belong to files.
//!
//! Core never reads a clock; callers say what time it is.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z, as Freezer names backups. Printed and parsed as a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Timestamp {
    /// Parses the decimal form used in object names: digits only, no sign, at most 18 of them.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok().map(Timestamp)).flatten()
    }

    /// RFC 3339 in UTC, for people and JSON.
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => time.to_string(),
            Err(_) => format!("@{}", self.0),
        }
    }
}

/// A time of a file: seconds since the epoch (negative before it) and nanoseconds in `0..1_000_000_000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Whole seconds, rounded towards minus infinity.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl FileTime {
    /// A time from its two parts.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        debug_assert!(nanoseconds < 1_000_000_000);
        FileTime { seconds, nanoseconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_names_are_timestamps() {
        assert_eq!(Timestamp::parse("1795485914"), Some(Timestamp(1795485914)));
        for bad in ["", "lost+found", "-1", "+1", "1 ", "1234567890123456789"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad:?}");
        }
    }
}
