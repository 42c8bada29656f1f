//! Streams as Freezer has encrypted them: there is no real one left, so these are made after the description, in both of its ways.

use super::super::never_stored;
use super::history::bytes;
use super::writer::{first, second, time_of, without_times};
use super::{Heard, How, Levels, Node, restore_to, tree_of};
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

/// What comes back is right, and what was in the lost bytes is lost by name: neither made up, nor there as it was before.
#[test]
fn the_first_engine_lost_its_last_bytes_and_what_was_in_them_is_named() {
    let (mut named, mut nothing_lost) = (0, 0);
    for files in 3..30 {
        let tree = |level: usize, range: std::ops::Range<u8>| {
            let file = |n: u8| {
                let content = bytes(u64::from(n) + 100 * level as u64, 20 + usize::from(n));
                (format!("f{n}"), (Node::File(content), time_of(level)))
            };
            range.map(file).collect::<BTreeMap<_, _>>()
        };
        // Some are the same, some others are new, some are gone.
        let below = tree(0, 0..files);
        let mut above = tree(1, files..files + 2);
        above.extend(below.clone().into_iter().skip(2));
        let history = [below, above];
        for level in 0..2 {
            let plain = first(&history[..=level]);
            let levels =
                Levels { may_lack_end: true, ..encrypted(&plain, |stream| in_blocks(stream, false)) };
            let folder = tempfile::tempdir().unwrap();
            let outcome = restore_to(folder.path(), &levels, &How::default());
            outcome.result.unwrap();
            let (found, expected) = (tree_of(folder.path()), without_times(&history[level]));
            for (path, node) in &expected {
                let is_lost = outcome.lost.contains(path);
                assert_eq!(found.get(path), Some(node).filter(|_| !is_lost), "{files} {level} {path}");
            }
            assert_eq!(
                found.len() + outcome.lost.len(),
                expected.len(),
                "{files} {level}: {:?}",
                outcome.lost
            );
            named += outcome.lost.len();
            nothing_lost += usize::from(outcome.warnings.contains("none of them is lacking"));
            let mut chain = levels.clone();
            let mut never = never_stored(&mut chain, &Heard::default()).unwrap();
            let mut lost = outcome.lost;
            never.sort();
            lost.sort();
            assert_eq!(never, lost);
        }
    }
    assert!(named > 5 && nothing_lost > 5, "{named} {nothing_lost}");
}

#[test]
fn without_the_record_of_files_what_was_in_the_last_bytes_is_not_known() {
    for manifest in [Vec::new(), zlib(b"{\"files\": {\"f0\": {\"inode\": {\"size\": 1}}}}")] {
        let plain = first(&trees());
        let mut levels =
            Levels { may_lack_end: true, ..encrypted(&plain, |stream| in_blocks(stream, false)) };
        levels.manifests = vec![manifest; 2];
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &levels, &How::default());
        outcome.result.unwrap();
        assert!(outcome.lost.contains(&"the end of the backup".to_owned()), "{:?}", outcome.lost);
    }
}

/// Whole blocks were written: what ends inside one was cut off later. And the second engine has left out nothing.
#[test]
fn what_was_cut_off_later_is_damage() {
    let plain = first(&trees());
    let cut = encrypted(&plain, |stream| {
        let whole = in_blocks(stream, false);
        whole[..whole.len() - 3].to_vec()
    });
    let second = encrypted(&second(&trees(), 512), |stream| in_blocks(stream, false));
    for levels in [cut, second] {
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &Levels { may_lack_end: true, ..levels }, &How::default());
        assert_eq!(outcome.result.unwrap_err().kind(), Kind::Damaged);
        assert!(tree_of(folder.path()).is_empty());
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
