//! The verb `backup`: what there is decides the level; the engine produces, workers compress, the storage consumes, all at
//! once; the document is written last, and with it the backup exists.

use crate::codec::{self, Compression, Encoding};
use crate::engine::{self, BackupJob, Engine, Source};
use crate::error::{Error, Kind, Result};
use crate::level::{self, Decision, Policy};
use crate::monitor::{Counting, Event, Monitor};
use crate::name::BackupName;
use crate::pipe::{BlockWriter, Pool};
use crate::repository::document::{self, Stored};
use crate::repository::pending::{Claimant, Contents};
use crate::repository::{BackupId, Chain, Pending, Repository};
use crate::spool::{Scratch, Spool};
use crate::time::{FileTime, Timestamp};
use crate::tree::directory::path_bytes;

/// What to back up, and how.
pub struct Options<'a> {
    /// The engine, by name.
    pub engine: String,
    /// The host the data belongs to.
    pub host: String,
    /// What the backup is called.
    pub name: String,
    /// Which level it gets.
    pub policy: Policy,
    /// How its stream is compressed.
    pub compression: Compression,
    /// The compressor's level; `None` for its default.
    pub compression_level: Option<i32>,
    /// What is read.
    pub source: Source<'a>,
    /// What the user calls this backup besides.
    pub tags: Vec<String>,
    /// The time now.
    pub now: FileTime,
    /// Threads that compress.
    pub workers: usize,
    /// The id of this process, for people who find what a killed run left.
    pub process: u32,
    /// Read everything, write nothing.
    pub dry_run: bool,
}

/// What a backup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is called by; `None` for a dry run.
    pub id: Option<BackupId>,
    /// The engine.
    pub engine: String,
    /// The host.
    pub host: String,
    /// The name.
    pub name: String,
    /// Host and name as one word, as the repository has it.
    pub series: String,
    /// Its level.
    pub level: u32,
    /// The timestamp of its chain's level 0.
    pub chain: i64,
    /// Its own timestamp.
    pub timestamp: i64,
    /// Entries in it that are not directories.
    pub files: u64,
    /// Bytes of content read.
    pub bytes: u64,
    /// Bytes of its stream on storage.
    pub stored_bytes: u64,
    /// Entries that could not be read, or not as they were at one moment.
    pub errors: u64,
    /// Why it has this level.
    pub reason: String,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// Makes a backup. `clock` says what time it is when the run ends.
///
/// # Errors
/// `Invalid` options, a source that is not there, trouble with the storage (`NoSpace`, `Denied` …), `Busy`, `Interrupted`. On any
/// error no backup exists.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    clock: &dyn Fn() -> FileTime,
) -> Result<Report> {
    let engine = engine::by_name(&options.engine)?;
    let name = BackupName::new(&options.host, &options.name)?;
    let monitor = Counting::new(monitor);
    let mut run = Run { repository, options, scratch, monitor: &monitor, engine, name };
    let (decision, base) = run.decide()?;
    if options.dry_run { run.rehearse(&decision, base) } else { run.carry_out(&decision, base, clock) }
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options<'a>,
    scratch: &'a Scratch,
    monitor: &'a Counting<'a>,
    engine: &'static dyn Engine,
    name: BackupName,
}

impl Run<'_> {
    /// The level of this backup, and the engine's state that it builds on. A state that cannot be read is as good as a gap,
    /// and so is an object below it that is not there or has another size: what is built on it could never be restored.
    fn decide(&mut self) -> Result<(Decision, Option<Spool>)> {
        let now = Timestamp(self.options.now.seconds);
        let found = self.repository.chains(self.engine.name(), &self.name)?;
        for stray in &found.strays {
            self.monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
        }
        let newest = found.chains.iter().max_by_key(|chain| chain.start);
        let decision = level::decide(&self.options.policy, newest.map(Chain::view), now)?;
        let (Decision::Increment { parent, .. }, Some(chain)) = (&decision, newest) else {
            return Ok((decision, None));
        };
        let state = self.repository.step(chain.location(*parent)).and_then(|step| {
            if step.document.encryption {
                return Err(Error::new(
                    Kind::Unsupported,
                    "encrypted, which this version cannot build on yet",
                ));
            }
            self.repository.verify_sizes(&self.repository.path(chain, *parent)?)?;
            self.repository.read_engine_metadata(&step, self.scratch)
        });
        match state {
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

    fn job(&self, base: Option<Spool>) -> BackupJob<'_> {
        let source = &self.options.source;
        BackupJob {
            source: Source {
                path: source.path,
                filter: source.filter,
                one_file_system: source.one_file_system,
            },
            base,
            now: self.options.now,
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
        let claimant = Claimant { host: self.options.host.clone(), pid: self.options.process };
        let mut pending = self.repository.begin(self.engine.name(), &self.name, decision, now, &claimant)?;
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
            compression: self.options.compression,
            level: self.options.compression_level,
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
            compression: options.compression.name().to_owned(),
            encryption: false,
            report: document::Report {
                started: Timestamp(options.now.seconds),
                finished,
                host: options.host.clone(),
                name: options.name.clone(),
                paths: vec![path_bytes(options.source.path).to_vec()],
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
            engine: self.engine.name().to_owned(),
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
