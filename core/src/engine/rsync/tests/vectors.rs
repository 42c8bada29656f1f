//! The vectors of `docs/format/vectors/rsync.json`: computed again from their inputs, and read.

use crate::engine::rsync::blocks::BlockIndex;
use crate::engine::rsync::delta::{Operations, Search};
use crate::engine::rsync::rolling;
use crate::engine::rsync::signature::{self, Known, Signature, SignatureBuilder};
use crate::engine::rsync::state::{
    Cursor, DirectoryRow, FileRow, Item, Row, RowKind, SignaturePlace, State, StateWriter, Step,
};
use crate::engine::rsync::stream::{Content, StreamWriter, verify};
use crate::monitor::Quiet;
use crate::spool::Scratch;
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind};
use serde_json::{Value, json};
use std::io::{Read, Write};

const KEPT: &str = include_str!("../../../../../docs/format/vectors/rsync.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

const OLDER: &[u8] = b"the quick brown fox jumps over the lazy dog";
const NEWER: &[u8] = b"then the quick brown cat jumps over the lazy dog";
const BLOCK_BYTES: u32 = 4;

fn signature() -> Vec<u8> {
    let mut builder = SignatureBuilder::new(BLOCK_BYTES);
    builder.data(OLDER);
    builder.finish()
}

fn content(bytes: &[u8]) -> Content {
    Content { size_bytes: bytes.len() as u64, hash: blake3::hash(bytes) }
}

/// A whole content with a hole, one that was given up, and a difference.
fn stream() -> Vec<u8> {
    let mut stream = StreamWriter::new(Vec::new()).unwrap();
    stream.begin(None).unwrap();
    stream.data(b"ab").unwrap();
    stream.hole(300).unwrap();
    stream.end(&blake3::hash(&[&b"ab"[..], &[0; 300]].concat())).unwrap();
    stream.begin(None).unwrap();
    stream.data(b"half").unwrap();
    stream.give_up().unwrap();
    let base = content(OLDER);
    stream.begin(Some(&base)).unwrap();
    let index = BlockIndex::new(Signature::new(OLDER.len() as u64, BLOCK_BYTES, signature()).unwrap());
    let mut search = Search::new(&index);
    search.push(NEWER, &Known::default(), &mut stream).unwrap();
    search.finish(&mut stream).unwrap();
    stream.end(&blake3::hash(NEWER)).unwrap();
    stream.finish().unwrap()
}

fn items() -> Vec<Item> {
    let attributes = Attributes {
        mode: 0o644,
        uid: 1000,
        gid: 100,
        user: b"anna".to_vec(),
        group: b"users".to_vec(),
        mtime: FileTime::new(1_700_000_000, 5),
        ctime: Some(FileTime::new(1_700_000_001, 6)),
        atime: Some(FileTime::new(-1, 999_999_999)),
        xattrs: vec![(b"user.a".to_vec(), b"\xff\0".to_vec())],
    };
    let row = |name: &[u8], kind, inode| Row {
        name: name.to_vec(),
        kind,
        attributes: attributes.clone(),
        inode,
        link: 0,
        again: false,
    };
    let bare = |name: &[u8], kind| Row { attributes: Attributes::default(), ..row(name, kind, 0) };
    let file = |bytes, recipe: Vec<Step>, signature| {
        RowKind::File(FileRow { content: content(bytes), recipe, signature })
    };
    let step = |level, record| Step { level, record };
    let place = Some(SignaturePlace { block_bytes: BLOCK_BYTES, offset: 0 });
    vec![
        Item::Directory(DirectoryRow {
            path: Vec::new(),
            attributes: Some(attributes.clone()),
            closed: false,
        }),
        Item::Entry(bare(b"d", RowKind::Directory)),
        Item::Entry(Row { link: 1, ..row(b"e", file(b"", Vec::new(), None), 7) }),
        Item::Entry(row(b"f", file(NEWER, vec![step(0, 3), step(1, 2)], place), 300)),
        Item::Entry(row(b"l", RowKind::Symlink(b"../f".to_vec()), 8)),
        Item::Entry(row(b"n", RowKind::Device(FileKind::CharDevice, 1, 3), 9)),
        Item::Entry(row(b"o", RowKind::Device(FileKind::BlockDevice, 8, 17), 10)),
        Item::Entry(row(b"p", RowKind::Fifo, 11)),
        Item::Entry(Row { again: true, ..bare(b"u", RowKind::Unread) }),
        Item::Directory(DirectoryRow { path: b"d".to_vec(), attributes: None, closed: true }),
    ]
}

fn scratch() -> Scratch {
    Scratch::new(std::env::temp_dir())
}

fn state() -> Vec<u8> {
    let mut state = StateWriter::new(1, FileTime::new(1_700_000_002, 7), &scratch());
    state.signature(&signature()).unwrap();
    for item in items() {
        match item {
            Item::Directory(row) => state.directory(row).unwrap(),
            Item::Entry(row) => state.entry(row).unwrap(),
            Item::End => {}
        }
    }
    let (mut spool, mut whole) = (state.finish().unwrap(), Vec::new());
    spool.rewind().unwrap();
    spool.read_to_end(&mut whole).unwrap();
    whole
}

fn computed() -> Value {
    let encoded = |item: &Item| {
        let mut bytes = Vec::new();
        item.encode(&mut bytes);
        hex(&bytes)
    };
    let weak: Vec<Value> = [&b"a"[..], b"abcdefgh", b"abcdefghi", &[0; 5], &[0xff; 20]]
        .map(|bytes| json!([hex(bytes), format!("{:016x}", rolling::sum(bytes))]))
        .to_vec();
    json!({
        "about": "Vectors of docs/format/rsync.md: [bytes, sum as one number of 64 bits]; a signature, a stream and the items of a state; and a state, whose compressed tree other encoders may spell in another way.",
        "sums": weak,
        "older": hex(OLDER),
        "newer": hex(NEWER),
        "block_bytes": BLOCK_BYTES,
        "signature": hex(&signature()),
        "stream": hex(&stream()),
        "items": items().iter().map(encoded).collect::<Vec<_>>(),
    })
}

/// Writes what this program makes of the inputs: run it after a change of the format, and look at the difference.
#[test]
#[ignore = "writes the vectors"]
fn write_the_vectors() {
    let mut vectors = computed();
    vectors["state"] = hex(&state()).into();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format/vectors/rsync.json");
    std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}

#[test]
fn what_is_written_is_what_the_page_says() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    for (name, value) in computed().as_object().unwrap() {
        assert_eq!(&kept[name], value, "{name}");
    }
}

#[test]
fn what_is_kept_is_read() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    verify(&mut &bytes(&kept["stream"])[..], &Quiet).unwrap();
    let mut spool = scratch().spool();
    spool.write_all(&bytes(&kept["state"])).unwrap();
    let mut state = State::load(spool, &scratch()).unwrap();
    assert_eq!((state.level(), state.start()), (1, FileTime::new(1_700_000_002, 7)));
    let mut cursor = Cursor::default();
    for expected in items() {
        let (_, item) = cursor.next(&mut state).unwrap();
        assert_eq!(item, expected);
        if let Item::Entry(Row { kind: RowKind::File(file), .. }) = item
            && let Some(signature) = state.signature(&FileRow { content: content(OLDER), ..file }).unwrap()
        {
            assert_eq!(signature.strong(0), signature::strong(b"the "));
        }
    }
    assert_eq!(cursor.next(&mut state).unwrap().1, Item::End);
}
