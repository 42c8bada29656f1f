//! Icecore: backups of file trees, and getting them back.
//!
//! The library behind the program `icecore`. It never prints, never reads the environment or a clock, and opens no socket:
//! whoever calls it passes those in. Modules are listed in the order of the data; each uses only what stands above it.

pub mod error;
pub mod limits;
pub mod monitor;
pub mod name;
pub mod time;

pub mod level;
pub mod retention;

pub mod pipe;
pub mod spool;

pub mod codec;
pub mod tree;

pub mod storage;

pub mod repository;

pub mod keyring;

pub mod engine;

pub mod chain;
pub mod select;
pub mod view;

pub mod backup;
pub mod benchmark;
pub mod check;
pub mod checksum;
pub mod copy;
pub mod diff;
pub mod dump;
pub mod find;
pub mod forget;
pub mod heal;
pub mod info;
pub mod list;
pub mod ls;
pub mod probe;
pub mod restore;
pub mod stats;

pub use error::{Error, Kind, Result};
