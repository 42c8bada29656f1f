//! Every changed, missing, moved or foreign byte is noticed.

use super::*;

/// What `examine` names.
fn named(vault: &Vault) -> Vec<String> {
    let examination = vault.examine().unwrap();
    examination.damaged.into_iter().map(|(name, _)| name).chain(examination.strays).collect()
}

fn full(shelf: &Shelf, protection: &Protection) -> Vault {
    let vault = create(shelf, protection).unwrap();
    let gone = vault.commit(&snapshot(1)).unwrap();
    vault.commit(&snapshot(2)).unwrap();
    vault.begin_session("host", Process::of_number(7), NOW).unwrap();
    vault.remove_snapshots(&[gone], "host", NOW).unwrap();
    vault
}

#[test]
fn every_changed_byte_and_every_cut_of_every_object_is_noticed() {
    for protection in [Protection::None, Protection::Password(password("secret"))] {
        let shelf = Shelf::default();
        let vault = full(&shelf, &protection);
        assert!(named(&vault).is_empty());
        let names = shelf.names();
        assert_eq!(names.len(), 5, "config, slot, session, snapshot, removal");
        for name in names {
            let whole = shelf.take(&name);
            let noticed = |bytes: &[u8], what: &str| {
                shelf.set(&name, bytes);
                let named = named(&vault);
                assert!(named.len() == 1 && named[0].starts_with(&name), "{name} {what}: {named:?}");
            };
            for position in 0..whole.len() {
                let mut changed = whole.clone();
                changed[position] ^= 1 << (position % 8);
                noticed(&changed, &format!("byte {position}"));
            }
            for length in (0..whole.len()).filter(|length| length % 7 == 0 || whole.len() - length < 20) {
                noticed(&whole[..length], &format!("cut to {length}"));
            }
            noticed(&[&whole[..], b"\0"].concat(), "one byte more");
            shelf.set(&name, &whole);
        }
        assert!(named(&vault).is_empty());
    }
}

#[test]
fn a_changed_config_or_slot_never_opens_to_something_else() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let names = shelf.names();
    let (config, slot) = (&names[0], &names[1]);
    let try_changed = |name: &str, positions: Vec<usize>| {
        let whole = shelf.take(name);
        for position in positions {
            let mut changed = whole.clone();
            changed[position] ^= 0x10;
            shelf.set(name, &changed);
            let opened = open(&shelf, "secret");
            let kind = opened.as_ref().map_err(Error::kind).map(Vault::id);
            // Of the slot's second part only the label depends.
            let is_label = name == slot && position >= 176;
            assert!(
                if is_label {
                    kind == Ok(vault.id())
                } else {
                    matches!(kind, Err(Kind::Damaged | Kind::Unsupported | Kind::WrongPassword))
                },
                "{name} {position}: {kind:?}"
            );
        }
        shelf.set(name, &whole);
    };
    try_changed(config, (0..96).collect());
    // Parameters aside, which would only make this slow.
    try_changed(slot, (0..48).chain(60..200).collect());
}

#[test]
fn objects_open_under_their_own_names_kinds_and_repositories_only() {
    for protection in [Protection::None, Protection::Password(password("secret"))] {
        let (shelf, elsewhere) = (Shelf::default(), Shelf::default());
        let (vault, other) = (create(&shelf, &protection).unwrap(), create(&elsewhere, &protection).unwrap());
        let (a, b) = (vault.commit(&snapshot(1)).unwrap(), vault.commit(&snapshot(2)).unwrap());
        let foreign = other.commit(&snapshot(3)).unwrap();
        let (first, second) = (name(Folder::Snapshots, a), name(Folder::Snapshots, b));
        let (bytes_of_first, bytes_of_second) = (shelf.take(&first), shelf.take(&second));
        shelf.set(&first, &bytes_of_second);
        shelf.set(&second, &bytes_of_first);
        let snapshots = vault.snapshots().unwrap();
        assert_eq!((snapshots.found.len(), snapshots.damaged.len()), (0, 2));
        assert_eq!(kind(vault.snapshot(a)), Kind::Damaged);

        shelf.set(&first, &bytes_of_first);
        shelf.set(&second, &bytes_of_second);
        shelf.set(&name(Folder::Snapshots, foreign), &elsewhere.take(&name(Folder::Snapshots, foreign)));
        shelf.set(&name(Folder::Removals, a), &bytes_of_first);
        shelf.set(&name(Folder::Index, a), &bytes_of_first);
        assert_eq!(vault.snapshots().unwrap().damaged[0].0, foreign);
        assert_eq!(vault.removals().unwrap().damaged[0].0, a);
        assert_eq!(kind(vault.read_object(ObjectKind::Index, a, None)), Kind::Damaged);
        assert_eq!(vault.snapshots().unwrap().found.len(), 2);
    }
}

#[test]
fn what_does_not_belong_is_told_and_left_alone() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let id = ObjectId([0xab; 32]);
    let strays = [
        "dedup/keys/readme".to_owned(),
        "dedup/notes".to_owned(),
        "dedup/old/x".to_owned(),
        format!("dedup/removals/{id}/x"),
        "dedup/sessions/ab".to_owned(),
        format!("dedup/snapshots/{}", id.to_string().to_uppercase()),
    ];
    for stray in &strays {
        shelf.set(stray, b"");
    }
    // Kept for later versions, and looked at elsewhere.
    for other in ["dedup/fences/x", "dedup/marks/x", "dedup/parity/a/b", "dedup/packs/x"] {
        shelf.set(other, b"");
    }
    let mut told = named(&vault);
    told.sort();
    let expected: Vec<&str> =
        strays.iter().map(|stray| if stray == "dedup/old/x" { "dedup/old" } else { stray }).collect();
    assert_eq!(told, expected);
    assert!(strays.iter().all(|stray| shelf.names().contains(stray)));
}

#[test]
fn an_object_that_is_longer_than_any_is_not_read() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    assert_eq!(kind(vault.write_object(ObjectKind::Index, &vec![0; 64 << 20])), Kind::Limit);
    assert_eq!(kind(vault.write_object(ObjectKind::ContentPack, b"")), Kind::Invalid);
    let id = ObjectId([1; 32]);
    shelf.set(&name(Folder::Index, id), &vec![0; (64 << 20) + 1]);
    assert_eq!(kind(vault.read_object(ObjectKind::Index, id, None)), Kind::Damaged);
    assert_eq!(kind(vault.read_object(ObjectKind::Index, id, Some(u64::MAX))), Kind::Damaged);
    shelf.set(&name(Folder::Keys, id), &vec![0; (64 << 10) + 1]);
    assert_eq!(named(&vault), [name(Folder::Keys, id)]);
}
