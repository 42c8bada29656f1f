//! Backups made by hand in a repository in memory, and what a restore of them should come to.

use super::super::*;
use crate::engine::dedup::tree::{self, Content, Entry, Hole, Kept, Key, Owner, Store};
use crate::monitor::{Event, Monitor, Quiet};
use crate::repository::vault::{
    ChunkKind, CompressionLevel, Encoder, Index, Protection, Reader, Vault, Writer,
};
use crate::spool::Scratch;
use crate::storage::memory::Memory;
use crate::time::{FileTime, Timestamp};
use crate::tree::attributes::{FileKind, Xattrs};
use crate::tree::target::Options;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bounds that make many windows and fetches of a small tree.
pub const SMALL: Bounds = bounds(7);

pub const fn bounds(window_entries: usize) -> Bounds {
    Bounds {
        window_entries,
        window_chunks: 5,
        window_large_files: 2,
        window_bytes: 4000,
        fetch_bytes: 3000,
        fetch_gap_bytes: 500,
        fetch_files: 3,
    }
}

/// Wanted paths, as they are given.
pub fn paths(include: &[&str]) -> Wanted {
    let include = include.iter().map(|path| (path.as_bytes().to_vec(), path.as_bytes().to_vec()));
    Wanted::new(Vec::new(), include.collect(), &[]).unwrap()
}

/// What a restored tree should have at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub kind: FileKind,
    pub mode: u32,
    pub mtime: FileTime,
    /// Of a file; the target of a link.
    pub content: Vec<u8>,
}

/// A repository, a backup in the making, and what it holds.
pub struct Backup {
    pub storage: Memory,
    pub vault: Vault,
    chunks: Vec<(ChunkKind, Vec<u8>)>,
    entries: Vec<(Vec<u8>, Entry)>,
    wanted: BTreeMap<String, Vec<u8>>,
}

/// Stores chunks as a backup does.
struct Stored<'w> {
    writer: &'w Writer<'w>,
    encoder: Encoder,
}

impl Store for Stored<'_> {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        let put = self.writer.put(kind, bytes, &mut self.encoder)?;
        put.full.map_or(Ok(()), |pack| self.writer.store(pack))?;
        Ok(put.id)
    }
}

/// A regular file that was changed long ago.
pub fn file(content: Content) -> Entry {
    let owner = Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: Vec::new(),
        group: Vec::new(),
    };
    Entry {
        mode: 0o640,
        owner: Arc::new(owner),
        mtime: FileTime::new(1_234_567_890, 123_456_789),
        ctime: FileTime::new(1_234_567_891, 0),
        inode: 1,
        content,
        ..Entry::empty(FileKind::File)
    }
}

impl Backup {
    pub fn new() -> Self {
        let storage = Memory::new();
        let vault =
            Vault::create(Arc::new(storage.clone()), &Protection::None, "test", Timestamp(1_700_000_000))
                .unwrap();
        Backup { storage, vault, chunks: Vec::new(), entries: Vec::new(), wanted: BTreeMap::new() }
    }

    /// Into a target that is empty, or replacing what is in the way.
    pub fn plan<'p>(&'p self, wanted: &'p Wanted) -> Plan<'p> {
        let keys = self.vault.keys();
        Plan { wanted, overwrite: None, delete: false, read_data: true, verify: false, keys }
    }

    /// A chunk of content that [`Backup::finish`] stores.
    pub fn put(&mut self, bytes: &[u8]) -> ChunkId {
        self.chunks.push((ChunkKind::Content, bytes.to_vec()));
        self.vault.keys().chunk_id(ChunkKind::Content, bytes)
    }

    pub fn entry(&mut self, path: &str, entry: Entry) {
        let content = match entry.kind {
            FileKind::Symlink => entry.target.clone(),
            FileKind::File => vec![0; entry.size_bytes as usize],
            _ => Vec::new(),
        };
        if let Content::Slice { chunk, .. } = &entry.content
            && let Some((_, bytes)) =
                self.chunks.iter().find(|(kind, bytes)| self.vault.keys().chunk_id(*kind, bytes) == *chunk)
        {
            self.wanted.entry(path.to_owned()).or_insert_with(|| bytes.clone());
        }
        self.wanted.entry(path.to_owned()).or_insert(content);
        self.entries.push((path.as_bytes().to_vec(), entry));
    }

    /// Says what a file will hold whose entry follows.
    pub fn expect(&mut self, path: &str, content: &[u8]) {
        self.wanted.insert(path.to_owned(), content.to_vec());
    }

    pub fn directory(&mut self, path: &str, mode: u32) {
        self.entry(path, Entry { kind: FileKind::Directory, mode, ..file(Content::None) });
    }

    /// A file that is the whole of a chunk.
    pub fn small_entry(&mut self, content: &[u8]) -> Entry {
        if content.is_empty() {
            return file(Content::None);
        }
        let chunk = self.put(content);
        Entry { size_bytes: content.len() as u64, ..file(Content::Slice { chunk, offset: 0 }) }
    }

