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
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

/// The directories that something is in, to be known again where a link leads back to one of them.
#[derive(Debug, Clone, Default)]
struct Above(Option<Rc<Node>>);

#[derive(Debug)]
struct Node {
    device: u64,
    inode: u64,
    above: Above,
}

impl Above {
    /// One more of them.
    fn with(&self, directory: &Path) -> Result<Above> {
        let failed = |e| Error::io("cannot look at", directory.display().to_string(), e);
        let metadata = std::fs::metadata(directory).map_err(failed)?;
        Ok(Above(Some(Rc::new(Node { device: metadata.dev(), inode: metadata.ino(), above: self.clone() }))))
    }

    /// Whether this is one of them.
    fn hold(&self, directory: &Path) -> bool {
        let Ok(metadata) = std::fs::metadata(directory) else { return false };
        let mut next = self;
        while let Some(node) = &next.0 {
            if (node.device, node.inode) == (metadata.dev(), metadata.ino()) {
                return true;
            }
            next = &node.above;
        }
        false
    }
}

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
