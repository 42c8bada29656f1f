//! `--action backup`.

use super::series::Series;
use super::values::{Values, expanded};
use super::{Session, admin, answer, engine, mode, storage, word};
use crate::cli::backup::Made;
use crate::cli::{self, absolute, now};
use crate::progress::Terminal;
use crate::{exit, output};
use icecore::backup::Report;
use icecore::checksum::{freezer, sound};
use icecore::engine::rsync;
use icecore::error::{Error, Kind, Result};
use icecore::repository::Repository;
use icecore::storage::memory::Memory;
use icecore::time::Timestamp;
use icecore::tree::filter::Filter;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// What was read for the backup.
struct Seen {
    /// Where it was read: where it is, or in a snapshot of the volume.
    path: PathBuf,
    checksums: Option<Checksums>,
}

/// Checksums of the source, before it was read for the backup.
struct Checksums {
    freezer: String,
    sound: String,
}

/// Makes a backup, says what it came to, and removes old ones if that was asked for.
pub fn run(session: &Session<'_>) -> Result<ExitCode> {
    let values = session.values;
    check_levels(values)?;
    let removal = admin::Cutoff::of(values, Timestamp(now().seconds))?;
    let path = source(values)?;
    let series = Series::of(values);
    let mut filter = Filter::none();
    if let Some(pattern) = values.text("exclude") {
        filter = filter.exclude_as_tar(pattern.as_bytes())?;
    }
    let mut arguments = cli::backup_of(words(session, &series.host, &series.name, &path)?)?;
    arguments.check()?;
    arguments.repository_mut().put_at(storage::places(values, session.job)?);
    let repository = open(session, arguments.repository_mut())?;
    let engine = engine(values)?;
    let name = series.to_go_on(&repository, engine)?;
    if name != series.name {
        output::note(
            session.context.global,
            &format!("the series of Freezer's goes on: {}_{name}", series.host),
        );
        arguments = cli::backup_of(words(session, &series.host, &name, &path)?)?;
        arguments.repository_mut().put_at(storage::places(values, session.job)?);
    }
    let mut seen = Seen { path, checksums: None };
    let mut look = |paths: &[PathBuf], filter: &Filter| {
        if let [path] = paths {
            seen.path.clone_from(path);
        }
        if values.is_on("consistency-check") {
            seen.checksums = Some(checksums(session, &seen.path, filter)?);
        }
        Ok(())
    };
    let Made { report, left } =
        cli::backup::make(session.context, &arguments, &repository, filter, &mut look)?;
    tell(session, &report);
    answer::metadata(values, &fields(values, &series, &report, &seen))?;
    if let Some(error) = left {
        return Err(error.while_doing("the backup is made, but", ""));
    }
    if let Some(cutoff) = removal {
        admin::remove(session, &repository, &series, engine, cutoff)?;
    }
    Ok(ExitCode::from(if report.errors > 0 { exit::INCOMPLETE } else { 0 }))
}

/// Levels are those of increments.
fn check_levels(values: &Values) -> Result<()> {
    for option in ["max-level", "always-level"] {
        let level = values.whole(option).unwrap_or(0);
        if level < 0 {
            return Err(Error::invalid("not a level:", format!("--{option} {level}")));
        }
        if level > 0 && !values.is_on("incremental") {
            return Err(Error::invalid(
                "only increments have levels; add --incremental to",
                format!("--{option}"),
            ));
        }
    }
    Ok(())
}

fn source(values: &Values) -> Result<PathBuf> {
    let path = values
        .text("path-to-backup")
        .ok_or_else(|| Error::invalid("nothing says what to back up:", "--path-to-backup"))?;
    let path = absolute(&expanded(&path))?;
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => {
            Err(Error::new(Kind::NotFound, "there is no path to back up called")
                .on(path.display().to_string()))
        }
        Err(error) => Err(Error::io("cannot look at", path.display().to_string(), error)),
    }
}

/// The same in options of `icecore backup`.
fn words(session: &Session<'_>, host: &str, name: &str, path: &Path) -> Result<Vec<OsString>> {
    let values = session.values;
    let mut words = session.verb("backup")?;
    // Freezer never leaves the file system of the source.
    words.push("--one-file-system".into());
    words.push(word("--engine", engine(values)?));
    match values.text("encrypt-pass-file") {
        Some(file) => words.extend(["--encryption=freezer".into(), word("--password-file", expanded(&file))]),
        None => words.push("--no-encryption".into()),
    }
    // Be it the default: where nothing is said, the length of a file decides.
    if engine(values)? == rsync::NAME && values.is_said("rsync-block-size") {
        words.extend(values.text("rsync-block-size").map(|bytes| word("--block-size", bytes)));
    }
    words.push(word("--host", host));
    words.push(word("--name", name));
    words.push(word("--compression", values.text("compression").unwrap_or_default()));
    if values.is_on("incremental") {
        words.push("--incremental".into());
        for (option, ours) in [
            ("max-level", "--max-level"),
            ("always-level", "--always-level"),
            ("restart-always-level", "--restart-after"),
        ] {
            if let Some(value) = values.text(option) {
                words.push(word(ours, value));
            }
        }
    }
    let links = values.text("dereference-symlink").unwrap_or_default();
    if matches!(links.as_str(), "soft" | "all") {
        words.push("--dereference".into());
    }
    if matches!(links.as_str(), "hard" | "all") {
        words.push("--hard-dereference".into());
    }
    if values.is_on("dry-run") {
        words.push("--dry-run".into());
    }
    words.extend(standing_still(values)?);
    words.push("--".into());
    words.push(path.into());
    Ok(words)
}

