//! The file of passwords of ftp(1), `~/.netrc`: words `machine`, `default`, `login`, `password`, `account` and `macdef`.

use crate::access::Secret;

/// Who to be on a machine.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The user.
    pub user: Option<String>,
    /// His password.
    pub password: Option<Secret>,
}

/// What the first entry says for `machine`, for `user` when one is asked for; entries behind `default` do not count.
pub fn find(text: &str, machine: &str, user: Option<&str>) -> Option<Login> {
    let mut words = Words(text);
    let mut entry: Option<Login> = None;
    let fits = |entry: &Login| user.is_none() || entry.user.as_deref() == user;
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if let Some(found) = entry.take().filter(fits) {
                    return Some(found);
                }
                let is_ours =
                    word == "default" || words.next().is_some_and(|name| name.eq_ignore_ascii_case(machine));
                entry = is_ours.then(Login::default);
            }
            "macdef" => words.skip_macro(),
            "login" | "password" | "account" => {
                let value = words.next();
                match (&mut entry, word.as_str()) {
                    (Some(entry), "login") => entry.user = value,
                    (Some(entry), "password") => entry.password = value.map(Secret::new),
                    _ => {}
                }
            }
            // A word that nobody knows: what belongs to it is not known either, and is passed over word by word.
            _ => {}
        }
    }
    entry.filter(fits)
}

/// Words between white space, or in quotes, where `\` takes what follows as it is. `#` at the beginning of a word begins a comment.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        let ends = ["\n\n", "\n\r\n"].map(|end| self.0.find(end).map(|at| at + end.len()));
        let end = ends.into_iter().flatten().min().unwrap_or(self.0.len());
        self.0 = &self.0[end..];
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.starts_with('#') {
                true => self.0 = &self.0[self.0.find('\n').unwrap_or(self.0.len())..],
                false => break,
            }
        }
        let mut letters = self.0.char_indices();
        let (_, first) = letters.next()?;
        let quoted = first == '"';
        let mut word = String::new();
        if !quoted {
            word.push(first);
        }
        let mut end = self.0.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                '\\' if quoted => word.extend(letters.next().map(|(_, letter)| letter)),
                letter if !quoted && letter.is_whitespace() => {
                    end = at;
                    break;
                }
                letter => word.push(letter),
            }
        }
        self.0 = &self.0[end..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# mine\nmachine a.example login anna password \"pass \\\"word\\\"\"\n\
        machine b.example\n\tlogin bert\n\taccount x\n\tpassword b#b\n\
        macdef init\ncd /x\nmachine a.example login nobody\n\n\
        machine b.example login second password 2\ndefault login anonymous password me@home\nmachine late login late";

    fn found(machine: &str, user: Option<&str>) -> Option<(String, String)> {
        let login = find(FILE, machine, user)?;
        Some((login.user?, login.password.map(|secret| secret.expose().to_owned())?))
    }

    #[test]
    fn the_entry_of_a_machine_is_found() {
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found("a.example", None), some("anna", "pass \"word\""));
        assert_eq!(found("A.EXAMPLE", Some("anna")), some("anna", "pass \"word\""));
        assert_eq!(found("b.example", None), some("bert", "b#b"));
        assert_eq!(found("b.example", Some("second")), some("second", "2"));
        assert_eq!(found("c.example", None), some("anonymous", "me@home"));
        assert_eq!(found("a.example", Some("carl")), None);
        assert_eq!(found("late", None), some("anonymous", "me@home"), "default is the end");
        assert!(find("", "x", None).is_none());
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_to_its_end(text in "(machine|login|password|macdef|default|[ \n\"\\\\#a-z])*") {
            find(&text, "a", None);
            prop_assert!(Words(&text).count() <= text.len());
        }

        #[test]
        fn a_quoted_password_comes_back(password in "[^\u{0}]{0,30}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("machine m login l password \"{quoted}\"");
            let login = find(&text, "m", None).unwrap();
            let back = login.password.unwrap();
            prop_assert_eq!(back.expose(), password);
        }
    }
}
