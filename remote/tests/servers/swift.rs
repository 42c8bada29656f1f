//! OpenStack Swift, with its own login and with Keystone's.

use crate::s3::proxy::Proxy;
use crate::s3::s3_of_swift_promises_no_winner;
use crate::{access, not_run};
use icecore::error::{Error, Kind, Result, Retry as Again};
use icecore::name::ObjectName;
use icecore::storage::retry::{Patience, Policy};
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::time::Timestamp;
use icecore_remote::{Access, Address, Intent, Timeouts, open};
use icecore_testkit::conformance;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::servers::keystone::{self, Keystone};
use icecore_testkit::servers::swift::{Options, Swift, USER};
use reqwest::{Client, Method, StatusCode};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn access_to(variables: &[(String, String)]) -> Access {
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    // Six servers in Python share this machine with other tests.
    Access {
        timeouts: Timeouts { idle: Duration::from_secs(90), ..Timeouts::default() },
        ..access(&variables, None)
    }
}

fn at(address: &str, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    open(&Address::parse(address).unwrap(), access, intent)
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 % 256) as u8 ^ (at % 256) as u8).collect()
}

fn write(storage: &dyn Storage, text: &str, bytes: &[u8], mode: PutMode) -> Result<()> {
    let mut writer = storage.writer(&name(text), mode)?;
    for piece in bytes.chunks(300_001) {
        writer.write(piece)?;
    }
    writer.finish()
}

