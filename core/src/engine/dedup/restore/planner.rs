//! The walk through the tree: makes what has no content, and gives the workers what to fetch.

use super::super::tree::{self, Content, Cursor, Entry, Key, Lost};
use super::large::{Large, Row};
use super::links::Links;
use super::losses::{Side, concerns_one};
use super::selection::{Part, Selection, path_of};
use super::window::{Job, Small, Window, held_bytes};
use super::{Purpose, Run};
use crate::engine::overwrite::{Decision, Offer};
use crate::error::{Error, Kind, Result};
use crate::limits::RESTORE_COMPARE_BYTES;
use crate::monitor::Event;
use crate::pipe::Sender;
use crate::repository::vault::ChunkId;
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use crate::tree::target::{Files, Target, There};
use std::collections::{HashMap, HashSet};
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
    /// Directories above where the walk is that no pattern names, and that are made when something below them is wanted.
    above: Vec<(Vec<u8>, Entry)>,
    /// The directory that a pattern names and the walk is in.
    named: Option<Vec<u8>>,
    /// Files with several names that stay, by device and inode: each can stay for one file of the backup only.
    staying: HashSet<(u64, u64)>,
}

/// Where the walk goes on.
enum Next {
    /// At the next entry.
    Entry,
    /// Behind everything that is below this directory.
    Behind(Vec<u8>),
}

impl<'p, 'r, 'm> Planner<'p, 'r, 'm> {
    pub fn new(
        run: &'p Run<'r>,
        root: &'p ChunkId,
        target: Option<&'p mut Target<'m>>,
        files: Option<Files<'m>>,
        sender: &'p mut Sender<Job<'m>>,
    ) -> Self {
        Planner {
            run,
            root,
            target,
            files,
            sender,
            window: Window::default(),
            links: Links::default(),
            above: Vec::new(),
            named: None,
            staying: HashSet::new(),
        }
    }

