//! Where copies of what is small and often read of a repository elsewhere are kept: `$XDG_CACHE_HOME/icecore/ID`.

use crate::cli::{Context, absolute};
use crate::output;
use crate::transfer::ELSEWHERE;
use clap::Args;
use icecore::error::Result;
use icecore::limits::CACHE_BYTES;
use icecore::repository::Repository;
use std::ffi::OsString;
use std::path::PathBuf;

/// Whether and where copies are kept.
#[derive(Args, Clone)]
pub struct CacheArguments {
    /// Keep copies of indexes and of lists of files in this folder, one for each repository; it may be removed at any time
    /// [default: ~/.cache/icecore]
    #[arg(long, value_name = "DIR", env = "ICECORE_CACHE_DIR", display_order = 95, help_heading = ELSEWHERE)]
    cache_dir: Option<PathBuf>,
    /// Keep no copies, and use none
    #[arg(long, display_order = 96, help_heading = ELSEWHERE)]
    no_cache: bool,
}

impl CacheArguments {
    /// Has a repository keep copies. One that is close by needs none.
    ///
    /// # Errors
    /// For a folder that was named and cannot be used; one that was not is done without.
    pub fn apply(&self, context: &Context<'_>, repository: &mut Repository) -> Result<()> {
        if self.no_cache || !repository.storage().capabilities().parallel {
            return Ok(());
        }
        let Some(id) = repository.vault().map(|vault| vault.id().to_string()) else { return Ok(()) };
        let named = self.cache_dir.as_deref().map(absolute).transpose()?;
        let Some(folder) = named.clone().or_else(home) else { return Ok(()) };
        match repository.set_cache(Some((&folder.join(id), CACHE_BYTES))) {
            Err(error) if named.is_none() => {
                output::remark(context.global, &format!("icecore: nothing is kept close by: {error}"));
                Ok(())
            }
            other => other,
        }
    }
}

fn home() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let cache = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let home = || std::env::var_os("HOME").and_then(absolute).map(|home| home.join(".cache"));
    Some(cache.or_else(home)?.join("icecore"))
}
