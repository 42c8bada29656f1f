//! The user's `~/.ssh/config`: the part of it that says how to reach a host and what to trust.
//!
//! As in `ssh` the first value counts, and `IdentityFile` adds up. What would change where a connection goes and is not
//! understood here (`ProxyCommand`, most of `Match`) is refused where it applies; keywords that have nothing to do with
//! reaching a host and reading its files are passed over.

use super::patterns::any_matches;
use icecore::error::{Error, Kind, Result};

/// What to do about a host key that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse it.
    Refuse,
    /// Take it for the host's from now on.
    AcceptNew,
    /// The user asks for no checking at all.
    Off,
}

/// What the file says of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What it is called on the network.
    pub host_name: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The user there.
    pub user: Option<String>,
    /// Keys, in order.
    pub identity_files: Vec<String>,
    /// Only these keys, whatever else an agent has.
    pub identities_only: Option<bool>,
    /// The socket of the agent, or `none`.
    pub identity_agent: Option<String>,
    /// Files of known host keys.
    pub known_hosts: Option<Vec<String>>,
    /// What the host is called in them.
    pub host_key_alias: Option<String>,
    /// What to do about an unknown key.
    pub strictness: Option<Strictness>,
    /// Seconds.
    pub connect_timeout: Option<u32>,
    /// Hosts on the way, as they are written.
    pub jump: Option<String>,
}

/// A configuration that has been read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    sections: Vec<Section>,
}

#[derive(Debug, Clone)]
struct Section {
    /// All of them must hold.
    conditions: Vec<Condition>,
    settings: Vec<Setting>,
}

#[derive(Debug, Clone)]
enum Condition {
    Host(Vec<String>),
    Match(Vec<String>),
}

#[derive(Debug, Clone)]
struct Setting {
    keyword: String,
    arguments: Vec<String>,
}

/// The texts of the files that `Include` names.
pub type Include<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<String>>;

impl Config {
    /// Takes a configuration apart.
    ///
    /// # Errors
    /// `Invalid` for a line that is none, `Unsupported` for an `Include` within an included file; those of `include`.
    pub fn parse(text: &str, include: Include<'_>) -> Result<Config> {
        let mut config = Config::default();
        config.read(text, &[], Some(include))?;
        Ok(config)
    }

