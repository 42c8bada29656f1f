//! S3: on moto, plain and checking signatures; and through proxies that do what some servers and lines do.

mod hosted;
mod lent;
pub mod proxy;

use crate::{access, not_run};
use icecore::error::Retry as Again;
use icecore::name::ObjectName;
use icecore::storage::retry::{Patience, Policy, Retry};
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::time::Timestamp;
use icecore::{Error, Kind, Result};
use icecore_remote::{Access, Address, Intent, Timeouts};
use icecore_testkit::conformance;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::rgw::{self, Gateway};
use icecore_testkit::servers::swift::{self, Swift};
use icecore_testkit::wire::{Action, Answer, HttpProxy, Rule};
use proxy::{Proxy, exchange};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// A server that speaks S3, and a key that it takes.
#[derive(Clone)]
pub struct Target {
    endpoint: String,
    region: String,
    key: (String, String),
}

impl Target {
    fn of(moto: &Moto) -> Target {
        Target { endpoint: moto.endpoint(), region: "us-east-1".to_owned(), key: moto.key.clone() }
    }

    /// Swift's s3api.
    fn of_swift(swift: &Swift) -> Target {
        let key = (swift::USER.0.to_owned(), swift::USER.1.to_owned());
        Target { endpoint: swift.endpoint(), region: "us-east-1".to_owned(), key }
    }

