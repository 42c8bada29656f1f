//! What is written is read back, from the start and at its places; what is not as it should be is refused.

use super::super::signature::ENTRY_BYTES;
use super::super::stream::Content;
use super::*;
use crate::error::{Kind, Result};
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::io::{Read, Write};

fn scratch() -> Scratch {
    Scratch::new(std::env::temp_dir())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'x' } else { byte });
    proptest::collection::vec(byte, 1..20)
        .prop_map(|name| if name == b"." || name == b".." { vec![b'a'] } else { name })
}

fn time() -> impl Strategy<Value = FileTime> {
    (any::<i64>(), 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| FileTime::new(seconds, nanoseconds))
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let owners = (any::<u32>(), any::<u32>(), "[a-z]{0,9}", "[a-z]{0,9}");
    let xattr = ("[a-z.]{1,9}", proptest::collection::vec(any::<u8>(), 0..30));
    let xattrs = proptest::collection::vec(xattr, 0..3);
    (0_u32..0o10000, owners, time(), time(), time(), xattrs).prop_map(
        |(mode, (uid, gid, user, group), mtime, ctime, atime, xattrs)| Attributes {
            mode,
            uid,
            gid,
            user: user.into_bytes(),
            group: group.into_bytes(),
            mtime,
            atime: Some(atime),
            ctime: Some(ctime),
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        },
    )
}

fn file() -> impl Strategy<Value = RowKind> {
    let levels = proptest::collection::btree_map(0_u32..9999, any::<u64>(), 1..4);
    (0_u64..1 << 40, any::<[u8; 32]>(), levels, any::<Option<u32>>(), any::<u64>()).prop_map(
        |(size_bytes, hash, levels, block_bytes, offset)| {
            let recipe = levels.into_iter().map(|(level, record)| Step { level, record });
            let recipe = if size_bytes == 0 { Vec::new() } else { recipe.collect() };
            let block_bytes = block_bytes.map(|bytes| bytes % (16 << 20));
            let signature = block_bytes.map(|block_bytes| SignaturePlace { block_bytes, offset });
            let content = Content { size_bytes, hash: blake3::Hash::from_bytes(hash) };
            RowKind::File(FileRow { content, recipe, signature })
        },
    )
}

fn row() -> impl Strategy<Value = Row> {
    let kind = prop_oneof![
        4 => file(),
        1 => Just(RowKind::Directory),
        1 => Just(RowKind::Unread),
        1 => Just(RowKind::Fifo),
        1 => name().prop_map(RowKind::Symlink),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(a, b)| RowKind::Device(FileKind::CharDevice, a, b)),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(a, b)| RowKind::Device(FileKind::BlockDevice, a, b)),
    ];
    (name(), kind, attributes(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(name, kind, attributes, inode, link, again)| {
            let bare = matches!(kind, RowKind::Directory | RowKind::Unread);
            let (inode, link) = if bare { (0, 0) } else { (inode, link) };
            let attributes = if bare { Attributes::default() } else { attributes };
            Row { name, kind, attributes, inode, link, again }
        },
    )
}

fn item() -> impl Strategy<Value = Item> {
    let path = proptest::collection::vec(name(), 0..4).prop_map(|names| names.join(&b'/'));
    let directory = (path, proptest::option::of(attributes()), any::<bool>())
        .prop_map(|(path, attributes, closed)| Item::Directory(DirectoryRow { path, attributes, closed }));
    prop_oneof![directory, row().prop_map(Item::Entry)]
}

fn written(items: &[Item], signatures: &[u8]) -> Spool {
    let mut state = StateWriter::new(7, FileTime::new(-5, 9), &scratch());
    assert_eq!(state.signature(signatures).unwrap(), 0);
    for item in items {
        match item.clone() {
            Item::Directory(row) => state.directory(row).unwrap(),
            Item::Entry(row) => state.entry(row).unwrap(),
            Item::End => unreachable!(),
        }
    }
    state.finish().unwrap()
}

