//! Which account, and how to log in: from the address, the variables that OpenStack's own clients read, and `clouds.yaml`.
//!
//! Invariant: what is set and not understood is an error, never passed over, where it would change who logs in to what.

use super::clouds::{self, Cloud};
use super::keystone::{self, Domain, Identity, Named};
use super::tempauth;
use crate::access::{Access, Secret};
use crate::http::Http;
use icecore::error::{Error, Kind, Result};
use reqwest::Url;
use std::path::{Path, PathBuf};

/// How to log in.
pub enum Credentials {
    /// At Keystone.
    Keystone(keystone::Login),
    /// At Swift itself.
    Tempauth(tempauth::Login),
    /// Somebody else did.
    Token {
        /// The token.
        token: Secret,
        /// The account.
        url: Url,
    },
}

impl Credentials {
    /// Whether a new token can be had.
    pub fn renewable(&self) -> bool {
        !matches!(self, Credentials::Token { .. })
    }

    /// Where the login is, for people.
    pub fn place(&self) -> String {
        match self {
            Credentials::Keystone(login) => login.url.to_string(),
            Credentials::Tempauth(login) => login.url.to_string(),
            Credentials::Token { url, .. } => url.to_string(),
        }
    }
}

/// All that a login needs to know.
pub struct Settings {
    /// As whom.
    pub credentials: Credentials,
    /// The region of the catalogue.
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// The account, whatever the catalogue says.
    pub storage_url: Option<Url>,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, Option<PathBuf>)>,
}

/// What the address says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Asked<'a> {
    /// A cloud.
    pub cloud: Option<&'a str>,
    /// A region.
    pub region: Option<&'a str>,
    /// An interface.
    pub interface: Option<&'a str>,
}

/// Where a word is looked up: in a cloud, or in the environment.
struct Words<'a> {
    access: &'a Access,
    cloud: Option<Cloud>,
}

impl Words<'_> {
    /// A word of a login.
    fn auth(&self, key: &str) -> Option<String> {
        match &self.cloud {
            Some(cloud) => cloud.auth(key),
            None => self.variable(key),
        }
    }

    fn variable(&self, key: &str) -> Option<String> {
        self.access.text(&format!("OS_{}", key.to_uppercase()))
    }

    /// Any of several.
    fn any<const N: usize>(&self, keys: [&str; N]) -> Option<String> {
        keys.iter().find_map(|key| self.auth(key))
    }

    /// A secret: one may be left out of a file, and be said in the environment, or be asked for.
    fn secret(&self, key: &str) -> Result<Secret> {
        if let Some(secret) = self.auth(key).or_else(|| self.variable(key)) {
            return Ok(Secret::new(secret));
        }
        (self.access.password)()?.ok_or_else(|| {
            Error::new(Kind::Invalid, "a secret is missing:").on(format!("OS_{}", key.to_uppercase()))
        })
    }

    /// Something that is not of the login: in a cloud beside `auth`.
    fn other(&self, of_cloud: impl FnOnce(&Cloud) -> Option<String>, key: &str) -> Option<String> {
        // The variables may be those of another account.
        match &self.cloud {
            Some(cloud) => of_cloud(cloud).filter(|value| !value.is_empty()),
            None => self.variable(key),
        }
    }
}

impl Settings {
    /// Gathers them.
    ///
    /// # Errors
    /// `Invalid` and `Unsupported` for what is missing, contradicts itself or is not known.
    pub fn gather(asked: Asked<'_>, access: &Access) -> Result<Settings> {
        let words = Words { access, cloud: cloud(asked.cloud, access)? };
        refuse_insecure(&words)?;
        let storage_url = words.other(|cloud| cloud.object_store_endpoint_override.clone(), "storage_url");
        let storage_url = storage_url.map(|text| url("OS_STORAGE_URL", &text)).transpose()?;
        let credentials = credentials(&words, storage_url.as_ref())?;
        let region = words.other(|cloud| cloud.region_name.clone(), "region_name");
        let interface =
            words.other(|cloud| cloud.interface.clone().or(cloud.endpoint_type.clone()), "interface");
        let before = || words.other(|_| None, "endpoint_type");
        let interface = asked.interface.map(str::to_owned).or(interface).or_else(before);
        let path = |text: String| match (text.strip_prefix("~/"), &access.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        let key = words.other(|cloud| cloud.key.clone(), "key").map(path);
        Ok(Settings {
            credentials,
            region: asked.region.map(str::to_owned).or(region),
            interface: interface_name(interface.as_deref().unwrap_or("public"))?,
            storage_url,
            ca_file: words.other(|cloud| cloud.cacert.clone(), "cacert").map(path),
            certificate: words.other(|cloud| cloud.cert.clone(), "cert").map(|cert| (path(cert), key)),
        })
    }

    /// A client with the certificates that were named.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn client(&self, access: &Access) -> Result<Http> {
        let (ca, at_once) = (self.ca_file.as_deref(), access.connections);
        match &self.certificate {
            Some((certificate, Some(key))) => {
                Http::with_key(access.timeouts, at_once, ca, &[certificate, key])
            }
            Some((certificate, None)) => Http::new(access.timeouts, at_once, ca, Some(certificate)),
            None => Http::new(access.timeouts, at_once, ca, None),
        }
    }
}

