//! Which level the next backup of a series gets, and which backups a restore of one applies. Pure: no storage, no clock.
//!
//! The outcomes are those of Freezer's agent (`max_level`, `always_level`, `restart_always_level`), so that both programs can
//! take turns on one series. Where Freezer depends on the order of a listing, the newest of several backups of one level
//! counts; where it never restarts a chain that is added to, this does; where Freezer crashes or builds on sand (a level is missing, the clock was set back), a new full backup is made
//! and the reason is given. Invariant: a parent is always a backup of the chain that a restore can reach without a gap.

use crate::error::{Error, Result};
use crate::limits::{CLOCK_SLACK_SECONDS, LEVEL_MAX};
use crate::name::Level;
use crate::time::Timestamp;
use std::fmt;

#[cfg(test)]
mod tests;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// One backup of a chain, as its name on storage tells it. Ordered by level, then by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupEntry {
    /// Its place in the chain.
    pub level: Level,
    /// When it was begun; unique within a chain and level.
    pub timestamp: Timestamp,
}

/// A chain as it was listed: what a decision needs to know of it.
#[derive(Debug, Clone, Copy)]
pub struct ChainView<'a> {
    /// The timestamp of its level 0, which names the chain.
    pub start: Timestamp,
    /// All its backups, duplicates of a level among them, in any order.
    pub backups: &'a [BackupEntry],
}

/// What the user wants of levels. As for Freezer, `0` and `None` both mean "not set".
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Policy {
    /// Build on the chain there is; otherwise every backup is full.
    pub incremental: bool,
    /// A full backup follows this level: with 2 the levels are 0, 1, 2, 0, 1, 2 …
    pub max_level: Option<u32>,
    /// Once reached, this level is made again and again: with 2 the levels are 0, 1, 2, 2, 2 …
    pub always_level: Option<u32>,
    /// A full backup when the chain's is older than this many days. (Freezer counts from the newest increment, so that a series that
    /// is added to more often than that never begins anew.)
    pub restart_after_days: Option<f64>,
}

/// What comes next, as a value: a dry run prints it, a backup carries it out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// A new chain.
    Full(Reason),
    /// One more backup of a chain.
    Increment {
        /// The chain, by the timestamp of its level 0.
        chain: Timestamp,
        /// The backup it is an increment to.
        parent: BackupEntry,
        /// The level of the new backup: the parent's plus one.
        level: Level,
    },
}

/// Why a backup is a full one. Its `Display` completes "full backup: …".
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Increments were not asked for.
    NotIncremental,
    /// There is no earlier backup to build on.
    FirstBackup,
    /// The chain has reached `max_level`.
    MaxLevel(u32),
    /// The chain is higher than `always_level`.
    AboveAlwaysLevel(u32),
    /// The chain's full backup is older than this many days.
    Restart(f64),
    /// The chain cannot be restored up to its top, since this level is missing.
    Gap(Level),
    /// The clock shows an earlier time than the backup that would be built on.
    ClockSetBack(Timestamp),
    /// The chain has as many levels as a chain can have.
    TopLevel,
    /// The state of the backup that would be built on cannot be read.
    Damaged,
    /// The chain is encrypted in another way, or under another key, or not at all.
    EncryptedOtherwise,
    /// The chain is encrypted to recipients, and what the next level needs of it was not kept on this machine.
    NothingKept,
    /// Another program wrote the chain, in a form that the engine does not continue.
    Foreign,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotIncremental => f.write_str("increments were not asked for"),
            Reason::FirstBackup => f.write_str("there is no earlier backup"),
            Reason::MaxLevel(level) => write!(f, "the highest level wanted, {level}, is reached"),
            Reason::AboveAlwaysLevel(level) => write!(f, "the chain is above the level to stay at, {level}"),
            Reason::Restart(days) => write!(f, "the full backup of the chain is older than {days} days"),
            Reason::Gap(level) => write!(f, "level {level} of the chain is missing"),
            Reason::ClockSetBack(then) => {
                write!(f, "the clock is behind the last backup ({}); was it set back?", then.rfc3339())
            }
            Reason::Foreign => f.write_str("the chain was written by Freezer, in another form"),
            Reason::Damaged => f.write_str("the backup before is damaged"),
            Reason::EncryptedOtherwise => f.write_str("the backup before is not encrypted in the same way"),
            Reason::NothingKept => f.write_str(
                "what an increment needs of the backup before was not kept here, and only its recipients can read it",
            ),
            Reason::TopLevel => write!(f, "a chain cannot have more levels than {LEVEL_MAX}"),
        }
    }
}

