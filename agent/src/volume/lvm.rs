//! Snapshots of logical volumes, by LVM's programs.
//!
//! The volume is the one that the kernel says the path is mounted from; what is read is the same folder of the same file system, in the
//! snapshot. Invariants: whatever `lvcreate` may have made is removed again; a snapshot that ran out of room is no source of a backup
//! ([`Snapshot::confirm`]); names are arguments, never parts of a line that a shell reads.

use super::mounts::{self, Mount};
use super::{cannot, command, left};
use crate::cli::Context;
use crate::output;
use icecore::error::{Error, Kind, Result};
use rustix::fs::makedev;
use rustix::rand::{GetRandomFlags, getrandom};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The word for it.
pub const NAME: &str = "lvm";
/// Room in a snapshot where nobody says, as in Freezer.
pub const SIZE: &str = "1G";

/// Where snapshots are mounted.
const FOLDER: &str = "/var/lib/icecore";
/// The package of LVM's programs, and that of `mount`.
const LVM: &str = "lvm2";
const MOUNT: &str = "mount";

/// File systems of which a copy cannot be mounted beside the original: both have one identity.
const ONLY_ONCE: [&str; 2] = ["btrfs", "zfs_member"];

/// How often it is tried to remove what somebody else may be looking at, and how long between.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// What is to be taken.
pub struct Wanted {
    /// The volume that was named.
    pub volume: Option<PathBuf>,
    /// The group that was named.
    pub group: Option<String>,
    /// What the snapshot is called.
    pub name: String,
    /// Its room.
    pub size: String,
    /// Whether it can be written to.
    pub is_writable: bool,
    /// Where it is mounted.
    pub folder: Option<PathBuf>,
}

/// A volume in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Volume {
    group: String,
    name: String,
}

impl Volume {
    fn shown(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

/// A volume as `lvs` lists it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    /// What it is a snapshot of, if it is one.
    origin: Option<String>,
}

/// All volumes of a group.
fn volumes(group: &str) -> Result<Vec<Row>> {
    let words = ["--noheadings", "--separator", ",", "--options", "lv_name,origin", group];
    let said = command::run("lvs", LVM, &words.map(OsString::from))?;
    let rows = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let row = |line| row(line).ok_or_else(|| Error::damaged("not understood of what lvs says:", line));
    rows.map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let (name, origin) = line.split_once(',')?;
    let origin = Some(origin.trim().to_owned()).filter(|origin| !origin.is_empty());
    Some(Row { name: name.trim().to_owned(), origin }).filter(|row| !row.name.is_empty())
}

impl Row {
    fn is_snapshot_of(&self, source: &Volume) -> bool {
        self.origin.as_ref() == Some(&source.name)
    }

    /// The commands that remove it.
    fn by_hand(&self, mounts: &[Mount], group: &str) -> String {
        let volume = Volume { group: group.to_owned(), name: self.name.clone() };
        let of_it = mounts.iter().filter(|mount| volume_of(mount).is_ok_and(|found| found == volume));
        let unmount = of_it.map(|mount| command::shown("umount", &[mount.point.clone().into()]));
        let remove = command::shown("lvremove", &["--force".into(), volume.shown().into()]);
        unmount.chain([remove]).collect::<Vec<_>>().join("; ")
    }

