//! The verb `stats`: how much backups hold, how much of that is stored, and which of them needs what alone.
//!
//! Every node is read once for all backups (twice at most, where it is asked what each needs alone). Memory: four bytes for each
//! chunk of the repository, beside its index.

mod marks;

use crate::engine::dedup::tree::survey::{Surveyor, survey};
use crate::engine::dedup::tree::{self, Chunks, Content, Entry, Kept, Key};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::repository::vault::names::{self, Folder};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::select;
use crate::view::{self, Backup, Beside, View, Which};
use marks::{Marks, Met};
use std::sync::Mutex;

/// What to look at.
pub struct Options {
    /// Which backups count.
    pub which: Which,
    /// One of them; `None` for all.
    pub backup: Option<String>,
    /// Whether what each backup needs alone is counted too: what several of them need is then read twice.
    pub by_backup: bool,
}

/// Chunks, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub chunks: u64,
    /// Their bytes as they were.
    pub raw_bytes: u64,
    /// Their bytes as they are stored.
    pub stored_bytes: u64,
}

impl Amount {
    fn add(&mut self, raw_bytes: u32, stored_bytes: u32) {
        self.chunks += 1;
        self.raw_bytes = self.raw_bytes.saturating_add(u64::from(raw_bytes));
        self.stored_bytes = self.stored_bytes.saturating_add(u64::from(stored_bytes));
    }
}

/// Objects of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Objects {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One backup.
#[derive(Debug, Clone)]
pub struct Share {
    /// Which.
    pub backup: Backup,
    /// What it needs and no older one of those that were looked at does.
    pub added: Amount,
    /// What no other one of those that were looked at needs; `None` when it was not asked for.
    pub alone: Option<Amount>,
}

/// How much there is.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Each backup that was looked at, oldest first.
    pub shares: Vec<Share>,
    /// Backups that cannot be read.
    pub damaged: u64,
    /// Entries of all of them.
    pub entries: u64,
    /// Files of all of them.
    pub files: u64,
    /// Entries of all of them that are not stored, or not as they were at one moment.
    pub errors: u64,
    /// Bytes of those files: what all backups would take as plain copies.
    pub bytes: u64,
    /// Chunks of content that they need, each once.
    pub content: Amount,
    /// Chunks that describe entries, each once.
    pub metadata: Amount,
    /// Nodes that could not be read, each told to the monitor: then everything is more than it says here.
    pub broken: u64,
    /// References to chunks that are not there: likewise.
    pub missing: u64,
    /// Packs of the whole repository.
    pub packs: Objects,
    /// Indexes of the whole repository.
    pub indexes: Objects,
    /// Snapshots of the whole repository.
    pub snapshots: Objects,
    /// Chunks of the whole repository.
    pub chunks: u64,
}

impl Report {
    /// How many times what is stored of content, before compression, the backups hold; `None` without content.
    pub fn deduplication(&self) -> Option<f64> {
        ratio(self.bytes, self.content.raw_bytes)
    }

    /// How many times what is stored the chunks were before compression; `None` without any.
    pub fn compression(&self) -> Option<f64> {
        let raw = self.content.raw_bytes.saturating_add(self.metadata.raw_bytes);
        ratio(raw, self.content.stored_bytes.saturating_add(self.metadata.stored_bytes))
    }
}

fn ratio(large: u64, small: u64) -> Option<f64> {
    (small > 0).then(|| large as f64 / small as f64)
}

/// Counts.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), `Unsupported` for one that is not deduplicated; `Damaged`, or as the storage has it.
pub fn run(repository: &Repository, options: &Options, monitor: &dyn Monitor) -> Result<Report> {
    let mut report = Report::default();
    let (backups, index) = match &options.backup {
        Some(text) => {
            let (backup, index) = view::choose(repository, &options.which, text, Beside::Index, monitor)?;
            (vec![backup], index)
        }
        None => (all(repository, options, &mut report, monitor)?, None),
    };
    let view = View::open(repository, index, monitor)?;
    objects(&view, &mut report)?;
    let mut marks = Marks::new(view.index())?;
    let mut added = Vec::with_capacity(backups.len());
    for (number, backup) in backups.iter().enumerate() {
        let mut count = Count {
            view: &view,
            marks: &mut marks,
            number: u32::try_from(number).map_err(|_| too_many())?,
            added: Amount::default(),
            report: &mut report,
            by_backup: options.by_backup,
            monitor,
        };
        count.backup(&backup.snapshot.root)?;
        added.push(count.added);
        report.entries = report.entries.saturating_add(backup.snapshot.entries);
        report.files = report.files.saturating_add(backup.snapshot.files);
        report.errors = report.errors.saturating_add(backup.snapshot.errors);
        report.bytes = report.bytes.saturating_add(backup.snapshot.bytes);
    }
    let mut alone = vec![Amount::default(); backups.len()];
    for (_, at) in view.index().chunks() {
        if let Some(owner) = marks.owner(&at) {
            alone[owner as usize].add(at.raw_bytes, at.sealed_bytes);
        }
    }
    let alone = alone.into_iter().map(|amount| options.by_backup.then_some(amount));
    let shares = backups.into_iter().zip(added).zip(alone);
    report.shares = shares.map(|((backup, added), alone)| Share { backup, added, alone }).collect();
    Ok(report)
}

fn too_many() -> Error {
    Error::new(Kind::Limit, "too many backups to count in")
}

