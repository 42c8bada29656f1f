//! Answers of a server (RFC 959, 4.2): three digits and text, on one line or between `123-` and `123 `.
//!
//! Invariant: what is not an answer is an error, and no answer is longer than [`FTP_REPLY_BYTES`].

use icecore::error::{Error, Kind};
use icecore::limits::FTP_REPLY_BYTES;
use std::fmt;
use std::io::{self, BufRead, Read};

/// Characters of an answer that are shown.
const SHOWN_CHARACTERS: usize = 200;

/// What servers say when somebody may not do what he asks for.
const DENIALS: [&str; 7] =
    ["permission", "denied", "privilege", "not allowed", "forbidden", "not authorized", "read-only"];

/// What they say when there is no room.
const FULL: [&str; 5] = ["no space", "quota", "disk full", "insufficient", "not enough space"];

/// What they say when there are too many connections.
const CROWDED: [&str; 4] = ["too many", "maximum", "limit", "already logged in"];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line, without digits and line ends.
    pub lines: Vec<String>,
}

impl Reply {
    /// Reads one; `None` where the connection ends before one begins.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` when it is not an answer, `UnexpectedEof` in the middle of one.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Reply>> {
        let mut room = FTP_REPLY_BYTES;
        let Some(first) = line(from, &mut room)? else { return Ok(None) };
        let (code, is_last, text) = opening(&first).ok_or_else(|| invalid(&first))?;
        let mut reply = Reply { code, lines: vec![text.to_owned()] };
        if is_last {
            return Ok(Some(reply));
        }
        loop {
            let next = line(from, &mut room)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match opening(&next) {
                Some((same, true, text)) if same == code => {
                    reply.lines.push(text.to_owned());
                    return Ok(Some(reply));
                }
                _ => reply.lines.push(next),
            }
        }
    }

    /// Another answer follows.
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }

    /// It is done.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The next command is awaited.
    pub fn wants_more(&self) -> bool {
        (300..400).contains(&self.code)
    }

    /// Whether the server does not know what it was asked.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self.code, 500 | 501 | 502 | 504)
    }

    /// The first line.
    pub fn text(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    fn says(&self, words: &[&str]) -> bool {
        self.lines.iter().any(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word))
        })
    }

    /// Whether it speaks of missing permission.
    pub fn is_denial(&self) -> bool {
        matches!(self.code, 530 | 532 | 533 | 534) || self.says(&DENIALS)
    }

    /// Whether it speaks of too many connections.
    pub fn is_crowded(&self) -> bool {
        self.code == 421 || self.code == 530 && self.says(&CROWDED)
    }

    /// What it means as a refusal of `verb`.
    pub fn refusal(&self, verb: &str) -> Error {
        let (kind, may_pass) = match self.code {
            452 | 552 => (Kind::NoSpace, false),
            _ if self.says(&FULL) => (Kind::NoSpace, false),
            400..500 => (Kind::Io, true),
            500..=504 => (Kind::Unsupported, false),
            522 | 536 => (Kind::Unsupported, false),
            530..600 => (Kind::Denied, false),
            _ => (Kind::Io, false),
        };
        let error = Error::new(kind, format!("the server answers {verb} with {self}"));
        if may_pass { error.retry_later() } else { error }
    }
}

/// For people: no control characters, and not endless.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, shown(&self.lines.join(" ")))
    }
}

