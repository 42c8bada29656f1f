//! `icecore info`: what a repository is and holds.

use super::{Context, RepositoryArguments};
use crate::output;
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
    let repository = arguments.repository.open()?;
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
        }));
        return Ok(ExitCode::SUCCESS);
    }
    output::answer(&format!("repository {}", facts.location));
    match &facts.id {
        Some(id) => output::answer(&format!("id {id}")),
        None => output::answer("written by Freezer"),
    }
    output::answer(&format!(
        "{}, {}",
        output::count(facts.backups, "backup", "backups"),
        output::bytes(facts.stored_bytes)
    ));
    for series in &facts.series {
        let chains = output::count(series.chains, "chain", "chains");
        let backups = output::count(series.backups, "backup", "backups");
        output::answer(&format!(
            "  {} ({}): {chains}, {backups}",
            output::printable(&series.name),
            series.engine
        ));
    }
    Ok(ExitCode::SUCCESS)
}
