//! HTTP for the drivers that speak it themselves: one client a storage, a bound for every wait, and errors by kind.
//!
//! Invariants: no wait is longer than the idle deadline without a byte moving in either direction, and none as a whole longer
//! than the slowest line would take. Redirects are not followed, so that no credential goes to another host. Certificates are
//! checked against those of the system and those of the extra file. What a server says reaches an error only in part, and with
//! its control characters escaped. A connection counts until its answer has been read or dropped.

mod body;
mod range;
mod words;

use crate::access::Timeouts;
use crate::bridge::stalled;
use icecore::error::{Error, Kind, Result};
use reqwest::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};
use reqwest::{
    Certificate, Client, ClientBuilder, Identity, Method, Request, RequestBuilder, StatusCode, Url,
};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

pub use range::{ContentRange, unsatisfied};
pub use words::limited;

/// How long a connection that is not used is kept: shorter than servers keep theirs, so that few are found broken.
const KEPT: Duration = Duration::from_secs(15);
/// A file of certificates or keys.
const PEM_BYTES: u64 = 4 << 20;
/// What is read of an error's page.
const WORDS_BYTES: usize = 8 << 10;
/// How long after its begin a request is sent once more as it is: a signature has a time, and does not count for long. Who tries
/// again later makes the request anew.
const RESENT: Duration = Duration::from_secs(120);
/// How long an error's page is waited for.
const WORDS_WAIT: Duration = Duration::from_secs(5);

/// A client for one storage; clones share connections and their limit.
#[derive(Clone)]
pub struct Http {
    client: Client,
    timeouts: Timeouts,
    slots: Arc<Semaphore>,
}

/// An answer whose head has arrived. Its connection is free for others when it is dropped.
pub struct Response {
    inner: reqwest::Response,
    timeouts: Timeouts,
    _slot: OwnedSemaphorePermit,
}

/// One of the connections that there may be, for one request.
pub struct Slot(OwnedSemaphorePermit);

/// How a request is sent.
#[derive(Clone, Copy)]
pub struct Manner {
    /// About so many bytes are its body.
    pub body_bytes: usize,
    /// How much longer than usual the server may think.
    pub patience: Duration,
    /// Whether sending it twice does the same as sending it once, and gives the same answer.
    pub is_repeatable: bool,
}