fn rows(storage: &dyn Storage, prefix: Option<&str>, depth: Depth) -> Vec<String> {
    let mut rows = Vec::new();
    let listed = storage.list(prefix.map(name).as_ref(), depth, &mut |row| {
        rows.push(match row {
            Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
            Listed::Folder { name } => format!("{name}/"),
            Listed::Stray { label } => format!("? {label}"),
        });
        Ok(())
    });
    listed.unwrap();
    rows.sort();
    rows
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// The account as any other client sees it.
struct Raw {
    runtime: Runtime,
    client: Client,
    url: String,
    token: String,
}

impl Raw {
    fn new(swift: &Swift) -> Raw {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = Client::new();
        let (user, key) = USER;
        let login = client.get(swift.login()).header("x-auth-user", user).header("x-auth-key", key);
        let answer = runtime.block_on(login.send()).unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        Raw { url: header("x-storage-url"), token: header("x-auth-token"), runtime, client }
    }

    fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> reqwest::Response {
        let mut request = self
            .client
            .request(method.clone(), format!("{}/{path}", self.url))
            .header("x-auth-token", &self.token);
        if method == Method::PUT {
            request = request.header("content-length", body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(request.body(body.to_vec()).send()).unwrap()
    }

    fn put(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        assert_eq!(self.send(Method::PUT, path, headers, body).status(), StatusCode::CREATED, "{path}");
    }

    fn delete(&self, path: &str) {
        assert!(self.send(Method::DELETE, path, &[], b"").status().is_success(), "{path}");
    }

    fn names(&self, container: &str) -> Vec<String> {
        let answer = self.send(Method::GET, container, &[], b"");
        assert!(answer.status().is_success());
        let text = self.runtime.block_on(answer.text()).unwrap();
        // Tickets are given back when the storage is closed, if not before.
        text.lines().filter(|name| !name.contains(".icecore-creating/")).map(str::to_owned).collect()
    }

    /// Lengths of the segments below a folder.
    fn lengths(&self, container: &str, folder: &str) -> Vec<u64> {
        let answer = self.send(Method::GET, &format!("{container}?format=json&prefix={folder}"), &[], b"");
        let rows: serde_json::Value =
            serde_json::from_slice(&self.runtime.block_on(answer.bytes()).unwrap()).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).collect()
    }
}

/// A cluster in a folder of its own, or word that there is none.
fn started(options: &Options) -> Option<(tempfile::TempDir, Swift)> {
    let folder = tempfile::tempdir().unwrap();
    match Swift::start(folder.path(), options) {
        Ok(swift) => Some((folder, swift)),
        Err(reason) => {
            not_run(&reason);
            None
        }
    }
}

const STREAM: &str = "data/tar/h_n/1795485744/0_1795485744/data";

#[test]
fn the_contract_holds() {
    // Listings and manifests of several pages.
    let Some((_folder, swift)) = started(&Options { listing_limit: Some(7), ..Options::default() }) else {
        return;
    };
    conforms("contract", &access_to(&swift.variables()));
}

/// The conformance suite, each case in a folder of its own of a container.
fn conforms(container: &str, access: &Access) {
    let count = AtomicU32::new(0);
    conformance::run(&|| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let address = format!("swift://{container}/case/{number}?segment-size=1");
        at(&address, access, Intent::Create).unwrap()
    });
}

#[test]
fn long_objects_are_as_freezer_writes_them() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    let storage = at("swift://frz/sub dir?segment-size=1", &access, Intent::Create).unwrap();
    let bytes = bytes_of(5 << 19);
    write(storage.as_ref(), STREAM, &bytes, PutMode::CreateNew).unwrap();

    let stem = format!("sub dir/{}", STREAM.strip_suffix("data").unwrap());
    let expected = ["data", "segments/00000000", "segments/00000001", "segments/00000002"]
        .map(|end| format!("{stem}{end}"));
    assert_eq!(raw.names("frz"), expected);
    assert_eq!(raw.lengths("frz", &format!("{stem}segments/")), [1 << 20, 1 << 20, 1 << 19]);
    let manifest = raw.send(Method::HEAD, &format!("frz/{stem}data?multipart-manifest=get"), &[], b"");
    let header = |name: &str| manifest.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("x-object-manifest"), Some(format!("frz/{stem}segments")));
    assert_eq!(header("content-length").as_deref(), Some("0"));
    let segment = raw.send(Method::GET, &format!("frz/{stem}segments/00000002"), &[], b"");
    assert_eq!(segment.headers()["content-type"], "application/octet-stream");
    assert!(raw.runtime.block_on(segment.bytes()).unwrap() == bytes[2 << 20..]);
    // As Freezer reads it.
    let whole = raw.send(Method::GET, &format!("frz/{stem}data"), &[], b"");
    assert!(raw.runtime.block_on(whole.bytes()).unwrap() == bytes);

    assert_eq!(rows(storage.as_ref(), None, Depth::All), [format!("{STREAM} {}", bytes.len())]);
    let folder = STREAM.rsplit_once('/').unwrap().0;
    assert_eq!(rows(storage.as_ref(), Some(folder), Depth::One), [format!("{STREAM} {}", bytes.len())]);
    assert_eq!(storage.stat(&name(STREAM)).unwrap().size_bytes, bytes.len() as u64);
    for (offset, length) in
        [(0, bytes.len()), ((1 << 20) - 3, 7), (0, 3 << 20), (2 << 20, 10), ((5 << 19) - 1, 5)]
    {
        let expected = &bytes[offset..bytes.len().min(offset + length)];
        assert!(
            storage.read(&name(STREAM), offset as u64, length).unwrap() == expected,
            "{length} at {offset}"
        );
    }
    // A name of a segment is nobody else's.
    let segment = name(&format!("{folder}/segments/00000007"));
    assert_eq!(storage.put(&segment, b"x", PutMode::CreateNew).unwrap_err().kind(), Kind::Invalid);
    storage.delete(&name(STREAM)).unwrap();
    assert_eq!(raw.names("frz"), [""; 0]);
    assert_eq!(storage.delete(&name(STREAM)).unwrap_err().kind(), Kind::NotFound);
    for number in 0..70 {
        storage.put(&name(&format!("small/{number}")), b"x", PutMode::CreateNew).unwrap();
        storage.delete(&name(&format!("small/{number}"))).unwrap();
    }
    drop(storage);
    assert_eq!(raw.lengths("frz", ""), [0; 0], "tickets were left");
}

