//! Servers that speak HTTP and answer wrongly: every verb ends in a known time, with what it was asked for or with an error that names
//! the storage; nothing comes back short, and nothing goes on the word of a list that shrank.
//!
//! One fault at a time: an answer with an error, an answer that is lost, a body that ends early, a list that is empty, lacks rows or a
//! page, is in another order, or old. It strikes at a request of the verb that is drawn by a fixed seed, once or from there on.

mod rules;

use super::{Server, User, objects, servers, timed};
use crate::in_memory::create_vault;
use crate::place::{assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore::repository::Repository;
use icecore::storage::Storage;
use icecore::storage::local::Local;
use icecore_testkit::manifest::{Manifest, Options, diff};
use icecore_testkit::random::Random;
use icecore_testkit::wire::HttpProxy;
use rules::{Fault, Maker, Times, Tongue};
use servers::Start;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PATIENT: [&str; 4] = ["--timeout", "20", "--retries", "1"];

/// Rows of a page, where lists come in pages.
const PAGE_ROWS: usize = 4;

/// How many backups a forget keeps here.
const KEPT: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Backup,
    Restore,
    List,
    Check,
    ForgetDry,
    Forget,
    Copy,
}

const VERBS: [Verb; 7] =
    [Verb::Backup, Verb::Restore, Verb::List, Verb::Check, Verb::ForgetDry, Verb::Forget, Verb::Copy];

/// Which way of making backups meets the fault: deduplicated ones, or chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Deduplicated,
    Chains,
}

impl Way {
    /// Where its backups are kept.
    fn place(self) -> &'static str {
        match self {
            Way::Deduplicated => "faulty",
            Way::Chains => "faulty-chains",
        }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Way::Deduplicated => &[],
            Way::Chains => &["--engine", "tar", "--no-encryption"],
        }
    }

    /// Whether an object may be gone after a verb: what says that a run is under way, and what is forgotten.
    fn may_go(self, name: &str, verb: Verb) -> bool {
        let is_forget = verb == Verb::Forget;
        match self {
            Way::Deduplicated => {
                name.starts_with("dedup/sessions/") || (is_forget && name.starts_with("dedup/snapshots/"))
            }
            Way::Chains => name.ends_with("/claim") || (is_forget && name.contains("/tar/")),
        }
    }
}

/// How a verb ended, and where it has put what it has put on this machine.
struct Ended {
    outcome: Outcome,
    target: PathBuf,
}

/// A server, somebody who uses it, and what stands between them.
struct Trial<'s> {
    user: User<'s>,
    proxy: &'s HttpProxy,
    maker: Maker,
    way: Way,
    random: Random,
    /// The storage itself.
    storage: Arc<dyn Storage>,
    /// All that was in it before the last verb.
    stored: BTreeMap<String, u64>,
    /// Every backup that was made and is not forgotten, oldest first.
    made: Vec<(String, Manifest)>,
    steps: u64,
    /// How many requests a verb sends when nothing is wrong.
    requests: BTreeMap<Verb, u64>,
}

