//! `icecore init`: make a repository for encrypted, deduplicated backups.

use super::{Context, RepositoryArguments};
use crate::output;
use clap::Args;
use icecore::error::{Error, Kind, Result};
use serde_json::json;
use std::process::ExitCode;

/// Make a repository
///
/// Everything in it will be encrypted under a password, without which nothing
/// can be restored: there is no way around it. Where backups are made by hand
/// the password is asked for; elsewhere it comes from ICECORE_PASSWORD,
/// --password-file or --password-command.
///
///   icecore init -r /srv/backups
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    /// Let everybody who can read the repository read the backups
    #[arg(long)]
    no_encryption: bool,
}

/// Makes it and says so.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let (mut repository, protection) =
        arguments.repository.create_for_vault(context, arguments.no_encryption)?;
    if protection.is_none() {
        return Err(Error::new(Kind::AlreadyExists, "there is a repository already in")
            .on(repository.storage().label())
            .hint("use it as it is, or choose another place"));
    }
    arguments.repository.create_vault(context, &mut repository, protection.as_ref())?;
    let vault = repository.the_vault()?;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "location": repository.storage().label(),
            "repository": repository.id(),
            "vault": vault.id().to_string(),
            "encryption": vault.is_encrypted(),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let how = if vault.is_encrypted() { "encrypted" } else { "not encrypted" };
    output::line(context.global, &format!("made a repository in {}, {how}", repository.storage().label()));
    if vault.is_encrypted() {
        output::line(context.global, "keep the password in a safe place: without it nothing can be restored");
    }
    Ok(ExitCode::SUCCESS)
}
