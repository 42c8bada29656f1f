//! Objects that must be new, created by one of many.
//!
//! Swift looks whether a name is taken (`If-None-Match: *`) before it takes the bytes, and lets everybody through who asks
//! before the first is done: two who create an object at once are both told that they did. So whoever creates takes a ticket
//! first: an object of no bytes with a name of its own, in a folder that is the same for all who create that object. Then it looks
//! who else has one. Alone, it creates the object, and gives the ticket back. Of several, the lowest keeps its ticket and
//! looks again; the others give theirs back and come again later. A ticket that has served is given back together with others:
//! whoever finds it looks for the object, and finds that as well.
//!
//! A name whose last part is 64 hexadecimal digits is an id that nobody else draws, or the hash of its bytes: nobody who creates
//! one needs a ticket.
//!
//! Invariant: nobody creates who does not stand alone in a listing made after its own ticket was stored. Of two, the one whose
//! ticket came later sees the other's, as long as listings show what has been stored. A ticket counts for a lease (in its
//! name) that is twice as long as its owner may take; after it nobody minds it, and nobody who holds it still creates.

use super::container::{Container, checksum};
use super::listing::{Pages, Row};
use super::names::{is_id, unique};
use super::removal::remove_all;
use crate::access::Timeouts;
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use reqwest::header::HeaderMap;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The first wait for the others.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Tickets that are given back together.
const TOGETHER: usize = 64;

/// Gates of a process.
pub const GATES: usize = 64;

/// Who else wants to create the object.
enum Others {
    Nobody,
    /// Only such as will give way.
    Higher,
    Lower,
}

/// Does `create`, which puts the object `full` of (about) so many bytes, while nobody else creates it.
///
/// # Errors
/// `AlreadyExists` when somebody else was first; `Io` that may pass when others do not come to an end, and one that is not worth
/// another attempt when listings do not show what has been stored; those of `create`.
pub async fn alone<T, F>(
    container: &Container,
    full: &str,
    bytes: usize,
    create: impl FnOnce() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    if is_id(full) {
        return create().await;
    }
    let fingerprint = checksum(full.as_bytes());
    // Of this process one goes at a time: the others would only be in each other's way.
    let _turn = container.gates[gate(&fingerprint)].lock().await;
    let folder = format!("{}{fingerprint}/", container.place.tickets());
    // As if the line were not shared: others wait for the lease of one that was killed.
    let may_take = Timeouts { sharing: 1, ..container.timeouts }.whole(bytes);
    let lease = may_take * 2;
    let give_up = Instant::now() + lease + container.timeouts.idle;
    let mut wait = FIRST_WAIT;
    // When a listing last showed a ticket of ours.
    let mut seen = Instant::now();
    loop {
        let ticket = format!("{folder}{}-{}", lease.as_secs(), unique()?);
        // Before it is stored: the lease ends for others no sooner than for its owner.
        let taken = Instant::now();
        if let Err(error) = container.put(&ticket, Bytes::new(), HeaderMap::new(), false).await {
            give_back(container, &ticket).await;
            return Err(error);
        }
        let names = (full, folder.as_str(), ticket.as_str());
        let outcome = stand_alone(container, names, taken + may_take, &mut wait, &mut seen).await;
        if let Ok(true) = outcome {
            let left = may_take.saturating_sub(taken.elapsed());
            let created =
                timeout(left, create()).await.unwrap_or_else(|_| Err(crate::bridge::stalled(may_take)));
            match &created {
                Ok(_) => give_back_later(container, ticket).await,
                Err(_) => give_back(container, &ticket).await,
            }
            return created;
        }
        give_back(container, &ticket).await;
        outcome?;
        if container.head_if_there(full).await?.is_some() {
            return Err(Error::new(Kind::AlreadyExists, "somebody else has just created it"));
        }
        if seen.elapsed() > container.timeouts.idle {
            // Not to be tried again: that would be as long a wait once more.
            let what = "the cluster's listings do not show what has just been stored";
            return Err(Error::new(Kind::Io, what).hint(
                "they may lag behind, or come from a cache: nobody can tell who creates an object then",
            ));
        }
        if Instant::now() > give_up {
            let what = "others have been creating the object all the time, or were killed while they did";
            return Err(Error::new(Kind::Io, what).retry_later());
        }
        sleep(wait).await;
    }
}

