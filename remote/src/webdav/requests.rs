//! The requests that the driver makes, one function each, and what their answers mean.
//!
//! Invariants: the password goes with every request to the server of the address, and to no other, for no redirect is followed. An
//! answer that is not understood is an error. A resource that somebody else holds for the moment (423) is waited for, not long.

use super::multistatus::{self, Member, What};
use super::place::Place;
use crate::access::Secret;
use crate::http::{Http, Response, failed, read_body_limited};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result, Retry};
use icecore::limits::TREE_ANSWER_BYTES;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use reqwest::{Body, Method, RequestBuilder, StatusCode, Url};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is asked of every resource: only what is needed, for some servers open each file to tell the rest.
const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\"><D:prop>\
    <D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>";

/// Waits for a resource that is locked.
const LOCKED_WAITS: u32 = 50;
const LOCKED_WAIT: Duration = Duration::from_millis(20);
const LOCKED_LONGEST: Duration = Duration::from_millis(500);

/// How often a request is sent on another connection, and for how long that is worth it.
const KEPT_CONNECTIONS: usize = 3;
const AT_ONCE: Duration = Duration::from_secs(2);

/// A server and a folder of it, as one user.
#[derive(Clone)]
pub struct Dav {
    http: Http,
    /// Where the storage is.
    pub place: Arc<Place>,
    login: Option<(String, Option<Secret>)>,
    /// Whether the server wants targets of moves as paths instead of URLs.
    targets_as_paths: Arc<AtomicBool>,
}

/// What became of a folder that was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It is there: made now, or before, or something else has its name.
    There,
    /// The one above it is missing.
    NothingAbove,
}

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Done.
    Done,
    /// Something has the new name, and was not to be replaced.
    Taken,
    /// What was to be moved is gone, or the folder it should go to.
    Missing,
}

impl Dav {
    /// A server as one user.
    pub fn new(http: Http, place: Place, login: Option<(String, Option<Secret>)>) -> Dav {
        Dav { http, place: Arc::new(place), login, targets_as_paths: Arc::default() }
    }

