//! Icecore's checksum of a tree: `icecore1:` and 64 digits of BLAKE3 over one record for each entry, directories before what is in
//! them, in the order of their names' bytes.
//!
//! `docs/format/checksum.md` is normative. A record is a letter for the type, the length of the path (8 bytes, the lowest first) and the path from the root; then, of all
//! but the root and links, the permissions (4 bytes); then the length of the content and the content of a file, the length of the
//! target and the target of a link, the two numbers (4 bytes each) of a device. Sockets are no part of a backup, and none of this. Owners
//! and times do not count: not everybody can give them back.

use super::{Above, read_through};
use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::tree::filter::Filter;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What one begins with.
pub const PREFIX: &str = "icecore1:";

/// What is looked at.
pub struct Options<'a> {
    /// What is left out, as a backup leaves it out.
    pub filter: &'a Filter,
    /// Whether directories of other file systems count as empty, as to a backup that stays on one.
    pub one_file_system: bool,
    /// Whether a symbolic link counts as what it points to, as in a backup that stores that: not where it leads nowhere, or to a
    /// directory that it is in.
    pub follow: bool,
}

/// The checksum of a tree; a file counts as a tree that holds nothing else.
///
/// # Errors
/// What cannot be listed or read, or changes meanwhile; `Interrupted`.
pub fn checksum(path: &Path, options: &Options<'_>, monitor: &dyn Monitor) -> Result<String> {
    let failed = |e| Error::io("cannot look at", path.display().to_string(), e);
    let root = std::fs::metadata(path).map_err(failed)?;
    let mut run = Run { hash: blake3::Hasher::new(), options, monitor };
    run.begin(b'd', b"");
    if root.is_dir() {
        run.directory(path, root.dev())?;
    } else {
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let place = Place {
            path: std::fs::canonicalize(path).map_err(failed)?,
            shown: name,
            above: Above::default(),
            device: root.dev(),
        };
        run.entry(&place)?;
    }
    Ok(format!("{PREFIX}{}", run.hash.finalize().to_hex()))
}

struct Run<'a> {
    hash: blake3::Hasher,
    options: &'a Options<'a>,
    monitor: &'a dyn Monitor,
}

/// Where the run is.
struct Place {
    path: PathBuf,
    /// The path from the root.
    shown: Vec<u8>,
    /// The directories that it is in.
    above: Above,
    /// The file system that directories have to be on, where only one counts.
    device: u64,
}

