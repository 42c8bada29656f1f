//! Snapshots that a run has left which was killed: its name says which process took one, and a process that is no more removes none.
//!
//! Invariant: of a snapshot whose process still runs, or whose name is not of this form, nothing is said: it may be in use, or another's.

use icecore::error::{Error, Result};
use std::fs;

/// What the names of snapshots begin with where the user gives none.
const HEAD: &str = "icecore_";

/// The field of `/proc/PID/stat`, counted from behind the name of the program, that says when the process began.
const BEGAN: usize = 19;

/// A name of a snapshot that this process takes. Nothing else has what is `unique`.
///
/// # Errors
/// When the system does not say when this process began.
pub fn name(unique: &str) -> Result<String> {
    let process = std::process::id();
    let began = began(process).ok_or_else(|| {
        Error::damaged("the system does not say when a process began:", process.to_string())
    })?;
    Ok(format!("{HEAD}{process}_{began}_{unique}"))
}

/// The process that took the snapshot of this name, if that has ended.
pub fn ended(name: &str) -> Option<u32> {
    let (process, then) = taker(name)?;
    // Another may have its number by now.
    (began(process) != Some(then)).then_some(process)
}

/// Which process took the snapshot, and when that began.
fn taker(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(HEAD)?.split('_');
    let (process, began) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().filter(|unique| !unique.is_empty() && parts.next().is_none())?;
    Some((process, began))
}

/// When a process began, as the kernel counts; `None` when there is none.
fn began(process: u32) -> Option<u64> {
    time(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The time in a line of `/proc/PID/stat`. The name of a program may have anything in it, spaces and brackets too.
fn time(line: &str) -> Option<u64> {
    let (_, fields) = line.rsplit_once(") ")?;
    fields.split_ascii_whitespace().nth(BEGAN)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_process_took_is_not_left() {
        let name = name("0123").unwrap();
        assert_eq!(taker(&name).map(|(process, _)| process), Some(std::process::id()));
        assert_eq!(ended(&name), None);
    }

    #[test]
    fn what_a_process_took_that_has_ended_is_left() {
        // The number is in use, by a process that began at another time.
        let process = std::process::id();
        assert_eq!(ended(&format!("icecore_{process}_1_ab")), Some(process));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = format!("icecore_{}_{}_ab", child.id(), began(child.id()).unwrap());
        assert_eq!(ended(&name), None);
        child.wait().unwrap();
        assert_eq!(ended(&name), Some(child.id()));
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "data",
            "icecore_",
            "icecore_1",
            "icecore_1_2",
            "icecore_1_2_",
            "icecore_1_2_a_b",
            "icecore_x_2_a",
            "1_2_a",
        ] {
            assert_eq!(ended(name), None, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_program_is_no_field() {
        let fields: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let line = |name: &str| format!("7 ({name}) S {}", fields.join(" "));
        for name in ["sh", "a b", "a) S (b", ") 1 2"] {
            assert_eq!(time(&line(name)), Some(22), "{name}");
        }
        assert_eq!(time("7 (sh) S 1 2"), None);
        assert_eq!(time(""), None);
    }
}
