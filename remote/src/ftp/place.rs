//! What an address, the surroundings and the files they name say of a server: where it is, who to be there, how to connect.

use super::tls::{Files, Trust};
use crate::access::{Access, Secret, Timeouts};
use crate::address::Address;
use crate::netrc;
use icecore::error::{Error, Result};
use icecore::name::ObjectName;
use std::sync::Arc;

const PORT: u16 = 21;
const PORT_IMPLICIT: u16 = 990;
const ANONYMOUS: &str = "anonymous";

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not at all.
    Off,
    /// From `AUTH TLS` on.
    Explicit,
    /// From the first byte on.
    Implicit,
}

/// Who connects for data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// We do.
    Passive,
    /// The server does.
    Active,
}

/// Who to be.
#[derive(Clone)]
pub(super) struct Account {
    pub user: String,
    pub password: Option<Secret>,
}

impl Account {
    /// Whether its password is one.
    pub fn is_secret(&self) -> bool {
        self.user != ANONYMOUS && self.password.is_some()
    }
}

/// The folder on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    /// From the root that the login sees; no slash at the end.
    Absolute(String),
    /// From the folder the login begins in.
    BelowHome(String),
}

/// All of it.
pub(super) struct Place {
    pub host: String,
    pub port: u16,
    pub protection: Protection,
    pub mode: Mode,
    pub trust: Option<Trust>,
    pub account: Account,
    pub folder: Folder,
    pub timeouts: Timeouts,
    pub connections: usize,
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Place {
    /// # Errors
    /// `Invalid` for options that are none, and those of files that are named.
    pub fn new(address: &Address, access: &Access) -> Result<Place> {
        let [tls, ca, cert, key, mode] = address.options(["tls", "ca", "cert", "key", "mode"])?;
        let host = address.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let protection = protection(address, tls)?;
        let mode = match mode {
            None | Some("passive") => Mode::Passive,
            Some("active") => Mode::Active,
            Some(other) => return Err(Error::invalid("mode is passive or active, not", other)),
        };
        let files = Files { authorities: ca, certificate: cert, key };
        let trust = match (protection, ca.or(cert).or(key)) {
            (Protection::Off, None) => None,
            (Protection::Off, Some(file)) => {
                return Err(
                    Error::invalid("without encryption there is no use of", file).hint("ftps:// encrypts")
                );
            }
            _ => Some(Trust::new(&host, files)?),
        };
        let default = if protection == Protection::Implicit { PORT_IMPLICIT } else { PORT };
        Ok(Place {
            account: account(address, access, &host)?,
            host,
            port: address.port().unwrap_or(default),
            protection,
            mode,
            trust,
            folder: folder(address)?,
            timeouts: access.timeouts,
            connections: access.connections.max(1),
            warn: Arc::clone(&access.warn),
        })
    }
}

fn protection(address: &Address, tls: Option<&str>) -> Result<Protection> {
    let plain = address.scheme() == "ftp";
    match tls {
        None if plain => Ok(Protection::Off),
        None if address.port() == Some(PORT_IMPLICIT) => Ok(Protection::Implicit),
        None | Some("explicit") => Ok(Protection::Explicit),
        Some("implicit") => Ok(Protection::Implicit),
        Some("off") if plain => Ok(Protection::Off),
        Some(other) => {
            Err(Error::invalid("tls is explicit or implicit, not", other).hint("ftp:// does not encrypt"))
        }
    }
}

/// Who to be: by the address, then by `~/.netrc`, then with the password that is given for all, which nobody gets who does not
/// ask for one.
fn account(address: &Address, access: &Access, host: &str) -> Result<Account> {
    let mut user = address.user().map(str::to_owned);
    let mut password = address.password().cloned();
    if (user.is_none() || password.is_none())
        && let Some(login) = netrc::find(access, host, user.as_deref())?
    {
        user = user.or(login.user);
        password = password.or(Some(login.password));
    }
    let user = user.unwrap_or_else(|| ANONYMOUS.to_owned());
    if password.is_none() {
        password = match user == ANONYMOUS {
            // By custom something like an address.
            true => Some(Secret::new("icecore@")),
            false => (access.password)()?,
        };
    }
    let spoils = |text: &str| text.contains(['\r', '\n', '\0']);
    if spoils(&user) || password.as_ref().is_some_and(|password| spoils(password.expose())) {
        return Err(Error::invalid("line ends cannot be said in FTP:", "user or password"));
    }
    Ok(Account { user, password })
}

fn folder(address: &Address) -> Result<Folder> {
    let path = address.prefix();
    if !path.is_empty() {
        // The same rules as for the objects below.
        ObjectName::new(path)?;
    }
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(Folder::BelowHome(rest.to_owned())),
        _ if path.is_empty() => Ok(Folder::Absolute(String::new())),
        _ => Ok(Folder::Absolute(format!("/{path}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::Kind;
    use icecore::storage::retry::Patience;

    fn access(home: Option<&std::path::Path>, password: Option<&str>) -> Access {
        let password = password.map(Secret::new);
        Access {
            variable: Arc::new(|_| None),
            home: home.map(Into::into),
            user: Some("me".to_owned()),
            password: Arc::new(move || Ok(password.clone())),
            timeouts: Timeouts::default(),
            connections: 4,
            patience: Patience::none(),
            warn: Arc::new(|_| ()),
        }
    }

    fn place(address: &str) -> Result<Place> {
        Place::new(&Address::parse(address)?, &access(None, None))
    }

    fn kind(address: &str) -> Option<Kind> {
        place(address).err().map(|e| e.kind())
    }

    #[test]
    fn the_scheme_and_the_port_say_how_to_encrypt() {
        let of = |address: &str| place(address).map(|place| (place.protection, place.port)).unwrap();
        assert_eq!(of("ftp://h/x"), (Protection::Off, 21));
        assert_eq!(of("ftp://h/x?tls=off"), (Protection::Off, 21));
        assert_eq!(of("ftp://h/x?tls=explicit"), (Protection::Explicit, 21));
        assert_eq!(of("ftps://h/x"), (Protection::Explicit, 21));
        assert_eq!(of("ftpes://h:2121/x"), (Protection::Explicit, 2121));
        assert_eq!(of("ftps://h:990/x"), (Protection::Implicit, 990));
        assert_eq!(of("ftps://h/x?tls=implicit"), (Protection::Implicit, 990));
        assert_eq!(of("ftps://[::1]/x"), (Protection::Explicit, 21));
        for bad in
            ["ftps://h/x?tls=off", "ftp://h/?tls=maybe", "ftp://h/?mode=odd", "ftp://h/?ca=x", "ftp://h/?x=1"]
        {
            assert_eq!(kind(bad), Some(Kind::Invalid), "{bad}");
        }
        assert_eq!(kind("ftps://h/x?ca=/does/not/exist"), Some(Kind::Invalid));
        assert_eq!(kind("ftps://h/x?key=/does/not/exist"), Some(Kind::Invalid));
    }

    #[test]
    fn a_path_is_absolute_or_below_the_home() {
        let of = |address: &str| place(address).unwrap().folder;
        assert_eq!(of("ftp://h"), Folder::Absolute(String::new()));
        assert_eq!(of("ftps://h"), Folder::Absolute(String::new()));
        assert_eq!(of("ftp://h/a/b%20c/"), Folder::Absolute("/a/b c".to_owned()));
        assert_eq!(of("ftp://h/~"), Folder::BelowHome(String::new()));
        assert_eq!(of("ftp://h/~/a"), Folder::BelowHome("/a".to_owned()));
        assert_eq!(of("ftp://h/~a"), Folder::Absolute("/~a".to_owned()));
        assert_eq!(kind("ftp://h/a%00b"), Some(Kind::Invalid));
    }

    #[test]
    fn who_to_be_is_said_in_three_places() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".netrc"), "machine h login anna password netrc").unwrap();
        let of = |address: &str, password: Option<&str>| {
            let address = Address::parse(address).unwrap();
            let account = Place::new(&address, &access(Some(home.path()), password)).unwrap().account;
            (account.user, account.password.map(|password| password.expose().to_owned()))
        };
        let some = |user: &str, password: &str| (user.to_owned(), Some(password.to_owned()));
        assert_eq!(of("ftp://anna:typed@h/", Some("given")), some("anna", "typed"));
        assert_eq!(of("ftp://anna@h/", Some("given")), some("anna", "netrc"));
        assert_eq!(of("ftp://h/", Some("given")), some("anna", "netrc"));
        assert_eq!(of("ftp://bert@h/", Some("given")), some("bert", "given"));
        assert_eq!(of("ftp://other/", Some("given")), some("anonymous", "icecore@"));
        assert_eq!(of("ftp://anonymous@other/", Some("given")), some("anonymous", "icecore@"));
        assert_eq!(of("ftp://anna@h/", None), some("anna", "netrc"));
        assert_eq!(of("ftp://h/", None), some("anna", "netrc"));
        assert_eq!(of("ftp://bert@h/", None), ("bert".to_owned(), None));
        assert_eq!(of("ftp://other/", None), some("anonymous", "icecore@"));
    }
}
