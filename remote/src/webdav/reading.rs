//! Reading a part of an object (RFC 9110, section 14).
//!
//! Invariants: what is returned is exactly the range, cut off only where the server says that the object ends. A server may answer
//! with the whole object, or with a page about a folder: that is found out by asking what it is, and the bytes before the range are
//! passed over, up to a bound.

use super::WebDav;
use super::multistatus::What;
use super::requests::refused;
use crate::http::{ContentRange, Response, read_exactly, unsatisfied};
use crate::tree::missing;
use icecore::error::{Error, Kind, Result};
use icecore::limits::WEBDAV_SKIPPED_BYTES;
use icecore::name::ObjectName;
use reqwest::StatusCode;
use std::sync::atomic::Ordering;

impl WebDav {
    pub(super) async fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>> {
        // Beyond the numbers of most servers nothing has ever been stored.
        if length_bytes == 0 || i64::try_from(offset).is_err() {
            return self.size_of(name).await.map(|_| Vec::new());
        }
        if self.sends_all.load(Ordering::Relaxed) {
            return self.read_passing_over(name, offset, length_bytes).await;
        }
        let last = offset.saturating_add(length_bytes as u64 - 1).min(i64::MAX as u64);
        let response =
            self.dav().fetch(&self.dav().place.object(name.as_str()), Some((offset, last))).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.header("content-range").and_then(ContentRange::parse);
                self.read_partial(name, response, range, offset, length_bytes).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let size = response.header("content-range").and_then(unsatisfied);
                drop(response);
                let size = match size {
                    Some(size) => size,
                    None => self.size_of(name).await?,
                };
                match size <= offset {
                    true => Ok(Vec::new()),
                    false => Err(contradiction("it refuses a range that lies within the object")),
                }
            }
            StatusCode::OK => {
                drop(response);
                self.read_passing_over(name, offset, length_bytes).await
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(missing(name)),
            status => {
                let error = refused(response, "cannot fetch").await;
                // How a server refuses to give a folder's content, is its own affair.
                let may_be_folder =
                    status.is_redirection() || matches!(status.as_u16(), 400 | 403 | 405 | 409);
                if may_be_folder {
                    self.size_of(name).await?;
                }
                Err(error)
            }
        }
    }

    /// The length of an object.
    async fn size_of(&self, name: &ObjectName) -> Result<u64> {
        match self.dav().what(&self.dav().place.object(name.as_str())).await? {
            Some(What::Object { size_bytes }) => Ok(size_bytes),
            _ => Err(missing(name)),
        }
    }

    async fn read_partial(
        &self,
        name: &ObjectName,
        response: Response,
        range: Option<ContentRange>,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>> {
        let range = range.ok_or_else(|| contradiction("it does not say which part it sends"))?;
        let count = usize::try_from(range.length).ok().filter(|count| *count <= length_bytes);
        let (true, Some(count)) = (range.first == offset, count) else {
            return Err(contradiction("it sends another part than was asked for"));
        };
        let bytes = read_exactly(response, count).await?;
        if count < length_bytes {
            let end = offset + count as u64;
            let size = match range.size {
                Some(size) => size,
                None => self.size_of(name).await?,
            };
            if size != end {
                return Err(contradiction("it sends less than was asked for"));
            }
        }
        Ok(bytes)
    }

    /// Fetches from the start, and passes over what was not asked for.
    async fn read_passing_over(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>> {
        let size = self.size_of(name).await?;
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(length_bytes);
        if length == 0 {
            return Ok(Vec::new());
        }
        if offset > WEBDAV_SKIPPED_BYTES {
            return Err(Error::new(Kind::Unsupported, "the server cannot begin in the middle of an object"));
        }
        let mut response = self.dav().fetch(&self.dav().place.object(name.as_str()), None).await?;
        match response.status() {
            StatusCode::OK => (),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(missing(name)),
            _ => return Err(refused(response, "cannot fetch").await),
        }
        let announced = response.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced != size) {
            return Err(contradiction("it sends another length than the object has"));
        }
        self.sends_all.store(true, Ordering::Relaxed);
        let (mut skip, mut bytes) = (offset, Vec::with_capacity(length));
        while bytes.len() < length {
            let Some(chunk) = response.chunk().await? else {
                return Err(contradiction("the object ended before its end"));
            };
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= passed as u64;
            let wanted = (length - bytes.len()).min(chunk.len() - passed);
            bytes.extend_from_slice(&chunk[passed..passed + wanted]);
        }
        Ok(bytes)
    }
}

fn contradiction(what: &str) -> Error {
    Error::new(Kind::Io, "the server contradicts itself:").on(what).retry_later()
}
