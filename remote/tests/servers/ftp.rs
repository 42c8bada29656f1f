//! FTP and FTPS: pyftpdlib in clear, with AUTH TLS and with TLS from the first byte on; vsftpd, which lists as `ls` does and insists
//! on data connections that go on with the encryption of the control connection.

use super::{access, not_run};
use icecore::error::{Kind, Result, Retry as Again};
use icecore::name::ObjectName;
use icecore::storage::retry::{Patience, Policy, Retry};
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::time::Timestamp;
use icecore_remote::{Access, Address, Intent, Timeouts};
use icecore_testkit::conformance;
use icecore_testkit::servers::ftp::{PASSWORD, Protection, Pyftpdlib, USER, certificates, vsftpd};
use icecore_testkit::servers::{NotInstalled, Server, free_port};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A server of pyftpdlib, and the folder it works in.
struct Place {
    folder: TempDir,
    server: Server,
    port: u16,
    options: Pyftpdlib,
}

impl Place {
    fn start(options: Pyftpdlib) -> Result<Place, NotInstalled> {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        certificates(folder.path())?;
        let server = options.start(folder.path(), port)?;
        Ok(Place { folder, server, port, options })
    }

    /// Where `path` is, encrypted as the server is, with the authority known.
    fn address(&self, path: &str) -> String {
        let authority = self.folder.path().join("authority.pem").display().to_string();
        let at = format!("{USER}@127.0.0.1:{}/{path}", self.port);
        match self.options.protection {
            Protection::Off | Protection::Optional => format!("ftp://{at}"),
            Protection::Explicit => format!("ftps://{at}?ca={authority}"),
            Protection::Implicit => format!("ftps://{at}?tls=implicit&ca={authority}"),
        }
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Storage>> {
        open(&self.address(path), &access(&[], Some(PASSWORD)), Intent::Create)
    }
}

/// Runs a test, or says why it is not run.
fn with(options: Pyftpdlib, test: impl FnOnce(Place)) {
    match Place::start(options) {
        Ok(place) => test(place),
        Err(reason) => not_run(&reason),
    }
}

fn with_plain(test: impl FnOnce(Place)) {
    with(Pyftpdlib::new(Protection::Off), test);
}

fn with_explicit(test: impl FnOnce(Place)) {
    with(Pyftpdlib::new(Protection::Explicit), test);
}

/// Runs a test over vsftpd, which is given how addresses begin and end, and the folder.
fn with_vsftpd(encrypted: bool, test: impl FnOnce(&dyn Fn(&str) -> String, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let started = certificates(folder.path()).and_then(|()| vsftpd(folder.path(), encrypted));
    let port = match &started {
        Ok((_, port)) => *port,
        Err(reason) => return not_run(reason),
    };
    let authority = folder.path().join("authority.pem").display().to_string();
    let address = move |path: &str| match encrypted {
        true => format!("ftps://127.0.0.1:{port}/files/{path}?ca={authority}"),
        false => format!("ftp://127.0.0.1:{port}/files/{path}"),
    };
    test(&address, &folder.path().join("root/files"));
}

fn open(address: &str, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    icecore_remote::open(&Address::parse(address)?, access, intent)
}

/// Every case in a folder of its own.
fn conforms(address: &dyn Fn(&str) -> String) {
    let cases = AtomicU32::new(0);
    conformance::run(&|| {
        let path = format!("cases/number {}", cases.fetch_add(1, Ordering::Relaxed));
        let address = address(&path.replace(' ', "%20"));
        open(&address, &access(&[], Some(PASSWORD)), Intent::Create).unwrap()
    });
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn bytes_of(seed: u8, length_bytes: usize) -> Vec<u8> {
    (0..length_bytes)
        .map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] ^ seed)
        .collect()
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

/// Writes, replaces, reads, lists and deletes.
fn works(storage: &dyn Storage) {
    let object = name("a folder/an object");
    storage.put(&object, b"first", PutMode::CreateNew).unwrap();
    storage.put(&object, b"second one", PutMode::Replace).unwrap();
    assert_eq!(storage.read(&object, 7, 100).unwrap(), b"one");
    assert_eq!(rows(storage, None, Depth::All).unwrap(), ["a folder/an object 10"]);
    storage.delete(&object).unwrap();
    assert_eq!(rows(storage, None, Depth::One).unwrap(), [""; 0]);
}

/// What an attempt to open ended with.
fn refusal(address: &str, access: &Access) -> icecore::Error {
    match open(address, access, Intent::Create) {
        Ok(_) => panic!("{address} was opened"),
        Err(e) => e,
    }
}

/// Tries again at once, after `before` each time.
fn patience(attempts: u32, before: impl Fn() + Send + Sync + 'static) -> Patience {
    let policy = Policy { attempts, ..Policy::default() };
    Patience::new(
        policy,
        Arc::new(move |_| {
            before();
            Ok(())
        }),
    )
}

#[test]
fn plain_ftp_conforms() {
    with_plain(|place| conforms(&|path| place.address(path)));
}

#[test]
fn ftp_with_auth_tls_conforms() {
    with_explicit(|place| conforms(&|path| place.address(path)));
}

#[test]
fn ftp_with_tls_from_the_first_byte_conforms() {
    with(Pyftpdlib::new(Protection::Implicit), |place| conforms(&|path| place.address(path)));
}

#[test]
fn vsftpd_conforms() {
    with_vsftpd(false, |address, _| conforms(address));
}

#[test]
fn vsftpd_that_wants_its_sessions_resumed_conforms() {
    with_vsftpd(true, |address, _| conforms(address));
}

#[test]
fn the_server_may_connect_for_data_in_clear_and_encrypted() {
    for protection in [Protection::Off, Protection::Explicit] {
        with(Pyftpdlib::new(protection), |place| {
            let address = place.address("active");
            let sign = if address.contains('?') { '&' } else { '?' };
            let storage =
                open(&format!("{address}{sign}mode=active"), &access(&[], Some(PASSWORD)), Intent::Create);
            works(storage.unwrap().as_ref());
        });
    }
}

#[test]
fn an_old_server_knows_neither_epsv_nor_eprt_nor_mlsd() {
    let options = Pyftpdlib { without: &["EPSV", "EPRT", "MLSD", "MLST"], ..Pyftpdlib::new(Protection::Off) };
    with(options, |place| {
        works(place.open("passive").unwrap().as_ref());
        let storage = open(
            &format!("{}?mode=active", place.address("active")),
            &access(&[], Some(PASSWORD)),
            Intent::Create,
        );
        works(storage.unwrap().as_ref());
        // It does not show that its list is whole, names with a dot included: none is made.
        let error = place.open("passive").unwrap().put(&name("a/.b"), b"", PutMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    });
}

#[test]
fn a_server_that_tells_no_lengths_is_refused() {
    let options = Pyftpdlib { without: &["SIZE", "MLSD", "MLST"], ..Pyftpdlib::new(Protection::Off) };
    with(options, |place| {
        assert_eq!(refusal(&place.address("x"), &access(&[], Some(PASSWORD))).kind(), Kind::Unsupported)
    });
}

#[test]
fn a_server_without_rest_for_stor_is_appended_to() {
    let options = Pyftpdlib { without: &["REST"], ..Pyftpdlib::new(Protection::Off) };
    with(options, |place| {
        let (storage, bytes) = (place.open("x").unwrap(), bytes_of(1, 20 << 20));
        let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        assert!(storage.read(&name("long"), 0, 1 << 30).unwrap() == bytes);
    });
}

#[test]
fn a_wrong_password_is_denied_and_not_tried_again() {
    with_plain(|place| {
        let error = refusal(&place.address("x"), &access(&[], Some("a wrong one")));
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never));
        assert!(!format!("{error} {error:?}").contains("a wrong one"));
        let error = refusal(&place.address("x"), &access(&[], None));
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.advice().unwrap().contains(".netrc"), "{error}");
    });
}

