//! Repositories that are kept in several storages at once: joined when they are opened, made alike before they are written to, and
//! what became of each is told at the end of the command.

use crate::cli::Context;
use crate::progress::Terminal;
use crate::{exit, output};
use icecore::error::{Error, Kind, Result};
use icecore::heal::{self, Done, Row};
use icecore::repository::{Repository, copies};
use icecore::storage::Storage;
use icecore::storage::mirror::{MemberReport, Mirror, MirrorReport, Settings, Target};
use icecore::storage::throttle::Clock;
use serde_json::json;
use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::Arc;

/// The mirrors that a command uses.
#[derive(Default)]
pub struct Mirrors(RefCell<Vec<Opened>>);

struct Opened {
    mirror: Arc<Mirror>,
    is_written: bool,
    /// Whether the command says what is in all of its places.
    is_judged: bool,
    /// Objects that the places disagree on.
    unsettled: u64,
}

impl Mirrors {
    /// Joins storages; all of them must have what is written when nothing else is said. An empty one beside others with the repository
    /// counts as out of reach unless copies are to be made: it may be where a disk is to be mounted.
    pub fn join(
        &self,
        targets: Vec<Target>,
        is_made: bool,
        min_copies: Option<usize>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Storage>> {
        let min_copies = min_copies.unwrap_or(targets.len());
        let mut targets = targets;
        if targets.iter().all(|target| target.storage.is_err())
            && let Some(Err(error)) = targets.pop().map(|target| target.storage)
        {
            return Err(error);
        }
        let mirror = Arc::new(Mirror::new(targets, Settings { min_copies, notes: copies::notes()?, clock })?);
        for vacant in heal::refuse_strangers(&mirror)?.iter().filter(|_| !is_made) {
            let what = "no copy of the repository is there (is it mounted?); icecore sync --init makes one";
            vacant.fail(Error::new(Kind::NotFound, what));
        }
        let opened =
            Opened { mirror: Arc::clone(&mirror), is_written: false, is_judged: false, unsettled: 0 };
        self.0.borrow_mut().push(opened);
        Ok(mirror)
    }

    /// The command says what is in all places: it is not done while one of them fails.
    pub fn judge(&self) {
        self.0.borrow_mut().iter_mut().for_each(|opened| opened.is_judged = true);
    }

    /// Whether a repository is kept in several places.
    pub fn hold(&self, repository: &Repository) -> bool {
        let label = repository.storage().label();
        self.0.borrow().iter().any(|opened| opened.mirror.label() == label)
    }

    /// The mirror below a repository, if it is one.
    fn below(&self, repository: &Repository) -> Option<Arc<Mirror>> {
        let label = repository.storage().label();
        let mut opened = self.0.borrow_mut();
        let found = opened.iter_mut().find(|opened| opened.mirror.label() == label)?;
        found.is_written = true;
        Some(Arc::clone(&found.mirror))
    }

    /// Makes the storages of a repository alike, if they are several. To be done before anything is written to it.
    pub fn heal(
        &self,
        context: &Context<'_>,
        repository: &Repository,
        options: heal::Options,
    ) -> Result<Option<heal::Report>> {
        let Some(mirror) = self.below(repository) else { return Ok(None) };
        let monitor = Terminal::new(context.global, context.stop.clone(), "Comparing");
        let report = heal::run(&mirror, repository, options, &monitor, &mut |row| print(context, row));
        monitor.finish();
        let report = report?;
        for opened in self.0.borrow_mut().iter_mut().filter(|opened| Arc::ptr_eq(&opened.mirror, &mirror)) {
            opened.unsettled = report.unsettled;
        }
        if report != heal::Report::default() {
            say(context, &report);
        }
        Ok(Some(report))
    }

    /// Whether every storage could be asked, and took what it was given.
    pub fn are_reached(&self) -> bool {
        self.0.borrow().iter().all(|opened| !opened.mirror.is_partial())
    }

    /// Refuses to go on while a storage of a mirror cannot be reached.
    pub fn refuse_partial(&self, why: &str) -> Result<()> {
        let opened = self.0.borrow();
        match opened.iter().find(|opened| opened.mirror.is_partial()) {
            Some(opened) => Err(Error::new(Kind::Io, format!("{why}:")).on(opened.mirror.label())),
            None => Ok(()),
        }
    }

    /// Waits until all that was written is where it should be, and tells of every storage that is behind. What was done is done, so
    /// that only the status of a command that wrote changes: 3 while enough storages have everything, else it has failed; and that of one
    /// that says what is in all of them: 3 when one failed.
    pub fn settle(&self, context: &Context<'_>, outcome: Result<ExitCode>) -> Result<ExitCode> {
        let mut outcome = outcome;
        for Opened { mirror, is_written, is_judged, unsettled } in self.0.take() {
            if outcome.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted) {
                // What waits for a slow place would be waited for.
                mirror.abandon();
            }
            let report = mirror.settle()?;
            tell(context, &report, is_written);
            let suspects = mirror.take_suspects();
            for name in &suspects {
                output::warning(&format!(
                    "icecore: a copy of {name} is damaged; icecore sync --compare-data repairs it"
                ));
            }
            let is_unseen = is_judged && report.members.iter().any(|member| member.failure.is_some());
            if is_unseen && outcome.as_ref().is_ok_and(|status| *status == ExitCode::SUCCESS) {
                outcome = Ok(ExitCode::from(exit::INCOMPLETE));
            }
            if is_written && unsettled > 0 && outcome.is_ok() {
                outcome = Ok(ExitCode::from(exit::INCOMPLETE));
            }
            if is_written && !report.is_even() && outcome.is_ok() {
                outcome = match report.is_enough() {
                    true => Ok(ExitCode::from(exit::INCOMPLETE)),
                    false => {
                        let behind = report.members.iter().filter(|member| member.is_behind());
                        let labels: Vec<&str> = behind.map(|member| member.label.as_str()).collect();
                        let what = "too few storages have everything; these are behind:";
                        Err(Error::new(Kind::Io, what).on(labels.join(", ")))
                    }
                };
            }
        }
        outcome
    }
}

