//! What rclone is told by its remote control, one function each, and what it answers.
//!
//! Invariants: an answer that is not understood is an error; a range is what rclone says it is, or an error, and one beyond the end is
//! told by asking for the length, since rclone's answer to it is not valid.

use super::in_the_way;
use super::process::{USER, unguessable};
use crate::access::{Secret, Timeouts};
use crate::http::{Http, Response, limited, read_body_limited, read_exactly};
use crate::tree::{self, Entry, Named, is_empty, missing, parent};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{SMALL_OBJECT_BYTES, TREE_ANSWER_BYTES};
use icecore::name::ObjectName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Body, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What stands around the bytes of one upload.
pub struct Frame {
    /// What ends the bytes. It is drawn for each upload: what is backed up may hold every boundary that was ever used, and could
    /// otherwise end the object early and begin another.
    boundary: String,
    /// What has to stand before the bytes.
    pub head: Bytes,
    /// What has to stand behind them.
    pub tail: Bytes,
}

impl Frame {
    /// For an upload under a temporary name.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(name: &str) -> Result<Frame> {
        let boundary = unguessable()?;
        let file = name.rsplit('/').next().unwrap_or_default();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        Ok(Frame { boundary, head: head.into(), tail: tail.into() })
    }

    fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }
}

/// Rclone's remote control for one place.
#[derive(Clone)]
pub struct Control {
    http: Http,
    server: Url,
    place: Arc<str>,
    password: Secret,
}

/// What rclone says of an object or a folder.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    name: String,
    /// Negative when nobody knows it.
    size: i64,
    is_dir: bool,
    #[serde(default)]
    mod_time: String,
}

impl Control {
    /// The control of the rclone that listens on a port of this machine, for a place of rclone's.
    ///
    /// # Errors
    /// As the system has it.
    pub fn new(
        place: &str,
        port: u16,
        password: Secret,
        timeouts: Timeouts,
        connections: usize,
    ) -> Result<Control> {
        // A proxy of the environment is for the network; this is not on it.
        let http = Http::made(timeouts, connections, |builder| Ok(builder.no_proxy()))?;
        let server = Url::parse(&format!("http://127.0.0.1:{port}/"))
            .map_err(|e| Error::new(Kind::Io, "cannot address rclone").because(e))?;
        Ok(Control { http, server, place: place.into(), password })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(path);
        self.http.request(method, url).basic_auth(USER, Some(self.password.expose()))
    }

    /// Has rclone do something; `None` when what it is to be done with is not there.
    async fn call(&self, what: &str, input: Value) -> Result<Option<Value>> {
        self.call_patiently(what, input, Duration::ZERO).await
    }

    /// As [`Control::call`], for what may take so much longer.
    async fn call_patiently(&self, what: &str, input: Value, patience: Duration) -> Result<Option<Value>> {
        let request =
            self.request(Method::POST, what).header(CONTENT_TYPE, "application/json").body(input.to_string());
        let response = self.http.send_patiently(request, 0, patience).await?;
        match response.status() {
            StatusCode::OK => {
                let answer = read_body_limited(response, TREE_ANSWER_BYTES).await?;
                serde_json::from_slice(&answer).map(Some).map_err(|e| not_understood(&e.to_string()))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(response).await),
        }
    }

