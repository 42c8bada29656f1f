//! Rows of listings: those of MLSD (RFC 3659), which are made for programs, and those of LIST, which look as `ls -l` does.
//!
//! Invariant: a row either says for sure what it is and how it is called, byte for byte, or it is no row.

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// The folder that is listed, or the one above it.
    Itself,
    /// A link, a device and the like.
    Other,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub sort: Sort,
    /// How it is called, in the bytes of the server.
    pub name: Vec<u8>,
    /// How long it is, if the row says so.
    pub size_bytes: Option<u64>,
    /// When it was changed, in seconds since 1970, if the row says so for sure.
    pub modified: Option<i64>,
}

/// A row of MLSD, or the one of MLST: `type=file;size=3; name`.
pub fn facts_row(line: &[u8]) -> Option<Row> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (facts, name) = (std::str::from_utf8(&line[..space]).ok()?, &line[space + 1..]);
    let (mut sort, mut size_bytes, mut modified) = (None, None, None);
    for fact in facts.split(';').filter(|fact| !fact.is_empty()) {
        let (key, value) = fact.split_once('=')?;
        match key.to_ascii_lowercase().as_str() {
            "type" => sort = Some(sort_of(value)),
            "size" => size_bytes = Some(digits(value)?),
            "modify" => modified = time_value(value),
            _ => {}
        }
    }
    let name = Some(name.to_vec()).filter(|name| !name.is_empty())?;
    Some(Row { sort: sort?, name, size_bytes, modified })
}

fn sort_of(value: &str) -> Sort {
    match value.to_ascii_lowercase().as_str() {
        "file" => Sort::File,
        "dir" => Sort::Folder,
        "cdir" | "pdir" => Sort::Itself,
        _ => Sort::Other,
    }
}

/// A row of LIST: `-rw-r--r-- 1 owner group 3 Nov 28 09:31 name`. What it says of times is not sure: neither zone nor second.
pub fn unix_row(line: &[u8]) -> Option<Row> {
    let first = *line.first()?;
    let mode_is_one = line.get(1..10)?.iter().all(|byte| b"rwxsStTlL-".contains(byte));
    // Behind the mode there may be a sign for what it does not say.
    if !mode_is_one || !matches!(line.get(10)?, b' ' | b'+' | b'.' | b'@') {
        return None;
    }
    let (size_bytes, name) = size_and_name(line.get(11..)?)?;
    let itself = name == b"." || name == b"..";
    let sort = match first {
        b'd' if itself => Sort::Itself,
        b'd' => Sort::Folder,
        b'-' => Sort::File,
        b'l' | b'b' | b'c' | b'p' | b's' | b'D' => Sort::Other,
        _ => return None,
    };
    Some(Row { sort, name: name.to_vec(), size_bytes: Some(size_bytes), modified: None })
}

/// What stands around the first date: the number before it, and all that is behind it and one space. Owners and groups may
/// be missing, or have spaces; a name cannot come before the date.
fn size_and_name(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut words: Vec<(usize, &[u8])> = Vec::new();
    let mut at = 0;
    while at < line.len() {
        if line[at] == b' ' {
            at += 1;
            continue;
        }
        let end = line[at..].iter().position(|byte| *byte == b' ').map_or(line.len(), |length| at + length);
        words.push((end, &line[at..end]));
        at = end;
        if let [.., size, month, day, year] = words.as_slice()
            && is_date(month.1, day.1, year.1)
            && let Some(size_bytes) = std::str::from_utf8(size.1).ok().and_then(digits)
        {
            let name = line.get(year.0 + 1..).filter(|name| !name.is_empty())?;
            return Some((size_bytes, name));
        }
    }
    None
}

fn is_date(month: &[u8], day: &[u8], year: &[u8]) -> bool {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let number = |word: &[u8], lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&word.len()) && word.iter().all(u8::is_ascii_digit)
    };
    let is_clock = |word: &[u8]| {
        word.iter()
            .position(|byte| *byte == b':')
            .is_some_and(|colon| number(&word[..colon], 1..=2) && number(&word[colon + 1..], 2..=2))
    };
    MONTHS.iter().any(|known| known.eq_ignore_ascii_case(month))
        && number(day, 1..=2)
        && (number(year, 4..=4) || is_clock(year))
}

/// Whether a line of LIST stands before the rows: `total 8`.
pub fn is_total(line: &[u8]) -> bool {
    line.strip_prefix(b"total ")
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(|b| b.is_ascii_digit() || *b == b' '))
}

