//! Tables and trailers of packs, documents of indexes, frames of chunks: rows that keep every limit, or an error; what is read
//! is written again as the same bytes.
#![no_main]

use icecore::repository::vault::index::document;
use icecore::repository::vault::keys::Keys;
use icecore::repository::vault::pack::{blobs_end, chunk_limit, read_rows, read_table, read_trailer};
use icecore::repository::vault::seal::Cipher;
use icecore::repository::vault::{Decoder, ObjectId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let is_metadata = choice & 4 != 0;
    match choice & 3 {
        0 => {
            let Ok((rows, rest)) = read_rows(bytes, is_metadata) else { return };
            assert!(rows.iter().all(|row| row.raw_bytes as usize <= chunk_limit(row.kind)));
            let mut written = (rows.len() as u32).to_le_bytes().to_vec();
            rows.iter().for_each(|row| row.write(&mut written));
            assert_eq!(written, bytes[..bytes.len() - rest.len()]);
            if let Some(end) = blobs_end(&rows) {
                let table = read_table(bytes, is_metadata, end);
                assert!(table.is_err() || rest.iter().all(|byte| *byte == 0));
            }
        }
        1 => {
            for size_bytes in [bytes.len(), 4096, 1 << 20, usize::MAX] {
                if let Ok(table_bytes) = read_trailer(bytes, size_bytes) {
                    assert!(table_bytes + 136 <= size_bytes);
                }
            }
        }
        2 => {
            let keys = Keys::new([1; 32].into(), ObjectId([2; 32]), Cipher::Aes256Gcm);
            let mut packs = Vec::new();
            let read = document::read(&keys, bytes, &mut |pack| {
                packs.push(pack);
                Ok(())
            });
            if let Ok(superseded) = read {
                assert_eq!(document::write(&superseded, &packs).expect("no more than was read"), bytes);
            }
        }
        _ => {
            let Some((length, frame)) = bytes.split_first_chunk::<3>() else { return };
            let raw_bytes = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
            let mut out = Vec::new();
            let decoded = Decoder::new().expect("there is memory").decode(frame, raw_bytes, &mut out);
            assert!(decoded.is_err() || out.len() == raw_bytes);
        }
    }
});