    /// Says how it is removed, when it is one that a run has left which was killed.
    fn warn_if_left(&self, mounts: &[Mount], source: &Volume) {
        if let Some(process) = left::ended(&self.name).filter(|_| self.is_snapshot_of(source)) {
            output::warning(&format!(
                "warning: a run that was killed (process {process}) has left a snapshot of {}: it takes room, and writing to the \
                 volume is slower while it is there",
                source.shown()
            ));
            output::warning(&format!("  to remove it: {}", self.by_hand(mounts, &source.group)));
        }
    }
}

/// A snapshot that is mounted. Dropped, it is removed.
pub struct Snapshot {
    /// The snapshot itself.
    volume: Volume,
    /// Of which device, and as which one it is mounted.
    origin: u64,
    device: u64,
    folder: PathBuf,
    is_mounted: bool,
    /// Whether the folder was made for it.
    is_folder_ours: bool,
    /// Whether there is none, any more or yet.
    is_gone: bool,
    paths: Vec<PathBuf>,
}

/// A name that nothing else has, and that says whose the snapshot is.
///
/// # Errors
/// When the system has no random bytes, or does not say when this process began.
pub fn new_name() -> Result<String> {
    left::name(&random()?)
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|e| Error::io("cannot get", "random bytes", e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Wanted {
    /// Looks whether the words mean something to LVM.
    ///
    /// # Errors
    /// `Invalid` when they do not.
    pub fn check(&self) -> Result<()> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() < 128
                && !name.starts_with('-')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte))
        };
        if !is_name(&self.name) {
            return Err(Error::invalid("not a name for a snapshot:", &self.name));
        }
        if let Some(group) = self.group.as_ref().filter(|group| !is_name(group)) {
            return Err(Error::invalid("not the name of a volume group:", group));
        }
        let is_size = self.size.starts_with(|first: char| first.is_ascii_digit())
            && self.size.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".%".contains(&byte));
        if !is_size {
            return Err(Error::invalid("not a size for a snapshot:", &self.size).hint("as 1G, or 80%FREE"));
        }
        Ok(())
    }

    /// Takes a snapshot, and mounts it.
    ///
    /// # Errors
    /// When the paths are not all on one logical volume, or the programs fail; then what there was of it is removed.
    pub fn take(&self, context: &Context<'_>, paths: &[PathBuf], one_file_system: bool) -> Result<Snapshot> {
        let mounts = mounts::all()?;
        let found = Found::look(&mounts, paths)?;
        let Found { mount, inside } = &found;
        let source = volume_of(mount)?;
        self.check_named(mount, &source)?;
        if ONLY_ONCE.contains(&mount.kind.as_str()) {
            return Err(cannot("no second copy of such a file system can be mounted:", &mount.kind));
        }
        if !one_file_system {
            refuse_others(&mounts, paths)?;
        }
        let volumes = volumes(&source.group)?;
        volumes.iter().for_each(|volume| volume.warn_if_left(&mounts, &source));
        let mut snapshot = self.prepare(mount, &source)?;
        if let Some(there) = volumes.iter().find(|volume| volume.name == self.name) {
            let error = Error::new(Kind::AlreadyExists, "there is a volume of this name already:")
                .on(snapshot.shown());
            return Err(match there.is_snapshot_of(&source) {
                true => error.hint(format!(
                    "it is a snapshot of {}; if no run uses it: {}",
                    source.shown(),
                    there.by_hand(&mounts, &source.group)
                )),
                false => error,
            });
        }
        let mut arguments: Vec<OsString> =
            ["--snapshot", "--yes", "--permission", if self.is_writable { "rw" } else { "r" }]
                .map(OsString::from)
                .into();
        let size = if self.size.contains('%') { "--extents" } else { "--size" };
        arguments.extend([size, &self.size, "--name", &self.name].map(OsString::from));
        arguments.push(source.shown().into());
        snapshot.is_gone = false;
        if let Err(error) = command::run("lvcreate", LVM, &arguments) {
            // When it was only too slow, it may have made one.
            snapshot.is_gone = !snapshot.is_there();
            return Err(match error.kind() {
                Kind::NoSpace => {
                    error.hint("make room in the volume group, or ask for less with --lvm-snapsize")
                }
                _ => error,
            });
        }
        stop(context)?;
        self.mount(mount, &mut snapshot)?;
        stop(context)?;
        for (inside, path) in inside.iter().zip(paths) {
            let read = match inside.as_os_str().is_empty() {
                true => snapshot.folder.clone(),
                false => snapshot.folder.join(inside),
            };
            fs::symlink_metadata(&read).map_err(|e| {
                Error::io("not in the snapshot of the volume:", path.display().to_string(), e)
            })?;
            snapshot.paths.push(read);
        }
        Ok(snapshot)
    }

    /// What was named has to be what the paths are on.
    fn check_named(&self, mount: &Mount, found: &Volume) -> Result<()> {
        let is_on = found.shown();
        if let Some(group) = self.group.as_ref().filter(|group| **group != found.group) {
            return Err(Error::invalid(format!("what is backed up is on {is_on}, not in the group"), group));
        }
        let Some(named) = &self.volume else { return Ok(()) };
        let shown = named.display().to_string();
        let device =
            fs::metadata(named).map_err(|e| Error::io("cannot look at the volume", &shown, e))?.rdev();
        match device == makedev(mount.device.0, mount.device.1) {
            true => Ok(()),
            false => Err(Error::invalid(format!("what is backed up is on {is_on}, not on"), shown)),
        }
    }

    /// The folder that it will be mounted in; nothing else is there of it yet.
    fn prepare(&self, mount: &Mount, source: &Volume) -> Result<Snapshot> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => Path::new(FOLDER).join(format!("mount_{}", random()?)),
        };
        let shown = folder.display().to_string();
        let failed = |e| Error::io("cannot make the folder for the snapshot,", &shown, e);
        let is_folder_ours = !folder.exists();
        if is_folder_ours {
            // What is mounted there must not be found by everybody.
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        }
        if fs::read_dir(&folder).map_err(failed)?.next().is_some() {
            return Err(Error::invalid("the folder for the snapshot is not empty:", shown));
        }
        Ok(Snapshot {
            volume: Volume { group: source.group.clone(), name: self.name.clone() },
            origin: makedev(mount.device.0, mount.device.1),
            device: 0,
            folder,
            is_mounted: false,
            is_folder_ours,
            is_gone: true,
            paths: Vec::new(),
        })
    }

    fn mount(&self, origin: &Mount, snapshot: &mut Snapshot) -> Result<()> {
        let device = Path::new("/dev").join(&snapshot.volume.group).join(&snapshot.volume.name);
        let options = options(&origin.kind, self.is_writable);
        let mut arguments: Vec<OsString> =
            ["-t", &origin.kind, "-o", &options, "--"].map(OsString::from).into();
        arguments.extend([device.into_os_string(), snapshot.folder.clone().into()]);
        command::run("mount", MOUNT, &arguments).map_err(|error| match self.is_writable {
            true => error,
            false => error.hint("if its journal is not finished, --lvm-snap-perm rw lets it be"),
        })?;
        snapshot.is_mounted = true;
        let shown = snapshot.folder.display().to_string();
        let metadata = fs::metadata(&snapshot.folder).map_err(|e| Error::io("cannot look at", &shown, e))?;
        snapshot.device = metadata.dev();
        if snapshot.device == snapshot.origin {
            return Err(Error::new(Kind::Io, "what was mounted is not the snapshot, but the volume itself:")
                .on(shown));
        }
        Ok(())
    }
}

