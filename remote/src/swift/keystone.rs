//! OpenStack's identity service, version 3: who asks, for which project; a token and a catalogue in return.

use super::account::{Session, refused, renewal};
use super::settings::Settings;
use crate::access::Secret;
use crate::http::{Http, limited, read_body_limited};
use icecore::error::{Error, Kind, Result};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The answer with the catalogue.
const ANSWER_BYTES: usize = 4 << 20;
/// What the catalogue calls Swift.
const OBJECT_STORE: &str = "object-store";

/// Where and as whom to log in, for what.
pub struct Login {
    /// `…/v3`.
    pub url: Url,
    /// As whom.
    pub identity: Identity,
    /// For which project; an application credential and some tokens have theirs.
    pub project: Option<Named>,
}

/// How to show who one is.
pub enum Identity {
    /// User and password.
    Password {
        /// The user.
        user: Named,
        /// The password.
        password: Secret,
    },
    /// An application credential by its id.
    Application {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Secret,
    },
    /// An application credential by its name.
    NamedApplication {
        /// Its name.
        name: String,
        /// Whose it is.
        user: Named,
        /// Its secret.
        secret: Secret,
    },
    /// A token that somebody else fetched.
    Token(Secret),
}

/// A user or project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By its id.
    Id(String),
    /// By its name in a domain.
    Name(String, Domain),
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
}

impl Named {
    fn json(&self) -> Value {
        match self {
            Named::Id(id) => json!({ "id": id }),
            Named::Name(name, Domain::Id(id)) => json!({ "name": name, "domain": { "id": id } }),
            Named::Name(name, Domain::Name(domain)) => json!({ "name": name, "domain": { "name": domain } }),
        }
    }
}

impl Login {
    fn json(&self) -> Value {
        let identity = match &self.identity {
            Identity::Password { user, password } => {
                let mut user = user.json();
                user["password"] = password.expose().into();
                json!({ "methods": ["password"], "password": { "user": user } })
            }
            Identity::Application { id, secret } => json!({
                "methods": ["application_credential"],
                "application_credential": { "id": id, "secret": secret.expose() },
            }),
            Identity::NamedApplication { name, user, secret } => json!({
                "methods": ["application_credential"],
                "application_credential": { "name": name, "user": user.json(), "secret": secret.expose() },
            }),
            Identity::Token(token) => json!({ "methods": ["token"], "token": { "id": token.expose() } }),
        };
        let mut auth = json!({ "identity": identity });
        if let Some(project) = &self.project {
            auth["scope"] = json!({ "project": project.json() });
        }
        json!({ "auth": auth })
    }
}

/// Logs in.
///
/// # Errors
/// `Denied` for wrong credentials; `Invalid` when the catalogue has no such endpoint; otherwise as the connection has it.
pub async fn log_in(http: &Http, login: &Login, settings: &Settings) -> Result<Session> {
    let mut url = login.url.clone();
    url.set_path(&format!("{}/auth/tokens", login.url.path().trim_end_matches('/')));
    let body = login.json().to_string();
    let length = body.len();
    let request = http.request(Method::POST, url).header(CONTENT_TYPE, "application/json").body(body);
    let response = http.send(request, length).await?;
    if response.status() != StatusCode::CREATED && response.status() != StatusCode::OK {
        return Err(refused(response).await);
    }
    let token = response.header("x-subject-token").map(Secret::new);
    let token = token.ok_or_else(|| {
        Error::new(Kind::Invalid, "the answer has no X-Subject-Token: is that address Keystone's?")
    })?;
    let body = read_body_limited(response, ANSWER_BYTES).await?;
    let answer = answer(&body)?;
    let url = match &settings.storage_url {
        Some(url) => url.clone(),
        None => answer.endpoint(settings.region.as_deref(), &settings.interface)?,
    };
    Ok(Session { url, token, renew_at: answer.life().and_then(renewal) })
}

#[derive(Deserialize)]
struct Answer {
    token: Token,
}

/// A token, as Keystone describes it.
#[derive(Deserialize)]
pub struct Token {
    issued_at: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    #[serde(default)]
    url: String,
}

/// Reads the answer to a login.
///
/// # Errors
/// `Invalid` when it is none.
pub fn answer(body: &[u8]) -> Result<Token> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|e| Error::new(Kind::Invalid, "the answer is not one of Keystone's").because(e))?;
    Ok(answer.token)
}

impl Token {
    /// How long it lives, by the clock of the server alone.
    fn life(&self) -> Option<Duration> {
        let time =
            |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let life = time(&self.expires_at)?.duration_since(time(&self.issued_at)?);
        Duration::try_from(life).ok()
    }

