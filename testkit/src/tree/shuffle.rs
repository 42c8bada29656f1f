//! A small tree whose names are shuffled without mercy: few names, so that directories, files and links stand where another
//! sort of entry stood one step ago; directories change places, swallow each other and come back under names that were free
//! for a moment only, often with the inode number of one that was just deleted.

use super::attributes::{capability, set_xattr};
use super::is_root;
use crate::random::Random;
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What `setcap` sets.
const CAPABILITY: &str = "security.capability";

/// Names of everything: few enough that they meet.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const DEPTH_MAX: usize = 5;
const DIRECTORIES_MAX: usize = 16;

/// A tree that is shuffled step by step; the same for the same seed, but for what the kernel sets.
#[derive(Debug)]
pub struct Shuffle {
    root: PathBuf,
    random: Random,
    /// Written into files, so that no two contents are equal.
    counter: u64,
    /// A directory beside the tree, on the same file system, for the moment of a swap.
    aside: PathBuf,
    hard_links: bool,
    circles: bool,
}

impl Shuffle {
    /// Builds a tree at `root`, an existing directory; `aside` must not exist and be on the same file system.
    ///
    /// # Errors
    /// As the system has it.
    pub fn create(root: &Path, aside: &Path, seed: u64) -> io::Result<Shuffle> {
        let mut shuffle = Shuffle {
            root: root.to_owned(),
            random: Random::new(seed),
            counter: 0,
            aside: aside.to_owned(),
            hard_links: true,
            circles: true,
        };
        for _ in 0..25 {
            shuffle.add()?;
        }
        Ok(shuffle)
    }

    /// Without further names of files.
    #[must_use]
    pub fn without_hard_links(mut self) -> Self {
        self.hard_links = false;
        self
    }

    /// Without directories that change places with each other.
    #[must_use]
    pub fn without_circles(mut self) -> Self {
        self.circles = false;
        self
    }

    /// Changes the tree a little or a lot.
    ///
    /// # Errors
    /// As the system has it.
    pub fn step(&mut self) -> io::Result<()> {
        let changes = 1 + self.random.below(10);
        for _ in 0..changes {
            self.change()?;
        }
        Ok(())
    }

    fn change(&mut self) -> io::Result<()> {
        match self.random.below(14) {
            0 | 1 => self.add(),
            2..=5 => self.rename_directory(),
            6 if self.circles => self.swap(),
            7 => self.remove_directory(),
            8 => self.turn_into_another_sort(),
            9 if self.hard_links => self.link(),
            10 => self.rename_file(),
            11 => self.remove_file(),
            12 => self.give_or_take(),
            _ => self.write(),
        }
    }

    fn directories(&self) -> io::Result<Vec<PathBuf>> {
        Ok(survey(&self.root)?.0)
    }

    fn any_directory(&mut self) -> io::Result<PathBuf> {
        let directories = self.directories()?;
        Ok(self.random.choose(&directories).cloned().unwrap_or_else(|| self.root.clone()))
    }

    /// A directory that is not the root.
    fn movable(&mut self) -> io::Result<Option<PathBuf>> {
        let directories: Vec<PathBuf> = self.directories()?.into_iter().skip(1).collect();
        Ok(self.random.choose(&directories).cloned())
    }

    fn any_file(&mut self) -> io::Result<Option<PathBuf>> {
        let files = survey(&self.root)?.1;
        Ok(self.random.choose(&files).cloned())
    }

    fn free_place(&mut self) -> io::Result<Option<PathBuf>> {
        let place = self.any_directory()?.join(NAMES[self.random.below(NAMES.len() as u64) as usize]);
        let deep = place.strip_prefix(&self.root).is_ok_and(|rest| rest.components().count() > DEPTH_MAX);
        Ok((!deep && fs::symlink_metadata(&place).is_err()).then_some(place))
    }

    fn content(&mut self) -> Vec<u8> {
        self.counter += 1;
        let length = self.random.below(40) as usize;
        [format!("{}:", self.counter).as_bytes(), &self.random.text(length)].concat()
    }

    fn add(&mut self) -> io::Result<()> {
        let Some(place) = self.free_place()? else { return Ok(()) };
        let room = self.directories()?.len() < DIRECTORIES_MAX;
        match self.random.below(5) {
            0 | 1 if room => fs::create_dir(place),
            2 => symlink(NAMES[self.random.below(7) as usize], place),
            _ => {
                let content = self.content();
                fs::write(place, content)
            }
        }
    }