/// How it is mounted: never with what runs or gives rights.
fn options(kind: &str, is_writable: bool) -> String {
    let mut options = vec![if is_writable { "rw" } else { "ro" }, "nodev", "nosuid"];
    if kind == "xfs" {
        // It has the identity of the original, which is mounted as well.
        options.push("nouuid");
        if !is_writable {
            // The file system was stopped for the snapshot: its log has nothing that is not in its place.
            options.push("norecovery");
        }
    }
    options.join(",")
}

fn stop(context: &Context<'_>) -> Result<()> {
    if context.stop.load(Ordering::Relaxed) { Err(Error::interrupted()) } else { Ok(()) }
}

/// The mount that all paths are on, and what each is in its file system.
struct Found<'m> {
    mount: &'m Mount,
    inside: Vec<PathBuf>,
}

impl Found<'_> {
    fn look<'m>(mounts: &'m [Mount], paths: &[PathBuf]) -> Result<Found<'m>> {
        let mut found: Option<Found<'m>> = None;
        for path in paths {
            let shown = || path.display().to_string();
            let real = fs::canonicalize(path).map_err(|e| Error::io("cannot look at", shown(), e))?;
            let mount = mounts::of(mounts, &real)?;
            let inside =
                inside(mount, &real).ok_or_else(|| cannot("not below what it is mounted on:", shown()))?;
            match &mut found {
                None => found = Some(Found { mount, inside: vec![inside] }),
                Some(found) if found.mount.device == mount.device => found.inside.push(inside),
                Some(_) => {
                    return Err(Error::invalid("not on the same volume as the other paths:", shown())
                        .hint("make a backup of each volume"));
                }
            }
        }
        found.ok_or_else(|| Error::invalid("nothing says what to back up", ""))
    }
}

