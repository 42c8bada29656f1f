//! A repository on two servers of which the second dies, on the first and on the last object of a backup: what the exit status is, who is
//! named, and that both are alike again after the next command that may write. And one in a folder and on Swift, which has lost a segment.

use super::servers::Started;
use super::{Server, User, objects, timed};
use crate::dedup::PASSWORD;
use crate::place::{Place, assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{Account, Options, Swift};
use icecore_testkit::wire::{Action, Harm, HttpProxy, Proxy, Request, Rule};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A folder behind SSH and a bucket, with a line to the bucket that breaks for good at a moment.
struct Two {
    place: Place,
    ssh: Server,
    s3: Server,
    line: Arc<Proxy>,
    requests: HttpProxy,
    random: Random,
    // What runs until this goes.
    _sshd: Sshd,
    _moto: Moto,
}

/// When the bucket dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Before the first thing that the backup writes.
    First,
    /// Before the snapshot, without which there is no backup.
    Commit,
    /// Before the very last request: what was announced is to be taken back.
    Last,
}

impl Death {
    fn is_due(self, request: &Request) -> bool {
        let is = |method: &str, folder: &str| request.method == method && request.path.contains(folder);
        match self {
            Death::First => request.method == "PUT",
            Death::Commit => is("PUT", "/dedup/snapshots/"),
            Death::Last => is("DELETE", "/dedup/sessions/"),
        }
    }
}

const NAME: &str = "both";

impl Two {
    fn start(folder: &Path) -> Result<Two, NotInstalled> {
        let sshd = Sshd::start(&folder.join("ssh"), "")?;
        fs::create_dir(folder.join("s3")).unwrap();
        let moto = Moto::strict(&folder.join("s3"))?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let requests = HttpProxy::new(loopback(moto.port));
        let line = Arc::new(Proxy::new(loopback(requests.port())));
        let (ssh, mut s3) = (sshd.reached(), moto.reached());
        s3.redirect(moto.port, line.port());
        let place = Place::new();
        place.write(&[("letters/a", "first"), ("letters/b", "second")]);
        let two = Two { place, ssh, s3, line, requests, random: Random::new(93), _sshd: sshd, _moto: moto };
        two.ssh.init_cheaply(NAME);
        two.run("sync", &["--init"], &two.both()).expect(0);
        Ok(two)
    }

    fn both(&self) -> [&Server; 2] {
        [&self.ssh, &self.s3]
    }

    fn run(&self, verb: &str, more: &[&str], servers: &[&Server]) -> Outcome {
        let mut words = vec![verb.to_owned(), "--json".to_owned()];
        for server in servers {
            words.extend(["-r".to_owned(), server.place(NAME)]);
        }
        words.extend(["--retries", "1", "--timeout", "5"].iter().chain(more).map(|word| (*word).to_owned()));
        let mut command = self.place.program.command(&words);
        command.env("ICECORE_PASSWORD", PASSWORD);
        for server in servers {
            command.envs(server.variables.iter().map(|(key, value)| (key, value)));
        }
        timed(|| {
            let output = command.output().unwrap();
            let outcome = Outcome::new(output.status, &output.stdout, &output.stderr);
            servers.iter().for_each(|server| server.shows_no_secret(&outcome));
            outcome
        })
    }

    fn back_up(&mut self, more: &[&str]) -> Outcome {
        fs::write(self.place.source().join("changing"), self.random.bytes(200_000)).unwrap();
        self.place.settle();
        let source = self.place.source();
        let words = [&["--host", "alpha", "--name", "nightly", source.to_str().unwrap()], more].concat();
        self.run("backup", &words, &self.both())
    }

