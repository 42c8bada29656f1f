//! How two manifests differ, in words.

use super::{Entry, Kind, Manifest};

/// What is left out of a comparison.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sockets count as absent on both sides: no backup holds them.
    pub ignore_sockets: bool,
    /// Compare the times of directories.
    pub directory_times: bool,
    /// Compare times to the nanosecond; otherwise to the second, rounded down.
    pub nanoseconds: bool,
    /// Compare owners.
    pub owners: bool,
    /// Compare extended attributes (ACLs and capabilities among them).
    pub xattrs: bool,
    /// A file with holes must have holes on the other side too.
    pub holes: bool,
    /// Compare the top directory itself.
    pub root: bool,
}

impl Default for Options {
    /// Everything but sockets.
    fn default() -> Self {
        Options {
            ignore_sockets: true,
            directory_times: true,
            nanoseconds: true,
            owners: true,
            xattrs: true,
            holes: true,
            root: true,
        }
    }
}

/// One line for everything in which `actual` is not as `expected`; none when they are equal.
pub fn diff(expected: &Manifest, actual: &Manifest, options: &Options) -> Vec<String> {
    let counts = |path: &[u8], entry: &Entry| {
        !(options.ignore_sockets && entry.kind == Kind::Socket) && (options.root || !path.is_empty())
    };
    let mut lines = Vec::new();
    for (path, entry) in expected.entries.iter().filter(|(path, entry)| counts(path, entry)) {
        match actual.entries.get(path) {
            None => lines.push(format!("{}: missing", show(path))),
            Some(other) => {
                let words = differences(entry, other, options);
                if !words.is_empty() {
                    lines.push(format!("{}: {}", show(path), words.join("; ")));
                }
            }
        }
    }
    for (path, _) in actual.entries.iter().filter(|(path, entry)| counts(path, entry)) {
        if !expected.entries.contains_key(path) {
            lines.push(format!("{}: not expected", show(path)));
        }
    }
    lines
}

fn differences(expected: &Entry, actual: &Entry, options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    let mut compare = |what: &str, a: String, b: String| {
        if a != b {
            words.push(format!("{what} is {b}, expected {a}"));
        }
    };
    compare("kind", describe(&expected.kind), describe(&actual.kind));
    // The mode of a symbolic link has no meaning.
    if !matches!(expected.kind, Kind::Symlink(_)) {
        compare("mode", format!("{:04o}", expected.mode), format!("{:04o}", actual.mode));
    }
    if options.owners {
        compare(
            "owner",
            format!("{}:{}", expected.uid, expected.gid),
            format!("{}:{}", actual.uid, actual.gid),
        );
    }
    if options.directory_times || expected.kind != Kind::Directory {
        compare("mtime", time(expected, options), time(actual, options));
    }
    let link = |entry: &Entry| entry.hard_link.as_deref().map_or("no".into(), show);
    compare("hard link", link(expected), link(actual));
    if options.xattrs {
        compare("xattrs", format!("{:?}", xattrs(expected)), format!("{:?}", xattrs(actual)));
    }
    if options.holes {
        words.extend(lost_holes(&expected.kind, &actual.kind));
    }
    words
}

/// File systems round what they allocate, so a little more than before is no loss.
fn lost_holes(expected: &Kind, actual: &Kind) -> Option<String> {
    let (Kind::File { size_bytes, allocated_bytes: before, .. }, Kind::File { allocated_bytes: after, .. }) =
        (expected, actual)
    else {
        return None;
    };
    let had_holes = *size_bytes > before.saturating_add(64 << 10);
    let room = before.saturating_mul(2).saturating_add(64 << 10);
    (had_holes && *after > room).then(|| format!("holes are gone: {after} bytes on disk, before {before}"))
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::File { size_bytes, content, .. } => {
            format!("a file of {size_bytes} bytes, {}", &content.to_hex()[..16])
        }
        Kind::Symlink(target) => format!("a link to {}", show(target)),
        other => format!("{other:?}"),
    }
}

fn time(entry: &Entry, options: &Options) -> String {
    let (seconds, nanoseconds) = entry.mtime;
    if options.nanoseconds { format!("{seconds}.{nanoseconds:09}") } else { seconds.to_string() }
}

fn xattrs(entry: &Entry) -> Vec<String> {
    let one = |(name, value): (&Vec<u8>, &Vec<u8>)| format!("{}={}", show(name), value.escape_ascii());
    entry.xattrs.iter().map(one).collect()
}

fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("\"{}…\" ({} bytes)", &text[..end], bytes.len()),
        None => format!("\"{text}\""),
    }
}
