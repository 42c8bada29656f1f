//! A proxy that knows HTTP: it passes requests on to a real server, and changes the answers to those that rules choose.
//!
//! One request at a time on each connection of a client, each over a new connection to the server, so that no broken answer
//! hurts a later one. Bodies are streamed as they come, whatever their length, unless a rule wants to change one.

mod message;
mod rule;
#[cfg(test)]
mod tests;

pub use rule::{Action, Answer, Request, Rule};

use super::door::Door;
use message::{Body, Framing, Head, copy_body, read_head, whole};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Longest body that a rule changes.
const EDITED_BYTES: usize = 256 << 20;

/// A request that came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The method.
    pub method: String,
    /// The path, as it was sent, without what follows a `?`.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// Whether a rule chose it.
    pub struck: bool,
    /// The status that the server gave; none when it was not asked, or did not answer (yet).
    pub given: Option<u16>,
    /// The status that the client was told; none when it was told nothing (yet).
    pub told: Option<u16>,
}

/// A proxy for HTTP to a server, until this is dropped.
pub struct HttpProxy {
    door: Door,
    shared: Arc<Shared>,
}

impl HttpProxy {
    /// A proxy in front of `server` that changes nothing.
    pub fn new(server: SocketAddr) -> HttpProxy {
        let shared = Arc::new(Shared { state: Mutex::new(State::new(server)), changed: Condvar::new() });
        let clients = Arc::clone(&shared);
        let door = Door::open(move |client| serve(&clients, &client));
        HttpProxy { door, shared }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// The port of loopback where clients connect.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Adds a rule behind those that are there; the first that chooses a request has it.
    pub fn add(&self, rule: Rule) {
        self.shared.lock().rules.push((rule, 0));
    }

    /// Removes all rules.
    pub fn clear(&self) {
        let mut state = self.shared.lock();
        state.rules.clear();
        state.kept.clear();
    }

    /// Later requests go to another server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.shared.lock().server = server;
    }

    /// What came by so far, in the order in which it came.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.lock().passed.clone()
    }

    /// How many requests rules have chosen. A test whose rule never struck has tested nothing.
    pub fn struck(&self) -> usize {
        self.shared.lock().passed.iter().filter(|request| request.struck).count()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.is_over = true;
            for socket in state.sockets.values() {
                // One that is gone needs no word.
                socket.shutdown(Shutdown::Both).unwrap_or(());
            }
        }
        self.shared.changed.notify_all();
        self.door.close();
    }
}

struct Shared {
    state: Mutex<State>,
    /// Told at the end.
    changed: Condvar,
}

struct State {
    server: SocketAddr,
    /// Each rule, and how many requests it has looked for and found.
    rules: Vec<(Rule, u64)>,
    passed: Vec<Passed>,
    /// Answers that are given again, by request.
    kept: HashMap<String, Answer>,
    /// Open sockets, so that nothing waits for one of them at the end.
    sockets: HashMap<u64, TcpStream>,
    next_socket: u64,
    is_over: bool,
}

