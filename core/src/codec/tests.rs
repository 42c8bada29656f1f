//! Round trips, the real programs both ways, and every way a stream can be broken.

use super::*;
use crate::limits::{BLOCK_BYTES, PARALLEL_FRAME_BYTES};
use proptest::prelude::*;
use std::io::{self, Cursor, Write};
use std::process::{Command, Stdio};

const FORMATS: [Compression; 4] = [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

fn compress(compression: Compression, blocks: &[&[u8]]) -> Vec<u8> {
    let mut compressor = Compressor::new(compression, None).unwrap();
    let mut out = Vec::new();
    for block in blocks {
        compressor.compress(block, &mut out).unwrap();
    }
    out
}

fn read(compression: Compression, stream: &[u8]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let result = decoder(compression, stream)?.read_to_end(&mut all);
    result.map_err(|e| Error::io("cannot read", "test", e))?;
    Ok(all)
}

fn read_in_parallel(compression: Compression, stream: &[u8]) -> Result<Vec<u8>> {
    decode(compression, 2, stream, Rest::Check, |reader| {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map_err(|e| Error::io("cannot read", "test", e))?;
        Ok(all)
    })
}

/// Bytes that compress about as well as `noise` in 256 says, the same for the same seed.
fn content(length: usize, noise: u8, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length).map(|n| if (next() >> 32) as u8 <= noise { next() as u8 } else { n as u8 & 0x1F }).collect()
}

#[test]
fn names_are_freezers() {
    for compression in Compression::ALL {
        assert_eq!(Compression::parse(compression.name()).unwrap(), compression);
        assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
        assert!(compression.levels().contains(&compression.default_level()));
    }
    for bad in ["", "GZIP", "gz", "lzma"] {
        assert_eq!(Compression::parse(bad).unwrap_err().kind(), Kind::Unsupported, "{bad:?}");
    }
}

#[test]
fn every_level_works_and_no_other() {
    let block = content(100_000, 40, 1);
    for compression in Compression::ALL {
        for level in compression.levels() {
            let mut out = Vec::new();
            Compressor::new(compression, Some(level)).unwrap().compress(&block, &mut out).unwrap();
            assert_eq!(read(compression, &out).unwrap(), block, "{compression} {level}");
        }
        for level in [compression.levels().start() - 1, compression.levels().end() + 1] {
            assert_eq!(Compressor::new(compression, Some(level)).err().unwrap().kind(), Kind::Invalid);
        }
    }
}

#[test]
fn results_are_appended_and_contexts_used_again() {
    let (one, two) = (content(5000, 255, 1), content(70_000, 10, 2));
    for compression in Compression::ALL {
        let stream = compress(compression, &[&one, b"", &two, &one]);
        let whole = [one.as_slice(), &two, &one].concat();
        assert_eq!(read(compression, &stream).unwrap(), whole, "{compression}");
        assert_eq!(read_in_parallel(compression, &stream).unwrap(), whole, "{compression}");
    }
}

#[test]
fn an_empty_stream_has_a_member_and_no_bytes_are_no_stream() {
    for compression in FORMATS {
        let stream = compress(compression, &[b""]);
        assert!(!stream.is_empty());
        assert_eq!(read(compression, &stream).unwrap(), b"");
        assert_eq!(read_in_parallel(compression, &stream).unwrap(), b"");
        assert_eq!(read(compression, b"").unwrap_err().kind(), Kind::Damaged);
        assert_eq!(read_in_parallel(compression, b"").unwrap_err().kind(), Kind::Damaged);
    }
    assert_eq!(read(Compression::None, b"").unwrap(), b"");
    assert_eq!(read_in_parallel(Compression::None, b"").unwrap(), b"");
}

