//! The proxy before a small server, with a client that sees every byte.

use super::super::door::Door;
use super::message::{Framing, copy_body, read_head};
use super::{Action, Answer, HttpProxy, Rule};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Knows a few paths, and answers one request on a connection.
struct Server {
    door: Door,
}

impl Server {
    fn start() -> Server {
        let (count, last) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let door = Door::open(move |client| {
            let mut requests = BufReader::new(&client);
            let Ok(Some(head)) = read_head(&mut requests) else { return };
            assert!(!head.keeps_connection() && !head.expects_continue());
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let words: Vec<&str> = head.first.split(' ').collect();
            let mut client = &client;
            let answer = match (words[0], words[1].split('?').next().unwrap()) {
                ("PUT", _) => {
                    let mut body = Vec::new();
                    copy_body(&mut requests, head.request_framing().unwrap(), &mut |bytes| {
                        body.extend_from_slice(bytes);
                        Ok(())
                    })
                    .unwrap();
                    *last.lock().unwrap() = body;
                    "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_owned()
                }
                ("GET", "/last") => {
                    let last = String::from_utf8(last.lock().unwrap().clone()).unwrap();
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{last}", last.len())
                }
                ("HEAD", _) => "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n".to_owned(),
                ("GET", "/chunks") => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n".to_owned()
                }
                ("GET", "/open") => "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n0123456789".to_owned(),
                ("GET", "/count") => {
                    let text = number.to_string();
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
                }
                _ => "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n0123456789".to_owned(),
            };
            client.write_all(answer.as_bytes()).unwrap();
        });
        Server { door }
    }

    fn proxy(&self) -> HttpProxy {
        HttpProxy::new(self.door.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.door.close();
    }
}

/// One connection of a client.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(proxy: &HttpProxy) -> Client {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) -> &mut Client {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        self
    }

    fn get(&mut self, path: &str) -> (u16, Result<String, ErrorKind>) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).answer(false)
    }

    /// The status, and the body or why there is not all of it.
    fn answer(&mut self, is_bare: bool) -> (u16, Result<String, ErrorKind>) {
        let head = read_head(&mut self.0).unwrap().expect("an answer");
        let mut body = Vec::new();
        let framing = head.answer_framing(is_bare).unwrap();
        assert_ne!(framing, Framing::UntilTheEnd, "the end of the connection is no end of a body");
        let read = copy_body(&mut self.0, framing, &mut |bytes| {
            body.extend_from_slice(bytes);
            Ok(())
        });
        let text = String::from_utf8(body).unwrap();
        (head.status().unwrap(), read.map(|()| text).map_err(|error| error.kind()))
    }

    /// Whether the connection has ended without another byte.
    fn is_over(&mut self) -> bool {
        self.0.fill_buf().unwrap().is_empty()
    }
}

fn ok(text: &str) -> (u16, Result<String, ErrorKind>) {
    (200, Ok(text.to_owned()))
}

#[test]
fn what_no_rule_chooses_passes_on_one_connection() {
    let server = Server::start();
    let proxy = server.proxy();
    let mut client = Client::connect(&proxy);
    for path in ["/text", "/chunks", "/open", "/text?a=b"] {
        assert_eq!(client.get(path), ok("0123456789"), "{path}");
    }
    assert_eq!(client.send("HEAD /text HTTP/1.1\r\n\r\n").answer(true), ok(""));
    assert_eq!(client.send("PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nwords").answer(false).0, 201);
    assert_eq!(client.get("/last"), ok("words"));
    let chunked = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(client.send(chunked).answer(false).0, 201);
    assert_eq!(client.get("/last"), ok("abcde"));

    let passed = proxy.passed();
    assert_eq!(passed.len(), 9);
    assert_eq!((passed[3].path.as_str(), passed[3].query.as_str()), ("/text", "a=b"));
    assert!(
        passed
            .iter()
            .all(|request| request.given == request.told && request.given.is_some() && !request.struck)
    );
}