#[test]
fn a_long_object_is_replaced_whole() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    let storage = at("swift://c?segment-size=1", &access, Intent::Create).unwrap();
    for object in [STREAM, "other/long"] {
        for length in [3 << 20, (2 << 20) + 5, 4 << 20] {
            write(storage.as_ref(), object, &bytes_of(length), PutMode::Replace).unwrap();
            assert!(storage.read(&name(object), 0, 9 << 20).unwrap() == bytes_of(length));
            assert_eq!(rows(storage.as_ref(), None, Depth::All), [format!("{object} {length}")]);
            assert_eq!(raw.names("c").len(), 1 + length.div_ceil(1 << 20), "old segments were left");
        }
        storage.put(&name(object), b"short", PutMode::Replace).unwrap();
        assert_eq!(raw.names("c"), [object]);
        assert_eq!(storage.read(&name(object), 0, 100).unwrap(), b"short");
        storage.delete(&name(object)).unwrap();
    }
}

#[test]
fn lost_answers_leave_no_segments_behind() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let raw = Raw::new(&swift);
    raw.put("c", &[], b"");
    let (puts, removals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let removed = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&removed);
    let account = reqwest::Url::parse(&raw.url).unwrap();
    // Of three requests to store or to remove the object itself, the first two are not answered.
    let proxy = Proxy::losing(account.port().unwrap(), move |head| {
        let first = head.split("\r\n").next().unwrap_or_default();
        if first.contains("?bulk-delete") || (first.starts_with("DELETE") && first.contains("segments/")) {
            noted.lock().unwrap().push(first.to_owned());
        }
        let count = match first.split(' ').next() {
            _ if !first.contains("/c/long ") => return false,
            Some("PUT") => &puts,
            Some("DELETE") => &removals,
            _ => return false,
        };
        count.fetch_add(1, Ordering::Relaxed) % 3 != 2
    });
    let url = format!("{}{}", proxy.endpoint(), account.path());
    let variables = [("OS_STORAGE_URL", url), ("OS_AUTH_TOKEN", raw.token.clone())];
    let mut access = access_to(&variables.map(|(name, value)| (name.to_owned(), value)));
    access.patience = Patience::new(Policy { attempts: 4, ..Policy::default() }, Arc::new(|_| Ok(())));
    let storage = at("swift://c?segment-size=1", &access, Intent::Open).unwrap();
    let bytes = bytes_of(5 << 19);
    write(storage.as_ref(), "long", &bytes, PutMode::Replace).unwrap();
    assert_eq!(raw.names("c").len(), 4, "{:?}", raw.names("c"));
    storage.put(&name("long"), b"short", PutMode::Replace).unwrap();
    assert_eq!(raw.names("c"), ["long"]);
    write(storage.as_ref(), "long", &bytes, PutMode::Replace).unwrap();
    storage.delete(&name("long")).unwrap();
    assert_eq!(raw.names("c"), [""; 0]);
    // Segments are removed together, all but the first, which is the last to go.
    let removed = removed.lock().unwrap();
    let (together, alone): (Vec<_>, Vec<_>) = removed.iter().partition(|first| first.starts_with("POST /"));
    assert!(!together.is_empty() && alone.iter().all(|first| first.contains("/00000000 ")), "{removed:?}");
}

#[test]
fn what_is_missing_is_never_a_shorter_object() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    let open = || at("swift://c?segment-size=1", &access, Intent::Create).unwrap();
    let folder = STREAM.strip_suffix("/data").unwrap();
    let is_damaged = |storage: &dyn Storage| {
        for error in
            [storage.stat(&name(STREAM)).unwrap_err(), storage.read(&name(STREAM), 0, 4 << 20).unwrap_err()]
        {
            // A listing may lag behind: it may pass.
            assert_eq!((error.kind(), error.retry()), (Kind::Damaged, Again::Later), "{error}");
        }
    };
    for gone in 0..3 {
        let storage = open();
        write(storage.as_ref(), STREAM, &bytes_of(5 << 19), PutMode::CreateNew).unwrap();
        assert_eq!(storage.read(&name(STREAM), 0, 1).unwrap().len(), 1);
        raw.delete(&format!("c/{folder}/segments/{gone:08}"));
        is_damaged(open().as_ref());
        // Also to those who have looked at it before.
        assert_eq!(storage.read(&name(STREAM), 0, 4 << 20).unwrap_err().kind(), Kind::Damaged);
        storage.delete(&name(STREAM)).unwrap();
        assert_eq!(raw.names("c"), [""; 0]);
    }
    // Freezer tells neither length nor number, but it numbers.
    for number in [0, 1, 3] {
        raw.put(&format!("c/{folder}/segments/{number:08}"), &[], b"some bytes");
    }
    raw.put(&format!("c/{folder}/data"), &[("x-object-manifest", &format!("c/{folder}/segments"))], b"");
    is_damaged(open().as_ref());
    raw.put(&format!("c/{folder}/segments/00000002"), &[], b"more");
    assert_eq!(open().read(&name(STREAM), 0, 100).unwrap(), b"some bytessome bytesmoresome bytes");
    for number in 0..4 {
        raw.delete(&format!("c/{folder}/segments/{number:08}"));
    }
    is_damaged(open().as_ref());
}

