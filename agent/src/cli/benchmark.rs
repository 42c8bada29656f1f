//! `icecore benchmark`: how fast this machine and a storage are.

use super::Context;
use crate::location::Location;
use crate::output;
use crate::progress::Terminal;
use crate::transfer::TransferArguments;
use clap::Args;
use icecore::benchmark::{self, Row};
use icecore::error::Result;
use icecore::storage::Storage;
use icecore_remote::Intent;
use serde_json::json;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure how fast this machine and a storage are
///
/// Each step of a backup is done on one thread, with data of which half
/// compresses. With a repository, its storage is given some objects of the size
/// of a pack, which are read back and removed.
///
///   icecore benchmark
///   icecore benchmark -r /srv/backups
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Measure this repository's storage too; may be repeated
    #[arg(short = 'r', long = "repository", value_name = "REPO")]
    repository: Vec<OsString>,
    #[command(flatten)]
    transfer: TransferArguments,
    /// How long each step is repeated
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Objects of 16 MiB that the storage is given
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    objects: u32,
}

/// Prints a line for each measurement.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let open = |place: &OsString| Location::parse(place)?.open(context, &arguments.transfer, Intent::Open);
    let storages = arguments.repository.iter().map(open).collect::<Result<Vec<_>>>()?;
    let storages: Vec<&dyn Storage> = storages.iter().map(AsRef::as_ref).collect();
    let begun = Instant::now();
    let options = benchmark::Options {
        clock: &|| begun.elapsed(),
        at_least: Duration::from_secs_f64(arguments.seconds),
        storages: &storages,
        objects: arguments.objects,
    };
    let monitor = Terminal::without_line(context.global, context.stop.clone());
    benchmark::run(&options, &monitor, &mut |row| {
        if context.global.json {
            output::json(&json!({
                "type": "measurement",
                "what": row.what,
                "bytes": row.bytes,
                "seconds": row.took.as_secs_f64(),
                "bytes_per_second": row.bytes_per_second(),
                "compressed_bytes": row.compressed_bytes,
            }));
        } else {
            output::answer(&line(row));
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn line(row: &Row) -> String {
    let rate = row.bytes_per_second() / f64::from(1 << 20);
    let smaller = match row.compressed_bytes {
        Some(bytes) => format!("  to {:.0} %", 100.0 * bytes as f64 / row.bytes as f64),
        None => String::new(),
    };
    format!("{:<28} {rate:>8.0} MiB/s{smaller}", row.what)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if (0.0..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{text:?} is not between 0 and 3600 seconds"))
    }
}
