//! Which backup a command looks into.

use super::{SeriesArguments, host_name, parse_time};
use clap::Args;
use icecore::select::Filter;
use icecore::time::Timestamp;
use icecore::view::Which;

/// Which backups count.
#[derive(Args)]
pub struct WhichArguments {
    #[command(flatten)]
    series: SeriesArguments,
    /// Only backups with this tag; given several times, those with all of them
    #[arg(long)]
    tag: Vec<String>,
    /// Only backups that are not newer than this (2026-11-24, 2026-11-24T18:00:00Z, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
}

impl WhichArguments {
    /// The same, as the library takes it.
    pub fn which(&self) -> Which {
        let filter = Filter { tags: self.tag.clone(), ..self.series.filter() };
        Which { filter, this_host: host_name(), at: self.at }
    }
}
