//! Which processes there are on this machine: what a run announces of itself, and whether one that was announced is over.
//!
//! Invariant: a process counts as over only when its number was given out by the same kernel since the same start, in the same
//! name space of processes, and when no process has that number now, or one that began at another time. Whatever is not known says
//! nothing.

use crate::cli::Context;
use crate::seen;
use icecore::repository::Repository;
use icecore::repository::vault::{Announcement, Process};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

/// This process.
pub fn this_process() -> Process {
    let number = getpid().as_raw_nonzero().get().unsigned_abs();
    let began = began("self", number).unwrap_or(0);
    Process { number, began, machine: machine().unwrap_or_default() }
}

/// Whether the process of a run is known to be gone.
pub fn is_over(announced: &Announcement) -> bool {
    let Process { number, began: then, machine: of } = &announced.process;
    if of.is_empty() || machine().as_ref() != Some(of) {
        return false;
    }
    let Some(pid) = i32::try_from(*number).ok().and_then(Pid::from_raw) else { return false };
    match test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        // The number may have been given out again.
        _ => *then != 0 && began(&number.to_string(), *number).is_some_and(|now| now != *then),
    }
}

/// Takes back what runs of this machine have announced that were killed since: it would keep what nobody needs from being collected.
pub fn end_what_is_over(context: &Context<'_>, repository: &Repository) {
    let Some(vault) = repository.vault() else { return };
    if let Err(error) = vault.end_sessions(&is_over) {
        seen::warn(context, &format!("what a killed run has announced could not be taken back: {error}"));
    }
}

/// What says whose numbers of processes are meant: the start of the kernel and the name space. `None` where `/proc` shows those of
/// another one.
fn machine() -> Option<String> {
    began("self", getpid().as_raw_nonzero().get().unsigned_abs())?;
    let start = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", start.trim(), space.to_str()?))
}

/// When a process began, in ticks of the kernel since its start.
fn began(folder: &str, number: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{folder}/stat")).ok()?;
    began_of(&String::from_utf8_lossy(&text), number)
}

/// The same from what the kernel says of the process with this number. The name, in brackets, may hold anything.
fn began_of(text: &str, number: u32) -> Option<u64> {
    let (head, rest) = (text.split_once(' ')?.0, text.rsplit_once(')')?.1);
    if head.parse() != Ok(number) {
        return None;
    }
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::time::Timestamp;

    fn announced(process: Process) -> Announcement {
        Announcement { host: "h".to_owned(), process, started: Timestamp(0) }
    }

    #[test]
    fn a_name_with_brackets_and_spaces_hides_no_field() {
        let fields: String = (4..30).map(|number| format!(" {number}")).collect();
        assert_eq!(began_of(&format!("17 (a) b (c)) S{fields}"), 17), Some(22));
        assert_eq!(began_of(&format!("17 (a) S{fields}"), 18), None);
        assert_eq!(began_of("17 (a) S 1 2", 17), None);
    }

    #[test]
    fn only_what_is_known_to_be_gone_is_over() {
        let this = this_process();
        assert!(!this.machine.is_empty() && this.began > 0);
        assert!(!is_over(&announced(this.clone())));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Process { number: child.id(), ..this.clone() };
        child.wait().unwrap();
        assert!(is_over(&announced(gone.clone())));
        assert!(
            is_over(&announced(Process { began: this.began + 1, ..this.clone() })),
            "the number was given out again"
        );
        assert!(!is_over(&announced(Process { began: 0, ..this })));
        assert!(!is_over(&announced(Process { machine: "another".to_owned(), ..gone.clone() })));
        assert!(!is_over(&announced(Process::of_number(gone.number))));
    }
}
