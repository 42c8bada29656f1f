//! What servers answer in XML: lists of objects, of unfinished uploads and of their parts, and errors.
//!
//! Invariants: an answer that ends early, or lacks what tells whether there is more, is an error and never a short list;
//! sizes and depths are checked against bounds before they cost memory.

use icecore::error::{Error, Kind, Result};
use icecore::limits::{XML_DEPTH, XML_ELEMENTS};
use icecore::time::Timestamp;
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// An element: its name without a namespace, its own text, and what is in it.
#[derive(Debug, Default)]
pub struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a whole document.
    ///
    /// # Errors
    /// `Damaged` when it is not one, or not all of one; `Limit` when it is too large or too deep.
    pub fn read(bytes: &[u8]) -> Result<Element> {
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8"))?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        // What is open, outermost first.
        let mut open: Vec<Element> = Vec::new();
        let mut root: Option<Element> = None;
        let mut elements = 0;
        loop {
            match reader.read_event().map_err(|e| damaged(&e.to_string()))? {
                Event::Start(start) => {
                    elements += 1;
                    if elements > XML_ELEMENTS || open.len() >= XML_DEPTH {
                        return Err(Error::new(Kind::Limit, "too large an answer"));
                    }
                    if open.is_empty() && root.is_some() {
                        return Err(damaged("it has two roots"));
                    }
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Element { name, ..Element::default() });
                }
                Event::End(_) => {
                    let closed = open.pop().ok_or_else(|| damaged("an element ends that has not begun"))?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(closed),
                        None => root = Some(closed),
                    }
                }
                Event::Text(text) => append(&mut open, &text.xml10_content()),
                Event::CData(text) => append(&mut open, &text.xml10_content()),
                Event::GeneralRef(name) => append(&mut open, &resolved(&name)?),
                Event::Eof => break,
                Event::DocType(_) => return Err(damaged("it has a document type")),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => (),
            }
        }
        match root {
            Some(root) if open.is_empty() => Ok(root),
            _ => Err(damaged("it ends early")),
        }
    }

    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The text of a child.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    fn needed(&self, name: &str) -> Result<&str> {
        self.text(name).ok_or_else(|| damaged(&format!("{} is missing in {}", name, self.name)))
    }

    /// `true` or `false`.
    fn flag(&self, name: &str) -> Result<bool> {
        match self.needed(name)?.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(damaged(&format!("{name} is neither true nor false"))),
        }
    }

    fn expect(self, names: &[&str]) -> Result<Element> {
        match names.contains(&self.name.as_str()) {
            true => Ok(self),
            false => Err(damaged(&format!("{} instead of {}", self.name, names.join(" or ")))),
        }
    }

    /// How keys are written in it.
    fn encoding(&self) -> Encoding {
        match self.text("EncodingType") {
            Some("url") => Encoding::Url,
            _ => Encoding::Plain,
        }
    }
}

fn append(open: &mut [Element], text: &str) {
    // Between elements there are only line breaks.
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn resolved(reference: &BytesRef<'_>) -> Result<String> {
    let letter = reference.resolve_char_ref().map_err(|e| damaged(&e.to_string()))?;
    if let Some(letter) = letter {
        return Ok(letter.to_string());
    }
    let known = quick_xml::escape::resolve_xml_entity(reference);
    known.map(str::to_owned).ok_or_else(|| damaged("it uses an unknown entity"))
}

fn damaged(why: &str) -> Error {
    Error::damaged("the answer of the server is not what it should be:", shown(why))
}

/// Words of a server, for people: not too many, and nothing that moves a cursor.
pub(super) fn shown(words: &str) -> String {
    const MOST: usize = 300;
    let mut shown = String::new();
    for (number, letter) in words.trim().chars().enumerate() {
        if number == MOST {
            shown.push('…');
            break;
        }
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// A key, and whether it is text at all.
    fn decode(self, key: &str) -> Key {
        match self {
            Encoding::Plain => Key::Text(key.to_owned()),
            // A plus sign of a key comes as %2B; some servers write spaces as plus signs, as forms do.
            Encoding::Url => match percent_decode_str(&key.replace('+', " ")).decode_utf8() {
                Ok(text) => Key::Text(text.into_owned()),
                Err(_) => Key::Bytes(key.to_owned()),
            },
        }
    }
}

/// A key as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Text.
    Text(String),
    /// Not UTF-8: percent-encoded, as it came.
    Bytes(String),
}

/// One row of a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// An object.
    Object {
        /// Its key.
        key: Key,
        /// Its length.
        size_bytes: u64,
    },
    /// What several keys begin with, up to a slash.
    Common(Key),
}