    /// Goes through what is wanted, and gives back the links that are to be made when all files are written.
    ///
    /// # Errors
    /// As [`super::run`].
    pub fn everything(mut self, selection: &Selection) -> Result<Links> {
        for path in selection.above.iter().filter(|_| self.run.purpose == Purpose::Write) {
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
        if self.run.chosen.excludes(part.path(), part.is_directory()) {
            return Ok(());
        }
        let mut sought = cursor.seek(part.start());
        loop {
            let found = match sought {
                Ok(()) => cursor.peek(),
                Err(error) => Err(error),
            };
            match found {
                Ok(Some((key, entry))) if part.holds(key) => {
                    self.run.monitor.check()?;
                    sought = match self.wanted(key, entry)? {
                        Next::Entry => {
                            cursor.advance();
                            Ok(())
                        }
                        // No name has a zero byte, so that this is behind all that is below.
                        Next::Behind(mut path) => {
                            path.push(1);
                            cursor.seek(Key { directory: &path, name: b"" })
                        }
                    };
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

    /// Does with an entry what is to be done if it is wanted.
    fn wanted(&mut self, key: Key<'_>, entry: &Entry) -> Result<Next> {
        let path = path_of(key);
        let is_directory = entry.kind == FileKind::Directory;
        let chosen = &self.run.chosen;
        if chosen.excludes_entry(&path, is_directory) {
            return Ok(if is_directory { Next::Behind(path) } else { Next::Entry });
        }
        if !chosen.patterns.is_empty() && !self.is_named(&path, is_directory) {
            if is_directory && chosen.is_above(&path) {
                self.above.push((path, entry.clone()));
            }
            return Ok(Next::Entry);
        }
        for (path, entry) in std::mem::take(&mut self.above) {
            if self.run.purpose == Purpose::Write {
                self.make_directory(&path, &entry)?;
            }
        }
        self.entry(path, entry)?;
        Ok(Next::Entry)
    }

    /// Whether an entry is named by a pattern or a path, or is below a directory that is. Forgets directories that the walk has left.
    fn is_named(&mut self, path: &[u8], is_directory: bool) -> bool {
        let is_below = |above: &[u8]| {
            let rest = path.strip_prefix(above);
            rest.is_some_and(|rest| above.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
        };
        self.above.retain(|(above, _)| is_below(above));
        if self.named.as_deref().is_some_and(is_below) {
            return true;
        }
        self.named = None;
        let is_named = self.run.chosen.names(path, is_directory);
        if is_named && is_directory {
            self.named = Some(path.to_vec());
        }
        is_named
    }

    fn entry(&mut self, path: Vec<u8>, entry: &Entry) -> Result<()> {
        if entry.is_unread() {
            return self.leave_alone(&path);
        }
        if entry.kind == FileKind::Directory {
            return self.directory(&path, entry);
        }
        let Some(decision) = self.decide(&path, entry)? else { return Ok(()) };
        if decision == Decision::Keep {
            return self.run.keep(&path);
        }
        if let Some(first) = self.links.take(&path, entry) {
            return if self.run.purpose == Purpose::Verify { self.is_link(&path, &first) } else { Ok(()) };
        }
        if entry.kind != FileKind::File {
            return self.special(&path, entry);
        }
        if decision == Decision::Unchanged && self.stays(&path, entry)? {
            return self.run.unchanged(&path, entry);
        }
        self.file(path, entry, decision == Decision::Replace)?;
        self.flush_if_full()
    }

    /// Looks whether two names are those of one file; its content is read under the first.
    fn is_link(&mut self, path: &[u8], first: &[u8]) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        let mut inode = |path: &[u8]| {
            let found = target.kind(path)?;
            Ok(found.map(|found| (found.device, found.inode)))
        };
        match inode(path).and_then(|further| Ok((further, inode(first)?))) {
            Ok((Some(further), Some(first))) if further == first => Ok(()),
            Ok(_) => {
                self.run.differs(path);
                Ok(())
            }
            Err(error) => self.run.cannot_verify(path, &error),
        }
    }

    /// What could not be read when it was backed up: there is nothing to write, and nothing that speaks against what is there.
    fn leave_alone(&mut self, path: &[u8]) -> Result<()> {
        if self.run.purpose == Purpose::Verify {
            return Ok(());
        }
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        if let Ok(Some(_)) = target.kind(path) {
            let path = lossy(path);
            let text = format!("left as it is, since it could not be read when this was backed up: {path}");
            self.run.monitor.event(Event::Warning(&text));
        }
        Ok(())
    }

    fn file(&mut self, path: Vec<u8>, entry: &Entry, replaces: bool) -> Result<()> {
        let there = replaces && entry.names.is_none();
        match &entry.content {
            Content::None => self.window.push_empty(Small { path, entry: entry.clone(), there }),
            Content::Slice { chunk, .. } => match self.run.locate(chunk) {
                Ok(at) => self.window.push_slice(*chunk, at, Small { path, entry: entry.clone(), there }),
                Err(error) => self.run.lose(&path, entry, &error, Side::Stored),
            },
            Content::Rows { .. } => self.large(path, entry, replaces)?,
        }
        Ok(())
    }

    /// What becomes of an entry; `None` when that cannot be found out, which was told.
    fn decide(&mut self, path: &[u8], entry: &Entry) -> Result<Option<Decision>> {
        if self.run.purpose == Purpose::Verify {
            let is_passed_over = self.run.is_passed_over(path);
            // What is left alone again is told no second time.
            return Ok((!is_passed_over).then_some(Decision::Replace));
        }
        let (Some(policy), Some(target)) = (self.run.plan.overwrite, self.target.as_deref_mut()) else {
            return Ok(Some(Decision::Make));
        };
        let size_bytes = (entry.kind == FileKind::File).then_some(entry.size_bytes);
        let links = entry.names.map_or(1, |names| names.links);
        let offer = Offer { kind: entry.kind, size_bytes, mtime: entry.mtime, links };
        match policy.decide(target, path, offer) {
            Ok(decision) => Ok(Some(decision)),
            // Only of this name: the content may have, or get, another.
            Err(error) if concerns_one(&error, Side::Target) => {
                self.run.lose_part(path, &error, Side::Target);
                Ok(None)
            }
            Err(error) => Err(error.while_doing("cannot restore", lossy(path))),
        }
    }

    /// Whether a file that counts as unchanged stays, with its attributes put right. One with several names stays only when
    /// nothing has to be put right, since it may have names that are none of the backup's.
    fn stays(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        let attributes = self.run.attributes(path, entry)?;
        let Some(files) = self.files.as_mut() else { return Ok(false) };
        // Trouble shows again when the file is written.
        let Some(there) = files.there(path).ok().flatten() else { return Ok(false) };
        if (there.found.size_bytes, there.found.mtime) != (entry.size_bytes, entry.mtime) {
            return Ok(false);
        }
        if there.found.links == 1 {
            files.put_right(&there, path, &attributes);
            return Ok(true);
        }
        let inode = (there.found.device, there.found.inode);
        Ok(files.has_attributes(&there, &attributes) && self.staying.insert(inode))
    }

    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if self.run.purpose == Purpose::Verify || !self.make_directory(path, entry)? {
            return Ok(());
        }
        if self.run.plan.delete {
            if entry.whole {
                self.delete_strangers(path)?;
            } else {
                // What was in it is not known, so nothing there is a stranger.
                let path = lossy(path);
                let text = format!(
                    "nothing is removed in {path}: what was in it when it was backed up is not known"
                );
                self.run.monitor.event(Event::Warning(&text));
            }
        }
        self.run.monitor.event(Event::Directory { path });
        Ok(())
    }

    /// Whether the directory is there now.
    fn make_directory(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        match self.decide(path, entry)? {
            None => return Ok(false),
            Some(Decision::Keep) => {
                self.run.keep(path)?;
                return Ok(false);
            }
            Some(Decision::Enter) => return Ok(true),
            Some(Decision::Make | Decision::Replace | Decision::Unchanged) => {}
        }
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
        if self.run.purpose == Purpose::Verify {
            return Ok(());
        }
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
            let spared = |path: &[u8], is_directory| self.run.chosen.excludes_entry(path, is_directory);
            let done = match kept.get(&name) {
                None => target.remove_sparing(&place, &spared),
                Some(None) => Ok(()),
                Some(Some(is_directory)) => target.kind(&place).and_then(|found| match found {
                    // A directory that holds what is spared is in the way as it is: the entry fails, and none of it goes.
                    Some(found) if !*is_directory && found.kind == FileKind::Directory => {
                        if target.holds_spared(&place)? {
                            return Ok(());
                        }
                        target.remove_sparing(&place, &spared)
                    }
                    Some(found) if *is_directory && found.kind != FileKind::Directory => {
                        target.remove_sparing(&place, &spared)
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
    fn large(&mut self, path: Vec<u8>, entry: &Entry, replaces: bool) -> Result<()> {
        let there = match self.there(&path, replaces) {
            Ok(there) => there,
            Err(error) => return self.run.cannot_verify(&path, &error),
        };
        if self.run.purpose == Purpose::Verify && there.is_none() {
            self.run.differs(&path);
            return Ok(());
        }
        let attributes = self.run.attributes(&path, entry)?;
        let holes = match self.run.holes(entry) {
            Ok(holes) => holes,
            Err(error) => return self.run.settle(&path, entry, Err(error), Side::Stored),
        };
        let data_bytes = holes.iter().fold(entry.size_bytes, |left, hole| left.saturating_sub(hole.length));
        let mut held = held_bytes(&path, entry) + holes.len() * 2 * size_of::<(u64, u64)>();
        let mut shell = entry.clone();
        match &shell.content {
            // Read once more, should a part of what is there be taken over.
            Content::Rows { rows, .. } if there.is_some() => held += size_of_val(rows.as_slice()),
            _ => shell.content = Content::None,
        }
        let file = Arc::new(Large::new(path, shell, attributes, holes).beside(there));
        self.window.begin_large(held);
        let done = self.parts(&file, &entry.content, data_bytes);
        match done {
            Err(error) if concerns_one(&error, Side::Stored) => file.lose(self.run, &error, Side::Stored),
            other => other?,
        }
        file.release(self.run, self.files.as_mut())
    }

    /// The file that stands where another is to be, when that is to be compared.
    fn there(&mut self, path: &[u8], replaces: bool) -> Result<Option<There>> {
        match self.files.as_mut() {
            Some(files) if self.run.purpose == Purpose::Verify => files.reread(path),
            // Trouble shows again when the file is written.
            Some(files) if replaces => Ok(files.there(path).ok().flatten()),
            _ => Ok(None),
        }
    }

    fn parts(&mut self, file: &Arc<Large<'m>>, content: &Content, data_bytes: u64) -> Result<()> {
        let mut offset = 0_u64;
        let (mut together, mut together_bytes) = (Vec::new(), 0_u64);
        for row in tree::rows(self.run.reader, content, data_bytes)? {
            let (id, bytes) = row?;
            if file.is_lost() {
                return Ok(());
            }
            let row = Row { id, offset, bytes };
            offset = offset.saturating_add(bytes);
            if file.has_something_there() {
                together.push(row);
                together_bytes = together_bytes.saturating_add(bytes);
                if together_bytes >= RESTORE_COMPARE_BYTES || together.len() >= self.run.bounds.window_chunks
                {
                    self.compare(file, std::mem::take(&mut together))?;
                    together_bytes = 0;
                }
                continue;
            }
            let at = self.run.locate(&row.id)?;
            file.hold();
            self.window.push_part(row.id, at, Arc::clone(file), row.offset, row.bytes);
            self.flush_if_full()?;
        }
        if !together.is_empty() {
            self.compare(file, together)?;
        }
        if offset == data_bytes {
            return Ok(());
        }
        Err(Error::damaged(
            "the chunks are not as long as the file:",
            format!("{offset} of {data_bytes} bytes"),
        ))
    }

    fn compare(&mut self, file: &Arc<Large<'m>>, rows: Vec<Row>) -> Result<()> {
        self.run.monitor.check()?;
        file.hold();
        self.sender.send(Job::Compare(Arc::clone(file), rows))
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
