//! The metadata document: Freezer's bytes, our keys, and what is refused.

use super::*;
use crate::limits::LOCKED_KEY_BYTES;
use proptest::prelude::*;

const FREEZER_TAR: &str = r#"{"engine_name": "tar", "compression": "gzip", "encryption": false}"#;
const FREEZER_RSYNC_2: &str =
    r#"{"engine_name": "rsync", "compression": "gzip", "rsync_block_size": 4096, "encryption": false}"#;

fn bare(engine: &str, rsync_block_size: Option<u64>) -> Document {
    Document {
        engine_name: engine.to_owned(),
        compression: Some("gzip".to_owned()),
        rsync_block_size,
        encryption: false,
        details: None,
    }
}

fn full() -> Document {
    let report = Report {
        started: Timestamp(1_795_485_744),
        finished: Timestamp(1_795_485_750),
        host: "h".to_owned(),
        name: "n\u{e4}".to_owned(),
        paths: vec![b"/srv".to_vec(), b"/\xff".to_vec()],
        files: 3,
        bytes: 70,
        errors: 1,
        unread: vec!["/srv/x: denied".to_owned()],
        tags: vec!["weekly".to_owned()],
        program: "icecore 0.1.0".to_owned(),
    };
    let details = Details {
        data: Stored { size_bytes: 5, blake3: blake3::hash(b"hello") },
        engine_metadata: Stored { size_bytes: 0, blake3: blake3::hash(b"") },
        parent: Some(Timestamp(1_795_485_740)),
        scheme: Scheme::None,
        origin: None,
        report,
    };
    Document { details: Some(details), ..bare("tar", None) }
}

fn encrypted(scheme: Scheme) -> Document {
    let details = full().details.map(|details| Details { scheme, ..details });
    Document { encryption: true, details, ..full() }
}

