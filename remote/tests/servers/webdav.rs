//! WebDAV, on nginx and on wsgidav; and against servers of the test's own that do not do what they should.

use crate::{access, not_run};
use icecore::error::Retry as Again;
use icecore::name::ObjectName;
use icecore::storage::retry::{Patience, Policy, Retry};
use icecore::storage::{Depth, Listed, PutMode, Storage};
use icecore::time::Timestamp;
use icecore::{Kind, Result};
use icecore_remote::{Access, Address, Intent};
use icecore_testkit::conformance;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::servers::authority::Authority;
use icecore_testkit::servers::webdav::{PASSWORD, WebDav};
use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn opened(address: &str, access: &Access, intent: Intent) -> Result<Arc<dyn Storage>> {
    icecore_remote::open(&Address::parse(address)?, access, intent)
}

fn storage(server: &WebDav, path: &str) -> Arc<dyn Storage> {
    opened(&server.address(path), &access(&[], Some(PASSWORD)), Intent::Create).unwrap()
}

/// A server for a test, which is not run without it.
fn with_server(
    start: impl Fn(&Path) -> std::result::Result<WebDav, NotInstalled>,
    test: impl FnOnce(&mut WebDav),
) {
    let folder = tempfile::tempdir().unwrap();
    match start(folder.path()) {
        Ok(mut server) => test(&mut server),
        Err(reason) => not_run(&reason),
    }
}

fn nginx(folder: &Path) -> std::result::Result<WebDav, NotInstalled> {
    WebDav::nginx(folder, None)
}

fn conforms(server: &WebDav, left_out: &[&str]) {
    let number = Cell::new(0);
    conformance::run_but(left_out, &|| {
        number.set(number.get() + 1);
        let storage = storage(server, &format!("case%20{}/%23%25é", number.get()));
        Arc::new(Retry::new(storage, patience()))
    });
}

/// As the program has it, but in a hurry: servers fail to list what is being deleted.
fn patience() -> Patience {
    let wait = Duration::from_millis(5);
    let policy = Policy { attempts: 20, first_wait: wait, longest_wait: wait, seed: 0 };
    Patience::new(
        policy,
        Arc::new(|wait| {
            std::thread::sleep(wait);
            Ok(())
        }),
    )
}

fn labels(storage: &dyn Storage, depth: Depth) -> Vec<String> {
    let mut labels = Vec::new();
    let listed = storage.list(None, depth, &mut |row| {
        labels.push(match row {
            Listed::Object { name, size_bytes } => format!("{name} {size_bytes}"),
            Listed::Folder { name } => format!("{name}/"),
            Listed::Stray { label } => format!("? {label}"),
        });
        Ok(())
    });
    listed.unwrap();
    labels.sort();
    labels
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn nginx_conforms() {
    // Its module lists nothing that begins with a dot: such names are refused.
    with_server(nginx, |server| conforms(server, &["odd names are names"]));
}

#[test]
fn wsgidav_conforms() {
    // It looks first and renames then, and removes what is to be replaced before that; it takes '?' in a new name for its end.
    let left_out = [
        "of racing creations one wins",
        "of racing writers one wins",
        "a replaced object is always one version",
        "odd names are names",
    ];
    with_server(WebDav::wsgidav, |server| conforms(server, &left_out));
}

#[test]
fn names_that_nginx_would_hide_are_refused_and_others_come_back() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        for hidden in ["a/.hidden", "...", ".a/b"] {
            let error = storage.put(&name(hidden), b"x", PutMode::CreateNew).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert_eq!(storage.stat(&name(hidden)).unwrap_err().kind(), Kind::NotFound);
        }
        let odd = [
            " space at both ends ",
            "größe-日本-🧊",
            "a+b&c=d?e#f",
            "%2F%00%",
            "-rf",
            "back\\slash\"quote'",
            "a;b:c|d*",
            "line\nend",
        ];
        let mut expected: Vec<String> = odd.iter().map(|odd| format!("{odd}/{odd} 1")).collect();
        for odd in odd {
            storage.put(&name(&format!("{odd}/{odd}")), b"x", PutMode::CreateNew).unwrap();
        }
        expected.sort();
        assert_eq!(labels(storage.as_ref(), Depth::All), expected);
    });
}

