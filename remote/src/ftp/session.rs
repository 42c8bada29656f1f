//! One session: a control connection that is logged in, and a data connection for each transfer.
//!
//! Invariant: either the session is in step, each command answered, or it is `broken` and used no more. What is answered
//! with "no" leaves it in step.

mod transfer;

pub(super) use transfer::{Download, Range};

use super::listing::{Row, Sort, digits, facts_row, time_value};
use super::place::{Account, Mode, Place, Protection};
use super::reply::{Reply, quoted_path};
use super::wire::{Channel, Deadline, Security, trouble};
use crate::access::Timeouts;
use crate::bridge;
use icecore::error::{Error, Kind, Result};
use std::io::{self, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What a server says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// MLSD and MLST.
    pub facts: bool,
    /// MDTM.
    pub times: bool,
    /// AUTH TLS.
    pub encryption: bool,
    utf8: bool,
}

impl Features {
    fn of(reply: &Reply) -> Features {
        let mut features = Features::default();
        if !reply.is_done() {
            return features;
        }
        for line in &reply.lines {
            let line = line.trim().to_ascii_uppercase();
            match line.split([' ', ';']).next().unwrap_or_default() {
                "MLST" | "MLSD" => features.facts = true,
                "MDTM" => features.times = true,
                "UTF8" => features.utf8 = true,
                "AUTH" => features.encryption |= line.contains("TLS"),
                _ => {}
            }
        }
        features
    }
}

/// Why there is no session.
pub(super) struct Refused {
    pub error: Error,
    /// Because there are too many already.
    pub is_crowded: bool,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { error, is_crowded: false }
    }
}

/// What there is under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing; or a folder, where the server tells only files.
    Nothing,
    /// A file of this length.
    File(u64),
    /// A folder.
    Folder,
    /// Something else.
    Other,
}

/// A download that goes on where the last read ended.
struct Running {
    path: String,
    next: u64,
    channel: Channel,
    changes: u64,
}