    /// What is in a folder; `None` when it is not there.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn list(&self, folder: Option<&str>, with_times: bool) -> Result<Option<Vec<Entry>>> {
        let options = json!({"noModTime": !with_times, "noMimeType": true});
        let input = json!({"fs": &*self.place, "remote": folder.unwrap_or_default(), "opt": options});
        let answer = match self.call("operations/list", input).await {
            Ok(answer) => answer,
            // Some remotes fail to list what is an object, or is below one: nothing is in it.
            Err(error) => match folder {
                Some(folder) if error.kind() != Kind::Denied && self.is_in_object(folder).await? => None,
                _ => return Err(error),
            },
        };
        let Some(mut answer) = answer else { return Ok(None) };
        let list = answer.get_mut("list").map(Value::take).unwrap_or_default();
        let items: Vec<Item> = serde_json::from_value(list).map_err(|e| not_understood(&e.to_string()))?;
        Ok(Some(items.into_iter().map(|item| item.entry(folder)).collect()))
    }

    /// Whether a name, or the beginning of it, is that of an object.
    pub async fn is_in_object(&self, name: &str) -> Result<bool> {
        let mut next = Some(name);
        while let Some(here) = next {
            if self.size(here).await?.is_some() {
                return Ok(true);
            }
            next = parent(here);
        }
        Ok(false)
    }

    /// The length of an object; `None` when there is no such object.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn size(&self, name: &str) -> Result<Option<u64>> {
        let options = json!({"noModTime": true, "noMimeType": true, "filesOnly": true});
        let input = json!({"fs": &*self.place, "remote": name, "opt": options});
        let answer = match self.call("operations/stat", input).await {
            Ok(answer) => answer,
            // Below an object there is none.
            Err(error) if error.kind() == Kind::Invalid => None,
            Err(error) => return Err(error),
        };
        let item = answer.and_then(|mut answer| answer.get_mut("item").map(Value::take)).unwrap_or_default();
        if item.is_null() {
            return Ok(None);
        }
        let item: Item = serde_json::from_value(item).map_err(|e| not_understood(&e.to_string()))?;
        match u64::try_from(item.size) {
            _ if item.is_dir => Ok(None),
            Ok(size) => Ok(Some(size)),
            Err(_) => Err(Error::new(Kind::Unsupported, "the remote does not know how long it is")),
        }
    }

    /// Makes the place itself.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn make_place(&self) -> Result<()> {
        self.call("operations/mkdir", json!({"fs": &*self.place, "remote": ""})).await.map(drop)
    }

    /// Uploads a body that has this frame around it.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn upload(&self, name: &str, frame: &Frame, body: Body, body_bytes: usize) -> Result<()> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = self.server.clone();
        url.set_path("operations/uploadfile");
        url.set_query(Some(&format!(
            "fs={}&remote={}",
            encoded(&self.place),
            encoded(parent(name).unwrap_or_default())
        )));
        let request = self.http.request(Method::POST, url).basic_auth(USER, Some(self.password.expose()));
        let request = request.header(CONTENT_TYPE, frame.content_type()).body(body);
        let response = self.http.send(request, body_bytes).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(refused(response).await),
        }
    }

    /// Gives an object another name, whose object is replaced. Where the remote cannot rename it is a copy, which may take so much
    /// longer.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn rename(&self, from: &str, to: &str, patience: Duration) -> Result<()> {
        // Otherwise one of the same length and time would be taken for the same.
        let config = json!({"IgnoreTimes": true});
        let place = &*self.place;
        let input =
            json!({"srcFs": place, "srcRemote": from, "dstFs": place, "dstRemote": to, "_config": config});
        match self.call_patiently("operations/movefile", input, patience).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::Io, "what was stored is gone before it got its name").retry_later()),
        }
    }

    /// Removes an object; whether it was there.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        match self.call("operations/deletefile", json!({"fs": &*self.place, "remote": name})).await {
            Ok(done) => Ok(done.is_some()),
            // A folder, or below an object.
            Err(error) if error.kind() == Kind::Invalid => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a folder with nothing but empty folders in it; whether it is gone.
    ///
    /// # Errors
    /// As rclone has it.
    pub async fn remove_folder(&self, folder: &str) -> Result<bool> {
        let input = json!({"fs": &*self.place, "remote": folder, "leaveRoot": false});
        self.call("operations/rmdirs", input).await.map(|done| done.is_some())
    }

    /// A part of an object.
    ///
    /// # Errors
    /// As [`icecore::storage::Storage::read`].
    pub async fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let size = async || self.size(name.as_str()).await?.ok_or_else(|| missing(name));
        if length_bytes == 0 || i64::try_from(offset).is_err() {
            return size().await.map(|_| Vec::new());
        }
        match self.fetch(name.as_str(), offset, length_bytes).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => match size().await? <= offset {
                true => Ok(Vec::new()),
                false => Err(error),
            },
        }
    }

    async fn fetch(&self, name: &str, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let last = offset.saturating_add(length_bytes as u64 - 1).min(i64::MAX as u64);
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let parts: Vec<String> = name.split('/').map(encoded).collect();
        let path = format!("/%5B{}%5D/{}", encoded(&self.place), parts.join("/"));
        let request = self.request(Method::GET, &path).header(RANGE, format!("bytes={offset}-{last}"));
        let response = self.http.send(request, 0).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(refused(response).await);
        }
        let range = response.header("content-range").and_then(crate::http::ContentRange::parse);
        let Some((range, size)) = range.and_then(|range| Some((range, range.size?))) else {
            return Err(not_understood("it does not say which part it sends"));
        };
        let expected = size.saturating_sub(offset).min(length_bytes as u64);
        match usize::try_from(expected) {
            Ok(count) if range.first == offset && range.length == expected => {
                read_exactly(response, count).await
            }
            _ => Err(not_understood("it sends another part than was asked for")),
        }
    }
}

impl Item {
    fn entry(self, folder: Option<&str>) -> Entry {
        let mut named = Named::within(folder, self.name.as_bytes());
        let size_bytes = match u64::try_from(self.size) {
            _ if self.is_dir => None,
            Ok(size) => Some(size),
            // A document that only the remote can make a file of: none of ours.
            Err(_) => {
                named = Named::Stray(limited(&self.name));
                Some(0)
            }
        };
        let modified = self.mod_time.parse::<jiff::Timestamp>().ok().map(|time| time.as_second());
        Entry { named, size_bytes, modified }
    }
}