#[test]
fn blocks_of_every_size_around_the_border_pass_through_workers() {
    for compression in Compression::ALL {
        // The slow formats get the sizes that matter most.
        let sizes: &[usize] = match compression {
            Compression::Xz | Compression::Bzip2 => &[0, BLOCK_BYTES + 1],
            _ => &[0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 3],
        };
        for &size in sizes {
            let whole = content(size, if size % 2 == 0 { 5 } else { 255 }, size as u64);
            let mut stored = Vec::new();
            let encoding = Encoding { compression, level: None, workers: 2 };
            let written = encode(
                encoding,
                |writer| {
                    writer.write_all(&whole).map_err(|e| Error::io("write", "", e))?;
                    Ok(writer.position())
                },
                |piece| {
                    stored.extend_from_slice(piece);
                    Ok(())
                },
            );
            assert_eq!(written.unwrap(), size as u64);
            assert!(read_in_parallel(compression, &stored).unwrap() == whole, "{compression} {size}");
            assert!(read(compression, &stored).unwrap() == whole, "{compression} {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_goes_in_comes_out(
        pieces in prop::collection::vec((0usize..60_000, any::<u8>(), any::<u64>()), 1..4),
        compression in prop::sample::select(Compression::ALL.to_vec()),
        chunk in 1usize..5000,
    ) {
        let blocks: Vec<Vec<u8>> = pieces.iter().map(|(length, noise, seed)| content(*length, *noise, *seed)).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let stream = compress(compression, &blocks);
        let dribble = io::BufReader::with_capacity(chunk, stream.as_slice());
        let mut all = Vec::new();
        decoder(compression, dribble).unwrap().read_to_end(&mut all).unwrap();
        prop_assert_eq!(&all, &blocks.concat());
        prop_assert_eq!(read_in_parallel(compression, &stream).unwrap(), blocks.concat());
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), keep in 0usize..12) {
        for compression in FORMATS {
            let mut stream = compress(compression, &[b"begin"]);
            stream.truncate(keep);
            stream.extend_from_slice(&bytes);
            prop_assert_eq!(read(compression, &stream).is_ok(), read_in_parallel(compression, &stream).is_ok());
        }
    }
}

/// Small streams with more than one member and both sorts of content.
fn small(compression: Compression) -> (Vec<u8>, Vec<u8>) {
    let (one, two) = (content(300, 20, 3), content(90, 255, 4));
    (compress(compression, &[&one, &two]), [one, two].concat())
}

#[test]
fn every_truncation_is_damage() {
    for compression in FORMATS {
        let (stream, whole) = small(compression);
        let first = compress(compression, &[&whole[..300]]).len();
        for length in (0..stream.len()).filter(|length| *length != first) {
            for result in
                [read(compression, &stream[..length]), read_in_parallel(compression, &stream[..length])]
            {
                assert_eq!(
                    result.unwrap_err().kind(),
                    Kind::Damaged,
                    "{compression} {length} of {}",
                    stream.len()
                );
            }
        }
    }
}

#[test]
fn no_flipped_bit_gives_other_bytes() {
    for compression in FORMATS {
        let (stream, whole) = small(compression);
        for bit in 0..stream.len() * 8 {
            let mut flipped = stream.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            for result in [read(compression, &flipped), read_in_parallel(compression, &flipped)] {
                match result {
                    Ok(bytes) => assert_eq!(bytes, whole, "{compression} bit {bit} changed the content"),
                    Err(error) => {
                        let kinds = [Kind::Damaged, Kind::Limit, Kind::Unsupported];
                        assert!(kinds.contains(&error.kind()), "{compression} bit {bit}: {error:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn strange_bytes_behind_the_end_are_damage_and_padding_is_not() {
    for compression in FORMATS {
        let (stream, whole) = small(compression);
        for tail in [&b"\x01"[..], b"garbage", b"\0\0\0\0\0\0x", b"\0\0\0\0x"] {
            let long = [stream.as_slice(), tail].concat();
            for result in [read(compression, &long), read_in_parallel(compression, &long)] {
                assert_eq!(result.unwrap_err().kind(), Kind::Damaged, "{compression} {tail:?}");
            }
        }
        for zeros in [1usize, 4, 6, 512] {
            let long = [stream.as_slice(), &vec![0; zeros]].concat();
            let allowed = match compression {
                Compression::Gzip => true,
                Compression::Xz => zeros % 4 == 0,
                _ => false,
            };
            match read(compression, &long) {
                Ok(bytes) => assert!(allowed && bytes == whole, "{compression} {zeros}"),
                Err(error) => assert!(!allowed && error.kind() == Kind::Damaged, "{compression} {zeros}"),
            }
        }
    }
    let (stream, whole) = small(Compression::Xz);
    let padded_between = [stream.as_slice(), &[0; 8], &stream].concat();
    assert_eq!(read(Compression::Xz, &padded_between).unwrap(), [whole.as_slice(), &whole].concat());
}

#[test]
fn errors_of_the_source_are_passed_on_as_they_are() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(Kind::Denied, "no key for").on("data").into())
        }
    }
    for compression in Compression::ALL {
        let (stream, _) = small(compression);
        let half = Cursor::new(stream[..stream.len() / 2].to_vec());
        let result = decode(compression, 2, half.chain(Broken), Rest::Check, |_| Ok(()));
        assert_eq!(result.unwrap_err().kind(), Kind::Denied, "{compression}");
    }
}

#[test]
fn what_the_reader_did_not_want_is_checked_when_that_is_asked_for() {
    for compression in FORMATS {
        let whole = content(200_000, 255, 9);
        let blocks: Vec<&[u8]> = whole.chunks(20_000).collect();
        let mut stream = compress(compression, &blocks);
        let first = |reader: &mut dyn Read| {
            let mut bytes = [0; 100];
            reader.read_exact(&mut bytes).map_err(|e| Error::io("cannot read", "test", e))?;
            Ok(bytes)
        };
        assert_eq!(decode(compression, 2, stream.as_slice(), Rest::Skip, first).unwrap(), whole[..100]);
        assert_eq!(decode(compression, 2, stream.as_slice(), Rest::Check, first).unwrap(), whole[..100]);
        let at = stream.len() - 10_000;
        stream[at] ^= 4;
        let error = decode(compression, 2, stream.as_slice(), Rest::Check, first).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{compression}");
    }
}

#[test]
fn failures_at_either_end_of_encode_come_out() {
    let encoding = Encoding { compression: Compression::Zstd, level: Some(1), workers: 2 };
    let fail = |what: &str| Error::new(Kind::NoSpace, what);
    let lots = vec![1; BLOCK_BYTES];
    let error = encode(encoding, |_| Err::<(), _>(fail("writing")), |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "writing");
    let write = |writer: &mut crate::pipe::BlockWriter<'_>| -> Result<()> {
        loop {
            writer.write_all(&lots).map_err(|e| Error::io("cannot write", "", e))?;
        }
    };
    let error = encode(encoding, write, |_| Err(fail("storing"))).unwrap_err();
    assert_eq!(error.to_string(), "storing");
    let encoding = Encoding { level: Some(99), ..encoding };
    assert_eq!(encode(encoding, |_| Ok(()), |_| Ok(())).unwrap_err().kind(), Kind::Invalid);
}

/// zstd frames that cannot go to workers: without a size, larger than a worker takes, between others and things to skip.
#[test]
fn frames_of_every_sort_keep_their_order() {
    let (small, large) = (content(1000, 30, 1), content(PARALLEL_FRAME_BYTES + 1, 1, 2));
    let sized = compress(Compression::Zstd, &[&small]);
    let sizeless = zstd_without_size(&small);
    let skipped = [&0x184D_2A53u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"notes"].concat();
    let huge = compress(Compression::Zstd, &[&large]);
    let stream = [&sized, &skipped, &sizeless, &sized, &huge, &sizeless, &skipped]
        .map(|part| part.as_slice())
        .concat();
    let whole = [&small, &small, &small, &large, &small].map(|part| part.as_slice()).concat();
    assert!(read(Compression::Zstd, &stream).unwrap() == whole);
    assert!(read_in_parallel(Compression::Zstd, &stream).unwrap() == whole);
    for cut in 1..skipped.len() {
        let error = read_in_parallel(Compression::Zstd, &stream[..stream.len() - cut]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
    }
}

/// A frame that says it holds nothing and goes on for ever: cut out whole it would fill the memory.
#[test]
fn a_frame_of_countless_empty_blocks_is_decoded_as_a_stream() {
    let count = ::zstd::zstd_safe::compress_bound(PARALLEL_FRAME_BYTES) / 3 + 10;
    let mut stream = vec![0x28, 0xB5, 0x2F, 0xFD, 0x20, 0];
    stream.resize(stream.len() + 3 * count, 0);
    stream.extend_from_slice(&[1, 0, 0]);
    let tail = compress(Compression::Zstd, &[b"tail"]);
    stream.extend_from_slice(&tail);
    assert_eq!(read(Compression::Zstd, &stream).unwrap(), b"tail");
    assert_eq!(read_in_parallel(Compression::Zstd, &stream).unwrap(), b"tail");
}

fn zstd_without_size(content: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A stream that asks for more memory than we give.
#[test]
fn greedy_streams_are_refused() {
    let mut context = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    context.window_log(crate::limits::ZSTD_WINDOW_LOG + 1).unwrap();
    context.write_all(&content(1000, 9, 1)).unwrap();
    let stream = context.finish().unwrap();
    assert_eq!(read(Compression::Zstd, &stream).unwrap_err().kind(), Kind::Limit);
    assert_eq!(read_in_parallel(Compression::Zstd, &stream).unwrap_err().kind(), Kind::Limit);
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(256 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let mut encoder =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
    let mut stream = Vec::with_capacity(1000);
    encoder.process_vec(b"x", &mut stream, liblzma::stream::Action::Finish).unwrap();
    assert_eq!(read(Compression::Xz, &stream).unwrap_err().kind(), Kind::Limit);
}

/// Runs a real program over `input`. `None` when it is missing, which only a machine that is not CI may be forgiven.
fn program(name: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            io::stderr().write_all(format!("not run: {name} missing\n").as_bytes()).unwrap();
            return None;
        }
        Err(error) => panic!("cannot run {name}: {error}"),
    };
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{name} {arguments:?} refused: {}", output.status);
    Some(output.stdout)
}

#[test]
fn the_real_programs_read_what_we_write() {
    for compression in FORMATS {
        for blocks in [
            vec![content(0, 0, 0)],
            vec![content(300_000, 40, 5), content(100_000, 255, 6), content(1, 0, 7)],
        ] {
            let parts: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let stream = compress(compression, &parts);
            if let Some(bytes) = program(compression.name(), &["-dc"], &stream) {
                assert!(bytes == blocks.concat(), "{compression}");
            }
        }
    }
}

#[test]
fn we_read_what_the_real_programs_write() {
    let whole = content(3_000_000, 30, 8);
    let ways: [(Compression, &[&str]); 12] = [
        (Compression::Gzip, &["-c"]),
        (Compression::Gzip, &["-1c"]),
        (Compression::Gzip, &["-9c"]),
        (Compression::Bzip2, &["-c"]),
        (Compression::Bzip2, &["-1c"]),
        (Compression::Xz, &["-c"]),
        (Compression::Xz, &["-c", "-T2", "--block-size=700000"]),
        (Compression::Xz, &["-0c", "--check=crc32"]),
        (Compression::Xz, &["-1c", "--check=sha256"]),
        (Compression::Zstd, &["-c"]),
        (Compression::Zstd, &["-c", "--long=27", "-T2"]),
        (Compression::Zstd, &["-c", "--no-check", "-1"]),
    ];
    for (compression, arguments) in ways {
        for input in [&whole[..], &whole[..100_000], b""] {
            let Some(stream) = program(compression.name(), arguments, input) else { continue };
            assert!(read(compression, &stream).unwrap() == input, "{compression} {arguments:?}");
            assert!(read_in_parallel(compression, &stream).unwrap() == input, "{compression} {arguments:?}");
            let twice = [stream.as_slice(), &stream].concat();
            assert!(
                read(compression, &twice).unwrap() == [input, input].concat(),
                "{compression} {arguments:?}"
            );
        }
    }
}