    fn access(&self) -> Access {
        let (id, secret) = &self.key;
        access(&[("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())], None)
    }

    fn address(&self, place: &str) -> Address {
        let join = if place.contains('?') { '&' } else { '?' };
        let text = format!("s3://{place}{join}endpoint={}&region={}", self.endpoint, self.region);
        Address::parse(&text).unwrap()
    }

    fn open(&self, place: &str, intent: Intent) -> Result<Arc<dyn Storage>> {
        icecore_remote::open(&self.address(place), &self.access(), intent)
    }

    fn create(&self, place: &str) -> Arc<dyn Storage> {
        self.open(place, Intent::Create).unwrap()
    }
}

/// The server is handed over whole: it ends with the test.
fn moto(
    start: fn(&std::path::Path) -> Result<Moto, icecore_testkit::servers::NotInstalled>,
) -> Option<(Moto, Target, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    match start(folder.path()) {
        Ok(moto) => {
            let target = Target::of(&moto);
            Some((moto, target, folder))
        }
        Err(reason) => {
            not_run(&reason);
            None
        }
    }
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn bytes_of(seed: u64, length_bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length_bytes).map(|_| next()).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn rows(storage: &dyn Storage, prefix: Option<&str>, depth: Depth) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    storage.list(prefix.map(name).as_ref(), depth, &mut |row| {
        rows.push(match row {
            Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
            Listed::Folder { name } => format!("{name}/"),
            Listed::Stray { label } => format!("? {label}"),
        });
        Ok(())
    })?;
    rows.sort();
    Ok(rows)
}

/// The conformance suite: every case in a prefix of its own of one bucket. What may pass is tried again with `patience`.
pub fn conforms(target: &Target, bucket: &str, patience: &Patience) {
    conforms_but(&[], target, bucket, patience);
}

fn conforms_but(left_out: &[&str], target: &Target, bucket: &str, patience: &Patience) {
    let count = AtomicUsize::new(0);
    conformance::run_but(left_out, &|| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Retry::new(target.create(&format!("{bucket}/case {number}")), patience.clone()))
    });
}

/// Long objects: several parts, ranges across their borders, conditions at the end, nothing left of what was dropped.
pub fn long_objects(target: &Target, bucket: &str) {
    let storage = target.create(&format!("{bucket}/long?part-size=5"));
    let bytes = bytes_of(1, (23 << 20) + 12_345);
    let write = |text: &str, mode| -> Result<()> {
        let mut writer = storage.writer(&name(text), mode)?;
        bytes.chunks(777_777).try_for_each(|piece| writer.write(piece))?;
        writer.finish()
    };
    write("object", PutMode::CreateNew).unwrap();
    assert_eq!(storage.stat(&name("object")).unwrap().size_bytes, bytes.len() as u64);
    for (offset, length) in [(0, 10), ((5 << 20) - 7, 14), ((20 << 20) - 1, 4 << 20), (0, bytes.len())] {
        let end = (offset + length).min(bytes.len());
        assert!(
            storage.read(&name("object"), offset as u64, length).unwrap() == bytes[offset..end],
            "{offset}"
        );
    }
    write("object", PutMode::Replace).unwrap();
    assert_eq!(write("object", PutMode::CreateNew).unwrap_err().kind(), Kind::AlreadyExists);

    // The name is taken while a long object is on its way.
    let mut writer = storage.writer(&name("overtaken"), PutMode::CreateNew).unwrap();
    writer.write(&bytes).unwrap();
    storage.put(&name("overtaken"), b"fast", PutMode::CreateNew).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(storage.read(&name("overtaken"), 0, 10).unwrap(), b"fast");

    // Exactly one part, and exactly two.
    for parts in [1, 2] {
        let text = format!("border/{parts}");
        let mut writer = storage.writer(&name(&text), PutMode::CreateNew).unwrap();
        writer.write(&bytes[..parts * (5 << 20)]).unwrap();
        writer.finish().unwrap();
        assert_eq!(storage.stat(&name(&text)).unwrap().size_bytes, (parts * (5 << 20)) as u64);
    }

    let mut writer = storage.writer(&name("dropped"), PutMode::Replace).unwrap();
    writer.write(&bytes).unwrap();
    drop(writer);
    assert_eq!(storage.stat(&name("dropped")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(storage.clean_temporaries(Timestamp(now() + 3600)).unwrap(), 0, "an upload was left behind");
}

/// What killed programs leave is found by its age, and only below the root.
pub fn leftovers(target: &Target, bucket: &str) {
    let storage = target.create(&format!("{bucket}/left?part-size=5"));
    let beside = target.create(&format!("{bucket}/left beside?part-size=5"));
    for (storage, text) in [(&storage, "a/ö b"), (&storage, "c"), (&beside, "d")] {
        let mut writer = storage.writer(&name(text), PutMode::CreateNew).unwrap();
        writer.write(&bytes_of(2, 11 << 20)).unwrap();
        // As if the program had been killed, once its parts have arrived.
        std::thread::sleep(Duration::from_secs(1));
        std::mem::forget(writer);
    }
    assert_eq!(storage.clean_temporaries(Timestamp(now() - 3600)).unwrap(), 0, "it may still be written to");
    assert_eq!(storage.clean_temporaries(Timestamp(now() + 3600)).unwrap(), 2);
    assert_eq!(storage.clean_temporaries(Timestamp(now() + 3600)).unwrap(), 0);
    assert_eq!(beside.clean_temporaries(Timestamp(now() + 3600)).unwrap(), 1);
}

/// A place that is missing is made only when it is meant to be.
pub fn missing_place(target: &Target, bucket: &str) {
    let error = target.open(&format!("{bucket}/x"), Intent::Open).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::NotFound, Again::Never), "{error}");
    // Whoever uses it at once learns it from every request, and takes nothing in it for missing.
    let storage = target.open(&format!("{bucket}/x"), Intent::Use).unwrap();
    let outcomes = [
        storage.read(&name("a"), 0, 1).map(drop),
        storage.stat(&name("a")).map(drop),
        storage.remove(&name("a")),
        storage.put(&name("a"), b"", PutMode::Unique),
        rows(storage.as_ref(), None, Depth::All).map(drop),
    ];
    for error in outcomes.map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.retry()), (Kind::NoRepository, Again::Never), "{error}");
        assert!(error.to_string().contains("there is no bucket called"), "{error}");
    }
    target.create(&format!("{bucket}/x"));
    assert_eq!(storage.read(&name("a"), 0, 1).unwrap_err().kind(), Kind::NotFound);
    target.create(&format!("{bucket}/x"));
    let storage = target.open(&format!("{bucket}/x"), Intent::Open).unwrap();
    assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), [""; 0]);
}