fn cloud(asked: Option<&str>, access: &Access) -> Result<Option<Cloud>> {
    let Some(name) = asked.map(str::to_owned).or_else(|| access.text("OS_CLOUD")) else { return Ok(None) };
    let places = |variable: &str, file: &str| match access.text(variable) {
        Some(path) => vec![PathBuf::from(path)],
        None => clouds::folders(access.home.as_deref()).iter().map(|folder| folder.join(file)).collect(),
    };
    let files = places("OS_CLIENT_CONFIG_FILE", "clouds.yaml");
    let secure = places("OS_CLIENT_SECURE_FILE", "secure.yaml");
    clouds::find(&name, &files, &secure).map(Some)
}

fn refuse_insecure(words: &Words<'_>) -> Result<()> {
    let is = |value: Option<String>, truths: &[&str]| {
        value.is_some_and(|value| truths.contains(&value.trim().to_lowercase().as_str()))
    };
    let unverified = words.cloud.as_ref().and_then(|cloud| cloud.verify.clone());
    if is(words.variable("insecure"), &["1", "true", "yes", "on", "y", "t"])
        || is(unverified, &["0", "false", "no", "off", "n"])
    {
        let error = Error::new(
            Kind::Unsupported,
            "certificates are always checked: OS_INSECURE and verify: false are refused",
        );
        return Err(error.hint("name the authority's certificate in OS_CACERT"));
    }
    Ok(())
}

fn url(what: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|e| Error::invalid("not a URL:", what).because(e))?;
    match matches!(url.scheme(), "http" | "https") && url.host_str().is_some() {
        true => Ok(url),
        false => Err(Error::invalid("not a URL of http or https:", what)),
    }
}

/// `publicURL` is what it was called once.
fn interface_name(text: &str) -> Result<String> {
    let name = text.strip_suffix("URL").unwrap_or(text);
    match matches!(name, "public" | "internal" | "admin") {
        true => Ok(name.to_owned()),
        false => Err(Error::invalid("not an interface:", text).hint("public, internal or admin")),
    }
}

fn credentials(words: &Words<'_>, storage_url: Option<&Url>) -> Result<Credentials> {
    let sort = words.other(|cloud| cloud.auth_type.clone(), "auth_type");
    let auth_url = words.auth("auth_url");
    let old = words.access.text("ST_AUTH").filter(|_| words.cloud.is_none());
    let token = words.any(["token", "auth_token"]);
    let is_old =
        matches!(sort.as_deref(), Some("v1password" | "v1")) || (sort.is_none() && auth_url.is_none());
    match (auth_url, old, token) {
        (Some(_), Some(_), _) if sort.is_none() => {
            Err(Error::new(Kind::Invalid, "both OS_AUTH_URL and ST_AUTH are set")
                .hint("unset the one that is not meant"))
        }
        (None, None, Some(token)) => match storage_url {
            Some(url) => Ok(Credentials::Token { token: Secret::new(token), url: url.clone() }),
            None => Err(Error::new(Kind::Invalid, "a token alone leads nowhere")
                .hint("set OS_STORAGE_URL or OS_AUTH_URL, too")),
        },
        (auth_url, old, _) if is_old && (auth_url.is_some() || old.is_some()) => {
            let login_url = old.or(auth_url).unwrap_or_default();
            tempauth(words, &login_url).map(Credentials::Tempauth)
        }
        (Some(auth_url), _, token) => {
            keystone(words, sort.as_deref(), &auth_url, token).map(Credentials::Keystone)
        }
        (None, ..) => Err(Error::new(Kind::Invalid, "no account of Swift is known")
            .hint("set the OS_ variables of an openrc file, OS_CLOUD, or ST_AUTH, ST_USER and ST_KEY")),
    }
}

