//! Files made by several threads at once below one root.
//!
//! Invariant: each has a walker of its own, so that what is reached is reached as safely as by [`super::Target`]. A walker
//! keeps handles of directories it passed: whoever holds a target sees to it that no directory is removed, renamed or
//! replaced through it in which files are being made, or will be.

use super::apply::Settings;
use super::file::FileTarget;
use super::path::split;
use super::walker::{Missing, Walker};
use crate::error::{Error, Kind, Result};
use crate::tree::attributes::{Attributes, FileKind, Metadata};
use crate::tree::directory::lossy;
use std::fs::File;
use std::sync::Arc;

/// Makes files in the tree of a [`super::Target`], in a thread of its own.
pub struct Files<'m> {
    settings: Arc<Settings<'m>>,
    walker: Walker,
}

impl<'m> Files<'m> {
    pub(super) fn new(settings: Arc<Settings<'m>>, walker: Walker) -> Self {
        Files { settings, walker }
    }

    /// Starts a regular file, as [`super::Target::file`] does. Quick for files of the directory of the last one.
    ///
    /// # Errors
    /// As [`super::Target::file`].
    pub fn create(&mut self, path: &[u8], expected: &Attributes) -> Result<FileTarget<'m>> {
        let (parent, name) = split(path)?;
        let folder = self.walker.open(parent, Missing::Create)?;
        FileTarget::create(Arc::clone(&self.settings), folder, path, name, expected)
    }

    /// The regular file with one name that stands at a path, if it has these attributes already; `None` when anything about
    /// it is different, or nothing stands there. Its content is for the caller to compare.
    ///
    /// # Errors
    /// `Invalid` when a link stands above it; otherwise as the system has it.
    pub fn same(&mut self, path: &[u8], size_bytes: u64, attributes: &Attributes) -> Result<Option<File>> {
        let (parent, name) = split(path)?;
        let Some(folder) = self.walker.find(parent)? else { return Ok(None) };
        let found = match folder.directory.stat(name) {
            Ok(found) => found,
            Err(e) if e.kind() == Kind::NotFound => return Ok(None),
            Err(e) => return Err(e.while_doing("cannot stat", lossy(path))),
        };
        let is_plain = found.kind == FileKind::File && found.links == 1 && found.size_bytes == size_bytes;
        if !is_plain || !self.settings.has_attributes(&found, attributes) {
            return Ok(None);
        }
        let opened = folder.directory.open_file(name).and_then(|file| {
            let there = crate::tree::directory::metadata_of(&file)
                .map_err(|e| Error::io("cannot stat", lossy(path), e))?;
            Ok((file, there))
        });
        // Whoever may not read it can still replace it.
        let Ok((file, there)) = opened else { return Ok(None) };
        let is_it = is_unchanged(&found, &there) && self.settings.has_xattrs(&file, &attributes.xattrs);
        Ok(is_it.then_some(file))
    }
}

fn is_unchanged(found: &Metadata, opened: &Metadata) -> bool {
    found.same_version(opened) && opened.links == 1
}
