//! One number for a whole tree: to be told that what was restored is what was backed up, by somebody who kept the number apart from the
//! backup.
//!
//! [`freezer`] is the checksum of Freezer's agent, so that numbers that were kept can still be compared. It depends on the order in
//! which a file system lists names. [`sound`] is Icecore's own: it depends on nothing but the tree, and also covers names, types and
//! modes.

pub mod freezer;
pub mod sound;

use crate::error::{Error, Result};
use crate::limits::READ_BYTES;
use crate::monitor::Monitor;
use std::io::Read;
use std::path::Path;

/// Hands the content of a file to `take`, piece by piece.
fn read_through(path: &Path, monitor: &dyn Monitor, mut take: impl FnMut(&[u8])) -> Result<u64> {
    let failed = |e| Error::io("cannot read", path.display().to_string(), e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut count = 0;
    loop {
        monitor.check()?;
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(count),
            length => {
                take(&buffer[..length]);
                count += length as u64;
            }
        }
    }
}
