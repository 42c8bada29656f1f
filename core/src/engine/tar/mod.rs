//! The `tar` engine: GNU incremental archives and snapshot files, read and written without a subprocess.
//!
//! The codec, pure bytes: [`member`] is what both ends share, [`writer`] and [`reader`] turn it into archives and back with
//! the help of [`header`], [`pax`], [`sparse`] and [`input`]; [`dumpdir`] is the listing inside a directory's member, and
//! [`snapshot`] the file that an incremental backup starts from.

pub mod dumpdir;
pub mod header;
pub mod input;
pub mod member;
pub mod pax;
pub mod reader;
pub mod snapshot;
pub mod sparse;
pub mod writer;

#[cfg(test)]
mod tests;
