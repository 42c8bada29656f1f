//! What age has encrypted: opened by its keys alone, and refused when a byte differs.

use super::*;
use proptest::prelude::*;

const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

fn key() -> OwnKey {
    OwnKey(SECRET.parse().unwrap())
}

fn sealed(plain: &[u8], to: &Recipients) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), to).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn open(stream: &[u8], keys: &[Identity]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut reader = reader(stream, keys)?;
    reader.read_to_end(&mut plain).map_err(|e| Error::io("cannot read", "it", e))?;
    Ok(plain)
}

/// Text of some length that does not repeat.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn what_is_encrypted_to_a_key_is_opened_by_it_and_by_no_other() {
    let key = key();
    for length in [0, 1, 65535, 65536, 65537, 300_000] {
        let stream = sealed(&text(length), &key.recipients());
        assert!(stream.starts_with(MAGIC));
        assert_eq!(open(&stream, &[key.identity()]).unwrap(), text(length));
        let (other, _) = lock_up_with(b"x", 1).unwrap();
        assert_eq!(open(&stream, &[other.identity()]).unwrap_err().kind(), Kind::WrongPassword);
        assert_eq!(open(&stream, &[other.identity(), key.identity()]).unwrap().len(), length);
        assert_eq!(open(&stream, &[]).unwrap_err().kind(), Kind::WrongPassword);
    }
}

#[test]
fn a_changed_byte_anywhere_and_every_cut_is_damage_or_no_key() {
    let key = key();
    let stream = sealed(&text(70_000), &key.recipients());
    let header = stream.windows(5).position(|bytes| bytes == HEADER_END).unwrap() + 5 + 44;
    let places = (0..header + 20).chain([65_000, header + 16 + 65_552, stream.len() - 1]);
    for place in places {
        let mut changed = stream.clone();
        changed[place] ^= 1;
        let kind = open(&changed, &[key.identity()]).unwrap_err().kind();
        // A header whose end is not found goes on for longer than one may.
        let expected = [Kind::Damaged, Kind::Unsupported, Kind::WrongPassword, Kind::Limit];
        assert!(expected.contains(&kind), "{place}: {kind:?}");
        assert!(place < header || kind == Kind::Damaged, "{place}: {kind:?}");
    }
    for length in [
        0,
        5,
        30,
        header - 1,
        header,
        header + 16,
        header + 17,
        40_000,
        header + 16 + 65_552,
        stream.len() - 1,
    ] {
        let error = open(&stream[..length], &[key.identity()]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{length}: {error}");
    }
    let longer = [&stream[..], b"x"].concat();
    assert_eq!(open(&longer, &[key.identity()]).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_header_that_does_not_end_is_refused_before_it_is_all_read() {
    let endless = [&b"age-encryption.org/v1\n"[..], &b"-> X25519 AAAA\nAAAA\n".repeat(1 << 20)].concat();
    let mut source = Cursor::new(&endless);
    let error = reader(&mut source, &[key().identity()]).err().unwrap();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(source.position() <= 2 * AGE_HEADER_BYTES as u64);
}

#[test]
fn a_password_protects_a_key() {
    let (key, file) = lock_up_with("pässword".as_bytes(), 2).unwrap();
    assert!(is_locked(&file) && !is_locked(SECRET.as_bytes()));
    let back = unlock(&file, "pässword".as_bytes()).unwrap();
    let stream = sealed(b"hello", &key.recipients());
    assert_eq!(open(&stream, &[back.identity()]).unwrap(), b"hello");
    assert_eq!(back.recipients().fingerprint(), key.recipients().fingerprint());
    assert_eq!(unlock(&file, b"password").err().unwrap().kind(), Kind::WrongPassword);
    assert_eq!(unlock(&file, b"\xff").err().unwrap().kind(), Kind::Invalid);
    assert_eq!(unlock(&file[..file.len() - 1], "pässword".as_bytes()).err().unwrap().kind(), Kind::Damaged);
    assert_eq!(unlock(b"", b"x").err().unwrap().kind(), Kind::Damaged);
    assert_eq!(unlock(&stream, b"x").err().unwrap().kind(), Kind::Damaged);
    let (_, again) = lock_up_with("pässword".as_bytes(), 2).unwrap();
    assert_ne!(file, again);
}

#[test]
fn work_beyond_the_bound_is_not_done() {
    let (_, file) = lock_up_with(b"x", 2).unwrap();
    let end = file.windows(3).position(|bytes| bytes == b" 2\n").unwrap();
    let dear = [&file[..end], b" 30", &file[end + 2..]].concat();
    assert_eq!(unlock(&dear, b"x").err().unwrap().kind(), Kind::Limit);
}

#[test]
fn recipients_are_told_from_what_is_none() {
    let public = key().0.to_public().to_string();
    let one = Recipients::parse(&format!("# me\n\n  {public}  \n")).unwrap();
    assert_eq!(open(&sealed(b"x", &one), &[key().identity()]).unwrap(), b"x");
    let twice = Recipients::parse(&format!("{public}\n{public}")).unwrap();
    assert_eq!(one.fingerprint(), twice.fingerprint());
    for wrong in ["", "# nobody", "age1xyz", "me", "ssh-ed25519 AAAA", &public[..20]] {
        assert!(Recipients::parse(wrong).is_err(), "{wrong}");
    }
    let secret = Recipients::parse(SECRET).unwrap_err();
    assert!(!secret.to_string().contains("GQ9778"), "{secret}");
    let many =
        (0..=AGE_RECIPIENTS).map(|_| lock_up_with(b"x", 1).unwrap().0.0.to_public().to_string() + "\n");
    assert_eq!(Recipients::parse(&many.collect::<String>()).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn identities_are_told_from_what_is_none() {
    assert_eq!(identities(format!("# made today\n{SECRET}\n\n{SECRET}").as_bytes()).unwrap().len(), 2);
    for wrong in
        [&b""[..], b"# none", b"AGE-SECRET-KEY-1XYZ", b"\xff", b"-----BEGIN OPENSSH PRIVATE KEY-----\nx"]
    {
        let error = identities(wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{wrong:?}");
        assert!(!error.to_string().contains("1XYZ"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_refused(head in proptest::collection::vec(any::<u8>(), 0..200)) {
        let key = key();
        prop_assert!(open(&head, &[key.identity()]).is_err());
        let stream = [MAGIC, b"v1\n", &head].concat();
        prop_assert!(open(&stream, &[key.identity()]).is_err());
        prop_assert!(unlock(&stream, b"x").is_err());
    }

    #[test]
    fn what_is_written_in_any_pieces_comes_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30_000), 0..8),
    ) {
        let key = key();
        let mut writer = Writer::new(Vec::new(), &key.recipients()).unwrap();
        for piece in &pieces {
            writer.write_all(piece).unwrap();
        }
        prop_assert_eq!(open(&writer.finish().unwrap(), &[key.identity()]).unwrap(), pieces.concat());
    }
}
