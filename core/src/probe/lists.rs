//! Stories about listings.

use super::{Story, Told, Trial};
use crate::storage::{Depth, PutMode};

pub(super) const STORIES: &[(&str, Story)] = &[
    ("what was put or deleted is so in the next listing", list_after_write),
    ("a folder lists what is in it and nothing else", folders),
];

pub(super) const COMPLETE: &str = "a long listing is complete";

fn list_after_write(trial: &Trial<'_>) -> Told {
    let mut expected = Vec::new();
    for number in 0..8 {
        let text = format!("listed/{number}");
        trial.put(&text, &vec![0; number], PutMode::CreateNew)?;
        expected.push(format!("{text} {number}"));
        for depth in [Depth::All, Depth::One] {
            trial.expect_rows("listed", depth, &expected, "right after an object was put")?;
        }
    }
    while expected.len() > 4 {
        let row = expected.remove(0);
        trial.delete(row.split(' ').next().unwrap_or_default())?;
        trial.expect_rows("listed", Depth::All, &expected, "right after an object was deleted")?;
    }
    Ok(())
}

fn folders(trial: &Trial<'_>) -> Told {
    let objects = ["a/b/c", "a/b/d/e", "a/bc", "a/b-d/f", "a/b d", "z/z/z"];
    for object in objects {
        trial.put(&format!("tree/{object}"), b"1", PutMode::CreateNew)?;
    }
    let whole = [" 1"; 6].map(str::to_owned);
    let mut all: Vec<String> =
        objects.iter().zip(whole).map(|(object, size)| format!("tree/{object}{size}")).collect();
    all.sort();
    trial.expect_rows("tree", Depth::All, &all, "as a whole")?;
    for (prefix, depth, rows) in [
        ("tree", Depth::One, &["tree/a/", "tree/z/"][..]),
        ("tree/a", Depth::One, &["tree/a/b d 1", "tree/a/b-d/", "tree/a/b/", "tree/a/bc 1"]),
        ("tree/a/b", Depth::All, &["tree/a/b/c 1", "tree/a/b/d/e 1"]),
        ("tree/a/b", Depth::One, &["tree/a/b/c 1", "tree/a/b/d/"]),
        ("tree/z/z/z", Depth::All, &[]),
        ("tree/missing", Depth::All, &[]),
        ("tree/missing", Depth::One, &[]),
    ] {
        let rows: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
        trial.expect_rows(prefix, depth, &rows, "when its folders were looked into")?;
    }
    Ok(())
}

/// Of the small objects that were put to see how fast that is.
pub(super) fn complete(trial: &Trial<'_>) -> Told {
    let mut expected: Vec<String> = (0..trial.options.objects)
        .map(|number| format!("{} {}", small_name(number), super::speed::SMALL_BYTES))
        .collect();
    expected.sort();
    for depth in [Depth::All, Depth::One] {
        trial.expect_rows("many", depth, &expected, &format!("among {}", expected.len()))?;
    }
    Ok(())
}

pub(super) fn small_name(number: u32) -> String {
    format!("many/{number:07}")
}
