//! The containers of an account, with how much is in each, as the account counts.
//!
//! Invariants, as of every listing: it ends with an empty page, and names only grow.

use super::account::{Account, Call};
use super::listing::PAGE_BYTES;
use super::names::query;
use crate::http::{failed, read_body_limited};
use crate::{Content, Holding};
use icecore::error::{Error, Kind, Result};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

#[derive(Deserialize)]
struct Raw {
    name: String,
    count: u64,
    bytes: u64,
}

/// All of them.
///
/// # Errors
/// `Limit` for more than anybody has; otherwise as the connection has it.
pub async fn all(account: &Account) -> Result<Vec<Holding>> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let call = Call::new(Method::GET, String::new())
            .query(format!("format=json&marker={}", query(&marker)))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        let response = account.send(&call).await?;
        let page = match response.status() {
            StatusCode::OK => parse(&read_body_limited(response, PAGE_BYTES).await?)?,
            StatusCode::NO_CONTENT => Vec::new(),
            _ => return Err(failed(response, "cannot list the account").await),
        };
        for holding in &page {
            if holding.name <= marker {
                let what = "the server's listing is in disorder: rows may be missing";
                return Err(Error::new(Kind::Io, what).retry_later());
            }
            marker.clone_from(&holding.name);
        }
        if page.is_empty() {
            return Ok(all);
        }
        crate::add(&mut all, page)?;
    }
}

fn parse(page: &[u8]) -> Result<Vec<Holding>> {
    let wrong = || Error::new(Kind::Io, "the server's listing cannot be understood").retry_later();
    let raw: Vec<Raw> = serde_json::from_slice(page).map_err(|e| wrong().because(e))?;
    let holding = |raw: Raw| Holding {
        name: raw.name,
        content: Some(Content { objects: raw.count, bytes: raw.bytes }),
    };
    Ok(raw.into_iter().map(holding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn containers_have_a_name_and_figures() {
        let page =
            br#"[{"name": "a", "count": 2, "bytes": 14, "last_modified": "2026-11-28T09:00:00.123456"}]"#;
        let content = Some(Content { objects: 2, bytes: 14 });
        assert_eq!(parse(page).unwrap(), [Holding { name: "a".to_owned(), content }]);
        for end in 0..page.len() {
            assert!(parse(&page[..end]).is_err(), "{end}");
        }
        for page in
            [&b"{}"[..], b"[{}]", br#"[{"name": "a"}]"#, br#"[{"name": "a", "count": -1, "bytes": 1}]"#]
        {
            assert!(parse(page).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_page_is_rows_or_an_error(page: Vec<u8>) {
            parse(&page).ok();
        }
    }
}
