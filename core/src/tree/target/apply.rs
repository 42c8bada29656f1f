//! Gives an entry its owner, extended attributes, mode and times, with as few system calls as its present state allows.
//!
//! Invariant: the order is content, owner, attributes, mode, times. A change of owner clears set-user-id bits and file
//! capabilities, an access control list rewrites the mode, and everything touches the times. What cannot be set is told to
//! the monitor by path and never fails the entry; set-user-id bits are only given together with the owner they were meant for.

use super::walker::set_mode;
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind, Metadata, Xattrs};
use crate::tree::directory::{Directory, lossy};
use crate::tree::{acl, xattr};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Finds the number behind the name of a user or a group on this system.
pub type Lookup = Box<dyn Fn(&[u8]) -> Option<u32> + Send + Sync>;

/// Says of a path, and whether it is a directory, that it is never removed to make room.
pub type Spare = Box<dyn Fn(&[u8], bool) -> bool + Send + Sync>;

/// How owners are given.
pub struct Options {
    /// Owners by number only, even where the name is known on this system.
    pub numeric_owner: bool,
    /// Whether owners are set at all. Without the right to, leave it off: the first entry whose owner is lost
    /// is then reported, and no others.
    pub owners: bool,
    /// Users by name.
    pub uid_of: Lookup,
    /// Groups by name.
    pub gid_of: Lookup,
    /// Long runs of zeros take no room on disk, also where they are data.
    pub sparse: bool,
    /// Whether nothing has its final name before it is whole, even where that is free: for whoever keeps what he finds under a name,
    /// so that he never keeps what a killed run had begun.
    pub whole_names: bool,
}

impl Options {
    /// Owners by number, without a resolver.
    pub fn numeric(owners: bool) -> Self {
        Options {
            numeric_owner: true,
            owners,
            uid_of: Box::new(|_| None),
            gid_of: Box::new(|_| None),
            sparse: false,
            whole_names: false,
        }
    }

    /// The numbers an entry gets: by name where the name is known, else those that were stored.
    fn owner_of(&self, attributes: &Attributes) -> (u32, u32) {
        let known = |name: &[u8], lookup: &Lookup| {
            let wanted = !self.numeric_owner && !name.is_empty();
            wanted.then(|| lookup(name)).flatten()
        };
        let uid = known(&attributes.user, &self.uid_of).unwrap_or(attributes.uid);
        let gid = known(&attributes.group, &self.gid_of).unwrap_or(attributes.gid);
        (uid, gid)
    }
}

/// An entry whose attributes are set: by its handle, or by name where opening it would block or follow.
pub(super) enum Place<'a> {
    Open(BorrowedFd<'a>),
    Entry(&'a Directory, &'a [u8]),
}

/// What an entry has before its attributes are set.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub uid: u32,
    pub gid: u32,
    /// The permission bits, where they are known for certain.
    pub mode: Option<u32>,
    /// Whether it may have an access control list it inherited.
    pub inherits: bool,
}

/// What is the same for every entry of a target; shared with files that are still being written.
pub(super) struct Settings<'m> {
    pub options: Options,
    pub monitor: &'m dyn Monitor,
    /// What is not removed to make room, where that was said.
    pub spare: OnceLock<Spare>,
    /// Whether permissions do not stop this process.
    pub is_root: bool,
    /// Bits the kernel takes from the mode of new entries; `None` when that could not be found out.
    umask: Option<u32>,
    /// Whether it was said that owners are not given.
    reported: AtomicBool,
}

const SPECIAL: u32 = 0o7000;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// Which parts of the owner are as wanted.
struct Owned {
    uid: bool,
    gid: bool,
    changed: bool,
}

