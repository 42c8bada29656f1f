//! Trees of every sort, written, read, compared and broken. What only tests need: chunks in memory, and arbitrary trees.

mod damage;
mod differences;
mod rows;
mod sharing;
mod trees;
mod vectors;

use super::*;
use crate::error::Error;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Xattrs};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const KEY: [u8; 32] = [7; 32];

/// Chunks in memory, called by their plain hash. Counts what is read.
#[derive(Default)]
pub struct Memory {
    pub chunks: HashMap<ChunkId, (ChunkKind, Vec<u8>)>,
    pub reads: AtomicUsize,
}

impl Chunks for Memory {
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.chunks.get(id).filter(|(found, _)| *found == kind);
        found
            .map(|(_, bytes)| bytes.clone())
            .ok_or_else(|| Error::damaged("chunk is missing:", id.to_string()))
    }
}

impl Store for Memory {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        let id = ChunkId(*blake3::hash(bytes).as_bytes());
        self.chunks.insert(id, (kind, bytes.to_vec()));
        Ok(id)
    }
}

/// A key that owns its parts. Ordered like keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub Vec<u8>, pub Vec<u8>);

impl Path {
    pub fn key(&self) -> Key<'_> {
        Key { directory: &self.0, name: &self.1 }
    }

    pub fn of(key: Key<'_>) -> Path {
        Path(key.directory.to_vec(), key.name.to_vec())
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

pub type Map = BTreeMap<Path, Entry>;

pub fn build(memory: &mut Memory, map: &Map) -> Root {
    let mut builder = Builder::new(&KEY, memory);
    for (path, entry) in map {
        builder.push(path.key(), entry).unwrap();
    }
    builder.finish().unwrap()
}

pub fn read(memory: &Memory, root: &ChunkId) -> Result<Vec<(Path, Entry)>> {
    let mut cursor = Cursor::new(memory, root)?;
    let mut all = Vec::new();
    while let Some((key, entry)) = cursor.peek()? {
        all.push((Path::of(key), entry.clone()));
        cursor.advance();
    }
    Ok(all)
}

pub fn directory() -> Entry {
    Entry {
        mode: 0o755,
        owner: Arc::new(Owner { uid: 1000, gid: 1000, user: b"ada".to_vec(), group: b"users".to_vec() }),
        mtime: FileTime::new(1_700_000_000, 5),
        ctime: FileTime::new(1_700_000_000, 7),
        inode: 9,
        ..Entry::empty(FileKind::Directory)
    }
}

/// A file of one slice.
pub fn file(chunk: u8, offset: u64, size_bytes: u64) -> Entry {
    let content = Content::Slice { chunk: ChunkId([chunk; 32]), offset };
    Entry { kind: FileKind::File, mode: 0o644, size_bytes, content, ..directory() }
}

/// A tree of `directories` with `files` each, named by numbers; every file another.
pub fn regular(directories: u64, files: u64) -> Map {
    let mut map = Map::from([(Path(Vec::new(), Vec::new()), directory())]);
    let mut inode = 100;
    for outer in 0..directories {
        let path = format!("dir-{:02}/sub-{outer:04}", outer / 50).into_bytes();
        if outer.is_multiple_of(50) {
            map.insert(Path(path[..6].to_vec(), Vec::new()), directory());
        }
        map.insert(Path(path.clone(), Vec::new()), directory());
        for inner in 0..files {
            inode += 1;
            let entry = Entry { inode, ..file((outer / 10) as u8, inode * 100, 100) };
            map.insert(Path(path.clone(), format!("file{inner}.rs").into_bytes()), entry);
        }
    }
    map
}

fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'n' } else { byte });
    let any = vec(byte, 1..12).prop_filter("dots", |name| !matches!(&name[..], b"." | b".."));
    prop_oneof![4 => "[ab]{1,2}".prop_map(String::into_bytes), 2 => any, 1 => Just(vec![b'x'; 255])]
}

fn chunk() -> impl Strategy<Value = ChunkId> {
    prop_oneof![any::<[u8; 32]>().prop_map(ChunkId), (0_u8..3).prop_map(|byte| ChunkId([byte; 32]))]
}

fn time() -> impl Strategy<Value = FileTime> {
    (any::<i64>(), 0_u32..64, 0_u32..1_000_000_000)
        .prop_map(|(seconds, shift, nanoseconds)| FileTime::new(seconds >> shift, nanoseconds))
}

fn xattrs_kept() -> impl Strategy<Value = Kept<Xattrs>> {
    let here = btree_map(vec(any::<u8>(), 1..20), vec(any::<u8>(), 0..90), 1..5);
    prop_oneof![
        6 => Just(Kept::None),
        1 => here.prop_map(|xattrs| Kept::Here(xattrs.into_iter().collect())),
        1 => chunk().prop_map(Kept::Elsewhere),
    ]
}

fn holes_kept() -> impl Strategy<Value = Vec<Hole>> {
    vec((1_u64..1 << 40, 1_u64..1 << 40), 0..20).prop_map(|holes| {
        holes.into_iter().map(|(data_before, length)| Hole { data_before, length }).collect()
    })
}