#[test]
fn who_asks_before_he_sends_a_body_is_told_to() {
    let server = Server::start();
    let proxy = server.proxy();
    let mut client = Client::connect(&proxy);
    client.send("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(read_head(&mut client.0).unwrap().unwrap().status().unwrap(), 100);
    assert_eq!(client.send("late").answer(false).0, 201);
    assert_eq!(client.get("/last"), ok("late"));
}

#[test]
fn some_are_answered_without_the_server() {
    let server = Server::start();
    let proxy = server.proxy();
    proxy.add(Rule::new(Action::status(401)).on("PUT", "/*").nth(2));
    proxy.add(
        Rule::new(Action::Answer(Answer::status(503).retry_after(7).saying("busy"))).on("", "/text").times(1),
    );
    let mut client = Client::connect(&proxy);
    client.send("GET /text HTTP/1.1\r\n\r\n");
    let expected = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy";
    let mut told = vec![0; expected.len()];
    client.0.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8_lossy(&told), expected);
    assert_eq!(client.get("/text"), ok("0123456789"));
    let put = |client: &mut Client, body: &str| {
        client
            .send(&format!("PUT /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .answer(false)
            .0
    };
    assert_eq!(
        (put(&mut client, "one"), put(&mut client, "two"), put(&mut client, "three!")),
        (201, 401, 201)
    );
    assert_eq!(client.get("/last"), ok("three!"));
    let refused: Vec<_> = proxy.passed().into_iter().filter(|request| request.struck).collect();
    assert_eq!(
        refused.iter().map(|request| (request.given, request.told)).collect::<Vec<_>>(),
        [(None, Some(503)), (None, Some(401))]
    );
    assert_eq!(proxy.struck(), 2);
}

#[test]
fn an_answer_is_lost_after_the_server_has_done_it() {
    let server = Server::start();
    let proxy = server.proxy();
    proxy.add(Rule::new(Action::LoseAnswer).on("PUT", "*"));
    let mut client = Client::connect(&proxy);
    client.send("PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\ndone");
    assert!(client.is_over());
    assert_eq!(Client::connect(&proxy).get("/last"), ok("done"));
    assert_eq!((proxy.passed()[0].given, proxy.passed()[0].told), (Some(201), None));
}

#[test]
fn bodies_are_cut_or_shortened() {
    let server = Server::start();
    for path in ["/text", "/chunks", "/open"] {
        let proxy = server.proxy();
        proxy.add(Rule::new(Action::CutBody { after_bytes: 7 }).times(1));
        proxy.add(Rule::new(Action::ShortenBody { to_bytes: 7 }));
        let mut client = Client::connect(&proxy);
        client.send(&format!("GET {path} HTTP/1.1\r\n\r\n"));
        let mut told = Vec::new();
        client.0.read_to_end(&mut told).unwrap();
        let text = String::from_utf8(told).unwrap();
        let rest = text.split_once("\r\n\r\n").unwrap().1;
        let chunks = if path == "/chunks" { "4\r\n0123\r\n3\r\n456\r\n" } else { "7\r\n0123456\r\n" };
        assert_eq!(rest, if path == "/text" { "0123456" } else { chunks }, "{path}");
        assert_eq!(Client::connect(&proxy).get(path), ok("0123456"), "{path}");
    }
}

#[test]
fn answers_are_edited_and_old_ones_given_again() {
    let server = Server::start();
    let proxy = server.proxy();
    proxy.add(Rule::new(Action::edit_body(|body| body.into_iter().rev().collect())).on("GET", "/text"));
    proxy.add(
        Rule::new(Action::edit(|request, answer| answer.with("X-Query", &request.query))).on("HEAD", "*"),
    );
    proxy.add(Rule::new(Action::Stale).on("GET", "/count"));
    let mut client = Client::connect(&proxy);
    assert_eq!(client.get("/text"), ok("9876543210"));
    client.send("HEAD /text?q HTTP/1.1\r\n\r\n");
    let head = read_head(&mut client.0).unwrap().unwrap();
    let told: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, ["X-A", "Content-Length", "X-Query"]);
    assert_eq!(
        (client.get("/count"), client.get("/count"), client.get("/count?x")),
        (ok("3"), ok("3"), ok("5"))
    );
    proxy.clear();
    assert_eq!(client.get("/count"), ok("6"));
}

#[test]
fn who_stalls_is_let_go_at_the_end() {
    let server = Server::start();
    let proxy = server.proxy();
    proxy.add(Rule::new(Action::Stall));
    let mut client = Client::connect(&proxy);
    client.send("GET /text HTTP/1.1\r\n\r\n");
    let mut idle = Client::connect(&proxy);
    while proxy.struck() == 0 {
        std::thread::yield_now();
    }
    drop(proxy);
    assert!(client.is_over() && idle.is_over());
}

#[test]
fn a_server_that_is_gone_cuts_its_clients_off() {
    let server = Server::start();
    let proxy = server.proxy();
    drop(server);
    let mut client = Client::connect(&proxy);
    client.send("GET /text HTTP/1.1\r\n\r\n");
    assert!(client.is_over());
}
