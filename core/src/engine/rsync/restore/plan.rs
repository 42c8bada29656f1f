//! Going through the tree of the last level: makes directories and whatever has no content, decides what becomes of what stands in
//! the target, and notes which records the rest needs.

use super::super::content::hash_zeros;
use super::super::state::{Cursor, DirectoryRow, FileRow, Item, Row, RowKind};
use super::choice::{Wanted, wants};
use super::{Destination, First, Need, Restore, is_within, join};
use crate::engine::overwrite::{Decision, Offer};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::{Event, Monitor};
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use crate::tree::target::{Target, There};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;

/// The directory whose entries come.
struct Current {
    path: Vec<u8>,
    /// Where it is in the state.
    place: u64,
    /// Whether something in it may be wanted.
    is_of_interest: bool,
    /// When strangers go: the names that stay.
    names: Option<HashSet<Vec<u8>>>,
}

/// Directories above what is wanted, which are made when something below them is.
type Above = Vec<(Vec<u8>, Option<Attributes>)>;

impl Restore<'_, '_, '_> {
    /// Goes through the whole tree.
    ///
    /// # Errors
    /// `Damaged`, a full target, `Interrupted`; I/O of temporary files.
    pub(super) fn plan(&mut self) -> Result<()> {
        let (mut cursor, mut above) = (Cursor::default(), Above::new());
        let mut current: Option<Current> = None;
        loop {
            self.job.monitor.check()?;
            let (place, item) = cursor.next(&mut self.state)?;
            match item {
                Item::Directory(row) => {
                    self.leave(current.take())?;
                    current = Some(self.enter(place, row, &mut above)?);
                }
                Item::Entry(row) => match &mut current {
                    Some(current) if current.is_of_interest => self.entry(current, place, row, &mut above)?,
                    Some(_) => {}
                    None => {
                        return Err(Error::damaged("an entry of no directory in", "the state of a level"));
                    }
                },
                Item::End => return self.leave(current),
            }
        }
    }

    fn enter(&mut self, place: u64, row: DirectoryRow, above: &mut Above) -> Result<Current> {
        let DirectoryRow { path, attributes, closed } = row;
        above.retain(|(directory, _)| is_within(&path, directory));
        let wanted = wants(&self.chosen, &path, true);
        let mut names = None;
        match wanted {
            Wanted::Yes => {
                self.make_above(above)?;
                let is_there = self.make_directory(&path, attributes)?;
                if is_there && self.job.delete {
                    if closed {
                        self.warn(
                            &path,
                            "nothing is removed, since what was there is not known or no part of the backup:",
                        );
                    } else {
                        names = Some(HashSet::new());
                    }
                }
                self.job.monitor.event(Event::Directory { path: &path });
            }
            Wanted::Above if self.chosen.is_above(&path) => above.push((path.clone(), attributes)),
            Wanted::Above | Wanted::No => {}
        }
        Ok(Current { path, place, is_of_interest: wanted != Wanted::No, names })
    }

    /// Removes what stands in a directory and is not in the backup.
    fn leave(&mut self, current: Option<Current>) -> Result<()> {
        let Some(Current { path, names: Some(stay), .. }) = current else { return Ok(()) };
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        let names = match target.names(&path) {
            Ok(names) => names,
            Err(error) => return self.of_one_path(&path, Err(error)).map(|_| ()),
        };
        for name in names {
            let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
            let place = join(&path, &name);
            let spared = |path: &[u8], is_directory| self.chosen.excludes_entry(path, is_directory);
            if !stay.contains(&name) {
                let done = target.remove_sparing(&place, &spared);
                self.of_one_path(&place, done)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, current: &mut Current, place: u64, row: Row, above: &mut Above) -> Result<()> {
        if let Some(names) = &mut current.names {
            names.insert(row.name.clone());
        }
        let path = join(&current.path, &row.name);
        if matches!(row.kind, RowKind::Directory) || wants(&self.chosen, &path, false) != Wanted::Yes {
            return Ok(());
        }
        self.make_above(above)?;
        if matches!(row.kind, RowKind::Unread) {
            if let Some(target) = self.target.as_deref_mut()
                && let Ok(Some(_)) = target.kind(&path)
            {
                self.warn(&path, "left as it is, since it could not be read when this was backed up:");
            }
            return Ok(());
        }
        let (kind, size_bytes) = match &row.kind {
            RowKind::File(file) => (FileKind::File, Some(file.content.size_bytes)),
            RowKind::Symlink(_) => (FileKind::Symlink, None),
            RowKind::Fifo => (FileKind::Fifo, None),
            RowKind::Device(kind, ..) => (*kind, None),
            RowKind::Directory | RowKind::Unread => return Ok(()),
        };
        let offer = Offer { kind, size_bytes, mtime: row.attributes.mtime, links: 1 };
        let Some(decision) = self.decide(&path, offer)? else { return Ok(()) };
        if decision == Decision::Keep {
            self.kept += 1;
            return Ok(());
        }
        if row.link != 0 {
            if self.firsts.contains_key(&row.link) {
                self.further.push((path, row.link));
                return Ok(());
            }
            let first = First { path: path.clone(), destination: None, is_lost: false };
            self.firsts.insert(row.link, first);
        }
        match &row.kind {
            RowKind::File(file) => {
                let destination = Destination { directory: current.place, entry: place };
                self.file(&path, file, &row, decision, destination)
            }
            _ => self.special(&path, &row),
        }
    }

    fn file(
        &mut self,
        path: &[u8],
        file: &FileRow,
        row: &Row,
        decision: Decision,
        destination: Destination,
    ) -> Result<()> {
        let is_there = match decision {
            Decision::Unchanged => self.stays(path, file, row),
            Decision::Replace => self.is_same(path, file, row)?,
            Decision::Make | Decision::Enter | Decision::Keep => false,
        };
        if is_there {
            if decision == Decision::Unchanged {
                self.job.monitor.event(Event::Unchanged { path });
            }
            self.job.monitor.event(Event::Entry { path, bytes: file.content.size_bytes });
            return Ok(());
        }
        let Ok(number) = u32::try_from(self.destinations.len()) else {
            return Err(Error::new(Kind::Limit, "too many files in").on("one restore"));
        };
        self.destinations.push(destination);
        if let Some(first) = self.firsts.get_mut(&row.link) {
            first.destination = Some(number);
        }
        if file.recipe.is_empty() {
            let done = match self.target.as_deref_mut() {
                Some(target) => {
                    target.file(path, &row.attributes).and_then(|file| file.finish(&row.attributes))
                }
                None => Ok(()),
            };
            if self.of_one_path(path, done)? {
                self.job.monitor.event(Event::Entry { path, bytes: 0 });
            } else {
                self.failed.insert(number);
            }
            return Ok(());
        }
        let needs = file.recipe.iter();
        self.needs.extend(needs.map(|step| Need {
            level: step.level,
            record: step.record,
            destination: number,
        }));
        Ok(())
    }

    fn special(&mut self, path: &[u8], row: &Row) -> Result<()> {
        let done = match self.target.as_deref_mut() {
            Some(target) => make_special(target, path, row),
            None => Ok(()),
        };
        if self.of_one_path(path, done)? {
            self.job.monitor.event(Event::Entry { path, bytes: 0 });
        } else if let Some(first) = self.firsts.get_mut(&row.link) {
            first.is_lost = true;
        }
        Ok(())
    }

    /// What becomes of an entry; `None` when that cannot be found out, which was told.
    fn decide(&mut self, path: &[u8], offer: Offer) -> Result<Option<Decision>> {
        let (Some(policy), Some(target)) = (self.job.overwrite, self.target.as_deref_mut()) else {
            return Ok(Some(Decision::Make));
        };
        match policy.decide(target, path, offer) {
            Ok(decision) => Ok(Some(decision)),
            Err(error) => self.of_one_path(path, Err(error)).map(|_| None),
        }
    }

    /// Whether a file that counts as unchanged stays, with its attributes put right. One with several names stays only when
    /// nothing has to be put right, since it may have names that are none of the backup's.
    fn stays(&mut self, path: &[u8], file: &FileRow, row: &Row) -> bool {
        let Some(target) = self.target.as_deref_mut() else { return false };
        let mut files = target.files();
        // Trouble shows again when the file is written.
        let Some(there) = files.there(path).ok().flatten() else { return false };
        let found = &there.found;
        if (found.size_bytes, found.mtime) != (file.content.size_bytes, row.attributes.mtime) {
            return false;
        }
        if found.links == 1 {
            files.put_right(&there, path, &row.attributes);
            return true;
        }
        files.has_attributes(&there, &row.attributes) && self.staying.insert((found.device, found.inode))
    }

    /// Whether the file that stands there has the content already; it stays then, with its attributes put right.
    fn is_same(&mut self, path: &[u8], file: &FileRow, row: &Row) -> Result<bool> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(false) };
        let mut files = target.files();
        let Some(there) = files.there(path).ok().flatten() else { return Ok(false) };
        if row.link != 0 || there.found.links != 1 || there.found.size_bytes != file.content.size_bytes {
            return Ok(false);
        }
        match hash_of(&there, self.job.monitor) {
            Ok(hash) if hash == file.content.hash => {
                Ok(files.put_right_compared(&there.found, path, &row.attributes).is_ok())
            }
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    fn make_above(&mut self, above: &mut Above) -> Result<()> {
        for (path, attributes) in std::mem::take(above) {
            self.make_directory(&path, attributes)?;
        }
        Ok(())
    }

    /// Whether the directory is there now.
    fn make_directory(&mut self, path: &[u8], attributes: Option<Attributes>) -> Result<bool> {
        let mtime = attributes.as_ref().map(|attributes| attributes.mtime).unwrap_or_default();
        let offer = Offer { kind: FileKind::Directory, size_bytes: None, mtime, links: 1 };
        match self.decide(path, offer)? {
            None => return Ok(false),
            Some(Decision::Keep) => {
                self.kept += 1;
                return Ok(false);
            }
            Some(Decision::Enter) => return Ok(true),
            Some(Decision::Make | Decision::Replace | Decision::Unchanged) => {}
        }
        let Some(target) = self.target.as_deref_mut() else { return Ok(true) };
        let made = target.directory(path).and_then(|()| match attributes {
            Some(attributes) => target.directory_attributes(path, attributes),
            None => Ok(()),
        });
        self.of_one_path(path, made)
    }

    fn warn(&self, path: &[u8], what: &str) {
        self.job.monitor.event(Event::Warning(&format!("{what} {}", lossy(path))));
    }
}

fn make_special(target: &mut Target<'_>, path: &[u8], row: &Row) -> Result<()> {
    match &row.kind {
        RowKind::Symlink(points_to) => target.symlink(path, points_to, &row.attributes),
        RowKind::Fifo => target.fifo(path, &row.attributes),
        RowKind::Device(kind, major, minor) => target.device(path, *kind, *major, *minor, &row.attributes),
        RowKind::File(_) | RowKind::Directory | RowKind::Unread => Ok(()),
    }
}

/// The hash of a file that stands in the target. What it has no data for is not read.
///
/// # Errors
/// I/O; `Changed` when it ends early; `Interrupted`.
pub(super) fn hash_of(there: &There, monitor: &dyn Monitor) -> Result<blake3::Hash> {
    let size_bytes = there.found.size_bytes;
    let has_holes = there.found.allocated_bytes < size_bytes;
    let regions = if has_holes { crate::tree::sparse::regions(&there.file, size_bytes)? } else { None };
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(size_bytes).unwrap_or(READ_BYTES))];
    for (offset, length_bytes) in regions.unwrap_or_else(|| vec![(0, size_bytes)]) {
        hash_zeros(&mut hasher, offset - at, monitor)?;
        at = offset;
        while at < offset + length_bytes {
            monitor.check()?;
            let step = usize::try_from(offset + length_bytes - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = there.file.read_exact_at(&mut buffer[..step], at);
            read.map_err(|e| Error::io("cannot read", "", e))?;
            hasher.update(&buffer[..step]);
            at += step as u64;
        }
    }
    hash_zeros(&mut hasher, size_bytes - at, monitor)?;
    Ok(hasher.finalize())
}
