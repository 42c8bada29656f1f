//! Which chains of a series may go. Pure: chains and wishes in, a plan out; carrying it out is somebody else's.
//!
//! The rules are those of restic's `forget`: walk from the newest backup to the oldest, and keep the first one of each hour,
//! day, week (ISO 8601), month or year until a rule's number is used up; the oldest backup stays while a rule has numbers
//! left. What is kept or goes is a whole chain: increments are nothing without what they build on, so a chain goes only when
//! every backup in it may. Invariants: what a rule keeps is never removed; asking for more never keeps less; the last chain
//! that can be restored stays unless the caller says otherwise.

use crate::error::{Error, Result};
use crate::name::Level;
use crate::time::Timestamp;
use jiff::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;

#[cfg(test)]
mod tests;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// A backup, as far as retention looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupView {
    /// Its place in the chain.
    pub level: Level,
    /// When it was begun.
    pub timestamp: Timestamp,
    /// What the user called it.
    pub tags: Vec<String>,
}

/// How good a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Every backup can be restored, as far as is known.
    Complete,
    /// This level is missing: nothing on it or above it can be restored.
    Gap(Level),
    /// Nothing in it can be relied on.
    Damaged,
}

/// A chain of the series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainView {
    /// The chain, by the timestamp of its level 0.
    pub start: Timestamp,
    /// Its backups, in any order.
    pub backups: Vec<BackupView>,
    /// How good it is.
    pub condition: Condition,
}

impl ChainView {
    fn can_restore(&self, backup: &BackupView) -> bool {
        match self.condition {
            Condition::Complete => true,
            Condition::Gap(missing) => backup.level < missing,
            Condition::Damaged => false,
        }
    }

    /// How good it is, whatever its age.
    fn grade(&self) -> (bool, bool) {
        let worth = self.worth();
        (worth.0, worth.1)
    }

    /// Better chains are greater: complete before anything that can be restored before the rest, then the newest.
    fn worth(&self) -> (bool, bool, Option<Timestamp>) {
        let restorable = || self.backups.iter().filter(|backup| self.can_restore(backup));
        let newest = restorable().map(|backup| backup.timestamp).max();
        (self.condition == Condition::Complete && newest.is_some(), newest.is_some(), newest)
    }
}

/// What the user wants kept. Every rule adds; none takes away what another keeps.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    /// The newest so many backups.
    pub last: u32,
    /// The newest of each of so many hours that have one; so for the next four.
    pub hourly: u32,
    /// Days, of the time zone given to [`plan`].
    pub daily: u32,
    /// Weeks, beginning on Mondays.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
    /// Everything within this span before the newest backup (not before now: a host that is off loses nothing).
    pub within: Option<Span>,
    /// Everything with one of these tags.
    pub tags: Vec<String>,
    /// Everything after this time. Freezer's `--remove-older-than` and `--remove-from-date` become this, see [`days_before`].
    pub newer_than: Option<Timestamp>,
}

impl Keep {
    fn says_nothing(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts == [0; 6] && self.within.is_none() && self.tags.is_empty() && self.newer_than.is_none()
    }
}

/// Why something is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Among the newest.
    Last,
    /// Newest of its hour.
    Hourly,
    /// Newest of its day.
    Daily,
    /// Newest of its week.
    Weekly,
    /// Newest of its month.
    Monthly,
    /// Newest of its year.
    Yearly,
    /// The oldest there is, while a rule has numbers left.
    Oldest,
    /// Within the span before the newest.
    Within,
    /// It has this tag.
    Tag(String),
    /// After the time asked for.
    NewerThan,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Last => "among the last",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
            Reason::Oldest => "oldest",
            Reason::Within => "within the span",
            Reason::Tag(tag) => return write!(f, "tag {tag}"),
            Reason::NewerThan => "newer than the limit",
        })
    }
}

/// What becomes of a backup, if it were for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlan {
    /// Its place in the chain.
    pub level: Level,
    /// When it was begun.
    pub timestamp: Timestamp,
    /// The rules that keep it, none twice.
    pub reasons: Vec<Reason>,
}

