//! Servers that are killed in the middle of a backup: one that comes back in time is not noticed; one that stays away is an error in a
//! known time, and what it had been sent is taken up by the next run.

use super::servers::{self, Started};
use super::{LONGEST, Server, User};
use crate::place::{assert_equal, id};
use crate::program::{Outcome, not_run};
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::ftp::{Protection, Pyftpdlib};
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{Options, Swift};
use icecore_testkit::servers::webdav::{self, WebDav};
use icecore_testkit::servers::{NotInstalled, free_port};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Files of the source, and the bytes of each: no two chunks are alike.
const FILES: usize = 10;
const FILE_BYTES: usize = 9 << 20;
/// Objects of this length are packs, and no part of one.
const PACK_BYTES: u64 = 8 << 20;
/// How many have arrived when the server dies.
const ARRIVED: usize = 2;
/// How long it is away: several attempts long.
const AWAY: Duration = Duration::from_secs(3);
/// So that the death falls into the run.
const SLOWLY: [&str; 2] = ["--limit-upload", "16MiB/s"];

/// A server that can be killed, and started again where it was.
trait Mortal {
    fn kill(&mut self);
    fn restart(&mut self);
}

impl Mortal for Sshd {
    fn kill(&mut self) {
        Sshd::kill(self);
    }
    fn restart(&mut self) {
        Sshd::restart(self);
    }
}

impl Mortal for Swift {
    fn kill(&mut self) {
        self.kill_proxy();
    }
    fn restart(&mut self) {
        self.start_proxy();
    }
}

impl Mortal for WebDav {
    fn kill(&mut self) {
        WebDav::kill(self);
    }
    fn restart(&mut self) {
        WebDav::restart(self);
    }
}

/// An FTP server, which begins anew each time.
struct Ftp {
    folder: PathBuf,
    port: u16,
    running: Option<icecore_testkit::servers::Server>,
}

impl Ftp {
    fn start(folder: &Path) -> Result<Ftp, NotInstalled> {
        let port = free_port();
        let running = Some(Pyftpdlib::new(Protection::Off).start(folder, port)?);
        Ok(Ftp { folder: folder.to_owned(), port, running })
    }
}

impl Mortal for Ftp {
    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }
    fn restart(&mut self) {
        self.running = Some(Pyftpdlib::new(Protection::Off).start(&self.folder, self.port).unwrap());
    }
}

/// A server that may die, and where it keeps what it is sent.
struct Dying<'m> {
    mortal: &'m mut dyn Mortal,
    kept_in: PathBuf,
}

