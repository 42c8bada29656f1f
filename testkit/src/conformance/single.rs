//! Claims about one object at a time.

use super::{bytes_of, kind_of, name, put, read_all, rows, write};
use icecore::storage::{Depth, PutMode, Storage};
use icecore::{Kind, Result};
use std::sync::Arc;

pub(super) fn put_and_read(storage: &dyn Storage) -> Result<()> {
    let bytes = bytes_of(1, 100_000);
    put(storage, "one/two/three", &bytes)?;
    assert_eq!(read_all(storage, "one/two/three")?, bytes);
    put(storage, "top", b"at the root")?;
    assert_eq!(read_all(storage, "top")?, b"at the root");
    Ok(())
}

pub(super) fn ranges(storage: &dyn Storage) -> Result<()> {
    let (bytes, object) = (bytes_of(2, 1_000), name("folder/object"));
    storage.put(&object, &bytes, PutMode::CreateNew)?;
    let cases: [(u64, usize, &[u8]); 9] = [
        (0, 1_000, &bytes),
        (0, 1, &bytes[..1]),
        (999, 1, &bytes[999..]),
        (500, 100, &bytes[500..600]),
        (900, 500, &bytes[900..]),
        (0, 0, &[]),
        (1_000, 10, &[]),
        (5_000, 10, &[]),
        (u64::MAX, 10, &[]),
    ];
    for (offset, length_bytes, expected) in cases {
        assert_eq!(storage.read(&object, offset, length_bytes)?, expected, "{length_bytes} at {offset}");
    }
    Ok(())
}

pub(super) fn ranges_into_a_buffer(storage: &dyn Storage) -> Result<()> {
    let (bytes, object) = (bytes_of(6, 200_000), name("folder/object"));
    storage.put(&object, &bytes, PutMode::CreateNew)?;
    let mut buffer = b"what was there".to_vec();
    // Longer and shorter ones in turn, and none.
    for (offset, length_bytes) in
        [(0, 10), (3, 150_000), (7, 1_000), (199_999, 9), (0, 300_000), (200_000, 5), (50, 0), (9, 99_999)]
    {
        storage.read_into(&object, offset as u64, length_bytes, &mut buffer)?;
        let expected = &bytes[offset..bytes.len().min(offset + length_bytes)];
        assert!(buffer == expected, "{length_bytes} at {offset}: {} bytes, or others", buffer.len());
    }
    let missing = storage.read_into(&name("folder/absent"), 0, 10, &mut buffer);
    assert_eq!(kind_of(missing), Some(Kind::NotFound));
    storage.read_into(&object, 1, 2, &mut buffer)?;
    assert_eq!(buffer, bytes[1..3], "after an error");
    Ok(())
}

pub(super) fn shared_bytes(storage: &dyn Storage) -> Result<()> {
    let (object, unique) = (name("shared/one"), name("shared/unique"));
    let [first, second] = [7, 8].map(|seed| Arc::new(bytes_of(seed, 300_000)));
    storage.put_shared(&object, &first, PutMode::CreateNew)?;
    let again = storage.put_shared(&object, &second, PutMode::CreateNew);
    assert_eq!(kind_of(again), Some(Kind::AlreadyExists));
    assert!(read_all(storage, "shared/one")? == *first, "other bytes came back");
    storage.put_shared(&object, &second, PutMode::Replace)?;
    assert!(read_all(storage, "shared/one")? == *second, "it was not replaced");
    storage.put_shared(&unique, &first, PutMode::Unique)?;
    storage.put_shared(&name("shared/empty"), &Arc::default(), PutMode::CreateNew)?;
    let expected = ["shared/empty 0", "shared/one 300000", "shared/unique 300000"];
    assert_eq!(rows(storage, Some("shared"), Depth::All)?, expected);
    Ok(())
}

pub(super) fn empty_object(storage: &dyn Storage) -> Result<()> {
    put(storage, "empty/put", b"")?;
    write(storage, "empty/written", &[], PutMode::CreateNew)?;
    write(storage, "empty/piece", &[b""], PutMode::CreateNew)?;
    assert_eq!(storage.stat(&name("empty/put"))?.size_bytes, 0);
    assert_eq!(storage.read(&name("empty/written"), 0, 10)?, b"");
    let expected = ["empty/piece 0", "empty/put 0", "empty/written 0"];
    assert_eq!(rows(storage, Some("empty"), Depth::All)?, expected);
    Ok(())
}