fn read(spool: Spool) -> Result<Vec<Item>> {
    let mut state = State::load(spool, &scratch())?;
    assert_eq!((state.level(), state.start()), (7, FileTime::new(-5, 9)));
    let (mut cursor, mut items) = (Cursor::default(), Vec::new());
    loop {
        let (place, item) = cursor.next(&mut state)?;
        if item == Item::End {
            assert_eq!(cursor.next(&mut state)?.1, Item::End);
            return Ok(items);
        }
        assert_eq!(state.item_at(place)?, item);
        items.push(item);
    }
}

fn bytes(mut spool: Spool) -> Vec<u8> {
    let mut bytes = Vec::new();
    spool.rewind().unwrap();
    spool.read_to_end(&mut bytes).unwrap();
    bytes
}

fn spool(bytes: &[u8]) -> Spool {
    let mut spool = scratch().spool();
    spool.write_all(bytes).unwrap();
    spool
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn items_come_back(items in proptest::collection::vec(item(), 0..12)) {
        prop_assert_eq!(read(written(&items, b"")).unwrap(), items);
    }

    #[test]
    fn a_state_that_is_cut_or_changed_in_its_head_or_tree_is_refused(
        items in proptest::collection::vec(item(), 1..5),
        at in any::<prop::sample::Index>(), change in 1_u8..
    ) {
        let whole = bytes(written(&items, b""));
        let at = at.index(whole.len());
        prop_assert!(read(spool(&whole[..at])).is_err());
        // The level and the time mean what they say.
        if !(16..32).contains(&at) {
            let mut changed = whole.clone();
            changed[at] ^= change;
            // There are bits in a compressed frame that mean nothing.
            if let Ok(found) = read(spool(&changed)) {
                prop_assert_eq!(found, items, "{}", at);
            }
        }
    }

    #[test]
    fn whatever_the_bytes_are_decoding_them_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(item) = Item::decode(&bytes) {
            let mut again = Vec::new();
            item.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn directories_are_in_the_order_of_the_walk() {
    let walked: [&[u8]; 7] = [b"", b"a", b"a/b", b"a/b/c", b"a-b", b"a.", b"b"];
    for (number, a) in walked.iter().enumerate() {
        for (other, b) in walked.iter().enumerate() {
            assert_eq!(order(a, b), number.cmp(&other));
        }
    }
    assert_eq!(order(b"a/z", b"a-"), Ordering::Less);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let row = |name: &[u8]| {
        let kind = RowKind::Directory;
        Item::Entry(Row {
            name: name.to_vec(),
            kind,
            attributes: Attributes::default(),
            inode: 0,
            link: 0,
            again: false,
        })
    };
    let directory =
        |path: &[u8]| Item::Directory(DirectoryRow { path: path.to_vec(), attributes: None, closed: false });
    for item in [
        row(b""),
        row(b".."),
        row(b"a/b"),
        row(b"a\0"),
        directory(b"/a"),
        directory(b"a/../b"),
        directory(b"a/"),
    ] {
        let mut bytes = Vec::new();
        item.encode(&mut bytes);
        assert_eq!(Item::decode(&bytes).unwrap_err().kind(), Kind::Damaged, "{item:?}");
    }
}

#[test]
fn signatures_are_where_their_files_say() {
    let place = |block_bytes, offset| Some(SignaturePlace { block_bytes, offset });
    let file = |size_bytes, signature| FileRow {
        content: Content { size_bytes, hash: blake3::hash(b"") },
        recipe: vec![Step { level: 0, record: 0 }],
        signature,
    };
    let entries: Vec<u8> = (0..5 * ENTRY_BYTES).map(|at| at as u8).collect();
    let mut state = State::load(written(&[], &entries), &scratch()).unwrap();
    let of = |state: &mut State, size, at| state.entries(&file(size, at));
    assert_eq!(of(&mut state, 1000, None).unwrap(), None);
    assert_eq!(of(&mut state, 1000, place(600, 20)).unwrap().unwrap(), &entries[20..60]);
    assert_eq!(state.signature(&file(5, place(1, 0))).unwrap().unwrap().len(), 5);
    for (size, at) in
        [(1000, place(600, 61)), (6, place(1, 0)), (5, place(1, u64::MAX)), (u64::MAX, place(1, 0))]
    {
        assert_eq!(of(&mut state, size, at).unwrap_err().kind(), Kind::Damaged, "{size} {at:?}");
    }
}