/// Two storages of one bucket do not see each other, whatever their prefixes begin with.
pub fn two_storages(target: &Target, bucket: &str) {
    let (one, other) = (target.create(&format!("{bucket}/a")), target.create(&format!("{bucket}/ab")));
    let root = target.create(bucket);
    one.put(&name("x/y"), b"one", PutMode::CreateNew).unwrap();
    other.put(&name("x/y"), b"other", PutMode::CreateNew).unwrap();
    assert_eq!(one.read(&name("x/y"), 0, 9).unwrap(), b"one");
    assert_eq!(one.read(&name("x/y"), 1, usize::MAX).unwrap(), b"ne");
    for (offset, length) in [(0, 0), (3, 5), (u64::MAX, 5), (u64::MAX, usize::MAX)] {
        assert_eq!(one.read(&name("x/y"), offset, length).unwrap(), b"", "{length} at {offset}");
    }
    assert_eq!(rows(one.as_ref(), None, Depth::All).unwrap(), ["x/y 3"]);
    assert_eq!(rows(other.as_ref(), None, Depth::One).unwrap(), ["x/"]);
    assert_eq!(rows(root.as_ref(), None, Depth::All).unwrap(), ["a/x/y 3", "ab/x/y 5"]);
    assert_eq!(rows(root.as_ref(), Some("a"), Depth::One).unwrap(), ["a/x/"]);
}

/// A list of several pages.
pub fn long_list(target: &Target, bucket: &str) {
    const THREADS: usize = 8;
    const EACH: usize = 290;
    let storage = target.create(&format!("{bucket}/many"));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let storage = &storage;
            scope.spawn(move || {
                for number in 0..EACH {
                    storage.put(&name(&format!("{thread} +/{number}")), b"x", PutMode::Replace).unwrap();
                }
            });
        }
    });
    let mut expected: Vec<String> = (0..THREADS)
        .flat_map(|thread| (0..EACH).map(move |number| format!("{thread} +/{number} 1")))
        .collect();
    expected.sort();
    assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), expected);
    assert_eq!(rows(storage.as_ref(), None, Depth::One).unwrap().len(), THREADS);
    assert_eq!(rows(storage.as_ref(), Some("3 +"), Depth::One).unwrap().len(), EACH);
}

/// Everything above.
pub fn everything(target: &Target, bucket: &str, patience: &Patience) {
    missing_place(target, &format!("{bucket}-missing"));
    conforms(target, bucket, patience);
    long_objects(target, bucket);
    leftovers(target, bucket);
    two_storages(target, &format!("{bucket}-two"));
}

#[test]
fn moto_that_checks_signatures_passes() {
    let Some((_moto, target, _folder)) = moto(Moto::strict) else { return };
    everything(&target, "strict", &Patience::none());
}

/// Swift heeds a condition by looking first: of those who create one object in the same moment several are told that they did.
const RACES: [&str; 2] = ["of racing creations one wins", "of racing writers one wins"];

/// Swift's other tongue.
#[test]
#[ignore = "takes too long beside its like with Swift itself: scripts/test-long"]
fn the_contract_holds_over_s3_of_swift() {
    let folder = tempfile::tempdir().unwrap();
    let swift = match Swift::start(folder.path(), &swift::Options::default()) {
        Ok(swift) => swift,
        Err(reason) => return not_run(&reason),
    };
    let target = Target::of_swift(&swift);
    conforms_but(&RACES, &target, "contract", &Patience::none());
}

