//! Writing what the levels of a chain come to, lowest first. A file is put together under its name: its content at the level
//! that has all of it, then the blocks of the levels above, each time into a new inode that takes the place of the last one.
//!
//! Invariant: what the last level has not is never written, so nothing has to be taken away again but a file that turns out to
//! be no longer whole. What stands in the target is asked for once, before the first level writes there.

mod content;
mod selection;
mod told;

use super::ends::Ends;
use super::plan::{Plan, State, known, number_of};
use super::signatures::Signatures;
use super::stored::{Entry, Record, What};
use super::stream::read;
use crate::engine::overwrite::{Decision, Offer};
use crate::engine::paths::Paths;
use crate::engine::tar::restore::verification::Written;
use crate::engine::wanted::Chosen;
use crate::engine::{Chain, Overwrite, Reading, RestoreJob};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::Event;
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use crate::tree::owner::Owners;
use crate::tree::target::Target;
use std::collections::BTreeSet;
use std::io::Read;
use told::Told;

/// Replays every level of `chain`.
pub(super) fn run(job: RestoreJob<'_>, chain: &mut dyn Chain, target: Option<&mut Target<'_>>) -> Result<()> {
    let mut plan = Plan::survey(chain, job.monitor)?;
    let ends = Ends::find(chain, &mut plan)?;
    let chosen = job.wanted.choose(&mut |path| Ok(plan.place(path)))?;
    let used = selection::look_up(&job, chain, &plan, &chosen)?;
    let signatures = Signatures::load(chain, &plan, job.scratch)?;
    let mut target = target;
    if let Some(target) = target.as_deref_mut() {
        target.set_base(chosen.root())?;
        if let Some(excluded) = chosen.exclusion() {
            target.spare(excluded);
        }
    }
    let written = (job.verify && target.is_some()).then(|| Written::new(job.scratch));
    let mut replay = Replay {
        job: &job,
        target,
        plan,
        chosen,
        used,
        opened: Paths::default(),
        settled: Paths::default(),
        staying: Paths::default(),
        kept: 0,
        signatures,
        written,
        owners: Owners::new(),
        unknown_owners: BTreeSet::new(),
        told: Told::default(),
        buffer: vec![0; READ_BYTES],
    };
    replay.purge_root()?;
    for level in 0..chain.levels() {
        let (known, number) = (known(chain, level), number_of(level)?);
        chain.stream(level, &mut |input| {
            read(input, known, job.scratch, job.monitor, &mut |_, record, content| {
                replay.record(number, record, content)
            })?;
            Ok(Reading::ToTheEnd)
        })?;
    }
    replay.finish(&ends)
}

struct Replay<'j, 't, 'm> {
    job: &'j RestoreJob<'j>,
    target: Option<&'t mut Target<'m>>,
    plan: Plan,
    chosen: Chosen,
    /// Directories above what is wanted, where not everything is.
    used: Paths,
    /// Directories that were made, or are there and taken.
    opened: Paths,
    /// What is done with, whatever a later level has: it stays as it is, or failed.
    settled: Paths,
    /// Files that stay, since they count as what the last level has.
    staying: Paths,
    /// Entries that stay since the policy says so.
    kept: u64,
    signatures: Option<Signatures>,
    written: Option<Written>,
    owners: Owners,
    unknown_owners: BTreeSet<Vec<u8>>,
    told: Told,
    buffer: Vec<u8>,
}

