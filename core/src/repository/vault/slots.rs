//! The key slots of a repository: who can open it.
//!
//! Invariant: a slot that opens the repository is always left. Slots that are damaged, or were left by a `create` that was
//! killed, are never used and never touched unless somebody names them.

use super::Vault;
use super::id::{ID_BYTES, ObjectId};
use super::names::{self, Folder};
use super::password::Password;
use super::seal::{Cipher, random};
use super::slot::{About, Guard, KeySlot};
use crate::error::{Error, Kind, Result};
use crate::limits::{DOCUMENTS_FETCHED, KEY_SLOT_BYTES, KEY_SLOTS};
use crate::pipe;
use crate::storage::{PutMode, Storage};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::PoisonError;

/// A key slot, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub id: ObjectId,
    /// What the user called it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is the one that opened the repository.
    pub is_current: bool,
}

/// Everything that stands where slots are.
#[derive(Default)]
pub(super) struct Found {
    /// Slots, of this repository or not.
    pub slots: Vec<KeySlot>,
    /// What is called like a slot and is none that this version reads.
    pub damaged: Vec<(ObjectId, Error)>,
    /// What does not belong there.
    pub strays: Vec<String>,
}

impl Found {
    /// What is called like a slot, sound or not.
    pub fn ids(&self) -> Vec<ObjectId> {
        let damaged = self.damaged.iter().map(|(id, _)| *id);
        self.slots.iter().map(KeySlot::id).chain(damaged).collect()
    }
}

/// Reads all slots. Where each request waits for an answer from far away, several are under way at once, and those that are `known`
/// from an earlier time beside the list that says whether they still count.
pub(super) fn read(storage: &dyn Storage, known: &[ObjectId]) -> Result<Found> {
    let is_far = storage.capabilities().parallel;
    let known = if is_far && known.len() <= KEY_SLOTS { known } else { &[] };
    let (early, names) = match known {
        [] => (HashMap::new(), names::list(storage, Folder::Keys)?),
        known => pipe::together(|| fetch(storage, known), || names::list(storage, Folder::Keys))?,
    };
    if names.objects.len() > KEY_SLOTS {
        return Err(too_many(storage));
    }
    let ids: Vec<ObjectId> = names.objects.iter().map(|(id, _)| *id).collect();
    // One that failed may have come since.
    let is_there = |id: &ObjectId| early.get(id).is_some_and(Result::is_ok);
    let missing: Vec<ObjectId> = ids.iter().copied().filter(|id| !is_there(id)).collect();
    let mut read = early;
    read.extend(fetch(storage, &missing)?);
    let mut found = Found { slots: Vec::new(), damaged: Vec::new(), strays: names.strays };
    for id in ids {
        match read.remove(&id) {
            Some(Ok(bytes)) => match KeySlot::parse(id, bytes) {
                Ok(slot) => found.slots.push(slot),
                Err(error) => found.damaged.push((id, error)),
            },
            // Removed since the list was made.
            Some(Err(error)) if error.kind() == Kind::NotFound => (),
            Some(Err(error)) if matches!(error.kind(), Kind::Limit | Kind::Damaged) => {
                found
                    .damaged
                    .push((id, Error::damaged("cannot read key slot", id.to_string()).because(error)));
            }
            Some(Err(error)) => return Err(error),
            None => return Err(Error::stopped()),
        }
    }
    Ok(found)
}