/// Over Swift's s3api an object that is there is not replaced; that one of several wins is not promised, and the user is told once.
pub fn s3_of_swift_promises_no_winner(swift: &Swift) {
    let target = Target::of_swift(swift);
    let mut access = target.access();
    let told = told(&mut access);
    let storage = icecore_remote::open(&target.address("races"), &access, Intent::Create).unwrap();
    for text in ["first", "second"] {
        assert!(!storage.capabilities().create_new_is_atomic);
        storage.put(&name(text), b"1", PutMode::CreateNew).unwrap();
        // The condition is heeded: this one is refused by the server, without being looked for before.
        let error = storage.put(&name(text), b"x", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert!(!storage.capabilities().create_new_is_atomic);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("looks first and stores then"), "{told:?}");
}

#[test]
#[ignore = "starting Ceph takes half a minute: scripts/test-long"]
fn the_gateway_of_ceph_passes() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = match Gateway::start(folder.path()) {
        Ok(gateway) => gateway,
        Err(reason) => return not_run(&reason),
    };
    let key = gateway.key.clone();
    let target = Target { endpoint: gateway.endpoint(), region: "us-east-1".to_owned(), key };
    // It answers 500 to who reads an object in the moment in which it is replaced.
    everything(&target, "ceph", &patient());
    long_list(&target, "ceph-many");
    let storage = target.create("ceph-condition");
    storage.put(&name("first"), b"1", PutMode::CreateNew).unwrap();
    assert!(storage.capabilities().create_new_is_atomic);
    hosted::passes(gateway.port, rgw::HOST, &target.key);
    let wrong = Target { key: (target.key.0.clone(), "wrong".to_owned()), ..target };
    let error = wrong.open("ceph", Intent::Open).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
}

#[test]
fn two_storages_of_one_bucket_are_apart() {
    let Some((_moto, target, _folder)) = moto(Moto::start) else { return };
    two_storages(&target, "two");
}

#[test]
fn a_list_of_several_pages_is_whole() {
    let Some((_moto, target, _folder)) = moto(Moto::start) else { return };
    long_list(&target, "paged");
}

#[test]
fn a_wrong_key_is_denied_and_not_shown() {
    let Some((_moto, target, _folder)) = moto(Moto::strict) else { return };
    target.create("keys");
    let wrong = [
        (target.key.0.clone(), "wrongsecret".to_owned()),
        ("AKIAWRONGWRONGWRONG1".to_owned(), target.key.1.clone()),
    ];
    for key in wrong {
        let secret = key.1.clone();
        let error = Target { key, ..target.clone() }.open("keys", Intent::Create).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
        let told = format!("{error} {error:?} {:?}", error.advice());
        assert!(!told.contains(&secret), "{told}");
        assert!(error.advice().is_some(), "{told}");
    }
}

#[test]
fn a_certificate_that_nobody_knows_is_refused_unless_it_is_named() {
    let Some((moto, mut target, folder)) = moto(Moto::tls) else { return };
    target.endpoint = format!("https://localhost:{}", moto.port);
    let error = target.open("sealed", Intent::Create).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains("AWS_CA_BUNDLE")), "{error}");
    let named = folder.path().join("own.crt");
    let named = named.to_str().unwrap();
    let variables = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_CA_BUNDLE", named)];
    let storage =
        icecore_remote::open(&target.address("sealed"), &access(&variables, None), Intent::Create).unwrap();
    storage.put(&name("a"), b"1", PutMode::CreateNew).unwrap();
    assert_eq!(storage.read(&name("a"), 0, 9).unwrap(), b"1");
    // To who asks without TLS the server does not answer in HTTP.
    target.endpoint = format!("http://localhost:{}", moto.port);
    assert_eq!(target.open("sealed", Intent::Open).err().unwrap().kind(), Kind::Io);
}

#[test]
fn a_denied_delete_says_why() {
    let Some((_moto, target, _folder)) = moto(Moto::strict) else { return };
    let storage = target.create("kept/x");
    storage.put(&name("a"), b"1", PutMode::CreateNew).unwrap();
    let error = storage.delete(&name("a")).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains("lock")), "{error}");
    assert_eq!(storage.read(&name("a"), 0, 9).unwrap(), b"1");
}

