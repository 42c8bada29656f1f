//! One SFTP session: requests in flight over a channel, and each answer for whoever waits for it.
//!
//! Asking sends at once and never blocks; the answer is waited for apart, so that whoever has several things to ask has them
//! all under way. How much is under way is the caller's to bound. When the channel ends, or the server is silent for too long
//! while somebody waits, every request that is open fails, and so does every later one: nobody waits for a dead line.

use super::fault::{Asked, End, Fault};
use super::wire::{self, Attributes, Entry, Frames, Reply, Request};
use bytes::Bytes;
use futures_util::future::{Either, select};
use icecore::error::{Error, Kind};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::any::Any;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

const SYNC: &str = "fsync@openssh.com";
const LINK: &str = "hardlink@openssh.com";
const REPLACE: &str = "posix-rename@openssh.com";
const ROOM: &str = "statvfs@openssh.com";
const LIMITS: &str = "limits@openssh.com";

/// The longest part of a file that every server takes.
const PART_BYTES: usize = 32 << 10;
/// The longest that is sent at a time, where the server takes that: a request costs little then, and 64 are 8 MiB.
const PART_MAX_BYTES: usize = 128 << 10;
/// How often in the time it may be silent a server is looked at.
const LOOKS: u32 = 8;
/// How many times as long as others a server may take for what a disk has to do.
const SLOW: u32 = 10;

/// What a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Waits until a file is on the disk.
    pub sync: bool,
    /// Gives a file a second name, which must be free.
    pub link: bool,
    /// Renames over what is there.
    pub replace: bool,
    /// Says how much room is left.
    pub room: bool,
    /// Bytes of a file in one request.
    pub read_bytes: usize,
    /// The same for writing.
    pub write_bytes: usize,
}

/// A session.
pub(super) struct Session {
    outgoing: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<Waiting>,
    next: AtomicU32,
    abilities: Abilities,
    /// How many use it at this moment.
    pub users: AtomicUsize,
    /// What the channel lives in.
    _carrier: Box<dyn Any + Send + Sync>,
}

/// Who waits for what.
struct Waiting {
    state: Mutex<State>,
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    open: HashMap<u32, Open>,
    end: Option<End>,
}

struct Open {
    answer: oneshot::Sender<Asked<Reply>>,
    since: Instant,
    /// What takes as long as a disk takes.
    is_slow: bool,
}

/// What will be answered.
pub(super) struct Answer(oneshot::Receiver<Asked<Reply>>);

impl Session {
    /// Begins a session on a channel; `carrier` is kept as long as it lasts.
    ///
    /// # Errors
    /// When the server offers none.
    pub async fn begin(
        channel: Channel<Msg>,
        carrier: Box<dyn Any + Send + Sync>,
        idle: Duration,
    ) -> Asked<Session> {
        let lost = |error: russh::Error| Fault::Ended(End::Lost(error.to_string()));
        let (mut read, write) = channel.split();
        write.request_subsystem(true, "sftp").await.map_err(lost)?;
        write.data_bytes(wire::greeting()).await.map_err(lost)?;
        let mut frames = Frames::default();
        let offered = first_packet(&mut read, &mut frames).await?;
        let offered = wire::extensions(offered).map_err(|what| Fault::Ended(End::Malformed(what)))?;
        let can = |name: &str| offered.iter().any(|offered| offered == name.as_bytes());

        let waiting = Arc::new(Waiting { state: Mutex::default(), ended: watch::Sender::new(false) });
        let (outgoing, packets) = mpsc::unbounded_channel();
        tokio::spawn(listen(read, frames, Arc::clone(&waiting), idle));
        tokio::spawn(send(write, packets, Arc::clone(&waiting)));
        let abilities = Abilities {
            sync: can(SYNC),
            link: can(LINK),
            replace: can(REPLACE),
            room: can(ROOM),
            read_bytes: PART_BYTES,
            write_bytes: PART_BYTES,
        };
        let mut session = Session {
            outgoing,
            waiting,
            next: AtomicU32::new(1),
            abilities,
            users: AtomicUsize::new(0),
            _carrier: carrier,
        };
        if can(LIMITS) {
            let limits = session.ask(&Request::Extended { name: LIMITS, strings: &[] }).extended().await?;
            let [_, read_bytes, write_bytes] = wire::numbers(limits);
            session.abilities.read_bytes = part_of(read_bytes);
            session.abilities.write_bytes = part_of(write_bytes);
        }
        Ok(session)
    }

