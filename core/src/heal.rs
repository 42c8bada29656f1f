//! The verb `heal`: storages of a mirror that have missed something are brought up to the others. `docs/format/mirror.md` says by
//! which rules.
//!
//! What they hold is compared by listing them; nobody has to remember what a storage has missed. Invariants: what an object refers to is
//! copied before it; bytes that are known to be damaged are not copied, and bytes that nobody vouches for replace nothing; nothing is
//! removed but what a member has noted as removed while others could not be reached, and only when all can be asked.

mod copying;
mod listing;
mod removals;

use crate::error::{Error, Kind, Result};
use crate::limits::{HEAL_PASSES, IDENTITY_BYTES};
use crate::monitor::Monitor;
use crate::name::ObjectName;
use crate::repository::Repository;
use crate::repository::copies::{self, Part};
use crate::storage::mirror::{Asked, Member, Mirror};
use listing::{Uneven, differences, size_on};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How to heal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Compare the bytes of what has one length everywhere too: all is read.
    pub read_data: bool,
}

/// What was done about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was missing, and has been copied.
    Copied,
    /// It was damaged, and sound bytes have taken its place.
    Repaired,
    /// It was removed elsewhere, and is now here.
    Removed,
    /// It was removed elsewhere and is kept all the same, since something builds on it.
    Kept,
    /// Members disagree on it and nothing says who is right, or every copy is damaged: it stays as it is.
    Unsettled,
}

/// One object about which something was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What.
    pub done: Done,
    /// The object.
    pub object: ObjectName,
    /// The members that it was done on.
    pub member: String,
}

/// What it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects copied to where they were missing.
    pub copied: u64,
    /// Their bytes, with those of what was repaired.
    pub copied_bytes: u64,
    /// Damaged objects replaced.
    pub repaired: u64,
    /// Objects removed that had been removed elsewhere.
    pub removed: u64,
    /// Objects kept against such a removal.
    pub kept: u64,
    /// Objects that members disagree on still.
    pub unsettled: u64,
}

/// Brings all members of `mirror` that live to the same state. `repository` was opened over it; what its vault is open for can be judged.
/// Each object that something is done about goes to `tell`.
///
/// A member that fails is out, as everywhere; the others go on. [`Mirror::settle`] tells.
///
/// # Errors
/// `Invalid` when the members are not copies of one repository; `Limit`; `Interrupted`; when none is left.
pub fn run(
    mirror: &Mirror,
    repository: &Repository,
    options: Options,
    monitor: &dyn Monitor,
    tell: &mut dyn FnMut(&Row),
) -> Result<Report> {
    refuse_strangers(mirror)?;
    let mut heal = Heal {
        mirror,
        members: mirror.members(),
        repository,
        options,
        monitor,
        tell,
        passed_over: BTreeSet::new(),
        held_back: BTreeSet::new(),
        report: Report::default(),
    };
    let removals = removals::plan(&mut heal)?;
    heal.pass_over_removed_snapshots()?;
    heal.level_all()?;
    heal.level_suspects()?;
    removals.carry_out(&mut heal)?;
    if heal.living().next().is_none() {
        return Err(Error::new(Kind::Io, "no storage is left of the").on(mirror_label(mirror)));
    }
    if heal.report.unsettled == 0 {
        // None that was held back lives.
        heal.living().for_each(|(_, member)| member.is_even());
    }
    Ok(heal.report)
}

/// Refuses members that are not copies of one repository, and places that are used for something else. Looked at before anything is
/// written through a mirror. Gives the members with nothing in them, where others have the repository: who did not ask for another copy
/// there may have a disk that is not mounted.
///
/// # Errors
/// `Invalid` naming both.
pub fn refuse_strangers(mirror: &Mirror) -> Result<Vec<Arc<Member>>> {
    let mut is_marked = vec![false; mirror.members().len()];
    for name in copies::identity()? {
        let mut first: Option<(&str, Vec<u8>)> = None;
        for (place, member) in mirror.members().iter().enumerate() {
            let Some(bytes) = member.ask(|storage| storage.read_small(&name, IDENTITY_BYTES)).done() else {
                continue;
            };
            is_marked[place] = true;
            match &first {
                None => first = Some((member.label(), bytes)),
                Some((_, same)) if *same == bytes => (),
                Some((other, _)) => {
                    let both = format!("{other} and {}", member.label());
                    return Err(Error::invalid(
                        format!("{name} differs, so these hold not one repository:"),
                        both,
                    )
                    .hint("make a mirror of copies of one repository and of empty places only"));
                }
            }
        }
    }
    let mut vacant = Vec::new();
    if !is_marked.contains(&true) {
        return Ok(vacant);
    }
    for (_, member) in is_marked.iter().zip(mirror.members()).filter(|(is_marked, _)| !**is_marked) {
        if let Asked::Done(true) = member.ask(copies::is_vacant) {
            vacant.push(Arc::clone(member));
        }
        if let Asked::Done(true) = member.ask(copies::is_foreign) {
            return Err(Error::invalid("is used for something else:", member.label())
                .hint("name an empty place, or a copy of the same repository"));
        }
    }
    Ok(vacant)
}

