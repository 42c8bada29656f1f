//! One container of an account: objects put, read and looked at, one request each, or one a segment.

use super::account::{Account, Call, Info};
use super::creation::{GATES, give_all_back};
use super::manifest::{Head, MANIFEST, Table, head, read_head};
use super::names::{Place, path};
use crate::access::Timeouts;
use crate::bridge;
use crate::http::{Response, failed, read_exactly};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::Stat;
use icecore::storage::retry::Patience;
use md5::{Digest, Md5};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, RANGE,
};
use reqwest::{Method, StatusCode};
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

/// Long objects whose segments are remembered: more than are read at once.
const TABLES: usize = 8;
/// What is read of an object whose server does not know ranges.
const WITHOUT_RANGES_BYTES: u64 = 32 << 20;

/// A container, and all that is needed to use it from several threads.
pub struct Container {
    /// Whose it is.
    pub account: Account,
    /// Which one, and where in it.
    pub place: Place,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again what only this driver can.
    pub patience: Patience,
    /// For what the user should know.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
    /// What the cluster can do.
    pub info: Info,
    /// The length of segments.
    pub segment_bytes: usize,
    /// Segments of one object that are under way at a time.
    pub in_flight: usize,
    /// Requests of a listing that are under way at a time.
    pub connections: usize,
    /// Before them those of this process wait who create one object.
    pub gates: [tokio::sync::Mutex<()>; GATES],
    /// Tickets of this process that could not be taken back.
    pub abandoned: Mutex<HashSet<String>>,
    /// Tickets that have served, and are given back later.
    pub served: Mutex<Vec<String>>,
    /// Segments of long objects that were read.
    pub tables: Mutex<VecDeque<(String, Arc<Table>)>>,
}

impl Drop for Container {
    fn drop(&mut self) {
        run(async {
            give_all_back(self).await;
            Ok(())
        })
        .unwrap_or(());
    }
}

/// What a read came upon.
enum Got {
    Bytes(Vec<u8>),
    Manifest,
}

/// Runs requests; each of them is bounded by the deadlines of [`crate::http`].
///
/// # Errors
/// Those of the work.
pub fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    bridge::runtime()?.block_on(work)
}

/// The checksum that Swift compares.
pub fn checksum(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value of a header made of what is known to be fit for one.
///
/// # Errors
/// `Invalid` when it is not.
pub fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Error::invalid("cannot be said in a header:", format!("{text:?}")))
}

impl Container {
    /// Stores an object whole; with `only_new` not over another that is there when the request arrives.
    ///
    /// # Errors
    /// `AlreadyExists`, or as the connection has it.
    pub async fn put(&self, full: &str, bytes: Bytes, headers: HeaderMap, only_new: bool) -> Result<()> {
        let sum = checksum(&bytes);
        let mut call = Call::new(Method::PUT, path(&self.place.container, full))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .header(ETAG, value(&sum)?);
        for (name, value) in headers.into_iter().filter_map(|(name, value)| name.map(|name| (name, value))) {
            call = call.header(name, value);
        }
        if only_new {
            call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let response = self.account.send(&call.body(bytes)).await?;
        if !response.status().is_success() {
            return Err(failed(response, "the object is not taken").await);
        }
        self.forget(full);
        let stored = response.header(ETAG.as_str()).map(|etag| etag.trim_matches('"'));
        match stored.is_none_or(|stored| stored.eq_ignore_ascii_case(&sum)) {
            true => Ok(()),
            false => Err(Error::new(Kind::Io, "the server stored other bytes than were sent").retry_later()),
        }
    }

    /// Removes one object; of a manifest that and nothing else.
    ///
    /// # Errors
    /// `NotFound`, or as the connection has it.
    pub async fn remove(&self, full: &str) -> Result<()> {
        let response =
            self.account.send(&Call::new(Method::DELETE, path(&self.place.container, full))).await?;
        self.forget(full);
        match response.status().is_success() {
            true => Ok(()),
            false => Err(failed(response, "the object is not removed").await),
        }
    }

    /// The headers of an object.
    ///
    /// # Errors
    /// `NotFound`, or as the connection has it.
    pub async fn head(&self, full: &str) -> Result<Head> {
        head(&self.account, &self.place.container, full).await
    }

    /// As [`Container::head`]; `None` for what is not there.
    ///
    /// # Errors
    /// As the connection has it.
    pub async fn head_if_there(&self, full: &str) -> Result<Option<Head>> {
        match self.head(full).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The length of an object.
    ///
    /// # Errors
    /// `NotFound`; `Damaged` when segments are missing; otherwise as the connection has it.
    pub async fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let full = self.place.full(name);
        let head = self.head(&full).await?;
        let size_bytes = match (&head.target, head.bytes, head.promise) {
            (Some(_), Some(bytes), Some((promised, _))) if bytes == promised => bytes,
            (Some(_), ..) => self.look_up(&full, &head).await?.size_bytes(),
            (None, Some(bytes), _) => bytes,
            (None, None, _) => {
                return Err(Error::new(Kind::Io, "the server does not tell how long the object is"));
            }
        };
        Ok(Stat { size_bytes })
    }

    /// Bytes of an object.
    ///
    /// # Errors
    /// `NotFound`; `Damaged` when segments are missing; otherwise as the connection has it.
    pub async fn read(&self, name: &ObjectName, offset: u64, length: usize) -> Result<Vec<u8>> {
        let full = self.place.full(name);
        if length == 0 || offset > i64::MAX.unsigned_abs() {
            return self.head(&full).await.map(|_| Vec::new());
        }
        if let Some(table) = self.remembered(&full) {
            match self.read_parts(&table, offset, length).await {
                // It may have been removed or replaced by somebody else.
                Err(error) if error.kind() == Kind::Damaged => self.forget(&full),
                read => return read,
            }
        }
        match self.get(&self.place.container, &full, offset, length).await? {
            Got::Bytes(bytes) => Ok(bytes),
            Got::Manifest => {
                let head = self.head(&full).await?;
                if head.target.is_none() {
                    return Err(Error::new(Kind::Changed, "the object was replaced meanwhile").retry_later());
                }
                let table = self.look_up(&full, &head).await?;
                self.read_parts(&table, offset, length).await
            }
        }
    }

    async fn look_up(&self, full: &str, head: &Head) -> Result<Arc<Table>> {
        let table = Arc::new(Table::of(&self.account, &self.place.container, full, head).await?);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(known, _)| known != full);
        if tables.len() == TABLES {
            tables.pop_front();
        }
        tables.push_back((full.to_owned(), Arc::clone(&table)));
        Ok(table)
    }

