//! What watches over a connection: the server's key is looked up in what is known before anything else is said.

use super::fault::words;
use super::known_hosts::{HostLabel, KnownHosts, Verdict, refusal};
use icecore::error::{Error, Result};
use russh::client::{DisconnectReason, Handler};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The watch over one connection.
pub(super) struct Guard {
    pub label: HostLabel,
    /// Shared by all connections to this host: a key that one has taken binds the others.
    pub known: Arc<Mutex<KnownHosts>>,
    /// The file a new key goes to; `None` when it is refused.
    pub accept: Option<PathBuf>,
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
    /// What the server said when it ended the connection.
    pub said: Said,
}

/// A server's last words.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Option<String>>>);

impl Said {
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a connection came to nothing.
#[derive(Debug)]
pub(super) enum Refused {
    Ours(Error),
    Ssh(russh::Error),
}

impl From<russh::Error> for Refused {
    fn from(error: russh::Error) -> Refused {
        Refused::Ssh(error)
    }
}

impl Guard {
    fn check(&self, key: &PublicKey) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = known.judge(&self.label, key);
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        match (&verdict, &self.accept) {
            (Verdict::Unknown, Some(file)) => {
                let line = note(file, &self.label, key)?;
                known.add(&line, &file.display().to_string())?;
                let host = self.label.written();
                (self.warn)(&format!(
                    "the key of {host} is taken to be {fingerprint}, as of now; noted in {}",
                    file.display()
                ));
                Ok(())
            }
            _ => refusal(&verdict, &self.label, &fingerprint).map_or(Ok(()), Err),
        }
    }
}

/// Adds a line to a file of known hosts, and gives it.
fn note(file: &Path, label: &HostLabel, key: &PublicKey) -> Result<String> {
    let failed =
        |error: std::io::Error| Error::io("cannot note a host key in", file.display().to_string(), error);
    let mut key = key.clone();
    key.set_comment("");
    let key = key
        .to_openssh()
        .map_err(|error| Error::invalid("not a key that can be noted:", error.to_string()))?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut known =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file).map_err(failed)?;
    // Somebody may have left the last line without an end.
    let mut last = [b'\n'];
    if known.metadata().map_err(failed)?.len() > 0 {
        known.seek(SeekFrom::End(-1)).map_err(failed)?;
        known.read_exact(&mut last).map_err(failed)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    let line = format!("{} {}\n", label.written(), key.trim());
    // In one piece, so that two that do it at once do not mix.
    known.write_all(format!("{before}{line}").as_bytes()).map_err(failed)?;
    Ok(line)
}

impl Handler for Guard {
    type Error = Refused;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refused> {
        self.check(&shown.public_key()).map_err(Refused::Ours)?;
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Refused>) -> Result<(), Refused> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                *self.said.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words(&info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }
}
