//! How fast it is, told and not asserted: `cargo test -p icecore --release -- --ignored --nocapture how_fast`.

use super::*;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time that this thread has had a processor: what else the machine does matters less.
struct Instant(Duration);

impl Instant {
    fn now() -> Instant {
        Instant(Instant::time())
    }

    fn elapsed(&self) -> Duration {
        Instant::time() - self.0
    }

    fn time() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(seed, length);
    // Words of a small vocabulary, drawn by the noise: what source code compresses like.
    let words: Vec<String> = (0..997).map(|word| format!("word{:x} ", word * 7919 % 4093)).collect();
    let text: String = bytes[..length / 6].iter().map(|byte| &words[usize::from(*byte) * 3][..]).collect();
    let count = text.len().min(length);
    bytes[..count].copy_from_slice(&text.as_bytes()[..count]);
    bytes
}

#[test]
#[ignore = "measures"]
fn how_fast_chunks_are_put_and_read() {
    let count = 192;
    for (what, chunk) in [("noise", noise as fn(u64, usize) -> Vec<u8>), ("words", mixed)] {
        for level in [CompressionLevel::Off, CompressionLevel::Fast, CompressionLevel::Default] {
            for cipher in [Cipher::None, Cipher::Aes256Gcm] {
                let chunks: Vec<_> = (0..count).map(|seed| chunk(seed, 1 << 20)).collect();
                let vault = vault(cipher);
                let writer = Writer::new(&vault, index(&vault));
                let mut encoder = Encoder::new(level, false).unwrap();
                let start = Instant::now();
                let ids: Vec<_> =
                    chunks.iter().map(|raw| put(&writer, ChunkKind::Content, raw, &mut encoder).id).collect();
                finish(&writer);
                let written = start.elapsed();
                let reader = Reader::new(&vault, index(&vault));
                let start = Instant::now();
                ids.iter().for_each(|id| assert!(!reader.read(ChunkKind::Content, id).unwrap().is_empty()));
                let read = start.elapsed();
                let rate = |time: std::time::Duration| (count << 20) as f64 / time.as_secs_f64() / 1e6;
                println!(
                    "{what} {level} {cipher:?}: put {:.0} MB/s, read {:.0} MB/s, stored {:.3}",
                    rate(written),
                    rate(read),
                    writer.added_bytes() as f64 / (count << 20) as f64
                );
            }
        }
    }
}

#[test]
#[ignore = "measures"]
fn how_fast_nodes_are_read_in_order_and_chunks_found() {
    let vault = vault(Cipher::Aes256Gcm);
    let nodes: Vec<_> = (0..1000).map(|seed| (ChunkKind::Node, mixed(seed, 30_000))).collect();
    let ids = run(&vault, &nodes);
    let loaded = index(&vault);
    let reader = Reader::new(&vault, Arc::clone(&loaded));
    let start = Instant::now();
    ids.iter().for_each(|id| assert_eq!(reader.read(ChunkKind::Node, id).unwrap().len(), 30_000));
    println!("1000 nodes of 30 kB in order: {:?}", start.elapsed());
    let start = Instant::now();
    let found = (0..1000).map(|_| ids.iter().filter(|id| loaded.find(id).is_some()).count()).sum::<usize>();
    println!("one lookup: {:?}", start.elapsed() / found as u32);

    let small: Vec<_> = (0..400_000).map(|seed| (ChunkKind::Node, noise(seed, 32))).collect();
    let start = Instant::now();
    run(&vault, &small);
    println!("400 000 chunks put: {:?}", start.elapsed());
    let start = Instant::now();
    let loaded = index(&vault);
    println!("{} chunks loaded: {:?}", loaded.len(), start.elapsed());
    let ids: Vec<ChunkId> = small.iter().map(|(kind, raw)| vault.keys().chunk_id(*kind, raw)).collect();
    let start = Instant::now();
    assert!(ids.iter().all(|id| loaded.find(id).is_some()));
    println!("one lookup among them: {:?}", start.elapsed() / ids.len() as u32);
}
