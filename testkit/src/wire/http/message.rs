//! Messages of HTTP/1.1 as they are on the wire (RFC 9112): heads, and bodies by length, in chunks, or up to the end.

use super::rule::{Answer, find};
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

/// Longest head.
const HEAD_BYTES: u64 = 256 << 10;
/// Bytes of a body that are passed on at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The first line and the headers.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub first: String,
    pub headers: Vec<(String, String)>,
}

fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// The next head; none when there is nothing more.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut reader = reader.take(HEAD_BYTES);
    let Some(first) = read_line(&mut reader)? else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader)?.ok_or_else(|| broken("a head without an end"))?;
        if line.is_empty() {
            return Ok(Some(Head { first, headers }));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken(format!("not a header: {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A line without its end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(broken("a line without an end"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| broken("a line that is not UTF-8"))
}

impl Head {
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    pub fn status(&self) -> io::Result<u16> {
        let status = self.first.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.ok_or_else(|| broken(format!("not an answer: {:?}", self.first)))
    }

    /// The words of a header, in small letters.
    fn says(&self, name: &str, word: &str) -> bool {
        let values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
    }

    pub fn expects_continue(&self) -> bool {
        self.says("expect", "100-continue")
    }

    pub fn keeps_connection(&self) -> bool {
        !self.says("connection", "close") && !self.first.ends_with("HTTP/1.0")
    }

    /// How the body of a request is framed.
    pub fn request_framing(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// How the body of an answer is framed; that to a HEAD is bare.
    pub fn answer_framing(&self, is_bare: bool) -> io::Result<Framing> {
        match self.status()? {
            _ if is_bare => Ok(Framing::None),
            204 | 304 => Ok(Framing::None),
            _ => Ok(self.framing()?.unwrap_or(Framing::UntilTheEnd)),
        }
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let length = find(&self.headers, "content-length").map(|text| {
            text.parse().map(Framing::Length).map_err(|_| broken(format!("not a length: {text:?}")))
        });
        length.transpose()
    }

    /// As it is sent on: without some headers, with others.
    pub fn with_headers(&self, without: &[&str], with: &[(&str, &str)]) -> Vec<u8> {
        let kept = self
            .headers
            .iter()
            .filter(|(name, _)| !without.iter().any(|known| name.eq_ignore_ascii_case(known)));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        head(&self.first, kept.chain(with.iter().copied()))
    }

    /// As a client is told it, whose connection stays whatever the server did with its own.
    pub fn as_answer(&self, framing: Framing) -> Vec<u8> {
        let chunked = [("Transfer-Encoding", "chunked")];
        let more: &[(&str, &str)] = if framing == Framing::UntilTheEnd { &chunked } else { &[] };
        let first = match self.first.split_once(' ') {
            Some((_, rest)) => format!("HTTP/1.1 {rest}"),
            None => self.first.clone(),
        };
        let told = Head { first, headers: self.headers.clone() };
        told.with_headers(&["connection", "keep-alive"], more)
    }
}

fn head<'h>(first: &str, headers: impl Iterator<Item = (&'h str, &'h str)>) -> Vec<u8> {
    let mut text = format!("{first}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    Length(u64),
    Chunked,
    UntilTheEnd,
}

impl Framing {
    /// How a client is told: its connection does not end with the body.
    pub fn told(self) -> Framing {
        if self == Framing::UntilTheEnd { Framing::Chunked } else { self }
    }
}

/// Reads a body to its end, and hands it on in pieces.
pub(super) fn copy_body(
    reader: &mut impl BufRead,
    framing: Framing,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match framing {
        Framing::None => Ok(()),
        Framing::Length(length) => copy_exactly(reader, length, sink),
        Framing::UntilTheEnd => copy_some(reader, u64::MAX, sink).map(drop),
        Framing::Chunked => loop {
            let line = read_line(reader)?.ok_or_else(|| broken("chunks without an end"))?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                u64::from_str_radix(digits, 16).map_err(|_| broken(format!("not a chunk: {line:?}")))?;
            if length == 0 {
                // What follows the last chunk says nothing that our servers and clients use.
                while read_line(reader)?.is_some_and(|line| !line.is_empty()) {}
                return Ok(());
            }
            copy_exactly(reader, length, sink)?;
            if read_line(reader)?.is_none_or(|line| !line.is_empty()) {
                return Err(broken("a chunk of another length"));
            }
        },
    }
}

fn copy_exactly(
    reader: &mut impl BufRead,
    length: u64,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match copy_some(reader, length, sink)? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Copies so many bytes, or up to the end; how many are missing.
fn copy_some(
    reader: &mut impl BufRead,
    length: u64,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut buffer, mut left) = (vec![0; PIECE_BYTES], length);
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        match reader.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(length) => {
                sink(&buffer[..length])?;
                left -= length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// A body that is being sent.
pub(super) struct Body<'s> {
    target: &'s TcpStream,
    framing: Framing,
}

impl<'s> Body<'s> {
    pub fn begin(target: &'s TcpStream, framing: Framing) -> Body<'s> {
        Body { target, framing }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.framing != Framing::Chunked {
            return self.target.write_all(bytes);
        }
        self.target.write_all(&chunk(bytes))
    }

    pub fn finish(self) -> io::Result<()> {
        let mut target = self.target;
        if self.framing == Framing::Chunked { target.write_all(LAST_CHUNK) } else { Ok(()) }
    }
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// A whole answer, framed as `framing` is.
pub(super) fn whole(answer: &Answer, framing: Framing, is_bare: bool) -> Vec<u8> {
    let framed = ["content-length", "transfer-encoding", "connection", "keep-alive"];
    let first = format!("HTTP/1.1 {} {}", answer.status, reason(answer.status));
    let told = Head { first, headers: answer.headers.clone() };
    let length = answer.body.len().to_string();
    // The answer to a HEAD tells the length of what would come with a GET.
    let (without, more): (&[&str], &[(&str, &str)]) = match framing {
        _ if is_bare => (&framed[2..], &[]),
        Framing::None => (&framed, &[]),
        Framing::Chunked | Framing::UntilTheEnd => (&framed, &[("Transfer-Encoding", "chunked")]),
        Framing::Length(_) => (&framed, &[("Content-Length", length.as_str())]),
    };
    let mut bytes = told.with_headers(without, more);
    match framing {
        _ if is_bare => {}
        Framing::None => {}
        Framing::Length(_) => bytes.extend_from_slice(&answer.body),
        Framing::Chunked | Framing::UntilTheEnd => {
            if !answer.body.is_empty() {
                bytes.extend(chunk(&answer.body));
            }
            bytes.extend_from_slice(LAST_CHUNK);
        }
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        412 => "Precondition Failed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "As It Is",
    }
}
