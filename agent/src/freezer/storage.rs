//! Freezer's words for a storage, as the place of a repository: an address, and what the driver finds in its environment.
//!
//! Invariant: a password or key is never part of an address, a word of a command line, or anything printed; it is in the place's own
//! environment alone, so that two storages of one kind may have two.

use super::files::{Job, Section, exports};
use super::values::{Values, expanded};
use crate::cli::absolute;
use crate::location::{Location, Place};
use icecore::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the password of a server is called in a place's environment.
const PASSWORD: &str = "ICECORE_STORAGE_PASSWORD";

/// Bytes of Swift's segments that the driver takes, in MiB.
const SEGMENT_MIB: std::ops::RangeInclusive<i64> = 1..=1024;

/// The places that are meant: the storages of the job, or the one of the options.
///
/// # Errors
/// `Invalid` for what is missing or makes no sense; for files that cannot be read.
pub fn places(values: &Values, job: &Job) -> Result<Vec<Place>> {
    if job.storages.is_empty() {
        return Ok(vec![place(values, values, job.osrc.as_deref())?]);
    }
    let of_section = |(name, section): &(String, Section)| {
        let osrc = section.osrc.as_deref().or(job.osrc.as_deref());
        for needed in ["storage", "container"] {
            if !section.values.is_said(needed) {
                return Err(Error::invalid(
                    format!("no {needed} in the section"),
                    format!("[storage:{name}]"),
                ));
            }
        }
        place(&section.values, values, osrc)
            .map_err(|error| error.while_doing("cannot use", format!("[storage:{name}]")))
    };
    job.storages.iter().map(of_section).collect()
}

/// One place; `all` has what is no storage's own.
fn place(values: &Values, all: &Values, osrc: Option<&Path>) -> Result<Place> {
    let container = values
        .text("container")
        .ok_or_else(|| Error::invalid("no --container says where the backups are", ""))?;
    place_called(values, all, osrc, &container)
}

/// Where containers are, when the options name none: nothing when they do, or a job has storages.
///
/// # Errors
/// As [`places`].
pub fn above(values: &Values, job: &Job) -> Result<Option<Place>> {
    match job.storages.is_empty() && values.text("container").is_none() {
        true => place_called(values, values, job.osrc.as_deref(), "").map(Some),
        false => Ok(None),
    }
}

/// A container there, by its name.
///
/// # Errors
/// As [`places`].
pub fn within(values: &Values, job: &Job, name: &str) -> Result<Place> {
    place_called(values, values, job.osrc.as_deref(), name)
}

fn place_called(values: &Values, all: &Values, osrc: Option<&Path>, container: &str) -> Result<Place> {
    let kind = values.text("storage").unwrap_or_default();
    let mut environment = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        environment.insert(name.to_owned(), value.unwrap_or_default());
    };
    let password = |option: &str| values.text(option).map(Some);
    let address = match kind.as_str() {
        "local" => {
            let folder = if container.is_empty() { "." } else { container };
            return Ok(Place { location: Location::Folder(absolute(&expanded(folder))?), environment: None });
        }
        "ssh" => {
            password("ssh-password").into_iter().for_each(|password| put(PASSWORD, password));
            ssh(values, container)?
        }
        "ftp" | "ftps" => {
            password("ftp-password").into_iter().for_each(|password| put(PASSWORD, password));
            ftp(values, &kind, container)?
        }
        "s3" => {
            let key = |option: &str, variable: &str| values.text(option).or_else(|| variable_of(variable));
            if let (Some(access), Some(secret)) =
                (key("access-key", "ACCESS_KEY"), key("secret-key", "SECRET_KEY"))
            {
                put("AWS_ACCESS_KEY_ID", Some(access));
                put("AWS_SECRET_ACCESS_KEY", Some(secret));
                // It would be that of other keys.
                put("AWS_SESSION_TOKEN", None);
            }
            s3(container, key("endpoint", "ENDPOINT").as_deref())
        }
        "swift" => {
            for (name, value) in osrc.map(exports).transpose()?.unwrap_or_default() {
                put(&name, Some(value));
            }
            if let Some(project) = values.text("project-id").or_else(|| all.text("project-id")) {
                put("OS_PROJECT_ID", Some(project));
                for name in [
                    "OS_PROJECT_NAME",
                    "OS_TENANT_ID",
                    "OS_TENANT_NAME",
                    "OS_PROJECT_DOMAIN_ID",
                    "OS_PROJECT_DOMAIN_NAME",
                ] {
                    put(name, None);
                }
            }
            let segment =
                values.is_said("max-segment-size").then(|| values.whole("max-segment-size")).flatten();
            swift(container, segment.or_else(|| all.whole("max-segment-size")))?
        }
        other => return Err(Error::invalid("no kind of storage is called", other)),
    };
    let location = Location::parse(address.as_ref())?;
    Ok(Place { location, environment: Some(Arc::new(environment)) })
}

fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `[user@]host:port`.
fn authority(values: &Values, kind: &str) -> Result<String> {
    let host = format!("{kind}-host");
    let host =
        values.text(&host).ok_or_else(|| Error::invalid("no server is named:", format!("--{host}")))?;
    let user = values.text(&format!("{kind}-username")).map(|user| format!("{}@", encoded(&user, "")));
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let port = values.text(&format!("{kind}-port")).map(|port| format!(":{port}"));
    Ok(format!("{}{host}{}", user.unwrap_or_default(), port.unwrap_or_default()))
}

/// A path on a server: one that does not begin at the root begins where the login does.
fn path_there(container: &str) -> String {
    let bare = container.trim_end_matches('/');
    match bare.strip_prefix('/') {
        Some(_) => encoded(bare, "/"),
        None if container.starts_with('/') => "/".to_owned(),
        None => format!("/~/{}", encoded(bare.trim_start_matches("~/"), "/")),
    }
}

fn ssh(values: &Values, container: &str) -> Result<String> {
    let mut address =
        format!("sftp://{}{}?host-key=accept-new", authority(values, "ssh")?, path_there(container));
    // A key that nobody named may be missing: whatever else there is to log in with is tried then.
    let key = values
        .text("ssh-key")
        .map(|key| expanded(&key))
        .filter(|key| values.is_said("ssh-key") || key.exists());
    if let Some(key) = key.filter(|_| values.text("ssh-password").is_none()) {
        push_file(&mut address, "identity", &key)?;
    }
    Ok(address)
}

fn ftp(values: &Values, kind: &str, container: &str) -> Result<String> {
    let mut address = format!("{kind}://{}{}", authority(values, "ftp")?, path_there(container));
    if kind == "ftps" {
        for (key, option) in [("cert", "ftp-certfile"), ("key", "ftp-keyfile")] {
            if let Some(file) = values.text(option) {
                push_file(&mut address, key, &expanded(&file))?;
            }
        }
    }
    Ok(address)
}

fn push_file(address: &mut String, key: &str, file: &Path) -> Result<()> {
    let file: PathBuf = absolute(file)?;
    let shown = file.to_str().ok_or_else(|| Error::invalid("not text:", file.display().to_string()))?;
    push(address, key, shown);
    Ok(())
}

fn push(address: &mut String, key: &str, value: &str) {
    address.push(if address.contains('?') { '&' } else { '?' });
    address.push_str(key);
    address.push('=');
    address.push_str(&encoded(value, "/:"));
}

fn s3(container: &str, endpoint: Option<&str>) -> String {
    let mut address = format!("s3://{}", encoded(container.trim_matches('/'), "/"));
    if let Some(endpoint) = endpoint {
        push(&mut address, "endpoint", endpoint);
    }
    address
}

fn swift(container: &str, segment_bytes: Option<i64>) -> Result<String> {
    let mut address = format!("swift://{}", encoded(container.trim_matches('/'), "/"));
    if let Some(bytes) = segment_bytes {
        if bytes <= 0 {
            return Err(Error::invalid("not a number of bytes:", "--max-segment-size"));
        }
        let mib = (bytes / (1 << 20) + i64::from(bytes % (1 << 20) > 0))
            .clamp(*SEGMENT_MIB.start(), *SEGMENT_MIB.end());
        push(&mut address, "segment-size", &mib.to_string());
    }
    Ok(address)
}

