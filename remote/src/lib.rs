//! Storages at the other end of a network: one driver a file, one list of them ([`STORAGES`]).
//!
//! A driver keeps the contract of [`icecore::storage`]; the conformance suite runs over each, against real servers. What is
//! the same for all stands here once: addresses ([`address`]), what a driver may know of its surroundings ([`access`]), the
//! bridge from blocking calls to asynchronous ones, with a deadline for each (`bridge`), HTTP (`http`), and the naming of
//! errors (`named`). Whoever opens a storage puts `Retry` around it; what only a driver can repeat (the parts of a long object) it
//! repeats itself, with the patience it is given.

pub mod access;
pub mod address;
mod bridge;
pub mod ftp;
mod http;
mod named;
pub mod netrc;
mod rclone;
pub mod s3;
pub mod sftp;
mod stream;
mod swift;
mod tree;
pub mod webdav;

pub use access::{Access, Secret, Timeouts};
pub use address::Address;

use icecore::error::{Error, Result};
use icecore::limits::CONTAINERS;
use icecore::storage::Storage;
use std::sync::Arc;

/// Whether the place may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It must be there: `NotFound` otherwise.
    Open,
    /// It must be there, and is used at once: a driver may leave it to the first requests to find out that it is not, or that server
    /// or credentials are not right. Each of them fails then, and with another kind than `NotFound`.
    Use,
    /// It is made when it is missing (a folder, a bucket, a container).
    Create,
}

/// Lists the containers of an account.
pub type List = fn(&Address, &Access) -> Result<Vec<Holding>>;

/// One kind of storage.
pub struct Driver {
    /// What addresses begin with, before `:`.
    pub schemes: &'static [&'static str],
    /// How an address is written, for people.
    pub form: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Connects. The driver has shown that server, credentials and place are right before it returns, but for [`Intent::Use`].
    pub open: fn(&Address, &Access, Intent) -> Result<Arc<dyn Storage>>,
    /// Lists what an address without a container or bucket has of them; `None` where there is no such list.
    pub holdings: Option<List>,
}

/// A container or bucket of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What it is called.
    pub name: String,
    /// How much is in it, where the list says that.
    pub content: Option<Content>,
}

/// How much is in a container, as its server counts: parts of long objects, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How many objects.
    pub objects: u64,
    /// How long they are together.
    pub bytes: u64,
}

/// All of them.
pub const STORAGES: &[&Driver] =
    &[&ftp::DRIVER, &rclone::DRIVER, &s3::DRIVER, &sftp::DRIVER, &swift::DRIVER, &webdav::DRIVER];

/// The driver for addresses that begin with `scheme`.
pub fn driver(scheme: &str) -> Option<&'static Driver> {
    STORAGES.iter().copied().find(|driver| driver.schemes.contains(&scheme))
}

/// Opens the storage at an address. Every error of it names the storage, and what was to be done to which object.
///
/// # Errors
/// `Invalid` for a scheme that no driver has, for an address and for settings that are wrong, `NotFound` when there is no such
/// place and it is not to be made, `Denied`, or as the server has it.
pub fn open(address: &Address, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    let driver = driver(address.scheme()).ok_or_else(|| unknown(address))?;
    let mut access = access.clone();
    access.timeouts.sharing = access.connections.max(1);
    let storage = (driver.open)(address, &access, intent)
        .map_err(|error| error.while_doing("cannot open", address.to_string()))?;
    Ok(Arc::new(named::Named::new(storage)))
}

/// The containers or buckets of the account at an address that names none; `None` where a storage has no list of them.
///
/// # Errors
/// As [`open`]; `Limit` for more of them than anybody has.
pub fn holdings(address: &Address, access: &Access) -> Result<Option<Vec<Holding>>> {
    let driver = driver(address.scheme()).ok_or_else(|| unknown(address))?;
    let listed = driver.holdings.map(|list| list(address, access)).transpose();
    listed.map_err(|error| error.while_doing("cannot list what is at", address.to_string()))
}

/// Puts a page of a list behind those before it.
fn add(all: &mut Vec<Holding>, page: Vec<Holding>) -> Result<()> {
    all.extend(page);
    match all.len() > CONTAINERS {
        true => Err(Error::new(icecore::Kind::Limit, "more containers than").on(CONTAINERS.to_string())),
        false => Ok(()),
    }
}

/// A file of this machine that settings name, and that cannot be read. That it is missing must not pass for a storage that is not
/// there, which is what `NotFound` says.
pub(crate) fn unreadable(path: impl Into<String>, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::invalid("there is no such file:", path),
        _ => Error::io("cannot read", path, error),
    }
}

fn unknown(address: &Address) -> Error {
    let forms: Vec<&str> = STORAGES.iter().map(|driver| driver.form).collect();
    Error::invalid("no kind of storage is called", format!("{}:", address.scheme()))
        .hint(format!("a path, or one of {}", forms.join(", ")))
}
