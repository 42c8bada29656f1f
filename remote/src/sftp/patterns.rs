//! Patterns of host names, as OpenSSH writes them: `*` for anything, `?` for one character, `!` before what is meant to be left out.

/// Whether a text is what a pattern describes.
pub fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on when it does not fit: behind the last `*`, which then stands for one character more.
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                back = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match &mut back {
                Some((start, star)) => {
                    *start += 1;
                    at = *start;
                    in_pattern = *star + 1;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|rest| *rest == '*')
}

/// Whether one of the patterns matches, and none of those that leave out.
pub fn any_matches<'a>(text: &str, patterns: impl IntoIterator<Item = &'a str>) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(left_out) if matches(text, left_out) => return false,
            Some(_) => {}
            None => found |= matches(text, pattern),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_and_exceptions() {
        for (text, pattern) in
            [("", "*"), ("a", "?"), ("abc", "a*c"), ("abcabc", "*abc"), ("a.b", "a.b"), ("aab", "*ab*")]
        {
            assert!(matches(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("", "?"), ("ab", "a"), ("abc", "*b"), ("a", ""), ("abcab", "a*c")] {
            assert!(!matches(text, pattern), "{text} {pattern}");
        }
        assert!(any_matches("a.example", ["*.example", "!b.example"]));
        assert!(!any_matches("b.example", ["*.example", "!b.example"]));
        assert!(!any_matches("b", ["!a"]));
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_what_has_stars_in_it(text in "[a-c.]{0,12}", cut in 0usize..12) {
            let cut = cut.min(text.len());
            prop_assert!(matches(&text, &text));
            let pattern = format!("{}*", &text[..cut]);
            prop_assert!(matches(&text, &pattern));
            let pattern = format!("*{}", &text[cut..]);
            prop_assert!(matches(&text, &pattern));
        }
    }
}
