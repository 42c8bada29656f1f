//! `icecore storage test`: whether a storage can be relied on, and how fast it is.

use super::Context;
use crate::location::Location;
use crate::output;
use crate::progress::Terminal;
use crate::transfer::TransferArguments;
use clap::{Args, Subcommand};
use icecore::error::Result;
use icecore::probe::{self, Claim, Found, Measurement, Summary, Verdict};
use icecore_remote::Intent;
use serde_json::json;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

/// Try out the storage below a repository
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Test(Test),
}

/// See whether a storage keeps what backups rely on, and how fast it is
///
/// Works in a folder of its own, icecore-test-…, beside whatever is there, and
/// removes it afterwards. The place is made when it is missing. Prints a line
/// for each claim, whether it holds, and then how fast objects are stored and
/// read. The exit status is 1 when a claim does not hold that backups rely on,
/// or when that cannot be told.
///
///   icecore storage test -r sftp://host/backups
///   icecore storage test -r /srv/backups --objects 200 --large-objects 0
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct Test {
    /// Where the storage is: a folder, or an address such as sftp://host/folder; of several, each is tried by itself
    #[arg(
        short = 'r',
        long = "repository",
        value_name = "REPO",
        env = "ICECORE_REPOSITORY",
        hide_env_values = true,
        required = true
    )]
    repository: Vec<OsString>,
    /// Store, list and read so many small objects; lists of storages often come in pages of 1000
    #[arg(long, value_name = "N", default_value_t = 1100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    /// Store and read so many objects of 16 MiB, one at a time and then several
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=1024))]
    large_objects: u32,
    /// Also store and read one object of so many MiB
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    long_object: u64,
    #[command(flatten)]
    transfer: TransferArguments,
}

/// Does what was asked for.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let Action::Test(test) = &arguments.action;
    let places = test.repository.iter().map(|place| Location::parse(place)).collect::<Result<Vec<_>>>()?;
    let mut missing = 0;
    for place in &places {
        if places.len() > 1 {
            begin(context, place);
        }
        missing += try_out(context, test, place)?;
    }
    Ok(ExitCode::from(u8::from(missing > 0)))
}

/// Says which of several places comes next.
fn begin(context: &Context<'_>, place: &Location) {
    match context.global.json {
        true => output::json(&json!({"type": "place", "place": place.to_string()})),
        false => output::answer(&output::printable(&format!("{place}:"))),
    }
}

/// Tries out one place, and gives how many claims do not hold that backups rely on.
fn try_out(context: &Context<'_>, test: &Test, place: &Location) -> Result<u32> {
    let storage = place.open(context, &test.transfer, Intent::Create)?;
    let begun = Instant::now();
    let options = probe::Options {
        clock: &|| begun.elapsed(),
        connections: test.transfer.connections(),
        objects: test.objects,
        large_objects: test.large_objects,
        long_object_bytes: test.long_object << 20,
    };
    let monitor = Terminal::without_line(context.global, context.stop.clone());
    let summary = probe::run(storage.as_ref(), &options, &monitor, &mut |found| {
        match (found, context.global.json) {
            (Found::Claim(claim), true) => output::json(&claim_json(claim)),
            (Found::Measurement(row), true) => output::json(&measurement_json(row)),
            (Found::Claim(claim), false) => output::answer(&output::printable(&claim_line(claim))),
            (Found::Measurement(row), false) => output::answer(&measurement_line(row)),
        }
        Ok(())
    })?;
    tell(context, &summary);
    Ok(summary.missing)
}

fn claim_json(claim: &Claim) -> serde_json::Value {
    let (verdict, seen) = match &claim.verdict {
        Verdict::Holds => ("holds", None),
        Verdict::Fails(seen) => ("fails", Some(seen)),
        Verdict::Unknown(why) => ("unknown", Some(why)),
    };
    json!({"type": "claim", "claim": claim.name, "required": claim.is_required, "verdict": verdict, "seen": seen})
}

fn claim_line(claim: &Claim) -> String {
    let (word, seen) = match &claim.verdict {
        Verdict::Holds => ("holds", String::new()),
        Verdict::Fails(seen) if claim.is_required => ("DOES NOT HOLD", format!(": {seen}")),
        Verdict::Fails(seen) => ("does not hold", format!(" (backups do without): {seen}")),
        Verdict::Unknown(why) if claim.is_required => ("CANNOT BE TOLD", format!(": {why}")),
        Verdict::Unknown(why) => ("cannot be told", format!(" (backups do without): {why}")),
    };
    format!("{word:<15} {}{seen}", claim.name)
}

fn measurement_json(row: &Measurement) -> serde_json::Value {
    json!({
        "type": "measurement",
        "what": row.what,
        "in_flight": row.in_flight,
        "requests": row.requests,
        "each_bytes": row.each_bytes,
        "seconds": row.took.as_secs_f64(),
        "per_second": row.per_second(),
        "bytes_per_second": row.bytes_per_second(),
        "median_seconds": row.median.as_secs_f64(),
    })
}

fn measurement_line(row: &Measurement) -> String {
    let what = format!("{} ({}), {} at a time", row.what, output::bytes(row.each_bytes), row.in_flight);
    let rate = row.bytes_per_second() / f64::from(1 << 20);
    let median_ms = row.median.as_secs_f64() * 1e3;
    format!("{what:<52} {:>8.1} /s {rate:>9.2} MiB/s  median {median_ms:.2} ms", row.per_second())
}

fn tell(context: &Context<'_>, summary: &Summary) {
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "ok": summary.missing == 0,
            "held": summary.held,
            "failed": summary.failed,
            "unknown": summary.unknown,
            "folder": summary.folder,
            "left": summary.left,
        }));
        return;
    }
    let all = match summary.missing {
        0 => "Backups can rely on this storage.".to_owned(),
        missing => format!(
            "Backups rely on {} more than is known to hold.",
            output::count(missing.into(), "claim", "claims")
        ),
    };
    output::line(context.global, &all);
    if !summary.left.is_empty() {
        output::warning(&format!("warning: could not remove {}, which may hold:", summary.folder));
        summary.left.iter().for_each(|name| output::warning(&format!("  {name}")));
    }
}