pub(super) fn long_object(storage: &dyn Storage) -> Result<()> {
    // Pieces that fit no block, part or buffer size.
    let bytes = bytes_of(3, 9 << 20);
    let pieces: Vec<&[u8]> = bytes.chunks(700_001).collect();
    write(storage, "long/object", &pieces, PutMode::CreateNew)?;
    assert_eq!(storage.stat(&name("long/object"))?.size_bytes, 9 << 20);
    assert!(read_all(storage, "long/object")? == bytes, "other bytes came back");
    let middle = storage.read(&name("long/object"), (5 << 20) - 3, 1 << 20)?;
    assert!(middle == bytes[(5 << 20) - 3..(6 << 20) - 3], "other bytes came back from the middle");
    Ok(())
}

pub(super) fn unique_names(storage: &dyn Storage) -> Result<()> {
    let object = name("unique/one");
    storage.put(&object, b"first", PutMode::Unique)?;
    assert_eq!(read_all(storage, "unique/one")?, b"first");
    // The promise was broken: the first stays, or the second is there whole.
    let expected: &[u8] = match storage.put(&object, b"second", PutMode::Unique) {
        Err(error) if error.kind() == Kind::AlreadyExists => b"first",
        other => other.map(|()| b"second")?,
    };
    assert_eq!(read_all(storage, "unique/one")?, expected);
    storage.remove(&object)?;
    storage.remove(&object)?;
    assert_eq!(kind_of(storage.stat(&object).map(drop)), Some(Kind::NotFound));
    assert_eq!(rows(storage, Some("unique"), Depth::All)?, [""; 0]);
    Ok(())
}

pub(super) fn create_new_conflict(storage: &dyn Storage) -> Result<()> {
    put(storage, "new/put", b"first")?;
    assert_eq!(kind_of(put(storage, "new/put", b"second")), Some(Kind::AlreadyExists));
    let written = write(storage, "new/put", &[b"third"], PutMode::CreateNew);
    assert_eq!(kind_of(written), Some(Kind::AlreadyExists));
    assert_eq!(read_all(storage, "new/put")?, b"first");

    // The name is taken while the writer is under way.
    let mut writer = storage.writer(&name("new/overtaken"), PutMode::CreateNew)?;
    writer.write(b"slow")?;
    put(storage, "new/overtaken", b"fast")?;
    assert_eq!(kind_of(writer.finish()), Some(Kind::AlreadyExists));
    assert_eq!(read_all(storage, "new/overtaken")?, b"fast");
    assert_eq!(rows(storage, Some("new"), Depth::All)?, ["new/overtaken 4", "new/put 5"]);
    Ok(())
}

pub(super) fn replace(storage: &dyn Storage) -> Result<()> {
    let object = name("replaced/object");
    for bytes in [&b"a first version"[..], b"second", b"", b"a version that is longer than the first"] {
        storage.put(&object, bytes, PutMode::Replace)?;
        assert_eq!(read_all(storage, "replaced/object")?, bytes);
    }
    write(storage, "replaced/object", &[b"writ", b"ten"], PutMode::Replace)?;
    assert_eq!(read_all(storage, "replaced/object")?, b"written");
    assert_eq!(rows(storage, None, Depth::All)?, ["replaced/object 7"]);
    Ok(())
}

pub(super) fn invisible_until_finished(storage: &dyn Storage) -> Result<()> {
    let object = name("slowly/written");
    let mut writer = storage.writer(&object, PutMode::CreateNew)?;
    writer.write(&bytes_of(4, 2 << 20))?;
    assert_eq!(kind_of(storage.stat(&object)), Some(Kind::NotFound));
    assert_eq!(kind_of(storage.read(&object, 0, 1)), Some(Kind::NotFound));
    let shown = rows(storage, None, Depth::All)?;
    assert!(!shown.iter().any(|row| row.starts_with("slowly")), "{shown:?}");
    writer.finish()?;
    assert_eq!(storage.stat(&object)?.size_bytes, 2 << 20);
    Ok(())
}

pub(super) fn dropped_writer(storage: &dyn Storage) -> Result<()> {
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        let mut writer = storage.writer(&name("dropped/object"), mode)?;
        writer.write(b"never to be seen")?;
        drop(writer);
        assert_eq!(rows(storage, None, Depth::All)?, [""; 0]);
        assert_eq!(rows(storage, None, Depth::One)?, [""; 0], "a folder was left behind");
    }
    put(storage, "dropped/object", b"kept")?;
    let mut writer = storage.writer(&name("dropped/object"), PutMode::Replace)?;
    writer.write(b"lost")?;
    drop(writer);
    assert_eq!(read_all(storage, "dropped/object")?, b"kept");
    assert_eq!(rows(storage, None, Depth::All)?, ["dropped/object 4"]);
    Ok(())
}

