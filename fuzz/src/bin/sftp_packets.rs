//! What an SFTP server sends: packets out of a stream that is cut anywhere, and what is in them, or an error.
#![no_main]

use bytes::Bytes;
use icecore_remote::sftp::wire::{Frames, extensions, numbers, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else { return };
    let mut frames = Frames::default();
    for piece in stream.chunks(usize::from(*cut).max(1)) {
        frames.push(piece);
        while let Ok(Some(packet)) = frames.next_packet() {
            extensions(packet.clone()).map(drop).unwrap_or(());
            numbers::<4>(packet.clone());
            reply(packet).map(drop).unwrap_or(());
        }
    }
    reply(Bytes::copy_from_slice(stream)).map(drop).unwrap_or(());
});
