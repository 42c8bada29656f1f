//! Looking into the levels of chains: the tree of one as its engine tells it, and the content of a file by way of a restore of
//! that file alone into a temporary folder, so that all the checks of a restore are made.

use super::{Named, is_within};
use crate::chain::StoredChain;
use crate::engine::dedup::tree::Entry;
use crate::engine::{self, RestoreJob, StreamEngine, Wanted, Way};
use crate::error::{Error, Kind, Result};
use crate::keyring::Keyring;
use crate::level::BackupEntry;
use crate::limits::READ_BYTES;
use crate::monitor::{Counting, Event, Monitor};
use crate::repository::{BackupId, Chain, Repository};
use crate::spool::Scratch;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use crate::tree::target::{self, Target};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What levels are read with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// What opens encrypted ones.
    pub keys: &'a Keyring<'a>,
    /// Where to put what outgrows memory.
    pub scratch: &'a Scratch,
    /// Threads that decompress.
    pub workers: usize,
}

/// A level that can be looked into.
pub struct Level<'a> {
    named: Named,
    engine: &'static dyn StreamEngine,
    engine_name: &'static str,
    stored: StoredChain<'a>,
    scratch: &'a Scratch,
    monitor: &'a dyn Monitor,
}

impl<'a> Level<'a> {
    /// Opens it, with all below it.
    ///
    /// # Errors
    /// As [`StoredChain::open`]; `Unsupported` when no engine reads it.
    pub fn open(
        repository: &'a Repository,
        chain: &Chain,
        entry: BackupEntry,
        means: Means<'a>,
        monitor: &'a dyn Monitor,
    ) -> Result<Level<'a>> {
        let location = chain.location(entry);
        let Means { keys, scratch, workers } = means;
        let stored = StoredChain::open(repository, chain, entry, keys, scratch, workers, monitor)?;
        let found = engine::by_name(&location.engine)?;
        let Way::Levels(engine) = found.way() else {
            let unknown = Error::new(Kind::Unsupported, "no engine reads levels that are named");
            return Err(unknown.on(&location.engine));
        };
        let details = stored.steps().last().and_then(|step| step.document.details.as_ref());
        let report = details.map(|details| &details.report);
        let named = Named {
            id: BackupId::of(&location),
            host: report.map(|report| report.host.clone()),
            name: report.map_or_else(|| location.name.to_string(), |report| report.name.clone()),
            seconds: location.entry.timestamp.0,
        };
        Ok(Level { named, engine, engine_name: found.name(), stored, scratch, monitor })
    }

    /// What the backup is called.
    pub fn named(&self) -> &Named {
        &self.named
    }

    /// Hands out the entry at `path` and everything below it, in the order of the tree.
    ///
    /// # Errors
    /// `NotFound` when there is nothing at `path`; as [`StreamEngine::tree`] has it.
    pub fn walk(&mut self, path: &[u8], found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>) -> Result<()> {
        let mut is_there = false;
        let has_others = self.stored.hold()?;
        let walked = self.walk_once(path, &mut is_there, found);
        match walked {
            // Once something was handed out it is too late to begin anew.
            Err(failure) if has_others && !is_there => {
                self.stored.pass_over(failure)?;
                self.walk_once(path, &mut is_there, found)?;
            }
            walked => walked?,
        }
        if is_there { Ok(()) } else { Err(super::not_there(path)) }
    }

    fn walk_once(
        &mut self,
        path: &[u8],
        is_there: &mut bool,
        found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
    ) -> Result<()> {
        self.engine.tree(&mut self.stored, self.scratch, self.monitor, &mut |here, entry| {
            if !is_within(here, path) {
                return Ok(());
            }
            *is_there = true;
            found(here, entry)
        })
    }

    /// Writes the content of the file at `path`, all of it or an error; how many bytes there are.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for anything but a file; as a restore has it; as `out` has it.
    pub fn write_file(&mut self, path: &[u8], out: &mut dyn Write) -> Result<u64> {
        let mut top = None;
        self.walk(path, &mut |here, entry| {
            if here == path {
                top = Some(entry.clone());
            }
            Ok(())
        })?;
        let Some(top) = top else { return Err(super::not_there(path)) };
        if top.kind != FileKind::File {
            let engine = self.engine_name;
            let what = format!("of a backup made by the engine {engine} files come out one by one, not");
            return Err(Error::new(Kind::Unsupported, what)
                .on(lossy(path))
                .hint("restore it to a folder: icecore restore --target FOLDER BACKUP:PATH"));
        }
        if top.is_unread() {
            return Err(super::content::unread().on(lossy(path)));
        }
        super::tell_unless_whole(path, &top, self.monitor);
        let has_others = self.stored.hold()?;
        let made = match self.take_out(path) {
            Err(failure) if has_others => {
                self.stored.pass_over(failure)?;
                self.take_out(path)?
            }
            taken => taken?,
        };
        copy(&made, top.size_bytes, self.monitor, out)
            .map_err(|error| error.while_doing("cannot take out", lossy(path)))?;
        self.monitor.event(Event::Entry { path, bytes: top.size_bytes });
        Ok(top.size_bytes)
    }

    /// Restores one file, which has no name any more, and no folder.
    fn take_out(&mut self, path: &[u8]) -> Result<std::fs::File> {
        let folder = tempfile::Builder::new().prefix("icecore-").tempdir_in(self.scratch.folder());
        let folder = folder.map_err(|e| {
            Error::io("cannot make a temporary folder in", self.scratch.folder().display().to_string(), e)
        })?;
        self.restore_into(folder.path(), path)
    }

    /// Restores one file: it is then open, and has no name any more.
    fn restore_into(&mut self, folder: &Path, path: &[u8]) -> Result<std::fs::File> {
        let wanted = Wanted::new(path.to_vec(), Vec::new(), &[])?;
        let heard = Heard { inner: self.monitor };
        let counting = Counting::new(&heard);
        let mut target = Target::open(folder, self.scratch, target::Options::numeric(false), &counting)?;
        let job = RestoreJob {
            wanted: &wanted,
            overwrite: None,
            delete: false,
            verify: false,
            scratch: self.scratch,
            monitor: &counting,
        };
        let restored = self.engine.restore(job, &mut self.stored, Some(&mut target));
        restored.and(target.finish())?;
        if counting.lost() > 0 {
            return Err(Error::new(Kind::Io, "it could not be read whole:").on(lossy(path)));
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let place = folder.join(OsStr::from_bytes(name));
        let failed = |e| Error::io("cannot read what was restored of", lossy(path), e);
        // Its mode may bar its owner.
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let file = std::fs::File::open(&place).map_err(failed)?;
        std::fs::remove_file(&place).map_err(failed)?;
        Ok(file)
    }
}

/// Hands on what a user has to know of a restore that is only a means: what is lost, and warnings; not what is done.
struct Heard<'a> {
    inner: &'a dyn Monitor,
}

impl Monitor for Heard<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Problem { lost: true, .. } | Event::Warning(_) | Event::Stored { .. }) {
            self.inner.event(event);
        }
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }
}

fn copy(mut file: &std::fs::File, size_bytes: u64, monitor: &dyn Monitor, out: &mut dyn Write) -> Result<()> {
    let (mut buffer, mut left) = (vec![0; READ_BYTES], size_bytes);
    loop {
        monitor.check()?;
        let read = file.read(&mut buffer).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(wrong_length)?;
        out.write_all(&buffer[..read]).map_err(|e| Error::io("cannot write", "what was asked for", e))?;
    }
    if left == 0 { Ok(()) } else { Err(wrong_length()) }
}

#[cold]
fn wrong_length() -> Error {
    Error::damaged("what was restored is not as long as the backup says of", "the file")
}
