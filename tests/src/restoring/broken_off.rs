//! A restore that broke off goes on where it was.

use super::{set_time, worlds, write};
use crate::in_memory::World;
use crate::place::{assert_alike, assert_equal};
use icecore::engine::Overwrite;
use icecore::monitor::{Counting, Event, Monitor, Quiet};
use icecore::name::ObjectName;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::{Result, restore};
use icecore_testkit::fault::{Fault, Moment, Plan};
use icecore_testkit::manifest::{Kind, Manifest, Options};
use icecore_testkit::random::Random;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that come from the storage, and stops after so many of them.
struct Meter {
    stored: AtomicU64,
    most: u64,
}

impl Meter {
    fn stopping_after(most: u64) -> Meter {
        Meter { stored: AtomicU64::new(0), most }
    }

    fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

impl Monitor for Meter {
    fn event(&self, event: Event<'_>) {
        if let Event::Stored { bytes } = event {
            self.stored.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.stored() >= self.most
    }
}

/// Counts the bytes that are read of a storage, of whatever object.
struct Counted {
    inner: Memory,
    read: AtomicU64,
}

impl Storage for Counted {
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let bytes = self.inner.read(name, offset, length_bytes)?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    icecore::storage::forward!([inner] put writer stat list delete capabilities label);
}

/// Large files that cannot be compressed, many small ones, and links.
fn filled(mut world: World) -> World {
    let mut random = Random::new(5);
    for number in 0..6 {
        let path = world.source().join(format!("d{}/large{number}", number % 2));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, random.bytes(3 << 20)).unwrap();
        set_time(&path, 1_600_000_000 + number);
    }
    for number in 0..300 {
        let content = String::from_utf8_lossy(&random.text(200)).into_owned();
        write(&world.source().join(format!("d{}/small{number}", number % 3)), &content, 1_600_000_000);
    }
    fs::hard_link(world.source().join("d0/large0"), world.source().join("linked")).unwrap();
    world.settle();
    world.back_up();
    world
}

/// Bytes of files in the target that are as large as in the backup and of the same time.
fn whole_bytes(world: &World, target: &Path) -> u64 {
    let wanted = Manifest::of(&world.source()).unwrap();
    let found = Manifest::of(target).unwrap();
    let size = |kind: &Kind| if let Kind::File { size_bytes, .. } = kind { Some(*size_bytes) } else { None };
    let same = found.entries.iter().filter(|(path, entry)| {
        wanted.entries.get(*path).is_some_and(|wanted| {
            size(&wanted.kind) == size(&entry.kind)
                && wanted.mtime == entry.mtime
                && !path.starts_with(b"linked")
        })
    });
    same.filter_map(|(_, entry)| size(&entry.kind)).filter(|size| *size > 1 << 20).sum()
}

fn run(world: &World, target: &Path, overwrite: Option<Overwrite>, meter: &Meter) -> Result<restore::Report> {
    let options = restore::Options { overwrite, ..world.options("latest", target) };
    world.restore_as(Arc::new(world.memory.clone()), &options, meter)
}

/// The image is what it was. The directory it is in may be newer here than in the backup, and stay so.
#[track_caller]
fn assert_image(world: &World, target: &Path) {
    let options = Options { root: false, ..Options::default() };
    assert_alike(&world.made[0].1, &Manifest::of(target).unwrap(), &options, "the image");
}

/// What is read of a repository before anything is fetched: its index.
fn index_bytes(world: &World, target: &Path) -> u64 {
    let meter = Meter::stopping_after(u64::MAX);
    let report = run(world, target, Some(Overwrite::Never), &meter).unwrap();
    assert_eq!(report.files, 0, "the target is not whole");
    meter.stored()
}

#[test]
fn what_is_whole_is_not_fetched_again() {
    let world = filled(World::dedup());
    let wanted = Manifest::of(&world.source()).unwrap();
    let all = Meter::stopping_after(u64::MAX);
    run(&world, &world.beside("whole"), None, &all).unwrap();
    let mut saved = 0;
    for (number, part) in [1, 2, 3, 5, 7].into_iter().enumerate() {
        let target = world.beside(&format!("target {number}"));
        let broken = Meter::stopping_after(all.stored() * part / 8);
        run(&world, &target, None, &broken).unwrap_err();
        let there = whole_bytes(&world, &target);
        let again = Meter::stopping_after(u64::MAX);
        run(&world, &target, Some(Overwrite::IfChanged), &again).unwrap();
        assert_equal(&wanted, &Manifest::of(&target).unwrap(), &format!("broken off at {part}/8"));
        assert!(
            again.stored() + there <= all.stored() + (64 << 10),
            "{} fetched, though {there} of {} were there",
            again.stored(),
            all.stored()
        );
        saved += there;
        // Everything is there now: nothing is fetched, whether content is compared or not.
        let index = index_bytes(&world, &target);
        for policy in [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer] {
            let nothing = Meter::stopping_after(u64::MAX);
            run(&world, &target, Some(policy), &nothing).unwrap();
            assert_eq!(nothing.stored(), index, "{policy:?}");
        }
    }
    assert!(saved > 0, "no run was broken off between two files");
}

#[test]
fn whatever_call_fails_a_second_run_completes_it() {
    for world in worlds() {
        let world = filled(world);
        let wanted = Manifest::of(&world.source()).unwrap();
        let counting = Arc::new(Fault::none(Arc::new(world.memory.clone())));
        let target = world.beside("whole");
        world.restore_as(Arc::clone(&counting) as _, &world.options("latest", &target), &Quiet).unwrap();
        let calls = counting.calls();
        for nth in (1..=calls).step_by((calls as usize / 8).max(1)) {
            let target = world.beside(&format!("target {nth}"));
            let storage =
                Arc::new(Fault::new(Arc::new(world.memory.clone()), Plan::death(nth, Moment::Half)));
            let options = world.options("latest", &target);
            let monitor = Counting::new(&Quiet);
            let error = world.restore_as(storage, &options, &monitor).unwrap_err();
            let advice = error.advice().unwrap_or_default();
            let is_told = advice.contains("the target is not a whole restore");
            assert!(monitor.entries() == 0 || is_told, "{}, call {nth}: {error:?}: {advice}", world.engine);
            let options = restore::Options { overwrite: Some(Overwrite::IfChanged), verify: true, ..options };
            world.restore_as(Arc::new(world.memory.clone()), &options, &Quiet).unwrap();
            let what = format!("{}, call {nth} of {calls}", world.engine);
            assert_equal(&wanted, &Manifest::of(&target).unwrap(), &what);
        }
    }
}

#[test]
fn of_a_small_file_little_more_is_read_than_that() {
    for mut world in [World::dedup(), World::new()] {
        // What the first backup holds is not to be taken for changed since.
        world.ahead_seconds = 5;
        write(&world.source().join("a"), "first of all", 1_600_000_000);
        let mut world = filled(world);
        write(&world.source().join("d1/new"), "of the second backup", 1_600_000_000);
        world.settle();
        world.back_up();
        // A file of the second backup; and of deduplicated ones one that was there before: an archive is read from its beginning, many
        // blocks ahead.
        let paths = [("d1/new", 256 << 10), ("a", 4 << 20)];
        let count = if world.engine == "dedup" { 2 } else { 1 };
        for (path, most) in paths.into_iter().take(count) {
            let storage = Arc::new(Counted { inner: world.memory.clone(), read: AtomicU64::new(0) });
            let target = world.beside(&format!("target {most}"));
            let include = vec![path.as_bytes().to_vec()];
            let options = restore::Options { include, ..world.options("latest", &target) };
            world.restore_as(Arc::clone(&storage) as _, &options, &Quiet).unwrap();
            let read = storage.read.load(Ordering::Relaxed);
            assert!(read <= most, "{}: {read} bytes were read for {path}", world.engine);
            assert_eq!(fs::read(target.join(path)).unwrap(), fs::read(world.source().join(path)).unwrap());
        }
    }
}

#[test]
fn of_a_file_that_is_there_only_the_chunk_that_differs_is_fetched() {
    let mut world = World::dedup();
    let mut content = Random::new(9).bytes(64 << 20);
    fs::write(world.source().join("image"), &content).unwrap();
    world.settle();
    world.back_up();
    for (number, policy) in
        [Overwrite::Always, Overwrite::IfNewer, Overwrite::IfChanged].into_iter().enumerate()
    {
        let target = world.beside(&format!("target {number}"));
        content[(33 << 20) + number] ^= 1;
        let image = target.join("image");
        fs::write(&image, &content).unwrap();
        set_time(&image, 1_500_000_000);
        content[(33 << 20) + number] ^= 1;
        let meter = Meter::stopping_after(u64::MAX);
        let mut options = world.options("latest", &target);
        (options.overwrite, options.verify) = (Some(policy), true);
        world.restore_as(Arc::new(world.memory.clone()), &options, &meter).unwrap();
        assert!(fs::read(&image).unwrap() == content, "{policy:?}");
        // No chunk is longer than this.
        assert!((1..=5 << 20).contains(&meter.stored()), "{policy:?}: {} bytes", meter.stored());
        assert_image(&world, &target);

        // Longer and shorter ones.
        for length in [64 << 20 | 77, 40 << 20] {
            let mut other = content.clone();
            other.resize(length, 3);
            fs::write(&image, &other).unwrap();
            set_time(&image, 1_500_000_000);
            let meter = Meter::stopping_after(u64::MAX);
            world.restore_as(Arc::new(world.memory.clone()), &options, &meter).unwrap();
            assert_image(&world, &target);
            let missing = (64_u64 << 20).saturating_sub(length as u64);
            assert!(meter.stored() <= missing + (9 << 20), "{length}: {} bytes", meter.stored());
        }
        // The same but for its time: nothing is fetched, and the file stays.
        let inode = |()| std::os::unix::fs::MetadataExt::ino(&fs::metadata(&image).unwrap());
        let before = inode(());
        set_time(&image, 1_500_000_000);
        let meter = Meter::stopping_after(u64::MAX);
        options.verify = false;
        world.restore_as(Arc::new(world.memory.clone()), &options, &meter).unwrap();
        let index = index_bytes(&world, &target);
        assert_eq!((meter.stored(), inode(())), (index, before), "{policy:?}");
        assert_image(&world, &target);
    }
}

#[test]
fn small_files_that_are_the_same_do_not_have_their_bundle_fetched() {
    let mut world = World::dedup();
    for number in 0..500 {
        write(&world.source().join(format!("f{number:03}")), &format!("content of {number}"), 1_600_000_000);
    }
    world.settle();
    world.back_up();
    let target = world.beside("target");
    let first = Meter::stopping_after(u64::MAX);
    run(&world, &target, None, &first).unwrap();
    for number in 0..500 {
        set_time(&target.join(format!("f{number:03}")), 1_500_000_000);
    }
    let again = Meter::stopping_after(u64::MAX);
    run(&world, &target, Some(Overwrite::Always), &again).unwrap();
    let index = index_bytes(&world, &target);
    assert!(
        again.stored() == index && first.stored() > index,
        "{} of {} bytes",
        again.stored(),
        first.stored()
    );
    assert_equal(&world.made[0].1, &Manifest::of(&target).unwrap(), "the times are right again");
    fs::write(target.join("f123"), "other").unwrap();
    run(&world, &target, Some(Overwrite::Always), &again).unwrap();
    assert!(again.stored() > 2 * index, "the bundle was not fetched");
    assert_equal(&world.made[0].1, &Manifest::of(&target).unwrap(), "one file differed");
}
