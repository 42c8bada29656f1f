//! All the documents of one folder: snapshots, sessions, removals.

use super::id::ObjectId;
use crate::error::Error;

/// What a folder of documents holds.
#[derive(Debug)]
pub struct Documents<T> {
    /// Those that were read and understood.
    pub found: Vec<(ObjectId, T)>,
    /// Those that are there and cannot be understood, each with the reason.
    pub damaged: Vec<(ObjectId, Error)>,
    /// What does not belong there.
    pub strays: Vec<String>,
}
