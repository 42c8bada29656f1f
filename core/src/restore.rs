//! The verb `restore`. Of a level, everything that can be known without reading the streams is checked first (gaps, sizes, whether it opens), then,
//! when all of a backup is wanted, its hashes; only then is the target touched. Of a snapshot, every chunk is checked before
//! it is written.

use crate::chain::StoredChain;
use crate::engine::{
    self, Chain as _, ObjectEngine, Overwrite, RestoreJob, StreamEngine, Wanted, Way, dedup,
};
use crate::error::{Error, Kind, Result, Retry};
use crate::keyring::Keyring;
use crate::level::BackupEntry;
use crate::monitor::{Counting, Event, Monitor};
use crate::repository::vault::{Index, ObjectId, Snapshot};
use crate::repository::{BackupId, Chain, Repository};
use crate::select::place::tree_path;
use crate::select::{self, Chosen, Filter};
use crate::spool::Scratch;
use crate::time::Timestamp;
use crate::tree::owner::Owners;
use crate::tree::target::{self, Target};
use std::path::Path;
use std::sync::Arc;

/// What to restore, and where to.
pub struct Options<'a> {
    /// Which series.
    pub filter: Filter,
    /// The name of this machine, to choose among several series.
    pub this_host: String,
    /// Which backup: an id, the head of one, `latest`, `latest~N`.
    pub backup: String,
    /// The newest backup that is not newer than this.
    pub at: Option<Timestamp>,
    /// A path of the tree: of a directory the content is restored, anything else as an entry of the target. Empty for all.
    pub path: Vec<u8>,
    /// What is wanted of that: paths, or patterns as those of `.gitignore`, both below `path`; empty means all.
    pub include: Vec<Vec<u8>>,
    /// Patterns of what is neither restored nor deleted.
    pub exclude: Vec<String>,
    /// What becomes of what the target holds already; `None` refuses one that holds anything.
    pub overwrite: Option<Overwrite>,
    /// Whether what is not in the backup goes. Not with a policy that keeps what is there.
    pub delete: bool,
    /// Whether long runs of zeros take no room, also where they are data in the backup.
    pub sparse: bool,
    /// Whether every restored file is read again and compared.
    pub verify: bool,
    /// Whether owners are numbers, whatever their names are here.
    pub numeric_owner: bool,
    /// Where to.
    pub target: &'a Path,
    /// What opens encrypted levels.
    pub keys: &'a Keyring<'a>,
    /// Read and check everything, write nothing.
    pub dry_run: bool,
    /// Threads that decompress.
    pub workers: usize,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The backup.
    pub id: BackupId,
    /// Its series.
    pub series: String,
    /// The levels that were replayed.
    pub levels: Vec<u32>,
    /// Entries written that are not directories, counted at every level.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Entries that were not restored, since what stands in their places was to stay.
    pub kept: u64,
    /// Files that were there already, of the same size and time, and were not read; they are among `files`.
    pub unchanged: u64,
    /// Files that were read again and compared, when that was asked for.
    pub verified: Option<u64>,
    /// Entries that lack an attribute (an owner, an extended attribute) that could not be given here.
    pub problems: u64,
}

