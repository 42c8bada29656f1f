//! Objects removed, with their segments; and what killed writers left.
//!
//! Invariants: a manifest goes before its segments, so that what a crash leaves is segments of nothing, never an object with a
//! gap. Segments are removed only from the folder that is their object's own, whatever a manifest says; segments without an
//! object only when this program wrote them.

use super::account::Call;
use super::container::{Container, run};
use super::creation::{give_all_back, give_back_for};
use super::listing::{Pages, Row};
use super::manifest::Head;
use super::names::{owner, path};
use crate::http::{failed, limited, read_body_limited};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use icecore::error::{Error, Kind, Result};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

/// Objects that one request removes, at most: an answer comes within reasonable time.
const AT_ONCE: usize = 1000;
/// The answer to such a request.
const ANSWER_BYTES: usize = 4 << 20;

/// Removes an object, and its segments.
///
/// # Errors
/// `NotFound`, or as the connection has it.
pub fn delete(container: &Container, full: &str) -> Result<()> {
    run(async {
        give_back_for(container, full).await;
        Ok(())
    })?;
    let head = run(container.head(full))?;
    if head.is_static {
        return run(delete_static(container, full));
    }
    if head.target.is_none() {
        return run(container.remove(full));
    }
    // Repeated here: whoever comes again from outside does not find the manifest, and does not know of its segments.
    container.patience.retrying(full, |again| match run(container.remove(full)) {
        // By an attempt whose answer was lost.
        Err(error) if again && error.kind() == Kind::NotFound => Ok(()),
        done => done,
    })?;
    remove_segments_of(container, full, &head);
    Ok(())
}

/// Removes the segments of what was the object `full`. The object is gone already: a failure is told, and left to a clean-up.
pub fn remove_segments_of(container: &Container, full: &str, head: &Head) {
    let Some(folder) =
        head.target.as_ref().and_then(|target| target.folder_of(&container.place.container, full))
    else {
        return;
    };
    let removed = container.patience.retrying(full, |_| run(remove_folder(container, &folder, full)));
    if let Err(error) = removed {
        let place = container.place.short(&folder);
        (container.warn)(&format!("segments in {place} could not be removed, and are left: {error}"));
    }
}

/// Removes the segments of `full` that stand in `folder`.
async fn remove_folder(container: &Container, folder: &str, full: &str) -> Result<()> {
    let mut pages = Pages::new(&container.place.container, folder, false);
    let mut first = Vec::new();
    while let Some(page) = pages.next(&container.account).await? {
        let names = page.into_iter().filter_map(|row| match row {
            Row::Object { name, .. } if owner(&name).as_deref() == Some(full) => Some(name),
            _ => None,
        });
        // The first one last: whoever would write there waits for it.
        let (zero, others): (Vec<String>, Vec<String>) = names.partition(|name| name.ends_with("/00000000"));
        first.extend(zero);
        remove_all(container, &others).await?;
    }
    remove_all(container, &first).await
}

/// Removes objects that are no manifests; that one is not there is no failure.
///
/// # Errors
/// Of the first that cannot be removed.
pub async fn remove_all(container: &Container, names: &[String]) -> Result<()> {
    let most = container.info.bulk().unwrap_or(0).min(AT_ONCE);
    if most < 2 || names.len() < 2 {
        return remove_each(container, names).await;
    }
    for some in names.chunks(most) {
        if !remove_together(container, some).await? {
            // One by one it is known which one fails, and why.
            remove_each(container, some).await?;
        }
    }
    Ok(())
}

async fn remove_each(container: &Container, names: &[String]) -> Result<()> {
    let removed = stream::iter(names).map(|name| async move {
        match container.remove(name).await {
            Err(error) if error.kind() != Kind::NotFound => {
                Err(error.while_doing("cannot remove", container.place.short(name)))
            }
            _ => Ok(()),
        }
    });
    let outcomes: Vec<Result<()>> = removed.buffer_unordered(container.connections).collect().await;
    outcomes.into_iter().collect()
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<Vec<String>>,
    #[serde(rename = "Response Body", default)]
    words: String,
}

/// Removes objects by one request; whether all went well.
async fn remove_together(container: &Container, names: &[String]) -> Result<bool> {
    let lines: Vec<String> = names.iter().map(|name| path(&container.place.container, name)).collect();
    let call = Call::new(Method::POST, String::new())
        .query("bulk-delete".to_owned())
        .header(CONTENT_TYPE, HeaderValue::from_static("text/plain"))
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .body(Bytes::from(lines.join("\n")));
    let response = container.account.send(&call).await?;
    // Who has no rights to the account may have some to the container.
    if response.status() != StatusCode::OK {
        return Ok(false);
    }
    let outcome = outcome(&read_body_limited(response, ANSWER_BYTES).await?);
    Ok(outcome.is_some_and(|outcome| outcome.status.starts_with("200") && outcome.errors.is_empty()))
}

