//! The files that AWS's own programs keep: sections of `key = value`, where settings of a service stand indented below its
//! name, and what a profile of them says.
//!
//! Invariants: no value is ever in an error, since it may be a key; a profile that gets its keys in a way which is not
//! supported is an error, and never passed over.

use crate::access::Access;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{PROFILE_FILE_BYTES, PROFILE_LINES};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The profile of those who name none.
const DEFAULT: &str = "default";

/// `key = value`. Keys are in small letters; what stands indented below `key` is called `key.its-own-name`.
pub type Settings = BTreeMap<String, Zeroizing<String>>;

/// The sections of a file, by the words between their brackets.
pub type Sections = BTreeMap<String, Settings>;

/// Reads such a file. Of a key that is given twice the last value counts, as AWS's programs have it.
///
/// # Errors
/// `Invalid` for a line that is none of a section, a setting, a comment or nothing; `Limit` for too many of them.
pub fn parse(text: &str) -> Result<Sections> {
    let mut sections = Sections::new();
    // The section, the last key of it, and how far that one is indented.
    let mut section: Option<String> = None;
    let mut last: Option<(String, usize)> = None;
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        if number >= PROFILE_LINES {
            return Err(Error::new(Kind::Limit, "more lines than").on(PROFILE_LINES.to_string()));
        }
        let wrong = |why: &str| Error::invalid(why, format!("(line {})", number + 1));
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent == 0
            && let Some(rest) = content.strip_prefix('[')
        {
            let name = heading(rest).ok_or_else(|| wrong("a section is not closed by ']'"))?;
            sections.entry(name.clone()).or_default();
            (section, last) = (Some(name), None);
            continue;
        }
        let settings = section.as_ref().and_then(|name| sections.get_mut(name));
        let settings = settings.ok_or_else(|| wrong("a setting outside of any section"))?;
        let parent = last.as_ref().filter(|(_, base)| indent > *base).map(|(key, _)| key.clone());
        match (content.split_once('='), parent) {
            (Some((key, value)), Some(parent)) => {
                settings.insert(format!("{parent}.{}", word(key)), Zeroizing::new(value.trim().to_owned()));
            }
            (Some((key, value)), None) => {
                settings.insert(word(key), Zeroizing::new(value.trim().to_owned()));
                last = Some((word(key), indent));
            }
            // A value that goes on in the next line.
            (None, Some(parent)) => {
                let value = settings.entry(parent).or_default();
                value.push('\n');
                value.push_str(content);
            }
            (None, None) => return Err(wrong("neither a section nor 'key = value'")),
        }
    }
    Ok(sections)
}

/// The words before `]`, with one space between them and without quotes; nothing but a comment may follow.
fn heading(rest: &str) -> Option<String> {
    let (name, after) = rest.split_once(']')?;
    let after = after.trim_start();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (after.is_empty() || after.starts_with(['#', ';'])).then(|| name.replace(['"', '\''], ""))
}

fn word(key: &str) -> String {
    key.trim().to_ascii_lowercase()
}

/// What the files say for one profile.
pub(super) struct Profile {
    name: String,
    settings: Settings,
    services: Settings,
}