/// The bytes of slots, or why each cannot be read.
fn fetch(storage: &dyn Storage, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Result<Vec<u8>>>> {
    let read = |id: ObjectId| Ok((id, storage.read_small(&Folder::Keys.object(id)?, KEY_SLOT_BYTES)));
    if ids.len() < 2 || !storage.capabilities().parallel {
        return ids.iter().copied().map(read).collect();
    }
    let give = |sender: &mut pipe::Sender<ObjectId>| ids.iter().try_for_each(|id| sender.send(*id));
    let mut fetched = HashMap::with_capacity(ids.len());
    pipe::run_mapped(
        1,
        DOCUMENTS_FETCHED,
        give,
        || Ok(read),
        |receiver| {
            while let Some((id, bytes)) = receiver.receive()? {
                fetched.insert(id, bytes);
            }
            Ok(())
        },
    )?;
    Ok(fetched)
}

/// Refuses one slot more than there may be.
pub(super) fn refuse_too_many(storage: &dyn Storage) -> Result<()> {
    let count = names::list(storage, Folder::Keys)?.objects.len();
    if count < KEY_SLOTS { Ok(()) } else { Err(too_many(storage)) }
}

fn too_many(storage: &dyn Storage) -> Error {
    Error::new(Kind::Limit, format!("more than {KEY_SLOTS} key slots in")).on(storage.label())
}

/// Stores a slot.
pub(super) fn write(storage: &dyn Storage, slot: &KeySlot) -> Result<()> {
    storage.put(&Folder::Keys.object(slot.id())?, slot.bytes(), PutMode::CreateNew)
}

/// A password that protects something.
pub(super) fn refuse_empty(password: &Password) -> Result<()> {
    let is_empty = password.bytes().is_empty();
    if is_empty { Err(Error::new(Kind::Invalid, "an empty password protects nothing")) } else { Ok(()) }
}

impl Vault {
    /// The slots that are sound, oldest first; [`Vault::examine`] tells of the others.
    ///
    /// # Errors
    /// `Limit` when there are too many, and what the storage reports.
    pub fn slots(&self) -> Result<Vec<Slot>> {
        let mut sound = Vec::new();
        for slot in read(self.storage().as_ref(), &[])?.slots {
            match self.about(&slot) {
                Ok(about) => sound.push(Slot {
                    id: slot.id(),
                    label: about.label,
                    created: Timestamp(about.created),
                    is_current: slot.id() == self.slot,
                }),
                Err(error) if error.kind() == Kind::Damaged => (),
                Err(error) => return Err(error),
            }
        }
        sound.sort_by_key(|slot| (slot.created, slot.id));
        Ok(sound)
    }

    /// The names of all slots, sound or not.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn key_ids(&self) -> Result<Vec<ObjectId>> {
        let names = names::list(self.storage().as_ref(), Folder::Keys)?;
        Ok(names.objects.into_iter().map(|(id, _)| id).collect())
    }

    /// As [`Vault::key_ids`], as they were when the repository was opened; anew once this process has added or removed one.
    ///
    /// # Errors
    /// As [`Vault::key_ids`].
    pub fn recent_key_ids(&self) -> Result<Vec<ObjectId>> {
        let recent = self.recent_keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        recent.map_or_else(|| self.key_ids(), Ok)
    }

    fn forget_recent_keys(&self) {
        self.recent_keys.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Who a slot is for; `Damaged` for what is none of ours.
    pub(super) fn about(&self, slot: &KeySlot) -> Result<About> {
        if slot.cipher() != self.keys().cipher() || slot.repository() != self.id() {
            return Err(Error::damaged("of another repository: key slot", slot.id().to_string()));
        }
        slot.about(self.keys())
    }

    /// Adds a password. It is derived with the salt and at the cost of the slot that opened this repository, so that one
    /// derivation tries both.
    ///
    /// # Errors
    /// `Invalid` when the repository is not encrypted or the password is empty, `Limit` when there are too many, and what the
    /// storage reports.
    pub fn add_slot(&self, password: &Password, label: &str, now: Timestamp) -> Result<ObjectId> {
        let (Guard::Password(derivation), Cipher::Aes256Gcm) = (self.guard, self.keys().cipher()) else {
            return Err(Error::invalid(
                "no password fits a repository that is not encrypted:",
                self.storage().label(),
            ));
        };
        refuse_empty(password)?;
        let about = About::new(label, now)?;
        refuse_too_many(self.storage().as_ref())?;
        let id = ObjectId(random::<ID_BYTES>()?);
        let slot = KeySlot::seal(id, self.keys(), self.guard, &derivation.key(password)?, &about)?;
        self.forget_recent_keys();
        write(self.storage().as_ref(), &slot)?;
        Ok(id)
    }

    /// Removes a slot, sound or not, unless no sound one would be left. Whoever knew its password may have kept the master
    /// key: this takes away a way in, not what was known.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when it is the last one, and what the storage reports.
    pub fn remove_slot(&self, id: ObjectId) -> Result<()> {
        let name = Folder::Keys.object(id)?;
        let bytes = self.storage().read_small(&name, KEY_SLOT_BYTES);
        if let Err(error) = &bytes
            && error.kind() == Kind::NotFound
        {
            return Err(Error::new(Kind::NotFound, "no such key slot:").on(id.to_string()));
        }
        if !self.slots()?.iter().any(|slot| slot.id != id) {
            return Err(Error::invalid("the last key slot cannot be removed:", id.to_string())
                .hint("add another one first"));
        }
        self.forget_recent_keys();
        self.storage().delete(&name).map_err(|error| error.while_doing("cannot delete", name.to_string()))?;
        // Somebody may have removed the others meanwhile: then this one is needed.
        if self.slots()?.is_empty() {
            self.storage().put(&name, &bytes?, PutMode::CreateNew)?;
            return Err(Error::new(Kind::Busy, "the other key slots were removed meanwhile; put back is")
                .on(id.to_string()));
        }
        Ok(())
    }
}
