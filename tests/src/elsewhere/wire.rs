//! Lines that break: every verb ends right or with a clear error, in a time that can be known; nothing is restored short, and
//! what a broken run leaves, the next one takes up.

use super::{Server, User, every_verb_works, servers, timed};
use crate::place::{assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::ftp::{Protection, Pyftpdlib};
use icecore_testkit::servers::{NotInstalled, free_port};
use icecore_testkit::wire::{Fault, Harm, Of, Plan, Proxy, Way};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const ALL_HARM: [Harm; 3] = [Harm::Cut, Harm::Reset, Harm::Stall];

/// A server behind a line.
struct Far {
    server: Server,
    line: Proxy,
}

impl Far {
    /// Puts a line before the server that listens to `port`.
    fn new(mut server: Server, port: u16) -> Far {
        let line = Proxy::new(SocketAddr::from(([127, 0, 0, 1], port)));
        server.redirect(port, line.port());
        Far { server, line }
    }

    fn heal(&self) {
        self.line.change(|plan| *plan = Plan::default());
    }

    /// Bytes that have passed so far.
    fn passed(&self, way: Way) -> u64 {
        let counts = self.line.counts();
        match way {
            Way::Up => counts.up_bytes,
            Way::Down => counts.down_bytes,
        }
    }

    /// Has the line break once while something is done, behind that many bytes of all connections.
    #[track_caller]
    fn breaking_once(
        &self,
        way: Way,
        after_bytes: u64,
        harm: Harm,
        act: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let before = self.line.counts().struck;
        self.line.fault(Of::All, way, self.passed(way) + after_bytes, harm);
        let outcome = act();
        self.heal();
        let struck = self.line.counts().struck - before;
        assert_eq!(struck, 1, "{harm:?} {way:?} behind {after_bytes} bytes: it broke {struck} times");
        outcome
    }

    /// Has every connection break behind that many bytes while something is done; whether any did.
    fn breaking(
        &self,
        way: Way,
        after_bytes: u64,
        harm: Harm,
        act: impl FnOnce() -> Outcome,
    ) -> (Outcome, bool) {
        let before = self.line.counts().struck;
        self.line.change(|plan| plan.faults = vec![Fault { of: Of::Each, way, after_bytes, harm }]);
        let outcome = act();
        self.heal();
        (outcome, self.line.counts().struck > before)
    }
}

/// Where nothing can come of it.
const PATIENT: [&str; 4] = ["--timeout", "2", "--retries", "2"];
/// Where it has to end well, also on a machine that is so busy that answers are late by themselves.
const STUBBORN: [&str; 4] = ["--timeout", "3", "--retries", "6"];

fn back_up(user: &User<'_>, patience: &[&str]) -> Outcome {
    let source = user.place.source();
    let words = [&["--host", "alpha", "--name", "nightly", source.to_str().unwrap()], patience].concat();
    timed(|| user.run("backup", &words))
}

fn restore(user: &User<'_>, target: &Path, patience: &[&str]) -> Outcome {
    let words = [&["--no-cache", "--target", target.to_str().unwrap(), "latest"], patience].concat();
    timed(|| user.run("restore", &words))
}

/// Bytes that change before each backup, of which each has to be sent.
const CHANGED_BYTES: usize = 5 << 20;

/// How a server is started, and the port that a line to it leads to.
type Start = fn(&Path) -> Result<(Server, u16), NotInstalled>;

/// Where lines break: everywhere, or with each harm at one of two places, which are others with another number.
#[derive(Clone, Copy)]
enum Places {
    All,
    EverySecond(usize),
}

impl Places {
    fn of<T: Copy>(self, harm: Harm, both: [T; 2]) -> Vec<T> {
        match self {
            Places::All => both.to_vec(),
            Places::EverySecond(first) => vec![both[(first + harm as usize) % 2]],
        }
    }
}

/// A line that breaks once, at places all over what passes, is not noticed; one that breaks always is an error that says so.
fn lines_may_break(start: Start, places: Places) {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = match start(folder.path()) {
        Ok(started) => started,
        Err(missing) => return not_run(&missing.0),
    };
    let far = Far::new(server, port);
    far.server.init_cheaply("broken");
    let user = User::new(&far.server, "broken");
    let mut random = Random::new(81);
    // What the source is from now on.
    let change = |random: &mut Random| {
        fs::write(user.place.source().join("changing"), random.bytes(CHANGED_BYTES)).unwrap();
        user.place.settle();
        Manifest::of(&user.place.source()).unwrap()
    };
    user.tree(82);
    change(&mut random);
    user.back_up(&[]);
    // The least that a backup of such a change moves in each direction.
    change(&mut random);
    let moved = || [Way::Up, Way::Down].map(|way| far.passed(way));
    let before = moved();
    user.back_up(&[]);
    let after = moved();
    let mut newest = Manifest::of(&user.place.source()).unwrap();
    for harm in ALL_HARM {
        for way in places.of(harm, [Way::Up, Way::Down]) {
            newest = change(&mut random);
            let all = (after[way as usize] - before[way as usize]) / 2;
            let made = far.breaking_once(way, 1 + random.below(all), harm, || back_up(&user, &STUBBORN));
            let target = user.place.target(&id(&made.expect(0).summary()));
            let behind = 1 + random.below(CHANGED_BYTES as u64);
            far.breaking_once(Way::Down, behind, harm, || restore(&user, &target, &STUBBORN)).expect(0);
            assert_equal(&newest, &Manifest::of(&target).unwrap(), &format!("{harm:?} {way:?}"));
        }
    }
    // Every connection breaks at this byte: nothing can be done, and that is said.
    let mut made = user.backups();
    for harm in ALL_HARM {
        for after_bytes in places.of(harm, [1, 40_000]) {
            let what = format!("{harm:?} behind {after_bytes} bytes of each connection");
            let now = change(&mut random);
            let (failed, has_broken) = far.breaking(Way::Up, after_bytes, harm, || back_up(&user, &PATIENT));
            assert!(has_broken, "{what}");
            let is_made = failed.status == 0;
            if !is_made {
                failed.expect(1).explained();
            }
            let target = user.place.target(&format!("{harm:?}-{after_bytes}"));
            let (restored, has_broken) =
                far.breaking(Way::Down, after_bytes, harm, || restore(&user, &target, &PATIENT));
            assert!(has_broken, "{what}");
            // This may be less than breaks.
            let words = [&["--no-cache"], &PATIENT[..]].concat();
            let list = || timed(|| user.run("list", &words));
            let (listed, _) = far.breaking(Way::Down, after_bytes, harm, list);
            // What there is can be asked again. A backup of which no answer told may have been made all the same.
            let there = user.backups();
            assert!(there.starts_with(&made), "{what}: of {made:?} {there:?} are left");
            assert!(there.len() <= made.len() + 1, "{what}: {there:?}");
            assert!(!is_made || there.len() > made.len(), "{what}: it was not made");
            if there.len() > made.len() {
                newest = now;
            }
            made = there;
            if restored.status == 0 {
                assert_equal(&newest, &Manifest::of(&target).unwrap(), &what);
            } else {
                restored.expect(1).explained();
            }
            if listed.status == 0 {
                let listed: Vec<String> = listed.of_type("backup").iter().map(id).collect();
                assert_eq!(listed, made, "{what}");
            } else {
                listed.expect(1).explained();
            }
        }
    }
    let last = user.back_up(&[]);
    let restored = user.restored(&id(&last), &["--no-cache"]);
    assert_equal(&Manifest::of(&user.place.source()).unwrap(), &restored, "after all of them");
    user.check_is_clean();
}

fn sftp(folder: &Path) -> Result<(Server, u16), NotInstalled> {
    let server = servers::sftp(folder)?;
    let port = servers::port_of(&server.address);
    // Where the line is, nobody has been yet.
    let options = format!("{}&host-key=accept-new", server.options);
    Ok((Server { options, ..server }, port))
}

fn s3(folder: &Path) -> Result<(Server, u16), NotInstalled> {
    let server = servers::s3(folder)?;
    let port = servers::port_of(&server.options);
    Ok((server, port))
}

fn swift(folder: &Path) -> Result<(Server, u16), NotInstalled> {
    let server = servers::tempauth(folder)?;
    let port =
        server.variables.iter().find(|(key, _)| key == "ST_AUTH").map(|(_, url)| servers::port_of(url));
    Ok((server, port.unwrap()))
}

fn webdav(folder: &Path) -> Result<(Server, u16), NotInstalled> {
    let server = servers::dav(folder)?;
    let port = servers::port_of(&server.address);
    Ok((server, port))
}

#[test]
fn lines_to_sftp_servers_may_break() {
    lines_may_break(sftp, Places::EverySecond(0));
}

/// Keys are agreed on within this, and somebody logs in.
const LOGIN_BYTES: u64 = 4_000;

#[test]
fn a_line_that_breaks_during_a_login_is_no_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = match sftp(folder.path()) {
        Ok(started) => started,
        Err(missing) => return not_run(&missing.0),
    };
    let far = Far::new(server, port);
    far.server.init_cheaply("broken");
    let user = User::new(&far.server, "broken");
    let list = || timed(|| user.run("list", &[&["--no-cache"], &STUBBORN[..]].concat()));
    for (number, after_bytes) in (0..LOGIN_BYTES).step_by(250).enumerate() {
        let harm = [Harm::Reset, Harm::Cut][number % 2];
        far.breaking_once(Way::Up, 1 + after_bytes, harm, list).expect(0);
    }
}

