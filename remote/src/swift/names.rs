//! Names in Swift: where objects stand in a container, how they are spelled in URLs and headers, and which of them are
//! segments of which object.
//!
//! Segments of `P/data` are `P/segments/NNNNNNNN`, as Freezer has them. Those of any other object, and of one that replaces
//! another, are `NAME.segments/ID/NNNNNNNN`, where `ID` was never used before. Invariant: no object that a caller puts has a
//! name of either form.

use icecore::error::{Error, Result};
use icecore::name::ObjectName;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved, and slashes.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// In a value of a query, slashes too.
const IN_QUERY: AsciiSet = IN_PATH.add(b'/');
/// What Swift would not take, or would decode, in `X-Object-Manifest`; everything else stays as Freezer writes it.
const IN_MANIFEST: AsciiSet = CONTROLS.add(b'%').add(b'?').add(b'&');

/// The folder of segments beside Freezer's streams.
const SEGMENTS: &str = "segments";
/// The stream that belongs to it.
const DATA: &str = "data";
/// What is appended to the name of another long object.
const SUFFIX: &str = ".segments";
/// Digits of a segment's number.
const DIGITS: usize = 8;
/// Below this folder of a place stand the tickets of those who are creating objects.
const TICKETS: &str = ".icecore-creating";

/// A container, and the folder in it that is the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The container.
    pub container: String,
    /// Empty, or a folder without slashes at its ends.
    prefix: String,
}

impl Place {
    /// Takes a container and a folder.
    ///
    /// # Errors
    /// `Invalid` when they cannot be any.
    pub fn new(container: &str, prefix: &str) -> Result<Place> {
        if container.contains('/') || container.len() > 256 {
            return Err(Error::invalid("not a container:", container));
        }
        if !prefix.is_empty() {
            ObjectName::new(prefix)?;
        }
        Ok(Place { container: container.to_owned(), prefix: prefix.to_owned() })
    }

    /// The name of an object within the container.
    pub fn full(&self, name: &ObjectName) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// What all names below a folder begin with.
    pub fn below(&self, folder: Option<&ObjectName>) -> String {
        match (folder, self.prefix.as_str()) {
            (Some(folder), _) => format!("{}/", self.full(folder)),
            (None, "") => String::new(),
            (None, prefix) => format!("{prefix}/"),
        }
    }

    /// The part of a full name that callers know.
    pub fn short<'a>(&self, full: &'a str) -> &'a str {
        let Some(rest) = full.strip_prefix(self.prefix.as_str()) else { return full };
        if self.prefix.is_empty() { rest } else { rest.strip_prefix('/').unwrap_or(full) }
    }

    /// The folder of tickets, with a slash at its end.
    pub fn tickets(&self) -> String {
        format!("{}{TICKETS}/", self.below(None))
    }
}

/// The path of an object or container behind an account's URL.
pub fn path(container: &str, full: &str) -> String {
    let container = utf8_percent_encode(container, &IN_QUERY);
    match full {
        "" => format!("/{container}"),
        full => format!("/{container}/{}", utf8_percent_encode(full, &IN_PATH)),
    }
}

/// A value in a query.
pub fn query(value: &str) -> String {
    utf8_percent_encode(value, &IN_QUERY).to_string()
}

/// The value of `X-Object-Manifest` for segments that begin with `prefix`.
pub fn manifest_value(container: &str, prefix: &str) -> String {
    let plain = format!("{container}/{prefix}");
    let spelled = utf8_percent_encode(&plain, &IN_MANIFEST).to_string();
    // A header loses white space at its ends.
    match spelled.strip_prefix(' ') {
        Some(rest) => format!("%20{rest}"),
        None => spelled,
    }
}

/// What a manifest points to: a container, and what its segments' names begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The container.
    pub container: String,
    /// The beginning of the names.
    pub prefix: String,
}