/// Restores a backup.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), `AlreadyExists` for a target that is not empty, `Damaged`, `Unsupported`, `NoSpace`, `Interrupted`, and `Io`
/// when something of the backup could not be restored (each was told to the monitor).
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    scratch: &Scratch,
    monitor: &dyn Monitor,
) -> Result<Report> {
    let monitor = Counting::new(monitor);
    if options.delete && options.overwrite.is_none_or(Overwrite::keeps) {
        return Err(Error::invalid(
            "what is not in the backup cannot be deleted",
            "while what is there is to stay",
        )
        .hint("--delete goes with --overwrite always or --overwrite if-changed"));
    }
    let include = options.include.iter().map(|path| Ok((path.clone(), tree_path(path)?)));
    let include = include.collect::<Result<Vec<_>>>()?;
    let wanted = Wanted::new(tree_path(&options.path)?, include, &options.exclude)?;
    let (filter, host, text) = (&options.filter, &options.this_host, &options.backup);
    let (selected, index) = select::one_with_index(repository, filter, host, text, options.at, &monitor)?;
    for stray in &selected.strays {
        monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
    }
    let run = Run { repository, options, wanted, scratch, monitor: &monitor };
    let (id, series, levels) = match selected.backup {
        Chosen::Level { chain, entry } => run.level(&chain, entry)?,
        Chosen::Snapshot { id, snapshot } => run.snapshot(id, &snapshot, index)?,
    };
    if monitor.lost() > 0 {
        let what = format!("{} entries could not be restored; they are named above", monitor.lost());
        return Err(Error::new(Kind::Io, what));
    }
    Ok(Report {
        id,
        series,
        levels,
        files: monitor.entries(),
        bytes: monitor.bytes(),
        kept: monitor.kept(),
        unchanged: monitor.unchanged(),
        verified: options.verify.then(|| monitor.verified()),
        problems: monitor.problems(),
    })
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options<'a>,
    wanted: Wanted,
    scratch: &'a Scratch,
    monitor: &'a Counting<'a>,
}

impl Run<'_> {
    /// Restores a level: its id, its series, and the levels that were replayed.
    fn level(&self, chain: &Chain, entry: BackupEntry) -> Result<(BackupId, String, Vec<u32>)> {
        let (options, monitor) = (self.options, self.monitor);
        let location = chain.location(entry);
        let mut stored = StoredChain::open(
            self.repository,
            chain,
            entry,
            options.keys,
            self.scratch,
            options.workers,
            monitor,
        )?;
        let Way::Levels(engine) = engine::by_name(&location.engine)?.way() else {
            let unknown = Error::new(Kind::Unsupported, "no engine reads levels that are named");
            return Err(unknown.on(&location.engine));
        };
        check_target(options)?;
        // From far away all would be fetched twice: where nothing is lost by a restore that breaks off, it is checked on the way.
        let is_far = !self.repository.storage().is_close();
        if !(is_far && options.overwrite.is_none()) {
            match self.wanted.is_everything() {
                true => stored.verify_hashes()?,
                false => self.try_part(engine, &mut stored)?,
            }
        }
        let levels: Vec<u32> = stored.steps().iter().map(|step| step.location.entry.level.number()).collect();
        if let Some(details) = stored.steps().last().and_then(|step| step.document.details.as_ref()) {
            self.tell_what_is_missing(details.report.errors, &details.report.unread);
        }
        self.write(&format!("of {} levels ", stored.levels()), |target| {
            engine.restore(self.job(), &mut stored, target)
        })?;
        Ok((BackupId::of(&location), location.name.to_string(), levels))
    }

    /// Reads a part of a level without writing it, where the storage keeps several copies: what a damaged one has must not be in the target
    /// before another is read. To compare all of the chain may take far longer than the part does: that is done only when something
    /// is wrong with it. What fails for another reason is left to the restore to tell.
    fn try_part(&self, engine: &dyn StreamEngine, stored: &mut StoredChain<'_>) -> Result<()> {
        if !stored.hold()? {
            return Ok(());
        }
        let unheard = Unheard(self.monitor);
        let job = RestoreJob { verify: false, monitor: &unheard, ..self.job() };
        match engine.restore(job, stored, None) {
            Err(failure) if failure.kind() == Kind::Interrupted => Err(failure),
            Err(failure) => stored.pass_over(failure).or_else(|error| match error.kind() {
                Kind::Damaged | Kind::Interrupted => Err(error),
                _ => Ok(()),
            }),
            Ok(()) => Ok(()),
        }
    }

    /// Restores a snapshot; the same for it.
    fn snapshot(
        &self,
        id: ObjectId,
        snapshot: &Snapshot,
        index: Option<Index>,
    ) -> Result<(BackupId, String, Vec<u32>)> {
        let vault = self.repository.the_vault()?;
        let engine: &dyn ObjectEngine = &dedup::Dedup;
        check_target(self.options)?;
        let index = index.map_or_else(|| Index::load_present(vault, self.monitor, true), Ok)?;
        let index = Arc::new(index);
        self.tell_what_is_missing(snapshot.errors, &snapshot.unread);
        self.write("", |target| {
            engine.restore(self.job(), self.options.workers, vault, index, &snapshot.root, target)
        })?;
        Ok((BackupId::of_snapshot(id), select::series_of(snapshot).to_string(), vec![0]))
    }

    fn job(&self) -> RestoreJob<'_> {
        RestoreJob {
            wanted: &self.wanted,
            overwrite: self.options.overwrite,
            delete: self.options.delete,
            verify: self.options.verify,
            scratch: self.scratch,
            monitor: self.monitor,
        }
    }

    /// Opens the target (none for a dry run), lets `restore` write, and finishes the target whatever came of it.
    fn write(
        &self,
        of_what: &str,
        restore: impl FnOnce(Option<&mut Target<'_>>) -> Result<()>,
    ) -> Result<()> {
        let options = self.options;
        if options.dry_run {
            return restore(None);
        }
        std::fs::create_dir_all(options.target)
            .map_err(|e| Error::io("cannot make the target", options.target.display().to_string(), e))?;
        let mut target = Target::open(options.target, self.scratch, settings(options), self.monitor)?;
        let restored = restore(Some(&mut target));
        // Also after a failure: what was restored keeps its times and modes.
        let finished = target.finish();
        restored.and(finished).map_err(|error| match breaks_off(&error) {
            true => {
                let mut have =
                    format!("{} entries {of_what}were written before that", self.monitor.entries());
                // It was empty.
                if options.overwrite.is_none() {
                    have.push_str(", and nothing else is in the target");
                }
                error.hint(format!("{have}; the target is not a whole restore"))
            }
            false => error,
        })
    }

    /// What the backup itself lacks, since it could not be read then.
    fn tell_what_is_missing(&self, errors: u64, named: &[String]) {
        for unread in named {
            self.monitor.event(Event::Warning(&format!("not whole in this backup: {unread}")));
        }
        let unnamed = errors.saturating_sub(named.len() as u64);
        if unnamed > 0 {
            let text = format!("{unnamed} more entries are not whole in this backup");
            self.monitor.event(Event::Warning(&text));
        }
    }
}