/// Every backup that counts.
fn all(
    repository: &Repository,
    options: &Options,
    report: &mut Report,
    monitor: &dyn Monitor,
) -> Result<Vec<Backup>> {
    // Without one, this says so.
    repository.the_vault()?;
    let snapshots = select::snapshots(repository, &options.which.filter)?;
    for (id, error) in &snapshots.damaged {
        monitor.event(Event::Warning(&format!("the damaged backup {id} is not counted: {error}")));
    }
    report.damaged = snapshots.damaged.len() as u64;
    let in_time = |time: i64| options.which.at.is_none_or(|at| time <= at.0);
    let found = snapshots.found.into_iter().filter(|(_, snapshot)| in_time(snapshot.time.seconds));
    Ok(found.map(|(id, snapshot)| Backup::new(id, snapshot)).collect())
}

/// What there is of objects, whatever backups need.
fn objects(view: &View<'_>, report: &mut Report) -> Result<()> {
    for (_, pack) in view.index().packs() {
        report.packs.count += 1;
        report.packs.bytes += u64::from(pack.size_bytes);
    }
    report.chunks = view.index().len() as u64;
    for (folder, objects) in
        [(Folder::Index, &mut report.indexes), (Folder::Snapshots, &mut report.snapshots)]
    {
        for (_, size_bytes) in names::list(view.vault().storage().as_ref(), folder)?.objects {
            objects.count += 1;
            objects.bytes = objects.bytes.saturating_add(size_bytes);
        }
    }
    Ok(())
}

/// Counts what one backup needs.
struct Count<'a> {
    view: &'a View<'a>,
    marks: &'a mut Marks,
    number: u32,
    added: Amount,
    report: &'a mut Report,
    by_backup: bool,
    monitor: &'a dyn Monitor,
}

impl Count<'_> {
    fn backup(&mut self, root: &ChunkId) -> Result<()> {
        if !self.enter(root) {
            return Ok(());
        }
        let view = self.view;
        survey(view.chunks(), root, self)
    }

    /// Counts a chunk that refers to others, and says whether anything new can come of those.
    fn enter(&mut self, id: &ChunkId) -> bool {
        match self.meet(id) {
            Met::First => true,
            Met::Shared => self.by_backup,
            Met::Before => false,
        }
    }

    /// Counts a chunk, unless it has been.
    fn meet(&mut self, id: &ChunkId) -> Met {
        let Some(at) = self.view.index().find(id) else {
            // It has no size, and nothing can be looked for behind it.
            self.is_missing();
            return Met::Before;
        };
        let met = self.marks.meet(&at, self.number);
        if met == Met::First {
            self.added.add(at.raw_bytes, at.sealed_bytes);
            let total =
                if at.kind.is_metadata() { &mut self.report.metadata } else { &mut self.report.content };
            total.add(at.raw_bytes, at.sealed_bytes);
        }
        met
    }

    fn is_missing(&mut self) {
        self.report.missing = self.report.missing.saturating_add(1);
    }

    /// The chunks of a file that are in lists; and the lists.
    fn lists(&mut self, entry: &Entry, tops: &[(ChunkId, u64)]) -> Result<()> {
        let mut enters = false;
        for (list, _) in tops {
            enters |= self.enter(list);
        }
        if !enters {
            return Ok(());
        }
        match self.below_lists(entry) {
            // What is behind it is not counted, and that is said.
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported) => {
                self.is_missing();
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn below_lists(&mut self, entry: &Entry) -> Result<()> {
        let chunks = Listening { chunks: self.view.chunks(), lists: Mutex::new(Vec::new()) };
        let holes = tree::holes(self.view.chunks(), &entry.holes, entry.size_bytes)?;
        let hole_bytes = holes.iter().fold(0u64, |sum, hole| sum.saturating_add(hole.length));
        for row in tree::rows(&chunks, &entry.content, entry.size_bytes.saturating_sub(hole_bytes))? {
            self.meet(&row?.0);
        }
        let lists = chunks.lists.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        for list in &lists {
            self.meet(list);
        }
        Ok(())
    }
}

impl Surveyor for Count<'_> {
    fn enters(&mut self, node: &ChunkId, _height: u8) -> Result<bool> {
        self.monitor.check()?;
        Ok(self.enter(node))
    }

    fn entry(&mut self, _leaf: &ChunkId, _key: Key<'_>, entry: &Entry) -> Result<()> {
        for kept in [elsewhere(&entry.xattrs), elsewhere(&entry.holes)].into_iter().flatten() {
            self.meet(kept);
        }
        match &entry.content {
            Content::None => {}
            Content::Slice { chunk, .. } => {
                self.meet(chunk);
            }
            Content::Rows { depth: 0, rows } => {
                for (chunk, _) in rows {
                    self.meet(chunk);
                }
            }
            Content::Rows { rows, .. } => self.lists(entry, rows)?,
        }
        Ok(())
    }

    fn broken(&mut self, _node: &ChunkId, key: Key<'_>, error: Error) -> Result<()> {
        self.report.broken += 1;
        let path = crate::tree::directory::lossy(&view::path_of(key));
        self.monitor.event(Event::Problem { path: &path, error: &error, lost: true });
        Ok(())
    }
}

fn elsewhere<T>(kept: &Kept<T>) -> Option<&ChunkId> {
    match kept {
        Kept::Elsewhere(chunk) => Some(chunk),
        Kept::None | Kept::Here(_) => None,
    }
}

/// Chunks, and which lists were read of them.
struct Listening<'a> {
    chunks: &'a dyn Chunks,
    lists: Mutex<Vec<ChunkId>>,
}

impl Chunks for Listening<'_> {
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        if kind == ChunkKind::List {
            self.lists.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(*id);
        }
        self.chunks.read(kind, id)
    }
}