#[test]
fn what_killed_writers_left_is_told_and_cleaned() {
    let Some((_folder, swift)) = started(&Options { listing_limit: Some(3), ..Options::default() }) else {
        return;
    };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    let storage = at("swift://c/p?segment-size=1", &access, Intent::Create).unwrap();
    write(storage.as_ref(), "kept/data", &bytes_of(3 << 20), PutMode::CreateNew).unwrap();
    write(storage.as_ref(), "kept/long", &bytes_of(3 << 20), PutMode::CreateNew).unwrap();
    for object in [STREAM, "other/long"] {
        let mut writer = storage.writer(&name(object), PutMode::CreateNew).unwrap();
        writer.write(&bytes_of(2 << 20)).unwrap();
        // As if the process had been killed; what was under way arrives.
        std::mem::forget(writer);
    }
    raw.put("c/p/.icecore-creating/0/60-0123456789abcdef", &[], b"");
    // Freezer's, or anybody's.
    raw.put("c/p/foreign/segments/00000000", &[], b"x");
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while raw.names("c?limit=3&prefix=p/other/").len() < 2 && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let listed = rows(storage.as_ref(), None, Depth::All);
    assert_eq!(listed.len(), 5, "{listed:?}");
    assert!(
        listed[0].starts_with("? data/tar/h_n/1795485744/0_1795485744/segments/ (2 segments"),
        "{listed:?}"
    );
    assert_eq!(listed[3..], ["kept/data 3145728", "kept/long 3145728"]);
    let one = rows(storage.as_ref(), Some("other"), Depth::One);
    assert!(one.len() == 1 && one[0].starts_with("? other/long.segments/"), "{one:?}");

    assert_eq!(storage.clean_temporaries(Timestamp(now() - 3600)).unwrap(), 0);
    assert_eq!(storage.clean_temporaries(Timestamp(now() + 3600)).unwrap(), 3);
    let left = rows(storage.as_ref(), None, Depth::All);
    assert_eq!(
        left,
        [
            "? foreign/segments/ (1 segments of an unfinished object)",
            "kept/data 3145728",
            "kept/long 3145728"
        ]
    );
    assert!(storage.read(&name("kept/data"), 0, 4 << 20).unwrap() == bytes_of(3 << 20));
}

#[test]
fn two_programs_create_an_object_once() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let access = access_to(&swift.variables());
    let storages: Vec<_> =
        (0..4).map(|_| at("swift://c?segment-size=1", &access, Intent::Create).unwrap()).collect();
    for round in 0..4 {
        let object = format!("round/{round}/data");
        let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let writing: Vec<_> = (0u8..)
                .zip(&storages)
                .map(|(number, storage)| {
                    let object = &object;
                    scope.spawn(move || {
                        write(storage.as_ref(), object, &vec![number; (1 << 20) + 7], PutMode::CreateNew)
                    })
                })
                .collect();
            writing.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..outcomes.len()).filter(|at| outcomes[*at].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
        }
        let read = storages[0].read(&name(&object), 0, 2 << 20).unwrap();
        assert!(read == vec![winners[0] as u8; (1 << 20) + 7], "not the bytes of the winner");
    }
    assert_eq!(rows(storages[0].as_ref(), None, Depth::All).len(), 4, "something was left behind");
    // The same cluster promises less to who speaks S3.
    s3_of_swift_promises_no_winner(&swift);
}

