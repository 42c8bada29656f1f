//! What this machine remembers of each repository, so that one that went back to an older state is noticed: the ids of snapshots,
//! removals and keys that it has seen, in `$XDG_STATE_HOME/icecore/ID/seen.json`; and which repository stands at which place, in
//! `…/icecore/places/HASH`, so that an unencrypted one that took the place of an encrypted one is not taken for it.
//!
//! Invariant: of two runs at once neither undoes what the other has remembered, where files can be locked: what was seen is read
//! again and written under a lock, which is held for nothing else.

use crate::cli::Context;
use crate::output;
use icecore::error::{Error, Kind, Result};
use icecore::repository::Repository;
use icecore::repository::vault::{ObjectId, Rollback, Seen, State, Vault};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The name of the file.
const FILE: &str = "seen.json";

/// The file that is locked while the other is read and written.
const LOCK: &str = "seen.lock";

/// How often the lock is tried, and how long is waited in between: others hold it for a moment, or have been stopped.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// How many steps back are named by commands that are not about them.
const NAMED: usize = 3;

/// What becomes of what is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// It is a warning.
    Warn,
    /// It is a problem of the repository.
    Report,
    /// It is taken for right from now on.
    Accept,
}

/// Compares a repository with what was seen of it, and remembers what is there now; says how much was undone since and is not
/// accepted. A repository without a vault has nothing to compare.
///
/// # Errors
/// As the storage has it. A memory that cannot be read or kept is a warning; an error, where something is to be accepted.
pub fn look(context: &Context<'_>, repository: &Repository, strictness: Strictness) -> Result<u64> {
    let Some(vault) = repository.vault() else { return Ok(0) };
    let Some(folder) = folder_of(vault.id()) else {
        let reason = "neither XDG_STATE_HOME nor HOME is set";
        if strictness == Strictness::Accept {
            return Err(
                Error::new(Kind::Unsupported, "nothing can be remembered:").because(reason.to_owned())
            );
        }
        unprotected(context, reason);
        return Ok(0);
    };
    let mut seen = match read(&folder, vault.id()) {
        Ok(seen) => seen,
        Err(error) => {
            let text = format!("what was seen of this repository before is forgotten: {error}");
            warn(context, &text);
            Seen::new(vault.id())
        }
    };
    let before = seen.clone();
    let mut state = vault.recent_state()?;
    let mut keys = vault.recent_key_ids()?;
    let mut rollbacks = seen.notice(&state.snapshots, &state.removals);
    if !rollbacks.is_empty() {
        // A list that is older than what is remembered, as that of the beginning of a long backup, convicts nobody.
        state = vault.state()?;
        seen = before.clone();
        rollbacks = seen.notice(&state.snapshots, &state.removals);
    }
    if before.doubts_keys(&keys) {
        keys = vault.key_ids()?;
    }
    // Of several places one may not have been given a key yet.
    let known: &[ObjectId] = if context.mirrors.hold(repository) { &[] } else { before.keys() };
    rollbacks.extend(seen.notice_keys(&keys, known));
    let State { snapshots, removals } = &state;
    let remember = |seen: &mut Seen| {
        // What is told is by what was known before the storage was listed: another run may know of newer backups by now.
        seen.notice(snapshots, removals);
        seen.notice_keys(&keys, known);
        if strictness == Strictness::Accept {
            seen.accept(&rollbacks);
        }
    };
    if strictness == Strictness::Accept {
        seen.accept(&rollbacks);
    }
    if seen != before
        && let Err(error) = update(&folder, vault.id(), &before, remember)
    {
        if strictness == Strictness::Accept {
            return Err(error);
        }
        unprotected(context, &error.to_string());
    }
    tell(context, &rollbacks, strictness);
    // Whoever looks before it reads goes by what was seen here.
    vault.keep_state(state);
    Ok(if strictness == Strictness::Accept { 0 } else { rollbacks.len() as u64 })
}

