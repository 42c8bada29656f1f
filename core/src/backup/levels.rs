//! Backups by engines that make levels: what there is decides the level; the engine produces, workers compress, the storage
//! consumes, all at once; the document is written last, and with it the backup exists.

use super::{Options, Report};
use crate::codec::{self, Compression, Encoding};
use crate::engine::{BackupJob, Input, Root, Source, StreamEngine};
use crate::error::{Error, Kind, Result};
use crate::level::{self, Decision, Policy};
use crate::monitor::{Counting, Event, Monitor};
use crate::name::BackupName;
use crate::pipe::{BlockWriter, Pool};
use crate::repository::document::{self, Stored};
use crate::repository::pending::{Claimant, Contents};
use crate::repository::{BackupEntry, BackupId, Chain, Pending, Repository};
use crate::spool::{Scratch, Spool};
use crate::time::{FileTime, Timestamp};
use crate::tree::directory::path_bytes;
use std::path::Path;

/// What only levels need to be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which level a backup gets.
    pub policy: Policy,
    /// How its stream is compressed.
    pub compression: Compression,
    /// The compressor's level; `None` for its default.
    pub compression_level: Option<i32>,
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
    let (decision, base) = run.decide()?;
    if options.dry_run { run.rehearse(&decision, base) } else { run.carry_out(&decision, base, clock) }
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
    /// The level of this backup, and the engine's state that it builds on. A chain that is damaged, as far as
    /// names and sizes tell, is as good as one with a gap.
    fn decide(&self) -> Result<(Decision, Option<Spool>)> {
        let now = Timestamp(self.options.now.seconds);
        let found = self.repository.chains(&self.options.engine, &self.name)?;
        for stray in &found.strays {
            self.monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
        }
        let newest = found.chains.iter().max_by_key(|chain| chain.start);
        let decision = level::decide(&self.options.levels.policy, newest.map(Chain::view), now)?;
        let (Decision::Increment { parent, .. }, Some(chain)) = (&decision, newest) else {
            return Ok((decision, None));
        };
        if !self.engine.continues_foreign() && self.is_foreign(chain, *parent)? {
            return Ok((Decision::Full(level::Reason::Foreign), None));
        }
        match self.state(chain, *parent) {
            Ok(state) => Ok((decision, Some(state))),
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => {
                self.monitor.event(Event::Warning(&format!(
                    "a new full backup, since the last one is damaged: {error}"
                )));
                Ok((Decision::Full(level::Reason::Damaged), None))
            }
            Err(error) => Err(error),
        }
    }

    /// The engine's state after `parent`, if all that a restore of it needs is there in full length.
    fn state(&self, chain: &Chain, parent: BackupEntry) -> Result<Spool> {
        let path = self.repository.path(chain, parent)?;
        self.repository.verify_sizes(&path)?;
        if path.iter().any(|step| step.document.encryption) {
            return Err(Error::new(Kind::Unsupported, "encrypted, which this version cannot build on yet"));
        }
        let top =
            path.last().ok_or_else(|| Error::damaged("no levels in", chain.location(parent).to_string()))?;
        self.repository.read_engine_metadata(top, self.scratch)
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
            },
            base,
            now: self.options.now,
            block_bytes: self.options.levels.block_bytes,
            scratch: self.scratch,
            monitor: self.monitor,
        }
    }

    /// Everything but writing.
    fn rehearse(&self, decision: &Decision, base: Option<Spool>) -> Result<Report> {
        let pool = Pool::new(2);
        let blocks = pool.clone();
        let mut out = BlockWriter::new(pool, move |block| {
            blocks.give(block);
            Ok(())
        });
        self.engine.backup(self.job(base), &mut out)?;
        out.finish()?;
        let now = Timestamp(self.options.now.seconds);
        let chain = match decision {
            Decision::Full(_) => now,
            Decision::Increment { chain, .. } => *chain,
        };
        Ok(self.report(decision, None, chain, now, 0))
    }

    fn carry_out(
        &self,
        decision: &Decision,
        base: Option<Spool>,
        clock: &dyn Fn() -> FileTime,
    ) -> Result<Report> {
        let now = Timestamp(self.options.now.seconds);
        let claimant = Claimant { host: self.options.host.clone(), pid: self.options.process.number };
        let mut pending =
            self.repository.begin(&self.options.engine, &self.name, decision, now, &claimant)?;
        let (data, mut state) = self.store(&pending, base)?;
        let engine_metadata = pending.engine_metadata(&mut state)?;
        self.monitor.check()?;
        let location = pending.location().clone();
        pending.commit(data, engine_metadata, self.contents(Timestamp(clock().seconds)))?;
        let id = Some(BackupId::of(&location));
        Ok(self.report(decision, id, location.chain, location.entry.timestamp, data.size_bytes))
    }

    /// The stream: engine, workers and storage at once.
    fn store(&self, pending: &Pending, base: Option<Spool>) -> Result<(Stored, Spool)> {
        let mut data = pending.data_writer()?;
        let encoding = Encoding {
            compression: self.options.levels.compression,
            level: self.options.levels.compression_level,
            workers: self.options.workers,
        };
        let job = self.job(base);
        let state = codec::encode(
            encoding,
            |out| self.engine.backup(job, out),
            |piece| {
                data.write(piece)?;
                self.monitor.event(Event::Stored { bytes: piece.len() as u64 });
                Ok(())
            },
        )?;
        Ok((data.finish()?, state))
    }

    fn contents(&self, finished: Timestamp) -> Contents {
        let options = self.options;
        Contents {
            compression: options.levels.compression.name().to_owned(),
            encryption: false,
            report: document::Report {
                started: Timestamp(options.now.seconds),
                finished,
                host: options.host.clone(),
                name: options.name.clone(),
                paths: vec![path_bytes(self.path).to_vec()],
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
        }
    }
}
