//! One connection: two sockets, a queue in each direction, one thread that owns them all.
//!
//! The thread sleeps in `poll` until a socket can be used, bytes are due, or the plan changed. Sockets never block it, and
//! nobody else has a handle of them, so that a reset is one.

use super::plan::{Harm, Way};
use super::{Pass, Shared};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that may be under way in one direction of one connection: a second at half a gigabit.
const QUEUE_BYTES: usize = 64 << 20;

/// Reads in one direction before it is the other one's turn.
const READS_AT_ONCE: usize = 16;
/// Bytes of one read, at most.
const READ_BYTES: usize = 64 << 10;

/// One connection.
pub(super) struct Line {
    shared: Arc<Shared>,
    number: u64,
    /// When the client began to connect.
    opened: Instant,
    client: TcpStream,
    /// Connected when the client's wish has come over.
    server: Option<TcpStream>,
    woken: UnixStream,
    up: Lane,
    down: Lane,
    is_stalled: bool,
}

/// Why a line ends.
enum End {
    /// Both ends were told, or nobody cares any more.
    Quiet,
    /// As an end did, or a fault.
    Reset,
}

impl Line {
    /// Takes a client on; none when the proxy is at its end.
    pub fn open(shared: &Arc<Shared>, client: TcpStream) -> Option<Line> {
        let (waker, woken) = UnixStream::pair().expect("the system has sockets left");
        for pipe in [&waker, &woken] {
            pipe.set_nonblocking(true).expect("a pipe can be told not to block");
        }
        ready(&client).expect("a connection can be told not to block");
        let mut state = shared.lock();
        if state.is_over {
            return None;
        }
        state.counts.connections += 1;
        let number = state.counts.connections;
        state.wakers.insert(number, waker);
        drop(state);
        Some(Line {
            shared: Arc::clone(shared),
            number,
            opened: Instant::now(),
            client,
            server: None,
            woken,
            up: Lane::new(Way::Up),
            down: Lane::new(Way::Down),
            is_stalled: false,
        })
    }

    /// Passes bytes on until both ends are done with it.
    pub fn run(mut self) {
        let end = self.go();
        self.shared.lock().wakers.remove(&self.number);
        if let End::Reset = end {
            for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
                // Closed without lingering, a socket says RST.
                set_socket_linger(socket, Some(Duration::ZERO)).unwrap_or(());
            }
        }
    }

    fn go(&mut self) -> End {
        for way in [Way::Up, Way::Down] {
            let harm = self.shared.lock().pass(self.number, way, 0, 0).harm;
            if let Some(end) = harm.and_then(|harm| self.suffer(harm, way)) {
                return end;
            }
        }
        loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                // What one end did to the line, the other end sees.
                Err(_) => return End::Reset,
            }
        }
    }

    /// Moves what can be moved, and sleeps until there may be more.
    fn step(&mut self) -> io::Result<Option<End>> {
        let (delay, broken, is_over) = {
            let state = self.shared.lock();
            (state.plan.delay, state.broken, state.is_over)
        };
        if is_over {
            return Ok(Some(End::Reset));
        }
        let is_new = |harm| harm != Harm::Stall || !self.is_stalled;
        if let Some((_, harm)) = broken.filter(|(last, harm)| self.number <= *last && is_new(*harm)) {
            for way in [Way::Up, Way::Down] {
                if let Some(end) = self.suffer(harm, way) {
                    return Ok(Some(end));
                }
            }
        }
        if self.is_stalled {
            self.sleep(&[], None)?;
            return Ok(None);
        }
        let now = Instant::now();
        // The client's SYN, the answer, and the client's first word: the server has a connection when that has come.
        let connects_at = self.opened + 3 * delay;
        if self.server.is_none() && now >= connects_at {
            self.connect()?;
        }
        self.up.take(&self.shared, self.number, &self.client, connects_at, delay)?;
        if let Some(server) = &self.server {
            self.down.take(&self.shared, self.number, server, connects_at, delay)?;
            if let Some(harm) = self.up.give(server)? {
                return Ok(self.suffer(harm, Way::Up));
            }
        }
        if let Some(harm) = self.down.give(&self.client)? {
            return Ok(self.suffer(harm, Way::Down));
        }
        if self.up.is_done && self.down.is_done {
            return Ok(Some(End::Quiet));
        }
        self.wait(connects_at)?;
        Ok(None)
    }

    fn connect(&mut self) -> io::Result<()> {
        let address = self.shared.lock().server;
        let server = TcpStream::connect(address)?;
        ready(&server)?;
        self.server = Some(server);
        Ok(())
    }

    /// Sleeps until one of the sockets can be used in a way that is of use, or something is due.
    fn wait(&self, connects_at: Instant) -> io::Result<()> {
        let now = Instant::now();
        let times = [
            self.up.next_at(&self.shared, now),
            self.down.next_at(&self.shared, now),
            self.server.is_none().then_some(connects_at),
        ];
        let until = times.into_iter().flatten().min();
        let wishes = |source: &Lane, target: &Lane| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, source.takes(&self.shared, now));
            flags.set(PollFlags::OUT, target.is_blocked);
            flags
        };
        let mut sockets = vec![(&self.client, wishes(&self.up, &self.down))];
        sockets.extend(self.server.as_ref().map(|server| (server, wishes(&self.down, &self.up))));
        // One of which nothing is wanted would wake us again and again when its other end is gone.
        sockets.retain(|(_, flags)| !flags.is_empty());
        self.sleep(&sockets, until.map(|at| at.saturating_duration_since(now)))
    }

    fn sleep(&self, sockets: &[(&TcpStream, PollFlags)], longest: Option<Duration>) -> io::Result<()> {
        let mut waiting = vec![PollFd::new(&self.woken, PollFlags::IN)];
        waiting.extend(sockets.iter().map(|(socket, flags)| PollFd::new(*socket, *flags)));
        let longest = longest.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        match poll(&mut waiting, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut wakes = [0; 64];
        while matches!((&self.woken).read(&mut wakes), Ok(1..)) {}
        Ok(())
    }

    /// What a fault does; the end, when it is one.
    fn suffer(&mut self, harm: Harm, way: Way) -> Option<End> {
        match harm {
            Harm::Reset => Some(End::Reset),
            Harm::Cut => {
                self.cut();
                Some(End::Quiet)
            }
            Harm::Stall => {
                self.is_stalled = true;
                None
            }
            Harm::Truncate => {
                let lane = match way {
                    Way::Up => &mut self.up,
                    Way::Down => &mut self.down,
                };
                lane.source = lane.source.lost();
                None
            }
        }
    }

    /// Says FIN to both ends.
    fn cut(&self) {
        for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            // One that is gone needs no word.
            socket.shutdown(Shutdown::Both).unwrap_or(());
            let kept = socket.try_clone().expect("the system has handles left");
            self.shared.lock().shut.push(kept);
        }
    }
}

