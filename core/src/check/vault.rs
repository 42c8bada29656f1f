//! The vault: config, keys and documents; whether every pack is there in full length; on request the bytes of packs; and whether
//! every tree and every chunk it refers to can be had.

use super::amount::Choice;
use super::sessions::by;
use super::{Check, Finding, FindingKind, kind_of, of_the_backup};
use crate::engine::{Examination, Flaw, ObjectEngine, dedup};
use crate::error::Result;
use crate::limits::{CHECKED_PACKS_WAITING, ORPHAN_GRACE_SECONDS};
use crate::name::ObjectName;
use crate::pipe;
use crate::repository::BackupId;
use crate::repository::vault::names::{self, Folder};
use crate::repository::vault::{Decoder, Index, ObjectId, PackRef, Reader, Vault, index, seal};
use crate::select;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Checks the vault. What belongs to no series is looked at whatever backups are meant.
pub(super) fn run(check: &mut Check<'_>, vault: &Vault) -> Result<()> {
    let examined = vault.examine()?;
    examined.strays.iter().for_each(|stray| check.stray(stray));
    for (name, error) in &examined.damaged {
        match names::object_of(&ObjectName::new(name.as_str())?) {
            Some((Folder::Sessions, id)) => {
                check.find(kind_of(error), name.clone(), format!("{error}; {}", ended_by(id)));
            }
            _ => check.wrong_with(name, error),
        }
    }
    sessions(check, vault)?;
    let index = match sound_index(check, vault) {
        Ok(index) => Arc::new(index),
        Err(error) if of_the_backup(&error) => {
            // Without it nothing more can be known.
            check.wrong("dedup/index", &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let packs: Vec<(PackRef, ObjectId, u64)> =
        index.packs().map(|(pack, info)| (pack, info.id, u64::from(info.size_bytes))).collect();
    let mut suspects = presence(check, vault, &index, &packs)?;
    suspects.extend(data(check, vault, &index, &packs, &suspects)?);
    trees(check, vault, index, &suspects)
}

/// Runs that are announced: those that are over are what killed runs left, those that began long ago are told, and what began of
/// late is most likely writing.
fn sessions(check: &mut Check<'_>, vault: &Vault) -> Result<()> {
    for (id, session) in vault.sessions()?.found {
        let age = check.options.now.0.saturating_sub(session.started.0);
        let is_over = (check.options.is_over)(&session);
        if !is_over && age < ORPHAN_GRACE_SECONDS {
            continue;
        }
        let mut text = format!("a run announced {} hours ago by {}", age.max(0) / 3600, by(&session));
        let kind = match is_over {
            true => {
                check.report.orphans += 1;
                text.push_str(", which was killed");
                FindingKind::Orphan
            }
            false => {
                text.push_str("; whether it goes on cannot be told from here: ");
                text.push_str(&ended_by(id));
                FindingKind::Session
            }
        };
        if is_over && check.options.clean_older_than.is_some() {
            vault.end_session(id)?;
            check.report.cleaned += 1;
            text.push_str(", removed");
        }
        check.find(kind, Folder::Sessions.object(id)?.to_string(), text);
    }
    Ok(())
}

/// What ends a session of which only the user can know that it is of no use.
fn ended_by(id: ObjectId) -> String {
    format!("if that run surely is over, icecore check --end-session {id} removes it")
}

/// The index, and in it what is read back from packs for indexes that are damaged: each of those is a finding, and what it said is
/// not lost.
fn sound_index(check: &mut Check<'_>, vault: &Vault) -> Result<Index> {
    let mut index = Index::load_what_is_sound(vault, check.monitor)?;
    if index.damaged().is_empty() {
        return Ok(index);
    }
    for (id, error) in index.damaged() {
        check.wrong_with(Folder::Index.object(*id)?.as_str(), error);
    }
    // What cannot be used of the others is told with the packs.
    index.adopt(index::orphans(vault, &index)?.packs)?;
    Ok(index)
}

/// Whether every pack is there in full length; those that are not.
fn presence(
    check: &mut Check<'_>,
    vault: &Vault,
    index: &Index,
    packs: &[(PackRef, ObjectId, u64)],
) -> Result<HashSet<PackRef>> {
    // The index was read before: a pack that it names was there, and goes only when somebody takes it away.
    let listed = names::list(vault.storage().as_ref(), Folder::Packs)?;
    listed.strays.iter().for_each(|stray| check.stray(stray));
    let sizes: HashMap<ObjectId, u64> = listed.objects.iter().copied().collect();
    let mut suspects = HashSet::new();
    for (pack, id, expected) in packs {
        let (kind, error) = match sizes.get(id) {
            Some(size) if size == expected => continue,
            Some(size) => (FindingKind::Damaged, format!("{size} bytes long instead of {expected}")),
            None => (FindingKind::Missing, "a pack that the index knows is not there".to_owned()),
        };
        suspects.insert(*pack);
        check.find(kind, Folder::Packs.object(*id)?.to_string(), error);
    }
    if sizes.len() > packs.len() - suspects.len() {
        orphans(check, vault, index)?;
    }
    Ok(suspects)
}

/// What killed runs left behind, or running ones have not told yet. The next backup takes it in.
fn orphans(check: &mut Check<'_>, vault: &Vault, index: &Index) -> Result<()> {
    let orphans = index::orphans(vault, index)?;
    for pack in &orphans.packs {
        check.report.orphans += 1;
        check.report.unindexed += 1;
        let error = "a pack that no index knows; a later backup takes in what a killed run stored";
        check.find(FindingKind::Orphan, Folder::Packs.object(pack.id())?.to_string(), error.to_owned());
    }
    for (id, error) in &orphans.damaged {
        check.report.orphans += 1;
        check.report.unindexed += 1;
        let text = format!("a pack that no index knows and that cannot be read: {error}");
        check.find(FindingKind::Orphan, Folder::Packs.object(*id)?.to_string(), text);
    }
    Ok(())
}

/// Reads the packs that are to be read; those in which something is wrong.
fn data(
    check: &mut Check<'_>,
    vault: &Vault,
    index: &Arc<Index>,
    packs: &[(PackRef, ObjectId, u64)],
    suspects: &HashSet<PackRef>,
) -> Result<Vec<PackRef>> {
    let there: Vec<_> = packs.iter().filter(|(pack, ..)| !suspects.contains(pack)).collect();
    let choice = |(_, id, size_bytes): &&(PackRef, ObjectId, u64)| {
        let number = u64::from_le_bytes(std::array::from_fn(|at| id.0[at]));
        Choice { number, size_bytes: *size_bytes }
    };
    let choices: Vec<Choice> = there.iter().map(choice).collect();
    let chosen = check.options.read_data.choose(&choices, u64::from_le_bytes(seal::random()?));
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let reader = Reader::new(vault, Arc::clone(index));
    let (reader, monitor) = (&reader, check.monitor);
    let mut damaged = Vec::new();
    let produce = |sender: &mut pipe::Sender<(PackRef, ObjectId)>| {
        for at in chosen {
            monitor.check()?;
            sender.send((there[at].0, there[at].1))?;
        }
        Ok(())
    };
    let make_mapper = || {
        let mut decoder = Decoder::new()?;
        Ok(move |(pack, id): (PackRef, ObjectId)| {
            // One that cannot be read is a finding; the others are read all the same.
            Ok((pack, id, reader.read_pack(pack, &mut decoder)))
        })
    };
    pipe::run_mapped(CHECKED_PACKS_WAITING, check.options.workers, produce, make_mapper, |receiver| {
        while let Some((pack, id, outcome)) = receiver.receive()? {
            let name = Folder::Packs.object(id)?.to_string();
            match outcome {
                Ok(report) => {
                    check.report.read_bytes = check.report.read_bytes.saturating_add(report.read_bytes);
                    if !report.findings.is_empty() {
                        damaged.push(pack);
                    }
                    // The name of the pack: it is what has to be got back.
                    report.findings.iter().for_each(|finding| check.wrong_with(&name, &finding.error));
                }
                Err(error) if of_the_backup(&error) => {
                    damaged.push(pack);
                    check.wrong_with(&name, &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })?;
    Ok(damaged)
}

/// Walks the trees of the backups that are meant.
fn trees(check: &mut Check<'_>, vault: &Vault, index: Arc<Index>, suspects: &HashSet<PackRef>) -> Result<()> {
    // What is damaged of the snapshots themselves has been told.
    let snapshots = select::snapshots(check.repository, &check.options.filter)?.found;
    check.report.backups += snapshots.len() as u64;
    let roots: Vec<_> = snapshots.iter().map(|(_, snapshot)| snapshot.root).collect();
    let job = Examination { roots: &roots, index, suspects, monitor: check.monitor };
    let engine: &dyn ObjectEngine = &dedup::Dedup;
    for flaw in engine.examine(job, vault)? {
        let names = |root: usize| {
            let (id, snapshot) = &snapshots[root];
            format!("{} ({})", BackupId::of_snapshot(*id).short(), select::series_of(snapshot))
        };
        let kind = kind_of(&flaw.error);
        let error = told(&flaw, &names);
        check.report.problems += 1;
        (check.found)(&Finding { kind, object: format!("chunk {}", flaw.chunk), error });
    }
    Ok(())
}

/// What is wrong with a chunk, and which backups and paths need it.
fn told(flaw: &Flaw, names: &dyn Fn(usize) -> String) -> String {
    let needs = flaw.needs.iter().map(|need| {
        let more = if need.more > 0 { format!(" and {} more", need.more) } else { String::new() };
        format!("backup {} needs it for {}{more}", names(need.root), need.paths.join(", "))
    });
    std::iter::once(flaw.error.to_string()).chain(needs).collect::<Vec<_>>().join("; ")
}
