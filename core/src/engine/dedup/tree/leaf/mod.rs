//! Leaves: the entries of a tree, each as what differs from the one before.
//!
//! Invariant: a leaf depends on its entries alone, not on what stood before it; so it is the same in every tree that has them.

mod reader;
mod writer;

pub use reader::{LeafReader, Owners};
pub use writer::LeafWriter;

use crate::tree::attributes::FileKind;

/// The version of nodes.
pub(super) const VERSION: u8 = 1;

const RACY: u8 = 1;
const XATTRS_HERE: u8 = 2;
const XATTRS_ELSEWHERE: u8 = 4;
const NAMES: u8 = 8;
const HOLES_HERE: u8 = 16;
const HOLES_ELSEWHERE: u8 = 32;
const NOT_WHOLE: u8 = 64;
const EXTENSION: u8 = 128;

/// The field of an extension that says that an entry could not be read, and what it says.
const TAG_UNREAD: u64 = 1;
const UNREAD_ATTRIBUTES: u8 = 1;
const UNREAD_NAME: u8 = 2;

const FORM_NONE: u64 = 0;
const FORM_SLICE: u64 = 1;
const FORM_ROWS: u64 = 2;

/// The kinds in the order of their numbers.
const KINDS: [FileKind; 6] = [
    FileKind::Directory,
    FileKind::File,
    FileKind::Symlink,
    FileKind::Fifo,
    FileKind::CharDevice,
    FileKind::BlockDevice,
];
