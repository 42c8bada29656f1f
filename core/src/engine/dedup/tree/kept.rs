//! Attributes and holes: in the entry when they are short, else in a chunk of their own.

use super::{Chunks, Hole, Kept, Store};
use crate::error::{Error, Kind, Result};
use crate::tree::attributes::Xattrs;

/// Puts attributes where they belong.
///
/// # Errors
/// `Limit` when they are too long for a chunk; as the store has it.
pub fn keep_xattrs(_store: &mut dyn Store, _xattrs: Xattrs) -> Result<Kept<Xattrs>> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// The attributes of an entry, from wherever they are.
///
/// # Errors
/// `Damaged`, `Unsupported`, or as the storage has it.
pub fn xattrs(_chunks: &dyn Chunks, _kept: &Kept<Xattrs>) -> Result<Xattrs> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// Puts holes where they belong.
///
/// # Errors
/// As [`keep_xattrs`].
pub fn keep_holes(_store: &mut dyn Store, _holes: Vec<Hole>) -> Result<Kept<Vec<Hole>>> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// The holes of a file of `size_bytes`, from wherever they are.
///
/// # Errors
/// As [`xattrs`].
pub fn holes(_chunks: &dyn Chunks, _kept: &Kept<Vec<Hole>>, _size_bytes: u64) -> Result<Vec<Hole>> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}
