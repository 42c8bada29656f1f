//! For tests only: trees, what they must look like afterwards, faults, conformance suites.
//!
//! What judges a restore is written apart from what restores: [`manifest`] and [`freezer`] use nothing of `icecore`.

pub mod ask;
pub mod breach;
pub mod conformance;
pub mod far;
pub mod fault;
pub mod freezer;
pub mod handle;
pub mod holes;
pub mod lie;
pub mod manifest;
pub mod random;
pub mod servers;
pub mod sha256;
pub mod tree;
pub mod wire;