/// Reads an `X-Object-Manifest`, as it came over the wire.
pub fn target(value: &[u8]) -> Option<Target> {
    let value = std::str::from_utf8(value).ok()?;
    let (container, prefix) = value.split_once('/')?;
    let decode = |part: &str| percent_decode_str(part).decode_utf8().map(|text| text.into_owned()).ok();
    let target = Target { container: decode(container)?, prefix: decode(prefix)? };
    (!target.container.is_empty() && !target.prefix.is_empty()).then_some(target)
}

impl Target {
    /// The folder of the segments with a slash at its end, when they are such as this program or Freezer writes for `full`.
    pub fn folder_of(&self, container: &str, full: &str) -> Option<String> {
        let folder = match self.prefix.strip_suffix('/') {
            Some(_) => self.prefix.clone(),
            None => format!("{}/", self.prefix),
        };
        let own =
            self.container == container && owner(&format!("{folder}{}", digits(0))).as_deref() == Some(full);
        own.then_some(folder)
    }
}

/// The number of a segment as it stands in its name.
pub fn digits(number: u64) -> String {
    format!("{number:0width$}", width = DIGITS)
}

/// The number that a segment has by its name behind `prefix`.
pub fn number(full: &str, prefix: &str) -> Option<u64> {
    let rest = full.strip_prefix(prefix)?;
    let rest = if prefix.ends_with('/') { rest } else { rest.strip_prefix('/').unwrap_or(rest) };
    let plain = rest.len() >= DIGITS && rest.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| rest.parse().ok()).flatten()
}

/// The object a name is a segment of, if it has the form of one.
pub fn owner(full: &str) -> Option<String> {
    let (folder, last) = full.rsplit_once('/')?;
    if last.len() != DIGITS || !last.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if let Some(owner) = stream_beside(folder) {
        return Some(owner);
    }
    let (folder, id) = folder.rsplit_once('/')?;
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    folder
        .strip_suffix(SUFFIX)
        .filter(|owner| is_id && !owner.is_empty() && !owner.ends_with('/'))
        .map(str::to_owned)
}

/// The object whose segments may stand below a folder, which has no slash at its end.
pub fn owner_of_folder(folder: &str) -> Option<String> {
    let other = || folder.strip_suffix(SUFFIX).filter(|owner| !owner.is_empty() && !owner.ends_with('/'));
    stream_beside(folder).or_else(|| other().map(str::to_owned))
}

fn stream_beside(folder: &str) -> Option<String> {
    match folder.rsplit_once('/') {
        Some((above, SEGMENTS)) => Some(format!("{above}/{DATA}")),
        None if folder == SEGMENTS => Some(DATA.to_owned()),
        _ => None,
    }
}

/// The folder of segments, with a slash at its end, and the value that goes into the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// What segments' names begin with.
    pub prefix: String,
    /// What the manifest says of them.
    pub manifest: String,
    /// Whether other writers of the same object would use the same one.
    pub shared: bool,
}

/// Where the segments of a new `full` go. Of one that may replace another they go to a folder of their own.
pub fn folder(container: &str, full: &str, id: &str, replaces: bool) -> Folder {
    if is_stream(full) && !replaces {
        let stem = full.strip_suffix(DATA).unwrap_or_default();
        let prefix = format!("{stem}{SEGMENTS}");
        return Folder {
            manifest: manifest_value(container, &prefix),
            prefix: format!("{prefix}/"),
            shared: true,
        };
    }
    let prefix = format!("{full}{SUFFIX}/{id}/");
    Folder { manifest: manifest_value(container, &prefix), prefix, shared: false }
}

/// Whether Freezer would write this object in segments, however short it is.
pub fn is_stream(full: &str) -> bool {
    full == DATA || full.ends_with("/data")
}

