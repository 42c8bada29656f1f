//! Inner nodes: children by the first key below them.

/// How much a tree or a part of it holds. The numbers stop at the largest that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}
