//! The `dedup` engine: every backup stands alone, and what it has in common with others is stored once.

pub mod tree;