#[test]
fn without_keys_nothing_is_asked_of_the_server() {
    let target =
        Target { endpoint: "http://127.0.0.1:9".to_owned(), region: "x".to_owned(), key: Default::default() };
    let none = access(&[("AWS_EC2_METADATA_DISABLED", "true")], None);
    let error = icecore_remote::open(&target.address("b"), &none, Intent::Open).err().unwrap();
    assert_eq!(error.kind(), Kind::Denied);
    let half = access(&[("AWS_ACCESS_KEY_ID", "half")], None);
    let error = icecore_remote::open(&target.address("b"), &half, Intent::Open).err().unwrap();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn keys_of_a_profile_are_found() {
    let Some((_moto, target, folder)) = moto(Moto::strict) else { return };
    std::fs::create_dir(folder.path().join(".aws")).unwrap();
    let (id, secret) = &target.key;
    let keys = format!("[mine]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(folder.path().join(".aws/credentials"), keys).unwrap();
    let config = format!("[profile mine]\nregion = us-east-1\nendpoint_url = {}\n", target.endpoint);
    std::fs::write(folder.path().join(".aws/config"), config).unwrap();
    // Keys of the environment do not count where the address names a profile.
    let mut access = access(&[("AWS_ACCESS_KEY_ID", "other"), ("AWS_SECRET_ACCESS_KEY", "other")], None);
    access.home = Some(folder.path().to_owned());
    let address = Address::parse("s3://profiled/x?profile=mine").unwrap();
    let storage = icecore_remote::open(&address, &access, Intent::Create).unwrap();
    storage.put(&name("a"), b"b", PutMode::CreateNew).unwrap();
    let address = Address::parse("s3://profiled/x?profile=absent").unwrap();
    let error = icecore_remote::open(&address, &access, Intent::Create).err().unwrap();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn a_server_that_was_started_again_is_used_again() {
    let Some((mut moto, target, folder)) = moto(Moto::start) else { return };
    let storage = target.create("again");
    storage.put(&name("a"), b"1", PutMode::Replace).unwrap();
    moto.server.kill();
    let error = storage.stat(&name("a")).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
    let _moto = Moto::at(folder.path(), moto.port).unwrap();
    target.create("again");
    storage.put(&name("a"), b"2", PutMode::CreateNew).unwrap();
    assert_eq!(storage.read(&name("a"), 0, 9).unwrap(), b"2");
}

#[test]
fn a_bucket_that_is_gone_is_no_empty_list() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let storage = target.create("gone");
    assert!(exchange(moto.port, "DELETE", "/gone", b"").starts_with("HTTP/1.1 204"));
    let error = rows(storage.as_ref(), None, Depth::All).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
    let error = storage.read(&name("x"), 0, 1).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
}

#[test]
fn keys_that_are_no_names_are_strays() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let storage = target.create("odd/root");
    for key in ["root/", "root/folder/", "root/a//b", "root/c/%2E%2E/d", "root/good/object"] {
        let answer = exchange(moto.port, "PUT", &format!("/odd/{key}"), b"x");
        assert!(answer.starts_with("HTTP/1.1 200"), "{key}: {answer}");
    }
    let found = rows(storage.as_ref(), None, Depth::All).unwrap();
    assert!(found.contains(&"good/object 1".to_owned()), "{found:?}");
    for stray in ["? root/", "? root/folder/", "? root/a//b"] {
        assert!(found.contains(&stray.to_owned()), "{stray} in {found:?}");
    }
    let found = rows(storage.as_ref(), None, Depth::One).unwrap();
    for row in ["good/", "a/", "folder/"] {
        assert!(found.contains(&row.to_owned()), "{row} in {found:?}");
    }
}

/// Tells what the user was told.
fn told(access: &mut Access) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&told);
    access.warn = Arc::new(move |text| into.lock().unwrap().push(text.to_owned()));
    told
}

