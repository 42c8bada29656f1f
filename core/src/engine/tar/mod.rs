//! The `tar` engine: GNU incremental archives and snapshot files, read and written without a subprocess.
//!
//! A level is one archive. Each directory is a member whose body (the [`dumpdir`]) lists its entries and says which of them
//! this archive holds; what a directory of an earlier level had and this one does not list was deleted. The engine metadata
//! is GNU tar's [`snapshot`] file. Both are as GNU tar writes them, so `tar --incremental -x` restores our chains and
//! `tar --listed-incremental` continues them, and the other way round. `docs/format/tar.md` has the details.
//!
//! The codec, pure bytes: [`member`] is what both ends share, [`writer`] and [`reader`] turn it into archives and back with
//! the help of [`header`], [`pax`], [`sparse`] and [`input`]; [`dumpdir`] is the listing inside a directory's member, and
//! [`snapshot`] the file that an incremental backup starts from.

mod backup;
pub mod dumpdir;
mod file;
pub mod header;
pub mod input;
pub mod member;
mod path;
pub mod pax;
pub mod reader;
mod renames;
pub(super) mod restore;
mod selection;
pub mod snapshot;
pub mod sparse;
mod tree;
pub mod writer;

use super::{BackupJob, Chain, Engine, Found, Reading, RestoreJob, StreamEngine, Way};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::pipe::BlockWriter;
use crate::spool::{Scratch, Spool};
use crate::tree::acl;
use crate::tree::owner::Owners;
use crate::tree::target::Target;
use std::io::Read;

/// The `tar` engine.
pub struct Tar;

impl Engine for Tar {
    fn name(&self) -> &'static str {
        "tar"
    }

    fn way(&self) -> Way<'_> {
        Way::Levels(self)
    }
}

impl StreamEngine for Tar {
    fn backup(&self, job: BackupJob<'_>, out: &mut BlockWriter<'_>) -> Result<Spool> {
        backup::run(job, out)
    }

    fn restore(
        &self,
        job: RestoreJob<'_>,
        chain: &mut dyn Chain,
        target: Option<&mut Target<'_>>,
    ) -> Result<()> {
        restore::run(job, chain, target)
    }

    fn verify(&self, chain: &mut dyn Chain, monitor: &dyn Monitor) -> Result<()> {
        chain.stream(0, &mut |input| {
            let mut archive = open_archive(input);
            let mut buffer = vec![0; crate::limits::READ_BYTES];
            while archive.next()?.is_some() {
                monitor.check()?;
                while archive.read(&mut buffer)? > 0 {}
            }
            Ok(Reading::ToTheEnd)
        })
    }

    fn tree(
        &self,
        chain: &mut dyn Chain,
        _scratch: &Scratch,
        monitor: &dyn Monitor,
        found: Found<'_>,
    ) -> Result<()> {
        tree::run(chain, monitor, found)
    }
}

/// An archive whose ACLs, which name users and groups as text, become the kernel's with the names that are known here.
fn open_archive<R: Read>(input: R) -> reader::ArchiveReader<R> {
    let owners = Owners::new();
    reader::ArchiveReader::new(input).acl_from_text(move |text| {
        let mut resolve = |qualifier, name: &[u8]| match qualifier {
            acl::Qualifier::User => owners.uid_of(name),
            acl::Qualifier::Group => owners.gid_of(name),
        };
        acl::from_text(text, &mut resolve).ok()
    })
}

#[cfg(test)]
mod tests;
