//! Logging in, host keys, and the user's configuration.

use super::{Place, at, put, rows};
use crate::{access, not_run};
use icecore::Kind;
use icecore::storage::Depth;
use icecore_remote::{Access, Intent};
use icecore_testkit::servers::program;
use icecore_testkit::servers::sshd::{Agent, PASSPHRASE, PASSWORD, Sshd};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// An address with nothing but what is given behind the `?`.
fn bare(place: &Place, options: &str) -> String {
    let data = place.sshd.file("data");
    format!("sftp://{}@127.0.0.1:{}{}/x{options}", place.sshd.user(), place.sshd.port(), data.display())
}

fn with_home(home: &Path) -> Access {
    Access { home: Some(home.to_owned()), ..access(&[], None) }
}

/// A home with this configuration of ssh, and the server's keys known.
fn home(place: &Place, configuration: &str) -> std::path::PathBuf {
    let home = place.folder.path().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/config"), configuration).unwrap();
    fs::copy(place.sshd.file("known_hosts"), home.join(".ssh/known_hosts")).unwrap();
    home
}

#[test]
fn every_kind_of_key_opens() {
    let Some(place) = Place::new() else { return };
    let known = place.sshd.file("known_hosts");
    for key in ["user_ed25519", "user_ecdsa", "user_rsa"] {
        let options = format!("?known-hosts={}&identity={}", known.display(), place.sshd.file(key).display());
        put(&*at(&bare(&place, &options), &access(&[], None), Intent::Create).unwrap(), key, b"1").unwrap();
    }
    let options =
        format!("?known-hosts={}&identity={}", known.display(), place.sshd.file("user_locked").display());
    let address = bare(&place, &options);
    assert_eq!(
        rows(&*at(&address, &access(&[], Some(PASSPHRASE)), Intent::Open).unwrap(), Depth::One).len(),
        3
    );
    for password in [None, Some("wrong")] {
        let error = at(&address, &access(&[], password), Intent::Open).err().unwrap();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let words = format!("{error} {:?}", error.advice());
        assert!(
            words.contains("user_locked") && words.contains("PASSWORD") && !words.contains("wrong"),
            "{words}"
        );
    }
}

#[test]
fn a_stranger_is_not_let_in() {
    let Some(place) = Place::new() else { return };
    let known = place.sshd.file("known_hosts");
    let options =
        format!("?known-hosts={}&identity={}", known.display(), place.sshd.file("stranger").display());
    let error = at(&bare(&place, &options), &access(&[], Some("secret")), Intent::Open).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, icecore::error::Retry::Never), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    // A key that others may read is no key.
    let loose = place.folder.path().join("loose");
    fs::copy(place.sshd.file("user_ed25519"), &loose).unwrap();
    fs::set_permissions(&loose, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let options = format!("?known-hosts={}&identity={}", known.display(), loose.display());
    let error = at(&bare(&place, &options), &access(&[], None), Intent::Open).err().unwrap();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("others may read"), "{error}");
}

#[test]
fn a_server_that_has_had_enough_refuses() {
    let Some(place) = Place::with("MaxAuthTries 1") else { return };
    let known = place.sshd.file("known_hosts");
    let options =
        format!("?known-hosts={}&identity={}", known.display(), place.sshd.file("stranger").display());
    let error = at(&bare(&place, &options), &access(&[], None), Intent::Open).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, icecore::error::Retry::Never), "{error}");
    assert!(error.to_string().contains("Too many"), "{error}");
}

#[test]
fn a_password_opens() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = match Sshd::start_with_password(&folder.path().join("sshd"), "") {
        Ok(sshd) => sshd,
        Err(missing) => return eprintln!("not run: {}", missing.0),
    };
    let place = Place { sshd, folder };
    let address = bare(&place, &format!("?known-hosts={}", place.sshd.file("known_hosts").display()));
    put(&*at(&address, &access(&[], Some(PASSWORD)), Intent::Create).unwrap(), "a", b"1").unwrap();
    for wrong in [None, Some("secret")] {
        let error = at(&address, &access(&[], wrong), Intent::Open).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, icecore::error::Retry::Never), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn an_agent_signs() {
    let Some(place) = Place::new() else { return };
    let keys = ["stranger", "user_rsa", "user_ed25519"].map(|key| place.sshd.file(key));
    let agent = match Agent::start(place.folder.path(), &keys) {
        Ok(agent) => agent,
        Err(reason) => return not_run(&reason),
    };
    let socket = agent.socket().to_str().unwrap();
    let access = access(&[("SSH_AUTH_SOCK", socket)], None);
    let options = format!("?known-hosts={}", place.sshd.file("known_hosts").display());
    put(&*at(&bare(&place, &options), &access, Intent::Create).unwrap(), "a", b"1").unwrap();
    // Only the key that is named, although the agent has another that would do.
    let options = format!("{options}&identity={}", place.sshd.file("stranger").display());
    let error = at(&bare(&place, &options), &access, Intent::Create).err().unwrap();
    assert_eq!(error.kind(), Kind::Denied);
}

#[test]
fn the_configuration_of_ssh_is_followed() {
    let Some(place) = Place::new() else { return };
    let configuration = format!(
        "Host alias\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n\
         Host far\n  ProxyCommand nc %h %p\n",
        place.sshd.port(),
        place.sshd.user(),
        place.sshd.file("user_ed25519").display(),
    );
    let home = home(&place, &configuration);
    let data = place.sshd.file("data");
    let address = format!("ssh://alias{}/x", data.display());
    put(&*at(&address, &with_home(&home), Intent::Create).unwrap(), "a", b"1").unwrap();
    // Hashed names are the same names.
    let hashed = Command::new(program("ssh-keygen").unwrap())
        .args(["-q", "-H", "-f"])
        .arg(home.join(".ssh/known_hosts"))
        .output();
    assert!(hashed.unwrap().status.success());
    assert!(fs::read_to_string(home.join(".ssh/known_hosts")).unwrap().contains("|1|"));
    assert_eq!(rows(&*at(&address, &with_home(&home), Intent::Open).unwrap(), Depth::One), ["a 1"]);
    let error = at("sftp://far/x", &with_home(&home), Intent::Open).err().unwrap();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}

