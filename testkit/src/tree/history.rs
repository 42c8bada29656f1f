//! What happens to a tree between two backups.
//!
//! The scripted steps go through every change that can fool an incremental backup: a change that keeps size and time, a
//! name that now means another type of entry, directories renamed, swapped and turned in a circle, hard links made and
//! broken. Where a step says "renamed" the inode stays the same; where it says "replaced" it does not.

use super::Tree;
use super::attributes::{ACCESS_ACL, acl, make_fifo, set_mode, set_mtime, set_xattr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

impl Tree {
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.at(path))?.write_all(bytes)
    }

    /// Other bytes, same length, and the time put back to what it was.
    fn change_in_secret(&self, path: &str, content: &str) -> io::Result<()> {
        let before = fs::metadata(self.at(path))?;
        fs::write(self.at(path), content)?;
        set_mtime(&self.at(path), before.mtime(), before.mtime_nsec())
    }

    pub(super) fn first_changes(&mut self) -> io::Result<()> {
        fs::create_dir_all(self.at("added/nested/empty"))?;
        fs::write(self.at("added/nested/file"), self.random.text(5000))?;
        symlink("nested", self.at("added/link"))?;
        make_fifo(&self.at("added/fifo"))?;
        self.append("content/text.log", b"one more line\n")?;
        fs::write(self.at("time/same-size"), "2222")?;
        self.change_in_secret("time/set-back", "BBBB")?;
        fs::remove_file(self.at("content/size-511"))?;
        fs::remove_dir_all(self.at("move/gone"))?;
        self.rename("move/file", "move/renamed-file")?;
        self.rename("move/docs", "move/papers")?;
        self.flip()?;
        fs::remove_file(self.at("hard/b"))?;
        fs::copy(self.at("hard/a"), self.at("hard/b"))?;
        fs::hard_link(self.at("content/small.txt"), self.at("hard/new-link"))?;
        self.only_attributes()
    }

    /// File ⇄ directory ⇄ symbolic link, every pair.
    fn flip(&mut self) -> io::Result<()> {
        fs::remove_file(self.at("flip/file"))?;
        fs::create_dir(self.at("flip/file"))?;
        fs::write(self.at("flip/file/inside"), "was a file")?;
        fs::remove_file(self.at("flip/other-file"))?;
        symlink("file", self.at("flip/other-file"))?;
        fs::remove_dir_all(self.at("flip/directory"))?;
        fs::write(self.at("flip/directory"), "was a directory")?;
        fs::remove_dir_all(self.at("flip/link-to-be"))?;
        symlink("file", self.at("flip/link-to-be"))?;
        fs::remove_file(self.at("flip/link"))?;
        fs::create_dir(self.at("flip/link"))?;
        fs::write(self.at("flip/link/inside"), "was a link to a directory")?;
        fs::remove_file(self.at("flip/link-2"))?;
        fs::write(self.at("flip/link-2"), "was a link")
    }

    fn only_attributes(&mut self) -> io::Result<()> {
        set_mode(&self.at("time/attributes"), 0o4711)?;
        set_xattr(&self.at("time/attributes"), "user.added", b"later")?;
        set_xattr(&self.at("directories/empty"), "user.directory", b"later too")?;
        set_mode(&self.at("directories/empty"), 0o751)?;
        set_mtime(&self.at("directories/deep"), 77, 77)?;
        set_xattr(&self.at("attributes/x-user"), "user.comment", b"another text")?;
        set_xattr(&self.at("attributes/x-acl"), ACCESS_ACL, &acl(6, (12_345, 4), 4, 4, 4))?;
        rustix::fs::lremovexattr(self.at("attributes/x-large"), "user.large")?;
        if self.privileged {
            lchown(self.at("attributes/owner-daemon"), Some(33), Some(33))?;
            lchown(self.at("directories/many"), Some(7), Some(7))?;
        }
        Ok(())
    }

    pub(super) fn second_changes(&mut self) -> io::Result<()> {
        self.rename("move/papers", "move/target/papers")?;
        self.rename("move/target/papers/sub", "move/target/sub-moved-out")?;
        if self.features.circles {
            self.turn_in_circles()?;
        }
        // A new directory where a deleted one was.
        fs::create_dir(self.at("move/gone"))?;
        fs::write(self.at("move/gone/another"), "not the old one")?;
        // The first name of an inode goes, the others stay.
        fs::remove_file(self.at("hard/a"))?;
        fs::remove_file(self.at("hard/one"))?;
        fs::remove_dir_all(self.at("flip/file"))?;
        fs::write(self.at("flip/file"), "a file again")?;
        fs::remove_file(self.at("flip/directory"))?;
        symlink("link", self.at("flip/directory"))?;
        fs::remove_file(self.at("flip/other-file"))?;
        fs::create_dir(self.at("flip/other-file"))?;
        self.change_in_secret("time/set-back", "CCCC")?;
        File::options().write(true).open(self.at("content/text.log"))?.set_len(1000)?;
        let middle = File::options().write(true).open(self.at("sparse/all-hole"))?;
        middle.write_all_at(b"data in what was a hole", 3 << 20)
    }

    fn turn_in_circles(&mut self) -> io::Result<()> {
        self.rename("move/swap-a", "move/swap")?;
        self.rename("move/swap-b", "move/swap-a")?;
        self.rename("move/swap", "move/swap-b")?;
        self.rename("move/cycle-1", "move/cycle")?;
        self.rename("move/cycle-3", "move/cycle-1")?;
        self.rename("move/cycle-2", "move/cycle-3")?;
        self.rename("move/cycle", "move/cycle-2")
    }

    pub(super) fn third_changes(&mut self) -> io::Result<()> {
        // Renamed, and a new directory takes the old name at once.
        self.rename("move/target", "move/target-old")?;
        fs::create_dir(self.at("move/target"))?;
        fs::write(self.at("move/target/new"), "new under an old name")?;
        // A parent and its child are renamed together.
        self.rename("added/nested", "added/nested-2")?;
        self.rename("added/nested-2/empty", "added/nested-2/full")?;
        fs::write(self.at("added/nested-2/full/file"), "no longer empty")?;
        self.rename("added", "added-2")?;
        // Replaced by renaming another file over it.
        fs::write(self.at("time/temporary"), "3333")?;
        self.rename("time/temporary", "time/same-size")?;
        for n in 0..150 {
            fs::remove_file(self.at(&format!("directories/many/file-{n:04}")))?;
        }
        // Upside down: a child becomes the parent of what was its parent.
        self.rename("directories/deep/1/2", "directories/was-child")?;
        self.rename("directories/deep", "directories/was-child/was-parent")?;
        fs::remove_file(self.at("hard/link-2"))?;
        fs::hard_link(self.at("hard/sub/c"), self.at("content/c"))?;
        let filled = self.random.bytes(1 << 20);
        fs::write(self.at("sparse/leading-hole"), filled)?;
        Ok(())
    }

    pub(super) fn fourth_changes(&mut self) -> io::Result<()> {
        self.rename("move/target-old", "move/target-older")?;
        self.rename("move/target", "move/target-old")?;
        self.rename("move/swap-a", "move/cycle-1/swap-a")?;
        self.rename("move/swap-b", "move/cycle-2/swap-b")?;
        fs::remove_dir_all(self.at("directories/many"))?;
        fs::remove_dir_all(self.at("names"))?;
        fs::remove_file(self.at("added-2/fifo"))?;
        fs::write(self.at("added-2/fifo"), "was a pipe")?;
        fs::remove_file(self.at("hard/new-link"))?;
        rustix::fs::lremovexattr(self.at("time/attributes"), "user.added")?;
        set_mode(&self.at("time/attributes"), 0o600)?;
        self.change_in_secret("time/set-back", "DDDD")?;
        set_mtime(&self.root, -5, 5)
    }

    pub(super) fn random_changes(&mut self) -> io::Result<()> {
        for _ in 0..20 {
            let (files, directories) = survey(&self.root)?;
            let number = self.random.next_u64();
            let file = self.random.choose(&files).cloned();
            let directory = self.random.choose(&directories).cloned().unwrap_or_else(|| self.root.clone());
            let new = directory.join(format!("random-{:08x}", number as u32));
            match (number % 8, file) {
                (0, _) => fs::write(new, self.random.text(3000))?,
                (1, _) => fs::create_dir(new)?,
                (2, Some(file)) => fs::remove_file(file)?,
                (3, Some(file)) => fs::rename(file, new)?,
                (4, Some(file)) => fs::hard_link(file, new)?,
                (5, Some(file)) => {
                    fs::remove_file(&file)?;
                    symlink("random", file)?;
                }
                (6, Some(file)) if !file.is_symlink() => {
                    set_mode(&file, 0o600 | (number >> 8) as u32 & 0o177)?
                }
                // A directory into one that does not lie below it.
                (7, _) if directory != self.root => {
                    let parent = self.random.choose(&directories).cloned().unwrap_or_default();
                    if !parent.starts_with(&directory) {
                        fs::rename(&directory, parent.join(format!("moved-{:08x}", number as u32)))?;
                    }
                }
                _ => (),
            }
        }
        Ok(())
    }
}

/// Files (and links, whose count of names lets them be linked again) and directories with paths a path call can take.
fn survey(root: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut directories) = (Vec::new(), vec![root.to_owned()]);
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.path().as_os_str().len() < 2000 {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    directories.sort();
    Ok((files, directories))
}

/// Open handles of every directory: as long as one lives, the number of its inode is not given away again.
pub(super) fn hold(root: &Path) -> io::Result<Vec<File>> {
    survey(root)?.1.iter().map(File::open).collect()
}