    pub fn small(&mut self, path: &str, content: &[u8]) {
        let entry = self.small_entry(content);
        self.entry(path, entry);
    }

    /// A file of these chunks, with holes between its data.
    pub fn large(&mut self, path: &str, chunks: &[Vec<u8>], holes: &[Hole]) {
        let rows: Vec<(ChunkId, u64)> =
            chunks.iter().map(|chunk| (self.put(chunk), chunk.len() as u64)).collect();
        let (mut data, mut content) = (chunks.concat().into_iter(), Vec::new());
        for hole in holes {
            content.extend(data.by_ref().take(hole.data_before as usize));
            content.extend(std::iter::repeat_n(0, hole.length as usize));
        }
        content.extend(data);
        self.expect(path, &content);
        let kept = if holes.is_empty() { Kept::None } else { Kept::Here(holes.to_vec()) };
        let size_bytes = content.len() as u64;
        self.entry(path, Entry { size_bytes, holes: kept, ..file(Content::Rows { depth: 0, rows }) });
    }

    /// A short attribute in a chunk of its own, as a long one would be.
    pub fn xattr_elsewhere(&mut self, name: &[u8], value: &[u8]) -> Kept<Xattrs> {
        let length = |bytes: &[u8]| vec![u8::try_from(bytes.len()).unwrap()];
        let bytes = [&[1], &length(name)[..], name, &length(value), value].concat();
        let id = self.vault.keys().chunk_id(ChunkKind::Attributes, &bytes);
        self.chunks.push((ChunkKind::Attributes, bytes));
        Kept::Elsewhere(id)
    }

    fn storing(&self, work: impl FnOnce(&mut dyn Store)) {
        let index = Arc::new(Index::load(&self.vault, &Quiet).unwrap());
        let writer = Writer::new(&self.vault, index);
        let encoder = Encoder::new(CompressionLevel::Off, false).unwrap();
        work(&mut Stored { writer: &writer, encoder });
        for pack in writer.remaining().unwrap() {
            writer.store(pack).unwrap();
        }
        writer.finish().unwrap();
    }

    /// Stores everything; the root of the tree.
    pub fn finish(&mut self) -> ChunkId {
        let key = |path: &'_ [u8], kind| -> (Vec<u8>, Vec<u8>) {
            if kind == FileKind::Directory {
                return (path.to_vec(), Vec::new());
            }
            let (directory, name) = selection::split(path);
            (directory.to_vec(), name.to_vec())
        };
        let mut entries: Vec<_> =
            self.entries.iter().map(|(path, entry)| (key(path, entry.kind), entry)).collect();
        entries.sort_by(|((a, x), _), ((b, y), _)| {
            Key { directory: a, name: x }.cmp(&Key { directory: b, name: y })
        });
        let nodes_key = self.vault.keys().subkey("nodes");
        let mut root = None;
        self.storing(|store| {
            for (kind, bytes) in &self.chunks {
                store.put(*kind, bytes).unwrap();
            }
            let mut builder = tree::Builder::new(&nodes_key, store);
            for ((directory, name), entry) in &entries {
                builder.push(Key { directory, name }, entry).unwrap();
            }
            root = Some(builder.finish().unwrap().id);
        });
        root.unwrap()
    }

    /// The same tree, of which the last node but one below the root is not there; and how many entries that has.
    pub fn without_a_node(&self, root: &ChunkId) -> (ChunkId, u64) {
        let reader = Reader::new(&self.vault, Arc::new(Index::load(&self.vault, &Quiet).unwrap()));
        let bytes = reader.read(ChunkKind::Node, root).unwrap();
        let mut children = tree::inner::children(&bytes).unwrap();
        let number = children.len() - 2;
        children[number].id = self.vault.keys().chunk_id(ChunkKind::Node, b"never stored");
        let mut node = tree::inner::InnerWriter::default();
        children.iter().for_each(|child| node.push(child));
        let (mut out, mut id) = (Vec::new(), None);
        node.finish(bytes[1], &mut out);
        self.storing(|store| id = Some(store.put(ChunkKind::Node, &out).unwrap()));
        (id.unwrap(), children[number].totals.entries)
    }

    pub fn restore_with(
        &self,
        root: &ChunkId,
        folder: &Path,
        plan: Plan<'_>,
        workers: usize,
        bounds: Bounds,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let index = Arc::new(Index::load(&self.vault, &Quiet)?);
        let reader = Reader::new(&self.vault, index);
        let scratch = Scratch::new(std::env::temp_dir());
        let mut target = Target::open(folder, &scratch, Options::numeric(false), monitor)?;
        let done = run_bounded(plan, &reader, root, Some(&mut target), workers, monitor, bounds);
        target.finish()?;
        done
    }

    pub fn read_with(
        &self,
        root: &ChunkId,
        plan: Plan<'_>,
        bounds: Bounds,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let index = Arc::new(Index::load(&self.vault, &Quiet)?);
        run_bounded(plan, &Reader::new(&self.vault, index), root, None, 2, monitor, bounds)
    }

    fn wanted(&self) -> BTreeMap<String, Found> {
        let found = |(path, entry): &(Vec<u8>, Entry)| {
            let path = String::from_utf8(path.clone()).unwrap();
            let content = self.wanted[&path].clone();
            let mode = if entry.kind == FileKind::Symlink { 0o777 } else { entry.mode };
            (path, Found { kind: entry.kind, mode, mtime: entry.mtime, content })
        };
        self.entries.iter().map(found).collect()
    }

    /// The whole backup is there, and nothing else.
    #[track_caller]
    pub fn assert_restored(&self, found: &BTreeMap<String, Found>) {
        let wanted = self.wanted();
        let paths = |tree: &BTreeMap<String, Found>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(found), paths(&wanted));
        for (path, wanted) in &wanted {
            assert!(
                found[path] == *wanted,
                "{path}: {:?}",
                Found { content: Vec::new(), ..found[path].clone() }
            );
        }
    }

    /// Every file that is there is whole; the paths of those that are not.
    #[track_caller]
    pub fn assert_part_of(&self, found: &BTreeMap<String, Found>) -> Vec<String> {
        let wanted = self.wanted();
        for (path, found) in found {
            let is_right = wanted.get(path).is_some_and(|wanted| {
                found.kind == FileKind::Directory
                    || (wanted.kind, &wanted.content) == (found.kind, &found.content)
            });
            assert!(is_right, "{path} is not what the backup has");
        }
        wanted.into_keys().filter(|path| !found.contains_key(path)).collect()
    }

    /// The paths of all that is no directory.
    pub fn names_of_entries(&self) -> Vec<String> {
        let is_entry = |(_, entry): &&(Vec<u8>, Entry)| entry.kind != FileKind::Directory;
        let mut names: Vec<String> = self
            .entries
            .iter()
            .filter(is_entry)
            .map(|(path, _)| String::from_utf8(path.clone()).unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|(_, entry)| entry.size_bytes).sum()
    }
}