    /// Breaks the line to the bucket for good when that request comes; `true` in what is given once it has.
    fn kills_at(&self, death: Death) -> Arc<AtomicBool> {
        let (is_dead, line) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.line));
        let dying = Arc::clone(&is_dead);
        self.requests.add(Rule::new(Action::Stall).when(move |request| {
            if death.is_due(request) && !dying.swap(true, Ordering::Relaxed) {
                line.change(|plan| plan.refuses = true);
                line.break_now(Harm::Reset);
            }
            dying.load(Ordering::Relaxed)
        }));
        is_dead
    }

    fn revive(&self) {
        self.requests.clear();
        self.line.change(|plan| plan.refuses = false);
    }

    fn backups(&self, servers: &[&Server]) -> Vec<String> {
        self.run("list", &[], servers).expect(0).of_type("backup").iter().map(id).collect()
    }

    /// Both hold the same, to the last name.
    fn are_alike(&self, what: &str) {
        let [ssh, s3] = self.both().map(|server| objects(server.storage(NAME).as_ref()));
        assert_eq!(ssh, s3, "{what}");
    }

    /// Each alone is sound, has these backups, and restores the newest as the source is now.
    fn each_alone(&self, expected: &[String], what: &str) {
        self.are_alike(what);
        let now = Manifest::of(&self.place.source()).unwrap();
        for server in self.both() {
            assert_eq!(self.backups(&[server]), expected, "{what}: {}", server.address);
            self.run("check", &["--read-data"], &[server]).expect(0);
            let target = self.place.target("alone");
            let words = ["--no-cache", "--target", target.to_str().unwrap(), "latest"];
            self.run("restore", &words, &[server]).expect(0);
            assert_equal(&now, &Manifest::of(&target).unwrap(), &format!("{what}: {}", server.address));
            fs::remove_dir_all(target).unwrap();
        }
    }

    /// The one that is behind is named, and no other.
    fn names_the_bucket(&self, outcome: &Outcome, what: &str) {
        let storages = outcome.of_type("storage");
        let behind: Vec<String> = storages
            .iter()
            .filter(|line| line["behind"] == true)
            .map(|line| line["storage"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(behind, [self.s3.place(NAME)], "{what}: {outcome:?}");
        assert!(
            storages.iter().all(|line| line["behind"] == line["error"].is_string()),
            "{what}: {storages:?}"
        );
        assert!(outcome.stderr.contains("is behind"), "{what}: {outcome:?}");
    }
}

#[test]
fn the_second_of_two_servers_may_die_at_any_moment_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = match Two::start(folder.path()) {
        Ok(two) => two,
        Err(missing) => return not_run(&missing.0),
    };
    let mut made = vec![id(&two.back_up(&[]).expect(0).summary())];
    two.each_alone(&made, "nothing has happened");
    for (death, heals_by_sync) in [(Death::First, true), (Death::Commit, false), (Death::Last, true)] {
        for copies in ["1", "2"] {
            let what = format!("{death:?}, {copies} copies");
            let is_dead = two.kills_at(death);
            // Two copies are what is wanted when nothing is said.
            let outcome = two.back_up(if copies == "1" { &["--min-copies", "1"] } else { &[] });
            assert!(is_dead.load(Ordering::Relaxed), "{what}: it never died");
            two.names_the_bucket(&outcome, &what);
            let after = two.backups(&[&two.ssh]);
            let is_made = after.len() > made.len();
            if copies == "1" {
                let outcome = outcome.expect(3);
                assert_eq!(after.last(), Some(&id(&outcome.summary())), "{what}");
            } else {
                let outcome = outcome.expect(1).explained();
                assert!(outcome.names("s3://"), "{what}: {outcome:?}");
                // Behind the commit there is nothing that could be taken back: it is on both.
                assert_eq!(is_made, death == Death::Last, "{what}");
            }
            assert!(after.starts_with(&made), "{what}: {after:?}");
            made = after;
            // What is there alone restores alone, while the other is away.
            let target = two.place.target("while away");
            let words = ["--target", target.to_str().unwrap(), "latest"];
            two.run("restore", &words, &two.both()).expect(0);
            fs::remove_dir_all(target).unwrap();
            two.revive();
            if heals_by_sync && is_made {
                two.run("sync", &[], &two.both()).expect(0);
            } else {
                let next = two.back_up(&[]).expect(0);
                made.push(id(&next.summary()));
            }
            two.are_alike(&what);
        }
        two.each_alone(&made, &format!("{death:?}"));
    }
}

