//! Tokens of Keystone that end in the middle of an upload: a new one is fetched, and nothing of it is seen.

use super::{Server, User, timed};
use crate::place::{assert_equal, id};
use crate::program::not_run;
use crate::running::Running;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::keystone::{self, Keystone};
use icecore_testkit::servers::swift::{Options, Swift};
use icecore_testkit::servers::{NotInstalled, free_port};
use icecore_testkit::wire::HttpProxy;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Swift itself looks at its own token half a minute before it ends: a shorter life is none.
const SHORT_LIFE_SECONDS: u32 = 40;

/// What has arrived when tokens end.
const ARRIVED_BYTES: u64 = 2 << 20;

/// What takes longer to send than Swift believes in a token that it has seen, which is five seconds.
const LONG_BYTES: usize = 44 << 20;
const SLOWLY: [&str; 4] = ["--limit-upload", "4MiB/s", "--retries", "5"];

/// Swift with Keystone, and what stands before Keystone to count logins.
struct Guarded {
    server: Server,
    keystone: Keystone,
    logins: HttpProxy,
    /// Where the cluster keeps objects.
    kept_in: PathBuf,
    _cluster: Swift,
}

impl Guarded {
    fn start(folder: &Path, token_seconds: u32) -> Result<Guarded, NotInstalled> {
        let port = free_port();
        let keystone =
            Keystone::start(&folder.join("keystone"), &format!("http://127.0.0.1:{port}"), token_seconds)?;
        let login = Some((keystone.url(), keystone::PASSWORD.to_owned()));
        let options = Options { keystone: login, port: Some(port), ..Options::default() };
        let cluster = Swift::start(folder, &options)?;
        let mut server = Server {
            address: "swift://backups".to_owned(),
            options: "?segment-size=1".to_owned(),
            variables: keystone.variables(),
            running: Vec::new(),
        };
        let at = super::servers::port_of(&keystone.url());
        let logins = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], at)));
        server.redirect(at, logins.port());
        let kept_in = folder.join("srv/d1/objects");
        Ok(Guarded { server, keystone, logins, kept_in, _cluster: cluster })
    }

    fn kept_bytes(&self) -> u64 {
        let (mut sum, mut todo) = (0, vec![self.kept_in.clone()]);
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                match metadata.is_dir() {
                    true => todo.push(entry.path()),
                    false => sum += metadata.len(),
                }
            }
        }
        sum
    }

    /// Ends every token of the user, and Swift's own, while a run sends.
    fn revoke_while_it_sends(&self, run: &mut Running) {
        let before = self.kept_bytes();
        while self.kept_bytes() < before + ARRIVED_BYTES {
            assert!(!run.has_ended(), "it ended before its token did");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.keystone.revoke_all();
    }

    fn logins(&self) -> usize {
        let passed = self.logins.passed();
        passed
            .iter()
            .filter(|request| request.method == "POST" && request.path.ends_with("/auth/tokens"))
            .count()
    }
}

const TAR: [&str; 6] = ["--engine", "tar", "--no-encryption", "--compression", "none", "--init"];

fn words<'w>(source: &'w str, more: &[&'w str]) -> Vec<&'w str> {
    [&["--host", "alpha", "--name", "nightly", source, "--timeout", "20"], more].concat()
}

/// Every token of the user is revoked while a long object is on its way, and while many short ones are.
#[test]
fn an_upload_outlives_the_token_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let guarded = match Guarded::start(folder.path(), 3600) {
        Ok(guarded) => guarded,
        Err(missing) => return not_run(&missing.0),
    };
    let mut random = Random::new(95);
    for (name, engine) in [("levels", &TAR[..]), ("deduplicated", &[])] {
        let user = User::new(&guarded.server, name);
        if engine.is_empty() {
            guarded.server.init_cheaply(name);
        }
        fs::write(user.place.source().join("noise"), random.bytes(LONG_BYTES)).unwrap();
        user.place.settle();
        let source = user.place.source();
        let more = [engine, &SLOWLY].concat();
        let before = guarded.logins();
        let mut run = Running::start(user.command("backup", &words(source.to_str().unwrap(), &more)));
        guarded.revoke_while_it_sends(&mut run);
        let made = run.wait().expect(0);
        guarded.server.shows_no_secret(&made);
        assert!(guarded.logins() >= before + 2, "{name}: the token was good to the end");
        let restored = user.restored(&id(&made.summary()), &[]);
        assert_equal(&Manifest::of(&user.place.source()).unwrap(), &restored, name);
        user.check_is_clean();
    }
    a_token_that_cannot_be_renewed_ends_in_words(&guarded);
}

/// Two gigabytes in one object, with tokens that live less than a minute.
#[test]
#[ignore = "takes minutes, and some gigabytes of disk: scripts/test-long"]
fn two_gigabytes_outlive_several_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let mut guarded = match Guarded::start(folder.path(), SHORT_LIFE_SECONDS) {
        Ok(guarded) => guarded,
        Err(missing) => return not_run(&missing.0),
    };
    // Segments as they are by default.
    guarded.server.options = String::new();
    let user = User::new(&guarded.server, "long");
    let block = Random::new(96).bytes(16 << 20);
    let mut long = File::create(user.place.source().join("long")).unwrap();
    for number in 0..128u64 {
        long.write_all(&number.to_le_bytes()).unwrap();
        long.write_all(&block[8..]).unwrap();
    }
    drop(long);
    user.place.settle();
    let source = user.place.source();
    let more = [&TAR[..], &["--limit-upload", "16MiB/s"]].concat();
    let before = guarded.logins();
    let made = user.run("backup", &words(source.to_str().unwrap(), &more)).expect(0).summary();
    assert!(guarded.logins() > before + 2, "{} logins", guarded.logins() - before);
    let restored = user.restored(&id(&made), &[]);
    assert_equal(&Manifest::of(&user.place.source()).unwrap(), &restored, "two gigabytes");
}

/// A token alone cannot be renewed: what it ends in is said, and a login does what it could not.
fn a_token_that_cannot_be_renewed_ends_in_words(guarded: &Guarded) {
    let name = "by-token";
    guarded.server.init_cheaply(name);
    let by_login = User::new(&guarded.server, name);
    by_login.place.write(&[("letters/a", "first")]);
    by_login.back_up(&[]);
    let (token, url) = guarded.keystone.token();
    let variables = [("OS_TOKEN", &token), ("OS_STORAGE_URL", &url)];
    let alone = Server {
        address: guarded.server.address.clone(),
        options: guarded.server.options.clone(),
        variables: variables.map(|(key, value)| (key.to_owned(), value.clone())).to_vec(),
        running: Vec::new(),
    };
    let by_token = User { server: &alone, place: crate::place::Place::new(), repository: alone.place(name) };
    fs::write(by_token.place.source().join("noise"), Random::new(97).bytes(LONG_BYTES)).unwrap();
    by_token.place.settle();
    let source = by_token.place.source();
    let mut run = Running::start(by_token.command("backup", &words(source.to_str().unwrap(), &SLOWLY)));
    guarded.revoke_while_it_sends(&mut run);
    let failed = timed(|| run.wait()).expect(1).explained();
    let error = failed.of_type("error").pop().unwrap();
    assert_eq!(error["kind"], "denied", "{error}");
    assert!(failed.names("/by-token") && !format!("{failed:?}").contains(&token), "{failed:?}");
    assert_eq!(by_login.backups().len(), 1);
    by_login.back_up(&[]);
    by_login.check_is_clean();
}