/// Tells nobody what a reading comes upon that is done again; it ends when the user says so.
struct Unheard<'a>(&'a dyn Monitor);

impl Monitor for Unheard<'_> {
    fn event(&self, _event: Event<'_>) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Whether a restore that ends with this error has left a part of what it was to write. One that found what it had written changed
/// since was whole, and says what may help.
fn breaks_off(error: &Error) -> bool {
    match error.kind() {
        Kind::Damaged | Kind::NoSpace | Kind::Interrupted => true,
        Kind::Io | Kind::Denied => error.advice().is_none() || error.retry() == Retry::Later,
        _ => false,
    }
}

fn settings(options: &Options<'_>) -> target::Options {
    let owners = rustix::process::geteuid().is_root();
    let whole_names = options.overwrite.is_some_and(Overwrite::keeps);
    if options.numeric_owner {
        return target::Options { sparse: options.sparse, whole_names, ..target::Options::numeric(owners) };
    }
    let users = Arc::new(Owners::new());
    let groups = Arc::clone(&users);
    target::Options {
        numeric_owner: false,
        owners,
        uid_of: Box::new(move |name| users.uid_of(name)),
        gid_of: Box::new(move |name| groups.gid_of(name)),
        sparse: options.sparse,
        whole_names,
    }
}

/// A target that holds something is left alone unless the user said otherwise.
fn check_target(options: &Options<'_>) -> Result<()> {
    let subject = || options.target.display().to_string();
    let first = match std::fs::read_dir(options.target) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("cannot look into the target", subject(), error)),
    };
    if first.is_some() && options.overwrite.is_none() && !options.dry_run {
        return Err(Error::new(Kind::AlreadyExists, "the target is not empty:").on(subject()).hint(
            "choose another directory, or say what becomes of what is there: --overwrite replaces it, \
                 --overwrite never keeps it",
        ));
    }
    Ok(())
}