fn mirror_label(mirror: &Mirror) -> String {
    crate::storage::Storage::label(mirror)
}

/// A run.
struct Heal<'h> {
    mirror: &'h Mirror,
    members: &'h [Arc<Member>],
    repository: &'h Repository,
    options: Options,
    monitor: &'h dyn Monitor,
    tell: &'h mut dyn FnMut(&Row),
    /// What was removed on purpose, and is not copied to where it is missing.
    passed_over: BTreeSet<ObjectName>,
    /// Members that lack something which backups may need and which somebody has removed while it was copied.
    held_back: BTreeSet<usize>,
    report: Report,
}

impl<'h> Heal<'h> {
    /// Members that live, with their places.
    fn living(&self) -> impl Iterator<Item = (usize, &'h Arc<Member>)> + use<'h> {
        self.members.iter().enumerate().filter(|(_, member)| member.lives())
    }

    fn note(&mut self, done: Done, object: &ObjectName, members: &[usize]) {
        let count = match done {
            Done::Copied => &mut self.report.copied,
            Done::Repaired => &mut self.report.repaired,
            Done::Removed => &mut self.report.removed,
            Done::Kept => &mut self.report.kept,
            Done::Unsettled => &mut self.report.unsettled,
        };
        *count = count.saturating_add(1);
        let labels: Vec<&str> = members.iter().map(|place| self.members[*place].label()).collect();
        (self.tell)(&Row { done, object: object.clone(), member: labels.join(", ") });
    }

    /// A snapshot that a removal names is no backup: it is left where it is, and not copied.
    fn pass_over_removed_snapshots(&mut self) -> Result<()> {
        if let Some(vault) = self.repository.vault() {
            self.passed_over.extend(vault.removed_names()?);
        }
        Ok(())
    }

    /// Makes all parts alike; anew when what was listed was removed before it was copied: something else may have taken its place since.
    fn level_all(&mut self) -> Result<()> {
        for _ in 0..HEAL_PASSES {
            self.held_back.clear();
            self.report.unsettled = 0;
            self.level_parts()?;
            if self.held_back.is_empty() {
                return Ok(());
            }
        }
        for place in &self.held_back {
            let what = "others remove what is copied to it, again and again:";
            self.members[*place].fail(Error::new(Kind::Busy, what).on(self.members[*place].label()));
        }
        Ok(())
    }

    /// Lists from the last part to the first, copies from the first to the last.
    fn level_parts(&mut self) -> Result<()> {
        let mut listed: Vec<(Part, Vec<Uneven>)> = Vec::new();
        for part in copies::parts()?.into_iter().rev() {
            let is_bulk = matches!(part, Part::Folder { is_bulk: true, .. });
            let uneven = if is_bulk { Vec::new() } else { self.uneven(&part)? };
            listed.push((part, uneven));
        }
        for (part, uneven) in listed.into_iter().rev() {
            match part {
                Part::Folder { is_bulk: true, .. } => {
                    differences(self, &part, &mut |heal, one| heal.level(&one, true))?
                }
                _ => self.level_in_order(uneven)?,
            }
        }
        Ok(())
    }

    fn uneven(&mut self, part: &Part) -> Result<Vec<Uneven>> {
        let mut uneven = Vec::new();
        differences(self, part, &mut |_, one| {
            uneven.push(one);
            Ok(())
        })?;
        Ok(uneven)
    }

    /// A level after those it builds on.
    fn level_in_order(&mut self, mut uneven: Vec<Uneven>) -> Result<()> {
        uneven.sort_by_cached_key(|one| (removals::height(&one.name), one.name.clone()));
        uneven.iter().try_for_each(|one| self.level(one, false))
    }

    /// What was read and turned out to be damaged, where there is another copy.
    fn level_suspects(&mut self) -> Result<()> {
        for name in self.mirror.take_suspects() {
            if self.living().count() < 2 {
                continue;
            }
            let sizes = self.members.iter().map(|member| size_on(member, &name)).collect();
            self.level(&Uneven { name, sizes, is_mixed: true }, true)?;
        }
        Ok(())
    }
}
