//! Keys that are lent for a while to whoever runs on a machine of the cloud, in a container there, or as somebody known elsewhere.

use super::{Target, moto, name, rows};
use crate::{access, not_run};
use icecore::Kind;
use icecore::error::Retry as Again;
use icecore::storage::{Depth, PutMode};
use icecore_remote::{Intent, open};
use icecore_testkit::servers::moto::{Lent, Moto};
use icecore_testkit::wire::{Action, HttpProxy, Rule};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ended when they are lent, and good for longer than this test.
const ENDED: &str = "2001-01-01T00:00:00Z";
const GOOD: &str = "2199-01-01T00:00:00Z";

/// What a container shows to be lent keys.
const PASS: &str = "a container of ours";

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Lends each set of keys once, with the time at which it ends, to whoever asks in the way of a machine or of a container; when there are no more,
/// it fails.
struct Lender {
    port: u16,
}

impl Lender {
    fn new(keys: impl IntoIterator<Item = (Lent, &'static str)>) -> Lender {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut keys: VecDeque<_> = keys.into_iter().collect();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // One that left needs no answer.
                answer(&client, &mut keys).unwrap_or(());
            }
        });
        Lender { port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn answer(mut client: &TcpStream, keys: &mut VecDeque<(Lent, &'static str)>) -> std::io::Result<()> {
    let mut head = BufReader::new(client).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let first = head.next().unwrap_or_default();
    let headers: Vec<String> = head.collect();
    let has = |name: &str, value: &str| {
        headers
            .iter()
            .filter_map(|line| line.split_once(": "))
            .any(|(known, said)| known.eq_ignore_ascii_case(name) && said == value)
    };
    let (method, path) = first.split_once(' ').unwrap_or_default();
    let path = path.split(' ').next().unwrap_or_default();
    let knows_machine = has("x-aws-ec2-metadata-token", "a word");
    let is_asked = match (method, path) {
        ("GET", "/container") => has("authorization", PASS),
        ("GET", path) => path == format!("{ROLES}machine") && knows_machine,
        _ => false,
    };
    let (status, body) = match (method, path) {
        ("PUT", "/latest/api/token") => (200, "a word".to_owned()),
        ("GET", ROLES) if knows_machine => (200, "machine".to_owned()),
        _ if !is_asked => (401, String::new()),
        _ => match keys.pop_front() {
            None => (500, String::new()),
            Some((Lent { id, secret, token }, end)) => (
                200,
                format!(
                    "{{\"AccessKeyId\": \"{id}\", \"SecretAccessKey\": \"{secret}\", \"Token\": \"{token}\", \"Expiration\": \"{end}\"}}"
                ),
            ),
        },
    };
    let length = body.len();
    write!(client, "HTTP/1.1 {status} so\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A server that checks signatures, behind a proxy that notes whose they are.
fn noting(moto: &Moto, target: &Target) -> (HttpProxy, Target, Arc<Mutex<Vec<String>>>) {
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], moto.port)));
    let signers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&signers);
    proxy.add(Rule::new(Action::status(500)).when(move |request| {
        let by = request.header("authorization").and_then(|value| value.split_once("Credential="));
        let id = by.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default().to_owned();
        let mut noted = noted.lock().unwrap();
        if noted.last() != Some(&id) {
            noted.push(id);
        }
        false
    }));
    let target = Target { endpoint: format!("http://{}", proxy.address()), ..target.clone() };
    (proxy, target, signers)
}

#[test]
fn keys_that_a_machine_or_a_container_is_lent_are_renewed() {
    let Some((moto, target, folder)) = moto(Moto::strict) else { return };
    let lent = match moto.lend(4) {
        Ok(lent) => lent,
        Err(reason) => return not_run(&reason),
    };
    let (_proxy, target, signers) = noting(&moto, &target);
    let pass = folder.path().join("pass");
    std::fs::write(&pass, PASS).unwrap();
    for way in ["machine", "container"] {
        signers.lock().unwrap().clear();
        // Those that have ended are asked for again before the next request, and those that have not are kept.
        let lender = Lender::new(lent.iter().cloned().zip([ENDED, ENDED, GOOD, GOOD]));
        let (machine, container) = (lender.url(""), lender.url("/container"));
        let of_machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.as_str())];
        let of_container = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", pass.to_str().unwrap()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let variables = if way == "machine" { &of_machine[..] } else { &of_container };
        let storage = open(&target.address(way), &access(variables, None), Intent::Create).unwrap();
        storage.put(&name("a"), b"bytes", PutMode::CreateNew).unwrap();
        assert_eq!(storage.read(&name("a"), 0, 9).unwrap(), b"bytes");
        assert_eq!(rows(storage.as_ref(), None, Depth::All).unwrap(), ["a 5"]);
        let ids: Vec<String> = lent[..3].iter().map(|keys| keys.id.clone()).collect();
        assert_eq!(*signers.lock().unwrap(), ids, "{way}");

        // They end, and nobody lends others: that may pass. Who never had any is told what to set.
        let lender = Lender::new([(lent[3].clone(), ENDED)]);
        let (machine, container) = (lender.url(""), lender.url("/container"));
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(variable, value)| match *variable {
                "AWS_EC2_METADATA_SERVICE_ENDPOINT" => (*variable, machine.as_str()),
                "AWS_CONTAINER_CREDENTIALS_FULL_URI" => (*variable, container.as_str()),
                _ => (*variable, *value),
            })
            .collect();
        let storage = open(&target.address(way), &access(&variables, None), Intent::Open).unwrap();
        let error = storage.read(&name("a"), 0, 9).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, Again::Later), "{way}: {error}");
        assert!(error.to_string().contains("cannot renew the keys"), "{way}: {error}");
        let error = open(&target.address(way), &access(&variables, None), Intent::Open).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Again::Never), "{way}: {error}");
        assert!(error.advice().is_some_and(|advice| advice.contains("AWS_ACCESS_KEY_ID")), "{way}: {error}");
    }
}

/// The server's own service for it is asked, by TLS, with the certificate that is trusted for the bucket.
#[test]
fn keys_of_a_web_identity_are_fetched() {
    let Some((moto, mut target, folder)) = moto(Moto::tls) else { return };
    target.endpoint = format!("https://localhost:{}", moto.port);
    let token = folder.path().join("identity");
    std::fs::write(&token, "who I am").unwrap();
    let certificate = folder.path().join("own.crt");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backups"),
        ("AWS_ENDPOINT_URL_STS", &target.endpoint),
        ("AWS_CA_BUNDLE", certificate.to_str().unwrap()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let storage = open(&target.address("identity"), &access(&variables, None), Intent::Create).unwrap();
    storage.put(&name("a"), b"bytes", PutMode::CreateNew).unwrap();
    assert_eq!(storage.read(&name("a"), 0, 9).unwrap(), b"bytes");
    // One that the service does not get to see is none.
    std::fs::remove_file(&token).unwrap();
    let error = open(&target.address("identity"), &access(&variables, None), Intent::Open).err().unwrap();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

#[test]
fn half_of_what_leads_to_keys_is_refused() {
    let target =
        Target { endpoint: "http://127.0.0.1:9".to_owned(), region: "x".to_owned(), key: Default::default() };
    for (there, missing) in [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    ] {
        let half = access(&[(there, "http://127.0.0.1:9/")], None);
        let error = open(&target.address("b"), &half, Intent::Open).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.to_string().contains(there) && error.to_string().contains(missing), "{error}");
    }
}
