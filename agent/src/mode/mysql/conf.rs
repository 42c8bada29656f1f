//! The file that says how a database server is reached: `host`, `port`, `user`, `password` and `socket`, below `[default]` as Freezer reads
//! it, or below nothing, as Freezer's documentation has it. Invariant: the password is in no error and no debug output.

use crate::ini;
use icecore::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The section that counts.
const SECTION: &str = "default";
/// What may stand there.
const KEYS: [&str; 5] = ["host", "port", "user", "password", "socket"];

const HOST: &str = "127.0.0.1";
const PORT: u16 = 3306;

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The socket of a server of this machine, instead.
    pub socket: Option<String>,
    /// The user there.
    pub user: String,
    /// The password of that user.
    pub password: String,
}

impl Login {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read; `Invalid` for what means nothing, and without a user.
    pub fn read(path: &Path) -> Result<Login> {
        Login::of(&ini::read(path)?, &path.display().to_string())
    }

    fn of(text: &str, shown: &str) -> Result<Login> {
        let entries = ini::parse_from(Some(SECTION), text, shown)?;
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.section == SECTION) {
            let key = entry.key.to_lowercase();
            if !KEYS.contains(&key.as_str()) {
                let place = format!("{key} ({shown}, line {})", entry.line);
                return Err(Error::invalid("means nothing for the login of a database server:", place)
                    .hint(format!("{} do", KEYS.join(", "))));
            }
            values.insert(key, entry.value);
        }
        let text = |key: &str| -> Result<Option<String>> {
            let Some(value) = values.get(key) else { return Ok(None) };
            // The error of the file has the value in it, which may be the password.
            let value = ini::interpolated(value, &|key| values.get(key).cloned()).map_err(|_| {
                let place = format!("{key} in {shown}");
                Error::invalid("refers to what is not there (%( is written %%():", place)
            })?;
            Ok(Some(value).filter(|value| !value.is_empty()))
        };
        let port = text("port")?
            .map(|port| port.parse().map_err(|_| Error::invalid("not a port:", format!("port in {shown}"))));
        Ok(Login {
            host: text("host")?.unwrap_or_else(|| HOST.to_owned()),
            port: port.transpose()?.unwrap_or(PORT),
            socket: text("socket")?,
            user: text("user")?.ok_or_else(|| Error::invalid("names no user:", shown))?,
            password: text("password")?.unwrap_or_default(),
        })
    }

    /// What it is called in messages.
    pub fn shown(&self) -> String {
        match &self.socket {
            Some(socket) => socket.clone(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login of {} on {}", self.user, self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_or_without_a_section_it_says_the_same() {
        let lines =
            "host     = db.example.org\nuser     = openstack\npassword = a%b#c ; d\nport     = 3307\n";
        let expected = Login {
            host: "db.example.org".to_owned(),
            port: 3307,
            socket: None,
            user: "openstack".to_owned(),
            password: "a%b#c ; d".to_owned(),
        };
        for head in ["", "[default]\n", "# c\n\n[other]\nx = 1\n[default]\n"] {
            assert_eq!(Login::of(&format!("{head}{lines}"), "f").unwrap(), expected, "{head}");
        }
        let short = Login::of("user = u\nsocket = /run/s\n", "f").unwrap();
        let found = (short.shown(), short.port, short.host.as_str());
        assert_eq!(found, ("/run/s".to_owned(), 3306, "127.0.0.1"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (text, named) in [
            ("pasword = topsecret\nuser = u\n", "line 1"),
            ("password = topsecret\n", "user"),
            ("user = u\nport = topsecret\n", "port"),
            ("user = u\npassword = topsecret%(nowhere)s\n", "password in f"),
        ] {
            let error = Login::of(text, "f").unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
            assert!(!format!("{error:?} {:?}", error.advice()).contains("topsecret"), "{error:?}");
        }
        let login = Login::of("user = u\npassword = topsecret\n", "f").unwrap();
        assert!(!format!("{login:?}").contains("topsecret"));
    }
}
