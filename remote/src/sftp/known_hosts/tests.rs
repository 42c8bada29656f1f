//! What the files say of a key, in every way in which they can say it.

use super::*;
use proptest::prelude::*;

const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Another key: of the same kind, its last byte another one.
fn another() -> String {
    let mut bytes = BASE64.decode(ONE.as_bytes()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    BASE64.encode(&bytes)
}

fn key(base64: &str) -> PublicKey {
    parse_public_key_base64(base64).unwrap()
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(text, "file").unwrap();
    known
}

fn judged(text: &str, host: &str, port: u16) -> Verdict {
    known(text).judge(&HostLabel::new(host, port), &key(ONE))
}

#[test]
fn a_key_is_known_by_name_pattern_and_port() {
    for (hosts, host, port) in [
        ("host", "HOST", 22),
        ("other,host", "host", 22),
        ("*.example,!b.example", "a.example", 22),
        ("[host]:2222", "host", 2222),
        // Noted without the port.
        ("host", "host", 2222),
    ] {
        assert_eq!(
            judged(&format!("{hosts} ssh-ed25519 {ONE} comment"), host, port),
            Verdict::Known,
            "{hosts}"
        );
    }
    for (hosts, host, port) in [("host", "other", 22), ("[host]:2222", "host", 22), ("!host,*", "host", 22)] {
        assert_eq!(judged(&format!("{hosts} ssh-ed25519 {ONE}"), host, port), Verdict::Unknown, "{hosts}");
    }
}

#[test]
fn hashed_names_are_found() {
    let salt = [7u8; 20];
    let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    let hash = hmac::sign(&mac, b"[host]:2222");
    let line = format!("|1|{}|{} ssh-ed25519 {ONE}", BASE64.encode(&salt), BASE64.encode(hash.as_ref()));
    assert_eq!(judged(&line, "host", 2222), Verdict::Known);
    assert_eq!(judged(&line, "host", 2223), Verdict::Unknown);
}

#[test]
fn other_revoked_and_certified_keys_are_told_apart() {
    let other = another();
    assert_eq!(
        judged(&format!("# c\nhost ssh-ed25519 {other}"), "host", 22),
        Verdict::Other("file, line 2".to_owned())
    );
    let both = format!("host ssh-ed25519 {other}\nhost ssh-ed25519 {ONE}");
    assert_eq!(judged(&both, "host", 22), Verdict::Known);
    let revoked = format!("host ssh-ed25519 {ONE}\n@revoked * ssh-ed25519 {ONE}");
    assert_eq!(judged(&revoked, "host", 22), Verdict::Revoked("file, line 2".to_owned()));
    assert_eq!(judged(&revoked, "host", 2222), Verdict::Revoked("file, line 2".to_owned()));
    let authority = format!("@cert-authority * ssh-ed25519 {ONE}");
    assert_eq!(judged(&authority, "host", 22), Verdict::AuthorityOnly("file, line 1".to_owned()));
    // Another key under the bare name says nothing of another port.
    assert_eq!(judged(&format!("host ssh-ed25519 {other}"), "host", 2222), Verdict::Unknown);
}

#[test]
fn broken_lines_are_passed_over_but_for_those_that_revoke() {
    assert_eq!(
        judged(&format!("host\nhost ssh-x zzz\n@x y z\nhost ssh-ed25519 {ONE}"), "host", 22),
        Verdict::Known
    );
    for text in ["@revoked *", "@revoked * ssh-ed25519 zzz"] {
        assert_eq!(KnownHosts::default().add(text, "file").unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn the_algorithms_of_known_keys_come_first() {
    assert_eq!(
        known(&format!("host ssh-ed25519 {ONE}")).algorithms(&HostLabel::new("host", 22)),
        [Algorithm::Ed25519]
    );
}

#[test]
fn every_refusal_names_host_and_fingerprint() {
    let host = HostLabel::new("host", 2222);
    let place = || "file".to_owned();
    for verdict in [
        Verdict::Unknown,
        Verdict::Other(place()),
        Verdict::Revoked(place()),
        Verdict::AuthorityOnly(place()),
    ] {
        let error = refusal(&verdict, &host, "SHA256:abc").unwrap();
        assert_eq!(error.kind(), Kind::Denied);
        let words = error.to_string();
        assert!(words.contains("[host]:2222") && words.contains("SHA256:abc"), "{words}");
    }
    assert!(refusal(&Verdict::Known, &host, "").is_none());
}

proptest! {
    #[test]
    fn any_text_is_a_file_of_known_hosts_or_an_error(text in "(?s).{0,300}") {
        let mut known = KnownHosts::default();
        if known.add(&text, "file").is_ok() {
            known.judge(&HostLabel::new("host", 22), &key(ONE));
        }
    }
}
