//! Levels that are encrypted anew while they are copied: decrypted, encrypted and stored in one pass, never decompressed. What is stored at
//! the source is compared with its hash on the way, and nothing is committed unless it was read to its end and was right.
//!
//! Invariant: all levels of a chain that is there open with the same. One that was not copied with what is asked for now, is named.

use super::Copy;
use crate::chain;
use crate::error::{Error, Kind, Result};
use crate::keyring::sealing::{self, Encryption, FREEZERS_WORTH, Seal};
use crate::keyring::{Key, Keyring};
use crate::limits::{PACKS_WAITING, READ_BYTES};
use crate::monitor::Event;
use crate::pipe::{self, Receiver, Sender};
use crate::repository::document::{Reencrypted, Scheme, Stored, not_vouched_for};
use crate::repository::pending::{Claimant, DataWriter, Reencrypting};
use crate::repository::reading::Step;
use crate::repository::{BackupEntry, BackupLocation};
use std::io::{self, Read, Write};

/// How chains are encrypted where they are copied to.
pub struct Anew<'a> {
    /// How.
    pub encryption: Encryption,
    /// What opens them where they are copied from.
    pub opens: &'a Keyring<'a>,
    /// What opens the chains that are there, and gives the password for new ones.
    pub keys: &'a Keyring<'a>,
}

