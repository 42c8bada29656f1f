//! A storage that goes back to an older state is noticed, and honest removal is not taken for it.

use super::*;
use crate::limits::SEEN_IDS;

fn id(number: u32) -> ObjectId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ObjectId(id)
}

fn snapshots(ids: impl IntoIterator<Item = u32>) -> Snapshots {
    let found = ids.into_iter().map(|number| (id(number), snapshot(i64::from(number)))).collect();
    Documents { found, damaged: Vec::new(), strays: Vec::new() }
}

fn removals(ids: &[u32]) -> Removals {
    let snapshots = ids.iter().copied().map(id).collect();
    let removal = Removal { snapshots, host: "host".to_owned(), time: NOW };
    Documents { found: vec![(id(1000), removal)], damaged: Vec::new(), strays: Vec::new() }
}

fn fresh() -> Seen {
    Seen::new(ObjectId([7; 32]))
}

#[test]
fn a_snapshot_that_vanishes_without_a_removal_is_told_until_that_is_accepted() {
    let mut seen = fresh();
    assert_eq!(seen.notice(&snapshots([1, 2, 3]), &removals(&[])), []);
    for _ in 0..3 {
        assert_eq!(seen.notice(&snapshots([1, 3, 4]), &removals(&[])), [Rollback::Vanished(id(2))]);
        seen = Seen::parse(&seen.encode().unwrap()).unwrap();
    }
    seen.accept(&[Rollback::Vanished(id(2))]);
    assert_eq!(seen.notice(&snapshots([1, 3, 4]), &removals(&[])), []);
    // Only what was told is accepted.
    assert_eq!(seen.notice(&snapshots([1, 4]), &removals(&[])), [Rollback::Vanished(id(3))]);
}

#[test]
fn what_comes_back_or_is_removed_on_purpose_after_all_is_told_no_more() {
    let mut seen = fresh();
    seen.notice(&snapshots([1, 2, 3]), &removals(&[]));
    assert_eq!(seen.notice(&snapshots([3]), &removals(&[])).len(), 2);
    assert_eq!(seen.notice(&snapshots([2, 3]), &removals(&[])), [Rollback::Vanished(id(1))]);
    assert_eq!(seen.notice(&snapshots([2, 3]), &removals(&[1])), []);
    assert_eq!(seen.notice(&snapshots([2, 3]), &removals(&[])), []);
}

#[test]
fn a_removal_explains_what_is_gone_even_when_it_goes_itself() {
    let mut seen = fresh();
    assert_eq!(seen.notice(&snapshots([1, 2]), &removals(&[])), []);
    // Removed, but the deletion of one was interrupted.
    assert_eq!(seen.notice(&snapshots([2]), &removals(&[1, 2])), []);
    assert_eq!(seen.notice(&snapshots([]), &removals(&[])), []);
}

#[test]
fn a_removed_snapshot_that_returns_without_its_removal_is_told() {
    let mut seen = fresh();
    assert_eq!(seen.notice(&snapshots([1, 2]), &removals(&[])), []);
    assert_eq!(seen.notice(&snapshots([2]), &removals(&[1])), []);
    for _ in 0..2 {
        assert_eq!(seen.notice(&snapshots([1, 2]), &removals(&[])), [Rollback::Returned(id(1))]);
    }
    seen.accept(&[Rollback::Returned(id(1))]);
    assert_eq!(seen.notice(&snapshots([1, 2]), &removals(&[])), []);
    assert_eq!(seen.notice(&snapshots([2]), &removals(&[])), [Rollback::Vanished(id(1))]);
}

#[test]
fn a_snapshot_that_is_damaged_is_still_there() {
    let mut seen = fresh();
    seen.notice(&snapshots([1]), &removals(&[]));
    let mut now = snapshots([]);
    now.damaged.push((id(1), Error::damaged("not as it was written:", "x")));
    // And one that somebody has put there, who takes it away again.
    now.damaged.push((id(2), Error::damaged("not as it was written:", "x")));
    assert_eq!(seen.notice(&now, &removals(&[])), []);
    now.damaged.clear();
    assert_eq!(seen.notice(&now, &removals(&[])), [Rollback::Vanished(id(1))]);
}

#[test]
fn what_was_seen_is_kept_as_bytes_and_within_bounds() {
    let mut seen = fresh();
    let many = u32::try_from(SEEN_IDS).unwrap() + 10;
    seen.notice(&snapshots(0..many), &removals(&(many..2 * many).collect::<Vec<_>>()));
    let bytes = seen.encode().unwrap();
    assert!(bytes.len() as u64 <= crate::limits::SMALL_OBJECT_BYTES);
    assert_eq!(Seen::parse(&bytes).unwrap(), seen);
    assert_eq!(seen.notice(&snapshots([]), &removals(&[])).len(), SEEN_IDS);
    for wrong in ["", "{}", "[]", r#"{"version": 1, "repository": "00", "snapshots": [], "removed": []}"#] {
        assert_eq!(kind(Seen::parse(wrong.as_bytes())), Kind::Damaged);
    }
    assert_eq!(kind(Seen::parse(br#"{"version": 2}"#)), Kind::Unsupported);
}

#[test]
fn a_key_that_is_back_is_told_until_that_is_accepted_or_it_is_gone() {
    let mut seen = fresh();
    let ids = |numbers: &[u32]| -> Vec<ObjectId> { numbers.iter().copied().map(id).collect() };
    let notice = |seen: &mut Seen, now: &[u32]| {
        let known = seen.keys().to_vec();
        let rollbacks = seen.notice_keys(&ids(now), &known);
        *seen = Seen::parse(&seen.encode().unwrap()).unwrap();
        rollbacks
    };
    assert_eq!(notice(&mut seen, &[1, 2]), []);
    assert!(!seen.doubts_keys(&ids(&[1, 2, 3])) && seen.doubts_keys(&ids(&[2])));
    assert_eq!(notice(&mut seen, &[2, 3]), []);
    assert!(seen.doubts_keys(&ids(&[1, 2, 3])));
    for _ in 0..2 {
        assert_eq!(notice(&mut seen, &[1, 2, 3]), [Rollback::KeyReturned(id(1))]);
    }
    assert_eq!(notice(&mut seen, &[2, 3]), []);
    assert_eq!(notice(&mut seen, &[1, 2, 3]), [Rollback::KeyReturned(id(1))]);
    seen.accept(&[Rollback::KeyReturned(id(1))]);
    assert_eq!(notice(&mut seen, &[1, 2, 3]), []);
    // Who does not know what was there before he made the list concludes nothing.
    assert_eq!(seen.notice_keys(&ids(&[2]), &[]), []);
    assert_eq!(notice(&mut seen, &[1, 2, 3]), []);
}
