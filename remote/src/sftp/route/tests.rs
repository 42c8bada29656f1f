//! Ways to servers, as addresses and configurations have them.

use super::*;
use crate::access::Timeouts;
use icecore::storage::retry::Patience;
use std::fs;

fn access(home: &Path) -> Access {
    Access {
        variable: Arc::new(|name| (name == "SSH_AUTH_SOCK").then(|| "/agent".into())),
        home: Some(home.to_owned()),
        user: Some("me".to_owned()),
        password: Arc::new(|| Ok(None)),
        timeouts: Timeouts::default(),
        connections: 8,
        patience: Patience::none(),
        warn: Arc::new(|_| ()),
    }
}

/// The way to an address for somebody with this configuration.
fn way(address: &str, configuration: &str) -> Result<Vec<Hop>> {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::write(home.path().join(".ssh/config"), configuration).unwrap();
    fs::write(home.path().join(".ssh/more-1"), "Host included\n  HostName by.pattern\n").unwrap();
    fs::write(home.path().join(".ssh/.more-2"), "nonsense \"").unwrap();
    to(&Address::parse(address).unwrap(), &access(home.path()))
}

fn names(route: &[Hop]) -> Vec<String> {
    route.iter().map(|hop| format!("{}@{}:{}", hop.user, hop.host, hop.port)).collect()
}

#[test]
fn an_address_alone_is_a_way() {
    let route = way("sftp://h.example/x", "").unwrap();
    assert_eq!(names(&route), ["me@h.example:22"]);
    let keys = &route[0].keys;
    assert!(
        keys.files.len() == 3
            && !keys.are_named
            && !keys.only
            && keys.agent.as_deref() == Some(Path::new("/agent"))
    );
    assert_eq!(names(&way("ssh://you@[::1]:2222/x", "").unwrap()), ["you@::1:2222"]);
}

#[test]
fn what_the_address_says_goes_before_the_configuration() {
    let configuration = "Host h\n  User other\n  Port 7\n  HostName %h.example\n  IdentityFile %d/k-%r-%u-%%\n  IdentityAgent none\n";
    let route = way("sftp://you@h/x", configuration).unwrap();
    assert_eq!(names(&route), ["you@h.example:7"]);
    assert!(route[0].keys.files[0].ends_with("k-you-me-%") && route[0].keys.agent.is_none());
    let route = way("sftp://h:8/x?identity=/key&config=none", configuration).unwrap();
    assert_eq!(names(&route), ["me@h:8"]);
    assert!(route[0].keys.only && route[0].keys.files == [PathBuf::from("/key")]);
    assert_eq!(way("sftp://h/x", "IdentityFile %x").err().unwrap().kind(), Kind::Unsupported);
}

#[test]
fn files_are_included_by_a_pattern() {
    let route = way("sftp://included/x", "Include more-* no-such-file\n").unwrap();
    assert_eq!(names(&route), ["me@by.pattern:22"]);
    assert_eq!(way("sftp://h/x", "Include */x").err().unwrap().kind(), Kind::Unsupported);
}

#[test]
fn hosts_are_jumped_over_in_order() {
    let configuration = "Host inner\n  ProxyJump a@one:1,two\nHost one\n  ProxyJump zero\nHost two\n  User b\n  ProxyJump never\n";
    let route = way("sftp://inner/x", configuration).unwrap();
    assert_eq!(names(&route), ["me@zero:22", "a@one:1", "b@two:22", "me@inner:22"]);
    let circle = way("sftp://h/x", "Host *\n  ProxyJump h\n");
    assert_eq!(circle.err().unwrap().kind(), Kind::Limit);
}

#[test]
fn a_new_key_is_accepted_only_when_somebody_asks() {
    for (options, configuration, expected) in [
        ("", "", false),
        ("", "StrictHostKeyChecking no", false),
        ("", "StrictHostKeyChecking accept-new", true),
        ("?host-key=accept-new", "", true),
    ] {
        let route = way(&format!("sftp://h/x{options}"), configuration).unwrap();
        assert_eq!(route[0].accept.is_some(), expected, "{options} {configuration}");
    }
}

#[test]
fn hosts_to_jump_over_are_written_in_many_ways() {
    let named = |user: Option<&str>, host: &str, port| {
        let (user, host) = (user.map(str::to_owned), host.to_owned());
        Named { user, host, port }
    };
    for (text, expected) in [
        ("h", named(None, "h", None)),
        (" u@h:2 ", named(Some("u"), "h", Some(2))),
        ("ssh://u@h:2/", named(Some("u"), "h", Some(2))),
        ("[::1]:2", named(None, "::1", Some(2))),
        ("::1", named(None, "::1", None)),
    ] {
        assert_eq!(jump_host(text).unwrap(), expected, "{text}");
    }
    for text in ["", "@h", "u@", "h:x", "h:99999"] {
        assert_eq!(jump_host(text).unwrap_err().kind(), Kind::Invalid, "{text}");
    }
}
