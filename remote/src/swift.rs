//! OpenStack Swift: `swift://CONTAINER[/PREFIX]`. Which account, and how to log in, the environment says, as for OpenStack's own
//! clients.
//!
//! An object stands under its name in the container. A long one is a manifest and segments, as Freezer writes them
//! ([`segments`], [`manifest`]). Swift keeps none of the promises of [`icecore::storage`] about new objects, lengths and
//! listings by itself; [`creation`], [`manifest`] and [`rows`] say how they are kept here.

mod account;
mod clouds;
mod container;
mod containers;
mod creation;
mod keystone;
mod listing;
mod manifest;
mod names;
mod removal;
mod rows;
mod segments;
mod settings;
mod tempauth;

use crate::access::Access;
use crate::address::Address;
use crate::http::failed;
use crate::{Driver, Holding, Intent};
use account::{Account, Call};
use bytes::Bytes;
use container::{Container, run};
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use names::{Place, path};
use reqwest::Method;
use settings::{Asked, Settings};
use std::sync::Arc;

/// Segments are as long as Freezer's.
const SEGMENT_BYTES: usize = 32 << 20;
/// The longest that can be asked for, in MiB.
const SEGMENT_MIB: usize = 1024;
/// Segments of one object in memory: one is filled while the others are sent.
const IN_FLIGHT: usize = 4;

/// Swift.
pub const DRIVER: Driver = Driver {
    schemes: &["swift"],
    form: "swift://CONTAINER[/PREFIX]",
    about: "OpenStack Swift; the account is taken from OS_ variables, clouds.yaml or ST_ variables",
    open,
    holdings: Some(holdings),
};

struct Swift {
    container: Arc<Container>,
    label: String,
}

fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let place = Place::new(address.host()?, address.prefix())?;
    let (settings, segment) = login_of(address, access)?;
    let segment_bytes = segment.map_or(Ok(SEGMENT_BYTES), segment_bytes)?;
    let http = settings.client(access)?;
    let login_is_safe = settings.credentials.place().starts_with("https:");
    let container = run(async {
        let account = Account::login(http, settings).await?;
        warn_if_bare(&account, login_is_safe, access).await;
        reach(&account, &place, intent).await?;
        let info = account.info().await?;
        Ok(Container {
            account,
            place,
            timeouts: access.timeouts,
            patience: access.patience.clone(),
            warn: Arc::clone(&access.warn),
            info,
            segment_bytes,
            in_flight: access.connections.clamp(2, IN_FLIGHT),
            connections: access.connections.max(1),
            gates: std::array::from_fn(|_| Default::default()),
            abandoned: Default::default(),
            served: Default::default(),
            tables: Default::default(),
        })
    })?;
    if container.info.longest().is_some_and(|longest| longest < segment_bytes as u64) {
        let error = Error::new(Kind::Invalid, "segments are longer than the server takes");
        return Err(error.hint("set ?segment-size= in the address, in MiB"));
    }
    Ok(Arc::new(Swift { container: Arc::new(container), label: address.to_string() }))
}

/// Where the account is and how to log in, and how long segments are to be.
fn login_of<'a>(address: &'a Address, access: &Access) -> Result<(Settings, Option<&'a str>)> {
    let [cloud, region, interface, segment] =
        address.options(["cloud", "region", "interface", "segment-size"])?;
    if address.user().is_some() || address.password().is_some() || address.port().is_some() {
        let error = Error::new(Kind::Invalid, "an address of Swift has no user, password or port");
        return Err(error.hint("they are taken from OS_ variables, clouds.yaml or ST_ variables"));
    }
    Ok((Settings::gather(Asked { cloud, region, interface }, access)?, segment))
}

/// Says that what is sent to the account can be read, although the login could not be.
async fn warn_if_bare(account: &Account, login_is_safe: bool, access: &Access) {
    if account.url().await.scheme() == "http" && login_is_safe {
        (access.warn)(
            "the login was encrypted, but the account is not: what is sent there can be read on the way",
        );
    }
}

/// The containers of the account.
fn holdings(address: &Address, access: &Access) -> Result<Vec<Holding>> {
    let (settings, _) = login_of(address, access)?;
    let http = settings.client(access)?;
    let login_is_safe = settings.credentials.place().starts_with("https:");
    run(async {
        let account = Account::login(http, settings).await?;
        warn_if_bare(&account, login_is_safe, access).await;
        containers::all(&account).await
    })
}

fn segment_bytes(text: &str) -> Result<usize> {
    let mib = text.parse().ok().filter(|mib| (1..=SEGMENT_MIB).contains(mib));
    let mib = mib.ok_or_else(|| {
        Error::invalid("not a length of segments in MiB:", text).hint(format!("1 to {SEGMENT_MIB}"))
    })?;
    Ok(mib << 20)
}

/// Looks whether the container is there, and makes it if it may.
async fn reach(account: &Account, place: &Place, intent: Intent) -> Result<()> {
    let at = |method| Call::new(method, path(&place.container, ""));
    let response = account.send(&at(Method::HEAD)).await?;
    if response.status().is_success() {
        return Ok(());
    }
    let error = failed(response, "there is no access to the container").await;
    if error.kind() != Kind::NotFound || intent != Intent::Create {
        return Err(error);
    }
    let response = account.send(&at(Method::PUT)).await?;
    match response.status().is_success() {
        true => Ok(()),
        false => Err(failed(response, "the container cannot be made").await),
    }
}

impl Swift {
    fn put_whole(&self, name: &ObjectName, bytes: &Bytes, mode: PutMode) -> Result<()> {
        let full = self.full(name)?;
        let previous = match mode {
            PutMode::CreateNew | PutMode::Unique => None,
            PutMode::Replace => run(self.container.head_if_there(&full))?,
        };
        segments::put_whole(&self.container, &full, bytes, mode, previous.as_ref())
    }

    /// Where an object stands. Names of segments are not for others.
    fn full(&self, name: &ObjectName) -> Result<String> {
        let full = self.container.place.full(name);
        match names::owner(&full) {
            Some(_) => Err(Error::new(Kind::Invalid, "names of this form are for segments")),
            None => Ok(full),
        }
    }
}

impl Storage for Swift {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.put_whole(name, &Bytes::copy_from_slice(bytes), mode)
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.put_whole(name, &crate::bridge::shared(bytes), mode)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let full = self.full(name)?;
        Ok(Box::new(segments::Writer::begin(Arc::clone(&self.container), full, mode)?))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        run(self.container.read(name, offset, length_bytes))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        run(self.container.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        rows::Rows::list(&self.container, prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        removal::delete(&self.container, &self.container.place.full(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        run(removal::clean(&self.container, before.0))
    }

    /// Which of several creates an object is decided among those who do, not by Swift.
    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: false, parallel: true }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_have_a_sensible_length() {
        assert_eq!(segment_bytes("32").unwrap(), 32 << 20);
        for text in ["0", "-1", "1025", "32MiB", ""] {
            assert_eq!(segment_bytes(text).unwrap_err().kind(), Kind::Invalid, "{text}");
        }
    }
}
