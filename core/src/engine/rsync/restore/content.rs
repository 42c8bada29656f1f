//! Making contents out of records: from the lowest level up, each from what the levels below made of it.

use super::super::content::hash_zeros;
use super::super::state::RowKind;
use super::super::stream::{Content, Operation, Record, StreamReader};
use super::{Need, Restore};
use crate::engine::{Chain, Reading};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::{Event, Monitor};
use crate::tree::attributes::Attributes;
use crate::tree::directory::lossy;
use crate::tree::target::{FileTarget, Files, There};
use std::io::Read;
use std::os::unix::fs::FileExt;

/// A file that a record makes.
struct Output<'m> {
    destination: u32,
    path: Vec<u8>,
    attributes: Attributes,
    /// The content that the state says, when this is the last record of its recipe.
    last: Option<Content>,
    /// `None` when nothing is written.
    file: Option<FileTarget<'m>>,
    /// What the levels below made of it.
    base: Option<There>,
    /// Of what was written, of a record that copies from what the levels below made: that stands where others may write, for each
    /// output in a file of its own.
    hasher: Option<blake3::Hasher>,
}

/// What an earlier level has made belongs to nobody else until it is whole.
const PRIVATE: u32 = 0o600;

impl<'m> Restore<'_, '_, 'm> {
    /// Reads the streams of the levels for what is needed of them.
    ///
    /// # Errors
    /// `Damaged` when a record is not there or a content is not what it should be; a full target, `Interrupted`; as the chain has
    /// it.
    pub(super) fn contents(&mut self, chain: &mut dyn Chain) -> Result<()> {
        let mut needs = std::mem::take(&mut self.needs);
        needs.sort_unstable();
        let levels = chain.levels();
        if needs.last().is_some_and(|need| need.level as usize >= levels) {
            return Err(Error::damaged("a level that is above it in", "the state of a level"));
        }
        let mut files = self.target.as_deref_mut().map(|target| target.files());
        let mut left = needs.as_slice();
        let mut buffer = vec![0; READ_BYTES];
        for level in 0..levels {
            let (mut of_level, above) =
                left.split_at(left.partition_point(|need| need.level as usize <= level));
            left = above;
            if of_level.is_empty() {
                continue;
            }
            chain.stream(level, &mut |input| {
                let reading = self.level(input, &mut of_level, files.as_mut(), &mut buffer)?;
                match of_level.first() {
                    Some(need) => Err(absent(need)),
                    None => Ok(reading),
                }
            })?;
        }
        Ok(())
    }

    /// Reads one stream, and takes off `needs` what was met.
    fn level(
        &mut self,
        input: &mut dyn Read,
        needs: &mut &[Need],
        mut files: Option<&mut Files<'m>>,
        buffer: &mut [u8],
    ) -> Result<Reading> {
        let mut stream = StreamReader::new(input)?;
        while let Some(record) = stream.next()? {
            self.job.monitor.check()?;
            match needs.first() {
                Some(need) if need.record < record.number => return Err(absent(need)),
                None if !self.job.wanted.is_everything() => return Ok(Reading::Enough),
                _ => {}
            }
            let count = needs.partition_point(|need| need.record <= record.number);
            let (met, rest) = needs.split_at(count);
            if !met.is_empty() {
                self.record(&mut stream, record, met, files.as_deref_mut(), buffer)?;
                *needs = rest;
            }
        }
        Ok(Reading::ToTheEnd)
    }

    fn record(
        &mut self,
        stream: &mut StreamReader<&mut dyn Read>,
        record: Record,
        needs: &[Need],
        mut files: Option<&mut Files<'m>>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut outputs = Vec::with_capacity(1);
        for need in needs {
            if self.failed.contains(&need.destination) {
                continue;
            }
            let (path, row) = self.destination(need.destination)?;
            let RowKind::File(file) = row.kind else { continue };
            let place =
                file.recipe.iter().position(|step| (step.level, step.record) == (need.level, need.record));
            let is_last = place == Some(file.recipe.len() - 1);
            let attributes =
                if is_last { row.attributes } else { Attributes { mode: PRIVATE, ..Attributes::default() } };
            let mut output = Output {
                destination: need.destination,
                path,
                attributes,
                last: is_last.then_some(file.content),
                file: None,
                base: None,
                hasher: record.base.map(|_| blake3::Hasher::new()),
            };
            let base = record.base.filter(|_| place != Some(0));
            let opened = files.as_deref_mut().map_or(Ok(()), |files| output.open(files, base));
            if self.keep(&output, opened)? {
                outputs.push(output);
            }
        }
        // Of what all outputs have alike.
        let (mut hasher, mut size_bytes) = (blake3::Hasher::new(), 0_u64);
        let is_alike = record.base.is_none();
        loop {
            self.job.monitor.check()?;
            match stream.operation()? {
                Operation::Data(bytes) => {
                    if is_alike {
                        hasher.update(bytes);
                    }
                    size_bytes += bytes.len() as u64;
                    self.each(&mut outputs, |output| output.write(bytes))?;
                }
                Operation::Hole(length_bytes) => {
                    let monitor = self.job.monitor;
                    if is_alike {
                        hash_zeros(&mut hasher, length_bytes, monitor)?;
                    }
                    size_bytes += length_bytes;
                    self.each(&mut outputs, |output| output.hole(length_bytes, monitor))?;
                }
                Operation::Copy { offset, length_bytes } => {
                    self.copy(&mut outputs, offset, length_bytes, buffer)?;
                    size_bytes += length_bytes;
                }
                Operation::Done(content) => {
                    let found = Content { size_bytes, hash: hasher.finalize() };
                    return self.finish(outputs, files.is_some().then_some(found), content);
                }
                Operation::GivenUp => {
                    return Err(Error::damaged("a record was given up that is needed, in", "the stream"));
                }
            }
        }
    }

