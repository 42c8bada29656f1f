//! What openssl has encrypted, its header first: a key or an error; the plain bytes are as many as there were behind the header, the same
//! in pieces as at once, and encrypted again what they were.
#![no_main]

use icecore::codec::Compression;
use icecore::codec::openssl::{
    Decryptor, Digest, Encryptor, HEADER_BYTES, Reader, evp_bytes_to_key, find_key, password_of_file,
    password_with_line_end, salt_of,
};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = (password_of_file(bytes), password_with_line_end(bytes));
    assert!(bytes.starts_with(first) && bytes.starts_with(second));
    for compression in Compression::ALL {
        drop(find_key(&[b"password", first, second], bytes, &[compression]));
    }
    let Ok(salt) = salt_of(bytes) else { return };
    let hidden = &bytes[HEADER_BYTES..];
    for digest in Digest::ALL {
        let key = evp_bytes_to_key(digest, b"password", &salt);
        let mut plain = hidden.to_vec();
        Decryptor::new(&key)
            .and_then(|mut cipher| cipher.apply(&mut plain))
            .expect("any bytes can be opened");
        let mut reader = Reader::new(bytes, &key).expect("the header is whole");
        let (mut pieces, mut piece) = (Vec::new(), [0; 7]);
        loop {
            match reader.read(&mut piece).expect("memory can be read") {
                0 => break,
                count => pieces.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(pieces, plain);
        let mut again = Vec::new();
        let mut cipher = Encryptor::new(&key).expect("it is a key");
        let take = |bytes: &[u8]| {
            again.extend_from_slice(bytes);
            Ok(())
        };
        cipher.encrypt(&plain, take).expect("any bytes can be encrypted");
        assert_eq!(again, hidden);
    }
});
