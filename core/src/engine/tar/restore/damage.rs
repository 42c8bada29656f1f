//! What a damaged stream leaves out: what the list of the last level has and the target has not, each by name.
//!
//! The list is the snapshot file, which is stored beside the stream and is read although that is damaged. What is of the wrong
//! sort counts as missing; whether a file that is there has the right content, nothing but a stream's own checksum could tell.

use super::super::dumpdir::Code;
use super::super::path::{join, tree_path};
use super::super::selection::Wanted;
use super::super::snapshot::Snapshot;
use super::{Replay, choice, entries};
use crate::engine::Chain;
use crate::error::{Error, Kind, Result};
use crate::limits::REPORTED_PATHS;
use crate::monitor::Event;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;

impl Replay<'_, '_, '_> {
    /// Tells what is missing after `error` has ended the reading of a level, if that was damage.
    pub(super) fn tell_what_damage_leaves_out(&mut self, error: &Error, chain: &mut dyn Chain) {
        let is_damage = matches!(error.kind(), Kind::Damaged | Kind::Limit | Kind::Unsupported);
        if self.target.is_none() || !is_damage {
            return;
        }
        let level = self.reading;
        let warn = |text: &str| self.job.monitor.event(Event::Warning(text));
        if level > 0 {
            warn(&format!(
                "level {level} is damaged: beside what was read of it, the target is as the levels below have it"
            ));
        }
        if !chain.by_icecore(level) {
            warn(&format!("no hash of level {level} was stored: what was read of it last may be wrong, too"));
        }
        if let Err(error) = self.tell_what_is_absent(chain) {
            let text = format!("what else is missing cannot be told: {error}");
            self.job.monitor.event(Event::Warning(&text));
        }
    }

    fn tell_what_is_absent(&mut self, chain: &mut dyn Chain) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        let mut listings =
            chain.engine_metadata(self.renames.len().saturating_sub(1)).and_then(Snapshot::load)?;
        let mut absent = 0;
        for record in listings.records() {
            let record = record?;
            let directory = tree_path(&record.directory.name);
            for entry in entries(&record.listing)? {
                let path = join(directory, entry.name);
                let is_directory = entry.code == Code::Directory;
                if choice::wants(&self.chosen, &self.wanted, &path, is_directory) != Wanted::Yes {
                    continue;
                }
                let found = target.kind(&path).ok().flatten();
                if found.is_some_and(|found| (found.kind == FileKind::Directory) == is_directory) {
                    continue;
                }
                absent += 1;
                if absent <= REPORTED_PATHS {
                    let error =
                        Error::damaged("not restored, since what is stored is damaged:", lossy(&path));
                    self.job.monitor.event(Event::Problem { path: &lossy(&path), error: &error, lost: true });
                }
            }
        }
        if absent > REPORTED_PATHS {
            let text = format!("{} more entries were not restored", absent - REPORTED_PATHS);
            self.job.monitor.event(Event::Warning(&text));
        }
        Ok(())
    }
}
