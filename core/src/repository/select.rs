//! Picking backups from a listing: by id, by its beginning, by `latest`, by time. Pure.

use super::{BackupEntry, BackupLocation, Chain};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;
use std::fmt;

/// Fewest characters that pick a backup.
const PREFIX_MIN: usize = 4;
/// Most matches that an error names.
const MATCHES_SHOWN: usize = 5;
const ID_BYTES: usize = 8;

/// What people call a backup: 16 hexadecimal digits that follow from where it lives, so that no copy needs new ids and
/// Freezer's backups have some too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup: the first 8 bytes of the BLAKE3 hash of `engine/series/chain/level_timestamp`.
    pub fn of(location: &BackupLocation) -> BackupId {
        let hash = blake3::hash(location.to_string().as_bytes()).to_hex();
        BackupId(hash.chars().take(2 * ID_BYTES).collect())
    }

    /// The 16 digits.
    pub fn as_str(&self) -> &str {
        &self.0
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
pub fn find<'a>(backups: &'a [BackupLocation], text: &str) -> Result<&'a BackupLocation> {
    match text.strip_prefix("latest") {
        Some(rest) => find_latest(backups, rest, text),
        None => find_by_id(backups, text),
    }
}

fn find_latest<'a>(backups: &'a [BackupLocation], rest: &str, text: &str) -> Result<&'a BackupLocation> {
    let back: usize = match rest.strip_prefix('~') {
        Some(number) => number.parse().map_err(|_| not_an_id(text))?,
        None if rest.is_empty() => 0,
        None => return Err(not_an_id(text)),
    };
    let mut newest_first: Vec<_> = backups.iter().collect();
    newest_first.sort_unstable_by(|a, b| (b.entry.timestamp, b).cmp(&(a.entry.timestamp, a)));
    newest_first.get(back).copied().ok_or_else(|| no_backup(text))
}

fn find_by_id<'a>(backups: &'a [BackupLocation], text: &str) -> Result<&'a BackupLocation> {
    let prefix = text.to_ascii_lowercase();
    let hexadecimal = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !(PREFIX_MIN..=2 * ID_BYTES).contains(&prefix.len()) {
        return Err(not_an_id(text));
    }
    let matches: Vec<_> =
        backups.iter().filter(|location| BackupId::of(location).as_str().starts_with(&prefix)).collect();
    match matches.as_slice() {
        [] => Err(no_backup(text)),
        [one] => Ok(one),
        several => Err(ambiguous(text, several)),
    }
}

fn not_an_id(text: &str) -> Error {
    Error::new(Kind::NotFound, "not the id of a backup:").on(text).hint(
        "an id has 16 hexadecimal digits, of which the first 4 or more will do; or say latest, or latest~1",
    )
}

fn no_backup(text: &str) -> Error {
    Error::new(Kind::NotFound, "no backup").on(text).hint("icecore list shows what there is")
}

fn ambiguous(text: &str, matches: &[&BackupLocation]) -> Error {
    let shown: Vec<_> =
        matches.iter().take(MATCHES_SHOWN).map(|one| format!("{} ({one})", BackupId::of(one))).collect();
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
