//! The verbs through the library, over a storage in memory that a test may wrap in faults, damage or copy whole.
//!
//! Sources and targets are real directories. The clock is the kernel's own, since what counts as changed depends on it.

use crate::dedup::PASSWORD;
use crate::place::{HOST, NAME, assert_equal};
use icecore::backup::levels::{Encryption, Settings as Levels};
use icecore::backup::snapshot::{Parent, Settings as Snapshots};
use icecore::check::Amount;
use icecore::codec::Compression;
use icecore::engine::{Input, Root};
use icecore::keyring::Keyring;
use icecore::level::Policy;
use icecore::monitor::{Monitor, Quiet};
use icecore::name::ObjectName;
use icecore::repository::Repository;
use icecore::repository::vault::kdf::Parameters;
use icecore::repository::vault::{CompressionLevel, Password, Process, Protection, Vault};
use icecore::retention::Keep;
use icecore::select::Filter as Series;
use icecore::select::place::Place;
use icecore::spool::Scratch;
use icecore::storage::memory::Memory;
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::time::{FileTime, Timestamp};
use icecore::tree::filter::Filter;
use icecore::view::Which;
use icecore::view::levels::Means;
use icecore::{Kind, Result, backup, check, diff, dump, find, forget, list, ls, restore};
use icecore_testkit::manifest::Manifest;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Every backup is an increment to the one before.
pub const INCREMENTS: Policy =
    Policy { incremental: true, max_level: None, always_level: None, restart_after_days: None };

/// The engines that make chains.
pub const CHAINS: [&str; 2] = ["tar", "rsync"];

/// What `check` found: the sort of thing, the object, and what is wrong with it.
pub type Found = Vec<check::Finding>;

/// A source, the backups made of it, and what each must restore to.
pub struct World {
    directory: TempDir,
    pub memory: Memory,
    pub engine: &'static str,
    pub workers: usize,
    /// What levels are made by.
    pub compression: Compression,
    pub policy: Policy,
    /// What snapshots are made by.
    pub parent: Parent,
    /// How far ahead of the clock of files the backups are said to be. Two seconds make a file that was only just changed one
    /// that can be taken for unchanged, which then must not change again in this tick: see [`World::settle`].
    pub ahead_seconds: i64,
    /// Id and content of every backup, oldest first.
    pub made: Vec<(String, Manifest)>,
    /// Backups that were restored, each with the state of the storage then.
    restored: RefCell<HashSet<(String, u64)>>,
}

