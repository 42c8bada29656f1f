//! The way to a server: host after host, from an address, the user's ssh configuration and the rules of `ssh`.

use super::auth::Worked;
use super::config::{Config, Settings, Strictness};
use super::known_hosts::{HostLabel, KnownHosts};
use super::patterns;
use crate::access::{Access, Secret};
use crate::address::Address;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{KNOWN_HOSTS_BYTES, SSH_CONFIG_BYTES, SSH_JUMPS};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The known hosts of the machine.
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
/// The keys `ssh` looks for.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
const DEFAULT_PORT: u16 = 22;

/// One host on the way, the last of which is the server.
pub(super) struct Hop {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// What it is called where keys are known.
    pub label: HostLabel,
    pub known: Arc<Mutex<KnownHosts>>,
    /// The file a new key goes to; `None` when it is refused.
    pub accept: Option<PathBuf>,
    pub keys: Keys,
    /// For a login by password.
    pub password: Option<Secret>,
    /// How long a connection may take.
    pub connect: Duration,
    /// What the server took the last time.
    pub worked: Mutex<Option<Worked>>,
}

/// The keys to show.
pub(super) struct Keys {
    pub files: Vec<PathBuf>,
    /// Whether the user named them: what is missing is told then.
    pub are_named: bool,
    /// Whether to show no others.
    pub only: bool,
    /// The socket of the agent.
    pub agent: Option<PathBuf>,
}

/// What an address and its options say.
struct Wanted<'a> {
    access: &'a Access,
    config: Config,
    known_hosts: Option<&'a str>,
    identity: Option<&'a str>,
    is_new_accepted: bool,
}

/// A host as somebody writes it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// The way to an address.
///
/// # Errors
/// When address or configuration make no sense, or want what is not supported.
pub(super) fn to(address: &Address, access: &Access) -> Result<Vec<Hop>> {
    let [host_key, known_hosts, identity, config] =
        address.options(["host-key", "known-hosts", "identity", "config"])?;
    let is_new_accepted = match host_key {
        None => false,
        Some("accept-new") => true,
        Some(other) => return Err(Error::invalid("host-key can only be accept-new, not", other)),
    };
    let config = configuration(config, access)?;
    let wanted = Wanted { access, config, known_hosts, identity, is_new_accepted };
    let host = address.host()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named =
        Named { user: address.user().map(str::to_owned), host: host.to_owned(), port: address.port() };
    let mut route = wanted.route(&named, 0)?;
    if let Some(server) = route.last_mut() {
        server.password = address.password().cloned();
    }
    Ok(route)
}