    fn remembered(&self, full: &str) -> Option<Arc<Table>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().find(|(known, _)| known == full).map(|(_, table)| Arc::clone(table))
    }

    fn forget(&self, full: &str) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != full);
    }

    async fn read_parts(&self, table: &Table, offset: u64, length: usize) -> Result<Vec<u8>> {
        let parts = table.parts(offset, length);
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.length).sum());
        for part in parts {
            let damaged = |what: &str| Error::damaged(what, self.place.short(&part.full)).retry_later();
            let read = match self.get(&table.container, &part.full, part.offset, part.length).await {
                Ok(Got::Bytes(read)) => read,
                Ok(Got::Manifest) => return Err(damaged("a manifest stands where a segment should:")),
                Err(error) if error.kind() == Kind::NotFound => {
                    return Err(damaged("there is no segment").because(error));
                }
                Err(error) => {
                    return Err(error.while_doing("cannot read the segment", self.place.short(&part.full)));
                }
            };
            if read.len() != part.length {
                return Err(damaged("too short a segment:"));
            }
            bytes.extend_from_slice(&read);
        }
        Ok(bytes)
    }

    /// One request for a range. A plain object gives fewer bytes only where it ends.
    async fn get(&self, container: &str, full: &str, offset: u64, length: usize) -> Result<Got> {
        let last = offset.saturating_add(length as u64 - 1).min(i64::MAX.unsigned_abs());
        let range = value(&format!("bytes={offset}-{last}"))?;
        let response =
            self.account.send(&Call::new(Method::GET, path(container, full)).header(RANGE, range)).await?;
        // Dropped unread: what Swift would make of its segments is not asked for.
        if response.status().is_success() && response.headers().contains_key(MANIFEST) {
            return Ok(Got::Manifest);
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT => partial(response, offset, length).await.map(Got::Bytes),
            StatusCode::OK => whole(response, offset, length).await.map(Got::Bytes),
            // Behind the end of a plain object, or of what Swift thinks to be all segments; or a segment is missing.
            status @ (StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::CONFLICT) => {
                let error = failed(response, "the object is not given").await;
                let head = head(&self.account, container, full).await?;
                match head.bytes {
                    _ if head.target.is_some() => Ok(Got::Manifest),
                    Some(bytes) if status == StatusCode::RANGE_NOT_SATISFIABLE && offset >= bytes => {
                        Ok(Got::Bytes(Vec::new()))
                    }
                    _ => Err(error),
                }
            }
            _ => Err(failed(response, "the object is not given").await),
        }
    }
}

/// The body of an answer with a part of an object: exactly the part that was asked for.
async fn partial(response: Response, offset: u64, length: usize) -> Result<Vec<u8>> {
    let said = response.header(CONTENT_RANGE.as_str()).and_then(content_range);
    let due = said.and_then(|(_, _, total)| Some(offset.checked_add(length as u64)?.min(total)));
    match (said, due) {
        (Some((first, last, _)), Some(end))
            if first == offset && last.checked_add(1) == Some(end) && end > offset =>
        {
            read_exactly(response, usize::try_from(end - offset).unwrap_or(length)).await
        }
        _ => Err(Error::new(Kind::Io, "the server sent another part of the object than was asked for")
            .retry_later()),
    }
}

/// The body of an answer from a server that gives the whole object for a range of it, as it may.
async fn whole(response: Response, offset: u64, length: usize) -> Result<Vec<u8>> {
    let head = read_head(response.headers())?;
    let total = head.bytes.ok_or_else(|| {
        Error::new(Kind::Io, format!("the server does not tell how much it sends ({CONTENT_LENGTH})"))
            .retry_later()
    })?;
    if offset >= total {
        return Ok(Vec::new());
    }
    if total > WITHOUT_RANGES_BYTES.max(offset.saturating_add(length as u64)) {
        return Err(Error::new(Kind::Unsupported, "the server gives no parts of objects"));
    }
    let bytes = read_exactly(response, usize::try_from(total).unwrap_or(usize::MAX)).await?;
    let begin = usize::try_from(offset).unwrap_or(bytes.len()).min(bytes.len());
    let end = begin.saturating_add(length).min(bytes.len());
    Ok(bytes[begin..end].to_vec())
}

/// `bytes 7-9/20`: first, last, and how long the whole is.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 7-9/20"), Some((7, 9, 20)));
        for other in ["bytes */20", "bytes 7-9/*", "bytes 7/20", "7-9/20", "bytes -9/20", ""] {
            assert_eq!(content_range(other), None, "{other}");
        }
    }

    #[test]
    fn checksums_are_those_of_swift() {
        assert_eq!(checksum(b""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
