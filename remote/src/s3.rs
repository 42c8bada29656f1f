//! S3, of AWS and of everybody who speaks it: a prefix in a bucket is a storage.
//!
//! Requests are written, and answers read, here; `object_store` signs them and fetches keys. Its own lists would fail at a key
//! that is no path (`a//b`), it cannot complete an upload on a condition, and it knows no unfinished uploads.
//!
//! * An object of no more than one part is one `PutObject`, a longer one a multipart upload (`upload`): both are visible
//!   whole or not at all.
//! * `CreateNew` is a put with the condition `If-None-Match: *`. Not every server heeds it (`condition`).
//! * Deleting something that is not there is a success to S3: it is looked for before.

pub mod answer;
mod condition;
mod credentials;
mod failure;
mod leftovers;
mod place;
pub mod profile;
mod request;
mod upload;

use crate::access::Access;
use crate::address::Address;
use crate::{Driver, Holding, Intent};
use answer::{Key, Row, shown};
use bytes::Bytes;
use condition::Condition;
use credentials::Source;
use failure::Fault;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::retry::Patience;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use place::Place;
use profile::Profile;
use request::{Answer, Client, Request};
use reqwest::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;

/// S3.
pub const DRIVER: Driver = Driver {
    schemes: &["s3"],
    form: "s3://BUCKET/PREFIX?endpoint=URL&region=NAME",
    about: "Amazon S3, and servers that speak it (Ceph, MinIO, Garage, Swift …)",
    open,
    holdings: Some(holdings),
};

/// The last byte that is asked for: far behind every object, and a number that every server can count to.
const LAST: u64 = 1 << 60;

/// What marks an object as the one of this very upload.
const MARK: &str = "x-amz-meta-icecore-upload";

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let asked = place::profile(address)?;
    let profile = Profile::load(access, asked)?;
    let place = Place::new(address, access, &profile)?;
    let connect = |place: Place| connect(access, &profile, asked, place);
    let mut client = connect(place.clone())?;
    // Who has to ask for the region cannot go on before.
    let is_put_off = intent == Intent::Use && (place.region_is_given || !place.is_aws());
    if is_put_off {
        client.put_off();
        return Ok(storage(client, address, access));
    }
    let mut fault = probe(&client)?;
    if let Some(region) = fault.as_ref().and_then(|fault| other_region(&place, fault)) {
        client = connect(place.in_region(region))?;
        fault = probe(&client)?;
    }
    if let Some(missing) = fault {
        if !missing.is_no_bucket() {
            return Err(missing.error());
        }
        if intent != Intent::Create {
            return Err(no_bucket(Kind::NotFound, &client.place));
        }
        make(&client)?;
        if let Some(fault) = probe(&client)? {
            let error = fault.error();
            // It is there, and not everywhere yet.
            return Err(if fault.is_no_bucket() { error.retry_later() } else { error });
        }
    }
    Ok(storage(client, address, access))
}

fn connect(access: &Access, profile: &Profile, asked: Option<&str>, place: Place) -> Result<Client> {
    let certificates = access.text("AWS_CA_BUNDLE").or_else(|| profile.certificates().map(str::to_owned));
    let certificates = certificates.map(PathBuf::from);
    let source = Source::new(access, profile, asked.is_some(), &place.region, certificates.as_deref())?;
    Client::new(access, place, source, certificates.as_deref())
}

/// The buckets that the owner of the keys has.
fn holdings(address: &Address, access: &Access) -> Result<Vec<Holding>> {
    let asked = place::profile(address)?;
    let profile = Profile::load(access, asked)?;
    let client = connect(access, &profile, asked, Place::of_server(address, access, &profile)?)?;
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let request = Request::new(Method::GET, None);
        let request = match &token {
            Some(token) => request.query("continuation-token", token),
            None => request,
        };
        let page = answer::buckets(&client.ask(&request)?.success()?.body)?;
        if page.next.is_some() && page.next == token {
            return Err(unexpected("the server gives the same page of a list twice"));
        }
        let page_of = |name| Holding { name, content: None };
        crate::add(&mut all, page.names.into_iter().map(page_of).collect())?;
        match page.next {
            Some(next) => token = Some(next),
            None => return Ok(all),
        }
    }
}

fn storage(client: Client, address: &Address, access: &Access) -> Arc<dyn Storage> {
    let bucket = Bucket {
        condition: Condition::new(client.place.is_aws()),
        client,
        patience: access.patience.clone(),
        warn: Arc::clone(&access.warn),
        label: address.to_string(),
    };
    Arc::new(S3 { bucket: Arc::new(bucket) })
}

fn no_bucket(kind: Kind, place: &Place) -> Error {
    Error::new(kind, "there is no bucket called").on(place.bucket.clone())
}

/// Asks for one row of the list: what the server has against it.
fn probe(client: &Client) -> Result<Option<Fault>> {
    fault_of_probe(&client.ask(&probe_request(&client.place))?)
}

fn probe_request(place: &Place) -> Request {
    list_request(&place.root, Depth::All, None).query("max-keys", "1")
}

