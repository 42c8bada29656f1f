//! Streams as Freezer has encrypted them: there is no real one left, so these are made after the description, in both of its ways.

use super::history::bytes;
use super::writer::{first, second, time_of, without_times};
use super::{How, Levels, Node, restore_to, tree_of};
use crate::codec::openssl::{
    Digest, Encryptor, MAGIC, evp_bytes_to_key, password_of_file, password_with_line_end,
};
use crate::error::Kind;
use std::collections::BTreeMap;
use std::io::Write;

/// The password of the rsync engines has the end of its line.
const FILE: &[u8] = b"secret pass\nsecond line\n";
const SALT: [u8; 8] = *b"saltsalt";

/// One zlib stream of the highest level.
fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Chunks, each encrypted from the beginning as releases from 7.0 on did; one chunk is also what the earlier ones made of whole
/// blocks.
fn encrypt(chunks: &[&[u8]]) -> Vec<u8> {
    let key = evp_bytes_to_key(Digest::Md5, password_with_line_end(FILE), &SALT);
    let mut stream = [&MAGIC[..], &SALT].concat();
    for chunk in chunks {
        let mut encryptor = Encryptor::new(&key).unwrap();
        encryptor
            .encrypt(chunk, |bytes| {
                stream.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
    }
    stream
}

/// What releases before 7.0 made: whole blocks, the rest of the last one left out, or filled up.
fn in_blocks(compressed: &[u8], fill: bool) -> Vec<u8> {
    let rest = compressed.len() % 16;
    if fill && rest > 0 {
        let count = 16 - rest;
        return encrypt(&[&[compressed, &vec![count as u8; count]].concat()]);
    }
    encrypt(&[&compressed[..compressed.len() - rest]])
}

fn trees() -> Vec<BTreeMap<String, (Node, u64)>> {
    let tree = |level: usize, files: u8| {
        let file = |n: u8| {
            (format!("f{n}"), (Node::File(vec![n.wrapping_mul(7); 300 + usize::from(n)]), time_of(level)))
        };
        (0..files).map(file).collect()
    };
    vec![tree(0, 20), tree(1, 17)]
}

fn encrypted(plain: &Levels, encrypt: impl Fn(&[u8]) -> Vec<u8>) -> Levels {
    let streams = plain.streams.iter().map(|stream| encrypt(&zlib(stream))).collect();
    Levels { streams, password: Some(password_with_line_end(FILE).to_vec()), ..plain.clone() }
}

#[test]
fn the_second_engine_is_read_as_both_ways_stored_it() {
    let plain = second(&trees(), 512);
    for levels in
        [encrypted(&plain, |stream| encrypt(&[stream])), encrypted(&plain, |stream| in_blocks(stream, true))]
    {
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &levels, &How::default());
        outcome.result.unwrap();
        assert_eq!(outcome.lost, Vec::<String>::new());
        assert_eq!(tree_of(folder.path()), without_times(&trees()[1]));
    }
}

/// What comes back is right, what was in the lost bytes is not there, and that is said.
#[test]
fn the_first_engine_lost_its_last_bytes_and_that_is_said() {
    for level in 0..2 {
        let mut plain = first(&trees());
        plain.streams.truncate(level + 1);
        let levels = Levels { may_lack_end: true, ..encrypted(&plain, |stream| in_blocks(stream, false)) };
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &levels, &How::default());
        outcome.result.unwrap();
        assert!(outcome.lost.contains(&"the end of the backup".to_owned()), "{:?}", outcome.lost);
        let (found, expected) = (tree_of(folder.path()), without_times(&trees()[0]));
        assert!(found.len() + 2 >= trees()[level].len(), "{}", found.len());
        for (path, node) in &found {
            assert_eq!(expected.get(path), Some(node), "{path}");
        }
    }
}

/// A stream that may not lack its end is damaged without it.
#[test]
fn a_stream_without_its_end_is_damage_elsewhere() {
    let plain = first(&trees());
    let levels = encrypted(&plain, |stream| in_blocks(&stream[..stream.len() - 16], false));
    let folder = tempfile::tempdir().unwrap();
    let outcome = restore_to(folder.path(), &levels, &How::default());
    assert_eq!(outcome.result.unwrap_err().kind(), Kind::Damaged);
    assert!(tree_of(folder.path()).is_empty());
}

#[test]
fn the_password_without_its_line_end_is_wrong_and_pieces_by_themselves_are_damage() {
    let plain = second(&trees(), 512);
    let mut levels = encrypted(&plain, |stream| encrypt(&[stream]));
    levels.password = Some(password_of_file(FILE).to_vec());
    let folder = tempfile::tempdir().unwrap();
    let outcome = restore_to(folder.path(), &levels, &How::default());
    assert_eq!(outcome.result.unwrap_err().kind(), Kind::WrongPassword);

    // What does not compress, so that the second piece is far behind what tells a right key.
    let big = ("big".to_owned(), (Node::File(bytes(3, 20_000)), time_of(0)));
    let plain = second(&[BTreeMap::from([big])], 512);
    let levels =
        encrypted(&plain, |stream| encrypt(&[&stream[..stream.len() / 2], &stream[stream.len() / 2..]]));
    let outcome = restore_to(folder.path(), &levels, &How::default());
    assert_eq!(outcome.result.unwrap_err().kind(), Kind::Damaged);
    assert!(tree_of(folder.path()).is_empty());
}
