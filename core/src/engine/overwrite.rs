//! What a restore does with what stands in the target already: one rule for every engine and every kind of entry.

use crate::error::Result;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::target::{Standing, Target};

/// What becomes of what stands in the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It is compared with what the backup has, and what differs is replaced.
    Always,
    /// The same; but a file of the same size and time counts as unchanged, and its content is not read.
    IfChanged,
    /// It is replaced when what the backup has was changed later; otherwise it stays.
    IfNewer,
    /// It stays.
    Never,
}

/// What is done with an entry of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is made, where nothing stands.
    Make,
    /// It is made in place of what stands there; a directory that is there gets the attributes of the backup's.
    Replace,
    /// The file that is there counts as the same: only its attributes are put right.
    Unchanged,
    /// The directory that is there stays as it is; what is below is looked at.
    Enter,
    /// What stands there stays.
    Keep,
}

/// What of an entry of a backup the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Its type.
    pub kind: FileKind,
    /// How long it is, when it is a file whose length is known.
    pub size_bytes: Option<u64>,
    /// Its last change.
    pub mtime: FileTime,
    /// How many names it has, when that is known.
    pub links: u64,
}

impl Overwrite {
    /// Whether what the backup has may be refused for the sake of what is there. Nothing is deleted then either.
    pub fn keeps(self) -> bool {
        matches!(self, Overwrite::IfNewer | Overwrite::Never)
    }

    /// What to do with an entry at `path` of the backup, going by what stands in the target. A directory in the way of something
    /// else is as new as the newest that is in it.
    ///
    /// # Errors
    /// When the target cannot be looked at.
    pub fn decide(self, target: &mut Target<'_>, path: &[u8], offer: Offer) -> Result<Decision> {
        let found = match target.standing(path)? {
            Standing::Nothing => return Ok(Decision::Make),
            Standing::Blocked if self.keeps() => return Ok(Decision::Keep),
            // It is told when the entry is made.
            Standing::Blocked => return Ok(Decision::Make),
            Standing::Entry(found) => found,
        };
        let both_directories = found.kind == FileKind::Directory && offer.kind == FileKind::Directory;
        Ok(match self {
            Overwrite::Always => Decision::Replace,
            Overwrite::IfChanged if is_same(&found, offer) => Decision::Unchanged,
            Overwrite::IfChanged => Decision::Replace,
            Overwrite::IfNewer if both_directories => {
                if offer.mtime > found.mtime {
                    Decision::Replace
                } else {
                    Decision::Enter
                }
            }
            Overwrite::IfNewer => {
                if offer.mtime > found.mtime && target.newest(path)?.is_none_or(|newest| offer.mtime > newest)
                {
                    Decision::Replace
                } else {
                    Decision::Keep
                }
            }
            Overwrite::Never if both_directories => Decision::Enter,
            Overwrite::Never => Decision::Keep,
        })
    }
}

/// Whether a file counts as unchanged. One that shares its inode with others than in the backup does not: they would change
/// with it.
fn is_same(found: &Metadata, offer: Offer) -> bool {
    (found.kind, offer.kind) == (FileKind::File, FileKind::File)
        && offer.size_bytes == Some(found.size_bytes)
        && found.mtime == offer.mtime
        && (found.links == 1 || found.links == offer.links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Quiet;
    use crate::spool::Scratch;
    use crate::tree::target::Options;
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_is_there_gives_way_or_not_by_the_policy() {
        use Decision::{Enter, Keep, Make, Replace, Unchanged};
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("directory/below")).unwrap();
        fs::create_dir(at("old")).unwrap();
        fs::write(at("old/new"), "x").unwrap();
        fs::write(at("file"), "12345").unwrap();
        fs::write(at("linked"), "12345").unwrap();
        fs::hard_link(at("linked"), at("other name")).unwrap();
        std::os::unix::fs::symlink("directory", at("link")).unwrap();
        for path in ["directory/below", "directory", "old", "file", "linked"] {
            let file = fs::File::open(at(path)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(100)).unwrap();
        }
        let scratch = Scratch::new(std::env::temp_dir());
        let mut target = Target::open(folder.path(), &scratch, Options::numeric(false), &Quiet).unwrap();
        let offer = |kind, seconds| Offer {
            kind,
            size_bytes: (kind == FileKind::File).then_some(5),
            mtime: FileTime::new(seconds, 0),
            links: 1,
        };
        let (file, directory) = (FileKind::File, FileKind::Directory);
        // Path, offered kind and time, and what becomes of it: always, if changed, if newer, never.
        let cases = [
            ("absent", file, 100, [Make, Make, Make, Make]),
            ("absent/below", directory, 100, [Make, Make, Make, Make]),
            ("file", file, 100, [Replace, Unchanged, Keep, Keep]),
            ("file", file, 101, [Replace, Replace, Replace, Keep]),
            ("file", file, 99, [Replace, Replace, Keep, Keep]),
            ("file", directory, 101, [Replace, Replace, Replace, Keep]),
            ("file", directory, 100, [Replace, Replace, Keep, Keep]),
            ("file", FileKind::Symlink, 101, [Replace, Replace, Replace, Keep]),
            ("linked", file, 100, [Replace, Replace, Keep, Keep]),
            ("directory", directory, 100, [Replace, Replace, Enter, Enter]),
            ("directory", directory, 101, [Replace, Replace, Replace, Enter]),
            ("directory", file, 101, [Replace, Replace, Replace, Keep]),
            ("old", file, 101, [Replace, Replace, Keep, Keep]),
            ("link", directory, 100, [Replace, Replace, Keep, Keep]),
            ("link/below", file, i64::MAX, [Make, Make, Keep, Keep]),
            ("file/below", file, i64::MAX, [Make, Make, Keep, Keep]),
        ];
        for (path, kind, seconds, wanted) in cases {
            let policies = [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never];
            for (policy, wanted) in policies.into_iter().zip(wanted) {
                let found = policy.decide(&mut target, path.as_bytes(), offer(kind, seconds)).unwrap();
                assert_eq!(found, wanted, "{policy:?}, {kind:?} of {seconds} at {path}");
            }
        }
        let both_names = Offer { links: 2, ..offer(file, 100) };
        assert_eq!(Overwrite::IfChanged.decide(&mut target, b"linked", both_names).unwrap(), Unchanged);
        let longer = Offer { size_bytes: Some(6), ..offer(file, 100) };
        assert_eq!(Overwrite::IfChanged.decide(&mut target, b"file", longer).unwrap(), Replace);
    }
}
