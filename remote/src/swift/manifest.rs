//! Long objects: a manifest of no bytes that points to segments. Which segments it has, and where each begins.
//!
//! Swift puts a dynamic large object together from whatever a listing shows at the moment, and calls that the object. Here its
//! segments are looked at first. Invariant: an object whose segments are not those that were promised (by number and length,
//! where this program wrote it), or that are not numbered without a gap (where Freezer did), is an error, never a shorter object.

use super::account::{Account, Call};
use super::listing::{Pages, Row};
use super::names::{Target, digits, number, path, target};
use crate::http::{Response, failed};
use icecore::error::{Error, Kind, Result};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

/// Swift's mark of a manifest.
pub const MANIFEST: HeaderName = HeaderName::from_static("x-object-manifest");
/// How long the whole is.
pub const LENGTH: HeaderName = HeaderName::from_static("x-object-meta-icecore-length");
/// How many segments it has.
pub const COUNT: HeaderName = HeaderName::from_static("x-object-meta-icecore-segments");
/// Who wrote it: tells an answer that was lost from somebody else's object.
pub const WRITER: HeaderName = HeaderName::from_static("x-object-meta-icecore-writer");
const STATIC: HeaderName = HeaderName::from_static("x-static-large-object");
const NEWEST: HeaderName = HeaderName::from_static("x-newest");

/// Segments of one object: 32 TiB in pieces of Freezer's size. Eight bytes are held for each.
const SEGMENTS: usize = 1 << 20;
/// Segments whose names follow no rule, and are held.
const NAMED_SEGMENTS: usize = 100_000;

/// What is known of an object from the headers of an answer.
#[derive(Debug, Default, Clone)]
pub struct Head {
    /// Its length, as Swift has it. Of a manifest with more segments than a page of a listing has rows it says 0, or nothing.
    pub bytes: Option<u64>,
    /// The segments, of a dynamic large object.
    pub target: Option<Target>,
    /// Whether it is a static large object.
    pub is_static: bool,
    /// Length and number of segments, if the writer told.
    pub promise: Option<(u64, u64)>,
    /// Who wrote it.
    pub writer: Option<String>,
}

/// Reads the headers of an answer about an object.
///
/// # Errors
/// `Damaged` for a manifest that points nowhere.
pub fn read_head(headers: &HeaderMap) -> Result<Head> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let count = |name: &HeaderName| text(name).and_then(|value| value.parse().ok());
    let target = match headers.get(MANIFEST) {
        None => None,
        Some(value) => Some(
            target(value.as_bytes())
                .ok_or_else(|| Error::new(Kind::Damaged, "the manifest of the object points nowhere"))?,
        ),
    };
    Ok(Head {
        bytes: count(&CONTENT_LENGTH).filter(|bytes| *bytes > 0 || target.is_none()),
        target,
        is_static: text(&STATIC).is_some_and(|value| value.eq_ignore_ascii_case("true")),
        promise: count(&LENGTH).zip(count(&COUNT)),
        writer: text(&WRITER).map(str::to_owned),
    })
}

/// Asks for the headers of an object.
///
/// # Errors
/// `NotFound`, or as the connection has it.
pub async fn head(account: &Account, container: &str, full: &str) -> Result<Head> {
    // The newest of all copies, not that of the first machine that answers.
    let call =
        Call::new(Method::HEAD, path(container, full)).header(NEWEST, HeaderValue::from_static("true"));
    let response: Response = account.send(&call).await?;
    match response.status() {
        StatusCode::OK | StatusCode::NO_CONTENT => read_head(response.headers()),
        _ => Err(failed(response, "cannot look at the object").await),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Names {
    /// Numbered from 0 behind this.
    Numbered(String),
    /// Each as it is.
    Each(Vec<String>),
}

/// The segments of an object, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Where they are.
    pub container: String,
    names: Names,
    /// Where each ends in the object.
    ends: Vec<u64>,
}

/// A part of a segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The segment's name in the container.
    pub full: String,
    /// How long the segment is.
    pub segment_bytes: u64,
    /// Where the part begins in it.
    pub offset: u64,
    /// How long the part is.
    pub length: usize,
}

