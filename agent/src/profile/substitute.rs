//! Variables of the environment in the values of a file: `${NAME}` and `${NAME:-default}`; `$$` is a dollar.
//!
//! Invariant: nothing is taken for empty by accident. A variable that is missing or empty, and has no default, is an error (a path
//! such as `${DATA}/` must not come to mean `/`), and so is a dollar that means nothing. What a variable holds is not looked at again.

use std::ffi::OsString;

/// The text with the values of variables in it.
///
/// # Errors
/// What is wrong, in words that name the variable.
pub fn substituted(text: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result += &rest[..at];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let inner = after.strip_prefix('{').ok_or("a dollar is written $$, and a variable ${NAME}")?;
        let end = inner.find('}').ok_or("a variable is written ${NAME}, and the } is missing")?;
        result += &value(&inner[..end], variable)?;
        rest = &inner[end + 1..];
    }
    Ok(result + rest)
}

/// What stands for `NAME` or `NAME:-default`.
fn value(inner: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<String, String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return Err(format!("not the name of a variable: {name:?}"));
    }
    if default.is_some_and(|default| default.contains('$')) {
        return Err(format!("the default of {name} holds a dollar, which it cannot"));
    }
    match (variable(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => value.into_string().map_err(|_| format!("the variable {name} is not UTF-8")),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the variable {name} is not set, or is empty")),
    }
}

/// Whether a variable stands in it.
pub fn has_variable(text: &str) -> bool {
    text.replace("$$", "").contains("${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variable(name: &str) -> Option<OsString> {
        match name {
            "A" => Some("a".into()),
            "DOLLAR" => Some("${A}".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_dollars_are_told_apart() {
        for (text, expected) in [
            ("", ""),
            ("plain } { :-", "plain } { :-"),
            ("${A}", "a"),
            ("x${A}y${A}", "xaya"),
            ("${A:-b}", "a"),
            ("${B:-b c}", "b c"),
            ("${EMPTY:-b}", "b"),
            ("${B:-}", ""),
            ("${B:-a:-b}", "a:-b"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$$", "$$"),
            ("${DOLLAR}", "${A}"),
            ("é${A}é", "éaé"),
        ] {
            assert_eq!(substituted(text, &variable).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_means_nothing_is_named() {
        for (text, named) in [
            ("${B}", "B"),
            ("${EMPTY}", "EMPTY"),
            ("$A", "$$"),
            ("$", "$$"),
            ("a$", "$$"),
            ("${A", "}"),
            ("${}", "\"\""),
            ("${1}", "\"1\""),
            ("${a b}", "\"a b\""),
            ("${B:-${A}}", "B"),
        ] {
            let error = substituted(text, &variable).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_text_whose_dollars_are_doubled_is_itself(text in any::<String>()) {
            prop_assert_eq!(substituted(&text.replace('$', "$$"), &variable), Ok(text.clone()));
            prop_assert!(!has_variable(&text.replace('$', "$$")));
        }

        #[test]
        fn no_text_brings_it_down(text in "[${}A:-]{0,12}") {
            if let Ok(result) = substituted(&text, &variable) {
                prop_assert!(text.contains('$') || result == text);
            }
        }
    }
}
