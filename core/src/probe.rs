//! The verb `storage test`: whether a storage keeps what the page of [`crate::storage`] promises, and how fast it is.
//!
//! Everything happens in a folder of its own, whose name is random and belongs to no repository. It is removed at the end,
//! whatever happened: both what a listing shows and what was written by name, since the listing may be what is wrong. What
//! cannot be removed is named.
//!
//! A claim is a story that the storage is made to live through (`claims`, `lists`, `racing`); its verdict is that it
//! holds, that it does not, with what was seen, or that it cannot be told because the storage could not be reached. One
//! claim is a capability only, unless the storage says that it has it: that of several creations at once one wins.

mod claims;
mod lists;
mod racing;
mod speed;

use crate::error::{Error, Kind, Result, Retry};
use crate::limits::PROBE_NAMED;
use crate::monitor::Monitor;
use crate::name::ObjectName;
use crate::pipe;
use crate::repository::vault::seal;
use crate::storage::{Depth, Listed, ObjectWriter, PutMode, Storage};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

const REMOVED: &str = "everything that was written is removed again";

/// What to do.
pub struct Options<'a> {
    /// Time that has passed, since any moment.
    pub clock: &'a (dyn Fn() -> Duration + Sync),
    /// Requests that are under way at a time, at most.
    pub connections: usize,
    /// Small objects that are put, listed and read.
    pub objects: u32,
    /// Objects of the size of a pack that are put and read; with none, that speed is not measured.
    pub large_objects: u32,
    /// Also writes one object of so many bytes, unless it is zero.
    pub long_object_bytes: u64,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, as far as anybody can see.
    Holds,
    /// It does not: what was seen.
    Fails(String),
    /// The storage did not let itself be asked: why.
    Unknown(String),
}

/// What a storage should do, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it should do, in words.
    pub name: &'static str,
    /// Whether backups rely on it. Otherwise it is good to have.
    pub is_required: bool,
    /// Whether it does.
    pub verdict: Verdict,
}

/// How fast something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// What was done.
    pub what: &'static str,
    /// Requests under way at a time.
    pub in_flight: usize,
    /// How many requests.
    pub requests: u32,
    /// Bytes of one.
    pub each_bytes: u64,
    /// How long all took.
    pub took: Duration,
    /// How long one took that was faster than half of them, and slower than the others.
    pub median: Duration,
}

impl Measurement {
    /// Requests in a second.
    pub fn per_second(&self) -> f64 {
        f64::from(self.requests) / self.took.as_secs_f64().max(1e-9)
    }

    /// Bytes in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second() * self.each_bytes as f64
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Of a claim.
    Claim(Claim),
    /// Of a measurement.
    Measurement(Measurement),
}

/// What all came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Claims that hold.
    pub held: u32,
    /// Claims that do not.
    pub failed: u32,
    /// Claims of which it cannot be told.
    pub unknown: u32,
    /// Claims that backups rely on and that do not hold, or of which it cannot be told.
    pub missing: u32,
    /// The folder that was used.
    pub folder: String,
    /// What is left of it, by name: the first few.
    pub left: Vec<String>,
}

/// Tries a storage out, and hands out each answer as it is found.
///
/// # Errors
/// `Interrupted`; what `found` fails with. That a storage does not do what it should is no error but an answer.
pub fn run(
    storage: &dyn Storage,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Found) -> Result<()>,
) -> Result<Summary> {
    let run: [u8; 8] = seal::random()?;
    let folder = ObjectName::new(format!("icecore-test-{:016x}", u64::from_le_bytes(run)))?;
    let trial = Trial { storage, options, monitor, folder, written: Mutex::new(BTreeSet::new()) };
    let mut summary = Summary { folder: trial.folder.to_string(), ..Summary::default() };
    let mut told = |answer: Found| {
        summary.count(&answer);
        found(&answer)
    };
    let tried = trial.run(&mut told);
    let removed = claim(REMOVED, true, trial.remove_all());
    let told = tried.and_then(|()| told(Found::Claim(removed)));
    summary.left = trial.written().iter().take(PROBE_NAMED).cloned().collect();
    match told {
        Err(error) if !summary.left.is_empty() => Err(error.while_doing("could not remove", summary.folder)),
        other => other.map(|()| summary),
    }
}

impl Summary {
    fn count(&mut self, answer: &Found) {
        let Found::Claim(claim) = answer else { return };
        let counter = match claim.verdict {
            Verdict::Holds => &mut self.held,
            Verdict::Fails(_) => &mut self.failed,
            Verdict::Unknown(_) => &mut self.unknown,
        };
        *counter += 1;
        self.missing += u32::from(claim.is_required && claim.verdict != Verdict::Holds);
    }
}