#[test]
fn a_document_says_how_its_stream_is_encrypted() {
    let key = b"age-encryption.org/v1\n\xff".to_vec();
    for (scheme, text) in [
        (Scheme::Age { locked_key: None }, r#""encryption": {"scheme": "age"}, "program""#),
        (
            Scheme::Age { locked_key: Some(key) },
            r#""encryption": {"scheme": "age", "locked_key": "YWdlLWVuY3J5cHRpb24ub3JnL3YxCv8="}, "program""#,
        ),
        (Scheme::OpenSsl, r#""encryption": {"scheme": "openssl"}, "program""#),
    ] {
        let line = String::from_utf8(encrypted(scheme.clone()).encode().unwrap()).unwrap();
        assert!(line.contains(text), "{line}");
        assert!(line.contains(r#""compression": "gzip", "encryption": true, "icecore""#), "{line}");
        let back = parse(line.as_bytes()).unwrap();
        assert_eq!((back.scheme(), &back), (&scheme, &encrypted(scheme.clone())));
    }
    assert_eq!(parse(FREEZER_TAR.as_bytes()).unwrap().scheme(), &Scheme::None);
    let freezers = FREEZER_TAR.replace("false", "true");
    assert_eq!(parse(freezers.as_bytes()).unwrap().scheme(), &Scheme::OpenSsl);
}

#[test]
fn what_is_said_of_encryption_is_not_guessed_at() {
    let line = String::from_utf8(encrypted(Scheme::OpenSsl).encode().unwrap()).unwrap();
    let line = line.split(r#""document_blake3""#).next().unwrap().to_owned();
    let kind = |from: &str, to: &str| {
        assert!(line.contains(from));
        let changed = line.replace(from, to).trim_end_matches(", ").to_owned() + "}}";
        parse(&seal::close(changed.into_bytes())).err().map(|error| error.kind())
    };
    let scheme = r#"{"scheme": "openssl"}"#;
    assert_eq!(kind("openssl", "openssl"), None);
    assert_eq!(kind("openssl", "rot13"), Some(Kind::Unsupported));
    for wrong in [
        r#"{"scheme": "openssl", "locked_key": "AAAA"}"#.to_owned(),
        r#"{"scheme": "age", "locked_key": "A"}"#.to_owned(),
        r#"{"scheme": "age", "locked_key": 7}"#.to_owned(),
        r#"{}"#.to_owned(),
        format!(r#"{{"scheme": "age", "locked_key": "{}"}}"#, "A".repeat(LOCKED_KEY_BYTES * 4)),
    ] {
        assert_eq!(kind(scheme, &wrong), Some(Kind::Damaged), "{wrong}");
    }
    assert_eq!(kind(r#""encryption": true"#, r#""encryption": false"#), Some(Kind::Damaged));
    assert_eq!(kind(r#""encryption": {"scheme": "openssl"}, "#, ""), Some(Kind::Damaged));
}

/// What a level becomes by being encrypted anew.
fn reencrypted(scheme: Scheme, recipients: Option<blake3::Hash>) -> Reencrypted {
    let stored = |bytes: &[u8]| Stored { size_bytes: bytes.len() as u64, blake3: blake3::hash(bytes) };
    Reencrypted { data: stored(b"other"), engine_metadata: stored(b"bytes"), scheme, recipients }
}

#[test]
fn a_copy_that_was_encrypted_anew_says_of_what_whatever_it_went_through() {
    let line = encrypted(Scheme::OpenSsl).encode().unwrap();
    let made = parse(&line).unwrap();
    let to = blake3::hash(b"to");
    let first = made.reencrypted(&line, reencrypted(Scheme::Age { locked_key: None }, Some(to))).unwrap();
    let first_line = first.encode().unwrap();
    let shown = format!(
        r#""encryption": {{"scheme": "age"}}, "copy_of": {{"original_blake3": "{}", "recipients_blake3": "{to}"}}, "program""#,
        blake3::hash(&line)
    );
    assert!(String::from_utf8(first_line.clone()).unwrap().contains(&shown));
    let first = parse(&first_line).unwrap();
    let second = first.reencrypted(&first_line, reencrypted(Scheme::None, None)).unwrap();
    let second_line = second.encode().unwrap();
    let second = parse(&second_line).unwrap();
    assert!(!second.encryption && second.details.as_ref().unwrap().origin.unwrap().recipients.is_none());
    for (document, line) in [(&made, &line), (&first, &first_line), (&second, &second_line)] {
        assert_eq!(document.original(line), blake3::hash(&made.encode().unwrap()));
    }
    // What was said of the backup stays.
    let report = |document: &Document| document.details.clone().unwrap().report;
    assert_eq!(
        (report(&second), second.details.unwrap().data),
        (report(&made), reencrypted(Scheme::None, None).data)
    );
}

#[test]
fn nothing_that_a_document_says_is_lost_on_the_way_to_other_keys() {
    let more = closed(&open_line().replace("\"format\": 1", "\"format\": 1, \"later\": 7"));
    let error = parse(&more).unwrap().reencrypted(&more, reencrypted(Scheme::None, None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    // Keys that older programs did not write are none that are lost.
    let fewer = closed(&open_line().replace("\"tags\": [\"weekly\"], ", ""));
    parse(&fewer).unwrap().reencrypted(&fewer, reencrypted(Scheme::None, None)).unwrap();
    let freezers = FREEZER_TAR.as_bytes();
    let error = parse(freezers).unwrap().reencrypted(freezers, reencrypted(Scheme::None, None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
}

#[test]
fn freezers_own_documents_are_written_byte_for_byte() {
    assert_eq!(FREEZER_TAR.len(), 66);
    assert_eq!(bare("tar", None).encode().unwrap(), FREEZER_TAR.as_bytes());
    assert_eq!(FREEZER_RSYNC_2.len(), 94);
    assert_eq!(bare("rsync", Some(4096)).encode().unwrap(), FREEZER_RSYNC_2.as_bytes());
}

#[test]
fn freezers_own_documents_are_read() {
    assert_eq!(parse(FREEZER_TAR.as_bytes()).unwrap(), bare("tar", None));
    assert_eq!(parse(FREEZER_RSYNC_2.as_bytes()).unwrap(), bare("rsync", Some(4096)));
    let brick =
        parse(br#"{"engine_name": "osbrick", "volume_info": {"id": [1]}, "encryption": true}"#).unwrap();
    assert_eq!((brick.compression, brick.encryption), (None, true));
}

#[test]
fn the_whole_document_is_what_the_format_page_shows() {
    let page = include_str!("../../../../docs/format/chain.md");
    let line = String::from_utf8(full().encode().unwrap()).unwrap();
    assert!(line.starts_with(FREEZER_TAR.strip_suffix('}').unwrap()));
    assert!(page.lines().any(|shown| shown == line), "docs/format/chain.md does not show\n{line}");
}

#[test]
fn only_the_first_line_counts_and_unknown_keys_are_passed_over() {
    let bytes = [FREEZER_TAR.as_bytes(), b"\nnot json"].concat();
    assert_eq!(parse(&bytes).unwrap(), bare("tar", None));
    let more = open_line().replace("\"format\": 1", "\"format\": 1, \"later\": {\"x\": [null]}");
    assert_eq!(parse(&closed(&more)).unwrap(), full());
}

/// The line without its hash.
fn open_line() -> String {
    let line = String::from_utf8(full().encode().unwrap()).unwrap();
    let (content, _) = line.rsplit_once(", \"document_blake3\": ").unwrap();
    format!("{content}}}}}")
}

/// A line with the hash that it should have.
fn closed(line: &str) -> Vec<u8> {
    seal::close(line.as_bytes().to_vec())
}

#[test]
fn the_hash_is_of_all_that_stands_before_its_key() {
    let line = String::from_utf8(full().encode().unwrap()).unwrap();
    let (content, hash) = line.split_at(line.find("\"document_blake3\": ").unwrap());
    assert_eq!(hash, format!("\"document_blake3\": \"{}\"}}}}", blake3::hash(content.as_bytes())));
    assert!(content.ends_with(", "));
    assert_eq!(closed(&open_line()), line.as_bytes());
}

#[test]
fn no_changed_bit_is_understood() {
    let line = full().encode().unwrap();
    for bit in 0..8 * line.len() {
        let mut changed = line.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let kind = parse(&changed).unwrap_err().kind();
        assert_eq!(kind, Kind::Damaged, "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn what_is_left_of_a_document_of_ours_is_never_taken_for_freezers() {
    let line = String::from_utf8(full().encode().unwrap()).unwrap();
    let start = line.find("\"icecore\": ").unwrap();
    let wrong = [
        open_line(),
        line.replace("\"icecore\"", "\"icecode\""),
        line.replace("\"icecore\"", "\"icecode\"").replace("\"}}", "\"}, \"x\": 1}"),
        line.replace("\"icecore\": {", "\"icecore\": null, \"x\": {"),
        line.replace("\"document_blake3\"", "\"document_blake4\""),
        line.replace(": ", ":"),
        format!("{}\"document_blake3\": \"\"}}", &line[..start]),
        format!("{line} "),
        format!("{line}\r\n"),
    ];
    for changed in wrong {
        assert_ne!(changed, line);
        assert_eq!(parse(changed.as_bytes()).unwrap_err().kind(), Kind::Damaged, "{changed}");
    }
}

#[test]
fn whatever_freezer_says_of_a_server_or_an_image_is_not_taken_for_a_hash() {
    let server = r#"{"name": "icecore", "id": "\"document_blake3\": \"", "x": "document_blake3"}"#;
    for key in ["server", "image", "volume_info"] {
        let line = format!("{{\"encryption\": true, \"{key}\": {server}, \"engine_name\": \"nova\"}}");
        let read = parse(line.as_bytes()).unwrap();
        assert_eq!((read.engine_name.as_str(), read.details), ("nova", None), "{line}");
    }
}

#[test]
fn a_newer_format_is_not_taken_for_damage() {
    let error =
        parse(br#"{"engine_name": "tar", "encryption": false, "icecore": {"format": 2}}"#).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    let line = open_line().replace("\"format\": 1", "\"format\": 2");
    assert_eq!(parse(&closed(&line)).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn what_is_no_document_is_damaged() {
    let line = open_line();
    let wrong = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("\n{FREEZER_TAR}"),
        FREEZER_TAR.replace("false", "\"no\""),
        FREEZER_TAR.replace("\"tar\"", "7"),
        FREEZER_TAR.replace(", \"encryption\": false", ""),
        FREEZER_TAR.replace("}", ", \"icecore\": {}}"),
        "[".repeat(100_000),
        format!("{}{}{}", FREEZER_TAR.replace('}', ", \"x\": "), "[".repeat(100_000), "]".repeat(100_000)),
    ];
    for bytes in wrong {
        let error = parse(bytes.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{}", bytes.get(..80).unwrap_or(&bytes));
    }
    // With the hash that it should have.
    let wrong = [
        line.replace("\"data_bytes\": 5", "\"data_bytes\": -5"),
        line.replace("\"data_bytes\": 5", "\"data_bytes\": 99999999999999999999"),
        line.replace("\"data_blake3\": \"", "\"data_blake3\": \"0"),
        line.replace("\"hex\": \"2fff\"", "\"hex\": \"2ff\""),
        line.replace("\"hex\": \"2fff\"", "\"hex\": \"2fgg\""),
    ];
    for changed in wrong {
        assert_ne!(changed, line);
        assert_eq!(parse(&closed(&changed)).unwrap_err().kind(), Kind::Damaged, "{changed}");
    }
    let long = vec![b' '; SMALL_OBJECT_BYTES as usize + 1];
    assert_eq!(parse(&long).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn long_lists_of_paths_are_cut_and_the_counts_stay() {
    let mut document = full();
    let report = &mut document.details.as_mut().unwrap().report;
    report.unread = vec!["\u{1}".repeat(DOCUMENT_PATH_BYTES / 2); 3];
    report.paths = vec![b"x".to_vec(); REPORTED_PATHS + 1];
    report.errors = 3;
    let read = parse(&document.encode().unwrap()).unwrap().details.unwrap().report;
    assert_eq!((read.unread.len(), read.paths.len(), read.errors), (2, REPORTED_PATHS, 3));
}

prop_compose! {
    fn any_report()(
        times in any::<(i64, i64)>(), host in ".*", name in ".*",
        paths in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 0..4),
        counts in any::<(u64, u64, u64)>(),
        unread in proptest::collection::vec(".*", 0..3), tags in proptest::collection::vec(".*", 0..3),
        program in ".*",
    ) -> Report {
        Report {
            started: Timestamp(times.0), finished: Timestamp(times.1), host, name, paths,
            files: counts.0, bytes: counts.1, errors: counts.2, unread, tags, program,
        }
    }
}

proptest! {
    #[test]
    fn a_document_is_one_ascii_line_and_comes_back(
        report in any_report(), sizes in any::<(u64, u64)>(), hashes in any::<([u8; 32], [u8; 32])>(),
        parent in proptest::option::of(any::<i64>()), engine in ".*", way in 0..4,
        key in proptest::collection::vec(any::<u8>(), 0..300),
        origin in proptest::option::of(any::<([u8; 32], Option<[u8; 32]>)>()),
        compression in proptest::option::of("[a-z]*"), block in proptest::option::of(any::<u64>()),
    ) {
        let stored = |size_bytes, hash| Stored { size_bytes, blake3: blake3::Hash::from_bytes(hash) };
        let scheme = match way {
            0 => Scheme::None,
            1 => Scheme::OpenSsl,
            2 => Scheme::Age { locked_key: None },
            _ => Scheme::Age { locked_key: Some(key) },
        };
        let encryption = scheme != Scheme::None;
        let hash = blake3::Hash::from_bytes;
        let origin = origin.map(|(document, recipients)| Origin {
            document: hash(document), recipients: recipients.map(hash),
        });
        let details = Details {
            data: stored(sizes.0, hashes.0), engine_metadata: stored(sizes.1, hashes.1),
            parent: parent.map(Timestamp), scheme, origin, report,
        };
        let document = Document {
            engine_name: engine, compression, rsync_block_size: block, encryption, details: Some(details),
        };
        let line = document.encode().unwrap();
        prop_assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
        prop_assert_eq!(parse(&line).unwrap(), document);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = parse(&bytes) {
            prop_assert!(matches!(error.kind(), Kind::Damaged | Kind::Unsupported));
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        // Below the hash, which would find it first.
        let mut line = open_line().into_bytes();
        let at = at.index(line.len() - 2);
        line[at] = byte;
        if let Err(error) = parse(&seal::close(line)) {
            prop_assert!(matches!(error.kind(), Kind::Damaged | Kind::Unsupported));
        }
    }
}
