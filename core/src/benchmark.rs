//! The verb `benchmark`: how fast this machine cuts, hashes, encrypts and compresses, on one thread, and how fast a storage takes
//! objects and gives them back.
//!
//! The data is made here: half of it compresses, as in the middle of what people keep. A storage gets objects below a name of
//! its own, which are removed whatever happens.

use crate::codec::chunker::Chunker;
use crate::error::{Error, Kind, Result};
use crate::limits::{BENCHMARK_OBJECT_BYTES, CHUNK_AVERAGE_BYTES};
use crate::monitor::Monitor;
use crate::repository::vault::names;
use crate::repository::vault::seal::{self, Cipher, SealKey, TAG_BYTES};
use crate::repository::vault::{CompressionLevel, Decoder, Encoder};
use crate::storage::{PutMode, Storage};
use std::time::Duration;

/// Bytes of the sample.
const SAMPLE_BYTES: usize = BENCHMARK_OBJECT_BYTES;
/// Bytes of a block that compresses, and of the one behind it that does not.
const TEXT_BLOCK_BYTES: usize = 64 << 10;

/// What to measure, and for how long.
pub struct Options<'a> {
    /// Time that has passed, since any moment.
    pub clock: &'a dyn Fn() -> Duration,
    /// How long each measurement goes on, at least; it is done once at any rate.
    pub at_least: Duration,
    /// Storages to measure too; of several, each measurement names its own.
    pub storages: &'a [&'a dyn Storage],
    /// Objects that are put in each and read.
    pub objects: u32,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was done.
    pub what: String,
    /// Bytes that went in; of decompression, that came out.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Of a compression, the bytes that came out.
    pub compressed_bytes: Option<u64>,
}

impl Row {
    /// Bytes in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Measures, and hands out each measurement as it is made.
///
/// # Errors
/// `Interrupted`; what `found` fails with; as the storage has it.
pub fn run(
    options: &Options<'_>,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<()> {
    let sample = sample();
    let meter = Meter { options, monitor };
    found(&meter.chunker(&sample)?)?;
    found(&meter.time("hash (keyed BLAKE3)", SAMPLE_BYTES, &mut || {
        for chunk in chunks(&sample) {
            std::hint::black_box(blake3::keyed_hash(&[7; 32], chunk));
        }
        Ok(())
    })?)?;
    meter.seals(&sample, found)?;
    for level in
        [CompressionLevel::Fast, CompressionLevel::Default, CompressionLevel::Better, CompressionLevel::Max]
    {
        meter.compression(&sample, level, found)?;
    }
    for storage in options.storages {
        meter.storage(*storage, &sample, &mut |row| match options.storages {
            [_] => found(row),
            _ => found(&Row { what: format!("{}: {}", storage.label(), row.what), ..row.clone() }),
        })?;
    }
    Ok(())
}

fn chunks(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    sample.chunks(CHUNK_AVERAGE_BYTES)
}

/// Half of it is random, half repeats words in an order that is not.
fn sample() -> Vec<u8> {
    let mut noise = vec![0; SAMPLE_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    for block in noise.chunks_mut(2 * TEXT_BLOCK_BYTES) {
        let (text, seed) = block.split_at_mut(TEXT_BLOCK_BYTES);
        for (line, seed) in text.chunks_mut(16).zip(seed.chunks(4)) {
            let word = format!("{:04x} = value {:02x};", u16::from(seed[0]) * 17 % 701, seed[1] % 23);
            line.copy_from_slice(
                &word.as_bytes().iter().copied().cycle().take(line.len()).collect::<Vec<_>>(),
            );
        }
    }
    noise
}

struct Meter<'a> {
    options: &'a Options<'a>,
    monitor: &'a dyn Monitor,
}

impl Meter<'_> {
    /// Does something again and again until it has taken long enough.
    fn time(&self, what: &str, bytes: usize, work: &mut dyn FnMut() -> Result<()>) -> Result<Row> {
        let begun = (self.options.clock)();
        let mut done = 0;
        loop {
            self.monitor.check()?;
            work()?;
            done += bytes as u64;
            let took = (self.options.clock)().saturating_sub(begun);
            if took >= self.options.at_least {
                return Ok(Row { what: what.to_owned(), bytes: done, took, compressed_bytes: None });
            }
        }
    }

    fn chunker(&self, sample: &[u8]) -> Result<Row> {
        let chunker = Chunker::new(&[7; 32]);
        self.time("cut into chunks", SAMPLE_BYTES, &mut || {
            let mut rest = sample;
            while !rest.is_empty() {
                let length = std::hint::black_box(chunker.cut(rest));
                rest = &rest[length..];
            }
            Ok(())
        })
    }