fn fault_of_probe(answer: &Answer) -> Result<Option<Fault>> {
    match answer.status.is_success() {
        true => answer::page(&answer.body).map(|_| None),
        false => Ok(Some(answer.fault())),
    }
}

/// The region the bucket is in, when nobody named one and the server does.
fn other_region(place: &Place, fault: &Fault) -> Option<String> {
    let region = fault.region.clone().filter(|region| !place.region_is_given && *region != place.region)?;
    region.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-').then_some(region)
}

fn make(client: &Client) -> Result<()> {
    let region = &client.place.region;
    // What AWS calls the first region is the one that must not be named.
    let body = match region == "us-east-1" {
        true => String::new(),
        false => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let answer = client.ask(&Request::new(Method::PUT, None).body(Bytes::from(body)))?;
    match answer.status.is_success() || answer.fault().is_bucket_there() {
        true => Ok(()),
        false => {
            Err(answer.fault().error().while_doing("cannot make the bucket", client.place.bucket.clone()))
        }
    }
}

fn list_request(prefix: &str, depth: Depth, token: Option<&str>) -> Request {
    let mut request = Request::new(Method::GET, None).query("list-type", "2").query("encoding-type", "url");
    if !prefix.is_empty() {
        request = request.query("prefix", prefix);
    }
    if depth == Depth::One {
        request = request.query("delimiter", "/");
    }
    match token {
        Some(token) => request.query("continuation-token", token),
        None => request,
    }
}

/// A bucket, and what is known of its server.
struct Bucket {
    client: Client,
    condition: Condition,
    patience: Patience,
    warn: Arc<dyn Fn(&str) + Send + Sync>,
    label: String,
}

impl Bucket {
    /// The object's length and what it is marked with; none when there is no such object.
    fn look(&self, key: &str) -> Result<Option<Seen>> {
        let answer = self.client.ask(&Request::new(Method::HEAD, Some(key)))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.success()?;
        let size_bytes = answer.number("content-length");
        let size_bytes =
            size_bytes.ok_or_else(|| unexpected("the server does not say how long the object is"))?;
        Ok(Some(Seen { size_bytes, mark: answer.header(MARK).map(str::to_owned) }))
    }

    fn put_request(&self, key: &str, body: Bytes, mark: Option<&str>) -> Result<Request> {
        let request = Request::new(Method::PUT, Some(key)).content(body, self.client.is_private)?;
        let request = self.classed(request)?;
        match mark {
            Some(mark) => request.header(MARK, mark),
            None => Ok(request),
        }
    }

    /// For a new object.
    fn classed(&self, request: Request) -> Result<Request> {
        match &self.client.place.storage_class {
            Some(class) => request.header("x-amz-storage-class", class),
            None => Ok(request),
        }
    }

    /// Stores an object in one request.
    fn put(&self, key: &str, body: Bytes, mode: PutMode, mark: Option<&str>) -> Result<()> {
        let request = self.put_request(key, body, mark)?;
        match mode {
            PutMode::Replace => self.client.ask(&request)?.success().map(drop),
            PutMode::CreateNew => self.create(key, request),
            PutMode::Unique => self.create_unique(request),
        }
    }

    fn missing(&self) -> Error {
        Error::new(Kind::NotFound, "there is no such object")
    }
}

/// An object that is there.
struct Seen {
    size_bytes: u64,
    mark: Option<String>,
}

impl Seen {
    /// Whether it was marked so, and is as long.
    fn is(&self, mark: &str, size_bytes: u64) -> bool {
        self.mark.as_deref() == Some(mark) && self.size_bytes == size_bytes
    }
}

fn taken() -> Error {
    Error::new(Kind::AlreadyExists, "there is already an object of that name")
}

/// An answer that makes no sense; the next one may.
fn unexpected(what: &str) -> Error {
    Error::new(Kind::Io, what).retry_later()
}

/// A storage in a bucket.
struct S3 {
    bucket: Arc<Bucket>,
}

impl S3 {
    fn key(&self, name: &ObjectName) -> String {
        self.bucket.client.place.key(name)
    }

    /// What a listed key is to the callers of a storage.
    fn listed(&self, below: &str, row: Row) -> Result<Listed> {
        let (key, size_bytes) = match row {
            Row::Object { key, size_bytes } => (key, Some(size_bytes)),
            Row::Common(key) => (key, None),
        };
        let key = match key {
            Key::Text(key) => key,
            Key::Bytes(key) => return Ok(Listed::Stray { label: shown(&key) }),
        };
        if !key.starts_with(below) {
            return Err(unexpected("the server lists what was not asked for"));
        }
        let name = key.strip_prefix(self.bucket.client.place.root.as_str()).unwrap_or(&key);
        let name = match size_bytes {
            Some(_) => name,
            None => name.strip_suffix('/').unwrap_or(name),
        };
        Ok(match (ObjectName::new(name), size_bytes) {
            (Ok(name), Some(size_bytes)) => Listed::Object { name, size_bytes },
            (Ok(name), None) => Listed::Folder { name },
            // "a//b", or what other programs put in the place of an empty folder.
            (Err(_), _) => Listed::Stray { label: shown(&key) },
        })
    }
}

impl Storage for S3 {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.bucket.put(&self.key(name), Bytes::copy_from_slice(bytes), mode, None)
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.bucket.put(&self.key(name), crate::bridge::shared(bytes), mode, None)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let key = self.key(name);
        if mode == PutMode::CreateNew && self.bucket.look(&key)?.is_some() {
            return Err(taken());
        }
        Ok(Box::new(upload::Writer::new(Arc::clone(&self.bucket), key, mode)?))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.read_with(name, offset, length_bytes, Vec::new())
    }

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        *buffer = self.read_with(name, offset, length_bytes, std::mem::take(buffer))?;
        Ok(())
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        match self.bucket.look(&self.key(name))? {
            Some(Seen { size_bytes, .. }) => Ok(Stat { size_bytes }),
            None => Err(self.bucket.missing()),
        }
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let below = match prefix {
            Some(prefix) => format!("{}/", self.key(prefix)),
            None => self.bucket.client.place.root.clone(),
        };
        let mut token: Option<String> = None;
        let mut before: Option<Row> = None;
        loop {
            let request = list_request(&below, depth, token.as_deref());
            let answer = self.bucket.client.ask(&request)?.success()?;
            let page = answer::page(&answer.body)?;
            let first = page.rows.first().cloned();
            if page.next.is_some() && page.next == token || first.is_some() && first == before {
                return Err(unexpected("the server gives the same page of a list twice"));
            }
            page.rows.into_iter().try_for_each(|listed| row(self.listed(&below, listed)?))?;
            match page.next {
                None => return Ok(()),
                next => (token, before) = (next, first),
            }
        }
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.bucket.look(&self.key(name))? {
            Some(_) => self.remove(name),
            None => Err(self.bucket.missing()),
        }
    }

    fn remove(&self, name: &ObjectName) -> Result<()> {
        let key = self.key(name);
        let answer = self.bucket.client.ask(&Request::new(Method::DELETE, Some(&key)))?;
        if answer.status.is_success() {
            return Ok(());
        }
        let fault = answer.fault();
        match fault.error() {
            _ if fault.is_not_found() => Ok(()),
            error if error.kind() == Kind::Denied && error.advice().is_none() => Err(error
                .hint("a policy of the bucket or a lock keeps the object; a lock ends by itself when its time has come")),
            error => Err(error),
        }
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.bucket.clean(before)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: self.bucket.is_create_atomic(), parallel: true }
    }

    fn label(&self) -> String {
        self.bucket.label.clone()
    }
}