#[test]
fn an_unknown_host_is_refused_unless_it_is_to_be_accepted() {
    let Some(place) = Place::new() else { return };
    let identity = format!("identity={}", place.sshd.file("user_ed25519").display());
    let known = place.folder.path().join("new/known_hosts");
    let strict = bare(&place, &format!("?known-hosts={}&{identity}", known.display()));
    let error = at(&strict, &access(&[], None), Intent::Create).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, icecore::error::Retry::Never), "{error}");
    assert!(
        error.to_string().contains("SHA256:") && error.advice().unwrap().contains("accept-new"),
        "{error}"
    );
    assert!(!known.exists());

    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let access_new = Access {
        warn: Arc::new(move |text| hears.lock().unwrap().push(text.to_owned())),
        ..access(&[], None)
    };
    let accepting = format!("{strict}&host-key=accept-new");
    put(&*at(&accepting, &access_new, Intent::Create).unwrap(), "a", b"1").unwrap();
    assert!(told.lock().unwrap().iter().any(|text| text.contains("SHA256:")), "{told:?}");
    assert_eq!(fs::read_to_string(&known).unwrap().lines().count(), 1);
    at(&strict, &access(&[], None), Intent::Open).unwrap();
    at(&accepting, &access(&[], None), Intent::Open).unwrap();
    assert_eq!(fs::read_to_string(&known).unwrap().lines().count(), 1);
}

#[test]
fn a_changed_or_revoked_host_key_is_refused() {
    let Some(place) = Place::new() else { return };
    let stranger = fs::read_to_string(place.sshd.file("stranger.pub")).unwrap();
    let known = fs::read_to_string(place.sshd.file("known_hosts")).unwrap();
    let own =
        known.lines().find(|line| line.contains("ed25519")).unwrap().split_once(' ').unwrap().1.to_owned();
    let host = format!("[127.0.0.1]:{}", place.sshd.port());
    let file = place.folder.path().join("others");
    let address = |option: &str| {
        let identity = place.sshd.file("user_ed25519");
        bare(&place, &format!("?known-hosts={}&identity={}{option}", file.display(), identity.display()))
    };
    fs::write(&file, format!("{host} {stranger}")).unwrap();
    for option in ["", "&host-key=accept-new"] {
        let error = at(&address(option), &access(&[], None), Intent::Create).err().unwrap();
        assert!(error.kind() == Kind::Denied && error.to_string().contains("CHANGED"), "{error}");
    }
    fs::write(&file, format!("{host} {own}\n@revoked * {own}\n")).unwrap();
    let error = at(&address(""), &access(&[], None), Intent::Create).err().unwrap();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("revoked"), "{error}");
    // A host that is known by one kind of key shows that one.
    let rsa = known.lines().find(|line| line.contains("ssh-rsa")).unwrap();
    fs::write(&file, format!("{rsa}\n")).unwrap();
    at(&address(""), &access(&[], None), Intent::Create).unwrap();
}

#[test]
fn a_server_behind_another_is_reached() {
    let Some(place) = Place::new() else { return };
    let Some(jump) = Place::new() else { return };
    let known = place.folder.path().join("both");
    let both = [&place, &jump].map(|place| fs::read_to_string(place.sshd.file("known_hosts")).unwrap());
    fs::write(&known, both.concat()).unwrap();
    let configuration = |known: &Path| {
        format!(
            "Host jump\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n\
             Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump {}@jump\n  IdentityFile {}\n\
             Host *\n  User {}\n  UserKnownHostsFile {}\n",
            jump.sshd.port(),
            jump.sshd.file("user_ed25519").display(),
            place.sshd.port(),
            place.sshd.user(),
            place.sshd.file("user_ed25519").display(),
            place.sshd.user(),
            known.display(),
        )
    };
    let home_of = home(&place, &configuration(&known));
    let address = format!("sftp://inner{}/x", place.sshd.file("data").display());
    let storage = at(&address, &with_home(&home_of), Intent::Create).unwrap();
    put(&*storage, "a", b"through").unwrap();
    assert_eq!(fs::read(place.path("x/a")).unwrap(), b"through");
    assert!(jump.sshd.connections() > 0);
    // Each host on the way has to be known.
    drop(storage);
    home(&place, &configuration(&place.sshd.file("known_hosts")));
    let error = at(&address, &with_home(&home_of), Intent::Open).err().unwrap();
    assert!(
        error.kind() == Kind::Denied && error.to_string().contains(&jump.sshd.port().to_string()),
        "{error}"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let Some(place) = Place::new() else { return };
    for options in ["?nonsense=1", "?host-key=any", "?config=/no/such/file"] {
        let error = at(&bare(&place, options), &access(&[], None), Intent::Open).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    assert_eq!(
        at("sftp://u@127.0.0.1", &access(&[], None), Intent::Open).err().unwrap().kind(),
        Kind::Invalid
    );
    // Nobody listens there.
    let error = at("sftp://u@127.0.0.1:1/x", &access(&[], None), Intent::Open).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (Kind::Io, icecore::error::Retry::Later), "{error}");
}