impl Run<'_> {
    fn begin(&mut self, letter: u8, path: &[u8]) {
        self.hash.update(&[letter]);
        self.bytes(path);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    fn directory(&mut self, root: &Path, device: u64) -> Result<()> {
        let mut to_visit = self.listed(root, b"", &Above::default(), device)?;
        while let Some(place) = to_visit.pop() {
            if let Some(device) = self.entry(&place)? {
                to_visit.append(&mut self.listed(&place.path, &place.shown, &place.above, device)?);
            }
        }
        Ok(())
    }

    /// What is in a directory; the first by name comes last.
    fn listed(&self, directory: &Path, shown_above: &[u8], above: &Above, device: u64) -> Result<Vec<Place>> {
        self.monitor.check()?;
        let above = if self.options.follow { above.with(directory)? } else { Above::default() };
        let failed = |e| Error::io("cannot list", directory.display().to_string(), e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
            let shown = if shown_above.is_empty() { name } else { [shown_above, b"/", &name].concat() };
            found.push(Place { path, shown, above: above.clone(), device });
        }
        found.sort_unstable_by(|a, b| b.shown.cmp(&a.shown));
        Ok(found)
    }

    /// What is looked at: of a link that is followed, what it points to, and whether it is that.
    fn look(&self, place: &Place) -> Result<(Metadata, bool)> {
        let path = &place.path;
        let failed = |e| Error::io("cannot look at", path.display().to_string(), e);
        let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
        if self.options.follow && metadata.is_symlink() {
            let target = std::fs::metadata(path).ok();
            let target = target.filter(|target| !target.is_dir() || !place.above.hold(path));
            if let Some(target) = target.filter(|target| !target.file_type().is_socket()) {
                return Ok((target, true));
            }
        }
        Ok((metadata, false))
    }

    /// One entry; of a directory whose content counts, the file system that what is in it has to be on.
    fn entry(&mut self, place: &Place) -> Result<Option<u64>> {
        let Place { path, shown, device, .. } = place;
        let failed = |e| Error::io("cannot look at", path.display().to_string(), e);
        let (metadata, is_followed) = self.look(place)?;
        let kind = metadata.file_type();
        if kind.is_socket() || self.options.filter.excludes(shown, kind.is_dir()) {
            return Ok(None);
        }
        let letter = match () {
            () if kind.is_dir() => b'd',
            () if kind.is_file() => b'f',
            () if kind.is_symlink() => b'l',
            () if kind.is_fifo() => b'p',
            () if kind.is_char_device() => b'c',
            () => b'b',
        };
        self.begin(letter, shown);
        if letter != b'l' {
            self.hash.update(&(metadata.mode() & 0o7777).to_le_bytes());
        }
        match letter {
            b'f' => {
                self.hash.update(&metadata.len().to_le_bytes());
                let hash = &mut self.hash;
                let read = read_through(path, self.monitor, |bytes| {
                    hash.update(bytes);
                })?;
                if read != metadata.len() {
                    return Err(Error::new(Kind::Changed, "changed while it was read:")
                        .on(path.display().to_string()));
                }
            }
            b'l' => self.bytes(std::fs::read_link(path).map_err(failed)?.as_os_str().as_bytes()),
            b'c' | b'b' => {
                let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
                self.hash.update(&major.to_le_bytes()).update(&minor.to_le_bytes());
            }
            _ => {}
        }
        let device = if is_followed { metadata.dev() } else { *device };
        let counts = letter == b'd' && !(self.options.one_file_system && metadata.dev() != device);
        Ok(counts.then_some(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Quiet;
    use std::fs;

    fn of(path: &Path) -> String {
        checksum(path, &Options { filter: &Filter::none(), one_file_system: true, follow: false }, &Quiet)
            .unwrap()
    }

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("content of {name}")).unwrap();
        }
        folder
    }

    /// The vector of `docs/format/checksum.md`, from the bytes that it lists.
    #[test]
    fn the_records_are_those_of_the_page() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one"), "hello\n").unwrap();
        fs::set_permissions(folder.path().join("one"), fs::Permissions::from_mode(0o644)).unwrap();
        let records = b"d\0\0\0\0\0\0\0\0f\x03\0\0\0\0\0\0\0one\xa4\x01\0\0\x06\0\0\0\0\0\0\0hello\n";
        let expected = "icecore1:1083067a83910b49151b32fee14dbfe32340f4f9de840269e9eaac677a2dbf84";
        assert_eq!(of(folder.path()), format!("{PREFIX}{}", blake3::hash(records).to_hex()));
        assert_eq!(of(folder.path()), expected);
        let page = include_str!("../../../docs/format/checksum.md");
        assert!(page.contains(expected));
    }

    #[test]
    fn the_order_in_which_names_were_made_does_not_count() {
        let names = ["b", "a/x", "a/y/z", "a.b", "c", "\u{e9}"];
        let mut backwards = names;
        backwards.reverse();
        let (one, other) = (tree(&names), tree(&backwards));
        assert_eq!(of(one.path()), of(other.path()));
        assert!(of(one.path()).starts_with(PREFIX) && of(one.path()).len() == PREFIX.len() + 64);
    }

    #[test]
    fn whatever_changes_is_seen() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tree(&["a", "b"]);
        let path = |name: &str| folder.path().join(name);
        let mut seen = vec![of(folder.path())];
        let mut changed = |what: &dyn Fn()| {
            what();
            let now = of(folder.path());
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        changed(&|| fs::write(path("a"), "content of A").unwrap());
        changed(&|| fs::rename(path("a"), path("c")).unwrap());
        changed(&|| fs::set_permissions(path("c"), fs::Permissions::from_mode(0o604)).unwrap());
        changed(&|| std::os::unix::fs::symlink("c", path("l")).unwrap());
        changed(&|| fs::create_dir(path("d")).unwrap());
        changed(&|| fs::rename(path("b"), path("d/b")).unwrap());
        changed(&|| {
            fs::remove_file(path("l")).unwrap();
            fs::write(path("l"), "c").unwrap();
        });
    }

    #[test]
    fn a_file_counts_as_all_there_is() {
        let folder = tree(&["one"]);
        assert_eq!(of(folder.path()), of(&folder.path().join("one")));
    }

    #[test]
    fn what_a_backup_leaves_out_does_not_count() {
        let (with, without) = (tree(&["a", "b.bin", "c/d.bin"]), tree(&["a"]));
        fs::create_dir(without.path().join("c")).unwrap();
        let filter = Filter::none().exclude_as_tar(b"*.bin").unwrap();
        let options = Options { filter: &filter, one_file_system: true, follow: false };
        assert_eq!(checksum(with.path(), &options, &Quiet).unwrap(), of(without.path()));
    }
}
