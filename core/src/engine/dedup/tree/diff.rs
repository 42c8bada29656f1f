//! What differs between two trees, in time proportional to that: nodes that both have are passed over.
//!
//! Both trees are walked at once. Where both stand before the same node, neither reads it. Where they do not, the node that begins
//! first is read, since the other tree cannot have it any more; of two that begin alike the higher, since the other may be in it.

use super::cursor::{Head, Walker};
use super::{Chunks, Entry, Key};
use crate::error::{Error, Result};
use crate::repository::vault::ChunkId;
use std::cmp::Ordering;

/// One entry that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Where.
    pub key: Key<'a>,
    /// How.
    pub change: Change<'a>,
}

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Only the second tree has it.
    Added(&'a Entry),
    /// Only the first tree has it.
    Removed(&'a Entry),
    /// Both have it, and not alike: in the first, in the second.
    Changed(&'a Entry, &'a Entry),
}

/// What is done next: on the first tree, on the second.
struct Turn(Move, Move);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    Stay,
    Open,
    Step,
}

/// Hands out, in order, what differs between the trees `a` and `b`.
///
/// # Errors
/// What `found` fails with; `Damaged`, `Unsupported`, or as the storage has it.
pub fn diff(
    chunks: &dyn Chunks,
    a: &ChunkId,
    b: &ChunkId,
    found: &mut dyn FnMut(Difference<'_>) -> Result<()>,
) -> Result<()> {
    if a == b {
        return Ok(());
    }
    let (mut a, mut b) = (Walker::new(chunks, a)?, Walker::new(chunks, b)?);
    while let Some(Turn(on_a, on_b)) = turn(&a, &b)? {
        let before = |walker: &Walker<'_>, step| walker.head() == Head::Item && step == Move::Step;
        let old = a.item().filter(|_| before(&a, on_a));
        let new = b.item().filter(|_| before(&b, on_b));
        match (old, new) {
            (Some((key, old)), None) => found(Difference { key, change: Change::Removed(old) })?,
            (None, Some((key, new))) => found(Difference { key, change: Change::Added(new) })?,
            (Some((key, old)), Some((_, new))) if old != new => {
                found(Difference { key, change: Change::Changed(old, new) })?;
            }
            _ => (),
        }
        go(&mut a, on_a)?;
        go(&mut b, on_b)?;
    }
    Ok(())
}

fn go(walker: &mut Walker<'_>, way: Move) -> Result<()> {
    match way {
        Move::Stay => Ok(()),
        Move::Open => walker.open(),
        Move::Step => walker.step(),
    }
}

/// What is next; `None` when both are at the end.
fn turn(a: &Walker<'_>, b: &Walker<'_>) -> Result<Option<Turn>> {
    if let (Some((key_a, height_a, id_a)), Some((key_b, height_b, id_b))) = (a.node(), b.node()) {
        return Ok(Some(match key_a.cmp(&key_b) {
            Ordering::Equal if id_a == id_b => Turn(Move::Step, Move::Step),
            Ordering::Equal => match height_a.cmp(&height_b) {
                Ordering::Greater => Turn(Move::Open, Move::Stay),
                Ordering::Equal => Turn(Move::Open, Move::Open),
                Ordering::Less => Turn(Move::Stay, Move::Open),
            },
            Ordering::Less => Turn(Move::Open, Move::Stay),
            Ordering::Greater => Turn(Move::Stay, Move::Open),
        }));
    }
    Ok(match (place(a)?, place(b)?) {
        (None, None) => None,
        (Some((_, way)), None) => Some(Turn(way, Move::Stay)),
        (None, Some((_, way))) => Some(Turn(Move::Stay, way)),
        (Some((key_a, way_a)), Some((key_b, way_b))) => Some(match key_a.cmp(&key_b) {
            Ordering::Less => Turn(way_a, Move::Stay),
            Ordering::Greater => Turn(Move::Stay, way_b),
            // An entry waits for the node that begins with its key.
            Ordering::Equal if way_a == Move::Open => Turn(Move::Open, Move::Stay),
            Ordering::Equal if way_b == Move::Open => Turn(Move::Stay, Move::Open),
            Ordering::Equal => Turn(Move::Step, Move::Step),
        }),
    })
}

/// The key at which a tree stands, and how it goes on from there.
fn place<'w>(walker: &'w Walker<'_>) -> Result<Option<(Key<'w>, Move)>> {
    match walker.head() {
        Head::Node => Ok(walker.node().map(|(key, ..)| (key, Move::Open))),
        Head::Item => Ok(walker.item().map(|(key, _)| (key, Move::Step))),
        Head::End => Ok(None),
        Head::Broken => Err(Error::damaged("cannot go on behind what is broken in", "a tree")),
    }
}