fn tell(context: &Context<'_>, report: &MirrorReport, is_written: bool) {
    let is_stopped =
        |member: &MemberReport| member.failure.as_ref().is_some_and(|(kind, _)| *kind == Kind::Interrupted);
    if report.members.iter().any(is_stopped) {
        return;
    }
    for member in &report.members {
        if context.global.json && (is_written || member.is_behind()) {
            output::json(&json!({
                "type": "storage",
                "storage": member.label,
                "behind": member.is_behind(),
                "error": member.failure.as_ref().map(|(_, text)| text),
                "lacks": member.lacks,
            }));
        }
        let lacks = match member.lacks {
            0 => String::new(),
            count => format!(" ({} missed)", output::count(count, "change", "changes")),
        };
        if let Some((_, why)) = &member.failure {
            output::warning(&format!("icecore: {} is behind{lacks}: {why}", member.label));
        } else if member.is_behind() {
            output::warning(&format!("icecore: {} is behind{lacks}", member.label));
        }
    }
    if report.members.iter().any(|member| member.is_behind()) {
        output::remark(context.global, "  the next backup, or icecore sync, brings it up to the others");
    }
}

fn print(context: &Context<'_>, row: &Row) {
    let (word, told) = match row.done {
        Done::Copied => ("copied", "was missing"),
        Done::Repaired => ("repaired", "was damaged"),
        Done::Removed => ("removed", "had been removed elsewhere"),
        Done::Kept => ("kept", "had been removed elsewhere, and something builds on it"),
        Done::Unsettled => ("unsettled", "differs, and nothing says which copy is right"),
    };
    if context.global.json {
        output::json(&json!({
            "type": "object",
            "done": word,
            "object": row.object.as_str(),
            "storage": row.member,
        }));
    } else if matches!(row.done, Done::Repaired | Done::Kept | Done::Unsettled) {
        output::warning(&format!("icecore: {} {told} in {}: {word}", row.object, row.member));
    }
}

fn say(context: &Context<'_>, report: &heal::Report) {
    let copied = output::count(report.copied, "object", "objects");
    let mut text =
        format!("brought storages up to each other: copied {copied}, {}", output::bytes(report.copied_bytes));
    for (count, what) in
        [(report.repaired, "repaired"), (report.removed, "removed"), (report.unsettled, "left as they are")]
    {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    output::remark(context.global, &text);
}