/// Why a claim is not known to hold.
enum Doubt {
    /// Something else was seen.
    Seen(String),
    /// A call failed that should not, or nobody could be asked.
    Failed(Error),
    /// What was seen proves nothing.
    Unsure(String),
}

impl From<Error> for Doubt {
    fn from(error: Error) -> Doubt {
        Doubt::Failed(error)
    }
}

/// What a story comes to.
type Told = Result<(), Doubt>;

/// A story about one claim.
type Story = fn(&Trial<'_>) -> Told;

/// That what was seen is what should be.
fn expect(is_so: bool, otherwise: impl FnOnce() -> String) -> Told {
    if is_so { Ok(()) } else { Err(Doubt::Seen(otherwise())) }
}

/// That a call was refused in a way.
fn expect_refused<T>(outcome: Result<T>, kind: Kind, what: &str) -> Told {
    match outcome {
        Ok(_) => Err(Doubt::Seen(format!("{what}, and that was not refused"))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) if is_out_of_reach(&error) => Err(error.into()),
        Err(error) => Err(Doubt::Seen(format!("{what}, and that was refused for another reason: {error}"))),
    }
}

/// Whether an error says nothing about what the storage does when it can be reached.
fn is_out_of_reach(error: &Error) -> bool {
    error.retry() == Retry::Later || matches!(error.kind(), Kind::Io | Kind::Interrupted | Kind::Stopped)
}

/// What a story says of a claim.
fn claim(name: &'static str, is_required: bool, told: Told) -> Claim {
    let verdict = match told {
        Ok(()) => Verdict::Holds,
        Err(Doubt::Seen(seen)) => Verdict::Fails(seen),
        Err(Doubt::Unsure(why)) => Verdict::Unknown(why),
        Err(Doubt::Failed(error)) if is_out_of_reach(&error) => Verdict::Unknown(error.to_string()),
        Err(Doubt::Failed(error)) => Verdict::Fails(error.to_string()),
    };
    Claim { name, is_required, verdict }
}

/// The storage, and a folder in it.
struct Trial<'a> {
    storage: &'a dyn Storage,
    options: &'a Options<'a>,
    monitor: &'a dyn Monitor,
    folder: ObjectName,
    /// What may be there, by whole names.
    written: Mutex<BTreeSet<String>>,
}

