//! `icecore copy`: take backups over into another repository.

use super::{Context, RepositoryArguments, SeriesArguments, host_name, now, scratch};
use crate::hooks::HookArguments;
use crate::keys::{How, IdentityArguments};
use crate::password::SourcePasswordArguments;
use crate::progress::Terminal;
use crate::{machine, output, seen};
use clap::Args;
use icecore::backup::levels::Encryption;
use icecore::copy::{self, Anew, Outcome, Row};
use icecore::error::{Error, Kind, Result};
use icecore::time::Timestamp;
use serde_json::json;
use std::ffi::OsString;
use std::process::ExitCode;

/// Copy backups into another repository
///
/// Everything that is meant and is not there yet is copied: each piece of data
/// once, as it was compressed, and sealed with the keys of the repository it
/// goes to. A copy that was cut short goes on where it was.
///
/// Chains (of the engines tar and rsync) are copied as they are, and opened by
/// the same keys and passwords as before. With --recipient or --encryption they
/// are encrypted anew on the way: --identity, and the password of the
/// repository that is copied from, open them there.
///
/// Repositories that were made apart cut data in different places: what is
/// backed up into both directly takes its room twice in the one that copies go
/// to.
///
///   icecore copy --from /srv/backups -r sftp://host/backups
///   icecore copy --from /srv/backups -r /mnt/disk/backups --name docs
///   icecore copy --from /srv/backups -r /mnt/disk/backups --engine tar \
///       --identity old-key --recipient age1...
///
/// The exit status is 1 when a backup could not be copied.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The repository that is copied from
    #[arg(long, value_name = "REPO")]
    from: OsString,
    #[command(flatten)]
    from_password: SourcePasswordArguments,
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    /// Make the repository that is copied to if it is missing
    #[arg(long)]
    init: bool,
    /// With --init: let everybody who can read that repository read the backups
    #[arg(long, requires = "init")]
    no_encryption: bool,
    /// Say what would be copied; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only these backups: ids, or heads of ids, or latest
    #[arg(value_name = "BACKUP")]
    backups: Vec<String>,
    #[command(flatten)]
    pub(super) hooks: HookArguments,
    #[command(flatten)]
    chains: ChainArguments,
}

/// With what keys chains are copied.
#[derive(Args)]
#[command(next_help_heading = "Chains with other keys")]
struct ChainArguments {
    /// Encrypt chains anew: age, under the password of the repository that is copied to, or to recipients; freezer, as Freezer
    /// does it, under that password; or none, readable by everybody who can read that repository [default: as they are]
    #[arg(long, value_name = "HOW", value_enum, hide_possible_values = true)]
    encryption: Option<How>,
    /// Encrypt chains anew to this public key: age1…, ssh-ed25519 …, ssh-rsa …, or @FILE with one on each line; may be repeated
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    #[command(flatten)]
    identities: IdentityArguments,
}

impl ChainArguments {
    /// How they are to be encrypted; as they are, if nothing is said.
    ///
    /// # Errors
    /// `Invalid` for what contradicts itself, or means nothing; as [`crate::keys::recipients`].
    fn encryption(&self) -> Result<Option<Encryption>> {
        match (self.encryption, self.recipient.is_empty()) {
            (None, true) if self.identities.are_given() => {
                Err(Error::invalid("chains are copied as they are, and none is opened with", "--identity")
                    .hint("to encrypt them anew, say to whom with --recipient, or how with --encryption"))
            }
            (None, true) => Ok(None),
            (how, _) => how.unwrap_or(How::Age).encryption(&self.recipient).map(Some),
        }
    }
}

/// Prints a line for each backup.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let encryption = arguments.chains.encryption()?;
    let filter = arguments.series.filter();
    let source = arguments.repository.another(&arguments.from, arguments.from_password.arguments());
    let source_context = context.without_profile();
    let opens = source.keyring(&source_context, &arguments.chains.identities)?;
    let from = source.open_for(&source_context, &filter)?;
    seen::look(context, &from, seen::Strictness::Warn)?;
    let to = match arguments.init && !arguments.dry_run {
        false => arguments.repository.open_for(context, &filter)?,
        true if from.vault().is_some() => {
            let (mut to, protection) =
                arguments.repository.create_for_vault(context, arguments.no_encryption)?;
            arguments.repository.create_vault(context, &mut to, protection.as_ref())?;
            to
        }
        true => arguments.repository.create(context)?,
    };
    match (from.vault(), to.vault()) {
        (Some(from), Some(to)) if from.is_encrypted() && !to.is_encrypted() && !arguments.no_encryption => {
            return Err(Error::new(Kind::Invalid, "what is encrypted would be readable in")
                .on(arguments.repository.label())
                .hint("copy it to a repository that is encrypted"));
        }
        _ => {}
    }
    if !arguments.dry_run {
        arguments.repository.heal(context, &to)?;
    }
    let monitor = Terminal::new(context.global, context.stop.clone(), "Copying");
    let nobodys = IdentityArguments::default();
    let keys = arguments.repository.keyring(context, &nobodys)?;
    let options = copy::Options {
        filter,
        backups: arguments.backups.clone(),
        anew: encryption.map(|encryption| Anew { encryption, opens: &opens, keys: &keys }),
        workers: source.workers(&from).max(arguments.repository.workers(&to)),
        dry_run: arguments.dry_run,
        host: host_name(),
        process: machine::this_process(),
        now: Timestamp(now().seconds),
    };
    let report = copy::run(&from, &to, &options, &scratch(), &monitor, &mut |row| {
        print(context, row);
        Ok(())
    });
    monitor.finish();
    let report = report?;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "copied": report.copied,
            "present": report.present,
            "failed": report.failed,
            "stored_bytes": report.added_bytes,
            "dry_run": arguments.dry_run,
        }));
    } else {
        let verb = if arguments.dry_run { "would copy" } else { "copied" };
        let count = output::count(report.copied, "backup", "backups");
        let rest = format!("{} there before, {} stored", report.present, output::bytes(report.added_bytes));
        output::line(context.global, &format!("{verb} {count}; {rest}"));
    }
    if report.failed > 0 {
        let count = output::count(report.failed, "backup", "backups");
        return Err(Error::new(Kind::Damaged, format!("{count} could not be copied; they are named above")));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, row: &Row) {
    let (word, error) = match &row.outcome {
        Outcome::Copied => ("copied", None),
        Outcome::Present => ("present", None),
        Outcome::Failed(error) => ("failed", Some(error)),
    };
    if context.global.json {
        output::json(&json!({
            "type": "backup",
            "id": row.id.as_str(),
            "backup": row.backup,
            "outcome": word,
            "error": error.map(ToString::to_string),
        }));
        return;
    }
    let backup = output::printable(&row.backup);
    match error {
        Some(error) => output::warning(&format!("icecore: {backup} was not copied: {error}")),
        None => output::line(context.global, &format!("{word} {backup}")),
    }
}
