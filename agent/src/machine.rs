//! Which processes there are on this machine: what a run announces of itself, and whether one that was announced is over.
//!
//! Invariant: a process counts as over only when its number was given out by the same kernel since the same start, in the same
//! name spaces of processes and of time, on a machine of the same name (one whose memory was copied has all else in common), and
//! when no process has that number now, or one that began at another time. Whatever is not known says nothing.

use crate::cli::{Context, host_name};
use crate::seen;
use icecore::repository::Repository;
use icecore::repository::vault::{Announcement, Process, Sessions};
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

/// Whether the process of a run is here, and not known to be gone.
pub fn is_running(announced: &Announcement) -> bool {
    let of = &announced.process.machine;
    !of.is_empty() && machine().as_ref() == Some(of) && !is_over(announced)
}

/// Takes back what runs of this machine have announced that were killed since: it would keep what nobody needs from being collected.
/// `listed` is what is announced, where that is known already.
pub fn end_what_is_over(context: &Context<'_>, repository: &Repository, listed: Option<Sessions>) {
    let Some(vault) = repository.vault() else { return };
    let ended = match listed {
        Some(listed) => vault.end_sessions_of(listed, &is_over),
        None => vault.end_sessions(&is_over),
    };
    if let Err(error) = ended {
        seen::warn(context, &format!("what a killed run has announced could not be taken back: {error}"));
    }
}

/// What says whose numbers of processes are meant, and whose times. `None` where `/proc` shows the processes of another name space.
fn machine() -> Option<String> {
    began("self", getpid().as_raw_nonzero().get().unsigned_abs())?;
    let start = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = |of: &str| std::fs::read_link(format!("/proc/self/ns/{of}")).ok();
    // The kernel tells when a process began by the time of the name space of whoever reads it. Older ones have only one time.
    let time = space("time").map(|time| time.to_string_lossy().into_owned()).unwrap_or_default();
    Some(machine_of(start.trim(), space("pid")?.to_str()?, &time, &host_name()))
}

/// The same of its parts, the name of the machine by its hash: it may be long.
fn machine_of(start: &str, processes: &str, time: &str, host: &str) -> String {
    let host = blake3::hash(host.as_bytes()).to_hex();
    format!("{start} {processes} {time} {}", &host[..16])
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
    fn another_name_or_another_time_is_another_machine() {
        let this = machine_of("start", "pid:[1]", "time:[2]", "alpha");
        for other in [
            machine_of("start", "pid:[1]", "time:[2]", "beta"),
            machine_of("start", "pid:[1]", "time:[3]", "alpha"),
            machine_of("start", "pid:[1]", "", "alpha"),
        ] {
            assert_ne!(this, other);
        }
        let parts = machine().unwrap();
        let time = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
        assert!(parts.contains(time.to_str().unwrap()), "{parts}");
        let host = machine_of("", "", "", &host_name());
        assert!(parts.ends_with(host.trim_start()), "{parts}");
    }

    #[test]
    fn only_what_is_known_to_be_gone_is_over() {
        let this = this_process();
        assert!(!this.machine.is_empty() && this.began > 0);
        assert!(!is_over(&announced(this.clone())));
        assert!(is_running(&announced(this.clone())));
        assert!(
            !is_running(&announced(Process::of_number(this.number))),
            "of this machine, for all that is known"
        );
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