impl<'m> Settings<'m> {
    pub fn new(options: Options, monitor: &'m dyn Monitor) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        Settings {
            options,
            monitor,
            spare: OnceLock::new(),
            is_root,
            umask: read_umask(),
            reported: AtomicBool::new(false),
        }
    }

    /// The mode an entry has that was made with `asked`, where that is certain.
    pub fn mode_given(&self, asked: u32, inherits: bool) -> Option<u32> {
        self.umask.filter(|_| !inherits).map(|umask| asked & !umask)
    }

    /// Whether an entry born with this owner will keep it.
    pub fn keeps_owner(&self, uid: u32, gid: u32, attributes: &Attributes) -> bool {
        !self.options.owners || self.options.owner_of(attributes) == (uid, gid)
    }

    /// Reports something that could not be done to `path`, which stays nevertheless.
    pub fn problem(&self, path: &[u8], error: &Error) {
        self.monitor.event(Event::Problem { path: &lossy(path), error, lost: false });
    }

    /// Gives an entry everything.
    pub fn apply(
        &self,
        place: &Place<'_>,
        kind: FileKind,
        state: State,
        path: &[u8],
        attributes: &Attributes,
    ) {
        let owned = self.set_owner(place, state, path, attributes);
        self.set_xattrs(place, state, path, &attributes.xattrs);
        if kind != FileKind::Symlink {
            self.set_mode(place, kind, state, &owned, path, attributes);
        }
        if let Err(e) = place.set_times(&times(attributes)) {
            self.problem(path, &Error::io("cannot set the times of", lossy(path), e));
        }
    }

    /// Whether what stands in the target has the owner, mode and times that a restore would give it.
    pub fn has_attributes(&self, found: &Metadata, attributes: &Attributes) -> bool {
        self.keeps_owner(found.uid, found.gid, attributes)
            && found.mode == attributes.mode & 0o7777
            && found.mtime == attributes.mtime
    }

    /// Whether a file has these extended attributes and no others that a backup would hold.
    pub fn has_xattrs(&self, file: &File, wanted: &Xattrs) -> bool {
        xattr::read_file(file).is_ok_and(|mut found| {
            found.retain(|(name, _)| is_ours(name) || wanted.iter().any(|(other, _)| other == name));
            found == *wanted
        })
    }

    /// Removes attributes a directory had before it was restored: those a backup would hold. What security modules and file
    /// systems keep under names of their own is not for a restore to take away.
    pub fn clear_xattrs(&self, handle: BorrowedFd<'_>, path: &[u8], wanted: &Xattrs) {
        let stale = |name: &[u8]| is_ours(name) && !wanted.iter().any(|(other, _)| other == name);
        if let Err(e) = xattr::remove_file(handle, stale) {
            self.problem(path, &e.while_doing("cannot clear the attributes of", lossy(path)));
        }
    }

    fn set_owner(&self, place: &Place<'_>, state: State, path: &[u8], attributes: &Attributes) -> Owned {
        let (uid, gid) = self.options.owner_of(attributes);
        let kept = Owned { uid: uid == state.uid, gid: gid == state.gid, changed: false };
        if kept.uid && kept.gid {
            return kept;
        }
        if !self.options.owners {
            if !self.reported.swap(true, Ordering::Relaxed) {
                let text = format!(
                    "owners are not restored, which only root can do; the first: {} of {uid}:{gid}",
                    lossy(path)
                );
                self.monitor.event(Event::Warning(&text));
            }
            return kept;
        }
        match place.set_owner((!kept.uid).then_some(uid), (!kept.gid).then_some(gid)) {
            Ok(()) => Owned { uid: true, gid: true, changed: true },
            Err(e) => {
                let cannot = format!("cannot set the owner {uid}:{gid} of");
                self.problem(path, &Error::io(cannot, lossy(path), e));
                kept
            }
        }
    }

    fn set_xattrs(&self, place: &Place<'_>, state: State, path: &[u8], xattrs: &Xattrs) {
        let inherited = |name: &[u8]| name == acl::ACCESS;
        let result = match place {
            _ if !state.inherits => Ok(()),
            Place::Open(handle) => xattr::remove_file(handle, inherited),
            Place::Entry(directory, name) => xattr::remove_entry(directory, name, inherited),
        }
        .and_then(|()| match place {
            _ if xattrs.is_empty() => Ok(()),
            Place::Open(handle) => xattr::write_file(handle, xattrs),
            Place::Entry(directory, name) => xattr::write_entry(directory, name, xattrs),
        });
        if let Err(e) = result {
            self.problem(path, &e.while_doing("cannot set the attributes of", lossy(path)));
        }
    }

    fn set_mode(
        &self,
        place: &Place<'_>,
        kind: FileKind,
        state: State,
        owned: &Owned,
        path: &[u8],
        attributes: &Attributes,
    ) {
        let mut mode = attributes.mode & 0o7777;
        if !owned.uid {
            mode &= !SET_UID;
        }
        // On a directory the bit only says whose group new entries get.
        if !owned.gid && kind != FileKind::Directory {
            mode &= !SET_GID;
        }
        let has_list = attributes.xattrs.iter().any(|(name, _)| name == acl::ACCESS);
        let uncertain = has_list || (owned.changed && mode & SPECIAL != 0);
        if !uncertain && state.mode == Some(mode) {
            return;
        }
        if let Err(e) = place.set_mode(Mode::from_raw_mode(mode)) {
            self.problem(path, &Error::io("cannot set the mode of", lossy(path), e));
        }
    }
}

impl Place<'_> {
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        // All ones means "leave it" to the kernel: whoever stored that meant something else.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Place::Open(handle) => rustix::fs::fchown(handle, uid, gid),
            Place::Entry(directory, name) => {
                rustix::fs::chownat(directory, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn set_mode(&self, mode: Mode) -> Result<(), Errno> {
        match self {
            Place::Open(handle) => rustix::fs::fchmod(handle, mode),
            Place::Entry(directory, name) => {
                // There is no chmod that is sure not to follow a link, other than by a handle.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                set_mode(rustix::fs::openat(directory, *name, flags, Mode::empty())?, mode)
            }
        }
    }

    fn set_times(&self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Place::Open(handle) => rustix::fs::futimens(handle, times),
            Place::Entry(directory, name) => {
                rustix::fs::utimensat(directory, *name, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

/// Whether an attribute is one that users give, so that a restore takes away what the backup does not have, and not one that security
/// modules or file systems keep. A capability that stayed on what was restored would be a right nobody gave it.
fn is_ours(name: &[u8]) -> bool {
    let is_given = [acl::ACCESS, acl::DEFAULT, xattr::CAPABILITY].contains(&name);
    is_given || name.starts_with(b"user.") || name.starts_with(b"trusted.")
}

fn times(attributes: &Attributes) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps {
        last_access: attributes.atime.map_or(omit, timespec),
        last_modification: timespec(attributes.mtime),
    }
}

fn timespec(time: FileTime) -> Timespec {
    // Larger numbers have meanings of their own (`UTIME_NOW`); a stored time is never one of them.
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.min(999_999_999).into() }
}

/// The file mode creation mask, from where it can be read without setting it: umask(2) would change it for every thread.
fn read_umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(digits.trim(), 8).ok()
}
