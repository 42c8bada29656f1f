//! What the ends of streams held that were never stored: releases 4 to 6 left out what did not fill a block of the cipher, up to 15
//! bytes of the compressed stream of each level of the first engine.
//!
//! The `engine_metadata` of a level is whole, and lists every file that the engine knew then, those that were gone too. So what the
//! last level's has and the streams do not tell is what was in those ends: a path that was gone is taken for gone, and what
//! was new or had changed is lost, by name.
//!
//! Invariant: nothing of an older version is left in the plan for a path whose newest record was lost.

use super::plan::Plan;
use super::signatures::{Bounded, of_json, plain, proves_nothing};
use super::stored::tree_path;
use crate::engine::Chain;
use crate::error::Result;
use crate::tree::attributes::FileKind;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// What follows from the missing ends of a chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Ends {
    /// None is missing.
    #[default]
    AllThere,
    /// Some are, and nothing says what was in them.
    Unknown,
    /// Some are: these paths are lost, none if there was nothing in them but checksums and paths that were gone.
    Lacking(Vec<Vec<u8>>),
}

impl Ends {
    /// Compares the record of the last level with what the streams came to, and takes out of the plan what is not so.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn find(chain: &mut dyn Chain, plan: &mut Plan) -> Result<Ends> {
        let any = (0..chain.levels()).any(|level| chain.lacks_end(level));
        let Some(last) = chain.levels().checked_sub(1).filter(|_| any) else { return Ok(Ends::AllThere) };
        let mut noted = Vec::new();
        let read = chain.engine_metadata(last).and_then(plain).and_then(|mut plain| {
            let mut json = serde_json::Deserializer::from_reader(Bounded::new(&mut plain));
            // The plan is changed only by a record that was read to its end.
            let visit = Manifest(&mut |path, is_directory, inode| {
                noted.extend(plan.differs(path, is_directory, inode))
            });
            visit.deserialize(&mut json).map_err(of_json)
        });
        match read {
            Ok(()) => {}
            Err(error) if proves_nothing(&error) => return Ok(Ends::Unknown),
            Err(error) => return Err(error),
        }
        let mut lost = Vec::new();
        for (path, difference) in noted {
            plan.forget(&path, super::plan::number_of(last)?);
            if difference == Difference::Lost {
                lost.push(path);
            }
        }
        Ok(Ends::Lacking(lost))
    }
}

/// How the streams tell a path otherwise than the record of the last level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is gone, and the streams have it.
    Gone,
    /// Its last version is not in the streams.
    Lost,
}

/// What the record says of a path.
#[derive(Debug, Deserialize)]
pub(super) struct Inode {
    size: u64,
    mtime: i64,
    ctime: i64,
    ftype: String,
    deleted: String,
}

impl Plan {
    /// Whether the streams tell a path otherwise; `None` when they do not.
    fn differs(&self, stored: &str, is_directory: bool, inode: &Inode) -> Option<(Vec<u8>, Difference)> {
        let path = tree_path(stored.as_bytes())?;
        let found = self.get(&path);
        let kind = found.and_then(|found| found.kind);
        if inode.deleted == "1111" {
            // A file that became a directory is noted as gone.
            let is_gone = kind.is_none_or(|kind| kind == FileKind::Directory);
            return (!is_gone).then_some((path, Difference::Gone));
        }
        let is_same = found.is_some_and(|found| {
            let has_time = found.mtime.seconds == inode.mtime && found.ctime_seconds == inode.ctime;
            let is_kind = match inode.ftype.as_str() {
                "d" => kind == Some(FileKind::Directory),
                "r" => kind == Some(FileKind::File) && found.size_bytes == inode.size,
                _ => kind != Some(FileKind::Directory) && kind != Some(FileKind::File),
            };
            // A directory that became a file is in the list of both.
            is_kind && (has_time || is_directory)
        });
        (!is_same).then_some((path, Difference::Lost))
    }
}

/// Hands out what a record in JSON has of files and directories.
struct Manifest<'v>(&'v mut dyn FnMut(&str, bool, &Inode));

impl<'de> DeserializeSeed<'de> for Manifest<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Manifest<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "files" => map.next_value_seed(ByPath { visit: &mut *self.0, are_directories: false })?,
                "directories" => {
                    map.next_value_seed(ByPath { visit: &mut *self.0, are_directories: true })?
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct ByPath<'v> {
    visit: &'v mut dyn FnMut(&str, bool, &Inode),
    are_directories: bool,
}

/// A path's value, of which the sums are passed over.
#[derive(Deserialize)]
struct Noted {
    inode: Inode,
}

impl<'de> DeserializeSeed<'de> for ByPath<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ByPath<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inodes by their paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((path, noted)) = map.next_entry::<String, Noted>()? {
            (self.visit)(&path, self.are_directories, &noted.inode);
        }
        Ok(())
    }
}
