//! Patterns as those of GNU tar's `--exclude`, when nothing else is said: they match at the beginning of a path and behind any of
//! its slashes, wildcards also match slashes, and what is below a directory that is left out is left out with it.
//!
//! Invariant: a match takes time that grows with path and pattern, never with powers of them.

use crate::error::{Error, Result};
use crate::limits::PATTERN_BYTES;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarPattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    One,
    /// Any bytes, or none.
    Many,
    /// One byte of these ranges, or of none of them.
    Set { is_negated: bool, ranges: Vec<(u8, u8)> },
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Token::Byte(wanted) => byte == *wanted,
            Token::One => true,
            Token::Many => false,
            Token::Set { is_negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *is_negated
            }
        }
    }
}

impl TarPattern {
    /// Reads one. A `[` that nothing closes is a `[`.
    ///
    /// # Errors
    /// `Invalid` when it is empty, or longer than [`PATTERN_BYTES`].
    pub(super) fn new(pattern: &[u8]) -> Result<TarPattern> {
        let shown = || String::from_utf8_lossy(pattern).into_owned();
        if pattern.len() > PATTERN_BYTES {
            return Err(Error::invalid("too long a pattern:", shown()));
        }
        let mut rest = pattern;
        if rest.is_empty() {
            return Err(Error::invalid("not a pattern to exclude by:", format!("{:?}", shown())));
        }
        let mut tokens = Vec::new();
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            tokens.push(match byte {
                b'*' => Token::Many,
                b'?' => Token::One,
                b'\\' if !rest.is_empty() => {
                    let byte = rest[0];
                    rest = &rest[1..];
                    Token::Byte(byte)
                }
                b'[' => match set(rest) {
                    Some((token, behind)) => {
                        rest = behind;
                        token
                    }
                    None => Token::Byte(b'['),
                },
                byte => Token::Byte(byte),
            });
        }
        Ok(TarPattern { tokens })
    }

    /// Whether it matches a path relative to the root, which tar calls `./PATH`, or the root itself, `.`.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        if self.matches_all(b".") {
            return true;
        }
        let full = [b"./", path].concat();
        let behind_slashes = full.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        std::iter::once(0).chain(behind_slashes).any(|start| self.matches_all(&full[start..]))
    }

    /// The whole text against the whole pattern. On the way back only the last `*` has to be tried again.
    fn matches_all(&self, text: &[u8]) -> bool {
        let (mut at, mut token) = (0, 0);
        let mut again: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.tokens.get(token) {
                Some(Token::Many) => {
                    again = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(one) if one.takes(text[at]) => {
                    at += 1;
                    token += 1;
                    continue;
                }
                _ => {}
            }
            let Some((star, from)) = again else { return false };
            again = Some((star, from + 1));
            (token, at) = (star + 1, from + 1);
        }
        self.tokens[token..].iter().all(|token| *token == Token::Many)
    }
}

/// A set behind its `[`, and what is behind it; `None` when nothing closes it.
fn set(text: &[u8]) -> Option<(Token, &[u8])> {
    let (is_negated, mut rest) = match text.first() {
        Some(b'!' | b'^') => (true, &text[1..]),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    let mut is_first = true;
    loop {
        let (&byte, behind) = rest.split_first()?;
        match byte {
            b']' if !is_first => return Some((Token::Set { is_negated, ranges }, behind)),
            b'[' if behind.first() == Some(&b':') => {
                let end = behind.windows(2).position(|pair| pair == b":]")?;
                ranges.extend(class(&behind[1..end])?);
                rest = &behind[end + 2..];
            }
            _ => {
                let (first, behind) = literal(rest)?;
                match behind {
                    [b'-', next, ..] if *next != b']' => {
                        let (last, behind) = literal(&behind[1..])?;
                        ranges.push((first, last));
                        rest = behind;
                    }
                    _ => {
                        ranges.push((first, first));
                        rest = behind;
                    }
                }
            }
        }
        is_first = false;
    }
}

fn literal(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', byte, rest @ ..] => Some((*byte, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

fn class(name: &[u8]) -> Option<Vec<(u8, u8)>> {
    Some(match name {
        b"digit" => vec![(b'0', b'9')],
        b"lower" => vec![(b'a', b'z')],
        b"upper" => vec![(b'A', b'Z')],
        b"alpha" => vec![(b'a', b'z'), (b'A', b'Z')],
        b"alnum" => vec![(b'0', b'9'), (b'a', b'z'), (b'A', b'Z')],
        b"space" => vec![(b' ', b' '), (b'\t', b'\r')],
        b"punct" => vec![(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        b"xdigit" => vec![(b'0', b'9'), (b'a', b'f'), (b'A', b'F')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        TarPattern::new(pattern.as_bytes()).unwrap().matches(path.as_bytes())
    }

    /// Asked of GNU tar 1.34, `tar -cf … --exclude=PATTERN .`
    #[test]
    fn patterns_mean_what_they_mean_to_tar() {
        for (pattern, path, expected) in [
            ("*.bin", "a.bin", true),
            ("*.bin", "deep/down/a.bin", true),
            ("*.bin", "a.bins", false),
            ("a*b", "a/x/b", true),
            ("a?b", "a/b", true),
            ("sub/b", "other/sub/b", true),
            ("./a", "a", true),
            ("./a", "b/a", false),
            ("/a", "b/a", false),
            ("a/", "a", false),
            ("[ab]c", "bc", true),
            ("[!ab]c", "bc", false),
            ("[!ab]c", "xc", true),
            ("[a-c]x", "bx", true),
            ("[]]x", "]x", true),
            ("[[:digit:]]x", "7x", true),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("$(touch x)", "$(touch x)", true),
            ("a", "ab", false),
            (".", "anything", true),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn nothing_is_no_pattern() {
        assert!(TarPattern::new(b"").is_err());
        assert!(TarPattern::new(&vec![b'a'; PATTERN_BYTES + 1]).is_err());
    }

    /// The plain definition, for short texts.
    fn slowly(tokens: &[Token], text: &[u8]) -> bool {
        match (tokens.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Token::Many, more)), rest) => {
                slowly(more, text) || rest.is_some_and(|(_, text)| slowly(tokens, text))
            }
            (Some((token, more)), Some((byte, text))) => token.takes(*byte) && slowly(more, text),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_and_the_plain_one_agree(pattern in "[ab*?/]{1,6}", text in "[ab/]{0,8}") {
            if let Ok(pattern) = TarPattern::new(pattern.as_bytes()) {
                prop_assert_eq!(pattern.matches_all(text.as_bytes()), slowly(&pattern.tokens, text.as_bytes()));
            }
        }

        #[test]
        fn any_bytes_are_a_pattern_or_refused(pattern in prop::collection::vec(any::<u8>(), 0..20), path in prop::collection::vec(1u8.., 0..30)) {
            if let Ok(pattern) = TarPattern::new(&pattern) {
                pattern.matches(&path);
            }
        }
    }
}