#[test]
fn the_password_may_stand_in_netrc() {
    with_plain(|place| {
        let home = tempfile::tempdir().unwrap();
        let text = format!("machine 127.0.0.1 login {USER} password \"{PASSWORD}\"\n");
        fs::write(home.path().join(".netrc"), text).unwrap();
        let access = Access { home: Some(home.path().to_owned()), ..access(&[], None) };
        works(open(&place.address("x"), &access, Intent::Create).unwrap().as_ref());
    });
}

#[test]
fn only_the_right_server_is_believed() {
    let access = access(&[], Some(PASSWORD));
    with_explicit(|place| {
        let unknown = format!("ftps://{USER}@127.0.0.1:{}/x", place.port);
        let error = refusal(&unknown, &access);
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
        assert!(error.advice().unwrap().contains("ca=FILE"));
    });
    with(Pyftpdlib { certificate: "elsewhere", ..Pyftpdlib::new(Protection::Explicit) }, |place| {
        assert_eq!(refusal(&place.address("x"), &access).kind(), Kind::Denied);
        // Unless it is that very certificate that the user names.
        let named = place.address("x").replace("authority.pem", "elsewhere.pem");
        works(open(&named, &access, Intent::Create).unwrap().as_ref());
    });
    with(Pyftpdlib { certificate: "alone", ..Pyftpdlib::new(Protection::Implicit) }, |place| {
        assert_eq!(refusal(&place.address("x"), &access).kind(), Kind::Denied);
        let named = place.address("x").replace("authority.pem", "alone.pem");
        works(open(&named, &access, Intent::Create).unwrap().as_ref());
    });
}

