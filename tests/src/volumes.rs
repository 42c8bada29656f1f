//! Snapshots of logical volumes, where the kernel can make any: `testkit/servers/vm` runs these in a machine of their own, on its
//! disk, which `ICECORE_TEST_DISK` names. All that is on it is lost.

use crate::place::{Place, entries, id};
use crate::program::Outcome;
use crate::running::Running;
use icecore_testkit::servers::mariadb::{Mariadb, PASSWORD, USER};
use icecore_testkit::servers::program;
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const GROUP: &str = "icecore-test";

/// A volume group on the disk, with one volume that is mounted.
struct Disk {
    place: Place,
    mounted: PathBuf,
}

#[track_caller]
fn system(line: &[&str]) -> String {
    let path = program(line[0]).unwrap_or_else(|missing| panic!("{}", missing.0));
    let output = Command::new(path).args(&line[1..]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{line:?}: {said:?}");
    said[0].clone()
}

impl Disk {
    fn new(kind: &str, name: &str) -> Disk {
        let disk = std::env::var("ICECORE_TEST_DISK").expect("it names a disk that can be overwritten");
        let mut place = Place::new();
        place.engine = "tar";
        let mounted = place.path().join(name);
        fs::create_dir(&mounted).unwrap();
        system(&["vgcreate", "--yes", GROUP, &disk]);
        system(&["lvcreate", "--yes", "--size", "400M", "--name", "data-1", GROUP]);
        let device = format!("/dev/{GROUP}/data-1");
        system(&[&format!("mkfs.{kind}"), &device]);
        system(&["mount", &device, mounted.to_str().unwrap()]);
        let disk = Disk { place, mounted };
        disk.write("big", &vec![7; 3 << 20]);
        for number in 0..50 {
            disk.write(&format!("files/{number}"), b"old");
        }
        disk
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.mounted.join("source").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        self.place.settle();
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("snapshot")
    }

    fn words(&self, more: &[&str]) -> Vec<String> {
        let folder = self.folder();
        let mut words: Vec<String> = self
            .place
            .arguments(
                "backup",
                &["--engine", self.place.engine, "--init", "--no-encryption", "--snapshot", "lvm"],
            )
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        words.extend(["--lvm-dirmount".to_owned(), folder.display().to_string()]);
        words.extend(more.iter().map(|word| (*word).to_owned()));
        if !more.contains(&"--lvm-snapsize") {
            words.extend(["--lvm-snapsize", "100M"].map(str::to_owned));
        }
        words.push(self.mounted.join("source").display().to_string());
        words
    }

    fn backup(&self, more: &[&str]) -> Outcome {
        self.place.program.run(&self.words(more))
    }

    /// A backup that is held while it reads from the snapshot.
    fn held(&self, more: &[&str]) -> Running {
        let mut running = Running::start(self.place.program.command(&self.words(more)));
        assert!(running.hold_when_open(&self.folder().join("source")), "{:?}", running.wait());
        running
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(volumes(), ["data-1"]);
        assert!(!self.folder().exists());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("/snapshot "), "{mounts}");
    }

    #[track_caller]
    fn restored(&self, name: &str, backup: &str, file: &str) -> Vec<u8> {
        self.place.restore(name, &[backup]).expect(0);
        fs::read(self.place.target(name).join(file)).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in [self.folder(), self.mounted.clone()] {
            Command::new("umount").arg(path).output().map(drop).unwrap_or(());
        }
        Command::new("/sbin/vgremove").args(["--force", "--yes", GROUP]).output().map(drop).unwrap_or(());
        // Nobody else removes names that were left there.
        fs::remove_dir_all(Path::new("/dev").join(GROUP)).unwrap_or(());
    }
}

