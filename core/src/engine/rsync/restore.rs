//! Applying a chain to a target. The state of the last level says what the whole tree is; so everything but contents is made at
//! once where it belongs ([`plan`]), and then the streams are read, from the lowest level up, for the records that make the
//! contents that are wanted ([`content`]).
//!
//! Invariants: a content is made in a new file that takes the place of what stood there when it is whole and has the hash that
//! its record says; the last one also has the one that the state says. Nothing is deleted unless the user asked for it, and
//! nothing on account of what could not be read when the backup was made. Memory: 16 bytes for each record that is needed and
//! for each file; paths of files with several names.

mod choice;
mod content;
mod plan;
mod verification;

use super::join;
use super::state::{Item, Row, RowKind, State};
use super::tree::last_state;
use crate::engine::wanted::Chosen;
use crate::engine::{Chain, RestoreJob};
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::tree::directory::lossy;
use crate::tree::target::Target;
use std::collections::{HashMap, HashSet};

/// Restores the last level of `chain`.
pub(super) fn run(job: RestoreJob<'_>, chain: &mut dyn Chain, target: Option<&mut Target<'_>>) -> Result<()> {
    let mut state = last_state(chain, job.scratch)?;
    let chosen = choice::choose(job.wanted, &mut state)?;
    let mut target = target;
    if let Some(target) = target.as_deref_mut() {
        target.set_base(chosen.root())?;
        if let Some(excluded) = chosen.exclusion() {
            target.spare(excluded);
        }
    }
    let mut restore = Restore {
        job: &job,
        chosen,
        target,
        state,
        destinations: Vec::new(),
        needs: Vec::new(),
        failed: HashSet::new(),
        firsts: HashMap::new(),
        further: Vec::new(),
        staying: HashSet::new(),
        kept: 0,
    };
    restore.plan()?;
    restore.contents(chain)?;
    restore.link()?;
    restore.verify()?;
    if restore.kept > 0 {
        job.monitor.event(Event::Kept { entries: restore.kept });
    }
    Ok(())
}

struct Restore<'j, 't, 'm> {
    job: &'j RestoreJob<'j>,
    chosen: Chosen,
    target: Option<&'t mut Target<'m>>,
    /// Of the last level.
    state: State,
    /// The files that are made.
    destinations: Vec<Destination>,
    /// The records that make them.
    needs: Vec<Need>,
    /// Destinations that could not be made; each was told.
    failed: HashSet<u32>,
    /// Of entries with several names the one that was met first.
    firsts: HashMap<u64, First>,
    /// Names that become links: their paths, and what they have in common with the first one.
    further: Vec<(Vec<u8>, u64)>,
    /// Files with several names that stay, by device and inode: each can stay for one file of the backup only.
    staying: HashSet<(u64, u64)>,
    kept: u64,
}

/// A file: where its directory and its entry are in the state.
#[derive(Clone, Copy)]
struct Destination {
    directory: u64,
    entry: u64,
}

/// A record that a destination needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    level: u32,
    record: u64,
    destination: u32,
}

/// The name that further ones are linked to.
struct First {
    path: Vec<u8>,
    /// Where its content is made, if it has one.
    destination: Option<u32>,
    is_lost: bool,
}

impl Restore<'_, '_, '_> {
    /// The path and the entry of a destination.
    fn destination(&mut self, number: u32) -> Result<(Vec<u8>, Row)> {
        let Destination { directory, entry } = self.destinations[number as usize];
        match (self.state.item_at(directory)?, self.state.item_at(entry)?) {
            (Item::Directory(directory), Item::Entry(row)) if matches!(row.kind, RowKind::File(_)) => {
                Ok((join(&directory.path, &row.name), row))
            }
            _ => Err(Error::damaged("no file where one should be in", "the state of a level")),
        }
    }

    /// Gives further names to what has several.
    fn link(&mut self) -> Result<()> {
        for (path, link) in std::mem::take(&mut self.further) {
            self.job.monitor.check()?;
            let Some(first) = self.firsts.get(&link) else { continue };
            let is_lost =
                first.is_lost || first.destination.is_some_and(|number| self.failed.contains(&number));
            let done = match self.target.as_deref_mut() {
                // Whatever stands under that name is something else.
                _ if is_lost => {
                    let what = "is a further name of a file that could not be restored:";
                    Err(Error::new(Kind::NotFound, what).on(lossy(&first.path)))
                }
                Some(target) => target.hard_link(&path, &first.path),
                None => Ok(()),
            };
            if self.of_one_path(&path, done)? {
                self.job.monitor.event(Event::Entry { path: &path, bytes: 0 });
            }
        }
        Ok(())
    }

    fn lose(&self, path: &[u8], error: &Error) {
        self.job.monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
    }

    /// Tells of trouble that concerns one path; any other is handed on. Whether there was none.
    fn of_one_path(&self, path: &[u8], done: Result<()>) -> Result<bool> {
        match done {
            Ok(()) => Ok(true),
            Err(error) if concerns_one(&error) => {
                self.lose(path, &error);
                Ok(false)
            }
            Err(error) => Err(error.while_doing("cannot restore", lossy(path))),
        }
    }
}

/// Trouble that concerns one path; the restore goes on and ends as failed. Everything else ends it at once.
fn concerns_one(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::NoSpace | Kind::Interrupted | Kind::Stopped | Kind::Damaged | Kind::Limit | Kind::Unsupported
    )
}

/// Whether `path` is `above` or lies below it.
fn is_within(path: &[u8], above: &[u8]) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| above.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}
