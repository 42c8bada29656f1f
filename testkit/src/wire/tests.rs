//! The line by itself, before a server that gives back what it gets.

use super::door::Door;
use super::{Harm, Of, Plan, Proxy, Way};
use crate::random::Random;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Gives back what it gets, and remembers what each client sent.
struct Echo {
    door: Door,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Echo {
    fn start() -> Echo {
        let got = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&got);
        let door = Door::open(move |mut client| {
            let (mut buffer, mut sent) = (vec![0; 9_000], Vec::new());
            let mut hears = true;
            while let Ok(length @ 1..) = client.read(&mut buffer) {
                sent.extend_from_slice(&buffer[..length]);
                hears = hears && client.write_all(&buffer[..length]).is_ok();
            }
            all.lock().unwrap().push(sent);
        });
        Echo { door, got }
    }

    fn address(&self) -> SocketAddr {
        self.door.address()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.door.close();
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
}

/// Sends from one thread while another reads; what came back until the end, and what either saw that was none.
fn exchange(client: &TcpStream, bytes: &[u8]) -> (Vec<u8>, Vec<ErrorKind>) {
    let mut back = Vec::new();
    let errors = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sending = client;
            sending.write_all(bytes).and_then(|()| sending.shutdown(Shutdown::Write))
        });
        let (mut reading, mut buffer) = (client, vec![0; 7_000]);
        let read = loop {
            match reading.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => back.extend_from_slice(&buffer[..length]),
                Err(error) => break Err(error),
            }
        };
        [read, sending.join().unwrap()]
    });
    (back, errors.into_iter().filter_map(|done| done.err().map(|error| error.kind())).collect())
}

fn whole(proxy: &Proxy, bytes: &[u8]) {
    let (back, errors) = exchange(&connect(proxy), bytes);
    assert_eq!(errors, []);
    assert!(back == bytes, "{} bytes of {} came back", back.len(), bytes.len());
}

#[test]
fn bytes_pass_both_ways_and_ends_are_passed_on() {
    let echo = Echo::start();
    let proxy = Proxy::new(echo.address());
    for length in [0, 1, 65_536, 5_000_000] {
        whole(&proxy, &Random::new(length as u64).bytes(length));
    }
    let counts = proxy.counts();
    assert_eq!(
        (counts.connections, counts.up_bytes, counts.down_bytes, counts.struck),
        (4, 5_065_537, 5_065_537, 0)
    );
}

#[test]
fn what_is_under_way_takes_its_time_and_overlaps() {
    let echo = Echo::start();
    let delay = Duration::from_millis(150);
    let proxy = Proxy::with(echo.address(), Plan::delayed(delay));
    let begun = Instant::now();
    let mut client = connect(&proxy);
    for number in 0..50u8 {
        client.write_all(&[number; 100]).unwrap();
    }
    let mut first = [9; 100];
    client.read_exact(&mut first).unwrap();
    // The connection's round trip, and one for the bytes.
    assert!(begun.elapsed() >= 4 * delay);
    assert_eq!(first, [0; 100]);
    assert_eq!(proxy.counts().up_bytes, 5_000, "later bytes wait for the first answer");

    proxy.change(|plan| plan.delay = Duration::ZERO);
    let mut rest = vec![0; 4_900];
    client.read_exact(&mut rest).unwrap();
    assert!(rest.chunks(100).zip(1..).all(|(bytes, number)| bytes == [number; 100]));
    whole(&proxy, &[1; 1_000_000]);
}

#[test]
fn a_thin_line_takes_its_time_for_all_of_its_connections() {
    let echo = Echo::start();
    let rate = NonZeroU64::new(400_000);
    let proxy = Proxy::with(echo.address(), Plan { bytes_per_second: rate, ..Plan::default() });
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| whole(&proxy, &[7; 40_000]));
        }
    });
    // 120 kB at 400 kB a second, less what may wait at the end.
    assert!(begun.elapsed() >= Duration::from_millis(280));
}

#[test]
fn a_connection_is_cut_behind_a_byte_of_either_direction() {
    let echo = Echo::start();
    let bytes = Random::new(1).bytes(300_000);
    for after_bytes in [0, 1, 100_000, 299_999] {
        let proxy = Proxy::new(echo.address());
        proxy.fault(Of::Connection(2), Way::Down, after_bytes, Harm::Cut);
        whole(&proxy, &bytes);
        let back = exchange(&connect(&proxy), &bytes).0;
        assert!(back == bytes[..after_bytes as usize], "{} bytes, not {after_bytes}", back.len());
        whole(&proxy, &bytes);
        assert_eq!(proxy.counts().struck, 1);
    }

    let proxy = Proxy::new(echo.address());
    proxy.fault(Of::Each, Way::Up, 100_000, Harm::Cut);
    echo.got.lock().unwrap().clear();
    assert!(bytes.starts_with(&exchange(&connect(&proxy), &bytes).0));
    let got = wait_for(|| echo.got.lock().unwrap().first().cloned());
    assert!(got == bytes[..100_000], "the server got {} bytes", got.len());
}

