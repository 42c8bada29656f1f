//! Backups by engines that make levels: what there is decides the level; the engine produces, workers compress, the storage
//! consumes, all at once; the document is written last, and with it the backup exists.

mod sealing;

pub use crate::keyring::sealing::Encryption;
pub use sealing::{Kept, States};

use super::{Options, Report};
use crate::codec::{self, Compression, Encoding};
use crate::engine::{BackupJob, Input, Root, Source, StreamEngine};
use crate::error::{Error, Kind, Result};
use crate::keyring::Keyring;
use crate::keyring::sealing::Seal;
use crate::level::{self, Decision, Policy};
use crate::monitor::{Counting, Event, Monitor};
use crate::name::BackupName;
use crate::pipe::{BlockWriter, Pool};
use crate::repository::document::{self, Scheme, Stored};
use crate::repository::pending::{Claimant, Contents, DataWriter};
use crate::repository::{BackupEntry, BackupId, Chain, Pending, Repository};
use crate::spool::{Scratch, Spool};
use crate::time::{FileTime, Timestamp};
use sealing::Base;
use std::io::Write;
use std::path::Path;

/// What only levels need to be told.
pub struct Settings<'a> {
    /// Which level a backup gets.
    pub policy: Policy,
    /// How its stream is compressed.
    pub compression: Compression,
    /// The compressor's level; `None` for its default.
    pub compression_level: Option<i32>,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// What opens what is there, and gives the password.
    pub keys: &'a Keyring<'a>,
    /// Where a machine that cannot read what it writes keeps what it needs; without, each of its backups is full.
    pub states: Option<&'a dyn States>,
    /// The length of a block in bytes, for an engine that has such; `None` for its own choice.
    pub block_bytes: Option<u32>,
}

/// Makes a level.
pub(super) fn run(
    repository: &Repository,
    options: &Options<'_>,
    engine: &dyn StreamEngine,
    name: BackupName,
    scratch: &Scratch,
    monitor: &Counting<'_>,
    clock: &dyn Fn() -> FileTime,
) -> Result<Report> {
    let path = the_path(options)?;
    let run = Run { repository, options, scratch, monitor, engine, name, path };
    options.levels.encryption.validate(options.levels.compression)?;
    let plan = run.decide()?;
    if options.dry_run { run.rehearse(plan) } else { run.carry_out(plan, clock) }
}

/// The one path that is read.
fn the_path<'a>(options: &Options<'a>) -> Result<&'a Path> {
    let engine = &options.engine;
    match &options.input {
        Input::Trees(roots) => match roots.as_slice() {
            [Root { path, .. }] => Ok(path),
            _ => Err(Error::invalid("one path is backed up at a time by the engine", engine)
                .hint("make a backup for each path, or leave out --engine")),
        },
        Input::Stream { .. } => Err(Error::new(Kind::Unsupported, "a stream is not backed up by the engine")
            .on(engine)
            .hint("leave out --engine")),
    }
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options<'a>,
    scratch: &'a Scratch,
    monitor: &'a Counting<'a>,
    engine: &'a dyn StreamEngine,
    name: BackupName,
    path: &'a Path,
}

