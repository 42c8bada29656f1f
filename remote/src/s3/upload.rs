//! Long objects: bytes are gathered into parts, a few of which are under way at a time, and become an object at the end.
//!
//! Invariants: what the server has not confirmed is kept and sent again by itself; what is kept is bounded
//! ([`S3_PARTS_UNDERWAY_BYTES`], and one part that is being filled). Whether an end whose answer was lost has come to be is
//! told by a random mark that the object carries. A writer that is dropped takes back what it has sent, unless the server may be
//! putting it together: to abort then may cost the object, which the server may have.

use super::answer::Element;
use super::failure::Fault;
use super::request::{ALGORITHM, Answer, Request};
use super::{Bucket, MARK, taken, unexpected};
use crate::bridge;
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{
    S3_PART_BYTES, S3_PART_GROWTH, S3_PART_MAX_BYTES, S3_PARTS, S3_PARTS_UNDERWAY, S3_PARTS_UNDERWAY_BYTES,
};
use icecore::storage::{ObjectWriter, PutMode};
use quick_xml::escape::escape;
use reqwest::Method;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How much longer a server may take to put an object together, for each of its parts.
const JOIN: Duration = Duration::from_secs(1);

/// One long object on its way.
pub(super) struct Writer {
    bucket: Arc<Bucket>,
    key: String,
    mode: PutMode,
    mark: String,
    /// What has not been sent.
    piece: Vec<u8>,
    /// How long that gets before it is sent.
    full: usize,
    /// All bytes that were written.
    written: u64,
    /// The upload, once one was begun.
    id: Option<String>,
    underway: VecDeque<Underway>,
    parts: Vec<Part>,
}

/// A part on its way.
struct Underway {
    request: Request,
    task: JoinHandle<Result<Answer>>,
}

/// A part that has arrived.
struct Part {
    etag: String,
    checksum: Option<String>,
}

