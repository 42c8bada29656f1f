//! Lines that break, servers that stand still, and connections that are short.

use super::{Place, bytes_of, name, put, rows};
use crate::access;
use icecore::Kind;
use icecore::error::Retry;
use icecore::storage::retry::{Patience, Policy};
use icecore::storage::{Depth, PutMode};
use icecore_remote::{Access, Timeouts};
use std::sync::Arc;
use std::time::Duration;

/// Tries again for a while.
fn patient() -> Access {
    let policy = Policy {
        attempts: 20,
        first_wait: Duration::from_millis(50),
        longest_wait: Duration::from_millis(500),
        seed: 0,
    };
    let sleeper = |wait| {
        std::thread::sleep(wait);
        Ok(())
    };
    Access { patience: Patience::new(policy, Arc::new(sleeper)), ..access(&[], None) }
}

#[test]
fn an_old_line_that_was_cut_is_no_error() {
    let Some(place) = Place::new() else { return };
    let storage = place.open("x");
    put(&*storage, "a", b"1").unwrap();
    place.sshd.kill_connections();
    assert_eq!(storage.read(&name("a"), 0, 10).unwrap(), b"1");
    place.sshd.kill_connections();
    put(&*storage, "b", b"22").unwrap();
    place.sshd.kill_connections();
    assert_eq!(rows(&*storage, Depth::All), ["a 1", "b 2"]);
    place.sshd.kill_connections();
    storage.delete(&name("a")).unwrap();
}

#[test]
fn a_server_that_is_gone_may_come_back() {
    let Some(mut place) = Place::new() else { return };
    let storage = place.open("x");
    put(&*storage, "a", b"1").unwrap();
    place.sshd.kill();
    for outcome in
        [storage.read(&name("a"), 0, 1).map(drop), put(&*storage, "b", b"2"), storage.delete(&name("a"))]
    {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Retry::Later), "{error}");
    }
    assert!(storage.list(None, Depth::All, &mut |_| Ok(())).is_err(), "an empty listing is a lie");
    place.sshd.restart();
    assert_eq!(rows(&*storage, Depth::All), ["a 1"]);
}

#[test]
fn a_long_object_outlives_its_connections() {
    let Some(mut place) = Place::new() else { return };
    for mode in [PutMode::CreateNew, PutMode::Replace] {
        let storage = place.open_as("x", &patient());
        let bytes = bytes_of(20 << 20);
        let mut writer = storage.writer(&name("folder/long"), mode).unwrap();
        for (number, piece) in bytes.chunks(1_000_003).enumerate() {
            match number {
                5 => place.sshd.kill_connections(),
                12 => place.sshd.restart(),
                _ => {}
            }
            writer.write(piece).unwrap();
        }
        place.sshd.kill_connections();
        writer.finish().unwrap();
        assert!(std::fs::read(place.path("x/folder/long")).unwrap() == bytes, "other bytes");
        assert_eq!(rows(&*storage, Depth::All), ["folder/long 20971520"]);
    }
}

/// Longer than what is brought to the disk at a time, over another session.
#[test]
fn connections_are_cut_while_a_long_object_goes_to_the_disk() {
    let Some(place) = Place::new() else { return };
    let storage = place.open_as("x", &patient());
    let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
    let piece = |number: u32| -> Vec<u8> { number.to_le_bytes().repeat(1 << 18) };
    for number in 0..150 {
        if [65, 70, 129, 140].contains(&number) {
            place.sshd.kill_connections();
        }
        writer.write(&piece(number)).unwrap();
    }
    writer.finish().unwrap();
    let stored = std::fs::read(place.path("x/long")).unwrap();
    assert!(stored.chunks(1 << 20).eq((0..150).map(piece)), "other bytes");
    assert_eq!(rows(&*storage, Depth::All), ["long 157286400"]);
}

#[test]
fn a_long_object_whose_acknowledged_bytes_are_lost_is_not_finished() {
    let Some(place) = Place::new() else { return };
    let storage = place.open_as("x", &patient());
    let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
    writer.write(&bytes_of(20 << 20)).unwrap();
    place.sshd.kill_connections();
    // As if the machine had crashed before its disk had them.
    let temporary = std::fs::read_dir(place.path("x")).unwrap().next().unwrap().unwrap().path();
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(temporary).unwrap(),
        &[0; 4096],
        1 << 20,
    )
    .unwrap();
    let error = writer.write(&bytes_of(20 << 20)).and_then(|()| writer.finish()).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Changed, Retry::Never), "{error}");
    assert_eq!(rows(&*storage, Depth::All), [""; 0]);
}

#[test]
fn a_server_that_stands_still_is_an_error_in_time() {
    let Some(place) = Place::new() else { return };
    let timeouts =
        Timeouts { connect: Duration::from_secs(1), idle: Duration::from_secs(1), ..Timeouts::default() };
    let storage = place.open_as("x", &Access { timeouts, ..access(&[], None) });
    put(&*storage, "a", b"1").unwrap();
    let mut writer = storage.writer(&name("b"), PutMode::CreateNew).unwrap();
    place.sshd.freeze(true);
    let written = (0..100).try_for_each(|_| writer.write(&[7; 1 << 20]));
    let outcomes = [storage.read(&name("a"), 0, 1).map(drop), put(&*storage, "c", b"2"), written];
    drop(writer);
    place.sshd.freeze(false);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Retry::Later), "{error}");
    }
    assert_eq!(storage.read(&name("a"), 0, 1).unwrap(), b"1");
}

#[test]
fn keys_are_changed_in_the_middle() {
    let Some(place) = Place::with("RekeyLimit 1M") else { return };
    let storage = place.open("x");
    let bytes = bytes_of(9 << 20);
    let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    assert!(storage.read_small(&name("long"), 10 << 20).unwrap() == bytes, "other bytes came back");
    put(&*storage, "whole", &bytes).unwrap();
    assert!(std::fs::read(place.path("x/whole")).unwrap() == bytes, "other bytes");
}
