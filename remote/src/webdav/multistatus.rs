//! What a server answers to PROPFIND (RFC 4918, section 13 and 14): the resources it names, and what it knows of each.
//!
//! Invariants: an answer is whole or an error, for an element that is not closed means that a part is missing; elements are
//! known by their namespace, whatever its prefix; no entity is looked up but the five of XML; depth, texts and the answer have
//! bounds. What a server could not tell of a resource is a row that says so, never a missing row.

use icecore::error::{Error, Kind, Result};
use icecore::limits::{WEBDAV_ELEMENTS_DEEP, WEBDAV_TEXT_BYTES};
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

const DAV: ResolveResult<'_> = ResolveResult::Bound(Namespace("DAV:"));

/// One resource of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path or URL, as the server spells it.
    pub href: String,
    /// What it is.
    pub what: What,
    /// When it was changed last, in seconds since 1970 by the server's clock.
    pub modified: Option<i64>,
}

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It may have others in it.
    Folder,
    /// It has content.
    Object {
        /// Of so many bytes.
        size_bytes: u64,
    },
    /// The server could not say; this is its status.
    Refused(u16),
}

/// The resources of an answer.
///
/// # Errors
/// `Damaged` when it is not whole, or no such answer; `Limit` beyond the bounds of [`icecore::limits`].
pub fn parse(answer: &[u8]) -> Result<Vec<Member>> {
    let text = std::str::from_utf8(answer).map_err(|_| wrong("it is not UTF-8"))?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut parser = Parser::default();
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|e| wrong(&e.to_string()))?;
        match event {
            Event::Start(start) => parser.open(element(&namespace, start.local_name().as_ref()))?,
            Event::End(_) => parser.close()?,
            Event::Text(text) => parser.append(&text)?,
            Event::CData(text) => parser.append(&text)?,
            Event::GeneralRef(reference) => parser.append(character(&reference)?.encode_utf8(&mut [0; 4]))?,
            Event::DocType(_) => return Err(wrong("it declares a document type")),
            Event::Eof => return parser.finish(),
            _ => (),
        }
    }
}

/// What has a meaning here; where it has to stand, says [`Element::stands_in`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Multistatus,
    Response,
    Href,
    Propstat,
    Status,
    Prop,
    ResourceType,
    Collection,
    ContentLength,
    LastModified,
    Other,
}

impl Element {
    fn stands_in(self, parent: Option<Element>) -> bool {
        use Element::*;
        match self {
            Multistatus => parent.is_none(),
            Response => parent == Some(Multistatus),
            Href | Propstat => parent == Some(Response),
            Status => matches!(parent, Some(Response | Propstat)),
            Prop => parent == Some(Propstat),
            ResourceType | ContentLength | LastModified => parent == Some(Prop),
            Collection => parent == Some(ResourceType),
            Other => true,
        }
    }

    fn has_text(self) -> bool {
        matches!(self, Element::Href | Element::Status | Element::ContentLength | Element::LastModified)
    }
}

fn element(namespace: &ResolveResult<'_>, name: &str) -> Element {
    if *namespace != DAV {
        return Element::Other;
    }
    match name {
        "multistatus" => Element::Multistatus,
        "response" => Element::Response,
        "href" => Element::Href,
        "propstat" => Element::Propstat,
        "status" => Element::Status,
        "prop" => Element::Prop,
        "resourcetype" => Element::ResourceType,
        "collection" => Element::Collection,
        "getcontentlength" => Element::ContentLength,
        "getlastmodified" => Element::LastModified,
        _ => Element::Other,
    }
}

/// The properties of one `propstat`, or of all that were told of a resource.
#[derive(Default)]
struct Properties {
    is_folder: Option<bool>,
    size_bytes: Option<u64>,
    modified: Option<i64>,
}

/// What has been read of one `response`.
#[derive(Default)]
struct Resource {
    href: Option<String>,
    status: Option<u16>,
    known: Properties,
    /// The worst status of properties that were not given.
    refused: Option<u16>,
}

#[derive(Default)]
struct Parser {
    open: Vec<Element>,
    text: String,
    members: Vec<Member>,
    resource: Resource,
    properties: Properties,
    properties_status: Option<u16>,
    is_whole: bool,
}

