//! Files of `[section]`s and `key = value`, as Python's configparser reads jobs and the logins of databases, and oslo.config reads
//! configurations.
//!
//! They differ: a job is interpolated (`%(key)s`, `%%`), has a section `DEFAULT` that every section inherits, and its keys are
//! lower-cased; oslo takes quotes off values. Both join lines that are indented to the one before.

use icecore::error::{Error, Result};
use std::path::Path;

/// The largest file.
const FILE_BYTES: u64 = 1 << 20;

/// How deep values may refer to each other.
const INTERPOLATION_DEPTH: usize = 10;

/// A key, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its section.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The line it begins on.
    pub line: usize,
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is too long, or is no text.
pub fn read(path: &Path) -> Result<String> {
    use std::io::Read;
    let shown = || path.display().to_string();
    let failed = |e| Error::io("cannot read", shown(), e);
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Error::new(icecore::Kind::Limit, "too long for a file of options:").on(shown()));
    }
    String::from_utf8(bytes).map_err(|e| Error::invalid("not text:", shown()).because(e))
}

/// Takes a text apart; `shown` is what it is called.
///
/// # Errors
/// `Invalid` for a line that is none of these.
pub fn parse(text: &str, shown: &str) -> Result<Vec<Entry>> {
    parse_from(None, text, shown)
}

/// The same, of a text whose first lines may stand below no section: then they are in `section`.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(section: Option<&str>, text: &str, shown: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = section.map(str::to_owned);
    // Whether an indented line belongs to the entry above.
    let mut is_open = false;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let wrong = |what: &str| Error::invalid(format!("{what}:"), format!("{shown}, line {}", number + 1));
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t']) && is_open {
            if let Some(entry) = entries.last_mut() {
                entry.value.push('\n');
                entry.value.push_str(bare);
            }
            continue;
        }
        if let Some(rest) = bare.strip_prefix('[') {
            let (name, _) = rest.split_once(']').ok_or_else(|| wrong("a section without ]"))?;
            section = Some(name.to_owned());
            is_open = false;
            continue;
        }
        let Some(section) = &section else { return Err(wrong("a line before the first [section]")) };
        let at = bare.find(['=', ':']).ok_or_else(|| wrong("no section and no key = value"))?;
        let (key, value) = (bare[..at].trim(), bare[at + 1..].trim());
        if key.is_empty() {
            return Err(wrong("a value without a key"));
        }
        entries.push(Entry {
            section: section.clone(),
            key: key.to_owned(),
            value: value.to_owned(),
            line: number + 1,
        });
        is_open = true;
    }
    Ok(entries)
}

/// A value as oslo takes it: a pair of quotes around it is no part of it.
pub fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// A value as configparser takes it, with `%(key)s` replaced by what `lookup` has, and `%%` by `%`. Another `%` stays.
///
/// # Errors
/// `Invalid` for a key that is not there, and for values that refer to each other without end.
pub fn interpolated(value: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    fn at_depth(value: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String> {
        if depth > INTERPOLATION_DEPTH {
            return Err(Error::invalid("values refer to each other without end:", value));
        }
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                out.push('%');
                rest = behind;
            } else if let Some((key, behind)) = rest.strip_prefix('(').and_then(|open| open.split_once(")s"))
            {
                let key = key.to_lowercase();
                let found = lookup(&key).ok_or_else(|| {
                    Error::invalid("refers to a key that is not there:", format!("%({key})s"))
                })?;
                out.push_str(&at_depth(&found, lookup, depth + 1)?);
                rest = behind;
            } else {
                out.push('%');
            }
        }
        out.push_str(rest);
        Ok(out)
    }
    at_depth(value, lookup, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(text: &str) -> Vec<(String, String, String)> {
        let found = parse(text, "f").unwrap();
        found.into_iter().map(|entry| (entry.section, entry.key, entry.value)).collect()
    }

    #[test]
    fn sections_keys_comments_and_further_lines() {
        let text = "# c\n[a]\nx = 1\ny: two words # no comment\n; c\n[storage:one]\nz =\n  more\n\n  and more\nw=a=b:c\n";
        let expected = [
            ("a", "x", "1"),
            ("a", "y", "two words # no comment"),
            ("storage:one", "z", "\nmore\nand more"),
            ("storage:one", "w", "a=b:c"),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(entries(text), expected);
    }

    #[test]
    fn a_line_that_is_nothing_is_named_by_its_number() {
        for (text, line) in
            [("x = 1", "line 1"), ("[a]\n\nnothing", "line 3"), ("[a\n", "line 1"), ("[a]\n= 1", "line 2")]
        {
            let error = parse(text, "job").unwrap_err();
            assert!(error.to_string().contains(&format!("job, {line}")), "{error}");
        }
    }

    #[test]
    fn percents_are_what_configparser_makes_of_them() {
        let lookup = |key: &str| match key {
            "a" => Some("1%%".to_owned()),
            "b" => Some("<%(a)s>".to_owned()),
            "c" => Some("%(c)s".to_owned()),
            _ => None,
        };
        for (value, expected) in
            [("x", "x"), ("%%", "%"), ("%(A)s%(b)s", "1%<1%>"), ("80%FREE", "80%FREE"), ("%", "%")]
        {
            assert_eq!(interpolated(value, &lookup).unwrap(), expected, "{value}");
        }
        assert!(interpolated("%(none)s", &lookup).is_err() && interpolated("%(c)s", &lookup).is_err());
    }

    #[test]
    fn one_pair_of_quotes_is_taken_off() {
        for (value, expected) in
            [("\"a b\"", "a b"), ("'a'", "a"), ("\"a'", "\"a'"), ("a", "a"), ("\"", "\""), ("", "")]
        {
            assert_eq!(unquoted(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(entries) = parse(&text, "f") {
                for entry in entries {
                    interpolated(&entry.value, &|_| Some(String::new())).unwrap();
                }
            }
        }
    }
}