    pub fn can(&self) -> Abilities {
        self.abilities
    }

    /// Sends a request.
    pub fn ask(&self, request: &Request<'_>) -> Answer {
        self.ask_for(request, false)
    }

    fn ask_for(&self, request: &Request<'_>, is_slow: bool) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.waiting.state();
            match &state.end {
                // The receiver is here: it is told.
                Some(end) => answer.send(Err(Fault::Ended(end.clone()))).unwrap_or(()),
                None => {
                    state.open.insert(id, Open { answer, since: Instant::now(), is_slow });
                }
            }
        }
        // Should the sender have ended meanwhile, it has failed what is open, or will.
        self.outgoing.send(request.encode(id)).unwrap_or(());
        Answer(receiver)
    }

    /// Waits until a file is on the disk; nothing where the server cannot.
    pub fn sync(&self, handle: &[u8]) -> Option<Answer> {
        let request = Request::Extended { name: SYNC, strings: &[handle] };
        self.abilities.sync.then(|| self.ask_for(&request, true))
    }

    /// Gives a file a second name.
    pub fn link(&self, from: &str, to: &str) -> Answer {
        self.ask(&Request::Extended { name: LINK, strings: &[from.as_bytes(), to.as_bytes()] })
    }

    /// Renames over what is there.
    pub fn replace(&self, from: &str, to: &str) -> Answer {
        self.ask(&Request::Extended { name: REPLACE, strings: &[from.as_bytes(), to.as_bytes()] })
    }

    /// Whether there is no room left; `false` where nobody can say.
    pub async fn is_full(&self, path: &str, needed_bytes: u64) -> bool {
        if !self.abilities.room {
            return false;
        }
        let request = Request::Extended { name: ROOM, strings: &[path.as_bytes()] };
        let Ok(answer) = self.ask(&request).extended().await else { return false };
        let [_, block, _, _, free, files, _, free_files] = wire::numbers(answer);
        // Some file systems count no files.
        free.saturating_mul(block) < needed_bytes || (files > 0 && free_files == 0)
    }

    pub fn is_ended(&self) -> bool {
        self.waiting.state().end.is_some()
    }

    /// Gives it up: nobody is to use it again.
    pub fn give_up(&self, why: &str) {
        self.waiting.end(&End::Lost(why.to_owned()));
    }
}

fn part_of(limit: u64) -> usize {
    // Zero is a server that says nothing.
    usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(PART_BYTES).min(PART_MAX_BYTES)
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn answer(&self, id: u32, reply: Reply) {
        let open = self.state().open.remove(&id);
        // Whoever asked may be gone, and an answer to nothing harms nobody.
        if let Some(open) = open {
            open.answer.send(Ok(reply)).unwrap_or(());
        }
    }

    /// The first reason counts.
    fn end(&self, end: &End) {
        let mut state = self.state();
        state.end.get_or_insert_with(|| end.clone());
        for (_, open) in state.open.drain() {
            open.answer.send(Err(Fault::Ended(end.clone()))).unwrap_or(());
        }
        drop(state);
        self.ended.send_replace(true);
    }

    /// Whether somebody waits for longer than he should. A server does one thing after the other: with something slow among
    /// them all may be slow.
    fn is_stalled(&self, idle: Duration) -> bool {
        let state = self.state();
        let longest = if state.open.values().any(|open| open.is_slow) { idle * SLOW } else { idle };
        state.open.values().any(|open| open.since.elapsed() >= longest)
    }
}

impl Answer {
    /// Whatever it is.
    pub async fn reply(self) -> Asked<Reply> {
        let reply =
            self.0.await.unwrap_or_else(|_| Err(Fault::Ended(End::Lost("it was given up".to_owned()))))?;
        match reply {
            Reply::Status { code, message } if code != wire::OK => Err(Fault::Status { code, message }),
            reply => Ok(reply),
        }
    }

