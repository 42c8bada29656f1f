//! Stories about one object at a time.

use super::{Doubt, Story, Told, Trial, bytes_of, expect, expect_refused, is_out_of_reach};
use crate::error::Kind;
use crate::limits::{BLOCK_BYTES, PROBE_NAMED, PROBE_WRITER_BYTES};
use crate::storage::{Depth, PutMode};

pub(super) const STORIES: &[(&str, Story)] = &[
    ("what was put is read at once", read_after_write),
    ("an object that is written slowly is not there before it is finished", invisible_until_finished),
    ("an object that is given up leaves nothing", given_up),
    ("a name that is taken is refused to a new object", taken_name),
    ("an object is replaced at once", replaced),
    ("any part of an object can be read", ranges),
    ("the length of an object is told", lengths),
    ("what is not there is told as such", absent),
    ("a deleted object is gone at once", deleted),
    ("names with odd characters are names", odd_names),
];

pub(super) const LONG: &str = "a very long object comes back whole";

/// Pieces that fit no block, part or buffer.
const PIECE_BYTES: usize = 700_001;

fn read_after_write(trial: &Trial<'_>) -> Told {
    for (number, length_bytes) in [(0, 0), (1, 1), (2, 4_096), (3, 100_000), (4, (1 << 20) + 1)] {
        let (text, bytes) = (format!("put/{number}"), bytes_of(number, length_bytes));
        trial.put(&text, &bytes, PutMode::CreateNew)?;
        trial.expect_read(&text, &bytes, "right after it was put")?;
    }
    Ok(())
}

fn invisible_until_finished(trial: &Trial<'_>) -> Told {
    let (text, bytes) = ("slow/written", bytes_of(10, PROBE_WRITER_BYTES));
    let mut writer = trial.writer(text, PutMode::CreateNew)?;
    bytes.chunks(PIECE_BYTES).try_for_each(|piece| writer.write(piece))?;
    expect_refused(trial.stat(text), Kind::NotFound, "it was looked at before it was finished")?;
    expect_refused(trial.read(text, 1), Kind::NotFound, "it was read before it was finished")?;
    let rows = trial.rows("", Depth::All)?;
    expect(!rows.iter().any(|row| row.starts_with("slow")), || {
        "it was listed before it was finished".to_owned()
    })?;
    writer.finish()?;
    trial.expect_read(text, &bytes, "after it was finished")
}

fn given_up(trial: &Trial<'_>) -> Told {
    let (text, bytes) = ("given-up/written", bytes_of(11, 2 << 20));
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        let mut writer = trial.writer(text, mode)?;
        writer.write(&bytes)?;
        drop(writer);
        expect_refused(trial.stat(text), Kind::NotFound, "what was given up was looked at")?;
        trial.expect_rows("given-up", Depth::All, &[], "after an object was given up")?;
    }
    trial.put(text, b"kept", PutMode::CreateNew)?;
    let mut writer = trial.writer(text, PutMode::Replace)?;
    writer.write(&bytes)?;
    drop(writer);
    trial.expect_read(text, b"kept", "after its successor was given up")
}

fn taken_name(trial: &Trial<'_>) -> Told {
    let text = "taken/name";
    trial.put(text, b"first", PutMode::CreateNew)?;
    let again = trial.put(text, b"second", PutMode::CreateNew);
    expect_refused(again, Kind::AlreadyExists, "a taken name was put again as new")?;
    let written = trial.writer(text, PutMode::CreateNew).and_then(|mut writer| {
        writer.write(b"third")?;
        writer.finish()
    });
    expect_refused(written, Kind::AlreadyExists, "a taken name was written again as new")?;
    trial.expect_read(text, b"first", "after others wanted its name")
}

fn replaced(trial: &Trial<'_>) -> Told {
    let text = "replaced/object";
    for (number, length_bytes) in [(20, 5_000), (21, 100), (22, 0), (23, 200_000), (24, 199_999)] {
        let bytes = bytes_of(number, length_bytes);
        trial.put(text, &bytes, PutMode::Replace)?;
        trial.expect_read(text, &bytes, "right after it was replaced")?;
        let rows = [format!("{text} {length_bytes}")];
        trial.expect_rows("replaced", Depth::All, &rows, "right after it was replaced")?;
    }
    Ok(())
}

fn ranges(trial: &Trial<'_>) -> Told {
    let (text, bytes) = ("ranges/object", bytes_of(30, 100_000));
    trial.put(text, &bytes, PutMode::CreateNew)?;
    let name = trial.name(text)?;
    for (what, offset, length_bytes) in [
        ("the beginning", 0, 1_000),
        ("one byte", 0, 1),
        ("the middle", 50_000, 10_000),
        ("the last byte", 99_999, 1),
        ("past the end", 99_000, 5_000),
        ("nothing", 10, 0),
        ("at the end", 100_000, 10),
        ("behind the end", 500_000, 10),
    ] {
        let start = bytes.len().min(offset);
        let expected = &bytes[start..bytes.len().min(start + length_bytes)];
        let read = match trial.storage.read(&name, offset as u64, length_bytes) {
            Err(error) if !is_out_of_reach(&error) => {
                return expect(false, || format!("{what} could not be read: {error}"));
            }
            read => read?,
        };
        expect(read == expected, || match read.len() == expected.len() {
            true => format!("{what} had other bytes"),
            false => format!("{what} had {} bytes, not {}", read.len(), expected.len()),
        })?;
    }
    Ok(())
}