#[test]
fn a_client_shows_its_certificate_where_one_is_wanted() {
    with(Pyftpdlib { clients_are_known: true, ..Pyftpdlib::new(Protection::Explicit) }, |place| {
        let access = access(&[], Some(PASSWORD));
        let address = place.address("x");
        let error = refusal(&address, &access);
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let client = place.folder.path().join("client").display().to_string();
        let with = format!("{address}&cert={client}.pem&key={client}.key");
        works(open(&with, &access, Intent::Create).unwrap().as_ref());
    });
}

#[test]
fn encryption_is_neither_given_up_nor_forced_on_a_server() {
    let access = access(&[], Some(PASSWORD));
    with_explicit(|place| {
        let error = refusal(&format!("ftp://{USER}@127.0.0.1:{}/x", place.port), &access);
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.advice().unwrap().contains("ftps://"));
    });
    with_plain(|place| {
        let error = refusal(&format!("ftps://{USER}@127.0.0.1:{}/x", place.port), &access);
        assert_eq!((error.kind(), error.retry()), (Kind::Unsupported, Again::Never), "{error}");
    });
}

#[test]
fn a_password_in_clear_is_told_where_it_could_be_encrypted() {
    with(Pyftpdlib::new(Protection::Optional), |place| {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let warn = Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
        let access = Access { warn, ..access(&[], Some(PASSWORD)) };
        works(open(&place.address("x"), &access, Intent::Create).unwrap().as_ref());
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("in clear") && !said[0].contains(PASSWORD), "{said:?}");
    });
}

#[test]
fn a_missing_folder_is_made_when_that_is_asked_for_and_only_then() {
    with_plain(|place| {
        let access = access(&[], Some(PASSWORD));
        for path in ["not/there", "~/not/there"] {
            let missing = open(&place.address(path), &access, Intent::Open).err().unwrap();
            assert_eq!((missing.kind(), missing.retry()), (Kind::NotFound, Again::Never));
        }
        works(open(&place.address("not/there"), &access, Intent::Create).unwrap().as_ref());
        works(open(&place.address("~/not/there"), &access, Intent::Open).unwrap().as_ref());
        fs::write(place.files().join("file"), "").unwrap();
        assert!(open(&place.address("file"), &access, Intent::Create).is_err());
        // The folder that was there disappears: that is no empty list.
        let storage = place.open("gone").unwrap();
        fs::remove_dir(place.files().join("gone")).unwrap();
        for prefix in [None, Some("prefix")] {
            assert_eq!(rows(storage.as_ref(), prefix, Depth::All).unwrap_err().kind(), Kind::NotFound);
        }
    });
}

#[test]
fn a_server_that_was_started_anew_is_connected_anew() {
    with_explicit(|mut place| {
        let storage = place.open("x").unwrap();
        storage.put(&name("before"), b"1", PutMode::CreateNew).unwrap();
        place.server.kill();
        let error = storage.stat(&name("before")).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
        place.server = place.options.start(place.folder.path(), place.port).unwrap();
        assert_eq!(storage.read(&name("before"), 0, 9).unwrap(), b"1");
        place.server.kill();
        place.server = place.options.start(place.folder.path(), place.port).unwrap();
        // Nothing was tried in between: the broken connection is noticed before it is used.
        storage.delete(&name("before")).unwrap();
    });
}

