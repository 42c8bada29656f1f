//! What a server is made to do wrong, in the tongue it speaks.

use icecore_testkit::random::Random;
use icecore_testkit::wire::{Action, Answer, Request, Rule};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a server speaks, and so what its lists look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    S3,
    Swift,
    WebDav,
}

impl Tongue {
    fn is_list(self, request: &Request) -> bool {
        match self {
            Tongue::S3 => request.method == "GET" && request.query.contains("list-type=2"),
            Tongue::Swift => request.method == "GET" && request.query.contains("format=json"),
            Tongue::WebDav => request.method == "PROPFIND" && request.header("depth") == Some("1"),
        }
    }

    /// Whether a list is not asked for from its beginning. WebDAV has no pages.
    fn goes_on(self, request: &Request) -> bool {
        let behind = match self {
            Tongue::S3 => "continuation-token",
            Tongue::Swift => "marker",
            Tongue::WebDav => return false,
        };
        let mut query = request.query.split('&').filter_map(|pair| pair.split_once('='));
        query.any(|(key, value)| key == behind && !value.is_empty())
    }

    /// A list of which the rows are others.
    fn edited(self, body: &[u8], edit: &dyn Fn(&mut Vec<String>)) -> Vec<u8> {
        let text = String::from_utf8_lossy(body);
        match self {
            Tongue::S3 => {
                let objects = with_rows(&text, "<Contents>", "</Contents>", 0, edit);
                with_rows(&objects, "<CommonPrefixes>", "</CommonPrefixes>", 0, edit).into_bytes()
            }
            // The first one is the folder itself.
            Tongue::WebDav => with_rows(&text, "<D:response>", "</D:response>", 1, edit).into_bytes(),
            Tongue::Swift => match serde_json::from_str(&text) {
                Ok(Value::Array(rows)) => {
                    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
                    edit(&mut rows);
                    format!("[{}]", rows.join(",")).into_bytes()
                }
                _ => body.to_vec(),
            },
        }
    }
}

/// Changes the rows of a text behind the first few, of which each begins with `open` and ends with `close`.
fn with_rows(text: &str, open: &str, close: &str, kept: usize, edit: &dyn Fn(&mut Vec<String>)) -> String {
    let (Some(start), Some(end)) = (text.find(open), text.rfind(close)) else { return text.to_owned() };
    let end = end + close.len();
    let mut rows: Vec<String> = text[start..end].split_inclusive(close).map(str::to_owned).collect();
    let mut later = rows.split_off(kept.min(rows.len()));
    edit(&mut later);
    [&text[..start], &rows.concat(), &later.concat(), &text[end..]].concat()
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status is the answer, and nothing is done.
    Status(u16),
    /// It is done, and the answer does not come.
    LostAnswer,
    /// The body of an answer is cut off, and the connection with it.
    Cut,
    /// The body of an answer is shorter, and nothing says so.
    Shortened,
    /// There is nothing in a list.
    Empty,
    /// Rows in the middle of a list are missing.
    Dropped,
    /// A page of a list that goes on says that nothing follows: the rest of the list is missing.
    PageLost,
    /// The rows of a list come from the last to the first.
    Reordered,
    /// Lists are those of before.
    Stale,
}

impl Fault {
    /// Whether the server says what is not so, in a way that nobody can tell from the truth.
    pub fn is_a_lie(self) -> bool {
        matches!(self, Fault::Empty | Fault::Dropped | Fault::PageLost | Fault::Stale)
    }
}

/// How often it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    Always,
}

/// Everything that may be wrong, but for what only lists of several pages meet.
pub fn all() -> Vec<(Fault, Times)> {
    let mut all = Vec::new();
    let faults = [401, 403, 429, 500, 503].map(Fault::Status).into_iter().chain([
        Fault::LostAnswer,
        Fault::Cut,
        Fault::Shortened,
        Fault::Empty,
        Fault::Dropped,
        Fault::Reordered,
    ]);
    for fault in faults {
        all.extend([(fault, Times::Once), (fault, Times::Always)]);
    }
    all.push((Fault::Stale, Times::Always));
    all
}

/// Rules for one trial.
pub struct Maker {
    pub tongue: Tongue,
    /// Lists that a rule has changed.
    pub changed: Arc<AtomicUsize>,
    /// Old lists are given only while this is set.
    pub is_stale: Arc<AtomicBool>,
}

impl Maker {
    /// A rule by which `fault` strikes while a verb sends so many requests.
    pub fn rule(&self, fault: Fault, times: Times, requests: u64, random: &mut Random) -> Rule {
        let (rule, among) = match fault {
            Fault::Status(status) => (Rule::new(Action::status(status)), requests),
            Fault::LostAnswer => (Rule::new(Action::LoseAnswer), requests),
            Fault::Cut => (read(Action::CutBody { after_bytes: random.below(400) }), requests / 3),
            Fault::Shortened => (read(Action::ShortenBody { to_bytes: random.below(400) }), requests / 3),
            Fault::Empty => (self.list(Vec::clear), 2),
            Fault::Dropped => (self.list(drop_some), 2),
            Fault::PageLost => {
                let tongue = self.tongue;
                (self.list(Vec::clear).when(move |request| tongue.goes_on(request)), 1)
            }
            Fault::Reordered => (self.list(|rows| rows.reverse()), 2),
            Fault::Stale => {
                let (tongue, is_stale) = (self.tongue, Arc::clone(&self.is_stale));
                let is_due =
                    move |request: &Request| tongue.is_list(request) && is_stale.load(Ordering::Relaxed);
                return Rule::new(Action::Stale).when(is_due);
            }
        };
        match times {
            Times::Once => rule.nth(1 + random.below(among.max(1))),
            // Often from the start: then not even the place can be opened.
            Times::Always => rule.from(1 + random.below(among.max(1))),
        }
    }

    fn list(&self, edit: fn(&mut Vec<String>)) -> Rule {
        let (tongue, changed) = (self.tongue, Arc::clone(&self.changed));
        let action = Action::edit(move |_, answer| {
            let body = tongue.edited(&answer.body, &edit);
            changed.fetch_add(usize::from(body != answer.body), Ordering::Relaxed);
            Answer { body, ..answer }
        });
        Rule::new(action).when(move |request| tongue.is_list(request))
    }
}

fn read(action: Action) -> Rule {
    Rule::new(action).when(|request| matches!(request.method.as_str(), "GET" | "PROPFIND"))
}

/// A third of the rows, and one at least.
fn drop_some(rows: &mut Vec<String>) {
    let start = rows.len() / 3;
    let end = rows.len().min(start + (rows.len() / 3).max(1));
    rows.drain(start..end);
}

#[test]
fn rows_of_lists_are_found() {
    let all = |tongue: Tongue, body: &str, edit: fn(&mut Vec<String>)| {
        String::from_utf8(tongue.edited(body.as_bytes(), &edit)).unwrap()
    };
    let s3 = "<L><Contents>a</Contents> <Contents>b</Contents><CommonPrefixes>c</CommonPrefixes></L>";
    assert_eq!(all(Tongue::S3, s3, Vec::clear), "<L></L>");
    assert_eq!(
        all(Tongue::WebDav, "<m><D:response>.</D:response><D:response>a</D:response></m>", Vec::clear),
        "<m><D:response>.</D:response></m>"
    );
    assert_eq!(
        all(Tongue::Swift, r#"[{"name":"a"},{"name":"b"}]"#, |rows| rows.reverse()),
        r#"[{"name":"b"},{"name":"a"}]"#
    );
    assert_eq!(all(Tongue::Swift, r#"[1,2,3,4]"#, drop_some), "[1,3,4]");
}
