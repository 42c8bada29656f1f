//! Claims about listings.

use super::{kind_of, name, put, rows};
use icecore::storage::{Depth, Listed, Storage};
use icecore::{Error, Kind, Result};

fn fill(storage: &dyn Storage) -> Result<()> {
    for (text, size_bytes) in
        [("a/b/c", 1), ("a/b/d/e", 2), ("a/bc", 3), ("a/b-d/f", 4), ("a/b d", 5), ("top", 6), ("z/z/z/z", 7)]
    {
        put(storage, text, &vec![0; size_bytes])?;
    }
    Ok(())
}

pub(super) fn depth_one(storage: &dyn Storage) -> Result<()> {
    fill(storage)?;
    assert_eq!(rows(storage, None, Depth::One)?, ["a/", "top 6", "z/"]);
    assert_eq!(rows(storage, Some("a"), Depth::One)?, ["a/b d 5", "a/b-d/", "a/b/", "a/bc 3"]);
    assert_eq!(rows(storage, Some("a/b"), Depth::One)?, ["a/b/c 1", "a/b/d/"]);
    assert_eq!(rows(storage, Some("z/z/z"), Depth::One)?, ["z/z/z/z 7"]);
    Ok(())
}

pub(super) fn depth_all(storage: &dyn Storage) -> Result<()> {
    fill(storage)?;
    let expected = ["a/b d 5", "a/b-d/f 4", "a/b/c 1", "a/b/d/e 2", "a/bc 3", "top 6", "z/z/z/z 7"];
    assert_eq!(rows(storage, None, Depth::All)?, expected);
    assert_eq!(rows(storage, Some("z"), Depth::All)?, ["z/z/z/z 7"]);
    Ok(())
}

pub(super) fn prefix_is_a_folder(storage: &dyn Storage) -> Result<()> {
    fill(storage)?;
    assert_eq!(rows(storage, Some("a/b"), Depth::All)?, ["a/b/c 1", "a/b/d/e 2"]);
    for depth in [Depth::One, Depth::All] {
        // The beginning of a name, and an object itself: nothing is below.
        assert_eq!(rows(storage, Some("z/z/z/z"), depth)?, [""; 0]);
        assert_eq!(rows(storage, Some("to"), depth)?, [""; 0]);
        assert_eq!(rows(storage, Some("top/below"), depth)?, [""; 0]);
    }
    Ok(())
}

pub(super) fn empty(storage: &dyn Storage) -> Result<()> {
    for depth in [Depth::One, Depth::All] {
        assert_eq!(rows(storage, None, depth)?, [""; 0], "of a new storage");
        assert_eq!(rows(storage, Some("missing"), depth)?, [""; 0]);
        assert_eq!(rows(storage, Some("missing/also"), depth)?, [""; 0]);
    }
    put(storage, "present/object", b"")?;
    assert_eq!(rows(storage, Some("missing"), Depth::All)?, [""; 0]);
    assert_eq!(rows(storage, Some("present/missing"), Depth::One)?, [""; 0]);
    Ok(())
}

pub(super) fn receiver_fails(storage: &dyn Storage) -> Result<()> {
    fill(storage)?;
    for depth in [Depth::One, Depth::All] {
        let mut calls = 0;
        let listed = storage.list(None, depth, &mut |_| {
            calls += 1;
            // A kind that retrying storages would try again, had it come from below.
            Err(Error::new(Kind::Changed, "seen enough").retry_later())
        });
        assert_eq!(kind_of(listed), Some(Kind::Changed));
        assert_eq!(calls, 1);
    }
    Ok(())
}

pub(super) fn complete(storage: &dyn Storage) -> Result<()> {
    let mut expected = Vec::new();
    for number in 0..1_000 {
        let text = format!("many/{:02x}/{number:04}", number % 7);
        put(storage, &text, b"x")?;
        expected.push(format!("{text} 1"));
    }
    expected.sort();
    assert_eq!(rows(storage, None, Depth::All)?, expected);
    assert_eq!(rows(storage, Some("many"), Depth::One)?.len(), 7);
    assert_eq!(rows(storage, Some("many/03"), Depth::One)?.len(), 143);
    Ok(())
}

pub(super) fn receiver_uses_storage(storage: &dyn Storage) -> Result<()> {
    fill(storage)?;
    let mut total = 0;
    storage.list(None, Depth::All, &mut |row| {
        if let Listed::Object { name, size_bytes } = row {
            assert_eq!(storage.read_small(&name, 100)?.len() as u64, size_bytes);
            total += size_bytes;
        }
        Ok(())
    })?;
    assert_eq!(total, 28);
    storage.list(Some(&name("a")), Depth::All, &mut |row| match row {
        Listed::Object { name, .. } => storage.delete(&name),
        _ => Ok(()),
    })?;
    assert_eq!(rows(storage, None, Depth::All)?, ["top 6", "z/z/z/z 7"]);
    Ok(())
}
