//! Requests: signed, sent over connections that are kept, answered within a time or given up.
//!
//! A server refuses bytes that were changed under way. Every request carries the SHA-256 of what it sends under its signature, but for
//! the content of objects over TLS, or to this machine itself, where nobody can change it: that carries a CRC-32, which newer servers verify.
//! An answer is taken whole or not at all: one that ends before its announced length is an error that may pass.

use super::credentials::Source;
use super::failure::{self, Fault};
use super::place::Place;
use crate::access::{Access, Timeouts};
use crate::bridge;
use crate::http::{self, Http, Manner, Response};
use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::BASE64;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{S3_ANSWER_BYTES, S3_ERROR_BYTES, S3_RESERVED_BYTES};
use md5::{Digest, Md5};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The checksum that the server keeps, and the word for its algorithm, without which a bucket that locks objects takes none.
const CHECKSUM: [&str; 2] = ["x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"];
/// The word.
pub(super) const ALGORITHM: &str = "CRC32";

/// What Swift's s3api sends with every answer, and no other server that speaks S3 does (Ceph's gateway sends it to who speaks Swift).
const OF_SWIFT: &str = "x-openstack-request-id";

/// What is asked of the server.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    key: Option<String>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Bytes,
    /// The SHA-256 of the body; none where the line keeps it.
    digest: Option<digest::Digest>,
    /// The longest answer that is taken.
    most: usize,
    /// How much longer than usual the server may think.
    patience: Duration,
    /// Whether doing it twice is as good as once.
    is_repeatable: bool,
}

impl Request {
    /// A request about a key, or the bucket.
    pub(super) fn new(method: Method, key: Option<&str>) -> Request {
        Request {
            method,
            key: key.map(str::to_owned),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            digest: Some(digest::digest(&digest::SHA256, &[])),
            most: S3_ANSWER_BYTES,
            patience: Duration::ZERO,
            is_repeatable: true,
        }
    }

    /// With `?name=value`.
    #[must_use]
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.query.push((name, value.into()));
        self
    }

    /// With a header.
    ///
    /// # Errors
    /// `Invalid` for a value that is none.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Request> {
        let value =
            HeaderValue::from_str(value).map_err(|_| Error::invalid("not the value of a header:", name))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// With these bytes.
    #[must_use]
    pub(super) fn body(mut self, body: Bytes) -> Request {
        self.digest = Some(digest::digest(&digest::SHA256, &body));
        self.body = body;
        self
    }

    /// With these bytes of an object, under a checksum, and also under the signature unless the line is private.
    ///
    /// # Errors
    /// None that is to be expected.
    pub(super) fn content(mut self, body: Bytes, is_private: bool) -> Result<Request> {
        self.digest = (!is_private).then(|| digest::digest(&digest::SHA256, &body));
        let checksum = BASE64.encode(&crc32fast::hash(&body).to_be_bytes());
        self.body = body;
        self.header(CHECKSUM[0], &checksum)?.header(CHECKSUM[1], ALGORITHM)
    }

    /// The same with the checksum that every server knows, and a bucket that locks objects takes as well; itself when it has none.
    fn with_older_checksum(&self) -> Result<Request> {
        let mut older = self.clone();
        if older.headers.remove(CHECKSUM[0]).is_none() {
            return Ok(older);
        }
        older.headers.remove(CHECKSUM[1]);
        older.header("content-md5", &BASE64.encode(&Md5::digest(&self.body)))
    }

    /// The checksum of its bytes, as the server keeps it.
    pub(super) fn checksum(&self) -> Option<String> {
        let value = self.headers.get(CHECKSUM[0])?;
        value.to_str().ok().map(str::to_owned)
    }

    /// How many bytes it sends.
    pub(super) fn length(&self) -> usize {
        self.body.len()
    }

    /// Takes an answer of this length.
    #[must_use]
    pub(super) fn answer(mut self, most: usize) -> Request {
        self.most = most;
        self
    }

    /// Gives the server so much longer.
    #[must_use]
    pub(super) fn patience(mut self, patience: Duration) -> Request {
        self.patience = patience;
        self
    }

    /// Not twice, also where a connection broke.
    #[must_use]
    pub(super) fn once(mut self) -> Request {
        self.is_repeatable = false;
        self
    }
}

