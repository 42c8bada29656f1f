//! Keys: from the environment, a profile, a web identity, the container or the machine the program runs in.
//!
//! Where they have to be fetched and renewed, `object_store` does it; it is told what it may know, and reads no variable itself.

use super::profile::Profile;
use crate::access::{Access, Timeouts};
use crate::http;
use icecore::error::{Error, Kind, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{Certificate, ClientOptions, RetryConfig, StaticCredentialProvider};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials";

/// Where keys come from.
pub(super) struct Source {
    provider: AwsCredentialProvider,
    /// Whether there have been any.
    had: AtomicBool,
}

impl Source {
    /// The first of the places that has keys. A profile that the address names comes before everything; one that only
    /// AWS_PROFILE names comes after the keys of the environment, as AWS's programs have it. Whoever gives keys is trusted by
    /// `certificates`, too.
    ///
    /// # Errors
    /// `Invalid` for half of what belongs together, `Unsupported` for a profile that gets them in a way that is not supported.
    pub(super) fn new(
        access: &Access,
        profile: &Profile,
        is_named: bool,
        region: &str,
        certificates: Option<&Path>,
    ) -> Result<Source> {
        let given = if is_named { of_profile(profile)? } else { None };
        let given = match given {
            None => of_environment(access)?,
            given => given,
        };
        let given = match given {
            None if !is_named => of_profile(profile)?,
            given => given,
        };
        match given {
            Some(keys) => {
                check(&keys)?;
                Ok(Source {
                    provider: Arc::new(StaticCredentialProvider::new(keys)),
                    had: AtomicBool::new(false),
                })
            }
            None => {
                let provider = fetched(access, region, certificates)?;
                Ok(Source { provider, had: AtomicBool::new(false) })
            }
        }
    }

    /// Keys that are valid now.
    ///
    /// # Errors
    /// `Denied` when there are none; an error that may pass when there have been some, which could not be renewed.
    pub(super) async fn keys(&self) -> Result<Arc<AwsCredential>> {
        let keys = self.provider.get_credential().await.map_err(|error| {
            let why = super::answer::shown(&error.to_string());
            match self.had.load(Ordering::Relaxed) {
                true => Error::new(Kind::Io, "cannot renew the keys for the server:").on(why).retry_later(),
                false => Error::new(
                    Kind::Denied,
                    "no keys for the server: none are given, and none could be fetched:",
                )
                .on(why)
                .hint(HINT),
            }
        })?;
        check(&keys)?;
        self.had.store(true, Ordering::Relaxed);
        Ok(keys)
    }
}

fn of_environment(access: &Access) -> Result<Option<AwsCredential>> {
    const NAMES: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    match NAMES.map(|name| access.text(name)) {
        [Some(key_id), Some(secret_key)] => {
            Ok(Some(AwsCredential { key_id, secret_key, token: access.text("AWS_SESSION_TOKEN") }))
        }
        [None, None] => Ok(None),
        [id, _] => {
            let [there, missing] = if id.is_some() { NAMES } else { [NAMES[1], NAMES[0]] };
            Err(Error::invalid(format!("{there} is set without"), missing))
        }
    }
}

fn of_profile(profile: &Profile) -> Result<Option<AwsCredential>> {
    let keys = profile.keys()?;
    Ok(keys.map(|keys| AwsCredential {
        key_id: keys.id.to_owned(),
        secret_key: keys.secret.to_owned(),
        token: keys.token.map(str::to_owned),
    }))
}

/// They go into headers, where nothing but visible letters may stand.
fn check(keys: &AwsCredential) -> Result<()> {
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = [
        ("key id", Some(&keys.key_id)),
        ("secret key", Some(&keys.secret_key)),
        ("token", keys.token.as_ref()),
    ];
    match parts.iter().find(|(_, part)| part.is_some_and(|part| !is_plain(part))) {
        Some((what, _)) => {
            Err(Error::invalid("there are spaces or odd letters in the", format!("{what} for S3")))
        }
        None => Ok(()),
    }
}

/// What leads to keys only with something else. Without it, those of the machine would be taken, which nobody meant.
const PAIRS: [[&str; 2]; 2] = [
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"],
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
];

/// From a web identity, else from the container, else from the machine in the cloud.
fn fetched(access: &Access, region: &str, certificates: Option<&Path>) -> Result<AwsCredentialProvider> {
    use AmazonS3ConfigKey as Key;
    const OPTIONS: [(&str, Key); 8] = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Key::MetadataEndpoint),
    ];
    let given = OPTIONS.iter().filter_map(|(name, key)| access.text(name).map(|value| (*name, *key, value)));
    let given: Vec<_> = given.collect();
    for [there, missing] in PAIRS {
        if access.text(there).is_some() && access.text(missing).is_none() {
            return Err(Error::invalid(format!("{there} is set without"), missing));
        }
    }
    let is_off =
        access.text("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let has_more =
        given.iter().any(|(name, ..)| name.starts_with("AWS_CONTAINER") || name.starts_with("AWS_WEB"));
    if is_off && !has_more {
        return Err(Error::new(Kind::Denied, "no keys for the server").hint(HINT));
    }
    let Timeouts { connect, idle, .. } = access.timeouts;
    // Nothing is tried again here: whoever calls does that.
    let retry = RetryConfig { max_retries: 0, retry_timeout: idle, ..RetryConfig::default() };
    let mut client = ClientOptions::new().with_connect_timeout(connect).with_timeout(idle);
    if let Some(path) = certificates {
        let wrong = |e: object_store::Error| {
            Error::invalid("cannot look for keys:", super::answer::shown(&e.to_string()))
        };
        for certificate in Certificate::from_pem_bundle(&http::pem(path)?).map_err(wrong)? {
            client = client.with_root_certificate(certificate);
        }
    }
    let mut builder = AmazonS3Builder::new().with_bucket_name("none").with_region(region);
    for (_, key, value) in given {
        builder = builder.with_config(key, value);
    }
    let store = builder.with_retry(retry).with_client_options(client).build();
    let store =
        store.map_err(|e| Error::invalid("cannot look for keys:", super::answer::shown(&e.to_string())))?;
    Ok(Arc::clone(store.credentials()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_no_header_can_hold_are_refused_without_showing_them() {
        let keys = |key: &str, token: Option<&str>| AwsCredential {
            key_id: "AKIA".to_owned(),
            secret_key: key.to_owned(),
            token: token.map(str::to_owned),
        };
        assert!(check(&keys("a/b+c", Some("t=="))).is_ok());
        for bad in [keys("", None), keys("hidden\n", None), keys("a", Some("hid den"))] {
            let error = check(&bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(!error.to_string().contains("hid"), "{error}");
        }
    }
}