/// A number in digits, nothing else.
pub fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Seconds since 1970 of `YYYYMMDDHHMMSS[.sss]`, which is in UTC (RFC 3659, 2.3).
pub fn time_value(text: &str) -> Option<i64> {
    let whole = text.split('.').next()?;
    if whole.len() != 14 {
        return None;
    }
    let number =
        |from: usize, to: usize| digits(whole.get(from..to)?).and_then(|number| i64::try_from(number).ok());
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days between 1970-01-01 and a date of the Gregorian calendar from year 0 on: years are counted from March, so that the day
/// that comes every four years is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Months from March on have 31, 30, 31, 30, 31 days, and again.
    let of_months = (month * 153 + 2) / 5;
    year * 365 + leap_days + of_months + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(sort: Sort, name: &str, size_bytes: Option<u64>, modified: Option<i64>) -> Option<Row> {
        Some(Row { sort, name: name.into(), size_bytes, modified })
    }

    #[test]
    fn facts_say_what_a_row_is() {
        let line = b"modify=20261128093133;perm=r;size=12;type=file;unique=1a; a b ";
        assert_eq!(facts_row(line), row(Sort::File, "a b ", Some(12), Some(1_795_858_293)));
        assert_eq!(facts_row(b"Type=dir;  x"), row(Sort::Folder, " x", None, None));
        assert_eq!(facts_row(b"type=cdir; /x"), row(Sort::Itself, "/x", None, None));
        assert_eq!(facts_row(b"type=OS.unix=slink:/y; x"), row(Sort::Other, "x", None, None));
        for bad in [
            &b""[..],
            b"x",
            b" x",
            b"type=file;",
            b"type=file; ",
            b"size=1; x",
            b"type=file;size=-1; x",
            b"type; x",
        ] {
            assert_eq!(facts_row(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn rows_of_a_unix_listing_are_told_by_their_date() {
        let of = |line: &str| unix_row(line.as_bytes());
        let line = "-rw-r--r--    1 65534    65534           5 Nov 28 09:31  x y ";
        assert_eq!(of(line), row(Sort::File, " x y ", Some(5), None));
        let line = "drwxr-xr-x+ 2 domain users 4096 Jan  1  2025 Jan 1 2026 x";
        assert_eq!(of(line), row(Sort::Folder, "Jan 1 2026 x", Some(4096), None));
        assert_eq!(of("drwx------ 2 a b 0 jan 01 9:00 ."), row(Sort::Itself, ".", Some(0), None));
        assert_eq!(
            of("-rw------- 1 owner 7 Feb 30 10:00 no group"),
            row(Sort::File, "no group", Some(7), None)
        );
        let line = "lrwxrwxrwx 1 a b 3 Nov 28 09:31 x -> y";
        assert_eq!(of(line), row(Sort::Other, "x -> y", Some(3), None));
        for bad in [
            "",
            "total 8",
            "x",
            "-rw-r--r-- 1 a b 5 Nov 28 09:31",
            "-rw-r--r-- 1 a b 5 Nov 28 09:31 ",
            "-rw-r--r-- 1 a b 5 2026-11-28 09:31 x",
            "-rw-r--r-- 1 a b -5 Nov 28 09:31 x",
            "?rw-r--r-- 1 a b 5 Nov 28 09:31 x",
            "11-28-26  09:31AM       <DIR>          x",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert!(is_total(b"total 12") && !is_total(b"total") && !is_total(b"total x"));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time_value("19700101000000"), Some(0));
        assert_eq!(time_value("20000229123456.789"), Some(951_827_696));
        assert_eq!(time_value("19691231235959"), Some(-1));
        assert_eq!(time_value("20380119031408"), Some(1 << 31));
        for bad in [
            "",
            "2026",
            "20261328000000",
            "20261100000000",
            "20261128240000",
            "2026112809313x",
            "202611280931334",
        ] {
            assert_eq!(time_value(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_are(name in "[^\u{0}\r\n]{1,40}", size in any::<u64>()) {
            let line = format!("type=file;size={size}; {name}");
            prop_assert_eq!(facts_row(line.as_bytes()), row(Sort::File, &name, Some(size), None));
            let line = format!("-rw-r--r--    1 0        0        {size:>10} Nov 28 09:31 {name}");
            prop_assert_eq!(unix_row(line.as_bytes()), row(Sort::File, &name, Some(size), None));
        }

        #[test]
        fn whatever_comes_is_a_row_or_none(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for row in [facts_row(&line), unix_row(&line)].into_iter().flatten() {
                prop_assert!(!row.name.is_empty() && line.ends_with(&row.name));
            }
            time_value(&String::from_utf8_lossy(&line));
        }

        #[test]
        fn days_follow_each_other(days in -700_000i64..3_000_000) {
            let timestamp = icecore::time::Timestamp(days * 86_400).rfc3339();
            if timestamp.len() == 20 {
                let plain: String = timestamp.chars().filter(char::is_ascii_digit).collect();
                prop_assert_eq!(time_value(&plain), Some(days * 86_400));
            }
        }
    }
}