#[test]
fn lines_to_s3_may_break() {
    lines_may_break(s3, Places::EverySecond(1));
}

#[test]
fn lines_to_swift_may_break() {
    lines_may_break(swift, Places::EverySecond(0));
}

#[test]
fn lines_to_webdav_servers_may_break() {
    lines_may_break(webdav, Places::EverySecond(1));
}

#[test]
#[ignore = "takes many minutes: scripts/test-long"]
fn lines_to_any_server_may_break_anywhere() {
    for start in [sftp as Start, s3, swift, webdav] {
        lines_may_break(start, Places::All);
    }
}

fn every_verb_works_far_away(start: Start, milliseconds_each_way: u64) {
    let folder = tempfile::tempdir().unwrap();
    match start(folder.path()) {
        Ok((server, port)) => {
            let far = Far::new(server, port);
            far.line.change(|plan| *plan = Plan::delayed(Duration::from_millis(milliseconds_each_way)));
            every_verb_works(&far.server);
        }
        Err(missing) => not_run(&missing.0),
    }
}

#[test]
fn every_verb_works_over_a_long_line_to_sftp_servers() {
    every_verb_works_far_away(sftp, 10);
}

#[test]
fn every_verb_works_over_a_long_line_to_s3() {
    every_verb_works_far_away(s3, 10);
}