impl Policy {
    /// Refuses what makes no sense before anything is done.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`]: a level rule without `incremental`, a level beyond [`LEVEL_MAX`], days that are
    /// negative or not a number.
    pub fn validate(&self) -> Result<()> {
        for (option, level) in [("--max-level", self.max_level()), ("--always-level", self.always_level())] {
            let Some(level) = level else { continue };
            if !self.incremental {
                return Err(Error::invalid("only increments have levels; use --incremental with", option));
            }
            if level > LEVEL_MAX {
                return Err(Error::invalid(format!("a level is at most {LEVEL_MAX}, not {level}:"), option));
            }
        }
        match self.restart_after_days {
            Some(days) if !days.is_finite() || days < 0.0 => {
                Err(Error::invalid("not a number of days:", days.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn max_level(&self) -> Option<u32> {
        self.max_level.filter(|&level| level != 0)
    }

    fn always_level(&self) -> Option<u32> {
        self.always_level.filter(|&level| level != 0)
    }

    fn restart_after_days(&self) -> Option<f64> {
        self.restart_after_days.filter(|&days| days != 0.0)
    }
}

/// Decides the level of a backup that begins `now`, on top of the newest chain of its series.
///
/// # Errors
/// As [`Policy::validate`].
pub fn decide(policy: &Policy, newest_chain: Option<ChainView<'_>>, now: Timestamp) -> Result<Decision> {
    policy.validate()?;
    if !policy.incremental {
        return Ok(Decision::Full(Reason::NotIncremental));
    }
    let Some(chain) = newest_chain else { return Ok(Decision::Full(Reason::FirstBackup)) };
    let Some(top) = chain.backups.iter().max() else { return Ok(Decision::Full(Reason::FirstBackup)) };
    let decision = match reason_to_restart(policy, chain.start, *top, now) {
        Some(reason) => Decision::Full(reason),
        None => build_on(&chain, parent_level(policy, *top), now),
    };
    Ok(decision)
}

/// Freezer's rules, in Freezer's order. `start` is the time of the chain's full backup, `top` the newest backup of the highest level.
fn reason_to_restart(policy: &Policy, start: Timestamp, top: BackupEntry, now: Timestamp) -> Option<Reason> {
    let highest = top.level.number();
    let age_seconds = now.0.saturating_sub(start.0) as f64;
    if let Some(max) = policy.max_level().filter(|&max| max <= highest) {
        return Some(Reason::MaxLevel(max));
    }
    if let Some(always) = policy.always_level().filter(|&always| highest > always) {
        return Some(Reason::AboveAlwaysLevel(always));
    }
    policy.restart_after_days().filter(|days| age_seconds > days * SECONDS_PER_DAY).map(Reason::Restart)
}

/// At the level to stay at, the level below is built on once more; otherwise the top is.
fn parent_level(policy: &Policy, top: BackupEntry) -> Level {
    let highest = top.level.number();
    let stay = policy.always_level() == Some(highest);
    stay.then(|| highest.checked_sub(1).and_then(Level::new)).flatten().unwrap_or(top.level)
}

fn build_on(chain: &ChainView<'_>, level: Level, now: Timestamp) -> Decision {
    let Some(parent) = newest_of_level(chain.backups, level) else {
        return Decision::Full(Reason::Gap(level));
    };
    if let Err(missing) = path_to(chain.backups, parent) {
        return Decision::Full(Reason::Gap(missing));
    }
    // Names never repeat, so backups made in one second run ahead of the clock by some; that is no clock set back.
    if now.0.saturating_add(CLOCK_SLACK_SECONDS) < parent.timestamp.0 {
        return Decision::Full(Reason::ClockSetBack(parent.timestamp));
    }
    match level.next() {
        Ok(level) => Decision::Increment { chain: chain.start, parent, level },
        Err(_) => Decision::Full(Reason::TopLevel),
    }
}

fn newest_of_level(backups: &[BackupEntry], level: Level) -> Option<BackupEntry> {
    backups.iter().copied().filter(|backup| backup.level == level).max()
}

/// The backup that `above` is an increment to, where its document does not say so: the newest of the level below that is
/// not newer, since nothing is built on what comes later. `sorted` is a chain in its order.
///
/// # Errors
/// The level for which there is none.
pub fn parent_of(sorted: &[BackupEntry], above: BackupEntry) -> Result<BackupEntry, Level> {
    let Some(level) = above.level.number().checked_sub(1).and_then(Level::new) else {
        return Err(Level::FULL);
    };
    let bound = BackupEntry { level, timestamp: above.timestamp };
    let after = sorted.partition_point(|backup| *backup <= bound);
    let candidate = after.checked_sub(1).and_then(|index| sorted.get(index)).copied();
    candidate.filter(|backup| backup.level == level).ok_or(level)
}

/// The backups that a restore of `chosen` applies, level 0 first, `chosen` last, each the [`parent_of`] the next.
///
/// # Errors
/// The highest level for which there is none.
pub fn path_to(backups: &[BackupEntry], chosen: BackupEntry) -> Result<Vec<BackupEntry>, Level> {
    let mut sorted = backups.to_vec();
    sorted.sort_unstable();
    let mut path = vec![chosen];
    let mut above = chosen;
    while above.level != Level::FULL {
        above = parent_of(&sorted, above)?;
        path.push(above);
    }
    path.reverse();
    Ok(path)
}
