//! Every bound in one place, with the relations between them checked when the library is compiled.
//!
//! Whatever the size of a tree, a file or a repository, the memory a run needs follows from these numbers. A bound that is
//! passed is an [`crate::error::Kind::Limit`] error, never a truncation.

/// Bytes of stream in one block: what one compressor takes, what travels through a pipe. Large enough that a hop between
/// threads (0.2 µs) and the start of a compressed frame do not matter, small enough for memory to stay a small number.
pub const BLOCK_BYTES: usize = 4 << 20;

/// Items a pipe holds between its two ends.
pub const PIPE_ITEMS: usize = 2;

/// Most worker threads of one pipe stage.
pub const WORKERS_MAX: usize = 64;

/// Bytes of one read from a file that is streamed.
pub const READ_BYTES: usize = 1 << 20;

/// Files up to this size are read whole before their header is written, so that a change during the read is noticed in time.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Bytes a spool keeps in memory before it moves to an unlinked temporary file.
pub const SPOOL_MEMORY_BYTES: usize = 8 << 20;

/// Longest object name, in bytes.
pub const OBJECT_NAME_BYTES: usize = 1024;

/// Largest object that is read whole into memory (`metadata` documents and the like; never `data`).
pub const SMALL_OBJECT_BYTES: u64 = 16 << 20;

/// Longest host or backup name, in bytes: one component of an object name on every storage.
pub const NAME_BYTES: usize = 200;

/// Longest path inside a tree or an archive, in bytes. Far beyond PATH_MAX, since paths are walked by directory handles.
pub const PATH_BYTES: usize = 1 << 20;

/// Deepest nesting of directories.
pub const DEPTH_MAX: usize = 32_768;

/// Directory handles kept open at once; older ones are closed and found again through `..`.
pub const OPEN_DIRECTORIES: usize = 128;

/// Bytes of all extended attributes of one file.
pub const XATTR_BYTES: usize = 4 << 20;

/// Most entries of one access control list: what an attribute of 64 KiB can hold.
pub const ACL_ENTRIES: usize = 8191;

/// Bytes of directories' attributes that are gathered in memory until they move to a temporary file.
pub const DEFERRED_BYTES: usize = 4 << 20;

/// Bytes of the PAX records of one member. Holds every attribute, a path and a link target.
pub const PAX_BYTES: usize = 8 << 20;

/// Bytes of the listing (dumpdir) of one directory in an archive: ten million names of a hundred bytes.
pub const DUMPDIR_BYTES: u64 = 1 << 30;

/// Data regions of one sparse file. A file with more is stored as if it had no holes.
pub const SPARSE_REGIONS: usize = 1 << 20;

/// Highest level a chain may reach.
pub const LEVEL_MAX: u32 = 9_999;

/// Paths that are named in a stored report; beyond it only the count grows.
pub const REPORTED_PATHS: usize = 1_000;

const _: () = assert!(PAX_BYTES > XATTR_BYTES + 2 * PATH_BYTES);
const _: () = assert!(SMALL_FILE_BYTES as usize <= BLOCK_BYTES);
const _: () = assert!(NAME_BYTES * 2 + 128 < OBJECT_NAME_BYTES);
const _: () = assert!(OPEN_DIRECTORIES >= 16);
