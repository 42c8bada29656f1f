//! Checks a restored tree against a manifest of Freezer's corpus (`expected/level<N>.jsonl`).
//!
//! The rules are those of the corpus' own verifier: one JSON object per line and entry; extended attributes are not in
//! Freezer's archives and not compared; times are kept to the second; sockets are left out by the caller's wish.

use crate::handle::Handle;
use crate::sha256;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What is left out of a verification.
#[derive(Debug, Clone, Default)]
pub struct Skip {
    /// Entries of these types (`file`, `dir`, `symlink`, `fifo`, `socket`, `char`, `block`).
    pub types: Vec<&'static str>,
    /// These paths and everything below them.
    pub paths: Vec<&'static str>,
    /// The top directory itself.
    pub root: bool,
    /// Owners, which only root can restore.
    pub owners: bool,
    /// Which names share an inode.
    pub hard_links: bool,
}

impl Skip {
    fn path(&self, path: &[u8]) -> bool {
        let below = |skipped: &&str| {
            path.strip_prefix(skipped.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.root && path == b"." || self.paths.iter().any(below)
    }

    fn entry(&self, path: &[u8], kind: &str) -> bool {
        self.types.contains(&kind) || self.path(path)
    }
}

/// How many entries and groups of hard links were as expected, and what was not.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Checks that passed.
    pub passed: usize,
    /// One line for each that did not.
    pub failed: Vec<String>,
}

/// Compares the tree at `tree` with the manifest in `manifest`.
///
/// # Errors
/// As the system has it; `InvalidData` when the manifest is not one.
pub fn verify(tree: &Path, manifest: &Path, skip: &Skip) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut groups: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for row in rows(manifest)? {
        let path = bytes_of(&row, "path").ok_or_else(|| invalid("a row without a path"))?;
        known.insert(path.clone());
        if skip.entry(&path, text(&row, "type")) {
            continue;
        }
        match check(tree, &path, &row, skip) {
            Ok((words, inode)) => {
                if let Some(group) = row["links"].as_u64() {
                    groups.entry(group).or_default().push(inode);
                }
                if words.is_empty() {
                    outcome.passed += 1;
                } else {
                    outcome.failed.push(format!("\"{}\": {}", path.escape_ascii(), words.join("; ")));
                }
            }
            Err(error) => outcome.failed.push(format!("\"{}\": {error}", path.escape_ascii())),
        }
    }
    if !skip.hard_links {
        check_links(&groups, &mut outcome);
    }
    for path in walk(tree)? {
        if !known.contains(&path) && !skip.path(&path) {
            outcome.failed.push(format!("\"{}\": not in the manifest", path.escape_ascii()));
        }
    }
    Ok(outcome)
}

fn rows(manifest: &Path) -> io::Result<Vec<Value>> {
    let text = fs::read_to_string(manifest)?;
    let rows: Result<Vec<Value>, _> =
        text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect();
    let rows = rows.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(rows.into_iter().filter(|row| row.get("manifest").is_none()).collect())
}

/// What is wrong with one entry, and its inode.
fn check(tree: &Path, path: &[u8], row: &Value, skip: &Skip) -> io::Result<(Vec<String>, (u64, u64))> {
    let place = place_of(tree, path);
    let metadata = fs::symlink_metadata(&place)?;
    let inode = (metadata.dev(), metadata.ino());
    let (expected, actual) = (text(row, "type"), type_of(&metadata));
    if expected != actual {
        return Ok((vec![format!("type is {actual}, expected {expected}")], inode));
    }
    let mut words = Vec::new();
    let mut compare = |what: &str, expected: String, actual: String| {
        if expected != actual {
            words.push(format!("{what} is {actual}, expected {expected}"));
        }
    };
    if actual != "symlink" {
        compare("mode", text(row, "mode").to_owned(), format!("{:04o}", metadata.mode() & 0o7777));
    }
    if !skip.owners {
        let owner = format!("{}:{}", row["uid"], row["gid"]);
        compare("owner", owner, format!("{}:{}", metadata.uid(), metadata.gid()));
    }
    let seconds = row["mtime_ns"].as_i64().map(|time| time.div_euclid(1_000_000_000));
    compare("mtime", format!("{seconds:?}"), format!("{:?}", Some(metadata.mtime())));
    match actual {
        "file" => {
            compare("size", row["size"].to_string(), metadata.len().to_string());
            compare("content", text(row, "sha256").to_owned(), sha256::hex(&fs::read(&place)?));
        }
        "symlink" => {
            let target = fs::read_link(&place)?.into_os_string().into_vec();
            compare("target", format!("{:?}", bytes_of(row, "target")), format!("{:?}", Some(target)));
        }
        "char" | "block" => {
            let device = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
            compare("device", row["rdev"].to_string(), format!("[{},{}]", device.0, device.1));
        }
        _ => (),
    }
    Ok((words, inode))
}

