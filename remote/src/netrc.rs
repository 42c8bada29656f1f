//! Passwords from `~/.netrc` (or the file that `NETRC` names), as `ftp` and `curl` read it.
//!
//! Invariants: what is read never reaches an error; words of the file that are not known are passed over.

use crate::access::{Access, Secret};
use icecore::error::{Error, Result};
use icecore::limits::NETRC_BYTES;
use std::io::Read;
use std::path::PathBuf;

/// Who to be on a server.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user, if the file names one.
    pub user: Option<String>,
    /// The password.
    pub password: Secret,
}

/// What the file says of a host: for that user, or for any when none is given.
///
/// # Errors
/// When there is a file that cannot be read, or it is too long.
pub fn find(access: &Access, host: &str, user: Option<&str>) -> Result<Option<Login>> {
    let named = (access.variable)("NETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = named.or_else(|| access.home.as_ref().map(|home| home.join(".netrc"))) else {
        return Ok(None);
    };
    let shown = path.display().to_string();
    let mut text = String::new();
    match std::fs::File::open(&path) {
        Ok(file) => file
            .take(NETRC_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|e| Error::io("cannot read", shown.clone(), e))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("cannot read", shown, e)),
    };
    if text.len() as u64 > NETRC_BYTES {
        return Err(Error::invalid("too large for passwords:", shown));
    }
    Ok(search(&text, host, user))
}

/// One entry of the file.
#[derive(Default)]
struct Entry {
    /// `None` for any host.
    machine: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

/// The first entry of `text` that is for the host and, if one is given, for the user.
pub fn search(text: &str, host: &str, user: Option<&str>) -> Option<Login> {
    let fits = |entry: &Entry| {
        let machine = entry.machine.as_ref().is_none_or(|machine| machine.eq_ignore_ascii_case(host));
        machine && (user.is_none() || entry.user.is_none() || entry.user.as_deref() == user)
    };
    let found = entries(text).into_iter().find(|entry| fits(entry) && entry.password.is_some())?;
    Some(Login { user: found.user, password: Secret::new(found.password?) })
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = text;
    while let Some(word) = next_word(&mut rest) {
        match word.as_str() {
            "machine" => entries
                .push(Entry { machine: Some(next_word(&mut rest).unwrap_or_default()), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            // A macro ends at an empty line.
            "macdef" => rest = rest.split_once("\n\n").map_or("", |(_, behind)| behind),
            "login" | "password" | "account" => {
                let value = next_word(&mut rest);
                match (entries.last_mut(), word.as_str()) {
                    (Some(entry), "login") => entry.user = value,
                    (Some(entry), "password") => entry.password = value,
                    _ => (),
                }
            }
            comment if comment.starts_with('#') => {
                rest = rest.split_once('\n').map_or("", |(_, behind)| behind)
            }
            _ => (),
        }
    }
    entries
}

/// The next word; one in quotes may have spaces, and any character behind a backslash.
fn next_word(rest: &mut &str) -> Option<String> {
    let text = rest.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        *rest = &text[end..];
        return (end > 0).then(|| text[..end].to_owned());
    };
    let mut word = String::new();
    let mut letters = quoted.char_indices();
    *rest = "";
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                *rest = &quoted[at + 1..];
                break;
            }
            '\\' => word.extend(letters.next().map(|(_, letter)| letter)),
            letter => word.push(letter),
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# mine\nmachine one.example login ann password a1\nmachine one.example\n  login bob\n\tpassword \"b \\\"2\"\n\
        macdef init\nmachine not.this login x password y\n\nmachine two.example password #c\ndefault login anonymous password d";

    fn found(host: &str, user: Option<&str>) -> Option<(Option<String>, String)> {
        search(FILE, host, user).map(|login| (login.user, login.password.expose().to_owned()))
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let entry = |user: &str, password: &str| Some((Some(user.to_owned()), password.to_owned()));
        assert_eq!(found("one.example", None), entry("ann", "a1"));
        assert_eq!(found("ONE.example", Some("bob")), entry("bob", "b \"2"));
        assert_eq!(found("two.example", Some("any")), Some((None, "#c".to_owned())));
        assert_eq!(found("not.this", None), entry("anonymous", "d"));
        assert_eq!(found("one.example", Some("carl")), None);
        assert!(search("machine a login b", "a", None).is_none());
    }

    #[test]
    fn a_login_does_not_show_its_password() {
        let shown = format!("{:?}", search(FILE, "one.example", None));
        assert!(!shown.contains("a1"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "(machine|default|login|password|macdef|\"|\\\\|#|[a-z\n ]){0,60}") {
            search(&text, "a", None).map(drop).unwrap_or(());
        }

        #[test]
        fn any_password_can_be_quoted(password in "\\PC{0,20}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            let login = search(&format!("machine h login u password \"{quoted}\" account x"), "h", Some("u")).unwrap();
            prop_assert_eq!(login.password.expose(), password);
        }
    }
}
