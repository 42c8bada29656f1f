//! How fast the vault takes chunks and gives them back, on one thread and in memory, and how fast an index is loaded and searched:
//!
//!   cargo bench --package icecore --bench vault
//!
//! The steps themselves (hash, cipher, compression) `icecore benchmark` measures, on the machine of the user. Every figure is the time
//! that this thread has had a processor: what else the machine does matters less.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failure ends the measurement, and that is all there is to say"
)]

use icecore::error::Result;
use icecore::monitor::Quiet;
use icecore::repository::vault::{
    ChunkId, ChunkKind, CompressionLevel, Encoder, Index, Password, Protection, Reader, Vault, Writer,
};
use icecore::storage::memory::Memory;
use icecore::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::Duration;

/// Chunks of content that are put and read, of 1 MiB each.
const CONTENT_CHUNKS: u64 = 192;
const CONTENT_BYTES: usize = 1 << 20;
/// Nodes of a tree that are read in order.
const NODES: u64 = 1000;
const NODE_BYTES: usize = 30_000;
/// Chunks of an index that is to be large.
const SMALL_CHUNKS: u64 = 400_000;
const SMALL_BYTES: usize = 32;

fn main() -> Result<()> {
    content()?;
    nodes()?;
    large_index()
}

/// Content of two sorts, with and without encryption.
fn content() -> Result<()> {
    for (what, make) in [("noise", noise as fn(u64, usize) -> Vec<u8>), ("words", words)] {
        for (how, password) in [("plain", None), ("encrypted", Some("password"))] {
            let chunks: Vec<_> = (0..CONTENT_CHUNKS).map(|seed| make(seed, CONTENT_BYTES)).collect();
            let vault = vault(password)?;
            let mut ids = Vec::new();
            let written = time(|| store(&vault, ChunkKind::Content, &chunks, &mut ids))?;
            let reader = Reader::new(&vault, index(&vault)?);
            let read = time(|| read_all(&reader, ChunkKind::Content, &ids))?;
            let total = CONTENT_CHUNKS * CONTENT_BYTES as u64;
            let stored: u64 = reader.index().packs().map(|(_, pack)| u64::from(pack.size_bytes)).sum();
            println!(
                "content, {what}, {how}: put {:.0} MB/s, read {:.0} MB/s, stored {:.3}",
                rate(total, written),
                rate(total, read),
                stored as f64 / total as f64
            );
        }
    }
    Ok(())
}

/// Nodes in the order in which they were written, as a walk reads them.
fn nodes() -> Result<()> {
    let vault = vault(Some("password"))?;
    let nodes: Vec<_> = (0..NODES).map(|seed| words(seed, NODE_BYTES)).collect();
    let mut ids = Vec::new();
    let written = time(|| store(&vault, ChunkKind::Node, &nodes, &mut ids))?;
    let reader = Reader::new(&vault, index(&vault)?);
    let read = time(|| read_all(&reader, ChunkKind::Node, &ids))?;
    println!("{NODES} nodes of {NODE_BYTES} bytes: put {written:.0?}, read in order {read:.0?}");
    Ok(())
}

fn large_index() -> Result<()> {
    let vault = vault(Some("password"))?;
    let small: Vec<_> = (0..SMALL_CHUNKS).map(|seed| noise(seed, SMALL_BYTES)).collect();
    let mut ids = Vec::new();
    let written = time(|| store(&vault, ChunkKind::Node, &small, &mut ids))?;
    let mut loaded = Index::empty();
    let loading = time(|| {
        loaded = Index::load(&vault, &Quiet)?;
        Ok(())
    })?;
    let searching = time(|| {
        assert!(ids.iter().all(|id| loaded.find(id).is_some()));
        Ok(())
    })?;
    let one = searching / u32::try_from(ids.len()).unwrap();
    println!(
        "{SMALL_CHUNKS} chunks: put {written:.0?}, their index loaded {loading:.0?}, one found {one:.0?}"
    );
    Ok(())
}

fn vault(password: Option<&str>) -> Result<Vault> {
    let protection = match password {
        Some(text) => Protection::Password(Password::new(text.as_bytes().to_vec())),
        None => Protection::None,
    };
    Vault::create(Arc::new(Memory::new()), &protection, "bench", Timestamp(0))
}

fn index(vault: &Vault) -> Result<Arc<Index>> {
    Index::load(vault, &Quiet).map(Arc::new)
}

/// A run that stores these chunks, with the compression of a backup.
fn store(vault: &Vault, kind: ChunkKind, chunks: &[Vec<u8>], ids: &mut Vec<ChunkId>) -> Result<()> {
    let writer = Writer::new(vault, index(vault)?);
    let mut encoder = Encoder::new(CompressionLevel::Default, false)?;
    for chunk in chunks {
        let put = writer.put(kind, chunk, &mut encoder)?;
        ids.push(put.id);
        put.full.map_or(Ok(()), |pack| writer.store(pack))?;
    }
    writer.remaining()?.into_iter().try_for_each(|pack| writer.store(pack))?;
    writer.finish()
}

fn read_all(reader: &Reader<'_>, kind: ChunkKind, ids: &[ChunkId]) -> Result<()> {
    ids.iter().try_for_each(|id| reader.read(kind, id).map(|chunk| assert!(!chunk.is_empty())))
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = processor_time();
    work()?;
    Ok(processor_time() - begun)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Megabytes in a second.
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

/// What does not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Words of a small vocabulary, drawn by noise: what source code compresses like.
fn words(seed: u64, length: usize) -> Vec<u8> {
    let vocabulary: Vec<String> = (0..997).map(|word| format!("word{:x} ", word * 7919 % 4093)).collect();
    let drawn = noise(seed, length / 5);
    let mut text: Vec<u8> =
        drawn.iter().flat_map(|byte| vocabulary[usize::from(*byte) * 3].bytes()).take(length).collect();
    text.resize(length, b'\n');
    text
}