impl State {
    fn new(server: SocketAddr) -> State {
        State {
            server,
            rules: Vec::new(),
            passed: Vec::new(),
            kept: HashMap::new(),
            sockets: HashMap::new(),
            next_socket: 0,
            is_over: false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes sure that a socket is shut down at the end.
    fn hold(&self, socket: &TcpStream) -> io::Result<Held<'_>> {
        socket.set_nodelay(true)?;
        let handle = socket.try_clone()?;
        let mut state = self.lock();
        if state.is_over {
            return Err(over());
        }
        let number = state.next_socket;
        state.next_socket += 1;
        state.sockets.insert(number, handle);
        Ok(Held { shared: self, number })
    }

    /// Notes a request: its place among those that passed, and what a rule wants.
    fn choose(&self, request: &Request) -> (usize, Option<Action>) {
        let mut state = self.lock();
        let action = state.rules.iter_mut().find_map(|(rule, seen)| rule.choose(request, seen));
        state.passed.push(Passed {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            struck: action.is_some(),
            given: None,
            told: None,
        });
        (state.passed.len() - 1, action)
    }

    fn given(&self, place: usize, status: u16) {
        self.lock().passed[place].given = Some(status);
    }

    fn told(&self, place: usize, status: u16) {
        self.lock().passed[place].told = Some(status);
    }

    fn wait_for_the_end(&self) {
        let ends = self.changed.wait_while(self.lock(), |state| !state.is_over);
        drop(ends.unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

fn over() -> io::Error {
    io::Error::other("the proxy has ended")
}

struct Held<'s> {
    shared: &'s Shared,
    number: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let socket = self.shared.lock().sockets.remove(&self.number);
        // Closing alone would reset what the other end has not read yet, if it sent more than we read.
        if let Some(socket) = socket {
            socket.shutdown(Shutdown::Write).unwrap_or(());
        }
    }
}

/// Serves a client until it goes away, or something breaks: then it is cut off, as by a server that died.
fn serve(shared: &Shared, client: &TcpStream) {
    let Ok(held) = shared.hold(client) else { return };
    let mut requests = BufReader::new(client);
    let mut exchange = || Exchange { shared, client }.run(&mut requests);
    while let Ok(true) = exchange() {}
    drop(held);
}

/// One request and its answer.
struct Exchange<'s> {
    shared: &'s Shared,
    client: &'s TcpStream,
}

type Requests<'s> = BufReader<&'s TcpStream>;

impl<'s> Exchange<'s> {
    /// Whether the client may send another one.
    fn run(self, requests: &mut Requests<'s>) -> io::Result<bool> {
        let Some(head) = read_head(requests)? else { return Ok(false) };
        let request = Request::of(&head)?;
        let (place, action) = self.shared.choose(&request);
        match action {
            Some(Action::Answer(answer)) => self.refuse(&head, requests, place, answer),
            Some(Action::Stall) => {
                self.shared.wait_for_the_end();
                Ok(false)
            }
            action => self.forward(&head, &request, requests, place, action),
        }
    }

    /// Answers without asking the server.
    fn refuse(
        &self,
        head: &Head,
        requests: &mut Requests<'s>,
        place: usize,
        answer: Answer,
    ) -> io::Result<bool> {
        // Whoever asked whether to send his body will not send it now.
        let keeps = !head.expects_continue() && head.keeps_connection();
        if keeps {
            copy_body(requests, head.request_framing()?, &mut |_| Ok(()))?;
        }
        self.shared.told(place, answer.status);
        let is_bare = head.method() == "HEAD";
        self.tell(&answer, Framing::Length(0), is_bare)?;
        Ok(keeps)
    }

