//! What both engines would have written of a history of trees, after the description of the format.

use super::{Levels, Node, Tree};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::collections::BTreeMap;
use std::io::Write;

/// Blocks of the first engine.
pub(super) const BLOCK: usize = 4096;

/// A time that tells versions of an entry from each other.
pub(super) fn time_of(level: usize) -> u64 {
    1_700_000_000 + level as u64
}

/// One step of a matcher's output: a block of the old version, or bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Block(usize),
    Literal(usize),
}

/// What the first engine's matcher makes of a file: blocks are found at any offset, but only behind the last one that was found, and
/// not once the end has been in sight without one.
pub(super) fn matched(old: &[u8], new: &[u8]) -> Vec<Item> {
    let blocks: Vec<&[u8]> = old.chunks(BLOCK).collect();
    let (mut items, mut at, mut literal, mut from) = (Vec::new(), 0, 0, 0);
    loop {
        let window = &new[at..new.len().min(at + BLOCK)];
        let found = (from..blocks.len()).find(|block| !window.is_empty() && blocks[*block] == window);
        if let Some(block) = found {
            if literal > 0 {
                items.push(Item::Literal(literal));
            }
            items.push(Item::Block(block));
            (literal, from, at) = (0, block + 1, at + window.len());
        } else if at + BLOCK >= new.len() {
            let mut rest = literal + new.len() - at;
            while rest > BLOCK {
                items.push(Item::Literal(BLOCK));
                rest -= BLOCK;
            }
            items.push(Item::Literal(rest));
            return items;
        } else {
            (at, literal) = (at + 1, literal + 1);
            if literal == BLOCK {
                items.push(Item::Literal(BLOCK));
                literal = 0;
            }
        }
    }
}

/// A header of the first engine; `fields` are those behind the length.
pub(super) fn header(fields: &[&[u8]]) -> Vec<u8> {
    let rest: usize = fields.iter().map(|field| field.len() + 1).sum();
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    let mut header = length.to_string().into_bytes();
    for field in fields {
        header.push(0);
        header.extend_from_slice(field);
    }
    header
}

/// A record without content.
pub(super) fn record(
    path: &str,
    kind: &str,
    mode: u32,
    size: usize,
    time: u64,
    link: &[u8],
    flags: [&str; 2],
) -> Vec<u8> {
    let (mode, size, time) = (mode.to_string(), size.to_string(), time.to_string());
    let (uid, gid) =
        (rustix::process::geteuid().as_raw().to_string(), rustix::process::getegid().as_raw().to_string());
    let text = [path, "1", &mode, &uid, &gid, &size, &time, &time, "", "", kind];
    let mut fields: Vec<&[u8]> = text.iter().map(|field| field.as_bytes()).collect();
    fields.push(link);
    fields.extend([&b"77"[..], b"1", b"0", b"254", b"4096", flags[0].as_bytes(), flags[1].as_bytes()]);
    header(&fields)
}

/// The blocks of a delta, by number, with what stands in front of them.
pub(super) fn delta(numbers: &[usize], new: &[u8]) -> Vec<u8> {
    let mut index = Vec::new();
    for number in numbers {
        index.push(0);
        index.extend(number.to_string().bytes());
    }
    index.push(0);
    // The first length is one that must not be relied on.
    let mut delta = format!("\0{}\0{}\0", numbers.len(), index.len() + 1).into_bytes();
    delta.extend(index);
    for number in numbers {
        let start = new.len().min(number * BLOCK);
        delta.extend(&new[start..new.len().min(start + BLOCK)]);
    }
    delta
}

fn sha1(bytes: &[u8]) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the first engine remembers of a path for ever: the version it had last, and its time.
type Memory = BTreeMap<String, (Option<Node>, Vec<u8>, u64)>;