/// A session.
pub(super) struct Session {
    control: BufReader<Channel>,
    server: IpAddr,
    here: IpAddr,
    security: Option<Security>,
    mode: Mode,
    has_extended: bool,
    timeouts: Timeouts,
    deadline: Deadline,
    running: Option<Running>,
    pub features: Features,
    /// Nothing more can be done with it.
    pub broken: bool,
    /// When it was used last.
    pub used: Instant,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Denied` for a wrong certificate or password, `Io` for a server that does not answer.
    pub fn open(place: &Place) -> Result<Session, Refused> {
        let deadline = Deadline::new(place.timeouts);
        let mut channel = connect(place, deadline)?;
        let (here, server) = channel.ends().map_err(|e| trouble("no connection", e))?;
        let security = place.trust.as_ref().map(|trust| trust.session());
        if let (Protection::Implicit, Some(security)) = (place.protection, &security) {
            channel = channel.secure(security).map_err(|e| trouble("no encryption with the server", e))?;
        }
        let mut session = Session {
            control: BufReader::new(channel),
            server: server.ip(),
            here: here.ip(),
            security: None,
            mode: place.mode,
            has_extended: true,
            timeouts: place.timeouts,
            deadline,
            running: None,
            features: Features::default(),
            broken: false,
            used: Instant::now(),
        };
        session.greet()?;
        if let Some(security) = security {
            if place.protection == Protection::Explicit {
                session = session.encrypt(&security)?;
            }
            session.security = Some(security);
        }
        session.log_in(&place.account)?;
        session.settle_terms()?;
        Ok(session)
    }

    fn greet(&mut self) -> Result<(), Refused> {
        let reply = self.answer("connecting")?;
        match reply.code {
            220 => Ok(()),
            // "Ready in some minutes."
            120 => Err(reply.refusal("connecting").retry_later().into()),
            _ => Err(refused(&reply, "connecting")),
        }
    }

    fn encrypt(mut self, security: &Security) -> Result<Session, Refused> {
        let reply = self.ask("AUTH", "TLS")?;
        if !reply.is_done() {
            let hint = "ftp:// goes without encryption, in clear; ?tls=implicit is the other way to encrypt";
            let kind = if reply.is_crowded() { Kind::Io } else { Kind::Unsupported };
            let error = Error::new(kind, format!("the server does not encrypt: {reply}"));
            return Err(error.hint(hint).into());
        }
        if !self.control.buffer().is_empty() {
            return Err(Error::new(Kind::Unsupported, "the server says more in clear than it should").into());
        }
        let Session { control, .. } = self;
        let channel = control.into_inner().secure(security);
        let channel = channel.map_err(|e| trouble("no encryption with the server", e))?;
        Ok(Session { control: BufReader::new(channel), ..self })
    }

    fn log_in(&mut self, account: &Account) -> Result<(), Refused> {
        let mut reply = self.ask("USER", &account.user)?;
        if reply.code == 331 {
            let password = account.password.as_ref().ok_or_else(|| {
                Error::new(Kind::Denied, "the server wants a password of").on(account.user.clone()).hint(
                    "ICECORE_STORAGE_PASSWORD, or a line `machine … login … password …` in ~/.netrc, says it",
                )
            })?;
            reply = self.ask("PASS", password.expose())?;
        }
        match reply.code {
            230..=232 | 202 => Ok(()),
            _ if reply.is_crowded() || (400..500).contains(&reply.code) => Err(refused(&reply, "the login")),
            _ if self.control.get_ref().is_secure() => Err(denied(&reply, account).into()),
            _ => Err(denied(&reply, account).hint("ftps:// if the server wants encryption").into()),
        }
    }

    /// What both sides agree on after the login.
    fn settle_terms(&mut self) -> Result<()> {
        if self.security.is_some() {
            for (verb, argument) in [("PBSZ", "0"), ("PROT", "P")] {
                let reply = self.ask(verb, argument)?;
                if !reply.is_done() {
                    return Err(Error::new(
                        Kind::Unsupported,
                        format!("the server does not encrypt data: {reply}"),
                    ));
                }
            }
        }
        self.features = Features::of(&self.ask("FEAT", "")?);
        // A server that does not know these words does without them.
        if self.features.utf8 {
            self.ask("OPTS", "UTF8 ON")?;
        }
        if self.features.facts {
            self.ask("OPTS", "MLST type;size;modify;")?;
        }
        let reply = self.ask("TYPE", "I")?;
        if reply.is_done() { Ok(()) } else { Err(reply.refusal("TYPE I")) }
    }

    /// Begins an operation: it has its time from now.
    pub fn begin(&mut self) {
        self.deadline = Deadline::new(self.timeouts);
    }

    /// Says that this was all, which frees the login at the server at once. Nobody waits for the answer, nor minds a failure.
    pub fn quit(mut self) {
        self.begin();
        self.say("QUIT", "").unwrap_or(());
    }

    /// Whether the server still listens, as far as that can be told without asking.
    pub fn is_silent(&self) -> bool {
        !self.broken && self.control.buffer().is_empty() && self.control.get_ref().is_silent()
    }

    fn guarded<T>(&mut self, what: &str, done: io::Result<T>) -> Result<T> {
        done.map_err(|e| {
            self.broken = true;
            trouble(what, e)
        })
    }

    /// Sends a command.
    fn say(&mut self, verb: &str, argument: &str) -> Result<()> {
        if argument.contains(['\r', '\n', '\0']) {
            return Err(Error::invalid("not to be said in FTP:", format!("{argument:?}")));
        }
        let space = if argument.is_empty() { "" } else { " " };
        let line = zeroize::Zeroizing::new(format!("{verb}{space}{argument}\r\n"));
        let deadline = self.deadline;
        let channel = self.control.get_mut();
        channel.set_deadline(deadline);
        let sent = channel.write_all(line.as_bytes()).and_then(|()| channel.flush());
        self.guarded("the connection to the server broke", sent)
    }

    /// Waits for an answer.
    fn answer(&mut self, verb: &str) -> Result<Reply> {
        let deadline = self.deadline;
        self.control.get_mut().set_deadline(deadline);
        let reply = Reply::read(&mut self.control);
        let reply = reply.and_then(|reply| reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        let reply = self.guarded("the connection to the server broke", reply)?;
        // "Service not available, closing control connection."
        if reply.code == 421 {
            self.broken = true;
            if verb != "connecting" && verb != "USER" && verb != "PASS" {
                return Err(reply.refusal(verb));
            }
        }
        Ok(reply)
    }

    /// A command and its answer.
    pub fn ask(&mut self, verb: &str, argument: &str) -> Result<Reply> {
        self.say(verb, argument)?;
        let reply = self.answer(verb)?;
        if reply.is_preliminary() {
            // Nothing that is asked this way takes a transfer.
            self.broken = true;
            return Err(Error::new(Kind::Unsupported, format!("the server answers {verb} with {reply}")));
        }
        Ok(reply)
    }

    /// What there is under a path.
    ///
    /// # Errors
    /// `Denied` when the server says that it may not be looked at.
    pub fn look(&mut self, path: &str) -> Result<Found> {
        if self.features.facts {
            let reply = self.ask("MLST", path)?;
            match reply.code {
                200..300 => match row_of(&reply) {
                    Some(Row { sort: Sort::File, size_bytes: Some(size_bytes), .. }) => {
                        return Ok(Found::File(size_bytes));
                    }
                    Some(Row { sort: Sort::Folder | Sort::Itself, .. }) => return Ok(Found::Folder),
                    Some(Row { sort: Sort::Other, .. }) => return Ok(Found::Other),
                    // Without a size, or nothing that can be understood: SIZE says it.
                    _ => {}
                },
                _ => return nothing(&reply, "MLST"),
            }
        }
        let reply = self.ask("SIZE", path)?;
        match reply.code {
            213 => digits(reply.text().trim()).map(Found::File).ok_or_else(|| unclear(&reply, "SIZE")),
            _ => nothing(&reply, "SIZE"),
        }
    }

    /// When a file was changed, if the server says it.
    pub fn modified(&mut self, path: &str) -> Result<Option<i64>> {
        if !self.features.times {
            return Ok(None);
        }
        let reply = self.ask("MDTM", path)?;
        Ok(time_value(reply.text().trim()).filter(|_| reply.code == 213))
    }

    /// The folder a login begins in.
    pub fn home(&mut self) -> Result<String> {
        let reply = self.ask("PWD", "")?;
        quoted_path(reply.text()).filter(|_| reply.is_done()).ok_or_else(|| reply.refusal("PWD"))
    }
}

fn connect(place: &Place, deadline: Deadline) -> Result<Channel> {
    let (host, port) = (place.host.clone(), place.port);
    let addresses: Vec<SocketAddr> = bridge::within(place.timeouts.connect, async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found =
            found.map_err(|e| Error::new(Kind::Io, "the host's name is not known").because(e).retry_later());
        found.map(|addresses| addresses.collect())
    })?;
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match Channel::connect(address, deadline) {
            Ok(channel) => return Ok(channel),
            Err(e) => failure = e,
        }
    }
    Err(trouble("no connection to the server", failure))
}

fn refused(reply: &Reply, verb: &str) -> Refused {
    let is_crowded = reply.is_crowded();
    let error = match is_crowded {
        true => Error::new(Kind::Io, format!("the server takes no more connections: {reply}"))
            .hint("--connections N uses fewer")
            .retry_later(),
        false => reply.refusal(verb),
    };
    Refused { error, is_crowded }
}

fn denied(reply: &Reply, account: &Account) -> Error {
    Error::new(Kind::Denied, format!("the server lets {} not in: {reply}", account.user))
}

fn unclear(reply: &Reply, verb: &str) -> Error {
    Error::new(Kind::Unsupported, format!("the answer to {verb} is not understood: {reply}"))
}

/// An answer that there is nothing, or why it is none.
fn nothing(reply: &Reply, verb: &str) -> Result<Found> {
    match reply.code {
        550 | 553 if !reply.is_denial() => Ok(Found::Nothing),
        _ => Err(reply.refusal(verb)),
    }
}

/// The row in an answer to MLST.
fn row_of(reply: &Reply) -> Option<Row> {
    let lines = reply.lines.get(1..reply.lines.len() - 1)?;
    lines.iter().find_map(|line| facts_row(line.strip_prefix(' ').unwrap_or(line).as_bytes()))
}