#[test]
fn a_name_that_the_server_gets_wrong_is_refused() {
    with_server(WebDav::wsgidav, |server| {
        let storage = storage(server, "x");
        let put = storage.put(&name("a/b?c"), b"x", PutMode::CreateNew);
        assert_eq!(put.unwrap_err().kind(), Kind::Unsupported);
        storage.put(&name("a/b c"), b"x", PutMode::CreateNew).unwrap();
        assert_eq!(storage.read(&name("a/b c"), 0, 9).unwrap(), b"x");
    });
}

#[test]
fn a_place_that_is_missing_is_not_found_and_is_made_when_it_may_be() {
    with_server(nginx, |server| {
        let access = access(&[], Some(PASSWORD));
        let address = server.address("deep/er/place");
        assert_eq!(opened(&address, &access, Intent::Open).err().unwrap().kind(), Kind::NotFound);
        let storage = opened(&address, &access, Intent::Create).unwrap();
        assert!(server.data.join("deep/er/place").is_dir());
        opened(&address, &access, Intent::Open).unwrap();
        // What is removed under our feet is an error, and no empty listing.
        fs::remove_dir_all(server.data.join("deep")).unwrap();
        for prefix in [None, Some(name("a"))] {
            let listed = storage.list(prefix.as_ref(), Depth::All, &mut |_| Ok(()));
            assert_eq!(listed.unwrap_err().kind(), Kind::NotFound);
        }
        let put = storage.put(&name("a/b"), b"x", PutMode::CreateNew);
        assert_eq!(put.unwrap_err().kind(), Kind::NotFound);
        fs::write(server.data.join("file"), "x").unwrap();
        let error = opened(&server.address("file"), &access, Intent::Create).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    });
}

#[test]
fn a_wrong_password_is_denied_and_never_shown() {
    with_server(nginx, |server| {
        for password in [Some("not the word"), None] {
            let error = opened(&server.address("x"), &access(&[], password), Intent::Create).err().unwrap();
            assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
            assert!(error.advice().unwrap().contains(".netrc"), "{error:?}");
            assert!(!format!("{error:?}").contains("not the word"), "{error}");
        }
        let (user, rest) = ("webdav://ann:p%26ss%20word@", server.address("x"));
        let address = rest.replace("webdav://ann@", user);
        assert!(!opened(&address, &access(&[], None), Intent::Create).unwrap().label().contains("ss"));
    });
}

#[test]
fn the_password_may_stand_in_netrc() {
    with_server(nginx, |server| {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".netrc");
        fs::write(&file, format!("machine 127.0.0.1 login ann password \"{PASSWORD}\"\n")).unwrap();
        let mut access = access(&[], Some("another"));
        access.home = Some(home.path().to_owned());
        opened(&server.address("x"), &access, Intent::Create).unwrap();
        opened(&server.address("x").replace("ann@", ""), &access, Intent::Open).unwrap();
    });
}

#[test]
fn a_server_is_believed_by_its_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = Authority::new(folder.path(), "trusted")
        .and_then(|trusted| Ok((Authority::new(folder.path(), "other")?, trusted)))
        .and_then(|(other, trusted)| Ok((WebDav::nginx(folder.path(), Some(&trusted))?, other, trusted)));
    let (server, other, trusted) = match made {
        Ok(made) => made,
        Err(reason) => return not_run(&reason),
    };
    let address = |authority: &Authority, client: Option<&Authority>| {
        let client = client.map_or(String::new(), |client| format!("&cert={}", client.client.display()));
        format!("{}?ca={}{client}", server.address("place"), authority.certificate.display())
    };
    let access = access(&[], Some(PASSWORD));
    let storage = opened(&address(&trusted, Some(&trusted)), &access, Intent::Create).unwrap();
    storage.put(&name("a/b"), b"sealed", PutMode::CreateNew).unwrap();
    assert_eq!(storage.read(&name("a/b"), 0, 10).unwrap(), b"sealed");
    for unknown in [address(&other, Some(&trusted)), server.address("place")] {
        let error = opened(&unknown, &access, Intent::Open).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{error}");
    }
    // The server wants a certificate, too.
    assert!(opened(&address(&trusted, None), &access, Intent::Open).is_err());
}