/// A file with content of every form, and the holes that fit.
fn content() -> impl Strategy<Value = (u64, Content, Kept<Vec<Hole>>)> {
    let rows = (0_u8..5, vec((chunk(), 1_u64..1 << 50), 1..30), holes_kept(), 0_u8..4);
    let many = (chunk(), 500_usize..513).prop_map(|(id, count)| {
        (count as u64, Content::Rows { depth: 0, rows: vec![(id, 1); count] }, Kept::None)
    });
    prop_oneof![
        2 => Just((0, Content::None, Kept::None)),
        4 => (chunk(), 0_u64..1 << 23, 1_u64..1 << 23)
            .prop_map(|(chunk, offset, size)| (size, Content::Slice { chunk, offset }, Kept::None)),
        1 => (1_u64..u64::MAX).prop_map(|length| {
            (length, Content::None, Kept::Here(vec![Hole { data_before: 0, length }]))
        }),
        1 => many,
        2 => (rows, chunk()).prop_map(|((depth, mut rows, holes, kept), elsewhere)| {
            let data: u64 = holes.iter().map(|hole| hole.data_before).sum();
            let size: u64 = data + holes.iter().map(|hole| hole.length).sum::<u64>();
            let have: u64 = rows.iter().map(|(_, bytes)| bytes).sum();
            if kept == 0 || holes.is_empty() {
                return (have, Content::Rows { depth, rows }, Kept::None);
            }
            // As much content as the holes leave; more is behind the last of them.
            if have < data {
                rows.push((elsewhere, data - have));
            }
            let size = size + have.max(data) - data;
            let holes = if kept == 1 { Kept::Elsewhere(elsewhere) } else { Kept::Here(holes) };
            (size, Content::Rows { depth, rows }, holes)
        }),
    ]
}

/// Any entry but a directory.
pub fn other() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        6 => Just(FileKind::File),
        1 => Just(FileKind::Symlink),
        1 => Just(FileKind::Fifo),
        1 => Just(FileKind::CharDevice),
        1 => Just(FileKind::BlockDevice),
    ];
    let links = proptest::option::weighted(0.2, (number(), number()));
    let of_kind = (content(), vec(any::<u8>(), 0..30), any::<(u32, u32)>());
    let more = (links, xattrs_kept(), any::<(bool, bool)>(), known());
    (kind, any_directory(), of_kind, more).prop_map(
        |(kind, base, (content, target, rdev), (links, xattrs, bits, known))| {
            let names = links.map(|(device, links)| Names { device, links });
            let mut entry = Entry { kind, names, xattrs, racy: bits.0, whole: bits.1, ..base };
            match kind {
                FileKind::File => (entry.size_bytes, entry.content, entry.holes) = content,
                FileKind::Symlink => entry.target = target,
                FileKind::CharDevice | FileKind::BlockDevice => entry.rdev = rdev,
                _ => (),
            }
            as_known(entry, known)
        },
    )
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![8 => Just(Known::All), 1 => Just(Known::Attributes), 1 => Just(Known::Name)]
}

fn as_known(entry: Entry, known: Known) -> Entry {
    match known {
        Known::All => entry,
        Known::Attributes => entry.unread(),
        Known::Name => Entry::known_by_name(entry.kind),
    }
}

/// Any directory but the root.
fn any_sub_directory() -> impl Strategy<Value = Entry> {
    (any_directory(), known()).prop_map(|(entry, known)| as_known(entry, known))
}

fn any_directory() -> impl Strategy<Value = Entry> {
    let owner = (0_u32..3, any::<u32>(), "[a-c]?").prop_map(|(uid, gid, name)| {
        let gid = if uid == 0 { gid } else { uid };
        Arc::new(Owner { uid, gid, user: name.clone().into_bytes(), group: name.into_bytes() })
    });
    (owner, 0_u32..0o10000, time(), time(), number(), xattrs_kept()).prop_map(
        |(owner, mode, mtime, ctime, inode, xattrs)| Entry {
            owner,
            mode,
            mtime,
            ctime,
            inode,
            xattrs,
            ..directory()
        },
    )
}

/// Trees with everything in them, also much of it in one directory.
pub fn any_tree() -> impl Strategy<Value = Map> {
    let directories = vec(
        (any::<prop::sample::Index>(), name(), any_sub_directory(), vec((name(), other()), 0..40)),
        0..12,
    );
    (any_directory(), vec((name(), other()), 0..60), directories).prop_map(|(root, at_root, directories)| {
        let mut map = Map::from([(Path(Vec::new(), Vec::new()), root)]);
        map.extend(at_root.into_iter().map(|(name, entry)| (Path(Vec::new(), name), entry)));
        let mut paths = vec![Vec::new()];
        for (parent, name, entry, others) in directories {
            let parent: &Vec<u8> = parent.get(&paths);
            let path = if parent.is_empty() { name } else { [&parent[..], b"/", &name].concat() };
            map.insert(Path(path.clone(), Vec::new()), entry);
            map.extend(others.into_iter().map(|(name, entry)| (Path(path.clone(), name), entry)));
            paths.push(path);
        }
        map
    })
}
