//! Waits that end, lengths that must be right, statuses by kind: against servers that do one thing each.

use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

/// What the server does with its first connections, one after the other; then it is gone.
type Turn = Box<dyn FnOnce(std::net::TcpStream) + Send>;

fn serving(turns: Vec<Turn>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for turn in turns {
            turn(listener.accept().unwrap().0);
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}/x")).unwrap()
}

fn answering(answer: &'static str) -> Turn {
    Box::new(move |mut stream| {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

fn http() -> Http {
    let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_millis(300), sharing: 1 };
    Http::new(timeouts, 2, None, None).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    crate::bridge::runtime().unwrap().block_on(work)
}

#[test]
fn a_body_that_is_too_short_is_an_error_that_may_pass() {
    let url = serving(vec![answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")]);
    let http = http();
    let error = run(async {
        let response = http.send(http.request(Method::GET, url), 0).await.unwrap();
        read_exactly(response, 9).await.unwrap_err()
    });
    assert_eq!((error.kind(), error.retry()), (Kind::Io, icecore::error::Retry::Later), "{error}");
}

#[test]
fn a_body_of_another_length_than_was_asked_for_is_an_error() {
    for (answer, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", 4),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", 6),
    ] {
        let url = serving(vec![answering(answer)]);
        let http = http();
        let read = run(async {
            let response = http.send(http.request(Method::GET, url), 0).await.unwrap();
            read_exactly(response, length).await
        });
        assert_eq!(read.unwrap_err().kind(), Kind::Io);
    }
}

#[test]
fn a_longer_answer_than_allowed_is_refused() {
    let url = serving(vec![answering("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789")]);
    let http = http();
    let read = run(async {
        let response = http.send(http.request(Method::GET, url), 0).await.unwrap();
        read_body_limited(response, 9).await
    });
    assert_eq!(read.unwrap_err().kind(), Kind::Limit);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let hold = |stream: std::net::TcpStream| {
        // Until the other side gives up.
        let mut bytes = Vec::new();
        (&stream).read_to_end(&mut bytes).map(drop).unwrap_or(());
    };
    let url = serving(vec![Box::new(hold)]);
    let http = http();
    let error = run(async { http.send(http.request(Method::GET, url), 0).await.err().unwrap() });
    // The first wait is the one for a connection.
    assert_eq!((error.kind(), error.retry()), (Kind::Io, icecore::error::Retry::Later), "{error}");
}

#[test]
fn a_server_has_longer_to_go_over_a_long_body() {
    let slow: Turn = Box::new(|mut stream| {
        let (mut end, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while !end.ends_with(b"\r\n0\r\n\r\n") {
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "the body ended early");
            end.extend_from_slice(&piece[..length]);
            end.drain(..end.len().saturating_sub(7));
        }
        // Longer than two idle deadlines, and not as long as 64 MiB allow.
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    let url = serving(vec![slow]);
    let idle = Duration::from_millis(500);
    let http = Http::new(Timeouts { connect: idle, idle, sharing: 1 }, 1, None, None).unwrap();
    let pieces = std::iter::repeat_n(bytes::Bytes::from(vec![0; 1 << 20]), 64);
    let body = futures_util::stream::iter(pieces.map(Ok::<_, std::io::Error>));
    let request = http.request(Method::PUT, url).body(reqwest::Body::wrap_stream(body));
    let status = run(async { http.send(request, usize::MAX).await.unwrap().status() });
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[test]
fn a_server_that_takes_no_more_bytes_is_not_waited_for() {
    let hold = |stream: std::net::TcpStream| {
        std::thread::sleep(Duration::from_secs(8));
        drop(stream);
    };
    let url = serving(vec![Box::new(hold)]);
    let http = http();
    let error = run(async {
        let request = http.request(Method::POST, url).body(vec![0; 64 << 20]);
        http.send(request, 64 << 20).await.err().unwrap()
    });
    assert!(error.to_string().contains("no answer within"), "{error}");
}

#[test]
fn a_reading_request_is_sent_again_when_its_connection_was_closed() {
    let hang_up: Turn = Box::new(|mut stream| {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
    });
    let url = serving(vec![hang_up, answering("HTTP/1.1 204 No Content\r\n\r\n")]);
    let http = http();
    let status = run(async { http.send(http.request(Method::GET, url), 0).await.unwrap().status() });
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[test]
fn a_changing_request_is_not_sent_twice() {
    let hang_up: Turn = Box::new(|mut stream| {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
    });
    let url = serving(vec![hang_up, answering("HTTP/1.1 204 No Content\r\n\r\n")]);
    let http = http();
    let error = run(async { http.send(http.request(Method::DELETE, url), 0).await.err().unwrap() });
    assert_eq!((error.kind(), error.retry()), (Kind::Io, icecore::error::Retry::Later), "{error}");
}

#[test]
fn statuses_have_their_kinds() {
    use icecore::error::Retry::{Later, Never};
    for (head, kind, retry) in [
        ("401 Unauthorized", Kind::Denied, Never),
        ("403 Forbidden", Kind::Denied, Never),
        ("404 Not Found", Kind::NotFound, Never),
        ("412 Precondition Failed", Kind::AlreadyExists, Never),
        ("413 Upload exceeds quota", Kind::Limit, Never),
        ("429 Too Many Requests", Kind::Io, Later),
        ("498 Rate Limited", Kind::Io, Later),
        ("500 Internal Server Error", Kind::Io, Later),
        ("501 Not Implemented", Kind::Unsupported, Never),
        ("503 Service Unavailable", Kind::Io, Later),
        ("507 Insufficient Storage", Kind::NoSpace, Never),
        ("302 Found", Kind::Io, Never),
    ] {
        let answer: &'static str = Box::leak(
            format!("HTTP/1.1 {head}\r\nContent-Length: 20\r\n\r\n<p>so\u{7}\nbe it</p>ABCD")
                .into_boxed_str(),
        );
        let url = serving(vec![answering(answer)]);
        let http = http();
        let error = run(async {
            let response = http.send(http.request(Method::DELETE, url), 0).await.unwrap();
            failed(response, "cannot do it").await
        });
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.to_string().contains("so\\u{7} be it"), "{error}");
    }
}

#[test]
fn what_a_server_says_is_short_and_harmless() {
    assert_eq!(
        words::plain(b"<html><h1>No</h1>\r\n<p>such  \x1b[2Jthing</p></html>"),
        "No such \\u{1b}[2Jthing"
    );
    assert_eq!(words::plain(&b"x".repeat(5000)).chars().count(), 301);
    assert_eq!(words::plain(b"\xff<"), "\u{fffd}");
}

#[test]
fn files_that_are_no_certificates_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let timeouts = Timeouts::default();
    assert_eq!(Http::new(timeouts, 1, Some(&path), None).err().unwrap().kind(), Kind::Invalid);
    assert_eq!(Http::new(timeouts, 1, None, Some(&path)).err().unwrap().kind(), Kind::Invalid);
    assert_eq!(
        Http::new(timeouts, 1, Some(&folder.path().join("none")), None).err().unwrap().kind(),
        Kind::Invalid
    );
}