#[test]
fn an_idle_client_that_was_sent_away_comes_back() {
    with(Pyftpdlib { idle_seconds: 1, ..Pyftpdlib::new(Protection::Off) }, |place| {
        let storage = place.open("x").unwrap();
        for round in 0..2 {
            std::thread::sleep(Duration::from_millis(1500));
            storage.put(&name(&format!("{round}")), b"1", PutMode::CreateNew).unwrap();
        }
    });
}

#[test]
fn a_long_object_survives_the_death_of_the_server() {
    with_plain(|place| {
        let bytes = bytes_of(2, (20 << 20) + 12_345);
        let (address, port, folder) = (place.address("x"), place.port, place.folder);
        let server = Arc::new(Mutex::new(Some(place.server)));
        let (again, options, path) = (Arc::clone(&server), place.options, folder.path().to_owned());
        let patience = patience(10, move || {
            let mut server = again.lock().unwrap();
            if server.is_none() {
                *server = Some(options.start(&path, port).unwrap());
            }
        });
        let access = Access { patience, ..access(&[], Some(PASSWORD)) };
        let storage = open(&address, &access, Intent::Create).unwrap();
        let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
        for (number, part) in bytes.chunks(3_000_000).enumerate() {
            writer.write(part).unwrap();
            if number == 3 {
                drop(server.lock().unwrap().take());
            }
        }
        drop(server.lock().unwrap().take());
        writer.finish().unwrap();
        assert!(storage.read(&name("long"), 0, 1 << 30).unwrap() == bytes);
        assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), [format!("long {}", bytes.len())]);
    });
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    for protection in [Protection::Off, Protection::Explicit] {
        let faulty = Pyftpdlib { cuts: 6, cut_after_bytes: 2_500_000, ..Pyftpdlib::new(protection) };
        with(faulty, |place| {
            let bytes = bytes_of(3, 18 << 20);
            let access = Access { patience: patience(20, || ()), ..access(&[], Some(PASSWORD)) };
            let storage = open(&place.address("x"), &access, Intent::Create).unwrap();
            let mut writer = storage.writer(&name("long"), PutMode::CreateNew).unwrap();
            bytes.chunks(1 << 20).for_each(|part| writer.write(part).unwrap());
            writer.finish().unwrap();
            // Some cuts are left for the way back.
            let storage = Retry::new(storage, patience(20, || ()));
            for (at, part) in bytes.chunks(4 << 20).enumerate() {
                assert!(
                    storage.read(&name("long"), (at * (4 << 20)) as u64, 4 << 20).unwrap() == part,
                    "part {at}"
                );
            }
            storage.put(&name("short"), &bytes[..5_000_000], PutMode::CreateNew).unwrap();
            let expected = [format!("long {}", bytes.len()), "short 5000000".to_owned()];
            assert_eq!(rows(&storage, None, Depth::All).unwrap(), expected);
        });
    }
}

#[test]
fn a_cut_read_is_an_error_and_never_short() {
    with_plain(|place| {
        fs::create_dir(place.files().join("x")).unwrap();
        fs::write(place.files().join("x/long"), bytes_of(4, 4 << 20)).unwrap();
        let Place { folder, port, .. } = place;
        let faulty = Pyftpdlib { cuts: 2, cut_after_bytes: 1 << 20, ..Pyftpdlib::new(Protection::Off) };
        let (port_again, _) = (free_port(), port);
        let server = faulty.start(folder.path(), port_again).unwrap();
        let place = Place { folder, server, port: port_again, options: faulty };
        let storage = place.open("x").unwrap();
        for _ in 0..2 {
            let error = storage.read(&name("long"), 0, 1 << 30).unwrap_err();
            assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
        }
        assert!(storage.read(&name("long"), 0, 1 << 30).unwrap() == bytes_of(4, 4 << 20));
    });
}