impl Trial<'_> {
    fn run(&self, found: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        for (name, story) in claims::STORIES.iter().chain(lists::STORIES).chain(racing::STORIES) {
            self.tell(name, true, story(self), found)?;
        }
        let is_promised = self.storage.capabilities().create_new_is_atomic;
        self.tell(racing::ONE_WINS, is_promised, racing::one_creation_wins(self), found)?;
        if self.options.long_object_bytes > 0 {
            self.tell(claims::LONG, true, claims::long_object(self), found)?;
        }
        let mut measured = Vec::new();
        let served = speed::small(self, &mut measured).and_then(|()| speed::large(self, &mut measured));
        self.tell(speed::SERVED, true, served, found)?;
        self.tell(lists::COMPLETE, true, lists::complete(self), found)?;
        measured.into_iter().try_for_each(|row| found(Found::Measurement(row)))
    }

    fn tell(
        &self,
        name: &'static str,
        is_required: bool,
        told: Told,
        found: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        self.monitor.check()?;
        match told {
            Err(Doubt::Failed(error)) if error.kind() == Kind::Interrupted => Err(error),
            told => found(Found::Claim(claim(name, is_required, told))),
        }
    }

    fn written(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.written.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A name in the folder.
    fn name(&self, text: &str) -> Result<ObjectName> {
        self.folder.join(text)
    }

    /// A name in the folder under which something is about to be written.
    fn taken(&self, text: &str) -> Result<ObjectName> {
        let name = self.name(text)?;
        self.written().insert(name.to_string());
        Ok(name)
    }

    fn put(&self, text: &str, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.storage.put(&self.taken(text)?, bytes, mode)
    }

    fn writer(&self, text: &str, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.storage.writer(&self.taken(text)?, mode)
    }

    /// All of an object, and a byte more if there is one that should not be.
    fn read(&self, text: &str, expected_bytes: usize) -> Result<Vec<u8>> {
        self.storage.read(&self.name(text)?, 0, expected_bytes.saturating_add(1))
    }

    fn stat(&self, text: &str) -> Result<u64> {
        Ok(self.storage.stat(&self.name(text)?)?.size_bytes)
    }

    fn delete(&self, text: &str) -> Result<()> {
        self.storage.delete(&self.name(text)?)
    }

    /// That an object is these bytes.
    fn expect_read(&self, text: &str, expected: &[u8], when: &str) -> Told {
        let read = match self.read(text, expected.len()) {
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(Doubt::Seen(format!("{text} was not there {when}")));
            }
            read => read?,
        };
        expect(read == expected, || match read.len() == expected.len() {
            true => format!("{text} had other bytes {when}"),
            false => format!("{text} had {} bytes {when}, not {}", read.len(), expected.len()),
        })
    }

    /// A listing of a folder, as sorted text: `name size`, `name/`, `? label`; names without the trial's own folder.
    fn rows(&self, prefix: &str, depth: Depth) -> Result<Vec<String>> {
        let prefix = if prefix.is_empty() { self.folder.clone() } else { self.name(prefix)? };
        let head = format!("{}/", self.folder);
        let short = |name: ObjectName| name.as_str().strip_prefix(&head).unwrap_or(name.as_str()).to_owned();
        let mut rows = Vec::new();
        self.storage.list(Some(&prefix), depth, &mut |row| {
            rows.push(match row {
                Listed::Object { name, size_bytes } => format!("{} {size_bytes}", short(name)),
                Listed::Folder { name } => format!("{}/", short(name)),
                Listed::Stray { label } => format!("? {label}"),
            });
            Ok(())
        })?;
        rows.sort();
        Ok(rows)
    }

    /// That a listing has these rows.
    fn expect_rows(&self, prefix: &str, depth: Depth, expected: &[String], when: &str) -> Told {
        let rows = self.rows(prefix, depth)?;
        let lacks = first_beside(expected, &rows);
        let has = first_beside(&rows, expected);
        let place = if prefix.is_empty() { "the folder" } else { prefix };
        match (lacks, has) {
            _ if rows == expected => Ok(()),
            (Some(row), _) => Err(Doubt::Seen(format!("the listing of {place} lacked {row:?} {when}"))),
            (None, Some(row)) => Err(Doubt::Seen(format!("the listing of {place} had {row:?} {when}"))),
            (None, None) => {
                Err(Doubt::Seen(format!("the listing of {place} had rows more than once {when}")))
            }
        }
    }

    /// Does something several times, with some of it under way at a time; what came of each, in order.
    fn at_once<U: Send>(
        &self,
        in_flight: usize,
        times: u32,
        act: impl Fn(u32) -> Result<U> + Sync,
    ) -> Result<Vec<U>> {
        let produce = |sender: &mut pipe::Sender<u32>| {
            (0..times).try_for_each(|number| {
                self.monitor.check()?;
                sender.send(number)
            })
        };
        let act = &act;
        let consume = |receiver: &mut pipe::Receiver<U>| {
            let mut all = Vec::new();
            while let Some(one) = receiver.receive()? {
                all.push(one);
            }
            Ok(all)
        };
        pipe::run_mapped(in_flight, in_flight, produce, || Ok(act), consume).map(|(_, all)| all)
    }

    /// Removes all that is there, or may be.
    fn remove_all(&self) -> Told {
        let listed = self.list_names();
        let names: Vec<String> = {
            let mut written = self.written();
            written.extend(listed.as_ref().into_iter().flatten().cloned());
            written.iter().cloned().collect()
        };
        // Nobody is asked whether to stop: what was begun is cleared away.
        let in_flight = self.options.connections;
        let produce =
            |sender: &mut pipe::Sender<String>| names.iter().try_for_each(|name| sender.send(name.clone()));
        let remove = |name: String| Ok(self.remove(&name).err());
        let mut first = None;
        let consume = |receiver: &mut pipe::Receiver<Option<Error>>| {
            while let Some(outcome) = receiver.receive()? {
                first = first.take().or(outcome);
            }
            Ok(())
        };
        pipe::run_mapped(in_flight, in_flight, produce, || Ok(remove), consume)?;
        if let Some(error) = first {
            return Err(error.into());
        }
        listed?;
        let left = self.list_names()?;
        self.written().extend(left.iter().cloned());
        expect(left.is_empty(), || format!("{} objects are left in {}", left.len(), self.folder))
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.storage.delete(&ObjectName::new(name)?) {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
        self.written().remove(name);
        Ok(())
    }

    fn list_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.storage.list(Some(&self.folder), Depth::All, &mut |row| {
            names.extend(match row {
                Listed::Object { name, .. } => Some(name.to_string()),
                Listed::Folder { .. } | Listed::Stray { .. } => None,
            });
            Ok(())
        })?;
        Ok(names)
    }
}

/// The first of `some` that is not among `others`.
fn first_beside<'s>(some: &'s [String], others: &[String]) -> Option<&'s String> {
    let others: BTreeSet<&String> = others.iter().collect();
    some.iter().find(|row| !others.contains(row))
}

/// Bytes that differ from place to place and from seed to seed.
fn bytes_of(seed: u32, length_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; length_bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
