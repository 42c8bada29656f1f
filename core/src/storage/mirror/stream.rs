//! Long objects: every piece goes through the lanes, so that each member writes it while the next is read.

use super::super::{ObjectWriter, PutMode};
use super::lanes::{Change, Lanes};
use super::member::Asked;
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::pipe::{Answers, Promise, Turn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One object that is written to every member.
struct Stream {
    lanes: Arc<Lanes>,
    name: ObjectName,
    mode: PutMode,
    slots: Arc<[Slot]>,
    /// Those that have a writer.
    places: Vec<usize>,
}

/// What one member has of it.
#[derive(Default)]
struct Slot {
    /// Whether the name is taken there.
    is_refused: AtomicBool,
    /// Whether it has refused the object for another reason.
    is_unfit: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// None yet, or none any more.
    #[default]
    Nothing,
    Writing(Box<dyn ObjectWriter>),
    Refused(Error),
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is out.
    fn take(&self) -> State {
        std::mem::take(&mut *self.lock())
    }

    fn refuse(&self, error: Error) {
        let flag = if error.kind() == Kind::AlreadyExists { &self.is_refused } else { &self.is_unfit };
        *self.lock() = State::Refused(error);
        flag.store(true, Ordering::Release);
    }
}

/// Begins to write.
pub(super) fn open(lanes: &Arc<Lanes>, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
    lanes.enough()?;
    let slots: Arc<[Slot]> = lanes.members().iter().map(|_| Slot::default()).collect();
    let places: Vec<usize> = lanes.living().collect();
    lanes.send(&places, Turn::Alone, 0, |place| {
        let (member, slots, name) = (Arc::clone(&lanes.members()[place]), Arc::clone(&slots), name.clone());
        Box::new(move || match member.ask(|storage| storage.writer(&name, mode)) {
            Asked::Done(writer) => *slots[place].lock() = State::Writing(writer),
            Asked::Refused(error) => slots[place].refuse(error),
            Asked::Failed => (),
        })
    });
    Ok(Box::new(Stream { lanes: Arc::clone(lanes), name: name.clone(), mode, slots, places }))
}

impl Stream {
    /// The refusal that ends it: the name is taken somewhere, or nobody is left who takes the object.
    fn refusal(&self) -> Option<Error> {
        let is_unfit = |place: &usize| self.slots[*place].is_unfit.load(Ordering::Acquire);
        let lives = |place: &usize| self.lanes.members()[*place].lives();
        let taken = self.slots.iter().find(|slot| slot.is_refused.load(Ordering::Acquire));
        let refused = match taken {
            Some(slot) => slot,
            None if self.places.iter().any(|place| lives(place) && !is_unfit(place)) => return None,
            None => &self.slots[*self.places.iter().find(|place| is_unfit(place))?],
        };
        match refused.take() {
            State::Refused(error) => Some(error),
            State::Nothing | State::Writing(_) => None,
        }
    }
}

impl ObjectWriter for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        self.lanes.enough()?;
        let living: Vec<usize> =
            self.places.iter().copied().filter(|place| self.lanes.members()[*place].lives()).collect();
        let bytes: Arc<[u8]> = bytes.into();
        self.lanes.send(&living, Turn::Alone, bytes.len() as u64, |place| {
            let (member, slots) = (Arc::clone(&self.lanes.members()[place]), Arc::clone(&self.slots));
            let bytes = Arc::clone(&bytes);
            Box::new(move || {
                let mut state = slots[place].lock();
                let State::Writing(writer) = &mut *state else { return };
                let asked = member.ask(|_| writer.write(&bytes));
                if let Asked::Refused(error) = asked {
                    drop(state);
                    slots[place].refuse(error);
                }
            })
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let slots = Arc::clone(&self.slots);
        let change: Change = Arc::new(move |place, _| match slots[place].take() {
            State::Writing(writer) => writer.finish(),
            State::Refused(error) => Err(error),
            // It lives, so that what it was given it has: there is nothing only where a refusal was told before.
            State::Nothing => Err(Error::new(Kind::AlreadyExists, "refused before:").on("an object")),
        });
        match self.mode {
            PutMode::CreateNew | PutMode::Unique => self.lanes.create(&self.name, 0, &change),
            PutMode::Replace => self.lanes.replace(&self.name, 0, &change),
        }
    }
}

impl Drop for Stream {
    /// Waits until nothing is left of what was not finished.
    fn drop(&mut self) {
        let living: Vec<usize> =
            self.places.iter().copied().filter(|place| self.lanes.members()[*place].lives()).collect();
        let answers: Answers<()> = Answers::default();
        self.lanes.send(&living, Turn::Alone, 0, |place| {
            let promise: Promise<()> = answers.expect(place);
            let slots = Arc::clone(&self.slots);
            Box::new(move || {
                drop(slots[place].take());
                promise.give(());
            })
        });
        answers.all();
    }
}