/// How the source is made to stand still, in options of `icecore backup`.
fn standing_still(values: &Values) -> Result<Vec<OsString>> {
    let mut words = Vec::new();
    match mode(values)? {
        "fs" if !values.is_on("sync") => {}
        mode => words.push(word("--mode", mode)),
    }
    if mode(values)? == "mysql" {
        words.extend(values.text("mysql-conf").map(|file| word("--mysql-conf", expanded(&file))));
        words.extend(values.text("timeout").map(|seconds| word("--lock-timeout", seconds)));
    }
    if values.text("snapshot").is_some() {
        // Any word means it there, where there is one kind on this system.
        words.push("--snapshot=lvm".into());
        for option in ["srcvol", "volgroup", "snapname", "snapsize", "snap-perm", "dirmount"] {
            let value = values.text(&format!("lvm-{option}"));
            words.extend(value.map(|value| word(&format!("--lvm-{option}"), value)));
        }
    }
    Ok(words)
}

/// Opens the repository, or makes it. A dry run makes none: where there is none, it looks at an empty one in memory.
fn open(session: &Session<'_>, repository: &cli::repository::RepositoryArguments) -> Result<Repository> {
    if !session.values.is_on("dry-run") {
        return repository.create_beside(session.context);
    }
    match repository.open_on(session.context, false) {
        Err(error) if error.kind() == Kind::NoRepository => {
            Repository::create(Arc::new(Memory::new()), &[0; 32])
        }
        opened => opened,
    }
}

fn checksums(session: &Session<'_>, path: &Path, filter: &Filter) -> Result<Checksums> {
    let monitor = Terminal::without_line(session.context.global, session.context.stop.clone());
    // Links count by their paths where they are stored as links.
    let follow = matches!(session.values.text("dereference-symlink").as_deref(), Some("soft" | "all"));
    let freezer = freezer::checksum(path, !follow, &monitor)?;
    let options = sound::Options { filter, one_file_system: true, follow };
    Ok(Checksums { freezer, sound: sound::checksum(path, &options, &monitor)? })
}

fn tell(session: &Session<'_>, report: &Report) {
    let verb = if report.dry_run { "would back up" } else { "backed up" };
    let files = output::count(report.files, "file", "files");
    let (bytes, stored) = (output::bytes(report.bytes), output::bytes(report.stored_bytes));
    let global = session.context.global;
    output::note(
        global,
        &format!(
            "{verb} {files}, {bytes}: level {} of {}, {}, {stored} stored",
            report.level, report.series, report.reason
        ),
    );
    if report.errors > 0 {
        let errors = output::count(report.errors, "entry", "entries");
        output::warning(&format!(
            "warning: {errors} could not be read whole; they are named above and tried again next time"
        ));
    }
}

