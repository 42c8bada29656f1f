//! `icecore check`: whether every backup can be restored.

use super::{Context, RepositoryArguments, SeriesArguments, explained, now, scratch};
use crate::hooks::HookArguments;
use crate::keys::IdentityArguments;
use crate::progress::Terminal;
use crate::{machine, output, seen};
use clap::Args;
use icecore::check::{self, Amount, Finding};
use icecore::error::Result;
use icecore::limits::ORPHAN_GRACE_SECONDS;
use icecore::repository::Repository;
use icecore::time::Timestamp;
use serde_json::json;
use std::process::ExitCode;

/// Check that every backup is whole
///
/// Without --read-data: chains without gaps, trees whole, objects there, sizes
/// right, and every piece of a file as long as the index says. With it, everything is read, decompressed and compared with its
/// hashes; --read-data-subset reads a part of the packs. What is damaged is
/// named, with the backups that need it; of chains for which no key is given, the
/// hashes alone are compared. What killed runs left behind is
/// listed, and removed with --clean once it is old enough that no run can
/// still be writing it. Runs that are announced and did not end are named:
/// those of this machine whose process is gone are removed with --clean. Of
/// another machine, or of before a power cut, nobody but you can know that they
/// are over: --end-session ID removes such a session, or one that cannot be read.
///
/// A repository that was set back to an older state (a backup is gone that this
/// machine has seen, and nobody is known to have removed it) is a problem until
/// it is as it was, or until --accept-rollback says that it is meant; other
/// commands warn of it each time. The exit status is 1 when there are problems.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// Read and compare every byte
    #[arg(long)]
    read_data: bool,
    /// Read and compare a part of the packs: a share such as 5%, the part 2/7 of seven, or a size such as 500M
    #[arg(long, value_name = "PART", value_parser = explained::<Amount>, conflicts_with = "read_data")]
    read_data_subset: Option<Amount>,
    /// Remove what killed runs left behind
    #[arg(long)]
    clean: bool,
    /// Take backups that are gone, or back, without a record of it for right: do not tell of them from now on
    #[arg(long)]
    accept_rollback: bool,
    /// Remove the session of a run that surely is over, by its id or the first digits of it, and check nothing
    #[arg(long, value_name = "ID", conflicts_with_all = ["read_data", "read_data_subset", "clean", "accept_rollback"])]
    end_session: Vec<String>,
    /// With --clean and --end-session: how old such remains must be, in hours
    #[arg(long, value_name = "HOURS", default_value_t = GRACE_HOURS)]
    grace: u32,
    #[command(flatten)]
    pub(super) hooks: HookArguments,
}

const GRACE_HOURS: u32 = (ORPHAN_GRACE_SECONDS / 3600) as u32;

/// Prints a line for each finding; fails when a backup is damaged.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let filter = arguments.series.filter();
    let mut repository = arguments.repository.open_for(context, &filter)?;
    context.mirrors.judge();
    // What is there is what counts.
    repository.set_cache(None)?;
    if !arguments.end_session.is_empty() {
        return end_sessions(context, arguments, &repository);
    }
    let strictness = match arguments.accept_rollback {
        true => seen::Strictness::Accept,
        false => seen::Strictness::Report,
    };
    let rollbacks = seen::look(context, &repository, strictness)?;
    let monitor = Terminal::new(context.global, context.stop.clone(), "Checking");
    let clean_older_than =
        arguments.clean.then(|| Timestamp(now().seconds - i64::from(arguments.grace) * 3600));
    if clean_older_than.is_some() {
        arguments.repository.heal(context, &repository)?;
        context.mirrors.refuse_partial("what is left over cannot be told while a storage is out of reach")?;
    }
    if let Some(limit) = clean_older_than {
        repository.storage().clean_temporaries(limit)?;
    }
    let keys = arguments.repository.keyring(context, &arguments.identities)?;
    let options = check::Options {
        filter,
        read_data: match arguments.read_data_subset {
            Some(part) => part,
            None if arguments.read_data => Amount::Everything,
            None => Amount::Nothing,
        },
        clean_older_than,
        now: Timestamp(now().seconds),
        is_over: machine::is_over,
        workers: arguments.repository.workers(&repository),
        keys: &keys,
    };
    let mut found = |finding: &Finding| print(context, finding);
    let report = check::run(&repository, &options, &scratch(), &monitor, &mut found);
    monitor.finish();
    let mut report = report?;
    report.problems += rollbacks;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "backups": report.backups,
            "problems": report.problems,
            "orphans": report.orphans,
            "cleaned": report.cleaned,
            "read_data": arguments.read_data,
            "read_bytes": report.read_bytes,
            "ok": report.problems == 0,
        }));
    } else {
        let backups = output::count(report.backups, "backup", "backups");
        let problems = output::count(report.problems, "problem", "problems");
        let read = match report.read_bytes {
            0 => String::new(),
            bytes => format!(", {} read", output::bytes(bytes)),
        };
        output::line(context.global, &format!("checked {backups}{read}: {problems}"));
        if report.orphans - report.unindexed > report.cleaned {
            let hint = if arguments.clean {
                format!(
                    "what is younger than {} hours stays: a run may be writing it (see --grace)",
                    arguments.grace
                )
            } else {
                "what killed runs left behind is removed by: icecore check --clean (once it is a day old)"
                    .to_owned()
            };
            output::line(context.global, &hint);
        }
    }
    Ok(ExitCode::from(u8::from(report.problems > 0)))
}

/// Ends the sessions that are named, and tells which.
fn end_sessions(context: &Context<'_>, arguments: &Arguments, repository: &Repository) -> Result<ExitCode> {
    seen::look(context, repository, seen::Strictness::Warn)?;
    arguments.repository.heal(context, repository)?;
    context.mirrors.refuse_partial("a storage that is out of reach would bring the session back")?;
    let ending = check::Ending {
        named: &arguments.end_session,
        now: Timestamp(now().seconds),
        grace_seconds: i64::from(arguments.grace) * 3600,
        is_running: machine::is_running,
    };
    for ended in check::end_sessions(repository, &ending)? {
        let announced = ended.announced.as_ref();
        if context.global.json {
            output::json(&json!({
                "type": "session",
                "action": "ended",
                "id": ended.id.to_string(),
                "object": ended.object,
                "host": announced.map(|one| &one.host),
                "process": announced.map(|one| one.process.number),
                "started": announced.map(|one| one.started.0),
            }));
            continue;
        }
        let of = match announced {
            Some(one) => {
                let hours = now().seconds.saturating_sub(one.started.0).max(0) / 3600;
                let (process, host) = (one.process.number, &one.host);
                format!("announced {hours} hours ago by process {process} for the host {host}")
            }
            None => "which could not be read".to_owned(),
        };
        output::line(context.global, &format!("removed {}, {of}", ended.object));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, finding: &Finding) {
    if context.global.json {
        output::json(&json!({
            "type": "problem",
            "kind": finding.kind.name(),
            "object": finding.object,
            "error": finding.error,
        }));
    } else {
        output::warning(&told(finding));
    }
}

/// Kind, object and error of a finding, each of them once.
fn told(finding: &Finding) -> String {
    let (kind, object, error) = (finding.kind.name(), &finding.object, &finding.error);
    match error.contains(object.as_str()) {
        true if error.starts_with(&format!("{kind}: ")) => error.clone(),
        true => format!("{kind}: {error}"),
        false => format!("{kind}: {object}: {error}"),
    }
}