fn tempauth(words: &Words<'_>, login_url: &str) -> Result<tempauth::Login> {
    let user = words.access.text("ST_USER").or_else(|| words.any(["username", "user_name"]));
    let user = user.ok_or_else(|| Error::new(Kind::Invalid, "a user is missing:").on("ST_USER"))?;
    let key = match words.access.text("ST_KEY") {
        Some(key) => Secret::new(key),
        None => words.secret("password")?,
    };
    Ok(tempauth::Login { url: url("ST_AUTH", login_url)?, user, key })
}

fn keystone(
    words: &Words<'_>,
    sort: Option<&str>,
    auth_url: &str,
    token: Option<String>,
) -> Result<keystone::Login> {
    let version = words.other(|cloud| cloud.identity_api_version.clone(), "identity_api_version");
    let is_third = |version: &String| version.trim_start_matches('v').split('.').next() == Some("3");
    if let Some(version) = version.filter(|version| !is_third(version)) {
        return Err(Error::new(Kind::Unsupported, "not a known version of Keystone's API:")
            .on(version)
            .hint("3 is"));
    }
    for (key, what) in [("system_scope", "a whole system"), ("trust_id", "a trust")] {
        if words.auth(key).is_some() {
            let what = format!(
                "a login for {what} has no object store, or is not supported: OS_{}",
                key.to_uppercase()
            );
            return Err(Error::new(Kind::Unsupported, what));
        }
    }
    let project =
        named(words, ["project_id", "tenant_id"], ["project_name", "tenant_name"], "project_domain");
    let user = named(words, ["user_id"], ["username", "user_name"], "user_domain");
    let need_user =
        || user.clone().ok_or_else(|| Error::new(Kind::Invalid, "a user is missing:").on("OS_USERNAME"));
    let application = [words.auth("application_credential_id"), words.auth("application_credential_name")];
    let (identity, project) = match (sort, application) {
        (None | Some("v3applicationcredential"), [Some(id), _]) => {
            (Identity::Application { id, secret: words.secret("application_credential_secret")? }, None)
        }
        (None | Some("v3applicationcredential"), [None, Some(name)]) => {
            let secret = words.secret("application_credential_secret")?;
            (Identity::NamedApplication { name, user: need_user()?, secret }, None)
        }
        (Some("token" | "v3token"), _) | (None, _) if token.is_some() => {
            (Identity::Token(Secret::new(token.unwrap_or_default())), project)
        }
        (None | Some("password" | "v3password"), _) => {
            let user = need_user()?;
            (Identity::Password { user, password: words.secret("password")? }, Some(need_project(project)?))
        }
        (Some(known @ ("token" | "v3token" | "v3applicationcredential")), _) => {
            return Err(Error::new(Kind::Invalid, "nothing to log in with as OS_AUTH_TYPE says:").on(known));
        }
        (Some(other), _) => {
            let error = Error::new(Kind::Unsupported, "not a known OS_AUTH_TYPE:").on(other);
            return Err(error.hint("v3password, v3applicationcredential and v3token are, and v1password"));
        }
    };
    Ok(keystone::Login { url: identity_url(auth_url)?, identity, project })
}

fn need_project(project: Option<Named>) -> Result<Named> {
    project.ok_or_else(|| Error::new(Kind::Invalid, "a project is missing:").on("OS_PROJECT_NAME"))
}

/// Who or what is meant by its id, or by a name in a domain.
fn named<const I: usize, const N: usize>(
    words: &Words<'_>,
    ids: [&str; I],
    names: [&str; N],
    domain: &str,
) -> Option<Named> {
    if let Some(id) = words.any(ids) {
        return Some(Named::Id(id));
    }
    let default =
        || words.any(["default_domain", "default_domain_id"]).unwrap_or_else(|| "default".to_owned());
    let by_name = || words.any([&format!("{domain}_name")]).map(Domain::Name);
    let its = words.any([&format!("{domain}_id")]).map(Domain::Id).or_else(by_name);
    words.any(names).map(|name| Named::Name(name, its.unwrap_or_else(|| Domain::Id(default()))))
}

/// The address of version 3, which people leave out.
fn identity_url(text: &str) -> Result<Url> {
    let mut url = url("OS_AUTH_URL", text)?;
    let path = url.path().trim_end_matches('/').to_owned();
    let bare = path.strip_suffix("/v2.0").unwrap_or(&path);
    if !Path::new(bare).ends_with("v3") {
        url.set_path(&format!("{bare}/v3"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
