//! Objects whose names are nobody else's and that do not refer to each other: they go to all members at once, in whatever order, and
//! count as put when enough have them. The others go on.

use super::super::{PutMode, Underway};
use super::lanes::{Lanes, Outcome};
use super::member::{Asked, Member};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::pipe::{Answers, Promise, Turn};
use std::sync::{Arc, Mutex, PoisonError};

/// An object on its way to the members.
struct OnItsWay {
    lanes: Arc<Lanes>,
    name: ObjectName,
    places: Vec<usize>,
    answers: Answers<Asked<()>>,
    /// Whether enough members hold it: who refuses it afterwards has failed. Held while a refusal is given, so that none is missed.
    is_held: Arc<Mutex<bool>>,
}

/// A put that has been done.
struct Done;

impl Underway for Done {
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Begins to put an object.
pub(super) fn begin(
    lanes: &Arc<Lanes>,
    name: &ObjectName,
    bytes: &[u8],
    mode: PutMode,
) -> Result<Box<dyn Underway>> {
    if mode == PutMode::Replace {
        // Whoever reads afterwards must not find what was there before.
        lanes.put(name, bytes, mode, |storage, name, bytes, mode| {
            storage.begin_put(name, bytes, mode)?.finish()
        })?;
        return Ok(Box::new(Done));
    }
    lanes.enough()?;
    let places: Vec<usize> = lanes.living().collect();
    let answers = Answers::default();
    let is_held = Arc::new(Mutex::new(false));
    let bytes: Arc<[u8]> = bytes.into();
    lanes.send(&places, Turn::Beside, bytes.len() as u64, |place| {
        let promise: Promise<Asked<()>> = answers.expect(place);
        let (member, name, bytes) = (Arc::clone(&lanes.members()[place]), name.clone(), Arc::clone(&bytes));
        let is_held = Arc::clone(&is_held);
        Box::new(move || {
            let asked = put(&member, &name, &bytes, mode);
            if !matches!(asked, Asked::Done(())) {
                // Others may have it, and then nobody waits for this answer.
                member.note_lack(&name);
            }
            let is_held = is_held.lock().unwrap_or_else(PoisonError::into_inner);
            promise.give(match asked {
                Asked::Refused(error) if *is_held => {
                    member.fail(error);
                    Asked::Failed
                }
                asked => asked,
            });
        })
    });
    Ok(Box::new(OnItsWay { lanes: Arc::clone(lanes), name: name.clone(), places, answers, is_held }))
}

/// Puts it on one member. Where it is there already with the same bytes, nothing was missing.
fn put(member: &Member, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Asked<()> {
    match member.ask(|storage| storage.begin_put(name, bytes, mode)?.finish()) {
        Asked::Refused(error) if error.kind() == Kind::AlreadyExists => {
            let found = member.ask_about(|storage| storage.read(name, 0, bytes.len().saturating_add(1)));
            match found {
                Asked::Done(found) if found == bytes => Asked::Done(()),
                Asked::Failed => Asked::Failed,
                _ => Asked::Refused(error),
            }
        }
        asked => asked,
    }
}

impl Underway for OnItsWay {
    fn finish(self: Box<Self>) -> Result<()> {
        let done = |(_, asked): &&(usize, Asked<()>)| matches!(asked, Asked::Done(()));
        let wanted = self.lanes.min_copies();
        let mut answers = self.answers.wait_for(|given| given.iter().filter(done).count() >= wanted);
        let mut held = Vec::new();
        let mut refused: Vec<(usize, Error)> = Vec::new();
        if answers.iter().filter(done).count() < wanted {
            // All that will come have come.
            self.lanes.fail_the_silent(&self.places, &answers);
        } else {
            let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
            *is_held = true;
            // Given since.
            answers.extend(self.answers.wait_for(|_| true));
        }
        for (place, asked) in answers {
            match asked {
                Asked::Done(()) => held.push(place),
                Asked::Refused(error) => refused.push((place, error)),
                Asked::Failed => (),
            }
        }
        if held.len() >= wanted {
            // They do not hold what will be referred to.
            self.lanes.fail_each(refused);
            for place in (0..self.lanes.members().len()).filter(|place| !self.places.contains(place)) {
                self.lanes.members()[place].note_lack(&self.name);
            }
            return Ok(());
        }
        if !held.is_empty() {
            refused = self.lanes.fail_unfit(refused, Kind::AlreadyExists);
        }
        self.lanes.decide_on_new(&self.name, Outcome { held, refused })
    }
}