fn ready(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)
}

/// What comes from the end that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Passed,
    /// It is taken and thrown away.
    Lost,
    Ended,
}

impl Source {
    fn lost(self) -> Source {
        if self == Source::Ended { self } else { Source::Lost }
    }
}

/// What is under way.
enum Load {
    /// Bytes, and how many of them have arrived.
    Bytes(Vec<u8>, usize),
    /// The end of all bytes.
    End,
    /// A fault behind the bytes before it.
    Harm(Harm),
}

/// One direction of a connection.
struct Lane {
    way: Way,
    source: Source,
    buffer: Vec<u8>,
    /// What is under way, and when it arrives.
    queue: VecDeque<(Instant, Load)>,
    queued_bytes: usize,
    passed_bytes: u64,
    /// The other end does not take more at the moment.
    is_blocked: bool,
    /// The other end was told that this is all.
    is_done: bool,
}

impl Lane {
    fn new(way: Way) -> Lane {
        Lane {
            way,
            source: Source::Passed,
            buffer: vec![0; READ_BYTES],
            queue: VecDeque::new(),
            queued_bytes: 0,
            passed_bytes: 0,
            is_blocked: false,
            is_done: false,
        }
    }

    fn takes(&self, shared: &Shared, now: Instant) -> bool {
        self.has_room() && shared.lock().takes_at(self.way, now) <= now
    }

    fn has_room(&self) -> bool {
        self.source != Source::Ended && self.queued_bytes < QUEUE_BYTES
    }

    /// When there may be something to do, whatever the sockets do.
    fn next_at(&self, shared: &Shared, now: Instant) -> Option<Instant> {
        let due_at = self.queue.front().filter(|_| !self.is_blocked).map(|(due_at, _)| *due_at);
        let takes_at = self.has_room().then(|| shared.lock().takes_at(self.way, now)).filter(|at| *at > now);
        [due_at, takes_at].into_iter().flatten().min()
    }

    /// Takes what the sending end has sent, as long as the line is free.
    fn take(
        &mut self,
        shared: &Shared,
        connection: u64,
        mut socket: &TcpStream,
        connects_at: Instant,
        delay: Duration,
    ) -> io::Result<()> {
        let piece_bytes = shared.lock().piece_bytes(READ_BYTES);
        for _ in 0..READS_AT_ONCE {
            if !self.takes(shared, Instant::now()) {
                break;
            }
            let length = match socket.read(&mut self.buffer[..piece_bytes]) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length == 0 {
                self.source = Source::Ended;
                self.queue_at((Instant::now() + delay).max(connects_at), Load::End);
                return Ok(());
            }
            if self.source == Source::Lost {
                continue;
            }
            let Pass { pass_bytes, harm, left_at } =
                shared.lock().pass(connection, self.way, self.passed_bytes, length as u64);
            self.passed_bytes += pass_bytes;
            let passed = self.buffer[..usize::try_from(pass_bytes).unwrap_or(length).min(length)].to_vec();
            let due_at = (left_at + delay).max(connects_at);
            if !passed.is_empty() {
                self.queued_bytes += passed.len();
                self.queue_at(due_at, Load::Bytes(passed, 0));
            }
            match harm {
                None => {}
                Some(Harm::Truncate) => self.source = Source::Lost,
                Some(harm) => {
                    self.source = Source::Ended;
                    self.queue_at(due_at, Load::Harm(harm));
                }
            }
        }
        Ok(())
    }

    /// Nothing overtakes what was sent before it, also when the line becomes shorter.
    fn queue_at(&mut self, due_at: Instant, load: Load) {
        let due_at = self.queue.back().map_or(due_at, |(before, _)| due_at.max(*before));
        self.queue.push_back((due_at, load));
    }

    /// Gives what is due to the receiving end; a fault, when one is reached.
    fn give(&mut self, mut socket: &TcpStream) -> io::Result<Option<Harm>> {
        self.is_blocked = false;
        let now = Instant::now();
        while let Some((due_at, load)) = self.queue.front_mut() {
            if *due_at > now {
                break;
            }
            match load {
                Load::Bytes(bytes, arrived) => match socket.write(&bytes[*arrived..]) {
                    Ok(length) => {
                        *arrived += length;
                        self.queued_bytes -= length;
                        if *arrived < bytes.len() {
                            continue;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.is_blocked = true;
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                },
                Load::End => {
                    socket.shutdown(Shutdown::Write)?;
                    self.is_done = true;
                }
                Load::Harm(harm) => return Ok(Some(*harm)),
            }
            self.queue.pop_front();
        }
        Ok(None)
    }
}
