//! A level that is being copied from another repository, under the name that it has there: claimed, and committed by its document last,
//! as one that is made here.
//!
//! The claim says which document is being copied. A copy that was killed leaves it, and the next copy of the same document takes it
//! over; should the first one run still, both write the same bytes, and the first finds the claim to be another's and leaves
//! everything as it is. Invariants: whoever does not hold the claim takes nothing away, and puts no document; a claim that was taken over is left
//! beside a document that was there first, since whoever put it looks for it.

use super::super::location::BackupLocation;
use super::super::{BackupEntry, Repository, read_document};
use super::{Claimant, python};
use crate::error::{Error, Kind, Result};
use crate::limits::CLAIM_BYTES;
use crate::storage::PutMode;
use serde::{Deserialize, Serialize};

/// The claim of a copy, which readers of claims take for any other.
#[derive(Serialize, Deserialize)]
struct CopyClaim {
    host: String,
    pid: u32,
    /// BLAKE3 of the document that is being copied.
    copies: String,
}

/// A level that is being copied. Dropped without a commit, it gives up its claim; what it wrote is nobody's then.
pub struct Copied {
    repository: Repository,
    location: BackupLocation,
    parent: Option<BackupEntry>,
    claim: Vec<u8>,
    document: Vec<u8>,
    is_taken_over: bool,
    is_settled: bool,
}

/// What to do about a claim that may be nobody's.
pub(super) const KILLED: &str =
    "a run that was killed may have left that; icecore check --clean removes it after a day";

impl Repository {
    /// Takes the name of a level that is to be copied with this document, and that builds on `parent`. None when the same level is there
    /// already.
    ///
    /// # Errors
    /// `AlreadyExists` when another level is there under the name, `Busy` when somebody writes one, and what the storage reports.
    pub fn begin_copy(
        &self,
        location: &BackupLocation,
        parent: Option<BackupEntry>,
        document: &[u8],
        claimant: &Claimant,
    ) -> Result<Option<Copied>> {
        if self.has_same(location, document)? {
            return Ok(None);
        }
        let name = location.claim()?;
        let copies = blake3::hash(document).to_hex().to_string();
        let own = CopyClaim { host: claimant.host.clone(), pid: claimant.pid, copies };
        let claim = python::to_line(&own);
        let is_taken_over = match self.storage.put_fleeting(&name, &claim) {
            Ok(()) => false,
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let there = self.storage.read_small(&name, CLAIM_BYTES).ok();
                let there = there.and_then(|bytes| serde_json::from_slice::<CopyClaim>(&bytes).ok());
                if there.is_none_or(|there| there.copies != own.copies) {
                    let what = "somebody is making a backup there under the same name:";
                    return Err(Error::new(Kind::Busy, what).on(location.to_string()).hint(KILLED));
                }
                self.storage.put(&name, &claim, PutMode::Replace)?;
                true
            }
            Err(error) => return Err(error.while_doing("cannot begin a copy at", location.to_string())),
        };
        let copied = Copied {
            repository: self.clone(),
            location: location.clone(),
            parent,
            claim,
            document: document.to_vec(),
            is_taken_over,
            is_settled: false,
        };
        // Somebody may have copied it, and given up the claim, since the first look.
        Ok(if self.has_same(location, document)? { None } else { Some(copied) })
    }

    /// Whether a level is there with this document.
    ///
    /// # Errors
    /// `AlreadyExists` when it is there with another one, and what the storage reports.
    pub fn has_same(&self, location: &BackupLocation, document: &[u8]) -> Result<bool> {
        match read_document(self.storage.as_ref(), &location.metadata()?) {
            Ok(there) if there == document => Ok(true),
            Ok(_) => Err(Error::new(Kind::AlreadyExists, "another backup is there under the same name:")
                .on(location.to_string())),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Copied {
    /// Makes the level exist: checks that all of it is there, that what it builds on is too, and puts the document.
    ///
    /// # Errors
    /// `Damaged` when an object is not as it was written or the chain was removed meanwhile, `Busy` when the claim is another's or gone,
    /// `AlreadyExists` when the name was taken, and what the storage reports.
    pub fn commit(mut self, data_bytes: u64, engine_metadata_bytes: u64) -> Result<()> {
        self.repository.check_size(&self.location.data()?, data_bytes)?;
        self.repository.check_size(&self.location.engine_metadata()?, engine_metadata_bytes)?;
        self.check_parent()?;
        if !self.holds_claim()? {
            return Err(self.claim_is_lost());
        }
        let name = self.location.metadata()?;
        // Whatever comes of it, the document may be there from here on.
        self.is_settled = true;
        if let Err(error) = self.repository.storage.put(&name, &self.document, PutMode::CreateNew) {
            // Its answer may have been lost; but another copy has put it when the claim is not this one's.
            let is_there = self.repository.has_same(&self.location, &self.document)? && self.holds_claim()?;
            if !is_there {
                return Err(error.while_doing("cannot commit", self.location.to_string()));
            }
        }
        self.check_again()
    }

    fn check_parent(&self) -> Result<()> {
        match self.repository.has_parent(&self.location, self.parent)? {
            true => Ok(()),
            false => Err(super::chain_is_gone(&self.location)),
        }
    }

    fn holds_claim(&self) -> Result<bool> {
        match self.repository.storage.read_small(&self.location.claim()?, CLAIM_BYTES) {
            Ok(there) => Ok(there == self.claim),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Limit) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`super::Pending`] does after its commit.
    fn check_again(&self) -> Result<()> {
        let error = if !self.repository.delete_if_there(&self.location.claim()?).unwrap_or(true) {
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
        Error::new(Kind::Busy, what).on(self.location.to_string())
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if !self.is_settled
            && !self.is_taken_over
            && self.holds_claim().unwrap_or(false)
            && let Ok(claim) = self.location.claim()
        {
            // What is left when this fails is taken over by the next copy.
            self.repository.delete_if_there(&claim).ok();
        }
    }
}
