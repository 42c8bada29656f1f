//! The tree of the last level of a chain, from its state alone: no stream is read.

use super::state::{Cursor, DirectoryRow, Item, Row, RowKind, State, order};
use crate::engine::dedup::tree::{Entry, Names};
use crate::engine::described::Describer;
use crate::engine::{Chain, Found};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::spool::Scratch;
use crate::tree::attributes::FileKind;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The state of the last level.
///
/// # Errors
/// `Invalid` without levels; `Damaged` for the state of another level; as [`State::load`] and the chain have it.
pub(super) fn last_state(chain: &mut dyn Chain, scratch: &Scratch) -> Result<State> {
    let Some(last) = chain.levels().checked_sub(1) else {
        return Err(Error::invalid("no levels in", "the chain"));
    };
    let state = State::load(chain.engine_metadata(last)?, scratch)?;
    if state.level() as usize != last {
        return Err(Error::damaged("of another level:", "the state of a level"));
    }
    Ok(state)
}

/// Hands out the tree of the last level.
///
/// # Errors
/// As [`last_state`]; `Damaged`; what `found` fails with; `Interrupted`.
pub(super) fn run(
    chain: &mut dyn Chain,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    found: Found<'_>,
) -> Result<()> {
    let mut state = last_state(chain, scratch)?;
    let names = names(&mut state)?;
    let mut told = Told { names, describer: Describer::default(), waiting: Vec::new(), found };
    let (mut cursor, mut directory, mut below) = (Cursor::default(), None::<Vec<u8>>, Vec::new());
    loop {
        monitor.check()?;
        match cursor.next(&mut state)?.1 {
            Item::Directory(row) => {
                told.wait_for(std::mem::take(&mut below));
                told.directory(&row)?;
                directory = Some(row.path);
            }
            Item::Entry(row) => {
                let above = directory.as_deref();
                let above = above.ok_or_else(|| Error::damaged("an entry of no directory in", SUBJECT))?;
                let path = super::join(above, &row.name);
                match row.kind {
                    RowKind::Directory => below.push(path),
                    _ => told.entry(&path, row)?,
                }
            }
            Item::End => {
                told.wait_for(below);
                return told.pass_over_before(None);
            }
        }
    }
}

const SUBJECT: &str = "the state of a level";

/// How many names what has several has in this tree, by what they have in common.
fn names(state: &mut State) -> Result<HashMap<u64, u64>> {
    let (mut cursor, mut names) = (Cursor::default(), HashMap::new());
    loop {
        match cursor.next(state)?.1 {
            Item::Entry(row) if row.link != 0 => *names.entry(row.link).or_default() += 1,
            Item::End => return Ok(names),
            Item::Entry(_) | Item::Directory(_) => {}
        }
    }
}

struct Told<'f> {
    names: HashMap<u64, u64>,
    describer: Describer,
    /// Directories that were named and have not come yet, the next one last.
    waiting: Vec<Vec<u8>>,
    found: Found<'f>,
}

impl Told<'_> {
    fn wait_for(&mut self, below: Vec<Vec<u8>>) {
        self.waiting.extend(below.into_iter().rev());
    }

    /// Tells of directories that would have come before `path` (`None`: at all): they could not be read.
    fn pass_over_before(&mut self, path: Option<&[u8]>) -> Result<()> {
        while let Some(next) = self.waiting.last() {
            let comes = path.map_or(Ordering::Less, |path| order(next, path));
            match comes {
                Ordering::Greater => return Ok(()),
                Ordering::Equal => {}
                Ordering::Less => (self.found)(next, &Entry::known_by_name(FileKind::Directory))?,
            }
            self.waiting.pop();
        }
        Ok(())
    }

    fn directory(&mut self, row: &DirectoryRow) -> Result<()> {
        self.pass_over_before(Some(&row.path))?;
        let entry = match &row.attributes {
            Some(attributes) => self.describer.entry(FileKind::Directory, attributes),
            None => Entry::made_up_root(),
        };
        (self.found)(&row.path, &Entry { whole: !row.closed, ..entry })
    }

    fn entry(&mut self, path: &[u8], row: Row) -> Result<()> {
        let kind = match &row.kind {
            RowKind::File(_) => FileKind::File,
            RowKind::Symlink(_) => FileKind::Symlink,
            RowKind::Fifo => FileKind::Fifo,
            RowKind::Device(kind, ..) => *kind,
            RowKind::Directory => FileKind::Directory,
            RowKind::Unread => return (self.found)(path, &Entry::known_by_name(FileKind::File)),
        };
        let mut entry = self.describer.entry(kind, &row.attributes);
        entry.whole = !row.again;
        entry.inode = row.inode;
        // The number of the file system is not kept.
        entry.names = self.names.get(&row.link).map(|&links| Names { device: 0, links });
        match row.kind {
            RowKind::File(file) => entry.size_bytes = file.content.size_bytes,
            RowKind::Symlink(target) => entry.target = target,
            RowKind::Device(_, major, minor) => entry.rdev = (major, minor),
            RowKind::Directory | RowKind::Fifo | RowKind::Unread => {}
        }
        (self.found)(path, &entry)
    }
}
