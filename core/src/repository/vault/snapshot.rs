//! Snapshots: a backup exists when its snapshot does. Written last, when every pack and every index it needs is durable.

use super::Vault;
use super::documents::{Document, Documents};
use super::header::ObjectKind;
use super::id::{ChunkId, ObjectId};
use super::json::{self, ByteString, Text, VERSION, present};
use super::names::Folder;
use super::removal::Removals;
use crate::error::{Error, Result};
use crate::limits::{NAME_BYTES, PATH_BYTES, REPORTED_PATHS, SNAPSHOT_TAGS};
use crate::repository::document::named;
use crate::time::FileTime;
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;

/// A backup, as its object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The host that was backed up.
    pub host: String,
    /// The name of the backup on that host.
    pub name: String,
    /// What was backed up, as the user gave it: raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// What the user calls this backup besides.
    pub tags: Vec<String>,
    /// When the run began.
    pub time: FileTime,
    /// When all was read and stored.
    pub finished: FileTime,
    /// The root node of the tree.
    pub root: ChunkId,
    /// Entries of the tree.
    pub entries: u64,
    /// Those of them that are files.
    pub files: u64,
    /// Bytes of content of all files.
    pub bytes: u64,
    /// Bytes of the packs that this run wrote.
    pub added_bytes: u64,
    /// Entries that were not stored, or not as they were at one moment.
    pub errors: u64,
    /// The first of them, each with its reason.
    pub unread: Vec<String>,
    /// The backup this one was compared with.
    pub parent: Option<ObjectId>,
    /// The run that wrote it.
    pub session: ObjectId,
    /// The program and its version.
    pub program: String,
}

/// All backups, oldest first.
pub type Snapshots = Documents<Snapshot>;

/// The keys, in the order in which they are written.
#[derive(Serialize, Deserialize)]
struct Shape {
    version: u64,
    host: String,
    name: String,
    paths: Vec<ByteString>,
    tags: Vec<String>,
    time: (i64, u32),
    finished: (i64, u32),
    root: Text<ChunkId>,
    entries: u64,
    files: u64,
    bytes: u64,
    added_bytes: u64,
    errors: u64,
    unread: Vec<String>,
    #[serde(deserialize_with = "present")]
    parent: Option<Text<ObjectId>>,
    session: Text<ObjectId>,
    program: String,
}

impl Snapshot {
    /// The bytes of the document. Of a long list of what was not read the first [`REPORTED_PATHS`] are written; the count
    /// stays whole.
    ///
    /// # Errors
    /// `Invalid` when a name, a path or a time is beyond the limits of the format.
    pub fn encode(&self) -> Result<Vec<u8>> {
        if let Some(what) = self.excess() {
            return Err(Error::invalid("a snapshot cannot be stored:", what));
        }
        let id = |id: &ObjectId| Text(*id);
        let shape = Shape {
            version: VERSION,
            host: self.host.clone(),
            name: self.name.clone(),
            paths: self.paths.iter().map(|path| ByteString::from(path.as_slice())).collect(),
            tags: self.tags.clone(),
            time: (self.time.seconds, self.time.nanoseconds),
            finished: (self.finished.seconds, self.finished.nanoseconds),
            root: Text(self.root),
            entries: self.entries,
            files: self.files,
            bytes: self.bytes,
            added_bytes: self.added_bytes,
            errors: self.errors,
            unread: named(&self.unread).cloned().collect(),
            parent: self.parent.as_ref().map(id),
            session: Text(self.session),
            program: self.program.clone(),
        };
        json::write("snapshot", &shape)
    }

    /// The snapshot of a document.
    ///
    /// # Errors
    /// `Damaged` when it is none, `Unsupported` when a newer version wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Snapshot> {
        let damaged = |what: &str| Error::damaged("not a snapshot:", what);
        let shape: Shape = json::read("snapshot", bytes)?;
        let paths = shape.paths.into_iter().map(ByteString::into_bytes).collect::<Option<_>>();
        let time = |(seconds, nanoseconds)| FileTime { seconds, nanoseconds };
        let snapshot = Snapshot {
            host: shape.host,
            name: shape.name,
            paths: paths.ok_or_else(|| damaged("a path is not hexadecimal"))?,
            tags: shape.tags,
            time: time(shape.time),
            finished: time(shape.finished),
            root: shape.root.0,
            entries: shape.entries,
            files: shape.files,
            bytes: shape.bytes,
            added_bytes: shape.added_bytes,
            errors: shape.errors,
            unread: shape.unread,
            parent: shape.parent.map(|parent| parent.0),
            session: shape.session.0,
            program: shape.program,
        };
        if snapshot.unread.len() > REPORTED_PATHS {
            return Err(damaged("too many paths that were not read"));
        }
        snapshot.excess().map_or(Ok(snapshot), |what| Err(damaged(what)))
    }

    /// What is beyond the limits, if anything is.
    fn excess(&self) -> Option<&'static str> {
        let is_name = |name: &String| name.len() <= NAME_BYTES;
        let is_time = |time: FileTime| time.nanoseconds < 1_000_000_000;
        let within = [
            (is_name(&self.host), "the name of the host is too long"),
            (is_name(&self.name), "the name is too long"),
            (is_name(&self.program), "the name of the program is too long"),
            (self.tags.len() <= SNAPSHOT_TAGS && self.tags.iter().all(is_name), "too many or too long tags"),
            (self.paths.iter().all(|path| path.len() <= PATH_BYTES), "a path is too long"),
            (is_time(self.time) && is_time(self.finished), "a time has more than a second of nanoseconds"),
        ];
        within.into_iter().find(|(is_within, _)| !is_within).map(|(_, what)| what)
    }
}

