//! Chains and orphans go, and nothing else.

use super::*;

#[test]
fn a_chain_goes_and_its_neighbours_stay() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    back_up(&repository, &FULL, 4000, b"other chain").unwrap();
    let other =
        repository.begin(ENGINE, &BackupName::new("h", "n2").unwrap(), &FULL, Timestamp(1000), &claimant());
    let all = chains(&repository);
    repository.remove_chain(&all[0]).unwrap();
    assert_eq!(chains(&repository), [all[1].clone()]);
    let left = shelf.names();
    assert!(left.iter().all(|name| !name.contains("h_n/1000/")), "{left:?}");
    assert!(left.contains(&"data/tar/h_n2/1000/0_1000/claim".to_owned()));
    drop(other);
}

#[test]
fn a_removal_that_stops_anywhere_leaves_a_shorter_chain() {
    for changes in 0.. {
        let shelf = Shelf::default();
        let repository = three_levels(&shelf);
        let chain = chains(&repository).remove(0);
        shelf.fail_after(Some(changes));
        let result = repository.remove_chain(&chain);
        shelf.fail_after(None);
        if let Some(rest) = chains(&repository).first() {
            for entry in &rest.backups {
                let path = repository.path(rest, *entry).unwrap();
                repository.verify_sizes(&path).unwrap();
            }
        }
        if result.is_ok() {
            assert_eq!((changes, shelf.names()), (9, vec!["icecore".to_owned()]));
            return;
        }
        for orphan in repository.orphans(None).unwrap() {
            repository.remove_orphan(&orphan).unwrap();
        }
        let committed = chains(&repository).first().map_or(0, |rest| rest.backups.len());
        assert_eq!(shelf.names().len(), 1 + 3 * committed, "after {changes} changes");
    }
}

#[test]
fn an_increment_to_a_chain_that_is_removed_meanwhile_fails() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let mut pending = begin(&repository, &increment(&repository, 4000), 4000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    // Only the document: all else is there when the commit looks.
    shelf.take("metadata/tar/h_n/1000/2_3000/metadata");
    let error = pending.commit(data, state, contents()).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("removed meanwhile"), "{error}");
    assert!(shelf.names().iter().all(|name| !name.contains("3_4000")), "it took away what it wrote");
}

#[test]
fn a_backup_that_is_committed_while_its_chain_is_removed_goes_with_it() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    shelf.put_on_delete("metadata/tar/h_n/1000/3_4000/metadata");
    repository.remove_chain(&chains(&repository)[0]).unwrap();
    assert_eq!(shelf.names(), ["icecore"]);
}

/// Nobody has decided that it may go.
#[test]
fn a_chain_with_a_backup_that_was_not_listed_stays() {
    // It has come since.
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let listed_before = chains(&repository).remove(0);
    back_up(&repository, &increment(&repository, 4000), 4000, b"late").unwrap();
    let names = shelf.names();
    let error = repository.remove_chain(&listed_before).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains("3_4000"), "{error}");
    assert_eq!(shelf.names(), names);
    // The storage's list lacks it, always: whichever level it is, its data tells.
    for level in ["0_1000", "1_2000", "2_3000"] {
        let shelf = Shelf::default();
        let repository = three_levels(&shelf);
        shelf.hide(&format!("metadata/tar/h_n/1000/{level}/metadata"));
        let names = shelf.names();
        for chain in chains(&repository) {
            assert!(chain.backups.len() < 3);
            let error = repository.remove_chain(&chain).unwrap_err();
            assert!(error.kind() == Kind::Busy && error.to_string().contains(level), "{error}");
        }
        assert_eq!(shelf.names(), names, "{level}");
    }
}

