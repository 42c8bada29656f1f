//! The deduplicated part of a repository: chunks of bytes by keyed hash, in packs, found through indexes, and the snapshots
//! that refer to them. `docs/format/dedup.md` is normative.
//!
//! Invariants: every object has a key of its own, which is bound to the repository, the kind and the name of the object; what
//! is read back is opened, decoded and compared with its id before anybody sees it; a snapshot is written last.

pub mod header;
pub mod id;
pub mod keys;
pub mod seal;

pub use id::{ChunkId, ChunkKind, ObjectId};
