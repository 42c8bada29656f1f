//! A command line as words, without a shell: split at spaces, quotes keep together what belongs together, and nothing else has
//! a meaning.

use icecore::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Splits a line at white space. `'…'` takes everything as it is, `"…"` everything but `\`, and `\` the next character.
///
/// # Errors
/// `Invalid` when a quote is not closed, or nothing follows a `\`.
pub fn split(line: &OsStr) -> Result<Vec<OsString>> {
    let unfinished = |what: &str| Error::invalid("a command ends within", what);
    let mut words: Vec<OsString> = Vec::new();
    // A word that has been begun, if only by an empty pair of quotes.
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = line.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == byte => quote = None,
            (None | Some(b'"'), b'\\') => {
                let next = bytes.next().ok_or_else(|| unfinished("a pair with \\"))?;
                word.get_or_insert_default().push(next);
            }
            (None, byte) if byte.is_ascii_whitespace() => words.extend(word.take().map(OsString::from_vec)),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err(unfinished("quotes"));
    }
    words.extend(word.map(OsString::from_vec));
    Ok(words)
}

/// A line that [`split`] splits into these words.
pub fn joined(words: &[String]) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./=:,@%+".contains(letter);
    let word = |word: &String| match word.chars().all(is_plain) && !word.is_empty() {
        true => word.clone(),
        // Within these only their end has a meaning, which stands between others.
        false => format!("'{}'", word.replace('\'', "'\"'\"'")),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_joined_is_split_into_the_same_words(words in prop::collection::vec(any::<String>(), 0..5)) {
            let found = split(OsStr::new(&joined(&words))).unwrap();
            prop_assert_eq!(found, words.iter().map(OsString::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn words_are_split_at_spaces_outside_of_quotes() {
        for (line, expected) in [
            ("pass show backup", &["pass", "show", "backup"][..]),
            ("  a\t b\n", &["a", "b"]),
            ("a 'b c' \"d 'e\" f\\ g", &["a", "b c", "d 'e", "f g"]),
            (r#"a'b'"c" '' """#, &["abc", "", ""]),
            (r#"'\' "\"" \\"#, &["\\", "\"", "\\"]),
            ("$HOME `x` | ; > ~", &["$HOME", "`x`", "|", ";", ">", "~"]),
            ("", &[]),
        ] {
            assert_eq!(split(OsStr::new(line)).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for line in ["a 'b", "\"", "a\\"] {
            assert!(split(OsStr::new(line)).is_err(), "{line}");
        }
    }
}
