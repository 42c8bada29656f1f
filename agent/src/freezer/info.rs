//! `--action info`: how much is in each container.

use super::{Session, answer, storage};
use crate::cli;
use crate::output;
use icecore::error::Result;
use icecore::storage::{Depth, Listed};
use icecore_remote::Intent;
use std::process::ExitCode;

/// Counts, and prints a table.
pub fn run(session: &Session<'_>) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for place in storage::places(session.values, session.job)? {
        // Only how a storage is used is taken from these words.
        let mut words = session.verb("restore")?;
        words.push("--target=.".into());
        let mut arguments = cli::restore_of(words)?;
        let shown = place.location.to_string();
        arguments.repository_mut().put_at(vec![place]);
        let storage = arguments.repository_mut().storage(session.context, Intent::Open)?;
        let (mut count, mut bytes) = (0u64, 0u64);
        storage.list(None, Depth::All, &mut |listed| {
            if let Listed::Object { size_bytes, .. } = listed {
                count += 1;
                bytes += size_bytes;
            }
            Ok(())
        })?;
        let name = match session.job.storages.is_empty() {
            true => session.values.text("container").unwrap_or(shown),
            false => shown,
        };
        rows.push(vec![name, output::bytes(bytes), count.to_string()]);
    }
    answer::table(&["Container", "Size", "Object Count"], &rows).iter().for_each(|line| output::answer(line));
    Ok(ExitCode::SUCCESS)
}
