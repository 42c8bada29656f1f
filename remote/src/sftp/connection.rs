//! From a route to a session: host after host, each one's key checked before anything is said to it, each later one reached
//! through the one before.

use super::auth::Login;
use super::fault::words;
use super::guard::{Guard, Refused, Said};
use super::route::Hop;
use super::session::Session;
use crate::access::Access;
use crate::bridge;
use icecore::error::{Error, Kind, Result};
use icecore::limits::SFTP_WINDOW_BYTES;
use russh::client::{Config, Handle, connect_stream};
use russh::keys::Algorithm;
use russh::{ChannelOpenFailure, Preferred, SshId, cipher, compression};
use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What we are called on the wire.
const CLIENT: &str = concat!("SSH-2.0-icecore_", env!("CARGO_PKG_VERSION"));
/// Messages of a channel that wait for whoever takes packets out of them.
const QUEUE: usize = 512;
/// Signs of life that may stay unanswered.
const UNANSWERED: usize = 3;

/// What a connection runs over: a socket, or a channel of the host before.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// Connects, logs in, and begins a session.
///
/// # Errors
/// `Denied` for a host key that is not known or a login that is refused; `Io` that may pass for a host that cannot be reached.
pub(super) async fn open(route: &[Hop], access: &Access) -> Result<Session> {
    let idle = access.timeouts.idle;
    let mut carriers: Vec<Handle<Guard>> = Vec::new();
    for (number, hop) in route.iter().enumerate() {
        let line = line_to(hop, carriers.last()).await?;
        let (mut ssh, said) = bounded(hop.connect + idle, greet(hop, access, line)).await?;
        let is_server = number + 1 == route.len();
        let login = Login { ssh: &mut ssh, said: &said, hop, access, is_server, tried: Vec::new() };
        let done = bounded(hop.connect + idle, login.run()).await;
        done.map_err(|error| match said.words() {
            Some(words) => error.while_doing("the server says", words),
            None => error,
        })?;
        carriers.push(ssh);
    }
    let Some(server) = carriers.last() else {
        return Err(Error::invalid("a way to no server:", "no hosts"));
    };
    let begin = async {
        let channel =
            server.channel_open_session().await.map_err(|error| lost("cannot open a session", error))?;
        Ok::<_, Error>(channel)
    };
    let channel = bounded(idle, begin).await?;
    bounded(idle, async { Session::begin(channel, Box::new(carriers), idle).await.map_err(Error::from) })
        .await
}

async fn bounded<T>(longest: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(longest, work).await.unwrap_or_else(|_| Err(bridge::stalled(longest)))
}

/// A socket, or a channel of the host before.
async fn line_to(hop: &Hop, before: Option<&Handle<Guard>>) -> Result<Box<dyn Line>> {
    let place = hop.label.written();
    match before {
        None => {
            let connected = bounded(hop.connect, async {
                TcpStream::connect((hop.host.as_str(), hop.port))
                    .await
                    .map_err(|error| unreachable(error, hop))
            });
            let socket = connected.await.map_err(|error| error.while_doing("cannot reach", place))?;
            socket
                .set_nodelay(true)
                .map_err(|error| Error::io("cannot set up the connection to", &hop.host, error))?;
            Ok(Box::new(socket))
        }
        Some(jump) => {
            let opened = bounded(hop.connect, async {
                let opened =
                    jump.channel_open_direct_tcpip(&hop.host, u32::from(hop.port), "127.0.0.1", 0).await;
                opened.map_err(|error| lost("the host before does not get there", error))
            });
            let channel = opened.await.map_err(|error| error.while_doing("cannot reach", place))?;
            Ok(Box::new(channel.into_stream()))
        }
    }
}

/// A host that cannot be reached now may be later; one that nobody knows is a mistake in the address.
fn unreachable(error: io::Error, hop: &Hop) -> Error {
    let is_unknown = error.to_string().contains("Name or service not known");
    let failed =
        Error::new(Kind::Io, "no connection to").on(format!("{}:{}", hop.host, hop.port)).because(error);
    if is_unknown { failed } else { failed.retry_later() }
}

fn lost(what: &str, error: russh::Error) -> Error {
    let refused =
        matches!(error, russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited));
    let words = words(&error.to_string());
    match refused {
        true => Error::new(Kind::Denied, what).because(words),
        false => Error::new(Kind::Io, what).because(words).retry_later(),
    }
}

/// Agrees on keys, and checks the host's.
async fn greet(hop: &Hop, access: &Access, line: Box<dyn Line>) -> Result<(Handle<Guard>, Said)> {
    let said = Said::default();
    let guard = Guard {
        label: hop.label.clone(),
        known: Arc::clone(&hop.known),
        accept: hop.accept.clone(),
        warn: Arc::clone(&access.warn),
        said: said.clone(),
    };
    let begun = connect_stream(Arc::new(settings(hop, access.timeouts.idle)), line, guard).await;
    match begun {
        Ok(ssh) => Ok((ssh, said)),
        Err(Refused::Ours(error)) => Err(error),
        Err(Refused::Ssh(error)) => {
            let place = hop.label.written();
            // Nothing in common stays so.
            let stays = matches!(error, russh::Error::NoCommonAlgo { .. } | russh::Error::Version);
            let words = said.words().unwrap_or_else(|| words(&error.to_string()));
            let failed = Error::new(Kind::Io, "no SSH connection to").on(place).because(words);
            Err(if stays { failed } else { failed.retry_later() })
        }
    }
}

fn settings(hop: &Hop, idle: Duration) -> Config {
    // Keys by which the host is known are asked for first, as its others would only seem to be wrong.
    let known = hop.known.lock().unwrap_or_else(PoisonError::into_inner).algorithms(&hop.label);
    let is_known = |algorithm: &Algorithm| {
        // A key of RSA signs by several algorithms.
        let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
        known.iter().any(|known| known == algorithm || (is_rsa(known) && is_rsa(algorithm)))
    };
    let mut keys: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
    // SHA-1 signatures are worth nothing.
    keys.retain(|algorithm| *algorithm != Algorithm::Rsa { hash: None });
    keys.sort_by_key(|algorithm| !is_known(algorithm));
    Config {
        client_id: SshId::Standard(Cow::Borrowed(CLIENT)),
        window_size: SFTP_WINDOW_BYTES,
        channel_buffer_size: QUEUE,
        preferred: Preferred {
            key: Cow::Owned(keys),
            // The processor does AES by itself.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]),
            // What is stored is compressed already.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some((idle / 4).max(Duration::from_secs(1))),
        keepalive_max: UNANSWERED,
        // For what has no deadline of its own: a line that died while keys were agreed on.
        inactivity_timeout: Some(idle * 4 + Duration::from_secs(10)),
        nodelay: true,
        ..Config::default()
    }
}
