//! A listing as callers see it: objects with their true lengths, folders, and what is left of unfinished objects.
//!
//! Swift lists a manifest as an object of no bytes, and its segments as objects beside it. Here every object of no bytes is
//! looked at, and segments are left out where their object is there; those of no object are told as one stray a folder.

use super::container::{Container, run};
use super::listing::{Pages, Row};
use super::manifest::{Head, Table};
use super::names::{owner, owner_of_folder};
use super::removal::covers;
use futures_util::{StreamExt, stream};
use icecore::error::{Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed};
use std::collections::{HashMap, VecDeque};

/// Manifests that are remembered until their segments come: they stand a few rows behind.
const REMEMBERED: usize = 64;

/// A listing under way.
pub struct Rows<'a> {
    container: &'a Container,
    manifests: VecDeque<(String, Head)>,
    unfinished: Option<Unfinished>,
}

/// Segments of one folder that have come so far.
struct Unfinished {
    folder: String,
    is_hidden: bool,
    segments: u64,
}

impl<'a> Rows<'a> {
    /// Lists what is below `prefix`.
    ///
    /// # Errors
    /// As [`icecore::storage::Storage::list`].
    pub fn list(
        container: &'a Container,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let base = container.place.below(prefix);
        let mut pages = Pages::new(&container.place.container, &base, depth == Depth::One);
        let mut rows = Rows { container, manifests: VecDeque::new(), unfinished: None };
        while let Some(page) = run(pages.next(&container.account))? {
            let mut heads = run(rows.heads(&page))?;
            for found in page {
                if let Some(listed) = rows.listed(found, &mut heads, row)? {
                    row(listed)?;
                }
            }
        }
        rows.end_of_segments(row)
    }

    /// Looks at the objects of no bytes: each may be a manifest. What has gone meanwhile is not in the answer.
    async fn heads(&self, page: &[Row]) -> Result<HashMap<String, (Head, u64)>> {
        let empty = page.iter().filter_map(|row| match row {
            Row::Object { name, bytes: 0, .. } if !self.is_hidden(name) && !name.ends_with('/') => {
                Some(name.clone())
            }
            _ => None,
        });
        let looked = stream::iter(empty).map(|name| async move {
            let Some(head) = self.container.head_if_there(&name).await? else { return Ok(None) };
            let bytes = match (&head.target, head.bytes) {
                (Some(_), None) => self.length_of(&name, &head).await?,
                (_, bytes) => bytes.unwrap_or(0),
            };
            Ok(Some((name, (head, bytes))))
        });
        let looked: Vec<Result<_>> = looked.buffer_unordered(self.container.connections).collect().await;
        looked.into_iter().filter_map(Result::transpose).collect()
    }

    /// Of a manifest with more segments than Swift adds up. When some are missing, whoever reads it is told.
    async fn length_of(&self, full: &str, head: &Head) -> Result<u64> {
        match Table::of(&self.container.account, &self.container.place.container, full, head).await {
            Ok(table) => Ok(table.size_bytes()),
            Err(error) if error.kind() == Kind::Damaged => Ok(head.promise.map_or(0, |(bytes, _)| bytes)),
            Err(error) => Err(error),
        }
    }

    /// Whether a name is of those that are never shown.
    fn is_hidden(&self, full: &str) -> bool {
        full.starts_with(&self.container.place.tickets())
    }

    fn listed(
        &mut self,
        found: Row,
        heads: &mut HashMap<String, (Head, u64)>,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<Option<Listed>> {
        if self.is_hidden(found.name()) {
            return Ok(None);
        }
        match found {
            Row::Folder(full) => self.folder(&full),
            // A mark of a folder, as some programs make them.
            Row::Object { name, bytes: 0, .. } if name.ends_with('/') => Ok(None),
            Row::Object { name, bytes: 0, .. } => {
                let Some((head, bytes)) = heads.remove(&name) else { return Ok(None) };
                let listed = self.object(&name, bytes);
                if head.target.is_some() {
                    if self.manifests.len() == REMEMBERED {
                        self.manifests.pop_front();
                    }
                    self.manifests.push_back((name, head));
                }
                Ok(Some(listed))
            }
            Row::Object { name, bytes, .. } => match owner(&name) {
                Some(owner) => self.segment(&name, &owner, row).map(|()| None),
                None => Ok(Some(self.object(&name, bytes))),
            },
        }
    }

    fn object(&self, full: &str, size_bytes: u64) -> Listed {
        let short = self.container.place.short(full);
        match ObjectName::new(short) {
            Ok(name) => Listed::Object { name, size_bytes },
            Err(_) => Listed::Stray { label: format!("{short:?}") },
        }
    }

    /// A folder: of segments alone it is none.
    fn folder(&mut self, full: &str) -> Result<Option<Listed>> {
        let bare = full.strip_suffix('/').unwrap_or(full);
        let short = self.container.place.short(bare);
        if let Some(owner) = owner_of_folder(bare) {
            let head = self.manifest(&owner)?;
            let own = head.and_then(|head| head.target?.folder_of(&self.container.place.container, &owner));
            if own.is_some_and(|own| own.starts_with(full)) {
                return Ok(None);
            }
            let mut pages = Pages::new(&self.container.place.container, full, false);
            let first = run(pages.next(&self.container.account))?.unwrap_or_default();
            match first.first() {
                Some(row) if super::names::owner(row.name()).as_deref() == Some(owner.as_str()) => {
                    return Ok(Some(Listed::Stray {
                        label: format!("{short}/ (segments of an unfinished object)"),
                    }));
                }
                // Gone meanwhile.
                None => return Ok(None),
                Some(_) => (),
            }
        }
        Ok(Some(match ObjectName::new(short) {
            Ok(name) => Listed::Folder { name },
            Err(_) => Listed::Stray { label: format!("{short:?}/") },
        }))
    }

    /// A segment: nothing is shown of it before the last of its folder.
    fn segment(&mut self, full: &str, owner: &str, row: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let folder = &full[..full.rfind('/').map_or(0, |at| at + 1)];
        if let Some(same) = self.unfinished.as_mut().filter(|unfinished| unfinished.folder == folder) {
            same.segments += 1;
            return Ok(());
        }
        self.end_of_segments(row)?;
        let is_hidden = self.is_of_others(folder)
            || self.manifest(owner)?.is_some_and(|head| covers(self.container, owner, folder, &head));
        self.unfinished = Some(Unfinished { folder: folder.to_owned(), is_hidden, segments: 1 });
        Ok(())
    }

    /// Whether a manifest of another name points here, as those of Freezer's volumes do.
    fn is_of_others(&self, folder: &str) -> bool {
        let targets = self.manifests.iter().filter_map(|(_, head)| head.target.as_ref());
        targets
            .filter(|target| target.container == self.container.place.container)
            .any(|target| folder.starts_with(&target.prefix))
    }

    fn end_of_segments(&mut self, row: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let Some(Unfinished { folder, segments, .. }) =
            self.unfinished.take().filter(|group| !group.is_hidden)
        else {
            return Ok(());
        };
        let folder = self.container.place.short(&folder);
        row(Listed::Stray { label: format!("{folder} ({segments} segments of an unfinished object)") })
    }

    /// What is known of a manifest, from this listing or from a look at it.
    fn manifest(&self, owner: &str) -> Result<Option<Head>> {
        match self.manifests.iter().rev().find(|(known, _)| known == owner) {
            Some((_, head)) => Ok(Some(head.clone())),
            None => run(self.container.head_if_there(owner)),
        }
    }
}