    fn forward(
        &self,
        head: &Head,
        request: &Request,
        requests: &mut Requests<'s>,
        place: usize,
        action: Option<Action>,
    ) -> io::Result<bool> {
        let address = self.shared.lock().server;
        let server = TcpStream::connect(address)?;
        let _held = self.shared.hold(&server)?;
        if head.expects_continue() {
            let mut client = self.client;
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let sent = self.send(head, requests, &server);
        let mut answers = BufReader::new(&server);
        // A server may answer before it has the whole body, and take no more of it.
        let answered = match (read_answer(&mut answers), sent) {
            (Ok(Some(answered)), _) => answered,
            (Err(error), _) | (Ok(None), Err(error)) => return Err(error),
            (Ok(None), Ok(())) => return Ok(false),
        };
        let status = answered.status()?;
        self.shared.given(place, status);
        let is_bare = request.method == "HEAD";
        let framing = answered.answer_framing(is_bare)?;
        match action {
            None => {
                self.shared.told(place, status);
                self.relay(&answered, framing, &mut answers)?;
            }
            Some(Action::LoseAnswer) => {
                copy_body(&mut answers, framing, &mut |_| Ok(()))?;
                return Ok(false);
            }
            Some(Action::CutBody { after_bytes }) => {
                self.shared.told(place, status);
                self.cut(&answered, framing, &mut answers, after_bytes)?;
                return Ok(false);
            }
            Some(action) => {
                let mut body = Vec::new();
                copy_body(&mut answers, framing, &mut |bytes| collect(&mut body, bytes))?;
                let answer = Answer { status, headers: answered.headers.clone(), body };
                let changed = self.change(action, request, answer);
                self.shared.told(place, changed.status);
                self.tell(&changed, framing, is_bare)?;
            }
        }
        Ok(head.keeps_connection())
    }

    /// Sends the request to the server, as it comes.
    fn send(&self, head: &Head, requests: &mut Requests<'s>, server: &TcpStream) -> io::Result<()> {
        let framing = head.request_framing()?;
        let mut to_server = server;
        to_server.write_all(
            &head.with_headers(&["connection", "keep-alive", "expect"], &[("Connection", "close")]),
        )?;
        let mut body = Body::begin(to_server, framing);
        let mut sent = Ok(());
        // What a server does not take any more is read all the same: the client has sent it when it hears the answer.
        copy_body(requests, framing, &mut |bytes| {
            if sent.is_ok() {
                sent = body.write(bytes);
            }
            Ok(())
        })?;
        sent.and_then(|()| body.finish())
    }

    fn relay(
        &self,
        answered: &Head,
        framing: Framing,
        answers: &mut BufReader<&TcpStream>,
    ) -> io::Result<()> {
        let mut client = self.client;
        client.write_all(&answered.as_answer(framing))?;
        let mut body = Body::begin(client, framing.told());
        copy_body(answers, framing, &mut |bytes| body.write(bytes))?;
        body.finish()
    }

    /// Begins an answer that its head says is longer.
    fn cut(
        &self,
        answered: &Head,
        framing: Framing,
        answers: &mut BufReader<&TcpStream>,
        after_bytes: u64,
    ) -> io::Result<()> {
        let mut client = self.client;
        client.write_all(&answered.as_answer(framing))?;
        let mut body = Body::begin(client, framing.told());
        let mut left = usize::try_from(after_bytes).unwrap_or(usize::MAX);
        copy_body(answers, framing, &mut |bytes| {
            let kept = &bytes[..bytes.len().min(left)];
            left -= kept.len();
            if kept.is_empty() { Ok(()) } else { body.write(kept) }
        })
    }

    fn change(&self, action: Action, request: &Request, answer: Answer) -> Answer {
        match action {
            Action::ShortenBody { to_bytes } => {
                let mut answer = answer;
                answer.body.truncate(usize::try_from(to_bytes).unwrap_or(usize::MAX));
                answer
            }
            Action::Edit(edit) => edit(request, answer),
            Action::Stale => {
                let key = format!("{} {}?{}", request.method, request.path, request.query);
                self.shared.lock().kept.entry(key).or_insert(answer).clone()
            }
            // The others never come here with a whole answer.
            Action::Answer(_) | Action::Stall | Action::LoseAnswer | Action::CutBody { .. } => answer,
        }
    }

    /// Tells the client a whole answer, framed as that of the server was.
    fn tell(&self, answer: &Answer, framing: Framing, is_bare: bool) -> io::Result<()> {
        let mut client = self.client;
        client.write_all(&whole(answer, framing, is_bare))
    }
}

fn collect(body: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    if body.len() + bytes.len() > EDITED_BYTES {
        return Err(io::Error::other("a body is too long to be changed"));
    }
    body.extend_from_slice(bytes);
    Ok(())
}

/// The head of the answer, behind what a server says on the way to it.
fn read_answer(answers: &mut BufReader<&TcpStream>) -> io::Result<Option<Head>> {
    loop {
        match read_head(answers)? {
            Some(head) if (100..200).contains(&head.status()?) => {}
            other => return Ok(other),
        }
    }
}