#[test]
fn failures_have_their_kinds() {
    let Some((_folder, mut swift)) = started(&Options::default()) else { return };
    let (variables, raw) = (swift.variables(), Raw::new(&swift));
    let access = access_to(&variables);
    let missing = at("swift://missing", &access, Intent::Open).err().unwrap();
    assert_eq!((missing.kind(), missing.retry()), (Kind::NotFound, Again::Never), "{missing}");
    let with = |key: &str, value: &str| {
        let mut changed = variables.clone();
        changed.iter_mut().filter(|(name, _)| name == key).for_each(|(_, old)| *old = value.to_owned());
        access_to(&changed)
    };
    let wrong_key = at("swift://c", &with("ST_KEY", "hunter2"), Intent::Create).err().unwrap();
    assert_eq!((wrong_key.kind(), wrong_key.retry()), (Kind::Denied, Again::Never), "{wrong_key}");
    assert!(!format!("{wrong_key} {wrong_key:?}").contains("hunter2"));
    let no_login =
        at("swift://c", &with("ST_AUTH", &format!("{}/nowhere", swift.endpoint())), Intent::Create)
            .err()
            .unwrap();
    assert_eq!(no_login.retry(), Again::Never, "{no_login}");
    for address in ["swift://c?colour=red", "swift://me@c", "swift://c:80/p", "swift://c?segment-size=0"] {
        assert_eq!(at(address, &access, Intent::Create).err().unwrap().kind(), Kind::Invalid, "{address}");
    }

    let storage = at("swift://full", &access, Intent::Create).unwrap();
    raw.send(Method::POST, "full", &[("x-container-meta-quota-bytes", "1000")], b"");
    let error = storage.put(&name("a"), &[0; 5000], PutMode::Replace).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::NoSpace, Again::Never), "{error}");
    storage.put(&name("b"), &[0; 50], PutMode::CreateNew).unwrap();

    swift.kill_proxy();
    let gone = storage.stat(&name("b")).unwrap_err();
    assert_eq!((gone.kind(), gone.retry()), (Kind::Io, Again::Later), "{gone}");
    swift.start_proxy();
    assert_eq!(storage.stat(&name("b")).unwrap().size_bytes, 50);
    // A connection that was kept, and broke, is not the user's concern.
    swift.kill_proxy();
    swift.start_proxy();
    assert_eq!(storage.read(&name("b"), 40, 50).unwrap(), [0; 10]);
    storage.put(&name("c"), b"c", PutMode::CreateNew).unwrap();
    storage.delete(&name("c")).unwrap();
}

#[test]
fn a_writer_goes_on_when_the_server_comes_back() {
    let Some((_folder, mut swift)) = started(&Options::default()) else { return };
    let mut access = access_to(&swift.variables());
    let policy = Policy {
        attempts: 100,
        first_wait: Duration::from_millis(100),
        longest_wait: Duration::from_millis(500),
        seed: 1,
    };
    let sleep = |wait| {
        std::thread::sleep(wait);
        Ok::<(), Error>(())
    };
    access.patience = Patience::new(policy, Arc::new(sleep));
    let storage = at("swift://c?segment-size=1", &access, Intent::Create).unwrap();
    let bytes = bytes_of(9 << 20);
    let mut writer = storage.writer(&name(STREAM), PutMode::CreateNew).unwrap();
    writer.write(&bytes[..5 << 20]).unwrap();
    swift.kill_proxy();
    std::thread::scope(|scope| {
        // The segments that are under way fail meanwhile. A server ends with the thread that started it, so that is this one.
        let writing = scope.spawn(|| writer.write(&bytes[5 << 20..7 << 20]));
        std::thread::sleep(Duration::from_millis(700));
        swift.start_proxy();
        writing.join().unwrap().unwrap();
    });
    writer.write(&bytes[7 << 20..]).unwrap();
    writer.finish().unwrap();
    assert!(storage.read(&name(STREAM), 0, 10 << 20).unwrap() == bytes);
}