impl Dying<'_> {
    /// Every file that it has, by its length, and whether it has its name yet.
    fn files(&self) -> Vec<(u64, bool)> {
        let (mut found, mut todo) = (Vec::new(), vec![(self.kept_in.clone(), true)]);
        while let Some((folder, is_named)) = todo.pop() {
            // Files and folders come and go while this looks.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Ok(metadata) = entry.metadata() else { continue };
                let is_named = is_named && name != "tmp" && !name.contains("icecore-tmp-");
                match metadata.is_dir() {
                    true => todo.push((entry.path(), is_named)),
                    false => found.push((metadata.len(), is_named)),
                }
            }
        }
        found
    }

    /// Packs that are there whole.
    fn packs(&self) -> usize {
        self.files().iter().filter(|(bytes, is_named)| *is_named && *bytes >= PACK_BYTES).count()
    }

    /// All that it was sent, also what has no name yet.
    fn bytes(&self) -> u64 {
        self.files().iter().map(|(bytes, _)| bytes).sum()
    }

    /// Kills it when more packs have arrived since `before`; the run must still go on.
    fn dies_behind(&mut self, before: usize, run: &mut Running) {
        self.dies_when(run, |dying| dying.packs() >= before + ARRIVED);
    }

    fn dies_when(&mut self, run: &mut Running, is_time: impl Fn(&Dying<'_>) -> bool) {
        while !is_time(self) {
            assert!(!run.has_ended(), "it ended before the server died");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.mortal.kill();
    }
}

fn fill(user: &User<'_>, random: &mut Random) {
    for number in 0..FILES {
        fs::write(user.place.source().join(format!("noise {number}")), random.bytes(FILE_BYTES)).unwrap();
    }
    user.place.settle();
}

fn begin(user: &User<'_>, patient: &[&str]) -> Running {
    let source = user.place.source();
    let words = ["--host", "alpha", "--name", "nightly", source.to_str().unwrap()];
    Running::start(user.command("backup", &[&words, &SLOWLY[..], patient].concat()))
}

#[track_caller]
fn comes_back(user: &User<'_>, made: &Outcome, what: &str) {
    let restored = user.restored(&id(&made.summary()), &["--no-cache"]);
    assert_equal(&Manifest::of(&user.place.source()).unwrap(), &restored, what);
    user.check_is_clean();
}

/// Both, with one server.
fn may_die(server: &Server, mortal: &mut dyn Mortal, kept_in: PathBuf) {
    server.init_cheaply("dying");
    let user = User::new(server, "dying");
    let mut dying = Dying { mortal, kept_in };
    let mut random = Random::new(91);

    fill(&user, &mut random);
    let mut run = begin(&user, &["--retries", "6", "--timeout", "10"]);
    dying.dies_behind(0, &mut run);
    std::thread::sleep(AWAY);
    assert!(!run.has_ended(), "it did not wait for the server: {:?}", run.wait());
    dying.mortal.restart();
    let made = run.wait().expect(0);
    server.shows_no_secret(&made);
    comes_back(&user, &made, "a server that came back");

    fill(&user, &mut random);
    let before = dying.packs();
    let mut run = begin(&user, &["--retries", "2", "--timeout", "5"]);
    dying.dies_behind(before, &mut run);
    let died = Instant::now();
    let failed = run.wait().expect(1).explained();
    assert!(died.elapsed() < LONGEST, "{:?}", died.elapsed());
    assert!(failed.names("/dying"), "{failed:?}");
    // A server that is not there is no empty repository either.
    let listed = user.run("list", &["--timeout", "5"]).expect(1).explained();
    assert!(listed.of_type("backup").is_empty() && listed.names("/dying"), "{listed:?}");
    dying.mortal.restart();
    let arrived = dying.packs() - before;
    assert!(arrived >= ARRIVED, "{arrived} packs are left");
    assert_eq!(user.backups().len(), 1);
    let source = user.place.source();
    let again =
        user.run("backup", &["--host", "alpha", "--name", "nightly", source.to_str().unwrap()]).expect(0);
    // What the run before has sent is not sent again.
    let stored = again.summary()["stored_bytes"].as_u64().unwrap();
    let all = (FILES * FILE_BYTES) as u64;
    assert!(stored < all - (ARRIVED as u64 - 1) * PACK_BYTES, "{stored} of {all} were sent");
    comes_back(&user, &again, "what the next run made");
    assert_eq!(user.backups().len(), 2);
}

/// A stream that is one object: it goes on where it was when the server comes back.
fn may_die_while_a_chain_is_sent(server: &Server, mortal: &mut dyn Mortal, kept_in: PathBuf) {
    let user = User::new(server, "levels");
    let mut dying = Dying { mortal, kept_in };
    fill(&user, &mut Random::new(92));
    let before = dying.bytes();
    let tar = ["--engine", "tar", "--no-encryption", "--init", "--compression", "none"];
    let mut run = begin(&user, &[&tar[..], &["--retries", "6", "--timeout", "10"]].concat());
    dying.dies_when(&mut run, |dying| dying.bytes() >= before + ARRIVED as u64 * PACK_BYTES);
    std::thread::sleep(AWAY);
    assert!(!run.has_ended(), "it did not wait for the server: {:?}", run.wait());
    dying.mortal.restart();
    let made = run.wait().expect(0);
    server.shows_no_secret(&made);
    comes_back(&user, &made, "a stream whose server came back");
}

fn started<S>(outcome: Result<S, NotInstalled>) -> Option<S> {
    outcome.map_err(|missing| not_run(&missing.0)).ok()
}

#[test]
fn an_ssh_server_may_die_in_the_middle_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut sshd) = started(Sshd::start(folder.path(), "")) else { return };
    let (server, kept_in) = (sshd.reached(), sshd.file("data"));
    may_die(&server, &mut sshd, kept_in.clone());
    may_die_while_a_chain_is_sent(&server, &mut sshd, kept_in);
}

fn cluster(folder: &Path) -> Option<(Swift, PathBuf)> {
    let swift = started(Swift::start(folder, &Options::default()))?;
    Some((swift, folder.join("srv/d1/objects")))
}

#[test]
fn a_swift_server_may_die_in_the_middle_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut swift, kept_in)) = cluster(folder.path()) else { return };
    // Segments of which several are sent before the server dies.
    let server = Server { options: "?segment-size=8".to_owned(), ..swift.reached() };
    may_die(&server, &mut swift, kept_in.clone());
    may_die_while_a_chain_is_sent(&server, &mut swift, kept_in);
}

/// One that keeps what it has when it dies: Swift, in its other tongue.
#[test]
fn an_s3_server_may_die_in_the_middle_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut swift, kept_in)) = cluster(folder.path()) else { return };
    let server = servers::s3_of(&swift);
    may_die(&server, &mut swift, kept_in.clone());
    may_die_while_a_chain_is_sent(&server, &mut swift, kept_in);
}

#[test]
fn an_ftp_server_may_die_in_the_middle_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut ftp) = started(Ftp::start(folder.path())) else { return };
    let (server, kept_in) = (servers::ftp_at(ftp.port), folder.path().join("files"));
    may_die(&server, &mut ftp, kept_in.clone());
    may_die_while_a_chain_is_sent(&server, &mut ftp, kept_in);
}

/// Of packs; a stream has to be sent from its beginning there.
#[test]
fn a_webdav_server_may_die_in_the_middle_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nginx) = started(WebDav::nginx(folder.path(), None)) else { return };
    let address = nginx.address("").trim_end_matches('/').to_owned();
    let variables = vec![("ICECORE_STORAGE_PASSWORD".to_owned(), webdav::PASSWORD.to_owned())];
    let server = Server { address, options: String::new(), variables, running: Vec::new() };
    let kept_in = nginx.data.clone();
    may_die(&server, &mut nginx, kept_in);
}