impl Parser {
    fn open(&mut self, element: Element) -> Result<()> {
        if self.open.len() >= WEBDAV_ELEMENTS_DEEP {
            return Err(too_much("elements within each other"));
        }
        let parent = self.open.last().copied();
        // The same name elsewhere, in a property of somebody's own for instance, means something else.
        let element = if element.stands_in(parent) { element } else { Element::Other };
        if parent.is_none() && (element != Element::Multistatus || self.is_whole) {
            return Err(wrong("it does not begin as one"));
        }
        match element {
            Element::Response => self.resource = Resource::default(),
            Element::Propstat => {
                self.properties = Properties::default();
                self.properties_status = None;
            }
            Element::ResourceType => self.properties.is_folder = Some(false),
            Element::Collection => self.properties.is_folder = Some(true),
            element if element.has_text() => self.text.clear(),
            _ => (),
        }
        self.open.push(element);
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<()> {
        if !self.open.last().is_some_and(|element| element.has_text()) {
            return Ok(());
        }
        if self.text.len() + text.len() > WEBDAV_TEXT_BYTES {
            return Err(too_much("bytes in one text"));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let element = self.open.pop().ok_or_else(|| wrong("an element ends that did not begin"))?;
        let text = self.text.trim();
        match element {
            Element::Href => self.resource.href = Some(text.to_owned()),
            Element::Status if self.open.last() == Some(&Element::Propstat) => {
                self.properties_status = Some(status(text)?);
            }
            Element::Status => self.resource.status = Some(status(text)?),
            Element::ContentLength if text.is_empty() => (),
            Element::ContentLength => {
                let size = text.parse().map_err(|_| wrong("a length is no number"))?;
                self.properties.size_bytes = Some(size);
            }
            Element::LastModified => self.properties.modified = seconds(text),
            Element::Propstat => self.take_properties()?,
            Element::Response => {
                let member = std::mem::take(&mut self.resource).member()?;
                self.members.push(member);
            }
            Element::Multistatus => self.is_whole = true,
            _ => (),
        }
        Ok(())
    }

    fn take_properties(&mut self) -> Result<()> {
        let properties = std::mem::take(&mut self.properties);
        let known = &mut self.resource.known;
        match self.properties_status.ok_or_else(|| wrong("properties have no status"))? {
            200..=299 => {
                known.is_folder = properties.is_folder.or(known.is_folder);
                known.size_bytes = properties.size_bytes.or(known.size_bytes);
                known.modified = properties.modified.or(known.modified);
            }
            // A folder has no length.
            404 => (),
            refused => self.resource.refused = Some(refused),
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Member>> {
        match self.is_whole && self.open.is_empty() {
            true => Ok(self.members),
            false => Err(wrong("its end is missing")),
        }
    }
}

impl Resource {
    fn member(self) -> Result<Member> {
        let href =
            self.href.filter(|href| !href.is_empty()).ok_or_else(|| wrong("a resource has no name"))?;
        let known = self.known;
        let what = match (self.status, known.is_folder, known.size_bytes, self.refused) {
            (Some(status), ..) if !(200..300).contains(&status) => What::Refused(status),
            (_, Some(true), ..) => What::Folder,
            (_, _, Some(size_bytes), _) => What::Object { size_bytes },
            (_, _, None, Some(status)) => What::Refused(status),
            (_, _, None, None) => {
                return Err(wrong("neither a folder nor of a known length is something in it"));
            }
        };
        Ok(Member { href, what, modified: known.modified })
    }
}

/// The number of `HTTP/1.1 200 OK`.
fn status(line: &str) -> Result<u16> {
    let number = line.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    number.filter(|number| (100..600).contains(number)).ok_or_else(|| wrong("a status is no number"))
}

/// A time of HTTP; one in another form is not known.
fn seconds(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(time.as_second())
}

fn character(reference: &BytesRef<'_>) -> Result<char> {
    let named = match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().map_err(|e| wrong(&e.to_string()))?,
    };
    named.ok_or_else(|| wrong("it uses an entity of its own"))
}

fn wrong(why: &str) -> Error {
    Error::damaged("not an answer of WebDAV", "").because(crate::http::limited(why))
}

fn too_much(what: &str) -> Error {
    Error::new(Kind::Limit, format!("too many {what} in an answer of the server"))
}

#[cfg(test)]
mod tests;