/// One page of a list of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects, then folders.
    pub rows: Vec<Row>,
    /// What to ask for the next page with; none after the last.
    pub next: Option<String>,
}

/// Reads the answer to ListObjectsV2.
///
/// # Errors
/// `Damaged` when it is none, `Limit` when it is too large.
pub fn page(bytes: &[u8]) -> Result<Page> {
    let root = Element::read(bytes)?.expect(&["ListBucketResult"])?;
    let encoding = root.encoding();
    let mut rows = Vec::new();
    for object in root.all("Contents") {
        let size = object.needed("Size")?.trim();
        let size_bytes = size.parse().map_err(|_| damaged("a size is not a number"))?;
        rows.push(Row::Object { key: encoding.decode(object.needed("Key")?), size_bytes });
    }
    for folder in root.all("CommonPrefixes") {
        rows.push(Row::Common(encoding.decode(folder.needed("Prefix")?)));
    }
    let next = match root.flag("IsTruncated")? {
        true => {
            let token = root.text("NextContinuationToken").filter(|token| !token.is_empty());
            Some(token.ok_or_else(|| damaged("a list goes on, and does not say where"))?.to_owned())
        }
        false => None,
    };
    Ok(Page { rows, next })
}

/// One page of a list of buckets.
#[derive(Debug, PartialEq, Eq)]
pub struct Buckets {
    /// What they are called.
    pub names: Vec<String>,
    /// What to ask for the next page with; none after the last, and of servers that have one page only.
    pub next: Option<String>,
}

/// Reads the answer to ListBuckets.
///
/// # Errors
/// As [`page`].
pub fn buckets(bytes: &[u8]) -> Result<Buckets> {
    let root = Element::read(bytes)?.expect(&["ListAllMyBucketsResult"])?;
    let list = root.child("Buckets").ok_or_else(|| damaged("it has no list of buckets"))?;
    let names = list.all("Bucket").map(|bucket| bucket.needed("Name").map(str::to_owned));
    let next = root.text("ContinuationToken").filter(|token| !token.is_empty()).map(str::to_owned);
    Ok(Buckets { names: names.collect::<Result<_>>()?, next })
}

/// An upload that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key it was for.
    pub key: Key,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun: Timestamp,
}

/// One page of a list of unfinished uploads; `next` is the key and id to go on after.
#[derive(Debug, PartialEq, Eq)]
pub struct Uploads {
    /// The uploads.
    pub uploads: Vec<Unfinished>,
    /// Key and id after which the next page begins; none after the last.
    pub next: Option<(String, String)>,
}

/// Reads the answer to ListMultipartUploads.
///
/// # Errors
/// As [`page`].
pub fn uploads(bytes: &[u8]) -> Result<Uploads> {
    let root = Element::read(bytes)?.expect(&["ListMultipartUploadsResult"])?;
    let encoding = root.encoding();
    let read = |upload: &Element| {
        let key = encoding.decode(upload.needed("Key")?);
        let id = upload.needed("UploadId")?.to_owned();
        Ok(Unfinished { key, id, begun: moment(upload.needed("Initiated")?)? })
    };
    let uploads = root.all("Upload").map(read).collect::<Result<Vec<_>>>()?;
    let next = match root.flag("IsTruncated")? {
        true => match encoding.decode(root.needed("NextKeyMarker")?) {
            Key::Text(key) => Some((key, root.text("NextUploadIdMarker").unwrap_or_default().to_owned())),
            Key::Bytes(_) => return Err(damaged("a list goes on after a key that is not UTF-8")),
        },
        false => None,
    };
    Ok(Uploads { uploads, next })
}

/// One page of the parts of an upload.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    /// When the last of them was written; none when there are none.
    pub latest: Option<Timestamp>,
    /// The number after which the next page begins; none after the last.
    pub next: Option<String>,
}

/// Reads the answer to ListParts.
///
/// # Errors
/// As [`page`].
pub fn parts(bytes: &[u8]) -> Result<Parts> {
    // Some servers call it by the other name.
    let root = Element::read(bytes)?.expect(&["ListPartsResult", "ListPartsResponse"])?;
    let written = root.all("Part").map(|part| moment(part.needed("LastModified")?));
    let latest = written.collect::<Result<Vec<_>>>()?.into_iter().max();
    let next = match root.flag("IsTruncated")? {
        true => Some(root.needed("NextPartNumberMarker")?.to_owned()),
        false => None,
    };
    Ok(Parts { latest, next })
}

fn moment(text: &str) -> Result<Timestamp> {
    let time: jiff::Timestamp = text.trim().parse().map_err(|_| damaged("a time is none"))?;
    Ok(Timestamp(time.as_second()))
}

#[cfg(test)]
mod tests;
