//! The folders of a local storage: found and made step by step from the handle of the root, links never followed.
//!
//! A folder disappears when its last object is deleted, at any moment; whoever makes something in it starts over from the
//! root then. The invariant: a folder that was made is durable before anything in it is called durable. (Of two programs that
//! need a new folder at once, the faster makes and syncs it. The other relies on journals being written in order: its own
//! later sync of that folder brings out the older creation.)

use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::tree::attributes::FileKind;
use crate::tree::directory::Directory;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// How temporary files are called in front of their random part. Object names never have a component like it.
pub(super) const TEMPORARY_PREFIX: &str = ".icecore-tmp-";

/// The longest component file systems hold (Linux `NAME_MAX`), in bytes.
const COMPONENT_BYTES: usize = 255;

/// How often a folder that vanishes under our hands is made again. Each time is one lost race, so this is never reached
/// by chance.
pub(super) const ATTEMPTS: u32 = 1_000;

const FOLDER_MODE: Mode = Mode::RWXU;

/// The folder everything is in.
#[derive(Debug)]
pub(super) struct Root {
    handle: Arc<Directory>,
    path: PathBuf,
    nameless_files: bool,
    /// Folders that were made and may not be on the disk yet, by their names from the root. One sync of a file that is made
    /// in them brings most of them out together, which is why they are not synced one by one.
    new_folders: Arc<Mutex<BTreeSet<String>>>,
}

/// An object's name, taken apart: the folder (`None` is the root) and the file in it.
pub(super) struct Place<'a> {
    pub name: &'a ObjectName,
    pub folder: Option<&'a str>,
    pub file: &'a str,
}

impl<'a> Place<'a> {
    /// # Errors
    /// `Invalid` for a name that cannot be a file here.
    pub fn of(name: &'a ObjectName) -> Result<Self> {
        if name.as_str().split('/').any(|part| part.len() > COMPONENT_BYTES || is_temporary(part.as_bytes()))
        {
            return Err(Error::invalid("not a name for a file:", name.to_string())
                .hint("components have at most 255 bytes, and `.icecore-tmp-` is reserved"));
        }
        let (folder, file) = split(name.as_str());
        Ok(Place { name, folder, file })
    }
}

/// The folder a path is in, and its last component.
pub(super) fn split(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once('/') {
        Some((folder, last)) => (Some(folder), last),
        None => (None, path),
    }
}

pub(super) fn is_temporary(component: &[u8]) -> bool {
    component.starts_with(TEMPORARY_PREFIX.as_bytes())
}

