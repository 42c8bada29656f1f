//! Connections with a deadline for every byte, plain or encrypted.
//!
//! Invariant: no call waits longer than the server may be silent (`idle`), nor, whatever drips in, longer than
//! [`Timeouts::whole`] allows for the bytes that were moved.

use crate::access::Timeouts;
use icecore::error::{Error, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that are asked of the system at a time: rustls by itself asks for 4 KiB.
const BUFFER_BYTES: usize = 128 << 10;

/// What may come on a connection on which nothing more is expected, until it is cut.
const DRAINED_BYTES: usize = 64 << 10;

/// Until when an operation may go on: it moves with the bytes.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    begun: Instant,
    timeouts: Timeouts,
    moved_bytes: usize,
}

impl Deadline {
    /// For an operation that begins now.
    pub fn new(timeouts: Timeouts) -> Deadline {
        Deadline { begun: Instant::now(), timeouts, moved_bytes: 0 }
    }

    /// How long the next call may wait.
    pub fn left(&self) -> io::Result<Duration> {
        let passed = self.begun.elapsed();
        match self.timeouts.whole(self.moved_bytes).checked_sub(passed) {
            Some(left) if !left.is_zero() => Ok(left.min(self.timeouts.idle)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A connection of the system.
struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Timed {
    /// Calls until the call was not interrupted by a signal, and counts what was moved.
    fn moving(
        &mut self,
        mut call: impl FnMut(&mut TcpStream, Duration) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match call(&mut self.stream, self.deadline.left()?) {
                Ok(count) => {
                    self.deadline.moved_bytes = self.deadline.moved_bytes.saturating_add(count);
                    return Ok(count);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(e) => return Err(e),
            }
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.moving(|stream, wait| {
            stream.set_read_timeout(Some(wait))?;
            stream.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.moving(|stream, wait| {
            stream.set_write_timeout(Some(wait))?;
            stream.write(bytes)
        })
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.moving(|stream, wait| {
            stream.set_write_timeout(Some(wait))?;
            stream.write_vectored(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Read in large pieces, written as it comes.
pub(super) struct Socket(BufReader<Timed>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How connections of a session are encrypted. Tickets to go on with an encryption are the session's own: a server process
/// does not know those of another.
#[derive(Clone)]
pub(super) struct Security {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// A connection, plain or encrypted.
pub(super) enum Channel {
    Plain(Socket),
    Secure(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Channel {
    /// Connects.
    pub fn connect(address: SocketAddr, deadline: Deadline) -> io::Result<Channel> {
        let wait = deadline.left()?.min(deadline.timeouts.connect);
        Channel::over(TcpStream::connect_timeout(&address, wait)?, deadline)
    }

    fn over(stream: TcpStream, deadline: Deadline) -> io::Result<Channel> {
        stream.set_nodelay(true)?;
        Ok(Channel::Plain(Socket(BufReader::with_capacity(BUFFER_BYTES, Timed { stream, deadline }))))
    }

    /// Encrypts it, when both sides agree and the server proves who it is.
    pub fn secure(self, security: &Security) -> io::Result<Channel> {
        let mut socket = match self {
            Channel::Plain(socket) => socket,
            Channel::Secure(_) => return Err(io::Error::other("encrypted already")),
        };
        // What came in clear beyond the answer may be somebody else's.
        if !socket.0.buffer().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes in clear before the encryption"));
        }
        let connection = ClientConnection::new(Arc::clone(&security.config), security.name.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Channel::Secure(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Whether bytes are encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self, Channel::Secure(_))
    }

    fn timed(&self) -> &Timed {
        match self {
            Channel::Plain(socket) => socket.0.get_ref(),
            Channel::Secure(stream) => stream.sock.0.get_ref(),
        }
    }

    fn timed_mut(&mut self) -> &mut Timed {
        match self {
            Channel::Plain(socket) => socket.0.get_mut(),
            Channel::Secure(stream) => stream.sock.0.get_mut(),
        }
    }

    /// Until when it may be used.
    pub fn deadline(&self) -> Deadline {
        self.timed().deadline
    }

    /// Sets until when it may be used.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.timed_mut().deadline = deadline;
    }

    /// The two ends: ours, and the server's.
    pub fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let stream = &self.timed().stream;
        Ok((stream.local_addr()?, stream.peer_addr()?))
    }

    /// Whether nothing has come, not even the end, on a connection on which nothing is awaited.
    pub fn is_silent(&self) -> bool {
        let buffered = match self {
            Channel::Plain(socket) => socket.0.buffer(),
            Channel::Secure(stream) => stream.sock.0.buffer(),
        };
        let stream = &self.timed().stream;
        let nothing_came = || -> io::Result<bool> {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok(peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock))
        };
        buffered.is_empty() && nothing_came().unwrap_or(false)
    }

    /// Says that nothing more will be sent, and waits until the server has nothing more to send: what it still sends on an
    /// encrypted connection are the tickets that the next one needs.
    pub fn end(mut self) -> io::Result<()> {
        if let Channel::Secure(stream) = &mut self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.timed().stream.shutdown(Shutdown::Write)?;
        let (mut buffer, mut drained) = ([0; 4096], 0);
        // However it ends: the server's answer says whether it has everything.
        while let Ok(count @ 1..) = self.read(&mut buffer) {
            drained += count;
            if drained > DRAINED_BYTES {
                break;
            }
        }
        Ok(())
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => socket.read(buffer),
            Channel::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => socket.write(bytes),
            Channel::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(socket) => socket.flush(),
            Channel::Secure(stream) => stream.flush(),
        }
    }
}

/// Waits for the server's connection; others that come are turned away.
pub(super) fn accept(listener: &TcpListener, from: IpAddr, deadline: Deadline) -> io::Result<Channel> {
    loop {
        let wait = Timespec::try_from(deadline.left()?).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&wait)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        match listener.accept() {
            Ok((stream, peer)) if peer.ip() == from => return Channel::over(stream, deadline),
            Ok(_) => {}
            // It was gone before it was accepted.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// What a broken connection means.
pub(super) fn trouble(what: &str, error: io::Error) -> Error {
    if let Some(found) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return refused_encryption(what, found);
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Error::new(Kind::Io, format!("{what}: no answer in time")).retry_later(),
        // What is no answer does not become one.
        io::ErrorKind::InvalidData => Error::new(Kind::Unsupported, what).because(error),
        io::ErrorKind::UnexpectedEof => {
            Error::new(Kind::Io, format!("{what}: the server ended the connection")).retry_later()
        }
        _ => Error::new(Kind::Io, what).because(error).retry_later(),
    }
}

fn refused_encryption(what: &str, error: &rustls::Error) -> Error {
    use rustls::{AlertDescription as Alert, Error as Tls};
    let of = |kind| Error::new(kind, what).because(error.clone());
    match error {
        Tls::InvalidCertificate(_) => of(Kind::Denied)
            .hint("if the server is the right one, name the file of its authority, or its own certificate, with ?ca=FILE"),
        Tls::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateRequired
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => of(Kind::Denied)
            .hint("the server wants another certificate of the client: ?cert=FILE&key=FILE"),
        // Broken on the way, perhaps.
        Tls::InvalidMessage(_) | Tls::DecryptError | Tls::PeerMisbehaved(_) => of(Kind::Io).retry_later(),
        _ => of(Kind::Io),
    }
}