impl<'s> Trial<'s> {
    fn new(server: &'s Server, proxy: &'s HttpProxy, tongue: Tongue, way: Way, seed: u64) -> Trial<'s> {
        let name = way.place();
        server.init_cheaply(name);
        let user = User::new(server, name);
        user.place.write(&[("letters/a", "first"), ("letters/b", "second"), ("notes", "third")]);
        fs::write(user.place.source().join("noise"), Random::new(seed).bytes(300_000)).unwrap();
        let storage = server.storage(name);
        let mut trial = Trial {
            user,
            proxy,
            maker: Maker { tongue, changed: Arc::default(), is_stale: Arc::default() },
            way,
            random: Random::new(seed),
            stored: objects(storage.as_ref()),
            storage,
            made: Vec::new(),
            steps: 0,
            requests: BTreeMap::new(),
        };
        // Every verb once with nothing wrong: what is right is right, and how many requests it takes is known.
        for verb in [Verb::Backup, Verb::Backup].into_iter().chain(VERBS) {
            let before = trial.proxy.passed().len();
            let ended = trial.run(verb);
            trial.requests.insert(verb, (trial.proxy.passed().len() - before) as u64);
            assert_eq!(ended.outcome.status, 0, "{verb:?}: {:?}", ended.outcome);
            trial.judge(verb, None, &ended);
        }
        trial
    }

    /// Lets a verb work; before a backup something changes.
    fn run(&mut self, verb: Verb) -> Ended {
        let number = self.steps;
        self.steps += 1;
        let (source, target) = (self.user.place.source(), self.user.place.target(&number.to_string()));
        let shown = target.to_str().unwrap().to_owned();
        let mut common = PATIENT.to_vec();
        if self.random.below(2) == 0 {
            common.push("--no-cache");
        }
        let kept = KEPT.to_string();
        let (name, words): (&str, Vec<&str>) = match verb {
            Verb::Backup => {
                let bytes = self.random.bytes(3_000 + number as usize);
                fs::write(source.join(format!("letters/{}", number % 5)), bytes).unwrap();
                self.user.place.settle();
                let words = ["--host", "alpha", "--name", "nightly", source.to_str().unwrap()];
                ("backup", [&words, self.way.words()].concat())
            }
            Verb::Restore => ("restore", vec!["--target", &shown, "latest"]),
            Verb::List => ("list", Vec::new()),
            Verb::Check => ("check", vec!["--read-data"]),
            Verb::ForgetDry => ("forget", vec!["--keep-last", &kept, "--dry-run"]),
            Verb::Forget => ("forget", vec!["--keep-last", &kept]),
            Verb::Copy => ("copy", vec!["--from", &self.user.repository]),
        };
        let words = [words, common].concat();
        let outcome = match verb {
            Verb::Copy => {
                let storage = Arc::new(Local::create(target.clone()).unwrap());
                Repository::create(Arc::clone(&storage) as _, &[9; 16]).unwrap();
                create_vault(storage).unwrap();
                let mut command = self.user.command_at(&shown, name, &words);
                command.env("ICECORE_FROM_PASSWORD", crate::dedup::PASSWORD);
                timed(|| self.user.outcome(&mut command))
            }
            _ => timed(|| self.user.run(name, &words)),
        };
        Ended { outcome, target }
    }

    /// One fault, and one verb that meets it.
    fn meet(&mut self, fault: Fault, times: Times, verb: Verb) -> Ended {
        let (maker, random) = (&self.maker, &mut self.random);
        let rule = maker.rule(fault, times, self.requests[&verb], random);
        self.proxy.add(rule);
        if fault == Fault::Stale {
            // What is listed now is all that will be listed.
            let is_stale = Arc::clone(&self.maker.is_stale);
            is_stale.store(true, Ordering::Relaxed);
            let ended = self.run(Verb::Check);
            assert_eq!(ended.outcome.status, 0, "{:?}", ended.outcome);
            is_stale.store(false, Ordering::Relaxed);
            let ended = self.run(Verb::Backup);
            assert_eq!(ended.outcome.status, 0, "{:?}", ended.outcome);
            self.made.push((id(&ended.outcome.summary()), self.now()));
            self.stored = objects(self.storage.as_ref());
            is_stale.store(true, Ordering::Relaxed);
        }
        let ended = self.run(verb);
        self.proxy.clear();
        self.judge(verb, Some((fault, times)), &ended);
        ended
    }

    fn now(&self) -> Manifest {
        Manifest::of(&self.user.place.source()).unwrap()
    }

    /// What it has said is right or an error, and what is stored is whole.
    fn judge(&mut self, verb: Verb, fault: Option<(Fault, Times)>, ended: &Ended) {
        let what = format!("{:?}, {verb:?}, {fault:?}", self.maker.tongue);
        let is_a_lie = fault.is_some_and(|(fault, _)| fault.is_a_lie());
        match ended.outcome.status {
            0 => self.is_right(verb, is_a_lie, ended, &what),
            status => is_explained(status, is_a_lie, &ended.outcome, &what),
        }
        self.is_whole(verb, &what);
    }

    /// A status of 0 is a promise: all of it is there.
    fn is_right(&mut self, verb: Verb, is_a_lie: bool, ended: &Ended, what: &str) {
        let Ended { outcome, target } = ended;
        match verb {
            Verb::Backup => self.made.push((id(&outcome.summary()), self.now())),
            Verb::Restore => self.is_a_backup(&Manifest::of(target).unwrap(), is_a_lie, what),
            Verb::List => {
                let listed: Vec<String> = outcome.of_type("backup").iter().map(id).collect();
                let made: Vec<String> = self.made.iter().map(|(id, _)| id.clone()).collect();
                match is_a_lie {
                    true => assert!(listed.iter().all(|id| made.contains(id)), "{what}: {outcome:?}"),
                    false => assert_eq!(listed, made, "{what}: {outcome:?}"),
                }
            }
            Verb::Check => {
                let summary = outcome.summary();
                let backups = summary["backups"].as_u64().unwrap() as usize;
                let is_all = if is_a_lie { backups <= self.made.len() } else { backups == self.made.len() };
                assert!(is_all && summary["problems"] == 0, "{what}: {outcome:?}");
            }
            Verb::ForgetDry | Verb::Forget => {
                let kept = outcome.summary()["kept"].as_u64().unwrap() as usize;
                assert!(kept == KEPT.min(self.made.len()) || is_a_lie, "{what}: {outcome:?}");
            }
            Verb::Copy => {
                let place = target.to_str().unwrap();
                let listed = self.user.outcome(&mut self.user.command_at(place, "list", &[])).expect(0);
                let count = listed.of_type("backup").len();
                let is_all = if is_a_lie { count <= self.made.len() } else { count == self.made.len() };
                assert!(is_all, "{what}: {count} of {} were copied: {outcome:?}", self.made.len());
                if count > 0 {
                    let restored = self.user.place.target(&format!("{}-copy", self.steps));
                    let words = ["--target", restored.to_str().unwrap(), "latest"];
                    self.user.outcome(&mut self.user.command_at(place, "restore", &words)).expect(0);
                    self.is_a_backup(&Manifest::of(&restored).unwrap(), is_a_lie, what);
                }
            }
        }
    }

    /// A tree is that of the newest backup; on the word of a list that lacks it, of another one.
    fn is_a_backup(&self, found: &Manifest, is_a_lie: bool, what: &str) {
        let newest = &self.made.last().unwrap().1;
        let is_like = |(_, made): &(String, Manifest)| diff(made, found, &Options::default()).is_empty();
        match is_a_lie {
            true => assert!(self.made.iter().any(is_like), "{what}: it is like no backup"),
            false => assert_equal(newest, found, what),
        }
    }

    /// Nothing has gone but what was to go, and what was made is known.
    fn is_whole(&mut self, verb: Verb, what: &str) {
        let stored = objects(self.storage.as_ref());
        for (name, size_bytes) in &self.stored {
            let may_go = self.way.may_go(name, verb);
            let is_there = stored.get(name) == Some(size_bytes);
            assert!(
                is_there || may_go,
                "{what}: {name} was {size_bytes} bytes, and is {:?}",
                stored.get(name)
            );
        }
        self.stored = stored;
        let listed = self.user.backups();
        let gone = self.made.iter().position(|(id, _)| !listed.contains(id));
        if let Some(first) = gone {
            assert_eq!(verb, Verb::Forget, "{what}: {} is gone", self.made[first].0);
            let newest: Vec<&String> = self.made.iter().rev().take(KEPT).map(|(id, _)| id).collect();
            assert!(newest.iter().all(|id| listed.contains(id)), "{what}: of {newest:?} {listed:?} are left");
            self.made.retain(|(id, _)| listed.contains(id));
        }
        let unknown: Vec<&String> =
            listed.iter().filter(|id| !self.made.iter().any(|(made, _)| made == *id)).collect();
        match (verb, unknown.as_slice()) {
            (_, []) => (),
            // It was committed, and the answer lost.
            (Verb::Backup, [id]) => self.made.push(((*id).clone(), self.now())),
            _ => panic!("{what}: {unknown:?} have come"),
        }
    }

    /// With nothing wrong any more, everything is sound, and restores.
    fn ends_well(&self) {
        self.user.check_is_clean();
        for (id, expected) in &self.made {
            assert_equal(expected, &self.user.restored(id, &[]), id);
        }
    }
}

