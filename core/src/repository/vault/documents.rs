//! All the documents of one folder: snapshots, sessions, removals.
//!
//! Invariant: a row is understood, or damaged, or a stray; none is passed over but one that somebody removes meanwhile.

use super::Vault;
use super::header::ObjectKind;
use super::id::ObjectId;
use super::names::{self, Folder};
use crate::error::{Error, Kind, Result};

/// What a folder of documents holds.
#[derive(Debug)]
pub struct Documents<T> {
    /// Those that were read and understood.
    pub found: Vec<(ObjectId, T)>,
    /// Those that are there and cannot be understood, each with the reason.
    pub damaged: Vec<(ObjectId, Error)>,
    /// What does not belong there.
    pub strays: Vec<String>,
}

impl<T> Documents<T> {
    /// Whether there is none, nor one that cannot be understood.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.damaged.is_empty()
    }
}

/// What has an object of its own.
pub(super) trait Document: Sized {
    const KIND: ObjectKind;

    /// The bytes of the document.
    fn encode(&self) -> Result<Vec<u8>>;

    /// The document of any bytes.
    fn parse(bytes: &[u8]) -> Result<Self>;

    /// When it was made: what rows are sorted by.
    fn time(&self) -> (i64, u32);
}

impl Vault {
    /// Stores a document under a new name.
    pub(super) fn write_document<T: Document>(&self, document: &T) -> Result<ObjectId> {
        self.write_object(T::KIND, &document.encode()?)
    }

    /// Reads one document.
    pub(super) fn read_document<T: Document>(&self, id: ObjectId) -> Result<T> {
        understand(id, &self.read_object(T::KIND, id, None)?)
    }

    /// Reads every document of a folder once, oldest first.
    pub(super) fn documents<T: Document>(&self) -> Result<Documents<T>> {
        self.documents_of(self.list(Folder::of(T::KIND))?)
    }

    /// The same of a list that was made before.
    pub(super) fn documents_of<T: Document>(&self, names: names::Names) -> Result<Documents<T>> {
        let mut documents = Documents {
            found: Vec::with_capacity(names.objects.len()),
            damaged: Vec::new(),
            strays: names.strays,
        };
        self.read_objects(T::KIND, &names.objects, &mut |id, _, bytes| {
            match bytes.and_then(|bytes| understand::<T>(id, &bytes)) {
                Ok(document) => documents.found.push((id, document)),
                // Removed since the list was made.
                Err(error) if error.kind() == Kind::NotFound => (),
                Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported) => {
                    documents.damaged.push((id, error));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        documents.found.sort_by_key(|(id, document)| (document.time(), *id));
        Ok(documents)
    }
}

fn understand<T: Document>(id: ObjectId, bytes: &[u8]) -> Result<T> {
    T::parse(bytes).map_err(|error| {
        let name = Folder::of(T::KIND).object(id).map_or_else(|_| id.to_string(), |name| name.to_string());
        error.while_doing("cannot understand", name)
    })
}
