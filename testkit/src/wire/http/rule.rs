//! Which answers are changed, and how.

use super::message::Head;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A request, as a rule sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path as it was sent, with whatever is percent-encoded in it.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// The headers, as they were sent.
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn of(head: &Head) -> io::Result<Request> {
        let mut words = head.first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other(format!("not a request: {:?}", head.first)));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: head.headers.clone(),
        })
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// The first header of a name.
pub(super) fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// An answer. Its length is told as it is, whatever its headers say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, but for those that frame the body.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without a body.
    pub fn status(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    /// The same, asking to come back after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Answer {
        self.with("Retry-After", &seconds.to_string())
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn saying(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }
}

/// Changes an answer.
pub type Edit = Arc<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;

/// What happens to a request.
#[derive(Clone)]
pub enum Action {
    /// This is the answer, and the server is not asked.
    Answer(Answer),
    /// The server does it, and the client is cut off without hearing of it.
    LoseAnswer,
    /// The server is not asked, and the client waits for ever.
    Stall,
    /// The body is cut off behind this byte, and the connection with it: the client knows that something is missing.
    CutBody {
        /// Bytes that the client gets.
        after_bytes: u64,
    },
    /// The body ends at this byte, and its length is told as if that were all: nothing seems to be missing.
    ShortenBody {
        /// Bytes that the client gets at most.
        to_bytes: u64,
    },
    /// The answer is what this makes of it.
    Edit(Edit),
    /// The first answer is passed on and kept; later requests for the same (method, path and query) get it again.
    Stale,
}

impl Action {
    /// An answer without a body, for which the server is not asked.
    pub fn status(status: u16) -> Action {
        Action::Answer(Answer::status(status))
    }

    /// Makes something else of the answer.
    pub fn edit(edit: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Action {
        Action::Edit(Arc::new(edit))
    }

    /// Makes something else of the body.
    pub fn edit_body(edit: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Action {
        Action::edit(move |_, answer| Answer { body: edit(answer.body), ..answer })
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Answer(answer) => write!(f, "answer {}", answer.status),
            Action::LoseAnswer => f.write_str("lose the answer"),
            Action::Stall => f.write_str("stall"),
            Action::CutBody { after_bytes } => write!(f, "cut the body after {after_bytes}"),
            Action::ShortenBody { to_bytes } => write!(f, "shorten the body to {to_bytes}"),
            Action::Edit(_) => f.write_str("edit"),
            Action::Stale => f.write_str("stale"),
        }
    }
}

type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

/// Chooses requests.
#[derive(Clone)]
pub struct Rule {
    action: Action,
    predicates: Vec<Predicate>,
    first: u64,
    times: u64,
}

impl Rule {
    /// Every request. The methods narrow it down; all that are used must agree.
    pub fn new(action: Action) -> Rule {
        Rule { action, predicates: Vec::new(), first: 1, times: u64::MAX }
    }

    /// Requests of a method (`""` is any) for a path, in which `*` stands for anything.
    #[must_use]
    pub fn on(self, method: &str, path: &str) -> Rule {
        let (method, pattern) = (method.to_owned(), path.to_owned());
        self.when(move |request| {
            (method.is_empty() || request.method == method) && fits(&pattern, &request.path)
        })
    }

    /// Requests of which this is true.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Rule {
        self.predicates.push(Arc::new(predicate));
        self
    }

    /// Of those, the n-th and later ones, counted from 1.
    #[must_use]
    pub fn from(self, nth: u64) -> Rule {
        Rule { first: nth, ..self }
    }

    /// Of those, so many.
    #[must_use]
    pub fn times(self, times: u64) -> Rule {
        Rule { times, ..self }
    }

    /// Of those, the n-th alone.
    #[must_use]
    pub fn nth(self, nth: u64) -> Rule {
        self.from(nth).times(1)
    }

    /// What to do with a request, when this rule is about it; `seen` counts those that fit.
    pub(super) fn choose(&self, request: &Request, seen: &mut u64) -> Option<Action> {
        if !self.predicates.iter().all(|predicate| predicate(request)) {
            return None;
        }
        *seen += 1;
        let is_due = *seen >= self.first && *seen - self.first < self.times;
        is_due.then(|| self.action.clone())
    }
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in [
            ("/a", "/a"),
            ("*", ""),
            ("/a/*", "/a/"),
            ("*/data/*", "/x/data/y/z"),
            ("*a*b", "aab"),
            ("/*/b*b", "/a/bb"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("/a", "/a/b"), ("/a/*", "/a"), ("*b", "ba"), ("*ab*ab", "ab"), ("a*a", "a")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_counts_what_fits() {
        let request = |method: &str| Request {
            method: method.to_owned(),
            path: "/a".to_owned(),
            query: String::new(),
            headers: vec![("X-A".to_owned(), "1".to_owned())],
        };
        let rule =
            Rule::new(Action::Stall).on("PUT", "/*").when(|request| request.header("x-a") == Some("1"));
        let chosen = |rule: &Rule| {
            let mut seen = 0;
            let methods = ["PUT", "GET", "PUT", "PUT", "PUT"];
            methods.map(|method| rule.choose(&request(method), &mut seen).is_some())
        };
        assert_eq!(chosen(&rule), [true, false, true, true, true]);
        assert_eq!(chosen(&rule.clone().nth(2)), [false, false, true, false, false]);
        assert_eq!(chosen(&rule.clone().from(2).times(2)), [false, false, true, true, false]);
    }
}