/// Foreign text for people.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.trim().chars().take(SHOWN_CHARACTERS) {
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    if text.trim().chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// One line without its end; `None` at the end of the connection.
fn line(from: &mut impl BufRead, room: &mut usize) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    from.by_ref().take(*room as u64).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() && *room > 0 {
        return Ok(None);
    }
    *room -= bytes.len();
    match bytes.pop() {
        Some(b'\n') => {}
        _ if *room == 0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end")),
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Code, whether it is the last line, and text.
fn opening(line: &str) -> Option<(u16, bool, &str)> {
    let digits = line.get(..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let code = digits.parse().ok().filter(|code| (100..700).contains(code))?;
    match line[3..].chars().next() {
        None => Some((code, true, "")),
        Some(' ') => Some((code, true, &line[4..])),
        Some('-') => Some((code, false, &line[4..])),
        Some(_) => None,
    }
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an answer of an FTP server: {}", shown(line)))
}

/// The port in an answer to EPSV: `(|||6446|)` with any delimiter.
pub fn extended_port(text: &str) -> Option<u16> {
    let inner = text.get(text.find('(')? + 1..)?;
    let delimiter = inner.chars().next()?;
    let mut parts = inner.get(delimiter.len_utf8()..)?.split(delimiter);
    let port = parts.nth(2)?;
    parts.next()?;
    port.parse().ok().filter(|port| *port != 0)
}

/// The port in an answer to PASV: the last two of six numbers. Which host it names does not matter.
pub fn passive_port(text: &str) -> Option<u16> {
    let numbers = |part: &str| -> Option<u16> {
        let bytes: Option<Vec<u8>> = part.split(',').map(|number| number.trim().parse().ok()).collect();
        match bytes?.as_slice() {
            [_, _, _, _, high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    };
    let part = |letter: char| !letter.is_ascii_digit() && letter != ',';
    text.split(part).find_map(numbers).filter(|port| *port != 0)
}

/// The folder in an answer to PWD: quoted, with quotes inside doubled (RFC 959, appendix II).
pub fn quoted_path(text: &str) -> Option<String> {
    let mut letters = text.get(text.find('"')? + 1..)?.chars().peekable();
    let mut path = String::new();
    loop {
        match letters.next()? {
            '"' if letters.peek() == Some(&'"') => {
                letters.next();
                path.push('"');
            }
            '"' => return Some(path).filter(|path| path.starts_with('/')),
            letter => path.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> io::Result<Option<Reply>> {
        Reply::read(&mut text.as_bytes())
    }

    #[test]
    fn answers_have_one_line_or_several() {
        let reply = read("220 ready\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.text()), (220, "ready"));
        let reply =
            read("211-Features:\r\n MLST a*;\r\n226 not yet\r\n211-nor here\n211 End\r\n").unwrap().unwrap();
        assert_eq!(reply.code, 211);
        assert_eq!(reply.lines, ["Features:", " MLST a*;", "226 not yet", "211-nor here", "End"]);
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("200\n").unwrap().unwrap().text(), "");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (text, kind) in [
            ("SSH-2.0-OpenSSH\r\n", io::ErrorKind::InvalidData),
            ("20 x\r\n", io::ErrorKind::InvalidData),
            ("2200 x\r\n", io::ErrorKind::InvalidData),
            ("+12 x\r\n", io::ErrorKind::InvalidData),
            ("220 without an end", io::ErrorKind::UnexpectedEof),
            ("220-begun\r\nnever ended\r\n", io::ErrorKind::UnexpectedEof),
        ] {
            assert_eq!(read(text).unwrap_err().kind(), kind, "{text}");
        }
        let endless = "220-".to_owned() + &"x\r\n".repeat(FTP_REPLY_BYTES);
        assert_eq!(read(&endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&"9".repeat(FTP_REPLY_BYTES * 2)).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn refusals_have_kinds() {
        let of = |text: &str| {
            let error = read(text).unwrap().unwrap().refusal("STOR");
            (error.kind(), error.retry() == icecore::error::Retry::Later)
        };
        assert_eq!(of("452 full\r\n"), (Kind::NoSpace, false));
        assert_eq!(of("451 Quota exceeded\r\n"), (Kind::NoSpace, false));
        assert_eq!(of("426 cut\r\n"), (Kind::Io, true));
        assert_eq!(of("530 no\r\n"), (Kind::Denied, false));
        assert_eq!(of("502 what?\r\n"), (Kind::Unsupported, false));
        let error = read("550 a\u{1b}[2Jb\r\n").unwrap().unwrap().refusal("STOR").to_string();
        assert_eq!(error, "the server answers STOR with 550 a\\u{1b}[2Jb");
        let long = format!("550 {}\r\n", "x".repeat(5_000));
        assert!(read(&long).unwrap().unwrap().refusal("STOR").to_string().len() < 300);
    }

    #[test]
    fn ports_and_paths_are_found() {
        assert_eq!(extended_port("Entering Extended Passive Mode (|||6446|)"), Some(6446));
        assert_eq!(extended_port("odd (!!!1!)."), Some(1));
        for bad in ["", "(", "(|||", "(|||x|)", "(|||70000|)", "(|||0|)", "(|||1", "|||1|"] {
            assert_eq!(extended_port(bad), None, "{bad}");
        }
        assert_eq!(passive_port("Entering Passive Mode (127,0,0,1,4,1)."), Some(1025));
        assert_eq!(passive_port("227 =10,0,0,1,0,21"), Some(21));
        for bad in ["", "(127,0,0,1,4)", "(127,0,0,1,4,256)", "(1,2,3,4,0,0)", "(,,,,,)"] {
            assert_eq!(passive_port(bad), None, "{bad}");
        }
        assert_eq!(quoted_path("\"/a \"\"b\"\"\" is current").as_deref(), Some("/a \"b\""));
        for bad in ["", "/a", "\"/a", "\"a\"", "\"\""] {
            assert_eq!(quoted_path(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let found = Reply::read(&mut bytes.as_slice());
            prop_assert!(found.is_err() || found.unwrap().is_none_or(|reply| (100..700).contains(&reply.code)));
            prop_assert_ne!((extended_port(&text), passive_port(&text)), (Some(0), Some(0)));
            prop_assert!(quoted_path(&text).is_none_or(|path| path.starts_with('/')));
        }

        #[test]
        fn a_path_comes_back_from_its_quotes(path in "/[^\u{0}\r\n]{0,40}") {
            let quoted = format!("\"{}\" is it", path.replace('"', "\"\""));
            prop_assert_eq!(quoted_path(&quoted), Some(path));
        }
    }
}
