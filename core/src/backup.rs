//! The verb `backup`: the engine says which way it goes, by levels ([`levels`]) or by snapshots ([`snapshot`]). Either way the
//! object with which the backup exists is written last.

pub mod levels;
pub mod snapshot;

use crate::engine::{self, Input, Root, Way};
use crate::error::{Error, Result};
use crate::monitor::{Counting, Monitor};
use crate::name::BackupName;
use crate::repository::vault::{Process, Sessions, State};
use crate::repository::{BackupId, Repository};
use crate::spool::Scratch;
use crate::time::FileTime;
use crate::tree::dereference::Dereference;
use crate::tree::directory::path_bytes;
use crate::tree::filter::Filter;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What to back up, and how.
pub struct Options<'a> {
    /// The engine, by name.
    pub engine: String,
    /// The host the data belongs to.
    pub host: String,
    /// What the backup is called.
    pub name: String,
    /// What is read.
    pub input: Input<'a>,
    /// What is known of the source besides.
    pub standing: Standing<'a>,
    /// What is left out.
    pub filter: &'a Filter,
    /// Whether to stay on the file systems of the paths.
    pub one_file_system: bool,
    /// What is stored in place of links; only engines that make levels know of it.
    pub dereference: Dereference,
    /// What the user calls this backup besides.
    pub tags: Vec<String>,
    /// The time now.
    pub now: FileTime,
    /// Threads that compress.
    pub workers: usize,
    /// This process, for whoever finds what a killed run left.
    pub process: Process,
    /// Read everything, write nothing.
    pub dry_run: bool,
    /// What engines that make levels need to know.
    pub levels: levels::Settings<'a>,
    /// What engines that make snapshots need to know.
    pub snapshots: snapshot::Settings,
}

/// What is known of a source that somebody keeps still while it is read: a volume snapshot, or a database that was told to wait.
#[derive(Default)]
pub struct Standing<'a> {
    /// The paths that the backup is of, where it is read from others; empty when those that are read are meant.
    pub stands_for: Vec<PathBuf>,
    /// Since when nothing changes in what is read. Whatever happens to the source later belongs to the next backup, so that no
    /// comparison of times may reach beyond this moment.
    pub since: Option<FileTime>,
    /// Asked when everything is stored and nothing is committed: whether it was still all the time.
    pub confirm: Option<&'a (dyn Fn() -> Result<()> + Sync)>,
}

impl Standing<'_> {
    fn confirm(&self) -> Result<()> {
        self.confirm.map_or(Ok(()), |confirm| confirm())
    }

    /// What time it is for whoever asks whether an entry may still have been changed after it was read.
    fn at_most(&self, now: FileTime) -> FileTime {
        self.since.map_or(now, |since| now.min(since))
    }
}

/// What a backup came to.
#[derive(Debug)]
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
    /// Entries in it that are not directories (of a level: what it stored).
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Bytes that it added to the storage.
    pub stored_bytes: u64,
    /// Entries that could not be read, or not as they were at one moment.
    pub errors: u64,
    /// Why it has this level.
    pub reason: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Of a deduplicated backup, what the repository has now as far as this run knows: spares who remembers it a list.
    pub state: Option<State>,
    /// Of a deduplicated backup, the runs that are announced besides: spares who looks whether they were killed a list.
    pub sessions: Option<Sessions>,
}

/// Makes a backup. `clock` says what time it is.
///
/// # Errors
/// `Invalid` options, a source that is not there, trouble with the storage (`NoSpace`, `Denied` …), `Busy`, `Interrupted`,
/// `NoRepository` when the engine needs a vault and there is none; what `Standing::confirm` answers. On any error no backup exists.
pub fn run(
    repository: &Repository,
    options: Options<'_>,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    clock: &(dyn Fn() -> FileTime + Sync),
) -> Result<Report> {
    let engine = engine::by_name(&options.engine)?;
    let name = BackupName::new(&options.host, &options.name)?;
    let monitor = Counting::new(monitor);
    match engine.way() {
        Way::Levels(engine) => levels::run(repository, &options, engine, name, scratch, &monitor, clock),
        Way::Objects(engine) => snapshot::run(repository, options, engine, name, &monitor, clock),
    }
}

/// The roots of a backup of these paths: one is the root itself, several stand beside each other by their last names.
///
/// # Errors
/// `Invalid` when two would have one name, or one has none (`/`).
pub fn roots(paths: &[PathBuf]) -> Result<Vec<Root<'_>>> {
    if let [path] = paths {
        return Ok(vec![Root { path, name: Vec::new() }]);
    }
    let mut roots: Vec<Root<'_>> = Vec::with_capacity(paths.len());
    let mut seen: HashMap<&[u8], &Path> = HashMap::with_capacity(paths.len());
    for path in paths {
        let shown = || path.display().to_string();
        let name = path.file_name().ok_or_else(|| {
            Error::invalid("has no name to stand under beside other paths:", shown())
                .hint("back it up by itself")
        })?;
        let name = name.as_bytes();
        if let Some(other) = seen.insert(name, path) {
            let both = format!("{} and {}", other.display(), shown());
            return Err(Error::invalid("two paths end in the same name:", both)
                .hint("back up a directory that holds both, or make a backup of each"));
        }
        roots.push(Root { path, name: name.to_vec() });
    }
    Ok(roots)
}

/// The paths of an input, as a backup's own record has them.
fn paths(options: &Options<'_>) -> Vec<Vec<u8>> {
    if !options.standing.stands_for.is_empty() {
        return options.standing.stands_for.iter().map(|path| path_bytes(path).to_vec()).collect();
    }
    match &options.input {
        Input::Trees(roots) => roots.iter().map(|root| path_bytes(root.path).to_vec()).collect(),
        Input::Stream { name, .. } => vec![name.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Result<Vec<Vec<u8>>> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        roots(&paths).map(|roots| roots.into_iter().map(|root| root.name).collect())
    }

    #[test]
    fn one_path_is_the_root_and_several_have_names() {
        assert_eq!(names(&["/a/b"]).unwrap(), [b""]);
        assert_eq!(names(&["/"]).unwrap(), [b""]);
        assert_eq!(names(&["/a/b", "/c/"]).unwrap(), [b"b", b"c"]);
    }

    #[test]
    fn names_that_are_equal_or_missing_are_refused() {
        let error = names(&["/a/x", "/b/y", "/b/x"]).unwrap_err();
        assert!(error.to_string().contains("/a/x and /b/x"), "{error}");
        assert!(names(&["/a", "/"]).is_err());
    }
}
