//! Streams made of members: complete streams of one format, one behind the other, with or without padding.
//!
//! The libraries decode one member; what comes after it is decided here, once for all formats, so that none of them can take
//! a truncated stream for a short one. Invariant: `Ok(0)` is returned only when a member has just ended, at least one was seen,
//! and the input ended there (or in allowed padding).

use super::{Compression, damaged};
use crate::error::Result;
use std::io::{self, BufRead, Read};

/// What a step did.
pub(super) struct Step {
    /// Bytes of input used.
    pub read: usize,
    /// Bytes of output made.
    pub written: usize,
    /// Whether this was the end of the member.
    pub ended: bool,
}

/// Zero bytes behind a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// Not allowed.
    None,
    /// Any number of them, up to the end of the input: what tapes leave behind, and gzip passes over.
    ToTheEnd,
    /// Multiples of four, also between members (section 2.2 of the .xz file format).
    Words,
}

/// One format's way to decode one member.
pub(super) trait MemberDecoder {
    const COMPRESSION: Compression;
    const PADDING: Padding = Padding::None;

    /// Prepares for the next member.
    fn restart(&mut self) -> Result<()>;

    /// Decodes some of `input` into some of `output`, which is not empty. No input means that there is no more.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step>;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Inside,
    Between,
    Ended,
}

/// Where the members of an input end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// With the input.
    All,
    /// Behind the first; what follows is left alone.
    One,
    /// As [`Members::in_blocks`] says.
    Blocks,
}

/// The blocks of the cipher that Freezer's rsync engines put around a member.
const BLOCK_BYTES: usize = 16;

/// Decodes all members of an input.
pub(super) struct Members<R, D> {
    input: R,
    decoder: D,
    state: State,
    extent: Extent,
    /// Bytes of input used so far, where they come in blocks.
    used_bytes: u64,
    lacks_end: bool,
}

impl<R: BufRead, D: MemberDecoder> Members<R, D> {
    /// Decodes all of `input`.
    pub fn new(input: R, decoder: D) -> Self {
        Members::of(input, decoder, Extent::All)
    }

    /// Decodes one member, and leaves `input` behind it.
    pub fn only_one(input: R, decoder: D) -> Self {
        Members::of(input, decoder, Extent::One)
    }

    /// Decodes one member of an input that was written in blocks of 16 bytes by a program that filled up the last one (with
    /// bytes that say how many they are), or left out what did not fill one: up to 16 bytes behind the member are passed over, and
    /// a member without its end ends well where the input does, behind a whole block. Its checksum is held to if it is there.
    pub fn in_blocks(input: R, decoder: D) -> Self {
        Members::of(input, decoder, Extent::Blocks)
    }

    fn of(input: R, decoder: D, extent: Extent) -> Self {
        Members { input, decoder, state: State::Start, extent, used_bytes: 0, lacks_end: false }
    }

    /// Whether a member may lack its end where the input ends now: whole blocks were written.
    fn may_end_here(&self) -> bool {
        self.extent == Extent::Blocks && self.used_bytes.is_multiple_of(BLOCK_BYTES as u64)
    }

    /// Nothing but what fills up a block is behind the member.
    fn pass_over_filling(&mut self) -> Result<(), io::Error> {
        let mut filling = Vec::with_capacity(BLOCK_BYTES + 1);
        (&mut self.input).take(BLOCK_BYTES as u64 + 1).read_to_end(&mut filling)?;
        if filling.len() > BLOCK_BYTES || filling.iter().any(|byte| usize::from(*byte) != filling.len()) {
            return Err(damaged(D::COMPRESSION, "strange bytes behind its end").into());
        }
        Ok(())
    }

    /// Goes on to the next member, or finds that there is none.
    fn enter(&mut self) -> Result<(), io::Error> {
        if self.state == State::Between {
            self.skip_padding()?;
        }
        let empty = self.input.fill_buf()?.is_empty();
        self.state = match (self.state, empty) {
            (State::Start, true) => return Err(damaged(D::COMPRESSION, "there is nothing at all").into()),
            (_, true) => State::Ended,
            (_, false) => {
                self.decoder.restart()?;
                State::Inside
            }
        };
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<(), io::Error> {
        if D::PADDING == Padding::None {
            return Ok(());
        }
        let mut padding_bytes: u64 = 0;
        let ended = loop {
            let input = self.input.fill_buf()?;
            let zeros = input.iter().take_while(|byte| **byte == 0).count();
            let all = zeros == input.len();
            self.input.consume(zeros);
            padding_bytes = padding_bytes.wrapping_add(zeros as u64);
            match (all, zeros) {
                (true, 0) => break true,
                (true, _) => {}
                (false, _) => break false,
            }
        };
        let allowed = match D::PADDING {
            Padding::Words => padding_bytes.is_multiple_of(4),
            Padding::None | Padding::ToTheEnd => ended || padding_bytes == 0,
        };
        if allowed { Ok(()) } else { Err(damaged(D::COMPRESSION, "strange bytes behind its end").into()) }
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize, io::Error> {
        let input = self.input.fill_buf()?;
        let at_end = input.is_empty();
        let step = self.decoder.step(input, buffer)?;
        self.input.consume(step.read);
        self.used_bytes += step.read as u64;
        if step.ended {
            self.state = if self.extent == Extent::All { State::Between } else { State::Ended };
            if self.extent == Extent::Blocks {
                self.pass_over_filling()?;
            }
        } else if step.read == 0 && step.written == 0 && at_end && self.may_end_here() {
            self.state = State::Ended;
            self.lacks_end = true;
        } else if step.read == 0 && step.written == 0 {
            let why = if at_end { "it ends too early" } else { "it leads nowhere" };
            return Err(damaged(D::COMPRESSION, why).into());
        }
        Ok(step.written)
    }
}

/// Reads a member that may lack its end.
pub(super) trait ReadInBlocks: Read + Send {
    /// Whether it did, once all of it was read.
    fn lacks_end(&self) -> bool;
}

impl<R: BufRead + Send, D: MemberDecoder + Send> ReadInBlocks for Members<R, D> {
    fn lacks_end(&self) -> bool {
        self.lacks_end
    }
}

impl<R: BufRead, D: MemberDecoder> Read for Members<R, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Ended => return Ok(0),
                State::Start | State::Between => self.enter()?,
                State::Inside => {
                    let written = self.step(buffer)?;
                    if written > 0 {
                        return Ok(written);
                    }
                }
            }
        }
    }
}
