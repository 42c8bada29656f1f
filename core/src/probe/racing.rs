//! Stories about several requests at once.

use super::{Doubt, Story, Told, Trial, bytes_of, expect};
use crate::error::{Kind, Result};
use crate::storage::PutMode;

pub(super) const STORIES: &[(&str, Story)] =
    &[("an object that is being replaced is always one version or another", one_version)];

pub(super) const ONE_WINS: &str = "of several that create one object at once, one wins";

/// How many race.
const RACERS: u32 = 8;
const ROUNDS: u32 = 6;
/// Reads and replacements of one object.
const TURNS: u32 = 60;

fn racers(trial: &Trial<'_>) -> usize {
    trial.options.connections.clamp(2, RACERS as usize)
}

/// Versions differ in every byte and in length: a mixture of two would be seen.
fn version(number: u8) -> Vec<u8> {
    vec![number; 20_000 + usize::from(number) * 500]
}

fn one_version(trial: &Trial<'_>) -> Told {
    let text = "versions/object";
    trial.put(text, &version(0), PutMode::Replace)?;
    let turns = trial.at_once(racers(trial), TURNS, |turn| {
        let number = u8::try_from(turn).unwrap_or(0);
        if turn % 2 == 0 {
            trial.put(text, &version(number), PutMode::Replace)?;
            return Ok(None);
        }
        let bytes = match trial.read(text, 1 << 20) {
            Err(error) if error.kind() == Kind::NotFound => {
                return Ok(Some("it was not there for a moment".to_owned()));
            }
            read => read?,
        };
        let is_one = bytes.first().is_some_and(|number| bytes == version(*number));
        Ok((!is_one).then(|| format!("{} bytes that are no version", bytes.len())))
    })?;
    match turns.into_iter().flatten().next() {
        Some(seen) => Err(Doubt::Seen(seen)),
        None => Ok(()),
    }
}

pub(super) fn one_creation_wins(trial: &Trial<'_>) -> Told {
    for round in 0..ROUNDS {
        let text = format!("race/{round}");
        let create = |number: u32| -> Result<()> {
            let bytes = bytes_of(100 + number, 5_000);
            if round % 2 == 0 {
                return trial.put(&text, &bytes, PutMode::CreateNew);
            }
            let mut writer = trial.writer(&text, PutMode::CreateNew)?;
            writer.write(&bytes)?;
            writer.finish()
        };
        let outcomes = trial.at_once(racers(trial), RACERS, |number| match create(number) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        })?;
        let mut winners = (0..).zip(outcomes).filter(|(_, has_won)| *has_won).map(|(number, _)| number);
        let (first, more) = (winners.next(), winners.count());
        let Some(winner) = first else {
            return Err(Doubt::Seen(format!("of {RACERS} at once none won")));
        };
        expect(more == 0, || format!("of {RACERS} at once {} won", more + 1))?;
        trial.expect_read(&text, &bytes_of(100 + winner, 5_000), "after the race")?;
    }
    match trial.storage.capabilities().create_new_is_atomic {
        true => Ok(()),
        false => Err(Doubt::Unsure("one won each time, but the storage does not promise that".to_owned())),
    }
}
