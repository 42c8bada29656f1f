//! Snapshots of volumes: a file system as it stood in one moment, read in place of the one that goes on.
//!
//! A kind of volume a file. Invariant: what is taken is removed again, however the run ends; what cannot be removed is named, with the
//! commands that remove it; and what a run has left that was killed is named by the next one.

mod command;
mod left;
mod lvm;
mod mounts;

pub use lvm::Snapshot;

use crate::cli::{Context, absolute};
use clap::Args;
use clap::builder::PossibleValuesParser;
use icecore::error::{Error, Result};
use std::path::PathBuf;

/// The kinds there are.
const KINDS: [&str; 1] = [lvm::NAME];

/// Which snapshot is taken.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "What is read is of one moment")]
pub struct VolumeArguments {
    /// Read from a snapshot of the volume that the paths are on: lvm. It is taken first, when --mode has prepared what is on it, and
    /// removed again
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS), hide_possible_values = true, display_order = 74)]
    snapshot: Option<String>,
    /// The volume that the paths have to be on: /dev/GROUP/VOLUME [default: the one that they are on]
    #[arg(long, value_name = "VOLUME", requires = "snapshot", display_order = 75)]
    lvm_srcvol: Option<PathBuf>,
    /// The group of that volume, likewise
    #[arg(long, value_name = "GROUP", requires = "snapshot", display_order = 76)]
    lvm_volgroup: Option<String>,
    /// What the snapshot is called [default: a name that nothing else has]
    #[arg(long, value_name = "NAME", requires = "snapshot", display_order = 77)]
    lvm_snapname: Option<String>,
    /// Room for what changes on the volume while the snapshot is there, as lvcreate takes it: 1G, or 80%FREE [default: 1G]
    #[arg(long, value_name = "SIZE", requires = "snapshot", display_order = 78)]
    lvm_snapsize: Option<String>,
    /// Whether the snapshot can be written to: ro, or rw, which lets a file system finish what its journal says [default: ro]
    #[arg(long, value_name = "HOW", requires = "snapshot", value_parser = ["ro", "rw"], hide_possible_values = true, display_order = 79)]
    lvm_snap_perm: Option<String>,
    /// Where it is mounted meanwhile [default: a new folder in /var/lib/icecore]
    #[arg(long, value_name = "FOLDER", requires = "snapshot", display_order = 79)]
    lvm_dirmount: Option<PathBuf>,
}

impl VolumeArguments {
    /// Looks whether the words mean something, before anything is done.
    ///
    /// # Errors
    /// `Invalid` when they do not.
    pub fn check(&self) -> Result<()> {
        if !self.is_wanted() {
            return Ok(());
        }
        self.wanted()?.check()
    }

    /// Whether one is to be taken.
    pub fn is_wanted(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Takes it, of the volume that all of `paths` are on.
    ///
    /// # Errors
    /// When that is no volume of the kind, or the system's programs do not do it; then nothing is left of it.
    pub fn take(&self, context: &Context<'_>, paths: &[PathBuf], one_file_system: bool) -> Result<Snapshot> {
        self.wanted()?.take(context, paths, one_file_system)
    }

    fn wanted(&self) -> Result<lvm::Wanted> {
        // Freezer takes an empty word for none.
        let text = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        let folder = self.lvm_dirmount.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        Ok(lvm::Wanted {
            volume: self.lvm_srcvol.clone().filter(|volume| !volume.as_os_str().is_empty()),
            group: text(&self.lvm_volgroup),
            name: text(&self.lvm_snapname).map_or_else(lvm::new_name, Ok)?,
            size: text(&self.lvm_snapsize).unwrap_or_else(|| lvm::SIZE.to_owned()),
            is_writable: self.lvm_snap_perm.as_deref() == Some("rw"),
            folder: folder.map(|folder| absolute(folder)).transpose()?,
        })
    }
}

/// The error for paths of which no snapshot can be taken.
fn cannot(why: &str, what: impl Into<String>) -> Error {
    Error::new(icecore::Kind::Unsupported, why).on(what)
}
