//! Engines: each turns a source into a stored level, and applies stored levels to a target.

pub mod tar;