/// What stands below a folder.
pub fn snapshot(folder: &Path) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    let mut todo = vec![String::new()];
    while let Some(path) = todo.pop() {
        let place = folder.join(&path);
        let metadata = std::fs::symlink_metadata(&place).unwrap();
        let (kind, content) = match metadata.file_type() {
            kind if kind.is_dir() => (FileKind::Directory, Vec::new()),
            kind if kind.is_symlink() => {
                let target = std::fs::read_link(&place).unwrap();
                (FileKind::Symlink, target.to_str().unwrap().as_bytes().to_vec())
            }
            kind if kind.is_file() => (FileKind::File, std::fs::read(&place).unwrap()),
            _ => (FileKind::Fifo, Vec::new()),
        };
        if kind == FileKind::Directory {
            for entry in std::fs::read_dir(&place).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                todo.push(if path.is_empty() { name } else { format!("{path}/{name}") });
            }
        }
        let mtime = FileTime::new(metadata.mtime(), metadata.mtime_nsec() as u32);
        let mode = metadata.permissions().mode() & 0o7777;
        found.insert(path, Found { kind, mode, mtime, content });
    }
    found
}

/// Keeps what a run tells.
#[derive(Default)]
pub struct Events {
    entries: Mutex<Vec<String>>,
    lost: Mutex<Vec<String>>,
    problems: Mutex<Vec<String>>,
    bytes: AtomicU64,
    stored: AtomicU64,
    stop_after: Option<u64>,
    checks: AtomicU64,
}

impl Events {
    pub fn stopping_after(checks: u64) -> Self {
        Events { stop_after: Some(checks), ..Events::default() }
    }

    pub fn entries(&self) -> Vec<String> {
        sorted(&self.entries)
    }

    pub fn lost(&self) -> Vec<String> {
        sorted(&self.lost)
    }

    pub fn problems(&self) -> Vec<String> {
        sorted(&self.problems)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

fn sorted(list: &Mutex<Vec<String>>) -> Vec<String> {
    let mut list = list.lock().unwrap().clone();
    list.sort();
    list
}

impl Monitor for Events {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Entry { path, bytes } => {
                self.entries.lock().unwrap().push(String::from_utf8(path.to_vec()).unwrap());
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Event::Problem { path, lost: true, .. } => self.lost.lock().unwrap().push(path.to_owned()),
            Event::Problem { path, error, .. } => {
                self.problems.lock().unwrap().push(format!("{path}: {error}"));
            }
            Event::Stored { bytes } => drop(self.stored.fetch_add(bytes, Ordering::Relaxed)),
            Event::Warning(_)
            | Event::Directory { .. }
            | Event::Kept { .. }
            | Event::Unchanged { .. }
            | Event::Verified { .. } => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|after| self.checks.fetch_add(1, Ordering::Relaxed) >= after)
    }
}