/// Every group must be one inode, and no inode in two groups.
fn check_links(groups: &BTreeMap<u64, Vec<(u64, u64)>>, outcome: &mut Outcome) {
    let mut owners: HashMap<(u64, u64), u64> = HashMap::new();
    for (group, inodes) in groups {
        let one = inodes.iter().all(|inode| inode == &inodes[0]);
        let joined = inodes.iter().any(|inode| owners.get(inode).is_some_and(|owner| owner != group));
        if one && !joined {
            outcome.passed += 1;
        } else {
            outcome
                .failed
                .push(format!("hard link group {group}: one inode {one}, joined with another {joined}"));
        }
        owners.extend(inodes.iter().map(|inode| (*inode, *group)));
    }
}

fn walk(tree: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut found = vec![b".".to_vec()];
    let mut todo = vec![Vec::new()];
    while let Some(directory) = todo.pop() {
        for name in Handle::open(&place_of(tree, &directory))?.names()? {
            let path = if directory.is_empty() { name } else { [&directory[..], b"/", &name].concat() };
            if fs::symlink_metadata(place_of(tree, &path))?.is_dir() {
                todo.push(path.clone());
            }
            found.push(path);
        }
    }
    Ok(found)
}

fn place_of(tree: &Path, path: &[u8]) -> std::path::PathBuf {
    if path == b"." { tree.to_owned() } else { tree.join(std::ffi::OsString::from_vec(path.to_vec())) }
}

fn type_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "char",
        () => "block",
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or("")
}

/// A string of the manifest: text as it is, anything else in base64 under `<key>_b64`.
fn bytes_of(row: &Value, key: &str) -> Option<Vec<u8>> {
    match row.get(key).and_then(Value::as_str) {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => base64(row.get(format!("{key}_b64"))?.as_str()?),
    }
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)? as u32;
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(change: impl FnOnce(&Path)) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("a"), "abc").unwrap();
        fs::hard_link(tree.join("a"), tree.join("b")).unwrap();
        crate::tree::attributes::set_mode(&tree.join("a"), 0o640).unwrap();
        crate::tree::attributes::set_mtime(&tree.join("a"), -1, 5).unwrap();
        let owner = fs::metadata(&tree).unwrap();
        let row = |path: &str| {
            serde_json::json!({"path": path, "type": "file", "mode": "0640", "uid": owner.uid(), "gid": owner.gid(),
                "mtime_ns": -999_999_000i64, "size": 3, "sha256": sha256::hex(b"abc"), "links": 1})
        };
        let manifest = directory.path().join("m.jsonl");
        fs::write(&manifest, format!("{}\n{}\n{}\n", r#"{"manifest": 1}"#, row("a"), row("b"))).unwrap();
        change(&tree);
        verify(&tree, &manifest, &Skip { root: true, ..Skip::default() }).unwrap()
    }

    #[test]
    fn an_equal_tree_passes() {
        let outcome = outcome(|_| ());
        assert_eq!((outcome.passed, outcome.failed), (3, vec![]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(outcome(|tree| fs::remove_file(tree.join("b")).unwrap()).failed.len(), 1);
        assert_eq!(outcome(|tree| fs::write(tree.join("more"), "").unwrap()).failed.len(), 1);
        assert_eq!(outcome(|tree| fs::write(tree.join("a"), "abd").unwrap()).failed.len(), 2);
        let broken = |tree: &Path| {
            fs::remove_file(tree.join("b")).unwrap();
            fs::copy(tree.join("a"), tree.join("b")).unwrap();
            crate::tree::attributes::set_mtime(&tree.join("b"), -1, 0).unwrap();
        };
        assert_eq!(outcome(broken).failed.len(), 1);
    }

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64("/+8="), Some(vec![0xff, 0xef]));
        assert_eq!(base64("*"), None);
    }
}