impl Run<'_> {
    /// The level of this backup, and what it builds on. A chain that is damaged, as far as names and sizes tell, is as good as
    /// one with a gap.
    fn decide(&self) -> Result<Plan> {
        let now = Timestamp(self.options.now.seconds);
        let found = self.repository.chains(&self.options.engine, &self.name)?;
        for stray in &found.strays {
            self.monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
        }
        let ours = found.chains.into_iter().filter(|chain| !self.repository.is_old(chain));
        let newest = ours.max_by_key(|chain| chain.start);
        let decision = level::decide(&self.options.levels.policy, newest.as_ref().map(Chain::view), now)?;
        let full = |reason, newest| Plan { decision: Decision::Full(reason), base: None, newest };
        let (Decision::Increment { parent, .. }, Some(chain)) = (decision, &newest) else {
            return Ok(Plan { decision, base: None, newest });
        };
        if !self.engine.continues_foreign() && self.is_foreign(chain, parent)? {
            return Ok(full(level::Reason::Foreign, newest));
        }
        match self.base(chain, parent) {
            Ok(Ok(base)) => Ok(Plan { decision, base: Some(base), newest }),
            Ok(Err(reason)) => {
                self.monitor.event(Event::Warning(&format!("a new full backup: {reason}")));
                Ok(full(reason, newest))
            }
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => {
                self.monitor.event(Event::Warning(&format!(
                    "a new full backup, since the last one is damaged: {error}"
                )));
                Ok(full(level::Reason::Damaged, newest))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether another program wrote a level that an increment to `parent` would build on.
    fn is_foreign(&self, chain: &Chain, parent: BackupEntry) -> Result<bool> {
        match self.repository.path(chain, parent) {
            Ok(path) => Ok(path.iter().any(|step| step.document.details.is_none())),
            // It is told of when the state is asked for.
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn job(&self, base: Option<Spool>) -> BackupJob<'_> {
        BackupJob {
            source: Source {
                path: self.path,
                filter: self.options.filter,
                one_file_system: self.options.one_file_system,
                dereference: self.options.dereference,
            },
            base,
            now: self.options.standing.at_most(self.options.now),
            block_bytes: self.options.levels.block_bytes,
            scratch: self.scratch,
            monitor: self.monitor,
        }
    }

    /// Everything but writing.
    fn rehearse(&self, Plan { decision, base, .. }: Plan) -> Result<Report> {
        let pool = Pool::new(2);
        let blocks = pool.clone();
        let mut out = BlockWriter::new(pool, move |block| {
            blocks.give(block);
            Ok(())
        });
        self.engine.backup(self.job(base.map(|base| base.state)), &mut out)?;
        out.finish()?;
        let now = Timestamp(self.options.now.seconds);
        let chain = match decision {
            Decision::Full(_) => now,
            Decision::Increment { chain, .. } => chain,
        };
        Ok(self.report(&decision, None, chain, now, 0))
    }

    fn carry_out(
        &self,
        Plan { decision, base, newest }: Plan,
        clock: &dyn Fn() -> FileTime,
    ) -> Result<Report> {
        let (state, seal) = match base {
            Some(base) => (Some(base.state), base.seal),
            None => (None, self.new_seal(newest.as_ref())?),
        };
        let now = Timestamp(self.options.now.seconds);
        let claimant = Claimant { host: self.options.host.clone(), pid: self.options.process.number };
        let mut pending =
            self.repository.begin(&self.options.engine, &self.name, &decision, now, &claimant)?;
        let (data, mut state) = self.store(&pending, state, &seal)?;
        let engine_metadata = match seal.state(&mut state, self.scratch)? {
            Some(mut sealed) => pending.engine_metadata(&mut sealed)?,
            None => pending.engine_metadata(&mut state)?,
        };
        self.monitor.check()?;
        self.options.standing.confirm()?;
        let location = pending.location().clone();
        pending.commit(data, engine_metadata, self.contents(Timestamp(clock().seconds), seal.scheme()))?;
        self.keep(&location, &engine_metadata, &mut state);
        let id = Some(BackupId::of(&location));
        Ok(self.report(&decision, id, location.chain, location.entry.timestamp, data.size_bytes))
    }

    /// The stream: engine, workers, encryption and storage at once.
    fn store(&self, pending: &Pending, base: Option<Spool>, seal: &Seal) -> Result<(Stored, Spool)> {
        let outlet = Outlet { data: pending.data_writer()?, monitor: self.monitor };
        let mut stream = seal.writer(outlet)?;
        let encoding = Encoding {
            compression: self.options.levels.compression,
            level: self.options.levels.compression_level,
            workers: self.options.workers,
        };
        let job = self.job(base);
        let state = codec::encode(
            encoding,
            |out| self.engine.backup(job, out),
            |piece| stream.write_all(piece).map_err(|e| Error::io("cannot store", "the stream", e)),
        )?;
        Ok((stream.finish()?.data.finish()?, state))
    }

    fn contents(&self, finished: Timestamp, scheme: Scheme) -> Contents {
        let options = self.options;
        Contents {
            compression: options.levels.compression.name().to_owned(),
            scheme,
            report: document::Report {
                started: Timestamp(options.now.seconds),
                finished,
                host: options.host.clone(),
                name: options.name.clone(),
                paths: super::paths(options),
                files: self.monitor.entries(),
                bytes: self.monitor.bytes(),
                errors: self.monitor.lost(),
                unread: self.monitor.lost_paths(),
                tags: options.tags.clone(),
                program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
        }
    }

    fn report(
        &self,
        decision: &Decision,
        id: Option<BackupId>,
        chain: Timestamp,
        timestamp: Timestamp,
        stored: u64,
    ) -> Report {
        let (level, reason) = match decision {
            Decision::Full(reason) => (0, format!("full backup: {reason}")),
            Decision::Increment { parent, level, .. } => (
                level.number(),
                format!("what changed since level {} of {}", parent.level, parent.timestamp.rfc3339()),
            ),
        };
        Report {
            id,
            engine: self.options.engine.clone(),
            host: self.options.host.clone(),
            name: self.options.name.clone(),
            series: self.name.to_string(),
            level,
            chain: chain.0,
            timestamp: timestamp.0,
            files: self.monitor.entries(),
            bytes: self.monitor.bytes(),
            stored_bytes: stored,
            errors: self.monitor.lost(),
            reason,
            dry_run: self.options.dry_run,
            state: None,
            sessions: None,
        }
    }
}

/// What a backup is going to be.
struct Plan {
    decision: Decision,
    /// What an increment builds on.
    base: Option<Base>,
    /// The newest chain there is.
    newest: Option<Chain>,
}

/// Where a stream goes to once nothing more is done to it.
struct Outlet<'a> {
    data: DataWriter,
    monitor: &'a Counting<'a>,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.data.write(bytes)?;
        self.monitor.event(Event::Stored { bytes: bytes.len() as u64 });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
