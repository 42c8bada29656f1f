//! Copies close by of what is far away: they save requests, and nothing goes wrong when they vanish under those that use them.

use super::servers::Started;
use super::{Server, User};
use crate::place::{assert_equal, id};
use crate::program::not_run;
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::wire::HttpProxy;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// How many requests a command sends, which must end well.
#[track_caller]
fn requests(proxy: &HttpProxy, user: &User<'_>, verb: &str, more: &[&str]) -> usize {
    let before = proxy.passed().len();
    user.run(verb, more).expect(0);
    proxy.passed().len() - before
}

/// Two restores at once, from whose feet the copies are pulled again and again.
fn copies_vanish(user: &User<'_>, cache: &Path, backup: &str, expected: &Manifest) {
    let targets = ["one", "other"].map(|name| user.place.target(name));
    let mut runs: Vec<Running> = targets
        .iter()
        .map(|target| {
            Running::start(user.command("restore", &["--target", target.to_str().unwrap(), backup]))
        })
        .collect();
    let mut removed = 0;
    while !runs.iter_mut().all(Running::has_ended) {
        // What is put there meanwhile may keep a folder from being removed.
        removed += u32::from(cache.exists() && fs::remove_dir_all(cache).is_ok());
        std::thread::yield_now();
    }
    assert!(removed > 1, "they never vanished under a run");
    for (run, target) in runs.into_iter().zip(targets) {
        run.wait().expect(0);
        assert_equal(expected, &Manifest::of(&target).unwrap(), "with copies that vanish");
    }
}

#[test]
fn copies_close_by_save_requests_and_may_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let moto = match Moto::strict(folder.path()) {
        Ok(moto) => moto,
        Err(missing) => return not_run(&missing.0),
    };
    let mut server: Server = moto.reached();
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], moto.port)));
    server.redirect(moto.port, proxy.port());
    server.init_cheaply("cached");
    let user = User::new(&server, "cached");
    fs::write(user.place.source().join("noise"), Random::new(101).bytes(3 << 20)).unwrap();
    user.place.write(&[("letters/a", "first"), ("letters/b", "second"), ("notes", "third")]);
    // Several indexes, and several packs with lists of files.
    user.back_up(&["--no-cache"]);
    user.place.write(&[("letters/another", "one more")]);
    let newest = id(&user.back_up(&["--no-cache"]));
    let now = Manifest::of(&user.place.source()).unwrap();

    let cache = user.place.program.home().join(".cache/icecore");
    assert!(!cache.exists(), "--no-cache keeps something");
    for words in [&["latest:letters"][..], &["--recursive", "latest~1"]] {
        let first = requests(&proxy, &user, "ls", words);
        let second = requests(&proxy, &user, "ls", words);
        let without = requests(&proxy, &user, "ls", &[&["--no-cache"], words].concat());
        assert!(second < first && second < without, "{words:?}: {first}, then {second}, without {without}");
    }
    copies_vanish(&user, &cache, &newest, &now);

    // They are made anew, and are right.
    let before = requests(&proxy, &user, "ls", &["latest:letters"]);
    let after = requests(&proxy, &user, "ls", &["latest:letters"]);
    assert!(after < before, "{before}, then {after}");
    assert_equal(&now, &user.restored(&newest, &[]), "by copies");
}
