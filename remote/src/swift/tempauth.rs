//! Swift's own login, version 1: user and key in headers, account and token in those of the answer.

use super::account::{Session, refused, renewal};
use crate::access::Secret;
use crate::http::Http;
use icecore::error::{Error, Kind, Result};
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use std::time::Duration;

/// Where and as whom to log in.
pub struct Login {
    /// `…/auth/v1.0`.
    pub url: Url,
    /// Often `account:user`.
    pub user: String,
    /// The key.
    pub key: Secret,
}

/// Logs in.
///
/// # Errors
/// `Denied` for a wrong key; otherwise as the connection has it.
pub async fn log_in(http: &Http, login: &Login) -> Result<Session> {
    let header = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| {
            Error::new(Kind::Invalid, "the user or the key has characters that no header can hold")
        })
    };
    let mut key = header(login.key.expose())?;
    key.set_sensitive(true);
    let request = http.request(Method::GET, login.url.clone());
    let request = request.header("x-auth-user", header(&login.user)?).header("x-auth-key", key);
    let response = http.send(request, 0).await?;
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    let lacks = |what: &str| {
        Error::new(Kind::Invalid, format!("the answer has no {what}: is that address one of Swift's logins?"))
    };
    let url = response.header("x-storage-url").and_then(|url| Url::parse(url).ok());
    let token = response.header("x-auth-token").or_else(|| response.header("x-storage-token"));
    let life = response.header("x-auth-token-expires").and_then(|seconds| seconds.parse().ok());
    Ok(Session {
        url: url.ok_or_else(|| lacks("X-Storage-Url"))?,
        token: Secret::new(token.ok_or_else(|| lacks("X-Auth-Token"))?),
        renew_at: life.map(Duration::from_secs).and_then(renewal),
    })
}