/// What a path is in its file system, of which a mount may show only a folder.
fn inside(mount: &Mount, path: &Path) -> Option<PathBuf> {
    let root = mount.root.strip_prefix("/").ok()?;
    let below = path.strip_prefix(&mount.point).ok()?;
    Some(root.join(below).components().collect())
}

/// What is mounted below the paths is not in a snapshot of the volume that they are on.
fn refuse_others(mounts: &[Mount], paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let real =
            fs::canonicalize(path).map_err(|e| Error::io("cannot look at", path.display().to_string(), e))?;
        if let Some(other) = mounts.iter().find(|mount| mount.point.starts_with(&real) && mount.point != real)
        {
            return Err(Error::invalid(
                "another file system is mounted below, and would be missing:",
                other.point.display().to_string(),
            )
            .hint("--one-file-system leaves it out; back it up by itself"));
        }
    }
    Ok(())
}

/// The logical volume that is mounted.
fn volume_of(mount: &Mount) -> Result<Volume> {
    let (major, minor) = mount.device;
    let told = |what: &str| fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/dm/{what}")).ok();
    let is_other = told("uuid").is_some_and(|uuid| !uuid.starts_with("LVM-"));
    let name = told("name").map(|name| name.trim_end().to_owned()).or_else(|| mapped(&mount.source));
    let volume = name.filter(|_| !is_other).and_then(|name| split(&name));
    volume.ok_or_else(|| {
        let source = mount.source.display();
        cannot("not on a logical volume:", format!("{} ({source}, {})", mount.point.display(), mount.kind))
    })
}

/// The name of a device of the device mapper.
fn mapped(source: &OsStr) -> Option<String> {
    let name = source.as_bytes().strip_prefix(b"/dev/mapper/")?;
    String::from_utf8(name.to_vec()).ok()
}

/// Group and volume of `GROUP-VOLUME`, where a dash in either is written twice.
fn split(name: &str) -> Option<Volume> {
    let dashes: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
    let mut position = 0;
    while position < dashes.len() {
        let at = dashes[position];
        if dashes.get(position + 1) == Some(&(at + 1)) {
            position += 2;
            continue;
        }
        let (group, volume) = (name[..at].replace("--", "-"), name[at + 1..].replace("--", "-"));
        return (!group.is_empty() && !volume.is_empty()).then_some(Volume { group, name: volume });
    }
    None
}

impl Snapshot {
    /// Where the paths are to be read from.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The device that stands for another one, of which this is a snapshot.
    pub fn device_for(&self, device: u64) -> Option<u64> {
        (device == self.origin).then_some(self.device)
    }