/// Whether an object is called by an id of its own, or by the hash of its bytes: 64 hexadecimal digits.
pub fn is_id(full: &str) -> bool {
    let last = full.rsplit('/').next().unwrap_or_default();
    last.len() == 64 && last.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Digits of an id.
const ID_DIGITS: usize = 16;

/// A number that nobody else has: 16 hexadecimal digits.
///
/// # Errors
/// When the system gives no random bytes.
pub fn unique() -> Result<String> {
    let mut bytes = [0; ID_DIGITS / 2];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .map_err(|e| Error::io("cannot read", "random bytes of the system", e))?;
    }
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(prefix: &str) -> Place {
        Place::new("c", prefix).unwrap()
    }

    #[test]
    fn names_stand_below_the_folder_of_the_storage() {
        let name = ObjectName::new("a/b").unwrap();
        assert_eq!(
            (place("").full(&name), place("p/q").full(&name)),
            ("a/b".to_owned(), "p/q/a/b".to_owned())
        );
        assert_eq!((place("").below(None), place("p").below(None)), (String::new(), "p/".to_owned()));
        assert_eq!(place("p").below(Some(&name)), "p/a/b/");
        assert_eq!((place("").short("a/b"), place("p/q").short("p/q/a/b")), ("a/b", "a/b"));
        assert!(Place::new("c", "a//b").is_err() && Place::new("a/b", "").is_err());
    }

    #[test]
    fn paths_are_spelled_for_urls() {
        assert_eq!(path("c d", "a/ü%?#&+\\"), "/c%20d/a/%C3%BC%25%3F%23%26%2B%5C");
        assert_eq!(path("c", ""), "/c");
    }

    #[test]
    fn a_manifest_is_spelled_as_freezer_does_where_swift_reads_it_so() {
        let folder = folder("frz", "sub dir/data/tar/h_n/1/0_1/data", "00", false);
        assert_eq!(folder.manifest, "frz/sub dir/data/tar/h_n/1/0_1/segments");
        assert_eq!(folder.prefix, "sub dir/data/tar/h_n/1/0_1/segments/");
        assert_eq!(manifest_value("c", "100%/what?"), "c/100%25/what%3F");
    }

    #[test]
    fn segments_know_their_object() {
        assert_eq!(owner("p/0_1/segments/00000000").as_deref(), Some("p/0_1/data"));
        assert_eq!(owner("segments/00000012").as_deref(), Some("data"));
        assert_eq!(owner("a/x.segments/0123456789abcdef/00000001").as_deref(), Some("a/x"));
        for other in [
            "segments",
            "p/segments/0000000",
            "p/segments/000000000",
            "p/segments/0000000x",
            "p/xsegments/00000000",
            "a/.segments/0123456789abcdef/00000001",
            "a/x.segments/0123456789ABCDEF/00000001",
            "a/x.segments/00000001",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn a_target_is_own_only_in_its_own_folder() {
        let freezer = target(b"c/p/0_1/segments").unwrap();
        assert_eq!(freezer.folder_of("c", "p/0_1/data").as_deref(), Some("p/0_1/segments/"));
        for (container, full) in [("d", "p/0_1/data"), ("c", "p/0_2/data"), ("c", "p/0_1/other")] {
            assert_eq!(freezer.folder_of(container, full), None);
        }
        for nothing in [&b"c"[..], b"/p", b"c/", b"c/\xff", b"c/%ff"] {
            assert_eq!(target(nothing), None);
        }
    }

    proptest! {
        #[test]
        fn a_manifest_leads_back_to_its_segments(
            container in "[^/\0]{1,20}", full in "[^\0]{1,40}", id in "[0-9a-f]{16}", replaces: bool, at in 0u64..99_999_999,
        ) {
            let folder = folder(&container, &full, &id, replaces);
            prop_assert!(!folder.manifest.contains(['?', '&', '\n']) && !folder.manifest.starts_with(' '));
            let target = target(folder.manifest.as_bytes()).unwrap();
            prop_assert_eq!(&target.container, &container);
            let segment = format!("{}{}", folder.prefix, digits(at));
            prop_assert!(segment.starts_with(&target.prefix));
            prop_assert_eq!(number(&segment, &target.prefix), Some(at));
        }

        #[test]
        fn no_header_is_too_much_for_the_parser(value: Vec<u8>, full in ".{0,40}") {
            if let Some(target) = target(&value) {
                target.folder_of("c", &full);
            }
            owner(&full);
            owner_of_folder(&full);
        }
    }
}