/// What becomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPlan {
    /// The chain, by the timestamp of its level 0.
    pub start: Timestamp,
    /// Its backups, in the order they were given.
    pub backups: Vec<BackupPlan>,
    /// It stays only because no other chain that stays is as good.
    pub last_good: bool,
}

impl ChainPlan {
    /// Whether the chain stays.
    pub fn is_kept(&self) -> bool {
        self.last_good || self.backups.iter().any(|backup| !backup.reasons.is_empty())
    }
}

/// Freezer's `--remove-older-than`: the time so many days before `now`, for [`Keep::newer_than`].
///
/// # Errors
/// [`crate::Kind::Invalid`] unless `days` is positive and a number.
pub fn days_before(now: Timestamp, days: f64) -> Result<Timestamp> {
    if !(days.is_finite() && days > 0.0) {
        return Err(Error::invalid("not a number of days above 0:", days.to_string()));
    }
    // A float beyond i64 becomes the nearest i64.
    Ok(Timestamp(now.0.saturating_sub((days * SECONDS_PER_DAY) as i64)))
}

/// Freezer's `--remove-from-date`: a date such as `2026-11-24T19:00:00` in a time zone, for [`Keep::newer_than`]. There is
/// no date that means "everything".
///
/// # Errors
/// [`crate::Kind::Invalid`] when it is not a date.
pub fn before_date(date: &str, zone: &TimeZone) -> Result<Timestamp> {
    let wrong = |error| Error::invalid("not a date like 2026-11-24T19:00:00:", date).because(error);
    let local: DateTime = date.parse().map_err(wrong)?;
    Ok(Timestamp(zone.to_timestamp(local).map_err(wrong)?.as_second()))
}

/// Plans what to keep of the chains of one series. The plan has the chains in the order they were given.
///
/// A backup that cannot be restored is judged by the same rules, but uses up none of their numbers: it never takes
/// the place of a good one.
///
/// # Errors
/// [`crate::Kind::Invalid`] when `keep` says nothing, or when a time cannot be placed in a calendar.
pub fn plan(chains: &[ChainView], keep: &Keep, zone: &TimeZone, allow_last: bool) -> Result<Vec<ChainPlan>> {
    if keep.says_nothing() {
        return Err(Error::invalid("nothing said what to keep:", "--keep-…")
            .hint("say at least one, such as --keep-daily 7"));
    }
    let mut plans: Vec<ChainPlan> = chains.iter().map(untouched).collect();
    let mut order: Vec<(usize, usize)> = chains
        .iter()
        .enumerate()
        .flat_map(|(c, chain)| (0..chain.backups.len()).map(move |b| (c, b)))
        .collect();
    order.sort_by_key(|&(c, b)| {
        let backup = &chains[c].backups[b];
        std::cmp::Reverse((backup.timestamp, backup.level, chains[c].start))
    });
    let newest = order.first().map(|&(c, b)| chains[c].backups[b].timestamp);
    let within = within_limit(keep, newest, zone)?;
    let mut buckets = buckets(keep);
    for (position, &(c, b)) in order.iter().enumerate() {
        let backup = &chains[c].backups[b];
        let mut reasons = plain_reasons(keep, backup, within);
        let seen = Seen {
            time: zone.to_datetime(moment(backup.timestamp)?),
            position,
            oldest: position + 1 == order.len(),
            counts: chains[c].can_restore(backup),
        };
        reasons.extend(buckets.iter_mut().filter_map(|bucket| bucket.judge(&seen)));
        reasons.sort_unstable();
        reasons.dedup();
        plans[c].backups[b].reasons = reasons;
    }
    if !allow_last {
        protect_last_good(chains, &mut plans);
    }
    Ok(plans)
}

fn untouched(chain: &ChainView) -> ChainPlan {
    let plan = |backup: &BackupView| BackupPlan {
        level: backup.level,
        timestamp: backup.timestamp,
        reasons: Vec::new(),
    };
    ChainPlan { start: chain.start, backups: chain.backups.iter().map(plan).collect(), last_good: false }
}

