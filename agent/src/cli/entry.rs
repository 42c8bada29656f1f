//! How entries of backups are shown: to people as `ls -l` does, to programs as JSON.

use crate::output;
use icecore::engine::dedup::tree::{Entry, Known};
use icecore::time::{FileTime, Timestamp};
use icecore::tree::attributes::FileKind;
use icecore::view::Named;
use serde_json::{Map, Value, json};

/// The stable name of a type in JSON and on the command line.
pub fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
        FileKind::Socket => "socket",
    }
}

/// A path for a person; that of a directory ends with a slash, and what could not be read is marked.
pub fn shown(path: &[u8], entry: Option<&Entry>) -> String {
    let text = output::printable(&String::from_utf8_lossy(path));
    let is_directory = entry.is_some_and(|entry| entry.kind == FileKind::Directory);
    let text = match (text.is_empty(), is_directory) {
        (true, _) => "./".to_owned(),
        (_, true) => text + "/",
        _ => text,
    };
    match entry {
        Some(entry) if entry.is_unread() => text + UNREADABLE,
        Some(entry) if is_unreadable(entry) => text + NOT_WHOLE,
        _ => text,
    }
}

/// The mark of what could not be read when it was backed up.
const UNREADABLE: &str = " (unreadable)";

/// The mark of a directory of which it is not known what was in it.
const NOT_WHOLE: &str = " (not whole)";

/// Whether it, or what is in it, could not be read (or, on another file system, was left out) when it was backed up.
pub fn is_unreadable(entry: &Entry) -> bool {
    entry.is_unread() || (entry.kind == FileKind::Directory && !entry.whole)
}

/// A line as `ls -l` has it, times in UTC.
pub fn long(path: &[u8], entry: &Entry) -> String {
    if entry.known == Known::Name {
        // As wide as what is known of others.
        return format!(
            "?????????? {:<8} {:<8} {:>12} {:<20} {}",
            "?",
            "?",
            "?",
            "?",
            shown(path, Some(entry))
        );
    }
    let owner = &entry.owner;
    let name = |name: &[u8], number: u32| match name {
        [] => number.to_string(),
        name => output::printable(&String::from_utf8_lossy(name)),
    };
    let size = match entry.kind {
        FileKind::CharDevice | FileKind::BlockDevice => format!("{}, {}", entry.rdev.0, entry.rdev.1),
        _ => entry.size_bytes.to_string(),
    };
    let mut line = format!(
        "{} {:<8} {:<8} {size:>12} {} {}",
        mode(entry),
        name(&owner.user, owner.uid),
        name(&owner.group, owner.gid),
        time(entry.mtime),
        shown(path, Some(entry)),
    );
    if entry.kind == FileKind::Symlink && !entry.is_unread() {
        line += &format!(" -> {}", output::printable(&String::from_utf8_lossy(&entry.target)));
    }
    line
}

/// A time in UTC, to the second.
pub fn time(time: FileTime) -> String {
    Timestamp(time.seconds).rfc3339()
}

/// A backup in a few words.
pub fn backup(backup: &Named) -> String {
    format!("{} ({})", backup.id.short(), Timestamp(backup.seconds).rfc3339())
}

fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Fifo => 'p',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, letters) in
        [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])]
    {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => letters[0],
            (true, false) => letters[1],
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Everything about an entry; bytes that are no text are there as hexadecimal digits too, and what is not known is null.
pub fn fields(entry: &Entry) -> Map<String, Value> {
    let mut fields = Map::new();
    let is_known = entry.known != Known::Name;
    fields.insert("kind".to_owned(), kind_name(entry.kind).into());
    fields.insert("unreadable".to_owned(), is_unreadable(entry).into());
    let mut put = |key: &str, value: Value| {
        fields.insert(key.to_owned(), if is_known { value } else { Value::Null });
    };
    put("mode", format!("{:04o}", entry.mode).into());
    put("uid", entry.owner.uid.into());
    put("gid", entry.owner.gid.into());
    put("user", String::from_utf8_lossy(&entry.owner.user).into());
    put("group", String::from_utf8_lossy(&entry.owner.group).into());
    put("size", entry.size_bytes.into());
    put("time", time(entry.mtime).into());
    put("timestamp", entry.mtime.seconds.into());
    put("nanoseconds", entry.mtime.nanoseconds.into());
    // Archives have no numbers of inodes, and no inode has this one.
    put("inode", Some(entry.inode).filter(|inode| *inode != 0).into());
    put("links", entry.names.map_or(1, |names| names.links).into());
    fields.insert("whole".to_owned(), entry.whole.into());
    if entry.is_unread() {
        return fields;
    }
    match entry.kind {
        FileKind::Symlink => bytes(&mut fields, "target", &entry.target),
        FileKind::CharDevice | FileKind::BlockDevice => {
            fields.insert("device".to_owned(), json!([entry.rdev.0, entry.rdev.1]));
        }
        _ => {}
    }
    fields
}

/// Puts a byte string under `key`: as text, and where it is none also as digits under `key_hex`.
pub fn bytes(fields: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    fields.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert(format!("{key}_hex"), digits.into());
    }
}

/// A JSON line of this type that begins with a path.
pub fn line(what: &str, path: &[u8]) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("type".to_owned(), what.into());
    bytes(&mut line, "path", path);
    line
}

/// A backup in JSON.
pub fn backup_fields(backup: &Named) -> Value {
    json!({
        "id": backup.id.as_str(),
        "host": backup.host,
        "name": backup.name,
        "timestamp": backup.seconds,
        "time": Timestamp(backup.seconds).rfc3339(),
    })
}
