//! Where a storage is on a server: from the names of objects to URLs, and back from what a server calls a resource.
//!
//! Invariants: every byte of a name that is not a plain letter, digit or one of `-_.~` is percent-encoded; a folder's URL ends in a
//! slash, an object's does not. What a server names is compared by its decoded components, however it encodes them; nothing that
//! is not exactly one component below the folder that was asked about is taken for something in it.

use crate::tree::Named;
use icecore::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The folder on a server that a storage is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Server and port, with an empty path.
    server: Url,
    /// The components of the path, decoded.
    path: Vec<String>,
}

impl Place {
    /// The folder `path` of a server.
    ///
    /// # Errors
    /// `Invalid` when there can be no such host, or the path climbs.
    pub fn new(scheme: &str, host: &str, port: Option<u16>, path: &str) -> Result<Place> {
        let wrong = |why: &str| Error::invalid("no address of a server:", why);
        let mut server = Url::parse(&format!("{scheme}://localhost/")).map_err(|e| wrong(&e.to_string()))?;
        server.set_host(Some(host)).map_err(|e| wrong(&format!("{host}: {e}")))?;
        server.set_port(port).map_err(|()| wrong("it has no ports"))?;
        let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if path.iter().any(|part| part == "." || part == ".." || part.contains('\0')) {
            return Err(wrong("its path has '.', '..' or NUL in it"));
        }
        Ok(Place { server, path })
    }

    /// How many folders lead to it.
    pub fn depth(&self) -> usize {
        self.path.len()
    }

    /// The URL of the first `count` folders that lead to it.
    pub fn above(&self, count: usize) -> Url {
        self.url(&self.path[..count.min(self.path.len())], None, true)
    }

    /// The URL of an object.
    pub fn object(&self, name: &str) -> Url {
        self.url(&self.path, Some(name), false)
    }

    /// The URL of a folder; the place itself for `None`.
    pub fn folder(&self, name: Option<&str>) -> Url {
        self.url(&self.path, name, true)
    }

    fn url(&self, path: &[String], name: Option<&str>, is_folder: bool) -> Url {
        let parts = path.iter().map(String::as_str).chain(name.into_iter().flat_map(|name| name.split('/')));
        let mut encoded = String::new();
        for part in parts {
            encoded.push('/');
            encoded.extend(utf8_percent_encode(part, ENCODED));
        }
        if is_folder || encoded.is_empty() {
            encoded.push('/');
        }
        let mut url = self.server.clone();
        url.set_path(&encoded);
        url
    }

    /// What `href` names, in the answer about `folder`; `None` for the folder itself.
    ///
    /// # Errors
    /// `Damaged` for what is neither the folder nor directly in it.
    pub fn named(&self, folder: Option<&str>, href: &str) -> Result<Option<Named>> {
        let found: Vec<Vec<u8>> = path_of(href)
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).collect())
            .collect();
        let here: Vec<&str> = self
            .path
            .iter()
            .map(String::as_str)
            .chain(folder.into_iter().flat_map(|name| name.split('/')))
            .collect();
        let leads_here = found.len() >= here.len()
            && found.iter().zip(&here).all(|(found, here)| found == here.as_bytes());
        match &found[here.len().min(found.len())..] {
            [] if leads_here => Ok(None),
            [part] if leads_here => Ok(Some(Named::within(folder, part))),
            _ => Err(foreign(folder, href)),
        }
    }
}

