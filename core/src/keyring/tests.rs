//! What is asked for, how often, and what is said of what does not open.

use super::*;
use crate::codec::Compressor;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

fn password(text: &str) -> Secret {
    Secret::new(Password::new(text.as_bytes().to_vec()))
}

fn to(recipients: &Recipients) -> Vec<u8> {
    let mut writer = age::Writer::new(Vec::new(), recipients).unwrap();
    writer.write_all(b"hello").unwrap();
    writer.finish().unwrap()
}

fn plain(key: &Key, stream: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    key.open(stream).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

fn kind_of<T>(outcome: Result<T>) -> Option<Kind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn a_password_is_asked_for_once_and_a_key_is_opened_once() {
    let asked = AtomicU32::new(0);
    let keys = Keyring::new(Vec::new(), |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(password("right"))
    });
    let (key, locked) = keys.lock_up(Question::New).unwrap();
    let stream = to(&key.recipients());
    let scheme = Scheme::Age { locked_key: Some(locked.clone()) };
    for _ in 0..3 {
        let key = keys.key_for(&scheme, &stream, &[Compression::Zstd]).unwrap();
        assert_eq!(plain(&key, &stream), b"hello");
    }
    assert_eq!((asked.load(Ordering::Relaxed), keys.known.borrow().keys.len()), (1, 1));

    let others = Keyring::new(Vec::new(), |_| Ok(password("wrong")));
    assert_eq!(kind_of(others.key_for(&scheme, &stream, &[Compression::Zstd])), Some(Kind::WrongPassword));
    assert_eq!(kind_of(Keyring::none().key_for(&scheme, &stream, &[Compression::Zstd])), Some(Kind::Invalid));
    // A stream that somebody put in the place of the right one is damage, whatever the password.
    let (another, _) = keys.lock_up(Question::Existing).unwrap();
    let stream = to(&another.recipients());
    assert_eq!(kind_of(keys.key_for(&scheme, &stream, &[Compression::Zstd])), Some(Kind::Damaged));
}

#[test]
fn what_is_encrypted_to_recipients_needs_a_secret_key_and_no_password() {
    let (key, _) = Keyring::new(Vec::new(), |_| Ok(password("x"))).lock_up(Question::New).unwrap();
    let stream = to(&key.recipients());
    let scheme = Scheme::Age { locked_key: None };
    let nobody = |_: Question| -> Result<Secret> { panic!("a password was asked for") };
    let with = Keyring::new(vec![key.identity()], nobody);
    assert_eq!(plain(&with.key_for(&scheme, &stream, &[Compression::Zstd]).unwrap(), &stream), b"hello");
    let without = Keyring::new(Vec::new(), nobody);
    assert_eq!(kind_of(without.key_for(&scheme, &stream, &[Compression::Zstd])), Some(Kind::Invalid));
}

#[test]
fn freezers_streams_open_by_either_reading_of_the_file_of_a_password() {
    let mut gzip = Vec::new();
    Compressor::new(Compression::Gzip, None).unwrap().compress(b"hello", &mut gzip).unwrap();
    let file = b"word\r\nmore\n".to_vec();
    let secret = Secret::in_file(Password::new(b"word\r\nmore".to_vec()), Password::new(file));
    assert_eq!(secret.for_openssl(), b"word\r");
    for right in [&b"word\r"[..], b"word\r\nmore"] {
        let mut writer = openssl::Writer::new(Vec::new(), right).unwrap();
        writer.write_all(&gzip).unwrap();
        let stream = writer.into_inner();
        let keys = Keyring::new(Vec::new(), |_| Ok(secret.clone()));
        let key = keys.key_for(&Scheme::OpenSsl, &stream, &[Compression::Gzip]).unwrap();
        assert_eq!(plain(&key, &stream), gzip);
        let wrong = Keyring::new(Vec::new(), |_| Ok(password("word")));
        assert_eq!(
            kind_of(wrong.key_for(&Scheme::OpenSsl, &stream, &[Compression::Gzip])),
            Some(Kind::WrongPassword)
        );
    }
}

#[test]
fn no_secret_is_shown() {
    let shown =
        format!("{:?}", Secret::in_file(Password::new(b"abc".to_vec()), Password::new(b"abc".to_vec())));
    assert!(!shown.contains("abc") && !shown.contains("97"), "{shown}");
}
