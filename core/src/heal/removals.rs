//! What was removed while a member could not be reached: members that were reached have noted it, and it is removed from the others.
//!
//! A note is void when all that carry it have the object (the removal failed, or it was made anew). It is not followed where something
//! builds on the object: a level whose chain has a level that nobody removed, content of a level that is there, and whatever else may be
//! referred to. What is kept so is copied back, and told.

use super::{Done, Heal};
use crate::error::Result;
use crate::name::ObjectName;
use crate::repository::BackupLocation;
use crate::repository::copies::{self, Role, role_of};
use crate::storage::mirror::{Asked, Member};
use crate::storage::{Depth, Listed, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be removed, and the notes that say so.
pub(super) struct Removals {
    /// Each with the members that have it.
    doomed: Vec<(ObjectName, Vec<usize>)>,
    /// What notes speak of, with the members that carry them.
    noted: BTreeMap<ObjectName, BTreeSet<usize>>,
}

/// How many levels stand below a document, for those that are documents: what is copied first.
pub(super) fn height(name: &ObjectName) -> u32 {
    match role_of(name) {
        Role::Document(location) => location.entry.level.number(),
        _ => 0,
    }
}

/// Reads all notes and decides which are followed. Those objects are not copied from now on.
pub(super) fn plan(heal: &mut Heal<'_>) -> Result<Removals> {
    let mut noted: BTreeMap<ObjectName, BTreeSet<usize>> = BTreeMap::new();
    for (place, member) in heal.living() {
        for name in member.ask(|storage| heal.mirror.removals(storage)).done().unwrap_or_default() {
            noted.entry(name).or_default().insert(place);
        }
    }
    let mut candidates: Vec<(ObjectName, Vec<usize>)> = Vec::new();
    for (name, carriers) in &noted {
        heal.monitor.check()?;
        let has = |(_, member): &(usize, &Arc<Member>)| matches!(stat(member, name), Asked::Done(_));
        let there: Vec<usize> = heal.living().filter(has).map(|(place, _)| place).collect();
        let is_void = carriers.iter().all(|carrier| there.contains(carrier));
        if !is_void && !there.is_empty() {
            candidates.push((name.clone(), there));
        }
    }
    let kept = builds_on(heal, &candidates)?;
    let (mut doomed, mut spared) = (Vec::new(), Vec::new());
    for (name, there) in candidates {
        let list = if kept.contains(&name) { &mut spared } else { &mut doomed };
        list.push((name, there));
    }
    for (name, there) in &spared {
        heal.note(Done::Kept, name, there);
    }
    heal.passed_over.extend(doomed.iter().map(|(name, _)| name.clone()));
    Ok(Removals { doomed, noted })
}

fn stat(member: &Member, name: &ObjectName) -> Asked<Stat> {
    member.ask(|storage| storage.stat(name))
}

type ChainOf = (String, String, i64);

fn chain_of(location: &BackupLocation) -> ChainOf {
    (location.engine.clone(), location.name.to_string(), location.chain.0)
}

/// Which of the candidates something builds on.
fn builds_on(heal: &Heal<'_>, candidates: &[(ObjectName, Vec<usize>)]) -> Result<BTreeSet<ObjectName>> {
    let names: BTreeSet<&ObjectName> = candidates.iter().map(|(name, _)| name).collect();
    let of_levels = |name: &&ObjectName| matches!(role_of(name), Role::Document(_) | Role::Content(_));
    // The documents that nobody removed, as far as any member lists them.
    let mut alive: BTreeSet<ObjectName> = BTreeSet::new();
    let folder = copies::documents()?;
    if names.iter().copied().any(|name| of_levels(&name)) {
        for (_, member) in heal.living() {
            member.ask(|storage| {
                storage.list(Some(&folder), Depth::All, &mut |row| {
                    if let Listed::Object { name, .. } = row
                        && !names.contains(&name)
                        && matches!(role_of(&name), Role::Document(_))
                    {
                        alive.insert(name);
                    }
                    Ok(())
                })
            });
        }
    }
    let chains: BTreeSet<ChainOf> = alive
        .iter()
        .filter_map(|name| match role_of(name) {
            Role::Document(location) => Some(chain_of(&location)),
            _ => None,
        })
        .collect();
    let mut kept = BTreeSet::new();
    for name in names {
        let is_kept = match role_of(name) {
            Role::Free => false,
            Role::Needed => true,
            Role::Document(location) => chains.contains(&chain_of(&location)),
            // Its document is there, and stays: because nobody removed it, or because its chain is kept.
            Role::Content(location) => {
                let document = location.metadata()?;
                let is_candidate = candidates.iter().any(|(name, _)| *name == document);
                alive.contains(&document) || (is_candidate && chains.contains(&chain_of(&location)))
            }
        };
        if is_kept {
            kept.insert(name.clone());
        }
    }
    Ok(kept)
}

impl Removals {
    /// Removes what is doomed, if every member can be asked whether something builds on it; then the notes, which are of no use any more.
    pub fn carry_out(self, heal: &mut Heal<'_>) -> Result<()> {
        let Removals { mut doomed, noted } = self;
        if heal.living().count() < heal.members.len() {
            return Ok(());
        }
        // Documents first, and the highest level first, so that whatever stops this leaves a shorter chain.
        doomed.sort_by_key(|(name, _)| match role_of(name) {
            Role::Document(location) => (false, std::cmp::Reverse(location.entry.level.number())),
            _ => (true, std::cmp::Reverse(0)),
        });
        for (name, there) in &doomed {
            heal.monitor.check()?;
            let mut removed = Vec::new();
            for place in there {
                if heal.members[*place].ask(|storage| storage.delete(name)).done().is_some() {
                    removed.push(*place);
                }
            }
            if !removed.is_empty() {
                heal.note(Done::Removed, name, &removed);
            }
        }
        if heal.living().count() < heal.members.len() || heal.report.unsettled > 0 {
            return Ok(());
        }
        for (name, carriers) in noted {
            let note = heal.mirror.note_of(&name)?;
            for place in carriers {
                // One that is gone already is of no use either.
                drop(heal.members[place].ask(|storage| storage.delete(&note)));
            }
        }
        Ok(())
    }
}
