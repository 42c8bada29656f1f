//! The help, made from the table of options.

use super::options::{Effect, Kind, OPTIONS, Opt};

/// How wide the column of names is.
const COLUMN: usize = 34;

/// All of it.
pub fn lines() -> Vec<String> {
    let mut lines: Vec<String> = [
        "freezer-agent --action backup|restore|info|admin|exec [OPTIONS]",
        "",
        "Back up, restore and remove as Freezer's agent does, in its storages and with its options. The command line goes",
        "before a job file (--config), that before variables OS_DEFAULT__NAME, and those before files of oslo's form",
        "(--config-file; else freezer.conf and freezer-agent.conf in ~/.freezer, ~, /etc/freezer or /etc).",
        "Switches are turned off by --noNAME. Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some of the source",
        "could not be read, 130 interrupted.",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    lines.extend(OPTIONS.iter().map(line));
    lines
}

fn line(option: &Opt) -> String {
    let short = option.short.map_or_else(String::new, |letter| format!("-{letter}, "));
    let value = match option.kind {
        Kind::Switch => "",
        Kind::Whole => " N",
        Kind::Number => " NUMBER",
        Kind::Rate => " BYTES",
        Kind::Files => " PATH",
        Kind::One(_) => " WORD",
        Kind::Text => " TEXT",
    };
    let names = format!("  {short}--{}{value}", option.name);
    let words = match option.kind {
        Kind::One(words) => format!(": {}", words.join(", ")),
        _ => String::new(),
    };
    let default = match (option.default, option.kind) {
        ("" | "false", _) => String::new(),
        ("true", Kind::Switch) => " [default: on]".to_owned(),
        (default, _) => format!(" [default: {default}]"),
    };
    let effect = match option.effect {
        Effect::NotYet => " (not in this version)".to_owned(),
        Effect::Nothing(why) => format!(" (does nothing: {why})"),
        Effect::OnlyWith(other) => format!(" (only with --{other})"),
        _ => String::new(),
    };
    format!("{names:COLUMN$} {}{words}{default}{effect}", option.about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_the_help() {
        let text = lines().join("\n");
        for option in OPTIONS {
            assert!(text.contains(&format!("--{}", option.name)), "{}", option.name);
        }
    }
}