    fn read(&mut self, text: &str, outer: &[Condition], mut include: Option<Include<'_>>) -> Result<()> {
        let mut conditions = outer.to_vec();
        self.open(&conditions);
        for (number, line) in text.lines().enumerate() {
            let words = words(line).map_err(|why| {
                Error::invalid(format!("line {} of an ssh configuration: {why}:", number + 1), line.trim())
            })?;
            let Some((keyword, arguments)) = words.split_first() else { continue };
            let keyword = keyword.to_ascii_lowercase();
            match keyword.as_str() {
                "host" | "match" => {
                    let condition = if keyword == "host" { Condition::Host } else { Condition::Match };
                    conditions = outer.to_vec();
                    conditions.push(condition(arguments.to_vec()));
                    self.open(&conditions);
                }
                "include" => {
                    for pattern in arguments {
                        let Some(include) = &mut include else {
                            return Err(Error::new(
                                Kind::Unsupported,
                                "an included ssh configuration includes another:",
                            )
                            .on(pattern));
                        };
                        for text in include(pattern)? {
                            self.read(&text, &conditions, None)?;
                        }
                    }
                    self.open(&conditions);
                }
                _ => {
                    let setting = Setting { keyword, arguments: arguments.to_vec() };
                    // There is one: it was opened above.
                    if let Some(section) = self.sections.last_mut() {
                        section.settings.push(setting);
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, conditions: &[Condition]) {
        self.sections.push(Section { conditions: conditions.to_vec(), settings: Vec::new() });
    }

    /// What is said of a host, by the name that the user gave.
    ///
    /// # Errors
    /// `Unsupported` for what applies and is not understood, `Invalid` for a value that makes no sense.
    pub fn settings(&self, host: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        // Whichever of the two comes first counts, as in `ssh`.
        let mut is_proxy_known = false;
        for section in &self.sections {
            match section.applies(host, settings.host_name.as_deref()) {
                Some(false) => continue,
                None if section.settings.iter().any(|setting| matters(&setting.keyword)) => {
                    return Err(Error::new(
                        Kind::Unsupported,
                        "cannot tell whether this `Match` of the ssh configuration applies to",
                    )
                    .on(host)
                    .hint(
                        "write it as `Host`, or give another file by ?config=FILE (?config=none for none)",
                    ));
                }
                None => continue,
                Some(true) => {}
            }
            for setting in &section.settings {
                settings.take(setting, host, &mut is_proxy_known)?;
            }
        }
        Ok(settings)
    }
}

/// Whether a keyword changes anything here.
fn matters(keyword: &str) -> bool {
    [
        "hostname",
        "port",
        "user",
        "identityfile",
        "identitiesonly",
        "identityagent",
        "userknownhostsfile",
        "hostkeyalias",
        "stricthostkeychecking",
        "connecttimeout",
        "proxyjump",
        "proxycommand",
    ]
    .contains(&keyword)
}

impl Section {
    /// `None` when it cannot be told.
    fn applies(&self, host: &str, host_name: Option<&str>) -> Option<bool> {
        let mut known = Some(true);
        for condition in &self.conditions {
            let holds = match condition {
                Condition::Host(patterns) => Some(any_matches(host, patterns.iter().map(String::as_str))),
                Condition::Match(criteria) => is_matched(criteria, host, host_name.unwrap_or(host)),
            };
            match holds {
                Some(false) => return Some(false),
                None => known = None,
                Some(true) => {}
            }
        }
        known
    }
}

/// `all`, `host` and `originalhost` are understood; one that does not hold settles it, whatever the others are.
fn is_matched(criteria: &[String], host: &str, host_name: &str) -> Option<bool> {
    let (mut known, mut left) = (Some(true), criteria.iter());
    while let Some(criterion) = left.next() {
        let (name, value) = match criterion.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
            None => (criterion.to_ascii_lowercase(), None),
        };
        let subject = match name.as_str() {
            "all" => continue,
            "host" => host_name,
            "originalhost" => host,
            // How many words belong to it is not known either.
            _ => return known.filter(|holds| !holds),
        };
        let value = value.or_else(|| left.next().map(String::as_str)).unwrap_or_default();
        if !any_matches(subject, value.split(',')) {
            known = Some(false);
        }
    }
    known
}

impl Settings {
    fn take(&mut self, setting: &Setting, host: &str, is_proxy_known: &mut bool) -> Result<()> {
        if !matters(&setting.keyword) {
            return Ok(());
        }
        let wrong = || {
            let line = format!("{} {}", setting.keyword, setting.arguments.join(" "));
            Error::invalid("a line of the ssh configuration makes no sense:", line)
        };
        let first = setting.arguments.first().ok_or_else(wrong)?;
        match setting.keyword.as_str() {
            "hostname" => keep(&mut self.host_name, first.clone()),
            "user" => keep(&mut self.user, first.clone()),
            "port" => {
                let port: u16 = first.parse().map_err(|_| wrong())?;
                keep(&mut self.port, port);
            }
            "identityfile" => self.identity_files.push(first.clone()),
            "identitiesonly" => keep(&mut self.identities_only, switch(first).ok_or_else(wrong)?),
            "identityagent" => keep(&mut self.identity_agent, first.clone()),
            "userknownhostsfile" => keep(&mut self.known_hosts, setting.arguments.clone()),
            "hostkeyalias" => keep(&mut self.host_key_alias, first.clone()),
            "stricthostkeychecking" => keep(&mut self.strictness, strictness(first).ok_or_else(wrong)?),
            "connecttimeout" => {
                let seconds: u32 = first.parse().map_err(|_| wrong())?;
                keep(&mut self.connect_timeout, seconds);
            }
            "proxyjump" if !*is_proxy_known => {
                *is_proxy_known = true;
                self.jump = Some(first.clone()).filter(|jump| !jump.eq_ignore_ascii_case("none"));
            }
            "proxycommand" if !*is_proxy_known => {
                *is_proxy_known = true;
                if !first.eq_ignore_ascii_case("none") {
                    return Err(Error::new(
                        Kind::Unsupported,
                        "the ssh configuration has a ProxyCommand, which is not supported, for",
                    )
                    .on(host)
                    .hint("use ProxyJump, or give another file by ?config=FILE (?config=none for none)"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn strictness(value: &str) -> Option<Strictness> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "ask" => Some(Strictness::Refuse),
        "accept-new" => Some(Strictness::AcceptNew),
        "no" | "off" | "false" => Some(Strictness::Off),
        _ => None,
    }
}

/// The words of a line: a keyword, blanks or one `=`, and its arguments; quotes hold together, `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        }
        let (word, behind) = word(rest, words.is_empty())?;
        words.push(word);
        rest = behind.trim_start();
        if words.len() == 1 {
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        }
    }
    Ok(words)
}

/// The word a text begins with, and what is behind it.
fn word(text: &str, is_keyword: bool) -> Result<(String, &str), &'static str> {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('\\', _) if letters.peek().is_some_and(|(_, next)| matches!(next, '"' | '\'' | '\\')) => {
                word.extend(letters.next().map(|(_, next)| next));
            }
            (closing, Some(open)) if closing == open => quote = None,
            ('"' | '\'', None) => quote = Some(letter),
            (blank, None) if blank.is_whitespace() || (is_keyword && blank == '=') => {
                return Ok((word, &text[at..]));
            }
            _ => word.push(letter),
        }
    }
    match quote {
        Some(_) => Err("a quote is not closed"),
        None => Ok((word, "")),
    }
}

#[cfg(test)]
mod tests;
