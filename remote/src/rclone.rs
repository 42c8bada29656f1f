//! Whatever rclone can reach: `rclone:REMOTE:PATH`, by the user's own rclone, started for this process alone.
//!
//! Why its remote control (`rclone rcd --rc-serve`), and not what it serves over WebDAV or restic's protocol: serving WebDAV, it remembers
//! listings, so that it neither sees what others wrote nor refuses to replace it, and without that memory it lists a folder
//! once for every object in it; and restic's protocol knows only the names that restic's repositories have. The remote
//! control works on the remote itself, answers an upload when the remote has it, and keeps nothing.
//!
//! Rclone listens on a port of loopback that the system chose, and asks for a password that is made for this one run and handed
//! over in the environment. Invariants: an object is uploaded under a temporary name, looked at, and moved; of those who create one
//! name in this process one wins; folders are never removed with what is in them, only while the remote says they are empty.

mod control;
mod process;
mod upload;

use crate::access::{Access, Timeouts};
use crate::address::Address;
use crate::bridge::within;
use crate::tree::{Walk, missing, place_gone, require_usable};
use crate::{Driver, Intent};
use control::Control;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use process::Serving;
use std::sync::Arc;
use upload::{Store, Upload};

/// Rclone.
pub const DRIVER: Driver = Driver {
    schemes: &["rclone"],
    form: "rclone:REMOTE:PATH",
    about: "whatever rclone is configured for",
    open,
    holdings: None,
};

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let place = address.path();
    // A remote's name, or `:backend,options:` in its place.
    if !place.chars().skip(1).any(|letter| letter == ':') {
        return Err(Error::invalid("no remote of rclone is named in", address.to_string())
            .hint("write rclone:REMOTE:PATH; `rclone listremotes` shows the remotes"));
    }
    if place.contains([']', '\n', '\0']) {
        return Err(Error::invalid(
            "rclone does not serve places with ']' or an end of line in them:",
            address.to_string(),
        ));
    }
    let (serving, port, password) = process::start(access)?;
    // A long object has a connection for itself, beside which others are stored and looked at.
    let connections = access.connections.max(2);
    let control = Control::new(place, port, password, access.timeouts, connections)?;
    let found = within(access.timeouts.whole(0), find(&control, intent));
    found.map_err(|error| serving.explain(error))?;
    let store = Store::new(control, access.timeouts);
    Ok(Arc::new(Rclone {
        store,
        timeouts: access.timeouts,
        connections,
        label: address.to_string(),
        serving: Arc::new(serving),
    }))
}

/// Shows that the place is there, or makes it.
async fn find(control: &Control, intent: Intent) -> Result<()> {
    if control.list(None, false).await?.is_some() {
        return Ok(());
    }
    if intent == Intent::Create {
        control.make_place().await?;
        if control.list(None, false).await?.is_some() {
            return Ok(());
        }
    }
    Err(place_gone())
}

struct Rclone {
    store: Store,
    timeouts: Timeouts,
    connections: usize,
    label: String,
    serving: Arc<Serving>,
}

impl Rclone {
    /// Says if rclone has ended meanwhile.
    fn told<T>(&self, done: Result<T>) -> Result<T> {
        done.map_err(|error| self.serving.explain(error))
    }

    fn walk(&self, with_times: bool) -> Walk<control::Tree> {
        let folders = control::Tree { control: self.store.control.clone(), with_times };
        Walk { folders, timeouts: self.timeouts, connections: self.connections }
    }
}

impl Storage for Rclone {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        require_usable(name)?;
        self.told(self.store.put(name, bytes, mode))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        require_usable(name)?;
        let upload = self.told(Upload::begin(&self.store, name, mode, Arc::clone(&self.serving)))?;
        Ok(Box::new(upload))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        require_usable(name)?;
        let read = self.store.control.read(name, offset, length_bytes);
        self.told(within(self.timeouts.whole(length_bytes), read))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        require_usable(name)?;
        let size = within(self.timeouts.whole(0), self.store.control.size(name.as_str()));
        let size_bytes = self.told(size)?.ok_or_else(|| missing(name))?;
        Ok(Stat { size_bytes })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        prefix.map_or(Ok(()), require_usable)?;
        self.walk(false).list(prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        require_usable(name)?;
        let removed = within(self.timeouts.whole(0), self.store.control.remove(name.as_str()));
        match self.told(removed)? {
            true => Ok(()),
            false => Err(missing(name)),
        }
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.told(self.walk(true).clean(before))
    }

    fn capabilities(&self) -> Capabilities {
        // It looks first and moves then.
        Capabilities { create_new_is_atomic: false, parallel: true }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

/// The error of an object in whose way a folder, or in the way of whose folder an object is.
fn in_the_way(what: &str, name: &str) -> Error {
    Error::new(Kind::Invalid, what).on(name)
}