fn lengths(trial: &Trial<'_>) -> Told {
    for (number, length_bytes) in [0, 1, 511, 65_537].into_iter().enumerate() {
        let text = format!("lengths/{number}");
        trial.put(&text, &bytes_of(40, length_bytes), PutMode::CreateNew)?;
        let told = trial.stat(&text)?;
        expect(told == length_bytes as u64, || format!("{told} bytes of one that has {length_bytes}"))?;
    }
    Ok(())
}

fn absent(trial: &Trial<'_>) -> Told {
    trial.put("there/is/one", b"1", PutMode::CreateNew)?;
    for text in ["absent", "absent/below", "there/absent", "there/is"] {
        expect_refused(trial.stat(text), Kind::NotFound, &format!("{text} was looked at"))?;
        expect_refused(trial.read(text, 1), Kind::NotFound, &format!("{text} was read"))?;
        expect_refused(trial.delete(text), Kind::NotFound, &format!("{text} was deleted"))?;
    }
    trial.expect_read("there/is/one", b"1", "after others were looked for")
}

fn deleted(trial: &Trial<'_>) -> Told {
    for number in 50..55 {
        let bytes = bytes_of(number, 1_000);
        trial.put("gone/one", &bytes, PutMode::CreateNew)?;
        trial.put("gone/other", b"stays", PutMode::Replace)?;
        trial.delete("gone/one")?;
        expect_refused(trial.stat("gone/one"), Kind::NotFound, "a deleted object was looked at")?;
        expect_refused(trial.read("gone/one", 1), Kind::NotFound, "a deleted object was read")?;
        let rows = ["gone/other 5".to_owned()];
        trial.expect_rows("gone", Depth::All, &rows, "after another object was deleted")?;
    }
    Ok(())
}

fn odd_names(trial: &Trial<'_>) -> Told {
    let long = "n".repeat(200);
    let odd = [
        "with space",
        " space at both ends ",
        "host_{mode}_name",
        "größe-日本-🧊",
        "e\u{301} is not \u{e9}",
        "a+b&c=d?e#f",
        "%2F%00%",
        ".hidden",
        "...",
        "-rf",
        "back\\slash\"quote'",
        "semi;colon:pipe|star*",
        "UPPER",
        "upper",
        &long,
    ];
    let mut wrong = Vec::new();
    for (number, part) in (60..).zip(odd) {
        let (inside, bytes) = (format!("odd/{part}/object"), bytes_of(number, 20));
        let told: Told = trial.put(&inside, &bytes, PutMode::CreateNew).map_err(Doubt::from);
        let told = told.and_then(|()| trial.expect_read(&inside, &bytes, "right after it was put"));
        let rows = [format!("{inside} 20")];
        let told = told.and_then(|()| trial.expect_rows(&format!("odd/{part}"), Depth::One, &rows, "then"));
        match told {
            Ok(()) => {}
            Err(Doubt::Failed(error)) if is_out_of_reach(&error) => return Err(error.into()),
            Err(Doubt::Failed(error)) => wrong.push(format!("{part:?} ({error})")),
            Err(Doubt::Seen(seen) | Doubt::Unsure(seen)) => wrong.push(format!("{part:?} ({seen})")),
        }
    }
    let count = wrong.len();
    wrong.truncate(PROBE_NAMED);
    expect(count == 0, || format!("{count} of {} are not: {}", odd.len(), wrong.join(", ")))
}

pub(super) fn long_object(trial: &Trial<'_>) -> Told {
    let text = "long/object";
    // Blocks that can be told apart, made again when they are compared.
    let block_bytes = BLOCK_BYTES as u64;
    let blocks = trial.options.long_object_bytes.div_ceil(block_bytes);
    let block = |number: u64| {
        let length = block_bytes.min(trial.options.long_object_bytes - number * block_bytes);
        bytes_of(u32::try_from(number).unwrap_or(u32::MAX), usize::try_from(length).unwrap_or(usize::MAX))
    };
    let mut writer = trial.writer(text, PutMode::CreateNew)?;
    for number in 0..blocks {
        trial.monitor.check()?;
        writer.write(&block(number))?;
    }
    writer.finish()?;
    let told = trial.stat(text)?;
    expect(told == trial.options.long_object_bytes, || format!("it is {told} bytes long"))?;
    let name = trial.name(text)?;
    for number in 0..blocks {
        trial.monitor.check()?;
        let expected = block(number);
        let read = trial.storage.read(&name, number * block_bytes, expected.len())?;
        expect(read == expected, || format!("other bytes at {}", number * block_bytes))?;
    }
    Ok(())
}