/// A failure is told in words that name the storage; where a server has lied, what it led to is told.
fn is_explained(status: i32, is_a_lie: bool, outcome: &Outcome, what: &str) {
    assert!(status == 1 || (is_a_lie && [10, 11, 12].contains(&status)), "{what}: {outcome:?}");
    let is_told = outcome.names("") && (is_a_lie || outcome.names("/faulty"));
    assert!(is_told, "{what}: {outcome:?}");
}

/// A server behind a proxy, and what follows with it.
fn with_server(start: Start, tongue: Tongue, way: Way, seed: u64, then: impl FnOnce(Trial<'_>)) {
    behind_a_proxy(start, |server, proxy| then(Trial::new(server, proxy, tongue, way, seed)));
}

fn behind_a_proxy(start: Start, then: impl FnOnce(&Server, &HttpProxy)) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = match start(folder.path()) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let port = servers::port_of_server(&server);
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], port)));
    server.redirect(port, proxy.port());
    then(&server, &proxy);
}

/// Every fault meets a verb, another one with each seed.
fn every_fault_meets_a_verb(start: Start, tongue: Tongue, way: Way, seed: u64) {
    with_server(start, tongue, way, seed, |mut trial| {
        let (before, mut met) = (trial.proxy.struck(), 0);
        for (number, (fault, times)) in rules::all().into_iter().enumerate() {
            let verb = VERBS[(number * 3 + seed as usize) % VERBS.len()];
            trial.meet(fault, times, verb);
            met += 1;
        }
        let changed = trial.maker.changed.load(Ordering::Relaxed);
        assert!(
            trial.proxy.struck() - before > met / 2 && changed > 2,
            "hardly anything was wrong: {changed}"
        );
        trial.ends_well();
    });
}