/// The path of a URL or a path, without what may stand around it.
fn path_of(href: &str) -> &str {
    let path = match href.split_once("://") {
        // A colon may stand in a path, too; a scheme has no slash.
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("", |start| &rest[start..]),
        _ => href,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

fn foreign(folder: Option<&str>, href: &str) -> Error {
    Error::damaged("the server lists what is not in the folder:", crate::http::limited(href))
        .because(format!("asked for was {}", folder.unwrap_or("the storage itself")))
        .hint("a proxy before the server may change paths; the address has to have the path that the server itself uses")
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::name::ObjectName;
    use proptest::prelude::*;

    fn place() -> Place {
        Place::new("https", "host.example", Some(8443), "/dav/my backups/").unwrap()
    }

    fn child_of(name: &str) -> Option<Named> {
        Some(Named::Child(ObjectName::new(name).unwrap()))
    }

    #[test]
    fn names_are_encoded_and_folders_end_in_a_slash() {
        let place = place();
        assert_eq!(place.folder(None).as_str(), "https://host.example:8443/dav/my%20backups/");
        assert_eq!(
            place.object("a b/%2F?#é\\").as_str(),
            "https://host.example:8443/dav/my%20backups/a%20b/%252F%3F%23%C3%A9%5C"
        );
        assert_eq!(place.folder(Some("x/..y")).path(), "/dav/my%20backups/x/..y/");
        assert_eq!((place.above(0).path(), place.above(1).path()), ("/", "/dav/"));
        assert_eq!(Place::new("http", "::1", None, "").err().map(|e| e.kind()), Some(icecore::Kind::Invalid));
        assert_eq!(Place::new("http", "[::1]", None, "").unwrap().folder(None).as_str(), "http://[::1]/");
        for (host, path) in [("a/b", ""), ("a@b", ""), ("a", "/x/../y")] {
            assert!(Place::new("http", host, None, path).is_err(), "{host} {path}");
        }
    }

    #[test]
    fn what_a_server_names_is_found_however_it_writes_it() {
        let place = place();
        for href in [
            "/dav/my%20backups/f/x%79",
            "https://other:1/dav/my backups//f/xy/",
            "/dav/%6Dy%20backups/f/xy?a=b",
        ] {
            assert_eq!(place.named(Some("f"), href).unwrap(), child_of("f/xy"), "{href}");
        }
        assert_eq!(place.named(None, "/dav/my%20backups").unwrap(), None);
        assert_eq!(place.named(Some("f"), "/dav/my%20backups/f/").unwrap(), None);
        assert_eq!(
            place.named(None, "/dav/my%20backups/a://b").err().map(|e| e.kind()),
            Some(icecore::Kind::Damaged)
        );
    }

    #[test]
    fn what_is_elsewhere_is_never_taken_for_something_here() {
        let place = place();
        for href in ["/dav/other/x", "/dav/my%20backups/f/x/y", "/x", "", "/dav/my%20backups/g/x", "/dav"] {
            let error = place.named(Some("f"), href).unwrap_err();
            assert_eq!(error.kind(), icecore::Kind::Damaged, "{href}");
        }
    }

    #[test]
    fn what_is_no_name_of_an_object_is_a_stray() {
        let place = place();
        for href in [
            "/dav/my%20backups/%ff",
            "/dav/my%20backups/a%2Fb",
            "/dav/my%20backups/..",
            "/dav/my%20backups/a%00",
        ] {
            assert!(matches!(place.named(None, href).unwrap(), Some(Named::Stray(_))), "{href}");
        }
        let temporary = place.named(Some("f"), "/dav/my%20backups/f/icecore-tmp-1").unwrap();
        assert_eq!(temporary, Some(Named::Temporary("f/icecore-tmp-1".to_owned())));
    }

    proptest! {
        #[test]
        fn names_come_back_from_their_urls(folder in "[^/\0]{1,20}", part in "[^/\0]{1,30}") {
            let Ok(name) = ObjectName::new(format!("{folder}/{part}")) else { return Ok(()) };
            let place = place();
            for url in [place.object(name.as_str()), place.folder(Some(name.as_str()))] {
                prop_assert_eq!(place.named(Some(&folder), url.path()).unwrap(), child_of(name.as_str()));
                prop_assert_eq!(place.named(Some(&folder), url.as_str()).unwrap(), child_of(name.as_str()));
            }
        }
    }
}
