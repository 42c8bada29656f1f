//! What a server says, made fit for an error: without markup and control characters, and not too long.

/// Characters of a server's words in an error.
const WORDS: usize = 300;

/// The text of a page: tags are left out, white space is one space.
pub fn plain(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    let mut text = String::new();
    let mut in_tag = false;
    for letter in page.chars() {
        match letter {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            _ if in_tag => (),
            letter => text.push(letter),
        }
    }
    limited(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text of somebody else's in an error: its beginning, with control characters escaped.
pub fn limited(text: &str) -> String {
    let mut words = String::new();
    for (number, letter) in text.chars().enumerate() {
        if number == WORDS {
            words.push('…');
            break;
        }
        match letter.is_control() {
            true => words.extend(letter.escape_default()),
            false => words.push(letter),
        }
    }
    words
}
