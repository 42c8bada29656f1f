//! The `tar` engine: GNU incremental archives and snapshot files, read and written without a subprocess.

pub mod dumpdir;
pub mod header;
pub mod member;
pub mod pax;
pub mod reader;
pub mod snapshot;
pub mod writer;