fn moment(timestamp: Timestamp) -> Result<jiff::Timestamp> {
    jiff::Timestamp::from_second(timestamp.0)
        .map_err(|error| Error::invalid("no calendar has the time", timestamp.to_string()).because(error))
}

fn within_limit(keep: &Keep, newest: Option<Timestamp>, zone: &TimeZone) -> Result<Option<Timestamp>> {
    let (Some(span), Some(newest)) = (keep.within, newest) else { return Ok(None) };
    let too_long = |error| Error::invalid("too long a span:", span.to_string()).because(error);
    let limit = zone.to_datetime(moment(newest)?).checked_sub(span).map_err(too_long)?;
    Ok(Some(Timestamp(zone.to_timestamp(limit).map_err(too_long)?.as_second())))
}

/// The rules that look at one backup alone.
fn plain_reasons(keep: &Keep, backup: &BackupView, within: Option<Timestamp>) -> Vec<Reason> {
    let tags = backup.tags.iter().filter(|tag| keep.tags.contains(tag)).cloned().map(Reason::Tag);
    let within = within.filter(|limit| backup.timestamp > *limit).map(|_| Reason::Within);
    let newer = keep.newer_than.filter(|limit| backup.timestamp > *limit).map(|_| Reason::NewerThan);
    tags.chain(within).chain(newer).collect()
}

/// One backup on the way from the newest to the oldest.
struct Seen {
    time: DateTime,
    position: usize,
    oldest: bool,
    counts: bool,
}

/// A rule that keeps the newest of each of so many periods.
struct Bucket {
    left: u32,
    reason: Reason,
    period: fn(&Seen) -> (i64, i64),
    last: Option<(i64, i64)>,
}

impl Bucket {
    fn judge(&mut self, seen: &Seen) -> Option<Reason> {
        let period = (self.period)(seen);
        let is_new = self.last != Some(period);
        if self.left == 0 || !(is_new || seen.oldest) {
            return None;
        }
        if seen.counts {
            self.left -= 1;
            self.last = Some(period);
        }
        Some(if is_new { self.reason.clone() } else { Reason::Oldest })
    }
}

fn buckets(keep: &Keep) -> [Bucket; 6] {
    let bucket = |left, reason, period| Bucket { left, reason, period, last: None };
    [
        bucket(keep.last, Reason::Last, |seen| (0, i64::try_from(seen.position).unwrap_or(i64::MAX))),
        bucket(keep.hourly, Reason::Hourly, |seen| (day(seen.time), seen.time.hour().into())),
        bucket(keep.daily, Reason::Daily, |seen| (0, day(seen.time))),
        bucket(keep.weekly, Reason::Weekly, |seen| {
            let week = seen.time.date().iso_week_date();
            (week.year().into(), week.week().into())
        }),
        bucket(keep.monthly, Reason::Monthly, |seen| (seen.time.year().into(), seen.time.month().into())),
        bucket(keep.yearly, Reason::Yearly, |seen| (seen.time.year().into(), 0)),
    ]
}

/// One number for each day.
fn day(time: DateTime) -> i64 {
    i64::from(time.year()) * 1000 + i64::from(time.day_of_year())
}

/// When nothing as good as the best chain stays, the best chain does.
fn protect_last_good(chains: &[ChainView], plans: &mut [ChainPlan]) {
    let Some((best, chain)) = chains.iter().enumerate().max_by_key(|(_, chain)| chain.worth()) else {
        return;
    };
    let as_good =
        chains.iter().zip(plans.iter()).any(|(one, plan)| plan.is_kept() && one.grade() >= chain.grade());
    plans[best].last_good = !as_good && chain.grade().1;
}

/// Whether the chains of one series that are `going` have one that can be restored and is better than all that are `staying`:
/// that is the one that a plan would not let go.
pub fn is_last_good(going: &[ChainView], staying: &[ChainView]) -> bool {
    let best = going.iter().map(ChainView::grade).max();
    best.is_some_and(|best| best.1 && staying.iter().all(|one| one.grade() < best))
}
