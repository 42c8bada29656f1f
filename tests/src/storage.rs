//! Every storage and every decorator does what the contract says.

use crate::program::not_run;
use icecore::Kind;
use icecore::name::ObjectName;
use icecore::storage::local::Local;
use icecore::storage::memory::Memory;
use icecore::storage::retry::{Patience, Policy, Retry};
use icecore::storage::throttle::{Clock, Rates, Schedule, Throttle};
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore_testkit::conformance;
use icecore_testkit::fault::{Fault, Moment, Plan};
use std::cell::Cell;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Makes storages in new folders below `folder`.
fn locals(folder: &Path, adapt: fn(Local) -> Local) -> impl Fn() -> Arc<dyn Storage> {
    let next = Cell::new(0);
    move || {
        let path = folder.join(next.replace(next.get() + 1).to_string());
        Arc::new(adapt(Local::create(path).unwrap()))
    }
}

#[test]
fn local_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(&locals(folder.path(), |local| local));
}

#[test]
fn local_with_named_temporaries_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(&locals(folder.path(), Local::with_named_temporaries));
}

#[test]
fn memory_conforms() {
    conformance::run(&|| Arc::new(Memory::new()));
}

fn retrying(inner: Arc<dyn Storage>) -> Retry {
    Retry::new(inner, Patience::new(Policy::default(), Arc::new(|_| Ok(()))))
}

#[test]
fn retry_conforms() {
    conformance::run(&|| Arc::new(retrying(Arc::new(Memory::new()))));
}

/// A clock that moves only when somebody sleeps.
#[derive(Default)]
struct Sleepless(Mutex<Duration>);

impl Clock for Sleepless {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn time_of_day(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, wait: Duration) {
        *self.0.lock().unwrap() += wait;
    }
}

#[test]
fn throttle_conforms() {
    let constant = Schedule::constant(NonZeroU64::new(100_003));
    let rates = Rates { up: constant, down: "off,00:00-24:00=100003B/s".parse().unwrap() };
    conformance::run(&|| {
        Arc::new(Throttle::new(Arc::new(Memory::new()), rates.clone(), Arc::new(Sleepless::default())))
    });
}

#[test]
fn fault_without_faults_conforms() {
    conformance::run(&|| Arc::new(Fault::none(Arc::new(Memory::new()))));
}

/// One failure that passes, at each call and each moment of it, is not noticed behind a retrying storage.
#[test]
fn retry_hides_every_single_failure() {
    let (a, b) = (ObjectName::new("folder/a").unwrap(), ObjectName::new("folder/b").unwrap());
    let story = |storage: &dyn Storage| -> icecore::Result<Vec<Listed>> {
        storage.put(&a, b"first", PutMode::CreateNew)?;
        storage.put(&b, b"second", PutMode::CreateNew)?;
        storage.put(&a, b"third", PutMode::Replace)?;
        assert_eq!(storage.read(&a, 1, 3)?, b"hir");
        assert_eq!(storage.stat(&b)?.size_bytes, 6);
        storage.delete(&b)?;
        let mut rows = Vec::new();
        storage.list(None, Depth::All, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    };
    let expected = vec![Listed::Object { name: a.clone(), size_bytes: 5 }];
    for nth in 1..=7 {
        for moment in Moment::ALL {
            let fault = Arc::new(Fault::new(Arc::new(Memory::new()), Plan::once(nth, moment).passing()));
            let rows =
                story(&retrying(fault.clone())).unwrap_or_else(|e| panic!("call {nth}, {moment:?}: {e:?}"));
            assert_eq!(rows, expected, "call {nth}, {moment:?}");
            assert!(fault.struck());
        }
    }
}

/// A small file system in memory, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "icecore-test"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // By the handle of nobody: storages on it are dropped before it.
        let unmounted = Command::new("umount").arg(&self.0).output();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|output| output.status.success()));
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else {
        return not_run("mounting a small disk needs root");
    };
    for adapt in [|local| local, Local::with_named_temporaries] {
        let local = adapt(Local::open(&disk.0).unwrap());
        let (small, large) =
            (ObjectName::new("folder/small").unwrap(), ObjectName::new("folder/large").unwrap());
        local.put(&small, b"fits", PutMode::Replace).unwrap();
        let error = local.put(&large, &vec![7; 2 << 20], PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace, "{error:?}");
        let mut writer = local.writer(&small, PutMode::Replace).unwrap();
        let written = (0..32).try_for_each(|_| writer.write(&vec![7; 64 << 10]));
        assert_eq!(written.unwrap_err().kind(), Kind::NoSpace);
        drop(writer);

        let mut rows = Vec::new();
        local
            .list(None, Depth::All, &mut |row| {
                rows.push(row);
                Ok(())
            })
            .unwrap();
        assert_eq!(rows, [Listed::Object { name: small.clone(), size_bytes: 4 }]);
        assert_eq!(local.read(&small, 0, 9).unwrap(), b"fits");
        // What failed gave its room back.
        local.put(&large, &vec![7; 700 << 10], PutMode::CreateNew).unwrap();
        local.delete(&large).unwrap();
    }
}

#[test]
#[allow(clippy::print_stderr)] // a test that cannot run says so
fn refused_permission_is_denied_and_never_an_empty_list() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        eprintln!("not run: root may do everything");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let local = Local::open(folder.path()).unwrap();
    let object = ObjectName::new("closed/object").unwrap();
    local.put(&object, b"1", PutMode::CreateNew).unwrap();
    let closed = folder.path().join("closed");
    let set_mode = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();

    set_mode(0o500);
    let new = ObjectName::new("closed/new").unwrap();
    assert_eq!(local.put(&new, b"", PutMode::CreateNew).unwrap_err().kind(), Kind::Denied);
    assert_eq!(local.delete(&object).unwrap_err().kind(), Kind::Denied);
    assert_eq!(local.read(&object, 0, 9).unwrap(), b"1");

    set_mode(0);
    assert_eq!(local.list(None, Depth::All, &mut |_| Ok(())).unwrap_err().kind(), Kind::Denied);
    assert_eq!(local.read(&object, 0, 9).unwrap_err().kind(), Kind::Denied);
    assert_eq!(local.stat(&object).unwrap_err().kind(), Kind::Denied);
    set_mode(0o700);
}