    /// Whether it holds still what the volume held.
    ///
    /// # Errors
    /// When it ran out of room, or nobody can tell.
    pub fn confirm(&self) -> Result<()> {
        let said = self
            .lvs()
            .map_err(|error| error.while_doing("cannot tell whether the snapshot is whole,", self.shown()))?;
        match usable(&said) {
            Some(true) => {}
            Some(false) => {
                return Err(Error::new(
                    Kind::NoSpace,
                    "the snapshot of the volume ran out of room while it was read:",
                )
                .on(self.shown())
                .hint("nothing was kept; give it more with --lvm-snapsize"));
            }
            None => return Err(Error::damaged("not understood of what lvs says:", said.trim())),
        }
        let shown = self.folder.display().to_string();
        let found = fs::metadata(&self.folder).map_err(|e| Error::io("cannot look at", &shown, e))?;
        match found.dev() == self.device {
            true => Ok(()),
            false => Err(Error::new(Kind::Changed, "the snapshot of the volume is not mounted any more on")
                .on(shown)
                .hint("nothing was kept")),
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed, with the commands that do.
    pub fn remove(mut self) -> Result<()> {
        self.undo()
    }

    fn shown(&self) -> String {
        self.volume.shown()
    }

    fn lvs(&self) -> Result<String> {
        let words = ["--noheadings", "--separator", ",", "--options", "lv_attr,snap_percent"];
        let mut arguments: Vec<OsString> = words.map(OsString::from).into();
        arguments.push(self.shown().into());
        command::run("lvs", LVM, &arguments)
    }

    fn is_there(&self) -> bool {
        self.lvs().is_ok()
    }

    fn undo(&mut self) -> Result<()> {
        let (shown, unmount) = (self.shown(), [OsString::from(&self.folder)]);
        let by_hand = command::shown("lvremove", &["--force".into(), shown.clone().into()]);
        let left = "the snapshot of the volume is still there:";
        // LVM itself takes an invalid one away from where it is mounted.
        if std::mem::take(&mut self.is_mounted)
            && let Err(error) = several_times(|| command::run("umount", MOUNT, &unmount))
            && is_mount_point(&self.folder)
        {
            self.is_gone = true;
            let by_hand = format!("{}; {by_hand}", command::shown("umount", &unmount));
            return Err(error
                .while_doing(left, shown)
                .hint(format!("when nobody uses it any more: {by_hand}")));
        }
        if std::mem::take(&mut self.is_folder_ours) {
            // An empty folder harms nobody.
            fs::remove_dir(&self.folder).unwrap_or(());
        }
        // It was tried, and is said once.
        if std::mem::replace(&mut self.is_gone, true) {
            return Ok(());
        }
        let remove = ["--force".into(), "--yes".into(), OsString::from(&shown)];
        let removed = several_times(|| command::run("lvremove", LVM, &remove));
        removed.map(drop).map_err(|error| error.while_doing(left, shown).hint(by_hand))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            output::besides(&error);
        }
    }
}

/// Whether anything is mounted there; when nobody can tell, it is.
fn is_mount_point(folder: &Path) -> bool {
    mounts::all().map_or(true, |mounts| mounts.iter().any(|mount| mount.point == folder))
}

/// What fails while somebody else looks at it goes well a little later.
fn several_times(mut work: impl FnMut() -> Result<String>) -> Result<String> {
    let mut outcome = work();
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        outcome = work();
    }
    outcome
}

