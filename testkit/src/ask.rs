//! A question to a server that speaks HTTP, put by nobody's client: what a test wants to see or to lay down beside the program.
//!
//! One connection a question, by HTTP/1.0: an answer ends where the server ends it.

mod signed;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The headers, their names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Said {
    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// This, if the server has done what it was asked to.
    ///
    /// # Panics
    /// When it has not.
    #[must_use]
    pub fn well(self) -> Said {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }
}

/// Asks the server at a port of loopback. The path is sent as it is, with what follows a `?`.
///
/// # Panics
/// When the server cannot be reached, or what it says is no answer.
pub fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
    let mut server = TcpStream::connect(("127.0.0.1", port)).expect("the server can be reached");
    server.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    server.write_all(head.as_bytes()).expect("the server takes the question");
    server.write_all(body).expect("the server takes the question");
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).expect("the server answers");
    parse(&answer).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&answer)))
}

/// The same of a server that speaks S3, signed with a key (its id and secret). The time is that of now, in the form `20130524T000000Z`.
///
/// # Panics
/// As [`ask`].
pub fn ask_signed(
    port: u16,
    (key, time): ((&str, &str), &str),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Said {
    let host = format!("127.0.0.1:{port}");
    let headers = signed::headers(key, time, &host, (method, path), headers, body);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    ask(port, method, path, &headers, body)
}

fn parse(answer: &[u8]) -> Option<Said> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Said { status, headers, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let said = parse(b"HTTP/1.1 201 Created\r\nX-A: b: c\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((said.status, said.header("x-a"), said.text().as_str()), (201, Some("b: c"), "hi"));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
