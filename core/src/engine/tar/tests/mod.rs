//! Tests of the codec as a whole: what is written is read back, real programs agree, and damage is always noticed.

mod damage;
mod interop;
mod round_trip;

use super::member::{Member, MemberKind};
use super::reader::ArchiveReader;
use super::writer::ArchiveWriter;
use crate::error::Result;
use crate::time::FileTime;
use crate::tree::attributes::Attributes;

/// A member and its stored bytes.
type Stored = (Member, Vec<u8>);

/// Content that is different at every place and for every file.
fn content(seed: u64, length: u64) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31).wrapping_add(at) % 251) as u8).collect()
}

fn attributes() -> Attributes {
    Attributes {
        mode: 0o640,
        uid: 7,
        gid: 8,
        mtime: FileTime::new(1_700_000_000, 0),
        ..Attributes::default()
    }
}

fn file(path: &[u8], size_bytes: u64) -> Stored {
    let kind = MemberKind::File { size_bytes, sparse: None };
    (Member { path: path.to_vec(), kind, attributes: attributes() }, content(size_bytes, size_bytes))
}

fn member(path: &[u8], kind: MemberKind) -> Stored {
    let mut attributes = attributes();
    if matches!(kind, MemberKind::Directory { .. }) {
        attributes.mode = 0o750;
    }
    (Member { path: path.to_vec(), kind, attributes }, Vec::new())
}

fn archive(members: &[Stored]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new());
    for (member, bytes) in members {
        writer.begin(member).unwrap();
        writer.write(bytes).unwrap();
        writer.end().unwrap();
    }
    writer.finish().unwrap()
}

fn read_all(archive: &[u8]) -> Result<Vec<Stored>> {
    let mut reader = ArchiveReader::new(archive);
    let mut members = Vec::new();
    while let Some(member) = reader.next()? {
        let mut bytes = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        members.push((member, bytes));
    }
    Ok(members)
}