/// Waits for what another thread is about to do.
fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < end, "it never came"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_reset_is_seen_as_one() {
    let echo = Echo::start();
    let bytes = Random::new(2).bytes(200_000);
    for (way, after_bytes) in [(Way::Down, 70_000), (Way::Up, 200_000), (Way::Up, 0)] {
        let proxy = Proxy::new(echo.address());
        proxy.fault(Of::Each, way, after_bytes, Harm::Reset);
        let (back, errors) = exchange(&connect(&proxy), &bytes);
        // Whoever looks first is told.
        assert!(errors.contains(&ErrorKind::ConnectionReset), "{errors:?}");
        assert!(bytes.starts_with(&back) && (way == Way::Up || back.len() as u64 <= after_bytes));
        assert_eq!(proxy.counts().struck, 1);
    }
}

#[test]
fn what_an_end_does_to_the_line_the_other_end_sees() {
    let server = Door::open(|client| {
        let mut client = client;
        client.write_all(b"greeting").unwrap();
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        let mut word = [0; 4];
        client.read_exact(&mut word).unwrap();
    });
    let proxy = Proxy::new(server.address());
    let mut client = connect(&proxy);
    let mut greeting = [0; 8];
    client.read_exact(&mut greeting).unwrap();
    client.write_all(b"word").unwrap();
    assert_eq!(client.read(&mut greeting).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut server = server;
    server.close();
    // Nobody is there now.
    let ended = connect(&proxy).read(&mut greeting);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_stalled_connection_stays_and_is_silent_until_it_is_broken() {
    let echo = Echo::start();
    let proxy = Proxy::new(echo.address());
    proxy.fault(Of::Connection(1), Way::Down, 1_000, Harm::Stall);
    let mut client = connect(&proxy);
    client.write_all(&[5; 3_000]).unwrap();
    let mut some = [0; 1_000];
    client.read_exact(&mut some).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = client.read(&mut some).unwrap_err().kind();
    assert!(matches!(silent, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
    whole(&proxy, &[1; 50_000]);

    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    proxy.break_now(Harm::Cut);
    assert_eq!(client.read(&mut some).unwrap(), 0);
    whole(&proxy, &[1; 50_000]);
}

#[test]
fn a_truncated_stream_ends_as_if_it_were_whole() {
    let echo = Echo::start();
    let bytes = Random::new(3).bytes(400_000);
    for way in [Way::Up, Way::Down] {
        let proxy = Proxy::new(echo.address());
        proxy.fault(Of::Connection(1), way, 123_456, Harm::Truncate);
        let (back, errors) = exchange(&connect(&proxy), &bytes);
        assert_eq!(errors, []);
        assert!(back == bytes[..123_456], "{} bytes", back.len());
        whole(&proxy, &bytes);
    }
}

#[test]
fn who_is_refused_hears_that_nobody_listens_and_who_is_in_stays() {
    let echo = Echo::start();
    let proxy = Proxy::new(echo.address());
    let mut early = connect(&proxy);
    early.write_all(b"a").unwrap();
    early.read_exact(&mut [0]).unwrap();
    for _ in 0..3 {
        proxy.change(|plan| plan.refuses = true);
        assert_eq!(TcpStream::connect(proxy.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        early.write_all(b"b").unwrap();
        early.read_exact(&mut [0]).unwrap();
        proxy.change(|plan| plan.refuses = false);
        whole(&proxy, b"back again");
    }
    proxy.change(|plan| plan.refuses = true);
}

#[test]
fn of_all_connections_one_breaks_at_the_byte_they_come_to_together() {
    let echo = Echo::start();
    let proxy = Proxy::new(echo.address());
    proxy.fault(Of::All, Way::Up, 25_000, Harm::Cut);
    let lengths: Vec<usize> = (0..4).map(|_| exchange(&connect(&proxy), &[3; 10_000]).0.len()).collect();
    assert_eq!((lengths[0], lengths[1], lengths[3]), (10_000, 10_000, 10_000));
    assert!(lengths[2] <= 5_000);
    assert_eq!(proxy.counts().struck, 1);
}

#[test]
fn a_line_may_lead_to_another_server() {
    let (one, other) = (Echo::start(), Echo::start());
    let proxy = Proxy::new(one.address());
    whole(&proxy, b"to the one");
    proxy.lead_to(other.address());
    whole(&proxy, b"to the other");
    let got = wait_for(|| other.got.lock().unwrap().first().cloned());
    assert_eq!(got, b"to the other");
}

#[test]
fn nothing_holds_a_proxy_that_is_dropped() {
    let echo = Echo::start();
    let proxy = Proxy::with(echo.address(), Plan::delayed(Duration::from_secs(3_600)));
    let mut waiting = connect(&proxy);
    waiting.write_all(b"never answered").unwrap();
    proxy.fault(Of::Connection(2), Way::Down, 0, Harm::Stall);
    let mut stalled = connect(&proxy);
    stalled.write_all(b"never taken").unwrap();
    wait_for(|| (proxy.counts().connections == 2).then_some(()));
    drop(proxy);
    for client in [&mut waiting, &mut stalled] {
        assert!(client.read(&mut [0]).is_err());
    }
}
