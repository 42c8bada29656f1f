//! The folders that names of objects lead through: made when they are missing, looked into, and (rarely) removed.
//!
//! DELETE of a folder takes everything with it, also what somebody else has put there since it was found empty. Invariant: no folder is
//! ever removed under a name that others know. One that has to go is first given a name that nobody knows, looked into again,
//! and only then removed; if something is in it after all, it gets its name back. So folders stay when their last object is
//! deleted; listings do not show those in which there is nothing, and an object that needs their name moves them away.

use super::multistatus::What;
use super::requests::{Dav, Made, Moved, cannot_tell};
use crate::http::limited;
use crate::tree::{self, Entry, is_below, is_empty, parent, place_gone, temporary_beside};
use icecore::error::{Error, Kind, Result};
use reqwest::Url;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Folders of one storage; clones know what the others know.
#[derive(Clone)]
pub struct Folders {
    /// The server.
    pub dav: Dav,
    /// Those that were there when this program last looked.
    known: Arc<Mutex<HashSet<String>>>,
}

impl Folders {
    /// The folders of a storage.
    pub fn new(dav: Dav) -> Folders {
        Folders { dav, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        // A set of what was seen: a panic elsewhere leaves it sound.
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Forgets that a folder was there, and those below it.
    pub fn forget(&self, folder: Option<&str>) {
        match folder {
            Some(folder) => self.known().retain(|known| known != folder && !is_below(known, folder)),
            None => self.known().clear(),
        }
    }

    /// Makes a folder and those that lead to it, unless they were seen before.
    ///
    /// # Errors
    /// `NotFound` when the storage itself is gone, `Invalid` when an object is in the way, or as the server has it.
    pub async fn make(&self, folder: Option<&str>) -> Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        if self.known().contains(folder) {
            return Ok(());
        }
        let mut missing = Vec::new();
        let mut next = Some(folder);
        while let Some(here) = next {
            match self.dav.make_folder(&self.dav.place.folder(Some(here))).await? {
                Made::There => break,
                Made::NothingAbove => missing.push(here),
            }
            next = parent(here);
        }
        for here in missing.into_iter().rev() {
            if self.dav.make_folder(&self.dav.place.folder(Some(here))).await? == Made::NothingAbove {
                return Err(self.blocked(here).await?);
            }
        }
        self.known().insert(folder.to_owned());
        Ok(())
    }

    /// Why nothing can be stored in a folder that was made.
    ///
    /// # Errors
    /// When even that cannot be told.
    pub async fn blocked(&self, folder: &str) -> Result<Error> {
        let dav = &self.dav;
        if dav.what(&dav.place.folder(None)).await?.is_none() {
            return Ok(place_gone());
        }
        let mut next = Some(folder);
        while let Some(here) = next {
            if let Some(What::Object { .. }) = dav.what(&dav.place.object(here)).await? {
                return Ok(Error::invalid("an object is in the way of the folder", here));
            }
            next = parent(here);
        }
        Ok(Error::new(Kind::Io, "the server keeps no folder").on(folder).retry_later())
    }

    /// Makes the place of the storage itself, and what leads to it.
    ///
    /// # Errors
    /// As the server has it.
    pub async fn make_place(&self) -> Result<()> {
        let place = &self.dav.place;
        let mut count = place.depth();
        while count > 0 && self.dav.make_folder(&place.above(count)).await? == Made::NothingAbove {
            count -= 1;
        }
        for count in count + 1..=place.depth() {
            if self.dav.make_folder(&place.above(count)).await? == Made::NothingAbove {
                return Err(Error::new(Kind::NotFound, "the server does not let a folder be made at")
                    .on(place.above(count).path()));
            }
        }
        Ok(())
    }

    async fn put_back(&self, away: &str, folder: &str, from: &Url, to: &Url) -> Result<()> {
        match self.dav.rename(from, to, false, Duration::ZERO).await {
            Ok(Moved::Done) => Ok(()),
            Ok(Moved::Taken | Moved::Missing) => Err(stranded(away, folder)),
            Err(error) => {
                Err(error.while_doing("objects have to be moved by hand to where they were, from", away))
            }
        }
    }
}

impl tree::Folders for Folders {
    async fn entries(&self, folder: Option<&str>) -> Result<Option<Vec<Entry>>> {
        let place = &self.dav.place;
        let Some(members) = self.dav.look(&place.folder(folder), "1").await? else { return Ok(None) };
        let mut entries = Vec::with_capacity(members.len());
        let mut itself = None;
        for member in members {
            let (named, size_bytes) = match (place.named(folder, &member.href)?, member.what) {
                (None, what) if itself.is_none() => {
                    itself = Some(what);
                    continue;
                }
                (None, _) => return Err(Error::damaged("the server names the folder twice", "")),
                (_, What::Refused(status)) => {
                    return Err(cannot_tell(status).while_doing("cannot list", limited(&member.href)));
                }
                (Some(named), What::Folder) => (named, None),
                (Some(named), What::Object { size_bytes }) => (named, Some(size_bytes)),
            };
            entries.push(Entry { named, size_bytes, modified: member.modified });
        }
        match itself {
            Some(What::Folder) => Ok(Some(entries)),
            // An object: nothing is in it.
            Some(What::Object { .. }) | Some(What::Refused(404 | 410)) => Ok(None),
            Some(What::Refused(status)) => Err(cannot_tell(status)),
            None => Err(Error::damaged("the server does not name the folder that it lists", "")),
        }
    }

    /// In the way that harms nobody; `Busy` when somebody put something there meanwhile and it could not get its name back.
    async fn remove_if_empty(&self, folder: &str) -> Result<bool> {
        if !is_empty(self, folder, true).await? {
            return Ok(false);
        }
        let place = &self.dav.place;
        let away = temporary_beside(folder);
        let (here, there) = (place.folder(Some(folder)), place.folder(Some(&away)));
        self.forget(Some(folder));
        if self.dav.rename(&here, &there, false, Duration::ZERO).await? != Moved::Done {
            return Ok(false);
        }
        if is_empty(self, &away, true).await? {
            self.dav.remove(&there).await?;
            return Ok(true);
        }
        self.put_back(&away, folder, &there, &here).await?;
        Ok(false)
    }

    async fn remove_temporary(&self, name: &str) -> Result<bool> {
        Ok(self.dav.remove(&self.dav.place.object(name)).await?.is_some())
    }
}

fn stranded(away: &str, folder: &str) -> Error {
    Error::new(
        Kind::Busy,
        format!("objects came into a folder that was being removed; they are in {away} and belong into"),
    )
    .on(folder)
    .hint("move them there on the server")
}