    fn rename_directory(&mut self) -> io::Result<()> {
        let (Some(from), Some(to)) = (self.movable()?, self.free_place()?) else { return Ok(()) };
        if to.starts_with(&from) {
            // Upside down: what is moved below itself goes there without its parent.
            let Some(child) = self.directories()?.into_iter().find(|child| child.parent() == Some(&from))
            else {
                return Ok(());
            };
            self.counter += 1;
            fs::rename(&child, &self.aside)?;
            fs::rename(&from, self.aside.join(format!("up-{}", self.counter)))?;
            return fs::rename(&self.aside, &from);
        }
        fs::rename(from, to)
    }

    fn swap(&mut self) -> io::Result<()> {
        let (Some(one), Some(other)) = (self.movable()?, self.movable()?) else { return Ok(()) };
        if one.starts_with(&other) || other.starts_with(&one) {
            return Ok(());
        }
        fs::rename(&one, &self.aside)?;
        fs::rename(&other, &one)?;
        fs::rename(&self.aside, &other)
    }

    /// Deletes a directory; at its place, or elsewhere, a new one often gets its inode number.
    fn remove_directory(&mut self) -> io::Result<()> {
        let Some(gone) = self.movable()? else { return Ok(()) };
        fs::remove_dir_all(&gone)?;
        match self.random.below(3) {
            0 => {
                fs::create_dir(&gone)?;
                let content = self.content();
                fs::write(gone.join("a"), content)
            }
            1 => match self.free_place()? {
                Some(place) => fs::create_dir(place),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn turn_into_another_sort(&mut self) -> io::Result<()> {
        let (directories, files) = survey(&self.root)?;
        let all: Vec<PathBuf> = directories.into_iter().skip(1).chain(files).collect();
        let Some(place) = self.random.choose(&all).cloned() else { return Ok(()) };
        if place.is_dir() && !place.is_symlink() {
            fs::remove_dir_all(&place)?
        } else {
            fs::remove_file(&place)?
        }
        match self.random.below(3) {
            0 => fs::create_dir(place),
            1 => symlink("a", place),
            _ => {
                let content = self.content();
                fs::write(place, content)
            }
        }
    }

    fn link(&mut self) -> io::Result<()> {
        let (Some(file), Some(place)) = (self.any_file()?, self.free_place()?) else { return Ok(()) };
        fs::hard_link(file, place)
    }

    fn rename_file(&mut self) -> io::Result<()> {
        let Some(file) = self.any_file()? else { return Ok(()) };
        // Onto another file as often as not.
        let place = if self.random.below(2) == 0 { self.any_file()? } else { self.free_place()? };
        place.map_or(Ok(()), |place| fs::rename(file, place))
    }

    fn remove_file(&mut self) -> io::Result<()> {
        self.any_file()?.map_or(Ok(()), fs::remove_file)
    }

    /// A capability for a file that has none, and none for one that has; nothing else of it changes. Only root can.
    fn give_or_take(&mut self) -> io::Result<()> {
        let Some(file) = self.any_file()?.filter(|file| is_root() && !file.is_symlink()) else {
            return Ok(());
        };
        match is_capable(&file)? {
            true => Ok(rustix::fs::lremovexattr(&file, CAPABILITY)?),
            false => set_xattr(&file, CAPABILITY, &capability()),
        }
    }

    /// New content, in place or as a new inode.
    fn write(&mut self) -> io::Result<()> {
        let Some(file) = self.any_file()? else { return Ok(()) };
        if file.is_symlink() {
            return Ok(());
        }
        let content = self.content();
        if self.random.below(2) == 0 {
            return fs::write(file, content);
        }
        fs::write(&self.aside, content)?;
        fs::rename(&self.aside, file)
    }
}

/// Whether a file has a capability.
fn is_capable(file: &Path) -> io::Result<bool> {
    match rustix::fs::lgetxattr(file, CAPABILITY, &mut [0; 64][..]) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Directories, the root first, and everything else, each in the order of names.
fn survey(root: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut directories, mut files) = (vec![root.to_owned()], Vec::new());
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        let mut found: Vec<PathBuf> =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        found.sort();
        for path in found {
            if fs::symlink_metadata(&path)?.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    Ok((directories, files))
}
