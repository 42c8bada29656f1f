//! How much of the data a check reads: nothing, everything, or some packs.

use crate::error::{Error, Result};
use std::str::FromStr;

/// How much of the data is read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Amount {
    /// None of it.
    #[default]
    Nothing,
    /// All of it.
    Everything,
    /// About this share of it (above 0, at most 1), chosen at random.
    Share(f64),
    /// The n-th of m parts, always the same ones: after m checks with n from 1 to m everything was read.
    Part {
        /// Which part, from 1.
        number: u64,
        /// How many there are.
        of: u64,
    },
    /// About so many bytes, chosen at random.
    Bytes(u64),
}

/// What each choice is made from: a number that belongs to the object, and its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// The object's own number, evenly spread.
    pub number: u64,
    /// Its size.
    pub size_bytes: u64,
}

impl Amount {
    /// Which of some objects are read; `seed` decides where chance does.
    pub(super) fn choose(self, objects: &[Choice], seed: u64) -> Vec<usize> {
        let all = 0..objects.len();
        match self {
            Amount::Nothing => Vec::new(),
            Amount::Everything => all.collect(),
            Amount::Part { number, of } => {
                all.filter(|&at| objects[at].number % of.max(1) + 1 == number).collect()
            }
            Amount::Share(share) => {
                // The product lies between 0 and the length.
                let count = (objects.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
                shuffled(objects, seed).into_iter().take(count).collect()
            }
            Amount::Bytes(bytes) => {
                let mut left = bytes;
                let fits = |&at: &usize| {
                    let goes_on = left > 0;
                    left = left.saturating_sub(objects[at].size_bytes);
                    goes_on
                };
                shuffled(objects, seed).into_iter().take_while(fits).collect()
            }
        }
    }
}

fn shuffled(objects: &[Choice], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    let place = |at: &usize| {
        let hash = blake3::hash(&[seed.to_le_bytes(), objects[*at].number.to_le_bytes()].concat());
        *hash.as_bytes()
    };
    order.sort_by_cached_key(place);
    order
}

/// `5%`, `2/7`, `500M` (K, M, G and T are powers of 1024).
impl FromStr for Amount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Amount> {
        let wrong = || {
            Error::invalid("not an amount of data:", text)
                .hint("say a share such as 5%, a part such as 2/7, or a size such as 500M")
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            return match percent > 0.0 && percent <= 100.0 {
                true => Ok(Amount::Share(percent / 100.0)),
                false => Err(wrong()),
            };
        }
        if let Some((number, of)) = text.split_once('/') {
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let of: u64 = of.parse().map_err(|_| wrong())?;
            return if (1..=of).contains(&number) { Ok(Amount::Part { number, of }) } else { Err(wrong()) };
        }
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift = match &text[digits.len()..] {
            "" => 0,
            "K" | "k" => 10,
            "M" | "m" => 20,
            "G" | "g" => 30,
            "T" | "t" => 40,
            _ => return Err(wrong()),
        };
        let bytes: u64 = digits.parse().map_err(|_| wrong())?;
        match bytes.checked_mul(1 << shift) {
            Some(bytes) if bytes > 0 => Ok(Amount::Bytes(bytes)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(count: u64) -> Vec<Choice> {
        (0..count).map(|n| Choice { number: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), size_bytes: 10 }).collect()
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, amount) in [
            ("5%", Amount::Share(0.05)),
            ("100%", Amount::Share(1.0)),
            ("2/7", Amount::Part { number: 2, of: 7 }),
            ("500M", Amount::Bytes(500 << 20)),
            ("12", Amount::Bytes(12)),
        ] {
            assert_eq!(text.parse::<Amount>().unwrap(), amount, "{text}");
        }
        for wrong in ["", "0%", "101%", "nan%", "0/3", "4/3", "1/0", "0", "12X", "-1", "99999999999T"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_parts_together_are_everything_and_none_is_read_twice() {
        let objects = objects(100);
        let mut read: Vec<usize> =
            (1..=7).flat_map(|number| Amount::Part { number, of: 7 }.choose(&objects, 0)).collect();
        read.sort_unstable();
        assert_eq!(read, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn shares_and_sizes_are_about_what_was_asked_for() {
        let objects = objects(100);
        assert_eq!(Amount::Share(0.05).choose(&objects, 1).len(), 5);
        assert_eq!(Amount::Share(1e-9).choose(&objects, 1).len(), 1);
        assert_eq!(Amount::Bytes(95).choose(&objects, 1).len(), 10);
        assert_eq!(Amount::Everything.choose(&objects, 1).len(), 100);
        assert_ne!(Amount::Share(0.1).choose(&objects, 1), Amount::Share(0.1).choose(&objects, 2));
    }
}
