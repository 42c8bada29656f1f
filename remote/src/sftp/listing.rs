//! Walking the folders of a storage: several at a time, a bounded number of names in memory, links never followed.
//!
//! Rows are handed out between requests, with nothing under way: whoever gets them may use the storage.

use super::Shared;
use super::fault::{Asked, Fault};
use super::pool::{Lease, watched};
use super::session::Session;
use super::tree::is_temporary;
use super::wire::{self, Attributes, Entry, Request, Sort};
use crate::bridge;
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed};
use icecore::time::Timestamp;

/// Folders that are read at a time.
const FOLDERS: usize = 16;
/// Requests for names that are under way at a time, over all folders.
const REQUESTS: usize = 64;

/// A folder that is being read.
struct Open {
    handle: Bytes,
    parent: Option<ObjectName>,
    is_done: bool,
}

/// One name on the way.
pub(super) struct Found {
    parent: Option<ObjectName>,
    entry: Entry,
    name: Option<ObjectName>,
}

impl Found {
    fn new(parent: Option<ObjectName>, entry: Entry) -> Found {
        let name = full_name(parent.as_ref(), &entry.name);
        Found { parent, entry, name }
    }

    /// The row of a listing; `None` for a folder where folders are walked into instead.
    pub fn listed(&self, depth: Depth) -> Option<Listed> {
        let Attributes { size, .. } = self.entry.attributes;
        match (&self.name, self.entry.attributes.sort(), size) {
            (Some(name), Some(Sort::File), Some(size_bytes)) => {
                Some(Listed::Object { name: name.clone(), size_bytes })
            }
            (Some(name), Some(Sort::Folder), _) => match depth {
                Depth::One => Some(Listed::Folder { name: name.clone() }),
                Depth::All => None,
            },
            _ => Some(Listed::Stray { label: self.label() }),
        }
    }

    fn label(&self) -> String {
        let last = String::from_utf8_lossy(&self.entry.name);
        match &self.parent {
            Some(parent) => format!("{parent}/{last}"),
            None => last.into_owned(),
        }
    }

    fn sub_folder(&self) -> Option<&ObjectName> {
        self.name.as_ref().filter(|_| self.entry.attributes.sort() == Some(Sort::Folder))
    }

    /// The name of a temporary file that was last written before `before`.
    pub fn temporary_older_than(&self, before: Timestamp) -> Option<String> {
        let Attributes { times, .. } = self.entry.attributes;
        let is_old = times.is_some_and(|(_, modified)| i64::from(modified) < before.0);
        let is_one = is_temporary(&self.entry.name) && self.entry.attributes.sort() == Some(Sort::File);
        (is_one && is_old).then(|| self.label())
    }
}

/// The object name of an entry, if it can be one.
fn full_name(parent: Option<&ObjectName>, raw: &[u8]) -> Option<ObjectName> {
    let part = std::str::from_utf8(raw).ok().filter(|part| !is_temporary(raw) && !part.contains('/'))?;
    match parent {
        Some(parent) => parent.join(part).ok(),
        None => ObjectName::new(part).ok(),
    }
}

/// Hands every entry below `prefix` to `each`.
pub(super) fn visit(
    shared: &Shared,
    prefix: Option<&ObjectName>,
    depth: Depth,
    each: &mut dyn FnMut(&Found) -> Result<()>,
) -> Result<()> {
    if let Some(prefix) = prefix {
        shared.root.place(prefix)?;
    }
    // In a session of its own choice first, which also tells a broken line from a folder that cannot be read.
    if !shared.run(0, async |session| is_folder(shared, session, prefix).await)? {
        return Ok(());
    }
    let idle = shared.pool.access.timeouts.whole(0);
    let lease = bridge::within(idle, shared.pool.lease(false))?;
    let mut walk = Walk { lease, todo: vec![prefix.cloned()], open: Vec::new() };
    let walked = walk.run(shared, depth, each);
    if walked.is_err() {
        walk.close();
    }
    walked
}

/// Whether there is such a folder. A root that is gone is an error: nothing is not what it holds.
async fn is_folder(shared: &Shared, session: &Session, prefix: Option<&ObjectName>) -> Asked<bool> {
    let Some(prefix) = prefix else { return shared.root.require(session).await.map(|()| true) };
    let path = shared.root.path_of(Some(prefix.as_str()));
    match session.ask(&Request::Look(&path)).attributes().await {
        Ok(found) => match found.sort() {
            Some(Sort::Link) => Err(Error::new(Kind::Unsupported, "a symbolic link is in the way")
                .hint("links are not followed inside a storage; mount or move the folder itself there")
                .into()),
            sort => Ok(sort.is_none_or(|sort| sort == Sort::Folder)),
        },
        Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => {
            shared.root.require(session).await.map(|()| false)
        }
        Err(fault) => Err(fault),
    }
}