fn tell(context: &Context<'_>, rollbacks: &[Rollback], strictness: Strictness) {
    let named = if strictness == Strictness::Warn { NAMED } else { usize::MAX };
    for rollback in rollbacks.iter().take(named) {
        let (sort, id, what) = match rollback {
            Rollback::Vanished(id) => {
                ("backup", id, "was here before, is gone, and nobody is known to have removed it")
            }
            Rollback::Returned(id) => {
                ("backup", id, "had been removed, is back, and the record of its removal is gone")
            }
            Rollback::KeyReturned(id) => {
                ("key", id, "had been removed, is back, and its password opens everything again")
            }
        };
        let text = format!("{sort} {id} {what}: the repository was damaged, tampered with, or set back");
        let line =
            |kind: &str| json!({"type": kind, "kind": "rollback", "object": id.to_string(), "error": text});
        match (strictness, context.global.json) {
            (Strictness::Warn, _) => warn(context, &text),
            (Strictness::Report, true) => output::json(&line("problem")),
            (Strictness::Report, false) => output::warning(&format!("rollback: {text}")),
            (Strictness::Accept, true) => output::json(&line("accepted")),
            (Strictness::Accept, false) => output::line(context.global, &format!("accepted: {text}")),
        }
    }
    let more = rollbacks.len().saturating_sub(named);
    if more > 0 {
        let objects = output::count(more as u64, "more backup or key", "more backups and keys");
        warn(context, &format!("{objects} of which the same is true: icecore check names them"));
    }
    let hint = "if that is as it should be: icecore check --accept-rollback";
    match strictness {
        Strictness::Report if !rollbacks.is_empty() && !context.global.json => {
            output::warning(&format!("  {hint}"));
        }
        _ => {}
    }
}

/// Whether it was said in this run that nothing is remembered.
static SAID: AtomicBool = AtomicBool::new(false);

/// Says once that a protection is lost.
fn unprotected(context: &Context<'_>, reason: &str) {
    if !context.global.quiet && !SAID.swap(true, Ordering::Relaxed) {
        warn(
            context,
            &format!("a repository that is set back to an older state will not be noticed: {reason}"),
        );
    }
}

/// Prints a warning.
pub fn warn(context: &Context<'_>, text: &str) {
    if context.global.json {
        output::json(&json!({"type": "warning", "message": text}));
    } else {
        output::warning(&format!("warning: {text}"));
    }
}

/// Compares what stands at `place` with what stood there when it was last opened, and remembers it.
///
/// # Errors
/// `Denied` when the repository was encrypted and is not any more: what comes from it would be believed, and what goes to it
/// readable. A memory that cannot be read or kept is a warning.
pub fn recognise(context: &Context<'_>, place: &Path, vault: Option<&Vault>) -> Result<()> {
    let Some(file) = memory_of(place) else { return Ok(()) };
    let now = vault.map(|vault| format!("{} {}\n", vault.id(), encryption(vault)));
    let before = match std::fs::read_to_string(&file) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            warn(context, &format!("what stood here before is forgotten: {}: {error}", file.display()));
            None
        }
    };
    if before == now {
        return Ok(());
    }
    let was_encrypted = before.as_ref().is_some_and(|before| before.ends_with(" encrypted\n"));
    match vault {
        Some(vault) if !vault.is_encrypted() && was_encrypted => {
            return Err(Error::new(
                Kind::Denied,
                "the repository here was encrypted, and the one that is here now is not:",
            )
            .on(place.display().to_string())
            .hint(format!(
                "somebody has put another in its place; if that was you, remove {}",
                file.display()
            )));
        }
        None => {
            warn(
                context,
                "the deduplicated backups that were in this repository are gone: damaged, or removed",
            );
            return Ok(());
        }
        Some(_) if before.is_some() => warn(context, "this is not the repository that was here before"),
        Some(_) => {}
    }
    remember(place, vault);
    Ok(())
}

/// Remembers what stands at `place`. Where nothing can be kept, [`look`] says so.
pub fn remember(place: &Path, vault: Option<&Vault>) {
    let (Some(file), Some(vault)) = (memory_of(place), vault) else { return };
    let text = format!("{} {}\n", vault.id(), encryption(vault));
    replace(&file, text.as_bytes()).unwrap_or(());
}

/// Remembers the one key of a repository that has just been made.
pub fn begin(vault: Option<&Vault>) {
    let Some((vault, folder)) = vault.and_then(|vault| Some((vault, folder_of(vault.id())?))) else { return };
    let mut seen = Seen::new(vault.id());
    seen.notice_keys(&[vault.key_id()], &[]);
    // Without it the next run only takes longer.
    keep(&folder, &seen).unwrap_or(());
}

/// The keys that were seen of the repository that stands at `place`, as far as is known: a hint.
pub fn keys_at(place: &Path) -> Vec<ObjectId> {
    let known = || {
        let stood = std::fs::read_to_string(memory_of(place)?).ok()?;
        let repository: ObjectId = stood.split(' ').next()?.parse().ok()?;
        Some(read(&folder_of(repository)?, repository).ok()?.keys().to_vec())
    };
    known().unwrap_or_default()
}

