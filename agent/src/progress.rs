//! What a person sees while a run is going on, and what a machine reads: the monitor of the command line.

use crate::cli::Global;
use crate::output;
use icecore::monitor::{Event, Monitor};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Entries between two changes of the progress line: drawing must cost nothing.
const REDRAW_EVERY: u64 = 256;

/// The progress line that is on the terminal, if there is one.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Does something at the terminal, without a progress line that is drawn over it.
pub fn aside<R>(work: impl FnOnce() -> R) -> R {
    let line = LINE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match line {
        Some(line) => line.suspend(work),
        None => work(),
    }
}

/// Prints problems as they come, and a progress line on a terminal.
pub struct Terminal<'g> {
    global: &'g Global,
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl<'g> Terminal<'g> {
    /// A monitor for one run; `doing` is the word at the head of the progress line.
    pub fn new(global: &'g Global, stop: Arc<AtomicBool>, doing: &'static str) -> Self {
        let visible = !global.json && !global.quiet && std::io::stderr().is_terminal();
        Terminal::with_line(global, stop, doing, visible)
    }

    /// A monitor for a run whose answer comes line by line: no progress line stands in its way.
    pub fn without_line(global: &'g Global, stop: Arc<AtomicBool>) -> Self {
        Terminal::with_line(global, stop, "", false)
    }

    fn with_line(global: &'g Global, stop: Arc<AtomicBool>, doing: &'static str, visible: bool) -> Self {
        let target =
            if visible { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg}  {elapsed_precise}") {
            bar.set_style(style);
        }
        bar.set_prefix(doing);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
            *LINE.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        Terminal { global, stop, bar, entries: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Removes the progress line.
    pub fn finish(&self) {
        LINE.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.bar.finish_and_clear();
    }

    fn entry(&self, path: &[u8], bytes: u64) {
        let entries = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if entries % REDRAW_EVERY == 1 && !self.bar.is_hidden() {
            let name: String = String::from_utf8_lossy(path)
                .chars()
                .rev()
                .take(50)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            self.bar.set_message(format!(
                "{entries} entries, {}  {}",
                output::bytes(total),
                output::printable(&name)
            ));
        }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| output::warning(text));
    }
}

impl Monitor for Terminal<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Entry { path, bytes } => self.entry(path, bytes),
            Event::Directory { path } => self.entry(path, 0),
            Event::Problem { path, error, lost } => {
                if self.global.json {
                    output::json(
                        &json!({"type": "problem", "path": path, "error": error.to_string(), "lost": lost}),
                    );
                } else if lost || !self.global.quiet {
                    let word = if lost { "error" } else { "note" };
                    self.say(&format!("{word}: {}", output::told(path, error)));
                }
            }
            Event::Warning(text) => {
                if self.global.json {
                    output::json(&json!({"type": "warning", "message": text}));
                } else {
                    self.say(&format!("warning: {text}"));
                }
            }
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
