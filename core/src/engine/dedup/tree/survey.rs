//! Looks at every node of a tree that nobody has looked at, and goes on behind what is broken.

use super::cursor::{Head, Walker};
use super::{Chunks, Entry, Key};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// Who is told what a survey comes to.
pub trait Surveyor {
    /// Whether a node below the root is to be read; the rest of the tree is looked at whatever the answer.
    ///
    /// # Errors
    /// Ends the survey.
    fn enters(&mut self, node: &ChunkId, height: u8) -> Result<bool>;

    /// An entry, and the leaf it is in.
    ///
    /// # Errors
    /// Ends the survey.
    fn entry(&mut self, leaf: &ChunkId, key: Key<'_>, entry: &Entry) -> Result<()>;

    /// A node that cannot be read, or not to its end; `key` is where it begins, or how far it was read.
    ///
    /// # Errors
    /// Ends the survey.
    fn broken(&mut self, node: &ChunkId, key: Key<'_>, error: Error) -> Result<()>;
}

/// Looks at the tree of `root`.
///
/// # Errors
/// Of the surveyor; of the storage, unless it is about the chunk.
pub fn survey(chunks: &dyn Chunks, root: &ChunkId, surveyor: &mut dyn Surveyor) -> Result<()> {
    let mut walker = match Walker::new(chunks, root) {
        Ok(walker) => walker,
        Err(error) => return tell(surveyor, root, &[], &[], error),
    };
    // The node whose entries come now, and the last of their keys.
    let mut leaf = *root;
    let (mut directory, mut name) = (Vec::new(), Vec::new());
    loop {
        match walker.head() {
            Head::End => return Ok(()),
            Head::Broken => walker.step()?,
            Head::Node => {
                let Some((key, height, id)) = walker.node() else { return Ok(()) };
                (leaf, directory, name) = (*id, key.directory.to_vec(), key.name.to_vec());
                if !surveyor.enters(&leaf, height)? {
                    walker.step()?;
                } else if let Err(error) = walker.open() {
                    tell(surveyor, &leaf, &directory, &name, error)?;
                }
            }
            Head::Item => {
                let Some((key, entry)) = walker.item() else { return Ok(()) };
                surveyor.entry(&leaf, key, entry)?;
                key.directory.clone_into(&mut directory);
                key.name.clone_into(&mut name);
                if let Err(error) = walker.step() {
                    tell(surveyor, &leaf, &directory, &name, error)?;
                }
            }
        }
    }
}

/// What is wrong with a node is told; anything else ends the survey.
fn tell(
    surveyor: &mut dyn Surveyor,
    node: &ChunkId,
    directory: &[u8],
    name: &[u8],
    error: Error,
) -> Result<()> {
    match error.kind() {
        Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::Limit => {
            surveyor.broken(node, Key { directory, name }, error)
        }
        _ => Err(error),
    }
}