    fn request(&self, method: &str, url: Url) -> Result<RequestBuilder> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Error::new(Kind::Unsupported, "no method of HTTP is").on(method))?;
        // What is stored is to come back as it is.
        let request = self.http.request(method, url).header(ACCEPT_ENCODING, "identity");
        Ok(match &self.login {
            Some((user, password)) => request.basic_auth(user, password.as_ref().map(Secret::expose)),
            None => request,
        })
    }

    /// Sends what `make` makes, again while the resource is locked.
    async fn send(&self, bytes: usize, make: impl Fn() -> Result<RequestBuilder>) -> Result<Response> {
        self.send_patiently(bytes, Duration::ZERO, make).await
    }

    /// As [`Dav::send`], to a server that may think so much longer.
    async fn send_patiently(
        &self,
        bytes: usize,
        patience: Duration,
        make: impl Fn() -> Result<RequestBuilder>,
    ) -> Result<Response> {
        let mut wait = LOCKED_WAIT;
        for _ in 0..LOCKED_WAITS {
            let response = self.http.send_patiently(make()?, bytes, patience).await?;
            if response.status() != StatusCode::LOCKED {
                return Ok(response);
            }
            drop(response);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOCKED_LONGEST);
        }
        Err(Error::new(Kind::Busy, "somebody else has locked it on the server").retry_later())
    }

    /// As [`Dav::send`], what does the same when it is done twice: again, too, when a connection breaks at once, for all that were
    /// kept may have been closed meanwhile.
    async fn send_repeatable(
        &self,
        bytes: usize,
        make: impl Fn() -> Result<RequestBuilder>,
    ) -> Result<Response> {
        let began = Instant::now();
        for _ in 0..KEPT_CONNECTIONS {
            match self.send(bytes, &make).await {
                Err(error) if error.retry() == Retry::Later && began.elapsed() < AT_ONCE => (),
                done => return done,
            }
        }
        self.send(bytes, make).await
    }

    /// What is known of a resource, and at `depth` 1 of those in it. `None` when there is no such resource.
    ///
    /// # Errors
    /// `Unsupported` when the server does not speak WebDAV there; otherwise as it has it.
    pub async fn look(&self, url: &Url, depth: &str) -> Result<Option<Vec<Member>>> {
        let make = || {
            let request = self.request("PROPFIND", url.clone())?.header("Depth", depth);
            Ok(request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(PROPERTIES))
        };
        let response = self.send_repeatable(PROPERTIES.len(), make).await?;
        match response.status() {
            StatusCode::MULTI_STATUS => {
                let answer = read_body_limited(response, TREE_ANSWER_BYTES).await?;
                multistatus::parse(&answer).map(Some)
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                let hint = "the address has to be that of a folder which the server offers by WebDAV";
                Err(Error::new(Kind::Unsupported, "the server does not speak WebDAV there").hint(hint))
            }
            _ => Err(refused(response, "cannot look").await),
        }
    }

    /// What one resource is; `None` when there is none.
    ///
    /// # Errors
    /// As [`Dav::look`].
    pub async fn what(&self, url: &Url) -> Result<Option<What>> {
        let Some(members) = self.look(url, "0").await? else { return Ok(None) };
        match members.as_slice() {
            [one] => match one.what {
                What::Refused(404 | 410) => Ok(None),
                What::Refused(status) => Err(cannot_tell(status)),
                what => Ok(Some(what)),
            },
            _ => Err(Error::damaged("the server names more or less than one resource", "")),
        }
    }

    /// Stores a body under a URL that nobody else uses. `None` when the folder is missing, or is none.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn store(&self, url: &Url, bytes: &Bytes) -> Result<Option<()>> {
        let make = || {
            let request = self.request("PUT", url.clone())?.header(CONTENT_TYPE, "application/octet-stream");
            // Said also where it is nothing: nginx fails otherwise.
            Ok(request.header(CONTENT_LENGTH, bytes.len()).body(bytes.clone()))
        };
        stored(self.send_repeatable(bytes.len(), make).await?).await
    }

    /// As [`Dav::store`], of a body whose length nobody knows.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn store_stream(&self, url: &Url, body: Body) -> Result<Option<()>> {
        let request = self.request("PUT", url.clone())?.header(CONTENT_TYPE, "application/octet-stream");
        stored(self.http.send(request.body(body), usize::MAX).await?).await
    }

    /// Begins to fetch an object: from `first` to `last`, or all of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn fetch(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Response> {
        let make = || {
            let request = self.request("GET", url.clone())?;
            Ok(match range {
                Some((first, last)) => request.header(RANGE, format!("bytes={first}-{last}")),
                None => request,
            })
        };
        self.send_repeatable(0, make).await
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn make_folder(&self, url: &Url) -> Result<Made> {
        let response = self.send_repeatable(0, || self.request("MKCOL", url.clone())).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(Made::There),
            StatusCode::METHOD_NOT_ALLOWED => Ok(Made::There),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(Made::NothingAbove),
            _ => Err(refused(response, "cannot make a folder").await),
        }
    }

    /// Gives a resource another name on the same server, which may take so much longer to do it than others.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn rename(&self, from: &Url, to: &Url, replace: bool, patience: Duration) -> Result<Moved> {
        let attempt = async |as_path: bool| {
            let target = if as_path { to.path() } else { to.as_str() };
            let make = || {
                let request = self.request("MOVE", from.clone())?.header("Destination", target);
                Ok(request.header("Overwrite", if replace { "T" } else { "F" }))
            };
            self.send_patiently(0, patience, make).await
        };
        let as_path = self.targets_as_paths.load(Ordering::Relaxed);
        let mut response = attempt(as_path).await?;
        // Behind a proxy a server may not know itself by the URL that is used outside; a path says the same.
        if !as_path && matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY) {
            let error = refused(response, "cannot rename").await;
            response = attempt(true).await?;
            if !(response.status().is_success() || response.status() == StatusCode::PRECONDITION_FAILED) {
                return Err(error);
            }
            self.targets_as_paths.store(true, Ordering::Relaxed);
        }
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Moved::Done),
            StatusCode::PRECONDITION_FAILED => Ok(Moved::Taken),
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(Moved::Missing),
            _ => Err(refused(response, "cannot rename").await),
        }
    }

    /// Removes a resource, and what is in it. `None` when there is none.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn remove(&self, url: &Url) -> Result<Option<()>> {
        let response = self.send(0, || self.request("DELETE", url.clone())).await?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(Some(())),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            _ => Err(refused(response, "cannot delete").await),
        }
    }
}

async fn stored(response: Response) -> Result<Option<()>> {
    match response.status() {
        StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Some(())),
        StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(None),
        StatusCode::LENGTH_REQUIRED => Err(refused(response, "cannot store").await.hint(
            "this server takes only what says its length beforehand; the engine dedup stores nothing else",
        )),
        _ => Err(refused(response, "cannot store").await),
    }
}

/// The error of an answer that is not the one that was hoped for.
pub async fn refused(response: Response, what: &str) -> Error {
    let status = response.status();
    let wants = |scheme: &str| {
        let asked = response.headers().get_all("www-authenticate").iter();
        asked.filter_map(|value| value.to_str().ok()).any(|value| value.to_lowercase().starts_with(scheme))
    };
    let hint = match status {
        StatusCode::UNAUTHORIZED if wants("digest") && !wants("basic") => {
            "the server wants Digest authentication, which is not known here; let it offer Basic over TLS"
        }
        StatusCode::UNAUTHORIZED => {
            "user and password come from the address, ~/.netrc, and the password from ICECORE_STORAGE_PASSWORD"
        }
        status if status.is_redirection() => {
            "redirects are not followed; write the address that the server names"
        }
        _ => "",
    };
    let error = failed(response, what).await;
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// The error for a resource in an answer of which the server knows only a status.
pub fn cannot_tell(status: u16) -> Error {
    let kind = match status {
        401 | 403 => Kind::Denied,
        _ => Kind::Io,
    };
    let error = Error::new(kind, format!("the server cannot say what it is (status {status})"));
    // What is being deleted while it is listed is gone the next time.
    if matches!(status, 404 | 410 | 423 | 429 | 500..=599) { error.retry_later() } else { error }
}