impl Http {
    /// A client that waits so long, has at most so many connections, also trusts the certificates of `ca_file`, and shows the
    /// certificate and key of `client_identity` (both PEM, one file) to servers that ask.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn new(
        timeouts: Timeouts,
        connections: usize,
        ca_file: Option<&Path>,
        client_identity: Option<&Path>,
    ) -> Result<Http> {
        Http::with_key(timeouts, connections, ca_file, client_identity.as_slice())
    }

    /// As [`Http::new`], with certificate and key in files of their own, or in none.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn with_key<P: AsRef<Path>>(
        timeouts: Timeouts,
        connections: usize,
        ca_file: Option<&Path>,
        client_identity: &[P],
    ) -> Result<Http> {
        Http::made(timeouts, connections, |mut builder| {
            if let Some(path) = ca_file {
                builder = builder.tls_certs_merge(certificates(path)?);
            }
            if let Some(path) = client_identity.first() {
                let mut both = Zeroizing::new(Vec::new());
                for path in client_identity {
                    both.extend_from_slice(&pem(path.as_ref())?);
                    both.push(b'\n');
                }
                builder =
                    builder.identity(Identity::from_pem(&both).map_err(|e| not_pem(path.as_ref(), &e))?);
            }
            Ok(builder)
        })
    }

    /// A client with what `settings` adds: whom it trusts, which proxy it takes.
    ///
    /// # Errors
    /// Those of the settings; when there is no way to speak TLS.
    pub fn made(
        timeouts: Timeouts,
        connections: usize,
        settings: impl FnOnce(ClientBuilder) -> Result<ClientBuilder>,
    ) -> Result<Http> {
        let builder = Client::builder()
            .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
            // One request a connection: a limit of connections is one of requests then, and no stream waits for another.
            .http1_only()
            .connect_timeout(timeouts.connect)
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(connections.max(1))
            .tcp_nodelay(true)
            .referer(false)
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none());
        let client = settings(builder)?.build().map_err(|error| {
            Error::new(Kind::Io, "cannot make ready for TLS")
                .because(chain(&error))
                .hint("the system's certificates are needed: on Debian the package ca-certificates has them")
        })?;
        Ok(Http { client, timeouts, slots: Arc::new(Semaphore::new(connections.max(1))) })
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request whose body has (about) so many bytes, and waits for the head of the answer, whatever its status. A request
    /// that may be repeated without harm is sent once more when a kept connection turns out to be broken.
    ///
    /// # Errors
    /// `Io` that may pass when the server cannot be reached, stalls or hangs up; `Denied` when its certificate is not good.
    pub async fn send(&self, request: RequestBuilder, body_bytes: usize) -> Result<Response> {
        self.send_patiently(request, body_bytes, Duration::ZERO).await
    }

    /// As [`Http::send`], to a server that may think so much longer than usual.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn send_patiently(
        &self,
        request: RequestBuilder,
        body_bytes: usize,
        patience: Duration,
    ) -> Result<Response> {
        let request = request.build().map_err(|e| transport(&e))?;
        let manner = Manner { body_bytes, patience, is_repeatable: harmless(&request) };
        self.send_as(request, manner).await
    }

    /// As [`Http::send`], by who knows better than the request shows how it is to be sent.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn send_as(&self, request: Request, manner: Manner) -> Result<Response> {
        let slot = self.slot().await?;
        self.send_in(slot, request, manner).await
    }

    /// Waits until there may be another connection. Who says the time in a request has it before: the wait may be long.
    ///
    /// # Errors
    /// None as long as there is this client.
    pub async fn slot(&self) -> Result<Slot> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.map(Slot).map_err(|_| Error::stopped())
    }

    /// As [`Http::send_as`], on a connection that was waited for.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn send_in(&self, slot: Slot, request: Request, manner: Manner) -> Result<Response> {
        let started = Instant::now();
        let again = if manner.is_repeatable { request.try_clone() } else { None };
        let inner = match (self.exchange(request, manner).await?, again) {
            (Ok(response), _) => response,
            (Err(error), Some(again)) if broken(&error) && started.elapsed() < RESENT => {
                self.exchange(again, manner).await?.map_err(|e| transport(&e))?
            }
            (Err(error), _) => return Err(transport(&error)),
        };
        Ok(Response { inner, timeouts: self.timeouts, _slot: slot.0 })
    }

    /// One attempt, watched: it ends when nothing moves for the idle deadline. After a long body whose length was not known beforehand
    /// the server has as much longer as it may take to go over it.
    async fn exchange(
        &self,
        mut request: Request,
        manner: Manner,
    ) -> Result<reqwest::Result<reqwest::Response>> {
        let progress = Arc::new(body::Progress::default());
        if let Some(body) = request.body_mut().take() {
            *request.body_mut() = Some(body::watched(body, Arc::clone(&progress)));
        }
        let started = Instant::now();
        let whole = self.timeouts.whole(manner.body_bytes) + manner.patience;
        let idle = self.timeouts.idle + manner.patience;
        // Until there is a connection nothing can move.
        let mut patience = self.timeouts.connect.max(idle);
        let (mut seen, mut went_over) = (0, false);
        let mut answer = pin!(self.client.execute(request));
        loop {
            if let Ok(answered) = timeout(patience, &mut answer).await {
                return Ok(answered);
            }
            patience = idle;
            let now = progress.moved();
            if now == seen && progress.has_ended() && !went_over {
                went_over = true;
                patience = Timeouts::copying(now);
                continue;
            }
            if now == seen || started.elapsed() > whole {
                return Err(stalled(started.elapsed()));
            }
            seen = now;
        }
    }
}

impl Response {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// How long the body is, where the server says it.
    pub fn announced(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// `Io` that may pass when the server stalls or hangs up.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>> {
        match timeout(self.timeouts.idle, self.inner.chunk()).await {
            Ok(chunk) => chunk.map_err(|e| transport(&e)),
            Err(_) => Err(stalled(self.timeouts.idle)),
        }
    }
}

/// The whole body of an answer.
///
/// # Errors
/// `Limit` beyond so many bytes; otherwise as the connection has it.
pub async fn read_body_limited(mut response: Response, limit_bytes: usize) -> Result<Vec<u8>> {
    let too_long =
        || Error::new(Kind::Limit, format!("an answer of the server has more than {limit_bytes} bytes"));
    let announced = response.inner.content_length().unwrap_or(0);
    if announced > limit_bytes as u64 {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    let end = Instant::now() + response.timeouts.whole(limit_bytes);
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > limit_bytes - body.len() {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
        in_time(end, &response)?;
    }
    Ok(body)
}

/// A body that must have exactly so many bytes.
///
/// # Errors
/// `Io` that may pass when it has fewer or more; otherwise as the connection has it.
pub async fn read_exactly(mut response: Response, length_bytes: usize) -> Result<Vec<u8>> {
    let wrong = |has: &str| {
        let what = format!("the server sent {has} bytes where {length_bytes} were due");
        Error::new(Kind::Io, what).retry_later()
    };
    let mut body = Vec::with_capacity(length_bytes);
    let end = Instant::now() + response.timeouts.whole(length_bytes);
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > length_bytes - body.len() {
            return Err(wrong("more"));
        }
        body.extend_from_slice(&chunk);
        in_time(end, &response)?;
    }
    match body.len() == length_bytes {
        true => Ok(body),
        false => Err(wrong(&body.len().to_string())),
    }
}

fn in_time(end: Instant, response: &Response) -> Result<()> {
    match Instant::now() > end {
        true => Err(stalled(response.timeouts.idle)),
        false => Ok(()),
    }
}