/// What the backup came to, in Freezer's keys.
fn fields(values: &Values, series: &Series, report: &Report, seen: &Seen) -> Map<String, Value> {
    let checksums = seen.checksums.as_ref();
    let text = |name: &str| Value::from(values.text(name).unwrap_or_default());
    // What is nothing, or off, is an empty text there.
    let number = |name: &str| match values.whole(name) {
        None | Some(0) => Value::from(""),
        Some(number) => Value::from(number),
    };
    let path = text("path-to-backup");
    let snapshot = match values.text("snapshot") {
        Some(_) => Value::from(seen.path.display().to_string()),
        None => path.clone(),
    };
    let checksum =
        checksums.map_or_else(|| text("consistency-checksum"), |both| Value::from(both.freezer.clone()));
    let log = super::log_path(values).map(|path| path.display().to_string()).unwrap_or_default();
    let dry_run = if report.dry_run { Value::from(true) } else { Value::from("") };
    let ssh_key = values.text("ssh-key").map(|key| expanded(&key).display().to_string()).unwrap_or_default();
    let pairs = [
        ("curr_backup_level", Value::from(report.level)),
        ("fs_real_path", path.clone()),
        ("vol_snap_path", snapshot),
        ("client_os", Value::from("linux")),
        ("client_version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("time_stamp", Value::from(report.timestamp)),
        ("action", text("action")),
        ("always_level", number("always-level")),
        ("backup_media", Value::from("fs")),
        ("backup_name", Value::from(series.name.clone())),
        ("container", text("container")),
        ("container_segments", Value::from("")),
        ("dry_run", dry_run),
        ("hostname", Value::from(series.host.clone())),
        ("path_to_backup", path),
        ("max_level", number("max-level")),
        ("log_file", Value::from(log)),
        ("storage", text("storage")),
        ("mode", text("mode")),
        ("proxy", Value::from(values.text("proxy").map(|proxy| without_login(&proxy)).unwrap_or_default())),
        ("compression", text("compression")),
        ("ssh_key", Value::from(ssh_key)),
        ("ssh_username", text("ssh-username")),
        ("ssh_host", text("ssh-host")),
        ("ssh_port", number("ssh-port")),
        ("consistency_checksum", checksum),
        ("cindernative_backup_az", text("cindernative-backup-az")),
        ("cindernative_backup_container", text("cindernative-backup-container")),
        ("cindernative_vol_id", text("cindernative-vol-id")),
        ("nova_inst_id", text("nova-inst-id")),
        ("cinder_vol_id", text("cinder-vol-id")),
        ("cinderbrick_vol_id", text("cinderbrick-vol-id")),
        ("glance_image_id", text("glance-image-id")),
        ("engine_name", text("engine")),
    ];
    let mut fields: Map<String, Value> =
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(id) = values.text("backup-id") {
        fields.insert("backup_id".to_owned(), Value::from(id));
    }
    if let Some(both) = checksums {
        fields.insert("icecore_checksum".to_owned(), Value::from(both.sound.clone()));
    }
    fields
}

/// A URL without user and password.
fn without_login(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::super::values::Source;
    use super::*;

    #[test]
    fn levels_need_increments() {
        for (said, is_right) in [
            (&[("max-level", "2")][..], false),
            (&[("always-level", "2")], false),
            (&[("max-level", "0")], true),
            (&[("max-level", "2"), ("incremental", "true")], true),
            (&[("always-level", "-2"), ("incremental", "true")], false),
        ] {
            let mut values = Values::default();
            for (name, text) in said {
                values.say(options::by_name(name).unwrap(), (*text).to_owned(), Source::Line).unwrap();
            }
            assert_eq!(check_levels(&values).is_ok(), is_right, "{said:?}");
        }
    }

    fn still(said: &[(&str, &str)]) -> Vec<String> {
        let mut values = Values::default();
        for (name, text) in said {
            values.say(options::by_name(name).unwrap(), (*text).to_owned(), Source::Line).unwrap();
        }
        let words = standing_still(&values).unwrap();
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_in_memory_is_written_first_unless_that_is_turned_off() {
        assert_eq!(still(&[]), ["--mode=fs"]);
        assert!(still(&[("sync", "false")]).is_empty());
        let mysql = ["--mode=mysql", "--mysql-conf=/conf", "--lock-timeout=7"];
        let said = [("sync", "false"), ("mode", "mysql"), ("mysql-conf", "/conf"), ("timeout", "7")];
        assert_eq!(still(&said), mysql);
    }

    #[test]
    fn a_snapshot_is_taken_as_the_options_of_lvm_say() {
        let without = [("lvm-srcvol", "/dev/vg/data"), ("lvm-snapsize", "5G"), ("snapshot", "")];
        assert_eq!(still(&without), ["--mode=fs"]);
        assert_eq!(
            still(&[("snapshot", "any word")]),
            ["--mode=fs", "--snapshot=lvm", "--lvm-snapsize=1G", "--lvm-snap-perm=ro"]
        );
        let all = [
            ("snapshot", "True"),
            ("lvm-srcvol", "/dev/vg/data"),
            ("lvm-volgroup", "vg"),
            ("lvm-snapname", "snap"),
            ("lvm-snapsize", "80%FREE"),
            ("lvm-snap-perm", "rw"),
            ("lvm-dirmount", "/mnt/x y"),
        ];
        let expected = [
            "--mode=fs",
            "--snapshot=lvm",
            "--lvm-srcvol=/dev/vg/data",
            "--lvm-volgroup=vg",
            "--lvm-snapname=snap",
            "--lvm-snapsize=80%FREE",
            "--lvm-snap-perm=rw",
            "--lvm-dirmount=/mnt/x y",
        ];
        assert_eq!(still(&all), expected);
    }

    #[test]
    fn a_login_is_no_part_of_what_is_told_of_a_proxy() {
        assert_eq!(without_login("http://me:secret@proxy:3128/"), "http://proxy:3128/");
        assert_eq!(without_login("http://proxy"), "http://proxy");
    }
}
