//! Files of known host keys: `~/.ssh/known_hosts` and its like, and what they say of a key that a server has shown.
//!
//! A line may name hosts openly, with patterns and ports, or by a keyed hash of each. A revoked key is refused whatever else
//! is said of it. A host that is known by a certificate authority alone is not known: certificates are not supported.

use super::patterns::any_matches;
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use icecore::error::{Error, Kind, Result};
use russh::keys::{Algorithm, PublicKey, parse_public_key_base64};

/// The port that is not written.
const DEFAULT_PORT: u16 = 22;

/// What the files say of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// The host is known by other keys; where one of them stands.
    Other(String),
    /// It is revoked; where that stands.
    Revoked(String),
    /// The host is known by an authority alone; where that stands.
    AuthorityOnly(String),
}

/// What is known, of all files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    marker: Option<Marker>,
    hosts: String,
    key: String,
    place: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Revoked,
    Authority,
}

/// What a host is called in these files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLabel {
    bare: String,
    port: u16,
}

impl HostLabel {
    /// Of a host and a port.
    pub fn new(host: &str, port: u16) -> HostLabel {
        HostLabel { bare: host.to_lowercase(), port }
    }

    /// By a name that has no port (`HostKeyAlias`).
    pub fn alias(name: &str) -> HostLabel {
        HostLabel::new(name, DEFAULT_PORT)
    }

    /// As it is written: the port stands there when it is another than 22.
    pub fn written(&self) -> String {
        match self.port {
            DEFAULT_PORT => self.bare.clone(),
            port => format!("[{}]:{port}", self.bare),
        }
    }
}

impl KnownHosts {
    /// Adds what a file says; `place` is its name, for people. Lines that are none are passed over, as everybody does, but for
    /// those that revoke.
    ///
    /// # Errors
    /// `Invalid` for a line that revokes what cannot be read.
    pub fn add(&mut self, text: &str, place: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let (marker, hosts) = match first {
                "@revoked" => (Some(Marker::Revoked), words.next()),
                "@cert-authority" => (Some(Marker::Authority), words.next()),
                _ if first.starts_with('@') => continue,
                _ => (None, Some(first)),
            };
            let place = format!("{place}, line {}", number + 1);
            let (Some(hosts), Some(_), Some(key)) = (hosts, words.next(), words.next()) else {
                if marker == Some(Marker::Revoked) {
                    return Err(Error::invalid("a revoked key that cannot be read, in", place));
                }
                continue;
            };
            if marker == Some(Marker::Revoked) && parse_public_key_base64(key).is_err() {
                return Err(Error::invalid("a revoked key that cannot be read, in", place));
            }
            self.lines.push(Line { marker, hosts: hosts.to_owned(), key: key.to_owned(), place });
        }
        Ok(())
    }

    /// What is said of a key that a host has shown.
    pub fn judge(&self, host: &HostLabel, shown: &PublicKey) -> Verdict {
        let is_shown = |line: &Line| line.public_key().is_some_and(|key| key.key_data() == shown.key_data());
        let about: Vec<&Line> = self.lines.iter().filter(|line| line.is_about(&host.written())).collect();
        if let Some(line) = about.iter().find(|line| line.marker == Some(Marker::Revoked) && is_shown(line)) {
            return Verdict::Revoked(line.place.clone());
        }
        let plain = || about.iter().filter(|line| line.marker.is_none());
        if plain().any(|line| is_shown(line)) {
            return Verdict::Known;
        }
        if let Some(line) = plain().find(|line| line.public_key().is_some()) {
            return Verdict::Other(line.place.clone());
        }
        // A key that was noted without the port is the host's, too; another one there says nothing of this port.
        if host.port != DEFAULT_PORT {
            let bare = HostLabel::alias(&host.bare);
            if let found @ (Verdict::Known | Verdict::Revoked(_)) = self.judge(&bare, shown) {
                return found;
            }
        }
        match about.iter().find(|line| line.marker == Some(Marker::Authority)) {
            Some(line) => Verdict::AuthorityOnly(line.place.clone()),
            None => Verdict::Unknown,
        }
    }

    /// The algorithms of the keys by which a host is known: what to ask it for first.
    pub fn algorithms(&self, host: &HostLabel) -> Vec<Algorithm> {
        let bare = HostLabel::alias(&host.bare).written();
        let written = host.written();
        let about = |name: &str| {
            self.lines.iter().filter(|line| line.marker.is_none() && line.is_about(name)).collect::<Vec<_>>()
        };
        let mut lines = about(&written);
        if lines.is_empty() && bare != written {
            lines = about(&bare);
        }
        lines.iter().filter_map(|line| line.public_key()).map(|key| key.algorithm()).collect()
    }
}

impl Line {
    fn public_key(&self) -> Option<PublicKey> {
        parse_public_key_base64(&self.key).ok()
    }

    fn is_about(&self, host: &str) -> bool {
        match self.hosts.strip_prefix("|1|") {
            Some(hashed) => is_hash_of(hashed, host),
            None => any_matches(host, self.hosts.to_lowercase().split(',')),
        }
    }
}

/// Whether `salt|hash` is what OpenSSH makes of a host's name.
fn is_hash_of(hashed: &str, host: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (BASE64.decode(salt.as_bytes()), BASE64.decode(hash.as_bytes())) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, host.as_bytes(), &hash).is_ok()
}

/// What a user is told of a key that is not the host's as far as anybody knows; `None` when it is.
pub fn refusal(verdict: &Verdict, host: &HostLabel, fingerprint: &str) -> Option<Error> {
    let denied = |what: &str| Error::new(Kind::Denied, what).on(host.written());
    let shown = format!("the server shows {fingerprint}");
    Some(match verdict {
        Verdict::Known => return None,
        Verdict::Unknown => denied("unknown host key of").because(shown).hint(
            "compare it with what the server's owner says; then connect once with ssh, or add ?host-key=accept-new",
        ),
        Verdict::Other(place) => denied("THE HOST KEY HAS CHANGED: somebody may stand between you and")
            .because(format!("{shown}, another one stands in {place}"))
            .hint("only when the server's owner confirms the new key: ssh-keygen -R HOST, then connect once with ssh"),
        Verdict::Revoked(place) => denied("the host key is revoked of").because(format!("{shown}, see {place}")),
        Verdict::AuthorityOnly(place) => denied("only an authority is known, and certificates are not supported, for")
            .because(format!("{shown}, see {place}"))
            .hint("add the host's own key to a file of known hosts"),
    })
}

#[cfg(test)]
mod tests;
