//! Files made by several threads at once below one root.
//!
//! Invariant: each has a walker of its own, so that what is reached is reached as safely as by [`super::Target`]. A walker
//! keeps handles of directories it passed: whoever holds a target sees to it that no directory is removed, renamed or
//! replaced through it in which files are being made, or will be.

use super::apply::Settings;
use super::file::FileTarget;
use super::path::Base;
use super::walker::{Missing, Walker};
use crate::error::Result;
use crate::tree::attributes::Attributes;
use std::sync::Arc;

/// Makes files in the tree of a [`super::Target`], in a thread of its own.
pub struct Files<'m> {
    pub(super) settings: Arc<Settings<'m>>,
    pub(super) walker: Walker,
    pub(super) base: Base,
}

impl<'m> Files<'m> {
    pub(super) fn new(settings: Arc<Settings<'m>>, walker: Walker, base: Base) -> Self {
        Files { settings, walker, base }
    }

    /// Starts a regular file, as [`super::Target::file`] does. Quick for files of the directory of the last one.
    ///
    /// # Errors
    /// As [`super::Target::file`].
    pub fn create(&mut self, path: &[u8], expected: &Attributes) -> Result<FileTarget<'m>> {
        let (parent, name) = self.base.split(path)?;
        let folder = self.walker.open(parent, Missing::Create)?;
        FileTarget::create(Arc::clone(&self.settings), folder, path, name, expected)
    }
}
