//! Where a bucket is, and how the URL of a key in it is written.
//!
//! Invariants: a connection without TLS is only made to an endpoint that is written with `http://`; an endpoint never holds a
//! user or a password; every byte of a key that is not a letter, a digit or one of `-._~/` is percent-encoded.

use super::profile::Profile;
use crate::access::Access;
use crate::address::Address;
use crate::http;
use icecore::error::{Error, Result};
use icecore::limits::{S3_PART_MAX_BYTES, S3_PART_MIN_BYTES};
use icecore::name::ObjectName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// What signatures are computed over: all but these is encoded.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEY: &AsciiSet = &VALUE.remove(b'/');

/// The region of those who name none.
const REGION: &str = "us-east-1";

/// Classes of storage whose objects cannot be read when they are wanted.
const FROZEN: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Options of an address.
const OPTIONS: [&str; 6] = ["endpoint", "region", "style", "profile", "storage-class", "part-size"];

/// Where a bucket is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The endpoint, when it is not AWS itself.
    endpoint: Option<Url>,
    style: Style,
    /// What the bucket is called.
    pub(super) bucket: String,
    /// What every key begins with: empty, or with a slash at its end.
    pub(super) root: String,
    /// The region that is signed for.
    pub(super) region: String,
    /// Whether somebody named it.
    pub(super) region_is_given: bool,
    /// The class of new objects.
    pub(super) storage_class: Option<String>,
    /// The size of the parts of long objects, when the user wants one for all.
    pub(super) part_bytes: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// The bucket is the first part of the path.
    Path,
    /// The bucket is the first part of the host's name.
    Host,
}

/// The profile that an address names.
///
/// # Errors
/// `Invalid` for an option that is not known.
pub(super) fn profile(address: &Address) -> Result<Option<&str>> {
    let [_, _, _, profile, _, _] = address.options(OPTIONS)?;
    Ok(profile)
}

impl Place {
    /// From the address, then the environment, then the profile.
    ///
    /// # Errors
    /// `Invalid` for what makes no sense.
    pub(super) fn new(address: &Address, access: &Access, profile: &Profile) -> Result<Place> {
        Place::gather(address, Some(address.host()?), access, profile)
    }

