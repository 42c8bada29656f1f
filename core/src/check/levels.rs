//! The levels of chains: gaps, documents, objects, sizes, and on request every byte; and what killed runs left of them.

use super::{Amount, Check, FindingKind, of_the_backup};
use crate::chain::StoredChain;
use crate::engine::{self, Chain as _, StreamEngine, Way};
use crate::error::{Error, Kind, Result};
use crate::level::BackupEntry;
use crate::monitor::Event;
use crate::repository::document::Scheme;
use crate::repository::reading::Step;
use crate::repository::{BackupLocation, Chain, Parents};
use crate::select;

/// Checks all levels that are meant.
pub(super) fn run(check: &mut Check<'_>) -> Result<()> {
    let (series, strays) = select::series(check.repository, &check.options.filter)?;
    strays.iter().for_each(|stray| check.stray(stray));
    let mut levels = Levels { check };
    for one in &series {
        let listed = levels.check.repository.chains(&one.engine, &one.name)?;
        listed.strays.iter().for_each(|stray| levels.check.stray(stray));
        for chain in &listed.chains {
            levels.chain(chain)?;
        }
    }
    levels.remains()
}

/// How many paths a finding names.
const NAMED: usize = 20;

/// What is known of the end of a level that was read.
enum Ends {
    /// It is there, or was not looked at.
    AllThere,
    /// It was never stored; this engine knows what follows from that.
    NeverStored(&'static dyn StreamEngine),
}

struct Levels<'c, 'a> {
    check: &'c mut Check<'a>,
}

impl Levels<'_, '_> {
    fn chain(&mut self, chain: &Chain) -> Result<()> {
        let mut parents = Parents::new();
        for entry in &chain.backups {
            self.check.monitor.check()?;
            self.check.report.backups += 1;
            let location = chain.location(*entry);
            let step = self.check.repository.step(location.clone());
            // Levels come from the lowest up: the parents of all that is below are known.
            parents.extend(step.iter().filter_map(|step| Some((*entry, step.parent()?))));
            if let Err(error) = chain.path_to(*entry, &parents) {
                self.check.find(FindingKind::Gap, location.to_string(), error.to_string());
            }
            match step.and_then(|step| self.level(step)).and_then(|ends| self.ends(chain, *entry, ends)) {
                Ok(()) => {}
                Err(error) if of_the_backup(&error) => self.check.wrong(&location.to_string(), &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One level alone: what is below it is looked at in its own turn.
    fn level(&self, step: Step) -> Result<Ends> {
        self.check.repository.verify_sizes(std::slice::from_ref(&step))?;
        if self.check.options.read_data != Amount::Everything {
            return Ok(Ends::AllThere);
        }
        self.check.repository.read_engine_metadata(&step, self.check.scratch)?;
        let Way::Levels(engine) = engine::by_name(&step.location.engine)?.way() else {
            let unknown = Error::new(Kind::Unsupported, "no engine reads levels that are named");
            return Err(unknown.on(&step.location.engine));
        };
        let has_hash = step.document.details.is_some();
        let opened = StoredChain::of_one(
            self.check.repository,
            step.clone(),
            self.check.options.keys,
            self.check.scratch,
            self.check.options.workers,
            self.check.monitor,
        );
        let mut chain = match opened {
            Err(error) if error.kind() == Kind::Invalid && has_hash => {
                return self.hash_alone(&step, &error).map(|()| Ends::AllThere);
            }
            Err(error) if error.kind() == Kind::Invalid => {
                let object = step.location.data()?.to_string();
                return Err(Error::new(Kind::Unsupported, "cannot be checked:").on(object).because(error));
            }
            opened => opened?,
        };
        if step.document.scheme() != &Scheme::None {
            chain.engine_metadata(0)?;
        }
        let object = step.location.data()?.to_string();
        engine.verify(&mut chain, self.check.monitor).map_err(|error| match error.kind() {
            // The decoder knows its stream by no name.
            Kind::Io | Kind::Denied => error.while_doing("cannot read", object),
            _ => error,
        })?;
        Ok(if chain.lacks_end(0) { Ends::NeverStored(engine) } else { Ends::AllThere })
    }

    /// What is lost where the end of a level was never stored: that takes all levels below, too.
    fn ends(&mut self, chain: &Chain, entry: BackupEntry, ends: Ends) -> Result<()> {
        let Ends::NeverStored(engine) = ends else { return Ok(()) };
        let (repository, monitor) = (self.check.repository, self.check.monitor);
        let (keys, scratch, workers) =
            (self.check.options.keys, self.check.scratch, self.check.options.workers);
        let mut stored = StoredChain::open(repository, chain, entry, keys, scratch, workers, monitor)?;
        let lost = engine.never_stored(&mut stored, monitor)?;
        let object = chain.location(entry).data()?.to_string();
        let what = "Freezer never stored the last bytes of it, up to 15 of each level";
        if lost.is_empty() {
            let text =
                format!("{object}: {what}; going by its record of files none of them is lacking by that");
            monitor.event(Event::Warning(&text));
            return Ok(());
        }
        let named = lost.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = lost.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.check.find(FindingKind::NeverStored, object, format!("{what}; lost by that: {named}{more}"));
        Ok(())
    }

    /// What nothing was given to open: whether it is as it was stored can be told all the same.
    fn hash_alone(&self, step: &Step, why: &Error) -> Result<()> {
        let mut reader = self.check.repository.data_reader(step)?;
        while reader.next_block()?.is_some() {
            self.check.monitor.check()?;
        }
        let text = format!("as it was stored, but not decrypted and not read: {why}");
        self.check.monitor.event(Event::Warning(&text));
        Ok(())
    }

    fn remains(&mut self) -> Result<()> {
        let remains = self.check.repository.remains(self.check.options.filter.engine.as_deref())?;
        self.claims(&remains.claims)?;
        for orphan in remains.orphans {
            if !self.check.options.filter.accepts(&orphan.location.name) {
                continue;
            }
            self.check.report.orphans += 1;
            let by = match &orphan.claimed_by {
                Some(claimant) => format!(", begun by process {} of {}", claimant.pid, claimant.host),
                None => String::new(),
            };
            let mut text =
                format!("data without a backup: {} objects, {} bytes{by}", orphan.objects, orphan.size_bytes);
            let old = self
                .check
                .options
                .clean_older_than
                .is_some_and(|limit| orphan.location.entry.timestamp < limit);
            if orphan.needed {
                text.push_str(
                    ", needed by the backups above it: its document was lost, and its data is kept",
                );
            } else if old {
                match self.check.repository.remove_orphan(&orphan) {
                    Ok(()) => {
                        self.check.report.cleaned += 1;
                        text.push_str(", removed");
                    }
                    Err(error) if error.kind() == Kind::Busy => {
                        self.check.monitor.event(Event::Warning(&error.to_string()))
                    }
                    Err(error) if of_the_backup(&error) => {
                        self.check.wrong(&orphan.location.to_string(), &error)
                    }
                    Err(error) => return Err(error),
                }
            }
            self.check.find(FindingKind::Orphan, orphan.location.to_string(), text);
        }
        Ok(())
    }

    /// Removes the claims of runs that were killed right after their commit. One whose run may still be about to look at it
    /// stays.
    fn claims(&mut self, claims: &[BackupLocation]) -> Result<()> {
        let Some(limit) = self.check.options.clean_older_than else { return Ok(()) };
        for location in claims.iter().filter(|location| self.check.options.filter.accepts(&location.name)) {
            // A document that cannot be read is a finding already, and says nothing of the run's age.
            let Ok(Some(details)) =
                self.check.repository.step(location.clone()).map(|step| step.document.details)
            else {
                continue;
            };
            if details.report.finished >= limit {
                continue;
            }
            match self.check.repository.remove_claim(location) {
                Err(error) if of_the_backup(&error) => self.check.wrong(&location.to_string(), &error),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}
