//! Snapshots: their trees go over together, each chunk once; then each is committed, oldest first.

use super::{Copy, Outcome};
use crate::engine::dedup::{self, Dedup};
use crate::engine::{ObjectEngine, Transfer};
use crate::error::{Error, Result};
use crate::monitor::Event;
use crate::repository::BackupId;
use crate::repository::vault::{ChunkId, Index, ObjectId, Session, Snapshot, Vault};
use crate::select;
use std::collections::HashMap;
use std::sync::Arc;

/// Two snapshots are one backup when all is the same that does not depend on keys: the moments are known to the nanosecond.
fn is_copy(a: &Snapshot, b: &Snapshot) -> bool {
    (&a.host, &a.name, &a.paths, a.time, a.finished) == (&b.host, &b.name, &b.paths, b.time, b.finished)
        && (a.entries, a.files, a.bytes, a.errors) == (b.entries, b.files, b.bytes, b.errors)
}

fn shown(snapshot: &Snapshot) -> String {
    format!("{}/{}/{}", dedup::NAME, select::series_of(snapshot), snapshot.time.seconds)
}

/// What is meant, and what is there.
struct Plan {
    missing: Vec<(ObjectId, Snapshot)>,
    /// What each snapshot that is in both is called there.
    names: HashMap<ObjectId, ObjectId>,
    /// Pairs of trees to learn from.
    copied: Vec<(ChunkId, ChunkId)>,
}

impl Copy<'_> {
    /// Copies the snapshots that are meant.
    pub(super) fn snapshots(&mut self) -> Result<()> {
        let Some(from) = self.from.vault() else { return Ok(()) };
        let listed = select::snapshots(self.from, &self.options.filter)?;
        for (id, error) in listed.damaged {
            let id = BackupId::of_snapshot(id);
            if self.is_wanted(&id) {
                self.row(&id, "a snapshot that cannot be read".to_owned(), Outcome::Failed(error))?;
            }
        }
        let mut found = listed.found;
        found.retain(|(id, _)| self.is_wanted(&BackupId::of_snapshot(*id)));
        if found.is_empty() {
            return Ok(());
        }
        let to = self.to.the_vault()?;
        let plan = self.plan(from, to, found)?;
        if plan.missing.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            return self.transfer(from, to, plan, None);
        }
        // Before anything is looked up that a collection might take away.
        let session = to.begin_session(&self.options.host, self.options.process.clone(), self.options.now)?;
        let outcome = self.transfer(from, to, plan, Some(&session));
        if outcome.is_err() && to.index_what_was_stored().is_err() {
            // The session stays announced: the next run looks for what this one has stored.
            return outcome;
        }
        if let Err(error) = session.end() {
            self.monitor.event(Event::Warning(&format!("the end of this run could not be noted: {error}")));
        }
        outcome
    }

    /// Tells of what is there already, and finds what can be learned from it.
    fn plan(&mut self, from: &Vault, to: &Vault, found: Vec<(ObjectId, Snapshot)>) -> Result<Plan> {
        let there = to.snapshots()?.found;
        let copy_of = |snapshot: &Snapshot| there.iter().find(|(_, copy)| is_copy(snapshot, copy));
        let mut plan = Plan { missing: Vec::new(), names: HashMap::new(), copied: Vec::new() };
        let mut pairs: Vec<(Snapshot, ChunkId)> = Vec::new();
        for (id, snapshot) in from.snapshots()?.found {
            if let Some((name, copy)) = copy_of(&snapshot) {
                plan.names.insert(id, *name);
                pairs.push((snapshot, copy.root));
            }
        }
        for (id, snapshot) in found {
            match plan.names.contains_key(&id) {
                true => self.row(&BackupId::of_snapshot(id), shown(&snapshot), Outcome::Present)?,
                false => plan.missing.push((id, snapshot)),
            }
        }
        for (_, snapshot) in &plan.missing {
            // The one before it, and the one behind it, of its series: they have most in common with it.
            let of_series = |(pair, _): &&(Snapshot, ChunkId)| {
                (&pair.host, &pair.name) == (&snapshot.host, &snapshot.name)
            };
            let before = pairs.iter().filter(of_series).rfind(|(pair, _)| pair.time <= snapshot.time);
            let behind = pairs.iter().filter(of_series).find(|(pair, _)| pair.time > snapshot.time);
            for (pair, copy) in [before, behind].into_iter().flatten() {
                if !plan.copied.contains(&(pair.root, *copy)) {
                    plan.copied.push((pair.root, *copy));
                }
            }
        }
        Ok(plan)
    }

    fn transfer(&mut self, from: &Vault, to: &Vault, plan: Plan, session: Option<&Session>) -> Result<()> {
        let Plan { missing, mut names, copied } = plan;
        let roots: Vec<ChunkId> = missing.iter().map(|(_, snapshot)| snapshot.root).collect();
        let engine: &dyn ObjectEngine = &Dedup;
        let transferred = engine.transfer(Transfer {
            from,
            from_index: Arc::new(Index::load_present(from, self.monitor, true)?),
            to,
            to_index: Arc::new(Index::load_present(to, self.monitor, false)?),
            roots: &roots,
            copied: &copied,
            workers: self.options.workers,
            dry_run: self.options.dry_run,
            monitor: self.monitor,
        })?;
        self.report.added_bytes += transferred.added_bytes;
        for ((id, snapshot), tree) in missing.into_iter().zip(transferred.trees) {
            self.monitor.check()?;
            let text = shown(&snapshot);
            let is_same = |made: &crate::engine::Made| {
                (made.entries, made.files, made.bytes) == (snapshot.entries, snapshot.files, snapshot.bytes)
            };
            let outcome = match (tree, session) {
                (Err(error), _) => Outcome::Failed(error),
                (Ok(made), _) if !is_same(&made) => {
                    Outcome::Failed(Error::damaged("the tree is not what its snapshot says:", text.clone()))
                }
                (Ok(_), None) => Outcome::Copied,
                (Ok(made), Some(session)) => {
                    let parent = snapshot.parent.and_then(|parent| names.get(&parent).copied());
                    let (root, session) = (made.root, session.id());
                    let copy = Snapshot { root, parent, session, added_bytes: 0, ..snapshot };
                    names.insert(id, to.commit(&copy)?);
                    Outcome::Copied
                }
            };
            self.row(&BackupId::of_snapshot(id), text, outcome)?;
        }
        Ok(())
    }
}