    fn seals(&self, sample: &[u8], found: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
        let key = SealKey::new(Cipher::Aes256Gcm, &seal::random()?)?;
        let mut buffer = Vec::with_capacity(CHUNK_AVERAGE_BYTES + TAG_BYTES);
        let row = self.time("encrypt (AES-256-GCM)", SAMPLE_BYTES, &mut || {
            for (counter, chunk) in chunks(sample).enumerate() {
                buffer.clear();
                buffer.extend_from_slice(chunk);
                key.seal(counter as u64, b"", &mut buffer, 0)?;
            }
            Ok(())
        })?;
        found(&row)?;
        // The same sealed bytes each time, from a copy, since they are opened in place.
        let mut sealed = sample[..CHUNK_AVERAGE_BYTES].to_vec();
        key.seal(0, b"", &mut sealed, 0)?;
        let row = self.time("decrypt (AES-256-GCM)", CHUNK_AVERAGE_BYTES, &mut || {
            buffer.clear();
            buffer.extend_from_slice(&sealed);
            key.open(0, b"", &mut buffer).map(|_| ()).ok_or_else(broken)
        })?;
        found(&row)
    }

    fn compression(
        &self,
        sample: &[u8],
        level: CompressionLevel,
        found: &mut dyn FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let mut encoder = Encoder::new(level, false)?;
        let (mut compressed_bytes, mut rounds) = (0u64, 0u64);
        let number = level.zstd_level().unwrap_or_default();
        let name = format!("compress {level} (zstd {number})");
        let row = self.time(&name, SAMPLE_BYTES, &mut || {
            rounds += 1;
            for chunk in chunks(sample) {
                compressed_bytes += encoder.encode(chunk)?.bytes.len() as u64;
            }
            Ok(())
        })?;
        let per_round = compressed_bytes / rounds.max(1);
        let compressed_bytes = Some(per_round.saturating_mul(row.bytes / SAMPLE_BYTES as u64));
        found(&Row { compressed_bytes, ..row })?;
        let chunk = &sample[..CHUNK_AVERAGE_BYTES];
        let frame = encoder.encode(chunk)?.bytes.to_vec();
        let (mut decoder, mut out) = (Decoder::new()?, Vec::new());
        let name = format!("decompress {level}");
        found(&self.time(&name, chunk.len(), &mut || decoder.decode(&frame, chunk.len(), &mut out))?)
    }

    fn storage(
        &self,
        storage: &dyn Storage,
        sample: &[u8],
        found: &mut dyn FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let trial: [u8; 8] = seal::random()?;
        let objects = self.options.objects.max(1);
        let measured = self.exchange(storage, trial, objects, sample, found);
        let mut removed = Ok(());
        for number in 0..objects {
            match names::trial(trial, number).and_then(|name| storage.delete(&name)) {
                // The first that was not put ends the row; others may not have been either.
                Err(error) if error.kind() != Kind::NotFound && removed.is_ok() => removed = Err(error),
                _ => {}
            }
        }
        measured.and(
            removed.map_err(|error: Error| error.while_doing("cannot remove", "objects of the benchmark")),
        )
    }

    fn exchange(
        &self,
        storage: &dyn Storage,
        trial: [u8; 8],
        objects: u32,
        sample: &[u8],
        found: &mut dyn FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let bytes = u64::from(objects) * sample.len() as u64;
        let timed = |what: &str, work: &mut dyn FnMut(u32) -> Result<()>| {
            let begun = (self.options.clock)();
            for number in 0..objects {
                self.monitor.check()?;
                work(number)?;
            }
            let took = (self.options.clock)().saturating_sub(begun);
            Ok::<Row, Error>(Row { what: what.to_owned(), bytes, took, compressed_bytes: None })
        };
        found(&timed("storage: put packs", &mut |number| {
            storage.put(&names::trial(trial, number)?, sample, PutMode::CreateNew)
        })?)?;
        found(&timed("storage: read packs", &mut |number| {
            let read = storage.read(&names::trial(trial, number)?, 0, sample.len())?;
            if read == sample { Ok(()) } else { Err(broken()) }
        })?)
    }
}

fn broken() -> Error {
    Error::new(Kind::Damaged, "what came back is not what was given")
        .hint("the storage, the memory or the processor of this machine may be faulty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Quiet;
    use crate::storage::memory::Memory;
    use crate::storage::{Depth, Storage};
    use std::cell::Cell;

    #[test]
    fn everything_is_measured_once_and_nothing_is_left_behind() {
        let (storage, other) = (Memory::new(), Memory::new());
        let now = Cell::new(Duration::ZERO);
        let clock = || {
            now.set(now.get() + Duration::from_millis(10));
            now.get()
        };
        let storages: [&dyn Storage; 2] = [&storage, &other];
        let options = Options { clock: &clock, at_least: Duration::ZERO, storages: &storages, objects: 2 };
        let mut rows = Vec::new();
        run(&options, &Quiet, &mut |row| {
            rows.push(row.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(rows.len(), 16);
        let named = format!("{}: ", other.label());
        assert!(rows[12..].iter().all(|row| row.what.starts_with(&named)), "{rows:?}");
        assert!(rows.iter().all(|row| row.took == Duration::from_millis(10) && row.bytes > 0));
        let compressed = rows.iter().filter_map(|row| row.compressed_bytes).collect::<Vec<_>>();
        assert!(compressed.len() == 4 && compressed.iter().all(|bytes| *bytes < SAMPLE_BYTES as u64 * 3 / 4));
        let mut left = 0;
        storage
            .list(None, Depth::All, &mut |_| {
                left += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(left, 0);
    }
}