/// The folders of a place.
#[derive(Clone)]
pub struct Tree {
    /// The place.
    pub control: Control,
    /// Whether to ask for times, which cost a request for each object on some remotes.
    pub with_times: bool,
}

impl tree::Folders for Tree {
    async fn entries(&self, folder: Option<&str>) -> Result<Option<Vec<Entry>>> {
        self.control.list(folder, self.with_times).await
    }

    async fn remove_if_empty(&self, folder: &str) -> Result<bool> {
        match is_empty(self, folder, true).await? {
            true => self.control.remove_folder(folder).await,
            false => Ok(false),
        }
    }

    async fn remove_temporary(&self, name: &str) -> Result<bool> {
        self.control.remove(name).await
    }
}

fn not_understood(why: &str) -> Error {
    Error::damaged("rclone's answer is not understood", "").because(limited(why))
}

/// Why rclone did not do it, by its own words: the status is the same for nearly everything.
async fn refused(response: Response) -> Error {
    let status = response.status();
    let limit = usize::try_from(SMALL_OBJECT_BYTES).unwrap_or(usize::MAX);
    let answer = match read_body_limited(response, limit).await {
        Ok(answer) => answer,
        Err(error) => return error,
    };
    let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let said = value.get("error").and_then(Value::as_str).map(limited);
    judged(status, &said.unwrap_or_else(|| limited(&String::from_utf8_lossy(&answer))))
}

fn judged(status: StatusCode, said: &str) -> Error {
    let words = said.to_lowercase();
    let says = |known: &[&str]| known.iter().any(|word| words.contains(word));
    let failed = |kind| Error::new(kind, "rclone could not do it").because(said.to_owned());
    if says(&["didn't find section in config file"]) {
        return Error::invalid("rclone has no such remote", "").hint("`rclone listremotes` shows them");
    }
    if says(&["no space left", "quota", "disk full", "insufficient storage", "507"]) {
        return failed(Kind::NoSpace);
    }
    if says(&["is a directory", "not a directory"]) {
        return failed(Kind::Invalid);
    }
    if says(&["permission denied", "access denied", "accessdenied", "forbidden", "unauthorized"]) {
        return failed(Kind::Denied);
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => failed(Kind::Denied),
        StatusCode::NOT_FOUND => failed(Kind::NotFound),
        StatusCode::BAD_REQUEST => failed(Kind::Unsupported),
        _ if says(&["directory not found", "object not found"]) => failed(Kind::NotFound),
        _ => failed(Kind::Io).retry_later(),
    }
}

/// The error of an object whose folder cannot be made, or whose name a folder has.
pub async fn blocked(control: &Control, name: &str, error: Error) -> Result<Error> {
    match parent(name) {
        Some(folder) if control.is_in_object(folder).await? => {
            Ok(in_the_way("an object is in the way of the folder", folder))
        }
        _ => Ok(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::error::Retry::{Later, Never};

    #[test]
    fn rclones_words_tell_what_failed() {
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        for (status, said, kind, retry) in [
            (internal, "didn't find section in config file", Kind::Invalid, Never),
            (internal, "mkdir /x: permission denied", Kind::Denied, Never),
            (internal, "write /x: no space left on device", Kind::NoSpace, Never),
            (internal, "is a directory not a file", Kind::Invalid, Never),
            (StatusCode::NOT_FOUND, "object not found", Kind::NotFound, Never),
            (internal, "dial tcp: connection refused", Kind::Io, Later),
        ] {
            let error = judged(status, said);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        }
    }

    #[test]
    fn every_upload_has_a_boundary_of_its_own() {
        let (one, other) = (Frame::new("a/tmp-1").unwrap(), Frame::new("a/tmp-1").unwrap());
        assert_ne!(one.boundary, other.boundary);
        // At least 128 bits, and no longer than a boundary may be.
        assert!((32..=70).contains(&one.boundary.len()), "{}", one.boundary);
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text(&one.head).starts_with(&format!("--{}\r\n", one.boundary)));
        assert!(text(&one.head).contains("filename=\"tmp-1\""));
        assert_eq!(text(&one.tail), format!("\r\n--{}--\r\n", one.boundary));
    }

    #[test]
    fn what_has_no_length_is_no_object() {
        let item = |text: &str| serde_json::from_str::<Item>(text).unwrap().entry(Some("a"));
        let document = item(r#"{"Name":"d.docx","Size":-1,"IsDir":false,"ModTime":""}"#);
        assert!(matches!(document.named, Named::Stray(_)));
        let object = item(r#"{"Name":"o","Size":7,"IsDir":false,"ModTime":"2026-11-28T10:16:09.89Z"}"#);
        assert_eq!((object.size_bytes, object.modified), (Some(7), Some(1_795_860_969)));
        assert_eq!(item(r#"{"Name":"f","Size":-1,"IsDir":true}"#).size_bytes, None);
    }
}