#[test]
fn static_large_objects_are_objects() {
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    let storage = at("swift://c", &access, Intent::Create).unwrap();
    raw.put("c/parts/a", &[], &[1; 1000]);
    raw.put("c/parts/b", &[], &[2; 500]);
    let manifest = br#"[{"path": "/c/parts/a"}, {"path": "/c/parts/b"}]"#;
    raw.put("c/whole?multipart-manifest=put", &[], manifest);
    let expected = [vec![1; 1000], vec![2; 500]].concat();
    assert_eq!(storage.stat(&name("whole")).unwrap().size_bytes, 1500);
    assert!(storage.read(&name("whole"), 0, 9999).unwrap() == expected);
    assert!(storage.read(&name("whole"), 990, 20).unwrap() == expected[990..1010]);
    assert_eq!(storage.read(&name("whole"), 1500, 20).unwrap(), b"");
    assert_eq!(rows(storage.as_ref(), None, Depth::All), ["parts/a 1000", "parts/b 500", "whole 1500"]);
    storage.delete(&name("whole")).unwrap();
    assert_eq!(raw.names("c"), [""; 0]);
}

#[test]
fn certificates_are_checked() {
    let Some((_folder, swift)) = started(&Options { tls: true, ..Options::default() }) else { return };
    let mut variables = swift.variables();
    let unknown = at("swift://c", &access_to(&variables), Intent::Create).err().unwrap();
    assert_eq!((unknown.kind(), unknown.retry()), (Kind::Denied, Again::Never), "{unknown}");
    variables.push(("OS_CACERT".to_owned(), swift.certificate().to_str().unwrap().to_owned()));
    let storage = at("swift://c?segment-size=1", &access_to(&variables), Intent::Create).unwrap();
    write(storage.as_ref(), STREAM, &bytes_of(3 << 20), PutMode::CreateNew).unwrap();
    assert!(storage.read(&name(STREAM), 0, 4 << 20).unwrap() == bytes_of(3 << 20));
}

/// A backup that Freezer made in Swift: its objects are files here, and a manifest is one of no bytes.
#[test]
fn a_container_of_freezers_is_read() {
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/freezer/swift-tar-gzip-l1/storage");
    let Some((_folder, swift)) = started(&Options::default()) else { return };
    let (access, raw) = (access_to(&swift.variables()), Raw::new(&swift));
    raw.send(Method::PUT, "frz_shared1", &[], b"");
    let mut expected = Vec::new();
    let mut streams = Vec::new();
    for full in files(&corpus) {
        let bytes = std::fs::read(corpus.join(&full)).unwrap();
        let short = full.strip_prefix("frz_shared1/sub/dir/").unwrap().to_owned();
        match full.strip_suffix("/data") {
            Some(stem) => {
                assert!(bytes.is_empty());
                let segments = format!("{stem}/segments");
                raw.put(&full, &[("x-object-manifest", &segments)], b"");
                let stream = std::fs::read(corpus.join(segments).join("00000000")).unwrap();
                expected.push(format!("{short} {}", stream.len()));
                streams.push((short, stream));
            }
            None => {
                raw.put(&full, &[], &bytes);
                if !full.contains("/segments/") {
                    expected.push(format!("{short} {}", bytes.len()));
                }
            }
        }
    }
    let storage = at("swift://frz_shared1/sub/dir", &access, Intent::Open).unwrap();
    assert_eq!(streams.len(), 2);
    for (object, stream) in &streams {
        assert_eq!(storage.stat(&name(object)).unwrap().size_bytes, stream.len() as u64);
        assert!(storage.read(&name(object), 0, 1 << 20).unwrap() == *stream);
    }
    expected.sort();
    assert_eq!(rows(storage.as_ref(), None, Depth::All), expected);
}

/// All files below a folder, by their paths from there.
fn files(root: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    found
}