impl Writer {
    /// Begins, without telling the server.
    pub(super) fn new(bucket: Arc<Bucket>, key: String, mode: PutMode) -> Result<Writer> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Error::new(Kind::Io, "the system gives no random bytes"))?;
        let mark = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let full = part_bytes(0, bucket.client.place.part_bytes);
        Ok(Writer {
            bucket,
            key,
            mode,
            mark,
            piece: Vec::new(),
            full,
            written: 0,
            id: None,
            underway: VecDeque::new(),
            parts: Vec::new(),
        })
    }

    /// Tells the server; the id that it gives.
    fn begin(&self) -> Result<String> {
        let request =
            Request::new(Method::POST, Some(&self.key)).query("uploads", "").header(MARK, &self.mark)?;
        let mut request = self.bucket.classed(request)?;
        if self.bucket.client.place.is_aws() {
            request = request.header("x-amz-checksum-algorithm", ALGORITHM)?;
        }
        // An upload that was begun twice leaves an empty one behind, which `clean_temporaries` finds.
        self.bucket.patience.retrying(&self.key, |_| {
            let answer = self.bucket.client.ask(&request)?.success()?;
            let root = Element::read(&answer.body)?;
            let id = root.text("UploadId").filter(|id| !id.is_empty());
            Ok(id.ok_or_else(|| unexpected("the server gives an upload no name"))?.to_owned())
        })
    }

    /// Sends what was gathered as the next part.
    fn send(&mut self) -> Result<()> {
        let id = match self.id.clone() {
            Some(id) => id,
            None => self.begin()?,
        };
        self.id = Some(id.clone());
        let number = self.parts.len() + self.underway.len() + 1;
        if number > S3_PARTS {
            let error = Error::new(Kind::Limit, "more parts of one object than").on(S3_PARTS.to_string());
            return Err(error.hint("add a larger part-size to the address, or leave it out"));
        }
        self.make_room(self.piece.len())?;
        let body = Bytes::from(std::mem::take(&mut self.piece));
        self.full = part_bytes(self.written, self.bucket.client.place.part_bytes);
        self.piece = Vec::with_capacity(self.full);
        let request = Request::new(Method::PUT, Some(&self.key))
            .query("partNumber", number.to_string())
            .query("uploadId", id);
        let client = &self.bucket.client;
        // Other servers want to be told of checksums when an upload begins, each in its own way.
        let request = match client.place.is_aws() {
            true => request.content(body, client.is_private)?,
            false => request.body(body),
        };
        let (bucket, sent) = (Arc::clone(&self.bucket), request.clone());
        let task = bridge::runtime()?.spawn(async move { bucket.client.answer(&sent).await?.success() });
        self.underway.push_back(Underway { request, task });
        Ok(())
    }

    /// Waits until another part may be under way.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let sum =
            |underway: &VecDeque<Underway>| underway.iter().map(|part| part.request.length()).sum::<usize>();
        while self.underway.len() >= S3_PARTS_UNDERWAY
            || !self.underway.is_empty() && sum(&self.underway) + bytes > S3_PARTS_UNDERWAY_BYTES
        {
            self.settle()?;
        }
        Ok(())
    }

    /// Waits for the oldest part under way, and sends it again as long as that may help.
    fn settle(&mut self) -> Result<()> {
        let Some(Underway { request, task }) = self.underway.pop_front() else { return Ok(()) };
        let first = bridge::runtime()?.block_on(task);
        let mut first = Some(first.unwrap_or_else(|_| Err(Error::stopped())));
        let answer = self.bucket.patience.retrying(&self.key, |_| match first.take() {
            Some(outcome) => outcome,
            None => self.bucket.client.ask(&request)?.success(),
        })?;
        let etag = answer.header("etag").filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| unexpected("the server does not say what it has taken"))?.to_owned();
        self.parts.push(Part { etag, checksum: request.checksum() });
        Ok(())
    }

    /// An object that was no longer than a part.
    fn store(&mut self) -> Result<()> {
        let body = Bytes::from(std::mem::take(&mut self.piece));
        let length = body.len() as u64;
        self.bucket.patience.retrying(&self.key, |again| {
            match self.bucket.put(&self.key, body.clone(), self.mode, Some(&self.mark)) {
                // By an attempt whose answer was lost.
                Err(e) if again && e.kind() == Kind::AlreadyExists => {
                    if self.bucket.is_marked(&self.key, &self.mark, length)? { Ok(()) } else { Err(e) }
                }
                other => other,
            }
        })
    }

    /// Makes the parts an object. After a failure `in_doubt` says whether the server may have done it, or do it yet.
    fn complete(&self, id: &str, in_doubt: &mut bool) -> Result<()> {
        let is_new = self.mode == PutMode::CreateNew;
        let is_aws = self.bucket.client.place.is_aws();
        let wait = JOIN * u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let request =
            Request::new(Method::POST, Some(&self.key)).query("uploadId", id).body(self.list().into());
        let request = request.patience(wait).once();
        let conditional = request.clone().header("if-none-match", "*")?;
        let mut is_conditional = is_new;
        self.bucket.patience.retrying(&self.key, |again| {
            // What other servers make of the condition is not known.
            if again || is_new && !is_aws {
                match self.bucket.look(&self.key)? {
                    Some(seen) if seen.is(&self.mark, self.written) => return Ok(()),
                    Some(_) if is_new => return Err(taken()),
                    _ => (),
                }
            }
            let first = if is_conditional { &conditional } else { &request };
            let mut objected = self.end(first, in_doubt)?;
            if is_conditional && objected.as_ref().is_some_and(Fault::is_not_implemented) {
                is_conditional = false;
                objected = self.end(&request, in_doubt)?;
            }
            let Some(fault) = objected else { return Ok(()) };
            if fault.is_precondition() {
                return Err(taken());
            }
            if is_new && fault.is_conflict() && self.bucket.look(&self.key)?.is_some() {
                return Err(taken());
            }
            Err(fault.error())
        })
    }

    /// Asks for the end of the upload once; what the server has against it.
    fn end(&self, request: &Request, in_doubt: &mut bool) -> Result<Option<Fault>> {
        // From here on, until the server has refused; not even that says anything of an earlier attempt.
        let before = std::mem::replace(in_doubt, true);
        let objected = objection(&self.bucket.client.ask(request)?)?;
        if objected.as_ref().is_some_and(Fault::is_refusal) {
            *in_doubt = before;
        }
        Ok(objected)
    }

    /// What the object is made of.
    fn list(&self) -> String {
        let mut list =
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for (number, part) in self.parts.iter().enumerate() {
            list.push_str("<Part>");
            if let Some(checksum) = &part.checksum {
                list.push_str(&format!("<Checksum{ALGORITHM}>{checksum}</Checksum{ALGORITHM}>"));
            }
            let (etag, number) = (escape(part.etag.as_str()), number + 1);
            list.push_str(&format!("<ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"));
        }
        list.push_str("</CompleteMultipartUpload>");
        list
    }

    /// That all of it is there.
    fn confirm(&self) -> Result<()> {
        let bucket = &self.bucket;
        let Some(seen) = bucket.patience.retrying(&self.key, |_| bucket.look(&self.key))? else {
            return Err(Error::damaged("the object is not there after the server has taken it", ""));
        };
        // Replaced by somebody else already.
        if seen.size_bytes == self.written || seen.mark.as_deref().is_some_and(|mark| mark != self.mark) {
            return Ok(());
        }
        let error = Error::damaged(
            "the server made another object of the parts:",
            format!("{} bytes", seen.size_bytes),
        );
        // What does not carry the mark may be what somebody else has put there meanwhile.
        if seen.mark.as_deref() != Some(self.mark.as_str()) {
            return Err(error);
        }
        let delete = Request::new(Method::DELETE, Some(&self.key));
        bucket
            .client
            .ask(&delete)
            .and_then(Answer::success)
            .map_err(|e| e.while_doing("cannot delete", &self.key))?;
        Err(error)
    }
}

