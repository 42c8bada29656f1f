//! The mode `mysql`: `FLUSH TABLES WITH READ LOCK`, held by one connection for as long as the files of a MySQL or MariaDB server are read,
//! or until a snapshot of their volume is there.
//!
//! The lock stops statements, not what InnoDB writes in the background: pages that were changed before, and the checkpoints behind
//! them. Files that are read one after the other while it does are of no one moment, whatever the lock. So where files are read,
//! InnoDB is waited for until it is quiet, and what it counts of its writing has to be the same at the end: else there is no backup.
//! What was read then is what a crash at the moment of the lock would have left, which the server recovers from. Invariants: the lock
//! ends with its connection, and that with this process; nothing is committed unless the same connection still answers at the end;
//! no password and no statement of anybody's is in an error.

mod conf;
mod quiet;

pub use conf::Login;

use super::{Mode, ModeArguments, Prepared, Reading};
use crate::cli::Context;
use icecore::error::{Error, Kind, Result};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use quiet::Written;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The word for it.
pub const NAME: &str = "mysql";

/// How long a server may take to answer anything but the lock.
const ANSWER: Duration = Duration::from_secs(30);
/// What a server gets beyond the limit of the lock, to notice it by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How often a wait looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(20);
/// The longest that a server lets a connection say nothing, in seconds: it would take the lock with it.
const SILENCE_SECONDS: u32 = 31_536_000;
/// How many of those who hold the lock up are named.
const NAMED: usize = 5;

/// `ER_ACCESS_DENIED_ERROR`, `ER_SPECIFIC_ACCESS_DENIED_ERROR`, `ER_DBACCESS_DENIED_ERROR`.
const DENIED: [u16; 3] = [1045, 1227, 1044];
/// `ER_LOCK_WAIT_TIMEOUT`.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// MySQL and MariaDB.
pub struct Mysql;

impl Mode for Mysql {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "a MySQL or MariaDB server holds its tables still until its files are read, or a snapshot of their volume is taken"
    }

    fn prepare(
        &self,
        context: &Context<'_>,
        arguments: &ModeArguments,
        reading: Reading,
    ) -> Result<Box<dyn Prepared>> {
        let file = arguments.mysql_conf.as_ref();
        let file =
            file.ok_or_else(|| Error::invalid("nothing says how to reach the server:", "--mysql-conf"))?;
        let server = Server { login: Login::read(file)? };
        let limit = Duration::from_secs(u64::from(arguments.lock_timeout));
        let mut connection = server.lock(context, limit)?;
        let written = match reading {
            Reading::Files => quiet::wait(context, &mut connection, limit)
                .map_err(|error| error.while_doing("cannot read the files of", server.shown()))?,
            Reading::Snapshot => None,
        };
        Ok(Box::new(Lock { number: connection.connection_id(), connection, server, written }))
    }
}

/// A server, and how it is reached.
struct Server {
    login: Login,
}

impl Server {
    fn shown(&self) -> String {
        format!("the database server {}", self.login.shown())
    }

