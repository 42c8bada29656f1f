//! A storage: a flat set of named objects, put whole or not at all, read by range.
//!
//! Every provider guarantees, and the conformance suite of the test kit checks on real servers:
//!
//! * **Whole or nothing.** An object is visible under its name only with all its bytes. A `put` or a `finish` that fails,
//!   a writer that is dropped, or a process that is killed leaves no object under the name. One failure is ambiguous on
//!   every storage: the last step may have happened although its success could not be told (a lost answer, a disk that
//!   fails while the directory is made durable). Then the object is there whole, or the name is as before; never a part.
//! * **Durable.** What `put` and `finish` reported as done survives a crash of the machine. A `delete` may be undone by one.
//! * **Read what was written.** After `put` or `finish` returns, `read`, `stat` and `list` see the object. One `read` gives
//!   bytes of one version of an object that is being replaced; two reads may not.
//! * **Honest lists.** `list` gives every object and folder, or fails. An error is never an empty list; only a prefix
//!   under which nothing exists is. What comes or goes during a listing may be in it or not (or twice, when replaced);
//!   everything else is in it exactly once.
//! * **Folders are not objects.** No name is both an object and a folder of others: where a file system could not hold both,
//!   the second is refused (`Invalid`), and callers never try. To `read`, `stat` and `delete`, a folder is `NotFound`.
//! * **Errors by kind.** `NotFound` for what is not there, `AlreadyExists` for [`PutMode::CreateNew`] on what is,
//!   `NoSpace`, `Denied`; `retry` says whether a later attempt may help.
//!
//! Retrying, throttling, giving up for a while, mirroring and fault injection are decorators of the same trait. What they hand on
//! unchanged they name to [`forward!`].

#[macro_use]
mod forward;

pub mod circuit;
pub mod local;
pub mod memory;
pub mod mirror;
pub mod retry;
pub mod throttle;

pub use forward_storage as forward;

use crate::error::{Kind, Result};
use crate::name::ObjectName;
use crate::time::Timestamp;
use std::sync::Arc;

/// Whether an object may replace one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Fails with `AlreadyExists` when the name is taken; of two racing puts one wins.
    CreateNew,
    /// For a name that nobody else gives, as one with 32 random bytes is: as [`PutMode::CreateNew`] where that costs nothing, and
    /// where it takes more requests, as [`PutMode::Replace`].
    Unique,
    /// Takes the place of an object of the same name.
    Replace,
}

/// How far below a prefix a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The children of the prefix only: objects directly under it, and folders.
    One,
    /// Every object below the prefix; no folders.
    All,
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// An object and its size.
    Object {
        /// The full name.
        name: ObjectName,
        /// Its length.
        size_bytes: u64,
    },
    /// A folder: names (or, on a file system, an empty directory) exist below it.
    Folder {
        /// The full name, without a slash at the end.
        name: ObjectName,
    },
    /// Something that is not a usable object name (not UTF-8, for instance), or what is left of an object that was (or still
    /// is) being written; passed over by readers, reported by `check`.
    Stray {
        /// What it is called, for people.
        label: String,
    },
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub size_bytes: u64,
}

/// What a storage can do beyond the minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// [`PutMode::CreateNew`] is decided by the storage itself, atomically.
    pub create_new_is_atomic: bool,
    /// Each request waits for an answer from far away: several at once take hardly longer than one.
    pub parallel: bool,
}

/// One long object being written; visible only after [`ObjectWriter::finish`]. Dropped unfinished, it leaves nothing behind.
pub trait ObjectWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// After an error the writer is only good for dropping.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object durable and visible.
    ///
    /// # Errors
    /// `AlreadyExists` when it was opened with [`PutMode::CreateNew`] and the name has been taken; on any error nothing is visible.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A small object whose bytes the storage has taken. Dropped unfinished, it may or may not come to be.
pub trait Underway: Send {
    /// Waits until the object is durable and visible.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn finish(self: Box<Self>) -> Result<()>;
}

/// What a storage gives back that has nothing left to wait for.
pub struct Arrived;

impl Underway for Arrived {
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A flat set of named objects. See the module's page for what an implementation must guarantee.
pub trait Storage: Send + Sync {
    /// Stores a small object whole.
    ///
    /// # Errors
    /// `AlreadyExists` with [`PutMode::CreateNew`]; otherwise as the storage has it. On any error the name is as before.
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()>;

    /// As [`Storage::put`], but gives the bytes back before the object is durable: it is, and can be seen, when what is
    /// returned has been finished, by any thread. The waiting for several objects overlaps then, and holds no memory.
    /// A storage that can only fail for good once it has the bytes offers this; by default it is a whole [`Storage::put`].
    /// Objects that are put this way do not refer to each other: where a storage is several, they may come to be in any order.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        self.put(name, bytes, mode)?;
        Ok(Box::new(Arrived))
    }