/// What the server has against an end. It may only find out after it has begun to answer.
fn objection(answer: &Answer) -> Result<Option<Fault>> {
    if !answer.status.is_success() {
        return Ok(Some(answer.fault()));
    }
    match Element::read(&answer.body) {
        Ok(root) if root.name() == "CompleteMultipartUploadResult" => Ok(None),
        Ok(root) if root.name() == "Error" => Ok(Some(answer.fault())),
        _ => Err(unexpected("the server does not say what became of the parts")),
    }
}

/// How long the part is that begins at `offset`: parts grow with the object, so that there are never too many.
fn part_bytes(offset: u64, fixed: Option<usize>) -> usize {
    const MIB: u64 = 1 << 20;
    let grown = (offset / S3_PART_GROWTH).div_ceil(MIB) * MIB;
    let grown = usize::try_from(grown).unwrap_or(S3_PART_MAX_BYTES).clamp(S3_PART_BYTES, S3_PART_MAX_BYTES);
    fixed.unwrap_or(grown)
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Only when there is more: the last part is never empty.
            if self.piece.len() >= self.full {
                self.send()?;
            }
            let (now, later) = rest.split_at(rest.len().min(self.full - self.piece.len()));
            self.piece.extend_from_slice(now);
            self.written += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.id.is_none() {
            return self.store();
        }
        self.send()?;
        while !self.underway.is_empty() {
            self.settle()?;
        }
        // There is nothing to take back once it is an object, or may be.
        if let Some(id) = self.id.take() {
            let mut in_doubt = false;
            if let Err(error) = self.complete(&id, &mut in_doubt) {
                match in_doubt {
                    false => self.id = Some(id),
                    true => (self.bucket.warn)(&format!(
                        "whether {} ({}) was put together is not known; 'check --clean' takes away later what is left of it",
                        self.key, self.bucket.label
                    )),
                }
                return Err(error);
            }
        }
        self.confirm()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.underway.drain(..).for_each(|part| part.task.abort());
        if let Some(id) = self.id.take()
            && let Err(error) = self.bucket.abort(&self.key, &id)
        {
            (self.bucket.warn)(&format!(
                "cannot take back what was sent of {} ({}): {error}; 'check --clean' does it later",
                self.key, self.bucket.label
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_are_enough_for_the_largest_object() {
        let mut offset = 0;
        for _ in 0..S3_PARTS {
            offset += part_bytes(offset, None) as u64;
        }
        assert!(offset >= 5 << 40, "{offset}");
        assert_eq!(part_bytes(0, None), S3_PART_BYTES);
        assert_eq!(part_bytes(7 << 30, None), S3_PART_BYTES);
        assert!(part_bytes(100 << 30, None) <= 104 << 20);
        assert_eq!(part_bytes(u64::MAX, None), S3_PART_MAX_BYTES);
        assert_eq!(part_bytes(1 << 50, Some(5 << 20)), 5 << 20);
    }
}