impl Copy<'_> {
    /// How a level that is there is encrypted, so that more can build on it.
    ///
    /// # Errors
    /// `AlreadyExists` when that is not as it is asked for, `WrongPassword` when it is under another password; as the storage has it.
    pub(super) fn seal_of(&self, anew: &Anew<'_>, location: &BackupLocation) -> Result<Seal> {
        let step = self.to.step(location.clone())?;
        let not_opened = |error: Error| {
            let error = error.while_doing("cannot go on with", location.to_string());
            match error.kind() {
                Kind::WrongPassword => {
                    error.hint("give the password that it was copied with, or forget the chain there")
                }
                _ => error,
            }
        };
        let recipients = step.document.details.as_ref().and_then(|details| details.origin?.recipients);
        Ok(match (&anew.encryption, step.document.scheme()) {
            (Encryption::None, Scheme::None) => Seal::None,
            (Encryption::Password, Scheme::Age { locked_key: Some(locked) }) => {
                let to = anew.keys.recipients(locked).map_err(not_opened)?;
                Seal::Age { to, locked_key: Some(locked.clone()) }
            }
            (Encryption::Recipients(to), Scheme::Age { locked_key: None })
                if recipients == Some(to.fingerprint()) =>
            {
                Seal::Age { to: to.clone(), locked_key: None }
            }
            (Encryption::Freezer, Scheme::OpenSsl) => {
                anew.keys.key_of(self.to, &step, &chain::compressions(&step)?).map_err(not_opened)?;
                Seal::freezers(anew.keys)?
            }
            _ => {
                let what = "it is there, but not encrypted as it is asked for now:";
                return Err(Error::new(Kind::AlreadyExists, what).on(location.to_string()).hint(
                    "say what was said when it was copied, or forget the chain there, and copy it again",
                ));
            }
        })
    }

    /// How a chain that is not there yet is encrypted.
    ///
    /// # Errors
    /// As the keyring and the storage have it.
    pub(super) fn new_seal(&mut self, anew: &Anew<'_>, location: &BackupLocation) -> Result<Seal> {
        Ok(match &anew.encryption {
            Encryption::None => Seal::None,
            Encryption::Recipients(to) => Seal::Age { to: to.clone(), locked_key: None },
            Encryption::Password => {
                let (to, locked) = match self.new_key.take() {
                    Some(known) => known,
                    None => {
                        let there = self.to.chains(&location.engine, &location.name)?.chains;
                        let ours = there.iter().filter(|chain| !self.to.is_old(chain));
                        let newest = ours.max_by_key(|chain| chain.start);
                        sealing::key_of_the_series(self.to, newest, anew.keys, self.monitor)?
                    }
                };
                self.new_key = Some((to.clone(), locked.clone()));
                Seal::Age { to, locked_key: Some(locked) }
            }
            Encryption::Freezer => {
                let seal = Seal::freezers(anew.keys)?;
                if !self.has_warned {
                    self.monitor.event(Event::Warning(FREEZERS_WORTH));
                    self.has_warned = true;
                }
                seal
            }
        })
    }

    /// What opens a level at the source, if it can be encrypted as it is asked for.
    ///
    /// # Errors
    /// `Unsupported` for a level of Freezer's, `Invalid` for a compression that does not go with the encryption; as [`Keyring::key_of`].
    pub(super) fn opener(&self, anew: &Anew<'_>, step: &Step) -> Result<Key> {
        if step.document.details.is_none() {
            return Err(not_vouched_for().on(step.location.to_string()));
        }
        let compressions = chain::compressions(step)?;
        compressions.iter().try_for_each(|compression| anew.encryption.validate(*compression))?;
        anew.opens.key_of(self.from, step, &compressions)
    }

    /// Copies a level whose document at the source is `ours`.
    ///
    /// # Errors
    /// `Damaged` naming the object at the source; as either storage has it.
    pub(super) fn reencrypt(
        &mut self,
        step: &Step,
        parent: Option<BackupEntry>,
        ours: &[u8],
        key: &Key,
        seal: &Seal,
    ) -> Result<()> {
        let claimant = Claimant { host: self.options.host.clone(), pid: self.options.process.number };
        let begun = self.to.begin_reencrypting(&step.location, parent, ours, &claimant)?;
        // Before the stream, so that one that is damaged leaves nothing there.
        let mut state = chain::engine_metadata(self.from, step, key, self.scratch)?;
        let data = self.stream(step, key, seal, &begun)?;
        let engine_metadata = match seal.state(&mut state, self.scratch)? {
            Some(mut sealed) => begun.engine_metadata(&mut sealed)?,
            None => begun.engine_metadata(&mut state)?,
        };
        self.report.added_bytes += data.size_bytes + engine_metadata.size_bytes;
        let (scheme, recipients) = (seal.scheme(), seal.recipients());
        let made = Reencrypted { data, engine_metadata, scheme, recipients };
        let document = step.document.reencrypted(ours, made);
        let document = document.map_err(|error| error.on(step.location.to_string()))?;
        self.monitor.check()?;
        begun.commit(&document.encode()?, data, engine_metadata)
    }

    /// The stream: decrypted while it is encrypted. Its end is written only when the whole is what was promised.
    fn stream(&self, step: &Step, key: &Key, seal: &Seal, begun: &Reencrypting) -> Result<Stored> {
        let object = step.location.data()?.to_string();
        let monitor = self.monitor;
        let mut source = chain::Source::new(self.from.data_reader(step)?, monitor);
        let read = |sender: &mut Sender<Vec<u8>>| {
            let failed = |error| Error::io("cannot read", &object, error);
            let mut plain =
                key.open(&mut source).map_err(|error| error.while_doing("cannot read", &object))?;
            loop {
                monitor.check()?;
                let mut block = Vec::with_capacity(READ_BYTES);
                plain.by_ref().take(READ_BYTES as u64).read_to_end(&mut block).map_err(failed)?;
                if block.is_empty() {
                    break;
                }
                sender.send(block)?;
            }
            drop(plain);
            // Wherever the plain stream ends: what is stored is compared when its end has been read.
            io::copy(&mut source, &mut io::sink()).map_err(failed)?;
            Ok(())
        };
        let write = |receiver: &mut Receiver<Vec<u8>>| {
            let mut stream = seal.writer(Outlet(begun.data_writer()?))?;
            while let Some(block) = receiver.receive()? {
                stream.write_all(&block).map_err(|e| Error::io("cannot store", "the stream", e))?;
            }
            stream.finish()?.0.finish()
        };
        let ((), stored) = pipe::run(PACKS_WAITING, read, write)?;
        Ok(stored)
    }
}

/// Where an encrypted stream goes to.
struct Outlet(DataWriter);

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
