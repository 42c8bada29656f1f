//! Backups by engines that keep objects: a session is announced, the index is read, the engine stores what is new, and a snapshot
//! is written when all of it is durable. With it the backup exists.

use super::{Options, Report, paths};
use crate::engine::{Made, ObjectBackup, ObjectEngine};
use crate::error::Result;
use crate::monitor::{Counting, Event, Monitor};
use crate::name::BackupName;
use crate::repository::select::{self, Pickable};
use crate::repository::vault::id::ID_BYTES;
use crate::repository::vault::{
    ChunkId, CompressionLevel, Index, ObjectId, Session, Snapshot, Snapshots, State, Vault,
};
use crate::repository::{BackupId, Repository};
use crate::time::{FileTime, Timestamp};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// What only snapshots need to be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How hard to compress.
    pub effort: CompressionLevel,
    /// Whether what was compressed is decompressed and compared before it counts as stored.
    pub verify_compression: bool,
    /// What unchanged files are taken from.
    pub parent: Parent,
    /// The time the backup is said to be of; `None` for now.
    pub time: Option<FileTime>,
    /// Threads that have files fetched into the system's cache before they are read, where they are not in it.
    pub readers: usize,
}

/// Which earlier backup unchanged files are taken from, without being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// The newest of the same host, name and paths.
    Newest,
    /// This one, by its id or the head of it.
    This(String),
    /// None: every file is read.
    None,
}

/// Makes a snapshot.
pub(super) fn run(
    repository: &Repository,
    options: Options<'_>,
    engine: &dyn ObjectEngine,
    name: BackupName,
    monitor: &Counting<'_>,
    clock: &(dyn Fn() -> FileTime + Sync),
) -> Result<Report> {
    let vault = repository.the_vault()?;
    let wants_parent = options.snapshots.parent != Parent::None;
    let list = || if wants_parent { vault.state().map(Some) } else { Ok(None) };
    let mut session = None;
    let begun = vault.beside(list, || {
        if !options.dry_run {
            // Before anything is read that a collection might take away.
            let (process, now) = (options.process.clone(), Timestamp(options.now.seconds));
            session = Some(vault.begin_session(&options.host, process, now)?);
        }
        Index::load_present(vault, monitor, false)
    });
    let run = Run { vault, engine, name, monitor, clock, session: session.as_ref() };
    let outcome = begun.and_then(|(state, index)| run.carry_out(options, state, index));
    let Some(session) = session else { return outcome };
    if outcome.is_err() && vault.index_what_was_stored().is_err() {
        // The session stays announced, as that of a killed run does: the next run looks for what this one has stored.
        return outcome;
    }
    // Neither is a failure of this one: what was done is done, and the cause of a failure is another.
    let own = session.id();
    let (sessions, ended) = vault.beside(|| Ok(vault.sessions_but(own)), || Ok(session.end()))?;
    if let Err(error) = ended {
        monitor.event(Event::Warning(&format!("the end of this run could not be noted: {error}")));
    }
    // Who asks again is told of the trouble.
    outcome.map(|report| Report { sessions: sessions.ok(), ..report })
}

struct Run<'a> {
    vault: &'a Vault,
    engine: &'a dyn ObjectEngine,
    name: BackupName,
    monitor: &'a Counting<'a>,
    clock: &'a (dyn Fn() -> FileTime + Sync),
    session: Option<&'a Session>,
}

