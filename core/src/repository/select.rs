//! Picking backups from a listing: by id, by its beginning, by `latest`, by time. Pure.

use super::vault::ObjectId;
use super::{BackupEntry, BackupLocation, Chain};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::fmt;

/// Fewest characters that pick a backup.
const PREFIX_MIN: usize = 4;
/// Most matches that an error names.
const MATCHES_SHOWN: usize = 5;
const ID_BYTES: usize = 8;
/// Digits of the longest id.
const ID_DIGITS_MAX: usize = 64;
/// Digits of a snapshot's id that are shown, where those are enough.
const SHOWN_DIGITS: usize = 12;

/// What people call a backup. Of a level: 16 hexadecimal digits that follow from where it lives, so that no copy needs new ids
/// and Freezer's backups have some too. Of a snapshot: the 64 digits of its object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup: the first 8 bytes of the BLAKE3 hash of `engine/series/chain/level_timestamp`.
    pub fn of(location: &BackupLocation) -> BackupId {
        let hash = blake3::hash(location.to_string().as_bytes()).to_hex();
        BackupId(hash.chars().take(2 * ID_BYTES).collect())
    }

    /// The id of a snapshot: that of its object.
    pub fn of_snapshot(id: ObjectId) -> BackupId {
        BackupId(id.to_string())
    }

    /// All its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As many digits as are shown where nobody else has them.
    pub fn short(&self) -> &str {
        self.first(SHOWN_DIGITS)
    }

    /// The first digits, but never a part of an id that is short by itself.
    fn first(&self, digits: usize) -> &str {
        if self.0.len() <= 2 * ID_BYTES { &self.0 } else { self.0.get(..digits).unwrap_or(&self.0) }
    }
}

/// Each of some ids, with as many of its digits as tell all of them apart.
pub fn shortened(ids: &[BackupId]) -> Vec<String> {
    let mut sorted: Vec<&str> = ids.iter().map(BackupId::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let shared = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let longest = sorted.windows(2).map(shared).max().unwrap_or(0);
    ids.iter().map(|id| id.first(SHOWN_DIGITS.max(longest + 1)).to_owned()).collect()
}

/// A backup that can be picked by its id or its age.
pub trait Pickable: fmt::Display {
    /// What it is called.
    fn id(&self) -> BackupId;

    /// Older backups are less.
    fn by_age(&self, other: &Self) -> Ordering;
}

impl Pickable for BackupLocation {
    fn id(&self) -> BackupId {
        BackupId::of(self)
    }

    fn by_age(&self, other: &Self) -> Ordering {
        (self.entry.timestamp, self).cmp(&(other.entry.timestamp, other))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds a backup by what a user typed: an id or its first characters, `latest`, or `latest~2` for the second before it.
///
/// # Errors
/// `NotFound` when nothing matches or the text is none of these, `Invalid` when more than one backup matches.
pub fn find<'a, B: Pickable>(backups: &'a [B], text: &str) -> Result<&'a B> {
    match text.strip_prefix("latest") {
        Some(rest) => find_latest(backups, rest, text),
        None => find_by_id(backups, text),
    }
}

fn find_latest<'a, B: Pickable>(backups: &'a [B], rest: &str, text: &str) -> Result<&'a B> {
    let back: usize = match rest.strip_prefix('~') {
        Some(number) => number.parse().map_err(|_| not_an_id(text))?,
        None if rest.is_empty() => 0,
        None => return Err(not_an_id(text)),
    };
    let mut newest_first: Vec<_> = backups.iter().collect();
    newest_first.sort_by(|a, b| b.by_age(a));
    newest_first.get(back).copied().ok_or_else(|| match newest_first.len() {
        0 => no_backup(text),
        1 => no_backup(text).hint("there is one only: latest"),
        count => no_backup(text).hint(format!("there are {count}: latest to latest~{}", count - 1)),
    })
}

fn find_by_id<'a, B: Pickable>(backups: &'a [B], text: &str) -> Result<&'a B> {
    let prefix = text.to_ascii_lowercase();
    let hexadecimal = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !(PREFIX_MIN..=ID_DIGITS_MAX).contains(&prefix.len()) {
        return Err(not_an_id(text));
    }
    let matches: Vec<_> = backups.iter().filter(|backup| backup.id().as_str().starts_with(&prefix)).collect();
    match matches.as_slice() {
        [] => Err(no_backup(text)),
        [one] => Ok(one),
        several => Err(ambiguous(text, several)),
    }
}

fn not_an_id(text: &str) -> Error {
    Error::new(Kind::NotFound, "not the id of a backup:").on(text).hint(
        "an id has 16 or 64 hexadecimal digits, of which the first 4 or more will do; or say latest, or latest~1",
    )
}

fn no_backup(text: &str) -> Error {
    Error::new(Kind::NotFound, "no backup").on(text).hint("icecore list shows what there is")
}

fn ambiguous<B: Pickable>(text: &str, matches: &[&B]) -> Error {
    let ids: Vec<BackupId> = matches.iter().map(|one| one.id()).collect();
    let shown = shortened(&ids).into_iter().zip(matches).take(MATCHES_SHOWN);
    let shown: Vec<_> = shown.map(|(id, one)| format!("{id} ({one})")).collect();
    let more = if matches.len() > MATCHES_SHOWN { " …" } else { "" };
    Error::invalid(format!("{} backups match", matches.len()), text)
        .hint(format!("type more of the id: {}{more}", shown.join(", ")))
}

/// The newest backup of a series that is not newer than `at`, whatever its chain and level.
pub fn newest(chains: &[Chain], at: Option<Timestamp>) -> Option<(&Chain, BackupEntry)> {
    chains
        .iter()
        .filter_map(|chain| chain.newest(at).map(|entry| (chain, entry)))
        .max_by_key(|(chain, entry)| (entry.timestamp, chain.start))
}