impl Table {
    /// Looks at the segments of the object `full` of `container`.
    ///
    /// # Errors
    /// `Damaged`, which may pass, when they are not what they should be: listings may lag behind.
    pub async fn of(account: &Account, container: &str, full: &str, head: &Head) -> Result<Table> {
        let target = head.target.as_ref().ok_or_else(|| Error::new(Kind::Invalid, "not a manifest"))?;
        let mut pages = Pages::new(&target.container, &target.prefix, false);
        let mut segments = Vec::new();
        while let Some(page) = pages.next(account).await? {
            for row in page {
                if let Row::Object { name, bytes, .. } = row {
                    segments.push((name, bytes));
                }
            }
            if segments.len() > SEGMENTS {
                return Err(Error::new(Kind::Limit, format!("more than {SEGMENTS} segments")));
            }
        }
        let is_own = target.folder_of(container, full).is_some();
        let table = build(target, segments, is_own).map_err(Error::retry_later)?;
        let has = (table.size_bytes(), table.ends.len() as u64);
        match head.promise {
            Some(promise) if promise != has => {
                let what = format!(
                    "{} bytes in {} segments were stored, {} bytes in {} are there",
                    promise.0, promise.1, has.0, has.1
                );
                Err(Error::new(Kind::Damaged, what).retry_later())
            }
            None if is_own && table.ends.is_empty() => {
                Err(Error::new(Kind::Damaged, "the object has no segments").retry_later())
            }
            _ => Ok(table),
        }
    }

    /// The length of the object.
    pub fn size_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The parts that make up a range, as far as the object reaches.
    pub fn parts(&self, offset: u64, length: usize) -> Vec<Part> {
        let end = offset.saturating_add(length as u64).min(self.size_bytes());
        let mut parts = Vec::new();
        let mut at = offset;
        let mut index = self.ends.partition_point(|its_end| *its_end <= offset);
        while at < end {
            let begin = if index == 0 { 0 } else { self.ends[index - 1] };
            let upto = self.ends[index].min(end);
            // A segment may be empty.
            if upto > at {
                parts.push(Part {
                    full: self.name(index),
                    segment_bytes: self.ends[index] - begin,
                    offset: at - begin,
                    length: usize::try_from(upto - at).unwrap_or(usize::MAX),
                });
            }
            at = upto;
            index += 1;
        }
        parts
    }

    fn name(&self, index: usize) -> String {
        match &self.names {
            Names::Numbered(before) => format!("{before}{}", digits(index as u64)),
            Names::Each(names) => names[index].clone(),
        }
    }
}

/// Where Freezer 1 and 2 numbered the segments of an object: in a folder that has a time and a length behind the prefix.
fn old_folder<'a>(target: &Target, segments: &'a [(String, u64)]) -> Option<&'a str> {
    let (folder, _) = segments.first()?.0.rsplit_once('/')?;
    let mut between = folder.strip_prefix(&target.prefix)?.strip_prefix('/')?.split('/');
    let mut is_number = || {
        between
            .next()
            .is_some_and(|part| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()))
    };
    (is_number() && is_number() && between.next().is_none()).then_some(folder)
}