/// The list of backups has two pages, and the second is lost: nobody can tell that from a list which ends there, but by what was seen of
/// the repository before. Nothing goes that was not to go.
fn pages_are_lost(trial: &mut Trial<'_>) {
    while trial.made.len() <= PAGE_ROWS {
        let ended = trial.run(Verb::Backup);
        trial.judge(Verb::Backup, None, &ended);
    }
    for verb in [Verb::List, Verb::Check, Verb::Backup, Verb::Copy, Verb::Forget] {
        let changed = trial.maker.changed.load(Ordering::Relaxed);
        let ended = trial.meet(Fault::PageLost, Times::Always, verb);
        let lost = trial.maker.changed.load(Ordering::Relaxed) - changed;
        assert!(lost > 0, "{verb:?} met no list of several pages");
        // What this machine has seen of deduplicated backups is missed. A forget looks when it has ended: then one page may hold the rest.
        let misses = trial.way == Way::Deduplicated && verb != Verb::Forget;
        let outcome = ended.outcome;
        assert!(
            !misses || format!("{outcome:?}").contains("was here before, is gone"),
            "{verb:?}: {outcome:?}"
        );
        assert!(!misses || verb != Verb::Check || outcome.status == 1, "{outcome:?}");
    }
}

#[test]
fn whatever_s3_answers_nothing_is_lost() {
    every_fault_meets_a_verb(servers::s3, Tongue::S3, Way::Deduplicated, 1);
}

#[test]
fn whatever_s3_answers_no_chain_is_lost() {
    every_fault_meets_a_verb(servers::s3, Tongue::S3, Way::Chains, 4);
}

#[test]
fn whatever_swift_answers_nothing_is_lost() {
    every_fault_meets_a_verb(servers::tempauth, Tongue::Swift, Way::Deduplicated, 2);
}

#[test]
fn whatever_swift_answers_no_chain_is_lost() {
    every_fault_meets_a_verb(servers::tempauth, Tongue::Swift, Way::Chains, 5);
}

#[test]
fn whatever_a_webdav_server_answers_nothing_is_lost() {
    every_fault_meets_a_verb(servers::dav, Tongue::WebDav, Way::Deduplicated, 3);
}

#[test]
fn whatever_a_webdav_server_answers_no_chain_is_lost() {
    every_fault_meets_a_verb(servers::dav, Tongue::WebDav, Way::Chains, 6);
}

/// A request for what follows is answered as if nothing did.
#[test]
fn whatever_page_of_a_list_of_swift_is_lost_nothing_else_is() {
    behind_a_proxy(
        |folder| servers::of_short_pages(folder, PAGE_ROWS),
        |server, proxy| {
            for way in [Way::Deduplicated, Way::Chains] {
                let mut trial = Trial::new(server, proxy, Tongue::Swift, way, 7);
                pages_are_lost(&mut trial);
                trial.ends_well();
            }
        },
    );
}

/// All of the product, several times over.
#[test]
#[ignore = "takes many minutes"]
fn every_fault_meets_every_verb() {
    let kinds: [(Start, Tongue); 3] =
        [(servers::s3, Tongue::S3), (servers::tempauth, Tongue::Swift), (servers::dav, Tongue::WebDav)];
    let ways = kinds.into_iter().flat_map(|kind| [Way::Deduplicated, Way::Chains].map(|way| (kind, way)));
    for ((start, tongue), way) in ways {
        with_server(start, tongue, way, 11, |mut trial| {
            for (fault, times) in rules::all() {
                for verb in VERBS {
                    trial.meet(fault, times, verb);
                }
            }
            trial.ends_well();
        });
    }
}
