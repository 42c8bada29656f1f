//! The n-th call of the storage fails, for every n: nothing that counts is ever wrong, and the next run needs nobody.
//!
//! Each call fails before it did anything, half way, and after it did everything (a lost answer); alone, or with everything
//! after it, as when the process or the server dies. Here is how that is done, and what holds of either engine.

mod dedup;
mod tar;

use crate::in_memory::{World, copy_of, objects};
use icecore::backup::Report;
use icecore::error::Result;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::storage::retry::{self, Retry};
use icecore_testkit::fault::{Fault, Moment, Plan};
use icecore_testkit::lie::{Liar, Lie};
use icecore_testkit::manifest::Manifest;
use std::sync::Arc;

/// Most calls that one run may need: these trees are small, and the storage may be far away.
const CALLS_MAX: u64 = 200;

/// A run on a copy of a storage that failed as planned.
struct Ended<A> {
    plan: Plan,
    /// The plan in words.
    what: String,
    memory: Memory,
    outcome: Result<A>,
}

/// Every way in which one of the calls that `run` makes can fail.
fn plans<A>(storage: &Memory, run: impl FnOnce(Arc<dyn Storage>) -> Result<A>) -> Vec<Plan> {
    let counting = Arc::new(Fault::none(Arc::new(copy_of(storage))));
    drop(run(Arc::clone(&counting) as _).unwrap());
    let calls = counting.calls();
    assert!((3..CALLS_MAX).contains(&calls), "{calls} calls");
    let moments = |nth| Moment::ALL.map(|moment| [Plan::once(nth, moment), Plan::death(nth, moment)]);
    (1..=calls).flat_map(moments).flatten().collect()
}

fn failing<A>(storage: &Memory, plan: Plan, run: impl FnOnce(Arc<dyn Storage>) -> Result<A>) -> Ended<A> {
    let memory = copy_of(storage);
    let fault = Arc::new(Fault::new(Arc::new(memory.clone()), plan));
    let outcome = run(Arc::clone(&fault) as _);
    assert!(fault.struck(), "{plan:?} never came");
    Ended { plan, what: format!("{plan:?}"), memory, outcome }
}

/// Does it in every way to fail, each time on another copy of what is stored.
fn in_every_way<A>(
    world: &World,
    run: impl Fn(Arc<dyn Storage>) -> Result<A>,
) -> impl Iterator<Item = Ended<A>> {
    let plans = plans(&world.memory, &run);
    plans.into_iter().map(move |plan| failing(&world.memory, plan, &run))
}

/// Backs up with one failure that passes, in every way, on a storage that is asked again.
fn backed_up_at_another_try(world: &World) -> impl Iterator<Item = Ended<Report>> {
    // Counted through the same decorator: it makes other calls than would be made without it.
    let run = |storage: Arc<dyn Storage>| {
        world.backup(Arc::new(Retry::new(
            storage,
            retry::Patience::new(retry::Policy::default(), Arc::new(|_| Ok(()))),
        )))
    };
    let plans = plans(&world.memory, run);
    plans.into_iter().filter(|plan| !plan.dies).map(move |plan| failing(&world.memory, plan.passing(), run))
}

/// Does it once for every read it makes and every lie there is, on a copy of what is stored in which that read is not the truth.
fn told_every_lie<A>(
    world: &World,
    run: impl Fn(Arc<dyn Storage>) -> A,
    mut then: impl FnMut(&str, &Memory, A),
) {
    let counting = Arc::new(Liar::none(Arc::new(copy_of(&world.memory))));
    run(Arc::clone(&counting) as _);
    for nth in 1..=counting.reads() {
        for lie in Lie::ALL {
            let what = format!("read {nth}, {lie:?}");
            let memory = copy_of(&world.memory);
            let liar = Arc::new(Liar::new(Arc::new(memory.clone()), nth, lie));
            let outcome = run(Arc::clone(&liar) as _);
            assert!(liar.lied(), "{what} never came");
            then(&what, &memory, outcome);
        }
    }
}

/// After a backup that failed, or did not: all that is listed comes back, and it is all that was there, and the new one if it says so.
/// Gives what is listed.
#[track_caller]
fn is_whole_or_not_there(world: &World, latest: &Manifest, ended: &Ended<Report>) -> Vec<String> {
    let Ended { plan, what, memory, outcome } = ended;
    let listed = world.all_restore(memory, latest, what);
    let more = listed.len() - world.made.len();
    match outcome {
        Ok(report) => {
            assert_eq!(listed.last().cloned(), report.id.clone().map(|id| id.to_string()), "{what}");
        }
        // Of a commit whose answer was lost nobody can know; if it is there, it was restored above.
        Err(error) => assert!(more == 0 || (more == 1 && plan.moment == Moment::After), "{what}: {error:?}"),
    }
    listed
}

fn a_rehearsal_writes_nothing(world: &World) {
    let before = objects(&world.memory);
    for Ended { what, memory, outcome, .. } in in_every_way(world, |storage| world.rehearse(storage)) {
        assert!(outcome.is_err(), "{what}");
        assert!(objects(&memory) == before, "{what}");
    }
}

fn no_restore_ends_well(world: &World) {
    let (id, _) = world.made.last().unwrap();
    for include in [&[][..], &["letters/old", "linked"]] {
        for ended in in_every_way(world, |storage| world.restore_part(storage, id, include).outcome) {
            assert!(ended.outcome.is_err(), "{include:?}, {}", ended.what);
        }
    }
}

fn no_restore_believes_a_lie(world: &World, how: &str) {
    let (id, expected) = world.made.last().unwrap();
    world.restore(Arc::new(world.memory.clone()), id).equals(expected, "without lies");
    let restore = |storage| world.restore(storage, id);
    told_every_lie(world, restore, |what, _, restored| {
        restored.is_right_or_refused(expected, &format!("{how}: {what}"));
    });
}