impl Wanted<'_> {
    fn route(&self, named: &Named, depth: usize) -> Result<Vec<Hop>> {
        let settings = self.config.settings(&named.host)?;
        let mut route = Vec::new();
        if let Some(jump) = &settings.jump {
            for (number, next) in jump.split(',').enumerate() {
                let next = jump_host(next)?;
                if depth + number >= SSH_JUMPS {
                    return Err(
                        Error::new(Kind::Limit, "too many hosts to jump over on the way to").on(&named.host)
                    );
                }
                match number {
                    // The way to the first of them may lead over others.
                    0 => route.extend(self.route(&next, depth + 1)?),
                    _ => route.push(self.hop(&next, &self.config.settings(&next.host)?)?),
                }
            }
        }
        route.push(self.hop(named, &settings)?);
        Ok(route)
    }

    fn hop(&self, named: &Named, settings: &Settings) -> Result<Hop> {
        let access = self.access;
        let user = named.user.clone().or_else(|| settings.user.clone()).or_else(|| access.user.clone());
        let user = user.ok_or_else(|| {
            Error::invalid("no user to log in as:", &named.host).hint("write sftp://USER@HOST/…")
        })?;
        let port = named.port.or(settings.port).unwrap_or(DEFAULT_PORT);
        let mut tokens = Tokens { access, host: named.host.clone(), user: &user, port };
        let host = match &settings.host_name {
            Some(name) => tokens.expand(name)?,
            None => named.host.clone(),
        };
        tokens.host.clone_from(&host);
        let label = match &settings.host_key_alias {
            Some(alias) => HostLabel::alias(&tokens.expand(alias)?),
            None => HostLabel::new(&host, port),
        };
        let (known, first_file) = self.known(settings, &tokens)?;
        let accept = self.is_new_accepted || settings.strictness == Some(Strictness::AcceptNew);
        if settings.strictness == Some(Strictness::Off) {
            (access.warn)(&format!(
                "StrictHostKeyChecking no is not obeyed: the key of {host} has to be known"
            ));
        }
        let connect = settings.connect_timeout.filter(|seconds| *seconds > 0);
        Ok(Hop {
            accept: first_file.filter(|_| accept),
            keys: self.keys(settings, &tokens)?,
            host,
            port,
            user: user.clone(),
            label,
            known: Arc::new(Mutex::new(known)),
            password: None,
            connect: connect.map_or(access.timeouts.connect, |seconds| Duration::from_secs(seconds.into())),
            worked: Mutex::new(None),
        })
    }

    /// What is known of hosts, and the file that new ones go to.
    fn known(&self, settings: &Settings, tokens: &Tokens<'_>) -> Result<(KnownHosts, Option<PathBuf>)> {
        let own: Vec<PathBuf> = match (self.known_hosts, &settings.known_hosts) {
            (Some(file), _) => vec![tokens.path(file)?],
            (None, Some(files)) => files.iter().map(|file| tokens.path(file)).collect::<Result<_>>()?,
            (None, None) => match &self.access.home {
                Some(home) => {
                    ["known_hosts", "known_hosts2"].map(|name| home.join(".ssh").join(name)).to_vec()
                }
                None => Vec::new(),
            },
        };
        let mut known = KnownHosts::default();
        for file in own.iter().map(PathBuf::as_path).chain([Path::new(SYSTEM_KNOWN_HOSTS)]) {
            if let Some(text) = read_bounded(file, KNOWN_HOSTS_BYTES)? {
                known.add(&text, &file.display().to_string())?;
            }
        }
        Ok((known, own.into_iter().next()))
    }

    fn keys(&self, settings: &Settings, tokens: &Tokens<'_>) -> Result<Keys> {
        let only = settings.identities_only.unwrap_or(false) || self.identity.is_some();
        let named = match self.identity {
            Some(file) => vec![file.to_owned()],
            None => settings.identity_files.clone(),
        };
        let agent = match settings.identity_agent.as_deref() {
            Some("none") => None,
            Some("SSH_AUTH_SOCK") | None => (self.access.variable)("SSH_AUTH_SOCK").map(PathBuf::from),
            Some(socket) => Some(tokens.path(socket)?),
        };
        let agent = agent.filter(|socket| !socket.as_os_str().is_empty());
        let are_named = !named.is_empty();
        let files = match (&self.access.home, are_named) {
            (_, true) => named.iter().map(|file| tokens.path(file)).collect::<Result<_>>()?,
            (Some(home), false) => DEFAULT_KEYS.iter().map(|name| home.join(".ssh").join(name)).collect(),
            (None, false) => Vec::new(),
        };
        Ok(Keys { files, are_named, only, agent })
    }
}

/// The user's configuration, or the one that an address names.
fn configuration(named: Option<&str>, access: &Access) -> Result<Config> {
    let folder = access.home.as_ref().map(|home| home.join(".ssh"));
    let file = match (named, &folder) {
        (Some("none"), _) | (None, None) => return Ok(Config::default()),
        (Some(file), _) => PathBuf::from(file),
        (None, Some(folder)) => folder.join("config"),
    };
    let while_reading = |error: Error| error.while_doing("cannot use", file.display().to_string());
    let text = match read_bounded(&file, SSH_CONFIG_BYTES)? {
        Some(text) => text,
        None if named.is_some() => {
            return Err(Error::invalid("there is no such file:", file.display().to_string()));
        }
        None => return Ok(Config::default()),
    };
    Config::parse(&text, &mut |pattern| included(pattern, access, folder.as_deref())).map_err(while_reading)
}

