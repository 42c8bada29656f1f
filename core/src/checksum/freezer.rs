//! The checksum of `freezer-agent --consistency-check`.
//!
//! One SHA-256 runs through the whole tree and is never begun anew; "the digest" is always that of everything so far. Visited are the
//! root, then what it lists that is no directory, then its directories in the same way, all in the order in which the file system
//! lists them; links are followed. Of a file its content goes in, of anything else its path. What the digests after each are joined to
//! is the result, 64 digits, and behind them the name when only one thing was visited.

use super::{Above, read_through};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Digits of the digest.
const DIGITS: usize = 64;

/// How a comparison ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Whether the checksums are equal.
    pub is_equal: bool,
    /// The checksum of what is there.
    pub found: String,
}

/// The checksum of a tree, or of a file. With `ignore_links`, a link counts by its path; as in Freezer, nothing more is visited
/// after the first link to a directory then.
///
/// # Errors
/// What cannot be listed or read; `Interrupted`.
pub fn checksum(path: &Path, ignore_links: bool, monitor: &dyn Monitor) -> Result<String> {
    let mut running = Running::new(ignore_links);
    // What is there is asked for by following links, as everywhere here.
    if is_file(path) {
        running.file(path, monitor)?;
    } else {
        running.tree(path, monitor)?;
    }
    let name = match path.file_name() {
        Some(name) if is_file(path) => name.to_string_lossy().into_owned(),
        _ => ".".to_owned(),
    };
    let suffix = if running.count == 1 { name } else { String::new() };
    Ok(running.joined + &suffix)
}

/// Compares what is in `target` with a checksum of what was backed up.
///
/// # Errors
/// `Invalid` for what is no checksum of Freezer's; as [`checksum`].
pub fn compare(target: &Path, expected: &str, monitor: &dyn Monitor) -> Result<Comparison> {
    let wrong = || Error::invalid("not a checksum of Freezer's:", format!("{expected:?}"));
    let (digits, name) = expected.split_at_checked(DIGITS).ok_or_else(wrong)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(wrong());
    }
    let mut parts = Path::new(name).components();
    let path = match (parts.next(), parts.next()) {
        (None | Some(Component::CurDir), None) => target.to_owned(),
        (Some(Component::Normal(name)), None) => target.join(name),
        _ => return Err(wrong()),
    };
    let found = checksum(&path, true, monitor)?;
    Ok(Comparison { is_equal: found.get(..DIGITS) == Some(digits), found })
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// The state between two visits.
struct Running {
    hash: Context,
    joined: String,
    count: u64,
    ignore_links: bool,
}

impl Running {
    fn new(ignore_links: bool) -> Running {
        Running { hash: Context::new(&SHA256), joined: String::new(), count: 0, ignore_links }
    }

    fn digest(&self) -> String {
        let digest = self.hash.clone().finish();
        let mut digits = String::with_capacity(DIGITS);
        // Text takes whatever is written to it.
        digest.as_ref().iter().for_each(|byte| write!(digits, "{byte:02x}").unwrap_or(()));
        digits
    }

    fn file(&mut self, path: &Path, monitor: &dyn Monitor) -> Result<()> {
        read_through(path, monitor, |bytes| self.hash.update(bytes))?;
        self.visited();
        Ok(())
    }

    fn name(&mut self, path: &[u8]) {
        self.hash.update(escaped(path).as_bytes());
        self.visited();
    }

    fn visited(&mut self) {
        let digest = self.digest();
        self.joined = match self.joined.is_empty() {
            true => digest,
            false => {
                self.hash.update(format!("{}{digest}", self.joined).as_bytes());
                self.digest()
            }
        };
        self.count += 1;
    }

    /// A tree: `root` is what it is called here, `.` what it is called in the checksum.
    fn tree(&mut self, root: &Path, monitor: &dyn Monitor) -> Result<()> {
        let mut to_visit = vec![(root.to_owned(), b".".to_vec(), Above::default())];
        while let Some((directory, shown, above)) = to_visit.pop() {
            monitor.check()?;
            let above = if self.ignore_links { above } else { above.with(&directory)? };
            let failed = |e| Error::io("cannot list", directory.display().to_string(), e);
            let (mut directories, mut others) = (Vec::new(), Vec::new());
            for entry in std::fs::read_dir(&directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
                let shown = [&shown[..], b"/", &name].concat();
                // Freezer goes round and round in a directory that is within itself by a link.
                match path.is_dir() && (self.ignore_links || !is_link(&path) || !above.hold(&path)) {
                    true => directories.push((path, shown, above.clone())),
                    false => others.push((path, shown)),
                }
            }
            self.name(&shown);
            if self.ignore_links && shown != b"." && is_link(&directory) {
                return Ok(());
            }
            for (path, shown) in others {
                match is_file(&path) && !(self.ignore_links && is_link(&path)) {
                    true => self.file(&path, monitor)?,
                    false => self.name(&shown),
                }
            }
            directories.reverse();
            to_visit.append(&mut directories);
        }
        Ok(())
    }
}

