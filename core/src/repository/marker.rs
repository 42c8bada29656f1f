//! Making and opening a repository: the one-line object `icecore` that says whose place this is.
//!
//! Freezer knows no such object and never looks beside `data` and `metadata`; a container of Freezer's is opened without one.

use super::document::python;
use super::location::{DATA, MARKER, METADATA};
use super::old::OldLayout;
use super::vault::ObjectId;
use super::vault::opening::Threshold;
use super::{Repository, read_document};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::pipe;
use crate::storage::{Depth, PutMode, Storage};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of the repository's layout.
const VERSION: u64 = 1;
const ID_BYTES: usize = 16;

#[derive(Serialize, Deserialize)]
struct Marker {
    icecore: u64,
    id: String,
    /// Whether there were chains in the layout of Freezer 1 and 2 when the marker was put beside them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    freezer_2: bool,
}

#[derive(Deserialize)]
struct OnlyVersion {
    icecore: u64,
}

impl Repository {
    /// Makes a repository; its id is drawn from `entropy`, bytes that nobody else has (core has no source of its own).
    /// A container of Freezer's becomes one in place.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one, `Invalid` for less than 16 bytes of entropy, and what the storage reports.
    pub fn create(storage: Arc<dyn Storage>, entropy: &[u8]) -> Result<Repository> {
        if entropy.len() < ID_BYTES {
            return Err(Error::invalid(
                "a repository's id needs more entropy than",
                entropy.len().to_string(),
            ));
        }
        let hash = blake3::hash(entropy);
        let id: String = hash.to_hex().chars().take(2 * ID_BYTES).collect();
        let old = OldLayout::find(&storage)?;
        let line = python::to_line(&Marker { icecore: VERSION, id: id.clone(), freezer_2: old.is_some() });
        storage.put(&marker_name()?, &line, PutMode::CreateNew).map_err(|error| {
            let hint =
                (error.kind() == Kind::AlreadyExists).then_some("use it as it is, or choose another place");
            let error = error.while_doing("cannot create a repository at", storage.label());
            hint.into_iter().fold(error, Error::hint)
        })?;
        Ok(Repository::with(storage, Some(id), old))
    }

    /// Opens what is there: a repository of Icecore's, or a container in which Freezer has stored backups.
    ///
    /// # Errors
    /// `NoRepository` when neither is there, `Unsupported` when a newer program made it, `Damaged` when the marker cannot be
    /// read, and what the storage reports.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Repository> {
        match read_document(storage.as_ref(), &marker_name()?) {
            Ok(bytes) => {
                let marker = parse(&bytes)?;
                let old = if marker.freezer_2 { OldLayout::find(&storage)? } else { None };
                Ok(Repository::with(storage, Some(marker.id), old))
            }
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            Err(_) => {
                let old = OldLayout::find(&storage)?;
                if old.is_some() || holds_backups(storage.as_ref())? {
                    return Ok(Repository::with(storage, None, old));
                }
                Err(Error::new(Kind::NoRepository, "no repository at")
                    .on(storage.label())
                    .hint("create one with: icecore init"))
            }
        }
    }

    /// As [`Repository::open`], and reads what the deduplicated part needs to be opened; where each request waits for an answer
    /// from far away, at once. Key slots that are `known` from an earlier time are fetched with the list of them.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_with_threshold(
        storage: Arc<dyn Storage>,
        known: &[ObjectId],
    ) -> Result<(Repository, Threshold)> {
        if !storage.capabilities().parallel {
            let repository = Repository::open(storage)?;
            let threshold = Threshold::look(&*repository.storage, known);
            return Ok((repository, threshold));
        }
        let below = Arc::clone(&storage);
        pipe::together(|| Repository::open(storage), move || Ok(Threshold::look(&*below, known)))
    }

    fn with(storage: Arc<dyn Storage>, id: Option<String>, old: Option<Arc<OldLayout>>) -> Repository {
        let storage = match &old {
            Some(old) => Arc::clone(old) as Arc<dyn Storage>,
            None => storage,
        };
        Repository { storage, id, vault: None, old, engines: Arc::default() }
    }
}

fn marker_name() -> Result<ObjectName> {
    ObjectName::new(MARKER)
}

fn parse(bytes: &[u8]) -> Result<Marker> {
    let damaged = |error| Error::damaged("not a marker of a repository:", MARKER).because(error);
    let version = serde_json::from_slice::<OnlyVersion>(bytes).map_err(damaged)?.icecore;
    if version > VERSION {
        return Err(Error::new(Kind::Unsupported, format!("a repository of a newer version ({version}):"))
            .on(MARKER)
            .hint("use a newer version of icecore"));
    }
    let marker = serde_json::from_slice::<Marker>(bytes).map_err(damaged)?;
    let id = &marker.id;
    let plain = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !plain {
        return Err(Error::damaged(format!("{id:?} is not the id of a repository:"), MARKER));
    }
    Ok(marker)
}

fn holds_backups(storage: &dyn Storage) -> Result<bool> {
    let mut found = false;
    for tree in [METADATA, DATA] {
        storage.list(Some(&ObjectName::new(tree)?), Depth::One, &mut |_| {
            found = true;
            Ok(())
        })?;
    }
    Ok(found)
}
