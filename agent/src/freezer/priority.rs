//! `--max-priority`: the processor and the disks first of all for this process. What the system refuses is told, and is no reason to
//! stop.

use crate::output;
use crate::password;
use std::process::{Command, Stdio};

/// How nice Freezer makes itself.
const NICENESS: i32 = -19;

/// Asks for it.
pub fn raise() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        output::warning(&format!("warning: --max-priority: no more of the processor: {error}"));
    }
    let number = std::process::id().to_string();
    let mut command = Command::new("ionice");
    password::hide_from(&mut command);
    // Real time, the first of its levels; -t has it say nothing of what the system refuses.
    command.args(["-c", "1", "-n", "0", "-t", "-p", &number]).stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => output::warning(&format!("warning: --max-priority: ionice: {status}")),
        Err(error) => output::warning(&format!("warning: --max-priority: ionice cannot be run: {error}")),
    }
}
