//! The walk through the tree: makes what has no content, and gives the workers what to fetch.

use super::super::tree::{self, Content, Cursor, Entry, Key, Lost};
use super::Run;
use super::large::Large;
use super::links::Links;
use super::losses::{Side, concerns_one};
use super::selection::{Part, Selection, path_of};
use super::window::{Job, Small, Window, held_bytes};
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::pipe::Sender;
use crate::repository::vault::pack::Location;
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use crate::tree::target::{Files, Target};
use std::collections::HashMap;
use std::sync::Arc;

/// Walks the tree.
pub(super) struct Planner<'p, 'r, 'm> {
    run: &'p Run<'r>,
    root: &'p ChunkId,
    target: Option<&'p mut Target<'m>>,
    /// To look at files that are there already.
    files: Option<Files<'m>>,
    sender: &'p mut Sender<Job<'m>>,
    window: Window<'m>,
    links: Links,
}

impl<'p, 'r, 'm> Planner<'p, 'r, 'm> {
    pub fn new(
        run: &'p Run<'r>,
        root: &'p ChunkId,
        target: Option<&'p mut Target<'m>>,
        files: Option<Files<'m>>,
        sender: &'p mut Sender<Job<'m>>,
    ) -> Self {
        let (window, links) = (Window::default(), Links::default());
        Planner { run, root, target, files, sender, window, links }
    }

    /// Goes through what is wanted, and gives back the links that are to be made when all files are written.
    ///
    /// # Errors
    /// As [`super::run`].
    pub fn everything(mut self, selection: &Selection) -> Result<Links> {
        for path in &selection.above {
            match tree::find(self.run.reader, self.root, path) {
                Ok(Some(entry)) => {
                    self.make_directory(path, &entry)?;
                }
                Ok(None) => {}
                Err(error) if concerns_one(&error, Side::Stored) => {
                    self.run.lose_part(path, &error, Side::Stored);
                }
                Err(error) => return Err(error),
            }
        }
        let mut cursor = Cursor::new(self.run.reader, self.root)?;
        for part in &selection.parts {
            self.part(&mut cursor, part)?;
        }
        self.flush()?;
        Ok(self.links)
    }