/// The texts of the files that `Include` names: from the folder of the configuration, with `*` and `?` in the last part.
fn included(pattern: &str, access: &Access, folder: Option<&Path>) -> Result<Vec<String>> {
    let path = match (pattern.strip_prefix("~/"), &access.home, folder) {
        (Some(rest), Some(home), _) => home.join(rest),
        (None, _, Some(folder)) => folder.join(pattern),
        _ => PathBuf::from(pattern),
    };
    let is_pattern = |text: &str| text.contains(['*', '?', '[']);
    let (Some(parent), Some(last)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::invalid("not a file to include:", pattern));
    };
    if last.contains('[') || is_pattern(&parent.to_string_lossy()) {
        return Err(Error::new(Kind::Unsupported, "too rich a pattern to include files by:").on(pattern));
    }
    let mut files = Vec::new();
    match (is_pattern(last), std::fs::read_dir(parent)) {
        (false, _) => files.push(path.clone()),
        (true, Err(error)) if error.kind() == ErrorKind::NotFound => {}
        (true, Err(error)) => return Err(Error::io("cannot read", parent.display().to_string(), error)),
        (true, Ok(entries)) => {
            for entry in entries {
                let entry =
                    entry.map_err(|error| Error::io("cannot read", parent.display().to_string(), error))?;
                let is_meant = entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| patterns::matches(name, last) && !name.starts_with('.'));
                if is_meant {
                    files.push(entry.path());
                }
            }
            files.sort();
        }
    }
    // As in `ssh`, what is missing is left out.
    files.iter().filter_map(|file| read_bounded(file, SSH_CONFIG_BYTES).transpose()).collect()
}

/// A text file; `None` when it is missing.
pub(super) fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Option<String>> {
    let failed = |error| Error::io("cannot read", path.display().to_string(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::new(Kind::Limit, "too large:").on(path.display().to_string()));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What stands for something else in the values of a configuration.
struct Tokens<'a> {
    access: &'a Access,
    host: String,
    user: &'a str,
    port: u16,
}

impl Tokens<'_> {
    fn expand(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                out.push(letter);
                continue;
            }
            let home = self.access.home.as_ref().and_then(|home| home.to_str());
            let value = match letters.next() {
                Some('%') => Some("%".to_owned()),
                Some('h') => Some(self.host.clone()),
                Some('r') => Some(self.user.to_owned()),
                Some('p') => Some(self.port.to_string()),
                Some('u') => self.access.user.clone(),
                Some('d') => home.map(str::to_owned),
                _ => None,
            };
            out.push_str(
                &value
                    .ok_or_else(|| Error::new(Kind::Unsupported, "cannot tell what is meant by").on(text))?,
            );
        }
        Ok(out)
    }

    fn path(&self, text: &str) -> Result<PathBuf> {
        let text = self.expand(text)?;
        match (text.strip_prefix("~/"), &self.access.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err(Error::invalid("nobody knows the home folder of", text)),
            (None, _) => Ok(PathBuf::from(text)),
        }
    }
}

/// `[user@]host[:port]`, with or without `ssh://`.
fn jump_host(text: &str) -> Result<Named> {
    let wrong = || Error::invalid("not a host to jump over:", text);
    let text = text.trim();
    let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    };
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, behind)) => (host, behind.strip_prefix(':')),
        None => match rest.split_once(':') {
            // More than one colon is an address of the sixth kind.
            Some((_, behind)) if behind.contains(':') => (rest, None),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || user.as_deref() == Some("") {
        return Err(wrong());
    }
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    Ok(Named { user, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests;
