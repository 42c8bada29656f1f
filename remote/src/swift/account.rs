//! An account of Swift: its URL, a token that is renewed before it expires and when it is refused, and requests with it.
//!
//! Invariants: of many threads that need a new token one fetches it. A request that is refused for its token is sent once more
//! with a new one, with the same bytes, and never a third time.

use super::settings::{Credentials, Settings};
use super::{keystone, tempauth};
use crate::access::Secret;
use crate::http::{Http, Response, failed, read_body_limited};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The answer to `/info`.
const INFO_BYTES: usize = 1 << 20;
/// A token is renewed when so much of its life is left, or a tenth of it.
const MARGIN: Duration = Duration::from_secs(120);

/// What a login gives.
#[derive(Clone)]
pub struct Session {
    /// Where the account is.
    pub url: Url,
    /// For `X-Auth-Token`.
    pub token: Secret,
    /// When to fetch a new one, if that is known.
    pub renew_at: Option<Instant>,
}

/// When to renew a token that lives so long from now on.
pub fn renewal(life: Duration) -> Option<Instant> {
    Instant::now().checked_add(life.saturating_sub(MARGIN.min(life / 10)))
}

/// A request to the account.
pub struct Call {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Call {
    /// A request for a path behind the account's URL, spelled for URLs.
    pub fn new(method: Method, path: String) -> Call {
        Call { method, path, query: String::new(), headers: HeaderMap::new(), body: None }
    }

    /// With a query, spelled for URLs.
    #[must_use]
    pub fn query(mut self, query: String) -> Call {
        self.query = query;
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.insert(name, value);
        self
    }

    /// With bytes.
    #[must_use]
    pub fn body(mut self, body: Bytes) -> Call {
        self.body = Some(body);
        self
    }
}

/// What a cluster says of itself.
#[derive(Debug, Default, Deserialize)]
pub struct Info {
    #[serde(default)]
    swift: Limits,
    bulk_delete: Option<Bulk>,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    max_file_size: Option<u64>,
    container_listing_limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Bulk {
    max_deletes_per_request: Option<usize>,
}

impl Info {
    /// The longest object that is no manifest.
    pub fn longest(&self) -> Option<u64> {
        self.swift.max_file_size
    }

    /// The rows of a full page of a listing.
    pub fn page(&self) -> Option<usize> {
        self.swift.container_listing_limit
    }

    /// How many objects one request may delete; `None` where there is no such request.
    pub fn bulk(&self) -> Option<usize> {
        self.bulk_delete.as_ref().and_then(|bulk| bulk.max_deletes_per_request).filter(|most| *most > 0)
    }
}

/// An account that has been logged in to.
pub struct Account {
    http: Http,
    settings: Settings,
    session: Mutex<Arc<Session>>,
}

impl Account {
    /// Logs in.
    ///
    /// # Errors
    /// `Denied` for wrong credentials; `Invalid` when the catalogue has no such endpoint; otherwise as the connection has it.
    pub async fn login(http: Http, settings: Settings) -> Result<Account> {
        let session = log_in(&http, &settings).await?;
        Ok(Account { http, settings, session: Mutex::new(Arc::new(session)) })
    }

    /// The account's URL at present.
    pub async fn url(&self) -> Url {
        self.session.lock().await.url.clone()
    }

    /// Sends a request, whatever the status of its answer.
    ///
    /// # Errors
    /// As [`Http::send`] has them, and those of a login.
    pub async fn send(&self, call: &Call) -> Result<Response> {
        let session = self.session(None).await?;
        let response = self.send_with(call, &session).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.settings.credentials.renewable() {
            return Ok(response);
        }
        // Its connection is free again before the login needs one.
        drop(response);
        let session = self.session(Some(&session)).await?;
        self.send_with(call, &session).await
    }

    async fn send_with(&self, call: &Call, session: &Session) -> Result<Response> {
        let mut url = session.url.clone();
        url.set_path(&format!("{}{}", session.url.path().trim_end_matches('/'), call.path));
        url.set_query(Some(call.query.as_str()).filter(|query| !query.is_empty()));
        let mut token = HeaderValue::from_str(session.token.expose())
            .map_err(|_| Error::new(Kind::Invalid, "the token has characters that no header can hold"))?;
        token.set_sensitive(true);
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .headers(call.headers.clone())
            .header("x-auth-token", token);
        let length = call.body.as_ref().map_or(0, Bytes::len);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_LENGTH, length).body(body.clone());
        }
        self.http.send(request, length).await
    }

    /// The session, a new one if it is to be renewed or is the one that was `refused`.
    async fn session(&self, refused: Option<&Arc<Session>>) -> Result<Arc<Session>> {
        // Held during a login: the others wait for its outcome.
        let mut session = self.session.lock().await;
        let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &session));
        let is_old =
            session.renew_at.is_some_and(|at| Instant::now() >= at) && self.settings.credentials.renewable();
        if is_refused || is_old {
            *session = Arc::new(log_in(&self.http, &self.settings).await?);
        }
        Ok(Arc::clone(&session))
    }

    /// What the cluster says of itself; nothing where it does not.
    ///
    /// # Errors
    /// None for a cluster that keeps it to itself; those of the connection.
    pub async fn info(&self) -> Result<Info> {
        let mut url = self.url().await;
        let path = url.path().to_owned();
        let before = path.find("/v1").map_or("", |at| &path[..at]);
        url.set_path(&format!("{before}/info"));
        let response = self.http.send(self.http.request(Method::GET, url), 0).await?;
        if response.status() != StatusCode::OK {
            return Ok(Info::default());
        }
        let body = read_body_limited(response, INFO_BYTES).await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

async fn log_in(http: &Http, settings: &Settings) -> Result<Session> {
    let session = match &settings.credentials {
        Credentials::Keystone(login) => keystone::log_in(http, login, settings).await,
        Credentials::Tempauth(login) => tempauth::log_in(http, login).await,
        Credentials::Token { token, url } => {
            Ok(Session { url: url.clone(), token: token.clone(), renew_at: None })
        }
    };
    let mut session =
        session.map_err(|error| error.while_doing("cannot log in at", settings.credentials.place()))?;
    if let Some(url) = &settings.storage_url {
        session.url = url.clone();
    }
    if !matches!(session.url.scheme(), "http" | "https") || session.url.cannot_be_a_base() {
        return Err(Error::invalid("no URL of an account:", session.url.to_string()));
    }
    Ok(session)
}

/// The error of an answer to a login.
pub async fn refused(response: Response) -> Error {
    let error = failed(response, "the login is refused").await;
    match error.kind() {
        Kind::Denied => error.hint("check the user, the password and the project"),
        // Not of the container, which would be made.
        Kind::NotFound => Error::new(Kind::Invalid, "there is no such service").because(error),
        _ => error,
    }
}