    /// The URL of the account.
    fn endpoint(&self, region: Option<&str>, interface: &str) -> Result<Url> {
        if self.catalog.is_empty() {
            return Err(Error::new(Kind::Invalid, "the token is for no project")
                .hint("set OS_PROJECT_NAME or OS_PROJECT_ID"));
        }
        let stores = self.catalog.iter().filter(|service| service.kind == OBJECT_STORE);
        let all: Vec<&Endpoint> = stores.flat_map(|service| &service.endpoints).collect();
        let in_region = |endpoint: &&&Endpoint| {
            region.is_none_or(|region| {
                [&endpoint.region, &endpoint.region_id].into_iter().flatten().any(|its| its == region)
            })
        };
        let fits: Vec<&&Endpoint> =
            all.iter().filter(in_region).filter(|endpoint| endpoint.interface == interface).collect();
        let known = || {
            let mut names: Vec<String> = all
                .iter()
                .map(|endpoint| {
                    format!("{} in {}", endpoint.interface, endpoint.region.as_deref().unwrap_or("no region"))
                })
                .collect();
            names.sort();
            names.dedup();
            match names.is_empty() {
                true => "the catalogue has no object store".to_owned(),
                false => limited(&format!("the catalogue has: {}", names.join(", "))),
            }
        };
        let Some(endpoint) = fits.first() else {
            let what = format!("no {interface} endpoint of an object store");
            let region = region.map(|region| format!("in the region {region}"));
            return Err(Error::new(Kind::Invalid, what).on(region.unwrap_or_default()).because(known()));
        };
        if fits.iter().any(|other| other.url != endpoint.url) {
            let what = "the object store is in several regions";
            return Err(Error::new(Kind::Invalid, what)
                .because(known())
                .hint("set OS_REGION_NAME, or ?region= in the address"));
        }
        Url::parse(&endpoint.url)
            .map_err(|e| Error::invalid("not a URL in the catalogue:", limited(&endpoint.url)).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(endpoints: &[(&str, &str, &str)]) -> Token {
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|(interface, region, url)| json!({"interface": interface, "region": region, "url": url}))
            .collect();
        let body = json!({"token": {
            "issued_at": "2026-11-28T09:00:00.000000Z",
            "expires_at": "2026-11-28T10:00:00.000000Z",
            "catalog": [{"type": "identity", "endpoints": []}, {"type": "object-store", "endpoints": endpoints}],
        }});
        answer(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_endpoint_is_chosen_by_region_and_interface() {
        let token = token(&[
            ("public", "one", "http://a/v1/AUTH_x"),
            ("internal", "one", "http://b/v1/AUTH_x"),
            ("public", "two", "http://c/v1/AUTH_x"),
        ]);
        let host = |region, interface| {
            token.endpoint(region, interface).map(|url| url.host_str().unwrap().to_owned())
        };
        assert_eq!(host(Some("one"), "public").unwrap(), "a");
        assert_eq!(host(Some("two"), "public").unwrap(), "c");
        assert_eq!(host(None, "internal").unwrap(), "b");
        // Which of two is meant is not guessed.
        for (region, interface) in [(None, "public"), (Some("two"), "internal"), (Some("three"), "public")] {
            let error = host(region, interface).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains("public in one"), "{error}");
        }
    }

    #[test]
    fn a_token_lives_as_long_as_the_server_says_whatever_the_clock_here() {
        assert_eq!(token(&[]).life(), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_token_without_a_project_is_told() {
        let token = answer(br#"{"token": {}}"#).unwrap();
        assert!(token.endpoint(None, "public").unwrap_err().advice().unwrap().contains("OS_PROJECT_NAME"));
    }

    #[test]
    fn logins_are_spelled_as_keystone_reads_them() {
        let login = Login {
            url: Url::parse("http://k/v3").unwrap(),
            identity: Identity::Password {
                user: Named::Name("me".into(), Domain::Id("default".into())),
                password: Secret::new("p"),
            },
            project: Some(Named::Name("us".into(), Domain::Name("D".into()))),
        };
        let expected = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": "me", "domain": {"id": "default"}, "password": "p"}}},
            "scope": {"project": {"name": "us", "domain": {"name": "D"}}},
        }});
        assert_eq!(login.json(), expected);
    }

    proptest! {
        #[test]
        fn any_answer_is_an_answer_or_an_error(body: Vec<u8>) {
            if let Ok(token) = answer(&body) {
                token.life();
                token.endpoint(None, "public").ok();
            }
        }
    }
}