/// A chain of the first engine: a level for each tree; each entry has its time of change.
pub(super) fn first(history: &[BTreeMap<String, (Node, u64)>]) -> Levels {
    let mut levels = Levels::default();
    let mut memory = Memory::new();
    for tree in history {
        let mut stream = record(".", "d", 0o040755, 4096, 1, b"", ["0000", "0000"]);
        for (path, (node, _)) in tree {
            if *node == Node::Directory {
                stream.extend(record(path, "d", 0o040750, 4096, 2, b"", ["0000", "0000"]));
            }
        }
        for (path, (node, time)) in tree {
            let known = memory.get(path);
            if *node == Node::Directory
                || known.is_some_and(|(had, _, then)| had.as_ref() == Some(node) && then == time)
            {
                continue;
            }
            let level = if known.is_some() { "1111" } else { "0000" };
            let old = known.map(|(_, content, _)| content.clone()).unwrap_or_default();
            let mut content = Vec::new();
            match node {
                Node::Link(to) => {
                    stream.extend(record(path, "l", 0o120777, to.len(), *time, to, [level, "0000"]));
                }
                Node::File(new) => {
                    stream.extend(record(path, "r", 0o100640, new.len(), *time, b"", [level, "0000"]));
                    if known.is_some() {
                        let items = matched(&old, new);
                        let literals =
                            items.iter().enumerate().filter(|(_, item)| matches!(item, Item::Literal(_)));
                        stream.extend(delta(&literals.map(|(at, _)| at).collect::<Vec<_>>(), new));
                    } else {
                        stream.extend(new);
                    }
                    content = new.clone();
                }
                Node::Directory => {}
            }
            memory.insert(path.clone(), (Some(node.clone()), content, *time));
        }
        for (path, (had, content, time)) in &mut memory {
            if tree.get(path).is_none_or(|(node, _)| *node == Node::Directory) {
                *had = None;
                stream.extend(record(path, "r", 0o100640, content.len(), *time, b"", ["0000", "1111"]));
            }
        }
        let files: serde_json::Map<String, serde_json::Value> = memory
            .iter()
            .map(|(path, (had, content, time))| {
                let digests: Vec<String> = content.chunks(BLOCK).map(sha1).collect();
                let sums = vec![1; digests.len()];
                let (kind, deleted) = match had {
                    Some(Node::Link(_)) => ("l", "0000"),
                    Some(_) => ("r", "0000"),
                    None => ("r", "1111"),
                };
                let inode = noted(kind, content.len(), *time, deleted);
                (
                    path.clone(),
                    serde_json::json!({"inode": inode, "signature": [sums, digests], "file_data_len": 1}),
                )
            })
            .collect();
        let directories: serde_json::Map<String, serde_json::Value> = tree
            .iter()
            .filter(|(_, (node, _))| *node == Node::Directory)
            .map(|(path, _)| (format!("./{path}"), serde_json::json!({"inode": noted("d", 4096, 2, "0000")})))
            .collect();
        let manifest = serde_json::json!({"files": files, "directories": directories, "rsync_struct_ver": 1});
        levels.streams.push(stream);
        levels.manifests.push(zlib(manifest.to_string().as_bytes()));
    }
    levels
}

/// What the first engine notes of an inode, of what is read of it.
fn noted(kind: &str, size: usize, time: u64, deleted: &str) -> serde_json::Value {
    serde_json::json!({"size": size, "mtime": time, "ctime": time, "ftype": kind, "deleted": deleted})
}

/// Packs values as the releases on Python 2 did: text is `raw`, which has no form of one byte of length.
#[derive(Default)]
pub(super) struct Packer(pub Vec<u8>);

impl Packer {
    pub fn map(&mut self, count: usize) -> &mut Packer {
        self.long(0x80, 15, 0xde, count)
    }

    pub fn list(&mut self, count: usize) -> &mut Packer {
        self.long(0x90, 15, 0xdc, count)
    }

    pub fn text(&mut self, text: &[u8]) -> &mut Packer {
        self.long(0xa0, 31, 0xda, text.len());
        self.0.extend(text);
        self
    }