struct Walk {
    lease: Lease,
    todo: Vec<Option<ObjectName>>,
    open: Vec<Open>,
}

impl Walk {
    fn run(
        &mut self,
        shared: &Shared,
        depth: Depth,
        each: &mut dyn FnMut(&Found) -> Result<()>,
    ) -> Result<()> {
        let deadline = shared.pool.access.timeouts.whole(0);
        while !self.todo.is_empty() || !self.open.is_empty() {
            let found = bridge::within(deadline, async {
                let Walk { lease, todo, open } = self;
                watched(lease, round(shared, lease, todo, open)).await.map_err(Error::from)
            })?;
            for found in found {
                if depth == Depth::All {
                    self.todo.extend(found.sub_folder().cloned().map(Some));
                }
                each(&found)?;
            }
        }
        Ok(())
    }

    /// Gives back what is open. Nobody waits for it.
    fn close(&self) {
        for folder in self.open.iter().filter(|folder| !folder.is_done) {
            drop(self.lease.ask(&Request::Close(&folder.handle)));
        }
    }
}

/// Opens folders, and reads some of each.
async fn round(
    shared: &Shared,
    session: &Session,
    todo: &mut Vec<Option<ObjectName>>,
    open: &mut Vec<Open>,
) -> Asked<Vec<Found>> {
    let room = FOLDERS.saturating_sub(open.len()).min(todo.len());
    let asked: Vec<_> = todo
        .drain(todo.len() - room..)
        .map(|parent| {
            let path = shared.root.path_of(parent.as_ref().map(ObjectName::as_str));
            (session.ask(&Request::OpenFolder(&path)), parent)
        })
        .collect();
    for (answer, parent) in asked {
        match (answer.handle().await, parent) {
            (Ok(handle), parent) => open.push(Open { handle, parent, is_done: false }),
            // Its last object was deleted meanwhile. The root is not removed by that.
            (Err(fault), Some(_)) if fault.has_code(wire::NO_SUCH_FILE) => {}
            (Err(fault), parent) => return Err(while_listing(fault, parent.as_ref())),
        }
    }
    let each = (REQUESTS / open.len().max(1)).max(1);
    let asked: Vec<Vec<_>> = open
        .iter()
        .map(|folder| (0..each).map(|_| session.ask(&Request::ReadFolder(&folder.handle))).collect())
        .collect();
    let mut found = Vec::new();
    for (folder, answers) in open.iter_mut().zip(asked) {
        for answer in answers {
            match answer.names().await.map_err(|fault| while_listing(fault, folder.parent.as_ref()))? {
                Some(entries) => {
                    let entries = entries.into_iter().filter(|entry| entry.name != "." && entry.name != "..");
                    found.extend(entries.map(|entry| Found::new(folder.parent.clone(), entry)));
                }
                None => folder.is_done = true,
            }
        }
        if folder.is_done {
            drop(session.ask(&Request::Close(&folder.handle)));
        }
    }
    open.retain(|folder| !folder.is_done);
    look_closer(shared, session, &mut found).await?;
    Ok(found)
}

/// Asks for what a server did not tell with the names.
async fn look_closer(shared: &Shared, session: &Session, found: &mut Vec<Found>) -> Asked<()> {
    let is_unclear = |found: &Found| {
        let attributes = found.entry.attributes;
        found.name.is_some()
            && (attributes.sort().is_none()
                || (attributes.sort() == Some(Sort::File) && attributes.size.is_none()))
    };
    if !found.iter().any(is_unclear) {
        return Ok(());
    }
    let mut gone = Vec::new();
    for (number, found) in found.iter_mut().enumerate() {
        if !is_unclear(found) {
            continue;
        }
        let path = shared.root.path_of(found.name.as_ref().map(ObjectName::as_str));
        match session.ask(&Request::Look(&path)).attributes().await {
            Ok(attributes) => {
                found.entry.attributes = attributes;
                if is_unclear(found) {
                    return Err(Fault::unexpected());
                }
            }
            Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => gone.push(number),
            Err(fault) => return Err(fault),
        }
    }
    for number in gone.into_iter().rev() {
        found.remove(number);
    }
    Ok(())
}

fn while_listing(fault: Fault, parent: Option<&ObjectName>) -> Fault {
    match (fault, parent) {
        (fault @ Fault::Status { .. }, Some(parent)) => {
            Error::from(fault).while_doing("cannot read the folder", parent.to_string()).into()
        }
        (fault, _) => fault,
    }
}