/// The error of an answer that is not the one that was hoped for: its kind by the status, whether it may pass, and the first
/// words that the server has for it. `what` says in a few words what failed.
pub async fn failed(mut response: Response, what: &str) -> Error {
    let status = response.status();
    let mut said = Vec::new();
    let wait = WORDS_WAIT.min(response.timeouts.idle);
    let read = timeout(wait, async {
        // What cannot be read of it is not missed: the status says enough.
        while let Ok(Some(chunk)) = response.chunk().await {
            said.extend_from_slice(&chunk[..chunk.len().min(WORDS_BYTES - said.len())]);
            if said.len() >= WORDS_BYTES {
                break;
            }
        }
    });
    read.await.unwrap_or(());
    let said = words::plain(&said);
    let (kind, later) = judged(status, &said);
    let mut why = format!("the server says {}", status.as_u16());
    if let Some(name) = status.canonical_reason() {
        why.extend([" ", name]);
    }
    if let Some(elsewhere) = response.header("location").filter(|_| status.is_redirection()) {
        why.extend([" to ", &words::limited(elsewhere)]);
    }
    if !said.is_empty() && status.canonical_reason() != Some(said.as_str()) {
        why.extend([": ", &said]);
    }
    let error = Error::new(kind, what).because(why);
    if later { error.retry_later() } else { error }
}

/// The kind of a failure, and whether it may pass.
fn judged(status: StatusCode, said: &str) -> (Kind, bool) {
    let full = || {
        let said = said.to_lowercase();
        ["quota", "no space left", "disk full", "insufficient storage"].iter().any(|word| said.contains(word))
    };
    match status.as_u16() {
        401 | 403 if full() => (Kind::NoSpace, false),
        401 | 403 | 407 | 451 => (Kind::Denied, false),
        404 | 410 => (Kind::NotFound, false),
        412 => (Kind::AlreadyExists, false),
        413 if full() => (Kind::NoSpace, false),
        413 => (Kind::Limit, false),
        400 | 414 | 416 | 431 => (Kind::Invalid, false),
        405 | 411 | 415 | 501 | 505 => (Kind::Unsupported, false),
        // The bytes were not those whose checksum came with them: the way spoilt them.
        422 => (Kind::Io, true),
        507 => (Kind::NoSpace, false),
        500..=599 if full() => (Kind::NoSpace, false),
        // 498: Swift, which takes no more requests at the moment.
        408 | 425 | 429 | 498 | 500..=599 => (Kind::Io, true),
        _ => (Kind::Io, false),
    }
}

/// Whether sending it twice does the same as sending it once, and gives the same answer.
fn harmless(request: &Request) -> bool {
    let conditional =
        request.headers().contains_key(IF_NONE_MATCH) || request.headers().contains_key(IF_MATCH);
    match request.method().as_str() {
        "GET" | "HEAD" | "OPTIONS" | "PROPFIND" => true,
        "PUT" => !conditional,
        _ => false,
    }
}

/// Whether a connection broke on which nothing had been answered: the server may have closed it while nobody used it.
fn broken(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// A failure below HTTP.
fn transport(error: &reqwest::Error) -> Error {
    let cause = chain(error);
    if error.is_builder() {
        return Error::new(Kind::Invalid, "cannot make the request").because(cause);
    }
    // What a certificate fails for is known by its words only, at this height.
    if cause.contains("invalid peer certificate") || cause.contains("certificate verify failed") {
        return Error::new(Kind::Denied, "the server's certificate is not accepted").because(cause).hint(
            "name the file of the authority that signed it; the page of the guide on this kind of storage says how",
        );
    }
    if cause.contains("InvalidContentType") {
        return Error::new(Kind::Unsupported, "the server does not answer by TLS")
            .because(cause)
            .hint("where a server has none, the address says so: endpoint=http://HOST, webdav://HOST");
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection failed" };
    Error::new(Kind::Io, what).because(cause).retry_later()
}

/// All causes in a row. The address is left out: it may hold what is secret.
fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { "it is not valid".to_owned() } else { words::limited(&texts.join(": ")) }
}

/// Whether a host of a URL is this machine itself.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates in a PEM file, which has at least one.
///
/// # Errors
/// When it cannot be read or has none.
pub fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let certificates = Certificate::from_pem_bundle(&pem(path)?).map_err(|e| not_pem(path, &e))?;
    match certificates.is_empty() {
        true => Err(Error::invalid("no certificate is in", path.display().to_string())),
        false => Ok(certificates),
    }
}

/// A file of certificates or keys.
///
/// # Errors
/// When it cannot be read, or is too long for one.
pub fn pem(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|e| crate::unreadable(shown.clone(), e))?.len();
    if size > PEM_BYTES {
        return Err(Error::invalid("too large for certificates:", shown));
    }
    std::fs::read(path).map_err(|e| crate::unreadable(shown, e))
}

fn not_pem(path: &Path, error: &reqwest::Error) -> Error {
    Error::invalid("no PEM file of what is needed:", path.display().to_string()).because(chain(error))
}

#[cfg(test)]
mod tests;