impl S3 {
    /// Reads a part of an object, with memory for it.
    fn read_with(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        room: Vec<u8>,
    ) -> Result<Vec<u8>> {
        if length_bytes == 0 || offset > LAST {
            return self.nothing_behind(name, offset, length_bytes);
        }
        let last = offset.saturating_add(length_bytes as u64 - 1).min(LAST);
        let request = Request::new(Method::GET, Some(&self.key(name))).answer(length_bytes);
        let request = request.header("range", &format!("bytes={offset}-{last}"))?;
        let answer = self.bucket.client.ask_into(&request, room)?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => part(answer, offset, last),
            // A server that takes no ranges, and an object that is no longer than what is wanted.
            StatusCode::OK
                if offset == 0 && answer.number("content-length") == Some(answer.body.len() as u64) =>
            {
                Ok(answer.body)
            }
            StatusCode::OK => Err(unexpected("the server does not heed ranges")),
            _ => {
                let fault = answer.fault();
                match fault.is_behind_the_end() {
                    true => self.nothing_behind(name, offset, length_bytes),
                    false if fault.is_not_found() => Err(self.bucket.missing()),
                    false => Err(fault.error()),
                }
            }
        }
    }

    /// Nothing, if that is what the object has from `offset` on.
    fn nothing_behind(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let size_bytes = self.stat(name)?.size_bytes;
        match length_bytes == 0 || offset >= size_bytes {
            true => Ok(Vec::new()),
            false => Err(unexpected("the server does not give what the object has")),
        }
    }
}

/// The bytes of an answer that says which part of the object it is.
fn part(answer: Answer, offset: u64, last: u64) -> Result<Vec<u8>> {
    let range = answer.header("content-range").and_then(parse_range);
    let Some((first, end, total)) = range else {
        return Err(unexpected("the server does not say which range it gives"));
    };
    let is_asked_for = first == offset && end == last.min(total.saturating_sub(1)) && first <= end;
    match is_asked_for && answer.body.len() as u64 == end - first + 1 {
        true => Ok(answer.body),
        false => Err(unexpected("the server gives another range than was asked for")),
    }
}

/// `bytes FIRST-LAST/TOTAL`.
fn parse_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_answers_are_read() {
        assert_eq!(parse_range("bytes 0-9/10"), Some((0, 9, 10)));
        for wrong in ["bytes */10", "bytes 0-9/*", "0-9/10", "bytes 9/10", "bytes -1-9/10", ""] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