fn volumes() -> Vec<String> {
    system(&["lvs", "--noheadings", "--options", "lv_name", GROUP])
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn what_is_read_is_what_the_volume_held_when_the_snapshot_was_taken() {
    for (kind, more) in [
        ("ext4", &[][..]),
        ("ext4", &["--lvm-snap-perm", "rw"]),
        ("xfs", &[]),
        ("xfs", &["--lvm-snap-perm", "rw"]),
    ] {
        let disk = Disk::new(kind, "a volume");
        let running = disk.held(&[&["--incremental"], more].concat());
        for number in 0..50 {
            disk.write(&format!("files/{number}"), b"new");
        }
        assert_eq!(volumes().len(), 2);
        running.resume();
        let full = running.wait().expect(0).summary();
        disk.nothing_is_left();
        for number in 0..50 {
            let name = format!("full_{number}");
            if number % 49 == 0 {
                assert_eq!(disk.restored(&name, &id(&full), &format!("files/{number}")), b"old", "{kind}");
            }
        }
        // The next level has what was changed meanwhile, and no more, from a snapshot and without one.
        let second = disk.backup(&[&["--incremental"], more].concat()).expect(0).summary();
        assert_eq!((&second["level"], &second["files"]), (&1.into(), &50.into()), "{kind}");
        assert_eq!(disk.restored("second", &id(&second), "files/7"), b"new");
        disk.nothing_is_left();
        let words = disk.place.arguments("backup", &["--engine", "tar", "--no-encryption", "--incremental"]);
        let source = disk.mounted.join("source");
        let third =
            disk.place.program.run(&[words, vec![source.clone().into()]].concat()).expect(0).summary();
        assert_eq!((&third["level"], &third["files"]), (&2.into(), &0.into()), "{kind}");
        let listed = disk.place.list();
        assert!(
            listed.iter().all(|backup| backup["paths"] == serde_json::json!([source.to_str().unwrap()])),
            "{listed:?}"
        );
    }
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn snapshots_are_removed_however_it_ends() {
    let mut disk = Disk::new("ext4", "a volume");
    for engine in ["tar", "dedup"] {
        disk.place.engine = engine;
        // The wish to stop.
        let running = disk.held(&[]);
        running.signal(Signal::INT);
        running.resume();
        running.wait().expect(130);
        disk.nothing_is_left();
        // More changes than it has room for.
        let running = disk.held(&["--lvm-snapsize", "4M"]);
        disk.write("much", &vec![1; 40 << 20]);
        running.resume();
        let over = running.wait().expect(1).explained();
        assert!(over.names("ran out of room"), "{over:?}");
        disk.nothing_is_left();
        fs::remove_file(disk.mounted.join("source/much")).unwrap();
        // No room for it at all.
        system(&["lvcreate", "--yes", "--extents", "100%FREE", "--name", "rest", GROUP]);
        let none = disk.backup(&[]).expect(1).explained();
        assert!(none.names("--lvm-snapsize"), "{none:?}");
        system(&["lvremove", "--force", "--yes", &format!("{GROUP}/rest")]);
        disk.nothing_is_left();
    }
    assert!(disk.place.list().is_empty());
    // Somebody looks at it.
    disk.place.engine = "tar";
    let running = disk.held(&[]);
    let other = File::open(disk.folder().join("source/big")).unwrap();
    running.resume();
    let left = running.wait().expect(1).explained();
    let snapshot = volumes().into_iter().find(|name| name.starts_with("icecore_")).unwrap();
    for word in [
        "the backup is made, but",
        &format!("umount {}", disk.folder().display()),
        &format!("lvremove --force {GROUP}/{snapshot}"),
    ] {
        assert!(format!("{left:?}").contains(word), "{word}: {left:?}");
    }
    drop(other);
    assert_eq!(disk.place.list().len(), 1);
    system(&["umount", disk.folder().to_str().unwrap()]);
    system(&["lvremove", "--force", &format!("{GROUP}/{snapshot}")]);
    fs::remove_dir(disk.folder()).unwrap();
    disk.nothing_is_left();
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn a_snapshot_that_a_killed_run_left_is_named_by_the_next() {
    let disk = Disk::new("ext4", "a volume");
    let mut running = disk.held(&[]);
    // One that is in use is no matter; its folder is.
    let second = disk.backup(&[]).expect(2);
    assert!(second.stderr.contains("not empty") && !second.stderr.contains("lvremove"), "{second:?}");
    running.signal(Signal::KILL);
    while !running.has_ended() {
        std::thread::yield_now();
    }
    let snapshot = volumes().into_iter().find(|name| name.starts_with("icecore_")).unwrap();
    let said = disk.backup(&[]).expect(2).stderr;
    let (unmount, remove) =
        (format!("umount {}", disk.folder().display()), format!("lvremove --force {GROUP}/{snapshot}"));
    assert!(said.contains(&format!("{unmount}; {remove}")), "{said}");
    // It is a warning, and no more.
    system(&["umount", disk.folder().to_str().unwrap()]);
    let said = disk.backup(&[]).expect(0).stderr;
    assert!(said.contains(&remove) && !said.contains("umount"), "{said}");
    assert_eq!(volumes().len(), 2);
    // A name that the user gives is his.
    let named = disk.backup(&["--lvm-snapname", &snapshot]).expect(1).stderr;
    assert!(named.contains("already") && named.matches(&remove).count() == 2, "{named}");
    system(&["lvremove", "--force", &format!("{GROUP}/{snapshot}")]);
    fs::remove_dir(disk.folder()).unwrap();
    let said = disk.backup(&[]).expect(0).stderr;
    assert!(!said.contains("lvremove"), "{said}");
    disk.nothing_is_left();
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn what_a_snapshot_would_not_hold_is_refused() {
    let disk = Disk::new("ext4", "a volume");
    let refused = |more: &[&str], status: i32, word: &str| {
        let outcome = disk.backup(more).expect(status);
        assert!(format!("{outcome:?}").contains(word), "{word}: {outcome:?}");
        assert_eq!(volumes(), ["data-1"]);
    };
    refused(&["--lvm-volgroup", "other"], 2, "icecore-test/data-1");
    refused(&["--lvm-srcvol", "/dev/vda"], 2, "icecore-test/data-1");
    refused(&["--lvm-snapname", "data-1"], 1, "already");
    // A file system below, and what is mounted where the snapshot is to be.
    let below = disk.mounted.join("source/below");
    fs::create_dir(&below).unwrap();
    system(&["mount", "-t", "tmpfs", "tmp", below.to_str().unwrap()]);
    refused(&[], 2, "source/below");
    disk.backup(&[
        "--one-file-system",
        "--lvm-srcvol",
        &format!("/dev/{GROUP}/data-1"),
        "--lvm-volgroup",
        GROUP,
    ])
    .expect(0);
    system(&["umount", below.to_str().unwrap()]);
    fs::create_dir(disk.folder()).unwrap();
    fs::write(disk.folder().join("x"), "").unwrap();
    refused(&[], 2, "not empty");
    fs::remove_dir_all(disk.folder()).unwrap();
    // A folder of the volume, by another way; and a repository within the source.
    let bound = disk.place.path().join("bound");
    fs::create_dir(&bound).unwrap();
    system(&["mount", "--bind", disk.mounted.join("source").to_str().unwrap(), bound.to_str().unwrap()]);
    let repository = bound.join("repository");
    let words = [
        "backup",
        "-r",
        repository.to_str().unwrap(),
        "--init",
        "--no-encryption",
        "--snapshot",
        "lvm",
        "--lvm-snapsize",
        "50M",
        "--json",
    ];
    for _ in 0..2 {
        let done =
            disk.place.program.run(&[&words[..], &[bound.to_str().unwrap()]].concat()).expect(0).summary();
        assert_eq!(done["files"], 51, "{done}");
    }
    system(&["umount", bound.to_str().unwrap()]);
    disk.nothing_is_left();
    assert!(entries(Path::new("/var/lib/icecore")).is_empty());
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn freezers_agent_takes_them_as_its_options_say() {
    let disk = Disk::new("ext4", "a volume");
    let (repository, source, folder) = (disk.place.repository(), disk.mounted.join("source"), disk.folder());
    let words = |more: &[&str]| {
        let words = [
            "agent",
            "--storage",
            "local",
            "--container",
            repository.to_str().unwrap(),
            "--hostname",
            "h",
            "--backup-name",
            "n",
        ];
        disk.place.program.run(&[&words[..], more].concat())
    };
    // Of what a file says one percent sign is enough.
    let job = disk.place.path().join("job");
    let text = format!(
        "[job]\npath_to_backup = {}\nsnapshot = True\nlvm_snapsize = 20%FREE\nlvm_snapname = freezer-snap\nlvm_snap_perm = rw\n\
         lvm_srcvol = /dev/{GROUP}/data-1\nlvm_volgroup = {GROUP}\n",
        source.display()
    );
    fs::write(&job, text).unwrap();
    let job = job.to_str().unwrap();
    for (option, word) in
        [("--lvm-volgroup", "other"), ("--lvm-srcvol", "/dev/vda"), ("--lvm-snapname", "data-1")]
    {
        let said = words(&["--config", job, option, word]).expect(1).stderr;
        assert!(said.contains("data-1"), "{option}: {said}");
    }
    let done = words(&[
        "--config",
        job,
        "--lvm-dirmount",
        folder.to_str().unwrap(),
        "--consistency-check",
        "--metadata-out",
        "-",
    ]);
    let said: Value = serde_json::from_str(&done.expect(0).stdout).unwrap();
    let inside = folder.join("source");
    assert_eq!(
        (&said["vol_snap_path"], &said["fs_real_path"]),
        (&inside.to_str().unwrap().into(), &source.to_str().unwrap().into())
    );
    disk.nothing_is_left();
    let target = disk.place.target("back");
    let checksum = said["icecore_checksum"].as_str().unwrap();
    words(&[
        "--action",
        "restore",
        "--restore-abs-path",
        target.to_str().unwrap(),
        "--consistency-checksum",
        checksum,
    ])
    .expect(0);
    assert_eq!(fs::read(target.join("files/3")).unwrap(), b"old");
}

#[test]
#[ignore = "needs a kernel with the device mapper: testkit/servers/vm"]
fn a_lock_is_held_until_the_snapshot_is_mounted_and_no_longer() {
    let disk = Disk::new("ext4", "volume");
    let folder = disk.mounted.join("source");
    let mariadb = Mariadb::start(&folder).unwrap_or_else(|missing| panic!("{}", missing.0));
    mariadb.query(
        "CREATE DATABASE app; CREATE TABLE app.a (n INT PRIMARY KEY); INSERT INTO app.a VALUES (1), (2)",
    );
    let conf = disk.place.path().join("db.conf");
    let text = format!(
        "[default]\nhost = 127.0.0.1\nport = {}\nuser = {USER}\npassword = {}\n",
        mariadb.port(),
        PASSWORD.replace('%', "%%")
    );
    fs::write(&conf, text).unwrap();
    let running = disk.held(&["--mode", "mysql", "--mysql-conf", conf.to_str().unwrap()]);
    mariadb.query("INSERT INTO app.a VALUES (3)");
    running.resume();
    let done = running.wait().expect(0).summary();
    disk.nothing_is_left();
    disk.place.restore("second", &[&id(&done)]).expect(0);
    let second =
        Mariadb::start_on(&disk.place.target("second")).unwrap_or_else(|missing| panic!("{}", missing.0));
    assert_eq!(second.query("SELECT COUNT(*) FROM app.a"), "2\n");
}
