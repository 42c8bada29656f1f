//! Whether InnoDB writes: what it says of its log, its checkpoints and its pages, before and after its files are read.
//!
//! `SHOW ENGINE INNODB STATUS` is a text for people, but the one thing that says this on MySQL and MariaDB alike. Invariant: a server
//! that does not say it, although it has InnoDB, is not taken for quiet.

use super::{ANSWER, LOOK, failed};
use crate::cli::Context;
use icecore::error::{Error, Kind, Result};
use mysql::Conn;
use mysql::prelude::Queryable;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long nothing may be written until it counts as quiet.
const STILL: Duration = Duration::from_millis(500);

/// The same while the end of the log is not in its file: servers write it there once a second, where they are not told to do so at each
/// commit.
const UNFLUSHED: Duration = Duration::from_secs(3);

/// What InnoDB has written so far: equal twice, nothing was written in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where its log ends: it grows with each change, also those of its own.
    log: u64,
    /// How much of it is in its file.
    flushed: u64,
    /// The last checkpoint, from which on a server that starts after a crash reads the log.
    checkpoint: u64,
    /// Pages that are not on the disk as they are in memory.
    modified: u64,
    /// Pages written since the server has started.
    pages: u64,
}

impl Written {
    /// How long it has to stay as it is until nothing more is to be expected.
    fn still(&self) -> Duration {
        if self.flushed >= self.log { STILL } else { UNFLUSHED }
    }
}

/// Waits until it writes nothing; `None` for a server without InnoDB.
pub fn wait(context: &Context<'_>, connection: &mut Conn, limit: Duration) -> Result<Option<Written>> {
    let begun = Instant::now();
    let Some(mut last) = look(connection)? else { return Ok(None) };
    let mut since = Instant::now();
    while since.elapsed() < last.still() {
        if context.stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        if begun.elapsed() > limit.max(ANSWER) {
            return Err(Error::new(
                Kind::Busy,
                "InnoDB does not stop writing what was changed before the lock",
            )
            .hint("wait longer with --lock-timeout, or say --snapshot lvm"));
        }
        std::thread::sleep(LOOK);
        match look(connection)? {
            Some(now) if now == last => {}
            Some(now) => (last, since) = (now, Instant::now()),
            None => return Ok(None),
        }
    }
    Ok(Some(last))
}

/// What it has written; `None` for a server without InnoDB.
pub fn look(connection: &mut Conn) -> Result<Option<Written>> {
    let engines = "SELECT COUNT(*) FROM information_schema.engines WHERE engine = 'InnoDB' \
                   AND support IN ('YES', 'DEFAULT')";
    let asked = |e| {
        failed("cannot tell whether InnoDB writes", "", e)
            .hint("the user needs the privilege PROCESS, unless --snapshot lvm is said")
    };
    if connection.query_first::<u64, _>(engines).map_err(asked)? == Some(0) {
        return Ok(None);
    }
    let row: Option<(String, String, String)> =
        connection.query_first("SHOW ENGINE INNODB STATUS").map_err(asked)?;
    let text = row.map(|(_, _, text)| text).unwrap_or_default();
    match written(&text) {
        Some(written) => Ok(Some(written)),
        None => Err(Error::new(Kind::Unsupported, "this server does not say whether InnoDB writes")
            .hint("say --snapshot lvm, or back up what a dump prints, with --stdin-from-command")),
    }
}

/// What is in the text.
fn written(text: &str) -> Option<Written> {
    let behind = |head: &str| text.lines().find_map(|line| line.trim().strip_prefix(head));
    let number = |head: &str| behind(head)?.trim().parse().ok();
    Some(Written {
        log: number("Log sequence number")?,
        flushed: number("Log flushed up to")?,
        checkpoint: number("Last checkpoint at")?,
        modified: number("Modified db pages")?,
        pages: behind("Pages read ")?.split_once(", written ")?.1.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_are_understood() {
        let expected =
            Written { log: 203_724, flushed: 203_700, checkpoint: 44_894, modified: 278, pages: 3 };
        let mariadb = "---\nLOG\n---\nLog sequence number 203724\nLog flushed up to   203700\nPages flushed up to 44894\n\
             Last checkpoint at  44894\nModified db pages  278\nPages read 157, created 278, written 3\n0.00 reads/s\n";
        let mysql = "Log sequence number          203724\nLog buffer assigned up to    203724\n\
             Log flushed up to            203700\n\
             Last checkpoint at           44894\nModified db pages  278\nPages read 812, created 160, written 3\n";
        assert_eq!((written(mariadb), written(mysql)), (Some(expected.clone()), Some(expected)));
        for missing in ["Log seq", "Log flushed", "Last check", "Modified", "Pages read"] {
            assert_eq!(written(&mariadb.replace(missing, "x")), None, "{missing}");
        }
    }

    #[test]
    fn a_log_that_is_not_in_its_file_is_waited_for() {
        let with = |flushed| Written { log: 7, flushed, checkpoint: 1, modified: 0, pages: 0 };
        assert_eq!((with(6).still(), with(7).still()), (UNFLUSHED, STILL));
    }
}