/// Reads a long object piece by piece, with other work in between.
fn is_read_on(storage: &dyn Storage) {
    const PIECE: usize = 1 << 20;
    let (object, first, second) = (name("folder/long"), bytes_of(5, 6 * PIECE), bytes_of(6, 6 * PIECE));
    let read = |number: usize| storage.read(&object, (number * PIECE) as u64, PIECE);
    storage.put(&object, &first, PutMode::CreateNew).unwrap();
    for number in 0..6 {
        assert!(read(number).unwrap() == first[number * PIECE..(number + 1) * PIECE], "piece {number}");
    }
    assert_eq!(read(6).unwrap(), b"");
    for number in 0..3 {
        assert!(read(number).unwrap() == first[number * PIECE..(number + 1) * PIECE], "piece {number}");
        assert_eq!(rows(storage, None, Depth::All).unwrap(), [format!("folder/long {}", first.len())]);
    }
    // What was begun to be read is not what is there now.
    assert!(read(0).unwrap() == first[..PIECE] && read(1).unwrap() == first[PIECE..2 * PIECE]);
    storage.put(&object, &second, PutMode::Replace).unwrap();
    assert!(read(2).unwrap() == second[2 * PIECE..3 * PIECE]);
    assert!(read(3).unwrap() == second[3 * PIECE..4 * PIECE]);
    storage.delete(&object).unwrap();
    assert_eq!(read(4).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn an_object_is_read_on_until_it_changes() {
    for protection in [Protection::Off, Protection::Explicit] {
        with(Pyftpdlib::new(protection), |place| is_read_on(place.open("x").unwrap().as_ref()));
    }
    for encrypted in [false, true] {
        with_vsftpd(encrypted, |address, _| {
            is_read_on(open(&address("x"), &access(&[], None), Intent::Create).unwrap().as_ref());
        });
    }
}

/// One connection is enough for everything.
#[test]
fn a_single_connection_is_enough() {
    with_explicit(|place| {
        let access = Access { connections: 1, ..access(&[], Some(PASSWORD)) };
        let storage = open(&place.address("x"), &access, Intent::Create).unwrap();
        let bytes = bytes_of(7, 9 << 20);
        let mut writer = storage.writer(&name("a/long"), PutMode::CreateNew).unwrap();
        writer.write(&bytes).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let storage = &storage;
                scope.spawn(move || {
                    storage.put(&name(&format!("b/{thread}")), b"x", PutMode::CreateNew).unwrap()
                });
            }
        });
        writer.finish().unwrap();
        let mut seen = 0;
        let listed = storage.list(None, Depth::All, &mut |row| {
            seen += 1;
            match row {
                Listed::Object { name, .. } => storage.delete(&name),
                other => panic!("{other:?}"),
            }
        });
        listed.unwrap();
        assert_eq!((seen, rows(storage.as_ref(), None, Depth::One).unwrap().len()), (5, 0));
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    for silent in ["MLST", "EPSV", "STOR", "RNTO"] {
        with(Pyftpdlib { silent, ..Pyftpdlib::new(Protection::Off) }, |place| {
            let second = Duration::from_millis(500);
            let timeouts = Timeouts { connect: second, idle: second, ..Timeouts::default() };
            let access = Access { timeouts, ..access(&[], Some(PASSWORD)) };
            let opened = open(&place.address("x"), &access, Intent::Create);
            let done = opened.and_then(|storage| storage.put(&name("a"), b"a", PutMode::Replace));
            let error = done.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
        });
    }
}

#[test]
fn a_server_that_takes_few_connections_gets_few() {
    with(Pyftpdlib { connections: 5, ..Pyftpdlib::new(Protection::Off) }, |place| {
        let storage = place.open("x").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let storage = &storage;
                scope.spawn(move || {
                    for round in 0..10 {
                        let object = name(&format!("{thread}/{round}"));
                        storage.stat(&object).unwrap_err();
                    }
                });
            }
        });
    });
}

#[test]
fn ten_thousand_objects_are_listed() {
    let check = |storage: &dyn Storage, folder: &Path| {
        fs::create_dir_all(folder).unwrap();
        (0..10_000).for_each(|number| fs::write(folder.join(format!("{number:05} %20")), "x").unwrap());
        let rows = rows(storage, None, Depth::All).unwrap();
        assert_eq!(rows.len(), 10_000);
        assert!((0..10_000).zip(&rows).all(|(number, row)| *row == format!("many/{number:05} %20 1")));
    };
    with_explicit(|place| check(place.open("x").unwrap().as_ref(), &place.files().join("x/many")));
    with_vsftpd(true, |address, files| {
        let storage = open(&address("x"), &access(&[], None), Intent::Create).unwrap();
        check(storage.as_ref(), &files.join("x/many"));
    });
}