#[test]
fn a_server_that_ignores_conditions_is_found_out() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let heeding = target.create("heeding");
    assert!(!heeding.capabilities().create_new_is_atomic, "it is not known yet");
    heeding.put(&name("first"), b"1", PutMode::CreateNew).unwrap();
    assert!(heeding.capabilities().create_new_is_atomic);

    let proxy = Proxy::start(moto.port, |head| {
        let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("if-none-match"));
        kept.collect::<Vec<_>>().join("\r\n")
    });
    let target = Target { endpoint: proxy.endpoint(), ..target };
    let mut access = target.access();
    let told = told(&mut access);
    let storage = icecore_remote::open(&target.address("ignoring"), &access, Intent::Create).unwrap();
    for (text, bytes) in [("first", b"1"), ("second", b"2")] {
        storage.put(&name(text), bytes, PutMode::CreateNew).unwrap();
        let error = storage.put(&name(text), b"x", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert_eq!(storage.read(&name(text), 0, 9).unwrap(), bytes);
    }
    assert!(!storage.capabilities().create_new_is_atomic);
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[test]
fn a_server_that_does_not_know_the_checksum_is_sent_one_that_it_knows() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let direct = target.create("older");
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], moto.port)));
    let refusal = |header: &str| {
        let words = format!("Unsupported header '{header}' received for this API call.");
        let body = format!("<Error><Code>InvalidArgument</Code><Message>{words}</Message></Error>");
        let header = header.to_owned();
        let answer = Answer::status(400).saying(body);
        Rule::new(Action::Answer(answer)).when(move |request| request.header(&header).is_some())
    };
    proxy.add(refusal("x-amz-sdk-checksum-algorithm"));
    proxy.add(refusal("x-amz-checksum-crc32"));
    let none = Rule::new(Action::status(400)).on("PUT", "*");
    proxy.add(none.when(|request| request.header("content-md5").is_none()));
    let target = Target { endpoint: format!("http://{}", proxy.address()), ..target };
    let storage = target.open("older", Intent::Open).unwrap();
    for (text, bytes) in [("first", b"1"), ("second", b"2")] {
        storage.put(&name(text), bytes, PutMode::CreateNew).unwrap();
        assert_eq!(direct.read(&name(text), 0, 9).unwrap(), bytes);
    }
    assert_eq!(proxy.struck(), 1, "it is not tried again");
}

/// Tries a second and a third time, without waiting.
fn patient() -> Patience {
    Patience::new(Policy { attempts: 4, ..Policy::default() }, Arc::new(|_| Ok(())))
}

#[test]
fn a_lost_answer_to_the_last_step_is_no_failure() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    target.create("lost");
    let direct = target.create("lost");
    // Sends each request on, and keeps the first answer to the end of an upload, and to a put, for itself.
    let lost = Arc::new(Mutex::new(Vec::new()));
    let remembered = Arc::clone(&lost);
    let proxy = Proxy::losing(moto.port, move |head| {
        let first = head.split("\r\n").next().unwrap_or_default();
        let is_end =
            first.starts_with("POST") && first.contains("uploadId") || first.starts_with("PUT /lost/small");
        let mut lost = remembered.lock().unwrap();
        let is_new = is_end && !lost.contains(&first.to_owned());
        if is_new {
            lost.push(first.to_owned());
        }
        is_new
    });
    let target = Target { endpoint: proxy.endpoint(), ..target };
    let mut access = target.access();
    access.patience = patient();
    let storage = icecore_remote::open(&target.address("lost?part-size=5"), &access, Intent::Open).unwrap();
    let bytes = bytes_of(3, 12 << 20);
    for (text, length) in [("long", bytes.len()), ("small", 1000)] {
        let mut writer = storage.writer(&name(text), PutMode::CreateNew).unwrap();
        writer.write(&bytes[..length]).unwrap();
        writer.finish().unwrap();
        assert!(direct.read(&name(text), 0, bytes.len()).unwrap() == bytes[..length]);
    }
    assert_eq!(lost.lock().unwrap().len(), 2, "{lost:?}");
}