    fn long(&mut self, short: u8, most: usize, long: u8, count: usize) -> &mut Packer {
        if count <= most {
            self.0.push(short | count as u8);
        } else {
            self.0.push(long);
            self.0.extend((count as u16).to_be_bytes());
        }
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Packer {
        match number {
            0..=0x7f => self.0.push(number as u8),
            0x80..=0xffff => {
                self.0.push(0xcd);
                self.0.extend((number as u16).to_be_bytes());
            }
            _ => {
                self.0.push(0xcf);
                self.0.extend(number.to_be_bytes());
            }
        }
        self
    }

    pub fn float(&mut self, number: f64) -> &mut Packer {
        self.0.push(0xcb);
        self.0.extend(number.to_be_bytes());
        self
    }

    pub fn truth(&mut self) -> &mut Packer {
        self.0.push(0xc3);
        self
    }

    /// Attributes of an entry.
    pub fn inode(&mut self, mode: u64, size: usize, time: f64) -> &mut Packer {
        self.text(b"inode").map(7).text(b"mode").number(mode).text(b"dev").number(65024);
        self.text(b"uname").text(b"").text(b"gname").text(b"");
        self.text(b"atime").float(time).text(b"mtime").float(time).text(b"size").number(size as u64)
    }
}

/// A chain of the second engine, with blocks of this length.
pub(super) fn second(history: &[BTreeMap<String, (Node, u64)>], block: usize) -> Levels {
    let mut levels = Levels { block_bytes: Some(block as u64), ..Levels::default() };
    let mut before: BTreeMap<String, (Node, u64)> = BTreeMap::new();
    for tree in history {
        let (mut headers, mut count, mut content) = (Packer::default(), 0, Vec::<u8>::new());
        for (path, (node, time)) in tree {
            let old = before.get(path);
            if old == Some(&(node.clone(), *time)) {
                continue;
            }
            count += 1;
            let old = old
                .map(|(old, _)| old)
                .filter(|old| std::mem::discriminant(*old) == std::mem::discriminant(node));
            let changed = match (old, node) {
                (Some(Node::File(old)), Node::File(new)) => changed_blocks(old, new, block),
                _ => Vec::new(),
            };
            let level = usize::from(old.is_some());
            let deltas = usize::from(!changed.is_empty());
            let time = *time as f64 + 0.25;
            match node {
                Node::Directory => {
                    headers.map(2 + level).text(b"path").text(path.as_bytes()).inode(0o040750, 4096, time);
                }
                Node::Link(to) => {
                    headers.map(3 + level).text(b"path").text(path.as_bytes()).inode(
                        0o120777,
                        to.len(),
                        time,
                    );
                    headers.text(b"lname").text(to);
                }
                Node::File(new) => {
                    headers.map(2 + level + deltas).text(b"path").text(path.as_bytes()).inode(
                        0o100640,
                        new.len(),
                        time,
                    );
                    if changed.is_empty() {
                        content.extend(new);
                    }
                    let start = content.len();
                    for number in &changed {
                        content.extend(&new[number * block..new.len().min((number + 1) * block)]);
                    }
                    if !changed.is_empty() {
                        headers
                            .text(b"deltas")
                            .list(2)
                            .number((content.len() - start) as u64)
                            .list(changed.len());
                        for number in &changed {
                            headers.number(*number as u64);
                        }
                    }
                }
            }
            if level > 0 {
                headers.text(b"new_level").truth();
            }
        }
        for path in before.keys().filter(|path| !tree.contains_key(*path)) {
            count += 1;
            headers.map(2).text(b"path").text(path.as_bytes()).text(b"deleted").truth();
        }
        let mut stream = Packer::default();
        stream.list(count).0.extend(headers.0);
        stream.0.extend(content);
        levels.streams.push(stream.0);
        levels.manifests.push(manifest(tree, block));
        before = tree.clone();
    }
    levels
}

fn changed_blocks(old: &[u8], new: &[u8], block: usize) -> Vec<usize> {
    let had: Vec<&[u8]> = old.chunks(block).collect();
    new.chunks(block)
        .enumerate()
        .filter(|(at, bytes)| had.get(*at) != Some(bytes))
        .map(|(at, _)| at)
        .collect()
}

fn manifest(tree: &BTreeMap<String, (Node, u64)>, block: usize) -> Vec<u8> {
    let mut packed = Packer::default();
    packed.map(2).text(b"files").map(tree.len());
    for (path, (node, time)) in tree {
        packed.text(path.as_bytes());
        let Node::File(content) = node else {
            packed.map(1).text(b"mtime").float(*time as f64);
            continue;
        };
        let digests: Vec<String> = content.chunks(block).map(sha1).collect();
        packed.map(2).text(b"mtime").float(*time as f64).text(b"signature").list(2).list(digests.len());
        for _ in &digests {
            packed.number(7);
        }
        packed.list(digests.len());
        for digest in &digests {
            packed.text(digest.as_bytes());
        }
    }
    packed.text(b"rsync_block_size").number(block as u64);
    zlib(&packed.0)
}

/// The entries of a tree without their times.
pub(super) fn without_times(tree: &BTreeMap<String, (Node, u64)>) -> Tree {
    tree.iter().map(|(path, (node, _))| (path.clone(), node.clone())).collect()
}
