//! What openssl has encrypted: the vectors are its own.

use super::*;
use proptest::prelude::*;

/// Written by `openssl enc -aes-256-cfb -md … -pass file:…`, version 3.0, with [`FILE`].
const BY_OPENSSL: [(Digest, &str); 2] = [
    (
        Digest::Sha256,
        "53616c7465645f5f26d694f4cb96b7ed572de980de9ab6fb96eb142fe623356633a09d828d7d11444712aa06411e30ef440369f9d42cd7e46a2c4f60fa8494fa01c5ac14bfe9",
    ),
    (
        Digest::Md5,
        "53616c7465645f5f57cddc8f8ee07cc475563bd045f384a2ae3daeff7f60bb2426819e7076cfc179185e591e419a7b8cd1ee529c3df78b8e235ec40207697d5b33b85c903175",
    ),
];
const FILE: &[u8] = b"a secret\r\nsecond line\n";
const PLAIN: &[u8] = b"hello, openssl: seventeen and more bytes of plain text";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_openssl_has_written_is_opened() {
    for (hash, hex) in BY_OPENSSL {
        let stream = bytes(hex);
        let key = evp_bytes_to_key(hash, password_of_file(FILE), &salt_of(&stream).unwrap());
        let mut plain = Vec::new();
        Reader::new(&stream[..], &key).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain, PLAIN, "{hash:?}");
    }
}

#[test]
fn the_password_of_a_file_is_what_each_engine_takes_for_it() {
    let long = vec![b'x'; 3000];
    for (file, by_openssl, by_rsync) in [
        (FILE, &b"a secret\r"[..], &b"a secret\r\n"[..]),
        (b"word", b"word", b"word"),
        (b"wo\0rd\n", b"wo", b"wo\0rd\n"),
        (b"\nword\n", b"", b"\n"),
        (b"", b"", b""),
        (&long, &long[..1023], &long),
    ] {
        assert_eq!((password_of_file(file), password_with_line_end(file)), (by_openssl, by_rsync));
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::codec::Compressor::new(Compression::Gzip, None).unwrap().compress(plain, &mut out).unwrap();
    out
}

#[test]
fn the_plain_bytes_tell_which_password_and_which_hash_it_was() {
    for hash in Digest::ALL {
        let mut header = new_header().unwrap();
        header[8..].copy_from_slice(b"saltsalt");
        let key = evp_bytes_to_key(hash, b"right", b"saltsalt");
        let mut stream = header.to_vec();
        let keep = |hidden: &[u8]| {
            stream.extend_from_slice(hidden);
            Ok(())
        };
        Encryptor::new(&key).unwrap().encrypt(&gzip(PLAIN), keep).unwrap();
        for among in [&[Compression::Gzip][..], &[Compression::Xz, Compression::Gzip]] {
            let (found, compression) = find_key(&[b"wrong", b"right"], &stream, among).unwrap();
            assert_eq!((*found.key, found.iv), (*key.key, key.iv), "{hash:?}");
            assert_eq!(compression, Compression::Gzip);
        }
        let others = [Compression::Bzip2, Compression::Xz, Compression::Zstd, Compression::None];
        for among in others.chunks(1).chain([&others[..], &[]]) {
            let error = find_key(&[b"right"], &stream, among).err().map(|error| error.kind());
            assert_eq!(error, Some(Kind::WrongPassword), "{among:?}");
        }
        let error = find_key(&[b"wrong", b"Right", b""], &stream, &[Compression::Gzip]).err();
        assert_eq!(error.map(|error| error.kind()), Some(Kind::WrongPassword));
    }
}

#[test]
fn what_is_no_such_stream_is_damaged() {
    for head in
        [&b""[..], b"Salted__", b"Salted__1234567", b"Salted__12345678", b"salted__123456789", b"\x1f\x8b"]
    {
        let error = find_key(&[b"x"], head, &[Compression::Gzip]).err().map(|error| error.kind());
        assert_eq!(error, Some(Kind::Damaged), "{head:?}");
    }
    let key = evp_bytes_to_key(Digest::Sha256, b"", b"saltsalt");
    assert_eq!(Reader::new(&b"Salted__"[..], &key).err().map(|error| error.kind()), Some(Kind::Damaged));
}

proptest! {
    #[test]
    fn what_is_written_in_any_pieces_comes_back_in_any_pieces(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
        password in proptest::collection::vec(any::<u8>(), 0..40),
        step in 1_usize..70,
    ) {
        let mut writer = Writer::new(Vec::new(), &password).unwrap();
        for piece in &pieces {
            writer.write_all(piece).unwrap();
        }
        let stream = writer.into_inner();
        let plain = pieces.concat();
        prop_assert_eq!(stream.len(), HEADER_BYTES + plain.len());
        let key = evp_bytes_to_key(Digest::Sha256, &password, &salt_of(&stream).unwrap());
        let mut reader = Reader::new(&stream[..], &key).unwrap();
        let mut back = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            let count = reader.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            back.extend_from_slice(&buffer[..count]);
        }
        prop_assert_eq!(back, plain);
    }
}