/// The table of segments that are listed as `(name, length)`. Those of a manifest of our own or of Freezer's have to be numbered.
fn build(target: &Target, segments: Vec<(String, u64)>, is_own: bool) -> Result<Table> {
    let old_folder = old_folder(target, &segments).filter(|_| !is_own);
    let must_be_numbered = is_own || old_folder.is_some();
    let within = old_folder.unwrap_or(&target.prefix);
    let numbers: Vec<Option<u64>> = segments.iter().map(|(name, _)| number(name, within)).collect();
    let is_numbered = numbers.iter().all(Option::is_some) && !segments.is_empty();
    if let Some(at) = numbers.iter().zip(0..).position(|(has, due)| *has != Some(due))
        && (is_numbered || must_be_numbered)
    {
        let what = format!("segment {at} is missing, or something else stands where it should");
        return Err(Error::new(Kind::Damaged, what));
    }
    let mut ends = Vec::with_capacity(segments.len());
    let mut end = 0u64;
    for (_, bytes) in &segments {
        end = end
            .checked_add(*bytes)
            .ok_or_else(|| Error::new(Kind::Damaged, "the segments are impossibly long"))?;
        ends.push(end);
    }
    let before =
        segments.first().map(|(name, _)| name[..name.len().saturating_sub(digits(0).len())].to_owned());
    // Numbers of more digits than eight are spelled in another order.
    let names = match before.filter(|_| is_numbered) {
        Some(before) => Names::Numbered(before),
        None if segments.len() > NAMED_SEGMENTS => {
            return Err(Error::new(
                Kind::Limit,
                format!("more than {NAMED_SEGMENTS} segments that are not numbered"),
            ));
        }
        None => Names::Each(segments.into_iter().map(|(name, _)| name).collect()),
    };
    Ok(Table { container: target.container.clone(), names, ends })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target() -> Target {
        Target { container: "c".into(), prefix: "p/segments".into() }
    }

    fn numbered(sizes: &[u64]) -> Vec<(String, u64)> {
        sizes.iter().zip(0..).map(|(bytes, at)| (format!("p/segments/{}", digits(at)), *bytes)).collect()
    }

    #[test]
    fn a_gap_is_never_a_shorter_object() {
        for gone in 0..3 {
            let mut segments = numbered(&[10, 10, 10, 5]);
            segments.remove(gone);
            for must_be_numbered in [true, false] {
                let error = build(&target(), segments.clone(), must_be_numbered).unwrap_err();
                assert_eq!(error.kind(), Kind::Damaged);
                assert!(error.to_string().contains(&format!("segment {gone} ")), "{error}");
            }
        }
    }

    #[test]
    fn something_else_among_the_segments_is_no_segment_of_freezers() {
        let mut segments = numbered(&[10, 10]);
        segments.push(("p/segments_of_old/00000000".into(), 10));
        assert_eq!(build(&target(), segments.clone(), true).unwrap_err().kind(), Kind::Damaged);
        // Another program may name its segments as it likes.
        assert_eq!(build(&target(), segments, false).unwrap().size_bytes(), 30);
    }

    /// `SERIES_TIME_LEVEL/TIME/LENGTH/NUMBER`, in a container of their own.
    #[test]
    fn a_gap_in_the_numbers_of_the_oldest_releases_is_never_a_shorter_object() {
        let target = Target { container: "c_segments".into(), prefix: "h_n_1700000000_0".into() };
        let segments = |numbers: &[u64], folder: &str| {
            let name = |number: &u64| format!("{}/{folder}/{}", target.prefix, digits(*number));
            numbers.iter().map(|number| (name(number), 10)).collect::<Vec<_>>()
        };
        let folder = "1700000000/20971520";
        let table = build(&target, segments(&[0, 1, 2], folder), false).unwrap();
        let parts: Vec<String> = table.parts(5, 20).into_iter().map(|part| part.full).collect();
        assert_eq!(parts, [0, 1, 2].map(|number| format!("{}/{folder}/{}", target.prefix, digits(number))));
        for (numbers, gone) in [(&[1, 2][..], 0), (&[0, 2], 1)] {
            let error = build(&target, segments(numbers, folder), false).unwrap_err();
            assert!(error.to_string().contains(&format!("segment {gone} ")), "{error}");
            // Another program may count as it likes.
            for folder in ["1700000000.5/20971520", "x", "1/2/3"] {
                assert_eq!(build(&target, segments(numbers, folder), false).unwrap().ends, [10, 20]);
            }
        }
    }

    #[test]
    fn headers_are_understood() {
        let mut headers = HeaderMap::new();
        assert!(read_head(&headers).unwrap().target.is_none());
        headers.insert(MANIFEST, HeaderValue::from_static("c/p%20q/segments"));
        headers.insert(LENGTH, HeaderValue::from_static("70"));
        headers.insert(COUNT, HeaderValue::from_static("3"));
        let head = read_head(&headers).unwrap();
        assert_eq!(head.target, Some(Target { container: "c".into(), prefix: "p q/segments".into() }));
        assert_eq!(head.promise, Some((70, 3)));
        headers.insert(MANIFEST, HeaderValue::from_static("nowhere"));
        assert_eq!(read_head(&headers).unwrap_err().kind(), Kind::Damaged);
    }

    proptest! {
        #[test]
        fn parts_are_the_range(sizes in prop::collection::vec(0u64..50, 0..12), offset in 0u64..400, length in 0usize..400) {
            let table = build(&target(), numbered(&sizes), true).unwrap();
            // Every byte of the object is its segment's number and its place in it.
            let bytes = |at: usize| (0..sizes[at]).map(move |place| (at, place));
            let whole: Vec<(usize, u64)> = (0..sizes.len()).flat_map(bytes).collect();
            prop_assert_eq!(table.size_bytes(), whole.len() as u64);
            let mut read = Vec::new();
            for part in table.parts(offset, length) {
                let at = number(&part.full, "p/segments").unwrap() as usize;
                prop_assert!(part.length > 0 && part.offset + part.length as u64 <= part.segment_bytes);
                prop_assert_eq!(part.segment_bytes, sizes[at]);
                read.extend((part.offset..part.offset + part.length as u64).map(|place| (at, place)));
            }
            let begin = whole.len().min(usize::try_from(offset).unwrap());
            prop_assert_eq!(&read[..], &whole[begin..whole.len().min(begin + length)]);
        }
    }
}