#[test]
fn what_a_killed_run_left_is_an_orphan_and_never_a_backup() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let mut pending = begin(&repository, &FULL, 4000);
    fill(&mut pending, b"data").unwrap();
    std::mem::forget(pending);
    shelf.set("data/tar/h_n/9000/0_9000/data", b"of Freezer");
    assert_eq!(chains(&repository).len(), 1);

    let orphans = repository.orphans(Some(ENGINE)).unwrap();
    let shown: Vec<_> =
        orphans.iter().map(|o| (o.location.entry.timestamp.0, o.objects, o.claimed_by.clone())).collect();
    assert_eq!(shown, [(4000, 3, Some(claimant())), (9000, 1, None)]);
    assert!(orphans[0].size_bytes > 9);
    assert_eq!(repository.orphans(Some("rsync")).unwrap(), []);

    for orphan in &orphans {
        repository.remove_orphan(orphan).unwrap();
    }
    assert_eq!(repository.orphans(None).unwrap(), []);
    assert_eq!(chains(&repository)[0].backups.len(), 3);
}

#[test]
fn an_increment_whose_chain_goes_at_the_moment_of_commit_is_withdrawn() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    shelf.take_on_commit("metadata/tar/h_n/1000/2_3000/metadata");
    let error = back_up(&repository, &increment(&repository, 4000), 4000, b"data").unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(shelf.names().iter().all(|name| !name.contains("3_4000")));
}

#[test]
fn a_run_that_was_cleaned_up_cannot_commit() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    // Before it looks.
    let mut pending = begin(&repository, &FULL, 1000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    repository.remove_orphan(&repository.orphans(None).unwrap()[0]).unwrap();
    assert!(pending.commit(data, state, contents()).is_err());
    assert_eq!(shelf.names(), ["icecore"]);
    // After it has looked.
    shelf.take_on_commit("data/tar/h_n/2000/0_2000/claim");
    assert_eq!(back_up(&repository, &FULL, 2000, b"data").unwrap_err().kind(), Kind::Busy);
    assert_eq!(shelf.names(), ["icecore"]);
    // Somebody else cleans up the same orphan.
    let mut pending = begin(&repository, &FULL, 3000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    let orphan = repository.orphans(None).unwrap().remove(0);
    shelf.take("data/tar/h_n/3000/0_3000/claim");
    assert_eq!(repository.remove_orphan(&orphan).unwrap_err().kind(), Kind::Busy);
    assert_eq!(pending.commit(data, state, contents()).unwrap_err().kind(), Kind::Busy);
    assert_eq!(shelf.names(), ["icecore"]);
}

#[test]
fn an_orphan_that_has_become_a_backup_is_left_alone() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let mut pending = begin(&repository, &FULL, 2000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    let orphan = repository.orphans(None).unwrap().remove(0);
    pending.commit(data, state, contents()).unwrap();
    assert_eq!(repository.remove_orphan(&orphan).unwrap_err().kind(), Kind::Busy);
    shelf.set("data/tar/h_n/2000/0_2000/claim", b"{}");
    assert_eq!(
        repository.remove_orphan(&orphan).unwrap_err().kind(),
        Kind::Busy,
        "a claim that was left over"
    );
    let chain = chains(&repository).remove(0);
    repository.verify_sizes(&repository.path(&chain, chain.backups[0]).unwrap()).unwrap();
}

#[test]
fn a_claim_that_was_left_beside_a_backup_is_neither_an_orphan_nor_for_ever() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let before = shelf.names();
    assert_eq!(repository.remains(None).unwrap(), Remains::default());
    shelf.set("data/tar/h_n/1000/1_2000/claim", b"{}");
    let remains = repository.remains(Some(ENGINE)).unwrap();
    let backup = chains(&repository)[0].location(entry(1, 2000));
    assert_eq!(remains, Remains { orphans: Vec::new(), claims: vec![backup.clone()] });
    repository.remove_claim(&backup).unwrap();
    assert_eq!(shelf.names(), before);
}

#[test]
fn a_claim_that_cannot_be_read_hides_no_orphan() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    std::mem::forget(begin(&repository, &FULL, 1000));
    shelf.fail_reads(true);
    let orphans = repository.orphans(None).unwrap();
    assert_eq!((orphans.len(), &orphans[0].claimed_by, orphans[0].claimed), (1, &None, true));
}