impl Root {
    pub fn open(path: PathBuf) -> Result<Root> {
        require_absolute(&path)?;
        let handle = Directory::open(&path)?;
        // Nameless files get their name through /proc; a chroot may lack it.
        let nameless_files = Path::new(&format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())).exists();
        Ok(Root { handle: Arc::new(handle), path, nameless_files, new_folders: Arc::default() })
    }

    pub fn without_nameless_files(&self) -> Root {
        Root {
            handle: Arc::clone(&self.handle),
            path: self.path.clone(),
            nameless_files: false,
            new_folders: Arc::clone(&self.new_folders),
        }
    }

    pub fn nameless_files(&self) -> bool {
        self.nameless_files
    }

    /// Where an object or folder is, for people.
    pub fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    pub fn label(&self) -> String {
        self.path.display().to_string()
    }

    /// The handle of a folder; `None` when there is no folder of that name.
    ///
    /// # Errors
    /// `Unsupported` when a symbolic link is in the way, `Denied`, or as the system has it.
    pub fn folder(&self, folder: Option<&str>) -> Result<Option<Directory>> {
        let mut here = self.reopen()?;
        for part in folder.into_iter().flat_map(|path| path.split('/')) {
            match self.enter(&here, part, folder)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The handle of a folder, which is made when it is missing.
    ///
    /// # Errors
    /// `Invalid` when an object is in the way, `NotFound` when the root is gone; otherwise as [`Root::folder`].
    pub fn make_folder(&self, folder: Option<&str>) -> Result<Directory> {
        'again: for _ in 0..ATTEMPTS {
            let mut here = self.reopen()?;
            let mut end = 0;
            for part in folder.into_iter().flat_map(|path| path.split('/')) {
                end += part.len() + usize::from(end > 0);
                let so_far = folder.map_or("", |path| &path[..end]);
                match self.enter_or_make(&here, part, so_far)? {
                    Some(next) => here = next,
                    None => continue 'again,
                }
            }
            return Ok(here);
        }
        Err(Error::new(Kind::NotFound, "the folder was removed while it was used:").on(self.label()))
    }

    /// Makes the folders that lead to `folder` durable, as far as this program has made them.
    ///
    /// # Errors
    /// As the system has it.
    pub fn sync_new_folders(&self, folder: Option<&str>) -> Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        for path in ends.map(|end| &folder[..end]) {
            if !self.new_folders().contains(path) {
                continue;
            }
            // One that is gone again needs no sync.
            if let Some(parent) = self.folder(split(path).0)? {
                sync_folder(&parent)
                    .map_err(|e| Error::io("cannot sync the folder of", self.path_of(path), e))?;
            }
            self.new_folders().remove(path);
        }
        Ok(())
    }

    fn new_folders(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.new_folders.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Removes a folder and those above it while they are empty, from the deepest up. One that cannot be removed (not empty,
    /// somebody else was faster, not permitted) stays; it does no harm.
    pub fn remove_empty_folders(&self, mut folder: Option<&str>) {
        while let Some(path) = folder {
            let (parent, last) = split(path);
            let Ok(Some(parent_handle)) = self.folder(parent) else { return };
            if rustix::fs::unlinkat(&parent_handle, last, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            folder = parent;
        }
    }

    /// Whether the folder is still where it was opened. Work goes on by its handle when it is moved; what is written then
    /// would not be found by anybody.
    ///
    /// # Errors
    /// `NotFound` when something else, or nothing, is at the path now.
    pub fn require_in_place(&self) -> Result<()> {
        let here = self.handle.metadata()?;
        let found = Directory::open(&self.path).and_then(|folder| folder.metadata());
        match found {
            Ok(found) if (found.device, found.inode) == (here.device, here.inode) => Ok(()),
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Err(Error::new(Kind::NotFound, "the folder was moved or replaced while it was used:")
                .on(self.label())),
        }
    }

    fn reopen(&self) -> Result<Directory> {
        self.handle.open_child(b".").map_err(|e| e.while_doing("cannot open", self.label()))
    }

    /// `None` when it is not there or not a folder.
    fn enter(&self, parent: &Directory, part: &str, path: Option<&str>) -> Result<Option<Directory>> {
        let failure = match parent.open_child(part.as_bytes()) {
            Ok(child) => return Ok(Some(child)),
            Err(e) if e.kind() == Kind::NotFound => return Ok(None),
            Err(e) => e.while_doing("cannot open", self.path_of(path.unwrap_or_default())),
        };
        match parent.stat(part.as_bytes()) {
            Ok(found) if found.kind == FileKind::Symlink => Err(failure_of_link(&failure)),
            Ok(found) if found.kind != FileKind::Directory => Ok(None),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            _ => Err(failure),
        }
    }

    /// `None` when it (or its parent) was removed in between.
    fn enter_or_make(&self, parent: &Directory, part: &str, path: &str) -> Result<Option<Directory>> {
        if let Some(child) = self.enter(parent, part, Some(path))? {
            return Ok(Some(child));
        }
        let subject = || self.path_of(path);
        match rustix::fs::mkdirat(parent, part, FOLDER_MODE) {
            Ok(()) => {
                self.new_folders().insert(path.to_owned());
            }
            Err(Errno::EXIST) if is_in_the_way(parent, part) => {
                return Err(Error::invalid("an object is in the way of the folder", subject()));
            }
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(Error::io("cannot make the folder", subject(), e)),
        }
        self.enter(parent, part, Some(path))
    }
}

fn failure_of_link(failure: &Error) -> Error {
    Error::new(Kind::Unsupported, "a symbolic link is in the way of")
        .on(failure.subject())
        .hint("links are not followed inside a storage; mount or move the folder itself there")
}

/// Whether something that is not a folder has the name.
fn is_in_the_way(parent: &Directory, part: &str) -> bool {
    parent.stat(part.as_bytes()).is_ok_and(|found| found.kind != FileKind::Directory)
}

/// # Errors
/// `Invalid` for a relative path.
pub(super) fn require_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Error::invalid("not an absolute path:", path.display().to_string()))
}

/// Makes a folder and those above it, each durable.
pub(super) fn make_path(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_path(parent)?;
    }
    let failed = |e: Errno| Error::io("cannot make the folder", path.display().to_string(), e);
    match rustix::fs::mkdir(path, FOLDER_MODE) {
        Ok(()) => {}
        // A racing program made it; a file of that name is told by whoever opens the folder.
        Err(Errno::EXIST) => return Ok(()),
        Err(e) => return Err(failed(e)),
    }
    match path.parent() {
        Some(parent) => sync_folder(&Directory::open(parent)?).map_err(failed),
        None => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Directory) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::fsync(folder)) {
        // File systems that have no notion of syncing a folder (some network ones) do it at once.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}