    /// Copies from what the levels below have made of each output.
    fn copy(
        &mut self,
        outputs: &mut Vec<Output<'m>>,
        mut offset: u64,
        mut length_bytes: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        while length_bytes > 0 {
            self.job.monitor.check()?;
            let step = usize::try_from(length_bytes).unwrap_or(usize::MAX).min(buffer.len());
            let piece = &mut buffer[..step];
            self.each(outputs, |output| output.copy(offset, piece))?;
            if outputs.is_empty() {
                return Ok(());
            }
            offset += step as u64;
            length_bytes -= step as u64;
        }
        Ok(())
    }

    /// Gives whole contents their names.
    fn finish(&mut self, outputs: Vec<Output<'m>>, alike: Option<Content>, said: Content) -> Result<()> {
        for output in outputs {
            let expected = output.last.unwrap_or(said);
            let own = output.hasher.as_ref().map(blake3::Hasher::finalize);
            let found = alike.map(|alike| Content { hash: own.unwrap_or(alike.hash), ..alike });
            if said != expected || found.is_some_and(|found| found != said) {
                let what = "what the levels make of it is not the content that was backed up:";
                return Err(Error::damaged(what, lossy(&output.path)));
            }
            let Output { destination, path, attributes, last, file, base: _, hasher: _ } = output;
            let done = file.map_or(Ok(()), |file| file.finish(&attributes));
            if !self.of_one_path(&path, done)? {
                self.failed.insert(destination);
            } else if last.is_some() {
                self.job.monitor.event(Event::Entry { path: &path, bytes: said.size_bytes });
            }
        }
        Ok(())
    }

    /// Does something with every output; those that fail by themselves are told, and go.
    fn each(
        &mut self,
        outputs: &mut Vec<Output<'m>>,
        mut step: impl FnMut(&mut Output<'m>) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        while at < outputs.len() {
            let done = step(&mut outputs[at]);
            if self.keep(&outputs[at], done)? {
                at += 1;
            } else {
                outputs.swap_remove(at);
            }
        }
        Ok(())
    }

    /// Whether an output goes on.
    fn keep(&mut self, output: &Output<'m>, done: Result<()>) -> Result<bool> {
        let goes_on = self.of_one_path(&output.path, done)?;
        if !goes_on {
            self.failed.insert(output.destination);
        }
        Ok(goes_on)
    }
}

impl<'m> Output<'m> {
    fn open(&mut self, files: &mut Files<'m>, base: Option<Content>) -> Result<()> {
        if let Some(base) = base {
            let there = files.there(&self.path)?.filter(|there| there.found.size_bytes == base.size_bytes);
            self.base = Some(there.ok_or_else(|| changed(&self.path))?);
        }
        self.file = Some(files.create(&self.path, &self.attributes)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write(bytes))
    }

    fn hole(&mut self, length_bytes: u64, monitor: &dyn Monitor) -> Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hash_zeros(hasher, length_bytes, monitor)?;
        }
        self.file.as_mut().map_or(Ok(()), |file| file.hole(length_bytes))
    }

    fn copy(&mut self, offset: u64, piece: &mut [u8]) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let Some(base) = &self.base else {
            return Err(Error::damaged("a copy of what no level below has, in", "the stream"));
        };
        base.file.read_exact_at(piece, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => changed(&self.path),
            _ => Error::io("cannot read", lossy(&self.path), error),
        })?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        file.write(piece)
    }
}

fn changed(path: &[u8]) -> Error {
    Error::new(Kind::Changed, "was changed while it was restored:").on(lossy(path))
}

fn absent(need: &Need) -> Error {
    let what = format!("no record {} of level {} in", need.record, need.level);
    Error::damaged(what, "the stream")
}