#[test]
fn an_upload_whose_end_may_have_happened_is_not_aborted() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let direct = target.create("doubt");
    let aborts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&aborts);
    let proxy = Proxy::losing(moto.port, move |head| {
        counted.fetch_add(usize::from(head.starts_with("DELETE")), Ordering::Relaxed);
        head.starts_with("POST") && head.contains("uploadId")
    });
    let target = Target { endpoint: proxy.endpoint(), ..target };
    let mut access = target.access();
    let told = told(&mut access);
    let storage = icecore_remote::open(&target.address("doubt?part-size=5"), &access, Intent::Open).unwrap();
    let bytes = bytes_of(5, 12 << 20);
    let mut writer = storage.writer(&name("long"), PutMode::Replace).unwrap();
    writer.write(&bytes).unwrap();
    assert_eq!(writer.finish().unwrap_err().retry(), Again::Later);
    assert_eq!(aborts.load(Ordering::Relaxed), 0);
    assert!(told.lock().unwrap().iter().any(|text| text.contains("is not known")), "{told:?}");
    // It had happened.
    assert!(direct.read(&name("long"), 0, bytes.len() + 1).unwrap() == bytes);
    // One that did not come to its end is taken back.
    let mut writer = storage.writer(&name("dropped"), PutMode::Replace).unwrap();
    writer.write(&bytes).unwrap();
    drop(writer);
    assert_eq!(aborts.load(Ordering::Relaxed), 1);
}

#[test]
fn parts_whose_connection_broke_are_sent_again() {
    let Some((moto, target, _folder)) = moto(Moto::start) else { return };
    let direct = target.create("broken");
    let count = AtomicUsize::new(0);
    let proxy = Proxy::losing(moto.port, move |head| {
        let is_part = head.starts_with("PUT") && head.contains("partNumber=");
        is_part && count.fetch_add(1, Ordering::Relaxed) % 3 == 1
    });
    let target = Target { endpoint: proxy.endpoint(), ..target };
    let mut access = target.access();
    access.patience = patient();
    let storage = icecore_remote::open(&target.address("broken?part-size=5"), &access, Intent::Open).unwrap();
    let bytes = bytes_of(4, 37 << 20);
    let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
    bytes.chunks(1 << 20).for_each(|piece| writer.write(piece).unwrap());
    writer.finish().unwrap();
    assert!(direct.read(&name("long"), 0, bytes.len() + 1).unwrap() == bytes);
}

/// What comes of a server that answers `said` to everything, and then nothing more; and how long it took.
fn open_at(said: &'static [u8], hangs: bool) -> (Error, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || proxy::say(&listener, said, hangs));
    let key = ("a".to_owned(), "b".to_owned());
    let target = Target { endpoint: format!("http://127.0.0.1:{port}"), region: "x".to_owned(), key };
    let mut access = target.access();
    access.timeouts =
        Timeouts { connect: Duration::from_secs(1), idle: Duration::from_secs(1), ..Timeouts::default() };
    let begun = Instant::now();
    let error = icecore_remote::open(&target.address("b"), &access, Intent::Open).err().unwrap();
    (error, begun.elapsed())
}

#[test]
fn a_server_that_stalls_or_breaks_off_is_an_error_in_time() {
    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 500\r\n\r\n<ListBucketResult>";
    const CUT: &[u8] =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<ListBucketResult><IsTruncated>false</IsTruncated>";
    const ENDLESS: &[u8] =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    for (said, hangs) in [(&b""[..], true), (b"HTTP/1.1 2", true), (HEAD, true), (b"", false), (HEAD, false)]
    {
        let (error, took) = open_at(said, hangs);
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
        assert!(took < Duration::from_secs(30), "{took:?}: {error}");
    }
    for said in [CUT, ENDLESS] {
        assert_eq!(open_at(said, false).0.kind(), Kind::Damaged);
    }
    let (busy, _) = open_at(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", false);
    assert_eq!((busy.kind(), busy.retry()), (Kind::Io, Again::Later));
    let (full, _) = open_at(b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\n\r\n", false);
    assert_eq!((full.kind(), full.retry()), (Kind::NoSpace, Again::Never));
}