impl Replay<'_, '_, '_> {
    fn record(&mut self, level: u32, record: Record, content: &mut dyn Read) -> Result<()> {
        let Record { path, refused, what: What::Entry(mut entry), .. } = record else { return Ok(()) };
        let Some(state) = self.plan.get(&path).filter(|state| state.kind == Some(entry.kind)) else {
            return Ok(());
        };
        let is_directory = entry.kind == FileKind::Directory;
        let wanted = self.wants(&path, is_directory) || (is_directory && self.is_above(&path));
        if !wanted || self.settled.contains(&path) {
            return Ok(());
        }
        let last = level == state.last;
        if refused {
            let error = Error::invalid("not a path in a backup:", lossy(&path));
            return if last { self.lose(&path, &error) } else { Ok(()) };
        }
        self.name_owners(&path, &mut entry.attributes);
        let done = match entry.kind {
            FileKind::Directory => self.directory(&path, state, entry.attributes, last),
            FileKind::File => self.file(&path, level, state, &entry, content),
            _ if !last => Ok(()),
            _ => self.special(&path, state, &entry),
        };
        match done {
            Err(error) if of_one_path(&error) => self.lose(&path, &error),
            other => other.map_err(|error| error.while_doing("cannot restore", lossy(&path))),
        }
    }

    /// What is done with an entry that is written for the first time, going by what stands in its place. What stays is counted.
    fn decide(&mut self, path: &[u8], kind: FileKind, state: State) -> Result<Decision> {
        let (Some(policy), Some(target)) = (self.job.overwrite, self.target.as_deref_mut()) else {
            return Ok(Decision::Make);
        };
        let size_bytes = (kind == FileKind::File).then_some(state.size_bytes);
        let decision =
            policy.decide(target, path, Offer { kind, size_bytes, mtime: state.mtime, links: 1 })?;
        if decision == Decision::Keep {
            self.kept += 1;
        }
        if matches!(decision, Decision::Keep | Decision::Enter) {
            self.settled.insert(path)?;
        }
        Ok(decision)
    }

    fn directory(&mut self, path: &[u8], state: State, attributes: Attributes, last: bool) -> Result<()> {
        if !self.opened.contains(path) {
            if matches!(self.decide(path, FileKind::Directory, state)?, Decision::Keep | Decision::Enter) {
                return Ok(());
            }
            if let Some(target) = self.target.as_deref_mut() {
                target.directory(path)?;
            }
            self.opened.insert(path)?;
            if !path.is_empty() {
                self.purge(path)?;
            }
        }
        if !last {
            return Ok(());
        }
        if self.wants(path, true) {
            self.job.monitor.event(Event::Directory { path });
        }
        match self.target.as_deref_mut() {
            Some(target) => target.directory_attributes(path, attributes),
            None => Ok(()),
        }
    }

    /// Anything that is neither a directory nor a file.
    fn special(&mut self, path: &[u8], state: State, entry: &Entry) -> Result<()> {
        let made = match entry.kind {
            FileKind::Symlink | FileKind::Fifo => Ok(()),
            FileKind::CharDevice | FileKind::BlockDevice => {
                Err("Freezer never stored the numbers of a device:")
            }
            _ => Err("cannot be made, being of no type that a restore can make:"),
        };
        if let Err(why) = made {
            return Err(Error::invalid(why, lossy(path)));
        }
        if self.decide(path, entry.kind, state)? == Decision::Keep {
            return Ok(());
        }
        if let Some(target) = self.target.as_deref_mut() {
            match entry.kind {
                FileKind::Symlink => target.symlink(path, &entry.points_to, &entry.attributes)?,
                _ => target.fifo(path, &entry.attributes)?,
            }
        }
        self.job.monitor.event(Event::Entry { path, bytes: 0 });
        Ok(())
    }

    /// The second engine stored names alone. Who is not known here has no number.
    fn name_owners(&mut self, path: &[u8], attributes: &mut Attributes) {
        if self.plan.dialect() != Some(super::Dialect::Second) {
            return;
        }
        let (user, group) = (self.owners.uid_of(&attributes.user), self.owners.gid_of(&attributes.group));
        attributes.uid = user.unwrap_or(rustix::process::geteuid().as_raw());
        attributes.gid = group.unwrap_or(rustix::process::getegid().as_raw());
        for (name, found) in [(&attributes.user, user), (&attributes.group, group)] {
            let is_new = found.is_none() && !name.is_empty() && !self.unknown_owners.contains(name);
            if is_new && self.unknown_owners.len() < told::NAMED {
                self.unknown_owners.insert(name.clone());
                let text = format!(
                    "there is no {} here, to whom {} belongs, and Freezer stored no number: what is theirs gets the owner of this process",
                    lossy(name),
                    lossy(path)
                );
                self.job.monitor.event(Event::Warning(&text));
            }
        }
    }

    /// Tells that a path is not restored, and has no later level try it again.
    fn lose(&mut self, path: &[u8], error: &Error) -> Result<()> {
        self.job.monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
        self.settled.insert(path)
    }

    /// Tells what was in the ends that were never stored.
    fn tell_ends(&mut self, ends: &Ends) -> Result<()> {
        match ends {
            Ends::AllThere => Ok(()),
            Ends::Unknown => {
                let what = "Freezer never stored the last bytes of what its rsync engine encrypted, up to 15 of each level, and \
                            without engine_metadata nothing tells what was in them";
                let error = Error::new(Kind::Io, what);
                let path = "the end of the backup";
                self.job.monitor.event(Event::Problem { path, error: &error, lost: true });
                Ok(())
            }
            Ends::Lacking(lost) => {
                if lost.is_empty() && self.plan.cut().next().is_none() {
                    self.job.monitor.event(Event::Warning(
                        "Freezer never stored the last bytes of what its rsync engine encrypted, up to 15 of each level; going by its \
                         record of files none of them is lacking by that",
                    ));
                }
                for path in lost.iter().filter(|path| self.wants(path, false)).cloned().collect::<Vec<_>>() {
                    let what = "was in the last bytes of a level, which Freezer never stored, and so it is not restored:";
                    self.lose(&path, &Error::new(Kind::Io, what).on(lossy(&path)))?;
                }
                Ok(())
            }
        }
    }

    fn finish(mut self, ends: &Ends) -> Result<()> {
        self.tell_ends(ends)?;
        if let (Some(written), Some(target)) = (&mut self.written, self.target.as_deref_mut()) {
            target.sync()?;
            written.check(&mut target.files(), self.job.monitor)?;
        }
        if self.kept > 0 {
            self.job.monitor.event(Event::Kept { entries: self.kept });
        }
        self.told.tell(self.plan.dialect(), self.job.monitor);
        if let Some(written) = &self.written {
            written.tell_what_was_passed_over(self.job.monitor);
        }
        self.written.map_or(Ok(()), Written::into_result)
    }
}

/// Trouble that concerns one path; the restore goes on and ends as failed. Everything else ends it at once.
fn of_one_path(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::NoSpace | Kind::Interrupted | Kind::Stopped | Kind::Damaged | Kind::Limit | Kind::Unsupported
    )
}
