//! Addresses of storages: `scheme://[user[:password]@]host[:port]/path[?key=value&…]`, and `rclone:remote:path`.
//!
//! Invariant: what is printed of an address never holds a password.

use crate::access::Secret;
use icecore::error::{Error, Result};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// The scheme whose addresses are not URLs: what follows is rclone's own word for a place.
pub const RCLONE: &str = "rclone";

/// Where a storage is.
#[derive(Clone)]
pub struct Address {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    host: String,
    port: Option<u16>,
    path: String,
    query: BTreeMap<String, String>,
}

impl Address {
    /// Whether a user means an address by this, and not a path.
    pub fn is_one(text: &str) -> bool {
        let scheme = |end: usize| {
            let scheme = &text[..end];
            scheme.starts_with(|first: char| first.is_ascii_lowercase())
                && scheme.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        };
        text.strip_prefix(RCLONE).is_some_and(|rest| rest.starts_with(':'))
            || text.find("://").is_some_and(scheme)
    }

    /// Takes an address apart. Host, path and values are percent-decoded.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn parse(text: &str) -> Result<Address> {
        if let Some(place) = text.strip_prefix("rclone:") {
            return Ok(Address {
                scheme: RCLONE.to_owned(),
                user: None,
                password: None,
                host: String::new(),
                port: None,
                path: place.to_owned(),
                query: BTreeMap::new(),
            });
        }
        // Without what was typed: it may hold a password.
        let wrong = |why: &str| Error::invalid("not an address of a storage:", why);
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if url.fragment().is_some() {
            return Err(wrong("'#' has to be written as %23"));
        }
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| wrong("it is not UTF-8"))
        };
        let optional = |part: &str| if part.is_empty() { Ok(None) } else { decode(part).map(Some) };
        let mut query = BTreeMap::new();
        for (key, value) in url.query_pairs() {
            if query.insert(key.clone().into_owned(), value.into_owned()).is_some() {
                return Err(wrong(&format!("{key} is given twice")));
            }
        }
        Ok(Address {
            scheme: url.scheme().to_owned(),
            user: optional(url.username())?,
            password: url.password().map(decode).transpose()?.map(Secret::new),
            host: decode(url.host_str().unwrap_or_default())?,
            port: url.port(),
            path: decode(url.path())?,
            query,
        })
    }

    /// What it begins with: `sftp`, `s3` …
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user, if one is named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if somebody wrote it there.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The host; the bucket or container where there is no host.
    ///
    /// # Errors
    /// `Invalid` when it is missing.
    pub fn host(&self) -> Result<&str> {
        if self.host.is_empty() {
            return Err(Error::invalid("no host, bucket or container in", self.to_string()));
        }
        Ok(&self.host)
    }

    /// The port, if one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path, with the slash it begins with; empty when there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path without slashes at either end: a prefix of object names.
    pub fn prefix(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// The values of `known` keys behind the `?`, in that order.
    ///
    /// # Errors
    /// `Invalid` for a key that is not among them.
    pub fn options<const N: usize>(&self, known: [&str; N]) -> Result<[Option<&str>; N]> {
        if let Some(key) = self.query.keys().find(|key| !known.contains(&key.as_str())) {
            let error =
                Error::invalid(format!("{}: addresses have no option called", self.scheme), key.clone());
            return Err(match N {
                0 => error,
                _ => error.hint(format!("options are: {}", known.join(", "))),
            });
        }
        Ok(known.map(|key| self.query.get(key).map(String::as_str)))
    }
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == RCLONE {
            return write!(f, "{RCLONE}:{}", self.path);
        }
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        for (number, (key, value)) in self.query.iter().enumerate() {
            write!(f, "{}{key}={value}", if number == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_apart_and_decoded() {
        let address = Address::parse("sftp://an%40n:p%3Ass@host.example:2222/~/a%20b?x=1&y=a%2Fb").unwrap();
        assert_eq!((address.scheme(), address.user(), address.port()), ("sftp", Some("an@n"), Some(2222)));
        assert_eq!(address.password().unwrap().expose(), "p:ss");
        assert_eq!(
            (address.host().unwrap(), address.path(), address.prefix()),
            ("host.example", "/~/a b", "~/a b")
        );
        assert_eq!(address.options(["y", "x", "z"]).unwrap(), [Some("a/b"), Some("1"), None]);
        assert!(address.options(["x"]).unwrap_err().to_string().contains("called y"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = Address::parse("ftp://me:secret@host/path").unwrap();
        for shown in [address.to_string(), format!("{address:?}"), format!("{:?}", address.password())] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert_eq!(address.to_string(), "ftp://me@host/path");
        let wrong = Address::parse("ftp://me:secret@host:notaport/").unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("secret"));
    }

    #[test]
    fn paths_are_no_addresses() {
        for path in ["/srv/backups", "backups", "./a://b", "a b://c", "C://x", "rclonez", "", "://x"] {
            assert!(!Address::is_one(path), "{path}");
        }
        for address in ["sftp://h/p", "s3://b", "rclone:r:p", "nonsense://x"] {
            assert!(Address::is_one(address), "{address}");
        }
    }

    #[test]
    fn what_rclone_calls_a_place_is_left_as_it_is() {
        let address = Address::parse("rclone:my remote:a/b?c#d").unwrap();
        assert_eq!((address.scheme(), address.path()), ("rclone", "my remote:a/b?c#d"));
        assert_eq!(address.to_string(), "rclone:my remote:a/b?c#d");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["s3://b?x=1&x=2", "s3://b#x", "sftp://host:99999/", "sftp://h/%ff", "s3"] {
            assert_eq!(Address::parse(text).unwrap_err().kind(), icecore::Kind::Invalid, "{text}");
        }
        assert!(Address::parse("s3:///x").unwrap().host().is_err());
    }
}