pub(super) fn odd_names(storage: &dyn Storage) -> Result<()> {
    let long = "n".repeat(200);
    let odd = [
        "with space",
        " space at both ends ",
        "host_{mode}_name",
        "größe-日本-🧊",
        "e\u{301} is not \u{e9}",
        "a+b&c=d?e#f",
        "%2F%00%",
        ".hidden",
        "...",
        "-rf",
        "back\\slash\"quote'",
        "semi;colon:pipe|star*",
        "UPPER",
        "upper",
        &long,
    ];
    for (number, part) in odd.iter().enumerate() {
        put(storage, &format!("odd/{part}/object"), &[number as u8])?;
        put(storage, &format!("odd/as object/{part}"), &[number as u8, 0])?;
    }
    for (number, part) in odd.iter().enumerate() {
        assert_eq!(read_all(storage, &format!("odd/{part}/object"))?, [number as u8], "{part:?}");
        assert_eq!(
            rows(storage, Some(&format!("odd/{part}")), Depth::One)?,
            [format!("odd/{part}/object 1")]
        );
    }
    let mut expected: Vec<String> = odd.iter().map(|part| format!("odd/as object/{part} 2")).collect();
    expected.sort();
    assert_eq!(rows(storage, Some("odd/as object"), Depth::One)?, expected);
    Ok(())
}

pub(super) fn not_found(storage: &dyn Storage) -> Result<()> {
    put(storage, "there/is/one", b"1")?;
    for text in [
        "absent",
        "there/absent",
        "there/is/absent",
        "absent/absent/absent",
        "there/is",
        "there/is/one/below",
    ] {
        let object = name(text);
        assert_eq!(kind_of(storage.read(&object, 0, 1)), Some(Kind::NotFound), "read {text}");
        assert_eq!(kind_of(storage.stat(&object)), Some(Kind::NotFound), "stat {text}");
        assert_eq!(kind_of(storage.delete(&object)), Some(Kind::NotFound), "delete {text}");
        assert_eq!(kind_of(storage.read_small(&object, 9)), Some(Kind::NotFound), "read_small {text}");
    }
    assert_eq!(read_all(storage, "there/is/one")?, b"1");
    Ok(())
}

pub(super) fn stat(storage: &dyn Storage) -> Result<()> {
    for (number, size_bytes) in [0usize, 1, 511, 65_537].into_iter().enumerate() {
        let text = format!("sizes/{number}");
        put(storage, &text, &bytes_of(5, size_bytes))?;
        assert_eq!(storage.stat(&name(&text))?.size_bytes, size_bytes as u64);
    }
    Ok(())
}

pub(super) fn read_small(storage: &dyn Storage) -> Result<()> {
    put(storage, "small", &[7; 100])?;
    assert_eq!(storage.read_small(&name("small"), 100)?, [7; 100]);
    assert_eq!(storage.read_small(&name("small"), 1_000)?, [7; 100]);
    assert_eq!(kind_of(storage.read_small(&name("small"), 99)), Some(Kind::Limit));
    assert_eq!(kind_of(storage.read_small(&name("small"), 0)), Some(Kind::Limit));
    Ok(())
}

pub(super) fn delete(storage: &dyn Storage) -> Result<()> {
    put(storage, "gone/deep/one", b"1")?;
    put(storage, "gone/deep/two", b"22")?;
    storage.delete(&name("gone/deep/one"))?;
    assert_eq!(kind_of(storage.stat(&name("gone/deep/one"))), Some(Kind::NotFound));
    assert_eq!(kind_of(storage.delete(&name("gone/deep/one"))), Some(Kind::NotFound));
    assert_eq!(rows(storage, None, Depth::All)?, ["gone/deep/two 2"]);
    storage.delete(&name("gone/deep/two"))?;
    assert_eq!(rows(storage, None, Depth::One)?, [""; 0], "empty folders go with their last object");
    // The name can be used anew, also as a folder.
    put(storage, "gone/deep/one", b"again")?;
    assert_eq!(read_all(storage, "gone/deep/one")?, b"again");
    storage.delete(&name("gone/deep/one"))?;
    put(storage, "gone", b"now an object")?;
    assert_eq!(rows(storage, None, Depth::All)?, ["gone 13"]);
    Ok(())
}

/// A storage may hold both or refuse the second; it never loses the first.
pub(super) fn object_and_folder(storage: &dyn Storage) -> Result<()> {
    put(storage, "clash/a", b"object")?;
    put(storage, "clash/b/c", b"below a folder")?;
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        let below = storage.put(&name("clash/a/below"), b"x", mode);
        let above = storage.put(&name("clash/b"), b"x", mode);
        for outcome in [below, above] {
            assert!(matches!(kind_of(outcome), None | Some(Kind::Invalid | Kind::AlreadyExists)));
        }
    }
    assert_eq!(read_all(storage, "clash/a")?, b"object");
    assert_eq!(read_all(storage, "clash/b/c")?, b"below a folder");
    Ok(())
}