/// Swift with Keystone's login, in two folders, which are in use until they are dropped.
fn with_keystone(token_seconds: u32) -> std::result::Result<(Keystone, Swift, [TempDir; 2]), NotInstalled> {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let port = icecore_testkit::servers::free_port();
    let keystone = Keystone::start(folders[0].path(), &format!("http://127.0.0.1:{port}"), token_seconds)?;
    let login = Some((keystone.url(), keystone::PASSWORD.to_owned()));
    let options = Options { keystone: login, port: Some(port), ..Options::default() };
    let swift = Swift::start(folders[1].path(), &options)?;
    Ok((keystone, swift, folders))
}

#[test]
#[ignore = "takes too long beside its like with Swift's own login: scripts/test-long"]
fn the_contract_holds_with_keystone() {
    match with_keystone(3600) {
        Ok((keystone, _swift, _folders)) => conforms("contract", &access_to(&keystone.variables())),
        Err(reason) => not_run(&reason),
    }
}

#[test]
fn keystones_logins_are_known_and_renewed() {
    // Swift takes a token only as long as it has half a minute to live.
    let (keystone, _swift, folders) = match with_keystone(60) {
        Ok(started) => started,
        Err(reason) => return not_run(&reason),
    };
    let by_password = keystone.variables();

    // Longer than a token lives, with several threads, one of them a writer whose segments are sent all the while.
    let storage = at("swift://c?segment-size=1", &access_to(&by_password), Intent::Create).unwrap();
    let bytes = bytes_of(16 << 20);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut writer = storage.writer(&name(STREAM), PutMode::CreateNew).unwrap();
            for piece in bytes.chunks(1 << 20) {
                writer.write(piece).unwrap();
                std::thread::sleep(Duration::from_millis(4200));
            }
            writer.finish().unwrap();
        });
        let storage = &storage;
        for thread in 0..2 {
            scope.spawn(move || {
                for round in 0..16 {
                    let object = name(&format!("small/{thread}/{round}"));
                    storage.put(&object, b"x", PutMode::Replace).unwrap();
                    std::thread::sleep(Duration::from_millis(4000));
                }
            });
        }
        writing.join().unwrap();
    });
    assert!(storage.read(&name(STREAM), 0, 17 << 20).unwrap() == bytes);
    assert_eq!(rows(storage.as_ref(), Some("small"), Depth::All).len(), 32);

    let replaced = |changes: Changes<'_>| {
        let mut variables = by_password.clone();
        for (key, value) in changes {
            variables.retain(|(name, _)| name != key);
            variables.extend(value.map(|value| ((*key).to_owned(), value.to_owned())));
        }
        access_to(&variables)
    };
    let (id, secret) = &keystone.application;
    let application = replaced(&[
        ("OS_USERNAME", None),
        ("OS_PASSWORD", None),
        ("OS_PROJECT_NAME", None),
        ("OS_AUTH_TYPE", Some("v3applicationcredential")),
        ("OS_APPLICATION_CREDENTIAL_ID", Some(id)),
        ("OS_APPLICATION_CREDENTIAL_SECRET", Some(secret)),
    ]);
    let by_application = at("swift://c", &application, Intent::Open).unwrap();
    assert_eq!(by_application.read(&name("small/0/0"), 0, 9).unwrap(), b"x");

    let wrong = at("swift://c", &replaced(&[("OS_PASSWORD", Some("hunter2"))]), Intent::Open).err().unwrap();
    assert_eq!((wrong.kind(), wrong.retry()), (Kind::Denied, Again::Never), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    let elsewhere =
        at("swift://c", &replaced(&[("OS_REGION_NAME", Some("Mars"))]), Intent::Open).err().unwrap();
    assert_eq!(elsewhere.kind(), Kind::Invalid, "{elsewhere}");
    assert!(elsewhere.to_string().contains("public in RegionOne"), "{elsewhere}");
    let internal = at(
        "swift://c?interface=internal&region=RegionOne",
        &replaced(&[("OS_REGION_NAME", None)]),
        Intent::Open,
    );
    internal.unwrap();

    a_cloud_of_a_file_is_logged_in_to(&keystone, folders[0].path());
    let by_token = a_token_alone_is_enough_while_it_lives(&keystone, &replaced);
    a_token_that_was_revoked_is_replaced(&keystone, &by_password);
    let error = by_token.read(&name("small/0/0"), 0, 9).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
}

