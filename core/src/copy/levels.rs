//! Levels of chains: their objects go over, as they are or encrypted anew, lowest level first, under a claim, and the document of each last.

use super::{Copy, Outcome, concerns_one};
use crate::error::{Error, Kind, Result};
use crate::keyring::sealing::{Encryption, Seal};
use crate::limits::{PACKS_WAITING, SMALL_OBJECT_BYTES};
use crate::monitor::Event;
use crate::name::{Level, ObjectName};
use crate::pipe::{self, Receiver, Sender};
use crate::repository::document::{self, Scheme};
use crate::repository::pending::{Claimant, Presence};
use crate::repository::reading::Step;
use crate::repository::{BackupEntry, BackupId, BackupLocation, Chain, Parents};
use crate::select;
use crate::storage::PutMode;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

/// What is read of a temporary file at once.
const READ_BYTES: usize = 1 << 20;

/// How a level is there, for those that build on it.
#[derive(Clone)]
enum Footing {
    /// As it is where it is copied from.
    AsItIs,
    /// Encrypted anew, by a copy that was told to.
    Otherwise,
    /// Encrypted as it is asked for.
    With(Rc<Seal>),
    /// Not at all: nothing is written.
    Rehearsed,
}

impl Copy<'_> {
    /// Copies the levels that are meant, and those they build on.
    pub(super) fn levels(&mut self) -> Result<()> {
        let (series, strays) = select::series(self.from, &self.options.filter)?;
        strays.iter().for_each(|stray| self.pass_over(stray));
        for one in &series {
            let listed = self.from.chains(&one.engine, &one.name)?;
            listed.strays.iter().for_each(|stray| self.pass_over(stray));
            for chain in &listed.chains {
                self.chain(chain)?;
            }
        }
        Ok(())
    }

    fn pass_over(&self, stray: &str) {
        self.monitor.event(Event::Warning(&format!("passed over, no part of a backup: {stray}")));
    }

    fn chain(&mut self, chain: &Chain) -> Result<()> {
        let mut parents = Parents::new();
        let mut needed: BTreeSet<BackupEntry> = BTreeSet::new();
        for entry in &chain.backups {
            let location = chain.location(*entry);
            let step = match self.from.step(location.clone()) {
                Err(error) if !concerns_one(&error) => return Err(error),
                step => step,
            };
            parents.extend(step.iter().filter_map(|step| Some((*entry, step.parent()?))));
            let report = step
                .as_ref()
                .ok()
                .and_then(|step| step.document.details.as_ref())
                .map(|details| &details.report);
            let is_wanted = self.is_wanted(&BackupId::of(&location));
            if !self.options.filter.accepts_level(report) || !is_wanted {
                if let (true, Err(error)) = (is_wanted, &step) {
                    let text = format!("cannot tell whether {location} is meant, passed over: {error}");
                    self.monitor.event(Event::Warning(&text));
                }
                continue;
            }
            match chain.path_to(*entry, &parents) {
                Ok(path) => needed.extend(path),
                Err(error) => {
                    self.row(&BackupId::of(&location), location.to_string(), Outcome::Failed(error))?
                }
            }
        }
        // A level without the one below it is no backup.
        let mut lost: Option<String> = None;
        let mut footings: BTreeMap<BackupEntry, Footing> = BTreeMap::new();
        for entry in needed {
            let location = chain.location(entry);
            let outcome = match &lost {
                Some(below) => Outcome::Failed(
                    Error::new(Kind::Damaged, "a level below it was not copied:").on(below.clone()),
                ),
                None => match self.level(chain, &location, &parents, &footings) {
                    Ok((outcome, footing)) => {
                        footings.insert(entry, footing);
                        outcome
                    }
                    Err(error) if concerns_one(&error) || error.kind() == Kind::WrongPassword => {
                        Outcome::Failed(error)
                    }
                    Err(error) => return Err(error),
                },
            };
            if matches!(outcome, Outcome::Failed(_)) {
                lost.get_or_insert_with(|| location.to_string());
            }
            self.row(&BackupId::of(&location), location.to_string(), outcome)?;
        }
        Ok(())
    }

    fn level(
        &mut self,
        chain: &Chain,
        location: &BackupLocation,
        parents: &Parents,
        footings: &BTreeMap<BackupEntry, Footing>,
    ) -> Result<(Outcome, Footing)> {
        self.monitor.check()?;
        let name = location.metadata()?;
        let ours = self.from.storage().read_small(&name, SMALL_OBJECT_BYTES)?;
        let options = self.options;
        match (self.to.presence(location, &ours)?, &options.anew) {
            (Presence::Absent, _) => {}
            (Presence::Same, None) => return Ok((Outcome::Present, Footing::AsItIs)),
            (Presence::Otherwise, None) => return Ok((Outcome::Present, Footing::Otherwise)),
            (_, Some(anew)) => {
                let seal = self.seal_of(anew, location)?;
                return Ok((Outcome::Present, Footing::With(Rc::new(seal))));
            }
        }
        let document = document::parse(&ours).map_err(|error| error.on(name.to_string()))?;
        let step = Step { location: location.clone(), document };
        self.from.verify_sizes(std::slice::from_ref(&step))?;
        let parent = match location.entry.level {
            Level::FULL => None,
            _ => Some(chain.parent(location.entry, location.entry, parents.get(&location.entry).copied())?),
        };
        let below = parent.and_then(|parent| footings.get(&parent)).cloned();
        let is_clear = *step.document.scheme() == Scheme::None;
        match &options.anew {
            None if matches!(below, Some(Footing::Otherwise)) => {
                let what = "the levels below it are there with other keys than it has:";
                return Err(Error::new(Kind::AlreadyExists, what)
                    .on(location.to_string())
                    .hint("say what was said when they were copied: --recipient, or --encryption"));
            }
            Some(anew) if !(is_clear && matches!(anew.encryption, Encryption::None)) => {
                let key = match self.opener(anew, &step) {
                    // What was given does not open this one; it may open others.
                    Err(error) if error.kind() == Kind::Invalid => {
                        return Ok((Outcome::Failed(error), Footing::Rehearsed));
                    }
                    opened => opened?,
                };
                if options.dry_run {
                    return Ok((Outcome::Copied, Footing::Rehearsed));
                }
                let seal = match below {
                    Some(Footing::With(seal)) => seal,
                    _ => Rc::new(self.new_seal(anew, location)?),
                };
                self.reencrypt(&step, parent, &ours, &key, &seal)?;
                return Ok((Outcome::Copied, Footing::With(seal)));
            }
            _ => {}
        }
        let footing =
            if options.anew.is_some() { Footing::With(Rc::new(Seal::None)) } else { Footing::AsItIs };
        if options.dry_run {
            return Ok((Outcome::Copied, footing));
        }
        let outcome = self.as_it_is(&step, parent, &ours)?;
        Ok((outcome, footing))
    }

    fn as_it_is(&mut self, step: &Step, parent: Option<BackupEntry>, ours: &[u8]) -> Result<Outcome> {
        let claimant = Claimant { host: self.options.host.clone(), pid: self.options.process.number };
        // The names are old, so that a clean-up would take the data for a killed run's: the claim tells each of the other.
        let Some(copied) = self.to.begin_copy(&step.location, parent, ours, &claimant)? else {
            return Ok(Outcome::Present);
        };
        let data_bytes = self.data(step)?;
        let engine_metadata_bytes = self.engine_metadata(step)?;
        copied.commit(data_bytes, engine_metadata_bytes)?;
        Ok(Outcome::Copied)
    }

    /// The stream: read ahead while it is written. Its end is handed out only when the whole is what was promised.
    fn data(&mut self, step: &Step) -> Result<u64> {
        let mut reader = self.from.data_reader(step)?;
        let (monitor, to) = (self.monitor, self.to.storage());
        let read = |sender: &mut Sender<Vec<u8>>| {
            while let Some(block) = reader.next_block()? {
                monitor.check()?;
                sender.send(block)?;
            }
            Ok(())
        };
        let name = step.location.data()?;
        let write = |receiver: &mut Receiver<Vec<u8>>| {
            let mut added_bytes = 0;
            // What a copy that was cut short has left is nobody's.
            let mut writer = to.writer(&name, PutMode::Replace)?;
            while let Some(block) = receiver.receive()? {
                writer.write(&block)?;
                added_bytes += block.len() as u64;
                monitor.event(Event::Stored { bytes: block.len() as u64 });
            }
            writer.finish()?;
            Ok(added_bytes)
        };
        let ((), added_bytes) = pipe::run(PACKS_WAITING, read, write)?;
        self.report.added_bytes += added_bytes;
        Ok(added_bytes)
    }

    fn engine_metadata(&mut self, step: &Step) -> Result<u64> {
        let mut spool = self.from.read_engine_metadata(step, self.scratch)?;
        let name: ObjectName = step.location.engine_metadata()?;
        let mut writer = self.to.storage().writer(&name, PutMode::Replace)?;
        let mut buffer = vec![0; READ_BYTES];
        let mut written_bytes = 0;
        loop {
            let length =
                spool.read(&mut buffer).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
            if length == 0 {
                break;
            }
            writer.write(&buffer[..length])?;
            written_bytes += length as u64;
        }
        writer.finish()?;
        self.report.added_bytes += written_bytes;
        Ok(written_bytes)
    }
}