#[test]
fn connections_that_broke_while_nobody_used_them_are_made_anew() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        storage.put(&name("a/b"), b"1", PutMode::CreateNew).unwrap();
        for round in 0..3 {
            server.kill();
            server.restart();
            match round {
                0 => assert_eq!(storage.stat(&name("a/b")).unwrap().size_bytes, 1),
                1 => storage.put(&name("a/c"), b"22", PutMode::CreateNew).unwrap(),
                _ => storage.delete(&name("a/c")).unwrap(),
            }
        }
        assert_eq!(labels(storage.as_ref(), Depth::All), ["a/b 1"]);
    });
}

#[test]
fn a_server_that_dies_under_a_long_object_is_told_and_nothing_is_visible() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        let mut writer = storage.writer(&name("long/object"), PutMode::CreateNew).unwrap();
        let piece = vec![7; 1 << 20];
        for _ in 0..12 {
            writer.write(&piece).unwrap();
        }
        server.kill();
        let failed =
            (0..64).find_map(|_| writer.write(&piece).err()).or_else(|| writer.finish().err()).unwrap();
        assert_eq!((failed.kind(), failed.retry()), (Kind::Io, Again::Later), "{failed}");
        let down = storage.stat(&name("long/object")).unwrap_err();
        assert_eq!((down.kind(), down.retry()), (Kind::Io, Again::Later), "{down}");
        server.restart();
        assert_eq!(storage.stat(&name("long/object")).unwrap_err().kind(), Kind::NotFound);
        let mut writer = storage.writer(&name("long/object"), PutMode::CreateNew).unwrap();
        for _ in 0..12 {
            writer.write(&piece).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(labels(storage.as_ref(), Depth::All), [format!("long/object {}", 12 << 20)]);
    });
}

#[test]
fn long_objects_of_several_writers_come_back_as_they_were() {
    with_server(nginx, |server| {
        let (one, other) = (storage(server, "one"), storage(server, "other"));
        let mut writers = [
            one.writer(&name("o"), PutMode::CreateNew).unwrap(),
            other.writer(&name("o"), PutMode::CreateNew).unwrap(),
        ];
        for round in 0..30u8 {
            for (number, writer) in writers.iter_mut().enumerate() {
                writer.write(&vec![round + 100 * number as u8; 700_001]).unwrap();
            }
        }
        for writer in writers {
            writer.finish().unwrap();
        }
        for (number, storage) in [one, other].iter().enumerate() {
            for round in 0..30u8 {
                let bytes = storage.read(&name("o"), 700_001 * u64::from(round), 700_001).unwrap();
                assert!(bytes == vec![round + 100 * number as u8; 700_001], "{number} {round}");
            }
        }
    });
}

#[test]
fn a_long_object_that_is_given_up_leaves_nothing() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        let mut writer = storage.writer(&name("a/b"), PutMode::CreateNew).unwrap();
        for _ in 0..12 {
            writer.write(&vec![7; 1 << 20]).unwrap();
        }
        drop(writer);
        assert_eq!(labels(storage.as_ref(), Depth::All), [""; 0]);
        assert_eq!(labels(storage.as_ref(), Depth::One), [""; 0]);
        assert_eq!(fs::read_dir(server.data.join("x/a")).unwrap().count(), 0);
    });
}

#[test]
fn ten_thousand_objects_are_listed() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        fs::create_dir_all(server.data.join("x/many")).unwrap();
        for number in 0..10_000 {
            fs::write(server.data.join(format!("x/many/{number:05} & more")), "12").unwrap();
        }
        let expected: Vec<String> = (0..10_000).map(|number| format!("many/{number:05} & more 2")).collect();
        assert!(labels(storage.as_ref(), Depth::All) == expected);
    });
}