/// The login stands in `clouds.yaml`, the password beside it, and nothing in the environment but the cloud's name.
fn a_cloud_of_a_file_is_logged_in_to(keystone: &Keystone, folder: &Path) {
    let (clouds, secure) = (folder.join("clouds.yaml"), folder.join("secure.yaml"));
    let login = format!(
        "clouds:\n  tests:\n    region_name: {}\n    auth:\n      auth_url: {}\n      username: admin\n      project_name: admin\n      \
         user_domain_id: default\n      project_domain_name: Default\n",
        keystone::REGION,
        keystone.url()
    );
    std::fs::write(&clouds, login).unwrap();
    let files = [("OS_CLIENT_CONFIG_FILE", clouds), ("OS_CLIENT_SECURE_FILE", secure.clone())]
        .map(|(variable, path)| (variable.to_owned(), path.to_str().unwrap().to_owned()));
    let named = [&files[..], &[("OS_CLOUD".to_owned(), "tests".to_owned())]].concat();
    for (password, expected) in [("hunter2", Err(Kind::Denied)), (keystone::PASSWORD, Ok(()))] {
        let text = format!("clouds:\n  tests:\n    auth:\n      password: '{password}'\n");
        std::fs::write(&secure, text).unwrap();
        for (address, variables) in [("swift://c", &named[..]), ("swift://c?cloud=tests", &files[..])] {
            let read = at(address, &access_to(variables), Intent::Open)
                .and_then(|storage| storage.read(&name("small/0/0"), 0, 9));
            let found = read.map(|bytes| assert_eq!(bytes, b"x")).map_err(|error| error.kind());
            assert_eq!(found, expected, "{address}");
        }
    }
}

/// A token of the user, as another program would fetch it; and the account it is for.
fn token(keystone: &Keystone) -> (String, String) {
    let body = serde_json::json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": keystone::PASSWORD}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
    }});
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let login = Client::new()
            .post(format!("{}/auth/tokens", keystone.url()))
            .header("content-type", "application/json");
        let answer = login.body(body.to_string()).send().await.unwrap();
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let services = body["token"]["catalog"].as_array().unwrap();
        let swift = services.iter().find(|service| service["type"] == "object-store").unwrap();
        (token, swift["endpoints"][0]["url"].as_str().unwrap().to_owned())
    })
}

/// Variables that are set, or taken away.
type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

fn a_token_alone_is_enough_while_it_lives(
    keystone: &Keystone,
    replaced: &dyn Fn(Changes<'_>) -> Access,
) -> Arc<dyn Storage> {
    let (token, url) = token(keystone);
    let without = [("OS_USERNAME", None), ("OS_PASSWORD", None)];
    let rescoped = [&without[..], &[("OS_TOKEN", Some(token.as_str()))]].concat();
    at("swift://c", &replaced(&rescoped), Intent::Open).unwrap();
    let alone = [&rescoped[..], &[("OS_AUTH_URL", None), ("OS_STORAGE_URL", Some(url.as_str()))]].concat();
    let storage = at("swift://c", &replaced(&alone), Intent::Open).unwrap();
    assert_eq!(storage.read(&name("small/0/0"), 0, 9).unwrap(), b"x");
    storage
}

/// Long before it would have been renewed.
fn a_token_that_was_revoked_is_replaced(keystone: &Keystone, variables: &[(String, String)]) {
    let storage = at("swift://c?segment-size=1", &access_to(variables), Intent::Open).unwrap();
    let mut writer = storage.writer(&name("again/data"), PutMode::CreateNew).unwrap();
    writer.write(&bytes_of(2 << 20)).unwrap();
    // All tokens of the user end when the password changes.
    keystone.revoke_all();
    // Until Swift looks at the token again. A new one of the same second would count as one of before, too.
    std::thread::sleep(Duration::from_secs(6));
    writer.write(&bytes_of(2 << 20)).unwrap();
    writer.finish().unwrap();
    assert_eq!(storage.stat(&name("again/data")).unwrap().size_bytes, 4 << 20);
}
