//! Buckets that are part of the host's name. Whoever asks a proxy needs no name server: requests carry the name, and the proxy knows the way.

use super::proxy::Proxy;
use super::{bytes_of, moto, name, rows};
use crate::access;
use icecore::storage::{Depth, PutMode};
use icecore_remote::{Address, Intent};
use icecore_testkit::servers::moto::Moto;
use std::sync::{Arc, Mutex};

/// A proxy to the server at this port of loopback, whatever host is asked for; and which hosts were.
fn forwarding(port: u16) -> (Proxy, Arc<Mutex<Vec<String>>>) {
    let hosts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&hosts);
    let proxy = Proxy::start(port, move |head| {
        let (method, rest) = head.split_once(" http://").expect("a proxy is asked for a whole URL");
        let (host, rest) = rest.split_once('/').unwrap();
        noted.lock().unwrap().push(host.to_owned());
        format!("{method} /{rest}")
    });
    (proxy, hosts)
}

/// A server at a port of loopback that checks signatures, and takes what stands before `host` for a bucket.
pub fn passes(port: u16, host: &str, (id, secret): &(String, String)) {
    let (proxy, hosts) = forwarding(port);
    let url = proxy.endpoint();
    let variables =
        [("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret), ("HTTP_PROXY", &url)];
    let access = access(&variables, None);
    let open = |host: &str, style: &str| {
        let place =
            format!("s3://hosted/a b?endpoint=http://{host}&region=us-east-1&part-size=5&style={style}");
        icecore_remote::open(&Address::parse(&place).unwrap(), &access, Intent::Create).unwrap()
    };
    let storage = open(host, "virtual");
    let (short, long) = (name("folder/\u{f6}+ %41"), name("long"));
    storage.put(&short, b"bytes", PutMode::CreateNew).unwrap();
    assert_eq!(storage.read(&short, 1, 3).unwrap(), b"yte");
    let bytes = bytes_of(6, 6 << 20);
    let mut writer = storage.writer(&long, PutMode::CreateNew).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    assert!(storage.read(&long, 0, 7 << 20).unwrap() == bytes);
    let listed = [format!("{short} 5"), format!("{long} {}", bytes.len())];
    assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), listed);
    assert_eq!(rows(storage.as_ref(), Some("folder"), Depth::One).unwrap(), listed[..1]);
    let asked = std::mem::take(&mut *hosts.lock().unwrap());
    let expected = format!("hosted.{host}");
    assert!(asked.len() > 6 && asked.iter().all(|host| *host == expected), "{asked:?}");

    // It is the bucket that others find in the path.
    let address = format!("127.0.0.1:{port}");
    assert_eq!(open(&address, "path").read(&short, 0, 9).unwrap(), b"bytes");
    assert!(hosts.lock().unwrap().drain(..).all(|asked| asked == address));
    storage.delete(&short).unwrap();
    assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), listed[1..]);
}

#[test]
fn a_bucket_is_found_by_its_host() {
    let Some((moto, target, _folder)) = moto(Moto::strict) else { return };
    passes(moto.port, "s3.example.org", &target.key);
}