#[test]
fn what_killed_runs_left_is_told_and_removed_when_it_is_old() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        storage.put(&name("a/kept"), b"1", PutMode::CreateNew).unwrap();
        storage.put(&name("gone/deep/er"), b"1", PutMode::CreateNew).unwrap();
        storage.delete(&name("gone/deep/er")).unwrap();
        fs::write(server.data.join("x/a/icecore-tmp-0123"), "half").unwrap();
        assert_eq!(labels(storage.as_ref(), Depth::All), ["? a/icecore-tmp-0123", "a/kept 1"]);
        assert_eq!(labels(storage.as_ref(), Depth::One), ["a/"]);
        assert_eq!(storage.clean_temporaries(Timestamp(now() - 1000)).unwrap(), 0, "too young");
        assert!(server.data.join("x/gone/deep").exists());
        assert_eq!(storage.clean_temporaries(Timestamp(now() + 1000)).unwrap(), 1);
        assert_eq!(labels(storage.as_ref(), Depth::All), ["a/kept 1"]);
        assert!(!server.data.join("x/gone").exists(), "an empty folder stays");
        let error = storage.put(&name("a/icecore-tmp-x"), b"", PutMode::Replace).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        // What this storage knew of folders is known to be wrong now.
        storage.put(&name("gone/deep/er"), b"2", PutMode::CreateNew).unwrap();
    });
}

#[test]
fn a_folder_removed_by_somebody_else_is_made_again() {
    with_server(nginx, |server| {
        let storage = storage(server, "x");
        storage.put(&name("a/b/c"), b"1", PutMode::CreateNew).unwrap();
        fs::remove_dir_all(server.data.join("x/a")).unwrap();
        storage.put(&name("a/b/c"), b"2", PutMode::CreateNew).unwrap();
        assert_eq!(storage.read(&name("a/b/c"), 0, 9).unwrap(), b"2");
    });
}

/// What a made-up server was asked: method, path and headers in small letters.
struct Asked {
    line: String,
    headers: String,
}

/// A server of the test's own: answers by what it is asked.
fn made_up(
    answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
    let (count, log) = (Arc::clone(&requests), Arc::clone(&seen));
    let serve = Arc::new(move |stream: TcpStream| {
        while let Some(asked) = request(&stream) {
            count.fetch_add(1, Ordering::SeqCst);
            log.lock().unwrap().push_str(&asked.headers);
            if (&stream).write_all(&answer(&asked)).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, Ok(stream)) = (Arc::clone(&serve), stream) else { return };
            std::thread::spawn(move || serve(stream));
        }
    });
    (port, requests, seen)
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let header = header.to_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&header);
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    Some(Asked { line, headers })
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The answer of a server whose root is a folder, in which there is one object, `o`.
fn listing(asked: &Asked, size: usize) -> Vec<u8> {
    let folder = "<response><href>/</href><propstat><prop><resourcetype><collection/></resourcetype></prop>\
        <status>HTTP/1.1 200 OK</status></propstat></response>";
    let object = format!(
        "<response><href>/o</href><propstat><prop><resourcetype/><getcontentlength>{size}</getcontentlength></prop>\
         <status>HTTP/1.1 200 OK</status></propstat></response>"
    );
    let rows = match asked.line.contains("/o ") {
        true => object,
        false if asked.headers.contains("depth: 1") => format!("{folder}{object}"),
        false => folder.to_owned(),
    };
    let body = format!("<multistatus xmlns=\"DAV:\">{rows}</multistatus>");
    answer("207 Multi-Status", "Content-Type: text/xml\r\n", body.as_bytes())
}

fn at(port: u16) -> Result<Arc<dyn Storage>> {
    let mut access = access(&[], Some("a password of mine"));
    access.timeouts.idle = Duration::from_secs(2);
    access.connections = 1;
    opened(&format!("webdav://ann@127.0.0.1:{port}/"), &access, Intent::Open)
}

#[test]
fn a_server_that_sends_everything_is_not_taken_for_one_that_sends_the_range() {
    let object: Vec<u8> = (0..=255).collect();
    let whole = object.clone();
    let (port, ..) = made_up(move |asked| match asked.line.starts_with("GET") {
        true => answer("200 OK", "", &whole),
        false => listing(asked, whole.len()),
    });
    let storage = at(port).unwrap();
    for (offset, length) in [(10, 20), (0, 256), (250, 100), (256, 1), (0, 1)] {
        let expected = &object[offset.min(256)..(offset + length).min(256)];
        assert_eq!(
            storage.read(&name("o"), offset as u64, length).unwrap(),
            expected,
            "{length} at {offset}"
        );
    }
}