    /// That it has been done.
    pub async fn done(self) -> Asked<()> {
        match self.reply().await? {
            Reply::Status { .. } => Ok(()),
            _ => Err(Fault::unexpected()),
        }
    }

    pub async fn handle(self) -> Asked<Bytes> {
        match self.reply().await? {
            Reply::Handle(handle) => Ok(handle),
            _ => Err(Fault::unexpected()),
        }
    }

    /// Bytes; `None` at the end of the file.
    pub async fn data(self) -> Asked<Option<Bytes>> {
        match self.reply().await {
            Ok(Reply::Data(bytes)) => Ok(Some(bytes)),
            Ok(_) => Err(Fault::unexpected()),
            Err(fault) if fault.has_code(wire::END) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Names; `None` at the end of the folder.
    pub async fn names(self) -> Asked<Option<Vec<Entry>>> {
        match self.reply().await {
            Ok(Reply::Names(names)) => Ok(Some(names)),
            Ok(_) => Err(Fault::unexpected()),
            Err(fault) if fault.has_code(wire::END) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub async fn attributes(self) -> Asked<Attributes> {
        match self.reply().await? {
            Reply::Attributes(attributes) => Ok(attributes),
            _ => Err(Fault::unexpected()),
        }
    }

    async fn extended(self) -> Asked<Bytes> {
        match self.reply().await? {
            Reply::Extended(bytes) => Ok(bytes),
            _ => Err(Fault::unexpected()),
        }
    }
}

/// The packet with which a server begins.
async fn first_packet(read: &mut ChannelReadHalf, frames: &mut Frames) -> Asked<Bytes> {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => frames.push(&data),
            Some(ChannelMsg::Failure) => {
                return Err(Error::new(Kind::Unsupported, "the server offers no SFTP").into());
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                return Err(Fault::Ended(End::Lost(
                    "the server ended it at once; it may offer no SFTP".to_owned(),
                )));
            }
            Some(_) => {}
        }
        match frames.next_packet() {
            Ok(Some(packet)) => return Ok(packet),
            Ok(None) => {}
            Err(_) => {
                let error = Error::new(Kind::Io, "the server does not begin with SFTP");
                return Err(error.hint("a login script that prints something does that").into());
            }
        }
    }
}

/// Hands out what comes, until the end.
async fn listen(mut read: ChannelReadHalf, mut frames: Frames, waiting: Arc<Waiting>, idle: Duration) {
    let look = (idle / LOOKS).max(Duration::from_millis(10));
    let end = loop {
        match timeout(look, read.wait()).await {
            Err(_) if waiting.is_stalled(idle) => break End::Stalled(idle),
            Err(_) => {}
            Ok(Some(ChannelMsg::Data { data })) => {
                frames.push(&data);
                if let Err(what) = hand_out(&mut frames, &waiting) {
                    break End::Malformed(what);
                }
            }
            Ok(Some(ChannelMsg::Eof | ChannelMsg::Close) | None) => {
                break End::Lost("the server or the network ended it".to_owned());
            }
            Ok(Some(_)) => {}
        }
    };
    waiting.end(&end);
}

fn hand_out(frames: &mut Frames, waiting: &Waiting) -> Result<(), wire::Malformed> {
    while let Some(packet) = frames.next_packet()? {
        let (id, reply) = wire::reply(packet)?;
        waiting.answer(id, reply);
    }
    Ok(())
}

/// Sends what is to be sent, until the end. A channel that is dead never says that there is room in it: so that is watched, too.
async fn send(
    write: ChannelWriteHalf<Msg>,
    mut packets: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<Waiting>,
) {
    let mut watched = waiting.ended.subscribe();
    let mut ended = pin!(async move { watched.wait_for(|ended| *ended).await.map(drop).unwrap_or(()) });
    loop {
        let packet = match select(pin!(packets.recv()), ended.as_mut()).await {
            Either::Left((Some(packet), _)) => packet,
            _ => break,
        };
        match select(pin!(write.data_bytes(packet)), ended.as_mut()).await {
            Either::Left((Ok(()), _)) => {}
            _ => break,
        }
    }
    waiting.end(&End::Lost("the server or the network ended it".to_owned()));
}
