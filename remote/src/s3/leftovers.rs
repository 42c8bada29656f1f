//! Uploads that killed programs left: parts that nobody sees, and everybody pays for.

use super::answer::{self, Key, Unfinished};
use super::request::Request;
use super::{Bucket, unexpected};
use icecore::error::Result;
use icecore::time::Timestamp;
use reqwest::Method;

impl Bucket {
    /// Aborts the uploads below the root to which nothing was written since `before`; gives how many.
    pub(super) fn clean(&self, before: Timestamp) -> Result<u64> {
        let root = self.client.place.root.as_str();
        let mut aborted = 0;
        let mut after: Option<(String, String)> = None;
        loop {
            // Keys as they are: Ceph encodes those of uploads when it is asked to, and does not say so.
            let mut request = Request::new(Method::GET, None).query("uploads", "");
            if !root.is_empty() {
                request = request.query("prefix", root);
            }
            if let Some((key, id)) = &after {
                request = request.query("key-marker", key.as_str());
                if !id.is_empty() {
                    request = request.query("upload-id-marker", id.as_str());
                }
            }
            let answer = self.client.ask(&request)?;
            if !answer.status.is_success() && answer.fault().is_not_implemented() {
                return Ok(aborted);
            }
            let page = answer::uploads(&answer.success()?.body)?;
            for upload in page.uploads {
                aborted += u64::from(self.clean_one(root, &upload, before)?);
            }
            match page.next {
                None => return Ok(aborted),
                next if next == after => {
                    return Err(unexpected("the server gives the same page of a list twice"));
                }
                next => after = next,
            }
        }
    }

    fn clean_one(&self, root: &str, upload: &Unfinished, before: Timestamp) -> Result<bool> {
        // A key that is not text is nobody's of ours.
        let Key::Text(key) = &upload.key else { return Ok(false) };
        if !key.starts_with(root) || upload.begun >= before || !self.rests(key, &upload.id, before)? {
            return Ok(false);
        }
        self.abort(key, &upload.id)
    }

    /// Whether no part was written since `before`, as far as the server tells.
    fn rests(&self, key: &str, id: &str, before: Timestamp) -> Result<bool> {
        let mut after: Option<String> = None;
        loop {
            let mut request = Request::new(Method::GET, Some(key)).query("uploadId", id);
            if let Some(number) = &after {
                request = request.query("part-number-marker", number.as_str());
            }
            let answer = self.client.ask(&request)?;
            if !answer.status.is_success() {
                let fault = answer.fault();
                // Gone meanwhile; or nobody can say, and then it stays.
                return if fault.is_no_upload() || fault.is_not_implemented() {
                    Ok(false)
                } else {
                    Err(fault.error())
                };
            }
            let page = answer::parts(&answer.body)?;
            if page.latest.is_some_and(|latest| latest >= before) {
                return Ok(false);
            }
            match page.next {
                None => return Ok(true),
                next if next == after => {
                    return Err(unexpected("the server gives the same page of a list twice"));
                }
                next => after = next,
            }
        }
    }

    /// Gives up an upload; whether there was one.
    pub(super) fn abort(&self, key: &str, id: &str) -> Result<bool> {
        let answer = self.client.ask(&Request::new(Method::DELETE, Some(key)).query("uploadId", id))?;
        if answer.status.is_success() {
            return Ok(true);
        }
        let fault = answer.fault();
        if fault.is_no_upload() { Ok(false) } else { Err(fault.error()) }
    }
}
