//! What the program asks of the system before it starts: to be told of Ctrl-C, and to have enough file handles.

use icecore::error::{Error, Result};
use rustix::process::{Resource, Rlimit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// More than any run needs.
const OPEN_FILES: u64 = 65_536;

/// A flag that SIGINT, SIGTERM and SIGHUP raise. The first signal ends the run in good order; a second one ends it at once.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the shutdown looks at the flag as the earlier signal left it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| Error::io("cannot handle", format!("signal {signal}"), e))?;
    }
    Ok(stop)
}

/// Raises the soft limit of open files to the hard one, or to [`OPEN_FILES`]; deep trees hold a handle for each directory on
/// the way down.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    if limit.current.is_none_or(|soft| soft >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    // Without it everything works, with more closing and opening of directories.
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap_or(());
}