impl World {
    pub fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        World {
            directory,
            memory: Memory::new(),
            engine: "tar",
            workers: 1,
            compression: Compression::Zstd,
            policy: INCREMENTS,
            parent: Parent::Newest,
            ahead_seconds: 0,
            made: Vec::new(),
            restored: RefCell::default(),
        }
    }

    /// `count` backups, with changes before each, and one more change that no backup has.
    pub fn with_backups(count: u32, policy: Policy, compression: Compression) -> World {
        World { compression, policy, ..World::new() }.after(count)
    }

    /// A world of chains of an engine.
    pub fn chains(engine: &'static str) -> World {
        World { engine, ..World::new() }
    }

    /// A world of deduplicated backups.
    pub fn dedup() -> World {
        World { engine: "dedup", ahead_seconds: 5, ..World::new() }
    }

    /// The same after `count` backups, with changes before each, and one more change that no backup has.
    pub fn after(mut self, count: u32) -> World {
        for step in 0..count {
            self.change(step);
            self.back_up();
            self.settle();
        }
        self.change(count);
        self
    }

    /// Waits until the clock that stamps files has moved on.
    pub fn settle(&self) {
        let before = now();
        while now() <= before {
            std::thread::yield_now();
        }
    }

    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    /// A small change of every sort; the first makes the tree.
    pub fn change(&self, step: u32) {
        let at = |path: &str| self.source().join(path);
        if step == 0 {
            fs::create_dir_all(at("letters/old")).unwrap();
            fs::write(at("letters/kept"), "kept since the first".repeat(50)).unwrap();
            fs::write(at("letters/old/gone"), "will be deleted").unwrap();
            fs::hard_link(at("letters/kept"), at("linked")).unwrap();
        } else {
            fs::remove_file(at("letters/old/gone")).unwrap_or_default();
            fs::rename(at("letters/old"), at(&format!("letters/was-old-{step}"))).unwrap_or_default();
        }
        fs::create_dir_all(at("letters/old")).unwrap();
        fs::write(at(&format!("letters/old/new-{step}")), format!("new at {step}")).unwrap();
        fs::write(at("changed"), format!("changed at {step}").repeat(30)).unwrap();
    }

    /// Backs up into the world's own storage, which must end well.
    pub fn back_up(&mut self) -> backup::Report {
        let report = self.backup(Arc::new(self.memory.clone())).unwrap();
        let id = report.id.clone().unwrap().to_string();
        self.made.push((id, Manifest::of(&self.source()).unwrap()));
        report
    }

    /// Backs up into `storage`; makes the repository when there is none, as `--init` does.
    pub fn backup(&self, storage: Arc<dyn Storage>) -> Result<backup::Report> {
        self.run_backup(storage, false, &Quiet)
    }

    /// Does everything but writing.
    pub fn rehearse(&self, storage: Arc<dyn Storage>) -> Result<backup::Report> {
        self.run_backup(storage, true, &Quiet)
    }

    /// Backs up into the world's own storage, which must end well, while `monitor` watches.
    pub fn back_up_watched(&mut self, monitor: &dyn Monitor) {
        let report = self.run_backup(Arc::new(self.memory.clone()), false, monitor).unwrap();
        self.made.push((report.id.unwrap().to_string(), Manifest::of(&self.source()).unwrap()));
    }

    fn run_backup(
        &self,
        storage: Arc<dyn Storage>,
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<backup::Report> {
        let repository = self.open_or_create(storage)?;
        let source = self.source();
        let ahead_seconds = self.ahead_seconds;
        let clock = move || {
            let now = now();
            FileTime { seconds: now.seconds + ahead_seconds, ..now }
        };
        let options = backup::Options {
            engine: self.engine.to_owned(),
            host: HOST.to_owned(),
            name: NAME.to_owned(),
            input: Input::Trees(vec![Root { path: &source, name: Vec::new() }]),
            standing: backup::Standing::default(),
            filter: &Filter::none(),
            one_file_system: false,
            dereference: icecore::tree::dereference::Dereference::default(),
            tags: Vec::new(),
            now: clock(),
            workers: self.workers,
            process: Process::of_number(1),
            dry_run,
            levels: Levels {
                policy: self.policy,
                compression: self.compression,
                compression_level: None,
                encryption: Encryption::None,
                keys: &Keyring::none(),
                states: None,
                block_bytes: None,
            },
            snapshots: Snapshots {
                effort: CompressionLevel::Default,
                verify_compression: true,
                parent: self.parent.clone(),
                time: None,
                readers: 2,
            },
        };
        backup::run(&repository, options, &scratch(), monitor, &clock)
    }

    /// As `backup --init` does, but that the password of a vault costs next to nothing.
    fn open_or_create(&self, storage: Arc<dyn Storage>) -> Result<Repository> {
        let mut repository = match Repository::open(Arc::clone(&storage)) {
            Err(error) if error.kind() == Kind::NoRepository => {
                Repository::create(Arc::clone(&storage), &[7; 16])?
            }
            other => other?,
        };
        if self.engine == "dedup" {
            if !repository.has_vault()? {
                create_vault(storage)?;
            }
            repository.open_vault(&mut password)?;
        }
        Ok(repository)
    }

    /// Restores the backup `id` into a new directory.
    pub fn restore(&self, storage: Arc<dyn Storage>, id: &str) -> Restored {
        self.restore_part(storage, id, &[])
    }

    /// Restores what `include` names.
    pub fn restore_part(&self, storage: Arc<dyn Storage>, id: &str, include: &[&str]) -> Restored {
        let target = tempfile::tempdir_in(self.directory.path()).unwrap();
        let include = include.iter().map(|path| path.as_bytes().to_vec()).collect();
        let options = restore::Options { include, ..self.options(id, target.path()) };
        let outcome = open(storage).and_then(|open| restore::run(&open, &options, &scratch(), &Quiet));
        Restored { outcome, target }
    }

    /// All of a backup into a directory that is empty.
    pub fn options<'t>(&self, id: &str, target: &'t Path) -> restore::Options<'t> {
        restore::Options {
            filter: Series::default(),
            this_host: HOST.to_owned(),
            backup: id.to_owned(),
            at: None,
            path: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            overwrite: None,
            delete: false,
            sparse: false,
            verify: false,
            numeric_owner: true,
            target,
            keys: Box::leak(Box::new(Keyring::none())),
            dry_run: false,
            workers: self.workers,
        }
    }

    /// A new directory beside the source, for what is not a backup's.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Restores as it is told, from `storage`.
    pub fn restore_as(
        &self,
        storage: Arc<dyn Storage>,
        options: &restore::Options<'_>,
        monitor: &dyn Monitor,
    ) -> Result<restore::Report> {
        restore::run(&open(storage)?, options, &scratch(), monitor)
    }

    /// Every backup that `storage` lists restores to what it was made of; gives their ids. One that is not among
    /// [`World::made`] must be the newest, and of `latest`.
    #[track_caller]
    pub fn all_restore(&self, storage: &Memory, latest: &Manifest, what: &str) -> Vec<String> {
        let ids = ids(storage);
        let state = self.state_of_what_was_made(storage);
        for (position, id) in ids.iter().enumerate() {
            let known = self.made.iter().find(|(made, _)| made == id).map(|(_, content)| content);
            assert!(known.is_some() || position + 1 == ids.len(), "{what}: where does {id} come from?");
            // Most failures leave one of a few states: what was right in it before is right in it now.
            if known.is_none() || self.restored.borrow_mut().insert((id.clone(), state)) {
                self.restore(Arc::new(storage.clone()), id).equals(known.unwrap_or(latest), what);
            }
        }
        ids
    }

    /// All that a restore of a backup of [`World::made`] can depend on: every name, and the bytes of the objects made then.
    fn state_of_what_was_made(&self, storage: &Memory) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, bytes) in objects(storage) {
            let is_older = self.memory.stat(&name).is_ok();
            (name.as_str(), is_older.then_some(bytes)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// How a restore ended, and what it left.
pub struct Restored {
    pub outcome: Result<restore::Report>,
    target: TempDir,
}

impl Restored {
    pub fn is_untouched(&self) -> bool {
        fs::read_dir(self.target.path()).unwrap().next().is_none()
    }

    #[track_caller]
    pub fn equals(&self, expected: &Manifest, what: &str) {
        if let Err(error) = &self.outcome {
            panic!("{what}: {error:?}");
        }
        assert_equal(expected, &Manifest::of(self.target.path()).unwrap(), what);
    }

    /// It failed, or it is right.
    #[track_caller]
    pub fn is_right_or_refused(&self, expected: &Manifest, what: &str) {
        if self.outcome.is_ok() {
            self.equals(expected, what);
        }
    }

    /// It failed, or the file `path` is as in `source`.
    #[track_caller]
    pub fn has_or_refused(&self, source: &Path, path: &str, what: &str) {
        if self.outcome.is_ok() {
            let restored = fs::read(self.target.path().join(path)).unwrap();
            assert!(
                restored == fs::read(source.join(path)).unwrap(),
                "{what}: {path} is not what was stored"
            );
        }
    }
}

fn password() -> Result<Password> {
    Ok(Password::new(PASSWORD.into()))
}

/// Makes a vault that opens with the password of all vaults here, at the least cost.
pub fn create_vault(storage: Arc<dyn Storage>) -> Result<Vault> {
    let protection = Protection::Password(password()?);
    Vault::create_with(storage, &protection, Parameters::LEAST, "test", Timestamp(now().seconds))
}

/// Opens the repository, and the vault if there is one.
pub fn open(storage: Arc<dyn Storage>) -> Result<Repository> {
    let mut repository = Repository::open(storage)?;
    repository.open_vault(&mut password)?;
    Ok(repository)
}

/// What `check` reports, and everything that it found.
pub fn check(storage: Arc<dyn Storage>, read_data: bool, clean: bool) -> Result<(check::Report, Found)> {
    check_and_clean(storage, read_data, clean.then_some(Timestamp(i64::MAX)))
}

pub fn check_and_clean(
    storage: Arc<dyn Storage>,
    read_data: bool,
    clean_older_than: Option<Timestamp>,
) -> Result<(check::Report, Found)> {
    let read_data = if read_data { Amount::Everything } else { Amount::Nothing };
    let options = check::Options {
        filter: Series::default(),
        read_data,
        clean_older_than,
        now: Timestamp(0),
        is_over: |_| false,
        workers: 1,
        keys: &Keyring::none(),
    };
    let mut found = Vec::new();
    let report = check::run(&open(storage)?, &options, &scratch(), &Quiet, &mut |finding| {
        found.push(finding.clone());
    })?;
    Ok((report, found))
}

/// Nothing that is stored is the worse for anything.
#[track_caller]
pub fn check_is_clean(storage: &Memory, what: &str) {
    let (report, found) = check(Arc::new(storage.clone()), true, false).unwrap();
    assert_eq!(report.problems, 0, "{what}: {found:#?}");
}

/// Removes every chain but the newest.
pub fn forget_all_but_the_newest(storage: Arc<dyn Storage>) -> Result<forget::Report> {
    let options = forget::Options {
        filter: Series::default(),
        keep: Keep { last: 1, ..Keep::default() },
        allow_last: false,
        zone: jiff::tz::TimeZone::UTC,
        host: HOST.to_owned(),
        now: Timestamp(now().seconds),
        dry_run: false,
    };
    forget::run(&open(storage)?, &options, &Quiet, &mut |_| ())
}

/// The paths that a backup tells, with sizes; and the content of one of its files.
pub type Seen = (Vec<(Vec<u8>, u64)>, Vec<u8>);

/// Looks into the latest backup.
pub fn looked_into(storage: Arc<dyn Storage>, path: &str) -> Result<Seen> {
    let (repository, scratch) = (open(storage)?, scratch());
    let which = || Which { this_host: HOST.to_owned(), ..Which::default() };
    let place = |path: &str| Place { backup: "latest".to_owned(), path: path.as_bytes().to_vec() };
    let means = Means { keys: &Keyring::none(), scratch: &scratch, workers: 1 };
    let options = ls::Options { which: which(), place: place(""), recursive: true, means };
    let mut entries = Vec::new();
    ls::run(&repository, &options, &Quiet, &mut |path, entry| {
        entries.push((path.to_vec(), entry.size_bytes));
        Ok(())
    })?;
    let options = dump::Options {
        which: which(),
        place: place(path),
        form: None,
        directory_form: dump::Form::Tar,
        archives: true,
        workers: 1,
        scratch: &scratch,
        keys: &Keyring::none(),
    };
    let mut content = Vec::new();
    dump::run(&repository, &options, &Quiet, &mut content)?;
    Ok((entries, content))
}

/// What differs between the last two backups, and what is in the last, in words.
pub fn compared(storage: Arc<dyn Storage>) -> Result<Vec<String>> {
    let (repository, scratch) = (open(storage)?, scratch());
    let which = || Which { this_host: HOST.to_owned(), ..Which::default() };
    let place = |backup: &str| Place { backup: backup.to_owned(), path: Vec::new() };
    let mut told = Vec::new();
    let options =
        diff::Options { which: which(), old: place("latest~1"), new: diff::New::Backup(place("latest")) };
    let report = diff::run(&repository, &options, &Quiet, &mut |change| {
        told.push(format!("{change:?}"));
        Ok(())
    })?;
    told.push(format!("{:?}", report.counts));
    let means = Means { keys: &Keyring::none(), scratch: &scratch, workers: 1 };
    let wanted = find::Wanted::default();
    let options = find::Options { which: which(), place: place("latest"), all: false, wanted, means };
    let report = find::run(&repository, &options, &Quiet, &mut |found| {
        told.push(format!("{found:?}"));
        Ok(())
    })?;
    told.push(format!("{report:?}"));
    Ok(told)
}

pub fn listing(storage: Arc<dyn Storage>) -> Result<list::Listing> {
    list::run(&open(storage)?, &Series::default())
}

/// The ids of what is listed, oldest first; none where there is no repository.
#[track_caller]
pub fn ids(storage: &Memory) -> Vec<String> {
    match listing(Arc::new(storage.clone())) {
        Ok(listing) => listing.rows.into_iter().map(|row| row.id.to_string()).collect(),
        Err(error) if error.kind() == Kind::NoRepository => Vec::new(),
        Err(error) => panic!("{error:?}"),
    }
}

/// Every object with its bytes.
pub fn objects(storage: &Memory) -> Vec<(ObjectName, Vec<u8>)> {
    let mut names = Vec::new();
    let take = &mut |row| {
        if let Listed::Object { name, .. } = row {
            names.push(name);
        }
        Ok(())
    };
    storage.list(None, Depth::All, take).unwrap();
    names.into_iter().map(|name| (name.clone(), storage.read(&name, 0, usize::MAX).unwrap())).collect()
}

/// A storage of its own with the same objects.
pub fn copy_of(storage: &Memory) -> Memory {
    let copy = Memory::new();
    for (name, bytes) in objects(storage) {
        copy.put(&name, &bytes, PutMode::CreateNew).unwrap();
    }
    copy
}

fn now() -> FileTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    FileTime::new(time.tv_sec, time.tv_nsec as u32)
}

fn scratch() -> Scratch {
    Scratch::new(std::env::temp_dir())
}
