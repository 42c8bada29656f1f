//! `icecore info`: what a repository is and holds.

use super::{Context, RepositoryArguments};
use crate::{output, seen};
use clap::Args;
use icecore::error::Result;
use icecore::info;
use serde_json::json;
use std::process::ExitCode;

/// Show what a repository holds.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
}

/// Prints the facts.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let repository = arguments.repository.open(context)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let facts = info::run(&repository)?;
    if context.global.json {
        let series: Vec<_> = facts.series.iter().map(|series| {
            json!({"engine": series.engine, "series": series.name, "chains": series.chains, "backups": series.backups})
        }).collect();
        output::json(&json!({
            "type": "repository",
            "location": facts.location,
            "id": facts.id,
            "series": series,
            "backups": facts.backups,
            "stored_bytes": facts.stored_bytes,
            "vault": facts.vault.as_ref().map(|vault| json!({
                "id": vault.id,
                "encryption": vault.is_encrypted,
                "damaged": vault.damaged,
            })),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    output::answer(&format!("repository {}", facts.location));
    match &facts.id {
        Some(id) => output::answer(&format!("id {id}")),
        None => output::answer("written by Freezer"),
    }
    if let Some(vault) = &facts.vault {
        output::answer(if vault.is_encrypted { "encrypted" } else { "not encrypted" });
        if vault.damaged > 0 {
            let snapshots = output::count(vault.damaged, "snapshot", "snapshots");
            output::warning(&format!("warning: {snapshots} cannot be read; icecore check says why"));
        }
    }
    output::answer(&format!(
        "{}, {}",
        output::count(facts.backups, "backup", "backups"),
        output::bytes(facts.stored_bytes)
    ));
    for series in &facts.series {
        let backups = output::count(series.backups, "backup", "backups");
        // Without levels each backup is a chain of its own, which tells nobody anything.
        let chains = match series.chains == series.backups {
            true => String::new(),
            false => format!("{}, ", output::count(series.chains, "chain", "chains")),
        };
        output::answer(&format!(
            "  {} ({}): {chains}{backups}",
            output::printable(&series.name),
            series.engine
        ));
    }
    Ok(ExitCode::SUCCESS)
}
