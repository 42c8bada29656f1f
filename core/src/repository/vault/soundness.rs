//! Whether the bytes of an object are what was written, by those bytes alone: every seal is opened, every chunk compared with its name.

use super::Vault;
use super::compression::Decoder;
use super::config::{CONFIG_BYTES, Config};
use super::header::{HEADER_BYTES, Header, ObjectKind};
use super::id::ObjectId;
use super::names::{self, Folder};
use super::object;
use super::pack::{PackKey, TRAILER_BYTES, pack_kind, read_trailer};
use super::reader;
use super::slot::KeySlot;
use crate::error::{Error, Result};
use crate::limits::{KEY_SLOT_BYTES, PACK_BYTES, VAULT_OBJECT_BYTES};
use crate::name::ObjectName;
use std::io::Read;

/// All bytes there are; `Damaged` when they are more than may be.
fn whole(bytes: &mut dyn Read, limit_bytes: u64, name: &ObjectName) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut limited = bytes.take(limit_bytes.saturating_add(1));
    limited.read_to_end(&mut all).map_err(|e| Error::io("cannot read", name.to_string(), e))?;
    if all.len() as u64 > limit_bytes {
        return Err(Error::damaged("too long:", name.to_string()));
    }
    Ok(all)
}

impl Vault {
    /// Whether `bytes` are those of the object `name`. `false` when nothing here can tell: the object is none of this part's.
    ///
    /// # Errors
    /// `Damaged` when they are not, `Unsupported` for what a newer version wrote, and what reading reports.
    pub fn verify(&self, name: &ObjectName, bytes: &mut dyn Read) -> Result<bool> {
        if *name == names::config()? {
            let config = Config::parse(&whole(bytes, CONFIG_BYTES as u64, name)?)?;
            let is_ours = config.id() == self.id() && config.is_sealed_by(self.keys());
            return if is_ours {
                Ok(true)
            } else {
                Err(Error::damaged("not as it was written:", name.to_string()))
            };
        }
        let Some((folder, id)) = names::object_of(name) else { return Ok(false) };
        let kind = match folder {
            Folder::Packs => {
                self.verify_pack(id, whole(bytes, PACK_BYTES as u64, name)?)?;
                return Ok(true);
            }
            Folder::Keys => {
                let slot = KeySlot::parse(id, whole(bytes, KEY_SLOT_BYTES, name)?)?;
                // One that an `init` left which was killed is of another repository, and nobody's.
                return if slot.repository() == self.id() {
                    self.about(&slot).map(|_| true)
                } else {
                    Ok(false)
                };
            }
            Folder::Sessions => ObjectKind::Session,
            Folder::Index => ObjectKind::Index,
            Folder::Snapshots => ObjectKind::Snapshot,
            Folder::Removals => ObjectKind::Removal,
        };
        object::open(self.keys(), kind, id, whole(bytes, VAULT_OBJECT_BYTES, name)?)?;
        Ok(true)
    }

    /// Opens the table of a pack and every chunk it names.
    fn verify_pack(&self, id: ObjectId, mut bytes: Vec<u8>) -> Result<()> {
        // The byte that says the kind picks what is asked for; asking checks it.
        let is_metadata = bytes.get(9) == Some(&pack_kind(true).number());
        let header = Header::read(self.keys(), pack_kind(is_metadata), id, &bytes)?;
        let size = bytes.len();
        let table_bytes = read_trailer(&bytes[size.saturating_sub(TRAILER_BYTES)..], size)?;
        let table_end = size - TRAILER_BYTES;
        let table_offset = table_end - table_bytes;
        let key = PackKey::new(self.keys(), &header)?;
        let table = &mut bytes[table_offset..table_end];
        let rows = key.open_table(self.keys(), &header, table, is_metadata, table_offset)?;
        let (mut decoder, mut out) = (Decoder::new()?, Vec::new());
        // The table was checked: the blobs fill what is before it.
        let mut rest = &mut bytes[HEADER_BYTES..table_offset];
        for (number, row) in (0..).zip(&rows) {
            let (sealed, behind) = rest.split_at_mut(row.sealed_bytes as usize);
            let stored = key.open(number, row, sealed)?;
            reader::decode(self.keys(), row, stored, &mut decoder, &mut out)?;
            rest = behind;
        }
        Ok(())
    }
}
