//! Storages on WebDAV servers (RFC 4918): `webdav://[user[:password]@]host[:port]/path` and `webdavs://…`.
//!
//! Objects are stored under a temporary name, looked at, and renamed (`upload`); folders stay where they are (`folders`). Whether
//! of two new objects of one name the first wins, is decided by the server's MOVE that may not overwrite, and is as atomic as that.
//!
//! Invariants: a range is what the server says it is, or an error; a server that sends the whole object instead is not taken for
//! one that sends the range. A listing is complete or fails. No redirect is followed.

mod folders;
pub mod multistatus;
mod place;
mod reading;
mod requests;
mod upload;

use crate::access::{Access, Secret, Timeouts};
use crate::address::Address;
use crate::bridge::within;
use crate::http::{self, Http};
use crate::tree::{Walk, missing, place_gone, require_usable};
use crate::{Driver, Intent, netrc};
use bytes::Bytes;
use folders::Folders;
use icecore::error::{Error, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use multistatus::What;
use place::Place;
use requests::Dav;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// WebDAV.
pub const DRIVER: Driver = Driver {
    schemes: &["webdav", "webdavs"],
    form: "webdavs://[USER@]HOST[:PORT]/PATH",
    about: "a folder on a WebDAV server (webdav:// without TLS)",
    open,
    holdings: None,
};

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let [ca_file, identity] = address.options(["ca", "cert"])?;
    let secure = address.scheme() == "webdavs";
    let host = address.host()?;
    let login = login(address, access, host)?;
    if !secure && login.is_some() && !http::is_this_machine(host) {
        (access.warn)("the password goes over the network for everybody to read; webdavs:// hides it");
    }
    let server = Server {
        scheme: if secure { "https" } else { "http" },
        host,
        port: address.port(),
        path: address.path(),
        login,
        ca_file: ca_file.map(Path::new),
        identity: identity.map(Path::new),
    };
    Ok(Arc::new(WebDav::open(server, access, intent, address.to_string())?))
}

/// Who to be: by the address, then by `~/.netrc`, then with the password that is given for all.
fn login(address: &Address, access: &Access, host: &str) -> Result<Option<(String, Option<Secret>)>> {
    if let (Some(user), Some(password)) = (address.user(), address.password()) {
        return Ok(Some((user.to_owned(), Some(password.clone()))));
    }
    let kept = netrc::find(access, host, address.user())?;
    let user =
        address.user().map(str::to_owned).or_else(|| kept.as_ref().and_then(|login| login.user.clone()));
    let Some(user) = user else { return Ok(None) };
    let password = match kept {
        Some(login) => Some(login.password),
        None => (access.password)()?,
    };
    Ok(Some((user, password)))
}

/// What there is to know of a server.
pub struct Server<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Its name or address.
    pub host: &'a str,
    /// Its port, if it is not the usual one.
    pub port: Option<u16>,
    /// The folder on it.
    pub path: &'a str,
    /// Who to be.
    pub login: Option<(String, Option<Secret>)>,
    /// More authorities that are trusted.
    pub ca_file: Option<&'a Path>,
    /// Certificate and key of the client.
    pub identity: Option<&'a Path>,
}

/// A folder on a server.
pub struct WebDav {
    folders: Folders,
    timeouts: Timeouts,
    connections: usize,
    label: String,
    /// Whether the server was seen to send whole objects where a range was asked for.
    sends_all: AtomicBool,
}

impl WebDav {
    /// Connects, and makes the folder if it may.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder, `Denied`, or as the server has it.
    pub fn open(server: Server<'_>, access: &Access, intent: Intent, label: String) -> Result<WebDav> {
        let timeouts = access.timeouts;
        // A long object has a connection for itself, beside which others are stored and looked at.
        let connections = access.connections.max(2);
        let http = Http::new(timeouts, connections, server.ca_file, server.identity)?;
        let place = Place::new(server.scheme, server.host, server.port, server.path)?;
        let folders = Folders::new(Dav::new(http, place, server.login));
        within(timeouts.whole(0), find(&folders, intent))?;
        Ok(WebDav { folders, timeouts, connections, label, sends_all: AtomicBool::new(false) })
    }

    fn dav(&self) -> &Dav {
        &self.folders.dav
    }

    fn walk(&self) -> Walk<Folders> {
        Walk { folders: self.folders.clone(), timeouts: self.timeouts, connections: self.connections }
    }

    fn what(&self, name: &ObjectName) -> Result<Option<What>> {
        let url = self.dav().place.object(name.as_str());
        within(self.timeouts.whole(0), self.dav().what(&url))
    }
}

/// Shows that the folder of the storage is there, or makes it.
async fn find(folders: &Folders, intent: Intent) -> Result<()> {
    let url = folders.dav.place.folder(None);
    let mut found = folders.dav.what(&url).await?;
    if found.is_none() && intent == Intent::Create {
        folders.make_place().await?;
        found = folders.dav.what(&url).await?;
    }
    match found {
        Some(What::Folder) => Ok(()),
        Some(_) => Err(Error::invalid("not a folder on the server:", url.path())),
        None => Err(place_gone()),
    }
}

impl Storage for WebDav {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        require_usable(name)?;
        self.folders.put(name, Bytes::copy_from_slice(bytes), mode, &self.timeouts)
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        require_usable(name)?;
        self.folders.put(name, crate::bridge::shared(bytes), mode, &self.timeouts)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        require_usable(name)?;
        Ok(Box::new(upload::Upload::begin(&self.folders, name, mode, self.timeouts)?))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        require_usable(name)?;
        within(self.timeouts.whole(length_bytes), self.read_range(name, offset, length_bytes))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        require_usable(name)?;
        match self.what(name)? {
            Some(What::Object { size_bytes }) => Ok(Stat { size_bytes }),
            _ => Err(missing(name)),
        }
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        if let Some(prefix) = prefix {
            require_usable(prefix)?;
        }
        self.walk().list(prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        require_usable(name)?;
        // A folder would go with all that is in it.
        let Some(What::Object { .. }) = self.what(name)? else { return Err(missing(name)) };
        let url = self.dav().place.object(name.as_str());
        within(self.timeouts.whole(0), self.dav().remove(&url))?.ok_or_else(|| missing(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.walk().clean(before)
    }

    fn capabilities(&self) -> Capabilities {
        // Most servers look first and rename then.
        Capabilities { create_new_is_atomic: false, parallel: true }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}
