//! A level that is being copied from another repository and encrypted anew on the way, under the name that it has there: claimed, and
//! committed by a document of its own last.
//!
//! No two such copies have the same bytes, so two that run at once must not mix theirs. Each object is created as a new one and never
//! replaced; whoever takes over the claim of a killed copy first takes away what that has left. The claim is replaced before the document is
//! looked for and before anything is taken away, and it is looked at again after the document was put: of two copies at least one notices
//! the other. Invariants: whoever does not hold the claim takes nothing away and puts no document; a document stands only when its
//! claim was held after it had been put.

use super::super::location::BackupLocation;
use super::super::{BackupEntry, Repository, document, read_document};
use super::copied::KILLED;
use super::{Claimant, DataWriter, HashedWriter, python};
use crate::error::{Error, Kind, Result};
use crate::limits::CLAIM_BYTES;
use crate::repository::document::Stored;
use crate::spool::Spool;
use crate::storage::PutMode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes that tell the claim of one run from that of any other.
const NONCE_BYTES: usize = 16;

/// The claim of such a copy, which readers of claims take for any other; those of plain copies have another third key, so that neither sort
/// takes over the other's.
#[derive(Serialize, Deserialize)]
struct ReencryptingClaim {
    host: String,
    pid: u32,
    /// BLAKE3 of the document with which the level was made.
    reencrypts: String,
    /// At random: hosts may have one name, and processes one number.
    nonce: String,
}

/// Whether a level is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not.
    Absent,
    /// It is, with the same document.
    Same,
    /// It is, but one of the two was encrypted anew on its way.
    Otherwise,
}

/// A level that is being copied and encrypted anew. Dropped without a commit, it gives up its claim; what it wrote is nobody's then.
pub struct Reencrypting {
    repository: Repository,
    location: BackupLocation,
    parent: Option<BackupEntry>,
    claim: Vec<u8>,
    is_taken_over: bool,
    is_settled: bool,
}

impl Repository {
    /// Whether the level is there of which another repository has this document.
    ///
    /// # Errors
    /// `AlreadyExists` when another one is there under the name, and what the storage reports.
    pub fn presence(&self, location: &BackupLocation, document: &[u8]) -> Result<Presence> {
        let there = match read_document(self.storage.as_ref(), &location.metadata()?) {
            Ok(there) if there == document => return Ok(Presence::Same),
            Ok(there) => there,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Presence::Absent),
            Err(error) => return Err(error),
        };
        let original = |line: &[u8]| document::parse(line).ok().map(|parsed| parsed.original(line));
        match (original(&there), original(document)) {
            (Some(theirs), Some(ours)) if theirs == ours => Ok(Presence::Otherwise),
            _ => Err(Error::new(Kind::AlreadyExists, "another backup is there under the same name:")
                .on(location.to_string())),
        }
    }

    /// Takes the name of a level that is to be copied and encrypted anew, of which another repository has this document, and that builds on
    /// `parent`. What a copy that was killed has left under the name is gone then.
    ///
    /// # Errors
    /// `AlreadyExists` when a level is there under the name, `Busy` when somebody writes one, and what the storage reports.
    pub fn begin_reencrypting(
        &self,
        location: &BackupLocation,
        parent: Option<BackupEntry>,
        document: &[u8],
        claimant: &Claimant,
    ) -> Result<Reencrypting> {
        let name = location.claim()?;
        let original = document::parse(document)?.original(document).to_hex().to_string();
        let (host, pid) = (claimant.host.clone(), claimant.pid);
        let own = ReencryptingClaim { host, pid, reencrypts: original, nonce: nonce()? };
        let claim = python::to_line(&own);
        let is_taken_over = match self.storage.put_fleeting(&name, &claim) {
            Ok(()) => false,
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let there = self.storage.read_small(&name, CLAIM_BYTES).ok();
                let there = there.and_then(|bytes| serde_json::from_slice::<ReencryptingClaim>(&bytes).ok());
                if there.is_none_or(|there| there.reencrypts != own.reencrypts) {
                    let what = "somebody is making a backup there under the same name:";
                    return Err(Error::new(Kind::Busy, what).on(location.to_string()).hint(KILLED));
                }
                self.storage.put(&name, &claim, PutMode::Replace)?;
                true
            }
            Err(error) => return Err(error.while_doing("cannot begin a copy at", location.to_string())),
        };
        let begun = Reencrypting {
            repository: self.clone(),
            location: location.clone(),
            parent,
            claim,
            is_taken_over,
            is_settled: false,
        };
        begun.clear()?;
        Ok(begun)
    }
}

