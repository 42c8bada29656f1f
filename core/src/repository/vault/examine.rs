//! What is damaged or does not belong beside the packs and indexes: for `check`.

use super::Vault;
use super::config::{CONFIG_BYTES, Config};
use super::documents::Documents;
use super::header::ObjectKind;
use super::id::ObjectId;
use super::names::{self, Folder};
use super::slots;
use crate::error::{Error, Kind, Result};

/// What is wrong.
#[derive(Debug, Default)]
pub struct Examination {
    /// Objects that are not as they were written, by name, each with the reason.
    pub damaged: Vec<(String, Error)>,
    /// What does not belong where it is; a key slot that a killed `create` left among it.
    pub strays: Vec<String>,
}

impl Examination {
    fn damaged(&mut self, folder: Folder, id: ObjectId, error: Error) -> Result<()> {
        self.damaged.push((folder.object(id)?.to_string(), error));
        Ok(())
    }

    fn documents<T>(&mut self, kind: ObjectKind, documents: Documents<T>) -> Result<()> {
        self.strays.extend(documents.strays);
        let folder = Folder::of(kind);
        documents.damaged.into_iter().try_for_each(|(id, error)| self.damaged(folder, id, error))
    }
}

impl Vault {
    /// Reads the config, all key slots, sessions, snapshots and removals, and tells what is wrong with them. Slots are checked
    /// to the last bit without their passwords. Of indexes only the names are looked at, and packs are not.
    ///
    /// # Errors
    /// What the storage reports: what could not be examined is never reported as sound.
    pub fn examine(&self) -> Result<Examination> {
        let mut examination = Examination {
            strays: names::strays_at_the_top(self.storage().as_ref())?,
            ..Examination::default()
        };
        // Indexes are read elsewhere, and strays passed over there.
        examination.strays.extend(names::list(self.storage().as_ref(), Folder::Index)?.strays);
        self.examine_config(&mut examination)?;
        self.examine_slots(&mut examination)?;
        examination.documents(ObjectKind::Session, self.sessions()?)?;
        examination.documents(ObjectKind::Snapshot, self.snapshots()?)?;
        examination.documents(ObjectKind::Removal, self.removals()?)?;
        Ok(examination)
    }

    fn examine_config(&self, examination: &mut Examination) -> Result<()> {
        let name = names::config()?;
        let read = match self.storage().read(&name, 0, CONFIG_BYTES + 1) {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            read => read,
        };
        let ours = |config: Config| {
            let sealed = config.id() == self.id() && config.is_sealed_by(self.keys());
            if sealed { Ok(()) } else { Err(Error::damaged("not as it was written:", name.to_string())) }
        };
        if let Err(error) = read.and_then(|bytes| Config::parse(&bytes)).and_then(ours) {
            examination.damaged.push((name.to_string(), error));
        }
        Ok(())
    }

    fn examine_slots(&self, examination: &mut Examination) -> Result<()> {
        let found = slots::read(self.storage().as_ref(), &[])?;
        examination.strays.extend(found.strays);
        for (id, error) in found.damaged {
            examination.damaged(Folder::Keys, id, error)?;
        }
        for slot in found.slots {
            if slot.repository() != self.id() {
                let name = Folder::Keys.object(slot.id())?;
                examination.strays.push(format!("{name} (of another repository)"));
            } else if let Err(error) = self.about(&slot) {
                examination.damaged(Folder::Keys, slot.id(), error)?;
            }
        }
        Ok(())
    }
}
