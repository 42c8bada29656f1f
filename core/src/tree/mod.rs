//! The file system, read and written by directory handles: no path is resolved twice, so nothing can be swapped in between.
//!
//! Reading: [`walk`] hands out one directory at a time with its sorted [`listing`]; [`filter`] says what is left out.
//! Writing: [`target`] makes entries below one root and never leaves it. [`attributes`] are what both ends share.

pub mod acl;
pub mod attributes;
pub mod cache;
pub mod dereference;
pub mod directory;
pub mod filter;
pub mod listing;
pub mod owner;
pub mod sparse;
mod tar_pattern;
pub mod target;
pub mod walk;
pub mod xattr;