/// What the server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name).and_then(|value| value.trim().parse().ok())
    }

    /// What went wrong, as the server has it.
    pub(super) fn fault(&self) -> Fault {
        Fault::new(self)
    }

    /// This, if it is a success.
    ///
    /// # Errors
    /// What the server has against it.
    pub(super) fn success(self) -> Result<Answer> {
        if self.status.is_success() { Ok(self) } else { Err(self.fault().error()) }
    }
}

/// The way to one bucket.
pub(super) struct Client {
    http: Http,
    source: Source,
    timeouts: Timeouts,
    /// Whether the server has refused a checksum that it does not know (Backblaze B2).
    wants_older_checksum: AtomicBool,
    /// Whether an answer was of Swift's s3api.
    is_swift: AtomicBool,
    /// Whether nobody else can be on the line: TLS, or a server of this machine.
    pub(super) is_private: bool,
    /// Where the bucket is.
    pub(super) place: Place,
    /// Whether it is not known yet that the bucket is there and these keys open it: nobody has asked, and nothing was a success.
    is_unknown: AtomicBool,
}

impl Client {
    /// Makes ready, without a connection yet.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub(super) fn new(
        access: &Access,
        place: Place,
        source: Source,
        certificates: Option<&Path>,
    ) -> Result<Client> {
        let proxy = proxy(access, &place)?;
        let is_private = place.is_private(proxy.is_some());
        let http = Http::made(access.timeouts, access.connections, |mut builder| {
            if let Some(proxy) = proxy {
                builder = builder.proxy(proxy);
            }
            if let Some(path) = certificates {
                builder = builder.tls_certs_only(http::certificates(path)?);
            }
            Ok(builder)
        })?;
        Ok(Client {
            http,
            source,
            timeouts: access.timeouts,
            wants_older_checksum: AtomicBool::new(false),
            is_swift: AtomicBool::new(false),
            is_private,
            place,
            is_unknown: AtomicBool::new(false),
        })
    }

    /// Sends a request and waits for the answer, whatever the server thinks of it.
    ///
    /// # Errors
    /// `Io` when the connection is lost or the time has passed, which may pass.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer> {
        self.ask_into(request, Vec::new())
    }

    /// As [`Client::ask`], with memory for the body of the answer.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(super) fn ask_into(&self, request: &Request, room: Vec<u8>) -> Result<Answer> {
        // Each of its waits has an end of its own.
        bridge::runtime()?.block_on(self.answer_into(request, room))
    }

    /// Leaves it to the first requests to find out whether the bucket is there: a success says so. Before anything else is believed, an
    /// object that is not there above all, the bucket itself is asked for.
    pub(super) fn put_off(&self) {
        self.is_unknown.store(true, Ordering::SeqCst);
    }

    /// Whether the server is known to look for an object first and to store it then, where it is asked to create it only if there is none.
    pub(super) fn looks_first(&self) -> bool {
        self.is_swift.load(Ordering::Relaxed)
    }

    /// As [`Client::ask`], for those who have other things to do meanwhile.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(super) async fn answer(&self, request: &Request) -> Result<Answer> {
        self.answer_into(request, Vec::new()).await
    }

    async fn answer_into(&self, request: &Request, room: Vec<u8>) -> Result<Answer> {
        let answer = self.understood(request, room).await?;
        if self.is_unknown.load(Ordering::SeqCst) {
            if !answer.status.is_success() {
                let asked = self.understood(&super::probe_request(&self.place), Vec::new()).await?;
                match super::fault_of_probe(&asked)? {
                    Some(fault) if fault.is_no_bucket() => {
                        return Err(super::no_bucket(Kind::NoRepository, &self.place));
                    }
                    Some(fault) => return Err(fault.error()),
                    None => (),
                }
            }
            self.is_unknown.store(false, Ordering::SeqCst);
        }
        Ok(answer)
    }

    /// Sends a request with a checksum that the server knows.
    async fn understood(&self, request: &Request, room: Vec<u8>) -> Result<Answer> {
        if self.wants_older_checksum.load(Ordering::Relaxed) {
            return self.in_time(&request.with_older_checksum()?, room).await;
        }
        let answer = self.in_time(request, room).await?;
        let has_one = request.headers.contains_key(CHECKSUM[0]);
        if answer.status.is_success() || !has_one || !answer.fault().is_about(CHECKSUM) {
            return Ok(answer);
        }
        self.wants_older_checksum.store(true, Ordering::Relaxed);
        self.in_time(&request.with_older_checksum()?, answer.body).await
    }

    async fn in_time(&self, request: &Request, room: Vec<u8>) -> Result<Answer> {
        let answer = self.attempt(request, room).await?;
        // The signature may have grown old on the way. What was refused has not been done.
        match answer.status == StatusCode::FORBIDDEN && answer.fault().is_skewed() {
            true => self.attempt(request, answer.body).await,
            false => Ok(answer),
        }
    }

    async fn attempt(&self, request: &Request, room: Vec<u8>) -> Result<Answer> {
        // A signature has a time: it is made when nothing has to be waited for any more.
        let slot = self.http.slot().await?;
        let (url, headers) = self.signed(request).await?;
        let mut sent = reqwest::Request::new(request.method.clone(), url);
        *sent.headers_mut() = headers;
        *sent.body_mut() = Some(request.body.clone().into());
        let manner = Manner {
            body_bytes: request.body.len(),
            patience: request.patience,
            is_repeatable: request.is_repeatable,
        };
        let response = self.http.send_in(slot, sent, manner).await.map_err(failure::trusted)?;
        self.take(request, response, room).await
    }

    async fn signed(&self, request: &Request) -> Result<(Url, HeaderMap)> {
        let query: Vec<(&str, &str)> =
            request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let url = self.place.url(request.key.as_deref(), &query);
        let keys = self.source.keys().await?;
        let mut draft = HttpRequest::new(HttpRequestBody::empty());
        *draft.method_mut() = request.method.clone();
        let unusable = || Error::invalid("not a key for S3:", format!("{:?}", request.key));
        *draft.uri_mut() = url.parse().map_err(|_| unusable())?;
        *draft.headers_mut() = request.headers.clone();
        let digest = request.digest.as_ref().map(AsRef::as_ref);
        AwsAuthorizer::new(&keys, "s3", &self.place.region)
            .with_sign_payload(digest.is_some())
            .try_authorize(&mut draft, digest)
            .map_err(|e| Error::new(Kind::Io, "cannot sign").because(e))?;
        let mut headers = std::mem::take(draft.headers_mut());
        if request.method == Method::PUT || request.method == Method::POST {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        }
        Ok((url.parse().map_err(|_| unusable())?, headers))
    }

    /// The whole answer, its body in `body` in place of what that holds.
    async fn take(&self, request: &Request, mut response: Response, mut body: Vec<u8>) -> Result<Answer> {
        let (status, headers) = (response.status(), response.headers().clone());
        if headers.contains_key(OF_SWIFT) && !self.place.is_aws() {
            self.is_swift.store(true, Ordering::Relaxed);
        }
        // What a server says of an error is for people, who do not need all of it.
        let most = if status.is_success() { request.most } else { S3_ERROR_BYTES };
        let announced = response.announced().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        body.clear();
        body.reserve_exact(announced.min(most).min(S3_RESERVED_BYTES));
        let end = Instant::now() + self.timeouts.whole(most);
        while let Some(piece) = response.chunk().await? {
            if Instant::now() > end {
                return Err(bridge::stalled(self.timeouts.idle));
            }
            if body.len() + piece.len() > most {
                if status.is_success() {
                    return Err(Error::new(Kind::Limit, "the server answers with more than was asked for"));
                }
                break;
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, headers, body })
    }
}

/// The proxy that the environment names for such an endpoint.
fn proxy(access: &Access, place: &Place) -> Result<Option<reqwest::Proxy>> {
    let url = place.url(None, &[]);
    let names =
        if url.starts_with("https:") { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let Some((name, value)) = names.iter().find_map(|name| access.text(name).map(|value| (name, value)))
    else {
        return Ok(None);
    };
    // Without its value, which may hold a password.
    let proxy = reqwest::Proxy::all(&value).map_err(|_| Error::invalid("not the URL of a proxy:", *name))?;
    let excluded = access.text("NO_PROXY").or_else(|| access.text("no_proxy"));
    Ok(Some(proxy.no_proxy(excluded.and_then(|list| reqwest::NoProxy::from_string(&list)))))
}
