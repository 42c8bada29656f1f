//! Reading all indexes of a repository, but for those that others supersede.
//!
//! The largest come first: what merges others is larger than they are, so most of what is superseded is never read. A
//! superseded index that was read before it was known to be one is taken out again: it may speak of packs that are gone.

use super::super::Vault;
use super::super::header::ObjectKind;
use super::super::id::ObjectId;
use super::super::names::Folder;
use super::super::pack::PackRef;
use super::{Index, PackEntry, Small, Table, document};
use crate::error::{Error, Kind, Result};
use crate::limits::{DOCUMENTS_FETCHED, INDEX_LISTINGS, INDEX_SMALL_BYTES};
use crate::monitor::{Event, Monitor};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What is known so far.
struct Loading {
    table: Table,
    /// Packs in the order in which they were read, as often as indexes name them.
    packs: Vec<PackEntry>,
    /// What was read, and which of the packs are from there.
    read: Vec<Read>,
    damaged: Vec<(ObjectId, Error)>,
    superseded: HashSet<ObjectId>,
}

struct Read {
    id: ObjectId,
    size_bytes: u64,
    supersedes: Vec<ObjectId>,
    packs: Range<usize>,
}

/// Loads all that is sound, but for what indexes say of the packs in `gone`.
pub(super) fn load(vault: &Vault, monitor: &dyn Monitor, gone: &HashSet<ObjectId>) -> Result<Index> {
    let mut loading = Loading {
        table: Table::new(),
        packs: Vec::new(),
        read: Vec::new(),
        damaged: Vec::new(),
        superseded: HashSet::new(),
    };
    for _ in 0..INDEX_LISTINGS {
        if let Some(listed) = loading.read_all(vault, monitor)? {
            return loading.finish(&listed, gone);
        }
    }
    Err(Error::new(Kind::Busy, "indexes vanish as fast as they are listed in")
        .on(vault.storage().label())
        .retry_later())
}

impl Loading {
    /// Lists and reads what is not read yet. `None` when something was gone that the list had: whatever took its place is
    /// perhaps not in that list.
    fn read_all(&mut self, vault: &Vault, monitor: &dyn Monitor) -> Result<Option<HashSet<ObjectId>>> {
        let mut listed = vault.list(Folder::Index)?.objects;
        listed.sort_unstable_by_key(|(id, size_bytes)| (std::cmp::Reverse(*size_bytes), *id));
        let at_once = if vault.storage().capabilities().parallel { DOCUMENTS_FETCHED } else { 1 };
        let known: HashSet<ObjectId> =
            self.read.iter().map(|read| read.id).chain(self.damaged.iter().map(|(id, _)| *id)).collect();
        let mut rest = &listed[..];
        let mut is_whole = true;
        while !rest.is_empty() {
            // What those that are read at once supersede among each other is read for nothing.
            let (some, others) = rest.split_at(rest.len().min(at_once));
            rest = others;
            let is_needed = |(id, _): &&(ObjectId, u64)| !known.contains(id) && !self.superseded.contains(id);
            let some: Vec<(ObjectId, u64)> = some.iter().filter(is_needed).copied().collect();
            vault.read_objects(ObjectKind::Index, &some, &mut |id, size_bytes, document| {
                monitor.check()?;
                match document {
                    Ok(document) => self.take(vault, id, size_bytes, &document)?,
                    Err(error) if error.kind() == Kind::NotFound => is_whole = false,
                    Err(error) if error.kind() == Kind::Damaged => self.damaged.push((id, error)),
                    Err(error) => return Err(error.while_doing("cannot read index", id.to_string())),
                }
                monitor.event(Event::Stored { bytes: size_bytes });
                Ok(())
            })?;
            if !is_whole {
                return Ok(None);
            }
        }
        Ok(Some(listed.into_iter().map(|(id, _)| id).collect()))
    }

    fn take(&mut self, vault: &Vault, id: ObjectId, size_bytes: u64, document: &[u8]) -> Result<()> {
        let from = self.packs.len();
        let (packs, table) = (&mut self.packs, &mut self.table);
        let taken = document::read(vault.keys(), document, &mut |pack| super::take_pack(table, packs, &pack));
        match taken {
            Ok(supersedes) if supersedes.contains(&id) => {
                self.damaged.push((id, Error::damaged("an index supersedes itself:", id.to_string())));
            }
            Ok(supersedes) => {
                self.superseded.extend(&supersedes);
                let packs = from..self.packs.len();
                self.read.push(Read { id, size_bytes, supersedes, packs });
            }
            // Its packs are in nobody's range, and so are taken out at the end.
            Err(error) if error.kind() == Kind::Damaged => self.damaged.push((id, error)),
            Err(error) => return Err(error.while_doing("cannot read index", id.to_string())),
        }
        Ok(())
    }

    fn finish(self, listed: &HashSet<ObjectId>, gone: &HashSet<ObjectId>) -> Result<Index> {
        let Loading { mut table, packs, read, mut damaged, superseded } = self;
        let live: Vec<Read> = read.into_iter().filter(|read| !superseded.contains(&read.id)).collect();
        // No trouble with what nobody needs any more, or what is gone.
        damaged.retain(|(id, _)| !superseded.contains(id) && listed.contains(id));
        let there = live.iter().flat_map(|read| read.packs.clone());
        let there = there.filter(|number| !gone.contains(&packs[*number].id));
        let (packs, renamed) = distinct(&packs, there)?;
        let is_same = |(number, name): (usize, &Option<PackRef>)| *name == Some(PackRef(number as u32));
        if !renamed.iter().enumerate().all(is_same) {
            table.rename(|pack| renamed[pack.0 as usize]);
        }
        table.settle();
        let small = live.into_iter().filter(|read| read.size_bytes < INDEX_SMALL_BYTES);
        let small = small.map(|read| {
            let supersedes = read.supersedes.into_iter().filter(|id| listed.contains(id)).collect();
            Small { id: read.id, supersedes }
        });
        Ok(Index { table, packs, small: small.collect(), damaged, unindexed: Vec::new(), adopted: false })
    }
}

/// The live packs, each once, and what each of all packs is called among them.
fn distinct(
    all: &[PackEntry],
    live: impl Iterator<Item = usize>,
) -> Result<(Vec<PackEntry>, Vec<Option<PackRef>>)> {
    let mut packs: Vec<PackEntry> = Vec::new();
    let mut renamed = vec![None; all.len()];
    let mut known: HashMap<ObjectId, usize> = HashMap::new();
    for number in live {
        let pack = &all[number];
        match known.get(&pack.id) {
            None => {
                known.insert(pack.id, packs.len());
                renamed[number] = Some(PackRef(packs.len() as u32));
                packs.push(pack.clone());
            }
            // The chunks of the first are enough.
            Some(first) if packs[*first] == *pack => (),
            Some(_) => {
                return Err(Error::damaged("indexes contradict each other on pack", pack.id.to_string()));
            }
        }
    }
    Ok((packs, renamed))
}