fn encryption(vault: &Vault) -> &'static str {
    if vault.is_encrypted() { "encrypted" } else { "open" }
}

/// Where it is kept which repository stands at a place; `None` where there is no home.
fn memory_of(place: &Path) -> Option<PathBuf> {
    let name = blake3::hash(place.as_os_str().as_encoded_bytes()).to_hex().to_string();
    Some(state()?.join("places").join(name))
}

/// The folder of a repository; `None` where there is no home.
fn folder_of(repository: ObjectId) -> Option<PathBuf> {
    Some(state()?.join(repository.to_string()))
}

/// Where this program remembers things.
pub fn state() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let state = std::env::var_os("XDG_STATE_HOME").and_then(absolute);
    let home = || std::env::var_os("HOME").and_then(absolute).map(|home| home.join(".local/state"));
    Some(state.or_else(home)?.join("icecore"))
}

fn read(folder: &Path, repository: ObjectId) -> Result<Seen> {
    let path = folder.join(FILE);
    let shown = || path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Seen::new(repository)),
        Err(error) => return Err(Error::io("cannot read", shown(), error)),
    };
    let seen = Seen::parse(&bytes).map_err(|error| error.while_doing("cannot use", shown()))?;
    if seen.repository() != repository {
        return Err(Error::new(Kind::Damaged, "of another repository:").on(shown()));
    }
    Ok(seen)
}

/// Changes what was seen, as it is remembered now; where that cannot be read, as it was `before`.
fn update(folder: &Path, repository: ObjectId, before: &Seen, change: impl FnOnce(&mut Seen)) -> Result<()> {
    // Closing it ends the lock.
    let _lock = lock(folder);
    let mut seen = read(folder, repository).unwrap_or_else(|_| before.clone());
    change(&mut seen);
    keep(folder, &seen)
}

/// The lock of a folder; `None` where there is none to be had, which is no reason to remember nothing.
fn lock(folder: &Path) -> Option<File> {
    std::fs::create_dir_all(folder).ok()?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)).ok()?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_WAIT),
            Err(_) => return None,
        }
    }
    None
}

/// Writes what was seen anew.
fn keep(folder: &Path, seen: &Seen) -> Result<()> {
    replace(&folder.join(FILE), &seen.encode()?)
}

/// Writes a file anew; a run that is killed, or a machine that loses its power, leaves the old one or the new.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::io("cannot write", file.display().to_string(), e);
    let folder = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let new = file.with_extension(format!("{}.new", std::process::id()));
    // Its bytes are on the disk before it takes the name; that the name is need not be waited for.
    let written = File::create(&new)
        .and_then(|mut open| open.write_all(bytes).and_then(|()| open.sync_all()))
        .and_then(|()| std::fs::rename(&new, file));
    if written.is_err() {
        std::fs::remove_file(&new).unwrap_or(());
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(repository: &str, snapshots: &[String]) -> Seen {
        let none: [String; 0] = [];
        let shape = json!({"version": 1, "repository": repository, "snapshots": snapshots, "removed": none});
        Seen::parse(shape.to_string().as_bytes()).unwrap()
    }

    fn snapshots(seen: &Seen) -> Vec<String> {
        let shape: serde_json::Value = serde_json::from_slice(&seen.encode().unwrap()).unwrap();
        let ids = shape["snapshots"].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn of_runs_at_once_none_undoes_what_another_has_seen() {
        const RUNS: u32 = 3;
        const EACH: u32 = 15;
        let folder = std::env::temp_dir().join(format!("icecore-seen-{}", std::process::id()));
        let repository = "ab".repeat(32);
        let before = seen(&repository, &[]);
        let run = &|number: u32| {
            for step in 0..EACH {
                let change = |now: &mut Seen| {
                    let mut ids = snapshots(now);
                    // Others come in between where nothing keeps them out.
                    std::thread::sleep(Duration::from_millis(1));
                    ids.push(format!("{:064x}", number * EACH + step));
                    *now = seen(&repository, &ids);
                };
                update(&folder, before.repository(), &before, change).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for number in 0..RUNS {
                scope.spawn(move || run(number));
            }
        });
        let mut ids = snapshots(&read(&folder, before.repository()).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        ids.sort();
        let expected: Vec<String> = (0..RUNS * EACH).map(|id| format!("{id:064x}")).collect();
        assert_eq!(ids, expected);
    }
}
