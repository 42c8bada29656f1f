//! Reading what was written again, and comparing it with what the state says.

use super::super::state::RowKind;
use super::Restore;
use super::plan::hash_of;
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::tree::directory::lossy;

impl Restore<'_, '_, '_> {
    /// Compares every file that was made.
    ///
    /// # Errors
    /// `Io` when something differs; each was told. `Interrupted`; I/O of temporary files.
    pub(super) fn verify(&mut self) -> Result<()> {
        let (true, Some(target)) = (self.job.verify, self.target.as_deref_mut()) else { return Ok(()) };
        target.sync()?;
        let mut files = target.files();
        let mut differing = 0_u64;
        for number in 0..self.destinations.len() as u32 {
            self.job.monitor.check()?;
            if self.failed.contains(&number) {
                continue;
            }
            let (path, row) = self.destination(number)?;
            let RowKind::File(file) = row.kind else { continue };
            let there = match files.reread(&path) {
                Ok(there) => there,
                Err(error) if error.kind() == Kind::Denied => {
                    self.job.monitor.event(Event::Problem {
                        path: &lossy(&path),
                        error: &error,
                        lost: false,
                    });
                    continue;
                }
                // A link stands above it.
                Err(error) if error.kind() == Kind::Invalid => None,
                Err(error) => return Err(error),
            };
            let is_same = match there {
                Some(there) if there.found.size_bytes == file.content.size_bytes => {
                    match hash_of(&there, self.job.monitor) {
                        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                        hash => hash.is_ok_and(|hash| hash == file.content.hash),
                    }
                }
                _ => false,
            };
            if is_same {
                self.job.monitor.event(Event::Verified { path: &path });
            } else {
                differing += 1;
                let what = "what is read back is not what the backup has:";
                self.lose(&path, &Error::damaged(what, lossy(&path)));
            }
        }
        if differing == 0 {
            return Ok(());
        }
        let what = format!(
            "{differing} restored files are not in the target as they were written; they are named above"
        );
        Err(Error::new(Kind::Io, what).hint("is something else writing there, or is the disk failing?"))
    }
}
