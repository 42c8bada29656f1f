//! Coding over a pipe: a writer at one end, workers that compress, storage at the other; and back.

use super::zstd::Decoder;
use super::{Compression, Compressor, block_decoder, decoder, frame};
use crate::error::{Error, Result};
use crate::limits::PIPE_ITEMS;
use crate::pipe::{
    BlockReader, BlockWriter, Pool, Receiver, Sender, run, run_mapped, run_mapped_partial, run_partial,
};
use std::io::{self, BufReader, Read};

/// How a stream is to be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub compression: Compression,
    /// The level; `None` for [`Compression::default_level`].
    pub level: Option<i32>,
    /// Threads that compress, at least one.
    pub workers: usize,
}

/// Codes what `write` writes and hands it to `store` piece by piece, in order: `write` runs in a thread of its own, compression
/// on workers, `store` on the caller's. Returns what `write` returned, once `store` has had everything.
///
/// Memory with two workers and blocks of 4 MiB: at most 6 blocks and as many results, and the [`Compressor`]s.
///
/// # Errors
/// The first failure of `write` or `store`; `Invalid` for a level that does not exist.
pub fn encode<A: Send>(
    encoding: Encoding,
    write: impl FnOnce(&mut BlockWriter<'_>) -> Result<A> + Send,
    mut store: impl FnMut(&[u8]) -> Result<()>,
) -> Result<A> {
    let (blocks, results) = (pool(encoding.workers), pool(encoding.workers));
    let plain = encoding.compression == Compression::None;
    let produce = |sender: &mut Sender<Vec<u8>>| {
        let mut writer = BlockWriter::new(blocks.clone(), |block| sender.send(block));
        let written = write(&mut writer)?;
        writer.finish()?;
        Ok(written)
    };
    let used = if plain { &blocks } else { &results };
    let consume = |receiver: &mut Receiver<Vec<u8>>| {
        while let Some(piece) = receiver.receive()? {
            store(&piece)?;
            used.give(piece);
        }
        Ok(())
    };
    let make_mapper = || {
        let mut compressor = Compressor::new(encoding.compression, encoding.level)?;
        let (blocks, results) = (blocks.clone(), results.clone());
        Ok(move |block: Vec<u8>| {
            let mut out = results.take();
            out.clear();
            compressor.compress(&block, &mut out)?;
            blocks.give(block);
            Ok(out)
        })
    };
    let (written, ()) = if plain {
        Compressor::new(encoding.compression, encoding.level)?;
        run(PIPE_ITEMS, produce, consume)?
    } else {
        run_mapped(PIPE_ITEMS, encoding.workers, produce, make_mapper, consume)?
    };
    Ok(written)
}

/// What becomes of the part of a stream that its reader did not want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It is read and checked to the end: damage anywhere is an error.
    Check,
    /// It is left alone.
    Skip,
}

/// Decodes what `source` gives and lets `consumer` read it. `source` is read and decoded in threads of its own, `workers` of
/// them for zstd streams made of frames with a known size as [`encode`] makes them, one for any other stream; `consumer` runs
/// on the caller's.
///
/// Memory with two workers: as for [`encode`], and for streams of other programs as for [`decoder`].
///
/// # Errors
/// The first failure of either side; those of the stream are as for [`decoder`]. With [`Rest::Skip`] damage beyond what the
/// consumer read is an error when it was noticed before the consumer ended.
pub fn decode<B>(
    compression: Compression,
    workers: usize,
    source: impl Read + Send,
    rest: Rest,
    consumer: impl FnOnce(&mut dyn Read) -> Result<B>,
) -> Result<B> {
    let blocks = pool(workers);
    let consume = |receiver: &mut Receiver<Vec<u8>>| {
        let mut reader = BlockReader::new(receiver, blocks.clone());
        let consumed = consumer(&mut reader)?;
        if rest == Rest::Check {
            io::copy(&mut reader, &mut io::sink())
                .map_err(|e| Error::io("cannot read the rest of", "a stream", e))?;
        }
        Ok(consumed)
    };
    let consumed = if compression == Compression::Zstd {
        decode_frames(workers, source, &blocks, consume)?
    } else {
        let produce = |sender: &mut Sender<Vec<u8>>| {
            let mut writer = BlockWriter::new(blocks.clone(), |block| sender.send(block));
            writer.append(&mut decoder(compression, BufReader::with_capacity(frame::READ_BYTES, source))?)?;
            writer.finish()
        };
        run_partial(PIPE_ITEMS, produce, consume)?.1
    };
    Ok(consumed)
}

/// Decodes what Freezer's rsync engines have encrypted, once it is plain: one stream, whose end may lack up to 15 bytes or be
/// filled up to a block of the cipher. A `consumer` that counts on the end has to know it by itself. Says beside what `consumer`
/// returned whether the end was lacking; that is not known, and false, when it did not read that far.
///
/// # Errors
/// As [`decode`]; `Unsupported` for a compression that those engines do not know.
pub fn decode_blocks<B>(
    compression: Compression,
    source: impl Read + Send,
    consumer: impl FnOnce(&mut dyn Read) -> Result<B>,
) -> Result<(B, bool)> {
    let blocks = pool(1);
    let produce = |sender: &mut Sender<Vec<u8>>| {
        let mut writer = BlockWriter::new(blocks.clone(), |block| sender.send(block));
        let source = BufReader::with_capacity(frame::READ_BYTES, source);
        let mut decoder = block_decoder(compression, source)?;
        writer.append(&mut decoder)?;
        writer.finish()?;
        Ok(decoder.lacks_end())
    };
    let consume =
        |receiver: &mut Receiver<Vec<u8>>| consumer(&mut BlockReader::new(receiver, blocks.clone()));
    let (lacks_end, consumed) = run_partial(PIPE_ITEMS, produce, consume)?;
    Ok((consumed, lacks_end.unwrap_or(false)))
}

fn decode_frames<B>(
    workers: usize,
    source: impl Read + Send,
    blocks: &Pool,
    consume: impl FnOnce(&mut Receiver<Vec<u8>>) -> Result<B>,
) -> Result<B> {
    let frames = pool(workers);
    let produce = |sender: &mut Sender<frame::Piece>| {
        let mut splitter = frame::Splitter::new(source, frames.clone(), blocks.clone());
        splitter.split(&mut |piece| sender.send(piece))
    };
    let make_mapper = || {
        let mut decoder = Decoder::new()?;
        let (frames, blocks) = (frames.clone(), blocks.clone());
        Ok(move |piece| match piece {
            frame::Piece::Decoded(block) => Ok(block),
            frame::Piece::Frame { bytes, content_bytes } => {
                let mut block = blocks.take();
                decoder.decode_frame(&bytes, content_bytes, &mut block)?;
                frames.give(bytes);
                Ok(block)
            }
        })
    };
    Ok(run_mapped_partial(PIPE_ITEMS, workers, produce, make_mapper, consume)?.1)
}

/// Enough buffers for everything that is under way between two ends with `workers` between them.
fn pool(workers: usize) -> Pool {
    Pool::new(PIPE_ITEMS.saturating_add(workers).saturating_add(2))
}