    fn connect(&self) -> Result<Conn> {
        let login = &self.login;
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(login.host.clone()))
            .tcp_port(login.port)
            .socket(login.socket.clone())
            // No other way than the one that was named.
            .prefer_socket(false)
            .user(Some(login.user.clone()))
            .pass(Some(login.password.clone()))
            .tcp_connect_timeout(Some(ANSWER))
            .tcp_keepalive_time_ms(Some(60_000))
            .read_timeout(None)
            .write_timeout(Some(ANSWER))
            .stmt_cache_size(0);
        let mut connection = Conn::new(options).map_err(|e| failed("cannot connect to", self.shown(), e))?;
        connection
            .query_drop(format!("SET SESSION wait_timeout = {SILENCE_SECONDS}"))
            .map_err(|e| failed("cannot use", self.shown(), e))?;
        Ok(connection)
    }

    /// Takes the lock, on a connection of its own. That waits in a thread of its own: nothing but the server ends the wait of a
    /// statement.
    fn lock(&self, context: &Context<'_>, limit: Duration) -> Result<Conn> {
        let mut connection = self.connect()?;
        let number = connection.connection_id();
        connection
            .query_drop(format!("SET SESSION lock_wait_timeout = {}", limit.as_secs()))
            .map_err(|e| failed("cannot use", self.shown(), e))?;
        let (answer, answered) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let outcome = connection.query_drop("FLUSH TABLES WITH READ LOCK");
            // Nobody may be there any more: the lock ends with the connection, here.
            answer.send((connection, outcome)).unwrap_or(());
        });
        match wait(context, &answered, limit + GRACE) {
            Waited::Answered((connection, Ok(()))) => Ok(connection),
            Waited::Answered((_, Err(mysql::Error::MySqlError(e)))) if e.code == LOCK_WAIT_TIMEOUT => {
                Err(self.held_up(number, limit))
            }
            Waited::Answered((_, Err(error))) => {
                Err(failed("cannot lock the tables of", self.shown(), error)
                    .hint("the user needs the privileges RELOAD and PROCESS"))
            }
            Waited::Stopped => {
                self.give_up(number, &answered);
                Err(Error::interrupted())
            }
            Waited::TooLong => {
                let error = self.held_up(number, limit);
                self.give_up(number, &answered);
                Err(error)
            }
        }
    }

    /// Ends the wait of connection `number` by another one.
    fn give_up(&self, number: u32, answered: &Receiver<(Conn, mysql::Result<()>)>) {
        // A server that cannot be reached any more has no lock for us.
        let ended = self.connect().map(|mut other| other.query_drop(format!("KILL {number}")));
        if matches!(ended, Ok(Ok(()))) {
            answered.recv_timeout(GRACE).map(drop).unwrap_or(());
        }
    }

    /// The error for a lock that did not come in time, with those who are in the way as far as the user may see them: who they are
    /// and for how long, not what they say.
    fn held_up(&self, number: u32, limit: Duration) -> Error {
        let query = format!(
            "SELECT id, user, host, command, time FROM information_schema.processlist WHERE id NOT IN ({number}, CONNECTION_ID()) \
             AND command <> 'Daemon' AND user <> 'system user' AND (state IS NULL OR state NOT LIKE 'Waiting for%lock%') \
             ORDER BY command = 'Sleep', time DESC LIMIT {NAMED}"
        );
        type Row = (u64, String, Option<String>, String, i64);
        let rows =
            self.connect().ok().and_then(|mut other| other.query::<Row, _>(query).ok()).unwrap_or_default();
        let row = |(id, user, host, command, seconds): &Row| {
            let host = host.as_deref().unwrap_or_default();
            let does =
                if command == "Sleep" { "idle, perhaps in a transaction or with locks," } else { "busy" };
            format!("connection {id} of {user}@{host}, {does} for {seconds} s")
        };
        let rows: Vec<String> = rows.iter().map(row).collect();
        let seen = match rows.is_empty() {
            true => "nobody who is in the way can be seen (with the privilege PROCESS more can)".to_owned(),
            false => format!("in the way may be {}", rows.join("; ")),
        };
        Error::new(Kind::Busy, format!("the tables could not be locked within {} s on", limit.as_secs()))
            .on(self.shown())
            .because(seen)
            .hint("try again when long statements are done, or wait longer with --lock-timeout")
    }
}

enum Waited<T> {
    Answered(T),
    Stopped,
    TooLong,
}

fn wait<T>(context: &Context<'_>, answered: &Receiver<T>, limit: Duration) -> Waited<T> {
    let begun = Instant::now();
    loop {
        match answered.recv_timeout(LOOK) {
            Ok(answer) => return Waited::Answered(answer),
            Err(RecvTimeoutError::Timeout) if context.stop.load(Ordering::Relaxed) => return Waited::Stopped,
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < limit => {}
            Err(_) => return Waited::TooLong,
        }
    }
}

/// The lock, and the connection that holds it.
struct Lock {
    connection: Conn,
    number: u32,
    server: Server,
    /// What InnoDB had written when it was quiet.
    written: Option<Written>,
}

impl Prepared for Lock {
    fn confirm(&mut self) -> Result<()> {
        let lost = |error| {
            failed("the lock was lost, since the connection was, of", self.server.shown(), error)
                .hint("nothing was kept: what was read would not have been of one moment")
        };
        // The crate never connects anew by itself; the number is asked for all the same.
        let number: Option<u32> = self.connection.query_first("SELECT CONNECTION_ID()").map_err(lost)?;
        if number != Some(self.number) {
            return Err(Error::new(Kind::Changed, "the lock was lost, since another connection answers, of")
                .on(self.server.shown()));
        }
        let Some(before) = &self.written else { return Ok(()) };
        match quiet::look(&mut self.connection)? {
            Some(now) if now == *before => Ok(()),
            _ => Err(Error::new(Kind::Changed, "InnoDB wrote to its files while they were read, on")
                .on(self.server.shown())
                .hint("nothing was kept: what was read would not have been of one moment; try again, or say --snapshot lvm")),
        }
    }

    fn release(mut self: Box<Self>) -> Result<()> {
        // The connection ends, and the lock with it, also when this fails.
        self.connection
            .query_drop("UNLOCK TABLES")
            .map_err(|e| failed("the lock was lost, since the connection was, of", self.server.shown(), e))
    }
}

/// A failure of the server, or on the way to it.
fn failed(what: impl Into<String>, subject: impl Into<String>, error: mysql::Error) -> Error {
    let kind = match &error {
        mysql::Error::MySqlError(error) if DENIED.contains(&error.code) => Kind::Denied,
        _ => Kind::Io,
    };
    Error::new(kind, what).on(subject).because(error)
}