    /// As [`Storage::begin_put`] and the wait for its end, of bytes that the storage may hold on to while it sends them: none are
    /// copied then. It may hold them a little longer, so that whoever wants them back may not get them.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.begin_put(name, bytes, mode)?.finish()
    }

    /// Creates a small object, atomically as with [`PutMode::CreateNew`], that need not survive a crash of the machine.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.put(name, bytes, PutMode::CreateNew)
    }

    /// Begins one long object.
    ///
    /// # Errors
    /// As the storage has it. With [`PutMode::CreateNew`] a name that is taken may be refused here or only at the end.
    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>>;

    /// Reads up to `length_bytes` from `offset`; fewer only where the object ends.
    ///
    /// # Errors
    /// `NotFound`, or as the storage has it.
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>>;

    /// As [`Storage::read`], into `buffer` in place of what that holds. Who reads much has its memory used again, and spares the
    /// system giving out and taking back so many pages. By default a [`Storage::read`].
    ///
    /// # Errors
    /// As [`Storage::read`]; the buffer then holds nothing that was asked for.
    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        // Not both at a time.
        *buffer = Vec::new();
        *buffer = self.read(name, offset, length_bytes)?;
        Ok(())
    }

    /// As [`Storage::read`], from one copy of those that the storage keeps, numbered from 0; `None` when it does not keep so many.
    /// For bytes that turned out not to be what was written: another copy may be sound. What is asked for is suspected.
    fn read_copy(
        &self,
        _name: &ObjectName,
        _offset: u64,
        _length_bytes: usize,
        _copy: usize,
    ) -> Option<Result<Vec<u8>>> {
        None
    }

    /// Whether what is read need not come from far away: of several copies, those that are close by are held first.
    fn is_close(&self) -> bool {
        !self.capabilities().parallel
    }

    /// From now on an object is read from one copy of those that the storage keeps, as long as that gives it: for what is vouched for
    /// as a whole only. Whether there is another that may be read in its place; by default there is but one.
    fn hold(&self, _name: &ObjectName) -> bool {
        false
    }

    /// What was read of an object is not what was written: from now on it is read from another copy of those that the storage keeps,
    /// which is held as by [`Storage::hold`]. `false` when there is none left (then whoever asks again begins anew), and where only one is kept.
    /// An object that was not held may be read from the same copy once more.
    fn distrust(&self, _name: &ObjectName) -> bool {
        false
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// `NotFound`, or as the storage has it.
    fn stat(&self, name: &ObjectName) -> Result<Stat>;

    /// Hands every row below `prefix` (everything for `None`) to `row`, in no order. A prefix is a folder: `a/b` covers
    /// `a/b/c`, never `a/bc`.
    ///
    /// # Errors
    /// Any failure, also one half way: what was handed out until then must not be taken for the whole. An error of `row` ends
    /// the listing and is returned.
    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()>;

    /// Removes an object; folders that become empty go with it where the storage has folders.
    ///
    /// # Errors
    /// `NotFound`, or as the storage has it.
    fn delete(&self, name: &ObjectName) -> Result<()>;

    /// As [`Storage::delete`], for whoever does not ask whether there was one: that is no error, and may spare a request.
    ///
    /// # Errors
    /// As the storage has it.
    fn remove(&self, name: &ObjectName) -> Result<()> {
        match self.delete(name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes what killed processes left of objects that they were writing (temporary files, unfinished uploads), last
    /// written before `before`; gives how many. What is still being written counts as left when nothing was written since:
    /// leave it days. By default nothing can be left.
    ///
    /// # Errors
    /// As the storage has it.
    fn clean_temporaries(&self, _before: Timestamp) -> Result<u64> {
        Ok(0)
    }

    /// What this storage can do.
    fn capabilities(&self) -> Capabilities;

    /// How to name this storage to a person: a path or URL without secrets.
    fn label(&self) -> String;
}

impl dyn Storage + '_ {
    /// Reads a small object whole.
    ///
    /// # Errors
    /// As [`Storage::read`], and `Limit` beyond `limit_bytes`.
    pub fn read_small(&self, name: &ObjectName, limit_bytes: u64) -> Result<Vec<u8>> {
        let limit = usize::try_from(limit_bytes.saturating_add(1)).unwrap_or(usize::MAX);
        let bytes = self.read(name, 0, limit)?;
        if bytes.len() as u64 > limit_bytes {
            let error = crate::error::Error::new(crate::error::Kind::Limit, "too large an object:")
                .on(name.to_string());
            return Err(error);
        }
        Ok(bytes)
    }
}