fn nonce() -> Result<String> {
    let mut bytes = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::new(Kind::Io, "the system has no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Reencrypting {
    /// Takes away what a copy that was killed has left. Whoever put a document meanwhile may find this claim, and take the document back:
    /// it does not count.
    fn clear(&self) -> Result<()> {
        if self.repository.size_of(&self.location.metadata()?)?.is_some() {
            return Err(self.claim_is_lost());
        }
        for object in [self.location.data()?, self.location.engine_metadata()?] {
            if self.repository.size_of(&object)?.is_some() {
                if !self.holds_claim()? {
                    return Err(self.claim_is_lost());
                }
                self.repository.delete_if_there(&object)?;
            }
        }
        Ok(())
    }

    /// Begins the stream.
    ///
    /// # Errors
    /// `AlreadyExists` when another copy has written one, and what the storage reports.
    pub fn data_writer(&self) -> Result<DataWriter> {
        let writer = self.repository.storage.writer(&self.location.data()?, PutMode::CreateNew)?;
        Ok(DataWriter { stream: HashedWriter::new(writer), finished: Arc::default() })
    }

    /// Stores the state of the engine.
    ///
    /// # Errors
    /// As [`Reencrypting::data_writer`], and what the spool reports.
    pub fn engine_metadata(&self, state: &mut Spool) -> Result<Stored> {
        self.repository.put_new(&self.location.engine_metadata()?, state)
    }

    /// Makes the level exist, with this document: checks that all of it is there, that what it builds on is too, and puts the document.
    ///
    /// # Errors
    /// `Damaged` when an object is not as it was written or the chain was removed meanwhile, `Busy` when the claim is another's or gone,
    /// `AlreadyExists` when the name was taken, and what the storage reports.
    pub fn commit(mut self, document: &[u8], data: Stored, engine_metadata: Stored) -> Result<()> {
        self.check_objects(data, engine_metadata)?;
        if !self.repository.has_parent(&self.location, self.parent)? {
            return Err(super::chain_is_gone(&self.location));
        }
        if !self.holds_claim()? {
            return Err(self.claim_is_lost());
        }
        let name = self.location.metadata()?;
        // Whatever comes of it, the document may be there from here on.
        self.is_settled = true;
        if let Err(error) = self.repository.storage.put(&name, document, PutMode::CreateNew) {
            // Its answer may have been lost. Nobody else has this document.
            match read_document(self.repository.storage.as_ref(), &name) {
                Ok(there) if there == document => {}
                _ => return Err(error.while_doing("cannot commit", self.location.to_string())),
            }
        }
        self.check_again(data, engine_metadata)
    }

    fn check_objects(&self, data: Stored, engine_metadata: Stored) -> Result<()> {
        self.repository.check_size(&self.location.data()?, data.size_bytes)?;
        self.repository.check_size(&self.location.engine_metadata()?, engine_metadata.size_bytes)
    }

    fn holds_claim(&self) -> Result<bool> {
        match self.repository.storage.read_small(&self.location.claim()?, CLAIM_BYTES) {
            Ok(there) => Ok(there == self.claim),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Limit) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whoever took over the claim may have taken the objects away before the document was there, and whoever removes the chain may have
    /// looked for it then. When these looks fail, the level stands: it was committed in order.
    fn check_again(&self, data: Stored, engine_metadata: Stored) -> Result<()> {
        let error = if !self.holds_claim().unwrap_or(true) {
            self.claim_is_lost()
        } else if let Err(error) = self.check_objects(data, engine_metadata)
            && error.kind() == Kind::Damaged
        {
            error
        } else if !self.repository.delete_if_there(&self.location.claim()?).unwrap_or(true) {
            self.claim_is_lost()
        } else if !self.repository.has_parent(&self.location, self.parent).unwrap_or(true) {
            super::chain_is_gone(&self.location)
        } else {
            return Ok(());
        };
        self.repository.delete_if_there(&self.location.metadata()?)?;
        Err(error)
    }

    fn claim_is_lost(&self) -> Error {
        let what = "somebody cleaned up the unfinished copy, or makes the same:";
        Error::new(Kind::Busy, what).on(self.location.to_string()).retry_later()
    }
}

impl Drop for Reencrypting {
    fn drop(&mut self) {
        // A claim that was taken over stays: the next copy takes it over.
        if !self.is_settled
            && !self.is_taken_over
            && self.holds_claim().unwrap_or(false)
            && let Ok(claim) = self.location.claim()
        {
            self.repository.delete_if_there(&claim).ok();
        }
    }
}