/// What a repository has and had.
#[derive(Debug)]
pub struct State {
    /// Every backup.
    pub snapshots: Snapshots,
    /// What was removed.
    pub removals: Removals,
}

impl Document for Snapshot {
    const KIND: ObjectKind = ObjectKind::Snapshot;

    fn encode(&self) -> Result<Vec<u8>> {
        Snapshot::encode(self)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        Snapshot::parse(bytes)
    }

    fn time(&self) -> (i64, u32) {
        (self.time.seconds, self.time.nanoseconds)
    }
}

impl Vault {
    /// Makes a backup exist. Everything it needs is durable before.
    ///
    /// # Errors
    /// `Invalid` or `Limit` when the document is beyond the limits of the format, and what the storage reports.
    pub fn commit(&self, snapshot: &Snapshot) -> Result<ObjectId> {
        self.write_document(snapshot)
    }

    /// One backup.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Unsupported`, and what the storage reports.
    pub fn snapshot(&self, id: ObjectId) -> Result<Snapshot> {
        self.read_document(id)
    }

    /// Every backup, oldest first, read once each. One that is damaged is a row of its own; one that goes meanwhile is gone. One
    /// that a removal names is no backup any more, whether its removal was cut short or somebody has put it back: a stray.
    ///
    /// # Errors
    /// What the storage reports: a list that fails is an error, never a shorter list.
    pub fn snapshots(&self) -> Result<Snapshots> {
        Ok(self.state()?.snapshots)
    }

    /// Every backup, and what says of others that they were removed.
    ///
    /// # Errors
    /// As [`Vault::snapshots`].
    pub fn state(&self) -> Result<State> {
        Ok(self.state_beside(|| Ok(()))?.0)
    }

    /// As [`Vault::state`], and does `work` beside it where each request waits for an answer from far away, as soon as it is known
    /// which snapshots there are: what `work` reads is not older than that list, so that an index has all that they need.
    pub(crate) fn state_beside<B>(&self, work: impl FnOnce() -> Result<B>) -> Result<(State, B)> {
        let names = self.list(Folder::Snapshots)?;
        // Removals are listed after the snapshots: one is written before its snapshots go.
        let read = || self.beside(|| self.documents_of::<Snapshot>(names), || self.removals());
        let ((mut listed, removals), done) = self.beside(read, work)?;
        let removed = removals.named();
        let is_removed = |id: &ObjectId| removed.contains(id);
        let there = listed.found.iter().map(|(id, _)| *id).chain(listed.damaged.iter().map(|(id, _)| *id));
        for id in there.filter(is_removed).collect::<Vec<_>>() {
            let name = Folder::Snapshots.object(id)?;
            listed.strays.push(format!("{name} (removed, and there all the same)"));
        }
        listed.found.retain(|(id, _)| !is_removed(id));
        listed.damaged.retain(|(id, _)| !is_removed(id));
        Ok((State { snapshots: listed, removals }, done))
    }

    /// What [`Vault::keep_state`] was given since the last time, or else [`Vault::state`].
    ///
    /// # Errors
    /// As [`Vault::snapshots`].
    pub fn recent_state(&self) -> Result<State> {
        Ok(self.recent_state_beside(|| Ok(()))?.0)
    }

    /// As [`Vault::recent_state`], with `work` as in [`Vault::state_beside`].
    pub(crate) fn recent_state_beside<B>(&self, work: impl FnOnce() -> Result<B>) -> Result<(State, B)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).take();
        match recent {
            Some(state) => Ok((state, work()?)),
            None => self.state_beside(work),
        }
    }

    /// Spares the next who asks for the recent state a list: for one command, whose parts may all go by what the first has seen.
    pub fn keep_state(&self, state: State) {
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}