    /// The server itself, of which a list of its buckets is asked, and no key.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub(super) fn of_server(address: &Address, access: &Access, profile: &Profile) -> Result<Place> {
        Place::gather(address, None, access, profile)
    }

    fn gather(address: &Address, bucket: Option<&str>, access: &Access, profile: &Profile) -> Result<Place> {
        let [endpoint, region, style, _, storage_class, part_size] = address.options(OPTIONS)?;
        if address.user().is_some() || address.password().is_some() || address.port().is_some() {
            let error =
                Error::invalid("an address of S3 holds neither keys nor a port:", address.to_string());
            return Err(error.hint("s3://BUCKET/PREFIX?endpoint=https://HOST:PORT, and keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        let text = |name| access.text(name);
        let endpoint = endpoint.map(str::to_owned);
        let endpoint = endpoint.or_else(|| text("AWS_ENDPOINT_URL_S3")).or_else(|| text("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.or_else(|| profile.endpoint().map(str::to_owned));
        let endpoint = endpoint.as_deref().map(endpoint_url).transpose()?;

        let region =
            region.map(str::to_owned).or_else(|| text("AWS_REGION")).or_else(|| text("AWS_DEFAULT_REGION"));
        let region = region.or_else(|| profile.region().map(str::to_owned));
        let region_is_given = region.is_some();
        let region = checked("a region", region.unwrap_or_else(|| REGION.to_owned()), |letter| {
            letter.is_ascii_alphanumeric() || "-_".contains(letter)
        })?;
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let bucket = bucket.map(|bucket| checked("a bucket", bucket.to_owned(), is_letter)).transpose()?;
        let is_host = bucket.is_some();
        let bucket = bucket.unwrap_or_default();
        let style = match style {
            _ if !is_host => Style::Path,
            Some("path") => Style::Path,
            Some("virtual") => Style::Host,
            Some(other) => return Err(Error::invalid("style is 'path' or 'virtual', not", other)),
            // A certificate for *.s3.amazonaws.com is none for names with a dot more.
            None if endpoint.is_some() || bucket.contains('.') => Style::Path,
            None => Style::Host,
        };
        let root = match address.prefix() {
            "" => String::new(),
            prefix => format!("{}/", ObjectName::new(prefix)?),
        };
        let storage_class = storage_class.map(|class| {
            checked("a storage class", class.to_ascii_uppercase(), |letter| {
                letter.is_ascii_alphanumeric() || letter == '_'
            })
        });
        let storage_class = storage_class.transpose()?;
        if let Some(class) = storage_class.as_deref().filter(|class| FROZEN.contains(class)) {
            let error =
                Error::invalid("objects cannot be read when they are wanted in the storage class", class);
            return Err(error.hint("GLACIER_IR can be read at once"));
        }
        let part_bytes = part_size.map(part_bytes).transpose()?;
        Ok(Place { endpoint, style, bucket, root, region, region_is_given, storage_class, part_bytes })
    }

    /// Whether it is AWS itself, of which everything is known.
    pub(super) fn is_aws(&self) -> bool {
        self.endpoint.is_none()
    }

    /// Whether nobody else is on the line to it: TLS keeps it, or it does not leave this machine.
    pub(super) fn is_private(&self, has_proxy: bool) -> bool {
        let Some(endpoint) = &self.endpoint else { return true };
        endpoint.scheme() == "https" || !has_proxy && endpoint.host_str().is_some_and(http::is_this_machine)
    }

    /// The URL of a key, or of the bucket.
    pub(super) fn url(&self, key: Option<&str>, query: &[(&str, &str)]) -> String {
        let (scheme, host, base) = match &self.endpoint {
            Some(url) => {
                let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
                (url.scheme(), host.to_owned(), url.path().trim_end_matches('/'))
            }
            None => {
                let end = if self.region.starts_with("cn-") { ".cn" } else { "" };
                ("https", format!("s3.{}.amazonaws.com{end}", self.region), "")
            }
        };
        let mut written = match self.style {
            Style::Path => format!("{scheme}://{host}{base}/{}", self.bucket),
            Style::Host => format!("{scheme}://{}.{host}{base}", self.bucket),
        };
        match key {
            Some(key) => {
                written.push('/');
                written.extend(utf8_percent_encode(key, KEY));
            }
            None if self.style == Style::Host => written.push('/'),
            None => (),
        }
        for (number, (name, value)) in query.iter().enumerate() {
            written.push(if number == 0 { '?' } else { '&' });
            written.extend(utf8_percent_encode(name, VALUE));
            if !value.is_empty() {
                written.push('=');
                written.extend(utf8_percent_encode(value, VALUE));
            }
        }
        written
    }

    /// The same bucket, signed for another region.
    pub(super) fn in_region(self, region: String) -> Place {
        Place { region, ..self }
    }

    /// The key of an object.
    pub(super) fn key(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.root)
    }
}

fn checked(what: &str, text: String, is_allowed: impl Fn(char) -> bool) -> Result<String> {
    match !text.is_empty() && text.chars().all(is_allowed) {
        true => Ok(text),
        false => Err(Error::invalid(format!("not {what}:"), format!("{text:?}"))),
    }
}

fn endpoint_url(text: &str) -> Result<Url> {
    // Without what was typed: somebody may have put a password there.
    let wrong = |why: &str| Error::invalid("not the endpoint of a server:", why);
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(wrong("it begins with neither https:// nor http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user or a password"));
    }
    if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it is more than a host, a port and a path"));
    }
    Ok(url)
}

fn part_bytes(mebibytes: &str) -> Result<usize> {
    let bytes = mebibytes.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << 20));
    bytes.filter(|bytes| (S3_PART_MIN_BYTES..=S3_PART_MAX_BYTES).contains(bytes)).ok_or_else(|| {
        let (least, most) = (S3_PART_MIN_BYTES >> 20, S3_PART_MAX_BYTES >> 20);
        Error::invalid("part-size is a number of MiB", format!("from {least} to {most}, not {mebibytes:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Timeouts;
    use icecore::Kind;
    use icecore::storage::retry::Patience;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn access(variables: &'static [(&str, &str)]) -> Access {
        Access {
            variable: Arc::new(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            }),
            home: None,
            user: None,
            password: Arc::new(|| Ok(None)),
            timeouts: Timeouts::default(),
            connections: 1,
            patience: Patience::none(),
            warn: Arc::new(|_| ()),
        }
    }

    fn place(address: &str, variables: &'static [(&str, &str)]) -> Result<Place> {
        let access = access(variables);
        let address = Address::parse(address).unwrap();
        let profile = Profile::load(&access, profile(&address)?)?;
        Place::new(&address, &access, &profile)
    }

    #[test]
    fn urls_are_written_in_both_styles() {
        let cases = [
            (
                "s3://b/p",
                "https://b.s3.us-east-1.amazonaws.com/p/k%20",
                "https://b.s3.us-east-1.amazonaws.com/",
            ),
            (
                "s3://b.c?region=cn-north-1",
                "https://s3.cn-north-1.amazonaws.com.cn/b.c/k%20",
                "https://s3.cn-north-1.amazonaws.com.cn/b.c",
            ),
            ("s3://b/p/q?endpoint=http://h:1/base/", "http://h:1/base/b/p/q/k%20", "http://h:1/base/b"),
            ("s3://b?endpoint=h:1&style=virtual", "https://b.h:1/k%20", "https://b.h:1/"),
            (
                "s3://b?style=path&region=x",
                "https://s3.x.amazonaws.com/b/k%20",
                "https://s3.x.amazonaws.com/b",
            ),
            ("s3://b?endpoint=http://[::1]:9", "http://[::1]:9/b/k%20", "http://[::1]:9/b"),
        ];
        for (address, of_key, of_bucket) in cases {
            let place = place(address, &[]).unwrap();
            let key = place.key(&ObjectName::new("k ").unwrap());
            assert_eq!(place.url(Some(&key), &[]), of_key, "{address}");
            assert_eq!(place.url(None, &[]), of_bucket, "{address}");
        }
        let place = place("s3://b?endpoint=h", &[]).unwrap();
        assert_eq!(
            place.url(None, &[("uploads", ""), ("prefix", "a/ö+")]),
            "https://h/b?uploads&prefix=a%2F%C3%B6%2B"
        );
    }

    #[test]
    fn a_line_is_private_by_tls_or_within_the_machine() {
        for (endpoint, alone, behind_a_proxy) in [
            ("", true, true),
            ("https://h", true, true),
            ("h", true, true),
            ("http://h", false, false),
            ("http://10.0.0.1:9000", false, false),
            ("http://127.0.0.1.example.com", false, false),
            ("http://127.0.0.1:9000", true, false),
            ("http://[::1]:9000", true, false),
            ("http://localhost", true, false),
        ] {
            let option = if endpoint.is_empty() { String::new() } else { format!("?endpoint={endpoint}") };
            let place = place(&format!("s3://b{option}"), &[]).unwrap();
            let found = [false, true].map(|has_proxy| place.is_private(has_proxy));
            assert_eq!(found, [alone, behind_a_proxy], "{endpoint}");
        }
    }

    #[test]
    fn a_server_without_a_bucket_has_a_url_of_its_own() {
        for (address, expected) in [
            ("s3://", "https://s3.us-east-1.amazonaws.com/"),
            ("s3://?endpoint=http://h:1/base/", "http://h:1/base/"),
            ("s3://?endpoint=h&style=virtual", "https://h/"),
        ] {
            let access = access(&[]);
            let parsed = Address::parse(address).unwrap();
            let profile = Profile::load(&access, None).unwrap();
            assert_eq!(Place::of_server(&parsed, &access, &profile).unwrap().url(None, &[]), expected);
            assert!(Place::new(&parsed, &access, &profile).is_err());
        }
    }

    #[test]
    fn the_address_beats_the_environment() {
        let variables =
            &[("AWS_REGION", "r1"), ("AWS_DEFAULT_REGION", "r2"), ("AWS_ENDPOINT_URL", "https://e1")];
        let by_variable = place("s3://b", variables).unwrap();
        assert_eq!(
            (by_variable.region.as_str(), by_variable.url(None, &[]).as_str()),
            ("r1", "https://e1/b")
        );
        let by_address = place("s3://b?region=r0&endpoint=e0", variables).unwrap();
        assert_eq!((by_address.region.as_str(), by_address.url(None, &[]).as_str()), ("r0", "https://e0/b"));
        assert!(!by_address.is_aws() && !place("s3://b", &[]).unwrap().region_is_given);
    }

    #[test]
    fn nonsense_is_refused() {
        for address in [
            "s3://u:p@b/x",
            "s3://b:80/x",
            "s3:///x",
            "s3://b/a/../../x/%2e%2e",
            "s3://b?style=other",
            "s3://b?endpoint=ftp://h",
            "s3://b?endpoint=https://u:secret@h",
            "s3://b?endpoint=https://h?x=1",
            "s3://b?region=a/b",
            "s3://b?storage-class=deep_archive",
            "s3://b?part-size=4",
            "s3://b?part-size=x",
            "s3://b?colour=red",
            "s3://b%2Fc",
        ] {
            let Ok(parsed) = Address::parse(address) else { continue };
            let access = access(&[]);
            let made =
                Profile::load(&access, None).and_then(|profile| Place::new(&parsed, &access, &profile));
            match made {
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Invalid, "{address}");
                    assert!(!error.to_string().contains("secret"));
                }
                Ok(place) => assert!(address.contains(".."), "{address}: {place:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_url(key in "[^\0/]{1,20}(/[^\0/]{1,20}){0,3}") {
            prop_assume!(!key.split('/').any(|part| matches!(part, "." | "..")));
            let place = place("s3://b?endpoint=http://h", &[]).unwrap();
            let written = place.url(Some(&key), &[("list-type", "2"), ("prefix", &key)]);
            let url = Url::parse(&written).unwrap();
            // Nothing in it is changed by whoever parses it: the signature is over what is sent.
            prop_assert_eq!(url.as_str(), written.as_str());
            let path = percent_encoding::percent_decode_str(url.path()).decode_utf8().unwrap();
            prop_assert_eq!(path, format!("/b/{}", key));
            let value = url.query_pairs().find(|(name, _)| name == "prefix").map(|(_, value)| value.into_owned());
            prop_assert_eq!(value, Some(key));
        }
    }
}
