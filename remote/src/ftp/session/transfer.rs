//! Transfers of a session: a data connection for each, made from either side, encrypted as the control connection is.
//!
//! Invariant: after a transfer, however it ended, the server's answer to it has been taken, or the session is broken.

use super::{Running, Session, unclear};
use crate::access::Timeouts;
use crate::ftp::place::Mode;
use crate::ftp::reply::{Reply, extended_port, passive_port};
use crate::ftp::wire::{Channel, Deadline, accept, trouble};
use icecore::error::{Error, Kind, Result};
use icecore::limits::FTP_LINE_BYTES;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

/// How long to wait for the answer to a transfer that was cut: what was wanted is there by then.
const CUT_WAIT: Duration = Duration::from_secs(10);

/// How long a download may wait for the next read: so much later the file may be another one, by another process.
const RUNNING_KEPT: Duration = Duration::from_secs(5);

/// Most that is set aside for a download before anything of it has come.
const AHEAD_BYTES: usize = 8 << 20;

/// What is read of which file.
#[derive(Debug, Clone, Copy)]
pub(in crate::ftp) struct Range<'a> {
    pub path: &'a str,
    pub offset: u64,
    pub most_bytes: usize,
    /// How many changes this process has made when the read begins: a download that was begun before one is not gone on with.
    pub changes: u64,
}

/// What became of a download.
pub(in crate::ftp) enum Download {
    /// All that was asked for, or all there was: the server says that this was the end.
    Bytes { bytes: Vec<u8>, is_end: bool },
    /// There is nothing to be had.
    Refused(Reply),
}

enum Data {
    Connected(Channel),
    Awaited(TcpListener),
}

impl Session {
    /// A connection for data, or what will become one.
    fn arrange(&mut self) -> Result<Data> {
        match self.mode {
            Mode::Passive => self.passive().map(Data::Connected),
            Mode::Active => self.active().map(Data::Awaited),
        }
    }

    fn passive(&mut self) -> Result<Channel> {
        let port = self.passive_port()?;
        // To the host of the control connection, whatever the answer says: that may be behind a translation of addresses, and
        // nobody is to be sent elsewhere.
        let connected = Channel::connect(SocketAddr::new(self.server, port), self.deadline);
        self.guarded(&format!("no data connection to port {port}"), connected)
    }

    fn passive_port(&mut self) -> Result<u16> {
        if self.has_extended {
            let reply = self.ask("EPSV", "")?;
            match reply.code {
                229 => return extended_port(reply.text()).ok_or_else(|| unclear(&reply, "EPSV")),
                500..600 => self.has_extended = false,
                _ => return Err(reply.refusal("EPSV")),
            }
        }
        let reply = self.ask("PASV", "")?;
        match reply.code {
            227 => passive_port(reply.text()).ok_or_else(|| unclear(&reply, "PASV")),
            _ => Err(reply.refusal("PASV").hint("?mode=active lets the server connect to this machine")),
        }
    }

