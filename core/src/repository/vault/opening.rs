//! Making and opening: from nothing or a password to keys.
//!
//! Invariant: the config is written last and read first. A `create` that is killed leaves at most a slot, which says of which
//! repository it is and so opens no other; the next `create` goes ahead as if it was not there.

use super::Vault;
use super::config::{CONFIG_BYTES, Config};
use super::id::{ID_BYTES, ObjectId};
use super::kdf::{Derivation, Parameters};
use super::keys::Keys;
use super::names::{self, Folder};
use super::password::{Password, Protection};
use super::seal::{Cipher, KEY_BYTES, Key, random};
use super::slot::{About, Guard, KeySlot, open_key};
use super::slots;
use crate::error::{Error, Kind, Result};
use crate::limits::KDF_WORK_KIB;
use crate::pipe;
use crate::storage::{PutMode, Storage};
use crate::time::Timestamp;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

impl Vault {
    /// Makes a new one; `label` names its first key slot.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, `Damaged` if there is one whose config is gone, `Invalid` for an empty password or a
    /// label that cannot be, and what the storage reports.
    pub fn create(
        storage: Arc<dyn Storage>,
        protection: &Protection,
        label: &str,
        now: Timestamp,
    ) -> Result<Vault> {
        Vault::create_with(storage, protection, Parameters::WRITTEN, label, now)
    }

