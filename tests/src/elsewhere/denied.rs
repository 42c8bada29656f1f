//! Buckets in which nothing can be deleted: by a policy, which makes `forget` an error in words; and by a lock, under which deleting hides
//! an object and keeps it. Backups go on in both, and what is there stays whole.

use super::servers::{Started, s3};
use super::{Server, User, objects};
use crate::place::{assert_equal, id};
use crate::program::{Outcome, not_run};
use icecore::storage::Storage;
use icecore_testkit::ask::{Said, ask_signed};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::wire::{Action, Answer, HttpProxy, Rule};
use std::net::SocketAddr;
use std::path::Path;

/// A bucket, with a policy by which nobody deletes anything in it.
fn kept(folder: &Path) -> Option<Server> {
    match s3(folder) {
        Ok(server) => Some(Server { address: "s3://kept".to_owned(), ..server }),
        Err(missing) => {
            not_run(&missing.0);
            None
        }
    }
}

/// Makes some backups that differ, with the ids and trees of each.
fn history(user: &User<'_>, count: usize, more: &[&str]) -> Vec<(String, Manifest)> {
    let make = |number: usize| {
        user.place
            .write(&[("letters/a", &format!("letter {number}")), (&format!("letters/{number}"), "more")]);
        let made = id(&user.back_up(more));
        (made, Manifest::of(&user.place.source()).unwrap())
    };
    (0..count).map(make).collect()
}

fn all_restore(user: &User<'_>, made: &[(String, Manifest)], what: &str) {
    for (id, expected) in made {
        assert_equal(expected, &user.restored(id, &["--no-cache"]), what);
        std::fs::remove_dir_all(user.place.path().join("targets")).unwrap();
    }
}

fn ids(made: &[(String, Manifest)]) -> Vec<String> {
    made.iter().map(|(id, _)| id.clone()).collect()
}

/// The snapshots whose objects are there, by their ids.
fn snapshots(storage: &dyn Storage) -> Vec<String> {
    let names = objects(storage).into_keys();
    names.filter_map(|name| name.strip_prefix("dedup/snapshots/").map(str::to_owned)).collect()
}

/// What could not be deleted, why, and what may help.
fn says_why(outcome: Outcome, object: &str) {
    let outcome = outcome.expect(1).explained();
    let error = outcome.of_type("error").pop().unwrap();
    assert_eq!(error["kind"], "denied", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(object) && message.contains("s3://"), "{error}");
    assert!(message.contains("AccessDenied") || message.contains("403"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("policy"), "{error}");
}

#[test]
fn what_a_policy_keeps_cannot_be_forgotten_and_backups_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = kept(folder.path()) else { return };
    server.init_cheaply("deduplicated");
    let user = User::new(&server, "deduplicated");
    let mut made = history(&user, 3, &[]);
    let dry = user.run("forget", &["--keep-last", "1", "--dry-run"]).expect(0).summary();
    assert_eq!(dry["removed"], 2);
    assert_eq!(user.backups(), ids(&made));
    let refused = user.run("forget", &["--keep-last", "1"]);
    assert!(refused.names("2 snapshots"), "{refused:?}");
    says_why(refused, "dedup/snapshots/");
    // They are forgotten, as far as that could be done: their objects are told, and keep nothing from working.
    let listed = user.run("list", &[]).expect(0);
    let newest = made.pop().unwrap();
    assert_eq!(listed.of_type("backup").iter().map(id).collect::<Vec<_>>(), [newest.0.as_str()]);
    assert_eq!(listed.of_type("stray").len(), 2, "{listed:?}");
    user.check_is_clean();
    let mut made = vec![newest];
    made.extend(history(&user, 1, &[]));
    assert_eq!(user.backups(), ids(&made));
    user.check_is_clean();
    all_restore(&user, &made, "behind a policy");
    // Once more: what is left of the last time is tried again.
    says_why(user.run("forget", &["--keep-last", "2"]), "dedup/snapshots/");
    assert_eq!(user.backups(), ids(&made));
}

#[test]
fn chains_that_a_policy_keeps_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = kept(folder.path()) else { return };
    let user = User::new(&server, "levels");
    let tar = ["--engine", "tar", "--no-encryption", "--init"];
    let mut made = history(&user, 2, &tar);
    says_why(user.run("forget", &["--keep-last", "1"]), "/metadata");
    assert_eq!(user.backups(), ids(&made));
    user.check_is_clean();
    made.extend(history(&user, 1, &tar));
    assert_eq!(user.backups(), ids(&made));
    user.check_is_clean();
    all_restore(&user, &made, "behind a policy");
}

/// One object is kept by somebody: the others go, and that one is named.
#[test]
fn one_object_that_is_kept_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = match s3(folder.path()) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let port = super::servers::port_of_server(&server);
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], port)));
    server.redirect(port, proxy.port());
    server.init_cheaply("one");
    let user = User::new(&server, "one");
    let made = history(&user, 4, &[]);
    let held = format!("*/dedup/snapshots/{}", made[1].0);
    let denied = "<Error><Code>AccessDenied</Code><Message>held</Message></Error>";
    proxy.add(Rule::new(Action::Answer(Answer::status(403).saying(denied))).on("DELETE", &held));
    let outcome = user.run("forget", &["--keep-last", "1"]);
    assert!(!outcome.names("snapshots that"), "{outcome:?}");
    says_why(outcome, &made[1].0);
    let storage = server.storage("one");
    let mut expected = vec![made[1].0.clone(), made[3].0.clone()];
    expected.sort();
    assert_eq!(snapshots(storage.as_ref()), expected);
    assert_eq!(user.backups(), [made[3].0.as_str()]);
    // The hold ends: the next removal takes it along.
    proxy.clear();
    history(&user, 1, &[]);
    user.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(snapshots(storage.as_ref()), user.backups());
    user.check_is_clean();
}

/// A question about a bucket, signed with the key that the program has.
fn asked(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
    let variable = |name| server.variables.iter().find(|(known, _)| known == name).unwrap().1.as_str();
    let key = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    ask_signed(super::servers::port_of_server(server), (key, &time), method, path, headers, body)
}

/// On any server that speaks S3 and locks objects.
pub fn what_a_lock_keeps_stays(server: Server) {
    let locks = [("x-amz-bucket-object-lock-enabled", "true")];
    drop(asked(&server, "PUT", "/locked", &locks, b"").well());
    let rule = b"<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
        <Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    drop(asked(&server, "PUT", "/locked?object-lock", &[], rule).well());
    let server = Server { address: "s3://locked".to_owned(), ..server };
    // Marks of deletion among them.
    let versions = || {
        let said = asked(&server, "GET", "/locked?versions", &[], b"").well().text();
        said.matches("/dedup/snapshots/").count()
    };
    server.init_cheaply("here");
    let user = User::new(&server, "here");
    let made = history(&user, 3, &[]);
    let before = versions();
    assert_eq!(before, 3);
    user.run("forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(user.backups(), ids(&made)[2..]);
    user.check_is_clean();
    assert_eq!(versions(), before + 2, "what was forgotten has not stayed");
    let mut made = made[2..].to_vec();
    made.extend(history(&user, 1, &[]));
    assert_eq!(user.backups(), ids(&made));
    user.check_is_clean();
    all_restore(&user, &made, "behind a lock");
}

#[test]
fn what_a_lock_keeps_is_hidden_by_forget_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    match Moto::start(folder.path()) {
        Ok(moto) => what_a_lock_keeps_stays(moto.reached()),
        Err(missing) => not_run(&missing.0),
    }
}
