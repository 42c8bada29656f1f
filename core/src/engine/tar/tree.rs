//! The tree of the last level of a chain, from the archives of all levels: what a restore would make of them, in memory and without
//! contents. Listings and renames are heeded as at a restore, GNU tar's as well as ours.

use super::dumpdir::{self, Code};
use super::member::{Member, MemberKind};
use super::open_archive;
use super::path::{join, tree_path};
use super::renames::Renames;
use super::restore::first_renames;
use crate::engine::dedup::tree::{Entry, Names};
use crate::engine::described::{Describer, Gathered};
use crate::engine::{Chain, Found, Reading};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use std::collections::HashMap;

/// Hands out the tree of the last level.
///
/// # Errors
/// `Damaged`, `Limit` for more entries than can be remembered; what `found` fails with; `Interrupted`; as the chain has it.
pub(super) fn run(chain: &mut dyn Chain, monitor: &dyn Monitor, found: Found<'_>) -> Result<()> {
    let mut tree = Tree::default();
    for level in 0..chain.levels() {
        let renames = first_renames(chain, level)?;
        tree.rename(&renames)?;
        chain.stream(level, &mut |input| {
            let mut archive = open_archive(input);
            while let Some(member) = archive.next()? {
                monitor.check()?;
                tree.member(member)?;
            }
            Ok(Reading::ToTheEnd)
        })?;
    }
    tree.gathered.hand_out(found)
}

/// A tree as the levels so far make it.
#[derive(Default)]
struct Tree {
    gathered: Gathered,
    /// How many times there was something with several names.
    linked: u64,
    describer: Describer,
}

impl Tree {
    fn rename(&mut self, renames: &Renames) -> Result<()> {
        if renames.is_empty() {
            return Ok(());
        }
        self.gathered.relocate(|path, entry| renames.destination(path, entry.kind == FileKind::Directory))
    }

    fn member(&mut self, member: Member) -> Result<()> {
        let path = tree_path(&member.path).to_vec();
        let Member { kind, attributes, .. } = member;
        let mut entry = self.describer.entry(kind_of(&kind), &attributes);
        match kind {
            MemberKind::File { size_bytes, .. } => entry.size_bytes = size_bytes,
            MemberKind::Symlink(target) => entry.target = target,
            MemberKind::CharDevice(major, minor) | MemberKind::BlockDevice(major, minor) => {
                entry.rdev = (major, minor);
            }
            MemberKind::HardLink(first) => return self.hard_link(&path, tree_path(&first)),
            MemberKind::Directory { listing } => {
                self.gathered.put(&path, entry)?;
                let Some(listing) = listing else { return Ok(()) };
                return self
                    .listing(&path, &listing)
                    .map_err(|error| error.while_doing("cannot read the listing of", lossy(&path)));
            }
            MemberKind::Fifo => {}
        }
        self.gathered.put(&path, entry)
    }

    /// A further name of what has another. A file that no level holds is known by name.
    fn hard_link(&mut self, path: &[u8], first: &[u8]) -> Result<()> {
        let there = self.gathered.get(first).filter(|entry| entry.kind != FileKind::Directory);
        let Some(mut entry) = there.cloned() else {
            return self.gathered.put(path, Entry::known_by_name(FileKind::File));
        };
        if entry.names.is_none() {
            self.linked += 1;
            entry.names = Some(Names { device: 0, links: self.linked });
            self.gathered.put(first, entry.clone())?;
        }
        self.gathered.put(path, entry)
    }

    /// What is in a directory: what is not listed is gone, and what is listed and in no level was not read.
    fn listing(&mut self, path: &[u8], listing: &[u8]) -> Result<()> {
        let sorted = dumpdir::sorted(listing)?;
        let listed = dumpdir::parse(&sorted)?;
        let codes: HashMap<&[u8], Code> = listed.iter().map(|record| (record.name, record.code)).collect();
        self.gathered.retain(path, &mut |name, entry| {
            let was_directory = entry.kind == FileKind::Directory;
            codes.get(name).is_some_and(|code| (*code == Code::Directory) == was_directory)
        });
        for record in &listed {
            let place = join(path, record.name);
            if self.gathered.get(&place).is_none() {
                let is_directory = record.code == Code::Directory;
                let kind = if is_directory { FileKind::Directory } else { FileKind::File };
                self.gathered.put(&place, Entry::known_by_name(kind))?;
            }
        }
        Ok(())
    }
}

fn kind_of(kind: &MemberKind) -> FileKind {
    match kind {
        MemberKind::File { .. } | MemberKind::HardLink(_) => FileKind::File,
        MemberKind::Directory { .. } => FileKind::Directory,
        MemberKind::Symlink(_) => FileKind::Symlink,
        MemberKind::Fifo => FileKind::Fifo,
        MemberKind::CharDevice(..) => FileKind::CharDevice,
        MemberKind::BlockDevice(..) => FileKind::BlockDevice,
    }
}