#[test]
fn ranges_that_are_not_those_asked_for_are_errors() {
    for (headers, length) in [
        ("Content-Range: bytes 0-9/100\r\n", 10),
        ("Content-Range: bytes 10-14/100\r\n", 5),
        ("Content-Range: bytes 10-14/*\r\n", 5),
        ("Content-Range: bytes 10-30/100\r\n", 21),
        ("Content-Range: bytes 10-19/100\r\n", 4),
        ("", 10),
    ] {
        let (port, ..) = made_up(move |asked| match asked.line.starts_with("GET") {
            true => answer("206 Partial Content", headers, &vec![1; length]),
            false => listing(asked, 100),
        });
        let error = at(port).unwrap().read(&name("o"), 10, 10).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{headers}: {error}");
    }
}

#[test]
fn a_redirect_never_gets_the_password() {
    let (elsewhere, requests, _) = made_up(|asked| listing(asked, 0));
    let to = format!("Location: http://127.0.0.1:{elsewhere}/\r\n");
    let (port, _, seen) = made_up(move |_| answer("301 Moved Permanently", &to, b""));
    let error = at(port).err().unwrap();
    assert!(error.to_string().contains("301") && error.advice().unwrap().contains("not followed"), "{error}");
    assert!(seen.lock().unwrap().contains("authorization: basic"));
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_no_webdav_server_is_told() {
    for status in ["200 OK", "405 Method Not Allowed", "501 Not Implemented"] {
        let (port, ..) = made_up(move |_| answer(status, "", b"<html>It works!</html>"));
        let error = at(port).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (Kind::Unsupported, Again::Never), "{error}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_error_and_no_short_listing() {
    let (port, ..) = made_up(|asked| {
        let whole = listing(asked, 1);
        match asked.headers.contains("depth: 1") {
            // The length fits: only the syntax tells.
            true => answer("207 Multi-Status", "", b"<multistatus xmlns=\"DAV:\"><response><href>/</href>"),
            false => whole,
        }
    });
    let storage = at(port).unwrap();
    let error = storage.list(None, Depth::All, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let (port, ..) =
        made_up(|asked| match asked.headers.contains("depth: 1") || asked.line.starts_with("GET") {
            true => b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 100\r\n\r\n<multi".to_vec(),
            false => listing(asked, 100),
        });
    let storage = at(port).unwrap();
    let listed = storage.list(None, Depth::All, &mut |_| Ok(())).unwrap_err();
    assert_eq!((listed.kind(), listed.retry()), (Kind::Io, Again::Later), "{listed}");
}

#[test]
fn a_full_server_is_told_from_a_busy_one() {
    for (status, kind, retry) in [
        ("507 Insufficient Storage", Kind::NoSpace, Again::Never),
        ("503 Service Unavailable", Kind::Io, Again::Later),
        ("403 Forbidden", Kind::Denied, Again::Never),
        ("411 Length Required", Kind::Unsupported, Again::Never),
    ] {
        let (port, ..) = made_up(move |asked| match asked.line.starts_with("PUT") {
            true => answer(status, "", b""),
            false if asked.line.starts_with("DELETE") => answer("404 Not Found", "", b""),
            false => listing(asked, 1),
        });
        let storage = at(port).unwrap();
        let error = storage.put(&name("p"), b"x", PutMode::CreateNew).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    }
}

#[test]
fn an_object_that_the_server_kept_in_part_never_gets_its_name() {
    let (port, _, seen) = made_up(move |asked| match asked.line.split(' ').next().unwrap() {
        "PUT" => answer("201 Created", "", b""),
        "DELETE" => answer("204 No Content", "", b""),
        _ if asked.line.contains("icecore-tmp") => {
            let body = "<multistatus xmlns=\"DAV:\"><response><href>/x</href><propstat><prop><getcontentlength>3</getcontentlength>\
                </prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>";
            answer("207 Multi-Status", "", body.as_bytes())
        }
        _ => listing(asked, 1),
    });
    let storage = at(port).unwrap();
    let error = storage.put(&name("p"), b"four", PutMode::CreateNew).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{error}");
    assert!(error.to_string().contains("3 of 4 bytes"), "{error}");
    assert!(!seen.lock().unwrap().contains("overwrite"));
}