/// Whether a snapshot has room left, of what `lvs` says: its attributes, and how much of it is used.
fn usable(said: &str) -> Option<bool> {
    let (attributes, used) = said.trim().split_once(',')?;
    let state = attributes.chars().nth(4)?;
    // Invalid, suspended and invalid, failed to merge, unknown.
    if "ISmMX".contains(state) {
        return Some(false);
    }
    used.trim().parse::<f64>().ok().map(|used| used < 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_in_names_are_told_from_the_one_between_them() {
        for (name, expected) in [
            ("vg-lv", Some(("vg", "lv"))),
            ("debian--vg-root", Some(("debian-vg", "root"))),
            ("a-b--c", Some(("a", "b-c"))),
            ("a----b-c--d--e", Some(("a--b", "c-d-e"))),
            ("a---b", Some(("a-", "b"))),
            ("vg", None),
            ("a--b", None),
            ("-lv", None),
            ("vg-", None),
            ("", None),
        ] {
            let expected =
                expected.map(|(group, name)| Volume { group: group.to_owned(), name: name.to_owned() });
            assert_eq!(split(name), expected, "{name}");
        }
    }

    #[test]
    fn a_snapshot_that_ran_over_is_told_from_a_good_one() {
        for (said, expected) in [
            ("  sri-aos---,0.05\n", Some(true)),
            ("  swi-aos---,99.98\n", Some(true)),
            ("  sri-I-s---,100.00\n", Some(false)),
            ("  sri-aos---,100.00\n", Some(false)),
            ("  Swi-S-s---,\n", Some(false)),
            ("  sri-aos---,\n", None),
            ("", None),
        ] {
            assert_eq!(usable(said), expected, "{said}");
        }
    }

    #[test]
    fn snapshots_are_told_from_other_volumes() {
        let source = Volume { group: "v-g".to_owned(), name: "data".to_owned() };
        let of = |line: &str| row(line).map(|row| (row.is_snapshot_of(&source), row.by_hand(&[], "v-g")));
        assert_eq!(of("snap,data"), Some((true, "lvremove --force v-g/snap".to_owned())));
        assert_eq!(of("snap,").map(|row| row.0), Some(false));
        assert_eq!(of("snap,data2").map(|row| row.0), Some(false));
        assert_eq!((of(""), of(","), of("snap")), (None, None, None));
        let point = Path::new("/mnt/a b");
        let mount = Mount {
            id: 1,
            device: (0, 0),
            root: "/".into(),
            point: point.into(),
            kind: "ext4".to_owned(),
            source: "/dev/mapper/v--g-snap".into(),
        };
        let mounted = row("snap,data").unwrap().by_hand(&[mount], "v-g");
        assert_eq!(mounted, "umount '/mnt/a b'; lvremove --force v-g/snap");
    }

    #[test]
    fn a_path_is_the_same_in_its_file_system_wherever_that_is_mounted() {
        let mount = |root: &str, point: &str| Mount {
            id: 1,
            device: (254, 1),
            root: root.into(),
            point: point.into(),
            kind: "ext4".to_owned(),
            source: "/dev/mapper/vg-lv".into(),
        };
        for (root, point, path, expected) in [
            ("/", "/", "/srv/x", Some("srv/x")),
            ("/", "/srv", "/srv", Some("")),
            ("/", "/srv", "/srv/a b", Some("a b")),
            ("/inner/most", "/mnt", "/mnt/x", Some("inner/most/x")),
            ("/", "/srv", "/other", None),
        ] {
            assert_eq!(inside(&mount(root, point), Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
        let error = volume_of(&Mount { source: "/dev/sda1".into(), device: (0, 0), ..mount("/", "/srv") })
            .unwrap_err();
        assert!(error.to_string().contains("/srv (/dev/sda1, ext4)"), "{error}");
        let found = volume_of(&Mount { device: (0, 0), ..mount("/", "/srv") }).unwrap();
        assert_eq!((found.group.as_str(), found.name.as_str()), ("vg", "lv"));
    }

    #[test]
    fn xfs_is_mounted_beside_itself() {
        assert_eq!(options("ext4", false), "ro,nodev,nosuid");
        assert_eq!(options("xfs", false), "ro,nodev,nosuid,nouuid,norecovery");
        assert_eq!(options("xfs", true), "rw,nodev,nosuid,nouuid");
    }

    #[test]
    fn words_that_lvm_would_take_for_something_else_are_refused() {
        let wanted = |name: &str, size: &str| Wanted {
            volume: None,
            group: None,
            name: name.to_owned(),
            size: size.to_owned(),
            is_writable: false,
            folder: None,
        };
        for (name, size, is_right) in [
            ("a", "1G", true),
            ("a.b+c_d-e", "80%FREE", true),
            ("a", "1.5g", true),
            ("-a", "1G", false),
            ("a b", "1G", false),
            ("a/b", "1G", false),
            ("", "1G", false),
            ("a", "-1G", false),
            ("a", "", false),
            ("a", "1G;", false),
        ] {
            assert_eq!(wanted(name, size).check().is_ok(), is_right, "{name} {size}");
        }
        assert!(new_name().is_ok_and(|name| wanted(&name, "1G").check().is_ok()));
    }
}
