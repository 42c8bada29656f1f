//! Where clients come in: a port of loopback, a thread for each client, and a way to refuse them for a while.
//!
//! A listening socket that is shut down for reading listens no more and keeps its port (Linux): clients are refused as where
//! nobody listens, nobody else gets the port meanwhile, and `listen` opens it again.

use crate::servers::free_port;
use rustix::net::{Shutdown, listen, shutdown};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// Clients that may wait to be let in.
const BACKLOG: i32 = 128;
/// Ports that are tried, since somebody else may take one first.
const PORTS_TRIED: u32 = 20;
/// How long to wait when the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(20);

/// An open port.
pub(super) struct Door {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    sign: Arc<Sign>,
    keeper: Option<JoinHandle<()>>,
}

/// What is written on it.
#[derive(Default)]
struct Sign {
    state: Mutex<Words>,
    changed: Condvar,
}

#[derive(Default)]
struct Words {
    refuses: bool,
    is_closed: bool,
}

impl Sign {
    fn lock(&self) -> MutexGuard<'_, Words> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits while clients are refused; whether any may come afterwards.
    fn wait(&self) -> bool {
        let refused = |words: &mut Words| words.refuses && !words.is_closed;
        let words =
            self.changed.wait_while(self.lock(), refused).unwrap_or_else(|poisoned| poisoned.into_inner());
        !words.is_closed
    }
}

impl Door {
    /// Opens a port; `serve` has each client in a thread of its own.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn open(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Door {
        // By number: only a port that was asked for stays when the socket listens no more.
        let bound = (0..PORTS_TRIED).find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).ok());
        let listener = Arc::new(bound.expect("loopback has a free port"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let sign = Arc::new(Sign::default());
        let (clients, words) = (Arc::clone(&listener), Arc::clone(&sign));
        let keeper = spawn(move || keep(&clients, &words, &Arc::new(serve)));
        Door { listener, address, sign, keeper: Some(keeper) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses clients from now on, or lets them in again.
    ///
    /// # Panics
    /// When the system does neither, since the test would test nothing.
    pub fn refuse(&self, refuses: bool) {
        let mut words = self.sign.lock();
        if words.refuses == refuses || words.is_closed {
            return;
        }
        words.refuses = refuses;
        let done = match refuses {
            true => shutdown(&self.listener, Shutdown::Read),
            false => listen(&self.listener, BACKLOG),
        };
        done.expect("a listening socket can be closed and opened");
        self.sign.changed.notify_all();
    }

    /// Lets nobody in any more, and waits until all clients have been served.
    pub fn close(&mut self) {
        self.sign.lock().is_closed = true;
        self.sign.changed.notify_all();
        // One that refuses does not listen, and is woken by the word alone.
        shutdown(&self.listener, Shutdown::Both).unwrap_or(());
        if let Some(keeper) = self.keeper.take() {
            keeper.join().unwrap_or_else(complain);
        }
    }
}

/// A panic of a thread of ours fails the test, unless it fails already.
fn complain(panic: Box<dyn std::any::Any + Send>) {
    if !std::thread::panicking() {
        std::panic::resume_unwind(panic);
    }
}

fn keep<S: Fn(TcpStream) + Send + Sync + 'static>(listener: &TcpListener, sign: &Sign, serve: &Arc<S>) {
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                let serve = Arc::clone(serve);
                clients.push(spawn(move || serve(client)));
            }
            Err(error) => {
                if !sign.wait() {
                    break;
                }
                // Not that it had stopped listening: what is left passes when others close their sockets.
                if error.kind() != ErrorKind::InvalidInput {
                    std::thread::sleep(PAUSE);
                }
            }
        }
        if let Some(ended) = clients.iter().position(JoinHandle::is_finished) {
            clients.swap_remove(ended).join().unwrap_or_else(complain);
        }
    }
    clients.into_iter().for_each(|client| client.join().unwrap_or_else(complain));
}