/// Those who create one object come to one gate.
fn gate(fingerprint: &str) -> usize {
    fingerprint.get(..2).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or(0) % GATES
}

/// Whether the holder of the last of object, folder and ticket is alone before the time is up; not when somebody goes before, or
/// has been there already.
async fn stand_alone(
    container: &Container,
    (full, folder, ticket): (&str, &str, &str),
    until: Instant,
    wait: &mut Duration,
    seen: &mut Instant,
) -> Result<bool> {
    loop {
        let (is_seen, others) = others(container, folder, ticket).await?;
        if is_seen {
            *seen = Instant::now();
        }
        match others {
            // A listing that does not show what was stored before it does not show the others', either.
            _ if !is_seen => break,
            Others::Nobody => return Ok(Instant::now() < until),
            Others::Lower => break,
            Others::Higher if Instant::now() > until => break,
            Others::Higher if container.head_if_there(full).await?.is_some() => break,
            Others::Higher => sleep(*wait).await,
        }
        *wait = (*wait * 2).min(LONGEST_WAIT);
    }
    *wait = (*wait * 2).min(LONGEST_WAIT);
    Ok(false)
}

/// Whether the ticket is among those that are listed, and which others are.
async fn others(container: &Container, folder: &str, ticket: &str) -> Result<(bool, Others)> {
    let pages = Pages::new(&container.place.container, folder, false);
    let mut pages = pages.with_full_page(container.info.page());
    let (mut found_own, mut others) = (false, Others::Nobody);
    while let Some(page) = pages.next(&container.account).await? {
        for row in page {
            let Row::Object { name, written, .. } = row else { continue };
            if name == ticket {
                found_own = true;
            } else if is_void(container, folder, &name, written, pages.now) {
                give_back(container, &name).await;
            } else if name.as_str() < ticket {
                others = Others::Lower;
            } else if matches!(others, Others::Nobody) {
                others = Others::Higher;
            }
        }
    }
    Ok((found_own, others))
}

/// Whether a ticket no longer counts.
fn is_void(container: &Container, folder: &str, name: &str, written: i64, now: Option<i64>) -> bool {
    if container.abandoned.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
        return true;
    }
    let lease = name
        .strip_prefix(folder)
        .and_then(|ticket| ticket.split_once('-'))
        .and_then(|(lease, _)| lease.parse().ok());
    match (lease, now) {
        (Some(lease), Some(now)) => written.saturating_add(lease) < now,
        // Nobody's.
        (None, _) => true,
        (_, None) => false,
    }
}

/// What cannot be given back is remembered, so that this process does not wait for itself.
async fn give_back(container: &Container, ticket: &str) {
    match container.remove(ticket).await {
        Err(error) if error.kind() != Kind::NotFound => {
            container.abandoned.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket.to_owned());
        }
        _ => {
            container.abandoned.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        }
    }
}

/// Notes that a ticket has served. As long as it is there, this process does not mind it.
async fn give_back_later(container: &Container, ticket: String) {
    container.abandoned.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket.clone());
    let waiting = {
        let mut served = container.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.push(ticket);
        served.len()
    };
    if waiting >= TOGETHER {
        give_all_back(container).await;
    }
}

/// Gives all tickets back that have served. Those that cannot be given back end with their lease.
pub async fn give_all_back(container: &Container) {
    let served = std::mem::take(&mut *container.served.lock().unwrap_or_else(PoisonError::into_inner));
    if remove_all(container, &served).await.is_ok() {
        let mut abandoned = container.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|ticket| !served.contains(ticket));
    }
}

/// Gives the tickets back that have served for an object which is removed: it may be created anew by anybody.
pub async fn give_back_for(container: &Container, full: &str) {
    let folder = format!("{}{}/", container.place.tickets(), checksum(full.as_bytes()));
    let its: Vec<String> = {
        let mut served = container.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.extract_if(.., |ticket| ticket.starts_with(&folder)).collect()
    };
    for ticket in its {
        give_back(container, &ticket).await;
    }
}