fn outcome(body: &[u8]) -> Option<Outcome> {
    serde_json::from_slice(body.trim_ascii_start()).ok()
}

/// A static large object names its segments itself, and Swift removes them with it.
async fn delete_static(container: &Container, full: &str) -> Result<()> {
    let call = Call::new(Method::DELETE, path(&container.place.container, full))
        .query("multipart-manifest=delete".to_owned())
        .header(ACCEPT, HeaderValue::from_static("application/json"));
    let response = container.account.send(&call).await?;
    if !response.status().is_success() {
        return Err(failed(response, "the object is not removed").await);
    }
    match outcome(&read_body_limited(response, ANSWER_BYTES).await?) {
        Some(outcome) if outcome.status.starts_with("200") => Ok(()),
        Some(outcome) if outcome.status.starts_with("404") => {
            Err(Error::new(Kind::NotFound, "the object is not there"))
        }
        outcome => {
            let words =
                outcome.map(|outcome| format!("{} {}", outcome.status, outcome.words)).unwrap_or_default();
            Err(Error::new(Kind::Io, "not all segments of the object are removed").because(limited(&words)))
        }
    }
}

/// Segments in one folder without the object they are of.
struct Orphans {
    owner: String,
    folder: String,
    names: Vec<String>,
    newest: i64,
}

/// Removes segments without an object, and tickets, that were last written before `before`; how many objects were being
/// written.
///
/// # Errors
/// As the connection has it.
pub async fn clean(container: &Container, before: i64) -> Result<u64> {
    give_all_back(container).await;
    let tickets = container.place.tickets();
    let mut pages = Pages::new(&container.place.container, &container.place.below(None), false);
    let (mut cleaned, mut old_tickets) = (0, Vec::new());
    let mut group: Option<Orphans> = None;
    while let Some(page) = pages.next(&container.account).await? {
        for row in page {
            let Row::Object { name, written, .. } = row else { continue };
            if name.starts_with(&tickets) {
                if written < before {
                    old_tickets.push(name);
                }
                continue;
            }
            let Some(owner) = owner(&name) else { continue };
            let folder = name[..name.rfind('/').map_or(0, |at| at + 1)].to_owned();
            match &mut group {
                Some(group) if group.folder == folder => {
                    group.newest = group.newest.max(written);
                    group.names.push(name);
                }
                _ => {
                    let done = group.replace(Orphans { owner, folder, names: vec![name], newest: written });
                    cleaned += remove_orphans(container, done, before).await?;
                }
            }
        }
    }
    cleaned += remove_orphans(container, group, before).await?;
    cleaned += old_tickets.len() as u64;
    remove_all(container, &old_tickets).await?;
    Ok(cleaned)
}

async fn remove_orphans(container: &Container, orphans: Option<Orphans>, before: i64) -> Result<u64> {
    let Some(orphans) = orphans.filter(|orphans| orphans.newest < before) else { return Ok(0) };
    // The object is looked at after its segments: a writer puts it last.
    let head = container.head_if_there(&orphans.owner).await?;
    if head.is_some_and(|head| covers(container, &orphans.owner, &orphans.folder, &head)) {
        return Ok(0);
    }
    // What another program wrote may belong to an object that only it knows how to find.
    let oldest = match orphans.names.first() {
        Some(name) => container.head_if_there(name).await?,
        None => None,
    };
    if oldest.is_none_or(|head| head.writer.is_none()) {
        return Ok(0);
    }
    let (first, others): (Vec<String>, Vec<String>) =
        orphans.names.into_iter().partition(|name| name.ends_with("/00000000"));
    remove_all(container, &others).await?;
    remove_all(container, &first).await?;
    Ok(1)
}

/// Whether the segments in a folder are those of the object whose headers these are.
pub fn covers(container: &Container, owner: &str, folder: &str, head: &Head) -> bool {
    let own = head.target.as_ref().and_then(|target| target.folder_of(&container.place.container, owner));
    own.as_deref() == Some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_begin_with_white_space() {
        let body = br#"  
        {"Response Status": "400 Bad Request", "Response Body": "", "Errors": [["/c/a", "403 Forbidden"]]}"#;
        let outcome = outcome(body).unwrap();
        assert_eq!((outcome.status.as_str(), outcome.errors.len()), ("400 Bad Request", 1));
        assert!(super::outcome(b"OK").is_none());
    }
}