    /// Goes through one part. What stands behind a broken node is restored all the same.
    fn part(&mut self, cursor: &mut Cursor<'_>, part: &Part) -> Result<()> {
        let mut sought = cursor.seek(part.start());
        loop {
            let found = match sought {
                Ok(()) => cursor.peek(),
                Err(error) => Err(error),
            };
            match found {
                Ok(Some((key, entry))) if part.holds(key) => {
                    self.run.monitor.check()?;
                    self.entry(key, entry)?;
                    cursor.advance();
                    sought = Ok(());
                }
                Ok(_) => return Ok(()),
                Err(error) if concerns_one(&error, Side::Stored) => {
                    let Some(Lost { directory, name, totals }) = cursor.skip() else { return Err(error) };
                    let first = path_of(Key { directory: &directory, name: &name });
                    let what = format!("up to {} entries from here on are lost:", totals.entries);
                    let error = error.while_doing(what, lossy(&first));
                    self.run.lose_part(&first, &error, Side::Stored);
                    sought = cursor.seek(part.start());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn entry(&mut self, key: Key<'_>, entry: &Entry) -> Result<()> {
        let path = path_of(key);
        if entry.is_unread() {
            return self.leave_alone(&path);
        }
        if entry.kind == FileKind::Directory {
            return self.directory(&path, entry);
        }
        if self.links.take(&path, entry) {
            return Ok(());
        }
        if entry.kind != FileKind::File {
            return self.special(&path, entry);
        }
        match &entry.content {
            Content::None => self.window.push_empty(Small { path, entry: entry.clone() }),
            Content::Slice { chunk, .. } => match self.locate(chunk) {
                Ok(at) => self.window.push_slice(*chunk, at, Small { path, entry: entry.clone() }),
                Err(error) => self.run.lose(&path, entry, &error, Side::Stored),
            },
            Content::Rows { .. } => self.large(path, entry)?,
        }
        self.flush_if_full()
    }

    /// What could not be read when it was backed up: there is nothing to write, and nothing that speaks against what is there.
    fn leave_alone(&mut self, path: &[u8]) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        if let Ok(Some(_)) = target.kind(path) {
            let path = lossy(path);
            let text = format!("left as it is, since it could not be read when this was backed up: {path}");
            self.run.monitor.event(Event::Warning(&text));
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if !self.make_directory(path, entry)? {
            return Ok(());
        }
        if self.run.plan.delete {
            if entry.whole {
                self.delete_strangers(path)?;
            } else {
                // What was in it is not known, so nothing there is a stranger.
                let path = lossy(path);
                let text =
                    format!("nothing is removed in {path}, which could not be read when it was backed up");
                self.run.monitor.event(Event::Warning(&text));
            }
        }
        self.run.monitor.event(Event::Directory { path });
        Ok(())
    }

    /// Whether the directory is there now.
    fn make_directory(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        let attributes = self.run.attributes(path, entry)?;
        let Some(target) = self.target.as_deref_mut() else { return Ok(true) };
        let made = target.directory(path).and_then(|()| {
            if entry.is_made_up_root() { Ok(()) } else { target.directory_attributes(path, attributes) }
        });
        let is_made = made.is_ok();
        self.run.settle(path, entry, made, Side::Target)?;
        Ok(is_made)
    }

    fn special(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let attributes = self.run.attributes(path, entry)?;
        let done = match self.target.as_deref_mut() {
            Some(target) => make_special(target, path, entry, &attributes),
            None => Ok(()),
        };
        let is_done = done.is_ok();
        self.run.settle(path, entry, done, Side::Target)?;
        if is_done {
            self.run.monitor.event(Event::Entry { path, bytes: 0 });
        }
        Ok(())
    }

    /// Removes what stands in a directory and is not in the backup, or is a directory there and none here or the other way
    /// round.
    fn delete_strangers(&mut self, path: &[u8]) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        // Whether it is a directory; `None` where nothing is known against whatever is there.
        let mut kept: HashMap<Vec<u8>, Option<bool>> = HashMap::new();
        let listed = tree::list(self.run.reader, self.root, path, &mut |name, entry| {
            kept.insert(name.to_vec(), (!entry.is_unread()).then_some(entry.kind == FileKind::Directory));
            Ok(())
        });
        match listed {
            // Nothing goes on the word of a list that broke off.
            Err(error) if concerns_one(&error, Side::Stored) => {
                self.run.lose_part(path, &error, Side::Stored);
                return Ok(());
            }
            listed => listed?,
        }
        let names = match target.names(path) {
            Ok(names) => names,
            Err(error) => return self.of_stranger(path, Err(error)),
        };
        for name in names {
            let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
            let place = path_of(Key { directory: path, name: &name });
            let done = match kept.get(&name) {
                None => target.remove(&place),
                Some(None) => Ok(()),
                Some(Some(is_directory)) => target.kind(&place).and_then(|found| match found {
                    Some(found) if (found.kind == FileKind::Directory) != *is_directory => {
                        target.remove(&place)
                    }
                    _ => Ok(()),
                }),
            };
            self.of_stranger(&place, done)?;
        }
        Ok(())
    }

    /// Trouble with what is not in the backup.
    fn of_stranger(&self, path: &[u8], done: Result<()>) -> Result<()> {
        match done {
            Err(error) if concerns_one(&error, Side::Target) => {
                self.run.lose_part(path, &error, Side::Target);
                Ok(())
            }
            other => other,
        }
    }

    /// A file of several chunks, or of one that it shares with nobody.
    fn large(&mut self, path: Vec<u8>, entry: &Entry) -> Result<()> {
        let attributes = self.run.attributes(&path, entry)?;
        if let Some(there) = self.there_already(&path, entry, &attributes) {
            return self.sender.send(Job::Compare(Box::new(Small { path, entry: entry.clone() }), there));
        }
        let holes = match self.run.holes(entry) {
            Ok(holes) => holes,
            Err(error) => return self.run.settle(&path, entry, Err(error), Side::Stored),
        };
        let data_bytes = holes.iter().fold(entry.size_bytes, |left, hole| left.saturating_sub(hole.length));
        let held = held_bytes(&path, entry) + holes.len() * size_of::<(u64, u64)>();
        let mut shell = entry.clone();
        shell.content = Content::None;
        let file = Arc::new(Large::new(path, shell, attributes, &holes));
        self.window.begin_large(held);
        let done = self.parts(&file, &entry.content, data_bytes);
        match done {
            Err(error) if concerns_one(&error, Side::Stored) => file.lose(self.run, &error, Side::Stored),
            other => other?,
        }
        file.release(self.run)
    }

    fn parts(&mut self, file: &Arc<Large<'m>>, content: &Content, data_bytes: u64) -> Result<()> {
        let mut offset = 0_u64;
        for row in tree::rows(self.run.reader, content, data_bytes)? {
            let (id, bytes) = row?;
            if file.is_lost() {
                return Ok(());
            }
            let at = self.locate(&id)?;
            file.hold();
            self.window.push_part(id, at, Arc::clone(file), offset, bytes);
            offset = offset.saturating_add(bytes);
            self.flush_if_full()?;
        }
        if offset == data_bytes {
            return Ok(());
        }
        Err(Error::damaged(
            "the chunks are not as long as the file:",
            format!("{offset} of {data_bytes} bytes"),
        ))
    }

    /// The file that stands in the target already with these attributes, when that is to be looked at.
    fn there_already(
        &mut self,
        path: &[u8],
        entry: &Entry,
        attributes: &Attributes,
    ) -> Option<std::fs::File> {
        self.run.plan.keep_same?;
        // The zeros of holes would have to be read too.
        if entry.names.is_some() || entry.holes != tree::Kept::None {
            return None;
        }
        // Trouble shows again when the file is written.
        self.files.as_mut()?.same(path, entry.size_bytes, attributes).ok().flatten()
    }

    fn locate(&self, id: &ChunkId) -> Result<Location> {
        match self.run.reader.index().find(id) {
            Some(at) if at.kind == ChunkKind::Content => Ok(at),
            Some(_) => Err(Error::damaged("no chunk of content:", id.to_string())),
            None => Err(Error::damaged("a chunk is missing:", id.to_string())),
        }
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.window.is_full(&self.run.bounds) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        for job in std::mem::take(&mut self.window).jobs(&self.run.bounds) {
            self.run.monitor.check()?;
            self.sender.send(job)?;
        }
        Ok(())
    }
}

fn make_special(target: &mut Target<'_>, path: &[u8], entry: &Entry, attributes: &Attributes) -> Result<()> {
    match entry.kind {
        FileKind::Symlink => target.symlink(path, &entry.target, attributes),
        FileKind::Fifo => target.fifo(path, attributes),
        FileKind::CharDevice | FileKind::BlockDevice => {
            target.device(path, entry.kind, entry.rdev.0, entry.rdev.1, attributes)
        }
        FileKind::File | FileKind::Directory | FileKind::Socket => {
            Err(Error::new(Kind::Unsupported, "this kind of entry cannot be made:").on(lossy(path)))
        }
    }
}
