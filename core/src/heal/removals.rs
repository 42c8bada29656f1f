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

/// Objects, each with the members that have it.
type Objects = Vec<(ObjectName, Vec<usize>)>;

/// What notes speak of, with the members that carry them.
type Noted = BTreeMap<ObjectName, BTreeSet<usize>>;

/// What is to be removed, and the notes that say so.
pub(super) struct Removals {
    doomed: Objects,
    noted: Noted,
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
    let noted = read_notes(heal);
    let (doomed, spared) = decide(heal, &noted)?;
    for (name, there) in &spared {
        heal.note(Done::Kept, name, there);
    }
    heal.passed_over.extend(doomed.iter().map(|(name, _)| name.clone()));
    Ok(Removals { doomed, noted })
}

/// What the members note. One that cannot say is out.
fn read_notes(heal: &Heal<'_>) -> Noted {
    let mut noted = Noted::new();
    for (place, member) in heal.living() {
        for name in member.ask_to_list(|storage| heal.mirror.removals(storage)).unwrap_or_default() {
            noted.entry(name).or_default().insert(place);
        }
    }
    noted
}

/// What is to be removed, and what something builds on; each with the members that have it.
fn decide(heal: &Heal<'_>, noted: &Noted) -> Result<(Objects, Objects)> {
    let mut candidates = Objects::new();
    for (name, carriers) in noted {
        heal.monitor.check()?;
        let has = |(_, member): &(usize, &Arc<Member>)| stat(member, name).is_there();
        let there: Vec<usize> = heal.living().filter(has).map(|(place, _)| place).collect();
        let is_void = carriers.iter().all(|carrier| there.contains(carrier));
        if !is_void && !there.is_empty() {
            candidates.push((name.clone(), there));
        }
    }
    let kept = builds_on(heal, &candidates)?;
    Ok(candidates.into_iter().partition(|(name, _)| !kept.contains(name)))
}

fn stat(member: &Member, name: &ObjectName) -> Asked<Stat> {
    member.ask_about(|storage| storage.stat(name))
}

type ChainOf = (String, String, i64);

fn chain_of(location: &BackupLocation) -> ChainOf {
    (location.engine.clone(), location.name.to_string(), location.chain.0)
}

