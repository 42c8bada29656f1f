//! A question at the terminal whose answer is not shown.

use crate::cli::Context;
use crate::progress;
use icecore::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::sync::atomic::Ordering;

/// How long a look at the terminal lasts before it is asked whether somebody pressed Ctrl-C.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The longest line that is taken.
const LINE_BYTES: usize = 4096;

/// Asks, and gives what was typed; `None` when nobody can be asked.
///
/// # Errors
/// `Interrupted` by Ctrl-C; when the terminal cannot be used.
pub fn ask(context: &Context<'_>, question: &str) -> Result<Option<Vec<u8>>> {
    // A terminal somewhere far away is nobody who looks at this run.
    if !std::io::stdin().is_terminal() && !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    progress::aside(|| ask_at(context, &terminal, question)).map(Some)
}

fn ask_at(context: &Context<'_>, mut terminal: &File, question: &str) -> Result<Vec<u8>> {
    let failed = |e| Error::io("cannot ask at", "the terminal", e);
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let silent = Silent::begin(terminal)?;
    let line = read_line(context, terminal);
    drop(silent);
    terminal.write_all(b"\n").map_err(failed)?;
    line
}

fn read_line(context: &Context<'_>, mut terminal: &File) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Error::io("cannot read from", "the terminal", e);
    let mut line = Vec::new();
    loop {
        if context.stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        // A read that waits would be begun again by the system after a signal; a poll is not.
        match poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let mut byte = [0];
        match terminal.read(&mut byte) {
            Ok(0) => return Ok(line),
            Ok(_) if byte[0] == b'\n' => return Ok(line),
            Ok(_) if line.len() == LINE_BYTES => return Err(Error::invalid("too long for a password", "")),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Silent<'t> {
    fn begin(terminal: &'t File) -> Result<Self> {
        let failed = |e: rustix::io::Errno| Error::io("cannot hide what is typed at", "the terminal", e);
        let before = tcgetattr(terminal).map_err(failed)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &modes).map_err(failed)?;
        Ok(Silent { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing more can be done where the terminal has gone away.
        tcsetattr(self.terminal, OptionalActions::Flush, &self.before).unwrap_or(());
    }
}
