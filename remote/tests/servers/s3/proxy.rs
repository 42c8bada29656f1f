//! Proxies in front of a server of HTTP that change a request or lose an answer, and plain exchanges without a client.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What is done with a request.
struct Rules {
    /// The head as it is sent on.
    change: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// Whether the answer is lost.
    loses: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A proxy; each connection carries one request.
pub struct Proxy {
    port: u16,
}

impl Proxy {
    /// One that changes the heads of requests.
    pub fn start(server: u16, change: impl Fn(&str) -> String + Send + Sync + 'static) -> Proxy {
        Proxy::run(server, Rules { change: Box::new(change), loses: Box::new(|_| false) })
    }

    /// One that sends each request on, and breaks the connection instead of answering some.
    pub fn losing(server: u16, loses: impl Fn(&str) -> bool + Send + Sync + 'static) -> Proxy {
        Proxy::run(server, Rules { change: Box::new(str::to_owned), loses: Box::new(loses) })
    }

    fn run(server: u16, rules: Rules) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::new(rules);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let rules = Arc::clone(&rules);
                thread::spawn(move || relay(client, server, &rules).unwrap_or(()));
            }
        });
        Proxy { port }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn relay(mut client: TcpStream, server: u16, rules: &Rules) -> std::io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&piece[..length]),
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let mut body = request.split_off(end + 4);
    let begun = body.len();
    body.resize(length.unwrap_or(0).max(begun), 0);
    client.read_exact(&mut body[begun..])?;
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", (rules.change)(&head)).as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if !(rules.loses)(&head) {
        client.write_all(&answer)?;
    }
    Ok(())
}

/// Sends one request without a signature; the answer.
pub fn exchange(port: u16, method: &str, path: &str, body: &[u8]) -> String {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=any/20261128/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    server.write_all(head.as_bytes()).unwrap();
    server.write_all(body).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads a request on each connection and says always the same; then it hangs, or ends.
pub fn say(listener: &TcpListener, said: &[u8], hangs: bool) {
    let mut open = Vec::new();
    for mut client in listener.incoming().map_while(Result::ok) {
        let mut request = [0; 4096];
        client.read(&mut request).map(drop).unwrap_or(());
        client.write_all(said).unwrap_or(());
        if hangs {
            open.push(client);
        }
    }
}