impl Profile {
    /// The profile that is asked for in the address, by AWS_PROFILE, or the default one.
    ///
    /// # Errors
    /// `Invalid` when one is named that no file has, and for a file that is none.
    pub(super) fn load(access: &Access, asked: Option<&str>) -> Result<Profile> {
        let variable = access.text("AWS_PROFILE").or_else(|| access.text("AWS_DEFAULT_PROFILE"));
        let named = asked.map(str::to_owned).or(variable);
        let name = named.clone().unwrap_or_else(|| DEFAULT.to_owned());
        let file = |variable: &str, default: &str| {
            let own = access.home.as_ref().map(|home| home.join(".aws").join(default));
            (access.variable)(variable).filter(|path| !path.is_empty()).map(PathBuf::from).or(own)
        };
        let mut config = read(file("AWS_CONFIG_FILE", "config").as_deref())?;
        let mut keys = read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials").as_deref())?;
        let in_config = config.remove(&format!("profile {name}"));
        let in_config = in_config.or_else(|| (name == DEFAULT).then(|| config.remove(DEFAULT)).flatten());
        let in_keys = keys.remove(&name);
        if named.is_some() && in_config.is_none() && in_keys.is_none() {
            let error = Error::invalid("there is no profile called", name);
            return Err(
                error.hint("profiles stand in the files 'credentials' and 'config' of the folder ~/.aws")
            );
        }
        let mut settings = in_config.unwrap_or_default();
        // Two halves of different pairs of keys would make none.
        let in_keys = in_keys.unwrap_or_default();
        if in_keys.contains_key(KEY_ID) || in_keys.contains_key(KEY) {
            settings.retain(|key, _| ![KEY_ID, KEY, TOKEN].contains(&key.as_str()));
        }
        settings.extend(in_keys);
        let services = settings.get("services").map(|services| format!("services {}", services.as_str()));
        let services = services.and_then(|section| config.remove(&section)).unwrap_or_default();
        Ok(Profile { name, settings, services })
    }

    fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The region.
    pub(super) fn region(&self) -> Option<&str> {
        self.setting("region")
    }

    /// Where S3 is.
    pub(super) fn endpoint(&self) -> Option<&str> {
        let of_service = self.services.get("s3.endpoint_url").map(|value| value.as_str());
        of_service.filter(|value| !value.is_empty()).or_else(|| self.setting("endpoint_url"))
    }

    /// The file of certificates to trust.
    pub(super) fn certificates(&self) -> Option<&str> {
        self.setting("ca_bundle")
    }

    /// The keys that stand in it: id, secret and token.
    ///
    /// # Errors
    /// `Invalid` for half a pair; `Unsupported` when it gets its keys in another way.
    pub(super) fn keys(&self) -> Result<Option<Keys<'_>>> {
        let unsupported = |key: &str| {
            Error::new(Kind::Unsupported, format!("profiles with {key} are not supported:"))
                .on(self.name.clone())
                .hint("put keys into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN")
        };
        // Programs of AWS take the role also where keys stand beside it.
        if let Some(key) =
            ["role_arn", "source_profile", "credential_source"].iter().find(|key| self.setting(key).is_some())
        {
            return Err(unsupported(key));
        }
        match (self.setting(KEY_ID), self.setting(KEY)) {
            (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token: self.setting(TOKEN) })),
            (None, None) => match OTHER_WAYS.iter().find(|key| self.setting(key).is_some()) {
                Some(key) => Err(unsupported(key)),
                None => Ok(None),
            },
            (id, _) => {
                let missing = if id.is_none() { KEY_ID } else { KEY };
                Err(Error::invalid(
                    format!("no {missing} beside the other half in profile"),
                    self.name.clone(),
                ))
            }
        }
    }
}

const KEY_ID: &str = "aws_access_key_id";
const KEY: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";

/// How else a profile may get keys.
const OTHER_WAYS: [&str; 5] =
    ["credential_process", "sso_session", "sso_start_url", "sso_account_id", "web_identity_token_file"];

/// Keys as they stand in a profile.
pub(super) struct Keys<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) token: Option<&'a str>,
}

/// The sections of a file; none when it is not there.
fn read(path: Option<&Path>) -> Result<Sections> {
    let Some(path) = path else { return Ok(Sections::new()) };
    let subject = || path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Sections::new());
        }
        Err(e) => return Err(Error::io("cannot open", subject(), e)),
    };
    let mut text = Zeroizing::new(String::new());
    let read = file.take(PROFILE_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|e| Error::io("cannot read", subject(), e))?;
    if text.len() as u64 > PROFILE_FILE_BYTES {
        return Err(Error::new(Kind::Limit, "too long a file:").on(subject()));
    }
    parse(&text).map_err(|error| error.while_doing("cannot read", subject()))
}

#[cfg(test)]
mod tests;
