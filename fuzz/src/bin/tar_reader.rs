//! Archives: whatever the bytes, the answer is members or an error; members that can be written come back the same.
#![no_main]

use icecore::engine::tar::header::BLOCK;
use icecore::engine::tar::member::{Member, MemberKind};
use icecore::engine::tar::reader::ArchiveReader;
use icecore::engine::tar::writer::ArchiveWriter;
use libfuzzer_sys::fuzz_target;

type Stored = (Member, Vec<u8>);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&with_checksums(bytes));
});

/// Makes the checksum of every block right that looks like a header, so that changes get past it.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    bytes
}

fn check(bytes: &[u8]) {
    let Some(members) = read(bytes) else { return };
    let members: Vec<Stored> =
        members.into_iter().map(|(member, bytes)| (as_written(member), bytes)).collect();
    if let Some(archive) = write(&members) {
        assert_eq!(read(&archive).as_ref(), Some(&members));
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Stored>> {
    let mut reader = ArchiveReader::new(bytes);
    let mut members = Vec::new();
    while let Some(member) = reader.next().ok()? {
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match reader.read(&mut buffer).ok()? {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        members.push((member, content));
    }
    Some(members)
}

/// Access times are written as whole seconds, but for sparse files.
fn as_written(mut member: Member) -> Member {
    if !matches!(member.kind, MemberKind::File { sparse: Some(_), .. }) {
        for time in [&mut member.attributes.atime, &mut member.attributes.ctime].into_iter().flatten() {
            time.nanoseconds = 0;
        }
    }
    member
}

/// `None` when the writer refuses a member, as it does with names that no file system has.
fn write(members: &[Stored]) -> Option<Vec<u8>> {
    let mut writer = ArchiveWriter::new(Vec::new());
    for (member, content) in members {
        writer.begin(member).ok()?;
        writer.write(content).expect("the reader gave as many bytes as its member says");
    }
    Some(writer.finish().expect("every member is whole"))
}