impl Run<'_> {
    fn carry_out(&self, options: Options<'_>, mut state: Option<State>, index: Index) -> Result<Report> {
        let paths = paths(&options);
        let parent = state.as_ref().map(|state| self.parent(&options, &paths, &state.snapshots));
        let parent = parent.transpose()?.flatten();
        let time = options.snapshots.time.unwrap_or(options.now);
        if let (None, Some(state)) = (options.snapshots.time, &state) {
            self.warn_of_later_ones(&options, &state.snapshots);
        }
        let draft = Snapshot {
            host: options.host.clone(),
            name: options.name.clone(),
            paths,
            tags: options.tags,
            time,
            finished: time,
            root: ChunkId([0; ID_BYTES]),
            entries: 0,
            files: 0,
            bytes: 0,
            added_bytes: 0,
            errors: 0,
            unread: Vec::new(),
            parent: parent.as_ref().map(|parent| parent.id),
            session: self.session.map_or(ObjectId([0; ID_BYTES]), Session::id),
            program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let standing = options.standing;
        let clock = || standing.at_most((self.clock)());
        let job = ObjectBackup {
            input: options.input,
            filter: options.filter,
            one_file_system: options.one_file_system,
            parent: parent.as_ref().map(|parent| parent.root),
            index: Arc::new(index),
            clock: &clock,
            effort: options.snapshots.effort,
            verify_compression: options.snapshots.verify_compression,
            jobs: options.workers,
            readers: options.snapshots.readers,
            dry_run: options.dry_run,
            monitor: self.monitor,
        };
        // What cannot be committed is known before hours of reading, not behind them.
        draft.encode()?;
        let made = self.engine.backup(job, self.vault)?;
        self.monitor.check()?;
        standing.confirm()?;
        let mut id = None;
        if self.session.is_some() {
            let snapshot = Snapshot {
                finished: (self.clock)(),
                root: made.root,
                entries: made.entries,
                files: made.files,
                bytes: made.bytes,
                added_bytes: made.added_bytes,
                errors: self.monitor.lost(),
                unread: self.monitor.lost_paths(),
                ..draft
            };
            let made = *id.insert(self.vault.commit(&snapshot)?);
            if let Some(state) = &mut state {
                state.snapshots.found.push((made, snapshot));
            }
        }
        Ok(Report {
            id: id.map(BackupId::of_snapshot),
            engine: options.engine,
            host: options.host,
            name: options.name,
            series: self.name.to_string(),
            level: 0,
            chain: time.seconds,
            timestamp: time.seconds,
            files: made.files,
            bytes: made.bytes,
            stored_bytes: made.added_bytes,
            errors: self.monitor.lost(),
            reason: reason(options.snapshots.parent == Parent::None, parent.as_ref(), &made),
            dry_run: options.dry_run,
            state,
            sessions: None,
        })
    }

    /// A backup that was dated ahead, by hand or by a clock that was wrong, stays the latest of its name until that time has come:
    /// whoever restores `latest` meanwhile gets it instead of today's.
    fn warn_of_later_ones(&self, options: &Options<'_>, listed: &Snapshots) {
        let mut of_this_name = listed
            .found
            .iter()
            .rev()
            .filter(|(_, snapshot)| snapshot.host == options.host && snapshot.name == options.name);
        let latest = of_this_name.next().filter(|(_, snapshot)| snapshot.time > options.now);
        if let Some((id, snapshot)) = latest {
            self.monitor.event(Event::Warning(&format!(
                "backup {} of this name is said to be of {}, which is still to come: until then `latest` means that one, and not what \
                 is backed up now; forget it if its time is wrong",
                BackupId::of_snapshot(*id).short(),
                Timestamp(snapshot.time.seconds).rfc3339()
            )));
        }
    }

    fn parent(
        &self,
        options: &Options<'_>,
        paths: &[Vec<u8>],
        listed: &Snapshots,
    ) -> Result<Option<Candidate>> {
        for (id, error) in &listed.damaged {
            self.monitor.event(Event::Warning(&format!("passed over the damaged snapshot {id}: {error}")));
        }
        let candidates = listed.found.iter().cloned().enumerate();
        let mut candidates: Vec<Candidate> = candidates
            .map(|(age, (id, snapshot))| Candidate { age, id, root: snapshot.root, snapshot })
            .collect();
        if let Parent::This(text) = &options.snapshots.parent {
            let found = select::find(&candidates, text)?.age;
            return Ok(Some(candidates.swap_remove(found)));
        }
        let mut wanted = paths.to_vec();
        wanted.sort_unstable();
        candidates.retain(|one| {
            let mut paths = one.snapshot.paths.clone();
            paths.sort_unstable();
            one.snapshot.host == options.host && one.snapshot.name == options.name && paths == wanted
        });
        Ok(candidates.pop())
    }
}

/// A snapshot that may be the parent. They come oldest first.
struct Candidate {
    age: usize,
    id: ObjectId,
    root: ChunkId,
    snapshot: Snapshot,
}

impl Pickable for Candidate {
    fn id(&self) -> BackupId {
        BackupId::of_snapshot(self.id)
    }

    fn by_age(&self, other: &Self) -> Ordering {
        self.age.cmp(&other.age)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.snapshot.host, self.snapshot.name)
    }
}

fn reason(is_forced: bool, parent: Option<&Candidate>, made: &Made) -> String {
    match parent {
        Some(parent) if parent.root == made.root => {
            format!("nothing has changed since {}", BackupId::of_snapshot(parent.id).short())
        }
        Some(parent) => format!("what changed since {}", BackupId::of_snapshot(parent.id).short()),
        None if is_forced => "every file was read, as was asked for".to_owned(),
        None => "the first backup of these paths: every file was read".to_owned(),
    }
}