#[test]
fn what_killed_processes_left_is_removed_once_it_is_old() {
    let check = |storage: &dyn Storage, folder: &Path| {
        for (file, age) in [(".icecore-tmp-old", 100_000), (".icecore-tmp-new", 0), ("object", 100_000)] {
            let path = folder.join(file);
            fs::write(&path, "x").unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
            // As if the server had made it.
            let owner = fs::metadata(folder).unwrap();
            use std::os::unix::fs::{MetadataExt, chown};
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let strays = ["? .icecore-tmp-new", "? .icecore-tmp-old", "object 1"];
        assert_eq!(rows(storage, None, Depth::All).unwrap(), strays);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert_eq!(storage.clean_temporaries(Timestamp(now - 86_400)).unwrap(), 1);
        assert_eq!(rows(storage, None, Depth::All).unwrap(), ["? .icecore-tmp-new", "object 1"]);
    };
    with_plain(|place| check(place.open("x").unwrap().as_ref(), &place.files().join("x")));
    with_vsftpd(false, |address, files| {
        let storage = open(&address("x"), &access(&[], None), Intent::Create).unwrap();
        check(storage.as_ref(), &files.join("x"));
    });
}

#[test]
fn what_cannot_be_said_in_ftp_is_refused() {
    with_plain(|place| {
        let storage = place.open("x").unwrap();
        for bad in ["a\nb", "a\r", "folder/.icecore-tmp-x"] {
            let object = name(bad);
            assert_eq!(storage.put(&object, b"", PutMode::Replace).unwrap_err().kind(), Kind::Invalid);
            assert_eq!(storage.writer(&object, PutMode::Replace).err().unwrap().kind(), Kind::Invalid);
            assert_eq!(storage.read(&object, 0, 1).unwrap_err().kind(), Kind::Invalid);
            assert_eq!(
                storage.list(Some(&object), Depth::All, &mut |_| Ok(())).unwrap_err().kind(),
                Kind::Invalid
            );
        }
    });
}

#[test]
fn what_may_not_be_listed_is_not_empty() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    with_vsftpd(false, |address, files| {
        let storage = open(&address("x"), &access(&[], None), Intent::Create).unwrap();
        storage.put(&name("seen/object"), b"1", PutMode::CreateNew).unwrap();
        symlink("object", files.join("x/seen/link")).unwrap();
        assert_eq!(
            rows(storage.as_ref(), None, Depth::All).unwrap(),
            ["? seen/link -> object", "seen/object 1"]
        );
        let hidden = files.join("x/hidden");
        // May not be entered; may be entered, but not read.
        for mode in [0o000, 0o111] {
            fs::create_dir_all(&hidden).unwrap();
            fs::set_permissions(&hidden, fs::Permissions::from_mode(mode)).unwrap();
            for prefix in [None, Some("hidden")] {
                let error = rows(storage.as_ref(), prefix, Depth::All).unwrap_err();
                assert_ne!(error.kind(), Kind::NotFound, "{error}");
            }
        }
        assert_eq!(rows(storage.as_ref(), Some("seen"), Depth::One).unwrap().len(), 2);
    });
}

#[test]
fn two_storages_of_one_server_are_apart() {
    with_explicit(|place| {
        let (one, two) = (place.open("one").unwrap(), place.open("two").unwrap());
        one.put(&name("object"), b"1", PutMode::CreateNew).unwrap();
        two.put(&name("object"), b"22", PutMode::CreateNew).unwrap();
        assert_eq!(rows(one.as_ref(), None, Depth::All).unwrap(), ["object 1"]);
        assert_eq!(rows(two.as_ref(), None, Depth::All).unwrap(), ["object 2"]);
        let again = place.open("one").unwrap();
        let taken = again.put(&name("object"), b"3", PutMode::CreateNew).unwrap_err();
        assert_eq!(taken.kind(), Kind::AlreadyExists);
    });
}
