//! Backups of real trees into a vault in memory, read back entry by entry.

use super::*;
use crate::engine::Root;
use crate::engine::dedup::tree::{self, Content, Cursor, Entry, Kept, Key};
use crate::error::Kind;
use crate::limits::{BUNDLED_FILE_BYTES, CHUNK_AVERAGE_BYTES, READ_BLOCK_BYTES};
use crate::monitor::Counting;
use crate::monitor::Quiet;
use crate::repository::vault::index::Index;
use crate::repository::vault::{ChunkId, ChunkKind, CompressionLevel, Protection};
use crate::storage::memory::Memory;
use crate::time::{FileTime, Timestamp};
use crate::tree::attributes::FileKind;
use crate::tree::filter::Filter;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

struct World {
    place: TempDir,
    vault: Vault,
    jobs: usize,
    readers: usize,
}

/// Far ahead of every file, so that none is racy.
fn later() -> FileTime {
    FileTime::new(4_000_000_000, 0)
}

/// Far behind every file, so that all are racy.
fn earlier() -> FileTime {
    FileTime::new(1, 0)
}

impl World {
    fn new() -> World {
        let vault = Vault::create(Arc::new(Memory::new()), &Protection::None, "test", Timestamp(1)).unwrap();
        World { place: tempfile::tempdir().unwrap(), vault, jobs: 2, readers: 2 }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn index(&self) -> Arc<Index> {
        Arc::new(Index::load(&self.vault, &Quiet).unwrap())
    }

    fn backup(&self, parent: Option<ChunkId>, clock: fn() -> FileTime, monitor: &dyn Monitor) -> Made {
        let roots = vec![Root { path: self.place.path(), name: Vec::new() }];
        self.backup_of(Input::Trees(roots), parent, clock, monitor).unwrap()
    }

    fn backup_of(
        &self,
        input: Input<'_>,
        parent: Option<ChunkId>,
        clock: fn() -> FileTime,
        monitor: &dyn Monitor,
    ) -> Result<Made> {
        let job = ObjectBackup {
            input,
            filter: &Filter::none(),
            one_file_system: false,
            parent,
            index: self.index(),
            clock: &clock,
            effort: CompressionLevel::Default,
            verify_compression: true,
            jobs: self.jobs,
            readers: self.readers,
            dry_run: false,
            monitor,
        };
        run(job, &self.vault)
    }

    /// Every entry of a tree, by path; directories with a slash behind.
    fn entries(&self, root: &ChunkId) -> BTreeMap<String, Entry> {
        let reader = Reader::new(&self.vault, self.index());
        let mut cursor = Cursor::new(&reader, root).unwrap();
        let mut entries = BTreeMap::new();
        while let Some((key, entry)) = cursor.peek().unwrap() {
            let mut path = String::from_utf8(row::join(key.directory, key.name)).unwrap();
            if key.name.is_empty() {
                path.push('/');
            }
            entries.insert(path, entry.clone());
            cursor.advance();
        }
        entries
    }

    /// The content of a file, without its holes.
    fn content(&self, entry: &Entry) -> Vec<u8> {
        let reader = Reader::new(&self.vault, self.index());
        match &entry.content {
            Content::None => Vec::new(),
            Content::Slice { chunk, offset } => {
                let chunk = reader.read(ChunkKind::Content, chunk).unwrap();
                chunk[*offset as usize..][..entry.size_bytes as usize].to_vec()
            }
            Content::Rows { .. } => {
                let holes = tree::holes(&reader, &entry.holes, entry.size_bytes).unwrap();
                let data = entry.size_bytes - holes.iter().map(|hole| hole.length).sum::<u64>();
                let mut content = Vec::new();
                for row in tree::rows(&reader, &entry.content, data).unwrap() {
                    let (id, length) = row.unwrap();
                    let chunk = reader.read(ChunkKind::Content, &id).unwrap();
                    assert_eq!(chunk.len() as u64, length);
                    content.extend(chunk);
                }
                content
            }
        }
    }

    fn assert_holds_all(&self, root: &ChunkId) {
        let entries = self.entries(root);
        let mut files = 0;
        for (path, entry) in &entries {
            if entry.kind == FileKind::File && entry.holes == Kept::None {
                assert!(self.content(entry) == fs::read(self.at(path)).unwrap(), "{path}");
                files += 1;
            }
        }
        assert!(files > 0);
    }
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn small_and_large_files_are_stored_as_they_are() {
    let world = World::new();
    for number in 0..300 {
        world.write(&format!("d{}/f{number}", number % 7), &noise(number as u8, number * 40));
    }
    world.write("empty", b"");
    world.write("edge", &noise(1, BUNDLED_FILE_BYTES as usize));
    world.write("over", &noise(2, BUNDLED_FILE_BYTES as usize + 1));
    world.write("large", &noise(3, 3 * READ_BLOCK_BYTES + 12_345));
    world.write("block", &noise(4, READ_BLOCK_BYTES));
    let made = world.backup(None, later, &Quiet);
    world.assert_holds_all(&made.root);
    assert_eq!(made.files, 305);
    assert_eq!(made.entries, 305 + 8);
}

#[test]
fn the_same_tree_again_is_the_same_root_and_reads_nothing() {
    let world = World::new();
    for number in 0..50 {
        world.write(&format!("d/{number}"), &noise(number, 3000));
    }
    let first = world.backup(None, later, &Quiet);
    let counting = Counting::new(&Quiet);
    let again = world.backup(Some(first.root), later, &counting);
    assert_eq!((again.root, counting.bytes(), counting.entries()), (first.root, 0, 50));
    assert_eq!(again.added_bytes, 0);
    let counting = Counting::new(&Quiet);
    let anew = world.backup(None, later, &counting);
    assert_eq!((anew.root, counting.bytes()), (first.root, 50 * 3000));
    assert_eq!(anew.added_bytes, 0);
}

#[test]
fn an_entry_that_was_touched_as_it_was_read_is_read_again() {
    let world = World::new();
    world.write("f", b"one");
    let first = world.backup(None, earlier, &Quiet);
    assert!(world.entries(&first.root)["f"].racy);
    let counting = Counting::new(&Quiet);
    let second = world.backup(Some(first.root), later, &counting);
    assert_eq!(counting.bytes(), 3);
    assert!(!world.entries(&second.root)["f"].racy);
    let counting = Counting::new(&Quiet);
    world.backup(Some(second.root), later, &counting);
    assert_eq!(counting.bytes(), 0);
}

#[test]
fn what_changed_is_read_and_the_rest_keeps_its_place() {
    let world = World::new();
    for number in 0..20 {
        world.write(&format!("d/{number:02}"), &noise(number, 2000));
    }
    let first = world.backup(None, later, &Quiet);
    let before = world.entries(&first.root);
    fs::write(world.at("d/07"), b"changed").unwrap();
    fs::remove_file(world.at("d/08")).unwrap();
    fs::rename(world.at("d/09"), world.at("d/99")).unwrap();
    let counting = Counting::new(&Quiet);
    let second = world.backup(Some(first.root), later, &counting);
    let after = world.entries(&second.root);
    assert_eq!(counting.bytes(), 7 + 2000);
    assert!(!after.contains_key("d/08") && !after.contains_key("d/09"));
    assert_eq!(after["d/06"].content, before["d/06"].content);
    world.assert_holds_all(&second.root);
}

#[test]
fn content_that_the_repository_lost_is_read_again() {
    let world = World::new();
    world.write("f", &noise(1, 5000));
    let first = world.backup(None, later, &Quiet);
    let other = World::new();
    let root = {
        // The same tree's nodes in a vault that never had its content.
        let reader = Reader::new(&world.vault, world.index());
        let writer = Writer::new(&other.vault, other.index());
        let mut encoder = Encoder::new(CompressionLevel::Default, true).unwrap();
        let node = reader.read(ChunkKind::Node, &first.root).unwrap();
        let put = writer.put(ChunkKind::Node, &node, &mut encoder).unwrap();
        writer.remaining().unwrap().into_iter().for_each(|pack| writer.store(pack).unwrap());
        writer.finish().unwrap();
        put.id
    };
    let counting = Counting::new(&Quiet);
    let roots = vec![Root { path: world.place.path(), name: Vec::new() }];
    let made = other.backup_of(Input::Trees(roots), Some(root), later, &counting).unwrap();
    assert_eq!(counting.bytes(), 5000);
    let entry = &other.entries(&made.root)["f"];
    assert_eq!(other.content(entry), noise(1, 5000));
}

#[test]
fn bytes_inserted_at_the_head_cost_a_chunk_or_two() {
    let world = World::new();
    let old = noise(9, 24 << 20);
    world.write("f", &old);
    world.backup(None, later, &Quiet);
    world.write("f", &[b"inserted", &old[..]].concat());
    let made = world.backup(None, later, &Quiet);
    let ideal = 2 * CHUNK_AVERAGE_BYTES as u64 * 4;
    assert!(made.added_bytes < ideal, "{}", made.added_bytes);
    world.assert_holds_all(&made.root);
}

#[test]
fn holes_are_no_content() {
    let world = World::new();
    let file = fs::File::create(world.at("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&noise(1, 100_000), 8 << 20).unwrap();
    file.write_all_at(&noise(2, 100_000), 40 << 20).unwrap();
    drop(file);
    let made = world.backup(None, later, &Quiet);
    let entry = &world.entries(&made.root)["sparse"];
    assert_eq!(entry.size_bytes, 64 << 20);
    let data = world.content(entry);
    assert!(data.len() < 1 << 20, "{}", data.len());
    let whole = fs::read(world.at("sparse")).unwrap();
    let reader = Reader::new(&world.vault, world.index());
    let (mut from, mut to) = (0, 0);
    for hole in tree::holes(&reader, &entry.holes, entry.size_bytes).unwrap() {
        let length = hole.data_before as usize;
        assert!(data[from..from + length] == whole[to..to + length]);
        from += length;
        to += length + hole.length as usize;
    }
    assert!(data[from..] == whole[to..]);
}

#[test]
fn names_of_one_file_have_one_content() {
    let world = World::new();
    world.write("a/small", &noise(1, 5000));
    world.write("a/large", &noise(2, BUNDLED_FILE_BYTES as usize * 2));
    fs::create_dir(world.at("b")).unwrap();
    for name in ["small", "large"] {
        fs::hard_link(world.at(&format!("a/{name}")), world.at(&format!("b/{name}"))).unwrap();
    }
    let counting = Counting::new(&Quiet);
    let made = world.backup(None, later, &counting);
    assert_eq!(counting.bytes(), 5000 + BUNDLED_FILE_BYTES * 2);
    let entries = world.entries(&made.root);
    for name in ["small", "large"] {
        let (a, b) = (&entries[&format!("a/{name}")], &entries[&format!("b/{name}")]);
        assert_eq!(a, b);
        assert_eq!(a.names.unwrap().links, 2);
    }
    let again = world.backup(Some(made.root), later, &Quiet);
    assert_eq!(again.root, made.root);
}

#[test]
fn several_roots_stand_under_their_names() {
    let world = World::new();
    world.write("one/x", b"1");
    world.write("two/deep/y", b"2");
    world.write("file", b"3");
    let paths: Vec<(PathBuf, &str)> =
        ["two", "file", "one"].into_iter().map(|name| (world.at(name), name)).collect();
    let roots = |paths: &[(PathBuf, &str)]| -> Vec<(PathBuf, Vec<u8>)> {
        paths.iter().map(|(path, name)| (path.clone(), name.as_bytes().to_vec())).collect()
    };
    let owned = roots(&paths);
    let input = owned.iter().map(|(path, name)| Root { path: Path::new(path), name: name.clone() }).collect();
    let made = world.backup_of(Input::Trees(input), None, later, &Quiet).unwrap();
    let names: Vec<String> = world.entries(&made.root).into_keys().collect();
    assert_eq!(names, ["/", "file", "one/", "one/x", "two/", "two/deep/", "two/deep/y"]);
    let counting = Counting::new(&Quiet);
    let input = owned.iter().map(|(path, name)| Root { path: Path::new(path), name: name.clone() }).collect();
    let again = world.backup_of(Input::Trees(input), Some(made.root), later, &counting).unwrap();
    assert_eq!((again.root, counting.bytes()), (made.root, 0));
}

#[test]
fn a_stream_is_one_file_and_its_failure_no_backup() {
    let world = World::new();
    let content = noise(5, 5 << 20);
    let input =
        Input::Stream { name: b"dump.sql".to_vec(), content: &mut std::io::Cursor::new(content.clone()) };
    let made = world.backup_of(input, None, later, &Quiet).unwrap();
    let entries = world.entries(&made.root);
    assert_eq!(world.content(&entries["dump.sql"]), content);

    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the other end failed"))
        }
    }
    let input = Input::Stream { name: b"dump.sql".to_vec(), content: &mut Broken };
    assert_eq!(world.backup_of(input, None, later, &Quiet).unwrap_err().kind(), Kind::Io);
}

#[test]
fn two_threads_or_one_make_the_same_tree() {
    let world = World::new();
    for number in 0..500 {
        world.write(&format!("{}/{number}", number % 11), &noise(number as u8, 17 * number));
    }
    let first = world.backup(None, later, &Quiet);
    let world = World { jobs: 5, ..world };
    assert_eq!(world.backup(None, later, &Quiet).root, first.root);
}

/// Writes every file out, and has the system drop it from its cache; as far as the file system does that.
fn make_cold(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            make_cold(&entry.path());
        } else {
            let file = fs::File::open(entry.path()).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

#[test]
fn a_tree_that_is_not_in_the_cache_is_backed_up_the_same_with_and_without_reading_ahead() {
    let world = World::new();
    for number in 0..200 {
        world.write(&format!("{}/{number}", number % 7), &noise(number as u8, 1 + 331 * number));
    }
    world.write("large", &noise(9, 3_000_000));
    let mut roots = Vec::new();
    let mut world = world;
    for readers in [0, 1, 8] {
        make_cold(world.place.path());
        world.readers = readers;
        let made = world.backup(None, later, &Quiet);
        world.assert_holds_all(&made.root);
        roots.push(made.root);
    }
    assert_eq!(roots[0], roots[1]);
    assert_eq!(roots[0], roots[2]);
}

#[test]
fn keys_are_in_the_order_of_the_walk() {
    let world = World::new();
    for path in ["a/x", "a.b/x", "a/b/x", "a-/x", "a0/x", "B/x", "a/b.c", "a/b-/x"] {
        world.write(path, path.as_bytes());
    }
    let made = world.backup(None, later, &Quiet);
    world.assert_holds_all(&made.root);
    let reader = Reader::new(&world.vault, world.index());
    let mut cursor = Cursor::new(&reader, &made.root).unwrap();
    cursor.seek(Key { directory: b"a/b", name: b"" }).unwrap();
    assert_eq!(cursor.peek().unwrap().unwrap().0.directory, b"a/b");
}

/// Does something when a path is told of, once.
struct When<'a> {
    path: &'a [u8],
    act: Box<dyn Fn() + Send + Sync + 'a>,
    warnings: Mutex<Vec<String>>,
}

impl Monitor for When<'_> {
    fn event(&self, event: crate::monitor::Event<'_>) {
        match event {
            crate::monitor::Event::Entry { path, .. } if path == self.path => (self.act)(),
            crate::monitor::Event::Warning(text) => self.warnings.lock().unwrap().push(text.to_owned()),
            _ => {}
        }
    }
}

#[test]
fn a_name_of_what_is_no_longer_the_file_that_was_read_is_read_for_itself() {
    let world = World::new();
    let (old, new) = (noise(1, 1 << 20), noise(2, (1 << 20) + 1));
    // What is looked at ahead of the reading lies between the two names.
    for number in 0..2 * crate::limits::LOOKED_WAITING {
        world.write(&format!("d{number:03}/f"), b"");
    }
    world.write("a", &old);
    fs::create_dir(world.at("e")).unwrap();
    fs::hard_link(world.at("a"), world.at("e/b")).unwrap();
    // The inode is the same, what it holds is not: as when it was given to another file in between.
    let act = || fs::write(world.at("a"), &new).unwrap();
    let when = When { path: b"a", act: Box::new(act), warnings: Mutex::default() };
    let made = world.backup(None, later, &when);
    let entries = world.entries(&made.root);
    assert!(world.content(&entries["a"]) == old && world.content(&entries["e/b"]) == new);
}

#[test]
fn a_parent_that_is_damaged_spares_nothing_and_prevents_nothing() {
    let world = World::new();
    for number in 0..5000 {
        world.write(&format!("{}/{number:04}", number % 7), b"x");
    }
    let first = world.backup(None, later, &Quiet);
    let reader = Reader::new(&world.vault, world.index());
    let no_node = world.vault.keys().chunk_id(ChunkKind::Node, b"never stored");
    // A tree whose root is sound and names a leaf that is not there.
    let bytes = reader.read(ChunkKind::Node, &first.root).unwrap();
    let children = tree::inner::children(&bytes).unwrap();
    let mut node = tree::inner::InnerWriter::default();
    for (number, mut child) in children.into_iter().enumerate() {
        child.id = if number == 1 { no_node } else { child.id };
        node.push(&child);
    }
    let mut out = Vec::new();
    node.finish(bytes[1], &mut out);
    let writer = Writer::new(&world.vault, world.index());
    let mut encoder = Encoder::new(CompressionLevel::Default, false).unwrap();
    let broken = writer.put(ChunkKind::Node, &out, &mut encoder).unwrap().id;
    writer.remaining().unwrap().into_iter().try_for_each(|pack| writer.store(pack)).unwrap();
    writer.finish().unwrap();
    for parent in [broken, no_node] {
        let when = When { path: b"", act: Box::new(|| ()), warnings: Mutex::default() };
        let again = world.backup(Some(parent), later, &when);
        world.assert_holds_all(&again.root);
        assert_eq!(again.entries, first.entries);
        assert_eq!(when.warnings.lock().unwrap().len(), 1);
    }
}

#[test]
fn times_in_steps_of_two_seconds_hide_no_change() {
    use crate::engine::dedup::backup::small::is_racy;
    let world = World::new();
    world.write("a", b"x");
    let mut metadata = crate::tree::directory::metadata_of(fs::File::open(world.at("a")).unwrap()).unwrap();
    metadata.ctime = FileTime::new(100, 0);
    for (began, racy) in [(99, true), (100, true), (102, true), (103, false)] {
        assert_eq!(is_racy(&metadata, FileTime::new(began, 999_999_999)), racy, "{began}");
    }
}

#[test]
fn files_that_grow_before_they_are_read_do_not_outgrow_a_chunk() {
    let world = World::new();
    let names: Vec<String> = (0..9).map(|number| format!("{number}")).collect();
    names.iter().for_each(|name| world.write(name, b"short"));
    let calls = std::sync::atomic::AtomicU32::new(0);
    // The walk asks for the time once, for the directory; then the worker does, before it reads.
    let clock = || {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            names.iter().enumerate().for_each(|(seed, name)| world.write(name, &noise(seed as u8, 3 << 20)));
        }
        later()
    };
    let job = ObjectBackup {
        input: Input::Trees(vec![Root { path: world.place.path(), name: Vec::new() }]),
        filter: &Filter::none(),
        one_file_system: false,
        parent: None,
        index: world.index(),
        clock: &clock,
        effort: CompressionLevel::Default,
        verify_compression: true,
        jobs: 1,
        readers: 0,
        dry_run: false,
        monitor: &Quiet,
    };
    let made = run(job, &world.vault).unwrap();
    assert_eq!(made.bytes, 9 * (3 << 20));
    world.assert_holds_all(&made.root);
}

#[test]
fn a_path_that_is_too_long_for_a_tree_is_told_and_the_rest_is_stored() {
    let world = World::new();
    for path in ["in/ab", "in/abcde", "in/deep/x", "z/x"] {
        world.write(path, b"x");
    }
    let long = vec![b'n'; crate::limits::TREE_PATH_BYTES - 4];
    let (inside, z) = (world.at("in"), world.at("z"));
    let roots = vec![Root { path: &inside, name: long.clone() }, Root { path: &z, name: b"z".to_vec() }];
    let counting = Counting::new(&Quiet);
    let made = world.backup_of(Input::Trees(roots), None, later, &counting).unwrap();
    let entries = world.entries(&made.root);
    let long = String::from_utf8(long).unwrap();
    let names: Vec<&str> = entries.keys().map(|path| path.strip_prefix(&long).unwrap_or(path)).collect();
    assert_eq!(names, ["/", "/", "/ab", "z/", "z/x"]);
    assert_eq!(counting.lost(), 2);
}