/// One that is dead from the start, and one that died unnoticed, as the next command finds it.
#[test]
fn a_server_that_is_away_is_named_by_whatever_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = match Two::start(folder.path()) {
        Ok(two) => two,
        Err(missing) => return not_run(&missing.0),
    };
    two.back_up(&[]).expect(0);
    two.line.change(|plan| plan.refuses = true);
    let refused = two.back_up(&[]).expect(1).explained();
    assert!(refused.names("s3://"), "{refused:?}");
    let behind = two.back_up(&["--min-copies", "1"]).expect(3);
    two.names_the_bucket(&behind, "away from the start");
    let forgotten = two.run("forget", &["--keep-last", "1", "--min-copies", "1"], &two.both()).expect(3);
    two.names_the_bucket(&forgotten, "forget");
    let alone = two.run("list", &[], &[&two.s3]).expect(1).explained();
    assert!(alone.names("s3://") && alone.of_type("backup").is_empty(), "{alone:?}");
    two.line.change(|plan| plan.refuses = false);
    two.run("sync", &[], &two.both()).expect(0);
    let made = two.backups(&[&two.ssh]);
    assert_eq!(made.len(), 1);
    two.each_alone(&made, "what was forgotten meanwhile is gone from both");
}

/// Of a long object that Swift has lost a segment of it says that it is damaged: the rest of what it has counts, what it has lost is read
/// from the other place, and given to it again by whatever makes the two alike.
#[test]
fn a_segment_that_swift_has_lost_is_read_from_the_other_place_and_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let swift = match Swift::start(folder.path(), &Options::default()) {
        Ok(swift) => swift,
        Err(missing) => return not_run(&missing.0),
    };
    let server = Server { options: "?segment-size=1".to_owned(), ..swift.reached() };
    let user = User::new(&server, "both");
    let local = user.place.repository().to_str().unwrap().to_owned();
    let at_both = |verb: &str, more: &[&str]| user.run(verb, &[&["-r", &local], more].concat());
    let lose = || {
        let account = Account::of(&swift);
        let rows = account.objects("backups").into_iter().map(|(name, _)| name);
        let segments: Vec<String> = rows.filter(|name| name.ends_with("/00000001")).collect();
        assert_eq!(segments.len(), 1, "{segments:?}");
        drop(account.ask("DELETE", &format!("backups/{}", segments[0]), &[], b"").well());
    };
    let nobody_is_behind = |outcome: &Outcome| {
        assert!(!outcome.stderr.contains("is behind"), "{outcome:?}");
        assert!(outcome.of_type("storage").iter().all(|line| line["behind"] == false), "{outcome:?}");
    };
    let back_up = || {
        let source = user.place.source();
        let words = ["--engine", "tar", "--no-encryption", "--init", "--incremental"];
        let named = ["--host", "alpha", "--name", "nightly", source.to_str().unwrap()];
        at_both("backup", &[&words[..], &named[..]].concat())
    };
    let restores = |verb: &dyn Fn(&[&str]) -> Outcome, what: &str| {
        let target = user.place.target("back");
        let outcome = verb(&["--target", target.to_str().unwrap(), "latest"]).expect(0);
        let now = Manifest::of(&user.place.source()).unwrap();
        assert_equal(&now, &Manifest::of(&target).unwrap(), what);
        fs::remove_dir_all(target).unwrap();
        outcome
    };
    user.place.write(&[("letters/a", "first")]);
    fs::write(user.place.source().join("long"), Random::new(94).bytes(2_500_000)).unwrap();
    user.place.settle();
    back_up().expect(0);

    lose();
    let alone = user.run("check", &[]).expect(1);
    assert!(alone.stdout.contains("segment"), "{alone:?}");
    nobody_is_behind(&restores(&|more| at_both("restore", more), "a segment is lost"));
    let local_first = |more: &[&str]| {
        let words = [&["-r", user.repository.as_str()], more].concat();
        user.outcome(&mut user.command_at(&local, "restore", &words))
    };
    nobody_is_behind(&restores(&local_first, "a segment is lost, and the folder comes first"));
    let synced = at_both("sync", &[]).expect(0);
    nobody_is_behind(&synced);
    assert_eq!(synced.summary()["repaired"], 1, "{synced:?}");
    user.check_is_clean();
    restores(&|more| user.run("restore", more), "Swift alone, after sync");

    // What makes the two alike before a backup does it, too.
    lose();
    user.place.write(&[("letters/b", "second")]);
    user.place.settle();
    let outcome = back_up().expect(0);
    nobody_is_behind(&outcome);
    assert_eq!(outcome.of_type("object")[0]["done"], "repaired", "{outcome:?}");
    user.check_is_clean();
    restores(&|more| user.run("restore", more), "Swift alone, after the next backup");
}