/// As an address holds it: all but letters, digits, `-._~` and what is in `kept` in percent.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte);
        match is_plain {
            true => out.push(char::from(byte)),
            // Text takes whatever is written to it.
            false => write!(out, "%{byte:02X}").unwrap_or(()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::super::values::Source;
    use super::*;

    fn values(said: &[(&str, &str)]) -> Values {
        let mut values = Values::default();
        for (name, text) in said {
            values.say(options::by_name(name).unwrap(), (*text).to_owned(), Source::Line).unwrap();
        }
        values
    }

    fn place_of(said: &[(&str, &str)]) -> Place {
        let values = values(said);
        place(&values, &values, None).unwrap()
    }

    #[test]
    fn freezers_words_become_addresses_without_secrets() {
        for (said, expected) in [
            (&[("storage", "local"), ("container", "/srv/b/")][..], "/srv/b"),
            (
                &[
                    ("storage", "ssh"),
                    ("container", "/srv/a b"),
                    ("ssh-host", "h"),
                    ("ssh-username", "u@x"),
                    ("ssh-password", "secret"),
                ],
                "sftp://u@x@h:22/srv/a b?host-key=accept-new",
            ),
            (
                &[
                    ("storage", "ssh"),
                    ("container", "rel"),
                    ("ssh-host", "h"),
                    ("ssh-port", "2222"),
                    ("ssh-key", "/k"),
                ],
                "sftp://h:2222/~/rel?host-key=accept-new&identity=/k",
            ),
            (
                &[
                    ("storage", "ftp"),
                    ("container", "c"),
                    ("ftp-host", "h"),
                    ("ftp-username", "u"),
                    ("ftp-password", "secret"),
                ],
                "ftp://u@h/~/c",
            ),
            (
                &[
                    ("storage", "ftps"),
                    ("container", "/c"),
                    ("ftp-host", "h"),
                    ("ftp-port", "2121"),
                    ("ftp-certfile", "/c.pem"),
                    ("ftp-keyfile", "/k.pem"),
                ],
                "ftps://h:2121/c?cert=/c.pem&key=/k.pem",
            ),
            (
                &[
                    ("storage", "s3"),
                    ("container", "bucket/pre/fix"),
                    ("endpoint", "http://127.0.0.1:1"),
                    ("access-key", "secret"),
                    ("secret-key", "secret"),
                ],
                "s3://bucket/pre/fix?endpoint=http://127.0.0.1:1",
            ),
            (&[("container", "c/p")], "swift://c/p?segment-size=32"),
            (&[("container", "c"), ("max-segment-size", "1000000")], "swift://c?segment-size=1"),
        ] {
            let place = place_of(said);
            let shown = place.location.to_string().replace(":21/", "/");
            assert_eq!(shown, expected, "{said:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn what_containers_are_in_has_no_name_of_one() {
        let above = |said: &[(&str, &str)]| {
            let found = above(&values(said), &Job::default()).unwrap();
            found.map(|place| place.location.to_string())
        };
        for (said, expected) in [
            (
                &[("storage", "ssh"), ("container", ""), ("ssh-host", "h")][..],
                "sftp://h:22/~/?host-key=accept-new",
            ),
            (&[("storage", "ftp"), ("container", ""), ("ftp-host", "h")], "ftp://h/~/"),
            (
                &[("storage", "s3"), ("container", ""), ("endpoint", "http://h:1")],
                "s3://?endpoint=http://h:1",
            ),
            (&[("container", "")], "swift://?segment-size=32"),
        ] {
            assert_eq!(above(said).as_deref(), Some(expected), "{said:?}");
        }
        let folder = std::path::absolute(".").unwrap().display().to_string();
        assert_eq!(above(&[("storage", "local"), ("container", "")]), Some(folder));
        assert_eq!(above(&[("storage", "local"), ("container", "c")]), None);
        assert_eq!(above(&[("storage", "local")]), None);
    }

    #[test]
    fn secrets_are_in_the_environment_of_their_place() {
        let ssh =
            place_of(&[("storage", "ssh"), ("container", "/c"), ("ssh-host", "h"), ("ssh-password", "one")]);
        let s3 = place_of(&[
            ("storage", "s3"),
            ("container", "c"),
            ("access-key", "two"),
            ("secret-key", "three"),
        ]);
        assert_eq!(ssh.environment.unwrap()[PASSWORD], "one");
        let environment = s3.environment.unwrap();
        assert_eq!(
            (environment["AWS_ACCESS_KEY_ID"].as_str(), environment["AWS_SECRET_ACCESS_KEY"].as_str()),
            ("two", "three")
        );
        assert_eq!(environment["AWS_SESSION_TOKEN"], "");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (said, word) in [
            (&[("storage", "ssh"), ("container", "/c")][..], "--ssh-host"),
            (&[("storage", "ftp"), ("container", "/c")], "--ftp-host"),
            (&[("container", "")], "--container"),
            (&[("container", "c"), ("max-segment-size", "-5")], "--max-segment-size"),
        ] {
            let values = values(said);
            let error = place(&values, &values, None).map(drop).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn the_storages_of_a_job_go_before_the_options() {
        let mut job = Job::default();
        for name in ["one", "two"] {
            let section = Section {
                values: values(&[("storage", "local"), ("container", &format!("/{name}"))]),
                osrc: None,
            };
            job.storages.push((name.to_owned(), section));
        }
        let found = places(&values(&[("storage", "swift")]), &job).unwrap();
        let shown: Vec<String> = found.iter().map(|place| place.location.to_string()).collect();
        assert_eq!(shown, ["/one", "/two"]);
        job.storages.push(("three".to_owned(), Section::default()));
        assert!(
            places(&Values::default(), &job).map(drop).unwrap_err().to_string().contains("[storage:three]")
        );
    }

    #[test]
    fn a_project_of_the_options_is_that_of_swift() {
        let environment = place_of(&[("container", "c"), ("project-id", "p")]).environment.unwrap();
        assert_eq!(
            (environment["OS_PROJECT_ID"].as_str(), environment["OS_PROJECT_NAME"].as_str()),
            ("p", "")
        );
    }
}
