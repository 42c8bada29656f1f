//! Trees on disk that hold one of everything a backup must keep, and a history of changes that happens to them.
//!
//! A tree is built from a seed and is the same every time but for what only the kernel sets (inode numbers, change times).
//! Devices, foreign owners and privileged attributes are there only when root builds it.

pub mod attributes;
mod contents;
mod history;
pub mod shuffle;

use crate::random::Random;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a tree shall hold beyond the ordinary.
#[derive(Debug, Clone)]
pub struct Features {
    /// Paths longer than PATH_MAX. Programs that work by path cannot read them.
    pub long_paths: bool,
    /// A socket, which no backup holds.
    pub sockets: bool,
    /// Devices, where they can be made.
    pub devices: bool,
    /// Files of several mebibytes.
    pub large_files: bool,
    /// Directories that change names with each other, in twos and threes. GNU tar 1.34 stores the first level after that
    /// rightly, but its snapshot file keeps the old names, so that its next level turns them once more.
    pub circles: bool,
    /// Whether a new directory may get the inode number of one deleted in the same step. GNU tar takes it for the old one
    /// renamed, and cannot restore its own archive where the new name was that of a file.
    pub inodes_reused: bool,
}

impl Features {
    /// Everything but sockets.
    pub fn all() -> Self {
        Features {
            long_paths: true,
            sockets: false,
            devices: true,
            large_files: true,
            circles: true,
            inodes_reused: true,
        }
    }

    /// What programs that work by path can handle too.
    pub fn plain() -> Self {
        Features { long_paths: false, ..Features::all() }
    }
}

/// A tree that can be changed step by step.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    random: Random,
    features: Features,
    privileged: bool,
}

/// Steps of [`Tree::mutate`] with a script of their own; later ones are random.
pub const SCRIPTED_STEPS: u32 = 4;

impl Tree {
    /// Builds a tree at `root`, which is made when it is not there.
    ///
    /// # Errors
    /// As the system has it.
    pub fn create(root: &Path, seed: u64, features: Features) -> io::Result<Tree> {
        fs::create_dir_all(root)?;
        let privileged = is_root();
        let mut tree = Tree { root: root.to_owned(), random: Random::new(seed), features, privileged };
        tree.fill()?;
        Ok(tree)
    }

    /// The directory the tree is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Changes the tree: steps 1 to [`SCRIPTED_STEPS`] in order go through everything that an incremental backup must
    /// notice, later steps are random.
    ///
    /// # Errors
    /// As the system has it; a scripted step out of order fails.
    pub fn mutate(&mut self, step: u32) -> io::Result<()> {
        let _held = if self.features.inodes_reused { Vec::new() } else { history::hold(&self.root)? };
        match step {
            1 => self.first_changes(),
            2 => self.second_changes(),
            3 => self.third_changes(),
            4 => self.fourth_changes(),
            _ => self.random_changes(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests;