    /// As [`Vault::create`], at another cost of the password.
    ///
    /// # Errors
    /// As [`Vault::create`], and `Limit` when the cost is beyond the bounds of the format.
    pub fn create_with(
        storage: Arc<dyn Storage>,
        protection: &Protection,
        parameters: Parameters,
        label: &str,
        now: Timestamp,
    ) -> Result<Vault> {
        let about = About::new(label, now)?;
        if Vault::exists(storage.as_ref())? {
            return Err(already(storage.as_ref()));
        }
        Vault::refuse_remains(storage.as_ref())?;
        slots::refuse_too_many(storage.as_ref())?;
        let (guard, key) = guard(protection, parameters)?;
        let cipher = match guard {
            Guard::Open => Cipher::None,
            Guard::Password(_) => Cipher::Aes256Gcm,
        };
        let repository = ObjectId(random::<ID_BYTES>()?);
        let keys = Keys::new(Zeroizing::new(random::<KEY_BYTES>()?), repository, cipher);
        let slot = KeySlot::seal(ObjectId(random::<ID_BYTES>()?), &keys, guard, &key, &about)?;
        slots::write(storage.as_ref(), &slot)?;
        publish(storage.as_ref(), &Config::create(&keys), &slot)?;
        Ok(Vault {
            storage,
            keys,
            slot: slot.id(),
            guard,
            cache: None,
            recent: Mutex::default(),
            recent_keys: Mutex::default(),
            ahead: Mutex::default(),
        })
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn exists(storage: &dyn Storage) -> Result<bool> {
        match storage.stat(&names::config()?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses a place that has backups and no config: it is no place for a new one, and must not pass for one without backups.
    ///
    /// # Errors
    /// `Damaged` where that is so, and what the storage reports.
    pub fn refuse_remains(storage: &dyn Storage) -> Result<()> {
        for folder in [Folder::Snapshots, Folder::Index, Folder::Packs] {
            if names::holds_any(storage, folder)? {
                return Err(Error::damaged("the config is missing of the repository at", storage.label())
                    .hint("get dedup/config back from a copy of the repository"));
            }
        }
        Ok(())
    }

    /// Opens what is there. The password is asked for once, and only when a password slot exists.
    ///
    /// # Errors
    /// `NoRepository`, `WrongPassword`, `Damaged`, `Unsupported`, what `password` fails with, and what the storage reports.
    pub fn open(storage: Arc<dyn Storage>, password: &mut dyn FnMut() -> Result<Password>) -> Result<Vault> {
        let threshold = Threshold::look(storage.as_ref(), &[]);
        let nothing = || {
            Error::new(Kind::NoRepository, "no repository at")
                .on(storage.label())
                .hint("create one with: icecore init")
        };
        let none = nothing();
        Vault::enter(storage, threshold, password)?.ok_or(none)
    }

    /// As [`Vault::open`], by what was read already; `None` if there is none.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn enter(
        storage: Arc<dyn Storage>,
        threshold: Threshold,
        password: &mut dyn FnMut() -> Result<Password>,
    ) -> Result<Option<Vault>> {
        let Some(config) = threshold.config? else {
            Vault::refuse_remains(storage.as_ref())?;
            return Ok(None);
        };
        let mut found = threshold.slots?;
        let fits = |slot: &&KeySlot| slot.repository() == config.id() && slot.cipher() == config.cipher();
        if !found.slots.iter().any(|slot| fits(&slot)) {
            // Whoever makes a repository writes the slot first: seen at the same moment, only the config may be there.
            found = slots::read(storage.as_ref(), &[])?;
        }
        let slots: Vec<&KeySlot> = found.slots.iter().filter(fits).collect();
        if slots.is_empty() {
            return Err(no_slot(storage.as_ref(), found));
        }
        let (keys, slot) = match config.cipher() {
            Cipher::None => unlock(&config, &slots, &open_key())?
                .ok_or_else(|| Error::damaged("no sound key slot in", storage.label()))?,
            Cipher::Aes256Gcm => match unlock_by(&config, &slots, &password()?)? {
                Tried { opened: Some(opened), .. } => opened,
                Tried { opened: None, left_out } => return Err(wrong_password(storage.as_ref(), left_out)),
            },
        };
        let (slot, guard) = (slot.id(), slot.guard());
        let recent_keys = Mutex::new(Some(found.ids()));
        let (recent, ahead) = (Mutex::default(), Mutex::default());
        Ok(Some(Vault { slot, guard, storage, keys, cache: None, recent, recent_keys, ahead }))
    }
}

/// What is read before a password is asked for: where each request waits for an answer from far away, all at once.
pub struct Threshold {
    config: Result<Option<Config>>,
    slots: Result<slots::Found>,
}

impl Threshold {
    /// Looks whether there is a vault, and for its slots; those that are `known` from an earlier time are not waited for until they
    /// have been listed.
    pub fn look(storage: &dyn Storage, known: &[ObjectId]) -> Threshold {
        let looked = match storage.capabilities().parallel {
            true => pipe::together(|| Ok(read_config(storage)), || Ok(slots::read(storage, known))),
            false => {
                let config = read_config(storage);
                // Without a config nobody asks for them.
                let slots = match &config {
                    Ok(Some(_)) => slots::read(storage, known),
                    _ => Ok(slots::Found::default()),
                };
                Ok((config, slots))
            }
        };
        match looked {
            Ok((config, slots)) => Threshold { config, slots },
            Err(error) => Threshold { config: Err(error), slots: Ok(slots::Found::default()) },
        }
    }
}

fn guard(protection: &Protection, parameters: Parameters) -> Result<(Guard, Key)> {
    match protection {
        Protection::None => Ok((Guard::Open, open_key())),
        Protection::Password(password) => {
            slots::refuse_empty(password)?;
            let derivation = Derivation { parameters, salt: random()? };
            Ok((Guard::Password(derivation), derivation.key(password)?))
        }
    }
}

/// Writes the config, and with it the repository exists. Whoever comes second takes its slot away again.
fn publish(storage: &dyn Storage, config: &Config, slot: &KeySlot) -> Result<()> {
    let Err(error) = storage.put(&names::config()?, config.bytes(), PutMode::CreateNew) else {
        return Ok(());
    };
    if error.kind() != Kind::AlreadyExists {
        // It may be there all the same: the slot must stay.
        return Err(error.while_doing("cannot create a repository at", storage.label()));
    }
    let error = already(storage).because(error);
    match storage.delete(&Folder::Keys.object(slot.id())?) {
        Err(left) if left.kind() != Kind::NotFound => {
            Err(error.hint(format!("the key slot {} of this attempt is left behind: {left}", slot.id())))
        }
        _ => Err(error),
    }
}

fn already(storage: &dyn Storage) -> Error {
    Error::new(Kind::AlreadyExists, "there is a repository already at")
        .on(storage.label())
        .hint("use it as it is, or choose another place")
}

fn read_config(storage: &dyn Storage) -> Result<Option<Config>> {
    let name = names::config()?;
    match storage.read(&name, 0, CONFIG_BYTES + 1) {
        Ok(bytes) => {
            Config::parse(&bytes).map(Some).map_err(|error| error.while_doing("cannot use", name.to_string()))
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why nothing can be opened where not one slot is of this repository.
fn no_slot(storage: &dyn Storage, found: slots::Found) -> Error {
    let newer = |error: &Error| error.kind() == Kind::Unsupported;
    let (newer, others): (Vec<Error>, Vec<Error>) =
        found.damaged.into_iter().map(|(_, e)| e).partition(newer);
    match newer.into_iter().chain(others).next() {
        Some(error) => error.while_doing("no key slot can be used of", storage.label()),
        None if found.slots.is_empty() => Error::damaged("no key slot is left of", storage.label()),
        // Either may be the one that was put there.
        None => {
            Error::damaged("dedup/config is of another repository than every key slot of", storage.label())
                .hint("get dedup/config back from a copy of the repository")
        }
    }
}

fn wrong_password(storage: &dyn Storage, left_out: usize) -> Error {
    let error = Error::new(Kind::WrongPassword, "the password opens no key slot of").on(storage.label());
    if left_out == 0 {
        return error.hint(
            "if it is the right one, its key slot is damaged: use another password, or a copy of dedup/keys",
        );
    }
    // In the message, for callers have hints of their own.
    error
        .because(format!(
            "{left_out} key slots were not tried, since together they ask for more work than a password may cost"
        ))
        .hint("somebody has put slots there: compare dedup/keys with a copy")
}

/// What came of trying a password.
struct Tried<'s> {
    opened: Option<(Keys, &'s KeySlot)>,
    /// Slots that were not tried.
    left_out: usize,
}

/// Tries a password on the slots, with one derivation for all that share it, until [`KDF_WORK_KIB`] is used up.
fn unlock_by<'s>(config: &Config, slots: &[&'s KeySlot], password: &Password) -> Result<Tried<'s>> {
    let mut derivations: Vec<Derivation> = Vec::new();
    for slot in slots {
        if let Guard::Password(derivation) = slot.guard()
            && !derivations.contains(&derivation)
        {
            derivations.push(derivation);
        }
    }
    // The cheapest first: a slot that somebody has put there to cost time and memory comes after all that are as they were made.
    derivations.sort_by_key(|derivation| derivation.parameters.work_kib());
    let mut work_left = KDF_WORK_KIB;
    let mut left_out = 0;
    for derivation in derivations {
        let shares = |slot: &&&KeySlot| slot.guard() == Guard::Password(derivation);
        let sharing: Vec<&KeySlot> = slots.iter().filter(shares).copied().collect();
        let Some(left) = work_left.checked_sub(derivation.parameters.work_kib()) else {
            left_out += sharing.len();
            continue;
        };
        work_left = left;
        if let Some(opened) = unlock(config, &sharing, &derivation.key(password)?)? {
            return Ok(Tried { opened: Some(opened), left_out });
        }
    }
    Ok(Tried { opened: None, left_out })
}

/// The keys from the first slot that `key` opens and that the config was sealed with.
fn unlock<'s>(config: &Config, slots: &[&'s KeySlot], key: &Key) -> Result<Option<(Keys, &'s KeySlot)>> {
    let mut differs = false;
    for slot in slots {
        if let Some(master) = slot.master(key)? {
            let keys = Keys::new(master, config.id(), config.cipher());
            if config.is_sealed_by(&keys) {
                return Ok(Some((keys, slot)));
            }
            differs = true;
        }
    }
    if differs {
        return Err(Error::damaged("not as it was written:", names::config()?.to_string()));
    }
    Ok(None)
}