/// Which of the candidates something builds on.
fn builds_on(heal: &Heal<'_>, candidates: &Objects) -> Result<BTreeSet<ObjectName>> {
    let names: BTreeSet<&ObjectName> = candidates.iter().map(|(name, _)| name).collect();
    let of_levels = |name: &&ObjectName| matches!(role_of(name), Role::Document(_) | Role::Content(_));
    // The documents that nobody removed, as far as any member lists them.
    let mut alive: BTreeSet<ObjectName> = BTreeSet::new();
    let folder = copies::documents()?;
    if names.iter().copied().any(|name| of_levels(&name)) {
        for (_, member) in heal.living() {
            // One that cannot list is out, and then nothing is removed.
            member.ask_to_list(|storage| {
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
        add_unlisted(heal, &names, &mut alive)?;
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

/// A list may lack a document. What its level holds may be listed all the same: then the document is asked for by its name.
fn add_unlisted(
    heal: &Heal<'_>,
    names: &BTreeSet<&ObjectName>,
    alive: &mut BTreeSet<ObjectName>,
) -> Result<()> {
    let folders = names.iter().filter_map(|name| match role_of(name) {
        Role::Document(location) | Role::Content(location) => Some(copies::content_of(&location)),
        _ => None,
    });
    let folders: BTreeSet<ObjectName> = folders.collect::<Result<_>>()?;
    let mut unlisted: BTreeSet<ObjectName> = BTreeSet::new();
    for folder in &folders {
        for (_, member) in heal.living() {
            member.ask_to_list(|storage| {
                storage.list(Some(folder), Depth::All, &mut |row| {
                    let Listed::Object { name, .. } = row else { return Ok(()) };
                    if let Role::Content(location) = role_of(&name) {
                        unlisted.insert(location.metadata()?);
                    }
                    Ok(())
                })
            });
        }
    }
    unlisted.retain(|document| !names.contains(document) && !alive.contains(document));
    alive.extend(unlisted.into_iter().filter(|document| is_anywhere(heal, document)));
    Ok(())
}

fn is_anywhere(heal: &Heal<'_>, name: &ObjectName) -> bool {
    heal.living().any(|(_, member)| stat(member, name).is_there())
}

impl Removals {
    /// Removes what is doomed, if every member can be asked whether something builds on it; then the notes, which are of no use any more.
    /// Copying may have taken hours, in which somebody has gone on with a chain or made anew what was removed: all is decided once more,
    /// and what is doomed both times goes.
    pub fn carry_out(self, heal: &mut Heal<'_>) -> Result<()> {
        if heal.living().count() < heal.members.len() {
            return Ok(());
        }
        let Removals { doomed: before, noted } = self;
        let before: BTreeSet<ObjectName> = before.into_iter().map(|(name, _)| name).collect();
        let (mut doomed, _) = decide(heal, &read_notes(heal))?;
        let since: BTreeSet<ObjectName> = doomed.iter().map(|(name, _)| name.clone()).collect();
        doomed.retain(|(name, _)| before.contains(name));
        if heal.living().count() < heal.members.len() {
            return Ok(());
        }
        // Documents first, and the highest level first, so that whatever stops this leaves a shorter chain.
        doomed.sort_by_key(|(name, _)| match role_of(name) {
            Role::Document(location) => (false, std::cmp::Reverse(location.entry.level.number())),
            _ => (true, std::cmp::Reverse(0)),
        });
        let (documents, others): (Objects, Objects) =
            doomed.into_iter().partition(|(name, _)| matches!(role_of(name), Role::Document(_)));
        let mut gone: BTreeSet<ObjectName> = BTreeSet::new();
        for (name, there) in &documents {
            remove(heal, name, there)?;
            gone.insert(name.clone());
        }
        remove_stranded(heal, &documents)?;
        for (name, there) in &others {
            remove(heal, name, there)?;
            gone.insert(name.clone());
        }
        if heal.living().count() < heal.members.len() || heal.report.unsettled > 0 {
            return Ok(());
        }
        // What one of the two looks alone would have removed is judged again next time.
        let is_done =
            |name: &ObjectName| gone.contains(name) || !(before.contains(name) || since.contains(name));
        for (name, carriers) in noted.iter().filter(|(name, _)| is_done(name)) {
            let note = heal.mirror.note_of(name)?;
            for place in carriers {
                // One that is gone already is of no use either.
                drop(heal.members[*place].ask_to_delete(|storage| storage.delete(&note)));
            }
        }
        Ok(())
    }
}

fn remove(heal: &mut Heal<'_>, name: &ObjectName, there: &[usize]) -> Result<()> {
    heal.monitor.check()?;
    let mut removed = Vec::new();
    for place in there {
        if heal.members[*place].ask_to_delete(|storage| storage.delete(name)).done().is_some() {
            removed.push(*place);
        }
    }
    if !removed.is_empty() {
        heal.note(Done::Removed, name, &removed);
    }
    Ok(())
}

/// A level that was committed while its chain was removed has lost what it builds on: whoever commits looks from the other side.
fn remove_stranded(heal: &mut Heal<'_>, documents: &Objects) -> Result<()> {
    let mut chains: BTreeMap<ObjectName, ObjectName> = BTreeMap::new();
    for (name, _) in documents {
        if let Role::Document(location) = role_of(name) {
            chains.insert(copies::documents_of(&location)?, copies::first_document_of(&location)?);
        }
    }
    for (folder, first) in chains {
        let mut stranded: BTreeMap<ObjectName, Vec<usize>> = BTreeMap::new();
        for (place, member) in heal.living() {
            member.ask_to_list(|storage| {
                storage.list(Some(&folder), Depth::All, &mut |row| {
                    if let Listed::Object { name, .. } = row
                        && matches!(role_of(&name), Role::Document(_))
                    {
                        stranded.entry(name).or_default().push(place);
                    }
                    Ok(())
                })
            });
        }
        // Made anew from its start: that is asked for by its name, which a list may lack. Who cannot be asked may have it.
        if is_anywhere(heal, &first) || heal.living().count() < heal.members.len() {
            continue;
        }
        let mut stranded: Objects = stranded.into_iter().collect();
        stranded.sort_by_key(|(name, _)| std::cmp::Reverse(height(name)));
        for (name, there) in &stranded {
            remove(heal, name, there)?;
        }
    }
    Ok(())
}
