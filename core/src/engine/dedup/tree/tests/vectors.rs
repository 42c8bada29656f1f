//! The vectors of the format's page. Leaves and inner nodes of `tree.json` were encoded by another program, from the page.

use super::super::builder::Borders;
use super::super::inner::{Child, InnerWriter, children};
use super::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../../docs/format/vectors/tree.json")).unwrap()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn list_of<T>(value: &Value, each: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(each).collect()
}

fn id(value: &Value) -> ChunkId {
    value.as_str().unwrap().parse().unwrap()
}

fn text(value: &Value) -> Vec<u8> {
    value.as_str().unwrap().as_bytes().to_vec()
}

fn pair(value: &Value) -> (u64, u64) {
    (value[0].as_u64().unwrap(), value[1].as_u64().unwrap())
}

fn time_of(value: &Value) -> FileTime {
    FileTime::new(value[0].as_i64().unwrap(), value[1].as_u64().unwrap() as u32)
}

fn kept<T>(entry: &Value, name: &str, here: impl Fn(&Value) -> T) -> Kept<Vec<T>> {
    match (entry.get(name), entry.get(format!("{name}_elsewhere"))) {
        (Some(value), None) => Kept::Here(list_of(value, here)),
        (None, Some(elsewhere)) => Kept::Elsewhere(id(elsewhere)),
        _ => Kept::None,
    }
}

fn entry(value: &Value) -> Entry {
    let kind = match value["kind"].as_str().unwrap() {
        "directory" => FileKind::Directory,
        "file" => FileKind::File,
        "symlink" => FileKind::Symlink,
        "fifo" => FileKind::Fifo,
        "character device" => FileKind::CharDevice,
        "block device" => FileKind::BlockDevice,
        other => panic!("{other}"),
    };
    let owner = &value["owner"];
    let (uid, gid) = pair(owner);
    let owner = Owner { uid: uid as u32, gid: gid as u32, user: text(&owner[2]), group: text(&owner[3]) };
    let content = match (value.get("slice"), value.get("rows")) {
        (Some(slice), None) => Content::Slice { chunk: id(&slice[0]), offset: slice[1].as_u64().unwrap() },
        (None, Some(rows)) => {
            let depth = value["depth"].as_u64().unwrap() as u8;
            Content::Rows { depth, rows: list_of(rows, |row| (id(&row[0]), row[1].as_u64().unwrap())) }
        }
        _ => Content::None,
    };
    Entry {
        kind,
        racy: value.get("racy").is_some(),
        whole: value.get("not_whole").is_none(),
        known: match value.get("unread").map(|what| what.as_str().unwrap()) {
            None => Known::All,
            Some("attributes known") => Known::Attributes,
            Some("name known") => Known::Name,
            Some(other) => panic!("{other}"),
        },
        mode: value["mode"].as_u64().unwrap() as u32,
        owner: Arc::new(owner),
        mtime: time_of(&value["mtime"]),
        ctime: time_of(&value["ctime"]),
        inode: value["inode"].as_u64().unwrap(),
        size_bytes: value.get("size").map_or(0, |size| size.as_u64().unwrap()),
        content,
        target: value.get("target").map(text).unwrap_or_default(),
        rdev: value.get("device").map(pair).map_or((0, 0), |(major, minor)| (major as u32, minor as u32)),
        names: value.get("names").map(pair).map(|(device, links)| Names { device, links }),
        xattrs: kept(value, "attributes", |pair| (text(&pair[0]), unhex(&pair[1]))),
        holes: kept(value, "holes", |hole| Hole { data_before: pair(hole).0, length: pair(hole).1 }),
    }
}

#[test]
fn leaves_are_written_and_read_as_the_vectors_say() {
    for leaf in vectors()["leaves"].as_array().unwrap() {
        let entries = list_of(&leaf["entries"], |value| {
            (Path(text(&value["directory"]), text(&value["name"])), entry(value))
        });
        let expected = unhex(&leaf["node"]);
        let mut writer = super::super::leaf::LeafWriter::default();
        for (path, entry) in &entries {
            assert_eq!(entry.fault(), None);
            writer.push(path.key(), entry).unwrap();
        }
        let mut node = Vec::new();
        writer.finish(&mut node);
        assert_eq!(node, expected);
        if entries[0].0 == Path(Vec::new(), Vec::new()) {
            let mut memory = Memory::default();
            let root = memory.put(ChunkKind::Node, &expected).unwrap();
            assert_eq!(read(&memory, &root).unwrap(), entries);
            assert_eq!(build(&mut memory, &entries.into_iter().collect()).id, root);
        }
    }
}

#[test]
fn inner_nodes_are_written_and_read_as_the_vectors_say() {
    let vectors = vectors();
    let inner = &vectors["inner"];
    let list = list_of(&inner["children"], |child| Child {
        directory: text(&child["directory"]),
        name: text(&child["name"]),
        id: id(&child["id"]),
        totals: Totals {
            entries: child["totals"][0].as_u64().unwrap(),
            files: child["totals"][1].as_u64().unwrap(),
            bytes: child["totals"][2].as_u64().unwrap(),
        },
    });
    let mut writer = InnerWriter::default();
    list.iter().for_each(|child| writer.push(child));
    let mut node = Vec::new();
    writer.finish(inner["height"].as_u64().unwrap() as u8, &mut node);
    assert_eq!(node, unhex(&inner["node"]));
    assert_eq!(children(&node).unwrap(), list);
}

#[test]
fn nodes_end_where_the_vectors_say() {
    let vectors = vectors();
    let borders = &vectors["borders"];
    let mut rule = Borders::new(&unhex(&borders["key"]).try_into().unwrap());
    for height in 0..2_usize {
        // Names are numbers, in the directory "a/b".
        let ends = (0..1000_u32).filter(|number| {
            let name = number.to_string().into_bytes();
            rule.ends(height, 16, 0, Key { directory: b"a/b", name: &name })
        });
        let expected = list_of(&borders["ends"][height], |number| number.as_u64().unwrap() as u32);
        assert_eq!(ends.collect::<Vec<_>>(), expected);
    }
}
