//! Restores from a repository in memory.
