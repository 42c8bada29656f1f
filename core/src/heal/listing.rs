//! What members have of a part, side by side. Of each folder the children are compared one after the other, so that no more names are in
//! memory than one of them has.

use super::Heal;
use crate::error::{Error, Kind, Result};
use crate::limits::HEAL_ROWS;
use crate::name::ObjectName;
use crate::repository::copies::{self, Part};
use crate::storage::mirror::{Asked, Member};
use crate::storage::{Depth, Listed};
use std::collections::{BTreeMap, BTreeSet};

/// An object that members do not have alike.
#[derive(Debug, Clone)]
pub(super) struct Uneven {
    pub name: ObjectName,
    /// How long it is on each member, by place; none where it is missing.
    pub sizes: Vec<Option<u64>>,
    /// Whether those that have it differ in it.
    pub is_mixed: bool,
}

/// What stands for the length of an object that its member says is damaged: no object is so long, and whoever reads it is told.
const DAMAGED_BYTES: u64 = u64::MAX;

/// How long an object is on a member; none where it is missing.
pub(super) fn size_on(member: &Member, name: &ObjectName) -> Option<u64> {
    match member.ask_about(|storage| storage.stat(name)) {
        Asked::Done(stat) => Some(stat.size_bytes),
        asked => asked.is_damaged().then_some(DAMAGED_BYTES),
    }
}

/// Takes what differs.
pub(super) type Take<'t, 'h> = &'t mut dyn FnMut(&mut Heal<'h>, Uneven) -> Result<()>;

#[derive(Default)]
struct Rows {
    objects: BTreeMap<ObjectName, Vec<Option<u64>>>,
    folders: BTreeSet<ObjectName>,
}

/// Hands on every object of a part that members do not have alike.
pub(super) fn differences<'h>(heal: &mut Heal<'h>, part: &Part, take: Take<'_, 'h>) -> Result<()> {
    match part {
        Part::Object(name) => {
            let sizes = heal.members.iter().map(|member| size_on(member, name)).collect();
            hand_on(heal, name.clone(), sizes, take)
        }
        Part::Folder { name, .. } => below(heal, name, take),
        Part::Rest => rest(heal, take),
    }
}

fn below<'h>(heal: &mut Heal<'h>, folder: &ObjectName, take: Take<'_, 'h>) -> Result<()> {
    let rows = list(heal, Some(folder), Depth::One)?;
    for (name, sizes) in rows.objects {
        hand_on(heal, name, sizes, take)?;
    }
    for folder in rows.folders {
        for (name, sizes) in list(heal, Some(&folder), Depth::All)?.objects {
            hand_on(heal, name, sizes, take)?;
        }
    }
    Ok(())
}

/// What stands at the top and below `dedup/` and is no part by itself.
fn rest<'h>(heal: &mut Heal<'h>, take: Take<'_, 'h>) -> Result<()> {
    let known = copies::folders_of_parts()?;
    let parts = copies::parts()?;
    let is_part = |name: &ObjectName| {
        parts.iter().any(|part| match part {
            Part::Object(part) | Part::Folder { name: part, .. } => part == name,
            Part::Rest => false,
        })
    };
    for top in [None, known.first()] {
        let rows = list(heal, top, Depth::One)?;
        for (name, sizes) in rows.objects.into_iter().filter(|(name, _)| !is_part(name)) {
            hand_on(heal, name, sizes, take)?;
        }
        let unknown = |folder: &ObjectName| {
            // What a file system has of its own is nobody's.
            let is_its_own = folder.as_str().starts_with('.') || folder.as_str() == "lost+found";
            !known.contains(folder) && !is_part(folder) && !is_its_own
        };
        for folder in rows.folders.into_iter().filter(unknown) {
            below(heal, &folder, take)?;
        }
    }
    Ok(())
}

/// What each member lists there. One that cannot is out.
fn list(heal: &Heal<'_>, prefix: Option<&ObjectName>, depth: Depth) -> Result<Rows> {
    let mut rows = Rows::default();
    for (place, member) in heal.living() {
        heal.monitor.check()?;
        let asked = member.ask(|storage| {
            storage.list(prefix, depth, &mut |row| {
                match row {
                    // Whatever is beyond the limit is only counted: the list itself is sound.
                    _ if rows.objects.len() > HEAL_ROWS => (),
                    Listed::Object { name, size_bytes } => {
                        let sizes =
                            rows.objects.entry(name).or_insert_with(|| vec![None; heal.members.len()]);
                        sizes[place] = Some(size_bytes);
                    }
                    Listed::Folder { name } => drop(rows.folders.insert(name)),
                    Listed::Stray { .. } => (),
                }
                Ok(())
            })
        });
        if let Asked::Refused(error) = asked {
            // A listing has no such answer.
            member.fail(error);
        }
    }
    if rows.objects.len() > HEAL_ROWS {
        let folder = prefix.map_or_else(|| "the storages".to_owned(), ToString::to_string);
        return Err(Error::new(Kind::Limit, "too many objects to compare in").on(folder));
    }
    Ok(rows)
}

/// Hands on what is not alike on all that live.
fn hand_on<'h>(
    heal: &mut Heal<'h>,
    name: ObjectName,
    sizes: Vec<Option<u64>>,
    take: Take<'_, 'h>,
) -> Result<()> {
    let mut there = heal.living().filter_map(|(place, _)| sizes[place]);
    let Some(first) = there.next() else { return Ok(()) };
    let differ = first == DAMAGED_BYTES || there.any(|size| size != first);
    let is_missing = heal.living().any(|(place, _)| sizes[place].is_none());
    let is_mixed = differ || (heal.options.read_data && heal.bytes_differ(&name, &sizes)?);
    if is_mixed || is_missing { take(heal, Uneven { name, sizes, is_mixed }) } else { Ok(()) }
}
