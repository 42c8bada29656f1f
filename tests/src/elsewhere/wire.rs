//! Lines that break: every verb ends right or with a clear error, in a time that can be known; nothing is restored short, and
//! what a broken run leaves, the next one takes up.

use super::{Server, User, servers, timed};
use crate::place::{assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::wire::{Fault, Harm, Of, Plan, Proxy, Way};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

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

    /// Breaks the line once, behind that many bytes from now on of all connections.
    fn break_once(&self, way: Way, after_bytes: u64, harm: Harm) {
        let counts = self.line.counts();
        let passed = match way {
            Way::Up => counts.up_bytes,
            Way::Down => counts.down_bytes,
        };
        self.line.fault(Of::All, way, passed + after_bytes, harm);
    }
}

const PATIENT: [&str; 4] = ["--timeout", "2", "--retries", "2"];

fn back_up(user: &User<'_>) -> Outcome {
    let source = user.place.source();
    let words = [&["--host", "alpha", "--name", "nightly", source.to_str().unwrap()], &PATIENT[..]].concat();
    timed(|| user.run("backup", &words))
}

fn restore(user: &User<'_>, target: &Path) -> Outcome {
    let words = [&["--no-cache", "--target", target.to_str().unwrap(), "latest"], &PATIENT[..]].concat();
    timed(|| user.run("restore", &words))
}

/// A line that breaks once, at places all over what passes, is not noticed; one that breaks always is an error that says so.
fn lines_may_break(start: fn(&Path) -> Result<(Server, u16), NotInstalled>) {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = match start(folder.path()) {
        Ok(started) => started,
        Err(missing) => return not_run(&missing.0),
    };
    let far = Far::new(server, port);
    let user = User::new(&far.server, "broken");
    user.run("init", &PATIENT).expect(0);
    let mut random = Random::new(81);
    let change = |random: &mut Random| {
        fs::write(user.place.source().join("changing"), random.bytes(5 << 20)).unwrap();
        user.place.settle();
    };
    user.tree(82);
    change(&mut random);
    let before = far.line.counts();
    back_up(&user).expect(0);
    let up_bytes = far.line.counts().up_bytes - before.up_bytes;
    for harm in ALL_HARM {
        for way in [Way::Up, Way::Down] {
            change(&mut random);
            let all = if way == Way::Up { up_bytes / 2 } else { 20_000 };
            far.break_once(way, 1 + random.below(all), harm);
            let made = back_up(&user).expect(0).summary();
            far.heal();
            let target = user.place.target(&id(&made));
            far.break_once(Way::Down, 1 + random.below(5 << 20), harm);
            restore(&user, &target).expect(0);
            far.heal();
            let now = Manifest::of(&user.place.source()).unwrap();
            assert_equal(&now, &Manifest::of(&target).unwrap(), &format!("{harm:?} {way:?}"));
        }
    }
    // Every connection breaks at this byte: nothing can be done, and that is said.
    for harm in ALL_HARM {
        for after_bytes in [1, 40_000] {
            change(&mut random);
            let fault = Fault { of: Of::Each, way: Way::Up, after_bytes, harm };
            far.line.change(|plan| plan.faults = vec![fault]);
            let failed = back_up(&user);
            if failed.status != 0 {
                failed.expect(1).explained();
            }
            let fault = Fault { of: Of::Each, way: Way::Down, after_bytes, harm };
            far.line.change(|plan| plan.faults = vec![fault]);
            let target = user.place.target(&format!("{harm:?}-{after_bytes}"));
            let failed = restore(&user, &target);
            if failed.status == 0 {
                assert!(Manifest::of(&target).is_ok());
            } else {
                failed.expect(1).explained();
            }
            let listed = timed(|| user.run("list", &[&["--no-cache"], &PATIENT[..]].concat()));
            assert!(listed.status == 1 || !listed.of_type("backup").is_empty(), "{listed:?}");
            far.heal();
        }
    }
    back_up(&user).expect(0);
    user.check_is_clean();
}

#[test]
fn lines_to_sftp_servers_may_break() {
    lines_may_break(|folder| {
        let server = servers::sftp(folder)?;
        let port = servers::port_of(&server.address);
        // Where the line is, nobody has been yet.
        let options = format!("{}&host-key=accept-new", server.options);
        Ok((Server { options, ..server }, port))
    });
}

#[test]
fn lines_to_s3_may_break() {
    lines_may_break(|folder| {
        let server = servers::s3(folder)?;
        let port = servers::port_of(&server.options);
        Ok((server, port))
    });
}

#[test]
fn lines_to_swift_may_break() {
    lines_may_break(|folder| {
        let server = servers::tempauth(folder)?;
        let port =
            server.variables.iter().find(|(key, _)| key == "ST_AUTH").map(|(_, url)| servers::port_of(url));
        Ok((server, port.unwrap()))
    });
}

#[test]
fn lines_to_webdav_servers_may_break() {
    lines_may_break(|folder| {
        let server = servers::dav(folder)?;
        let port = servers::port_of(&server.address);
        Ok((server, port))
    });
}
