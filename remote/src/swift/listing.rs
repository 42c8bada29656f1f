//! Listings of a container, page by page.
//!
//! Invariants: a listing ends with an empty page; a short one may be short for other reasons. Names only grow; a listing in which they do not is an
//! error, since rows may be missing in it.

use super::account::{Account, Call};
use super::names::{path, query};
use crate::http::{failed, read_body_limited};
use icecore::error::{Error, Kind, Result};
use reqwest::header::{DATE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

/// A page: Swift puts ten thousand rows into one, with names of up to a thousand bytes.
pub const PAGE_BYTES: usize = 64 << 20;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// An object.
    Object {
        /// Its name in the container.
        name: String,
        /// Its length, as the listing has it: 0 for a manifest.
        bytes: u64,
        /// When it was written, in seconds since the epoch.
        written: i64,
    },
    /// A folder, with the slash at its end.
    Folder(String),
}

impl Row {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Row::Object { name, .. } | Row::Folder(name) => name,
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    name: Option<String>,
    subdir: Option<String>,
    bytes: Option<u64>,
    last_modified: Option<String>,
}

/// The rows of a page.
///
/// # Errors
/// `Io` that may pass when it is none: it may have been cut short.
pub fn parse(page: &[u8]) -> Result<Vec<Row>> {
    let wrong = || Error::new(Kind::Io, "the server's listing cannot be understood").retry_later();
    let raw: Vec<Raw> = serde_json::from_slice(page).map_err(|e| wrong().because(e))?;
    let row = |raw: Raw| match (raw.name, raw.subdir, raw.bytes) {
        (Some(name), None, Some(bytes)) => Ok(Row::Object {
            name,
            bytes,
            written: seconds(raw.last_modified.as_deref()).unwrap_or(i64::MAX),
        }),
        (None, Some(folder), _) => Ok(Row::Folder(folder)),
        _ => Err(wrong()),
    };
    raw.into_iter().map(row).collect()
}

/// Swift writes times in UTC without saying so. What cannot be read counts as just written.
fn seconds(text: Option<&str>) -> Option<i64> {
    let text = text?.trim_end_matches('Z');
    format!("{text}Z").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// The pages of the names that begin in the same way.
pub struct Pages {
    container: String,
    prefix: String,
    children: bool,
    marker: String,
    ended: bool,
    full: Option<usize>,
    /// The server's time at the last page, in seconds since the epoch.
    pub now: Option<i64>,
}

impl Pages {
    /// All names that begin with `prefix`; with `children`, what is behind the next slash is one row.
    pub fn new(container: &str, prefix: &str, children: bool) -> Pages {
        let (container, prefix) = (container.to_owned(), prefix.to_owned());
        Pages { container, prefix, children, marker: String::new(), ended: false, full: None, now: None }
    }

    /// Takes a page of fewer rows than this for the last: for listings of few rows that are made again and again.
    #[must_use]
    pub fn with_full_page(self, rows: Option<usize>) -> Pages {
        Pages { full: rows, ..self }
    }

    /// The next page; `None` behind the last.
    ///
    /// # Errors
    /// `NotFound` when there is no container; otherwise as the connection has it.
    pub async fn next(&mut self, account: &Account) -> Result<Option<Vec<Row>>> {
        if self.ended {
            return Ok(None);
        }
        let mut wanted = format!("format=json&prefix={}&marker={}", query(&self.prefix), query(&self.marker));
        if self.children {
            wanted.push_str("&delimiter=%2F");
        }
        let json = HeaderValue::from_static("application/json");
        let call = Call::new(Method::GET, path(&self.container, "")).query(wanted);
        let response = account.send(&call.header(reqwest::header::ACCEPT, json)).await?;
        self.now = response.header(DATE.as_str()).and_then(http_date);
        let rows = match response.status() {
            StatusCode::OK => parse(&read_body_limited(response, PAGE_BYTES).await?)?,
            StatusCode::NO_CONTENT => Vec::new(),
            _ => return Err(failed(response, "cannot list the container").await),
        };
        for row in &rows {
            if !row.name().starts_with(&self.prefix) || row.name() <= self.marker.as_str() {
                let what = "the server's listing is in disorder: rows may be missing";
                return Err(Error::new(Kind::Io, what).retry_later());
            }
            row.name().clone_into(&mut self.marker);
        }
        self.ended = rows.is_empty() || self.full.is_some_and(|full| rows.len() < full);
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form in use.
fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_objects_and_folders() {
        let page = br#"[{"name": "a/b", "bytes": 7, "hash": "x", "last_modified": "2026-11-28T09:00:00.123456", "content_type": "t"},
            {"subdir": "a/c/"}]"#;
        let object = Row::Object { name: "a/b".into(), bytes: 7, written: 1_795_856_400 };
        assert_eq!(parse(page).unwrap(), [object, Row::Folder("a/c/".into())]);
    }

    #[test]
    fn a_page_that_was_cut_short_is_an_error() {
        let page = br#"[{"name": "a", "bytes": 7}, {"subdir": "b/"}]"#;
        for end in 0..page.len() {
            assert!(parse(&page[..end]).is_err(), "{end}");
        }
        for page in [&b"{}"[..], b"[{}]", br#"[{"name": "a"}]"#, br#"[{"name": "a", "bytes": -1}]"#] {
            assert!(parse(page).is_err());
        }
    }

    #[test]
    fn dates_of_headers_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("yesterday"), None);
    }

    proptest! {
        #[test]
        fn any_page_is_rows_or_an_error(page: Vec<u8>) {
            parse(&page).ok();
        }

        #[test]
        fn odd_names_come_back(name in "[^\0]{1,50}", bytes: u64) {
            let page = serde_json::json!([{"name": name, "bytes": bytes}]).to_string();
            prop_assert_eq!(parse(page.as_bytes()).unwrap(), [Row::Object { name, bytes, written: i64::MAX }]);
        }
    }
}