/// Bytes as Python shows the text that it takes them for: ASCII as it is, the rest by numbers. A byte that is no text is one of the
/// characters that stand for such bytes.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).unwrap_or(());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match (letter, u32::from(letter)) {
                ('\\', _) => put(format_args!("\\\\")),
                ('\n', _) => put(format_args!("\\n")),
                ('\r', _) => put(format_args!("\\r")),
                ('\t', _) => put(format_args!("\\t")),
                (_, 0x20..=0x7e) => put(format_args!("{letter}")),
                (_, number @ ..=0xff) => put(format_args!("\\x{number:02x}")),
                (_, number @ ..=0xffff) => put(format_args!("\\u{number:04x}")),
                (_, number) => put(format_args!("\\U{number:08x}")),
            }
        }
        chunk.invalid().iter().for_each(|byte| put(format_args!("\\udc{byte:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Quiet;
    use std::fs;

    fn of(path: &Path) -> String {
        checksum(path, true, &Quiet).unwrap()
    }

    /// These were made by Freezer itself.
    #[test]
    fn numbers_of_freezers_come_out() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("one");
        fs::write(&one, "hello\n").unwrap();
        assert_eq!(of(&one), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03one");
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(of(&empty), "cdb4ee2aea69cc6a83331bbe96dc2caa9a299d21329efb0336fc02a82e1839a8.");
        let with_x = folder.path().join("with");
        fs::create_dir(&with_x).unwrap();
        fs::write(with_x.join("x"), "XX").unwrap();
        assert_eq!(of(&with_x), "aa48d488dbe746664944c6bda1a02d2329332c7b6bbdd275133dd1ac1409ef5c");
    }

    #[test]
    fn a_name_behind_the_digits_says_what_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one"), "hello\n").unwrap();
        fs::write(folder.path().join("two"), "more").unwrap();
        let expected = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03one";
        assert!(compare(folder.path(), expected, &Quiet).unwrap().is_equal);
        fs::write(folder.path().join("one"), "hallo\n").unwrap();
        assert!(!compare(folder.path(), expected, &Quiet).unwrap().is_equal);
        let whole = of(folder.path());
        assert_eq!(whole.len(), DIGITS);
        assert!(compare(folder.path(), &whole, &Quiet).unwrap().is_equal);
    }

    #[test]
    fn what_is_no_checksum_is_refused_and_never_leaves_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let digits = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for wrong in [
            "",
            "abc",
            &digits.to_uppercase(),
            &format!("{digits}../x"),
            &format!("{digits}/etc/passwd"),
            &format!("{digits}a/b"),
        ] {
            let error = compare(folder.path(), wrong, &Quiet).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn links_are_followed_or_count_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("t");
        fs::create_dir(&tree).unwrap();
        fs::write(folder.path().join("content"), "XX").unwrap();
        std::os::unix::fs::symlink("../content", tree.join("x")).unwrap();
        // Followed, a link is the file: the number above.
        let followed = checksum(&tree, false, &Quiet).unwrap();
        assert_eq!(followed, "aa48d488dbe746664944c6bda1a02d2329332c7b6bbdd275133dd1ac1409ef5c");
        assert_ne!(of(&tree), followed);
    }

    #[test]
    fn paths_are_escaped_as_python_does_it() {
        for (bytes, expected) in [
            (&b"./a b~"[..], "./a b~"),
            (b"a\\b\n\t\r\x01\x7f", "a\\\\b\\n\\t\\r\\x01\\x7f"),
            ("\u{e9}\u{20ac}\u{1f600}".as_bytes(), "\\xe9\\u20ac\\U0001f600"),
            (b"\xff\xe2\x82a", "\\udcff\\udce2\\udc82a"),
        ] {
            assert_eq!(escaped(bytes), expected);
        }
    }
}