    fn active(&mut self) -> Result<TcpListener> {
        let listening = TcpListener::bind((self.here, 0)).and_then(|listener| {
            // Waiting is done with a deadline, not here.
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?.port(), listener))
        });
        let (port, listener) =
            listening.map_err(|e| trouble("cannot wait for the server's connection", e))?;
        let family = if self.here.is_ipv4() { 1 } else { 2 };
        let mut reply = self.ask("EPRT", &format!("|{family}|{}|{port}|", self.here))?;
        if let (true, IpAddr::V4(here)) = (reply.code >= 500, self.here) {
            let [high, low] = port.to_be_bytes();
            let numbers = here.octets().into_iter().chain([high, low]).map(|number| number.to_string());
            reply = self.ask("PORT", &numbers.collect::<Vec<_>>().join(","))?;
        }
        match reply.is_done() {
            true => Ok(listener),
            false => Err(reply.refusal("EPRT").hint("without ?mode=active the connection is made from here")),
        }
    }

    /// Begins a transfer; the server's answer when it refuses.
    fn transfer(&mut self, verb: &str, argument: &str, offset: u64) -> Result<Result<Channel, Reply>> {
        let data = self.arrange()?;
        if offset > 0 {
            let reply = self.ask("REST", &offset.to_string())?;
            if !reply.wants_more() {
                return Ok(Err(reply));
            }
        }
        self.say(verb, argument)?;
        let reply = self.answer(verb)?;
        if !reply.is_preliminary() {
            return Ok(Err(reply));
        }
        let channel = match data {
            Data::Connected(channel) => Ok(channel),
            Data::Awaited(listener) => accept(&listener, self.server, self.deadline),
        };
        let channel = self.guarded("no data connection from the server", channel)?;
        let Some(security) = &self.security else { return Ok(Ok(channel)) };
        match channel.secure(security) {
            Ok(channel) => Ok(Ok(channel)),
            Err(e) => Err(self.without_encryption(verb, e)),
        }
    }

    /// Why a data connection could not be encrypted: the server may say it.
    fn without_encryption(&mut self, verb: &str, cause: io::Error) -> Error {
        let error = trouble("the data connection cannot be encrypted", cause);
        let said = self.answer_soon(verb);
        self.broken = true;
        match said {
            // A new session may have better tickets than this one.
            Ok(reply) => {
                error.while_doing(format!("the server answers {verb} with {reply}"), "").retry_later()
            }
            Err(_) => error,
        }
    }

    /// The answer after a transfer that did not end as usual.
    fn answer_soon(&mut self, verb: &str) -> Result<Reply> {
        let (connect, idle) = (self.timeouts.connect.min(CUT_WAIT), self.timeouts.idle.min(CUT_WAIT));
        self.deadline = Deadline::new(Timeouts { connect, idle, ..self.timeouts });
        self.answer(verb)
    }

    /// Whether a download is under way that goes on with this range.
    pub fn goes_on_with(&self, range: &Range<'_>) -> bool {
        let fits = |running: &Running| {
            (running.path.as_str(), running.next, running.changes)
                == (range.path, range.offset, range.changes)
        };
        self.running.as_ref().is_some_and(fits) && self.used.elapsed() < RUNNING_KEPT
    }

    /// Whether a download is under way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Ends a download that is under way.
    pub fn end_running(&mut self) {
        if let Some(Running { channel, .. }) = self.running.take() {
            drop(channel);
            self.settle_cut("RETR");
        }
    }

    /// Takes the answer to a transfer that was cut from here, so that the session can go on.
    fn settle_cut(&mut self, verb: &str) {
        match self.answer_soon(verb) {
            Ok(reply) if reply.is_done() => {}
            Ok(_) => self.require_step(),
            Err(_) => self.broken = true,
        }
    }

    /// After what some servers answer twice: the answer to the next command has to be its own.
    fn require_step(&mut self) {
        self.begin();
        if !self.ask("NOOP", "").is_ok_and(|reply| reply.code == 200) {
            self.broken = true;
        }
    }

    /// A range of a file. To `keep` it lets the download go on in the background, for the read that will come next.
    pub fn download(&mut self, range: &Range<'_>, keep: bool) -> Result<Download> {
        let (Range { path, most_bytes, .. }, deadline) = (*range, self.deadline);
        let mut channel = match self.running.take() {
            Some(mut running) => {
                running.channel.set_deadline(deadline);
                running.channel
            }
            None => match self.transfer("RETR", path, range.offset)? {
                Ok(channel) => channel,
                Err(reply) => return Ok(Download::Refused(reply)),
            },
        };
        let mut bytes = vec![0; most_bytes.min(AHEAD_BYTES)];
        let (mut filled, mut is_end, mut failure) = (0, false, None);
        while filled < most_bytes && !is_end && failure.is_none() {
            if filled == bytes.len() {
                bytes.resize(most_bytes.min(filled.saturating_mul(2)), 0);
            }
            match channel.read(&mut bytes[filled..]) {
                Ok(0) => is_end = true,
                Ok(count) => filled += count,
                // The end, although not said as it should be: whether it was is seen by the length.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && channel.is_secure() => is_end = true,
                Err(e) => failure = Some(e),
            }
        }
        bytes.truncate(filled);
        bytes.shrink_to_fit();
        self.deadline = channel.deadline();
        if let Some(e) = failure {
            drop(channel);
            return Err(self.cut("RETR", e));
        }
        if is_end {
            drop(channel);
            let reply = self.answer("RETR")?;
            if !reply.is_done() {
                return Err(reply.refusal("RETR"));
            }
        } else if keep {
            let next = range.offset.saturating_add(filled as u64);
            self.running = Some(Running { path: path.to_owned(), next, channel, changes: range.changes });
        } else {
            // What was wanted is here, whatever becomes of the session.
            drop(channel);
            self.settle_cut("RETR");
        }
        Ok(Download::Bytes { bytes, is_end })
    }

    /// Why a transfer broke off: by what the server says, if it says something.
    fn cut(&mut self, verb: &str, cause: io::Error) -> Error {
        let timed_out = cause.kind() == io::ErrorKind::TimedOut;
        let error = trouble("the data connection broke", cause);
        if timed_out {
            self.broken = true;
            return error;
        }
        match self.answer_soon(verb) {
            Ok(reply) if !reply.is_done() => {
                self.require_step();
                let refusal = reply.refusal(verb);
                // The server's opinion of a cut connection is no reason to give up.
                if refusal.kind() == Kind::Io { error.while_doing(refusal.to_string(), "") } else { refusal }
            }
            _ => error,
        }
    }

    /// Stores bytes in a file from `offset` on; the server's answer when it does not take them.
    pub fn upload(&mut self, verb: &str, path: &str, offset: u64, bytes: &[u8]) -> Result<Result<(), Reply>> {
        let mut channel = match self.transfer(verb, path, offset)? {
            Ok(channel) => channel,
            Err(reply) => return Ok(Err(reply)),
        };
        let sent = channel.write_all(bytes).and_then(|()| channel.flush());
        self.deadline = channel.deadline();
        if let Err(e) = sent.and_then(|()| channel.end()) {
            return Err(self.cut(verb, e));
        }
        let reply = self.answer(verb)?;
        if reply.is_done() { Ok(Ok(())) } else { Err(reply.refusal(verb)) }
    }

    /// Hands the lines of a listing of the current folder to `row`; the server's last word.
    pub fn listing(
        &mut self,
        verb: &str,
        argument: &str,
        row: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Reply> {
        let channel = match self.transfer(verb, argument, 0)? {
            Ok(channel) => channel,
            Err(reply) => return Ok(reply),
        };
        let mut lines = BufReader::new(channel);
        let mut refused = None;
        let mut read = || -> io::Result<()> {
            let mut line = Vec::new();
            loop {
                line.clear();
                (&mut lines).take(FTP_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
                if line.is_empty() {
                    return Ok(());
                }
                if line.len() == FTP_LINE_BYTES {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a row without end"));
                }
                // An encrypted connection that ends without saying so ends with an error: what comes then is no list.
                let whole = line.strip_suffix(b"\n").ok_or(io::ErrorKind::UnexpectedEof)?;
                if let Err(e) = row(whole.strip_suffix(b"\r").unwrap_or(whole)) {
                    refused = Some(e);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        };
        let done = read();
        self.deadline = lines.get_ref().deadline();
        drop(lines);
        match (refused, done) {
            (Some(e), _) => {
                self.broken = true;
                Err(e)
            }
            (None, Err(e)) => Err(self.cut(verb, e)),
            (None, Ok(())) => self.answer(verb),
        }
    }
}