#[test]
#[ignore = "takes minutes: scripts/test-long"]
fn every_verb_works_over_any_long_line() {
    for start in [sftp as Start, s3, swift, webdav] {
        every_verb_works_far_away(start, 50);
    }
}

/// Data goes over connections of its own there, before which no line can stand: the server itself cuts them behind so many bytes of all
/// of them, and the connection for commands with each.
#[test]
fn connections_to_ftp_servers_may_break() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let started = |cuts: u32, cut_after_bytes: u32| {
        Pyftpdlib { cuts, cut_after_bytes, ..Pyftpdlib::new(Protection::Off) }.start(folder.path(), port)
    };
    let mut running = match started(0, 0) {
        Ok(running) => running,
        Err(missing) => return not_run(&missing.0),
    };
    let server = servers::ftp_at(port);
    server.init_cheaply("broken");
    let user = User::new(&server, "broken");
    let mut random = Random::new(83);
    let change = |random: &mut Random| {
        fs::write(user.place.source().join("changing"), random.bytes(CHANGED_BYTES)).unwrap();
        user.place.settle();
        Manifest::of(&user.place.source()).unwrap()
    };
    user.place.write(&[("letters/a", "first"), ("letters/b", "second")]);
    let mut again = |cuts: u32, cut_after_bytes: u32| {
        running.kill();
        running = started(cuts, cut_after_bytes).unwrap();
    };

    // Some of what has to pass lies behind the last cut.
    const { assert!(2 * 2_000_000 < CHANGED_BYTES) };
    let first = change(&mut random);
    again(2, 2_000_000);
    let made = id(&back_up(&user, &STUBBORN).expect(0).summary());
    let target = user.place.target("cut on its way");
    again(2, 2_000_000);
    restore(&user, &target, &STUBBORN).expect(0);
    assert_equal(&first, &Manifest::of(&target).unwrap(), "what was cut both ways");

    change(&mut random);
    again(u32::MAX, 40_000);
    back_up(&user, &PATIENT).expect(1).explained();
    again(u32::MAX, 40_000);
    let target = user.place.target("cut always");
    restore(&user, &target, &PATIENT).expect(1).explained();
    again(0, 0);
    assert_eq!(user.backups(), [made]);
    let last = id(&user.back_up(&[]));
    let restored = user.restored(&last, &["--no-cache"]);
    assert_equal(&Manifest::of(&user.place.source()).unwrap(), &restored, "after all of them");
    user.check_is_clean();
}
